//! Deciding: which server, whether it is alive, who is primary, what may be sent again.
//!
//! Pure: no sockets, no clocks, no runtime. Start reading at [`snapshot::Snapshot`].

pub mod accounts;
pub mod answer;
pub mod choose;
pub mod digests;
pub mod events;
pub mod explain;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
pub mod health;
pub mod limits;
pub mod manual;
pub mod pins;
pub mod plan;
pub mod prepare;
pub mod ramp;
pub mod retry;
pub mod route;
pub mod rules;
pub mod server;
pub mod settle;
#[cfg(test)]
mod simulation;
pub mod snapshot;
pub mod state;
#[cfg(test)]
mod testing;
pub mod topology;
pub mod track;
