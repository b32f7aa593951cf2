//! The table `rules` with `explain`: where a statement would go, and why.

use std::{net::IpAddr, sync::Arc};

use highgate_config::{BackendName, ListenerName, UserName, table::Action};
use highgate_core::{
    explain::{Question, explain},
    snapshot::Snapshot,
};
use highgate_io::clock;
use highgate_mysql::sql::LexMode;
use highgate_proxy::shared::Shared;

use crate::acting_table::Actions;

/// What operators may do with `rules`.
pub(crate) struct RuleActions {
    pub(crate) shared: Arc<Shared>,
}

const ACTIONS: &[Action] = &[Action {
    name: "explain",
    arguments: &["sql", "user", "listener", "schema?", "client?"],
    doc: "Where a statement would go, and why; user and listener may be empty where there is one, schema is the \
          account's default where it is, and rules with `client_addr` match by the client's address alone.",
}];

impl Actions for RuleActions {
    fn actions(&self) -> &'static [Action] {
        ACTIONS
    }

    fn act(&self, action: &str, arguments: &[&str]) -> Result<String, String> {
        let [sql, user, listener, rest @ ..] = arguments else {
            return Err(format!("`{action}` takes a statement, an account and a listener"));
        };
        let given = |at: usize| rest.get(at).copied().filter(|text| !text.is_empty());
        let client = given(1).map(|text| {
            text.parse().map_err(|_| format!("`{text}` is no address of a client, as 192.0.2.7"))
        });
        let (schema, client) = (given(0), client.transpose()?);
        let asked = Asked { sql, user, listener, schema, client };
        let snapshot = self.shared.snapshot.load_full();
        let mode = |backend: &BackendName| self.shared.facts_of(backend).lex_mode();
        decide(&snapshot, &asked, mode)
    }
}

/// What an operator asks; names may be empty where there is only one.
pub(crate) struct Asked<'a> {
    pub(crate) sql: &'a str,
    pub(crate) user: &'a str,
    pub(crate) listener: &'a str,
    pub(crate) schema: Option<&'a str>,
    pub(crate) client: Option<IpAddr>,
}

/// Explains a statement on a snapshot; `mode` says how the servers of a backend read a text.
pub(crate) fn decide(
    snapshot: &Snapshot,
    asked: &Asked<'_>,
    mode: impl FnOnce(&BackendName) -> LexMode,
) -> Result<String, String> {
    let listener = listener_of(snapshot, asked.listener)?;
    let user = user_of(snapshot, asked.user)?;
    let own = snapshot.policy.users.get(&user).and_then(|user| user.backend.as_ref());
    let settings = snapshot.policy.listeners.get(&listener);
    let backend = own.or(settings.map(|settings| &settings.backend));
    let question = Question {
        text: asked.sql.as_bytes(),
        listener: &listener,
        user: &user,
        schema: asked.schema,
        client: asked.client,
        mode: backend.map(mode).unwrap_or_default(),
        now: clock::now(),
    };
    explain(&question, snapshot).map(|trace| trace.to_string()).map_err(|why| why.to_string())
}

/// The listener of that name; the first one that knows statements where none is named.
fn listener_of(snapshot: &Snapshot, name: &str) -> Result<ListenerName, String> {
    let listeners = &snapshot.policy.listeners;
    if !name.is_empty() {
        let known = listeners.get_key_value(name).map(|(name, _)| name.clone());
        return known
            .ok_or_else(|| format!("there is no listener `{name}`; see table `listeners`"));
    }
    let mut speaking = listeners
        .iter()
        .filter(|(_, settings)| settings.mode == highgate_config::Mode::Mysql)
        .map(|(name, _)| name.clone());
    match (speaking.next(), speaking.next()) {
        (Some(only), None) => Ok(only),
        (None, _) => Err("no listener has the mode mysql".to_owned()),
        (Some(_), Some(_)) => Err("there are several listeners: name one by --listener".to_owned()),
    }
}

/// The account of that name; the only one where none is named.
fn user_of(snapshot: &Snapshot, name: &str) -> Result<UserName, String> {
    if !name.is_empty() {
        return Ok(UserName::from(name));
    }
    let mut users = snapshot.policy.users.keys().cloned();
    match (users.next(), users.next()) {
        (Some(only), None) => Ok(only),
        (None, _) => Err("there is no account".to_owned()),
        (Some(_), Some(_)) => Err("there are several accounts: name one by --user".to_owned()),
    }
}
