//! What outlives configurations: a server's identity, counters and what traffic saw of it.
//!
//! Workers only touch atomics here. Start reading at [`ServerState`].

use std::{
    collections::BTreeMap,
    fmt,
    net::IpAddr,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use crossbeam_utils::CachePadded;
use highgate_config::{Address, BackendName, ServerName};
use parking_lot::Mutex;

/// Number of a server's identity; never given to another one while the process lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerId(pub u32);

impl fmt::Display for ServerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What went wrong between this node and a server, as seen by a command or a login.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TrafficFailure {
    /// Nobody listens at the address.
    Refused,
    /// The address can't be reached.
    Unreachable,
    /// An open connection was reset or ended within a command.
    Lost,
    /// No answer in time.
    Timeout,
    /// No new connection with its login: not in time, or TLS fails.
    Unconnected,
    /// It took a connection, as the kernel does for a process that hangs, and said nothing in time.
    Silent,
    /// The server answered what the protocol does not allow.
    Garbage,
    /// It asked for a file that no statement named.
    FileDemand,
    /// It refused a write: it is read-only.
    ReadOnly,
    /// It refused a command: a Galera member that is not ready.
    NotReady,
    /// An error spoke of it that the statement may have made itself: a check is to look, and no more.
    Hearsay,
}

impl TrafficFailure {
    /// All of them, in the order of the pending counters.
    pub const ALL: [Self; 11] = [
        Self::Refused,
        Self::Unreachable,
        Self::Lost,
        Self::Timeout,
        Self::Unconnected,
        Self::Silent,
        Self::Garbage,
        Self::FileDemand,
        Self::ReadOnly,
        Self::NotReady,
        Self::Hearsay,
    ];

    /// Whether it proves that something is broken now, other than slowness or loss of packets.
    #[must_use]
    pub const fn is_hard(self) -> bool {
        matches!(self, Self::Refused | Self::Unreachable | Self::Lost)
    }

    /// Whether it proves that new connections can't be had: those that are open may well work.
    /// One that was not had in time may have lost packets, which proves nothing.
    #[must_use]
    pub const fn is_about_connecting(self) -> bool {
        matches!(self, Self::Refused | Self::Unreachable)
    }

    /// Whether a new connection was not had in time, or not with its login.
    #[must_use]
    pub const fn gives_no_connection(self) -> bool {
        matches!(self, Self::Unconnected | Self::Silent)
    }

    /// Whether the server itself says that it takes no writes now.
    #[must_use]
    pub const fn is_about_writes(self) -> bool {
        matches!(self, Self::NotReady | Self::ReadOnly)
    }
}

impl fmt::Display for TrafficFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Refused => "connection refused",
            Self::Unreachable => "unreachable",
            Self::Lost => "connection lost",
            Self::Timeout => "no answer in time",
            Self::Unconnected => "no new connection is had",
            Self::Silent => "it takes connections and says nothing",
            Self::Garbage => "protocol violated",
            Self::FileDemand => "it asked for a file that no statement named",
            Self::ReadOnly => "it says that it is read-only",
            Self::NotReady => "it says that it is not ready",
            Self::Hearsay => "a statement's own error says so",
        })
    }
}

/// Which kind of error [`ServerState::count_error`] counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// A connection could not be opened or logged in.
    Connect,
    /// An open connection was lost.
    Lost,
    /// The server answered a command with an error.
    Query,
}

/// How long one refused connection keeps traffic away until a check has spoken.
const SHUN: Duration = Duration::from_secs(1);

/// How long a refused write keeps other writes away until the monitor has judged the server.
const HOLD: Duration = Duration::from_secs(1);

