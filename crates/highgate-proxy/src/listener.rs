//! Listening sockets and their accept loops: on a data worker, in batches, with permits taken
//! before anything is spent on a client.

mod admission;
#[cfg(test)]
mod tests;
mod unserved;

use std::{
    io,
    net::{IpAddr, SocketAddr},
    os::fd::{AsFd, OwnedFd},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use highgate_config::Mode;
use highgate_core::events::{Event, Kind, Severity};
use highgate_io::{clock, listen, tasks::Stop, transport::Detached};
use rustix::net::SocketFlags;
use tokio::io::{Interest, unix::AsyncFd};

pub use self::admission::ListenerState;
pub(crate) use self::{
    admission::{ClientPermit, Refusal},
    unserved::Unserved,
};
use crate::{
    shared::{Accepted, Shared},
    worker::Mail,
};

/// Connections accepted before others get a turn.
const BATCH: usize = 64;
/// Pause after the system refused to accept: descriptors must become free first.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);

/// Pause while the node is full.
const FULL_PAUSE: Duration = Duration::from_millis(20);

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
/// # Errors
/// The worker can't wait for clients of this socket.
///
/// Cancel safe: yes; a client not yet given away is closed.
pub(crate) async fn serve(
    shared: Arc<Shared>,
    listener: Arc<ListenerState>,
    bound: Bound,
    home: usize,
    stop: Stop,
) -> io::Result<()> {
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
            let text = format!("listener {} can't be served: {error}", listener.name);
            shared.event_limited(Event::new(Severity::Error, Kind::Limit, text));
            return Err(error);
        }
    };
    tokio::select! {
        biased;
        () = stop.stopped() => {}
        () = accept_loop(&shared, &listener, &socket, home) => {}
    }
    if listen::gives_way(socket.0.get_ref()) {
        accept_rest(&shared, &listener, &socket, home);
    }
    Ok(())
}

/// Accepts who came before another socket took this one's place: the kernel resets whom it still keeps
/// for a socket that is closed.
fn accept_rest(shared: &Arc<Shared>, listener: &Arc<ListenerState>, socket: &Socket, home: usize) {
    while shared.has_room() {
        match accept_now(socket.0.get_ref()) {
            Ok((client, peer)) => admit(shared, listener, client, peer, home),
            Err(error) if is_of_one_client(&error) => {}
            Err(_) => return,
        }
    }
}

async fn accept_loop(
    shared: &Arc<Shared>,
    listener: &Arc<ListenerState>,
    socket: &Socket,
    home: usize,
) {
    let mut in_batch = 0;
    // Whether it is told already. Clients that come and go end that for a moment with each place that
    // becomes free: so what is told is bounded too.
    let (mut is_exhausted, mut is_full) = (false, false);
    loop {
        // A place first: beyond the node's limit clients wait in the kernel's queue.
        if !shared.has_room() {
            if !std::mem::replace(&mut is_full, true) {
                let text = format!("listener {} pauses: {}", listener.name, Refusal::node(shared));
                shared.event_limited(Event::new(Severity::Warning, Kind::Limit, text));
            }
            clock::pause(FULL_PAUSE).await;
            continue;
        }
        is_full = false;
        match accept(socket).await {
            Ok((client, peer)) => {
                is_exhausted = false;
                admit(shared, listener, client, peer, home);
                in_batch += 1;
                if in_batch == BATCH {
                    in_batch = 0;
                    tokio::task::yield_now().await;
                }
            }
            Err(error) if is_of_one_client(&error) => {}
            Err(error) => {
                if !std::mem::replace(&mut is_exhausted, true) {
                    let text = format!(
                        "listener {} cannot accept ({error}); it pauses until descriptors are free",
                        listener.name
                    );
                    shared.event_limited(Event::new(Severity::Error, Kind::Limit, text));
                }
                clock::pause(EXHAUSTED_PAUSE).await;
            }
        }
    }
}

async fn accept(socket: &Socket) -> io::Result<(Detached, Option<SocketAddr>)> {
    socket.0.async_io(Interest::READABLE, accept_now).await
}

fn accept_now(socket: &OwnedFd) -> io::Result<(Detached, Option<SocketAddr>)> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let (client, peer) = rustix::net::acceptfrom_with(socket, flags)?;
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
    let (socket, listener) = (Some(client), listener.clone());
    give(shared, Accepted { socket, peer, speaks_for_others, listener, permit }, home);
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

/// Keeps a client on the accepting worker if that is within one session of the least loaded that
/// lives: one that has ended has none.
fn give(shared: &Shared, accepted: Accepted, home: usize) {
    let load = |index: usize| {
        let living = shared.workers.get(index).filter(|worker| !worker.mail.is_closed());
        living.map_or(u32::MAX, |worker| worker.sessions.load(Ordering::Relaxed))
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
