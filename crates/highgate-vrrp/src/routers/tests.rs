use super::*;
use crate::{
    advert::{Advert, Version},
    event::Kind,
    settings::Group,
    testing::{ms, node, settings, word},
    track::{ScriptSettings, Tracked},
};

/// Routers of one node, on a fake clock.
struct Node {
    routers: Routers,
    now: Instant,
    orders: Vec<Order>,
}

fn router(name: &str, vrid: u8) -> Settings {
    let mut settings = settings(Version::V2, true);
    settings.name = name.to_owned();
    settings.vrid = vrid;
    settings.addresses[0].address = node(vrid, true);
    settings
}

fn plan(routers: Vec<Settings>) -> Plan {
    Plan { routers, ..Plan::default() }
}

/// Two routers of one group, on interfaces of their own.
fn grouped() -> Plan {
    let mut second = router("b", 52);
    second.interface = "eth1".to_owned();
    let group = Group { members: vec!["a".to_owned(), "b".to_owned()], tracked: Vec::new() };
    Plan { groups: [("g".to_owned(), group)].into(), ..plan(vec![router("a", 51), second]) }
}

fn script(name: &str) -> ScriptSettings {
    ScriptSettings {
        command: vec![name.to_owned()],
        interval: ms(1_000),
        timeout: ms(1_000),
        rise: 1,
        fall: 1,
        starts_failed: false,
        user: None,
        group: None,
    }
}

const UP: Interface =
    Interface { exists: true, is_up: true, v4: Some(Ipv4Addr::new(10, 0, 0, 5)), v6: None };
const DOWN: Interface = Interface { is_up: false, ..UP };

impl Node {
    fn started(plan: Plan) -> Self {
        let now = Instant::now();
        let mut node = Self { routers: Routers::new(plan, now), now, orders: Vec::new() };
        for interface in ["eth0", "eth1"] {
            node.orders.extend(node.routers.interface(interface, UP, now));
        }
        node.orders.extend(node.routers.start(now));
        node.did();
        node
    }

    fn active(plan: Plan) -> Self {
        let mut node = Self::started(plan);
        node.pass(10_000);
        node.did();
        node
    }

    fn pass(&mut self, millis: u64) {
        let end = self.now + ms(millis);
        while let Some(at) = self.routers.next_deadline().filter(|at| *at <= end) {
            self.now = at.max(self.now);
            self.orders.extend(self.routers.timer(self.now));
        }
        self.now = end;
    }

    fn hear(&mut self, name: &str, priority: u8, from: u8) {
        let settings = self.settings(name);
        self.hear_as(&settings, priority, from);
    }

    fn hear_as(&mut self, settings: &Settings, priority: u8, from: u8) {
        let advert = Advert {
            version: settings.version,
            vrid: settings.vrid,
            priority,
            interval: settings.interval,
            auth: settings.auth(),
            addresses: settings.advertised(),
        };
        let envelope =
            Envelope { source: node(from, true), destination: advert::group(true), ttl: 255 };
        let payload = advert.encode(envelope.source, envelope.destination);
        let orders = self.routers.packet(&settings.interface, &payload, &envelope, self.now);
        self.orders.extend(orders);
    }

    fn settings(&self, name: &str) -> Settings {
        let all = &self.routers.plan().routers;
        all.iter().find(|settings| settings.name == name).unwrap().clone()
    }

    /// What was ordered since the last question, events and announcements aside.
    fn did(&mut self) -> Vec<String> {
        let orders = std::mem::take(&mut self.orders);
        let orders = orders
            .iter()
            .filter(|order| !matches!(order.effect, Effect::Event(_) | Effect::Announce { .. }));
        orders.map(|order| format!("{} {}", order.router, word(&order.effect))).collect()
    }

    fn told(&mut self, kind: Kind) -> Vec<String> {
        let orders = std::mem::take(&mut self.orders).into_iter();
        let of_kind = orders.filter_map(|order| match order.effect {
            Effect::Event(event) if event.kind == kind => {
                Some(format!("{}: {}", order.router, event.text))
            }
            _ => None,
        });
        of_kind.collect()
    }

