//! Who was the primary of each backend, on disk.

use std::{sync::Arc, time::Duration};

use highgate_cluster::RecordsStore;
use highgate_config::{BackendName, StoreError};
use highgate_core::events::{Event, Kind, Severity};
use highgate_io::clock;
use highgate_proxy::{monitor::Records, shared::Shared};
use tokio::sync::watch;

/// Time between two tries to store what could not be stored.
const AGAIN: Duration = Duration::from_secs(1);

/// What was stored; a record that can't be read is left out, with a warning.
pub(crate) fn load(store: &RecordsStore) -> Records {
    store
        .all()
        .iter()
        .filter_map(|(backend, value)| match serde_json::from_value(value.clone()) {
            Ok(record) => Some((backend.clone(), record)),
            Err(error) => {
                tracing::warn!(%backend, "the record of its primary can't be read: {error}");
                None
            }
        })
        .collect()
}

/// Stores records as they change, until nobody changes them any more. One that can't be stored is
/// tried again, since a restart would not know that primary.
///
/// Cancel safe: yes; a change that was not stored is stored with the next one.
pub(crate) async fn keep(
    store: RecordsStore,
    mut changes: watch::Receiver<Arc<Records>>,
    shared: Arc<Shared>,
) {
    let mut stored = load(&store);
    let (mut missing, mut told) = (false, false);
    loop {
        if missing {
            // Not at each change: they come as often as checks do, and the disk is full or worse.
            clock::pause(AGAIN).await;
        } else if changes.changed().await.is_err() {
            return;
        }
        let records = changes.borrow_and_update().clone();
        let failed = store_changed(&store, &records, &mut stored).await;
        missing = failed.is_some();
        if let Some((backend, error)) = failed {
            // After a hand-over it is the other process that stores them.
            if told || !store.is_held().await {
                continue;
            }
            told = true;
            let text = format!(
                "which server is its primary can't be stored: {error}; it is tried again every second, \
                 and a restart before that succeeds knows an older primary or none"
            );
            shared.event(Event::new(Severity::Error, Kind::Config, text).backend(&backend));
        } else if told {
            told = false;
            let text = "which servers are primaries is stored again";
            shared.event(Event::new(Severity::Info, Kind::Config, text));
        }
    }
}

/// Stores what differs, and forgets what an operator had forgotten; gives what could not be.
async fn store_changed(
    store: &RecordsStore,
    records: &Records,
    stored: &mut Records,
) -> Option<(BackendName, String)> {
    let mut failed = None;
    let forgotten: Vec<_> =
        stored.keys().filter(|it| !records.contains_key(*it)).cloned().collect();
    for backend in forgotten {
        match store.remove(backend.clone()).await {
            Ok(()) => drop(stored.remove(&backend)),
            Err(StoreError(why)) => failed = Some((backend, why)),
        }
    }
    for (backend, record) in records {
        if stored.get(backend) == Some(record) {
            continue;
        }
        let Ok(value) = serde_json::to_value(record) else { continue };
        match store.put(backend.clone(), value).await {
            Ok(()) => {
                stored.insert(backend.clone(), record.clone());
            }
            // The data path does not depend on it.
            Err(StoreError(why)) => failed = Some((backend.clone(), why)),
        }
    }
    failed
}
