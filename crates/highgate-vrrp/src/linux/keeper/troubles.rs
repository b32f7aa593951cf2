//! What could not be done, for whom, and when it is tried again: a pure decision.
//!
//! A router for which something failed stays out until the cause is known to be gone. Where only trying
//! can tell, each try may move the address, and end connections, twice: so it is tried again after a
//! second, then after ever longer times.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::machine::Need;

/// How long it is waited before the first try.
const FIRST: Duration = Duration::from_secs(1);
/// The longest wait before another.
const LONGEST: Duration = Duration::from_secs(300);
/// Who has not failed for so long after a try is well: well above the longest wait.
const WELL: Duration = Duration::from_secs(600);

/// Why something fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Cause {
    /// The interface of an address is not there; a look finds it.
    Absent,
    /// Adverts can't be heard; a look finds out whether they can.
    Deaf,
    /// No advert can be sent.
    Mute,
    /// An address can't be set.
    Refused,
    /// Nobody keeps the addresses there; that is seen once somebody does.
    Unkept,
    /// The interface with a MAC address of its own can't be made; that is tried all the while.
    Unmade,
}

impl Cause {
    const fn need(self) -> Need {
        match self {
            Self::Absent | Self::Refused | Self::Unkept | Self::Unmade => Need::Addresses,
            Self::Deaf | Self::Mute => Need::Socket,
        }
    }

    /// Whether only an active router finds out that it is gone.
    const fn is_tried(self) -> bool {
        matches!(self, Self::Mute | Self::Refused)
    }
}

/// What a router is to be told: why that need is unmet, or that it is met.
pub(super) type Word = (Need, Option<String>);

/// What failed.
#[derive(Debug, Default)]
pub(super) struct Troubles(BTreeMap<(Arc<str>, Cause), Trouble>);

#[derive(Debug)]
struct Trouble {
    why: String,
    /// The router was told, and not yet that it is over or to be tried.
    is_unmet: bool,
    failed_at: Instant,
    /// How often, without having been well in between.
    times: u32,
    again_at: Option<Instant>,
}

impl Troubles {
    /// Something failed. Gives what its router is to be told, if that is news.
    pub(super) fn failed(
        &mut self,
        router: &Arc<str>,
        cause: Cause,
        why: &str,
        now: Instant,
    ) -> Option<Word> {
        let key = (Arc::clone(router), cause);
        let known = self.0.get(&key);
        if known.is_some_and(|known| known.is_unmet && (cause.is_tried() || known.why == why)) {
            return None;
        }
        let is_fresh = |known: &&Trouble| now.saturating_duration_since(known.failed_at) < WELL;
        let times = known.filter(is_fresh).map_or(1, |known| known.times.saturating_add(1));
        let mut trouble =
            Trouble { why: why.to_owned(), is_unmet: true, failed_at: now, times, again_at: None };
        if cause.is_tried() {
            let wait = wait(times);
            trouble.again_at = Some(now + wait);
            trouble.why.push_str(&format!("; tried again in {} s", wait.as_secs()));
        }
        self.0.insert(key, trouble);
        Some(self.word(router, cause.need()))
    }

    /// The cause is gone. Gives what the router is to be told, if that is news.
    pub(super) fn ended(&mut self, router: &Arc<str>, cause: Cause) -> Option<Word> {
        let trouble = self.0.remove(&(Arc::clone(router), cause))?;
        trouble.is_unmet.then(|| self.word(router, cause.need()))
    }

    /// What is to be tried again now.
    pub(super) fn due(&mut self, now: Instant) -> Vec<(Arc<str>, Word)> {
        let mut due = Vec::new();
        for ((router, cause), trouble) in &mut self.0 {
            if trouble.again_at.take_if(|at| *at <= now).is_some() {
                trouble.is_unmet = false;
                due.push((Arc::clone(router), cause.need()));
            }
        }
        due.into_iter()
            .map(|(router, need)| (Arc::clone(&router), self.word(&router, need)))
            .collect()
    }

    /// The router's interface came up, and that may have been it: all is tried now.
    pub(super) fn hasten(&mut self, router: &str, now: Instant) {
        for (_, trouble) in self.0.iter_mut().filter(|((name, _), _)| **name == *router) {
            trouble.again_at = trouble.again_at.map(|_| now);
        }
    }

    /// Other settings are in force: all is tried as if it were the first time.
    pub(super) fn start_anew(&mut self, is_router: impl Fn(&str) -> bool, now: Instant) {
        self.0.retain(|(router, _), _| is_router(router));
        for trouble in self.0.values_mut() {
            trouble.times = 0;
            trouble.again_at = trouble.again_at.map(|_| now);
        }
    }

