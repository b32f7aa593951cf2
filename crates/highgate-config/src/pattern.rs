//! Regular expressions of rules: how they are compiled, and which of them are sound without that.
//!
//! What is checked and what rules are decided by is compiled here, so that what is accepted can be put in
//! force: two limits that differed let `check` and `apply` accept what was left out afterwards.
//!
//! To compile one costs about as much as to read a thousand lines of a file, and among a hundred
//! thousand rules each is read, looked at again where it is put in force, and tested by an automaton
//! that it shares with others. By itself it is compiled for the first text that it may match.

use regex::bytes::{Regex, RegexBuilder};

/// What a pattern may take, in bytes, in the form in which it is used: ignoring case makes it several times as large.
const LARGEST: usize = 10 << 20;

/// Compiles a pattern as a rule uses it.
///
/// # Errors
/// What is wrong with it, in words.
pub fn compile_pattern(text: &str, case_sensitive: bool) -> Result<Regex, String> {
    let mut builder = RegexBuilder::new(text);
    let built = builder.case_insensitive(!case_sensitive).size_limit(LARGEST).build();
    built.map_err(|error| last_line(&error))
}

/// Looks at a pattern without compiling it: what may be wrong with it then is its size alone.
///
/// # Errors
/// What is wrong with it, in words.
pub(crate) fn well_formed(text: &str) -> Result<(), String> {
    regex_syntax::parse(text).map(drop).map_err(|error| last_line(&error))
}

/// Of an error that shows the pattern, too, with a mark below the place.
fn last_line(error: &dyn std::fmt::Display) -> String {
    let whole = error.to_string();
    let last = whole.lines().last().unwrap_or_default().trim();
    last.strip_prefix("error: ").unwrap_or(last).to_owned()
}

/// Patterns up to this many bytes are too short to outgrow what a pattern may take, whatever classes
/// of characters they name.
const SHORT: usize = 160;

/// Whether a pattern surely compiles, with letters of either case and over text or bytes: it is well
/// formed, short, and repeats nothing by a number. Of others nothing is known.
#[must_use]
pub fn surely_compiles(text: &str) -> bool {
    text.len() <= SHORT && !text.contains('{') && regex_syntax::parse(text).is_ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn compiles(text: &str) -> bool {
        compile_pattern(text, true).is_ok() && compile_pattern(text, false).is_ok()
    }

    #[test]
    fn the_largest_of_the_short_compile() {
        for piece in
            [r"\w", r"\W", r"\pL", r"\PL", r"[^\w]", ".", "k", "(k|s)*", r"\D?", r"(?:\S+)+", "é"]
        {
            let text = piece.repeat(SHORT / piece.len());
            assert!(surely_compiles(&text) && compiles(&text), "{piece}");
        }
        let mut nested = String::from(r"\W");
        while nested.len() + 3 <= SHORT {
            nested = format!("({nested})*");
        }
        assert!(!surely_compiles(&nested) || compiles(&nested));
    }

    #[test]
    fn what_may_be_too_large_or_is_malformed_is_not_known_to_compile() {
        for text in [r"\w{4000}", "(", "[z-a]", r"\q", "(?P<n>a)(?P<n>b)", &"a".repeat(SHORT + 1)] {
            assert!(!surely_compiles(text), "{text}");
        }
        assert!(surely_compiles(r"^SELECT .* FROM t WHERE id = \?$"));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

        #[test]
        fn what_surely_compiles_does(text in r"([a-z?*+|().\[\]^$ -]|\\[a-zA-Z?.]){0,12}") {
            prop_assert!(!surely_compiles(&text) || compiles(&text));
        }
    }
}
