//! Checks that wait until they may open a connection.

use super::*;

#[test]
fn a_check_that_waits_for_its_turn_is_not_told_as_failed() {
    let mut rig = Rig::up();
    assert!(checks(&rig.next()));
    assert!(rig.step(Event::CheckWaits).is_empty());
    assert_eq!(rig.health.next_deadline(), None, "nothing is due meanwhile");
    rig.now += Duration::from_secs(60);
    assert!(rig.step(Event::Tick).is_empty());
    assert!(!rig.health.is_doubted());
    assert!(rig.step(Event::CheckBegins).is_empty());
    let begun = rig.now;
    assert_eq!(rig.health.next_deadline(), Some(begun + ms(600)), "its time begins with its turn");
    rig.ok();
    assert_eq!(rig.health.next_deadline(), Some(begun + ms(500)), "and so does the next interval");
    assert!(rig.is_up());
}

#[test]
fn silence_counts_from_the_turn_on() {
    let mut rig = Rig::up();
    for fails in [false, true] {
        assert!(checks(&rig.next()));
        rig.step(Event::CheckWaits);
        rig.now += Duration::from_secs(5);
        // What sessions hear while it waits is no answer to it.
        rig.step(Event::Heard);
        rig.step(Event::CheckBegins);
        rig.now += ms(500);
        assert_eq!(down(&rig.fails(CheckFailure::Timeout)), fails);
    }
}

/// One more check for each failure would be too many where all wait for their turns.
#[test]
fn a_failure_of_traffic_while_a_check_waits_is_answered_by_that_check() {
    let mut rig = Rig::up();
    rig.next();
    rig.step(Event::CheckWaits);
    assert!(!checks(&rig.traffic(TrafficFailure::Lost)));
    rig.step(Event::CheckBegins);
    assert!(!checks(&rig.ok()));
    assert_eq!(rig.health.next_deadline(), Some(rig.now + ms(500)));
}
