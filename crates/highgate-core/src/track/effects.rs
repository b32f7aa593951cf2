//! What an accepted command did to its session.

use highgate_mysql::{
    StatusFlags,
    reply::{StateChange, StateChanges},
    sql::{self, Effects, Flavor, StatementKind},
};

use super::{CommandFacts, CommandKind, counts, locks, set, unreported};
use crate::{
    answer::OwnAnswer,
    pins::{PinCause, PinSet},
    settle::Outcome,
    state::{Charset, ConnState, Profile, SessionState, Unreported},
};

/// Records what the server accepted.
pub(crate) fn succeeded(
    state: &mut SessionState,
    conn: &mut ConnState,
    facts: &CommandFacts<'_>,
    outcome: &Outcome<'_>,
) {
    match facts.command {
        CommandKind::BinlogDump | CommandKind::RegisterReplica => {
            state.pins.insert(PinCause::BinlogDump);
        }
        CommandKind::InitDb => {
            state.row_count = Some(0);
            use_schema(state, facts.text);
        }
        CommandKind::Query | CommandKind::StmtBulkExecute | CommandKind::StmtExecute => {
            statement_ran(state, facts, outcome);
            ran(state, conn, facts, outcome);
        }
        CommandKind::ResetConnection => {
            let was_unknown = conn.schema_unknown;
            reset(state, conn.flavor);
            conn.was_reset();
            // Who stays there takes the schema that it finds.
            if !state.pins.is_empty() {
                conn.schema_unknown = was_unknown;
            }
        }
        CommandKind::SetOption { multi_statements } => set_option(state, multi_statements),
        CommandKind::FieldList => state.row_count = Some(-1),
        CommandKind::StmtFetch => {
            state.row_count = Some(-1);
            let read = outcome.status.is_some_and(|s| s.contains(StatusFlags::LAST_ROW_SENT));
            statement(state, facts, |statement| statement.cursor &= !read);
        }
        CommandKind::StmtReset => {
            state.row_count = Some(0);
            statement(state, facts, |statement| {
                statement.long_data = false;
                statement.cursor = false;
            });
        }
        CommandKind::Other(_) => state.pins.insert(PinCause::SessionUnknown),
        CommandKind::Administer | CommandKind::Ping => state.row_count = Some(0),
        CommandKind::ChangeUser
        | CommandKind::ProcessInfo
        | CommandKind::ProcessKill(_)
        | CommandKind::Quit
        | CommandKind::Statistics
        | CommandKind::StmtClose
        | CommandKind::StmtPrepare
        | CommandKind::StmtSendLongData => {}
    }
}

/// Data for a later execution could not be sent: that one may not run without it.
pub fn spoiled(state: &mut SessionState, facts: &CommandFacts<'_>, is_so: bool) {
    if let Some(statement) = facts.statement.and_then(|id| state.statements.get_mut(&id)) {
        statement.spoiled = is_so;
    }
}

/// Records a command that has no answer (COM_STMT_CLOSE, COM_STMT_SEND_LONG_DATA).
pub fn unanswered(state: &mut SessionState, facts: &CommandFacts<'_>) {
    match (facts.command, facts.statement) {
        (CommandKind::StmtClose, Some(id)) => {
            state.statements.remove(&id);
            statement(state, facts, |_| {});
        }
        (CommandKind::StmtSendLongData, Some(_)) => {
            statement(state, facts, |statement| statement.long_data = true);
        }
        _ => {}
    }
}

/// Records what Highgate answered by itself, as a server would.
pub fn answered(state: &mut SessionState, answer: &OwnAnswer) {
    match answer {
        OwnAnswer::Number { .. } => {
            state.found_rows = Some(1);
            state.row_count = Some(-1);
        }
        OwnAnswer::Sessions { .. } => state.row_count = Some(-1),
        OwnAnswer::Ok => state.row_count = Some(0),
        OwnAnswer::Eof => state.row_count = Some(-1),
        OwnAnswer::Silence | OwnAnswer::Statistics => {}
    }
}

