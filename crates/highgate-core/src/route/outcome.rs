//! What a route is made of: where to, how, and why.

use std::{fmt, time::Duration};

use highgate_config::BackendName;
use highgate_mysql::sql::KillScope;

use crate::{answer::OwnAnswer, pins::PinCause};

use super::RouteRefused;

/// Where a command goes, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct Route<'a> {
    /// Where.
    pub to: To<'a>,
    /// Why.
    pub reason: Reason,
    /// What else is to be done.
    pub actions: Actions,
}

/// Where a command goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum To<'a> {
    /// Nowhere: Highgate answers.
    Answer(OwnAnswer),
    /// The session ends.
    End,
    /// Highgate ends another session, or what runs there.
    Kill {
        /// What is to end.
        scope: KillScope,
        /// The session's id.
        id: u64,
    },
    /// A new login on this session (COM_CHANGE_USER).
    Login,
    /// It can't be sent.
    Refuse(RouteRefused),
    /// A rule answers.
    Say {
        /// OK, or an error (1148).
        ok: bool,
        /// The text.
        text: &'a str,
    },
    /// To a server.
    Server(Target<'a>),
}

/// Which servers may take a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target<'a> {
    /// The backend.
    pub backend: &'a BackendName,
    /// Which of its servers.
    pub role: Role,
    /// Only this one.
    pub server: Option<&'a str>,
}

/// Which servers of a backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Any.
    Any,
    /// The primary.
    Primary,
    /// A replica, or what else reads may use.
    Replica,
    /// The server of the connection that the session holds.
    Same,
}

/// What else is to be done for a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Actions {
    /// The time it may take.
    pub timeout: Option<Duration>,
    /// Whether its connection may be shared afterwards, where a rule says so.
    pub multiplex: Option<bool>,
    /// It must see the session's last write.
    pub causal: bool,
}

/// Why a command goes where it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// Autocommit is off: a write may follow in the same transaction.
    AutocommitOff,
    /// It leaves a cursor, or data for a later execution, on its connection.
    Binds,
    /// It ends a transaction, and none is open.
    EndsNothing,
    /// Highgate knows the answer.
    Known,
    /// The client's comment asks for it.
    Hint,
    /// A transaction is open.
    InTransaction,
    /// It reads nothing and changes only the session.
    OnlySession,
    /// The session is bound to its connection.
    Pinned(PinCause),
    /// It begins a transaction that only reads.
    ReadOnlyTransaction,
    /// It is proved to read.
    Reads,
    /// This rule.
    Rule(u32),
    /// The backend has no roles.
    Static,
    /// The listener does not split reads from writes.
    Unsplit,
    /// It writes, or may write.
    Writes,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AutocommitOff => {
                f.write_str("autocommit is off, so a write may follow in the same transaction")
            }
            Self::Binds => f.write_str("it binds the session to its connection"),
            Self::EndsNothing => f.write_str("no transaction is open that it could end"),
            Self::Known => f.write_str("Highgate deals with it alone"),
            Self::Hint => f.write_str("the hint in its comment asks for it"),
            Self::InTransaction => f.write_str("a transaction is open"),
            Self::OnlySession => f.write_str("it changes nothing but the session"),
            Self::Pinned(cause) => write!(f, "the session keeps its connection: {cause}"),
            Self::ReadOnlyTransaction => f.write_str("it begins a transaction that only reads"),
            Self::Reads => f.write_str("it only reads, and reads go to replicas"),
            Self::Rule(rule) => write!(f, "rule {rule} says so"),
            Self::Static => f.write_str("the servers of this backend are equals"),
            Self::Unsplit => {
                f.write_str("the listener sends reads, too, to the primary (read_write_split)")
            }
            Self::Writes => {
                f.write_str("it writes, or can't be proved only to read: the primary takes such")
            }
        }
    }
}
