//! One backend's group: every server's status from operator, health and topology, in this order.

use std::{sync::Arc, time::Instant};

use highgate_config::{AdminState, Backend, BackendName, ReadsOnPrimary, Server, Topology};

use super::{Observed, Override};
use crate::{
    health::{Condition, ServerHealth},
    ramp::Ramp,
    server::ServerState,
    snapshot::{Group, Member, PlanReason, Role, Status, Writes},
    topology::{Assigned, Outcome},
};

pub(super) fn group(
    name: &BackendName,
    backend: &Arc<Backend>,
    states: &[Arc<ServerState>],
    observed: Observed<'_>,
    old: Option<&Arc<Group>>,
    now: Instant,
) -> Group {
    let outcome = observed.topologies.get(name);
    let alone = backend.servers.len() == 1;
    let members: Vec<Member> = (backend.servers.iter().zip(states))
        .map(|((server, settings), state)| {
            let mark = observed.overrides.get(&(name.clone(), server.clone()));
            let health = observed.healths.get(&state.id);
            let assigned = outcome.and_then(|outcome| outcome.roles.get(server));
            let before = old.and_then(|old| old.member(server));
            let seat = Seat { backend, settings, state, mark, health, assigned, now };
            seat.member(before, alone)
        })
        .collect();
    let primary = outcome
        .and_then(|outcome| outcome.primary.as_ref())
        .and_then(|primary| members.iter().position(|member| member.state.name == *primary));
    let writes = writes(backend, outcome, primary.and_then(|index| members.get(index)));
    let writers = match (backend.topology, primary) {
        (Topology::Static, _) => serving(&members, |_| true),
        (_, Some(index)) if writes == Writes::Open => vec![index],
        _ => Vec::new(),
    };
    let readers = readers(backend, &members, &writers);
    let reason = reason(&members, &readers, primary, &writes);
    let backend = Arc::clone(backend);
    Group { name: name.clone(), backend, members, primary, readers, writers, writes, reason }
}

/// What is known about one server.
struct Seat<'a> {
    backend: &'a Backend,
    settings: &'a Server,
    state: &'a Arc<ServerState>,
    mark: Option<&'a Override>,
    health: Option<&'a ServerHealth>,
    assigned: Option<&'a Assigned>,
    now: Instant,
}

impl Seat<'_> {
    fn member(&self, before: Option<&Member>, alone: bool) -> Member {
        let role = match self.backend.topology {
            Topology::Static => Role::Member,
            _ => self.assigned.map_or(Role::None, |assigned| assigned.role),
        };
        let (status, reason) = self.status();
        let ramp = self.ramp(status, before).filter(|_| !alone);
        // An equal text is shared, so that plans without news are cheap.
        let reason = match before.filter(|before| *before.reason == *reason) {
            Some(before) => Arc::clone(&before.reason),
            None => Arc::from(reason),
        };
        Member {
            state: Arc::clone(self.state),
            server: self.settings.clone(),
            role,
            status,
            weight: self.mark.and_then(|mark| mark.weight).unwrap_or(self.settings.weight),
            ramp,
            lag_ms: self.assigned.and_then(|assigned| assigned.lag_ms),
            reason,
        }
    }

    fn status(&self) -> (Status, String) {
        let by = self.mark.filter(|mark| mark.state.is_some());
        let by =
            by.map_or_else(|| "by configuration".to_owned(), |mark| format!("by {}", mark.who));
        match self.mark.and_then(|mark| mark.state).unwrap_or(self.settings.state) {
            AdminState::Maintenance => {
                return (Status::Maintenance, format!("in maintenance {by}"));
            }
            AdminState::Drain => return (Status::Draining, format!("draining {by}")),
            AdminState::Enabled => {}
        }
        let (status, mut reason) = self.fitness();
        if status == Status::Up && self.health.is_some_and(ServerHealth::gives_no_connections) {
            reason
                .push_str("; gives no new connections, so work goes to others where there are any");
        }
        (status, reason)
    }

    /// What its health and its role make of it.
    fn fitness(&self) -> (Status, String) {
        let error = self.health.and_then(ServerHealth::last_error);
        let health = match self.health.map_or(Condition::Unknown, ServerHealth::condition) {
            Condition::Unknown | Condition::Maintenance => {
                return (Status::Unknown, "not checked yet".to_owned());
            }
            Condition::Down { .. } => {
                return (Status::Down, error.unwrap_or("checks fail").to_owned());
            }
            Condition::Held { .. } => Status::Held,
            Condition::Up { .. } => Status::Up,
        };
        let held = self.health.map_or("", ServerHealth::held_because);
        match (self.backend.topology, self.assigned) {
            (Topology::Static, _) if health == Status::Up => {
                let unread = self.health.and_then(ServerHealth::unread);
                let reason = unread.map_or_else(
                    || "checks succeed".to_owned(),
                    |unread| format!("answers, but {}", unread.why()),
                );
                (Status::Up, reason)
            }
            (Topology::Static, _) => (Status::Held, held.to_owned()),
            (_, None) => (Status::Unknown, "its role is not known yet".to_owned()),
            (_, Some(assigned)) => match assigned.unfit {
                Some(unfit) => (unfit, assigned.reason.to_string()),
                None if health == Status::Held => (Status::Held, held.to_owned()),
                None => (Status::Up, assigned.reason.to_string()),
            },
        }
    }

    /// The climb of a server that begins to serve again, whatever kept it out: down, behind, quarantined, drained.
    /// The very first appearance needs none, so one of which nothing is known carries whether it served before.
    fn ramp(&self, status: Status, before: Option<&Member>) -> Option<Ramp> {
        // Another address is another server.
        let before = before.filter(|before| before.state.id == self.state.id)?;
        let begins = Ramp { since: self.now, over: self.backend.slow_start };
        let is_known = before.status != Status::Unknown;
        match status {
            _ if self.backend.slow_start.is_zero() => None,
            Status::Unknown if is_known => Some(begins),
            Status::Unknown => before.ramp,
            status if !status.serves() => None,
            _ if before.status.serves() => before.ramp,
            _ => (is_known || before.ramp.is_some()).then_some(begins),
        }
    }
}

