//! Overrides: an operator's marks on servers that are not desired state.
//!
//! They work without quorum and survive a restart; `state` and `weight` of a server in the
//! configuration stay as they are beneath them. State and weight are marks of their own: neither
//! replaces the other, as in HAProxy.

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

    /// What there is one mark of, and where it stands among the others: by server, the weight first.
    /// Versions that knew one mark per server go by the last: such a one keeps a drained server drained.
    #[must_use]
    pub fn place(&self) -> (&(BackendName, ServerName), bool) {
        (&self.server, self.kind.is_state())
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

impl OverrideKind {
    /// Whether it is about the state of the server, not about its weight.
    #[must_use]
    pub fn is_state(self) -> bool {
        match self {
            Self::Drain | Self::Maintenance => true,
            Self::Weight(_) => false,
        }
    }
}
