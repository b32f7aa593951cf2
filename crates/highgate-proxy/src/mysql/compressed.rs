//! The compressed protocol between a client and Highgate: a layer under the packets, for sessions
//! that asked for it. Servers are spoken to without.
//!
//! Compressed packets have sequence ids of their own: a command begins at 0, its answer goes on
//! from there. What comes is held until a compressed packet is whole, then expanded in slices into
//! the inbox as its reader wants more; so the ids of the packet that ended a command are known.
//! Long work is done in turns, between which other sessions run. Start reading at
//! [`Compressed::poll_fill`].
//!
//! What is written is held until packets are whole, and cut where they end: a packet of up to
//! 64 KiB lies in one compressed packet, one of twice that in two. The protocol lets packets lie
//! anywhere.
//!
//! As with servers, no compressed packet reaches beyond the end of a result, and the first packet
//! of the next result takes its number from the compressed one in which it lies. mysql_common looks.
//!
//! Quirk: Connector/Python's pure form (26.10) reads no packet that lies in three compressed ones,
//! and none whose header is cut.

use std::{
    cell::RefCell,
    io,
    rc::Rc,
    task::{Context as Cx, Poll, ready},
};

use highgate_io::transport::Transport;
use highgate_mysql::{
    Capabilities,
    compress::{Algorithm, Borders, COMPRESSED_HEADER_LEN, CompressedHeader, Compressor, Expander},
};

use crate::buffer::{Buffer, BufferPool, SMALL};

/// The level that servers use for zlib.
const ZLIB_LEVEL: u8 = 6;
/// zstd's levels beyond it cost a multiple of the time for a few percent: not on a shared thread.
const ZSTD_LEVELS: std::ops::RangeInclusive<u8> = 1..=9;
const ZSTD_LEVEL: u8 = 3;
/// Plain bytes compressed or expanded before others have their turn: about two milliseconds.
const TURN: usize = 64 * 1024;
/// Plain bytes of whole packets that make a compressed one: it fits a common buffer, also where it
/// does not shrink. A longer packet is held for up to a [`TURN`].
const PIECE: usize = SMALL - COMPRESSED_HEADER_LEN;

/// What a compressed session has beside its packets. Holds no memory while nothing is on its way.
#[derive(Debug)]
pub(crate) struct Compressed {
    algorithm: Algorithm,
    compressor: Rc<RefCell<Compressor>>,
    /// Sequence id of what is written next.
    write_seq: u8,
    /// Sequence id that follows the packet that was expanded last.
    read_seq: u8,
    /// Read, and not expanded whole yet.
    raw: Buffer,
    /// The packet at the front of it, with its length on the wire, once it is whole.
    expander: Option<(Expander, usize)>,
    /// To be compressed, once packets are whole or it is much.
    held: Buffer,
    /// How much of it is whole packets, or the end of one.
    whole: usize,
    borders: Borders,
    /// How the packets of this answer are numbered.
    numbers: Numbers,
    /// Compressed, and not written yet.
    out: Buffer,
    /// Plain bytes worked on since others had their turn.
    worked: usize,
}

/// How the packets within compressed ones are numbered.
#[derive(Debug, Clone, Copy)]
enum Numbers {
    AsTheyCome,
    /// So much is added.
    Moved(u8),
    /// The next one has this number, and those behind it count from there.
    From(u8),
}

impl Numbers {
    fn apply(&mut self, seq: &mut u8) {
        if let Self::From(first) = *self {
            *self = Self::Moved(first.wrapping_sub(*seq));
        }
        if let Self::Moved(by) = *self {
            *seq = seq.wrapping_add(by);
        }
    }
}

