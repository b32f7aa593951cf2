use super::*;

/// A rival, quarantined and hours behind, was made primary as soon as the primary was away for a moment.
#[test]
fn a_server_that_the_primary_took_writes_beside_for_long_does_not_take_its_place() {
    for (detached, restart, closed) in
        [(true, false, false), (true, true, false), (true, false, true), (false, false, false)]
    {
        let mut rig = Rig::new();
        rig.step();
        rig.seen[1].read_only = false;
        if detached {
            rig.promote(1);
        }
        for number in 2..15 {
            rig.seen[0].gtid = format!("0-1-{number}");
            assert_eq!(primary(&rig.step()), Some("db1"));
        }
        if restart {
            rig.machine = Machine::new("shop".into(), rig.machine.record().cloned());
        }
        (rig.alive[0], rig.seen[0].read_only) = (closed, closed);
        let outcome = rig.step();
        assert_eq!(primary(&outcome), None, "{detached} {restart} {closed}");
        if detached {
            let Writes::Refused { reason } = &outcome.writes else { panic!("{outcome:?}") };
            let told =
                if restart { "was not seen as its replica" } else { "was writable beside it" };
            assert!(reason.contains(told), "{reason}");
        } else {
            is(&outcome, "db2", Role::Replica, None);
        }
        (rig.alive[0], rig.seen[0].read_only) = (true, false);
        assert_eq!(primary(&rig.step()), Some("db1"));
    }
}

#[test]
fn a_rival_is_promoted_by_closing_and_opening_it_or_by_detaching_it_once_the_primary_is_gone() {
    for detached in [true, false] {
        let mut rig = Rig::new();
        rig.step();
        rig.seen[1].read_only = false;
        if detached {
            rig.promote(1);
        }
        (0..15).for_each(|_| assert_eq!(primary(&rig.step()), Some("db1")));
        rig.alive[0] = false;
        assert_eq!(primary(&rig.step()), None);
        if detached {
            rig.seen[1].read_only = true;
            assert_eq!(primary(&rig.step()), None);
        }
        rig.promote(1);
        assert_eq!(primary(&rig.step()), Some("db2"));
    }
}

#[test]
fn who_was_opened_shortly_before_the_primary_died_takes_its_place_with_all_that_it_had() {
    for restarts in [false, true] {
        let mut rig = Rig::new();
        rig.step();
        rig.promote(1);
        rig.step();
        rig.seen[0].gtid = "0-1-9".to_owned();
        assert_eq!(primary(&rig.step()), Some("db1"));
        rig.alive[0] = false;
        let lacks = |outcome: &Outcome| matches!(&outcome.writes, Writes::Refused { reason } if reason.contains("lack writes"));
        assert!(lacks(&rig.step()));
        if restarts {
            // For the sake of its configuration file, and not for a switchover.
            (rig.alive[0], rig.seen[0].read_only) = (true, true);
            assert!(lacks(&rig.step()));
        }
        rig.seen[1].gtid = "0-1-9".to_owned();
        assert_eq!(primary(&rig.step()), Some("db2"));
    }
}

#[test]
fn who_was_opened_shortly_before_the_primary_was_closed_takes_its_place() {
    let mut rig = Rig::new();
    rig.step();
    rig.promote(1);
    rig.step();
    rig.seen[0].gtid = "0-1-9".to_owned();
    assert_eq!(primary(&rig.step()), Some("db1"));
    rig.seen[0].read_only = true;
    assert_eq!(primary(&rig.step()), Some("db2"));
}

#[test]
fn a_switchover_that_takes_its_time_is_followed_where_nothing_is_lost() {
    for (same, opened) in [(true, true), (true, false), (false, true), (false, false)] {
        let mut rig = Rig::new();
        rig.seen[1].read_only = opened;
        rig.step();
        rig.promote(1);
        (0..30).for_each(|_| assert_eq!(primary(&rig.step()), Some("db1")));
        rig.seen[1].gtid = if same { "0-1-1" } else { "0-2-2" }.to_owned();
        rig.seen[0].read_only = true;
        assert_eq!(primary(&rig.step()), Some("db2").filter(|_| same));
    }
}

#[test]
fn a_rival_that_is_away_while_the_primary_takes_writes_comes_back_as_no_heir() {
    let mut rig = Rig::new();
    rig.step();
    rig.promote(1);
    rig.step();
    rig.alive[1] = false;
    (0..15).for_each(|_| assert_eq!(primary(&rig.step()), Some("db1")));
    (rig.alive[0], rig.alive[1]) = (false, true);
    assert_eq!(primary(&rig.step()), None);
}
