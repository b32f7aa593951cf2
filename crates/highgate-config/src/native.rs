//! The native form, read: TOML to a desired state, or all its mistakes at once.
//!
//! `reader` turns one table into the draft of one thing by its declarations, `file` walks the
//! things of a file, `faults` of the crate says what does not fit together. Nothing here opens a
//! file: the text is an argument.

mod file;
mod problem;
mod reader;
mod source;
#[cfg(test)]
mod tests;

pub use problem::{Problem, Problems};

use crate::{Config, NodeName};

/// A file without mistakes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parsed {
    /// What it asks for.
    pub config: Config,
    /// What is accepted, but probably not meant.
    pub warnings: Vec<Problem>,
}

/// Reads a file in the native form; what belongs to a node is put under `node`.
///
/// # Errors
/// Every mistake in the file, in the order of its lines, with the warnings between them.
pub fn parse(file_name: &str, text: &str, node: &NodeName) -> Result<Parsed, Problems> {
    file::parse(file_name, text, node)
}
