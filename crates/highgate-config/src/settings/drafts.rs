//! Drafts: what a table of a file describes where it is more than one thing of the desired state.

use crate::{Address, Admin, Backend, Listener, Monitor, Node, Secret, Server, Tls, TlsMode, User};

/// A listener as a file describes it: its policy, which nodes share, and this node's addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerDraft {
    /// The policy.
    pub listener: Listener,
    /// The addresses on this node.
    pub binds: Vec<Address>,
}

/// Each setting as it is when left out; `backend` is empty.
impl Default for Listener {
    fn default() -> Self {
        super::LISTENER.defaults().listener
    }
}

/// Each setting as it is when left out; without servers.
impl Default for Backend {
    fn default() -> Self {
        super::BACKEND.defaults()
    }
}

/// Each setting as it is when left out.
impl Default for Monitor {
    fn default() -> Self {
        super::BACKEND.defaults().monitor
    }
}

/// Each setting as it is when left out; the address is `unix:/`, which nothing listens on.
impl Default for Server {
    fn default() -> Self {
        super::SERVER.defaults()
    }
}

/// Each setting as it is when left out; without passwords.
impl Default for User {
    fn default() -> Self {
        super::USER.defaults()
    }
}

/// Each setting as it is when left out; without binds.
impl Default for Node {
    fn default() -> Self {
        super::NODE.defaults()
    }
}

/// Each setting as it is when left out; without accounts.
impl Default for Admin {
    fn default() -> Self {
        super::NODE.defaults().admin
    }
}

/// No TLS.
impl Default for Tls {
    fn default() -> Self {
        Self { mode: TlsMode::Disabled, cert: None, key: None, ca: None }
    }
}

/// The only secret of a list, or an empty one.
pub(super) fn only(secrets: Vec<Secret>) -> Secret {
    secrets.into_iter().next().unwrap_or_else(|| Secret::new(""))
}
