//! The immutable state on which a command is decided: policy of the configuration, placement of health.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Instant};

use highgate_config::{
    Address, Backend, BackendName, Listener, ListenerName, ReadsOnPrimary, Rule, Server,
    ServerName, Topology, User, UserName,
};

use crate::{
    ramp::Ramp,
    rules::RuleSet,
    server::{ServerId, ServerState},
};

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

impl Snapshot {
    /// The group that judges of what a session holds on that server: its backend's, or that of what this is
    /// called now, which may not have the server any more; else that of the backend by which the session
    /// `holds` it, or another one with the server. `None` where there is none. `by_role`: the session came
    /// to it as the primary, or as a replica; a backend without roles that has the name now judges of others.
    #[must_use]
    pub fn judge_of(
        &self,
        server: &ServerState,
        by_role: bool,
        holds: Option<&BackendName>,
    ) -> Option<&Arc<Group>> {
        let groups = &self.placement.groups;
        let heirs = by_role.then_some(&self.policy.heirs);
        heirs
            .and_then(|heirs| groups.get(heirs.get(&server.backend)?))
            .or_else(|| groups.get(&server.backend))
            .or_else(|| groups.get(holds?))
            .or_else(|| self.placement.group_of(server))
    }
}

/// The part of a snapshot that only a configuration change replaces.
#[derive(Debug)]
pub struct Policy {
    /// What clients may connect to.
    pub listeners: BTreeMap<ListenerName, Arc<Listener>>,
    /// Where this node's listeners listen.
    pub binds: BTreeMap<ListenerName, Vec<Address>>,
    /// What listeners that are no more are called now: those that have an address of theirs. Sessions
    /// that came by them follow those.
    pub renamed: BTreeMap<ListenerName, ListenerName>,
    /// Accounts.
    pub users: BTreeMap<UserName, Arc<User>>,
    /// Groups of servers as configured.
    pub backends: BTreeMap<BackendName, Arc<Backend>>,
    /// What backends with roles are called now that are no more, or have none any more: those with roles
    /// that have a server of theirs.
    pub heirs: BTreeMap<BackendName, BackendName>,
    /// Query rules, compiled; their hits outlive a change.
    pub rules: Arc<RuleSet>,
    /// The rules as written, whether they could be compiled or not.
    pub written_rules: Arc<BTreeMap<u32, Rule>>,
}

// Compiled rules follow from the written ones.
impl PartialEq for Policy {
    fn eq(&self, other: &Self) -> bool {
        self.listeners == other.listeners
            && self.binds == other.binds
            && self.renamed == other.renamed
            && self.users == other.users
            && self.backends == other.backends
            && self.heirs == other.heirs
            && self.written_rules == other.written_rules
    }
}

