//! The scanner over a server's reply: where it ends and what its last packet said.
//!
//! Hot path: it runs over every byte that a server sends, in chunks cut anywhere. Rows are never
//! copied or interpreted; of each packet only the header and the first byte are read, and a packet
//! longer than the chunk costs one subtraction. Only packets that decide something (the first of a
//! result, OK, EOF, ERR) are kept, up to [`KEPT`] bytes, in a fixed array: nothing is allocated.
//!
//! ```text
//!            column count n         n definitions (+ EOF)            EOF / OK
//!   First ──────────────────→ Columns ──────────────────→ Rows ──┬──────────────→ Done
//!     │ OK, ERR                                            ↑     │ ERR ──────────→ Done
//!     └──→ Done, or First again with MORE_RESULTS_EXISTS   └─────┘ row
//! ```
//!
//! A packet whose sequence id is not the next one is [`ScanError::Sequence`]: the stream can't be
//! trusted any further, and the caller closes the connection. Only the events of a binary log may be
//! numbered anew.
//!
//! Quirk: behind an event that a semi-synchronous replica is to acknowledge, MariaDB 10.11 and MySQL
//! 9.7 begin at 1 again.

use crate::capability::{Capabilities, StatusFlags};
use crate::packet::{HEADER_LEN, Header, MAX_PAYLOAD, Malformed};

/// How many bytes of a deciding packet are kept.
pub const KEPT: usize = 1024;

/// The form of reply that a command has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CommandKind {
    /// COM_BINLOG_DUMP and its GTID form: events until EOF or ERR.
    BinlogDump,
    /// COM_STMT_EXECUTE and COM_STMT_BULK_EXECUTE: results with binary rows.
    Execute,
    /// COM_STMT_FETCH: rows until EOF.
    Fetch,
    /// COM_FIELD_LIST: column definitions until EOF.
    FieldList,
    /// COM_STMT_SEND_LONG_DATA, COM_STMT_CLOSE, COM_QUIT: nothing.
    NoReply,
    /// COM_STMT_PREPARE: a statement id, parameters and columns.
    Prepare,
    /// COM_QUERY, COM_PROCESS_INFO: results with text rows.
    Query,
    /// One OK, EOF or ERR: COM_PING, COM_INIT_DB, COM_RESET_CONNECTION and others.
    Simple,
    /// COM_STATISTICS: one packet of text.
    Statistics,
}

/// What one chunk brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scan {
    /// How many bytes of the chunk belong to this reply; less than the chunk only at its end, at
    /// [`ScanState::StateChanged`] and at [`ScanState::ResultEnded`].
    pub consumed: usize,
    /// Whether the reply goes on.
    pub state: ScanState,
}

/// Whether a reply goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScanState {
    /// The stream is not what the protocol prescribes; the connection must be closed.
    Broken(ScanError),
    /// The reply is complete.
    Done,
    /// More bytes are to come.
    More,
    /// The server asks for a local file: the client's packets must go to the server, then
    /// [`ReplyScanner::local_infile_sent`] continues. The name is [`ReplyScanner::local_infile`].
    NeedsLocalInfile,
    /// The bytes consumed end right after a result that another follows, where that was asked for by
    /// [`ReplyScanner::pause_between_results`]; the next [`ReplyScanner::feed`] goes on.
    ResultEnded,
    /// The bytes consumed end right after an OK that carries session state changes, in
    /// [`ReplyScanner::last_packet`], so that the caller can take them and rewrite the packet. Whether
    /// the reply is complete says [`ReplyScanner::is_done`]; the next [`ReplyScanner::feed`] goes on.
    StateChanged,
}

/// Why a reply is not what the protocol prescribes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ScanError {
    /// A packet that decides something can't be decoded.
    #[error("reply: {0}")]
    Malformed(#[from] Malformed),
    /// A packet is missing, doubled or belongs to another reply.
    #[error("reply: packet has sequence id {found}, expected {expected}")]
    Sequence {
        /// The next sequence id of this reply.
        expected: u8,
        /// The one that came.
        found: u8,
    },
    /// A byte came although the command has no reply, or the reply was complete.
    #[error("reply: bytes where none are due")]
    Unexpected,
}

/// What the reply to COM_STMT_PREPARE announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prepared {
    /// The server's id of the statement.
    pub statement_id: u32,
    /// Number of columns of its result, 0 where it has none.
    pub columns: u16,
    /// Number of its parameters.
    pub params: u16,
}

/// Code and SQLSTATE of an ERR packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerError {
    /// The error code.
    pub code: u16,
    /// The SQLSTATE; `HY000` where the server sent none.
    pub sqlstate: [u8; 5],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Columns { left: u64 },
    ColumnsEof,
    Done,
    FieldList,
    First,
    LocalInfile,
    PrepareColumns { left: u16 },
    PrepareColumnsEof,
    PrepareParams { left: u16 },
    PrepareParamsEof,
    Rows,
    Single,
    Text,
}

