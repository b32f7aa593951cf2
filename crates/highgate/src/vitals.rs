//! Looks once a second whether this node can do its work by itself: for the addresses and `/health`.

use std::{sync::Arc, time::Duration};

use highgate_io::{clock, tasks::Stop};
use highgate_proxy::node::Node;
use tokio::sync::watch;

/// Time between two looks.
const LOOK: Duration = Duration::from_secs(1);
/// A look that is so late says nothing: this whole process did not run.
const LATE: Duration = Duration::from_millis(500);

/// Looks until the stop; `fault` says what is wrong, in a few words.
///
/// Cancel safe: yes.
pub(crate) async fn watch(node: Arc<Node>, fault: watch::Sender<Option<String>>, stop: Stop) {
    let look = async {
        loop {
            let due = clock::now() + LOOK;
            clock::sleep_until(due).await;
            if clock::now() > due + LATE {
                continue;
            }
            let found = node.look().fault();
            fault.send_if_modified(|held| {
                let differs = *held != found;
                *held = found;
                differs
            });
        }
    };
    tokio::select! {
        biased;
        () = stop.stopped() => {}
        () = look => {}
    }
}
