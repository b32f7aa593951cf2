//! Interfaces with a router's own MAC address (RFC 9568 §7.3): a macvlan above the router's interface
//! that carries its addresses, so that no host need learn anything when they move.
//!
//! The interface is up only while its router is active: a backup sends nothing by it, so switches
//! never learn the address at the wrong port. It is in mode `bridge`: in mode `private` the
//! interface below would not hear a peer that sends from the same MAC address. Adverts are not sent
//! through it but as frames by the interface below, with its MAC address: so they need no address on
//! it, and the last word needs no interface at all.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    sync::Arc,
};

use super::netlink::{LinkNow, Netlink};
use crate::settings::{Settings, VirtualMac};

/// By this alias we know our own.
pub(crate) const ALIAS: &str = "highgate-vip";

/// What was made, and what the kernel's settings were before.
#[derive(Debug, Default)]
pub(crate) struct VirtualLinks {
    made: BTreeMap<Arc<str>, Made>,
    /// Kernel settings of interfaces below, by path, as they were.
    before: BTreeMap<String, String>,
}

#[derive(Debug, Clone)]
struct Made {
    index: u32,
    name: String,
    base: String,
    is_up: bool,
}

/// What is done about a router's interface.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ensured {
    /// It is there.
    There,
    /// It was made just now, in place of one that was left behind if so said; what of the kernel's
    /// settings could not be changed.
    Made { was_left_behind: bool, complaints: Vec<String> },
}

impl VirtualLinks {
    /// Makes a router's interface where there is none; down.
    ///
    /// # Errors
    /// Another one has its name, or as the system says.
    pub(crate) fn ensure(
        &mut self,
        settings: &Settings,
        netlink: &mut Netlink,
        links: &BTreeMap<String, LinkNow>,
    ) -> io::Result<Ensured> {
        let Some((name, mac)) = settings.virtual_link() else { return Ok(Ensured::There) };
        let Some(base) = links.get(&settings.interface) else { return Ok(Ensured::There) };
        let router: Arc<str> = settings.name.as_str().into();
        let mut was_left_behind = false;
        if let Some(made) = self.made.get(&router) {
            if made.name == name && made.base == settings.interface {
                return Ok(Ensured::There);
            }
            netlink.delete_link(made.index)?;
            self.made.remove(&router);
        } else if let Some(link) = links.get(&name) {
            if !link.is_ours {
                let text = format!("interface {name} is there already and is none of this program");
                return Err(io::Error::new(io::ErrorKind::AlreadyExists, text));
            }
            netlink.delete_link(link.index)?;
            was_left_behind = true;
        }
        netlink.add_macvlan(base.index, &name, mac)?;
        let index = netlink.links()?.get(&name).map(|link| link.index).unwrap_or_default();
        let base = settings.interface.clone();
        let made = Made { index, name: name.clone(), base, is_up: false };
        self.made.insert(router, made);
        netlink.name_link(index, ALIAS)?;
        let complaints = self.tune(settings, &name);
        Ok(Ensured::Made { was_left_behind, complaints })
    }

    /// The router's interface goes up, since it is to carry addresses.
    ///
    /// # Errors
    /// As the system says.
    pub(crate) fn raise(&mut self, router: &str, netlink: &mut Netlink) -> io::Result<()> {
        match self.made.get_mut(router) {
            Some(made) if !made.is_up => {
                made.is_up = true;
                netlink.set_up(made.index, true)
            }
            _ => Ok(()),
        }
    }

    /// The interfaces of routers that hold nothing go down.
    pub(crate) fn rest(&mut self, holds: impl Fn(&str) -> bool, netlink: &mut Netlink) {
        for (router, made) in &mut self.made {
            if made.is_up && !holds(router) {
                made.is_up = false;
                // Without an address it is silent in any case.
                let _ = netlink.set_up(made.index, false);
            }
        }
    }

    /// All other routers that have an interface.
    pub(crate) fn others(&self, routers: &BTreeSet<String>) -> Vec<Arc<str>> {
        self.made.keys().filter(|router| !routers.contains(&***router)).cloned().collect()
    }

    /// Removes a router's interface.
    pub(crate) fn remove(&mut self, router: &str, netlink: &mut Netlink) {
        if let Some(made) = self.made.remove(router) {
            let _ = netlink.delete_link(made.index);
        }
    }

