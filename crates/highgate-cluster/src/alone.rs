//! A node without peers: the desired state and its layers over one durable file.
//!
//! Every edit runs the same way, off the caller's thread and under the data directory's lock:
//! compute the next state, store it, then put it in force. So edits are one after the other, and
//! an edit whose caller went away still ends whole.

mod commit;
mod files;
mod outcome;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, path::Path, sync::Arc};

use highgate_config::{
    BackendName, Batch, BoxFuture, Config, ControlPlane, Drains, Layers, NodeName, Override,
    ProposeError, ServerName, StoreError, Version, apply_all, merge::Merged,
};
use parking_lot::Mutex;
use tokio::sync::watch;

pub use self::{
    files::BETWEEN_FILES,
    outcome::{Applied, ApplyError, SeedError},
};
use self::{
    files::{merge_file, merged, started_with},
    outcome::{CommitError, FileRefused},
};
use crate::{disk::Disk, open::OpenError, records::RecordsStore, state::State};

/// Holds the desired state of a node that has no peers. A copy is another handle to it.
#[derive(Debug, Clone)]
pub struct Alone {
    node: NodeName,
    disk: Arc<Mutex<Disk>>,
    held: watch::Sender<Arc<State>>,
    config: watch::Sender<Arc<Config>>,
    overrides: watch::Sender<Arc<Vec<Override>>>,
    records: RecordsStore,
}

impl Alone {
    /// Opens a data directory (created where it is missing) and takes it for this process. Blocks.
    ///
    /// # Errors
    /// When another process has it, or a file in it is damaged: never taken for an empty store.
    pub fn open(dir: &Path, node: NodeName) -> Result<Self, OpenError> {
        let alone = Self::peek(dir, node)?;
        alone.acquire()?;
        Ok(alone)
    }

    /// Reads a data directory that another process may hold, to get ready for a hand-over. Edits
    /// are refused until [`Self::acquire`]. Blocks.
    ///
    /// # Errors
    /// When a file in it is damaged.
    pub fn peek(dir: &Path, node: NodeName) -> Result<Self, OpenError> {
        let disk = Disk::open(dir)?;
        let state = State::read(&disk.state)?;
        if !state.node.is_empty() && state.node != node.as_str() {
            tracing::warn!(
                node = %node, before = state.node,
                "the data directory was written by a node of another name; that node's own part \
                 of the configuration stays, unused"
            );
        }
        let disk = Arc::new(Mutex::new(disk));
        let records = RecordsStore::open(&disk)?;
        Ok(Self {
            node,
            disk,
            config: watch::Sender::new(Arc::clone(&state.config)),
            overrides: watch::Sender::new(Arc::clone(&state.overrides)),
            held: watch::Sender::new(Arc::new(state)),
            records,
        })
    }

    /// Takes the data directory, and reads what its last holder wrote meanwhile. Blocks.
    ///
    /// # Errors
    /// When another process has it, or a file in it is damaged.
    pub fn acquire(&self) -> Result<(), OpenError> {
        let mut disk = self.disk.lock();
        disk.acquire()?;
        self.publish(State::read(&disk.state)?);
        self.records.reread(&disk)
    }

    /// Shows what [`Self::acquire_with`] would put in force, and puts that in force in memory alone:
    /// for a process that gets ready before it may write.
    ///
    /// # Errors
    /// When the result does not fit together; nothing was changed.
    pub fn stage_file(&self, file_name: &str, parsed: Arc<Config>) -> Result<(), ApplyError> {
        let mut next = State::clone(&self.held.borrow());
        started_with(&mut next, &self.node, file_name);
        merge_file(&mut next, self.node.clone(), file_name.to_owned(), parsed)
            .map_err(|why| CommitError::Refused(why).of_file(file_name))?;
        self.publish(next);
        Ok(())
    }

    /// Takes the data directory as [`Self::acquire`] does and applies a file in the same step, so
    /// that nobody sees the state between. Where the file can't be applied, what the last holder
    /// left is in force. Blocks.
    ///
    /// # Errors
    /// The outer one as [`Self::acquire`], the inner one as [`Self::apply_file`].
    pub fn acquire_with(
        &self,
        file_name: &str,
        parsed: Arc<Config>,
    ) -> Result<Result<Applied, ApplyError>, OpenError> {
        let mut disk = self.disk.lock();
        disk.acquire()?;
        let found = State::read(&disk.state)?;
        self.records.reread(&disk)?;
        let (node, file) = (self.node.clone(), file_name.to_owned());
        let edit = |state: &mut State| {
            started_with(state, &node, &file);
            merge_file(state, node, file, parsed)
        };
        let applied = self.commit_onto(&disk, &found, edit);
        if applied.is_err() {
            self.publish(found);
        }
        Ok(applied.map_err(|error| error.of_file(file_name)))
    }

