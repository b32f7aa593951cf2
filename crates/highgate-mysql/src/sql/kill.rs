//! Whom a `KILL` means: ids are Highgate's, and no server must read one as its own.

use super::token::{Lexer, Token};
use super::{LexMode, Span};

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

/// Whether `text` has a literal that is a `KILL`, as in `PREPARE s FROM 'KILL 7'`.
#[must_use]
pub fn prepares_kill(text: &[u8], mode: LexMode) -> bool {
    let mut lexer = Lexer::new(text, mode);
    loop {
        match lexer.next() {
            Token::End => return false,
            Token::Text(literal) => {
                let inner = literal.of(text);
                let inner = inner.get(1..inner.len().saturating_sub(1)).unwrap_or_default();
                if let Token::Word(word, ..) = Lexer::new(inner, mode).next()
                    && is_one_of(word, inner, &[b"KILL"])
                {
                    return true;
                }
            }
            _ => {}
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
    fn a_kill_within_a_literal_is_seen() {
        let prepares = |text: &str| prepares_kill(text.as_bytes(), LexMode::default());
        assert!(prepares("PREPARE s FROM 'KILL 7'"));
        assert!(prepares("EXECUTE IMMEDIATE \" /* x */ kill query ?\" USING @a"));
        for text in ["PREPARE s FROM 'SELECT 1'", "PREPARE kill FROM @kill", "SELECT 'killed'"] {
            assert!(!prepares(text), "{text}");
        }
    }
}
