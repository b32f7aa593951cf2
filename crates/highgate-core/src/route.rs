//! Where a command goes, and why.
//!
//! [`route`] is what production and `explain` both run. A session that is bound to its connection stays
//! there. Otherwise rules choose first, then the account's backend, then the listener's; within a
//! backend with roles, what is proved to read goes to a replica (where the listener splits) and
//! everything else to the primary: doubt is a write. It reads no clock, no lock and no counter.

mod outcome;
mod own;
mod refused;
#[cfg(test)]
mod tests;

use highgate_config::{BackendName, Listener, RuleRole, Topology, User};
use highgate_mysql::sql::{self, Effects, Flavor, KillScope, KillTarget, StatementKind};

pub use outcome::{Actions, Reason, Role, Route, Target, To};
pub use own::{is_question, own_answer};
pub use refused::{NamedBy, RouteRefused};

use crate::{
    answer::OwnAnswer,
    pins::PinCause,
    rules::RuleOutcome,
    snapshot::Placement,
    state::{Open, SessionState},
    track::{CommandFacts, CommandKind},
};

/// What is in force for a session.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// The listener it came by.
    pub listener: &'a Listener,
    /// Its account, where the configuration knows it.
    pub user: Option<&'a User>,
    /// The backends.
    pub placement: &'a Placement,
    /// What the rules say.
    pub rules: &'a RuleOutcome,
    /// Where the client's hint sends it.
    pub hint: Option<RouteHint<'a>>,
    /// The backend of the connection it holds.
    pub holds: Option<&'a BackendName>,
    /// The id the client knows itself by.
    pub session_id: u32,
    /// The node takes no new work.
    pub draining: bool,
}

/// A hint in a comment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RouteHint<'a> {
    /// To the primary.
    Primary,
    /// To a replica.
    Replica,
    /// To the server of that name.
    Server(&'a str),
}

/// Decides where a command goes.
///
/// Call [`crate::track::before`] first: a cause that ends with this command must not bind it.
pub fn route<'a>(state: &SessionState, facts: &CommandFacts<'_>, view: &View<'a>) -> Route<'a> {
    let actions =
        Actions { timeout: view.rules.timeout, multiplex: view.rules.multiplex, causal: false };
    if let Some((to, reason)) = without_server(state, facts, view) {
        return Route { to, reason, actions };
    }
    if let (Some(backend), Some(reason)) = (view.holds, bound(state)) {
        let to = To::Server(Target { backend, role: Role::Same, server: None });
        return Route { to, reason, actions };
    }
    if let Some(refused) = leftovers_gone(state, facts, view) {
        return Route { to: To::Refuse(refused), reason: Reason::Known, actions };
    }
    let (backend, by) = destination(view);
    let Some(group) = view.placement.groups.get(backend) else {
        let refused = RouteRefused::UnknownBackend { backend: backend.clone(), by };
        return Route { to: To::Refuse(refused), reason: Reason::Unsplit, actions };
    };
    let (mut role, server, reason) = role(state, facts, view, group.backend.topology);
    if matches!(role, Role::Any | Role::Replica)
        && server.is_none()
        && group.leaves_all_to_primary()
        && (role == Role::Any || reads_no_table(facts))
    {
        role = Role::Primary;
    }
    // The schema may be one that the session has just made.
    let replicates = group.backend.topology != Topology::Static;
    let any = role == Role::Any && replicates && chooses_schema(facts);
    let looks = role == Role::Replica || any;
    let follows = looks && view.listener.causal_reads;
    let causal = match group.backend.topology {
        // A member waits for all that its cluster has committed: no position is needed.
        Topology::Galera => follows && state.wrote,
        Topology::MariadbReplication | Topology::Static => {
            if follows && state.wrote && state.last_write.is_none() {
                // Nobody said where it wrote: no replica can tell whether it is that far.
                role = Role::Primary;
            }
            follows && state.last_write.is_some()
        }
    };
    let to = To::Server(Target { backend, role, server });
    Route { to, reason, actions: Actions { causal, ..actions } }
}

