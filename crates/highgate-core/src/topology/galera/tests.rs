use highgate_config::{Address, AdminState};

use super::*;
use crate::{
    health::{CheckFailure, Unread},
    testing::{ms, origin},
};

struct Rig {
    machine: Machine,
    nodes: Vec<(ServerName, bool, Observation)>,
    unread: BTreeMap<ServerName, Unread>,
    unchecked: Vec<ServerName>,
    address: Address,
    now: Instant,
    events: Vec<Event>,
}

impl Rig {
    fn new(settings: Settings) -> Self {
        let now = origin();
        let node = |index: u32| {
            let seen = Observation {
                at: now,
                read_only: false,
                server_id: index + 1,
                uuid: None,
                gtid: String::new(),
                sources: Vec::new(),
                galera: Some(wsrep(index)),
            };
            (ServerName::from(format!("g{}", index + 1).as_str()), true, seen)
        };
        Self {
            machine: Machine::new("shop".into(), settings, None),
            nodes: (0..3).map(node).collect(),
            unread: BTreeMap::new(),
            unchecked: Vec::new(),
            address: Address::Host("g".into(), 3306),
            now,
            events: Vec::new(),
        }
    }

    fn wsrep(&mut self, index: usize) -> &mut Galera {
        self.nodes[index].2.galera.as_mut().unwrap()
    }

    fn step(&mut self) -> Outcome {
        self.now += ms(500);
        self.nodes
            .iter_mut()
            .filter(|(name, ..)| !self.unread.contains_key(name))
            .for_each(|(.., seen)| seen.at = self.now);
        let inputs: Vec<_> = (self.nodes.iter())
            .map(|(name, alive, seen)| Input {
                name,
                address: &self.address,
                admin: AdminState::Enabled,
                checked: !self.unchecked.contains(name),
                alive: *alive && !self.unchecked.contains(name),
                seen: (!self.unchecked.contains(name)).then_some(seen),
                unread: self.unread.get(name).copied(),
                doubted: false,
                max_lag: None,
            })
            .collect();
        self.events.clear();
        self.machine.step(&inputs, self.now, &mut self.events)
    }
}

fn wsrep(index: u32) -> Galera {
    Galera {
        primary_component: true,
        local_state: SYNCED,
        ready: true,
        rejects_queries: false,
        desynced: false,
        donor_rejects_queries: false,
        cluster_uuid: "aaaa".into(),
        cluster_size: 3,
        local_index: index,
        recv_queue: 0,
    }
}

fn writer(outcome: &Outcome) -> Option<&str> {
    outcome.primary.as_ref().map(ServerName::as_str)
}

fn unfit(outcome: &Outcome, name: &str) -> Option<Status> {
    outcome.roles[name].unfit
}

#[test]
fn the_lowest_index_writes_the_others_read() {
    let mut rig = Rig::new(Settings::default());
    rig.wsrep(0).local_index = 2;
    rig.wsrep(2).local_index = 0;
    let outcome = rig.step();
    assert_eq!(writer(&outcome), Some("g3"));
    assert!(["g1", "g2"].iter().all(|name| outcome.roles[*name].role == Role::Replica));
}

#[test]
fn the_writer_stays_when_indices_change_and_when_an_old_one_returns() {
    let mut rig = Rig::new(Settings::default());
    rig.step();
    rig.nodes[0].1 = false;
    assert_eq!(writer(&rig.step()), Some("g2"));
    assert!(rig.events.iter().any(|event| event.kind == Kind::Failover));
    rig.nodes[0].1 = true;
    assert_eq!(writer(&rig.step()), Some("g2"));
    rig.wsrep(1).local_index = 9;
    assert_eq!(writer(&rig.step()), Some("g2"));
}

#[test]
fn a_member_without_quorum_or_sync_gets_nothing() {
    let spoil: [fn(&mut Galera); 5] = [
        |wsrep| wsrep.primary_component = false,
        |wsrep| wsrep.ready = false,
        |wsrep| wsrep.rejects_queries = true,
        |wsrep| wsrep.desynced = true,
        |wsrep| wsrep.local_state = 3,
    ];
    for spoil in spoil {
        let mut rig = Rig::new(Settings::default());
        rig.step();
        spoil(rig.wsrep(0));
        let outcome = rig.step();
        assert_eq!(unfit(&outcome, "g1"), Some(Status::Broken));
        assert_eq!(writer(&outcome), Some("g2"));
    }
}

