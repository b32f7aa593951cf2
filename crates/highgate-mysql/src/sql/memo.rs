//! Readings of texts that differ in their literals alone: an application sends few forms of texts,
//! with ever other values in them.
//!
//! A text's form is the text with plain integers and plain literals (`'…'` without a backslash or a
//! doubled quote) left out. Nothing that [`analyze`] tells of a single SELECT, INSERT, UPDATE, DELETE or
//! REPLACE depends on what stands in those; whatever else could be read in more than one way (comments,
//! other quotes, variables, numbers that are not plain) has no form, and is read anew each time. Forms are
//! compared as a whole: a hash alone decides nothing.

use super::bytes::{at, find2, is_digit, is_name, is_plain};
use super::{Analysis, Effects, LexMode, LockingClause, Scratch, StatementKind, analyze};

/// Forms kept; each has one place, where the latest stays.
const PLACES: usize = 512;
/// Texts longer than this are read anew: forms of long lists rarely repeat.
const LONGEST: usize = 512;
/// In a form, in the place of an integer and of a literal. No text with such a byte has a form.
const INTEGER: u8 = 1;
const LITERAL: u8 = 2;

/// The latest forms, with what was read in them; one per worker.
#[derive(Debug)]
pub struct Memo {
    places: Vec<Option<Entry>>,
    form: Vec<u8>,
}

#[derive(Debug)]
struct Entry {
    form: Box<[u8]>,
    mode: LexMode,
    kind: StatementKind,
    effects: Effects,
    locking: Option<LockingClause>,
    digest: u64,
    digest_text: Box<[u8]>,
}

impl Default for Memo {
    fn default() -> Self {
        Self { places: std::iter::repeat_with(|| None).take(PLACES).collect(), form: Vec::new() }
    }
}

impl Memo {
    /// As [`analyze`], and shorter where the text's form was seen lately.
    pub fn analyze<'a>(
        &'a mut self,
        text: &[u8],
        mode: LexMode,
        scratch: &'a mut Scratch,
    ) -> Analysis<'a> {
        if mode.unsafe_charset || text.len() > LONGEST || !form(text, &mut self.form) {
            return analyze(text, mode, scratch);
        }
        let at = hash(&self.form) % PLACES;
        let place = self.places.get(at).and_then(Option::as_ref);
        if !place.is_some_and(|entry| *entry.form == *self.form && entry.mode == mode) {
            let analysis = analyze(text, mode, scratch);
            if let (Some(place), true) = (self.places.get_mut(at), is_kept(&analysis)) {
                *place = Some(Entry::new(&self.form, mode, &analysis));
            }
            return analysis;
        }
        match self.places.get(at) {
            Some(Some(entry)) => entry.analysis(),
            _ => analyze(text, mode, scratch),
        }
    }
}

impl Entry {
    fn new(form: &[u8], mode: LexMode, analysis: &Analysis<'_>) -> Self {
        Self {
            form: form.into(),
            mode,
            kind: analysis.kind,
            effects: analysis.effects,
            locking: analysis.locking,
            digest: analysis.digest,
            digest_text: analysis.digest_text.into(),
        }
    }

    fn analysis(&self) -> Analysis<'_> {
        Analysis {
            kind: self.kind,
            effects: self.effects,
            digest: self.digest,
            digest_text: &self.digest_text,
            statements: 1,
            hint: None,
            hint_ignored: false,
            locking: self.locking,
            schema_used: None,
            local_file: None,
            name: None,
        }
    }
}

/// Whether all of a reading follows from the text's form.
fn is_kept(analysis: &Analysis<'_>) -> bool {
    let Analysis { kind, statements, hint, hint_ignored, schema_used, local_file, name, .. } =
        analysis;
    matches!(
        kind,
        StatementKind::Delete
            | StatementKind::Insert
            | StatementKind::Replace
            | StatementKind::Select
            | StatementKind::Update
    ) && *statements == 1
        && !analysis.effects.contains(Effects::MULTI)
        && hint.is_none()
        && !hint_ignored
        && schema_used.is_none()
        && local_file.is_none()
        && name.is_none()
}

