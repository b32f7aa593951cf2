//! Whether a transaction is open after a command.
//!
//! The status bits decide where the server's flags mean something. With autocommit off a session is
//! in a transaction from its first statement, although the bit is still clear: metadata locks and the
//! client's expectation of a COMMIT are there already. Where flags are missing (StarRocks), BEGIN and
//! COMMIT are read from the text, and doubt keeps the transaction open.

use highgate_mysql::{
    StatusFlags,
    reply::{StateChange, StateChanges},
    sql::{Effects, StatementKind},
};

use super::Outcome;
use crate::{
    pins::PinCause,
    state::{ConnState, Open, SessionState, Transaction},
    track::CommandFacts,
};

/// What of a session's `sql_mode` its status flags say.
const fn quoting() -> StatusFlags {
    StatusFlags::NO_BACKSLASH_ESCAPES.union(StatusFlags::ANSI_QUOTES)
}

/// Follows the transaction; says whether the server closes the connection after the command.
pub(super) fn follow(
    state: &mut SessionState,
    conn: &ConnState,
    facts: &CommandFacts<'_>,
    outcome: &Outcome<'_>,
) -> bool {
    let was = state.transaction;
    let status = outcome.status.filter(|_| conn.trusts_status);
    // Of several statements, the last that succeeded says it: one that fails does not change it.
    if let Some(status) = status {
        state.autocommit = status.contains(StatusFlags::AUTOCOMMIT);
        state.quoting = Some((status & quoting()).bits());
    }
    let open = match status {
        Some(status) if status.contains(StatusFlags::IN_TRANS) => Open::Yes,
        // Flags of an earlier result say nothing about a statement that failed after it.
        Some(_) if outcome.error.is_none() => implicit(state, facts, was.open),
        _ if outcome.error.is_some() => after_error(state, facts, was.open),
        _ => from_text(state, facts, was.open),
    };
    let told = status.filter(|_| outcome.error.is_none());
    let flag = told.map(|status| status.contains(StatusFlags::IN_TRANS_READONLY));
    let read_only = match (open, facts.shape.kind) {
        (Open::No, _) => false,
        (_, StatementKind::StartTransaction { read_only: true }) => true,
        (_, StatementKind::Begin | StatementKind::StartTransaction { .. }) => flag.unwrap_or(false),
        _ => flag.unwrap_or(was.read_only),
    };
    let writes = facts.command.runs() && facts.does(Effects::WRITES | UNCLEAR);
    state.wrote |= writes;
    let wrote = open != Open::No && (was.wrote || writes);
    // An error may have ended it, or begun it, and does not say so.
    let unsure = outcome.error.is_some();
    state.transaction = Transaction { open, read_only, wrote, unsure };
    state.pins.set(PinCause::Transaction, open == Open::Yes);
    state.pins.set(PinCause::AutocommitOff, open == Open::Implicit);
    if open == Open::No {
        state.pins.remove(PinCause::Savepoint);
    } else if facts.shape.kind == StatementKind::Savepoint && facts.command.runs() {
        state.pins.insert(PinCause::Savepoint);
    }
    next_transaction(state, facts, outcome, was.open != Open::No && open == Open::No);
    facts.command.runs()
        && outcome.error.is_none()
        && matches!(
            facts.shape.kind,
            StatementKind::Commit { release: true, .. }
                | StatementKind::Rollback { release: true, .. }
        )
}

/// What may write without saying so.
const UNCLEAR: Effects = Effects::DOUBTFUL
    .union(Effects::CAN_CHANGE_SESSION)
    .union(Effects::SIDE_EFFECT_FUNCTION)
    .union(Effects::SEQUENCE);

/// The status says that no engine has a transaction: only autocommit matters.
fn implicit(state: &SessionState, facts: &CommandFacts<'_>, was: Open) -> Open {
    if state.autocommit || ends(facts) {
        Open::No
    } else if starts_implicitly(facts) || was == Open::Implicit {
        Open::Implicit
    } else {
        Open::No
    }
}

fn after_error(state: &SessionState, facts: &CommandFacts<'_>, was: Open) -> Open {
    if was == Open::No && !state.autocommit && starts_implicitly(facts) {
        Open::Implicit
    } else if was == Open::No
        && facts.does(Effects::MULTI)
        && facts.does(Effects::BEGINS_TRANSACTION)
    {
        Open::Yes
    } else {
        was
    }
}

fn from_text(state: &SessionState, facts: &CommandFacts<'_>, was: Open) -> Open {
    if facts.does(Effects::BEGINS_TRANSACTION) {
        return Open::Yes;
    }
    if ends(facts) && !facts.does(Effects::MULTI) {
        return match facts.shape.kind {
            StatementKind::Commit { chain: true, .. }
            | StatementKind::Rollback { chain: true, .. } => Open::Yes,
            _ => Open::No,
        };
    }
    if was == Open::No && !state.autocommit && starts_implicitly(facts) {
        Open::Implicit
    } else {
        was
    }
}

/// Whether the command, being of one statement, ends any transaction.
fn ends(facts: &CommandFacts<'_>) -> bool {
    facts.does(Effects::ENDS_TRANSACTION | Effects::IMPLICIT_COMMIT)
        && !facts.does(Effects::MULTI)
        && !matches!(facts.shape.kind, StatementKind::Rollback { to_savepoint: true, .. })
}

/// Whether a statement opens a transaction by itself while autocommit is off.
fn starts_implicitly(facts: &CommandFacts<'_>) -> bool {
    facts.command.runs()
        && !matches!(
            facts.shape.kind,
            StatementKind::Commit { .. }
                | StatementKind::Deallocate
                | StatementKind::Diagnostics
                | StatementKind::Empty
                | StatementKind::Kill { .. }
                | StatementKind::Prepare
                | StatementKind::Rollback { to_savepoint: false, .. }
                | StatementKind::Set
                | StatementKind::Show
                | StatementKind::Signal
                | StatementKind::UnlockTables
                | StatementKind::Use
        )
}

/// `SET TRANSACTION` holds until the next transaction ends.
///
/// The server tells by its characteristics tracker; without it only a transaction that ended, or a
/// statement that surely was one, is proof.
fn next_transaction(
    state: &mut SessionState,
    facts: &CommandFacts<'_>,
    outcome: &Outcome<'_>,
    ended: bool,
) {
    if state.next_transaction.is_none() {
        return;
    }
    let told = StateChanges::new(outcome.changes).flatten().any(
        |change| matches!(change, StateChange::TransactionCharacteristics(text) if text.is_empty()),
    );
    let was_one = outcome.error.is_none()
        && facts.command.runs()
        && state.transaction.open == Open::No
        && matches!(
            facts.shape.kind,
            StatementKind::Delete
                | StatementKind::Insert
                | StatementKind::Replace
                | StatementKind::Update
        );
    if told || ended || was_one {
        state.next_transaction = None;
        state.pins.remove(PinCause::NextTransaction);
    }
}
