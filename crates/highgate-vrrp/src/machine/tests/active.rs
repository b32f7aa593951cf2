//! §6.4.3, Active.

use super::*;

#[test]
fn stopped_it_gives_the_addresses_away_before_it_says_priority_zero() {
    each_kind(|settings| {
        let mut desk = Desk::active(settings());
        desk.tell(Input::Stop);
        // Twice, since it can't be said again later.
        assert_eq!(desk.did(), ["remove", "send 0", "send 0", "notify STOP"]);
        assert_eq!((desk.router.state(), desk.deadline()), (State::Init, None));
    });
}

#[test]
fn it_advertises_once_per_interval() {
    each_kind(|settings| {
        let mut desk = Desk::active(settings());
        desk.pass(ms(5_000));
        assert_eq!(desk.did(), ["send 100"; 5]);
    });
}

#[test]
fn lateness_of_timers_does_not_add_up() {
    let mut desk = Desk::active(v2());
    let first = desk.router.next_deadline().unwrap();
    for beat in 0..100 {
        let due = desk.router.next_deadline().unwrap();
        assert_eq!(due, first + ms(1_000) * beat);
        desk.now = due + ms(300);
        desk.tell(Input::Timer);
    }
}

#[test]
fn an_advert_of_priority_zero_is_answered_at_once_and_the_addresses_announced_again() {
    each_kind(|settings| {
        let mut desk = Desk::active(settings());
        desk.pass(ms(850));
        desk.did();
        desk.hear(RESIGNS, 1);
        assert_eq!(desk.did(), ["send 100", "announce 5"]);
        assert_eq!(desk.deadline(), Some(ms(1_000)));
    });
}

#[test]
fn to_one_of_higher_rank_it_gives_the_addresses_and_counts_down() {
    each_kind(|settings| {
        let mut desk = Desk::active(settings());
        desk.hear(101, 1);
        // One more advert, after the addresses: the other learns that there were two of them.
        assert_eq!(desk.did(), ["remove", "send 100", "notify BACKUP"]);
        assert_eq!(desk.router.state(), State::Backup);
        assert_eq!(whole(desk.deadline()), Some(DOWN));
    });
}

#[test]
fn to_one_of_higher_rank_it_says_nothing_if_so_configured() {
    let mut desk = Desk::active(Settings { answers_higher: false, ..v2() });
    desk.hear(101, 1);
    assert_eq!(desk.did(), ["remove", "notify BACKUP"]);
}

#[test]
fn between_equals_the_greater_address_stays() {
    each_kind(|settings| {
        let mut desk = Desk::active(settings());
        desk.hear(100, 4);
        assert_eq!(desk.router.state(), State::Active);
        desk.hear(100, 6);
        assert_eq!(desk.router.state(), State::Backup);
    });
}

#[test]
fn when_it_gives_way_version_three_learns_the_interval() {
    let mut desk = Desk::active(v3());
    let mut advert = desk.advert(200);
    advert.interval = ms(100);
    desk.hear_advert(&advert, 1);
    assert_eq!(whole(desk.deadline()), Some(ms(360)));
}

#[test]
fn one_of_lower_rank_is_answered_at_once_and_the_addresses_announced_again() {
    each_kind(|settings| {
        let mut desk = Desk::active(settings());
        desk.pass(ms(850));
        desk.did();
        desk.hear(99, 9);
        assert_eq!(desk.did(), ["send 100", "announce 5", "notify MASTER_RX_LOWER_PRI"]);
        assert_eq!(desk.deadline(), Some(ms(1_000)));
        assert_eq!(desk.told(Kind::Split).len(), 1);
    });
}

#[test]
fn one_of_lower_rank_is_not_answered_if_so_configured() {
    let mut desk = Desk::active(Settings { answers_lower: false, ..v2() });
    desk.hear(99, 9);
    assert_eq!(desk.did(), ["announce 5", "notify MASTER_RX_LOWER_PRI"]);
}

#[test]
fn one_that_was_active_until_a_moment_ago_is_no_split() {
    let mut desk = Desk::started(v2());
    desk.hear(50, 9);
    desk.pass(ms(3_610));
    desk.hear(50, 9);
    assert_eq!(desk.told(Kind::Split), Vec::<String>::new());
}

#[test]
fn a_flood_of_lower_adverts_is_answered_ten_times_per_interval_at_most() {
    each_kind(|settings| {
        let mut desk = Desk::active(settings());
        for _ in 0..10_000 {
            desk.hear(99, 9);
            desk.pass(Duration::from_micros(100));
        }
        let did = desk.did();
        let sent = did.iter().filter(|what| what.starts_with("send")).count();
        let announced = did.iter().filter(|what| what.starts_with("announce")).count();
        assert!((9..=12).contains(&sent), "{sent}");
        assert!(announced <= 3, "{announced}");
        assert_eq!(desk.events().len(), 1);
    });
}

#[test]
fn a_flood_of_resignations_is_answered_as_rarely() {
    let mut desk = Desk::active(v2());
    for _ in 0..1_000 {
        desk.hear(RESIGNS, 9);
        desk.pass(ms(1));
    }
    assert!(desk.did().len() <= 14);
}

#[test]
fn two_owners_are_told_and_the_greater_address_stays() {
    each_kind(|settings| {
        let mut desk = Desk::active(Settings { priority: OWNER, ..settings() });
        desk.hear(OWNER, 4);
        assert_eq!(desk.router.state(), State::Active);
        let events = desk.events();
        assert!(
            events
                .iter()
                .any(|one| one.kind == Kind::DuplicateOwner && one.severity == Severity::Error),
            "{events:?}"
        );
        desk.hear(OWNER, 6);
        assert_eq!(desk.router.state(), State::Backup);
    });
}

#[test]
fn an_owner_gives_way_to_nobody_else() {
    let mut desk = Desk::active(Settings { priority: OWNER, ..v2() });
    desk.hear(254, 9);
    assert_eq!(desk.router.state(), State::Active);
}

#[test]
fn a_node_that_did_not_run_says_so() {
    let mut desk = Desk::active(v2());
    desk.now += ms(5_000);
    desk.tell(Input::Timer);
    let told = desk.told(Kind::Stall);
    assert!(told.iter().any(|text| text.contains("did not run for")), "{told:?}");
}

#[test]
fn after_a_stall_there_is_one_advert_and_not_one_per_missed_beat() {
    let mut desk = Desk::active(v2());
    desk.now += ms(60_000);
    desk.tell(Input::Timer);
    assert_eq!(desk.did(), ["send 100"]);
    assert_eq!(desk.deadline(), Some(ms(1_000)));
}

#[test]
fn one_of_lower_rank_with_a_shorter_interval_is_always_answered() {
    // Found by simulation: backups learn the shorter one, and take over before the next advert.
    let mut desk = Desk::active(Settings { answers_lower: false, interval: ms(4_000), ..v3() });
    desk.pass(ms(3_000));
    desk.did();
    let mut advert = desk.advert(50);
    advert.interval = ms(10);
    desk.hear_advert(&advert, 1);
    assert_eq!(desk.did()[0], "send 100");
    desk.pass(ms(1));
    desk.hear_advert(&advert, 1);
    assert!(desk.did().contains(&"send 100".to_owned()), "as soon as the shorter one allows");
}
