//! Backends and their servers.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{Secret, ServerName};

use super::{Address, Tls};

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
