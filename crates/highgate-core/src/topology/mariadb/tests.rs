mod beside;
mod blind;
mod emptied;
mod first;

use std::time::Duration;

use highgate_config::{Address, AdminState};

use super::*;
use crate::{
    health::{CheckFailure, Unread},
    snapshot::{Status, Writes},
    testing::{ms, origin},
    topology::{IoThread, Source},
};

/// Three servers, db1 writable, the others its replicas.
struct Rig {
    machine: Machine,
    names: Vec<ServerName>,
    addresses: Vec<Address>,
    alive: Vec<bool>,
    checked: Vec<bool>,
    /// Whether the status of a checked one was read, ever.
    read: Vec<bool>,
    seen: Vec<Observation>,
    unread: Vec<Option<Unread>>,
    doubted: Vec<bool>,
    now: Instant,
    events: Vec<Event>,
}

impl Rig {
    fn new() -> Self {
        let now = origin();
        let names: Vec<ServerName> = ["db1", "db2", "db3"].into_iter().map(Into::into).collect();
        let address = |name: &ServerName| Address::Host(name.to_string(), 3306);
        let mut rig = Self {
            machine: Machine::new("shop".into(), None),
            addresses: names.iter().map(address).collect(),
            names,
            alive: vec![true; 3],
            checked: vec![true; 3],
            read: vec![true; 3],
            unread: vec![None; 3],
            doubted: vec![false; 3],
            seen: (1..=3).map(|id| observation(id, now)).collect(),
            now,
            events: Vec::new(),
        };
        rig.seen[0].read_only = false;
        rig.follow(1, 0);
        rig.follow(2, 0);
        rig
    }

    fn follow(&mut self, index: usize, source: usize) {
        self.seen[index].read_only = true;
        self.seen[index].sources = vec![Source {
            name: String::new(),
            host: self.names[source].to_string(),
            port: 3306,
            server_id: self.seen[source].server_id,
            io: IoThread::Running,
            sql_running: true,
            seconds_behind: Some(0),
            error: None,
        }];
    }

    fn promote(&mut self, index: usize) {
        self.seen[index].read_only = false;
        self.seen[index].sources.clear();
    }

    /// The monitor's account is refused there from now on.
    fn deny(&mut self, index: usize) {
        self.unread[index] =
            Some(Unread { since: self.now, kind: CheckFailure::Denied, known: true });
    }

    /// The first server's table is deleted.
    fn forget_first(&mut self) {
        self.names.remove(0);
        self.addresses.remove(0);
        self.alive.remove(0);
        self.checked.remove(0);
        self.read.remove(0);
        self.seen.remove(0);
        self.unread.remove(0);
        self.doubted.remove(0);
    }

    fn source(&mut self, index: usize) -> &mut Source {
        &mut self.seen[index].sources[0]
    }

    fn step(&mut self) -> Outcome {
        self.now += ms(500);
        for (index, seen) in self.seen.iter_mut().enumerate() {
            if self.alive[index] && self.unread[index].is_none() && !self.doubted[index] {
                seen.at = self.now;
            }
        }
        let inputs: Vec<_> = (0..self.names.len())
            .map(|index| Input {
                name: &self.names[index],
                address: &self.addresses[index],
                admin: AdminState::Enabled,
                checked: self.checked[index],
                alive: self.alive[index],
                seen: (self.checked[index] && self.read[index]).then_some(&self.seen[index]),
                unread: self.unread[index],
                doubted: self.doubted[index],
                max_lag: Some(Duration::from_secs(10)),
            })
            .collect();
        self.events.clear();
        self.machine.step(&inputs, self.now, &mut self.events)
    }

    fn told(&self, kind: Kind) -> bool {
        self.events.iter().any(|event| event.kind == kind)
    }
}

fn observation(id: u32, at: Instant) -> Observation {
    Observation {
        at,
        read_only: true,
        server_id: id,
        uuid: None,
        gtid: format!("0-{id}-1"),
        sources: Vec::new(),
        galera: None,
    }
}

