//! Getting a connection for a command: from the pool, by opening one, or by waiting in turn.

mod passed;

use std::{
    future::poll_fn,
    net::SocketAddr,
    rc::Rc,
    sync::{Arc, atomic::Ordering},
    task::Poll,
    time::{Duration, Instant},
};

use highgate_config::{BackendName, SendProxy, ServerName};
use highgate_core::{
    choose::NoServer,
    server::{ErrorKind, ServerId, ServerState},
    snapshot::{Group, Member, Writes},
    state::Profile,
};
use highgate_io::clock;
use highgate_mysql::{
    Answer, Capabilities, auth::Proof, error_code, server_login::ServerLoginError,
};

use crate::{
    broker::Wanted,
    choice::{self, QueueEnd, Want},
    mysql::{
        exchange::Space,
        open::{self, Door, OpenError},
        prepare,
        server_connection::ServerConnection,
    },
    pool::{Claim, Grant, Limit, PoolKey, Pools, Room, Shelf},
    session::{Context, Ending},
    session_info::Activity,
    slots::Interrupt,
    target::{host, target},
};

pub(crate) use passed::{NotPassedOn, acquire_passed};

/// Temporary, exclusive use of a server connection.
#[derive(Debug)]
pub(crate) struct Lease {
    pub(crate) connection: Box<ServerConnection>,
    _claim: Claim,
    /// Where it was taken from.
    pub(crate) shelf: Option<Rc<Shelf>>,
}

/// In whose name connections are opened.
#[derive(Debug)]
pub(crate) struct Who {
    pub(crate) user: String,
    /// With which servers are logged in to: the client's own first, others of a rotation behind it.
    pub(crate) proofs: Vec<Proof>,
    pub(crate) fingerprint: u128,
    /// The schema to log in with, where the server verifies the client itself.
    pub(crate) schema: Option<String>,
    /// The client's capabilities.
    pub(crate) capabilities: Capabilities,
    pub(crate) from: Option<SocketAddr>,
    pub(crate) to: Option<SocketAddr>,
}

/// Which of a backend's servers will do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wish {
    /// A server for reads.
    Reader,
    /// The primary; any server of a backend without roles.
    Writer,
}

/// What to get, and by when.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Order<'a> {
    pub(crate) backend: &'a BackendName,
    pub(crate) wish: Wish,
    /// Only the server of this name.
    pub(crate) server: Option<&'a str>,
    /// Servers that refused this command: not again until they were judged anew.
    pub(crate) exclude: &'a [ServerId],
    /// Servers that lost this command's connection: not again if another can serve.
    pub(crate) avoid: &'a [ServerId],
    /// What the connection should look like already, if one does.
    pub(crate) profile: &'a Arc<Profile>,
    /// The client, for balancing by source.
    pub(crate) from: Option<SocketAddr>,
    pub(crate) started: Instant,
}

/// Why a lease could not be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AcquireError {
    /// A server refuses the account.
    #[error("server {server} refuses the account: {message}")]
    Denied { server: ServerName, message: String },
    /// The session is to end.
    #[error("{0}")]
    Ended(Ending),
    /// The running command was killed.
    #[error("killed while waiting for a connection")]
    Killed,
    /// There is no such backend.
    #[error("backend {0} does not exist")]
    NoBackend(BackendName),
    /// Nobody takes writes, and waiting is over or would not help.
    #[error("no server takes writes: {0}")]
    NoPrimary(Arc<str>),
    /// Nobody can serve.
    #[error("{why}")]
    NoServer { why: NoServer, last: Option<String> },
    /// Too many wait already, or it took too long.
    #[error("{0}")]
    Queue(QueueEnd),
}

