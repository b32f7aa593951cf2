//! What a command's outcome makes of the session and of its lease.
//!
//! [`settle`] is the only place that calls a connection clean. It never invents cleanliness: a
//! connection may be kept only if every byte of the answer was seen and nothing on it differs from
//! what [`crate::state::ConnState`] says. What a session left behind that cannot be undone by
//! `SET` is washed off by COM_RESET_CONNECTION; what that does not undo closes the connection.

pub(crate) mod insert_id;
#[cfg(test)]
mod tests;
mod transaction;

use std::{fmt, sync::Arc};

use highgate_mysql::{
    StatusFlags,
    sql::{Effects, StatementKind},
};

use crate::{
    pins::{PinCause, PinSet},
    state::{ConnState, LastInsertId, SessionState, Unreported},
    track::{self, CommandFacts, CommandKind},
};

/// How an exchange ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The protocol broke: what follows on the connection can't be told.
    Broken,
    /// The client left before the answer was complete.
    ClientGone,
    /// The whole answer was read.
    Complete,
    /// The server's connection ended.
    ServerGone {
        /// The command's last byte had been handed to the kernel.
        sent: bool,
    },
}

/// What came of a command.
#[derive(Debug, Clone, Copy)]
pub struct Outcome<'a> {
    /// How it ended.
    pub ended: Ended,
    /// Status flags of the last OK or EOF; `None` if there was none (an ERR has none).
    pub status: Option<StatusFlags>,
    /// The error of the last result, if it was one.
    pub error: Option<u16>,
    /// What the error says; may be left out.
    pub message: &'a [u8],
    /// Results before the last one.
    pub results: u32,
    /// Affected rows of the last OK.
    pub affected_rows: u64,
    /// Insert id of the last OK that was not zero.
    pub insert_id: u64,
    /// The most warnings that a result had: a later one may leave those of an earlier.
    pub warnings: u16,
    /// Rows of the last result set; `None` if there was none.
    pub rows: Option<u64>,
    /// Session state information of all OK packets, one after the other (see
    /// [`highgate_mysql::reply::StateChanges`]).
    pub changes: &'a [u8],
    /// Some of them are not there: they were too long.
    pub is_cut: bool,
}

impl Default for Outcome<'_> {
    fn default() -> Self {
        Self {
            ended: Ended::Complete,
            status: None,
            error: None,
            message: &[],
            results: 0,
            affected_rows: 0,
            insert_id: 0,
            warnings: 0,
            rows: None,
            changes: &[],
            is_cut: false,
        }
    }
}

/// Why a connection is washed before another session may have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WashReason(pub PinSet);

impl fmt::Display for WashReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the session left {} behind", self.0)
    }
}

/// Why a connection is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseReason {
    /// The protocol broke.
    Broken,
    /// The client left within an answer.
    ClientGone,
    /// The server said so (COMMIT RELEASE, shutdown, a killed connection).
    ServerCloses,
    /// The server's connection ended.
    ServerGone,
    /// It was reset, and its session is to wait for the cluster ([`ConnState::is_spoilt`]).
    Spoilt,
    /// It holds what a reset does not undo.
    Unwashable(PinSet),
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broken => f.write_str("the server's answer broke the protocol"),
            Self::ClientGone => f.write_str("the client left within an answer"),
            Self::ServerCloses => f.write_str("the server ends this connection"),
            Self::ServerGone => f.write_str("the server closed the connection"),
            Self::Spoilt => f.write_str("it was reset, and waits for its cluster no more"),
            Self::Unwashable(pins) => write!(f, "a reset does not undo {pins}"),
        }
    }
}

/// What is to be done with the lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Verdict {
    /// Close the connection.
    Close(CloseReason),
    /// The session keeps it.
    Hold(PinSet),
    /// Any session may have it: it looks as its `ConnState` says.
    Keep,
    /// Any session may have it after COM_RESET_CONNECTION.
    Wash(WashReason),
}

