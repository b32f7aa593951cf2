//! The statements of a text that has several.

use super::LexMode;
use super::token::{Lexer, Token};

/// The statements of `text`, as written, without the semicolons between them. Those within a block (`BEGIN NOT
/// ATOMIC … END`) come as several, too.
pub fn statements(text: &[u8], mode: LexMode) -> impl Iterator<Item = &[u8]> {
    let mut lexer = Lexer::new(text, mode);
    let mut start = Some(0);
    std::iter::from_fn(move || {
        let from = start?;
        let to = loop {
            match lexer.next() {
                Token::End => {
                    start = None;
                    break text.len();
                }
                Token::Punct(b';') => {
                    start = Some(lexer.position());
                    break lexer.position().saturating_sub(1);
                }
                _ => {}
            }
        };
        text.get(from..to)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_end_at_semicolons_that_are_no_part_of_a_text() {
        let all = |text: &'static str| -> Vec<String> {
            let parts = statements(text.as_bytes(), LexMode::default());
            parts.map(|part| String::from_utf8_lossy(part).trim().to_owned()).collect()
        };
        assert_eq!(
            all("SET NAMES x; SELECT ';' -- ;\n; DO 1"),
            ["SET NAMES x", "SELECT ';' -- ;", "DO 1"]
        );
        assert_eq!(all("SELECT 1"), ["SELECT 1"]);
        assert_eq!(all("SELECT `;`;"), ["SELECT `;`", ""]);
    }
}
