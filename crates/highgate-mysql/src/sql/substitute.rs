//! Values in the place of functions that ask a connection about itself.
//!
//! `CONNECTION_ID()`, `FOUND_ROWS()` and `ROW_COUNT()` mean something to the session, and another
//! thing to the shared connection that the statement runs on. Where they are part of a longer
//! statement they are replaced by what the session knows, if that is certain to change nothing else:
//! columns keep the names and types that the server would give them, the latter by a function that
//! never yields its second value. What is not certain is left as it is.

use super::token::{Lexer, Token};
use super::words::Call;
use super::{Effects, Flavor, LexMode, quote_identifier};

/// What a session knows of itself.
#[derive(Debug, Clone, Copy, Default)]
pub struct Known {
    /// `CONNECTION_ID()`.
    pub connection_id: Option<u32>,
    /// `FOUND_ROWS()`.
    pub found_rows: Option<u64>,
    /// `ROW_COUNT()`.
    pub row_count: Option<i64>,
    /// The text is to be prepared: it may have placeholders.
    pub prepares: bool,
}

/// Statements longer than this are left alone.
const LONGEST: usize = 64 * 1024;
/// Longest name of a column; beyond it servers cut.
const LONGEST_NAME: usize = 255;

/// A text with the functions replaced whose values are known; `None` if there is none, or not everything
/// is certain. Of several statements, the first changes what the others would count.
#[must_use]
pub fn substitute(text: &[u8], mode: LexMode, known: Known) -> Option<Vec<u8>> {
    let is_unsafe = mode.unsafe_charset && !text.is_ascii();
    if text.len() > LONGEST || is_unsafe {
        return None;
    }
    let tokens = tokens(text, mode, known.prepares)?;
    if names_server_ids(text, &tokens) {
        return None;
    }
    let mut edits = calls(&tokens, known)?;
    let counts = known.found_rows.is_some() || known.row_count.is_some();
    if !are_plain(text, &tokens)? || counts && are_several(&tokens) {
        return None;
    }
    let names = names(text, mode.flavor, &tokens, &edits)?;
    edits.extend(names);
    // A name goes behind what it names.
    edits.sort_by_key(|edit| (edit.from, edit.to));
    let (mut out, mut at) = (Vec::with_capacity(text.len().saturating_add(64)), 0_usize);
    for edit in &edits {
        out.extend_from_slice(text.get(at..edit.from)?);
        out.extend_from_slice(&edit.with);
        at = edit.to;
    }
    out.extend_from_slice(text.get(at..)?);
    Some(out)
}

/// Bytes in the place of a range.
struct Edit {
    from: usize,
    to: usize,
    with: Vec<u8>,
}

/// A token, where it lies, and how deep in parentheses.
struct Placed {
    token: Token,
    from: usize,
    to: usize,
    depth: usize,
}

impl Placed {
    fn word<'t>(&self, text: &'t [u8]) -> Option<&'t [u8]> {
        match self.token {
            Token::Word(span, ..) => Some(span.of(text)),
            _ => None,
        }
    }

    fn is(&self, text: &[u8], word: &[u8]) -> bool {
        self.word(text).is_some_and(|own| own.eq_ignore_ascii_case(word))
    }

    fn is_punct(&self, byte: u8) -> bool {
        self.token == Token::Punct(byte)
    }
}

/// Ids of server connections are meant where a text looks at those of others. Comments don't count: they
/// may name a driver (`mysql.connector`).
fn names_server_ids(text: &[u8], tokens: &[Placed]) -> bool {
    let mut lower = Vec::with_capacity(text.len());
    for token in tokens {
        lower.extend_from_slice(text.get(token.from..token.to).unwrap_or_default());
    }
    lower.make_ascii_lowercase();
    [&b"_schema"[..], b"processlist", b"used_lock", b"pseudo_thread", b"sys.", b"mysql."]
        .iter()
        .any(|word| memchr::memmem::find(&lower, word).is_some())
}

fn are_several(tokens: &[Placed]) -> bool {
    let end = tokens.iter().position(|token| token.is_punct(b';'));
    end.is_some_and(|end| end + 1 < tokens.len())
}

