//! The only place that reads a clock.

#![expect(clippy::disallowed_methods, reason = "this is the edge that the ban points to")]

use std::{
    future::Future,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// The monotonic time. Goes through tokio's clock, so that a test can pause it.
#[must_use]
pub fn now() -> Instant {
    Instant::now()
}

/// Milliseconds since the Unix epoch by the wall clock; only for people to read.
#[must_use]
pub fn wall_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Waits until `deadline`.
///
/// Cancel safe: yes; a dropped call has consumed nothing.
pub async fn sleep_until(deadline: Instant) {
    tokio::time::sleep_until(deadline.into()).await;
}

/// Waits for `duration`; for loops that have a period, never to wait for an event.
///
/// Cancel safe: yes; a dropped call has consumed nothing.
pub async fn pause(duration: Duration) {
    tokio::time::sleep(duration).await;
}

/// What `future` gives, or `None` when `deadline` comes first.
///
/// Cancel safe: as `future`.
pub async fn before<F: Future>(deadline: Instant, future: F) -> Option<F::Output> {
    tokio::time::timeout_at(deadline.into(), future).await.ok()
}
