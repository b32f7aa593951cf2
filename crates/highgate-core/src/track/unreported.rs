//! Changes that a server does not tell of with the statement that made them ([`Unreported`]).
//!
//! What it keeps comes with a later OK. If that is the session's own, it is settled there. Nearly all errors are of
//! statements that called nothing, and whether a trigger, a view or a function ran before one, no text shows: nobody is
//! asked for them. Where another session has the connection by then, and a statement of it that calls nothing is told of
//! a change, that session is not bound by it: the connection is reset once it is free. Only where a routine has raised
//! the error for sure (`SIGNAL`), the server is asked before another session has the connection
//! ([`crate::prepare::Step::Report`]): one small statement, which keeps what is prepared there.

#[cfg(test)]
mod tests;

use highgate_mysql::{
    StatusFlags,
    reply::{StateChange, StateChanges},
    sql::{Effects, Flavor, StatementKind},
};

use super::{CommandFacts, effects};
use crate::{
    pins::PinCause,
    settle::Outcome,
    state::{ConnState, SessionState, Unreported},
};

/// Whether a statement that ended well has to be looked at.
pub(super) fn concerns(conn: &ConnState, facts: &CommandFacts<'_>, outcome: &Outcome<'_>) -> bool {
    conn.unreported != Unreported::Nothing
        || facts.does(Effects::FOR_STATEMENT)
        || outcome.status.is_some_and(|it| it.contains(StatusFlags::SESSION_STATE_CHANGED))
}

/// A statement ended well; its reports, if any, are recorded already.
pub(super) fn follow(
    state: &mut SessionState,
    conn: &mut ConnState,
    facts: &CommandFacts<'_>,
    outcome: &Outcome<'_>,
) {
    if !conn.tracks {
        return;
    }
    if !outcome.changes.is_empty() {
        // What a routine has changed may come with what the statement itself changes.
        let is_unseen = match conn.unreported {
            Unreported::Foreign => !effects::explains(facts, outcome) && !may_call(facts),
            Unreported::Raised => effects::explains(facts, outcome),
            _ => false,
        };
        if is_unseen && has_change(outcome.changes) {
            conn.unreported = Unreported::Something;
        } else if conn.unreported != Unreported::Something {
            conn.unreported = Unreported::Nothing;
        }
    } else if conn.flavor == Flavor::MariaDb {
        untold_end(state, conn, facts, outcome);
    }
    // Values are put back behind the OK.
    if facts.does(Effects::FOR_STATEMENT) && conn.unreported == Unreported::Nothing {
        conn.unreported = Unreported::Passing;
    }
}

/// Rows ended in an EOF that says that something has changed, and can't say what.
///
/// In a transaction, or where autocommit is off, it says so of the transaction itself, and the end of that tells the
/// rest. So it may behind an error. MySQL has something in each answer.
fn untold_end(
    state: &mut SessionState,
    conn: &mut ConnState,
    facts: &CommandFacts<'_>,
    outcome: &Outcome<'_>,
) {
    let Some(status) = outcome.status else { return };
    if !status.contains(StatusFlags::SESSION_STATE_CHANGED | StatusFlags::AUTOCOMMIT)
        || status.contains(StatusFlags::IN_TRANS)
        || facts.does(Effects::FOR_STATEMENT)
        || conn.unreported != Unreported::Nothing
    {
        return;
    }
    conn.unreported = Unreported::Perhaps;
    // A write has a position, and the first transaction takes what was set for it.
    let others = Effects::WRITES | Effects::SEQUENCE | Effects::DOUBTFUL;
    // Quirk: MariaDB tells of the schema at each execution of what was prepared under another one.
    let schema = &state.profile.schema;
    let is_elsewhere = facts.statement.is_some()
        && conn.statements.iter().any(|statement| statement.under.schema != *schema);
    let is_explained = facts.does(others)
        || effects::explains(facts, outcome)
        || state.next_transaction.is_some()
        || is_elsewhere;
    if facts.shape.kind == StatementKind::Select && !is_explained {
        state.pins.insert(PinCause::RoutineChangedState);
    }
}

