//! What a command does to a session: before it is routed, and once the server said OK.
//!
//! [`before`] ends the causes that hold for one command only (warnings, found rows). `succeeded` is
//! called by [`crate::settle`] with what the server accepted: `SET` and `USE` are taken apart, values are
//! recorded as literals, and what cannot be repeated elsewhere becomes a pin. Errors come from the real
//! server: nothing is recorded before its OK.

mod counts;
mod effects;
mod locks;
mod set;
#[cfg(test)]
mod tests;
mod unreported;

use highgate_mysql::sql::{self, Analysis, Effects, Flavor, LexMode, StatementKind};

use crate::{
    pins::PinCause,
    state::{SessionState, Shape, Transaction},
};

pub use counts::{asks_counts, denied, moved};
pub(crate) use counts::{knows_found_rows, leaves_row_count};
pub use effects::{
    alters_schema, answered, changed_user, refused, reset, set_option, spoiled, unanswered,
};
pub(crate) use effects::{failed, is_early, never_ran, succeeded};
pub(crate) use set::{DEFAULT_IS_OFF, LISTS_OF_CHANGES};
pub(crate) use unreported::given;
pub use unreported::heard;

/// Which command a client sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CommandKind {
    /// COM_REFRESH and COM_DEBUG: for the server alone.
    Administer,
    /// COM_BINLOG_DUMP and COM_BINLOG_DUMP_GTID.
    BinlogDump,
    /// COM_CHANGE_USER.
    ChangeUser,
    /// COM_FIELD_LIST.
    FieldList,
    /// COM_INIT_DB.
    InitDb,
    /// Any other command code.
    Other(u8),
    /// COM_PING.
    Ping,
    /// COM_PROCESS_INFO.
    ProcessInfo,
    /// COM_PROCESS_KILL of that id.
    ProcessKill(u32),
    /// COM_QUERY.
    Query,
    /// COM_QUIT.
    Quit,
    /// COM_REGISTER_SLAVE.
    RegisterReplica,
    /// COM_RESET_CONNECTION.
    ResetConnection,
    /// COM_SET_OPTION: multi-statements on or off.
    SetOption {
        /// On.
        multi_statements: bool,
    },
    /// COM_STATISTICS.
    Statistics,
    /// COM_STMT_BULK_EXECUTE.
    StmtBulkExecute,
    /// COM_STMT_CLOSE.
    StmtClose,
    /// COM_STMT_EXECUTE.
    StmtExecute,
    /// COM_STMT_FETCH.
    StmtFetch,
    /// COM_STMT_PREPARE.
    StmtPrepare,
    /// COM_STMT_RESET.
    StmtReset,
    /// COM_STMT_SEND_LONG_DATA.
    StmtSendLongData,
}

impl CommandKind {
    /// Whether its text or prepared text runs.
    #[must_use]
    pub const fn runs(self) -> bool {
        matches!(self, Self::Query | Self::StmtBulkExecute | Self::StmtExecute)
    }

    /// Whether it brings a statement's text, which rules may rewrite.
    #[must_use]
    pub const fn brings_text(self) -> bool {
        matches!(self, Self::Query | Self::StmtPrepare)
    }

    /// Whether it speaks of a prepared statement by id.
    #[must_use]
    pub const fn names_statement(self) -> bool {
        matches!(
            self,
            Self::StmtBulkExecute
                | Self::StmtClose
                | Self::StmtExecute
                | Self::StmtFetch
                | Self::StmtReset
                | Self::StmtSendLongData
        )
    }
}

