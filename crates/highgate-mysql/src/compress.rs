//! The compressed protocol: packets of packets, by zlib or zstd.
//!
//! A compressed packet has 7 bytes of header: its length on the wire, a sequence id of its own, and
//! the length before compression, which is 0 where the bytes are as they were. Packets lie across
//! the boundaries of compressed ones. What comes out of a packet is never longer than it says, and
//! never longer than [`MAX_PAYLOAD`], whatever the compressed bytes expand to.

use std::io::{Read, Write};

use crate::packet::{MAX_PAYLOAD, Malformed, Reader};

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
    let end = COMPRESSED_HEADER_LEN.saturating_add(header.len as usize);
    let Some(body) = bytes.get(COMPRESSED_HEADER_LEN..end) else {
        return Ok(0);
    };
    let before = out.len();
    if header.plain_len == 0 {
        out.extend_from_slice(body);
    } else if expand(algorithm, body, header.plain_len, out).is_none() {
        out.truncate(before);
        return Err(Malformed::new("a compressed packet of the length that it names"));
    }
    *seq = seq.wrapping_add(1);
    Ok(end)
}

/// Appends what `body` expands to, if that is exactly `plain_len` bytes. The buffer grows with what
/// really comes out, not by what the peer announced.
fn expand(algorithm: Algorithm, body: &[u8], plain_len: u32, out: &mut Vec<u8>) -> Option<()> {
    let before = out.len();
    // One more byte than announced tells a packet that is longer from one that is not.
    let limit = u64::from(plain_len).saturating_add(1);
    match algorithm {
        Algorithm::Zlib(_) => {
            flate2::read::ZlibDecoder::new(body).take(limit).read_to_end(out).ok()?;
        }
        Algorithm::Zstd(_) => {
            let decoder = zstd::stream::read::Decoder::with_buffer(body).ok()?;
            decoder.take(limit).read_to_end(out).ok()?;
        }
    }
    (out.len().checked_sub(before)? == plain_len as usize).then_some(())
}

/// Appends `plain`, in as many compressed packets as it needs, to `out`.
pub fn compress(algorithm: Algorithm, seq: &mut u8, plain: &[u8], out: &mut Vec<u8>) {
    for piece in plain.chunks(MAX_PAYLOAD) {
        let start = out.len();
        out.extend_from_slice(&[0; COMPRESSED_HEADER_LEN]);
        let is_shrunk = piece.len() >= MIN_COMPRESSED
            && shrink(algorithm, piece, out).is_some()
            && out.len().saturating_sub(start) < piece.len().saturating_add(COMPRESSED_HEADER_LEN);
        if !is_shrunk {
            out.truncate(start.saturating_add(COMPRESSED_HEADER_LEN));
            out.extend_from_slice(piece);
        }
        let len = out.len().saturating_sub(start.saturating_add(COMPRESSED_HEADER_LEN));
        let header = CompressedHeader {
            len: u32::try_from(len).unwrap_or(u32::MAX),
            seq: *seq,
            plain_len: if is_shrunk { u32::try_from(piece.len()).unwrap_or(u32::MAX) } else { 0 },
        };
        if let Some(place) = out.get_mut(start..).and_then(|tail| tail.first_chunk_mut()) {
            *place = header.encode();
        }
        *seq = seq.wrapping_add(1);
    }
}

fn shrink(algorithm: Algorithm, piece: &[u8], out: &mut Vec<u8>) -> Option<()> {
    match algorithm {
        Algorithm::Zlib(level) => {
            let level = flate2::Compression::new(u32::from(level.min(9)));
            let mut encoder = flate2::write::ZlibEncoder::new(out, level);
            encoder.write_all(piece).ok()?;
            encoder.finish().ok()?;
        }
        Algorithm::Zstd(level) => {
            zstd::stream::copy_encode(piece, out, i32::from(level.clamp(1, 22))).ok()?;
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_compressed_comes_back() {
        for algorithm in [Algorithm::Zlib(6), Algorithm::Zstd(3)] {
            for len in [1, 49, 50, 5_000, MAX_PAYLOAD + 100] {
                let plain: Vec<u8> =
                    (0..=255_u8).flat_map(|byte| [byte; 7]).cycle().take(len).collect();
                let (mut wire, mut seq) = (Vec::new(), 7);
                compress(algorithm, &mut seq, &plain, &mut wire);
                let (mut back, mut seq, mut at) = (Vec::new(), 7, 0);
                while at < wire.len() {
                    assert_eq!(
                        decompress(algorithm, &mut seq, &wire[at..at + 6], &mut back),
                        Ok(0)
                    );
                    at += decompress(algorithm, &mut seq, &wire[at..], &mut back).unwrap();
                }
                assert!(back == plain, "{len}");
            }
        }
    }

    #[test]
    fn a_bomb_is_cut_at_the_length_that_it_names() {
        for algorithm in [Algorithm::Zlib(9), Algorithm::Zstd(19)] {
            let (mut wire, mut seq) = (Vec::new(), 0);
            compress(algorithm, &mut seq, &vec![0; 10_000_000], &mut wire);
            wire[4..7].copy_from_slice(&[100, 0, 0]);
            let mut out = b"before".to_vec();
            assert!(decompress(algorithm, &mut 0, &wire, &mut out).is_err());
            assert_eq!(out, b"before");
            assert!(out.capacity() < 100_000);
        }
    }

    #[test]
    fn compressed_packets_out_of_order_are_refused() {
        let (mut wire, mut seq) = (Vec::new(), 3);
        compress(Algorithm::Zlib(6), &mut seq, b"abc", &mut wire);
        assert!(decompress(Algorithm::Zlib(6), &mut 4, &wire, &mut Vec::new()).is_err());
    }
}
