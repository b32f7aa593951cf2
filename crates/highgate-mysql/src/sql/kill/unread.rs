//! A `KILL` in a text that servers may read in two ways: one may begin where a literal or a comment is seen here.

use super::super::blank;
use super::super::bytes::{find2, is_digit, is_name};
use super::super::token::{Lexer, Token};
use super::super::{Effects, Flavor, LexMode};
use super::{content, is_one_of};
use crate::charset;

/// Whether a statement of `text` may be a `KILL` behind a place from which it can't be read for sure.
#[must_use]
pub fn may_hide_kill(text: &[u8], mode: LexMode) -> bool {
    if !names_kill(text) {
        return false;
    }
    let sure = sure(text, mode);
    kills(text).filter(|at| *at >= sure.length).any(|at| {
        // Of its own it begins no statement within one that runs no others.
        let behind = text.get(sure.length..at).unwrap_or_default();
        !sure.runs_no_others || behind.contains(&b';')
    })
}

/// Whether the word is anywhere in `text`, also in literals and comments.
#[must_use]
pub fn names_kill(text: &[u8]) -> bool {
    kills(text).next().is_some()
}

/// Where the word stands alone, in whatever.
fn kills(text: &[u8]) -> impl Iterator<Item = usize> {
    const WORD: &[u8] = b"KILL";
    // Beyond ASCII may be a blank.
    let is_outside = |byte: u8| !is_name(byte) || !byte.is_ascii();
    let stands_alone = move |at: usize| {
        // The digits of a version comment touch what follows.
        let before = at.checked_sub(1).and_then(|before| text.get(before));
        let begins = before.is_none_or(|&byte| is_digit(byte) || is_outside(byte));
        begins && text.get(at + WORD.len()).is_none_or(|&byte| is_outside(byte))
    };
    let is_word = move |at: usize| {
        let word = text.get(at..at + WORD.len());
        word.is_some_and(|word| word.eq_ignore_ascii_case(WORD)) && stands_alone(at)
    };
    let letters = std::iter::successors(Some(find2(text, 0, b'k', b'K')), |at| {
        (*at < text.len()).then(|| find2(text, at + 1, b'k', b'K'))
    });
    letters.take_while(|at| *at < text.len()).filter(move |at| is_word(*at))
}

/// The beginning of a text that all servers read as it is read here.
struct Sure {
    length: usize,
    /// The statement in which it ends has begun, and is none that runs others, as blocks and `EXECUTE` do.
    runs_no_others: bool,
}

/// Statements that run no others, but what is stored.
const PLAIN: [&[u8]; 9] =
    [b"CALL", b"DELETE", b"INSERT", b"REPLACE", b"SELECT", b"SHOW", b"UPDATE", b"VALUES", b"WITH"];

fn sure(text: &[u8], mode: LexMode) -> Sure {
    let bytewise = LexMode { unsafe_charset: false, ..mode };
    let mut lexer = Lexer::new(text, bytewise);
    let mut sure = Sure { length: 0, runs_no_others: false };
    // Whether characters may end in a mark, and quotes mean something else.
    let (mut has_pairs, mut has_quotes) = (mode.unsafe_charset, false);
    // What may be a blank, from a SET on.
    let mut blanks = [mode.high_blank, None];
    // Where the statement begins, whether it has begun, and whether it is a SET.
    let (mut start, mut begins, mut sets) = (0, true, false);
    loop {
        let token = lexer.next();
        let from = sure.length;
        // With the byte before it: a character may span tokens.
        let read = text.get(from.saturating_sub(1)..lexer.position()).unwrap_or_default();
        if lexer.effects.contains(Effects::DOUBTFUL)
            || has_pairs && has_unsafe_pair(read, mode)
            || has_quotes && find2(read, 0, b'\\', b'"') < read.len()
            || blanks.iter().any(|blank| blank::splits(token, text, *blank))
        {
            return sure;
        }
        sure.length = lexer.position();
        match token {
            Token::End => return sure,
            Token::Punct(b';') => {
                if sets {
                    let set = text.get(start..sure.length).unwrap_or_default();
                    has_pairs |= sets_otherwise(set, mode, &CHARSETS, is_safe_charset);
                    if sets_otherwise(set, mode, &CHARSETS, has_no_blank) {
                        blanks = charset::HIGH_BLANKS.map(Some);
                    }
                    has_quotes |= sets_otherwise(set, mode, &MODES, |to| leaves_quotes(to, mode));
                }
                (start, begins, sets) = (sure.length, true, false);
                sure.runs_no_others = false;
            }
            Token::Word(word, ..) if begins => {
                begins = false;
                sets = is_one_of(word, text, &[b"SET"]);
                sure.runs_no_others = is_one_of(word, text, &PLAIN);
            }
            _ => begins = false,
        }
    }
}

/// What a `SET` names that changes how the statements behind it are read.
const CHARSETS: [&[u8]; 4] =
    [b"NAMES", b"CHARSET", b"CHARACTER_SET_CLIENT", b"`CHARACTER_SET_CLIENT`"];