    /// Lets the next process have the data directory; waits for a write that is under way. Edits
    /// are refused from here on, while what is held stays readable. Blocks.
    pub fn release(&self) {
        self.disk.lock().release();
    }

    /// Sets aside what a data directory holds (`--initial`), damaged or not, as `*.forgotten`. Blocks.
    ///
    /// # Errors
    /// When another process has the directory or the system refuses.
    pub fn forget(dir: &Path) -> Result<(), OpenError> {
        let mut disk = Disk::open(dir)?;
        disk.acquire()?;
        disk.state.forget()?;
        disk.primaries.forget()
    }

    /// The node whose state this is.
    #[must_use]
    pub fn node(&self) -> &NodeName {
        &self.node
    }

    /// The files that this node has applied, each as it was then.
    #[must_use]
    pub fn all_applied(&self) -> BTreeMap<String, Arc<Config>> {
        self.held.borrow().applied.get(&self.node).cloned().unwrap_or_default()
    }

    /// What the files of the last start said when they were last applied; `None` where there was none.
    #[must_use]
    pub fn last_start(&self) -> Option<Arc<Config>> {
        let held = self.held.borrow();
        held.applied.get(&self.node)?.get(held.started_with.get(&self.node)?).cloned()
    }

    /// What [`Self::apply_file`] would change now.
    #[must_use]
    pub fn would_apply(&self, file_name: &str, parsed: &Config) -> Merged {
        merged(&self.held.borrow(), &self.node, file_name, parsed)
    }

    /// Whether nothing was ever accepted or applied.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.held.borrow().is_empty()
    }

    /// The records of the backends' primaries.
    #[must_use]
    pub fn records(&self) -> RecordsStore {
        self.records.clone()
    }

    /// The desired state, now and whenever it changes.
    #[must_use]
    pub fn watch_config(&self) -> watch::Receiver<Arc<Config>> {
        self.config.subscribe()
    }

    /// The overrides, now and whenever they change.
    #[must_use]
    pub fn watch_overrides(&self) -> watch::Receiver<Arc<Vec<Override>>> {
        self.overrides.subscribe()
    }

    /// Puts a first state into an empty store.
    ///
    /// Cancel safe: yes, but the edit itself goes on to its end.
    ///
    /// # Errors
    /// `NotEmpty` when there is a state already.
    pub async fn seed(&self, config: Config) -> Result<Version, SeedError> {
        let edit = move |state: &mut State| {
            if !state.is_empty() {
                return Err(Version(state.version));
            }
            state.version = 1;
            state.config = Arc::new(config);
            Ok(Version(1))
        };
        self.commit(edit).await.map_err(|error| match error {
            CommitError::Refused(version) => SeedError::NotEmpty(version),
            CommitError::Storage(why) => ProposeError::Storage(why).into(),
            CommitError::Unknown => ProposeError::Unknown.into(),
        })
    }

    /// Applies onto what is in force what changed in a file since this node last applied it, and
    /// remembers the file, in one durable step. What comes of it is shown to `ready` first, off the
    /// caller's thread: what that refuses is not stored, and the reason is a part of the error.
    ///
    /// Cancel safe: yes, but the edit itself goes on to its end.
    ///
    /// # Errors
    /// When the result does not fit together, is refused by `ready` or could not be stored.
    pub async fn apply_file(
        &self,
        file_name: &str,
        parsed: Config,
        who: &str,
        ready: impl FnOnce(&Config) -> Result<(), String> + Send + 'static,
    ) -> Result<Applied, ApplyError> {
        let (node, file) = (self.node.clone(), file_name.to_owned());
        let parsed = Arc::new(parsed);
        let edit = move |state: &mut State| {
            let applied = merge_file(state, node, file, parsed)?;
            ready(&state.config).map_err(FileRefused::Unready)?;
            Ok(applied)
        };
        Self::told(self.commit(edit).await, file_name, who)
    }

    /// What a file said when this node last applied it is kept under another name from now on.
    ///
    /// Cancel safe: yes, but the edit itself goes on to its end.
    ///
    /// # Errors
    /// When it could not be stored.
    pub async fn rename_applied(&self, before: &str, file_name: &str) -> Result<(), StoreError> {
        let (node, before, file) = (self.node.clone(), before.to_owned(), file_name.to_owned());
        self.store(move |state| {
            let files = state.applied.entry(node).or_default();
            if let Some(said) = files.remove(&before) {
                files.insert(file, said);
            }
        })
        .await
    }

    /// As [`Self::apply_file`] for the files that the process is started with. Where they are others
    /// than at its last start (one was added, renamed or split), what changed since then is applied all
    /// the same: what those said and these don't is gone. So is what one of these said as a further file.
    ///
    /// # Errors
    /// As [`Self::apply_file`].
    ///
    /// Cancel safe: yes, but the outcome is then unknown.
    pub async fn start_with(&self, file_name: &str, parsed: Config) -> Result<Applied, ApplyError> {
        let (node, file, parsed) = (self.node.clone(), file_name.to_owned(), Arc::new(parsed));
        let edit = move |state: &mut State| {
            started_with(state, &node, &file);
            merge_file(state, node, file, parsed)
        };
        Self::told(self.commit(edit).await, file_name, "run")
    }

    fn told(
        applied: Result<Applied, CommitError<FileRefused>>,
        file_name: &str,
        who: &str,
    ) -> Result<Applied, ApplyError> {
        let applied = applied.map_err(|error| error.of_file(file_name))?;
        let (changes, conflicts) = (applied.changes.len(), applied.conflicts.len());
        let version = applied.version.0;
        tracing::info!(file = file_name, who, version, changes, conflicts, "file applied");
        Ok(applied)
    }
}

