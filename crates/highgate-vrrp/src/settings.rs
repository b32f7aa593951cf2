//! What a virtual router runs under: plain data, copied into its machine.
//!
//! Values are what configuration has checked already; nothing here refuses.

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    advert::{self, Auth, Casting, Password, Version},
    track::{ScriptSettings, Tracked},
};

/// All that one node runs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The virtual routers; their order gives them their index.
    pub routers: Vec<Settings>,
    /// Routers that go together, by the name of the group.
    pub groups: BTreeMap<String, Group>,
    /// Scripts by name, as far as routers track them.
    pub scripts: BTreeMap<String, ScriptSettings>,
}

/// Routers of one node that are active together or not at all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// The names of its routers.
    pub members: Vec<String>,
    /// What the group tracks for all of them, beside what each tracks by itself. What has a weight
    /// changes the rank of each; Keepalived wants that asked for (`sync_group_tracking_weight`).
    pub tracked: Vec<Tracked>,
}

/// One virtual router.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// Its name; one per node.
    pub name: String,
    /// The interface on which it speaks.
    pub interface: String,
    /// The version of the protocol; IPv6 has only 3.
    pub version: Version,
    /// Its number, 1 to 255, the same on all nodes.
    pub vrid: u8,
    /// Its rank, 1 to 254, or [`advert::OWNER`], which tracking does not change.
    pub priority: u8,
    /// Time between two adverts while active: whole seconds with VRRPv2, hundredths with VRRPv3.
    pub interval: Duration,
    /// How many adverts may be missed before a backup takes over; default 3.
    pub down_adverts: u8,
    /// The password of VRRPv2, if there is one.
    pub password: Option<Password>,
    /// The address to send from; `None` for the interface's first.
    pub source: Option<IpAddr>,
    /// The addresses that move.
    pub addresses: Vec<VirtualAddress>,
    /// How adverts travel.
    pub casting: Casting,
    /// Whether a backup of higher rank takes over from one that works.
    pub preempt: bool,
    /// How long a backup watches one of lower rank before it takes over from it.
    pub preempt_delay: Duration,
    /// Whether an owner is active from the start; others never are.
    pub starts_active: bool,
    /// How long nothing is said and heard after the start.
    pub startup_delay: Duration,
    /// Whether packets to the address itself are taken (RFC 9568 §6.1, Accept_Mode).
    pub accept: bool,
    /// Whether losing the interface's link ends participation.
    pub follows_link: bool,
    /// Whether the address is held only while this process can serve.
    pub follows_serving: bool,
    /// How often the address is announced to switches and hosts.
    pub announce: Announce,
    /// Whether an active router that hears one of lower rank answers at once. One
    /// whose interval is shorter is answered in any case, or backups that learn it would take over.
    pub answers_lower: bool,
    /// Whether an active router that gives way to one of higher rank says so, so that the other
    /// announces the address again; Keepalived's `higher_prio_send_advert`, here on by default.
    pub answers_higher: bool,
    /// A virtual MAC address in place of the interface's own.
    pub virtual_mac: Option<VirtualMac>,
    /// Routes that are there while it is active.
    pub routes: Vec<highgate_config::VipRoute>,
    /// Rules of routing that are there while it is active.
    pub rules: Vec<highgate_config::VipRule>,
    /// What changes its rank or ends participation.
    pub tracked: Vec<Tracked>,
}

impl Settings {
    /// A router with the defaults of Keepalived, multicast and no password.
    #[must_use]
    pub fn new(name: &str, interface: &str, vrid: u8, addresses: Vec<VirtualAddress>) -> Self {
        let is_v4 = addresses.first().is_none_or(|first| first.address.is_ipv4());
        Self {
            name: name.to_owned(),
            interface: interface.to_owned(),
            version: if is_v4 { Version::V2 } else { Version::V3 },
            vrid,
            priority: 100,
            interval: Duration::from_secs(1),
            down_adverts: 3,
            password: None,
            source: None,
            addresses,
            casting: Casting::Multicast { group: None },
            preempt: true,
            preempt_delay: Duration::ZERO,
            starts_active: true,
            startup_delay: Duration::ZERO,
            accept: true,
            follows_link: true,
            follows_serving: false,
            announce: Announce::default(),
            answers_lower: true,
            answers_higher: true,
            virtual_mac: None,
            routes: Vec::new(),
            rules: Vec::new(),
            tracked: Vec::new(),
        }
    }

    /// Whether it speaks IPv4: the family of the first address decides.
    #[must_use]
    pub fn is_v4(&self) -> bool {
        self.addresses.first().is_none_or(|first| first.address.is_ipv4())
    }

