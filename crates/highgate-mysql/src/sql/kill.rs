//! Whom a `KILL` means, and who asks for the ids: they are Highgate's, and no server must read one as its own.

use super::bytes::{find2, is_digit, is_name};
use super::token::{Lexer, Token};
use super::{Effects, Flavor, LexMode, Span};

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
/// or in a literal that it prepares or executes, as `PREPARE s FROM 'KILL 7'`.
#[must_use]
pub fn hides_kill(text: &[u8], mode: LexMode) -> bool {
    /// What a statement follows.
    const BEFORE: [&[u8]; 6] = [b"ATOMIC", b"THEN", b"ELSE", b"DO", b"LOOP", b"REPEAT"];
    const PREPARES: [&[u8]; 2] = [b"FROM", b"IMMEDIATE"];
    let mut lexer = Lexer::new(text, mode);
    let (mut begins, mut prepares) = (false, false);
    // Literals beside each other are one.
    let mut literal = Vec::new();
    loop {
        let token = lexer.next();
        if let (true, Token::Text(part)) = (prepares, token) {
            literal.extend(content(part.of(text)));
            continue;
        }
        if !literal.is_empty() && (is_kill(&literal, mode) || hides_kill(&literal, mode)) {
            return true;
        }
        literal.clear();
        (begins, prepares) = match token {
            Token::End => return false,
            Token::Word(word, ..) if begins && is_one_of(word, text, &[b"KILL"]) => return true,
            Token::Word(word, ..) => {
                (is_one_of(word, text, &BEFORE), is_one_of(word, text, &PREPARES))
            }
            Token::Punct(sign) => (sign == b';', false),
            _ => (false, false),
        };
    }
}

/// Whether `text` may hold a `KILL` behind a place from which it can't be read for sure: a server may read a
/// statement where a literal or a comment is seen here.
#[must_use]
pub fn may_hide_kill(text: &[u8], mode: LexMode) -> bool {
    const WORD: &[u8] = b"KILL";
    let sure = sure_length(text, mode);
    let is_alone = |at: usize| {
        // The digits of a version comment touch what follows.
        let before = at.checked_sub(1).and_then(|before| text.get(before));
        let begins = before.is_none_or(|&byte| is_digit(byte) || !is_name(byte));
        begins && text.get(at + WORD.len()).is_none_or(|&byte| !is_name(byte))
    };
    let mut words = text.windows(WORD.len()).enumerate().skip(sure);
    words.any(|(at, word)| word.eq_ignore_ascii_case(WORD) && is_alone(at))
}

/// How much of `text`, from its beginning, all servers read as it is read here.
fn sure_length(text: &[u8], mode: LexMode) -> usize {
    let bytewise = LexMode { unsafe_charset: false, ..mode };
    let mut lexer = Lexer::new(text, bytewise);
    let mut sure = 0;
    // From where characters may end in ASCII bytes, and from where quotes may mean something else.
    let mut pairs_from = mode.unsafe_charset.then_some(0);
    let mut quotes_from = None;
    let (mut begins, mut sets, mut sets_charset, mut sets_mode) = (true, false, false, false);
    loop {
        let token = lexer.next();
        if lexer.effects.contains(Effects::DOUBTFUL) {
            break;
        }
        sure = lexer.position();
        match token {
            Token::End => {
                sure = text.len();
                break;
            }
            Token::Punct(b';') => {
                if std::mem::take(&mut sets_charset) {
                    pairs_from.get_or_insert(sure);
                }
                if std::mem::take(&mut sets_mode) {
                    quotes_from.get_or_insert(sure);
                }
                (begins, sets) = (true, false);
                continue;
            }
            Token::Word(word, ..) if begins => sets = is_one_of(word, text, &[b"SET"]),
            Token::Word(name, ..) | Token::Quoted(name) if sets => {
                sets_charset |= is_one_of(name, text, &CHARSETS);
                sets_mode |= is_one_of(name, text, &[b"SQL_MODE", b"`SQL_MODE`"]);
            }
            _ => {}
        }
        begins = false;
    }
    let pair = pairs_from.and_then(|from| unsafe_pair(text, from, mode));
    let quote = quotes_from.map(|from| find2(text, from, b'\\', b'"'));
    [pair, quote].into_iter().flatten().fold(sure, usize::min)
}

