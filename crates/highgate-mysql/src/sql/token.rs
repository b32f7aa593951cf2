//! Cuts a text into tokens as the server will under the session's mode.

use memchr::{memchr, memmem};

use super::bytes::{at, find2, is_digit, is_name, is_space, span_of};
use super::words::{self, Call, Kw};
use super::{Effects, Flavor, Hint, LexMode, Span};

/// A lexical unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token {
    /// `:=`
    Assign,
    End,
    Number(Span),
    /// `?`
    Placeholder,
    Punct(u8),
    /// A quoted name, quotes included.
    Quoted(Span),
    /// `@@`; a name follows.
    SystemVariable,
    /// A string literal, quotes included.
    Text(Span),
    /// `@name`, `@'name'`: the name, quotes included, without the `@`.
    Variable(Span),
    Word(Span, Kw, Call),
}

/// The lexer; `effects` collects what comments and doubtful bytes say.
pub(super) struct Lexer<'t> {
    text: &'t [u8],
    mode: LexMode,
    pos: usize,
    in_version_comment: bool,
    /// Blanks or a comment stood before the token read last.
    pub(super) spaced: bool,
    pub(super) effects: Effects,
    pub(super) hint: Option<Hint>,
}

impl<'t> Lexer<'t> {
    pub(super) fn new(text: &'t [u8], mode: LexMode) -> Self {
        let mut effects = Effects::empty();
        if mode.unsafe_charset && has_unsafe_pair(text) {
            effects |= Effects::DOUBTFUL;
        }
        Lexer { text, mode, pos: 0, in_version_comment: false, spaced: false, effects, hint: None }
    }

    /// Where the next token is looked for.
    pub(super) fn position(&self) -> usize {
        self.pos
    }

    /// Reads on from there, where a statement begins.
    pub(super) fn seek(&mut self, position: usize) {
        (self.pos, self.in_version_comment) = (position, false);
    }

    fn doubt(&mut self) {
        self.effects |= Effects::DOUBTFUL;
    }

    fn peek(&self, ahead: usize) -> u8 {
        at(self.text, self.pos + ahead)
    }

    #[inline]
    pub(super) fn next(&mut self) -> Token {
        self.spaced = false;
        loop {
            let Some(&byte) = self.text.get(self.pos) else {
                if self.in_version_comment {
                    self.doubt();
                    self.in_version_comment = false;
                }
                return Token::End;
            };
            if is_name(byte) {
                return self.word(byte);
            }
            if is_space(byte) || byte == 0x0b || byte == 0x0c {
                self.pos += 1;
                self.spaced = true;
                continue;
            }
            if !self.skip_comment(byte) {
                return self.mark(byte);
            }
            self.spaced = true;
        }
    }

    /// After a comma: passes over names, numbers and literals that are followed by another one.
    pub(super) fn skip_listed(&mut self) {
        loop {
            let start = self.pos + span_of(self.text, self.pos, is_space);
            let end = match at(self.text, start) {
                b'0'..=b'9' => start + span_of(self.text, start, is_name),
                b'\'' => self.plain_literal_end(start),
                b'$' => return,
                _ => start + self.plain_word(start),
            };
            if at(self.text, end) != b',' {
                return;
            }
            self.pos = end + 1;
        }
    }

    /// The length of the word at `start`, if it is one without a meaning of its own.
    #[inline]
    fn plain_word(&self, start: usize) -> usize {
        let length = span_of(self.text, start, is_name);
        let word = self.text.get(start..start + length).unwrap_or_default();
        match words::lookup(word).0 {
            Kw::Other | Kw::Plain => length,
            _ => 0,
        }
    }

    /// The end of a literal without doubled quotes and escapes; the position of the first of them.
    fn plain_literal_end(&self, start: usize) -> usize {
        let end = find2(self.text, start + 1, b'\'', b'\\');
        if at(self.text, end) == b'\'' { end + 1 } else { end }
    }

