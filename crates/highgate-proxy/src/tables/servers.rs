//! Database servers: role, status, load, and why.

use std::sync::{Arc, atomic::Ordering::Relaxed};

use highgate_config::table::{
    Column,
    Kind::{Integer, Text},
    Metric::{Counter, Gauge, Label, None as Hidden, State},
    Row, Table, Value,
};
use highgate_core::{server::ErrorKind, snapshot::Member};
use highgate_io::clock;
use parking_lot::Mutex;

use super::column;
use crate::{monitor::View, shared::Shared};

pub(super) struct Servers {
    pub(super) shared: Arc<Shared>,
    pub(super) view: Arc<Mutex<View>>,
}

const COLUMNS: &[Column] = &[
    column("backend", Text, Label, "Backend that it belongs to."),
    column("name", Text, Label, "Name of the server."),
    column("address", Text, Hidden, "Where it is."),
    column("role", Text, State, "What it is in its cluster."),
    column("status", Text, State, "Whether and how it can be used."),
    column("weight", Integer, Gauge, "Share in force, in thousandths, slow start included."),
    column("lag_ms", Integer, Gauge, "Replication lag in milliseconds; NULL = not known."),
    column("opened", Integer, Gauge, "Connections open to it from this node."),
    column("leased", Integer, Gauge, "Connections in use."),
    column("queued", Integer, Gauge, "Commands that wait for a connection."),
    column("max_connections", Integer, Gauge, "Most connections that may be open."),
    column("commands", Integer, Counter, "Commands sent."),
    column("retries", Integer, Counter, "Commands sent again because of it."),
    column("connect_errors", Integer, Counter, "Connections that could not be opened."),
    column("lost", Integer, Counter, "Connections that were lost in use."),
    column("bytes_in", Integer, Counter, "Bytes received from it."),
    column("bytes_out", Integer, Counter, "Bytes sent to it."),
    column("latency_us", Integer, Gauge, "Recent time to the first byte of an answer, in µs."),
    column("check_us", Integer, Gauge, "How long the last good check took, in µs."),
    column("reason", Text, Hidden, "Why role and status are what they are."),
    column("last_error", Text, Hidden, "What the last failed check said; NULL after a good one."),
];

impl Table for Servers {
    fn name(&self) -> &'static str {
        "servers"
    }

    fn doc(&self) -> &'static str {
        "One row per server of a backend."
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn rows(&self) -> Vec<Row> {
        let snapshot = self.shared.snapshot.load_full();
        let view = self.view.lock().clone();
        let groups = snapshot.placement.groups.values();
        groups.flat_map(|group| &group.members).map(|member| row(member, &view)).collect()
    }
}

fn row(member: &Member, view: &View) -> Row {
    let now = clock::now();
    let state = &member.state;
    let hot = &state.hot;
    let seen = view.servers.get(&state.id);
    let check = seen.and_then(|seen| seen.latency);
    vec![
        state.backend.to_string().into(),
        state.name.to_string().into(),
        state.address.to_string().into(),
        member.role.to_string().into(),
        member.status_at(now).as_str().into(),
        member.weight_permille(now).into(),
        seen.and_then(|seen| seen.lag_ms).into(),
        state.opened.load(Relaxed).into(),
        hot.leased.load(Relaxed).into(),
        hot.queued.load(Relaxed).into(),
        member.server.max_connections.into(),
        hot.commands.load(Relaxed).into(),
        state.retries().into(),
        state.errors(ErrorKind::Connect).into(),
        state.errors(ErrorKind::Lost).into(),
        hot.bytes_in.load(Relaxed).into(),
        hot.bytes_out.load(Relaxed).into(),
        Some(hot.latency_us.load(Relaxed)).filter(|us| *us > 0).into(),
        check.map(|took| u64::try_from(took.as_micros()).unwrap_or(u64::MAX)).into(),
        member.reason.to_string().into(),
        seen.and_then(|seen| seen.last_error.clone()).map_or(Value::Null, Value::from),
    ]
}
