//! What clients were told about each of their writes, and whether it was true.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// What a client was told about a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    /// It was carried out.
    Done,
    /// It was not carried out.
    Refused,
    /// It may have been carried out or not.
    Unknown,
}

/// One write.
#[derive(Debug, Clone, Copy)]
pub(super) struct Write {
    pub(super) writer: usize,
    pub(super) number: u64,
    pub(super) from: Instant,
    pub(super) to: Instant,
    pub(super) told: Told,
}

/// All writes of the demo.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    writes: Vec<Write>,
}

/// The result of counting rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Proof {
    /// Writes that clients were told are done.
    pub(super) acknowledged: usize,
    /// Of these, how many are not there.
    pub(super) lost: usize,
    /// Writes that are there more than once.
    pub(super) doubled: usize,
    /// Writes that clients were told failed, and that are there.
    pub(super) denied: usize,
    /// Writes whose outcome clients were told is unknown.
    pub(super) unknown: usize,
    /// Of these, how many are there.
    pub(super) unknown_there: usize,
    /// Rows that nobody wrote.
    pub(super) foreign: usize,
}

impl Proof {
    pub(super) fn holds(&self) -> bool {
        self.lost + self.doubled + self.denied + self.foreign == 0
    }
}

impl Ledger {
    pub(super) fn enter(&mut self, write: Write) {
        self.writes.push(write);
    }

    /// How many of the writes that ended between two moments were answered so.
    pub(super) fn count(&self, told: Told, from: Instant, to: Instant) -> usize {
        let within = |write: &&Write| write.told == told && (from..=to).contains(&write.to);
        self.writes.iter().filter(within).count()
    }

    /// Writes that were under way at some moment between the two.
    pub(super) fn in_flight(&self, from: Instant, to: Instant) -> usize {
        self.writes.iter().filter(|write| write.from <= to && write.to >= from).count()
    }

    /// The longest time between two moments in which no write was acknowledged.
    pub(super) fn longest_pause(&self, from: Instant, to: Instant) -> Duration {
        let done = self.writes.iter().filter(|write| write.told == Told::Done);
        let mut ends: Vec<Instant> =
            done.map(|write| write.to).filter(|end| (from..=to).contains(end)).collect();
        ends.sort_unstable();
        ends.push(to);
        let mut last = from;
        let mut longest = Duration::ZERO;
        for end in ends {
            longest = longest.max(end.saturating_duration_since(last));
            last = end;
        }
        longest
    }

    /// Compares what was told with the rows that are there: how often each (writer, number) is.
    pub(super) fn prove(&self, mut there: BTreeMap<(usize, u64), usize>) -> Proof {
        let mut proof = Proof::default();
        for write in &self.writes {
            let count = there.remove(&(write.writer, write.number)).unwrap_or(0);
            proof.doubled += usize::from(count > 1);
            match write.told {
                Told::Done => {
                    proof.acknowledged += 1;
                    proof.lost += usize::from(count == 0);
                }
                Told::Refused => proof.denied += usize::from(count > 0),
                Told::Unknown => {
                    proof.unknown += 1;
                    proof.unknown_there += usize::from(count > 0);
                }
            }
        }
        proof.foreign = there.len();
        proof
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger(writes: &[(Told, u64, u64)]) -> (Ledger, Instant) {
        let start = highgate_io::clock::now();
        let at = |ms: &u64| start + Duration::from_millis(*ms);
        let mut ledger = Ledger::default();
        for (number, (told, from, to)) in (0..).zip(writes) {
            ledger.enter(Write { writer: 0, number, from: at(from), to: at(to), told: *told });
        }
        (ledger, start)
    }

    #[test]
    fn each_kind_of_broken_promise_is_counted() {
        use Told::{Done, Refused, Unknown};
        let (ledger, _) = ledger(&[(Done, 0, 1), (Done, 1, 2), (Refused, 2, 3), (Unknown, 3, 4)]);
        let good = ledger.prove(BTreeMap::from([((0, 0), 1), ((0, 1), 1), ((0, 3), 1)]));
        assert!(good.holds() && good.acknowledged == 2 && good.unknown_there == 1);
        let bad = ledger.prove(BTreeMap::from([((0, 0), 2), ((0, 2), 1), ((7, 7), 1)]));
        assert_eq!((bad.doubled, bad.lost, bad.denied, bad.foreign), (1, 1, 1, 1));
        assert!(!bad.holds() && bad.unknown_there == 0);
    }

    #[test]
    fn a_pause_that_has_not_ended_counts() {
        let (ledger, start) = ledger(&[(Told::Done, 0, 10), (Told::Done, 10, 20)]);
        let end = start + Duration::from_millis(500);
        assert_eq!(ledger.longest_pause(start, end), Duration::from_millis(480));
    }

    #[test]
    fn in_flight_is_what_began_before_the_end_and_ended_after_the_begin() {
        let (ledger, start) =
            ledger(&[(Told::Done, 0, 10), (Told::Unknown, 9, 30), (Told::Done, 25, 40)]);
        let at = |ms| start + Duration::from_millis(ms);
        assert_eq!(ledger.in_flight(at(12), at(20)), 1);
        assert_eq!(ledger.in_flight(at(10), at(25)), 3);
    }
}
