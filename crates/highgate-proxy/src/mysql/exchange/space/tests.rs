use highgate_testkit::scripted::wire;

use super::*;

fn space(kind: CommandKind, seq: u8) -> Space {
    let mut space = Space::new(Rc::default());
    space.reset(kind, Capabilities::empty(), seq);
    space
}

fn come(space: &mut Space, bytes: &[u8]) {
    space.buffer.make_room(bytes.len());
    space.buffer.room()[..bytes.len()].copy_from_slice(bytes);
    space.filled(bytes.len());
}

fn packet(seq: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = Vec::new();
    PacketWriter::new(&mut packet, seq).payload(payload);
    packet
}

#[test]
fn an_answer_is_judged_by_its_whole_first_packet_wherever_it_is_cut() {
    let prepared = packet(1, &[0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    let refused = packet(1, b"\xff\x0a\x05#HY000The server is read-only");
    for (kind, answer) in [(CommandKind::Prepare, prepared), (CommandKind::Query, refused)] {
        for cut in 1..answer.len() {
            let mut space = space(kind, 1);
            come(&mut space, &answer[..cut]);
            assert!(!space.can_be_judged(), "{kind:?} cut at {cut}");
            come(&mut space, &answer[cut..]);
            assert!(space.can_be_judged());
            let is_error = space.scanner.first_packet_is_error();
            assert_eq!(is_error, kind == CommandKind::Query);
            space.patch_statement_id(9);
            assert_eq!(space.buffer.bytes()[5] == 9, kind == CommandKind::Prepare);
        }
    }
}

#[test]
fn a_long_row_is_passed_on_as_it_comes() {
    let mut space = space(CommandKind::Fetch, 1);
    come(&mut space, &packet(1, &[1; 1000])[..50]);
    assert!(space.can_be_judged());
    assert_eq!(space.owed(), 50);
}

#[test]
fn nothing_of_a_demand_for_a_file_is_passed_on_before_it_is_judged() {
    let long = [b"\xfb/etc/passwd\0", &[b'x'; 2000][..]].concat();
    for demand in [packet(1, b"\xfb/etc/passwd"), packet(1, &long)] {
        for cut in 1..demand.len() {
            let mut space = space(CommandKind::Query, 1);
            come(&mut space, &demand[..cut]);
            assert_eq!(space.owed(), 0, "cut at {cut}");
            come(&mut space, &demand[cut..]);
            assert_eq!(space.state, ScanState::NeedsLocalInfile);
            assert_eq!((space.drop_demand(), space.owed()), (1, 0), "cut at {cut}");
        }
    }
}

#[test]
fn a_demand_for_a_file_without_end_is_no_answer() {
    let mut space = space(CommandKind::Query, 1);
    come(&mut space, &packet(1, &[0xfb; 100_000])[..MOST_HELD + 100]);
    assert!(matches!(space.state, ScanState::Broken(_)), "{:?}", space.state);
    assert_eq!(space.owed(), 0);
}

#[test]
fn what_a_server_says_before_it_has_the_file_is_its_answer() {
    let mut space = space(CommandKind::Query, 1);
    come(&mut space, &packet(1, b"\xfbrows"));
    space.passed(space.owed());
    let error = packet(4, b"\xff\x87\x04#08S01Got timeout reading communication packets");
    for part in [&error[..9], &error[9..]] {
        assert!(space.takes_early());
        space.buffer.make_room(part.len());
        space.buffer.room()[..part.len()].copy_from_slice(part);
        space.came_early(part.len());
    }
    let text = space.early_error().unwrap();
    assert_eq!(text, "1159 Got timeout reading communication packets");
    space.file_sent(4);
    assert_eq!(space.state, ScanState::Done);
    assert_eq!(space.scanner.error().unwrap().code, 1159);
}

/// SERVER_STATUS_SESSION_STATE_CHANGED, with autocommit.
const CHANGED: u16 = 0x4002;
/// SERVER_MORE_RESULTS_EXISTS, with autocommit.
const MORE_RESULTS: u16 = 0x000a;

fn reporting() -> Space {
    let capabilities =
        Capabilities::PROTOCOL_41 | Capabilities::DEPRECATE_EOF | Capabilities::SESSION_TRACK;
    let mut space = Space::new(Rc::default());
    space.reset(CommandKind::Query, capabilities, 1);
    space
}

/// An OK that reports `value`.
fn report(value: &[u8]) -> Vec<u8> {
    use highgate_mysql::packet::put_lenenc_bytes;
    let (mut change, mut changes, mut all) = (Vec::new(), vec![0], Vec::new());
    put_lenenc_bytes(&mut change, b"optimizer_switch");
    put_lenenc_bytes(&mut change, value);
    put_lenenc_bytes(&mut changes, &change);
    put_lenenc_bytes(&mut all, &changes);
    [&wire::ok(CHANGED)[..], &[0], &all].concat()
}

/// Nothing of it was read: the connection went to others as if nothing had been set.
#[test]
fn a_long_report_of_changes_is_read_or_known_to_be_missed() {
    for (len, hides, step, is_second, is_cut) in [
        (2000, false, 4096, false, false),
        (2000, true, 4096, true, false),
        (2000, true, 1, true, false),
        (100, false, 1, true, false),
        // All of an answer's first packet is waited for, whatever it is; later ones pass as they come.
        (2000, false, 500, false, false),
        (2000, false, 500, true, true),
    ] {
        let mut space = reporting();
        space.hide_changes(hides);
        let first = if is_second { wire::frame(1, &wire::ok(MORE_RESULTS)) } else { Vec::new() };
        let number = 1 + u8::from(is_second);
        let all = [first, wire::frame(number, &report(&vec![b'x'; len]))].concat();
        for part in all.chunks(step) {
            come(&mut space, part);
            let owed = space.owed();
            if space.can_be_judged() {
                space.passed(owed);
            }
        }
        assert_eq!(space.state, ScanState::Done);
        assert_eq!(
            (space.is_cut, space.changes.is_empty()),
            (is_cut, is_cut),
            "{len} {hides} {step} {is_second}"
        );
    }
}
