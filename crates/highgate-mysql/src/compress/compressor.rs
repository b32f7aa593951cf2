//! Making compressed packets. The tables of the algorithms are large and kept for the next one.

use std::fmt;

use super::{Algorithm, COMPRESSED_HEADER_LEN, CompressedHeader, MIN_COMPRESSED};

/// Makes compressed packets; holds no state from one to the next.
#[derive(Default)]
pub struct Compressor {
    zlib: Option<(u8, Box<flate2::Compress>)>,
    zstd: Option<(u8, Box<zstd::bulk::Compressor<'static>>)>,
}

impl Compressor {
    /// Writes `piece` (at most 16 MiB - 1 bytes) as one compressed packet to the start of `out`,
    /// which has room for it as it is, header included; how many bytes it took.
    pub fn packet(
        &mut self,
        algorithm: Algorithm,
        seq: &mut u8,
        piece: &[u8],
        out: &mut [u8],
    ) -> usize {
        let Some((head, body)) = out.split_first_chunk_mut::<COMPRESSED_HEADER_LEN>() else {
            return 0;
        };
        // Room that is shorter than the piece: what does not shrink is not worth it.
        let room = body.get_mut(..piece.len().saturating_sub(1)).unwrap_or_default();
        let shrunk =
            if piece.len() < MIN_COMPRESSED { None } else { self.shrink(algorithm, piece, room) };
        let len = shrunk.unwrap_or(piece.len());
        if shrunk.is_none()
            && let Some(place) = body.get_mut(..len)
        {
            place.copy_from_slice(piece);
        }
        let plain_len = if shrunk.is_some() { piece.len() } else { 0 };
        let number = |len: usize| u32::try_from(len).unwrap_or(u32::MAX);
        *head =
            CompressedHeader { len: number(len), seq: *seq, plain_len: number(plain_len) }.encode();
        *seq = seq.wrapping_add(1);
        COMPRESSED_HEADER_LEN.saturating_add(len)
    }

    /// Bytes that `piece` took in `room`; `None` if it does not fit.
    fn shrink(&mut self, algorithm: Algorithm, piece: &[u8], room: &mut [u8]) -> Option<usize> {
        match algorithm {
            Algorithm::Zlib(level) => {
                let encoder = self.zlib(level.min(9));
                let status = encoder.compress(piece, room, flate2::FlushCompress::Finish).ok()?;
                let made = usize::try_from(encoder.total_out()).ok()?;
                (status == flate2::Status::StreamEnd).then_some(made)
            }
            Algorithm::Zstd(level) => {
                self.zstd(level.clamp(1, 22))?.compress_to_buffer(piece, room).ok()
            }
        }
    }

    fn zlib(&mut self, level: u8) -> &mut flate2::Compress {
        let (known, encoder) = self.zlib.get_or_insert_with(|| (level, deflater(level)));
        if *known == level {
            encoder.reset();
        } else {
            (*known, *encoder) = (level, deflater(level));
        }
        encoder
    }

    fn zstd(&mut self, level: u8) -> Option<&mut zstd::bulk::Compressor<'static>> {
        if self.zstd.as_ref().is_none_or(|(known, _)| *known != level) {
            let made = zstd::bulk::Compressor::new(i32::from(level)).ok()?;
            self.zstd = Some((level, Box::new(made)));
        }
        self.zstd.as_mut().map(|(_, encoder)| encoder.as_mut())
    }
}

fn deflater(level: u8) -> Box<flate2::Compress> {
    Box::new(flate2::Compress::new(flate2::Compression::new(u32::from(level)), true))
}

impl fmt::Debug for Compressor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Compressor").finish_non_exhaustive()
    }
}
