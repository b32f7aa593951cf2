//! Changes in the words of operators, without secrets.

use std::collections::BTreeMap;

use crate::{
    Backend, Change, Config, Listener, Node, Rule, Server, User,
    change::{pairs, without_servers},
    settings::{
        BACKEND, LISTENER, ListenerDraft, NODE, PROCESS, RULE, SCRIPT, SERVER, TableOf,
        TakesEffect, USER, VIP, VIP_GROUP, Value,
    },
};

/// One line: what `change` does to `config`, e.g. `server shop/db2: weight 1 → 5`.
#[must_use]
pub fn describe(change: &Change, config: &Config) -> String {
    describe_beside(config, change, config)
}

/// As [`describe`], in a process that was started with the configuration `running`.
#[must_use]
pub fn describe_beside(running: &Config, change: &Change, config: &Config) -> String {
    let shared = &config.shared;
    let what = match change {
        Change::Backend(name, new) => backend(shared.backends.get(name), new.as_ref()),
        Change::Listener(name, new) => listener(shared.listeners.get(name), new.as_ref()),
        Change::Node(name, new) => {
            node(running.node.get(name), config.node.get(name), new.as_ref())
        }
        Change::Rule(id, new) => rule(shared.rules.get(id), new.as_ref()),
        Change::Server(backend, name, new) => {
            let old = shared.backends.get(backend).and_then(|backend| backend.servers.get(name));
            server(old, new.as_ref())
        }
        Change::User(name, new) => user(shared.users.get(name), new.as_ref()),
    };
    format!("{}: {what}", change.place())
}

fn backend(old: Option<&Backend>, new: Option<&Backend>) -> String {
    if let (Some(old), None) = (old, new) {
        return format!("removed with {} servers", old.servers.len());
    }
    let (old, new) = (old.map(without_servers), new.map(without_servers));
    fields(&BACKEND, old.as_ref(), new.as_ref())
}

fn listener(old: Option<&Listener>, new: Option<&Listener>) -> String {
    let draft = |listener: &Listener| ListenerDraft { listener: listener.clone(), binds: vec![] };
    fields(&LISTENER, old.map(draft).as_ref(), new.map(draft).as_ref())
}

fn node(running: Option<&Node>, old: Option<&Node>, new: Option<&Node>) -> String {
    let nothing = Node::default();
    let running = running.unwrap_or(&nothing);
    let whole = fields_beside(Some(running), &NODE, old, new);
    if new.is_none() {
        return whole;
    }
    let mut parts = vec![whole];
    let (before, after) = (old.unwrap_or(&nothing), new.unwrap_or(&nothing));
    for (name, was, is) in pairs(&before.binds, &after.binds).filter(|(_, was, is)| was != is) {
        let shown = |binds: Option<&Vec<_>>| {
            Value::Addresses(binds.cloned().unwrap_or_default()).to_string()
        };
        parts.push(format!("bind of listener {name} {} → {}", shown(was), shown(is)));
    }
    for (name, was, is) in pairs(&before.admin.users, &after.admin.users) {
        match (was, is) {
            (None, Some(_)) => parts.push(format!("admin user {name} added")),
            (Some(_), None) => parts.push(format!("admin user {name} removed")),
            _ if was != is => parts.push(format!("admin user {name} has another password")),
            _ => {}
        }
    }
    let run = running;
    things("vip", &VIP, [&run.vips, &before.vips, &after.vips], &mut parts);
    let groups = [&run.vip_groups, &before.vip_groups, &after.vip_groups];
    things("group of vips", &VIP_GROUP, groups, &mut parts);
    things("script", &SCRIPT, [&run.scripts, &before.scripts, &after.scripts], &mut parts);
    things("process", &PROCESS, [&run.processes, &before.processes, &after.processes], &mut parts);
    if parts.len() > 1 {
        parts.retain(|part| part != UNCHANGED);
    }
    parts.join(", ")
}

/// The things of one kind that a node has: what was added, removed or changed of them.
fn things<K: Ord + std::fmt::Display, T: PartialEq>(
    word: &str,
    table: &TableOf<T>,
    [running, before, after]: [&BTreeMap<K, T>; 3],
    parts: &mut Vec<String>,
) {
    for (name, was, is) in pairs(before, after).filter(|(_, was, is)| was != is) {
        let told = fields_beside(running.get(name), table, was, is);
        parts.push(format!("{word} {name} {told}"));
    }
}

fn rule(old: Option<&Rule>, new: Option<&Rule>) -> String {
    fields(&RULE, old, new)
}