/// Records that Highgate answered with an error.
pub const fn refused(state: &mut SessionState) {
    state.row_count = Some(-1);
}

/// Records a command that the server answered with an error.
pub(crate) fn failed(
    state: &mut SessionState,
    conn: &mut ConnState,
    facts: &CommandFacts<'_>,
    outcome: &Outcome<'_>,
) {
    state.row_count = Some(-1);
    // SHOW WARNINGS shows the error as well.
    counts::warned(state);
    if !facts.command.runs() {
        return;
    }
    // What it counted before it failed, only the server knows.
    let is_unsure = facts.does(Effects::MULTI | super::HIDES);
    if is_unsure || !outcome.error.is_some_and(is_early) {
        counts::may_count(state, conn);
    }
    state.warnings = outcome.warnings;
    if facts.command != CommandKind::Query {
        statement(state, facts, |statement| statement.long_data = false);
    }
    if facts.does(Effects::NAMED_LOCK) {
        state.named_locks.clear();
    }
    let effects = facts.shape.effects;
    let code = outcome.error.unwrap_or_default();
    if facts.is_unread(code) {
        return;
    }
    unreported::failed(state, conn, facts, outcome);
    if effects.contains(Effects::MULTI) {
        // Statements before the one that failed have run.
        state.pins = state.pins.union(lasting(state, facts));
        // Also what they hide: EXECUTE IMMEDIATE takes a `USE`.
        const CHANGES: Effects = Effects::SESSION_STATE
            .union(Effects::USER_VARIABLE_WRITE)
            .union(Effects::CAN_CHANGE_SESSION);
        if effects.intersects(CHANGES) {
            state.pins.insert(PinCause::SessionUnknown);
        }
    } else if effects.contains(Effects::CAN_CHANGE_SESSION) || may_have_run(effects, code) {
        state.pins.insert(PinCause::RoutineChangedState);
    } else if !is_early(code)
        || code == ER_OPTION_PREVENTS_STATEMENT && may_have_committed(state, facts)
    {
        // Servers change none of the variables where one can't be changed. One that could be repeated
        // may have run on a reader, which must not keep the session and its writes.
        if facts.shape.kind == StatementKind::Set
            && super::is_replayable_set(state, facts)
            && !may_have_committed(state, facts)
        {
            return;
        }
        let partial = lasting(state, facts).without(only_if_done());
        state.pins = state.pins.union(partial);
        if facts.shape.kind == StatementKind::Set {
            state.pins.insert(PinCause::UnreplayableSet);
        }
    }
}

/// ER_OPTION_PREVENTS_STATEMENT: the server takes no writes, and so no commit of one.
const ER_OPTION_PREVENTS_STATEMENT: u16 = 1290;

/// Whether a SET may have failed as it committed: servers look at all assignments before they make the
/// first, but make them one by one, and go on behind one that fails.
fn may_have_committed(state: &SessionState, facts: &CommandFacts<'_>) -> bool {
    facts.shape.kind == StatementKind::Set
        && state.in_transaction()
        && !state.transaction.read_only
        && facts.text.is_none_or(|text| names(text, "autocommit"))
}

/// Whether a command that succeeded may have given a schema another charset. Servers read it when a
/// connection chooses the schema: those that have chosen it before make tables of the old one, which
/// their replicas then take for others.
#[must_use]
pub fn alters_schema(facts: &CommandFacts<'_>) -> bool {
    let is_ddl = facts.shape.kind == StatementKind::Ddl
        || facts.shape.effects.contains(Effects::MULTI | Effects::IMPLICIT_COMMIT);
    is_ddl
        && facts.command.runs()
        && facts.text.is_some_and(|text| sql::alters_schema(text, facts.mode))
}

/// Whether that name stands anywhere in a text.
fn names(text: &[u8], name: &str) -> bool {
    !name.is_empty()
        && text.windows(name.len()).any(|word| word.eq_ignore_ascii_case(name.as_bytes()))
}