const MODES: [&[u8]; 2] = [b"SQL_MODE", b"`SQL_MODE`"];

/// Whether `set` gives one of `names` anything but a single word or literal that `is_harmless`.
fn sets_otherwise(
    set: &[u8],
    mode: LexMode,
    names: &[&[u8]],
    is_harmless: impl Fn(&[u8]) -> bool,
) -> bool {
    let mut lexer = Lexer::new(set, mode);
    let mut token = lexer.next();
    loop {
        let name = match token {
            Token::End => return false,
            Token::Word(name, ..) | Token::Quoted(name) => name,
            _ => {
                token = lexer.next();
                continue;
            }
        };
        // CHARACTER SET is a name of two words.
        let is_charset = is_one_of(name, set, &[b"CHARACTER"]) && names == CHARSETS;
        token = lexer.next();
        if !is_charset && !is_one_of(name, set, names) {
            continue;
        }
        while matches!(token, Token::Assign | Token::Punct(b'='))
            || is_charset
                && matches!(token, Token::Word(word, ..) if is_one_of(word, set, &[b"SET"]))
        {
            token = lexer.next();
        }
        let harmless = match token {
            // It is read here, not set.
            Token::End | Token::Punct(b';' | b',') => continue,
            Token::Word(value, ..) => is_harmless(value.of(set)),
            Token::Text(value) => is_harmless(&content(value.of(set)).collect::<Vec<_>>()),
            _ => false,
        };
        token = lexer.next();
        let ends = match token {
            Token::End | Token::Punct(b';' | b',') => true,
            Token::Word(word, ..) => is_one_of(word, set, &[b"COLLATE"]),
            _ => false,
        };
        if !harmless || !ends {
            return true;
        }
    }
}

fn is_safe_charset(name: &[u8]) -> bool {
    // DEFAULT is whatever the server's is.
    let is_default = name.eq_ignore_ascii_case(b"DEFAULT");
    !is_default && std::str::from_utf8(name).is_ok_and(|it| !charset::is_unsafe_for_lexing(it))
}

fn has_no_blank(name: &[u8]) -> bool {
    !name.eq_ignore_ascii_case(b"DEFAULT") && charset::high_blank(name).is_none()
}

/// Whether a value of `sql_mode` leaves quotes and backslashes what they are by default, as they are now.
fn leaves_quotes(value: &[u8], mode: LexMode) -> bool {
    /// Parts of the names of those that don't: the combined ones have ANSI_QUOTES in them.
    const OTHERS: [&[u8]; 7] =
        [b"ANSI", b"BACKSLASH", b"DB2", b"MAXDB", b"MSSQL", b"ORACLE", b"POSTGRESQL"];
    let value = value.to_ascii_uppercase();
    let has = |part: &&[u8]| value.windows(part.len()).any(|window| window == *part);
    // A word is a variable, or DEFAULT; a number is of bits.
    let is_list = value != b"DEFAULT";
    is_list && !mode.ansi_quotes && !mode.no_backslash_escapes && !OTHERS.iter().any(has)
}

