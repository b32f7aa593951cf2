//! Addresses that move between nodes, and what is watched for them.
//!
//! Plain data of one node: each node of a vip has a configuration of its own. What is done with it
//! (VRRP, netlink, scripts) is the business of `highgate-vrrp`.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use crate::{ProcessName, ScriptName, Secret, VipName, VipRoute, VipRule};

/// One VRRP instance: addresses that one of several nodes has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vip {
    /// Where VRRP is spoken, and where the addresses are added.
    pub interface: String,
    /// The number that the nodes of a vip share.
    pub router_id: u32,
    /// VRRP version, 2 or 3.
    pub version: u32,
    /// Who prevails; 255 = owner of the addresses.
    pub priority: u32,
    /// Time between two advertisements.
    pub interval: Duration,
    /// Addresses, all of one family.
    pub addresses: Vec<VipAddress>,
    /// Addresses that move with them without being advertised, of any family.
    pub excluded_addresses: Vec<VipAddress>,
    /// Password of version 2, at most 8 bytes; `None` = no authentication.
    pub password: Option<Secret>,
    /// Whether a node of higher priority takes the addresses from one of lower priority.
    pub preempt: bool,
    /// How long it waits with that after it started.
    pub preempt_delay: Duration,
    /// The other nodes; empty = multicast.
    pub peers: Vec<Peer>,
    /// Source address of advertisements; `None` = the interface's own.
    pub source: Option<IpAddr>,
    /// Group of advertisements by multicast; `None` = 224.0.0.18 or ff02::12.
    pub multicast_group: Option<IpAddr>,
    /// TTL of what is sent to peers.
    pub unicast_ttl: u32,
    /// Whether advertisements of others than the peers are dropped.
    pub only_from_peers: bool,
    /// What the node must have to keep the addresses, or what changes its priority.
    pub track: Vec<Track>,
    /// Whether the interface being down takes the addresses away.
    pub track_interface: bool,
    /// Whether the addresses live on a virtual interface with the router's MAC.
    pub vmac: bool,
    /// Name of that interface; `None` = `vrrp.` and the router id.
    pub vmac_name: Option<String>,
    /// Its MAC address; `None` = the one that belongs to the router id.
    #[serde(default)]
    pub vmac_address: Option<String>,
    /// Whether VRRP is spoken on the interface below it.
    pub vmac_transmit_base: bool,
    /// Whether the node answers packets to the addresses.
    pub accept: bool,
    /// Announcements of each address when it is taken, and again after `announce_delay`.
    pub announce_count: u32,
    /// After how long they are repeated; zero = never.
    pub announce_delay: Duration,
    /// Time between two later announcements; zero = none.
    pub announce_refresh: Duration,
    /// How many of them at each time.
    pub announce_refresh_count: u32,
    /// Announcements after a lower advertisement was heard; `None` = `announce_count`.
    pub announce_lower_count: Option<u32>,
    /// After how long they are repeated; `None` = `announce_delay`.
    pub announce_lower_delay: Option<Duration>,
    /// Time between two gratuitous ARP packets on the interface.
    pub arp_interval: Duration,
    /// Time between two unsolicited neighbour advertisements on it.
    pub na_interval: Duration,
    /// Whether a lower advertisement is answered at once while active.
    pub answer_lower: bool,
    /// Whether one more advertisement is sent before yielding to a higher one.
    pub answer_higher: bool,
    /// Advertisements that must be missing before the active node counts as gone.
    pub down_timer_adverts: u32,
    /// How long nothing is done after the start.
    pub startup_delay: Duration,
    /// Whether an owner listens first, as all others do.
    #[serde(default)]
    pub listens_first: bool,
    /// Routes that are there while it is active.
    #[serde(default)]
    pub routes: Vec<VipRoute>,
    /// Rules of routing that are there while it is active.
    #[serde(default)]
    pub rules: Vec<VipRule>,
    /// What is run when states change.
    pub notify: Notify,
}

/// What is run when states change.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Notify {
    /// When it becomes active.
    pub active: Option<String>,
    /// When it becomes backup.
    pub backup: Option<String>,
    /// When it can't be either.
    pub fault: Option<String>,
    /// When the process stops.
    pub stop: Option<String>,
    /// When a lower advertisement is heard while active.
    pub lower: Option<String>,
    /// At each change, with `INSTANCE` or `GROUP`, name, state and priority as arguments.
    pub any: Option<String>,
    /// Whether pipes are told of changed priorities, too.
    #[serde(default)]
    pub priorities: bool,
    /// Account that runs them, `user` or `user:group`; `None` = `keepalived_script` if there is
    /// such an account, else root.
    pub user: Option<String>,
}

/// An address of a vip.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VipAddress {
    /// The address.
    pub address: IpAddr,
    /// Bits of its network.
    pub prefix: u8,
    /// Where it is added; `None` = the vip's interface.
    pub device: Option<String>,
    /// Broadcast address.
    pub broadcast: Option<Broadcast>,
    /// How far it is valid.
    pub scope: Scope,
    /// Label, of IPv4 only.
    pub label: Option<String>,
}

