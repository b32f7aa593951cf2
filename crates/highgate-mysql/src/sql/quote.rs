//! Names and values, quoted for statements of our own.

use super::LexMode;

/// Appends `name` to `out` as a quoted identifier (backticks are doubled).
pub fn quote_identifier(out: &mut Vec<u8>, name: &[u8]) {
    out.push(b'`');
    for &byte in name {
        if byte == b'`' {
            out.push(b'`');
        }
        out.push(byte);
    }
    out.push(b'`');
}

/// Appends `value` to `out` as a string literal that reads the same under `mode`.
///
/// Quotes are doubled. Backslashes are doubled unless NO_BACKSLASH_ESCAPES is set. Under an unsafe
/// charset (see [`LexMode::unsafe_charset`]) the value is written as `x'…'`, which no charset can break.
pub fn quote_string(out: &mut Vec<u8>, value: &[u8], mode: LexMode) {
    if mode.unsafe_charset {
        return quote_hex(out, value);
    }
    out.push(b'\'');
    for &byte in value {
        if byte == b'\'' || (byte == b'\\' && !mode.no_backslash_escapes) {
            out.push(byte);
        }
        out.push(byte);
    }
    out.push(b'\'');
}

fn quote_hex(out: &mut Vec<u8>, value: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.extend_from_slice(b"x'");
    for &byte in value {
        for nibble in [byte >> 4, byte & 15] {
            out.extend(DIGITS.get(usize::from(nibble)));
        }
    }
    out.push(b'\'');
}