/// A command, as far as deciding needs it.
#[derive(Debug, Clone, Copy)]
pub struct CommandFacts<'a> {
    /// Which command.
    pub command: CommandKind,
    /// What its text does; of the prepared text for commands on a prepared statement.
    pub shape: Shape,
    /// Its text (the schema's name for COM_INIT_DB), if still held. `settle` needs it where
    /// [`Self::keep_text`] says so; without it the session is bound in doubt.
    pub text: Option<&'a [u8]>,
    /// Values of a prepared execution: the packet from its NULL bitmap on, if held.
    pub values: Option<&'a [u8]>,
    /// The prepared statement's id.
    pub statement: Option<u32>,
    /// It executes with a cursor, which binds the session until all was fetched.
    pub opens_cursor: bool,
    /// The schema of a `USE`.
    pub schema_used: Option<&'a [u8]>,
    /// How its text was read.
    pub mode: LexMode,
}

impl<'a> CommandFacts<'a> {
    /// A command without a text.
    #[must_use]
    pub fn bare(command: CommandKind) -> Self {
        Self {
            command,
            shape: Shape::default(),
            text: None,
            values: None,
            statement: None,
            opens_cursor: false,
            schema_used: None,
            mode: LexMode::default(),
        }
    }

    /// COM_QUERY or COM_STMT_PREPARE of a text.
    #[must_use]
    pub fn text(
        command: CommandKind,
        text: &'a [u8],
        analysis: &Analysis<'a>,
        mode: LexMode,
    ) -> Self {
        Self {
            shape: Shape::of(analysis),
            text: Some(text),
            schema_used: analysis.schema_used,
            mode,
            ..Self::bare(command)
        }
    }

    /// A command on a prepared statement of the session.
    #[must_use]
    pub fn prepared(command: CommandKind, id: u32, state: &'a SessionState) -> Self {
        let statement = state.statements.get(&id);
        Self {
            shape: statement.map_or(Shape::UNKNOWN, |statement| statement.shape),
            text: statement.map(|statement| &*statement.text),
            statement: Some(id),
            ..Self::bare(command)
        }
    }

    /// Whether the text must be held until the command is settled.
    #[must_use]
    pub fn keep_text(&self) -> bool {
        self.shape.effects.intersects(
            Effects::SESSION_STATE
                | Effects::LOCAL_INFILE
                | Effects::LOCK_TABLES
                | Effects::NAMED_LOCK
                | Effects::NAMED_PREPARED
                | Effects::RELEASES_NAMED_LOCK
                | Effects::SIDE_EFFECT_FUNCTION
                | Effects::UNLOCKS_TABLES,
        ) || self.shape.effects.contains(Effects::MULTI.union(Effects::IMPLICIT_COMMIT))
            || matches!(
                self.shape.kind,
                StatementKind::Ddl
                    | StatementKind::Insert
                    | StatementKind::Load
                    | StatementKind::Replace
                    | StatementKind::Set
                    | StatementKind::Unknown
            )
    }

    /// Whether it does something that those effects name, and really runs.
    #[must_use]
    pub(crate) fn does(&self, effects: Effects) -> bool {
        self.command.runs() && self.shape.effects.intersects(effects)
    }

    /// Whether an error says that the server could not read the text, so that nothing of it ran: in a
    /// compound statement it may be that of a text within.
    pub(crate) fn is_unread(&self, code: u16) -> bool {
        const ER_PARSE_ERROR: u16 = 1064;
        let ends = |text: &[u8]| text.windows(3).any(|word| word.eq_ignore_ascii_case(b"END"));
        code == ER_PARSE_ERROR
            && self.shape.kind == StatementKind::Unknown
            && !self.shape.effects.contains(Effects::MULTI)
            && !self.text.is_none_or(ends)
    }

    /// Whether it reads what the command before left behind (warnings, counts).
    #[must_use]
    pub fn reads_leftovers(&self) -> bool {
        // Of several statements the first may leave something of its own for the others.
        let begins_anew = self.does(Effects::MULTI)
            && matches!(
                self.shape.kind,
                StatementKind::Ddl
                    | StatementKind::Delete
                    | StatementKind::Insert
                    | StatementKind::Replace
                    | StatementKind::Update
            );
        let reads =
            Effects::READS_DIAGNOSTICS | Effects::READS_FOUND_ROWS | Effects::READS_ROW_COUNT;
        !begins_anew && self.does(reads)
            || matches!(
                self.command,
                CommandKind::StmtPrepare
                    | CommandKind::StmtReset
                    | CommandKind::Ping
                    | CommandKind::Statistics
                    | CommandKind::StmtClose
                    | CommandKind::StmtSendLongData
                    | CommandKind::StmtFetch
                    | CommandKind::SetOption { .. }
            )
    }
}

