//! The table `servers` with what operators may do: marks that are no desired state.

use std::sync::Arc;

use highgate_cluster::Alone;
use highgate_config::{
    BackendName, Layers, Override, OverrideKind, ServerName, StoreError, table::Action,
};
use highgate_core::{
    events::{Event, Kind, Severity},
    snapshot::{Status, Writes},
};
use highgate_io::{clock, tasks};
use highgate_proxy::{monitor::Command, shared::Shared};
use tokio::sync::{mpsc, oneshot};

use crate::{acting_table::Actions, marked::noun};

/// What operators may do with `servers`.
pub(crate) struct ServerActions {
    pub(crate) alone: Arc<Alone>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) director: mpsc::Sender<Command>,
}

/// A server within its backend.
type Named = (BackendName, ServerName);

const ACTIONS: &[Action] = &[
    Action {
        name: "drain",
        arguments: &["server"],
        doc: "Lets BACKEND/SERVER finish what runs, and gives it nothing new. Of a primary: writes stop until another server is promoted.",
    },
    Action {
        name: "enable",
        arguments: &["server"],
        doc: "Takes back drain or maintenance of BACKEND/SERVER; where it has neither, the weight that an operator gave it.",
    },
    Action {
        name: "maintenance",
        arguments: &["server"],
        doc: "Takes BACKEND/SERVER out: no work, no checks. Of a primary: writes stop until another server takes them.",
    },
    Action {
        name: "weight",
        arguments: &["server", "weight"],
        doc: "Another weight for BACKEND/SERVER until it is taken back, in the measure of the configuration (the column shows thousandths). What is drained or in maintenance stays so.",
    },
];

impl Actions for ServerActions {
    fn actions(&self) -> &'static [Action] {
        ACTIONS
    }

    fn act(&self, action: &str, arguments: &[&str]) -> Result<String, String> {
        let [name, rest @ ..] = arguments else {
            return Err("which server?".to_owned());
        };
        let server = match action {
            "enable" => self.find(name).or_else(|why| self.find_mark(name).ok_or(why))?,
            _ => self.find(name)?,
        };
        match (action, rest) {
            ("drain", []) => self.mark(&server, OverrideKind::Drain),
            ("enable", []) => self.enable(&server),
            ("maintenance", []) => self.mark(&server, OverrideKind::Maintenance),
            ("weight", [weight]) => self.mark(&server, OverrideKind::Weight(weight_of(weight)?)),
            _ => Err(format!("`{action}` does not take these arguments")),
        }
    }
}

fn weight_of(text: &str) -> Result<u32, String> {
    let wrong = |_| format!("`{text}` is no weight: give a whole number, as in the configuration");
    text.parse().map_err(wrong)
}

/// What a mark makes of a server.
fn in_words(kind: OverrideKind) -> String {
    match kind {
        OverrideKind::Drain => "is draining: it finishes what runs and gets nothing new".to_owned(),
        OverrideKind::Maintenance => "is in maintenance: no work, no checks".to_owned(),
        OverrideKind::Weight(weight) => format!("has the weight {weight}"),
    }
}

/// What the end of a mark makes of a server, if there is one of that name, and which other mark it still has.
fn in_words_ended(ended: OverrideKind, left: Option<OverrideKind>, is_there: bool) -> String {
    let taken = format!("the {} of an operator is taken back", noun(ended));
    let is = if is_there { "is as configured again" } else { "is no server now" };
    match left {
        None => format!("{is}: {taken}"),
        Some(left) if is_there => {
            format!("{is} but for one thing: {taken}, the {} of an operator stays", noun(left))
        }
        Some(left) => format!("{is}: {taken}, the {} of an operator stays", noun(left)),
    }
}

impl ServerActions {
    /// Sets a mark; beside it a mark of the other sort stays as it is.
    fn mark(&self, server: &Named, kind: OverrideKind) -> Result<String, String> {
        let mark = Override {
            server: server.clone(),
            kind,
            who: "operator".to_owned(),
            since: clock::wall_ms() / 1000,
            until: None,
        };
        tasks::wait(self.alone.set_override(mark)).map_err(|error| self.refused(server, &error))?;
        let text = self.done(server, &in_words(kind));
        Ok(format!("{text}{}{}", self.way_back(server, kind), self.price(kind, &server.0)))
    }

