//! A file's text: offsets to lines and columns, and lines that may be shown.

use std::ops::Range;

/// The longest part of a line that is shown.
const WIDEST: usize = 160;

pub(super) struct Source<'a> {
    text: &'a str,
    /// Offset of each line's first byte.
    starts: Vec<usize>,
    /// What must not be shown.
    hidden: Vec<Range<usize>>,
}

pub(super) struct Spot {
    pub(super) line: usize,
    pub(super) column: usize,
    pub(super) width: usize,
    pub(super) shown: String,
}

impl<'a> Source<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        let after = text
            .bytes()
            .enumerate()
            .filter(|(_, b)| *b == b'\n')
            .map(|(at, _)| at + 1);
        Self {
            text,
            starts: std::iter::once(0).chain(after).collect(),
            hidden: Vec::new(),
        }
    }

    /// Nothing of this range will be shown.
    pub(super) fn hide(&mut self, range: Range<usize>) {
        self.hidden.push(range);
    }

    /// No value will be shown: where the text is not TOML, nobody knows what is a secret.
    pub(super) fn hide_all_values(&mut self) {
        for start in &self.starts {
            let rest = self.text.get(*start..).unwrap_or_default();
            let line = rest.lines().next().unwrap_or_default();
            let is_heading = line.trim_start().starts_with('[') && !line.contains(['"', '\'']);
            match line.find('=') {
                Some(at) => self.hidden.push(start + at + 1..start + line.len()),
                None if is_heading => {}
                None => self.hidden.push(*start..start + line.len()),
            }
        }
    }

    pub(super) fn line_of(&self, offset: usize) -> usize {
        self.starts.partition_point(|start| *start <= offset)
    }

    pub(super) fn spot(&self, range: &Range<usize>) -> Spot {
        let line = self.line_of(range.start);
        let start = self
            .starts
            .get(line.saturating_sub(1))
            .copied()
            .unwrap_or(0);
        let rest = self.text.get(start..).unwrap_or_default();
        let text = rest.lines().next().unwrap_or_default();
        let offset = range.start.saturating_sub(start).min(text.len());
        let before = text
            .char_indices()
            .take_while(|(at, _)| *at < offset)
            .count();
        let end = range.end.saturating_sub(start).min(text.len());
        let width = text
            .char_indices()
            .filter(|(at, _)| *at >= offset && *at < end)
            .count();
        let shown = text
            .char_indices()
            .take(WIDEST)
            .map(|(at, c)| {
                if self.is_hidden(start + at, c) {
                    '·'
                } else {
                    printable(c)
                }
            })
            .collect();
        let (column, width) = (before + 1, width.min(WIDEST.saturating_sub(before)));
        Spot {
            line,
            column,
            width,
            shown,
        }
    }

    fn is_hidden(&self, at: usize, c: char) -> bool {
        !matches!(c, '"' | '\'' | ' ') && self.hidden.iter().any(|range| range.contains(&at))
    }
}

/// A terminal obeys control characters; a foreign file does not command it.
fn printable(c: char) -> char {
    match c {
        '\t' => ' ',
        c if c.is_control() => '·',
        c => c,
    }
}
