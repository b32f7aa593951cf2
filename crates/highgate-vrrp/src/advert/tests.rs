use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::*;

fn v4(last: u8) -> IpAddr {
    Ipv4Addr::new(10, 9, 9, last).into()
}

fn group4() -> IpAddr {
    group(true)
}

fn from(source: IpAddr, destination: IpAddr) -> Envelope {
    Envelope { source, destination, ttl: 255 }
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<_> = hex.chars().filter(char::is_ascii_hexdigit).collect();
    let pair = |pair: &[char]| u8::from_str_radix(&pair.iter().collect::<String>(), 16).unwrap();
    digits.chunks(2).map(pair).collect()
}

fn advert(version: Version, vrid: u8, priority: u8, vip: IpAddr) -> Advert {
    Advert {
        version,
        vrid,
        priority,
        interval: Duration::from_secs(1),
        auth: Auth::None,
        addresses: vec![vip],
    }
}

/// Captured from Keepalived 2.2.7.
fn captured() -> Vec<(&'static str, Advert, Envelope, &'static str)> {
    let pass = Auth::Password(Password::new("1111"));
    vec![
        (
            "VRRPv2 with PASS",
            Advert { auth: pass, ..advert(Version::V2, 51, 101, v4(100)) },
            from(v4(1), group4()),
            "21336501 010102fb 0a090964 3131313100000000",
        ),
        (
            "VRRPv2 without",
            advert(Version::V2, 53, 50, v4(102)),
            from(v4(1), group4()),
            "21353201 00019959 0a090966 0000000000000000",
        ),
        (
            "VRRPv3 by multicast",
            Advert {
                interval: Duration::from_millis(500),
                ..advert(Version::V3, 52, 200, v4(101))
            },
            from(v4(1), group4()),
            "3134c801 0032ff90 0a090965",
        ),
        (
            "VRRPv3 by unicast",
            advert(Version::V3, 54, 255, v4(103)),
            from(v4(1), v4(2)),
            "3136ff01 00649562 0a090967",
        ),
    ]
}

#[test]
fn what_keepalived_sends_is_understood() {
    for (name, advert, envelope, hex) in captured() {
        let heard = decode(&bytes(hex), &envelope);
        assert_eq!(heard, Ok(Heard { advert, old_sum: false }), "{name}");
    }
}

#[test]
fn the_same_is_sent_byte_by_byte() {
    for (name, advert, envelope, hex) in captured() {
        assert_eq!(advert.encode(envelope.source, envelope.destination), bytes(hex), "{name}");
    }
}

#[test]
fn any_changed_bit_of_a_packet_is_noticed() {
    for (name, advert, envelope, hex) in captured() {
        let right = bytes(hex);
        for bit in 0..right.len() * 8 {
            let mut wrong = right.clone();
            wrong[bit / 8] ^= 1 << (bit % 8);
            let heard = decode(&wrong, &envelope);
            assert_ne!(heard.map(|heard| heard.advert), Ok(advert.clone()), "{name}, bit {bit}");
        }
    }
}

#[test]
fn a_wrong_sum_is_told_with_both_sums() {
    let mut packet = bytes("21353201 00019959 0a090966 0000000000000000");
    packet[6] = 0;
    let refused = decode(&packet, &from(v4(1), group4()));
    assert_eq!(refused, Err(Malformed::Checksum { expected: 0x9959, received: 0x0059 }));
    assert_eq!(refused.unwrap_err().to_string(), "its checksum is 0x0059, expected 0x9959");
}

#[test]
fn version_three_sums_the_addresses_of_both_ends() {
    let packet = bytes("3134c801 0032ff90 0a090965");
    let elsewhere = decode(&packet, &from(v4(9), group4()));
    assert!(matches!(elsewhere, Err(Malformed::Checksum { .. })), "{elsewhere:?}");
}

#[test]
fn the_old_sum_of_unicast_is_understood_and_marked() {
    let (_, advert, envelope, _) = captured().swap_remove(3);
    let old = advert.encode(envelope.source, group4());
    assert_eq!(decode(&old, &envelope), Ok(Heard { advert, old_sum: true }));
}

#[test]
fn the_sum_for_another_unicast_address_is_wrong() {
    let (_, advert, envelope, _) = captured().swap_remove(3);
    let wrong = advert.encode(envelope.source, v4(77));
    assert!(matches!(decode(&wrong, &envelope), Err(Malformed::Checksum { .. })));
}

#[test]
fn lengths_that_do_not_fit_the_count_are_refused() {
    let right = bytes("3134c801 0032ff90 0a090965");
    let envelope = from(v4(1), group4());
    for length in 0..right.len() {
        let refused = decode(&right[..length], &envelope).unwrap_err();
        let kind = Refusal::from(refused).kind();
        assert_eq!(kind, RefusalKind::Length, "{length} bytes");
    }
    let longer = [right.as_slice(), &[0]].concat();
    assert_eq!(decode(&longer, &envelope), Err(Malformed::Length { expected: 12, received: 13 }));
}

