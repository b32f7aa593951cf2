//! RFC 4180, with a header; `NULL` is an empty field and an empty text is `""`.

use highgate_config::table::{Column, Row, Value};

use super::plain;

/// The rows as CSV with a header line.
///
/// A text that a spreadsheet would run as a formula is preceded by an apostrophe: a user name or a
/// schema comes from a client.
#[must_use]
pub fn render_csv(columns: &[Column], rows: &[Row]) -> String {
    let mut out = String::with_capacity(64 * (rows.len() + 1));
    for (position, column) in columns.iter().enumerate() {
        separate(&mut out, position);
        out.push_str(column.name);
    }
    out.push_str("\r\n");
    for row in rows {
        for (position, value) in row.iter().enumerate() {
            separate(&mut out, position);
            push_value(&mut out, value);
        }
        out.push_str("\r\n");
    }
    out
}

fn separate(out: &mut String, position: usize) {
    if position > 0 {
        out.push(',');
    }
}

fn push_value(out: &mut String, value: &Value) {
    let Value::Text(text) = value else {
        out.push_str(&plain(value).unwrap_or_default());
        return;
    };
    let is_formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let needs_quotes = is_formula || text.is_empty() || text.contains([',', '"', '\n', '\r']);
    if !needs_quotes {
        out.push_str(text);
        return;
    }
    out.push('"');
    if is_formula {
        out.push('\'');
    }
    out.push_str(&text.replace('"', "\"\""));
    out.push('"');
}