/// The role of a command that was routed for one backend and goes to another: of what is known of it only that it
/// reads is of use there, where the listener still splits.
#[must_use]
pub const fn role_at(role: Role, topology: Topology, may_split: bool) -> Role {
    match (topology, role) {
        (Topology::Static, _) => Role::Any,
        (_, Role::Replica) if may_split => Role::Replica,
        _ => Role::Primary,
    }
}

/// Whether it asks for nothing that is kept in tables, such as drivers do as they connect and pools before each use.
fn reads_no_table(facts: &CommandFacts<'_>) -> bool {
    facts.text.is_some_and(|text| !sql::reads_from_table(text, facts.mode))
}

/// COM_INIT_DB, or USE.
#[must_use]
pub fn chooses_schema(facts: &CommandFacts<'_>) -> bool {
    facts.command == CommandKind::InitDb
        || (facts.command == CommandKind::Query && facts.shape.kind == StatementKind::Use)
}

/// What needs no server.
fn without_server<'a>(
    state: &SessionState,
    facts: &CommandFacts<'_>,
    view: &View<'a>,
) -> Option<(To<'a>, Reason)> {
    match facts.command {
        CommandKind::Quit => return Some((To::End, Reason::Known)),
        CommandKind::Ping if view.draining => return refuse(RouteRefused::Draining),
        // Whether one is open still, the server knows better: a packet of several may have failed
        // anywhere.
        // So with what it left for who asks for counts.
        CommandKind::Ping
            if view.holds.is_none()
                || state.transaction.open != Open::Yes && !state.asks_counts =>
        {
            return known(OwnAnswer::Ok);
        }
        CommandKind::Statistics => return known(OwnAnswer::Statistics),
        CommandKind::StmtClose => return known(OwnAnswer::Silence),
        CommandKind::ProcessInfo => return known(OwnAnswer::Sessions { full: false, asked: None }),
        CommandKind::ChangeUser => return Some((To::Login, Reason::Known)),
        CommandKind::ProcessKill(id) => {
            let to = To::Kill { scope: KillScope::Connection, id: id.into() };
            return Some((to, Reason::Known));
        }
        CommandKind::ResetConnection if view.holds.is_none() => return known(OwnAnswer::Ok),
        // A connection that the session needs on is told; the next one has it from its login.
        CommandKind::SetOption { .. }
            if view.holds.is_none() || state.pins.is_empty() && !state.in_transaction() =>
        {
            return known(OwnAnswer::Eof);
        }
        CommandKind::Other(code) => return refuse(RouteRefused::UnknownCommand { code }),
        _ => {}
    }
    let unknown = facts.command.names_statement()
        && facts.statement.is_none_or(|id| !state.statements.contains_key(&id));
    if unknown {
        return refuse(RouteRefused::UnknownStatement { id: facts.statement.unwrap_or_default() });
    }
    let spoiled = |id| state.statements.get(&id).is_some_and(|statement| statement.spoiled);
    if facts.command.runs()
        && facts.statement.is_some_and(spoiled)
        && by_rule(facts, view).is_none()
    {
        return refuse(RouteRefused::LongDataLost);
    }
    let unfinished = |id| state.statements.get(&id).is_some_and(|it| it.cursor || it.long_data);
    // After an error the server alone knows whether its transaction is open, which its answer tells.
    let is_told = !(state.transaction.unsure && state.in_transaction());
    if facts.command == CommandKind::StmtReset
        && is_told
        && !facts.statement.is_some_and(unfinished)
    {
        return known(OwnAnswer::Ok);
    }
    by_text(state, facts, view)
}

/// Highgate answers from what it knows.
const fn known<'a>(answer: OwnAnswer) -> Option<(To<'a>, Reason)> {
    Some((To::Answer(answer), Reason::Known))
}

/// Highgate refuses, for what it knows.
const fn refuse<'a>(refused: RouteRefused) -> Option<(To<'a>, Reason)> {
    Some((To::Refuse(refused), Reason::Known))
}

