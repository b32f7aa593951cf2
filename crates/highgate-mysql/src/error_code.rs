//! The errors that Highgate answers with or recognises, by the protocol's own names.

use crate::packet::PacketWriter;

/// An error code and the SQLSTATE that servers send with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ErrorCode {
    /// The number that drivers look at.
    pub code: u16,
    /// The SQLSTATE that drivers classify by.
    pub sqlstate: [u8; 5],
}

impl ErrorCode {
    /// A code with its SQLSTATE.
    #[must_use]
    pub const fn new(code: u16, sqlstate: &[u8; 5]) -> Self {
        Self { code, sqlstate: *sqlstate }
    }

    /// An answer with this code.
    #[must_use]
    pub fn answer(self, text: impl Into<String>) -> Answer {
        Answer { code: self.code, sqlstate: self.sqlstate, text: text.into() }
    }
}

/// An ERR packet of our own: what a client is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The error code.
    pub code: u16,
    /// The SQLSTATE.
    pub sqlstate: [u8; 5],
    /// The message; holds no address, user list or rule.
    pub text: String,
}

impl Answer {
    /// Appends an ERR packet with sequence id `seq` to `out`.
    pub fn encode(&self, out: &mut Vec<u8>, seq: u8) {
        PacketWriter::new(out, seq).packet(|body| self.encode_payload(body));
    }

    /// Appends the payload of an ERR packet to `out`.
    pub fn encode_payload(&self, out: &mut Vec<u8>) {
        out.push(0xff);
        out.extend_from_slice(&self.code.to_le_bytes());
        out.push(b'#');
        out.extend_from_slice(&self.sqlstate);
        out.extend_from_slice(self.text.as_bytes());
    }

    /// The SQLSTATE as text.
    #[must_use]
    pub fn sqlstate_str(&self) -> &str {
        std::str::from_utf8(&self.sqlstate).unwrap_or("HY000")
    }
}

impl std::fmt::Display for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({}): {}", self.code, self.sqlstate_str(), self.text)
    }
}

