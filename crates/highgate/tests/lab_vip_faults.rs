//! Bad networks and bad peers: pulled cables, splits, wrong settings, forged advertisements.

#[path = "common/hang.rs"]
mod hang;
#[path = "common/vips.rs"]
mod vips;

use std::time::Duration;

use hang::Held;
use highgate_testkit::{
    Lab,
    scratch::{run, which},
    wait::{self, Deadline},
};
use rustix::process::Signal;
use vips::{Node, VIP, has, lab, last, toml, until_held};

const START: Duration = Duration::from_secs(10);

/// Two nodes, the first of which holds the address.
fn two(lab: &Lab) -> anyhow::Result<[Node<'_>; 2]> {
    let nodes = [Node::start(lab, 1, &toml(100, ""))?, Node::start(lab, 2, &toml(80, ""))?];
    until_held(lab, 1, START)?;
    nodes[0].until("active")?;
    nodes[1].until("backup")?;
    Ok(nodes)
}

fn both_hold(lab: &Lab) -> anyhow::Result<()> {
    wait::eventually(Deadline::after(START), "a split", || {
        let holders = vips::holders(lab)?;
        anyhow::ensure!(holders == [1, 2], "{holders:?}");
        Ok(())
    })
}

/// Waits until the first alone holds the address; two may meanwhile.
fn only_first_holds(lab: &Lab) -> anyhow::Result<Duration> {
    let begun = wait::now();
    wait::eventually(Deadline::after(START), "one holder", || {
        let holders = vips::holders(lab)?;
        anyhow::ensure!(holders == [1], "{holders:?}");
        Ok(begun.elapsed())
    })
}

#[test]
fn a_pulled_cable_moves_the_address_and_a_plugged_one_brings_it_back() {
    let Some(lab) = lab(3).unwrap() else { return };
    let [one, other] = two(&lab).unwrap();
    lab.unplug(1).unwrap();
    let took = until_held(&lab, 2, START).unwrap();
    one.until("fault").unwrap();
    assert!(!has(lab.host(1).unwrap(), VIP).unwrap());
    lab.plug(1).unwrap();
    let back = until_held(&lab, 1, START).unwrap();
    eprintln!("cable pulled: moved after {took:?}; plugged: back after {back:?}");
    other.until("backup").unwrap();
}

#[test]
fn after_a_split_one_holds_the_address_and_announces_it_again() {
    let Some(lab) = lab(3).unwrap() else { return };
    let [one, other] = two(&lab).unwrap();
    lab.part(1, 2).unwrap();
    both_hold(&lab).unwrap();
    // Longer than an interval: else it is a take-over and no split.
    last(Duration::from_millis(1200));
    let before = one.count("announced").unwrap();
    lab.join(1, 2).unwrap();
    let took = only_first_holds(&lab).unwrap();
    eprintln!("split healed: one held the address after {took:?}");
    assert!(took < Duration::from_secs(3), "{took:?}");
    other.until("backup").unwrap();
    wait::eventually(Deadline::seconds(10), "an announcement", || {
        let after = one.count("announced")?;
        anyhow::ensure!(after > before, "{before} before, {after} after");
        Ok(())
    })
    .unwrap();
}

#[test]
fn a_one_way_partition_is_told_by_who_hears_and_heals() {
    let Some(lab) = lab(3).unwrap() else { return };
    let [one, other] = two(&lab).unwrap();
    // The second hears nothing of the first, which hears the second.
    lab.mute(1, 2).unwrap();
    both_hold(&lab).unwrap();
    one.until_told(&["10.99.0.2 is active too, with priority 80"]).unwrap();
    assert_eq!(one.shown("state").unwrap(), "active");
    lab.unmute(1, 2).unwrap();
    only_first_holds(&lab).unwrap();
    // The other way round nothing happens: a backup says nothing.
    lab.mute(2, 1).unwrap();
    last(Duration::from_secs(4));
    assert_eq!(vips::holders(&lab).unwrap(), [1]);
    assert_eq!(other.shown("state").unwrap(), "backup");
}

