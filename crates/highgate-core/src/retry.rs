//! Whether a command may be sent again: one pure function.
//!
//! Yes only if no byte of its answer reached the client, and it is certain that it was not carried
//! out, or that carrying it out twice changes nothing. "The pooled connection was stale" proves nothing:
//! what counts is whether the command's last byte was handed to the kernel, since half a command
//! can't run. A server's ERR proves that it did not run only if it is the first packet of the answer, outside a
//! transaction, and its code can't follow a partial execution.

use std::fmt;

use highgate_mysql::sql::{Effects, Flavor, StatementKind};

use crate::track::{CommandFacts, CommandKind};

#[cfg(test)]
mod tests;

/// How far the exchange came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// What was handed to the kernel of the command.
    pub delivery: Delivery,
    /// Bytes of the answer that were passed to the client.
    pub answered: bool,
    /// What the server sent before it failed.
    pub server: ServerSaid,
}

/// How much of a command was handed to the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// All of it.
    Complete,
    /// Less than all of it: it cannot have run.
    Partial,
}

/// What the server answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerSaid {
    /// An ERR packet, the first of its answer.
    Error {
        /// Its code.
        code: u16,
        /// Its SQLSTATE.
        sqlstate: [u8; 5],
        /// What its text says beyond the code.
        word: Word,
    },
    /// Nothing: the connection ended, or its time was up.
    Nothing,
    /// Some of an answer.
    Something,
}

/// What of the session matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionFacts {
    /// A transaction was open, or may have been.
    pub in_transaction: bool,
    /// The statement before failed: the server may have rolled the transaction back, and what
    /// follows is then committed by itself.
    pub unsure: bool,
    /// Autocommit is on.
    pub autocommit: bool,
    /// The session may use another connection (its pins allow it, and its client's login does).
    pub may_move: bool,
    /// Its connection was taken in order to write, on the primary of a watched topology.
    pub writes_here: bool,
    /// All that the command does is to set what can be set again on any connection, or to end a
    /// transaction that is not there ([`crate::route::leaves_nothing_behind`]).
    pub only_sets: bool,
    /// Whose dialect the server speaks.
    pub flavor: Flavor,
}

/// What the text of an ERR says beyond its code ([`word`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    /// A Galera member lost its group while it committed: others may have the write set or not.
    LeftGroup,
    /// A Galera member that is not synced: it refused the statement before it ran.
    NotReady,
    /// Nothing more.
    Nothing,
    /// The server takes no writes.
    ReadOnly,
}

/// Reads an ERR's text where its code stands for several things: 1290 for any option that prevents a
/// statement (`--read-only`, `--secure-file-priv` …), 1180 for any failure of a commit, 1047 for any command
/// that the server does not know.
#[must_use]
pub fn word(code: u16, text: &[u8]) -> Word {
    let named = |name: &[u8]| text.windows(name.len()).any(|part| part == name);
    match code {
        ER_UNKNOWN_COM_ERROR if named(b"WSREP") => Word::NotReady,
        1180 if named(b"Not connected to Primary Component") => Word::LeftGroup,
        1290 if named(b"read-only") || named(b"read_only") => Word::ReadOnly,
        1836 => Word::ReadOnly,
        _ => Word::Nothing,
    }
}

/// Why a command may be sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Again {
    /// Its last byte was never handed to the kernel.
    NotDelivered,
    /// It changes no data, and what it began or set went with its connection.
    Nothing,
    /// It only reads, and nothing of the session is in its answer.
    Read,
    /// The server said that it does not carry it out, with this code.
    Refused(u16),
}

/// Why a command may not be sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum No {
    /// The client has part of the answer.
    Answered,
    /// The server's answer stands.
    Final,
    /// It was in a transaction, which is lost; the command itself did not run.
    InTransaction,
    /// The session is bound to the connection that was lost; the command itself did not run.
    Pinned,
    /// The primary that its transaction was begun on takes no writes any more, with this code; the
    /// command itself did not run, and the transaction can't be committed.
    TransactionRefused(u16),
}

