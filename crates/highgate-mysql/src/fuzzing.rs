//! The bodies of the fuzz targets, and a short run of each on every `cargo test`.
//!
//! A target takes any bytes and must neither panic nor hold more memory than the bytes account for.

use crate::auth::{NATIVE, Secret};
use crate::capability::{Capabilities, StatusFlags};
use crate::client_login::{ClientLogin, ClientLoginSettings, Nonce, Relay};
use crate::command::{Command, query_text};
use crate::compress::{Algorithm, COMPRESSED_HEADER_LEN, CompressedHeader, Expander, decompress};
use crate::greeting::Greeting;
use crate::login::{AuthSwitch, ChangeUser, FirstPacket, LoginRequest};
use crate::packet::split_packet;
use crate::reply::{ColumnDefinition, EofPacket, ErrPacket, OkPacket};
use crate::scan::{CommandKind, ReplyScanner, ScanState};
use crate::server_login::{Credential, ServerAction, ServerLogin, ServerLoginSettings, TlsWish};

/// Greetings, logins and auth switches; what parses comes back through its encoder.
pub fn login(data: &[u8]) {
    if let Ok(greeting) = Greeting::parse(data) {
        let mut out = Vec::new();
        greeting.encode(&mut out);
        let again = Greeting::parse(&out).map(|again| again.nonce);
        assert_eq!(again, Ok(greeting.nonce));
    }
    if let Ok(FirstPacket::Login(login)) = LoginRequest::parse_first(data) {
        let mut out = Vec::new();
        login.encode(&mut out);
        assert!(LoginRequest::parse_first(&out).is_ok());
    }
    let _ = AuthSwitch::parse(data);
    let _ = ChangeUser::parse(data, Capabilities::all());
}

/// A login that is passed through to a server that may say anything: each byte is the length of a
/// packet that follows it, first of the server, then of whoever is due.
pub fn passthrough(data: &[u8]) {
    let Some((mut relay, mut server)) = passed() else { return };
    let mut packets = Packets(data);
    let mut seq = 0_u8;
    let mut due = relay.seq();
    let Some(first) = packets.next() else { return };
    let mut action = server.packet(seq, first);
    // Each turn takes a packet, or ends it.
    loop {
        action = match action {
            ServerAction::AskClient { plugin, challenge } => {
                let told = relay.switch(&plugin, &challenge);
                due = passed_on(&told, due);
                let Some(answer) = packets.next() else { return };
                assert_eq!(relay.answered(due), Ok(()));
                due = due.wrapping_add(1);
                server.client_answer(answer)
            }
            ServerAction::AskClientMore(payload) => {
                due = passed_on(&relay.step(&payload), due);
                let Some(answer) = packets.next() else { return };
                assert_eq!(relay.answered(due), Ok(()));
                due = due.wrapping_add(1);
                server.client_answer(answer)
            }
            ServerAction::TellClientMore(payload) => {
                due = passed_on(&relay.step(&payload), due);
                let Some(packet) = packets.next() else { return };
                seq = seq.wrapping_add(1);
                server.packet(seq, packet)
            }
            ServerAction::Send(out) => {
                let Some(packet) = packets.next() else { return };
                seq = last_seq(&out).wrapping_add(1);
                server.packet(seq, packet)
            }
            ServerAction::StartTls(out) => {
                seq = last_seq(&out);
                server.tls_started()
            }
            ServerAction::Wait => {
                let Some(packet) = packets.next() else { return };
                seq = seq.wrapping_add(1);
                server.packet(seq, packet)
            }
            ServerAction::RsaDecrypt { .. } => server.decrypted(Some(&Secret::new([1; 9]))),
            ServerAction::RsaEncrypt { .. } => server.encrypted(&[1; 256]),
            ServerAction::Done(_) | ServerAction::Failed(_) => return,
        };
        assert_eq!(relay.seq(), due);
    }
}

