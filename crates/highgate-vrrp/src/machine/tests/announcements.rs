//! When the addresses are announced.

use super::*;

fn times(announce: Announce, until: Duration) -> Vec<(u128, String)> {
    let mut desk = Desk::new(Settings { priority: OWNER, announce, ..v2() });
    desk.tell(Input::Start);
    let mut times = Vec::new();
    let end = desk.now + until;
    loop {
        let at = desk.now.saturating_duration_since(desk.start).as_millis();
        let announced = desk.did().into_iter().filter(|what| what.starts_with("announce"));
        times.extend(announced.map(|what| (at, what)));
        match desk.router.next_deadline().filter(|at| *at <= end) {
            Some(next) => desk.pass(next.saturating_duration_since(desk.now)),
            None => return times,
        }
    }
}

fn at(times: &[(u128, u8)]) -> Vec<(u128, String)> {
    times.iter().map(|(at, copies)| (*at, format!("announce {copies}"))).collect()
}

#[test]
fn by_default_five_times_at_once_and_after_five_seconds() {
    assert_eq!(times(Announce::default(), ms(60_000)), at(&[(0, 5), (5_000, 5)]));
}

#[test]
fn as_often_and_as_late_as_configured() {
    let announce = Announce { repeat: 2, delay: ms(700), ..Announce::default() };
    assert_eq!(times(announce, ms(60_000)), at(&[(0, 2), (700, 2)]));
}

#[test]
fn without_a_delay_once() {
    let announce = Announce { delay: ms(0), ..Announce::default() };
    assert_eq!(times(announce, ms(60_000)), at(&[(0, 5)]));
}

#[test]
fn all_the_while_if_a_refresh_is_configured() {
    let announce = Announce { delay: ms(0), refresh: ms(20_000), ..Announce::default() };
    assert_eq!(times(announce, ms(60_000)), at(&[(0, 5), (20_000, 1), (40_000, 1), (60_000, 1)]));
}

#[test]
fn never_once_the_addresses_are_gone() {
    let mut desk = Desk::new(Settings { priority: OWNER, ..v2() });
    desk.tell(Input::Start);
    desk.lose(Need::Serving);
    desk.did();
    desk.pass(ms(60_000));
    assert_eq!(desk.did(), ["send 0"]);
}

#[test]
fn after_one_of_lower_rank_as_configured_for_that() {
    let announce = Announce { lower_repeat: 3, lower_delay: ms(2_000), ..Announce::default() };
    let mut desk = Desk::active(Settings { announce, answers_lower: false, ..v2() });
    desk.hear(50, 1);
    assert!(desk.did().contains(&"announce 3".to_owned()));
    desk.pass(ms(1_999));
    assert!(!desk.did().contains(&"announce 3".to_owned()));
    desk.pass(ms(1));
    assert!(desk.did().contains(&"announce 3".to_owned()));
}

#[test]
fn a_healed_split_is_announced_by_whoever_stays_also_if_the_other_gave_way_first() {
    // Both are active and hear each other again. The one of lower rank hears first: its last word
    // is what the other announces upon.
    let mut high = Desk::active(Settings { priority: 150, ..v3() });
    let mut low = Desk::active(v3());
    low.hear(150, 9);
    assert_eq!(low.did(), ["remove", "send 100", "notify BACKUP"]);
    high.hear(100, 1);
    assert!(high.did().contains(&"announce 5".to_owned()));
}

#[test]
fn a_burst_that_came_too_early_is_made_up_for() {
    let announce = Announce { lower_delay: ms(0), delay: ms(0), ..Announce::default() };
    let mut desk = Desk::active(Settings { announce, ..v2() });
    desk.hear(50, 1);
    desk.did();
    desk.pass(ms(100));
    desk.hear(50, 1);
    assert!(!desk.did().contains(&"announce 5".to_owned()));
    desk.pass(ms(1_000));
    assert!(desk.did().contains(&"announce 5".to_owned()));
}
