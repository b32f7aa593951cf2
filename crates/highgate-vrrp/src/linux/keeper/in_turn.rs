//! The order in which orders are carried out: one after the other as they were given, and what one of
//! them leads to, as when it fails, after all of them. So the last thing done for a router, and the
//! last thing told of it, is what its last state wants.

use std::collections::VecDeque;

use crate::{
    machine::{Effect, State},
    routers::Order,
};

/// Carries out orders with `one`, which gives the orders that follow from one. Those that lost their
/// sense meanwhile are left out.
pub(super) fn in_turn<C>(
    who: &mut C,
    orders: Vec<Order>,
    state: impl Fn(&C, &str) -> Option<State>,
    mut one: impl FnMut(&mut C, Order) -> Vec<Order>,
) {
    let mut waiting = VecDeque::from(orders);
    while let Some(order) = waiting.pop_front() {
        if !is_void(&order.effect, state(who, &order.router)) {
            waiting.extend(one(who, order));
        }
    }
}

/// Whether an order has lost its sense since its router is not active any more: the address is never
/// held, nor announced, by one that is not. That it is removed waits further behind, and finds nothing.
fn is_void(effect: &Effect, state: Option<State>) -> bool {
    let is_for_active = matches!(effect, Effect::AddAddresses(_) | Effect::Announce { .. });
    is_for_active && state != Some(State::Active)
}

#[cfg(test)]
mod tests {
    use std::{
        collections::BTreeSet,
        net::{IpAddr, Ipv4Addr},
        time::Instant,
    };

    use super::{
        super::troubles::{Cause, Troubles},
        *,
    };
    use crate::{
        advert::Version,
        routers::{Interface, Routers},
        settings::{Plan, Settings},
        testing::{self, ms, word},
    };

    /// A node whose packets or addresses fail, as the machine meets it.
    struct Node {
        routers: Routers,
        now: Instant,
        fails: &'static str,
        troubles: Troubles,
        held: BTreeSet<IpAddr>,
        done: Vec<String>,
    }

    impl Node {
        /// A backup for which that fails.
        fn backup(settings: Settings, fails: &'static str) -> Self {
            let now = Instant::now();
            let plan = Plan { routers: vec![settings], ..Plan::default() };
            let routers = Routers::new(plan, now);
            let (troubles, held, done) = Default::default();
            let mut node = Self { routers, now, fails, troubles, held, done };
            let v4 = Some(Ipv4Addr::new(10, 0, 0, 5));
            let up = Interface { exists: true, is_up: true, v4, v6: None };
            let orders = node.routers.interface("eth0", up, now);
            node.carry_out(orders);
            let orders = node.routers.start(now);
            node.carry_out(orders);
            node
        }

        /// Its time ends.
        fn hears_nobody(&mut self) {
            self.done.clear();
            self.now = self.routers.next_deadline().unwrap();
            let orders = self.routers.timer(self.now);
            self.carry_out(orders);
        }

        /// Time passes; what failed is tried again once a second, if it is due.
        fn pass(&mut self, seconds: u64) {
            for _ in 0..seconds * 10 {
                self.now += ms(100);
                let orders = self.routers.timer(self.now);
                self.carry_out(orders);
                for (router, (need, why)) in self.troubles.due(self.now) {
                    let orders = self.routers.trouble(&router, need, why, self.now);
                    self.carry_out(orders);
                }
            }
        }

        fn state(&self) -> Option<State> {
            self.routers.state("VI_1")
        }

        fn carry_out(&mut self, orders: Vec<Order>) {
            in_turn(self, orders, |node, name| node.routers.state(name), Self::one);
        }

        fn one(&mut self, order: Order) -> Vec<Order> {
            let word = word(&order.effect);
            if !word.starts_with("event") {
                self.done.push(word.clone());
            }
            if word.starts_with(self.fails) {
                let news = self.troubles.failed(&order.router, Cause::Refused, "no", self.now);
                let Some((need, why)) = news else { return Vec::new() };
                return self.routers.trouble(&order.router, need, why, self.now);
            }
            match order.effect {
                Effect::AddAddresses(all) => self.held.extend(all.iter().map(|one| one.address)),
                Effect::RemoveAddresses(all) => {
                    self.held.retain(|held| all.iter().all(|one| one.address != *held));
                }
                _ => {}
            }
            Vec::new()
        }
    }

    fn settings() -> Settings {
        testing::settings(Version::V2, true)
    }

    #[test]
    fn who_cannot_say_that_it_takes_the_address_does_not_hold_it() {
        let mut node = Node::backup(settings(), "send");
        node.hears_nobody();
        assert_eq!((node.state(), node.held.len()), (Some(State::Fault), 0), "{:?}", node.done);
        let done = ["send 100", "notify MASTER", "remove", "send 0", "notify FAULT"];
        assert_eq!(node.done, done);
    }

    #[test]
    fn an_owner_that_cannot_say_so_does_not_hold_the_address() {
        let node = Node::backup(Settings { priority: 255, ..settings() }, "send");
        assert_eq!((node.state(), node.held.len()), (Some(State::Fault), 0), "{:?}", node.done);
        assert_eq!(node.done.last().map(String::as_str), Some("notify FAULT"));
    }

    #[test]
    fn who_cannot_set_the_address_is_told_of_as_active_and_then_as_failed() {
        let mut node = Node::backup(settings(), "add");
        node.hears_nobody();
        assert_eq!((node.state(), node.held.len()), (Some(State::Fault), 0), "{:?}", node.done);
        let done = ["send 100", "add", "notify MASTER", "remove", "send 0", "notify FAULT"];
        assert_eq!(node.done, done, "and nothing is announced");
    }

    #[test]
    fn who_fails_for_an_hour_takes_the_address_a_few_times_alone() {
        for fails in ["send", "add"] {
            let mut node = Node::backup(settings(), fails);
            node.pass(3_600);
            let taken = node.done.iter().filter(|done| *done == "notify MASTER").count();
            assert!((10..30).contains(&taken), "{fails}: {taken}");
            assert_eq!(node.held.len(), 0);
        }
    }

    #[test]
    fn without_a_failure_all_is_done_as_ordered() {
        let mut node = Node::backup(settings(), "nothing");
        node.hears_nobody();
        assert_eq!((node.state(), node.held.len()), (Some(State::Active), 1));
        assert_eq!(node.done, ["send 100", "add", "announce 5", "notify MASTER"]);
    }
}
