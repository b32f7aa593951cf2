//! Washing a connection that a session left in a state of its own: in the background, so that
//! nobody waits for it.

use std::{rc::Rc, time::Duration};

use highgate_core::{prepare::Step, settle};
use highgate_io::clock;

use crate::{
    mysql::{acquire::Lease, exchange::Space, prepare},
    session::Context,
    worker::Worker,
};

/// Time for a reset; beyond it the connection is closed.
const PATIENCE: Duration = Duration::from_secs(5);

/// Resets the connection, which rolls back what is open, and gives it back to the pool; one that keeps
/// something even so is closed.
pub(crate) fn start(context: &Context, lease: Lease) {
    if !settle::is_washable(&lease.connection.state) {
        return;
    }
    let worker: Rc<Worker> = context.worker.clone();
    let owner = worker.clone();
    owner.tasks.spawn(async move {
        let Lease { mut connection, .. } = lease;
        // A kill on its way could hit whoever comes next.
        if !connection.is_usable() || connection.kill_in_flight.is_some() {
            return;
        }
        let slot = worker.slot();
        let mut space = Space::new(worker.buffers.clone());
        let mut steps = vec![Step::ResetConnection];
        steps.extend(prepare::first_steps(&connection.state));
        let by = clock::now() + PATIENCE;
        let washed = prepare::run(&slot, &mut connection, &steps, &mut space, None);
        if matches!(clock::before(by, washed).await, Some(Ok(()))) {
            worker.pools.give(connection, worker.now_ms());
        }
    });
}
