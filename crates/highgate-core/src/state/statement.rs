//! A prepared statement of a session.

use std::sync::Arc;

use highgate_mysql::sql::{Analysis, Effects, Hint, LockingClause, StatementKind};
use serde::{Deserialize, Serialize};

use super::Profile;

/// The part of an analysis that outlives its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Shape {
    /// The kind of the first statement.
    pub kind: StatementKind,
    /// What the text does.
    pub effects: Effects,
    /// The strongest locking clause.
    pub locking: Option<LockingClause>,
    /// Its digest.
    pub digest: u64,
}

impl Shape {
    /// What is certain of a text that nobody read: nothing.
    pub const UNKNOWN: Self =
        Self { kind: StatementKind::Unknown, effects: Effects::DOUBTFUL, locking: None, digest: 0 };

    /// Of an analysis.
    #[must_use]
    pub const fn of(analysis: &Analysis<'_>) -> Self {
        Self {
            kind: analysis.kind,
            effects: analysis.effects,
            locking: analysis.locking,
            digest: analysis.digest,
        }
    }

    /// Whether every statement is proved to read only.
    #[must_use]
    pub const fn is_read(&self) -> bool {
        self.effects.contains(Effects::READ_ONLY_PROVED)
    }
}

/// What is read in a prepared text for the rules and the hint that its executions follow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// Its digest as text.
    pub digest_text: Box<[u8]>,
    /// The hint in its first comment.
    pub hint: Option<Hint>,
}

/// A statement that the client prepared by COM_STMT_PREPARE.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statement {
    /// Its text.
    pub text: Arc<[u8]>,
    /// The session's profile when it was prepared: names and literals keep the meaning they had then.
    pub under: Arc<Profile>,
    /// How many placeholders it has.
    pub params: u16,
    /// The parameter types last bound, as sent (two bytes each); empty if none.
    pub types: Box<[u8]>,
    /// What it does. Not serialised: read again from the text.
    #[serde(skip, default = "unread")]
    pub shape: Shape,
    /// What rules and routing look at besides, once a command has named it. Not serialised either.
    #[serde(skip)]
    pub reading: Option<Arc<Reading>>,
    /// COM_STMT_SEND_LONG_DATA came since the last execution.
    pub long_data: bool,
    /// Such data was lost on its way: the next execution is refused.
    #[serde(default)]
    pub spoiled: bool,
    /// Its cursor is open.
    pub cursor: bool,
}

const fn unread() -> Shape {
    Shape::UNKNOWN
}
