//! Which of several servers takes the next command.
//!
//! [`choose`] allocates nothing and draws no randomness of its own; [`explain`] says for every server
//! why it was taken or passed over, by the same predicate.

mod pick;
#[cfg(test)]
mod tests;

use std::{fmt, sync::atomic::Ordering, time::Instant};

use highgate_config::Balance;

pub use self::pick::Turn;
use crate::{
    server::ServerId,
    snapshot::{Member, Status},
};

/// Among whom, and how, to choose.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The group's members.
    pub members: &'a [Member],
    /// Indices of those that may take the command by role (`Group::readers`, `Group::writers`).
    pub candidates: &'a [usize],
    /// How to choose.
    pub balance: Balance,
    /// Hash of the client's address, for [`Balance::Source`].
    pub key: Option<u64>,
    /// Servers that were tried already.
    pub exclude: &'a [ServerId],
    /// Lag that this command tolerates, in milliseconds, where it asks for less than the servers' caps.
    pub max_lag_ms: Option<u64>,
    /// Whether a server at its connection cap may be taken where all of them are (the caller waits there).
    pub full_ok: bool,
    /// Whether the command writes: then a server that has just refused a write is not taken.
    pub writes: bool,
    /// The time.
    pub now: Instant,
}

/// Why a server was passed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Passed {
    /// Its role does not fit.
    NotCandidate,
    /// Its status does not allow it.
    Status(Status),
    /// It was tried already.
    Excluded,
    /// Its weight is 0.
    Weightless,
    /// A connect was refused a moment ago.
    Shunned,
    /// A write was refused or lost a moment ago, and the server is not judged anew yet.
    Refusing,
    /// As many connections as allowed are open.
    Full,
    /// Further behind than the command tolerates, or nobody knows how far.
    Behind,
    /// A backup, and another can serve.
    Backup,
    /// It can serve; another was chosen.
    NotChosen,
}

impl fmt::Display for Passed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotCandidate => "its role does not fit",
            Self::Status(status) => return write!(f, "it is {status}"),
            Self::Excluded => "it was tried already",
            Self::Weightless => "its weight is 0",
            Self::Shunned => "no new connection to it was had a moment ago",
            Self::Refusing => "it refused or lost a write a moment ago",
            Self::Full => "its connection limit is reached",
            Self::Behind => "it is too far behind",
            Self::Backup => "it is a backup and others can serve",
            Self::NotChosen => "another was chosen",
        })
    }
}

/// No server can take it: how many were passed over, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NoServer {
    /// Servers of the backend.
    pub servers: u32,
    /// Candidates by role: of those, the reasons are counted.
    pub candidates: u32,
    /// Not serving by status; where nobody is a candidate, of all servers.
    pub status: u32,
    /// Tried already.
    pub excluded: u32,
    /// Of weight 0.
    pub weightless: u32,
    /// Shunned a moment ago.
    pub shunned: u32,
    /// Refused a write a moment ago.
    pub refusing: u32,
    /// At their connection limit.
    pub full: u32,
    /// Too far behind.
    pub behind: u32,
}

impl NoServer {
    fn count(&mut self, passed: Passed) {
        let counter = match passed {
            Passed::Status(_) => &mut self.status,
            Passed::Excluded => &mut self.excluded,
            Passed::Weightless => &mut self.weightless,
            Passed::Shunned => &mut self.shunned,
            Passed::Refusing => &mut self.refusing,
            Passed::Full => &mut self.full,
            Passed::Behind => &mut self.behind,
            Passed::NotCandidate | Passed::Backup | Passed::NotChosen => return,
        };
        *counter += 1;
    }

    /// Whether waiting for a connection can help: somebody serves but is full.
    #[must_use]
    pub const fn may_queue(&self) -> bool {
        self.full > 0
    }
}

impl std::error::Error for NoServer {}

impl fmt::Display for NoServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.candidates == 0 {
            // Who is down has no role: that is why, rather than what it would be for.
            return match (self.servers, self.status) {
                (0, _) => f.write_str("no server can serve: the backend has none"),
                (_, 0) => f.write_str("no server can serve: none has the role"),
                (all, down) if all == down => {
                    write!(f, "no server of {all} can serve: {down} not up")
                }
                (all, down) => write!(
                    f,
                    "no server of {all} can serve: {down} not up, and none of the others has the role"
                ),
            };
        }
        write!(f, "no server of {} can serve", self.candidates)?;
        let counts = [
            (self.status, "not up"),
            (self.excluded, "tried already"),
            (self.weightless, "of weight 0"),
            (self.shunned, "gave no new connection"),
            (self.refusing, "refused or lost a write a moment ago"),
            (self.full, "at the connection limit"),
            (self.behind, "too far behind"),
        ];
        let mut separator = ": ";
        for (count, what) in counts.iter().filter(|(count, _)| *count > 0) {
            write!(f, "{separator}{count} {what}")?;
            separator = ", ";
        }
        Ok(())
    }
}

