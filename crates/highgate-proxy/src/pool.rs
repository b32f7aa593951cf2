//! A worker's open server connections, by pool key: everything that is fixed at login.
//!
//! Limits count *opened* connections, over all workers ([`Room`] is one of them). While somebody
//! waits for a full server, a free connection goes to the oldest waiter on whichever worker,
//! instead of back here. Idle connections stay registered with epoll: one that has become readable
//! was closed by its server or is out of step, and is never leased. Neither is one that the settings in
//! force would not open alike: it is closed where it is met, by its next borrower or by the care.

use std::{
    cell::{Cell, RefCell},
    rc::{Rc, Weak},
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

use foldhash::HashMap;
use highgate_config::Backend;
use highgate_core::{
    server::{ServerId, ServerState},
    snapshot::{Group, Member, Snapshot},
};

use crate::{
    broker::Heir,
    mysql::server_connection::ServerConnection,
    slots::Millis,
    worker::{Mail, Worker},
};

/// How long connections beyond `max_idle` stay.
const SURPLUS_LINGERS: Millis = 10_000;

/// What is fixed when a connection logs in: connections of one key can stand in for each other.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct PoolKey {
    /// Whose connection.
    pub(crate) server: ServerId,
    /// Account on the server; empty for plain TCP.
    pub(crate) user: String,
    /// Fingerprint of the credential that it logged in with.
    pub(crate) credential: u128,
    /// Capability bits that change bytes or meaning.
    pub(crate) capabilities: u64,
    /// Client host announced by a PROXY header, where one was sent. Servers check accounts by host
    /// alone, so connections are shared by clients of one host, whatever their ports are.
    pub(crate) announced: Option<std::net::IpAddr>,
}

/// Room for one connection to a server: counted while it lives, then passed on or given back.
#[derive(Debug)]
pub(crate) struct Room {
    server: Arc<ServerState>,
    shared: Arc<crate::shared::Shared>,
    counted: bool,
}

impl Room {
    /// Takes room unless a limit is reached: of the server, of descriptors, of new connections per
    /// second.
    pub(crate) fn take(
        shared: &Arc<crate::shared::Shared>,
        server: &Arc<ServerState>,
        limit: Limit,
    ) -> Option<Self> {
        if !server.try_open(limit.max) {
            return None;
        }
        if !shared.open_server_socket() {
            server.closed();
            return None;
        }
        if !shared.rates.allows(server.id, limit.rate, highgate_io::clock::now()) {
            server.closed();
            shared.server_sockets.fetch_sub(1, Ordering::AcqRel);
            return None;
        }
        Some(Self { server: server.clone(), shared: shared.clone(), counted: true })
    }

    /// Gives it to whoever waits longest. False: nobody does, and it is free.
    pub(crate) fn pass_on(mut self) -> bool {
        let heir = self.shared.brokers.heir_of_room(&self.server);
        heir.is_some_and(|heir| {
            self.hand_to(&heir);
            true
        })
    }

    fn hand_to(&mut self, heir: &Heir) {
        let room = Self { server: self.server.clone(), shared: self.shared.clone(), counted: true };
        self.counted = false;
        let letter = Mail::Grant(heir.seat, Box::new(Grant::Room(room)));
        if let Some(worker) = self.shared.workers.get(heir.worker) {
            // A letter that can't be delivered drops the room, which asks for the next heir.
            let _ = worker.mail.try_send(letter);
        }
    }

