use highgate_config::{Topology, User};

use super::*;
use crate::{
    health::{CheckFailure, Event as HealthEvent, HealthSettings},
    snapshot::{Role, Status, Writes},
    testing::{backend, config, ms, origin},
    topology::{Assigned, Outcome},
};

struct Rig {
    config: Config,
    registry: ServerRegistry,
    healths: BTreeMap<ServerId, ServerHealth>,
    topologies: BTreeMap<BackendName, Outcome>,
    overrides: Overrides,
    now: Instant,
    states: Vec<Arc<ServerState>>,
}

impl Rig {
    /// Backends `pair` (static) and `shop` (replication), every server up.
    fn new() -> Self {
        let now = origin();
        let config = config(&[
            ("pair", backend(Topology::Static, &["a", "b"])),
            ("shop", backend(Topology::MariadbReplication, &["db1", "db2", "db3"])),
        ]);
        let mut registry = ServerRegistry::new();
        let states = states(&config, &mut registry, now);
        let mut rig = Self {
            config,
            registry,
            healths: BTreeMap::new(),
            topologies: BTreeMap::new(),
            overrides: Overrides::new(),
            now,
            states,
        };
        let settings = HealthSettings::from(&rig.config.shared.backends["pair"].monitor);
        for state in &rig.states {
            let health = ServerHealth::new(settings, AdminState::Enabled, now);
            rig.healths.insert(state.id, health);
        }
        for server in ["a", "b", "db1", "db2", "db3"] {
            rig.ok(server);
        }
        rig.roles("db1");
        rig
    }

    fn id(&self, server: &str) -> ServerId {
        self.states.iter().find(|state| state.name.as_str() == server).unwrap().id
    }

    fn step(&mut self, server: &str, event: HealthEvent) {
        let (id, now) = (self.id(server), self.now);
        let health = self.healths.get_mut(&id).unwrap();
        health.step(HealthEvent::Tick, now);
        health.step(event, now);
        self.now += ms(1000);
    }

    fn ok(&mut self, server: &str) {
        self.step(server, HealthEvent::CheckOk { latency: ms(1), facts: None });
    }

    fn kill(&mut self, server: &str) {
        for _ in 0..2 {
            let kind = CheckFailure::Refused;
            self.step(server, HealthEvent::CheckFailed { kind, text: kind.to_string() });
        }
    }

    fn roles(&mut self, primary: &str) {
        let assigned = |name: &ServerName| Assigned {
            role: if name.as_str() == primary { Role::Primary } else { Role::Replica },
            unfit: None,
            ails: false,
            lag_ms: Some(0),
            reason: "test".into(),
        };
        let names = self.config.shared.backends["shop"].servers.keys();
        let outcome = Outcome {
            roles: names.map(|name| (name.clone(), assigned(name))).collect(),
            primary: Some(primary.into()),
            writes: Writes::Open,
        };
        self.topologies.insert("shop".into(), outcome);
    }

    fn plan(&mut self, previous: Option<&Snapshot>) -> Snapshot {
        self.plan_events(previous).0
    }

    fn plan_events(&mut self, previous: Option<&Snapshot>) -> (Snapshot, Vec<Event>) {
        let observed = Observed {
            healths: &self.healths,
            topologies: &self.topologies,
            overrides: &self.overrides,
        };
        let old = previous.map(|previous| &previous.policy);
        let (policy, events) = policy(&self.config, &"n1".into(), old);
        (plan(&policy, observed, &mut self.registry, previous, self.now), events)
    }
}

fn group<'a>(snapshot: &'a Snapshot, name: &str) -> &'a Arc<Group> {
    &snapshot.placement.groups[name]
}

fn status(snapshot: &Snapshot, backend: &str, server: &str) -> Status {
    group(snapshot, backend).member(&server.into()).unwrap().status
}

