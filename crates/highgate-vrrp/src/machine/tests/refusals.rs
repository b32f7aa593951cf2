//! Adverts that do not count: counted, told, and without any effect.

use super::*;
use crate::advert::{Advert, Casting, Envelope, Password, RefusalKind, UnicastPeer};

/// Adverts of the highest rank, each wrong in one way, with what counts it.
fn wrong(desk: &Desk) -> Vec<(RefusalKind, Vec<u8>, Envelope)> {
    let right = desk.advert(254);
    let is_v4 = desk.router.settings().is_v4();
    let envelope = Envelope { source: node(9, is_v4), destination: advert::group(is_v4), ttl: 255 };
    let encode = |advert: &Advert| advert.encode(envelope.source, envelope.destination);
    let mut bad_sum = encode(&right);
    bad_sum[7] ^= 1;
    let short = encode(&right)[..7].to_vec();
    let mut long = encode(&right);
    long.push(0);
    let other_address = Advert { addresses: vec![node(77, is_v4)], ..right.clone() };
    let two_addresses =
        Advert { addresses: vec![right.addresses[0], node(77, is_v4)], ..right.clone() };
    let mut all = vec![
        (RefusalKind::Checksum, bad_sum, envelope),
        (RefusalKind::Length, short, envelope),
        (RefusalKind::Length, long, envelope),
        (RefusalKind::Ttl, encode(&right), Envelope { ttl: 254, ..envelope }),
        (RefusalKind::Addresses, encode(&other_address), envelope),
        (RefusalKind::Addresses, encode(&two_addresses), envelope),
        (
            RefusalKind::Casting,
            encode(&right),
            Envelope { destination: node(5, is_v4), ..envelope },
        ),
        (RefusalKind::Sender, encode(&right), Envelope { source: node(5, is_v4), ..envelope }),
        (RefusalKind::RouterId, encode(&Advert { vrid: 52, ..right.clone() }), envelope),
    ];
    if is_v4 {
        let other = match right.version {
            Version::V2 => Version::V3,
            Version::V3 => Version::V2,
        };
        all.push((
            RefusalKind::Version,
            encode(&Advert { version: other, ..right.clone() }),
            envelope,
        ));
    }
    if right.version == Version::V2 {
        let with_password = |text: &str| {
            let auth = advert::Auth::Password(Password::new(text));
            encode(&Advert { auth, ..right.clone() })
        };
        let slow = Advert { interval: ms(2_000), ..right.clone() };
        all.push((RefusalKind::AuthType, with_password("1111"), envelope));
        all.push((RefusalKind::Interval, encode(&slow), envelope));
    }
    all
}

#[test]
fn a_flood_of_forged_adverts_moves_neither_state_nor_timer() {
    each_kind(|settings| {
        for prepare in [Desk::started, Desk::active] {
            let mut desk = prepare(settings());
            let before = (desk.router.state(), desk.router.next_deadline());
            for (kind, payload, envelope) in wrong(&desk) {
                for _ in 0..100 {
                    let payload = payload.clone();
                    desk.tell(Input::Packet { payload, envelope });
                }
                assert_eq!((desk.router.state(), desk.router.next_deadline()), before, "{kind:?}");
                assert!(desk.router.status(desk.now).counts.refused[&kind] >= 100);
            }
            assert_eq!(desk.did(), Vec::<String>::new());
        }
    });
}

#[test]
fn each_kind_is_told_once_a_minute_and_peer_with_the_number_left_out() {
    let mut desk = Desk::active(v2());
    let (_, payload, envelope) = wrong(&desk).swap_remove(0);
    for _ in 0..1_000 {
        desk.tell(Input::Packet { payload: payload.clone(), envelope });
    }
    assert_eq!(desk.told(Kind::AdvertRefused).len(), 1);
    desk.pass(ms(60_000));
    desk.tell(Input::Packet { payload: payload.clone(), envelope });
    let told = desk.told(Kind::AdvertRefused);
    assert!(told[0].ends_with("(999 more like it meanwhile)"), "{told:?}");
    let other = Envelope { source: node(8, true), ..envelope };
    desk.tell(Input::Packet { payload, envelope: other });
    assert_eq!(desk.told(Kind::AdvertRefused).len(), 1);
}