fn is(outcome: &Outcome, name: &str, role: Role, unfit: Option<Status>) {
    let assigned = &outcome.roles[name];
    assert_eq!((assigned.role, assigned.unfit), (role, unfit), "{name}: {}", assigned.reason);
}

fn primary(outcome: &Outcome) -> Option<&str> {
    assert_eq!(outcome.primary.is_some(), outcome.writes == Writes::Open);
    outcome.primary.as_ref().map(ServerName::as_str)
}

#[test]
fn the_writable_server_is_primary_and_those_that_follow_it_are_replicas() {
    let outcome = Rig::new().step();
    assert_eq!(primary(&outcome), Some("db1"));
    is(&outcome, "db1", Role::Primary, None);
    is(&outcome, "db2", Role::Replica, None);
    is(&outcome, "db3", Role::Replica, None);
}

#[test]
fn while_the_primary_is_down_writes_wait_and_replicas_go_on_serving() {
    let mut rig = Rig::new();
    rig.step();
    rig.alive[0] = false;
    for index in [1, 2] {
        rig.source(index).io = IoThread::Connecting;
        rig.source(index).seconds_behind = None;
    }
    let outcome = rig.step();
    assert!(matches!(outcome.writes, Writes::Waiting { .. }));
    assert!(rig.told(Kind::NoPrimary));
    is(&outcome, "db1", Role::None, Some(Status::Down));
    is(&outcome, "db2", Role::Replica, None);
    assert!(outcome.roles["db2"].reason.contains("until that stopped"));
    rig.step();
    assert!(rig.events.is_empty(), "told once: {:?}", rig.events);
}

#[test]
fn a_promoted_replica_is_primary_at_once_and_those_left_behind_are_not_read_from() {
    let mut rig = Rig::new();
    rig.step();
    rig.alive[0] = false;
    rig.step();
    rig.promote(1);
    let outcome = rig.step();
    assert_eq!(primary(&outcome), Some("db2"));
    assert!(rig.told(Kind::Failover));
    assert_eq!(rig.machine.record().unwrap().term, 2);
    assert!(outcome.roles["db3"].unfit.is_some(), "follows a dead server");
    rig.follow(2, 1);
    is(&rig.step(), "db3", Role::Replica, None);
}

#[test]
fn a_promotion_that_leaves_the_replication_threads_on_counts_as_well() {
    let mut rig = Rig::new();
    rig.step();
    rig.alive[0] = false;
    rig.source(1).io = IoThread::Connecting;
    rig.step();
    rig.seen[1].read_only = false;
    assert_eq!(primary(&rig.step()), Some("db2"));
}

#[test]
fn a_careless_writable_replica_is_never_promoted_by_a_death() {
    let mut rig = Rig::new();
    rig.seen[1].read_only = false;
    assert_eq!(primary(&rig.step()), Some("db1"));
    rig.alive[0] = false;
    rig.source(1).io = IoThread::Connecting;
    assert_eq!(primary(&rig.step()), None);
}

#[test]
fn an_old_primary_that_returns_writable_serves_nothing_until_it_follows() {
    let mut rig = Rig::new();
    rig.step();
    rig.alive[0] = false;
    rig.promote(1);
    rig.step();
    rig.alive[0] = true;
    let outcome = rig.step();
    assert_eq!(primary(&outcome), Some("db2"));
    is(&outcome, "db1", Role::Replica, Some(Status::Quarantined));
    assert!(rig.told(Kind::SplitBrain) && rig.told(Kind::Quarantine));
    rig.follow(0, 1);
    is(&rig.step(), "db1", Role::Replica, None);
}

