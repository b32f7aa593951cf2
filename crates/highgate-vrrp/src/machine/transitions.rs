//! From state to state, and what changes a router's standing from within: needs, rank, settings.

use std::time::{Duration, Instant};

use super::{Effect, Lack, Link, Need, Notice, Router, State, timers};
use crate::{
    advert::{self, Version},
    event::{Kind, Severity},
    settings::Settings,
};

impl Router {
    pub(super) fn start(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        if self.is_started {
            return;
        }
        self.is_started = true;
        let delay = self.settings.startup_delay;
        self.starts_at = (!delay.is_zero()).then(|| now + delay);
        self.settle(now, effects);
    }

    pub(super) fn stop(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        if !self.is_started {
            return;
        }
        self.is_started = false;
        self.starts_at = None;
        let was_active = self.state == State::Active;
        self.settle(now, effects);
        self.resign_at = None;
        if was_active {
            // The process ends, so it can't say it again later.
            self.send(advert::RESIGNS, now, effects);
        }
        effects.push(Effect::Notify(Notice::Stop));
    }

    pub(super) fn link(&mut self, link: Link, now: Instant, effects: &mut Vec<Effect>) {
        let interface = &self.settings.interface;
        let (found, lack) = match link {
            Link::Absent => (None, Some(format!("there is no interface {interface}"))),
            Link::Down { source } if self.settings.follows_link => {
                (source, Some(format!("interface {interface} is down")))
            }
            Link::Down { source } | Link::Up { source } => (source, None),
        };
        let found = self.settings.source.or(found);
        let lack = lack.or_else(|| {
            let family = if self.settings.is_v4() { "IPv4" } else { "IPv6" };
            found.is_none().then(|| format!("interface {interface} has no {family} address"))
        });
        match lack {
            // The last word still goes out from the address it had.
            Some(why) => {
                self.lose(Need::Link, why, now, effects);
                self.source = found;
            }
            None => {
                self.source = found;
                self.regain(Need::Link, now, effects);
            }
        }
    }

    pub(super) fn lose(
        &mut self,
        need: Need,
        why: String,
        now: Instant,
        effects: &mut Vec<Effect>,
    ) {
        let lack = Lack::Lost(why);
        if self.lacks.get(&need) == Some(&lack) {
            return;
        }
        if let Lack::Lost(why) = &lack {
            let severity =
                if self.state == State::Active { Severity::Warning } else { Severity::Info };
            let text = format!("{} is missing: {why}", need.as_str());
            self.say(severity, Kind::Need, text, effects);
        }
        self.lacks.insert(need, lack);
        self.settle(now, effects);
    }

    pub(super) fn regain(&mut self, need: Need, now: Instant, effects: &mut Vec<Effect>) {
        if let Some(Lack::Lost(why)) = self.lacks.remove(&need) {
            let text = format!("{} is back; before: {why}", need.as_str());
            self.say(Severity::Info, Kind::Need, text, effects);
        }
        self.settle(now, effects);
    }

    pub(super) fn weigh(&mut self, weight: i32, now: Instant, effects: &mut Vec<Effect>) {
        let before = self.priority();
        self.weight = weight;
        let after = self.priority();
        if before == after {
            return;
        }
        let text = format!(
            "priority {before} becomes {after}: {} as configured, {weight:+} by tracking",
            self.settings.priority
        );
        self.say(Severity::Info, Kind::Priority, text, effects);
        match self.state {
            State::Active => {
                self.advertise(now, effects);
                effects.push(Effect::Notify(Notice::ActiveRank));
            }
            State::Backup => effects.push(Effect::Notify(Notice::BackupRank)),
            State::Init | State::Fault => {}
        }
    }

    pub(super) fn promote(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        if self.state == State::Backup && self.wants_active {
            self.become_active(now, effects);
        }
    }

    pub(super) fn demote(&mut self, why: &str, now: Instant, effects: &mut Vec<Effect>) {
        if self.state != State::Active {
            return;
        }
        self.give_away(now, effects);
        self.active = None;
        self.active_interval = self.settings.interval;
        self.become_backup(why.to_owned(), now, effects);
    }

    pub(super) fn adopt(&mut self, new: Settings, now: Instant, effects: &mut Vec<Effect>) {
        if new == self.settings {
            return;
        }
        let old = std::mem::replace(&mut self.settings, new);
        self.derive();
        if old.interval != self.settings.interval {
            self.peers.forget_intervals();
        }
        self.say(Severity::Info, Kind::Settings, "new settings are in force".into(), effects);
        match self.state {
            State::Active => self.move_addresses(&old, now, effects),
            State::Backup if !self.wants_active => {
                if self.settings.version == Version::V2 || self.active.is_none() {
                    self.active_interval = self.settings.interval;
                }
                self.asking = None;
                let postponed = self.down_at.filter(|_| self.has_overslept);
                self.down_at = postponed.max(Some(self.heard_at + self.down()));
            }
            State::Init | State::Backup | State::Fault => {}
        }
    }