    /// Removes the interfaces of all other routers, and undoes what was changed for them.
    pub(crate) fn keep_only(&mut self, routers: &BTreeSet<String>, netlink: &mut Netlink) {
        self.made.retain(|router, made| {
            let stays = routers.contains(&**router);
            if !stays {
                let _ = netlink.delete_link(made.index);
            }
            stays
        });
        let bases: BTreeSet<&String> = self.made.values().map(|made| &made.base).collect();
        self.before.retain(|path, value| {
            let stays = bases.iter().any(|base| path.contains(&format!("/{base}/")));
            if !stays {
                let _ = fs::write(path.as_str(), value.as_str());
            }
            stays
        });
    }

    /// The numbers of all interfaces that were made.
    pub(crate) fn indexes(&self) -> Vec<u32> {
        self.made.values().map(|made| made.index).collect()
    }

    /// Kernel settings as they were before, by path.
    pub(crate) fn before(&self) -> Vec<(String, String)> {
        self.before.iter().map(|(path, value)| (path.clone(), value.clone())).collect()
    }

    /// Removes the interfaces that a process before left behind for routers that have none now.
    pub(crate) fn remove_leftovers(
        &self,
        all: &[Settings],
        netlink: &mut Netlink,
        links: &BTreeMap<String, LinkNow>,
    ) -> Vec<String> {
        let mut removed = Vec::new();
        for settings in all.iter().filter(|settings| settings.virtual_mac.is_none()) {
            let before = Settings { virtual_mac: Some(VirtualMac::default()), ..settings.clone() };
            if let Some((name, mac)) = before.virtual_link()
                && let Some(link) = links.get(&name)
                && link.is_ours
                && link.mac == Some(mac)
                && netlink.delete_link(link.index).is_ok()
            {
                removed.push(name);
            }
        }
        removed
    }

    /// Forgets interfaces that somebody else removed.
    pub(crate) fn forget_lost(&mut self, links: &BTreeMap<String, LinkNow>) {
        self.made.retain(|_, made| links.values().any(|link| link.index == made.index));
    }

    /// Kernel settings that keep each interface from answering for the other. Gives what failed.
    fn tune(&mut self, settings: &Settings, name: &str) -> Vec<String> {
        let base = &settings.interface;
        let mut complaints = Vec::new();
        let all_filter = read("/proc/sys/net/ipv4/conf/all/rp_filter").unwrap_or_default();
        // The way back to a client leads by the interface below: a strict filter would drop all it
        // sends. Where it is on for all interfaces, 2 makes it a loose one here.
        let filter = if all_filter == "0" { "0" } else { "2" };
        let has_v6 = settings.addresses.iter().any(|address| address.address.is_ipv6());
        let v4 = |key: &str| format!("/proc/sys/net/ipv4/conf/{name}/{key}");
        let v6 = |key: &str| format!("/proc/sys/net/ipv6/conf/{name}/{key}");
        let mut wanted = vec![(v4("arp_ignore"), "1"), (v4("rp_filter"), filter)];
        if fs::exists(v6("disable_ipv6")).unwrap_or(false) {
            // No address of its own, and nothing said but for the addresses that move.
            wanted.push((v6("addr_gen_mode"), "1"));
            wanted.push((v6("accept_ra"), "0"));
            wanted.push((v6("disable_ipv6"), if has_v6 { "0" } else { "1" }));
        }
        for (path, value) in wanted {
            if let Err(error) = fs::write(&path, value) {
                complaints.push(format!("{path} can't be set to {value}: {error}"));
            }
        }
        // The interface below must neither answer for the addresses, nor tell its own MAC address
        // for them when it asks for somebody.
        for (key, value) in [("arp_ignore", "1"), ("arp_announce", "2")] {
            let path = format!("/proc/sys/net/ipv4/conf/{base}/{key}");
            let now = read(&path).unwrap_or_default();
            if now.as_str() >= value {
                continue;
            }
            // Also where it was changed before: then the interface below is another one of that name.
            match fs::write(&path, value) {
                Ok(()) => drop(self.before.insert(path, now)),
                Err(error) => complaints.push(format!("{path} can't be set to {value}: {error}")),
            }
        }
        complaints
    }
}

fn read(path: &str) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}
