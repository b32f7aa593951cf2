mod distrust;
mod hearsay;
mod held;
mod ours;
mod turns;
mod unconnected;

use super::*;
use crate::testing::{Dice, ms, origin};

const SETTINGS: HealthSettings =
    HealthSettings { interval: ms(500), timeout: ms(500), rise: 2, fall: 2, active: true };

struct Rig {
    health: ServerHealth,
    now: Instant,
    start: Instant,
}

impl Rig {
    fn new(settings: HealthSettings) -> Self {
        let start = origin();
        let health = ServerHealth::new(settings, AdminState::Enabled, start);
        Self { health, now: start, start }
    }

    /// One that is up since its first check.
    fn up() -> Self {
        let mut rig = Self::new(SETTINGS);
        assert_eq!(rig.step(Event::Tick), [Action::CheckNow { timeout: ms(500), afresh: false }]);
        assert!(rig.ok().contains(&Action::DeclareUp));
        rig
    }

    fn step(&mut self, event: Event) -> Actions {
        self.health.step(event, self.now)
    }

    fn ok(&mut self) -> Actions {
        self.step(Event::CheckOk { latency: ms(1), facts: None })
    }

    fn fails(&mut self, kind: CheckFailure) -> Actions {
        self.step(Event::CheckFailed { kind, text: String::new() })
    }

    fn traffic(&mut self, kind: TrafficFailure) -> Actions {
        self.step(Event::TrafficFailed { kind })
    }

    /// Jumps to the next deadline and lets it pass.
    fn next(&mut self) -> Actions {
        self.now = self.health.next_deadline().unwrap().max(self.now);
        self.step(Event::Tick)
    }

    fn is_up(&self) -> bool {
        matches!(self.health.condition(), Condition::Up { .. })
    }
}

fn down(actions: &[Action]) -> bool {
    actions.iter().any(|action| matches!(action, Action::DeclareDown { .. }))
}

fn checks(actions: &[Action]) -> bool {
    actions.iter().any(|action| matches!(action, Action::CheckNow { .. }))
}

#[test]
fn one_success_is_enough_at_first_and_one_failure_too() {
    assert!(Rig::up().is_up());
    let mut rig = Rig::new(SETTINGS);
    rig.step(Event::Tick);
    assert!(down(&rig.fails(CheckFailure::Refused)));
}

#[test]
fn a_server_is_down_after_as_many_failures_as_fall_says_and_not_before() {
    let mut rig = Rig::up();
    rig.next();
    assert!(!down(&rig.fails(CheckFailure::Error)));
    assert!(rig.is_up());
    rig.next();
    assert!(down(&rig.fails(CheckFailure::Error)));
}

#[test]
fn a_success_in_between_forgives() {
    let mut rig = Rig::up();
    for _ in 0..10 {
        rig.next();
        assert!(!down(&rig.fails(CheckFailure::Timeout)));
        rig.next();
        rig.ok();
    }
    assert!(rig.is_up());
}

#[test]
fn a_server_is_up_again_after_as_many_successes_as_rise_says() {
    let mut rig = Rig::new(SETTINGS);
    rig.step(Event::Tick);
    rig.fails(CheckFailure::Refused);
    rig.next();
    assert!(!rig.ok().contains(&Action::DeclareUp));
    rig.next();
    assert!(rig.ok().contains(&Action::DeclareUp));
}

#[test]
fn a_lost_connection_is_followed_by_a_check_at_once() {
    let mut rig = Rig::up();
    rig.now += ms(300);
    assert_eq!(
        rig.traffic(TrafficFailure::Lost),
        [Action::CheckNow { timeout: ms(500), afresh: false }]
    );
}

#[test]
fn traffic_and_a_check_that_agree_end_it_at_once() {
    let mut rig = Rig::up();
    rig.now += ms(300);
    rig.traffic(TrafficFailure::Lost);
    rig.now += ms(1);
    assert!(down(&rig.fails(CheckFailure::Refused)));
}

#[test]
fn one_killed_connection_does_not_make_a_slow_check_a_verdict() {
    let settings = HealthSettings { fall: 3, ..SETTINGS };
    let mut rig = Rig::new(settings);
    rig.step(Event::Tick);
    rig.ok();
    rig.now += ms(300);
    rig.traffic(TrafficFailure::Lost);
    assert!(!down(&rig.fails(CheckFailure::Timeout)));
    assert!(rig.is_up());
}