    /// Whose room.
    pub(crate) fn server(&self) -> &Arc<ServerState> {
        &self.server
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        if !self.counted {
            return;
        }
        if self.server.closed_above() {
            self.shared.server_sockets.fetch_sub(1, Ordering::AcqRel);
            return;
        }
        let waits = self.server.hot.queued.load(Ordering::Acquire) > 0;
        // Who gets it opens a connection: where their rate is bounded, or none is given, that may have to
        // wait.
        if waits
            && !has_others_alone(&self.server, 1, highgate_io::clock::now())
            && self.shared.rates.allows_more(self.server.id, highgate_io::clock::now())
            && let Some(heir) = self.shared.brokers.heir_of_room(&self.server)
        {
            self.hand_to(&heir);
            return;
        }
        self.server.closed();
        self.shared.server_sockets.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Whether a server gave no connection lately while others, besides `own`, are open to it: who wants one
/// waits for one of these, rather than for one that is not given.
pub(crate) fn has_others_alone(server: &ServerState, own: u32, now: Instant) -> bool {
    server.is_shunned(now) && server.opened.load(Ordering::Relaxed) > own
}

/// What bounds the opening of connections to a server.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limit {
    /// Open at once; 0 = no bound.
    pub(crate) max: u32,
    /// Opened per second; 0 = no bound.
    pub(crate) rate: u32,
}

impl Limit {
    /// As configured for that member.
    pub(crate) fn of(group: &Group, member: &Member) -> Self {
        Self { max: member.server.max_connections, rate: group.backend.connect_rate }
    }
}

/// Gives room to those who wait for a server although it has some: where new connections per second
/// are bounded, or descriptors became free elsewhere.
pub(crate) fn serve_queues(worker: &Worker) {
    let snapshot = worker.snapshot();
    for group in snapshot.placement.groups.values() {
        for member in &group.members {
            let limit = Limit::of(group, member);
            worker.shared.rates.set(member.state.id, limit.rate);
            while member.state.hot.queued.load(Ordering::Relaxed) > 0
                && !has_others_alone(&member.state, 0, worker.coarse_now())
            {
                let room = Room::take(&worker.shared, &member.state, limit);
                if !room.is_some_and(Room::pass_on) {
                    break;
                }
            }
        }
    }
}

/// What a waiting session is given.
#[derive(Debug)]
pub(crate) enum Grant {
    /// A connection of the key it waits for.
    Connection(Box<ServerConnection>),
    /// One that comes from another worker and must be registered here first.
    Moved(Box<crate::mysql::server_connection::Moved>),
    /// Room to open one.
    Room(Room),
}

/// The pools of one worker.
#[derive(Debug)]
pub(crate) struct Pools {
    worker: Weak<Worker>,
    idle: RefCell<HashMap<Arc<PoolKey>, Rc<Shelf>>>,
}

/// The idle connections of one key. Whoever uses them often keeps hold of it, and so need not look
/// for it by its key; it is taken down only when nobody does.
#[derive(Debug, Default)]
pub(crate) struct Shelf {
    #[expect(clippy::vec_box, reason = "a connection is moved several times per command")]
    connections: RefCell<Vec<Box<ServerConnection>>>,
    /// Nothing was put here since the care before: all of them may be at work at one moment, so an
    /// empty shelf is taken down only then.
    is_untouched: Cell<bool>,
    /// Until when its server is not asked again for a connection of this key, which it has denied.
    denied_until: Cell<Millis>,
}

/// How long a server that does not know an account is not asked again where another can be: an
/// account that is new there is found soon, and nobody logs in in vain with each command.
const DENIED_FOR: Millis = 5_000;

impl Shelf {
    /// The server has refused the account.
    pub(crate) fn deny(&self, now: Millis) {
        self.denied_until.set(now.saturating_add(DENIED_FOR));
    }

    /// Whether the server has refused the account lately.
    pub(crate) fn is_denied(&self, now: Millis) -> bool {
        now < self.denied_until.get()
    }

    /// Since when the oldest lies here, if its server is one of these.
    fn oldest_of(&self, is_meant: impl Fn(&ServerState) -> bool) -> Option<Millis> {
        let list = self.connections.borrow();
        list.first().filter(|first| is_meant(first.server())).map(|first| first.idle_since)
    }
}

impl Pools {
    pub(crate) fn new(worker: Weak<Worker>) -> Self {
        Self { worker, idle: RefCell::default() }
    }

    /// The shelf of that key.
    pub(crate) fn shelf(&self, key: &Arc<PoolKey>) -> Rc<Shelf> {
        let mut idle = self.idle.borrow_mut();
        match idle.get(key) {
            Some(shelf) => shelf.clone(),
            None => idle.entry(key.clone()).or_default().clone(),
        }
    }

    /// Takes an idle connection off that shelf that suits the backend as it is configured, the one that
    /// `fits` best among the latest; closes those that turn out of no use on the way.
    pub(crate) fn take(
        shelf: &Shelf,
        backend: &Arc<Backend>,
        fits: impl Fn(&ServerConnection) -> bool,
    ) -> Option<Box<ServerConnection>> {
        /// How many of the latest are looked at for one that needs no preparation.
        const LOOK: usize = 8;
        let mut useless = Vec::new();
        let mut list = shelf.connections.borrow_mut();
        let found = loop {
            let from = list.len().saturating_sub(LOOK);
            let recent = list.iter().skip(from).rposition(|connection| fits(connection));
            let at = recent.map_or_else(|| list.len().checked_sub(1), |at| Some(from + at));
            let Some(at) = at else { break None };
            let mut connection = list.remove(at);
            if connection.is_usable() && connection.suits(backend) {
                break Some(connection);
            }
            useless.push(connection);
        };
        drop(list);
        // Closed outside the borrow: each gives its room back, which may wake somebody.
        drop(useless);
        found
    }

