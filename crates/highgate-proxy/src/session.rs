//! A client's session from accept to its one [`Ending`].

use std::{fmt, rc::Rc};

use highgate_config::Mode;
use highgate_io::clock;

use crate::{
    pool::Grant,
    session_info::{Activity, SessionInfo},
    shared::Accepted,
    slots::{Interrupt, Slot},
    worker::{Presence, Worker},
};

/// Whose doing the end of a session was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// The client's.
    Client,
    /// Highgate's: a limit, a kill, a stop.
    Highgate,
    /// The server's.
    Server,
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Client => "client",
            Self::Highgate => "highgate",
            Self::Server => "server",
        })
    }
}

/// Why a session ended: each has exactly one, logged and counted once.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Ending {
    #[error("the client closed")]
    ClientClosed,
    #[error("the client's connection failed: {0}")]
    ClientFailed(#[source] std::io::Error),
    #[error("the client broke the protocol: {0}")]
    ClientProtocol(String),
    #[error("the client was refused: {0}")]
    Refused(String),
    #[error("no command for longer than the time-out allows")]
    IdleTimeout,
    #[error("the client took nothing of its answer for longer than the time-out allows")]
    ClientStalled,
    #[error("the client's machine or network acknowledges nothing any more")]
    ClientLost,
    #[error("login or TLS took longer than `handshake_timeout`")]
    HandshakeTimeout,
    #[error("killed")]
    Killed,
    #[error("this node drains")]
    Drained,
    #[error("no server could be reached: {0}")]
    NoServer(String),
    #[error("the server closed")]
    ServerClosed,
    #[error("the server's connection failed: {0}")]
    ServerFailed(String),
}

impl Ending {
    /// Whose doing it was.
    pub(crate) fn side(&self) -> Side {
        match self {
            Self::ClientClosed
            | Self::ClientFailed(_)
            | Self::ClientLost
            | Self::ClientProtocol(_)
            | Self::ClientStalled
            | Self::HandshakeTimeout
            | Self::IdleTimeout => Side::Client,
            Self::Drained | Self::Killed | Self::Refused(_) => Side::Highgate,
            Self::NoServer(_) | Self::ServerClosed | Self::ServerFailed(_) => Side::Server,
        }
    }
}

/// What every session has, whatever it speaks.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) worker: Rc<Worker>,
    pub(crate) slot: Slot<Grant>,
    pub(crate) presence: Presence,
}

impl Context {
    /// Shows operators what the session does.
    pub(crate) fn shows(&self, activity: Activity) {
        self.presence.info.set_activity(activity, self.worker.wall_ms());
    }

    /// The ending for what the session was told, where that ends it.
    pub(crate) fn ending(&self) -> Option<Ending> {
        match self.slot.interrupted()? {
            Interrupt::Kill => Some(Ending::Killed),
            Interrupt::Drain => Some(Ending::Drained),
            Interrupt::Deadline => Some(Ending::IdleTimeout),
            Interrupt::KillQuery | Interrupt::ServerDown => None,
        }
    }
}

/// Starts the session of an accepted client on its worker.
pub(crate) fn start(worker: &Rc<Worker>, accepted: Box<Accepted>) {
    let slot = worker.slot();
    slot.watch(accepted.descriptor(), accepted.listener.settings.load().keepalive_timeout);
    let place = (worker.index, slot.id());
    let listener = accepted.listener.name.clone();
    let info = worker.shared.register(worker.node, |id| {
        SessionInfo::new(id, listener, accepted.peer, clock::wall_ms(), place)
    });
    let presence = Presence::new(worker.clone(), info);
    let context = Context { worker: worker.clone(), slot, presence };
    let listener = accepted.listener.clone();
    let mode = listener.settings.load().mode;
    // Blocks, since an async function keeps its arguments twice.
    match mode {
        Mode::Mysql => worker.tasks.spawn_with(|running| async move {
            let ending = crate::mysql::session::run(&context, accepted).await;
            log(&context, &listener.name, &ending);
            drop((context, running));
        }),
        Mode::Tcp | Mode::Http => worker.tasks.spawn_with(|running| async move {
            let ending = crate::tcp::run(&context, accepted).await;
            log(&context, &listener.name, &ending);
            drop((context, running));
        }),
    }
}

fn log(context: &Context, listener: &highgate_config::ListenerName, ending: &Ending) {
    let ending = if context.slot.is_client_lost() { &Ending::ClientLost } else { ending };
    let session = context.presence.info.id;
    let side = ending.side();
    tracing::debug!(session, %listener, %side, "session ended: {ending}");
}