/// What a rule says to a statement.
fn by_rule<'a>(facts: &CommandFacts<'_>, view: &View<'a>) -> Option<(To<'a>, Reason)> {
    let rule = view.rules.last().unwrap_or_default();
    if let Some(text) = view.rules.error_msg.as_deref() {
        return Some((To::Say { ok: false, text }, Reason::Rule(rule)));
    }
    let text = view.rules.ok_msg.as_deref()?;
    let to = match facts.command {
        // They go on with what ran before the rule said so.
        CommandKind::StmtFetch | CommandKind::StmtReset => return None,
        // Their clients read descriptions, or events, in what comes: an OK is none.
        CommandKind::BinlogDump | CommandKind::FieldList | CommandKind::StmtPrepare => {
            let prepares = facts.command == CommandKind::StmtPrepare;
            To::Refuse(RouteRefused::NoPlainOk { rule, prepares })
        }
        _ => To::Say { ok: true, text },
    };
    Some((to, Reason::Rule(rule)))
}

/// What a rule, or Highgate itself, says to a statement.
fn by_text<'a>(
    state: &SessionState,
    facts: &CommandFacts<'_>,
    view: &View<'a>,
) -> Option<(To<'a>, Reason)> {
    if let Some(said) = by_rule(facts, view) {
        return Some(said);
    }
    // Quirk: behind a SELECT with common table expressions MariaDB 10.11 doesn't answer it at all.
    if facts.command == CommandKind::FieldList && view.holds.is_none() && state.schema().is_none() {
        return refuse(RouteRefused::NoSchema);
    }
    if facts.does(Effects::LOCAL_INFILE) && view.user.is_none_or(|user| !user.local_infile) {
        return refuse(RouteRefused::LocalInfile);
    }
    if facts.command.runs() && may_kill(facts) {
        match kill(facts, view.session_id) {
            Ok(None) => {}
            Ok(Some(to)) => return Some((to, Reason::Known)),
            Err(refused) => return refuse(refused),
        }
    }
    if view.hint.is_none()
        && let Some(answer) = own::sessions(facts)
    {
        return known(answer);
    }
    own_answer(state, facts, view.session_id).and_then(known)
}

/// A KILL means a session of Highgate, whose number a server would take for a connection of its own:
/// none is sent to one.
fn kill<'a>(facts: &CommandFacts<'_>, own: u32) -> Result<Option<To<'a>>, RouteRefused> {
    let text = facts.text.unwrap_or_default();
    if !facts.does(Effects::KILLS) {
        if runs_others(facts, text) && sql::hides_kill(text, facts.mode) {
            return Err(RouteRefused::KillForm);
        }
        let may_hide = is_unsure(facts) && sql::may_hide_kill(text, facts.mode);
        return if may_hide { Err(RouteRefused::KillUnread) } else { Ok(None) };
    }
    let scope = match facts.shape.kind {
        StatementKind::Kill { scope: scope @ (KillScope::Connection | KillScope::Query) }
            if !facts.does(Effects::MULTI) =>
        {
            scope
        }
        _ => return Err(RouteRefused::KillForm),
    };
    let id = match sql::kill_target(text, facts.mode) {
        KillTarget::Number(id) => id,
        KillTarget::Own => own.into(),
        KillTarget::Other => return Err(RouteRefused::KillForm),
    };
    Ok(Some(To::Kill { scope, id }))
}

/// Whether it is to be asked for a KILL at all.
fn may_kill(facts: &CommandFacts<'_>) -> bool {
    facts.does(Effects::KILLS | Effects::NAMED_PREPARED | Effects::MULTI | Effects::DOUBTFUL)
        || facts.shape.kind == StatementKind::Unknown
}

/// Whether a KILL may be among other statements within: in texts that are prepared or executed, which may
/// be put together of parts, and in blocks.
fn runs_others(facts: &CommandFacts<'_>, text: &[u8]) -> bool {
    let may_be_block = facts.does(Effects::MULTI) || facts.shape.kind == StatementKind::Unknown;
    facts.does(Effects::NAMED_PREPARED) || may_be_block && sql::names_kill(text)
}

/// Whether a server may read it otherwise: in doubt, and where a statement in it may say how the next are read.
fn is_unsure(facts: &CommandFacts<'_>) -> bool {
    let may_set = facts.does(Effects::MULTI) && facts.does(Effects::SESSION_STATE);
    may_set || facts.does(Effects::DOUBTFUL)
}