fn server(old: Option<&Server>, new: Option<&Server>) -> String {
    fields(&SERVER, old, new)
}

fn user(old: Option<&User>, new: Option<&User>) -> String {
    fields(&USER, old, new)
}

const UNCHANGED: &str = "unchanged";

fn fields<T>(table: &TableOf<T>, old: Option<&T>, new: Option<&T>) -> String {
    fields_beside(None, table, old, new)
}

fn fields_beside<T>(
    running: Option<&T>,
    table: &TableOf<T>,
    old: Option<&T>,
    new: Option<&T>,
) -> String {
    let Some(new) = new else {
        return "removed".to_owned();
    };
    let Some(old) = old else {
        return added(table, new);
    };
    let changed: Vec<String> = table
        .settings()
        .map(|setting| (setting, (setting.get)(old), (setting.get)(new)))
        .filter(|(_, before, after)| before != after)
        .map(|(setting, before, after)| {
            let is_running = running.is_some_and(|it| (setting.get)(it) == after);
            let (name, when) = (setting.name, when(setting.takes_effect, is_running));
            match (&before, &after) {
                (Value::Secrets(_), _) | (_, Value::Secrets(_)) => format!("{name} changed{when}"),
                _ => format!("{name} {before} → {after}{when}"),
            }
        })
        .collect();
    if changed.is_empty() { UNCHANGED.to_owned() } else { changed.join(", ") }
}

/// Said of what stays as it was while this process runs, and of what goes back to that.
fn when(takes_effect: TakesEffect, is_running: bool) -> String {
    match takes_effect {
        TakesEffect::NextStart if is_running => " (as the process runs already)".to_owned(),
        TakesEffect::NextStart => format!(" ({})", takes_effect.words()),
        _ => String::new(),
    }
}

fn added<T>(table: &TableOf<T>, new: &T) -> String {
    let set: Vec<String> = table
        .settings()
        .map(|setting| (setting, (setting.get)(new)))
        .filter(|(setting, value)| *value != setting.default_value() && !is_empty(value))
        .map(|(setting, value)| format!("{} {value}", setting.name))
        .collect();
    if set.is_empty() { "added".to_owned() } else { format!("added ({})", set.join(", ")) }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Absent => true,
        Value::Addresses(list) => list.is_empty(),
        Value::Names(list) => list.is_empty(),
        Value::Networks(list) => list.is_empty(),
        Value::Peers(list) => list.is_empty(),
        Value::Tracks(list) => list.is_empty(),
        Value::VipAddresses(list) => list.is_empty(),
        Value::VipFifos(list) => list.is_empty(),
        Value::Routes(list) => list.is_empty(),
        Value::RoutingRules(list) => list.is_empty(),
        Value::Secrets(list) => list.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{NodeName, native};

    #[test]
    fn a_change_that_waits_for_the_next_start_says_so() {
        let config = |text: &str| native::parse("a", text, &NodeName::from("here")).unwrap().config;
        let old = config("max_connections = 5\n[admin]\nweb = \"127.0.0.1:1\"\n");
        let new = config("max_connections = 6\n[admin]\nweb = \"127.0.0.1:2\"\n");
        let told: Vec<_> = crate::diff(&old, &new).iter().map(|it| describe(it, &old)).collect();
        let [told] = &told[..] else { panic!("{told:?}") };
        assert!(
            told.contains(
                "admin.web 127.0.0.1:1 → 127.0.0.1:2 (with the next start of the process)"
            ),
            "{told}"
        );
        assert!(told.ends_with("max_connections 5 → 6") || told.contains("5 → 6, "), "{told}");
    }

    #[test]
    fn a_change_back_to_what_the_process_was_started_with_waits_for_no_start() {
        let config = |text: &str| native::parse("a", text, &NodeName::from("here")).unwrap().config;
        for [started, other] in [["workers = 3\n", "workers = 4\n"], ["", "workers = 4\n"]] {
            let (started, other) = (config(started), config(other));
            let told = |from: &Config, to: &Config| {
                let changes = crate::diff(from, to);
                let lines = changes.iter().map(|it| describe_beside(&started, it, from));
                lines.collect::<Vec<_>>().join("\n")
            };
            let (there, back) = (told(&started, &other), told(&other, &started));
            assert!(there.ends_with("→ 4 (with the next start of the process)"), "{there}");
            assert!(back.ends_with(" (as the process runs already)"), "{back}");
        }
    }
}
