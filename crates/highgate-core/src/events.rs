//! What operators are told: each retry, shun, failover, refusal and change, with its reason.

mod alike;
mod limit;

use std::{collections::VecDeque, fmt};

use highgate_config::{BackendName, ServerName};

pub use self::limit::EventLimit;

/// How much an event matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Expected course of things.
    Info,
    /// Somebody should look some day.
    Warning,
    /// Clients are or were affected.
    Error,
}

macro_rules! kinds {
    ($($(#[$doc:meta])+ $kind:ident = $text:literal),+ $(,)?) => {
        /// What happened.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Kind { $($(#[$doc])+ $kind),+ }

        impl Kind {
            /// Every kind.
            pub const ALL: &[Self] = &[$(Self::$kind),+];

            /// Its name in tables and logs.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$kind => $text),+ }
            }
        }
    };
}

kinds! {
    /// A command was sent again.
    Retry = "retry",
    /// Traffic stays away from a server for a moment.
    Shun = "shun",
    /// A server is alive but can't be read by the monitor, or can be again.
    Monitor = "monitor",
    /// A server was declared up.
    ServerUp = "server_up",
    /// A server was declared down.
    ServerDown = "server_down",
    /// A server's answer broke the protocol.
    Garbled = "garbled",
    /// A server answers but is kept out: it flaps, or harms clients.
    Held = "held",
    /// Another server takes writes.
    Failover = "failover",
    /// The old primary stepped back before another took over.
    Switchover = "switchover",
    /// There is no server for writes.
    NoPrimary = "no_primary",
    /// Two servers are writable.
    SplitBrain = "split_brain",
    /// A server may not serve although it answers.
    Quarantine = "quarantine",
    /// A server's role or fitness changed.
    Role = "role",
    /// A replica is too far behind, or has caught up.
    Lag = "lag",
    /// A command or a client was refused.
    Refusal = "refusal",
    /// The outcome of a command is unknown.
    OutcomeUnknown = "outcome_unknown",
    /// The desired state changed.
    Config = "config",
    /// An operator's mark on a server.
    Override = "override",
    /// A session was killed.
    Kill = "kill",
    /// A login failed.
    Login = "login",
    /// A limit was reached.
    Limit = "limit",
    /// This node starts, drains or stops.
    Lifecycle = "lifecycle",
    /// An address that moves between nodes, and who else speaks for it.
    Vip = "vip",
    /// A bug was survived.
    Bug = "bug",
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
        })
    }
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// When, in milliseconds of Unix time; 0 until the edge stamps it.
    pub at_ms: u64,
    /// How much it matters.
    pub severity: Severity,
    /// What.
    pub kind: Kind,
    /// The backend concerned.
    pub backend: Option<BackendName>,
    /// The server concerned.
    pub server: Option<ServerName>,
    /// The session concerned.
    pub session: Option<u32>,
    /// A sentence for operators.
    pub text: String,
}

impl Event {
    /// An event that concerns nobody yet and has no time yet.
    #[must_use]
    pub fn new(severity: Severity, kind: Kind, text: impl Into<String>) -> Self {
        Self {
            at_ms: 0,
            severity,
            kind,
            backend: None,
            server: None,
            session: None,
            text: one_line(text.into()),
        }
    }

    /// Names the backend concerned.
    #[must_use]
    pub fn backend(mut self, name: &BackendName) -> Self {
        self.backend = Some(name.clone());
        self
    }

    /// Names the server concerned.
    #[must_use]
    pub fn server(mut self, name: &ServerName) -> Self {
        self.server = Some(name.clone());
        self
    }

    /// Names the session concerned.
    #[must_use]
    pub const fn session(mut self, id: u32) -> Self {
        self.session = Some(id);
        self
    }

    /// Stamps it.
    #[must_use]
    pub const fn at(mut self, unix_ms: u64) -> Self {
        self.at_ms = unix_ms;
        self
    }
}

/// The latest events, bounded; the oldest go first.
#[derive(Debug)]
pub struct EventRing {
    events: VecDeque<Event>,
    capacity: usize,
    total: u64,
}

impl EventRing {
    /// A ring that keeps that many.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self { events: VecDeque::with_capacity(capacity.min(1024)), capacity, total: 0 }
    }

    /// Takes one in; the oldest goes if it is full.
    pub fn push(&mut self, event: Event) {
        self.total += 1;
        if self.capacity == 0 {
            return;
        }
        if self.events.len() == self.capacity {
            self.events.pop_front();
        }
        self.events.push_back(event);
    }

    /// Oldest first, each with its number (1 = first of the process).
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (u64, &Event)> {
        let first = self.total - self.events.len() as u64 + 1;
        self.events.iter().enumerate().map(move |(nth, event)| (first + nth as u64, event))
    }

    /// How many there ever were.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.total
    }
}
/// Characters of an event's text that are kept.
const LONGEST: usize = 4000;

/// Parts of texts come from clients and servers: none begins a line of its own, or fills the memory.
fn one_line(text: String) -> String {
    if text.len() <= LONGEST && !text.contains(char::is_control) {
        return text;
    }
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    let mut line: String = text.chars().take(LONGEST).map(plain).collect();
    if text.chars().nth(LONGEST).is_some() {
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_begins_a_line_of_its_own_or_fills_the_memory() {
        let event = |text: &str| Event::new(Severity::Info, Kind::Login, text).text;
        assert_eq!(event("denied to 'app'"), "denied to 'app'");
        assert_eq!(event("denied to 'x\n2026 ERROR y\u{1b}[2J'"), "denied to 'x 2026 ERROR y [2J'");
        assert_eq!(event(&"ä".repeat(100_000)).chars().count(), LONGEST + 1);
    }
}