/// Writes the text's form; false if it has none.
fn form(text: &[u8], out: &mut Vec<u8>) -> bool {
    out.clear();
    // What lies before is written, what lies from here to `i` is the same in the form.
    let mut same = 0;
    let mut i = 0;
    while let Some(&byte) = text.get(i) {
        if is_plain(byte) {
            i += 1;
            continue;
        }
        let (end, mark) = match byte {
            // Of a name before it: numbers end where no name begins.
            b'0'..=b'9' if i > same && is_name(at(text, i - 1)) => {
                i += 1;
                continue;
            }
            b'0'..=b'9' => {
                let end = end_of(text, i, is_digit);
                if is_joined(at(text, end)) || (i > 0 && at(text, i - 1) == b'.') {
                    return false;
                }
                (end, INTEGER)
            }
            b'\'' => {
                let end = find2(text, i + 1, b'\'', b'\\');
                if at(text, end) != b'\'' || at(text, end + 1) == b'\'' {
                    return false;
                }
                (end + 1, LITERAL)
            }
            b'`' => {
                let end = find2(text, i + 1, b'`', b'`');
                if at(text, end) != b'`' || at(text, end + 1) == b'`' {
                    return false;
                }
                i = end + 1;
                continue;
            }
            b'/' if at(text, i + 1) != b'*' => {
                i += 1;
                continue;
            }
            b'-' if at(text, i + 1) != b'-' => {
                i += 1;
                continue;
            }
            _ => return false,
        };
        out.extend_from_slice(text.get(same..i).unwrap_or_default());
        out.push(mark);
        (same, i) = (end, end);
    }
    out.extend_from_slice(text.get(same..).unwrap_or_default());
    true
}

/// A byte that makes something else of an integer before it.
fn is_joined(byte: u8) -> bool {
    is_name(byte) || byte == b'.'
}

fn end_of(text: &[u8], mut i: usize, is: fn(u8) -> bool) -> usize {
    while text.get(i).is_some_and(|&byte| is(byte)) {
        i += 1;
    }
    i
}

