//! Whether the addresses that are held are refreshed in time: a pure decision.

use std::time::{Duration, Instant};

/// Seconds that an address lives on when nobody refreshes it: the last line, should all our
/// processes die at once. Below the time in which a backup at the default interval takes over.
pub(crate) const LIFETIME: u32 = 3;
/// How often it is refreshed.
pub(crate) const REFRESH: Duration = Duration::from_secs(1);
/// From when on that is late.
const LATE: Duration = Duration::from_secs(2);
/// After this the kernel has removed what is held: it looks for what has ended once a second at most.
const LOST: Duration = Duration::from_secs(LIFETIME as u64 + 1);
/// Why it is given away.
const WHY: &str =
    "the kernel removes the addresses, since their lifetime could not be set anew in time";
/// Who did not say for so long that it refreshed all, be that nothing, hangs.
const HUNG: Duration = Duration::from_secs(5);
/// The most of the time between two looks that counts: in all that is longer this process did not run
/// itself, and the other could not either.
const MOST: Duration = Duration::from_millis(1_500);

/// When the addresses were refreshed last.
#[derive(Debug)]
pub(crate) struct Lifetimes {
    /// `None` while nothing is held.
    since: Option<Instant>,
    told: Told,
    /// How long nobody refreshed what is held, and nobody refreshed anything; as far as that counts.
    waited: Duration,
    silent: Duration,
    judged_at: Instant,
}

/// What was told of it, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Told {
    Nothing,
    Late,
    Lost,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Tell this.
    Late(String),
    /// What is held is gone, or as good as: give it away, for this reason.
    Lost(&'static str),
    /// Whoever sets addresses hangs: another process has to.
    Hung,
}

impl Lifetimes {
    pub(crate) const fn new(now: Instant) -> Self {
        Self {
            since: None,
            told: Told::Nothing,
            waited: Duration::ZERO,
            silent: Duration::ZERO,
            judged_at: now,
        }
    }

    /// Whether anything is held now; time counts from when there is.
    pub(crate) fn holds(&mut self, holds: bool, now: Instant) {
        if holds && self.since.is_none() {
            self.since = Some(now);
        } else if !holds {
            self.since = None;
        } else {
            return;
        }
        (self.told, self.waited) = (Told::Nothing, Duration::ZERO);
    }

    /// They were refreshed. Gives what is to be told if that had been late.
    pub(crate) fn refreshed(&mut self, now: Instant) -> Option<String> {
        (self.waited, self.silent) = (Duration::ZERO, Duration::ZERO);
        let told = std::mem::replace(&mut self.told, Told::Nothing);
        let since = self.since.as_mut()?;
        let since = std::mem::replace(since, now);
        (told > Told::Nothing).then(|| {
            let waited = now.saturating_duration_since(since).as_millis();
            format!("the kernel took the lifetime of the addresses again, after {waited} ms")
        })
    }

    /// Whoever refreshes them does something, and so does not hang.
    pub(crate) const fn get_on(&mut self) {
        self.silent = Duration::ZERO;
    }

    /// What is to be done if they ought to have been refreshed by now; each once.
    pub(crate) fn judge(&mut self, now: Instant) -> Option<Verdict> {
        let passed = now.saturating_duration_since(self.judged_at).min(MOST);
        self.judged_at = now;
        self.silent += passed;
        if self.silent >= HUNG {
            return Some(Verdict::Hung);
        }
        let since = self.since?;
        self.waited += passed.min(now.saturating_duration_since(since));
        if self.told < Told::Lost && self.waited >= LOST {
            self.told = Told::Lost;
            return Some(Verdict::Lost(WHY));
        }
        if self.told < Told::Late && now >= since + LATE {
            self.told = Told::Late;
            return Some(Verdict::Late(format!(
                "the lifetime of the addresses could not be set anew for {} ms, since the kernel \
                 keeps the order waiting: after {LIFETIME} s it may remove them",
                LATE.as_millis()
            )));
        }
        None
    }

    /// The kernel says that some of what is held went: where nobody refreshed it in time, that is why.
    pub(crate) fn went(&mut self) -> Option<Verdict> {
        let is_news = self.since.is_some() && self.told == Told::Late;
        is_news.then(|| {
            self.told = Told::Lost;
            Verdict::Lost(WHY)
        })
    }

