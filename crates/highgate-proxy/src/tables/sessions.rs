//! Clients: who they are, what they do, and what binds them.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use highgate_config::table::{
    Action, Column,
    Kind::{Integer, Text},
    Metric::None as Hidden,
    Row, Table,
};
use highgate_core::events::{Event, Kind as EventKind, Severity};
use highgate_io::clock;

use super::column;
use crate::{
    session::KilledBy, session_info::SessionInfo, shared::Shared, slots::Interrupt, worker::Mail,
};

pub(super) struct Sessions {
    pub(super) shared: Arc<Shared>,
}

const COLUMNS: &[Column] = &[
    column("id", Integer, Hidden, "Number of the session; its own CONNECTION_ID()."),
    column("user", Text, Hidden, "Account."),
    column("listener", Text, Hidden, "Listener it came by."),
    column("client", Text, Hidden, "Address of the client."),
    column("schema", Text, Hidden, "Current schema."),
    column("program", Text, Hidden, "Program name that the client tells."),
    column("backend", Text, Hidden, "Backend of the connection that it holds."),
    column("server", Text, Hidden, "Server of the connection that it holds."),
    column("server_thread", Integer, Hidden, "The server's own number of that connection."),
    column("state", Text, Hidden, "login, idle, waiting, preparing, running or ending."),
    column("seconds", Integer, Hidden, "Since when, in seconds."),
    column("statement", Text, Hidden, "The statement that it runs, without its literals."),
    column("age", Integer, Hidden, "Age of the session, in seconds."),
    column("commands", Integer, Hidden, "Commands so far."),
    column("pinned_by", Text, Hidden, "What binds it to its connection."),
    column(
        "may_release",
        Text,
        Hidden,
        "Whether its connection may serve others between commands.",
    ),
    column("may_move", Text, Hidden, "Whether it may go on with another server."),
    column("why", Text, Hidden, "What binds it, in a sentence."),
];

const ACTIONS: &[Action] = &[
    Action { name: "kill", arguments: &["id"], doc: "Ends the session now." },
    Action { name: "kill_query", arguments: &["id"], doc: "Ends the statement that it runs." },
];

impl Table for Sessions {
    fn name(&self) -> &'static str {
        "sessions"
    }

    fn doc(&self) -> &'static str {
        "One row per client session of this node."
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn rows(&self) -> Vec<Row> {
        let snapshot = self.shared.snapshot.load_full();
        let members = snapshot.placement.groups.values().flat_map(|group| &group.members);
        let servers: BTreeMap<u32, (String, String)> = members
            .map(|member| {
                let state = &member.state;
                (state.id.0, (state.backend.to_string(), state.name.to_string()))
            })
            .collect();
        let now = self.shared.age_ms(clock::now());
        let forms = self.shared.digests.lock();
        let text = |info: &SessionInfo| forms.text(info.running_form()?).map(str::to_owned);
        let sessions = self.shared.sessions();
        sessions.iter().map(|info| row(info, text(info), &servers, now)).collect()
    }

    fn actions(&self) -> &'static [Action] {
        ACTIONS
    }

    fn act(&self, action: &str, arguments: &[&str]) -> Result<String, String> {
        let [id] = arguments else { return Err(format!("`{action}` takes the session's id")) };
        let id: u32 = id.parse().map_err(|_| format!("`{id}` is no session id"))?;
        let what = match action {
            "kill" => Interrupt::Kill,
            "kill_query" => Interrupt::KillQuery,
            _ => return Err(format!("table `sessions` has no action `{action}`")),
        };
        let info = self.shared.session(id).ok_or_else(|| format!("there is no session {id}"))?;
        let worker = self.shared.workers.get(info.worker);
        match what {
            Interrupt::Kill => info.set_killed_by(KilledBy::Operator),
            _ if info.is_relayed() => {
                return Err(format!(
                    "session {id} is relayed as it is, so its statements are not known: `kill` ends it as a whole"
                ));
            }
            _ => {}
        }
        let told = worker.map(|worker| worker.mail.try_send(Mail::Interrupt(info.slot, what)));
        if !matches!(told, Some(Ok(()))) {
            return Err("its worker does not take messages at the moment; try again".to_owned());
        }
        let whom = if what == Interrupt::Kill { "" } else { "the command of " };
        let text = format!("{whom}session {id} was told to end by an operator");
        self.shared.event(Event::new(Severity::Info, EventKind::Kill, text).session(id));
        Ok(format!("session {id} was told"))
    }
}

fn row(
    info: &SessionInfo,
    statement: Option<String>,
    servers: &BTreeMap<u32, (String, String)>,
    now: u64,
) -> Row {
    let identity = info.identity();
    let pins = info.pins();
    let yes = |may: bool| if may { "yes" } else { "no" };
    let held = info.server();
    let server = held.and_then(|(id, _)| servers.get(&id));
    let why: Vec<&str> = pins.iter().map(|cause| cause.facts().sentence).collect();
    vec![
        info.id.into(),
        identity.user.into(),
        info.listener.to_string().into(),
        info.client().map(|client| client.to_string()).into(),
        identity.schema.into(),
        identity.program.into(),
        server.map(|(backend, _)| backend.clone()).into(),
        server.map(|(_, server)| server.clone()).into(),
        held.map(|(_, thread)| thread).into(),
        info.activity().as_str().into(),
        (now.saturating_sub(info.since_ms()) / 1000).into(),
        statement.into(),
        (now.saturating_sub(info.started_ms) / 1000).into(),
        info.commands.load(Relaxed).into(),
        pins.to_string().into(),
        yes(pins.may_release()).into(),
        yes(pins.may_change_server()).into(),
        why.join("; ").into(),
    ]
}
