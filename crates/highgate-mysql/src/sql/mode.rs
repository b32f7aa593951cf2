//! Under which rules a text is read.

/// Whose dialect the server speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Flavor {
    /// MariaDB.
    MariaDb,
    /// MatrixOne.
    MatrixOne,
    /// MySQL and Percona Server.
    MySql,
    /// StarRocks, Doris.
    StarRocks,
    /// Not known yet: whatever servers read differently is doubtful.
    #[default]
    Unknown,
}

impl Flavor {
    /// Whether it is MySQL or of its kin, with all that these know of ids and variables.
    #[must_use]
    pub const fn is_kin(self) -> bool {
        matches!(self, Self::MariaDb | Self::MySql)
    }
}

/// The part of a session's state that changes how its texts are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct LexMode {
    /// `sql_mode` has ANSI_QUOTES: `"x"` is a name.
    pub ansi_quotes: bool,
    /// `sql_mode` has NO_BACKSLASH_ESCAPES: `\` is an ordinary byte within literals.
    pub no_backslash_escapes: bool,
    /// `sql_mode` has PIPES_AS_CONCAT.
    pub pipes_as_concat: bool,
    /// `sql_mode` has IGNORE_SPACE: `now ()` is a call of the built-in function.
    pub ignore_space: bool,
    /// The dialect.
    pub flavor: Flavor,
    /// The server's version as a number: 101119 for 10.11.19, 80036 for 8.0.36; 0 if not known. Of
    /// several servers that may run a text, the lowest.
    pub server_version: u32,
    /// The highest of several; below the other one it counts as that. What only some of them run is
    /// doubtful.
    pub newest_version: u32,
    /// The client's charset has multi-byte characters that end in ASCII bytes
    /// (big5, cp932, gb18030, gbk, sjis): quotes and backslashes cannot be told by their bytes.
    pub unsafe_charset: bool,
    /// The byte beyond ASCII that is a blank in the client's charset, as a no-break space is in latin1.
    pub high_blank: Option<u8>,
}
