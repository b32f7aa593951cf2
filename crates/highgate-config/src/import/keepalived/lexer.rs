//! The text of keepalived.conf to words: comments, quotes, definitions, conditions, includes.
//!
//! Each word keeps where it was written: for what came from a definition, where that was used.

use std::collections::BTreeMap;

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

/// A letter with the bytes of the file that it stands for.
#[derive(Clone, Copy)]
pub(super) struct Letter {
    pub(super) c: char,
    start: usize,
    end: usize,
    /// Written as `${_HASH}` and the like: it has no meaning of its own.
    pub(super) is_plain: bool,
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

    /// Takes a definition, with the lines that it goes on over.
    fn define(
        &mut self,
        source: usize,
        name: &str,
        value: &[Letter],
        mut lines: Option<&mut Lines<'_>>,
    ) {
        let mut text = self.value(source, value);
        while text.ends_with('\\') {
            text.pop();
            let Some((start, line)) = lines.as_mut().and_then(|lines| lines.next()) else { break };
            let mut letters = letters_of(line.trim_end(), start);
            if let Some(end) = self.comment(source, &letters) {
                letters.truncate(end);
            }
            text.push('\n');
            text.push_str(&self.value(source, trimmed(&letters)));
        }
        self.definitions.insert(name.to_owned(), text);
    }

    fn value(&mut self, source: usize, letters: &[Letter]) -> String {
        // It may be a password; nobody knows yet.
        if let Some((_, source)) = self.piece.sources.get_mut(source)
            && !letters.is_empty()
        {
            source.hide(span_of(letters));
        }
        let text: String = letters.iter().map(|it| it.c).collect();
        text.trim_end().to_owned()
    }

    /// Puts definitions in where they are used.
    fn expand(&mut self, source: usize, letters: &[Letter], depth: usize) -> Vec<Letter> {
        let mut out: Vec<Letter> = Vec::with_capacity(letters.len());
        let mut at = 0;
        let mut quote = None;
        while let Some(letter) = letters.get(at) {
            match quote {
                Some(open) if letter.c == open => quote = None,
                None if letter.c == '"' || letter.c == '\'' => quote = Some(letter.c),
                _ => {}
            }
            let Some((name, after)) = used(letters, at) else {
                out.push(*letter);
                at += 1;
                continue;
            };
            let span = span_of(letters.get(at..after).unwrap_or_default());
            if quote.is_some() && !self.is_defined(&name) {
                self.leave(source, &name, span);
                out.extend(letters.get(at..after).unwrap_or_default());
                at = after;
                continue;
            }
            at = after;
            match self.defined(source, &name, &span) {
                Some((value, is_plain)) if depth < DEEPEST && self.letters < MOST_LETTERS => {
                    self.letters += value.len();
                    let (start, end) = (span.start, span.end);
                    let inner: Vec<Letter> =
                        value.chars().map(|c| Letter { c, start, end, is_plain }).collect();
                    if is_plain {
                        out.extend(inner);
                    } else {
                        out.extend(self.expand(source, &inner, depth + 1));
                    }
                }
                Some(_) => {
                    let what = format!("definition `{}` goes on without end", short(&name));
                    self.piece.error(At { source, span }, Mistake { what, ..Mistake::default() });
                }
                None => {}
            }
        }
        out
    }

    fn is_defined(&self, name: &str) -> bool {
        let own = ["_BANG", "_HASH", "_INSTANCE", "_PWD"];
        own.contains(&name) || name.starts_with("_RANDOM") || self.definitions.contains_key(name)
    }

    /// Within quotes it may be for a shell: it stays, as with Keepalived.
    fn leave(&mut self, source: usize, name: &str, span: std::ops::Range<usize>) {
        let what =
            format!("`{}` is not defined before this line: it is left as it is", short(name));
        let known = self.definitions.keys().map(String::as_str);
        let nearest = crate::nearest::nearest(name, known).map(str::to_owned);
        let mistake = Mistake { what, nearest, ..Mistake::default() };
        self.piece.tell(Severity::Warning, At { source, span }, mistake);
    }

    fn defined(
        &mut self,
        source: usize,
        name: &str,
        span: &std::ops::Range<usize>,
    ) -> Option<(String, bool)> {
        let file = self.piece.sources.get(source).map(|(name, _)| name.clone()).unwrap_or_default();
        let own = match name {
            "_BANG" => Some("!".to_owned()),
            "_HASH" => Some("#".to_owned()),
            "_INSTANCE" => Some(self.id.to_owned()),
            "_PWD" => Some(match file.rsplit_once('/') {
                Some(("", _)) => "/".to_owned(),
                Some((folder, _)) => folder.to_owned(),
                None => ".".to_owned(),
            }),
            _ => None,
        };
        if let Some(own) = own {
            return Some((own, true));
        }
        if let Some(value) = self.definitions.get(name) {
            return Some((value.clone(), false));
        }
        let known = self.definitions.keys().map(String::as_str);
        let nearest = crate::nearest::nearest(name, known).map(str::to_owned);
        let (what, hint) = if name.starts_with("_RANDOM") {
            (
                "`_RANDOM` is known, but not honoured".to_owned(),
                Some(
                    "a configuration that is another one at each reading can't be compared"
                        .to_owned(),
                ),
            )
        } else {
            (format!("`{}` is not defined before this line", short(name)), None)
        };
        let at = At { source, span: span.clone() };
        self.piece.error(at, Mistake { what, nearest, hint, ..Mistake::default() });
        None
    }