/// Whether all statements are ones whose columns are understood. What is set holds for the reading of what
/// follows, so only the last may set something.
fn are_plain(text: &[u8], tokens: &[Placed]) -> Option<bool> {
    const PLAIN: [&[u8]; 7] =
        [b"SELECT", b"INSERT", b"REPLACE", b"UPDATE", b"DELETE", b"DO", b"WITH"];
    if are_several(tokens) && !text.is_ascii() {
        return Some(false);
    }
    let statements = tokens.split_inclusive(|token| token.is_punct(b';'));
    let last = tokens.last()?.to;
    for statement in statements {
        let first = statement.first()?;
        let ends_text = statement.last()?.to == last;
        let is_plain = PLAIN.iter().any(|word| first.is(text, word));
        if !(is_plain || ends_text && first.is(text, b"SET")) {
            return Some(false);
        }
    }
    Some(true)
}

/// All tokens, without a placeholder unless they are `prepared`, and without comments that tell a server
/// something.
fn tokens(text: &[u8], mode: LexMode, prepared: bool) -> Option<Vec<Placed>> {
    let mut lexer = Lexer::new(text, mode);
    let (mut tokens, mut depth) = (Vec::<Placed>::new(), 0_usize);
    loop {
        let token = lexer.next();
        let to = lexer.position();
        match token {
            Token::End => break,
            Token::Placeholder if !prepared => return None,
            Token::Punct(b')') => depth = depth.checked_sub(1)?,
            _ => {}
        }
        let from = match token {
            Token::Word(span, ..)
            | Token::Number(span)
            | Token::Quoted(span)
            | Token::Text(span) => span.start as usize,
            Token::Variable(span) => (span.start as usize).checked_sub(1)?,
            Token::Placeholder | Token::Punct(_) => to.checked_sub(1)?,
            _ => to.checked_sub(2)?,
        };
        let placed = Placed { token, from, to, depth };
        if placed.is_punct(b'(') {
            depth = depth.saturating_add(1);
        }
        tokens.push(placed);
    }
    let unread = Effects::DOUBTFUL | Effects::OPTIMIZER_HINT | Effects::VERSION_COMMENT;
    if lexer.effects.intersects(unread) { None } else { Some(tokens) }
}

/// The calls whose values are known, at least one.
fn calls(tokens: &[Placed], known: Known) -> Option<Vec<Edit>> {
    let mut edits = Vec::new();
    for (at, window) in tokens.windows(3).enumerate() {
        let [name, open, close] = window else { continue };
        let Token::Word(_, _, call) = name.token else { continue };
        let value = match call {
            Call::ConnectionId => known
                .connection_id
                .map(|id| format!("IF(1,CAST({id} AS UNSIGNED),CONNECTION_ID())")),
            Call::FoundRows => known.found_rows.map(|rows| format!("IF(1,{rows},FOUND_ROWS())")),
            Call::RowCount => known.row_count.map(|rows| format!("IF(1,{rows},ROW_COUNT())")),
            _ => continue,
        };
        if !open.is_punct(b'(') || !close.is_punct(b')') || open.from != name.to {
            continue;
        }
        let before = at.checked_sub(1).and_then(|before| tokens.get(before));
        if before.is_some_and(|token| token.is_punct(b'.')) {
            continue;
        }
        let Some(value) = value else { continue };
        edits.push(Edit { from: name.from, to: close.to, with: value.into_bytes() });
    }
    if edits.is_empty() { None } else { Some(edits) }
}

