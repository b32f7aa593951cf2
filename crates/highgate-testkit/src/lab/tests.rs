use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use super::*;
use crate::wait;

fn lab(hosts: u8) -> Option<Lab> {
    if !Lab::is_possible() {
        eprintln!("skipped: {WHY_NOT}");
        return None;
    }
    Some(Lab::new(hosts).unwrap())
}

fn reaches_at(lab: &Lab, from: u8, to: IpAddr) -> bool {
    let connected = lab.host(from).unwrap().inside(|| {
        TcpStream::connect_timeout(&SocketAddr::new(to, 9), Duration::from_millis(1500))
    });
    // Nobody listens: a refusal shows that the packet arrived, silence that it didn't.
    let error = connected.unwrap().unwrap_err();
    error.kind() == std::io::ErrorKind::ConnectionRefused
}

fn reaches(lab: &Lab, from: u8, to: u8) -> bool {
    reaches_at(lab, from, lab.host(to).unwrap().v4().into())
}

#[test]
fn two_parted_hosts_reach_only_the_third() {
    let Some(lab) = lab(3) else { return };
    assert!(reaches(&lab, 1, 2));
    lab.part(1, 2).unwrap();
    assert!(!reaches(&lab, 1, 2));
    assert!(reaches(&lab, 1, 3) && reaches(&lab, 2, 3));
    lab.join(1, 2).unwrap();
    assert!(reaches(&lab, 1, 2));
}

#[test]
fn a_host_is_reached_by_ipv6_from_the_start() {
    let Some(lab) = lab(2) else { return };
    assert!(reaches_at(&lab, 1, lab.host(2).unwrap().v6().into()));
}

#[test]
fn an_unplugged_host_is_reached_again_once_it_is_plugged() {
    let Some(lab) = lab(2) else { return };
    lab.unplug(2).unwrap();
    assert!(!reaches(&lab, 1, 2));
    lab.plug(2).unwrap();
    assert!(reaches(&lab, 1, 2));
}

#[test]
fn a_muted_host_still_hears_what_it_is_sent() {
    let Some(lab) = lab(2) else { return };
    let there = lab.host(2).unwrap();
    let listener = there.inside(|| TcpListener::bind((there.v4(), 0)).unwrap()).unwrap();
    let to = listener.local_addr().unwrap();
    let mut client = lab.host(1).unwrap().inside(|| TcpStream::connect(to).unwrap()).unwrap();
    let (mut server, _) = listener.accept().unwrap();
    lab.mute(2, 1).unwrap();
    client.write_all(b"you hear me").unwrap();
    let mut heard = [0; 11];
    server.read_exact(&mut heard).unwrap();
    assert_eq!(&heard, b"you hear me");
    server.write_all(b"but I don't hear you").unwrap();
    client.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    assert!(client.read(&mut heard).is_err());
    lab.unmute(2, 1).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    client.read_exact(&mut heard).unwrap();
}

#[test]
fn a_bad_cable_delays_and_loses_and_its_connections_live_on() {
    let Some(lab) = lab(2) else { return };
    let there = lab.host(2).unwrap();
    let listener = there.inside(|| TcpListener::bind((there.v4(), 0)).unwrap()).unwrap();
    let to = listener.local_addr().unwrap();
    let mut client = lab.host(1).unwrap().inside(|| TcpStream::connect(to).unwrap()).unwrap();
    let (mut server, _) = listener.accept().unwrap();
    let mut turn = || {
        let started = wait::now();
        let mut one = [0];
        client.write_all(b"x").unwrap();
        server.read_exact(&mut one).unwrap();
        server.write_all(b"y").unwrap();
        client.read_exact(&mut one).unwrap();
        wait::now() - started
    };
    assert!(turn() < Duration::from_millis(50));
    let delay = Impairment { delay: Duration::from_millis(60), ..Impairment::NONE };
    lab.impair(2, delay, delay).unwrap();
    let took = turn();
    assert!(took >= Duration::from_millis(120), "{took:?}");
    // A lost frame is sent again after 200 ms at least.
    lab.impair(2, Impairment { loss_percent: 30, ..Impairment::NONE }, Impairment::NONE).unwrap();
    let slow = (0..12).filter(|_| turn() > Duration::from_millis(150)).count();
    assert!(slow > 0 && slow < 12, "{slow} of 12 turns lost a frame");
    // A parted host stays parted behind an inserted cable.
    lab.repair(2).unwrap();
    assert!(reaches(&lab, 1, 2));
    lab.part(1, 2).unwrap();
    assert!(!reaches(&lab, 1, 2));
}

#[test]
fn nothing_is_left_of_a_lab_that_was_dropped() {
    let Some(lab) = lab(2) else { return };
    let names = [1, 2].map(|host| lab.host(host).unwrap().netns().name().to_owned());
    let mut sleeper = lab.host(1).unwrap().command("sleep").arg("60").spawn().unwrap();
    drop(lab);
    let killed = sleeper.wait().unwrap();
    assert!(!killed.success());
    for name in names {
        assert!(!std::fs::exists(format!("/run/netns/{name}")).unwrap());
    }
}
