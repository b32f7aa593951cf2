//! What a connection must look like for a session.

use std::collections::BTreeMap;

use highgate_mysql::sql::{Flavor, LexMode, quote_identifier};
use serde::{Deserialize, Serialize};

use super::Charset;

/// What a variable is set to, as it is written into a `SET`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum VarValue {
    /// DEFAULT, without quotes.
    Default,
    /// A literal as emitted: it reads the same under any sql_mode.
    Text(Box<[u8]>),
}

impl VarValue {
    /// The literal.
    #[must_use]
    pub fn text(text: &[u8]) -> Self {
        Self::Text(text.into())
    }

    /// What is written after `=`.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Default => b"DEFAULT",
            Self::Text(text) => text,
        }
    }

    /// Whether it is NULL, and nothing else was before.
    #[must_use]
    pub fn is_null(&self) -> bool {
        self.as_bytes().eq_ignore_ascii_case(b"NULL")
    }

    /// What the user variable `name` is that had this value and is set to NULL: one of the kind, and NULL
    /// after it.
    ///
    /// Quirk: NULL of MariaDB and MySQL keeps the type and the collation of the value before it. Of the value no more is
    /// kept than that, so that sessions which all clear a variable have it alike.
    #[must_use]
    pub fn then_null(&self, name: &str) -> Self {
        /// Digits of which no number is too large for a signed BIGINT.
        const SIGNED: usize = 18;
        let mut second = b",@".to_vec();
        quote_identifier(&mut second, name.as_bytes());
        second.extend_from_slice(b"=NULL");
        let first = self.as_bytes();
        if self.is_null() || first.ends_with(&second) {
            return self.clone();
        }
        let is_number = first.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'.' | b'-' | b'+'));
        let kind = match first {
            [b'\'', ..] => b"''".as_slice(),
            _ if is_number && first.contains(&b'.') => b"0.0",
            _ if is_number && first.len() <= SIGNED => b"0",
            _ => first,
        };
        Self::Text([kind, &second].concat().into())
    }
}

/// The replayable part of a session: everything that `SET` and `USE` can bring to another connection.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Profile {
    /// The current schema.
    pub schema: Option<Box<str>>,
    /// Charsets and collation.
    pub charset: Charset,
    /// System variables that differ from the server's defaults, by lower-case name.
    pub variables: BTreeMap<Box<str>, VarValue>,
    /// User variables set to literals, by lower-case name.
    pub user_variables: BTreeMap<Box<str>, VarValue>,
}

impl Profile {
    /// A fresh session's.
    #[must_use]
    pub fn new(collation: u16, schema: Option<&str>) -> Self {
        Self {
            schema: schema.map(Into::into),
            charset: Charset::Login(collation),
            ..Self::default()
        }
    }

    /// How texts are read under it, on a server whose defaults are `default`; `ignores_space`: the
    /// login has asked for that.
    #[must_use]
    pub fn lex_mode(&self, default: LexMode, ignores_space: bool) -> LexMode {
        let mut mode = default;
        match self.variable("sql_mode") {
            Some(VarValue::Text(text)) => read_sql_mode(text, &mut mode),
            Some(VarValue::Default) => {}
            None => mode.ignore_space |= ignores_space,
        }
        mode.unsafe_charset = self.charset.is_unsafe();
        mode.high_blank = self.charset.high_blank();
        mode
    }

    /// The value of a system variable, if the session changed it.
    #[must_use]
    pub fn variable(&self, name: &str) -> Option<&VarValue> {
        self.variables.get(name)
    }

    /// After COM_RESET_CONNECTION of a login that had added IGNORE_SPACE to the `sql_mode`.
    ///
    /// Quirk: MySQL keeps what the login added, MariaDB (10.11) does not.
    pub fn forget_login_mode(&mut self, flavor: Flavor) {
        if flavor == Flavor::MariaDb {
            self.variables.insert("sql_mode".into(), VarValue::Default);
        }
    }

    /// Whether a statement prepared under `other` means the same when prepared under this one.
    #[must_use]
    pub fn prepares_alike(&self, other: &Self) -> bool {
        self.schema == other.schema
            && self.charset == other.charset
            && READ_AT_PREPARE.iter().all(|name| self.variable(name) == other.variable(name))
    }

    /// Takes over from `other` the variables that a preparation depends on.
    pub(crate) fn prepare_as(&mut self, other: &Self) {
        for name in READ_AT_PREPARE {
            match other.variable(name) {
                Some(value) => self.variables.insert(name.into(), value.clone()),
                None => self.variables.remove(name),
            };
        }
    }
}

/// Variables that servers read as they prepare a statement, not as they execute it.
///
/// Quirk: MySQL resolves a statement once (from 8.0.22 on), and with it the length of GROUP_CONCAT(), the digits of
/// a quotient, and names of days and months; the mode of WEEK() is read with its text.
const READ_AT_PREPARE: [&str; 5] = [
    "default_week_format",
    "div_precision_increment",
    "group_concat_max_len",
    "lc_time_names",
    "sql_mode",
];

/// Reads what a value of `sql_mode` says about how texts are read.
fn read_sql_mode(value: &[u8], mode: &mut LexMode) {
    let bare = match value {
        [b'\'', inner @ .., b'\''] => inner,
        other => other,
    };
    let bits = std::str::from_utf8(bare).ok().and_then(|text| text.trim().parse::<u64>().ok());
    let has = |bit: u64, names: &[&str]| match bits {
        Some(bits) => bits & bit != 0,
        None => bare.split(|byte| *byte == b',').any(|word| {
            let word = word.trim_ascii();
            names.iter().any(|name| word.eq_ignore_ascii_case(name.as_bytes()))
        }),
    };
    let combined = has(COMBINED_BITS, &COMBINED);
    mode.pipes_as_concat = combined || has(1 << 1, &["PIPES_AS_CONCAT"]);
    mode.ansi_quotes = combined || has(1 << 2, &["ANSI_QUOTES"]);
    mode.ignore_space = combined || has(1 << 3, &["IGNORE_SPACE"]);
    mode.no_backslash_escapes = has(1 << 20, &["NO_BACKSLASH_ESCAPES"]);
}

/// Modes that contain PIPES_AS_CONCAT, ANSI_QUOTES and IGNORE_SPACE, and what they are in a number.
const COMBINED: [&str; 6] = ["ANSI", "DB2", "MAXDB", "MSSQL", "ORACLE", "POSTGRESQL"];
const COMBINED_BITS: u64 = 1 << 8 | 1 << 9 | 1 << 10 | 1 << 11 | 1 << 12 | 1 << 18;