    fn states(&self) -> Vec<State> {
        self.routers.status(self.now).iter().map(|status| status.state).collect()
    }

    fn why(&self, name: &str) -> String {
        let status = self.routers.status(self.now);
        status.into_iter().find(|status| status.name == name).unwrap().why
    }
}

#[test]
fn a_packet_reaches_the_router_of_its_interface_and_number_alone() {
    let mut elsewhere = router("c", 51);
    elsewhere.interface = "eth1".to_owned();
    let mut node = Node::active(plan(vec![router("a", 51), router("b", 52), elsewhere]));
    node.hear("a", 200, 9);
    assert_eq!(node.states(), [State::Backup, State::Active, State::Active]);
}

#[test]
fn another_number_for_addresses_of_ours_is_told() {
    let mut node = Node::active(plan(vec![router("a", 51)]));
    let mut foreign = router("a", 51);
    foreign.vrid = 50;
    node.hear_as(&foreign, 100, 9);
    assert_eq!(
        node.told(Kind::AdvertRefused),
        ["a: advert of 10.0.0.9 refused: its router id is 50, expected 51; the two nodes do not \
          hear each other, so both may be active"]
    );
}

#[test]
fn another_number_for_other_addresses_is_none_of_ours() {
    let mut node = Node::active(plan(vec![router("a", 51)]));
    node.hear_as(&router("x", 77), 100, 9);
    assert_eq!(node.told(Kind::AdvertRefused), Vec::<String>::new());
    assert_eq!(node.routers.unclaimed(), 1);
}

#[test]
fn losing_the_ability_to_serve_takes_only_who_follows_it() {
    let follows = Settings { follows_serving: true, ..router("a", 51) };
    let mut node = Node::started(plan(vec![follows, router("b", 52)]));
    assert_eq!(node.states(), [State::Init, State::Backup]);
    // It may take its time.
    node.orders.extend(node.routers.serving(Err(DOES_NOT_SERVE.to_owned()), node.now));
    assert_eq!(node.states(), [State::Init, State::Backup]);
    node.orders.extend(node.routers.serving(Ok(()), node.now));
    node.pass(10_000);
    node.did();
    node.orders.extend(node.routers.serving(Err("worker 1 hangs".to_owned()), node.now));
    assert_eq!(node.did(), ["a remove", "a send 0", "a notify FAULT"]);
    assert_eq!(node.why("a"), "worker 1 hangs");
    assert_eq!(node.states(), [State::Fault, State::Active]);
}

#[test]
fn a_drain_takes_one_or_all_and_lets_them_back() {
    let mut node = Node::active(plan(vec![router("a", 51), router("b", 52)]));
    let why = || Some("drained by alice".to_owned());
    node.orders.extend(node.routers.drain(Some("a"), why().as_deref(), node.now));
    assert_eq!(node.states(), [State::Fault, State::Active]);
    node.orders.extend(node.routers.drain(None, why().as_deref(), node.now));
    assert_eq!(node.states(), [State::Fault, State::Fault]);
    node.orders.extend(node.routers.drain(None, None, node.now));
    assert_eq!(node.states(), [State::Backup, State::Backup]);
}

#[test]
fn what_the_driver_could_not_do_ends_participation_until_it_can() {
    let mut node = Node::active(plan(vec![router("a", 51)]));
    let why = Some("no permission to add 10.0.0.51".to_owned());
    node.orders.extend(node.routers.trouble("a", Need::Addresses, why, node.now));
    assert_eq!(node.why("a"), "no permission to add 10.0.0.51");
    node.orders.extend(node.routers.trouble("a", Need::Addresses, None, node.now));
    assert_eq!(node.states(), [State::Backup]);
}

