//! §6.4.1, Initialize.

use super::*;

#[test]
fn at_the_start_it_becomes_backup_and_counts_down() {
    each_kind(|settings| {
        let mut desk = Desk::new(settings());
        desk.tell(Input::Start);
        assert_eq!(desk.did(), ["notify BACKUP"]);
        assert_eq!(desk.router.state(), State::Backup);
        assert_eq!(whole(desk.deadline()), Some(DOWN));
    });
}

#[test]
fn an_owner_is_active_at_once_and_says_so_before_it_takes_the_addresses() {
    each_kind(|settings| {
        let mut desk = Desk::new(Settings { priority: OWNER, ..settings() });
        desk.tell(Input::Start);
        assert_eq!(desk.did(), ["send 255", "add", "announce 5", "notify MASTER"]);
        assert_eq!(desk.router.state(), State::Active);
        assert_eq!(desk.deadline(), Some(ms(1_000)));
    });
}

#[test]
fn an_owner_that_is_to_start_as_backup_listens_first() {
    let settings = Settings { priority: OWNER, starts_active: false, ..v2() };
    let mut desk = Desk::new(settings);
    desk.tell(Input::Start);
    assert_eq!(desk.did(), ["notify BACKUP"]);
}

#[test]
fn before_the_start_nothing_that_is_heard_matters() {
    each_kind(|settings| {
        let mut desk = Desk::new(settings());
        desk.hear(50, 1);
        desk.hear(RESIGNS, 1);
        assert_eq!((desk.did(), desk.deadline()), (vec![], None));
        assert_eq!(desk.router.state(), State::Init);
    });
}

#[test]
fn during_the_start_up_delay_nothing_is_done() {
    let mut desk = Desk::new(Settings { startup_delay: ms(2_000), ..v2() });
    desk.tell(Input::Start);
    desk.hear(50, 1);
    assert_eq!((desk.did(), desk.deadline()), (vec![], Some(ms(2_000))));
    desk.pass(ms(2_000));
    assert_eq!(desk.did(), ["notify BACKUP"]);
    assert_eq!(whole(desk.deadline()), Some(DOWN));
}

#[test]
fn a_second_start_and_a_stop_before_the_start_do_nothing() {
    let mut desk = Desk::new(v2());
    desk.tell(Input::Stop);
    assert_eq!(desk.did(), Vec::<String>::new());
    desk.tell(Input::Start);
    desk.did();
    desk.tell(Input::Start);
    assert_eq!(desk.did(), Vec::<String>::new());
}

#[test]
fn without_a_word_about_its_link_it_waits() {
    let mut router = super::super::Router::new(v2(), std::time::Instant::now());
    let now = std::time::Instant::now();
    let effects = router.step(Input::Start, now);
    assert_eq!((effects, router.state(), router.next_deadline()), (vec![], State::Init, None));
    assert_eq!(router.status(now).why, "waits for a first word about its link");
}

#[test]
fn it_waits_for_the_first_word_about_what_it_tracks() {
    let mut desk = Desk::new(v2());
    desk.tell(Input::Pending(Need::Tracking));
    desk.tell(Input::Start);
    assert_eq!(desk.router.state(), State::Init);
    desk.tell(Input::Met(Need::Tracking));
    assert_eq!(desk.router.state(), State::Backup);
}

#[test]
fn it_waits_for_the_first_word_about_serving_if_it_follows_that() {
    let mut desk = Desk::new(Settings { follows_serving: true, ..v2() });
    desk.tell(Input::Start);
    assert_eq!(desk.router.state(), State::Init);
    desk.tell(Input::Met(Need::Serving));
    assert_eq!(desk.router.state(), State::Backup);
}