/// Whether a function may have changed the session before it failed in a way that looks early.
fn may_have_run(effects: Effects, code: u16) -> bool {
    effects.contains(Effects::SIDE_EFFECT_FUNCTION) && is_early(code) && !never_ran(code)
}

/// Errors before anything of a statement ran: syntax, no schema, no such function. Other early ones may be those of
/// a trigger, a view or a function, behind what ran before them.
pub(crate) const fn never_ran(code: u16) -> bool {
    matches!(code, 1046 | 1049 | 1064 | 1305 | 1630)
}

/// Errors that come before a statement does anything: syntax, names, privileges, values of a SET.
pub(crate) const fn is_early(code: u16) -> bool {
    matches!(
        code,
        1044 | 1046
            | 1049
            | 1054
            | 1064
            | 1065
            | 1115
            | 1142
            | 1143
            | 1146
            | 1193
            | 1227
            | 1228
            | 1229
            | 1230
            | 1231
            | 1232
            | 1238
            | 1273
            | 1290
            | 1298
            | 1305
    )
}

/// Causes that a single failed statement leaves no trace of.
fn only_if_done() -> PinSet {
    [PinCause::TemporaryTable, PinCause::LockedTables, PinCause::GlobalReadLock]
        .into_iter()
        .collect()
}

/// COM_CHANGE_USER was accepted: another login on the same connection.
pub fn changed_user(state: &mut SessionState, user: &str, schema: Option<&str>, collation: u16) {
    reset(state, Flavor::Unknown);
    state.pins.remove(PinCause::Role);
    state.pins.remove(PinCause::MultiplexOff);
    state.unshared = false;
    state.login_collation = collation;
    state.user = user.into();
    state.profile = std::sync::Arc::new(Profile::new(collation, schema));
}

/// COM_RESET_CONNECTION was accepted: what is left is what a reset does not touch.
pub fn reset(state: &mut SessionState, flavor: Flavor) {
    let charset = Charset::after_reset(state.login_collation, flavor);
    let schema = state.profile.schema.clone();
    const STAY: [PinCause; 4] =
        [PinCause::BinlogDump, PinCause::MultiplexOff, PinCause::Passthrough, PinCause::Role];
    let kept: PinSet = STAY.into_iter().filter(|cause| state.pins.contains(*cause)).collect();
    let fresh = SessionState::new(state.capabilities, &state.user, None, state.login_collation);
    let mut profile = Profile { schema, charset, ..Profile::default() };
    if state.ignores_space() {
        profile.forget_login_mode(flavor);
    }
    *state = SessionState {
        profile: std::sync::Arc::new(profile),
        pins: kept,
        next_statement: state.next_statement,
        found_rows: state.found_rows,
        found_rows_lost: state.found_rows_lost,
        last_write: state.last_write.take(),
        wrote: state.wrote,
        unshared: state.unshared,
        ..fresh
    };
}

/// COM_SET_OPTION was accepted: whether a text may have several statements decides what one may have done.
pub fn set_option(state: &mut SessionState, multi_statements: bool) {
    const MULTI_STATEMENTS: u64 = 1 << 16;
    if multi_statements {
        state.capabilities |= MULTI_STATEMENTS;
    } else {
        state.capabilities &= !MULTI_STATEMENTS;
    }
}

pub(super) fn use_schema(state: &mut SessionState, name: Option<&[u8]>) {
    match name.and_then(|name| std::str::from_utf8(name).ok()) {
        Some(name) if state.schema() == Some(name) => {}
        Some(name) => state.profile_mut().schema = Some(name.into()),
        None => state.pins.insert(PinCause::SessionUnknown),
    }
}

