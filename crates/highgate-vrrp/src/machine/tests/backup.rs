//! §6.4.2, Backup.

use super::*;

#[test]
fn stopped_it_goes_without_a_word_on_the_wire() {
    each_kind(|settings| {
        let mut desk = Desk::started(settings());
        desk.tell(Input::Stop);
        assert_eq!(desk.did(), ["notify STOP"]);
        assert_eq!((desk.router.state(), desk.deadline()), (State::Init, None));
    });
}

#[test]
fn when_its_timer_fires_it_advertises_then_takes_and_announces_the_addresses() {
    each_kind(|settings| {
        let mut desk = Desk::started(settings());
        desk.pass(DOWN);
        assert_eq!(desk.did(), Vec::<String>::new());
        desk.pass(ms(1));
        assert_eq!(desk.did(), ["send 100", "add", "announce 5", "notify MASTER"]);
        assert_eq!(desk.router.state(), State::Active);
        assert_eq!(whole(desk.deadline()), Some(ms(999)));
    });
}

#[test]
fn priority_zero_leaves_it_no_more_than_the_skew_to_wait() {
    each_kind(|settings| {
        let mut desk = Desk::started(settings());
        desk.hear(200, 1);
        desk.pass(ms(100));
        desk.hear(RESIGNS, 1);
        assert_eq!(whole(desk.deadline()), Some(SKEW));
        desk.pass(ms(610));
        assert_eq!(desk.router.state(), State::Active);
        assert_eq!(
            desk.router.status(desk.now).why,
            format!("{} gave it away", node(1, settings().is_v4()))
        );
    });
}

#[test]
fn priority_zero_of_one_whose_successor_was_heard_changes_nothing() {
    each_kind(|settings| {
        let mut desk = Desk::started(settings());
        desk.hear(200, 1);
        desk.hear(RESIGNS, 1);
        desk.hear(150, 2);
        desk.hear(RESIGNS, 1);
        assert_eq!(whole(desk.deadline()), Some(DOWN));
    });
}

#[test]
fn priority_zero_never_makes_it_wait_longer() {
    let mut desk = Desk::started(v2());
    desk.hear(200, 1);
    desk.pass(ms(3_500));
    desk.hear(RESIGNS, 1);
    assert_eq!(whole(desk.deadline()), Some(ms(109)));
}

#[test]
fn an_advert_of_higher_rank_lets_it_count_down_from_anew() {
    each_kind(|settings| {
        let mut desk = Desk::started(settings());
        desk.pass(ms(3_000));
        desk.hear(101, 1);
        assert_eq!(whole(desk.deadline()), Some(DOWN));
        assert_eq!(desk.did(), Vec::<String>::new());
    });
}

#[test]
fn an_advert_of_the_same_rank_does_too_whatever_its_address() {
    each_kind(|settings| {
        for peer in [1, 9] {
            let mut desk = Desk::started(settings());
            desk.pass(ms(3_000));
            desk.hear(100, peer);
            assert_eq!(whole(desk.deadline()), Some(DOWN));
        }
    });
}

#[test]
fn an_advert_of_lower_rank_is_left_aside_if_it_preempts() {
    each_kind(|settings| {
        let mut desk = Desk::started(settings());
        desk.pass(ms(3_000));
        desk.hear(99, 1);
        assert_eq!(whole(desk.deadline()), Some(ms(609)));
        desk.pass(ms(609));
        // It asks before it takes over: see `handover`.
        desk.pass(ms(301));
        assert_eq!(desk.router.state(), State::Active);
    });
}

#[test]
fn an_advert_of_lower_rank_counts_if_it_does_not_preempt() {
    each_kind(|settings| {
        let mut desk = Desk::started(Settings { preempt: false, ..settings() });
        desk.pass(ms(3_000));
        desk.hear(99, 1);
        assert_eq!(whole(desk.deadline()), Some(DOWN));
    });
}

#[test]
fn an_owner_preempts_whatever_it_is_told() {
    let settings = Settings { priority: OWNER, starts_active: false, preempt: false, ..v3() };
    let mut desk = Desk::started(settings);
    desk.pass(ms(3_000));
    desk.hear(254, 1);
    assert_eq!(whole(desk.deadline()), Some(ms(3)));
}

#[test]
fn version_three_counts_by_the_interval_of_whoever_is_active() {
    for is_v4 in [true, false] {
        let mut desk = Desk::started(settings(Version::V3, is_v4));
        let mut advert = desk.advert(200);
        advert.interval = ms(100);
        desk.hear_advert(&advert, 1);
        assert_eq!(whole(desk.deadline()), Some(ms(360)));
        assert_eq!(desk.router.status(desk.now).interval, ms(100));
    }
}

