//! What a router makes of a packet: refuse it with a reason, or let it change the state.

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use super::{Effect, Notice, Router, State};
use crate::{
    advert::{
        self, Advert, Casting, Envelope, Expected, Heard, Refusal, RefusalKind, Version, Word,
    },
    event::{Kind, Severity, Topic, with_left_out},
};

/// Answers to others leave at most this many times per interval.
const ANSWERS_PER_INTERVAL: u32 = 10;

impl Router {
    pub(super) fn packet(
        &mut self,
        payload: &[u8],
        envelope: &Envelope,
        now: Instant,
        effects: &mut Vec<Effect>,
    ) {
        let word = Word::unwrap(payload);
        let payload = word.map_or(payload, |(_, advert)| advert);
        match (self.read(payload, envelope), word) {
            (Ok(heard), Some((word, _))) => {
                self.heard_word(word, &heard.advert, envelope.source, now, effects);
            }
            (Ok(heard), None) => self.heard(&heard, envelope.source, now, effects),
            (Err(refusal), _) => self.refuse(&refusal, envelope.source, now, effects),
        }
    }

    fn read(&self, payload: &[u8], envelope: &Envelope) -> Result<Heard, Refusal> {
        let expected = Expected {
            version: self.settings.version,
            vrid: self.settings.vrid,
            interval: self.settings.interval,
            auth: &self.auth,
            addresses: &self.listed,
            casting: &self.settings.casting,
            own: self.source,
        };
        expected.admit_envelope(envelope)?;
        let heard = advert::decode(payload, envelope)?;
        expected.admit(&heard.advert)?;
        Ok(heard)
    }

    /// Counts a refused advert and tells of it; it changes no state and no timer.
    pub(crate) fn refuse(
        &mut self,
        refusal: &Refusal,
        from: IpAddr,
        now: Instant,
        effects: &mut Vec<Effect>,
    ) {
        let kind = refusal.kind();
        *self.counts.refused.entry(kind).or_default() += 1;
        self.peers.refused(from, refusal, now);
        let Some(left_out) = self.limiter.admit(Topic::Refusal(kind), from, now) else { return };
        let (severity, outcome) = match refusal {
            Refusal::Mismatch(_) if kind != RefusalKind::Ttl && kind != RefusalKind::Sender => {
                (Severity::Error, "; the two nodes do not hear each other, so both may be active")
            }
            _ => (Severity::Warning, ""),
        };
        let text = format!("advert of {from} refused: {refusal}{outcome}");
        self.say(severity, Kind::AdvertRefused, with_left_out(text, left_out), effects);
    }

    fn heard(&mut self, heard: &Heard, from: IpAddr, now: Instant, effects: &mut Vec<Effect>) {
        let advert = &heard.advert;
        self.counts.heard += 1;
        self.counts.heard_resignations += u64::from(advert.priority == advert::RESIGNS);
        self.note_differences(heard, from, now, effects);
        let remark = self.remark(advert);
        if let Some(text) = &remark
            && let Some(left_out) = self.limiter.admit(Topic::Event(Kind::EqualPriority), from, now)
        {
            let text = with_left_out(format!("{from} {text}"), left_out);
            self.say(Severity::Warning, Kind::EqualPriority, text, effects);
        }
        self.peers.heard(from, advert, remark, now);
        if advert.priority != advert::RESIGNS {
            self.resign_at = None;
        }
        match self.state {
            State::Init | State::Fault => {
                self.active = (advert.priority != advert::RESIGNS).then_some(from);
            }
            State::Backup if advert.priority == advert::RESIGNS => self.resigned(from, now),
            State::Backup => self.heard_as_backup(advert, from, now),
            State::Active if advert.priority == advert::RESIGNS => {
                // Whoever gives the address away had it: hosts may have learned its way.
                self.answer(advert.interval, now, effects);
                self.announce_over(now, effects);
            }
            State::Active => self.heard_as_active(advert, from, now, effects),
        }
    }

    /// Between equals the address decides who prevails, which is seldom meant; owners are another
    /// matter ([`Self::two_owners`]).
    fn remark(&self, advert: &Advert) -> Option<String> {
        let own = self.priority();
        (advert.priority == own && own != advert::OWNER).then(|| {
            format!(
                "has priority {own}, as this node has: the greater address prevails; give each \
                 node a priority of its own"
            )
        })
    }

    /// Says what differs although the advert counts.
    fn note_differences(
        &mut self,
        heard: &Heard,
        from: IpAddr,
        now: Instant,
        effects: &mut Vec<Effect>,
    ) {
        let (ours, theirs) = (self.settings.interval, heard.advert.interval);
        if ours != theirs && self.peers.interval(from) != Some(theirs) {
            let topic = Topic::Event(Kind::IntervalDiffers);
            if let Some(left_out) = self.limiter.admit(topic, from, now) {
                let text = format!(
                    "{from} advertises every {theirs:?}, configured here is {ours:?}; \
                     while it is active, its own counts"
                );
                let text = with_left_out(text, left_out);
                self.say(Severity::Warning, Kind::IntervalDiffers, text, effects);
            }
        }
        let is_peer = matches!(&self.settings.casting, Casting::Unicast { peers, .. }
            if peers.iter().any(|peer| peer.address == from));
        let known = self.old_sums.contains(&from);
        // The peer may have been updated: the sum that it uses is the one that it understands.
        if !heard.old_sum && known {
            self.old_sums.retain(|peer| *peer != from);
        } else if heard.old_sum && is_peer && !known {
            self.old_sums.push(from);
            let text = format!(
                "{from} sums its adverts as Keepalived did before 1.3.7; it is answered likewise"
            );
            self.say(Severity::Info, Kind::Settings, text, effects);
        }
    }

