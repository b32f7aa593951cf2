//! Servers that answer and are kept out, because they fell too often lately.

use super::*;

/// One that fell twice, answers again, and is held.
fn held() -> Rig {
    let mut rig = Rig::up();
    for _ in 0..2 {
        while rig.health.condition().is_alive() {
            rig.next();
            rig.fails(CheckFailure::Refused);
        }
        while !rig.health.condition().is_alive() {
            rig.next();
            rig.ok();
        }
    }
    assert!(matches!(rig.health.condition(), Condition::Held { .. }));
    rig
}

#[test]
fn a_server_that_goes_down_while_it_is_held_is_told_of_and_frees_those_who_wait_for_it() {
    // It may serve, for want of others: a statement on it must not wait for ever.
    let mut rig = held();
    rig.next();
    let first = rig.fails(CheckFailure::Refused);
    assert!(!down(&first) && rig.health.condition().is_alive(), "{first:?}");
    rig.next();
    let second = rig.fails(CheckFailure::Refused);
    assert!(down(&second), "{second:?}");
    let told = second.iter().find_map(|action| match action {
        Action::Event { severity, kind, text } => Some((*severity, *kind, text.as_str())),
        _ => None,
    });
    let text = "down again while it was kept out: check failed 2 times: ";
    let (severity, kind, said) = told.unwrap();
    assert_eq!((severity, kind), (Severity::Warning, Kind::Held));
    assert!(said.starts_with(text), "{said}");
}

#[test]
fn a_late_answer_of_a_held_server_begins_its_time_anew() {
    let mut rig = held();
    rig.now += ms(900);
    rig.step(Event::Tick);
    rig.fails(CheckFailure::Timeout);
    let anew = rig.now;
    assert_eq!(rig.health.condition(), Condition::Held { until: anew + ms(1000) });
    while !rig.is_up() {
        rig.next();
        rig.ok();
    }
    assert!(rig.now - anew >= ms(1000), "{:?}", rig.now - anew);
}

#[test]
fn what_traffic_sees_of_a_held_server_counts_as_of_any_other() {
    let mut rig = held();
    rig.now += ms(60);
    assert!(checks(&rig.traffic(TrafficFailure::Lost)));
    assert!(down(&rig.fails(CheckFailure::Refused)));
}
