//! Why a command is not sent anywhere.

use highgate_config::BackendName;
use highgate_mysql::ErrorCode;

use crate::answer::{Answer, Side};

/// Why a command is not sent anywhere.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RouteRefused {
    /// The node drains: clients of connection pools that ping go elsewhere.
    #[error("this node is draining and takes no new work")]
    Draining,
    /// A KILL that speaks of what only one server knows, or whose session is not plain to see.
    #[error(
        "only `KILL [QUERY] number` and `KILL [QUERY] CONNECTION_ID()` by themselves are carried out"
    )]
    KillForm,
    /// It can't be read for sure, and its server may read a KILL in it.
    #[error(
        "it may be read in two ways (its character set, comments or quotes), in one of which it may hold a KILL"
    )]
    KillUnread,
    /// It asks what the statement before left on a connection that the session gave back.
    #[error(
        "{function} after the connection that knows was given back; the session keeps its connection from now on"
    )]
    Leftover {
        /// The function.
        function: &'static str,
    },
    /// LOAD DATA LOCAL, and the account is not allowed it.
    #[error("LOAD DATA LOCAL is off for this account; see `local_infile` of its `[[user]]`")]
    LocalInfile,
    /// Parameters that were sent ahead of an execution did not reach a server.
    #[error("parameters sent ahead by COM_STMT_SEND_LONG_DATA could not be passed on")]
    LongDataLost,
    /// A rule answers it with OK, and that is not what its clients read the answer as.
    #[error("rule {rule} answers it with OK (`OK_msg`), which is no answer to {}", if *.prepares { "a preparation" } else { "such a command" })]
    NoPlainOk {
        /// Its id.
        rule: u32,
        /// It was to be prepared; else it asks for fields or a binary log.
        prepares: bool,
    },
    /// COM_FIELD_LIST names a table alone, and the session has no schema.
    #[error("COM_FIELD_LIST in a session without a schema")]
    NoSchema,
    /// A rule, an account or a listener names a backend that does not exist.
    #[error("backend {backend} does not exist, and {by}")]
    UnknownBackend {
        /// Its name.
        backend: BackendName,
        /// What names it.
        by: NamedBy,
    },
    /// A command code that is not carried over.
    #[error("command {code:#04x} is not known")]
    UnknownCommand {
        /// The code.
        code: u8,
    },
    /// A prepared statement that the session does not have.
    #[error("no prepared statement {id} in this session")]
    UnknownStatement {
        /// Its id.
        id: u32,
    },
}

/// What names the backend of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NamedBy {
    /// The session's listener.
    Listener,
    /// That rule.
    Rule(u32),
    /// That rule, the last of several that matched, or one before it.
    RuleOrEarlier(u32),
    /// The session's account.
    User,
}

impl std::fmt::Display for NamedBy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Listener => f.write_str("`backend` of the listener names it"),
            Self::Rule(id) => write!(f, "rule {id} names it"),
            Self::RuleOrEarlier(id) => {
                write!(f, "rule {id}, or one that matched before it, names it")
            }
            Self::User => f.write_str("`backend` of the account's `[[user]]` names it"),
        }
    }
}

impl RouteRefused {
    /// Whose failure it is.
    #[must_use]
    pub const fn side(&self) -> Side {
        match self {
            Self::Draining | Self::LongDataLost | Self::UnknownBackend { .. } => Side::Highgate,
            Self::KillForm
            | Self::KillUnread
            | Self::Leftover { .. }
            | Self::LocalInfile
            | Self::NoPlainOk { .. }
            | Self::NoSchema
            | Self::UnknownCommand { .. }
            | Self::UnknownStatement { .. } => Side::Client,
        }
    }

    /// What the client is told.
    #[must_use]
    pub fn answer(&self) -> Answer {
        match self {
            Self::Draining => ErrorCode::new(1053, b"08S01").answer("Server shutdown in progress"),
            Self::KillForm => ErrorCode::new(1235, b"42000").answer(
                "KILL is carried out only by itself and with a session's number or CONNECTION_ID()",
            ),
            Self::KillUnread => ErrorCode::new(1235, b"42000").answer(
                "This text may be read in two ways (the session's character set, comments or quotes), \
                 and in one of them it may hold a KILL: send values as parameters of a prepared \
                 statement, or a KILL by itself",
            ),
            Self::Leftover { function } => ErrorCode::new(1235, b"42000").answer(format!(
                "{function} is not known here any more; from now on it is kept for this session: \
                 say the statement before again"
            )),
            Self::LocalInfile => ErrorCode::new(1148, b"42000")
                .answer("LOAD DATA LOCAL is not allowed for this account (`local_infile`)"),
            Self::LongDataLost => ErrorCode::new(1210, b"HY000")
                .answer("Parameters sent ahead of this execution were lost; nothing was executed"),
            // Many drivers then send the text instead.
            Self::NoPlainOk { prepares: true, .. } => ErrorCode::new(1295, b"HY000")
                .answer("This command is not supported in the prepared statement protocol yet"),
            Self::NoPlainOk { prepares: false, .. } => ErrorCode::new(1235, b"42000")
                .answer("This command is not supported here: a rule answers it with OK"),
            Self::NoSchema => ErrorCode::new(1046, b"3D000").answer("No database selected"),
            Self::UnknownBackend { .. } => ErrorCode::new(1105, b"HY000")
                .answer("This statement is routed to a backend that does not exist"),
            Self::UnknownCommand { .. } => ErrorCode::new(1047, b"08S01").answer("Unknown command"),
            Self::UnknownStatement { id } => ErrorCode::new(1243, b"HY000").answer(format!(
                "Unknown prepared statement handler ({id}) given to mysqld_stmt_execute"
            )),
        }
    }
}