    /// RFC 9568 §6.4.2, priority zero: whoever was active leaves, so only the skew is waited for.
    fn resigned(&mut self, from: IpAddr, now: Instant) {
        // Quirk: the RFC obeys any sender. A second word of one whose successor was heard already
        // would take us past that successor.
        if self.active.is_some_and(|active| active != from) {
            return;
        }
        self.active = None;
        self.resigned_by = Some(from);
        // Who asked for the addresses is the one to whom they are given.
        let by_then = if self.was_asked(from) { now } else { now + self.skew() };
        self.down_at = self.down_at.map(|at| at.min(by_then));
    }

    fn heard_as_backup(&mut self, advert: &Advert, from: IpAddr, now: Instant) {
        self.active = Some(from);
        self.resigned_by = None;
        if advert.priority >= self.priority() {
            self.preempt_at = None;
        } else if self.preempts(now) {
            self.lower_at = Some((now, advert.interval));
            self.hears_asked(from, now);
            return;
        }
        self.learn(advert);
        #[cfg(test)]
        if self.bug == crate::testing::Bug::LostRearm {
            return;
        }
        self.count_down(now);
    }

    /// Whether an active router of lower rank is left to time out.
    fn preempts(&mut self, now: Instant) -> bool {
        if self.settings.is_owner() {
            return true;
        }
        if !self.settings.preempt {
            return false;
        }
        let delay = self.settings.preempt_delay;
        delay.is_zero() || *self.preempt_at.get_or_insert(now + delay) <= now
    }

    fn heard_as_active(
        &mut self,
        advert: &Advert,
        from: IpAddr,
        now: Instant,
        effects: &mut Vec<Effect>,
    ) {
        let own = self.priority();
        if own == advert::OWNER && advert.priority == advert::OWNER {
            self.two_owners(from, now, effects);
        }
        if advert.priority > own || advert.priority == own && self.is_outranked_by(from) {
            self.give_way(advert, from, now, effects);
        } else {
            self.assert_rank(advert, from, now, effects);
        }
    }

    /// Between equals the greater address wins.
    pub(super) fn is_outranked_by(&self, from: IpAddr) -> bool {
        #[cfg(test)]
        if self.bug == crate::testing::Bug::EqualsStay {
            return false;
        }
        self.source.is_none_or(|own| from > own)
    }

    fn two_owners(&mut self, from: IpAddr, now: Instant, effects: &mut Vec<Effect>) {
        let topic = Topic::Event(Kind::DuplicateOwner);
        let Some(left_out) = self.limiter.admit(topic, from, now) else { return };
        let text = format!(
            "{from} has priority 255 as well: both claim to own the address; \
             give one of them another priority"
        );
        let text = with_left_out(text, left_out);
        self.say(Severity::Error, Kind::DuplicateOwner, text, effects);
    }

    /// RFC 9568 §6.4.3: another of higher rank is active, so this one is not any more.
    fn give_way(&mut self, advert: &Advert, from: IpAddr, now: Instant, effects: &mut Vec<Effect>) {
        self.drop_addresses(effects);
        if self.settings.answers_higher {
            // The other hears that there were two, and announces the address again.
            self.send(self.priority(), now, effects);
        }
        self.learn(advert);
        self.active = Some(from);
        self.resigned_by = None;
        let text = format!("{from} is active with priority {}", advert.priority);
        self.become_backup(text, now, effects);
    }

    /// RFC 9568 §6.4.3: another of lower rank is active as well; it and all bridges are told.
    fn assert_rank(
        &mut self,
        advert: &Advert,
        from: IpAddr,
        now: Instant,
        effects: &mut Vec<Effect>,
    ) {
        self.counts.heard_lower += 1;
        // Backups learn the other's interval. Were it shorter and left unanswered, they would take
        // over before the next regular advert, teach it to others, and so on without end.
        if self.settings.answers_lower || advert.interval < self.settings.interval {
            self.answer(advert.interval, now, effects);
        }
        self.announce_over(now, effects);
        effects.push(Effect::Notify(Notice::HeardLower));
        // One that was active until this one took over says so once; that is no split.
        if now.saturating_duration_since(self.since) <= self.settings.interval {
            return;
        }
        let topic = Topic::Event(Kind::Split);
        if let Some(left_out) = self.limiter.admit(topic, from, now) {
            let text = format!(
                "{from} is active too, with priority {}: it did not hear this node; \
                 the addresses are announced again",
                advert.priority
            );
            self.say(Severity::Error, Kind::Split, with_left_out(text, left_out), effects);
        }
    }

    /// Announces the addresses since another router had them too; once per interval at most.
    fn announce_over(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let pause = self.settings.interval;
        let copies = self.announcing.lower(&self.settings.announce, pause, now);
        self.announce(copies, effects);
    }

    /// Advertises at once, or as soon as answers may leave again: nobody can make us flood the wire.
    fn answer(&mut self, theirs: Duration, now: Instant, effects: &mut Vec<Effect>) {
        let pause = self.settings.interval.min(theirs) / ANSWERS_PER_INTERVAL;
        match self.sent_at.map(|sent| sent + pause) {
            Some(earliest) if earliest > now => {
                self.advert_at = self.advert_at.map(|at| at.min(earliest));
            }
            _ => self.advertise(now, effects),
        }
    }

    /// VRRPv3 backups count by the interval of whoever is active.
    fn learn(&mut self, advert: &Advert) {
        if self.settings.version == Version::V3 {
            self.active_interval = advert.interval;
        }
    }
}
