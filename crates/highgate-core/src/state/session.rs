//! What a client's session is.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use highgate_mysql::sql::{Effects, LexMode, Scratch, analyze};
use serde::{Deserialize, Serialize};

use super::{Profile, Shape, Statement, VarValue};
use crate::pins::{PinCause, PinSet};

/// Version of the serialised form.
pub const STATE_VERSION: u16 = 1;

/// Everything that makes a session differ from a fresh one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionState {
    /// Version of this form ([`STATE_VERSION`]).
    pub version: u16,
    /// The client's capabilities (standard bits below, MariaDB's above).
    pub capabilities: u64,
    /// The account that logged in.
    pub user: Box<str>,
    /// The collation of the login, which some servers go back to with a reset.
    pub login_collation: u16,
    /// Schema, charset and variables to be brought to any connection it uses.
    pub profile: Arc<Profile>,
    /// Whether autocommit is on, as far as known.
    pub autocommit: bool,
    /// The flags by which clients write strings, as the last answer with flags had them.
    #[serde(default)]
    pub quoting: Option<u16>,
    /// The transaction.
    pub transaction: Transaction,
    /// `SET TRANSACTION …` for the next transaction, as a statement.
    pub next_transaction: Option<Box<str>>,
    /// Prepared statements by the id the client knows.
    pub statements: BTreeMap<u32, Statement>,
    /// The id for the next prepared statement.
    pub next_statement: u32,
    /// What MariaDB's clients mean by statement id -1; none after a preparation that failed.
    pub last_prepared: Option<u32>,
    /// What LAST_INSERT_ID() says.
    pub last_insert_id: LastInsertId,
    /// It is not that: only the connection knew it that is gone, or its server would not say.
    #[serde(default)]
    pub insert_id_lost: bool,
    /// What ROW_COUNT() says, if known.
    pub row_count: Option<i64>,
    /// What FOUND_ROWS() says, if known; else only the connection knows that it has held since.
    pub found_rows: Option<u64>,
    /// It is not known, and the connection that knew was given back.
    #[serde(default)]
    pub found_rows_lost: bool,
    /// It asks for FOUND_ROWS() or ROW_COUNT() where Highgate can't put the number: from then on it
    /// keeps its connection.
    #[serde(default)]
    pub asks_counts: bool,
    /// Position of the last write, for causal reads.
    pub last_write: Option<Box<str>>,
    /// It may have written since its login: what causal reads ask where writes have no position.
    #[serde(default)]
    pub wrote: bool,
    /// Warnings of the last command.
    pub warnings: u16,
    /// The answer to `SHOW WARNINGS` after the last command, as its server wrote it: the connection that has them
    /// serves others by now.
    #[serde(default)]
    pub kept_warnings: Option<Box<[u8]>>,
    /// Named locks it may hold, one entry for each time; empty while that is not known.
    #[serde(default)]
    pub named_locks: Vec<Box<[u8]>>,
    /// What binds it to its connection.
    pub pins: PinSet,
    /// The last rule that spoke of it said that its connection is not shared.
    #[serde(default)]
    pub unshared: bool,
}

/// What LAST_INSERT_ID() says in a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum LastInsertId {
    /// One of two: the server's answer named an id, which may have been generated or written in the
    /// statement. The connection says the first, or anything else for the second.
    Doubtful {
        /// The id of the answer.
        candidate: u64,
        /// What it was before.
        previous: u64,
    },
    /// One of two: a statement failed that may have generated ids before. The connection says something else
    /// than it did, or the same for the session's own of before.
    Failed {
        /// What the connection said before.
        there: u64,
        /// What it was in the session.
        previous: u64,
    },
    /// This.
    Known(u64),
    /// What the connection says, whose server may not know the question.
    OnConnection,
    /// What the connection says, which is to be asked as soon as nothing else binds the session to it.
    Untold,
}

