//! Packets: the 4-byte header, a reader that cannot overrun, and a writer that knows the framing.
//!
//! Everything that decodes bytes of a peer goes through [`Reader`]; it returns [`Malformed`] where
//! the bytes end early and never allocates by a number that the peer announced. Everything that
//! encodes goes through [`PacketWriter`], which patches lengths, counts sequence ids and splits
//! payloads at 16 MiB.

use crate::bytes::le_uint;

/// Bytes of a packet header: length (3 bytes, little endian) and sequence id.
pub const HEADER_LEN: usize = 4;

/// The longest payload of one packet; a payload of exactly this length is continued by another.
pub const MAX_PAYLOAD: usize = 0xff_ffff;

/// The bytes of a peer do not have the form that the protocol prescribes here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed packet: {what}")]
pub struct Malformed {
    /// What was expected.
    pub what: &'static str,
}

impl Malformed {
    /// An error that names what was expected.
    #[must_use]
    pub const fn new(what: &'static str) -> Self {
        Self { what }
    }
}

/// A packet header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Length of the payload, at most [`MAX_PAYLOAD`].
    pub len: u32,
    /// Sequence id.
    pub seq: u8,
}

impl Header {
    /// Reads a header from its four bytes.
    #[must_use]
    pub const fn parse(bytes: [u8; HEADER_LEN]) -> Self {
        let [a, b, c, seq] = bytes;
        Self { len: u32::from_le_bytes([a, b, c, 0]), seq }
    }

    /// The four bytes of this header; a length above [`MAX_PAYLOAD`] is cut to its low 24 bits.
    #[must_use]
    pub const fn encode(self) -> [u8; HEADER_LEN] {
        let [a, b, c, _] = self.len.to_le_bytes();
        [a, b, c, self.seq]
    }

    /// Whether the payload goes on in another packet.
    #[must_use]
    pub const fn is_continued(self) -> bool {
        self.len as usize == MAX_PAYLOAD
    }

    /// The header at the start of `bytes`, if four bytes are there.
    #[must_use]
    pub fn peek(bytes: &[u8]) -> Option<Self> {
        bytes.first_chunk::<HEADER_LEN>().map(|head| Self::parse(*head))
    }
}

/// A whole packet at the start of `bytes`: its header and payload; `None` while bytes are missing.
#[must_use]
pub fn split_packet(bytes: &[u8]) -> Option<(Header, &[u8], &[u8])> {
    let header = Header::peek(bytes)?;
    let rest = bytes.get(HEADER_LEN..)?;
    let (payload, rest) = rest.split_at_checked(header.len as usize)?;
    Some((header, payload, rest))
}

/// A cursor over foreign bytes that cannot read past their end.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a> {
    rest: &'a [u8],
    len: usize,
}

impl<'a> Reader<'a> {
    /// A reader at the start of `bytes`.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, len: bytes.len() }
    }

    /// One byte.
    ///
    /// # Errors
    /// [`Malformed`] at the end of the bytes; so for all methods of this type.
    pub fn u8(&mut self) -> Result<u8, Malformed> {
        let (first, rest) = self.rest.split_first().ok_or(Malformed::new("one more byte"))?;
        self.rest = rest;
        Ok(*first)
    }

    /// Two bytes, little endian.
    ///
    /// # Errors
    /// [`Malformed`] at the end of the bytes.
    pub fn u16(&mut self) -> Result<u16, Malformed> {
        self.array().map(u16::from_le_bytes)
    }

    /// Three bytes, little endian.
    ///
    /// # Errors
    /// [`Malformed`] at the end of the bytes.
    pub fn u24(&mut self) -> Result<u32, Malformed> {
        let [a, b, c] = self.array()?;
        Ok(u32::from_le_bytes([a, b, c, 0]))
    }

    /// Four bytes, little endian.
    ///
    /// # Errors
    /// [`Malformed`] at the end of the bytes.
    pub fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_le_bytes)
    }

    /// Eight bytes, little endian.
    ///
    /// # Errors
    /// [`Malformed`] at the end of the bytes.
    pub fn u64(&mut self) -> Result<u64, Malformed> {
        self.array().map(u64::from_le_bytes)
    }

    /// A length-encoded integer; NULL (0xfb) and 0xff are refused.
    ///
    /// # Errors
    /// [`Malformed`] at the end of the bytes or for 0xfb and 0xff.
    pub fn lenenc_int(&mut self) -> Result<u64, Malformed> {
        match self.u8()? {
            byte @ 0..=0xfa => Ok(u64::from(byte)),
            0xfc => self.u16().map(u64::from),
            0xfd => self.u24().map(u64::from),
            0xfe => self.u64(),
            _ => Err(Malformed::new("a length-encoded integer")),
        }
    }

    /// Bytes prefixed by a length-encoded length.
    ///
    /// # Errors
    /// [`Malformed`] where fewer bytes follow than announced.
    pub fn lenenc_bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let len = self.lenenc_int()?;
        let len = usize::try_from(len).map_err(|_| Malformed::new("a length in bounds"))?;
        self.bytes(len)
    }

    /// A value of a text row: `None` for NULL.
    ///
    /// # Errors
    /// [`Malformed`] where fewer bytes follow than announced.
    pub fn nullable_bytes(&mut self) -> Result<Option<&'a [u8]>, Malformed> {
        if self.rest.first() == Some(&0xfb) {
            self.skip(1)?;
            return Ok(None);
        }
        self.lenenc_bytes().map(Some)
    }

    /// Bytes up to a NUL, which is consumed and not returned.
    ///
    /// # Errors
    /// [`Malformed`] where no NUL follows.
    pub fn nul_terminated(&mut self) -> Result<&'a [u8], Malformed> {
        let at = memchr::memchr(0, self.rest).ok_or(Malformed::new("a NUL-terminated string"))?;
        let found = self.bytes(at)?;
        self.skip(1)?;
        Ok(found)
    }

    /// Bytes up to a NUL or the end, as lenient peers send them.
    pub fn until_nul_or_end(&mut self) -> &'a [u8] {
        match self.nul_terminated() {
            Ok(found) => found,
            Err(_) => self.rest(),
        }
    }

    /// Exactly `len` bytes.
    ///
    /// # Errors
    /// [`Malformed`] where fewer remain.
    pub fn bytes(&mut self, len: usize) -> Result<&'a [u8], Malformed> {
        let (found, rest) =
            self.rest.split_at_checked(len).ok_or(Malformed::new("more bytes than remain"))?;
        self.rest = rest;
        Ok(found)
    }

    /// Exactly `N` bytes as an array.
    ///
    /// # Errors
    /// [`Malformed`] where fewer remain.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (found, rest) =
            self.rest.split_first_chunk::<N>().ok_or(Malformed::new("more bytes than remain"))?;
        self.rest = rest;
        Ok(*found)
    }

    /// Passes over `len` bytes.
    ///
    /// # Errors
    /// [`Malformed`] where fewer remain.
    pub fn skip(&mut self, len: usize) -> Result<(), Malformed> {
        self.bytes(len).map(|_| ())
    }

    /// All that remains; the reader is empty afterwards.
    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    /// The next byte without consuming it.
    #[must_use]
    pub fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    /// How many bytes remain.
    #[must_use]
    pub const fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// How many bytes were consumed.
    #[must_use]
    pub const fn position(&self) -> usize {
        self.len.saturating_sub(self.rest.len())
    }

    /// Whether nothing remains.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }
}