fn statement(
    state: &mut SessionState,
    facts: &CommandFacts<'_>,
    change: impl FnOnce(&mut crate::state::Statement),
) {
    if let Some(statement) = facts.statement.and_then(|id| state.statements.get_mut(&id)) {
        change(statement);
    }
    let any = |test: fn(&crate::state::Statement) -> bool| state.statements.values().any(test);
    let (long_data, cursor) = (any(|s| s.long_data), any(|s| s.cursor));
    state.pins.set(PinCause::LongData, long_data);
    state.pins.set(PinCause::OpenCursor, cursor);
}

/// An execution takes the long data and may open a cursor.
fn statement_ran(state: &mut SessionState, facts: &CommandFacts<'_>, outcome: &Outcome<'_>) {
    if facts.statement.is_none() {
        return;
    }
    let cursor = outcome.status.is_some_and(|status| {
        status.contains(StatusFlags::CURSOR_EXISTS) && !status.contains(StatusFlags::LAST_ROW_SENT)
    });
    let bound =
        state.pins.contains(PinCause::LongData) || state.pins.contains(PinCause::OpenCursor);
    if cursor || bound {
        statement(state, facts, |statement| {
            statement.long_data = false;
            statement.cursor = cursor;
        });
    }
}

fn ran(
    state: &mut SessionState,
    conn: &mut ConnState,
    facts: &CommandFacts<'_>,
    outcome: &Outcome<'_>,
) {
    counts::follow(state, conn, facts, outcome);
    let effects = facts.shape.effects;
    // Rows end without a report where the client knows no other end: a position from before says nothing.
    if outcome.rows.is_some() && effects.intersects(MAY_WRITE) {
        state.last_write = None;
    }
    // The common case: nothing but data was read or written.
    if !effects.intersects(NOTEWORTHY)
        && outcome.changes.is_empty()
        && !unreported::concerns(conn, facts, outcome)
        && !matches!(facts.shape.kind, StatementKind::Unknown | StatementKind::Xa)
        && !outcome.status.is_some_and(|status| status.contains(StatusFlags::DB_DROPPED))
    {
        return;
    }
    if effects.contains(Effects::UNLOCKS_TABLES) && unlocks_tables(facts) {
        state.pins.remove(PinCause::LockedTables);
        state.pins.remove(PinCause::GlobalReadLock);
    }
    if effects.contains(Effects::BEGINS_TRANSACTION) {
        state.pins.remove(PinCause::LockedTables);
    }
    let prepares = facts.shape.kind == StatementKind::Prepare;
    state.asks_counts |= prepares && facts.text.is_some_and(counts::names_counts);
    let mut lasting = lasting(state, facts);
    lasting.remove(PinCause::NamedLock);
    state.pins = state.pins.union(lasting);
    locks::follow(state, facts);
    // The flag is set whichever schema was dropped. Where the server reports changes it tells of the
    // session's own; else the text names it.
    if outcome.status.is_some_and(|status| status.contains(StatusFlags::DB_DROPPED))
        && !conn.tracks
        && facts.text.is_none_or(|text| names(text, state.schema().unwrap_or_default()))
    {
        state.profile_mut().schema = None;
    }
    let multi = effects.contains(Effects::MULTI);
    match facts.shape.kind {
        // Several statements are followed by what the server reports, or not at all.
        _ if multi
            && (conn.tracks && !outcome.is_cut || !effects.contains(Effects::SESSION_STATE)) => {}
        _ if multi => state.pins.insert(PinCause::SessionUnknown),
        StatementKind::Set => set::apply(state, conn, facts, outcome),
        StatementKind::Use => use_schema(state, facts.schema_used),
        _ => {}
    }
    let sets = multi && effects.contains(Effects::SESSION_STATE);
    let charset = sets.then(|| state.profile.charset.clone());
    if !outcome.changes.is_empty() {
        reported(state, conn, facts, outcome);
    }
    if let Some(charset) = charset.filter(|_| conn.tracks) {
        set::several(state, conn, facts, &charset);
    }
    unreported::follow(state, conn, facts, outcome);
}

