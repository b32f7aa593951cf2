//! The address at work: drained and enabled, scripts, many of them,
//! and old configurations.

#[path = "common/vips.rs"]
mod vips;

use std::{process::Command, time::Duration};

use highgate_testkit::{
    Lab,
    scratch::{Scratch, run},
    wait::{self, Deadline},
};
use rustix::process::Signal;
use vips::{LISTENER, Node, has, lab, last, serve, toml, until_held, vip, with_clients};

const START: Duration = Duration::from_secs(10);
const SOON: Duration = Duration::from_millis(2500);

#[test]
fn a_drained_vip_goes_to_the_other_node_and_comes_back_when_enabled() {
    let Some(lab) = lab(3).unwrap() else { return };
    let mut one = Node::start(&lab, 1, &toml(100, "")).unwrap();
    let other = Node::start(&lab, 2, &toml(80, "")).unwrap();
    until_held(&lab, 1, START).unwrap();
    other.until("backup").unwrap();
    one.ctl(&["act", "vips", "drain", "VI_1"]).unwrap();
    until_held(&lab, 2, SOON).unwrap();
    one.until_told(&["an operator took it out"]).unwrap();
    // What an operator took out stays out, whatever becomes of the processes.
    one.kill("vip-keeper").unwrap();
    one.until_told(&["the process that keeps the addresses died"]).unwrap();
    one.process.signal(Signal::STOP).unwrap();
    last(Duration::from_secs(2));
    one.process.signal(Signal::CONT).unwrap();
    one.until_told(&["the main process answers again"]).unwrap();
    last(Duration::from_secs(4));
    assert_eq!(vips::holders(&lab).unwrap(), [2]);
    assert!(one.shown("missing").unwrap().contains("an operator took it out"));
    one.process.signal(Signal::TERM).unwrap();
    one.process.wait(Deadline::seconds(10)).unwrap();
    let data = one.process.folder().join("highgate-data");
    let again = |command: &mut Command| {
        command.arg("--data-dir").arg(data);
    };
    let mut next = Node::start_with(&lab, 1, &toml(100, ""), again).unwrap();
    next.before.push(one.process);
    one = next;
    last(Duration::from_secs(5));
    assert_eq!(vips::holders(&lab).unwrap(), [2]);
    assert!(one.shown("missing").unwrap().contains("an operator took it out"));
    one.ctl(&["act", "vips", "enable", "VI_1"]).unwrap();
    until_held(&lab, 1, START).unwrap();
    let wrong = one.ctl(&["vip", "drain", "VI_7"]).unwrap_err().to_string();
    assert!(wrong.contains("there is no vip `VI_7`: `VI_1`"), "{wrong}");
}

/// A whole node before it is switched off: no request is lost, and the reason is there for who looks.
#[test]
fn a_node_gives_all_its_addresses_away_with_a_reason_and_takes_them_back() {
    let Some(lab) = lab(3).unwrap() else { return };
    serve(&lab).unwrap();
    let second = |priority| {
        let text = vip(priority, "router_id = 52\naddresses = \"10.99.0.102\"\n");
        format!("{}{}", toml(priority, ""), text.replace("VI_1", "VI_2"))
    };
    let one = Node::start(&lab, 1, &second(100)).unwrap();
    let other = Node::start(&lab, 2, &second(80)).unwrap();
    until_held(&lab, 1, START).unwrap();
    let states = |node: &Node<'_>, state: &str| {
        wait::eventually(Deadline::seconds(10), state, || {
            let rows = node.table("vips")?;
            anyhow::ensure!(
                rows.len() == 2 && rows.iter().all(|it| it["state"] == state),
                "{rows:?}"
            );
            Ok(())
        })
        .unwrap();
    };
    states(&one, "active");
    states(&other, "backup");
    let seen = with_clients(&lab, 2, START, |seen| {
        seen.until_answered_by(1, wait::now(), START)?;
        let told = one.ctl(&["vip", "drain", "--why", "new memory"])?;
        anyhow::ensure!(
            told.contains("all vips of this node: the addresses are given away"),
            "{told}"
        );
        until_held(&lab, 2, START)?;
        seen.until_answered_by(2, wait::now(), START).map(drop)
    });
    let (count, failed, _) = seen.unwrap().totals(START);
    assert!(count > 1 && failed.is_empty(), "{count}: {failed:?}");
    states(&one, "fault");
    states(&other, "active");
    one.until_told(&["leave is missing: an operator took it out: new memory"]).unwrap();
    assert!(one.ctl(&["vip"]).unwrap().contains("an operator took it out: new memory"));
    one.ctl(&["vip", "enable"]).unwrap();
    states(&one, "active");
    states(&other, "backup");
}