#[test]
fn a_returner_is_not_made_primary_even_when_the_current_one_dies() {
    let mut rig = Rig::new();
    rig.step();
    rig.alive[0] = false;
    rig.promote(1);
    rig.step();
    (rig.alive[0], rig.alive[1]) = (true, false);
    let outcome = rig.step();
    assert!(
        matches!(&outcome.writes, Writes::Refused { reason } if reason.contains("may lack writes") && reason.ends_with("`highgate ctl forget-primary shop`"))
    );
    // An operator who says so, says so by read_only.
    rig.seen[0].read_only = true;
    rig.step();
    rig.seen[0].read_only = false;
    assert_eq!(primary(&rig.step()), Some("db1"));
}

#[test]
fn with_no_record_and_two_writable_writes_are_refused_and_it_is_told() {
    let mut rig = Rig::new();
    rig.promote(1);
    let outcome = rig.step();
    assert!(matches!(&outcome.writes, Writes::Refused { reason } if reason.contains("db1, db2")));
    assert!(rig.told(Kind::SplitBrain));
    rig.follow(1, 0);
    assert_eq!(primary(&rig.step()), Some("db1"));
}

#[test]
fn a_record_survives_a_restart_and_waits_for_its_primary_to_be_checked() {
    let mut rig = Rig::new();
    rig.step();
    rig.machine = Machine::new("shop".into(), rig.machine.record().cloned());
    rig.promote(1);
    rig.checked[0] = false;
    assert!(matches!(rig.step().writes, Writes::Waiting { .. }));
    rig.checked[0] = true;
    assert_eq!(primary(&rig.step()), Some("db1"));
}

#[test]
fn without_a_record_nobody_is_primary_before_all_were_checked() {
    let mut rig = Rig::new();
    rig.checked[2] = false;
    assert_eq!(primary(&rig.step()), None);
    rig.checked[2] = true;
    rig.alive[2] = false;
    assert_eq!(primary(&rig.step()), Some("db1"));
}

#[test]
fn a_switchover_in_either_order_has_at_most_one_primary_at_each_moment() {
    for open_first in [false, true] {
        let mut rig = Rig::new();
        rig.step();
        if open_first {
            rig.promote(1);
            assert_eq!(primary(&rig.step()), Some("db1"));
            rig.seen[0].read_only = true;
        } else {
            rig.seen[0].read_only = true;
            let outcome = rig.step();
            assert!(matches!(outcome.writes, Writes::Waiting { .. }));
            is(&outcome, "db1", Role::Replica, None);
            is(&outcome, "db2", Role::Replica, None);
            rig.promote(1);
        }
        assert_eq!(primary(&rig.step()), Some("db2"));
        assert!(rig.told(Kind::Switchover));
    }
}

#[test]
fn a_replica_too_far_behind_leaves_and_comes_back_below_the_cap() {
    let mut rig = Rig::new();
    rig.step();
    rig.source(1).seconds_behind = Some(60);
    let outcome = rig.step();
    is(&outcome, "db2", Role::Replica, Some(Status::Lagging));
    assert!(rig.told(Kind::Lag));
    assert_eq!(outcome.roles["db2"].lag_ms, Some(60_000));
    rig.source(1).seconds_behind = Some(9);
    is(&rig.step(), "db2", Role::Replica, Some(Status::Lagging));
    rig.source(1).seconds_behind = Some(7);
    is(&rig.step(), "db2", Role::Replica, None);
    assert!(rig.told(Kind::Lag));
}

#[test]
fn a_replica_whose_applier_stopped_is_out_and_the_reason_names_its_error() {
    let mut rig = Rig::new();
    rig.step();
    rig.source(1).sql_running = false;
    rig.source(1).seconds_behind = None;
    rig.source(1).error = Some("Duplicate entry '7'".to_owned());
    let outcome = rig.step();
    is(&outcome, "db2", Role::Replica, Some(Status::Broken));
    assert!(outcome.roles["db2"].reason.contains("Duplicate entry"));
}

