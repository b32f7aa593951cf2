//! Whether the addresses that are held are refreshed in time: a pure decision.

use std::time::{Duration, Instant};

/// Seconds that an address lives on when nobody refreshes it: the last line, should all our
/// processes die at once. Below the time in which a backup at the default interval takes over.
pub(crate) const LIFETIME: u32 = 3;
/// How often it is refreshed.
pub(crate) const REFRESH: Duration = Duration::from_secs(1);
/// From when on that is late.
const LATE: Duration = Duration::from_secs(2);

/// When the addresses were refreshed last.
#[derive(Debug)]
pub(crate) struct Lifetimes {
    /// `None` while nothing is held.
    since: Option<Instant>,
    is_late: bool,
}

impl Lifetimes {
    pub(crate) const fn new() -> Self {
        Self { since: None, is_late: false }
    }

    /// Whether anything is held now; time counts from when there is.
    pub(crate) fn holds(&mut self, holds: bool, now: Instant) {
        if holds {
            self.since.get_or_insert(now);
        } else {
            *self = Self::new();
        }
    }

    /// They were refreshed. Gives what is to be told if that had been late.
    pub(crate) fn refreshed(&mut self, now: Instant) -> Option<String> {
        let since = self.since.replace(now)?;
        std::mem::take(&mut self.is_late).then(|| {
            let waited = now.saturating_duration_since(since).as_millis();
            format!("the kernel took the lifetime of the addresses again, after {waited} ms")
        })
    }

    /// What is to be told if they ought to have been refreshed by now; once.
    pub(crate) fn judge(&mut self, now: Instant) -> Option<String> {
        if self.is_late || self.next_deadline().is_none_or(|at| at > now) {
            return None;
        }
        self.is_late = true;
        Some(format!(
            "the lifetime of the addresses could not be set anew for {} ms, since the kernel keeps \
             the order waiting: after {LIFETIME} s it may remove them",
            LATE.as_millis()
        ))
    }

    /// When [`Self::judge`] is wanted.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.since.filter(|_| !self.is_late).map(|since| since + LATE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    #[test]
    fn a_late_refresh_is_told_once_and_its_end_too() {
        let (mut lifetimes, start) = (Lifetimes::new(), Instant::now());
        lifetimes.holds(true, start);
        assert_eq!(lifetimes.next_deadline(), Some(start + LATE));
        assert_eq!(lifetimes.judge(start + ms(1_999)), None);
        assert!(lifetimes.judge(start + ms(2_000)).unwrap().contains("2000 ms"));
        assert_eq!((lifetimes.judge(start + ms(2_500)), lifetimes.next_deadline()), (None, None));
        let told = lifetimes.refreshed(start + ms(2_700)).unwrap();
        assert!(told.contains("after 2700 ms"), "{told}");
        assert_eq!(lifetimes.refreshed(start + ms(3_700)), None);
        assert!(lifetimes.judge(start + ms(5_700)).is_some(), "and again later");
    }

    #[test]
    fn in_time_nothing_is_told() {
        let (mut lifetimes, mut now) = (Lifetimes::new(), Instant::now());
        lifetimes.holds(true, now);
        for _ in 0..5 {
            now += ms(1_900);
            lifetimes.holds(true, now);
            assert_eq!((lifetimes.judge(now), lifetimes.refreshed(now)), (None, None));
        }
    }

    #[test]
    fn who_holds_nothing_is_never_late() {
        let (mut lifetimes, start) = (Lifetimes::new(), Instant::now());
        assert_eq!((lifetimes.judge(start + ms(9_000)), lifetimes.next_deadline()), (None, None));
        lifetimes.holds(true, start);
        lifetimes.holds(false, start + ms(1_000));
        assert_eq!(lifetimes.judge(start + ms(9_000)), None);
        lifetimes.holds(true, start + ms(9_000));
        assert_eq!(lifetimes.judge(start + ms(9_001)), None, "time counts from when it took them");
    }
}