#[test]
fn what_differs_at_a_peer_is_told_without_the_password() {
    let Some(lab) = lab(3).unwrap() else { return };
    let one = Node::start(&lab, 1, &toml(100, "password = \"hunter22\"\n")).unwrap();
    let cases = [
        ("password = \"secret7\"\n", "its password differs from the one configured here"),
        ("", "its authentication is none, expected PASS"),
        ("password = \"hunter22\"\ninterval = \"2s\"\n", "its interval is 2s, expected 1s"),
        (
            "password = \"hunter22\"\naddresses = [\"10.99.0.100\", \"10.99.0.101\"]\n",
            "it is for 10.99.0.100, 10.99.0.101, expected 10.99.0.100",
        ),
        ("password = \"hunter22\"\nrouter_id = 52\n", "its router id is 52, expected 51"),
        ("version = 3\n", "it is VRRPv3, expected VRRPv2"),
    ];
    let mut refused = 0;
    for (settings, told) in cases {
        let other = Node::start(&lab, 2, &toml(200, settings)).unwrap();
        let events = one.until_told(&["advert of 10.99.0.2 refused", told]).unwrap();
        for secret in ["hunter22", "secret7"] {
            assert!(!events.contains(secret) && !one.process.log().contains(secret), "{events}");
        }
        drop(other);
        let now = one.count("adverts_refused").unwrap();
        assert!(now > refused, "{told}: {now} refused");
        refused = now;
    }
    assert_eq!(one.shown("state").unwrap(), "active");
    let peers = one.table("vip_peers").unwrap();
    assert!(peers.iter().any(|peer| peer["address"] == "10.99.0.2"), "{peers:?}");
}

/// Sends so many of each kind of forged advertisement, all of a higher priority.
const FORGE: &str = r#"
import socket, struct, sys
def total(data):
    s = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    while s >> 16: s = (s & 0xffff) + (s >> 16)
    return ~s & 0xffff
def advert(kind=0x21, vrid=51, count=1, auth=1, interval=1, password=b"hunter22", wrong=0):
    body = struct.pack("!BBBBBBH", kind, vrid, 254, count, auth, interval, 0)
    body += socket.inet_aton("10.99.0.100") + password.ljust(8, b"\0")
    return body[:6] + struct.pack("!H", total(body) ^ wrong) + body[8:]
def packet(payload, ttl=255):
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0xc0, 0, 0, 0, ttl, 112, 0,
        socket.inet_aton("10.99.0.66"), socket.inet_aton("224.0.0.18"))
    return head + payload
good = advert()
forged = [
    packet(advert(wrong=0x55)), packet(good, ttl=254), packet(good[:14]), packet(good + b"\0" * 4),
    packet(advert(password=b"2222")), packet(advert(auth=0, password=b"")), packet(advert(auth=2)),
    packet(advert(interval=9)), packet(advert(count=3)), packet(advert(kind=0x22)),
    packet(advert(kind=0x41)), packet(good[:3]), packet(b""),
]
mouth = socket.socket(socket.AF_INET, socket.SOCK_RAW, 255)
mouth.setsockopt(socket.IPPROTO_IP, socket.IP_HDRINCL, 1)
mouth.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"eth0")
for _ in range(int(sys.argv[1])):
    for one in forged:
        mouth.sendto(one, ("224.0.0.18", 0))
print(len(forged))
"#;

