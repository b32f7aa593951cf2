//! Capability and status bits of the protocol, and what a version string says about its server.

use bitflags::bitflags;

bitflags! {
    /// Capabilities: the standard 32 bits below, MariaDB's extended 32 bits above.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
    pub struct Capabilities: u64 {
        /// MySQL: new, longer passwords. MariaDB names this bit CLIENT_MYSQL and leaves it clear
        /// in its greeting where extended capabilities follow.
        const LONG_PASSWORD = 1;
        /// Affected rows are found rows, not changed rows.
        const FOUND_ROWS = 1 << 1;
        /// Column flags have two bytes.
        const LONG_FLAG = 1 << 2;
        /// The login names a schema.
        const CONNECT_WITH_DB = 1 << 3;
        /// `schema.table.column` is refused.
        const NO_SCHEMA = 1 << 4;
        /// zlib compression.
        const COMPRESS = 1 << 5;
        /// An ODBC client.
        const ODBC = 1 << 6;
        /// LOAD DATA LOCAL is possible.
        const LOCAL_FILES = 1 << 7;
        /// Spaces before `(` are ignored.
        const IGNORE_SPACE = 1 << 8;
        /// The 4.1 protocol.
        const PROTOCOL_41 = 1 << 9;
        /// An interactive client: `interactive_timeout` applies.
        const INTERACTIVE = 1 << 10;
        /// TLS.
        const SSL = 1 << 11;
        /// The client ignores SIGPIPE; no meaning on the wire.
        const IGNORE_SIGPIPE = 1 << 12;
        /// Status flags are sent.
        const TRANSACTIONS = 1 << 13;
        /// An old name of the 4.1 protocol.
        const RESERVED = 1 << 14;
        /// 4.1 authentication.
        const SECURE_CONNECTION = 1 << 15;
        /// Several statements in one COM_QUERY.
        const MULTI_STATEMENTS = 1 << 16;
        /// Several results for COM_QUERY.
        const MULTI_RESULTS = 1 << 17;
        /// Several results for COM_STMT_EXECUTE.
        const PS_MULTI_RESULTS = 1 << 18;
        /// Authentication plugins.
        const PLUGIN_AUTH = 1 << 19;
        /// Connection attributes.
        const CONNECT_ATTRS = 1 << 20;
        /// The authentication answer is length-encoded.
        const PLUGIN_AUTH_LENENC = 1 << 21;
        /// A login with an expired password is possible.
        const CAN_HANDLE_EXPIRED_PASSWORDS = 1 << 22;
        /// OK packets carry session state changes.
        const SESSION_TRACK = 1 << 23;
        /// OK packets in place of EOF packets.
        const DEPRECATE_EOF = 1 << 24;
        /// MySQL: result sets may come without metadata.
        const OPTIONAL_RESULTSET_METADATA = 1 << 25;
        /// MySQL: zstd compression.
        const ZSTD_COMPRESSION = 1 << 26;
        /// MySQL: query attributes in COM_QUERY and COM_STMT_EXECUTE.
        const QUERY_ATTRIBUTES = 1 << 27;
        /// MySQL: several authentication factors.
        const MULTI_FACTOR_AUTH = 1 << 28;
        /// MySQL: reserved for an extension of this field; MariaDB: progress reports (old place).
        const CAPABILITY_EXTENSION = 1 << 29;
        /// The server's certificate is verified; no meaning on the wire.
        const SSL_VERIFY_SERVER_CERT = 1 << 30;
        /// Options are remembered after a failed connect; no meaning on the wire.
        const REMEMBER_OPTIONS = 1 << 31;
        /// MariaDB: progress reports in ERR packets with code 0xffff.
        const MARIADB_PROGRESS = 1 << 32;
        /// MariaDB: COM_MULTI (gone).
        const MARIADB_COM_MULTI = 1 << 33;
        /// MariaDB: bulk execution.
        const MARIADB_STMT_BULK_OPERATIONS = 1 << 34;
        /// MariaDB: type and format in column definitions.
        const MARIADB_EXTENDED_METADATA = 1 << 35;
        /// MariaDB: column definitions are left out where the client has them.
        const MARIADB_CACHE_METADATA = 1 << 36;
        /// MariaDB: bulk execution may return a result set of generated ids.
        const MARIADB_BULK_UNIT_RESULTS = 1 << 37;
        const _ = !0;
    }
}

impl Capabilities {
    /// MariaDB's extended bits.
    pub const MARIADB_EXTENDED: Self = Self::from_bits_retain(0xffff_ffff_0000_0000);

    /// From the standard and the extended half.
    #[must_use]
    pub fn from_halves(standard: u32, extended: u32) -> Self {
        Self::from_bits_retain(u64::from(standard) | (u64::from(extended) << 32))
    }

    /// The standard 32 bits.
    #[must_use]
    pub fn standard(self) -> u32 {
        let [a, b, c, d, ..] = self.bits().to_le_bytes();
        u32::from_le_bytes([a, b, c, d])
    }

