//! Column definitions.

use crate::capability::Capabilities;
use crate::packet::{Malformed, Reader, put_lenenc_bytes};

/// The column types that Highgate's own result sets use, and those that parameters have.
pub mod column_type {
    /// A 32-bit integer.
    pub const LONG: u8 = 0x03;
    /// A 64-bit float.
    pub const DOUBLE: u8 = 0x05;
    /// NULL.
    pub const NULL: u8 = 0x06;
    /// A 64-bit integer.
    pub const LONGLONG: u8 = 0x08;
    /// A date with time.
    pub const DATETIME: u8 = 0x0c;
    /// A blob.
    pub const BLOB: u8 = 0xfc;
    /// A string of varying length.
    pub const VAR_STRING: u8 = 0xfd;
    /// A string.
    pub const STRING: u8 = 0xfe;
}

/// A column definition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ColumnDefinition<'a> {
    /// Schema.
    pub schema: &'a [u8],
    /// Table or its alias.
    pub table: &'a [u8],
    /// Table.
    pub org_table: &'a [u8],
    /// Column or its alias.
    pub name: &'a [u8],
    /// Column.
    pub org_name: &'a [u8],
    /// MariaDB's extended metadata, where negotiated.
    pub extended: &'a [u8],
    /// Collation id.
    pub collation: u16,
    /// The longest value in bytes.
    pub length: u32,
    /// The type, see [`column_type`].
    pub kind: u8,
    /// Flags: 1 not null, 32 unsigned, 128 binary …
    pub flags: u16,
    /// Digits after the point.
    pub decimals: u8,
    /// The default value, in a reply to COM_FIELD_LIST only.
    pub default: Option<&'a [u8]>,
}

impl<'a> ColumnDefinition<'a> {
    /// Parses the payload of a column definition.
    ///
    /// # Errors
    /// [`Malformed`] where it isn't one.
    pub fn parse(payload: &'a [u8], capabilities: Capabilities) -> Result<Self, Malformed> {
        let mut reader = Reader::new(payload);
        let _catalog = reader.lenenc_bytes()?;
        let schema = reader.lenenc_bytes()?;
        let table = reader.lenenc_bytes()?;
        let org_table = reader.lenenc_bytes()?;
        let name = reader.lenenc_bytes()?;
        let org_name = reader.lenenc_bytes()?;
        let extended = if capabilities.contains(Capabilities::MARIADB_EXTENDED_METADATA) {
            reader.lenenc_bytes()?
        } else {
            &[]
        };
        let mut fixed = Reader::new(reader.lenenc_bytes()?);
        let collation = fixed.u16()?;
        let length = fixed.u32()?;
        let kind = fixed.u8()?;
        let flags = fixed.u16()?;
        let decimals = fixed.u8()?;
        let default = if reader.is_empty() { None } else { reader.nullable_bytes()? };
        Ok(Self {
            schema,
            table,
            org_table,
            name,
            org_name,
            extended,
            collation,
            length,
            kind,
            flags,
            decimals,
            default,
        })
    }

    /// Appends the payload to `out`.
    pub fn encode(&self, out: &mut Vec<u8>, capabilities: Capabilities) {
        put_lenenc_bytes(out, b"def");
        for text in [self.schema, self.table, self.org_table, self.name, self.org_name] {
            put_lenenc_bytes(out, text);
        }
        if capabilities.contains(Capabilities::MARIADB_EXTENDED_METADATA) {
            put_lenenc_bytes(out, self.extended);
        }
        out.push(0x0c);
        out.extend_from_slice(&self.collation.to_le_bytes());
        out.extend_from_slice(&self.length.to_le_bytes());
        out.push(self.kind);
        out.extend_from_slice(&self.flags.to_le_bytes());
        out.push(self.decimals);
        out.extend_from_slice(&[0, 0]);
        if let Some(default) = self.default {
            put_lenenc_bytes(out, default);
        }
    }
}