#[test]
fn what_was_learned_is_forgotten_once_it_is_active_itself() {
    let mut desk = Desk::started(v3());
    let mut advert = desk.advert(200);
    advert.interval = ms(100);
    desk.hear_advert(&advert, 1);
    desk.pass(ms(361));
    assert_eq!(desk.router.state(), State::Active);
    assert_eq!(desk.router.status(desk.now).interval, ms(1_000));
    assert_eq!(whole(desk.deadline()), Some(ms(999)));
}

#[test]
fn an_advert_of_lower_rank_teaches_nothing_if_it_is_left_aside() {
    let mut desk = Desk::started(v3());
    let mut advert = desk.advert(99);
    advert.interval = ms(40_000);
    desk.hear_advert(&advert, 1);
    assert_eq!(whole(desk.deadline()), Some(DOWN));
}

#[test]
fn the_delay_of_preemption_starts_when_one_of_lower_rank_is_first_heard() {
    let mut desk = Desk::started(Settings { preempt_delay: ms(10_000), ..v2() });
    for _ in 0..10 {
        desk.hear(50, 1);
        assert_eq!(whole(desk.deadline()), Some(DOWN));
        desk.pass(ms(1_000));
    }
    desk.hear(50, 1);
    assert_eq!(whole(desk.deadline()), Some(ms(2_609)));
    desk.pass(ms(2_610));
    assert_eq!(desk.router.state(), State::Active);
}

#[test]
fn a_backup_that_a_lower_one_overtook_waits_its_delay_and_its_whole_time_again() {
    let slow = Settings { down_adverts: 5, preempt_delay: ms(2_500), ..v2() };
    let mut desk = Desk::started(slow);
    // Its timer has 2 s left when one that misses fewer adverts is active first.
    desk.pass(ms(3_609));
    for _ in 0..3 {
        desk.hear(50, 1);
        assert_eq!(whole(desk.deadline()), Some(ms(5_609)));
        desk.pass(ms(1_000));
    }
    // The delay is over: its adverts no longer count, but the last that did is 1 s ago.
    desk.hear(50, 1);
    assert_eq!(whole(desk.deadline()), Some(ms(4_609)));
}

#[test]
fn one_of_higher_rank_ends_the_delay_of_preemption() {
    let mut desk = Desk::started(Settings { preempt_delay: ms(3_000), ..v2() });
    desk.hear(50, 1);
    desk.pass(ms(2_000));
    desk.hear(150, 2);
    desk.pass(ms(2_000));
    desk.hear(50, 1);
    assert_eq!(whole(desk.deadline()), Some(DOWN));
}

#[test]
fn one_that_works_is_not_replaced_for_a_delay_once_it_is_gone() {
    let mut desk = Desk::started(Settings { preempt_delay: ms(60_000), ..v2() });
    desk.hear(50, 1);
    desk.pass(ms(3_610));
    assert_eq!(desk.router.state(), State::Active);
}

#[test]
fn as_many_adverts_may_be_missed_as_configured() {
    let mut desk = Desk::started(Settings { down_adverts: 5, ..v2() });
    desk.hear(200, 1);
    assert_eq!(whole(desk.deadline()), Some(ms(5_609)));
}

#[test]
fn the_first_of_equals_takes_over_and_the_other_respects_it() {
    let (mut one, mut other) = (Desk::started(v2()), Desk::started(v2()));
    one.pass(ms(3_610));
    other.pass(ms(3_609));
    other.hear(100, 9);
    assert_eq!(one.router.state(), State::Active);
    assert_eq!(other.router.state(), State::Backup);
}

#[test]
fn after_a_sleep_longer_than_its_timer_it_listens_once_more_and_says_so() {
    each_kind(|settings| {
        let mut desk = Desk::started(settings());
        desk.hear(200, 1);
        desk.now += DOWN * 2 + ms(1);
        desk.tell(Input::Timer);
        assert_eq!((desk.router.state(), whole(desk.deadline())), (State::Backup, Some(DOWN)));
        let told = desk.told(Kind::Stall);
        assert!(told.iter().any(|text| text.contains("did not run for")), "{told:?}");
        // The other lives: its next advert counts as ever.
        desk.pass(ms(500));
        desk.hear(200, 1);
        assert_eq!(whole(desk.deadline()), Some(DOWN));
        assert_eq!(desk.did(), Vec::<String>::new());
    });
}

