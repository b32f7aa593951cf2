//! The desired state: what the operator asked for, valid by construction.
//!
//! Plain data without behaviour. It is built from drafts (see `settings`), compared by `diff` and
//! turned into a snapshot by the planner in `highgate-core`. References to backends may dangle:
//! a command routed there is refused with a clear error.

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, time::Duration};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::{
    BackendName, ListenerName, NodeName, Process, ProcessName, Script, ScriptName, Secret,
    ServerName, UserName, Vip, VipGroup, VipGroupName, VipName,
};

/// All that the operator asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Config {
    /// What all nodes have in common.
    pub shared: Shared,
    /// What belongs to one node: binds, vips, paths, worker counts.
    pub node: BTreeMap<NodeName, Node>,
}

/// The part of the desired state that all nodes share.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Shared {
    /// Groups of servers.
    pub backends: BTreeMap<BackendName, Backend>,
    /// What clients may connect to.
    pub listeners: BTreeMap<ListenerName, Listener>,
    /// Accounts.
    pub users: BTreeMap<UserName, User>,
    /// Query rules by `rule_id`, evaluated in this order.
    pub rules: BTreeMap<u32, Rule>,
}

/// What belongs to one node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Data workers; 0 = one per core.
    pub workers: u32,
    /// Addresses of each listener on this node.
    pub binds: BTreeMap<ListenerName, Vec<Address>>,
    /// Admin endpoints.
    pub admin: Admin,
    /// Upper bound of memory for buffers and queued work, in bytes; 0 = no bound.
    pub memory_limit: u64,
    /// Upper bound of client connections of the process; 0 = what the descriptor limit allows.
    pub max_connections: u32,
    /// How long a stop or a hand-over may take.
    pub drain_timeout: Duration,
    /// Whether what would run as root is refused where others may write it.
    #[serde(default)]
    pub script_security: bool,
    /// Named pipes that tell of vips.
    #[serde(default)]
    pub vip_fifos: Vec<crate::VipFifo>,
    /// Addresses that move between nodes.
    #[serde(default)]
    pub vips: BTreeMap<VipName, Vip>,
    /// Vips that go together.
    #[serde(default)]
    pub vip_groups: BTreeMap<VipGroupName, VipGroup>,
    /// Commands whose outcome is tracked.
    #[serde(default)]
    pub scripts: BTreeMap<ScriptName, Script>,
    /// Processes that are tracked.
    #[serde(default)]
    pub processes: BTreeMap<ProcessName, Process>,
}

/// Admin endpoints of one node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Admin {
    /// Where the SQL port listens.
    pub sql: Option<Address>,
    /// Where the web pages, REST and metrics are served.
    pub web: Option<Address>,
    /// TLS towards operators, on both ports.
    #[serde(default)]
    pub tls: Tls,
    /// Admin accounts with their stored passwords.
    pub users: BTreeMap<UserName, Secret>,
}

/// An address to bind or to connect to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Address {
    /// A host name to be resolved, with its port.
    Host(String, u16),
    /// A numeric address.
    Ip(SocketAddr),
    /// A Unix socket's path.
    Unix(PathBuf),
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Host(host, port) => write!(f, "{host}:{port}"),
            Self::Ip(address) => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// What a listener speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Mode {
    /// HTTP/1 requests (a later issue; refused by `check` until then).
    Http,
    /// The MySQL protocol.
    Mysql,
    /// Bytes.
    Tcp,
}

/// An address that clients connect to, with its policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listener {
    /// What it speaks.
    pub mode: Mode,
    /// Where its clients go unless a user or rule says otherwise.
    pub backend: BackendName,
    /// Who verifies logins.
    pub auth: AuthSource,
    /// Whether reads may go to replicas.
    pub read_write_split: bool,
    /// Reads see this session's own writes.
    pub causal_reads: bool,
    /// How long a causal read waits on a replica before it goes to the primary.
    pub causal_reads_timeout: Duration,
    /// TLS towards clients.
    pub tls: Tls,
    /// Client networks that may connect; empty = all.
    pub allow: Vec<IpNet>,
    /// Networks whose connections begin with a PROXY protocol header.
    pub proxy_protocol_from: Vec<IpNet>,
    /// Upper bound of client connections; 0 = the process's.
    pub max_connections: u32,
    /// Upper bound of client connections from one address; 0 = none.
    pub max_connections_per_address: u32,
    /// Time for TLS and login.
    pub handshake_timeout: Duration,
    /// Time after which a client is closed whose machine or network answers nothing.
    pub keepalive_timeout: Duration,
    /// Idle time after which a client outside a transaction is closed; zero = never.
    pub client_timeout: Duration,
    /// Idle time inside a transaction after which it is rolled back and the client closed; zero = never.
    pub idle_in_transaction_timeout: Duration,
    /// Time a command may take; zero = no bound.
    pub query_timeout: Duration,
    /// Version to greet with; empty = the primary's own.
    pub server_version: String,
    /// Largest command accepted, in bytes.
    pub max_allowed_packet: u64,
}

/// Who verifies a login.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum AuthSource {
    /// Accounts are read from the backend's own grant tables.
    Cluster,
    /// Accounts are those of the configuration.
    Local,
    /// The server verifies; such sessions can't share or move.
    Passthrough,
}

