//! The digest text as ProxySQL 2.7 makes it with its default settings.
//!
//! Rules and dashboards were written against that program's texts, so its quirks are reproduced
//! rather than repaired: it reads every text as if backslashes escape and `"` quotes a literal,
//! takes the slash that ends a comment for the start of the next one when `*` follows, and drops
//! signs it believes to be unary. The work is done in two tight passes over ever shorter bytes:
//! [`strip`] (comments, literals, numbers, blanks) and [`tidy`] (blanks and signs around
//! operators, long lists).

use memchr::{memchr, memmem};

use super::bytes::{at, is_digit, is_space, is_word};

/// At most so many bytes of a digest text are kept and hashed.
pub(super) const MAX_DIGEST: usize = 2048;
/// At most so many bytes of the stripped text are worked on.
const MAX_STRIPPED: usize = 65_000;
const LIST_LIMIT: usize = 3;
const GROUP_LIMIT: usize = 10;

/// Writes the digest text of `text` to `out`.
pub(super) fn write(text: &[u8], out: &mut Vec<u8>) {
    out.clear();
    strip(text, out);
    tidy(out);
    collapse_groups(out);
    while out.last().is_some_and(|&byte| byte == b' ' || byte == b';') {
        out.pop();
    }
    out.truncate(MAX_DIGEST);
}

fn blank(out: &mut Vec<u8>) {
    if out.last().is_some_and(|&byte| byte != b' ') {
        out.push(b' ');
    }
}

fn strip(text: &[u8], out: &mut Vec<u8>) {
    let mut i = 0;
    let mut previous = b' ';
    while let Some(&byte) = text.get(i) {
        if out.len() >= MAX_STRIPPED {
            return;
        }
        if is_word(byte) {
            if is_digit(byte) && !is_word(previous) {
                i = number(text, i, out);
            } else {
                let end = word_end(text, i);
                out.extend_from_slice(text.get(i..end).unwrap_or_default());
                i = end;
            }
            previous = at(text, i - 1);
            continue;
        }
        match byte {
            b' ' | b'\t' | b'\n' | b'\r' => blank(out),
            b'\'' | b'"' => {
                let Some(end) = literal_end(text, i, byte) else {
                    return;
                };
                out.push(b'?');
                (i, previous) = (end, byte);
                continue;
            }
            b'/' if at(text, i + 1) == b'*' => {
                (i, previous) = (comment(text, i, out), b' ');
                continue;
            }
            _ if starts_line_comment(text, i) => {
                blank(out);
                i = i + 1 + memchr(b'\n', text.get(i..).unwrap_or_default()).unwrap_or(text.len());
                previous = b' ';
                continue;
            }
            _ => out.push(byte),
        }
        previous = if is_space(byte) { b' ' } else { byte };
        i += 1;
    }
}

fn starts_line_comment(text: &[u8], i: usize) -> bool {
    match at(text, i) {
        b'#' => true,
        b'-' => at(text, i + 1) == b'-' && text.get(i + 2).is_none_or(|&byte| is_space(byte)),
        _ => false,
    }
}

fn word_end(text: &[u8], from: usize) -> usize {
    let rest = text.get(from..).unwrap_or_default();
    from + rest
        .iter()
        .position(|&byte| !is_word(byte))
        .unwrap_or(rest.len())
}

/// The position after the closing quote; `None` if there is none.
fn literal_end(text: &[u8], start: usize, quote: u8) -> Option<usize> {
    let mut i = start + 1;
    loop {
        let byte = *text.get(i)?;
        if byte == b'\\' {
            i += 2;
        } else if byte != quote {
            i += 1;
        } else if at(text, i + 1) == quote && i + 2 < text.len() {
            i += 2;
        } else if at(text, i + 1) == quote {
            // A doubled quote at the very end closes the literal.
            return Some(i + 2);
        } else {
            return Some(i + 1);
        }
    }
}

