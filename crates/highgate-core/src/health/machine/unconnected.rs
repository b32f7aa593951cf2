//! Servers whose open connections work and that give no new ones: SYNs are dropped on the way, logins hang,
//! certificates have expired. Checks over the connection that is kept can't see it, and as many packets may be lost on
//! the way, so it proves no failure. New work stays away, where another server can have it, until a
//! connection that is tried beside the checks is had.

use std::time::{Duration, Instant};

use super::ServerHealth;
use crate::{
    events::{Kind, Severity},
    health::{Action, Actions},
};

/// How long new work stays away beyond the next check, which begins the time anew.
const BEYOND: Duration = Duration::from_secs(5);

/// What is known of a server that gives no new connections.
#[derive(Debug, Clone, Copy)]
pub(super) struct Unconnected {
    pub(super) since: Instant,
    is_being_tried: bool,
}

impl ServerHealth {
    /// Traffic got no connection in time.
    pub(super) fn not_connected(&mut self, now: Instant, actions: &mut Actions) {
        if self.unconnected.is_some() {
            return;
        }
        self.unconnected = Some(Unconnected { since: now, is_being_tried: false });
        actions.push(Action::Shun { until: self.shun_beyond_next_check(now) });
        let text = "no new connection is had, while the one that checks keep may work: \
                    no new work, unless no other can serve, until a new connection is had";
        let text = text.to_owned();
        actions.push(Action::Event { severity: Severity::Warning, kind: Kind::Shun, text });
        actions.push(Action::Replan);
    }

    /// Has a connection tried beside the check that begins, and keeps work away meanwhile.
    pub(super) fn try_connection(&mut self, now: Instant, actions: &mut Actions) {
        let until = self.shun_beyond_next_check(now);
        let Some(unconnected) = &mut self.unconnected else { return };
        actions.push(Action::Shun { until });
        if !std::mem::replace(&mut unconnected.is_being_tried, true) {
            actions.push(Action::TryConnection);
        }
    }

    /// What came of it.
    pub(super) fn connection_tried(&mut self, works: bool, actions: &mut Actions) {
        match &mut self.unconnected {
            Some(unconnected) if !works => unconnected.is_being_tried = false,
            Some(_) => {
                self.unconnected = None;
                if !self.shunned {
                    actions.push(Action::Unshun);
                }
                let text = "gives new connections again".to_owned();
                actions.push(Action::Event { severity: Severity::Info, kind: Kind::Shun, text });
                actions.push(Action::Replan);
            }
            None => {}
        }
    }

    fn shun_beyond_next_check(&self, now: Instant) -> Instant {
        now + self.settings.interval + self.settings.timeout + BEYOND
    }
}
