//! Bytes below VRRP: the IPv4 header of an advert, and the frames that announce an address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::{advert, machine::Sending};

const ETHERNET_IPV4: [u8; 2] = [0x08, 0x00];
const ETHERNET_ARP: [u8; 2] = [0x08, 0x06];
const ETHERNET_IPV6: [u8; 2] = [0x86, 0xdd];
const BROADCAST: [u8; 6] = [0xff; 6];
const IPV6_HEADER: usize = 40;
const ICMPV6: u8 = 58;
const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
/// Override: whoever knows another MAC address for it is to forget that.
const OVERRIDE: u8 = 0x20;
/// Option 2 of neighbour discovery: the target's link-layer address, one unit of eight bytes long.
const TARGET_MAC: [u8; 2] = [2, 1];
/// Precedence "internetwork control", as RFC 3768 and Keepalived have it.
const CONTROL_TOS: u8 = 0xc0;

/// An IPv4 packet of protocol 112. The kernel fills in length, identification and the header's sum.
pub(crate) fn ipv4(source: Ipv4Addr, destination: Ipv4Addr, ttl: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x45, CONTROL_TOS, 0, 0, 0, 0, 0, 0, ttl, advert::PROTOCOL, 0, 0];
    packet.extend(source.octets());
    packet.extend(destination.octets());
    packet.extend(payload);
    packet
}

/// What an IPv4 header says, and where the payload starts; `None` where it is none.
pub(crate) fn read_ipv4(packet: &[u8]) -> Option<(advert::Envelope, &[u8])> {
    let first = *packet.first()?;
    let length = usize::from(first & 0x0f) * 4;
    if first >> 4 != 4 || length < 20 {
        return None;
    }
    let address = |at: usize| -> Option<IpAddr> {
        let bytes: [u8; 4] = packet.get(at..at + 4)?.try_into().ok()?;
        Some(IpAddr::from(bytes))
    };
    let envelope =
        advert::Envelope { source: address(12)?, destination: address(16)?, ttl: *packet.get(8)? };
    Some((envelope, packet.get(length..)?))
}

/// The frame of an advert to a group, from a MAC address that is not the interface's.
pub(crate) fn advert(mac: [u8; 6], sending: &Sending) -> Vec<u8> {
    match (sending.source, sending.destination) {
        (IpAddr::V4(source), IpAddr::V4(group)) => {
            let [_, second, third, fourth] = group.octets();
            let to = [1, 0, 0x5e, second & 0x7f, third, fourth];
            let mut frame = ethernet(to, mac, ETHERNET_IPV4);
            frame.extend(summed(ipv4(source, group, sending.ttl, &sending.payload)));
            frame
        }
        (IpAddr::V6(source), IpAddr::V6(group)) => {
            let [.., a, b, c, d] = group.octets();
            let mut frame = ethernet([0x33, 0x33, a, b, c, d], mac, ETHERNET_IPV6);
            // Version 6, traffic class 0xc0.
            frame.extend([0x6c, 0, 0, 0]);
            frame.extend(u16::try_from(sending.payload.len()).unwrap_or(0).to_be_bytes());
            frame.extend([advert::PROTOCOL, sending.ttl]);
            frame.extend(source.octets());
            frame.extend(group.octets());
            frame.extend(&sending.payload);
            frame
        }
        _ => Vec::new(),
    }
}

/// An IPv4 packet with the length and the sum that the kernel would fill in.
fn summed(mut packet: Vec<u8>) -> Vec<u8> {
    let length = u16::try_from(packet.len()).unwrap_or(0).to_be_bytes();
    if let Some(field) = packet.get_mut(2..4) {
        field.copy_from_slice(&length);
    }
    let sum = advert::plain_sum(packet.get(..20).unwrap_or_default());
    if let Some(field) = packet.get_mut(10..12) {
        field.copy_from_slice(&sum.to_be_bytes());
    }
    packet
}

/// The frame that tells everybody on the link where an address is now.
pub(crate) fn announcement(address: IpAddr, mac: [u8; 6]) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => gratuitous_arp(address, mac),
        IpAddr::V6(address) => neighbour_advertisement(address, mac),
    }
}

/// A broadcast ARP request whose sender and target are the address itself.
fn gratuitous_arp(address: Ipv4Addr, mac: [u8; 6]) -> Vec<u8> {
    let mut frame = ethernet(BROADCAST, mac, ETHERNET_ARP);
    // Ethernet and IPv4, six and four bytes, a request.
    frame.extend([0, 1, 8, 0, 6, 4, 0, 1]);
    frame.extend(mac);
    frame.extend(address.octets());
    frame.extend(BROADCAST);
    frame.extend(address.octets());
    frame
}

