use super::*;
use crate::capability::Capabilities;

#[test]
fn the_statement_id_is_patched_in_place() {
    let mut payload = vec![COM_STMT_EXECUTE, 1, 0, 0, 0, 0, 1, 0, 0, 0];
    assert!(patch_statement_id(&mut payload, 0x0102_0304));
    assert_eq!(Command::parse(&payload).unwrap().statement_id(), Some(0x0102_0304));
    assert!(!patch_statement_id(&mut [COM_STMT_CLOSE, 1], 1));
}

#[test]
fn parameter_types_are_found_where_they_lie() {
    let mut payload = vec![COM_STMT_EXECUTE, 7, 0, 0, 0, 0, 1, 0, 0, 0];
    payload.extend_from_slice(&[0b10, 1, 0x03, 0, 0xfd, 0, 9, 0, 0, 0]);
    let Command::Execute(execute) = Command::parse(&payload).unwrap() else { panic!("execute") };
    let params = execute.params(2).unwrap();
    assert_eq!(params.types, Some([0x03, 0, 0xfd, 0].as_slice()));
    assert_eq!(&payload[params.types_at..params.types_at + 4], params.types.unwrap());
    assert_eq!(params.values, [9, 0, 0, 0]);
    assert!(execute.params(4000).is_err());
}

#[test]
fn types_that_are_not_sent_again_are_none() {
    let payload = [COM_STMT_EXECUTE, 7, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0, 5];
    let Command::Execute(execute) = Command::parse(&payload).unwrap() else { panic!("execute") };
    assert!(execute.wants_cursor());
    assert_eq!(execute.params(1).unwrap().types, None);
}

#[test]
fn query_attributes_lie_before_the_text() {
    let mut body = vec![2, 1, 0b10, 1];
    body.extend_from_slice(&[0xfd, 0, 1, b'a', 0xfd, 0, 1, b'b']);
    body.extend_from_slice(b"\x03xyzSELECT 1");
    let caps = Capabilities::QUERY_ATTRIBUTES;
    let query = query_text(&body, caps).unwrap();
    assert_eq!(query.text, b"SELECT 1");
    assert_eq!(query_text(b"\0\x01SELECT 1", caps).unwrap().text, b"SELECT 1");
    assert_eq!(query_text(b"SELECT 1", Capabilities::empty()).unwrap().text, b"SELECT 1");
    assert!(query_text(&[0xfe, 255, 255, 255, 255, 255, 255, 255, 255, 1], caps).is_err());
}

#[test]
fn commands_without_a_reply_are_known() {
    for (payload, kind) in [
        (vec![COM_QUIT], CommandKind::NoReply),
        (vec![COM_STMT_CLOSE, 1, 0, 0, 0], CommandKind::NoReply),
        (vec![COM_STMT_SEND_LONG_DATA, 1, 0, 0, 0, 0, 0, 1], CommandKind::NoReply),
        (vec![COM_STMT_FETCH, 1, 0, 0, 0, 9, 0, 0, 0], CommandKind::Fetch),
        (vec![COM_STATISTICS], CommandKind::Statistics),
        (vec![COM_SET_OPTION, 0, 0], CommandKind::Simple),
        (vec![COM_STMT_BULK_EXECUTE, 1, 0, 0, 0, 128, 0], CommandKind::Execute),
        (vec![0x77], CommandKind::Simple),
    ] {
        assert_eq!(Command::parse(&payload).unwrap().kind(), kind, "{payload:?}");
        assert_eq!(is_unanswered(payload[0]), kind == CommandKind::NoReply, "{payload:?}");
    }
    assert!(Command::parse(&[]).is_err());
    assert!(Command::parse(&[COM_STMT_CLOSE, 1]).is_err());
}
