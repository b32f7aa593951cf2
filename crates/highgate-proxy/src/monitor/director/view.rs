//! What operators see of the director's work.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use highgate_core::server::ServerId;

use super::Director;

/// A server's health as operators see it; rewritten after each judgement.
#[derive(Debug, Clone, Default)]
pub struct View {
    /// By server: time of the last check's answer, and the last error.
    pub servers: BTreeMap<ServerId, ServerView>,
}

/// One server's health as operators see it.
#[derive(Debug, Clone, Default)]
pub struct ServerView {
    /// How long the last good check took.
    pub latency: Option<Duration>,
    /// What the last failure said.
    pub last_error: Option<String>,
    /// How far behind it is as a replica, in milliseconds. The snapshot has that only as of the last
    /// plan in which something else changed.
    pub lag_ms: Option<u64>,
    /// Since when it gives no new connections, while those that are open may work.
    pub unconnected_since: Option<Instant>,
}

impl Director {
    /// Rewrites what operators see.
    pub(super) fn show(&self) {
        let servers = self
            .healths
            .iter()
            .map(|(id, health)| {
                let last_error = health.last_error().map(str::to_owned);
                let lag_ms = self.lag_ms(*id);
                let view = ServerView {
                    latency: health.latency(),
                    last_error,
                    lag_ms,
                    unconnected_since: health.unconnected_since(),
                };
                (*id, view)
            })
            .collect();
        self.view.lock().servers = servers;
    }

    fn lag_ms(&self, id: ServerId) -> Option<u64> {
        let state = &self.servers.get(&id)?.state;
        self.outcomes.get(&state.backend)?.roles.get(&state.name)?.lag_ms
    }
}