/// Broadcast address of a vip's address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Broadcast {
    /// This one.
    Is(Ipv4Addr),
    /// All host bits clear.
    Zeros,
    /// All host bits set.
    Ones,
}

/// How far an address is valid, as the kernel counts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Scope {
    /// Everywhere.
    Global,
    /// Within this host.
    Host,
    /// On its link.
    Link,
    /// Nowhere.
    Nowhere,
    /// A number of one's own.
    Number(u8),
    /// Within this site.
    Site,
}

/// Another node of a vip.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// Its address.
    pub address: IpAddr,
    /// Lowest TTL at which its advertisements are taken.
    pub min_ttl: Option<u8>,
    /// Highest TTL at which its advertisements are taken.
    pub max_ttl: Option<u8>,
}

/// Something watched for a vip.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Track {
    /// Contents of a file: a number, added to the priority after it was multiplied by the weight.
    File(String, Weight),
    /// A network interface.
    Interface(String, Weight),
    /// A process of `[[process]]`.
    Process(ProcessName, Weight),
    /// A script of `[[script]]`.
    Script(ScriptName, Weight),
    /// Whether this process serves. Losing that gives the address away at once.
    Serving,
}

/// What a tracked thing does to the priority.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Weight {
    /// Without a weight: what is not good takes the addresses away.
    Fault,
    /// A positive number is added while it is good, a negative one while it is not.
    Priority(i16),
    /// The other way round.
    Reverse(i16),
}

/// A command whose outcome tells whether something is good.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Script {
    /// The program with its arguments, run without a shell.
    pub command: String,
    /// Time between the end of a run and the next.
    pub interval: Duration,
    /// Time that a run may take; `None` = `interval`.
    pub timeout: Option<Duration>,
    /// Successes in a row after which it is good.
    pub rise: u32,
    /// Failures in a row after which it is not.
    pub fall: u32,
    /// Account that runs it, `user` or `user:group`; `None` as for [`Notify::user`].
    pub user: Option<String>,
    /// Whether it counts as failed until it has succeeded `rise` times.
    pub starts_failed: bool,
}

/// A process of this machine that is watched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// The program's name, or its whole command where `whole_command` is set.
    pub command: String,
    /// Whether program and arguments are compared, not the name alone.
    pub whole_command: bool,
    /// How many of them must run.
    pub quorum: u32,
    /// How many of them may run.
    pub quorum_max: Option<u32>,
    /// How long it must be there before it counts.
    pub fork_delay: Duration,
    /// How long it must be gone before that counts.
    pub end_delay: Duration,
}

/// Vips that go together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VipGroup {
    /// Its vips.
    pub members: Vec<VipName>,
    /// What is watched for all of them.
    pub track: Vec<Track>,
    /// Whether weights of what is tracked count in a group.
    pub track_weights: bool,
    /// What is run when states change.
    pub notify: Notify,
}

impl Track {
    /// What it does to the priority.
    #[must_use]
    pub const fn weight(&self) -> Weight {
        match self {
            Self::File(_, weight)
            | Self::Interface(_, weight)
            | Self::Process(_, weight)
            | Self::Script(_, weight) => *weight,
            Self::Serving => Weight::Fault,
        }
    }
}

impl fmt::Display for VipAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)?;
        match self.broadcast {
            Some(Broadcast::Is(address)) => write!(f, " broadcast {address}")?,
            Some(Broadcast::Zeros) => f.write_str(" broadcast -")?,
            Some(Broadcast::Ones) => f.write_str(" broadcast +")?,
            None => {}
        }
        if let Some(device) = &self.device {
            write!(f, " dev {device}")?;
        }
        if self.scope != Scope::Global {
            write!(f, " scope {}", self.scope)?;
        }
        match &self.label {
            Some(label) => write!(f, " label {label}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Global => f.write_str("global"),
            Self::Host => f.write_str("host"),
            Self::Link => f.write_str("link"),
            Self::Nowhere => f.write_str("nowhere"),
            Self::Number(number) => write!(f, "{number}"),
            Self::Site => f.write_str("site"),
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.address)?;
        if let Some(ttl) = self.min_ttl {
            write!(f, " min_ttl {ttl}")?;
        }
        match self.max_ttl {
            Some(ttl) => write!(f, " max_ttl {ttl}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Weight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fault => Ok(()),
            Self::Priority(weight) => write!(f, " weight {weight}"),
            Self::Reverse(weight) => write!(f, " weight {weight} reverse"),
        }
    }
}

impl fmt::Display for Track {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path, weight) => write!(f, "file {path}{weight}"),
            Self::Interface(name, weight) => write!(f, "interface {name}{weight}"),
            Self::Process(name, weight) => write!(f, "process {name}{weight}"),
            Self::Script(name, weight) => write!(f, "script {name}{weight}"),
            Self::Serving => f.write_str("serving"),
        }
    }
}
