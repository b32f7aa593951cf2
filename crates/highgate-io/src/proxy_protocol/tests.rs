use super::*;

fn pair(from: &str, to: &str) -> Option<(SocketAddr, SocketAddr)> {
    Some((from.parse().unwrap(), to.parse().unwrap()))
}

#[test]
fn what_is_written_is_read_back() {
    let cases =
        [pair("10.0.0.1:3306", "192.168.1.2:1"), pair("[2001:db8::1]:65535", "[::1]:0"), None];
    for addresses in cases {
        for bytes in [encode_v1(addresses), encode_v2(addresses)] {
            let length = bytes.len();
            assert_eq!(parse(&bytes), Parsed::Header { addresses, length });
        }
    }
}

#[test]
fn a_header_cut_anywhere_asks_for_more() {
    let addresses = pair("10.0.0.1:3306", "192.168.1.2:1");
    for bytes in [encode_v1(addresses), encode_v2(addresses)] {
        for cut in 0..bytes.len() {
            assert_eq!(parse(&bytes[..cut]), Parsed::More, "cut at {cut}");
        }
    }
}

#[test]
fn what_follows_a_header_is_left_alone() {
    let mut bytes = encode_v2(pair("1.2.3.4:5", "6.7.8.9:10"));
    let whole = bytes.len();
    bytes.extend(b"\x01\0\0\x01\x0e");
    assert!(matches!(parse(&bytes), Parsed::Header { length, .. } if length == whole));
}

#[test]
fn what_is_no_header_is_refused() {
    let cases: [&[u8]; 9] = [
        b"\x4a\0\0\0\x0a",
        b"GET / HTTP/1.1\r\n",
        b"PROXY TCP4 1.2.3.4 ::1 1 2\r\n",
        b"PROXY TCP4 1.2.3.4 5.6.7.8 1 70000\r\n",
        b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2 3\r\n",
        b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\n",
        b"PROXY TCP5 1.2.3.4 5.6.7.8 1 2\r\n",
        b"\r\n\r\n\0\r\nQUIT\n\x11\x11\0\x0c",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff",
    ];
    for bytes in cases {
        assert_eq!(parse(bytes), Parsed::Invalid, "{bytes:?}");
    }
    assert_eq!(parse(&[b"PROXY ".as_slice(), &[b'x'; 200]].concat()), Parsed::Invalid);
}

#[test]
fn a_header_is_recognised_by_its_first_bytes_and_nothing_else_is() {
    let v2 = encode_v2(None);
    assert_eq!(looks(b"PROXY TCP4"), Looks::Header);
    assert_eq!(looks(&v2), Looks::Header);
    for bytes in [&b""[..], b"P", b"PROXY", &v2[..5]] {
        assert_eq!(looks(bytes), Looks::More, "{bytes:?}");
    }
    for bytes in [&b"POST / HTTP/1.1"[..], b"\x20\0\0\x01", b"\r\n\r\nGET"] {
        assert_eq!(looks(bytes), Looks::Other, "{bytes:?}");
    }
}

#[test]
fn a_client_of_the_other_family_keeps_its_address() {
    let v4: SocketAddr = "192.0.2.1:1".parse().unwrap();
    let v6: SocketAddr = "[2001:db8::7]:2".parse().unwrap();
    for (from, to) in [(v4, v6), (v6, v4)] {
        for bytes in [encode_v1(Some((from, to))), encode_v2(Some((from, to)))] {
            let Parsed::Header { addresses: Some((read, _)), length } = parse(&bytes) else {
                panic!("{bytes:?}")
            };
            assert_eq!((read.ip().to_canonical(), length), (from.ip(), bytes.len()));
        }
    }
}
