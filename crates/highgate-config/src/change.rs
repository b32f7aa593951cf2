//! The only verb: one atomic edit of the desired state.

use serde::{Deserialize, Serialize};

use crate::{
    Backend, BackendName, Config, Listener, ListenerName, Node, NodeName, Place, Rule, Server,
    ServerName, User, UserName,
    faults::{Severity, faults},
    settings::{
        BACKEND, Kind, LISTENER, ListenerDraft, NODE, PROCESS, RULE, SCRIPT, SERVER, USER, VIP,
        VIP_GROUP,
    },
};

/// One atomic edit of `Config`. `None` removes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// Sets a backend's own fields; its servers are edited by `Server`, and those in the value are
    /// not looked at. Removing a backend removes its servers.
    Backend(BackendName, Option<Backend>),
    /// Sets a listener.
    Listener(ListenerName, Option<Listener>),
    /// Sets a node's part.
    Node(NodeName, Option<Node>),
    /// Sets a rule.
    Rule(u32, Option<Rule>),
    /// Sets a server of a backend.
    Server(BackendName, ServerName, Option<Server>),
    /// Sets a user.
    User(UserName, Option<User>),
}

impl Change {
    /// What it edits.
    #[must_use]
    pub fn place(&self) -> Place {
        match self {
            Self::Backend(name, _) => Place::Backend(name.clone()),
            Self::Listener(name, _) => Place::Listener(name.clone()),
            Self::Node(name, _) => Place::Node(name.clone()),
            Self::Rule(id, _) => Place::Rule(*id),
            Self::Server(backend, name, _) => Place::Server(backend.clone(), name.clone()),
            Self::User(name, _) => Place::User(name.clone()),
        }
    }
}

/// Why a change was not applied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChangeRefused {
    /// The changes together leave something that does not fit together.
    #[error("{place}: {what}")]
    DoesNotFit {
        /// The thing.
        place: Place,
        /// What is wrong with it.
        what: String,
    },
    /// There is nothing to remove.
    #[error("there is no {place}")]
    NotThere {
        /// What was to be removed.
        place: Place,
    },
    /// A server of a backend that does not exist.
    #[error("{place}: add backend {backend} first")]
    NoBackend {
        /// The server.
        place: Place,
        /// Its backend.
        backend: BackendName,
    },
    /// A field is outside of its range.
    #[error("{place}: {what}")]
    OutOfRange {
        /// The thing.
        place: Place,
        /// The field, its value and its range.
        what: String,
    },
}

/// Applies one change. What must fit together with other things is looked at by [`apply_all`].
///
/// # Errors
/// `NoBackend`, `NotThere` and `OutOfRange`; the state is as it was then.
pub fn apply(config: &mut Config, change: &Change) -> Result<(), ChangeRefused> {
    let place = change.place();
    if let Some(what) = bad_name(change).or_else(|| out_of_range(change)) {
        return Err(ChangeRefused::OutOfRange { place, what });
    }
    let shared = &mut config.shared;
    let is_done = match change {
        Change::Backend(name, None) => shared.backends.remove(name).is_some(),
        Change::Backend(name, Some(backend)) => {
            let servers = shared.backends.remove(name).map(|old| old.servers).unwrap_or_default();
            shared.backends.insert(name.clone(), Backend { servers, ..without_servers(backend) });
            true
        }
        Change::Listener(name, value) => put(&mut shared.listeners, name, value.as_ref()),
        Change::Node(name, value) => put(&mut config.node, name, value.as_ref()),
        Change::Rule(id, value) => put(&mut shared.rules, id, value.as_ref()),
        Change::Server(backend, name, value) => {
            let Some(backend) = shared.backends.get_mut(backend) else {
                return Err(ChangeRefused::NoBackend { place, backend: backend.clone() });
            };
            put(&mut backend.servers, name, value.as_ref())
        }
        Change::User(name, value) => put(&mut shared.users, name, value.as_ref()),
    };
    if is_done { Ok(()) } else { Err(ChangeRefused::NotThere { place }) }
}

/// Applies changes together and looks whether the whole still fits.
///
/// # Errors
/// The first change that is refused, or `DoesNotFit`. Faults that `config` has already are
/// nobody's fault now and do not refuse anything.
pub fn apply_all(config: &Config, changes: &[Change]) -> Result<Config, ChangeRefused> {
    let mut next = config.clone();
    for change in changes {
        apply(&mut next, change)?;
    }
    let before = faults(config);
    let fault = faults(&next)
        .into_iter()
        .find(|fault| fault.severity == Severity::Error && !before.contains(fault));
    match fault {
        Some(fault) => Err(ChangeRefused::DoesNotFit { place: fault.place, what: fault.what }),
        None => Ok(next),
    }
}

