//! What is known of a prepared statement when a command names it.

use std::sync::Arc;

use foldhash::HashMap;
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
    let text = &mut statement.text;
    let reading = statement.reading.get_or_insert_with(|| {
        let mut memo = context.worker.memo.borrow_mut();
        let analysis = memo.analyze(text, mode, scratch);
        let reading = Reading { digest_text: analysis.digest_text.into(), hint: analysis.hint };
        context.worker.prepared_texts.borrow_mut().share(text, reading)
    });
    Some(PreparedText {
        text: statement.text.clone(),
        shape: statement.shape,
        reading: reading.clone(),
    })
}

/// Texts that a worker's sessions have prepared, with what was read in them. Applications prepare few
/// texts in many sessions: what all of them look at with each execution lies in the caches once.
#[derive(Debug, Default)]
pub(crate) struct PreparedTexts(HashMap<Arc<[u8]>, Arc<Reading>>);

/// Texts kept; when there are more it starts over.
const TEXTS: usize = 512;
/// Texts longer than this are not kept.
const LONGEST: usize = 1024;

impl PreparedTexts {
    /// Puts an equal text that is known already in the place of `text`; likewise for the reading.
    fn share(&mut self, text: &mut Arc<[u8]>, reading: Reading) -> Arc<Reading> {
        if let Some((known, read)) = self.0.get_key_value(text) {
            *text = known.clone();
            // Under another sql_mode it may be another.
            return if **read == reading { read.clone() } else { Arc::new(reading) };
        }
        let reading = Arc::new(reading);
        if text.len() <= LONGEST {
            if self.0.len() >= TEXTS {
                self.0.clear();
            }
            self.0.insert(text.clone(), reading.clone());
        }
        reading
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(digest: &str) -> Reading {
        Reading { digest_text: digest.as_bytes().into(), hint: None }
    }

    #[test]
    fn equal_texts_lie_in_memory_once_and_readings_only_where_they_are_equal() {
        let mut texts = PreparedTexts::default();
        let [mut one, mut other]: [Arc<[u8]>; 2] = [b"SELECT 1"[..].into(), b"SELECT 1"[..].into()];
        let first = texts.share(&mut one, reading("SELECT ?"));
        let same = texts.share(&mut other, reading("SELECT ?"));
        assert!(Arc::ptr_eq(&one, &other) && Arc::ptr_eq(&first, &same));
        assert_eq!(*texts.share(&mut other, reading("SELECT 1")), reading("SELECT 1"));
    }
}
