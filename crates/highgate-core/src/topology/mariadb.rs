//! Roles in GTID replication, as `read_only` and the replication threads of MariaDB and MySQL show them.
//!
//! Highgate does not promote: it follows whoever does, and refuses to follow into a split brain.

mod assign;
mod beside;
mod elect;
mod emptied;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use highgate_config::{BackendName, ServerName};

use self::{beside::Beside, elect::Verdict};
use super::{
    Input, Observation, Outcome, PrimaryRecord,
    links::{LastFine, Links, target},
    notes,
};
use crate::{
    events::{Event, Kind, Severity},
    snapshot::Role,
};

/// The machine of one backend.
#[derive(Debug, Clone)]
pub struct Machine {
    backend: BackendName,
    record: Option<PrimaryRecord>,
    /// Last known `read_only` of each server.
    was_read_only: BTreeMap<ServerName, bool>,
    /// Servers seen to flip from read-only to writable, and when, until they turn back: these were promoted.
    promoted: BTreeMap<ServerName, Instant>,
    /// Servers that are writable beside the primary, or were when they were read last.
    beside: BTreeMap<ServerName, Beside>,
    /// Whether the primary of record was away since it was elected last; at first it was.
    was_away: bool,
    fine: LastFine,
    /// When the servers were judged last.
    assigned_at: Option<Instant>,
    before: Option<Outcome>,
    first_look: notes::FirstLook,
    rivals: Vec<ServerName>,
    /// A deliberate bug that the simulation has to find.
    #[cfg(test)]
    pub(crate) ignore_record: bool,
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
            beside: BTreeMap::new(),
            was_away: true,
            fine: LastFine::new(),
            assigned_at: None,
            before: None,
            first_look: notes::FirstLook::new(),
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
        self.notice_absence(inputs, now);
        let candidates = self.candidates(inputs, now);
        let verdict = self.elect(inputs, &candidates, now);
        if let Verdict::Primary(index) = verdict
            && let Some(input) = inputs.get(index)
            && let Some(seen) = input.live(now)
        {
            self.remember(inputs, input.name, seen, now, events);
            self.was_away = false;
        }
        self.tell_rivals(inputs, &candidates, events);
        let primary = if let Verdict::Primary(index) = verdict { Some(index) } else { None };
        self.refute(inputs, &candidates, primary, now);
        let outcome = self.assign(inputs, verdict, now);
        self.learn_followers(inputs, &outcome, now);
        let looked = (inputs, &mut self.first_look);
        notes::tell(&self.backend, looked, self.before.as_ref(), &outcome, events);
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
            if self.was_read_only.insert(input.name.clone(), seen.read_only) == Some(true)
                && !seen.read_only
            {
                self.promoted.insert(input.name.clone(), seen.at);
            } else if seen.read_only {
                self.promoted.remove(input.name);
            }
        }
        self.was_read_only.retain(|name, _| inputs.iter().any(|input| input.name == name));
        self.fine.retain(|name, _| inputs.iter().any(|input| input.name == name));
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
                let alive = inputs.iter().any(|i| *i.name == old.server && i.live(now).is_some());
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
        events.push(Event::new(severity, kind, text).backend(&self.backend).server(name));
        // A promotion counts once: who was the primary before must follow the new one first.
        self.promoted.retain(|promoted, _| promoted == name);
        self.beside.clear();
        self.record = Some(PrimaryRecord {
            server: name.clone(),
            server_id: seen.server_id,
            uuid: seen.uuid.clone(),
            gtid: seen.gtid.clone(),
            followers: BTreeSet::new(),
            addresses: BTreeSet::new(),
            term: self.record.as_ref().map_or(1, |old| old.term + 1),
        });
    }

    fn tell_rivals(&mut self, inputs: &[Input<'_>], candidates: &[usize], events: &mut Vec<Event>) {
        let names =
            candidates.iter().filter_map(|index| inputs.get(*index)).map(|i| i.name.clone());
        let rivals: Vec<_> = if candidates.len() > 1 { names.collect() } else { Vec::new() };
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
        record: Option<&'a PrimaryRecord>,
        primary_lives: bool,
        now: Instant,
    ) -> Links<'a> {
        let (primary, before) = (record.map(|record| &record.server), self.before.as_ref());
        let gone = record.filter(|record| !record.is_among(inputs));
        let unchecked = record.filter(|record| record.is_unchecked_among(inputs));
        Links { inputs, primary, gone, unchecked, primary_lives, fine: &self.fine, before, now }
    }

    fn learn_followers(&mut self, inputs: &[Input<'_>], outcome: &Outcome, now: Instant) {
        let Some(record) =
            self.record.as_mut().filter(|r| outcome.primary.as_ref() == Some(&r.server))
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
        learn_addresses(record, inputs);
    }
}

/// By which addresses the primary is known: as configured, and as its replicas name it.
fn learn_addresses(record: &mut PrimaryRecord, inputs: &[Input<'_>]) {
    for input in inputs {
        if *input.name == record.server && !record.addresses.contains(input.address) {
            record.addresses.insert(input.address.clone());
        }
        for source in input.seen.into_iter().flat_map(|seen| &seen.sources) {
            let is_primary = target(inputs, source).is_some_and(|to| *to.name == record.server);
            if is_primary && !record.addresses.iter().any(|known| source.is_at(known)) {
                record.addresses.insert(source.address());
            }
        }
    }
}
