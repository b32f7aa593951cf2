//! What does not fit together in a whole desired state, whoever asked for it.
//!
//! Ranges of single settings are the declarations' business; here are the rules across fields
//! and things. References to backends may dangle: a warning.

mod machine;
pub(crate) mod tcp;
mod vip;

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    Address, Admin, AuthSource, Backend, BackendName, Check, Config, Mode, Node, NodeName, Rule,
    TlsMode, Topology,
    place::Place,
    settings::{clash, tls_problem},
};

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// Nothing is changed.
    Error,
    /// It is accepted, and this is what it means here.
    Note,
    /// It is accepted, but probably not meant.
    Warning,
}

/// Something that does not fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) severity: Severity,
    pub(crate) place: Place,
    pub(crate) field: &'static str,
    pub(crate) what: String,
    pub(crate) hint: Option<String>,
    /// The other thing, where two do not go together.
    pub(crate) other: Option<(Place, &'static str)>,
}

impl Fault {
    fn error(place: Place, field: &'static str, what: impl Into<String>) -> Self {
        let (severity, what) = (Severity::Error, what.into());
        Self { severity, place, field, what, hint: None, other: None }
    }

    fn warning(place: Place, field: &'static str, what: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(place, field, what) }
    }

    fn with_hint(self, hint: &str) -> Self {
        Self { hint: Some(hint.to_owned()), ..self }
    }

    fn with_other(self, place: Place, field: &'static str) -> Self {
        Self { other: Some((place, field)), ..self }
    }
}

pub(crate) use self::machine::{absent, outside};

/// All that does not fit in `config`.
pub(crate) fn faults(config: &Config) -> Vec<Fault> {
    let mut found = Vec::new();
    listeners(config, &mut found);
    for (name, backend) in &config.shared.backends {
        of_backend(name, backend, &mut found);
        tcp::of_backend(config, name, backend, &mut found);
    }
    users(config, &mut found);
    for (id, rule) in &config.shared.rules {
        of_rule(*id, rule, config, &mut found);
    }
    for (name, node) in &config.node {
        of_node(name, node, &mut found);
        vip::of_vips(name, node, &mut found);
        for listener in node.binds.keys() {
            if !config.shared.listeners.contains_key(listener) {
                let what = format!("there is no listener `{listener}` to bind for");
                found.push(Fault::warning(Place::Node(name.clone()), "", what));
            }
        }
    }
    found
}

/// What is accepted in that state and probably not meant, in words.
#[must_use]
pub fn warned_of(config: &Config) -> BTreeSet<String> {
    let warnings = faults(config).into_iter().filter(|fault| fault.severity == Severity::Warning);
    warnings.map(|fault| fault.what).collect()
}

fn listeners(config: &Config, found: &mut Vec<Fault>) {
    for (name, listener) in &config.shared.listeners {
        let place = || Place::Listener(name.clone());
        if listener.mode == Mode::Http {
            let fault = Fault::error(place(), "mode", "mode `http` is not available yet");
            found.push(fault.with_hint("`tcp` passes HTTP on without looking at it"));
        }
        if listener.auth == AuthSource::Cluster && listener.mode == Mode::Mysql {
            of_cluster_accounts(config, &listener.backend, place(), found);
        }
        if listener.mode == Mode::Tcp {
            tcp::of_listener(name, listener, found);
        } else if let Some(what) = tls_problem(&listener.tls, true) {
            found.push(Fault::error(place(), "tls.mode", what));
        }
        dangling(config, &listener.backend, place(), found);
        let is_local = listener.auth == AuthSource::Local && listener.mode == Mode::Mysql;
        if is_local && config.shared.users.is_empty() {
            let what = "nobody can log in: there is no [[user]]";
            found.push(Fault::warning(place(), "auth", what));
        }
    }
}

/// Somebody must be able to read the accounts.
fn of_cluster_accounts(
    config: &Config,
    backend: &BackendName,
    place: Place,
    found: &mut Vec<Fault>,
) {
    let Some(backend) = config.shared.backends.get(backend) else { return };
    if backend.accounts.user.is_empty() && backend.monitor.user.is_empty() {
        let what = "auth `cluster` needs an account of its backend that reads the grant tables";
        let hint = "accounts = { user = \"reader\", password = \"…\" } in the [[backend]]";
        found.push(Fault::error(place, "auth", what).with_hint(hint));
    }
}

fn dangling(config: &Config, backend: &BackendName, place: Place, found: &mut Vec<Fault>) {
    if !config.shared.backends.contains_key(backend) && !backend.as_str().is_empty() {
        let what = format!("there is no backend `{backend}`; commands for it will be refused");
        let known = config.shared.backends.keys().map(BackendName::as_str);
        let near = crate::nearest::nearest(backend.as_str(), known);
        let hint = near.map(|near| format!("did you mean `{near}`?"));
        found.push(Fault { hint, ..Fault::warning(place, "backend", what) });
    }
}