    /// Whether a look may find that something is over.
    pub(super) fn wants_look(&self) -> bool {
        self.0.keys().any(|(_, cause)| matches!(cause, Cause::Absent | Cause::Deaf))
    }

    fn word(&self, router: &Arc<str>, need: Need) -> Word {
        let mut mine = self.0.iter().filter(|((name, cause), trouble)| {
            name == router && cause.need() == need && trouble.is_unmet
        });
        (need, mine.next().map(|(_, trouble)| trouble.why.clone()))
    }
}

/// How long it is waited after so many failures.
fn wait(times: u32) -> Duration {
    let doubled = 2_u32.saturating_pow(times.saturating_sub(1));
    FIRST.saturating_mul(doubled).min(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    fn a() -> Arc<str> {
        "a".into()
    }

    #[test]
    fn what_only_trying_can_tell_is_tried_ever_more_rarely() {
        let (mut troubles, mut now) = (Troubles::default(), Instant::now());
        let mut waits = Vec::new();
        for _ in 0..11 {
            let (need, why) = troubles.failed(&a(), Cause::Refused, "no", now).unwrap();
            let failed_at = now;
            while troubles.due(now).is_empty() {
                now += s(1);
            }
            let waited = (now - failed_at).as_secs();
            assert_eq!(
                (need, why),
                (Need::Addresses, Some(format!("no; tried again in {waited} s")))
            );
            waits.push(waited);
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        now += WELL;
        let (_, why) = troubles.failed(&a(), Cause::Refused, "no", now).unwrap();
        assert_eq!(why.unwrap(), "no; tried again in 1 s", "it was well in between");
    }

    #[test]
    fn while_it_waits_no_further_failure_is_news() {
        let (mut troubles, now) = (Troubles::default(), Instant::now());
        assert!(troubles.failed(&a(), Cause::Mute, "no", now).is_some());
        assert_eq!(troubles.failed(&a(), Cause::Mute, "not either", now), None);
        assert_eq!(troubles.due(now), []);
        assert_eq!(troubles.due(now + s(1)), [(a(), (Need::Socket, None))]);
        assert_eq!(troubles.due(now + s(2)), [], "once");
    }

    #[test]
    fn an_interface_that_is_not_there_is_waited_for_and_not_tried() {
        let (mut troubles, now) = (Troubles::default(), Instant::now());
        let why = Some("no eth2".to_owned());
        assert_eq!(
            troubles.failed(&a(), Cause::Absent, "no eth2", now),
            Some((Need::Addresses, why.clone()))
        );
        assert_eq!(troubles.failed(&a(), Cause::Absent, "no eth2", now), None, "told once");
        assert!(troubles.wants_look());
        assert_eq!(troubles.due(now + s(3_600)), []);
        assert_eq!(troubles.ended(&a(), Cause::Absent), Some((Need::Addresses, None)));
        assert_eq!(troubles.ended(&a(), Cause::Absent), None);
        assert!(!troubles.wants_look());
    }

    #[test]
    fn a_need_is_met_when_the_last_cause_is_gone() {
        let (mut troubles, now) = (Troubles::default(), Instant::now());
        let _ = troubles.failed(&a(), Cause::Deaf, "deaf", now);
        let _ = troubles.failed(&a(), Cause::Mute, "mute", now);
        assert_eq!(troubles.due(now + s(1)), [(a(), (Need::Socket, Some("deaf".to_owned())))]);
        assert_eq!(troubles.ended(&a(), Cause::Deaf), Some((Need::Socket, None)));
    }

    #[test]
    fn an_interface_that_comes_up_ends_the_wait() {
        let (mut troubles, now) = (Troubles::default(), Instant::now());
        let _ = troubles.failed(&a(), Cause::Mute, "no", now);
        troubles.hasten("b", now);
        assert_eq!(troubles.due(now), []);
        troubles.hasten("a", now);
        assert_eq!(troubles.due(now).len(), 1);
    }

    #[test]
    fn a_reload_tries_at_once() {
        let (mut troubles, now) = (Troubles::default(), Instant::now());
        for failures in 0..5 {
            let _ = troubles.failed(&a(), Cause::Mute, "no", now + s(failures * 20));
            let _ = troubles.due(now + s(failures * 20 + 19));
        }
        let now = now + s(100);
        let _ = troubles.failed(&a(), Cause::Mute, "no", now);
        assert_eq!(troubles.due(now + s(2)), []);
        troubles.start_anew(|_| true, now + s(2));
        assert_eq!(troubles.due(now + s(2)).len(), 1);
        let (_, why) = troubles.failed(&a(), Cause::Mute, "no", now + s(3)).unwrap();
        assert_eq!(why.unwrap(), "no; tried again in 1 s");
        troubles.start_anew(|_| false, now + s(3));
        assert_eq!(troubles.due(now + s(9)), [], "those that are no more are forgotten");
    }
}
