//! What LAST_INSERT_ID() says after a command.
//!
//! An OK packet names the first generated id, or else the last id that the statement wrote
//! itself: then LAST_INSERT_ID() keeps its old value. The two can't be told apart by the packet. But an id
//! that was written must stand in the statement: if every value is a plain literal and none of them equals the
//! answer's id, it was generated. Otherwise the session keeps its connection, and the driver asks it
//! (`SELECT LAST_INSERT_ID()`, [`super::captured`]) when the value is read or the connection wanted.

mod failed;
mod values;

use highgate_mysql::sql::{Effects, StatementKind};

pub(super) use failed::failed;

use super::Outcome;
use crate::{
    pins::PinCause,
    state::{ConnState, LastInsertId, SessionState},
    track::{CommandFacts, CommandKind},
};

/// Follows LAST_INSERT_ID() through a command that ended well.
pub(super) fn follow(
    state: &mut SessionState,
    conn: &mut ConnState,
    facts: &CommandFacts<'_>,
    outcome: &Outcome<'_>,
) {
    if !facts.command.runs() {
        return;
    }
    let inserts = matches!(
        facts.shape.kind,
        StatementKind::Insert | StatementKind::Replace | StatementKind::Load
    );
    if facts.does(HIDES) {
        if facts.shape.effects.intersects(UNSEEN) || inserts {
            state.last_insert_id = conn.knows_insert_id();
        }
    } else if facts.does(Effects::WRITES_LAST_INSERT_ID) {
        // An UPDATE is answered with the id that it set, unless that is 0.
        let is_told = facts.shape.kind == StatementKind::Update && outcome.insert_id != 0;
        state.last_insert_id = match is_told {
            true => LastInsertId::Known(outcome.insert_id),
            false => conn.knows_insert_id(),
        };
    } else if facts.shape.kind == StatementKind::Load && conn.flavor.is_kin() {
        // Servers answer it without an id, whatever was generated.
        state.last_insert_id = LastInsertId::Untold;
    } else if inserts && outcome.rows.is_some() {
        // RETURNING: rows came in place of the OK that names the id.
        state.last_insert_id = conn.knows_insert_id();
    } else if inserts && outcome.insert_id != 0 {
        let id = outcome.insert_id;
        state.last_insert_id = match (state.last_insert_id, may_be_written(facts, id)) {
            (_, false) => LastInsertId::Known(id),
            (LastInsertId::Known(previous), true) if previous != id => {
                LastInsertId::Doubtful { candidate: id, previous }
            }
            // The session's own either way; but where it was written the connection says what it said before.
            (LastInsertId::Known(_), true) => {
                conn.last_insert_id = conn.last_insert_id.filter(|there| *there == id);
                return;
            }
            (_, true) => conn.knows_insert_id(),
        };
    } else if outcome.insert_id != 0 {
        // CREATE TABLE … SELECT: its connection knew the session's own ([`may_fill_table`]).
        state.last_insert_id = LastInsertId::Untold;
    } else {
        return;
    }
    let known = match state.last_insert_id {
        LastInsertId::Known(id) => Some(id),
        LastInsertId::Doubtful { .. }
        | LastInsertId::Failed { .. }
        | LastInsertId::OnConnection
        | LastInsertId::Untold => None,
    };
    state.insert_id_lost &= known.is_none_or(|id| id == 0);
    conn.last_insert_id = known;
    state.pins.set(PinCause::LastInsertIdUnknown, known.is_none());
}

/// Effects of texts of which not all is seen, or more than the last answer tells of.
const HIDES: Effects = Effects::CAN_CHANGE_SESSION.union(Effects::DOUBTFUL).union(Effects::MULTI);

/// What may set it without the answer saying so.
const UNSEEN: Effects = Effects::WRITES_LAST_INSERT_ID
    .union(Effects::CAN_CHANGE_SESSION)
    .union(Effects::WRITES)
    .union(Effects::DOUBTFUL);

