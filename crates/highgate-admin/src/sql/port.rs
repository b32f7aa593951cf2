//! The SQL port: a MySQL server for operators, over the [`Engine`].
//!
//! Knows the protocol and no table. One task per connection, the number bounded; each wait for a peer
//! has a deadline. Start reading at [`serve`], then `command`.

mod command;
mod login;
mod wire;

use std::{io, net::IpAddr, sync::Arc, time::Duration};

use highgate_io::{clock, tasks::Stop};
use highgate_mysql::{ErrorCode, error_code};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use self::wire::Wire;
use super::engine::{Caller, Engine};
use crate::{Logins, Room, TlsOffer, crowd::Crowd};

/// Pause after an accept that failed for want of descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What the port is run with.
#[derive(Debug, Clone)]
pub struct Port {
    /// Answers the statements.
    pub engine: Engine,
    /// Who may log in.
    pub logins: Logins,
    /// TLS, as it is configured.
    pub tls: TlsOffer,
    /// Version in the greeting; drivers expect it to start with a number.
    pub version: String,
    /// Its limits.
    pub limits: PortLimits,
}

/// Limits of the SQL port.
#[derive(Debug, Clone)]
pub struct PortLimits {
    /// Connections at once, half of them of one address, or nearly all of this machine; a further one
    /// is told so.
    pub connections: usize,
    /// What descriptors leave it; fewer connections than `connections` where that is less.
    pub room: Room,
    /// From the connection to the end of the login.
    pub login: Duration,
    /// Between two commands.
    pub idle: Duration,
    /// For a client to take an answer.
    pub write: Duration,
}

impl Default for PortLimits {
    fn default() -> Self {
        Self {
            connections: 64,
            room: Room::default(),
            login: Duration::from_secs(10),
            idle: Duration::from_hours(8),
            write: Duration::from_mins(1),
        }
    }
}

/// Serves the port until `stop`; a running statement's answer is then not waited for.
///
/// Cancel safe: yes; dropping it closes the connections.
pub async fn serve(listener: TcpListener, port: Port, stop: Stop) {
    let port = Arc::new(port);
    let mut connections = JoinSet::new();
    let limits = &port.limits;
    let mut crowd = Crowd::of("SQL port", limits.connections, limits.connections / 2);
    let mut connection = 0_u32;
    loop {
        let (stream, from) = tokio::select! {
            biased;
            () = stop.stopped() => break,
            accepted = accept(&listener) => accepted,
        };
        while connections.try_join_next().is_some() {}
        let most = limits.connections.min(limits.room.of_sql());
        crowd.bound(most);
        if connections.len() >= most {
            refuse(&stream, "Too many connections to the SQL port; close one");
            continue;
        }
        let Some(place) = crowd.admit(Some(from), clock::now()) else {
            refuse(&stream, "Too many connections to the SQL port from your address; close one");
            continue;
        };
        connection = connection.wrapping_add(1);
        let session = (Arc::clone(&port), connection, from);
        let conversation = converse(stream, session, stop.clone());
        connections.spawn(async move {
            conversation.await;
            drop(place);
        });
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

async fn accept(listener: &TcpListener) -> (TcpStream, IpAddr) {
    loop {
        match listener.accept().await {
            Ok((stream, from)) => return (stream, from.ip()),
            Err(error) => {
                tracing::warn!(%error, "the SQL port could not accept a connection");
                clock::pause(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// An ERR in place of the greeting; it fits any socket buffer.
fn refuse(stream: &TcpStream, text: &str) {
    let mut out = Vec::new();
    error_code::ER_CON_COUNT_ERROR.answer(text).encode(&mut out, 0);
    let _ = stream.try_write(&out);
}

async fn converse(
    stream: TcpStream,
    (port, connection, from): (Arc<Port>, u32, IpAddr),
    stop: Stop,
) {
    let _ = stream.set_nodelay(true);
    tokio::select! {
        biased;
        () = stop.stopped() => {}
        ended = session(Wire::new(stream), &port, (connection, from)) => {
            if let Err(error) = ended {
                tracing::debug!(%error, connection, "a connection to the SQL port broke");
            }
        }
    }
}

/// One connection from greeting to end.
async fn session(wire: Wire, port: &Port, (connection, from): (u32, IpAddr)) -> io::Result<()> {
    let deadline = clock::now() + port.limits.login;
    let Some((mut wire, login)) = login::login(wire, port, (connection, from), deadline).await?
    else {
        return Ok(());
    };
    let caller = Caller { user: login.user, connection };
    loop {
        let deadline = clock::now() + port.limits.idle;
        let Some((_, payload)) = wire.read(deadline).await? else {
            return Ok(());
        };
        let reply = command::reply(&port.engine, &caller, &payload, login.capabilities).await;
        let Some(reply) = reply else { return Ok(()) };
        wire.write(&reply, clock::now() + port.limits.write).await?;
    }
}

/// An ERR of MySQL's kind for an error of ours.
fn code(code: u16, state: &str) -> ErrorCode {
    let state = state.as_bytes().first_chunk::<5>().unwrap_or(b"HY000");
    ErrorCode::new(code, state)
}

#[cfg(test)]
mod tests;
