//! Who is connected to a port for operators: nobody may take all of its connections.
//!
//! A port that has a bound on its connections is closed to everybody by the one peer that opens as many
//! and says nothing. So each address has a share of them. This machine itself may have nearly all: who
//! asks there for `/health` comes from the same address as everybody else on it.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv6Addr},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use highgate_core::limits::{Telling, and_more};
use parking_lot::Mutex;

/// Time between two lines of the log about one port.
const TOLD_EVERY: Duration = Duration::from_secs(10);

/// How many sockets the TCP ports for operators may have, both together: what the limit of descriptors
/// leaves them, which may change.
#[derive(Debug, Clone)]
pub struct Room(Arc<AtomicU32>);

impl Room {
    /// As many as stand there.
    #[must_use]
    pub const fn new(sockets: Arc<AtomicU32>) -> Self {
        Self(sockets)
    }

    /// A quarter.
    pub(crate) fn of_sql(&self) -> usize {
        (self.sockets() / 4).max(1)
    }

    /// The rest.
    pub(crate) fn of_web(&self) -> usize {
        (self.sockets() - self.sockets() / 4).max(1)
    }

    fn sockets(&self) -> usize {
        usize::try_from(self.0.load(Ordering::Relaxed)).unwrap_or(usize::MAX)
    }
}

impl Default for Room {
    fn default() -> Self {
        Self(Arc::new(AtomicU32::new(u32::MAX)))
    }
}

/// The peers of one port.
#[derive(Debug, Clone)]
pub(crate) struct Crowd {
    port: &'static str,
    share: usize,
    shares: Shares,
    counts: Arc<Mutex<Counts>>,
}

/// How many connections may be of one address.
#[derive(Debug, Clone, Copy)]
struct Shares {
    of_this_machine: usize,
    of_another: usize,
}

#[derive(Debug, Default)]
struct Counts {
    by_address: BTreeMap<IpAddr, usize>,
    told: Telling,
}

/// One connection of a peer; given back when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    counts: Arc<Mutex<Counts>>,
    of: Option<IpAddr>,
}

impl Crowd {
    /// Nobody yet, at a port of at most `most` connections, of which `share` may be of one address.
    pub(crate) fn of(port: &'static str, most: usize, share: usize) -> Self {
        Self { port, share, shares: Shares::within(most, share), counts: Arc::default() }
    }

    /// The port has that many from now on.
    pub(crate) fn bound(&mut self, most: usize) {
        self.shares = Shares::within(most, self.share);
    }

    /// Takes a place for a peer; `None` where its address has its share. Who comes without an address
    /// is its owner, by a socket of his.
    pub(crate) fn admit(&self, from: Option<IpAddr>, now: Instant) -> Option<Place> {
        let of = from.map(network);
        let mut counts = self.counts.lock();
        if let Some(address) = of {
            let count = counts.by_address.entry(address).or_default();
            if *count >= self.shares.of(address) {
                if let Some(untold) = counts.told.happened(now, TOLD_EVERY) {
                    let (port, more) = (self.port, and_more(untold));
                    tracing::warn!(%address, "the {port} refused a connection: too many of its address{more}");
                }
                return None;
            }
            *count += 1;
        }
        Some(Place { counts: self.counts.clone(), of })
    }
}

impl Shares {
    fn within(most: usize, share: usize) -> Self {
        let of_this_machine = (most - most.div_ceil(8)).max(1);
        Self { of_this_machine, of_another: share.clamp(1, of_this_machine) }
    }

    const fn of(self, address: IpAddr) -> usize {
        if address.is_loopback() { self.of_this_machine } else { self.of_another }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some(address) = self.of else { return };
        let mut counts = self.counts.lock();
        if let Some(count) = counts.by_address.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                counts.by_address.remove(&address);
            }
        }
    }
}

/// What one peer has: an IPv4 address, or a whole network of IPv6.
fn network(address: IpAddr) -> IpAddr {
    /// A machine chooses the lower half by itself.
    const UPPER: u128 = !(u64::MAX as u128);
    match address.to_canonical() {
        IpAddr::V6(address) if !address.is_loopback() => {
            Ipv6Addr::from_bits(address.to_bits() & UPPER).into()
        }
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(crowd: &Crowd, from: &[&str]) -> Vec<Place> {
        let peers = from.iter().cycle().take(1000);
        peers.filter_map(|it| crowd.admit(Some(it.parse().unwrap()), clock())).collect()
    }

    fn clock() -> Instant {
        highgate_io::clock::now()
    }

    #[test]
    fn one_address_has_its_share_and_this_machine_all_but_a_reserve() {
        let crowd = Crowd::of("port", 64, 16);
        for (from, share) in [
            (&["10.0.0.1"][..], 16),
            (&["10.0.0.1", "::ffff:10.0.0.1"], 16),
            (&["10.0.0.1", "10.0.0.2"], 32),
            (&["2001:db8::1", "2001:db8::2:1", "2001:db8::ffff:0:0:1"], 16),
            (&["2001:db8::1", "2001:db8:0:1::1"], 32),
            (&["127.0.0.1"], 56),
            (&["::1"], 56),
        ] {
            let places = taken(&crowd, from);
            assert_eq!(places.len(), share, "{from:?}");
            assert!(crowd.admit(Some([192, 0, 2, 1].into()), clock()).is_some(), "somebody else");
            drop(places);
        }
        assert!(crowd.counts.lock().by_address.is_empty(), "all was given back");
        let mut crowd = crowd;
        crowd.bound(12);
        assert_eq!(taken(&crowd, &["127.0.0.1"]).len(), 10, "fewer descriptors");
        assert_eq!(taken(&crowd, &["10.0.0.1"]).len(), 10);
        assert!((0..100).all(|_| crowd.admit(None, clock()).is_some()), "the owner's socket");
    }
}