/// Counters that every command touches, on cache lines of their own.
#[derive(Debug, Default)]
pub struct Hot {
    /// Connections leased to sessions now.
    pub leased: AtomicU32,
    /// Commands waiting for a connection now.
    pub queued: AtomicU32,
    /// Commands sent, ever.
    pub commands: AtomicU64,
    /// Bytes received from the server, ever.
    pub bytes_in: AtomicU64,
    /// Bytes sent to the server, ever.
    pub bytes_out: AtomicU64,
    /// Moving average of the time to the first byte of an answer, in µs; 0 = none yet.
    pub latency_us: AtomicU64,
}

/// Counters that only failures and connects touch.
#[derive(Debug, Default)]
struct Cold {
    errors: [AtomicU64; 3],
    retries: AtomicU64,
    pending: [AtomicU32; TrafficFailure::ALL.len()],
    /// Whether the monitor was told to look at these, and has not yet.
    is_reported: AtomicBool,
    shunned_until_us: AtomicU64,
    writes_held_until_us: AtomicU64,
    generation: AtomicU64,
    idle_generation: AtomicU64,
    /// How often its name lost an address.
    address_losses: AtomicU64,
    is_given_up: AtomicBool,
}

/// When a connection was opened, in a server's ways of counting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Era {
    generation: u64,
    idle: u64,
    address_losses: u64,
}

/// A server's identity with its counters: shared by `Arc`, outlives every snapshot.
#[derive(Debug)]
pub struct ServerState {
    /// Its number.
    pub id: ServerId,
    /// The backend it belongs to.
    pub backend: BackendName,
    /// Its name there.
    pub name: ServerName,
    /// Where it is.
    pub address: Address,
    /// Counters of the data path.
    pub hot: CachePadded<Hot>,
    /// Connections opened by this node and not closed yet.
    pub opened: CachePadded<AtomicU32>,
    /// How many of these may be open by the settings in force; 0 = no bound.
    most_open: AtomicU32,
    cold: CachePadded<Cold>,
    /// Addresses that its name had last.
    resolved: Mutex<Arc<[IpAddr]>>,
    /// Why the last connection that it did not give could not be had.
    unconnected: Mutex<String>,
    born: Instant,
}

const fn port(address: &Address) -> Option<u16> {
    match address {
        Address::Host(_, port) => Some(*port),
        Address::Ip(address) => Some(address.port()),
        Address::Unix(_) => None,
    }
}

impl ServerState {
    /// A state outside any registry, for tests and tools.
    #[must_use]
    pub fn new(id: ServerId, key: ServerKey, now: Instant) -> Self {
        Self {
            id,
            backend: key.backend,
            name: key.name,
            address: key.address,
            hot: CachePadded::default(),
            opened: CachePadded::default(),
            most_open: AtomicU32::default(),
            cold: CachePadded::default(),
            resolved: Mutex::new(Arc::new([])),
            unconnected: Mutex::default(),
            born: now,
        }
    }

    /// Addresses that its name had when it was looked up last; none for a server that is no name, or
    /// was not looked up yet.
    #[must_use]
    pub fn resolved(&self) -> Arc<[IpAddr]> {
        self.resolved.lock().clone()
    }

    /// Whether both are one place, by other words perhaps: a name that was looked up, and its address.
    #[must_use]
    pub fn is_at(&self, other: &Self) -> bool {
        if self.id == other.id || self.address == other.address {
            return true;
        }
        if port(&self.address) != port(&other.address) {
            return false;
        }
        let (own, others) = (self.hosts(), other.hosts());
        own.iter().any(|address| others.contains(address))
    }

    fn hosts(&self) -> Arc<[IpAddr]> {
        match &self.address {
            Address::Ip(address) => Arc::new([address.ip().to_canonical()]),
            _ => self.resolved().iter().map(IpAddr::to_canonical).collect(),
        }
    }

