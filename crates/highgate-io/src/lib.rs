//! highgate-io.