impl Compressed {
    /// The layer that a login agreed on, if any.
    pub(crate) fn agreed(
        capabilities: Capabilities,
        zstd_level: Option<u8>,
        compressor: &Rc<RefCell<Compressor>>,
        buffers: &Rc<BufferPool>,
    ) -> Option<Box<Self>> {
        let algorithm = if capabilities.contains(Capabilities::COMPRESS) {
            Algorithm::Zlib(ZLIB_LEVEL)
        } else if capabilities.contains(Capabilities::ZSTD_COMPRESSION) {
            let level = zstd_level.unwrap_or(ZSTD_LEVEL);
            Algorithm::Zstd(level.clamp(*ZSTD_LEVELS.start(), *ZSTD_LEVELS.end()))
        } else {
            return None;
        };
        Some(Box::new(Self {
            algorithm,
            compressor: compressor.clone(),
            write_seq: 0,
            read_seq: 0,
            raw: Buffer::new(buffers.clone()),
            expander: None,
            held: Buffer::new(buffers.clone()),
            whole: 0,
            borders: Borders::default(),
            numbers: Numbers::AsTheyCome,
            out: Buffer::new(buffers.clone()),
            worked: 0,
        }))
    }

    /// A message was read whole: what is written next goes on from its sequence ids.
    pub(crate) fn begin_answer(&mut self) {
        self.pack(self.whole);
        self.write_seq = self.read_seq;
        self.numbers = Numbers::AsTheyCome;
    }

    /// What was written ends a result, and another is to follow.
    pub(crate) fn end_result(&mut self) {
        self.pack(self.whole);
        self.numbers = Numbers::From(self.write_seq);
    }

    /// What is written next answers nothing.
    pub(crate) fn begin_unasked(&mut self) {
        self.pack(self.whole);
        self.write_seq = 0;
        self.numbers = Numbers::AsTheyCome;
    }

    /// Whether bytes are there that the socket need not be asked for.
    pub(crate) fn has_packet(&self) -> bool {
        let raw = self.raw.bytes();
        self.expander.is_some()
            || CompressedHeader::peek(raw).is_some_and(|header| header.wire_len() <= raw.len())
    }

    /// Whether nothing was read that is not expanded.
    pub(crate) fn is_empty(&self) -> bool {
        self.raw.is_empty()
    }

    /// Gives memory back that holds nothing.
    pub(crate) fn rest(&mut self) {
        self.raw.rest();
        self.held.rest();
        self.out.rest();
    }

    /// Expands into the room of `inbox`; how many bytes, 0 at end of file. `is_short_of` says that
    /// so much memory is not to be had.
    ///
    /// # Errors
    /// `InvalidData` for what is no compressed packet, `OutOfMemory` as `is_short_of` says.
    pub(crate) fn poll_fill(
        &mut self,
        transport: &mut Transport,
        cx: &mut Cx<'_>,
        inbox: &mut Buffer,
        is_short_of: &dyn Fn(usize) -> bool,
    ) -> Poll<io::Result<usize>> {
        loop {
            if self.expander.is_some() {
                ready!(self.poll_turn(cx));
                match self.expand(inbox)? {
                    0 => continue,
                    count => return Poll::Ready(Ok(count)),
                }
            }
            let there = self.raw.len();
            let header = CompressedHeader::peek(self.raw.bytes());
            let whole = header.map_or(COMPRESSED_HEADER_LEN, CompressedHeader::wire_len);
            if let Some(header) = header.filter(|_| whole <= there) {
                let expander = Expander::new(self.algorithm, header).map_err(invalid)?;
                self.expander = Some((expander, whole));
                self.read_seq = header.seq.wrapping_add(1);
                continue;
            }
            // A long packet gets its room only as its bytes really come.
            let room = whole.saturating_sub(there).min(there.max(SMALL));
            if room > SMALL && is_short_of(room) {
                return Poll::Ready(Err(io::ErrorKind::OutOfMemory.into()));
            }
            self.raw.make_room(room);
            let count = ready!(transport.poll_read(cx, self.raw.room()))?;
            if count == 0 {
                return Poll::Ready(Ok(0));
            }
            self.raw.filled(count);
        }
    }

