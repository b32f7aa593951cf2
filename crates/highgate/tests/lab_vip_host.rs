//! What a vip changes on its host, and that nothing of it stays: virtual MAC addresses and rules.

#[path = "common/vips.rs"]
mod vips;

#[path = "common/keepalived.rs"]
mod keepalived;

use std::{
    net::{Ipv6Addr, SocketAddr, TcpStream},
    os::unix::fs::PermissionsExt,
    time::Duration,
};

use anyhow::Context as _;
use highgate_testkit::{
    Host, Lab,
    scratch::{Scratch, which},
    wait::{self, Deadline},
};
use keepalived::{Keepalived, instance, instance_of, setting};
use rustix::process::Signal;
use vips::{LISTENER, Node, PORT, has, lab, serve, signal, toml, until_held, vip, with_clients};

const START: Duration = Duration::from_secs(10);
const SOON: Duration = Duration::from_secs(4);
const PATIENCE: Duration = Duration::from_millis(100);
const MAC: &str = "00:00:5e:00:01:33";
const MAC_V6: &str = "00:00:5e:00:02:33";
const VIP_V6: Ipv6Addr = Ipv6Addr::new(0xfd99, 0, 0, 0, 0, 0, 0, 0x100);
const VMAC: &str = "vmac = { enabled = true }";

