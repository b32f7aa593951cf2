//! What the packets say that decide something, and what is known after them.

use super::{Body, CommandKind, Phase, Prepared, ReplyScanner, ScanError, ScanState, ServerError};
use crate::capability::{Capabilities, StatusFlags};
use crate::packet::{HEADER_LEN, Malformed, Reader};

/// The code under which MariaDB reports progress in the form of an ERR packet.
const PROGRESS: u16 = 0xffff;

/// The first byte of a demand for a file.
const LOCAL_INFILE: u8 = 0xfb;

/// The longest prefix of a packet that any decision needs: an OK without its text.
const LOOKED_AT: usize = 32;

/// Servers have at most 4,096; what is beyond what the protocol's other counts can say is hostile.
const MOST_COLUMNS: u64 = u16::MAX as u64;

impl ReplyScanner {
    /// The kept packet is whole: moves to the phase that it leads to.
    pub(super) fn decided(&mut self) -> Result<(), ScanError> {
        self.body = Body::Passed;
        let mut head = [0; LOOKED_AT];
        let payload = self.copy_kept(&mut head);
        let is_first = self.facts.packets == 1;
        match (payload.first(), self.phase) {
            (Some(0xff), _) => self.failed(payload, is_first)?,
            // As clients read it: at the beginning of an answer a long one is a number of columns.
            (Some(0xfe), Phase::First)
                if payload.len() >= 9 && self.kind != CommandKind::Prepare =>
            {
                self.result_set(payload)?;
            }
            (Some(0xfe), Phase::First | Phase::Single | Phase::Rows | Phase::FieldList)
            | (Some(0xfe), Phase::ColumnsEof) => self.eof(payload)?,
            (Some(0xfe), Phase::PrepareParamsEof) => self.phase = self.prepare_columns(),
            (Some(0xfe), Phase::PrepareColumnsEof) => self.phase = Phase::Done,
            (Some(0), Phase::First) if self.kind == CommandKind::Prepare => {
                self.prepare_ok(payload)?;
            }
            (Some(0), Phase::First | Phase::Single) => {
                // The last result is this one, which has no rows.
                (self.facts.columns, self.facts.rows) = (0, 0);
                self.ok(payload)?;
            }
            (Some(&LOCAL_INFILE), Phase::First) => self.phase = Phase::LocalInfile,
            (Some(_), Phase::First) if self.kind != CommandKind::Prepare => {
                self.result_set(payload)?;
            }
            _ => return Err(Malformed::new("OK, EOF or ERR").into()),
        }
        Ok(())
    }

