//! Routing hints that a client writes into comments.

use super::Span;

/// Where a client asks its statement to be sent.
///
/// Written `/* highgate: primary */`, `/* highgate: replica */` or `/* highgate: server=db2 */`, or
/// as MaxScale's `-- maxscale route to master|slave|server NAME`. The first hint of a text counts.
/// `Replica` holds only for a text that is proved to read; on anything else it is left out of the
/// [`super::Analysis`], which then says so in `hint_ignored`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Hint {
    /// To the primary.
    Primary,
    /// To a replica.
    Replica,
    /// To the server of this name (a span of the text).
    Server(Span),
}

/// Reads the hint in the comment that spans `start..end`, if it is one.
pub(super) fn read(text: &[u8], start: usize, end: usize) -> Option<Hint> {
    let body = text.get(start..end)?;
    let mut words = Words { text: body, at: 0 };
    let first = words.next()?;
    if first.eq_ignore_ascii_case(b"highgate") && words.take(b':') {
        return read_native(&mut words, start);
    }
    if first.eq_ignore_ascii_case(b"maxscale") {
        return read_maxscale(&mut words, start);
    }
    None
}

fn read_native(words: &mut Words<'_>, start: usize) -> Option<Hint> {
    let target = words.next()?;
    if target.eq_ignore_ascii_case(b"primary") {
        Some(Hint::Primary)
    } else if target.eq_ignore_ascii_case(b"replica") {
        Some(Hint::Replica)
    } else if target.eq_ignore_ascii_case(b"server") && words.take(b'=') {
        words.name(start)
    } else {
        None
    }
}

fn read_maxscale(words: &mut Words<'_>, start: usize) -> Option<Hint> {
    let leads =
        words.next()?.eq_ignore_ascii_case(b"route") && words.next()?.eq_ignore_ascii_case(b"to");
    let target = leads.then(|| words.next())??;
    if target.eq_ignore_ascii_case(b"master") {
        Some(Hint::Primary)
    } else if target.eq_ignore_ascii_case(b"slave") {
        Some(Hint::Replica)
    } else if target.eq_ignore_ascii_case(b"server") {
        words.name(start)
    } else {
        None
    }
}

/// The words of a comment.
struct Words<'t> {
    text: &'t [u8],
    at: usize,
}

impl<'t> Words<'t> {
    fn skip_blanks(&mut self) {
        while self.text.get(self.at).is_some_and(u8::is_ascii_whitespace) {
            self.at += 1;
        }
    }

    fn next(&mut self) -> Option<&'t [u8]> {
        self.skip_blanks();
        let rest = self.text.get(self.at..)?;
        let is_part =
            |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
        let length = rest.iter().take_while(|byte| is_part(byte)).count();
        self.at += length;
        rest.get(..length).filter(|word| !word.is_empty())
    }

    fn take(&mut self, mark: u8) -> bool {
        self.skip_blanks();
        let found = self.text.get(self.at) == Some(&mark);
        self.at += usize::from(found);
        found
    }

    fn name(&mut self, start: usize) -> Option<Hint> {
        let length = self.next()?.len();
        let end = start + self.at;
        Some(Hint::Server(super::token::span(end - length, end)))
    }
}
