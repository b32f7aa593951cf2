use std::{collections::BTreeMap, sync::atomic::Ordering};

use highgate_config::{
    AdminState, Backend, Listener, ReadsOnPrimary, Rule, RuleRole, ServerName, Topology, User,
};

use super::*;
use crate::{
    health::{Event, HealthSettings, ServerHealth},
    plan::{self, Observed, Overrides},
    server::ServerRegistry,
    snapshot::{Role as MemberRole, Status, Writes},
    testing::{backend, config, ms, origin},
    topology::{Assigned, Outcome},
};

/// Backend `shop`: db1 is the primary, db2 a replica, db3 lags.
fn snapshot(rules: &[(u32, Rule)], now: Instant) -> Snapshot {
    snapshot_of(outcome(), rules, now)
}

fn snapshot_of(outcome: Outcome, rules: &[(u32, Rule)], now: Instant) -> Snapshot {
    snapshot_by(ReadsOnPrimary::Fallback, outcome, rules, now)
}

fn snapshot_by(
    reads_on_primary: ReadsOnPrimary,
    outcome: Outcome,
    rules: &[(u32, Rule)],
    now: Instant,
) -> Snapshot {
    let shop = backend(Topology::MariadbReplication, &["db1", "db2", "db3"]);
    let mut config = config(&[("shop", Backend { reads_on_primary, ..shop })]);
    config.shared.rules = rules.iter().cloned().collect();
    let listener =
        Listener { backend: "shop".into(), read_write_split: true, ..Listener::default() };
    config.shared.listeners.insert("web".into(), listener);
    config.shared.users.insert("app".into(), User::default());
    let mut registry = ServerRegistry::new();
    let mut healths = BTreeMap::new();
    for state in plan::states(&config, &mut registry, now) {
        let settings = HealthSettings::from(&config.shared.backends["shop"].monitor);
        let mut health = ServerHealth::new(settings, AdminState::Enabled, now);
        health.step(Event::Tick, now);
        health.step(Event::CheckOk { latency: ms(1), facts: None }, now);
        healths.insert(state.id, (state, health));
    }
    let held: Vec<_> = healths.values().map(|(state, _)| Arc::clone(state)).collect();
    let healths = healths.into_iter().map(|(id, (_, h))| (id, h)).collect();
    let observed = Observed {
        healths: &healths,
        topologies: &BTreeMap::from([("shop".into(), outcome)]),
        overrides: &Overrides::new(),
    };
    let policy = plan::policy(&config, &"n1".into(), None).0;
    let planned = plan::plan(&policy, observed, &mut registry, None, now);
    drop(held);
    planned
}

fn outcome() -> Outcome {
    let role = |role, unfit, reason: &str| Assigned {
        role,
        unfit,
        ails: false,
        lag_ms: Some(0),
        reason: reason.into(),
    };
    let roles = BTreeMap::from([
        ("db1".into(), role(MemberRole::Primary, None, "writable (read_only=0)")),
        ("db2".into(), role(MemberRole::Replica, None, "replicates from db1")),
        (
            "db3".into(),
            role(MemberRole::Replica, Some(Status::Lagging), "is 60 s behind, more than 10 s"),
        ),
    ]);
    Outcome { roles, primary: Some("db1".into()), writes: Writes::Open }
}

fn ask(text: &str, rules: &[(u32, Rule)]) -> Trace {
    ask_on(&snapshot(rules, origin()), text)
}

fn ask_on(snapshot: &Snapshot, text: &str) -> Trace {
    let question = Question {
        text: text.as_bytes(),
        listener: &"web".into(),
        user: &"app".into(),
        schema: None,
        client: None,
        mode: LexMode::default(),
        now: origin(),
    };
    explain(&question, snapshot).unwrap()
}

