//! Which server each backend last had as its primary, durably.
//!
//! What a record says is its writer's business; here it is a JSON value under a backend's name.

use std::{collections::BTreeMap, sync::Arc};

use highgate_config::{BackendName, StoreError};
use highgate_io::tasks::blocking;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::watch;

use crate::{disk::Disk, open::OpenError};

type Records = BTreeMap<BackendName, Value>;

/// A durable map from backend to its primary's record. A copy is another handle to it.
#[derive(Debug, Clone)]
pub struct RecordsStore {
    disk: Arc<Mutex<Disk>>,
    held: watch::Sender<Arc<Records>>,
}

impl RecordsStore {
    pub(crate) fn open(disk: &Arc<Mutex<Disk>>) -> Result<Self, OpenError> {
        let records = read(&disk.lock())?;
        Ok(Self { disk: Arc::clone(disk), held: watch::Sender::new(Arc::new(records)) })
    }

    /// Reads again: another process may have written before it let go.
    pub(crate) fn reread(&self, disk: &Disk) -> Result<(), OpenError> {
        self.held.send_replace(Arc::new(read(disk)?));
        Ok(())
    }

    /// All records in force.
    #[must_use]
    pub fn all(&self) -> Arc<BTreeMap<BackendName, Value>> {
        Arc::clone(&self.held.borrow())
    }

    /// The record of a backend.
    #[must_use]
    pub fn get(&self, backend: &BackendName) -> Option<Value> {
        self.held.borrow().get(backend).cloned()
    }

    /// Whether this process has the data directory: it has not once it was handed over.
    ///
    /// Cancel safe: yes.
    pub async fn is_held(&self) -> bool {
        let disk = Arc::clone(&self.disk);
        blocking(move || disk.lock().is_held()).await.unwrap_or(true)
    }

    /// Remembers a backend's record in place of the one before; durable once it answers `Ok`.
    ///
    /// Cancel safe: yes, but the write itself goes on to its end.
    ///
    /// # Errors
    /// When it could not be stored; what is held is as it was.
    pub async fn put(&self, backend: BackendName, record: Value) -> Result<(), StoreError> {
        self.update(move |records| {
            records.insert(backend, record);
        })
        .await
    }

    /// Forgets a backend's record.
    ///
    /// Cancel safe: yes, but the write itself goes on to its end.
    ///
    /// # Errors
    /// When it could not be stored; what is held is as it was.
    pub async fn remove(&self, backend: BackendName) -> Result<(), StoreError> {
        self.update(move |records| {
            records.remove(&backend);
        })
        .await
    }

    async fn update(
        &self,
        edit: impl FnOnce(&mut Records) + Send + 'static,
    ) -> Result<(), StoreError> {
        let store = self.clone();
        blocking(move || store.update_now(edit))
            .await
            .unwrap_or_else(|| Err(StoreError("it is unknown whether it was".to_owned())))
    }

    fn update_now(&self, edit: impl FnOnce(&mut Records)) -> Result<(), StoreError> {
        let disk = self.disk.lock();
        let mut next = Records::clone(&self.held.borrow());
        edit(&mut next);
        if next == **self.held.borrow() {
            return Ok(());
        }
        let body =
            serde_json::to_vec_pretty(&next).map_err(|error| StoreError(error.to_string()))?;
        disk.write(&disk.primaries, &body).map_err(|error| StoreError(error.to_string()))?;
        self.held.send_replace(Arc::new(next));
        Ok(())
    }
}

fn read(disk: &Disk) -> Result<Records, OpenError> {
    let Some(body) = disk.primaries.read()? else {
        return Ok(Records::new());
    };
    serde_json::from_slice(&body).map_err(|error| disk.primaries.damaged(&error.to_string()))
}
