//! Slow start: the share of a server that came back, as a function of time.

use std::time::{Duration, Instant};

/// The climb of a server that came back to its full share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ramp {
    /// When it came back.
    pub since: Instant,
    /// How long the climb takes.
    pub over: Duration,
}

/// Share at which a climb begins: enough to see whether the server really works.
const FLOOR_PERMILLE: u32 = 50;

impl Ramp {
    /// Share of its weight at that time, in thousandths; 1000 once the climb is over.
    #[must_use]
    pub fn permille(&self, now: Instant) -> u32 {
        let passed = now.saturating_duration_since(self.since);
        if passed >= self.over {
            return 1000;
        }
        let share = passed.as_micros() * 1000 / self.over.as_micros().max(1);
        u32::try_from(share).unwrap_or(1000).clamp(FLOOR_PERMILLE, 1000)
    }

    /// When the climb is over.
    #[must_use]
    pub fn end(&self) -> Instant {
        self.since + self.over
    }
}
