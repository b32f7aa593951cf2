use super::*;
use crate::packet::PacketWriter;

/// A reply as packets from sequence id 1 on.
fn reply(payloads: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut writer = PacketWriter::new(&mut out, 1);
    for payload in payloads {
        writer.payload(payload);
    }
    out
}

const COLUMN: &[u8] = b"\x03def\0\0\0\x011\0\x0c\x3f\0\x01\0\0\0\x08\x81\0\0\0\0";
const OLD: Capabilities = Capabilities::PROTOCOL_41;
const NEW: Capabilities = Capabilities::PROTOCOL_41.union(Capabilities::DEPRECATE_EOF);
const ERR: &[u8] = b"\xff\x15\x04#28000no";

fn eof(status: u16) -> Vec<u8> {
    let [a, b] = status.to_le_bytes();
    vec![0xfe, 0, 0, a, b]
}

fn ok(header: u8, status: u16) -> Vec<u8> {
    let [a, b] = status.to_le_bytes();
    vec![header, 3, 7, a, b, 1, 0]
}

/// The end in the form of `caps`.
fn end(caps: Capabilities, status: u16) -> Vec<u8> {
    if caps.contains(Capabilities::DEPRECATE_EOF) { ok(0xfe, status) } else { eof(status) }
}

/// Scans whole, cut at every byte, and byte by byte; all must agree.
fn scan(kind: CommandKind, caps: Capabilities, bytes: &[u8]) -> ReplyScanner {
    let mut whole = ReplyScanner::new(kind, caps);
    let found = whole.feed(bytes);
    assert_eq!((found.consumed, found.state), (bytes.len(), ScanState::Done));
    for cut in 1..bytes.len() {
        let mut scanner = ReplyScanner::new(kind, caps);
        let (head, tail) = bytes.split_at(cut);
        assert_eq!(scanner.feed(head), Scan { consumed: cut, state: ScanState::More }, "{cut}");
        assert_eq!(
            scanner.feed(tail),
            Scan { consumed: tail.len(), state: ScanState::Done },
            "{cut}"
        );
        assert_eq!(format!("{scanner:?}"), format!("{whole:?}"), "{cut}");
        assert_eq!(scanner.last_packet(), whole.last_packet());
    }
    let mut single = ReplyScanner::new(kind, caps);
    for (at, byte) in bytes.iter().enumerate() {
        let is_last = at + 1 == bytes.len();
        let state = if is_last { ScanState::Done } else { ScanState::More };
        assert_eq!(single.feed(&[*byte]), Scan { consumed: 1, state });
    }
    assert_eq!(format!("{single:?}"), format!("{whole:?}"));
    let mut longer = bytes.to_vec();
    longer.extend_from_slice(b"next");
    let mut scanner = ReplyScanner::new(kind, caps);
    assert_eq!(scanner.feed(&longer), Scan { consumed: bytes.len(), state: ScanState::Done });
    whole
}

fn text_set(caps: Capabilities, rows: usize, status: u16) -> Vec<Vec<u8>> {
    let mut packets = vec![vec![2], COLUMN.to_vec(), COLUMN.to_vec()];
    if !caps.contains(Capabilities::DEPRECATE_EOF) {
        packets.push(eof(2));
    }
    for _ in 0..rows {
        packets.push(b"\x01a\xfb".to_vec());
    }
    packets.push(end(caps, status));
    packets
}

fn joined(packets: &[Vec<u8>]) -> Vec<u8> {
    reply(&packets.iter().map(Vec::as_slice).collect::<Vec<_>>())
}

#[test]
fn an_ok_is_a_whole_reply() {
    for kind in [CommandKind::Query, CommandKind::Execute, CommandKind::Simple] {
        let scanner = scan(kind, NEW, &reply(&[&ok(0, 2)]));
        assert_eq!((scanner.affected_rows(), scanner.last_insert_id()), (3, 7));
        assert_eq!(scanner.status(), Some(StatusFlags::AUTOCOMMIT));
        assert_eq!((scanner.warnings(), scanner.results()), (1, 1));
        assert!(scanner.bytes_passed() && !scanner.first_packet_is_error());
    }
}

