//! Forms of statements, by what they have cost.

use std::sync::Arc;

use highgate_config::table::{
    Column,
    Kind::{Integer, Text},
    Metric::None as Hidden,
    Row, Table, Value,
};
use highgate_core::digests::Cost;

use super::column;
use crate::shared::Shared;

pub(super) struct Digests {
    pub(super) shared: Arc<Shared>,
}

// None is a metric: forms come from clients, and there is no bound to how many there are.
const COLUMNS: &[Column] = &[
    column("digest", Text, Hidden, "Hash of the form; empty for all that are not listed."),
    column("digest_text", Text, Hidden, "The statement without its literals; a long one is cut."),
    column("commands", Integer, Hidden, "Statements that were answered."),
    column("errors", Integer, Hidden, "Those that were answered with an error."),
    column("time_us", Integer, Hidden, "Until answers began, summed, in microseconds."),
    column("average_us", Integer, Hidden, "The same per statement."),
    column("longest_us", Integer, Hidden, "The longest of those times, in microseconds."),
    column("bytes", Integer, Hidden, "Bytes of the answers."),
    column("last_seen", Integer, Hidden, "When it was counted last, in milliseconds of Unix time."),
];

impl Table for Digests {
    fn name(&self) -> &'static str {
        "digests"
    }

    fn doc(&self) -> &'static str {
        "The 1,000 forms of statements that have taken the most time, heaviest first."
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn rows(&self) -> Vec<Row> {
        let (forms, others) = {
            let heaviest = self.shared.digests.lock();
            (heaviest.forms(), heaviest.others())
        };
        let mut rows: Vec<Row> = forms
            .into_iter()
            .map(|(digest, form)| {
                let name = (format!("0x{digest:016X}").into(), form.text.to_string().into());
                row(name, form.cost, form.last_seen_ms.into())
            })
            .collect();
        if others.commands > 0 {
            rows.push(row(("".into(), "(others)".into()), others, Value::Null));
        }
        rows
    }
}

fn row((digest, text): (Value, Value), cost: Cost, last_seen: Value) -> Row {
    vec![
        digest,
        text,
        cost.commands.into(),
        cost.errors.into(),
        cost.time_us.into(),
        cost.time_us.checked_div(cost.commands).into(),
        cost.longest_us.into(),
        cost.bytes.into(),
        last_seen,
    ]
}