/// Why the current packet is or isn't kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Body {
    /// Decides something: kept, looked at when whole.
    Kept,
    /// A row, a definition or an event: passed over.
    Passed,
}

/// Incremental scanner of one reply; reused for the next by [`ReplyScanner::reset`].
#[derive(Clone)]
pub struct ReplyScanner {
    phase: Phase,
    kind: CommandKind,
    capabilities: Capabilities,
    body: Body,
    seq: u8,
    /// The last packet had the maximal length: the next one continues it.
    continued: bool,
    in_body: bool,
    left: u32,
    head: [u8; HEADER_LEN + 1],
    head_len: u8,
    kept_len: u16,
    /// Length of the deciding packet, which may be longer than what is kept of it.
    whole_len: u64,
    /// Headers of the packet: one, and one per continuation.
    headers: u32,
    /// The caller wants to see where a result ends that another follows.
    pauses: bool,
    /// The packet that ended last is to be seen by the caller before the next.
    stop: bool,
    /// It is an OK with session state changes.
    changed: bool,
    facts: Facts,
    kept: [u8; KEPT],
}

/// What is known of the reply so far.
#[derive(Debug, Clone, Copy, Default)]
struct Facts {
    status: Option<StatusFlags>,
    affected_rows: u64,
    last_insert_id: u64,
    warnings: u16,
    error: Option<ServerError>,
    rows: u64,
    columns: u64,
    results: u32,
    packets: u64,
    session_track: bool,
    prepared: Option<Prepared>,
    /// The rows are those of OUT parameters, behind which an OK follows.
    out_params: bool,
    bytes_passed: bool,
    first_packet_is_error: bool,
    started: bool,
}

impl ReplyScanner {
    /// A scanner of the reply to a command of `kind` on a connection with `capabilities`.
    #[must_use]
    pub fn new(kind: CommandKind, capabilities: Capabilities) -> Self {
        let mut scanner = Self {
            phase: Phase::Done,
            kind,
            capabilities,
            body: Body::Passed,
            seq: 1,
            continued: false,
            in_body: false,
            left: 0,
            head: [0; HEADER_LEN + 1],
            head_len: 0,
            kept_len: 0,
            whole_len: 0,
            headers: 0,
            pauses: false,
            stop: false,
            changed: false,
            facts: Facts::default(),
            kept: [0; KEPT],
        };
        scanner.reset(kind, capabilities);
        scanner
    }

    /// Starts over for the reply to another command.
    pub fn reset(&mut self, kind: CommandKind, capabilities: Capabilities) {
        self.phase = match kind {
            CommandKind::BinlogDump | CommandKind::Fetch => Phase::Rows,
            CommandKind::Execute | CommandKind::Prepare | CommandKind::Query => Phase::First,
            CommandKind::FieldList => Phase::FieldList,
            CommandKind::NoReply => Phase::Done,
            CommandKind::Simple => Phase::Single,
            CommandKind::Statistics => Phase::Text,
        };
        self.kind = kind;
        self.capabilities = capabilities;
        self.body = Body::Passed;
        self.seq = 1;
        self.continued = false;
        self.in_body = false;
        self.left = 0;
        self.head_len = 0;
        self.kept_len = 0;
        self.whole_len = 0;
        self.headers = 0;
        self.pauses = false;
        self.stop = false;
        self.changed = false;
        self.facts = Facts::default();
    }

    /// Sets the sequence id of the next packet: a command of several packets is answered from
    /// the number of its packets on, others from 1.
    pub fn expect_seq(&mut self, seq: u8) {
        self.seq = seq;
    }

    /// Stops with [`ScanState::ResultEnded`] wherever a result ends that another follows, until the
    /// next [`ReplyScanner::reset`].
    pub fn pause_between_results(&mut self) {
        self.pauses = true;
    }

    /// The client's file went to the server; its answer starts with sequence id `next_seq`.
    pub fn local_infile_sent(&mut self, next_seq: u8) {
        if self.phase == Phase::LocalInfile {
            self.phase = Phase::First;
            self.seq = next_seq;
        }
    }

    /// Scans `chunk`, the next bytes from the server. Of a chunk that reaches past the end of the
    /// reply, or past a packet that the caller is to see, the rest is not consumed. Once broken, the
    /// scanner must not be fed any more.
    pub fn feed(&mut self, chunk: &[u8]) -> Scan {
        if self.phase == Phase::Done && !self.in_body {
            let state = if chunk.is_empty() || self.facts.started {
                ScanState::Done
            } else {
                ScanState::Broken(ScanError::Unexpected)
            };
            return Scan { consumed: 0, state };
        }
        self.facts.bytes_passed |= !chunk.is_empty();
        self.facts.started |= !chunk.is_empty();
        match self.run(chunk) {
            Ok(consumed) => Scan { consumed, state: self.take_state() },
            Err((consumed, why)) => Scan { consumed, state: ScanState::Broken(why) },
        }
    }

