//! A data worker: one thread, one runtime, its sessions, pools and buffers. Shares nothing with
//! other workers but counters, limits and the queues for full servers.

use std::{
    cell::{Cell, RefCell, RefMut},
    net::IpAddr,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use arc_swap::{ArcSwap, Cache};
use crossbeam_utils::CachePadded;
use foldhash::HashMap;
use highgate_config::{Address, BackendName};
use highgate_core::{
    choose::Turn,
    digests,
    server::{ServerId, ServerState},
    snapshot::Snapshot,
};
use highgate_io::{
    clock,
    entropy::FastRng,
    tasks::{self, LocalTasks, Stop},
};
use highgate_mysql::{compress::Compressor, sql::Memo};
use tokio::sync::{mpsc, oneshot};

use crate::{
    buffer::BufferPool,
    listener::{Bound, ListenerState, Unserved},
    mysql::{command::CommandSpace, prepared_text::PreparedTexts},
    pool::{Grant, Pools},
    rule_cache::RuleCache,
    session_info::SessionInfo,
    shared::{Accepted, Shared, WorkerHandle},
    slots::{Interrupt, Millis, SWEEP, Seat, Slot, SlotId, Slots, Within},
};

/// Letters that may wait for a worker. A sender that finds it full does without: every letter is
/// either repeated (snapshots) or a connection that can be closed.
const MAILBOX: usize = 16 * 1024;
/// Spaces for commands kept; beyond it they go back to the allocator.
const SPACES: usize = 256;
/// For sessions to end once the node is stopped.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// Sweeps between two looks at idle server connections.
const SWEEPS_PER_POOL_CARE: u32 = 5;
/// How often clients are looked for that are lost, counted in sweeps: a system call for each client.
const SWEEPS_PER_REAP: u32 = 30;

/// What a worker is told by others.
#[derive(Debug)]
pub(crate) enum Mail {
    /// A client to serve.
    Client(Box<Accepted>),
    /// A connection, or room for one, for a session that waits.
    Grant(Seat, Box<Grant>),
    /// A session is to be told something.
    Interrupt(SlotId, Interrupt),
    /// Serve a listening socket until the stop; the last says where that can't be done, or went wrong.
    Listen(Arc<ListenerState>, Box<Bound>, Stop, Unserved),
    /// Connections of older generations are to be closed, sessions on these servers told.
    ServersDown(Vec<ServerId>),
    /// A new snapshot is in force, or a server was judged anew: whoever waits is to look again.
    LookAgain,
    /// The server there takes no more connections: one that lies idle is to be closed.
    MakeRoom(Address),
    /// Somebody waits for a connection to this server: an idle one is to go there.
    Wanted(ServerId),
    /// End every session whose client came to one of these addresses, and say how many there are.
    EndSessionsAt(Arc<[IpAddr]>, Interrupt, oneshot::Sender<u32>),
    /// End every session: at its next safe point, or now.
    EndSessions(Interrupt),
    /// What a test wants to happen on this worker's thread.
    #[cfg(test)]
    Do(fn(&Rc<Worker>)),
}

/// A worker, as its sessions see it.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) index: usize,
    pub(crate) node: u8,
    pub(crate) shared: Arc<Shared>,
    pub(crate) buffers: Rc<BufferPool>,
    /// For clients that speak compressed; made with the first of them.
    pub(crate) compressor: Rc<RefCell<Compressor>>,
    pub(crate) slots: Rc<Slots<Grant>>,
    pub(crate) pools: Pools,
    pub(crate) tasks: LocalTasks,
    pub(crate) sessions: Arc<CachePadded<AtomicU32>>,
    snapshot: RefCell<Cached>,
    turns: RefCell<HashMap<BackendName, Turn>>,
    rules: RefCell<RuleCache>,
    /// What was read in texts lately.
    pub(crate) memo: RefCell<Memo>,
    /// What statements of each form cost.
    pub(crate) digests: RefCell<digests::Recent>,
    pub(crate) prepared_texts: RefCell<PreparedTexts>,
    #[expect(clippy::vec_box, reason = "taken and given back per command: only the pointer moves")]
    spaces: RefCell<Vec<Box<CommandSpace>>>,
    rng: RefCell<FastRng>,
    born: Instant,
    born_wall_ms: u64,
    born_age_ms: u64,
    now_ms: Cell<Millis>,
    now: Cell<Instant>,
}

