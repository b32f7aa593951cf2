//! Letters of a file, each with its place, and what is seen in a run of them.

/// A letter with the bytes of the file that it stands for.
#[derive(Clone, Copy)]
pub(in super::super) struct Letter {
    pub(in super::super) c: char,
    pub(super) start: usize,
    pub(super) end: usize,
    /// Written as `${_HASH}` and the like: it has no meaning of its own.
    pub(in super::super) is_plain: bool,
}

pub(super) struct Lines<'t> {
    pub(super) text: &'t str,
    pub(super) at: usize,
}

impl<'t> Lines<'t> {
    pub(super) fn next(&mut self) -> Option<(usize, &'t str)> {
        let rest = self.text.get(self.at..).filter(|rest| !rest.is_empty())?;
        let start = self.at;
        let line = rest.split_inclusive('\n').next()?;
        self.at += line.len();
        Some((start, line.trim_end_matches(['\n', '\r'])))
    }
}

pub(super) fn letters_of(line: &str, start: usize) -> Vec<Letter> {
    line.char_indices()
        .map(|(at, c)| Letter {
            c,
            start: start + at,
            end: start + at + c.len_utf8(),
            is_plain: false,
        })
        .collect()
}

pub(super) fn trimmed(letters: &[Letter]) -> &[Letter] {
    let from = letters.iter().position(|it| !it.c.is_whitespace()).unwrap_or(letters.len());
    letters.get(from..).unwrap_or_default()
}

pub(super) fn span_of(letters: &[Letter]) -> std::ops::Range<usize> {
    match (letters.first(), letters.last()) {
        (Some(first), Some(last)) => first.start..last.end,
        _ => 0..0,
    }
}

/// `$NAME=value` at the beginning of a line.
pub(super) fn definition(letters: &[Letter]) -> Option<(String, &[Letter])> {
    let (first, rest) = letters.split_first()?;
    let equals = rest.iter().position(|it| !is_of_name(it.c))?;
    if first.c != '$' || equals == 0 || rest.get(equals)?.c != '=' {
        return None;
    }
    let name = rest.iter().take(equals).map(|it| it.c).collect();
    Some((name, trimmed(rest.get(equals + 1..).unwrap_or_default())))
}

/// The name in `$NAME` or `${NAME}` at a position, and what follows it.
pub(super) fn used(letters: &[Letter], at: usize) -> Option<(String, usize)> {
    let c = |at: usize| letters.get(at).filter(|it| !it.is_plain).map(|it| it.c);
    if c(at)? != '$' {
        return None;
    }
    let is_braced = c(at + 1) == Some('{');
    let from = if is_braced { at + 2 } else { at + 1 };
    let mut end = from;
    while c(end).is_some_and(|c| is_of_name(c) || (is_braced && " ,-".contains(c))) {
        end += 1;
    }
    let name: String = letters.get(from..end)?.iter().map(|it| it.c).collect();
    if name.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    match (name.is_empty(), is_braced, c(end)) {
        (true, ..) => None,
        (_, false, _) => Some((name, end)),
        (_, true, Some('}')) => Some((name, end + 1)),
        _ => None,
    }
}

fn is_of_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}
