//! Highgate and Keepalived on one router id: each hands the address to the other, in both roles.

#[path = "common/vips.rs"]
mod vips;

#[path = "common/keepalived.rs"]
mod keepalived;

use std::time::Duration;

use anyhow::Context as _;
use highgate_testkit::wait::{self, Deadline};
use keepalived::{Keepalived, instance as keepalived, setting};
use rustix::process::Signal;
use vips::{Node, toml, until_held};

/// Within this the other has the address after a planned end.
const SOON: Duration = Duration::from_millis(2500);
const START: Duration = Duration::from_secs(10);

/// Settings of one kind of advert: ours, Keepalived's.
type Kind = (&'static str, &'static str);

const PASS: Kind = (
    "password = \"1111\"",
    "advert_int 1\n authentication {\n auth_type PASS\n auth_pass 1111\n }",
);
const OPEN: Kind = ("", "advert_int 1");
const THREE: Kind = ("version = 3\ninterval = \"300ms\"", "version 3\n advert_int 0.3");
const UNICAST: Kind = (
    "password = \"1111\"\npeers = \"10.99.0.2\"",
    "authentication {\n auth_type PASS\n auth_pass 1111\n }\n unicast_peer {\n 10.99.0.1\n }",
);
const UNICAST_THREE: Kind = (
    "version = 3\ninterval = \"300ms\"\npeers = \"10.99.0.2\"",
    "version 3\n advert_int 0.3\n unicast_peer {\n 10.99.0.1\n }",
);

/// What both say of each other once all is over.
fn assert_nobody_complains(ours: &Node<'_>, theirs: &Keepalived) -> anyhow::Result<()> {
    let complaints = theirs.complaints();
    anyhow::ensure!(complaints.is_empty(), "{complaints:?}");
    anyhow::ensure!(ours.count("adverts_refused")? == 0, "{}", ours.events()?);
    Ok(())
}

/// Highgate holds the address, gives it to Keepalived at its end, and takes it again.
fn ours_is_higher((ours, theirs): Kind) -> anyhow::Result<()> {
    let Some(lab) = setting(2) else { return Ok(()) };
    let text = toml(101, ours);
    let mut node = Node::start(&lab, 1, &text)?;
    let mut other = Keepalived::start(lab.host(2)?, &keepalived(80, theirs))?;
    let look =
        |took: anyhow::Result<Duration>, other: &Keepalived| took.with_context(|| other.log());
    look(until_held(&lab, 1, START), &other)?;
    node.until("active")?;
    node.process.signal(Signal::TERM)?;
    let took = look(until_held(&lab, 2, SOON), &other)?;
    node.process.wait(Deadline::seconds(5))?;
    node = Node::start(&lab, 1, &text)?;
    let again = look(until_held(&lab, 1, START), &other)?;
    eprintln!("to Keepalived within {took:?}, back {again:?} after the start");
    assert_nobody_complains(&node, &other)?;
    // The one that waits ends without a trace.
    other.stop()?;
    wait::eventually(Deadline::seconds(5), "the end of keepalived", || {
        anyhow::ensure!(other.has_ended()?);
        Ok(())
    })?;
    until_held(&lab, 1, SOON)?;
    anyhow::ensure!(node.shown("state")? == "active");
    Ok(())
}

/// Keepalived holds the address, gives it to Highgate at its end, and takes it again.
fn theirs_is_higher((ours, theirs): Kind) -> anyhow::Result<()> {
    let Some(lab) = setting(2) else { return Ok(()) };
    let mut other = Keepalived::start(lab.host(2)?, &keepalived(101, theirs))?;
    // They wait nearly as long as each other: who starts first need not be the first to listen.
    until_held(&lab, 2, START).with_context(|| other.log())?;
    let node = Node::start(&lab, 1, &toml(80, ours))?;
    node.until("backup")?;
    anyhow::ensure!(node.count("became_active")? == 0);
    wait::eventually(Deadline::seconds(5), "an advert", || {
        anyhow::ensure!(node.shown("active_node")? == "10.99.0.2", "{}", node.events()?);
        Ok(())
    })?;
    other.stop()?;
    let took = until_held(&lab, 1, SOON)?;
    drop(other);
    other = Keepalived::start(lab.host(2)?, &keepalived(101, theirs))?;
    let again = until_held(&lab, 2, START).with_context(|| other.log())?;
    eprintln!("to Highgate within {took:?}, back {again:?} after the start");
    node.until("backup")?;
    anyhow::ensure!(node.count("resignations_heard")? >= 1);
    assert_nobody_complains(&node, &other)
}

#[test]
fn with_a_password_keepalived_takes_the_address_that_highgate_gives_away() {
    ours_is_higher(PASS).unwrap();
}

#[test]
fn with_a_password_highgate_takes_the_address_that_keepalived_gives_away() {
    theirs_is_higher(PASS).unwrap();
}

#[test]
fn without_one_keepalived_takes_the_address_that_highgate_gives_away() {
    ours_is_higher(OPEN).unwrap();
}

#[test]
fn without_one_highgate_takes_the_address_that_keepalived_gives_away() {
    theirs_is_higher(OPEN).unwrap();
}

#[test]
fn by_version_3_keepalived_takes_the_address_that_highgate_gives_away() {
    ours_is_higher(THREE).unwrap();
}

#[test]
fn by_version_3_highgate_takes_the_address_that_keepalived_gives_away() {
    theirs_is_higher(THREE).unwrap();
}

#[test]
fn by_unicast_keepalived_takes_the_address_that_highgate_gives_away() {
    ours_is_higher(UNICAST).unwrap();
}

#[test]
fn by_unicast_highgate_takes_the_address_that_keepalived_gives_away() {
    theirs_is_higher(UNICAST).unwrap();
}

#[test]
fn by_unicast_of_version_3_keepalived_takes_the_address_that_highgate_gives_away() {
    ours_is_higher(UNICAST_THREE).unwrap();
}

#[test]
fn by_unicast_of_version_3_highgate_takes_the_address_that_keepalived_gives_away() {
    theirs_is_higher(UNICAST_THREE).unwrap();
}

/// Differences by which Keepalived and Highgate would both hold the address: each is told.
#[test]
fn what_differs_from_keepalived_is_told_without_the_password() {
    let Some(lab) = setting(2) else { return };
    let node = Node::start(&lab, 1, &toml(101, "password = \"1111\"")).unwrap();
    let wrong = "authentication {\n auth_type PASS\n auth_pass secret7\n }";
    let other = Keepalived::start(lab.host(2).unwrap(), &keepalived(80, wrong)).unwrap();
    let events = node.until_told(&["10.99.0.2", "its password differs"]).unwrap();
    for secret in ["1111", "secret7"] {
        assert!(!events.contains(secret) && !node.process.log().contains(secret), "{events}");
    }
    drop(other);
    let other = keepalived(80, "version 3\n advert_int 1");
    let other = Keepalived::start(lab.host(2).unwrap(), &other).unwrap();
    node.until_told(&["it is VRRPv3, expected VRRPv2"]).unwrap();
    drop(other);
}
