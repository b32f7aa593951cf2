//! What a statement ends in.

use std::borrow::Cow;

use highgate_config::table::{Kind, Row};

/// The answer to a statement that succeeded.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// Nothing to show; the text is for the OK packet.
    Done(String),
    /// A result set.
    Rows(Rows),
}

/// A result set, whole.
#[derive(Debug, Clone, PartialEq)]
pub struct Rows {
    /// Its columns.
    pub columns: Vec<ResultColumn>,
    /// Its rows, each as long as there are columns.
    pub rows: Vec<Row>,
}

/// A column of a result set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResultColumn {
    /// Its name, or the expression it was written as.
    pub name: String,
    /// Type that all of its values fit into.
    pub kind: Kind,
}

impl Rows {
    /// A result set of text columns.
    pub(super) fn of_text(names: &[&str], rows: Vec<Row>) -> Self {
        let column = |name: &&str| ResultColumn { name: (*name).to_owned(), kind: Kind::Text };
        Self { columns: names.iter().map(column).collect(), rows }
    }
}

/// Why a statement was refused, as a MySQL client reads it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("ERROR {code} ({state}): {text}")]
pub struct SqlError {
    /// MySQL's error number.
    pub code: u16,
    /// SQLSTATE, five characters.
    pub state: &'static str,
    /// What is wrong and what to do about it.
    pub text: Cow<'static, str>,
}

impl SqlError {
    pub(super) fn syntax(text: impl Into<Cow<'static, str>>) -> Self {
        Self { code: 1064, state: "42000", text: text.into() }
    }

    pub(super) fn no_such_table(text: impl Into<Cow<'static, str>>) -> Self {
        Self { code: 1146, state: "42S02", text: text.into() }
    }

    pub(super) fn no_such_column(text: impl Into<Cow<'static, str>>) -> Self {
        Self { code: 1054, state: "42S22", text: text.into() }
    }

    pub(super) fn refused(text: impl Into<Cow<'static, str>>) -> Self {
        Self { code: 1290, state: "HY000", text: text.into() }
    }

    pub(super) fn too_expensive(text: impl Into<Cow<'static, str>>) -> Self {
        Self { code: 3024, state: "HY000", text: text.into() }
    }

    /// Of a character set in which a character may hold a backslash.
    pub(super) fn unknown_charset(name: &str) -> Self {
        let text = format!("Character set '{name}' is not taken here; use utf8mb4");
        Self { code: 1115, state: "42000", text: text.into() }
    }

    pub(super) fn wrong_mode(mode: &str) -> Self {
        let text = format!(
            "Variable 'sql_mode' can't be set to the value of '{mode}': backslashes escape here, and double \
             quotes enclose texts"
        );
        Self { code: 1231, state: "42000", text: text.into() }
    }

    pub(super) fn wrong_value(text: impl Into<Cow<'static, str>>) -> Self {
        Self { code: 1292, state: "22007", text: text.into() }
    }

    pub(super) fn failed(text: impl Into<Cow<'static, str>>) -> Self {
        Self { code: 1105, state: "HY000", text: text.into() }
    }
}
