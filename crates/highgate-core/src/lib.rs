//! Deciding: which server, whether it is alive, who is primary, what may be sent again.
//!
//! Pure: no sockets, no clocks, no runtime. Start reading at [`snapshot::Snapshot`].

pub mod choose;
pub mod events;
pub mod explain;
pub mod health;
pub mod limits;
pub mod plan;
pub mod ramp;
pub mod server;
#[cfg(test)]
mod simulation;
pub mod snapshot;
#[cfg(test)]
mod testing;
pub mod topology;
pub mod answer;
pub mod pins;
pub mod prepare;
pub mod retry;
pub mod settle;
pub mod state;
pub mod track;
pub mod route;
pub mod rules;
