//! What LAST_INSERT_ID() says after a statement that failed.
//!
//! Rows before the one that failed had their ids generated: the first of them is what the connection
//! says from then on, although they were rolled back. No answer names it.

use highgate_mysql::sql::{Effects, StatementKind};

use super::{Outcome, after_values, may_fill_table, string};
use crate::{
    pins::PinCause,
    state::{ConnState, LastInsertId, SessionState},
    track::{self, CommandFacts, CommandKind},
};

/// Follows LAST_INSERT_ID() through a command that the server answered with an error.
pub(in crate::settle) fn failed(
    state: &mut SessionState,
    conn: &mut ConnState,
    facts: &CommandFacts<'_>,
    outcome: &Outcome<'_>,
) {
    if !facts.command.runs() || outcome.error.is_some_and(|code| facts.is_unread(code)) {
        return;
    }
    let effects = facts.shape.effects;
    let ran = outcome.error.is_some_and(|code| !track::is_early(code));
    let began = outcome.error.is_some_and(|code| !track::never_ran(code));
    let inserts = matches!(
        facts.shape.kind,
        StatementKind::Insert | StatementKind::Load | StatementKind::Replace
    ) || conn.flavor.is_kin() && may_fill_table(facts);
    // A routine, or an earlier statement of several, may have failed after it did something.
    let whole = effects.contains(Effects::CAN_CHANGE_SESSION)
        || effects.contains(Effects::MULTI) && effects.intersects(super::UNSEEN);
    let lost = whole
        || began && effects.contains(Effects::WRITES_LAST_INSERT_ID)
        || ran && inserts && !(inserts_one_row(facts) && outcome.error.is_some_and(is_of_a_row));
    if lost {
        state.last_insert_id = match (conn.last_insert_id, state.last_insert_id) {
            (Some(there), LastInsertId::Known(previous)) if there != previous => {
                LastInsertId::Failed { there, previous }
            }
            _ => conn.knows_insert_id(),
        };
        state.pins.insert(PinCause::LastInsertIdUnknown);
    }
    // A trigger may have failed after the only row was there, with an error as of a row.
    if lost || ran && inserts {
        conn.last_insert_id = None;
    }
}

/// Whether an error is most probably of the row itself, which then never was there: a value, a key, a lock. Any other
/// (a SIGNAL) is mostly of a trigger, behind the row.
const fn is_of_a_row(code: u16) -> bool {
    matches!(
        code,
        1020 | 1022
            | 1048
            | 1062
            | 1114
            | 1136
            | 1205
            | 1210
            | 1213
            | 1216
            | 1241
            | 1242
            | 1264
            | 1265
            | 1292
            | 1317
            | 1364
            | 1365
            | 1366
            | 1406
            | 1411
            | 1452
            | 1526
            | 1586
            | 1690
            | 1792
            | 1969
            | 3024
            | 3819
            | 4025
    )
}

/// Whether a statement is surely an `INSERT … VALUES (…)` of one row.
fn inserts_one_row(facts: &CommandFacts<'_>) -> bool {
    facts.command != CommandKind::StmtBulkExecute
        && facts.shape.kind != StatementKind::Load
        && !facts.mode.unsafe_charset
        && facts.text.is_some_and(|text| is_one_row(text, facts.mode.no_backslash_escapes))
}

fn is_one_row(text: &[u8], plain_backslash: bool) -> bool {
    let Some(mut rest) = after_values(text) else { return false };
    let (mut depth, mut rows) = (0_u32, 0_u32);
    while let Some((&byte, tail)) = rest.split_first() {
        rest = match byte {
            b'\'' | b'"' => match string(rest, byte, plain_backslash) {
                Some((_, after)) => after,
                None => return false,
            },
            b'#' | b'/' | b'-' | b'`' => return false,
            b'(' => {
                rows += u32::from(depth == 0);
                depth += 1;
                tail
            }
            b')' => {
                depth = depth.saturating_sub(1);
                tail
            }
            _ if depth > 0 || byte.is_ascii_whitespace() || byte == b';' => tail,
            _ => return false,
        };
    }
    depth == 0 && rows == 1
}

#[cfg(test)]
mod tests {
    use super::is_one_row;

    #[test]
    fn one_row_is_told_from_several() {
        for (text, one) in [
            ("INSERT INTO t (a, b) VALUES (1, NOW(3))", true),
            ("insert into `t` value ('a), (b', \"x\");", true),
            ("REPLACE INTO t (a) VALUES (?)", true),
            ("INSERT INTO t (a) VALUES (1), (2)", false),
            ("INSERT INTO t (a) VALUES (1) ON DUPLICATE KEY UPDATE a = 2", false),
            ("INSERT INTO t (a) VALUES (1) RETURNING a", false),
            ("INSERT INTO t (a) VALUES (1 -- ), (2\n)", false),
            ("INSERT INTO t SET a = 1", false),
            ("INSERT INTO t SELECT * FROM u", false),
        ] {
            assert_eq!(is_one_row(text.as_bytes(), false), one, "{text}");
        }
    }
}