#[test]
fn a_plan_without_news_is_the_old_one() {
    let mut rig = Rig::new();
    let first = rig.plan(None);
    rig.ok("a");
    let second = rig.plan(Some(&first));
    assert_eq!(first.version, second.version);
    assert!(Arc::ptr_eq(&first.policy, &second.policy));
    assert!(Arc::ptr_eq(&first.placement, &second.placement));
}

/// A configuration with these listeners, each at one address of node `n1`.
fn listening(binds: &[(&str, &str)]) -> Config {
    let text: String = binds
        .iter()
        .map(|(name, at)| {
            format!("[[listener]]\nname = '{name}'\nbind = '{at}'\nbackend = 'pair'\n")
        })
        .collect();
    let text = text + "[[backend]]\nname = 'pair'\n";
    highgate_config::native::parse("l.toml", &text, &"n1".into()).unwrap().config
}

#[test]
fn a_listener_that_is_no_more_is_known_by_the_name_that_has_its_address() {
    let (here, there, any) = ("127.0.0.1:4000", "127.0.0.1:4001", "127.0.0.1:0");
    let mut policy_now = None;
    for (binds, name_of_first) in [
        (vec![("first", here), ("any", any)], Some("first")),
        (vec![("second", here), ("more", any)], Some("second")),
        (vec![("third", here), ("second", there)], Some("second")),
        (vec![("third", there)], Some("third")),
        (vec![("first", there), ("third", here)], Some("first")),
        (vec![("else", any)], None),
    ] {
        let (policy, _) = policy(&listening(&binds), &"n1".into(), policy_now.as_ref());
        let found = policy.listener(&"first".into()).map(|(name, _)| name.as_str());
        assert_eq!(found, name_of_first, "{binds:?}");
        assert_eq!(policy.listener(&"any".into()).is_some(), binds[1..].contains(&("any", any)));
        policy_now = Some(policy);
    }
}

/// Backends of that name, topology and those hosts each.
fn serving(backends: &[(&str, &str, &[&str])]) -> Config {
    let mut text = "[[listener]]\nname = 'l'\nbind = '127.0.0.1:0'\nbackend = 'shop'\n".to_owned();
    for (name, topology, hosts) in backends {
        text += &format!("[[backend]]\nname = '{name}'\ntopology = '{topology}'\n");
        text += "monitor = { user = 'm', password = 'm' }\n";
        for (at, host) in hosts.iter().enumerate() {
            text += &format!("[[backend.server]]\nname = 'db{at}'\naddress = '{host}:3306'\n");
        }
    }
    highgate_config::native::parse("b.toml", &text, &"n1".into()).unwrap().config
}

#[test]
fn a_backend_that_is_no_more_is_known_by_the_name_that_has_a_server_of_its_cluster() {
    const ROLES: &str = "mariadb-replication";
    let mut policy_now = None;
    for (backends, name_of_first) in [
        (vec![("shop", ROLES, &["a", "b", "c"][..]), ("more", ROLES, &["c"])], None),
        (vec![("more", ROLES, &["c"]), ("shop2", ROLES, &["b", "c"])], Some("shop2")),
        (vec![("shop2", ROLES, &["b"]), ("x", ROLES, &["a", "b"])], Some("shop2")),
        (vec![("shop3", ROLES, &["b"]), ("a", "static", &["b"])], Some("shop3")),
        (vec![("shop3", ROLES, &["b"]), ("shop", "static", &["a"])], Some("shop3")),
        (vec![("shop", ROLES, &["a"]), ("shop3", ROLES, &["b"])], None),
        (vec![("shop4", ROLES, &["d"]), ("shop5", "static", &["a"])], None),
    ] {
        let (policy, _) = policy(&serving(&backends), &"n1".into(), policy_now.as_ref());
        let found = policy.heirs.get("shop").map(|it| it.as_str());
        assert_eq!(found, name_of_first, "{backends:?}");
        policy_now = Some(policy);
    }
}

