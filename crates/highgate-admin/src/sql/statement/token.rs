//! Words, quoted texts and signs: all that has to be known of a text to recognize it.

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
        rest = match next {
            _ if next.is_whitespace() => rest.trim_start(),
            '#' => after(rest, "\n"),
            '-' if rest.starts_with("--") => after(rest, "\n"),
            '/' if rest.starts_with("/*") => after(rest, "*/"),
            '\'' | '"' => {
                let (text, after) = quoted(rest, next);
                tokens.push(Token::Text(text));
                after
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

fn after<'a>(text: &'a str, end: &str) -> &'a str {
    text.split_once(end).map_or("", |(_, after)| after)
}

/// A quoted text with its quotes undone (doubled, or after a backslash), and what follows.
fn quoted(text: &str, quote: char) -> (String, &str) {
    let mut out = String::new();
    let mut chars = text.char_indices().skip(1).peekable();
    while let Some((place, c)) = chars.next() {
        let follower = chars.peek().map(|(_, c)| *c);
        if c == '\\' || (c == quote && follower == Some(quote)) {
            out.extend(follower);
            chars.next();
        } else if c == quote {
            return (out, text.get(place + quote.len_utf8()..).unwrap_or_default());
        } else {
            out.push(c);
        }
    }
    (out, "")
}