#[test]
fn who_is_always_late_still_takes_over_from_one_that_is_dead() {
    each_kind(|settings| {
        let mut desk = Desk::started(settings());
        desk.hear(200, 1);
        for state in [State::Backup, State::Active] {
            desk.now += DOWN * 3;
            desk.tell(Input::Timer);
            assert_eq!(desk.router.state(), state);
        }
    });
}

#[test]
fn late_by_less_than_an_interval_it_takes_over() {
    each_kind(|settings| {
        let mut desk = Desk::started(settings());
        desk.hear(200, 1);
        desk.now += DOWN + ms(999);
        desk.tell(Input::Timer);
        assert_eq!(desk.router.state(), State::Active);
    });
}

/// What was observed: the packets that had come meanwhile were not in its sockets yet, and it took over
/// from one that works.
#[test]
fn late_by_an_interval_or_more_it_listens_for_one_more_and_then_takes_over() {
    each_kind(|settings| {
        for late in [ms(1_001), DOWN - ms(1)] {
            let mut desk = Desk::started(settings());
            desk.hear(200, 1);
            desk.now += DOWN + late;
            desk.tell(Input::Timer);
            assert_eq!(
                (desk.router.state(), whole(desk.deadline())),
                (State::Backup, Some(ms(1_000)))
            );
            // Once: it is late again, and nobody was heard.
            desk.now += ms(1_000) * 2;
            desk.tell(Input::Timer);
            assert_eq!(desk.router.state(), State::Active);
        }
    });
}

/// What was observed on a guest: all its processors stood still for most of the time that a backup
/// waits, and it woke up before who was to send. Its timer was hardly late.
#[test]
fn time_in_which_it_did_not_run_is_no_silence() {
    each_kind(|settings| {
        let mut desk = Desk::started(settings());
        desk.hear(200, 1);
        desk.pass(ms(1_000));
        let left = DOWN - ms(1_000);
        desk.now += left + ms(1);
        desk.tell(Input::Slept(left + ms(1)));
        desk.tell(Input::Timer);
        assert_eq!((desk.router.state(), whole(desk.deadline())), (State::Backup, Some(left)));
        let told = desk.told(Kind::Stall);
        assert!(told.iter().any(|text| text.contains("did not run for")), "{told:?}");
        // Once: whoever is always late takes over from one that is dead.
        desk.now += left + ms(1);
        desk.tell(Input::Slept(left));
        desk.tell(Input::Timer);
        assert_eq!(desk.router.state(), State::Active);
    });
}

/// Who gives the addresses away waits for nobody who slept.
#[test]
fn after_a_sleep_it_takes_what_was_given_away_meanwhile() {
    each_kind(|settings| {
        let mut desk = Desk::started(settings());
        desk.hear(200, 1);
        desk.now += DOWN - ms(500);
        desk.hear(0, 1);
        let left = desk.deadline();
        desk.tell(Input::Slept(DOWN - ms(1_500)));
        assert_eq!(desk.deadline(), left, "its skew");
    });
}

#[test]
fn a_sleep_after_which_the_other_was_heard_changes_nothing() {
    each_kind(|settings| {
        let mut desk = Desk::started(settings());
        desk.hear(200, 1);
        desk.now += DOWN;
        desk.hear(200, 1);
        desk.tell(Input::Slept(DOWN - ms(500)));
        assert_eq!((desk.did(), whole(desk.deadline())), (Vec::new(), Some(DOWN)));
        // Nor does a short one, nor any where nothing is waited for.
        desk.now += ms(999);
        desk.tell(Input::Slept(ms(999)));
        assert_eq!(whole(desk.deadline()), Some(DOWN - ms(999)));
        desk.pass(DOWN + ms(10));
        desk.tell(Input::Slept(DOWN * 2));
        assert_eq!(desk.router.state(), State::Active);
    });
}

#[test]
fn late_by_an_interval_it_counts_from_anew_when_the_other_is_heard() {
    each_kind(|settings| {
        let mut desk = Desk::started(settings());
        desk.hear(200, 1);
        desk.now += DOWN + ms(2_000);
        desk.tell(Input::Timer);
        desk.pass(ms(10));
        desk.hear(200, 1);
        assert_eq!((desk.router.state(), whole(desk.deadline())), (State::Backup, Some(DOWN)));
    });
}

#[test]
fn an_advert_that_waited_while_it_slept_is_heard_before_time_is_looked_at() {
    each_kind(|settings| {
        let mut desk = Desk::started(settings());
        desk.hear(200, 1);
        desk.now += DOWN + ms(900);
        // As the driver does it: the socket first, then the timer.
        desk.hear(200, 1);
        desk.tell(Input::Timer);
        assert_eq!((desk.router.state(), whole(desk.deadline())), (State::Backup, Some(DOWN)));
    });
}
