//! Checks that this node could not make.

use super::*;
use crate::events::Severity;

fn told(actions: &[Action]) -> Vec<(Severity, &str)> {
    let told = actions.iter().filter_map(|action| match action {
        Action::Event { severity, text, .. } => Some((*severity, text.as_str())),
        _ => None,
    });
    told.collect()
}

fn no_descriptors(rig: &mut Rig) -> Actions {
    let text = "no connection: Too many open files (os error 24)".to_owned();
    rig.step(Event::CheckFailed { kind: CheckFailure::Ours, text })
}

/// A dead server was called alive, and `server_up`, when the node had no descriptor to ask it.
#[test]
fn a_check_that_this_node_could_not_make_brings_no_server_up() {
    let mut rig = Rig::up();
    while rig.is_up() {
        rig.next();
        rig.fails(CheckFailure::Refused);
    }
    let error = rig.health.last_error().map(str::to_owned);
    for _ in 0..10 {
        rig.next();
        let actions = no_descriptors(&mut rig);
        assert!(!actions.contains(&Action::DeclareUp), "{actions:?}");
        assert!(matches!(rig.health.condition(), Condition::Down { .. }));
    }
    assert_eq!(rig.health.last_error(), error.as_deref(), "why it is down");
    assert_eq!(rig.health.unread(), None);
}

#[test]
fn a_check_that_this_node_could_not_make_takes_no_server_down() {
    let mut rig = Rig::up();
    rig.next();
    rig.fails(CheckFailure::Timeout);
    assert!(rig.health.is_doubted());
    rig.next();
    for _ in 0..10 {
        assert!(!down(&no_descriptors(&mut rig)) && rig.is_up());
        assert_eq!(rig.health.unread(), None, "nothing is said of its connections");
        rig.next();
    }
    assert!(down(&rig.fails(CheckFailure::Error)), "what was counted before still counts");
}

#[test]
fn a_server_that_was_never_checked_stays_unknown_while_none_can_be() {
    let mut rig = Rig::new(SETTINGS);
    rig.step(Event::Tick);
    for _ in 0..10 {
        no_descriptors(&mut rig);
        assert_eq!(rig.health.condition(), Condition::Unknown);
        rig.next();
    }
    assert!(rig.ok().contains(&Action::DeclareUp));
}

#[test]
fn a_check_that_could_not_be_made_is_made_again_soon() {
    let mut rig = Rig::up();
    rig.next();
    no_descriptors(&mut rig);
    let due = rig.health.next_deadline().unwrap();
    assert!(due > rig.now && due <= rig.now + ms(100));
    assert!(checks(&rig.next()));
}

#[test]
fn checks_that_can_not_be_made_are_told_once_and_so_is_their_end() {
    let mut rig = Rig::up();
    let mut all = Vec::new();
    for _ in 0..1000 {
        rig.next();
        let actions = no_descriptors(&mut rig);
        all.extend(told(&actions).into_iter().map(|(severity, text)| (severity, text.to_owned())));
    }
    let [(Severity::Warning, text)] = &all[..] else { panic!("{all:?}") };
    assert!(text.contains("this node has no descriptor") && text.contains("ulimit -n"), "{text}");
    rig.next();
    let actions = rig.ok();
    assert_eq!(told(&actions), [(Severity::Info, "checks can be made again")]);
    rig.next();
    assert_eq!(told(&rig.ok()), []);
}
