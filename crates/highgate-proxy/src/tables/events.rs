//! What happened: each retry, failover, shun, refusal and change, with its reason.

use std::sync::Arc;

use highgate_config::table::{
    Column,
    Kind::{Integer, Text},
    Metric::None as Hidden,
    Row, Table,
};

use super::column;
use crate::shared::Shared;

pub(super) struct Events {
    pub(super) shared: Arc<Shared>,
}

const COLUMNS: &[Column] = &[
    column("id", Integer, Hidden, "Number of the event; grows with time."),
    column("time", Integer, Hidden, "When, in milliseconds of Unix time."),
    column("severity", Text, Hidden, "info, warning or error."),
    column("kind", Text, Hidden, "What happened."),
    column("backend", Text, Hidden, "Backend concerned."),
    column("server", Text, Hidden, "Server concerned."),
    column("session", Integer, Hidden, "Session concerned."),
    column("text", Text, Hidden, "What happened and why, in a sentence."),
];

impl Table for Events {
    fn name(&self) -> &'static str {
        "events"
    }

    fn doc(&self) -> &'static str {
        "The latest 10,000 events of this node, oldest first."
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn rows(&self) -> Vec<Row> {
        let events = self.shared.events();
        events
            .into_iter()
            .map(|(number, event)| {
                vec![
                    number.into(),
                    event.at_ms.into(),
                    event.severity.to_string().into(),
                    event.kind.as_str().into(),
                    event.backend.map(|name| name.to_string()).into(),
                    event.server.map(|name| name.to_string()).into(),
                    event.session.into(),
                    event.text.into(),
                ]
            })
            .collect()
    }
}
