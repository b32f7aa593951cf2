//! Regular expressions of rules: which of them are sound without being compiled.
//!
//! To compile one costs about as much as to read a thousand lines of a file, and among a hundred
//! thousand rules each is read, looked at again where it is put in force, and tested by an automaton
//! that it shares with others. By itself it is compiled for the first text that it may match.

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

    /// As rules have them compiled, in the crate that decides by them.
    fn compiles(text: &str) -> bool {
        let bytes = |ignores_case| {
            let mut builder = regex::bytes::RegexBuilder::new(text);
            builder.case_insensitive(ignores_case).size_limit(4 << 20).build()
        };
        regex::Regex::new(text).is_ok() && bytes(true).is_ok() && bytes(false).is_ok()
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