fn of_backend(name: &BackendName, backend: &Backend, found: &mut Vec<Fault>) {
    let place = || Place::Backend(name.clone());
    if let Some(what) = tls_problem(&backend.tls, false) {
        found.push(Fault::error(place(), "tls.mode", what));
    }
    if backend.servers.is_empty() {
        found.push(Fault::warning(place(), "", format!("backend `{name}` has no server")));
    }
    let monitor = &backend.monitor;
    let logs_in = matches!(monitor.check, Check::Ping | Check::Sql(_));
    let has_roles = backend.topology != Topology::Static;
    if has_roles && monitor.check == Check::Off {
        let what = "a topology with roles can't be followed while `monitor.check` is off";
        found.push(Fault::error(place(), "monitor.check", what));
    } else if monitor.user.is_empty() && (logs_in || has_roles) {
        let (field, what) = if has_roles {
            ("topology", format!("topology `{}` needs `monitor.user`", backend.topology))
        } else {
            ("monitor.check", "this check needs `monitor.user`".to_owned())
        };
        let hint = "monitor = { user = \"monitor\", password = \"…\" }";
        found.push(Fault::error(place(), field, what).with_hint(hint));
    }
    let mut seen = BTreeMap::new();
    for (server_name, server) in &backend.servers {
        let server_place = Place::Server(name.clone(), server_name.clone());
        if let Some(first) = seen.insert(&server.address, server_name) {
            let what = format!("backend `{name}` has {} already as `{first}`", server.address);
            let other = Place::Server(name.clone(), first.clone());
            let fault = Fault::error(server_place, "address", what);
            found.push(fault.with_other(other, "address"));
        }
    }
}

fn users(config: &Config, found: &mut Vec<Fault>) {
    for (name, user) in &config.shared.users {
        let place = || Place::User(name.clone());
        if user.passwords.is_empty() {
            found.push(Fault::error(place(), "password", format!("user `{name}` has no password")));
        } else if user.passwords.iter().any(|secret| secret.expose().is_empty()) {
            let what = format!("user `{name}` can log in with an empty password");
            found.push(Fault::warning(place(), "password", what));
        }
        if let Some(backend) = &user.backend {
            dangling(config, backend, place(), found);
        }
    }
}

fn of_rule(id: u32, rule: &Rule, config: &Config, found: &mut Vec<Fault>) {
    let place = || Place::Rule(id);
    if rule.replace_pattern.is_some() && rule.match_pattern.is_none() {
        let what = "`replace_pattern` needs `match_pattern`";
        found.push(Fault::error(place(), "replace_pattern", what));
    }
    if rule.error_msg.is_some() && rule.ok_msg.is_some() {
        let what = "`error_msg` and `OK_msg` exclude each other";
        found.push(Fault::error(place(), "OK_msg", what));
    }
    if rule.negate_match_pattern && rule.match_pattern.is_none() && rule.match_digest.is_none() {
        let what = "`negate_match_pattern` needs `match_digest` or `match_pattern`";
        found.push(Fault::error(place(), "negate_match_pattern", what));
    }
    if let Some(backend) = &rule.backend {
        dangling(config, backend, place(), found);
    }
    if let Some(listener) = &rule.listener
        && !config.shared.listeners.contains_key(listener)
    {
        let what = format!("there is no listener `{listener}`; the rule never matches");
        found.push(Fault::warning(place(), "listener", what));
    }
}

fn of_admin(name: &NodeName, admin: &Admin, found: &mut Vec<Fault>) {
    let place = || Place::Node(name.clone());
    if let Some(what) = tls_problem(&admin.tls, true) {
        found.push(Fault::error(place(), "admin.tls.mode", what));
    }
    let leaves = |address: &Option<Address>| match address {
        Some(Address::Ip(address)) => !address.ip().to_canonical().is_loopback(),
        Some(Address::Host(host, _)) => host != "localhost",
        Some(Address::Unix(_)) | None => false,
    };
    for (field, address) in [("admin.sql", &admin.sql), ("admin.web", &admin.web)] {
        if admin.tls.mode == TlsMode::Disabled && leaves(address) {
            let what = "operators reach this from other machines, unencrypted";
            let hint = "give `[admin.tls]` a `cert` and a `key`, or bind to 127.0.0.1";
            found.push(Fault::warning(place(), field, what).with_hint(hint));
        }
    }
    for (user, password) in &admin.users {
        if password.expose().is_empty() {
            let what = format!("operator `{user}` can log in with an empty password");
            let place = Place::AdminUser(name.clone(), user.clone());
            found.push(Fault::warning(place, "password", what));
        }
    }
}

fn of_node(name: &NodeName, node: &Node, found: &mut Vec<Fault>) {
    of_admin(name, &node.admin, found);
    let mut held: Vec<(&Address, Place, &'static str)> = Vec::new();
    let admin = [("admin.sql", &node.admin.sql), ("admin.web", &node.admin.web)];
    let admin = admin
        .into_iter()
        .filter_map(|(field, address)| Some((address.as_ref()?, Place::Node(name.clone()), field)));
    let binds = node.binds.iter().flat_map(|(listener, addresses)| {
        addresses.iter().map(move |it| (it, Place::Listener(listener.clone()), "bind"))
    });
    for (address, place, field) in admin.chain(binds) {
        let taken = held.iter().find(|(other, ..)| clash(other, address));
        if let Some((other, other_place, other_field)) = taken {
            let what = if *other == address {
                format!("{address} is bound already by {other_place}")
            } else {
                format!("{address} overlaps {other}, which is bound already by {other_place}")
            };
            let fault = Fault::error(place.clone(), field, what);
            found.push(fault.with_other(other_place.clone(), other_field));
        }
        held.push((address, place, field));
    }
}