/// Whether a command may be sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Retry {
    /// Yes.
    Again(Again),
    /// No.
    No(No),
    /// No: it may have been carried out, and the client is told so.
    UnknownOutcome,
}

impl fmt::Display for Retry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Again(Again::NotDelivered) => "again: its last byte had not left",
            Self::Again(Again::Nothing) => "again: it changes no data, only its connection's state",
            Self::Again(Again::Read) => {
                "again: a read outside a transaction, independent of the session"
            }
            Self::Again(Again::Refused(code)) => {
                return write!(f, "again: error {code} proves that it was not carried out");
            }
            Self::No(No::Answered) => "not sent again: the client has part of the answer",
            Self::No(No::Final) => "not sent again: the server's answer stands",
            Self::No(No::InTransaction) => "not sent again: its transaction is lost",
            Self::No(No::TransactionRefused(code)) => {
                return write!(f, "not sent again: error {code} ends its transaction");
            }
            Self::No(No::Pinned) => "not sent again: the session was bound to the lost connection",
            Self::UnknownOutcome => "not sent again: whether it was carried out is not known",
        })
    }
}

/// Whether a command may be sent again.
pub fn may_retry(progress: &Progress, facts: &CommandFacts<'_>, session: &SessionFacts) -> Retry {
    if progress.answered {
        return match progress.server {
            ServerSaid::Error { .. } => Retry::No(No::Final),
            ServerSaid::Nothing | ServerSaid::Something => Retry::No(No::Answered),
        };
    }
    if let ServerSaid::Error { code, sqlstate, word } = progress.server {
        return after_error((code, sqlstate, word), facts, session);
    }
    let not_run = progress.delivery == Delivery::Partial && progress.server == ServerSaid::Nothing;
    if not_run {
        return if session.in_transaction {
            Retry::No(No::InTransaction)
        } else if !session.may_move {
            Retry::No(No::Pinned)
        } else {
            Retry::Again(Again::NotDelivered)
        };
    }
    if session.in_transaction {
        let may_be_over = session.unsure
            && session.autocommit
            && !is_harmless(facts)
            && !matches!(facts.shape.kind, StatementKind::Rollback { .. });
        return if may_be_over { Retry::UnknownOutcome } else { in_transaction(facts) };
    }
    match repeats(facts, session) {
        None => Retry::UnknownOutcome,
        Some(again) if session.may_move => Retry::Again(again),
        Some(_) => Retry::No(No::Pinned),
    }
}

/// Why it may run twice outside a transaction, if it may.
fn repeats(facts: &CommandFacts<'_>, session: &SessionFacts) -> Option<Again> {
    if is_harmless(facts) {
        Some(Again::Read)
    } else if only_begins(facts) || session.only_sets && facts.command.runs() {
        Some(Again::Nothing)
    } else {
        None
    }
}

/// Whether it begins a transaction, and does nothing else.
fn only_begins(facts: &CommandFacts<'_>) -> bool {
    const BEGINS: Effects = Effects::BEGINS_TRANSACTION
        .union(Effects::IMPLICIT_COMMIT)
        .union(Effects::READ_ONLY_PROVED)
        .union(Effects::VERSION_COMMENT);
    let kind = facts.shape.kind;
    facts.command.runs()
        && matches!(kind, StatementKind::Begin | StatementKind::StartTransaction { .. })
        && BEGINS.contains(facts.shape.effects)
}

/// Whether what a replica refused, for it takes no writes, may be asked of the primary: by its text it reads,
/// or nobody would have sent it there.
#[must_use]
pub fn may_read_elsewhere(
    progress: &Progress,
    facts: &CommandFacts<'_>,
    session: &SessionFacts,
) -> bool {
    let retry = may_retry(progress, facts, session);
    facts.shape.is_read() && matches!(retry, Retry::Again(_))
}

