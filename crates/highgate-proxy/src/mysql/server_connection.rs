//! A logged-in connection to a database server, with what is known of its state.

use std::sync::{Arc, atomic::AtomicBool};

use highgate_config::{Backend, Topology};
use highgate_core::{server::ServerState, state::ConnState};
use highgate_io::transport::{Detached, Transport};
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
    generation: u64,
    backend: Arc<Backend>,
    room: Room,
}

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
    generation: u64,
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
        generation: u64,
        backend: Arc<Backend>,
        now: Millis,
    ) -> Self {
        Self {
            transport: login.transport,
            key,
            capabilities: login.capabilities,
            thread: login.thread,
            state: login.state,
            idle_since: now,
            kill_in_flight: None,
            to_close: Vec::new(),
            opened_at: now,
            generation,
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
        self.generation == self.server().generation()
    }

    /// Whether a command may be sent: nothing has arrived unasked. Makes no system call.
    pub(crate) fn is_usable(&self) -> bool {
        !self.transport.has_news() && self.is_current()
    }

    /// Whether it is older, or has been idle for longer, than its backend allows.
    pub(crate) fn is_past(&self, now: Millis) -> bool {
        let limit = |limit: std::time::Duration| {
            if limit.is_zero() { Millis::MAX } else { millis(limit) }
        };
        now.saturating_sub(self.idle_since) > limit(self.backend.idle_timeout)
            || now.saturating_sub(self.opened_at) > limit(self.backend.max_age)
    }

    /// Who decides the roles of its backend's servers.
    pub(crate) fn topology(&self) -> Topology {
        self.backend.topology
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
                generation: self.generation,
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
        match self.socket.attach() {
            Ok(transport) => Ok(ServerConnection {
                transport,
                key: self.key,
                capabilities: self.capabilities,
                thread: self.thread,
                state: self.state,
                idle_since: now,
                kill_in_flight: self.kill_in_flight,
                to_close: self.to_close,
                opened_at: now.saturating_sub(self.age),
                generation: self.generation,
                backend: self.backend,
                room: self.room,
            }),
            Err(_) => Err(self.room),
        }
    }
}

fn millis(duration: std::time::Duration) -> Millis {
    Millis::try_from(duration.as_millis()).unwrap_or(Millis::MAX)
}
