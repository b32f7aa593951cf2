//! highgate-admin.
