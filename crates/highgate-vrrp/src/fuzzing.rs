//! Entry points for fuzz/: they hold the laws of the decoder against any bytes.

use crate::advert::{self, Envelope};

/// The first bytes choose the envelope, the rest is the payload: no panic, and what was understood
/// is encoded to bytes that mean the same.
pub fn advert(data: &[u8]) {
    let Some((&[choice, last, ttl], payload)) = data.split_first_chunk::<3>() else { return };
    let (source, group) = if choice & 1 == 0 {
        ([10, 0, 0, last].into(), advert::group(true))
    } else {
        (
            std::net::Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, last.into()).into(),
            advert::group(false),
        )
    };
    let destination = if choice & 2 == 0 { group } else { source };
    let envelope = Envelope { source, destination, ttl };
    if let Ok(heard) = advert::decode(payload, &envelope) {
        let again = heard.advert.encode(source, destination);
        let twice = advert::decode(&again, &envelope).map(|heard| heard.advert);
        assert_eq!(twice.as_ref(), Ok(&heard.advert), "what was understood can be said again");
    }
}
