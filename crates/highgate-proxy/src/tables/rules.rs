//! Query rules with their hits.

use std::{collections::BTreeMap, sync::Arc};

use highgate_config::table::{
    Column,
    Kind::{Integer, Text},
    Metric::{Counter, Label, None as Hidden},
    Row, Table,
};

use super::column;
use crate::shared::Shared;

pub(super) struct Rules {
    pub(super) shared: Arc<Shared>,
}

const COLUMNS: &[Column] = &[
    column("rule_id", Text, Label, "Number of the rule; rules are tried in this order."),
    column("hits", Integer, Counter, "Commands that it matched."),
    column("comment", Text, Hidden, "The operator's words."),
];

impl Table for Rules {
    fn name(&self) -> &'static str {
        "rules"
    }

    fn doc(&self) -> &'static str {
        "One row per active query rule."
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn rows(&self) -> Vec<Row> {
        let snapshot = self.shared.snapshot.load_full();
        let hits: BTreeMap<u32, u64> = snapshot.policy.rules.hits().collect();
        hits.into_iter()
            .map(|(id, hits)| {
                let comment =
                    snapshot.policy.written_rules.get(&id).map(|rule| rule.comment.clone());
                vec![id.to_string().into(), hits.into(), comment.into()]
            })
            .collect()
    }
}
