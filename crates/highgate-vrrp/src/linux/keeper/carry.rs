//! Carries out the orders of routers, and tells them what could not be done.

use std::{io, net::IpAddr, sync::Arc, time::Instant};

use super::{
    Keeper,
    in_turn::in_turn,
    reach::Verdict,
    troubles::{Cause, Word},
};
use crate::{
    event::{Event, Kind, Severity},
    linux::{
        hands::{Done, Job, Made},
        messages::FromKeeper,
        will::Will,
    },
    machine::{Effect, Sending, State},
    routers::Order,
    settings::Settings,
};

impl Keeper {
    /// Does what is ordered, in its order.
    pub(super) fn carry_out(&mut self, orders: Vec<Order>, now: Instant) {
        if orders.is_empty() {
            return;
        }
        let moves = |order: &Order| {
            matches!(order.effect, Effect::AddAddresses(_) | Effect::RemoveAddresses(_))
        };
        let mut some_move = false;
        self.intend(&orders);
        let state = |keeper: &Self, router: &str| keeper.routers.state(router);
        in_turn(self, orders, state, |keeper, order| {
            some_move |= moves(&order);
            keeper.one(order, now)
        });
        if some_move {
            self.keep_routes();
        }
        self.bequeath();
        self.lifetimes.holds(self.deeds.holds_any(), now);
    }

    /// Tells the watcher of all addresses that are about to be set, before they are there: whoever kills
    /// this one in between leaves no address behind.
    fn intend(&mut self, orders: &[Order]) {
        for Order { router, effect } in orders {
            let is_active = self.routers.state(router) == Some(State::Active);
            if let Effect::AddAddresses(addresses) = effect
                && is_active
                && let Some(holder) = self.holder(router)
            {
                self.deeds.intend(router, &holder, addresses);
            }
        }
        self.bequeath();
    }

    fn holder(&self, router: &str) -> Option<String> {
        let mut all = self.task.plan.routers.iter();
        all.find(|settings| settings.name == router).map(Settings::holder)
    }

    /// Carries out one order. Gives those that follow from it.
    fn one(&mut self, order: Order, now: Instant) -> Vec<Order> {
        let Order { router, effect } = order;
        let router = &router;
        let Some(settings) = self.settings(router) else { return Vec::new() };
        match effect {
            Effect::Send(sending) => return self.say(router, &settings, &sending, now),
            Effect::AddAddresses(addresses) => {
                // What follows from another order was not intended yet.
                if self.deeds.intend(router, &settings.holder(), &addresses) {
                    self.bequeath();
                }
                let ordered = self.deeds.take(router, &settings.holder(), &addresses);
                if let Err(error) = ordered {
                    return self.failed(router, Cause::Refused, &error, now);
                }
            }
            Effect::RemoveAddresses(addresses) => {
                for address in self.deeds.give(router, &addresses) {
                    let text = format!(
                        "{address} stays on this node, since it was there before: whoever takes it \
                         over is not alone with it"
                    );
                    self.tell(Some(router), Event::new(Severity::Warning, Kind::Need, text));
                }
            }
            Effect::Announce { copies } => {
                self.deeds.announce(router, copies, settings.announce.pause, now);
            }
            Effect::Yield => {
                let addresses = self.goes_with(router);
                self.control.send(&FromKeeper::Yield { router: router.to_string(), addresses });
            }
            Effect::Notify(notice) => {
                self.is_news = true;
                self.notify(router, notice);
            }
            Effect::Event(event) => {
                self.is_news = true;
                match event.kind {
                    Kind::Stall => {
                        let repeated = self.deeds.pacers.repeated(router);
                        self.stalls.note(router, event, repeated);
                    }
                    _ => self.tell(Some(router), event),
                }
            }
        }
        Vec::new()
    }

    /// Sends an advert. Gives the orders that follow where that fails.
    fn say(
        &mut self,
        router: &Arc<str>,
        settings: &Settings,
        sending: &Sending,
        now: Instant,
    ) -> Vec<Order> {
        let is_active = self.routers.state(router) == Some(State::Active);
        let sent = self.deeds.say(router, settings, sending, is_active);
        let Some(sent) = sent else { return Vec::new() };
        // For who is out already it changes nothing that a last word is lost.
        if !matches!(self.routers.state(router), Some(State::Active | State::Backup)) {
            return Vec::new();
        }
        match self.reach.said(router, settings, sending.destination, sent) {
            Verdict::Mute(error) => return self.failed(router, Cause::Mute, &error, now),
            Verdict::Told(event) => self.tell(Some(router), event),
            Verdict::Nothing => {}
        }
        Vec::new()
    }

    /// Has routes and rules there where a router is active, and nowhere else.
    pub(super) fn keep_routes(&self) {
        let all = &self.task.plan.routers;
        let has_some = |it: &Settings| !it.routes.is_empty() || !it.rules.is_empty();
        if !self.deeds.has_routes() && !all.iter().any(has_some) {
            return;
        }
        let is_active = |it: &Settings| self.routers.state(&it.name) == Some(State::Active);
        let routers = all.iter().map(|it| (it.clone(), is_active(it))).collect();
        self.deeds.hands.order(Job::Routes(routers));
    }

    /// Tells of routes and rules.
    fn routed(&mut self, told: Vec<(Arc<str>, Result<String, String>)>) {
        for (router, news) in told {
            let (severity, text) = match news {
                Ok(text) => (Severity::Info, text),
                Err(text) => (Severity::Error, text),
            };
            self.tell(Some(&router), Event::new(severity, Kind::Need, text));
        }
    }

    pub(super) fn settings(&self, router: &str) -> Option<Settings> {
        self.task.plan.routers.iter().find(|settings| settings.name == router).cloned()
    }

