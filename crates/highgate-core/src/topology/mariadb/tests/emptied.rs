use super::*;

/// The primary, after a hundred transactions that its replicas have, and away.
fn away() -> Rig {
    let mut rig = Rig::new();
    rig.seen.iter_mut().for_each(|seen| seen.gtid = "0-1-100".to_owned());
    rig.step();
    rig.alive[0] = false;
    rig.step();
    rig
}

/// Its volume was lost, and its number is the one that the configuration file says.
#[test]
fn a_primary_that_comes_back_without_its_data_takes_no_place_before_an_operator_says_so() {
    for (read_only, restart) in [(false, false), (true, false), (false, true)] {
        let mut rig = away();
        (rig.alive[0], rig.seen[0].read_only) = (true, read_only);
        rig.seen[0].gtid = "0-1-4".to_owned();
        if restart {
            rig.machine = Machine::new("shop".into(), rig.machine.record().cloned());
            rig.checked = vec![true, false, false];
            assert_eq!(primary(&rig.step()), None);
            rig.checked = vec![true; 3];
        }
        let outcome = rig.step();
        let Writes::Waiting { reason } = &outcome.writes else { panic!("{outcome:?}") };
        let told = "the primary db1 is without its data (its GTID position is `0-1-4`, and was `0-1-100`; if \
                    its rows are there, and only its binary log is new, or if that is on purpose: `highgate ctl forget-primary shop`), and no other server is writable";
        assert_eq!(**reason, *told);
        is(&outcome, "db1", Role::None, Some(Status::Quarantined));
        is(&outcome, "db2", Role::Replica, None);
        rig.promote(1);
        assert_eq!(primary(&rig.step()), Some("db2"));
    }
    for by_flag in [true, false] {
        let mut rig = away();
        rig.alive[0] = true;
        rig.seen[0].gtid.clear();
        assert_eq!(primary(&rig.step()), None);
        if by_flag {
            rig.seen[0].read_only = true;
            assert_eq!(primary(&rig.step()), None);
            rig.seen[0].read_only = false;
        } else {
            rig.machine = Machine::new("shop".into(), None);
        }
        (0..3).for_each(|_| assert_eq!(primary(&rig.step()), Some("db1")));
    }
}

#[test]
fn a_primary_goes_on_after_a_crash_and_with_a_position_that_was_reset_while_it_answered() {
    let mut rig = away();
    rig.alive[0] = true;
    rig.seen[0].gtid = "0-1-97".to_owned();
    assert_eq!(primary(&rig.step()), Some("db1"));
    rig.seen[0].gtid.clear();
    assert_eq!(primary(&rig.step()), Some("db1"));
}

#[test]
fn a_primary_whose_data_nobody_has_is_the_best_there_is() {
    let mut rig = away();
    rig.alive = vec![true, false, false];
    rig.seen[0].gtid.clear();
    assert_eq!(primary(&rig.step()), Some("db1"));
}