impl AcquireError {
    /// What the client is told: no address, no name of a server. `executed` says what is known of
    /// tries before.
    pub(crate) fn answer(&self, executed: &str) -> Answer {
        match self {
            Self::Denied { .. } => error_code::ER_ACCESS_DENIED_ERROR
                .answer("Access denied: the database servers do not accept this account"),
            Self::Ended(_) | Self::Killed => {
                error_code::ER_QUERY_INTERRUPTED.answer("Query execution was interrupted")
            }
            Self::NoBackend(_) => error_code::ER_UNKNOWN_ERROR
                .answer("The backend that this command is routed to does not exist"),
            Self::NoPrimary(_) => {
                // 1290 with its SQLSTATE is what drivers with failover logic know.
                error_code::ER_OPTION_PREVENTS_STATEMENT
                    .answer("No server takes writes at the moment (read-only)")
            }
            Self::NoServer { .. } => error_code::ER_CON_COUNT_ERROR
                .answer(format!("No database server can serve at the moment; {executed}")),
            Self::Queue(_) => error_code::ER_CON_COUNT_ERROR.answer(format!(
                "Too many connections: no server has room for this command; {executed}"
            )),
        }
    }
}

/// What changes bytes or meaning, and so must be the same for all that share a connection.
const SHARED_BY: Capabilities = Capabilities::FOUND_ROWS
    .union(Capabilities::NO_SCHEMA)
    .union(Capabilities::ODBC)
    .union(Capabilities::LOCAL_FILES)
    .union(Capabilities::IGNORE_SPACE)
    .union(Capabilities::MULTI_STATEMENTS)
    .union(Capabilities::MULTI_RESULTS)
    .union(Capabilities::PS_MULTI_RESULTS)
    .union(Capabilities::DEPRECATE_EOF)
    .union(Capabilities::LONG_FLAG)
    .union(Capabilities::MARIADB_PROGRESS)
    .union(Capabilities::MARIADB_STMT_BULK_OPERATIONS)
    .union(Capabilities::MARIADB_EXTENDED_METADATA);

/// What every connection asks for.
const ALWAYS: Capabilities = Capabilities::LONG_PASSWORD
    .union(Capabilities::PROTOCOL_41)
    .union(Capabilities::SECURE_CONNECTION)
    .union(Capabilities::TRANSACTIONS)
    .union(Capabilities::PLUGIN_AUTH)
    .union(Capabilities::PLUGIN_AUTH_LENENC)
    .union(Capabilities::CONNECT_ATTRS)
    .union(Capabilities::SESSION_TRACK);

impl Who {
    /// The pool key of its connections to that server.
    pub(crate) fn key(&self, server: ServerId, send_proxy: SendProxy) -> PoolKey {
        PoolKey {
            server,
            user: self.user.clone(),
            credential: self.fingerprint,
            capabilities: (self.capabilities & SHARED_BY).bits(),
            announced: (send_proxy != SendProxy::Off)
                .then_some(self.from)
                .flatten()
                .map(|from| from.ip().to_canonical()),
        }
    }

    /// How to get in there.
    pub(crate) fn door(&self, group: &Group, server: &ServerState, proof: &Proof) -> Door {
        Door {
            target: target(server),
            host: host(&server.address),
            user: self.user.clone(),
            proof: proof.clone(),
            schema: None,
            capabilities: (self.capabilities & SHARED_BY) | ALWAYS,
            collation: 45,
            backend: group.backend.clone(),
            announced: self.from.zip(self.to),
            tls: None,
        }
    }
}

/// A server that was chosen, of a group.
pub(crate) type Chosen = (Arc<Group>, usize);