/// Names for the columns whose text changes and which have none of their own, in the outermost SELECT
/// or RETURNING as in those within: where nobody asks for a name, it changes nothing.
fn names(text: &[u8], flavor: Flavor, tokens: &[Placed], calls: &[Edit]) -> Option<Vec<Edit>> {
    let mut edits = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        let is_returning = token.is(text, b"RETURNING") && flavor != Flavor::MySql;
        if !is_returning && !token.is(text, b"SELECT") {
            continue;
        }
        // There it is a word of the language; elsewhere it may be a name.
        if is_returning && flavor != Flavor::MariaDb {
            return None;
        }
        let list = select_list(text, tokens.get(at..)?)?;
        let mut next = 0_usize;
        for item in list.split(|other| other.depth == token.depth && other.is_punct(b',')) {
            let (Some(first), Some(last)) = (item.first(), item.last()) else { return None };
            let comma = next.checked_sub(1).and_then(|before| list.get(before));
            next += item.len() + 1;
            if !calls.iter().any(|call| call.from >= first.from && call.to <= last.to) {
                continue;
            }
            if has_name(text, item, token.depth)? {
                continue;
            }
            let from = match comma {
                Some(comma) => named_from(text, flavor, comma, first)?,
                None => first.from,
            };
            let written = text.get(from..last.to)?;
            if written.len() > LONGEST_NAME || !written.is_ascii() || written.contains(&b'\n') {
                return None;
            }
            let mut with = b" AS ".to_vec();
            quote_identifier(&mut with, written);
            edits.push(Edit { from: last.to, to: last.to, with });
        }
    }
    Some(edits)
}

/// Where the name of an item begins that follows a comma.
///
/// Quirk: a comment between the comma and the item is part of its name for MariaDB 10.11, not for MySQL 9.7.
/// One behind SELECT or behind the item is for neither, one within the item for both.
fn named_from(text: &[u8], flavor: Flavor, comma: &Placed, first: &Placed) -> Option<usize> {
    let gap = text.get(comma.to..first.from)?;
    let is_blank = |byte: &u8| byte.is_ascii_whitespace() || *byte == 0x0b;
    let from = comma.to + gap.iter().take_while(|byte| is_blank(byte)).count();
    match flavor {
        Flavor::MariaDb => Some(from),
        Flavor::MySql => Some(first.from),
        Flavor::MatrixOne | Flavor::StarRocks | Flavor::Unknown => {
            (from == first.from).then_some(from)
        }
    }
}

/// The tokens between the SELECT at the front with its modifiers and what ends the list of columns.
fn select_list<'p>(text: &[u8], tokens: &'p [Placed]) -> Option<&'p [Placed]> {
    const MODIFIERS: [&[u8]; 10] = [
        b"ALL",
        b"DISTINCT",
        b"DISTINCTROW",
        b"HIGH_PRIORITY",
        b"SQL_BIG_RESULT",
        b"SQL_BUFFER_RESULT",
        b"SQL_CACHE",
        b"SQL_CALC_FOUND_ROWS",
        b"SQL_NO_CACHE",
        b"SQL_SMALL_RESULT",
    ];
    const ENDS: [&[u8]; 17] = [
        b"FROM",
        b"INTO",
        b"WHERE",
        b"GROUP",
        b"HAVING",
        b"ORDER",
        b"LIMIT",
        b"OFFSET",
        b"FETCH",
        b"FOR",
        b"LOCK",
        b"UNION",
        b"INTERSECT",
        b"EXCEPT",
        b"MINUS",
        b"PROCEDURE",
        b"RETURNING",
    ];
    let is_one_of = |token: &Placed, words: &[&[u8]]| words.iter().any(|word| token.is(text, word));
    let behind = tokens.get(1..)?;
    let skipped = behind.iter().take_while(|token| is_one_of(token, &MODIFIERS)).count();
    let list = behind.get(skipped..)?;
    let depth = tokens.first()?.depth;
    let ends = |token: &Placed| {
        token.depth < depth
            || token.depth == depth && (token.is_punct(b';') || is_one_of(token, &ENDS))
    };
    let end = list.iter().position(ends).unwrap_or(list.len());
    list.get(..end)
}

