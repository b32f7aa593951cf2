//! The bodies of the fuzz targets for the headers of the PROXY protocol and for certificates, and a short run
//! of the first on every `cargo test`.
//!
//! They take any bytes and must not panic.

use crate::{
    certificate,
    proxy_protocol::{Looks, Parsed, encode_v1, encode_v2, looks, parse},
};

/// A certificate of anybody.
pub fn certificate(der: &[u8]) {
    let expires = certificate::expires(der);
    if let Some(facts) = certificate::facts(der) {
        assert_eq!(expires, Some(facts.not_after));
    }
}

/// What the headers begin with, so that few inputs are spent on finding it.
const BEGINNINGS: [&[u8]; 5] =
    [b"", b"PROXY TCP4 ", b"PROXY TCP6 ", b"\r\n\r\n\0\r\nQUIT\n", b"\r\n\r\n\0\r\nQUIT\n\x21"];

/// The first bytes of a connection, of which the first chooses the beginning: a header is the same
/// whatever follows it, is not seen before it is whole, looks like one, and can be written again.
pub fn proxy_header(data: &[u8]) {
    let Some((choice, rest)) = data.split_first() else { return };
    let beginning = BEGINNINGS.get(usize::from(*choice) % BEGINNINGS.len());
    let bytes = [beginning.copied().unwrap_or_default(), rest].concat();
    match parse(&bytes) {
        whole @ Parsed::Header { addresses, length } => {
            assert!(length <= bytes.len());
            assert_eq!(looks(&bytes), Looks::Header);
            let header = bytes.get(..length).unwrap_or_default();
            assert_eq!(parse(header), whole);
            for cut in 0..length {
                let begun = header.get(..cut).unwrap_or_default();
                assert_eq!(parse(begun), Parsed::More);
                assert_ne!(looks(begun), Looks::Other);
            }
            for again in [encode_v1(addresses), encode_v2(addresses)] {
                assert_eq!(parse(&again), Parsed::Header { addresses, length: again.len() });
            }
        }
        Parsed::More => assert_ne!(looks(&bytes), Looks::Other),
        Parsed::Invalid => {
            // What was no header does not become one.
            let longer = [&bytes[..], b"\r\n"].concat();
            assert_eq!(parse(&longer), Parsed::Invalid);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEEDS: [&[u8]; 6] = [
        b"\x01192.0.2.1 198.51.100.7 56324 3306\r\n\x4a\0\0\0",
        b"\x022001:db8::1 ::1 65535 0\r\n",
        b"\0PROXY UNKNOWN ff ff 1 2\r\n",
        b"\x04\x11\0\x0c\x0a\0\0\x01\x0a\0\0\x02\x30\x39\x0c\xea\x01\0\0\x01",
        b"\x04\x21\0\x24\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x02\x30\x39\x0c\xea",
        b"\x03\x20\0\0\0",
    ];

    #[test]
    fn first_bytes_of_any_kind_are_a_header_more_or_none() {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut next = |end: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            usize::try_from(state % end.max(1) as u64).unwrap()
        };
        for seed in SEEDS {
            for end in 0..=seed.len() {
                proxy_header(&seed[..end]);
            }
        }
        for _ in 0..20_000 {
            let mut bytes = SEEDS[next(SEEDS.len())].to_vec();
            for _ in 0..next(6) {
                let at = next(bytes.len());
                match next(4) {
                    0 => bytes.truncate(at),
                    1 => bytes.insert(at, b" \r\n.:0149PQ\x11\x21\x20"[next(14)]),
                    2 if !bytes.is_empty() => bytes[at] = u8::try_from(next(256)).unwrap(),
                    _ => bytes.extend_from_slice(b"\r\n"),
                }
            }
            proxy_header(&bytes);
        }
    }
}