/// Whether the session must stay on its connection.
fn bound(state: &SessionState) -> Option<Reason> {
    if state.in_transaction() {
        return Some(Reason::InTransaction);
    }
    state.pins.iter().next().map(Reason::Pinned)
}

/// Whether a session that is bound to a reader by what its last command left there, or since its
/// connection is not shared, must leave it for this command, which may write or bind: it has to run where
/// writes can follow.
#[must_use]
pub fn outgrows_reader(state: &SessionState, facts: &CommandFacts<'_>) -> bool {
    let may_leave = |cause: PinCause| cause.is_leftover() || cause == PinCause::MultiplexOff;
    !state.pins.is_empty()
        && state.pins.iter().all(may_leave)
        && !state.in_transaction()
        && (!facts.reads_leftovers() || facts.command == CommandKind::StmtSendLongData)
        && classify(state, facts).0 == Role::Primary
}

/// Whether a session whose read-only transaction runs on a reader leaves it for this command, which
/// commits that transaction and begins one that may write.
#[must_use]
pub fn begins_elsewhere(state: &SessionState, facts: &CommandFacts<'_>) -> bool {
    ends_read_only(state, facts)
        && matches!(
            facts.shape.kind,
            StatementKind::Begin | StatementKind::StartTransaction { read_only: false }
        )
}

/// Whether a command that a reader refused, for it takes no writes, commits the read-only transaction
/// there before it runs, so that it may run elsewhere.
///
/// Quirk: MySQL refuses such a command within a read-only transaction, MariaDB does not.
#[must_use]
pub fn commits_elsewhere(state: &SessionState, facts: &CommandFacts<'_>, flavor: Flavor) -> bool {
    ends_read_only(state, facts)
        && flavor == Flavor::MariaDb
        && facts.does(Effects::IMPLICIT_COMMIT)
        // The kind is that of the first of several, which was refused.
        && (!facts.does(Effects::MULTI) || facts.shape.kind == StatementKind::Ddl)
}

/// A read-only transaction is all that binds the session, and nothing in doubt is about to run.
fn ends_read_only(state: &SessionState, facts: &CommandFacts<'_>) -> bool {
    let only_transaction = |cause: PinCause| {
        cause.is_leftover() || matches!(cause, PinCause::Savepoint | PinCause::Transaction)
    };
    state.transaction.open == Open::Yes
        && state.transaction.read_only
        && facts.command.runs()
        && !facts.does(Effects::DOUBTFUL)
        && state.pins.iter().all(only_transaction)
}

/// What the command before left on a connection that the session has no more.
fn leftovers_gone(
    state: &SessionState,
    facts: &CommandFacts<'_>,
    view: &View<'_>,
) -> Option<RouteRefused> {
    let (found_rows, row_count) = crate::track::asks_counts(state, facts);
    if view.holds.is_some() {
        None
    } else if found_rows {
        Some(RouteRefused::Leftover { function: "FOUND_ROWS()" })
    } else if row_count {
        Some(RouteRefused::Leftover { function: "ROW_COUNT()" })
    } else {
        None
    }
}

/// The backend, and what names it.
fn destination<'a>(view: &View<'a>) -> (&'a BackendName, NamedBy) {
    if let Some(backend) = &view.rules.backend {
        let by = match view.rules.matched.as_slice() {
            [only] => NamedBy::Rule(*only),
            matched => NamedBy::RuleOrEarlier(matched.last().copied().unwrap_or_default()),
        };
        return (backend, by);
    }
    match view.user.and_then(|user| user.backend.as_ref()) {
        Some(backend) => (backend, NamedBy::User),
        None => (&view.listener.backend, NamedBy::Listener),
    }
}

