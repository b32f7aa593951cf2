//! The immutable state on which a command is decided: policy of the configuration, placement of health.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Instant};

use highgate_config::{
    Backend, BackendName, Listener, ListenerName, Rule, Server, ServerName, User, UserName,
};

use crate::{ramp::Ramp, rules::RuleSet, server::ServerState};

/// One consistent view: taken once per command, never changed.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// Grows with every snapshot.
    pub version: u64,
    /// What only a configuration change replaces.
    pub policy: Arc<Policy>,
    /// What health replaces as well.
    pub placement: Arc<Placement>,
}

/// The part of a snapshot that only a configuration change replaces.
#[derive(Debug)]
pub struct Policy {
    /// What clients may connect to.
    pub listeners: BTreeMap<ListenerName, Arc<Listener>>,
    /// Accounts.
    pub users: BTreeMap<UserName, Arc<User>>,
    /// Groups of servers as configured.
    pub backends: BTreeMap<BackendName, Arc<Backend>>,
    /// Query rules, compiled; their hits outlive a change.
    pub rules: Arc<RuleSet>,
    /// The rules as written, whether they could be compiled or not.
    pub written_rules: Arc<BTreeMap<u32, Rule>>,
}

// Compiled rules follow from the written ones.
impl PartialEq for Policy {
    fn eq(&self, other: &Self) -> bool {
        self.listeners == other.listeners
            && self.users == other.users
            && self.backends == other.backends
            && self.written_rules == other.written_rules
    }
}

/// Who is in which backend, in which role, with which weight.
#[derive(Debug, Default)]
pub struct Placement {
    /// Every backend's group.
    pub groups: BTreeMap<BackendName, Arc<Group>>,
}

/// A backend's servers as they can be used now.
#[derive(Debug, PartialEq)]
pub struct Group {
    /// The backend's name.
    pub name: BackendName,
    /// Its configuration.
    pub backend: Arc<Backend>,
    /// Its servers by name, whatever their status.
    pub members: Vec<Member>,
    /// The member that takes writes (roles known); for a static backend `None`.
    pub primary: Option<usize>,
    /// Members that reads may be spread over, ordered; with `ReadsOnPrimary` already applied.
    pub readers: Vec<usize>,
    /// Members that a static backend's commands may use; with roles: the primary alone.
    pub writers: Vec<usize>,
    /// Whether writes can be sent.
    pub writes: Writes,
    /// Why it looks like this.
    pub reason: PlanReason,
}

impl Group {
    /// The member with that name.
    #[must_use]
    pub fn member(&self, name: &ServerName) -> Option<&Member> {
        self.members.iter().find(|member| member.state.name == *name)
    }
}

/// Whether writes can be sent to a backend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Writes {
    /// They go to the primary.
    Open,
    /// No primary at the moment; they wait up to the backend's `failover_wait`.
    Waiting {
        /// A sentence for operator and client.
        reason: Arc<str>,
    },
    /// They are refused at once: waiting would not help, or sending would be wrong.
    Refused {
        /// A sentence for operator and client.
        reason: Arc<str>,
    },
}

/// Why a group was planned as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanReason(pub Arc<str>);

impl fmt::Display for PlanReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a server is in its cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Takes writes.
    Primary,
    /// Follows the primary.
    Replica,
    /// One of equals (a static backend).
    Member,
    /// Nothing that could be used, or not known yet.
    None,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Primary => "primary",
            Self::Replica => "replica",
            Self::Member => "member",
            Self::None => "none",
        })
    }
}

/// Whether and how a server can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Status {
    /// Serves.
    Up,
    /// Serves with a growing share.
    Starting,
    /// Finishes what runs, takes nothing new.
    Draining,
    /// Taken out by an operator.
    Maintenance,
    /// Not known yet: no check has spoken.
    Unknown,
    /// Checks fail.
    Down,
    /// Answers, but was down too often lately; serves only if no other can.
    Held,
    /// Too far behind.
    Lagging,
    /// Answers, but can't do its job (replication stopped, no quorum …).
    Broken,
    /// Writable although another server is the primary, or follows a stranger.
    Quarantined,
}

impl Status {
    /// Whether new work may go there.
    #[must_use]
    pub const fn serves(self) -> bool {
        matches!(self, Self::Up | Self::Starting)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Up => "up",
            Self::Starting => "starting",
            Self::Draining => "draining",
            Self::Maintenance => "maintenance",
            Self::Unknown => "unknown",
            Self::Down => "down",
            Self::Held => "held",
            Self::Lagging => "lagging",
            Self::Broken => "broken",
            Self::Quarantined => "quarantined",
        })
    }
}

/// A server in its group.
#[derive(Debug, Clone)]
pub struct Member {
    /// Identity and counters.
    pub state: Arc<ServerState>,
    /// Its configuration.
    pub server: Server,
    /// What it is in its cluster.
    pub role: Role,
    /// Whether and how it can be used.
    pub status: Status,
    /// Weight in force: configured, or an operator's override.
    pub weight: u32,
    /// Its climb after it came back.
    pub ramp: Option<Ramp>,
    /// Last known replication lag in milliseconds.
    pub lag_ms: Option<u64>,
    /// Why role and status are what they are.
    pub reason: Arc<str>,
}

impl Member {
    /// Its weight in thousandths at that time, slow start included.
    #[must_use]
    pub fn weight_permille(&self, now: Instant) -> u32 {
        let share = self.ramp.map_or(1000, |ramp| ramp.permille(now));
        self.weight.saturating_mul(share)
    }
}

// The lag is left out: it moves with every check, and a group that differs in nothing else is reused.
impl PartialEq for Member {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.state, &other.state)
            && self.server == other.server
            && self.role == other.role
            && self.status == other.status
            && self.weight == other.weight
            && self.ramp == other.ramp
            && self.reason == other.reason
    }
}
