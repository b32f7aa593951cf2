//! What the data workers and the control side share: the snapshot, the events, the queues.
//!
//! Workers read the snapshot through a cached `Arc` and touch locks only where a limit is reached,
//! a session begins or ends, or something is worth an event.

use std::{
    net::SocketAddr,
    os::fd::{AsRawFd as _, RawFd},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use crossbeam_utils::CachePadded;
use foldhash::HashMap;
use highgate_config::BackendName;
use highgate_core::{
    accounts::AccountList,
    digests::Heaviest,
    events::{Event, EventLimit, EventRing},
    limits::Attempts,
    snapshot::Snapshot,
};
use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc, watch};

use crate::{
    broker::{Brokers, Rates},
    facts::{BackendFacts, Facts},
    session_info::SessionInfo,
    tls_files::ServerTls,
    worker::Mail,
};

/// Events kept for operators.
const EVENTS: usize = 10_000;

/// Shared by all workers and the control side of one node.
#[derive(Debug)]
pub struct Shared {
    /// What commands are decided on.
    pub snapshot: ArcSwap<Snapshot>,
    /// Told after every new snapshot.
    pub snapshot_changed: watch::Sender<u64>,
    /// Wakes the monitors: traffic saw a failure.
    pub traffic_failure: Notify,
    /// Where commands wait for a server's connection.
    pub(crate) brokers: Brokers,
    /// The data workers.
    pub(crate) workers: Vec<WorkerHandle>,
    /// How the servers of each backend greet.
    pub(crate) facts: Facts,
    /// This node drains: `COM_PING` answers 1053.
    pub draining: AtomicBool,
    /// This node stops: sessions end that have no work under way.
    pub(crate) stopping: AtomicBool,
    /// Memory in buffers, in bytes.
    pub memory: Arc<AtomicU64>,
    /// Upper bound of that; 0 = none.
    pub memory_limit: AtomicU64,
    /// Connections to servers open now, and upper bound of that: descriptors are left for clients,
    /// checks and operators.
    pub(crate) server_sockets: AtomicU32,
    pub(crate) max_server_sockets: AtomicU32,
    /// Most sockets of the TCP ports for operators.
    pub(crate) operator_sockets: Arc<AtomicU32>,
    /// How many checks may open a connection at once.
    pub(crate) check_sockets: Arc<AtomicU32>,
    /// How fast connections to servers may be opened.
    pub(crate) rates: Rates,
    /// Upper bound of client connections of the process.
    pub max_connections: AtomicU32,
    /// Whether that is what descriptors allow, rather than what somebody set.
    pub(crate) descriptors_bound_clients: AtomicBool,
    /// Client connections open now.
    pub connections: CachePadded<AtomicU32>,
    /// Clients of accounts that have a limit.
    pub(crate) user_places: Arc<crate::user_place::Counts>,
    /// What full caching_sha2 logins taught.
    pub(crate) learned_sha2: crate::mysql::accounts::LearnedSha2,
    /// What stands for accounts that don't exist.
    pub(crate) decoys: crate::mysql::accounts::DecoyMaker,
    /// Accounts of clusters, as they were read last; none before the first time.
    pub(crate) accounts: Mutex<std::collections::BTreeMap<BackendName, Arc<AccountList>>>,
    /// Held by each session that accounts of clusters let in: they are read while one is left, too.
    pub(crate) lets_in: Arc<()>,
    /// Wakes the logins that wait for their first reading.
    pub(crate) accounts_read: Notify,
    /// Wakes who reads them: a login failed, for which they may be out of date.
    pub(crate) accounts_wanted: Notify,
    /// Forms of statements by what they cost, as workers told.
    pub(crate) digests: Mutex<Heaviest>,
    /// Logins that failed lately.
    pub(crate) attempts: Mutex<Attempts>,
    /// Checks of passwords that take milliseconds: few at once, so that a flood of wrong ones
    /// leaves processors for the rest.
    pub(crate) slow_checks: crate::mysql::slow_checks::SlowChecks,
    /// The key for full caching_sha2 logins without TLS.
    pub(crate) rsa: Option<Arc<highgate_io::rsa::KeyPair>>,
    /// TLS towards the servers of each backend that has it.
    pub(crate) server_tls: Mutex<ServerTls>,
    events: Mutex<EventRing>,
    limit: Mutex<EventLimit>,
    sessions: Mutex<Sessions>,
    /// Accept loops that run.
    pub(crate) accepting: AtomicU32,
    /// Listening sockets given to workers so far.
    pub(crate) sockets_served: std::sync::atomic::AtomicUsize,
    /// When the process started.
    pub started: Instant,
    wall_ms: fn() -> u64,
}