#[test]
fn stopped_all_give_their_addresses_away() {
    let mut node = Node::active(plan(vec![router("a", 51), router("b", 52)]));
    node.orders.extend(node.routers.stop(node.now));
    let did = node.did();
    assert_eq!(did[..4], ["a remove", "a send 0", "a send 0", "a notify STOP"]);
    assert_eq!(did[4..], ["b remove", "b send 0", "b send 0", "b notify STOP"]);
}

#[test]
fn a_script_with_a_weight_changes_the_rank_and_one_without_ends_participation() {
    let track = |name: &str, weight| Tracked {
        subject: Subject::Script(name.to_owned()),
        weight,
        reverse: false,
    };
    let tracks = Settings { tracked: vec![track("w", -30), track("f", 0)], ..router("a", 51) };
    let scripts = ["w", "f"].map(|name| (name.to_owned(), script(name))).into();
    let mut node = Node::started(Plan { scripts, ..plan(vec![tracks]) });
    assert_eq!(node.states(), [State::Init]);
    node.orders.extend(node.routers.script("f", true, node.now));
    assert_eq!(node.states(), [State::Backup]);
    node.pass(10_000);
    node.did();
    node.orders.extend(node.routers.script("w", false, node.now));
    assert_eq!(node.did(), ["a send 70", "a notify MASTER_PRIORITY"]);
    node.orders.extend(node.routers.script("f", false, node.now));
    assert_eq!(node.states(), [State::Fault]);
    assert_eq!(node.why("a"), "script f failed");
}

#[test]
fn an_interface_may_be_tracked_by_routers_of_another() {
    let tracked =
        vec![Tracked { subject: Subject::Interface("eth1".to_owned()), weight: 0, reverse: false }];
    let mut node = Node::active(plan(vec![Settings { tracked, ..router("a", 51) }]));
    node.orders.extend(node.routers.interface("eth1", DOWN, node.now));
    assert_eq!(node.why("a"), "tracked interface eth1 is down");
    node.orders.extend(node.routers.interface("eth1", UP, node.now));
    assert_eq!(node.states(), [State::Backup]);
}

#[test]
fn members_become_active_together() {
    let mut node = Node::started(grouped());
    node.pass(3_000);
    node.hear("b", 200, 9);
    node.pass(3_000);
    assert_eq!(node.states(), [State::Backup, State::Backup], "b still hears another");
    node.pass(610);
    assert_eq!(node.states(), [State::Active, State::Active]);
}

#[test]
fn a_member_that_waits_for_its_group_waits_on_when_it_hears_another_meanwhile() {
    let mut node = Node::started(grouped());
    node.pass(3_000);
    node.hear("b", 200, 9);
    node.pass(1_000);
    node.hear("a", 200, 9);
    node.pass(3_000);
    assert_eq!(node.states(), [State::Backup, State::Backup]);
}

#[test]
fn one_that_gives_way_takes_its_group_with_it() {
    let mut node = Node::active(grouped());
    node.hear("a", 200, 9);
    assert_eq!(
        node.did(),
        ["a remove", "a send 100", "a notify BACKUP", "b remove", "b send 0", "b notify BACKUP"]
    );
    assert_eq!(node.why("b"), "a of the same group gave way");
}

#[test]
fn what_one_member_lacks_keeps_all_out() {
    let mut node = Node::active(grouped());
    node.orders.extend(node.routers.interface("eth1", DOWN, node.now));
    assert_eq!(node.states(), [State::Fault, State::Fault]);
    assert_eq!(node.why("a"), "b of the same group: interface eth1 is down");
    node.orders.extend(node.routers.interface("eth1", UP, node.now));
    assert_eq!(node.states(), [State::Backup, State::Backup]);
}

#[test]
fn owners_of_a_group_start_active_together() {
    let mut plan = grouped();
    for settings in &mut plan.routers {
        settings.priority = advert::OWNER;
    }
    let node = Node::started(plan);
    assert_eq!(node.states(), [State::Active, State::Active]);
}