/// The transaction of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Transaction {
    /// Whether one is open.
    pub open: Open,
    /// It was begun READ ONLY.
    pub read_only: bool,
    /// It may have written.
    pub wrote: bool,
    /// A statement failed since the server last said whether one is open.
    #[serde(default)]
    pub unsure: bool,
}

/// Whether a transaction is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Open {
    /// A statement ran while autocommit was off: a commit is due, whatever the status bit says.
    Implicit,
    /// None.
    #[default]
    No,
    /// Begun, or the server says so.
    Yes,
}

impl SessionState {
    /// A session that just logged in.
    #[must_use]
    pub fn new(capabilities: u64, user: &str, schema: Option<&str>, collation: u16) -> Self {
        Self {
            version: STATE_VERSION,
            capabilities,
            user: user.into(),
            login_collation: collation,
            profile: Arc::new(Profile::new(collation, schema)),
            autocommit: true,
            quoting: None,
            transaction: Transaction::default(),
            next_transaction: None,
            statements: BTreeMap::new(),
            next_statement: 1,
            last_prepared: None,
            last_insert_id: LastInsertId::Known(0),
            insert_id_lost: false,
            row_count: Some(0),
            found_rows: Some(0),
            found_rows_lost: false,
            asks_counts: false,
            last_write: None,
            wrote: false,
            warnings: 0,
            kept_warnings: None,
            named_locks: Vec::new(),
            pins: PinSet::EMPTY,
            unshared: false,
        }
    }

    /// The current schema.
    #[must_use]
    pub fn schema(&self) -> Option<&str> {
        self.profile.schema.as_deref()
    }

    /// Whether a transaction is open, or would be for all we know.
    #[must_use]
    pub fn in_transaction(&self) -> bool {
        self.transaction.open != Open::No
    }

    /// Whether its login added IGNORE_SPACE to its `sql_mode`.
    #[must_use]
    pub const fn ignores_space(&self) -> bool {
        self.capabilities & IGNORE_SPACE != 0
    }

    /// How the session's texts are read, on a server whose defaults are `default`.
    #[must_use]
    pub fn lex_mode(&self, default: LexMode) -> LexMode {
        self.profile.lex_mode(default, self.ignores_space())
    }

    /// Servers read texts otherwise than before, after an upgrade say: what was prepared, too.
    pub fn read_anew(&mut self, default: LexMode) {
        let ignores_space = self.ignores_space();
        let mut scratch = Scratch::new();
        for statement in self.statements.values_mut() {
            let mode = statement.under.lex_mode(default, ignores_space);
            statement.shape = Shape::of(&analyze(&statement.text, mode, &mut scratch));
            statement.reading = None;
        }
    }

    /// After how much silence the client asked to be left.
    #[must_use]
    pub fn wait_timeout(&self) -> Option<Duration> {
        let VarValue::Text(text) = self.profile.variable("wait_timeout")? else { return None };
        let seconds = std::str::from_utf8(text).ok()?.parse().ok()?;
        Some(Duration::from_secs(seconds))
    }

    /// A profile to write to; copies it if a connection shares it.
    pub fn profile_mut(&mut self) -> &mut Profile {
        Arc::make_mut(&mut self.profile)
    }

    /// Records a statement that the server prepared, and gives the id for the client.
    pub fn prepared(&mut self, text: &[u8], shape: Shape, params: u16) -> u32 {
        let id = self.next_statement;
        // An id still in use after a wrap-around is skipped.
        self.next_statement = (1..=u32::MAX)
            .map(|step| id.wrapping_add(step))
            .find(|next| *next != 0 && *next != u32::MAX && !self.statements.contains_key(next))
            .unwrap_or(1);
        let statement = Statement {
            text: text.into(),
            under: Arc::clone(&self.profile),
            params,
            types: Box::default(),
            shape,
            reading: None,
            long_data: false,
            spoiled: false,
            cursor: false,
        };
        self.statements.insert(id, statement);
        self.last_prepared = Some(id);
        let asks = Effects::READS_FOUND_ROWS | Effects::READS_ROW_COUNT;
        self.asks_counts |= shape.effects.intersects(asks) && !crate::route::is_question(text);
        id
    }

