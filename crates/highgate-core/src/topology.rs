//! Who is primary and who is replica: machines over what monitors observed.
//!
//! A machine remembers the primary; what it says is a function of that memory and of the servers'
//! latest observations. Start reading at [`Machine`].

pub mod galera;
mod gtid;
mod links;
pub mod mariadb;
mod notes;
pub mod static_;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use highgate_config::{Address, AdminState, Backend, BackendName, ServerName, Topology};
use serde::{Deserialize, Serialize};

use crate::{
    events::Event,
    health::{CheckFailure, Unread},
    snapshot::{Role, Status, Writes},
};

/// What a monitor read from a server, whatever its flavour.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observation {
    /// When it was read.
    pub at: Instant,
    /// `@@read_only` or `@@super_read_only` is on.
    pub read_only: bool,
    /// `@@server_id`; 0 = not read.
    pub server_id: u32,
    /// `@@server_uuid` where there is one.
    pub uuid: Option<String>,
    /// `@@gtid_current_pos`, or `@@gtid_executed` on MySQL.
    pub gtid: String,
    /// Connections of this server to those it replicates from.
    pub sources: Vec<Source>,
    /// wsrep status of a Galera member.
    pub galera: Option<Galera>,
}

/// One replication connection, as `SHOW ALL SLAVES STATUS` or `SHOW REPLICA STATUS` lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Name of the connection; empty for the default one.
    pub name: String,
    /// Host it replicates from.
    pub host: String,
    /// Port it replicates from.
    pub port: u16,
    /// `server_id` it replicates from; 0 = never connected.
    pub server_id: u32,
    /// State of the thread that fetches.
    pub io: IoThread,
    /// Whether the thread that applies runs.
    pub sql_running: bool,
    /// Seconds behind; `None` where the server says NULL.
    pub seconds_behind: Option<u64>,
    /// Last error of either thread.
    pub error: Option<String>,
}

impl Source {
    /// Where it leads.
    fn address(&self) -> Address {
        let ip = self.host.parse().map(|ip: IpAddr| Address::Ip((ip, self.port).into()));
        ip.unwrap_or_else(|_| Address::Host(self.host.to_ascii_lowercase(), self.port))
    }

    /// Whether it leads there.
    fn is_at(&self, address: &Address) -> bool {
        match address {
            Address::Host(name, port) => {
                *port == self.port && name.eq_ignore_ascii_case(&self.host)
            }
            Address::Ip(at) => {
                at.port() == self.port && self.host.parse().is_ok_and(|ip: IpAddr| at.ip() == ip)
            }
            Address::Unix(_) => false,
        }
    }
}

/// State of a replica's fetching thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum IoThread {
    /// `Yes`.
    Running,
    /// `Connecting`, `Preparing`: it tries.
    Connecting,
    /// `No`.
    Stopped,
}

/// wsrep status of a Galera member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Galera {
    /// `wsrep_cluster_status` is `Primary`.
    pub primary_component: bool,
    /// `wsrep_local_state`: 4 = synced, 2 = donor.
    pub local_state: u32,
    /// `wsrep_ready` is `ON`.
    pub ready: bool,
    /// `wsrep_reject_queries` is not `NONE`.
    pub rejects_queries: bool,
    /// `wsrep_desync` is `ON`.
    pub desynced: bool,
    /// `wsrep_sst_donor_rejects_queries` is `ON`.
    pub donor_rejects_queries: bool,
    /// `wsrep_cluster_state_uuid`.
    pub cluster_uuid: String,
    /// `wsrep_cluster_size`.
    pub cluster_size: u32,
    /// `wsrep_local_index`.
    pub local_index: u32,
    /// `wsrep_local_recv_queue`.
    pub recv_queue: u32,
}

/// Who was the primary: kept across restarts, so that a returner is known for what it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrimaryRecord {
    /// Its name in the backend.
    pub server: ServerName,
    /// Its `server_id`.
    pub server_id: u32,
    /// Its uuid where it has one.
    pub uuid: Option<String>,
    /// Its GTID position when last seen.
    pub gtid: String,
    /// Servers that were seen read-only or replicating from it while it was the primary: only these
    /// may take its place.
    #[serde(default)]
    pub followers: BTreeSet<ServerName>,
    /// Its address as configured, and those by which its replicas named it: by these they are known as
    /// its replicas once it has left the configuration.
    #[serde(default)]
    pub addresses: BTreeSet<Address>,
    /// Grows with every change of primary.
    pub term: u64,
}

