//! Charsets of a session: as logged in, as reset, or as set.

use highgate_mysql::{charset, sql::Flavor};
use serde::{Deserialize, Serialize};

use super::VarValue;

/// The charsets of a session or a connection.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Charset {
    /// As the login's collation id made it.
    Login(u16),
    /// The server's own defaults, as after COM_RESET_CONNECTION.
    #[default]
    ServerDefault,
    /// As set.
    Set {
        /// `character_set_client`.
        client: VarValue,
        /// `character_set_results`; may be the word NULL.
        results: VarValue,
        /// The collation that the results' charset was given with, by `SET NAMES x COLLATE y` alone:
        /// columns are described with it.
        #[serde(default)]
        described: Option<VarValue>,
        /// `character_set_connection` and `collation_connection`.
        connection: ConnectionCharset,
    },
}

/// How the connection charset was given; either one implies the other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ConnectionCharset {
    /// By its charset, with that charset's default collation.
    Charset(VarValue),
    /// By its collation.
    Collation(VarValue),
}

impl Charset {
    /// `SET NAMES charset [COLLATE collation]`.
    #[must_use]
    pub fn names(charset: VarValue, collation: Option<VarValue>) -> Self {
        let described = collation.clone().filter(|_| charset != VarValue::Default);
        Self::Set {
            client: charset.clone(),
            results: charset.clone(),
            described,
            connection: collation
                .map_or(ConnectionCharset::Charset(charset), ConnectionCharset::Collation),
        }
    }

    /// After COM_RESET_CONNECTION of a session that logged in with that collation.
    ///
    /// Quirk: MariaDB goes back to the login's charset, MySQL to its own defaults.
    #[must_use]
    pub const fn after_reset(login: u16, flavor: Flavor) -> Self {
        match flavor {
            Flavor::MariaDb => Self::Login(login),
            _ => Self::ServerDefault,
        }
    }

    /// The same, with every part spelt out as a server makes it; `None` if the login's collation id is not
    /// known here.
    #[must_use]
    pub fn spelt(&self, dialect: Dialect) -> Option<Self> {
        match self {
            Self::Login(id) => {
                let Some((charset, collation)) = collation_names(*id, dialect)? else {
                    return Some(Self::names(VarValue::Default, None));
                };
                if dialect.maps_collations() && is_first_of_its_charset(*id) {
                    let charset = if charset == "utf8" { "utf8mb3" } else { charset };
                    return Some(Self::names(VarValue::text(charset.as_bytes()), None));
                }
                let charset = VarValue::text(charset.as_bytes());
                Some(Self::names(charset, Some(VarValue::text(collation.as_bytes()))))
            }
            Self::ServerDefault => Some(Self::names(VarValue::Default, None)),
            Self::Set { .. } => Some(self.clone()),
        }
    }

    /// Whether characters of the client's charset may end in ASCII bytes (big5, cp932, gb18030, gbk, sjis).
    #[must_use]
    pub fn is_unsafe(&self) -> bool {
        let unsafe_ones = ["big5", "cp932", "gb18030", "gbk", "sjis"];
        self.client().is_some_and(|name| is_one_of(name, &unsafe_ones))
    }

    /// The byte beyond ASCII that is a blank in the client's charset.
    #[must_use]
    pub fn high_blank(&self) -> Option<u8> {
        self.client().and_then(|name| charset::high_blank(bare(name)))
    }

    /// The name of the client's charset, quoted or not, if it is known.
    fn client(&self) -> Option<&[u8]> {
        match self {
            Self::Login(id) => {
                let (charset, _) = collation_names(*id, Dialect::default()).flatten()?;
                Some(charset.as_bytes())
            }
            Self::ServerDefault => None,
            Self::Set { client, .. } => Some(client.as_bytes()),
        }
    }

    /// Whether results come in a charset in which even ASCII takes several bytes.
    #[must_use]
    pub fn has_wide_results(&self) -> bool {
        let Self::Set { results, .. } = self else { return false };
        is_one_of(results.as_bytes(), &["ucs2", "utf16", "utf16le", "utf32"])
    }
}