#[test]
fn an_err_first_is_known_as_such() {
    for kind in [
        CommandKind::Query,
        CommandKind::Execute,
        CommandKind::Prepare,
        CommandKind::Fetch,
        CommandKind::FieldList,
        CommandKind::Statistics,
        CommandKind::Simple,
        CommandKind::BinlogDump,
    ] {
        let scanner = scan(kind, OLD, &reply(&[ERR]));
        assert!(scanner.first_packet_is_error(), "{kind:?}");
        assert_eq!(scanner.error(), Some(ServerError { code: 1045, sqlstate: *b"28000" }));
        assert_eq!(scanner.status(), None);
    }
}

#[test]
fn rows_are_counted_to_the_end() {
    for caps in [OLD, NEW] {
        for kind in [CommandKind::Query, CommandKind::Execute] {
            for rows in [0, 1, 5] {
                let scanner = scan(kind, caps, &joined(&text_set(caps, rows, 0x22)));
                assert_eq!((scanner.rows(), scanner.columns()), (rows as u64, 2));
                assert_eq!(scanner.status(), Some(StatusFlags::from_bits_retain(0x22)));
            }
        }
    }
}

#[test]
fn an_error_in_the_middle_of_rows_ends_the_reply() {
    let mut packets = text_set(NEW, 2, 2);
    packets.pop();
    packets.push(ERR.to_vec());
    let scanner = scan(CommandKind::Query, NEW, &joined(&packets));
    assert!(scanner.error().is_some() && !scanner.first_packet_is_error());
    assert_eq!(scanner.rows(), 2);
}

#[test]
fn several_results_are_one_reply() {
    for caps in [OLD, NEW] {
        let mut packets = text_set(caps, 2, 2 | 8);
        packets.push(ok(0, 2 | 8));
        packets.extend(text_set(caps, 1, 2 | 8));
        packets.push(ok(0, 2));
        let scanner = scan(CommandKind::Query, caps, &joined(&packets));
        // The last of them is an OK, without rows.
        assert_eq!((scanner.results(), scanner.rows()), (4, 0));
    }
}

#[test]
fn warnings_of_a_result_count_beside_one_without() {
    let more = StatusFlags::MORE_RESULTS_EXISTS.bits();
    for caps in [OLD, NEW] {
        let bytes = joined(&[ok(0, more), vec![0, 0, 0, 0, 0, 0, 0]]);
        let scanner = scan(CommandKind::Query, caps, &bytes);
        assert_eq!((scanner.warnings(), scanner.results()), (1, 2));
    }
}

#[test]
fn out_parameters_are_followed_by_an_ok_whatever_their_end_says() {
    let more = StatusFlags::MORE_RESULTS_EXISTS;
    let begins = (more | StatusFlags::PS_OUT_PARAMS).bits();
    for ends in [0, more.bits()] {
        let packets = [vec![1], COLUMN.to_vec(), eof(begins), vec![0, 0, 14], eof(ends), ok(0, 2)];
        let scanner = scan(CommandKind::Execute, OLD, &joined(&packets));
        assert_eq!((scanner.results(), scanner.rows()), (2, 0));
    }
}

#[test]
fn a_cursor_sends_definitions_and_no_rows() {
    let packets = [vec![1], COLUMN.to_vec(), end(OLD, 0x42)];
    let scanner = scan(CommandKind::Execute, OLD, &joined(&packets));
    assert!(scanner.status().unwrap().contains(StatusFlags::CURSOR_EXISTS));
    let packets = [vec![1], COLUMN.to_vec(), end(NEW, 0x42)];
    let scanner = scan(CommandKind::Execute, NEW, &joined(&packets));
    assert!(scanner.status().unwrap().contains(StatusFlags::CURSOR_EXISTS));
    for caps in [OLD, NEW] {
        let packets = [b"\0\0\x01".to_vec(), b"\0\0\x02".to_vec(), end(caps, 0x82)];
        assert_eq!(scan(CommandKind::Fetch, caps, &joined(&packets)).rows(), 2);
    }
}

