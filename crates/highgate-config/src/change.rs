//! The only verb: one atomic edit of the desired state.

use serde::{Deserialize, Serialize};

use crate::{
    Backend, BackendName, Listener, ListenerName, Node, NodeName, Rule, Server, ServerName, User,
    UserName,
};

/// One atomic edit of `Config`. `None` removes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// Sets a backend's own fields; its servers are edited by `Server`.
    Backend(BackendName, Option<Backend>),
    /// Sets a listener.
    Listener(ListenerName, Option<Listener>),
    /// Sets a node's part.
    Node(NodeName, Option<Node>),
    /// Sets a rule.
    Rule(u32, Option<Rule>),
    /// Sets a server of a backend.
    Server(BackendName, ServerName, Option<Server>),
    /// Sets a user.
    User(UserName, Option<User>),
}
