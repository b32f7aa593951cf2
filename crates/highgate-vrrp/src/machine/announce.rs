//! When the addresses are announced: bursts after taking them, and a refresh for as long as they
//! are held. A peer that provokes bursts gets one per [`Announcing::lower`]'s pause at most.

use std::time::{Duration, Instant};

use crate::settings::Announce;

/// What is still to be announced.
#[derive(Debug, Default)]
pub(super) struct Announcing {
    again: Option<(Instant, u8)>,
    refresh_at: Option<Instant>,
    last: Option<Instant>,
}

impl Announcing {
    /// The addresses were taken: how many to announce now.
    pub(super) fn taken(&mut self, settings: &Announce, now: Instant) -> u8 {
        self.refresh_at = (!settings.refresh.is_zero()).then(|| now + settings.refresh);
        self.last = Some(now);
        self.again = later(settings.delay, settings.repeat, now);
        settings.repeat
    }

    /// A router of lower rank was heard, so hosts may have learned its way: how many now.
    ///
    /// At most one burst per `pause`; the later one is kept in any case.
    pub(super) fn lower(&mut self, settings: &Announce, pause: Duration, now: Instant) -> u8 {
        if self.again.is_none() {
            self.again = later(settings.lower_delay, settings.lower_repeat, now);
        }
        if self.last.is_some_and(|last| now.saturating_duration_since(last) < pause) {
            let owed = (settings.lower_repeat > 0).then_some((now + pause, settings.lower_repeat));
            self.again = self.again.or(owed);
            return 0;
        }
        self.last = Some(now);
        settings.lower_repeat
    }

    /// How many to announce now that time has passed.
    pub(super) fn due(&mut self, settings: &Announce, now: Instant) -> u8 {
        let mut copies = 0;
        if let Some((_, repeat)) = self.again.take_if(|(at, _)| *at <= now) {
            copies = repeat;
        }
        if self.refresh_at.is_some_and(|at| at <= now) {
            self.refresh_at = Some(now + settings.refresh);
            copies = copies.max(settings.refresh_repeat);
        }
        if copies > 0 {
            self.last = Some(now);
        }
        copies
    }

    /// The addresses were given away.
    pub(super) fn given(&mut self) {
        *self = Self::default();
    }

    pub(super) fn next(&self) -> Option<Instant> {
        [self.again.map(|(at, _)| at), self.refresh_at].into_iter().flatten().min()
    }
}

fn later(delay: Duration, repeat: u8, now: Instant) -> Option<(Instant, u8)> {
    (repeat > 0 && !delay.is_zero()).then(|| (now + delay, repeat))
}
