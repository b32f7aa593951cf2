//! Blanks and signs around operators, long lists and long sequences of groups, byte by byte.
//!
//! [`Writer`] takes the stripped text and writes the digest text at once. What a byte becomes may
//! depend on the two before it, and on the one or two after it; for those it waits as [`Pending`].
//!
//! Quirk: the original looks back in the buffer it is overwriting, so that once exactly one byte
//! was removed, the byte before the last is the last one again. Digests depend on it.

use super::super::bytes::{at, is_word};

/// At most so many bytes of a digest text are kept and hashed.
pub(in crate::sql) const MAX_DIGEST: usize = 2048;
/// How much of one run of plain bytes is written: more than can be seen of any.
const LONGEST_RUN: usize = 2 * MAX_DIGEST;
/// Free bytes that every step finds.
const ROOM: usize = 64;
const LIST_LIMIT: u32 = 3;
const GROUP_LIMIT: u32 = 10;

/// A byte taken whose fate the next one decides.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pending {
    Blank,
    Nothing,
    Sign,
    /// A `?` that is written, but not yet counted as a listed value.
    Value,
    /// Such a `?`, and a blank after it.
    ValueBlank,
}

/// Writes a digest text.
pub(super) struct Writer {
    buffer: Vec<u8>,
    to: usize,
    /// Bytes taken.
    pub(super) taken: usize,
    pending: Pending,
    /// The byte taken last, and the one before.
    left: u8,
    behind: u8,
    /// The byte written last.
    kept: u8,
    /// What the original finds behind the byte left of a sign.
    behind_sign: u8,
    /// Bytes left out so far; 2 stands for more.
    removed: u8,
    list_is_open: bool,
    values: u32,
    open_at: Option<usize>,
    groups: u32,
    group_end: usize,
    /// Where to look next whether more could still matter.
    look_at: usize,
    /// From here on a step must not start: the buffer may end, or `look_at` is reached.
    stop: usize,
}

impl Writer {
    pub(super) fn new(buffer: Vec<u8>) -> Self {
        Self {
            buffer,
            to: 0,
            taken: 0,
            pending: Pending::Nothing,
            left: 0,
            behind: 0,
            kept: 0,
            behind_sign: 0,
            removed: 0,
            list_is_open: false,
            values: 0,
            open_at: None,
            groups: 0,
            group_end: 0,
            look_at: MAX_DIGEST + ROOM,
            stop: 0,
        }
    }

    /// Makes room for the next step; false if nothing that follows can change the digest text.
    #[inline(always)]
    pub(super) fn make_room(&mut self) -> bool {
        self.to < self.stop || self.grow()
    }

    #[inline(never)]
    fn grow(&mut self) -> bool {
        if self.to + ROOM >= self.buffer.len() {
            self.buffer.resize(self.to * 2 + 2 * MAX_DIGEST, 0);
        }
        let goes_on = self.to < self.look_at || !self.is_settled();
        self.stop = self.look_at.min(self.buffer.len() - ROOM);
        goes_on
    }

    /// Whether the first [`MAX_DIGEST`] bytes are what they will be, and something firm follows them.
    fn is_settled(&mut self) -> bool {
        self.look_at = self.to * 2;
        let written = self.buffer.get(..self.to).unwrap_or_default();
        let may_be_group = self
            .open_at
            .and_then(|open| written.get(open + 1..))
            .is_some_and(|inside| inside.iter().all(|&byte| is_value(byte)));
        // A list being shortened takes back up to three bytes; blanks and semicolons fall at the end.
        let firm = written
            .get(MAX_DIGEST..self.to - 3)
            .unwrap_or_default()
            .iter()
            .any(|byte| !matches!(byte, b' ' | b';'));
        firm && !may_be_group
    }

    /// Takes the first `length` bytes of `rest`, all of them letters, digits, `_` or `$`.
    #[inline]
    pub(super) fn word(&mut self, rest: &[u8], length: usize) {
        let Some(run) = rest.get(..length) else {
            return;
        };
        let (&[first, ..], &[.., last]) = (run, run) else {
            return;
        };
        self.settle(first);
        let target = self.buffer.get_mut(self.to..).unwrap_or_default();
        if let (true, Some(to), Some(from)) =
            (length <= 16, target.first_chunk_mut::<16>(), rest.first_chunk::<16>())
        {
            *to = *from;
            self.to += length;
        } else {
            self.copy(run);
        }
        self.behind = match run {
            [.., behind, _] => *behind,
            _ => self.left,
        };
        self.left = last;
        self.kept = last;
        self.taken += length;
    }

    fn copy(&mut self, run: &[u8]) {
        let run = run.get(..LONGEST_RUN).unwrap_or(run);
        let end = self.to + run.len();
        if end > self.buffer.len() {
            self.buffer.resize(end, 0);
        }
        if let Some(to) = self.buffer.get_mut(self.to..end) {
            to.copy_from_slice(run);
        }
        self.to = end;
    }

    /// Takes a blank, unless it would be the first byte or a second blank.
    #[inline]
    pub(super) fn blank(&mut self) {
        if self.left != b' ' && self.taken > 0 {
            self.settle(b' ');
            self.pending =
                if self.pending == Pending::Value { Pending::ValueBlank } else { Pending::Blank };
            self.advance(b' ');
        }
    }

    /// Takes a literal or number.
    #[inline]
    pub(super) fn value(&mut self) {
        self.settle(b'?');
        self.keep(b'?');
        self.pending = Pending::Value;
        self.advance(b'?');
    }

