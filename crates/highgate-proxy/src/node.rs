//! Puts the parts of the data path together: workers, listeners, the director, the tables.

mod handover;
mod leave;
mod prepare;
#[cfg(test)]
mod tests;
mod vitals;

use std::{
    collections::BTreeMap,
    io,
    os::fd::OwnedFd,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use highgate_config::{Address, BackendName, Config, ListenerName, NodeName, Place, table::Table};
use highgate_core::{
    events::{Event, Kind, Severity},
    snapshot::{Placement, Policy, Snapshot},
};
use highgate_io::{clock, listen, rsa, tasks::Stopper, tls::TlsError};
use parking_lot::Mutex;

pub use self::vitals::Vitals;
use crate::{
    certificate::CertificateDate,
    listener::{Bound, ListenerState, Unserved},
    monitor::{View, turns},
    shared::Shared,
    slots::Interrupt,
    tables, tls_files,
    worker::{self, Mail},
};

/// What a node is started with.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Its name.
    pub name: NodeName,
    /// Its number: the upper 8 bits of its session ids.
    pub number: u8,
    /// Data workers.
    pub workers: usize,
}

/// Why a configuration could not be put in force on this node.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// An address can't be bound.
    #[error("listener {listener}: cannot listen on {address}: {cause}")]
    Bind {
        /// The listener.
        listener: ListenerName,
        /// The address.
        address: Address,
        /// What the system says.
        cause: io::Error,
    },
    /// A certificate or key is unusable.
    #[error("{}: {cause}", whose(place))]
    Tls {
        /// The listener, the backend, or the node for its ports for operators.
        place: Place,
        /// What is wrong.
        cause: TlsError,
    },
}

impl ApplyError {
    /// Whose setting it is, and which.
    #[must_use]
    pub fn setting(&self) -> (Place, &'static str) {
        match self {
            Self::Bind { listener, .. } => (Place::Listener(listener.clone()), "bind"),
            Self::Tls { place, cause } => {
                let is_admin = matches!(place, Place::Node(_));
                (place.clone(), tls_files::setting(cause, is_admin))
            }
        }
    }
}

/// As it is written in a file.
fn whose(place: &Place) -> String {
    match place {
        Place::Node(_) => "[admin] tls".to_owned(),
        place => place.to_string(),
    }
}

/// The data path of one node.
#[derive(Debug)]
pub struct Node {
    settings: Settings,
    shared: Arc<Shared>,
    view: Arc<Mutex<View>>,
    listeners: Arc<Mutex<BTreeMap<ListenerName, Running>>>,
    /// How long the certificates are good that the servers of backends are shown.
    server_certificates: Mutex<BTreeMap<BackendName, CertificateDate>>,
    stopper: Stopper,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// Sockets that wait for the configuration that uses them.
    inherited: Mutex<BTreeMap<(ListenerName, String), OwnedFd>>,
    /// Held while sockets are looked for: one address is not to be bound twice.
    preparing: Mutex<()>,
    /// As they were when somebody looked last, and operators were told.
    vitals: Mutex<Vitals>,
}

/// A listener that serves.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) state: Arc<ListenerState>,
    pub(crate) sockets: Vec<Serving>,
}

impl Running {
    /// Puts `keepalive_timeout` in force for the connections that are accepted from now on.
    fn keep_alive(&self) {
        let bound = self.state.settings.load().keepalive_timeout;
        for socket in self.sockets.iter().filter(|s| !matches!(s.wanted, Address::Unix(_))) {
            if let Err(error) = listen::keep_alive(&(&socket.spare).into(), bound) {
                let (listener, address) = (&self.state.name, &socket.address);
                tracing::warn!(%listener, %address, %error, "keepalive_timeout is not in force");
            }
        }
    }
}

/// One of its sockets.
#[derive(Debug)]
pub(crate) struct Serving {
    /// As configured.
    pub(crate) wanted: Address,
    /// As bound.
    pub(crate) address: String,
    /// A second descriptor, to be handed to a new process.
    spare: OwnedFd,
    stopper: Stopper,
    /// No worker took it, or the one that did can't serve it, or has ended.
    is_unserved: Arc<AtomicBool>,
}