macro_rules! error_codes {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $sqlstate:literal;)*) => {
        $($(#[$doc])* pub const $name: ErrorCode = ErrorCode::new($code, $sqlstate);)*
    };
}

error_codes! {
    /// Too many connections.
    ER_CON_COUNT_ERROR = 1040, b"08004";
    /// Out of memory or another resource.
    ER_OUT_OF_RESOURCES = 1041, b"HY000";
    /// The client's host name can't be had.
    ER_BAD_HOST_ERROR = 1042, b"08S01";
    /// Bad handshake.
    ER_HANDSHAKE_ERROR = 1043, b"08S01";
    /// Access denied to a schema.
    ER_DBACCESS_DENIED_ERROR = 1044, b"42000";
    /// Access denied: wrong user or password.
    ER_ACCESS_DENIED_ERROR = 1045, b"28000";
    /// No schema selected.
    ER_NO_DB_ERROR = 1046, b"3D000";
    /// Unknown command; a Galera node that isn't synced answers everything with it.
    ER_UNKNOWN_COM_ERROR = 1047, b"08S01";
    /// Unknown schema.
    ER_BAD_DB_ERROR = 1049, b"42000";
    /// The server shuts down.
    ER_SERVER_SHUTDOWN = 1053, b"08S01";
    /// A syntax error.
    ER_PARSE_ERROR = 1064, b"42000";
    /// The connection is forced to close.
    ER_FORCING_CLOSE = 1080, b"08S01";
    /// No session with that id.
    ER_NO_SUCH_THREAD = 1094, b"HY000";
    /// Not the owner of that session.
    ER_KILL_DENIED_ERROR = 1095, b"HY000";
    /// An error without a code of its own.
    ER_UNKNOWN_ERROR = 1105, b"HY000";
    /// Unknown character set.
    ER_UNKNOWN_CHARACTER_SET = 1115, b"42000";
    /// The host is blocked because of many errors.
    ER_HOST_IS_BLOCKED = 1129, b"HY000";
    /// The host is not allowed to connect.
    ER_HOST_NOT_PRIVILEGED = 1130, b"HY000";
    /// A command that is not allowed here, as LOAD DATA LOCAL.
    ER_NOT_ALLOWED_COMMAND = 1148, b"42000";
    /// The connection was aborted.
    ER_ABORTING_CONNECTION = 1152, b"08S01";
    /// A packet is larger than `max_allowed_packet`.
    ER_NET_PACKET_TOO_LARGE = 1153, b"08S01";
    /// Packets out of order.
    ER_NET_PACKETS_OUT_OF_ORDER = 1156, b"08S01";
    /// A compressed packet can't be uncompressed.
    ER_NET_UNCOMPRESS_ERROR = 1157, b"08S01";
    /// A packet can't be read.
    ER_NET_READ_ERROR = 1158, b"08S01";
    /// Reading took too long.
    ER_NET_READ_INTERRUPTED = 1159, b"08S01";
    /// A packet can't be written.
    ER_NET_ERROR_ON_WRITE = 1160, b"08S01";
    /// Writing took too long.
    ER_NET_WRITE_INTERRUPTED = 1161, b"08S01";
    /// The connection was aborted, with its account.
    ER_NEW_ABORTING_CONNECTION = 1184, b"08S01";
    /// Unknown system variable.
    ER_UNKNOWN_SYSTEM_VARIABLE = 1193, b"HY000";
    /// The user has too many connections.
    ER_TOO_MANY_USER_CONNECTIONS = 1203, b"42000";
    /// Waiting for a lock took too long.
    ER_LOCK_WAIT_TIMEOUT = 1205, b"HY000";
    /// Deadlock; the transaction was rolled back. Drivers repeat it.
    ER_LOCK_DEADLOCK = 1213, b"40001";
    /// A limit of the user is reached.
    ER_USER_LIMIT_REACHED = 1226, b"42000";
    /// A privilege is missing.
    ER_SPECIFIC_ACCESS_DENIED_ERROR = 1227, b"42000";
    /// A value that the variable can't have.
    ER_WRONG_VALUE_FOR_VAR = 1231, b"42000";
    /// Not supported.
    ER_NOT_SUPPORTED_YET = 1235, b"42000";
    /// Unknown prepared statement.
    ER_UNKNOWN_STMT_HANDLER = 1243, b"HY000";
    /// The client doesn't support the authentication that is asked for.
    ER_NOT_SUPPORTED_AUTH_MODE = 1251, b"08004";
    /// An option prevents the statement, as `--read-only` does.
    ER_OPTION_PREVENTS_STATEMENT = 1290, b"HY000";
    /// The command is not possible as a prepared statement.
    ER_UNSUPPORTED_PS = 1295, b"HY000";
    /// The statement was interrupted.
    ER_QUERY_INTERRUPTED = 1317, b"70100";
    /// The plugin of the account is not loaded.
    ER_PLUGIN_IS_NOT_LOADED = 1524, b"HY000";
    /// Access denied: the account has no password, and wants another proof.
    ER_ACCESS_DENIED_NO_PASSWORD_ERROR = 1698, b"28000";
    /// A write in a read-only transaction.
    ER_CANT_EXECUTE_IN_READ_ONLY_TRANSACTION = 1792, b"25006";
    /// The password must be changed first.
    ER_MUST_CHANGE_PASSWORD = 1820, b"HY000";
    /// InnoDB is read only.
    ER_READ_ONLY_MODE = 1836, b"HY000";
    /// The password must be changed before logging in.
    ER_MUST_CHANGE_PASSWORD_LOGIN = 1862, b"HY000";
    /// MariaDB: the connection was killed.
    ER_CONNECTION_KILLED = 1927, b"70100";
    /// MariaDB: `max_statement_time` exceeded.
    ER_STATEMENT_TIMEOUT = 1969, b"70100";
    /// MySQL: `max_execution_time` exceeded.
    ER_QUERY_TIMEOUT = 3024, b"HY000";
    /// MySQL: the account is locked.
    ER_ACCOUNT_HAS_BEEN_LOCKED = 3118, b"HY000";
    /// The account may log in over TLS only.
    ER_SECURE_TRANSPORT_REQUIRED = 3159, b"HY000";
    /// MySQL: the client was idle for too long.
    ER_CLIENT_INTERACTION_TIMEOUT = 4031, b"HY000";
    /// MySQL: the account is locked for a time, after wrong passwords.
    ER_USER_ACCESS_DENIED_TEMPORARILY = 3955, b"HY000";
    /// MariaDB: the account is blocked, after wrong passwords.
    ER_USER_IS_BLOCKED = 4150, b"HY000";
    /// MariaDB: the account is locked.
    ER_ACCOUNT_LOCKED = 4151, b"HY000";
}

/// Errors of a login by which a server refuses the account, whoever asks and however often.
pub(crate) const REFUSES_ACCOUNT: [ErrorCode; 14] = [
    ER_DBACCESS_DENIED_ERROR,
    ER_ACCESS_DENIED_ERROR,
    ER_TOO_MANY_USER_CONNECTIONS,
    ER_USER_LIMIT_REACHED,
    ER_NOT_SUPPORTED_AUTH_MODE,
    ER_PLUGIN_IS_NOT_LOADED,
    ER_ACCESS_DENIED_NO_PASSWORD_ERROR,
    ER_MUST_CHANGE_PASSWORD,
    ER_MUST_CHANGE_PASSWORD_LOGIN,
    ER_ACCOUNT_HAS_BEEN_LOCKED,
    ER_SECURE_TRANSPORT_REQUIRED,
    ER_USER_ACCESS_DENIED_TEMPORARILY,
    ER_USER_IS_BLOCKED,
    ER_ACCOUNT_LOCKED,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_an_err_packet_with_its_sqlstate() {
        let mut out = Vec::new();
        ER_SERVER_SHUTDOWN.answer("bye").encode(&mut out, 1);
        assert_eq!(out, b"\x0c\0\0\x01\xff\x1d\x04#08S01bye");
    }
}