    /// The addresses that go when a router's do: its own, and those of its groups.
    fn goes_with(&self, router: &str) -> Vec<IpAddr> {
        let plan = &self.task.plan;
        let is_in = |members: &[String], name: &str| members.iter().any(|member| member == name);
        let together = |other: &str| {
            let mut groups = plan.groups.values();
            groups.any(|group| is_in(&group.members, router) && is_in(&group.members, other))
        };
        let gone = plan.routers.iter().filter(|it| it.name == router || together(&it.name));
        gone.flat_map(|settings| settings.addresses.iter().map(|moved| moved.address)).collect()
    }

    /// Tells a router that something it needs failed. Gives what follows.
    fn failed(
        &mut self,
        router: &Arc<str>,
        cause: Cause,
        error: &io::Error,
        now: Instant,
    ) -> Vec<Order> {
        let news = self.troubles.failed(router, cause, &error.to_string(), now);
        self.follows(router, news, now)
    }

    /// The same, or that nothing failed, where no orders are being carried out.
    pub(super) fn found(
        &mut self,
        router: &Arc<str>,
        cause: Cause,
        done: io::Result<()>,
        now: Instant,
    ) {
        let news = match done {
            Ok(()) => self.troubles.ended(router, cause),
            Err(error) => self.troubles.failed(router, cause, &error.to_string(), now),
        };
        let orders = self.follows(router, news, now);
        self.carry_out(orders, now);
    }

    fn follows(&mut self, router: &str, news: Option<Word>, now: Instant) -> Vec<Order> {
        let orders = news.map(|(need, why)| self.routers.trouble(router, need, why, now));
        orders.unwrap_or_default()
    }

    /// Has tried again what failed, where it is time for that.
    pub(super) fn try_again(&mut self, now: Instant) {
        self.try_due(now);
        if self.troubles.wants_look() {
            self.look_at_links();
        }
    }

    pub(super) fn try_due(&mut self, now: Instant) {
        for (router, word) in self.troubles.due(now) {
            let orders = self.follows(&router, Some(word), now);
            self.carry_out(orders, now);
        }
    }

    /// Has all links looked at, and what interfaces and sockets are missing made.
    pub(super) fn look_at_links(&mut self) {
        self.deeds.look(&self.task.plan.routers);
    }

    /// Hears what came of orders.
    pub(super) fn hear_done(&mut self, all: Vec<Done>, now: Instant) {
        let is_any = !all.is_empty();
        for done in all {
            match done {
                Done::Cleared(found) => found.iter().for_each(|found| {
                    let text =
                        format!("{found} was left behind by a process before, and is removed");
                    self.tell(None, Event::new(Severity::Warning, Kind::Settings, text));
                }),
                Done::Looked(looked) => self.looked(*looked, now),
                Done::Taken { number, result } => {
                    if let Some(router) = self.deeds.taken(number, now)
                        && let Err(error) = result
                    {
                        let orders = self.failed(&router, Cause::Refused, &error, now);
                        self.carry_out(orders, now);
                    }
                }
                Done::Given { number, result } => {
                    if let Some(router) = self.deeds.given(number)
                        && let Err(error) = result
                    {
                        self.complain(format!("{router}: {error}; it goes when its lifetime ends"));
                    }
                }
                Done::Refreshed { failed, made } => self.refreshed(&failed, made, now),
                Done::Routed { told, all } => {
                    self.deeds.routed(all);
                    self.routed(told);
                }
                Done::Failed(text) => {
                    self.complain(text);
                    if self.deeds.end_of_look() {
                        self.look_at_links();
                    }
                }
            }
        }
        if is_any {
            self.advance(now);
            self.bequeath();
            self.lifetimes.holds(self.deeds.holds_any(), now);
        }
    }

    /// The addresses that are held live on, but for those that failed.
    fn refreshed(&mut self, failed: &[(Arc<str>, io::Error)], made: Option<Made>, now: Instant) {
        if let Some(text) = self.lifetimes.refreshed(now) {
            self.tell(None, Event::new(Severity::Info, Kind::Stall, text));
        }
        if std::mem::take(&mut self.deeds.is_unkept) {
            for settings in self.task.plan.routers.clone() {
                self.found(&settings.name.into(), Cause::Unkept, Ok(()), now);
            }
        }
        if let Some(mut made) = made {
            self.deeds.made(&mut made);
            if self.made(made.new, now) {
                self.look_at_links();
            }
        }
        for (router, error) in failed {
            let orders = self.failed(router, Cause::Refused, error, now);
            self.carry_out(orders, now);
        }
        self.keep_routes();
    }

    /// Nobody keeps the addresses there any more, so that the kernel removes them: whoever holds some
    /// gives them away. It is said at once, since the thread that would say it after does nothing.
    pub(super) fn let_go(&mut self, why: &str, now: Instant) {
        self.deeds.is_unkept = true;
        for router in self.deeds.alive() {
            let error = io::Error::new(io::ErrorKind::TimedOut, why);
            self.found(&router, Cause::Unkept, Err(error), now);
        }
    }

    /// Tells the watcher what is to be done if this process dies.
    pub(super) fn bequeath(&mut self) {
        let is_filtered = self.closing.may_close();
        let is_news = self.deeds.has_new_will() || self.will.is_filtered != is_filtered;
        let Some(watcher) = &mut self.watcher else { return };
        if !is_news && self.is_bequeathed {
            return;
        }
        let will = Will { is_filtered, ..self.deeds.will() };
        if self.will != will || !self.is_bequeathed {
            // One that was lost is said again with the next that happens, each second at least.
            self.is_bequeathed = watcher.send(&will);
        }
        self.will = will;
    }
}
