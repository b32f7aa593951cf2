//! Places in the desired state, to say where something is wrong or in conflict.

use std::fmt;

use crate::{
    BackendName, ListenerName, NodeName, ProcessName, ScriptName, ServerName, UserName,
    VipGroupName, VipName,
};

/// One thing of the desired state.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// An admin account of a node.
    AdminUser(NodeName, UserName),
    /// A backend.
    Backend(BackendName),
    /// A listener.
    Listener(ListenerName),
    /// A node's own part.
    Node(NodeName),
    /// A watched process of a node.
    Process(NodeName, ProcessName),
    /// A rule.
    Rule(u32),
    /// A script of a node.
    Script(NodeName, ScriptName),
    /// A server of a backend.
    Server(BackendName, ServerName),
    /// A user.
    User(UserName),
    /// A vip of a node.
    Vip(NodeName, VipName),
    /// A group of vips of a node.
    VipGroup(NodeName, VipGroupName),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AdminUser(node, user) => write!(f, "admin user {user} of node {node}"),
            Self::Backend(name) => write!(f, "backend {name}"),
            Self::Listener(name) => write!(f, "listener {name}"),
            Self::Node(name) => write!(f, "node {name}"),
            Self::Process(_, name) => write!(f, "process {name}"),
            Self::Rule(id) => write!(f, "rule {id}"),
            Self::Script(_, name) => write!(f, "script {name}"),
            Self::Server(backend, name) => write!(f, "server {backend}/{name}"),
            Self::User(name) => write!(f, "user {name}"),
            Self::Vip(_, name) => write!(f, "vip {name}"),
            Self::VipGroup(_, name) => write!(f, "group of vips {name}"),
        }
    }
}
