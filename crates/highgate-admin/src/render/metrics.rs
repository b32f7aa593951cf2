//! The Prometheus text exposition (version 0.0.4) of all tables.
//!
//! A column declares what it is to a scraper; this file only spells it. Rows of one table that share
//! their labels are summed, because an exposition with two equal series is refused whole.

use std::{collections::HashMap, fmt::Write as _};

use highgate_config::table::{Column, Kind, Metric, Row, Table, Value};

use super::plain;
use crate::Tables;

/// Media type of the exposition.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Series per metric; a scraper is better off without the rest than with an endless answer.
const MOST_SERIES: usize = 10_000;

/// The metrics of all tables, read once each.
#[must_use]
pub fn render_metrics(tables: &Tables) -> String {
    let mut out = String::with_capacity(16 * 1024);
    for table in tables.iter() {
        if table.columns().iter().any(|column| is_exported(column.metric)) {
            push_table(&mut out, &**table);
        }
    }
    out
}

fn is_exported(metric: Metric) -> bool {
    match metric {
        Metric::Counter | Metric::Gauge | Metric::State => true,
        Metric::Label | Metric::None => false,
    }
}

fn push_table(out: &mut String, table: &dyn Table) {
    let columns = table.columns();
    let rows = table.rows();
    let labels: Vec<String> = rows.iter().map(|row| labels(columns, row)).collect();
    for (position, column) in columns.iter().enumerate() {
        if !is_exported(column.metric) {
            continue;
        }
        let values = rows.iter().map(|row| row.get(position).unwrap_or(&Value::Null));
        let series = series(column, labels.iter().zip(values));
        push_family(out, &family_name(table.name(), column), column, &series);
    }
}

fn family_name(table: &str, column: &Column) -> String {
    let suffix = if column.metric == Metric::Counter { "_total" } else { "" };
    format!("highgate_{table}_{}{suffix}", column.name)
}

/// Label sets with their values, in row order.
fn series<'a>(
    column: &Column,
    rows: impl Iterator<Item = (&'a String, &'a Value)>,
) -> Vec<(String, Value)> {
    let mut places: HashMap<String, usize> = HashMap::new();
    let mut series: Vec<(String, Value)> = Vec::new();
    for (labels, value) in rows {
        let (labels, value) = match column.metric {
            Metric::State => match plain(value) {
                Some(state) => (with_label(labels, column.name, &state), Value::Integer(1)),
                None => continue,
            },
            _ if !matches!(value, Value::Integer(_) | Value::Real(_)) => continue,
            _ => (labels.clone(), value.clone()),
        };
        if let Some((_, sum)) = places.get(&labels).and_then(|place| series.get_mut(*place)) {
            add(sum, &value);
        } else if series.len() < MOST_SERIES {
            places.insert(labels.clone(), series.len());
            series.push((labels, value));
        }
    }
    series
}

#[expect(clippy::cast_precision_loss, reason = "a sum of mixed kinds is shown, not counted with")]
fn add(sum: &mut Value, more: &Value) {
    *sum = match (&*sum, more) {
        (Value::Integer(a), Value::Integer(b)) => Value::Integer(a.saturating_add(*b)),
        (Value::Integer(a), Value::Real(b)) => Value::Real(*a as f64 + b),
        (Value::Real(a), Value::Integer(b)) => Value::Real(a + *b as f64),
        (Value::Real(a), Value::Real(b)) => Value::Real(a + b),
        (kept, _) => kept.clone(),
    };
}

fn push_family(out: &mut String, name: &str, column: &Column, series: &[(String, Value)]) {
    if series.is_empty() {
        return;
    }
    let kind = if column.metric == Metric::Counter { "counter" } else { "gauge" };
    let help = column.doc.replace('\\', "\\\\").replace('\n', "\\n");
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
    for (labels, value) in series {
        out.push_str(name);
        if !labels.is_empty() {
            let _ = write!(out, "{{{labels}}}");
        }
        let _ = match value {
            // Full precision here: a scraper subtracts.
            Value::Real(number) => writeln!(out, " {number}"),
            other => writeln!(out, " {}", plain(other).unwrap_or_default()),
        };
    }
}

fn labels(columns: &[Column], row: &Row) -> String {
    let mut out = String::new();
    for (column, value) in columns.iter().zip(row) {
        if column.metric == Metric::Label {
            out = with_label(&out, column.name, &plain(value).unwrap_or_default());
        }
    }
    out
}

fn with_label(labels: &str, name: &str, value: &str) -> String {
    let comma = if labels.is_empty() { "" } else { "," };
    let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    format!("{labels}{comma}{name}=\"{value}\"")
}

/// What a column's metric is called, for the manual; nothing if it is not exported.
#[must_use]
pub fn metric_name(table: &str, column: &Column) -> Option<String> {
    debug_assert!(
        column.kind != Kind::Text || !matches!(column.metric, Metric::Counter | Metric::Gauge),
        "a text can't be counted: {table}.{}",
        column.name
    );
    is_exported(column.metric).then(|| family_name(table, column))
}
