//! What an exchange needs while it runs: the buffer that the answer streams through, and how far it was
//! scanned and passed on. It knows neither peer.

use std::{collections::VecDeque, rc::Rc, time::Duration};

use highgate_core::retry::{self, Delivery, Progress, ServerSaid};
use highgate_mysql::{
    Capabilities,
    packet::{HEADER_LEN, MAX_PAYLOAD, Malformed, PacketWriter, split_packet},
    reply::{ErrPacket, OkPacket, strip_session_track},
    scan::{CommandKind, ReplyScanner, ScanState},
};

use crate::buffer::{Buffer, BufferPool};

/// No answer that is awaited as a whole is longer, and no name of a file.
const MOST_HELD: usize = 64 * 1024;

/// What an exchange needs while it runs; pooled per worker.
#[derive(Debug)]
pub(crate) struct Space {
    pub(crate) scanner: ReplyScanner,
    pub(crate) buffer: Buffer,
    /// Session state information of the answer's OK packets.
    pub(crate) changes: Vec<u8>,
    /// Some of that was too long to be had as a whole, and is not there.
    pub(crate) is_cut: bool,
    /// Bytes of the buffer that were scanned and not passed on yet.
    pub(super) scanned: usize,
    pub(super) state: ScanState,
    /// Bytes received from the server.
    pub(crate) received: u64,
    /// From the command to the begin of its answer.
    pub(crate) latency: Duration,
    /// Bytes passed on to the client.
    pub(crate) passed_on: u64,
    /// The client did not ask for changes of session state: they are taken out.
    hides_changes: bool,
    /// Where results end that others follow, in bytes of the answer; seen only where the client's
    /// connection is compressed.
    results: VecDeque<u64>,
    /// Bytes at the end of what was scanned that wait for the rest of their packet.
    held: usize,
    capabilities: Capabilities,
}

impl Space {
    pub(crate) fn new(pool: Rc<BufferPool>) -> Self {
        Self {
            scanner: ReplyScanner::new(CommandKind::Simple, Capabilities::empty()),
            buffer: Buffer::new(pool),
            changes: Vec::new(),
            is_cut: false,
            scanned: 0,
            state: ScanState::More,
            received: 0,
            latency: Duration::ZERO,
            passed_on: 0,
            hides_changes: false,
            results: VecDeque::new(),
            held: 0,
            capabilities: Capabilities::empty(),
        }
    }

    /// The client's file is over; the server's answer has this sequence id.
    pub(crate) fn file_sent(&mut self, next: u8) {
        self.scanner.local_infile_sent(next);
        self.state = ScanState::More;
        if self.scanned < self.buffer.len() {
            self.scan();
        }
    }

    /// Whether more is taken of what a server says before it has the file: no error is longer.
    pub(super) fn takes_early(&self) -> bool {
        self.buffer.is_empty() || !self.buffer.is_full()
    }

    /// The buffer got so many bytes more, which are to be scanned when the file is over.
    pub(super) fn came_early(&mut self, count: usize) {
        self.buffer.filled(count);
        self.received += count as u64;
    }

    /// The error that a server said before it had the file.
    pub(crate) fn early_error(&self) -> Option<String> {
        let (_, payload, _) = split_packet(self.buffer.bytes().get(self.scanned..)?)?;
        let error = ErrPacket::parse(payload).ok()?;
        Some(format!("{} {}", error.code, error.text()))
    }

    /// Whether changes of session state are taken out of what is passed on.
    pub(crate) fn hide_changes(&mut self, hides: bool) {
        self.hides_changes = hides;
    }

    /// The client is to be told of each result's end.
    pub(crate) fn mark_results(&mut self) {
        self.scanner.pause_between_results();
    }

    /// Writes the client's id of a statement over the server's, in the answer to a preparation.
    pub(crate) fn patch_statement_id(&mut self, id: u32) {
        if let Some([0, place @ ..]) = self.buffer.bytes_mut().get_mut(4..9) {
            place.copy_from_slice(&id.to_le_bytes());
        }
    }

