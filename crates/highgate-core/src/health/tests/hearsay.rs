//! Errors that speak of a server and may be their statement's own making.

use super::*;

/// One that is up and was read as taking writes.
fn writable(settings: HealthSettings) -> Rig {
    let mut rig = Rig::new(settings);
    rig.step(Event::Tick);
    let facts = Observation {
        at: rig.now,
        read_only: false,
        server_id: 1,
        uuid: None,
        gtid: String::new(),
        sources: Vec::new(),
        galera: None,
    };
    rig.step(Event::CheckOk { latency: ms(1), facts: Some(Box::new(facts)) });
    assert!(rig.is_up());
    rig
}

#[test]
fn hearsay_asks_for_a_check_and_for_nothing_else_however_often_it_comes() {
    let mut rig = writable(SETTINGS);
    rig.now += ms(300);
    let check = [Action::CheckNow { timeout: ms(500), afresh: false }];
    assert_eq!(rig.traffic(TrafficFailure::Hearsay), check);
    for _ in 0..100 {
        assert_eq!(rig.traffic(TrafficFailure::Hearsay), []);
    }
    assert!(!rig.health.facts().unwrap().read_only);
    // It is no second witness: one failed check takes nobody out.
    assert!(!down(&rig.fails(CheckFailure::Refused)));
    // The server's own word is believed as before.
    let told = rig.traffic(TrafficFailure::ReadOnly);
    assert!(told.contains(&Action::Replan), "{told:?}");
    assert!(rig.health.facts().unwrap().read_only);
}

#[test]
fn without_checks_hearsay_takes_no_server_out() {
    let mut rig = writable(HealthSettings { active: false, ..SETTINGS });
    for _ in 0..100 {
        assert_eq!(rig.traffic(TrafficFailure::Hearsay), []);
    }
    assert!(rig.is_up());
}
