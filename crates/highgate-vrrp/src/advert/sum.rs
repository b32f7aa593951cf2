//! The checksums (RFC 1071): VRRPv2's over the message alone, VRRPv3's with both ends' addresses.

use std::net::IpAddr;

use super::{Envelope, GROUP_V4, Malformed, PROTOCOL, Version};

/// The sum of VRRPv2 over a message whose own field is zero; an IPv4 header has the same.
pub(crate) fn plain(message: &[u8]) -> u16 {
    finish(add(0, message))
}

/// The sum of VRRPv3, over the pseudo header of the family and a message whose own field is zero.
pub(super) fn with_addresses(message: &[u8], source: IpAddr, destination: IpAddr) -> u16 {
    let mut sum = 0;
    for end in [source, destination] {
        sum = match end {
            IpAddr::V4(address) => add(sum, &address.octets()),
            IpAddr::V6(address) => add(sum, &address.octets()),
        };
    }
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    sum = add(sum, &length.to_be_bytes());
    sum = add(sum, &[0, PROTOCOL]);
    finish(add(sum, message))
}

/// Whether the sum is the old one of unicast; an error if it is none that is known.
pub(super) fn verify(
    version: Version,
    message: &[u8],
    received: u16,
    envelope: &Envelope,
) -> Result<bool, Malformed> {
    let mut zeroed = message.to_vec();
    if let Some(field) = zeroed.get_mut(6..8) {
        field.fill(0);
    }
    let expected = match version {
        Version::V2 => plain(&zeroed),
        Version::V3 => with_addresses(&zeroed, envelope.source, envelope.destination),
    };
    if same(expected, received) {
        return Ok(false);
    }
    // Quirk: Keepalived before 1.3.7 sums unicast adverts of VRRPv3 as if they went to the group.
    let is_unicast = envelope.destination.is_ipv4() && !envelope.destination.is_multicast();
    if version == Version::V3 && is_unicast {
        let old = with_addresses(&zeroed, envelope.source, GROUP_V4.into());
        if same(old, received) {
            return Ok(true);
        }
    }
    Err(Malformed::Checksum { expected, received })
}

/// Zero has two forms in ones' complement; which of them a sender writes depends on how it adds.
const fn same(one: u16, other: u16) -> bool {
    one == other || matches!((one, other), (0, u16::MAX) | (u16::MAX, 0))
}

fn add(mut sum: u32, bytes: &[u8]) -> u32 {
    let (pairs, odd) = bytes.as_chunks::<2>();
    for pair in pairs {
        sum += u32::from(u16::from_be_bytes(*pair));
    }
    if let [last] = odd {
        sum += u32::from(u16::from_be_bytes([*last, 0]));
    }
    sum
}

fn finish(mut sum: u32) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or(u16::MAX)
}
