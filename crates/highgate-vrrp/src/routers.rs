//! All virtual routers of a node: who gets a packet, who goes with whom, what tracking amounts to.
//!
//! Each input names what happened to the node; the orders that come back name the router and are
//! done in their order. Groups are in `group`: all members are active together or not at all.

mod group;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
    time::{Duration, Instant},
};

use highgate_config::Drains;

use crate::{
    advert::{self, Envelope, Mismatch, Refusal, Word},
    machine::{Effect, Input, Link, Need, Router, State},
    settings::{Plan, Settings},
    status::Status,
    track::{self, Reading, Script, Subject},
};

/// One thing to do for one router.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// The router's name.
    pub router: Arc<str>,
    /// What to do.
    pub effect: Effect,
}

/// An interface as the kernel tells it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Interface {
    /// Whether it is there.
    pub exists: bool,
    /// Whether it is up, with a carrier.
    pub is_up: bool,
    /// Its first IPv4 address that no router here moves.
    pub v4: Option<Ipv4Addr>,
    /// Its first link-local IPv6 address.
    pub v6: Option<Ipv6Addr>,
}

/// Why a process can't serve that has not begun to, or has ended to.
pub const DOES_NOT_SERVE: &str = "this process does not serve yet, or drains";

/// The routers of one node.
#[derive(Debug)]
pub struct Routers {
    plan: Plan,
    routers: BTreeMap<Arc<str>, Router>,
    scripts: BTreeMap<String, Script>,
    readings: BTreeMap<Subject, Reading>,
    interfaces: BTreeMap<String, Interface>,
    serving: Option<Result<(), String>>,
    drains: Drains,
    silence: Option<String>,
    is_started: bool,
    unclaimed: u64,
}

impl Routers {
    /// The routers of a plan; they do nothing before [`Routers::start`].
    #[must_use]
    pub fn new(plan: Plan, now: Instant) -> Self {
        let mut routers = Self {
            plan: Plan::default(),
            routers: BTreeMap::new(),
            scripts: BTreeMap::new(),
            readings: BTreeMap::new(),
            interfaces: BTreeMap::new(),
            serving: None,
            drains: Drains::default(),
            silence: None,
            is_started: false,
            unclaimed: 0,
        };
        let orders = routers.apply(plan, now);
        debug_assert!(orders.is_empty(), "who is not started does nothing");
        routers
    }

    /// Lets all take part as soon as they may.
    pub fn start(&mut self, now: Instant) -> Vec<Order> {
        self.is_started = true;
        self.each(|_| Some(Input::Start), now)
    }

    /// Gives everything away and says so.
    pub fn stop(&mut self, now: Instant) -> Vec<Order> {
        self.is_started = false;
        self.each(|_| Some(Input::Stop), now)
    }

    /// A packet of protocol 112 came on an interface. All that wait go in before [`Self::timer`].
    pub fn packet(
        &mut self,
        interface: &str,
        payload: &[u8],
        envelope: &Envelope,
        now: Instant,
    ) -> Vec<Order> {
        let advert = Word::unwrap(payload).map_or(payload, |(_, advert)| advert);
        let vrid = advert.get(1).copied();
        let is_v4 = envelope.source.is_ipv4();
        let mut here = self.routers.iter().filter(|(_, router)| {
            let settings = router.settings();
            settings.interface == interface && settings.is_v4() == is_v4
        });
        let found = here.find(|(_, router)| Some(router.settings().vrid) == vrid);
        let mut orders = Vec::new();
        if let Some((name, _)) = found {
            let name = Arc::clone(name);
            let input = Input::Packet { payload: payload.to_vec(), envelope: *envelope };
            self.step(&name, input, now, &mut orders);
        } else {
            self.foreign(interface, payload, envelope, now, &mut orders);
        }
        orders
    }

    /// What the kernel says of an interface, for the first time or because it changed.
    pub fn interface(&mut self, name: &str, interface: Interface, now: Instant) -> Vec<Order> {
        self.interfaces.insert(name.to_owned(), interface);
        let reading =
            if interface.exists && interface.is_up { Reading::Good } else { Reading::Bad };
        let mut orders = self.each(
            |router| {
                let settings = router.settings();
                (settings.interface == name).then(|| Input::Link(interface.link(settings)))
            },
            now,
        );
        orders.extend(self.read(Subject::Interface(name.to_owned()), reading, now));
        orders
    }