/// The shared snapshot's cache, and this worker's own copy: cores share no count.
#[derive(Debug)]
struct Cached {
    shared: Cache<CacheSource, Arc<Snapshot>>,
    ours: Rc<Snapshot>,
}

/// Reaches the shared snapshot for the cache.
#[derive(Debug, Clone)]
struct CacheSource(Arc<Shared>);

impl std::ops::Deref for CacheSource {
    type Target = ArcSwap<Snapshot>;

    fn deref(&self) -> &Self::Target {
        &self.0.snapshot
    }
}

impl Worker {
    /// The snapshot in force: one atomic read unless it changed.
    pub(crate) fn snapshot(&self) -> Rc<Snapshot> {
        let mut cached = self.snapshot.borrow_mut();
        let Cached { shared, ours } = &mut *cached;
        let current = shared.load();
        if current.version != ours.version {
            *ours = Rc::new(Snapshot::clone(current));
        }
        ours.clone()
    }

    /// What rules said lately, for the rules in force.
    pub(crate) fn rules(&self, snapshot: &Snapshot) -> RefMut<'_, RuleCache> {
        let mut rules = self.rules.borrow_mut();
        rules.refresh(&snapshot.policy.rules);
        rules
    }

    /// The memory of round robin in that backend.
    pub(crate) fn with_turn<T>(&self, backend: &BackendName, f: impl FnOnce(&mut Turn) -> T) -> T {
        let mut turns = self.turns.borrow_mut();
        match turns.get_mut(backend) {
            Some(turn) => f(turn),
            None => f(turns.entry(backend.clone()).or_default()),
        }
    }

    /// What a command needs while it runs.
    pub(crate) fn take_space(&self) -> Box<CommandSpace> {
        self.spaces
            .borrow_mut()
            .pop()
            .unwrap_or_else(|| Box::new(CommandSpace::new(self.buffers.clone())))
    }

    /// Gives it back; it holds no buffer then.
    pub(crate) fn give_space(&self, mut space: Box<CommandSpace>) {
        space.rest();
        let mut spaces = self.spaces.borrow_mut();
        if spaces.len() < SPACES {
            spaces.push(space);
        }
    }

    /// Random bits for balancing.
    pub(crate) fn random(&self) -> u64 {
        self.rng.borrow_mut().draw()
    }

    /// Milliseconds since the worker started, as of the last sweep.
    pub(crate) fn now_ms(&self) -> Millis {
        self.now_ms.get()
    }

    /// The time as of the last sweep: for ramps and shuns, which last for seconds.
    pub(crate) fn coarse_now(&self) -> Instant {
        self.now.get()
    }

    /// When the worker started.
    pub(crate) fn started(&self) -> Instant {
        self.born
    }

    /// The wall clock as of the last sweep, in milliseconds.
    pub(crate) fn wall_ms(&self) -> u64 {
        self.born_wall_ms + self.now_ms.get()
    }

    /// [`Shared::age_ms`] as of the last sweep.
    pub(crate) fn age_ms(&self) -> u64 {
        self.born_age_ms + self.now_ms.get()
    }

    /// What of a time-out is left: all of it; none for zero, which stands for no time-out.
    pub(crate) fn deadline(&self, after: Duration) -> Option<Within> {
        (!after.is_zero()).then(|| Within::new(after))
    }

    /// A time of [`Worker::now_ms`] that does not come before `after` has passed.
    pub(crate) fn later(&self, after: Duration) -> Millis {
        let after = Millis::try_from((after + SWEEP).as_millis()).unwrap_or(Millis::MAX);
        self.now_ms().saturating_add(after)
    }

    /// A slot for a new session.
    pub(crate) fn slot(&self) -> Slot<Grant> {
        self.slots.take()
    }

    /// Sends a letter to a worker, this one included.
    pub(crate) fn post(&self, worker: usize, mail: Mail) -> Result<(), Mail> {
        match self.shared.workers.get(worker) {
            Some(to) => to.mail.try_send(mail).map_err(|error| match error {
                mpsc::error::TrySendError::Full(mail) | mpsc::error::TrySendError::Closed(mail) => {
                    mail
                }
            }),
            None => Err(mail),
        }
    }

    /// Tells what a command or a login saw of a server, and wakes its monitor.
    pub(crate) fn report(
        &self,
        server: &ServerState,
        failure: highgate_core::server::TrafficFailure,
    ) {
        if server.report_traffic_failure(failure, clock::now()) {
            self.shared.traffic_failure.notify_one();
        }
    }

    /// A server takes no more connections: gives up one that lies idle there, for whoever wants one of
    /// another account, backend or other settings; who tries again finds its place.
    pub(crate) fn make_room_at(&self, address: &Address) {
        if self.pools.evict_one(|server| server.address == *address) {
            return;
        }
        let others = self.shared.workers.iter().enumerate().filter(|(at, _)| *at != self.index);
        for (_, other) in others {
            // One that has no time now is asked again with the next try.
            let _ = other.mail.try_send(Mail::MakeRoom(address.clone()));
        }
    }

    fn read(self: &Rc<Self>, mail: Mail) {
        match mail {
            Mail::Client(accepted) => crate::session::start(self, accepted),
            Mail::Grant(seat, grant) => {
                if let Err(grant) = self.slots.grant(seat, *grant) {
                    // The waiter has gone meanwhile.
                    self.pools.give_back(grant, self.now_ms());
                }
            }
            Mail::Interrupt(slot, what) => {
                self.slots.interrupt(slot, what);
            }
            Mail::Listen(listener, bound, stop, unserved) => {
                let shared = self.shared.clone();
                let serve = crate::listener::serve(shared, listener, *bound, self.index, stop);
                self.tasks.spawn(unserved.unless_it_ends(serve));
            }
            Mail::ServersDown(servers) => {
                self.pools.close_outdated();
                let is_down =
                    |id: Option<u32>| id.is_some_and(|id| servers.contains(&ServerId(id)));
                self.slots.interrupt_where(Interrupt::ServerDown, is_down);
            }
            Mail::LookAgain => self.slots.wake_all(),
            Mail::MakeRoom(address) => {
                self.pools.evict_one(|server| server.address == address);
            }
            Mail::Wanted(server) => self.pools.offer(server, self.now_ms()),
            Mail::EndSessionsAt(addresses, how, answer) => {
                // Who asked may have gone on.
                let _ = answer.send(self.slots.interrupt_at(how, &addresses));
            }
            Mail::EndSessions(how) => self.slots.interrupt_where(how, |_| true),
            #[cfg(test)]
            Mail::Do(what) => what(self),
        }
    }

    /// Shows that this worker still has its turns; see `Shared::silent_worker`.
    fn say_alive(&self, now: Instant) {
        if let Some(own) = self.shared.workers.get(self.index) {
            own.alive_ms.store(self.shared.age_ms(now), Ordering::Relaxed);
        }
    }

    /// Adds what was counted here to the node's table.
    pub(crate) fn tell_digests(&self) {
        // While operators look at it this goes on counting by itself.
        if let Some(mut heaviest) = self.shared.digests.try_lock() {
            self.digests.borrow_mut().tell(&mut heaviest, self.wall_ms());
        }
    }

    async fn keep_time(self: Rc<Self>) {
        let mut sweeps = 0;
        let mut since_reaped = 0;
        loop {
            clock::pause(SWEEP).await;
            let now = clock::now();
            let since = now.saturating_duration_since(self.born).as_millis();
            self.now_ms.set(Millis::try_from(since).unwrap_or(Millis::MAX));
            self.now.set(now);
            self.say_alive(now);
            self.slots.sweep(self.now_ms());
            if self.shared.is_first_living(self.index) {
                crate::pool::serve_queues(&self);
            }
            since_reaped += 1;
            if since_reaped == SWEEPS_PER_REAP {
                since_reaped = 0;
                self.slots.reap(self.now_ms());
            }
            sweeps += 1;
            if sweeps == SWEEPS_PER_POOL_CARE {
                sweeps = 0;
                self.pools.care(self.now_ms());
                self.tell_digests();
            }
        }
    }
}

