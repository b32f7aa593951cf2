//! The desired state: what the operator asked for, valid by construction.
//!
//! Plain data without behaviour. It is built from drafts (see `settings`), compared by `diff` and
//! turned into a snapshot by the planner in `highgate-core`. References to backends may dangle:
//! a command routed there is refused with a clear error.

mod backend;
mod listener;
mod user;

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    BackendName, ListenerName, NodeName, Process, ProcessName, Script, ScriptName, Secret,
    UserName, Vip, VipGroup, VipGroupName, VipName,
};

pub use self::{
    backend::{
        Accounts, AdminState, Backend, Balance, Check, Monitor, ReadsOnPrimary, SendProxy, Server,
        Topology,
    },
    listener::{AuthSource, Listener, Mode, Tls, TlsMode},
    user::{Rule, RuleRole, User},
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

impl Address {
    /// Whether it stands for any port that is free: two of them are two addresses.
    #[must_use]
    pub fn is_any_port(&self) -> bool {
        self.port() == Some(0)
    }

    /// The port; a Unix socket has none.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        match self {
            Self::Host(_, port) => Some(*port),
            Self::Ip(address) => Some(address.port()),
            Self::Unix(_) => None,
        }
    }
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
