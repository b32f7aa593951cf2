//! A connection that is opened for a command, once there is room for it.

use std::{
    io,
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

use highgate_core::{
    events::{Event, Kind, Severity},
    server::{Era, ErrorKind, ServerState, TrafficFailure},
    snapshot::{Group, Member},
};
use highgate_io::clock;
use highgate_mysql::server_login::ServerLoginError;

use super::{AcquireError, Lease, Order, Who};
use crate::{
    choice::{self, QueueEnd},
    mysql::{
        exchange::Space,
        open::{self, OpenError},
        prepare,
        server_connection::ServerConnection,
    },
    pool::{Claim, Grant, Limit, PoolKey, Room, has_others_alone},
    session::Context,
    session_info::Activity,
    tls_files,
};

/// Why no connection was had from one server.
pub(super) enum Fresh {
    /// The server does not take such commands any more: another is chosen.
    OutOfPlace,
    /// That server does not take the account, as it says.
    Denied(ServerLoginError),
    /// That server failed; another may do.
    Failed(String),
    /// Nothing more can be done.
    Over(AcquireError),
}

/// How a session comes to the room for another connection.
pub(super) enum Way<'o> {
    /// It has it.
    In(Room),
    /// In turn, as is ordered.
    InTurn(&'o Order<'o>),
}

pub(super) async fn fresh(
    context: &Context,
    who: &Who,
    group: &Arc<Group>,
    member: &Member,
    key: Arc<PoolKey>,
    way: Way<'_>,
) -> Result<Lease, Fresh> {
    let room = match way {
        Way::In(room) => room,
        Way::InTurn(order) => match turn(context, group, member, key.clone(), order).await? {
            Turn::Leased(lease) => return Ok(lease),
            Turn::Room(room) => room,
        },
    };
    let now = in_force(context, group);
    let key = if Arc::ptr_eq(&now.backend, &group.backend) {
        key
    } else {
        Arc::new(who.key(member.state.id, now.backend.send_proxy))
    };
    let claim = Claim::new(member.state.clone());
    context.shows(Activity::Preparing);
    let mut is_in_place = choice::in_place(&context.worker, group, member.state.id);
    let opening = Box::pin(open_one(context, who, &now, member, key, room));
    let connection = opening.await?;
    // It took its time, or came by a place that is free since the server was set apart.
    if !is_in_place() {
        return Err(Fresh::OutOfPlace);
    }
    Ok(Lease { connection: Box::new(connection), _claim: claim, shelf: None })
}

/// The group as it is now: other settings may have come into force while a session waited for its turn.
pub(super) fn in_force(context: &Context, group: &Arc<Group>) -> Arc<Group> {
    choice::group(&context.worker, &group.name).unwrap_or_else(|| group.clone())
}

/// What a session gets when its turn comes.
pub(super) enum Turn {
    Leased(Lease),
    Room(Room),
}

/// Room for a connection to that server, or one that somebody gave back: after waiting, if need be.
pub(super) async fn turn(
    context: &Context,
    group: &Arc<Group>,
    member: &Member,
    key: Arc<PoolKey>,
    order: &Order<'_>,
) -> Result<Turn, Fresh> {
    let worker = &context.worker;
    let by = order.started + group.backend.queue_timeout;
    if let Some(room) = room_now(context, member, Limit::of(group, member)) {
        return Ok(Turn::Room(room));
    }
    let grant = choice::wait_in_queue(context, group, member, key, (by, order.is_own)).await;
    let claim = Claim::new(member.state.clone());
    match grant {
        Ok(Grant::Connection(connection)) => {
            Ok(Turn::Leased(Lease { connection, _claim: claim, shelf: None }))
        }
        Ok(Grant::Moved(moved)) => match moved.attach(worker.now_ms()) {
            Ok(connection) => {
                let connection = Box::new(connection);
                Ok(Turn::Leased(Lease { connection, _claim: claim, shelf: None }))
            }
            Err(room) => Ok(Turn::Room(room)),
        },
        Ok(Grant::Room(room)) => Ok(Turn::Room(room)),
        Err(QueueEnd::OutOfPlace) => Err(Fresh::OutOfPlace),
        Err(QueueEnd::ServerDown) => Err(Fresh::Failed("it went down".to_owned())),
        Err(QueueEnd::Ended(ending)) => Err(Fresh::Over(AcquireError::Ended(ending))),
        Err(QueueEnd::Killed) => Err(Fresh::Over(AcquireError::Killed)),
        Err(end) => Err(Fresh::Over(AcquireError::Queue(end))),
    }
}

