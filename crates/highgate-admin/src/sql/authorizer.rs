//! What a statement may do to SQLite: read, and nothing else.

use std::sync::Arc;

use parking_lot::Mutex;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};

/// What is said to whoever writes to a table.
pub(super) const READ_ONLY: &str = "tables can only be read; what can be done with a row is an \
    action: CALL table.action('argument', …), see SHOW HELP";

/// The sentence for the last thing that was refused, if anything was.
#[derive(Debug, Clone, Default)]
pub(super) struct Refusal(Arc<Mutex<Option<&'static str>>>);

impl Refusal {
    pub(super) fn take(&self) -> Option<&'static str> {
        self.0.lock().take()
    }

    /// Decides about one action of a statement that is being prepared.
    pub(super) fn decide(&self, context: &AuthContext<'_>) -> Authorization {
        match refusal(&context.action) {
            None => Authorization::Allow,
            Some(reason) => {
                self.0.lock().get_or_insert(reason);
                Authorization::Deny
            }
        }
    }
}

fn refusal(action: &AuthAction<'_>) -> Option<&'static str> {
    match action {
        AuthAction::Read { .. } | AuthAction::Recursive | AuthAction::Select => None,
        AuthAction::Function { function_name } => {
            let loads = function_name.eq_ignore_ascii_case("load_extension");
            loads.then_some("extensions can't be loaded here")
        }
        AuthAction::Attach { .. } | AuthAction::Detach { .. } => {
            Some("databases can't be attached here")
        }
        AuthAction::Pragma { .. } => Some("PRAGMA is not available here; try DESCRIBE table"),
        AuthAction::Delete { .. } | AuthAction::Insert { .. } | AuthAction::Update { .. } => {
            Some(READ_ONLY)
        }
        AuthAction::Transaction { .. } | AuthAction::Savepoint { .. } => {
            Some("there are no transactions here: every statement sees its own moment")
        }
        _ => Some("nothing can be created, changed or dropped here; see SHOW HELP"),
    }
}
