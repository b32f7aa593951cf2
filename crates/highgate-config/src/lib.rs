//! What the operator asks for: the desired state, its settings, its text forms and its edits.
//!
//! Refuses to know sockets, files and clocks. Start reading at [`Config`].

mod change;
mod config;
mod control;
mod describe;
mod dialect;
mod drains;
mod faults;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
pub mod import;
#[cfg(test)]
mod laws;
pub mod manual;
pub mod merge;
mod names;
pub mod native;
mod nearest;
mod overrides;
mod pattern;
mod piece;
mod place;
mod problem;
mod render;
mod secret;
pub mod settings;
mod source;
pub mod table;
pub mod units;
mod vip;
mod vip_route;
mod words;

pub use change::{Change, ChangeRefused, apply, apply_all, diff};
pub use config::{
    Accounts, Address, Admin, AdminState, AuthSource, Backend, Balance, Check, Config, Listener,
    Mode, Monitor, Node, ReadsOnPrimary, Rule, RuleRole, SendProxy, Server, Shared, Tls, TlsMode,
    Topology, User,
};
pub use control::{Batch, BoxFuture, ControlPlane, Layers, ProposeError, StoreError, Version};
pub use describe::{describe, describe_beside};
pub use dialect::Dialect;
pub use drains::Drains;
pub use faults::{Severity, warned_of};
pub use names::{
    BackendName, ListenerName, NodeName, ProcessName, ScriptName, ServerName, UserName,
    VipGroupName, VipName,
};
pub use nearest::nearest;
pub use overrides::{Override, OverrideKind};
pub use pattern::{compile_pattern, surely_compiles};
pub use place::Place;
pub use problem::{Problem, Problems};
pub use render::{Secrets, render};
pub use secret::Secret;
pub use vip::{
    Broadcast, Notify, Peer, Process, Scope, Script, Track, Vip, VipAddress, VipGroup, Weight,
};
pub use vip_route::{RouteKind, VipFifo, VipRoute, VipRule};
