//! What the running process says of itself at one moment: rows of its tables as plain data.

use serde::Deserialize;

/// One look at the process.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sample {
    pub(crate) node: Node,
    pub(crate) servers: Vec<Server>,
    pub(crate) listeners: Vec<Listener>,
    pub(crate) sessions: Vec<Session>,
    /// The heaviest first, by all that they have taken.
    pub(crate) digests: Vec<Digest>,
    pub(crate) events: Vec<Event>,
    /// Sessions that there are, shown or not.
    pub(crate) all_sessions: u64,
}

/// The row of `node`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) pid: u64,
    pub(crate) uptime_seconds: u64,
    pub(crate) config_version: u64,
    pub(crate) clients: u64,
    pub(crate) max_clients: u64,
    pub(crate) draining: u64,
}

/// A row of `servers`.
#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct Server {
    pub(crate) backend: String,
    pub(crate) name: String,
    pub(crate) role: Option<String>,
    pub(crate) status: String,
    pub(crate) lag_ms: Option<f64>,
    pub(crate) opened: u64,
    pub(crate) leased: u64,
    pub(crate) queued: u64,
    pub(crate) commands: u64,
    pub(crate) connect_errors: u64,
    pub(crate) lost: u64,
    pub(crate) latency_us: Option<u64>,
    pub(crate) reason: Option<String>,
}

/// A row of `listeners`.
#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct Listener {
    pub(crate) name: String,
    pub(crate) mode: String,
    pub(crate) address: String,
    pub(crate) backend: String,
    pub(crate) clients: u64,
    pub(crate) accepted: u64,
    pub(crate) refused: u64,
    pub(crate) login_failures: u64,
}

/// A row of `sessions`.
#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct Session {
    pub(crate) id: u64,
    pub(crate) user: Option<String>,
    pub(crate) client: Option<String>,
    pub(crate) server: Option<String>,
    pub(crate) state: Option<String>,
    pub(crate) seconds: Option<f64>,
    pub(crate) commands: u64,
    pub(crate) pinned_by: Option<String>,
}

/// A row of `digests`.
#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct Digest {
    pub(crate) digest: String,
    pub(crate) digest_text: String,
    pub(crate) commands: u64,
    pub(crate) errors: u64,
    pub(crate) time_us: u64,
}

/// A row of `events`.
#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct Event {
    /// Milliseconds of Unix time.
    pub(crate) time: u64,
    pub(crate) severity: String,
    pub(crate) backend: Option<String>,
    pub(crate) server: Option<String>,
    pub(crate) text: String,
}

/// A table as REST answers it.
#[derive(Debug, Deserialize)]
struct Answer<T> {
    rows: Vec<T>,
    total: u64,
}

/// Sessions that are looked at: more fit no screen, and asking for all costs the process.
const SESSIONS: usize = 1000;
/// Forms of statements that are looked at.
const DIGESTS: usize = 200;
/// Events that are looked at.
const EVENTS: u32 = 30;

impl Sample {
    /// Whether no session was left out.
    pub(super) fn has_all_sessions(&self) -> bool {
        self.sessions.len() < SESSIONS
    }

    /// Whether no form of statements was left out.
    pub(super) fn has_all_digests(&self) -> bool {
        self.digests.len() < DIGESTS
    }

    /// Asks by `get`, which takes a path and gives JSON.
    ///
    /// # Errors
    /// As `get`, or what can't be read in an answer.
    pub(crate) fn take(get: impl Fn(&str) -> anyhow::Result<String>) -> anyhow::Result<Self> {
        fn rows<T: serde::de::DeserializeOwned>(
            get: &impl Fn(&str) -> anyhow::Result<String>,
            wanted: &str,
        ) -> anyhow::Result<(Vec<T>, u64)> {
            let text = get(&format!("/api/v1/tables/{wanted}"))?;
            let answer: Answer<T> = serde_json::from_str(&text)
                .map_err(|error| anyhow::anyhow!("{wanted}: {error}; is it another version?"))?;
            Ok((answer.rows, answer.total))
        }
        let (sessions, all_sessions) = rows(&get, &format!("sessions?limit={SESSIONS}"))?;
        Ok(Self {
            node: rows(&get, "node")?.0.into_iter().next().unwrap_or_default(),
            servers: rows(&get, "servers")?.0,
            listeners: rows(&get, "listeners")?.0,
            sessions,
            digests: rows(&get, &format!("digests?limit={DIGESTS}"))?.0,
            events: rows(&get, &format!("events?tail={EVENTS}"))?.0,
            all_sessions,
        })
    }
}