    /// Its name has these addresses now. True if one of those before is not among them: connections to that
    /// one are closed as they become free ([`still_has`](Self::still_has)), and where none of those before
    /// is left the name means another machine.
    pub fn resolve(&self, addresses: &[IpAddr]) -> bool {
        let before = std::mem::replace(&mut *self.resolved.lock(), addresses.into());
        // Dropped for want of answers: nothing says that connections go to the wrong place.
        if addresses.is_empty() {
            return false;
        }
        let is_kept = |address| addresses.contains(address);
        let loses = !before.iter().all(is_kept);
        // Behind a time without any it may be elsewhere.
        if loses || before.is_empty() {
            self.cold.address_losses.fetch_add(1, Ordering::AcqRel);
        }
        if loses && !before.iter().any(is_kept) {
            self.next_generation();
        }
        loses
    }

    /// Whether its name still has the address of the `peer` of a connection that was opened then; the peer is
    /// asked for where the name lost one since, and `era` remembers that this one stayed.
    pub fn still_has(&self, era: &mut Era, peer: impl FnOnce() -> Option<IpAddr>) -> bool {
        let losses = self.cold.address_losses.load(Ordering::Acquire);
        if era.address_losses == losses {
            return true;
        }
        let addresses = self.resolved();
        let is_among = |peer: IpAddr| {
            let mut own = addresses.iter();
            own.any(|address| address.to_canonical() == peer.to_canonical())
        };
        let stays = addresses.is_empty() || peer().is_some_and(is_among);
        if stays {
            era.address_losses = losses;
        }
        stays
    }

    /// Commands in flight or waiting: what the balancing by load compares.
    #[must_use]
    pub fn load(&self) -> u32 {
        let hot = &self.hot;
        hot.leased.load(Ordering::Relaxed).saturating_add(hot.queued.load(Ordering::Relaxed))
    }

    /// Takes a new latency sample into the moving average (weight 1/8). Lost updates are harmless.
    pub fn record_latency(&self, sample: Duration) {
        let sample = u64::try_from(sample.as_micros()).unwrap_or(u64::MAX).max(1);
        let old = self.hot.latency_us.load(Ordering::Relaxed);
        let new = if old == 0 { sample } else { old - old / 8 + sample / 8 };
        self.hot.latency_us.store(new.max(1), Ordering::Relaxed);
    }

