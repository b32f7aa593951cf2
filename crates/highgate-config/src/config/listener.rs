//! Listeners, with the TLS settings that others share.

use std::{path::PathBuf, time::Duration};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::BackendName;

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