impl PrimaryRecord {
    /// Whether that observation is of the very server that was recorded.
    #[must_use]
    pub fn is(&self, name: &ServerName, seen: &Observation) -> bool {
        self.server == *name
            && match (&self.uuid, &seen.uuid) {
                (Some(recorded), Some(uuid)) => recorded == uuid,
                _ => self.may_have_id(seen.server_id),
            }
    }

    /// Whether it is to be gone by instead of a process's own, where the process that served before stored it: that
    /// one saw a change more, or sent everybody to another server at the same change. Not where it has seen less:
    /// from when it let go of the data directory it could store nothing.
    #[must_use]
    pub fn outranks(&self, own: Option<&Self>) -> bool {
        own.is_none_or(|own| {
            self.term > own.term || self.term == own.term && self.server != own.server
        })
    }

    /// Whether one of these has its name.
    fn is_among(&self, inputs: &[Input<'_>]) -> bool {
        inputs.iter().any(|input| *input.name == self.server)
    }

    /// Whether one of these has its name, and no check has spoken yet.
    fn is_unchecked_among(&self, inputs: &[Input<'_>]) -> bool {
        inputs.iter().any(|input| *input.name == self.server && !input.checked)
    }

    /// Whether a replication connection leads to it, wherever its server is configured.
    fn is_source(&self, source: &Source) -> bool {
        self.may_have_id(source.server_id) && self.addresses.iter().any(|at| source.is_at(at))
    }

    fn may_have_id(&self, id: u32) -> bool {
        self.server_id == 0 || id == 0 || self.server_id == id
    }
}

/// What a machine is told about one server.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// Its name.
    pub name: &'a ServerName,
    /// Its configured address: replicas name their source by it.
    pub address: &'a Address,
    /// What the operator wants of it, overrides applied.
    pub admin: AdminState,
    /// Whether any check has spoken yet.
    pub checked: bool,
    /// Whether checks say that it answers.
    pub alive: bool,
    /// What was read from it last; kept while it is down.
    pub seen: Option<&'a Observation>,
    /// Why it can't be read although it is alive.
    pub unread: Option<Unread>,
    /// Whether its last check failed, although it does not count as down yet.
    pub doubted: bool,
    /// Its lag cap; `None` = none.
    pub max_lag: Option<Duration>,
}

/// Age at which an observation says nothing about now: many check intervals, and far less than
/// anybody takes to reuse an address.
const STALE: Duration = Duration::from_secs(10);

impl<'a> Input<'a> {
    /// What is known about it now: it answers, is not in maintenance, and was read lately; or it can't
    /// be read any more, and was after it came up last.
    #[must_use]
    pub fn live(&self, now: Instant) -> Option<&'a Observation> {
        if !self.alive || self.admin == AdminState::Maintenance {
            return None;
        }
        match self.unread {
            Some(unread) => self.seen.filter(|_| unread.known),
            None => self.seen.filter(|seen| now.saturating_duration_since(seen.at) <= STALE),
        }
    }

    /// Whether its first word is still to come: it was not checked, or answers checks that did not have to
    /// read it before. Each check that ends tells something, so this is over within a few of them.
    #[must_use]
    fn is_awaited(&self) -> bool {
        let is_unread = self.alive && self.seen.is_none() && self.unread.is_none();
        self.admin != AdminState::Maintenance && (!self.checked || is_unread)
    }

    /// What to add to a reason that rests on an old reading.
    fn as_read(&self) -> String {
        self.unread.map_or_else(String::new, |unread| format!(", as last read: {}", unread.why()))
    }

    /// Why nothing is known about it now: what it "is", within a sentence.
    fn absence(&self) -> &'static str {
        match (self.admin, self.checked, self.alive) {
            (AdminState::Maintenance, ..) => "in maintenance",
            (_, false, _) => "not checked yet",
            (_, _, false) => "down",
            (_, _, true) => match self.unread.map(|unread| unread.kind) {
                None if self.seen.is_none() => "alive, but its status was not read yet",
                None => "alive, but its status could not be read",
                Some(CheckFailure::Full) => {
                    "alive, but its role is not known: no connection is free for the monitor"
                }
                Some(CheckFailure::Slow) => {
                    "alive, but its role is not known: its answers to the monitor are late"
                }
                Some(_) => "alive, but its role is not known: the monitor's account is refused",
            },
        }
    }
}