impl Serving {
    /// The socket once more, for another attempt.
    fn bound(&self) -> io::Result<Bound> {
        let socket = self.spare.try_clone()?;
        Ok(match self.wanted {
            Address::Unix(_) => Bound::Unix(socket.into()),
            Address::Ip(_) | Address::Host(..) => Bound::Tcp(socket.into()),
        })
    }
}

impl Node {
    /// Starts the workers. Nothing listens yet.
    ///
    /// # Errors
    /// When the system has no threads or no entropy.
    pub fn start(settings: Settings) -> io::Result<Self> {
        let empty = Snapshot {
            version: 0,
            policy: Arc::new(Policy {
                listeners: BTreeMap::new(),
                binds: BTreeMap::new(),
                renamed: BTreeMap::new(),
                users: BTreeMap::new(),
                backends: BTreeMap::new(),
                heirs: BTreeMap::new(),
                rules: Arc::default(),
                written_rules: Arc::default(),
            }),
            placement: Arc::new(Placement::default()),
        };
        let (seeds, handles) = worker::seeds(settings.workers.max(1), settings.number);
        let key = rsa::KeyPair::generate().ok().map(Arc::new);
        let shared = Shared::new(Arc::new(empty), handles, key);
        // Checks begin before the first configuration is applied.
        shared.check_sockets.store(turns::bound(descriptor_limit()), Ordering::Relaxed);
        let (stopper, stop) = Stopper::new();
        let threads = seeds
            .into_iter()
            .map(|seed| seed.start(shared.clone(), stop.clone()))
            .collect::<io::Result<Vec<_>>>()?;
        Ok(Self {
            settings,
            shared,
            view: Arc::default(),
            listeners: Arc::default(),
            server_certificates: Mutex::default(),
            stopper,
            threads: Mutex::new(threads),
            inherited: Mutex::default(),
            preparing: Mutex::default(),
            vitals: Mutex::default(),
        })
    }

    /// What workers and the control side share.
    #[must_use]
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Where the director writes what operators see of checks.
    #[must_use]
    pub fn view(&self) -> &Arc<Mutex<View>> {
        &self.view
    }

    /// Addresses that are served, by listener.
    #[must_use]
    pub fn addresses(&self) -> Vec<(ListenerName, String)> {
        let listeners = self.listeners.lock();
        listeners
            .iter()
            .flat_map(|(name, running)| {
                running.sockets.iter().map(move |socket| (name.clone(), socket.address.clone()))
            })
            .collect()
    }

    /// Puts listeners and TLS of a configuration in force: binds what is new, lets go of what is
    /// gone, leaves the rest and its clients alone. Where something can't be had, nothing changes; nor
    /// does it while the node drains. Blocks: it reads files and resolves names.
    ///
    /// # Errors
    /// [`ApplyError`] says what could not be had.
    pub fn apply(&self, config: &Config) -> Result<(), ApplyError> {
        let preparing = self.preparing.lock();
        let prepared = self.prepare(config)?;
        self.bound(config);
        let renewed = self.shared.server_tls.lock().replace(prepared.towards_servers);
        self.retire_idle(&renewed);
        self.date(prepared.server_certificates);
        let mut listeners = self.listeners.lock();
        // It may have taken its time to get ready, and nobody would end what listens from here on.
        if self.shared.draining.load(Ordering::Acquire) {
            return Ok(());
        }
        listeners.retain(|name, running| {
            let stays = prepared.listeners.iter().any(|new| new.name == *name);
            if !stays {
                running.sockets.iter().for_each(|socket| socket.stopper.stop());
            }
            stays
        });
        for new in prepared.listeners {
            let running = listeners.entry(new.name.clone()).or_insert_with(|| Running {
                state: Arc::new(ListenerState::new(new.name.clone(), new.settings.clone())),
                sockets: Vec::new(),
            });
            running.state.settings.store(new.settings);
            running.state.tls.store(Arc::new(new.tls));
            running.state.certificate.set(new.expires);
            running.sockets.retain(|socket| {
                let stays = new.binds.contains(&socket.wanted);
                if !stays {
                    socket.stopper.stop();
                }
                stays
            });
            for (wanted, bound, spare) in new.bound {
                let serving = self.serve(&running.state, wanted, bound, spare);
                running.sockets.push(serving);
            }
            running.keep_alive();
        }
        // An inherited socket that is not served would take clients into a queue nobody empties.
        self.inherited.lock().clear();
        drop((listeners, preparing));
        self.look_at_certificates();
        Ok(())
    }