#[test]
fn a_flood_of_forged_advertisements_is_counted_and_moves_nothing() {
    let Some(lab) = lab(3).unwrap() else { return };
    if which("python3").is_none() {
        return eprintln!("skipped: no python3");
    }
    let pass = "password = \"1111\"\n";
    let one = Node::start(&lab, 1, &toml(100, pass)).unwrap();
    let other = Node::start(&lab, 2, &toml(80, pass)).unwrap();
    until_held(&lab, 1, START).unwrap();
    other.until("backup").unwrap();
    let begun = wait::now();
    let mut forger = lab.host(3).unwrap().command("python3");
    let kinds = run(forger.args(["-c", FORGE, "2000"])).unwrap();
    let sent: u64 = kinds.trim().parse::<u64>().unwrap() * 2000;
    let took = begun.elapsed();
    last(Duration::from_secs(4));
    for node in [&one, &other] {
        let refused = node.count("adverts_refused").unwrap();
        eprintln!("{sent} forged within {took:?}, {refused} refused");
        assert!(refused > 2000, "{refused}");
        let kinds = node.table("vip_refusals").unwrap();
        assert!(kinds.len() > 4, "{kinds:?}");
        for kind in kinds {
            let (name, count) = (kind["kind"].as_str().unwrap(), kind["adverts"].as_u64());
            assert!(count.is_some_and(|count| count > 0 && count <= refused), "{name}: {count:?}");
        }
        let log = node.process.log();
        assert!(log.lines().count() < 200, "the log is full of it");
    }
    let [active, backup] = [&one, &other].map(|node| node.shown("state").unwrap());
    assert!(active == "active" && backup == "backup", "{active}, {backup}");
    assert_eq!(one.count("became_active").unwrap(), 1);
    assert_eq!(other.count("became_active").unwrap(), 0);
    assert_eq!(vips::holders(&lab).unwrap(), [1]);
}

const FAST: &str = "version = 3\ninterval = \"200ms\"\n";
/// What the second node sends of VRRP is dropped, and its kernel says so.
const MUTED: &str = "add table ip muted; \
    add chain ip muted output { type filter hook output priority 0; }; \
    add rule ip muted output ip protocol 112 drop;";

/// What was observed: it held the address although it had stepped back, beside the first node.
#[test]
fn a_backup_whose_own_firewall_drops_its_adverts_never_holds_the_address() {
    let Some(lab) = lab(3).unwrap() else { return };
    let mut one = Node::start(&lab, 1, &toml(100, FAST)).unwrap();
    let other = Node::start(&lab, 2, &toml(80, FAST)).unwrap();
    until_held(&lab, 1, START).unwrap();
    other.until("backup").unwrap();
    let second = lab.host(2).unwrap();
    second.netns().nft(MUTED).unwrap();
    one.process.signal(Signal::KILL).unwrap();
    let is_held = |time| wait::wait_until(Deadline::after(time), || has(second, VIP).unwrap());
    assert!(!is_held(Duration::from_secs(4)), "{}", other.events().unwrap());
    let told = ["adverts can't be sent: Operation not permitted", "tried again in 2 s"];
    other.until_told(&told).unwrap();
    let tries = other.count("became_active").unwrap();
    assert!((2..=5).contains(&tries), "{tries} tries");
    drop(one);
    one = Node::start(&lab, 1, &toml(100, FAST)).unwrap();
    until_held(&lab, 1, START).unwrap();
    assert!(!is_held(Duration::from_secs(2)), "two hold it: {}", other.events().unwrap());
    second.netns().nft("delete table ip muted").unwrap();
    one.process.signal(Signal::KILL).unwrap();
    until_held(&lab, 2, Duration::from_secs(30)).unwrap();
    other.until("active").unwrap();
}

/// What was observed: it took the address from a healthy node and gave it back every five seconds.
#[test]
fn a_node_that_lacks_the_interface_of_an_address_waits_for_it() {
    let Some(lab) = lab(3).unwrap() else { return };
    let first = lab.host(1).unwrap();
    let text = |priority, addresses: &str| {
        toml(priority, &format!("{FAST}addresses = [\"10.99.0.100\", \"{addresses}\"]\n"))
    };
    first.ip("link add eth7 type veth peer name eth8").unwrap();
    let one = Node::start(&lab, 1, &text(100, "10.98.0.1/24 dev eth7")).unwrap();
    let other = Node::start(&lab, 2, &text(80, "10.98.0.1/24")).unwrap();
    until_held(&lab, 1, START).unwrap();
    other.until("backup").unwrap();
    first.ip("link delete eth7").unwrap();
    until_held(&lab, 2, START).unwrap();
    one.until_told(&["10.98.0.1 can't be set on eth7: there is no such interface"]).unwrap();
    last(Duration::from_secs(6));
    let [mine, theirs] = [&one, &other].map(|node| node.count("became_active").unwrap());
    assert_eq!((mine, theirs), (1, 1), "{}", one.events().unwrap());
    assert_eq!(one.shown("state").unwrap(), "fault");
    first.ip("link add eth7 type veth peer name eth8").unwrap();
    until_held(&lab, 1, START).unwrap();
}

