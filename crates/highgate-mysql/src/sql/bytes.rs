//! What a byte is to a lexer.

/// Letters, digits, `_`, `$`.
const WORD: u8 = 1;
/// Blank, tab, line feed, carriage return, and the two rarer ones.
const SPACE: u8 = 2;
const DIGIT: u8 = 4;
/// Bytes that belong to a name: [`WORD`] and everything from 0x80 on.
const NAME: u8 = 8;
/// Bytes that stand for themselves wherever they are outside of quotes and comments: neither begin such,
/// nor a number, nor a variable.
const PLAIN: u8 = 16;

const CLASS: [u8; 256] = classes();

#[expect(clippy::indexing_slicing, reason = "evaluated by the compiler")]
#[expect(clippy::cast_possible_truncation, reason = "i is below 256")]
const fn classes() -> [u8; 256] {
    let mut table = [0; 256];
    let mut i = 0;
    while i < 256 {
        table[i] = match i as u8 {
            b'0'..=b'9' => WORD | DIGIT | NAME,
            b'a'..=b'z' | b'A'..=b'Z' | b'_' | b'$' => WORD | NAME | PLAIN,
            b' ' | b'\t' | b'\n' | b'\r' => SPACE | PLAIN,
            0x80.. => NAME | PLAIN,
            0..b' ' | 0x7f | b'\'' | b'"' | b'`' | b'\\' | b'#' | b'@' | b'/' | b'-' => 0,
            _ => PLAIN,
        };
        i += 1;
    }
    table
}

#[inline]
fn class(byte: u8) -> u8 {
    CLASS.get(usize::from(byte)).copied().unwrap_or(0)
}

/// An ASCII letter, digit, `_` or `$`.
#[inline]
pub(super) fn is_word(byte: u8) -> bool {
    class(byte) & WORD != 0
}

/// A byte of an unquoted name.
#[inline]
pub(super) fn is_name(byte: u8) -> bool {
    class(byte) & NAME != 0
}

/// Blank, tab, line feed or carriage return.
#[inline]
pub(super) fn is_space(byte: u8) -> bool {
    class(byte) & SPACE != 0
}

/// A byte that stands for itself outside of quotes and comments: no digit, and nothing that may begin
/// a quote, a comment or a variable.
#[inline]
pub(super) fn is_plain(byte: u8) -> bool {
    class(byte) & PLAIN != 0
}

/// An ASCII digit.
#[inline]
pub(super) fn is_digit(byte: u8) -> bool {
    byte.is_ascii_digit()
}

/// The byte at `i`, 0 past the end.
#[inline]
pub(super) fn at(text: &[u8], i: usize) -> u8 {
    text.get(i).copied().unwrap_or(0)
}

/// How many bytes from `from` on are as told.
#[inline]
pub(super) fn span_of(text: &[u8], from: usize, is: impl Fn(u8) -> bool) -> usize {
    let rest = text.get(from..).unwrap_or_default();
    rest.iter().position(|&byte| !is(byte)).unwrap_or(rest.len())
}

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHS: u64 = 0x8080_8080_8080_8080;

/// The high bit of each byte that is 0, and perhaps of bytes above such a one.
#[inline]
const fn zeros(word: u64) -> u64 {
    word.wrapping_sub(ONES) & !word & HIGHS
}

/// The position of the first `one` or `other` from `from` on; the end of the text if there is none.
///
/// Literals are short: eight bytes at a time without a call beat a search made for long texts.
#[inline]
pub(super) fn find2(text: &[u8], from: usize, one: u8, other: u8) -> usize {
    let rest = text.get(from..).unwrap_or_default();
    let (ones, others) = (u64::from(one) * ONES, u64::from(other) * ONES);
    let (chunks, tail) = rest.as_chunks::<8>();
    let mut position = from;
    for chunk in chunks {
        let word = u64::from_le_bytes(*chunk);
        let found = zeros(word ^ ones) | zeros(word ^ others);
        if found != 0 {
            return position + (found.trailing_zeros() / 8) as usize;
        }
        position += 8;
    }
    let found = tail.iter().position(|&byte| byte == one || byte == other);
    position + found.unwrap_or(tail.len())
}
