//! What the operator asks for: the desired state, its settings, its text forms and its edits.
//!
//! Refuses to know sockets, files and clocks. Start reading at [`Config`].

mod change;
mod config;
mod control;
mod names;
mod nearest;
mod overrides;
mod secret;
pub mod settings;
pub mod table;
pub mod units;
mod words;

pub use change::Change;
pub use config::{
    Address, Admin, AdminState, AuthSource, Backend, Balance, Check, Config, Listener, Mode,
    Monitor, Node, ReadsOnPrimary, Rule, RuleRole, SendProxy, Server, Shared, Tls, TlsMode,
    Topology, User,
};
pub use control::{Batch, BoxFuture, ControlPlane, Layers, ProposeError, StoreError, Version};
pub use names::{BackendName, ListenerName, NodeName, ServerName, UserName};
pub use overrides::{Override, OverrideKind};
pub use secret::Secret;
