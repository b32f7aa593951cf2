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
    /// It asks what the statement before left on a connection that the session gave back.
    #[error(
        "{function} after the connection that knows was given back; the session keeps its connection from now on"
    )]
    Leftover {
        /// The function.
        function: &'static str,
    },
    /// LOAD DATA LOCAL, and the account is not allowed it.
    #[error("LOAD DATA LOCAL is off for this account; see `local_infile` of table `users`")]
    LocalInfile,
    /// Parameters that were sent ahead of an execution did not reach a server.
    #[error("parameters sent ahead by COM_STMT_SEND_LONG_DATA could not be passed on")]
    LongDataLost,
    /// A rule, an account or a listener names a backend that does not exist.
    #[error("backend {backend} does not exist; it is named by a rule, an account or a listener")]
    UnknownBackend {
        /// Its name.
        backend: BackendName,
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

impl RouteRefused {
    /// Whose failure it is.
    #[must_use]
    pub const fn side(&self) -> Side {
        match self {
            Self::Draining | Self::LongDataLost | Self::UnknownBackend { .. } => Side::Highgate,
            Self::KillForm
            | Self::Leftover { .. }
            | Self::LocalInfile
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
            Self::Leftover { function } => ErrorCode::new(1235, b"42000").answer(format!(
                "{function} is not known here any more; from now on it is kept for this session: \
                 say the statement before again"
            )),
            Self::LocalInfile => ErrorCode::new(1148, b"42000")
                .answer("The used command is not allowed with this MySQL version"),
            Self::LongDataLost => ErrorCode::new(1210, b"HY000")
                .answer("Parameters sent ahead of this execution were lost; nothing was executed"),
            Self::UnknownBackend { .. } => ErrorCode::new(1105, b"HY000")
                .answer("This statement is routed to a backend that does not exist"),
            Self::UnknownCommand { .. } => ErrorCode::new(1047, b"08S01").answer("Unknown command"),
            Self::UnknownStatement { id } => ErrorCode::new(1243, b"HY000").answer(format!(
                "Unknown prepared statement handler ({id}) given to mysqld_stmt_execute"
            )),
        }
    }
}
