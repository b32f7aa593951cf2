//! ERR packets.

use crate::packet::{Malformed, Reader};

/// An ERR packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ErrPacket<'a> {
    /// The error code.
    pub code: u16,
    /// The SQLSTATE; missing before the login is complete and from some servers.
    pub sqlstate: Option<[u8; 5]>,
    /// The message.
    pub message: &'a [u8],
}

impl<'a> ErrPacket<'a> {
    /// Parses a payload that starts with 0xff. An ERR without SQLSTATE is accepted.
    ///
    /// # Errors
    /// [`Malformed`] where it isn't an ERR.
    pub fn parse(payload: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(payload);
        if reader.u8()? != 0xff {
            return Err(Malformed::new("an ERR packet"));
        }
        let code = reader.u16()?;
        let mut with_state = reader;
        let sqlstate = match with_state.u8() {
            Ok(b'#') => with_state.array::<5>().ok(),
            _ => None,
        };
        if sqlstate.is_some() {
            reader = with_state;
        }
        Ok(Self { code, sqlstate, message: reader.rest() })
    }

    /// Appends the payload to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(0xff);
        out.extend_from_slice(&self.code.to_le_bytes());
        if let Some(sqlstate) = &self.sqlstate {
            out.push(b'#');
            out.extend_from_slice(sqlstate);
        }
        out.extend_from_slice(self.message);
    }

    /// The message as text, with replacement characters where it isn't UTF-8.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(self.message).into_owned()
    }
}