/// Appends a length-encoded integer to `out`.
pub fn put_lenenc_int(out: &mut Vec<u8>, value: u64) {
    let [a, b, c, ..] = value.to_le_bytes();
    match value {
        0..=0xfa => out.push(a),
        0xfb..=0xffff => out.extend_from_slice(&[0xfc, a, b]),
        0x1_0000..=0xff_ffff => out.extend_from_slice(&[0xfd, a, b, c]),
        _ => {
            out.push(0xfe);
            out.extend_from_slice(&value.to_le_bytes());
        }
    }
}

/// Appends `bytes` prefixed by their length-encoded length to `out`.
pub fn put_lenenc_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_lenenc_int(out, le_uint(bytes.len()));
    out.extend_from_slice(bytes);
}

/// Appends `bytes` up to their first NUL, and a NUL, to `out`.
pub fn put_nul_terminated(out: &mut Vec<u8>, bytes: &[u8]) {
    let end = memchr::memchr(0, bytes).unwrap_or(bytes.len());
    out.extend_from_slice(bytes.get(..end).unwrap_or(bytes));
    out.push(0);
}

/// Writes packets into a buffer: patches each length, counts sequence ids, splits at 16 MiB.
///
/// ```
/// use highgate_mysql::packet::PacketWriter;
/// let mut out = Vec::new();
/// let mut writer = PacketWriter::new(&mut out, 0);
/// writer.packet(|body| body.push(0x0e));
/// assert_eq!(writer.next_seq(), 1);
/// assert_eq!(out, [1, 0, 0, 0, 0x0e]);
/// ```
#[derive(Debug)]
pub struct PacketWriter<'a> {
    out: &'a mut Vec<u8>,
    seq: u8,
}

impl<'a> PacketWriter<'a> {
    /// A writer that appends to `out`; the first packet gets sequence id `seq`.
    #[must_use]
    pub const fn new(out: &'a mut Vec<u8>, seq: u8) -> Self {
        Self { out, seq }
    }

    /// The sequence id that the next packet will have.
    #[must_use]
    pub const fn next_seq(&self) -> u8 {
        self.seq
    }

    /// Appends one packet whose payload is what `body` appends to the buffer given to it.
    pub fn packet(&mut self, body: impl FnOnce(&mut Vec<u8>)) {
        let start = self.out.len();
        self.out.extend_from_slice(&[0; HEADER_LEN]);
        body(self.out);
        let len = self.out.len().saturating_sub(start.saturating_add(HEADER_LEN));
        if len >= MAX_PAYLOAD {
            self.split_long(start);
            return;
        }
        self.patch(start, len);
    }

    /// Appends one packet with `payload`.
    pub fn payload(&mut self, payload: &[u8]) {
        self.packet(|body| body.extend_from_slice(payload));
    }

    fn patch(&mut self, start: usize, len: usize) {
        let len = u32::try_from(len).unwrap_or(u32::MAX);
        let header = Header { len, seq: self.seq }.encode();
        if let Some(place) =
            self.out.get_mut(start..).and_then(|tail| tail.first_chunk_mut::<HEADER_LEN>())
        {
            *place = header;
        }
        self.seq = self.seq.wrapping_add(1);
    }

    /// Rare: the payload is moved out once and written again in pieces.
    fn split_long(&mut self, start: usize) {
        let payload = self.out.split_off(start.saturating_add(HEADER_LEN));
        self.out.truncate(start);
        for piece in payload.chunks(MAX_PAYLOAD) {
            self.piece(piece);
        }
        if payload.len().is_multiple_of(MAX_PAYLOAD) {
            self.piece(&[]);
        }
    }

    fn piece(&mut self, piece: &[u8]) {
        let start = self.out.len();
        self.out.extend_from_slice(&[0; HEADER_LEN]);
        self.out.extend_from_slice(piece);
        self.patch(start, piece.len());
    }
}

#[cfg(test)]
mod tests;
