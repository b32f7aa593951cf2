//! Who is let in: a listener's limits and networks, what it counts, and a client's place under them.

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use foldhash::HashMap;
use highgate_config::{Listener, ListenerName};
use highgate_core::{
    events::{Event, Kind, Severity},
    limits::{Telling, and_more},
};
use highgate_io::clock;
use parking_lot::Mutex;

use crate::{certificate::CertificateDate, session::Counted, shared::Shared};

/// Time between two events about one kind of refusal.
const TOLD_EVERY: Duration = Duration::from_secs(10);

/// A listener's settings and counters; outlives configurations that keep it.
#[derive(Debug)]
pub struct ListenerState {
    /// Its name.
    pub name: ListenerName,
    /// Its settings in force.
    pub settings: ArcSwap<Listener>,
    /// TLS towards its clients, rebuilt when settings or certificates change.
    pub tls: ArcSwap<Option<Arc<rustls::ServerConfig>>>,
    /// When its certificate expires.
    pub certificate: CertificateDate,
    /// Clients connected now.
    pub clients: AtomicU32,
    /// Clients accepted, ever.
    pub accepted: AtomicU64,
    /// Clients refused at a limit, by network, for their PROXY header or, in tcp mode, for want of a
    /// server, ever.
    pub refused: AtomicU64,
    /// Logins that failed, ever.
    pub login_failures: AtomicU64,
    /// Commands that Highgate answered with an error of its own, ever.
    pub refused_commands: AtomicU64,
    /// Statements that were ended since they took too long, ever.
    pub timed_out_statements: AtomicU64,
    ended: [AtomicU64; Counted::COUNT],
    per_address: Mutex<HashMap<IpAddr, u32>>,
    told: Mutex<[Telling; Refusal::COUNT]>,
}

/// Why a client is refused before anybody asks who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("max_connections_per_address of the listener is reached")]
    AddressFull,
    #[error("it comes from `proxy_protocol_from` and sent no right PROXY header")]
    BadHeader,
    #[error("the worker that is to serve it does not keep up")]
    Busy,
    #[error("it sent a PROXY header and is not in `proxy_protocol_from`")]
    ForeignHeader,
    #[error("max_connections of the listener is reached")]
    ListenerFull,
    #[error("memory_limit of the node is nearly reached")]
    Memory,
    #[error("its network is not in `allow`")]
    Network,
    #[error(
        "it comes from `proxy_protocol_from` and sent no PROXY header within `handshake_timeout`"
    )]
    NoHeader,
    #[error(
        "as many clients are connected as the limit of file descriptors (`ulimit -n`) leaves for them"
    )]
    NoDescriptors,
    #[error("max_connections of the node is reached")]
    NodeFull,
    #[error("no server could be reached for it")]
    NoServer,
}

impl Refusal {
    const COUNT: usize = 11;

    /// The node takes no more clients.
    pub(super) fn node(shared: &Shared) -> Self {
        let is_short = shared.descriptors_bound_clients.load(Ordering::Relaxed);
        if is_short { Self::NoDescriptors } else { Self::NodeFull }
    }

    /// Whether it is a limit, of which clients are told: they may come again.
    pub(super) fn is_limit(self) -> bool {
        match self {
            Self::AddressFull
            | Self::Busy
            | Self::ListenerFull
            | Self::Memory
            | Self::NoDescriptors
            | Self::NodeFull => true,
            Self::BadHeader
            | Self::ForeignHeader
            | Self::Network
            | Self::NoHeader
            | Self::NoServer => false,
        }
    }
}

impl ListenerState {
    /// A listener nobody has connected to yet.
    #[must_use]
    pub fn new(name: ListenerName, settings: Arc<Listener>) -> Self {
        Self {
            name,
            settings: ArcSwap::new(settings),
            tls: ArcSwap::default(),
            certificate: CertificateDate::default(),
            clients: AtomicU32::new(0),
            accepted: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            login_failures: AtomicU64::new(0),
            refused_commands: AtomicU64::new(0),
            timed_out_statements: AtomicU64::new(0),
            ended: Default::default(),
            per_address: Mutex::default(),
            told: Mutex::default(),
        }
    }

