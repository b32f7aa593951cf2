//! Waiting for what no event announces.
//!
//! A database that starts or a process that logs offers nothing to wait on but the question itself, so
//! these helpers ask again after a short wait, up to a deadline. They are the only place of the
//! testkit that looks at the clock or sleeps.

use std::time::{Duration, Instant};

/// The time between two questions.
const PAUSE: Duration = Duration::from_millis(10);

/// A point in time after which waiting fails.
#[derive(Debug, Clone, Copy)]
pub struct Deadline {
    at: Instant,
}

impl Deadline {
    /// The deadline `within` from now.
    pub fn after(within: Duration) -> Self {
        Self { at: now() + within }
    }

    /// The deadline `seconds` from now.
    pub fn seconds(seconds: u64) -> Self {
        Self::after(Duration::from_secs(seconds))
    }

    /// The time that is left; zero once it is past.
    pub fn remaining(&self) -> Duration {
        self.at.saturating_duration_since(now())
    }

    /// Whether the deadline is past.
    pub fn is_past(&self) -> bool {
        self.remaining().is_zero()
    }
}

/// Asks `holds` until it answers `true`; `false` when the deadline passed first. It asks at least once.
#[must_use]
pub fn wait_until(deadline: Deadline, mut holds: impl FnMut() -> bool) -> bool {
    loop {
        if holds() {
            return true;
        }
        if deadline.is_past() {
            return false;
        }
        pause(PAUSE.min(deadline.remaining()));
    }
}

/// Tries `attempt` until it succeeds, and returns what it gave.
///
/// # Errors
/// The last attempt's error, once the deadline is past, with `what` as its context.
pub fn eventually<T>(
    deadline: Deadline,
    what: &str,
    mut attempt: impl FnMut() -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    loop {
        match attempt() {
            Ok(value) => return Ok(value),
            Err(error) if deadline.is_past() => {
                return Err(error.context(format!("waited for: {what}")));
            }
            Err(_) => pause(PAUSE.min(deadline.remaining())),
        }
    }
}

/// The present, for measuring in tests.
#[expect(clippy::disallowed_methods, reason = "the one clock of the test fixtures")]
pub fn now() -> Instant {
    Instant::now()
}

#[expect(clippy::disallowed_methods, reason = "a foreign process announces nothing to wait on")]
fn pause(time: Duration) {
    std::thread::sleep(time);
}
