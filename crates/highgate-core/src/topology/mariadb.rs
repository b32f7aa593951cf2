//! Roles in GTID replication, as `read_only` and the replication threads of MariaDB and MySQL show them.
//!
//! Highgate does not promote: it follows whoever does, and refuses to follow into a split brain.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use highgate_config::{BackendName, ServerName};

use super::{
    Assigned, Input, IoThread, Observation, Outcome, PrimaryRecord,
    links::{LastFine, Links, target},
    notes,
};
use crate::{
    events::{Event, Kind, Severity},
    snapshot::{Role, Status, Writes},
};

/// The machine of one backend.
#[derive(Debug, Clone)]
pub struct Machine {
    backend: BackendName,
    record: Option<PrimaryRecord>,
    /// Last known `read_only` of each server.
    was_read_only: BTreeMap<ServerName, bool>,
    /// Servers seen to flip from read-only to writable, until they turn back: these were promoted.
    promoted: BTreeMap<ServerName, ()>,
    fine: LastFine,
    before: Option<Outcome>,
    rivals: Vec<ServerName>,
    /// A deliberate bug that the simulation has to find.
    #[cfg(test)]
    pub(crate) ignore_record: bool,
}

/// Who is primary after one look.
enum Verdict {
    Primary(usize),
    Waiting(String),
    Refused(String),
}

impl Machine {
    /// A machine that remembers that primary.
    #[must_use]
    pub fn new(backend: BackendName, record: Option<PrimaryRecord>) -> Self {
        Self {
            backend,
            record,
            was_read_only: BTreeMap::new(),
            promoted: BTreeMap::new(),
            fine: LastFine::new(),
            before: None,
            rivals: Vec::new(),
            #[cfg(test)]
            ignore_record: false,
        }
    }

    /// The primary to remember.
    #[must_use]
    pub fn record(&self) -> Option<&PrimaryRecord> {
        self.record.as_ref()
    }

