//! `$NAME=value` and where it is used.

use super::{
    DEEPEST, Lexer, MOST_LETTERS,
    letters::{Letter, Lines, letters_of, span_of, trimmed, used},
};
use crate::{
    Severity,
    piece::At,
    settings::{Mistake, short},
};

impl Lexer<'_> {
    /// Takes a definition, with the lines that it goes on over.
    pub(super) fn define(
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
    pub(super) fn expand(
        &mut self,
        source: usize,
        letters: &[Letter],
        depth: usize,
    ) -> Vec<Letter> {
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
}