/// Room for one more connection: free, or made by closing an idle one of another account.
fn room_now(context: &Context, member: &Member, limit: Limit) -> Option<Room> {
    let worker = &context.worker;
    // Who came first has its turn first.
    if member.state.hot.queued.load(Ordering::Relaxed) > 0
        || has_others_alone(&member.state, 0, worker.coarse_now())
    {
        return None;
    }
    Room::take(&worker.shared, &member.state, limit).or_else(|| {
        worker.pools.evict_one(|server| server.id == member.state.id).then_some(())?;
        Room::take(&worker.shared, &member.state, limit)
    })
}

async fn open_one(
    context: &Context,
    who: &Who,
    group: &Arc<Group>,
    member: &Member,
    key: Arc<PoolKey>,
    room: Room,
) -> Result<ServerConnection, Fresh> {
    let worker = &context.worker;
    let server = &member.state;
    let deadline = clock::now() + group.backend.connect_timeout;
    let era = server.era();
    let mut denied = None;
    for proof in &who.proofs {
        let mut door = who.door(&group.backend, server, proof);
        let tls = tls_files::towards(&worker.shared, &group.name, &group.backend.tls, deadline);
        let opening = Box::pin(async move {
            door.tls = tls.await;
            open::while_up(server, era, open::open(door, deadline)).await
        });
        match crate::mysql::login::within(context, async { Ok(opening.await) }).await {
            Ok(Ok((login, greeting))) => {
                worker.shared.facts.learn(server, &greeting);
                let now = worker.now_ms();
                let backend = group.backend.clone();
                let mut connection = ServerConnection::new(login, key, room, era, backend, now);
                let steps = first_steps(context, &mut connection, era, deadline).await;
                steps.map_err(|error| failed(context, server, &error))?;
                return Ok(connection);
            }
            // Another password may fit.
            Ok(Err(OpenError::Login(error))) if error.is_about_account() => denied = Some(error),
            Ok(Err(error)) => return Err(failed(context, server, &error)),
            Err(ending) => return Err(Fresh::Over(AcquireError::Ended(ending))),
        }
    }
    Err(Fresh::Denied(denied.unwrap_or(ServerLoginError::Unexpected)))
}

fn failed(context: &Context, server: &ServerState, error: &OpenError) -> Fresh {
    blame(context, server, error);
    Fresh::Failed(error.to_string())
}

/// A server that gave no connection: told, and counted.
pub(super) fn blame(context: &Context, server: &ServerState, error: &OpenError) {
    let worker = &context.worker;
    // Its checks succeed, over a connection of their own.
    let told = if error.is_full() {
        worker.make_room_at(&server.address);
        Some((Kind::Limit, format!("takes no more connections: {error}")))
    } else {
        // Told once, until it gives one again.
        let is_news = error.failure().is_some_and(TrafficFailure::gives_no_connection)
            && !server.is_shunned(clock::now());
        is_news.then(|| (Kind::Shun, format!("gives no connection: {error}")))
    };
    if let Some((kind, text)) = told {
        let event = Event::new(Severity::Warning, kind, text);
        worker.shared.event_limited(event.backend(&server.backend).server(&server.name));
    }
    server.count_error(ErrorKind::Connect);
    if let Some(failure) = error.failure() {
        server.note_unconnected(&error.to_string());
        worker.report(server, failure);
    }
}

/// Has a new connection report what changes; a part of its opening, which may hang as any other.
pub(super) async fn first_steps(
    context: &Context,
    connection: &mut ServerConnection,
    era: Era,
    deadline: Instant,
) -> Result<(), OpenError> {
    let server = connection.server().clone();
    let steps = prepare::first_steps(&connection.state);
    let mut space = Space::new(context.worker.buffers.clone());
    // Not as the session: what that is told, a KILL QUERY, is no failure of the server.
    let slot = context.worker.slot();
    let run = prepare::run(&slot, connection, &steps, &mut space, None);
    let run = async { clock::before(deadline, run).await.ok_or(OpenError::Timeout) };
    match open::while_up(&server, era, run).await? {
        // A server that does not know the statement reports nothing; SETs are then read from texts.
        Ok(()) | Err(prepare::Unprepared::Refused { .. }) => {
            connection.state.dirt = highgate_core::pins::PinSet::EMPTY;
            Ok(())
        }
        Err(_) => Err(OpenError::Lost(io::ErrorKind::UnexpectedEof.into())),
    }
}
