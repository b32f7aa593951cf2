//! The thread that changes links and addresses. Each such order waits for a lock of the kernel that
//! all network namespaces share and that others may hold for long, while they wait for a processor
//! (measured: 65 ms): so the thread that sends adverts gives the orders and does not wait.
//!
//! Orders are carried out one after the other. Between them it sets the lifetime of all that is held
//! anew, so that addresses live on while the thread is well, and no longer.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    io,
    net::IpAddr,
    os::fd::OwnedFd,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use highgate_io::{clock, tasks};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::{
    lifetimes::{LIFETIME, REFRESH},
    mailbox::Mailbox,
    netlink::{AddressNow, LinkNow, Netlink},
    routes::{Entry, Routing},
    sys_unsafe::{self, Rank},
    virtual_link::{Ensured, VirtualLinks},
    wire::{self, Wire},
};
use crate::{
    advert::{Casting, GROUP_V4, GROUP_V6},
    machine::Sending,
    settings::{Settings, VirtualAddress},
};

/// How long orders that are given at the end may take.
const LAST: Duration = Duration::from_secs(3);

/// An order.
#[derive(Debug)]
pub(crate) enum Job {
    /// Remove what a process before left behind for these routers.
    Clear(Vec<Settings>),
    /// Look at all links and addresses, and make what interfaces and sockets these routers lack;
    /// those sockets are of no use any more.
    Look { routers: Vec<Settings>, broken: BTreeSet<Place> },
    /// Set a router's addresses on the interfaces of those numbers.
    Take { number: u64, router: Arc<str>, addresses: Vec<(u32, VirtualAddress)> },
    /// Remove a router's addresses.
    Give { number: u64, router: Arc<str>, addresses: Vec<(u32, VirtualAddress)> },
    /// Say that a router's are given away, after they are.
    Say { router: Arc<str>, interface: String, index: u32, mac: Option<[u8; 6]>, sending: Sending },
    /// Give these routers their routes and rules if they are active, and take them away if not.
    Routes(Vec<(Settings, bool)>),
    /// Close the copy of a socket.
    Close(Wire),
    /// Set the lifetime of all that is held anew, now.
    Refresh,
    /// That was all; interfaces of routers go.
    End,
}

/// What came of it.
#[derive(Debug)]
pub(crate) enum Done {
    /// These were left behind, and are removed.
    Cleared(Vec<String>),
    /// [`Job::Look`] is done.
    Looked(Box<Looked>),
    /// [`Job::Take`] is.
    Taken { number: u64, result: io::Result<()> },
    /// [`Job::Give`] is.
    Given { number: u64, result: io::Result<()> },
    /// What is held lives on, but for that of those routers.
    Refreshed { failed: Vec<(Arc<str>, io::Error)>, made: Option<Made> },
    /// [`Job::Routes`] is done: what is to be told of whom, and all that are set.
    Routed { told: Vec<(Arc<str>, Result<String, String>)>, all: Vec<Entry> },
    /// An order failed that belongs to no router.
    Failed(String),
}

/// An interface by its name, and whether IPv4 is spoken there.
pub(crate) type Place = (String, bool);
/// A router, its interface, and what came of making it.
pub(crate) type MadeOne = (Arc<str>, String, io::Result<Ensured>);

/// A socket that was opened, and where.
pub(crate) type Opened = (Place, Wire);
/// A router that can't be heard, and why.
pub(crate) type Deaf = (Arc<str>, io::Error);

/// Interfaces with a MAC address of their own: what came of those that were lacking, and all that
/// there are, with the kernel's settings as they were before.
#[derive(Debug, Default)]
pub(crate) struct Made {
    pub(crate) new: Vec<MadeOne>,
    pub(crate) indexes: Vec<u32>,
    pub(crate) before: Vec<(String, String)>,
}

/// How the links are.
#[derive(Debug, Default)]
pub(crate) struct Looked {
    pub(crate) links: BTreeMap<String, LinkNow>,
    pub(crate) addresses: Vec<AddressNow>,
    /// Sockets that were opened.
    pub(crate) wires: Vec<Opened>,
    pub(crate) deaf: Vec<Deaf>,
    pub(crate) made: Made,
}

/// The thread, for who gives the orders.
#[derive(Debug)]
pub(crate) struct Hands {
    jobs: Mailbox<Job>,
    pub(crate) done: Mailbox<Done>,
    thread: JoinHandle<()>,
    /// How often the kernel has answered it.
    answers: Arc<AtomicU64>,
    /// As it was seen last.
    answers_seen: u64,
}

