//! The MySQL packets of the lean server and of the load, written to cost next to nothing.

use sha1::{Digest as _, Sha1};

pub(crate) const DEPRECATE_EOF: u32 = 1 << 24;
/// LONG_PASSWORD, LONG_FLAG, CONNECT_WITH_DB, PROTOCOL_41, TRANSACTIONS, SECURE_CONNECTION, PLUGIN_AUTH,
/// MULTI_RESULTS.
const BASE: u32 = 0x1 | 0x4 | 0x8 | 0x200 | 0x2000 | 0x8000 | 1 << 17 | 1 << 19;
/// MULTI_STATEMENTS is left out on purpose; SESSION_TRACK is what servers of today offer.
const SERVER: u32 = BASE | DEPRECATE_EOF | 1 << 23;
const SSL: u32 = 0x800;
const CHALLENGE: &[u8; 20] = b"abcdefghijklmnopqrst";

/// Appends one packet; the payload is shorter than 16 MiB.
pub(crate) fn packet(out: &mut Vec<u8>, sequence: u8, payload: &[u8]) {
    let [a, b, c, ..] = (payload.len() as u32).to_le_bytes();
    out.extend_from_slice(&[a, b, c, sequence]);
    out.extend_from_slice(payload);
}

/// The whole packet at the start of `bytes`: sequence number, payload, and length with its header.
pub(crate) fn first(bytes: &[u8]) -> Option<(u8, &[u8], usize)> {
    let &[a, b, c, sequence] = bytes.first_chunk::<4>()?;
    let end = 4 + u32::from_le_bytes([a, b, c, 0]) as usize;
    Some((sequence, bytes.get(4..end)?, end))
}

pub(crate) fn greeting() -> Vec<u8> {
    let [c0, c1, c2, c3] = SERVER.to_le_bytes();
    let mut p = b"\x0a5.5.5-10.11.19-MariaDB-lean\0\x01\0\0\0abcdefgh\0".to_vec();
    p.extend_from_slice(&[c0, c1, 45, 2, 0, c2, c3, 21]);
    p.extend_from_slice(&[0; 10]);
    p.extend_from_slice(b"ijklmnopqrst\0mysql_native_password\0");
    let mut out = Vec::new();
    packet(&mut out, 0, &p);
    out
}

pub(crate) const OK: &[u8] = &[0, 0, 0, 2, 0, 0, 0];

/// A text result as bytes, numbered from 1.
pub(crate) fn result(columns: &[&str], rows: &[Vec<String>], new_eof: bool) -> Vec<u8> {
    let mut out = Vec::new();
    let mut sequence = 1_u8;
    let mut put = |out: &mut Vec<u8>, payload: &[u8]| {
        packet(out, sequence, payload);
        sequence = sequence.wrapping_add(1);
    };
    put(&mut out, &[columns.len() as u8]);
    for name in columns {
        put(&mut out, &column(name, 253));
    }
    if !new_eof {
        put(&mut out, &[0xfe, 0, 0, 2, 0]);
    }
    for row in rows {
        let mut payload = Vec::new();
        row.iter().for_each(|cell| text(&mut payload, cell));
        put(&mut out, &payload);
    }
    put(&mut out, if new_eof { &[0xfe, 0, 0, 2, 0, 0, 0] } else { &[0xfe, 0, 0, 2, 0] });
    out
}

/// A result of one column in parts: what precedes the rows, 1024 rows of a KiB, and the ending.
///
/// Sequence numbers have one byte, so after 1024 packets the same rows can follow again.
pub(crate) fn endless(new_eof: bool) -> [Vec<u8>; 3] {
    let (mut head, mut rows, mut end) = (Vec::new(), Vec::new(), Vec::new());
    packet(&mut head, 1, &[1]);
    packet(&mut head, 2, &column("c", 253));
    let mut sequence = 3_u8;
    if !new_eof {
        packet(&mut head, sequence, &[0xfe, 0, 0, 2, 0]);
        sequence += 1;
    }
    let mut row = Vec::new();
    text(&mut row, &"x".repeat(1020));
    for step in 0..1024_u32 {
        packet(&mut rows, sequence.wrapping_add(step as u8), &row);
    }
    let ending: &[u8] = if new_eof { &[0xfe, 0, 0, 2, 0, 0, 0] } else { &[0xfe, 0, 0, 2, 0] };
    packet(&mut end, sequence, ending);
    [head, rows, end]
}

/// The same single value in the binary protocol.
pub(crate) fn binary_result(name: &str, value: &str, new_eof: bool) -> Vec<u8> {
    let mut out = Vec::new();
    let mut row = vec![0, 0];
    text(&mut row, value);
    packet(&mut out, 1, &[1]);
    packet(&mut out, 2, &column(name, 253));
    if new_eof {
        packet(&mut out, 3, &row);
        packet(&mut out, 4, &[0xfe, 0, 0, 2, 0, 0, 0]);
    } else {
        packet(&mut out, 3, &[0xfe, 0, 0, 2, 0]);
        packet(&mut out, 4, &row);
        packet(&mut out, 5, &[0xfe, 0, 0, 2, 0]);
    }
    out
}

