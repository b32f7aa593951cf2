//! COM_STMT_EXECUTE and COM_STMT_BULK_EXECUTE.

use crate::packet::{Malformed, Reader};

/// Where the statement id lies in the payload of every COM_STMT_ command but COM_STMT_PREPARE.
pub const STATEMENT_ID_AT: usize = 1;

/// Puts another statement id into the payload of a COM_STMT_ command; whether there was room.
#[must_use]
pub fn patch_statement_id(payload: &mut [u8], statement_id: u32) -> bool {
    match payload.get_mut(STATEMENT_ID_AT..).and_then(|tail| tail.first_chunk_mut::<4>()) {
        Some(place) => {
            *place = statement_id.to_le_bytes();
            true
        }
        None => false,
    }
}

/// The fixed part of COM_STMT_EXECUTE.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Execute<'a> {
    /// The statement id; 0xffff_ffff means the statement prepared last (MariaDB).
    pub statement_id: u32,
    /// Flags: 0 no cursor, 1 a read-only cursor, 8 (MySQL) the parameters are counted.
    pub flags: u8,
    /// All after the fixed part.
    pub tail: &'a [u8],
}

/// What follows the fixed part of COM_STMT_EXECUTE where the statement has parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ExecuteParams<'a> {
    /// One bit per parameter: it is NULL.
    pub null_bitmap: &'a [u8],
    /// Two bytes per parameter, where this execution brings types; else those of the one before
    /// count.
    pub types: Option<&'a [u8]>,
    /// Where the types begin, counted from the start of the payload.
    pub types_at: usize,
    /// The values.
    pub values: &'a [u8],
}

/// Bytes before the parameters: the command, the statement id, the flags, the iteration count.
const FIXED: usize = 10;

impl<'a> Execute<'a> {
    pub(super) fn parse(mut reader: Reader<'a>) -> Result<Self, Malformed> {
        let statement_id = reader.u32()?;
        let flags = reader.u8()?;
        reader.skip(4)?;
        Ok(Self { statement_id, flags, tail: reader.rest() })
    }

    /// Whether a cursor is asked for.
    #[must_use]
    pub const fn wants_cursor(&self) -> bool {
        self.flags & 0x07 != 0
    }

    /// The parts that follow, for a statement with `num_params` parameters, on a connection
    /// without CLIENT_QUERY_ATTRIBUTES (with it, names lie between the types).
    ///
    /// # Errors
    /// [`Malformed`] where the payload is too short for that many.
    pub fn params(&self, num_params: u16) -> Result<ExecuteParams<'a>, Malformed> {
        if num_params == 0 {
            return Ok(ExecuteParams::default());
        }
        let num_params = usize::from(num_params);
        let mut reader = Reader::new(self.tail);
        let null_bitmap = reader.bytes(num_params.div_ceil(8))?;
        let has_types = reader.u8()? == 1;
        let types_at = FIXED.saturating_add(reader.position());
        let types = match has_types {
            true => Some(reader.bytes(num_params.saturating_mul(2))?),
            false => None,
        };
        Ok(ExecuteParams { null_bitmap, types, types_at, values: reader.rest() })
    }
}

/// The fixed part of COM_STMT_BULK_EXECUTE.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BulkExecute<'a> {
    /// The statement id.
    pub statement_id: u32,
    /// Flags: 128 send types, 64 send unit results.
    pub flags: u16,
    /// All after the fixed part: types where they are sent, then rows.
    pub tail: &'a [u8],
}

impl<'a> BulkExecute<'a> {
    const SENDS_TYPES: u16 = 128;

    pub(super) fn parse(mut reader: Reader<'a>) -> Result<Self, Malformed> {
        let statement_id = reader.u32()?;
        let flags = reader.u16()?;
        Ok(Self { statement_id, flags, tail: reader.rest() })
    }

    /// The parameter types, where this execution brings them.
    #[must_use]
    pub fn types(&self, num_params: u16) -> Option<&'a [u8]> {
        let len = usize::from(num_params).saturating_mul(2);
        if self.flags & Self::SENDS_TYPES == 0 { None } else { self.tail.get(..len) }
    }
}
