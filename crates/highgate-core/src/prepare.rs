//! The difference between a session and a server connection, as steps that bring the one to the other.
//!
//! [`difference`] is pure; the driver runs each [`Step`] to its end, calls [`applied`] after the
//! server's OK, and only then sends the client's command: a command never runs in a state that is not
//! proved. Nothing differs for most commands: that is one comparison of pointers, or of two small
//! values. What cannot be bridged by statements is [`Unfit`]: another connection is needed.

mod render;
#[cfg(test)]
mod tests;

use std::{fmt, sync::Arc};

use highgate_mysql::{
    StatusFlags,
    sql::{Effects, Flavor, StatementKind},
};

use crate::{
    pins::PinCause,
    settle::insert_id,
    state::{ConnState, LastInsertId, Profile, SessionState, Unreported},
    track::{self, CommandFacts},
};

/// What a command needs beside the session's profile.
#[derive(Debug, Clone, Copy, Default)]
pub struct Needs<'a> {
    /// It executes this prepared statement of the session.
    pub statement: Option<u32>,
    /// It reads LAST_INSERT_ID().
    pub last_insert_id: bool,
    /// It reads warnings, and its session left none: it must not see another's.
    pub no_diagnostics: bool,
    /// It asks for FOUND_ROWS() of a statement before it.
    pub found_rows: bool,
    /// It asks for ROW_COUNT() of a statement before it.
    pub row_count: bool,
    /// It was sent to where reads go, as one that autocommit ends.
    pub ends_itself: bool,
    /// It must see this position first.
    pub causal: Option<CausalNeed<'a>>,
}

/// A position that a read must see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CausalNeed<'a> {
    /// GTID set of the session's last write; empty for Galera, which needs none.
    pub position: &'a str,
    /// How the server waits.
    pub wait: CausalWait,
    /// How long, in milliseconds.
    pub timeout_ms: u64,
}

/// How a server waits for a position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CausalWait {
    /// MariaDB's `MASTER_GTID_WAIT()`.
    MasterGtidWait,
    /// MySQL's `WAIT_FOR_EXECUTED_GTID_SET()`.
    WaitForExecutedGtidSet,
    /// Galera: any read under `wsrep_sync_wait = 1`.
    WsrepSyncWait,
}

/// One thing to be done on a server connection before the client's command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// COM_QUERY of this text: one row, whose first column must be `0` (or `1` for Galera). Anything
    /// else means that the server is not that far: the command goes to the primary.
    CausalWait {
        /// The statement.
        text: Vec<u8>,
        /// What the first column must be.
        expect: &'static [u8],
    },
    /// COM_QUERY of [`CAPTURE`]; tell [`crate::settle::captured`], then take the difference anew.
    CaptureLastInsertId,
    /// COM_QUERY of [`CLEAR`]: warnings of another session go.
    ClearDiagnostics,
    /// COM_STMT_CLOSE of the server's statement; has no answer.
    CloseStatement(u32),
    /// COM_INIT_DB. An ERR 1049 is the client's own: its schema was dropped.
    InitDb {
        /// The schema.
        schema: Box<str>,
        /// What holds afterwards.
        becomes: Arc<Profile>,
    },
    /// COM_QUERY of [`WARNINGS`]; tell [`crate::settle::keep_warnings`].
    KeepWarnings,
    /// COM_STMT_PREPARE; tell [`ConnState::prepared`] what the server answered.
    Prepare {
        /// The text.
        text: Arc<[u8]>,
        /// The profile it is prepared under, in force by the steps before.
        under: Arc<Profile>,
    },
    /// COM_QUERY of [`report`]: the server tells of what it could not tell with statements before. Where that is a
    /// change, the connection is reset and the difference taken anew.
    Report,
    /// COM_RESET_CONNECTION.
    ResetConnection,
    /// COM_QUERY of one SET. Where it fails, the connection is reset and the difference taken anew.
    Set {
        /// The statement.
        text: Vec<u8>,
        /// What holds afterwards.
        becomes: Arc<Profile>,
    },
    /// COM_QUERY `SET LAST_INSERT_ID = n`.
    SetLastInsertId(u64),
    /// COM_QUERY of a `SET TRANSACTION …`.
    SetTransaction(Box<str>),
    /// COM_QUERY of the SET that makes the server report changes of session state.
    Track,
}