    /// Counts an error.
    pub fn count_error(&self, kind: ErrorKind) {
        self.cold.errors[kind as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Errors of one kind, ever.
    #[must_use]
    pub fn errors(&self, kind: ErrorKind) -> u64 {
        self.cold.errors[kind as usize].load(Ordering::Relaxed)
    }

    /// Notes why it gave no connection.
    pub fn note_unconnected(&self, why: &str) {
        why.clone_into(&mut self.unconnected.lock());
    }

    /// Why the last connection that it did not give could not be had; empty where nobody knows.
    #[must_use]
    pub fn why_unconnected(&self) -> String {
        self.unconnected.lock().clone()
    }

    /// Counts a command that is sent again.
    pub fn count_retry(&self) {
        self.cold.retries.fetch_add(1, Ordering::Relaxed);
    }

    /// Commands sent again, ever.
    #[must_use]
    pub fn retries(&self) -> u64 {
        self.cold.retries.load(Ordering::Relaxed)
    }

    /// Tells what a command or a login saw. True if nothing was pending: the caller then wakes the
    /// monitor, which reads [`take_traffic`](Self::take_traffic). Who gives no connection is shunned at once.
    pub fn report_traffic_failure(&self, kind: TrafficFailure, now: Instant) -> bool {
        if kind.is_about_connecting() || kind.gives_no_connection() {
            self.shun(now + SHUN);
        }
        self.cold.pending[kind as usize].fetch_add(1, Ordering::Relaxed);
        // Behind the count: whoever finds it set leaves the count to a look that is still to come, and whoever
        // sets it wakes the monitor. Two that look at the counts instead may each rely on the other.
        !self.cold.is_reported.swap(true, Ordering::AcqRel)
    }

    /// Takes what was reported since the last call.
    #[must_use]
    pub fn take_traffic(&self) -> TrafficReport {
        // Ahead of the counts: who reports from here on wakes the monitor anew, perhaps for nothing.
        self.cold.is_reported.swap(false, Ordering::AcqRel);
        let mut counts = [0; TrafficFailure::ALL.len()];
        for (count, pending) in counts.iter_mut().zip(&self.cold.pending) {
            *count = pending.swap(0, Ordering::Relaxed);
        }
        TrafficReport { counts }
    }

    /// Keeps new work away until then.
    pub fn shun(&self, until: Instant) {
        self.cold.shunned_until_us.fetch_max(self.micros(until), Ordering::Relaxed);
    }

    /// Ends a shun: a check has succeeded since.
    pub fn unshun(&self) {
        self.cold.shunned_until_us.store(0, Ordering::Relaxed);
    }

    /// Whether new work stays away now.
    #[must_use]
    pub fn is_shunned(&self, now: Instant) -> bool {
        let until = self.cold.shunned_until_us.load(Ordering::Relaxed);
        until != 0 && self.micros(now) < until
    }

    /// It has just refused a write, lost its group within one, or closed the connection: no other is sent
    /// until the monitor has judged it anew ([`judged`](Self::judged)), or for this long at most. Whoever dies
    /// closes its connections one after the other, and each write that is sent meanwhile is in doubt.
    pub fn hold_writes(&self, now: Instant) {
        self.cold.writes_held_until_us.store(self.micros(now + HOLD), Ordering::Relaxed);
    }

    /// The monitor knows what to make of what traffic reported, and the plan says so.
    pub fn judged(&self) {
        self.cold.writes_held_until_us.store(0, Ordering::Relaxed);
    }

    /// Whether new writes wait for the monitor's judgement.
    #[must_use]
    pub fn holds_writes(&self, now: Instant) -> bool {
        let until = self.cold.writes_held_until_us.load(Ordering::Relaxed);
        until != 0 && self.micros(now) < until
    }

    /// Generation of connections; those opened under an older one are closed when idle.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.cold.generation.load(Ordering::Acquire)
    }

    /// Ends the current generation: the server was declared down, or its name means another machine.
    /// No idle connection of it is used again, and who waits for one is told.
    pub fn next_generation(&self) {
        self.cold.generation.fetch_add(1, Ordering::AcqRel);
    }

    /// It was removed from the configuration. `is_given_up`: while it was down or set apart; nobody watches
    /// it any more, and nothing that is held there can be used again. Else what is held there goes on.
    pub fn removed(&self, is_given_up: bool) {
        self.cold.is_given_up.store(is_given_up, Ordering::Release);
        self.next_generation();
    }

    /// Whether it was down or set apart as it was [removed](Self::removed) last.
    #[must_use]
    pub fn is_given_up(&self) -> bool {
        self.cold.is_given_up.load(Ordering::Acquire)
    }

    /// No connection that was opened before is used again once it is idle, since new ones would come out
    /// differently: a schema's charset changed, or what verifies the server. The server itself serves as
    /// ever: who waits for it goes on waiting, and sessions keep what they hold.
    pub fn retire_idle(&self) {
        self.cold.idle_generation.fetch_add(1, Ordering::AcqRel);
    }

    /// What a connection is to remember that is opened from now on.
    #[must_use]
    pub fn era(&self) -> Era {
        let idle = self.cold.idle_generation.load(Ordering::Acquire);
        let address_losses = self.cold.address_losses.load(Ordering::Acquire);
        Era { generation: self.generation(), idle, address_losses }
    }

    /// Whether the server's generation is the one that a connection was opened in.
    #[must_use]
    pub fn is_of_this_generation(&self, era: Era) -> bool {
        era.generation == self.generation()
    }

    /// Whether no idle connection was retired since that one was opened.
    #[must_use]
    pub fn may_be_shared(&self, era: Era) -> bool {
        era.idle == self.cold.idle_generation.load(Ordering::Acquire)
    }

    /// Counts one opened connection unless `max` (0 = no bound) of them are open.
    #[must_use]
    pub fn try_open(&self, max: u32) -> bool {
        self.opened
            .fetch_update(Ordering::AcqRel, Ordering::Relaxed, |open| {
                (max == 0 || open < max).then(|| open.saturating_add(1))
            })
            .is_ok()
    }

    /// Gives back what [`try_open`](Self::try_open) counted.
    pub fn closed(&self) {
        // A saturating decrement: one close too many must not turn into four billion connections.
        let _ = self
            .opened
            .fetch_update(Ordering::AcqRel, Ordering::Relaxed, |open| Some(open.saturating_sub(1)));
    }

    /// That many connections (0 = no bound) may be open from now on. Those above it are closed as they
    /// become free.
    pub fn bound_open(&self, max: u32) {
        self.most_open.store(max, Ordering::Relaxed);
    }

    /// Whether more connections are open than may be.
    #[must_use]
    pub fn has_too_many_open(&self) -> bool {
        let max = self.most_open.load(Ordering::Relaxed);
        max > 0 && self.opened.load(Ordering::Relaxed) > max
    }

    /// Gives back what [`try_open`](Self::try_open) counted, if that is above what may be open: then
    /// nobody else has the room. False: it is not given back.
    #[must_use]
    pub fn closed_above(&self) -> bool {
        let max = self.most_open.load(Ordering::Relaxed);
        let less = |open: u32| (max > 0 && open > max).then(|| open.saturating_sub(1));
        self.opened.fetch_update(Ordering::AcqRel, Ordering::Relaxed, less).is_ok()
    }

    fn micros(&self, at: Instant) -> u64 {
        let since = at.saturating_duration_since(self.born).as_micros();
        u64::try_from(since).unwrap_or(u64::MAX).saturating_add(1)
    }
}

/// What traffic reported since the monitor last looked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TrafficReport {
    counts: [u32; TrafficFailure::ALL.len()],
}

