//! From desired state and observations to a snapshot: pure, stable, with reasons.

mod group;
mod policy;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use highgate_config::{Address, AdminState, Backend, BackendName, Config, NodeName, ServerName};

use crate::{
    events::{Event, Kind, Severity},
    health::{Condition, ServerHealth},
    server::{ServerId, ServerKey, ServerRegistry, ServerState},
    snapshot::{Group, Placement, Policy, Snapshot, Writes},
    topology,
};

/// An operator's mark on a server that is no desired state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Override {
    /// Drain, maintenance, or enabled against the configuration.
    pub state: Option<AdminState>,
    /// Weight at run time.
    pub weight: Option<u32>,
    /// Who set it.
    pub who: String,
    /// Since when, in milliseconds of Unix time.
    pub since_ms: u64,
    /// Until when, in milliseconds of Unix time; `None` = until taken back. The shell removes it then.
    pub until_ms: Option<u64>,
}

/// Marks by backend and server.
pub type Overrides = BTreeMap<(BackendName, ServerName), Override>;

/// All that was observed.
#[derive(Debug, Clone, Copy)]
pub struct Observed<'a> {
    /// Every checked server's machine.
    pub healths: &'a BTreeMap<ServerId, ServerHealth>,
    /// What the topologies' machines said last.
    pub topologies: &'a BTreeMap<BackendName, topology::Outcome>,
    /// Operators' marks.
    pub overrides: &'a Overrides,
}

/// The part of a snapshot that only a configuration change replaces: what did not change is taken
/// over from `previous`, and so is the whole, if nothing did.
///
/// To be called when the configuration changes and at no other time: it compares and compiles all
/// of it, which takes as long as the configuration is large.
#[must_use]
pub fn policy(
    config: &Config,
    node: &NodeName,
    previous: Option<&Arc<Policy>>,
) -> (Arc<Policy>, Vec<Event>) {
    let mut events = Vec::new();
    let policy = policy::policy(config, node, previous, &mut events);
    if previous.is_none() && !config.node.contains_key(node) {
        let text = format!("nothing is configured for node `{node}`: it listens nowhere");
        events.push(Event::new(Severity::Warning, Kind::Config, text));
    }
    (policy, events)
}

/// Derives the snapshot.
///
/// Parts that would come out equal are taken over from `previous` as they are: a health flip makes
/// one new group, a plan without news returns the same `Arc`s and the same version.
#[must_use]
pub fn plan(
    policy: &Arc<Policy>,
    observed: Observed<'_>,
    registry: &mut ServerRegistry,
    previous: Option<&Snapshot>,
    now: Instant,
) -> Snapshot {
    let mut groups = BTreeMap::new();
    for (name, backend) in &policy.backends {
        let old = previous.and_then(|previous| previous.placement.groups.get(name));
        let states: Vec<Arc<ServerState>> = (backend.servers.iter())
            .map(|(server, settings)| state(name, server, &settings.address, registry, now))
            .collect();
        let new = group::group(name, backend, &states, observed, old, now);
        let kept = old.filter(|old| ***old == new).map(Arc::clone);
        groups.insert(name.clone(), kept.unwrap_or_else(|| Arc::new(new)));
    }
    let placement = placement(groups, previous);
    let unchanged = previous.filter(|previous| {
        Arc::ptr_eq(&previous.policy, policy) && Arc::ptr_eq(&previous.placement, &placement)
    });
    let version = match (previous, unchanged) {
        (_, Some(same)) => same.version,
        (Some(previous), None) => previous.version + 1,
        (None, None) => 1,
    };
    Snapshot { version, policy: Arc::clone(policy), placement }
}

/// Every server of a configuration with its state: what the shell runs checks for.
pub fn states(
    config: &Config,
    registry: &mut ServerRegistry,
    now: Instant,
) -> Vec<Arc<ServerState>> {
    (config.shared.backends.iter())
        .flat_map(|(backend, group)| group.servers.iter().map(move |pair| (backend, pair)))
        .map(|(backend, (name, server))| state(backend, name, &server.address, registry, now))
        .collect()
}

/// What a topology's machine is told about a backend, in the order of names.
#[must_use]
pub fn inputs<'a>(
    backend: &'a Backend,
    name: &BackendName,
    registry: &ServerRegistry,
    healths: &'a BTreeMap<ServerId, ServerHealth>,
) -> Vec<topology::Input<'a>> {
    let cap = (!backend.max_lag.is_zero()).then_some(backend.max_lag);
    (backend.servers.iter())
        .map(|(server, settings)| {
            let key = ServerKey {
                backend: name.clone(),
                name: server.clone(),
                address: settings.address.clone(),
            };
            let health = registry.get(&key).and_then(|state| healths.get(&state.id));
            topology::Input {
                name: server,
                address: &settings.address,
                admin: health.map_or(settings.state, ServerHealth::admin),
                checked: health.is_some_and(|h| h.condition() != Condition::Unknown),
                alive: health.is_some_and(|health| health.condition().is_alive()),
                seen: health.and_then(ServerHealth::facts),
                unread: health.and_then(ServerHealth::unread),
                doubted: health.is_some_and(ServerHealth::is_doubted),
                max_lag: settings.max_lag.or(cap).filter(|lag| !lag.is_zero()),
            }
        })
        .collect()
}

/// Asks for quick checks of every server of a backend whose writes can't be sent, and ends that for
/// the others. Call it after each plan; the machines' deadlines may have moved.
pub fn hurry(snapshot: &Snapshot, healths: &mut BTreeMap<ServerId, ServerHealth>, now: Instant) {
    for group in snapshot.placement.groups.values() {
        for member in &group.members {
            if let Some(health) = healths.get_mut(&member.state.id) {
                health.hurry(group.writes != Writes::Open, now);
            }
        }
    }
}

fn state(
    backend: &BackendName,
    name: &ServerName,
    address: &Address,
    registry: &mut ServerRegistry,
    now: Instant,
) -> Arc<ServerState> {
    let key = ServerKey { backend: backend.clone(), name: name.clone(), address: address.clone() };
    registry.get_or_create(&key, now)
}

fn placement(
    groups: BTreeMap<BackendName, Arc<Group>>,
    previous: Option<&Snapshot>,
) -> Arc<Placement> {
    let same = previous.map(|previous| &previous.placement).filter(|old| {
        old.groups.len() == groups.len()
            && old.groups.values().zip(groups.values()).all(|(old, new)| Arc::ptr_eq(old, new))
    });
    same.map_or_else(|| Arc::new(Placement { groups }), Arc::clone)
}