const fn bare(name: &[u8]) -> &[u8] {
    match name {
        [b'\'', inner @ .., b'\''] => inner,
        other => other,
    }
}

/// Whether that is the name of one of them, quoted or not.
fn is_one_of(name: &[u8], charsets: &[&str]) -> bool {
    charsets.iter().any(|charset| bare(name).eq_ignore_ascii_case(charset.as_bytes()))
}

/// Whose names of charsets and collations are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Dialect {
    /// Whose dialect a server speaks.
    pub flavor: Flavor,
    /// Its version as version comments write it; 0 if it can't be told.
    pub version: u32,
}

impl Dialect {
    /// Whether a charset that is named alone, or by a login with the collation that was once its default, has the
    /// one of `character_set_collations`.
    ///
    /// Quirk: so it is on MariaDB from 11.2 on, and from 11.5 on that is another for Unicode.
    pub(crate) fn maps_collations(self) -> bool {
        self.flavor == Flavor::MariaDb && self.version >= 110_200
    }

    /// Quirk: MariaDB has some of MySQL's `_0900_` collations by their id from 11.4.5 and 11.7.2 on.
    fn knows_0900(self, id: u16) -> bool {
        let has = (110_405..110_500).contains(&self.version) || self.version >= 110_702;
        self.flavor != Flavor::MariaDb || has && (255..=308).contains(&id)
    }
}

/// Whether it was the collation of a charset that is named alone in all versions of MariaDB before 11.2.
fn is_first_of_its_charset(id: u16) -> bool {
    const FIRST: [u16; 36] = [
        1, 3, 4, 6, 7, 8, 9, 10, 11, 12, 13, 16, 18, 19, 22, 24, 25, 26, 28, 30, 32, 33, 36, 37,
        38, 39, 40, 41, 45, 51, 57, 59, 63, 92, 95, 97,
    ];
    FIRST.contains(&id)
}

/// Charset and collation of a collation id of the login.
///
/// `None`: the id is not in this table. `Some(None)`: such a server does not know the id and takes its own defaults.
#[must_use]
pub fn collation_names(id: u16, dialect: Dialect) -> Option<Option<(&'static str, &'static str)>> {
    let is_0900 = (255..=323).contains(&id);
    if is_0900 && !dialect.knows_0900(id) {
        return Some(None);
    }
    // Others of them have the charset at least.
    let id = if is_0900 && dialect.flavor == Flavor::MariaDb && !has_name(id) { 255 } else { id };
    let at = COLLATIONS.binary_search_by_key(&id, |(known, _)| *known).ok()?;
    let (_, collation) = COLLATIONS.get(at)?;
    let charset = collation.split_once('_').map_or(*collation, |(charset, _)| charset);
    Some(Some((charset, collation)))
}

fn has_name(id: u16) -> bool {
    COLLATIONS.binary_search_by_key(&id, |(known, _)| *known).is_ok()
}

