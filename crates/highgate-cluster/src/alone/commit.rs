//! The one way of every edit: next state, store, put in force.

use std::{convert::Infallible, sync::Arc};

use highgate_config::StoreError;
use highgate_io::tasks::blocking;
use tokio::sync::watch;

use super::{Alone, outcome::CommitError};
use crate::{disk::Disk, file::WriteError, state::State};

impl Alone {
    /// Runs an edit: next state, store, put in force.
    pub(super) async fn commit<T, E>(
        &self,
        edit: impl FnOnce(&mut State) -> Result<T, E> + Send + 'static,
    ) -> Result<T, CommitError<E>>
    where
        T: Send + 'static,
        E: Send + 'static,
    {
        let this = self.clone();
        let done = blocking(move || this.commit_now(edit)).await;
        done.unwrap_or(Err(CommitError::Unknown))
    }

    pub(super) fn commit_now<T, E>(
        &self,
        edit: impl FnOnce(&mut State) -> Result<T, E>,
    ) -> Result<T, CommitError<E>> {
        let disk = self.disk.lock();
        // Before the edit: who may not store it is not to get ready for it either.
        disk.may_write(&disk.state).map_err(not_stored)?;
        let before = Arc::clone(&self.held.borrow());
        self.commit_onto(&disk, &before, edit)
    }

    /// Stores the edit of `before`, which is what the disk holds, and puts it in force.
    pub(super) fn commit_onto<T, E>(
        &self,
        disk: &Disk,
        before: &State,
        edit: impl FnOnce(&mut State) -> Result<T, E>,
    ) -> Result<T, CommitError<E>> {
        let mut next = before.clone();
        let done = edit(&mut next).map_err(CommitError::Refused)?;
        if next == *before {
            self.publish(next);
            return Ok(done);
        }
        self.node.as_str().clone_into(&mut next.node);
        let body = next.body().map_err(|error| CommitError::Storage(error.to_string()))?;
        disk.write(&disk.state, &body).map_err(not_stored)?;
        self.publish(next);
        Ok(done)
    }

    /// Puts a state in force. Watchers are told only of what differs.
    pub(super) fn publish(&self, next: State) {
        let next = Arc::new(next);
        self.held.send_replace(Arc::clone(&next));
        tell(&self.config, &next.config);
        tell(&self.overrides, &next.overrides);
    }

    pub(super) async fn store<T: Send + 'static>(
        &self,
        edit: impl FnOnce(&mut State) -> T + Send + 'static,
    ) -> Result<T, StoreError> {
        let edit = move |state: &mut State| Ok::<T, Infallible>(edit(state));
        self.commit(edit).await.map_err(|error| match error {
            CommitError::Refused(never) => match never {},
            CommitError::Storage(why) => StoreError(why),
            CommitError::Unknown => StoreError("it is unknown whether it was".to_owned()),
        })
    }
}

fn not_stored<E>(error: WriteError) -> CommitError<E> {
    match error {
        WriteError::NotWritten { .. } => CommitError::Storage(error.to_string()),
        WriteError::Unknown { .. } => CommitError::Unknown,
    }
}

fn tell<T: PartialEq>(watchers: &watch::Sender<Arc<T>>, next: &Arc<T>) {
    watchers.send_if_modified(|held| {
        let differs = **held != **next;
        if differs {
            *held = Arc::clone(next);
        }
        differs
    });
}
