use super::*;

fn waiting(outcome: &Outcome) -> &str {
    let Writes::Waiting { reason } = &outcome.writes else { panic!("{outcome:?}") };
    reason
}

/// Where a backend gets a topology its servers are up, and not read: whoever was read first was the primary.
#[test]
fn who_is_read_first_is_no_primary_before_all_that_answer_were_read() {
    for two in [false, true] {
        let mut rig = Rig::new();
        if two {
            rig.promote(1);
        }
        rig.read = vec![true, false, true];
        let told = "no primary is known; db2 is alive, but its status was not read yet";
        assert_eq!(waiting(&rig.step()), told);
        rig.read = vec![true; 3];
        let outcome = rig.step();
        assert_eq!(primary(&outcome), Some("db1").filter(|_| !two));
        assert_eq!(matches!(outcome.writes, Writes::Refused { .. }), two);
    }
}

#[test]
fn a_writable_replica_that_knows_its_source_by_another_address_is_not_the_primary() {
    let mut rig = Rig::new();
    rig.seen[1].read_only = false;
    rig.source(1).host = "127.0.0.1".to_owned();
    rig.read[0] = false;
    assert_eq!(primary(&rig.step()), None);
    rig.read[0] = true;
    assert_eq!(primary(&rig.step()), Some("db1"));
}

/// It was told to be a stranger's replica, a millisecond before the primary was read.
#[test]
fn a_replica_read_before_its_source_of_another_name_is_no_strangers_replica() {
    let mut rig = Rig::new();
    for index in [1, 2] {
        rig.source(index).host = "127.0.0.1".to_owned();
    }
    rig.read[0] = false;
    is(&rig.step(), "db2", Role::Replica, Some(Status::Unknown));
    assert!(!rig.told(Kind::Quarantine), "{:?}", rig.events);
    rig.read[0] = true;
    is(&rig.step(), "db2", Role::Replica, None);
}

#[test]
fn a_first_primary_waits_a_while_for_one_that_cannot_be_read_and_for_a_source_as_long_as_that_lasts()
 {
    for is_source in [false, true] {
        let mut rig = Rig::new();
        rig.promote(1);
        if !is_source {
            rig.follow(2, 1);
        }
        rig.deny(0);
        rig.unread[0].as_mut().unwrap().known = false;
        let why = "no primary is known; db1 is alive, but its role is not known: \
                   the monitor's account is refused";
        for _ in 1..20 {
            assert_eq!(waiting(&rig.step()), why);
        }
        let outcome = rig.step();
        assert_eq!(primary(&outcome), Some("db2").filter(|_| !is_source));
        if is_source {
            let what = "another server replicates from it: repair that, or put it into maintenance";
            assert_eq!(waiting(&outcome), format!("{why}; {what}"));
        }
        rig.unread[0] = None;
        let outcome = rig.step();
        if is_source {
            assert!(matches!(outcome.writes, Writes::Refused { .. }), "{outcome:?}");
        } else {
            is(&outcome, "db1", Role::Replica, Some(Status::Quarantined));
        }
    }
}
