use super::{MARIADB, MYSQL};
use crate::sql::{
    Effects, Flavor, LexMode, Scratch, analyze, quote_identifier, quote_string, set_statement,
};

/// A small generator with a fixed seed: the same texts in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % sides
    }
}

const SCRAPS: [&str; 56] = [
    "SELECT",
    "select",
    "INSERT",
    "UPDATE t SET",
    "DELETE FROM t",
    "FROM",
    "WITH",
    "x",
    "AS",
    "(",
    ")",
    "(",
    ")",
    ",",
    ";",
    "'",
    "\"",
    "`",
    "\\",
    "''",
    "/*",
    "*/",
    "/*!",
    "/*!40101",
    "/*!99999",
    "/*M!",
    "/*+",
    "--",
    "-- ",
    "#",
    "\n",
    " ",
    " ",
    " ",
    "@",
    "@@",
    "@a",
    ":=",
    "=",
    "?",
    "1",
    "0x1F",
    "1e",
    "+",
    "-",
    "*",
    "INTO",
    "FOR",
    "UPDATE",
    "SET",
    "STATEMENT",
    "f(",
    "é",
    "\0",
    "NAMES",
    "global",
];

fn scrap_text(dice: &mut Dice) -> String {
    (0..dice.roll(14))
        .map(|_| SCRAPS[dice.roll(SCRAPS.len())])
        .collect::<Vec<_>>()
        .join([" ", ""][dice.roll(2)])
}

fn modes() -> Vec<LexMode> {
    vec![
        MARIADB,
        MYSQL,
        LexMode { ansi_quotes: true, ..MARIADB },
        LexMode { no_backslash_escapes: true, unsafe_charset: true, ..MYSQL },
        LexMode { flavor: Flavor::StarRocks, server_version: 0, ..MARIADB },
    ]
}

#[test]
fn no_text_panics_and_doubt_never_reaches_a_replica() {
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let mut scratch = Scratch::new();
    for _ in 0..40_000 {
        let text = scrap_text(&mut dice);
        for mode in modes() {
            let analysis = analyze(text.as_bytes(), mode, &mut scratch);
            let both = Effects::DOUBTFUL | Effects::READ_ONLY_PROVED;
            assert!(!analysis.effects.contains(both), "{text:?}");
            assert!(
                !analysis.effects.contains(Effects::WRITES | Effects::READ_ONLY_PROVED),
                "{text:?}"
            );
            assert!(analysis.digest_text.len() <= 2048);
            let _ = set_statement::parse(text.as_bytes(), mode);
        }
    }
}

#[test]
fn bytes_of_any_value_are_read() {
    let mut dice = Dice(7);
    let mut scratch = Scratch::new();
    for _ in 0..20_000 {
        let text: Vec<u8> =
            (0..dice.roll(40)).map(|_| u8::try_from(dice.roll(256)).unwrap()).collect();
        for mode in modes() {
            analyze(&text, mode, &mut scratch);
            let _ = set_statement::parse(&text, mode);
        }
    }
}

#[test]
fn a_write_beside_a_read_is_never_proved_to_read() {
    let writes = [
        "DELETE FROM t",
        "UPDATE t SET a=1",
        "INSERT INTO t VALUES (1)",
        "DROP TABLE t",
        "CALL p()",
    ];
    let reads = [
        "SELECT 1",
        "SELECT 'x;' FROM t",
        "SHOW TABLES",
        "WITH a AS (SELECT 1) SELECT * FROM a",
        "SELECT /* ; */ 1",
    ];
    let glue = ["; ", ";", "\n;\n", ";/* x */", "; -- x\n", " /*!40101 ; */ ", ";;"];
    let mut scratch = Scratch::new();
    for write in writes {
        for read in reads {
            for join in glue {
                for text in [
                    format!("{read}{join}{write}"),
                    format!("{write}{join}{read}"),
                    format!("{read} ({write})"),
                ] {
                    for mode in [MARIADB, MYSQL] {
                        let effects = analyze(text.as_bytes(), mode, &mut scratch).effects;
                        assert!(!effects.contains(Effects::READ_ONLY_PROVED), "{text:?}");
                    }
                }
            }
        }
    }
}

#[test]
fn a_comment_at_the_end_changes_nothing() {
    let mut dice = Dice(99);
    let mut scratch = Scratch::new();
    for _ in 0..20_000 {
        let text = scrap_text(&mut dice);
        let before = analyze(text.as_bytes(), MARIADB, &mut scratch);
        let (kind, effects) = (before.kind, before.effects);
        if effects.contains(Effects::DOUBTFUL) {
            continue;
        }
        let longer = format!("{text} /* x */");
        let after = analyze(longer.as_bytes(), MARIADB, &mut scratch);
        // An open line comment swallows it whole; either way nothing else may change.
        assert_eq!((after.kind, after.effects), (kind, effects), "{longer:?}");
    }
}

#[test]
fn a_warm_scratch_gives_the_same_answer() {
    let mut warm = Scratch::new();
    analyze("SELECT 'x', y FROM z".repeat(50).as_bytes(), MARIADB, &mut warm);
    let text = b"USE `a`";
    assert_eq!(analyze(text, MARIADB, &mut warm), analyze(text, MARIADB, &mut Scratch::new()));
}

#[test]
fn quoted_values_read_back_as_they_were() {
    for mode in modes() {
        for value in [&b"it's"[..], b"back\\slash", b"\"`'", b"", b"\xbf\\'", b"a\0b"] {
            let mut text = b"SET @v = ".to_vec();
            quote_string(&mut text, value, mode);
            assert!(set_statement::parse(&text, mode).is_ok(), "{text:?}");
        }
    }
    let mut name = Vec::new();
    quote_identifier(&mut name, b"a`b");
    assert_eq!(name, b"`a``b`");
}