#[test]
fn forged_senders_fill_neither_the_log_nor_the_memory() {
    let mut desk = Desk::active(v2());
    desk.hear(50, 1);
    desk.events();
    let (_, payload, envelope) = wrong(&desk).swap_remove(0);
    for sender in 0..10_000_u32 {
        let source = std::net::Ipv4Addr::from_bits(0x0b00_0000 + sender).into();
        let envelope = Envelope { source, ..envelope };
        desk.tell(Input::Packet { payload: payload.clone(), envelope });
    }
    assert!(desk.events().len() <= 65);
    let status = desk.router.status(desk.now);
    assert_eq!(status.peers.len(), 16);
    assert!(status.peers.iter().any(|peer| peer.address == node(1, true)), "a real one stays");
}

#[test]
fn a_mismatch_says_what_follows_from_it() {
    let settings = Settings { password: Some(Password::new("1111")), ..v2() };
    let mut desk = Desk::active(settings);
    let mut advert = desk.advert(200);
    advert.auth = advert::Auth::Password(Password::new("2222"));
    desk.hear_advert(&advert, 9);
    let events = desk.events();
    assert_eq!(events[0].severity, Severity::Error);
    assert_eq!(
        events[0].text,
        "advert of 10.0.0.9 refused: its password differs from the one configured here; the two \
         nodes do not hear each other, so both may be active"
    );
}

#[test]
fn version_three_takes_another_interval_and_tells_of_it() {
    let mut desk = Desk::started(v3());
    let mut advert = desk.advert(200);
    advert.interval = ms(500);
    desk.hear_advert(&advert, 9);
    desk.hear_advert(&advert, 9);
    let told = desk.told(Kind::IntervalDiffers);
    assert_eq!(
        told,
        ["10.0.0.9 advertises every 500ms, configured here is 1s; while it is active, its own \
          counts"]
    );
}

#[test]
fn a_peer_with_the_old_sum_is_answered_with_the_old_sum() {
    let peers = vec![UnicastPeer::new(node(9, true)), UnicastPeer::new(node(8, true))];
    let casting = Casting::Unicast { peers, ttl: 255, check_source: false };
    let mut desk = Desk::active(Settings { casting, ..v3() });
    let advert = desk.advert(50);
    let envelope = Envelope { source: node(9, true), destination: node(5, true), ttl: 255 };
    let old = advert.encode(envelope.source, advert::group(true));
    desk.tell(Input::Packet { payload: old, envelope });
    desk.pass(ms(1_000));
    let effects = desk.router.step(Input::Weight(1), desk.now);
    let sums: Vec<_> = effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Send(sending) => {
                let envelope = Envelope {
                    source: sending.source,
                    destination: sending.destination,
                    ttl: sending.ttl,
                };
                Some(advert::decode(&sending.payload, &envelope).unwrap().old_sum)
            }
            _ => None,
        })
        .collect();
    assert_eq!(sums, [true, false]);
}

#[test]
fn by_unicast_each_peer_gets_an_advert_of_its_own() {
    let peers = vec![UnicastPeer::new(node(9, true)), UnicastPeer::new(node(8, true))];
    let casting = Casting::Unicast { peers, ttl: 64, check_source: true };
    let mut desk = Desk::active(Settings { casting, ..v2() });
    let effects = desk.router.step(Input::Weight(1), desk.now);
    let sent: Vec<_> = effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Send(sending) => Some((sending.destination, sending.ttl)),
            _ => None,
        })
        .collect();
    assert_eq!(sent, [(node(9, true), 64), (node(8, true), 64)]);
    assert_eq!(desk.router.status(desk.now).counts.sent_resignations, 0);
}
