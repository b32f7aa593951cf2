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

impl Severity {
    /// Every severity, the least first.
    pub const ALL: &[Self] = &[Self::Info, Self::Warning, Self::Error];

    /// What an operator reads in the manual.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Info => "the expected course of things.",
            Self::Warning => "somebody should look, if not at once.",
            Self::Error => "clients are or were affected: look now.",
        }
    }
}

macro_rules! kinds {
    ($($(#[$doc:meta])+ $kind:ident = $text:literal, $meaning:literal;)+) => {
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

            /// What an operator reads in the manual: what it means, and what to do.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$kind => $meaning),+ }
            }
        }
    };
}

kinds! {
    /// A command was sent again.
    Retry = "retry",
        "A command did not run, and was sent again elsewhere or on a new connection. The client \
         notices nothing.";
    /// Traffic stays away from a server for a moment.
    Shun = "shun",
        "Sessions failed on a server, so it gets no new work for a moment, until a check has \
         spoken, or, where it gives no new connections, until one is had. If it comes often, \
         look at that server and at the network to it.";
    /// A server is alive but can't be read by the monitor, or can be again.
    Monitor = "monitor",
        "A server answers, but the monitor can't log in or read it; or it can again. The text \
         says what to repair: mostly an account, a grant or a connection limit.";
    /// A server was declared up.
    ServerUp = "server_up",
        "A server's checks succeed again.";
    /// A server was declared down.
    ServerDown = "server_down",
        "A server's checks fail, and it gets nothing. The text says how they failed. It comes back \
         by itself.";
    /// A server's answer broke the protocol.
    Garbled = "garbled",
        "A server's answer broke the protocol, and the session that asked ended. If it comes again, \
         look at that server, and at what lies between here and there.";
    /// A server answers but is kept out: it flaps, or harms clients.
    Held = "held",
        "A server answers again, but is kept out: it was down too often lately, or harms clients (the text \
         says how). It serves only if no other can. Find out why it falls, or who has changed it.";
    /// Another server takes writes.
    Failover = "failover",
        "Another server takes the writes, since the old primary died. Nothing is to be done at \
         once. Before the old one comes back, make it read-only and let it replicate from the \
         new one; else it is quarantined.";
    /// The old primary stepped back before another took over.
    Switchover = "switchover",
        "Another server takes the writes, and the old primary is alive: a planned change.";
    /// There is no server for writes.
    NoPrimary = "no_primary",
        "Writes wait up to `failover_wait` and then fail, or are refused at once; the text says \
         why. No server is writable: promote one (`SET GLOBAL read_only=0`). Several are: make \
         all but the right one read-only. The primary of record is gone for good, and the only \
         writable server was not seen as its replica, or was writable beside it and may lack what it \
         wrote: `highgate ctl forget-primary BACKEND`. A monitor's account is refused: repair it.";
    /// Two servers are writable.
    SplitBrain = "split_brain",
        "Several servers are writable at once. Writes stay with the primary of record, which \
         the text names, and others that do not replicate from it are quarantined; without a record writes are refused. \
         Decide which one is right. Look on the others for writes that only they have (somebody \
         may have written there directly). Then set `read_only=1` on them and let them \
         replicate from the primary.";
    /// A server may not serve although it answers.
    Quarantine = "quarantine",
        "A server answers, but its data may differ, so it gets nothing: see the status \
         `quarantined` above.";
    /// A server's role or fitness changed.
    Role = "role",
        "A server has become primary, replica, or unfit for its work (`broken`: see that status \
         above), or is fit again. The text says why.";
    /// A replica is too far behind, or has caught up.
    Lag = "lag",
        "A replica is further behind than `max_lag` allows and gets no reads, or has caught up; or a \
         read went to the primary because its replica did not have the session's last write yet.";
    /// A command or a client was refused.
    Refusal = "refusal",
        "A command or a client got an error from Highgate, with the reason. Events that say the \
         same are one row with their number.";
    /// The outcome of a command is unknown.
    OutcomeUnknown = "outcome_unknown",
        "A server was lost while a write ran there: it may have been done, or not. The client \
         was told so. Look on the present primary whether the rows are there before the write \
         is sent again; Highgate never sends it twice.";
    /// The desired state changed.
    Config = "config",
        "The configuration changed, or a change was refused; also: who the primaries are could \
         not be stored. With an error, nothing was changed: the text says why.";
    /// An operator's mark on a server.
    Override = "override",
        "An operator drained a server or a vip, put a server in maintenance, gave it another \
         weight, or took that back; or such a mark could not be stored.";
    /// A session was killed.
    Kill = "kill",
        "An operator, or a session of the same account, ended a session or its statement; or a statement \
         could not be ended where it runs: the text says why, and `KILL` on that server ends it.";
    /// A session ended otherwise than by its client.
    SessionEnd = "session_end",
        "A session ended, and not since its client closed it: a time-out, a kill, a drain, a failure. \
         The text names the setting or who did it. Events that say the same are one row with their \
         number; table `listeners` counts them all.";
    /// A login failed.
    Login = "login",
        "Logins fail, at a listener or at a port for operators, or the accounts of a cluster \
         can't be read. Many from one address may be somebody who guesses.";
    /// A limit was reached.
    Limit = "limit",
        "A limit was reached, or is near: connections, memory, descriptors, a certificate's \
         end, room for the log. The text names the setting.";
    /// This node starts, drains or stops.
    Lifecycle = "lifecycle",
        "This process starts, hands over, drains or stops.";
    /// An address that moves between nodes, and who else speaks for it.
    Vip = "vip",
        "An address came to this node or left it, something that it needs is missing, or a peer \
         was refused. `highgate ctl vip` shows the present state.";
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