/// A client that was handed over, and its login at a server.
fn passed() -> Option<(Relay, ServerLogin)> {
    let capabilities = Capabilities::from_halves(0x81bf_f7ff, 0);
    let mut client = ClientLogin::new(ClientLoginSettings {
        version: "8".into(),
        connection_id: 1,
        client_host: "10.0.0.9".into(),
        nonce: Nonce::from_random([1; 32]),
        capabilities,
        collation: 45,
        status: StatusFlags::AUTOCOMMIT,
        plugin: NATIVE,
        is_private: false,
        requires_tls: false,
        rsa_public_key: None,
    });
    client.greeting(&mut Vec::new());
    let mut request = Vec::new();
    LoginRequest {
        capabilities,
        max_packet: 0,
        collation: 45,
        user: "app".into(),
        answer: Secret::new([3; 20]),
        schema: None,
        plugin: NATIVE.into(),
        attributes: Vec::new(),
        zstd_level: None,
    }
    .encode(&mut request);
    client.packet(1, &request);
    let (login, relay) = client.pass_through().ok()?;
    let server = ServerLogin::new(ServerLoginSettings {
        user: login.user,
        credential: Credential::Client { is_private: false },
        schema: None,
        capabilities,
        collation: 45,
        attributes: Vec::new(),
        tls: TlsWish::Preferred,
        is_private: false,
        allows_clear: false,
        zstd_level: None,
        own_rsa_key: None,
    });
    Some((relay, server))
}

/// The packet has the sequence id that was due; gives the one of the client's answer to it.
fn passed_on(packet: &[u8], due: u8) -> u8 {
    assert_eq!(first_seq(packet), due);
    last_seq(packet).wrapping_add(1)
}

fn first_seq(packets: &[u8]) -> u8 {
    packets.get(3).copied().unwrap_or_default()
}

fn last_seq(packets: &[u8]) -> u8 {
    let (mut rest, mut last) = (packets, 0);
    while let Some((header, _, behind)) = split_packet(rest) {
        (last, rest) = (header.seq, behind);
    }
    last
}

/// Packets, each behind a byte that is its length.
struct Packets<'a>(&'a [u8]);

impl<'a> Iterator for Packets<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let (length, rest) = self.0.split_first()?;
        let (packet, rest) = rest.split_at_checked(usize::from(*length)).unwrap_or((rest, &[]));
        self.0 = rest;
        Some(packet)
    }
}

/// Commands and their attributes and parameters.
pub fn command(data: &[u8]) {
    let Ok(command) = Command::parse(data) else {
        return;
    };
    let _ = (command.kind(), command.statement_id());
    match command {
        Command::Query(body) => {
            let _ = query_text(body, Capabilities::QUERY_ATTRIBUTES);
        }
        Command::Execute(execute) => {
            for num_params in [0, 1, 9, u16::MAX] {
                let _ = execute.params(num_params);
            }
        }
        Command::ExecuteBulk(execute) => {
            let _ = execute.types(u16::MAX);
        }
        _ => {}
    }
}

/// OK, ERR, EOF, column definitions and session state changes.
pub fn reply(data: &[u8]) {
    for capabilities in [Capabilities::empty(), Capabilities::all()] {
        if let Ok(ok) = OkPacket::parse(data, capabilities) {
            assert!(ok.state_changes().count() <= data.len());
        }
        let _ = ColumnDefinition::parse(data, capabilities);
    }
    let _ = (ErrPacket::parse(data), EofPacket::parse(data));
}

