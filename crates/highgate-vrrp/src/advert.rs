//! The advertisement on the wire: VRRPv2 (RFC 3768 §5) and VRRPv3 (RFC 9568 §5), IPv4 and IPv6.
//!
//! [`decode`] answers what a packet says, [`Expected::admit`] whether it speaks to this router. All
//! that is refused has a type that names the difference ([`Malformed`], [`Mismatch`]), since a refused
//! advert means that no active router was heard, and two of them may follow.
//!
//! Neither knows of sockets, states or time.

mod admit;
mod refusal;
mod sum;
#[cfg(test)]
mod tests;
mod word;

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;
use zeroize::Zeroize;

pub(crate) use self::sum::plain as plain_sum;
pub use self::{
    admit::{Casting, Expected, UnicastPeer},
    refusal::{Malformed, Mismatch, Refusal, RefusalKind},
    word::Word,
};

/// The number of VRRP among the protocols of IP.
pub const PROTOCOL: u8 = 112;
/// Where adverts go on IPv4, unless there are unicast peers.
pub const GROUP_V4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 18);
/// Where adverts go on IPv6, unless there are unicast peers.
pub const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12);
/// The TTL or hop limit of every advert by multicast: what came through a router has less.
pub const TTL: u8 = 255;
/// The priority of whoever owns the address, whom nothing outranks.
pub const OWNER: u8 = 255;
/// The priority that says "I give it away".
pub const RESIGNS: u8 = 0;

const HEADER: usize = 8;
const AUTH_DATA: usize = 8;
const ADVERTISEMENT: u8 = 1;
const PASS: u8 = 1;

/// The version of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Version {
    /// RFC 3768: IPv4, whole seconds, equal intervals everywhere.
    V2,
    /// RFC 9568: IPv4 and IPv6, hundredths of a second, intervals are learned.
    V3,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V2 => "VRRPv2",
            Self::V3 => "VRRPv3",
        })
    }
}

/// The password of VRRPv2: eight bytes, in clear on the wire.
#[derive(Clone, Serialize, Deserialize)]
pub struct Password([u8; AUTH_DATA]);

impl Password {
    /// Takes the first eight bytes of a text, as Keepalived does.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let mut bytes = [0; AUTH_DATA];
        for (to, from) in bytes.iter_mut().zip(text.bytes()) {
            *to = from;
        }
        Self(bytes)
    }
}

impl Drop for Password {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl PartialEq for Password {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for Password {}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

/// How an advert of VRRPv2 shows that it belongs here; VRRPv3 has nothing of the kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Auth {
    /// Not at all.
    None,
    /// By a password in clear (type 1, PASS).
    Password(Password),
    /// By something that is not spoken here; 2 is AH, the authentication header of IPsec.
    Other(u8),
}

impl Auth {
    /// The number on the wire.
    #[must_use]
    pub const fn kind(&self) -> u8 {
        match self {
            Self::None => 0,
            Self::Password(_) => PASS,
            Self::Other(kind) => *kind,
        }
    }
}

/// What IP says about a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Envelope {
    /// Who sent it.
    pub source: IpAddr,
    /// To which address: a group or one of ours.
    pub destination: IpAddr,
    /// The TTL or hop limit with which it came.
    pub ttl: u8,
}

/// One advertisement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advert {
    /// The version of the protocol.
    pub version: Version,
    /// The number of the virtual router, 1 to 255.
    pub vrid: u8,
    /// 1 to 254, [`OWNER`], or [`RESIGNS`].
    pub priority: u8,
    /// The sender's time between two adverts.
    pub interval: Duration,
    /// Only VRRPv2 has it; else [`Auth::None`].
    pub auth: Auth,
    /// The addresses of the virtual router, all of one family.
    pub addresses: Vec<IpAddr>,
}

/// An advert as it was heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    /// What it says.
    pub advert: Advert,
    /// Its sum was made as if it had gone to the group, although it did not: Keepalived before 1.3.7,
    /// which understands only such sums.
    pub old_sum: bool,
}

