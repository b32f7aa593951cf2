//! highgate-testkit.
