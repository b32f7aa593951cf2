//! Taking over from one that works, and giving way to one that asks.

use super::*;
use crate::{
    advert::Word::{Asks, Yields},
    machine::{Router, handover::PATIENCE},
};

/// It has left the adverts of node 1, of rank 50, aside until its timer ended, and asks.
fn asking(settings: Settings) -> Desk {
    let mut desk = Desk::started(settings);
    for _ in 0..4 {
        desk.hear(50, 1);
        desk.pass(ms(900));
    }
    desk.pass(ms(9));
    assert_eq!(desk.did(), Vec::<String>::new());
    desk.hear(50, 1);
    desk.pass(ms(10));
    assert_eq!(desk.did(), ["ask 100"]);
    desk
}

#[test]
fn from_one_that_works_it_takes_over_after_three_questions_without_an_answer() {
    each_kind(|settings| {
        let mut desk = asking(settings());
        desk.pass(ms(200));
        assert_eq!(desk.did(), ["ask 100", "ask 100"]);
        desk.pass(ms(100));
        assert_eq!(desk.did(), ["send 100", "add", "announce 5", "notify MASTER"]);
    });
}

#[test]
fn one_that_yields_is_waited_for_and_taken_over_from_the_moment_it_resigns() {
    each_kind(|settings| {
        let mut desk = asking(settings());
        desk.hear_word(Yields, 100, 1);
        for _ in 0..2 {
            desk.pass(ms(900));
            desk.hear(50, 1);
        }
        assert_eq!(desk.did(), Vec::<String>::new());
        desk.hear(RESIGNS, 1);
        desk.pass(ms(0));
        assert_eq!(desk.did(), ["send 100", "add", "announce 5", "notify MASTER"]);
    });
}

#[test]
fn one_that_yields_and_never_resigns_is_taken_over_from_all_the_same() {
    let mut desk = asking(v2());
    desk.hear_word(Yields, 100, 1);
    let begun = desk.now;
    while desk.router.state() == State::Backup {
        desk.hear(50, 1);
        desk.pass(ms(50));
    }
    let took = desk.now - begun;
    assert!(took > Router::YIELD && took <= PATIENCE + ms(100), "{took:?}");
}

#[test]
fn one_that_yields_and_falls_silent_is_missed_by_its_adverts() {
    let three = Settings { down_adverts: 1, ..v3() };
    let mut desk = Desk::started(three);
    desk.pass(ms(1_500));
    desk.hear(50, 1);
    desk.pass(ms(110));
    assert_eq!(desk.did(), ["ask 100"]);
    desk.hear_word(Yields, 100, 1);
    // An interval and its skew, instead of all the time that it may take to yield.
    assert_eq!(whole(desk.deadline()), Some(ms(1_609)));
    desk.pass(ms(1_610));
    assert_eq!(desk.router.state(), State::Active);
}

#[test]
fn one_that_yields_to_a_higher_rank_is_left_to_that() {
    let mut desk = asking(v2());
    desk.hear_word(Yields, 101, 1);
    assert_eq!(whole(desk.deadline()), Some(DOWN));
    let mut desk = asking(v2());
    desk.hear_word(Asks, 101, 9);
    assert_eq!(whole(desk.deadline()), Some(DOWN));
}

#[test]
fn one_that_works_and_ranks_higher_by_now_is_not_asked_any_more() {
    let mut desk = asking(v2());
    desk.hear(101, 1);
    assert_eq!(whole(desk.deadline()), Some(DOWN));
    assert_eq!(desk.did(), Vec::<String>::new());
}

#[test]
fn nobody_is_asked_where_the_active_one_fell_silent() {
    each_kind(|settings| {
        let mut desk = Desk::started(settings());
        desk.hear(200, 1);
        desk.pass(ms(3_700));
        assert_eq!(desk.did(), ["send 100", "add", "announce 5", "notify MASTER"]);
    });
}

#[test]
fn asked_by_one_of_higher_rank_it_drains_before_it_gives_the_addresses_away() {
    each_kind(|settings| {
        let mut desk = Desk::active(settings());
        desk.hear_word(Asks, 150, 1);
        assert_eq!(desk.did(), ["drain", "yield to 150"]);
        // The answer may have been lost.
        desk.hear_word(Asks, 150, 1);
        assert_eq!(desk.did(), ["yield to 150"]);
        assert_eq!(desk.router.state(), State::Active);
        desk.tell(Input::Yielded);
        assert_eq!(desk.did(), ["remove", "send 0", "notify BACKUP"]);
        assert_eq!(desk.router.state(), State::Backup);
    });
}

#[test]
fn what_does_not_drain_is_given_away_in_time() {
    let mut desk = Desk::active(v2());
    desk.hear_word(Asks, 150, 1);
    desk.pass(Router::YIELD);
    assert_eq!(desk.router.state(), State::Backup);
    // The word that comes late means nothing any more.
    desk.did();
    desk.tell(Input::Yielded);
    assert_eq!(desk.did(), Vec::<String>::new());
}

#[test]
fn one_that_asked_and_died_meanwhile_is_missed_no_longer_than_any_that_dies() {
    each_kind(|settings| {
        let mut desk = Desk::active(settings());
        desk.hear_word(Asks, 150, 1);
        desk.tell(Input::Yielded);
        desk.did();
        desk.pass(DOWN - ms(1));
        // What it gave away is said once more, in case that it was not heard.
        assert_eq!(desk.did(), ["send 0"]);
        desk.pass(ms(2));
        assert_eq!(desk.did(), ["send 100", "add", "announce 5", "notify MASTER"]);
    });
}

#[test]
fn of_several_that_ask_the_highest_is_yielded_to() {
    let mut desk = Desk::active(v2());
    desk.hear_word(Asks, 150, 1);
    desk.hear_word(Asks, 200, 2);
    desk.hear_word(Asks, 150, 1);
    assert_eq!(desk.did(), ["drain", "yield to 150", "yield to 200", "yield to 200"]);
}

#[test]
fn asked_by_one_of_lower_rank_or_without_the_password_it_does_nothing() {
    let mut desk = Desk::active(v2());
    desk.hear_word(Asks, 99, 9);
    desk.hear_word(Asks, 100, 4);
    assert_eq!(desk.did(), Vec::<String>::new());
    let mut desk = Desk::active(Settings { password: Some(advert::Password::new("1111")), ..v2() });
    let mut advert = desk.advert(200);
    advert.auth = advert::Auth::None;
    let (source, destination) = (node(9, true), advert::group(true));
    let payload = Asks.wrap(&advert.encode(source, destination));
    desk.tell(Input::Packet {
        payload,
        envelope: advert::Envelope { source, destination, ttl: 255 },
    });
    assert_eq!(desk.did(), Vec::<String>::new());
    assert_eq!(desk.told(Kind::AdvertRefused).len(), 1);
}

#[test]
fn one_that_outranks_the_asking_one_meanwhile_keeps_the_addresses() {
    let mut desk = Desk::active(v2());
    desk.hear_word(Asks, 101, 1);
    desk.did();
    desk.tell(Input::Weight(10));
    desk.tell(Input::Yielded);
    assert_eq!(desk.did(), ["send 110", "notify MASTER_PRIORITY"]);
    assert_eq!(desk.router.state(), State::Active);
}
