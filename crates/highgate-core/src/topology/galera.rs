//! Roles in a Galera cluster: the Primary component's synced members, one of them the writer.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use highgate_config::{BackendName, ServerName};

use super::{Assigned, Galera, Input, Observation, Outcome, PrimaryRecord, Settings, notes};
use crate::{
    events::{Event, Kind, Severity},
    snapshot::{Role, Status, Writes},
};

/// `wsrep_local_state` of a synced member.
const SYNCED: u32 = 4;
/// `wsrep_local_state` of a donor.
const DONOR: u32 = 2;
/// How long a writer that became a donor stays the writer at least: an incremental transfer takes a
/// few seconds, and moving the writes would cost more. A full one may block it, so this ends.
const DONOR_GRACE: Duration = Duration::from_secs(10);
/// How long a writer of record may take to be judged: a living one needs milliseconds, and a dead one is found
/// within this under usual settings. One that greets and then hangs may never be.
const FIRST_WORD: Duration = Duration::from_secs(5);

/// The machine of one backend.
#[derive(Debug, Clone)]
pub struct Machine {
    backend: BackendName,
    settings: Settings,
    record: Option<PrimaryRecord>,
    /// Since when the writer of record is a donor.
    donor_since: Option<Instant>,
    /// Since when the first word about the writer of record is awaited.
    awaited_since: Option<Instant>,
    before: Option<Outcome>,
    first_look: notes::FirstLook,
}

impl Machine {
    /// A machine that remembers that writer.
    #[must_use]
    pub const fn new(
        backend: BackendName,
        settings: Settings,
        record: Option<PrimaryRecord>,
    ) -> Self {
        let first_look = notes::FirstLook::new();
        Self {
            backend,
            settings,
            record,
            donor_since: None,
            awaited_since: None,
            before: None,
            first_look,
        }
    }

    /// Takes over what an operator has changed.
    pub const fn set(&mut self, settings: Settings) {
        self.settings = settings;
    }

    /// The writer to remember.
    #[must_use]
    pub fn record(&self) -> Option<&PrimaryRecord> {
        self.record.as_ref()
    }

