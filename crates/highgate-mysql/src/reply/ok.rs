//! OK and EOF packets.

use crate::capability::{Capabilities, StatusFlags};
use crate::packet::{Malformed, Reader, put_lenenc_bytes, put_lenenc_int};
use crate::reply::StateChanges;

/// An OK packet; also in place of an EOF packet, with header 0xfe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OkPacket<'a> {
    /// Whether it stands in place of an EOF packet: header 0xfe.
    pub is_eof: bool,
    /// Affected rows.
    pub affected_rows: u64,
    /// The first generated id.
    pub last_insert_id: u64,
    /// Status flags.
    pub status: StatusFlags,
    /// Number of warnings.
    pub warnings: u16,
    /// A text for people, as `Rows matched: 1`.
    pub info: &'a [u8],
    /// Session state changes, see [`OkPacket::state_changes`].
    pub session_track: &'a [u8],
}

impl<'a> OkPacket<'a> {
    /// Parses a payload that starts with 0x00, or with 0xfe in place of an EOF packet.
    ///
    /// # Errors
    /// [`Malformed`] where it isn't an OK.
    pub fn parse(payload: &'a [u8], capabilities: Capabilities) -> Result<Self, Malformed> {
        let mut reader = Reader::new(payload);
        let is_eof = match reader.u8()? {
            0 => false,
            0xfe => true,
            _ => return Err(Malformed::new("an OK packet")),
        };
        let affected_rows = reader.lenenc_int()?;
        let last_insert_id = reader.lenenc_int()?;
        let status = StatusFlags::from_bits_retain(reader.u16()?);
        let warnings = reader.u16()?;
        let mut ok =
            Self { is_eof, affected_rows, last_insert_id, status, warnings, ..Self::default() };
        if capabilities.contains(Capabilities::SESSION_TRACK) {
            if !reader.is_empty() {
                ok.info = reader.lenenc_bytes()?;
            }
            if status.contains(StatusFlags::SESSION_STATE_CHANGED) && !reader.is_empty() {
                ok.session_track = reader.lenenc_bytes()?;
            }
        } else {
            ok.info = plain_info(reader);
        }
        Ok(ok)
    }

    /// Appends the payload to `out`, in the form that a peer with `capabilities` reads.
    pub fn encode(&self, out: &mut Vec<u8>, capabilities: Capabilities) {
        let tracks = capabilities.contains(Capabilities::SESSION_TRACK);
        let mut status = self.status;
        status.set(StatusFlags::SESSION_STATE_CHANGED, tracks && !self.session_track.is_empty());
        out.push(if self.is_eof { 0xfe } else { 0 });
        put_lenenc_int(out, self.affected_rows);
        put_lenenc_int(out, self.last_insert_id);
        out.extend_from_slice(&status.bits().to_le_bytes());
        out.extend_from_slice(&self.warnings.to_le_bytes());
        let has_track = status.contains(StatusFlags::SESSION_STATE_CHANGED);
        if !self.info.is_empty() || has_track {
            put_lenenc_bytes(out, self.info);
        }
        if has_track {
            put_lenenc_bytes(out, self.session_track);
        }
    }

    /// The session state changes, in the order in which the server sent them.
    #[must_use]
    pub const fn state_changes(&self) -> StateChanges<'a> {
        StateChanges::new(self.session_track)
    }
}

/// Servers write a length before the text although the oldest description of the packet has none.
fn plain_info(mut reader: Reader<'_>) -> &[u8] {
    let mut with_length = reader;
    match with_length.lenenc_bytes() {
        Ok(info) if with_length.is_empty() => info,
        _ => reader.rest(),
    }
}

/// Appends the OK packet in `payload`, as sent under `from`, without its session state changes to
/// `out`, for a client that did not ask for them.
///
/// # Errors
/// [`Malformed`] where it isn't an OK; nothing is appended.
pub fn strip_session_track(
    payload: &[u8],
    from: Capabilities,
    out: &mut Vec<u8>,
) -> Result<(), Malformed> {
    let ok = OkPacket::parse(payload, from)?;
    ok.encode(out, from.difference(Capabilities::SESSION_TRACK));
    Ok(())
}

/// An EOF packet in its old form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EofPacket {
    /// Number of warnings.
    pub warnings: u16,
    /// Status flags.
    pub status: StatusFlags,
}

impl EofPacket {
    /// Parses a payload that starts with 0xfe and is shorter than 9 bytes.
    ///
    /// # Errors
    /// [`Malformed`] where it isn't an EOF.
    pub fn parse(payload: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(payload);
        if reader.u8()? != 0xfe || payload.len() >= 9 {
            return Err(Malformed::new("an EOF packet"));
        }
        if reader.is_empty() {
            return Ok(Self::default());
        }
        let warnings = reader.u16()?;
        Ok(Self { warnings, status: StatusFlags::from_bits_retain(reader.u16()?) })
    }

    /// Appends the payload to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(0xfe);
        out.extend_from_slice(&self.warnings.to_le_bytes());
        out.extend_from_slice(&self.status.bits().to_le_bytes());
    }
}
