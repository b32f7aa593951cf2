//! What a router needs, its rank, and drains.

use super::*;

const ALL: [Need; 7] = [
    Need::Addresses,
    Need::Group,
    Need::Leave,
    Need::Link,
    Need::Serving,
    Need::Socket,
    Need::Tracking,
];

#[test]
fn an_active_router_that_loses_anything_gives_the_addresses_away_at_once() {
    each_kind(|settings| {
        for need in ALL {
            let mut desk = Desk::active(settings());
            desk.lose(need);
            assert_eq!(desk.did(), ["remove", "send 0", "notify FAULT"], "{need:?}");
            assert_eq!(desk.router.state(), State::Fault);
        }
    });
}

#[test]
fn it_says_so_once_more_since_one_word_may_be_lost() {
    let mut desk = Desk::active(v2());
    desk.lose(Need::Serving);
    desk.did();
    desk.pass(ms(60_000));
    assert_eq!(desk.did(), ["send 0"]);
}

#[test]
fn it_does_not_say_so_again_once_another_has_taken_the_addresses() {
    let mut desk = Desk::active(v2());
    desk.lose(Need::Serving);
    desk.did();
    desk.hear(50, 1);
    desk.pass(ms(60_000));
    assert_eq!(desk.did(), Vec::<String>::new());
}

#[test]
fn a_backup_that_loses_anything_goes_without_a_word_on_the_wire() {
    for need in ALL {
        let mut desk = Desk::started(v2());
        desk.lose(need);
        assert_eq!(desk.did(), ["notify FAULT"], "{need:?}");
        assert_eq!(desk.deadline(), None);
    }
}

#[test]
fn it_stays_out_until_all_is_regained_and_then_listens_first() {
    let mut desk = Desk::active(v2());
    desk.lose(Need::Serving);
    desk.lose(Need::Link);
    desk.tell(Input::Met(Need::Serving));
    assert_eq!(desk.router.state(), State::Fault);
    desk.did();
    desk.tell(Input::Met(Need::Link));
    assert_eq!(desk.did(), ["notify BACKUP"]);
    assert_eq!(desk.router.state(), State::Backup);
}

#[test]
fn an_owner_that_regains_all_is_active_at_once() {
    let mut desk = Desk::active(Settings { priority: OWNER, ..v2() });
    desk.lose(Need::Serving);
    desk.did();
    desk.tell(Input::Met(Need::Serving));
    assert_eq!(desk.did(), ["send 255", "add", "announce 5", "notify MASTER"]);
}

#[test]
fn in_fault_nothing_that_is_heard_matters() {
    each_kind(|settings| {
        let mut desk = Desk::started(settings());
        desk.lose(Need::Serving);
        desk.did();
        desk.hear(RESIGNS, 1);
        desk.hear(1, 1);
        desk.pass(ms(60_000));
        assert_eq!(desk.did(), Vec::<String>::new());
    });
}

#[test]
fn stopped_in_fault_it_ends_without_a_word_on_the_wire() {
    let mut desk = Desk::started(v2());
    desk.lose(Need::Serving);
    desk.did();
    desk.tell(Input::Stop);
    assert_eq!(desk.did(), ["notify STOP"]);
    assert_eq!(desk.router.state(), State::Init);
}

#[test]
fn an_interface_that_goes_down_is_followed_unless_told_otherwise() {
    let down = Input::Link(Link::Down { source: Some(node(5, true)) });
    let mut follows = Desk::active(v2());
    follows.tell(down.clone());
    assert_eq!(follows.router.state(), State::Fault);
    assert_eq!(follows.router.status(follows.now).why, "interface eth0 is down");
    let mut ignores = Desk::active(Settings { follows_link: false, ..v2() });
    ignores.tell(down);
    assert_eq!(ignores.router.state(), State::Active);
}

