//! Nodes, links and faults of one seed.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    advert::{self, Casting, Envelope, UnicastPeer, Version},
    machine::{Effect, PATIENCE, Router, State},
    routers::{Interface, Order, Routers},
    settings::{Announce, Group, Plan, Settings, VirtualAddress},
    testing::{Bug, Dice, ms, node, settings},
    track::{Reading, Subject, Tracked},
};

const SEGMENTS: [&str; 2] = ["eth0", "eth1"];
const FILE: &str = "rank";

/// What happens at a moment.
#[derive(Debug, Clone)]
enum Event {
    /// A packet arrives at a node.
    Arrival { to: usize, segment: usize, payload: Vec<u8>, envelope: Envelope },
    /// Something breaks or mends.
    Fault,
    /// A crashed node starts again.
    Restart(usize),
    /// A stalled node runs again.
    Resume(usize),
    /// The connections of a node have ended, as it was asked for.
    Yielded(usize, Arc<str>),
    /// A node wakes up for its timers, late or not.
    Wake(usize),
}

struct Node {
    plan: Plan,
    /// `None` while it is crashed.
    routers: Option<Routers>,
    /// From when on it does not run; what arrives meanwhile waits in its sockets.
    stalled_at: Option<Instant>,
    waiting: Vec<(usize, Vec<u8>, Envelope)>,
    /// The segments whose addresses its kernel holds.
    holds: BTreeSet<usize>,
    serves: bool,
    weight: i64,
    /// When it last gave way to another, and when it last announced, by segment.
    gave_way: BTreeMap<usize, Instant>,
    announced: BTreeMap<usize, Instant>,
    wakes_at: Option<Instant>,
}

pub(super) struct World {
    dice: Dice,
    bug: Bug,
    start: Instant,
    now: Instant,
    segments: usize,
    nodes: Vec<Node>,
    /// Whether a packet from one node reaches another, by segment.
    reaches: Vec<Vec<Vec<bool>>>,
    is_whole: bool,
    loss: u64,
    duplicates: u64,
    /// The longest a packet takes in a whole network, and how late a node may wake.
    flight: Duration,
    lateness: Duration,
    queue: BTreeMap<(Instant, u64), Event>,
    sequence: u64,
    pub(super) trace: Vec<(Duration, usize, String)>,
}

impl World {
    pub(super) fn new(seed: u64, bug: Bug) -> Self {
        let mut dice = Dice::new(seed);
        let count = 2 + dice.below(6) as usize;
        let segments = if dice.one_in(4) { 2 } else { 1 };
        let plans = plans(&mut dice, count, segments);
        let shortest =
            plans.iter().flat_map(|plan| &plan.routers).map(|router| router.interval).min();
        let part = shortest.unwrap() / 20;
        let start = Instant::now();
        let nodes = plans.into_iter().map(Node::new).collect();
        Self {
            flight: part * (1 + dice.below(8) as u32),
            lateness: part * dice.below(4) as u32,
            dice,
            bug,
            start,
            now: start,
            segments,
            nodes,
            reaches: vec![vec![vec![true; count]; count]; segments],
            is_whole: false,
            loss: 0,
            duplicates: 0,
            queue: BTreeMap::new(),
            sequence: 0,
            trace: Vec::new(),
        }
    }

    /// Faults, then a whole network; what is wrong after the bound is the error.
    pub(super) fn run(&mut self) -> Result<(), String> {
        let longest = self.longest(|router| router.interval);
        for index in 0..self.nodes.len() {
            let at = self.now + longest * self.dice.below(3) as u32;
            self.at(at, Event::Restart(index));
        }
        self.loss = [0, 5, 20, 60][self.dice.below(4) as usize];
        self.duplicates = [0, 0, 30][self.dice.below(3) as usize];
        let faults = self.dice.below(12);
        for _ in 0..faults {
            let at = self.now + longest * self.dice.below(300) as u32 / 10;
            self.at(at, Event::Fault);
        }
        let until = self.now + longest * (5 + self.dice.below(30) as u32);
        self.pass(until)?;
        self.heal();
        let bound = self.bound();
        self.pass(until + bound)?;
        self.settled()?;
        // It stays so.
        let quiet = self.longest(|router| router.announce.lower_delay).max(longest * 6);
        let end = self.now + quiet;
        while self.now < end {
            self.pass(self.now + longest / 4)?;
            self.settled()?;
        }
        self.announced()
    }

