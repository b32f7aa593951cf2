//! Groups of servers: who takes writes, who reads, and why.

use std::sync::{Arc, atomic::Ordering};

use highgate_config::table::{
    Column,
    Kind::{Integer, Text},
    Metric::{Gauge, Label, None as Hidden, State},
    Row, Table,
};
use highgate_core::snapshot::{Member, Writes};
use highgate_io::clock;
use parking_lot::Mutex;

use super::column;
use crate::{monitor::View, shared::Shared};

pub(super) struct Backends {
    pub(super) shared: Arc<Shared>,
    pub(super) view: Arc<Mutex<View>>,
}

const COLUMNS: &[Column] = &[
    column("name", Text, Label, "Name of the backend."),
    column("topology", Text, Hidden, "Who decides the roles of its servers."),
    column("primary", Text, Hidden, "Server that takes writes."),
    column("writes", Text, State, "Whether writes can be sent: open, waiting or refused."),
    column("readers", Integer, Gauge, "Servers that reads are spread over."),
    column("servers", Integer, Gauge, "Servers configured."),
    column("serving", Integer, Gauge, "Servers that serve."),
    column("version", Text, Hidden, "Version that clients are greeted with."),
    column("reason", Text, Hidden, "Why it looks like this."),
];

impl Table for Backends {
    fn name(&self) -> &'static str {
        "backends"
    }

    fn doc(&self) -> &'static str {
        "One row per backend, as commands are routed to it now."
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn rows(&self) -> Vec<Row> {
        let snapshot = self.shared.snapshot.load_full();
        let view = self.view.lock().clone();
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let groups = snapshot.placement.groups.values();
        groups
            .map(|group| {
                let primary = group.primary.and_then(|at| group.members.get(at));
                let serving = group.members.iter().filter(|member| member.status.serves()).count();
                let writes = match group.writes {
                    Writes::Open if group.takes_writes() => "open",
                    Writes::Open | Writes::Waiting { .. } => "waiting",
                    Writes::Refused { .. } => "refused",
                };
                let reason = match &group.writes {
                    Writes::Open => {
                        let writers = group.writers.iter().filter_map(|at| group.members.get(*at));
                        let told = writers.filter_map(|writer| unconnected(writer, &view));
                        told.fold(group.reason.to_string(), |text, more| text + "; " + &more)
                    }
                    writes => writes_sentence(writes),
                };
                vec![
                    group.name.to_string().into(),
                    group.backend.topology.to_string().into(),
                    primary.map(|member| member.state.name.to_string()).into(),
                    writes.into(),
                    count(group.readers.len()).into(),
                    count(group.members.len()).into(),
                    count(serving).into(),
                    self.shared.facts_of(&group.name).version.clone().into(),
                    reason.into(),
                ]
            })
            .collect()
    }
}

/// Why writes to a backend can't be sent now, for tables.
fn writes_sentence(writes: &Writes) -> String {
    match writes {
        Writes::Open => "open".to_owned(),
        Writes::Waiting { reason } => format!("waiting: {reason}"),
        Writes::Refused { reason } => format!("refused: {reason}"),
    }
}

/// That a server gives no new connections, since when, and why.
fn unconnected(member: &Member, view: &View) -> Option<String> {
    let since = view.servers.get(&member.state.id)?.unconnected_since?;
    let seconds = clock::now().saturating_duration_since(since).as_secs();
    let name = &member.state.name;
    let why = member.state.why_unconnected();
    let rest = who_serves(member.state.opened.load(Ordering::Relaxed));
    Some(format!("{name} gives no new connections for {seconds} s, {rest}: {why}"))
}

/// What there is of a server that gives no new connections and has so many.
const fn who_serves(opened: u32) -> &'static str {
    match opened {
        0 => "and none is open, so it serves nobody",
        _ => "only those that are open serve",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// "only those that are open serve" was told where there were none.
    #[test]
    fn a_server_without_open_connections_is_not_said_to_serve_by_them() {
        assert_eq!(who_serves(2), "only those that are open serve");
        assert!(who_serves(0).ends_with("it serves nobody"));
    }
}
