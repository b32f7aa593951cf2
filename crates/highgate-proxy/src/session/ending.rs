//! How a session ended: whose doing it was, how its listener counts it, and whether operators are
//! told. What was told where it was decided, a refused login for example, is not told again here.

use std::{fmt, io};

use highgate_core::{answer::Side, events::Severity};

/// Which time-out an idle session has reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Idle {
    /// The listener's.
    #[error("no command for longer than `client_timeout` allows")]
    Client,
    /// The listener's for open transactions.
    #[error(
        "no command within its transaction for longer than `idle_in_transaction_timeout` allows; \
         the transaction is rolled back"
    )]
    InTransaction,
    /// The one that the client has set for itself.
    #[error("no command for longer than the `wait_timeout` that the client itself has set allows")]
    Own,
}

/// Who ended a session that was killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum KilledBy {
    /// This node.
    Node,
    /// An operator.
    Operator,
    /// A session of the same account, or the session itself.
    OwnAccount,
}

impl KilledBy {
    /// All, by their numbers.
    pub(crate) const ALL: [Self; 3] = [Self::Node, Self::Operator, Self::OwnAccount];
}

impl fmt::Display for KilledBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Node => "by this node, which stops, or has lost the address that it came by",
            Self::Operator => "by an operator",
            Self::OwnAccount => "by its own account",
        })
    }
}

/// Why a session ended: each has exactly one, logged and counted once.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Ending {
    #[error("the client closed")]
    ClientClosed,
    #[error("the client's connection failed: {0}")]
    ClientFailed(#[source] io::Error),
    #[error(
        "the client's machine or network has acknowledged nothing for longer than \
         `keepalive_timeout` allows"
    )]
    ClientLost,
    #[error("the client broke the protocol: {0}")]
    ClientProtocol(String),
    #[error(
        "the client took nothing of its answer for longer than `client_timeout`, or \
         `idle_in_transaction_timeout` within a transaction, allows; or for a minute"
    )]
    ClientStalled,
    #[error("this node drains, or gives the address away that it came by")]
    Drained,
    #[error("login or TLS took longer than `handshake_timeout` allows")]
    HandshakeTimeout,
    #[error("{0}")]
    Idle(Idle),
    #[error("killed")]
    Killed,
    #[error("its login was refused: `memory_limit` is reached")]
    NoMemory,
    #[error("no server could be reached: {0}")]
    NoServer(String),
    #[error("the client was refused: {0}")]
    Refused(String),
    #[error("the server closed")]
    ServerClosed,
    #[error("its server is down")]
    ServerDown,
    #[error("the server's connection failed: {0}")]
    ServerFailed(String),
    #[error(
        "the file of its LOAD DATA LOCAL took longer than `query_timeout`, or a rule's `timeout`, \
         allows; or nothing of it came for longer than `client_timeout`, or \
         `idle_in_transaction_timeout` within a transaction, allows"
    )]
    UploadTimeout,
}

/// Under what a listener counts the end of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Counted {
    /// The client closed, failed or broke the protocol.
    Client,
    /// It acknowledged or took nothing any more.
    ClientLost,
    /// Silence.
    ClientTimeout,
    /// Its login.
    HandshakeTimeout,
    /// A kill, a drain, a refusal.
    Highgate,
    /// Silence within a transaction.
    InTransaction,
    /// The server.
    Server,
}

impl Counted {
    pub(crate) const COUNT: usize = 7;
}

impl Ending {
    /// Whose doing it was.
    pub(crate) const fn side(&self) -> Side {
        match self {
            Self::ClientClosed
            | Self::ClientFailed(_)
            | Self::ClientLost
            | Self::ClientProtocol(_)
            | Self::ClientStalled
            | Self::HandshakeTimeout
            | Self::Idle(_)
            | Self::UploadTimeout => Side::Client,
            Self::Drained | Self::Killed | Self::NoMemory | Self::Refused(_) => Side::Highgate,
            Self::NoServer(_) | Self::ServerClosed | Self::ServerDown | Self::ServerFailed(_) => {
                Side::Server
            }
        }
    }

    /// How its listener counts it.
    pub(crate) const fn counted(&self) -> Counted {
        match self {
            Self::ClientClosed | Self::ClientFailed(_) | Self::ClientProtocol(_) => Counted::Client,
            Self::ClientLost | Self::ClientStalled => Counted::ClientLost,
            Self::HandshakeTimeout => Counted::HandshakeTimeout,
            Self::Idle(Idle::InTransaction) => Counted::InTransaction,
            Self::Idle(Idle::Client | Idle::Own) | Self::UploadTimeout => Counted::ClientTimeout,
            Self::Drained | Self::Killed | Self::NoMemory | Self::Refused(_) => Counted::Highgate,
            Self::NoServer(_) | Self::ServerClosed | Self::ServerDown | Self::ServerFailed(_) => {
                Counted::Server
            }
        }
    }

    /// How much it matters to operators; `None` where they are not told of it, or were already.
    pub(crate) fn severity(&self, is_logged_in: bool) -> Option<Severity> {
        match self {
            // Who only looks whether a port answers often ends like that.
            Self::ClientFailed(error) if !is_logged_in && is_reset(error) => None,
            Self::ClientClosed | Self::NoServer(_) | Self::Refused(_) | Self::ServerClosed => None,
            Self::ClientFailed(_)
            | Self::Drained
            | Self::HandshakeTimeout
            | Self::Idle(Idle::Client | Idle::Own)
            | Self::Killed => Some(Severity::Info),
            Self::ClientLost
            | Self::ClientProtocol(_)
            | Self::ClientStalled
            | Self::Idle(Idle::InTransaction)
            | Self::NoMemory
            | Self::ServerDown
            | Self::ServerFailed(_)
            | Self::UploadTimeout => Some(Severity::Warning),
        }
    }
}

fn is_reset(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionReset | UnexpectedEof)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_only_looks_whether_a_port_answers_is_no_event() {
        let reset = || Ending::ClientFailed(io::ErrorKind::ConnectionReset.into());
        assert_eq!(reset().severity(false), None);
        assert_eq!(reset().severity(true), Some(Severity::Info));
        assert_eq!(Ending::ClientClosed.severity(true), None);
    }

    #[test]
    fn an_ending_that_loses_work_is_a_warning_that_names_the_setting() {
        let ending = Ending::Idle(Idle::InTransaction);
        assert_eq!(ending.severity(true), Some(Severity::Warning));
        assert!(ending.to_string().contains("`idle_in_transaction_timeout`"), "{ending}");
    }
}