/// `UNLOCK TABLES`, not `UNLOCK INSTANCE` or `BACKUP UNLOCK`.
fn unlocks_tables(facts: &CommandFacts<'_>) -> bool {
    facts.text.is_some_and(|text| {
        text.windows(5).any(|word| word.eq_ignore_ascii_case(b"TABLE"))
            && !text.windows(6).any(|word| word.eq_ignore_ascii_case(b"BACKUP"))
    })
}

/// Effects of statements that may have written where they answered with rows.
const MAY_WRITE: Effects =
    Effects::WRITES.union(Effects::CAN_CHANGE_SESSION).union(Effects::DOUBTFUL);

/// Effects that need a second look.
const NOTEWORTHY: Effects = Effects::TEMP_TABLE
    .union(Effects::NAMED_LOCK)
    .union(Effects::RELEASES_NAMED_LOCK)
    .union(Effects::LOCK_TABLES)
    .union(Effects::UNLOCKS_TABLES)
    .union(Effects::USER_VARIABLE_WRITE)
    .union(Effects::SIDE_EFFECT_FUNCTION)
    .union(Effects::SEQUENCE)
    .union(Effects::SESSION_STATE)
    .union(Effects::CAN_CHANGE_SESSION)
    .union(Effects::BEGINS_TRANSACTION)
    .union(Effects::DOUBTFUL)
    .union(Effects::NAMED_PREPARED)
    .union(Effects::HANDLER)
    .union(Effects::MULTI);

/// What the words of a statement leave on its connection for good.
fn lasting(state: &SessionState, facts: &CommandFacts<'_>) -> PinSet {
    let effects = facts.shape.effects;
    let kind = facts.shape.kind;
    let multi = effects.contains(Effects::MULTI);
    let mut pins = PinSet::EMPTY;
    for (effect, cause) in [
        (Effects::TEMP_TABLE, PinCause::TemporaryTable),
        (Effects::NAMED_LOCK, PinCause::NamedLock),
        (Effects::CAN_CHANGE_SESSION, PinCause::RoutineChangedState),
        (Effects::SEQUENCE, PinCause::Sequence),
        (Effects::NAMED_PREPARED, PinCause::TextPrepared),
        (Effects::HANDLER, PinCause::Handler),
        (Effects::XA, PinCause::Xa),
    ] {
        if effects.contains(effect) {
            pins.insert(cause);
        }
    }
    // Functions that are known to take or release locks have their own cause.
    if effects.contains(Effects::SIDE_EFFECT_FUNCTION)
        && !effects.intersects(Effects::NAMED_LOCK | Effects::RELEASES_NAMED_LOCK)
    {
        pins.insert(PinCause::RoutineChangedState);
    }
    if effects.contains(Effects::USER_VARIABLE_WRITE) && (multi || kind != StatementKind::Set) {
        pins.insert(PinCause::UserVariables);
    }
    if effects.contains(Effects::LOCK_TABLES) {
        pins = pins.union(locks(kind, facts));
    }
    let several = multi && effects.intersects(MAY_SET);
    if (several || effects.contains(Effects::NAMED_PREPARED)) && names_role(facts) {
        pins.insert(PinCause::Role);
    }
    let one_only = state.capabilities & (1 << 16) == 0 && facts.command == CommandKind::Query;
    let unread = effects.contains(Effects::DOUBTFUL) || kind == StatementKind::Unknown;
    if unread && !(kind == StatementKind::Ddl && one_only) {
        pins.insert(PinCause::SessionUnknown);
    }
    pins
}

/// What a text of several statements has where one of them may be a SET: one that is read, or one
/// within a statement that is not.
const MAY_SET: Effects =
    Effects::SESSION_STATE.union(Effects::CAN_CHANGE_SESSION).union(Effects::DOUBTFUL);

/// Whether a role or a resource group may be chosen within several statements, or by one of SQL PREPARE: no server
/// reports it.
fn names_role(facts: &CommandFacts<'_>) -> bool {
    let names = |word: &[u8]| {
        facts
            .text
            .is_some_and(|text| text.windows(word.len()).any(|w| w.eq_ignore_ascii_case(word)))
    };
    names(b"ROLE") || names(b"RESOURCE")
}