    fn longest(&self, of: impl Fn(&Settings) -> Duration) -> Duration {
        let routers = self.nodes.iter().flat_map(|node| &node.plan.routers);
        routers.map(of).max().unwrap()
    }

    fn bound(&self) -> Duration {
        let longest = self.longest(|router| router.interval);
        let routers = || self.nodes.iter().flat_map(|node| &node.plan.routers);
        let missed = u32::from(routers().map(|router| router.down_adverts).max().unwrap());
        let unit = match routers().next().unwrap().version {
            Version::V2 => ms(1_000),
            Version::V3 => longest,
        };
        // Who takes over from one that works asks first.
        let asks = longest.min(ms(100)) * 3 + PATIENCE;
        let round = longest * missed + unit * 255 / 256 + asks;
        let delay = self.flight + self.lateness;
        let preempt = self.longest(|router| router.preempt_delay);
        // Whoever waits to preempt may have to hear one of lower rank take over first.
        let preempt = if preempt.is_zero() { preempt } else { preempt + round + delay };
        self.longest(|router| router.startup_delay) + preempt + round + longest * 2 + delay * 3
    }

    /// From now on every packet arrives in time, every node runs, and nothing changes.
    fn heal(&mut self) {
        self.is_whole = true;
        self.loss = 0;
        self.duplicates = 0;
        self.reaches.iter_mut().flatten().flatten().for_each(|reaches| *reaches = true);
        for index in 0..self.nodes.len() {
            self.resume(index);
        }
        let late = self.now + self.flight;
        for ((at, sequence), event) in std::mem::take(&mut self.queue) {
            match event {
                Event::Fault | Event::Restart(_) | Event::Resume(_) => {}
                Event::Yielded(..) => {
                    self.queue.insert((at, sequence), event);
                }
                Event::Arrival { .. } => {
                    self.queue.insert((at.min(late), sequence), event);
                }
                Event::Wake(_) => {
                    self.queue.insert((at.min(self.now + self.lateness), sequence), event);
                }
            }
        }
        for node in &mut self.nodes {
            node.gave_way.clear();
        }
    }

    /// At most one node is active per segment, and one if any may be; groups are of one mind.
    fn settled(&self) -> Result<(), String> {
        let may = self.nodes.iter().any(|node| node.routers.is_some() && node.serves);
        for segment in 0..self.segments {
            let active = self.who(|node| node.state(segment) == Some(State::Active));
            let holders = self.who(|node| node.holds.contains(&segment));
            if active.len() > 1 || active.is_empty() && may {
                return Err(self.complain(format!("active on {segment}: {active:?}")));
            }
            if active != holders {
                return Err(self.complain(format!("{active:?} active, {holders:?} hold {segment}")));
            }
        }
        if self.segments == 2 {
            let (one, other) = (
                self.who(|node| node.holds.contains(&0)),
                self.who(|node| node.holds.contains(&1)),
            );
            if one != other {
                return Err(self.complain(format!("group is split: {one:?}, {other:?}")));
            }
        }
        Ok(())
    }

    /// Whoever has the address in the end has announced it since another gave way to it.
    fn announced(&self) -> Result<(), String> {
        for segment in 0..self.segments {
            let holder = self.nodes.iter().find(|node| node.holds.contains(&segment));
            let last = holder.and_then(|node| node.announced.get(&segment));
            let gave = self.nodes.iter().filter_map(|node| node.gave_way.get(&segment)).max();
            if holder.is_some() && gave > last {
                return Err(self.complain(format!("{segment} was not announced again")));
            }
        }
        Ok(())
    }

    fn who(&self, is: impl Fn(&Node) -> bool) -> Vec<usize> {
        (0..self.nodes.len()).filter(|index| is(&self.nodes[*index])).collect()
    }

    fn complain(&self, what: String) -> String {
        let at = self.now - self.start;
        format!("after {at:?} {what}, bound {:?}", self.bound())
    }

    fn at(&mut self, at: Instant, event: Event) {
        self.sequence += 1;
        self.queue.insert((at.max(self.now), self.sequence), event);
    }

