//! haproxy.cfg, read: so much of it as tcp mode needs.
//!
//! `lexer` makes lines of words, `sections` puts them under their headings, `keywords` has the
//! answer to each word, `proxy` and `server` read what is honoured, `build` makes listeners and
//! backends of it. What HAProxy takes for 0 without a word is a mistake.

mod address;
mod build;
pub(crate) mod keywords;
mod lexer;
mod proxy;
mod reader;
mod sections;
mod server;
#[cfg(test)]
mod tests;

use crate::{NodeName, import::Surroundings, piece::Piece, source::Source};

/// Reads a file as far as it goes.
pub(crate) fn read(
    file_name: &str,
    text: &str,
    node: &NodeName,
    surroundings: &dyn Surroundings,
) -> Piece {
    let sources = vec![(file_name.to_owned(), Source::new(text))];
    let mut piece = Piece { sources, ..Piece::default() };
    let lines = lexer::lines(text, surroundings, &mut piece);
    let sections = sections::sections(lines, &mut piece);
    reader::Reader::new(&mut piece, node.clone()).read(&sections);
    piece
}

/// Sections that are known and left out, for the manual.
pub(super) fn sections_left_out() -> String {
    let lines = sections::OTHERS.iter().map(|(name, reason)| format!("| `{name}` | {reason} |\n"));
    format!(
        "## Sections that are left out, with a warning\n\n| section | |\n|---|---|\n{}",
        lines.collect::<String>()
    )
}
