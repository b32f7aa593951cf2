//! Addresses that clients connect to.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use highgate_config::{
    ListenerName,
    table::{
        Column,
        Kind::{Integer, Text},
        Metric::{Counter, Gauge, Label, None as Hidden},
        Row, Table,
    },
};
use parking_lot::Mutex;

use super::column;
use crate::{node::Running, session::Counted};

pub(super) struct Listeners {
    pub(super) listeners: Arc<Mutex<BTreeMap<ListenerName, Running>>>,
}

const COLUMNS: &[Column] = &[
    column("name", Text, Label, "Name of the listener."),
    column("mode", Text, Hidden, "What it speaks."),
    column("address", Text, Hidden, "Addresses that it listens on."),
    column("backend", Text, Hidden, "Where its clients go unless a user or rule says otherwise."),
    column("tls", Text, Hidden, "TLS towards clients."),
    column(
        "certificate_expires_seconds",
        Integer,
        Gauge,
        "Time until its certificate expires, in seconds; below 0 when it has.",
    ),
    column("clients", Integer, Gauge, "Clients connected now."),
    column("accepted", Integer, Counter, "Clients accepted."),
    column(
        "refused",
        Integer,
        Counter,
        "Clients refused at a limit, by network or for their PROXY header.",
    ),
    column("login_failures", Integer, Counter, "Logins that failed."),
    column(
        "refused_commands",
        Integer,
        Counter,
        "Commands that Highgate answered with an error of its own: refused, lost or interrupted.",
    ),
    column(
        "timed_out_statements",
        Integer,
        Counter,
        "Statements ended since they took longer than `query_timeout`, or a rule's `timeout`, allows.",
    ),
    column(
        "ended_by_client",
        Integer,
        Counter,
        "Sessions whose client closed, failed or broke the protocol.",
    ),
    column(
        "ended_client_lost",
        Integer,
        Counter,
        "Sessions whose client acknowledged (`keepalive_timeout`) or took nothing any more.",
    ),
    column("ended_client_timeout", Integer, Counter, "Sessions ended by `client_timeout`."),
    column(
        "ended_idle_in_transaction",
        Integer,
        Counter,
        "Sessions ended, and their work rolled back, by `idle_in_transaction_timeout`.",
    ),
    column("ended_handshake_timeout", Integer, Counter, "Sessions ended by `handshake_timeout`."),
    column("ended_by_highgate", Integer, Counter, "Sessions killed, drained or refused."),
    column("ended_by_server", Integer, Counter, "Sessions ended by a server, or for want of one."),
];

impl Table for Listeners {
    fn name(&self) -> &'static str {
        "listeners"
    }

    fn doc(&self) -> &'static str {
        "One row per listener of this node."
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn rows(&self) -> Vec<Row> {
        let listeners = self.listeners.lock();
        listeners
            .iter()
            .map(|(name, running)| {
                let settings = running.state.settings.load();
                let addresses: Vec<&str> =
                    running.sockets.iter().map(|socket| socket.address.as_str()).collect();
                vec![
                    name.to_string().into(),
                    settings.mode.to_string().into(),
                    addresses.join(", ").into(),
                    settings.backend.to_string().into(),
                    settings.tls.mode.to_string().into(),
                    running.state.certificate.seconds_left().into(),
                    running.state.clients.load(Relaxed).into(),
                    running.state.accepted.load(Relaxed).into(),
                    running.state.refused.load(Relaxed).into(),
                    running.state.login_failures.load(Relaxed).into(),
                    running.state.refused_commands.load(Relaxed).into(),
                    running.state.timed_out_statements.load(Relaxed).into(),
                    running.state.ended(Counted::Client).into(),
                    running.state.ended(Counted::ClientLost).into(),
                    running.state.ended(Counted::ClientTimeout).into(),
                    running.state.ended(Counted::InTransaction).into(),
                    running.state.ended(Counted::HandshakeTimeout).into(),
                    running.state.ended(Counted::Highgate).into(),
                    running.state.ended(Counted::Server).into(),
                ]
            })
            .collect()
    }
}