    /// What these backends' servers are verified by, or see of ours, is another now: none of the idle
    /// connections that were opened before is used again.
    fn retire_idle(&self, backends: &[BackendName]) {
        let snapshot = self.shared.snapshot.load();
        let groups = backends.iter().filter_map(|name| snapshot.placement.groups.get(name));
        groups.flat_map(|group| &group.members).for_each(|member| member.state.retire_idle());
    }

    /// Takes over when certificates expire that servers are shown.
    fn date(&self, expiries: BTreeMap<BackendName, Option<u64>>) {
        let mut dates = self.server_certificates.lock();
        dates.retain(|backend, _| expiries.contains_key(backend));
        for (backend, expires) in expiries {
            dates.entry(backend).or_insert_with(CertificateDate::towards_servers).set(expires);
        }
    }

    /// Tells operators of certificates that expire, or have. To be called now and then.
    pub fn look_at_certificates(&self) {
        let now = clock::wall_ms() / 1000;
        for running in self.listeners.lock().values() {
            let whose = format!("listener {}", running.state.name);
            if let Some(event) = running.state.certificate.look(&whose, now) {
                self.shared.event(event);
            }
        }
        for (backend, date) in self.server_certificates.lock().iter() {
            if let Some(event) = date.look(&format!("backend {backend}"), now) {
                self.shared.event(event.backend(backend));
            }
        }
    }

    /// The certificates of listeners and backends that have expired, a sentence each.
    #[must_use]
    pub fn expired_certificates(&self) -> Vec<String> {
        let listeners = self.listeners.lock();
        let expired = listeners.values().map(|running| {
            running.state.certificate.has_expired(&format!("listener {}", running.state.name))
        });
        let dates = self.server_certificates.lock();
        let towards_servers =
            dates.iter().map(|(backend, date)| date.has_expired(&format!("backend {backend}")));
        expired.chain(towards_servers).flatten().collect()
    }

    /// Puts the node's bounds in force: descriptors are shared among clients and servers, and some are
    /// left for checks, operators and files.
    fn bound(&self, config: &Config) {
        /// What listeners, files and checks of a few servers need.
        const OURS: u32 = 48;
        /// Servers whose checks are among those.
        const FEW: usize = 16;
        let node = config.node.get(&self.settings.name);
        let limit = descriptor_limit();
        let checks = turns::bound(limit);
        self.shared.check_sockets.store(checks, Ordering::Relaxed);
        let servers: usize = config.shared.backends.values().map(|it| it.servers.len()).sum();
        let checks = checks.min(u32::try_from(servers.saturating_sub(FEW)).unwrap_or(u32::MAX));
        let operators = (limit / 16).clamp(16, 384);
        self.shared.operator_sockets.store(operators, Ordering::Relaxed);
        let descriptors = limit.saturating_sub(OURS + operators + checks).max(2);
        let wanted = node.map_or(0, |node| node.max_connections);
        let clients = if wanted == 0 { descriptors / 2 } else { wanted.min(descriptors * 3 / 4) };
        if clients < wanted {
            let text = format!(
                "max_connections is {wanted}, and the limit of file descriptors (`ulimit -n`) allows {clients}"
            );
            self.shared.event(Event::new(Severity::Warning, Kind::Limit, text));
        }
        let shared = &self.shared;
        shared.max_connections.store(clients, Ordering::Relaxed);
        shared.descriptors_bound_clients.store(clients != wanted, Ordering::Relaxed);
        shared.max_server_sockets.store(descriptors - clients, Ordering::Relaxed);
        let memory = node.map_or(0, |node| node.memory_limit);
        shared.memory_limit.store(memory, Ordering::Relaxed);
    }

