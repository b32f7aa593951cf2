//! Sessions in tcp mode: one client, one server, bytes.

use std::{
    future::poll_fn,
    net::SocketAddr,
    pin::pin,
    sync::{Arc, atomic::Ordering},
    task::{Context as Cx, Poll, ready},
    time::{Duration, Instant},
};

use highgate_config::{BackendName, ListenerName, Mode, SendProxy};
use highgate_core::{
    server::{ErrorKind, ServerId, ServerState, TrafficFailure},
    snapshot::{Group, Member},
};
use highgate_io::{clock, connect, proxy_protocol, transport::Transport};

use crate::{
    choice::{self, QueueEnd, Want},
    listener::{ClientPermit, ListenerState, Refusal},
    mysql::open::{self, OpenError},
    pool::{Claim, Grant, Limit, PoolKey, Room},
    proxy_header,
    relay::{Relay, RelayEnd},
    session::{Context, Ending},
    session_info::Activity,
    shared::Accepted,
    slots::Interrupt,
    target::target,
};

/// Servers tried for one client before it is given up.
const ATTEMPTS: usize = 4;

/// A server connection of a tcp session.
struct Link {
    transport: Transport,
    _room: Room,
    claim: Claim,
}

/// A client with its server connection, ready to be relayed.
struct Opened {
    client: Transport,
    link: Link,
    relay: Relay,
    idle: Duration,
    listener: Arc<ListenerState>,
    _permit: ClientPermit,
}

/// Serves a client until either side ends.
///
/// Cancel safe: no; bytes may be on their way. Both connections are closed.
pub(crate) async fn run(context: &Context, accepted: Box<Accepted>) -> Ending {
    // What only the beginning needs is over, and freed, before the first byte is relayed.
    let listener = accepted.listener.clone();
    match Box::pin(begin(context, accepted)).await {
        Ok(mut opened) => relay(context, &mut opened).await,
        Err(ending) => {
            if let Ending::NoServer(_) = ending {
                let address = context.presence.info.client().map(|client| client.ip());
                listener.refuse(&context.worker.shared, address, Refusal::NoServer);
            }
            ending
        }
    }
}

/// Counts what moved since the last time: once per wake-up, so that a connection that lasts for days is
/// seen to be at work.
fn count(server: &ServerState, moved: (u64, u64), counted: &mut (u64, u64)) {
    if moved.0 != counted.0 {
        server.hot.bytes_out.fetch_add(moved.0 - counted.0, Ordering::Relaxed);
    }
    if moved.1 != counted.1 {
        server.hot.bytes_in.fetch_add(moved.1 - counted.1, Ordering::Relaxed);
    }
    *counted = moved;
}

/// Boxed, as is what it is given: a future keeps room for each place that a value passes through.
async fn begin(context: &Context, mut accepted: Box<Accepted>) -> Result<Box<Opened>, Ending> {
    let settings = accepted.listener.settings.load_full();
    let mut client = accepted.attach().map_err(Ending::ClientFailed)?;
    context.slot.set_waker(poll_fn(|cx| Poll::Ready(cx.waker().clone())).await);
    context.slot.set_deadline(context.worker.deadline(settings.handshake_timeout));
    let mut introduced = proxy_header::read(context, &mut client, &mut accepted, &settings).await?;
    context.slot.set_deadline(None);
    let to = client.local().map(proxy_header::canonical);
    let ends = (introduced.from, to);
    let mut aim =
        Aim { listener: &accepted.listener.name, backend: settings.backend.clone(), seen: 0 };
    let started = clock::now();
    let link = loop {
        let backend = aim.backend.clone();
        let connected = connect(context, &backend, ends, started);
        let first = &mut introduced.rest;
        if let Some(connected) = while_there(context, &mut client, first, &mut aim, connected).await
        {
            break connected?;
        }
    };
    let mut relay = Relay::new(&context.worker.buffers, &introduced.rest);
    if introduced.is_foreign {
        relay.refuse_header();
    }
    let Accepted { listener, permit, .. } = *accepted;
    let idle = settings.client_timeout;
    Ok(Box::new(Opened { client, link, relay, idle, listener, _permit: permit }))
}