/// It had replicated well once: with the primary gone that was taken for its state, and old rows were read.
#[test]
fn a_replica_that_was_behind_stays_out_when_the_primary_goes() {
    for (read_only, stopped) in [(true, true), (true, false), (false, true), (false, false)] {
        let mut rig = Rig::new();
        rig.step();
        rig.source(1).sql_running = !stopped;
        rig.source(1).seconds_behind = Some(60).filter(|_| !stopped);
        let out = Some(if stopped { Status::Broken } else { Status::Lagging });
        is(&rig.step(), "db2", Role::Replica, out);
        if read_only {
            rig.seen[0].read_only = true;
        } else {
            rig.alive[0] = false;
            for replica in [1, 2] {
                rig.source(replica).io = IoThread::Connecting;
                rig.source(replica).seconds_behind = None;
            }
        }
        for _ in 0..30 {
            let outcome = rig.step();
            is(&outcome, "db2", Role::Replica, out);
            is(&outcome, "db3", Role::Replica, None);
        }
        // As soon as it is known that it has caught up it serves again.
        rig.source(1).sql_running = true;
        rig.source(1).io = IoThread::Running;
        rig.source(1).seconds_behind = Some(0);
        is(&rig.step(), "db2", Role::Replica, None);
    }
}

#[test]
fn a_chain_counts_with_the_lag_of_all_its_links() {
    let mut rig = Rig::new();
    rig.follow(2, 1);
    rig.source(1).seconds_behind = Some(3);
    rig.source(2).seconds_behind = Some(2);
    let outcome = rig.step();
    is(&outcome, "db3", Role::Replica, None);
    assert_eq!(outcome.roles["db3"].lag_ms, Some(5000));
    rig.source(1).sql_running = false;
    let outcome = rig.step();
    is(&outcome, "db3", Role::Replica, Some(Status::Broken));
    let reason = "replicates through db2, whose replication is stopped (SQL thread)";
    assert_eq!(*outcome.roles["db3"].reason, *reason);
}

#[test]
fn a_replica_of_a_stranger_and_a_circle_are_quarantined() {
    let mut rig = Rig::new();
    rig.source(1).host = "elsewhere".to_owned();
    rig.source(1).server_id = 99;
    is(&rig.step(), "db2", Role::Replica, Some(Status::Quarantined));
    rig.follow(1, 2);
    rig.follow(2, 1);
    is(&rig.step(), "db3", Role::Replica, Some(Status::Quarantined));
}

#[test]
fn a_server_that_took_the_primarys_name_and_address_is_not_the_primary() {
    let mut rig = Rig::new();
    rig.step();
    rig.seen[0].server_id = 77;
    let outcome = rig.step();
    assert!(matches!(&outcome.writes, Writes::Refused { .. }));
}

#[test]
fn a_status_that_was_not_read_for_long_is_no_status() {
    let mut rig = Rig::new();
    rig.step();
    let read_at = rig.now;
    rig.now += ms(15_000);
    let inputs = [Input {
        name: &rig.names[0],
        address: &rig.addresses[0],
        admin: AdminState::Enabled,
        checked: true,
        alive: true,
        seen: Some(&rig.seen[0]),
        unread: None,
        doubted: false,
        max_lag: None,
    }];
    assert_eq!(rig.seen[0].at, read_at);
    let outcome = rig.machine.step(&inputs, rig.now, &mut Vec::new());
    assert_eq!(primary(&outcome), None);
}

#[test]
fn a_record_can_be_stored_and_read_back() {
    fn storable<T: serde::Serialize + serde::de::DeserializeOwned>() {}
    storable::<PrimaryRecord>();
}

#[test]
fn a_refused_monitor_changes_no_role_however_long_it_lasts() {
    let mut rig = Rig::new();
    rig.step();
    (0..3).for_each(|index| rig.deny(index));
    rig.now += ms(86_400_000);
    let outcome = rig.step();
    assert_eq!(primary(&outcome), Some("db1"));
    is(&outcome, "db2", Role::Replica, None);
    assert_eq!(
        &*outcome.roles["db1"].reason,
        "writable (read_only=0), as last read: the monitor's account is refused"
    );
    // Nobody knows how far behind it is: commands that ask for freshness pass it over.
    assert_eq!(outcome.roles["db2"].lag_ms, None);
    assert_eq!(rig.events, []);
}

