//! Questions that Highgate answers from what it knows of the session.

use highgate_mysql::sql::{self, Effects, Flavor, StatementKind};

use crate::{
    answer::OwnAnswer,
    state::{LastInsertId, Open, SessionState, VarValue},
    track::{CommandFacts, CommandKind},
};

/// The answer to `SELECT FUNCTION() [[AS] alias]`, where the session knows it.
///
/// Within longer statements `highgate_mysql::sql::substitute` puts the values in.
#[must_use]
pub fn own_answer(
    state: &SessionState,
    facts: &CommandFacts<'_>,
    session_id: u32,
) -> Option<OwnAnswer> {
    let executes = facts.command == CommandKind::StmtExecute && !facts.opens_cursor;
    if facts.command != CommandKind::Query && !executes {
        return None;
    }
    // Whether a statement that failed ended or began a transaction, only the server knows: it answers.
    let transaction = &state.transaction;
    if transaction.open == Open::Implicit || transaction.unsure && state.in_transaction() {
        return None;
    }
    // Nearly all that is asked has neither, and is not looked at any closer.
    let may_ask = |text: &&[u8]| text.len() <= LONGEST && has_call_or_variable(text);
    let text = facts.text.filter(may_ask)?;
    let (asked, column) = question(text)?;
    if gets_no_rows(state) || !executes && asked != Asked::ThreadId && is_converted(state, facts) {
        return None;
    }
    let (value, unsigned) = match asked {
        Asked::ConnectionId | Asked::ThreadId => (i64::from(session_id), true),
        Asked::FoundRows => (i64::try_from(state.found_rows?).ok()?, false),
        Asked::LastInsertId => match state.last_insert_id {
            LastInsertId::Known(id) => (i64::try_from(id).ok()?, true),
            LastInsertId::Doubtful { .. }
            | LastInsertId::Failed { .. }
            | LastInsertId::OnConnection
            | LastInsertId::Untold => return None,
        },
        Asked::RowCount => (state.row_count?, false),
    };
    Some(OwnAnswer::Number { column: column.into(), value, unsigned })
}

/// The answer to who asks for a list of sessions: those of a server's own list have other numbers than
/// `KILL` takes.
pub(super) fn sessions(facts: &CommandFacts<'_>) -> Option<OwnAnswer> {
    let asks = facts.command == CommandKind::Query
        && facts.shape.kind == StatementKind::Show
        && !facts.does(Effects::MULTI);
    let text = facts.text.filter(|_| asks)?;
    let full = sql::process_list(text, facts.mode)?;
    Some(OwnAnswer::Sessions { full, asked: Some(text.into()) })
}

/// Whether `sql_select_limit` is 0: servers answer such questions with an empty result.
fn gets_no_rows(state: &SessionState) -> bool {
    let Some(VarValue::Text(limit)) = state.profile.variable("sql_select_limit") else {
        return false;
    };
    limit.iter().all(|byte| matches!(byte, b'0' | b'\''))
}

/// Whether a server would write the digits and the column's name in a charset that is not like ASCII: it
/// answers, and what the session knows is put there.
///
/// Quirk: MySQL leaves the digits as they are.
fn is_converted(state: &SessionState, facts: &CommandFacts<'_>) -> bool {
    facts.mode.flavor == Flavor::MariaDb && state.profile.charset.has_wide_results()
}

/// Looks at sixteen bytes at once.
fn has_call_or_variable(text: &[u8]) -> bool {
    let begins = |byte: u8| u8::from(byte == b'(') | u8::from(byte == b'@');
    let (blocks, rest) = text.as_chunks::<16>();
    let in_block = |block: &[u8; 16]| block.iter().fold(0, |all, byte| all | begins(*byte)) != 0;
    blocks.iter().any(in_block) || rest.iter().any(|byte| begins(*byte) != 0)
}

/// Whether a text is one that Highgate answers wherever it comes.
#[must_use]
pub fn is_question(text: &[u8]) -> bool {
    text.len() <= LONGEST && question(text).is_some()
}

/// `SELECT LAST_INSERT_ID() AS something;` with some blanks.
const LONGEST: usize = 80;

/// What a plain question is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    ConnectionId,
    FoundRows,
    LastInsertId,
    RowCount,
    /// As a variable, into whose place nothing is put on the way to a server.
    ThreadId,
}

const QUESTIONS: [(&str, Asked); 5] = [
    ("CONNECTION_ID", Asked::ConnectionId),
    ("FOUND_ROWS", Asked::FoundRows),
    ("LAST_INSERT_ID", Asked::LastInsertId),
    ("ROW_COUNT", Asked::RowCount),
    ("@@PSEUDO_THREAD_ID", Asked::ThreadId),
];

/// What a text asks for, and the name of the column.
fn question(text: &[u8]) -> Option<(Asked, &str)> {
    let text = std::str::from_utf8(text.trim_ascii()).ok()?;
    let text = text.strip_suffix(';').unwrap_or(text).trim_ascii_end();
    let rest = after_word(text, "SELECT")?;
    if !rest.starts_with(|c: char| c.is_ascii_whitespace()) {
        return None;
    }
    let expression = rest.trim_ascii_start();
    let (asked, rest) =
        QUESTIONS.iter().find_map(|(name, asked)| Some((*asked, after_word(expression, name)?)))?;
    let rest = if expression.starts_with('@') {
        rest
    } else {
        rest.strip_prefix('(')?.trim_ascii_start().strip_prefix(')')?
    };
    let written = expression.get(..expression.len() - rest.len())?;
    if rest.is_empty() {
        return Some((asked, written));
    }
    if !rest.starts_with(|c: char| c.is_ascii_whitespace()) {
        return None;
    }
    let rest = rest.trim_ascii_start();
    // Without AS, any word could be one of the language: only what follows AS is taken for a name.
    let alias = after_word(rest, "AS")?;
    let alias = alias.strip_prefix(|c: char| c.is_ascii_whitespace())?.trim_ascii();
    let bare = alias.strip_prefix('`').and_then(|inside| inside.strip_suffix('`')).unwrap_or(alias);
    let plain = bare.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let named = plain && bare.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    named.then_some((asked, bare))
}

/// What follows a word, whatever its case.
fn after_word<'t>(text: &'t str, word: &str) -> Option<&'t str> {
    let start = text.get(..word.len())?;
    start.eq_ignore_ascii_case(word).then(|| text.get(word.len()..))?
}