#[test]
fn a_script_that_fails_moves_the_address_and_one_that_recovers_brings_it_back() {
    let Some(lab) = lab(3).unwrap() else { return };
    let scratch = Scratch::new("script").unwrap();
    let flag = scratch.join("good");
    std::fs::write(&flag, "").unwrap();
    let script = |weight: &str| {
        format!(
            "track = [\"serving\", \"script flag{weight}\"]\n[[script]]\nname = \"flag\"\n\
             command = \"/usr/bin/test -e {}\"\ninterval = \"100ms\"\ntimeout = \"5s\"\nuser = \"root\"\n",
            flag.display()
        )
    };
    for weight in ["", " weight -30"] {
        let one = Node::start(&lab, 1, &toml(100, &script(weight))).unwrap();
        let other = Node::start(&lab, 2, &toml(80, "")).unwrap();
        until_held(&lab, 1, START).unwrap();
        other.until("backup").unwrap();
        std::fs::remove_file(&flag).unwrap();
        let took = until_held(&lab, 2, START).unwrap();
        one.until_told(&["script flag failed: exit status: 1"]).unwrap();
        if weight.is_empty() {
            one.until("fault").unwrap();
            assert!(took < SOON, "{took:?}");
        } else {
            one.until("backup").unwrap();
            assert_eq!(one.count("effective_priority").unwrap(), 70);
        }
        std::fs::write(&flag, "").unwrap();
        let back = until_held(&lab, 1, START).unwrap();
        eprintln!("script{weight}: moved after {took:?}, back {back:?} after it succeeded");
    }
}

/// A file with 255 vips.
fn many(priority: u8) -> String {
    let mut text = LISTENER.to_owned();
    for number in 1..=255 {
        text +=
            &vip(priority, &format!("router_id = {number}\naddresses = \"10.99.1.{number}\"\n"))
                .replace("VI_1", &format!("VI_{number}"));
    }
    text
}

/// How many of their addresses a host has.
fn held(lab: &Lab, host: u8) -> usize {
    let host = lab.host(host).unwrap();
    let addresses = (1..=255).map(|number| std::net::Ipv4Addr::new(10, 99, 1, number));
    host.inside(|| addresses.filter(|at| std::net::UdpSocket::bind((*at, 0)).is_ok()).count())
        .unwrap()
}

#[test]
fn a_keeper_that_is_killed_within_a_line_is_followed_by_one_that_works() {
    let Some(lab) = lab(3).unwrap() else { return };
    let one = Node::start(&lab, 1, &many(100)).unwrap();
    let until_all = || {
        wait::eventually(Deadline::seconds(25), "all of them", || {
            let here = held(&lab, 1);
            anyhow::ensure!(here == 255, "{here} here: {}", one.process.log());
            Ok(())
        })
        .unwrap();
    };
    until_all();
    // What it says of 255 vips, and of giving them away, is more than the stream holds unread.
    one.process.signal(Signal::STOP).unwrap();
    last(Duration::from_millis(3500));
    one.kill("vip-keeper").unwrap();
    last(Duration::from_millis(500));
    one.process.signal(Signal::CONT).unwrap();
    wait::eventually(Deadline::seconds(20), "a word about it", || {
        anyhow::ensure!(one.process.log().contains("the process that keeps the addresses died"));
        Ok(())
    })
    .unwrap();
    // Where the kernel held all that was said, the line was whole: unit tests cut it at each byte.
    eprintln!("cut within a line: {}", one.process.log().contains("is not understood"));
    until_all();
}