/// A worker before its thread runs.
#[derive(Debug)]
pub(crate) struct Seed {
    index: usize,
    node: u8,
    mail: mpsc::Receiver<Mail>,
    handle: WorkerHandle,
}

/// Seeds for that many workers, with the handles that reach them.
pub(crate) fn seeds(count: usize, node: u8) -> (Vec<Seed>, Vec<WorkerHandle>) {
    let seeds: Vec<Seed> = (0..count)
        .map(|index| {
            let (sender, mail) = mpsc::channel(MAILBOX);
            let handle =
                WorkerHandle { mail: sender, sessions: Arc::default(), alive_ms: Arc::default() };
            Seed { index, node, mail, handle }
        })
        .collect();
    let handles = seeds.iter().map(|seed| seed.handle.clone()).collect();
    (seeds, handles)
}

impl Seed {
    /// Starts the worker's thread. It ends when `stop` was said, which ends its sessions.
    ///
    /// # Errors
    /// When the system has no more threads.
    pub(crate) fn start(
        self,
        shared: Arc<Shared>,
        stop: Stop,
    ) -> std::io::Result<std::thread::JoinHandle<()>> {
        tasks::thread(&format!("worker-{}", self.index), move || match tasks::local_runtime() {
            Ok(runtime) => runtime.block_on(self.run(shared, stop)),
            Err(error) => tracing::error!("worker {} has no runtime: {error}", self.index),
        })
    }

