//! What tests share: the one place that reads a clock, as the origin of fake time.

use std::time::Instant;

/// Some instant; tests only add to it.
#[expect(
    clippy::disallowed_methods,
    reason = "an Instant can be made in no other way"
)]
pub(crate) fn origin() -> Instant {
    Instant::now()
}
