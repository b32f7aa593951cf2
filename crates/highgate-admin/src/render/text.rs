//! A table for a terminal: aligned columns, numbers to the right, fitted to the width.

use std::borrow::Cow;

use highgate_config::table::{Column, Kind, Row, Value};

use super::{plain, time};

const GAP: usize = 2;
/// No column is cut below this, so that a name stays recognizable.
const NARROWEST: usize = 8;
/// A sentence in less room is no longer read at ease; it goes below its row instead.
const SENTENCE: usize = 24;
/// How far a sentence below its row is moved in.
const INDENT: usize = 4;

/// The rows as aligned text of at most `width` characters per line; `NULL` is shown as `-`.
///
/// The last column, where it is text, is a sentence and is wrapped, never cut. Of the others the
/// widest texts give way first; where even that is too wide the lines are longer than `width`:
/// a terminal's wrapping shows more than a cut does. A `width` of 0 neither cuts nor wraps.
#[must_use]
pub fn render_table(columns: &[Column], rows: &[Row], width: usize) -> String {
    let cells: Vec<Vec<Cow<'_, str>>> = rows
        .iter()
        .map(|row| {
            let cells = row.iter().zip(columns);
            cells.map(|(value, column)| printable(value, column)).collect()
        })
        .collect();
    let natural = natural_widths(columns, &cells);
    let layout = Layout::of(columns, natural, width);
    let mut out = String::new();
    let header: Vec<_> = columns.iter().map(|c| Cow::Owned(c.name.to_uppercase())).collect();
    layout.push_line(&mut out, columns, &header);
    for line in &cells {
        layout.push_line(&mut out, columns, line);
    }
    out
}

/// Where everything stands.
struct Layout {
    widths: Vec<usize>,
    /// Where the lines of a sentence begin, and how long they are; `None` where nothing is wrapped.
    sentence: Option<(usize, usize)>,
}

impl Layout {
    fn of(columns: &[Column], natural: Vec<usize>, width: usize) -> Self {
        let total =
            |widths: &[usize]| widths.iter().sum::<usize>() + GAP * widths.len().saturating_sub(1);
        let ends_in_text =
            columns.len() > 1 && columns.last().is_some_and(|c| c.kind == Kind::Text);
        if width == 0 || total(&natural) <= width || !ends_in_text {
            let widths = give_way(columns, natural, if width == 0 { usize::MAX } else { width });
            return Self { widths, sentence: None };
        }
        let last = natural.last().copied().unwrap_or_default();
        let before = natural.get(..natural.len() - 1).unwrap_or_default().to_vec();
        let wanted = last.min(SENTENCE) + GAP;
        let mut widths = give_way(columns, before, width.saturating_sub(wanted));
        let begin = total(&widths) + GAP;
        let room = width.saturating_sub(begin);
        widths.push(last);
        let sentence = if room >= wanted - GAP {
            (begin, room)
        } else {
            (INDENT, width.saturating_sub(INDENT).max(SENTENCE))
        };
        Self { widths, sentence: Some(sentence) }
    }

    fn push_line(&self, out: &mut String, columns: &[Column], cells: &[Cow<'_, str>]) {
        let start = out.len();
        let last = columns.len().saturating_sub(1);
        let places = columns.iter().zip(cells).zip(&self.widths).enumerate();
        for (position, ((column, cell), width)) in places {
            if position > 0 {
                out.extend(std::iter::repeat_n(' ', GAP));
            }
            match self.sentence {
                Some(sentence) if position == last => push_sentence(out, start, cell, sentence),
                _ => push_cell(out, cell, *width, column.kind),
            }
        }
        let end = out.trim_end().len().max(start);
        out.truncate(end);
        out.push('\n');
    }
}

/// Control characters would let a client's user name drive the operator's terminal.
fn printable<'a>(value: &'a Value, column: &Column) -> Cow<'a, str> {
    if let (Value::Integer(ms), "time" | "last_seen") = (value, column.name) {
        return Cow::Owned(time::utc(*ms));
    }
    let Some(text) = plain(value) else {
        return Cow::Borrowed("-");
    };
    if text.chars().any(char::is_control) {
        return Cow::Owned(text.chars().map(|c| if c.is_control() { '·' } else { c }).collect());
    }
    text
}

fn natural_widths(columns: &[Column], cells: &[Vec<Cow<'_, str>>]) -> Vec<usize> {
    let mut widths: Vec<usize> = columns.iter().map(|c| c.name.chars().count()).collect();
    for line in cells {
        for (width, cell) in widths.iter_mut().zip(line) {
            *width = (*width).max(cell.chars().count());
        }
    }
    widths
}

/// Takes characters from the widest text columns until the line fits or nothing more can give way.
fn give_way(columns: &[Column], mut widths: Vec<usize>, width: usize) -> Vec<usize> {
    let total: usize = widths.iter().sum::<usize>() + GAP * widths.len().saturating_sub(1);
    let mut excess = total.saturating_sub(width);
    while excess > 0 {
        let widest = widths
            .iter_mut()
            .zip(columns)
            .filter(|(width, column)| column.kind == Kind::Text && **width > NARROWEST)
            .max_by_key(|(width, _)| **width);
        let Some((widest, _)) = widest else { break };
        *widest -= 1;
        excess -= 1;
    }
    widths
}

fn push_cell(out: &mut String, cell: &str, width: usize, kind: Kind) {
    let length = cell.chars().count();
    if length > width {
        out.extend(cell.chars().take(width.saturating_sub(1)));
        out.push('…');
        return;
    }
    let padding = std::iter::repeat_n(' ', width - length);
    if kind == Kind::Text {
        out.push_str(cell);
        out.extend(padding);
    } else {
        out.extend(padding);
        out.push_str(cell);
    }
}

/// Wraps at spaces; a word that is longer than the room stands alone and is longer.
fn push_sentence(out: &mut String, start: usize, text: &str, (begin, room): (usize, usize)) {
    let mut at = out.get(start..).unwrap_or_default().chars().count();
    if at != begin && at + text.chars().count() > begin + room {
        // It stands below its row, not beside it.
        let end = out.trim_end().len().max(start);
        out.truncate(end);
        out.push('\n');
        out.extend(std::iter::repeat_n(' ', begin));
        at = begin;
    }
    let mut is_first = true;
    for word in text.split(' ') {
        let length = word.chars().count();
        let gap = usize::from(!is_first);
        if at + gap + length > begin + room && at > begin {
            let end = out.trim_end().len().max(start);
            out.truncate(end);
            out.push('\n');
            out.extend(std::iter::repeat_n(' ', begin));
            at = begin;
        } else if !is_first {
            out.push(' ');
            at += 1;
        }
        out.push_str(word);
        at += length;
        is_first = false;
    }
}
