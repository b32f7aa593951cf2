//! Who was the primary of each backend, on disk.

use std::sync::Arc;

use highgate_cluster::RecordsStore;
use highgate_proxy::monitor::Records;
use tokio::sync::watch;

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

/// Stores records as they change, until nobody changes them any more.
///
/// Cancel safe: yes; a change that was not stored is stored with the next one.
pub(crate) async fn keep(store: RecordsStore, mut changes: watch::Receiver<Arc<Records>>) {
    let mut stored = load(&store);
    while changes.changed().await.is_ok() {
        let records = changes.borrow_and_update().clone();
        for (backend, record) in records.iter() {
            if stored.get(backend) == Some(record) {
                continue;
            }
            let Ok(value) = serde_json::to_value(record) else {
                continue;
            };
            match store.put(backend.clone(), value).await {
                Ok(()) => {
                    stored.insert(backend.clone(), record.clone());
                }
                // The data path does not depend on it: only a restart would not know the primary.
                Err(error) => tracing::error!(%backend, "its primary was not recorded: {error}"),
            }
        }
    }
}
