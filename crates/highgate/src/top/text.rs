//! Text on a screen: how wide it is, how it is cut, and tables that give way to its width.

use std::fmt::Display;

/// What a text says by its colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    Bad,
    Faint,
    Strong,
    Usual,
    Warning,
}

/// A column of a table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Column {
    name: &'static str,
    is_number: bool,
    /// Left out before those of a lower number where the screen is too narrow; 0 stays.
    spare: u8,
}

impl Column {
    pub(crate) const fn text(name: &'static str, spare: u8) -> Self {
        Self { name, is_number: false, spare }
    }

    pub(crate) const fn number(name: &'static str, spare: u8) -> Self {
        Self { name, is_number: true, spare }
    }
}

/// A cell of a table, without control characters.
#[derive(Debug, Clone)]
pub(crate) struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    pub(crate) fn new(text: impl Display, tone: Tone) -> Self {
        let is_hidden = |c: char| c.is_control() || is_directing(c);
        let text = text.to_string().chars().map(|c| if is_hidden(c) { '·' } else { c }).collect();
        Self { text, tone }
    }

    pub(crate) fn usual(text: impl Display) -> Self {
        Self::new(text, Tone::Usual)
    }
}

/// Marks that change the direction of what follows them.
const fn is_directing(c: char) -> bool {
    matches!(c, '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

const GAP: usize = 2;
/// What a last column of sentences needs to be of use.
const SENTENCE: usize = 12;

/// The table with its heading; each line is at most `room` wide.
pub(crate) fn table(
    columns: &[Column],
    rows: &[Vec<Cell>],
    room: usize,
    has_colour: bool,
) -> Vec<String> {
    let natural: Vec<usize> = (columns.iter().enumerate())
        .map(|(at, column)| {
            let cells = rows.iter().filter_map(|row| row.get(at)).map(|cell| width(&cell.text));
            cells.fold(width(column.name), usize::max)
        })
        .collect();
    let shown = fitting(columns, &natural, room);
    let line = |cells: &dyn Fn(usize) -> (String, Tone)| {
        let mut line = String::new();
        let mut used = 0;
        for (position, at) in shown.iter().copied().enumerate() {
            let is_last = position + 1 == shown.len();
            if position > 0 {
                line.push_str(&" ".repeat(GAP.min(room.saturating_sub(used))));
                used += GAP;
            }
            let own = natural.get(at).copied().unwrap_or_default();
            let own = own.min(room.saturating_sub(used));
            let (text, tone) = cells(at);
            let text = fit(&text, own);
            let blank = " ".repeat(own.saturating_sub(width(&text)));
            let is_number = columns.get(at).is_some_and(|column| column.is_number);
            let text = tinted(&text, tone, has_colour);
            line.push_str(&match (is_number, is_last) {
                (true, _) => format!("{blank}{text}"),
                (false, true) => text,
                (false, false) => format!("{text}{blank}"),
            });
            used += own;
        }
        line.trim_end().to_owned()
    };
    let heading = line(&|at| (columns.get(at).map_or("", |it| it.name).to_owned(), Tone::Faint));
    let below = rows.iter().map(|row| {
        line(&|at| {
            row.get(at).map_or((String::new(), Tone::Usual), |it| (it.text.clone(), it.tone))
        })
    });
    std::iter::once(heading).chain(below).collect()
}

/// The columns that the room is for, by their places.
fn fitting(columns: &[Column], natural: &[usize], room: usize) -> Vec<usize> {
    let mut shown: Vec<usize> = (0..columns.len()).collect();
    loop {
        let last = shown.last().copied();
        let needs = |at: usize| {
            let own = natural.get(at).copied().unwrap_or_default();
            let may_be_cut = Some(at) == last && columns.get(at).is_some_and(|it| !it.is_number);
            if may_be_cut { own.min(SENTENCE) } else { own }
        };
        let wanted: usize =
            shown.iter().map(|at| needs(*at)).sum::<usize>() + GAP * shown.len().saturating_sub(1);
        let spare = |at: &usize| columns.get(*at).map_or(0, |column| column.spare);
        let first_to_go = (shown.iter().enumerate())
            .max_by_key(|(_, at)| spare(at))
            .map(|(p, at)| (p, spare(at)));
        match first_to_go {
            Some((position, 1..)) if wanted > room => drop(shown.remove(position)),
            _ => return shown,
        }
    }
}

/// The text with the colour that its tone has.
pub(crate) fn tinted(text: &str, tone: Tone, has_colour: bool) -> String {
    let code = match tone {
        Tone::Bad => "31;1",
        Tone::Faint => "2",
        Tone::Strong => "1",
        Tone::Usual => return text.to_owned(),
        Tone::Warning => "33",
    };
    if has_colour && !text.is_empty() {
        format!("\x1b[{code}m{text}\x1b[0m")
    } else {
        text.to_owned()
    }
}

/// The text, cut where it is wider than `room`.
pub(crate) fn fit(text: &str, room: usize) -> String {
    if width(text) <= room {
        return text.to_owned();
    }
    let mut left = room.saturating_sub(1);
    let mut out: String = (text.chars())
        .take_while(|c| match left.checked_sub(cells(*c)) {
            Some(rest) => {
                left = rest;
                true
            }
            None => false,
        })
        .collect();
    if room > 0 {
        out.push('…');
    }
    out
}

/// The text in exactly so many columns.
pub(crate) fn padded(text: &str, room: usize) -> String {
    let text = fit(text, room);
    let blank = " ".repeat(room.saturating_sub(width(&text)));
    format!("{text}{blank}")
}

/// How many columns of a screen a text takes.
pub(crate) fn width(text: &str) -> usize {
    text.chars().map(cells).sum()
}

/// Letters of East Asia and pictures take two columns, marks above others none.
const fn cells(c: char) -> usize {
    match c {
        '\u{300}'..='\u{36f}' | '\u{200b}'..='\u{200d}' | '\u{fe00}'..='\u{fe0f}' => 0,
        '\u{1100}'..='\u{115f}'
        | '\u{2e80}'..='\u{a4cf}'
        | '\u{ac00}'..='\u{d7a3}'
        | '\u{f900}'..='\u{faff}'
        | '\u{fe30}'..='\u{fe6f}'
        | '\u{ff00}'..='\u{ff60}'
        | '\u{ffe0}'..='\u{ffe6}'
        | '\u{1f300}'..='\u{1faff}'
        | '\u{20000}'..='\u{3fffd}' => 2,
        _ => 1,
    }
}