/// A statement ended in an error.
pub(super) fn failed(
    state: &mut SessionState,
    conn: &mut ConnState,
    facts: &CommandFacts<'_>,
    outcome: &Outcome<'_>,
) {
    let code = outcome.error.unwrap_or_default();
    if !facts.command.runs() || !conn.tracks || !conn.flavor.is_kin() {
        return;
    }
    let calls = facts.does(Effects::SIDE_EFFECT_FUNCTION);
    if code == ER_SP_DOES_NOT_EXIST && calls && !facts.does(Effects::MULTI) {
        match is_of_text(facts, outcome.message) {
            Some(true) => return,
            // It is one that a function of the text calls: that one ran, and may hold a lock even.
            Some(false) => return state.pins.insert(PinCause::RoutineChangedState),
            None => {}
        }
    } else if effects::never_ran(code)
        && code != ER_SP_DOES_NOT_EXIST
        && !facts.does(Effects::MULTI)
    {
        return;
    }
    let is_raised = code == ER_SIGNAL_EXCEPTION || sqlstate(outcome.message).starts_with(b"45");
    conn.unreported = match conn.unreported {
        known @ (Unreported::Raised | Unreported::Something) => known,
        _ if is_raised => Unreported::Raised,
        Unreported::Passing => Unreported::Passing,
        _ if facts.does(Effects::FOR_STATEMENT) => Unreported::Passing,
        // Also the end of a transaction that no OK has told of.
        _ => Unreported::Perhaps,
    };
}

/// ER_SIGNAL_EXCEPTION: an unhandled condition that a user has defined.
const ER_SIGNAL_EXCEPTION: u16 = 1644;

/// ER_SP_DOES_NOT_EXIST: a function or procedure.
const ER_SP_DOES_NOT_EXIST: u16 = 1305;

/// The SQLSTATE of an ERR packet, whatever its number is: `SIGNAL` may choose that as well.
fn sqlstate(packet: &[u8]) -> &[u8] {
    packet.get(3..).and_then(|rest| rest.strip_prefix(b"#")).unwrap_or_default()
}

/// Whether the routine that a server says does not exist (`FUNCTION shop.f does not exist`, in any
/// language) stands in the text; `None` if that can't be told.
fn is_of_text(facts: &CommandFacts<'_>, message: &[u8]) -> Option<bool> {
    let text = facts.text?;
    let full = message.split(u8::is_ascii_whitespace).find(|word| word.contains(&b'.'))?;
    let name = full.rsplit(|byte| *byte == b'.').find(|part| !part.is_empty())?;
    let name = name.trim_ascii();
    let stands = text.windows(name.len()).any(|part| part.eq_ignore_ascii_case(name));
    Some(stands)
}

/// Another session gets the connection.
pub(crate) const fn given(conn: &mut ConnState) {
    if matches!(conn.unreported, Unreported::Perhaps) {
        conn.unreported = Unreported::Foreign;
    }
}

/// A statement of Highgate's own was answered. What comes with [`crate::prepare::Step::Report`] was made by others, and
/// so may be what comes with any other where a routine ran for sure.
pub fn heard(conn: &mut ConnState, changes: &[u8], is_report: bool) {
    if changes.is_empty() || conn.unreported == Unreported::Something {
        return;
    }
    let is_others = is_report || conn.unreported == Unreported::Raised;
    let is_change = is_others && has_change(changes);
    conn.unreported = if is_change { Unreported::Something } else { Unreported::Nothing };
}

/// Whether a report says that something has changed, whatever that is.
fn has_change(changes: &[u8]) -> bool {
    StateChanges::new(changes)
        .any(|change| matches!(change, Ok(StateChange::AnyState(b"1")) | Err(_)))
}

/// Whether a trigger, a view or a function may run in it.
pub(super) fn may_call(facts: &CommandFacts<'_>) -> bool {
    facts.does(Effects::MULTI)
        || !matches!(
            facts.shape.kind,
            StatementKind::Begin
                | StatementKind::Commit { .. }
                | StatementKind::Deallocate
                | StatementKind::Diagnostics
                | StatementKind::Empty
                | StatementKind::Kill { .. }
                | StatementKind::Prepare
                | StatementKind::ReleaseSavepoint
                | StatementKind::Rollback { .. }
                | StatementKind::Savepoint
                | StatementKind::StartTransaction { .. }
                | StatementKind::UnlockTables
                | StatementKind::Use
        )
}
