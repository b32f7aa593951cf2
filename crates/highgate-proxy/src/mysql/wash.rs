//! Washing a connection that a session left in a state of its own: in the background, so that
//! nobody waits for it but who is to find what it held let go.

use std::{future::poll_fn, pin::Pin, rc::Rc, task::Poll, time::Duration};

use highgate_core::{prepare::Step, settle};
use highgate_io::clock;
use tokio::sync::oneshot;

use crate::{
    mysql::{acquire::Lease, exchange::Space, prepare},
    session::{Context, Ending},
    slots::Interrupt,
    worker::Worker,
};

/// Time for a reset; beyond it the connection is closed.
const PATIENCE: Duration = Duration::from_secs(5);

/// Resets the connection, which rolls back what is open, and gives it back to the pool; one that keeps
/// something even so is closed.
pub(crate) fn start(context: &Context, lease: Lease) {
    if settle::is_washable(&lease.connection.state) {
        drop(wash(context, lease, PATIENCE));
    }
}

/// As [`start`], and ready when what the connection held is let go: also one that is closed behind it is reset,
/// since a server that sees its end lets go some time later, and tells nobody. Within `patience` at most: what a
/// server has not let go by then it may hold a while longer.
///
/// Cancel safe: yes; the reset goes on.
pub(crate) async fn finish(
    context: &Context,
    lease: Lease,
    patience: Duration,
) -> Result<(), Ending> {
    let mut over = wash(context, lease, patience);
    poll_fn(|cx| match Pin::new(&mut over).poll(cx) {
        Poll::Ready(_) => Poll::Ready(Ok(())),
        Poll::Pending if context.slot.was_told(Interrupt::Kill) => Poll::Ready(Err(Ending::Killed)),
        Poll::Pending if context.slot.was_told(Interrupt::ServerDown) => Poll::Ready(Ok(())),
        Poll::Pending => Poll::Pending,
    })
    .await
}

/// Starts the reset. What it gives is ready when that is over.
fn wash(context: &Context, lease: Lease, patience: Duration) -> oneshot::Receiver<()> {
    let worker: Rc<Worker> = context.worker.clone();
    let owner = worker.clone();
    let (is_over, over) = oneshot::channel();
    owner.tasks.spawn(async move {
        // The last that goes, behind the connection.
        let _is_over: oneshot::Sender<()> = is_over;
        let Lease { mut connection, .. } = lease;
        // A kill on its way could hit whoever comes next.
        if !connection.is_usable() || connection.kill_in_flight.is_some() {
            return;
        }
        let is_kept = settle::is_washable(&connection.state);
        let slot = worker.slot();
        let mut space = Space::new(worker.buffers.clone());
        let mut steps = vec![Step::ResetConnection];
        if is_kept {
            steps.extend(prepare::first_steps(&connection.state));
        }
        let by = clock::now() + patience;
        let washed = prepare::run(&slot, &mut connection, &steps, &mut space, None);
        if matches!(clock::before(by, washed).await, Some(Ok(()))) && is_kept {
            worker.pools.give(connection, worker.now_ms());
        }
    });
    over
}