/// Applies a batch onto the state it was made against.
fn accept(state: &mut State, batch: &Batch) -> Result<Version, ProposeError> {
    let now = Version(state.version);
    if batch.base_version != now {
        return Err(ProposeError::Stale { now });
    }
    let next = apply_all(&state.config, &batch.changes)
        .map_err(|why| ProposeError::Refused(why.to_string()))?;
    state.config = Arc::new(next);
    state.version += 1;
    Ok(Version(state.version))
}

impl ControlPlane for Alone {
    fn current(&self) -> (Version, Arc<Config>) {
        let held = self.held.borrow();
        (Version(held.version), Arc::clone(&held.config))
    }

    fn propose(&self, batch: Batch) -> BoxFuture<'_, Result<Version, ProposeError>> {
        Box::pin(async move {
            let (who, why) = (batch.who.clone(), batch.why.clone());
            let done = self.commit(move |state| accept(state, &batch)).await;
            let version = done.map_err(|error| match error {
                CommitError::Refused(refused) => refused,
                CommitError::Storage(why) => ProposeError::Storage(why),
                CommitError::Unknown => ProposeError::Unknown,
            })?;
            tracing::info!(version = version.0, who, why, "configuration changed");
            Ok(version)
        })
    }
}

impl Layers for Alone {
    fn applied(&self, node: &NodeName, file: &str) -> Option<Arc<Config>> {
        let held = self.held.borrow();
        held.applied.get(node)?.get(file).cloned()
    }

    fn record_applied(
        &self,
        node: &NodeName,
        file: &str,
        config: Arc<Config>,
    ) -> BoxFuture<'_, Result<(), StoreError>> {
        let (node, file) = (node.clone(), file.to_owned());
        Box::pin(self.store(move |state| {
            state.applied.entry(node).or_default().insert(file, config);
        }))
    }

    fn overrides(&self) -> Arc<Vec<Override>> {
        Arc::clone(&self.held.borrow().overrides)
    }

    fn set_override(&self, mark: Override) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(self.store(move |state| {
            let marks = Arc::make_mut(&mut state.overrides);
            match marks.binary_search_by(|held| held.place().cmp(&mark.place())) {
                Ok(at) => {
                    if let Some(held) = marks.get_mut(at) {
                        *held = mark;
                    }
                }
                Err(at) => marks.insert(at, mark),
            }
        }))
    }

    fn clear_override(
        &self,
        server: (BackendName, ServerName),
    ) -> BoxFuture<'_, Result<Option<Override>, StoreError>> {
        Box::pin(self.store(move |state| {
            // The state stands behind the weight.
            let at = state.overrides.iter().rposition(|mark| mark.server == server)?;
            Some(Arc::make_mut(&mut state.overrides).remove(at))
        }))
    }

    fn drains(&self) -> Arc<Drains> {
        Arc::clone(&self.held.borrow().drains)
    }

    fn drain(
        &self,
        vip: Option<String>,
        why: Option<String>,
    ) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(self.store(move |state| {
            Arc::make_mut(&mut state.drains).say(vip.as_deref(), why.as_deref());
        }))
    }
}