#[test]
fn an_interface_carries_255_vips_and_all_of_them_move() {
    let Some(lab) = lab(3).unwrap() else { return };
    let one = Node::start(&lab, 1, &many(100)).unwrap();
    let other = Node::start(&lab, 2, &many(80)).unwrap();
    let held = |host: u8| held(&lab, host);
    let until = |number: u8| {
        let begun = wait::now();
        wait::eventually(Deadline::seconds(12), "all of them", || {
            let (here, there) = (held(number), held(3 - number));
            anyhow::ensure!(here == 255 && there == 0, "{here} here, {there} there");
            Ok(())
        })
        .unwrap();
        begun.elapsed()
    };
    until(1);
    wait::eventually(Deadline::seconds(5), "255 backups", || {
        let rows = other.table("vips")?;
        let count = rows.iter().filter(|row| row["state"] == "backup").count();
        anyhow::ensure!(count == 255, "{count}");
        Ok(())
    })
    .unwrap();
    one.kill("vip-keeper").unwrap();
    let took = until(2);
    eprintln!("255 vips were on the other node {took:?} after the keeper was killed");
    assert!(took < Duration::from_secs(4), "{took:?}");
}

const HAPROXY: &str = "\
global
    maxconn 4000
defaults
    mode tcp
    timeout connect 10s
    timeout client 1h
    timeout server 1h
    maxconn 3000
frontend front
    bind *:8080
    default_backend back
backend back
    balance roundrobin
    server node1 10.99.0.3:9302 check inter 5s rise 2 fall 3
";

fn keepalived(priority: u8, state: &str) -> String {
    format!(
        "global_defs {{\n router_id ha_{priority}\n vrrp_iptables\n vrrp_garp_interval 0\n\
         vrrp_gna_interval 0\n}}\n\
         vrrp_script chk {{\n script \"/usr/sbin/pidof haproxy\"\n interval 2\n weight -30\n}}\n\
         vrrp_instance VI_1 {{\n state {state}\n interface eth0\n virtual_router_id 51\n\
         priority {priority}\n advert_int 1\n authentication {{\n auth_type PASS\n auth_pass 1111\n }}\n\
         virtual_ipaddress {{\n 10.99.0.100 # moves\n }}\n track_script {{\n chk\n }}\n}}\n"
    )
}

#[test]
fn haproxy_cfg_and_keepalived_conf_of_two_machines_run_as_they_are() {
    let Some(lab) = lab(3).unwrap() else { return };
    serve(&lab).unwrap();
    let scratch = Scratch::new("old").unwrap();
    let cfg = scratch.join("haproxy.cfg");
    std::fs::write(&cfg, HAPROXY).unwrap();
    let start = |host: u8, priority: u8, state: &str| {
        let conf = scratch.join(&format!("keepalived-{host}.conf"));
        std::fs::write(&conf, keepalived(priority, state)).unwrap();
        Node::start_with(&lab, host, "workers = 1\n", |command| {
            command.arg(&cfg).arg(&conf);
        })
        .unwrap()
    };
    let one = start(1, 100, "MASTER");
    let other = start(2, 80, "BACKUP");
    until_held(&lab, 1, START).unwrap();
    other.until("backup").unwrap();
    let seen = with_clients(&lab, 1, Duration::from_millis(100), |seen| {
        seen.until_answered_by(1, wait::now(), START)?;
        let since = wait::now();
        one.process.signal(Signal::KILL)?;
        until_held(&lab, 2, SOON)?;
        seen.until_answered_by(2, since, SOON)?;
        eprintln!("killed: clients waited {:?}", seen.outage(since));
        Ok(())
    });
    seen.unwrap();
    assert!(has(lab.host(2).unwrap(), vips::VIP).unwrap());
}