impl Hands {
    /// Starts it.
    ///
    /// # Errors
    /// Without the right to speak with the kernel.
    pub(crate) fn start() -> io::Result<Self> {
        let (jobs, done) = (Mailbox::new()?, Mailbox::new()?);
        let netlink = Netlink::open()?;
        let answers = netlink.count();
        let body = Body {
            netlink,
            frames: sys_unsafe::frame_socket()?,
            jobs: jobs.clone(),
            done: done.clone(),
            routers: Vec::new(),
            links: BTreeMap::new(),
            wires: BTreeMap::new(),
            held: BTreeMap::new(),
            virtual_links: VirtualLinks::default(),
            routing: Routing::default(),
            refresh_at: clock::now() + REFRESH,
        };
        let thread = tasks::thread("addresses", move || body.run())?;
        Ok(Self { jobs, done, thread, answers, answers_seen: 0 })
    }

    /// Gives an order.
    pub(crate) fn order(&self, job: Job) {
        self.jobs.post(job);
    }

    /// Whether it got on since this was asked last: what takes long is not what hangs.
    pub(crate) fn gets_on(&mut self) -> bool {
        let answers = self.answers.load(Ordering::Relaxed);
        std::mem::replace(&mut self.answers_seen, answers) != answers
    }

    /// Whether it ended, which it never does by itself.
    pub(crate) fn is_over(&self) -> bool {
        self.thread.is_finished()
    }

    /// Waits until all orders are carried out, but not for long. Gives what came of them.
    pub(crate) fn end(&self) -> Vec<Done> {
        self.order(Job::End);
        let by = clock::now() + LAST;
        let mut done = Vec::new();
        while !self.is_over() && clock::now() < by {
            let mut source = [PollFd::new(&self.done, PollFlags::IN)];
            let _ = poll(&mut source, Some(&Timespec { tv_sec: 0, tv_nsec: 10_000_000 }));
            done.extend(self.done.take());
        }
        done.extend(self.done.take());
        done
    }
}

struct Body {
    netlink: Netlink,
    frames: OwnedFd,
    jobs: Mailbox<Job>,
    done: Mailbox<Done>,
    /// As of the last look.
    routers: Vec<Settings>,
    links: BTreeMap<String, LinkNow>,
    /// One per place; who decides has copies of them.
    wires: BTreeMap<Place, Wire>,
    held: BTreeMap<Arc<str>, Vec<(u32, VirtualAddress)>>,
    virtual_links: VirtualLinks,
    routing: Routing,
    refresh_at: Instant,
}

impl Body {
    fn run(mut self) {
        // Without the right to it the thread that decides has said so.
        let _ = sys_unsafe::run_first(Rank::Acts);
        let mut waiting = VecDeque::new();
        loop {
            let wait = self.refresh_at.saturating_duration_since(clock::now());
            let wait = Timespec::try_from(wait).ok();
            let _ = poll(&mut [PollFd::new(&self.jobs, PollFlags::IN)], wait.as_ref());
            waiting.extend(self.jobs.take());
            while let Some(job) = waiting.pop_front() {
                if matches!(job, Job::End) {
                    self.virtual_links.keep_only(&BTreeSet::new(), &mut self.netlink);
                    return;
                }
                if matches!(job, Job::Say { .. }) {
                    waiting.extend(self.jobs.take());
                }
                if is_stale(&job, &waiting) {
                    continue;
                }
                let done = self.carry_out(job);
                done.into_iter().for_each(|done| self.done.post(done));
                // Many orders at once must not cost what is held its lifetime.
                if !waiting.iter().any(|job| matches!(job, Job::Give { .. })) {
                    self.refresh_if_due();
                }
            }
            self.refresh_if_due();
        }
    }

    fn refresh_if_due(&mut self) {
        if clock::now() >= self.refresh_at {
            let done = self.refresh();
            self.done.post(done);
        }
    }

    fn carry_out(&mut self, job: Job) -> Option<Done> {
        Some(match job {
            Job::Clear(routers) => self.clear(&routers),
            Job::Look { routers, broken } => {
                self.routers = routers;
                self.wires.retain(|place, _| !broken.contains(place));
                match self.look() {
                    Ok(looked) => Done::Looked(Box::new(looked)),
                    Err(error) => unlisted(&error),
                }
            }
            Job::Take { number, router, addresses } => {
                Done::Taken { number, result: self.take(&router, addresses) }
            }
            Job::Give { number, router, addresses } => {
                Done::Given { number, result: self.give(&router, &addresses) }
            }
            Job::Say { interface, index, mac, sending, .. } => {
                // One that is lost is said again, and only makes the others wait longer.
                let _ = wire::say_from(&self.frames, mac, &interface, index, &sending);
                return None;
            }
            Job::Routes(routers) => self.route(&routers),
            Job::Close(wire) => {
                drop(wire);
                return None;
            }
            Job::Refresh => self.refresh(),
            Job::End => return None,
        })
    }