/// The index of the member that takes the next command.
///
/// `turn` is the caller's memory for [`Balance::RoundRobin`] in this group; `rng` yields random bits.
/// Shunned servers are taken when nobody else is left: a command that waits for nobody is lost for sure.
/// A full server is taken only while all of its tier are full, but with [`Balance::Source`], which keeps a
/// client where it is: it waits there.
///
/// # Errors
/// Nobody can; with the reasons counted.
pub fn choose(
    request: &Request<'_>,
    turn: &mut Turn,
    rng: &mut impl FnMut() -> u64,
) -> Result<usize, NoServer> {
    for tier in [Tier::Regular, Tier::Backup, Tier::Shunned] {
        if let Some(index) = pick::pick(request, tier, turn, rng) {
            return Ok(with_room(request, tier, index, turn, rng));
        }
    }
    let servers = u32::try_from(request.members.len()).unwrap_or(u32::MAX);
    let mut none = NoServer { servers, ..NoServer::default() };
    for member in request.candidates.iter().filter_map(|index| request.members.get(*index)) {
        none.candidates += 1;
        if let Some(passed) = passed_over(request, member) {
            none.count(passed);
        }
    }
    if none.candidates == 0 {
        for member in request.members.iter().filter(|member| !member.status.serves()) {
            none.count(Passed::Status(member.status));
        }
    }
    Err(none)
}

/// Who takes it in place of one that was picked and is full: another of the same tier that has room.
///
/// Looked at only once somebody is picked, so that a choice reads no more of servers that have room.
fn with_room(
    request: &Request<'_>,
    tier: Tier,
    picked: usize,
    turn: &mut Turn,
    rng: &mut impl FnMut() -> u64,
) -> usize {
    let keeps_its_server = request.balance == Balance::Source && request.key.is_some();
    if keeps_its_server || !request.members.get(picked).is_some_and(is_full) {
        return picked;
    }
    let with_room = Request { full_ok: false, ..*request };
    pick::pick(&with_room, tier, turn, rng).unwrap_or(picked)
}

/// Whether whoever comes would wait: as many are at work there or wait as may be open, and are.
///
/// With fewer at work there is an idle connection, or one will be in a moment; only the pool knows.
#[must_use]
pub fn is_full(member: &Member) -> bool {
    let (max, state) = (member.server.max_connections, &member.state);
    max > 0 && state.load() >= max && state.opened.load(Ordering::Relaxed) >= max
}

/// Whom a read goes to: the `first` choice, unless nobody was found or who was gives no connections, as a
/// replica may that counts as up (at its own limit, behind a firewall); then one of those `instead`.
///
/// # Errors
/// Nobody can; as the first choice said.
pub fn or_instead(
    first: Result<usize, NoServer>,
    instead: &[usize],
    is_shunned: impl Fn(usize) -> bool,
    choose: impl FnOnce(&[usize]) -> Result<usize, NoServer>,
) -> Result<usize, NoServer> {
    if instead.is_empty() || first.as_ref().is_ok_and(|at| !is_shunned(*at)) {
        return first;
    }
    match choose(instead) {
        Ok(at) if !is_shunned(at) || first.is_err() => Ok(at),
        _ => first,
    }
}

/// Whom one round of choosing looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tier {
    /// Those that are no backups.
    Regular,
    /// Backups.
    Backup,
    /// Those that refused a connection a moment ago.
    Shunned,
}

impl Tier {
    fn takes(self, request: &Request<'_>, member: &Member) -> bool {
        match passed_over(request, member) {
            None => match self {
                Self::Regular => !member.server.backup,
                Self::Backup => member.server.backup,
                Self::Shunned => false,
            },
            Some(Passed::Shunned) => self == Self::Shunned,
            Some(_) => false,
        }
    }
}

/// Why that candidate can't take the command whoever else is there; `None` = it can.
fn passed_over(request: &Request<'_>, member: &Member) -> Option<Passed> {
    if !member.status.serves() && member.status != Status::Held {
        return Some(Passed::Status(member.status));
    }
    if member.weight == 0 {
        return Some(Passed::Weightless);
    }
    if request.exclude.contains(&member.state.id) {
        return Some(Passed::Excluded);
    }
    if let Some(cap) = request.max_lag_ms
        && member.role == crate::snapshot::Role::Replica
        && member.lag_ms.is_none_or(|lag| lag > cap)
    {
        return Some(Passed::Behind);
    }
    if request.writes && member.state.holds_writes(request.now) {
        return Some(Passed::Refusing);
    }
    if !request.full_ok && is_full(member) {
        return Some(Passed::Full);
    }
    // Last, so that a shunned server is one that could serve otherwise.
    member.state.is_shunned(request.now).then_some(Passed::Shunned)
}

/// For every member of the group: its index and why it was passed over; `None` = chosen.
#[must_use]
pub fn explain(request: &Request<'_>, chosen: Option<usize>) -> Vec<(usize, Option<Passed>)> {
    let request = Request { full_ok: false, ..*request };
    (request.members.iter().enumerate())
        .map(|(index, member)| {
            let passed = if Some(index) == chosen {
                None
            } else if !request.candidates.contains(&index) {
                // An unfit server is told why it is unfit rather than that it is no candidate.
                let status = (!member.status.serves()).then_some(Passed::Status(member.status));
                Some(status.unwrap_or(Passed::NotCandidate))
            } else {
                Some(passed_over(&request, member).unwrap_or(if member.server.backup {
                    Passed::Backup
                } else {
                    Passed::NotChosen
                }))
            };
            (index, passed)
        })
        .collect()
}