impl Policy {
    /// The name and settings of a listener, or of what it is called now.
    #[must_use]
    pub fn listener(&self, name: &ListenerName) -> Option<(&ListenerName, &Arc<Listener>)> {
        let listeners = &self.listeners;
        listeners.get_key_value(name).or_else(|| listeners.get_key_value(self.renamed.get(name)?))
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

impl Placement {
    /// The group of that server: its backend's, or where that is no more another one with it. Of several,
    /// one that has roles, since no other knows who takes the writes.
    #[must_use]
    pub fn group_of(&self, server: &ServerState) -> Option<&Arc<Group>> {
        let has_it = |group: &&Arc<Group>| group.member_at(server).is_some();
        let has_roles = |group: &&Arc<Group>| group.backend.topology != Topology::Static;
        let own = self.groups.get(&server.backend);
        own.or_else(|| self.groups.values().filter(has_roles).find(has_it))
            .or_else(|| self.groups.values().find(has_it))
    }
}

impl Group {
    /// The member with that name.
    #[must_use]
    pub fn member(&self, name: &ServerName) -> Option<&Member> {
        // They lie by name, and may be a hundred thousand.
        let at = self.members.binary_search_by(|member| member.state.name.cmp(name)).ok()?;
        self.members.get(at)
    }

    /// Whether a write can be sent now. The servers of a fixed list have no roles that could tell: somebody of
    /// them must be there.
    #[must_use]
    pub fn takes_writes(&self) -> bool {
        self.writes == Writes::Open && !self.writers.is_empty()
    }

    /// Whether a session may go on with what it holds on that server, which was declared down or removed
    /// since it came there. `writes`: it was sent there to write.
    #[must_use]
    pub fn may_go_on(&self, server: &ServerState, writes: bool) -> bool {
        let is_down = self.member_at(server).is_some_and(|it| it.status == Status::Down);
        !self.must_part(server, writes) && !is_down
    }

    /// Whether nothing of what such a session holds there can be used again: another server takes the
    /// writes, or this one is set apart. One that is down may yet come back as it was, and one that was
    /// removed as it served ends what it has begun. (A Galera member passes on what is written there.)
    #[must_use]
    pub fn must_part(&self, server: &ServerState, writes: bool) -> bool {
        let primary = self.primary.and_then(|primary| self.members.get(primary));
        let is_replaced = writes
            && self.backend.topology != Topology::Galera
            && primary.is_some_and(|primary| !primary.state.is_at(server));
        let member = self.member_at(server);
        let is_apart = member.map_or(server.is_given_up(), |member| member.status.is_apart());
        is_replaced || is_apart
    }

    /// The member that is that server: also one that was removed and added by another name, or in another
    /// backend.
    #[must_use]
    pub fn member_at(&self, server: &ServerState) -> Option<&Member> {
        let own = self.members.iter().find(|member| member.state.id == server.id);
        own.or_else(|| self.members.iter().find(|member| member.state.is_at(server)))
    }

    /// Whether that server takes some commands no more that it took as the group was `before`.
    #[must_use]
    pub fn takes_less_than(&self, before: &Self, server: ServerId) -> bool {
        let takes = |group: &Self| {
            let at = group.members.iter().position(|member| member.state.id == server);
            let at = at.filter(|&at| group.members.get(at).is_some_and(|it| it.status.serves()));
            [&group.writers[..], group.for_reads()]
                .map(|list| at.is_some_and(|at| list.contains(&at)))
        };
        takes(before).into_iter().zip(takes(self)).any(|(then, now)| then && !now)
    }

    /// Members that have been quarantined since the group was as `before`.
    pub fn quarantined_since<'a>(&'a self, before: &'a Self) -> impl Iterator<Item = &'a Member> {
        let was = |member: &Member| {
            let before = before.member(&member.state.name);
            before.is_some_and(|before| before.status == Status::Quarantined)
        };
        self.members
            .iter()
            .filter(move |member| member.status == Status::Quarantined && !was(member))
    }

    /// What were members as the group was as `before`, as they were then.
    pub fn removed_since<'a>(&'a self, before: &'a Self) -> impl Iterator<Item = &'a Member> {
        let is = |member: &Member| {
            let now = self.member(&member.state.name);
            now.is_some_and(|now| now.state.id == member.state.id)
        };
        before.members.iter().filter(move |member| !is(member))
    }

    /// Members that a read may go to: the readers; where there is none, the primary, if it may take reads.
    #[must_use]
    pub fn for_reads(&self) -> &[usize] {
        if self.readers.is_empty() { self.instead_of_readers() } else { &self.readers }
    }

    /// Members that a read may go to once all readers failed it.
    #[must_use]
    pub fn instead_of_readers(&self) -> &[usize] {
        if self.keeps_reads_off_primary() { &[] } else { &self.writers }
    }

    /// Whether what any server may run is left to the primary: reads may not go there, and nobody else is there
    /// for them.
    #[must_use]
    pub fn leaves_all_to_primary(&self) -> bool {
        let takes = |at: &usize| self.members.get(*at).is_some_and(|member| member.weight > 0);
        self.keeps_reads_off_primary() && !self.readers.iter().any(takes)
    }

    /// Whether reads may be left without a server although there is a primary.
    #[must_use]
    pub fn keeps_reads_off_primary(&self) -> bool {
        self.backend.reads_on_primary == ReadsOnPrimary::Never
            && self.backend.topology != Topology::Static
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

macro_rules! statuses {
    ($($(#[$doc:meta])+ $status:ident = $word:literal, $meaning:literal;)+) => {
        /// Whether and how a server can be used.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Status { $($(#[$doc])+ $status),+ }

        impl Status {
            /// Every status.
            pub const ALL: &[Self] = &[$(Self::$status),+];

            /// Its name in tables.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$status => $word),+ }
            }

            /// What an operator reads in the manual: what it is, and what to do.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$status => $meaning),+ }
            }
        }
    };
}

statuses! {
    /// Serves.
    Up = "up", "It serves.";
    /// Serves with a growing share; only [`Member::status_at`] says so, since it ends with time alone.
    Starting = "starting",
        "It serves, and gets a growing share of the work since it came back: `slow_start` of its backend.";
    /// Finishes what runs, takes nothing new.
    Draining = "draining",
        "An operator or the configuration wants it empty: it finishes what runs and gets nothing new. \
         `highgate ctl enable BACKEND/SERVER` takes an operator's drain back.";
    /// Taken out by an operator.
    Maintenance = "maintenance",
        "An operator or the configuration has taken it out: no work, no checks. \
         `highgate ctl enable BACKEND/SERVER` takes an operator's word back.";
    /// Not known yet: no check has spoken.
    Unknown = "unknown",
        "No check has told about it yet, or not about all servers whose word decides its role. This \
         passes within seconds.";
    /// Checks fail.
    Down = "down", "Checks fail; `last_error` says how. It comes back by itself once they succeed.";
    /// Answers, but was down too often lately; serves only if no other can.
    Held = "held",
        "It answers, but was down too often lately, or harms clients (`reason` says which): it serves \
         only if no other can. In the first case find out why it falls; it comes back by itself once it \
         stays up. In the second look whether somebody has taken that server over.";
    /// Too far behind.
    Lagging = "lagging",
        "A replica further behind than `max_lag` allows: no reads until it has caught up.";
    /// Answers, but can't do its job (replication stopped, no quorum …).
    Broken = "broken",
        "It answers, but can't do its job; `reason` says why. Replication has stopped or never began: \
         mend it there (`SHOW REPLICA STATUS`). A Galera member is not synced or has no quorum: look at \
         `SHOW STATUS LIKE 'wsrep%'` there. The monitor's account is refused: mend its password or its \
         grants. It serves again by itself.";
    /// Writable although another server is the primary, or follows a stranger.
    Quarantined = "quarantined",
        "Its data may differ from the others', so it gets nothing: it is writable although another \
         server is the primary, or it replicates from a server, or belongs to a Galera cluster, that is \
         not this backend's. If it was a primary, look for writes that only it has. Then set \
         `read_only=1` on it and let it replicate from the primary.";
}

impl Status {
    /// Whether new work may go there.
    #[must_use]
    pub const fn serves(self) -> bool {
        matches!(self, Self::Up | Self::Starting)
    }

    /// Whether somebody decided that nothing goes on there.
    #[must_use]
    pub const fn is_apart(self) -> bool {
        matches!(self, Self::Maintenance | Self::Quarantined)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
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
    /// Whether and how it can be used; the climb of one that came back is in `ramp`.
    pub status: Status,
    /// Weight in force: configured, or an operator's override.
    pub weight: u32,
    /// Its climb after it came back.
    pub ramp: Option<Ramp>,
    /// Replication lag in milliseconds when something else of its group changed last.
    pub lag_ms: Option<u64>,
    /// Why role and status are what they are.
    pub reason: Arc<str>,
}

impl Member {
    /// Its status as operators see it at that time: one that serves is starting while it climbs.
    #[must_use]
    pub fn status_at(&self, now: Instant) -> Status {
        let climbs = self.ramp.is_some_and(|ramp| ramp.permille(now) < 1000);
        if climbs && self.status == Status::Up { Status::Starting } else { self.status }
    }

    /// It is no member any more. Its state may live on, and be removed again once it was added anew.
    pub fn removed(&self) {
        self.state.removed(self.status.is_apart() || self.status == Status::Down);
    }

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

#[cfg(test)]
mod tests;