/// "It is for clients of another network", it said, though no client was named and none could be.
#[test]
fn rules_that_ask_for_what_was_not_given_say_so_and_match_where_it_is() {
    let of_network =
        Rule { active: true, client_addr: Some("10.0.0.0/8".parse().unwrap()), ..Rule::default() };
    let of_schema =
        Rule { active: true, schemaname: Some("archive".to_owned()), ..Rule::default() };
    let snapshot = snapshot(&[(1, of_network), (2, of_schema)], origin());
    let ask = |schema, client: Option<&str>| {
        let (listener, user) = (&"web".into(), &"app".into());
        let client = client.map(|text| text.parse().unwrap());
        let (mode, now) = (LexMode::default(), origin());
        let text = b"SELECT 1";
        let question = Question { text, listener, user, schema, client, mode, now };
        explain(&question, &snapshot).unwrap().to_string()
    };
    let told = ask(None, None);
    assert!(told.contains("1: passed over, it is for clients of a network, and no"), "{told}");
    assert!(told.contains("2: passed over, it is for another schema than the account"), "{told}");
    let told = ask(Some("shop"), Some("192.0.2.1"));
    assert!(told.contains("1: passed over, it is for clients of another network\n"), "{told}");
    assert!(told.contains("2: passed over, it is for another schema\n"), "{told}");
    let told = ask(Some("archive"), Some("10.1.2.3"));
    assert!(told.contains("1: matches") && told.contains("2: matches"), "{told}");
}

fn rule(digest: &str) -> Rule {
    Rule { active: true, match_digest: Some(digest.to_owned()), ..Rule::default() }
}

/// Drivers say such things as they connect: they waited in vain, and nobody could write.
#[test]
fn what_only_changes_the_session_goes_to_a_primary_that_takes_no_reads_where_nobody_else_is_there()
{
    let mut alone = outcome();
    for name in ["db2", "db3"] {
        let role = alone.roles.get_mut(&ServerName::from(name)).unwrap();
        role.unfit = Some(Status::Broken);
    }
    for (outcome, reads, sets) in [(outcome(), Some("db2"), "db2"), (alone, None, "db1")] {
        let snapshot = snapshot_by(ReadsOnPrimary::Never, outcome, &[], origin());
        for set in [
            "SET NAMES utf8mb4",
            "SET autocommit = 1",
            "USE shop",
            "COMMIT",
            "SELECT 1",
            "SELECT @@max_allowed_packet, VERSION()",
        ] {
            let chosen = ask_on(&snapshot, set).backend.unwrap().chosen;
            assert_eq!(chosen.as_deref(), Some(sets), "{set}");
        }
        let trace = ask_on(&snapshot, "SELECT 1 FROM t");
        assert_eq!(trace.backend.as_ref().unwrap().chosen.as_deref(), reads);
        let why = "it is the primary, which takes no reads (`reads_on_primary`)";
        assert!(trace.to_string().contains(why), "{trace}");
    }
}

#[test]
fn the_text_of_a_trace_is_as_printed_here() {
    let to_primary =
        Rule { role: Some(RuleRole::Primary), apply: true, ..rule("^SELECT .* FOR UPDATE") };
    let rules = [(10, to_primary), (20, rule("^SELECT"))];
    let trace = ask("SELECT name FROM item WHERE id=42", &rules);
    let expected = "\
result     goes to db2: a replica of backend shop
why        it only reads, and reads go to replicas
statement  SELECT: only reads
digest     0xDIGEST  SELECT name FROM item WHERE id=?
rules      10: passed over, its match_digest does not match
           20: matches
backend    shop: 2 of 3 servers serve, 1 take reads, db1 takes writes
  - db1  passed over: it is the primary, and others take the reads (primary, up: writable (read_only=0))
  * db2  takes it (replica, up: replicates from db1)
  - db3  passed over: it is lagging (replica, lagging: is 60 s behind, more than 10 s)
";
    let digest = format!("0x{:016X}", trace.digest);
    assert_eq!(trace.to_string(), expected.replace("0xDIGEST", &digest));
}