    /// When [`Self::judge`] is wanted.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let since = self.since?;
        match self.told {
            Told::Nothing => Some(since + LATE),
            Told::Late => Some(self.judged_at + LOST.saturating_sub(self.waited)),
            Told::Lost => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    fn new() -> (Lifetimes, Instant) {
        let now = Instant::now();
        (Lifetimes::new(now), now)
    }

    fn is_late(verdict: Option<Verdict>) -> bool {
        matches!(verdict, Some(Verdict::Late(text)) if text.contains("2000 ms"))
    }

    #[test]
    fn a_late_refresh_is_told_once_and_its_end_too() {
        let (mut lifetimes, start) = new();
        lifetimes.holds(true, start);
        assert_eq!(lifetimes.next_deadline(), Some(start + LATE));
        assert_eq!(lifetimes.judge(start + ms(1_999)), None);
        assert!(is_late(lifetimes.judge(start + ms(2_000))));
        assert_eq!(lifetimes.judge(start + ms(2_500)), None);
        let told = lifetimes.refreshed(start + ms(2_700)).unwrap();
        assert!(told.contains("after 2700 ms"), "{told}");
        assert_eq!(lifetimes.refreshed(start + ms(3_700)), None);
        assert!(is_late(lifetimes.judge(start + ms(5_700))), "and again later");
    }

    /// What was observed: the thread hung, the kernel removed the addresses, and the node went on to
    /// say that it holds them.
    #[test]
    fn what_nobody_refreshed_for_its_lifetime_is_given_away_and_who_hangs_is_replaced() {
        let (mut lifetimes, start) = new();
        lifetimes.holds(true, start);
        let mut told = Vec::new();
        for look in 1..=50_u64 {
            let now = start + ms(look * 100);
            if let Some(verdict) = lifetimes.judge(now) {
                if matches!(verdict, Verdict::Lost(_)) {
                    // It gives them away.
                    lifetimes.holds(false, now);
                }
                told.push((look * 100, verdict));
            }
        }
        let [(2_000, Verdict::Late(_)), (4_000, Verdict::Lost(_)), (5_000, Verdict::Hung)] =
            told.as_slice()
        else {
            panic!("{told:?}")
        };
    }

    #[test]
    fn what_is_late_is_looked_at_again_when_its_lifetime_ends() {
        let (mut lifetimes, start) = new();
        lifetimes.holds(true, start);
        let _ = lifetimes.judge(start + ms(1_000));
        let _ = lifetimes.judge(start + ms(2_000));
        assert_eq!(lifetimes.next_deadline(), Some(start + ms(4_000)));
        let _ = lifetimes.judge(start + ms(3_000));
        assert!(matches!(lifetimes.judge(start + ms(4_000)), Some(Verdict::Lost(_))));
        assert_eq!(lifetimes.next_deadline(), None);
        assert!(lifetimes.refreshed(start + ms(4_500)).is_some());
        assert_eq!(lifetimes.next_deadline(), Some(start + ms(4_500) + LATE));
    }

    #[test]
    fn what_the_kernel_removed_since_nobody_refreshed_it_is_given_away_at_once() {
        let (mut lifetimes, start) = new();
        lifetimes.holds(true, start);
        let _ = lifetimes.judge(start + ms(1_000));
        assert_eq!(lifetimes.went(), None, "somebody else removed it");
        assert!(is_late(lifetimes.judge(start + ms(2_000))));
        assert!(matches!(lifetimes.went(), Some(Verdict::Lost(_))));
        assert_eq!(lifetimes.went(), None, "once");
        let _ = lifetimes.judge(start + ms(3_000));
        assert_eq!(lifetimes.judge(start + ms(4_000)), None);
    }

    #[test]
    fn while_this_process_did_not_run_itself_nobody_is_said_to_hang() {
        let (mut lifetimes, start) = new();
        lifetimes.holds(true, start);
        // It was stopped for a minute, and so was the thread.
        assert!(is_late(lifetimes.judge(start + ms(60_000))));
        assert_eq!(lifetimes.judge(start + ms(60_100)), None);
        assert!(lifetimes.refreshed(start + ms(60_200)).is_some());
        assert_eq!(lifetimes.judge(start + ms(61_200)), None);
    }

    #[test]
    fn a_thread_that_hangs_while_nothing_is_held_is_replaced_too() {
        let (mut lifetimes, start) = new();
        let looks = (1..=8).map(|look| lifetimes.judge(start + ms(look * 1_000)));
        let told: Vec<_> = looks.map(|verdict| verdict.is_some()).collect();
        assert_eq!(told, [false, false, false, false, true, true, true, true]);
        lifetimes.get_on();
        assert_eq!(lifetimes.judge(start + ms(9_000)), None, "what takes long does not hang");
    }

    #[test]
    fn in_time_nothing_is_told() {
        let (mut lifetimes, mut now) = new();
        lifetimes.holds(true, now);
        for _ in 0..5 {
            now += ms(1_900);
            lifetimes.holds(true, now);
            assert_eq!((lifetimes.judge(now), lifetimes.refreshed(now)), (None, None));
        }
    }

    #[test]
    fn who_holds_nothing_is_never_late() {
        let (mut lifetimes, start) = new();
        assert_eq!((lifetimes.judge(start + ms(9_000)), lifetimes.next_deadline()), (None, None));
        lifetimes.holds(true, start);
        lifetimes.holds(false, start + ms(1_000));
        assert_eq!(lifetimes.judge(start + ms(9_000)), None);
        lifetimes.holds(true, start + ms(9_000));
        assert_eq!(lifetimes.judge(start + ms(9_001)), None, "time counts from when it took them");
    }
}
