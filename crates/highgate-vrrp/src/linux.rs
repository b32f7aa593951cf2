//! What carries the machine on Linux: two small processes with the rights that the program itself
//! gives up.
//!
//! ```text
//!  main ──control──▶ keeper: routers and sockets; at real-time priority
//!   ▲ └─ beats          │ will     ├─ hands: links, addresses and their lifetime
//!   │                   ▼          ├─ errands: scripts, processes and files
//!   │                   │          └─ pacers: adverts, where the keeper is late
//!   └──control (dup)── watcher: reads the will, and waits for the keeper's end
//! ```
//!
//! In the keeper one thread decides and sends, and waits for nobody; two more do what may wait. Where
//! adverts are less than 100 ms apart, two others repeat them should the first be kept from running.
//!
//! Whoever of the three dies, the address is given away at once: the keeper resigns when the main
//! process is gone or silent; the watcher carries out the keeper's will (remove the addresses, say
//! priority 0) and takes its place; a dead watcher is replaced. A keeper whose `hands` hang gives the
//! addresses away and makes way for the watcher. Should all of them die together, the kernel removes
//! the addresses when their lifetime ends, a few seconds later.

mod alarms;
mod children;
mod closed;
mod control;
mod deeds;
mod errands;
mod fifos;
mod frames;
mod hands;
mod holdings;
mod keeper;
mod lifetimes;
mod mailbox;
mod messages;
mod netlink;
mod pacers;
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

/// The names of all interfaces.
///
/// # Errors
/// As the system says.
pub fn interfaces() -> std::io::Result<Vec<String>> {
    Ok(netlink::Netlink::open()?.links()?.into_keys().collect())
}
