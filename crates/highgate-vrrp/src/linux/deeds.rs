//! Carries out what routers order: adverts, addresses, announcements. Remembers what is held.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    io,
    net::IpAddr,
    os::fd::OwnedFd,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    frames,
    netlink::{AddressNow, LinkNow, Netlink},
    routes::Routing,
    sys_unsafe,
    virtual_link::{Ensured, VirtualLinks},
    will::{LastWord, Will},
    wire::{self, Wire},
};
use crate::{
    machine::Sending,
    routers::Interface,
    settings::{Settings, VirtualAddress},
};

/// Seconds that an address lives on when nobody refreshes it: the last line, should all our
/// processes die at once. Below the time in which a backup at the default interval takes over.
const LIFETIME: u32 = 3;
/// How often it is refreshed.
pub(crate) const REFRESH: Duration = Duration::from_secs(1);

/// Sockets, and what was done with them.
#[derive(Debug)]
pub(crate) struct Deeds {
    netlink: Netlink,
    frames: OwnedFd,
    links: BTreeMap<String, LinkNow>,
    addresses: Vec<AddressNow>,
    /// One per interface and family (`true` for IPv4) on which a router speaks.
    pub(crate) wires: BTreeMap<(String, bool), Wire>,
    held: BTreeMap<Arc<str>, Vec<(u32, VirtualAddress)>>,
    last_words: BTreeMap<Arc<str>, Vec<LastWord>>,
    virtual_links: VirtualLinks,
    routing: Routing,
    /// Announcements that keep a pause between each other.
    queue: VecDeque<(Instant, Arc<str>, u32, Vec<u8>)>,
}

impl Deeds {
    /// With nothing done yet.
    ///
    /// # Errors
    /// Without the rights for raw sockets.
    pub(crate) fn open() -> io::Result<Self> {
        let mut deeds = Self {
            netlink: Netlink::open()?,
            frames: sys_unsafe::frame_socket()?,
            links: BTreeMap::new(),
            addresses: Vec::new(),
            wires: BTreeMap::new(),
            held: BTreeMap::new(),
            last_words: BTreeMap::new(),
            virtual_links: VirtualLinks::default(),
            routing: Routing::default(),
            queue: VecDeque::new(),
        };
        deeds.look()?;
        Ok(deeds)
    }

    /// Looks at all links and addresses anew.
    ///
    /// # Errors
    /// As the system says.
    pub(crate) fn look(&mut self) -> io::Result<()> {
        self.links = self.netlink.links()?;
        self.addresses = self.netlink.addresses()?;
        self.virtual_links.forget_lost(&self.links);
        Ok(())
    }

    /// Makes the interface with the router's own MAC address, where it is to have one and has not.
    ///
    /// # Errors
    /// Another one has its name, or as the system says.
    pub(crate) fn ensure_virtual_link(&mut self, settings: &Settings) -> io::Result<Ensured> {
        let done = self.virtual_links.ensure(settings, &mut self.netlink, &self.links)?;
        if done != Ensured::There {
            self.look()?;
        }
        Ok(done)
    }

    /// Interfaces with a MAC address of their own go down where they carry nothing any more.
    pub(crate) fn rest_virtual_links(&mut self) {
        let held = &self.held;
        let holds = |router: &str| held.get(router).is_some_and(|held| !held.is_empty());
        self.virtual_links.rest(holds, &mut self.netlink);
    }

    /// Removes interfaces with a MAC address of their own, but for those routers'.
    pub(crate) fn keep_virtual_links(&mut self, routers: &BTreeSet<&str>) {
        self.virtual_links.keep_only(routers, &mut self.netlink);
    }

    /// An interface as routers are told it; addresses that `moves` says are not its own.
    pub(crate) fn interface(&self, name: &str, moves: impl Fn(IpAddr) -> bool) -> Interface {
        let Some(link) = self.links.get(name) else { return Interface::default() };
        let own = || {
            let here = self.addresses.iter().filter(|known| known.index == link.index);
            here.map(|known| known.address).filter(|address| !moves(*address))
        };
        Interface {
            exists: true,
            is_up: link.is_up,
            v4: own().find_map(|address| match address {
                IpAddr::V4(address) => Some(address),
                IpAddr::V6(_) => None,
            }),
            v6: own().find_map(|address| match address {
                IpAddr::V6(address) if address.is_unicast_link_local() => Some(address),
                _ => None,
            }),
        }
    }