    fn serve(
        &self,
        state: &Arc<ListenerState>,
        wanted: Address,
        bound: Bound,
        spare: OwnedFd,
    ) -> Serving {
        let address = bound.address();
        tracing::info!(listener = %state.name, %address, "listening");
        let (stopper, is_unserved) = (Stopper::new().0, Arc::default());
        let serving = Serving { wanted, address, spare, stopper, is_unserved };
        self.give(state, bound, &serving);
        serving
    }

    /// Gives a socket to a worker, to the next one first. Where none takes it, it is unserved.
    fn give(&self, state: &Arc<ListenerState>, bound: Bound, serving: &Serving) {
        let unserved = Unserved::offered(&serving.is_unserved);
        let stop = serving.stopper.listen();
        let mut letter = Mail::Listen(state.clone(), Box::new(bound), stop, unserved);
        let (first, rest) = self.shared.workers.split_at(self.home());
        for worker in rest.iter().chain(first) {
            match worker.mail.try_send(letter) {
                Ok(()) => return,
                Err(error) => letter = error.into_inner(),
            }
        }
    }

    /// The worker that accepts for the next socket: in turn.
    fn home(&self) -> usize {
        let served: usize = self.shared.sockets_served.fetch_add(1, Ordering::Relaxed);
        served % self.shared.workers.len().max(1)
    }

    /// What operators see of the data path.
    #[must_use]
    pub fn tables(&self) -> Vec<Arc<dyn Table>> {
        tables::all(&self.shared, &self.view, &self.listeners, self.settings.name.clone())
    }

    /// Stops accepting, lets sessions end at safe points, and ends the rest at `patience`.
    ///
    /// Cancel safe: yes; draining goes on.
    pub async fn drain(&self, patience: Duration) {
        self.shared.stopping.store(true, Ordering::Relaxed);
        self.drain_all(patience).await;
    }

    /// As [`Self::drain`]; sessions that hold something on a server are left alone for all of
    /// `patience`.
    ///
    /// Cancel safe: yes; draining goes on.
    pub(super) async fn drain_all(&self, patience: Duration) {
        // First: a configuration that is being put in force is to listen no more.
        self.shared.draining.store(true, Ordering::Release);
        self.stop_accepting();
        self.end_sessions(patience).await;
        let left = self.sessions();
        if left > 0 {
            let text = format!("{left} sessions were still busy at the end of `drain_timeout`");
            self.shared.event(Event::new(Severity::Warning, Kind::Lifecycle, text));
            self.tell_sessions(Interrupt::Kill);
            let last = clock::now() + Duration::from_secs(2);
            while self.sessions() > 0 && clock::now() < last {
                clock::pause(Duration::from_millis(20)).await;
            }
        }
    }

    /// Lets sessions end at safe points until none is left, or `patience` is over.
    ///
    /// Cancel safe: yes; draining goes on.
    pub async fn end_sessions(&self, patience: Duration) {
        self.shared.draining.store(true, Ordering::Relaxed);
        let deadline = clock::now() + patience;
        self.tell_sessions(Interrupt::Drain);
        while self.sessions() > 0 && clock::now() < deadline {
            clock::pause(Duration::from_millis(20)).await;
            self.tell_sessions(Interrupt::Drain);
        }
    }

    fn sessions(&self) -> u32 {
        self.shared.sessions_per_worker().iter().sum()
    }

    fn tell_sessions(&self, what: Interrupt) {
        for worker in &self.shared.workers {
            let _ = worker.mail.try_send(Mail::EndSessions(what));
        }
    }

    /// Ends sessions and workers, and waits for them. Whoever wants sessions to end in peace drains
    /// before.
    pub fn stop(&self) {
        self.stop_accepting();
        self.stopper.stop();
        for thread in self.threads.lock().drain(..) {
            if thread.join().is_err() {
                tracing::error!("a worker ended in a panic");
            }
        }
    }
}

/// How many descriptors the process may have: as many as the system lets it ask for.
fn descriptor_limit() -> u32 {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let most = Rlimit { current: limit.maximum, maximum: limit.maximum };
    // Where it is refused, what is in force holds.
    let _ = setrlimit(Resource::Nofile, most);
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(1 << 20);
    u32::try_from(limit).unwrap_or(u32::MAX)
}