fn role<'a>(
    state: &SessionState,
    facts: &CommandFacts<'_>,
    view: &View<'a>,
    topology: Topology,
) -> (Role, Option<&'a str>, Reason) {
    if let Some(RouteHint::Server(name)) = view.hint {
        return (Role::Any, Some(name), Reason::Hint);
    }
    if let (Some(role), Some(rule)) = (view.rules.role, view.rules.last()) {
        let role = match role {
            RuleRole::Any => Role::Any,
            RuleRole::Primary => Role::Primary,
            RuleRole::Replica => Role::Replica,
        };
        return (role, None, Reason::Rule(rule));
    }
    if topology == Topology::Static {
        return (Role::Any, None, Reason::Static);
    }
    match view.hint {
        Some(RouteHint::Primary) => return (Role::Primary, None, Reason::Hint),
        // The analysis gives this hint only for a text that is proved to read.
        Some(RouteHint::Replica) if state.autocommit => return (Role::Replica, None, Reason::Hint),
        _ => {}
    }
    if !view.listener.read_write_split {
        return (Role::Primary, None, Reason::Unsplit);
    }
    if view.rules.multiplex == Some(false) {
        return (Role::Primary, None, Reason::Binds);
    }
    let (role, reason) = classify(state, facts);
    (role, None, reason)
}

fn classify(state: &SessionState, facts: &CommandFacts<'_>) -> (Role, Reason) {
    let shape = &facts.shape;
    match facts.command {
        CommandKind::InitDb if is_repeatable(facts.text) => {
            return (Role::Any, Reason::OnlySession);
        }
        CommandKind::InitDb => return (Role::Primary, Reason::Binds),
        CommandKind::FieldList => return (Role::Replica, Reason::Reads),
        CommandKind::Query
        | CommandKind::StmtExecute
        | CommandKind::StmtFetch
        | CommandKind::StmtPrepare
        | CommandKind::StmtReset
        | CommandKind::StmtSendLongData => {}
        _ => return (Role::Primary, Reason::Writes),
    }
    if !state.autocommit {
        let reason = runs_anywhere(state, facts);
        return reason.map_or((Role::Primary, Reason::AutocommitOff), |reason| (Role::Any, reason));
    }
    // What binds the session runs where writes can follow it.
    if facts.opens_cursor || facts.command == CommandKind::StmtSendLongData {
        return (Role::Primary, Reason::Binds);
    }
    if shape.kind == (StatementKind::StartTransaction { read_only: true })
        && !shape.effects.intersects(Effects::MULTI | Effects::DOUBTFUL)
    {
        return (Role::Replica, Reason::ReadOnlyTransaction);
    }
    if shape.is_read() && !shape.effects.intersects(TO_PRIMARY) {
        return (Role::Replica, Reason::Reads);
    }
    // A SET that may bind the session runs where writes can follow it.
    runs_anywhere(state, facts)
        .map_or((Role::Primary, Reason::Writes), |reason| (Role::Any, reason))
}

/// Why any server may run it, if it changes no data and begins no transaction.
fn runs_anywhere(state: &SessionState, facts: &CommandFacts<'_>) -> Option<Reason> {
    if facts.opens_cursor || facts.command == CommandKind::StmtSendLongData {
        return None;
    }
    let only_session = if nothing_is_open(state) {
        if ends_nothing(state, facts) {
            return Some(Reason::EndsNothing);
        }
        changes_only_session_outside_transactions(state, facts)
    } else {
        state.autocommit && changes_only_session(state, facts)
    };
    only_session.then_some(Reason::OnlySession)
}

/// Whether no transaction is open, and that is sure.
fn nothing_is_open(state: &SessionState) -> bool {
    !state.in_transaction() && !state.transaction.unsure
}

/// Whether it is a COMMIT or ROLLBACK where no transaction is open, and none begins with it: any server
/// says OK to it and does nothing.
#[must_use]
pub fn ends_nothing(state: &SessionState, facts: &CommandFacts<'_>) -> bool {
    let kind = facts.shape.kind;
    let chains = matches!(
        kind,
        StatementKind::Commit { chain: true, .. } | StatementKind::Rollback { chain: true, .. }
    );
    !chains && ends_none(state, facts)
}