/// Whether a statement may make a table of rows, whose ids it may generate or write: `CREATE TABLE … SELECT`.
pub(crate) fn may_fill_table(facts: &CommandFacts<'_>) -> bool {
    let has = |text: &[u8], word: &[u8]| {
        text.windows(word.len()).filter(|part| part.eq_ignore_ascii_case(word)).count()
    };
    matches!(facts.shape.kind, StatementKind::Ddl | StatementKind::CreateTemporary)
        && facts.text.is_none_or(|text| {
            has(text, b"CREATE") > 0
                && (has(text, b"SELECT") > 0 || has(text, b"VALUES") > 0 || has(text, b"TABLE") > 1)
        })
}

/// Whether the statement may have written that id itself.
pub(crate) fn may_be_written(facts: &CommandFacts<'_>, id: u64) -> bool {
    let Some(text) = facts.text else { return true };
    if facts.shape.kind == StatementKind::Load || facts.mode.unsafe_charset {
        return true;
    }
    let backslash = facts.mode.no_backslash_escapes;
    let bound = facts.shape.effects.contains(Effects::HAS_PLACEHOLDER) && facts.statement.is_some();
    let Some(placeholders) = may_stand_in(text, id, backslash) else {
        return true;
    };
    match (bound, facts.values) {
        (false, _) => placeholders > 0,
        (true, Some(packet)) if facts.command == CommandKind::StmtExecute => {
            values::may_hold(packet, placeholders, id)
        }
        (true, _) => true,
    }
}

/// `None` where an INSERT's text may write `id`: it has such a literal, or anything but plain literals
/// and placeholders; else the number of placeholders.
fn may_stand_in(text: &[u8], id: u64, plain_backslash: bool) -> Option<usize> {
    let mut rest = after_values(text)?;
    let mut placeholders = 0;
    while let Some((&byte, tail)) = rest.split_first() {
        rest = match byte {
            b'\'' | b'"' => {
                let (literal, after) = string(rest, byte, plain_backslash)?;
                if reads_as(literal, id) {
                    return None;
                }
                after
            }
            b'0'..=b'9' | b'.' => {
                let end = rest.iter().position(|b| !is_number(*b)).unwrap_or(rest.len());
                let (number, after) = rest.split_at(end);
                if reads_as(number, id) {
                    return None;
                }
                after
            }
            b'a'..=b'z' | b'A'..=b'Z' | b'_' => {
                let end = rest
                    .iter()
                    .position(|b| !b.is_ascii_alphanumeric() && *b != b'_')
                    .unwrap_or(rest.len());
                let (word, after) = rest.split_at(end);
                if ![&b"NULL"[..], b"DEFAULT", b"TRUE", b"FALSE", b"NOW", b"CURRENT_TIMESTAMP"]
                    .iter()
                    .any(|known| word.eq_ignore_ascii_case(known))
                    || (id <= 1 && word.len() <= 5 && !word.eq_ignore_ascii_case(b"NULL"))
                {
                    return None;
                }
                after
            }
            b'?' => {
                placeholders += 1;
                tail
            }
            b'(' | b')' | b',' | b';' => tail,
            byte if byte.is_ascii_whitespace() => tail,
            _ => return None,
        };
    }
    Some(placeholders)
}

const fn is_number(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'.'
}

/// What follows the word VALUES or VALUE of `INSERT … VALUES (…)`; `None` if it isn't that plain.
fn after_values(text: &[u8]) -> Option<&[u8]> {
    let mut rest = text;
    loop {
        let (&byte, tail) = rest.split_first()?;
        match byte {
            b'`' => {
                let end = tail.iter().position(|b| *b == b'`')?;
                rest = tail.get(end + 1..)?;
            }
            b'\'' | b'"' | b'/' | b'#' | b'-' => return None,
            byte if byte.is_ascii_alphabetic() || byte == b'_' || byte >= 0x80 => {
                let end = rest
                    .iter()
                    .position(|b| !b.is_ascii_alphanumeric() && *b != b'_' && *b < 0x80)
                    .unwrap_or(rest.len());
                let (word, after) = rest.split_at(end);
                if word.eq_ignore_ascii_case(b"VALUES") || word.eq_ignore_ascii_case(b"VALUE") {
                    return after.trim_ascii_start().starts_with(b"(").then_some(after);
                }
                if word.eq_ignore_ascii_case(b"SELECT") || word.eq_ignore_ascii_case(b"SET") {
                    return None;
                }
                rest = after;
            }
            _ => rest = tail,
        }
    }
}