async fn relay(context: &Context, opened: &mut Opened) -> Ending {
    let Opened { client, link, relay, idle, .. } = opened;
    let idle = *idle;
    let server = link.claim.server().clone();
    context.shows(Activity::Running);
    context.presence.info.set_server(Some((server.id.0, 0)));
    context.slot.set_server(Some(server.id.0));
    context.slot.set_deadline(context.worker.deadline(idle));
    let mut seen = relay.moved();
    let mut counted = (0, 0);
    let end = poll_fn(|cx| {
        let told = context.slot.interrupted();
        if told.is_some() {
            match told {
                // The time-out is for silence: bytes since it was set start it anew.
                Some(Interrupt::Deadline) if relay.moved() != seen => {
                    seen = relay.moved();
                    context.slot.set_deadline(context.worker.deadline(idle));
                }
                Some(Interrupt::ServerDown) => return Poll::Ready(Err(Ending::ServerDown)),
                Some(Interrupt::KillQuery) => context.slot.clear(Interrupt::KillQuery),
                // Bytes have no safe point: draining waits for the end of the connection.
                Some(Interrupt::Drain) => context.slot.clear(Interrupt::Drain),
                _ => return Poll::Ready(Err(context.ending().unwrap_or(Ending::Killed))),
            }
        }
        let polled = relay.poll(cx, client, &mut link.transport).map(Ok);
        count(&server, relay.moved(), &mut counted);
        polled
    })
    .await;
    context.shows(Activity::Ending);
    match end {
        Err(ending) => ending,
        Ok(RelayEnd::Closed { client_first: true }) => Ending::ClientClosed,
        Ok(RelayEnd::Closed { client_first: false }) => Ending::ServerClosed,
        Ok(RelayEnd::ForeignHeader) => {
            let address = context.presence.info.client().map(|client| client.ip());
            opened.listener.refuse(&context.worker.shared, address, Refusal::ForeignHeader);
            Ending::Refused(Refusal::ForeignHeader.to_string())
        }
        Ok(RelayEnd::Client(error)) => Ending::ClientFailed(error),
        Ok(RelayEnd::Server(error)) => {
            server.count_error(ErrorKind::Lost);
            context.worker.report(&server, TrafficFailure::Lost);
            Ending::ServerFailed(error.to_string())
        }
    }
}

/// Where a listener's clients go.
struct Aim<'l> {
    listener: &'l ListenerName,
    backend: BackendName,
    /// The version of the snapshot that was looked at last.
    seen: u64,
}

impl Aim<'_> {
    /// Whether they go to another backend by now.
    fn moves(&mut self, context: &Context) -> bool {
        let snapshot = context.worker.snapshot();
        if snapshot.version == self.seen {
            return false;
        }
        self.seen = snapshot.version;
        // One in another mode serves others.
        let listener = snapshot.policy.listener(self.listener).map(|(_, settings)| settings);
        let Some(now) = listener.filter(|now| now.mode != Mode::Mysql) else { return false };
        let moves = now.backend != self.backend;
        if moves {
            self.backend.clone_from(&now.backend);
        }
        moves
    }
}

/// What comes of connecting for a client that is there: who leaves while it waits frees its place. `None`: its
/// listener points to another backend by now.
async fn while_there(
    context: &Context,
    client: &mut Transport,
    first: &mut Vec<u8>,
    aim: &mut Aim<'_>,
    connected: impl Future<Output = Result<Link, Ending>>,
) -> Option<Result<Link, Ending>> {
    let mut connected = pin!(connected);
    let waits = || context.presence.info.activity() == Activity::Waiting;
    let link = poll_fn(|cx| {
        // Before what comes free at the old one is taken.
        if waits() && aim.moves(context) {
            return Poll::Ready(None);
        }
        let polled = connected.as_mut().poll(cx);
        if !polled.is_pending() || !waits() {
            return polled.map(Some);
        }
        if aim.moves(context) {
            return Poll::Ready(None);
        }
        poll_gone(cx, client, first).map(|ending| Some(Err(ending)))
    })
    .await;
    if link.is_none() {
        // That of the wait which was broken off.
        context.slot.set_deadline(None);
    }
    link
}

/// Ready when a client leaves that has said nothing. One that has spoken may have ended its half and wait for the
/// answer: what it says `first` is for the server.
fn poll_gone(cx: &mut Cx<'_>, client: &mut Transport, first: &mut Vec<u8>) -> Poll<Ending> {
    if !first.is_empty() {
        return Poll::Pending;
    }
    let mut chunk = [0; 256];
    match ready!(client.poll_read(cx, &mut chunk)) {
        Ok(0) => Poll::Ready(Ending::ClientClosed),
        Ok(count) => {
            first.extend(chunk.iter().take(count));
            Poll::Pending
        }
        Err(error) => Poll::Ready(Ending::ClientFailed(error)),
    }
}