impl TrafficReport {
    /// Each kind that occurred, with how often.
    pub fn iter(&self) -> impl Iterator<Item = (TrafficFailure, u32)> {
        TrafficFailure::ALL.into_iter().zip(self.counts).filter(|(_, count)| *count > 0)
    }

    /// Whether nothing was reported.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.counts.iter().all(|count| *count == 0)
    }
}

/// What makes a server the same one across configurations.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerKey {
    /// The backend it belongs to.
    pub backend: BackendName,
    /// Its name there.
    pub name: ServerName,
    /// Where it is; another address is another server.
    pub address: Address,
}

/// Keeps a server's identity by backend, name and address across configurations.
#[derive(Debug, Default)]
pub struct ServerRegistry {
    known: BTreeMap<ServerKey, Weak<ServerState>>,
    next: u32,
}

impl ServerRegistry {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The state of that server: the living one, or a new one with a new number.
    pub fn get_or_create(&mut self, key: &ServerKey, now: Instant) -> Arc<ServerState> {
        if let Some(state) = self.known.get(key).and_then(Weak::upgrade) {
            return state;
        }
        let state = Arc::new(ServerState::new(ServerId(self.next), key.clone(), now));
        self.next += 1;
        self.known.insert(key.clone(), Arc::downgrade(&state));
        state
    }

    /// The state of that server if anything still holds it.
    #[must_use]
    pub fn get(&self, key: &ServerKey) -> Option<Arc<ServerState>> {
        self.known.get(key).and_then(Weak::upgrade)
    }

    /// Every living server, by key.
    pub fn iter(&self) -> impl Iterator<Item = Arc<ServerState>> {
        self.known.values().filter_map(Weak::upgrade)
    }

    /// Forgets servers that nothing holds any more. Their numbers are not used again.
    pub fn forget_dead(&mut self) {
        self.known.retain(|_, state| state.strong_count() > 0);
    }
}

#[cfg(test)]
mod tests;
