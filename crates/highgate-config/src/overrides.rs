//! Overrides: an operator's marks on servers that are not desired state.
//!
//! They work without quorum and survive a restart; `state` and `weight` of a server in the
//! configuration stay as they are beneath them.

use serde::{Deserialize, Serialize};

use crate::{BackendName, ServerName};

/// An operator's mark on a server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Override {
    /// The server that is marked, within its backend.
    pub server: (BackendName, ServerName),
    /// What the mark says.
    pub kind: OverrideKind,
    /// Who set it.
    pub who: String,
    /// When it was set, in seconds since 1970.
    pub since: u64,
    /// When it ends by itself, in seconds since 1970; `None` = when it is cleared.
    pub until: Option<u64>,
}

impl Override {
    /// Whether the mark holds at `now` (seconds since 1970).
    #[must_use]
    pub fn holds_at(&self, now: u64) -> bool {
        self.until.is_none_or(|until| now < until)
    }
}

/// What an override says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum OverrideKind {
    /// Takes no new work, finishes what runs.
    Drain,
    /// Takes nothing, is not checked.
    Maintenance,
    /// Has this weight instead of the configured one.
    Weight(u32),
}