/// Gets a connection; from the server that was `chosen` already, if one was.
///
/// Cancel safe: yes; whatever was had is given back or closed.
pub(crate) async fn acquire(
    context: &Context,
    who: &Who,
    keys: &mut Keys,
    order: Order<'_>,
    mut chosen: Option<Chosen>,
) -> Result<Lease, AcquireError> {
    let mut failed = order.exclude.to_vec();
    let mut last = None;
    loop {
        let (group, index) = match chosen.take() {
            Some(chosen) => chosen,
            None => choose(context, &order, &mut failed, last.take()).await?,
        };
        let Some(member) = group.members.get(index) else { continue };
        let known = keys.get(context, who, &group, member.state.id);
        if let Some(lease) = pooled(known, member, order.profile) {
            return Ok(lease);
        }
        let key = known.key.clone();
        // Everything beyond this point is rare and large: kept out of the command's future.
        match Box::pin(fresh(context, who, &group, member, key, order.started)).await {
            Ok(lease) => return Ok(lease),
            Err(Fresh::Failed(why)) => {
                last = Some(why);
                failed.push(member.state.id);
            }
            Err(Fresh::Over(error)) => return Err(error),
        }
    }
}

/// A connection that lies ready at the server whose turn it is; else that server, if one can serve.
pub(crate) fn acquire_now(
    context: &Context,
    who: &Who,
    keys: &mut Keys,
    order: &Order<'_>,
    group: &Arc<Group>,
) -> Result<Lease, Option<Chosen>> {
    let index = pick(context, group, order, order.exclude).map_err(|_| None)?;
    let member = group.members.get(index).ok_or(None)?;
    let known = keys.get(context, who, group, member.state.id);
    pooled(known, member, order.profile).ok_or_else(|| Some((group.clone(), index)))
}

/// An idle connection of the member, without waiting.
fn pooled(known: &Known, member: &Member, profile: &Arc<Profile>) -> Option<Lease> {
    // Who came first has its turn first.
    if member.state.hot.queued.load(Ordering::Relaxed) > 0 {
        return None;
    }
    let connection = Pools::take(&known.shelf, |connection| {
        Arc::ptr_eq(&connection.state.profile, profile) || connection.state.profile == *profile
    })?;
    let shelf = Some(known.shelf.clone());
    Some(Lease { connection, _claim: Claim::new(member.state.clone()), shelf })
}

/// The pool keys of a session, by server: made once each.
#[derive(Debug, Default)]
pub(crate) struct Keys(Vec<Known>);

/// A pool key, and where its connections lie.
#[derive(Debug)]
struct Known {
    key: Arc<PoolKey>,
    shelf: Rc<Shelf>,
}

impl Keys {
    fn get(&mut self, context: &Context, who: &Who, group: &Group, server: ServerId) -> &Known {
        let found = self.0.iter().position(|known| known.key.server == server);
        let at = found.unwrap_or_else(|| {
            let key = Arc::new(who.key(server, group.backend.send_proxy));
            let shelf = context.worker.pools.shelf(&key);
            self.0.push(Known { key, shelf });
            self.0.len() - 1
        });
        &self.0[at]
    }

