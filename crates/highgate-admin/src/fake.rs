//! Tables with fixed rows, for tests.

use std::sync::Arc;

use highgate_config::table::{Action, Column, Kind, Metric, Row, Table};
use parking_lot::Mutex;

use crate::Tables;

pub(crate) struct Fake {
    name: &'static str,
    columns: &'static [Column],
    rows: Vec<Row>,
    pub(crate) fetched: Mutex<usize>,
    pub(crate) acted: Mutex<Vec<String>>,
}

impl Table for Fake {
    fn name(&self) -> &'static str {
        self.name
    }
    fn doc(&self) -> &'static str {
        "A row of a test."
    }
    fn columns(&self) -> &'static [Column] {
        self.columns
    }
    fn rows(&self) -> Vec<Row> {
        *self.fetched.lock() += 1;
        self.rows.clone()
    }
    fn actions(&self) -> &'static [Action] {
        &[Action { name: "drain", arguments: &["server"], doc: "Takes it out of service." }]
    }
    fn act(&self, action: &str, arguments: &[&str]) -> Result<String, String> {
        if arguments == ["nobody"] {
            return Err("there is no server 'nobody'".into());
        }
        self.acted.lock().push(format!("{action} {}", arguments.join(" ")));
        Ok(format!("draining {}", arguments.join(" ")))
    }
}

const fn column(name: &'static str, kind: Kind, metric: Metric) -> Column {
    Column { name, kind, metric, doc: "What it says." }
}

/// Three servers.
pub(crate) fn servers() -> Arc<Fake> {
    const COLUMNS: &[Column] = &[
        column("name", Kind::Text, Metric::Label),
        column("role", Kind::Text, Metric::State),
        column("lag_ms", Kind::Real, Metric::Gauge),
        column("commands", Kind::Integer, Metric::Counter),
    ];
    let rows = vec![
        vec!["db1".into(), "primary".into(), None::<f64>.into(), 10_i64.into()],
        vec!["db2".into(), "replica".into(), 1.5.into(), 20_i64.into()],
        vec!["db3".into(), "replica".into(), 0.0.into(), 30_i64.into()],
    ];
    fake("servers", COLUMNS, rows)
}

/// `count` sessions, spread over the servers.
pub(crate) fn sessions(count: i64) -> Arc<Fake> {
    const COLUMNS: &[Column] = &[
        column("id", Kind::Integer, Metric::None),
        column("user", Kind::Text, Metric::None),
        column("server", Kind::Text, Metric::None),
    ];
    let row = |id: i64| vec![id.into(), "app".into(), format!("db{}", id % 3 + 1).into()];
    fake("sessions", COLUMNS, (0..count).map(row).collect())
}

fn fake(name: &'static str, columns: &'static [Column], rows: Vec<Row>) -> Arc<Fake> {
    let (fetched, acted) = (Mutex::new(0), Mutex::new(Vec::new()));
    Arc::new(Fake { name, columns, rows, fetched, acted })
}

/// Three servers and as many sessions as wanted.
pub(crate) fn tables(count: i64) -> Tables {
    Tables::new(vec![servers(), sessions(count)])
}
