//! One reading of one text.

use std::borrow::Cow;

use super::{Effects, Hint, LexMode, LockingClause, StatementKind};
use super::{classify, digest, spooky};

/// A part of a text, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Span {
    /// The first byte.
    pub start: u32,
    /// The byte after the last.
    pub end: u32,
}

impl Span {
    /// The bytes of this span in the text it was made for (empty if it is not that text).
    #[must_use]
    pub fn of(self, text: &[u8]) -> &[u8] {
        let (Ok(start), Ok(end)) = (usize::try_from(self.start), usize::try_from(self.end)) else {
            return &[];
        };
        text.get(start..end).unwrap_or_default()
    }
}

/// Buffers that [`analyze`] uses again and again; keep one per worker.
#[derive(Debug, Default)]
pub struct Scratch {
    /// Starts with the digest text; never shrinks.
    digest: Vec<u8>,
    schema: Vec<u8>,
    file: Vec<u8>,
}

impl Scratch {
    /// Empty buffers.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

/// What a text is, does, and how its digest reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Analysis<'s> {
    /// The kind of the first statement that is not empty.
    pub kind: StatementKind,
    /// What the whole text does.
    pub effects: Effects,
    /// SpookyHash V2, 64 bits, of `digest_text`, as ProxySQL shows it.
    pub digest: u64,
    /// The text with literals replaced by `?`, as ProxySQL normalises it; at most 2,048 bytes.
    pub digest_text: &'s [u8],
    /// How many statements that are not empty the text has.
    pub statements: u32,
    /// Where the client asked it to be sent, if that can be honoured.
    pub hint: Option<Hint>,
    /// The client asked for a replica, and the text is not proved to read.
    pub hint_ignored: bool,
    /// The strongest locking clause.
    pub locking: Option<LockingClause>,
    /// The schema of the last `USE`, unquoted.
    pub schema_used: Option<&'s [u8]>,
    /// The file of `LOAD DATA LOCAL`, unquoted and unescaped as the server will ask for it.
    pub local_file: Option<&'s [u8]>,
    /// The name in `PREPARE`, `EXECUTE`, `DEALLOCATE`, or of a (released) savepoint: where it stands.
    pub name: Option<Span>,
}

/// Reads `text` under `mode`.
///
/// Never fails: what cannot be read for sure is [`Effects::DOUBTFUL`]. Allocates only while the
/// buffers of `scratch` still grow.
pub fn analyze<'s>(text: &[u8], mode: LexMode, scratch: &'s mut Scratch) -> Analysis<'s> {
    let Scratch { digest: buffer, schema, file } = scratch;
    let length = digest::write(text, mode, buffer);
    let digest_text = buffer.get(..length).unwrap_or_default();
    let found = classify::classify(text, mode);
    let schema_used = found.schema.map(|span| unquote(span.of(text), mode, schema));
    let local_file = found.local_file.map(|span| unquote(span.of(text), mode, file));
    let proved = found.effects.contains(Effects::READ_ONLY_PROVED);
    let hint_ignored = found.hint == Some(Hint::Replica) && !proved;
    Analysis {
        kind: found.kind,
        effects: found.effects,
        digest: spooky::hash64(digest_text),
        digest_text,
        statements: found.statements,
        hint: if hint_ignored { None } else { found.hint },
        hint_ignored,
        locking: found.locking,
        schema_used,
        local_file,
        name: found.name,
    }
}

/// What a name or literal stands for: without its quotes, doublings and escapes.
fn unquote<'b>(written: &[u8], mode: LexMode, out: &'b mut Vec<u8>) -> &'b [u8] {
    out.clear();
    let (quote, inner) = match written {
        [quote @ (b'`' | b'\'' | b'"'), inner @ .., _] => (*quote, inner),
        _ => (0, written),
    };
    let escapes = quote == b'\'' || (quote == b'"' && !mode.ansi_quotes);
    let mut bytes = inner.iter().copied();
    while let Some(byte) = bytes.next() {
        if byte == quote && quote != 0 {
            bytes.next();
            out.push(byte);
        } else if byte == b'\\' && escapes && !mode.no_backslash_escapes {
            unescape(bytes.next(), out);
        } else {
            out.push(byte);
        }
    }
    out
}

/// Like [`unquote`], borrowing where nothing was quoted.
pub(super) fn unquoted(written: &[u8], mode: LexMode) -> Cow<'_, [u8]> {
    if written.first().is_some_and(|byte| matches!(byte, b'`' | b'\'' | b'"')) {
        let mut out = Vec::with_capacity(written.len());
        unquote(written, mode, &mut out);
        Cow::Owned(out)
    } else {
        Cow::Borrowed(written)
    }
}

fn unescape(escaped: Option<u8>, out: &mut Vec<u8>) {
    let byte = match escaped {
        Some(b'0') => 0,
        Some(b'b') => 8,
        Some(b'n') => b'\n',
        Some(b'r') => b'\r',
        Some(b't') => b'\t',
        Some(b'Z') => 26,
        Some(byte @ (b'%' | b'_')) => {
            out.push(b'\\');
            byte
        }
        Some(byte) => byte,
        None => return,
    };
    out.push(byte);
}