    fn run(&mut self, chunk: &[u8]) -> Result<usize, (usize, ScanError)> {
        let mut at = 0;
        loop {
            if self.in_body {
                at = self.body(chunk, at).map_err(|why| (at, why))?;
                if self.in_body {
                    return Ok(at);
                }
            }
            if self.stop || matches!(self.phase, Phase::Done | Phase::LocalInfile) {
                return Ok(at);
            }
            if self.phase == Phase::Rows && self.head_len == 0 && !self.continued {
                at = self.skip_rows(chunk, at);
                if self.in_body {
                    continue;
                }
            }
            if let Some(end) = self.whole(chunk, at)? {
                at = end;
                continue;
            }
            let begun;
            (at, begun) = self.head(chunk, at).map_err(|why| (at, why))?;
            if !begun {
                return Ok(at);
            }
        }
    }

    /// The tight loop: whole rows inside the chunk, none of them first, last, long or cut. Stops at
    /// the first packet that is anything else.
    fn skip_rows(&mut self, chunk: &[u8], mut at: usize) -> usize {
        let mut rows = 0_u64;
        let mut seq = self.seq;
        while let Some(&[a, b, c, id, first]) =
            chunk.get(at..).and_then(|rest| rest.first_chunk::<{ HEADER_LEN + 1 }>())
        {
            let len = u32::from_le_bytes([a, b, c, 0]) as usize;
            let end = at.wrapping_add(HEADER_LEN).wrapping_add(len);
            if id != seq || first >= 0xfe || len == 0 || len == MAX_PAYLOAD || end > chunk.len() {
                break;
            }
            seq = seq.wrapping_add(1);
            rows = rows.wrapping_add(1);
            at = end;
        }
        self.seq = seq;
        self.facts.rows = self.facts.rows.wrapping_add(rows);
        self.facts.packets = self.facts.packets.wrapping_add(rows);
        at
    }

    /// A packet that lies in the chunk as a whole, as nearly all do: done at once. Gives where it ends;
    /// anything out of the ordinary is left to those who go step by step.
    fn whole(&mut self, chunk: &[u8], at: usize) -> Result<Option<usize>, (usize, ScanError)> {
        let rest = chunk.get(at..).unwrap_or_default();
        let Some(&[a, b, c, id, first]) = rest.first_chunk::<{ HEADER_LEN + 1 }>() else {
            return Ok(None);
        };
        let len = u32::from_le_bytes([a, b, c, 0]);
        let end = (len as usize).saturating_add(HEADER_LEN);
        let Some(payload) = rest.get(HEADER_LEN..end).filter(|payload| !payload.is_empty()) else {
            return Ok(None);
        };
        if id != self.seq || len as usize == MAX_PAYLOAD || self.head_len != 0 || self.continued {
            return Ok(None);
        }
        self.seq = id.wrapping_add(1);
        self.facts.packets = self.facts.packets.wrapping_add(1);
        self.kept_len = 0;
        self.whole_len = 0;
        self.headers = 1;
        self.body = self.decide(len, Some(first));
        let behind_first = at.saturating_add(HEADER_LEN + 1);
        match self.body {
            Body::Passed => self.passed(),
            Body::Kept => {
                self.keep(payload);
                self.decided().map_err(|why| (behind_first, why))?;
            }
        }
        Ok(Some(at.saturating_add(end)))
    }

    /// Collects a header and, unless the packet is empty, its first byte; then decides what to
    /// do with the body. Also says whether a packet began, or the chunk ended before.
    fn head(&mut self, chunk: &[u8], mut at: usize) -> Result<(usize, bool), ScanError> {
        // Nearly always all of it is there.
        let rest = chunk.get(at..).unwrap_or_default();
        if let Some(head @ &[a, b, c, ..]) = rest.first_chunk::<{ HEADER_LEN + 1 }>()
            && self.head_len == 0
            && !self.continued
            && (a | b | c) != 0
        {
            self.head = *head;
            self.head_len = 5;
            at = at.saturating_add(HEADER_LEN + 1);
        }
        loop {
            let have = usize::from(self.head_len);
            if have >= HEADER_LEN {
                let header = self.header();
                let expected = self.seq;
                if header.seq != expected && self.kind != CommandKind::BinlogDump {
                    return Err(ScanError::Sequence { expected, found: header.seq });
                }
                if self.continued || header.len == 0 || have > HEADER_LEN {
                    break;
                }
            }
            let Some(byte) = chunk.get(at) else {
                return Ok((at, false));
            };
            if let Some(place) = self.head.get_mut(have) {
                *place = *byte;
            }
            self.head_len = self.head_len.saturating_add(1);
            at = at.saturating_add(1);
        }
        self.begin()?;
        Ok((at, true))
    }

