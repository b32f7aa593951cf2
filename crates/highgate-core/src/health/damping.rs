//! Damping of what comes again and again: each time soon after the last time, the server is kept out
//! twice as long. Two things are counted so, each by itself: falls, and answers that broke the protocol.

use std::time::{Duration, Instant};

/// What the second fall within [`DECAY`] costs; the first costs nothing.
const FALL: Duration = Duration::from_secs(1);
/// What the third garbled answer within [`DECAY`] costs: checks succeed meanwhile and say nothing of it, so
/// that time alone must show whether it is over. One or two may be as many bad connections.
const GARBAGE: Duration = Duration::from_secs(5);
/// What no server waits longer than, so that a repaired one is back before anybody looks.
const MAX_HOLD: Duration = Duration::from_secs(60);
/// Time without another that takes one level away: long against `FALL`, so that a server that falls
/// every few seconds climbs, and short enough that yesterday's trouble is forgotten.
const DECAY: Duration = Duration::from_secs(60);
/// Level at which the hold reaches its bound.
const MAX_LEVEL: u32 = 8;

/// How often it happened lately.
#[derive(Debug, Clone, Copy)]
pub(super) struct Damping {
    /// How many within [`DECAY`] cost nothing.
    free: u32,
    /// What the next one costs.
    base: Duration,
    level: u32,
    counted_at: Option<Instant>,
}

impl Damping {
    /// Of falls.
    pub(super) const fn of_falls() -> Self {
        Self { free: 1, base: FALL, level: 0, counted_at: None }
    }

    /// Of answers that broke the protocol.
    pub(super) const fn of_garbage() -> Self {
        Self { free: 2, base: GARBAGE, level: 0, counted_at: None }
    }

    /// It happened.
    pub(super) fn count(&mut self, now: Instant) {
        self.decay(now);
        self.level = (self.level + 1).min(MAX_LEVEL);
        self.counted_at = Some(now);
    }

    /// How long it must go well without a break before the server is let in.
    pub(super) fn hold(&mut self, now: Instant) -> Duration {
        self.decay(now);
        match self.level.checked_sub(self.free + 1) {
            None => Duration::ZERO,
            Some(doublings) => (self.base * (1 << doublings)).min(MAX_HOLD),
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
