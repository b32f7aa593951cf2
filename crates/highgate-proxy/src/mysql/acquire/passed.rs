//! A connection that the client logs in to itself: opened for one session, never pooled.

use std::sync::Arc;

use highgate_config::ServerName;
use highgate_core::{
    server::ErrorKind,
    snapshot::{Group, Member},
};
use highgate_io::clock;
use highgate_mysql::auth::Proof;

use super::{
    AcquireError, Lease, Order, Who,
    choosing::choose,
    fresh::{Fresh, Turn, blame, first_steps, in_force, turn},
};
use crate::{
    mysql::{
        open::{self, OpenError, Passing},
        server_connection::ServerConnection,
    },
    pool::{Claim, PoolKey, Room},
    session::{Context, Ending},
    session_info::Activity,
    tls_files,
};

/// Why a client could not be logged in at a server.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotPassedOn {
    /// No server was found to ask.
    #[error("{0}")]
    Acquire(AcquireError),
    /// The client ended it.
    #[error("{0}")]
    Client(Ending),
    /// The server's answer, or what stands against asking it.
    #[error("{error}")]
    Server { server: ServerName, error: OpenError },
}

/// Opens a connection to whichever server the order leads to, and has the client log in there.
/// Until the client has been asked anything, another server is tried where one fails.
///
/// Cancel safe: no; the client's connection is to be closed.
pub(crate) async fn acquire_passed(
    context: &Context,
    who: &Who,
    order: Order<'_>,
    passing: &mut Passing<'_>,
) -> Result<Lease, NotPassedOn> {
    let mut failed = order.exclude.to_vec();
    let mut last = None;
    loop {
        let chosen = choose(context, &order, &mut failed, last.take()).await;
        let (group, index) = chosen.map_err(NotPassedOn::Acquire)?;
        let Some(member) = group.members.get(index) else { continue };
        let key = Arc::new(who.key(member.state.id, group.backend.send_proxy));
        let room = match turn(context, &group, member, key, &order).await {
            Ok(Turn::Room(room)) => room,
            // Nobody else's connection has that key; what came is closed.
            Ok(Turn::Leased(lease)) => {
                drop(lease);
                continue;
            }
            Err(Fresh::OutOfPlace) => continue,
            Err(Fresh::Denied(why)) => {
                last = Some(why.to_string());
                failed.push(member.state.id);
                continue;
            }
            Err(Fresh::Failed(why)) => {
                last = Some(why);
                failed.push(member.state.id);
                continue;
            }
            Err(Fresh::Over(error)) => return Err(NotPassedOn::Acquire(error)),
        };
        let now = in_force(context, &group);
        let key = Arc::new(who.key(member.state.id, now.backend.send_proxy));
        // What the server does has its own; the client's time begins with the first question.
        context.slot.set_deadline(None);
        context.shows(Activity::Preparing);
        let claim = Claim::new(member.state.clone());
        match Box::pin(open_one(context, who, (&now, member), (key, room), passing)).await {
            Ok(connection) => {
                let connection = Box::new(connection);
                return Ok(Lease { connection, _claim: claim, shelf: None });
            }
            Err(OpenError::Client(ending)) => return Err(NotPassedOn::Client(ending)),
            // Who has no room says nothing of the account: another server may have some.
            Err(error) if passing.relay.has_asked() || !is_of_server(&error) => {
                return Err(NotPassedOn::Server { server: member.state.name.clone(), error });
            }
            Err(error) => {
                last = Some(error.to_string());
                failed.push(member.state.id);
            }
        }
    }
}

/// Whether it is the server that can't serve, whoever logs in: it failed, or takes no more connections.
fn is_of_server(error: &OpenError) -> bool {
    error.failure().is_some() || error.is_full()
}

async fn open_one(
    context: &Context,
    who: &Who,
    (group, member): (&Arc<Group>, &Member),
    (key, room): (Arc<PoolKey>, Room),
    passing: &mut Passing<'_>,
) -> Result<ServerConnection, OpenError> {
    let worker = &context.worker;
    let server = &member.state;
    let deadline = clock::now() + group.backend.connect_timeout;
    let era = server.era();
    let mut door = who.door(&group.backend, server, &Proof::None);
    door.schema.clone_from(&who.schema);
    let tls = tls_files::towards(&worker.shared, &group.name, &group.backend.tls, deadline);
    door.tls = tls.await;
    let opening = open::while_up(server, era, open::open_passed(door, passing, deadline));
    let failed = |error: OpenError| {
        if is_of_server(&error) {
            blame(context, server, &error);
        } else if matches!(error, OpenError::Unanswered) {
            server.count_error(ErrorKind::Connect);
        }
        error
    };
    let (login, greeting) = opening.await.map_err(failed)?;
    worker.shared.facts.learn(server, &greeting);
    let now = worker.now_ms();
    let backend = group.backend.clone();
    let mut connection = ServerConnection::new(login, key, room, era, backend, now);
    // The client took the time that it wanted.
    context.slot.set_deadline(None);
    let deadline = clock::now() + group.backend.connect_timeout;
    first_steps(context, &mut connection, era, deadline).await.map_err(failed)?;
    Ok(connection)
}
