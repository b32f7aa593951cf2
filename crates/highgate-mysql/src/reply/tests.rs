use super::*;
use crate::capability::{Capabilities, StatusFlags};
use crate::packet::split_packet;
use crate::scan::{CommandKind, ReplyScanner, ScanState};

fn tracking() -> Capabilities {
    Capabilities::SESSION_TRACK | Capabilities::PROTOCOL_41
}

fn tracked() -> Vec<u8> {
    let mut track = Vec::new();
    StateChange::SystemVariable { name: b"autocommit", value: b"OFF" }.encode(&mut track);
    StateChange::Schema(b"shop").encode(&mut track);
    StateChange::Gtids(b"0-1-5").encode(&mut track);
    StateChange::TransactionState(b"T_______").encode(&mut track);
    track
}

#[test]
fn session_state_changes_come_back() {
    let track = tracked();
    let ok = OkPacket {
        affected_rows: 300,
        last_insert_id: 7,
        status: StatusFlags::AUTOCOMMIT | StatusFlags::SESSION_STATE_CHANGED,
        info: b"Rows matched: 1",
        session_track: &track,
        ..OkPacket::default()
    };
    let mut payload = Vec::new();
    ok.encode(&mut payload, tracking());
    let parsed = OkPacket::parse(&payload, tracking()).unwrap();
    assert_eq!(parsed, ok);
    let changes: Vec<_> = parsed.state_changes().map(Result::unwrap).collect();
    assert_eq!(changes.len(), 4);
    assert_eq!(changes[1], StateChange::Schema(b"shop"));
    assert_eq!(changes[2], StateChange::Gtids(b"0-1-5"));
}

#[test]
fn several_variables_in_one_block_are_all_seen() {
    let mut data = Vec::new();
    for text in ["a", "1", "b", "2"] {
        crate::packet::put_lenenc_bytes(&mut data, text.as_bytes());
    }
    let mut block = vec![0];
    crate::packet::put_lenenc_bytes(&mut block, &data);
    assert_eq!(StateChanges::new(&block).filter(Result::is_ok).count(), 2);
}

#[test]
fn stripped_of_session_state_an_ok_keeps_the_rest() {
    let track = tracked();
    let ok = OkPacket {
        affected_rows: 2,
        status: StatusFlags::AUTOCOMMIT | StatusFlags::SESSION_STATE_CHANGED,
        info: b"hello",
        session_track: &track,
        ..OkPacket::default()
    };
    let (mut payload, mut stripped) = (Vec::new(), Vec::new());
    ok.encode(&mut payload, tracking());
    strip_session_track(&payload, tracking(), &mut stripped).unwrap();
    let parsed = OkPacket::parse(&stripped, Capabilities::PROTOCOL_41).unwrap();
    assert_eq!(parsed.status, StatusFlags::AUTOCOMMIT);
    assert_eq!((parsed.affected_rows, parsed.info), (2, b"hello".as_slice()));
    assert!(parsed.session_track.is_empty());
}

#[test]
fn an_err_without_sqlstate_is_accepted() {
    let err = ErrPacket::parse(b"\xff\x10\x04Too many connections").unwrap();
    assert_eq!((err.code, err.sqlstate), (1040, None));
    assert_eq!(err.text(), "Too many connections");
    let err = ErrPacket::parse(b"\xff\x15\x04#28000Access denied").unwrap();
    assert_eq!((err.code, err.sqlstate), (1045, Some(*b"28000")));
    assert!(ErrPacket::parse(b"\xff\x15").is_err());
}

#[test]
fn the_result_sets_we_write_are_those_we_scan() {
    for deprecate in [Capabilities::empty(), Capabilities::DEPRECATE_EOF] {
        let caps = deprecate | Capabilities::PROTOCOL_41;
        let mut out = Vec::new();
        let columns = [Column::text("name"), Column::integer("n")];
        let mut set = ResultSetWriter::begin(&mut out, 1, caps, StatusFlags::AUTOCOMMIT, &columns);
        set.text_row(["db1", "1"]);
        set.row([None, Some(b"2".as_slice())]);
        let next = set.finish();
        let mut scanner = ReplyScanner::new(CommandKind::Query, caps);
        let scan = scanner.feed(&out);
        assert_eq!((scan.consumed, scan.state), (out.len(), ScanState::Done));
        assert_eq!((scanner.rows(), scanner.next_seq()), (2, next));
        let (_, definition) = {
            let (_, _, rest) = split_packet(&out).unwrap();
            let (header, payload, _) = split_packet(rest).unwrap();
            (header, ColumnDefinition::parse(payload, caps).unwrap())
        };
        assert_eq!((definition.name, definition.collation), (b"name".as_slice(), 45));
    }
}