#[test]
fn a_server_that_was_never_read_since_it_came_up_has_no_role() {
    let mut rig = Rig::new();
    rig.step();
    rig.deny(0);
    rig.unread[0].as_mut().unwrap().known = false;
    let outcome = rig.step();
    assert_eq!(primary(&outcome), None);
    is(&outcome, "db1", Role::None, Some(Status::Broken));
    assert!(outcome.roles["db1"].reason.contains("account is refused"));
}

#[test]
fn a_promotion_is_followed_although_the_old_primary_cannot_be_read() {
    let mut rig = Rig::new();
    rig.step();
    rig.deny(0);
    rig.step();
    rig.promote(1);
    let outcome = rig.step();
    assert_eq!(primary(&outcome), Some("db2"));
    is(&outcome, "db1", Role::Replica, Some(Status::Quarantined));
    // What was read of it long ago makes it no heir.
    rig.alive[1] = false;
    assert_eq!(primary(&rig.step()), None);
}

#[test]
fn a_replica_made_writable_that_goes_on_fetching_from_an_unread_primary_takes_no_writes() {
    let mut rig = Rig::new();
    rig.step();
    rig.deny(0);
    rig.seen[1].read_only = false;
    assert_eq!(primary(&rig.step()), Some("db1"));
    rig.source(1).io = IoThread::Connecting;
    assert_eq!(primary(&rig.step()), Some("db2"));
}

#[test]
fn a_promotion_right_after_a_death_is_followed_at_the_first_failed_check() {
    let mut rig = Rig::new();
    rig.step();
    rig.promote(1);
    rig.doubted[0] = true;
    assert_eq!(primary(&rig.step()), Some("db2"));
}

#[test]
fn one_lost_check_of_a_primary_seen_writable_after_the_rival_changes_nothing() {
    let mut rig = Rig::new();
    rig.step();
    rig.promote(1);
    let outcome = rig.step();
    assert_eq!(primary(&outcome), Some("db1"));
    is(&outcome, "db2", Role::Replica, Some(Status::Quarantined));
    assert!(rig.told(Kind::SplitBrain));
    rig.doubted[0] = true;
    assert_eq!(primary(&rig.step()), Some("db1"));
}

#[test]
fn a_primary_that_restarted_unseen_and_follows_the_promoted_one_is_replaced_by_it() {
    for read_only in [true, false] {
        let mut rig = Rig::new();
        rig.step();
        rig.promote(1);
        rig.follow(0, 1);
        rig.seen[0].read_only = read_only;
        assert_eq!(primary(&rig.step()), Some("db2"));
        // The same the other way round, where the primary was promoted itself.
        rig.follow(0, 1);
        rig.step();
        rig.promote(0);
        rig.follow(1, 0);
        rig.seen[1].read_only = read_only;
        assert_eq!(primary(&rig.step()), Some("db1"));
    }
}

#[test]
fn a_switchover_between_two_checks_is_followed_at_the_first_that_sees_it() {
    let mut rig = Rig::new();
    rig.step();
    rig.promote(1);
    rig.follow(0, 1);
    assert_eq!(primary(&rig.step()), Some("db2"));
    assert!(rig.told(Kind::Switchover));
}