#[test]
fn a_prepared_statement_tells_its_id_params_and_columns() {
    for (caps, columns, params) in
        [(OLD, 0, 0), (OLD, 1, 2), (OLD, 0, 1), (OLD, 2, 0), (NEW, 1, 2), (NEW, 0, 1), (NEW, 2, 0)]
    {
        let mut packets = vec![vec![0, 9, 0, 0, 0, columns, 0, params, 0, 0, 4, 0]];
        for count in [params, columns] {
            packets.extend((0..count).map(|_| COLUMN.to_vec()));
            if count > 0 && caps == OLD {
                packets.push(eof(2));
            }
        }
        let scanner = scan(CommandKind::Prepare, caps, &joined(&packets));
        let (columns, params) = (u16::from(columns), u16::from(params));
        assert_eq!(scanner.prepared(), Some(Prepared { statement_id: 9, columns, params }));
        assert_eq!(scanner.warnings(), 4);
    }
}

#[test]
fn single_packets_and_lists_end_where_they_should() {
    scan(CommandKind::Statistics, NEW, &reply(&[b"Uptime: 5"]));
    scan(CommandKind::Simple, OLD, &reply(&[&eof(2)]));
    for caps in [OLD, NEW] {
        let packets = [COLUMN.to_vec(), COLUMN.to_vec(), end(caps, 2)];
        assert_eq!(scan(CommandKind::FieldList, caps, &joined(&packets)).rows(), 2);
        scan(CommandKind::BinlogDump, caps, &reply(&[b"\0event", b"\0another", &eof(0)]));
    }
}

/// As behind an event that a semi-synchronous replica acknowledges.
#[test]
fn the_events_of_a_binary_log_may_be_numbered_anew() {
    let mut bytes = reply(&[b"\0event", b"\0\xef\x01another"]);
    bytes.extend(reply(&[b"\0a third"]));
    bytes.extend(reply(&[b"\0a fourth", &eof(0)]));
    assert_eq!(scan(CommandKind::BinlogDump, NEW, &bytes).rows(), 4);
}

#[test]
fn a_result_that_ends_in_the_other_form_breaks_the_reply() {
    let row = b"\x01a\xfb".to_vec();
    let set = |behind: &[Vec<u8>], end: Vec<u8>| {
        let head = [vec![2], COLUMN.to_vec(), COLUMN.to_vec()];
        joined(&[&head[..], behind, std::slice::from_ref(&row), &[end]].concat())
    };
    let cases = [
        (NEW, set(&[], eof(2))),
        (NEW, set(&[eof(2)], eof(2))),
        (NEW, set(&[eof(2)], ok(0xfe, 2))),
        (OLD, set(&[], eof(2))),
        (OLD, set(&[], ok(0xfe, 2))),
        (OLD, set(&[eof(2)], ok(0xfe, 2))),
        (OLD, set(&[ok(0xfe, 2)], eof(2))),
    ];
    for (caps, bytes) in cases {
        for kind in [CommandKind::Execute, CommandKind::Query] {
            let state = ReplyScanner::new(kind, caps).feed(&bytes).state;
            assert!(matches!(state, ScanState::Broken(ScanError::Malformed(_))), "{bytes:?}");
        }
    }
    for (caps, end) in [(NEW, eof(0x82)), (OLD, ok(0xfe, 0x82))] {
        let state = ReplyScanner::new(CommandKind::Fetch, caps).feed(&joined(&[end])).state;
        assert!(matches!(state, ScanState::Broken(_)), "{caps:?}");
    }
}

#[test]
fn commands_without_a_reply_have_none() {
    let mut scanner = ReplyScanner::new(CommandKind::NoReply, NEW);
    assert_eq!(scanner.feed(&[]), Scan { consumed: 0, state: ScanState::Done });
    assert_eq!(scanner.feed(&[1]).state, ScanState::Broken(ScanError::Unexpected));
}

