//! Regular expressions of rules, compiled once and tested together.
//!
//! What was compiled outlives a recompilation: a change of one rule among thousands compiles that
//! one, and the automaton that it is part of.
#![expect(clippy::disallowed_types, reason = "each belongs to one pattern, none to the process")]

use std::{
    collections::HashMap,
    hash::{BuildHasher, BuildHasherDefault, DefaultHasher},
    sync::{Arc, OnceLock},
};

use regex::bytes::{Regex, RegexSet, RegexSetBuilder};

#[cfg(test)]
mod tests;

/// Patterns of one automaton: past a few hundred it is slower than single tests.
const LARGEST: usize = 256;
/// Fewer are not worth one.
const SMALLEST: usize = 32;
/// One pattern in so many ends its automaton.
const USUAL: u64 = 96;
/// Past so many, patterns are only compiled for themselves when their automaton matches: each takes
/// about 20 KiB.
const FEW: usize = 2048;

/// A pattern as written.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Pattern {
    pub(super) text: Box<str>,
    pub(super) case_sensitive: bool,
}

/// A pattern that is known to be sound.
#[derive(Debug)]
struct Known {
    pattern: Pattern,
    regex: OnceLock<Option<Regex>>,
    /// Whether it is the last one of its automaton: by its text, so that a pattern that comes or goes
    /// moves no limit but those beside it.
    is_last: bool,
}

/// Patterns that are tested at once.
#[derive(Debug)]
struct Together {
    members: Vec<Arc<Known>>,
    /// `None` where it would have grown too large.
    automaton: Option<RegexSet>,
}

/// All patterns over one kind of text, in the order of the rules that brought them.
#[derive(Debug, Default)]
pub(super) struct Patterns {
    known: Vec<Arc<Known>>,
    places: HashMap<Pattern, usize>,
    together: Vec<Arc<Together>>,
    /// Of each pattern: which of `together` has it.
    part_of: Vec<usize>,
}

/// What is known of one text: whether any of the patterns last asked for together matches.
#[derive(Debug, Default)]
pub(super) struct Seen {
    last: Option<(usize, bool)>,
}

impl Patterns {
    /// Adds a pattern, unless it is there, and says where it is.
    pub(super) fn add(
        &mut self,
        pattern: Pattern,
        previous: Option<&Self>,
    ) -> Result<usize, String> {
        if let Some(&at) = self.places.get(&pattern) {
            return Ok(at);
        }
        let before = previous.and_then(|set| set.known.get(*set.places.get(&pattern)?));
        let known = match before {
            Some(known) => Arc::clone(known),
            None => Arc::new(Known::new(pattern.clone(), self.known.len() < FEW)?),
        };
        self.known.push(known);
        self.places.insert(pattern, self.known.len() - 1);
        Ok(self.known.len() - 1)
    }

    /// Builds the automata; those of `previous` with the same patterns are taken over.
    pub(super) fn seal(&mut self, previous: Option<&Self>) {
        let mut rest = self.known.as_slice();
        while !rest.is_empty() {
            let members;
            (members, rest) = rest.split_at(length_of_next(rest));
            let before = previous.and_then(|set| set.beginning_with(members.first()?));
            let together = match before.filter(|before| are_same(&before.members, members)) {
                Some(before) => Arc::clone(before),
                None => Arc::new(Together::new(members)),
            };
            self.part_of.resize(self.part_of.len() + members.len(), self.together.len());
            self.together.push(together);
        }
    }

    fn beginning_with(&self, first: &Known) -> Option<&Arc<Together>> {
        let at = *self.places.get(&first.pattern)?;
        self.together.get(*self.part_of.get(at)?)
    }

    /// Whether pattern `at` matches; `seen` remembers what its automaton said about this text.
    pub(super) fn is_match(&self, at: usize, text: &[u8], seen: &mut Seen) -> bool {
        let Some(&part) = self.part_of.get(at) else { return false };
        let possible = match seen.last {
            Some((known, possible)) if known == part => possible,
            _ => {
                let automaton = self.together.get(part).and_then(|part| part.automaton.as_ref());
                let possible = automaton.is_none_or(|automaton| automaton.is_match(text));
                seen.last = Some((part, possible));
                possible
            }
        };
        possible && self.regex(at).is_some_and(|regex| regex.is_match(text))
    }

    /// The pattern by itself.
    pub(super) fn regex(&self, at: usize) -> Option<&Regex> {
        self.known.get(at)?.regex()
    }
}

impl Known {
    fn new(pattern: Pattern, keep: bool) -> Result<Self, String> {
        let is_late = !keep && highgate_config::surely_compiles(&pattern.text);
        let compiled = if is_late { None } else { Some(compile(&pattern)?) };
        let regex =
            compiled.filter(|_| keep).map_or_else(OnceLock::new, |it| OnceLock::from(Some(it)));
        // The same in every process, so that what a test sees is what runs.
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(&pattern);
        Ok(Self { pattern, regex, is_last: hash.is_multiple_of(USUAL) })
    }

    fn regex(&self) -> Option<&Regex> {
        self.regex.get_or_init(|| compile(&self.pattern).ok()).as_ref()
    }
}

impl Together {
    fn new(members: &[Arc<Known>]) -> Self {
        let patterns = members.iter().map(|known| {
            let flags = if known.pattern.case_sensitive { "" } else { "(?i)" };
            format!("{flags}(?:{})", known.pattern.text)
        });
        let automaton = RegexSetBuilder::new(patterns).dfa_size_limit(8 << 20).build().ok();
        Self { members: members.to_vec(), automaton }
    }
}

/// How many of the patterns to come are tested together.
fn length_of_next(rest: &[Arc<Known>]) -> usize {
    let last = rest.iter().take(LARGEST).skip(SMALLEST).position(|known| known.is_last);
    last.map_or(LARGEST, |at| SMALLEST + at + 1).min(rest.len())
}

fn are_same(old: &[Arc<Known>], new: &[Arc<Known>]) -> bool {
    old.len() == new.len() && old.iter().zip(new).all(|(old, new)| Arc::ptr_eq(old, new))
}

fn compile(pattern: &Pattern) -> Result<Regex, String> {
    highgate_config::compile_pattern(&pattern.text, pattern.case_sensitive)
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
