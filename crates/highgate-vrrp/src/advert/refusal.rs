//! Why an advert was not heard as one of ours, each with what was expected and what came.

use std::{fmt, net::IpAddr, time::Duration};

use serde::{Deserialize, Serialize};

use super::Version;

/// What is wrong with the bytes of an advert, whoever they are for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The sum is neither right nor the old one of unicast.
    #[error("its checksum is {received:#06x}, expected {expected:#06x}")]
    Checksum {
        /// The right one.
        expected: u16,
        /// The one that came.
        received: u16,
    },
    /// VRRPv2 over IPv6.
    #[error("it is VRRPv2 over IPv6, which does not exist; version 3 does")]
    Family,
    /// An interval of zero.
    #[error("it announces an interval of zero")]
    Interval,
    /// The length does not follow from the number of addresses.
    #[error("it is {received} bytes long, expected {expected} for its number of addresses")]
    Length {
        /// What the number of addresses asks for, in bytes.
        expected: usize,
        /// What came.
        received: usize,
    },
    /// The router id zero.
    #[error("its router id is 0; ids are 1 to 255")]
    RouterId,
    /// Shorter than any advert.
    #[error("it is {received} bytes long, less than an advert's header of 8")]
    Short {
        /// What came.
        received: usize,
    },
    /// A type that is no advertisement.
    #[error("its type is {received}; the only one there is is 1, an advertisement")]
    Type {
        /// What came.
        received: u8,
    },
    /// A version nobody has heard of.
    #[error("its version is {received}, expected 2 or 3")]
    Version {
        /// What came.
        received: u8,
    },
}

/// How an advert that is well formed differs from what this router expects of its peers.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// The lists of addresses differ.
    #[error("it is for {}, expected {}", Addresses(received), Addresses(expected))]
    Addresses {
        /// Ours, sorted.
        expected: Vec<IpAddr>,
        /// Theirs, sorted.
        received: Vec<IpAddr>,
    },
    /// Another kind of authentication.
    #[error("its authentication is {}, expected {}", auth_name(*received), auth_name(*expected))]
    AuthType {
        /// Ours.
        expected: u8,
        /// Theirs.
        received: u8,
    },
    /// Another interval, which VRRPv2 forbids.
    #[error(
        "its interval is {received:?}, expected {expected:?}: VRRPv2 wants the same everywhere"
    )]
    Interval {
        /// Ours.
        expected: Duration,
        /// Theirs.
        received: Duration,
    },
    /// It came to a group, and unicast is configured here.
    #[error("it came by multicast to {destination}, expected unicast")]
    Multicast {
        /// Where it was sent to.
        destination: IpAddr,
    },
    /// It carries our own address as its sender.
    #[error("it comes from {source_address}, which is this node's own address")]
    OwnAddress {
        /// That address.
        source_address: IpAddr,
    },
    /// Another password. Neither is shown.
    #[error("its password differs from the one configured here")]
    Password,
    /// Another router id, for addresses of ours.
    #[error("its router id is {received}, expected {expected}")]
    RouterId {
        /// Ours.
        expected: u8,
        /// Theirs.
        received: u8,
    },
    /// A sender that is not among the unicast peers.
    #[error("{source_address} is not among the unicast peers")]
    Stranger {
        /// Who sent it.
        source_address: IpAddr,
    },
    /// It came through a router, or from a sender that does not set 255.
    #[error("its TTL is {received}, expected {}", TtlRange(*least, *most))]
    Ttl {
        /// The least accepted.
        least: u8,
        /// The greatest accepted.
        most: u8,
        /// What came.
        received: u8,
    },
    /// It came to this node alone, and multicast is configured here.
    #[error("it came by unicast to {destination}, expected multicast")]
    Unicast {
        /// Where it was sent to.
        destination: IpAddr,
    },
    /// The other version.
    #[error("it is {received}, expected {expected}")]
    Version {
        /// Ours.
        expected: Version,
        /// Theirs.
        received: Version,
    },
}