    fn pass(&mut self, until: Instant) -> Result<(), String> {
        while let Some(entry) = self.queue.first_entry().filter(|entry| entry.key().0 <= until) {
            let ((at, _), event) = entry.remove_entry();
            self.now = at;
            self.happens(event);
            self.check()?;
        }
        self.now = until;
        Ok(())
    }

    /// At any time: who runs holds what it is active for, and nothing else.
    fn check(&self) -> Result<(), String> {
        for (index, node) in self.nodes.iter().enumerate() {
            for segment in 0..self.segments {
                let is_active = node.state(segment) == Some(State::Active);
                if is_active != node.holds.contains(&segment) {
                    return Err(self.complain(format!("node {index} holds what it should not")));
                }
            }
        }
        Ok(())
    }

    fn happens(&mut self, event: Event) {
        match event {
            Event::Arrival { to, segment, payload, envelope } => {
                let node = &mut self.nodes[to];
                if node.stalled_at.is_some() {
                    node.waiting.push((segment, payload, envelope));
                } else if let Some(routers) = &mut node.routers {
                    let orders = routers.packet(SEGMENTS[segment], &payload, &envelope, self.now);
                    self.obey(to, orders);
                }
            }
            Event::Fault => self.fault(),
            Event::Restart(index) => self.restart(index),
            Event::Resume(index) => self.resume(index),
            Event::Yielded(index, router) => {
                let node = &mut self.nodes[index];
                if let Some(routers) = node.routers.as_mut().filter(|_| node.stalled_at.is_none()) {
                    let orders = routers.yielded(&router, self.now);
                    self.obey(index, orders);
                }
            }
            Event::Wake(index) => self.wake(index),
        }
    }

    fn wake(&mut self, index: usize) {
        let node = &mut self.nodes[index];
        node.wakes_at = None;
        if node.stalled_at.is_some() {
            return;
        }
        if let Some(routers) = &mut node.routers {
            let orders = routers.timer(self.now);
            self.obey(index, orders);
        }
    }

    fn fault(&mut self) {
        let index = self.dice.below(self.nodes.len() as u64) as usize;
        let longest = self.longest(|router| router.interval);
        let later = self.now + longest * self.dice.below(120) as u32 / 10;
        match self.dice.below(9) {
            0 => {
                self.nodes[index].crash();
                self.at(later, Event::Restart(index));
            }
            1 => self.nodes[index].crash(),
            2 => {
                self.nodes[index].stalled_at.get_or_insert(self.now);
                self.at(later, Event::Resume(index));
            }
            3 => self.serve(index, false),
            4 => self.serve(index, true),
            5 => self.weigh(index),
            6 => self.partition(),
            7 => self.cut_one_way(),
            _ => self.reaches.iter_mut().flatten().flatten().for_each(|reaches| *reaches = true),
        }
    }

    fn partition(&mut self) {
        let count = self.nodes.len();
        let side: Vec<_> = (0..count).map(|_| self.dice.below(2)).collect();
        let segment = self.dice.below(self.segments as u64) as usize;
        for from in 0..count {
            for to in 0..count {
                self.reaches[segment][from][to] = side[from] == side[to];
            }
        }
    }

    fn cut_one_way(&mut self) {
        let count = self.nodes.len() as u64;
        let segment = self.dice.below(self.segments as u64) as usize;
        let (from, to) = (self.dice.below(count) as usize, self.dice.below(count) as usize);
        self.reaches[segment][from][to] = false;
    }

    fn serve(&mut self, index: usize, serves: bool) {
        let node = &mut self.nodes[index];
        node.serves = serves;
        if let Some(routers) = node.routers.as_mut().filter(|_| node.stalled_at.is_none()) {
            let serving = if serves { Ok(()) } else { Err("fault".to_owned()) };
            let orders = routers.serving(serving, self.now);
            self.obey(index, orders);
        }
    }

    fn weigh(&mut self, index: usize) {
        let weight = i64::try_from(self.dice.below(201)).unwrap() - 100;
        let node = &mut self.nodes[index];
        node.weight = weight;
        if let Some(routers) = node.routers.as_mut().filter(|_| node.stalled_at.is_none()) {
            let subject = Subject::File(FILE.to_owned());
            let orders = routers.read(subject, Reading::Number(weight), self.now);
            self.obey(index, orders);
        }
    }