#[test]
fn until_all_were_looked_at_once_that_nobody_is_the_primary_is_no_alarm() {
    let alarms = |rig: &Rig| {
        let of = |event: &&Event| event.kind == Kind::NoPrimary;
        rig.events.iter().filter(of).map(|event| event.severity).collect::<Vec<_>>()
    };
    let mut rig = Rig::new();
    rig.alive[0] = false;
    rig.checked[2] = false;
    rig.step();
    assert_eq!(alarms(&rig), [Severity::Info]);
    rig.step();
    assert_eq!(alarms(&rig), []);
    // All had their turn, and it stays so: now it is one.
    rig.checked[2] = true;
    rig.step();
    assert_eq!(alarms(&rig), [Severity::Error]);
    // A server that is added later makes no outage a beginning.
    rig.alive[0] = true;
    assert_eq!(primary(&rig.step()), Some("db1"));
    rig.alive[0] = false;
    rig.checked[2] = false;
    rig.step();
    assert_eq!(alarms(&rig), [Severity::Error]);
}

#[test]
fn a_dead_primary_that_leaves_the_configuration_leaves_its_replicas_to_serve_reads() {
    for (restart, chain) in [(false, false), (false, true), (true, false), (true, true)] {
        let mut rig = Rig::new();
        // Replicas may know it by another address than the configuration, and forget its number when they
        // start anew.
        rig.source(1).host = "10.0.0.1".to_owned();
        rig.source(1).server_id = 1;
        if chain {
            rig.follow(2, 1);
        }
        rig.step();
        rig.alive[0] = false;
        for index in [1, 2] {
            rig.source(index).io = IoThread::Connecting;
            rig.source(index).seconds_behind = None;
        }
        rig.step();
        rig.source(1).server_id = 0;
        rig.forget_first();
        if restart {
            rig.machine = Machine::new("shop".into(), rig.machine.record().cloned());
        }
        for _ in 0..30 {
            let outcome = rig.step();
            is(&outcome, "db2", Role::Replica, None);
            is(&outcome, "db3", Role::Replica, None);
            let reason = &outcome.roles["db2"].reason;
            assert!(
                reason.ends_with("(db1 is not in the configuration any more)")
                    && (restart || reason.starts_with("replicated well from db1 until")),
                "{reason}"
            );
            let Writes::Waiting { reason } = &outcome.writes else { panic!("{outcome:?}") };
            let why = "the primary db1 is not in the configuration any more, \
                       and no other server is writable (read_only=0)";
            assert_eq!(**reason, *why);
        }
        rig.promote(0);
        assert_eq!(primary(&rig.step()), Some("db2"));
        assert!(rig.told(Kind::Failover));
    }
}

#[test]
fn replicas_of_a_primary_that_lives_on_outside_the_configuration_are_out_when_they_fall_behind() {
    for stopped in [false, true] {
        let mut rig = Rig::new();
        rig.step();
        rig.forget_first();
        is(&rig.step(), "db2", Role::Replica, None);
        rig.source(0).sql_running = !stopped;
        rig.source(0).seconds_behind = Some(60).filter(|_| !stopped);
        let out = Some(if stopped { Status::Broken } else { Status::Lagging });
        is(&rig.step(), "db2", Role::Replica, out);
        // Then it dies: how far its replica has come is not known any more.
        rig.source(0).io = IoThread::Connecting;
        rig.source(0).seconds_behind = None;
        is(&rig.step(), "db2", Role::Replica, out);
        is(&rig.step(), "db3", Role::Replica, None);
    }
}

#[test]
fn a_stranger_is_no_source_although_a_primary_has_left_the_configuration() {
    let mut rig = Rig::new();
    rig.step();
    rig.forget_first();
    // Another server has its address now, or its number.
    rig.source(0).server_id = 99;
    rig.source(1).host = "elsewhere".to_owned();
    let outcome = rig.step();
    is(&outcome, "db2", Role::Replica, Some(Status::Quarantined));
    is(&outcome, "db3", Role::Replica, Some(Status::Quarantined));
    let reason = "replicates from elsewhere:3306, which is no server of this backend";
    assert_eq!(*outcome.roles["db3"].reason, *reason);
}