#[test]
fn the_last_word_leaves_from_the_address_that_was_lost() {
    let mut desk = Desk::active(v2());
    let effects = desk.router.step(Input::Link(Link::Absent), desk.now);
    let from: Vec<_> = effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Send(sending) => Some((sending.source, sending.priority)),
            _ => None,
        })
        .collect();
    assert_eq!(from, [(node(5, true), RESIGNS)]);
}

#[test]
fn an_interface_without_an_address_of_the_family_is_no_link() {
    let mut desk = Desk::started(v2());
    desk.tell(Input::Link(Link::Up { source: None }));
    assert_eq!(desk.router.status(desk.now).why, "interface eth0 has no IPv4 address");
    let mut configured = Desk::started(Settings { source: Some(node(7, true)), ..v2() });
    configured.tell(Input::Link(Link::Up { source: None }));
    assert_eq!(configured.router.state(), State::Backup);
}

#[test]
fn a_new_source_address_is_used_from_the_next_advert_on() {
    let mut desk = Desk::active(v3());
    desk.tell(Input::Link(Link::Up { source: Some(node(77, true)) }));
    assert_eq!(desk.router.state(), State::Active);
    desk.hear(100, 9);
    assert_eq!(desk.router.state(), State::Active);
}

#[test]
fn each_loss_and_return_is_told_once_with_its_reason() {
    let mut desk = Desk::active(v2());
    desk.lose(Need::Serving);
    desk.lose(Need::Serving);
    assert_eq!(desk.told(Kind::Need), ["serving is missing: because"]);
    desk.tell(Input::Met(Need::Serving));
    desk.tell(Input::Met(Need::Serving));
    assert_eq!(desk.told(Kind::Need), ["serving is back; before: because"]);
}

#[test]
fn a_lower_rank_is_advertised_at_once_and_nothing_is_given_away() {
    let mut desk = Desk::active(v2());
    desk.tell(Input::Weight(-30));
    assert_eq!(desk.did(), ["send 70", "notify MASTER_PRIORITY"]);
    assert_eq!(desk.router.state(), State::Active);
    assert_eq!(
        desk.told(Kind::Priority),
        ["priority 100 becomes 70: 100 as configured, -30 by tracking"]
    );
}

#[test]
fn a_weight_never_makes_an_owner_or_a_resignation() {
    let rank = |priority, weight| {
        let mut desk = Desk::started(ranked(priority));
        desk.tell(Input::Weight(weight));
        desk.router.priority()
    };
    assert_eq!(rank(100, 1_000), 254);
    assert_eq!(rank(100, -1_000), 1);
    assert_eq!(rank(254, 1), 254);
    assert_eq!(rank(1, -1), 1);
    assert_eq!(rank(OWNER, -200), OWNER);
    assert_eq!(rank(100, i32::MIN), 1);
    assert_eq!(rank(100, i32::MAX), 254);
}

#[test]
fn the_script_of_the_tutorial_moves_the_address_when_its_priority_falls_below_the_others() {
    // 100 - 30 = 70 against 80: the backup leaves lower adverts aside until its timer ends.
    let mut backup = Desk::started(Settings { priority: 80, ..v2() });
    backup.hear(100, 9);
    backup.pass(ms(1_000));
    backup.hear(70, 9);
    backup.pass(ms(2_688));
    assert_eq!(backup.router.state(), State::Active);
    let mut first = Desk::active(v2());
    first.tell(Input::Weight(-30));
    first.hear(80, 1);
    assert_eq!(first.router.state(), State::Backup);
}

#[test]
fn what_is_not_known_yet_ends_nothing() {
    let mut desk = Desk::active(v2());
    desk.tell(Input::Pending(Need::Tracking));
    assert_eq!((desk.did(), desk.router.state()), (vec![], State::Active));
    desk.tell(Input::Unmet(Need::Tracking, "script f failed".to_owned()));
    assert_eq!(desk.router.state(), State::Fault);
    desk.tell(Input::Pending(Need::Tracking));
    assert_eq!(desk.router.state(), State::Init);
}