/// Either of both.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Wrong by itself.
    #[error("{0}")]
    Malformed(#[from] Malformed),
    /// Not what is expected here.
    #[error("{0}")]
    Mismatch(#[from] Mismatch),
}

macro_rules! kinds {
    ($($(#[$doc:meta])+ $kind:ident = $text:literal),+ $(,)?) => {
        /// The kinds of refusals, as counters, tables and rate limits know them.
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        pub enum RefusalKind { $($(#[$doc])+ $kind),+ }

        impl RefusalKind {
            /// Every kind.
            pub const ALL: &[Self] = &[$(Self::$kind),+];

            /// Its name in tables and metrics.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$kind => $text),+ }
            }
        }
    };
}

kinds! {
    /// Another list of addresses.
    Addresses = "addresses",
    /// Another kind of authentication.
    AuthType = "auth_type",
    /// Unicast where multicast is expected, or the other way round.
    Casting = "casting",
    /// A wrong sum.
    Checksum = "checksum",
    /// Another interval (VRRPv2), or none.
    Interval = "interval",
    /// A wrong length.
    Length = "length",
    /// Another password.
    Password = "password",
    /// Another router id.
    RouterId = "router_id",
    /// A sender that is not among the peers, or has our own address.
    Sender = "sender",
    /// A TTL that is too small.
    Ttl = "ttl",
    /// Not an advertisement.
    Type = "type",
    /// Another version.
    Version = "version",
}

impl Refusal {
    /// Its kind.
    #[must_use]
    pub const fn kind(&self) -> RefusalKind {
        match self {
            Self::Malformed(malformed) => match malformed {
                Malformed::Checksum { .. } => RefusalKind::Checksum,
                Malformed::Family | Malformed::Version { .. } => RefusalKind::Version,
                Malformed::Interval => RefusalKind::Interval,
                Malformed::Length { .. } | Malformed::Short { .. } => RefusalKind::Length,
                Malformed::RouterId => RefusalKind::RouterId,
                Malformed::Type { .. } => RefusalKind::Type,
            },
            Self::Mismatch(mismatch) => match mismatch {
                Mismatch::Addresses { .. } => RefusalKind::Addresses,
                Mismatch::AuthType { .. } => RefusalKind::AuthType,
                Mismatch::Interval { .. } => RefusalKind::Interval,
                Mismatch::Multicast { .. } | Mismatch::Unicast { .. } => RefusalKind::Casting,
                Mismatch::OwnAddress { .. } | Mismatch::Stranger { .. } => RefusalKind::Sender,
                Mismatch::Password => RefusalKind::Password,
                Mismatch::RouterId { .. } => RefusalKind::RouterId,
                Mismatch::Ttl { .. } => RefusalKind::Ttl,
                Mismatch::Version { .. } => RefusalKind::Version,
            },
        }
    }
}

struct Addresses<'a>(&'a [IpAddr]);

impl fmt::Display for Addresses<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A forged list may have 255 of them.
        const SHOWN: usize = 8;
        if self.0.is_empty() {
            return f.write_str("no address");
        }
        for (index, address) in self.0.iter().take(SHOWN).enumerate() {
            if index > 0 {
                f.write_str(", ")?;
            }
            address.fmt(f)?;
        }
        match self.0.len().checked_sub(SHOWN) {
            Some(more) if more > 0 => write!(f, " and {more} more"),
            _ => Ok(()),
        }
    }
}

struct TtlRange(u8, u8);

impl fmt::Display for TtlRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == self.1 { self.0.fmt(f) } else { write!(f, "{} to {}", self.0, self.1) }
    }
}

const fn auth_name(kind: u8) -> &'static str {
    match kind {
        0 => "none",
        1 => "PASS",
        2 => "AH, which is not spoken here (its replay protection fails with several nodes)",
        _ => "of an unknown type",
    }
}