/// They were quarantined, and their READ ONLY transactions lost, until the new address was looked up.
#[test]
fn replicas_serve_on_until_a_primary_is_checked_at_its_respelled_address() {
    for answers in [true, false] {
        let mut rig = Rig::new();
        rig.step();
        rig.addresses[0] = Address::Ip("127.0.0.1:3306".parse().unwrap());
        (rig.checked[0], rig.alive[0]) = (false, false);
        let outcome = rig.step();
        for name in ["db2", "db3"] {
            is(&outcome, name, Role::Replica, None);
            let reason = &outcome.roles[name].reason;
            assert!(
                reason.ends_with("(db1 is not checked yet at the address that it has now)"),
                "{reason}"
            );
        }
        assert!(!rig.told(Kind::Quarantine), "{:?}", rig.events);
        (rig.checked[0], rig.alive[0]) = (true, answers);
        if !answers {
            // It was never read.
            rig.seen[0].server_id = 0;
        }
        let outcome = rig.step();
        assert_eq!(primary(&outcome), Some("db1").filter(|_| answers));
        // What does not answer is not known to be their source.
        let unfit = Some(Status::Quarantined).filter(|_| !answers);
        is(&outcome, "db2", Role::Replica, unfit);
    }
}

#[test]
fn who_replicates_from_elsewhere_is_a_stranger_also_while_the_primary_is_not_checked() {
    let mut rig = Rig::new();
    rig.step();
    rig.addresses[0] = Address::Ip("127.0.0.1:3306".parse().unwrap());
    (rig.checked[0], rig.alive[0]) = (false, false);
    rig.source(1).host = "elsewhere".to_owned();
    let outcome = rig.step();
    is(&outcome, "db2", Role::Replica, Some(Status::Quarantined));
    is(&outcome, "db3", Role::Replica, None);
}

/// "The primary db2 is answers, but its status could not be read."
#[test]
fn why_a_primary_takes_no_writes_reads_well_whatever_it_is() {
    let unread = |rig: &mut Rig, kind| {
        rig.unread[0] = Some(Unread { since: rig.now, kind, known: false });
    };
    let down: &dyn Fn(&mut Rig) = &|rig| rig.alive[0] = false;
    let stale: &dyn Fn(&mut Rig) = &|rig| {
        rig.doubted[0] = true;
        rig.now += ms(20_000);
    };
    for (befall, is) in [
        (down, "down"),
        (stale, "alive, but its status could not be read"),
        (
            &|rig| unread(rig, CheckFailure::Denied),
            "alive, but its role is not known: the monitor's account is refused",
        ),
        (
            &|rig| unread(rig, CheckFailure::Full),
            "alive, but its role is not known: no connection is free for the monitor",
        ),
        (
            &|rig| unread(rig, CheckFailure::Slow),
            "alive, but its role is not known: its answers to the monitor are late",
        ),
        (&|rig| rig.seen[0].read_only = true, "read-only"),
    ] {
        let mut rig = Rig::new();
        assert_eq!(rig.step().writes, Writes::Open);
        befall(&mut rig);
        let Writes::Waiting { reason } = rig.step().writes else { panic!("{is}") };
        assert_eq!(*reason, *format!("the primary db1 is {is}, and no other server is writable"));
    }
}

#[test]
fn strangers_that_are_writable_beside_a_lost_primary_are_told_by_their_number() {
    for (count, told) in [
        (1, "is down; db2 is writable but was not seen as its replica and may lack writes"),
        (2, "is down; db2, db3 are writable but were not seen as its replicas and may lack writes"),
    ] {
        let mut rig = Rig::new();
        rig.step();
        // Added since, and this node has just started.
        let mut record = rig.machine.record().unwrap().clone();
        record.followers.clear();
        rig.machine = Machine::new("shop".into(), Some(record));
        rig.alive[0] = false;
        (1..=count).for_each(|index| rig.promote(index));
        let Writes::Refused { reason } = rig.step().writes else { panic!("{told}") };
        assert!(reason.contains(told), "{reason}");
    }
}