    /// The statement that a command names. MariaDB's clients send an execution behind a preparation
    /// without waiting for its answer, and so without knowing its id.
    #[must_use]
    pub fn named_statement(&self, id: u32) -> u32 {
        if id == LAST_PREPARED { self.last_prepared.unwrap_or(id) } else { id }
    }

    /// Whether nothing binds the session to its connection but what this says for `LAST_INSERT_ID()`, and
    /// asking it takes nothing from the session.
    #[must_use]
    pub fn keeps_only_insert_id(&self) -> bool {
        let is_told =
            matches!(self.last_insert_id, LastInsertId::Known(_) | LastInsertId::OnConnection);
        !is_told && self.pins.iter().eq([PinCause::LastInsertIdUnknown])
    }

    /// Whether nothing binds the session to its connection but what its last command left there, and asking for
    /// that takes nothing from the session.
    #[must_use]
    pub fn keeps_only_warnings(&self) -> bool {
        self.pins.contains(PinCause::Warnings)
            && self.pins.iter().all(|cause| match cause {
                PinCause::Warnings => true,
                PinCause::LastInsertIdUnknown => !matches!(
                    self.last_insert_id,
                    LastInsertId::Known(_) | LastInsertId::OnConnection
                ),
                _ => false,
            })
    }

    /// Panics in debug builds if the parts contradict each other.
    pub fn check_invariants(&self) {
        debug_assert_eq!(
            self.version, STATE_VERSION,
            "a state of another version must be converted"
        );
        debug_assert_eq!(
            self.pins.contains(PinCause::Transaction),
            self.transaction.open == Open::Yes,
            "an open transaction pins, and nothing else does under that name"
        );
        debug_assert_eq!(
            self.pins.contains(PinCause::AutocommitOff),
            self.transaction.open == Open::Implicit,
            "an implicit transaction pins, and nothing else does under that name"
        );
        debug_assert_eq!(
            self.pins.contains(PinCause::LastInsertIdUnknown),
            !matches!(self.last_insert_id, LastInsertId::Known(_)),
            "an id that only the connection knows binds to it"
        );
        debug_assert_eq!(
            self.pins.contains(PinCause::LongData),
            self.statements.values().any(|statement| statement.long_data),
            "parameters sent ahead bind"
        );
        debug_assert_eq!(
            self.pins.contains(PinCause::OpenCursor),
            self.statements.values().any(|statement| statement.cursor),
            "open cursors bind"
        );
        debug_assert_eq!(
            self.pins.contains(PinCause::NextTransaction),
            self.next_transaction.is_some(),
            "characteristics of the next transaction bind"
        );
    }
}

/// The id that stands for the statement prepared last (MariaDB protocol, COM_STMT_EXECUTE).
pub(super) const LAST_PREPARED: u32 = u32::MAX;

/// CLIENT_IGNORE_SPACE.
const IGNORE_SPACE: u64 = 1 << 8;

#[cfg(test)]
mod tests {
    use highgate_mysql::sql::Flavor;

    use super::*;

    #[test]
    fn what_was_prepared_is_read_as_upgraded_servers_do() {
        let old =
            LexMode { flavor: Flavor::MariaDb, server_version: 101_106, ..LexMode::default() };
        let mut state = SessionState::new(0, "app", None, 45);
        let text = b"SELECT a FROM t /*!110000 FOR UPDATE */";
        let shape = Shape::of(&analyze(text, old, &mut Scratch::new()));
        let id = state.prepared(text, shape, 0);
        assert!(state.statements[&id].shape.is_read());
        state.read_anew(LexMode { newest_version: 110_802, ..old });
        assert!(!state.statements[&id].shape.is_read(), "some of them lock the rows");
    }
}