#[test]
fn a_row_that_begins_like_an_eof_is_a_row() {
    // 0xfe and eight bytes of length: a first value of 16 MiB or more, so the packet is long.
    let mut row = vec![0xfe];
    row.extend_from_slice(&(MAX_PAYLOAD as u64).to_le_bytes());
    row.resize(9 + MAX_PAYLOAD, 0xff);
    for caps in [OLD, NEW] {
        let mut packets = text_set(caps, 1, 2);
        let last = packets.len() - 1;
        packets.insert(last, row.clone());
        let bytes = joined(&packets);
        for chunk in [bytes.len(), 65_536, 1_000_003] {
            let mut scanner = ReplyScanner::new(CommandKind::Query, caps);
            let mut state = ScanState::More;
            for part in bytes.chunks(chunk) {
                assert_eq!(state, ScanState::More);
                let found = scanner.feed(part);
                assert_eq!(found.consumed, part.len());
                state = found.state;
            }
            assert_eq!((state, scanner.rows()), (ScanState::Done, 2));
        }
    }
}

#[test]
fn the_continuation_of_a_long_row_is_not_a_packet_of_its_own() {
    let mut packets = text_set(NEW, 0, 2);
    packets.insert(3, [vec![1], vec![0xff; MAX_PAYLOAD - 1]].concat());
    let bytes = joined(&packets);
    let mut scanner = ReplyScanner::new(CommandKind::Query, NEW);
    assert_eq!(scanner.feed(&bytes).state, ScanState::Done);
    assert_eq!((scanner.rows(), scanner.error()), (1, None));
}

#[test]
fn progress_reports_are_not_the_end() {
    let progress: &[u8] = b"\xff\xff\xff\x01\x01\x02\0\0\x05stage";
    let bytes = reply(&[progress, progress, &ok(0, 2)]);
    let scanner = scan(CommandKind::Query, NEW, &bytes);
    assert_eq!(scanner.error(), None);
}

#[test]
fn cached_metadata_is_left_out() {
    let caps = NEW | Capabilities::MARIADB_CACHE_METADATA;
    let packets = [vec![2, 0], b"\0\0a".to_vec(), end(caps, 2)];
    assert_eq!(scan(CommandKind::Execute, caps, &joined(&packets)).rows(), 1);
    let packets = [vec![1, 1], COLUMN.to_vec(), b"\0\0a".to_vec(), end(caps, 2)];
    assert_eq!(scan(CommandKind::Execute, caps, &joined(&packets)).rows(), 1);
    let caps = OLD | Capabilities::MARIADB_CACHE_METADATA;
    let packets = [vec![2, 0], eof(2), b"\0\0a".to_vec(), eof(2)];
    assert_eq!(scan(CommandKind::Execute, caps, &joined(&packets)).rows(), 1);
}

#[test]
fn a_local_file_is_asked_for_by_name_and_waited_for() {
    let mut scanner = ReplyScanner::new(CommandKind::Query, NEW);
    let bytes = reply(&[b"\xfb/tmp/data.csv"]);
    let found = scanner.feed(&bytes);
    assert_eq!((found.consumed, found.state), (bytes.len(), ScanState::NeedsLocalInfile));
    assert_eq!(scanner.local_infile(), Some(b"/tmp/data.csv".as_slice()));
    scanner.local_infile_sent(4);
    let mut out = Vec::new();
    PacketWriter::new(&mut out, 4).payload(&ok(0, 2));
    assert_eq!(scanner.feed(&out).state, ScanState::Done);
    assert_eq!(scanner.affected_rows(), 3);
}

#[test]
fn a_wrong_sequence_id_breaks_the_reply() {
    let mut bytes = joined(&text_set(NEW, 3, 2));
    let third_row = bytes.len() - (4 + 7) - 7;
    bytes[third_row + 3] = 99;
    let mut scanner = ReplyScanner::new(CommandKind::Query, NEW);
    let found = scanner.feed(&bytes);
    assert_eq!(found.state, ScanState::Broken(ScanError::Sequence { expected: 6, found: 99 }));
    assert!(found.consumed <= bytes.len());
}