#[test]
fn a_health_flip_rebuilds_one_group_and_leaves_the_policy_alone() {
    let mut rig = Rig::new();
    let before = rig.plan(None);
    rig.kill("db2");
    let after = rig.plan(Some(&before));
    assert_eq!(after.version, before.version + 1);
    assert!(Arc::ptr_eq(&before.policy, &after.policy));
    assert!(Arc::ptr_eq(group(&before, "pair"), group(&after, "pair")));
    assert_eq!(status(&after, "shop", "db2"), Status::Down);
    assert_eq!(group(&after, "shop").readers, [2]);
}

#[test]
fn a_changed_user_leaves_placement_and_all_else_alone() {
    let mut rig = Rig::new();
    let before = rig.plan(None);
    rig.config.shared.users.insert("app".into(), user(Vec::new()));
    let after = rig.plan(Some(&before));
    assert!(!Arc::ptr_eq(&before.policy, &after.policy));
    assert!(Arc::ptr_eq(&before.placement, &after.placement));
    assert!(Arc::ptr_eq(&before.policy.backends["shop"], &after.policy.backends["shop"]));
}

#[test]
fn a_server_that_is_not_mentioned_by_a_change_keeps_its_state() {
    let mut rig = Rig::new();
    let before = rig.plan(None);
    rig.config.shared.backends.get_mut("shop").unwrap().failover_wait = ms(1);
    let after = rig.plan(Some(&before));
    for (old, new) in group(&before, "shop").members.iter().zip(&group(&after, "shop").members) {
        assert!(Arc::ptr_eq(&old.state, &new.state));
    }
}

#[test]
fn reads_use_the_primary_only_as_configured() {
    use highgate_config::ReadsOnPrimary::{Always, Fallback, Never};
    for (mode, healthy, alone) in [
        (Always, vec![0, 1, 2], vec![0]),
        (Fallback, vec![1, 2], vec![0]),
        (Never, vec![1, 2], vec![]),
    ] {
        let mut rig = Rig::new();
        rig.config.shared.backends.get_mut("shop").unwrap().reads_on_primary = mode;
        assert_eq!(group(&rig.plan(None), "shop").readers, healthy);
        rig.kill("db2");
        rig.kill("db3");
        let snapshot = rig.plan(None);
        assert_eq!(group(&snapshot, "shop").readers, alone);
        assert_eq!(group(&snapshot, "shop").for_reads(), alone, "{mode:?}");
        assert_eq!(group(&snapshot, "shop").keeps_reads_off_primary(), alone.is_empty());
    }
}

#[test]
fn writes_wait_as_soon_as_the_primary_is_down_even_before_the_topology_says_so() {
    let mut rig = Rig::new();
    rig.kill("db1");
    let snapshot = rig.plan(None);
    assert!(matches!(group(&snapshot, "shop").writes, Writes::Waiting { .. }));
    assert!(group(&snapshot, "shop").writers.is_empty());
}

/// It was said that they are open, and each waited in vain.
#[test]
fn writes_wait_where_the_primary_has_the_weight_0_and_who_has_it_is_not_said_to_read() {
    let mut rig = Rig::new();
    for server in ["db1", "db2"] {
        let mark = Override {
            state: None,
            weight: Some(0),
            who: "ada".into(),
            since_ms: 1,
            until_ms: None,
        };
        rig.overrides.insert(("shop".into(), server.into()), mark);
    }
    let snapshot = rig.plan(None);
    let shop = group(&snapshot, "shop");
    let Writes::Waiting { reason } = &shop.writes else { panic!("{:?}", shop.writes) };
    assert_eq!(&**reason, "the primary db1 has the weight 0");
    assert!(shop.reason.0.starts_with("3 of 3 servers serve, 1 take reads"), "{:?}", shop.reason);
}

