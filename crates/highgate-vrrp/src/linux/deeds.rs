//! What routers order, as the thread that decides sees it: adverts and announcements are sent at once;
//! addresses are ordered of the [`Hands`], and what came of that is heard later. Remembers what is
//! held, and what is under way.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    io,
    net::IpAddr,
    os::fd::OwnedFd,
    sync::Arc,
    time::{Duration, Instant},
};

use highgate_io::clock;

use super::{
    frames,
    hands::{Done, Hands, Job, Looked, Made, Place},
    holdings::{Giving, Held, Holdings, Placed, is_standing},
    lifetimes::REFRESH,
    netlink::{AddressNow, LinkNow},
    pacers::{self, Pacers, Said},
    routes::Entry,
    sys_unsafe,
    will::{LastWord, Will},
    wire::{self, Wire},
};
use crate::{
    advert::{RESIGNS, Word},
    machine::Sending,
    routers::Interface,
    settings::{Settings, VirtualAddress},
};

/// What others took from this node.
#[derive(Debug)]
pub(crate) struct Loss {
    pub(crate) addresses: Vec<IpAddr>,
    /// They are set again now; else that is left to the refresh that comes each second.
    pub(crate) is_seen_to: bool,
}

/// Sockets, and what was done and ordered with them.
#[derive(Debug)]
pub(crate) struct Deeds {
    pub(crate) hands: Hands,
    frames: OwnedFd,
    /// For adverts alone: what fills a queue with announcements must not take their room.
    adverts: OwnedFd,
    pub(crate) pacers: Pacers,
    links: BTreeMap<String, LinkNow>,
    addresses: Vec<AddressNow>,
    /// One per place on which a router speaks.
    pub(crate) wires: BTreeMap<Place, Wire>,
    /// Those that were of no use any more.
    broken: BTreeSet<Place>,
    /// A look is ordered, and another is wanted after it.
    looks: (bool, bool),
    held: Holdings,
    /// What is held has lost its lifetime: whoever would remove it does not.
    pub(crate) is_unkept: bool,
    restores: Pace,
    /// Orders that are not carried out yet, by their number.
    under_way: BTreeMap<u64, Arc<str>>,
    ordered: u64,
    /// Announcements that wait for their addresses to be set by the order of that number.
    announce_after: BTreeMap<Arc<str>, (u64, u8, Duration)>,
    last_words: BTreeMap<Arc<str>, Vec<LastWord>>,
    /// The will is another one since it was drawn up last.
    has_new_will: bool,
    made: (Vec<u32>, Vec<(String, String)>),
    /// Routes and rules that are set.
    routes: Vec<Entry>,
    /// Announcements that keep a pause between each other.
    queue: VecDeque<(Instant, Arc<str>, u32, Vec<u8>)>,
}

impl Deeds {
    /// With nothing done yet.
    ///
    /// # Errors
    /// Without the rights for raw sockets.
    pub(crate) fn open() -> io::Result<Self> {
        Ok(Self {
            hands: Hands::start()?,
            frames: sys_unsafe::frame_socket()?,
            adverts: sys_unsafe::frame_socket()?,
            pacers: Pacers::default(),
            links: BTreeMap::new(),
            addresses: Vec::new(),
            wires: BTreeMap::new(),
            broken: BTreeSet::new(),
            looks: (false, false),
            held: Holdings::default(),
            is_unkept: false,
            restores: Pace::default(),
            under_way: BTreeMap::new(),
            ordered: 0,
            announce_after: BTreeMap::new(),
            last_words: BTreeMap::new(),
            has_new_will: true,
            made: (Vec::new(), Vec::new()),
            routes: Vec::new(),
            queue: VecDeque::new(),
        })
    }

    /// Orders a look at all links and addresses; [`Self::looked`] has to be told of it.
    pub(crate) fn look(&mut self, routers: &[Settings]) {
        if std::mem::replace(&mut self.looks.0, true) {
            self.looks.1 = true;
            return;
        }
        let broken = std::mem::take(&mut self.broken);
        self.hands.order(Job::Look { routers: routers.to_vec(), broken });
    }

    /// Takes in how the links are. Whether they are to be looked at again.
    pub(crate) fn looked(&mut self, looked: &mut Looked, now: Instant) -> bool {
        self.links = std::mem::take(&mut looked.links);
        self.addresses = std::mem::take(&mut looked.addresses);
        // An operator's may have gone before anybody listened, or by a notice that was lost.
        let missing = self.held.missing(&self.addresses);
        self.lost(missing.iter(), now);
        for (place, wire) in looked.wires.drain(..) {
            self.close(&place);
            self.wires.insert(place, wire);
        }
        self.made(&mut looked.made);
        self.end_of_look()
    }

