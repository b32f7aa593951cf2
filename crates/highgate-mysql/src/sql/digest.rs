//! The digest text as ProxySQL 2.7 makes it with its default settings.
//!
//! Rules and dashboards were written against that program's texts, so its quirks are reproduced
//! rather than repaired: it reads every text as if `"` quotes a literal, takes the slash that ends a
//! comment for the start of the next one when `*` follows, and drops signs it believes to be unary.
//! But digest texts are shown to whoever watches: where that program would show a literal (in version
//! comments; by a backslash that escapes nothing in the session's `sql_mode` or charset) this one does
//! not. The text is read once: [`strip`] takes comments, literals, numbers and blanks out and hands
//! what stays to [`tidy::Writer`], which writes the digest text.

mod tidy;

use memchr::{memchr, memmem};

use super::{
    LexMode,
    bytes::{at, find2, is_digit, is_space, is_word, span_of},
};
use tidy::Writer;

/// At most so many bytes of the stripped text are worked on.
const MAX_STRIPPED: usize = 65_000;

/// Writes the digest text of `text` to the start of `buffer`, which only grows; its length.
pub(super) fn write(text: &[u8], mode: LexMode, buffer: &mut Vec<u8>) -> usize {
    let mut out = Writer::new(std::mem::take(buffer));
    strip(text, mode, &mut out);
    let length;
    (*buffer, length) = out.finish();
    length
}

fn strip(text: &[u8], mode: LexMode, out: &mut Writer) {
    let mut i = 0;
    let mut in_version_comment = false;
    while let Some(rest @ &[byte, ..]) = text.get(i..) {
        if out.taken >= MAX_STRIPPED || !out.make_room() {
            return;
        }
        if is_word(byte) {
            if is_digit(byte) {
                i = number(text, i, out);
            } else {
                let length = word_length(rest);
                out.word(rest, length);
                i += length;
            }
            continue;
        }
        i += 1;
        match byte {
            b' ' | b'\t' | b'\n' | b'\r' => out.blank(),
            b'\'' | b'"' => {
                let Some(end) = literal_end(text, i, byte, mode) else {
                    return;
                };
                out.value();
                i = end;
            }
            b',' => {
                out.put(byte);
                if out.is_in_cut_list() {
                    i = skip_listed(text, i, mode, out);
                }
            }
            b'*' if in_version_comment && at(text, i) == b'/' => {
                in_version_comment = false;
                out.blank();
                i = after_comment(text, i - 1);
            }
            b'/' if at(text, i) == b'*' && !in_version_comment => {
                out.blank();
                in_version_comment = at(text, i + 1) == b'!';
                i = if in_version_comment {
                    i + 2 + span_of(text, i + 2, is_digit)
                } else {
                    find(text, i + 1, b"*/").map_or(text.len(), |end| after_comment(text, end))
                };
            }
            b'#' | b'-' if starts_line_comment(rest) => {
                out.blank();
                i += memchr(b'\n', text.get(i - 1..).unwrap_or_default()).unwrap_or(text.len());
            }
            _ => out.put(byte),
        }
    }
}

/// Takes plain integers and literals that are followed by a comma, in a list that is cut already.
fn skip_listed(text: &[u8], mut i: usize, mode: LexMode, out: &mut Writer) -> usize {
    while out.taken + 8 < MAX_STRIPPED {
        let start = i + span_of(text, i, is_space);
        let end = match at(text, start) {
            b'0'..=b'9' => start + span_of(text, start, is_digit),
            quote @ (b'\'' | b'"') => {
                literal_end(text, start + 1, quote, mode).unwrap_or(text.len())
            }
            _ => break,
        };
        if at(text, end) != b',' {
            break;
        }
        out.skip_listed(start > i);
        i = end + 1;
    }
    i
}

fn starts_line_comment(rest: &[u8]) -> bool {
    match rest {
        [b'#', ..] | [b'-', b'-'] => true,
        [b'-', b'-', after, ..] => is_space(*after),
        _ => false,
    }
}

#[inline]
fn word_length(rest: &[u8]) -> usize {
    rest.iter().position(|&byte| !is_word(byte)).unwrap_or(rest.len())
}

/// The position after the closing quote of the literal whose text starts at `i`; `None` if there
/// is none, or it can't be told.
#[inline]
fn literal_end(text: &[u8], mut i: usize, quote: u8, mode: LexMode) -> Option<usize> {
    let escape = if mode.no_backslash_escapes { quote } else { b'\\' };
    loop {
        i = find2(text, i, quote, escape);
        if *text.get(i)? != quote {
            // It may be the second byte of a character.
            if mode.unsafe_charset && !at(text, i - 1).is_ascii() {
                return None;
            }
            i += 2;
        } else if at(text, i + 1) != quote {
            return Some(i + 1);
        } else if i + 2 < text.len() {
            i += 2;
        } else {
            // A doubled quote at the very end closes the literal.
            return Some(i + 2);
        }
    }
}

/// Takes the number at `start` as a value, or as it is if it turns out to be a name; its end.
#[inline]
fn number(text: &[u8], start: usize, out: &mut Writer) -> usize {
    // Nearly all are plain integers.
    let rest = text.get(start..).unwrap_or_default();
    let digits = rest.iter().position(|&byte| !is_digit(byte)).unwrap_or(rest.len());
    if !rest.get(digits).is_some_and(|&byte| is_word(byte) || byte == b'.') {
        out.value();
        return start + digits;
    }
    odd_number(text, start, out)
}

fn odd_number(text: &[u8], start: usize, out: &mut Writer) -> usize {
    let mut end = start;
    while let Some(&byte) = text.get(end) {
        let in_exponent =
            matches!(byte, b'+' | b'-') && at(text, end - 1).eq_ignore_ascii_case(&b'e');
        if !(is_word(byte) || byte == b'.' || in_exponent) {
            break;
        }
        end += 1;
    }
    let mut digits = text.get(start..end).unwrap_or_default();
    let mut dot = false;
    if end == text.len()
        && let Some(rest) = digits.strip_suffix(b".")
    {
        (digits, dot) = (rest, true);
    }
    if is_number(digits) {
        out.value();
    } else {
        for &byte in digits {
            if !out.make_room() {
                break;
            }
            out.put(byte);
        }
    }
    if dot {
        out.make_room();
        out.put(b'.');
    }
    end
}

fn is_number(digits: &[u8]) -> bool {
    if let [b'0', b'x' | b'X', hex @ ..] = digits {
        return hex.iter().all(u8::is_ascii_hexdigit);
    }
    let mantissa = digits.iter().take_while(|&&byte| is_digit(byte) || byte == b'.').count();
    let exponent = match digits.get(mantissa..).unwrap_or_default() {
        [] => return true,
        [b'e' | b'E', b'+' | b'-', rest @ ..] | [b'e' | b'E', rest @ ..] => rest,
        _ => return false,
    };
    exponent.iter().all(|&byte| is_digit(byte))
}

/// Where it goes on after the comment whose last two bytes are at `end`.
fn after_comment(text: &[u8], mut end: usize) -> usize {
    // The closing slash opens another comment when a star follows it.
    while at(text, end + 2) == b'*' {
        if at(text, end + 3) == b'/' {
            return end + 4;
        }
        let Some(next) = find(text, end + 2, b"*/") else {
            return text.len();
        };
        end = next;
    }
    end + 2
}

fn find(text: &[u8], from: usize, needle: &[u8]) -> Option<usize> {
    memmem::find(text.get(from..)?, needle).map(|position| from + position)
}