/// In a transaction a lost connection means a rollback, unless the command ended the transaction.
///
/// Then nobody knows whether it was committed, neither does anybody if it may commit by itself.
fn in_transaction(facts: &CommandFacts<'_>) -> Retry {
    let effects = facts.shape.effects;
    let commits = facts.command.runs()
        && (effects.intersects(
            Effects::ENDS_TRANSACTION
                | Effects::IMPLICIT_COMMIT
                | Effects::BEGINS_TRANSACTION
                | Effects::CAN_CHANGE_SESSION
                | Effects::SESSION_STATE
                | Effects::MULTI
                | Effects::DOUBTFUL
                | Effects::ADMINISTRATION,
        ) || matches!(facts.shape.kind, StatementKind::Unknown | StatementKind::Xa));
    let rolls_back = matches!(facts.shape.kind, StatementKind::Rollback { .. })
        && !effects.contains(Effects::MULTI);
    if commits && !rolls_back { Retry::UnknownOutcome } else { Retry::No(No::InTransaction) }
}

/// Whether it may run twice: it only reads, or is a request for information.
fn is_harmless(facts: &CommandFacts<'_>) -> bool {
    match facts.command {
        CommandKind::FieldList
        | CommandKind::InitDb
        | CommandKind::Ping
        | CommandKind::ProcessInfo
        | CommandKind::Statistics
        | CommandKind::StmtPrepare => true,
        CommandKind::Query | CommandKind::StmtExecute => {
            let effects = facts.shape.effects;
            facts.shape.is_read() && !effects.intersects(DEPENDS_ON_SESSION)
        }
        CommandKind::Administer
        | CommandKind::BinlogDump
        | CommandKind::ChangeUser
        | CommandKind::Other(_)
        | CommandKind::ProcessKill(_)
        | CommandKind::Quit
        | CommandKind::RegisterReplica
        | CommandKind::ResetConnection
        | CommandKind::SetOption { .. }
        | CommandKind::StmtBulkExecute
        | CommandKind::StmtClose
        | CommandKind::StmtFetch
        | CommandKind::StmtReset
        | CommandKind::StmtSendLongData => false,
    }
}

/// What makes a read's answer or effect depend on what its session did before.
const DEPENDS_ON_SESSION: Effects = Effects::DOUBTFUL
    .union(Effects::WRITES)
    .union(Effects::LOCKING_READ)
    .union(Effects::SELECT_INTO)
    .union(Effects::USER_VARIABLE_WRITE)
    .union(Effects::SIDE_EFFECT_FUNCTION)
    .union(Effects::SEQUENCE)
    .union(Effects::CAN_CHANGE_SESSION)
    .union(Effects::SESSION_STATE)
    .union(Effects::READS_DIAGNOSTICS)
    .union(Effects::READS_FOUND_ROWS)
    .union(Effects::READS_ROW_COUNT)
    .union(Effects::CONNECTION_ID)
    .union(Effects::NAMED_LOCK)
    .union(Effects::WRITES_LAST_INSERT_ID)
    .union(Effects::BEGINS_TRANSACTION)
    .union(Effects::ENDS_TRANSACTION);

/// Whether an error may be the statement's own making, by SIGNAL: then it says nothing of its server.
/// (That a trigger or a view made it can't be told.)
#[must_use]
pub fn may_signal(facts: &CommandFacts<'_>) -> bool {
    signals(facts) || runs_several(facts) || facts.does(Effects::SIDE_EFFECT_FUNCTION)
}

/// Whether some of it may have been carried out, and stay so, before another part failed.
const fn runs_several(facts: &CommandFacts<'_>) -> bool {
    let several = Effects::MULTI.union(Effects::CAN_CHANGE_SESSION).union(Effects::DOUBTFUL);
    facts.shape.effects.intersects(several)
}

/// Whether it is a SIGNAL, which raises whatever error it likes.
fn signals(facts: &CommandFacts<'_>) -> bool {
    facts.shape.kind == StatementKind::Signal
}

