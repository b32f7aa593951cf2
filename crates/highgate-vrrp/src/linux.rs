//! What carries the machine on Linux: two small processes with the rights that the program itself
//! gives up.
//!
//! ```text
//!  main ──control──▶ keeper: routers, sockets, netlink, scripts; at real-time priority
//!   ▲ └─ beats          │ will
//!   └──control (dup)── watcher: reads the will, and waits for the keeper's end
//! ```
//!
//! Whoever of the three dies, the address is given away at once: the keeper resigns when the main
//! process is gone or silent; the watcher carries out the keeper's will (remove the addresses, say
//! priority 0) and takes its place; a dead watcher is replaced. Should all of them die together, the
//! kernel removes the addresses when their lifetime ends, a few seconds later.

mod alarms;
mod children;
mod closed;
mod control;
mod deeds;
mod fifos;
mod frames;
mod keeper;
mod messages;
mod netlink;
mod processes;
mod routes;
mod security;
mod sys_unsafe;
mod virtual_link;
mod watcher;
mod will;
mod wire;

pub use self::{
    keeper::{BEAT, SILENCE, keep},
    messages::{FORMAT, FifoRule, FromKeeper, Notify, ProcessRule, Task, ToKeeper},
    netlink::networks,
    watcher::{AFTER_DEATH, watch},
};
