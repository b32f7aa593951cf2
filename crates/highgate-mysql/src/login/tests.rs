use super::*;

fn caps() -> Capabilities {
    Capabilities::PROTOCOL_41
        | Capabilities::SECURE_CONNECTION
        | Capabilities::PLUGIN_AUTH
        | Capabilities::PLUGIN_AUTH_LENENC
        | Capabilities::CONNECT_WITH_DB
        | Capabilities::CONNECT_ATTRS
}

fn login() -> LoginRequest {
    LoginRequest {
        capabilities: caps() | Capabilities::MARIADB_PROGRESS,
        max_packet: 1 << 24,
        collation: 45,
        user: "app".into(),
        answer: Secret::new([9; 20]),
        schema: Some("shop".into()),
        plugin: NATIVE.into(),
        attributes: vec![("_client_name".into(), "libmariadb".into())],
        zstd_level: None,
    }
}

#[test]
fn a_login_comes_back_and_no_cut_of_it_panics() {
    let mut out = Vec::new();
    login().encode(&mut out);
    let first = LoginRequest::parse_first(&out).unwrap();
    assert_eq!(first, FirstPacket::Login(Box::new(login())));
    for end in 0..out.len() {
        let _ = LoginRequest::parse_first(&out[..end]);
    }
}

#[test]
fn a_request_for_tls_is_the_fixed_part_alone() {
    let mut out = Vec::new();
    login().encode_ssl_request(&mut out);
    assert_eq!(out.len(), 32);
    assert!(matches!(LoginRequest::parse_first(&out), Ok(FirstPacket::StartTls(_))));
}

#[test]
fn clients_of_the_old_protocol_are_refused() {
    assert!(LoginRequest::parse_first(&[0x85, 0x24, 0, 0, 0, b'u', 0]).is_err());
}

#[test]
fn a_change_of_user_comes_back() {
    let change = ChangeUser {
        user: "other".into(),
        answer: Secret::new([1; 20]),
        schema: None,
        collation: Some(224),
        plugin: NATIVE.into(),
        attributes: vec![("a".into(), "b".into())],
    };
    let mut out = Vec::new();
    change.encode(&mut out, caps());
    assert_eq!(ChangeUser::parse(&out[1..], caps()).unwrap(), change);
}

#[test]
fn an_auth_switch_comes_back_without_the_nul() {
    for challenge in [b"abcdefghijklmnopqrst".to_vec(), vec![0; 32], vec![]] {
        let mut out = Vec::new();
        AuthSwitch { plugin: "p", challenge: &challenge }.encode(&mut out);
        assert_eq!(AuthSwitch::parse(&out).unwrap().challenge, challenge);
    }
    assert!(AuthSwitch::parse(&[0xfe]).is_err());
}

/// Seen by reading: 64 KiB of pairs of a byte each were 1.8 MiB, before any password was looked at.
#[test]
fn of_many_attributes_only_those_are_kept_that_drivers_send() {
    let pair = |i: usize| (format!("k{i}"), "v".to_owned());
    let attributes: Vec<_> = (0..5_000).map(pair).collect();
    let mut out = Vec::new();
    LoginRequest { attributes: attributes.clone(), ..login() }.encode(&mut out);
    let FirstPacket::Login(kept) = LoginRequest::parse_first(&out).unwrap() else { panic!() };
    assert_eq!(kept.attributes, attributes[..128]);
}

#[test]
fn a_name_that_no_account_can_have_is_no_login() {
    let mut out = Vec::new();
    for (length, is_login) in [(384, true), (385, false), (100_000, false)] {
        out.clear();
        LoginRequest { user: "x".repeat(length), ..login() }.encode(&mut out);
        assert_eq!(LoginRequest::parse_first(&out).is_ok(), is_login, "{length}");
    }
    // No UTF-8: each byte becomes three.
    out.clear();
    LoginRequest { user: "x".repeat(200), ..login() }.encode(&mut out);
    out.iter_mut().filter(|byte| **byte == b'x').for_each(|byte| *byte = 0xff);
    assert!(LoginRequest::parse_first(&out).is_err());
}
