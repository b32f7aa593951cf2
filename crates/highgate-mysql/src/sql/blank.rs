//! Blanks beyond ASCII: in some charsets of single bytes servers pass over a no-break space, which is a letter
//! to the lexer. Where one stands outside of quotes, a text is in doubt; it is looked for where the charset has
//! one, and the text has the byte.

use memchr::memchr;

use super::LexMode;
use super::token::{Lexer, Token};

/// Whether such a blank stands outside of quotes and comments.
pub(super) fn stands_outside(text: &[u8], mode: LexMode) -> bool {
    mode.high_blank.is_some_and(|blank| memchr(blank, text).is_some()) && is_in_a_token(text, mode)
}

#[cold]
fn is_in_a_token(text: &[u8], mode: LexMode) -> bool {
    let mut lexer = Lexer::new(text, LexMode { unsafe_charset: false, ..mode });
    loop {
        match lexer.next() {
            Token::End => return false,
            token if splits(token, text, mode.high_blank) => return true,
            _ => {}
        }
    }
}

/// Whether servers read several tokens where `token` was read, for they take that byte for a blank.
pub(super) fn splits(token: Token, text: &[u8], blank: Option<u8>) -> bool {
    let (Token::Word(span, ..) | Token::Number(span) | Token::Variable(span)) = token else {
        return false;
    };
    let bytes = span.of(text);
    let is_quoted = bytes.first().is_some_and(|byte| matches!(byte, b'`' | b'\'' | b'"'));
    !is_quoted && blank.is_some_and(|blank| memchr(blank, bytes).is_some())
}