/// Whether all that a `SET` does can be repeated on any connection, so that it may run anywhere.
#[must_use]
pub(crate) fn is_replayable_set(state: &SessionState, facts: &CommandFacts<'_>) -> bool {
    facts.text.is_some_and(|text| set::is_replayable(state, text, facts.mode))
}

/// Whether all that a `SET` does is to say what holds for the next transaction.
#[must_use]
pub(crate) fn sets_next_transaction(facts: &CommandFacts<'_>) -> bool {
    facts.text.is_some_and(|text| set::is_of_next_transaction(text, facts.mode))
}

/// To be called before a command is routed: ends what holds only until the next command.
pub fn before(state: &mut SessionState, facts: &CommandFacts<'_>) {
    if facts.command == CommandKind::StmtReset {
        spoiled(state, facts, false);
    }
    if facts.reads_leftovers() {
        return;
    }
    let has_warnings = state.pins.contains(PinCause::Warnings) || state.kept_warnings.is_some();
    if has_warnings && !leaves_warnings(facts) {
        state.pins.remove(PinCause::Warnings);
        state.kept_warnings = None;
    }
    // A routine may ask for what was found before it was called.
    if !facts.does(HIDES) {
        state.pins.remove(PinCause::FoundRows);
    }
}

/// What runs texts that are not seen.
pub(crate) const HIDES: Effects = Effects::CAN_CHANGE_SESSION
    .union(Effects::DOUBTFUL)
    .union(Effects::NAMED_PREPARED)
    .union(Effects::SIDE_EFFECT_FUNCTION);

/// Gives up what the command before left on its connection.
pub fn forget_leftovers(state: &mut SessionState) {
    for cause in state.pins.iter().filter(|cause| cause.is_leftover()) {
        state.pins.remove(cause);
    }
}

/// The read-only transaction of a session ended where it ran: nothing is left of it.
pub fn end_read_only(state: &mut SessionState) {
    state.transaction = Transaction::default();
    state.pins.remove(PinCause::Transaction);
    state.pins.remove(PinCause::Savepoint);
    forget_leftovers(state);
    state.check_invariants();
}

/// Whether the warnings of the statement before are still there after this one, if it has none.
///
/// Quirk: MariaDB forgets them only with a statement that uses a table, also as one of several: these
/// have the kind of the first, which forgets what was before the others.
fn leaves_warnings(facts: &CommandFacts<'_>) -> bool {
    if facts.mode.flavor != Flavor::MariaDb {
        return false;
    }
    if matches!(facts.command, CommandKind::FieldList | CommandKind::InitDb) {
        return true;
    }
    if !facts.command.runs() {
        return false;
    }
    // Whether a routine used one, only its connection knows, which it binds.
    if facts.does(Effects::CAN_CHANGE_SESSION | Effects::DOUBTFUL | Effects::NAMED_PREPARED) {
        return true;
    }
    let plain = matches!(
        facts.shape.kind,
        StatementKind::Begin
            | StatementKind::Commit { .. }
            | StatementKind::Do
            | StatementKind::Empty
            | StatementKind::Rollback { .. }
            | StatementKind::Savepoint
            | StatementKind::Select
            | StatementKind::Set
            | StatementKind::StartTransaction { .. }
            | StatementKind::UnlockTables
            | StatementKind::Use
            | StatementKind::Values
    );
    plain && !facts.text.is_none_or(|text| sql::reads_from_table(text, facts.mode))
}