    /// Opens the sockets of a router where there are none, or its interface is another one now.
    ///
    /// # Errors
    /// As the system says.
    pub(crate) fn listen(&mut self, settings: &Settings, groups: &[IpAddr]) -> io::Result<()> {
        let Some(link) = self.links.get(&settings.interface) else {
            return Err(io::Error::new(io::ErrorKind::NotFound, "there is no such interface"));
        };
        let key = (settings.interface.clone(), settings.is_v4());
        if self.wires.get(&key).is_none_or(|wire| wire.index() != link.index) {
            let wire = Wire::open(&settings.interface, link.index, settings.is_v4())?;
            self.wires.insert(key.clone(), wire);
        }
        match self.wires.get_mut(&key) {
            Some(wire) => groups.iter().try_for_each(|group| wire.join(*group)),
            None => Ok(()),
        }
    }

    /// Closes the sockets of interfaces on which nobody speaks any more.
    pub(crate) fn listen_only_to(&mut self, wanted: impl Fn(&(String, bool)) -> bool) {
        self.wires.retain(|key, _| wanted(key));
    }

    /// Sends an advert, and notes what the last one would be.
    ///
    /// # Errors
    /// As the system says.
    pub(crate) fn say(
        &mut self,
        router: &Arc<str>,
        settings: &Settings,
        sending: &Sending,
    ) -> io::Result<()> {
        let interface = &settings.interface;
        let Some(link) = self.links.get(interface) else {
            return Err(io::Error::new(io::ErrorKind::NotFound, "there is no such interface"));
        };
        let words = self.last_words.entry(Arc::clone(router)).or_default();
        words.retain(|word| word.destination != sending.destination);
        if sending.priority > 0 {
            words.extend(LastWord::after(interface, link.index, sending));
        }
        match settings.advert_mac() {
            Some(mac) if sending.destination.is_multicast() => {
                let frame = frames::advert(mac, sending);
                sys_unsafe::send_frame(&self.frames, link.index, &frame)
            }
            _ => wire::say(interface, link.index, sending),
        }
    }

    /// A router's addresses are about to be set: they belong to the will from now on.
    pub(crate) fn intend(
        &mut self,
        router: &Arc<str>,
        interface: &str,
        addresses: &[VirtualAddress],
    ) {
        for address in addresses {
            let device = address.device.as_deref().unwrap_or(interface);
            let Some(link) = self.links.get(device) else { continue };
            let held = self.held.entry(Arc::clone(router)).or_default();
            if !held.iter().any(|(at, other)| *at == link.index && other == address) {
                held.push((link.index, address.clone()));
            }
        }
    }

    /// Sets a router's addresses.
    ///
    /// # Errors
    /// The first that could not be set; the others are.
    pub(crate) fn take(
        &mut self,
        router: &Arc<str>,
        interface: &str,
        addresses: &[VirtualAddress],
    ) -> io::Result<()> {
        let mut done = self.virtual_links.raise(router, &mut self.netlink);
        self.intend(router, interface, addresses);
        for address in addresses {
            let device = address.device.as_deref().unwrap_or(interface);
            let set = match self.links.get(device) {
                Some(link) => self.netlink.set(link.index, address, LIFETIME),
                None => Err(io::Error::new(io::ErrorKind::NotFound, "no such interface")),
            };
            if let Err(error) = set
                && done.is_ok()
            {
                let text = format!("{} can't be set on {device}: {error}", address.address);
                done = Err(io::Error::new(error.kind(), text));
            }
        }
        done
    }

    /// Removes a router's addresses.
    ///
    /// # Errors
    /// The first that could not be removed; the others are.
    pub(crate) fn give(&mut self, router: &str, addresses: &[VirtualAddress]) -> io::Result<()> {
        let Some(held) = self.held.get_mut(router) else { return Ok(()) };
        let mut done = Ok(());
        held.retain(|(index, address)| {
            if !addresses.contains(address) {
                return true;
            }
            if let Err(error) = self.netlink.remove(*index, address)
                && done.is_ok()
            {
                let text = format!("{} can't be removed: {error}", address.address);
                done = Err(io::Error::new(error.kind(), text));
            }
            false
        });
        self.queue.retain(|(_, whose, ..)| **whose != *router);
        done
    }