    /// Makes it ready for the answer to a command of `kind`.
    pub(crate) fn reset(&mut self, kind: CommandKind, capabilities: Capabilities, seq: u8) {
        self.scanner.reset(kind, capabilities);
        self.scanner.expect_seq(seq);
        self.buffer.consume(usize::MAX);
        self.changes.clear();
        self.is_cut = false;
        self.scanned = 0;
        self.state = ScanState::More;
        self.received = 0;
        self.latency = Duration::ZERO;
        self.passed_on = 0;
        self.hides_changes = false;
        self.results.clear();
        // It is kept for others: hundreds of results in one answer are rare.
        self.results.shrink_to(64);
        self.held = 0;
        self.capabilities = capabilities;
    }

    /// What the server said first, for the decision to ask another one.
    fn said(&self) -> ServerSaid {
        match self.scanner.error() {
            Some(error) if self.scanner.first_packet_is_error() => {
                let text =
                    ErrPacket::parse(self.scanner.last_packet()).map_or(&[][..], |e| e.message);
                let word = retry::word(error.code, text);
                ServerSaid::Error { code: error.code, sqlstate: error.sqlstate, word }
            }
            _ if self.received > 0 => ServerSaid::Something,
            _ => ServerSaid::Nothing,
        }
    }

    /// Whether the answer's first packet is there, or enough of it.
    ///
    /// A part of it is not: in an OK to a preparation the statement's id is written over, and what of an error came
    /// does not say which. One that is longer than any of these is taken as it comes.
    pub(crate) fn can_be_judged(&self) -> bool {
        let is_long = || self.buffer.len() >= MOST_HELD;
        self.state != ScanState::More || self.scanner.is_first_known() || is_long()
    }

    /// Whether all of the answer is there, and it is neither an error nor to be passed on in parts.
    pub(crate) fn is_whole(&self) -> bool {
        self.state == ScanState::Done
            && !self.scanner.first_packet_is_error()
            && self.results.is_empty()
    }

    /// Bytes that were judged and are to be passed on.
    pub(super) fn owed(&self) -> usize {
        self.scanned - self.held.min(self.scanned)
    }

    /// Bytes that are to be passed on before the client is told of anything.
    pub(super) fn owed_of_result(&self) -> usize {
        let ends = self.results.front().map(|end| end.saturating_sub(self.passed_on));
        let left = ends.and_then(|left| usize::try_from(left).ok());
        left.map_or(self.owed(), |left| left.min(self.owed()))
    }

    /// Whether a result was passed on to its end, and another is to follow. Says so once.
    pub(super) fn take_result_end(&mut self) -> bool {
        let ends = self.results.front() == Some(&self.passed_on);
        if ends {
            self.results.pop_front();
        }
        ends
    }

    /// Whether the client expects a packet of its answer next, and nothing else.
    pub(crate) fn is_between_packets(&self) -> bool {
        self.owed() == 0 && self.scanner.is_at_packet_boundary()
    }

    /// Takes the server's demand for a file, its latest packet, out of what is passed on. Gives that
    /// packet's sequence id.
    pub(crate) fn drop_demand(&mut self) -> u8 {
        self.scanned = self.scanned.saturating_sub(self.scanner.changed_packet_len());
        self.scanner.next_seq().wrapping_sub(1)
    }

    /// The client took that many bytes.
    pub(super) fn passed(&mut self, count: usize) {
        self.passed_on += count as u64;
        self.buffer.consume(count);
        self.scanned -= count;
    }

    /// Says more behind the error that is all of the answer.
    pub(crate) fn explain_error(&mut self, more: &str) {
        let Ok(error) = ErrPacket::parse(self.scanner.last_packet()) else { return };
        let is_all = self.state == ScanState::Done && self.scanned == self.buffer.len();
        if !is_all || self.passed_on > 0 || !self.scanner.first_packet_is_error() {
            return;
        }
        let message = [error.message, more.as_bytes()].concat();
        let (mut payload, mut packet) = (Vec::new(), Vec::new());
        ErrPacket { message: &message, ..error }.encode(&mut payload);
        let seq = self.scanner.next_seq().wrapping_sub(1);
        PacketWriter::new(&mut packet, seq).payload(&payload);
        self.buffer.consume(usize::MAX);
        self.buffer.extend(&packet);
        self.scanned = packet.len();
    }

