//! Packets that Highgate sends to clients in its own name.

use highgate_mysql::{
    Answer, Capabilities, StatusFlags, error_code,
    packet::PacketWriter,
    reply::{Column, EofPacket, OkPacket, ResultSetWriter},
};

/// The packet for a client that is refused before the greeting.
pub(crate) fn too_many_connections(why: &str) -> Vec<u8> {
    let mut packet = Vec::new();
    let text = format!("Too many connections: {why}");
    error_code::ER_CON_COUNT_ERROR.answer(text).encode(&mut packet, 0);
    packet
}

/// What a client is told whose write no server takes: 1290 with its SQLSTATE is what drivers with failover
/// logic know. `executed` says what is known of tries before.
pub(crate) fn no_writes(executed: &str) -> Answer {
    error_code::ER_OPTION_PREVENTS_STATEMENT
        .answer(format!("No server takes writes at the moment (read-only); {executed}"))
}

/// An ERR packet.
pub(crate) fn error(answer: &Answer, seq: u8) -> Vec<u8> {
    let mut packet = Vec::new();
    answer.encode(&mut packet, seq);
    packet
}

/// An OK packet with `info`.
pub(crate) fn ok(capabilities: Capabilities, status: StatusFlags, info: &str, seq: u8) -> Vec<u8> {
    let mut packet = Vec::new();
    PacketWriter::new(&mut packet, seq).packet(|body| {
        OkPacket {
            is_eof: false,
            affected_rows: 0,
            last_insert_id: 0,
            status,
            warnings: 0,
            info: info.as_bytes(),
            session_track: &[],
        }
        .encode(body, capabilities);
    });
    packet
}

/// A number that Highgate knows itself.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Number<'a> {
    pub(crate) column: &'a str,
    pub(crate) value: i64,
    pub(crate) unsigned: bool,
    /// For an execution of a prepared statement.
    pub(crate) is_binary: bool,
}

/// A result set of one number.
pub(crate) fn number(
    capabilities: Capabilities,
    status: StatusFlags,
    number: Number<'_>,
    seq: u8,
) -> Vec<u8> {
    // Not null, binary; as servers describe their functions.
    const FLAGS: u16 = 1 | 128;
    const UNSIGNED: u16 = 32;
    let mut packet = Vec::new();
    let flags = if number.unsigned { FLAGS | UNSIGNED } else { FLAGS };
    let columns = [Column { flags, ..Column::integer(number.column) }];
    let mut writer = ResultSetWriter::begin(&mut packet, seq, capabilities, status, &columns);
    if number.is_binary {
        writer.binary_number(number.value);
    } else {
        writer.text_row([number.value.to_string().as_str()]);
    }
    writer.finish();
    packet
}

/// The one packet of COM_STATISTICS.
pub(crate) fn text(text: &str, seq: u8) -> Vec<u8> {
    let mut packet = Vec::new();
    PacketWriter::new(&mut packet, seq).payload(text.as_bytes());
    packet
}

/// The end of an option change: EOF, or OK in its place.
pub(crate) fn eof(capabilities: Capabilities, status: StatusFlags, seq: u8) -> Vec<u8> {
    let mut packet = Vec::new();
    PacketWriter::new(&mut packet, seq).packet(|body| {
        if capabilities.contains(Capabilities::DEPRECATE_EOF) {
            OkPacket {
                is_eof: true,
                affected_rows: 0,
                last_insert_id: 0,
                status,
                warnings: 0,
                info: &[],
                session_track: &[],
            }
            .encode(body, capabilities);
        } else {
            EofPacket { warnings: 0, status }.encode(body);
        }
    });
    packet
}