/// The changes that make `new` out of `old`, in an order in which each can be applied.
#[must_use]
pub fn diff(old: &Config, new: &Config) -> Vec<Change> {
    let mut changes = Vec::new();
    for (name, before, after) in pairs(&old.shared.backends, &new.shared.backends) {
        diff_backend(name, before, after, &mut changes);
    }
    for (name, value) in edits(&old.shared.listeners, &new.shared.listeners) {
        changes.push(Change::Listener(name, value));
    }
    for (name, value) in edits(&old.shared.users, &new.shared.users) {
        changes.push(Change::User(name, value));
    }
    for (id, value) in edits(&old.shared.rules, &new.shared.rules) {
        changes.push(Change::Rule(id, value));
    }
    for (name, value) in edits(&old.node, &new.node) {
        changes.push(Change::Node(name, value));
    }
    changes
}

fn diff_backend(
    name: &BackendName,
    before: Option<&Backend>,
    after: Option<&Backend>,
    changes: &mut Vec<Change>,
) {
    let Some(after) = after else {
        changes.push(Change::Backend(name.clone(), None));
        return;
    };
    let own = without_servers(after);
    if before.map(without_servers).as_ref() != Some(&own) {
        changes.push(Change::Backend(name.clone(), Some(own)));
    }
    let nothing = Map::new();
    let servers = before.map_or(&nothing, |backend| &backend.servers);
    for (server, value) in edits(servers, &after.servers) {
        changes.push(Change::Server(name.clone(), server, value));
    }
}

type Map<K, V> = std::collections::BTreeMap<K, V>;

/// A backend's own fields.
pub(crate) fn without_servers(backend: &Backend) -> Backend {
    let Backend { servers: _, monitor, accounts, tls, .. } = backend;
    Backend {
        servers: Map::new(),
        monitor: monitor.clone(),
        accounts: accounts.clone(),
        tls: tls.clone(),
        ..*backend
    }
}

/// Each key of either map with its values there.
pub(crate) fn pairs<'a, K: Ord, V>(
    old: &'a Map<K, V>,
    new: &'a Map<K, V>,
) -> impl Iterator<Item = (&'a K, Option<&'a V>, Option<&'a V>)> {
    let keys: std::collections::BTreeSet<&K> = old.keys().chain(new.keys()).collect();
    keys.into_iter().map(|key| (key, old.get(key), new.get(key)))
}

fn edits<'a, K: Ord + Clone, V: PartialEq + Clone>(
    old: &'a Map<K, V>,
    new: &'a Map<K, V>,
) -> impl Iterator<Item = (K, Option<V>)> {
    pairs(old, new)
        .filter(|(_, before, after)| before != after)
        .map(|(key, _, after)| (key.clone(), after.cloned()))
}

fn put<K: Ord + Clone, V: Clone>(map: &mut Map<K, V>, key: &K, value: Option<&V>) -> bool {
    match value {
        Some(value) => {
            map.insert(key.clone(), value.clone());
            true
        }
        None => map.remove(key).is_some(),
    }
}

/// What is wrong with the name of something that is set.
fn bad_name(change: &Change) -> Option<String> {
    let name = match change {
        Change::Backend(name, Some(_)) => name.as_str(),
        Change::Listener(name, Some(_)) => name.as_str(),
        Change::Node(name, Some(_)) => name.as_str(),
        Change::Server(_, name, Some(_)) => name.as_str(),
        Change::User(name, Some(_)) => name.as_str(),
        _ => return None,
    };
    Kind::Name.read(name).err().map(|mistake| mistake.what)
}

fn out_of_range(change: &Change) -> Option<String> {
    match change {
        Change::Backend(_, Some(backend)) => BACKEND.out_of_range(backend),
        Change::Listener(_, Some(listener)) => {
            LISTENER.out_of_range(&ListenerDraft { listener: listener.clone(), binds: Vec::new() })
        }
        Change::Node(_, Some(node)) => node_out_of_range(node),
        Change::Rule(_, Some(rule)) => RULE.out_of_range(rule),
        Change::Server(_, _, Some(server)) => SERVER.out_of_range(server),
        Change::User(_, Some(user)) => USER.out_of_range(user),
        _ => None,
    }
}

fn node_out_of_range(node: &Node) -> Option<String> {
    let names = node.vips.keys().map(crate::VipName::as_str);
    let names = names.chain(node.vip_groups.keys().map(crate::VipGroupName::as_str));
    let names = names.chain(node.scripts.keys().map(crate::ScriptName::as_str));
    let mut names = names.chain(node.processes.keys().map(crate::ProcessName::as_str));
    NODE.out_of_range(node)
        .or_else(|| names.find_map(|name| Kind::Name.read(name).err()).map(|bad| bad.what))
        .or_else(|| node.vips.values().find_map(|it| VIP.out_of_range(it)))
        .or_else(|| node.vip_groups.values().find_map(|it| VIP_GROUP.out_of_range(it)))
        .or_else(|| node.scripts.values().find_map(|it| SCRIPT.out_of_range(it)))
        .or_else(|| node.processes.values().find_map(|it| PROCESS.out_of_range(it)))
}

#[cfg(test)]
mod tests;
