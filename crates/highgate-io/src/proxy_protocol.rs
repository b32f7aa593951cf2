//! The PROXY protocol header, versions 1 and 2, as bytes. (The HAProxy project's specification.)

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Longest header of version 1.
const V1_MAX: usize = 107;
/// First bytes of version 2.
const V2_SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Longest body of version 2 that is read; addresses take 36 bytes, the rest are extensions.
const V2_MAX_BODY: usize = 2048;

/// What the first bytes of a connection say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parsed {
    /// A whole header.
    Header {
        /// Client and destination, or `None` for a connection of the proxy itself.
        addresses: Option<(SocketAddr, SocketAddr)>,
        /// Bytes of the header.
        length: usize,
    },
    /// More bytes are needed.
    More,
    /// This is no header.
    Invalid,
}

/// Reads a header from the first bytes of a connection.
#[must_use]
pub fn parse(bytes: &[u8]) -> Parsed {
    let signature = bytes.iter().zip(V2_SIGNATURE).take_while(|(a, b)| **a == *b).count();
    if signature == V2_SIGNATURE.len() {
        return parse_v2(bytes);
    }
    if signature == bytes.len() {
        return Parsed::More;
    }
    parse_v1(bytes)
}

/// What the first bytes of a connection look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Looks {
    /// A header begins like this, and hardly anything else does.
    Header,
    /// More bytes are needed.
    More,
    /// No header begins like this.
    Other,
}

/// Whether a connection begins with a header, whole or not.
#[must_use]
pub fn looks(bytes: &[u8]) -> Looks {
    let begins = |start: &[u8]| bytes.iter().zip(start).all(|(a, b)| a == b);
    match [b"PROXY ".as_slice(), &V2_SIGNATURE].into_iter().find(|start| begins(start)) {
        Some(start) if bytes.len() >= start.len() => Looks::Header,
        Some(_) => Looks::More,
        None => Looks::Other,
    }
}

fn parse_v1(bytes: &[u8]) -> Parsed {
    const START: &[u8] = b"PROXY ";
    if bytes.iter().zip(START).any(|(a, b)| a != b) {
        return Parsed::Invalid;
    }
    let Some(end) = bytes.iter().take(V1_MAX).position(|byte| *byte == b'\n') else {
        return if bytes.len() < V1_MAX { Parsed::More } else { Parsed::Invalid };
    };
    let line = bytes.get(START.len()..end).and_then(|line| line.strip_suffix(b"\r"));
    let Some(line) = line.and_then(|line| std::str::from_utf8(line).ok()) else {
        return Parsed::Invalid;
    };
    let length = end + 1;
    let mut words = line.split(' ');
    let is_v6 = match words.next() {
        Some("TCP4") => false,
        Some("TCP6") => true,
        Some("UNKNOWN") => {
            return Parsed::Header { addresses: None, length };
        }
        _ => return Parsed::Invalid,
    };
    let mut address = || words.next()?.parse::<IpAddr>().ok().filter(|a| a.is_ipv6() == is_v6);
    let (Some(from), Some(to)) = (address(), address()) else {
        return Parsed::Invalid;
    };
    let mut port = || words.next()?.parse::<u16>().ok();
    let (Some(from_port), Some(to_port), None) = (port(), port(), words.next()) else {
        return Parsed::Invalid;
    };
    let addresses = Some((SocketAddr::new(from, from_port), SocketAddr::new(to, to_port)));
    Parsed::Header { addresses, length }
}

fn parse_v2(bytes: &[u8]) -> Parsed {
    let Some(&[command, family, high, low]) = bytes.get(12..16).and_then(|b| b.first_chunk::<4>())
    else {
        return Parsed::More;
    };
    let body_length = usize::from(u16::from_be_bytes([high, low]));
    if command >> 4 != 2 || body_length > V2_MAX_BODY {
        return Parsed::Invalid;
    }
    let length = 16 + body_length;
    let Some(body) = bytes.get(16..length) else {
        return Parsed::More;
    };
    match (command & 0x0f, family >> 4) {
        (0, _) | (1, 0 | 3) => Parsed::Header { addresses: None, length },
        (1, 1) => addresses_v2::<4>(body, length, |b| Ipv4Addr::from(b).into()),
        (1, 2) => addresses_v2::<16>(body, length, |b| Ipv6Addr::from(b).into()),
        _ => Parsed::Invalid,
    }
}

fn addresses_v2<const N: usize>(
    body: &[u8],
    length: usize,
    address: impl Fn([u8; N]) -> IpAddr,
) -> Parsed {
    let read = || {
        let (from, rest) = body.split_first_chunk::<N>()?;
        let (to, rest) = rest.split_first_chunk::<N>()?;
        let (from_port, rest) = rest.split_first_chunk::<2>()?;
        let to_port = rest.first_chunk::<2>()?;
        let from = SocketAddr::new(address(*from), u16::from_be_bytes(*from_port));
        Some((from, SocketAddr::new(address(*to), u16::from_be_bytes(*to_port))))
    };
    match read() {
        Some(addresses) => Parsed::Header { addresses: Some(addresses), length },
        None => Parsed::Invalid,
    }
}

/// A header has one family: where a client of one came in by the other (announced by a proxy in front),
/// IPv4 is written as IPv6.
fn of_one_family((from, to): (SocketAddr, SocketAddr)) -> (SocketAddr, SocketAddr) {
    let as_v6 = |address: SocketAddr| match address.ip() {
        IpAddr::V4(ip) => SocketAddr::new(ip.to_ipv6_mapped().into(), address.port()),
        IpAddr::V6(_) => address,
    };
    if from.is_ipv4() == to.is_ipv4() { (from, to) } else { (as_v6(from), as_v6(to)) }
}

/// Writes a header of version 1; without addresses the peer is told that they are unknown.
#[must_use]
pub fn encode_v1(addresses: Option<(SocketAddr, SocketAddr)>) -> Vec<u8> {
    match addresses.map(of_one_family) {
        Some((from, to)) => {
            let family = if from.is_ipv4() { "TCP4" } else { "TCP6" };
            let (from_ip, to_ip) = (from.ip(), to.ip());
            format!("PROXY {family} {from_ip} {to_ip} {} {}\r\n", from.port(), to.port()).into()
        }
        None => b"PROXY UNKNOWN\r\n".to_vec(),
    }
}

/// Writes a header of version 2; without addresses it is the proxy's own connection (`LOCAL`).
#[must_use]
pub fn encode_v2(addresses: Option<(SocketAddr, SocketAddr)>) -> Vec<u8> {
    let mut bytes = V2_SIGNATURE.to_vec();
    match addresses.map(of_one_family) {
        Some((SocketAddr::V4(from), SocketAddr::V4(to))) => {
            bytes.extend([0x21, 0x11, 0, 12]);
            bytes.extend(from.ip().octets());
            bytes.extend(to.ip().octets());
            bytes.extend(from.port().to_be_bytes());
            bytes.extend(to.port().to_be_bytes());
        }
        Some((from, to)) => {
            bytes.extend([0x21, 0x21, 0, 36]);
            for ip in [from.ip(), to.ip()] {
                if let IpAddr::V6(ip) = ip {
                    bytes.extend(ip.octets());
                }
            }
            bytes.extend(from.port().to_be_bytes());
            bytes.extend(to.port().to_be_bytes());
        }
        None => bytes.extend([0x20, 0, 0, 0]),
    }
    bytes
}

#[cfg(test)]
mod tests;