#[test]
fn a_refused_connect_shuns_at_once_and_one_good_check_ends_that() {
    let mut rig = Rig::up();
    rig.now += ms(300);
    let actions = rig.traffic(TrafficFailure::Refused);
    assert!(actions.iter().any(|action| matches!(action, Action::Shun { .. })));
    assert!(checks(&actions));
    let again = rig.traffic(TrafficFailure::Refused);
    assert_eq!(again, [], "one shun, one event");
    // The check had begun before the second failure: another one is made.
    assert!(checks(&rig.ok()));
    assert!(rig.ok().contains(&Action::Unshun));
    assert!(rig.is_up());
}

#[test]
fn a_storm_of_failures_asks_for_few_checks() {
    let mut rig = Rig::up();
    let mut asked = 0;
    for _ in 0..1000 {
        rig.now += ms(1);
        asked += usize::from(checks(&rig.traffic(TrafficFailure::Lost)));
        if rig.health.next_deadline().is_some_and(|at| at <= rig.now) {
            asked += usize::from(checks(&rig.step(Event::Tick)));
        }
        asked += usize::from(checks(&rig.ok()));
    }
    assert!(asked <= 22, "{asked}");
}

#[test]
fn a_server_that_hangs_is_found_within_two_seconds_even_by_silence_alone() {
    assert!(Rig::up().health.detection_bound() <= ms(2000));
    // The worst moment: right after a check succeeded, and no check ever reports.
    let mut rig = Rig::up();
    while rig.is_up() {
        rig.next();
    }
    let took = rig.now - rig.start;
    assert!(took <= rig.health.detection_bound(), "{took:?}");
}

#[test]
fn the_default_monitor_finds_a_server_that_hangs_within_two_seconds() {
    let text = "[[backend]]\nname = \"shop\"\nmonitor = { user = \"m\" }\n";
    let node = highgate_config::NodeName::from("n1");
    let config = highgate_config::native::parse("test", text, &node).unwrap().config;
    let settings = HealthSettings::from(
        &config.shared.backends[&highgate_config::BackendName::from("shop")].monitor,
    );
    let health = ServerHealth::new(settings, AdminState::Enabled, origin());
    assert!(health.detection_bound() <= ms(2000), "{:?}", health.detection_bound());
}

#[test]
fn a_first_word_may_take_as_many_time_outs_as_fall_says() {
    let mut rig = Rig::new(SETTINGS);
    rig.step(Event::Tick);
    assert!(!down(&rig.fails(CheckFailure::Timeout)));
    rig.next();
    assert!(rig.ok().contains(&Action::DeclareUp));
    let mut rig = Rig::new(SETTINGS);
    rig.step(Event::Tick);
    rig.fails(CheckFailure::Timeout);
    rig.next();
    assert!(down(&rig.fails(CheckFailure::Timeout)));
}

#[test]
fn a_late_check_that_heard_something_takes_no_server_out() {
    let mut rig = Rig::up();
    for _ in 0..10 {
        assert!(checks(&rig.next()));
        rig.step(Event::Heard);
        rig.now += ms(500);
        assert!(!down(&rig.fails(CheckFailure::Timeout)));
        assert_eq!(rig.health.unread().unwrap().kind, CheckFailure::Slow);
    }
    rig.next();
    rig.ok();
    assert_eq!(rig.health.unread(), None);
}

#[test]
fn what_was_heard_before_a_check_says_nothing_about_it() {
    let mut rig = Rig::up();
    rig.step(Event::Heard);
    rig.next();
    assert!(!down(&rig.fails(CheckFailure::Timeout)));
    rig.next();
    assert!(down(&rig.fails(CheckFailure::Timeout)));
}

#[test]
fn a_hang_amid_a_check_is_found_within_the_bound_too() {
    let mut rig = Rig::up();
    rig.next();
    rig.step(Event::Heard);
    let hang = rig.now;
    while rig.is_up() {
        rig.next();
    }
    assert!(rig.now - hang <= rig.health.detection_bound(), "{:?}", rig.now - hang);
}

#[test]
fn a_server_that_is_down_is_asked_afresh_and_late_answers_do_not_let_it_in() {
    let mut rig = Rig::up();
    rig.next();
    rig.fails(CheckFailure::Refused);
    rig.next();
    rig.fails(CheckFailure::Refused);
    for _ in 0..10 {
        assert!(rig.next().contains(&Action::CheckNow { timeout: ms(500), afresh: true }));
        rig.step(Event::Heard);
        rig.fails(CheckFailure::Timeout);
        assert!(!rig.is_up());
    }
    rig.next();
    rig.ok();
    rig.next();
    rig.ok();
    assert!(rig.is_up());
}