    /// The addresses of the new settings in place of the old ones; those in both stay untouched.
    fn move_addresses(&mut self, old: &Settings, now: Instant, effects: &mut Vec<Effect>) {
        let (before, after) = (&old.addresses, &self.settings.addresses);
        let gone: Vec<_> = before.iter().filter(|one| !after.contains(one)).cloned().collect();
        let come: Vec<_> = after.iter().filter(|one| !before.contains(one)).cloned().collect();
        self.active_interval = self.settings.interval;
        if !gone.is_empty() {
            effects.push(Effect::RemoveAddresses(gone));
        }
        self.advertise(now, effects);
        if !come.is_empty() {
            effects.push(Effect::AddAddresses(come));
            let copies = self.announcing.taken(&self.settings.announce, now);
            self.announce(copies, effects);
        }
    }

    /// Brings the state in line with what the router lacks.
    pub(super) fn settle(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        match self.rest() {
            Some((state, why)) => self.leave_for(state, why, now, effects),
            None if matches!(self.state, State::Init | State::Fault) => self.enter(now, effects),
            None => {}
        }
    }

    /// Where the router has to stay, and why; `None` if it may take part.
    ///
    /// What is not known yet holds back who does not take part, and ends nothing: a reload that adds
    /// something to track must not move the address.
    fn rest(&self) -> Option<(State, String)> {
        if !self.is_started {
            return Some((State::Init, "stopped".to_owned()));
        }
        if self.starts_at.is_some() {
            return Some((State::Init, "the start-up delay is running".to_owned()));
        }
        let lost = self.lacks.values().find_map(|lack| match lack {
            Lack::Lost(why) => Some((State::Fault, why.clone())),
            Lack::Pending => None,
        });
        let waits = || {
            let need = self.lacks.keys().next()?;
            Some((State::Init, format!("waits for a first word about its {}", need.as_str())))
        };
        let takes_part = matches!(self.state, State::Backup | State::Active);
        lost.or_else(|| if takes_part { None } else { waits() })
    }

    fn leave_for(&mut self, state: State, why: String, now: Instant, effects: &mut Vec<Effect>) {
        if self.state == state {
            self.why = why;
            return;
        }
        if self.state == State::Active {
            self.give_away(now, effects);
        }
        self.down_at = None;
        self.wants_active = false;
        self.asking = None;
        self.preempt_at = None;
        self.active = None;
        self.resigned_by = None;
        if state == State::Fault {
            self.counts.became_fault += 1;
        }
        self.turn(state, why, now, effects);
        if state == State::Fault {
            effects.push(Effect::Notify(Notice::Fault));
        }
    }

    /// RFC 9568 §6.4.1, Startup: an owner is active at once, all others listen first.
    fn enter(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        self.active_interval = self.settings.interval;
        if self.settings.is_owner() && self.settings.starts_active {
            if !self.grouped {
                self.become_active(now, effects);
                return;
            }
            self.become_backup("owner, waits for its group".to_owned(), now, effects);
            self.down_at = None;
            self.wants_active = true;
            return;
        }
        self.become_backup("it listens first".to_owned(), now, effects);
    }

    /// What this node did not hear while it did not run says nothing of the others: that time does not
    /// count for Active_Down_Timer. As where all processors of a guest stood still, and it wakes up
    /// before the other, or before what the other sent.
    pub(super) fn slept(&mut self, time: Duration, now: Instant, effects: &mut Vec<Effect>) {
        // Who is going says so, and who is asked answers: then no silence is waited for.
        let is_agreed = self.resigned_by.is_some() || self.asking.is_some();
        let is_heard = self.heard_at >= now;
        let Some(at) = self.down_at.filter(|_| !is_heard && !is_agreed) else { return };
        let fell_asleep = now.checked_sub(time).unwrap_or(now);
        self.overslept(time, at.saturating_duration_since(fell_asleep), now, effects);
    }

    /// Whether Active_Down_Timer ended, or went on, while this node did not run, and is therefore set
    /// once more: so `late` is the node, and so much was left when it fell asleep.
    ///
    /// Quirk: the RFCs know of no such thing. Whoever did not run for an interval may have adverts that
    /// are not in its sockets yet, since what brings them there did not run either: it waits for the next
    /// one. Whoever did not run for as long as it waits has not heard silence but nothing; it does as
    /// after a start (RFC 9568 §6.4.1) and listens first. Only once without an advert in between: a node
    /// that is always late still takes over from one that is dead.
    pub(super) fn overslept(
        &mut self,
        late: Duration,
        left: Duration,
        now: Instant,
        effects: &mut Vec<Effect>,
    ) -> bool {
        let down = self.down();
        let interval = self.active_interval.min(down);
        if self.has_overslept || late < interval {
            return false;
        }
        self.has_overslept = true;
        let more = if late < down { left.clamp(interval, down) } else { down };
        self.down_at = Some(now + more);
        let text = format!(
            "this node did not run for {} ms: it listens for {} ms more before it takes over",
            late.as_millis(),
            more.as_millis()
        );
        self.say(Severity::Warning, Kind::Stall, text, effects);
        true
    }