/// Two vips whose group goes with whether the process can serve.
fn group(priority: u8) -> String {
    let own = "track = \"interface eth0\"\ntrack_interface = false\n";
    let second =
        vips::vip(priority, &format!("{own}router_id = 52\naddresses = \"10.99.0.101\"\n"));
    let second = second.replace("VI_1", "VI_2");
    let group =
        "[[vip_group]]\nname = \"G\"\nmembers = [\"VI_1\", \"VI_2\"]\ntrack = \"serving\"\n";
    format!("{}{second}{group}", toml(priority, own))
}

#[test]
fn a_data_worker_that_hangs_gives_all_addresses_of_the_group_away_until_it_goes_on() {
    let Some(lab) = lab(3).unwrap() else { return };
    if which("python3").is_none() {
        return eprintln!("skipped: no python3");
    }
    let one = Node::start(&lab, 1, &group(100)).unwrap();
    let other = Node::start(&lab, 2, &group(80)).unwrap();
    until_held(&lab, 1, START).unwrap();
    other.until("backup").unwrap();
    let held = Held::thread(one.process.pid(), "worker-0").expect("it can be held");
    let took = until_held(&lab, 2, START).unwrap();
    eprintln!("a worker hangs: moved after {took:?}");
    let second: std::net::Ipv4Addr = "10.99.0.101".parse().unwrap();
    wait::eventually(Deadline::after(START), "the other address", || {
        let hosts = [1, 2].map(|host| has(lab.host(host).unwrap(), second).unwrap());
        anyhow::ensure!(hosts == [false, true], "{hosts:?}");
        Ok(())
    })
    .unwrap();
    one.until("fault").unwrap();
    assert!(one.count("resignations_sent").unwrap() > 0);
    one.until_told(&["VI_1: serving is missing: data worker 0 does not answer"]).unwrap();
    held.go_on();
    until_held(&lab, 1, START).unwrap();
}

/// What was observed: the kernel removed the address, whose lifetime nobody set anew, and the node went
/// on to say that it holds it.
#[test]
fn a_node_whose_address_nobody_keeps_alive_gives_it_away_until_another_keeper_is_there() {
    let Some(lab) = lab(3).unwrap() else { return };
    if which("python3").is_none() {
        return eprintln!("skipped: no python3");
    }
    let one = Node::start(&lab, 1, &toml(100, FAST)).unwrap();
    let other = Node::start(&lab, 2, &toml(80, FAST)).unwrap();
    until_held(&lab, 1, START).unwrap();
    other.until("backup").unwrap();
    let keeper = one.pid("vip-keeper").unwrap();
    let held = Held::thread(keeper, "addresses").expect("it can be held");
    let took = until_held(&lab, 2, START).unwrap();
    eprintln!("nobody keeps the address alive: moved after {took:?}");
    assert!(took < Duration::from_secs(5), "{took:?}");
    wait::eventually(Deadline::after(START), "another keeper", || {
        let found = one.find("vip-keeper");
        anyhow::ensure!(found.is_some_and(|pid| pid != keeper), "{found:?} after {keeper}");
        Ok(())
    })
    .unwrap();
    until_held(&lab, 1, START).unwrap();
    one.until_told(&["their lifetime could not be set anew", "sets the addresses hangs"]).unwrap();
    held.go_on();
}