#[test]
fn a_check_that_reports_after_its_verdict_counts_once() {
    let mut rig = Rig::new(HealthSettings { fall: 3, ..SETTINGS });
    rig.step(Event::Tick);
    rig.ok();
    rig.next();
    rig.next();
    rig.fails(CheckFailure::Timeout);
    rig.fails(CheckFailure::Timeout);
    assert!(rig.is_up());
}

#[test]
fn while_down_checks_stay_frequent_whatever_the_interval() {
    let mut rig = Rig::new(HealthSettings { interval: ms(60_000), ..SETTINGS });
    rig.step(Event::Tick);
    rig.fails(CheckFailure::Refused);
    for _ in 0..5 {
        let before = rig.now;
        assert!(checks(&rig.next()));
        assert!(rig.now - before <= ms(500));
        rig.fails(CheckFailure::Refused);
    }
}

/// Whether a server comes into service by that, or goes out of it; one that is held is out of it.
fn in_or_out(action: &&Action) -> bool {
    matches!(action, Action::Event { kind: Kind::ServerUp | Kind::ServerDown, .. })
}

/// Answers for `up`, refuses for `down`, in turn.
fn flap(rig: &mut Rig, up: Duration, down: Duration, total: Duration) -> Vec<Instant> {
    let mut changes = Vec::new();
    let end = rig.now + total;
    let cycle = up + down;
    while rig.now < end {
        let in_cycle = (rig.now - rig.start).as_millis() % cycle.as_millis();
        let mut actions = rig.next();
        if checks(&actions) {
            let good = in_cycle < up.as_millis();
            actions.extend(if good { rig.ok() } else { rig.fails(CheckFailure::Refused) });
        }
        changes.extend(actions.iter().filter(in_or_out).map(|_| rig.now));
    }
    changes
}

#[test]
fn a_server_that_flaps_every_five_seconds_is_soon_kept_out() {
    let mut rig = Rig::up();
    let changes = flap(&mut rig, ms(5000), ms(5000), ms(600_000));
    assert!(changes.len() <= 40, "{}", changes.len());
    // One that has been well for long enough is in again.
    flap(&mut rig, ms(120_000), ms(0), ms(120_000));
    assert!(rig.is_up());
}

#[test]
fn no_flapping_makes_more_than_sixteen_transitions_in_any_minute() {
    for seed in 0..200 {
        let mut dice = Dice::new(seed);
        let mut rig = Rig::up();
        let up = ms(200 + dice.below(8000));
        let down = ms(200 + dice.below(8000));
        let changes = flap(&mut rig, up, down, ms(300_000));
        for (index, at) in changes.iter().enumerate() {
            let within = changes[index..].iter().take_while(|other| **other - *at < ms(60_000));
            assert!(within.count() <= 16, "{up:?} {down:?}");
        }
    }
}

#[test]
fn an_isolated_restart_costs_no_penalty() {
    let mut rig = Rig::up();
    for _ in 0..3 {
        rig.now += ms(120_000);
        rig.step(Event::Tick);
        rig.fails(CheckFailure::Refused);
        rig.next();
        assert!(down(&rig.fails(CheckFailure::Refused)));
        rig.next();
        rig.ok();
        rig.next();
        assert!(rig.ok().contains(&Action::DeclareUp));
    }
}

#[test]
fn maintenance_stops_checks_and_its_end_begins_with_one() {
    let mut rig = Rig::up();
    assert!(down(&rig.step(Event::Admin(AdminState::Maintenance))));
    assert_eq!(rig.health.next_deadline(), None);
    assert_eq!(rig.ok(), []);
    assert!(checks(&rig.step(Event::Admin(AdminState::Enabled))));
    assert_eq!(rig.health.condition(), Condition::Unknown);
}

#[test]
fn without_checks_traffic_alone_takes_a_server_out_and_time_brings_it_back() {
    let mut rig = Rig::new(HealthSettings { active: false, ..SETTINGS });
    assert!(rig.is_up());
    assert!(!down(&rig.traffic(TrafficFailure::Refused)));
    rig.step(Event::TrafficOk);
    assert!(!down(&rig.traffic(TrafficFailure::Refused)));
    assert!(down(&rig.traffic(TrafficFailure::Refused)));
    assert!(rig.next().contains(&Action::DeclareUp));
}