    /// Judges all servers, in the order of their names.
    pub fn step(&mut self, inputs: &[Input<'_>], now: Instant, events: &mut Vec<Event>) -> Outcome {
        #[cfg(test)]
        if self.ignore_record {
            self.record = None;
        }
        self.notice_flips(inputs, now);
        let candidates = self.candidates(inputs, now);
        let verdict = self.elect(inputs, &candidates, now);
        if let Verdict::Primary(index) = verdict
            && let Some(input) = inputs.get(index)
            && let Some(seen) = input.live(now)
        {
            self.remember(inputs, input.name, seen, now, events);
        }
        self.tell_rivals(inputs, &candidates, events);
        let outcome = self.assign(inputs, verdict, now);
        self.learn_followers(inputs, &outcome, now);
        notes::tell(&self.backend, self.before.as_ref(), &outcome, events);
        self.before = Some(outcome.clone());
        outcome
    }

    fn notice_flips(&mut self, inputs: &[Input<'_>], now: Instant) {
        for input in inputs {
            let Some(seen) = input.live(now) else {
                // What comes back writable may have restarted without its read_only: no promotion.
                self.was_read_only.remove(input.name);
                continue;
            };
            if self
                .was_read_only
                .insert(input.name.clone(), seen.read_only)
                == Some(true)
                && !seen.read_only
            {
                self.promoted.insert(input.name.clone(), ());
            } else if seen.read_only {
                self.promoted.remove(input.name);
            }
        }
        self.was_read_only
            .retain(|name, _| inputs.iter().any(|input| input.name == name));
        self.fine
            .retain(|name, _| inputs.iter().any(|input| input.name == name));
    }

    /// Servers that could take writes: writable, and no replica of another member.
    fn candidates(&self, inputs: &[Input<'_>], now: Instant) -> Vec<usize> {
        let links = self.links(inputs, None, false, now);
        (inputs.iter().enumerate())
            .filter(|(_, input)| {
                input.live(now).is_some_and(|seen| !seen.read_only)
                    // A writable replica is careless, not promoted, unless it was seen to become writable.
                    && (self.promoted.contains_key(input.name) || !links.replicates_inside(input))
            })
            .map(|(index, _)| index)
            .collect()
    }

    fn elect(&self, inputs: &[Input<'_>], candidates: &[usize], now: Instant) -> Verdict {
        let names = |indices: &[usize]| {
            let names: Vec<_> = indices
                .iter()
                .filter_map(|i| inputs.get(*i))
                .map(|i| i.name.as_str())
                .collect();
            names.join(", ")
        };
        let recorded = self
            .record
            .as_ref()
            .filter(|r| inputs.iter().any(|i| *i.name == r.server));
        let Some(record) = recorded else {
            if let Some(input) = inputs.iter().find(|input| !input.checked) {
                return Verdict::Waiting(format!(
                    "no primary is known, and {} is not checked yet",
                    input.name
                ));
            }
            return match candidates {
                [] => Verdict::Waiting("no server is writable (read_only=0)".to_owned()),
                [only] => Verdict::Primary(*only),
                several => Verdict::Refused(format!(
                    "{} are writable and nothing says which is the primary: set read_only=1 on all but one",
                    names(several)
                )),
            };
        };
        let current = candidates.iter().copied().find(|index| {
            inputs
                .get(*index)
                .is_some_and(|i| i.live(now).is_some_and(|seen| record.is(i.name, seen)))
        });
        if let Some(index) = current {
            return Verdict::Primary(index);
        }
        // After a restart the primary may well be fine: no heir before it was looked at.
        if let Some(input) = inputs
            .iter()
            .find(|i| *i.name == record.server && !i.checked)
        {
            return Verdict::Waiting(format!("the primary {} is not checked yet", input.name));
        }
        let state = inputs
            .iter()
            .find(|i| *i.name == record.server)
            .map_or("gone", |input| match input.live(now) {
                None => input.absence(),
                Some(seen) if !record.is(input.name, seen) => "replaced by another server",
                Some(seen) if seen.read_only => "read-only",
                Some(_) => "replicating from another server",
            });
        let old = inputs.iter().find(|input| *input.name == record.server);
        let old = old.and_then(|input| input.live(now));
        let may = |index: &&usize| {
            inputs.get(**index).is_some_and(|input| {
                record.followers.contains(input.name)
                    || self.promoted.contains_key(input.name)
                    // The old primary itself follows it: nothing could be plainer.
                    || old.is_some_and(|old| follows(inputs, old, input.name))
            })
        };
        let heirs: Vec<usize> = candidates.iter().filter(may).copied().collect();
        let primary = &record.server;
        match (heirs.as_slice(), candidates) {
            ([heir], _) => Verdict::Primary(*heir),
            ([], []) => Verdict::Waiting(format!(
                "the primary {primary} is {state}, and no other server is writable"
            )),
            ([], strangers) => Verdict::Refused(format!(
                "the primary {primary} is {state}; {} is writable but was not seen as its replica and may lack \
                 writes: set read_only=1 and then 0 there to make it the primary",
                names(strangers)
            )),
            (several, _) => Verdict::Refused(format!(
                "the primary {primary} is {state} and {} are all writable: set read_only=1 on all but one",
                names(several)
            )),
        }
    }

    fn remember(
        &mut self,
        inputs: &[Input<'_>],
        name: &ServerName,
        seen: &Observation,
        now: Instant,
        events: &mut Vec<Event>,
    ) {
        if let Some(record) = self.record.as_mut().filter(|record| record.is(name, seen)) {
            if record.gtid != seen.gtid {
                record.gtid.clone_from(&seen.gtid);
            }
            record.server_id = seen.server_id;
            record.uuid.clone_from(&seen.uuid);
            return;
        }
        let (severity, kind, text) = match &self.record {
            None => (Severity::Info, Kind::Role, format!("{name} is the primary")),
            Some(old) => {
                let alive = inputs
                    .iter()
                    .any(|i| *i.name == old.server && i.live(now).is_some());
                let (severity, kind) = if alive {
                    (Severity::Info, Kind::Switchover)
                } else {
                    (Severity::Warning, Kind::Failover)
                };
                let text = format!(
                    "{name} is the primary now, in place of {}; its GTID position {}",
                    old.server, seen.gtid
                );
                (severity, kind, text)
            }
        };
        events.push(
            Event::new(severity, kind, text)
                .backend(&self.backend)
                .server(name),
        );
        // A promotion counts once: who was the primary before must follow the new one first.
        self.promoted.retain(|promoted, ()| promoted == name);
        self.record = Some(PrimaryRecord {
            server: name.clone(),
            server_id: seen.server_id,
            uuid: seen.uuid.clone(),
            gtid: seen.gtid.clone(),
            followers: std::collections::BTreeSet::new(),
            term: self.record.as_ref().map_or(1, |old| old.term + 1),
        });
    }

    fn tell_rivals(&mut self, inputs: &[Input<'_>], candidates: &[usize], events: &mut Vec<Event>) {
        let names = candidates
            .iter()
            .filter_map(|index| inputs.get(*index))
            .map(|i| i.name.clone());
        let rivals: Vec<_> = if candidates.len() > 1 {
            names.collect()
        } else {
            Vec::new()
        };
        if rivals.len() > 1 && rivals != self.rivals {
            let list: Vec<_> = rivals.iter().map(ServerName::as_str).collect();
            let keeps = self.record.as_ref().map_or_else(
                || "no primary was known".to_owned(),
                |record| format!("{} is the primary of record", record.server),
            );
            let text = format!("several servers are writable: {}; {keeps}", list.join(", "));
            events.push(Event::new(Severity::Error, Kind::SplitBrain, text).backend(&self.backend));
        }
        self.rivals = rivals;
    }

    fn links<'a>(
        &'a self,
        inputs: &'a [Input<'a>],
        primary: Option<&'a ServerName>,
        primary_lives: bool,
        now: Instant,
    ) -> Links<'a> {
        let before = self.before.as_ref();
        Links {
            inputs,
            primary,
            primary_lives,
            fine: &self.fine,
            before,
            now,
        }
    }

    fn assign(&mut self, inputs: &[Input<'_>], verdict: Verdict, now: Instant) -> Outcome {
        let (elected, writes) = match verdict {
            Verdict::Primary(index) => (Some(index), Writes::Open),
            Verdict::Waiting(reason) => (
                None,
                Writes::Waiting {
                    reason: reason.into(),
                },
            ),
            Verdict::Refused(reason) => (
                None,
                Writes::Refused {
                    reason: reason.into(),
                },
            ),
        };
        let primary = self.record.as_ref().map(|record| &record.server);
        let links = self.links(inputs, primary, elected.is_some(), now);
        let mut roles = BTreeMap::new();
        let mut fine = Vec::new();
        for (index, input) in inputs.iter().enumerate() {
            let assigned = if Some(index) == elected {
                assigned(Role::Primary, None, None, "writable (read_only=0)".into())
            } else if input.live(now).is_none() {
                let status = if input.checked {
                    Status::Down
                } else {
                    Status::Unknown
                };
                // Health says it better where it can; only an unread status is news.
                let unfit = if input.alive { Status::Broken } else { status };
                let was = if primary == Some(input.name) {
                    "was the primary; "
                } else {
                    ""
                };
                assigned(
                    Role::None,
                    Some(unfit),
                    None,
                    format!("{was}{}", input.absence()).into(),
                )
            } else if primary == Some(input.name) {
                former(input, now)
            } else {
                let fit = links.fitness(input);
                if let (Ok(lag), true) = (fit.verdict, links.primary_lives)
                    && !fit.reason.ends_with("reconnecting")
                {
                    fine.push((input.name.clone(), lag));
                }
                assigned(
                    Role::Replica,
                    fit.verdict.err(),
                    fit.lag_ms,
                    fit.reason.into(),
                )
            };
            roles.insert(input.name.clone(), assigned);
        }
        self.fine
            .extend(fine.into_iter().map(|(name, lag)| (name, (now, lag))));
        let primary = elected
            .and_then(|index| inputs.get(index))
            .map(|input| input.name.clone());
        Outcome {
            roles,
            primary,
            writes,
        }
    }

    fn learn_followers(&mut self, inputs: &[Input<'_>], outcome: &Outcome, now: Instant) {
        let Some(record) = self
            .record
            .as_mut()
            .filter(|r| outcome.primary.as_ref() == Some(&r.server))
        else {
            return;
        };
        for input in inputs.iter().filter(|input| *input.name != record.server) {
            let follows = outcome
                .roles
                .get(input.name)
                .is_some_and(|a| a.role == Role::Replica && a.unfit.is_none());
            let read_only = input.live(now).is_some_and(|seen| seen.read_only);
            if (follows || read_only) && !record.followers.contains(input.name) {
                record.followers.insert(input.name.clone());
            }
        }
    }
}

/// Whether a server replicates from that one.
fn follows(inputs: &[Input<'_>], seen: &Observation, name: &ServerName) -> bool {
    (seen.sources.iter())
        .filter(|source| source.io != IoThread::Stopped)
        .any(|source| target(inputs, source).is_some_and(|to| to.name == name))
}

/// The primary of record while it may not take writes: it has the newest data, so reads are safe there.
fn former(input: &Input<'_>, now: Instant) -> Assigned {
    let read_only = input.live(now).is_some_and(|seen| seen.read_only);
    if read_only {
        return assigned(
            Role::Replica,
            None,
            Some(0),
            "read-only; was the primary".into(),
        );
    }
    let reason = "was the primary; replicates from another server, or is another server now";
    assigned(Role::None, Some(Status::Quarantined), None, reason.into())
}

fn assigned(role: Role, unfit: Option<Status>, lag_ms: Option<u64>, reason: Arc<str>) -> Assigned {
    Assigned {
        role,
        unfit,
        lag_ms,
        reason,
    }
}

#[cfg(test)]
mod tests;
