//! Data workers.

use std::sync::Arc;

use highgate_config::{
    NodeName,
    table::{
        Column,
        Kind::{Integer, Text},
        Metric::{Gauge, Label, None as Hidden},
        Row, Table,
    },
};

use super::column;
use crate::shared::Shared;

pub(super) struct Workers {
    pub(super) shared: Arc<Shared>,
    pub(super) node: NodeName,
}

const COLUMNS: &[Column] = &[
    column("node", Text, Hidden, "Node that it belongs to."),
    column("worker", Text, Label, "Number of the worker."),
    column("sessions", Integer, Gauge, "Clients that it serves."),
];

impl Table for Workers {
    fn name(&self) -> &'static str {
        "workers"
    }

    fn doc(&self) -> &'static str {
        "One row per data worker of this node."
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn rows(&self) -> Vec<Row> {
        let sessions = self.shared.sessions_per_worker();
        let rows = sessions.into_iter().enumerate();
        rows.map(|(index, sessions)| {
            vec![self.node.to_string().into(), index.to_string().into(), sessions.into()]
        })
        .collect()
    }
}
