//! Whom a `KILL` means, and who asks for the ids: they are Highgate's, and no server must read one as its own.

mod unread;

use super::body::{self, Ends};
use super::token::{Lexer, Token};
use super::{Flavor, LexMode, Span};

pub use unread::{may_hide_kill, names_kill};

/// Whom a `KILL` means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KillTarget {
    /// The session of that number.
    Number(u64),
    /// The session itself: `CONNECTION_ID()`.
    Own,
    /// What only a server could work out: an expression, a variable, a placeholder, an account.
    Other,
}

/// Whom `text`, a single `KILL`, means.
#[must_use]
pub fn kill_target(text: &[u8], mode: LexMode) -> KillTarget {
    const BEFORE: [&[u8]; 5] = [b"KILL", b"HARD", b"SOFT", b"CONNECTION", b"QUERY"];
    let mut lexer = Lexer::new(text, mode);
    let target = loop {
        match lexer.next() {
            Token::Word(word, ..) if is_one_of(word, text, &BEFORE) => {}
            Token::Word(word, ..) if is_one_of(word, text, &[b"CONNECTION_ID"]) => {
                let is_call =
                    lexer.next() == Token::Punct(b'(') && lexer.next() == Token::Punct(b')');
                break if is_call { KillTarget::Own } else { KillTarget::Other };
            }
            Token::Number(digits) => {
                let digits = std::str::from_utf8(digits.of(text)).ok();
                let number = digits.and_then(|digits| digits.parse().ok());
                break number.map_or(KillTarget::Other, KillTarget::Number);
            }
            _ => break KillTarget::Other,
        }
    };
    loop {
        match lexer.next() {
            Token::End => return target,
            Token::Punct(b';') => {}
            _ => return KillTarget::Other,
        }
    }
}

/// Whether `text` runs a `KILL` without being one: in a compound statement, as `BEGIN NOT ATOMIC KILL 7; END`,
/// or in a literal that it prepares or executes, as `PREPARE s FROM 'KILL 7'`. What it only stores, it doesn't run.
#[must_use]
pub fn hides_kill(text: &[u8], mode: LexMode) -> bool {
    const PREPARES: [&[u8]; 2] = [b"FROM", b"IMMEDIATE"];
    // The word is reserved: behind a dot alone it is a name. Where it isn't, there are no blocks.
    let is_reserved = !matches!(mode.flavor, Flavor::MatrixOne | Flavor::StarRocks);
    let mut lexer = Lexer::new(text, mode);
    let (mut start, mut begins, mut prepares, mut after_dot) = (0, true, false, false);
    // Literals beside each other are one.
    let mut literal = Vec::new();
    // Where the end of one is unsure, so is what follows: to look again at each would read all of it each time.
    let mut is_sure = true;
    loop {
        let token = lexer.next();
        if let (true, Token::Text(part)) = (prepares, token) {
            let is_blank = |byte: &u8| mode.high_blank == Some(*byte);
            let said = content(part.of(text));
            literal.extend(said.map(|byte| if is_blank(&byte) { b' ' } else { byte }));
            continue;
        }
        if !literal.is_empty() && (is_kill(&literal, mode) || hides_kill(&literal, mode)) {
            return true;
        }
        literal.clear();
        match token {
            Token::End => return false,
            Token::Word(word, ..)
                if is_one_of(word, text, &[b"KILL"]) && (begins || is_reserved && !after_dot) =>
            {
                return true;
            }
            Token::Word(word, ..) if begins && is_sure && is_one_of(word, text, &[b"CREATE"]) => {
                if let Ends::At(end) = body::end(text, start, mode) {
                    lexer.seek(end);
                    start = end;
                    continue;
                }
                is_sure = false;
            }
            _ => {}
        }
        prepares = matches!(token, Token::Word(word, ..) if is_one_of(word, text, &PREPARES));
        after_dot = token == Token::Punct(b'.');
        begins = token == Token::Punct(b';');
        if begins {
            start = lexer.position();
        }
    }
}

fn is_kill(text: &[u8], mode: LexMode) -> bool {
    let first = Lexer::new(text, mode).next();
    matches!(first, Token::Word(word, ..) if is_one_of(word, text, &[b"KILL"]))
}

/// What a literal says, nearly: escapes of letters, and quotes that are doubled.
fn content(literal: &[u8]) -> impl Iterator<Item = u8> {
    let (quote, inner) = literal.split_first().unwrap_or((&0, &[]));
    let inner = inner.strip_suffix(&[*quote]).unwrap_or(inner);
    let mut after_quote = false;
    inner.iter().copied().filter(move |byte| {
        after_quote = byte == quote && !after_quote;
        *byte != b'\\' && !after_quote
    })
}