    /// Counts the end of a session.
    pub(crate) fn count_ended(&self, how: Counted) {
        if let Some(counter) = self.ended.get(how as usize) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Sessions that ended like that, ever.
    pub(crate) fn ended(&self, how: Counted) -> u64 {
        self.ended.get(how as usize).map_or(0, |counter| counter.load(Ordering::Relaxed))
    }

    /// Counts a refusal; each kind is told once per [`TOLD_EVERY`], with how many more there were.
    pub(crate) fn refuse(&self, shared: &Shared, address: Option<IpAddr>, why: Refusal) {
        self.refused.fetch_add(1, Ordering::Relaxed);
        let Some(untold) = self
            .told
            .lock()
            .get_mut(why as usize)
            .and_then(|telling| telling.happened(clock::now(), TOLD_EVERY))
        else {
            return;
        };
        let more = and_more(untold);
        let from = address.map_or_else(|| "a local client".to_owned(), |ip| ip.to_string());
        let text = format!("listener {} refused {from}: {why}{more}", self.name);
        shared.event(Event::new(Severity::Warning, Kind::Refusal, text));
    }

    /// A client's address, as limits and networks see it.
    pub(super) fn is_allowed(&self, address: Option<IpAddr>) -> bool {
        let allow = &self.settings.load().allow;
        allow.is_empty()
            || address.is_none_or(|ip| allow.iter().any(|network| network.contains(&ip)))
    }
}

/// A client's place under the limits; given back when dropped.
#[derive(Debug)]
pub(crate) struct ClientPermit {
    shared: Arc<Shared>,
    listener: Arc<ListenerState>,
    address: Option<IpAddr>,
}

impl ClientPermit {
    /// Takes a place, or says which limit forbids it.
    pub(super) fn take(
        shared: &Arc<Shared>,
        listener: &Arc<ListenerState>,
    ) -> Result<Self, Refusal> {
        let settings = listener.settings.load();
        let room = |counter: &AtomicU32, max: u32| {
            counter
                .fetch_update(Ordering::AcqRel, Ordering::Relaxed, |n| (n < max).then_some(n + 1))
                .is_ok()
        };
        if !room(&shared.connections, shared.max_connections.load(Ordering::Relaxed)) {
            return Err(Refusal::node(shared));
        }
        let bound = |max: u32| if max == 0 { u32::MAX } else { max };
        if !room(&listener.clients, bound(settings.max_connections)) {
            shared.connections.fetch_sub(1, Ordering::AcqRel);
            return Err(Refusal::ListenerFull);
        }
        Ok(Self { shared: shared.clone(), listener: listener.clone(), address: None })
    }

    /// Counts the client under its address, once that is known.
    pub(super) fn count(&mut self, address: Option<IpAddr>) -> Result<(), Refusal> {
        let max = self.listener.settings.load().max_connections_per_address;
        let Some(address) = address else { return Ok(()) };
        let mut counts = self.listener.per_address.lock();
        let count = counts.entry(address).or_default();
        // All are counted: a bound may be set while they are connected.
        if max > 0 && *count >= max {
            return Err(Refusal::AddressFull);
        }
        *count += 1;
        drop(counts);
        self.address = Some(address);
        Ok(())
    }

    /// Judges a client whose address came in a PROXY header.
    pub(crate) fn announced(&mut self, address: Option<IpAddr>) -> Result<(), Refusal> {
        if !self.listener.is_allowed(address) {
            return Err(Refusal::Network);
        }
        self.count(address)
    }
}

impl Drop for ClientPermit {
    fn drop(&mut self) {
        self.shared.connections.fetch_sub(1, Ordering::AcqRel);
        self.listener.clients.fetch_sub(1, Ordering::AcqRel);
        if let Some(address) = self.address {
            let mut counts = self.listener.per_address.lock();
            if let Some(count) = counts.get_mut(&address) {
                *count -= 1;
                if *count == 0 {
                    counts.remove(&address);
                }
            }
        }
    }
}