#[test]
fn tcpdump_reads_the_adverts_of_both_versions_without_a_complaint() {
    let Some(lab) = lab(3).unwrap() else { return };
    if highgate_testkit::scratch::which("tcpdump").is_none() {
        return eprintln!("skipped: no tcpdump");
    }
    let two = "password = \"1111\"";
    let three = "version = 3\ninterval = \"200ms\"";
    let six = "version = 3\ninterval = \"200ms\"\naddresses = [\"fe80::51\", \"fd99::100\"]";
    for (settings, words) in [
        (two, ["VRRPv2, Advertisement", "vrid 51, prio 100, authtype simple, intvl 1s"]),
        (three, ["VRRPv3, Advertisement", "vrid 51, prio 100, intvl 20cs"]),
        (six, ["VRRPv3, Advertisement", "vrid 51, prio 100, intvl 20cs"]),
    ] {
        let node = Node::start(&lab, 1, &toml(100, settings)).unwrap();
        let host = lab.host(3).unwrap();
        let mut command = host.command("timeout");
        command.args(["15", "tcpdump", "-i", "eth0", "-vv", "-n", "-l", "-c", "3"]);
        // IPv6 has no name for it in filters of any header.
        let text = run(command.args(["proto", "112", "or", "ip6", "proto", "112"])).unwrap();
        assert!(words.iter().all(|word| text.contains(word)), "{text}");
        let complaints = ["bad", "wrong", "incorrect", "invalid", "truncated", "[|"];
        assert!(!complaints.iter().any(|word| text.contains(word)), "{text}");
        drop(node);
    }
}

/// What was observed: it got a lifetime of 3 s, and went with the vip.
#[test]
fn an_owners_address_stays_as_its_operator_set_it() {
    let Some(lab) = lab(2).unwrap() else { return };
    let host = lab.host(1).unwrap();
    let text = toml(255, "version = 3\ninterval = \"200ms\"\naddresses = \"10.99.0.1/24\"\n");
    let stays = || {
        let shown = run(host.command("ip").args(["-4", "address", "show", "dev", "eth0"])).unwrap();
        let line = shown.lines().skip_while(|line| !line.contains("10.99.0.1/24")).nth(1);
        assert!(line.is_some_and(|line| line.contains("valid_lft forever")), "{shown}");
    };
    let mut one = Node::start(&lab, 1, &text).unwrap();
    one.until("active").unwrap();
    assert!(one.count("announced").unwrap() > 0);
    stays();
    one.ctl(&["vip", "drain"]).unwrap();
    one.until("fault").unwrap();
    one.until_told(&["10.99.0.1 stays on this node, since it was there before"]).unwrap();
    stays();
    one.ctl(&["vip", "enable"]).unwrap();
    one.until("active").unwrap();
    one.kill("vip-keeper").unwrap();
    one.until_told(&["the process that keeps the addresses died"]).unwrap();
    one.until("active").unwrap();
    stays();
    one.process.signal(Signal::TERM).unwrap();
    one.process.wait(Deadline::seconds(10)).unwrap();
    // Longer than the lifetime of what is this program's.
    last(Duration::from_secs(4));
    stays();
}

#[test]
fn an_address_that_somebody_left_on_a_backup_is_told_and_left_alone() {
    let Some(lab) = lab(2).unwrap() else { return };
    let host = lab.host(2).unwrap();
    host.ip("address add 10.99.0.100/32 dev eth0").unwrap();
    let one = Node::start(&lab, 1, &toml(100, "")).unwrap();
    let mut other = Node::start(&lab, 2, &toml(80, "")).unwrap();
    one.until("active").unwrap();
    other.until("backup").unwrap();
    let told = "10.99.0.100 was set on eth0 by somebody else, to stay, and is left alone";
    other.until_told(&[told, "ip address del 10.99.0.100/32 dev eth0"]).unwrap();
    other.process.signal(Signal::TERM).unwrap();
    other.process.wait(Deadline::seconds(10)).unwrap();
    assert!(has(host, vips::VIP).unwrap());
}
