//! The few packets that a scripted server sends, written by hand.

/// The largest payload of one packet; a payload of that length goes on in the next.
pub const MAX_PAYLOAD: usize = 0xff_ffff;
/// COM_QUIT.
pub const COM_QUIT: u8 = 0x01;
/// SERVER_STATUS_AUTOCOMMIT.
pub const AUTOCOMMIT: u16 = 0x0002;
/// SERVER_STATUS_IN_TRANS.
pub const IN_TRANS: u16 = 0x0001;
/// SERVER_MORE_RESULTS_EXISTS.
pub const MORE_RESULTS: u16 = 0x0008;
/// SERVER_STATUS_CURSOR_EXISTS.
pub const CURSOR_EXISTS: u16 = 0x0040;
/// SERVER_STATUS_LAST_ROW_SENT.
pub const LAST_ROW_SENT: u16 = 0x0080;

const DEPRECATE_EOF: u32 = 1 << 24;

/// Capabilities that the greeting announces (without CLIENT_SSL, compression and DEPRECATE_EOF).
const CAPABILITIES: u32 = 0x0000_0001 // LONG_PASSWORD
    | 0x0002 // FOUND_ROWS
    | 0x0004 // LONG_FLAG
    | 0x0008 // CONNECT_WITH_DB
    | 0x0080 // LOCAL_FILES
    | 0x0200 // PROTOCOL_41
    | 0x2000 // TRANSACTIONS
    | 0x8000 // SECURE_CONNECTION
    | 1 << 16 // MULTI_STATEMENTS
    | 1 << 17 // MULTI_RESULTS
    | 1 << 18 // PS_MULTI_RESULTS
    | 1 << 19 // PLUGIN_AUTH
    | 1 << 20 // CONNECT_ATTRS
    | 1 << 21 // PLUGIN_AUTH_LENENC_CLIENT_DATA
    | 1 << 23; // SESSION_TRACK

/// One payload as packets, from this sequence number on.
pub fn frame(sequence: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(payload.len() + 4);
    let mut sequence = sequence;
    let mut rest = payload;
    loop {
        let (part, after) = rest.split_at(rest.len().min(MAX_PAYLOAD));
        out.extend_from_slice(part.len().to_le_bytes().get(..3).unwrap_or_default());
        out.push(sequence);
        out.extend_from_slice(part);
        if part.len() < MAX_PAYLOAD {
            return out;
        }
        sequence = sequence.wrapping_add(1);
        rest = after;
    }
}

/// Several payloads, numbered on.
pub fn frames(sequence: u8, payloads: &[Vec<u8>]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut sequence = sequence;
    for payload in payloads {
        out.extend_from_slice(&frame(sequence, payload));
        let count = payload.len() / MAX_PAYLOAD + 1;
        sequence = sequence.wrapping_add((count & 0xff) as u8);
    }
    out
}

/// A protocol 10 greeting with `mysql_native_password` and a fixed challenge.
pub fn greeting(version: &str, connection: u32, deprecate_eof: bool) -> Vec<u8> {
    greeting_extended(version, connection, deprecate_eof, 0)
}

/// The same, with MariaDB's extended capabilities; none of them where that is 0.
pub fn greeting_extended(
    version: &str,
    connection: u32,
    deprecate_eof: bool,
    extended: u32,
) -> Vec<u8> {
    let capabilities = CAPABILITIES | if deprecate_eof { DEPRECATE_EOF } else { 0 };
    // MariaDB leaves the bit clear that all others set, where extended ones follow.
    let capabilities = if extended == 0 { capabilities } else { capabilities & !1 };
    let [c0, c1, c2, c3] = capabilities.to_le_bytes();
    let mut out = vec![10];
    out.extend_from_slice(version.as_bytes());
    out.push(0);
    out.extend_from_slice(&connection.to_le_bytes());
    out.extend_from_slice(b"abcdefgh\0");
    out.extend_from_slice(&[c0, c1, 45]);
    out.extend_from_slice(&AUTOCOMMIT.to_le_bytes());
    out.extend_from_slice(&[c2, c3, 21]);
    out.extend_from_slice(&[0; 6]);
    out.extend_from_slice(&extended.to_le_bytes());
    out.extend_from_slice(b"ijklmnopqrst\0mysql_native_password\0");
    out
}