/// An unsolicited neighbour advertisement to all nodes (RFC 4861 §7.2.6).
fn neighbour_advertisement(address: Ipv6Addr, mac: [u8; 6]) -> Vec<u8> {
    let all_nodes = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
    let mut message = vec![NEIGHBOUR_ADVERTISEMENT, 0, 0, 0, OVERRIDE, 0, 0, 0];
    message.extend(address.octets());
    message.extend(TARGET_MAC);
    message.extend(mac);
    let length = u16::try_from(message.len()).unwrap_or(0);
    let sum = icmpv6_sum(address, all_nodes, &message);
    if let Some(field) = message.get_mut(2..4) {
        field.copy_from_slice(&sum.to_be_bytes());
    }
    let mut frame = ethernet([0x33, 0x33, 0, 0, 0, 1], mac, ETHERNET_IPV6);
    frame.reserve(IPV6_HEADER + message.len());
    frame.extend([0x60, 0, 0, 0]);
    frame.extend(length.to_be_bytes());
    frame.extend([ICMPV6, 255]);
    frame.extend(address.octets());
    frame.extend(all_nodes.octets());
    frame.extend(message);
    frame
}

fn ethernet(to: [u8; 6], from: [u8; 6], kind: [u8; 2]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(86);
    frame.extend(to);
    frame.extend(from);
    frame.extend(kind);
    frame
}

/// The sum of RFC 1071 over the pseudo-header of IPv6 and a message of ICMPv6.
fn icmpv6_sum(source: Ipv6Addr, destination: Ipv6Addr, message: &[u8]) -> u16 {
    let length = u16::try_from(message.len()).unwrap_or(0);
    let head = source.octets().into_iter().chain(destination.octets());
    let head = head.chain([0, 0]).chain(length.to_be_bytes()).chain([0, 0, 0, ICMPV6]);
    let bytes: Vec<u8> = head.chain(message.iter().copied()).collect();
    let sum = bytes.chunks(2).fold(0_u32, |sum, pair| {
        let high = pair.first().copied().unwrap_or(0);
        let low = pair.get(1).copied().unwrap_or(0);
        sum + u32::from(u16::from_be_bytes([high, low]))
    });
    let folded = (sum & 0xffff) + (sum >> 16);
    let folded = (folded & 0xffff) + (folded >> 16);
    !u16::try_from(folded).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: [u8; 6] = [2, 0, 0, 0, 0, 7];

    #[test]
    fn a_gratuitous_arp_asks_for_the_address_that_it_has() {
        let frame = announcement(IpAddr::from([10, 9, 9, 100]), MAC);
        assert_eq!(frame.len(), 42);
        assert_eq!(&frame[..14], &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 7, 8, 6]);
        assert_eq!(&frame[28..32], &[10, 9, 9, 100], "the sender");
        assert_eq!(&frame[38..42], &[10, 9, 9, 100], "and the target");
    }

    #[test]
    fn a_neighbour_advertisement_has_a_sum_that_comes_out() {
        let address: Ipv6Addr = "fd99::100".parse().unwrap();
        let frame = announcement(IpAddr::from(address), MAC);
        assert_eq!(frame.len(), 14 + 40 + 32);
        let message = &frame[54..];
        let all_nodes = "ff02::1".parse().unwrap();
        assert_eq!(icmpv6_sum(address, all_nodes, message), 0, "with its own sum inside");
        assert_eq!(frame[21], 255, "hop limit");
    }

    #[test]
    fn a_packet_of_ours_reads_back() {
        let (from, to) = (Ipv4Addr::new(10, 0, 0, 1), advert::GROUP_V4);
        let packet = ipv4(from, to, 255, b"payload");
        let (envelope, payload) = read_ipv4(&packet).unwrap();
        assert_eq!(envelope.source, IpAddr::from(from));
        assert_eq!(envelope.destination, IpAddr::from(to));
        assert_eq!((envelope.ttl, payload), (255, &b"payload"[..]));
    }

    #[test]
    fn an_advert_from_a_mac_of_its_own_reads_back() {
        let sending = Sending {
            source: IpAddr::from([10, 9, 9, 1]),
            destination: IpAddr::V4(advert::GROUP_V4),
            ttl: 255,
            priority: 100,
            payload: b"payload".to_vec(),
        };
        let frame = advert(MAC, &sending);
        assert_eq!(&frame[..14], &[1, 0, 0x5e, 0, 0, 0x12, 2, 0, 0, 0, 0, 7, 8, 0]);
        assert_eq!(advert::plain_sum(&frame[14..34]), 0, "the header with its own sum");
        let (envelope, payload) = read_ipv4(&frame[14..]).unwrap();
        assert_eq!((envelope.source, payload), (sending.source, &b"payload"[..]));
    }

    #[test]
    fn an_advert_of_ipv6_goes_to_the_mac_of_its_group() {
        let sending = Sending {
            source: "fe80::1".parse().unwrap(),
            destination: IpAddr::V6(advert::GROUP_V6),
            ttl: 255,
            priority: 100,
            payload: b"payload".to_vec(),
        };
        let frame = advert(MAC, &sending);
        assert_eq!(&frame[..14], &[0x33, 0x33, 0, 0, 0, 0x12, 2, 0, 0, 0, 0, 7, 0x86, 0xdd]);
        assert_eq!(&frame[18..22], &[0, 7, 112, 255], "length, protocol and hop limit");
        assert_eq!(frame.len(), 14 + 40 + 7);
    }

    #[test]
    fn what_is_no_ipv4_header_is_none() {
        for bytes in [&b""[..], &[0x45], &[0x65; 40], &[0x41; 40], &[0x4f; 40]] {
            assert_eq!(read_ipv4(bytes), None);
        }
    }
}