    /// Takes one mark back: that of the state first, so that the weight is there when it serves again.
    fn enable(&self, server: &Named) -> Result<String, String> {
        let (backend, name) = server;
        let ended = tasks::wait(self.alone.clear_override(server.clone()))
            .map_err(|error| self.refused(server, &error))?;
        let Some(ended) = ended else {
            return Ok(format!(
                "{backend}/{name} is as configured; there was nothing to take back"
            ));
        };
        let marks = self.alone.overrides();
        let left = marks.iter().find(|mark| mark.server == *server).map(|mark| mark.kind);
        let is_there = self.named().contains(server);
        let text = self.done(server, &in_words_ended(ended.kind, left, is_there));
        let again = left.map_or_else(String::new, |_| {
            format!("; `highgate ctl enable {backend}/{name}` again takes that back")
        });
        let out = self.out_of_service(server);
        let out = out.map_or_else(String::new, |why| format!(". It stays out of service: {why}"));
        Ok(format!("{text}{again}{out}"))
    }

    /// Tells of what was done, and waits until it holds.
    fn done(&self, (backend, name): &Named, what: &str) -> String {
        let text = format!("{backend}/{name} {what}");
        let event = Event::new(Severity::Info, Kind::Override, format!("by an operator: {text}"));
        self.shared.event(event.backend(backend).server(name));
        tasks::wait(self.in_force());
        text
    }

    fn refused(&self, (backend, name): &Named, error: &StoreError) -> String {
        let text = format!("an operator's mark was refused, nothing was changed: {error}");
        let event = Event::new(Severity::Error, Kind::Override, text);
        self.shared.event(event.backend(backend).server(name));
        error.to_string()
    }

    /// How a mark is taken back; of a weight also that it brings nothing into service.
    fn way_back(&self, server: &Named, kind: OverrideKind) -> String {
        let enable = format!("`highgate ctl enable {}/{}`", server.0, server.1);
        let marks = self.alone.overrides();
        let is_marked = marks.iter().any(|it| it.server == *server && it.kind.is_state());
        match self.out_of_service(server) {
            Some(why) if !kind.is_state() && is_marked => format!(
                "; it stays out of service ({why}) until {enable}, and has this weight then"
            ),
            Some(why) if !kind.is_state() => {
                format!("; it stays out of service ({why}); {enable} takes the weight back")
            }
            _ => format!("; {enable} takes that back"),
        }
    }

    /// By whose word a server is out of service.
    fn out_of_service(&self, (backend, name): &Named) -> Option<Arc<str>> {
        let snapshot = self.shared.snapshot.load_full();
        let member = snapshot.placement.groups.get(backend)?.member(name)?;
        matches!(member.status, Status::Draining | Status::Maintenance)
            .then(|| Arc::clone(&member.reason))
    }

    /// Waits until the snapshot in force has the marks that are stored.
    async fn in_force(&self) {
        let (done, settled) = oneshot::channel();
        // Without a director the process is about to end.
        if self.director.send(Command::Settled { done }).await.is_ok() {
            let _ = settled.await;
        }
    }

    /// What taking a server out costs: without its primary, a backend takes no writes.
    fn price(&self, kind: OverrideKind, backend: &BackendName) -> String {
        let takes_out = kind.is_state() || kind == OverrideKind::Weight(0);
        let snapshot = self.shared.snapshot.load_full();
        match snapshot.placement.groups.get(backend).map(|group| &group.writes) {
            Some(Writes::Waiting { reason } | Writes::Refused { reason }) if takes_out => {
                format!(". Writes to {backend} can't be sent now: {reason}")
            }
            _ => String::new(),
        }
    }

    /// The server named `BACKEND/SERVER`, or by its own name where that is the only one.
    fn find(&self, name: &str) -> Result<Named, String> {
        let mut found = self.named();
        found.retain(|(backend, server)| {
            server.as_str() == name || format!("{backend}/{server}") == name
        });
        match found.as_slice() {
            [one] => Ok(one.clone()),
            [] => Err(format!("there is no server `{name}`; see table `servers`")),
            _ => Err(format!("several backends have a server `{name}`: say BACKEND/{name}")),
        }
    }

    /// All servers.
    fn named(&self) -> Vec<Named> {
        let snapshot = self.shared.snapshot.load_full();
        let members = snapshot.placement.groups.values().flat_map(|group| &group.members);
        members.map(|it| (it.state.backend.clone(), it.state.name.clone())).collect()
    }

    /// The server that is no more and that an operator marked: its mark would wait for a later one of its name.
    fn find_mark(&self, name: &str) -> Option<Named> {
        let marks = self.alone.overrides();
        let mut named = marks.iter().map(|mark| &mark.server);
        named.find(|(backend, server)| format!("{backend}/{server}") == name).cloned()
    }
}
