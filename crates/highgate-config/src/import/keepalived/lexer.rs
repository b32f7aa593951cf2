//! The text of keepalived.conf to words: comments, quotes, definitions, conditions, includes.
//!
//! Each word keeps where it was written: for what came from a definition, where that was used.

mod definitions;
mod letters;
mod words;

use std::collections::BTreeMap;

pub(super) use self::letters::Letter;
use self::letters::{Lines, definition, letters_of, span_of, trimmed, used};
use super::generators;
use crate::{
    Severity,
    import::Surroundings,
    piece::{At, Piece},
    settings::{Mistake, short},
    source::Source,
};

/// Files within files, and definitions within definitions.
const DEEPEST: usize = 10;
/// Letters that definitions may make of a file altogether.
const MOST_LETTERS: usize = 1 << 20;
/// Files that may be included altogether.
const MOST_FILES: usize = 500;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    Close(At),
    EndOfLine,
    Open(At),
    Word(Word),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Word {
    pub(super) text: String,
    pub(super) at: At,
    pub(super) is_quoted: bool,
}

pub(super) struct Lexer<'a> {
    pub(super) piece: &'a mut Piece,
    pub(super) tokens: Vec<Token>,
    surroundings: &'a dyn Surroundings,
    /// What `@id` is compared with.
    id: &'a str,
    definitions: BTreeMap<String, String>,
    /// Ids of conditions, and whether one of them was ours.
    ids: Vec<(String, At)>,
    is_ours: bool,
    letters: usize,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(
        piece: &'a mut Piece,
        surroundings: &'a dyn Surroundings,
        id: &'a str,
    ) -> Self {
        Self {
            piece,
            tokens: Vec::new(),
            surroundings,
            id,
            definitions: BTreeMap::new(),
            ids: Vec::new(),
            is_ours: false,
            letters: 0,
        }
    }

    pub(super) fn file(&mut self, name: &str, text: &str, depth: usize) {
        let source = self.piece.sources.len();
        self.piece.sources.push((name.to_owned(), Source::new(text)));
        let mut lines = Lines { text, at: 0 };
        while let Some((start, line)) = lines.next() {
            self.line(source, start, line, &mut lines, depth);
        }
        if depth == 0 {
            self.conditions();
        }
    }

    /// Where all conditions are for others, the name of the node was probably forgotten.
    fn conditions(&mut self) {
        let Some((_, at)) = self.ids.first().cloned() else { return };
        if self.is_ours {
            return;
        }
        let mut ids: Vec<&str> = self.ids.iter().map(|(id, _)| id.as_str()).collect();
        ids.sort_unstable();
        ids.dedup();
        let what = format!("no condition names this node, `{}`", short(self.id));
        let hint = format!(
            "the conditions are for {}; `--node NAME` is what Keepalived's -i is",
            ids.iter().map(|id| format!("`{}`", short(id))).collect::<Vec<_>>().join(", ")
        );
        let mistake = Mistake { what, hint: Some(hint), ..Mistake::default() };
        self.piece.tell(Severity::Warning, at, mistake);
    }

    fn line(
        &mut self,
        source: usize,
        start: usize,
        line: &str,
        lines: &mut Lines<'_>,
        depth: usize,
    ) {
        let mut letters = letters_of(line, start);
        if let Some(end) = self.comment(source, &letters) {
            letters.truncate(end);
        }
        while letters.last().is_some_and(|letter| letter.c.is_whitespace()) {
            letters.pop();
        }
        self.one(source, trimmed(&letters), Some(lines), depth);
    }

    /// One line, or one of those that a definition or a generator stands for: these have no `lines` to
    /// go on over.
    fn one(
        &mut self,
        source: usize,
        mut rest: &[Letter],
        lines: Option<&mut Lines<'_>>,
        depth: usize,
    ) {
        if rest.first().is_some_and(|letter| letter.c == '@' && !letter.is_plain) {
            match self.condition(source, rest) {
                Some(after) => rest = after,
                None => return,
            }
        }
        if let Some((generator, rest)) = generators::split(rest) {
            return self.generate(source, generator, rest, depth);
        }
        if let Some((name, value)) = definition(rest) {
            return self.define(source, &name, value, lines);
        }
        if let Some(lines) = self.several(rest) {
            if depth >= DEEPEST {
                let what = "definitions go on without end".to_owned();
                let at = At { source, span: span_of(rest) };
                return self.piece.error(at, Mistake { what, ..Mistake::default() });
            }
            for line in lines.split(|letter| letter.c == '\n') {
                self.one(source, trimmed(line), None, depth + 1);
            }
            return;
        }
        let expanded = self.expand(source, rest, 0);
        let is_include = {
            let word: String =
                expanded.iter().map(|it| it.c).take_while(|c| !c.is_whitespace()).collect();
            let kinds = word.strip_prefix("include");
            kinds.is_some_and(|kinds| kinds.chars().all(|c| "rmwba".contains(c)))
        };
        let first = self.tokens.len();
        self.words(source, &expanded);
        if is_include {
            let words: Vec<Token> = self.tokens.drain(first..).collect();
            self.include(source, &words, depth);
        }
        self.tokens.push(Token::EndOfLine);
    }

    /// The rest of a line once for each value.
    fn generate(&mut self, source: usize, generator: &[Letter], rest: &[Letter], depth: usize) {
        let at = At { source, span: span_of(generator) };
        let text = |letters: &[Letter]| letters.iter().map(|it| it.c).collect::<String>();
        let ends = generator.last().is_some_and(|it| it.c == ')');
        let text = if ends { text(&self.expand(source, generator, 0)) } else { text(generator) };
        let rounds = match generators::rounds(&text) {
            Ok(rounds) => rounds,
            Err(mistake) => return self.piece.error(at, mistake),
        };
        let before = self.definitions.clone();
        for round in rounds {
            self.letters += rest.len();
            if self.letters >= MOST_LETTERS || depth >= DEEPEST {
                let what = "this makes too much of one line".to_owned();
                self.piece.error(at, Mistake { what, ..Mistake::default() });
                break;
            }
            self.definitions.extend(round.clone());
            self.one(source, trimmed(rest), None, depth + 1);
            for (name, _) in &round {
                match before.get(name) {
                    Some(value) => drop(self.definitions.insert(name.clone(), value.clone())),
                    None => drop(self.definitions.remove(name)),
                }
            }
        }
    }

    /// What a line stands for that uses a definition of several lines; each may have conditions,
    /// generators and definitions of its own.
    fn several(&mut self, letters: &[Letter]) -> Option<Vec<Letter>> {
        let mut at = 0;
        while at < letters.len() {
            let Some((name, after)) = used(letters, at) else {
                at += 1;
                continue;
            };
            let value = self.definitions.get(&name).filter(|value| value.contains('\n')).cloned();
            let Some(value) = value.filter(|_| self.letters < MOST_LETTERS) else {
                at = after;
                continue;
            };
            self.letters += value.len();
            let span = span_of(letters.get(at..after).unwrap_or_default());
            let inner = value.chars().map(|c| Letter {
                c,
                start: span.start,
                end: span.end,
                is_plain: false,
            });
            let (before, rest) = (letters.get(..at)?, letters.get(after..)?);
            return Some(before.iter().copied().chain(inner).chain(rest.iter().copied()).collect());
        }
        None
    }

    /// Where a comment begins.
    fn comment(&mut self, source: usize, letters: &[Letter]) -> Option<usize> {
        let mut quote: Option<char> = None;
        let mut is_escaped = false;
        let mut before = ' ';
        for (position, letter) in letters.iter().enumerate() {
            let c = letter.c;
            if is_escaped {
                is_escaped = false;
            } else if c == '\\' && position + 1 < letters.len() {
                is_escaped = true;
            } else if quote == Some(c) {
                quote = None;
            } else if quote.is_none() && (c == '"' || (c == '\'' && before.is_whitespace())) {
                quote = Some(c);
            } else if quote.is_none() && (c == '#' || c == '!') {
                if !before.is_whitespace() && !"{}".contains(before) {
                    let what = format!("`{c}` begins a comment, also within a word");
                    let hint = "if it belongs to the word, put the word within double quotes";
                    let hint = Some(hint.to_owned());
                    let at = At { source, span: letter.start..letter.end };
                    // The word may be a password, and what is cut off the rest of it.
                    let rest = letters.get(position + 1..).unwrap_or_default();
                    let end = rest.iter().position(|it| it.c.is_whitespace()).unwrap_or(rest.len());
                    let cut = span_of(rest.get(..end).unwrap_or_default());
                    if let Some((_, source)) = self.piece.sources.get_mut(source)
                        && !cut.is_empty()
                    {
                        source.hide(cut);
                    }
                    let mistake = Mistake { what, hint, ..Mistake::default() };
                    self.piece.tell(Severity::Warning, at, mistake);
                }
                return Some(position);
            }
            before = c;
        }
        None
    }

    /// What follows `@id` or `@^id`, where it is for this node.
    fn condition<'l>(&mut self, source: usize, letters: &'l [Letter]) -> Option<&'l [Letter]> {
        let end = letters.iter().position(|it| it.c.is_whitespace()).unwrap_or(letters.len());
        let (word, rest) = letters.split_at(end);
        let id: String = word.iter().skip(1).map(|it| it.c).collect();
        let (id, is_turned) = match id.strip_prefix('^') {
            Some(id) => (id, true),
            None => (id.as_str(), false),
        };
        let at = At { source, span: span_of(word) };
        if id.is_empty() {
            let what = "a condition has no name: `@NAME line`".to_owned();
            self.piece.error(at, Mistake { what, ..Mistake::default() });
            return None;
        }
        self.ids.push((id.to_owned(), at));
        self.is_ours |= id == self.id;
        ((id == self.id) != is_turned).then(|| trimmed(rest))
    }

    fn include(&mut self, source: usize, words: &[Token], depth: usize) {
        let (keyword, pattern) = match words {
            [Token::Word(keyword), Token::Word(pattern)] => (keyword, pattern),
            [Token::Word(keyword), ..] => {
                let what = "`include` takes one file or pattern".to_owned();
                let at = keyword.at.clone();
                return self.piece.error(at, Mistake { what, ..Mistake::default() });
            }
            _ => return,
        };
        let mut fail = |what: String| {
            self.piece.error(pattern.at.clone(), Mistake { what, ..Mistake::default() });
        };
        if depth >= DEEPEST {
            return fail("files include each other too deeply".to_owned());
        }
        let from = self.piece.sources.get(source).map(|(name, _)| name.clone()).unwrap_or_default();
        match self.surroundings.include(&from, &pattern.text) {
            Err(why) => {
                self.piece.error(pattern.at.clone(), Mistake { what: why, ..Mistake::default() });
            }
            Ok(files) if files.is_empty() => {
                let what = format!("no file is there for `{}`", short(&pattern.text));
                let must = !pattern.text.contains(['*', '?', '[']) || keyword.text.contains('m');
                let severity = if must { Severity::Error } else { Severity::Note };
                let at = pattern.at.clone();
                self.piece.tell(severity, at, Mistake { what, ..Mistake::default() });
            }
            Ok(files) => {
                for (name, text) in files {
                    if self.piece.sources.len() < MOST_FILES {
                        self.file(&name, &text, depth + 1);
                    }
                }
            }
        }
    }
}