/// Decides what a command's outcome makes of session and connection.
///
/// Call it once per command that used a lease, [`track::before`] having been called before.
pub fn settle(
    state: &mut SessionState,
    conn: &mut ConnState,
    facts: &CommandFacts<'_>,
    outcome: &Outcome<'_>,
) -> Verdict {
    let closed = match outcome.ended {
        Ended::Broken => Some(CloseReason::Broken),
        Ended::ClientGone => Some(CloseReason::ClientGone),
        Ended::ServerGone { .. } => Some(CloseReason::ServerGone),
        Ended::Complete if outcome.error.is_some_and(ends_connection) => {
            Some(CloseReason::ServerCloses)
        }
        Ended::Complete => None,
    };
    if let Some(reason) = closed {
        return Verdict::Close(reason);
    }
    let misread = misread(facts, outcome);
    let facts = misread.as_ref().unwrap_or(facts);
    let releases = transaction::follow(state, conn, facts, outcome);
    if outcome.error.is_none() {
        track::succeeded(state, conn, facts, outcome);
        insert_id::follow(state, conn, facts, outcome);
    } else {
        track::failed(state, conn, facts, outcome);
        insert_id::failed(state, conn, facts, outcome);
    }
    // The connection went through the same commands, so it looks as the session does; but a reset took each
    // back to how it had logged in itself.
    let was_reset = facts.command == CommandKind::ResetConnection && outcome.error.is_none();
    if !was_reset && !Arc::ptr_eq(&conn.profile, &state.profile) {
        conn.profile = Arc::clone(&state.profile);
    }
    if state.asks_counts {
        state.pins.insert(PinCause::AsksCounts);
    }
    if outcome.error.is_some() || !track::leaves_row_count(facts) {
        conn.row_count = state.row_count;
    }
    conn.dirt = state.pins;
    if !state.pins.contains(PinCause::OpenCursor) && !state.pins.contains(PinCause::LongData) {
        conn.unreserve();
    }
    conn.diagnostics |= outcome.error.is_some() || outcome.warnings > 0;
    state.check_invariants();
    if releases {
        return Verdict::Close(CloseReason::ServerCloses);
    }
    if state.pins.is_empty() {
        return if conn.unreported == Unreported::Something {
            Verdict::Wash(WashReason(PinCause::RoutineChangedState.into()))
        } else {
            Verdict::Keep
        };
    }
    // It would wait on a connection of its own: it gets another, where nothing else binds it to this one.
    let waits = conn.is_spoilt() && state.profile.variable("wsrep_sync_wait").is_some();
    if waits && state.pins.may_change_server() {
        return Verdict::Close(CloseReason::Spoilt);
    }
    Verdict::Hold(state.pins)
}

/// A text that was read as one statement and had the answers of several: a server reads it otherwise. Nobody knows
/// what the others did, so that it is settled as a text of which nothing is known.
///
/// A net below the reading of texts, which tells where servers would find a statement's end: it binds the session,
/// and has nothing left to say about the choice of the server and a KILL.
fn misread<'a>(facts: &CommandFacts<'a>, outcome: &Outcome<'_>) -> Option<CommandFacts<'a>> {
    const HAVE_SEVERAL: Effects = Effects::MULTI.union(Effects::CAN_CHANGE_SESSION);
    if outcome.results == 0 || !facts.command.runs() || facts.does(HAVE_SEVERAL) {
        return None;
    }
    let mut shape = facts.shape;
    shape.kind = StatementKind::Unknown;
    shape.effects.remove(Effects::READ_ONLY_PROVED);
    shape.effects |= Effects::MULTI | Effects::DOUBTFUL | Effects::WRITES;
    Some(CommandFacts { shape, ..*facts })
}

/// Whether the session's connection is shared from this command on: as the last rule said that spoke
/// of it, and never where its backend `allows` no sharing. To be called before [`settle`].
pub fn share(state: &mut SessionState, rule: Option<bool>, allows: bool) {
    state.unshared = rule.map_or(state.unshared, |shares| !shares);
    if state.unshared || !allows {
        state.pins.insert(PinCause::MultiplexOff);
    } else {
        state.pins.remove(PinCause::MultiplexOff);
    }
}

/// A session that says nothing is open on its connection leaves it: what becomes of the connection?
///
/// To be called when the client left between two commands, or its connection is taken for good.
pub fn left(state: &SessionState, conn: &ConnState) -> Verdict {
    let mut pins = state.pins.union(conn.dirt);
    if conn.unreported == Unreported::Something {
        pins.insert(PinCause::RoutineChangedState);
    }
    if pins.is_empty() {
        return Verdict::Keep;
    }
    let stays: PinSet = pins.iter().filter(|cause| survives_reset(*cause)).collect();
    if stays.is_empty() {
        Verdict::Wash(WashReason(pins))
    } else {
        Verdict::Close(CloseReason::Unwashable(stays))
    }
}

/// Whether a reset takes back all that its session left on a connection. What stays (a role is one,
/// whatever the client changes to) must not meet the next session: it is closed. So is one that a reset
/// would spoil ([`ConnState::is_spoilt`]).
#[must_use]
pub fn is_washable(conn: &ConnState) -> bool {
    !conn.is_galera && !conn.dirt.iter().any(survives_reset)
}

/// What COM_RESET_CONNECTION does not surely undo.
const fn survives_reset(cause: PinCause) -> bool {
    matches!(
        cause,
        PinCause::BackupLock
            | PinCause::BinlogDump
            | PinCause::GlobalReadLock
            | PinCause::LocalInfile
            | PinCause::Passthrough
            | PinCause::Role
            | PinCause::Xa
    )
}

/// What a session lost with its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Lost {
    /// Nothing: it goes on elsewhere, unnoticed.
    Nothing,
    /// State without which later statements would mean something else: the session must end, as it
    /// would without a proxy.
    State(PinSet),
    /// A transaction: one error tells, and the session goes on.
    Transaction,
}