/// Chooses and connects; tries others while servers refuse.
async fn connect(
    context: &Context,
    backend: &BackendName,
    (from, to): (Option<SocketAddr>, Option<SocketAddr>),
    started: Instant,
) -> Result<Link, Ending> {
    let mut tried: Vec<ServerId> = Vec::new();
    let mut why = String::from("no server is configured");
    for _ in 0..ATTEMPTS {
        context.shows(Activity::Waiting);
        let group = choice::group(&context.worker, backend)
            .ok_or_else(|| Ending::NoServer(format!("backend {backend} does not exist")))?;
        let want = Want {
            candidates: &group.writers,
            from,
            exclude: &tried,
            writes: false,
            is_own: false,
        };
        let deadline = started + group.backend.queue_timeout;
        let Some(member) = choice::wait_for_member(context, &group, &want, deadline).await? else {
            break;
        };
        let cause = match open(context, &group, &member, from.zip(to), deadline).await {
            Ok(link) => return Ok(link),
            Err(OpenFailed::Ended(ending)) => return Err(ending),
            // It is chosen again where it serves again.
            Err(OpenFailed::Parted(cause)) => cause,
            Err(OpenFailed::Server(cause)) => {
                tried.push(member.state.id);
                cause
            }
        };
        why = format!("{}: {cause}", member.state.name);
    }
    Err(Ending::NoServer(why))
}

enum OpenFailed {
    Ended(Ending),
    /// It is another's turn: not that the server gave no connection.
    Parted(String),
    Server(String),
}

/// The time that a connection gets is its own: who waited long for its turn would find each server too slow.
async fn open(
    context: &Context,
    group: &Group,
    member: &Member,
    addresses: Option<(SocketAddr, SocketAddr)>,
    deadline: Instant,
) -> Result<Link, OpenFailed> {
    let server = &member.state;
    // Nobody tells who waits here of a server that is declared down, and one that hangs goes on taking connections.
    let era = server.era();
    let room = room(context, group, member, deadline).await?;
    let claim = Claim::new(server.clone());
    context.shows(Activity::Preparing);
    // Other settings may have come into force while it waited for room.
    let now = choice::group(&context.worker, &group.name);
    let backend = now.as_ref().map_or(&group.backend, |now| &now.backend);
    let by = clock::now() + backend.connect_timeout;
    let target = target(server);
    let connecting = async { connect::connect(&target, by).await.map_err(OpenError::Connect) };
    let opened = open::while_up(server, era, connecting).await;
    let mut transport = opened.map_err(|error| failed(context, server, &error))?;
    let header = match backend.send_proxy {
        SendProxy::Off => Vec::new(),
        SendProxy::V1 => proxy_protocol::encode_v1(addresses),
        SendProxy::V2 => proxy_protocol::encode_v2(addresses),
    };
    if !header.is_empty() {
        let written = poll_fn(|cx| transport.poll_write(cx, &header)).await;
        // A fresh socket takes so few bytes in one piece.
        if !written.is_ok_and(|count| count == header.len()) {
            return Err(OpenFailed::Server("the PROXY header could not be sent".to_owned()));
        }
    }
    // From here on the session is told.
    if !server.is_of_this_generation(era) {
        return Err(failed(context, server, &OpenError::WentDown));
    }
    Ok(Link { transport, _room: room, claim })
}

fn failed(context: &Context, server: &ServerState, error: &OpenError) -> OpenFailed {
    if matches!(error, OpenError::WentDown) {
        return OpenFailed::Parted(error.to_string());
    }
    if let Some(failure) = error.failure() {
        server.count_error(ErrorKind::Connect);
        server.note_unconnected(&error.to_string());
        context.worker.report(server, failure);
    }
    OpenFailed::Server(error.to_string())
}

/// Room for one connection, waiting for it in the server's queue where its limit is reached.
async fn room(
    context: &Context,
    group: &Group,
    member: &Member,
    deadline: Instant,
) -> Result<Room, OpenFailed> {
    let shared = &context.worker.shared;
    let waits = member.state.hot.queued.load(Ordering::Relaxed) > 0;
    if !waits && let Some(room) = Room::take(shared, &member.state, Limit::of(group, member)) {
        return Ok(room);
    }
    let key = Arc::new(PoolKey {
        server: member.state.id,
        user: String::new(),
        credential: 0,
        capabilities: 0,
        announced: None,
    });
    match choice::wait_in_queue(context, group, member, key, (deadline, false)).await {
        Ok(Grant::Room(room)) => Ok(room),
        Ok(_) => Err(OpenFailed::Server("was given a connection of another kind".to_owned())),
        Err(QueueEnd::Ended(ending)) => Err(OpenFailed::Ended(ending)),
        // KILL QUERY ends no statement here: none is known of.
        Err(end @ (QueueEnd::Killed | QueueEnd::OutOfPlace | QueueEnd::ServerDown)) => {
            Err(OpenFailed::Parted(end.to_string()))
        }
        Err(other) => Err(OpenFailed::Server(other.to_string())),
    }
}
