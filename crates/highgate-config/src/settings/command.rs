//! Commands that Highgate runs: programs with their arguments, never a shell.

use super::{Mistake, kind::short};

pub(super) const EXPECTED: &str = "a program, by its absolute path or by a name that is looked up in /usr/sbin, /usr/bin, /sbin and /bin, followed by its arguments";

/// Splits a command into the program and its arguments: at blanks, except within quotes; a
/// backslash takes the next character as it is, except within single quotes.
///
/// # Errors
/// A quote that does not end, a program by a relative path, or a NUL byte.
pub fn split(text: &str) -> Result<Vec<String>, Mistake> {
    let mut words: Vec<String> = Vec::new();
    let mut word: Option<String> = None;
    let mut quote: Option<char> = None;
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match (letter, quote) {
            ('\0', _) => return Err(mistake("the command has a NUL byte".to_owned())),
            (letter, Some(open)) if letter == open => quote = None,
            ('\'' | '"', None) => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            ('\\', None | Some('"')) => {
                let Some(next) = letters.next() else {
                    return Err(mistake("a backslash ends the command".to_owned()));
                };
                word.get_or_insert_default().push(next);
            }
            (letter, None) if letter.is_whitespace() => words.extend(word.take()),
            (letter, _) => word.get_or_insert_default().push(letter),
        }
    }
    if let Some(open) = quote {
        return Err(mistake(format!("the quote {open} does not end")));
    }
    words.extend(word);
    match words.first() {
        None => Err(mistake("the command is empty".to_owned())),
        Some(program) if program.contains('/') && !program.starts_with('/') => {
            let what = format!("`{}` is a relative path", short(program));
            Err(mistake(what))
        }
        Some(_) => Ok(words),
    }
}

fn mistake(what: String) -> Mistake {
    Mistake { what, expected: EXPECTED.to_owned(), ..Mistake::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_keep_blanks_and_blanks_part_words() {
        let words = split(r#"/bin/sh -c 'test -e "/run/x y"' a\ b "c'd" ''"#).unwrap();
        assert_eq!(words, ["/bin/sh", "-c", "test -e \"/run/x y\"", "a b", "c'd", ""]);
    }

    #[test]
    fn what_could_run_something_else_is_refused() {
        for text in ["", "  ", "bin/pidof haproxy", "./x", "/bin/x 'a", "/bin/x a\\", "/bin/x \0"] {
            assert!(split(text).is_err(), "{text}");
        }
    }
}