    /// Judges all servers, in the order of their names.
    pub fn step(&mut self, inputs: &[Input<'_>], now: Instant, events: &mut Vec<Event>) -> Outcome {
        let cluster = majority(inputs, now);
        let mut roles = BTreeMap::new();
        let mut able: Vec<(&Input<'_>, u32)> = Vec::new();
        for input in inputs {
            let assigned = match self.judge(input, inputs, cluster, now) {
                Ok((index, reason)) => {
                    if let Some(index) = index {
                        able.push((input, index));
                    }
                    Assigned {
                        role: Role::Replica,
                        unfit: None,
                        ails: false,
                        lag_ms: input.unread.is_none().then_some(0),
                        reason: format!("{reason}{}", input.as_read()).into(),
                    }
                }
                Err((status, reason)) => Assigned {
                    role: Role::None,
                    unfit: Some(status),
                    ails: false,
                    lag_ms: None,
                    reason: reason.into(),
                },
            };
            roles.insert(input.name.clone(), assigned);
        }
        let donors = donors(inputs, cluster, now);
        let writer = self.elect(inputs, &able, &donors, now);
        if let Some(input) = writer {
            let what = if able.iter().any(|(one, _)| one.name == input.name) {
                "synced; the writer"
            } else {
                "a donor or desynced, so not synced for now; the writer all the same"
            };
            let lag_ms = input.unread.is_none().then_some(0);
            let reason = format!("{what}{}", input.as_read()).into();
            let assigned =
                Assigned { role: Role::Primary, unfit: None, ails: false, lag_ms, reason };
            roles.insert(input.name.clone(), assigned);
            if let Some(seen) = input.seen {
                self.remember(input.name, seen, events);
            }
        }
        let writes = writes(inputs, self.record.as_ref(), writer.is_some());
        let outcome = Outcome { roles, primary: writer.map(|input| input.name.clone()), writes };
        let looked = (inputs, &mut self.first_look);
        notes::tell(&self.backend, looked, self.before.as_ref(), &outcome, events);
        self.before = Some(outcome.clone());
        outcome
    }

    /// Its index if it could write, and a reason; or how it is unfit.
    fn judge(
        &self,
        input: &Input<'_>,
        inputs: &[Input<'_>],
        cluster: Option<&str>,
        now: Instant,
    ) -> Result<(Option<u32>, &'static str), (Status, String)> {
        let broken = |reason: &str| Err((Status::Broken, reason.to_owned()));
        let Some(seen) = input.live(now) else {
            let status = match (input.checked, input.alive) {
                (false, _) => Status::Unknown,
                (_, true) => Status::Broken,
                _ => Status::Down,
            };
            return Err((status, input.absence().to_owned()));
        };
        let Some(wsrep) = &seen.galera else {
            return broken("shows no wsrep status");
        };
        if !wsrep.primary_component {
            return broken("not in a Primary component (no quorum)");
        }
        if cluster != Some(wsrep.cluster_uuid.as_str()) {
            let reason = format!("member of another cluster ({})", wsrep.cluster_uuid);
            return Err((Status::Quarantined, reason));
        }
        if input.unread.is_some() && counted_out(inputs, cluster, now) {
            return broken("can't be read, and the other members count one less than are alive");
        }
        if !wsrep.ready {
            return broken("wsrep_ready is OFF");
        }
        if wsrep.rejects_queries {
            return broken("wsrep_reject_queries is on");
        }
        let donor =
            wsrep.local_state == DONOR && self.settings.donor_reads && !wsrep.donor_rejects_queries;
        // One that is desynced by hand also says that it is a donor.
        if wsrep.desynced && !donor {
            return broken("desynced (wsrep_desync is on)");
        }
        if wsrep.local_state != SYNCED && !donor {
            return Err((Status::Broken, format!("not synced: {}", state_name(wsrep.local_state))));
        }
        if self.settings.max_recv_queue > 0 && wsrep.recv_queue > self.settings.max_recv_queue {
            return Err((
                Status::Lagging,
                format!("{} write sets wait to be applied", wsrep.recv_queue),
            ));
        }
        Ok(match (donor, seen.read_only) {
            (true, _) => (None, "donor"),
            (_, true) => (None, "synced, read-only"),
            _ => (Some(wsrep.local_index), "synced"),
        })
    }

    fn elect<'a>(
        &mut self,
        inputs: &[Input<'_>],
        able: &[(&'a Input<'a>, u32)],
        donors: &[(&'a Input<'a>, u32)],
        now: Instant,
    ) -> Option<&'a Input<'a>> {
        let is_early = self.is_early(inputs, now);
        let record = self.record.as_ref();
        let current = |of: &[(&'a Input<'a>, u32)]| {
            of.iter().find(|(i, _)| record.is_some_and(|r| r.server == *i.name)).map(|(i, _)| *i)
        };
        if let Some(input) = current(able) {
            self.donor_since = None;
            return Some(input);
        }
        if let Some(input) = current(donors) {
            let since = *self.donor_since.get_or_insert(now);
            // Whoever sets `wsrep_desync` wants it out; a transfer leaves that off.
            let asked_for = input.seen.and_then(|s| s.galera.as_ref()).is_some_and(|g| g.desynced);
            let is_brief = now.saturating_duration_since(since) < DONOR_GRACE && !asked_for;
            if is_brief || able.is_empty() {
                return Some(input);
            }
        } else {
            self.donor_since = None;
        }
        if is_early {
            return None;
        }
        // Better a donor than nobody: a cluster of two is down to one while the other takes its data.
        let from = if able.is_empty() { donors } else { able };
        from.iter().min_by_key(|(input, index)| (*index, input.name)).map(|(input, _)| *input)
    }

    /// Whether it is too early to choose a writer. Before everybody was looked at, the lowest index of those
    /// seen would be a guess that sticks. And the writer of record may well be fine, and be the writer of
    /// another node: this process has started just now, or its address was written otherwise.
    fn is_early(&mut self, inputs: &[Input<'_>], now: Instant) -> bool {
        let Some(record) = &self.record else {
            return inputs.iter().any(|input| !input.checked);
        };
        if !inputs.iter().any(|input| *input.name == record.server && input.is_awaited()) {
            self.awaited_since = None;
            return false;
        }
        let since = *self.awaited_since.get_or_insert(now);
        now.saturating_duration_since(since) < FIRST_WORD
    }

    fn remember(&mut self, name: &ServerName, seen: &Observation, events: &mut Vec<Event>) {
        if let Some(record) = self.record.as_mut().filter(|record| record.server == *name) {
            if record.gtid != seen.gtid {
                record.gtid.clone_from(&seen.gtid);
            }
            return;
        }
        let (severity, kind, text) = match &self.record {
            None => (Severity::Info, Kind::Role, format!("{name} is the writer")),
            Some(old) => {
                let text = format!("{name} is the writer now, in place of {}", old.server);
                (Severity::Warning, Kind::Failover, text)
            }
        };
        events.push(Event::new(severity, kind, text).backend(&self.backend).server(name));
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
}

/// Members of the Primary component that only lack synchrony, because they are a donor or desynced:
/// they can write. With their indices.
fn donors<'a>(
    inputs: &'a [Input<'a>],
    cluster: Option<&str>,
    now: Instant,
) -> Vec<(&'a Input<'a>, u32)> {
    let donor = |input: &'a Input<'a>| {
        let seen = input.live(now).filter(|seen| !seen.read_only && input.unread.is_none())?;
        let wsrep = seen.galera.as_ref()?;
        let can_write = wsrep.primary_component
            && cluster == Some(wsrep.cluster_uuid.as_str())
            && wsrep.ready
            && !wsrep.rejects_queries
            && !wsrep.donor_rejects_queries
            && wsrep.local_state == DONOR;
        can_write.then_some((input, wsrep.local_index))
    };
    inputs.iter().filter_map(donor).collect()
}

fn writes(inputs: &[Input<'_>], record: Option<&PrimaryRecord>, has_writer: bool) -> Writes {
    if has_writer {
        return Writes::Open;
    }
    let awaited = record.filter(|record| record.is_unchecked_among(inputs));
    if let Some(record) = awaited {
        let reason = format!("the writer {} is not checked yet", record.server).into();
        return Writes::Waiting { reason };
    }
    let reason = if inputs.iter().any(|input| !input.checked) {
        "not every member is checked yet"
    } else {
        "no writable synced member of a Primary component"
    };
    Writes::Waiting { reason: reason.into() }
}

/// The cluster that most members in a Primary component belong to; among equals the larger uuid.
fn majority<'a>(inputs: &[Input<'a>], now: Instant) -> Option<&'a str> {
    let mut counts: BTreeMap<&str, u32> = BTreeMap::new();
    let wsrep = |input: &Input<'a>| -> Option<&'a Galera> { input.live(now)?.galera.as_ref() };
    for wsrep in inputs.iter().filter_map(wsrep).filter(|wsrep| wsrep.primary_component) {
        *counts.entry(wsrep.cluster_uuid.as_str()).or_default() += 1;
    }
    counts.into_iter().max_by_key(|(uuid, count)| (*count, *uuid)).map(|(uuid, _)| uuid)
}

/// Whether those that can be read see fewer members than are thought to be alive.
fn counted_out(inputs: &[Input<'_>], cluster: Option<&str>, now: Instant) -> bool {
    let member = |input: &&Input<'_>| {
        let wsrep = input.live(now).and_then(|seen| seen.galera.as_ref());
        wsrep.is_some_and(|wsrep| {
            wsrep.primary_component && cluster == Some(wsrep.cluster_uuid.as_str())
        })
    };
    let members = inputs.iter().filter(member).count();
    let latest = (inputs.iter().filter(member))
        .filter(|input| input.unread.is_none())
        .filter_map(|input| input.seen)
        .max_by_key(|seen| seen.at)
        .and_then(|seen| seen.galera.as_ref());
    latest.is_some_and(|wsrep| usize::try_from(wsrep.cluster_size).is_ok_and(|size| size < members))
}

const fn state_name(state: u32) -> &'static str {
    match state {
        1 => "joining",
        2 => "donor",
        3 => "joined",
        _ => "not initialised",
    }
}

#[cfg(test)]
mod tests;