#[test]
fn what_is_no_advertisement_is_refused() {
    let envelope = from(v4(1), group4());
    let with_first = |first: u8| {
        let mut packet = bytes("3134c801 0032ff90 0a090965");
        packet[0] = first;
        decode(&packet, &envelope).unwrap_err()
    };
    assert_eq!(with_first(0x41), Malformed::Version { received: 4 });
    assert_eq!(with_first(0x11), Malformed::Version { received: 1 });
    assert_eq!(with_first(0x32), Malformed::Type { received: 2 });
}

#[test]
fn version_two_over_ipv6_is_refused() {
    let source = IpAddr::V6(Ipv6Addr::LOCALHOST);
    let packet = bytes("21353201 00019959 0a090966 0000000000000000");
    assert_eq!(decode(&packet, &from(source, group(false))), Err(Malformed::Family));
}

#[test]
fn an_interval_of_zero_is_refused_since_a_backup_would_count_by_it() {
    let mut packet = bytes("3134c801 00000000 0a090965");
    let sum = sum::with_addresses(&packet, v4(1), group4()).to_be_bytes();
    packet[6..8].copy_from_slice(&sum);
    assert_eq!(decode(&packet, &from(v4(1), group4())), Err(Malformed::Interval));
}

#[test]
fn a_router_id_of_zero_is_refused() {
    let packet = advert(Version::V3, 0, 100, v4(100)).encode(v4(1), group4());
    assert_eq!(decode(&packet, &from(v4(1), group4())), Err(Malformed::RouterId));
}

#[test]
fn an_authentication_header_is_named_and_its_reason_given() {
    let packet = Advert { auth: Auth::Other(2), ..advert(Version::V2, 51, 100, v4(100)) }
        .encode(v4(1), group4());
    let heard = decode(&packet, &from(v4(1), group4())).unwrap();
    let refused = expected(&Auth::None, &[v4(100)], &MULTICAST).admit(&heard.advert).unwrap_err();
    assert_eq!(refused, Mismatch::AuthType { expected: 0, received: 2 });
    assert_eq!(
        refused.to_string(),
        "its authentication is AH, which is not spoken here (its replay protection fails with \
         several nodes), expected none"
    );
}

#[test]
fn an_interval_that_can_not_be_expressed_is_rounded_up() {
    let interval = |version, millis| {
        let one = advert(version, 1, 100, v4(100));
        let packet =
            Advert { interval: Duration::from_millis(millis), ..one }.encode(v4(1), group4());
        decode(&packet, &from(v4(1), group4())).unwrap().advert.interval.as_millis()
    };
    assert_eq!(interval(Version::V2, 1_500), 2_000);
    assert_eq!(interval(Version::V2, 999_000), 255_000);
    assert_eq!(interval(Version::V3, 1), 10);
    assert_eq!(interval(Version::V3, 15), 20);
    assert_eq!(interval(Version::V3, 99_000), 40_950);
}

#[test]
fn a_password_is_eight_bytes_and_never_shown() {
    assert_eq!(Password::new("12345678"), Password::new("123456789"));
    assert_ne!(Password::new("1111"), Password::new("1112"));
    let auth = Auth::Password(Password::new("geheim"));
    assert!(!format!("{auth:?}").contains("geheim"));
}

const MULTICAST: Casting = Casting::Multicast { group: None };

fn expected<'a>(auth: &'a Auth, addresses: &'a [IpAddr], casting: &'a Casting) -> Expected<'a> {
    Expected {
        version: Version::V2,
        vrid: 51,
        interval: Duration::from_secs(1),
        auth,
        addresses,
        casting,
        own: Some(v4(5)),
    }
}

#[test]
fn each_difference_of_a_peer_is_named() {
    let addresses = [v4(100)];
    let auth = Auth::Password(Password::new("1111"));
    let right = Advert { auth: auth.clone(), ..advert(Version::V2, 51, 100, v4(100)) };
    let expected = expected(&auth, &addresses, &MULTICAST);
    let refused = |advert: Advert| expected.admit(&advert).unwrap_err().to_string();

    assert_eq!(expected.admit(&right), Ok(()));
    let other_password = Auth::Password(Password::new("2222"));
    for (advert, text) in [
        (Advert { version: Version::V3, ..right.clone() }, "it is VRRPv3, expected VRRPv2"),
        (Advert { vrid: 52, ..right.clone() }, "its router id is 52, expected 51"),
        (Advert { auth: Auth::None, ..right.clone() }, "its authentication is none, expected PASS"),
        (
            Advert { auth: other_password, ..right.clone() },
            "its password differs from the one configured here",
        ),
        (
            Advert { interval: Duration::from_secs(2), ..right.clone() },
            "its interval is 2s, expected 1s: VRRPv2 wants the same everywhere",
        ),
        (
            Advert { addresses: vec![v4(101), v4(100)], ..right.clone() },
            "it is for 10.9.9.100, 10.9.9.101, expected 10.9.9.100",
        ),
        (Advert { addresses: vec![], ..right }, "it is for no address, expected 10.9.9.100"),
    ] {
        assert_eq!(refused(advert), text);
    }
}

