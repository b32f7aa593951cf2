//! Questions that Highgate answers from what it knows of the session.

use crate::{
    answer::OwnAnswer,
    state::{LastInsertId, SessionState},
    track::{CommandFacts, CommandKind},
};

/// The answer to `SELECT FUNCTION()` in its plain form, where the session knows it.
///
/// Quirk: CONNECTION_ID() within a longer statement is answered by the server, with its own id.
#[must_use]
pub fn own_answer(
    state: &SessionState,
    facts: &CommandFacts<'_>,
    session_id: u32,
) -> Option<OwnAnswer> {
    if facts.command != CommandKind::Query {
        return None;
    }
    let text = facts.text.filter(|text| text.len() <= LONGEST)?;
    let asks = |function: &str| is_plain_call(text, function.as_bytes());
    let (column, value, unsigned) = if asks("CONNECTION_ID") {
        ("CONNECTION_ID()", Some(i64::from(session_id)), true)
    } else if asks("LAST_INSERT_ID") {
        let LastInsertId::Known(id) = state.last_insert_id else {
            return None;
        };
        ("LAST_INSERT_ID()", i64::try_from(id).ok(), true)
    } else if asks("FOUND_ROWS") {
        (
            "FOUND_ROWS()",
            state.found_rows.and_then(|rows| i64::try_from(rows).ok()),
            false,
        )
    } else if asks("ROW_COUNT") {
        ("ROW_COUNT()", state.row_count, false)
    } else {
        return None;
    };
    value.map(|value| OwnAnswer::Number {
        column,
        value,
        unsigned,
    })
}

/// `SELECT LAST_INSERT_ID();` with some blanks.
const LONGEST: usize = 40;

fn is_plain_call(text: &[u8], function: &[u8]) -> bool {
    let word = |text: &[u8], word: &[u8]| -> Option<usize> {
        let start = text.get(..word.len())?;
        start.eq_ignore_ascii_case(word).then_some(word.len())
    };
    let text = text.trim_ascii();
    let text = text.strip_suffix(b";").unwrap_or(text).trim_ascii_end();
    let Some(rest) = word(text, b"SELECT").and_then(|end| text.get(end..)) else {
        return false;
    };
    if !rest.first().is_some_and(u8::is_ascii_whitespace) {
        return false;
    }
    let rest = rest.trim_ascii_start();
    let Some(rest) = word(rest, function).and_then(|end| rest.get(end..)) else {
        return false;
    };
    let Some(rest) = rest.strip_prefix(b"(") else {
        return false;
    };
    rest.trim_ascii_start() == b")"
}