    fn copy_kept<'h>(&self, head: &'h mut [u8; LOOKED_AT]) -> &'h [u8] {
        let len = usize::from(self.kept_len).min(LOOKED_AT);
        if let (Some(to), Some(from)) = (head.get_mut(..len), self.kept.get(..len)) {
            to.copy_from_slice(from);
        }
        head.get(..len).unwrap_or_default()
    }

    fn failed(&mut self, payload: &[u8], is_first: bool) -> Result<(), ScanError> {
        let mut reader = Reader::new(payload);
        reader.skip(1)?;
        let code = reader.u16()?;
        if code == PROGRESS && self.kind != CommandKind::Simple {
            return Ok(());
        }
        let sqlstate = match reader.peek() {
            Some(b'#') => {
                reader.skip(1)?;
                reader.array().unwrap_or(*b"HY000")
            }
            _ => *b"HY000",
        };
        self.facts.error = Some(ServerError { code, sqlstate });
        self.facts.first_packet_is_error = is_first;
        self.phase = Phase::Done;
        Ok(())
    }

    /// An EOF, or an OK in its place: after definitions in the old form, or at the end.
    fn eof(&mut self, payload: &[u8]) -> Result<(), ScanError> {
        let is_after_columns = self.phase == Phase::ColumnsEof;
        let deprecated = self.capabilities.contains(Capabilities::DEPRECATE_EOF);
        let is_ok = payload.len() >= 7;
        // Who ends a result in the form that was not agreed on may mean a part of it. (The events of a
        // binary log end in an EOF in both forms.)
        let is_result =
            matches!(self.kind, CommandKind::Execute | CommandKind::Fetch | CommandKind::Query)
                && matches!(self.phase, Phase::ColumnsEof | Phase::Rows);
        if is_result && is_ok != deprecated {
            return Err(Malformed::new("the end of a result in the form agreed on").into());
        }
        if deprecated && is_ok {
            return self.ok(payload);
        }
        let mut reader = Reader::new(payload);
        reader.skip(1)?;
        if reader.remaining() >= 4 {
            self.facts.warnings = self.facts.warnings.max(reader.u16()?);
            self.facts.status = Some(StatusFlags::from_bits_retain(reader.u16()?));
        }
        let mut status = self.facts.status.unwrap_or_default();
        // Quirk: MariaDB says so of every result of a routine that has opened a cursor within itself;
        // their rows follow, and so do further results.
        let is_cursor = self.kind == CommandKind::Execute
            && status.contains(StatusFlags::CURSOR_EXISTS)
            && !status.contains(StatusFlags::MORE_RESULTS_EXISTS);
        if is_after_columns && !is_cursor {
            self.facts.out_params = status.contains(StatusFlags::PS_OUT_PARAMS);
            self.phase = Phase::Rows;
        } else {
            // Quirk: MySQL 9.7 says only behind the definitions of OUT parameters that an OK follows.
            let follows = std::mem::take(&mut self.facts.out_params);
            status.set(
                StatusFlags::MORE_RESULTS_EXISTS,
                follows || status.contains(StatusFlags::MORE_RESULTS_EXISTS),
            );
            self.result_ended(status);
        }
        Ok(())
    }

    fn ok(&mut self, payload: &[u8]) -> Result<(), ScanError> {
        let mut reader = Reader::new(payload);
        reader.skip(1)?;
        self.facts.affected_rows = reader.lenenc_int()?;
        self.facts.last_insert_id = reader.lenenc_int()?;
        let status = StatusFlags::from_bits_retain(reader.u16()?);
        self.facts.warnings = self.facts.warnings.max(reader.u16()?);
        self.facts.status = Some(status);
        self.changed = status.contains(StatusFlags::SESSION_STATE_CHANGED)
            && self.capabilities.contains(Capabilities::SESSION_TRACK);
        self.stop = self.changed;
        self.facts.session_track |= self.changed;
        self.result_ended(status);
        Ok(())
    }

    fn result_ended(&mut self, status: StatusFlags) {
        self.facts.results = self.facts.results.saturating_add(1);
        let has_more = status.contains(StatusFlags::MORE_RESULTS_EXISTS)
            && matches!(self.kind, CommandKind::Execute | CommandKind::Query);
        self.phase = if has_more { Phase::First } else { Phase::Done };
        self.stop |= has_more && self.pauses;
    }

    fn result_set(&mut self, payload: &[u8]) -> Result<(), ScanError> {
        let mut reader = Reader::new(payload);
        let columns = reader.lenenc_int()?;
        if columns == 0 {
            return Err(Malformed::new("a result set with columns").into());
        }
        // Clients make room for as many as they are told of.
        if columns > MOST_COLUMNS {
            return Err(Malformed::new("a result set of at most 65,535 columns").into());
        }
        // MariaDB leaves the definitions out where the client is known to have them.
        let has_definitions = !self.capabilities.contains(Capabilities::MARIADB_CACHE_METADATA)
            || reader.peek() != Some(0);
        self.facts.columns = columns;
        self.facts.rows = 0;
        self.phase = if has_definitions {
            Phase::Columns { left: columns }
        } else {
            self.after_definitions(Phase::ColumnsEof, Phase::Rows)
        };
        Ok(())
    }

    fn prepare_ok(&mut self, payload: &[u8]) -> Result<(), ScanError> {
        let mut reader = Reader::new(payload);
        reader.skip(1)?;
        let statement_id = reader.u32()?;
        let columns = reader.u16()?;
        let params = reader.u16()?;
        if reader.remaining() >= 3 {
            reader.skip(1)?;
            self.facts.warnings = self.facts.warnings.max(reader.u16()?);
        }
        self.facts.prepared = Some(Prepared { statement_id, columns, params });
        self.phase = match params {
            0 => self.prepare_columns(),
            left => Phase::PrepareParams { left },
        };
        Ok(())
    }

    /// The state after a chunk; what stopped it is told once.
    pub(super) fn take_state(&mut self) -> ScanState {
        let stopped = std::mem::take(&mut self.stop);
        match self.phase {
            _ if std::mem::take(&mut self.changed) => ScanState::StateChanged,
            _ if stopped => ScanState::ResultEnded,
            Phase::Done => ScanState::Done,
            Phase::LocalInfile => ScanState::NeedsLocalInfile,
            _ => ScanState::More,
        }
    }

    /// Whether the reply is complete.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.phase == Phase::Done && !self.in_body
    }

    /// Status flags of the last OK or EOF; `None` before one. An ERR has none, and leaves those of the
    /// result before it in place.
    #[must_use]
    pub fn status(&self) -> Option<StatusFlags> {
        self.facts.status
    }

    /// Affected rows of the last OK.
    #[must_use]
    pub fn affected_rows(&self) -> u64 {
        self.facts.affected_rows
    }

    /// The id that the last OK says was generated.
    #[must_use]
    pub fn last_insert_id(&self) -> u64 {
        self.facts.last_insert_id
    }

    /// The most warnings that an OK or EOF counts: those of one result may outlive the next.
    #[must_use]
    pub fn warnings(&self) -> u16 {
        self.facts.warnings
    }

    /// The error that ended the reply.
    #[must_use]
    pub fn error(&self) -> Option<ServerError> {
        self.facts.error
    }

    /// Rows of the last result so far; events of a binary log, definitions of a field list.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.facts.rows
    }

    /// Columns of the last result; 0 if it is an OK.
    #[must_use]
    pub fn columns(&self) -> u64 {
        self.facts.columns
    }

    /// Results that are complete, OKs included.
    #[must_use]
    pub fn results(&self) -> u32 {
        self.facts.results
    }

    /// Packets begun, continuations not counted.
    #[must_use]
    pub fn packets(&self) -> u64 {
        self.facts.packets
    }

    /// Whether an OK of this reply carries session state changes.
    #[must_use]
    pub fn session_track_present(&self) -> bool {
        self.facts.session_track
    }

    /// What COM_STMT_PREPARE was answered.
    #[must_use]
    pub fn prepared(&self) -> Option<Prepared> {
        self.facts.prepared
    }

    /// Whether any byte of this reply was consumed.
    #[must_use]
    pub fn bytes_passed(&self) -> bool {
        self.facts.bytes_passed
    }

    /// Whether the first packet of the reply is an ERR.
    #[must_use]
    pub fn first_packet_is_error(&self) -> bool {
        self.facts.first_packet_is_error
    }

    /// The last deciding packet, as far as it is kept: OK, EOF or ERR once the reply is done.
    #[must_use]
    pub fn last_packet(&self) -> &[u8] {
        self.kept.get(..usize::from(self.kept_len)).unwrap_or_default()
    }

    /// Whether [`ReplyScanner::last_packet`] is the whole packet.
    #[must_use]
    pub fn last_packet_is_whole(&self) -> bool {
        self.whole_len == u64::from(self.kept_len)
    }

    /// How many bytes the packet in [`ReplyScanner::last_packet`] took in the stream, headers
    /// included: at [`ScanState::StateChanged`] and [`ScanState::NeedsLocalInfile`] the last so many that
    /// were consumed, by this [`ReplyScanner::feed`] and those before it.
    #[must_use]
    pub fn changed_packet_len(&self) -> usize {
        let headers = (self.headers as usize).saturating_mul(HEADER_LEN);
        usize::try_from(self.whole_len).unwrap_or(usize::MAX).saturating_add(headers)
    }

    /// How many of the last bytes consumed belong to a packet that decides something and is not
    /// complete, header included, so that a caller that may have to rewrite it can hold them back. A
    /// packet of which only the header came may turn out to be such; 0 at a boundary and inside a
    /// row or definition. Grows while the packet does, and is 0 once that is complete or proves to
    /// be a row.
    #[must_use]
    pub fn pending_kept(&self) -> usize {
        let header = usize::from(self.head_len);
        match (self.in_body || self.continued, self.body) {
            (false, _) => header,
            (true, Body::Kept) => self.changed_packet_len().saturating_add(header),
            (true, Body::Passed) => 0,
        }
    }

    /// Whether the reply's first packet is known: all of it, or that it is a row or the like, which decides
    /// nothing.
    #[must_use]
    pub fn is_first_known(&self) -> bool {
        match self.facts.packets {
            0 => false,
            1 => self.body == Body::Passed || !(self.in_body || self.continued),
            _ => true,
        }
    }

    /// Whether the packet of which [`ReplyScanner::pending_kept`] bytes came may be the demand for a file.
    #[must_use]
    pub fn may_be_demand(&self) -> bool {
        let is_begun = self.in_body || self.continued;
        self.phase == Phase::First && (!is_begun || self.kept.first() == Some(&LOCAL_INFILE))
    }

    /// The name of the file that the server asks for; cut at the kept length, and then refused
    /// by the caller, since no whole name can be compared.
    #[must_use]
    pub fn local_infile(&self) -> Option<&[u8]> {
        if self.phase != Phase::LocalInfile || !self.last_packet_is_whole() {
            return None;
        }
        self.last_packet().get(1..)
    }

    /// The sequence id that the next packet of this reply has.
    #[must_use]
    pub fn next_seq(&self) -> u8 {
        self.seq
    }

    /// Whether [`ReplyScanner::pause_between_results`] was asked for, and stands at such a place.
    #[must_use]
    pub fn pauses_here(&self) -> bool {
        let is_between = self.phase == Phase::First && self.facts.results > 0;
        self.pauses && is_between && self.is_at_packet_boundary()
    }

    /// Whether the scanner stands between two packets, so that one may be put in or left out.
    #[must_use]
    pub fn is_at_packet_boundary(&self) -> bool {
        !self.in_body && self.head_len == 0 && !self.continued
    }
}

impl std::fmt::Debug for ReplyScanner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReplyScanner")
            .field("kind", &self.kind)
            .field("phase", &self.phase)
            .field("seq", &self.seq)
            .field("left", &self.left)
            .field("facts", &self.facts)
            .finish_non_exhaustive()
    }
}
