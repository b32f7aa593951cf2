//! Who takes writes, from what is remembered and what is seen.

use std::time::{Duration, Instant};

use highgate_config::{AdminState, ServerName};

use super::Machine;
use crate::topology::{Input, IoThread, Observation, PrimaryRecord, links::target};

/// How long a first primary is not chosen for want of a server that answers and can't be read.
const PATIENCE: Duration = Duration::from_secs(10);

/// Who is primary after one look.
pub(super) enum Verdict {
    Primary(usize),
    Waiting(String),
    Refused(String),
}

impl Machine {
    /// Servers that could take writes: writable, and no replica of another member.
    pub(super) fn candidates(&self, inputs: &[Input<'_>], now: Instant) -> Vec<usize> {
        let links = self.links(inputs, None, false, now);
        let record = self.record.as_ref();
        (inputs.iter().enumerate())
            .filter(|(_, input)| {
                input.live(now).is_some_and(|seen| !seen.read_only)
                    // An old reading keeps a primary, it makes none.
                    && (input.unread.is_none() || record.is_none_or(|r| r.server == *input.name))
                    // A writable replica is careless, not promoted, unless it was seen to become writable.
                    && (self.promoted.contains_key(input.name) || !links.replicates_inside(input))
                    && !self.is_emptied(inputs, input, now)
            })
            .map(|(index, _)| index)
            .collect()
    }

    pub(super) fn elect(
        &self,
        inputs: &[Input<'_>],
        candidates: &[usize],
        now: Instant,
    ) -> Verdict {
        let Some(record) = &self.record else {
            return first(inputs, None, candidates, now);
        };
        if !record.is_among(inputs) {
            return first(inputs, Some(&record.server), candidates, now);
        }
        let current = candidates.iter().copied().find(|index| {
            inputs
                .get(*index)
                .is_some_and(|i| i.live(now).is_some_and(|seen| record.is(i.name, seen)))
        });
        if let Some(index) = current {
            let successor = self.successor(inputs, candidates, index, now);
            return Verdict::Primary(successor.unwrap_or(index));
        }
        // After a restart the primary may well be fine: no heir before it was looked at.
        let old = inputs.iter().find(|input| *input.name == record.server);
        if let Some(input) = old.filter(|input| !input.checked) {
            return Verdict::Waiting(format!("the primary {} is not checked yet", input.name));
        }
        let may = |index: &&usize| {
            inputs.get(**index).is_some_and(|heir| self.may_inherit(inputs, record, heir, now))
        };
        let heirs: Vec<usize> = candidates.iter().filter(may).copied().collect();
        self.succession(inputs, &heirs, candidates, now)
    }

    /// Whether a candidate may take the place of the primary of record.
    fn may_inherit(
        &self,
        inputs: &[Input<'_>],
        record: &PrimaryRecord,
        heir: &Input<'_>,
        now: Instant,
    ) -> bool {
        let Some(old) = inputs.iter().find(|input| *input.name == record.server) else {
            return false;
        };
        let seen = old.live(now);
        // Whoever restarts may be read-only for its configuration file alone.
        let was_closed = seen.is_some() && !self.was_away;
        let follows_it =
            record.followers.contains(heir.name) || self.promoted.contains_key(heir.name);
        (follows_it && (was_closed || !self.lacks_writes(record, heir)))
            || seen.is_some_and(|seen| {
                // The old primary itself follows it: nothing could be plainer.
                follows(inputs, seen, heir.name)
                    || (record.is(old.name, seen) && self.is_abreast(seen, heir))
            })
    }

    /// Who was promoted in place of a primary of record that looks writable only because it was not
    /// read since, or that follows the promoted one already. A primary that was read as writable
    /// after the promotion stays: then two are writable.
    fn successor(
        &self,
        inputs: &[Input<'_>],
        candidates: &[usize],
        current: usize,
        now: Instant,
    ) -> Option<usize> {
        let old = inputs.get(current)?;
        let seen = old.live(now)?;
        let blind = old.unread.is_some() || old.doubted;
        let mut successors = candidates.iter().copied().filter(|index| {
            let Some((rival, rival_seen)) =
                (inputs.get(*index)).and_then(|rival| Some((rival, rival.live(now)?)))
            else {
                return false;
            };
            let Some(promoted_at) = self.promoted.get(rival.name) else {
                return false;
            };
            *index != current
                && !rival.doubted
                && !fetches(inputs, rival_seen, old.name)
                && ((blind && seen.at < *promoted_at) || follows(inputs, seen, rival.name))
        });
        successors.next().filter(|_| successors.next().is_none())
    }

    /// The primary of record is no candidate: its one heir, or why there is none.
    fn succession(
        &self,
        inputs: &[Input<'_>],
        heirs: &[usize],
        candidates: &[usize],
        now: Instant,
    ) -> Verdict {
        let Some(record) = &self.record else {
            return first(inputs, None, candidates, now);
        };
        let old = inputs.iter().find(|input| *input.name == record.server);
        let state =
            old.map_or_else(|| "gone".to_owned(), |old| self.state(inputs, record, old, now));
        let primary = &record.server;
        match (heirs, candidates) {
            ([heir], _) => Verdict::Primary(*heir),
            ([], []) => Verdict::Waiting(format!(
                "the primary {primary} is {state}, and no other server is writable"
            )),
            ([], strangers) => {
                let (writable, there) = self.what_they_are(inputs, strangers);
                Verdict::Refused(format!(
                    "the primary {primary} is {state}; {} {writable} and may lack writes: set \
                     read_only=1 and then 0 {there} to make it the primary, or, if {primary} is gone for \
                     good, `highgate ctl forget-primary {}`",
                    names(inputs, strangers),
                    self.backend
                ))
            }
            (several, _) => Verdict::Refused(format!(
                "the primary {primary} is {state}, and {} are all writable: set read_only=1 on all but one",
                names(inputs, several)
            )),
        }
    }

    /// What the primary of record is, instead of that.
    fn state(
        &self,
        inputs: &[Input<'_>],
        record: &PrimaryRecord,
        old: &Input<'_>,
        now: Instant,
    ) -> String {
        let Some(seen) = old.live(now) else { return old.absence().to_owned() };
        if self.is_emptied(inputs, old, now) {
            return format!(
                "without its data (its GTID position is `{}`, and was `{}`; if its rows are there, and only its \
                 binary log is new, or if that is on purpose: `highgate ctl forget-primary {}`)",
                seen.gtid, record.gtid, self.backend
            );
        }
        let state = match seen {
            seen if !record.is(old.name, seen) => "replaced by another server",
            seen if seen.read_only => "read-only",
            _ => "replicating from another server",
        };
        state.to_owned()
    }

    /// Why no writable server is an heir, and where to say that it is one.
    fn what_they_are(
        &self,
        inputs: &[Input<'_>],
        strangers: &[usize],
    ) -> (&'static str, &'static str) {
        let beside = (strangers.iter().filter_map(|index| inputs.get(*index)))
            .all(|input| self.beside.contains_key(input.name));
        match (beside, strangers) {
            (true, [_]) => ("was writable beside it", "there"),
            (true, _) => ("were writable beside it", "on one of them"),
            (false, [_]) => ("is writable but was not seen as its replica", "there"),
            (false, _) => ("are writable but were not seen as its replicas", "on one of them"),
        }
    }
}

/// Without a record, or where that one is gone: the only writable server, once all that answer were read.
fn first(
    inputs: &[Input<'_>],
    gone: Option<&ServerName>,
    candidates: &[usize],
    now: Instant,
) -> Verdict {
    let why = gone.map_or_else(
        || "no primary is known".to_owned(),
        |gone| format!("the primary {gone} is not in the configuration any more"),
    );
    if let Some(input) = inputs.iter().find(|input| !input.checked) {
        return Verdict::Waiting(format!("{why}, and {} is not checked yet", input.name));
    }
    if let Some(input) = inputs.iter().find(|input| is_hidden(inputs, input, now)) {
        // For as long as that lasts: a person has to know what to do.
        let hint = if input.unread.is_some_and(|unread| is_old(unread.since, now)) {
            "; another server replicates from it: repair that, or put it into maintenance"
        } else {
            ""
        };
        return Verdict::Waiting(format!("{why}; {} is {}{hint}", input.name, input.absence()));
    }
    match candidates {
        [] => Verdict::Waiting(match inputs.iter().find(|i| i.alive && i.live(now).is_none()) {
            Some(unread) => {
                format!("{why}; {} is {}", unread.name, unread.absence())
            }
            None if gone.is_some() => {
                format!("{why}, and no other server is writable (read_only=0)")
            }
            None => "no server is writable (read_only=0)".to_owned(),
        }),
        [only] => Verdict::Primary(*only),
        several => Verdict::Refused(format!(
            "{} are writable and nothing says which is the primary: set read_only=1 on all but one",
            names(inputs, several)
        )),
    }
}

/// Whether a server answers, and may turn out to be the primary once it can be read: the first one is
/// remembered for good. Whoever can't be read for long is left out (its account may be wrong for ever), unless
/// another fetches from it: then it is a source, and a writable server that is not may be far behind.
fn is_hidden(inputs: &[Input<'_>], input: &Input<'_>, now: Instant) -> bool {
    let Some(unread) = input.unread else { return input.is_awaited() };
    let fetch =
        |other: &Input<'_>| other.live(now).is_some_and(|seen| fetches(inputs, seen, input.name));
    input.admin != AdminState::Maintenance
        && input.live(now).is_none()
        && (!is_old(unread.since, now) || inputs.iter().any(fetch))
}

fn is_old(since: Instant, now: Instant) -> bool {
    now.saturating_duration_since(since) >= PATIENCE
}

fn names(inputs: &[Input<'_>], indices: &[usize]) -> String {
    let names: Vec<_> = indices
        .iter()
        .filter_map(|index| inputs.get(*index))
        .map(|input| input.name.as_str())
        .collect();
    names.join(", ")
}

/// Whether a server replicates, or tries to, from that one.
fn follows(inputs: &[Input<'_>], seen: &Observation, name: &ServerName) -> bool {
    (seen.sources.iter())
        .filter(|source| source.io != IoThread::Stopped)
        .any(|source| target(inputs, source).is_some_and(|to| to.name == name))
}

/// Whether a server is connected to that one and fetches from it: then that one lives.
fn fetches(inputs: &[Input<'_>], seen: &Observation, name: &ServerName) -> bool {
    (seen.sources.iter())
        .filter(|source| source.io == IoThread::Running)
        .any(|source| target(inputs, source).is_some_and(|to| to.name == name))
}