/// The statement of [`Step::Track`].
///
/// MySQL has to be told to report positions of writes, which causal reads wait for; MariaDB reports
/// `last_gtid` as one of its variables.
#[must_use]
pub const fn track(flavor: Flavor) -> &'static str {
    match flavor {
        Flavor::MySql => {
            "SET SESSION session_track_schema=1,session_track_system_variables='*',\
             session_track_state_change=1,session_track_transaction_info='CHARACTERISTICS',\
             session_track_gtids=OWN_GTID"
        }
        _ => {
            "SET SESSION session_track_schema=1,session_track_system_variables='*',\
             session_track_state_change=1,session_track_transaction_info='CHARACTERISTICS'"
        }
    }
}

/// The statement of [`Step::Report`]: the smallest whose OK has a change of its own which no other has, and that
/// leaves nothing, not even the warnings of the statement before. (MySQL tells with any OK.)
#[must_use]
pub const fn report(flavor: Flavor) -> &'static str {
    match flavor {
        Flavor::MariaDb => {
            "BEGIN NOT ATOMIC START TRANSACTION READ ONLY; COMMIT AND NO CHAIN NO RELEASE; END"
        }
        _ => "DO 0",
    }
}

/// The statement of [`Step::CaptureLastInsertId`]: where a session has set `sql_select_limit` to 0, only those
/// that name a limit answer with a row.
pub const CAPTURE: &str = "SELECT LAST_INSERT_ID() LIMIT 1";

/// The statement of [`Step::KeepWarnings`].
pub const WARNINGS: &str = "SHOW WARNINGS";

/// The statement of [`Step::ClearDiagnostics`]. Servers forget warnings with a statement that uses a
/// table, be it a derived one.
pub const CLEAR: &str = "SELECT 1 FROM (SELECT 1) AS t";

/// Why a connection can't be brought to a session's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unfit {
    /// The server begins sessions with autocommit off, which was not known of this one: what follows its
    /// first statement may write.
    Autocommit,
    /// The server has no way to wait for a position.
    Causal,
    /// The login's collation id is not known here: only a connection opened with it will do.
    Charset,
    /// What FOUND_ROWS() or ROW_COUNT() says there is another statement's.
    Counts,
    /// Variables would be reset to defaults, which are not what a login gives (`init_connect`).
    Defaults,
    /// The session holds its connection: nothing else will do.
    Pinned,
    /// It was reset, or would have to be, and waits for its cluster no more then.
    Reset,
    /// The session has no current schema; the connection has one, and it can't be taken away.
    Schema,
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Autocommit => "its server begins sessions with autocommit off",
            Self::Causal => "its server has no statement that waits for a position",
            Self::Charset => "it was opened with another collation, which has no name here",
            Self::Counts => "it does not know what FOUND_ROWS() or ROW_COUNT() is in the session",
            Self::Defaults => {
                "the server's init_connect makes defaults differ from a login's state"
            }
            Self::Pinned => "the session is bound to another connection",
            Self::Reset => {
                "a Galera server's connection waits for its cluster no more once it was reset"
            }
            Self::Schema => "it has a current schema, and the session has none",
        })
    }
}

/// Whether a command asks for warnings that its session does not have, or may do so unseen on a
/// connection that was another session's.
#[must_use]
pub fn needs_no_diagnostics(state: &SessionState, facts: &CommandFacts<'_>, own: bool) -> bool {
    let asks = facts.does(Effects::READS_DIAGNOSTICS) || !own && facts.does(track::HIDES);
    asks && !state.pins.contains(PinCause::Warnings)
}