impl Advert {
    /// The bytes to send after the IP header. The addresses of both ends are part of VRRPv3's sum.
    ///
    /// An interval that the version can't express becomes the nearest that it can.
    #[must_use]
    pub fn encode(&self, source: IpAddr, destination: IpAddr) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER + self.addresses.len() * 16 + AUTH_DATA);
        let (number, fourth, fifth) = match self.version {
            Version::V2 => (2_u8, self.auth.kind(), whole_seconds(self.interval)),
            Version::V3 => {
                let [high, low] = centiseconds(self.interval).to_be_bytes();
                (3, high, low)
            }
        };
        let count = u8::try_from(self.addresses.len()).unwrap_or(u8::MAX);
        bytes.extend([number << 4 | ADVERTISEMENT, self.vrid, self.priority, count]);
        bytes.extend([fourth, fifth, 0, 0]);
        for address in self.addresses.iter().take(usize::from(count)) {
            match address {
                IpAddr::V4(address) => bytes.extend(address.octets()),
                IpAddr::V6(address) => bytes.extend(address.octets()),
            }
        }
        if self.version == Version::V2 {
            bytes.extend(match &self.auth {
                Auth::Password(password) => password.0,
                Auth::None | Auth::Other(_) => [0; AUTH_DATA],
            });
        }
        let sum = match self.version {
            Version::V2 => sum::plain(&bytes),
            Version::V3 => sum::with_addresses(&bytes, source, destination),
        };
        if let Some(field) = bytes.get_mut(6..8) {
            field.copy_from_slice(&sum.to_be_bytes());
        }
        bytes
    }
}

/// Reads what follows the IP header.
///
/// # Errors
///
/// [`Malformed`] says what is wrong with the bytes by themselves, whoever they are for.
pub fn decode(payload: &[u8], envelope: &Envelope) -> Result<Heard, Malformed> {
    let Some((&[version, vrid, priority, count, fourth, fifth, high, low], rest)) =
        payload.split_first_chunk::<HEADER>()
    else {
        return Err(Malformed::Short { received: payload.len() });
    };
    let is_v4 = envelope.source.is_ipv4();
    let version = match (version >> 4, version & 0x0f) {
        (2, ADVERTISEMENT) if is_v4 => Version::V2,
        (3, ADVERTISEMENT) => Version::V3,
        (2, ADVERTISEMENT) => return Err(Malformed::Family),
        (2 | 3, kind) => return Err(Malformed::Type { received: kind }),
        (other, _) => return Err(Malformed::Version { received: other }),
    };
    let width = if is_v4 { 4 } else { 16 };
    let trailer = if version == Version::V2 { AUTH_DATA } else { 0 };
    let expected = usize::from(count) * width;
    if rest.len() != expected + trailer {
        return Err(Malformed::Length {
            expected: HEADER + expected + trailer,
            received: payload.len(),
        });
    }
    let old_sum = sum::verify(version, payload, u16::from_be_bytes([high, low]), envelope)?;
    if vrid == 0 {
        return Err(Malformed::RouterId);
    }
    let interval = match version {
        Version::V2 => Duration::from_secs(fifth.into()),
        Version::V3 => {
            let centis = u16::from_be_bytes([fourth & 0x0f, fifth]);
            Duration::from_millis(u64::from(centis) * 10)
        }
    };
    if interval.is_zero() {
        return Err(Malformed::Interval);
    }
    let (addresses, data) = rest.split_at(expected);
    let auth = match version {
        Version::V2 => auth(fourth, data),
        Version::V3 => Auth::None,
    };
    let addresses = addresses.chunks_exact(width).filter_map(address).collect();
    let advert = Advert { version, vrid, priority, interval, auth, addresses };
    Ok(Heard { advert, old_sum })
}

fn auth(kind: u8, data: &[u8]) -> Auth {
    match (kind, <[u8; AUTH_DATA]>::try_from(data)) {
        (0, _) => Auth::None,
        (PASS, Ok(data)) => Auth::Password(Password(data)),
        (other, _) => Auth::Other(other),
    }
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    <[u8; 4]>::try_from(bytes)
        .map(IpAddr::from)
        .or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from))
        .ok()
}

/// 1 to 255, rounded up: who advertises less often than said is taken for dead.
fn whole_seconds(interval: Duration) -> u8 {
    let up = interval.as_secs() + u64::from(interval.subsec_nanos() > 0);
    u8::try_from(up.max(1)).unwrap_or(u8::MAX)
}

/// 1 to 4,095, rounded up.
fn centiseconds(interval: Duration) -> u16 {
    const MOST: u16 = 0x0fff;
    let up = interval.as_nanos().div_ceil(10_000_000).max(1);
    u16::try_from(up).unwrap_or(MOST).min(MOST)
}

/// The group of a family.
#[must_use]
pub const fn group(is_v4: bool) -> IpAddr {
    if is_v4 { IpAddr::V4(GROUP_V4) } else { IpAddr::V6(GROUP_V6) }
}
