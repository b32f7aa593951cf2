//! What traffic adds to the checks, or says alone where there are none.

use std::time::{Duration, Instant};

use super::{LEAST_GAP, ServerHealth};
use crate::{
    events::{Kind, Severity},
    health::{Action, Actions, Condition},
    server::TrafficFailure,
};

/// Traffic and a check agree if no more than this lies between them.
const AGREEMENT: Duration = Duration::from_secs(2);
/// How long one refused connection keeps traffic away unless a check speaks first.
const SHUN: Duration = Duration::from_secs(1);
/// Without checks, failures that lie no further apart are failures in a row: nobody tells of what went
/// well in between, and two connections that were lost on different days prove nothing.
const PASSIVE_ROW: Duration = Duration::from_secs(10);
/// Pause before traffic may try a server that has no checks, after its first fall.
const PASSIVE_PAUSE: Duration = Duration::from_secs(1);

impl ServerHealth {
    pub(super) fn agreeing(&self, now: Instant) -> Option<TrafficFailure> {
        let (at, kind) = self.traffic?;
        (now.saturating_duration_since(at) <= AGREEMENT).then_some(kind)
    }

    pub(super) fn traffic_failed(
        &mut self,
        kind: TrafficFailure,
        now: Instant,
        actions: &mut Actions,
    ) {
        match kind {
            TrafficFailure::FileDemand => return self.file_demanded(now, actions),
            TrafficFailure::Garbage => {
                self.garbled(now, actions);
                if !self.settings.active {
                    return;
                }
            }
            _ => {}
        }
        // One that is held may serve, for want of others.
        let matters = match self.condition {
            Condition::Up { .. } => true,
            Condition::Held { .. } => self.settings.active,
            Condition::Unknown | Condition::Down { .. } | Condition::Maintenance => false,
        };
        if !matters {
            return;
        }
        if kind == TrafficFailure::Hearsay {
            // Anybody who may send statements can say so, as often as he likes.
            if self.settings.active {
                self.check_soon(now);
            }
            return;
        }
        if kind.is_about_writes() {
            self.refused(kind, now, actions);
            return;
        }
        let before = self.traffic.map(|(at, _)| at);
        // The hardest recent proof is kept: a time-out does not weaken a refusal.
        if kind.is_hard() || !self.agreeing(now).is_some_and(TrafficFailure::is_hard) {
            self.traffic = Some((now, kind));
        }
        if !self.settings.active {
            if before.is_some_and(|at| now.saturating_duration_since(at) > PASSIVE_ROW) {
                self.failures = 0;
            }
            self.passive_failure(kind, now, actions);
            return;
        }
        if kind.gives_no_connection() {
            self.not_connected(now, actions);
        }
        if kind.is_about_connecting() && !std::mem::replace(&mut self.shunned, true) {
            actions.push(Action::Shun { until: now + SHUN });
            let text =
                format!("{kind}: no new work for {} s or until a check succeeds", SHUN.as_secs());
            actions.push(Action::Event { severity: Severity::Warning, kind: Kind::Shun, text });
        }
        self.check_soon(now);
    }

    fn check_soon(&mut self, now: Instant) {
        if self.in_flight.is_some() {
            self.recheck = true;
        } else {
            let earliest = self.started.map_or(now, |at| (at + LEAST_GAP).max(now));
            self.due = Some(self.due.map_or(earliest, |due| due.min(earliest)));
        }
    }

    /// Its own word is as good as what a check would read: no new work of that kind from now on.
    fn refused(&mut self, kind: TrafficFailure, now: Instant, actions: &mut Actions) {
        if !self.settings.active || self.facts.is_none() {
            return;
        }
        self.said = Some(kind);
        if self.hold_to_word() {
            let text = format!("{kind}: held to that until a check sees otherwise");
            actions.push(Action::Event { severity: Severity::Info, kind: Kind::Role, text });
            actions.push(Action::Replan);
        }
        self.check_soon(now);
    }

    /// Writes what it said into what was read from it; true if that is news.
    pub(super) fn hold_to_word(&mut self) -> bool {
        let (Some(said), Some(facts)) = (self.said, self.facts.as_deref_mut()) else {
            return false;
        };
        match said {
            TrafficFailure::ReadOnly => !std::mem::replace(&mut facts.read_only, true),
            TrafficFailure::NotReady => (facts.galera.as_mut())
                .is_some_and(|wsrep| std::mem::replace(&mut wsrep.ready, false)),
            _ => false,
        }
    }

    pub(super) fn passive_failure(
        &mut self,
        kind: TrafficFailure,
        now: Instant,
        actions: &mut Actions,
    ) {
        self.failures = self.failures.saturating_add(1);
        if self.failures >= self.settings.fall {
            let reason = format!("traffic failed {} times: {kind}", self.failures);
            self.declare_down(reason, now, actions);
            self.due = Some(now + self.damping.hold(now).max(PASSIVE_PAUSE));
        }
    }
}
