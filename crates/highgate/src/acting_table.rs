//! A table of the data path, with actions that need the rest of the program.

use std::sync::Arc;

use highgate_config::table::{Action, Column, Row, Table};

/// What operators may do with a table's rows.
pub(crate) trait Actions: Send + Sync {
    /// As [`Table::actions`].
    fn actions(&self) -> &'static [Action];
    /// As [`Table::act`].
    fn act(&self, action: &str, arguments: &[&str]) -> Result<String, String>;
}

/// The rows of one, the actions of the other.
pub(crate) struct ActingTable<A> {
    pub(crate) inner: Arc<dyn Table>,
    pub(crate) actions: A,
}

impl<A: Actions> Table for ActingTable<A> {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn doc(&self) -> &'static str {
        self.inner.doc()
    }

    fn columns(&self) -> &'static [Column] {
        self.inner.columns()
    }

    fn rows(&self) -> Vec<Row> {
        self.inner.rows()
    }

    fn actions(&self) -> &'static [Action] {
        self.actions.actions()
    }

    fn act(&self, action: &str, arguments: &[&str]) -> Result<String, String> {
        self.actions.act(action, arguments)
    }
}
