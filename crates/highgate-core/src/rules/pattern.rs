//! Regular expressions of rules, compiled once and tested together.

use std::sync::Arc;

use regex::bytes::{Regex, RegexBuilder, RegexSet, RegexSetBuilder};

/// Patterns of one automaton: past a few hundred it is slower than single tests.
const CHUNK: usize = 128;

/// A pattern as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pattern {
    pub(super) text: Box<str>,
    pub(super) case_sensitive: bool,
}

/// All patterns over one kind of text.
#[derive(Debug, Default)]
pub(super) struct Patterns {
    known: Vec<(Pattern, Arc<Regex>)>,
    /// One automaton per chunk; `None` where it would have grown too large.
    together: Vec<Option<RegexSet>>,
}

/// What is known of one text: which chunks can match at all.
#[derive(Debug, Default)]
pub(super) struct Seen {
    chunk: Option<(usize, bool)>,
}

impl Patterns {
    /// Adds a pattern, unless it is there, and says where it is.
    pub(super) fn add(
        &mut self,
        pattern: Pattern,
        previous: Option<&Self>,
    ) -> Result<usize, String> {
        if let Some(at) = self.known.iter().position(|(known, _)| *known == pattern) {
            return Ok(at);
        }
        let compiled = previous
            .and_then(|set| set.known.iter().find(|(known, _)| *known == pattern))
            .map(|(_, regex)| Arc::clone(regex));
        let regex = match compiled {
            Some(regex) => regex,
            None => Arc::new(compile(&pattern)?),
        };
        self.known.push((pattern, regex));
        Ok(self.known.len() - 1)
    }

    /// Builds the automata.
    pub(super) fn seal(&mut self) {
        self.together = self
            .known
            .chunks(CHUNK)
            .map(|chunk| {
                let patterns = chunk.iter().map(|(pattern, _)| {
                    let flags = if pattern.case_sensitive { "" } else { "(?i)" };
                    format!("{flags}(?:{})", pattern.text)
                });
                RegexSetBuilder::new(patterns).dfa_size_limit(8 << 20).build().ok()
            })
            .collect();
    }

    /// Whether pattern `at` matches; `seen` remembers what the automata said about this text.
    pub(super) fn is_match(&self, at: usize, text: &[u8], seen: &mut Seen) -> bool {
        let chunk = at / CHUNK;
        let possible = match seen.chunk {
            Some((known, possible)) if known == chunk => possible,
            _ => {
                let set = self.together.get(chunk).and_then(Option::as_ref);
                let possible = set.is_none_or(|set| set.is_match(text));
                seen.chunk = Some((chunk, possible));
                possible
            }
        };
        possible && self.regex(at).is_some_and(|regex| regex.is_match(text))
    }

    /// The pattern by itself.
    pub(super) fn regex(&self, at: usize) -> Option<&Regex> {
        self.known.get(at).map(|(_, regex)| &**regex)
    }
}

fn compile(pattern: &Pattern) -> Result<Regex, String> {
    RegexBuilder::new(&pattern.text)
        .case_insensitive(!pattern.case_sensitive)
        .size_limit(4 << 20)
        .build()
        .map_err(|error| {
            let why = error.to_string();
            why.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned()
        })
}

/// ProxySQL's replacement (`\1`) in the form of the regex crate (`${1}`).
pub(super) fn replacement(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes().peekable();
    while let Some(byte) = bytes.next() {
        match (byte, bytes.peek()) {
            (b'\\', Some(digit @ b'0'..=b'9')) => {
                out.extend_from_slice(&[b'$', b'{', *digit, b'}']);
                bytes.next();
            }
            (b'\\', Some(b'\\')) => {
                out.push(b'\\');
                bytes.next();
            }
            (b'$', _) => out.extend_from_slice(b"$$"),
            _ => out.push(byte),
        }
    }
    out
}
