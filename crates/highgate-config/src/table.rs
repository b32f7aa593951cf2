//! Tables: named, typed views for operators. SQL, web, metrics and `ctl` are renderings of them.

use std::borrow::Cow;

/// A named, typed view with its few actions.
///
/// `rows` is called from the admin side and must not wait for a data worker.
pub trait Table: Send + Sync {
    /// Name in SQL, REST and the manual; lower case with underscores.
    fn name(&self) -> &'static str;
    /// One sentence: what a row is.
    fn doc(&self) -> &'static str;
    /// Its columns, in the order of `Row`.
    fn columns(&self) -> &'static [Column];
    /// The rows as of now, in a stable order.
    fn rows(&self) -> Vec<Row>;
    /// What an operator may do with a row.
    fn actions(&self) -> &'static [Action] {
        &[]
    }
    /// Carries out an action of `actions`.
    ///
    /// # Errors
    /// A sentence for the operator that says why nothing was done.
    fn act(&self, action: &str, arguments: &[&str]) -> Result<String, String> {
        let _ = arguments;
        Err(format!("table `{}` has no action `{action}`", self.name()))
    }
}

/// One row, as long as the table has columns.
pub type Row = Vec<Value>;

/// A column, declared once for SQL, web, CSV, JSON, metrics and manual.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column {
    /// Name in SQL and JSON.
    pub name: &'static str,
    /// Type of its values.
    pub kind: Kind,
    /// What it says to a metrics scraper.
    pub metric: Metric,
    /// One sentence, with the unit.
    pub doc: &'static str,
}

/// Type of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Integer.
    Integer,
    /// Floating point.
    Real,
    /// Text.
    Text,
}

/// What a column is to a metrics scraper.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metric {
    /// Only grows; named `highgate_<table>_<column>_total`.
    Counter,
    /// Goes up and down; named `highgate_<table>_<column>`.
    Gauge,
    /// Label of the table's other metrics; bounded values only.
    Label,
    /// Not exported.
    None,
    /// Exported as 1 for the value a row has, with the value as a label (`state="up"`).
    State,
}

/// A value of a row.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// An integer.
    Integer(i64),
    /// Absent or unknown.
    Null,
    /// A number with a fraction.
    Real(f64),
    /// A text.
    Text(Cow<'static, str>),
}

/// Something that an operator may do, by `ctl`, SQL (`CALL`), REST or a button.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Action {
    /// Its verb.
    pub name: &'static str,
    /// Names of its arguments, in order; a last one that ends in `…` may be repeated, in `?` left out.
    pub arguments: &'static [&'static str],
    /// One sentence.
    pub doc: &'static str,
}

impl From<&'static str> for Value {
    fn from(text: &'static str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(Cow::Owned(text))
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Integer(number)
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Integer(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl From<u32> for Value {
    fn from(number: u32) -> Self {
        Self::Integer(i64::from(number))
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Self::Real(number)
    }
}

impl<T: Into<Self>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}