    fn restart(&mut self, index: usize) {
        if self.nodes[index].routers.is_some() {
            return;
        }
        let mut routers = Routers::new(self.nodes[index].plan.clone(), self.now);
        routers.plant(self.bug);
        self.nodes[index].routers = Some(routers);
        let orders = self.nodes[index].brief(index, self.now, true);
        self.obey(index, orders);
    }

    fn resume(&mut self, index: usize) {
        let Some(since) = self.nodes[index].stalled_at.take() else { return };
        let waiting = std::mem::take(&mut self.nodes[index].waiting);
        for (segment, payload, envelope) in waiting {
            self.happens(Event::Arrival { to: index, segment, payload, envelope });
        }
        if let Some(routers) = &mut self.nodes[index].routers {
            let orders = routers.slept(self.now - since, self.now);
            self.obey(index, orders);
        }
        let orders = self.nodes[index].brief(index, self.now, false);
        self.obey(index, orders);
        self.wake(index);
    }

    /// Does what a node's routers decided.
    fn obey(&mut self, index: usize, orders: Vec<Order>) {
        for order in orders {
            let segment = usize::from(&*order.router == "b");
            let node = &mut self.nodes[index];
            match order.effect {
                Effect::AddAddresses(_) => {
                    node.holds.insert(segment);
                }
                Effect::RemoveAddresses(_) => {
                    node.holds.remove(&segment);
                    node.gave_way.insert(segment, self.now);
                }
                Effect::Announce { .. } => {
                    node.announced.insert(segment, self.now);
                }
                Effect::Notify(notice) => {
                    let at = self.now - self.start;
                    self.trace.push((at, index, format!("{segment} {notice:?}")));
                }
                Effect::Yield if self.dice.one_in(4) => {}
                Effect::Yield => {
                    let after = Router::YIELD * self.dice.below(110) as u32 / 100;
                    self.at(self.now + after, Event::Yielded(index, order.router));
                }
                Effect::Send(sending) => self.send(index, segment, &sending),
                Effect::Event(_) => {}
            }
        }
        let node = &mut self.nodes[index];
        let deadline = node.routers.as_ref().and_then(Routers::next_deadline);
        if let Some(at) = deadline.filter(|at| node.wakes_at.is_none_or(|wakes| *at < wakes)) {
            node.wakes_at = Some(at);
            let late = self.lateness * self.dice.below(101) as u32 / 100;
            self.at(at + late, Event::Wake(index));
        }
    }

    fn send(&mut self, from: usize, segment: usize, sending: &crate::machine::Sending) {
        let is_v4 = sending.source.is_ipv4();
        for to in 0..self.nodes.len() {
            let meant =
                sending.destination.is_multicast() || sending.destination == address(to, is_v4);
            if to == from || !meant || !self.reaches[segment][from][to] {
                continue;
            }
            let copies = 1 + u64::from(self.dice.below(100) < self.duplicates);
            for _ in 0..copies {
                if self.dice.below(100) < self.loss {
                    continue;
                }
                // A network that is not whole delays some packets beyond several intervals.
                let stretch = if !self.is_whole && self.dice.one_in(10) { 100 } else { 1 };
                let flight = self.flight * self.dice.below(101) as u32 / 100 * stretch;
                let envelope = Envelope {
                    source: sending.source,
                    destination: sending.destination,
                    ttl: sending.ttl,
                };
                let payload = sending.payload.clone();
                self.at(self.now + flight, Event::Arrival { to, segment, payload, envelope });
            }
        }
    }
}

impl Node {
    const fn new(plan: Plan) -> Self {
        Self {
            plan,
            routers: None,
            stalled_at: None,
            waiting: Vec::new(),
            holds: BTreeSet::new(),
            serves: true,
            weight: 0,
            gave_way: BTreeMap::new(),
            announced: BTreeMap::new(),
            wakes_at: None,
        }
    }

    /// Its power is cut, so its addresses are gone too.
    fn crash(&mut self) {
        self.routers = None;
        self.stalled_at = None;
        self.waiting.clear();
        self.holds.clear();
        self.wakes_at = None;
    }

