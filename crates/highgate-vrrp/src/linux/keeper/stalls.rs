//! Why this process did not run when it was to: whether others had the processors, the machine's host
//! did, or neither, and it was kept by itself or by the kernel.
//!
//! The kernel's accounts are read once what was late has been sent, and seldom besides: those of a large
//! machine take a while to read.

use std::{
    fs,
    sync::Arc,
    time::{Duration, Instant},
};

use super::Keeper;
use crate::event::Event;

/// How often the accounts are read without need.
const LOOK: Duration = Duration::from_secs(10);
/// The unit of /proc/stat, the same on all machines.
const TICK: Duration = Duration::from_millis(10);

/// What the kernel's accounts said last, and what is to be told.
#[derive(Debug)]
pub(super) struct Stalls {
    at: Instant,
    accounts: Accounts,
    waiting: Vec<(Arc<str>, Event)>,
    /// How often this thread has a turn at least: where routers listen, silence is a word.
    pulse: Duration,
    ran_at: Instant,
}

/// Sums since the beginning; `None` where the kernel keeps no account.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Accounts {
    /// How long this thread waited for a processor that others had.
    waited: Option<Duration>,
    /// How long the host ran others in place of this machine's processors.
    stolen: Option<Duration>,
}

impl Stalls {
    /// From now on.
    pub(super) fn new(now: Instant) -> Self {
        Self { at: now, accounts: Accounts::read(), waiting: Vec::new(), pulse: LOOK, ran_at: now }
    }

    /// The shortest interval of routers, from now on.
    pub(super) const fn pulses(&mut self, pulse: Duration, now: Instant) {
        (self.pulse, self.ran_at) = (pulse, now);
    }

    /// Not later is the next turn.
    pub(super) fn next_turn(&self) -> Instant {
        self.ran_at + self.pulse
    }

    /// A turn begins. How late it is, if that is as long as the shortest interval.
    fn slept(&mut self, now: Instant) -> Option<Duration> {
        let late = now.saturating_duration_since(self.next_turn());
        self.ran_at = now;
        (late >= self.pulse).then_some(late)
    }

    /// This is told with its cause, later; so often was an advert repeated meanwhile.
    pub(super) fn note(&mut self, router: &Arc<str>, mut event: Event, repeated: u8) {
        if repeated > 0 {
            let times = match repeated {
                1 => "once".to_owned(),
                more => format!("{more} times"),
            };
            event.text += &format!("; another thread repeated its advert {times}");
        }
        self.waiting.push((Arc::clone(router), event));
    }

    /// What is to be told now, with its cause.
    fn told(&mut self, now: Instant) -> Vec<(Arc<str>, Event)> {
        if self.waiting.is_empty() && now.saturating_duration_since(self.at) < LOOK {
            return Vec::new();
        }
        let accounts = Accounts::read();
        let before = std::mem::replace(&mut self.accounts, accounts);
        let time = now.saturating_duration_since(std::mem::replace(&mut self.at, now));
        let cause = cause(before, accounts, time);
        let mut told = std::mem::take(&mut self.waiting);
        for (_, event) in &mut told {
            event.text.push_str(&cause);
        }
        told
    }
}

impl Accounts {
    fn read() -> Self {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        Self::parse(&read("/proc/thread-self/schedstat"), &read("/proc/stat"))
    }

    fn parse(schedstat: &str, stat: &str) -> Self {
        let number = |text: &str, at: usize| text.split_whitespace().nth(at)?.parse::<u64>().ok();
        let all = stat.lines().next().filter(|line| line.starts_with("cpu "));
        let ticks = all.and_then(|line| number(line, 8));
        Self {
            waited: number(schedstat, 1).map(Duration::from_nanos),
            stolen: ticks.map(|it| TICK.saturating_mul(u32::try_from(it).unwrap_or(u32::MAX))),
        }
    }
}

fn cause(before: Accounts, after: Accounts, time: Duration) -> String {
    let grown = |before: Option<Duration>, after: Option<Duration>| {
        Some(after?.saturating_sub(before?).as_millis())
    };
    let waited = grown(before.waited, after.waited)
        .map(|ms| format!("it waited {ms} ms for a processor that others had"));
    let stolen = grown(before.stolen, after.stolen)
        .map(|ms| format!("the machine's host held its processors for {ms} ms in all"));
    let known: Vec<String> = waited.into_iter().chain(stolen).collect();
    if known.is_empty() {
        return String::new();
    }
    format!(" (within the last {} ms {})", time.as_millis(), known.join(", and "))
}

impl Keeper {
    /// What was not heard while this process did not run is no silence.
    pub(super) fn judge_sleep(&mut self, now: Instant) {
        if let Some(time) = self.stalls.slept(now) {
            let orders = self.routers.slept(time, now);
            self.carry_out(orders, now);
        }
    }

    /// Tells of what was late, once it is done.
    pub(super) fn tell_of_stalls(&mut self, now: Instant) {
        for (router, event) in self.stalls.told(now) {
            self.tell(Some(&router), event);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Kind, Severity};

    #[test]
    fn a_stall_is_told_with_what_kept_the_processors() {
        let stat = |steal| format!("cpu  1 2 3 4 5 6 7 {steal} 9 0\ncpu0 1 2 3 4 5 6 7 8 9 0\n");
        let before = Accounts::parse("9 5000000 7", &stat(10));
        let after = Accounts::parse("9 47000000 9", &stat(13));
        assert_eq!(
            cause(before, after, Duration::from_millis(950)),
            " (within the last 950 ms it waited 42 ms for a processor that others had, and the \
             machine's host held its processors for 30 ms in all)"
        );
    }

    #[test]
    fn where_the_kernel_keeps_no_account_nothing_is_said_of_it() {
        let none = Accounts::parse("", "");
        assert_eq!(none, Accounts::default());
        assert_eq!(cause(none, none, Duration::from_millis(950)), "");
        let some = Accounts::parse("9 5000000 7", "intr 1 2 3 4 5 6 7 8 9");
        assert_eq!(some.stolen, None);
        assert!(cause(some, some, LOOK).contains("it waited 0 ms"));
    }

    #[test]
    fn a_turn_that_comes_late_by_an_interval_is_noticed() {
        let (start, ms) = (Instant::now(), Duration::from_millis);
        let mut stalls = Stalls::new(start);
        stalls.pulses(ms(10), start);
        assert_eq!(stalls.next_turn(), start + ms(10));
        assert_eq!(stalls.slept(start + ms(19)), None);
        assert_eq!(stalls.slept(start + ms(19 + 20)), Some(ms(10)));
        assert_eq!(stalls.slept(start + ms(40)), None);
    }

    #[test]
    fn what_was_noted_is_told_once() {
        let now = Instant::now();
        let mut stalls = Stalls::new(now);
        assert_eq!(stalls.told(now), []);
        stalls.note(&"a".into(), Event::new(Severity::Warning, Kind::Stall, "late"), 3);
        let told = stalls.told(now + Duration::from_millis(40));
        assert!(
            told.len() == 1
                && told[0].1.text.starts_with(
                    "late; another thread repeated its advert 3 times (within the last 40 ms"
                ),
            "{told:?}"
        );
        assert_eq!(stalls.told(now + Duration::from_millis(50)), []);
    }
}
