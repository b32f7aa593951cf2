//! Letters to words: quotes, braces, ends of lines.

use super::{Lexer, Token, Word, letters::Letter};
use crate::{
    piece::At,
    settings::{Mistake, short},
};

impl Lexer<'_> {
    pub(super) fn words(&mut self, source: usize, letters: &[Letter]) {
        let mut word: Option<(String, usize, usize, bool)> = None;
        let mut at = 0;
        while let Some(letter) = letters.get(at) {
            at += 1;
            let (start, end) = (letter.start, letter.end);
            let here = At { source, span: start..end };
            match letter.c {
                '\n' => {
                    self.end(source, word.take());
                    self.tokens.push(Token::EndOfLine);
                }
                c if c.is_whitespace() && !letter.is_plain => self.end(source, word.take()),
                '{' | '}' if !letter.is_plain => {
                    self.end(source, word.take());
                    let token =
                        if letter.c == '{' { Token::Open(here) } else { Token::Close(here) };
                    self.tokens.push(token);
                }
                '"' | '\'' if !letter.is_plain && word.is_none() => {
                    let (text, after, last) = self.quoted(source, letters, at, letter);
                    at = after;
                    word = Some((text, start, last, true));
                }
                c => {
                    let word = word.get_or_insert((String::new(), start, end, false));
                    word.0.push(c);
                    word.1 = word.1.min(start);
                    word.2 = word.2.max(end);
                }
            }
        }
        self.end(source, word.take());
    }

    /// The text of a quote, what follows it, and where it ends.
    fn quoted(
        &mut self,
        source: usize,
        letters: &[Letter],
        from: usize,
        open: &Letter,
    ) -> (String, usize, usize) {
        let mut text = String::new();
        let mut at = from;
        while let Some(letter) = letters.get(at) {
            at += 1;
            let next = letters.get(at);
            match (letter.c, next) {
                (c, _) if c == open.c && !letter.is_plain => return (text, at, letter.end),
                ('\\', Some(next)) if next.c == open.c || next.c == '\\' => {
                    text.push(next.c);
                    at += 1;
                }
                (c, _) => text.push(c),
            }
        }
        let what = format!("the quote {} does not end in this line", open.c);
        let here = At { source, span: open.start..open.end };
        self.piece.error(here, Mistake { what, ..Mistake::default() });
        (text, at, letters.last().map_or(open.end, |it| it.end))
    }

    fn end(&mut self, source: usize, word: Option<(String, usize, usize, bool)>) {
        let Some((text, start, end, is_quoted)) = word else { return };
        if !is_quoted && (text.starts_with("~SEQ") || text.starts_with("~LST")) {
            let at = At { source, span: start..end };
            let hint = Some("it stands at the beginning of a line".to_owned());
            let what = format!("`{}` is not at the beginning of a line", short(&text));
            return self.piece.error(at, Mistake { what, hint, ..Mistake::default() });
        }
        self.tokens.push(Token::Word(Word {
            text,
            at: At { source, span: start..end },
            is_quoted,
        }));
    }
}