    fn header(&self) -> Header {
        let [a, b, c, seq, _] = self.head;
        Header::parse([a, b, c, seq])
    }

    fn begin(&mut self) -> Result<(), ScanError> {
        let header = self.header();
        let first = (usize::from(self.head_len) > HEADER_LEN).then_some(self.head[HEADER_LEN]);
        self.head_len = 0;
        self.seq = header.seq.wrapping_add(1);
        self.left = header.len;
        self.in_body = true;
        if !self.continued {
            self.facts.packets = self.facts.packets.wrapping_add(1);
            self.body = self.decide(header.len, first);
            self.kept_len = 0;
            self.whole_len = 0;
            self.headers = 0;
        }
        self.headers = self.headers.saturating_add(1);
        self.continued = header.is_continued();
        if let Some(first) = first {
            self.keep(&[first]);
            self.left = self.left.saturating_sub(1);
        }
        if self.left == 0 { self.end() } else { Ok(()) }
    }

    /// Whether a packet decides something.
    fn decide(&self, len: u32, first: Option<u8>) -> Body {
        let is_terminal = match first {
            Some(0xff) => true,
            Some(0xfe) => {
                if self.capabilities.contains(Capabilities::DEPRECATE_EOF) {
                    (len as usize) < MAX_PAYLOAD
                } else {
                    len < 9
                }
            }
            _ => false,
        };
        let passed = match self.phase {
            Phase::Columns { .. } | Phase::PrepareColumns { .. } | Phase::PrepareParams { .. } => {
                first != Some(0xff)
            }
            Phase::FieldList | Phase::Rows => !is_terminal,
            Phase::Text => first != Some(0xff),
            _ => false,
        };
        if passed { Body::Passed } else { Body::Kept }
    }

    fn body(&mut self, chunk: &[u8], at: usize) -> Result<usize, ScanError> {
        let rest = chunk.get(at..).unwrap_or_default();
        let take = rest.len().min(self.left as usize);
        if self.body == Body::Kept {
            self.keep(rest.get(..take).unwrap_or_default());
        }
        self.left = self.left.saturating_sub(u32::try_from(take).unwrap_or(u32::MAX));
        if self.left == 0 {
            self.end()?;
        }
        Ok(at.saturating_add(take))
    }

    fn keep(&mut self, bytes: &[u8]) {
        if self.body == Body::Passed {
            return;
        }
        self.whole_len = self.whole_len.saturating_add(bytes.len() as u64);
        let have = usize::from(self.kept_len);
        let room = self.kept.get_mut(have..).unwrap_or_default();
        let take = room.len().min(bytes.len());
        if let (Some(to), Some(from)) = (room.get_mut(..take), bytes.get(..take)) {
            to.copy_from_slice(from);
        }
        self.kept_len = self.kept_len.saturating_add(u16::try_from(take).unwrap_or(0));
    }

    /// A packet is whole; one that is continued by another is not.
    fn end(&mut self) -> Result<(), ScanError> {
        self.in_body = false;
        if self.continued {
            return Ok(());
        }
        match self.body {
            Body::Passed => {
                self.passed();
                Ok(())
            }
            Body::Kept => self.decided(),
        }
    }

    fn passed(&mut self) {
        match &mut self.phase {
            Phase::Columns { left } => {
                *left = left.saturating_sub(1);
                if *left == 0 {
                    self.phase = self.after_definitions(Phase::ColumnsEof, Phase::Rows);
                }
            }
            Phase::PrepareParams { left } => {
                *left = left.saturating_sub(1);
                if *left == 0 {
                    let next = self.prepare_columns();
                    self.phase = self.after_definitions(Phase::PrepareParamsEof, next);
                }
            }
            Phase::PrepareColumns { left } => {
                *left = left.saturating_sub(1);
                if *left == 0 {
                    self.phase = self.after_definitions(Phase::PrepareColumnsEof, Phase::Done);
                }
            }
            Phase::Rows | Phase::FieldList => {
                self.facts.rows = self.facts.rows.wrapping_add(1);
            }
            Phase::Text => self.phase = Phase::Done,
            _ => {}
        }
    }

    fn after_definitions(&self, with_eof: Phase, without: Phase) -> Phase {
        if self.capabilities.contains(Capabilities::DEPRECATE_EOF) { without } else { with_eof }
    }

    fn prepare_columns(&self) -> Phase {
        match self.facts.prepared {
            Some(Prepared { columns: left @ 1.., .. }) => Phase::PrepareColumns { left },
            _ => Phase::Done,
        }
    }
}

mod decide;

#[cfg(test)]
mod tests;
