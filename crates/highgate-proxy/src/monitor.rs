//! Checks, roles and the plan: the one owner of what is known of servers.
//!
//! [`director`] is a single task. It feeds the pure machines of `highgate-core` with what checks and
//! traffic saw, carries out their actions, and publishes the snapshot that the plan gives. Nobody
//! else stores a snapshot.

mod accounts;
pub mod director;
mod names;
mod probe;
mod questions;
pub(crate) mod turns;

pub use director::{Command, Director, Forgotten, Inputs, Records, View};