    /// Whether this process can serve, and if not, why. One that has not begun to is waited for: it has
    /// lost nothing, and nobody is to be told of a fault.
    pub fn serving(&mut self, serving: Result<(), String>, now: Instant) -> Vec<Order> {
        if self.serving.is_none() && serving.as_ref().is_err_and(|why| why == DOES_NOT_SERVE) {
            return Vec::new();
        }
        self.serving = Some(serving.clone());
        let input = match serving {
            Ok(()) => Input::Met(Need::Serving),
            Err(why) => Input::Unmet(Need::Serving, why),
        };
        self.each(|router| router.settings().follows_serving.then(|| input.clone()), now)
    }

    /// An operator takes a router out, or all of them without a name; `None` lets it back in.
    pub fn drain(&mut self, name: Option<&str>, why: Option<&str>, now: Instant) -> Vec<Order> {
        self.drains.say(name, why);
        self.tell_leave(now)
    }

    /// All that operators took out, in place of what was said before.
    pub fn take_out(&mut self, drains: Drains, now: Instant) -> Vec<Order> {
        self.drains = drains;
        self.tell_leave(now)
    }

    /// Whoever could give leave does not answer, and why it is taken for granted then that all are
    /// out; `None` once it answers again.
    pub fn silence(&mut self, why: Option<String>, now: Instant) -> Vec<Order> {
        self.silence = why;
        self.tell_leave(now)
    }

    fn tell_leave(&mut self, now: Instant) -> Vec<Order> {
        let mut orders = Vec::new();
        for name in self.names() {
            self.step(&name, self.leave(&name), now, &mut orders);
        }
        orders
    }

    fn leave(&self, name: &str) -> Input {
        let why = self.silence.as_deref().or_else(|| self.drains.why(name));
        why.map_or(Input::Met(Need::Leave), |why| Input::Unmet(Need::Leave, why.to_owned()))
    }

    /// A run of a script ended.
    pub fn script(&mut self, name: &str, success: bool, now: Instant) -> Vec<Order> {
        let Some(script) = self.scripts.get_mut(name) else { return Vec::new() };
        if !script.take(success) {
            return Vec::new();
        }
        let reading = script.reading();
        let subject = Subject::Script(name.to_owned());
        reading.map(|reading| self.read(subject, reading, now)).unwrap_or_default()
    }

    /// Something that is tracked was looked at.
    pub fn read(&mut self, subject: Subject, reading: Reading, now: Instant) -> Vec<Order> {
        if self.readings.insert(subject, reading) == Some(reading) {
            return Vec::new();
        }
        let mut orders = Vec::new();
        for name in self.names() {
            self.track(&name, now, &mut orders);
        }
        orders
    }

    /// The driver could not do something that a router needs, or can again.
    pub fn trouble(
        &mut self,
        router: &str,
        need: Need,
        why: Option<String>,
        now: Instant,
    ) -> Vec<Order> {
        let mut orders = Vec::new();
        let input = why.map_or(Input::Met(need), |why| Input::Unmet(need, why));
        self.step(router, input, now, &mut orders);
        orders
    }

    /// [`Self::next_deadline`] came.
    pub fn timer(&mut self, now: Instant) -> Vec<Order> {
        let is_due = |router: &Router| router.next_deadline().is_some_and(|at| at <= now);
        self.each(|router| is_due(router).then_some(Input::Timer), now)
    }

    /// The same for those that are active: the others have packets to read before they look at time.
    pub fn timer_of_active(&mut self, now: Instant) -> Vec<Order> {
        let is_due = |router: &Router| router.next_deadline().is_some_and(|at| at <= now);
        let is_meant = |router: &Router| router.state() == State::Active && is_due(router);
        self.each(|router| is_meant(router).then_some(Input::Timer), now)
    }

    /// This node did not run for so long until now: to be told after the packets that came meanwhile.
    pub fn slept(&mut self, time: Duration, now: Instant) -> Vec<Order> {
        self.each(|_| Some(Input::Slept(time)), now)
    }

    /// The connections to a router's addresses have ended, as it was asked for.
    pub fn yielded(&mut self, router: &str, now: Instant) -> Vec<Order> {
        let mut orders = Vec::new();
        self.step(router, Input::Yielded, now, &mut orders);
        orders
    }