/// What a `SET` names that changes how the statements behind it are read.
const CHARSETS: [&[u8]; 5] =
    [b"NAMES", b"CHARACTER", b"CHARSET", b"CHARACTER_SET_CLIENT", b"`CHARACTER_SET_CLIENT`"];

/// Where two bytes may be one character whose second is a mark.
fn unsafe_pair(text: &[u8], from: usize, mode: LexMode) -> Option<usize> {
    // MariaDB and MySQL take nothing below 0x40 for a second byte, but in a name between double quotes.
    let may_be_second = |byte: u8| match mode.flavor {
        Flavor::MariaDb | Flavor::MySql => byte >= 0x40 || (byte == b'"' && mode.ansi_quotes),
        _ => true,
    };
    let is_unsafe = |pair: &[u8]| match pair {
        [lead, second] => !lead.is_ascii() && second.is_ascii() && may_be_second(*second),
        _ => false,
    };
    let rest = text.get(from..).unwrap_or_default();
    rest.windows(2).position(is_unsafe).map(|at| from + at)
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
        ] {
            assert!(hides(text), "{text}");
        }
        for text in [
            "PREPARE s FROM 'SELECT 1'",
            "PREPARE kill FROM @kill",
            "SELECT 'killed'",
            "EXECUTE IMMEDIATE 'INSERT INTO films VALUES (?)' USING 'Kill Bill'",
            "INSERT INTO films VALUES ('Kill Bill'); EXECUTE s",
            "IF 1 THEN SELECT 'KILL 7'; END IF",
        ] {
            assert!(!hides(text), "{text}");
        }
    }

    #[test]
    fn a_kill_may_stand_behind_what_is_read_in_two_ways() {
        let gbk = LexMode { unsafe_charset: true, flavor: Flavor::MariaDb, ..LexMode::default() };
        for text in [
            &b"SELECT '\xbf\\'; KILL 7 -- '"[..],
            b"SELECT '\xbf\\';kill 7#'",
            b"SELECT '\xbf\\'; /*!50000KILL 7 */ -- '",
            b"SELECT '\xbf\\', 'Kill Bill'",
            b"SELECT `\xbf` `; KILL 7 -- `",
            b"SELECT $a$ ' $a$; KILL 7 -- '",
            b"SELECT /* /* */ '; KILL 7 -- */ '",
        ] {
            assert!(may_hide_kill(text, gbk), "{}", text.escape_ascii());
        }
        for text in [
            &b"SELECT 'Kill Bill'"[..],
            b"SELECT 'Kill Bill', '\xbf\\'",
            b"SELECT '\xd6\xd0', 'Kill Bill'",
            b"SELECT 'Kill Bill \xd6\xd0'",
            b"SELECT '\xbf\\', 'skilled', kills",
            b"SELECT 'Kill Bill', $a",
        ] {
            assert!(!may_hide_kill(text, gbk), "{}", text.escape_ascii());
        }
        let others = LexMode { unsafe_charset: false, ..gbk };
        for text in [
            &b"SET NAMES gbk; SELECT '\xbf\\'; KILL 7 -- '"[..],
            b"SET @@session.character_set_client = sjis; SELECT '\xbf\\'; KILL 7 -- '",
            b"SET sql_mode = 'NO_BACKSLASH_ESCAPES'; SELECT '\\'; KILL 7 -- '",
            b"SET `sql_mode` = 'ANSI_QUOTES'; SELECT \"\\\"; KILL 7 -- \"",
        ] {
            assert!(may_hide_kill(text, others), "{}", text.escape_ascii());
        }
        for text in [
            &b"SET NAMES gbk; SELECT 'Kill Bill'"[..],
            b"SET sql_mode = ''; SELECT 'Kill Bill'",
            b"SET @a = 1; SELECT '\xbf\\n', \"Kill Bill\"",
        ] {
            assert!(!may_hide_kill(text, others), "{}", text.escape_ascii());
        }
        let of_others = LexMode { flavor: Flavor::StarRocks, ..gbk };
        assert!(may_hide_kill(b"SELECT '\xbf'; KILL 7 -- '", of_others));
        let quoted_names = LexMode { ansi_quotes: true, ..gbk };
        assert!(may_hide_kill(b"SELECT \"\xbf\", \"; KILL 7 -- \"", quoted_names));
    }
}
