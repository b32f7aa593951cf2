//! Listening sockets and their accept loops: on a data worker, in batches, with permits taken
//! before anything is spent on a client.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    os::fd::{AsFd, OwnedFd},
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use foldhash::HashMap;
use highgate_config::{Listener, ListenerName, Mode};
use highgate_core::{
    events::{Event, Kind, Severity},
    limits::{Telling, and_more},
};
use highgate_io::{clock, tasks::Stop, transport::Detached};
use parking_lot::Mutex;
use rustix::net::SocketFlags;
use tokio::io::{Interest, unix::AsyncFd};

use crate::{
    certificate::CertificateDate,
    shared::{Accepted, Shared},
    worker::Mail,
};

/// Connections accepted before others get a turn.
const BATCH: usize = 64;
/// Pause after the system refused to accept: descriptors must become free first.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);

/// Time between two events about one kind of refusal.
const TOLD_EVERY: Duration = Duration::from_secs(10);
/// Pause while the node is full.
const FULL_PAUSE: Duration = Duration::from_millis(20);

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
    #[error("max_connections of the node is reached")]
    NodeFull,
    #[error("no server could be reached for it")]
    NoServer,
}

impl Refusal {
    const COUNT: usize = 10;

    /// Whether it is a limit, of which clients are told: they may come again.
    fn is_limit(self) -> bool {
        match self {
            Self::AddressFull | Self::Busy | Self::ListenerFull | Self::Memory | Self::NodeFull => {
                true
            }
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
            per_address: Mutex::default(),
            told: Mutex::default(),
        }
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
    fn is_allowed(&self, address: Option<IpAddr>) -> bool {
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
    fn take(shared: &Arc<Shared>, listener: &Arc<ListenerState>) -> Result<Self, Refusal> {
        let settings = listener.settings.load();
        let room = |counter: &AtomicU32, max: u32| {
            counter
                .fetch_update(Ordering::AcqRel, Ordering::Relaxed, |n| (n < max).then_some(n + 1))
                .is_ok()
        };
        if !room(&shared.connections, shared.max_connections.load(Ordering::Relaxed)) {
            return Err(Refusal::NodeFull);
        }
        let bound = |max: u32| if max == 0 { u32::MAX } else { max };
        if !room(&listener.clients, bound(settings.max_connections)) {
            shared.connections.fetch_sub(1, Ordering::AcqRel);
            return Err(Refusal::ListenerFull);
        }
        Ok(Self { shared: shared.clone(), listener: listener.clone(), address: None })
    }

    /// Counts the client under its address, once that is known.
    fn count(&mut self, address: Option<IpAddr>) -> Result<(), Refusal> {
        let max = self.listener.settings.load().max_connections_per_address;
        let (true, Some(address)) = (max > 0, address) else { return Ok(()) };
        let mut counts = self.listener.per_address.lock();
        let count = counts.entry(address).or_default();
        if *count >= max {
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

/// A bound socket.
#[derive(Debug)]
pub enum Bound {
    /// TCP.
    Tcp(std::net::TcpListener),
    /// A Unix socket.
    Unix(std::os::unix::net::UnixListener),
}

impl Bound {
    /// The address that the kernel gave, for people.
    #[must_use]
    pub fn address(&self) -> String {
        match self {
            Self::Tcp(socket) => {
                socket.local_addr().map_or_else(|_| "?".to_owned(), |address| address.to_string())
            }
            Self::Unix(socket) => socket
                .local_addr()
                .ok()
                .and_then(|address| address.as_pathname().map(|path| path.display().to_string()))
                .map_or_else(|| "unix:?".to_owned(), |path| format!("unix:{path}")),
        }
    }

    /// A second descriptor of the same socket, for another worker or process.
    ///
    /// # Errors
    /// When the process has no descriptor left.
    pub fn duplicate(&self) -> io::Result<OwnedFd> {
        match self {
            Self::Tcp(socket) => socket.as_fd().try_clone_to_owned(),
            Self::Unix(socket) => socket.as_fd().try_clone_to_owned(),
        }
    }
}

/// Counts an accept loop while it runs.
struct Accepting(Arc<Shared>);

impl Accepting {
    fn begin(shared: Arc<Shared>) -> Self {
        shared.accepting.fetch_add(1, Ordering::AcqRel);
        Self(shared)
    }
}

impl Drop for Accepting {
    fn drop(&mut self) {
        self.0.accepting.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A listening socket on a worker's epoll. Accepted sockets are not registered here: their worker
/// may be another one.
#[derive(Debug)]
struct Socket(AsyncFd<OwnedFd>);

/// Accepts until `stop`, giving each client to the worker that should have it.
///
/// Cancel safe: yes; a client not yet given away is closed.
pub(crate) async fn serve(
    shared: Arc<Shared>,
    listener: Arc<ListenerState>,
    bound: Bound,
    home: usize,
    stop: Stop,
) {
    let descriptor = match bound {
        Bound::Tcp(socket) => OwnedFd::from(socket),
        Bound::Unix(socket) => OwnedFd::from(socket),
    };
    #[expect(
        deprecated,
        reason = "the descriptor is owned here and never lent, so nobody can close it under epoll; \
                  the constructor that replaces this one is unsafe for those that lend"
    )]
    let registered = AsyncFd::with_interest(descriptor, Interest::READABLE);
    let _accepting = Accepting::begin(shared.clone());
    let socket = match registered {
        Ok(socket) => Socket(socket),
        Err(error) => {
            tracing::error!(listener = %listener.name, "cannot serve: {error}");
            return;
        }
    };
    tokio::select! {
        biased;
        () = stop.stopped() => {}
        () = accept_loop(&shared, &listener, &socket, home) => {}
    }
}

async fn accept_loop(
    shared: &Arc<Shared>,
    listener: &Arc<ListenerState>,
    socket: &Socket,
    home: usize,
) {
    let mut in_batch = 0;
    let mut exhausted = false;
    let mut is_full = false;
    loop {
        // A place first: beyond the node's limit clients wait in the kernel's queue.
        if !shared.has_room() {
            if !std::mem::replace(&mut is_full, true) {
                let text = format!(
                    "listener {} pauses: max_connections of the node is reached",
                    listener.name
                );
                shared.event(Event::new(Severity::Warning, Kind::Limit, text));
            }
            clock::pause(FULL_PAUSE).await;
            continue;
        }
        is_full = false;
        match accept(socket).await {
            Ok((client, peer)) => {
                exhausted = false;
                admit(shared, listener, client, peer, home);
                in_batch += 1;
                if in_batch == BATCH {
                    in_batch = 0;
                    tokio::task::yield_now().await;
                }
            }
            Err(error) if is_of_one_client(&error) => {}
            Err(error) => {
                if !exhausted {
                    exhausted = true;
                    let text = format!(
                        "listener {} cannot accept ({error}); it pauses until descriptors are free",
                        listener.name
                    );
                    shared.event(Event::new(Severity::Error, Kind::Limit, text));
                }
                clock::pause(EXHAUSTED_PAUSE).await;
            }
        }
    }
}

async fn accept(socket: &Socket) -> io::Result<(Detached, Option<SocketAddr>)> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let (client, peer) = socket
        .0
        .async_io(Interest::READABLE, |fd| Ok(rustix::net::acceptfrom_with(fd, flags)?))
        .await?;
    // No delay and keepalive are inherited from the listening socket.
    Ok(match peer.and_then(|peer| SocketAddr::try_from(peer).ok()) {
        Some(peer) => (Detached::Tcp(client.into()), Some(peer)),
        None => (Detached::Unix(client.into()), None),
    })
}

/// Whether accepting failed because of that client alone: it reset the connection, or a filter
/// dropped it. The next accept can go on at once.
fn is_of_one_client(error: &io::Error) -> bool {
    use io::ErrorKind::{
        ConnectionAborted, ConnectionReset, Interrupted, InvalidInput, NotConnected,
        PermissionDenied,
    };
    matches!(
        error.kind(),
        ConnectionAborted
            | ConnectionReset
            | Interrupted
            | InvalidInput
            | NotConnected
            | PermissionDenied
    )
}

fn admit(
    shared: &Arc<Shared>,
    listener: &Arc<ListenerState>,
    client: Detached,
    peer: Option<SocketAddr>,
    home: usize,
) {
    let address = peer.map(|peer| peer.ip().to_canonical());
    if let Err((why, client)) = try_admit(shared, listener, client, (peer, address), home) {
        refuse(shared, listener, &client, address, why);
    }
}

fn try_admit(
    shared: &Arc<Shared>,
    listener: &Arc<ListenerState>,
    client: Detached,
    (peer, address): (Option<SocketAddr>, Option<IpAddr>),
    home: usize,
) -> Result<(), (Refusal, Detached)> {
    // Who speaks for others is judged by whom it speaks for, once it has said so.
    let speaks_for_others = crate::proxy_header::is_trusted(&listener.settings.load(), address);
    if !speaks_for_others && !listener.is_allowed(address) {
        return Err((Refusal::Network, client));
    }
    if shared.is_short_of(shared.memory_reserve()) {
        return Err((Refusal::Memory, client));
    }
    let mut permit = match ClientPermit::take(shared, listener) {
        Ok(permit) => permit,
        Err(why) => return Err((why, client)),
    };
    if !speaks_for_others && let Err(why) = permit.count(address) {
        return Err((why, client));
    }
    listener.accepted.fetch_add(1, Ordering::Relaxed);
    give(shared, Accepted { socket: Some(client), peer, listener: listener.clone(), permit }, home);
    Ok(())
}

fn refuse(
    shared: &Shared,
    listener: &ListenerState,
    client: &Detached,
    address: Option<IpAddr>,
    why: Refusal,
) {
    if why.is_limit() && listener.settings.load().mode == Mode::Mysql {
        // A client in its first read understands this before any greeting. Best effort: it is
        // small, and a full socket buffer means a peer not worth waiting for.
        let packet = crate::mysql::answer::too_many_connections(&why.to_string());
        let _ = match client {
            Detached::Tcp(stream) => io::Write::write(&mut &*stream, &packet),
            Detached::Unix(stream) => io::Write::write(&mut &*stream, &packet),
        };
    }
    listener.refuse(shared, address, why);
}

/// Keeps a client on the accepting worker if that is within one session of the least loaded.
fn give(shared: &Shared, accepted: Accepted, home: usize) {
    let load = |index: usize| {
        shared.workers.get(index).map_or(u32::MAX, |w| w.sessions.load(Ordering::Relaxed))
    };
    let least = (0..shared.workers.len()).min_by_key(|index| load(*index)).unwrap_or(home);
    let target = if load(home) <= load(least).saturating_add(1) { home } else { least };
    let Some(worker) = shared.workers.get(target) else { return };
    // Counted here and not on arrival, so that a burst spreads evenly.
    worker.sessions.fetch_add(1, Ordering::Relaxed);
    let (listener, peer) = (accepted.listener.clone(), accepted.peer);
    if worker.mail.try_send(Mail::Client(Box::new(accepted))).is_err() {
        worker.sessions.fetch_sub(1, Ordering::Relaxed);
        listener.refuse(shared, peer.map(|peer| peer.ip().to_canonical()), Refusal::Busy);
    }
}