/// What `ip` says on a host.
fn ip(host: &Host, words: &str) -> anyhow::Result<String> {
    let output = host.command("ip").args(words.split_whitespace()).output()?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn arp_ignore(host: &Host) -> anyhow::Result<String> {
    let path = "/proc/sys/net/ipv4/conf/eth0/arp_ignore";
    Ok(host.inside(|| std::fs::read_to_string(path))??.trim().to_owned())
}

/// Waits until the switch has the MAC address at a host's port.
fn until_learned(lab: &Lab, mac: &str, host: u8) -> anyhow::Result<()> {
    wait::eventually(Deadline::after(SOON), "the switch to learn", || {
        let learned = lab.learned(mac)?;
        anyhow::ensure!(learned == Some(host), "it has {mac} at {learned:?}");
        Ok(())
    })
}

/// The MAC address that host 3 knows for an address.
fn known(lab: &Lab, address: &str) -> anyhow::Result<String> {
    let words = ip(lab.host(3)?, &format!("neigh show {address}"))?;
    let mac = words.split_whitespace().skip_while(|word| *word != "lladdr").nth(1);
    mac.map(str::to_owned).with_context(|| format!("{address} is not known: {words}"))
}

#[test]
fn a_virtual_mac_moves_with_the_address_and_hosts_learn_nothing() {
    let Some(lab) = lab(3).unwrap() else { return };
    serve(&lab).unwrap();
    let mut nodes = [100, 80].map(|priority| toml(priority, VMAC)).into_iter().zip([1, 2]);
    let mut start = || nodes.next().map(|(text, host)| Node::start(&lab, host, &text));
    let mut one = start().unwrap().unwrap();
    let other = start().unwrap().unwrap();
    until_held(&lab, 1, START).unwrap();
    let test = |seen: &vips::Seen| {
        seen.until_answered_by(1, wait::now(), START)?;
        anyhow::ensure!(known(&lab, "10.99.0.100")? == MAC);
        until_learned(&lab, MAC, 1)?;
        let since = wait::now();
        one.process.signal(Signal::TERM)?;
        until_held(&lab, 2, SOON)?;
        seen.until_answered_by(2, since, SOON)?;
        eprintln!("clients waited {:?}", seen.outage(since));
        until_learned(&lab, MAC, 2)?;
        anyhow::ensure!(known(&lab, "10.99.0.100")? == MAC, "no host had to learn anything");
        one.process.wait(Deadline::seconds(5))?;
        let links = ip(lab.host(1)?, "link show")?;
        anyhow::ensure!(!links.contains("vrrp.51"), "{links}");
        anyhow::ensure!(arp_ignore(lab.host(1)?)? == "0", "as it was before");
        anyhow::ensure!(arp_ignore(lab.host(2)?)? == "1");
        Ok(())
    };
    with_clients(&lab, 1, PATIENCE, test).unwrap();
    assert_eq!(other.count("adverts_refused").unwrap(), 0, "{}", other.events().unwrap());
}

/// What was observed: the kernel's settings of the new interface were left as they are by default.
#[test]
fn an_interface_that_is_made_anew_is_kept_from_answering_for_the_virtual_one_above_it() {
    let Some(lab) = lab(3).unwrap() else { return };
    let host = lab.host(1).unwrap();
    let make = "link add base0 type veth peer name base1\nlink set base1 up\n\
                address add 10.98.0.1/24 dev base0\nlink set base0 up\n";
    let batch = |text: &str| {
        let scratch = Scratch::new("batch").unwrap();
        let file = scratch.join("batch");
        std::fs::write(&file, text).unwrap();
        ip(host, &format!("-batch {}", file.display())).unwrap()
    };
    batch(make);
    let text = toml(100, &format!("addresses = \"10.98.0.100\"\n{VMAC}"));
    let one = Node::start(&lab, 1, &text.replace("\"eth0\"", "\"base0\"")).unwrap();
    one.until("active").unwrap();
    let ignores = || {
        let path = "/proc/sys/net/ipv4/conf/base0/arp_ignore";
        host.inside(|| std::fs::read_to_string(path).unwrap_or_default().trim().to_owned()).unwrap()
    };
    assert_eq!(ignores(), "1");
    // It looks at links before and after, and never meanwhile.
    let keeper = one.pid("vip-keeper").unwrap();
    signal(keeper, Signal::STOP).unwrap();
    batch(&format!("link delete base0\n{make}"));
    signal(keeper, Signal::CONT).unwrap();
    wait::eventually(Deadline::after(START), "the setting", || {
        anyhow::ensure!(ignores() == "1", "{}", one.events()?);
        Ok(())
    })
    .unwrap();
    one.until("active").unwrap();
}

#[test]
fn a_virtual_mac_of_ipv6_moves_with_the_address() {
    let Some(lab) = lab(3).unwrap() else { return };
    let text = |priority| {
        let more = format!("version = 3\ninterval = \"300ms\"\naddresses = \"fd99::100\"\n{VMAC}");
        LISTENER.replace("0.0.0.0:8080", "[::]:8080") + &vip(priority, &more)
    };
    let one = Node::start(&lab, 1, &text(100)).unwrap();
    let other = Node::start(&lab, 2, &text(80)).unwrap();
    let holds = |host: u8| {
        wait::eventually(Deadline::after(START), "the address", || {
            anyhow::ensure!(has(lab.host(host)?, VIP_V6)?);
            anyhow::ensure!(!has(lab.host(3 - host)?, VIP_V6)?, "two have it");
            Ok(())
        })
    };
    let connects = || {
        wait::eventually(Deadline::after(START), "a connection", || {
            let to = SocketAddr::from((VIP_V6, PORT));
            lab.host(3)?.inside(|| TcpStream::connect_timeout(&to, PATIENCE))??;
            Ok(())
        })
    };
    holds(1).unwrap();
    connects().unwrap();
    assert_eq!(known(&lab, "fd99::100").unwrap(), MAC_V6);
    until_learned(&lab, MAC_V6, 1).unwrap();
    one.kill("vip-keeper").unwrap();
    holds(2).unwrap();
    connects().unwrap();
    assert_eq!(known(&lab, "fd99::100").unwrap(), MAC_V6);
    until_learned(&lab, MAC_V6, 2).unwrap();
    // The successor of the killed keeper is of the higher priority, and makes the interface anew.
    holds(1).unwrap();
    connects().unwrap();
    until_learned(&lab, MAC_V6, 1).unwrap();
    assert_eq!(other.count("adverts_refused").unwrap(), 0, "{}", other.events().unwrap());
}

#[test]
fn an_interface_left_behind_is_made_anew_and_a_foreign_one_stays() {
    let Some(lab) = lab(2).unwrap() else { return };
    for host in [1, 2] {
        let host = lab.host(host).unwrap();
        host.ip(&format!("link add link eth0 name vrrp.51 address {MAC} type macvlan")).unwrap();
        host.ip("addr add 10.99.0.100/32 dev vrrp.51").unwrap();
        host.ip("link set vrrp.51 up").unwrap();
    }
    lab.host(1).unwrap().ip("link set vrrp.51 alias highgate-vip").unwrap();
    let one = Node::start(&lab, 1, &toml(100, VMAC)).unwrap();
    one.until_told(&["vrrp.51 was left behind by a process before"]).unwrap();
    one.until("active").unwrap();
    let other = Node::start(&lab, 2, &toml(80, VMAC)).unwrap();
    other.until_told(&["vrrp.51 is there already and is none of this program"]).unwrap();
    other.until("fault").unwrap();
    // All of the first one's processes die at once: the next one finds what they left.
    one.kill_all().unwrap();
    drop(one);
    let one = Node::start(&lab, 1, &toml(100, VMAC)).unwrap();
    one.until("active").unwrap();
    let links = ip(lab.host(1).unwrap(), "-o link show type macvlan").unwrap();
    assert_eq!(links.lines().count(), 1, "{links}");
    // What is ours and wanted no more goes at the next start.
    one.kill_all().unwrap();
    drop(one);
    let one = Node::start(&lab, 1, &toml(100, "")).unwrap();
    one.until("active").unwrap();
    let links = ip(lab.host(1).unwrap(), "-o link show type macvlan").unwrap();
    assert_eq!(links, "", "none is left");
}

#[test]
fn adverts_come_from_the_virtual_mac_or_from_the_base() {
    let Some(lab) = lab(2).unwrap() else { return };
    if which("tcpdump").is_none() {
        return eprintln!("skipped: no tcpdump");
    }
    for (more, is_virtual) in
        [(VMAC, true), ("vmac = { enabled = true, transmit_base = true }", false)]
    {
        let node = Node::start(&lab, 1, &toml(255, more)).unwrap();
        node.until("active").unwrap();
        let mut tcpdump = lab.host(2).unwrap().command("tcpdump");
        tcpdump.args(["-e", "-n", "-v", "-i", "eth0", "-c", "2", "ip", "proto", "112"]);
        let output = tcpdump.output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(text.contains(&format!("{MAC} > 01:00:5e:00:00:12")), is_virtual, "{text}");
        assert!(text.contains("10.99.0.1 > 224.0.0.18") && !text.contains("bad"), "{text}");
    }
}

/// Highgate holds the address, gives it to Keepalived, and takes it again; then the other way round.
fn with_keepalived(ours: &str, theirs: &str, address: &str, mac: &str) -> anyhow::Result<()> {
    let Some(lab) = setting(2) else { return Ok(()) };
    let other = instance_of(90, theirs, address);
    let mut other = Keepalived::start(lab.host(2)?, &other)?;
    let mut node = Node::start(&lab, 1, &toml(101, ours))?;
    node.until("active").with_context(|| other.log())?;
    until_learned(&lab, mac, 1).with_context(|| other.log())?;
    node.process.signal(Signal::TERM)?;
    node.process.wait(Deadline::seconds(5))?;
    until_learned(&lab, mac, 2).with_context(|| other.log())?;
    node = Node::start(&lab, 1, &toml(101, ours))?;
    node.until("active").with_context(|| other.log())?;
    until_learned(&lab, mac, 1).with_context(|| other.log())?;
    let complaints = other.complaints();
    anyhow::ensure!(complaints.is_empty(), "{complaints:?}");
    anyhow::ensure!(node.count("adverts_refused")? == 0, "{}", node.events()?);
    // The other way round: Keepalived is the higher one.
    other.stop()?;
    drop(other);
    let other = Keepalived::start(lab.host(2)?, &instance_of(150, theirs, address))?;
    node.until("backup").with_context(|| other.log())?;
    until_learned(&lab, mac, 2).with_context(|| other.log())?;
    drop(other);
    node.until("active")?;
    until_learned(&lab, mac, 1)
}

#[test]
fn keepalived_with_a_virtual_mac_and_highgate_hand_the_address_to_each_other() {
    with_keepalived(VMAC, "use_vmac", "10.99.0.100", MAC).unwrap();
}

#[test]
fn keepalived_with_a_virtual_mac_of_ipv6_and_highgate_hand_the_address_to_each_other() {
    let ours = format!("version = 3\naddresses = \"fd99::100\"\n{VMAC}");
    with_keepalived(&ours, "version 3\n use_vmac", "fd99::100", MAC_V6).unwrap();
}

#[test]
fn keepalived_without_one_gives_the_address_to_a_virtual_mac_and_back() {
    let Some(lab) = setting(2) else { return };
    let mut other = Keepalived::start(lab.host(2).unwrap(), &instance(150, "")).unwrap();
    let node = Node::start(&lab, 1, &toml(101, VMAC)).unwrap();
    until_held(&lab, 2, START).with_context(|| other.log()).unwrap();
    node.until("backup").unwrap();
    other.stop().unwrap();
    until_held(&lab, 1, SOON).unwrap();
    drop(other);
    let other = Keepalived::start(lab.host(2).unwrap(), &instance(150, "")).unwrap();
    until_held(&lab, 2, START).with_context(|| other.log()).unwrap();
    node.until("backup").unwrap();
}

/// Whether a connection from host 2 gets any answer within a moment.
fn is_answered(lab: &Lab, address: &str) -> anyhow::Result<bool> {
    let to: SocketAddr = address.parse()?;
    let patience = Duration::from_millis(300);
    let done = lab.host(2)?.inside(|| TcpStream::connect_timeout(&to, patience))?;
    // A refusal is an answer as well.
    Ok(!done.is_err_and(|error| error.kind() == std::io::ErrorKind::TimedOut))
}

fn has_table(host: &Host) -> anyhow::Result<bool> {
    let output = host.command("nft").args(["list", "tables"]).output()?;
    Ok(String::from_utf8_lossy(&output.stdout).contains("highgate_vips"))
}

#[test]
fn a_closed_address_answers_nobody_and_its_rules_go_at_the_end() {
    let Some(lab) = lab(2).unwrap() else { return };
    let host = lab.host(1).unwrap();
    let more = "interval = \"100ms\"\nversion = 3\naccept = false";
    let six = vip(100, &format!("addresses = \"fd99::100\"\n{more}")).replace("VI_1", "VI_6");
    let text = toml(100, more).replace("0.0.0.0:8080", "[::]:8080") + &six;
    let mut node = Node::start(&lab, 1, &text).unwrap();
    let until_held = || {
        wait::eventually(Deadline::after(START), "both addresses", || {
            anyhow::ensure!(has(host, vips::VIP)? && has(host, VIP_V6)? && has_table(host)?);
            Ok(())
        })
    };
    until_held().unwrap();
    assert!(!is_answered(&lab, "10.99.0.100:8080").unwrap());
    assert!(!is_answered(&lab, "[fd99::100]:8080").unwrap());
    assert!(is_answered(&lab, "10.99.0.1:8080").unwrap(), "its own address is open");
    assert!(is_answered(&lab, "[fd99::1]:8080").unwrap());
    // Its neighbours find it nevertheless.
    let neighbours = ip(lab.host(2).unwrap(), "-6 neigh show fd99::100").unwrap();
    assert!(neighbours.contains("lladdr"), "{neighbours}");
    node.process.signal(Signal::TERM).unwrap();
    node.process.wait(Deadline::seconds(5)).unwrap();
    assert!(!has_table(host).unwrap(), "nothing is left at the end");
    // All killed: the next one, which closes nothing, finds what is left.
    node = Node::start(&lab, 1, &text).unwrap();
    until_held().unwrap();
    node.kill_all().unwrap();
    drop(node);
    let node = Node::start(&lab, 1, &toml(100, "interval = \"100ms\"\nversion = 3")).unwrap();
    node.until("active").unwrap();
    wait::eventually(Deadline::after(SOON), "the end of the rules", || {
        anyhow::ensure!(!has_table(host)?);
        Ok(())
    })
    .unwrap();
    assert!(is_answered(&lab, "10.99.0.100:8080").unwrap());
}

/// What was observed: it was there, and open, until nftables had run.
#[test]
fn an_address_that_a_reload_adds_is_closed_before_it_is_there() {
    let Some(lab) = lab(1).unwrap() else { return };
    let host = lab.host(1).unwrap();
    let more = "interval = \"200ms\"\nversion = 3\naccept = false\n";
    let both = "addresses = [\"10.99.0.100\", \"10.99.0.101\"]\n";
    let node = Node::start(&lab, 1, &toml(100, more)).unwrap();
    node.until("active").unwrap();
    let is_closed = || {
        let output = host.command("nft").args(["list", "table", "inet", "highgate_vips"]).output();
        String::from_utf8_lossy(&output.unwrap().stdout).contains("10.99.0.101")
    };
    let reload = |more: &str| {
        std::fs::write(node.process.config_file(), toml(100, more)).unwrap();
        node.process.signal(Signal::HUP).unwrap();
    };
    for _ in 0..5 {
        reload(&format!("{more}{both}"));
        let comes = Deadline::after(SOON);
        assert!(wait::wait_until(comes, || has(host, [10, 99, 0, 101]).unwrap()));
        assert!(is_closed(), "it is there and open");
        reload(more);
        wait::eventually(Deadline::after(SOON), "address and rule to go", || {
            anyhow::ensure!(!has(host, [10, 99, 0, 101])? && !is_closed());
            Ok(())
        })
        .unwrap();
    }
    assert_eq!(node.count("became_active").unwrap(), 1);
}

#[test]
fn a_killed_keeper_leaves_no_rules_behind() {
    let Some(lab) = lab(1).unwrap() else { return };
    let host = lab.host(1).unwrap();
    let node = Node::start(&lab, 1, &toml(100, "accept = false")).unwrap();
    node.until("active").unwrap();
    assert!(has_table(host).unwrap());
    // Nobody is left to make them anew.
    node.process.signal(Signal::STOP).unwrap();
    node.kill("vip-keeper").unwrap();
    wait::eventually(Deadline::after(SOON), "the end of the rules", || {
        anyhow::ensure!(!has_table(host)?);
        Ok(())
    })
    .unwrap();
    node.process.signal(Signal::CONT).unwrap();
}

#[test]
fn a_script_that_others_may_write_is_refused_and_equal_priorities_are_told() {
    let Some(lab) = lab(2).unwrap() else { return };
    let scratch = Scratch::new("weak").unwrap();
    let script = scratch.join("check.sh");
    std::fs::write(&script, "#!/bin/sh\nexit 0\n").unwrap();
    std::fs::set_permissions(&script, PermissionsExt::from_mode(0o777)).unwrap();
    let text = |is_strict: bool| {
        let more = format!(
            "track = [\"serving\", \"script weak\"]\n[[script]]\nname = \"weak\"\n\
             command = \"{}\"\ninterval = \"200ms\"\ntimeout = \"5s\"\nuser = \"root\"\n",
            script.display()
        );
        format!("script_security = {is_strict}\n{}", toml(100, &more))
    };
    let one = Node::start(&lab, 1, &text(true)).unwrap();
    one.until_told(&["script weak failed", "it is refused", "can be written by others"]).unwrap();
    one.until("fault").unwrap();
    drop(one);
    let one = Node::start(&lab, 1, &text(false)).unwrap();
    one.until_told(&["can be written by others than root, and root runs it"]).unwrap();
    one.until("active").unwrap();
    // The other one has the same priority.
    let other = Node::start(&lab, 2, &toml(100, "")).unwrap();
    other.until_told(&["10.99.0.1 has priority 100, as this node has"]).unwrap();
    let peers = other.table("vip_peers").unwrap();
    assert!(peers[0]["remark"].to_string().contains("has priority 100"), "{peers:?}");
}

#[test]
fn an_address_outside_of_all_networks_is_a_warning_of_check() {
    let Some(lab) = lab(1).unwrap() else { return };
    let scratch = Scratch::new("outside").unwrap();
    let check = |address: &str| {
        let file = scratch.join("keepalived.conf");
        std::fs::write(&file, instance_of(100, "", address)).unwrap();
        let mut command = lab.host(1).unwrap().command(vips::BINARY);
        let output = command.arg("check").arg(&file).output().unwrap();
        assert!(output.status.success(), "a warning alone");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let told = check("10.98.0.100");
    assert!(told.contains("10.98.0.100 is in no network of eth0: 10.99.0.1/24"), "{told}");
    assert!(told.contains("keepalived.conf:10:2: warning"), "{told}");
    assert!(!check("10.99.0.100").contains("is in no network"));
}

/// Within a namespace of its own the kernel tells of files, but not of processes: both are followed.
#[test]
fn tracked_files_and_processes_are_followed_where_the_kernel_does_not_tell() {
    let Some(lab) = lab(1).unwrap() else { return };
    let host = lab.host(1).unwrap();
    let scratch = Scratch::new("tracked").unwrap();
    let level = scratch.join("level");
    let sleep = || host.command("sleep").arg("987.25").spawn().unwrap();
    let mut process = sleep();
    let more = format!(
        "track = [\"serving\", \"file {} weight 2\", \"process sleeper\"]\n\
         [[process]]\nname = \"sleeper\"\ncommand = \"sleep 987.25\"\nwhole_command = true\n",
        level.display()
    );
    let node = Node::start(&lab, 1, &toml(100, &more)).unwrap();
    node.until("active").unwrap();
    node.until_told(&["the kernel does not tell of processes here", "once a second"]).unwrap();
    let until_rank = |rank: &str| {
        wait::eventually(Deadline::after(SOON), rank, || {
            let now = node.shown("effective_priority")?;
            anyhow::ensure!(now == rank, "it is {now}");
            Ok(())
        })
        .unwrap();
    };
    until_rank("100");
    std::fs::write(&level, "7\n").unwrap();
    until_rank("114");
    std::fs::remove_file(&level).unwrap();
    until_rank("100");
    process.kill().unwrap();
    process.wait().unwrap();
    node.until("fault").unwrap();
    let mut process = sleep();
    node.until("active").unwrap();
    process.kill().unwrap();
    process.wait().unwrap();
    assert!(node.events().unwrap().contains("tracked process sleeper does not run"));
}