#[test]
fn an_operators_mark_overrides_configuration_and_names_its_author() {
    let mut rig = Rig::new();
    let mark = Override {
        state: Some(AdminState::Drain),
        weight: Some(7),
        who: "ada".into(),
        since_ms: 1,
        until_ms: None,
    };
    rig.overrides.insert(("shop".into(), "db2".into()), mark);
    let snapshot = rig.plan(None);
    let member = group(&snapshot, "shop").member(&"db2".into()).unwrap();
    assert_eq!((member.status, member.weight), (Status::Draining, 7));
    assert_eq!(&*member.reason, "draining by ada");
    assert_eq!(group(&snapshot, "shop").readers, [2]);
}

#[test]
fn a_server_that_came_back_starts_slowly_and_one_that_never_left_does_not() {
    let mut rig = Rig::new();
    let first = rig.plan(None);
    assert!(group(&first, "pair").members.iter().all(|member| member.ramp.is_none()));
    rig.kill("a");
    let second = rig.plan(Some(&first));
    rig.ok("a");
    rig.ok("a");
    let third = rig.plan(Some(&second));
    let member = group(&third, "pair").member(&"a".into()).unwrap();
    let ramp = member.ramp.expect("no slow start");
    assert!(member.weight_permille(ramp.since) < 10_000);
    assert_eq!(member.weight_permille(ramp.end()), 100_000);
    assert_eq!(member.status_at(ramp.since), Status::Starting);
    assert_eq!(member.status_at(ramp.end()), Status::Up);
    let fourth = rig.plan(Some(&third));
    assert!(Arc::ptr_eq(&third.placement, &fourth.placement));
}

/// Only those that had been down started slowly: a Galera member that joins is broken before it is up, and an old
/// primary that comes back is quarantined.
#[test]
fn whatever_kept_a_server_out_it_starts_slowly_and_at_the_first_look_none_does() {
    use Status::{Broken, Draining, Lagging, Maintenance, Quarantined, Unknown};
    let ramp = |snapshot: &Snapshot| group(snapshot, "shop").member(&"db2".into()).unwrap().ramp;
    let set = |rig: &mut Rig, admin| {
        let id = rig.id("db2");
        rig.healths.get_mut(&id).unwrap().step(HealthEvent::Admin(admin), rig.now);
        rig.config.shared.backends.get_mut("shop").unwrap().servers.get_mut("db2").unwrap().state =
            admin;
    };
    for out in [Broken, Draining, Lagging, Maintenance, Quarantined, Unknown] {
        let mut rig = Rig::new();
        let first = Some(rig.plan(None)).filter(|_| out != Unknown);
        match out {
            Draining => set(&mut rig, AdminState::Drain),
            Maintenance => set(&mut rig, AdminState::Maintenance),
            _ => {
                let shop = rig.topologies.get_mut("shop").unwrap();
                shop.roles.get_mut("db2").unwrap().unfit = Some(out);
            }
        }
        let second = rig.plan(first.as_ref());
        assert_eq!(group(&second, "shop").member(&"db2".into()).unwrap().status, out);
        set(&mut rig, AdminState::Enabled);
        rig.now += ms(60_000);
        let enabled = rig.now;
        let looked = rig.plan(Some(&second));
        rig.ok("db2");
        rig.roles("db1");
        let third = rig.plan(Some(&looked));
        let begins = ramp(&third).map(|ramp| ramp.since);
        assert_eq!(
            begins.is_some_and(|since| since >= enabled),
            out != Unknown,
            "{out}: {begins:?}"
        );
        // It goes on from there.
        rig.now += ms(1000);
        let fourth = rig.plan(Some(&third));
        assert!(Arc::ptr_eq(&third.placement, &fourth.placement));
    }
}

#[test]
fn a_dangling_reference_is_a_warning() {
    let mut rig = Rig::new();
    rig.config.shared.rules.entry(12).or_default().backend = Some("gone".into());
    let (_, events) = rig.plan_events(None);
    assert!(
        events
            .iter()
            .any(|event| event.text.contains("rule 12") && event.severity == Severity::Warning)
    );
}

