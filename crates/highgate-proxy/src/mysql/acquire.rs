//! Getting a connection for a command: from the pool, by opening one, or by waiting in turn.

mod choosing;
mod fresh;
mod passed;

use std::{
    net::SocketAddr,
    rc::Rc,
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

use highgate_config::{Backend, BackendName, SendProxy, ServerName};
use highgate_core::{
    choose::NoServer,
    events::{Event, Kind, Severity},
    server::{ServerId, ServerState},
    snapshot::{Group, Member},
    state::Profile,
};
use highgate_mysql::{
    Answer, Capabilities, auth::Proof, error_code, server_login::ServerLoginError,
};

use self::{
    choosing::{choose, pick},
    fresh::{Fresh, Way, fresh, in_force},
};
use crate::{
    choice::QueueEnd,
    mysql::{answer, open::Door, server_connection::ServerConnection},
    pool::{Claim, PoolKey, Pools, Room, Shelf},
    session::{Context, Ending},
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

impl Lease {
    /// COM_SET_OPTION went through it: from now on it can stand in for those that logged in so.
    pub(crate) fn follow_option(&mut self, multi_statements: bool) {
        let connection = &mut self.connection;
        connection.capabilities.set(Capabilities::MULTI_STATEMENTS, multi_statements);
        let mut of_key = Capabilities::from_bits_retain(connection.key.capabilities);
        of_key.set(Capabilities::MULTI_STATEMENTS, multi_statements);
        let key = PoolKey { capabilities: of_key.bits(), ..PoolKey::clone(&connection.key) };
        connection.key = Arc::new(key);
        self.shelf = None;
    }
}

/// In whose name connections are opened.
#[derive(Debug, Clone)]
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
    /// Highgate asks for itself: nobody's turn is taken.
    pub(crate) is_own: bool,
    /// One that lay ready did not fit: none is taken any more.
    pub(crate) is_fresh: bool,
}

/// Why a lease could not be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AcquireError {
    /// A server refuses the account.
    #[error("server {server} can't be logged in to with this account: {error}")]
    Denied { server: ServerName, error: ServerLoginError },
    /// The session's commands go to another backend by now.
    #[error("the session's commands go to another backend by now")]
    Elsewhere,
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
    /// Nobody but the primary can serve, and it is not to.
    #[error(
        "no replica serves this read, and `reads_on_primary = \"never\"` keeps it from the primary: {why}{}",
        and_last(last.as_deref())
    )]
    NoReader { why: NoServer, last: Option<String> },
    /// Nobody can serve.
    #[error("{why}{}", and_last(last.as_deref()))]
    NoServer { why: NoServer, last: Option<String> },
    /// Too many wait already, or it took too long.
    #[error("{0}")]
    Queue(QueueEnd),
}

fn and_last(last: Option<&str>) -> String {
    last.map_or_else(String::new, |last| format!("; the last failed: {last}"))
}

impl AcquireError {
    /// Whether another backend may have what this one could not give.
    pub(crate) const fn is_of_backend(&self) -> bool {
        !matches!(self, Self::Ended(_) | Self::Killed)
    }