#[test]
fn a_result_that_another_follows_is_told_where_that_was_asked_for() {
    const MORE: u16 = 0x0008;
    for caps in [OLD, NEW] {
        let (first, second) = (vec![ok(0, MORE)], text_set(caps, 1, MORE));
        let ends = [joined(&first).len(), joined(&[first.clone(), second.clone()].concat()).len()];
        let bytes = joined(&[first, second, vec![ERR.to_vec()]].concat());
        for cut in 1..=bytes.len() {
            let mut scanner = ReplyScanner::new(CommandKind::Query, caps);
            scanner.pause_between_results();
            let (mut at, mut found, mut end) = (0, Vec::new(), cut);
            loop {
                let scan = scanner.feed(&bytes[at..end]);
                at += scan.consumed;
                match scan.state {
                    ScanState::ResultEnded => found.push(at),
                    ScanState::More => end = bytes.len(),
                    other => break assert_eq!(other, ScanState::Done),
                }
            }
            assert_eq!(found, ends, "{cut}");
        }
    }
}

const TRACK: Capabilities = NEW.union(Capabilities::SESSION_TRACK);

/// An OK that says that the schema is `shop` now.
fn changing_ok(header: u8, status: u16) -> Vec<u8> {
    let mut packet = ok(header, status | 0x4000);
    packet.extend_from_slice(b"\0\x07\x01\x05\x04shop");
    packet
}

/// The last bytes of each OK with state changes, as wire packets, and where each ended.
fn changes(caps: Capabilities, bytes: &[u8], cut: usize) -> Vec<(usize, Vec<u8>, bool)> {
    let mut scanner = ReplyScanner::new(CommandKind::Query, caps);
    let (mut at, mut found) = (0, Vec::new());
    let mut end = cut;
    loop {
        let scan = scanner.feed(&bytes[at..end]);
        at += scan.consumed;
        match scan.state {
            ScanState::StateChanged => {
                let length = scanner.changed_packet_len();
                assert_eq!(&bytes[at - length + 4..at], scanner.last_packet());
                assert!(scanner.last_packet_is_whole() && scanner.is_at_packet_boundary());
                found.push((at, bytes[at - length..at].to_vec(), scanner.is_done()));
            }
            ScanState::Done => break,
            other => {
                assert_eq!((other, at), (ScanState::More, end), "{cut}");
                end = bytes.len();
            }
        }
    }
    assert!(scanner.is_done() && scanner.session_track_present());
    assert_eq!(at, bytes.len());
    found
}

#[test]
fn a_scan_stops_after_each_ok_that_changes_the_session() {
    let mut packets = vec![changing_ok(0, 2 | 8)];
    packets.extend(text_set(TRACK, 2, 2 | 8));
    let mut set = text_set(TRACK, 1, 2 | 8);
    *set.last_mut().unwrap() = changing_ok(0xfe, 2 | 8);
    packets.extend(set);
    packets.push(changing_ok(0, 2));
    let bytes = joined(&packets);
    let places = [0, packets.len() - 2, packets.len() - 1];
    let expected: Vec<_> = places
        .iter()
        .map(|&place| {
            let end = joined(&packets[..=place]).len();
            let start = joined(&packets[..place]).len();
            let is_done = place + 1 == packets.len();
            (end, bytes[start..end].to_vec(), is_done)
        })
        .collect();
    for cut in 0..=bytes.len() {
        assert_eq!(changes(TRACK, &bytes, cut), expected, "{cut}");
    }
}

#[test]
fn a_change_that_was_not_negotiated_is_not_told() {
    let bytes = reply(&[&changing_ok(0, 2)]);
    assert!(!scan(CommandKind::Query, NEW, &bytes).session_track_present());
}

#[test]
fn the_byte_after_a_complete_reply_is_not_consumed_after_a_change_either() {
    let mut bytes = reply(&[&changing_ok(0, 2)]);
    let whole = bytes.len();
    bytes.push(1);
    let mut scanner = ReplyScanner::new(CommandKind::Simple, TRACK);
    let found = scanner.feed(&bytes);
    let state = ScanState::StateChanged;
    assert_eq!((found.consumed, found.state), (whole, state));
    assert!(scanner.is_done());
    let state = ScanState::Done;
    assert_eq!(scanner.feed(&bytes[whole..]), Scan { consumed: 0, state });
    assert_eq!(scanner.feed(&[]), Scan { consumed: 0, state });
}

