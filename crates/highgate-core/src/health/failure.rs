//! Why checks fail, and what that proves.

use std::fmt;

/// Why a check failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CheckFailure {
    /// Nobody listens.
    Refused,
    /// No route, no such host.
    Unreachable,
    /// The connection ended.
    Lost,
    /// No answer in time.
    Timeout,
    /// No answer in time, but something came from the server meanwhile. It is alive.
    Slow,
    /// The check's account was not let in, or may not read what it asks for. The server is alive.
    Denied,
    /// The server has no connection free for the check. It is alive.
    Full,
    /// This node had no descriptor, port or memory for the check: that says nothing about the server.
    Ours,
    /// The server says that it shuts down.
    Stopping,
    /// The server answered with an error.
    Error,
    /// The server answered what the protocol does not allow.
    Garbage,
}

impl CheckFailure {
    /// What an error packet, at login or as an answer, says about the server.
    ///
    /// 1927 (connection killed) is a lost connection: shutting down servers send it, and so do those
    /// whose operator killed the monitor's session. 1129 and 1130 refuse this whole host, traffic as
    /// well as checks, and prove nothing in the server's favour.
    #[must_use]
    pub const fn from_code(code: u16) -> Self {
        match code {
            // Access denied, by account, schema, table, column or privilege; wrong plugin, or one that is
            // not loaded; TLS asked for; expired accounts, locked ones (3118 MySQL, 4151 MariaDB), and
            // those blocked for wrong passwords, which anybody may send (3955 MySQL, 4150 MariaDB).
            1044 | 1045 | 1142 | 1143 | 1227 | 1251 | 1524 | 1698 | 1820 | 1862 | 3118 | 3159
            | 3955 | 4150 | 4151 => Self::Denied,
            // Too many connections, of all, of this user, or within the hour.
            1040 | 1203 | 1226 => Self::Full,
            1053 => Self::Stopping,
            1927 => Self::Lost,
            _ => Self::Error,
        }
    }

    /// Whether it proves that the server can't be used, other than slowness or loss of packets.
    pub(super) const fn is_hard(self) -> bool {
        matches!(self, Self::Refused | Self::Unreachable | Self::Lost | Self::Stopping)
    }

    /// Whether it proves that the server is alive, although nothing could be read from it.
    #[must_use]
    pub const fn proves_life(self) -> bool {
        matches!(self, Self::Denied | Self::Full | Self::Slow)
    }
}

impl fmt::Display for CheckFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Refused => "connection refused",
            Self::Unreachable => "unreachable",
            Self::Lost => "connection lost",
            Self::Timeout => "no answer in time",
            Self::Slow => "answers late",
            Self::Denied => "access denied",
            Self::Full => "too many connections",
            Self::Ours => "this node could not check",
            Self::Stopping => "shutting down",
            Self::Error => "error",
            Self::Garbage => "protocol violated",
        })
    }
}
