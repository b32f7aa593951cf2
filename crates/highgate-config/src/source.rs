//! A file's text: offsets to lines and columns, and lines that may be shown.

use std::{collections::BTreeMap, ops::Range};

/// The longest part of a line that is shown.
const WIDEST: usize = 160;

#[derive(Debug)]
pub(crate) struct Source {
    text: String,
    /// Offset of each line's first byte.
    starts: Vec<usize>,
    /// What must not be shown: ends by starts, none touching another.
    hidden: BTreeMap<usize, usize>,
}

pub(crate) struct Spot {
    pub(crate) line: usize,
    pub(crate) column: usize,
    pub(crate) width: usize,
    pub(crate) shown: String,
}

impl Source {
    pub(crate) fn new(text: &str) -> Self {
        let after = text.bytes().enumerate().filter(|(_, b)| *b == b'\n').map(|(at, _)| at + 1);
        let mut source = Self {
            text: text.to_owned(),
            starts: std::iter::once(0).chain(after).collect(),
            hidden: BTreeMap::new(),
        };
        passwords_of_accounts(text).into_iter().for_each(|range| source.hide(range));
        source
    }

    /// Nothing of this range will be shown.
    pub(crate) fn hide(&mut self, range: Range<usize>) {
        let Range { mut start, mut end } = range;
        let before = self.hidden.range(..=start).next_back().filter(|(_, last)| **last >= start);
        if let Some((first, last)) = before {
            (start, end) = (*first, end.max(*last));
        }
        while let Some((first, last)) = self.hidden.range(start..=end).next() {
            end = end.max(*last);
            let first = *first;
            self.hidden.remove(&first);
        }
        self.hidden.insert(start, end);
    }

    /// No value will be shown: where the text is not TOML, nobody knows what is a secret.
    pub(crate) fn hide_all_values(&mut self) {
        for line in 1..=self.starts.len() {
            self.hide_line(line);
        }
    }

    /// No value of the line at `offset` will be shown: it is of another shape than declared.
    pub(crate) fn hide_line_at(&mut self, offset: usize) {
        self.hide_line(self.line_of(offset));
    }

    fn hide_line(&mut self, line: usize) {
        let start = self.start_of(line);
        let text = self.line_from(start);
        let is_heading = text.trim_start().starts_with('[') && !text.contains(['"', '\'']);
        let from = text.find('=').map(|at| at + 1);
        let end = start + text.len();
        if let Some(from) = from.or((!is_heading).then_some(0)) {
            self.hide(start + from..end);
        }
    }

    fn start_of(&self, line: usize) -> usize {
        self.starts.get(line.saturating_sub(1)).copied().unwrap_or(0)
    }

    fn line_from(&self, start: usize) -> &str {
        let rest = self.text.get(start..).unwrap_or_default();
        rest.split('\n').next().unwrap_or_default()
    }

    pub(crate) fn line_of(&self, offset: usize) -> usize {
        self.starts.partition_point(|start| *start <= offset)
    }

    pub(crate) fn spot(&self, range: &Range<usize>) -> Spot {
        let line = self.line_of(range.start);
        let start = self.starts.get(line.saturating_sub(1)).copied().unwrap_or(0);
        let rest = self.text.get(start..).unwrap_or_default();
        let text = rest.lines().next().unwrap_or_default();
        let offset = range.start.saturating_sub(start).min(text.len());
        let before = text.char_indices().take_while(|(at, _)| *at < offset).count();
        let end = range.end.saturating_sub(start).min(text.len());
        let width = text.char_indices().filter(|(at, _)| *at >= offset && *at < end).count();
        let shown = text
            .char_indices()
            .take(WIDEST)
            .map(|(at, c)| if self.is_hidden(start + at, c) { '·' } else { printable(c) })
            .collect();
        let (column, width) = (before + 1, width.min(WIDEST.saturating_sub(before)));
        Spot { line, column, width, shown }
    }

    fn is_hidden(&self, at: usize, c: char) -> bool {
        let before = self.hidden.range(..=at).next_back();
        !matches!(c, '"' | '\'' | ' ') && before.is_some_and(|(_, end)| at < *end)
    }
}

/// Where `account:password@` or `password=` is written, as in addresses of other programs: the passwords.
pub(crate) fn passwords_of_accounts(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut start = 0;
    for word in text.split_inclusive(|c: char| c.is_whitespace() || matches!(c, '"' | '\'')) {
        let after_scheme = word.find("://").map_or(0, |at| at + 3);
        let colon = word.get(after_scheme..).and_then(|rest| rest.find(':'));
        if let (Some(colon), Some(end)) = (colon, word.rfind('@')) {
            found.push(start + after_scheme + colon + 1..start + end);
        }
        if let Some(at) = password_of_parameters(word) {
            found.push(start + at..start + word.len());
        }
        start += word.len();
    }
    found.retain(|range| !range.is_empty());
    found
}

/// Where the value begins of a parameter that has a password, as `…?password=…` of other programs.
pub(crate) fn password_of_parameters(text: &str) -> Option<usize> {
    let lower = text.to_ascii_lowercase();
    let named = |name: &&str| lower.find(*name).map(|at| at + name.len());
    ["password=", "passwd=", "pwd="].iter().filter_map(named).min()
}

/// A terminal obeys control characters; a foreign file does not command it.
fn printable(c: char) -> char {
    match c {
        '\t' => ' ',
        c if c.is_control() => '·',
        c => c,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_password_is_shown_that_stands_before_a_host() {
        for (text, expected) in [
            ("a = \"mysql://app:hush@db:3306\"", "a = \"mysql://app:····@db:3306\""),
            ("a = \"mysql://app:hu/sh@db:3306\"", "a = \"mysql://app:·····@db:3306\""),
            ("b = 'app:hu:s@h@db' # app@'%'", "b = 'app:······@db' # app@'%'"),
            ("a = 'db:3306/x?user=app&password=hush'", "a = 'db:3306/x?user=app&password=····'"),
            ("a = 'db:3306;Pwd=hush'", "a = 'db:3306;Pwd=····'"),
            ("server a db:1 Pwd=hush", "server a db:1 Pwd=····"),
            ("b = 'db?pwd=hush&password=hush'", "b = 'db?pwd=··················'"),
            ("grant = \"app@'%'\" # [::1]:3306", "grant = \"app@'%'\" # [::1]:3306"),
        ] {
            let source = Source::new(&format!("x\n{text}"));
            assert_eq!(source.spot(&(2..3)).shown, expected);
        }
    }

    #[test]
    fn hidden_ranges_that_overlap_become_one() {
        let mut source = Source::new("0123456789");
        for range in [4..5, 6..8, 2..3, 1..7, 1..2] {
            source.hide(range);
        }
        assert_eq!(source.hidden, BTreeMap::from([(1, 8)]));
        assert_eq!(source.spot(&(0..1)).shown, "0·······89");
    }
}