    /// Stops the routers that a plan no longer has, or has on another interface or under another
    /// number: to be carried out under their old settings, before [`Self::apply`].
    pub fn retire(&mut self, plan: &Plan, now: Instant) -> Vec<Order> {
        let mut orders = Vec::new();
        for name in self.names() {
            let kept = plan
                .routers
                .iter()
                .any(|new| self.routers.get(&name).is_some_and(|old| is_same(old.settings(), new)));
            if !kept {
                self.step(&name, Input::Stop, now, &mut orders);
                self.routers.remove(&name);
            }
        }
        orders
    }

    /// Other settings: routers that are in both plans keep their state and their addresses.
    pub fn apply(&mut self, plan: Plan, now: Instant) -> Vec<Order> {
        let mut orders = self.retire(&plan, now);
        self.adopt_scripts(&plan);
        self.plan = plan;
        let (mut all, mut moved) = (Vec::new(), Vec::new());
        for settings in self.plan.routers.clone() {
            let name: Arc<str> = settings.name.as_str().into();
            let grouped = self.is_grouped(&name);
            let is_new = !self.routers.contains_key(&name);
            let router = self
                .routers
                .entry(Arc::clone(&name))
                .or_insert_with(|| Router::new(settings.clone(), now));
            router.join_group(grouped);
            if !is_new {
                let input = Input::Settings(Box::new(settings));
                self.step_alone(&name, input, now, &mut moved);
            }
            all.push((name, is_new));
        }
        // An address that moves from one router to another leaves the one before the other takes it.
        let leaves = |order: &Order| matches!(order.effect, Effect::RemoveAddresses(_));
        let (gone, rest): (Vec<_>, Vec<_>) = moved.into_iter().partition(leaves);
        orders.extend(gone.into_iter().chain(rest));
        for (name, is_new) in all {
            self.brief(&name, is_new, now, &mut orders);
        }
        orders
    }

