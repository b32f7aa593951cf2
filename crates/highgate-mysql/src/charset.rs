//! Collation ids and character sets.
//!
//! A login names its collation by an id; servers of different kinds do not have the same ones. The
//! character set also says whether a text can be lexed byte by byte.

mod table;

use table::{COLLATIONS, DEFAULTS};

/// The collation that is meant where nothing else is known: utf8mb4_general_ci.
pub const UTF8MB4_GENERAL_CI: u16 = 45;

/// A collation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Collation {
    /// Its id.
    pub id: u16,
    /// Its name.
    pub name: &'static str,
    /// Its character set.
    pub charset: &'static str,
}

impl Collation {
    /// The collation with this id.
    #[must_use]
    pub fn by_id(id: u16) -> Option<Self> {
        let at = COLLATIONS.binary_search_by_key(&id, |(id, ..)| *id).ok()?;
        COLLATIONS.get(at).map(|(id, name, charset)| Self { id: *id, name, charset })
    }

    /// The collation of this name, in any case.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        COLLATIONS
            .iter()
            .find(|(_, known, _)| known.eq_ignore_ascii_case(name))
            .map(|(id, name, charset)| Self { id: *id, name, charset })
    }

    /// The built-in default collation of this character set, in any case; `utf8` is utf8mb3. A
    /// server's settings can name another one.
    #[must_use]
    pub fn default_of(charset: &str) -> Option<Self> {
        let charset = if charset.eq_ignore_ascii_case("utf8") { "utf8mb3" } else { charset };
        let (_, id) = DEFAULTS.iter().find(|(name, _)| name.eq_ignore_ascii_case(charset))?;
        Self::by_id(*id)
    }

    /// Whether a greeting and a login can name this collation: their field has one byte.
    #[must_use]
    pub const fn fits_login(self) -> bool {
        self.id < 256
    }
}

/// Whether the second byte of a character may be a backslash or a quote, so that a text in this
/// character set can't be lexed byte by byte.
#[must_use]
pub fn is_unsafe_for_lexing(charset: &str) -> bool {
    ["big5", "cp932", "gb18030", "gbk", "sjis"]
        .iter()
        .any(|multi| multi.eq_ignore_ascii_case(charset))
}

/// The bytes that [`high_blank`] knows.
pub const HIGH_BLANKS: [u8; 2] = [0xa0, 0xff];

/// The byte beyond ASCII that servers take for a blank in a text of this character set (MariaDB 10.11, tried with
/// each byte in each of its character sets).
#[must_use]
pub fn high_blank(charset: &[u8]) -> Option<u8> {
    const NO_BREAK_SPACE: [&str; 10] = [
        "armscii8", "cp1250", "dec8", "geostd8", "greek", "hebrew", "latin1", "latin2", "latin5",
        "latin7",
    ];
    const LAST: [&str; 3] = ["cp852", "cp866", "keybcs2"];
    let is = |name: &&str| name.as_bytes().eq_ignore_ascii_case(charset);
    match () {
        () if NO_BREAK_SPACE.iter().any(is) => Some(0xa0),
        () if LAST.iter().any(is) => Some(0xff),
        () => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_ordered() {
        assert!(COLLATIONS.is_sorted_by(|a, b| a.0 < b.0));
    }

    #[test]
    fn ids_of_both_families_are_known() {
        for (id, name, charset) in [
            (8, "latin1_swedish_ci", "latin1"),
            (33, "utf8mb3_general_ci", "utf8mb3"),
            (45, "utf8mb4_general_ci", "utf8mb4"),
            (63, "binary", "binary"),
            (224, "utf8mb4_unicode_ci", "utf8mb4"),
            (255, "utf8mb4_0900_ai_ci", "utf8mb4"),
            (2304, "utf8mb4_uca1400_ai_ci", "utf8mb4"),
        ] {
            assert_eq!(Collation::by_id(id), Some(Collation { id, name, charset }), "{id}");
            assert_eq!(Collation::by_name(&name.to_uppercase()).unwrap().id, id);
        }
        assert_eq!(Collation::by_id(0), None);
    }

    #[test]
    fn every_character_set_has_a_default() {
        assert_eq!(Collation::default_of("UTF8").unwrap().name, "utf8mb3_general_ci");
        assert_eq!(Collation::default_of("latin1").unwrap().id, 8);
        for (charset, id) in DEFAULTS {
            assert_eq!(Collation::by_id(*id).unwrap().charset, *charset);
        }
    }

    #[test]
    fn character_sets_with_backslashes_inside_characters_are_known() {
        for charset in ["sjis", "GBK", "big5", "cp932", "gb18030"] {
            assert!(is_unsafe_for_lexing(charset));
        }
        for charset in ["utf8mb4", "latin1", "eucjpms", "ujis", "euckr", "gb2312", "binary"] {
            assert!(!is_unsafe_for_lexing(charset));
        }
    }
}
