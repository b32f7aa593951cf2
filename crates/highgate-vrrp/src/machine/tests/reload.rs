//! Other settings while it runs.

use std::net::{IpAddr, Ipv4Addr};

use super::*;
use crate::settings::VirtualAddress;

fn vip(last: u8) -> VirtualAddress {
    VirtualAddress::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, last)))
}

fn adopt(desk: &mut Desk, change: impl FnOnce(&mut Settings)) {
    let mut new = desk.router.settings().clone();
    change(&mut new);
    desk.tell(Input::Settings(Box::new(new)));
}

#[test]
fn the_same_settings_again_change_nothing() {
    let mut desk = Desk::active(v2());
    adopt(&mut desk, |_| {});
    assert_eq!((desk.did(), desk.events()), (vec![], vec![]));
}

#[test]
fn only_addresses_that_changed_are_touched() {
    let mut desk = Desk::active(Settings { addresses: vec![vip(100), vip(101)], ..v2() });
    let new = Settings { addresses: vec![vip(101), vip(102)], ..desk.router.settings().clone() };
    let effects = desk.router.step(Input::Settings(Box::new(new)), desk.now);
    assert!(effects.contains(&Effect::RemoveAddresses(vec![vip(100)])));
    assert!(effects.contains(&Effect::AddAddresses(vec![vip(102)])));
    assert_eq!(desk.router.state(), State::Active);
}

#[test]
fn another_priority_is_advertised_at_once() {
    let mut desk = Desk::active(v2());
    adopt(&mut desk, |settings| settings.priority = 120);
    assert_eq!(desk.did(), ["send 120"]);
}

#[test]
fn a_backup_counts_by_the_new_interval_from_what_it_heard_last() {
    let mut desk = Desk::started(v2());
    desk.hear(200, 1);
    desk.pass(ms(1_000));
    adopt(&mut desk, |settings| settings.interval = ms(2_000));
    assert_eq!(whole(desk.deadline()), Some(ms(5_609)));
}

#[test]
fn another_password_is_demanded_from_then_on() {
    let mut desk = Desk::active(v2());
    let old = desk.advert(200);
    adopt(&mut desk, |settings| settings.password = Some(advert::Password::new("new")));
    desk.hear_advert(&old, 9);
    assert_eq!(desk.router.state(), State::Active);
    desk.hear(200, 9);
    assert_eq!(desk.router.state(), State::Backup);
}

#[test]
fn an_interval_that_a_reload_makes_differ_from_the_peers_is_told() {
    let mut desk = Desk::started(v3());
    let advert = desk.advert(200);
    desk.hear_advert(&advert, 9);
    assert!(desk.told(Kind::IntervalDiffers).is_empty());
    adopt(&mut desk, |settings| settings.interval = ms(3000));
    desk.hear_advert(&advert, 9);
    desk.hear_advert(&advert, 9);
    assert_eq!(desk.told(Kind::IntervalDiffers).len(), 1);
}
