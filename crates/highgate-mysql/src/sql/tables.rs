//! Whether a text reads from a table.

use super::token::{Lexer, Token};
use super::{LexMode, Span};

/// Functions with a FROM of their own: `TRIM(LEADING 'x' FROM s)`.
const WITH_FROM: [&[u8]; 5] = [b"EXTRACT", b"OVERLAY", b"SUBSTR", b"SUBSTRING", b"TRIM"];

/// Whether `text` names a table, as far as a FROM tells: that of a function and `FROM DUAL` do not.
/// Joined tables, subqueries and sets of rows count as tables.
#[must_use]
pub fn reads_from_table(text: &[u8], mode: LexMode) -> bool {
    let mut lexer = Lexer::new(text, mode);
    // The word before the token that is looked at, and whether each open parenthesis stands behind a
    // function with a FROM. Deeper than that, a FROM is a table's.
    let mut before: Option<Span> = None;
    let (mut depth, mut functions) = (0_u32, 0_u64);
    loop {
        let token = lexer.next();
        match token {
            Token::End => return false,
            Token::Punct(b'(') => {
                let bit = 1_u64.checked_shl(depth).unwrap_or(0);
                let is_function = before.is_some_and(|word| is_one_of(word.of(text), &WITH_FROM));
                functions = if is_function { functions | bit } else { functions & !bit };
                depth = depth.saturating_add(1);
            }
            Token::Punct(b')') => depth = depth.saturating_sub(1),
            Token::Word(word, ..) if is_one_of(word.of(text), &[b"FROM"]) => {
                let of_function = depth
                    .checked_sub(1)
                    .and_then(|outer| functions.checked_shr(outer))
                    .is_some_and(|bits| bits & 1 == 1);
                if !of_function && !is_dual(lexer.next(), text) {
                    return true;
                }
            }
            _ => {}
        }
        before = if let Token::Word(word, ..) = token { Some(word) } else { None };
    }
}

fn is_dual(token: Token, text: &[u8]) -> bool {
    matches!(token, Token::Word(word, ..) if is_one_of(word.of(text), &[b"DUAL"]))
}

fn is_one_of(word: &[u8], names: &[&[u8]]) -> bool {
    names.iter().any(|name| word.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reads(text: &str) -> bool {
        reads_from_table(text.as_bytes(), LexMode::default())
    }

    #[test]
    fn a_from_that_names_a_table_counts() {
        for text in [
            "SELECT a FROM t",
            "SELECT (SELECT MAX(a) from `t`)",
            "SELECT TRIM('x' FROM (SELECT a FROM t))",
            "SELECT 1 FROM dual; SELECT a FROM t",
            "SELECT 1 FROM (SELECT 2) AS x",
            "SET @a = (SELECT a FROM t)",
            "SELECT 1 /*!50000 FROM t */",
        ] {
            assert!(reads(text), "{text}");
        }
    }

    #[test]
    fn other_froms_do_not() {
        for text in [
            "SELECT 1",
            "SELECT 1 FROM DUAL WHERE 1",
            "SELECT TRIM(LEADING 'x' FROM 'xa'), EXTRACT(YEAR FROM NOW())",
            "SELECT SUBSTRING((SELECT 'FROM t') FROM 2), SUBSTR ('a' FROM 1)",
            "SELECT 'FROM t', `from`, @from /* FROM t */",
            "SET @a = 1 -- FROM t",
            "SELECT 1 FROM",
            "))(((",
            "",
        ] {
            assert_eq!(reads(text), text.ends_with(" FROM"), "{text}");
        }
    }
}