    fn look(&mut self) -> io::Result<Looked> {
        let with_link = self.routers.iter().filter(|router| router.virtual_mac.is_some());
        let with_link = with_link.map(|router| router.name.clone()).collect();
        for router in self.virtual_links.others(&with_link) {
            self.virtual_links.remove(&router, &mut self.netlink);
            self.keep_alive();
        }
        self.virtual_links.keep_only(&with_link, &mut self.netlink);
        self.links = self.netlink.links()?;
        self.virtual_links.forget_lost(&self.links);
        let (wires, deaf) = self.listen();
        let made = self.make_links();
        if !made.new.is_empty() {
            self.links = self.netlink.links()?;
        }
        let (links, addresses) = (self.links.clone(), self.netlink.addresses()?);
        Ok(Looked { links, addresses, wires, deaf, made })
    }

    /// Opens what sockets are missing, and closes those where nobody speaks any more.
    fn listen(&mut self) -> (Vec<Opened>, Vec<Deaf>) {
        let (mut opened, mut deaf) = (Vec::new(), Vec::new());
        let wanted: BTreeSet<Place> = self.routers.iter().map(place).collect();
        self.wires.retain(|place, _| wanted.contains(place));
        for settings in &self.routers {
            // Where there is no interface, its link says so.
            let Some(link) = self.links.get(&settings.interface) else { continue };
            let place = place(settings);
            let heard = (|| {
                if self.wires.get(&place).is_none_or(|wire| wire.index() != link.index) {
                    let wire = Wire::open(&settings.interface, link.index, settings.is_v4())?;
                    opened.push((place.clone(), wire.copy()?));
                    self.wires.insert(place.clone(), wire);
                }
                let wire = self.wires.get_mut(&place);
                wire.map_or(Ok(()), |wire| groups(settings).try_for_each(|group| wire.join(group)))
            })();
            if let Err(error) = heard {
                deaf.push((settings.name.as_str().into(), error));
            }
        }
        (opened, deaf)
    }

    /// Makes the interfaces with a MAC address of their own that are lacking.
    fn make_links(&mut self) -> Made {
        let mut new = Vec::new();
        let with_link = self.routers.iter().filter(|router| router.virtual_mac.is_some());
        for settings in with_link.cloned().collect::<Vec<_>>() {
            let done = self.virtual_links.ensure(&settings, &mut self.netlink, &self.links);
            self.keep_alive();
            if !matches!(done, Ok(Ensured::There)) {
                new.push((settings.name.as_str().into(), settings.holder(), done));
            }
        }
        Made { new, indexes: self.virtual_links.indexes(), before: self.virtual_links.before() }
    }

    fn take(&mut self, router: &Arc<str>, addresses: Vec<(u32, VirtualAddress)>) -> io::Result<()> {
        let mut done = self.virtual_links.raise(router, &mut self.netlink);
        for (index, address) in addresses {
            if let Err(error) = self.netlink.set(index, &address, LIFETIME)
                && done.is_ok()
            {
                let device = self.links.iter().find(|(_, link)| link.index == index);
                let device = device.map_or("its interface", |(name, _)| name.as_str());
                let text = format!("{} can't be set on {device}: {error}", address.address);
                done = Err(io::Error::new(error.kind(), text));
            }
            let held = self.held.entry(Arc::clone(router)).or_default();
            if !held.contains(&(index, address.clone())) {
                held.push((index, address));
            }
        }
        done
    }

    fn give(&mut self, router: &str, addresses: &[(u32, VirtualAddress)]) -> io::Result<()> {
        let mut done = Ok(());
        for (index, address) in addresses {
            if let Err(error) = self.netlink.remove(*index, address)
                && done.is_ok()
            {
                let text = format!("{} can't be removed: {error}", address.address);
                done = Err(io::Error::new(error.kind(), text));
            }
        }
        if let Some(held) = self.held.get_mut(router) {
            held.retain(|one| !addresses.contains(one));
        }
        // Interfaces with a MAC address of their own go down where they carry nothing any more.
        let held = &self.held;
        let holds = |router: &str| held.get(router).is_some_and(|held| !held.is_empty());
        self.virtual_links.rest(holds, &mut self.netlink);
        done
    }