#[test]
fn without_checks_connections_lost_minutes_apart_take_no_server_out() {
    let mut rig = Rig::new(HealthSettings { active: false, ..SETTINGS });
    for _ in 0..20 {
        rig.now += ms(60_000);
        assert!(!down(&rig.traffic(TrafficFailure::Lost)));
    }
    rig.now += ms(3000);
    assert!(down(&rig.traffic(TrafficFailure::Lost)));
}

#[test]
fn a_longer_interval_in_force_does_not_forget_a_check_in_flight() {
    let mut rig = Rig::up();
    rig.next();
    rig.step(Event::Settings(HealthSettings { interval: ms(9000), ..SETTINGS }));
    rig.ok();
    assert_eq!(rig.health.next_deadline(), Some(rig.now + ms(9000)));
    rig.step(Event::Settings(SETTINGS));
    assert_eq!(rig.health.next_deadline(), Some(rig.now + ms(500)));
}

fn warnings(actions: &[Action]) -> usize {
    let warning = |action: &&Action| {
        matches!(action, Action::Event { severity: Severity::Warning, kind: Kind::Monitor, .. })
    };
    actions.iter().filter(warning).count()
}

#[test]
fn a_refused_monitor_never_takes_a_server_out_and_is_told_once() {
    for kind in [CheckFailure::Denied, CheckFailure::Full] {
        let mut rig = Rig::up();
        let mut told = 0;
        for _ in 0..10_000 {
            rig.next();
            let actions = rig.fails(kind);
            assert!(!down(&actions));
            told += warnings(&actions);
        }
        assert!(rig.is_up());
        assert_eq!(told, 1);
        assert_eq!(rig.health.unread().unwrap().kind, kind);
        assert!(rig.health.last_error().is_some());
        rig.next();
        let event = |action: &Action| matches!(action, Action::Event { kind: Kind::Monitor, .. });
        assert!(rig.ok().iter().any(event));
        assert_eq!(rig.health.unread(), None);
    }
}

#[test]
fn a_monitor_that_is_refused_now_and_then_warns_once_a_minute_at_most() {
    let mut rig = Rig::up();
    let mut told = 0;
    while rig.now - rig.start < ms(600_000) {
        rig.next();
        told += warnings(&rig.fails(CheckFailure::Denied));
        rig.next();
        rig.ok();
    }
    assert!((5..=11).contains(&told), "{told}");
}

#[test]
fn a_warning_says_what_to_repair() {
    let mut rig = Rig::up();
    rig.next();
    let actions = rig.step(Event::CheckFailed {
        kind: CheckFailure::Denied,
        text: "Access denied for user 'monitor'@'10.0.0.9'".to_owned(),
    });
    let text = actions.iter().find_map(|action| match action {
        Action::Event { text, .. } => Some(text.as_str()),
        _ => None,
    });
    let text = text.unwrap();
    assert!(text.contains("'monitor'@'10.0.0.9'") && text.contains("`monitor.password`"), "{text}");
}

#[test]
fn a_server_whose_monitor_is_refused_comes_back_all_the_same_but_has_to_be_read_anew() {
    let mut rig = Rig::up();
    rig.step(Event::Tick);
    for _ in 0..2 {
        rig.next();
        rig.fails(CheckFailure::Refused);
    }
    assert!(!rig.is_up());
    for _ in 0..2 {
        rig.next();
        rig.fails(CheckFailure::Denied);
    }
    assert!(rig.is_up());
    assert!(!rig.health.unread().unwrap().known);
}

#[test]
fn a_refused_monitor_does_not_hide_a_death() {
    let mut rig = Rig::up();
    rig.next();
    rig.fails(CheckFailure::Denied);
    rig.next();
    assert!(!down(&rig.fails(CheckFailure::Refused)));
    assert!(rig.health.is_doubted());
    rig.next();
    assert!(down(&rig.fails(CheckFailure::Refused)));
}

#[test]
fn a_server_that_says_it_shuts_down_is_down_at_once() {
    let mut rig = Rig::up();
    rig.next();
    assert!(down(&rig.fails(CheckFailure::from_code(1053))));
    assert_eq!(CheckFailure::from_code(1927), CheckFailure::Lost);
    for of_the_account in [1045, 3118, 3955, 4150, 4151] {
        assert!(CheckFailure::from_code(of_the_account).proves_life(), "{of_the_account}");
    }
    assert!(CheckFailure::from_code(1040).proves_life());
    assert!(!CheckFailure::from_code(1130).proves_life());
}

