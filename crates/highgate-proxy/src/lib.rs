//! The data path: listeners, sessions, pools, monitors, relays.
//!
//! Refuses to know how operators ask (admin SQL), who keeps the configuration (Raft) and who holds
//! the address (vips). It decides nothing: decisions are functions of `highgate-core`. Start reading
//! at [`node`], which puts the parts together, then `worker`, then `mysql::session`.

mod broker;
mod buffer;
pub mod certificate;
mod choice;
pub mod facts;
pub mod listener;
pub mod monitor;
mod mysql;
pub mod node;
mod pool;
mod proxy_header;
mod relay;
mod rule_cache;
mod session;
pub mod session_info;
pub mod shared;
mod slots;
pub mod tables;
mod target;
mod tcp;
pub mod tls_files;
mod user_place;
mod worker;
