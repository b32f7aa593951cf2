//! The policy: what only a configuration change replaces.

use std::{collections::BTreeMap, sync::Arc};

use highgate_config::{
    Address, Backend, BackendName, Config, Listener, ListenerName, NodeName, Rule, Topology,
};
use highgate_mysql::auth::StoredPassword;

use crate::{
    events::{Event, Kind, Severity},
    rules::RuleSet,
    snapshot::Policy,
};

/// The policy of a configuration; the previous one if nothing in it changed.
pub(super) fn policy(
    config: &Config,
    node: &NodeName,
    old: Option<&Arc<Policy>>,
    events: &mut Vec<Event>,
) -> Arc<Policy> {
    let shared = &config.shared;
    let binds = config.node.get(node).map(|node| node.binds.clone()).unwrap_or_default();
    let same = old.filter(|old| {
        equal(&old.listeners, &shared.listeners)
            && old.binds == binds
            && equal(&old.users, &shared.users)
            && equal(&old.backends, &shared.backends)
            && *old.written_rules == shared.rules
    });
    if let Some(same) = same {
        return Arc::clone(same);
    }
    let (rules, written_rules) = rules(&shared.rules, old, events);
    let new = Policy {
        listeners: carry(&shared.listeners, old.map(|old| &old.listeners)),
        renamed: old.map(|old| renamed(old, &shared.listeners, &binds)).unwrap_or_default(),
        binds,
        users: carry(&shared.users, old.map(|old| &old.users)),
        backends: carry(&shared.backends, old.map(|old| &old.backends)),
        heirs: old.map(|old| heirs(old, &shared.backends)).unwrap_or_default(),
        rules,
        written_rules,
    };
    dangling(config, events);
    unreadable(config, events);
    if old.is_some() {
        let text = "another configuration is in force".to_owned();
        events.push(Event::new(Severity::Info, Kind::Config, text));
    }
    Arc::new(new)
}

type Binds = BTreeMap<ListenerName, Vec<Address>>;

/// What the listeners of the past that are no more are called now.
fn renamed(
    old: &Policy,
    new: &BTreeMap<ListenerName, Listener>,
    binds: &Binds,
) -> BTreeMap<ListenerName, ListenerName> {
    let is = |name: &ListenerName| new.contains_key(name);
    let heir = |name: &ListenerName| {
        let had = old.binds.get(name)?;
        let is_one = |address: &Address| !address.is_any_port() && had.contains(address);
        let has_one = |has: &[Address]| has.iter().any(is_one);
        let heir = binds.iter().find(|(name, has)| is(name) && has_one(has));
        heir.map(|(name, _)| name.clone())
    };
    called_now(&old.renamed, old.binds.keys(), is, heir)
}

/// What the backends with roles of the past that are no more are called now, or that have none any more. One
/// that is new goes before others; and one without roles would not know who takes the writes.
fn heirs(old: &Policy, new: &BTreeMap<BackendName, Backend>) -> BTreeMap<BackendName, BackendName> {
    let has_roles = |backend: &Backend| backend.topology != Topology::Static;
    let is = |name: &BackendName| new.get(name).is_some_and(has_roles);
    let with_roles = new.iter().filter(|(_, backend)| has_roles(backend));
    let mut by_address: BTreeMap<&Address, Vec<&BackendName>> = BTreeMap::new();
    for (name, backend) in with_roles {
        for server in backend.servers.values() {
            by_address.entry(&server.address).or_default().push(name);
        }
    }
    let heir = |name: &BackendName| {
        let before = old.backends.get(name).filter(|before| has_roles(before))?;
        let servers = before.servers.values();
        let heirs = servers.filter_map(|server| by_address.get(&server.address)).flatten();
        heirs.copied().min_by_key(|name| (old.backends.contains_key(*name), *name)).cloned()
    };
    called_now(&old.heirs, old.backends.keys(), is, heir)
}