#[test]
fn an_outage_is_the_first_line_and_each_server_says_what_is_wrong() {
    let mut outcome = outcome();
    outcome.writes = Writes::Waiting { reason: "db1 does not answer".into() };
    outcome.primary = None;
    let old = outcome.roles.get_mut("db1").unwrap();
    (old.role, old.unfit, old.reason) =
        (MemberRole::None, Some(Status::Broken), "does not say whether it is writable".into());
    let snapshot = snapshot_of(outcome, &[], origin());
    let told = ask_on(&snapshot, "UPDATE item SET n=1 WHERE id=42").to_string();
    let without_digest: Vec<_> = told.lines().filter(|line| !line.starts_with("digest")).collect();
    let expected = "\
result     waits up to 10 s for the primary of backend shop, then fails: db1 does not answer
why        it writes, or can't be proved only to read: the primary takes such
statement  UPDATE: writes
rules      none
backend    shop: 1 of 3 servers serve, 1 take reads; writes wait: db1 does not answer
  - db1  passed over: it is broken (none, broken: does not say whether it is writable)
  - db2  passed over: it is not the primary (replica, up: replicates from db1)
  - db3  passed over: it is lagging (replica, lagging: is 60 s behind, more than 10 s)";
    assert_eq!(without_digest.join("\n"), expected);
}

#[test]
fn of_equals_one_is_named_and_the_others_are_counted() {
    let mut outcome = outcome();
    outcome.roles.get_mut("db3").unwrap().unfit = None;
    let told = ask_on(&snapshot_of(outcome, &[], origin()), "SELECT 1 FROM item").to_string();
    let first = told.lines().next().unwrap();
    assert_eq!(
        first,
        "result     goes to db2, or another of the 2 that can take it: a replica of backend shop"
    );
    assert!(told.contains("- db3  passed over: another was chosen"), "{told}");
}

#[test]
fn a_full_server_is_passed_over_and_waited_at_once_all_are_full() {
    let mut outcome = outcome();
    outcome.roles.get_mut("db3").unwrap().unfit = None;
    let mut snapshot = snapshot_of(outcome, &[], origin());
    let fill = |snapshot: &mut Snapshot, name: &str| {
        let placement = Arc::get_mut(&mut snapshot.placement).unwrap();
        let group = Arc::get_mut(placement.groups.get_mut("shop").unwrap()).unwrap();
        let member = group.members.iter_mut().find(|it| it.state.name.as_str() == name).unwrap();
        member.server.max_connections = 2;
        member.state.opened.store(2, Ordering::Relaxed);
        member.state.hot.leased.store(2, Ordering::Relaxed);
    };
    fill(&mut snapshot, "db2");
    let told = ask_on(&snapshot, "SELECT 1 FROM item").to_string();
    assert!(told.starts_with("result     goes to db3: a replica of backend shop\n"), "{told}");
    assert!(told.contains("- db2  passed over: its connection limit is reached"), "{told}");
    fill(&mut snapshot, "db3");
    let told = ask_on(&snapshot, "SELECT 1 FROM item").to_string();
    let first = "result     waits for a connection to db2, whose limit is reached: a replica of";
    assert!(told.starts_with(first), "{told}");
    assert!(told.contains("- db3  passed over: its connection limit is reached"), "{told}");
}

#[test]
fn a_read_that_the_primary_takes_is_not_said_to_go_to_a_replica() {
    let mut outcome = outcome();
    outcome.roles.get_mut("db2").unwrap().unfit = Some(Status::Broken);
    let told = ask_on(&snapshot_of(outcome, &[], origin()), "SELECT 1 FROM item").to_string();
    let first = told.lines().next().unwrap();
    assert_eq!(first, "result     goes to db1, the primary, for want of a replica of backend shop");
}

#[test]
fn a_read_goes_to_the_primary_as_in_production_where_no_replica_gives_a_connection() {
    let snapshot = snapshot_of(outcome(), &[], origin());
    let group = snapshot.placement.groups.values().next().unwrap();
    let db2 = group.members.iter().find(|member| member.state.name.as_str() == "db2").unwrap();
    db2.state.shun(origin() + std::time::Duration::from_secs(1));
    let told = ask_on(&snapshot, "SELECT 1 FROM item").to_string();
    let first = told.lines().next().unwrap();
    assert_eq!(first, "result     goes to db1, the primary, for want of a replica of backend shop");
    assert!(told.contains("no new connection to it was had a moment ago"), "{told}");
}