/// The scanner: the same bytes whole and cut must give the same.
pub fn scan(data: &[u8]) {
    let Some(([choice, cut], bytes)) = data.split_first_chunk::<2>() else {
        return;
    };
    let kind = match choice % 9 {
        0 => CommandKind::BinlogDump,
        1 => CommandKind::Execute,
        2 => CommandKind::Fetch,
        3 => CommandKind::FieldList,
        4 => CommandKind::NoReply,
        5 => CommandKind::Prepare,
        6 => CommandKind::Query,
        7 => CommandKind::Simple,
        _ => CommandKind::Statistics,
    };
    let capabilities = match choice / 64 {
        0 => Capabilities::empty(),
        1 => Capabilities::DEPRECATE_EOF,
        2 => Capabilities::MARIADB_CACHE_METADATA,
        _ => Capabilities::all(),
    };
    let pauses = cut % 2 == 1;
    let whole = scan_in_parts(kind, (capabilities, pauses), bytes, bytes.len());
    let cut_up = scan_in_parts(kind, (capabilities, pauses), bytes, usize::from(*cut).max(1));
    if matches!(whole.1, ScanState::Broken(_)) {
        assert_eq!(whole.1, cut_up.1);
    } else {
        assert_eq!(whole, cut_up);
    }
}

/// Bytes consumed, the last state, rows, where each OK with state changes ended and began, and where
/// results ended.
fn scan_in_parts(
    kind: CommandKind,
    (capabilities, pauses): (Capabilities, bool),
    bytes: &[u8],
    size: usize,
) -> (usize, ScanState, u64, Vec<(usize, usize)>) {
    use ScanState::{More, ResultEnded, StateChanged};
    let mut scanner = ReplyScanner::new(kind, capabilities);
    if pauses {
        scanner.pause_between_results();
    }
    let (mut at, mut changes) = (0_usize, Vec::new());
    let mut state = More;
    while at < bytes.len() && matches!(state, More | ResultEnded | StateChanged) {
        let rest = bytes.get(at..).unwrap_or_default();
        let found = scanner.feed(rest.get(..size).unwrap_or(rest));
        at = at.saturating_add(found.consumed);
        state = found.state;
        assert!(at <= bytes.len());
        assert!(scanner.pending_kept() <= at || matches!(state, ScanState::Broken(_)));
        if state == StateChanged {
            let length = scanner.changed_packet_len();
            assert!(length <= at && scanner.pending_kept() == 0);
            assert!(length >= scanner.last_packet().len());
            changes.push((at, length));
        }
        if scanner.pauses_here() && matches!(state, ResultEnded | StateChanged) {
            changes.push((at, 0));
        }
    }
    (at, state, scanner.rows(), changes)
}

/// The compressed protocol: any bytes as packets, whole and in slices; and any bytes sent and read
/// back.
pub fn compress(data: &[u8]) {
    for algorithm in [Algorithm::Zlib(6), Algorithm::Zstd(3)] {
        let mut out = Vec::new();
        let used = decompress(algorithm, &mut 0, data, &mut out);
        assert!(out.len() <= crate::packet::MAX_PAYLOAD);
        assert_eq!(used.is_ok_and(|used| used > 0).then_some(out), in_slices(algorithm, data));
        let (mut wire, mut back) = (Vec::new(), Vec::new());
        crate::compress::compress(algorithm, &mut 0, data, &mut wire);
        if !data.is_empty() {
            assert_eq!(decompress(algorithm, &mut 0, &wire, &mut back), Ok(wire.len()));
        }
        assert_eq!(back, data);
    }
}

/// What the first compressed packet of `data` holds, taken out in small slices.
fn in_slices(algorithm: Algorithm, data: &[u8]) -> Option<Vec<u8>> {
    let header = CompressedHeader::peek(data).filter(|header| header.seq == 0)?;
    let body = data.get(COMPRESSED_HEADER_LEN..header.wire_len())?;
    let mut expander = Expander::new(algorithm, header).ok()?;
    let (mut out, mut slice) = (Vec::new(), [0; 501]);
    while !expander.is_done() {
        let made = expander.expand(body, &mut slice).ok()?;
        assert!(made > 0);
        out.extend_from_slice(slice.get(..made)?);
    }
    Some(out)
}

/// The classifier and the grammar of SET, over any text in any mode.
pub fn sql(data: &[u8]) {
    crate::sql::fuzz::fuzz_analyze(data);
}

#[cfg(test)]
mod tests;