/// What a machine says about one server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assigned {
    /// What it is.
    pub role: Role,
    /// `Some` = may not serve, and this is how; `None` = health alone decides.
    pub unfit: Option<Status>,
    /// Whether it serves although something is wrong with it, which may put it out soon.
    pub ails: bool,
    /// Last known lag in milliseconds.
    pub lag_ms: Option<u64>,
    /// Why.
    pub reason: Arc<str>,
}

/// What a machine says about a backend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Every server's role.
    pub roles: BTreeMap<ServerName, Assigned>,
    /// Who takes writes.
    pub primary: Option<ServerName>,
    /// Whether writes can be sent.
    pub writes: Writes,
}

/// What an operator set about a topology.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Settings {
    /// A Galera donor (state 2) that does not reject queries may read.
    pub donor_reads: bool,
    /// Galera receive queue from which a member is too far behind; 0 = no bound.
    pub max_recv_queue: u32,
}

impl From<&Backend> for Settings {
    fn from(backend: &Backend) -> Self {
        Self { donor_reads: backend.donor_reads, max_recv_queue: backend.max_recv_queue }
    }
}

/// The machine of a backend's topology.
#[derive(Debug, Clone)]
pub enum Machine {
    /// No roles.
    Static(BackendName),
    /// Replication with `read_only`.
    Mariadb(mariadb::Machine),
    /// wsrep.
    Galera(galera::Machine),
}

impl Machine {
    /// The machine for a topology, with what was remembered of its primary.
    #[must_use]
    pub fn new(
        topology: Topology,
        backend: &BackendName,
        settings: Settings,
        record: Option<PrimaryRecord>,
    ) -> Self {
        match topology {
            Topology::Static => Self::Static(backend.clone()),
            Topology::MariadbReplication => {
                Self::Mariadb(mariadb::Machine::new(backend.clone(), record))
            }
            Topology::Galera => {
                Self::Galera(galera::Machine::new(backend.clone(), settings, record))
            }
        }
    }

    /// Takes over what an operator has changed.
    pub const fn set(&mut self, settings: Settings) {
        if let Self::Galera(machine) = self {
            machine.set(settings);
        }
    }

    /// Judges all servers of the backend, in the order of their names. Events are appended.
    pub fn step(&mut self, inputs: &[Input<'_>], now: Instant, events: &mut Vec<Event>) -> Outcome {
        match self {
            Self::Static(_) => static_::judge(inputs),
            Self::Mariadb(machine) => machine.step(inputs, now, events),
            Self::Galera(machine) => machine.step(inputs, now, events),
        }
    }

    /// Whether a first verdict should wait for those that were not checked yet: until the primary of
    /// record is seen in its place, any of them may be the primary.
    #[must_use]
    pub fn awaits(&self, inputs: &[Input<'_>], now: Instant) -> bool {
        let awaited = |input: &Input<'_>| !input.checked && input.admin != AdminState::Maintenance;
        let in_place = |input: &Input<'_>| {
            let seen = input.live(now).filter(|seen| !seen.read_only);
            let record = self.record();
            record.zip(seen).is_some_and(|(record, seen)| record.is(input.name, seen))
        };
        !matches!(self, Self::Static(_))
            && inputs.iter().any(awaited)
            && !inputs.iter().any(in_place)
    }

    /// The primary to remember across restarts; store it whenever it changed.
    #[must_use]
    pub fn record(&self) -> Option<&PrimaryRecord> {
        match self {
            Self::Static(_) => None,
            Self::Mariadb(machine) => machine.record(),
            Self::Galera(machine) => machine.record(),
        }
    }
}

impl fmt::Display for IoThread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Running => "running",
            Self::Connecting => "connecting",
            Self::Stopped => "stopped",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_processes_that_saw_the_same_changes_the_one_that_served_knows_the_primary() {
        let record = |server: &str, term| PrimaryRecord {
            server: server.into(),
            server_id: 1,
            uuid: None,
            gtid: String::new(),
            followers: BTreeSet::new(),
            addresses: BTreeSet::new(),
            term,
        };
        let stored = record("db2", 2);
        assert!(stored.outranks(None));
        assert!(stored.outranks(Some(&record("db1", 1))), "it saw db1 die and come back");
        assert!(stored.outranks(Some(&record("db3", 2))));
        assert!(!stored.outranks(Some(&record("db2", 2))), "the own one is as good, and newer");
        assert!(!stored.outranks(Some(&record("db1", 3))), "it could not store the last change");
    }
}
