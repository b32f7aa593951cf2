//! What Highgate says to clients in its own name, and to whom a failure is charged.

use std::fmt;

pub use highgate_mysql::Answer;
use highgate_mysql::ErrorCode;

/// Whose failure something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// The client's.
    Client,
    /// Highgate's own, or its configuration's.
    Highgate,
    /// A database server's.
    Server,
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Client => "client",
            Self::Highgate => "highgate",
            Self::Server => "server",
        })
    }
}

/// For a command whose delivery is not known: it may have been carried out.
///
/// SQLSTATE 08007 is "transaction resolution unknown", and no driver repeats a statement for it. The
/// code is a server's for a connection that failed (ER_NET_READ_ERROR): libmariadb takes the libraries'
/// own, as 2013, for a malformed packet where a server sends it, and some pools close all connections
/// at that one, although the session goes on.
#[must_use]
pub fn outcome_unknown() -> Answer {
    ErrorCode::new(1158, b"08007").answer(
        "Lost connection to the database server during the statement; \
         whether it was carried out is not known",
    )
}

/// What Highgate answers by itself, without a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OwnAnswer {
    /// A row with a number.
    Number {
        /// The column's name as the server would write it: as the client wrote it, or its alias.
        column: Box<str>,
        /// The value, signed.
        value: i64,
        /// Whether the column is unsigned.
        unsigned: bool,
    },
    /// OK (COM_PING).
    Ok,
    /// An EOF packet, or OK in its place (COM_SET_OPTION).
    Eof,
    /// Nothing at all (COM_STMT_CLOSE has no answer).
    Silence,
    /// The sessions of the same account, as a process list.
    Sessions {
        /// With whole texts of statements.
        full: bool,
        /// The statement that asks, if it is one: the asker's own row shows it.
        asked: Option<Box<[u8]>>,
    },
    /// The text of COM_STATISTICS.
    Statistics,
}
