//! Accounts of clients, and rules for what they ask.

use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::{BackendName, ListenerName, Secret, UserName};

/// A client account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// Stored passwords, any of which is accepted (rotation).
    pub passwords: Vec<Secret>,
    /// Account on the servers, where it differs.
    pub server_user: Option<String>,
    /// Its password on the servers, where it differs.
    pub server_password: Option<Secret>,
    /// Where its commands go unless a rule says otherwise.
    pub backend: Option<BackendName>,
    /// Schema when the login names none.
    pub default_schema: Option<String>,
    /// Upper bound of its client connections; 0 = none.
    pub max_connections: u32,
    /// Networks it may come from; empty = all.
    pub allow: Vec<IpNet>,
    /// Whether it may only log in over TLS.
    pub require_tls: bool,
    /// Whether LOAD DATA LOCAL is passed on.
    pub local_infile: bool,
    /// Whether it may log in.
    pub active: bool,
}

/// A query rule, with ProxySQL's column names and `backend` as destination.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct Rule {
    /// Whether it is evaluated.
    pub active: bool,
    /// Matches this account only.
    pub username: Option<UserName>,
    /// Matches this schema only.
    pub schemaname: Option<String>,
    /// Evaluated while the flag has this value.
    pub flag_in: u32,
    /// Matches clients of this network only.
    pub client_addr: Option<IpNet>,
    /// Matches this listener only.
    pub listener: Option<ListenerName>,
    /// Matches this digest only.
    pub digest: Option<u64>,
    /// Regular expression over the digest text.
    pub match_digest: Option<String>,
    /// Regular expression over the text.
    pub match_pattern: Option<String>,
    /// Turns `match_digest`/`match_pattern` around.
    pub negate_match_pattern: bool,
    /// Whether matching distinguishes case.
    pub case_sensitive: bool,
    /// Flag set by a match.
    pub flag_out: Option<u32>,
    /// Replacement of what `match_pattern` matched.
    pub replace_pattern: Option<String>,
    /// Where matching commands go.
    pub backend: Option<BackendName>,
    /// Which role of it takes them; `None` = as classified.
    pub role: Option<RuleRole>,
    /// Time a matching command may take.
    pub timeout: Option<Duration>,
    /// Answers with this error.
    pub error_msg: Option<String>,
    /// Answers with OK and this text.
    pub ok_msg: Option<String>,
    /// Whether the connection may be shared afterwards.
    pub multiplex: Option<bool>,
    /// Ends the evaluation.
    pub apply: bool,
    /// The operator's words.
    pub comment: String,
}

/// Role asked for by a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum RuleRole {
    /// Any server.
    Any,
    /// The primary.
    Primary,
    /// A replica.
    Replica,
}
