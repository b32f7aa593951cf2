//! What is known of a prepared statement when a command names it.

use std::sync::Arc;

use highgate_core::state::{Reading, SessionState, Shape};
use highgate_mysql::sql::{LexMode, Scratch};

use crate::session::Context;

/// A prepared statement's text, and what was read in it.
#[derive(Debug)]
pub(crate) struct PreparedText {
    pub(crate) text: Arc<[u8]>,
    pub(crate) shape: Shape,
    pub(crate) reading: Arc<Reading>,
}

/// The statement of that number. Its text is read for rules and hints at the first command that
/// names it, so that executions go where the text itself would.
pub(crate) fn prepared_text(
    context: &Context,
    state: &mut SessionState,
    statement: Option<u32>,
    mode: LexMode,
    scratch: &mut Scratch,
) -> Option<PreparedText> {
    let statement = state.statements.get_mut(&statement?)?;
    let reading = statement.reading.get_or_insert_with(|| {
        let mut memo = context.worker.memo.borrow_mut();
        let analysis = memo.analyze(&statement.text, mode, scratch);
        Arc::new(Reading { digest_text: analysis.digest_text.into(), hint: analysis.hint })
    });
    Some(PreparedText {
        text: statement.text.clone(),
        shape: statement.shape,
        reading: reading.clone(),
    })
}