fn serving(members: &[Member], role: impl Fn(&Member) -> bool) -> Vec<usize> {
    let pick = |wanted: fn(Status) -> bool| -> Vec<usize> {
        (members.iter().enumerate())
            .filter(|(_, member)| wanted(member.status) && role(member))
            .map(|(index, _)| index)
            .collect()
    };
    let serving = pick(Status::serves);
    // A flapping server is better than none.
    if serving.is_empty() { pick(|status| status == Status::Held) } else { serving }
}

fn readers(backend: &Backend, members: &[Member], writers: &[usize]) -> Vec<usize> {
    if backend.topology == Topology::Static {
        return writers.to_vec();
    }
    let mut readers = serving(members, |member| member.role == Role::Replica);
    let usable = readers.iter().filter_map(|index| members.get(*index)).any(|m| m.weight > 0);
    let primary = match backend.reads_on_primary {
        ReadsOnPrimary::Always => true,
        ReadsOnPrimary::Fallback => !usable,
        ReadsOnPrimary::Never => false,
    };
    if primary {
        readers.extend(writers);
        readers.sort_unstable();
    }
    readers
}

fn writes(backend: &Backend, outcome: Option<&Outcome>, primary: Option<&Member>) -> Writes {
    if backend.topology == Topology::Static {
        return Writes::Open;
    }
    let Some(outcome) = outcome else {
        return Writes::Waiting { reason: "the servers' roles are not known yet".into() };
    };
    match primary.filter(|_| outcome.writes == Writes::Open) {
        // The health flip is planned at once, the topology's word follows: the stricter one counts.
        Some(member) if !member.status.serves() && member.status != Status::Held => {
            Writes::Waiting {
                reason: format!(
                    "the primary {} is {}: {}",
                    member.state.name, member.status, member.reason
                )
                .into(),
            }
        }
        Some(member) if member.weight == 0 => Writes::Waiting {
            reason: format!("the primary {} has the weight 0", member.state.name).into(),
        },
        _ => outcome.writes.clone(),
    }
}

fn reason(
    members: &[Member],
    readers: &[usize],
    primary: Option<usize>,
    writes: &Writes,
) -> PlanReason {
    let serving = members.iter().filter(|member| member.status.serves()).count();
    let takes = |index: &&usize| members.get(**index).is_some_and(|member| member.weight > 0);
    let reading = readers.iter().filter(takes).count();
    let mut text = format!("{serving} of {} servers serve, {reading} take reads", members.len());
    match (primary.and_then(|index| members.get(index)), writes) {
        (Some(member), Writes::Open) => {
            text.push_str(&format!(", {} takes writes", member.state.name))
        }
        (_, Writes::Open) => {}
        (_, Writes::Waiting { reason }) => text.push_str(&format!("; writes wait: {reason}")),
        (_, Writes::Refused { reason }) => {
            text.push_str(&format!("; writes are refused: {reason}"))
        }
    }
    PlanReason(text.into())
}