#[derive(Debug, Default)]
struct Sessions {
    living: HashMap<u32, Arc<SessionInfo>>,
    next: u32,
}

/// How others reach a worker.
#[derive(Debug, Clone)]
pub(crate) struct WorkerHandle {
    pub(crate) mail: mpsc::Sender<Mail>,
    pub(crate) sessions: Arc<CachePadded<AtomicU32>>,
    /// When it was last seen to have a turn, as [`Shared::age_ms`]; 0 before its first.
    pub(crate) alive_ms: Arc<CachePadded<AtomicU64>>,
}

impl Shared {
    /// Milliseconds since the process started.
    pub(crate) fn age_ms(&self, now: Instant) -> u64 {
        let age = now.saturating_duration_since(self.started).as_millis();
        u64::try_from(age).unwrap_or(u64::MAX)
    }

    /// A data worker that has had no turn for so long, and so serves nobody.
    #[must_use]
    pub fn silent_worker(&self, patience: Duration) -> Option<usize> {
        self.silent_workers(patience).next()
    }

    /// All of them.
    pub(crate) fn silent_workers(&self, patience: Duration) -> impl Iterator<Item = usize> {
        let now = self.age_ms(highgate_io::clock::now());
        let patience = u64::try_from(patience.as_millis()).unwrap_or(u64::MAX);
        let is_silent = move |worker: &WorkerHandle| {
            now.saturating_sub(worker.alive_ms.load(Ordering::Relaxed)) > patience
        };
        let workers = self.workers.iter().enumerate();
        workers.filter(move |(_, worker)| is_silent(worker)).map(|(index, _)| index)
    }

    /// Whether no worker before that one lives: it does what one of them has to do for all.
    pub(crate) fn is_first_living(&self, index: usize) -> bool {
        self.workers.iter().take(index).all(|worker| worker.mail.is_closed())
    }

    /// What a node shares before it serves.
    pub(crate) fn new(
        snapshot: Arc<Snapshot>,
        workers: Vec<WorkerHandle>,
        rsa: Option<Arc<highgate_io::rsa::KeyPair>>,
    ) -> Arc<Self> {
        Arc::new(Self {
            snapshot: ArcSwap::new(snapshot),
            snapshot_changed: watch::Sender::new(0),
            traffic_failure: Notify::new(),
            brokers: Brokers::default(),
            slow_checks: crate::mysql::slow_checks::SlowChecks::beside(workers.len()),
            workers,
            facts: Facts::default(),
            draining: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            memory: Arc::default(),
            memory_limit: AtomicU64::new(0),
            server_sockets: AtomicU32::new(0),
            max_server_sockets: AtomicU32::new(u32::MAX),
            operator_sockets: Arc::new(AtomicU32::new(u32::MAX)),
            check_sockets: Arc::new(AtomicU32::new(u32::MAX)),
            rates: Rates::default(),
            max_connections: AtomicU32::new(u32::MAX),
            descriptors_bound_clients: AtomicBool::new(false),
            connections: CachePadded::default(),
            user_places: Arc::default(),
            learned_sha2: Default::default(),
            decoys: Default::default(),
            accounts: Mutex::default(),
            lets_in: Arc::default(),
            accounts_read: Notify::new(),
            accounts_wanted: Notify::new(),
            digests: Mutex::default(),
            attempts: Mutex::default(),
            rsa,
            server_tls: Mutex::default(),
            events: Mutex::new(EventRing::new(EVENTS)),
            limit: Mutex::default(),
            sessions: Mutex::default(),
            accepting: AtomicU32::new(0),
            sockets_served: Default::default(),
            started: highgate_io::clock::now(),
            wall_ms: highgate_io::clock::wall_ms,
        })
    }

