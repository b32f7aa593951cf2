//! Servers that check out well, and ask for files or garble answers.

use super::*;

impl Rig {
    /// Every check succeeds; gives how long it takes until the server is up.
    fn until_up(&mut self) -> Duration {
        let began = self.now;
        let mut actions = self.ok();
        while !self.is_up() {
            actions = if checks(&actions) { self.ok() } else { self.next() };
        }
        self.now - began
    }

    fn garble(&mut self, times: usize) -> Actions {
        (0..times).flat_map(|_| self.traffic(TrafficFailure::Garbage)).collect()
    }
}

fn told(actions: &[Action]) -> Vec<&str> {
    let texts = actions.iter().filter_map(|action| match action {
        Action::Event { severity: Severity::Error, kind: Kind::Held, text } => Some(text.as_str()),
        _ => None,
    });
    texts.collect()
}

#[test]
fn a_server_that_asks_for_files_is_held_for_a_minute_whatever_checks_say() {
    let mut rig = Rig::up();
    let told = rig.traffic(TrafficFailure::FileDemand);
    assert!(told.contains(&Action::Replan), "{told:?}");
    let asked = rig.now;
    assert!(matches!(rig.health.condition(), Condition::Held { .. }));
    assert!(rig.health.held_because().contains("file"));
    // Again: held anew, and told once.
    rig.now += ms(1000);
    let again = rig.traffic(TrafficFailure::FileDemand);
    assert!(!again.iter().any(|action| matches!(action, Action::Event { .. })), "{again:?}");
    // That it fails checks, and so goes down, does not shorten it.
    let mut fell = Actions::new();
    while rig.health.condition().is_alive() {
        fell = rig.next();
    }
    assert!(down(&fell), "{fell:?}");
    while !rig.is_up() {
        rig.next();
        rig.ok();
    }
    let held = rig.now - asked;
    assert!(held >= ms(61_000) && held <= ms(63_000), "{held:?}");
    assert!(!rig.health.held_because().contains("file"));
}

#[test]
fn one_garbled_answer_is_followed_by_a_check_and_by_nothing_else() {
    let mut rig = Rig::up();
    rig.now += ms(300);
    assert_eq!(rig.garble(1), [Action::CheckNow { timeout: ms(500), afresh: false }]);
    rig.ok();
    assert!(rig.is_up());
}

#[test]
fn a_server_that_garbles_three_answers_within_a_minute_is_held_whatever_checks_say() {
    let mut rig = Rig::up();
    for _ in 0..2 {
        rig.now += ms(20_000);
        assert!(told(&rig.garble(1)).is_empty() && rig.is_up());
        rig.ok();
    }
    rig.now += ms(15_000);
    let third = rig.garble(1);
    assert!(third.contains(&Action::Replan), "{third:?}");
    assert!(matches!(told(&third)[..], [text] if text.contains("kept out for 5 s")), "{third:?}");
    assert!(matches!(rig.health.condition(), Condition::Held { .. }));
    assert!(rig.health.held_because().contains("broke the protocol"));
    assert_eq!(rig.until_up(), ms(5000));
    assert!(!rig.health.held_because().contains("protocol"));
}

#[test]
fn who_garbles_again_when_let_in_is_held_for_twice_as_long_up_to_a_minute() {
    let mut rig = Rig::up();
    rig.garble(2);
    let mut held = Vec::new();
    for _ in 0..6 {
        assert_eq!(told(&rig.garble(1)).len(), 1);
        held.push(rig.until_up().as_secs());
    }
    assert_eq!(held, [5, 10, 20, 40, 60, 60]);
    // After minutes without another, one is as good as none.
    rig.now += ms(7 * 60_000);
    assert!(told(&rig.garble(1)).is_empty() && rig.is_up());
}

#[test]
fn a_held_server_is_let_in_when_its_time_is_over_also_where_checks_were_turned_off_meanwhile() {
    let mut rig = Rig::up();
    rig.garble(3);
    rig.now += ms(1000);
    rig.step(Event::Settings(HealthSettings { active: false, ..SETTINGS }));
    assert!(matches!(rig.health.condition(), Condition::Held { .. }));
    assert!(rig.health.held_because().contains("broke the protocol"));
    let began = rig.now;
    while !rig.is_up() {
        assert!(rig.health.next_deadline().is_some());
        rig.next();
    }
    assert_eq!(rig.now - began, ms(4000));
}

#[test]
fn nothing_is_due_while_a_check_is_under_way() {
    let mut rig = Rig::up();
    while !checks(&rig.next()) {}
    rig.garble(3);
    rig.health.hurry(true, rig.now);
    rig.now += ms(200);
    assert!(!checks(&rig.step(Event::Tick)));
    assert!(rig.health.next_deadline().unwrap() > rig.now, "whoever waits for it would spin");
}

#[test]
fn garbled_answers_that_lie_minutes_apart_hold_nobody() {
    let mut rig = Rig::up();
    for _ in 0..30 {
        rig.now += ms(61_000);
        assert!(told(&rig.garble(1)).is_empty());
        rig.ok();
        assert!(rig.is_up());
    }
}

#[test]
fn one_that_serves_for_want_of_others_and_goes_on_garbling_is_told_and_planned_once() {
    let mut rig = Rig::up();
    rig.garble(3);
    let more = rig.garble(20);
    assert!(told(&more).is_empty() && !more.contains(&Action::Replan), "{more:?}");
    let until = rig.now + ms(60_000);
    assert_eq!(rig.health.condition(), Condition::Held { until });
}

#[test]
fn a_demand_for_a_file_outweighs_garbage() {
    let mut rig = Rig::up();
    rig.garble(3);
    assert!(
        matches!(told(&rig.traffic(TrafficFailure::FileDemand))[..], [text] if text.contains("file"))
    );
    assert!(told(&rig.garble(1)).is_empty());
    assert!(rig.health.held_because().contains("file"));
    assert_eq!(rig.until_up(), ms(60_000));
}

#[test]
fn garbage_does_not_shorten_what_falls_have_cost() {
    let mut rig = Rig::up();
    for _ in 0..6 {
        rig.until_up();
        while rig.health.condition().is_alive() {
            rig.next();
            rig.fails(CheckFailure::Refused);
        }
        while !rig.health.condition().is_alive() {
            rig.next();
            rig.ok();
        }
    }
    let Condition::Held { until: before } = rig.health.condition() else { panic!("not held") };
    assert!(before > rig.now + ms(5000));
    rig.garble(3);
    assert_eq!(rig.health.condition(), Condition::Held { until: before });
}

#[test]
fn a_server_that_is_down_is_not_held_for_garbage_on_top() {
    let mut rig = Rig::new(SETTINGS);
    rig.step(Event::Tick);
    rig.fails(CheckFailure::Refused);
    assert_eq!(rig.garble(5), []);
    assert!(matches!(rig.health.condition(), Condition::Down { .. }));
}

#[test]
fn without_checks_too_garbage_holds_and_time_lets_in() {
    let mut rig = Rig::new(HealthSettings { active: false, ..SETTINGS });
    assert_eq!(rig.garble(2), []);
    assert!(!down(&rig.garble(1)));
    let began = rig.now;
    assert!(matches!(rig.health.condition(), Condition::Held { .. }));
    // Held anew, and for longer, where it goes on.
    rig.now += ms(2000);
    rig.garble(1);
    while !rig.is_up() {
        rig.next();
    }
    assert_eq!(rig.now - began, ms(12_000));
}
