//! Words to statements: a line of words, and the block that follows it.

use super::{
    keywords,
    lexer::{Token, Word},
};
use crate::{
    Severity,
    piece::{At, Found, Piece},
    settings::{Mistake, short},
};

/// Blocks within blocks.
const DEEPEST: usize = 16;

/// A line of words, at least one, with its block.
#[derive(Debug, Clone)]
pub(super) struct Statement {
    pub(super) words: Vec<Word>,
    pub(super) block: Option<Vec<Self>>,
}

impl Statement {
    /// Its first word.
    pub(super) fn name(&self) -> &str {
        self.words.first().map_or("", |word| &word.text)
    }

    pub(super) fn at(&self) -> At {
        self.words.first().map_or(At::from(0..0), |word| word.at.clone())
    }

    /// What follows the first word.
    pub(super) fn arguments(&self) -> &[Word] {
        self.words.get(1..).unwrap_or_default()
    }

    pub(super) fn lines(&self) -> &[Self] {
        self.block.as_deref().unwrap_or_default()
    }
}

pub(super) fn parse(tokens: Vec<Token>, piece: &mut Piece) -> Vec<Statement> {
    let mut parser = Parser { tokens: tokens.into_iter().peekable(), piece };
    let mut statements = Vec::new();
    loop {
        parser.block(0, &mut statements);
        match parser.tokens.next() {
            Some(Token::Close(at)) => {
                let what = "there is no block that this `}` could end".to_owned();
                parser.piece.error(at, Mistake { what, ..Mistake::default() });
            }
            _ => return statements,
        }
    }
}

struct Parser<'a> {
    tokens: std::iter::Peekable<std::vec::IntoIter<Token>>,
    piece: &'a mut Piece,
}

impl Parser<'_> {
    /// Reads statements up to the end of the block, which stays; `false` where it is left out.
    fn block(&mut self, depth: usize, out: &mut Vec<Statement>) -> bool {
        loop {
            match self.tokens.peek() {
                None => return false,
                Some(Token::Close(_)) => return true,
                Some(Token::EndOfLine) => drop(self.tokens.next()),
                Some(Token::Open(at)) => {
                    let what = "a block has no name before its `{`".to_owned();
                    let at = at.clone();
                    self.piece.error(at.clone(), Mistake { what, ..Mistake::default() });
                    self.tokens.next();
                    self.inside(depth, &at);
                }
                // A block that only stands at the top: one before it was not ended.
                Some(Token::Word(word)) if depth > 0 && keywords::is_top(&word.text) => {
                    return false;
                }
                Some(Token::Word(_)) => {
                    let statement = self.statement(depth);
                    out.push(statement);
                }
            }
        }
    }

    fn statement(&mut self, depth: usize) -> Statement {
        let mut words = Vec::new();
        while let Some(Token::Word(_)) = self.tokens.peek() {
            if let Some(Token::Word(word)) = self.tokens.next() {
                words.push(word);
            }
        }
        // The brace may stand in a line of its own.
        let mut has_block = matches!(self.tokens.peek(), Some(Token::Open(_)));
        if !has_block {
            while self.tokens.next_if(|it| matches!(it, Token::EndOfLine)).is_some() {}
            has_block = matches!(self.tokens.peek(), Some(Token::Open(_)));
        }
        let block = has_block.then(|| {
            self.tokens.next();
            let at = words.first().map_or(At::from(0..0), |word: &Word| word.at.clone());
            self.inside(depth, &at)
        });
        Statement { words, block }
    }

    /// The inside of a block whose `{` was read, with its `}`.
    fn inside(&mut self, depth: usize, at: &At) -> Vec<Statement> {
        let mut inside = Vec::new();
        if depth >= DEEPEST {
            let what = "blocks are nested too deeply".to_owned();
            self.piece.error(at.clone(), Mistake { what, ..Mistake::default() });
            for _ in self.tokens.by_ref() {}
            return inside;
        }
        if self.block(depth + 1, &mut inside) {
            self.tokens.next();
            return inside;
        }
        let mistake = |what: &str| Mistake {
            what: what.to_owned(),
            expected: "a `}` that ends it".to_owned(),
            ..Mistake::default()
        };
        let (what, other) = match self.tokens.peek() {
            Some(Token::Word(word)) => {
                let what = format!("this block does not end before `{}` begins", short(&word.text));
                (what, Some(word.at.clone()))
            }
            _ => ("this block does not end".to_owned(), None),
        };
        let severity = Severity::Error;
        let is_told = self.piece.found.iter().any(|found| found.at == *at);
        if !is_told {
            let (at, mistake) = (at.clone(), mistake(&what));
            self.piece.found.push(Found { severity, at, mistake, other });
        }
        inside
    }
}
