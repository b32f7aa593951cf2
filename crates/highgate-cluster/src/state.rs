//! What is stored: the desired state with its version, and the layers beside it.

use std::{collections::BTreeMap, sync::Arc};

use highgate_config::{Config, Drains, NodeName, Override};
use serde::{Deserialize, Serialize};

use crate::{file::DurableFile, open::OpenError};

/// One version of all that [`Alone`](crate::Alone) holds. Replaced whole.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct State {
    /// 0 = nothing was ever accepted.
    pub(crate) version: u64,
    /// The node that wrote it last; empty = none did.
    pub(crate) node: String,
    pub(crate) config: Arc<Config>,
    /// Each file as a node last applied it.
    pub(crate) applied: BTreeMap<NodeName, BTreeMap<String, Arc<Config>>>,
    /// The files that a node's process was started with last.
    #[serde(default)]
    pub(crate) started_with: BTreeMap<NodeName, String>,
    /// Per server at most one of weight and one of state, in this order.
    pub(crate) overrides: Arc<Vec<Override>>,
    /// The vips of the node that are taken out.
    #[serde(default)]
    pub(crate) drains: Arc<Drains>,
}

impl State {
    /// What the file says; an empty state where it was never written.
    pub(crate) fn read(file: &DurableFile) -> Result<Self, OpenError> {
        let Some(body) = file.read()? else {
            return Ok(Self::default());
        };
        serde_json::from_slice(&body).map_err(|error| {
            file.damaged(&format!(
                "it is whole but was written by another version of Highgate ({error})"
            ))
        })
    }

    /// Indented, because it is read by people when nothing else works.
    pub(crate) fn body(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec_pretty(self)
    }

    /// Whether nothing was ever accepted or applied.
    pub(crate) fn is_empty(&self) -> bool {
        self.version == 0 && self.applied.is_empty()
    }
}