    /// Whether it owns the address.
    #[must_use]
    pub const fn is_owner(&self) -> bool {
        self.priority == advert::OWNER
    }

    /// Name and MAC address of the interface that carries its addresses, if it has one of its own.
    #[must_use]
    pub fn virtual_link(&self) -> Option<(String, [u8; 6])> {
        let virtual_mac = self.virtual_mac.as_ref()?;
        let family = if self.is_v4() { 1 } else { 2 };
        let name = virtual_mac.name.clone().unwrap_or_else(|| {
            let family = if self.is_v4() { "" } else { "6" };
            format!("vrrp{family}.{}", self.vrid)
        });
        let mac = virtual_mac.address.unwrap_or([0, 0, 0x5e, 0, family, self.vrid]);
        Some((name, mac))
    }

    /// The interface on which its addresses are set, where they name none.
    #[must_use]
    pub fn holder(&self) -> String {
        self.virtual_link().map_or_else(|| self.interface.clone(), |(name, _)| name)
    }

    /// The MAC address from which adverts are sent; `None` for the interface's own.
    #[must_use]
    pub fn advert_mac(&self) -> Option<[u8; 6]> {
        let is_own = self.virtual_mac.as_ref().is_some_and(|own| !own.sends_from_base);
        self.virtual_link().filter(|_| is_own).map(|(_, mac)| mac)
    }

    /// What its adverts carry and those of its peers must.
    #[must_use]
    pub fn auth(&self) -> Auth {
        match (&self.password, self.version) {
            (Some(password), Version::V2) => Auth::Password(password.clone()),
            _ => Auth::None,
        }
    }

    /// The addresses that are in adverts, in the order of the configuration.
    #[must_use]
    pub fn advertised(&self) -> Vec<IpAddr> {
        let listed = self.addresses.iter().filter(|address| address.advertised);
        listed.map(|address| address.address).collect()
    }
}

/// One address that moves, and how it is set on its interface.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct VirtualAddress {
    /// The address.
    pub address: IpAddr,
    /// The length of its network's prefix; 32 or 128 by default.
    pub prefix: u8,
    /// The interface to set it on; `None` for the router's own.
    pub device: Option<String>,
    /// How far it is valid.
    pub scope: Scope,
    /// A label in the manner of `eth0:1`, IPv4 alone.
    pub label: Option<String>,
    /// Its broadcast address, IPv4 alone.
    pub broadcast: Option<IpAddr>,
    /// Whether adverts list it (`virtual_ipaddress`), or it only moves along
    /// (`virtual_ipaddress_excluded`).
    pub advertised: bool,
}

impl VirtualAddress {
    /// An address by itself, of global scope, listed in adverts.
    #[must_use]
    pub const fn new(address: IpAddr) -> Self {
        Self {
            prefix: if address.is_ipv4() { 32 } else { 128 },
            address,
            device: None,
            scope: Scope::Global,
            label: None,
            broadcast: None,
            advertised: true,
        }
    }
}

/// How far an address is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Scope {
    /// Everywhere.
    Global,
    /// Within this host.
    Host,
    /// On this link.
    Link,
    /// Within this site.
    Site,
    /// Any other number that the kernel knows.
    Other(u8),
}

/// A virtual MAC address (RFC 9568 §7.3).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VirtualMac {
    /// The name of the interface that carries it; `None` for `vrrp.N` (IPv4) or `vrrp6.N`, where N is
    /// the router's number.
    pub name: Option<String>,
    /// The address; `None` for the one that the RFC assigns to the router's number.
    pub address: Option<[u8; 6]>,
    /// Whether adverts leave by the interface below, with its own address.
    pub sends_from_base: bool,
}

/// How often the address is announced: gratuitous ARP, or unsolicited neighbour advertisements.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Announce {
    /// How many at once, when the address was taken and again after `delay`; default 5.
    pub repeat: u8,
    /// When to do it again after the address was taken; default 5 s, zero for never.
    pub delay: Duration,
    /// As `repeat`, when a router of lower rank was heard.
    pub lower_repeat: u8,
    /// As `delay`, when a router of lower rank was heard.
    pub lower_delay: Duration,
    /// How often to do it all the while; zero for never, which is the default.
    pub refresh: Duration,
    /// How many then.
    pub refresh_repeat: u8,
    /// The pause between two packets of the same interface, which the driver keeps; default none.
    pub pause: Duration,
}

impl Default for Announce {
    fn default() -> Self {
        let delay = Duration::from_secs(5);
        Self {
            repeat: 5,
            delay,
            lower_repeat: 5,
            lower_delay: delay,
            refresh: Duration::ZERO,
            refresh_repeat: 1,
            pause: Duration::ZERO,
        }
    }
}
