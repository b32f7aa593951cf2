//! The address moves between two nodes that both work: whoever has it ends its connections first.
//!
//! ```text
//! backup of higher rank                  active
//!  │ its timer ends, yet the other lives    │
//!  ├─ asks ───────────────────────────────▶ │ drains; its adverts go on
//!  │ ◀──────────────────────────── yields ─┤
//!  │ waits                                  │ done, or late: removes the addresses
//!  │ ◀──────────────────────── priority 0 ─┤ backup
//!  │ active, at once                        │
//! ```
//!
//! Without an answer it takes over as if it had not asked; so it does when the other falls silent. Of
//! several that ask, the highest gets it, and the others hear that.

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use super::{Effect, Router, State};
use crate::{
    advert::{Advert, Word},
    event::{Kind, Severity},
};

/// How often it is asked without an answer.
const ASKS: u8 = 3;
/// The longest time between two of them; an interval where that is shorter.
const PAUSE: Duration = Duration::from_millis(100);
/// How long the asking one waits once it was answered: longer than [`Router::YIELD`].
pub(crate) const PATIENCE: Duration = Duration::from_secs(3);
/// An active router that was heard within so many of its intervals is taken to be there.
const FRESH: u32 = 2;

/// Asked, and not given yet.
#[derive(Debug)]
pub(super) struct Asking {
    whom: IpAddr,
    times: u8,
    until: Instant,
    is_answered: bool,
}

/// Asked for the addresses.
#[derive(Debug)]
pub(super) struct Yielding {
    rank: u8,
    to: IpAddr,
    pub(super) by: Instant,
}

impl Router {
    /// The longest that connections may take to end.
    pub const YIELD: Duration = Duration::from_secs(2);

    /// The timer has run out: asks, or asks again. False: it is to take over now.
    pub(super) fn asks_first(&mut self, now: Instant, effects: &mut Vec<Effect>) -> bool {
        let times = match &self.asking {
            Some(asking) if asking.is_answered => ASKS,
            Some(asking) => asking.times,
            None => 0,
        };
        let lives = self.lower_at.is_some_and(|(at, interval)| now <= at + interval * FRESH);
        let whom = self.active.filter(|_| lives && times < ASKS);
        let Some(whom) = whom else {
            self.asking = None;
            return false;
        };
        self.cast(Some(Word::Asks), self.priority(), effects);
        let until = now + PATIENCE;
        self.asking = Some(Asking { whom, times: times + 1, until, is_answered: false });
        self.down_at = Some(now + self.settings.interval.min(PAUSE));
        true
    }

    /// The one of lower rank that was asked is alive: it is waited for a while longer.
    pub(super) fn hears_asked(&mut self, from: IpAddr, now: Instant) {
        if let Some(asking) = &self.asking
            && asking.whom == from
            && asking.is_answered
        {
            self.down_at = Some(asking.until.min(now + self.down()));
        }
    }

    /// Whether the one that resigns does so since it was asked.
    pub(super) fn was_asked(&mut self, from: IpAddr) -> bool {
        self.asking.take_if(|asking| asking.whom == from).is_some()
    }

    /// Somebody asks, or says to whom it yields.
    pub(super) fn heard_word(
        &mut self,
        word: Word,
        advert: &Advert,
        from: IpAddr,
        now: Instant,
        effects: &mut Vec<Effect>,
    ) {
        let (theirs, own) = (advert.priority, self.priority());
        match (word, self.state) {
            (Word::Asks, State::Active)
                if theirs > own || theirs == own && self.is_outranked_by(from) =>
            {
                self.yields(theirs, from, now, effects);
            }
            // Another one will be active in a moment, and outranks this one.
            (Word::Asks, State::Backup) if self.asking.is_some() && theirs > own => {
                self.count_down(now);
            }
            (Word::Yields, State::Backup) => {
                let Some(asking) = &mut self.asking else { return };
                if asking.whom == from && theirs == own {
                    asking.is_answered = true;
                    self.hears_asked(from, now);
                } else if theirs > own {
                    self.count_down(now);
                }
            }
            _ => {}
        }
    }

    fn yields(&mut self, rank: u8, to: IpAddr, now: Instant, effects: &mut Vec<Effect>) {
        let by = now + Self::YIELD;
        match &mut self.yielding {
            Some(yielding) if rank > yielding.rank => (yielding.rank, yielding.to) = (rank, to),
            Some(_) => {}
            None => {
                self.yielding = Some(Yielding { rank, to, by });
                let text = format!(
                    "{to} of priority {rank} asks for the addresses: connections to them end first"
                );
                self.say(Severity::Info, Kind::Yield, text, effects);
                effects.push(Effect::Yield);
            }
        }
        let rank = self.yielding.as_ref().map_or(rank, |yielding| yielding.rank);
        self.cast(Some(Word::Yields), rank, effects);
    }

    /// The connections have ended, or had their time.
    pub(super) fn yielded(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let Some(Yielding { rank, to, .. }) = self.yielding.take() else { return };
        // Tracking may have raised this one above it meanwhile.
        if rank < self.priority() {
            return;
        }
        self.demote(&format!("{to} of priority {rank} asked for the addresses"), now, effects);
    }
}