    /// Sets all held addresses anew, for another while.
    ///
    /// # Errors
    /// Each that could not be set, with its router.
    pub(crate) fn refresh(&mut self) -> Vec<(Arc<str>, io::Error)> {
        let mut failed = Vec::new();
        for (router, held) in &self.held {
            for (index, address) in held {
                if let Err(error) = self.netlink.set(*index, address, LIFETIME) {
                    failed.push((Arc::clone(router), error));
                }
            }
        }
        failed
    }

    /// Whether that address is one that is held: its coming is no news.
    pub(crate) fn holds(&self, address: &AddressNow) -> bool {
        self.held
            .values()
            .flatten()
            .any(|(index, held)| *index == address.index && held.address == address.address)
    }

    /// Gives a router its routes and rules, and takes those away that it is not to have: all of them
    /// without settings. Gives what is to be told, whether it went wrong or works again.
    pub(crate) fn keep_routes(
        &mut self,
        router: &Arc<str>,
        settings: Option<&Settings>,
    ) -> Vec<Result<String, String>> {
        self.routing.keep(router, settings, &mut self.netlink, &self.links)
    }

    /// Whether a router has routes or rules that are set.
    pub(crate) fn has_routes(&self, router: &str) -> bool {
        self.routing.has(router)
    }

    /// Removes routes and rules that a process before left behind. Gives those that were there.
    ///
    /// # Errors
    /// As the system says.
    pub(crate) fn remove_left_routes(&mut self) -> io::Result<Vec<String>> {
        self.routing.remove_leftovers(&mut self.netlink)
    }

    /// Removes addresses and interfaces that a process before left behind. Gives those that were there.
    pub(crate) fn remove_leftovers(&mut self, all: &[Settings]) -> Vec<String> {
        let mut found = self.virtual_links.remove_leftovers(all, &mut self.netlink, &self.links);
        for settings in all.iter().filter(|settings| !settings.is_owner()) {
            let holder = settings.holder();
            let places = [holder.as_str(), &settings.interface];
            // Before, they may have been on the interface itself, or on one of their own.
            let places = places.get(..if places[0] == places[1] { 1 } else { 2 });
            for (address, place) in settings.addresses.iter().flat_map(|address| {
                places.unwrap_or_default().iter().map(move |place| (address, *place))
            }) {
                let device = address.device.as_deref().unwrap_or(place);
                let Some(link) = self.links.get(device) else { continue };
                let wanted = AddressNow {
                    index: link.index,
                    address: address.address,
                    prefix: address.prefix,
                };
                if self.addresses.contains(&wanted)
                    && !self.holds(&wanted)
                    && self.netlink.remove(link.index, address).is_ok()
                {
                    found.push(address.address.to_string());
                }
            }
        }
        found
    }

    /// Announces all that a router holds.
    pub(crate) fn announce(
        &mut self,
        router: &Arc<str>,
        copies: u8,
        pause: Duration,
        now: Instant,
    ) {
        let Some(held) = self.held.get(router) else { return };
        let mut at = self.queue.back().map_or(now, |(last, ..)| (*last + pause).max(now));
        for _ in 0..copies {
            for (index, address) in held {
                let link = self.links.values().find(|link| link.index == *index);
                let Some(mac) = link.and_then(|link| link.mac) else { continue };
                let frame = frames::announcement(address.address, mac);
                self.queue.push_back((at, Arc::clone(router), *index, frame));
                at += pause;
            }
        }
        self.send_announcements(now);
    }

    /// Sends the announcements that are due.
    pub(crate) fn send_announcements(&mut self, now: Instant) {
        while let Some((at, _, index, frame)) = self.queue.front()
            && *at <= now
        {
            // One that is lost is one of several.
            let _ = sys_unsafe::send_frame(&self.frames, *index, frame);
            self.queue.pop_front();
        }
    }

    /// When [`Self::send_announcements`] is wanted.
    pub(crate) fn next_announcement(&self) -> Option<Instant> {
        self.queue.front().map(|(at, ..)| *at)
    }

    /// What is to be done if this process dies now.
    pub(crate) fn will(&self) -> Will {
        let has_something =
            |router: &Arc<str>| self.held.get(router).is_some_and(|h| !h.is_empty());
        Will {
            addresses: self.held.values().flatten().cloned().collect(),
            last_words: self
                .last_words
                .iter()
                .filter(|(router, _)| has_something(router))
                .flat_map(|(_, words)| words.iter().cloned())
                .collect(),
            links: self.virtual_links.indexes(),
            routes: self.routing.entries(),
            kernel_settings: self.virtual_links.before(),
            is_filtered: false,
            is_over: false,
        }
    }
}
