//! Values and rows as JSON.

use highgate_config::table::{Column, Row, Value};
use serde_json::{Map, Value as Json};

/// A row as an object; keys are column names.
#[must_use]
pub fn row_to_json(columns: &[Column], row: &Row) -> Json {
    let pairs = columns.iter().zip(row);
    Json::Object(pairs.map(|(c, v)| (c.name.to_owned(), value_to_json(v))).collect::<Map<_, _>>())
}

/// A value as JSON; numbers that JSON can't say become `null`.
#[must_use]
pub fn value_to_json(value: &Value) -> Json {
    match value {
        Value::Integer(number) => Json::from(*number),
        Value::Null => Json::Null,
        Value::Real(number) => Json::from(*number),
        Value::Text(text) => Json::from(text.as_ref()),
    }
}