    /// What the client is told: no address, no name of a server. `executed` says what is known of
    /// tries before.
    pub(crate) fn answer(&self, executed: &str) -> Answer {
        match self {
            Self::Denied { error, .. } if error.is_about_limit() => error_code::ER_USER_LIMIT_REACHED
                .answer(format!(
                    "The database servers let this account do no more at the moment: a limit of its own is \
                     reached; {executed}"
                )),
            Self::Denied { .. } => error_code::ER_ACCESS_DENIED_ERROR
                .answer("Access denied: the database servers do not accept this account"),
            Self::Ended(_) | Self::Killed => {
                error_code::ER_QUERY_INTERRUPTED.answer("Query execution was interrupted")
            }
            Self::NoBackend(_) => error_code::ER_UNKNOWN_ERROR
                .answer("The backend that this command is routed to does not exist"),
            Self::NoPrimary(_) => answer::no_writes(executed),
            // Nothing is full there, whoever waits in vain.
            Self::Elsewhere
            | Self::NoReader { .. }
            | Self::NoServer { .. }
            | Self::Queue(QueueEnd::Unconnected) => {
                error_code::ER_CON_COUNT_ERROR
                    .answer(format!("No database server can serve at the moment; {executed}"))
            }
            Self::Queue(end) => {
                let limit = match end {
                    QueueEnd::Full => "as many commands wait for a server as `max_queue` allows",
                    QueueEnd::Timeout => "no server had room for this command within `queue_timeout`",
                    QueueEnd::Ended(_)
                    | QueueEnd::Killed
                    | QueueEnd::OutOfPlace
                    | QueueEnd::ServerDown
                    | QueueEnd::Unconnected => {
                        "no server has room for this command"
                    }
                };
                error_code::ER_CON_COUNT_ERROR
                    .answer(format!("Too many connections: {limit}; {executed}"))
            }
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
    pub(crate) fn door(&self, backend: &Arc<Backend>, server: &ServerState, proof: &Proof) -> Door {
        Door {
            target: target(server),
            host: host(&server.address),
            user: self.user.clone(),
            proof: proof.clone(),
            schema: None,
            capabilities: (self.capabilities & SHARED_BY) | ALWAYS,
            collation: 45,
            backend: backend.clone(),
            announced: self.from.zip(self.to),
            tls: None,
        }
    }
}

/// A server that was chosen, of a group.
pub(crate) type Chosen = (Arc<Group>, usize);

/// Gets a connection; from the server that was `chosen` already, if one was. `room`: of one that did not fit
/// and was closed; there another one is opened without waiting.
///
/// Cancel safe: yes; whatever was had is given back or closed.
pub(crate) async fn acquire(
    context: &Context,
    who: &Who,
    keys: &mut Keys,
    order: Order<'_>,
    mut chosen: Option<Chosen>,
    mut room: Option<Room>,
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
        if !order.is_fresh
            && let Some(lease) = pooled(known, member, order.profile)
        {
            return Ok(lease);
        }
        let (key, shelf) = (known.key.clone(), known.shelf.clone());
        if shelf.is_denied(context.worker.now_ms()) {
            failed.push(member.state.id);
            chosen = other(context, &order, &group, &failed);
            if chosen.is_some() {
                continue;
            }
            failed.pop();
        }
        // Everything beyond this point is rare and large: kept out of the command's future.
        let room = room.take_if(|room| room.server().id == member.state.id);
        let way = room.map_or(Way::InTurn(&order), Way::In);
        match Box::pin(fresh(context, who, &group, member, key, way)).await {
            Ok(lease) => return Ok(lease),
            // With the time that is left.
            Err(Fresh::OutOfPlace) => {}
            Err(Fresh::Failed(why)) => {
                last = Some(why);
                failed.push(member.state.id);
            }
            Err(Fresh::Denied(error)) => {
                let server = member.state.clone();
                shelf.deny(context.worker.now_ms());
                failed.push(server.id);
                chosen = other(context, &order, &in_force(context, &group), &failed);
                let denied = AcquireError::Denied { server: server.name.clone(), error };
                if chosen.is_none() {
                    return Err(denied);
                }
                let text = format!("another server is asked: {denied}");
                let event = Event::new(Severity::Info, Kind::Login, text);
                let event = event.backend(&server.backend).server(&server.name);
                context.worker.shared.event_limited(event);
            }
            Err(Fresh::Over(error)) => return Err(error),
        }
    }
}

/// Who else may know an account, without waiting: a replica may not have it yet, its primary does.
fn other(
    context: &Context,
    order: &Order<'_>,
    group: &Arc<Group>,
    failed: &[ServerId],
) -> Option<Chosen> {
    if order.server.is_some() {
        return None;
    }
    let is_left = |index: &usize| {
        let member = group.members.get(*index);
        member.is_some_and(|it| it.status.serves() && !failed.contains(&it.state.id))
    };
    let index = group.primary.filter(is_left);
    let index = index.or_else(|| pick(context, group, order, failed).ok())?;
    Some((group.clone(), index))
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
    let connection = Pools::take(&known.shelf, &known.backend, |connection| {
        Arc::ptr_eq(&connection.state.profile, profile) || connection.state.profile == *profile
    })?;
    let shelf = Some(known.shelf.clone());
    Some(Lease { connection, _claim: Claim::new(member.state.clone()), shelf })
}

/// The pool keys of a session, by server: made once each for the settings in force.
#[derive(Debug, Default)]
pub(crate) struct Keys(Vec<Known>);

/// A pool key, and where its connections lie.
#[derive(Debug)]
struct Known {
    key: Arc<PoolKey>,
    shelf: Rc<Shelf>,
    /// The settings by which it was made.
    backend: Arc<Backend>,
}

impl Known {
    fn new(context: &Context, who: &Who, group: &Group, server: ServerId) -> Self {
        let key = Arc::new(who.key(server, group.backend.send_proxy));
        let shelf = context.worker.pools.shelf(&key);
        Self { key, shelf, backend: group.backend.clone() }
    }
}

impl Keys {
    fn get(&mut self, context: &Context, who: &Who, group: &Group, server: ServerId) -> &Known {
        let found = self.0.iter().position(|known| known.key.server == server);
        let at = found.unwrap_or(self.0.len());
        match self.0.get_mut(at) {
            Some(known) if Arc::ptr_eq(&known.backend, &group.backend) => {}
            // Made anew after each change of the backend: others may share its connections now.
            Some(known) => *known = Known::new(context, who, group, server),
            None => self.0.push(Known::new(context, who, group, server)),
        }
        &self.0[at]
    }

    /// Forgets them: the session logs in anew.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_that_a_setting_keeps_from_the_primary_is_refused_by_that_name() {
        let (why, last) = (NoServer::default(), Some("db2: refused".to_owned()));
        let error = AcquireError::NoReader { why, last };
        let told = error.to_string();
        assert!(told.contains("`reads_on_primary = \"never\"`"), "{told}");
        assert!(told.ends_with("; the last failed: db2: refused"), "{told}");
        let answer = error.answer("nothing was executed");
        assert_eq!(answer.code, 1040);
        assert!(!answer.text.contains("db2"), "no name of a server: {}", answer.text);
    }
}
