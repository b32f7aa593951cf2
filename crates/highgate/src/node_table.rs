//! This process, for operators.

use std::sync::{Arc, atomic::Ordering};

use highgate_cluster::Alone;
use highgate_config::{
    ControlPlane,
    table::{
        Column,
        Kind::{Integer, Text},
        Metric::{Gauge, Label, None as Hidden},
        Row, Table,
    },
};
use highgate_proxy::shared::Shared;

/// The table `node`.
pub(crate) struct NodeTable {
    pub(crate) alone: Arc<Alone>,
    pub(crate) shared: Arc<Shared>,
}

const COLUMNS: &[Column] = &[
    column("name", Text, Label, "Name of the node."),
    column("version", Text, Hidden, "Version of Highgate."),
    column("pid", Integer, Hidden, "Process id."),
    column("uptime_seconds", Integer, Gauge, "Time since start, in seconds."),
    column("config_version", Integer, Gauge, "Version of the configuration in force."),
    column("snapshot_version", Integer, Gauge, "Version of the plan in force."),
    column("clients", Integer, Gauge, "Clients connected now."),
    column("max_clients", Integer, Gauge, "Most clients that may be connected."),
    column("draining", Integer, Gauge, "1 while the node drains."),
];

const fn column(
    name: &'static str,
    kind: highgate_config::table::Kind,
    metric: highgate_config::table::Metric,
    doc: &'static str,
) -> Column {
    Column { name, kind, metric, doc }
}

impl Table for NodeTable {
    fn name(&self) -> &'static str {
        "node"
    }

    fn doc(&self) -> &'static str {
        "This process: one row."
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn rows(&self) -> Vec<Row> {
        let shared = &self.shared;
        let uptime = highgate_io::clock::now().saturating_duration_since(shared.started).as_secs();
        let (version, _) = self.alone.current();
        vec![vec![
            self.alone.node().to_string().into(),
            env!("CARGO_PKG_VERSION").into(),
            std::process::id().into(),
            uptime.into(),
            version.0.into(),
            shared.snapshot.load().version.into(),
            shared.connections.load(Ordering::Relaxed).into(),
            shared.max_connections.load(Ordering::Relaxed).into(),
            u32::from(shared.draining.load(Ordering::Relaxed)).into(),
        ]]
    }
}
