//! Result sets of our own: answers by Highgate itself and by the admin SQL port.

use crate::bytes::le_uint;
use crate::capability::{Capabilities, StatusFlags};
use crate::packet::{PacketWriter, put_lenenc_bytes, put_lenenc_int};
use crate::reply::{ColumnDefinition, EofPacket, OkPacket, column_type};

/// utf8mb4_general_ci, which every client knows.
const UTF8MB4: u16 = 45;
/// The collation of numbers.
const BINARY: u16 = 63;

/// A column of our own result sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its type, see [`column_type`].
    pub kind: u8,
    /// Flags: 1 not null, 32 unsigned, 128 binary.
    pub flags: u16,
    /// The longest value in characters.
    pub length: u32,
}

impl<'a> Column<'a> {
    /// A column of that type.
    #[must_use]
    pub const fn of(name: &'a str, kind: u8) -> Self {
        let plain = match kind {
            column_type::VAR_STRING | column_type::STRING => Self::text(name),
            _ => Self::integer(name),
        };
        Self { kind, ..plain }
    }

    /// A column of texts.
    #[must_use]
    pub const fn text(name: &'a str) -> Self {
        Self { name, kind: column_type::VAR_STRING, flags: 0, length: 1024 }
    }

    /// A column of 64-bit integers.
    #[must_use]
    pub const fn integer(name: &'a str) -> Self {
        Self { name, kind: column_type::LONGLONG, flags: 0, length: 21 }
    }
}

/// Writes one result set with text rows; honours DEPRECATE_EOF.
#[derive(Debug)]
pub struct ResultSetWriter<'a> {
    writer: PacketWriter<'a>,
    capabilities: Capabilities,
    status: StatusFlags,
}

impl<'a> ResultSetWriter<'a> {
    /// Begins a result set at sequence id `seq` (1 for the first answer to a command), for a client
    /// with `capabilities`; `status` is sent with it.
    #[must_use]
    pub fn begin(
        out: &'a mut Vec<u8>,
        seq: u8,
        capabilities: Capabilities,
        status: StatusFlags,
        columns: &[Column<'_>],
    ) -> Self {
        let mut writer = PacketWriter::new(out, seq);
        writer.packet(|body| {
            put_lenenc_int(body, le_uint(columns.len()));
            if capabilities.contains(Capabilities::MARIADB_CACHE_METADATA) {
                body.push(1);
            }
        });
        for column in columns {
            writer.packet(|body| definition(column).encode(body, capabilities));
        }
        if !capabilities.contains(Capabilities::DEPRECATE_EOF) {
            writer.packet(|body| EofPacket { warnings: 0, status }.encode(body));
        }
        Self { writer, capabilities, status }
    }

    /// Appends a row; `None` is NULL.
    pub fn row<'v>(&mut self, values: impl IntoIterator<Item = Option<&'v [u8]>>) {
        self.writer.packet(|body| {
            for value in values {
                match value {
                    Some(value) => put_lenenc_bytes(body, value),
                    None => body.push(0xfb),
                }
            }
        });
    }

    /// Appends a row of texts.
    pub fn text_row<'v>(&mut self, values: impl IntoIterator<Item = &'v str>) {
        self.row(values.into_iter().map(|value| Some(value.as_bytes())));
    }

    /// Appends a row of one 64-bit number, as executions of prepared statements have it.
    pub fn binary_number(&mut self, value: i64) {
        self.writer.packet(|body| {
            // The header, and a bitmap that says that it is not NULL.
            body.extend([0, 0]);
            body.extend(value.to_le_bytes());
        });
    }

    /// Ends the result set; returns the sequence id that a further packet has.
    pub fn finish(mut self) -> u8 {
        let (status, capabilities) = (self.status, self.capabilities);
        self.writer.packet(|body| {
            if capabilities.contains(Capabilities::DEPRECATE_EOF) {
                OkPacket { is_eof: true, status, ..OkPacket::default() }.encode(body, capabilities);
            } else {
                EofPacket { warnings: 0, status }.encode(body);
            }
        });
        self.writer.next_seq()
    }
}

fn definition<'a>(column: &Column<'a>) -> ColumnDefinition<'a> {
    let is_text = matches!(column.kind, column_type::VAR_STRING | column_type::STRING);
    ColumnDefinition {
        schema: &[],
        table: &[],
        org_table: &[],
        name: column.name.as_bytes(),
        org_name: &[],
        extended: &[],
        collation: if is_text { UTF8MB4 } else { BINARY },
        length: column.length,
        kind: column.kind,
        flags: column.flags,
        decimals: 0,
        default: None,
    }
}