/// Whether `text` is a `SHOW PROCESSLIST` by itself, and then whether it asks for whole texts (`FULL`).
#[must_use]
pub fn process_list(text: &[u8], mode: LexMode) -> Option<bool> {
    let mut lexer = Lexer::new(text, mode);
    let mut words = std::iter::from_fn(|| match lexer.next() {
        Token::Word(word, ..) => Some(word),
        _ => None,
    });
    words.next().filter(|word| is_one_of(*word, text, &[b"SHOW"]))?;
    let word = words.next()?;
    let is_full = is_one_of(word, text, &[b"FULL"]);
    let word = if is_full { words.next()? } else { word };
    let is_list = is_one_of(word, text, &[b"PROCESSLIST"]);
    loop {
        match lexer.next() {
            Token::End => return is_list.then_some(is_full),
            Token::Punct(b';') => {}
            _ => return None,
        }
    }
}

fn is_one_of(word: Span, text: &[u8], names: &[&[u8]]) -> bool {
    names.iter().any(|name| word.of(text).eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_or_connection_id_alone_names_a_session() {
        let target = |text: &str| kill_target(text.as_bytes(), LexMode::default());
        for text in ["KILL 7", "kill hard query 7;", "KILL /* it */ CONNECTION 7 -- now"] {
            assert_eq!(target(text), KillTarget::Number(7), "{text}");
        }
        for text in ["KILL CONNECTION_ID()", "KILL QUERY connection_id ( ) ;"] {
            assert_eq!(target(text), KillTarget::Own, "{text}");
        }
        for text in [
            "KILL 5+1",
            "KILL ?",
            "KILL @id",
            "KILL -7",
            "KILL '7'",
            "KILL 7 OR 1",
            "KILL CONNECTION_ID",
            "KILL CONNECTION_ID() + 1",
            "KILL (SELECT 7)",
            "KILL 0x7",
            "KILL 99999999999999999999999",
            "KILL USER app",
            "KILL",
        ] {
            assert_eq!(target(text), KillTarget::Other, "{text}");
        }
    }

    #[test]
    fn a_kill_that_another_statement_runs_is_seen() {
        let hides = |text: &str| hides_kill(text.as_bytes(), LexMode::default());
        for text in [
            "PREPARE s FROM 'KILL 7'",
            "EXECUTE IMMEDIATE \" /* x */ kill query ?\" USING @a",
            "PREPARE s FROM 'KI' \"LL 7\"",
            "PREPARE s FROM '\\KILL 7'",
            "EXECUTE IMMEDIATE 'BEGIN NOT ATOMIC KILL 7; END'",
            "EXECUTE IMMEDIATE 'EXECUTE IMMEDIATE ''KILL 7'''",
            "BEGIN NOT ATOMIC KILL 7; END",
            "BEGIN NOT ATOMIC DO 1; kill query 7; END",
            "IF 1 THEN KILL 7; END IF",
            "WHILE 1 DO KILL 7; END WHILE",
            "BEGIN NOT ATOMIC BEGIN KILL 7; END; END",
            "BEGIN NOT ATOMIC DECLARE EXIT HANDLER FOR SQLEXCEPTION KILL 7; SIGNAL SQLSTATE '45000'; END",
            "BEGIN NOT ATOMIC SET STATEMENT max_statement_time=5 FOR KILL 7; END",
            "EXECUTE IMMEDIATE 'SET STATEMENT max_statement_time=5 FOR KILL 7'",
            "BEGIN KILL @id; END",
            "BEGIN <<l>> KILL QUERY 7; END",
            "CREATE TABLE x (event INT); KILL 7",
            "CREATE EVENT e ON SCHEDULE EVERY 1 DAY DO DELETE FROM t; KILL 7",
            "CREATE PROCEDURE p() BEGIN SELECT 1; KILL 7",
            "CREATE PROCEDURE p() BEGIN SELECT 1; CREATE PROCEDURE q() KILL 7",
        ] {
            assert!(hides(text), "{text}");
        }
        for text in [
            "PREPARE s FROM 'SELECT 1'",
            "PREPARE s FROM @kill",
            "BEGIN NOT ATOMIC SELECT t.kill, `kill` FROM t; END",
            "CREATE PROCEDURE p() BEGIN SELECT 1; KILL 7; END; CALL p()",
            "CREATE EVENT e ON SCHEDULE EVERY 1 DAY DO KILL 7; SELECT 1",
            "SELECT 'killed'",
            "EXECUTE IMMEDIATE 'INSERT INTO films VALUES (?)' USING 'Kill Bill'",
            "INSERT INTO films VALUES ('Kill Bill'); EXECUTE s",
            "IF 1 THEN SELECT 'KILL 7'; END IF",
        ] {
            assert!(!hides(text), "{text}");
        }
    }

    #[test]
    fn where_the_word_is_not_reserved_a_column_may_have_it() {
        let mode = LexMode { flavor: Flavor::StarRocks, ..LexMode::default() };
        assert!(!hides_kill(b"SELECT kill FROM t; SELECT 1", mode));
        assert!(hides_kill(b"SELECT kill FROM t; KILL 7", mode));
    }
}