    /// This process's key for full caching_sha2 logins without TLS.
    #[must_use]
    pub fn rsa(&self) -> Option<Arc<highgate_io::rsa::KeyPair>> {
        self.rsa.clone()
    }

    /// How many sockets the ports for operators may have: what descriptors leave them.
    #[must_use]
    pub fn operator_sockets(&self) -> Arc<AtomicU32> {
        self.operator_sockets.clone()
    }

    /// Counts a connection to a server unless descriptors are short.
    pub(crate) fn open_server_socket(&self) -> bool {
        let max = self.max_server_sockets.load(Ordering::Relaxed);
        let more = |open: u32| (open < max).then_some(open + 1);
        let counter = &self.server_sockets;
        counter.fetch_update(Ordering::AcqRel, Ordering::Relaxed, more).is_ok()
    }

    /// Whether descriptors are left for connections to servers.
    pub(crate) fn has_server_sockets(&self) -> bool {
        let max = self.max_server_sockets.load(Ordering::Relaxed);
        self.server_sockets.load(Ordering::Relaxed) < max
    }

    /// Whether one more client may be accepted.
    pub(crate) fn has_room(&self) -> bool {
        self.connections.load(Ordering::Relaxed) < self.max_connections.load(Ordering::Relaxed)
    }

    /// What is left to open sessions when new ones are refused.
    pub(crate) fn memory_reserve(&self) -> usize {
        usize::try_from(self.memory_limit.load(Ordering::Relaxed) / 10).unwrap_or(usize::MAX)
    }

    /// Whether `more` bytes of buffers would go beyond `memory_limit`.
    pub(crate) fn is_short_of(&self, more: usize) -> bool {
        let limit = self.memory_limit.load(Ordering::Relaxed);
        limit > 0 && self.memory.load(Ordering::Relaxed).saturating_add(more as u64) > limit
    }

    /// Keeps an event for operators and writes it to the log.
    pub fn event(&self, event: Event) {
        use highgate_core::events::Severity;
        // Under the lock, so that their order is that of their times.
        let mut events = self.events.lock();
        let event = event.at((self.wall_ms)());
        let backend = event.backend.as_ref().map(BackendName::as_str);
        let server = event.server.as_ref().map(highgate_config::ServerName::as_str);
        let (kind, session) = (event.kind.as_str(), event.session);
        match event.severity {
            Severity::Info => tracing::info!(kind, backend, server, session, "{}", event.text),
            Severity::Warning => tracing::warn!(kind, backend, server, session, "{}", event.text),
            Severity::Error => tracing::error!(kind, backend, server, session, "{}", event.text),
        }
        events.push(event);
    }

    /// An event of a kind that many sessions have at once: some are kept per second, the rest are
    /// counted.
    pub fn event_limited(&self, event: Event) {
        self.tell_counted();
        let second = (self.wall_ms)() / 1000;
        if self.limit.lock().admits(&event, second) {
            self.event(event);
        }
    }

    /// Tells how many events were only counted, once their second is over.
    pub(crate) fn tell_counted(&self) {
        let over = self.limit.lock().over((self.wall_ms)() / 1000);
        for event in over {
            self.event(event);
        }
    }

    /// The latest events with their numbers, oldest first.
    #[must_use]
    pub fn events(&self) -> Vec<(u64, Event)> {
        self.events.lock().iter().map(|(number, event)| (number, event.clone())).collect()
    }

    /// What is known of the servers of that backend.
    #[must_use]
    pub fn facts_of(&self, backend: &BackendName) -> Arc<BackendFacts> {
        self.facts.of(backend)
    }

