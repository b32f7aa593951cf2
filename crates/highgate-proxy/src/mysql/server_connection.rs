//! A logged-in connection to a database server, with what is known of its state.

use std::{
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use highgate_config::{Address, Backend, Topology};
use highgate_core::{
    server::{Era, ServerState},
    state::ConnState,
};
use highgate_io::{
    connect::Target,
    transport::{Detached, Transport},
};
use highgate_mysql::Capabilities;

use crate::{
    pool::{PoolKey, Room},
    slots::Millis,
};

/// A logged-in connection.
#[derive(Debug)]
pub(crate) struct ServerConnection {
    pub(crate) transport: Transport,
    pub(crate) key: Arc<PoolKey>,
    /// What was agreed on at login.
    pub(crate) capabilities: Capabilities,
    /// The server's number of this connection.
    pub(crate) thread: u32,
    /// What is known of its session there.
    pub(crate) state: ConnState,
    /// Since when it lies in the pool.
    pub(crate) idle_since: Millis,
    /// A KILL of its statement is on its way; the flag tells when that is over.
    pub(crate) kill_in_flight: Option<Arc<AtomicBool>>,
    /// Statements of the server that nobody uses any more, to be closed with the next chance.
    pub(crate) to_close: Vec<u32>,
    opened_at: Millis,
    retires_at: Millis,
    era: Era,
    /// The settings that it was opened by, or later ones that would have opened it alike.
    backend: Arc<Backend>,
    room: Room,
}

/// Statements that are closed in one go, by one write. Until there are as many they wait for the next
/// preparation of the connection: servers count them over all their connections
/// (`max_prepared_stmt_count`, 16,382 by default), and beside
/// [`MAX_STATEMENTS`](highgate_core::state::MAX_STATEMENTS) these are few.
const CLOSED_AT_ONCE: usize = 16;

/// A connection on its way to another worker.
#[derive(Debug)]
pub(crate) struct Moved {
    socket: Detached,
    key: Arc<PoolKey>,
    capabilities: Capabilities,
    thread: u32,
    state: ConnState,
    kill_in_flight: Option<Arc<AtomicBool>>,
    to_close: Vec<u32>,
    age: Millis,
    era: Era,
    backend: Arc<Backend>,
    room: Room,
}

/// What a login at a server gave.
#[derive(Debug)]
pub(crate) struct LoggedIn {
    pub(crate) transport: Transport,
    pub(crate) capabilities: Capabilities,
    pub(crate) thread: u32,
    pub(crate) state: ConnState,
}

impl ServerConnection {
    pub(crate) fn new(
        login: LoggedIn,
        key: Arc<PoolKey>,
        room: Room,
        era: Era,
        backend: Arc<Backend>,
        now: Millis,
    ) -> Self {
        let mut state = login.state;
        state.is_galera = backend.topology == Topology::Galera;
        Self {
            transport: login.transport,
            key,
            capabilities: login.capabilities,
            thread: login.thread,
            state,
            idle_since: now,
            kill_in_flight: None,
            to_close: Vec::new(),
            opened_at: now,
            retires_at: retires_at(now, login.thread, &backend),
            era,
            backend,
            room,
        }
    }

    /// Whose connection.
    pub(crate) fn server(&self) -> &Arc<ServerState> {
        self.room.server()
    }

    /// Whether its server has not been declared down since it was opened.
    pub(crate) fn is_current(&self) -> bool {
        self.server().is_of_this_generation(self.era)
    }

    /// Whether a command may be sent: nothing has arrived unasked. Makes no system call.
    pub(crate) fn is_usable(&self) -> bool {
        !self.transport.has_news() && self.is_current()
    }

    /// Whether it may serve somebody else, by the settings in force: those would open it alike, at an address
    /// that the server still has, and nothing has happened since for which idle connections are retired. It
    /// follows what else they say.
    pub(crate) fn suits(&mut self, backend: &Arc<Backend>) -> bool {
        let server = self.room.server();
        let peer = || self.transport.peer().map(|peer| peer.ip());
        if !server.may_be_shared(self.era) || !server.still_has(&mut self.era, peer) {
            return false;
        }
        self.follow(backend);
        Arc::ptr_eq(&self.backend, backend) && !self.state.is_spoilt()
    }

    /// The settings that another one to the same place is to be opened by.
    pub(crate) const fn settings(&self) -> &Arc<Backend> {
        &self.backend
    }

    /// Where it leads: its machine, whatever its server's name means by now. `None` where it is lost.
    pub(crate) fn leads_to(&self) -> Option<Target> {
        match &self.server().address {
            Address::Unix(path) => Some(Target::Unix(path.clone())),
            Address::Host(..) | Address::Ip(_) => self.transport.peer().map(Target::Ip),
        }
    }

    /// Follows the settings of its backend while a session holds it.
    pub(crate) fn follow(&mut self, backend: &Arc<Backend>) {
        if !Arc::ptr_eq(&self.backend, backend) && opens_alike(&self.backend, backend) {
            self.backend = backend.clone();
            self.state.is_galera = backend.topology == Topology::Galera;
            self.retires_at = retires_at(self.opened_at, self.thread, backend);
        }
    }

    /// Whether so many statements are to be closed on it that the next command waits for that.
    pub(crate) const fn has_many_to_close(&self) -> bool {
        self.to_close.len() >= CLOSED_AT_ONCE
    }

    /// Whether it is older, or has been idle for longer, than its backend allows.
    pub(crate) fn is_past(&self, now: Millis) -> bool {
        let limit = self.backend.idle_timeout;
        let limit = if limit.is_zero() { Millis::MAX } else { millis(limit) };
        now.saturating_sub(self.idle_since) > limit || self.is_old(now)
    }

    /// Whether it has reached its age: it serves nobody after who has it.
    pub(crate) fn is_old(&self, now: Millis) -> bool {
        now > self.retires_at
    }

    /// Who decides the roles of its backend's servers.
    pub(crate) fn topology(&self) -> Topology {
        self.backend.topology
    }

    /// How long its server may take to answer where it was asked nothing that takes time.
    pub(crate) fn connect_timeout(&self) -> Duration {
        self.backend.connect_timeout
    }

    /// Whether its backend allows sharing.
    pub(crate) fn multiplexes(&self) -> bool {
        self.backend.multiplex
    }

    /// How many of its kind a worker keeps.
    pub(crate) fn max_idle(&self) -> usize {
        usize::try_from(self.backend.max_idle).unwrap_or(usize::MAX)
    }

    /// Closes it and keeps its room for another.
    pub(crate) fn into_room(self) -> Room {
        self.room
    }

    /// Takes it off this worker; TLS can't be moved, then its room is all that is left of it.
    pub(crate) fn detach(self) -> Result<Moved, Room> {
        match self.transport.detach() {
            Ok(socket) => Ok(Moved {
                socket,
                key: self.key,
                capabilities: self.capabilities,
                thread: self.thread,
                state: self.state,
                kill_in_flight: self.kill_in_flight,
                to_close: self.to_close,
                age: self.idle_since.saturating_sub(self.opened_at),
                era: self.era,
                backend: self.backend,
                room: self.room,
            }),
            Err(_) => Err(self.room),
        }
    }
}

impl Moved {
    /// Registers it with this worker; where that fails, its room is all that is left of it.
    pub(crate) fn attach(self, now: Millis) -> Result<ServerConnection, Room> {
        let opened_at = now.saturating_sub(self.age);
        match self.socket.attach() {
            Ok(transport) => Ok(ServerConnection {
                retires_at: retires_at(opened_at, self.thread, &self.backend),
                transport,
                key: self.key,
                capabilities: self.capabilities,
                thread: self.thread,
                state: self.state,
                idle_since: now,
                kill_in_flight: self.kill_in_flight,
                to_close: self.to_close,
                opened_at,
                era: self.era,
                backend: self.backend,
                room: self.room,
            }),
            Err(_) => Err(self.room),
        }
    }
}

/// Whether connections come out the same by both: with the same TLS, and announced in the same way.
fn opens_alike(one: &Backend, other: &Backend) -> bool {
    one.tls == other.tls && one.send_proxy == other.send_proxy
}

/// When a connection has its age. Each has another, up to a tenth less: those that were opened together do
/// not go together.
fn retires_at(opened_at: Millis, thread: u32, backend: &Backend) -> Millis {
    if backend.max_age.is_zero() {
        return Millis::MAX;
    }
    let age = millis(backend.max_age);
    opened_at.saturating_add(age - age / 10 * Millis::from(thread % 16) / 16)
}

fn millis(duration: Duration) -> Millis {
    Millis::try_from(duration.as_millis()).unwrap_or(Millis::MAX)
}

#[cfg(test)]
mod tests {
    use highgate_config::{NodeName, SendProxy, TlsMode, native};

    use super::*;

    fn backend() -> Backend {
        let text = "[[backend]]\nname = \"shop\"\n";
        let parsed = native::parse("shop.toml", text, &NodeName::from("here")).unwrap();
        parsed.config.shared.backends["shop"].clone()
    }

    #[test]
    fn what_is_fixed_when_a_connection_is_opened_is_its_tls_and_its_announcement() {
        let now = backend();
        let other = |change: fn(&mut Backend)| {
            let mut other = backend();
            change(&mut other);
            opens_alike(&now, &other)
        };
        assert!(other(|_| {}));
        assert!(other(|it| it.max_age = Duration::from_secs(1)));
        assert!(other(|it| it.max_idle = 0));
        assert!(!other(|it| it.tls.mode = TlsMode::VerifyIdentity));
        assert!(!other(|it| it.tls.ca = Some("/other/ca.pem".into())));
        assert!(!other(|it| it.send_proxy = SendProxy::V2));
    }
}