/// How much TLS is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum TlsMode {
    /// Never.
    Disabled,
    /// Where the other side offers it.
    Preferred,
    /// Always, without looking at the certificate.
    Required,
    /// Always, with a certificate of a trusted authority.
    VerifyCa,
    /// Always, and the certificate names the peer.
    VerifyIdentity,
}

/// TLS towards one side.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tls {
    /// How much of it.
    pub mode: TlsMode,
    /// Own certificate chain (PEM).
    pub cert: Option<PathBuf>,
    /// Its key (PEM).
    pub key: Option<PathBuf>,
    /// Authorities trusted for the peer's certificate (PEM).
    pub ca: Option<PathBuf>,
}

/// A named group of servers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backend {
    /// Who decides the roles.
    pub topology: Topology,
    /// Its servers.
    pub servers: BTreeMap<ServerName, Server>,
    /// How a server is chosen.
    pub balance: Balance,
    /// How servers are checked.
    pub monitor: Monitor,
    /// How its grant tables are read, where a listener takes its accounts from there.
    #[serde(default)]
    pub accounts: Accounts,
    /// Whether reads may use the primary.
    pub reads_on_primary: ReadsOnPrimary,
    /// How long a write waits for a primary.
    pub failover_wait: Duration,
    /// Time to open and log in a server connection.
    pub connect_timeout: Duration,
    /// Time a command may wait for a connection.
    pub queue_timeout: Duration,
    /// Commands that may wait; beyond it they are refused at once.
    pub max_queue: u32,
    /// Idle connections kept per worker and pool key.
    pub max_idle: u32,
    /// Idle time after which a pooled connection is closed.
    pub idle_timeout: Duration,
    /// Age after which a connection is closed when it is free; zero = never.
    pub max_age: Duration,
    /// New connections per second to one server; 0 = no bound.
    pub connect_rate: u32,
    /// Time over which a server that came back reaches its full share.
    pub slow_start: Duration,
    /// Default lag cap of a replica; zero = none.
    pub max_lag: Duration,
    /// Write sets waiting to be applied beyond which a Galera member takes nothing; 0 = no bound.
    #[serde(default)]
    pub max_recv_queue: u32,
    /// Whether a Galera donor that does not reject queries takes reads.
    #[serde(default)]
    pub donor_reads: bool,
    /// TLS towards the servers.
    pub tls: Tls,
    /// PROXY protocol header sent to the servers.
    pub send_proxy: SendProxy,
    /// Sharing of server connections between clients.
    pub multiplex: bool,
}

/// Who decides the roles of a backend's servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Topology {
    /// wsrep status; one writer.
    Galera,
    /// read_only and GTID replication, as MariaDB and MySQL report them.
    MariadbReplication,
    /// No roles: every server takes everything.
    Static,
}

/// How a server is chosen among those that may serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Balance {
    /// Lowest recent latency.
    Fastest,
    /// The first by name that may serve.
    First,
    /// Fewest commands in flight, by weight.
    LeastConnections,
    /// Two at random, the less loaded of them.
    RandomTwo,
    /// In turn, by weight.
    RoundRobin,
    /// By a consistent hash of the client's address.
    Source,
}

/// Whether reads may use the primary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ReadsOnPrimary {
    /// As any other server.
    Always,
    /// Only while no replica can serve.
    Fallback,
    /// Never.
    Never,
}

/// PROXY protocol header sent to servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum SendProxy {
    /// None.
    Off,
    /// The text form.
    V1,
    /// The binary form.
    V2,
}

/// How accounts are read from the servers' grant tables.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accounts {
    /// Account that may read them; empty = the monitor's.
    pub user: String,
    /// Its password.
    pub password: Secret,
    /// Time between two readings.
    pub interval: Duration,
}

impl Default for Accounts {
    fn default() -> Self {
        Self { user: String::new(), password: Secret::new(""), interval: Duration::from_secs(10) }
    }
}

/// How the servers of a backend are checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Monitor {
    /// Account for checks.
    pub user: String,
    /// Its password.
    pub password: Secret,
    /// What a check does.
    pub check: Check,
    /// Time between two checks of a server.
    pub interval: Duration,
    /// Time a check may take.
    pub timeout: Duration,
    /// Successes in a row after which a server is up.
    pub rise: u32,
    /// Failures in a row after which a server is down.
    pub fall: u32,
}

/// What a check does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Check {
    /// Opens a connection.
    Connect,
    /// Reads the server's greeting.
    Handshake,
    /// Nothing; servers are judged by traffic alone.
    Off,
    /// Logs in and pings.
    Ping,
    /// Logs in and runs this statement, which must not fail.
    Sql(String),
}

/// A server's membership in a backend.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Server {
    /// Where it is.
    pub address: Address,
    /// Its share; 0 = only sessions that are there already.
    pub weight: u32,
    /// Serves only while no other can.
    pub backup: bool,
    /// Upper bound of connections opened to it by this node.
    pub max_connections: u32,
    /// Lag cap; `None` = the backend's.
    pub max_lag: Option<Duration>,
    /// What the operator wants of it.
    pub state: AdminState,
}

/// What the operator wants of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum AdminState {
    /// Takes no new work, finishes what runs.
    Drain,
    /// Serves.
    Enabled,
    /// Takes nothing, is not checked.
    Maintenance,
}

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
