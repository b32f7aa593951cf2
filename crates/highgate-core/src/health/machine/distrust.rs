//! Servers that check out well and still harm clients: they ask for files, or garble answers. Checks can't
//! tell them from others, so they are held for a time, and as any that is held they serve where no other can.

use std::time::{Duration, Instant};

use super::ServerHealth;
use crate::{
    events::{Kind, Severity},
    health::{Action, Actions, Condition},
    server::TrafficFailure,
};

/// How long a server that asked for a file is kept out; anew with each time that it asks.
const FILE_DEMAND: Duration = Duration::from_secs(60);

/// Until when, and why, a server is held whatever checks say.
#[derive(Debug, Clone, Copy)]
pub(super) struct Distrust {
    /// What it did; a demand for a file outweighs garbage.
    because: TrafficFailure,
    pub(super) until: Instant,
}

impl Distrust {
    pub(super) const fn why(self) -> &'static str {
        match self.because {
            TrafficFailure::Garbage => {
                "answers, but its answers broke the protocol too often lately"
            }
            _ => "answers, but asked a client for a file that no statement named",
        }
    }
}

impl ServerHealth {
    /// It may be meant: once is enough.
    pub(super) fn file_demanded(&mut self, now: Instant, actions: &mut Actions) {
        self.distrust(TrafficFailure::FileDemand, FILE_DEMAND, now, actions);
    }

    /// An answer broke the protocol. One or two may be bad connections, which are closed; more of them
    /// within a minute or so are the server's, or of what lies before it.
    pub(super) fn garbled(&mut self, now: Instant, actions: &mut Actions) {
        if !self.condition.is_alive() {
            return;
        }
        self.garbage.count(now);
        let pause = self.garbage.hold(now);
        if !pause.is_zero() {
            self.distrust(TrafficFailure::Garbage, pause, now, actions);
        }
    }

    /// Holds it for so long at least. It is told, and planned anew, once for each reason.
    fn distrust(
        &mut self,
        because: TrafficFailure,
        pause: Duration,
        now: Instant,
        actions: &mut Actions,
    ) {
        let held_until = match self.condition {
            Condition::Up { .. } => now,
            Condition::Held { until } => until,
            Condition::Unknown | Condition::Down { .. } | Condition::Maintenance => return,
        };
        let until = held_until.max(now + pause);
        self.condition = Condition::Held { until };
        self.due = Some(self.due.map_or(until, |due| due.min(until)));
        let before = self.distrusted.map(|before| before.because);
        let outweighed = before == Some(TrafficFailure::FileDemand);
        let because = if outweighed { TrafficFailure::FileDemand } else { because };
        self.distrusted = Some(Distrust { because, until });
        if before == Some(because) {
            return;
        }
        let (what, advice) = match because {
            TrafficFailure::Garbage => {
                ("its answers break the protocol", "look at it, and at what lies on the way to it")
            }
            _ => ("it asked for a file that no statement named", "find out who answers there"),
        };
        let seconds = (until - now).as_secs();
        let text = format!("{what}: kept out for {seconds} s unless no other can serve; {advice}");
        actions.push(Action::Event { severity: Severity::Error, kind: Kind::Held, text });
        actions.push(Action::Replan);
    }
}
