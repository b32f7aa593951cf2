//! What the main process and the keeper tell each other: one JSON text a line.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use highgate_config::Drains;
use serde::{Deserialize, Serialize};

use crate::{event::Event, settings::Plan, status::Status};

/// The version of these messages: a process that takes another one's place, and its keeper, must speak
/// the same.
pub const FORMAT: u32 = 3;

/// All that a node's keeper is to do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// The routers, their groups and scripts.
    pub plan: Plan,
    /// What is run at changes of a router, by its name.
    pub notify: BTreeMap<String, Notify>,
    /// What is run at changes of a group, by its name.
    pub group_notify: BTreeMap<String, Notify>,
    /// Processes that are tracked, by the name that routers track them by.
    pub processes: BTreeMap<String, ProcessRule>,
    /// Whether what would run as root is refused where others may write it.
    pub script_security: bool,
    /// Named pipes that tell of all changes.
    pub fifos: Vec<FifoRule>,
}

/// A named pipe.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FifoRule {
    /// Where it is.
    pub path: String,
    /// The account that may read it.
    pub owner: Option<String>,
    /// Its group, where it is not the account's own.
    pub owner_group: Option<String>,
    /// What reads from it, as program and arguments.
    pub script: Vec<String>,
    /// The account that runs it.
    pub user: Option<String>,
    /// The group, where it is not the account's own.
    pub group: Option<String>,
}

/// Commands for changes of state, each as program and arguments.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notify {
    /// When it becomes active.
    pub active: Vec<String>,
    /// When it becomes backup.
    pub backup: Vec<String>,
    /// When it can't be either.
    pub fault: Vec<String>,
    /// When it ends.
    pub stop: Vec<String>,
    /// When one of lower rank is heard while active.
    pub lower: Vec<String>,
    /// At every change, with `INSTANCE` or `GROUP`, name, state and rank added.
    pub any: Vec<String>,
    /// Whether pipes are told of changed ranks as well.
    pub priorities: bool,
    /// The account that runs them, and its group.
    pub user: Option<String>,
    /// The group, where it is not the account's own.
    pub group: Option<String>,
}

/// How many processes of a name there are to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessRule {
    /// The program's name, or with `whole_command` all its words.
    pub command: Vec<String>,
    /// Whether all words are compared.
    pub whole_command: bool,
    /// At least so many.
    pub quorum: u32,
    /// At most so many.
    pub quorum_max: Option<u32>,
    /// How long they must be there before that counts.
    pub fork_delay: Duration,
    /// How long they must be gone before that counts.
    pub end_delay: Duration,
}

/// To the keeper.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToKeeper {
    /// Do this from now on.
    Task(Box<Task>),
    /// The main process lives; whether it can serve, and why not.
    Beat(Result<(), String>),
    /// An operator takes a router out, or all; `why: None` lets it back in.
    Drain {
        /// Which; `None` for all.
        router: Option<String>,
        /// The reason.
        why: Option<String>,
    },
    /// All that operators took out, in place of what was said before.
    Drains(Drains),
    /// The connections to a router's addresses have ended, as [`FromKeeper::Yield`] asked for.
    Yielded {
        /// Which.
        router: String,
    },
    /// Let listening sockets, which come along with this message, drop what asks for a connection to
    /// these addresses; without any, hear everybody again.
    Deafen {
        /// By this the answer is known.
        number: u64,
        /// Which.
        to: Vec<IpAddr>,
        /// How many sockets.
        sockets: usize,
    },
    /// Listen on a port that asks for a right to: one below 1024.
    Bind {
        /// Where.
        address: SocketAddr,
    },
    /// Give everything away and end.
    Stop,
}

/// From the keeper.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum FromKeeper {
    /// A keeper is there and has nothing to do yet.
    Hello {
        /// Its process.
        pid: u32,
        /// Why it is there, if it took the place of one that died.
        why: Option<String>,
    },
    /// How all routers are: at each change, and now and then.
    Status(Vec<Status>),
    /// Something happened.
    Event {
        /// To which router; `None` for the keeper itself.
        router: Option<String>,
        /// What.
        event: Event,
    },
    /// Another node is about to take a router's addresses: let the connections to them end.
    Yield {
        /// Which.
        router: String,
        /// The addresses that go, those of its group included.
        addresses: Vec<IpAddr>,
    },
    /// What came of [`ToKeeper::Deafen`].
    Deafened {
        /// The number of the order.
        number: u64,
        /// Why a socket still hears, or not.
        error: Option<String>,
    },
    /// What came of [`ToKeeper::Bind`]. The listening socket comes along with this message.
    Bound {
        /// Where.
        address: SocketAddr,
        /// Why there is none.
        error: Option<String>,
    },
    /// Everything was given away; the keeper ends.
    Stopped,
}