#[test]
fn what_may_have_to_be_rewritten_is_counted_as_pending() {
    let mut packets = text_set(TRACK, 2, 2 | 8);
    packets.push(ok(0, 2));
    let bytes = joined(&packets);
    let mut start = 0;
    for packet in &packets {
        let decides = packet[0] == 2 || packet[0] == 0xfe || packet[0] == 0;
        for into in 0..packet.len() + 4 {
            let mut scanner = ReplyScanner::new(CommandKind::Query, TRACK);
            let (head, tail) = bytes[..start + into].split_at(start / 2);
            scanner.feed(head);
            scanner.feed(tail);
            // Four bytes of a header do not tell yet what the packet is.
            let expected = if decides || into <= 4 { into } else { 0 };
            assert_eq!(scanner.pending_kept(), expected, "{start} {into}");
        }
        start += packet.len() + 4;
    }
}

#[test]
fn nothing_is_pending_within_a_row_of_several_packets() {
    let mut packets = text_set(NEW, 0, 2);
    packets.insert(3, vec![1; MAX_PAYLOAD + 9]);
    let bytes = joined(&packets);
    let second = bytes.len() - (4 + 7) - (4 + 9);
    for at in [second - 5, second, second + 1, second + 4, second + 5] {
        let mut scanner = ReplyScanner::new(CommandKind::Query, NEW);
        scanner.feed(&bytes[..at]);
        assert_eq!(scanner.pending_kept(), 0, "{at}");
    }
}

#[test]
fn a_deciding_packet_of_several_is_pending_whole() {
    let mut long = ok(0, 2 | 0x4000);
    long.resize(MAX_PAYLOAD + 9, 0);
    let bytes = reply(&[&long]);
    for at in [9, MAX_PAYLOAD + 4, MAX_PAYLOAD + 6, MAX_PAYLOAD + 10] {
        let mut scanner = ReplyScanner::new(CommandKind::Query, TRACK);
        scanner.feed(&bytes[..at]);
        assert_eq!(scanner.pending_kept(), at);
    }
    let mut scanner = ReplyScanner::new(CommandKind::Query, TRACK);
    assert_eq!(scanner.feed(&bytes).state, ScanState::StateChanged);
    assert_eq!(scanner.changed_packet_len(), bytes.len());
    assert!(!scanner.last_packet_is_whole());
}

#[test]
fn a_long_ok_is_kept_in_part_and_says_so() {
    let mut long = ok(0, 2 | 0x4000);
    long.resize(2000, 0);
    let bytes = reply(&[&long]);
    let mut scanner = ReplyScanner::new(CommandKind::Query, TRACK);
    assert_eq!(scanner.feed(&bytes).state, ScanState::StateChanged);
    assert_eq!(scanner.last_packet().len(), KEPT);
    assert_eq!(scanner.changed_packet_len(), bytes.len());
    assert!(!scanner.last_packet_is_whole() && scanner.session_track_present());
}

#[test]
fn a_scanner_is_as_new_after_reset() {
    let mut scanner = ReplyScanner::new(CommandKind::Query, NEW);
    scanner.feed(&joined(&text_set(NEW, 3, 2))[..20]);
    scanner.reset(CommandKind::Simple, OLD);
    let fresh = ReplyScanner::new(CommandKind::Simple, OLD);
    assert_eq!(format!("{scanner:?}"), format!("{fresh:?}"));
    assert!(!scanner.bytes_passed() && scanner.last_packet().is_empty());
}

/// As of MariaDB 10.11: the flag of a cursor within a routine stays for the results behind it.
#[test]
fn the_results_of_a_routine_with_a_cursor_of_its_own_have_rows() {
    const STATUS: u16 = 0x4a;
    let mut packets = vec![vec![1], COLUMN.to_vec(), eof(STATUS)];
    packets.extend([b"\0\0\x01".to_vec(), eof(STATUS)]);
    packets.push(ok(0, 2));
    for kind in [CommandKind::Execute, CommandKind::Query] {
        let scanner = scan(kind, OLD, &joined(&packets));
        assert_eq!(scanner.results(), 2);
    }
    let cursor = [vec![1], COLUMN.to_vec(), eof(0x42)];
    assert_eq!(scan(CommandKind::Execute, OLD, &joined(&cursor)).rows(), 0);
}