/// Writes the number at `start` as `?`, or as it is if it turns out to be a name; returns its end.
fn number(text: &[u8], start: usize, out: &mut Vec<u8>) -> usize {
    // Nearly all are plain integers.
    let rest = text.get(start..).unwrap_or_default();
    let digits = rest
        .iter()
        .position(|&byte| !is_digit(byte))
        .unwrap_or(rest.len());
    if !rest
        .get(digits)
        .is_some_and(|&byte| is_word(byte) || byte == b'.')
    {
        out.push(b'?');
        return start + digits;
    }
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
        out.push(b'?');
    } else {
        out.extend_from_slice(digits);
    }
    if dot {
        out.push(b'.');
    }
    end
}

fn is_number(digits: &[u8]) -> bool {
    if let [b'0', b'x' | b'X', hex @ ..] = digits {
        return hex.iter().all(u8::is_ascii_hexdigit);
    }
    let mantissa = digits
        .iter()
        .take_while(|&&byte| is_digit(byte) || byte == b'.')
        .count();
    let exponent = match digits.get(mantissa..).unwrap_or_default() {
        [] => return true,
        [b'e' | b'E', b'+' | b'-', rest @ ..] | [b'e' | b'E', rest @ ..] => rest,
        _ => return false,
    };
    exponent.iter().all(|&byte| is_digit(byte))
}