/// What those of the past are called now that are no more: those of `before`, by what they were called last, and
/// those that were `present`. `is` says who is there, `heir` who has the place of one that just went.
fn called_now<'o, N: Clone + Ord + 'o>(
    before: &'o BTreeMap<N, N>,
    present: impl Iterator<Item = &'o N>,
    is: impl Fn(&N) -> bool,
    heir: impl Fn(&N) -> Option<N>,
) -> BTreeMap<N, N> {
    before
        .iter()
        .chain(present.map(|name| (name, name)))
        .filter(|(name, _)| !is(name))
        .filter_map(|(name, now)| {
            let now = if is(now) { now.clone() } else { heir(now)? };
            Some((name.clone(), now))
        })
        .collect()
}

type Rules = BTreeMap<u32, Rule>;

/// The rules compiled and as written; both are the old ones if nothing changed. A rule that can't be compiled
/// is left out, and the others come into force: what was accepted is not kept out by a rule beside it, and is
/// the same after a restart.
fn rules(
    written: &Rules,
    old: Option<&Arc<Policy>>,
    events: &mut Vec<Event>,
) -> (Arc<RuleSet>, Arc<Rules>) {
    if let Some(old) = old.filter(|old| *old.written_rules == *written) {
        return (Arc::clone(&old.rules), Arc::clone(&old.written_rules));
    }
    let before = old.map(|old| &*old.rules);
    let compiled = RuleSet::compile(written, before).unwrap_or_else(|errors| {
        for error in &errors {
            let text = format!("{error}; it is left out");
            events.push(Event::new(Severity::Error, Kind::Config, text));
        }
        let mut sound = written.clone();
        sound.retain(|id, _| errors.iter().all(|error| error.rule != *id));
        RuleSet::compile(&sound, before).unwrap_or_default()
    });
    (Arc::new(compiled), Arc::new(written.clone()))
}

fn equal<K: Ord, V: PartialEq>(old: &BTreeMap<K, Arc<V>>, new: &BTreeMap<K, V>) -> bool {
    old.len() == new.len()
        && old.iter().zip(new).all(|((k, v), (key, value))| k == key && **v == *value)
}

/// The new map, with the old `Arc`s of all that did not change.
fn carry<K: Ord + Clone, V: Clone + PartialEq>(
    new: &BTreeMap<K, V>,
    old: Option<&BTreeMap<K, Arc<V>>>,
) -> BTreeMap<K, Arc<V>> {
    (new.iter())
        .map(|(key, value)| {
            let kept = old.and_then(|old| old.get(key)).filter(|old| ***old == *value);
            (key.clone(), kept.map_or_else(|| Arc::new(value.clone()), Arc::clone))
        })
        .collect()
}

/// Says which passwords look like a stored form and are none: nobody can log in by them.
fn unreadable(config: &Config, events: &mut Vec<Event>) {
    for (name, user) in &config.shared.users {
        for stored in &user.passwords {
            if let Err(why) = StoredPassword::parse(stored.expose()) {
                let text = format!("nobody can log in by a password of user `{name}`: {why}");
                events.push(Event::new(Severity::Error, Kind::Config, text));
            }
        }
    }
}

/// Says which references lead nowhere: commands routed there will be refused.
fn dangling(config: &Config, events: &mut Vec<Event>) {
    let shared = &config.shared;
    let missing = |name: &BackendName| !shared.backends.contains_key(name);
    for (name, listener) in shared.listeners.iter().filter(|(_, l)| missing(&l.backend)) {
        let text =
            format!("listener `{name}` names backend `{}`, which does not exist", listener.backend);
        events.push(Event::new(Severity::Warning, Kind::Config, text).backend(&listener.backend));
    }
    for (name, user) in &shared.users {
        if let Some(backend) = user.backend.as_ref().filter(|backend| missing(backend)) {
            let text = format!("user `{name}` names backend `{backend}`, which does not exist");
            events.push(Event::new(Severity::Warning, Kind::Config, text).backend(backend));
        }
    }
    for (id, rule) in &shared.rules {
        if let Some(backend) = rule.backend.as_ref().filter(|backend| missing(backend)) {
            let text = format!("rule {id} names backend `{backend}`, which does not exist");
            events.push(Event::new(Severity::Warning, Kind::Config, text).backend(backend));
        }
    }
}
