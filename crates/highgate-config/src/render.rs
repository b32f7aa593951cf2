//! The native form, written: its text reads as the same desired state again.

use std::fmt::Write as _;

use crate::{
    Config, Node, NodeName, Secret,
    settings::{
        ADMIN_USER, BACKEND, HIDDEN, LISTENER, ListenerDraft, NODE, PROCESS, RULE, SCRIPT, SERVER,
        Setting, TableOf, USER, VIP, VIP_GROUP, Value,
    },
};

/// Whether secrets are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Secrets {
    /// As a mark that is refused when it is read again.
    Hide,
    /// As they are stored.
    Show,
}

/// The shared state and the part of `node` in the native form. Settings that are as when left out
/// are left out.
#[must_use]
pub fn render(config: &Config, node: &NodeName, secrets: Secrets) -> String {
    let nothing = Node::default();
    let own = config.node.get(node).unwrap_or(&nothing);
    let mut page = Page { text: String::new(), secrets };
    page.thing(&NODE, None, own);
    for (name, listener) in &config.shared.listeners {
        let binds = own.binds.get(name).cloned().unwrap_or_default();
        let draft = ListenerDraft { listener: listener.clone(), binds };
        page.thing(&LISTENER, Some(&quote(name.as_str())), &draft);
    }
    for (name, backend) in &config.shared.backends {
        page.thing(&BACKEND, Some(&quote(name.as_str())), backend);
        for (server_name, server) in &backend.servers {
            page.thing(&SERVER, Some(&quote(server_name.as_str())), server);
        }
    }
    for (name, user) in &config.shared.users {
        page.thing(&USER, Some(&quote(name.as_str())), user);
    }
    for (id, rule) in &config.shared.rules {
        page.thing(&RULE, Some(&id.to_string()), rule);
    }
    for (name, vip) in &own.vips {
        page.thing(&VIP, Some(&quote(name.as_str())), vip);
    }
    for (name, group) in &own.vip_groups {
        page.thing(&VIP_GROUP, Some(&quote(name.as_str())), group);
    }
    for (name, script) in &own.scripts {
        page.thing(&SCRIPT, Some(&quote(name.as_str())), script);
    }
    for (name, process) in &own.processes {
        page.thing(&PROCESS, Some(&quote(name.as_str())), process);
    }
    for (name, secret) in &own.admin.users {
        page.thing(&ADMIN_USER, Some(&quote(name.as_str())), secret);
    }
    page.text
}

struct Page {
    text: String,
    secrets: Secrets,
}

impl Page {
    fn thing<T>(&mut self, table: &TableOf<T>, key: Option<&str>, thing: &T) {
        if let (Some(key), Some(declared)) = (key, table.key) {
            let _ = write!(self.text, "\n{}\n{} = {key}\n", table.heading, declared.name);
        }
        let mut groups: Vec<&str> = Vec::new();
        for setting in table.settings() {
            match setting.name.split_once('.') {
                None if is_written(setting, thing) => {
                    let value = self.value(&(setting.get)(thing));
                    let _ = writeln!(self.text, "{} = {value}", setting.name);
                }
                Some((group, _)) if !groups.contains(&group) => groups.push(group),
                _ => {}
            }
        }
        for group in groups {
            self.group(table, group, thing);
        }
    }

    /// A table within a thing, whole as soon as one of its settings is not as when left out: some
    /// of them, left out, are derived from the others.
    fn group<T>(&mut self, table: &TableOf<T>, group: &str, thing: &T) {
        let inside = || {
            table.settings().filter_map(|setting| {
                let (prefix, name) = setting.name.split_once('.')?;
                (prefix == group).then_some((name, setting))
            })
        };
        if !inside().any(|(_, setting)| is_written(setting, thing)) {
            return;
        }
        let parts: Vec<String> = inside()
            .map(|(name, setting)| (name, (setting.get)(thing), setting))
            .filter(|(_, value, setting)| is_known(value) || setting.kind.has_off())
            .map(|(name, value, _)| format!("{name} = {}", self.value(&value)))
            .collect();
        // `[[admin.user]]` may extend a table, but not an inline one.
        let _ = match table.key {
            Some(_) => writeln!(self.text, "{group} = {{ {} }}", parts.join(", ")),
            None => writeln!(self.text, "\n[{group}]\n{}", parts.join("\n")),
        };
    }

    fn value(&self, value: &Value) -> String {
        match value {
            Value::Absent => quote("off"),
            Value::Addresses(list) => several(list.iter().map(|it| quote(&it.to_string()))),
            Value::Bytes(_) | Value::Duration(_) | Value::Digest(_) => quote(&value.to_string()),
            Value::Count(_) | Value::Flag(_) => value.to_string(),
            Value::Ip(address) => quote(&address.to_string()),
            Value::Names(list) => several(list.iter().map(|it| quote(it))),
            Value::Networks(list) => several(list.iter().map(|it| quote(&it.to_string()))),
            Value::Peers(list) => several(list.iter().map(|it| quote(&it.to_string()))),
            Value::Routes(list) => several(list.iter().map(|it| quote(&it.to_string()))),
            Value::RoutingRules(list) => several(list.iter().map(|it| quote(&it.to_string()))),
            Value::Secrets(list) => several(list.iter().map(|it| quote(self.secret(it)))),
            Value::Text(text) => quote(text),
            Value::Tracks(list) => several(list.iter().map(|it| quote(&it.to_string()))),
            Value::VipAddresses(list) => several(list.iter().map(|it| quote(&it.to_string()))),
            Value::VipFifos(list) => several(list.iter().map(|it| quote(&it.to_string()))),
        }
    }

    fn secret<'a>(&self, secret: &'a Secret) -> &'a str {
        match self.secrets {
            Secrets::Hide => HIDDEN,
            Secrets::Show => secret.expose(),
        }
    }
}

fn is_written<T>(setting: &Setting<T>, thing: &T) -> bool {
    let value = (setting.get)(thing);
    value != setting.default_value() || setting.default == crate::settings::WhenLeftOut::Required
}

fn is_known(value: &Value) -> bool {
    match value {
        Value::Absent => false,
        Value::Secrets(list) => !list.is_empty(),
        _ => true,
    }
}

fn several(items: impl Iterator<Item = String>) -> String {
    let items: Vec<String> = items.collect();
    match items.as_slice() {
        [one] => one.clone(),
        _ => format!("[{}]", items.join(", ")),
    }
}

fn quote(text: &str) -> String {
    toml_edit::Value::from(text).to_string()
}