    /// Puts a new snapshot in force and wakes whoever waits for one.
    pub fn publish(&self, snapshot: Arc<Snapshot>) {
        let version = snapshot.version;
        self.facts.follow(&snapshot.placement);
        self.snapshot.store(snapshot);
        self.snapshot_changed.send_replace(version);
        self.wake_waiting();
    }

    /// Has every session that waits for a server look again.
    pub(crate) fn wake_waiting(&self) {
        for worker in &self.workers {
            // A full mailbox is read soon, and every letter in it makes the worker look.
            let _ = worker.mail.try_send(Mail::LookAgain);
        }
    }

    /// Gives a new session its number: the node's in the upper 8 bits, never one that is alive.
    pub(crate) fn register(
        &self,
        node: u8,
        make: impl FnOnce(u32) -> SessionInfo,
    ) -> Arc<SessionInfo> {
        let mut sessions = self.sessions.lock();
        let id = loop {
            sessions.next = (sessions.next + 1) & 0x00ff_ffff;
            let id = (u32::from(node) << 24) | sessions.next;
            if sessions.next != 0 && !sessions.living.contains_key(&id) {
                break id;
            }
        };
        let info = Arc::new(make(id));
        sessions.living.insert(id, info.clone());
        info
    }

    /// The number that was given last.
    pub(crate) fn last_number(&self) -> u32 {
        self.sessions.lock().next
    }

    /// Numbers new sessions from there on.
    pub(crate) fn number_from(&self, number: u32) {
        self.sessions.lock().next = number & 0x00ff_ffff;
    }

    /// Forgets a session that has ended.
    pub(crate) fn unregister(&self, id: u32) {
        self.sessions.lock().living.remove(&id);
    }

    /// The living session of that number.
    #[must_use]
    pub fn session(&self, id: u32) -> Option<Arc<SessionInfo>> {
        self.sessions.lock().living.get(&id).cloned()
    }

    /// All living sessions, by number.
    #[must_use]
    pub fn sessions(&self) -> Vec<Arc<SessionInfo>> {
        let sessions = self.sessions.lock();
        let mut list: Vec<_> = sessions.living.values().cloned().collect();
        drop(sessions);
        list.sort_unstable_by_key(|info| info.id);
        list
    }

    /// How many client connections each worker has: one that has ended has none, whatever it counted.
    #[must_use]
    pub fn sessions_per_worker(&self) -> Vec<u32> {
        let of = |worker: &WorkerHandle| worker.sessions.load(Ordering::Relaxed);
        let workers = self.workers.iter();
        workers.map(|worker| if worker.mail.is_closed() { 0 } else { of(worker) }).collect()
    }
}

/// A client connection as it was accepted.
#[derive(Debug)]
pub(crate) struct Accepted {
    pub(crate) socket: Option<highgate_io::transport::Detached>,
    pub(crate) peer: Option<SocketAddr>,
    /// Whether it is judged by whom it announces in a PROXY header. Decided once: by other settings
    /// later, nobody would judge it, or it would be counted twice.
    pub(crate) speaks_for_others: bool,
    pub(crate) listener: Arc<crate::listener::ListenerState>,
    pub(crate) permit: crate::listener::ClientPermit,
}

impl Accepted {
    /// Its descriptor while it is open, to ask the kernel about the client; none for a Unix socket.
    pub(crate) fn descriptor(&self) -> Option<RawFd> {
        match self.socket.as_ref()? {
            highgate_io::transport::Detached::Tcp(stream) => Some(stream.as_raw_fd()),
            highgate_io::transport::Detached::Unix(_) => None,
        }
    }

    /// Its connection, on this worker; once.
    pub(crate) fn attach(&mut self) -> std::io::Result<highgate_io::transport::Transport> {
        let gone = || std::io::Error::from(std::io::ErrorKind::NotConnected);
        self.socket.take().ok_or_else(gone)?.attach()
    }
}