    /// One slice of the packet at the front.
    fn expand(&mut self, inbox: &mut Buffer) -> io::Result<usize> {
        let Some((expander, wire)) = &mut self.expander else { return Ok(0) };
        let body = self.raw.bytes().get(COMPRESSED_HEADER_LEN..*wire).unwrap_or_default();
        let room = inbox.room();
        let slice = room.len().min(TURN);
        let made = expander.expand(body, room.get_mut(..slice).unwrap_or_default());
        let made = made.map_err(invalid)?;
        inbox.filled(made);
        self.worked += made;
        if expander.is_done() {
            self.raw.consume(*wire);
            self.expander = None;
        }
        Ok(made)
    }

    /// Reads what the client sends while its command runs, without expanding it: its end must be
    /// seen. 0 at end of file; pending also while enough is held.
    pub(crate) fn poll_ahead(
        &mut self,
        transport: &mut Transport,
        cx: &mut Cx<'_>,
    ) -> Poll<io::Result<usize>> {
        if self.raw.len() >= SMALL {
            return Poll::Pending;
        }
        let count = ready!(transport.poll_read(cx, self.raw.room()))?;
        self.raw.filled(count);
        Poll::Ready(Ok(count))
    }

    /// Takes bytes to be written, as soon as what was compressed before is with the kernel.
    pub(crate) fn poll_write(
        &mut self,
        transport: &mut Transport,
        cx: &mut Cx<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_send(transport, cx))?;
        ready!(self.poll_turn(cx));
        let limit = if self.whole == 0 { TURN } else { PIECE };
        let room = limit.saturating_sub(self.held.len());
        let taken = bytes.get(..bytes.len().min(room)).unwrap_or_default();
        let before = self.held.len();
        self.held.extend(taken);
        let taken_in = self.held.bytes_mut().get_mut(before..).unwrap_or_default();
        let numbers = &mut self.numbers;
        if let Some(border) = self.borders.advance(taken_in, |seq| numbers.apply(seq)) {
            self.whole = before + border;
        }
        if self.held.len() >= TURN || self.whole > 0 && self.held.len() >= PIECE {
            self.pack(if self.whole == 0 { self.held.len() } else { self.whole });
        }
        Poll::Ready(Ok(taken.len()))
    }

    /// Compresses the first `len` held bytes into one packet.
    fn pack(&mut self, len: usize) {
        let piece = self.held.bytes().get(..len).unwrap_or_default();
        if piece.is_empty() {
            return;
        }
        self.out.make_room(piece.len() + COMPRESSED_HEADER_LEN);
        let mut compressor = self.compressor.borrow_mut();
        let made = compressor.packet(self.algorithm, &mut self.write_seq, piece, self.out.room());
        self.out.filled(made);
        self.worked += len;
        self.held.consume(len);
        self.whole = 0;
    }

    /// Writes all packets that were taken whole. What is held of the next is of no use to anybody.
    pub(crate) fn poll_drain(
        &mut self,
        transport: &mut Transport,
        cx: &mut Cx<'_>,
    ) -> Poll<io::Result<()>> {
        self.pack(self.whole);
        self.poll_send(transport, cx)
    }

    /// Writes all that was compressed.
    fn poll_send(&mut self, transport: &mut Transport, cx: &mut Cx<'_>) -> Poll<io::Result<()>> {
        while !self.out.is_empty() {
            match ready!(transport.poll_write(cx, self.out.bytes()))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => self.out.consume(count),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Pending, and woken at once, when others are to have their turn.
    fn poll_turn(&mut self, cx: &mut Cx<'_>) -> Poll<()> {
        if self.worked < TURN {
            return Poll::Ready(());
        }
        self.worked = 0;
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

fn invalid(error: highgate_mysql::packet::Malformed) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error.to_string())
}

#[cfg(test)]
mod tests;
