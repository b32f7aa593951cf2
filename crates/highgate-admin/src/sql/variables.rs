//! System variables: the handful that drivers read at connect, under MySQL's names.

use std::borrow::Cow;

use rusqlite::types::Value as SqlValue;

/// Function that stands for `@@name` in what SQLite is given.
pub(super) const FUNCTION: &str = "system_variable";

/// All variables with their values; `version` is told by the caller.
const VARIABLES: &[(&str, &str)] = &[
    ("auto_increment_increment", "1"),
    ("autocommit", "1"),
    ("character_set_client", "utf8mb4"),
    ("character_set_connection", "utf8mb4"),
    ("character_set_database", "utf8mb4"),
    ("character_set_results", "utf8mb4"),
    ("character_set_server", "utf8mb4"),
    ("collation_connection", "utf8mb4_general_ci"),
    ("collation_database", "utf8mb4_general_ci"),
    ("collation_server", "utf8mb4_general_ci"),
    ("init_connect", ""),
    ("interactive_timeout", "28800"),
    ("license", "Apache-2.0"),
    ("lower_case_table_names", "1"),
    ("max_allowed_packet", "1048576"),
    ("net_write_timeout", "60"),
    ("performance_schema", "0"),
    ("sql_mode", ""),
    ("system_time_zone", "UTC"),
    ("time_zone", "SYSTEM"),
    ("transaction_isolation", "READ-COMMITTED"),
    ("tx_isolation", "READ-COMMITTED"),
    ("version_comment", "Highgate admin"),
    ("wait_timeout", "28800"),
];

/// The variables and their values, for `SHOW VARIABLES`.
pub(super) fn all(version: &str) -> impl Iterator<Item = (&'static str, String)> + use<> {
    let known = VARIABLES.iter().map(|(name, value)| (*name, (*value).to_owned()));
    known.chain([("version", version.to_owned())])
}

/// One variable's value; `NULL` if there is none of this name.
pub(super) fn value(name: &str, version: &str) -> SqlValue {
    let found = all(version).find(|(known, _)| known.eq_ignore_ascii_case(name));
    match found {
        None => SqlValue::Null,
        Some((_, text)) => match text.parse() {
            Ok(number) => SqlValue::Integer(number),
            Err(_) => SqlValue::Text(text),
        },
    }
}

/// Replaces `@@name`, `@@session.name` and `@@global.name` outside of quotes by a function call.
pub(super) fn rewrite(text: &str) -> Cow<'_, str> {
    if !text.contains("@@") {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 32);
    let mut rest = text;
    let mut quote = None;
    while let Some(next) = rest.chars().next() {
        if quote.is_none() && rest.starts_with("@@") {
            let (name, after) = name_of(rest.get(2..).unwrap_or_default());
            out.push_str(FUNCTION);
            out.push_str("('");
            out.push_str(name);
            out.push_str("')");
            rest = after;
            continue;
        }
        quote = match (quote, next) {
            (None, '\'' | '"' | '`') => Some(next),
            (Some(open), close) if open == close => None,
            (quote, _) => quote,
        };
        out.push(next);
        rest = rest.get(next.len_utf8()..).unwrap_or_default();
    }
    Cow::Owned(out)
}

/// The variable's name without its scope, and what follows.
fn name_of(text: &str) -> (&str, &str) {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
    let end = text.find(|c: char| !is_part(c)).unwrap_or(text.len());
    let (name, after) = text.split_at(end);
    (name.rsplit('.').next().unwrap_or(name), after)
}

/// A result column's name as the client wrote it.
pub(super) fn column_name(name: &str) -> String {
    let written = name.strip_prefix(FUNCTION).and_then(|n| n.strip_prefix("('"));
    match written.and_then(|n| n.strip_suffix("')")) {
        Some(variable) if !variable.contains('\'') => format!("@@{variable}"),
        _ => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_replaced_outside_of_quotes_only() {
        for (text, rewritten) in [
            ("select 1", "select 1"),
            (
                "select @@version_comment limit 1",
                "select system_variable('version_comment') limit 1",
            ),
            ("select @@SESSION.sql_mode, '@@a'", "select system_variable('sql_mode'), '@@a'"),
            ("select '@@' || @@é", "select '@@' || system_variable('')é"),
        ] {
            assert_eq!(rewrite(text), rewritten);
        }
    }
}