    async fn run(mut self, shared: Arc<Shared>, stop: Stop) {
        let worker = Rc::new_cyclic(|this| Worker {
            index: self.index,
            node: self.node,
            buffers: Rc::new(BufferPool::new(shared.memory.clone())),
            compressor: Rc::default(),
            slots: Rc::default(),
            pools: Pools::new(this.clone()),
            tasks: LocalTasks::default(),
            sessions: self.handle.sessions.clone(),
            snapshot: RefCell::new(Cached {
                shared: Cache::new(CacheSource(shared.clone())),
                ours: Rc::new(Snapshot::clone(&shared.snapshot.load())),
            }),
            turns: RefCell::default(),
            memo: RefCell::default(),
            digests: RefCell::default(),
            prepared_texts: RefCell::default(),
            rules: RefCell::new(RuleCache::new(shared.snapshot.load().policy.rules.clone())),
            spaces: RefCell::default(),
            rng: RefCell::new(FastRng::seeded()),
            born: clock::now(),
            born_wall_ms: clock::wall_ms(),
            born_age_ms: shared.age_ms(clock::now()),
            now_ms: Cell::new(0),
            now: Cell::new(clock::now()),
            shared,
        });
        let read = async {
            while let Some(mail) = self.mail.recv().await {
                worker.read(mail);
            }
        };
        let stopped = async {
            stop.stopped().await;
            // Who was to end in peace has had its time; who does not even end now is dropped.
            worker.slots.interrupt_where(Interrupt::Kill, |_| true);
            clock::before(clock::now() + LAST_WORDS, worker.tasks.all_ended()).await;
        };
        tokio::select! {
            biased;
            () = stopped => {}
            () = worker.clone().keep_time() => {}
            () = read => {}
        }
        worker.pools.close_all();
    }
}

/// Counts a session on its worker while it lives, and shows it to operators.
#[derive(Debug)]
pub(crate) struct Presence {
    worker: Rc<Worker>,
    pub(crate) info: Arc<SessionInfo>,
}

impl Presence {
    pub(crate) fn new(worker: Rc<Worker>, info: Arc<SessionInfo>) -> Self {
        Self { worker, info }
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.worker.sessions.fetch_sub(1, Ordering::Relaxed);
        self.worker.shared.unregister(self.info.id);
    }
}