    /// Active_Down_Timer fires.
    pub(super) fn take_over(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        if self.asks_first(now, effects) {
            return;
        }
        self.down_at = None;
        if self.grouped {
            self.wants_active = true;
        } else {
            self.become_active(now, effects);
        }
    }

    fn become_active(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let why = self.reason_to_take(now);
        self.down_at = None;
        self.wants_active = false;
        self.asking = None;
        self.lower_at = None;
        self.preempt_at = None;
        self.resign_at = None;
        self.active = None;
        self.resigned_by = None;
        self.active_interval = self.settings.interval;
        self.advertise(now, effects);
        effects.push(Effect::AddAddresses(self.settings.addresses.clone()));
        let copies = self.announcing.taken(&self.settings.announce, now);
        self.announce(copies, effects);
        self.counts.became_active += 1;
        self.turn(State::Active, why, now, effects);
        effects.push(Effect::Notify(Notice::Active));
    }

    fn reason_to_take(&self, now: Instant) -> String {
        let silence = now.saturating_duration_since(self.heard_at);
        match (self.active, self.resigned_by) {
            (_, Some(peer)) => format!("{peer} gave it away"),
            (Some(peer), None) => {
                format!("no advert of {peer} that counts for {} ms", silence.as_millis())
            }
            (None, None) if self.wants_active && !self.grouped => {
                "it waited for a group that it is no longer in".to_owned()
            }
            (None, None) if self.state == State::Init || self.wants_active => {
                "it owns the address, or its group is complete".to_owned()
            }
            (None, None) => format!("nobody was heard for {} ms", silence.as_millis()),
        }
    }

    pub(super) fn become_backup(&mut self, why: String, now: Instant, effects: &mut Vec<Effect>) {
        self.preempt_at = None;
        self.counts.became_backup += 1;
        self.count_down(now);
        self.turn(State::Backup, why, now, effects);
        effects.push(Effect::Notify(Notice::Backup));
    }

    /// Sets Active_Down_Timer to Active_Down_Interval.
    pub(super) fn count_down(&mut self, now: Instant) {
        self.wants_active = false;
        self.asking = None;
        self.lower_at = None;
        self.heard_at = now;
        self.has_overslept = false;
        self.down_at = Some(now + self.down());
    }

    /// Adver_Timer fires.
    pub(super) fn advertise_again(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let due = self.advert_at.unwrap_or(now);
        let late = now.saturating_duration_since(due);
        let interval = self.settings.interval;
        if late > interval * u32::from(self.settings.down_adverts.max(2) - 1) {
            let text = format!(
                "this node did not run for {} ms: a backup may have taken over meanwhile",
                late.as_millis()
            );
            self.say(Severity::Warning, Kind::Stall, text, effects);
        }
        self.advertise(now, effects);
        if late < interval {
            // The beat is kept: lateness does not add up.
            self.advert_at = Some(due + interval);
        }
    }

    /// Sends an advert of its own rank; the next one an interval later.
    pub(super) fn advertise(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        self.send(self.priority(), now, effects);
        self.advert_at = Some(now + self.settings.interval);
    }

    /// Gives the addresses away and says so, now and once more: the word may be lost.
    fn give_away(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        const AGAIN: u32 = 10;
        self.drop_addresses(effects);
        self.send(advert::RESIGNS, now, effects);
        self.resign_at = Some(now + self.settings.interval / AGAIN);
    }

    /// Removes the addresses; they are never held by a router that is not active.
    pub(super) fn drop_addresses(&mut self, effects: &mut Vec<Effect>) {
        self.advert_at = None;
        self.yielding = None;
        self.announcing.given();
        #[cfg(test)]
        if self.bug == crate::testing::Bug::KeepsAddresses {
            return;
        }
        effects.push(Effect::RemoveAddresses(self.settings.addresses.clone()));
    }

    fn turn(&mut self, state: State, why: String, now: Instant, effects: &mut Vec<Effect>) {
        let text = format!("{} becomes {state}: {why}", self.state);
        let severity = match state {
            State::Fault => Severity::Warning,
            State::Init | State::Backup | State::Active => Severity::Info,
        };
        self.say(severity, Kind::State, text, effects);
        self.state = state;
        self.since = now;
        self.why = why;
    }

    pub(super) fn skew(&self) -> Duration {
        timers::skew(self.settings.version, self.priority(), self.active_interval)
    }

    pub(super) fn down(&self) -> Duration {
        let Settings { version, down_adverts, .. } = self.settings;
        timers::down(version, self.priority(), self.active_interval, down_adverts)
    }
}