/// Whether a column has a name of its own; `None` where that is not certain.
fn has_name(text: &[u8], item: &[Placed], depth: usize) -> Option<bool> {
    let (last, before) = match item {
        [.., before, last] => (last, Some(before)),
        [last] => (last, None),
        [] => return None,
    };
    if item.iter().any(|token| token.depth == depth && token.is(text, b"AS")) {
        return Some(true);
    }
    let is_operator =
        |token: &Placed| matches!(token.token, Token::Punct(byte) if !matches!(byte, b')' | b'('));
    match last.token {
        Token::Punct(b')') => Some(false),
        Token::Number(_) => Some(false),
        Token::Word(..) | Token::Quoted(_) | Token::Text(_) | Token::Variable(_) => {
            let before = before?;
            if is_operator(before) {
                Some(false)
            } else if before.is_punct(b')')
                && matches!(last.token, Token::Quoted(_) | Token::Word(..))
                && !is_keyword(text, last)
            {
                Some(true)
            } else {
                None
            }
        }
        _ => None,
    }
}

/// Words that end an expression instead of naming it.
fn is_keyword(text: &[u8], token: &Placed) -> bool {
    [&b"END"[..], b"NULL", b"TRUE", b"FALSE", b"UNKNOWN"].iter().any(|word| token.is(text, word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(text: &str) -> Option<String> {
        let known = Known {
            connection_id: Some(7),
            found_rows: Some(42),
            row_count: Some(-1),
            prepares: false,
        };
        let out = substitute(text.as_bytes(), LexMode::default(), known)?;
        Some(String::from_utf8(out).unwrap())
    }

    #[test]
    fn a_function_within_an_expression_becomes_its_value_and_the_column_keeps_its_name() {
        for (text, sent) in [
            (
                "SELECT CONNECTION_ID() + 1",
                "SELECT IF(1,CAST(7 AS UNSIGNED),CONNECTION_ID()) + 1 AS `CONNECTION_ID() + 1`",
            ),
            (
                "select a, ceil(found_rows()/10) pages, row_count()=-1 from t",
                "select a, ceil(IF(1,42,FOUND_ROWS())/10) pages, \
                 IF(1,-1,ROW_COUNT())=-1 AS `row_count()=-1` from t",
            ),
            (
                "SELECT IF(FOUND_ROWS() > 5, 'x', `y`) AS z, 1 LIMIT 3;",
                "SELECT IF(IF(1,42,FOUND_ROWS()) > 5, 'x', `y`) AS z, 1 LIMIT 3;",
            ),
            (
                "INSERT INTO t SELECT CONNECTION_ID(), b FROM u",
                "INSERT INTO t SELECT IF(1,CAST(7 AS UNSIGNED),CONNECTION_ID()) AS `CONNECTION_ID()`, \
                 b FROM u",
            ),
            (
                "UPDATE t SET a=connection_id()",
                "UPDATE t SET a=IF(1,CAST(7 AS UNSIGNED),CONNECTION_ID())",
            ),
            ("SET @n = ROW_COUNT()", "SET @n = IF(1,-1,ROW_COUNT())"),
            (
                "SELECT (SELECT FOUND_ROWS()), x.* FROM (SELECT connection_id(), 1) x",
                "SELECT (SELECT IF(1,42,FOUND_ROWS()) AS `FOUND_ROWS()`) AS `(SELECT FOUND_ROWS())`, x.* \
                 FROM (SELECT IF(1,CAST(7 AS UNSIGNED),CONNECTION_ID()) AS `connection_id()`, 1) x",
            ),
            (
                "SELECT 1 UNION SELECT FOUND_ROWS() EXCEPT SELECT 2",
                "SELECT 1 UNION SELECT IF(1,42,FOUND_ROWS()) AS `FOUND_ROWS()` EXCEPT SELECT 2",
            ),
            (
                "WITH c AS (SELECT CONNECTION_ID() AS id FROM t) SELECT id FROM c",
                "WITH c AS (SELECT IF(1,CAST(7 AS UNSIGNED),CONNECTION_ID()) AS id FROM t) SELECT id FROM c",
            ),
            (
                "SELECT 1 FROM t WHERE a IN (SELECT FOUND_ROWS())",
                "SELECT 1 FROM t WHERE a IN (SELECT IF(1,42,FOUND_ROWS()) AS `FOUND_ROWS()`)",
            ),
            (
                "SELECT 1 FROM t WHERE a = CONNECTION_ID()",
                "SELECT 1 FROM t WHERE a = IF(1,CAST(7 AS UNSIGNED),CONNECTION_ID())",
            ),
        ] {
            assert_eq!(with(text).as_deref(), Some(sent));
        }
    }

    fn for_flavor(text: &str, flavor: Flavor) -> Option<String> {
        let known = Known { connection_id: Some(7), ..Known::default() };
        let out = substitute(text.as_bytes(), LexMode { flavor, ..LexMode::default() }, known)?;
        Some(String::from_utf8(out).unwrap().replace(ID, "ID"))
    }

    const ID: &str = "IF(1,CAST(7 AS UNSIGNED),CONNECTION_ID())";

    /// What libraries put at the end of each statement had another session's number answered.
    #[test]
    fn comments_stay_and_columns_are_named_with_those_that_servers_name_them_with() {
        for (text, sent) in [
            ("SELECT CONNECTION_ID() /* x */", "SELECT ID AS `CONNECTION_ID()` /* x */"),
            (
                "/* a */ SELECT /* b */ CONNECTION_ID()",
                "/* a */ SELECT /* b */ ID AS `CONNECTION_ID()`",
            ),
            (
                "SELECT DISTINCT /* b */ CONNECTION_ID() /* x */ + /* y */ 1 /* z */ FROM t /* w */;",
                "SELECT DISTINCT /* b */ ID /* x */ + /* y */ 1 \
                 AS `CONNECTION_ID() /* x */ + /* y */ 1` /* z */ FROM t /* w */;",
            ),
            (
                "SELECT 1 /* a, b */, CONNECTION_ID()/*driver='mysql.connector'*/ # end",
                "SELECT 1 /* a, b */, ID AS `CONNECTION_ID()`/*driver='mysql.connector'*/ # end",
            ),
            ("SELECT CONNECTION_ID() /* é */ -- é", "SELECT ID AS `CONNECTION_ID()` /* é */ -- é"),
            ("SELECT CONNECTION_ID() /* x */ a", "SELECT ID /* x */ a"),
            ("SELECT '/*', CONNECTION_ID()", "SELECT '/*', ID AS `CONNECTION_ID()`"),
        ] {
            assert_eq!(for_flavor(text, Flavor::Unknown).as_deref(), Some(sent));
        }
    }

    #[test]
    fn a_comment_behind_a_comma_names_the_column_for_mariadb_alone() {
        let text = "SELECT 1,  /* x */ CONNECTION_ID(), 2";
        let mariadb = "SELECT 1,  /* x */ ID AS `/* x */ CONNECTION_ID()`, 2";
        assert_eq!(for_flavor(text, Flavor::MariaDb).as_deref(), Some(mariadb));
        let mysql = "SELECT 1,  /* x */ ID AS `CONNECTION_ID()`, 2";
        assert_eq!(for_flavor(text, Flavor::MySql).as_deref(), Some(mysql));
        assert_eq!(for_flavor(text, Flavor::Unknown), None);
        let named = "SELECT 1, /* x */ CONNECTION_ID() AS id";
        assert_eq!(
            for_flavor(named, Flavor::Unknown).as_deref(),
            Some("SELECT 1, /* x */ ID AS id")
        );
    }

    #[test]
    fn comments_that_tell_a_server_something_leave_the_text_alone() {
        for text in [
            "SELECT CONNECTION_ID() /*! + 1 */",
            "SELECT CONNECTION_ID() /*M! + 1 */",
            "SELECT /*+ NO_ICP(t) */ CONNECTION_ID() FROM t",
            "SELECT CONNECTION_ID() /* a /* b */",
            "SELECT CONNECTION_ID() /* open",
        ] {
            assert_eq!(for_flavor(text, Flavor::MariaDb), None, "{text}");
        }
    }

    #[test]
    fn what_returning_gives_keeps_its_names_where_that_is_a_word_of_the_language() {
        let text = "INSERT INTO t SELECT 1 RETURNING a, CONNECTION_ID()";
        let sent = "INSERT INTO t SELECT 1 RETURNING a, ID AS `CONNECTION_ID()`";
        assert_eq!(for_flavor(text, Flavor::MariaDb).as_deref(), Some(sent));
        assert_eq!(for_flavor(text, Flavor::Unknown), None);
        let text = "UPDATE t SET returning = CONNECTION_ID()";
        assert_eq!(for_flavor(text, Flavor::MySql).as_deref(), Some("UPDATE t SET returning = ID"));
    }

    #[test]
    fn each_of_several_statements_gets_the_id_and_none_a_count_that_another_changes() {
        let text =
            "SELECT 1 /* a */; DO 1; SELECT CONNECTION_ID() /* b */; SET @n = CONNECTION_ID()";
        let sent = "SELECT 1 /* a */; DO 1; SELECT ID AS `CONNECTION_ID()` /* b */; SET @n = ID";
        assert_eq!(for_flavor(text, Flavor::Unknown).as_deref(), Some(sent));
        assert_eq!(with(text), None);
        for text in [
            "SET sql_mode = 'ANSI_QUOTES'; SELECT CONNECTION_ID(), \"a\"",
            "SELECT 'é'; SELECT CONNECTION_ID()",
            "CREATE TABLE t (a INT); SELECT CONNECTION_ID()",
            "SELECT CONNECTION_ID(); SELECT * FROM information_schema.processlist",
            "; SELECT CONNECTION_ID()",
        ] {
            assert_eq!(for_flavor(text, Flavor::MariaDb), None, "{text}");
        }
    }

    #[test]
    fn what_is_not_certain_is_left_alone() {
        for text in [
            "SELECT 'CONNECTION_ID()'",
            "SELECT shop.connection_id()",
            "SELECT CONNECTION_ID () + 1",
            "SELECT id FROM information_schema.processlist WHERE id = CONNECTION_ID()",
            "SELECT IS_USED_LOCK('l') = CONNECTION_ID()",
            "CREATE TABLE t AS SELECT CONNECTION_ID()",
            "SELECT CONNECTION_ID() + ?",
            "SELECT 1; SELECT CONNECTION_ID()",
            "SELECT CONNECTION_ID() IS NULL",
            "SELECT CASE WHEN CONNECTION_ID() THEN (1) END",
            "SELECT connection_id FROM t",
            "CALL p(CONNECTION_ID())",
        ] {
            assert_eq!(with(text), None, "{text}");
        }
    }

    #[test]
    fn what_the_session_does_not_know_is_asked_of_the_server() {
        let known = Known { connection_id: Some(7), ..Known::default() };
        let text = b"SELECT CONNECTION_ID() + FOUND_ROWS() AS n";
        let sent = "SELECT IF(1,CAST(7 AS UNSIGNED),CONNECTION_ID()) + FOUND_ROWS() AS n";
        let out = substitute(text, LexMode::default(), known).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), sent);
        assert_eq!(substitute(b"SELECT ROW_COUNT()", LexMode::default(), known), None);
    }

    #[test]
    fn a_text_to_be_prepared_may_have_placeholders() {
        let known = Known { connection_id: Some(7), prepares: true, ..Known::default() };
        let text = b"SELECT ?, CONNECTION_ID() = ? AS own FROM t LIMIT ?";
        let sent = "SELECT ?, IF(1,CAST(7 AS UNSIGNED),CONNECTION_ID()) = ? AS own FROM t LIMIT ?";
        let out = substitute(text, LexMode::default(), known).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), sent);
    }

    #[test]
    fn ascii_is_read_alike_in_every_character_set() {
        let gbk = LexMode { unsafe_charset: true, ..LexMode::default() };
        let known = Known { connection_id: Some(7), ..Known::default() };
        let sent = substitute(b"SELECT CONNECTION_ID() + 1 AS n", gbk, known).unwrap();
        assert_eq!(sent, b"SELECT IF(1,CAST(7 AS UNSIGNED),CONNECTION_ID()) + 1 AS n");
        assert_eq!(substitute(b"SELECT CONNECTION_ID() AS n, '\xd6\xd0'", gbk, known), None);
    }
}