    #[inline]
    fn word(&mut self, first: u8) -> Token {
        let rest = self.text.get(self.pos..).unwrap_or_default();
        let length = rest.iter().position(|&byte| !is_name(byte)).unwrap_or(rest.len());
        let word = rest.get(..length).unwrap_or_default();
        let start = self.pos;
        self.pos += length;
        let span = span(start, self.pos);
        if is_digit(first) {
            return Token::Number(span);
        }
        if first == b'$' {
            self.doubt();
        }
        let (kw, call) = words::lookup(word);
        Token::Word(span, kw, call)
    }

    #[inline]
    fn mark(&mut self, byte: u8) -> Token {
        let start = self.pos;
        match byte {
            b'\'' => Token::Text(self.quoted(byte)),
            b'"' if self.mode.ansi_quotes => Token::Quoted(self.quoted(byte)),
            b'"' => Token::Text(self.quoted(byte)),
            b'`' => Token::Quoted(self.quoted(byte)),
            b'@' => self.variable(),
            b'?' => {
                self.pos += 1;
                Token::Placeholder
            }
            b':' if self.peek(1) == b'=' => {
                self.pos += 2;
                Token::Assign
            }
            _ => {
                if byte < b' ' || byte == 0x7f {
                    self.doubt();
                }
                self.pos = start + 1;
                Token::Punct(byte)
            }
        }
    }

    fn variable(&mut self) -> Token {
        self.pos += 1;
        match self.peek(0) {
            b'@' => {
                self.pos += 1;
                Token::SystemVariable
            }
            quote @ (b'\'' | b'"' | b'`') => Token::Variable(self.quoted(quote)),
            _ => {
                let rest = self.text.get(self.pos..).unwrap_or_default();
                let length = rest.iter().position(|&byte| !is_name(byte) && byte != b'.');
                let start = self.pos;
                self.pos += length.unwrap_or(rest.len());
                Token::Variable(span(start, self.pos))
            }
        }
    }

    /// Reads from the opening quote past the closing one.
    fn quoted(&mut self, quote: u8) -> Span {
        let start = self.pos;
        let is_name = quote == b'`' || (quote == b'"' && self.mode.ansi_quotes);
        let escapes = !is_name && !self.mode.no_backslash_escapes;
        let mut i = start + 1;
        loop {
            i = find2(self.text, i, quote, if escapes { b'\\' } else { quote });
            let Some(&byte) = self.text.get(i) else {
                self.doubt();
                self.pos = self.text.len();
                break;
            };
            if byte == quote {
                if at(self.text, i + 1) != quote {
                    self.pos = i + 1;
                    break;
                }
                i += 2;
            } else {
                i += 2;
            }
        }
        span(start, self.pos)
    }

    /// Skips a comment at the current position; false if there is none.
    fn skip_comment(&mut self, byte: u8) -> bool {
        match byte {
            b'#' => {
                if self.mode.flavor == Flavor::StarRocks {
                    self.doubt();
                }
                self.line_comment(1);
                true
            }
            b'-' if self.peek(1) == b'-' => {
                let blank =
                    self.text.get(self.pos + 2).is_none_or(|&byte| byte <= b' ' || byte == 0x7f);
                if !blank {
                    if !self.mode.flavor.is_kin() {
                        self.doubt();
                    }
                    return false;
                }
                self.line_comment(2);
                true
            }
            b'/' if self.peek(1) == b'*' => {
                self.block_comment();
                true
            }
            b'*' if self.in_version_comment && self.peek(1) == b'/' => {
                self.in_version_comment = false;
                self.pos += 2;
                true
            }
            _ => false,
        }
    }

    fn line_comment(&mut self, marks: usize) {
        let start = self.pos + marks;
        let rest = self.text.get(start..).unwrap_or_default();
        let length = memchr(b'\n', rest).unwrap_or(rest.len());
        self.read_hint(start, start + length);
        if self.in_version_comment {
            self.doubt();
        }
        if memchr(0, rest.get(..length).unwrap_or_default()).is_some() {
            self.doubt();
        }
        self.pos = (start + length + 1).min(self.text.len());
    }

