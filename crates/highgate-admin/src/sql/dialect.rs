//! MySQL's literals and comments, and a statement of MySQL's as SQLite reads it.
//!
//! Drivers quote values by MySQL's grammar. SQLite knows no escapes, reads `"…"` as a name and each `--` as
//! a comment: what was quoted rightly would end its literal there and be read as SQL. So literals and
//! comments are read here as MySQL does under the `sql_mode` that the port announces, an empty one, and
//! literals are written anew for SQLite. That mode is the one that every driver knows how to quote
//! for; some never look whether a server announces another (`NO_BACKSLASH_ESCAPES`).

use std::fmt::Write as _;

use super::answer::SqlError;

/// What follows the comment that a text begins with; `None` if it begins with none.
pub(super) fn after_comment(text: &str) -> Option<&str> {
    if let Some(body) = text.strip_prefix("--") {
        // `5--1` is six: only a blank, or the end, makes dashes a comment.
        let is_comment = body.chars().next().is_none_or(|c| c <= ' ' || c == '\u{7f}');
        return is_comment.then(|| after(body, "\n"));
    }
    if let Some(body) = text.strip_prefix('#') {
        return Some(after(body, "\n"));
    }
    text.strip_prefix("/*").map(|body| after(body, "*/"))
}

fn after<'a>(body: &'a str, end: &str) -> &'a str {
    body.split_once(end).map_or("", |(_, after)| after)
}

/// What the literal says that a text begins with, and what follows it; that is `None` if it is never closed.
pub(super) fn literal(text: &str, quote: char) -> (String, Option<&str>) {
    let mut said = String::new();
    let mut chars = text.char_indices().skip(1).peekable();
    while let Some((place, c)) = chars.next() {
        let follower = chars.peek().map(|(_, c)| *c);
        match follower {
            Some(escaped) if c == '\\' => {
                unescape(&mut said, escaped);
                chars.next();
            }
            Some(doubled) if c == quote && doubled == quote => {
                said.push(quote);
                chars.next();
            }
            _ if c == quote => return (said, text.get(place + quote.len_utf8()..)),
            _ => said.push(c),
        }
    }
    (said, None)
}

fn unescape(said: &mut String, escaped: char) {
    match escaped {
        '0' => said.push('\0'),
        'b' => said.push('\u{8}'),
        'n' => said.push('\n'),
        'r' => said.push('\r'),
        't' => said.push('\t'),
        'Z' => said.push('\u{1a}'),
        // Left for `LIKE`, where they mean the signs themselves.
        '%' | '_' => said.extend(['\\', escaped]),
        other => said.push(other),
    }
}

/// A statement of MySQL's as SQLite reads it.
///
/// # Errors
/// A syntax error where a quote is never closed.
pub(super) fn for_sqlite(text: &str) -> Result<String, SqlError> {
    let mut out = String::with_capacity(text.len() + 32);
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        if let Some(after) = after_comment(rest) {
            out.push(' ');
            rest = after;
            continue;
        }
        rest = match next {
            '\'' | '"' => {
                let (said, after) = literal(rest, next);
                let after = after.ok_or_else(|| unclosed(rest))?;
                write_literal(&mut out, &said, after);
                after
            }
            '`' => {
                let end = rest.get(1..).and_then(|body| body.find('`'));
                let end = end.ok_or_else(|| unclosed(rest))? + 2;
                let (name, after) = rest.split_at(end);
                out.push_str(name);
                after
            }
            // The second of two minus signs, which are no comment in MySQL.
            '-' if out.ends_with('-') => {
                out.push_str(" -");
                rest.get(1..).unwrap_or_default()
            }
            _ => {
                out.push(next);
                rest.get(next.len_utf8()..).unwrap_or_default()
            }
        };
    }
    Ok(out)
}

fn unclosed(rest: &str) -> SqlError {
    let near: String = rest.chars().take(40).collect();
    SqlError::syntax(format!("a quote is never closed; near '{near}'"))
}

fn write_literal(out: &mut String, said: &str, after: &str) {
    if out.ends_with('\'') {
        // Two literals side by side would be one with a quote in it.
        out.push(' ');
    }
    let is_pattern = said.contains('\\') && last_word(out).eq_ignore_ascii_case("LIKE");
    if said.contains('\0') {
        // SQLite's texts of statements end at a zero byte.
        out.push_str("CAST(x'");
        for byte in said.bytes() {
            let _ = write!(out, "{byte:02x}");
        }
        out.push_str("' AS TEXT)");
    } else {
        out.push('\'');
        out.push_str(&said.replace('\'', "''"));
        out.push('\'');
    }
    if is_pattern && !is_escape_named(after) {
        // MySQL's patterns have this one unless told otherwise, SQLite's have none.
        out.push_str(" ESCAPE '\\'");
    }
}

/// The word that a text ends with, but for blanks.
fn last_word(text: &str) -> &str {
    let is_other = |c: char| !c.is_alphanumeric() && !matches!(c, '_' | '`' | '\'' | '.' | '@');
    text.trim_end().rsplit(is_other).next().unwrap_or_default()
}

fn is_escape_named(mut after: &str) -> bool {
    loop {
        after = after.trim_start();
        match after_comment(after) {
            Some(rest) => after = rest,
            None => break,
        }
    }
    let end = after.find(|c: char| !c.is_alphanumeric()).unwrap_or(after.len());
    after.get(..end).is_some_and(|word| word.eq_ignore_ascii_case("ESCAPE"))
}

#[cfg(test)]
mod tests;
