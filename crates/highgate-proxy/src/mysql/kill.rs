//! Ending what runs on a server: by a connection of its own, since the one it runs on is busy.

use std::{
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use highgate_config::BackendName;
use highgate_io::clock;

use crate::{
    mysql::{ask::Asker, open::Door},
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

/// Starts a task that kills what runs on the connection `thread` of a server of that backend, as the
/// same account; `what` is QUERY or CONNECTION. The flag that it returns is set when that is over.
pub(crate) fn start(
    worker: &Rc<Worker>,
    backend: &BackendName,
    mut door: Door,
    what: &'static str,
    thread: u32,
) -> Arc<AtomicBool> {
    let over = Arc::new(AtomicBool::new(false));
    let (flag, shared, backend) = (over.clone(), worker.shared.clone(), backend.clone());
    worker.tasks.spawn(async move {
        let deadline = clock::now() + PATIENCE;
        door.tls = tls_files::towards(&shared, &backend, &door.backend.tls, deadline).await;
        let killed = match Asker::open(door, deadline).await {
            Ok((mut asker, _)) => {
                let statement = format!("KILL {what} {thread}");
                asker.query(&statement, deadline).await.map(drop).map_err(|e| e.to_string())
            }
            Err(error) => Err(error.to_string()),
        };
        if let Err(why) = killed {
            tracing::debug!(thread, "a statement could not be killed: {why}");
        }
        flag.store(true, Ordering::Relaxed);
    });
    over
}