/// Whether a command needs LAST_INSERT_ID() of its session on that connection.
///
/// It does where it reads it. And where it may write ids itself: if the connection's old value is among them,
/// nobody could tell afterwards whether the server generated it.
#[must_use]
pub fn needs_last_insert_id(
    state: &SessionState,
    conn: &ConnState,
    facts: &CommandFacts<'_>,
) -> bool {
    if facts.does(
        Effects::READS_LAST_INSERT_ID
            | Effects::WRITES_LAST_INSERT_ID
            | Effects::CAN_CHANGE_SESSION
            | Effects::MULTI
            | Effects::DOUBTFUL,
    ) {
        return true;
    }
    // A stored function may read it; other servers have none, and may know no SET LAST_INSERT_ID.
    let is_kin = conn.flavor.is_kin();
    if is_kin && facts.does(Effects::SIDE_EFFECT_FUNCTION) {
        return true;
    }
    let inserts = matches!(
        facts.shape.kind,
        StatementKind::Insert | StatementKind::Load | StatementKind::Replace
    );
    let fills = is_kin && insert_id::may_fill_table(facts);
    if !inserts && !fills || !facts.command.runs() {
        return false;
    }
    let returns = |text: &[u8]| text.windows(9).any(|word| word.eq_ignore_ascii_case(b"RETURNING"));
    match (conn.last_insert_id, state.last_insert_id) {
        (Some(there), LastInsertId::Known(here)) if there == here => false,
        _ if facts.text.is_some_and(returns) => true,
        // No answer tells whether it generated one: the connection is asked, and must know the session's own.
        (_, LastInsertId::Known(_)) if fills => true,
        (_, LastInsertId::Known(_)) if facts.shape.kind == StatementKind::Load && is_kin => true,
        (Some(0), _) => false,
        (Some(there), LastInsertId::Known(_)) => insert_id::may_be_written(facts, there),
        (None, LastInsertId::Known(_)) => true,
        (_, LastInsertId::Doubtful { .. } | LastInsertId::Failed { .. }) => true,
        (_, LastInsertId::OnConnection | LastInsertId::Untold) => false,
    }
}

/// Profiles that are alike in content are one from now on, so that the next look at them is short.
///
/// Of two the one at the lower address stays: whatever the order in which sessions and connections meet,
/// all that are alike come to share the same one.
pub fn share_profile(state: &mut SessionState, conn: &mut ConnState) {
    if Arc::ptr_eq(&state.profile, &conn.profile) || state.profile != conn.profile {
        return;
    }
    if Arc::as_ptr(&conn.profile) < Arc::as_ptr(&state.profile) {
        state.profile = Arc::clone(&conn.profile);
    } else {
        conn.profile = Arc::clone(&state.profile);
    }
}

/// Writes into `steps` what brings `conn` to the session's state; nothing if it is there already.
///
/// `own` says that the connection is the one that the session holds.
///
/// # Errors
/// [`Unfit`]: no statements lead from the one to the other.
pub fn difference(
    state: &SessionState,
    conn: &mut ConnState,
    needs: &Needs<'_>,
    own: bool,
    steps: &mut Vec<Step>,
) -> Result<(), Unfit> {
    steps.clear();
    if !own && !state.pins.may_change_server() {
        return Err(Unfit::Pinned);
    }
    if !own && needs.ends_itself && begins_transaction(state, conn) {
        return Err(Unfit::Autocommit);
    }
    let is_changed = !conn.dirt.is_empty() || conn.unreported == Unreported::Something;
    if !own && conn.is_galera {
        // However long the way is: a reset would be no shorter one.
        if conn.is_spoilt() || is_changed {
            return Err(Unfit::Reset);
        }
    } else if !own && (is_changed || render::is_far(&conn.profile, &state.profile)) {
        let mut after = conn.clone();
        after.was_reset();
        steps.push(Step::ResetConnection);
        return rest(state, &mut after, needs, own, steps);
    }
    rest(state, conn, needs, own, steps)
}

/// Whether any statement begins a transaction in the session there, though nobody has said so.
fn begins_transaction(state: &SessionState, conn: &ConnState) -> bool {
    conn.begins_uncommitted && state.autocommit && state.profile.variable("autocommit").is_none()
}

/// The server has answered [`Step::Track`], with that status.
pub const fn tracked(conn: &mut ConnState, status: StatusFlags) {
    if conn.trusts_status {
        conn.begins_uncommitted = !status.contains(StatusFlags::AUTOCOMMIT);
    }
}