/// Whether a login packet asks for CLIENT_DEPRECATE_EOF.
pub fn wants_deprecate_eof(login: &[u8]) -> bool {
    // Bit 24 is the lowest of the fourth byte.
    login.get(3).is_some_and(|byte| byte & 1 != 0)
}

/// An OK packet with a status word.
pub fn ok(status: u16) -> Vec<u8> {
    let [low, high] = status.to_le_bytes();
    vec![0, 0, 0, low, high, 0, 0]
}

/// An ERR packet.
pub fn err(code: u16, state: &str, text: &str) -> Vec<u8> {
    let mut out = vec![0xff];
    out.extend_from_slice(&code.to_le_bytes());
    out.push(b'#');
    out.extend_from_slice(state.as_bytes());
    out.extend_from_slice(text.as_bytes());
    out
}

/// A whole text result of VARCHAR columns, as payloads.
pub fn rows(columns: &[String], rows: &[Vec<Option<String>>], deprecate_eof: bool) -> Vec<Vec<u8>> {
    let rows: Vec<_> = rows.iter().map(|row| text_row(row)).collect();
    result(AUTOCOMMIT, columns, &rows, deprecate_eof)
}

/// A result with a status word, whose rows are encoded already; without columns only rows and their end.
/// Where a cursor is open, it ends behind the columns.
pub fn result(
    status: u16,
    columns: &[String],
    rows: &[Vec<u8>],
    deprecate_eof: bool,
) -> Vec<Vec<u8>> {
    let end = if deprecate_eof { end_as_ok(status) } else { eof(status) };
    let mut out = Vec::new();
    if !columns.is_empty() {
        out.push(lenenc(columns.len() as u64));
        out.extend(columns.iter().map(|name| column(name)));
        if !deprecate_eof {
            out.push(eof(status));
        }
        if status & CURSOR_EXISTS != 0 {
            out.extend(deprecate_eof.then_some(end));
            return out;
        }
    }
    out.extend_from_slice(rows);
    out.push(end);
    out
}

/// The answer to COM_STMT_PREPARE.
pub fn prepared(
    id: u32,
    params: &[String],
    columns: &[String],
    deprecate_eof: bool,
) -> Vec<Vec<u8>> {
    let count = |names: &[String]| u16::try_from(names.len()).unwrap_or(u16::MAX).to_le_bytes();
    let numbers = [id.to_le_bytes().as_slice(), &count(columns), &count(params)].concat();
    let mut out = vec![[&[0][..], &numbers, &[0, 0, 0]].concat()];
    for names in [params, columns] {
        out.extend(names.iter().map(|name| column(name)));
        if !names.is_empty() && !deprecate_eof {
            out.push(eof(AUTOCOMMIT));
        }
    }
    out
}

/// An EOF packet.
pub fn eof(status: u16) -> Vec<u8> {
    let [low, high] = status.to_le_bytes();
    vec![0xfe, 0, 0, low, high]
}

fn end_as_ok(status: u16) -> Vec<u8> {
    let [low, high] = status.to_le_bytes();
    vec![0xfe, 0, 0, low, high, 0, 0]
}

/// One row of the text protocol.
pub fn text_row(cells: &[Option<String>]) -> Vec<u8> {
    let mut out = Vec::new();
    for cell in cells {
        match cell {
            None => out.push(0xfb),
            Some(text) => string(&mut out, text),
        }
    }
    out
}

/// A length-encoded integer.
pub fn lenenc(value: u64) -> Vec<u8> {
    let bytes = value.to_le_bytes();
    let (mark, count) = match value {
        0..=0xfa => (None, 1),
        0xfb..=0xffff => (Some(0xfc), 2),
        0x1_0000..=0xff_ffff => (Some(0xfd), 3),
        _ => (Some(0xfe), 8),
    };
    mark.into_iter().chain(bytes.into_iter().take(count)).collect()
}

fn column(name: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for text in ["def", "", "", "", name, name] {
        string(&mut out, text);
    }
    // Fixed part: utf8mb4_general_ci, length 1020, VAR_STRING, no flags, no decimals.
    out.extend_from_slice(&[12, 45, 0, 252, 3, 0, 0, 253, 0, 0, 0, 0, 0]);
    out
}

fn string(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(&lenenc(text.len() as u64));
    out.extend_from_slice(text.as_bytes());
}