#[test]
fn what_a_group_tracks_counts_for_each_member() {
    let mut plan = grouped();
    let tracked = Tracked { subject: Subject::Script("f".to_owned()), weight: 0, reverse: false };
    plan.groups.get_mut("g").unwrap().tracked.push(tracked);
    plan.scripts = [("f".to_owned(), script("f"))].into();
    let mut node = Node::started(plan);
    node.orders.extend(node.routers.script("f", true, node.now));
    node.pass(10_000);
    assert_eq!(node.states(), [State::Active, State::Active]);
    node.orders.extend(node.routers.script("f", false, node.now));
    assert_eq!(node.states(), [State::Fault, State::Fault]);
}

#[test]
fn a_reload_touches_only_what_changed() {
    let mut node = Node::active(plan(vec![router("a", 51), router("b", 52)]));
    let mut new = plan(vec![router("a", 51), router("c", 53)]);
    new.routers[0].priority = 120;
    node.orders.extend(node.routers.apply(new, node.now));
    assert_eq!(
        node.did(),
        ["b remove", "b send 0", "b send 0", "b notify STOP", "a send 120", "c notify BACKUP"]
    );
    assert_eq!(node.states(), [State::Active, State::Backup]);
}

#[test]
fn a_router_of_another_number_is_another_router() {
    let mut node = Node::active(plan(vec![router("a", 51)]));
    let mut new = router("a", 52);
    new.addresses[0].address = tests::node(51, true);
    node.orders.extend(node.routers.apply(plan(vec![new]), node.now));
    assert_eq!(
        node.did(),
        ["a remove", "a send 0", "a send 0", "a notify STOP", "a notify BACKUP"]
    );
}

#[test]
fn a_router_that_joins_an_active_group_follows_it_once_it_hears_nobody() {
    let mut alone = grouped();
    let late = alone.routers.pop().unwrap();
    let mut node = Node::active(alone.clone());
    assert_eq!(node.states(), [State::Active]);
    alone.routers.push(late);
    node.orders.extend(node.routers.apply(alone, node.now));
    assert_eq!(node.states(), [State::Active, State::Backup]);
    node.pass(4_000);
    assert_eq!(node.states(), [State::Active, State::Active]);
}

/// The routers of a plan without their groups.
fn apart(plan: &Plan) -> Plan {
    Plan { groups: BTreeMap::new(), ..plan.clone() }
}

#[test]
fn who_leaves_a_group_is_rid_of_what_the_others_lack() {
    let mut node = Node::active(grouped());
    node.orders.extend(node.routers.interface("eth1", DOWN, node.now));
    assert_eq!(node.states(), [State::Fault, State::Fault]);
    node.orders.extend(node.routers.apply(apart(&grouped()), node.now));
    assert_eq!(node.states(), [State::Backup, State::Fault]);
    node.pass(10_000);
    assert_eq!(node.states(), [State::Active, State::Fault]);
}

#[test]
fn the_rest_of_a_group_is_rid_of_what_one_lacked_that_left_it() {
    let mut plan = grouped();
    plan.routers.push(router("c", 53));
    plan.groups.get_mut("g").unwrap().members.push("c".to_owned());
    let mut node = Node::active(plan.clone());
    node.orders.extend(node.routers.interface("eth1", DOWN, node.now));
    assert_eq!(node.states(), [State::Fault; 3]);
    plan.groups.get_mut("g").unwrap().members.retain(|member| member != "b");
    node.orders.extend(node.routers.apply(plan, node.now));
    assert_eq!(node.states(), [State::Backup, State::Fault, State::Backup]);
    node.pass(10_000);
    assert_eq!(node.states(), [State::Active, State::Fault, State::Active]);
}

#[test]
fn who_only_waited_for_its_group_takes_its_address_when_it_leaves_it() {
    let mut node = Node::started(grouped());
    node.pass(3_000);
    node.hear("b", 200, 9);
    node.pass(3_000);
    assert_eq!(node.states(), [State::Backup, State::Backup]);
    node.orders.extend(node.routers.apply(apart(&grouped()), node.now));
    assert_eq!(node.states(), [State::Active, State::Backup]);
    assert_eq!(node.why("a"), "it waited for a group that it is no longer in");
}

