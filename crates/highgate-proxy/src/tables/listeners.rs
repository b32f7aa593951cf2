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
use crate::node::Running;

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
                ]
            })
            .collect()
    }
}