fn rest(
    state: &SessionState,
    conn: &mut ConnState,
    needs: &Needs<'_>,
    own: bool,
    steps: &mut Vec<Step>,
) -> Result<(), Unfit> {
    if conn.track_again {
        steps.push(Step::Track);
    }
    if !own {
        track::given(conn);
    }
    // Before any other, which would be told in its place. Who holds it hears of it by a statement of its own.
    if !own && conn.unreported == Unreported::Raised {
        steps.push(Step::Report);
    }
    if !Arc::ptr_eq(&conn.profile, &state.profile) || conn.wants_schema() {
        let before = steps.len();
        render::profile(conn, &conn.profile, &state.profile, steps)?;
        if steps.len() == before {
            // Alike in content: alike by pointer from now on.
            conn.profile = Arc::clone(&state.profile);
        }
    }
    if let Some((id, statement)) =
        needs.statement.and_then(|id| Some((id, state.statements.get(&id)?)))
    {
        render::statement(state, conn, (id, statement), steps)?;
    }
    if let Some(causal) = &needs.causal {
        // Schemas and tables may be what the session has just made.
        let asks = |step: &Step| matches!(step, Step::InitDb { .. } | Step::Prepare { .. });
        let at = steps.iter().position(asks).unwrap_or(steps.len());
        steps.insert(at, render::causal(causal, conn.flavor).ok_or(Unfit::Causal)?);
    }
    match (needs.last_insert_id, state.last_insert_id) {
        (true, LastInsertId::Known(id)) if conn.last_insert_id != Some(id) => {
            steps.push(Step::SetLastInsertId(id));
        }
        (true, LastInsertId::Doubtful { .. } | LastInsertId::Failed { .. }) => {
            steps.push(Step::CaptureLastInsertId)
        }
        _ => {}
    }
    if needs.no_diagnostics && conn.diagnostics {
        steps.push(Step::ClearDiagnostics);
    }
    if let (false, Some(text)) = (own, &state.next_transaction) {
        steps.push(Step::SetTransaction(text.clone()));
    }
    counts(state, conn, needs, steps)
}

/// What FOUND_ROWS() and ROW_COUNT() say can't be set: it is there, or not.
fn counts(
    state: &SessionState,
    conn: &ConnState,
    needs: &Needs<'_>,
    steps: &[Step],
) -> Result<(), Unfit> {
    // Of what comes before, only preparations leave them.
    let stay =
        || steps.iter().all(|step| matches!(step, Step::CloseStatement(_) | Step::Prepare { .. }));
    let found = track::knows_found_rows(state, conn);
    let changed = state.row_count.is_some() && conn.row_count == state.row_count;
    let is_missed =
        needs.found_rows && !(found && stay()) || needs.row_count && !(changed && stay());
    if is_missed { Err(Unfit::Counts) } else { Ok(()) }
}

/// A server has answered [`Step::CausalWait`], whatever it said: with the client's command it tells of the value that it
/// put back behind that.
pub fn waited(conn: &mut ConnState, text: &[u8]) {
    let is_known = matches!(conn.unreported, Unreported::Raised | Unreported::Something);
    if text.starts_with(b"SET STATEMENT") && !is_known {
        conn.unreported = Unreported::Passing;
    }
}

/// Records that a step was carried out; [`Step::Prepare`] is told by [`ConnState::prepared`].
pub fn applied(conn: &mut ConnState, step: &Step) {
    if !matches!(step, Step::CloseStatement(_) | Step::Prepare { .. }) {
        (conn.found_rows, conn.row_count) = (None, None);
        conn.found_rows_changed = true;
    }
    match step {
        Step::CaptureLastInsertId
        | Step::CausalWait { .. }
        | Step::KeepWarnings
        | Step::Prepare { .. } => {}
        Step::ClearDiagnostics => conn.diagnostics = false,
        Step::CloseStatement(id) => conn.statements.retain(|statement| statement.id != *id),
        Step::InitDb { becomes, .. } => {
            conn.profile = Arc::clone(becomes);
            (conn.schema_unknown, conn.collation_lost) = (false, false);
        }
        Step::Report => conn.unreported = Unreported::Nothing,
        Step::ResetConnection => conn.was_reset(),
        Step::Set { becomes, .. } => conn.profile = Arc::clone(becomes),
        Step::SetLastInsertId(id) => conn.last_insert_id = Some(*id),
        Step::SetTransaction(_) => conn.dirt.insert(PinCause::NextTransaction),
        Step::Track => (conn.tracks, conn.track_again) = (true, false),
    }
}