    /// When [`Self::timer`] is wanted.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        self.routers.values().filter_map(Router::next_deadline).min()
    }

    /// The plan in force.
    #[must_use]
    pub const fn plan(&self) -> &Plan {
        &self.plan
    }

    /// What a router is; `None` if there is none of that name.
    #[must_use]
    pub fn state(&self, router: &str) -> Option<State> {
        self.routers.get(router).map(Router::state)
    }

    /// A router's rank with what tracking adds; `None` if there is none of that name.
    #[must_use]
    pub fn priority(&self, router: &str) -> Option<u8> {
        self.routers.get(router).map(Router::priority)
    }

    /// What is shown of all of them, by name.
    #[must_use]
    pub fn status(&self, now: Instant) -> Vec<Status> {
        self.routers.values().map(|router| router.status(now)).collect()
    }

    /// How many packets came that no router here is meant by.
    #[must_use]
    pub const fn unclaimed(&self) -> u64 {
        self.unclaimed
    }

    /// Puts a bug back into all routers, for simulations that must find it.
    #[cfg(test)]
    pub(crate) fn plant(&mut self, bug: crate::testing::Bug) {
        self.routers.values_mut().for_each(|router| router.plant(bug));
    }

    /// Tells a router all that it has missed.
    fn brief(&mut self, name: &str, is_new: bool, now: Instant, orders: &mut Vec<Order>) {
        let Some(router) = self.routers.get(name) else { return };
        let settings = router.settings();
        let mut inputs = Vec::new();
        if let Some(interface) = self.interfaces.get(&settings.interface) {
            inputs.push(Input::Link(interface.link(settings)));
        }
        inputs.push(match &self.serving {
            _ if !settings.follows_serving => Input::Met(Need::Serving),
            None => Input::Pending(Need::Serving),
            Some(Ok(())) => Input::Met(Need::Serving),
            Some(Err(why)) => Input::Unmet(Need::Serving, why.clone()),
        });
        inputs.push(self.leave(name));
        let is_alone = !self.is_grouped(name);
        if is_alone {
            inputs.push(Input::Met(Need::Group));
        }
        for input in inputs {
            self.step(name, input, now, orders);
        }
        self.track(name, now, orders);
        if is_alone {
            // It may have waited for nothing but its group.
            self.step(name, Input::Promote, now, orders);
        }
        if is_new && self.is_started {
            self.step(name, Input::Start, now, orders);
        }
    }

    fn adopt_scripts(&mut self, plan: &Plan) {
        self.scripts.retain(|name, _| plan.scripts.contains_key(name));
        for (name, settings) in &plan.scripts {
            let script = self.scripts.entry(name.clone()).or_insert_with(|| Script::new(settings));
            if self.plan.scripts.get(name) != Some(settings) {
                script.adopt(settings);
            }
            let subject = Subject::Script(name.clone());
            match script.reading() {
                Some(reading) => self.readings.insert(subject, reading),
                None => self.readings.remove(&subject),
            };
        }
    }

    /// Tells a router what all that it tracks amounts to.
    fn track(&mut self, name: &str, now: Instant, orders: &mut Vec<Order>) {
        let Some(router) = self.routers.get(name) else { return };
        let mut tracked = router.settings().tracked.clone();
        let groups = self.plan.groups.values();
        let mine = groups.filter(|group| group.members.iter().any(|member| member == name));
        tracked.extend(mine.flat_map(|group| group.tracked.iter().cloned()));
        let sum = track::sum(&tracked, &self.readings);
        self.step(name, Input::Weight(sum.weight), now, orders);
        let input = match sum.fault {
            Some(why) => Input::Unmet(Need::Tracking, why),
            None if sum.is_pending => Input::Pending(Need::Tracking),
            None => Input::Met(Need::Tracking),
        };
        self.step(name, input, now, orders);
    }

    /// A packet whose number no router here has: is it for addresses of ours?
    fn foreign(
        &mut self,
        interface: &str,
        payload: &[u8],
        envelope: &Envelope,
        now: Instant,
        orders: &mut Vec<Order>,
    ) {
        self.unclaimed += 1;
        let is_own = |address: IpAddr| {
            self.interfaces.get(interface).is_some_and(|found| match address {
                IpAddr::V4(address) => found.v4 == Some(address),
                IpAddr::V6(address) => found.v6 == Some(address),
            })
        };
        if is_own(envelope.source) {
            return;
        }
        let Ok(heard) = advert::decode(payload, envelope) else { return };
        let claimed = self.routers.iter_mut().find(|(_, router)| {
            let settings = router.settings();
            settings.interface == interface
                && settings
                    .addresses
                    .iter()
                    .any(|own| heard.advert.addresses.contains(&own.address))
        });
        if let Some((name, router)) = claimed {
            let expected = router.settings().vrid;
            let mismatch = Mismatch::RouterId { expected, received: heard.advert.vrid };
            let mut effects = Vec::new();
            router.refuse(&Refusal::Mismatch(mismatch), envelope.source, now, &mut effects);
            orders.extend(
                effects.into_iter().map(|effect| Order { router: Arc::clone(name), effect }),
            );
        }
    }

    fn is_grouped(&self, name: &str) -> bool {
        let mut groups = self.plan.groups.values();
        groups.any(|group| group.members.iter().any(|member| member == name))
    }

    fn names(&self) -> Vec<Arc<str>> {
        self.routers.keys().cloned().collect()
    }

    fn each(
        &mut self,
        mut input: impl FnMut(&Router) -> Option<Input>,
        now: Instant,
    ) -> Vec<Order> {
        let mut orders = Vec::new();
        for name in self.names() {
            if let Some(input) = self.routers.get(&name).and_then(&mut input) {
                self.step(&name, input, now, &mut orders);
            }
        }
        orders
    }

    /// One step of one router, and what follows from it for its group.
    fn step(&mut self, name: &str, input: Input, now: Instant, orders: &mut Vec<Order>) {
        let before = self.state(name);
        self.step_alone(name, input, now, orders);
        self.follow(name, before, now, orders);
    }

    fn step_alone(&mut self, name: &str, input: Input, now: Instant, orders: &mut Vec<Order>) {
        let Some((name, router)) =
            self.routers.get_key_value(name).map(|(name, _)| Arc::clone(name)).and_then(|name| {
                let router = self.routers.get_mut(&name)?;
                Some((name, router))
            })
        else {
            return;
        };
        let effects = router.step(input, now);
        orders
            .extend(effects.into_iter().map(|effect| Order { router: Arc::clone(&name), effect }));
    }
}

impl Interface {
    fn link(&self, settings: &Settings) -> Link {
        let source =
            if settings.is_v4() { self.v4.map(IpAddr::V4) } else { self.v6.map(IpAddr::V6) };
        match (self.exists, self.is_up) {
            (false, _) => Link::Absent,
            (true, false) => Link::Down { source },
            (true, true) => Link::Up { source },
        }
    }
}

/// Whether a router of the old plan goes on as one of the new.
fn is_same(old: &Settings, new: &Settings) -> bool {
    old.name == new.name
        && old.interface == new.interface
        && old.vrid == new.vrid
        && old.is_v4() == new.is_v4()
        && old.virtual_mac == new.virtual_mac
}
