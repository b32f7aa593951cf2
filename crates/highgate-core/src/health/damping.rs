//! Damping of flapping: each time a server goes down soon after the last time, it must answer twice
//! as long without a break before it is let in again.

use std::time::{Duration, Instant};

/// What the second fall within [`DECAY`] costs; the first costs nothing.
const BASE: Duration = Duration::from_secs(1);
/// What no server waits longer than, so that a repaired one is back before anybody looks.
const MAX_HOLD: Duration = Duration::from_secs(60);
/// Time without a fall that takes one level away: long against `BASE`, so that a server that falls
/// every few seconds climbs, and short enough that yesterday's trouble is forgotten.
const DECAY: Duration = Duration::from_secs(60);
/// Level at which the hold reaches its bound.
const MAX_LEVEL: u32 = 8;

/// How often a server fell lately.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Damping {
    level: u32,
    counted_at: Option<Instant>,
}

impl Damping {
    /// It fell.
    pub(super) fn fell(&mut self, now: Instant) {
        self.decay(now);
        self.level = (self.level + 1).min(MAX_LEVEL);
        self.counted_at = Some(now);
    }

    /// How long it must answer without a break before it is let in.
    pub(super) fn hold(&mut self, now: Instant) -> Duration {
        self.decay(now);
        match self.level {
            0 | 1 => Duration::ZERO,
            level => (BASE * (1 << (level - 2))).min(MAX_HOLD),
        }
    }

    fn decay(&mut self, now: Instant) {
        let Some(at) = self.counted_at else { return };
        let periods = now.saturating_duration_since(at).as_secs() / DECAY.as_secs();
        let periods = u32::try_from(periods).unwrap_or(u32::MAX).min(self.level);
        self.level -= periods;
        self.counted_at = (self.level > 0).then(|| at + DECAY * periods);
    }
}