/// The connection that the session held is gone; the session goes on without what only that knew.
pub fn server_lost(state: &mut SessionState) -> Lost {
    let pins = state.pins;
    let silent: PinSet = pins.iter().filter(|cause| cause.is_lost_silently()).collect();
    if !silent.is_empty() {
        return Lost::State(silent);
    }
    let was_in_transaction = state.in_transaction();
    state.transaction = crate::state::Transaction::default();
    for statement in state.statements.values_mut() {
        statement.cursor = false;
    }
    for cause in pins.iter().filter(|cause| !survives_loss(*cause)) {
        state.pins.remove(cause);
    }
    if was_in_transaction && state.next_transaction.take().is_some() {
        state.pins.remove(PinCause::NextTransaction);
    }
    state.check_invariants();
    if was_in_transaction || pins.contains(PinCause::OpenCursor) {
        Lost::Transaction
    } else {
        Lost::Nothing
    }
}

/// What is the session's own, not the connection's.
const fn survives_loss(cause: PinCause) -> bool {
    matches!(cause, PinCause::MultiplexOff | PinCause::NextTransaction)
}

/// The driver asked the held connection for LAST_INSERT_ID(): this is its answer.
pub fn captured(state: &mut SessionState, conn: &mut ConnState, value: u64) {
    state.last_insert_id = match state.last_insert_id {
        LastInsertId::Doubtful { candidate, previous } => {
            LastInsertId::Known(if value == candidate { candidate } else { previous })
        }
        LastInsertId::Failed { there, previous } => {
            LastInsertId::Known(if value == there { previous } else { value })
        }
        LastInsertId::Known(known) => LastInsertId::Known(known),
        LastInsertId::OnConnection | LastInsertId::Untold => LastInsertId::Known(value),
    };
    state.insert_id_lost &= state.last_insert_id == LastInsertId::Known(0);
    state.pins.remove(PinCause::LastInsertIdUnknown);
    conn.last_insert_id = Some(value);
    conn.dirt.remove(PinCause::LastInsertIdUnknown);
    state.check_invariants();
}

/// The driver asked the held connection for the warnings of the last command: this is its answer. From now on they
/// bind the session to nothing.
pub fn keep_warnings(state: &mut SessionState, answer: Box<[u8]>) {
    state.kept_warnings = Some(answer);
    state.pins.remove(PinCause::Warnings);
}

/// What a command may have of warnings that the session keeps itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// All: it is a `SHOW WARNINGS`.
    All,
    /// Nothing: it asks for them otherwise.
    Nothing,
}

/// Whether a command asks for warnings that are not on any connection any more.
#[must_use]
pub fn asks_for_kept_warnings(state: &SessionState, facts: &CommandFacts<'_>) -> Option<Kept> {
    state.kept_warnings.as_ref()?;
    let asks = facts.command.runs()
        && facts.does(Effects::READS_DIAGNOSTICS)
        && facts.reads_leftovers()
        && facts.shape.kind != StatementKind::Signal;
    let is_plain = facts.command == CommandKind::Query && facts.text.is_some_and(shows_warnings);
    asks.then_some(if is_plain { Kept::All } else { Kept::Nothing })
}

/// Whether that is `SHOW WARNINGS` and nothing else, behind whatever tools write before it.
fn shows_warnings(text: &[u8]) -> bool {
    let mut text = text.trim_ascii();
    while let Some(comment) = text.strip_prefix(b"/*") {
        let Some(end) = comment.windows(2).position(|pair| pair == b"*/") else { return false };
        if comment.starts_with(b"!") || comment.starts_with(b"M!") {
            return false;
        }
        text = comment.get(end + 2..).unwrap_or_default().trim_ascii_start();
    }
    let text = text.strip_suffix(b";").unwrap_or(text);
    let mut words = text.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    let mut is = |name: &[u8]| words.next().is_some_and(|word| word.eq_ignore_ascii_case(name));
    is(b"SHOW") && is(b"WARNINGS") && words.next().is_none()
}

/// Nobody can be asked for LAST_INSERT_ID() any more: the session goes on without it, and who asks for it is told
/// so ([`asks_for_lost_id`]).
pub fn lose_insert_id(state: &mut SessionState) {
    state.last_insert_id = LastInsertId::Known(0);
    state.insert_id_lost = true;
    state.pins.remove(PinCause::LastInsertIdUnknown);
    state.check_invariants();
}

/// Whether a command asks for a LAST_INSERT_ID() that was lost, or a routine might for it.
#[must_use]
pub fn asks_for_lost_id(state: &SessionState, facts: &CommandFacts<'_>) -> bool {
    const MAY_ASK: Effects = Effects::READS_LAST_INSERT_ID
        .union(Effects::CAN_CHANGE_SESSION)
        .union(Effects::SIDE_EFFECT_FUNCTION)
        .union(Effects::DOUBTFUL);
    state.insert_id_lost && facts.command.runs() && facts.does(MAY_ASK)
}

/// Errors after which the server closes the connection.
const fn ends_connection(code: u16) -> bool {
    // 1053 shutdown, 1927 killed (MariaDB), 3169 killed (MySQL), 4031 idle too long (MySQL),
    // 1152..1161 and 1184 broken packets.
    matches!(code, 1053 | 1152 | 1153 | 1155..=1161 | 1184 | 1927 | 3169 | 4031)
}
