//! Taking one compressed packet apart, in slices of its user's choice.

use std::fmt;

use zstd::stream::raw::{DParameter, Decoder, InBuffer, Operation, OutBuffer};

use super::{Algorithm, CompressedHeader};
use crate::packet::Malformed;

/// Windows of zstd frames that are taken whatever a packet holds: 8 MiB, as RFC 8878 §3.1.1.1.2
/// asks of every decoder. Larger ones only as far as the packet fills them.
const COMMON_WINDOW_LOG: u32 = 23;

/// Takes one compressed packet apart.
pub struct Expander {
    codec: Codec,
    /// Bytes of the body that were taken.
    at: usize,
    /// Bytes that are still to come out.
    left: usize,
    /// The stream inside said that it is over.
    has_ended: bool,
    is_done: bool,
}

enum Codec {
    Plain,
    Zlib(Box<flate2::Decompress>),
    Zstd(Box<Decoder<'static>>),
}

impl Expander {
    /// For the packet of that header.
    ///
    /// # Errors
    /// [`Malformed`] where it announces more than its bytes could ever expand to.
    pub fn new(algorithm: Algorithm, header: CompressedHeader) -> Result<Self, Malformed> {
        let (len, plain_len) = (header.len as usize, header.plain_len as usize);
        if plain_len == 0 {
            return Ok(Self {
                codec: Codec::Plain,
                at: 0,
                left: len,
                has_ended: true,
                is_done: len == 0,
            });
        }
        if plain_len > len.saturating_mul(algorithm.utmost_ratio()) {
            return Err(Malformed::new("a compressed packet that can hold what it announces"));
        }
        let codec = match algorithm {
            Algorithm::Zlib(_) => Codec::Zlib(Box::new(flate2::Decompress::new(true))),
            Algorithm::Zstd(_) => Codec::Zstd(Box::new(decoder(header.plain_len)?)),
        };
        Ok(Self { codec, at: 0, left: plain_len, has_ended: false, is_done: false })
    }

    /// Whether all came out, and nothing beyond it would.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.is_done
    }

    /// Fills the start of `out`; how many bytes of it. `body` is the packet without its header, the
    /// same in each call. Zero only when nothing is left to come or `out` is empty.
    ///
    /// # Errors
    /// [`Malformed`] for bytes that don't expand, or not to the length that the packet names.
    pub fn expand(&mut self, body: &[u8], out: &mut [u8]) -> Result<usize, Malformed> {
        let wanted = out.len().min(self.left);
        let mut made = 0_usize;
        while made < wanted {
            let rest = out.get_mut(made..wanted).unwrap_or_default();
            let count = self.step(body, rest)?.made;
            made = made.saturating_add(count);
            self.left = self.left.saturating_sub(count);
        }
        if self.left == 0 && !self.is_done {
            self.finish(body)?;
            self.is_done = true;
        }
        Ok(made)
    }

    /// Reads what a stream has behind its last byte (checksums), and finds one that goes on.
    fn finish(&mut self, body: &[u8]) -> Result<(), Malformed> {
        while !self.has_ended {
            if self.step(body, &mut [0])?.made > 0 {
                return Err(Malformed::new("a compressed packet of the length that it names"));
            }
        }
        Ok(())
    }

    fn step(&mut self, body: &[u8], out: &mut [u8]) -> Result<Step, Malformed> {
        let rest = body.get(self.at..).unwrap_or_default();
        let step = match &mut self.codec {
            Codec::Plain => Some(copy(rest, out)),
            Codec::Zlib(decoder) => inflate(decoder, rest, out),
            Codec::Zstd(decoder) => unzstd(decoder, rest, out),
        };
        let step = step.ok_or_else(|| Malformed::new("bytes of the compression agreed on"))?;
        if step.made == 0 && step.used == 0 && !step.is_end {
            return Err(Malformed::new("a compressed packet with an end"));
        }
        if step.made == 0 && step.is_end && self.left > 0 {
            return Err(Malformed::new("a compressed packet of the length that it names"));
        }
        self.has_ended |= step.is_end;
        self.at = self.at.saturating_add(step.used);
        Ok(step)
    }
}

/// What one call of a decoder did.
struct Step {
    used: usize,
    made: usize,
    is_end: bool,
}

fn copy(from: &[u8], to: &mut [u8]) -> Step {
    let count = from.len().min(to.len());
    if let (Some(from), Some(to)) = (from.get(..count), to.get_mut(..count)) {
        to.copy_from_slice(from);
    }
    Step { used: count, made: count, is_end: false }
}

fn inflate(decoder: &mut flate2::Decompress, from: &[u8], to: &mut [u8]) -> Option<Step> {
    let (before_in, before_out) = (decoder.total_in(), decoder.total_out());
    let status = decoder.decompress(from, to, flate2::FlushDecompress::None).ok()?;
    Some(Step {
        used: usize::try_from(decoder.total_in().checked_sub(before_in)?).ok()?,
        made: usize::try_from(decoder.total_out().checked_sub(before_out)?).ok()?,
        is_end: status == flate2::Status::StreamEnd,
    })
}

fn unzstd(decoder: &mut Decoder<'static>, from: &[u8], to: &mut [u8]) -> Option<Step> {
    let mut input = InBuffer::around(from);
    let mut output = OutBuffer::around(to);
    let hint = decoder.run(&mut input, &mut output).ok()?;
    Some(Step { used: input.pos(), made: output.pos(), is_end: hint == 0 })
}

/// A decoder that makes no window larger than such a packet needs.
fn decoder(plain_len: u32) -> Result<Decoder<'static>, Malformed> {
    let needed = u32::BITS.saturating_sub(plain_len.saturating_sub(1).leading_zeros());
    let failed = |_| Malformed::new("memory for a decoder");
    let mut decoder = Decoder::new().map_err(failed)?;
    let window = DParameter::WindowLogMax(needed.max(COMMON_WINDOW_LOG));
    decoder.set_parameter(window).map_err(failed)?;
    Ok(decoder)
}

impl fmt::Debug for Expander {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Expander").field("at", &self.at).field("left", &self.left).finish()
    }
}