    /// Tells the routers of their links, of serving and of their rank.
    fn brief(&mut self, index: usize, now: Instant, is_new: bool) -> Vec<Order> {
        let Some(routers) = &mut self.routers else { return Vec::new() };
        let up = |is_v4| match address(index, is_v4) {
            IpAddr::V4(v4) => Interface { v4: Some(v4), ..Interface::default() },
            IpAddr::V6(v6) => Interface { v6: Some(v6), ..Interface::default() },
        };
        let interface = Interface { exists: true, is_up: true, v6: up(false).v6, ..up(true) };
        let mut orders = Vec::new();
        if is_new {
            for segment in SEGMENTS {
                orders.extend(routers.interface(segment, interface, now));
            }
            orders.extend(routers.start(now));
        }
        let serving = if self.serves { Ok(()) } else { Err("fault".to_owned()) };
        orders.extend(routers.serving(serving, now));
        let rank = Reading::Number(self.weight);
        orders.extend(routers.read(Subject::File(FILE.to_owned()), rank, now));
        orders
    }

    fn state(&self, segment: usize) -> Option<State> {
        self.routers.as_ref()?.state(["a", "b"][segment])
    }
}

fn address(index: usize, is_v4: bool) -> IpAddr {
    node(u8::try_from(index + 1).unwrap(), is_v4)
}

/// The plans of all nodes: what must be equal is, the rest differs.
fn plans(dice: &mut Dice, count: usize, segments: usize) -> Vec<Plan> {
    let (version, is_v4) =
        [(Version::V2, true), (Version::V3, true), (Version::V3, false)][dice.below(3) as usize];
    let same = match version {
        Version::V2 => ms(1_000) * (1 + dice.below(3) as u32),
        Version::V3 => ms(10) * (1 + dice.below(100) as u32),
    };
    let is_unicast = dice.one_in(3);
    let mut owner = dice.one_in(5);
    (0..count)
        .map(|index| {
            let mut router = settings(version, is_v4);
            router.follows_serving = true;
            router.interval = match version {
                Version::V2 => same,
                Version::V3 => same * [1, 1, 1, 2, 4, 10][dice.below(6) as usize],
            };
            router.priority = [50, 100, 100, 101, 150, 254][dice.below(6) as usize];
            if owner && dice.one_in(2) {
                router.priority = advert::OWNER;
                router.starts_active = dice.one_in(2);
                // Sometimes two of them.
                owner = dice.one_in(4);
            }
            router.preempt = !dice.one_in(3);
            router.preempt_delay = same * [0, 0, 0, 7][dice.below(4) as usize];
            router.startup_delay = same * [0, 0, 0, 3][dice.below(4) as usize];
            router.down_adverts = [3, 3, 3, 5][dice.below(4) as usize];
            router.answers_lower = !dice.one_in(5);
            router.announce = Announce {
                delay: same * 2,
                lower_delay: same * dice.below(4) as u32,
                ..Announce::default()
            };
            let file = Subject::File(FILE.to_owned());
            router.tracked = vec![Tracked { subject: file, weight: 1, reverse: false }];
            if is_unicast {
                let others = (0..count).filter(|other| *other != index);
                let peers = others.map(|other| UnicastPeer::new(address(other, is_v4))).collect();
                router.casting = Casting::Unicast { peers, ttl: 255, check_source: true };
            }
            plan(router, segments)
        })
        .collect()
}

fn plan(router: Settings, segments: usize) -> Plan {
    let member = |name: &str, segment: usize| {
        let mut router = router.clone();
        router.name = name.to_owned();
        router.interface = SEGMENTS[segment].to_owned();
        let last = 100 + u8::try_from(segment).unwrap();
        router.addresses = vec![VirtualAddress::new(node(last, router.is_v4()))];
        router
    };
    let mut plan = Plan { routers: vec![member("a", 0)], ..Plan::default() };
    if segments == 2 {
        plan.routers.push(member("b", 1));
        let members = vec!["a".to_owned(), "b".to_owned()];
        plan.groups.insert("g".to_owned(), Group { members, tracked: Vec::new() });
    }
    plan
}
