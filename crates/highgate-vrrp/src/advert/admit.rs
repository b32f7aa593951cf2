//! Does an advert speak to this router? Every "no" names the difference.

use std::{net::IpAddr, time::Duration};

use serde::{Deserialize, Serialize};

use super::{Advert, Auth, Envelope, Mismatch, TTL, Version};

/// Another router that is spoken to by unicast.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnicastPeer {
    /// Its address.
    pub address: IpAddr,
    /// The least TTL with which its adverts may arrive; 0 for any.
    pub min_ttl: u8,
    /// The greatest.
    pub max_ttl: u8,
}

impl UnicastPeer {
    /// A peer whose TTL is not looked at.
    #[must_use]
    pub const fn new(address: IpAddr) -> Self {
        Self { address, min_ttl: 0, max_ttl: u8::MAX }
    }
}

/// How adverts travel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Casting {
    /// To a group on the wire, with a TTL of 255 that is demanded as well.
    Multicast {
        /// The group; `None` for the family's own.
        group: Option<IpAddr>,
    },
    /// To each peer.
    Unicast {
        /// Who they are.
        peers: Vec<UnicastPeer>,
        /// The TTL of what is sent; Keepalived's default is 255.
        ttl: u8,
        /// Whether adverts of other senders are refused.
        check_source: bool,
    },
}

/// What a router expects of the adverts of its peers.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// The version.
    pub version: Version,
    /// The number of the virtual router.
    pub vrid: u8,
    /// The interval, which VRRPv2 compares.
    pub interval: Duration,
    /// The authentication, which VRRPv2 compares.
    pub auth: &'a Auth,
    /// The addresses, sorted.
    pub addresses: &'a [IpAddr],
    /// How adverts travel.
    pub casting: &'a Casting,
    /// This node's own address, if it is known.
    pub own: Option<IpAddr>,
}

impl Expected<'_> {
    /// What can be said before a byte of the payload is read.
    ///
    /// # Errors
    ///
    /// [`Mismatch`] names the difference: sender, way or TTL.
    pub fn admit_envelope(&self, envelope: &Envelope) -> Result<(), Mismatch> {
        let Envelope { source, destination, ttl } = *envelope;
        if self.own == Some(source) {
            return Err(Mismatch::OwnAddress { source_address: source });
        }
        match self.casting {
            Casting::Multicast { .. } if !destination.is_multicast() => {
                Err(Mismatch::Unicast { destination })
            }
            Casting::Multicast { .. } => within(TTL, TTL, ttl),
            Casting::Unicast { .. } if destination.is_multicast() => {
                Err(Mismatch::Multicast { destination })
            }
            Casting::Unicast { peers, check_source, .. } => {
                match peers.iter().find(|peer| peer.address == source) {
                    Some(peer) => within(peer.min_ttl, peer.max_ttl, ttl),
                    None if *check_source => Err(Mismatch::Stranger { source_address: source }),
                    None => Ok(()),
                }
            }
        }
    }

    /// Whether the advert is one of this virtual router, made under the same settings.
    ///
    /// # Errors
    ///
    /// [`Mismatch`] names the first difference, in the order in which one would mend them.
    pub fn admit(&self, advert: &Advert) -> Result<(), Mismatch> {
        if advert.version != self.version {
            return Err(Mismatch::Version { expected: self.version, received: advert.version });
        }
        if advert.vrid != self.vrid {
            return Err(Mismatch::RouterId { expected: self.vrid, received: advert.vrid });
        }
        if self.version == Version::V2 {
            self.admit_v2(advert)?;
        }
        let mut received = advert.addresses.clone();
        received.sort_unstable();
        if received != self.addresses {
            return Err(Mismatch::Addresses { expected: self.addresses.to_vec(), received });
        }
        Ok(())
    }

    fn admit_v2(&self, advert: &Advert) -> Result<(), Mismatch> {
        match (self.auth, &advert.auth) {
            (Auth::None, Auth::None) => {}
            (Auth::Password(ours), Auth::Password(theirs)) => {
                if ours != theirs {
                    return Err(Mismatch::Password);
                }
            }
            (ours, theirs) => {
                return Err(Mismatch::AuthType { expected: ours.kind(), received: theirs.kind() });
            }
        }
        if advert.interval != self.interval {
            return Err(Mismatch::Interval { expected: self.interval, received: advert.interval });
        }
        Ok(())
    }
}

const fn within(least: u8, most: u8, received: u8) -> Result<(), Mismatch> {
    if least <= received && received <= most {
        Ok(())
    } else {
        Err(Mismatch::Ttl { least, most, received })
    }
}