    /// Takes any byte but a blank.
    #[inline]
    pub(super) fn put(&mut self, byte: u8) {
        match byte {
            b'?' => return self.value(),
            b'+' | b'-' => {
                self.settle(byte);
                self.behind_sign = if self.removed == 1 { self.kept } else { self.behind };
                self.pending = Pending::Sign;
            }
            b'(' => {
                self.settle(byte);
                self.open_at = Some(self.to);
                self.keep(byte);
                (self.list_is_open, self.values) = (true, 0);
            }
            b')' => {
                self.settle(byte);
                self.keep(byte);
                (self.list_is_open, self.values) = (false, 0);
                self.close();
            }
            b',' => {
                self.settle(byte);
                let before = self.last_written();
                self.keep(byte);
                let goes_on = before == b'?' || (before == b'.' && self.values > LIST_LIMIT);
                if !goes_on {
                    self.values = 0;
                }
            }
            _ => {
                self.settle(byte);
                self.keep(byte);
            }
        }
        self.advance(byte);
    }

    /// Whether the byte taken last is a comma after `…,...`.
    #[inline]
    pub(super) fn is_in_cut_list(&self) -> bool {
        self.list_is_open
            && self.values >= LIST_LIMIT + 2
            && self.left == b','
            && self.pending == Pending::Nothing
    }

    /// Takes a value and a comma where [`Writer::is_in_cut_list`] holds: what [`Writer::value`] and
    /// [`Writer::put`] would write, they would take back.
    #[inline]
    pub(super) fn skip_listed(&mut self, after_blank: bool) {
        if after_blank {
            self.remove();
            self.taken += 1;
        }
        self.taken += 2;
        self.values = self.values.saturating_add(1);
        self.behind = b'?';
    }

    /// Ends the text: the buffer, and the length of the digest text in it.
    pub(super) fn finish(mut self) -> (Vec<u8>, usize) {
        self.make_room();
        self.settle(0);
        let written = self.buffer.get(..self.to).unwrap_or_default();
        let end = written
            .iter()
            .rposition(|byte| !matches!(byte, b' ' | b';'))
            .map_or(0, |last| last + 1);
        (self.buffer, end.min(MAX_DIGEST))
    }

    #[inline]
    fn advance(&mut self, byte: u8) {
        (self.behind, self.left) = (self.left, byte);
        self.taken += 1;
    }

    #[inline]
    fn keep(&mut self, byte: u8) {
        self.kept = byte;
        self.write(byte);
    }

    #[inline]
    fn write(&mut self, byte: u8) {
        if let Some(slot) = self.buffer.get_mut(self.to) {
            *slot = byte;
        }
        self.to += 1;
    }

    #[inline]
    fn last_written(&self) -> u8 {
        self.to.checked_sub(1).map_or(0, |position| at(&self.buffer, position))
    }

    /// Decides on what waits for the byte after it, which is `right`.
    #[inline(always)]
    fn settle(&mut self, right: u8) {
        if self.pending != Pending::Nothing {
            self.settle_pending(right);
        }
    }

    fn settle_pending(&mut self, right: u8) {
        match self.pending {
            Pending::Nothing => return,
            Pending::Blank => self.settle_blank(right),
            Pending::Value if right == b' ' => return,
            Pending::Value => self.count_value(right),
            Pending::ValueBlank => {
                self.count_value(right);
                self.settle_blank(right);
            }
            Pending::Sign => {
                if is_unary(self.behind, self.behind_sign, right) {
                    self.remove();
                } else {
                    self.keep(self.left);
                }
            }
        }
        self.pending = Pending::Nothing;
    }

    #[inline]
    fn settle_blank(&mut self, right: u8) {
        if is_needless_blank(self.behind, right) {
            self.remove();
        } else {
            self.keep(b' ');
        }
    }

    #[inline]
    fn remove(&mut self) {
        self.removed = (self.removed + 1).min(2);
    }

    /// Counts the `?` written last if it stands alone in a list, and cuts the list after the limit.
    #[inline]
    fn count_value(&mut self, after: u8) {
        let before = self.to.checked_sub(2).map_or(0, |position| at(&self.buffer, position));
        let alone = matches!(before, b'(' | b',') && matches!(after, b',' | b')');
        if !alone {
            self.values = 0;
            return;
        }
        self.values += 1;
        if !self.list_is_open {
            return;
        }
        if self.values > LIST_LIMIT + 2 {
            self.to -= 2;
        } else if self.values == LIST_LIMIT + 2 {
            // `…,?,?` becomes `…,...`; what follows of the run is dropped with it.
            self.to -= 3;
            for _ in 0..3 {
                self.write(b'.');
            }
        }
    }

    /// After a closing parenthesis: drops a group that follows ten others.
    #[inline]
    fn close(&mut self) {
        let Some(open) = self.open_at.take() else {
            return;
        };
        let inside = self.buffer.get(open + 1..self.to - 1).unwrap_or_default();
        if inside.is_empty() || !inside.iter().all(|&byte| is_value(byte)) {
            return;
        }
        let joined = self.groups > 0
            && open == self.group_end + 1
            && at(&self.buffer, self.group_end) == b',';
        self.groups = if joined { self.groups + 1 } else { 1 };
        if self.groups > GROUP_LIMIT {
            self.to = self.group_end;
            if self.groups == GROUP_LIMIT + 1 {
                for &byte in b",..." {
                    self.write(byte);
                }
            }
        }
        self.group_end = self.to;
    }
}

/// A byte of a group that holds nothing but values.
fn is_value(byte: u8) -> bool {
    matches!(byte, b'?' | b',' | b'.')
}

fn is_operator(byte: u8) -> bool {
    matches!(byte, b'+' | b'-' | b'*' | b'/' | b'%')
}

#[inline]
fn is_needless_blank(left: u8, right: u8) -> bool {
    matches!(left, b'(' | b',')
        || matches!(right, b')' | b',')
        || (left == b'?' && is_operator(right))
        || (right == b'?' && is_operator(left))
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
