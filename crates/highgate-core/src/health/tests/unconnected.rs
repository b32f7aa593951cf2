//! Servers whose open connections work and that give no new ones.

use super::*;

fn shuns(actions: &[Action]) -> Option<Instant> {
    actions.iter().find_map(|action| match action {
        Action::Shun { until } => Some(*until),
        _ => None,
    })
}

fn told(actions: &[Action]) -> Vec<&str> {
    let texts = actions.iter().filter_map(|action| match action {
        Action::Event { text, .. } => Some(text.as_str()),
        _ => None,
    });
    texts.collect()
}

/// One that is up and gave no new connection in time, and what was done about it.
fn unconnected() -> (Rig, Actions) {
    let mut rig = Rig::up();
    rig.now += ms(200);
    let actions = rig.traffic(TrafficFailure::Unconnected);
    (rig, actions)
}

#[test]
fn new_work_stays_away_though_checks_over_an_open_connection_succeed() {
    let (mut rig, actions) = unconnected();
    let texts = told(&actions);
    assert!(
        matches!(*texts, [text] if text.contains("until a new connection is had")),
        "{texts:?}"
    );
    assert!(actions.contains(&Action::TryConnection), "{actions:?}");
    let mut until = shuns(&actions).unwrap();
    // A minute of checks that succeed, beside a trial that does not.
    for _ in 0..120 {
        assert!(!rig.ok().contains(&Action::Unshun));
        let tried = rig.step(Event::ConnectionTried { works: false });
        assert!(tried.is_empty(), "{tried:?}");
        let next = rig.next();
        assert!(rig.now < until, "free for a moment");
        until = shuns(&next).unwrap();
        assert!(next.contains(&Action::TryConnection), "{next:?}");
        assert!(told(&next).is_empty(), "told again: {next:?}");
    }
    assert!(rig.is_up());
}

#[test]
fn a_new_connection_that_is_had_brings_the_work_back() {
    let (mut rig, _) = unconnected();
    rig.ok();
    let actions = rig.step(Event::ConnectionTried { works: true });
    assert!(actions.contains(&Action::Unshun), "{actions:?}");
    assert_eq!(told(&actions), ["gives new connections again"]);
    assert!(!rig.next().contains(&Action::TryConnection));
}

#[test]
fn one_connection_is_tried_at_a_time_and_each_failure_of_traffic_is_not_told() {
    let (mut rig, _) = unconnected();
    rig.ok();
    assert!(!rig.next().contains(&Action::TryConnection), "the first has not ended");
    assert!(told(&rig.traffic(TrafficFailure::Unconnected)).is_empty());
}

#[test]
fn connections_that_are_late_are_no_fall_where_the_open_one_answers() {
    let (mut rig, _) = unconnected();
    for _ in 0..50 {
        rig.ok();
        rig.traffic(TrafficFailure::Unconnected);
        rig.step(Event::ConnectionTried { works: false });
        assert!(!down(&rig.next()));
        rig.now += ms(5);
    }
    assert!(rig.is_up());
}

#[test]
fn a_refused_connection_keeps_its_own_shun_until_a_check_says_otherwise() {
    let (mut rig, _) = unconnected();
    rig.traffic(TrafficFailure::Refused);
    let actions = rig.step(Event::ConnectionTried { works: true });
    assert!(!actions.contains(&Action::Unshun), "{actions:?}");
    rig.ok();
    rig.next();
    assert!(rig.ok().contains(&Action::Unshun));
}

#[test]
fn what_traffic_saw_is_in_question_until_a_check_that_began_later_has_ended() {
    let mut rig = Rig::up();
    rig.next();
    rig.traffic(TrafficFailure::Lost);
    assert!(rig.health.is_in_question());
    // It was under way before.
    rig.ok();
    assert!(rig.health.is_in_question());
    rig.next();
    rig.ok();
    assert!(!rig.health.is_in_question());
}

#[test]
fn one_that_falls_and_returns_begins_anew() {
    let (mut rig, _) = unconnected();
    assert!(down(&rig.fails(CheckFailure::Refused)));
    assert!(!rig.next().contains(&Action::TryConnection));
    assert!(rig.step(Event::ConnectionTried { works: true }).is_empty());
}
