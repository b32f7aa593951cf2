use netlink_packet_route::address::AddressHeaderFlags;

use super::{
    datagram::tests::{link, message, odd},
    *,
};

#[test]
fn a_notice_that_is_not_understood_has_the_links_looked_at() {
    let (new_link, new_address) = (16, 20);
    for notice in [
        message(new_link, 0, 0, &link(2, "eth0", &odd())),
        message(new_address, 0, 0, &[1]),
        vec![1],
    ] {
        assert_eq!(changes_in(&notice), [Change::Links], "{notice:?}");
    }
    assert_eq!(changes_in(&[]), []);
}

#[test]
fn what_comes_behind_a_notice_that_is_not_understood_is_heard() {
    let mut address = address_message(7, &VirtualAddress::new([10, 0, 0, 1].into()));
    address.header.flags = AddressHeaderFlags::empty();
    let mut known = NetlinkMessage::from(RouteNetlinkMessage::DelAddress(address));
    known.finalize();
    let mut bytes = vec![0; known.buffer_len()];
    known.serialize(&mut bytes);
    let packet = [message(20, 0, 0, &[1]), bytes].concat();
    let found = changes_in(&packet);
    assert!(matches!(found[..], [Change::Links, Change::Removed(_)]), "{found:?}");
}

#[test]
fn an_address_that_is_not_known_to_be_alone_sends_nothing_yet() {
    let mut message = address_message(7, &VirtualAddress::new("fe80::1".parse().unwrap()));
    let usable = |message: &AddressMessage| read_address(message).unwrap().is_usable;
    assert!(usable(&message));
    for flag in [AddressHeaderFlags::Tentative, AddressHeaderFlags::Dadfailed] {
        message.header.flags = AddressHeaderFlags::Permanent | flag;
        assert!(!usable(&message), "{flag:?}");
    }
}

#[test]
fn nobody_waits_without_an_end_for_an_answer() {
    let mut netlink = Netlink::open().unwrap();
    let begun = std::time::Instant::now();
    // Nothing was asked.
    let error = netlink.answers().unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    assert!(begun.elapsed() < PATIENCE * 3);
    assert!(netlink.links().unwrap().contains_key("lo"), "the next question is answered");
}