    /// How far the exchange came.
    pub(crate) fn progress(&self, delivery: Delivery, answered: bool) -> Progress {
        Progress { delivery, answered, server: self.said() }
    }
}

impl Space {
    /// The packet just scanned tells of changes of session state: keeps them for the settling, and
    /// takes them out for a client that did not ask.
    fn take_changes(&mut self) {
        let wire = self.scanner.changed_packet_len();
        // Of a long one the begin is kept; nearly always all of it lies here as well.
        let lies = || self.buffer.bytes().get(self.scanned.checked_sub(wire)?..self.scanned);
        let packet = if self.scanner.last_packet_is_whole() {
            Some(self.scanner.last_packet())
        } else {
            lies().filter(|_| wire <= MAX_PAYLOAD).and_then(|lies| lies.get(HEADER_LEN..))
        };
        let ok = packet.and_then(|packet| OkPacket::parse(packet, self.capabilities).ok());
        let (Some(packet), Some(ok)) = (packet, ok) else {
            self.is_cut = true;
            return;
        };
        self.changes.extend_from_slice(ok.session_track);
        if !self.hides_changes || wire > self.scanned {
            return;
        }
        let mut plain = Vec::with_capacity(packet.len() + HEADER_LEN);
        let seq = self.scanner.next_seq().wrapping_sub(1);
        let mut stripped = Vec::with_capacity(packet.len());
        if strip_session_track(packet, self.capabilities, &mut stripped).is_ok() {
            PacketWriter::new(&mut plain, seq).payload(&stripped);
            self.buffer.replace(self.scanned - wire..self.scanned, &plain);
            self.scanned -= wire.saturating_sub(plain.len());
        }
    }

    /// The buffer got so many bytes more.
    pub(super) fn filled(&mut self, count: usize) {
        self.buffer.filled(count);
        self.received += count as u64;
        self.scan();
    }

    fn scan(&mut self) {
        loop {
            let fresh = self.buffer.bytes().get(self.scanned..).unwrap_or_default();
            let scan = self.scanner.feed(fresh);
            self.state = scan.state;
            self.scanned += scan.consumed;
            match scan.state {
                ScanState::StateChanged => self.take_changes(),
                ScanState::ResultEnded => {}
                _ => break,
            }
            if self.scanner.is_done() {
                self.state = ScanState::Done;
                break;
            }
            if self.scanner.pauses_here() {
                self.results.push_back(self.passed_on + self.scanned as u64);
            }
        }
        let is_over = matches!(self.state, ScanState::Done | ScanState::NeedsLocalInfile);
        // A packet that may have to be rewritten is passed on when it is whole; a demand for a file when it is
        // judged: whoever had a part of it could be given the rest by the next packet.
        let may_be_demand = self.scanner.may_be_demand();
        let is_held = self.hides_changes || may_be_demand;
        self.held = if is_held { self.scanner.pending_kept() } else { 0 };
        if may_be_demand && self.held > MOST_HELD {
            self.state =
                ScanState::Broken(Malformed::new("a file's name of reasonable length").into());
        }
        if is_over && self.scanned < self.buffer.len() {
            self.state = ScanState::Broken(highgate_mysql::scan::ScanError::Unexpected);
        }
    }

    /// Takes the bytes that were scanned.
    pub(crate) fn take_scanned(&mut self) -> Vec<u8> {
        let bytes = self.buffer.bytes().get(..self.scanned).unwrap_or_default().to_vec();
        self.buffer.consume(self.scanned);
        self.scanned = 0;
        bytes
    }
}

#[cfg(test)]
mod tests;