/// A string literal's inside and what follows it; escapes are left as written.
fn string(text: &[u8], quote: u8, plain_backslash: bool) -> Option<(&[u8], &[u8])> {
    let mut at = 1;
    loop {
        match *text.get(at)? {
            b'\\' if !plain_backslash => at += 2,
            byte if byte == quote => {
                if text.get(at + 1) == Some(&quote) {
                    at += 2;
                } else {
                    return Some((text.get(1..at)?, text.get(at + 1..)?));
                }
            }
            _ => at += 1,
        }
    }
}

/// Whether a server may read that literal as the integer `id`, with rounding and leading text.
fn reads_as(literal: &[u8], id: u64) -> bool {
    if literal.contains(&b'\\') {
        return true;
    }
    let text = literal.trim_ascii_start();
    let text = text.strip_prefix(b"+").unwrap_or(text);
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (whole, rest) = text.split_at(digits);
    if digits == 0 && !rest.starts_with(b".") {
        return false;
    }
    let plain = !matches!(rest.first(), Some(b'.' | b'e' | b'E' | b'x' | b'X' | b'b' | b'B'));
    if !plain {
        // Fractions, exponents, hexadecimals: the value is not computed here.
        return true;
    }
    let value = whole
        .iter()
        .try_fold(0_u64, |sum, digit| sum.checked_mul(10)?.checked_add(u64::from(digit - b'0')));
    digits > 0 && value.is_none_or(|value| value == id)
}

#[cfg(test)]
mod tests {
    use super::may_stand_in;

    #[test]
    fn an_id_that_is_not_in_the_text_was_generated() {
        for text in [
            "INSERT INTO t (a, b) VALUES (1, 'x')",
            "insert into `t` values (NULL, 'it''s', 42), (null,'b',43)",
            "INSERT INTO s.t (a) VALUE ('70a')",
            "INSERT INTO t VALUES (DEFAULT, now(), '')",
            "INSERT INTO t2 VALUES ('2026-01-01 10:00:00')",
        ] {
            assert_eq!(may_stand_in(text.as_bytes(), 7, false), Some(0), "{text}");
        }
    }

    #[test]
    fn an_id_that_may_be_in_the_text_is_doubtful() {
        for text in [
            "INSERT INTO t (id) VALUES (7)",
            "INSERT INTO t (id) VALUES ('7')",
            "INSERT INTO t (id) VALUES (' 7abc')",
            "INSERT INTO t (id) VALUES (007)",
            "INSERT INTO t (id) VALUES (6.6)",
            "INSERT INTO t (id) VALUES (0x7)",
            "INSERT INTO t (id) VALUES (0b111)",
            "INSERT INTO t (id) VALUES (3+4)",
            "INSERT INTO t (id) VALUES (LENGTH('abcdefg'))",
            "INSERT INTO t (id) VALUES (@x)",
            "INSERT INTO t SET id = 7",
            "INSERT INTO t SELECT * FROM u",
            "INSERT INTO t (id) VALUES (1) ON DUPLICATE KEY UPDATE a = 2",
            "INSERT INTO t (id) VALUES ('\\x37')",
            "INSERT /* c */ INTO t (id) VALUES (1)",
            "INSERT INTO t (id) VALUES (x'07')",
            "INSERT INTO t (id) VALUES ('open",
        ] {
            assert_eq!(may_stand_in(text.as_bytes(), 7, false), None, "{text}");
        }
    }

    #[test]
    fn truth_values_are_numbers() {
        assert_eq!(may_stand_in(b"INSERT INTO t VALUES (TRUE)", 1, false), None);
        assert_eq!(may_stand_in(b"INSERT INTO t VALUES (TRUE)", 2, false), Some(0));
    }

    #[test]
    fn placeholders_are_counted() {
        let text = b"INSERT INTO t (a, b) VALUES (?, 'x'), (?, '?')";
        assert_eq!(may_stand_in(text, 7, false), Some(2));
    }
}