/// Leaves the comment at `start` out, but for the words of a version comment; returns its end.
fn comment(text: &[u8], start: usize, out: &mut Vec<u8>) -> usize {
    blank(out);
    let body_start = start + 2;
    let Some(mut end) = find(text, body_start, b"*/") else {
        if at(text, body_start) == b'!' {
            version_words(text.get(body_start + 1..).unwrap_or_default(), out);
        }
        return text.len();
    };
    if at(text, body_start) == b'!' {
        version_words(text.get(body_start + 1..end).unwrap_or_default(), out);
        blank(out);
    }
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

fn version_words(body: &[u8], out: &mut Vec<u8>) {
    for &byte in body.iter().skip_while(|&&byte| is_digit(byte)) {
        if is_space(byte) {
            blank(out)
        } else {
            out.push(byte)
        }
    }
}

fn is_operator(byte: u8) -> bool {
    matches!(byte, b'+' | b'-' | b'*' | b'/' | b'%')
}

/// Where a run of listed values stands.
#[derive(Default)]
struct List {
    open: bool,
    values: usize,
}

/// Removes blanks and signs around operators, and shortens lists of values, in place.
///
/// The original looks back in the buffer it is overwriting: once exactly one byte was removed, the
/// byte before the last is the last one again. Digests depend on it.
fn tidy(buffer: &mut Vec<u8>) {
    let mut to = 0;
    let mut list = List::default();
    let (mut left, mut behind, mut kept, mut before_run, mut removed) = (0, 0, 0, 0, 0_usize);
    let mut i = 0;
    while i < buffer.len() {
        let byte = at(buffer, i);
        if is_plain(byte) {
            let end = plain_end(buffer, i);
            if to != i {
                buffer.copy_within(i..end, to);
            }
            to += end - i;
            (left, kept) = (at(buffer, to - 1), at(buffer, to - 1));
            behind = if end - i > 1 {
                at(buffer, to - 2)
            } else {
                before_run
            };
            (before_run, i) = (left, end);
            continue;
        }
        let drop = match byte {
            b' ' => is_needless_blank(left, at(buffer, i + 1)),
            b'+' | b'-' => is_unary(
                left,
                if removed == 1 { kept } else { behind },
                at(buffer, i + 1),
            ),
            _ => false,
        };
        (behind, left, before_run) = (left, byte, byte);
        i += 1;
        if drop {
            removed += 1;
            continue;
        }
        kept = byte;
        if let Some(slot) = buffer.get_mut(to) {
            *slot = byte;
        }
        to += 1;
        if matches!(byte, b'(' | b')' | b',' | b'?') {
            shorten(&mut list, buffer, &mut to, i - 1);
        }
    }
    buffer.truncate(to);
}

/// Nothing happens to this byte, whatever stands around it.
fn is_plain(byte: u8) -> bool {
    !matches!(byte, b' ' | b'+' | b'-' | b'(' | b')' | b',' | b'?')
}

fn plain_end(buffer: &[u8], from: usize) -> usize {
    let rest = buffer.get(from..).unwrap_or_default();
    from + rest
        .iter()
        .position(|&byte| !is_plain(byte))
        .unwrap_or(rest.len())
}

fn is_needless_blank(left: u8, right: u8) -> bool {
    matches!(left, b'(' | b',')
        || matches!(right, b')' | b',')
        || (left == b'?' && is_operator(right))
        || (is_operator(left) && right == b'?')
}

fn is_unary(left: u8, behind: u8, right: u8) -> bool {
    let after_operator =
        |byte: u8| matches!(byte, b'(' | b',' | b'=' | b'<' | b'>') || is_operator(byte);
    let after_name = is_word(behind) || behind == b'`';
    if matches!(right, b'?' | b' ') {
        after_operator(left)
            || (left == b' ' && (after_name || behind == b' ' || after_operator(behind)))
    } else {
        left == b' ' && after_name
    }
}

/// Follows runs of `?,?,…` in the innermost open parenthesis and cuts those longer than the limit.
fn shorten(list: &mut List, buffer: &mut [u8], to: &mut usize, read: usize) {
    let last = at(buffer, *to - 1);
    match last {
        b'(' => {
            *list = List {
                open: true,
                values: 0,
            }
        }
        b')' => *list = List::default(),
        b',' => {
            let before = (*to)
                .checked_sub(2)
                .map_or(0, |position| at(buffer, position));
            let goes_on = before == b'?' || (before == b'.' && list.values > LIST_LIMIT);
            if !goes_on {
                list.values = 0;
            }
        }
        _ => {
            // A value counts if it stands alone: after `(`, a comma, or at the start of a run.
            let before = (*to)
                .checked_sub(2)
                .map_or(0, |position| at(buffer, position));
            let after = match at(buffer, read + 1) {
                b' ' => at(buffer, read + 2),
                byte => byte,
            };
            let alone = matches!(before, b'(' | b',') && matches!(after, b',' | b')');
            list.values = if alone { list.values + 1 } else { 0 };
            if !list.open || list.values == 0 {
                return;
            }
            if list.values == LIST_LIMIT + 2 {
                // `…,?,?` becomes `…,...`; what follows of the run is dropped with it.
                *to -= 3;
                for &byte in b"..." {
                    if let Some(slot) = buffer.get_mut(*to) {
                        *slot = byte;
                    }
                    *to += 1;
                }
            } else if list.values > LIST_LIMIT + 2 {
                *to -= 2;
            }
        }
    }
}

/// Cuts sequences of `(?,?),(?,?),…` after the tenth group, in place.
fn collapse_groups(buffer: &mut Vec<u8>) {
    let mut groups = 0;
    let (mut read, mut to) = (0, 0);
    while read < buffer.len() {
        let Some(open) = memchr(b'(', buffer.get(read..).unwrap_or_default()) else {
            break;
        };
        let start = read + open;
        let Some(length) = group_length(buffer.get(start..).unwrap_or_default()) else {
            groups = 0;
            (read, to) = shift(buffer, read, start + 1, to);
            continue;
        };
        let joined = groups > 0 && open == 1 && at(buffer, read) == b',';
        groups = if joined { groups + 1 } else { 1 };
        if groups <= GROUP_LIMIT {
            (read, to) = shift(buffer, read, start + length, to);
        } else {
            if groups == GROUP_LIMIT + 1 {
                for &byte in b",..." {
                    if let Some(slot) = buffer.get_mut(to) {
                        *slot = byte;
                    }
                    to += 1;
                }
            }
            read = start + length;
        }
    }
    let end = buffer.len();
    (_, to) = shift(buffer, read, end, to);
    buffer.truncate(to);
}

/// Moves `read..end` down to `to`.
fn shift(buffer: &mut [u8], read: usize, end: usize, to: usize) -> (usize, usize) {
    if read != to && read < end {
        buffer.copy_within(read..end, to);
    }
    (end, to + end.saturating_sub(read))
}

/// The length of a group that holds nothing but values.
fn group_length(text: &[u8]) -> Option<usize> {
    let body = text.get(1..)?;
    let inside = body
        .iter()
        .take_while(|byte| matches!(byte, b'?' | b',' | b'.'))
        .count();
    (inside > 0 && body.get(inside) == Some(&b')')).then_some(inside + 2)
}