    /// Forgets them: the session logs in anew.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}

async fn choose(
    context: &Context,
    order: &Order<'_>,
    failed: &mut Vec<ServerId>,
    last: Option<String>,
) -> Result<(Arc<Group>, usize), AcquireError> {
    let worker = &context.worker;
    let group = choice::group(worker, order.backend)
        .ok_or_else(|| AcquireError::NoBackend(order.backend.clone()))?;
    match pick(context, &group, order, failed) {
        Ok(index) => Ok((group, index)),
        Err(why) => Box::pin(wait(context, order, failed, group, (why, last))).await,
    }
}

fn pick(
    context: &Context,
    group: &Group,
    order: &Order<'_>,
    failed: &[ServerId],
) -> Result<usize, NoServer> {
    let named: Vec<usize>;
    let candidates = match order.wish {
        _ if order.server.is_some() => {
            let is_named = |member: &Member| Some(member.state.name.as_str()) == order.server;
            named = (0..group.members.len())
                .filter(|at| group.members.get(*at).is_some_and(is_named))
                .collect();
            &named
        }
        Wish::Reader if !group.readers.is_empty() => &group.readers,
        Wish::Reader | Wish::Writer => &group.writers,
    };
    let from = order.from;
    // A server that is asked for by its name gets the command, and says itself what it thinks of it.
    let writes = order.wish == Wish::Writer && order.server.is_none();
    let worker = &context.worker;
    if !order.avoid.is_empty() {
        let exclude = [failed, order.avoid].concat();
        let want = Want { candidates, from, exclude: &exclude, writes };
        let others = choice::choose(worker, group, &want);
        if others.is_ok() {
            return others;
        }
    }
    choice::choose(worker, group, &Want { candidates, from, exclude: failed, writes })
}

/// Waits until somebody can serve: by a new snapshot, or because a server that failed a moment ago
/// may be tried again.
async fn wait(
    context: &Context,
    order: &Order<'_>,
    failed: &mut Vec<ServerId>,
    first: Arc<Group>,
    (mut why, last): (NoServer, Option<String>),
) -> Result<(Arc<Group>, usize), AcquireError> {
    let worker = &context.worker;
    refused(order, &first)?;
    let by = order.started + first.backend.failover_wait;
    let mut seen = first;
    loop {
        let left = by.saturating_duration_since(clock::now());
        if left.is_zero() {
            return Err(no_server(order, &seen, why, last));
        }
        context.shows(Activity::Waiting);
        context.slot.set_deadline(worker.deadline(left.clamp(SHORTEST, FORGIVEN)));
        let found = poll_fn(|_| {
            if let Some(end) = told_while_waiting(context) {
                return Poll::Ready(end);
            }
            let Some(group) = choice::group(worker, order.backend) else { return Poll::Pending };
            if let Err(refused) = refused(order, &group) {
                return Poll::Ready(Err(refused));
            }
            if !Arc::ptr_eq(&group, &seen) {
                failed.clear();
                seen = group.clone();
            }
            pick(context, &group, order, failed)
                .map_or(Poll::Pending, |index| Poll::Ready(Ok(Some((group, index)))))
        })
        .await;
        context.slot.set_deadline(None);
        if let Some(found) = found? {
            return Ok(found);
        }
        failed.clear();
        match pick(context, &seen, order, failed) {
            Ok(index) => return Ok((seen, index)),
            Err(now) => why = now,
        }
    }
}

/// After this time a server that failed may be tried again, whether it was judged anew or not: it
/// may have been away for less than a check's interval.
const FORGIVEN: Duration = Duration::from_millis(300);
/// What a slot's deadline can tell from none.
const SHORTEST: Duration = Duration::from_millis(1);

/// Where writes are refused, waiting would not help.
fn refused(order: &Order<'_>, group: &Group) -> Result<(), AcquireError> {
    match &group.writes {
        Writes::Refused { reason } if order.wish == Wish::Writer => {
            Err(AcquireError::NoPrimary(reason.clone()))
        }
        _ => Ok(()),
    }
}

/// What a waiting session was told: its time is up (`Ok`), or it is to end.
fn told_while_waiting<T>(context: &Context) -> Option<Result<Option<T>, AcquireError>> {
    match context.slot.interrupted()? {
        Interrupt::Deadline => Some(Ok(None)),
        Interrupt::KillQuery => {
            context.slot.clear(Interrupt::KillQuery);
            Some(Err(AcquireError::Killed))
        }
        Interrupt::Kill => Some(Err(AcquireError::Ended(Ending::Killed))),
        Interrupt::ServerDown => {
            context.slot.clear(Interrupt::ServerDown);
            None
        }
        Interrupt::Drain => None,
    }
}

fn no_server(
    order: &Order<'_>,
    group: &Group,
    why: NoServer,
    last: Option<String>,
) -> AcquireError {
    match &group.writes {
        Writes::Waiting { reason } | Writes::Refused { reason } if order.wish == Wish::Writer => {
            AcquireError::NoPrimary(reason.clone())
        }
        _ => AcquireError::NoServer { why, last },
    }
}

/// Why no connection was had from one server.
enum Fresh {
    /// That server failed; another may do.
    Failed(String),
    /// Nothing more can be done.
    Over(AcquireError),
}

async fn fresh(
    context: &Context,
    who: &Who,
    group: &Arc<Group>,
    member: &Member,
    key: Arc<PoolKey>,
    started: Instant,
) -> Result<Lease, Fresh> {
    let room = match turn(context, group, member, key.clone(), started).await? {
        Turn::Leased(lease) => return Ok(lease),
        Turn::Room(room) => room,
    };
    let claim = Claim::new(member.state.clone());
    context.shows(Activity::Preparing);
    let opening = Box::pin(open_one(context, who, group, member, key, room));
    let connection = opening.await?;
    Ok(Lease { connection: Box::new(connection), _claim: claim, shelf: None })
}

/// What a session gets when its turn comes.
enum Turn {
    Leased(Lease),
    Room(Room),
}

/// Room for a connection to that server, or one that somebody gave back: after waiting, if need be.
async fn turn(
    context: &Context,
    group: &Arc<Group>,
    member: &Member,
    key: Arc<PoolKey>,
    started: Instant,
) -> Result<Turn, Fresh> {
    let worker = &context.worker;
    let by = started + group.backend.queue_timeout;
    if let Some(room) = room_now(context, member, Limit::of(group, member)) {
        return Ok(Turn::Room(room));
    }
    let wanted = Wanted { key, slot: Some(context.slot.id()) };
    let grant = choice::wait_in_queue(context, group, member, wanted, by).await;
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
    if member.state.hot.queued.load(Ordering::Relaxed) > 0 {
        return None;
    }
    Room::take(&worker.shared, &member.state, limit).or_else(|| {
        worker.pools.evict_one(member.state.id).then_some(())?;
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
    let generation = server.generation();
    let mut denied = None;
    for proof in &who.proofs {
        let mut door = who.door(group, server, proof);
        door.tls = crate::tls_files::towards(&worker.shared, group);
        let opening = Box::pin(open::open(door, deadline));
        match crate::mysql::login::within(context, async { Ok(opening.await) }).await {
            Ok(Ok((login, greeting))) => {
                crate::facts::learn(&worker.shared, &group.name, &greeting);
                let now = worker.now_ms();
                let backend = group.backend.clone();
                let mut connection =
                    ServerConnection::new(login, key, room, generation, backend, now);
                first_steps(context, &mut connection).await?;
                return Ok(connection);
            }
            Ok(Err(OpenError::Login(ServerLoginError::Refused {
                code: 1044 | 1045 | 1698,
                message,
                ..
            }))) => denied = Some(message),
            Ok(Err(error)) => {
                server.count_error(ErrorKind::Connect);
                if let Some(failure) = error.failure() {
                    worker.report(server, failure);
                }
                return Err(Fresh::Failed(error.to_string()));
            }
            Err(ending) => return Err(Fresh::Over(AcquireError::Ended(ending))),
        }
    }
    let message = denied.unwrap_or_else(|| "no credential for it is known".to_owned());
    Err(Fresh::Over(AcquireError::Denied { server: server.name.clone(), message }))
}

async fn first_steps(context: &Context, connection: &mut ServerConnection) -> Result<(), Fresh> {
    let steps = prepare::first_steps(&connection.state);
    let mut space = Space::new(context.worker.buffers.clone());
    match prepare::run(&context.slot, connection, &steps, &mut space, None).await {
        // A server that does not know the statement reports nothing; SETs are then read from texts.
        Ok(()) | Err(prepare::Unprepared::Refused { .. }) => {
            connection.state.dirt = highgate_core::pins::PinSet::EMPTY;
            Ok(())
        }
        Err(_) => Err(Fresh::Failed("the connection was lost right after login".to_owned())),
    }
}
