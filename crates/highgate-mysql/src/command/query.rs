//! The text of COM_QUERY, behind the attributes that MySQL's newer clients put before it.

use crate::capability::Capabilities;
use crate::packet::{Malformed, Reader};

/// The text of a COM_QUERY and what lies before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueryText<'a> {
    /// The attributes as they lie, their count included; empty without CLIENT_QUERY_ATTRIBUTES.
    pub attributes: &'a [u8],
    /// The text.
    pub text: &'a [u8],
}

/// Splits what follows the command byte of COM_QUERY into attributes and text.
///
/// # Errors
/// [`Malformed`] where the attributes can't be decoded.
pub fn query_text(body: &[u8], capabilities: Capabilities) -> Result<QueryText<'_>, Malformed> {
    if !capabilities.contains(Capabilities::QUERY_ATTRIBUTES) {
        return Ok(QueryText { attributes: &[], text: body });
    }
    let mut reader = Reader::new(body);
    let count = reader.lenenc_int()?;
    let _sets = reader.lenenc_int()?;
    if count > 0 {
        skip_attributes(&mut reader, count)?;
    }
    let attributes = body.get(..reader.position()).unwrap_or_default();
    Ok(QueryText { attributes, text: reader.rest() })
}

/// Two passes over the types, none of them stored: the count is the peer's word.
fn skip_attributes(reader: &mut Reader<'_>, count: u64) -> Result<(), Malformed> {
    let bitmap_len = usize::try_from(count.div_ceil(8))
        .map_err(|_| Malformed::new("a number of attributes in bounds"))?;
    let bitmap = reader.bytes(bitmap_len)?;
    if reader.u8()? != 1 {
        return Err(Malformed::new("attributes with types"));
    }
    let mut types = *reader;
    for _ in 0..count {
        reader.skip(2)?;
        reader.lenenc_bytes()?;
    }
    for at in 0..count {
        let kind = types.u8()?;
        types.skip(1)?;
        types.lenenc_bytes()?;
        if !is_null(bitmap, at) {
            skip_value(reader, kind)?;
        }
    }
    Ok(())
}

fn is_null(bitmap: &[u8], at: u64) -> bool {
    let byte = usize::try_from(at / 8).ok().and_then(|byte| bitmap.get(byte));
    byte.is_some_and(|byte| byte & (1 << (at % 8)) != 0)
}

/// Passes over a value of the binary protocol.
fn skip_value(reader: &mut Reader<'_>, kind: u8) -> Result<(), Malformed> {
    match kind {
        // NULL
        0x06 => Ok(()),
        // TINY
        0x01 => reader.skip(1),
        // SHORT, YEAR
        0x02 | 0x0d => reader.skip(2),
        // LONG, FLOAT, INT24
        0x03 | 0x04 | 0x09 => reader.skip(4),
        // DOUBLE, LONGLONG
        0x05 | 0x08 => reader.skip(8),
        // TIMESTAMP, DATE, TIME, DATETIME
        0x07 | 0x0a | 0x0b | 0x0c => {
            let len = reader.u8()?;
            reader.skip(usize::from(len))
        }
        _ => reader.lenenc_bytes().map(|_| ()),
    }
}
