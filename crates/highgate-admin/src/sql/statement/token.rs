//! Words, quoted texts and signs: all that has to be known of a text to recognize it.

use crate::sql::dialect;

/// A word, a quoted text or a sign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token<'a> {
    Sign(char),
    Text(String),
    Word(&'a str),
}

impl Token<'_> {
    pub(super) fn is(&self, word: &str) -> bool {
        matches!(self, Self::Word(w) if w.eq_ignore_ascii_case(word))
    }
}

/// The tokens of a text, without white space and comments.
pub(super) fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        if let Some(after) = dialect::after_comment(rest) {
            rest = after;
            continue;
        }
        rest = match next {
            _ if next.is_whitespace() => rest.trim_start(),
            '\'' | '"' => {
                let (text, after) = dialect::literal(rest, next);
                tokens.push(Token::Text(text));
                after.unwrap_or_default()
            }
            '`' => {
                let body = rest.get(1..).unwrap_or_default();
                let (word, after) = body.split_once('`').unwrap_or((body, ""));
                tokens.push(Token::Word(word));
                after
            }
            _ if is_word(next) => {
                let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
                let (word, after) = rest.split_at(end);
                tokens.push(Token::Word(word));
                after
            }
            _ => {
                tokens.push(Token::Sign(next));
                rest.get(next.len_utf8()..).unwrap_or_default()
            }
        };
    }
    tokens
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '$' | '@' | '-')
}