    /// Takes back a connection that is clean: hands it to whoever waits, keeps it, or closes it.
    pub(crate) fn give(&self, connection: Box<ServerConnection>, now: Millis) {
        self.give_to(None, connection, now);
    }

    /// As [`Pools::give`]; back to that shelf, where it is known.
    pub(crate) fn give_to(
        &self,
        shelf: Option<Rc<Shelf>>,
        mut connection: Box<ServerConnection>,
        now: Millis,
    ) {
        let Some(worker) = self.worker.upgrade() else { return };
        // None can take its place: it is used on, whatever its age.
        let is_rare = has_others_alone(connection.server(), 0, worker.coarse_now());
        // Of no use to anybody, whose room goes to whoever waits; or of an age that one which is always
        // at work would not be found idle at; or one too many since its server may have fewer.
        if !connection.is_usable()
            || connection.state.is_spoilt()
            || connection.is_old(now) && !is_rare
            || connection.server().has_too_many_open()
        {
            return;
        }
        if connection.server().hot.queued.load(Ordering::Acquire) > 0 {
            if !suits_now(&worker, &mut connection) {
                // Who waits gets the room.
                return;
            }
            let brokers = &worker.shared.brokers;
            let (server, key) = (connection.server(), &connection.key);
            let heir = if is_rare {
                let on = connection.transport.is_tls().then_some(worker.index);
                brokers.heir_of_rare_connection(server, key, on)
            } else {
                brokers.heir_of_connection(server, key)
            };
            if let Some(heir) = heir {
                hand_over(&worker, heir, connection);
                return;
            }
        }
        connection.idle_since = now;
        if connection.max_idle() == 0 && !is_rare {
            return;
        }
        // Beyond `max_idle` they are closed by the care, some time later: the number that is idle
        // goes up and down with every command, and closing at once would mean opening again.
        let shelf = shelf.unwrap_or_else(|| self.shelf(&connection.key));
        shelf.is_untouched.set(false);
        shelf.connections.borrow_mut().push(connection);
    }

    /// Closes what is dead, too old, or idle for too long, by the settings in force, and what these
    /// would not open alike.
    pub(crate) fn care(&self, now: Millis) {
        let Some(worker) = self.worker.upgrade() else { return };
        let snapshot = worker.snapshot();
        let mut gone = Vec::new();
        self.idle.borrow_mut().retain(|_, shelf| {
            let list = &mut *shelf.connections.borrow_mut();
            let backend = list.first().and_then(|first| backend_of(&snapshot, first.server()));
            if let Some(backend) = backend {
                gone.extend(list.extract_if(.., |connection| !connection.suits(backend)));
            }
            let is_rare = list
                .first()
                .is_some_and(|first| has_others_alone(first.server(), 0, worker.coarse_now()));
            // The oldest come first: the latest are leased first.
            let limit = list.first().map_or(0, |connection| connection.max_idle());
            let mut surplus = list.len().saturating_sub(limit);
            gone.extend(list.extract_if(.., |connection| {
                let is_surplus =
                    surplus > 0 && now.saturating_sub(connection.idle_since) > SURPLUS_LINGERS;
                surplus -= usize::from(is_surplus);
                !connection.is_usable() || !is_rare && (is_surplus || connection.is_past(now))
            }));
            let was_untouched = shelf.is_untouched.replace(true);
            let is_known = !was_untouched || Rc::strong_count(shelf) > 1;
            !list.is_empty() || is_known || shelf.is_denied(now)
        });
        drop(gone);
        self.shed();
    }

    /// Closes the oldest idle connections of each server that has more open than it may.
    fn shed(&self) {
        let crowded = |shelf: &Rc<Shelf>| {
            let list = shelf.connections.borrow();
            let server = list.first().map(|first| first.server());
            server.filter(|server| server.has_too_many_open()).cloned()
        };
        let servers: Vec<_> = self.idle.borrow().values().filter_map(crowded).collect();
        for server in servers {
            while server.has_too_many_open() && self.evict_one(|of| of.id == server.id) {}
        }
    }

    /// Closes idle connections whose server was declared down since they were opened.
    pub(crate) fn close_outdated(&self) {
        let mut gone = Vec::new();
        self.idle.borrow().values().for_each(|shelf| {
            let mut list = shelf.connections.borrow_mut();
            gone.extend(list.extract_if(.., |connection| !connection.is_current()));
        });
    }

    /// Closes the idle connection that has lain longest at one of these servers, of whatever key, so that
    /// its room is free.
    pub(crate) fn evict_one(&self, is_meant: impl Fn(&ServerState) -> bool) -> bool {
        let idle = self.idle.borrow();
        let found = idle
            .values()
            .filter_map(|shelf| Some((shelf.oldest_of(&is_meant)?, shelf)))
            .min_by_key(|(since, _)| *since)
            .map(|(_, shelf)| shelf.connections.borrow_mut().remove(0));
        drop(idle);
        found.is_some()
    }

