//! What two Highgates tell each other before the address moves between nodes that both work.
//!
//! An advert in an envelope of four bytes, which says of it what it is for. The advert within is
//! whole: its sum, password and addresses are those of any other.
//!
//! Quirk: the envelope has the router number 0, which no router has. Keepalived 2.2 leaves numbers
//! that it does not know aside without a word (unless `log_unknown_vrids` is set), whereas it
//! complains of a type that it does not know.

/// The type of VRRP that the RFCs do not give to anything.
const KIND: u8 = 0x0f;
/// The router number of the envelope.
const NOBODY: u8 = 0;

/// What an advert in an envelope is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    /// A backup of higher rank, which the advert names, is about to take over and asks the active
    /// router to end its connections first.
    Asks,
    /// The active router gives the address to the rank that the advert names, as soon as its
    /// connections have ended.
    Yields,
}

impl Word {
    const fn number(self) -> u8 {
        match self {
            Self::Asks => 1,
            Self::Yields => 2,
        }
    }

    /// Puts an advert in its envelope.
    #[must_use]
    pub fn wrap(self, advert: &[u8]) -> Vec<u8> {
        let version = advert.first().map_or(0, |first| first & 0xf0);
        let mut bytes = vec![version | KIND, NOBODY, self.number(), 0];
        bytes.extend_from_slice(advert);
        bytes
    }

    /// The advert in an envelope, and what it is for; `None` for any other packet.
    #[must_use]
    pub fn unwrap(payload: &[u8]) -> Option<(Self, &[u8])> {
        let (&[kind, NOBODY, word, 0], advert) = payload.split_first_chunk::<4>()? else {
            return None;
        };
        if kind & 0x0f != KIND {
            return None;
        }
        [Self::Asks, Self::Yields]
            .into_iter()
            .find(|known| known.number() == word)
            .map(|word| (word, advert))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_in_an_envelope_comes_out_of_it() {
        let advert = [0x21, 51, 100, 1, 0, 1, 0xba, 0x52];
        for word in [Word::Asks, Word::Yields] {
            assert_eq!(Word::unwrap(&word.wrap(&advert)), Some((word, &advert[..])));
        }
        assert_eq!(Word::unwrap(&advert), None);
        assert_eq!(Word::unwrap(&[0x2f, 0, 9, 0]), None);
        assert_eq!(Word::unwrap(&[0x2f, 0]), None);
    }
}
