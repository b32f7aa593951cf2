//! The native form, read: TOML to a desired state, or all its mistakes at once.
//!
//! `reader` turns one table into the draft of one thing by its declarations, `file` walks the
//! things of a file, `faults` of the crate says what does not fit together. Nothing here opens a
//! file: the text is an argument.

mod file;
mod reader;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

pub use crate::problem::{Problem, Problems};
use crate::{
    Config, Dialect, NodeName, Place, dialect,
    import::{Nothing, Surroundings, haproxy, keepalived},
    piece::{self, Piece},
    settings::Mistake,
    source::Source,
};

/// Files without mistakes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parsed {
    /// What they ask for.
    pub config: Config,
    /// What is accepted: what is probably not meant, and notes on what it means here.
    pub warnings: Vec<Problem>,
    /// Where it is written what is looked at outside: addresses, files and passwords.
    pub written: Written,
    /// The names of those in which nothing is written but remarks.
    pub empty: BTreeSet<String>,
}

/// Where the settings of listeners, backends and nodes and the passwords of users are written, for
/// whoever finds out later that one of them can't be had.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Written(pub(crate) BTreeMap<(Place, &'static str), Spot>);

/// A place in a file, printed as `file:line:column`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Spot {
    pub(crate) file: String,
    pub(crate) line: usize,
    pub(crate) column: usize,
}

impl Written {
    /// `file:line:column` of a setting, or of its thing where it is left out; `None` for what these
    /// files don't say.
    #[must_use]
    pub fn at(&self, place: &Place, setting: &'static str) -> Option<String> {
        let thing = || self.0.get(&(place.clone(), ""));
        let spot = self.0.get(&(place.clone(), setting)).or_else(thing)?;
        Some(format!("{}:{}:{}", spot.file, spot.line, spot.column))
    }

    /// Whether these files say the setting themselves, as far as its place is kept.
    #[must_use]
    pub fn says(&self, place: &Place, setting: &'static str) -> bool {
        self.0.contains_key(&(place.clone(), setting))
    }
}

/// A file's text.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// The file's name, for messages.
    pub name: &'a str,
    /// What is in it.
    pub text: &'a str,
}

/// Reads a file; what belongs to a node is put under `node`.
///
/// # Errors
/// Every mistake in the file, in the order of its lines, with the warnings between them.
pub fn parse(file_name: &str, text: &str, node: &NodeName) -> Result<Parsed, Problems> {
    parse_all(&[Input { name: file_name, text }], node)
}

/// Reads several files as if they were one, without files that they include; see [`read_all`].
///
/// # Errors
/// Every mistake in the files, in their order, with the warnings between them.
pub fn parse_all(inputs: &[Input<'_>], node: &NodeName) -> Result<Parsed, Problems> {
    read_all(inputs, node, &Nothing)
}

/// Reads several files, each in its dialect, as if they were one; a thing or a setting of the node
/// that is in two of them is a mistake.
///
/// # Errors
/// Every mistake in the files, in their order, with the warnings between them.
pub fn read_all(
    inputs: &[Input<'_>],
    node: &NodeName,
    surroundings: &dyn Surroundings,
) -> Result<Parsed, Problems> {
    let pieces = inputs.iter().map(|input| piece_of(input, node, surroundings)).collect();
    let parsed = piece::finish(pieces, node, surroundings)?;
    let empty = inputs.iter().filter(|input| is_empty(input.text));
    Ok(Parsed { empty: empty.map(|input| input.name.to_owned()).collect(), ..parsed })
}

/// Whether a text is blank but for remarks, in any dialect.
fn is_empty(text: &str) -> bool {
    let mut lines = text.lines().map(|line| line.trim_start_matches('\u{feff}').trim());
    lines.all(|line| line.is_empty() || line.starts_with(['#', '!']))
}

fn piece_of(input: &Input<'_>, node: &NodeName, surroundings: &dyn Surroundings) -> Piece {
    match Dialect::of(input.text) {
        Dialect::Haproxy => haproxy::read(input.name, input.text, node, surroundings),
        Dialect::Keepalived => keepalived::read(input.name, input.text, node, surroundings),
        Dialect::Native => file::read(input.name, input.text, node),
        dialect => {
            let mut source = Source::new(input.text);
            source.hide_all_values();
            let sources = vec![(input.name.to_owned(), source)];
            let mut piece = Piece { sources, ..Piece::default() };
            let what = format!("this is {dialect}, which Highgate does not read yet");
            let hint = Some("write it in the native form: `highgate manual` lists it".into());
            let at = dialect::first_line(input.text);
            piece.error(at, Mistake { what, hint, ..Mistake::default() });
            piece
        }
    }
}