#[test]
fn in_a_hurry_checks_come_every_hundred_milliseconds_and_no_longer_than_asked() {
    let mut rig = Rig::up();
    rig.now += ms(300);
    rig.health.hurry(true, rig.now);
    assert_eq!(rig.health.next_deadline(), Some(rig.now));
    rig.next();
    rig.ok();
    for _ in 0..5 {
        let before = rig.now;
        assert!(checks(&rig.next()));
        assert!(rig.now - before <= ms(100));
        rig.ok();
        rig.health.hurry(true, rig.now);
    }
    rig.health.hurry(false, rig.now);
    rig.next();
    rig.ok();
    assert_eq!(rig.health.next_deadline(), Some(rig.now + ms(500)));
    // One without checks has nothing to hurry.
    let mut passive = Rig::new(HealthSettings { active: false, ..SETTINGS });
    passive.health.hurry(true, passive.now);
    assert_eq!(passive.health.next_deadline(), None);
}

/// A link that loses packets both ways; lost ones are sent again as TCP does, and as its checks ask for.
struct Link {
    dice: Dice,
    loss_percent: usize,
}

impl Link {
    /// When something sent at `at` arrives; it waits as long as before for so many times, then twice.
    fn arrives(&mut self, at: Instant, mut linear: u32) -> Instant {
        let mut pause = ms(200);
        let mut at = at;
        while self.dice.index(100) < self.loss_percent {
            at += pause;
            match linear.checked_sub(1) {
                Some(left) => linear = left,
                None => pause *= 2,
            }
        }
        at + ms(1)
    }
}

/// How often an idle server that is well goes down in an hour behind such a link.
fn false_alarms(seed: u64, loss_percent: usize) -> usize {
    let mut link = Link { dice: Dice::new(seed), loss_percent };
    let mut rig = Rig::up();
    let (mut alarms, mut asked) = (0, None);
    while rig.now - rig.start < ms(3_600_000) {
        let mut actions = rig.next();
        if checks(&actions) {
            // One without an answer goes on, unless a server that is down is asked afresh.
            let (since, answer) = match asked.take() {
                Some(late) if rig.health.condition().is_alive() => late,
                _ => {
                    let heard = link.arrives(rig.now, 6);
                    (rig.now, link.arrives(heard, 0))
                }
            };
            let window = rig.now + ms(500);
            if answer <= window {
                rig.now = rig.now.max(answer);
                actions = rig.step(Event::CheckOk { latency: rig.now - since, facts: None });
            } else {
                rig.now = window;
                asked = Some((since, answer));
                actions = rig.fails(CheckFailure::Timeout);
            }
        }
        let alarm =
            |action: &Action| matches!(action, Action::Event { kind: Kind::ServerDown, .. });
        alarms += usize::from(actions.iter().any(alarm));
    }
    alarms
}

#[test]
fn an_idle_server_behind_a_link_that_loses_packets_seldom_goes_down() {
    // An hour at a time; with as many time-outs as `fall` says, and waits that double, it is twice as many.
    for (loss_percent, most) in [(5, 1), (10, 6), (20, 25), (30, 50)] {
        let alarms: usize = (1..=8).map(|seed| false_alarms(seed, loss_percent)).sum();
        println!("{loss_percent}% lost each way: {alarms} false alarms in 8 hours");
        assert!(alarms <= most * 8, "{loss_percent}%: {alarms}");
    }
}

#[test]
fn where_answers_were_late_a_hang_is_found_one_time_out_later_and_a_minute_later_as_before() {
    let mut rig = Rig::up();
    let usual = rig.health.detection_bound();
    rig.next();
    rig.fails(CheckFailure::Timeout);
    rig.next();
    rig.step(Event::CheckOk { latency: ms(700), facts: None });
    let lossy = rig.health.detection_bound();
    assert!(lossy > usual && lossy <= ms(2600), "{lossy:?}");
    let quiet = rig.now;
    while rig.health.detection_bound() > usual {
        rig.next();
        rig.ok();
    }
    assert!(rig.now - quiet > ms(60_000) && rig.now - quiet < ms(62_000));
}
