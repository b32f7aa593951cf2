//! The compressed protocol: packets of packets, by zlib or zstd.
//!
//! A compressed packet has 7 bytes of header: its length on the wire, a sequence id of its own, and
//! the length before compression, which is 0 where the bytes are as they were. Packets lie across
//! the boundaries of compressed ones. [`Expander`] takes one apart in slices, into room that its
//! user has; a packet that announces more than its bytes could ever expand to is refused before any
//! of that room is made. [`Compressor`] makes them.

use std::fmt;

use crate::packet::{MAX_PAYLOAD, Malformed, Reader};

mod borders;
mod compressor;
mod expander;

pub use borders::Borders;
pub use compressor::Compressor;
pub use expander::Expander;

/// Bytes of a compressed packet's header.
pub const COMPRESSED_HEADER_LEN: usize = 7;

/// Shorter payloads are sent as they are, as servers do.
pub const MIN_COMPRESSED: usize = 50;

/// An algorithm, with its level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// zlib, level 0 to 9.
    Zlib(u8),
    /// zstd, level 1 to 22.
    Zstd(u8),
}

impl Algorithm {
    /// The most bytes that one byte can expand to: deflate's longest match takes two bits, zstd's
    /// longest block is 128 KiB and takes four bytes.
    fn utmost_ratio(self) -> usize {
        match self {
            Self::Zlib(_) => 258 * 4,
            Self::Zstd(_) => 128 * 1024 / 4,
        }
    }
}

/// The header of a compressed packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompressedHeader {
    /// Length on the wire.
    pub len: u32,
    /// Sequence id, counted apart from that of the packets inside.
    pub seq: u8,
    /// Length before compression; 0 where the bytes are as they were.
    pub plain_len: u32,
}

impl CompressedHeader {
    /// Parses the header at the start of `bytes`; `None` while bytes are missing.
    #[must_use]
    pub fn peek(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        let len = reader.u24().ok()?;
        let seq = reader.u8().ok()?;
        let plain_len = reader.u24().ok()?;
        Some(Self { len, seq, plain_len })
    }

    /// Bytes of the packet on the wire, header included.
    #[must_use]
    pub fn wire_len(self) -> usize {
        COMPRESSED_HEADER_LEN.saturating_add(self.len as usize)
    }

    fn encode(self) -> [u8; COMPRESSED_HEADER_LEN] {
        let [a, b, c, _] = self.len.to_le_bytes();
        let [d, e, f, _] = self.plain_len.to_le_bytes();
        [a, b, c, self.seq, d, e, f]
    }
}

/// Takes one compressed packet from the start of `bytes` and appends what it holds to `out`; how
/// many bytes were taken, 0 while some are missing.
///
/// # Errors
/// [`Malformed`] for a wrong sequence id, or bytes that don't expand to exactly the length that the
/// packet names; `out` is as it was.
pub fn decompress(
    algorithm: Algorithm,
    seq: &mut u8,
    bytes: &[u8],
    out: &mut Vec<u8>,
) -> Result<usize, Malformed> {
    let Some(header) = CompressedHeader::peek(bytes) else {
        return Ok(0);
    };
    if header.seq != *seq {
        return Err(Malformed::new("compressed packets in order"));
    }
    let end = header.wire_len();
    let Some(body) = bytes.get(COMPRESSED_HEADER_LEN..end) else {
        return Ok(0);
    };
    let before = out.len();
    if let Err(error) = expand_all(algorithm, header, body, out) {
        out.truncate(before);
        return Err(error);
    }
    *seq = seq.wrapping_add(1);
    Ok(end)
}

fn expand_all(
    algorithm: Algorithm,
    header: CompressedHeader,
    body: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), Malformed> {
    /// Grown by this much at a time: with what really comes out, not by what was announced.
    const SLICE: usize = 16 * 1024;
    let mut expander = Expander::new(algorithm, header)?;
    while !expander.is_done() {
        let at = out.len();
        out.resize(at.saturating_add(SLICE), 0);
        let made = expander.expand(body, out.get_mut(at..).unwrap_or_default());
        out.truncate(at.saturating_add(*made.as_ref().unwrap_or(&0)));
        made?;
    }
    Ok(())
}

/// Appends `plain`, in as many compressed packets as it needs, to `out`.
pub fn compress(algorithm: Algorithm, seq: &mut u8, plain: &[u8], out: &mut Vec<u8>) {
    let mut compressor = Compressor::default();
    for piece in plain.chunks(MAX_PAYLOAD) {
        let at = out.len();
        let most = COMPRESSED_HEADER_LEN.saturating_add(piece.len());
        out.resize(at.saturating_add(most), 0);
        let room = out.get_mut(at..).unwrap_or_default();
        let made = compressor.packet(algorithm, seq, piece, room);
        out.truncate(at.saturating_add(made));
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Zlib(_) => "zlib",
            Self::Zstd(_) => "zstd",
        })
    }
}

#[cfg(test)]
mod tests;