    /// Routes and rules are there where a router is active, and nowhere else.
    fn route(&mut self, routers: &[(Settings, bool)]) -> Done {
        let mut told = Vec::new();
        for (settings, is_active) in routers {
            let router: Arc<str> = settings.name.as_str().into();
            let wanted = Some(settings).filter(|_| *is_active);
            let news = self.routing.keep(&router, wanted, &mut self.netlink, &self.links);
            told.extend(news.into_iter().map(|news| (Arc::clone(&router), news)));
        }
        Done::Routed { told, all: self.routing.entries() }
    }

    /// Sets all held addresses anew, for another while, and makes what interfaces are missing.
    fn refresh(&mut self) -> Done {
        let failed = self.prolong();
        Done::Refreshed { failed, made: Some(self.make_links()) }
    }

    /// Sets them anew within something that takes long, if it is time for that.
    fn keep_alive(&mut self) {
        if clock::now() >= self.refresh_at {
            let failed = self.prolong();
            self.done.post(Done::Refreshed { failed, made: None });
        }
    }

    fn prolong(&mut self) -> Vec<(Arc<str>, io::Error)> {
        self.refresh_at = clock::now() + REFRESH;
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

    /// Removes what a process before left behind. Gives the addresses and interfaces that were there.
    fn clear(&mut self, all: &[Settings]) -> Done {
        let links = self.netlink.links();
        let (links, there) = match links.and_then(|links| Ok((links, self.netlink.addresses()?))) {
            Ok(known) => known,
            Err(error) => return unlisted(&error),
        };
        let mut found = self.virtual_links.remove_leftovers(all, &mut self.netlink, &links);
        for settings in all.iter().filter(|settings| !settings.is_owner()) {
            // Before, they may have been on the interface itself, or on one of their own.
            let places = BTreeSet::from([settings.holder(), settings.interface.clone()]);
            for address in &settings.addresses {
                let devices =
                    address.device.as_ref().map(|device| BTreeSet::from([device.clone()]));
                for device in devices.as_ref().unwrap_or(&places) {
                    let Some(link) = links.get(device) else { continue };
                    let index = link.index;
                    // What lasts is the operator's.
                    let is_it = |known: &AddressNow| {
                        (known.index, known.address, known.prefix, known.lasts)
                            == (index, address.address, address.prefix, false)
                    };
                    if there.iter().any(is_it) && self.netlink.remove(index, address).is_ok() {
                        found.push(address.address.to_string());
                    }
                }
            }
        }
        match self.routing.remove_leftovers(&mut self.netlink) {
            Ok(routes) => found.extend(routes),
            Err(error) => self.done.post(Done::Failed(format!("routes can't be listed: {error}"))),
        }
        Done::Cleared(found)
    }
}

/// Whether an order is to say that addresses were given away that are to be taken again.
fn is_stale(job: &Job, waiting: &VecDeque<Job>) -> bool {
    let Job::Say { router, .. } = job else { return false };
    waiting.iter().any(|later| matches!(later, Job::Take { router: taker, .. } if taker == router))
}

fn place(settings: &Settings) -> Place {
    (settings.interface.clone(), settings.is_v4())
}

/// The groups that a router listens to.
fn groups(settings: &Settings) -> impl Iterator<Item = IpAddr> {
    let group = match &settings.casting {
        Casting::Multicast { group: Some(group) } => Some(*group),
        Casting::Multicast { group: None } if settings.is_v4() => Some(IpAddr::V4(GROUP_V4)),
        Casting::Multicast { group: None } => Some(IpAddr::V6(GROUP_V6)),
        Casting::Unicast { .. } => None,
    };
    group.into_iter()
}

fn unlisted(error: &io::Error) -> Done {
    Done::Failed(format!("links and addresses can't be listed: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{advert::RESIGNS, testing::node};

    fn take(router: &str) -> Job {
        Job::Take { number: 1, router: router.into(), addresses: Vec::new() }
    }

    /// What was observed: behind a slow order an active router said that it had given the address away.
    #[test]
    fn what_is_taken_again_is_not_said_to_be_given_away() {
        let sending = Sending {
            source: node(1, true),
            destination: GROUP_V4.into(),
            ttl: 255,
            priority: RESIGNS,
            payload: Vec::new(),
        };
        let interface = "eth0".to_owned();
        let say = Job::Say { router: "a".into(), interface, index: 7, mac: None, sending };
        assert!(is_stale(&say, &[take("b"), take("a")].into()));
        assert!(!is_stale(&say, &[take("b")].into()));
        assert!(!is_stale(&take("a"), &[take("a")].into()));
    }
}
