//! Is a server alive? One machine per server, fed by checks and by traffic.
//!
//! Start reading at [`ServerHealth`].

mod damping;
mod failure;
mod machine;
#[cfg(test)]
mod tests;
mod unread;

use std::time::{Duration, Instant};

use highgate_config::{AdminState, Check, Monitor};

pub use self::{failure::CheckFailure, machine::ServerHealth, unread::Unread};
use crate::{
    events::{Kind, Severity},
    server::{ServerState, TrafficFailure},
    topology::Observation,
};

/// What a server's machine is told.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A deadline came ([`ServerHealth::next_deadline`]).
    Tick,
    /// Something came from the server since the check began: an answer to one of its questions, or
    /// to a session. Told before the check's failure, if at all.
    Heard,
    /// The check that was asked for waits for its turn: its time has not begun.
    CheckWaits,
    /// It is its turn.
    CheckBegins,
    /// A check succeeded.
    CheckOk {
        /// How long it took.
        latency: Duration,
        /// What was read, where the topology asks for it.
        facts: Option<Box<Observation>>,
    },
    /// A check failed.
    CheckFailed {
        /// Why.
        kind: CheckFailure,
        /// The server's or the system's words.
        text: String,
    },
    /// A trial of a new connection has ended ([`Action::TryConnection`]).
    ConnectionTried {
        /// Whether it was had, and answered what checks ask.
        works: bool,
    },
    /// Traffic failed.
    TrafficFailed {
        /// How.
        kind: TrafficFailure,
    },
    /// A login or a first answer succeeded after failures (not every command needs to say so).
    TrafficOk,
    /// What the operator wants, overrides applied.
    Admin(AdminState),
    /// Other settings are in force.
    Settings(HealthSettings),
}

/// What the shell does for a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Start a check now, with this time-out; one that had no answer in time goes on instead.
    CheckNow {
        /// Time until it is to report.
        timeout: Duration,
        /// Whether a check that heard nothing is given up for a new connection.
        afresh: bool,
    },
    /// Try a new connection, beside the checks and whatever they keep: none was had in time lately.
    TryConnection,
    /// The server is up from now on.
    DeclareUp,
    /// The server is down from now on; its connections are of an old generation.
    DeclareDown {
        /// Why.
        reason: String,
    },
    /// Keep new work away until then.
    Shun {
        /// When it ends by itself.
        until: Instant,
    },
    /// No reason to shun any more.
    Unshun,
    /// Something that the plan or the topology looks at has changed: judge and plan again.
    Replan,
    /// Tell operators.
    Event {
        /// How much it matters.
        severity: Severity,
        /// What.
        kind: Kind,
        /// A sentence.
        text: String,
    },
}

/// Few, in the order in which they are to be done.
pub type Actions = Vec<Action>;

/// For how long at most the server that was declared down is passed over by who does not know the plan yet
/// that says so: workers hear of it by the new generation first.
const UNTIL_PLANNED: Duration = Duration::from_secs(1);

/// Carries out those actions that concern the server's shared state.
pub fn apply(actions: &[Action], state: &ServerState, now: Instant) {
    for action in actions {
        match action {
            Action::DeclareDown { .. } => {
                state.shun(now + UNTIL_PLANNED);
                state.next_generation();
            }
            Action::Shun { until } => state.shun(*until),
            Action::DeclareUp | Action::Unshun => state.unshun(),
            Action::CheckNow { .. }
            | Action::TryConnection
            | Action::Replan
            | Action::Event { .. } => {}
        }
    }
}

/// Settings that a machine runs under; a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HealthSettings {
    /// Time between two checks of a healthy server.
    pub interval: Duration,
    /// Time a check may take.
    pub timeout: Duration,
    /// Successes in a row after which a server is up.
    pub rise: u32,
    /// Failures in a row after which it is down.
    pub fall: u32,
    /// Whether there are checks; without them traffic alone decides.
    pub active: bool,
}

impl From<&Monitor> for HealthSettings {
    fn from(monitor: &Monitor) -> Self {
        Self {
            interval: monitor.interval,
            timeout: monitor.timeout,
            rise: monitor.rise.max(1),
            fall: monitor.fall.max(1),
            active: monitor.check != Check::Off,
        }
    }
}

/// What the machine concluded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// No check has spoken yet.
    Unknown,
    /// It serves.
    Up {
        /// Since when.
        since: Instant,
    },
    /// It answers, but was down too often lately.
    Held {
        /// When it is let in if it goes on answering.
        until: Instant,
    },
    /// It does not answer.
    Down {
        /// Since when.
        since: Instant,
    },
    /// Taken out by an operator; not checked.
    Maintenance,
}

impl Condition {
    /// Whether it answers (up or held).
    #[must_use]
    pub const fn is_alive(self) -> bool {
        matches!(self, Self::Up { .. } | Self::Held { .. })
    }
}
