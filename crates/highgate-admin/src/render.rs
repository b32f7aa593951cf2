//! Tables as text for terminals, as JSON, as CSV and as Prometheus metrics.
//!
//! Pure functions over columns and rows. Everything is bounded by the caller's number of rows.

mod csv;
mod json;
pub mod metrics;
mod text;
mod time;

use std::borrow::Cow;

use highgate_config::table::{Row, Value};

pub use csv::render_csv;
pub use json::{row_to_json, value_to_json};
pub use text::render_table;

/// A value as plain text; `NULL` is the caller's business.
#[must_use]
pub fn plain(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::Integer(number) => Some(Cow::Owned(number.to_string())),
        Value::Null => None,
        Value::Real(number) => Some(Cow::Owned(real(*number))),
        Value::Text(text) => Some(Cow::Borrowed(text)),
    }
}

/// Whether a value of the row contains `needle` (already lower case).
#[must_use]
pub fn row_contains(row: &Row, needle: &str) -> bool {
    row.iter().any(|value| match plain(value) {
        Some(text) => text.to_lowercase().contains(needle),
        None => false,
    })
}

/// At most three decimals: more are noise to a reader, and rates carry none.
fn real(number: f64) -> String {
    if !number.is_finite() {
        return number.to_string();
    }
    let text = format!("{number:.3}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".into() } else { text.into() }
}

#[cfg(test)]
mod tests;