#[test]
fn changed_rules_make_a_new_policy_and_keep_hits_and_placement() {
    let mut rig = Rig::new();
    rig.config.shared.rules.entry(12).or_default().active = true;
    let first = rig.plan(None);
    let outcome = crate::rules::RuleOutcome { matched: vec![12], ..Default::default() };
    first.policy.rules.count(&outcome);
    assert!(Arc::ptr_eq(&rig.plan(Some(&first)).policy, &first.policy));
    rig.config.shared.rules.entry(13).or_default().active = true;
    let second = rig.plan(Some(&first));
    assert_eq!(second.version, first.version + 1);
    assert_ne!(second.policy, first.policy);
    assert!(Arc::ptr_eq(&first.placement, &second.placement));
    assert_eq!(second.policy.rules.hits().collect::<Vec<_>>(), [(12, 1), (13, 0)]);
    rig.config.shared.backends.remove("pair");
    let third = rig.plan(Some(&second));
    assert!(Arc::ptr_eq(&third.policy.rules, &second.policy.rules));
}

/// The table and its metric said `open` of a fixed list of servers with all of them down.
#[test]
fn a_backend_takes_writes_only_where_somebody_is_there_to_take_them() {
    let mut rig = Rig::new();
    let first = rig.plan(None);
    assert!(group(&first, "pair").takes_writes() && group(&first, "shop").takes_writes());
    rig.kill("a");
    let second = rig.plan(Some(&first));
    assert!(group(&second, "pair").takes_writes());
    rig.kill("b");
    rig.kill("db1");
    let third = rig.plan(Some(&second));
    assert!(!group(&third, "pair").takes_writes() && !group(&third, "shop").takes_writes());
}

/// It kept all that was changed beside it out of force, until the process was started again.
#[test]
fn a_rule_that_cannot_be_compiled_is_left_out_alone_and_is_told_once() {
    let mut rig = Rig::new();
    rig.config.shared.rules.entry(12).or_default().active = true;
    let sound = rig.plan(None);
    let bad = rig.config.shared.rules.entry(13).or_default();
    (bad.active, bad.match_digest) = (true, Some("(".to_owned()));
    rig.config.shared.rules.entry(14).or_default().active = true;
    let ids = |snapshot: &Snapshot| -> Vec<u32> {
        snapshot.policy.rules.hits().map(|(id, _)| id).collect()
    };
    let told = |events: &[Event]| {
        let is_it = |event: &&Event| event.severity == Severity::Error;
        events.iter().filter(is_it).filter(|event| event.text.contains("rule 13")).count()
    };
    let (broken, events) = rig.plan_events(Some(&sound));
    assert_eq!((ids(&broken), told(&events)), (vec![12, 14], 1));
    assert_eq!(ids(&rig.plan(None)), [12, 14], "as with the next start");
    let (same, events) = rig.plan_events(Some(&broken));
    assert!(Arc::ptr_eq(&same.policy, &broken.policy));
    assert_eq!(events, []);
}

fn user(passwords: Vec<highgate_config::Secret>) -> User {
    User {
        passwords,
        server_user: None,
        server_password: None,
        backend: None,
        default_schema: None,
        max_connections: 0,
        allow: Vec::new(),
        require_tls: false,
        local_infile: false,
        active: true,
    }
}

#[test]
fn a_password_in_a_broken_stored_form_is_told() {
    let mut rig = Rig::new();
    let broken = highgate_config::Secret::new("$A$005$short");
    rig.config.shared.users.insert("app".into(), user(vec![broken]));
    let (_, events) = rig.plan_events(None);
    let texts: Vec<_> = events.iter().map(|event| event.text.as_str()).collect();
    assert!(texts.iter().any(|text| text.contains("user `app`")), "{texts:?}");
    assert!(texts.iter().all(|text| !text.contains("short")), "{texts:?}");
}