#[test]
fn a_write_goes_to_the_primary_and_a_rule_that_decides_is_the_reason() {
    let trace = ask("UPDATE item SET n=1", &[]);
    let chosen = trace.backend.and_then(|group| group.chosen);
    assert_eq!(chosen.as_deref(), Some("db1"));
    assert_eq!(trace.reason, Reason::Writes);
    let to_primary = Rule { role: Some(RuleRole::Primary), ..rule("^SELECT") };
    let trace = ask("SELECT 1 FROM t", &[(7, to_primary)]);
    assert_eq!(trace.reason, Reason::Rule(7));
    assert_eq!(trace.route, "the primary of backend shop");
}

#[test]
fn a_rule_may_send_it_to_a_backend_that_does_not_exist_and_the_trace_says_so() {
    let lost = Rule { backend: Some("gone".into()), ..rule("^SELECT") };
    let trace = ask("SELECT 1 FROM t", &[(7, lost)]);
    assert!(trace.route.starts_with("refused: backend gone"), "{}", trace.route);
    assert_eq!(trace.backend, None);
}

#[test]
fn explaining_counts_no_hit_and_needs_a_listener() {
    let now = origin();
    let snapshot = snapshot(&[(7, rule("^SELECT"))], now);
    let question = Question {
        text: b"SELECT 1",
        listener: &"web".into(),
        user: &"stranger".into(),
        schema: None,
        client: None,
        mode: LexMode::default(),
        now,
    };
    let trace = explain(&question, &snapshot).unwrap();
    assert!(!trace.knows_user);
    assert_eq!(snapshot.policy.rules.hits().collect::<Vec<_>>(), [(7, 0)]);
    let nowhere = Question { listener: &"nowhere".into(), ..question };
    assert_eq!(explain(&nowhere, &snapshot), Err(Unexplained::Listener("nowhere".into())));
}

#[test]
fn what_a_rule_makes_of_a_text_is_what_is_routed() {
    let rewrites = Rule {
        active: true,
        match_pattern: Some("^SELECT n FROM item".to_owned()),
        replace_pattern: Some("INSERT INTO log SELECT n FROM item".to_owned()),
        ..Rule::default()
    };
    let trace = ask("SELECT n FROM item", &[(7, rewrites.clone())]);
    assert_eq!((trace.kind, trace.reason), (StatementKind::Select, Reason::Writes));
    assert_eq!(trace.route, "the primary of backend shop");
    let told = trace.to_string();
    let expected = "rewritten  INSERT INTO log SELECT n FROM item\n           INSERT: writes\n";
    assert!(told.contains(expected), "{told}");
    let hinted = "SELECT /* highgate: replica */ n FROM item";
    let to_write = Rule { match_pattern: Some("SELECT (.*) n FROM".to_owned()), ..rewrites };
    let to_write = Rule { replace_pattern: Some("DELETE \\1 FROM".to_owned()), ..to_write };
    let trace = ask(hinted, &[(7, to_write)]);
    assert_eq!(trace.route, "the primary of backend shop", "{trace}");
}

#[test]
fn who_keeps_its_connection_by_a_rule_does_so_where_writes_can_follow() {
    let keeps = Rule { multiplex: Some(false), ..rule("^SELECT") };
    let trace = ask("SELECT 1 FROM t", &[(7, keeps.clone())]);
    assert_eq!((trace.reason, trace.multiplex), (Reason::Binds, Some(false)));
    assert_eq!(trace.route, "the primary of backend shop");
    assert!(trace.to_string().contains("sharing    off"), "{trace}");
    let on_replica = Rule { role: Some(RuleRole::Replica), ..keeps };
    assert_eq!(ask("SELECT 1 FROM t", &[(7, on_replica)]).route, "a replica of backend shop");
}
