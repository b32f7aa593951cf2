//! The table `servers` with what operators may do: marks that are no desired state.

use std::sync::Arc;

use highgate_cluster::Alone;
use highgate_config::{BackendName, Layers, Override, OverrideKind, ServerName, table::Action};
use highgate_core::{
    events::{Event, Kind, Severity},
    snapshot::Writes,
};
use highgate_io::{clock, tasks};
use highgate_proxy::{monitor::Command, shared::Shared};
use tokio::sync::{mpsc, oneshot};

use crate::acting_table::Actions;

/// What operators may do with `servers`.
pub(crate) struct ServerActions {
    pub(crate) alone: Arc<Alone>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) director: mpsc::Sender<Command>,
}

const ACTIONS: &[Action] = &[
    Action {
        name: "drain",
        arguments: &["server"],
        doc: "Lets BACKEND/SERVER finish what runs, and gives it nothing new. Of a primary: writes stop until another server is promoted.",
    },
    Action {
        name: "enable",
        arguments: &["server"],
        doc: "Takes back drain, maintenance or weight of BACKEND/SERVER.",
    },
    Action {
        name: "maintenance",
        arguments: &["server"],
        doc: "Takes BACKEND/SERVER out: no work, no checks. Of a primary: writes stop until another server takes them.",
    },
    Action {
        name: "weight",
        arguments: &["server", "weight"],
        doc: "Another weight for BACKEND/SERVER until it is taken back, in the measure of the configuration (the column shows thousandths).",
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
        let server = self.find(name)?;
        let kind = match (action, rest) {
            ("drain", []) => Some(OverrideKind::Drain),
            ("enable", []) => None,
            ("maintenance", []) => Some(OverrideKind::Maintenance),
            ("weight", [weight]) => Some(OverrideKind::Weight(weight_of(weight)?)),
            _ => return Err(format!("`{action}` does not take these arguments")),
        };
        let done = match kind {
            Some(kind) => {
                let mark = Override {
                    server: server.clone(),
                    kind,
                    who: "operator".to_owned(),
                    since: clock::wall_ms() / 1000,
                    until: None,
                };
                tasks::wait(self.alone.set_override(mark)).map(|()| true)
            }
            None => tasks::wait(self.alone.clear_override(server.clone())),
        };
        let (backend, server) = server;
        let had = done.map_err(|error| {
            let text = format!("an operator's mark was refused, nothing was changed: {error}");
            let event = Event::new(Severity::Error, Kind::Override, text);
            self.shared.event(event.backend(&backend).server(&server));
            error.to_string()
        })?;
        if kind.is_none() && !had {
            return Ok(format!(
                "{backend}/{server} is as configured; there was nothing to take back"
            ));
        }
        let text = format!("{backend}/{server} {}", in_words(kind));
        let event = Event::new(Severity::Info, Kind::Override, format!("by an operator: {text}"));
        self.shared.event(event.backend(&backend).server(&server));
        tasks::wait(self.in_force());
        let back = kind.map_or_else(String::new, |_| {
            format!("; `highgate ctl enable {backend}/{server}` takes that back")
        });
        Ok(format!("{text}{back}{}", self.price(kind, &backend)))
    }
}

fn weight_of(text: &str) -> Result<u32, String> {
    let wrong = |_| format!("`{text}` is no weight: give a whole number, as in the configuration");
    text.parse().map_err(wrong)
}

/// What a mark, or its end, makes of a server.
fn in_words(kind: Option<OverrideKind>) -> String {
    match kind {
        Some(OverrideKind::Drain) => {
            "is draining: it finishes what runs and gets nothing new".to_owned()
        }
        Some(OverrideKind::Maintenance) => "is in maintenance: no work, no checks".to_owned(),
        Some(OverrideKind::Weight(weight)) => format!("has the weight {weight}"),
        None => "is as configured again".to_owned(),
    }
}

impl ServerActions {
    /// Waits until the snapshot in force has the marks that are stored.
    async fn in_force(&self) {
        let (done, settled) = oneshot::channel();
        // Without a director the process is about to end.
        if self.director.send(Command::Settled { done }).await.is_ok() {
            let _ = settled.await;
        }
    }

    /// What taking a server out costs: without its primary, a backend takes no writes.
    fn price(&self, kind: Option<OverrideKind>, backend: &BackendName) -> String {
        let takes_out = matches!(kind, Some(OverrideKind::Drain | OverrideKind::Maintenance));
        let snapshot = self.shared.snapshot.load_full();
        match snapshot.placement.groups.get(backend).map(|group| &group.writes) {
            Some(Writes::Waiting { reason } | Writes::Refused { reason }) if takes_out => {
                format!(". Writes to {backend} can't be sent now: {reason}")
            }
            _ => String::new(),
        }
    }

    /// The server named `BACKEND/SERVER`, or by its own name where that is the only one.
    fn find(&self, name: &str) -> Result<(BackendName, ServerName), String> {
        let snapshot = self.shared.snapshot.load_full();
        let groups = snapshot.placement.groups.values();
        let found: Vec<_> = groups
            .flat_map(|group| &group.members)
            .map(|member| (member.state.backend.clone(), member.state.name.clone()))
            .filter(|(backend, server)| {
                server.as_str() == name || format!("{backend}/{server}") == name
            })
            .collect();
        match found.as_slice() {
            [one] => Ok(one.clone()),
            [] => Err(format!("there is no server `{name}`; see table `servers`")),
            _ => Err(format!("several backends have a server `{name}`: say BACKEND/{name}")),
        }
    }
}
