//! The seams between the desired state and whoever keeps it: alone, or a Raft cluster.

use std::{future::Future, pin::Pin, sync::Arc};

use crate::{BackendName, Change, Config, Drains, NodeName, Override, ServerName};

/// A future as the control plane returns it: boxed, because the seam is dynamic.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Number of a version of the desired state; grows by one per accepted batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Version(pub u64);

/// Changes that are accepted or refused together.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// The version that the changes were made against.
    pub base_version: Version,
    /// The edits, in order.
    pub changes: Vec<Change>,
    /// Who asked.
    pub who: String,
    /// Why, in the asker's words.
    pub why: String,
}

/// Why a proposal was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum ProposeError {
    /// A change does not fit the desired state.
    #[error("{0}")]
    Refused(String),
    /// The state could not be made durable; nothing changed.
    #[error("the change could not be stored ({0}); nothing was changed")]
    Storage(String),
    /// Somebody else changed the state first.
    #[error(
        "the configuration is at version {} by now; look at the difference and try again", .now.0
    )]
    Stale {
        /// The version in force.
        now: Version,
    },
    /// Neither accepted nor refused in time.
    #[error(
        "it is unknown whether the change was accepted; look before trying again: \
         `highgate ctl show node` tells the version in force (`config_version`)"
    )]
    Unknown,
}

/// Holds the desired state, versions and stores it.
pub trait ControlPlane: Send + Sync {
    /// The state in force with its version.
    fn current(&self) -> (Version, Arc<Config>);
    /// Asks for a batch of changes to be made durable and put in force.
    fn propose(&self, batch: Batch) -> BoxFuture<'_, Result<Version, ProposeError>>;
}

/// Why something could not be stored durably.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("could not be stored: {0}")]
pub struct StoreError(pub String);

/// What is kept beside the desired state: the files as they were last applied, and what operators set
/// for the time being.
///
/// A file's last applied form is the base of the three-way merge (`merge::three_way`).
pub trait Layers: Send + Sync {
    /// What `file` said when this node last applied it; `None` = never applied.
    fn applied(&self, node: &NodeName, file: &str) -> Option<Arc<Config>>;
    /// Remembers what `file` says, durably, after its changes were accepted.
    fn record_applied(
        &self,
        node: &NodeName,
        file: &str,
        config: Arc<Config>,
    ) -> BoxFuture<'_, Result<(), StoreError>>;
    /// The marks in force: per server at most one of weight and one of state, in this order.
    fn overrides(&self) -> Arc<Vec<Override>>;
    /// Sets a mark of a server in place of the one of its sort that it may have.
    fn set_override(&self, mark: Override) -> BoxFuture<'_, Result<(), StoreError>>;
    /// Takes the mark of a server's state away, or where it has none the one of its weight; answers
    /// with what was taken.
    fn clear_override(
        &self,
        server: (BackendName, ServerName),
    ) -> BoxFuture<'_, Result<Option<Override>, StoreError>>;
    /// Which vips of this node are taken out.
    fn drains(&self) -> Arc<Drains>;
    /// Takes a vip of this node out, or all without a name; without a reason it is let back in.
    fn drain(
        &self,
        vip: Option<String>,
        why: Option<String>,
    ) -> BoxFuture<'_, Result<(), StoreError>>;
}