/// The answer to COM_STMT_PREPARE of a statement with one column.
pub(crate) fn prepared(id: u32, parameters: u8, new_eof: bool) -> Vec<u8> {
    let mut out = Vec::new();
    let [a, b, c, d] = id.to_le_bytes();
    packet(&mut out, 1, &[0, a, b, c, d, 1, 0, parameters, 0, 0, 0, 0]);
    let mut sequence = 2;
    for (count, kind) in [(parameters, 253), (1, 253)] {
        for _ in 0..count {
            packet(&mut out, sequence, &column("c", kind));
            sequence += 1;
        }
        if count > 0 && !new_eof {
            packet(&mut out, sequence, &[0xfe, 0, 0, 2, 0]);
            sequence += 1;
        }
    }
    out
}

fn column(name: &str, kind: u8) -> Vec<u8> {
    let mut p = Vec::new();
    for part in ["def", "bench", "t", "t", name, name] {
        text(&mut p, part);
    }
    p.extend_from_slice(&[12, 45, 0, 252, 3, 0, 0, kind, 0, 0, 0, 0, 0]);
    p
}

fn text(out: &mut Vec<u8>, text: &str) {
    match text.len() {
        length @ 0..=250 => out.push(length as u8),
        length => {
            let [a, b, ..] = (length as u32).to_le_bytes();
            out.extend_from_slice(&[0xfc, a, b]);
        }
    }
    out.extend_from_slice(text.as_bytes());
}

/// The capabilities that a greeting offers.
pub(crate) fn offered(greeting: &[u8]) -> u32 {
    let byte = |offset: usize| {
        let end = greeting.iter().position(|&byte| byte == 0);
        let at = end.map(|end| end + offset);
        at.and_then(|at| greeting.get(at)).copied().unwrap_or(0)
    };
    u32::from_le_bytes([byte(14), byte(15), byte(19), byte(20)])
}

/// The client's answer to a greeting, with `mysql_native_password`; the result ending is the new one where `wanted`
/// allows it and the server offers it.
pub(crate) fn login(greeting: &[u8], user: &str, password: &str, wanted: u32) -> Vec<u8> {
    let mut out = Vec::new();
    packet(&mut out, 1, &answer(greeting, user, password, wanted));
    out
}

/// The short form of the answer that asks for TLS.
pub(crate) fn ssl_request(greeting: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let answer = answer(greeting, "", "", DEPRECATE_EOF | SSL);
    packet(&mut out, 1, answer.get(..32).unwrap_or_default());
    out
}

/// The whole answer, as it follows inside TLS.
pub(crate) fn login_in_tls(greeting: &[u8], user: &str, password: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let answer = answer(greeting, user, password, DEPRECATE_EOF | SSL);
    packet(&mut out, 2, &answer);
    out
}

fn answer(greeting: &[u8], user: &str, password: &str, wanted: u32) -> Vec<u8> {
    let mut p = (BASE | wanted & offered(greeting)).to_le_bytes().to_vec();
    p.extend_from_slice(&16_777_216_u32.to_le_bytes());
    p.push(45);
    p.extend_from_slice(&[0; 23]);
    p.extend_from_slice(user.as_bytes());
    p.push(0);
    p.push(20);
    p.extend_from_slice(&scramble(&challenge(greeting), password));
    p.extend_from_slice(b"bench\0mysql_native_password\0");
    p
}

/// The answer to an authentication switch.
pub(crate) fn switch(request: &[u8], sequence: u8, password: &str) -> Vec<u8> {
    let challenge = request.split(|&byte| byte == 0).nth(1).unwrap_or(CHALLENGE);
    let mut out = Vec::new();
    packet(&mut out, sequence, &scramble(challenge, password));
    out
}

fn challenge(greeting: &[u8]) -> Vec<u8> {
    let after = greeting.iter().position(|&byte| byte == 0).map_or(0, |end| end + 5);
    let mut out = greeting.get(after..after + 8).unwrap_or_default().to_vec();
    out.extend_from_slice(greeting.get(after + 27..after + 39).unwrap_or_default());
    out
}

fn scramble(challenge: &[u8], password: &str) -> [u8; 20] {
    let once: [u8; 20] = Sha1::digest(password.as_bytes()).into();
    let twice: [u8; 20] = Sha1::digest(once).into();
    let mut mix = Sha1::new();
    mix.update(challenge);
    mix.update(twice);
    let mut out: [u8; 20] = mix.finalize().into();
    out.iter_mut().zip(once).for_each(|(byte, other)| *byte ^= other);
    out
}
