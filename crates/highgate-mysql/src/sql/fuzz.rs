//! Entrances for fuzzers.

use super::{Effects, Flavor, LexMode, Scratch, analyze, reads_from_table, set_statement};

/// Reads `data` as a mode byte and a text, by the classifier, by the grammar of SET and for its tables.
pub(crate) fn fuzz_analyze(data: &[u8]) {
    let Some((&flags, text)) = data.split_first() else {
        return;
    };
    let mode = LexMode {
        ansi_quotes: flags & 1 != 0,
        no_backslash_escapes: flags & 2 != 0,
        pipes_as_concat: false,
        ignore_space: flags & 4 != 0,
        unsafe_charset: flags & 8 != 0,
        high_blank: (flags & 9 == 1).then_some(0xa0),
        flavor: match flags >> 4 & 3 {
            0 => Flavor::MariaDb,
            1 => Flavor::MySql,
            2 => Flavor::StarRocks,
            _ => Flavor::Unknown,
        },
        server_version: if flags & 0x40 == 0 { 101_119 } else { 0 },
        newest_version: if flags & 0x80 == 0 { 0 } else { 110_802 },
    };
    let mut scratch = Scratch::new();
    let analysis = analyze(text, mode, &mut scratch);
    assert!(
        !analysis.effects.contains(Effects::DOUBTFUL | Effects::READ_ONLY_PROVED),
        "doubtful and proved"
    );
    let _ = set_statement::parse(text, mode);
    let _ = reads_from_table(text, mode);
}