#[test]
fn the_order_of_addresses_does_not_matter() {
    let addresses = [v4(100), v4(101)];
    let mut other = advert(Version::V2, 51, 100, v4(101));
    other.addresses.push(v4(100));
    assert_eq!(expected(&Auth::None, &addresses, &MULTICAST).admit(&other), Ok(()));
}

#[test]
fn a_long_forged_list_does_not_make_a_long_text() {
    let received = vec![v4(1); 255];
    let text = Mismatch::Addresses { expected: vec![], received }.to_string();
    assert!(text.ends_with("and 247 more, expected no address"), "{text}");
}

#[test]
fn by_multicast_a_ttl_of_255_is_demanded() {
    let expected = expected(&Auth::None, &[], &MULTICAST);
    let refused = expected.admit_envelope(&Envelope { ttl: 254, ..from(v4(1), group4()) });
    assert_eq!(refused.unwrap_err().to_string(), "its TTL is 254, expected 255");
}

#[test]
fn unicast_to_a_router_of_multicast_is_named() {
    let refused =
        expected(&Auth::None, &[], &MULTICAST).admit_envelope(&from(v4(1), v4(5))).unwrap_err();
    assert_eq!(refused.to_string(), "it came by unicast to 10.9.9.5, expected multicast");
}

#[test]
fn by_unicast_the_ttl_and_the_sender_count_as_configured() {
    let near = UnicastPeer { min_ttl: 254, ..UnicastPeer::new(v4(1)) };
    let peers = vec![near, UnicastPeer::new(v4(2))];
    let open = Casting::Unicast { peers: peers.clone(), ttl: 255, check_source: false };
    let closed = Casting::Unicast { peers, ttl: 255, check_source: true };
    let admit = |casting: &Casting, last, ttl| {
        let envelope = Envelope { ttl, ..from(v4(last), v4(5)) };
        expected(&Auth::None, &[], casting).admit_envelope(&envelope).map_err(|no| no.to_string())
    };
    assert_eq!(admit(&open, 1, 254), Ok(()));
    assert_eq!(admit(&open, 1, 253), Err("its TTL is 253, expected 254 to 255".to_owned()));
    assert_eq!(admit(&open, 2, 1), Ok(()));
    assert_eq!(admit(&open, 3, 255), Ok(()));
    assert_eq!(admit(&closed, 3, 255), Err("10.9.9.3 is not among the unicast peers".to_owned()));
    let by_group = expected(&Auth::None, &[], &open).admit_envelope(&from(v4(1), group4()));
    assert_eq!(
        by_group.unwrap_err().to_string(),
        "it came by multicast to 224.0.0.18, expected unicast"
    );
}

#[test]
fn an_advert_from_our_own_address_is_refused() {
    let refused = expected(&Auth::None, &[], &MULTICAST).admit_envelope(&from(v4(5), group4()));
    assert_eq!(
        refused.unwrap_err().to_string(),
        "it comes from 10.9.9.5, which is this node's own address"
    );
}

proptest! {
    #[test]
    fn what_is_encoded_is_decoded(
        vrid in 1..=255_u8,
        priority: u8,
        centis in 1..=4095_u64,
        seconds in 1..=255_u64,
        hosts in proptest::collection::vec(any::<u32>(), 0..=255),
        password in proptest::option::of("[ -~]{0,8}"),
        kind in 0..3,
    ) {
        let version = if kind == 0 { Version::V2 } else { Version::V3 };
        let host = |host: &u32| match kind {
            2 => IpAddr::V6(Ipv6Addr::from_bits(u128::from(*host) << 64)),
            _ => IpAddr::V4(Ipv4Addr::from_bits(*host)),
        };
        let advert = Advert {
            version,
            vrid,
            priority,
            interval: match version {
                Version::V2 => Duration::from_secs(seconds),
                Version::V3 => Duration::from_millis(centis * 10),
            },
            auth: match (version, password) {
                (Version::V2, Some(text)) => Auth::Password(Password::new(&text)),
                _ => Auth::None,
            },
            addresses: hosts.iter().map(host).collect(),
        };
        let source = if kind == 2 { IpAddr::V6(Ipv6Addr::LOCALHOST) } else { v4(1) };
        let envelope = from(source, group(kind != 2));
        let packet = advert.encode(envelope.source, envelope.destination);
        prop_assert_eq!(decode(&packet, &envelope), Ok(Heard { advert, old_sum: false }));
    }

    #[test]
    fn no_bytes_make_the_decoder_panic(
        payload in proptest::collection::vec(any::<u8>(), 0..64),
        is_v4: bool,
    ) {
        let source = if is_v4 { v4(1) } else { IpAddr::V6(Ipv6Addr::LOCALHOST) };
        let _ = decode(&payload, &from(source, group(is_v4)));
    }
}