/// Whether two bytes may be one character whose second is a mark.
fn has_unsafe_pair(text: &[u8], mode: LexMode) -> bool {
    // MariaDB and MySQL take nothing below 0x40 for a second byte, but in a name between double quotes.
    let may_be_second = |byte: u8| match mode.flavor {
        Flavor::MariaDb | Flavor::MySql => {
            matches!(byte, b'\\' | b'`') || (byte == b'"' && mode.ansi_quotes)
        }
        _ => byte.is_ascii() && !byte.is_ascii_alphanumeric(),
    };
    text.array_windows().any(|[lead, second]| !lead.is_ascii() && may_be_second(*second))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::hides_kill;

    const GBK: LexMode = LexMode {
        ansi_quotes: false,
        no_backslash_escapes: false,
        pipes_as_concat: false,
        ignore_space: false,
        flavor: Flavor::MariaDb,
        server_version: 0,
        newest_version: 0,
        unsafe_charset: true,
        high_blank: None,
    };
    const UTF8: LexMode = LexMode { unsafe_charset: false, ..GBK };

    fn each(texts: &[&[u8]], mode: LexMode, may: bool) {
        for text in texts {
            assert_eq!(may_hide_kill(text, mode), may, "{}", text.escape_ascii());
        }
    }

    #[test]
    fn a_kill_may_stand_behind_what_is_read_in_two_ways() {
        let texts: [&[u8]; 9] = [
            b"SELECT '\xbf\\'; KILL 7 -- '",
            b"SELECT '\xbf\\';kill 7#'",
            b"SELECT '\xbf\\'; /*!50000KILL 7 */ -- '",
            b"SELECT `\xbf` `; KILL 7 -- `",
            b"SELECT $a$ ' $a$; KILL 7 -- '",
            b"SELECT /* /* */ '; KILL 7 -- */ '",
            b"/* /* */ KILL 7 -- */ SELECT 1",
            b"SELECT 1; /* /* */ KILL 7 -- */ SELECT 1",
            b"BEGIN NOT ATOMIC /* /* */ KILL 7; END -- */ SELECT 1",
        ];
        each(&texts, GBK, true);
        each(&[b"EXECUTE IMMEDIATE '\xbf\\' 'KILL 7'"], GBK, true);
        let of_others = LexMode { flavor: Flavor::StarRocks, ..GBK };
        each(&[b"SELECT '\xbf'; KILL 7 -- '"], of_others, true);
        let quoted_names = LexMode { ansi_quotes: true, ..GBK };
        each(&[b"SELECT \"\xbf\", \"; KILL 7 -- \""], quoted_names, true);
    }

    #[test]
    fn a_kill_may_stand_behind_a_set_that_changes_how_texts_are_read() {
        let texts: [&[u8]; 9] = [
            b"SET NAMES gbk; SELECT '\xbf\\'; KILL 7 -- '",
            b"SET NAMES DEFAULT; SELECT '\xbf\\'; KILL 7 -- '",
            b"SET NAMES 'g' 'bk'; SELECT '\xbf\\'; KILL 7 -- '",
            b"SET CHARACTER SET 'gbk'; SELECT '\xbf\\'; KILL 7 -- '",
            b"SET @a = @@sql_mode, @@session.character_set_client = sjis; SELECT '\xbf\\'; KILL 7 -- '",
            b"SET sql_mode = 'NO_BACKSLASH_ESCAPES'; SELECT '\\'; KILL 7 -- '",
            b"SET `sql_mode` = 'ANSI_QUOTES'; SELECT \"\\\"; KILL 7 -- \"",
            b"SET sql_mode = CONCAT(@@sql_mode, ',ansi'); SELECT '\\'; KILL 7 -- '",
            b"SET sql_mode = 1048576; SELECT '\\'; KILL 7 -- '",
        ];
        each(&texts, UTF8, true);
    }

    #[test]
    fn a_kill_may_stand_behind_a_blank_that_is_a_letter_elsewhere() {
        let latin = LexMode { high_blank: Some(0xa0), ..UTF8 };
        let texts: [&[u8]; 4] = [
            b"\xa0KILL 7",
            b"SELECT 1;\xa0KILL\xa07",
            b"BEGIN NOT ATOMIC\xa0KILL 7; END",
            b"SELECT 1 --\xa0'\n; KILL 7 -- '",
        ];
        each(&texts, latin, true);
        each(&[b"SET NAMES latin1; SELECT 1;\xa0KILL 7"], UTF8, true);
        each(&[b"SELECT '\xa0KILL 7'", b"SELECT a\xa0b, 'Kill Bill'"], latin, false);
        each(&[b"SET NAMES utf8mb4; SELECT \xc3\xa0, 'Kill Bill'"], UTF8, false);
        assert!(hides_kill(b"PREPARE s FROM '\xa0KILL 7'", latin));
    }

    /// Films, and songs: statements that any application sends.
    #[test]
    fn a_kill_in_a_value_is_none() {
        let texts: [&[u8]; 11] = [
            b"SELECT 'Kill Bill'",
            b"SELECT 'Kill Bill', '\xbf\\'",
            b"SELECT '\xbf\\', 'Kill Bill'",
            b"SELECT '\xd6\xd0', 'Kill Bill'",
            b"SELECT 'Kill Bill \xd6\xd0'",
            b"SELECT '\xbf\\', 'skilled', kills",
            b"SELECT 'Kill Bill', $a",
            b"SELECT /*+ SET_VAR(optimizer_switch='mrr=off') */ 1 FROM film WHERE title = 'Kill Bill';",
            b"SELECT /* /* */ 'Kill Bill'",
            b"INSERT INTO song VALUES ('\xbf\\', 'Kill the Lights')",
            b"WITH f AS (SELECT /*+ QB_NAME(`a`) */ 1) SELECT 'Kill Bill' FROM f",
        ];
        each(&texts, GBK, false);
        let texts: [&[u8]; 9] = [
            b"SET NAMES gbk; SELECT 'Kill Bill'",
            b"SET NAMES utf8mb4; INSERT INTO f VALUES ('Am\xc3\xa9lie', 'Kill Bill'); SELECT 1",
            b"SET NAMES 'utf8mb4' COLLATE 'utf8mb4_bin'; SELECT '\xc3\xa9\\'; Kill Bill'",
            b"SET NAMES gbk; INSERT INTO f VALUES ('Am\xc3\xa9lie'); INSERT INTO f VALUES ('Kill Bill')",
            b"SET sql_mode = ''; SELECT 'Kill Bill'",
            b"SET sql_mode = 'STRICT_TRANS_TABLES'; INSERT INTO f VALUES ('it\\'s; Kill Bill')",
            b"SET @o = @@SQL_MODE, SQL_MODE = 'NO_AUTO_VALUE_ON_ZERO'; SELECT \"it\\'s\"; SELECT 'Kill Bill'",
            b"SET @a = 1; SELECT '\xbf\\n', \"Kill Bill\"",
            b"SET sql_mode = 'ANSI'; SELECT '\\'', 'Kill Bill'",
        ];
        each(&texts, UTF8, false);
    }
}