#[test]
fn an_address_that_moves_to_another_router_leaves_the_one_before_the_other_takes_it() {
    let moved = node(99, true);
    let both = |first: bool| {
        let mut all = [router("a", 51), router("b", 52)];
        let to = usize::from(!first);
        all[to].addresses.push(crate::settings::VirtualAddress::new(moved));
        plan(all.to_vec())
    };
    for to_first in [true, false] {
        let mut node = Node::active(both(!to_first));
        node.orders.extend(node.routers.apply(both(to_first), node.now));
        let of_moves = |order: &Order| match &order.effect {
            Effect::AddAddresses(_) => Some("add"),
            Effect::RemoveAddresses(_) => Some("remove"),
            _ => None,
        };
        let did: Vec<_> = node.orders.iter().filter_map(of_moves).collect();
        assert_eq!(did, ["remove", "add"]);
    }
}

#[test]
fn a_weighted_script_counts_on_through_a_reload_that_changes_it() {
    let tracked = Tracked { subject: Subject::Script("w".to_owned()), weight: 20, reverse: false };
    let tracks = Settings { tracked: vec![tracked], ..router("a", 51) };
    let scripts = [("w".to_owned(), script("w"))].into();
    let mut node = Node::started(Plan { scripts, ..plan(vec![tracks.clone()]) });
    node.orders.extend(node.routers.script("w", true, node.now));
    node.pass(10_000);
    node.did();
    let changed = ScriptSettings { fall: 2, starts_failed: true, ..script("w") };
    let scripts = [("w".to_owned(), changed)].into();
    node.orders.extend(node.routers.apply(Plan { scripts, ..plan(vec![tracks]) }, node.now));
    assert_eq!(node.did(), Vec::<String>::new(), "its rank stays");
    node.orders.extend(node.routers.script("w", false, node.now));
    assert_eq!(node.did(), Vec::<String>::new(), "two in a row are asked for now");
    node.orders.extend(node.routers.script("w", false, node.now));
    assert_eq!(node.did(), ["a send 100", "a notify MASTER_PRIORITY"]);
}

#[test]
fn a_drain_outlives_a_reload() {
    let mut node = Node::active(plan(vec![router("a", 51)]));
    node.orders.extend(node.routers.drain(None, Some("by alice"), node.now));
    let mut new = router("a", 51);
    new.priority = 120;
    node.orders.extend(node.routers.apply(plan(vec![new]), node.now));
    assert_eq!(node.states(), [State::Fault]);
}

#[test]
fn two_hundred_and_fifty_five_routers_each_hear_their_own() {
    let all: Vec<_> = (1..=255).map(|vrid| router(&format!("r{vrid:03}"), vrid)).collect();
    let mut node = Node::active(plan(all));
    node.hear("r200", 200, 9);
    let backups: Vec<_> = node
        .routers
        .status(node.now)
        .into_iter()
        .filter(|status| status.state == State::Backup)
        .map(|status| status.name)
        .collect();
    assert_eq!(backups, ["r200"]);
}

#[test]
fn while_packets_wait_only_who_is_active_has_its_timer() {
    let mut node = Node::started(plan(vec![router("a", 51), router("b", 52)]));
    // The first is active; the second has heard another until now.
    while node.routers.state("a") != Some(State::Active) {
        node.pass(500);
        node.hear("b", 200, 1);
    }
    node.did();
    node.now += ms(30_000);
    let orders = node.routers.timer_of_active(node.now);
    assert!(!orders.is_empty() && orders.iter().all(|order| *order.router == *"a"), "{orders:?}");
    assert_eq!(node.routers.state("b"), Some(State::Backup));
    assert!(node.routers.next_deadline().unwrap() <= node.now, "its time has come");
}