    /// What can be had without waiting: an idle connection of that key, or room for a new one.
    pub(crate) fn grant_now(
        &self,
        key: &Arc<PoolKey>,
        group: &Group,
        member: &Member,
    ) -> Option<Grant> {
        let server = &member.state;
        let shelf = self.idle.borrow().get(key).cloned();
        let found = shelf.and_then(|shelf| Self::take(&shelf, &group.backend, |_| true));
        if let Some(connection) = found {
            return Some(Grant::Connection(connection));
        }
        let worker = self.worker.upgrade()?;
        // Who came first has its turn first.
        let is_alone = server.hot.queued.load(Ordering::Relaxed) <= 1;
        let may_open = is_alone && !has_others_alone(server, 0, worker.coarse_now());
        let limit = Limit::of(group, member);
        may_open.then(|| Room::take(&worker.shared, server, limit)).flatten().map(Grant::Room)
    }

    /// Passes on what was had and is not needed.
    pub(crate) fn give_back(&self, grant: Grant, now: Millis) {
        match grant {
            Grant::Connection(connection) => self.give(connection, now),
            Grant::Moved(moved) => {
                if let Ok(connection) = moved.attach(now) {
                    self.give(Box::new(connection), now);
                }
            }
            // Dropped, room goes to the next in the queue.
            Grant::Room(room) => drop(room),
        }
    }

    /// Gives one idle connection to that server to whoever waits for it.
    pub(crate) fn offer(&self, server: ServerId, now: Millis) {
        let idle = self.idle.borrow();
        let mut of_server = idle.iter().filter(|(key, _)| key.server == server);
        let connection = of_server.find_map(|(_, shelf)| shelf.connections.borrow_mut().pop());
        drop(idle);
        if let Some(connection) = connection {
            self.give(connection, now);
        }
    }

    /// Closes everything.
    pub(crate) fn close_all(&self) {
        let shelves = std::mem::take(&mut *self.idle.borrow_mut());
        shelves.into_values().for_each(|shelf| drop(shelf.connections.take()));
    }
}

/// The settings in force of the backend that a server belongs to; none once it is gone.
fn backend_of<'s>(snapshot: &'s Snapshot, server: &ServerState) -> Option<&'s Arc<Backend>> {
    snapshot.placement.groups.get(&server.backend).map(|group| &group.backend)
}

/// Whether a connection may serve somebody else by the settings in force.
fn suits_now(worker: &Worker, connection: &mut ServerConnection) -> bool {
    let snapshot = worker.snapshot();
    let backend = backend_of(&snapshot, connection.server());
    backend.is_none_or(|backend| connection.suits(backend))
}

fn hand_over(worker: &Rc<Worker>, heir: Heir, connection: Box<ServerConnection>) {
    if !heir.takes_connection {
        // Its key does not fit: closing it would pass the room on by the queue again, to somebody
        // else; so the room goes to this heir by hand.
        let room = connection.into_room();
        post_grant(worker, &heir, Grant::Room(room));
    } else if heir.worker == worker.index {
        if let Err(refused) = worker.slots.grant(heir.seat, Grant::Connection(connection))
            && let Grant::Connection(connection) = refused
        {
            // The waiter has just gone: the next in the queue, or the pool.
            worker.pools.give(connection, worker.now_ms());
        }
    } else {
        match connection.detach() {
            Ok(moved) => post_grant(worker, &heir, Grant::Moved(Box::new(moved))),
            Err(room) => post_grant(worker, &heir, Grant::Room(room)),
        }
    }
}

fn post_grant(worker: &Rc<Worker>, heir: &Heir, grant: Grant) {
    let letter = Mail::Grant(heir.seat, Box::new(grant));
    // An undeliverable letter drops its grant, and with it the room goes to the next in the queue.
    let _ = worker.post(heir.worker, letter);
}

/// One command's or session's claim on a server, for balancing by load.
#[derive(Debug)]
pub(crate) struct Claim(Arc<ServerState>);

impl Claim {
    /// Counts until it is dropped.
    pub(crate) fn new(server: Arc<ServerState>) -> Self {
        server.hot.leased.fetch_add(1, Ordering::Relaxed);
        Self(server)
    }

    /// Whose.
    pub(crate) fn server(&self) -> &Arc<ServerState> {
        &self.0
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.0.hot.leased.fetch_sub(1, Ordering::Relaxed);
    }
}