fn locks(kind: StatementKind, facts: &CommandFacts<'_>) -> PinSet {
    let names = |word: &[u8]| {
        facts.text.is_none_or(|text| text.windows(word.len()).any(|w| w.eq_ignore_ascii_case(word)))
    };
    let cause = match kind {
        StatementKind::Flush => PinCause::GlobalReadLock,
        StatementKind::LockTables if !names(b"INSTANCE") && !names(b"BACKUP") => {
            PinCause::LockedTables
        }
        _ => PinCause::BackupLock,
    };
    std::iter::once(cause).collect()
}

/// What the server reports beside what the text says.
fn reported(
    state: &mut SessionState,
    conn: &ConnState,
    facts: &CommandFacts<'_>,
    outcome: &Outcome<'_>,
) {
    let before = conn.unreported;
    // Quirk: MariaDB reports the values that held for `SET STATEMENT … FOR` alone, and with a later statement
    // those that it put back. Among several that set others they can't be told from these.
    let is_put_back = before == Unreported::Passing;
    let sets = facts.does(Effects::MULTI) && facts.does(Effects::SESSION_STATE);
    let is_foreign = before == Unreported::Foreign && !unreported::may_call(facts);
    let passing = facts.does(Effects::FOR_STATEMENT) || is_put_back && !sets || is_foreign;
    let explained = explains(facts, outcome) || is_put_back || is_foreign;
    for change in StateChanges::new(outcome.changes) {
        match change {
            Ok(StateChange::Schema(name)) => {
                if name.is_empty() {
                    state.profile_mut().schema = None;
                } else {
                    use_schema(state, Some(name));
                }
            }
            Ok(StateChange::AnyState(b"1")) if !explained => {
                state.pins.insert(PinCause::RoutineChangedState);
            }
            // MariaDB's position of the last write: what causal reads wait for.
            Ok(StateChange::SystemVariable { name: b"last_gtid", value }) => {
                state.last_write = std::str::from_utf8(value).ok().map(Into::into);
            }
            Ok(StateChange::SystemVariable { .. }) if passing => {
                if facts.does(Effects::MULTI) && facts.does(Effects::FOR_STATEMENT) {
                    state.pins.insert(PinCause::SessionUnknown);
                }
            }
            Ok(StateChange::SystemVariable { name, value })
                if facts.shape.kind != StatementKind::Set || facts.does(Effects::MULTI) =>
            {
                set::learn(state, name, value, conn.dialect());
            }
            Ok(StateChange::TransactionCharacteristics(report)) => {
                set::characteristics(state, report);
            }
            Ok(StateChange::Gtids(gtids)) => {
                state.last_write = std::str::from_utf8(gtids).ok().map(Into::into);
            }
            Ok(_) => {}
            Err(_) => state.pins.insert(PinCause::SessionUnknown),
        }
    }
}

/// Whether a statement's own words explain that the server tells of a change.
pub(super) fn explains(facts: &CommandFacts<'_>, outcome: &Outcome<'_>) -> bool {
    // Quirk: MariaDB reports the schema at each execution of what was prepared under another one.
    let of_schema = |change| matches!(change, Ok(StateChange::Schema(_)));
    facts.shape.effects.intersects(EXPLAINS_CHANGE)
        || facts.statement.is_some() && StateChanges::new(outcome.changes).any(of_schema)
}

const EXPLAINS_CHANGE: Effects = Effects::SESSION_STATE
    .union(Effects::TEMP_TABLE)
    .union(Effects::DROPS_TEMP_TABLE)
    .union(Effects::USER_VARIABLE_WRITE)
    .union(Effects::NAMED_PREPARED)
    .union(Effects::FOR_STATEMENT)
    .union(Effects::CAN_CHANGE_SESSION);