/// Ids that clients log in with; those of one Unicode language follow in the servers' order.
const COLLATIONS: &[(u16, &str)] = &[
    (1, "big5_chinese_ci"),
    (2, "latin2_czech_cs"),
    (3, "dec8_swedish_ci"),
    (4, "cp850_general_ci"),
    (5, "latin1_german1_ci"),
    (6, "hp8_english_ci"),
    (7, "koi8r_general_ci"),
    (8, "latin1_swedish_ci"),
    (9, "latin2_general_ci"),
    (10, "swe7_swedish_ci"),
    (11, "ascii_general_ci"),
    (12, "ujis_japanese_ci"),
    (13, "sjis_japanese_ci"),
    (14, "cp1251_bulgarian_ci"),
    (15, "latin1_danish_ci"),
    (16, "hebrew_general_ci"),
    (18, "tis620_thai_ci"),
    (19, "euckr_korean_ci"),
    (20, "latin7_estonian_cs"),
    (21, "latin2_hungarian_ci"),
    (22, "koi8u_general_ci"),
    (23, "cp1251_ukrainian_ci"),
    (24, "gb2312_chinese_ci"),
    (25, "greek_general_ci"),
    (26, "cp1250_general_ci"),
    (27, "latin2_croatian_ci"),
    (28, "gbk_chinese_ci"),
    (29, "cp1257_lithuanian_ci"),
    (30, "latin5_turkish_ci"),
    (31, "latin1_german2_ci"),
    (32, "armscii8_general_ci"),
    (33, "utf8_general_ci"),
    (36, "cp866_general_ci"),
    (37, "keybcs2_general_ci"),
    (38, "macce_general_ci"),
    (39, "macroman_general_ci"),
    (40, "cp852_general_ci"),
    (41, "latin7_general_ci"),
    (42, "latin7_general_cs"),
    (43, "macce_bin"),
    (44, "cp1250_croatian_ci"),
    (45, "utf8mb4_general_ci"),
    (46, "utf8mb4_bin"),
    (47, "latin1_bin"),
    (48, "latin1_general_ci"),
    (49, "latin1_general_cs"),
    (50, "cp1251_bin"),
    (51, "cp1251_general_ci"),
    (52, "cp1251_general_cs"),
    (53, "macroman_bin"),
    (57, "cp1256_general_ci"),
    (58, "cp1257_bin"),
    (59, "cp1257_general_ci"),
    (63, "binary"),
    (64, "armscii8_bin"),
    (65, "ascii_bin"),
    (66, "cp1250_bin"),
    (67, "cp1256_bin"),
    (68, "cp866_bin"),
    (69, "dec8_bin"),
    (70, "greek_bin"),
    (71, "hebrew_bin"),
    (72, "hp8_bin"),
    (73, "keybcs2_bin"),
    (74, "koi8r_bin"),
    (75, "koi8u_bin"),
    (77, "latin2_bin"),
    (78, "latin5_bin"),
    (79, "latin7_bin"),
    (80, "cp850_bin"),
    (81, "cp852_bin"),
    (82, "swe7_bin"),
    (83, "utf8_bin"),
    (84, "big5_bin"),
    (85, "euckr_bin"),
    (86, "gb2312_bin"),
    (87, "gbk_bin"),
    (88, "sjis_bin"),
    (89, "tis620_bin"),
    (91, "ujis_bin"),
    (92, "geostd8_general_ci"),
    (93, "geostd8_bin"),
    (94, "latin1_spanish_ci"),
    (95, "cp932_japanese_ci"),
    (96, "cp932_bin"),
    (97, "eucjpms_japanese_ci"),
    (98, "eucjpms_bin"),
    (99, "cp1250_polish_ci"),
    (192, "utf8_unicode_ci"),
    (193, "utf8_icelandic_ci"),
    (194, "utf8_latvian_ci"),
    (195, "utf8_romanian_ci"),
    (196, "utf8_slovenian_ci"),
    (197, "utf8_polish_ci"),
    (198, "utf8_estonian_ci"),
    (199, "utf8_spanish_ci"),
    (200, "utf8_swedish_ci"),
    (201, "utf8_turkish_ci"),
    (202, "utf8_czech_ci"),
    (203, "utf8_danish_ci"),
    (204, "utf8_lithuanian_ci"),
    (205, "utf8_slovak_ci"),
    (206, "utf8_spanish2_ci"),
    (207, "utf8_roman_ci"),
    (208, "utf8_persian_ci"),
    (209, "utf8_esperanto_ci"),
    (210, "utf8_hungarian_ci"),
    (211, "utf8_sinhala_ci"),
    (214, "utf8_unicode_520_ci"),
    (215, "utf8_vietnamese_ci"),
    (224, "utf8mb4_unicode_ci"),
    (225, "utf8mb4_icelandic_ci"),
    (226, "utf8mb4_latvian_ci"),
    (227, "utf8mb4_romanian_ci"),
    (228, "utf8mb4_slovenian_ci"),
    (229, "utf8mb4_polish_ci"),
    (230, "utf8mb4_estonian_ci"),
    (231, "utf8mb4_spanish_ci"),
    (232, "utf8mb4_swedish_ci"),
    (233, "utf8mb4_turkish_ci"),
    (234, "utf8mb4_czech_ci"),
    (235, "utf8mb4_danish_ci"),
    (236, "utf8mb4_lithuanian_ci"),
    (237, "utf8mb4_slovak_ci"),
    (238, "utf8mb4_spanish2_ci"),
    (239, "utf8mb4_roman_ci"),
    (240, "utf8mb4_persian_ci"),
    (241, "utf8mb4_esperanto_ci"),
    (242, "utf8mb4_hungarian_ci"),
    (243, "utf8mb4_sinhala_ci"),
    (244, "utf8mb4_german2_ci"),
    (246, "utf8mb4_unicode_520_ci"),
    (247, "utf8mb4_vietnamese_ci"),
    (248, "gb18030_chinese_ci"),
    (249, "gb18030_bin"),
    (250, "gb18030_unicode_520_ci"),
    (255, "utf8mb4_0900_ai_ci"),
    (278, "utf8mb4_0900_as_cs"),
    (305, "utf8mb4_0900_as_ci"),
    (309, "utf8mb4_0900_bin"),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn on(flavor: Flavor, version: u32) -> Dialect {
        Dialect { flavor, version }
    }

    #[test]
    fn the_table_is_in_order() {
        assert!(COLLATIONS.is_sorted_by_key(|(id, _)| *id));
    }

    #[test]
    fn a_collation_knows_its_charset() {
        assert_eq!(
            collation_names(45, on(Flavor::MariaDb, 101_100)),
            Some(Some(("utf8mb4", "utf8mb4_general_ci")))
        );
        assert_eq!(
            collation_names(63, on(Flavor::MySql, 80_000)),
            Some(Some(("binary", "binary")))
        );
        assert_eq!(collation_names(7777, on(Flavor::MySql, 80_000)), None);
    }

    #[test]
    fn a_mysql_8_collation_is_the_default_charset_on_mariadb() {
        for version in [101_100, 110_404, 110_502, 110_701] {
            let there = on(Flavor::MariaDb, version);
            assert_eq!(collation_names(255, there), Some(None), "{version}");
            let spelt = [Charset::Login(255), Charset::ServerDefault].map(|it| it.spelt(there));
            assert_eq!(spelt[0], spelt[1]);
        }
        // By MariaDB's sources: a client of MySQL 8 would get latin1, where that is the server's default.
        for version in [110_405, 110_702, 120_001] {
            let there = on(Flavor::MariaDb, version);
            for id in [255, 278, 300] {
                let (charset, _) = collation_names(id, there).flatten().unwrap();
                assert_eq!(charset, "utf8mb4", "{id} on {version}");
            }
            assert_eq!(collation_names(309, there), Some(None), "it has no such one");
        }
    }

    /// By MariaDB's sources: a login with 45 has utf8mb4_uca1400_ai_ci there.
    #[test]
    fn a_login_with_the_first_collation_of_a_charset_has_the_one_that_the_server_maps_it_to() {
        let text = |text: &str| VarValue::text(text.as_bytes());
        let there = on(Flavor::MariaDb, 110_800);
        for (id, charset) in [(45, "utf8mb4"), (33, "utf8mb3"), (8, "latin1")] {
            let named = Charset::names(text(charset), None);
            assert_eq!(Charset::Login(id).spelt(there), Some(named));
        }
        for (id, dialect) in
            [(224, there), (45, on(Flavor::MariaDb, 101_100)), (45, on(Flavor::MySql, 80_400))]
        {
            let Some(Charset::Set { described, .. }) = Charset::Login(id).spelt(dialect) else {
                panic!("{id}");
            };
            assert!(described.is_some(), "{id} says which");
        }
    }

    #[test]
    fn charsets_with_ascii_trail_bytes_are_unsafe() {
        assert!(Charset::Login(28).is_unsafe());
        assert!(Charset::names(VarValue::text(b"'SJIS'"), None).is_unsafe());
        assert!(!Charset::Login(45).is_unsafe());
        assert_eq!(Charset::Login(8).high_blank(), Some(0xa0));
        assert_eq!(Charset::names(VarValue::text(b"'CP852'"), None).high_blank(), Some(0xff));
        assert_eq!(Charset::Login(45).high_blank(), None);
        assert!(!Charset::names(VarValue::Default, None).is_unsafe());
    }
}