fn after_error(
    (code, sqlstate, word): (u16, [u8; 5], Word),
    facts: &CommandFacts<'_>,
    session: &SessionFacts,
) -> Retry {
    // It is the first word of the answer: of several statements it refuses the first, and none ran.
    let mut first = *facts;
    first.shape.effects.remove(Effects::MULTI);
    let proof = proof(code, sqlstate, session.flavor);
    // The same code for another reason: sent elsewhere it would fail elsewhere.
    let is_other_reason = match code {
        ER_OPTION_PREVENTS_STATEMENT => word != Word::ReadOnly,
        ER_UNKNOWN_COM_ERROR => word != Word::NotReady,
        _ => false,
    };
    let proves = !is_other_reason
        && match proof {
            Proof::Always => !signals(facts),
            Proof::Never => false,
            // A routine may have done its work before the error came.
            Proof::Single => !signals(&first) && !runs_several(&first),
            Proof::SingleStatement => !may_signal(&first),
        };
    let refuses_writes = matches!(word, Word::NotReady | Word::ReadOnly);
    if word == Word::LeftGroup && !signals(facts) {
        Retry::UnknownOutcome
    } else if (!session.autocommit || session.in_transaction)
        && session.writes_here
        && proves
        && refuses_writes
    {
        Retry::No(No::TransactionRefused(code))
    } else if !session.autocommit || session.in_transaction || !session.may_move {
        Retry::No(No::Final)
    } else if proves {
        Retry::Again(Again::Refused(code))
    } else if code == ER_SERVER_SHUTDOWN
        && let Some(again) = repeats(facts, session)
    {
        Retry::Again(again)
    } else {
        Retry::No(No::Final)
    }
}

const ER_OPTION_PREVENTS_STATEMENT: u16 = 1290;
const ER_SERVER_SHUTDOWN: u16 = 1053;
/// A command that the server does not know, or a Galera member that is not ready ([`proof`]).
const ER_UNKNOWN_COM_ERROR: u16 = 1047;

/// What an error code proves.
enum Proof {
    /// The command was refused before any of it ran; but for a SIGNAL, which can say so itself.
    Always,
    /// Nothing.
    Never,
    /// It was not carried out, if no routine hides others in it; what its functions did is undone with it.
    Single,
    /// It was not carried out, if it calls no routines.
    SingleStatement,
}

/// The codes that prove something, per server.
///
/// * 1047: a Galera node that is not synced refuses every statement before it runs ("WSREP has not yet prepared
///   node for application use", SQLSTATE 08S01), those within a procedure too: what came before them there
///   is done. With another text it is "unknown command".
/// * 1053: the server shuts down. MySQL and MariaDB also raise it from within a running statement, which is
///   then rolled back as any failed statement is; but tables without transactions keep half of it, so it
///   proves nothing about a write. (A read is repeated by its own right, see `may_retry`.)
/// * 1290: "running with the --read-only option", or another option (`--secure-file-priv` …): only the
///   read-only texts are meant ([`word`]).
/// * 4031: MySQL closed the connection for idleness before it read the command.
/// * 1836: MySQL "running in read-only mode" (innodb_read_only, read_only for DDL and GRANT).
/// * 3100-range and 1792 ("cannot execute statement in a READ ONLY transaction") are answers about the
///   session's own transaction: they are final.
/// * 1205 and 1213 are the client's to repeat: drivers know them.
fn proof(code: u16, sqlstate: [u8; 5], flavor: Flavor) -> Proof {
    match (code, flavor) {
        (ER_UNKNOWN_COM_ERROR, Flavor::MariaDb | Flavor::MySql) if sqlstate == *b"08S01" => {
            Proof::Single
        }
        (1290, Flavor::MariaDb | Flavor::MySql | Flavor::Unknown) => Proof::SingleStatement,
        (1836, Flavor::MariaDb | Flavor::MySql) => Proof::SingleStatement,
        (4031, Flavor::MySql) => Proof::Always,
        _ => Proof::Never,
    }
}
