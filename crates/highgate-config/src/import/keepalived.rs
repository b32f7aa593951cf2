//! keepalived.conf, read.
//!
//! `lexer` makes words of the text, `blocks` makes statements of the words, `keywords` has the
//! answer to each of them, `reader` and its files turn what is honoured into vips. Where
//! Keepalived goes on with a default in place of what was written, this is a mistake.

mod blocks;
#[cfg(test)]
mod corpus;
mod generators;
mod global;
mod instance;
pub(crate) mod keywords;
mod lexer;
mod moves;
mod reader;
mod script;
#[cfg(test)]
mod tests;
mod track;

use crate::{NodeName, import::Surroundings, piece::Piece};

/// Reads a file as far as it goes.
pub(crate) fn read(
    file_name: &str,
    text: &str,
    node: &NodeName,
    surroundings: &dyn Surroundings,
) -> Piece {
    let mut piece = Piece::default();
    let mut lexer = lexer::Lexer::new(&mut piece, surroundings, node.as_str());
    lexer.file(file_name, text, 0);
    let tokens = std::mem::take(&mut lexer.tokens);
    let statements = blocks::parse(tokens, &mut piece);
    reader::Reader::new(&mut piece, node.clone()).read(&statements);
    piece
}