    fn words(&mut self, source: usize, letters: &[Letter]) {
        let mut word: Option<(String, usize, usize, bool)> = None;
        let mut at = 0;
        while let Some(letter) = letters.get(at) {
            at += 1;
            let (start, end) = (letter.start, letter.end);
            let here = At { source, span: start..end };
            match letter.c {
                '\n' => {
                    self.end(source, word.take());
                    self.tokens.push(Token::EndOfLine);
                }
                c if c.is_whitespace() && !letter.is_plain => self.end(source, word.take()),
                '{' | '}' if !letter.is_plain => {
                    self.end(source, word.take());
                    let token =
                        if letter.c == '{' { Token::Open(here) } else { Token::Close(here) };
                    self.tokens.push(token);
                }
                '"' | '\'' if !letter.is_plain && word.is_none() => {
                    let (text, after, last) = self.quoted(source, letters, at, letter);
                    at = after;
                    word = Some((text, start, last, true));
                }
                c => {
                    let word = word.get_or_insert((String::new(), start, end, false));
                    word.0.push(c);
                    word.1 = word.1.min(start);
                    word.2 = word.2.max(end);
                }
            }
        }
        self.end(source, word.take());
    }

    /// The text of a quote, what follows it, and where it ends.
    fn quoted(
        &mut self,
        source: usize,
        letters: &[Letter],
        from: usize,
        open: &Letter,
    ) -> (String, usize, usize) {
        let mut text = String::new();
        let mut at = from;
        while let Some(letter) = letters.get(at) {
            at += 1;
            let next = letters.get(at);
            match (letter.c, next) {
                (c, _) if c == open.c && !letter.is_plain => return (text, at, letter.end),
                ('\\', Some(next)) if next.c == open.c || next.c == '\\' => {
                    text.push(next.c);
                    at += 1;
                }
                (c, _) => text.push(c),
            }
        }
        let what = format!("the quote {} does not end in this line", open.c);
        let here = At { source, span: open.start..open.end };
        self.piece.error(here, Mistake { what, ..Mistake::default() });
        (text, at, letters.last().map_or(open.end, |it| it.end))
    }

    fn end(&mut self, source: usize, word: Option<(String, usize, usize, bool)>) {
        let Some((text, start, end, is_quoted)) = word else { return };
        if !is_quoted && (text.starts_with("~SEQ") || text.starts_with("~LST")) {
            let at = At { source, span: start..end };
            let hint = Some("it stands at the beginning of a line".to_owned());
            let what = format!("`{}` is not at the beginning of a line", short(&text));
            return self.piece.error(at, Mistake { what, hint, ..Mistake::default() });
        }
        self.tokens.push(Token::Word(Word {
            text,
            at: At { source, span: start..end },
            is_quoted,
        }));
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

struct Lines<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Lines<'t> {
    fn next(&mut self) -> Option<(usize, &'t str)> {
        let rest = self.text.get(self.at..).filter(|rest| !rest.is_empty())?;
        let start = self.at;
        let line = rest.split_inclusive('\n').next()?;
        self.at += line.len();
        Some((start, line.trim_end_matches(['\n', '\r'])))
    }
}

fn letters_of(line: &str, start: usize) -> Vec<Letter> {
    line.char_indices()
        .map(|(at, c)| Letter {
            c,
            start: start + at,
            end: start + at + c.len_utf8(),
            is_plain: false,
        })
        .collect()
}

fn trimmed(letters: &[Letter]) -> &[Letter] {
    let from = letters.iter().position(|it| !it.c.is_whitespace()).unwrap_or(letters.len());
    letters.get(from..).unwrap_or_default()
}

fn span_of(letters: &[Letter]) -> std::ops::Range<usize> {
    match (letters.first(), letters.last()) {
        (Some(first), Some(last)) => first.start..last.end,
        _ => 0..0,
    }
}

/// `$NAME=value` at the beginning of a line.
fn definition(letters: &[Letter]) -> Option<(String, &[Letter])> {
    let (first, rest) = letters.split_first()?;
    let equals = rest.iter().position(|it| !is_of_name(it.c))?;
    if first.c != '$' || equals == 0 || rest.get(equals)?.c != '=' {
        return None;
    }
    let name = rest.iter().take(equals).map(|it| it.c).collect();
    Some((name, trimmed(rest.get(equals + 1..).unwrap_or_default())))
}

/// The name in `$NAME` or `${NAME}` at a position, and what follows it.
fn used(letters: &[Letter], at: usize) -> Option<(String, usize)> {
    let c = |at: usize| letters.get(at).filter(|it| !it.is_plain).map(|it| it.c);
    if c(at)? != '$' {
        return None;
    }
    let is_braced = c(at + 1) == Some('{');
    let from = if is_braced { at + 2 } else { at + 1 };
    let mut end = from;
    while c(end).is_some_and(|c| is_of_name(c) || (is_braced && " ,-".contains(c))) {
        end += 1;
    }
    let name: String = letters.get(from..end)?.iter().map(|it| it.c).collect();
    if name.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    match (name.is_empty(), is_braced, c(end)) {
        (true, ..) => None,
        (_, false, _) => Some((name, end)),
        (_, true, Some('}')) => Some((name, end + 1)),
        _ => None,
    }
}

fn is_of_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}
