//! What a session shows of itself to operators. Written by its worker without locks, read by tables.

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering},
};

use highgate_config::ListenerName;
use highgate_core::pins::PinSet;
use parking_lot::Mutex;

use crate::{session::KilledBy, slots::SlotId};

/// What a session does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Activity {
    /// Logging in.
    Login,
    /// Waiting for the client's next command.
    Idle,
    /// Waiting for a primary, or for a connection.
    Waiting,
    /// Opening or preparing a server connection.
    Preparing,
    /// A command runs.
    Running,
    /// Ending.
    Ending,
}

impl Activity {
    const ALL: [Self; 6] =
        [Self::Login, Self::Idle, Self::Waiting, Self::Preparing, Self::Running, Self::Ending];

    /// Its name in tables.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Login => "login",
            Self::Idle => "idle",
            Self::Waiting => "waiting",
            Self::Preparing => "preparing",
            Self::Running => "running",
            Self::Ending => "ending",
        }
    }
}

/// No server.
const NO_SERVER: u32 = u32::MAX;

/// What is known once, at login.
#[derive(Debug, Clone, Default)]
pub struct Identity {
    /// Account name.
    pub user: String,
    /// Current schema.
    pub schema: String,
    /// Program name, as the client's attributes say.
    pub program: String,
}

/// One session, as operators see it.
#[derive(Debug)]
pub struct SessionInfo {
    /// Its number, which is also its `CONNECTION_ID()`.
    pub id: u32,
    /// Where it came in.
    pub listener: ListenerName,
    /// When it began, in milliseconds of the process's age.
    pub started_ms: u64,
    /// Worker that serves it.
    pub(crate) worker: usize,
    /// Its slot there.
    pub(crate) slot: SlotId,
    client: Mutex<Option<SocketAddr>>,
    /// None before the login, and in tcp mode: room that thousands of relayed clients do without.
    identity: Mutex<Option<Box<Identity>>>,
    activity: AtomicU8,
    /// Who killed it, if anybody did.
    killed_by: AtomicU8,
    /// Its server's id while it holds a connection.
    server: AtomicU32,
    /// The server's own number of that connection.
    server_thread: AtomicU32,
    pins: Mutex<PinSet>,
    /// Digest of the statement that it runs, or ran last; 0 for a command that has none.
    form: AtomicU64,
    /// Commands, ever.
    pub commands: AtomicU64,
    /// When the activity began, by the worker's coarse clock, as [`Shared::age_ms`](crate::shared::Shared::age_ms):
    /// the wall clock may be set at any time.
    since_ms: AtomicU64,
}

impl SessionInfo {
    pub(crate) fn new(
        id: u32,
        listener: ListenerName,
        client: Option<SocketAddr>,
        started_ms: u64,
        place: (usize, SlotId),
    ) -> Self {
        Self {
            id,
            listener,
            client: Mutex::new(client),
            started_ms,
            worker: place.0,
            slot: place.1,
            identity: Mutex::default(),
            activity: AtomicU8::new(Activity::Login as u8),
            killed_by: AtomicU8::new(KilledBy::Node as u8),
            server: AtomicU32::new(NO_SERVER),
            server_thread: AtomicU32::new(0),
            pins: Mutex::default(),
            form: AtomicU64::new(0),
            commands: AtomicU64::new(0),
            since_ms: AtomicU64::new(started_ms),
        }
    }

    /// What it does.
    #[must_use]
    pub fn activity(&self) -> Activity {
        let number = usize::from(self.activity.load(Ordering::Relaxed));
        Activity::ALL.get(number).copied().unwrap_or(Activity::Ending)
    }

    pub(crate) fn set_activity(&self, activity: Activity, now_ms: u64) {
        self.activity.store(activity as u8, Ordering::Relaxed);
        self.since_ms.store(now_ms, Ordering::Relaxed);
    }

    /// Digest of the statement that it runs.
    #[must_use]
    pub fn running_form(&self) -> Option<u64> {
        let form = self.form.load(Ordering::Relaxed);
        let is_busy =
            matches!(self.activity(), Activity::Waiting | Activity::Preparing | Activity::Running);
        (is_busy && form != 0).then_some(form)
    }

    pub(crate) fn set_form(&self, digest: u64) {
        self.form.store(digest, Ordering::Relaxed);
    }

    /// Who kills it; said before it is told to end.
    pub(crate) fn set_killed_by(&self, who: KilledBy) {
        self.killed_by.store(who as u8, Ordering::Relaxed);
    }

    /// Who killed it; this node, where nobody said so.
    pub(crate) fn killed_by(&self) -> KilledBy {
        let number = usize::from(self.killed_by.load(Ordering::Relaxed));
        KilledBy::ALL.get(number).copied().unwrap_or(KilledBy::Node)
    }

    /// When it began to do that, in milliseconds of the process's age, to about a tenth of a second.
    #[must_use]
    pub fn since_ms(&self) -> u64 {
        self.since_ms.load(Ordering::Relaxed)
    }

    /// The id of the server whose connection it holds, with that server's number of the connection.
    #[must_use]
    pub fn server(&self) -> Option<(u32, u32)> {
        let server = self.server.load(Ordering::Relaxed);
        (server != NO_SERVER).then(|| (server, self.server_thread.load(Ordering::Relaxed)))
    }

    pub(crate) fn set_server(&self, server: Option<(u32, u32)>) {
        let (id, thread) = server.unwrap_or((NO_SERVER, 0));
        self.server_thread.store(thread, Ordering::Relaxed);
        self.server.store(id, Ordering::Relaxed);
    }

    /// The client's address, by the PROXY header where there is one.
    #[must_use]
    pub fn client(&self) -> Option<SocketAddr> {
        *self.client.lock()
    }

    pub(crate) fn set_client(&self, client: Option<SocketAddr>) {
        *self.client.lock() = client;
    }

    /// Who it is.
    #[must_use]
    pub fn identity(&self) -> Identity {
        self.identity.lock().as_deref().cloned().unwrap_or_default()
    }

    /// Whether it is of tcp mode: it serves, and nobody knows whom.
    pub(crate) fn is_relayed(&self) -> bool {
        self.activity() != Activity::Login && self.identity.lock().is_none()
    }

    pub(crate) fn set_identity(&self, identity: Identity) {
        *self.identity.lock() = Some(Box::new(identity));
    }

    pub(crate) fn set_schema(&self, schema: &str) {
        let mut identity = self.identity.lock();
        schema.clone_into(&mut identity.get_or_insert_default().schema);
    }

    /// Why it is bound to its server connection.
    #[must_use]
    pub fn pins(&self) -> PinSet {
        *self.pins.lock()
    }

    pub(crate) fn set_pins(&self, pins: PinSet) {
        *self.pins.lock() = pins;
    }
}