#[test]
fn when_all_lose_quorum_writes_wait() {
    let mut rig = Rig::new(Settings::default());
    rig.step();
    (0..3).for_each(|index| rig.wsrep(index).primary_component = false);
    let outcome = rig.step();
    assert!(matches!(outcome.writes, Writes::Waiting { .. }));
    (0..3).for_each(|index| rig.wsrep(index).primary_component = true);
    assert_eq!(writer(&rig.step()), Some("g1"));
}

#[test]
fn members_of_the_smaller_cluster_are_quarantined() {
    let mut rig = Rig::new(Settings::default());
    rig.wsrep(0).cluster_uuid = "zzzz".into();
    let outcome = rig.step();
    assert_eq!(unfit(&outcome, "g1"), Some(Status::Quarantined));
    assert_eq!(writer(&outcome), Some("g2"));
}

#[test]
fn a_desynced_member_reads_where_that_is_allowed_and_does_not_write() {
    for allowed in [false, true] {
        let mut rig = Rig::new(Settings { donor_reads: allowed, max_recv_queue: 0 });
        rig.step();
        rig.wsrep(0).local_state = DONOR;
        rig.wsrep(0).desynced = true;
        let outcome = rig.step();
        assert_eq!(unfit(&outcome, "g1").is_none(), allowed);
        assert_eq!(writer(&outcome), Some("g2"));
        rig.wsrep(0).donor_rejects_queries = true;
        assert!(unfit(&rig.step(), "g1").is_some());
    }
}

#[test]
fn a_writer_that_helps_another_to_join_stays_the_writer_for_a_moment() {
    let mut rig = Rig::new(Settings::default());
    rig.step();
    rig.wsrep(0).local_state = DONOR;
    let outcome = rig.step();
    assert_eq!((writer(&outcome), unfit(&outcome, "g1")), (Some("g1"), None));
    assert!(outcome.roles["g1"].reason.starts_with("a donor"));
    rig.wsrep(0).local_state = SYNCED;
    assert_eq!(writer(&rig.step()), Some("g1"));
    // A long transfer may block it.
    rig.wsrep(0).local_state = DONOR;
    rig.step();
    rig.now += DONOR_GRACE;
    assert_eq!(writer(&rig.step()), Some("g2"));
    rig.wsrep(0).local_state = SYNCED;
    assert_eq!(writer(&rig.step()), Some("g2"));
}

#[test]
fn a_donor_writes_on_where_no_other_member_can() {
    let mut rig = Rig::new(Settings::default());
    rig.step();
    rig.wsrep(0).local_state = DONOR;
    rig.wsrep(0).desynced = true;
    rig.wsrep(1).local_state = 1;
    rig.nodes[2].1 = false;
    rig.now += DONOR_GRACE;
    assert_eq!(writer(&rig.step()), Some("g1"));
    rig.now += DONOR_GRACE;
    assert_eq!(writer(&rig.step()), Some("g1"));
    rig.wsrep(0).donor_rejects_queries = true;
    assert_eq!(writer(&rig.step()), None);
}

#[test]
fn a_long_receive_queue_is_lag() {
    let mut rig = Rig::new(Settings { donor_reads: false, max_recv_queue: 100 });
    rig.wsrep(1).recv_queue = 101;
    assert_eq!(unfit(&rig.step(), "g2"), Some(Status::Lagging));
}

#[test]
fn a_read_only_member_never_writes() {
    let mut rig = Rig::new(Settings::default());
    rig.nodes[0].2.read_only = true;
    let outcome = rig.step();
    assert_eq!(writer(&outcome), Some("g2"));
    assert_eq!(unfit(&outcome, "g1"), None);
}

