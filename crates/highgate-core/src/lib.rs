//! highgate-core.