    /// MariaDB's extended 32 bits.
    #[must_use]
    pub fn extended(self) -> u32 {
        let [.., a, b, c, d] = self.bits().to_le_bytes();
        u32::from_le_bytes([a, b, c, d])
    }
}

bitflags! {
    /// Status flags of OK and EOF packets and of the greeting.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
    pub struct StatusFlags: u16 {
        /// A transaction is open.
        const IN_TRANS = 1;
        /// Autocommit is on.
        const AUTOCOMMIT = 1 << 1;
        /// Another result follows.
        const MORE_RESULTS_EXISTS = 1 << 3;
        /// No good index was used.
        const NO_GOOD_INDEX_USED = 1 << 4;
        /// No index was used.
        const NO_INDEX_USED = 1 << 5;
        /// A cursor was opened; rows are to be fetched.
        const CURSOR_EXISTS = 1 << 6;
        /// The last row of a cursor was sent.
        const LAST_ROW_SENT = 1 << 7;
        /// A schema was dropped.
        const DB_DROPPED = 1 << 8;
        /// Backslash is an ordinary character (sql_mode NO_BACKSLASH_ESCAPES).
        const NO_BACKSLASH_ESCAPES = 1 << 9;
        /// The metadata of a prepared statement changed.
        const METADATA_CHANGED = 1 << 10;
        /// The query was slow.
        const QUERY_WAS_SLOW = 1 << 11;
        /// The result set has OUT parameters.
        const PS_OUT_PARAMS = 1 << 12;
        /// The open transaction is read only.
        const IN_TRANS_READONLY = 1 << 13;
        /// Session state information follows.
        const SESSION_STATE_CHANGED = 1 << 14;
        /// MariaDB: `sql_mode` contains ANSI_QUOTES.
        const ANSI_QUOTES = 1 << 15;
        const _ = !0;
    }
}

/// Which program a server is, guessed from the version in its greeting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum ServerFlavor {
    /// MariaDB.
    MariaDb,
    /// MySQL or a close relative (Percona, Aurora).
    MySql,
    /// StarRocks.
    StarRocks,
    /// MatrixOne.
    MatrixOne,
    /// Not recognised.
    #[default]
    Unknown,
}

/// The prefix that MariaDB 10 puts before its version, lest old replicas refuse it.
const REPLICATION_PREFIX: &str = "5.5.5-";

impl ServerFlavor {
    /// Guesses from a version string.
    ///
    /// Quirk: StarRocks greets as `5.1.0` or as plain `8.0.33` and cannot always be told apart
    /// from MySQL; a plain three-part number is taken for MySQL.
    #[must_use]
    pub fn guess(version: &str) -> Self {
        let lower = version.to_ascii_lowercase();
        if lower.contains("mariadb") || lower.starts_with(REPLICATION_PREFIX) {
            Self::MariaDb
        } else if lower.contains("matrixone") {
            Self::MatrixOne
        } else if lower.contains("starrocks") || lower == "5.1.0" {
            Self::StarRocks
        } else if parse_version(&lower).is_some() {
            Self::MySql
        } else {
            Self::Unknown
        }
    }
}

/// Major, minor and patch number of a version string, without MariaDB's `5.5.5-` prefix.
#[must_use]
pub fn parse_version(version: &str) -> Option<(u16, u16, u16)> {
    let plain = version.strip_prefix(REPLICATION_PREFIX).unwrap_or(version);
    let end = plain.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(plain.len());
    let mut parts = plain.get(..end)?.split('.');
    let major = parts.next()?.parse().ok()?;
    let minor = parts.next()?.parse().ok()?;
    let patch = parts.next().and_then(|part| part.parse().ok()).unwrap_or(0);
    Some((major, minor, patch))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flavor_follows_the_version_string() {
        for (version, flavor) in [
            ("5.5.5-10.11.6-MariaDB-0+deb12u1", ServerFlavor::MariaDb),
            ("11.4.2-MariaDB", ServerFlavor::MariaDb),
            ("8.0.36", ServerFlavor::MySql),
            ("8.0.35-27", ServerFlavor::MySql),
            ("8.0.30-MatrixOne-v1.2.0", ServerFlavor::MatrixOne),
            ("5.1.0", ServerFlavor::StarRocks),
            ("8.0.33-StarRocks-3.3", ServerFlavor::StarRocks),
            ("hello", ServerFlavor::Unknown),
        ] {
            assert_eq!(ServerFlavor::guess(version), flavor, "{version}");
        }
    }

    #[test]
    fn the_replication_prefix_is_not_the_version() {
        assert_eq!(parse_version("5.5.5-10.11.6-MariaDB"), Some((10, 11, 6)));
        assert_eq!(parse_version("8.0.36"), Some((8, 0, 36)));
        assert_eq!(parse_version("x"), None);
    }

    #[test]
    fn halves_make_a_whole() {
        let caps = Capabilities::from_halves(0x8100_0001, 0x1f);
        assert_eq!((caps.standard(), caps.extended()), (0x8100_0001, 0x1f));
        assert!(caps.contains(Capabilities::MARIADB_CACHE_METADATA | Capabilities::DEPRECATE_EOF));
    }
}