#[test]
fn a_refused_monitor_takes_no_member_out_unless_the_others_count_it_out() {
    let mut rig = Rig::new(Settings::default());
    assert_eq!(writer(&rig.step()), Some("g1"));
    let unread = Unread { since: rig.now, kind: CheckFailure::Denied, known: true };
    for name in ["g1", "g2", "g3"] {
        rig.unread.insert(name.into(), unread);
    }
    rig.now += ms(86_400_000);
    let outcome = rig.step();
    assert_eq!(writer(&outcome), Some("g1"));
    assert_eq!(unfit(&outcome, "g2"), None);
    assert!(outcome.roles["g1"].reason.contains("as last read"));
    for name in ["g2", "g3"] {
        rig.unread.remove(name);
    }
    assert_eq!(writer(&rig.step()), Some("g1"));
    // The two that can be read have lost sight of the third.
    (1..3).for_each(|index| rig.wsrep(index).cluster_size = 2);
    let outcome = rig.step();
    assert_eq!(writer(&outcome), Some("g2"));
    assert_eq!(unfit(&outcome, "g1"), Some(Status::Broken));
}

#[test]
fn a_member_that_stays_out_for_another_reason_is_told_of_once_more() {
    let mut rig = Rig::new(Settings { donor_reads: false, max_recv_queue: 0 });
    rig.step();
    // A refused command says no more than that it is not ready; the next check reads why.
    rig.wsrep(1).ready = false;
    rig.step();
    rig.wsrep(1).ready = true;
    rig.wsrep(1).rejects_queries = true;
    rig.step();
    let told: Vec<_> = rig.events.iter().map(|event| event.text.as_str()).collect();
    assert_eq!(told, ["broken: wsrep_reject_queries is on"]);
    rig.step();
    assert!(rig.events.is_empty(), "{:?}", rig.events);
}

#[test]
fn a_start_with_a_member_that_is_slow_to_answer_raises_no_alarm() {
    let mut rig = Rig::new(Settings::default());
    rig.unchecked = vec!["g2".into(), "g3".into()];
    let outcome = rig.step();
    assert!(matches!(outcome.writes, Writes::Waiting { .. }));
    let told = |rig: &Rig| {
        let calm = rig.events.iter().all(|event| event.severity == Severity::Info);
        (calm, rig.events.iter().any(|event| event.kind == Kind::NoPrimary))
    };
    assert_eq!(told(&rig), (true, true), "{:?}", rig.events);
    rig.unchecked.clear();
    assert_eq!(writer(&rig.step()), Some("g1"));
    assert!(told(&rig).0, "{:?}", rig.events);
    // Without a quorum later on it is one.
    (0..3).for_each(|index| rig.wsrep(index).primary_component = false);
    rig.step();
    let alarm = rig.events.iter().find(|event| event.kind == Kind::NoPrimary);
    assert_eq!(alarm.unwrap().severity, Severity::Error);
}

/// Its address was written otherwise, or this process has just started: another was the writer at once, and stayed.
#[test]
fn a_writer_of_record_keeps_its_place_until_it_was_looked_at() {
    for restart in [false, true] {
        let mut rig = Rig::new(Settings::default());
        rig.step();
        if restart {
            let record = rig.machine.record().cloned();
            rig.machine = Machine::new("shop".into(), Settings::default(), record);
        }
        rig.unchecked = vec!["g1".into()];
        let outcome = rig.step();
        let Writes::Waiting { reason } = &outcome.writes else { panic!("{outcome:?}") };
        assert_eq!(&**reason, "the writer g1 is not checked yet");
        assert_eq!(unfit(&outcome, "g2"), None);
        rig.unchecked.clear();
        assert_eq!(writer(&rig.step()), Some("g1"));
    }
}

#[test]
fn a_writer_of_record_of_which_nothing_is_heard_loses_its_place_after_seconds() {
    let mut rig = Rig::new(Settings::default());
    rig.step();
    rig.unchecked = vec!["g1".into()];
    (0..10).for_each(|_| assert_eq!(writer(&rig.step()), None));
    assert_eq!(writer(&rig.step()), Some("g2"));
}

#[test]
fn a_writer_of_record_that_is_down_is_not_waited_for() {
    let mut rig = Rig::new(Settings::default());
    rig.step();
    let record = rig.machine.record().cloned();
    rig.machine = Machine::new("shop".into(), Settings::default(), record);
    rig.nodes[0].1 = false;
    assert_eq!(writer(&rig.step()), Some("g2"));
}