/// Whether it is a COMMIT or ROLLBACK where no transaction is open: at most one begins.
fn ends_none(state: &SessionState, facts: &CommandFacts<'_>) -> bool {
    let is_plain = matches!(
        facts.shape.kind,
        StatementKind::Commit { release: false, .. }
            | StatementKind::Rollback { to_savepoint: false, release: false, .. }
    );
    is_plain
        && ENDS.union(Effects::BEGINS_TRANSACTION).contains(facts.shape.effects)
        && nothing_is_open(state)
        // It would end what is said of the next one.
        && state.next_transaction.is_none()
        // It says whether a COMMIT begins another transaction, or closes the connection.
        && state.profile.variable("completion_type").is_none()
}

const ENDS: Effects =
    Effects::ENDS_TRANSACTION.union(Effects::READ_ONLY_PROVED).union(Effects::VERSION_COMMENT);

/// Whether all that it asks of a transaction is to be rolled back.
#[must_use]
pub fn rolls_back(facts: &CommandFacts<'_>) -> bool {
    let is_rollback = StatementKind::Rollback { to_savepoint: false, chain: false, release: false };
    facts.command == CommandKind::ResetConnection
        || facts.command.runs()
            && facts.shape.kind == is_rollback
            && ENDS.contains(facts.shape.effects)
}

/// Whether a command, sent again although it ran on a connection that is lost, leaves the session as if
/// it had run once: no transaction was open, and all it does is to set what can be set again, also for
/// the next transaction, or to end a transaction that is not there, perhaps beginning one.
#[must_use]
pub fn leaves_nothing_behind(state: &SessionState, facts: &CommandFacts<'_>) -> bool {
    changes_only_session_outside_transactions(state, facts)
        || ends_none(state, facts)
        || nothing_is_open(state)
            && facts.shape.kind == StatementKind::Set
            && ONLY_SESSION.contains(facts.shape.effects)
            && crate::track::sets_next_transaction(facts)
}

/// Whether it is a SET or USE, and all that it does can be repeated on any connection.
fn changes_only_session(state: &SessionState, facts: &CommandFacts<'_>) -> bool {
    ONLY_SESSION.contains(facts.shape.effects) && can_be_set_again(state, facts)
}

/// Whether it is such a SET or USE where nothing is open that setting `autocommit` might commit.
fn changes_only_session_outside_transactions(
    state: &SessionState,
    facts: &CommandFacts<'_>,
) -> bool {
    ONLY_SESSION.union(Effects::IMPLICIT_COMMIT).contains(facts.shape.effects)
        && can_be_set_again(state, facts)
}

fn can_be_set_again(state: &SessionState, facts: &CommandFacts<'_>) -> bool {
    match facts.shape.kind {
        StatementKind::Set => crate::track::is_replayable_set(state, facts),
        // Of a prepared one the schema is not known before it ran: it may bind.
        kind => {
            kind == StatementKind::Use
                && facts.command == CommandKind::Query
                && is_repeatable(facts.schema_used.or(facts.text))
        }
    }
}

/// Whether a schema of that name can be chosen again on another connection: what its bytes mean
/// depends on the client's charset, unless they are ASCII. Else its connection is kept.
fn is_repeatable(name: Option<&[u8]>) -> bool {
    name.is_some_and(<[u8]>::is_ascii)
}

/// What goes to the primary even if it only reads.
const TO_PRIMARY: Effects = Effects::WRITES
    .union(Effects::LOCKING_READ)
    .union(Effects::SELECT_INTO)
    .union(Effects::SEQUENCE)
    .union(Effects::SERVER_SPECIFIC)
    .union(Effects::SIDE_EFFECT_FUNCTION)
    .union(Effects::WRITES_LAST_INSERT_ID)
    .union(Effects::NAMED_LOCK)
    .union(Effects::DOUBTFUL)
    .union(Effects::ADMINISTRATION);

/// What a SET or USE may do and still run anywhere.
const ONLY_SESSION: Effects = Effects::SESSION_STATE
    .union(Effects::READ_ONLY_PROVED)
    .union(Effects::USER_VARIABLE_READ)
    .union(Effects::USER_VARIABLE_WRITE)
    .union(Effects::SYSTEM_VARIABLE_READ)
    .union(Effects::VERSION_COMMENT);
