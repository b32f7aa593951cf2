//! Named locks that a session may hold: an upper bound, read from its texts.
//!
//! GET_LOCK may fail and RELEASE_LOCK may release nothing, so the bound is not the truth; but where it is
//! zero, no lock is held. Only statements that are nothing but one call with a plain name are read; any
//! other leaves the bound unknown until all locks are released at once.

use highgate_mysql::sql::Effects;

use super::CommandFacts;
use crate::{pins::PinCause, state::SessionState};

/// Names beyond which they are not kept.
const MAX_NAMES: usize = 16;

/// Follows the named locks through a statement that ended well.
pub(super) fn follow(state: &mut SessionState, facts: &CommandFacts<'_>) {
    let takes = facts.does(Effects::NAMED_LOCK);
    let releases = facts.does(Effects::RELEASES_NAMED_LOCK);
    let ends = releases && state.pins.contains(PinCause::NamedLock);
    if !takes && !ends {
        return;
    }
    let was = state.pins.contains(PinCause::NamedLock);
    let call = facts.text.filter(|_| facts.statement.is_none()).and_then(read);
    // Quirk: a SELECT of no row calls nothing, and says OK all the same.
    let may_be_idle = state.profile.variable("sql_select_limit").is_some();
    let call = call.filter(|call| matches!(call, Call::Get(_)) || !may_be_idle);
    match call {
        Some(Call::Get(name)) if state.named_locks.len() < MAX_NAMES => {
            // Bound without names: something unread was taken before.
            let known = !was || !state.named_locks.is_empty();
            if known {
                state.named_locks.push(name.into());
            }
        }
        Some(Call::Release(name)) => {
            let held = &mut state.named_locks;
            if let Some(at) = held.iter().position(|held| **held == *name) {
                held.swap_remove(at);
                state.pins.set(PinCause::NamedLock, !state.named_locks.is_empty());
            }
            return;
        }
        Some(Call::ReleaseAll) => {
            state.named_locks.clear();
            state.pins.remove(PinCause::NamedLock);
            return;
        }
        _ if takes => state.named_locks.clear(),
        _ => return,
    }
    state.pins.insert(PinCause::NamedLock);
}

#[derive(Debug, PartialEq, Eq)]
enum Call<'t> {
    Get(&'t [u8]),
    Release(&'t [u8]),
    ReleaseAll,
}

/// `SELECT GET_LOCK('name', 1) [AS x]` and its kin, with DO or SELECT.
fn read(text: &[u8]) -> Option<Call<'_>> {
    let text = text.trim_ascii();
    let text = text.strip_suffix(b";").unwrap_or(text);
    let rest = word(text, b"SELECT").or_else(|| word(text, b"DO"))?;
    if !rest.first()?.is_ascii_whitespace() {
        return None;
    }
    let rest = rest.trim_ascii_start();
    if let Some(rest) = word(rest, b"RELEASE_ALL_LOCKS") {
        let rest = rest.strip_prefix(b"(")?.trim_ascii_start().strip_prefix(b")")?;
        return is_over(rest).then_some(Call::ReleaseAll);
    }
    if let Some(rest) = word(rest, b"RELEASE_LOCK") {
        let (name, rest) = name(rest)?;
        return is_over(rest.strip_prefix(b")")?).then_some(Call::Release(name));
    }
    let (name, rest) = name(word(rest, b"GET_LOCK")?)?;
    let rest = rest.strip_prefix(b",")?.trim_ascii_start();
    let rest = rest.strip_prefix(b"-").unwrap_or(rest);
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit() || **byte == b'.').count();
    let rest = rest.get(digits..)?.trim_ascii_start().strip_prefix(b")")?;
    (digits > 0 && is_over(rest)).then_some(Call::Get(name))
}

/// `('name'`, or `("name"`, and what follows it. (Where that is an identifier the call fails: no table is named.)
fn name(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let rest = text.strip_prefix(b"(")?.trim_ascii_start();
    let (quote, inside) = rest.split_first().filter(|(quote, _)| matches!(quote, b'\'' | b'"'))?;
    let end = inside.iter().position(|byte| byte == quote)?;
    let (name, after) = (inside.get(..end)?, inside.get(end + 1..)?);
    let plain = |byte: &u8| byte.is_ascii_graphic() && *byte != b'\\' || *byte == b' ';
    (!name.is_empty() && name.iter().all(plain)).then(|| (name, after.trim_ascii_start()))
}

/// Nothing but an alias follows.
fn is_over(rest: &[u8]) -> bool {
    let rest = rest.trim_ascii();
    let alias = word(rest, b"AS").unwrap_or(rest).trim_ascii();
    alias.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'`'))
}

fn word<'t>(text: &'t [u8], word: &[u8]) -> Option<&'t [u8]> {
    let (start, rest) = text.split_at_checked(word.len())?;
    start.eq_ignore_ascii_case(word).then_some(rest)
}

#[cfg(test)]
mod tests {
    use highgate_mysql::sql::{LexMode, Scratch, analyze};

    use super::*;
    use crate::{state::VarValue, track::CommandKind};

    /// Observed: nothing was released, and the connection went to others with the lock.
    #[test]
    fn a_release_under_a_limit_of_rows_may_release_nothing() {
        let mut state = SessionState::new(0, "app", None, 45);
        let run = |state: &mut SessionState, text: &str| {
            let mut scratch = Scratch::new();
            let analysis = analyze(text.as_bytes(), LexMode::default(), &mut scratch);
            let mode = LexMode::default();
            let facts = CommandFacts::text(CommandKind::Query, text.as_bytes(), &analysis, mode);
            follow(state, &facts);
            state.pins.contains(PinCause::NamedLock)
        };
        assert!(run(&mut state, "SELECT GET_LOCK('l', 0)"));
        let none = VarValue::text(b"0");
        state.profile_mut().variables.insert("sql_select_limit".into(), none);
        assert!(run(&mut state, "SELECT RELEASE_LOCK('l')"));
        assert!(run(&mut state, "SELECT RELEASE_ALL_LOCKS()"));
        state.profile_mut().variables.clear();
        assert!(!run(&mut state, "SELECT RELEASE_LOCK('l')"));
    }

    #[test]
    fn one_call_with_a_plain_name_is_read() {
        for (text, call) in [
            ("SELECT GET_LOCK('a b', 10)", Some(Call::Get(b"a b"))),
            ("select get_lock( 'x' , -1.5 ) AS t1;", Some(Call::Get(b"x"))),
            ("DO GET_LOCK('x', 0)", Some(Call::Get(b"x"))),
            ("SELECT RELEASE_LOCK('x')", Some(Call::Release(b"x"))),
            ("DO GET_LOCK(\"it's\", 0)", Some(Call::Get(b"it's"))),
            ("SELECT RELEASE_LOCK(\"x\")", Some(Call::Release(b"x"))),
            ("SELECT RELEASE_LOCK(\"x')", None),
            ("SELECT RELEASE_ALL_LOCKS() n", Some(Call::ReleaseAll)),
            ("SELECT GET_LOCK('x', 1), GET_LOCK('y', 1)", None),
            ("SELECT GET_LOCK('x' 'y', 1)", None),
            ("SELECT GET_LOCK('it''s', 1)", None),
            ("SELECT GET_LOCK(CONCAT('x'), 1)", None),
            ("SELECT GET_LOCK('x', 1) FROM t", None),
            ("SELECT RELEASE_LOCK('x') + 1", None),
            ("SELECT GET_LOCK('x', ?)", None),
        ] {
            assert_eq!(read(text.as_bytes()), call, "{text}");
        }
    }
}