/// Where a form's place is. Forms that share one only drive each other out.
fn hash(form: &[u8]) -> usize {
    const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
    let (words, tail) = form.as_chunks::<8>();
    let mut last = [0; 8];
    last.iter_mut().zip(tail).for_each(|(to, from)| *to = *from);
    let mut sum = form.len() as u64;
    for word in words.iter().chain([&last]) {
        sum = (sum ^ u64::from_le_bytes(*word)).wrapping_mul(FACTOR);
        sum ^= sum >> 29;
    }
    (sum >> 32) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::Flavor;

    fn formed(text: &str) -> Option<String> {
        let mut out = Vec::new();
        form(text.as_bytes(), &mut out).then(|| String::from_utf8(out).unwrap())
    }

    #[test]
    fn texts_that_differ_in_plain_values_alone_have_one_form() {
        let one = formed("SELECT a FROM t1 WHERE id = 7 AND `b 1` IN ('x', '') LIMIT 10");
        let other = formed("SELECT a FROM t1 WHERE id = 1234 AND `b 1` IN ('', 'it is') LIMIT 0");
        assert!(one.is_some());
        assert_eq!(one, other);
        assert_ne!(one, formed("SELECT a FROM t2 WHERE id = 7 AND `b 1` IN ('x', '') LIMIT 10"));
    }

    #[test]
    fn what_can_be_read_in_several_ways_has_no_form() {
        for text in [
            "SELECT 'it''s'",
            "SELECT 'a\\'b'",
            "SELECT \"a\"",
            "SELECT 1.5",
            "SELECT .5",
            "SELECT 1e5",
            "SELECT 0x1e-5",
            "SELECT 5a",
            "SELECT @a",
            "SELECT 1 -- x",
            "SELECT /* x */ 1",
            "SELECT 1 # x",
            "SELECT 'open",
            "SELECT `open",
            "SELECT \u{1}",
        ] {
            assert_eq!(formed(text), None, "{text}");
        }
    }

    /// What texts are made of, besides values.
    const PIECES: [&str; 66] = [
        "SELECT ",
        "INSERT INTO t ",
        "UPDATE t SET ",
        "DELETE FROM ",
        "REPLACE INTO t ",
        "SET ",
        "KILL ",
        "USE ",
        "VALUES ",
        "a",
        "b1",
        "t.c",
        "`d`",
        "`x 1`",
        " FROM t",
        " WHERE ",
        " = ",
        "=",
        "(",
        ")",
        ",",
        ", ",
        "-",
        "+",
        "*",
        " LIMIT ",
        ";",
        ".",
        " AND ",
        " IN ",
        " FOR UPDATE",
        "LAST_INSERT_ID(",
        "SLEEP(",
        "GET_LOCK(",
        "x",
        "N",
        "_utf8",
        "e",
        "0x",
        "autocommit",
        " INTO OUTFILE ",
        "é",
        "?",
        ":=",
        "!",
        "\n",
        " AS ",
        "NULL",
        "INTERVAL ",
        "CALL p(",
        " SQL_CALC_FOUND_ROWS ",
        "EXPLAIN ",
        "WITH q AS (",
        "UNION ",
        " LOCK IN SHARE MODE",
        "PROCEDURE ",
        "$",
        "|",
        "||",
        "/",
        "--",
        "RETURNING ",
        " ",
        " ",
        "mysql.user",
        "@@x",
    ];
    const VALUES: [&str; 12] =
        ["0", "1", "7", "42", "123456", "''", "'a'", "'x y'", "'--'", "'0'", "'/*'", "'@'"];

    /// A small generator with a fixed seed: the same texts in every run.
    struct Dice(u64);

    impl Dice {
        fn of<'t>(&mut self, list: &[&'t str]) -> &'t str {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            let at = self.0 % list.len() as u64;
            list[usize::try_from(at).unwrap_or(0)]
        }
    }

    /// Two texts with the same pieces, and values of the same kinds.
    fn pair(dice: &mut Dice) -> [String; 2] {
        let start = dice.of(&["", "SELECT ", "INSERT INTO t VALUES (", "UPDATE t SET a = "]);
        let mut texts = [start.to_owned(), start.to_owned()];
        let length = dice.of(&["2", "4", "6", "9", "13"]).parse().unwrap();
        for _ in 0..length {
            let piece = dice.of(&["piece", "piece", "integer", "literal"]);
            let (one, other) = match piece {
                "integer" => (dice.of(&VALUES[..5]), dice.of(&VALUES[..5])),
                "literal" => (dice.of(&VALUES[5..]), dice.of(&VALUES[5..])),
                _ => {
                    let piece = dice.of(&PIECES);
                    (piece, piece)
                }
            };
            texts[0] += one;
            texts[1] += other;
        }
        texts
    }

    #[test]
    fn a_remembered_reading_is_the_one_that_a_new_one_would_be() {
        let mut dice = Dice(0x5eed_1234_5678_9abc);
        let (mut scratch, mut fresh) = (Scratch::new(), Scratch::new());
        let mut remembered = 0;
        let mut memo = Memo::default();
        for round in 0..12_000 {
            let ansi_quotes = round % 5 == 0;
            let mode = LexMode { flavor: Flavor::MariaDb, ansi_quotes, ..LexMode::default() };
            let [first, second] = pair(&mut dice);
            memo.places.fill_with(|| None);
            memo.analyze(first.as_bytes(), mode, &mut scratch);
            remembered += usize::from(memo.places.iter().any(Option::is_some));
            let told = memo.analyze(second.as_bytes(), mode, &mut scratch);
            let read = analyze(second.as_bytes(), mode, &mut fresh);
            assert_eq!(told, read, "{second:?} after {first:?}");
        }
        assert!(remembered > 500, "{remembered} texts were remembered");
    }

    #[test]
    fn another_mode_is_another_reading() {
        let (mut memo, mut scratch) = (Memo::default(), Scratch::new());
        let plain = LexMode { flavor: Flavor::MariaDb, ..LexMode::default() };
        let piped = LexMode { pipes_as_concat: true, flavor: Flavor::Unknown, ..plain };
        let text = b"SELECT now () FROM t WHERE id = 1";
        for mode in [plain, piped, plain, LexMode { ignore_space: true, ..plain }] {
            let mut fresh = Scratch::new();
            let told = memo.analyze(text, mode, &mut scratch);
            assert_eq!(told, analyze(text, mode, &mut fresh));
        }
    }
}