/// Records that a step failed: the connection must be washed before anybody uses it.
pub fn failed(conn: &mut ConnState, step: &Step) {
    conn.diagnostics = true;
    match step {
        Step::InitDb { .. } => conn.schema_unknown = true,
        // What a server does not prepare changes nothing there.
        Step::Prepare { .. } => {}
        // It was answered, by more than was hoped for: that is washed off.
        Step::Report if conn.unreported == Unreported::Something => {}
        Step::CaptureLastInsertId
        | Step::CausalWait { .. }
        | Step::ClearDiagnostics
        | Step::CloseStatement(_)
        | Step::KeepWarnings
        | Step::Report
        | Step::ResetConnection
        | Step::Set { .. }
        | Step::SetLastInsertId(_)
        | Step::SetTransaction(_)
        | Step::Track => conn.dirt.insert(PinCause::SessionUnknown),
    }
}

/// How a prepared statement of the session is executed on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExecuteAs {
    /// The server's id.
    pub id: u32,
    /// The client sent no types this time, and the connection does not have this session's: they must be
    /// written into the packet ([`crate::state::Statement::types`], new-params-bound set).
    pub add_types: bool,
}

/// What a command does with a prepared statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use<'a> {
    /// It executes it.
    Execute {
        /// The types that the client's packet carries (empty if it has none).
        types: &'a [u8],
        /// With a cursor.
        cursor: bool,
    },
    /// It sends data for a later execution.
    LongData,
    /// Anything else: the packet names the statement, and no types.
    Other,
}

/// How a command on the session's statement `id` is sent on `conn`; `None` if it is not prepared there.
///
/// Records types, and reserves the statement for what is not finished with the command.
pub fn execute_as(
    state: &mut SessionState,
    conn: &mut ConnState,
    id: u32,
    what: Use<'_>,
) -> Option<ExecuteAs> {
    let statement = state.statements.get_mut(&id)?;
    let bare = match render::without_schema(&state.profile, statement) {
        Some(bare) if conn.statement(id, &statement.text, &statement.under).is_none() => Some(bare),
        _ => None,
    };
    let under = bare.as_ref().unwrap_or(&statement.under);
    let there = conn.touch(id, &statement.text, under)?;
    // What is equal becomes one, so that it is found by its address the next time.
    if !Arc::ptr_eq(&there.text, &statement.text) {
        there.text = Arc::clone(&statement.text);
    }
    if !Arc::ptr_eq(&there.under, under) {
        there.under = Arc::clone(under);
    }
    let reserved = match what {
        Use::Execute { cursor, .. } => cursor.then_some(id),
        Use::LongData => Some(id),
        Use::Other => there.reserved,
    };
    let mut as_there = ExecuteAs { id: there.id, add_types: false };
    there.reserved = reserved;
    if let Use::Execute { types: sent, .. } = what {
        if !sent.is_empty() && *statement.types != *sent {
            statement.types = sent.into();
        }
        as_there.add_types = sent.is_empty() && there.types != statement.types;
        if there.types != statement.types {
            there.types.clone_from(&statement.types);
        }
    }
    conn.reserves |= reserved.is_some();
    Some(as_there)
}

/// Forgets what the session's statement `id`, which has something unfinished there, is on `conn`; gives the
/// server's id, which is to be closed. It may have been prepared anew without a schema that was dropped.
#[must_use]
pub fn forget(state: &SessionState, conn: &mut ConnState, id: u32) -> Option<u32> {
    let statement = state.statements.get(&id)?;
    conn.forget(id, &statement.text, &statement.under).or_else(|| {
        let bare = render::without_schema(&state.profile, statement)?;
        conn.forget(id, &statement.text, &bare)
    })
}