    fn block_comment(&mut self) {
        let version_mark = match (self.peek(2), self.peek(3)) {
            (b'!', _) => Some(3),
            (b'M', b'!') => Some(4),
            _ => None,
        };
        if let Some(mark) = version_mark {
            return self.version_comment(mark);
        }
        let start = self.pos + 2;
        let Some(length) = memmem::find(self.text.get(start..).unwrap_or_default(), b"*/") else {
            self.doubt();
            self.pos = self.text.len();
            return;
        };
        let body = self.text.get(start..start + length).unwrap_or_default();
        if body.first() == Some(&b'+') {
            self.effects |= Effects::OPTIMIZER_HINT;
            if body.iter().any(|byte| matches!(byte, b'\'' | b'"' | b'`' | b'\\')) {
                self.doubt();
            }
        } else {
            self.read_hint(start, start + length);
        }
        // A slash-star within: servers differ on whether it nests.
        if memmem::find(body, b"/*").is_some() || memchr(0, body).is_some() {
            self.doubt();
        }
        self.pos = start + length + 2;
    }

    /// A version comment: its words are read, or it is skipped, as the server's version says.
    fn version_comment(&mut self, mark: usize) {
        self.effects |= Effects::VERSION_COMMENT;
        let digits_at = self.pos + mark;
        let rest = self.text.get(digits_at..).unwrap_or_default();
        let digits = rest.iter().take(7).take_while(|&&byte| is_digit(byte)).count();
        let version =
            rest.iter().take(digits).fold(0_u32, |sum, &byte| sum * 10 + u32::from(byte - b'0'));
        if self.in_version_comment || !matches!(digits, 0 | 5 | 6) {
            self.doubt();
        }
        let runs = self.runs_version(mark == 4, if digits == 0 { None } else { Some(version) });
        if runs.is_none() {
            self.doubt();
        }
        if runs == Some(false) {
            let Some(length) = memmem::find(rest, b"*/") else {
                self.doubt();
                self.pos = self.text.len();
                return;
            };
            if memmem::find(rest.get(..length).unwrap_or_default(), b"/*").is_some() {
                self.doubt();
            }
            self.pos = digits_at + length + 2;
        } else {
            self.in_version_comment = true;
            self.pos = digits_at + digits;
        }
    }

    /// Whether servers of these versions run the words; `None` if that is not known, or some of them do.
    fn runs_version(&self, marked_mariadb: bool, version: Option<u32>) -> Option<bool> {
        let (lowest, newest) = (self.mode.server_version, self.mode.newest_version);
        match (self.mode.flavor, version) {
            (Flavor::MariaDb, None) => Some(true),
            (Flavor::MySql, None) => Some(!marked_mariadb),
            (Flavor::MariaDb, Some(50_700..=99_999)) if !marked_mariadb => Some(false),
            (Flavor::MySql, Some(_)) if marked_mariadb => Some(false),
            (Flavor::MariaDb | Flavor::MySql, Some(version)) if version <= 50_100 => Some(true),
            (Flavor::MariaDb | Flavor::MySql, Some(version)) if lowest > 0 => {
                let only_some = version > lowest && version <= newest;
                if only_some { None } else { Some(version <= lowest) }
            }
            _ => None,
        }
    }

    fn read_hint(&mut self, start: usize, end: usize) {
        if self.hint.is_none() {
            self.hint = super::hint::read(self.text, start, end);
        }
    }
}

/// Bytes as a span; texts are packets, far below 4 GiB.
pub(super) fn span(start: usize, end: usize) -> Span {
    let narrow = |position| u32::try_from(position).unwrap_or(u32::MAX);
    Span { start: narrow(start), end: narrow(end) }
}

/// A quote or backslash right after a byte that may lead a two-byte character.
fn has_unsafe_pair(text: &[u8]) -> bool {
    let mut lead = false;
    for &byte in text {
        if lead && matches!(byte, b'\'' | b'"' | b'`' | b'\\' | b'*' | b'/' | b'|' | b'@') {
            return true;
        }
        lead = byte >= 0x80;
    }
    false
}
