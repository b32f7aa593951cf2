//! VRRP: an address that is on exactly one of several nodes, and moves when that one can't serve.
//!
//! The pure part is a codec ([`advert`]), one state machine per virtual router ([`machine`]), and what
//! binds several of them together ([`routers`]): sync groups and tracking. It reads no clock, opens no
//! socket and knows nothing of databases. A driver feeds it with packets, links and time, and does
//! what the effects say.
//!
//! Start reading at [`Routers`], then [`Router`].

pub mod advert;
pub mod event;
pub mod from_config;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
pub mod linux;
pub mod machine;
pub mod routers;
pub mod settings;
#[cfg(test)]
mod simulation;
pub mod status;
#[cfg(test)]
mod testing;
pub mod track;

pub use self::{
    event::{Event, Kind, Severity},
    machine::{Effect, Input, Link, Need, Notice, Router, State},
    routers::{Order, Routers},
    settings::{Announce, Plan, Settings, VirtualAddress},
    status::Status,
};