/// What was observed: the way to the peer went with the peer, and no node had the address.
#[test]
fn a_backup_without_a_way_to_its_dead_peer_takes_the_address() {
    let Some(lab) = lab(3).unwrap() else { return };
    let text = |priority, peer| toml(priority, &format!("peers = \"10.99.0.{peer}\"\n"));
    let one = Node::start(&lab, 1, &text(100, 2)).unwrap();
    let other = Node::start(&lab, 2, &text(80, 1)).unwrap();
    until_held(&lab, 1, START).unwrap();
    other.until("backup").unwrap();
    one.process.signal(Signal::KILL).unwrap();
    lab.host(2).unwrap().ip("route add unreachable 10.99.0.1/32").unwrap();
    until_held(&lab, 2, START).unwrap();
    other.until_told(&["adverts to 10.99.0.1 can't be sent: No route to host"]).unwrap();
    last(Duration::from_secs(3));
    assert_eq!(vips::holders(&lab).unwrap(), [2], "{}", other.events().unwrap());
    assert_eq!(other.count("became_active").unwrap(), 1);
}

/// What was observed: each removal was an event, and had all links looked at.
#[test]
fn an_address_that_somebody_removes_all_the_while_is_set_again_and_told_once() {
    let Some(lab) = lab(2).unwrap() else { return };
    let one = Node::start(&lab, 1, &toml(100, FAST)).unwrap();
    until_held(&lab, 1, START).unwrap();
    let host = lab.host(1).unwrap();
    let mut removed = 0;
    let until = Deadline::after(Duration::from_millis(2_500));
    while !until.is_past() {
        // Only what is seen is removed: each time that it was set is counted.
        if has(host, VIP).unwrap() {
            host.ip("address flush to 10.99.0.100").unwrap();
            removed += 1;
        }
        last(Duration::from_millis(1));
    }
    until_held(&lab, 1, START).unwrap();
    eprintln!("removed {removed} times");
    assert!((2..=8).contains(&removed), "removed {removed} times");
    let told = one.events().unwrap();
    assert_eq!(told.matches("was removed by somebody else").count(), 1, "{told}");
    assert_eq!(one.count("became_active").unwrap(), 1, "{told}");
}

/// What was observed: with a MAC address of its own, one advert for which there was no room gave the
/// address away.
#[test]
fn a_queue_that_is_full_for_one_advert_moves_nothing() {
    let Some(lab) = lab(3).unwrap() else { return };
    if which("tc").is_none() {
        return eprintln!("skipped: no tc (iproute2)");
    }
    let more = "version = 3\ninterval = \"500ms\"\nvmac = { enabled = true }";
    let one = Node::start(&lab, 1, &toml(100, more)).unwrap();
    let other = Node::start(&lab, 2, &toml(80, more)).unwrap();
    until_held(&lab, 1, START).unwrap();
    other.until("backup").unwrap();
    let first = lab.host(1).unwrap();
    let tc = |words: &str| {
        let status = first.command("tc").args(words.split_whitespace()).status().unwrap();
        assert!(status.success(), "tc {words}: {status}");
    };
    // Longer than an interval, and shorter than a backup waits.
    tc("qdisc add dev eth0 root bfifo limit 1");
    last(Duration::from_millis(550));
    tc("qdisc delete dev eth0 root");
    last(Duration::from_secs(2));
    assert_eq!(vips::holders(&lab).unwrap(), [1], "{}", one.events().unwrap());
    let [mine, theirs] = [&one, &other].map(|node| node.count("became_active").unwrap());
    assert_eq!((mine, theirs), (1, 0), "{}", one.events().unwrap());
    // One that lasts is another thing.
    tc("qdisc add dev eth0 root bfifo limit 1");
    until_held(&lab, 2, START).unwrap();
    one.until_told(&["adverts can't be sent: No buffer space available"]).unwrap();
    tc("qdisc delete dev eth0 root");
}
