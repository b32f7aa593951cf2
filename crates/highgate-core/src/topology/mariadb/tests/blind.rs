//! Replicas that do not see their primary, which lives.

use super::*;

/// The replica's link breaks; it tries to connect again.
fn lose_sight(rig: &mut Rig, index: usize) {
    rig.source(index).io = IoThread::Connecting;
    rig.source(index).seconds_behind = None;
}

/// Steps of half a second until db2 is out, and why it was read from until then.
fn steps_until_out(rig: &mut Rig) -> (u32, String) {
    let mut reason = String::new();
    for steps in 1..100 {
        let outcome = rig.step();
        if outcome.roles["db2"].unfit.is_some() {
            return (steps, reason);
        }
        reason = outcome.roles["db2"].reason.to_string();
    }
    panic!("db2 is read from for good: {reason}");
}

/// db1 takes a write.
fn write(rig: &mut Rig, number: u32) {
    rig.seen[0].gtid = format!("0-1-{number}");
}

#[test]
fn a_replica_that_lost_a_living_primary_for_long_stays_out_when_that_goes() {
    let mut rig = Rig::new();
    rig.step();
    rig.source(1).io = IoThread::Stopped;
    rig.source(1).seconds_behind = None;
    while rig.step().roles["db2"].unfit.is_none() {}
    rig.alive[0] = false;
    for _ in 0..30 {
        is(&rig.step(), "db2", Role::Replica, Some(Status::Broken));
    }
}

#[test]
fn a_replica_that_lost_a_living_primary_is_read_from_only_as_long_as_its_cap_allows() {
    let mut rig = Rig::new();
    rig.step();
    rig.source(1).io = IoThread::Connecting;
    rig.source(1).seconds_behind = None;
    for _ in 0..20 {
        is(&rig.step(), "db2", Role::Replica, None);
    }
    is(&rig.step(), "db2", Role::Replica, Some(Status::Broken));
}

/// A primary was away for half a minute; its replicas had tried right after it went, and try again a minute later.
/// They were all thrown out at its return.
#[test]
fn replicas_of_a_primary_that_was_away_for_long_have_as_long_as_ever_to_connect_again() {
    let mut rig = Rig::new();
    rig.step();
    lose_sight(&mut rig, 1);
    rig.alive[0] = false;
    for _ in 0..60 {
        is(&rig.step(), "db2", Role::Replica, None);
    }
    rig.alive[0] = true;
    assert_eq!(steps_until_out(&mut rig).0, 21);
}

#[test]
fn time_without_a_primary_does_not_make_a_replica_young_again() {
    let mut rig = Rig::new();
    rig.step();
    lose_sight(&mut rig, 1);
    let mut read_from = 0;
    for _ in 0..4 {
        rig.alive[0] = true;
        for _ in 0..6 {
            read_from += u32::from(rig.step().roles["db2"].unfit.is_none());
        }
        rig.alive[0] = false;
        for _ in 0..20 {
            rig.step();
        }
    }
    assert_eq!(read_from, 20, "steps of half a second in which the primary took writes");
}

#[test]
fn a_replica_that_connects_again_is_read_from_as_long_as_its_primary_takes_no_write() {
    let mut rig = Rig::new();
    rig.seen[1].gtid = rig.seen[0].gtid.clone();
    rig.step();
    lose_sight(&mut rig, 1);
    for _ in 0..200 {
        let outcome = rig.step();
        is(&outcome, "db2", Role::Replica, None);
        assert!(!outcome.roles["db2"].ails);
    }
    write(&mut rig, 2);
    let (steps, reason) = steps_until_out(&mut rig);
    assert_eq!((steps, reason.as_str()), (21, "replicates from db1, but connects to it again"));
}

#[test]
fn that_a_replica_fetches_no_more_is_told_before_it_is_out() {
    let mut rig = Rig::new();
    rig.step();
    rig.source(1).io = IoThread::Stopped;
    rig.source(1).seconds_behind = None;
    rig.source(1).error = Some("Could not find first log file name".to_owned());
    let mut told = Vec::new();
    for step in 1..=21 {
        rig.step();
        told.extend(rig.events.iter().map(|event| (step, event.text.to_string())));
    }
    let error = "Could not find first log file name";
    assert_eq!(
        told,
        [
            (
                4,
                format!(
                    "replica: replicates from db1, but fetches no more (IO thread is stopped): {error}"
                )
            ),
            (21, format!("broken: has not fetched from db1 for 10 s: {error}")),
        ]
    );
    rig.follow(1, 0);
    rig.step();
    assert_eq!(&*rig.events[0].text, "replica: replicates from db1");
}

#[test]
fn a_replica_of_a_replica_that_lost_sight_is_out_as_soon_as_any_other() {
    let mut rig = Rig::new();
    rig.follow(1, 2);
    rig.step();
    lose_sight(&mut rig, 1);
    assert_eq!(steps_until_out(&mut rig).0, 21);
}
