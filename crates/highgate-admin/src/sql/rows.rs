//! The rows of a SELECT, fetched within limits.

use highgate_config::table::{Kind, Row, Value};
use rusqlite::{Statement, types::ValueRef};

use super::{
    answer::{ResultColumn, Rows},
    bounds::Limits,
    variables,
};

/// Why the rows could not be had.
pub(super) enum FetchError {
    Sqlite(rusqlite::Error),
    TooLarge,
}

impl From<rusqlite::Error> for FetchError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

/// Runs a prepared SELECT to its end.
pub(super) fn fetch(statement: &mut Statement<'_>, limits: &Limits) -> Result<Rows, FetchError> {
    let names = statement.column_names().map(variables::column_name);
    let mut columns: Vec<_> =
        names.map(|name| ResultColumn { name, kind: Kind::Integer }).collect();
    let mut rows: Vec<Row> = Vec::new();
    let mut bytes = 0;
    let mut cursor = statement.query([])?;
    while let Some(found) = cursor.next()? {
        let mut row = Row::with_capacity(columns.len());
        for position in 0..columns.len() {
            let value = value(found.get_ref(position)?);
            bytes += size(&value);
            row.push(value);
        }
        rows.push(row);
        if rows.len() > limits.rows || bytes > limits.bytes {
            return Err(FetchError::TooLarge);
        }
    }
    for (position, column) in columns.iter_mut().enumerate() {
        column.kind = kind(rows.iter().filter_map(|row| row.get(position)));
    }
    Ok(Rows { columns, rows })
}

fn value(value: ValueRef<'_>) -> Value {
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => Value::Integer(number),
        ValueRef::Real(number) => Value::Real(number),
        ValueRef::Text(text) | ValueRef::Blob(text) => {
            Value::from(String::from_utf8_lossy(text).into_owned())
        }
    }
}

fn size(value: &Value) -> usize {
    let text = if let Value::Text(text) = value { text.len() } else { 0 };
    size_of::<Value>() + text
}

/// The narrowest type for all values. SQLite has types per value, the protocol per column.
fn kind<'a>(values: impl Iterator<Item = &'a Value>) -> Kind {
    let mut kind = None;
    for value in values {
        kind = match (kind, value) {
            (_, Value::Text(_)) => return Kind::Text,
            (kind, Value::Null) => kind,
            (_, Value::Real(_)) => Some(Kind::Real),
            (None, Value::Integer(_)) => Some(Kind::Integer),
            (kind, Value::Integer(_)) => kind,
        };
    }
    kind.unwrap_or(Kind::Text)
}
