//! Ending what runs on a server: by a connection of its own, since the one it runs on is busy.

use std::{
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use highgate_core::{
    events::{Event, Kind, Severity},
    server::ServerState,
};
use highgate_io::clock;

use crate::{
    mysql::{
        ask::{AskError, Asker},
        open::Door,
    },
    session_info::SessionInfo,
    shared::Shared,
    tls_files,
    worker::Worker,
};

/// Time for a kill. Beyond it the statement ends with its connection, when the server notices.
const PATIENCE: Duration = Duration::from_secs(5);

/// Waits until a kill that the session's former statement was given is over: it would hit the next
/// one, and that one could not be given another.
///
/// Cancel safe: yes; the kill goes on.
pub(crate) async fn wait_until(over: &AtomicBool) {
    /// The flag wakes nobody: this is rare, and soon over.
    const LOOK: Duration = Duration::from_millis(5);
    while !over.load(Ordering::Relaxed) {
        clock::pause(LOOK).await;
    }
}

/// Waits until a session that was told to end is gone, so that whoever hears that it was killed
/// finds its connection closed, as with a server: clients that reconnect look for that before
/// they send. One whose command still runs may take longer than anybody should wait.
///
/// Cancel safe: yes; the session ends all the same.
pub(crate) async fn wait_until_gone(shared: &Shared, other: &Arc<SessionInfo>) {
    /// The end of a session wakes nobody: this is rare, and an idle one ends at once.
    const LOOK: Duration = Duration::from_millis(1);
    const AT_MOST: Duration = Duration::from_secs(1);
    let deadline = clock::now() + AT_MOST;
    let is_there = || shared.session(other.id).is_some_and(|now| Arc::ptr_eq(&now, other));
    while is_there() && clock::now() < deadline {
        clock::pause(LOOK).await;
    }
}

/// Starts a task that kills what a session runs on the connection `thread` of that server, as the same account;
/// `what` is QUERY or CONNECTION. The flag that it returns is set when that is over.
pub(crate) fn start(
    worker: &Rc<Worker>,
    (server, session): (&Arc<ServerState>, u32),
    mut door: Door,
    what: &'static str,
    thread: u32,
) -> Arc<AtomicBool> {
    let over = Arc::new(AtomicBool::new(false));
    let (flag, shared, server) = (over.clone(), worker.shared.clone(), server.clone());
    worker.tasks.spawn(async move {
        let deadline = clock::now() + PATIENCE;
        door.tls = tls_files::towards(&shared, &server.backend, &door.backend.tls, deadline).await;
        let killed = match Asker::open(door, deadline).await {
            Ok((mut asker, _)) => {
                asker.query(&format!("KILL {what} {thread}"), deadline).await.map(drop)
            }
            Err(error) => Err(error.into()),
        };
        match killed {
            // It ended by itself, and its connection.
            Ok(()) | Err(AskError::Server { code: ER_NO_SUCH_THREAD, .. }) => {}
            Err(why) => shared.event_limited(not_ended(&server, session, &why.to_string())),
        }
        flag.store(true, Ordering::Relaxed);
    });
    over
}

/// What operators are told of a statement that can't be ended where it runs.
pub(crate) fn not_ended(server: &ServerState, session: u32, why: &str) -> Event {
    let text = format!(
        "a statement cannot be ended on its server, and may go on there, with its locks: {why}"
    );
    let event = Event::new(Severity::Warning, Kind::Kill, text);
    event.backend(&server.backend).server(&server.name).session(session)
}

const ER_NO_SUCH_THREAD: u16 = 1094;
