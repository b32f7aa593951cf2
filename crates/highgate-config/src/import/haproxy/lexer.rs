//! The text of haproxy.cfg to lines of words: comments, quotes, escapes, variables.

use crate::{
    import::Surroundings,
    piece::{Piece, Span},
    settings::{Mistake, short},
};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Word {
    pub(super) text: String,
    pub(super) at: Span,
}

/// A line with at least one word.
pub(super) type Line = Vec<Word>;

pub(super) fn lines(text: &str, surroundings: &dyn Surroundings, piece: &mut Piece) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut start = 0;
    for whole in text.split_inclusive('\n') {
        let line = whole.trim_end_matches(['\n', '\r']);
        let mut lexer =
            Lexer { line, start, at: 0, words: Vec::new(), word: None, surroundings, piece };
        lexer.run();
        if !lexer.words.is_empty() {
            lines.push(lexer.words);
        }
        start += whole.len();
    }
    lines
}

struct Lexer<'a> {
    line: &'a str,
    /// Where the line begins in the file.
    start: usize,
    at: usize,
    words: Line,
    word: Option<(String, usize)>,
    surroundings: &'a dyn Surroundings,
    piece: &'a mut Piece,
}

impl Lexer<'_> {
    fn run(&mut self) {
        while let Some(c) = self.next() {
            let from = self.at - c.len_utf8();
            match c {
                ' ' | '\t' => self.end(from),
                '#' => {
                    self.end(from);
                    return;
                }
                '\\' => self.escape(from),
                '\'' => self.strong(from),
                '"' => self.weak(from),
                c => self.push(c, from),
            }
        }
        self.end(self.line.len());
    }

    fn next(&mut self) -> Option<char> {
        let c = self.line.get(self.at..)?.chars().next()?;
        self.at += c.len_utf8();
        Some(c)
    }

    fn push(&mut self, c: char, from: usize) {
        self.word.get_or_insert((String::new(), from)).0.push(c);
    }

    fn end(&mut self, at: usize) {
        if let Some((text, from)) = self.word.take() {
            self.words.push(Word { text, at: self.start + from..self.start + at });
        }
    }

    fn error(&mut self, from: usize, to: usize, what: String, hint: Option<String>) {
        let at = self.start + from..self.start + to;
        self.piece.error(at, Mistake { what, hint, ..Mistake::default() });
    }

    fn escape(&mut self, from: usize) {
        let c = match self.next() {
            None => '\\',
            Some('n') => '\n',
            Some('r') => '\r',
            Some('t') => '\t',
            Some('x') => {
                let digits = self.line.get(self.at..self.at + 2).unwrap_or_default();
                match u8::from_str_radix(digits, 16) {
                    Ok(byte) if byte.is_ascii() => {
                        self.at += 2;
                        char::from(byte)
                    }
                    _ => {
                        let what = "`\\x` is followed by two hexadecimal digits, up to 7f";
                        self.error(from, self.at, what.to_owned(), None);
                        'x'
                    }
                }
            }
            Some(c @ (' ' | '#' | '\\' | '"' | '\'' | '$' | ',')) => c,
            Some(c) => {
                self.push('\\', from);
                c
            }
        };
        self.push(c, from);
    }

    fn strong(&mut self, from: usize) {
        self.word.get_or_insert((String::new(), from));
        while let Some(c) = self.next() {
            if c == '\'' {
                return;
            }
            self.push(c, from);
        }
        self.error(from, from + 1, "the quote ' does not end in this line".to_owned(), None);
    }

    fn weak(&mut self, from: usize) {
        self.word.get_or_insert((String::new(), from));
        while let Some(c) = self.next() {
            match c {
                '"' => return,
                '\\' => self.escape(from),
                '$' => self.variable(from),
                c => self.push(c, from),
            }
        }
        self.error(from, from + 1, "the quote \" does not end in this line".to_owned(), None);
    }

    /// `$NAME`, `${NAME}` or `${NAME-default}`, whose `$` was read.
    fn variable(&mut self, from: usize) {
        let dollar = self.at - 1;
        let rest = self.line.get(self.at..).unwrap_or_default();
        let inside = rest.strip_prefix('{').and_then(|rest| rest.split_once('}'));
        let (text, length) = match inside {
            Some((inside, _)) => (inside, inside.len() + 2),
            None => {
                let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
                let name = rest.get(..end.unwrap_or(rest.len())).unwrap_or_default();
                (name, name.len())
            }
        };
        let (name, otherwise) = match text.split_once('-') {
            Some((name, otherwise)) => (name, Some(otherwise)),
            None => (text, None),
        };
        if name.is_empty() {
            return self.push('$', from);
        }
        self.at += length;
        let value = self.surroundings.variable(name).or_else(|| otherwise.map(str::to_owned));
        match value {
            Some(value) => value.chars().for_each(|c| self.push(c, from)),
            None => {
                let what = format!("there is no `{}` in the environment", short(name));
                let hint = "HAProxy would put nothing in its place; `${NAME-default}` has one";
                self.error(dollar, self.at, what, Some(hint.to_owned()));
            }
        }
    }
}
