//! A table for a terminal: aligned columns, numbers to the right, cut to the width.

use std::borrow::Cow;

use highgate_config::table::{Column, Kind, Row, Value};

use super::plain;

const GAP: usize = 2;
/// No column is cut below this, so that a name stays recognizable.
const NARROWEST: usize = 8;

/// The rows as aligned text of at most `width` characters per line; `NULL` is shown as `-`.
///
/// The widest text columns give way first. Where even that is too wide the lines are longer than
/// `width`: a terminal's wrapping shows more than a cut does. A `width` of 0 cuts nothing.
#[must_use]
pub fn render_table(columns: &[Column], rows: &[Row], width: usize) -> String {
    let cells: Vec<Vec<Cow<'_, str>>> = rows
        .iter()
        .map(|row| row.iter().map(printable).collect())
        .collect();
    let widths = fit(columns, natural_widths(columns, &cells), width);
    let mut out = String::new();
    let header: Vec<_> = columns
        .iter()
        .map(|c| Cow::Owned(c.name.to_uppercase()))
        .collect();
    push_line(&mut out, columns, &header, &widths);
    for line in &cells {
        push_line(&mut out, columns, line, &widths);
    }
    out
}

/// Control characters would let a client's user name drive the operator's terminal.
fn printable(value: &Value) -> Cow<'_, str> {
    let Some(text) = plain(value) else {
        return Cow::Borrowed("-");
    };
    if text.chars().any(char::is_control) {
        return Cow::Owned(
            text.chars()
                .map(|c| if c.is_control() { '·' } else { c })
                .collect(),
        );
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
fn fit(columns: &[Column], mut widths: Vec<usize>, width: usize) -> Vec<usize> {
    let total: usize = widths.iter().sum::<usize>() + GAP * widths.len().saturating_sub(1);
    let mut excess = if width == 0 {
        0
    } else {
        total.saturating_sub(width)
    };
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

fn push_line(out: &mut String, columns: &[Column], cells: &[Cow<'_, str>], widths: &[usize]) {
    let start = out.len();
    for (position, ((column, cell), width)) in columns.iter().zip(cells).zip(widths).enumerate() {
        if position > 0 {
            out.extend(std::iter::repeat_n(' ', GAP));
        }
        push_cell(out, cell, *width, column.kind);
    }
    let end = out.trim_end().len().max(start);
    out.truncate(end);
    out.push('\n');
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