    /// A look has ended, well or not. Whether another is wanted.
    pub(crate) fn end_of_look(&mut self) -> bool {
        std::mem::take(&mut self.looks).1
    }

    /// Takes in which interfaces were made.
    pub(crate) fn made(&mut self, made: &mut Made) {
        let made = (std::mem::take(&mut made.indexes), std::mem::take(&mut made.before));
        self.has_new_will |= self.made != made;
        self.made = made;
    }

    /// Takes in which routes and rules are set.
    pub(crate) fn routed(&mut self, routes: Vec<Entry>) {
        self.has_new_will |= self.routes != routes;
        self.routes = routes;
    }

    /// Whether there are any.
    pub(crate) const fn has_routes(&self) -> bool {
        !self.routes.is_empty()
    }

    /// An interface as routers are told it; addresses that `moves` says are not its own.
    pub(crate) fn interface(&self, name: &str, moves: impl Fn(IpAddr) -> bool) -> Interface {
        let Some(link) = self.links.get(name) else { return Interface::default() };
        let own = || {
            let of_link = |known: &&AddressNow| known.index == link.index && known.is_usable;
            let here = self.addresses.iter().filter(of_link);
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

    /// Closes the sockets of interfaces on which nobody speaks any more.
    pub(crate) fn listen_only_to(&mut self, wanted: impl Fn(&Place) -> bool) {
        let gone: Vec<Place> = self.wires.keys().filter(|place| !wanted(place)).cloned().collect();
        gone.iter().for_each(|place| self.close(place));
    }

    /// Has a socket closed: whoever closes the last copy leaves its groups, which may wait.
    fn close(&mut self, place: &Place) {
        if let Some(wire) = self.wires.remove(place) {
            self.hands.order(Job::Close(wire));
        }
    }

    /// A socket is of no use any more; it is opened anew when the links are looked at.
    pub(crate) fn is_broken(&mut self, place: Place) {
        self.close(&place);
        self.broken.insert(place);
    }

    /// Sends an advert, and notes what the last one would be. Gives what came of it; nothing where it
    /// is only ordered: that addresses are given away is said after they are.
    pub(crate) fn say(
        &mut self,
        router: &Arc<str>,
        settings: &Settings,
        sending: &Sending,
        is_active: bool,
    ) -> Option<io::Result<()>> {
        let interface = &settings.interface;
        if sending.priority == RESIGNS {
            self.pacers.forget(router);
        }
        let Some(link) = self.links.get(interface) else {
            let text = "there is no such interface";
            return Some(Err(io::Error::new(io::ErrorKind::NotFound, text)));
        };
        let index = link.index;
        let mac = settings.advert_mac().filter(|_| sending.destination.is_multicast());
        if sending.priority == RESIGNS && self.held.is_giving(router) && !self.is_unkept {
            let (router, interface) = (Arc::clone(router), interface.clone());
            let sending = sending.clone();
            self.hands.order(Job::Say { router, interface, index, mac, sending });
            return None;
        }
        let is_advert = Word::unwrap(&sending.payload).is_none();
        if is_advert {
            self.note_last_word(router, interface, index, sending);
        }
        let sent = wire::say_from(&self.adverts, mac, interface, index, sending);
        let is_regular = is_advert && is_active && sending.priority > RESIGNS;
        if sent.is_ok() && is_regular && settings.interval < pacers::FAST {
            let (interface, sending) = (interface.clone(), sending.clone());
            let said = Said { interface, index, mac, sending };
            self.pacers.said(router, said, settings.interval, clock::now());
        }
        Some(sent)
    }

    /// What a router says last, should this process die.
    fn note_last_word(
        &mut self,
        router: &Arc<str>,
        interface: &str,
        index: u32,
        sending: &Sending,
    ) {
        let words = self.last_words.entry(Arc::clone(router)).or_default();
        let word = LastWord::after(interface, index, sending);
        let word = word.filter(|_| sending.priority > RESIGNS);
        let is_about = |word: &&LastWord| word.destination == sending.destination;
        if words.iter().find(is_about) != word.as_ref() {
            words.retain(|word| !is_about(&word));
            words.extend(word);
            self.has_new_will = true;
        }
    }

    /// A router's addresses are about to be set: they belong to the will from now on. Whether that is
    /// news.
    pub(crate) fn intend(
        &mut self,
        router: &Arc<str>,
        interface: &str,
        addresses: &[VirtualAddress],
    ) -> bool {
        let (placed, _) = self.place(interface, addresses);
        let before = self.held.of(router).len();
        self.hold(router, &placed);
        self.held.of(router).len() != before
    }

    /// The addresses with the numbers of their interfaces, and what is said of those without.
    fn place(
        &self,
        interface: &str,
        addresses: &[VirtualAddress],
    ) -> (Vec<Placed>, io::Result<()>) {
        let (mut placed, mut done) = (Vec::new(), Ok(()));
        for address in addresses {
            let device = address.device.as_deref().unwrap_or(interface);
            match self.links.get(device) {
                Some(link) => placed.push((link.index, address.clone())),
                None => done = Err(absent(address, device)),
            }
        }
        (placed, done)
    }

    /// Whether the interfaces that a router's addresses name are there.
    ///
    /// # Errors
    /// The first one that is not.
    pub(crate) fn places(&self, settings: &Settings) -> io::Result<()> {
        for address in &settings.addresses {
            if let Some(device) = &address.device
                && !self.links.contains_key(device)
            {
                return Err(absent(address, device));
            }
        }
        Ok(())
    }

    /// Orders a router's addresses to be set; [`Self::taken`] has to be told of it.
    ///
    /// # Errors
    /// An address whose interface is not there; the others are ordered.
    pub(crate) fn take(
        &mut self,
        router: &Arc<str>,
        interface: &str,
        addresses: &[VirtualAddress],
    ) -> io::Result<()> {
        let (placed, done) = self.place(interface, addresses);
        let addresses = self.hold(router, &placed);
        self.set(router, addresses);
        done
    }

    fn hold(&mut self, router: &Arc<str>, placed: &[Placed]) -> Vec<Placed> {
        let before = self.held.of(router).len();
        let to_set = self.held.take(router, placed, &self.addresses);
        self.has_new_will |= self.held.of(router).len() != before;
        to_set
    }

    fn set(&mut self, router: &Arc<str>, addresses: Vec<Placed>) {
        let number = self.number(router);
        self.hands.order(Job::Take { number, router: Arc::clone(router), addresses });
    }

    /// An order to set addresses was carried out. Gives whose it was, if it still counts, and sends
    /// the announcements that waited for it.
    pub(crate) fn taken(&mut self, number: u64, now: Instant) -> Option<Arc<str>> {
        let router = self.under_way.remove(&number)?;
        if let Some((_, copies, pause)) =
            self.announce_after.get(&router).copied().filter(|(by, ..)| *by == number)
        {
            self.announce_after.remove(&router);
            self.announce(&router, copies, pause, now);
        }
        self.held.keeps(&router).then_some(router)
    }

    /// Orders a router's addresses to be removed; [`Self::given`] has to be told of it. Gives those that
    /// stay, since they are the operator's.
    pub(crate) fn give(&mut self, router: &Arc<str>, addresses: &[VirtualAddress]) -> Vec<IpAddr> {
        self.pacers.forget(router);
        self.queue.retain(|(_, whose, ..)| whose != router);
        self.announce_after.remove(router);
        let number = self.number(router);
        let Giving { removed, stay } = self.held.give(router, addresses, number);
        self.has_new_will = true;
        if removed.is_empty() {
            self.under_way.remove(&number);
        } else {
            let router = Arc::clone(router);
            self.hands.order(Job::Give { number, router, addresses: removed });
        }
        stay
    }

    /// An order to remove addresses was carried out. Gives whose it was.
    pub(crate) fn given(&mut self, number: u64) -> Option<Arc<str>> {
        let router = self.under_way.remove(&number)?;
        self.held.given(&router, number);
        self.has_new_will = true;
        Some(router)
    }

    /// Whether all that was ordered for addresses is carried out.
    pub(crate) fn is_idle(&self) -> bool {
        self.under_way.is_empty()
    }

    fn number(&mut self, router: &Arc<str>) -> u64 {
        self.ordered += 1;
        self.under_way.insert(self.ordered, Arc::clone(router));
        self.ordered
    }

    /// Whether that address was set by this node, or is about to be: its coming is no news.
    pub(crate) fn knows(&self, address: &AddressNow) -> bool {
        self.held.find(address).is_some()
    }

    /// Addresses went. Gives those that are held where nothing was ordered that may change them: that is
    /// a loss. They are set again at once, and once a second where somebody goes on to remove them.
    pub(crate) fn lost<'a>(
        &mut self,
        gone: impl Iterator<Item = &'a AddressNow>,
        now: Instant,
    ) -> Loss {
        let is_loss = |address: &&AddressNow| {
            self.held.find(address).is_some_and(|(router, is_kept)| {
                is_kept && !self.under_way.values().any(|other| other == router)
            })
        };
        let lost: Vec<AddressNow> = gone.filter(is_loss).copied().collect();
        let operators: Vec<_> = lost.iter().filter_map(|gone| self.held.lost(gone)).collect();
        for (router, placed) in operators {
            self.has_new_will = true;
            self.set(&router, vec![placed]);
        }
        let is_seen_to = !lost.is_empty() && self.restores.may_begin(now);
        if is_seen_to {
            self.hands.order(Job::Refresh);
        }
        Loss { addresses: lost.iter().map(|lost| lost.address).collect(), is_seen_to }
    }

    /// Whether anything is held whose lifetime ends.
    pub(crate) fn holds_any(&self) -> bool {
        self.held.lives_on()
    }

    /// The routers that hold some such.
    pub(crate) fn alive(&self) -> Vec<Arc<str>> {
        self.held.alive()
    }

    /// The addresses of a router that somebody else has set, to stay, and where.
    pub(crate) fn standing(&self, settings: &Settings) -> Vec<(VirtualAddress, String)> {
        let holder = settings.holder();
        let placed = settings.addresses.iter().filter_map(|address| {
            let device = address.device.as_deref().unwrap_or(&holder);
            let index = self.links.get(device)?.index;
            let stands = is_standing(index, address, &self.addresses);
            stands.then(|| (address.clone(), device.to_owned()))
        });
        placed.collect()
    }

    /// Announces all that a router holds, as soon as it is set.
    pub(crate) fn announce(
        &mut self,
        router: &Arc<str>,
        copies: u8,
        pause: Duration,
        now: Instant,
    ) {
        let under_way = self.under_way.iter().rev().find(|(_, whose)| *whose == router);
        if let Some((number, _)) = under_way {
            self.announce_after.insert(Arc::clone(router), (*number, copies, pause));
            return;
        }
        let held = self.held.of(router);
        let mut at = self.queue.back().map_or(now, |(last, ..)| (*last + pause).max(now));
        for _ in 0..copies {
            for Held { index, address, .. } in held {
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

    /// Whether [`Self::will`] gives another one than before.
    pub(crate) const fn has_new_will(&self) -> bool {
        self.has_new_will
    }

    /// What is to be done if this process dies now.
    pub(crate) fn will(&mut self) -> Will {
        self.has_new_will = false;
        let has_something = |router: &Arc<str>| !self.held.of(router).is_empty();
        Will {
            addresses: self.held.bequeathed(),
            last_words: self
                .last_words
                .iter()
                .filter(|(router, _)| has_something(router))
                .flat_map(|(_, words)| words.iter().cloned())
                .collect(),
            links: self.made.0.clone(),
            routes: self.routes.clone(),
            kernel_settings: self.made.1.clone(),
            is_filtered: false,
            is_over: false,
        }
    }

    /// Waits until all that was ordered is done, but not for long. Gives what could not be.
    pub(crate) fn end(&mut self) -> Vec<String> {
        let failed = self.hands.end().into_iter().filter_map(|done| match done {
            Done::Given { result: Err(error), .. } => Some(error.to_string()),
            _ => None,
        });
        failed.collect()
    }
}

/// What is done at once, and then no more than once in the time in which all is refreshed anyway.
#[derive(Debug, Default)]
struct Pace(Option<Instant>);

impl Pace {
    fn may_begin(&mut self, now: Instant) -> bool {
        let is_soon = self.0.is_some_and(|at| now.saturating_duration_since(at) < REFRESH);
        if !is_soon {
            self.0 = Some(now);
        }
        !is_soon
    }
}

fn absent(address: &VirtualAddress, device: &str) -> io::Error {
    let text = format!("{} can't be set on {device}: there is no such interface", address.address);
    io::Error::new(io::ErrorKind::NotFound, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_remove_all_the_while_is_set_at_once_and_then_once_a_second() {
        let (mut pace, start) = (Pace::default(), Instant::now());
        let begun = (0..300).filter(|at| pace.may_begin(start + Duration::from_millis(at * 10)));
        assert_eq!(begun.collect::<Vec<_>>(), [0, 100, 200]);
    }
}
