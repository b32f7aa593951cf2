//! Servers that are writable beside the primary: whether that was a promotion, after all.

use std::time::{Duration, Instant};

use super::Machine;
use crate::topology::{Input, Observation, PrimaryRecord, gtid};

/// How long a primary may be seen to take writes behind the promotion of another and still be replaced by it
/// as soon as it dies: what makes a switchover by opening the new one first is done within seconds. Later on
/// it was no promotion, or one that failed, and the other lacks what was written since: a primary that is away
/// for a moment must not be replaced by that.
const SWITCHOVER: Duration = Duration::from_secs(5);

/// A server that is writable beside the primary.
#[derive(Debug, Clone, Copy)]
pub(super) struct Beside {
    since: Instant,
    /// Whether it was seen to become so, or had followed the primary: nobody else is meant to be promoted.
    is_meant: bool,
    /// Whether the primary was read as writable after that.
    outlived: bool,
}

impl Machine {
    /// Takes note of who is writable beside the primary, and forgets that it was promoted, or followed the
    /// primary, once that was read as writable for long behind it.
    pub(super) fn refute(
        &mut self,
        inputs: &[Input<'_>],
        candidates: &[usize],
        primary: Option<usize>,
        now: Instant,
    ) {
        // Who is away, or can't be read, may come back as it was.
        self.beside.retain(|name, _| {
            let at = inputs.iter().position(|input| input.name == name);
            at.and_then(|at| Some((at, inputs.get(at)?))).is_some_and(|(at, input)| {
                candidates.contains(&at) || input.unread.is_some() || input.live(now).is_none()
            })
        });
        let Some((primary, seen)) =
            primary.and_then(|index| Some((index, inputs.get(index)?.live(now)?)))
        else {
            return;
        };
        for index in candidates.iter().filter(|index| **index != primary) {
            let Some(rival) = inputs.get(*index) else { continue };
            let Some(seen) = rival.live(now) else { continue };
            let opened = self.promoted.get(rival.name).copied();
            let followed =
                self.record.as_ref().is_some_and(|record| record.followers.contains(rival.name));
            let is_meant = opened.is_some() || followed;
            let since = opened.unwrap_or(seen.at);
            let beside = Beside { since, is_meant, outlived: false };
            self.beside.entry(rival.name.clone()).or_insert(beside);
        }
        for (name, beside) in &mut self.beside {
            beside.outlived |= seen.at > beside.since;
            if seen.at >= beside.since + SWITCHOVER {
                self.promoted.remove(name);
                if let Some(record) = &mut self.record {
                    record.followers.remove(name);
                }
            }
        }
    }

    /// Whether a server that became writable while the primary still took writes lacks some of them. Who is promoted
    /// once that is gone, or was closed, may: whoever did it knew.
    pub(super) fn lacks_writes(&self, record: &PrimaryRecord, rival: &Input<'_>) -> bool {
        self.beside.get(rival.name).is_some_and(|beside| beside.outlived)
            && rival.seen.is_some_and(|seen| gtid::lacks(&seen.gtid, &record.gtid))
    }

    /// Whether a server that was opened or detached, however long before the primary was closed, has the same
    /// transactions as that: a switchover that took its time, and lost nothing.
    pub(super) fn is_abreast(&self, old: &Observation, heir: &Input<'_>) -> bool {
        let is_meant = self.beside.get(heir.name).is_some_and(|beside| beside.is_meant);
        let is_same = |seen: &Observation| gtid::is_same(&seen.gtid, &old.gtid);
        is_meant && old.read_only && heir.seen.is_some_and(is_same)
    }
}
