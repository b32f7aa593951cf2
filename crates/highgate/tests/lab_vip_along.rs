//! What goes along with an address: routes, rules of routing, named pipes, a MAC address of one's own.

#[path = "common/vips.rs"]
mod vips;

#[path = "common/keepalived.rs"]
mod keepalived;

use std::{
    io::Read as _,
    os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::Path,
    process::Command,
    time::Duration,
};

use anyhow::Context as _;
use highgate_testkit::{
    Host,
    scratch::Scratch,
    wait::{self, Deadline},
};
use keepalived::{Keepalived, setting};
use rustix::process::Signal;
use vips::{Node, lab, signal, toml, until_held};

const START: Duration = Duration::from_secs(20);
const SOON: Duration = Duration::from_secs(15);

fn ip(host: &Host, words: &str) -> anyhow::Result<String> {
    let mut command = host.command("ip");
    let output = command.args(words.split_whitespace()).output().context("ip")?;
    let error = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(output.status.success(), "ip {words}: {error}");
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Waits until a host has all of these in its routes and rules, or none of them.
fn until_routed(host: &Host, words: &[&str], there: bool) -> anyhow::Result<()> {
    wait::eventually(Deadline::seconds(20), "the routes", || {
        let shown = [
            "route show",
            "route show table all",
            "rule show",
            "-6 route show table all",
            "-6 rule show",
        ];
        let all = shown.map(|it| ip(host, it));
        let all = all.into_iter().collect::<anyhow::Result<String>>()?;
        let found = words.iter().filter(|word| all.contains(**word)).count();
        anyhow::ensure!(found == if there { words.len() } else { 0 }, "{all}");
        Ok(())
    })
}

const ROUTES: &str = "routes = [\"10.97.0.0/16 via 10.99.0.3 dev eth0 mtu 1400\", \
    \"10.96.0.0/16 dev eth0 src 10.99.0.100 table 77\", \"blackhole 10.95.0.0/16 metric 9\"]\n\
    rules = [\"from 10.94.0.0/16 table 77 priority 500\", \"to 10.93.0.0/16 prohibit priority 501\"]\n";
const ROUTED: &[&str] = &[
    "10.97.0.0/16 via 10.99.0.3 dev eth0 proto 112 mtu 1400",
    "10.96.0.0/16 dev eth0 table 77 proto 112 scope link src 10.99.0.100",
    "blackhole 10.95.0.0/16 proto 112 metric 9",
    "500:\tfrom 10.94.0.0/16 lookup 77 proto 112",
    "501:\tfrom all to 10.93.0.0/16 prohibit proto 112",
];

#[test]
fn routes_and_rules_come_and_go_with_the_address_whoever_is_killed() {
    let Some(lab) = lab(3).unwrap() else { return };
    let one = Node::start(&lab, 1, &toml(100, ROUTES)).unwrap();
    let other = Node::start(&lab, 2, &toml(80, ROUTES)).unwrap();
    let [first, second] = [1, 2].map(|host| lab.host(host).unwrap());
    until_held(&lab, 1, START).unwrap();
    until_routed(first, ROUTED, true).unwrap();
    until_routed(second, ROUTED, false).unwrap();
    // One that somebody takes away is put back.
    ip(first, "route del 10.97.0.0/16").unwrap();
    until_routed(first, ROUTED, true).unwrap();
    // The watcher takes them away where the keeper can't.
    one.kill("vip-keeper").unwrap();
    until_held(&lab, 2, SOON).unwrap();
    until_routed(first, ROUTED, false).unwrap();
    until_routed(second, ROUTED, true).unwrap();
    until_held(&lab, 1, START).unwrap();
    until_routed(second, ROUTED, false).unwrap();
    // Other settings move what is different.
    let less = ROUTES.replace("blackhole 10.95", "blackhole 10.92");
    std::fs::write(one.process.config_file(), toml(100, &less)).unwrap();
    one.process.signal(Signal::HUP).unwrap();
    until_routed(first, &["blackhole 10.92.0.0/16", ROUTED[0], ROUTED[3]], true).unwrap();
    until_routed(first, &[ROUTED[2]], false).unwrap();
    one.process.signal(Signal::TERM).unwrap();
    until_routed(first, &["blackhole 10.92.0.0/16", ROUTED[0], ROUTED[3]], false).unwrap();
    until_routed(second, ROUTED, true).unwrap();
    drop(other);
}

const ROUTES_V6: &str = "version = 3\ninterval = \"300ms\"\naddresses = \"fd99::100\"\n\
    routes = [\"fd97::/64 via fd99::3 dev eth0\", \"fd96::/64 dev eth0 table 77\", \
    \"blackhole fd95::/64 metric 9\"]\nrules = [\"from fd94::/64 table 77 priority 500\"]\n";
const ROUTED_V6: &[&str] = &[
    "fd97::/64 via fd99::3 dev eth0 proto 112 metric 1024",
    "fd96::/64 dev eth0 table 77 proto 112 metric 1024",
    "blackhole fd95::/64 dev lo proto 112 metric 9",
    "500:\tfrom fd94::/64 lookup 77 proto 112",
];

#[test]
fn routes_and_rules_of_ipv6_come_and_go_with_the_address_and_are_found_by_the_next_start() {
    let Some(lab) = lab(3).unwrap() else { return };
    let mut one = Node::start(&lab, 1, &toml(100, ROUTES_V6)).unwrap();
    let other = Node::start(&lab, 2, &toml(80, ROUTES_V6)).unwrap();
    let [first, second] = [1, 2].map(|host| lab.host(host).unwrap());
    until_routed(first, ROUTED_V6, true).unwrap();
    until_routed(second, ROUTED_V6, false).unwrap();
    one.kill_all().unwrap();
    until_routed(second, ROUTED_V6, true).unwrap();
    // Routes have no lifetime of their own: they wait for the next start, at a lower rank now.
    until_routed(first, ROUTED_V6, true).unwrap();
    one = Node::start(&lab, 1, &toml(50, ROUTES_V6)).unwrap();
    until_routed(first, ROUTED_V6, false).unwrap();
    until_routed(second, ROUTED_V6, true).unwrap();
    drop((one, other));
}

#[test]
fn a_route_that_cannot_be_set_is_told_and_the_address_stays() {
    let Some(lab) = lab(2).unwrap() else { return };
    let host = lab.host(1).unwrap();
    ip(host, "route add 10.97.0.0/16 via 10.99.0.2").unwrap();
    let routes = "routes = [\"10.97.0.0/16 via 10.99.0.2\", \"10.96.0.0/16 dev eth7\"]\n";
    let mut one = Node::start(&lab, 1, &toml(100, routes)).unwrap();
    until_held(&lab, 1, START).unwrap();
    let told = one.until_told(&[
        "route `10.97.0.0/16 via 10.99.0.2` can't be set: somebody else has set it",
        "route `10.96.0.0/16 dev eth7` can't be set",
    ]);
    told.unwrap();
    assert_eq!(one.shown("state").unwrap(), "active");
    // What failed is tried again, and what is others' is theirs.
    ip(host, "link add eth7 type veth peer name eth8").unwrap();
    ip(host, "link set eth7 up").unwrap();
    one.until_told(&["route `10.96.0.0/16 dev eth7` is set now"]).unwrap();
    one.process.signal(Signal::TERM).unwrap();
    one.process.wait(Deadline::seconds(10)).unwrap();
    let left = ip(host, "route show").unwrap();
    assert!(left.contains("10.97.0.0/16 via 10.99.0.2") && !left.contains("10.96"), "{left}");
}

/// The lines that a pipe holds, read without waiting.
fn lines(pipe: &Path) -> anyhow::Result<Vec<String>> {
    let mut text = vec![0; 1 << 16];
    let nonblocking = rustix::fs::OFlags::NONBLOCK.bits();
    let mut file = std::fs::OpenOptions::new()
        .read(true)
        .custom_flags(nonblocking.cast_signed())
        .open(pipe)?;
    let count = match file.read(&mut text) {
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => 0,
        read => read?,
    };
    let text = String::from_utf8_lossy(&text[..count]).into_owned();
    Ok(text.lines().map(str::to_owned).collect())
}

/// Waits until the script has read that line: it is ended with its pipe, and may be late.
fn until_read(file: &Path, line: &str) -> anyhow::Result<()> {
    wait::eventually(Deadline::seconds(15), "the script", || {
        let read = std::fs::read_to_string(file)?;
        anyhow::ensure!(read.lines().any(|it| it == line), "{read}");
        Ok(())
    })
}

/// The lines that do not tell of the end, sorted: whether a script hears of that is up to Keepalived.
fn while_it_ran(text: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = text.lines().filter(|line| !line.contains(" STOP ")).collect();
    lines.sort_unstable();
    lines
}

/// Three routers, two of a group, a pipe for all and one for VRRP's, with a script that reads that.
fn two_with_pipes(scratch: &Scratch) -> String {
    let shown = |name: &str| scratch.join(name).display().to_string();
    format!(
        "global_defs {{\n script_user root\n notify_fifo {}\n vrrp_notify_fifo {}\n\
         vrrp_notify_fifo_script \"/bin/sh -c 'exec cat \\\"$0\\\" >> {}'\"\n\
         vrrp_notify_priority_changes\n}}\n\
         track_file load {{\n file {}\n weight 1\n}}\n\
         vrrp_sync_group G {{\n group {{\n VI_2\n VI_3\n }}\n}}\n\
         vrrp_instance VI_1 {{\n state BACKUP\n interface eth0\n virtual_router_id 51\n priority 100\n\
         track_file {{\n load\n }}\n virtual_ipaddress {{\n 10.99.0.100\n }}\n}}\n\
         vrrp_instance VI_2 {{\n state BACKUP\n interface eth0\n virtual_router_id 52\n priority 255\n\
         virtual_ipaddress {{\n 10.99.0.102\n }}\n}}\n\
         vrrp_instance VI_3 {{\n state BACKUP\n interface eth0\n virtual_router_id 53\n priority 255\n\
         virtual_ipaddress {{\n 10.99.0.103\n }}\n}}\n",
        shown("all"),
        shown("vrrp"),
        shown("read"),
        shown("load"),
    )
}

/// What Keepalived writes into its pipes, Highgate writes: the same file, the same events, the same lines.
#[test]
fn pipes_are_told_what_keepalived_tells_them_and_a_reader_may_come_late() {
    let Some(lab) = setting(2) else { return };
    let scratch = Scratch::new("pipes").unwrap();
    let file = |name: &str| scratch.join(name);
    let text = two_with_pipes(&scratch);
    // What both do in the same way, whatever the order of two routers is.
    let course = |end: &mut dyn FnMut() -> anyhow::Result<()>| -> anyhow::Result<Vec<String>> {
        let mut told = Vec::new();
        let mut until = |words: &[&str]| {
            wait::eventually(Deadline::seconds(15), &words.join(", "), || {
                told.extend(lines(&file("all"))?);
                let are_there = words.iter().all(|word| told.iter().any(|line| line == word));
                anyhow::ensure!(are_there, "{told:?}");
                Ok(())
            })
        };
        until(&["INSTANCE \"VI_1\" MASTER 100", "GROUP \"G\" MASTER 0"])?;
        let meta = std::fs::symlink_metadata(file("all"))?;
        anyhow::ensure!(meta.file_type().is_fifo() && meta.mode() & 0o777 == 0o600);
        // The last one is written over another, which empties the file for a moment.
        for (load, line) in [
            ("20", "INSTANCE \"VI_1\" MASTER_PRIORITY 120"),
            ("30", "INSTANCE \"VI_1\" MASTER_PRIORITY 130"),
        ] {
            std::fs::write(file("load"), load)?;
            until(&[line])?;
            until_read(&file("read"), line)?;
        }
        end()?;
        told.sort();
        Ok(told)
    };
    std::fs::write(file("load"), "0").unwrap();
    let mut other = Keepalived::start(lab.host(2).unwrap(), &text).unwrap();
    let theirs = course(&mut || {
        other.stop()?;
        wait::eventually(Deadline::seconds(15), "its end", || {
            anyhow::ensure!(other.has_ended()?);
            Ok(())
        })
    });
    let theirs = theirs.with_context(|| other.log()).unwrap();
    let theirs_read = std::fs::read_to_string(file("read")).unwrap();
    std::fs::write(file("load"), "0").unwrap();
    std::fs::remove_file(file("read")).unwrap();
    let conf = file("keepalived.conf");
    std::fs::write(&conf, &text).unwrap();
    let mut one = Node::start_with(&lab, 1, "workers = 1\n", |command: &mut Command| {
        command.arg(&conf);
    })
    .unwrap();
    let ours = course(&mut || {
        one.process.signal(Signal::TERM)?;
        one.process.wait(Deadline::seconds(10)).map(drop)
    });
    assert_eq!(ours.unwrap(), theirs, "{}", one.process.log());
    assert!(!file("all").exists() && !file("vrrp").exists(), "pipes that were made are removed");
    let read = std::fs::read_to_string(file("read")).unwrap();
    assert_eq!(while_it_ran(&read), while_it_ran(&theirs_read), "the script reads the same");
}

#[test]
fn a_script_that_reads_a_pipe_is_started_again_and_goes_with_the_keeper() {
    let Some(lab) = lab(2).unwrap() else { return };
    let scratch = Scratch::new("reader").unwrap();
    let (pipe, pids) = (scratch.join("pipe"), scratch.join("pids"));
    let script = format!("/bin/sh -c 'echo $$ >> {}; exec cat $0'", pids.display());
    let text = format!("vip_fifos = \"{} script {script}\"\n{}", pipe.display(), toml(100, ""));
    let one = Node::start(&lab, 1, &text).unwrap();
    let last = |count: usize| {
        wait::eventually(Deadline::seconds(15), "the script", || {
            let text = std::fs::read_to_string(&pids)?;
            let pids: Vec<u32> = text.lines().filter_map(|line| line.parse().ok()).collect();
            anyhow::ensure!(pids.len() == count, "{pids:?}");
            pids.last().copied().context("none")
        })
        .unwrap()
    };
    signal(last(1), Signal::KILL).unwrap();
    one.until_told(&["the script that reads", "it is started again in 5 s"]).unwrap();
    let second = last(2);
    one.kill("vip-keeper").unwrap();
    let third = last(3);
    wait::eventually(Deadline::seconds(5), "the end of the second", || {
        // Nobody may have collected it yet.
        let stat = std::fs::read_to_string(format!("/proc/{second}/stat")).unwrap_or_default();
        anyhow::ensure!(stat.is_empty() || stat.contains(") Z "), "{stat}");
        Ok(())
    })
    .unwrap();
    assert!(Path::new(&format!("/proc/{third}")).exists());
}

#[test]
fn an_owner_that_listens_first_takes_no_address_at_once_and_a_mac_of_ones_own_is_used() {
    let Some(lab) = lab(2).unwrap() else { return };
    let scratch = Scratch::new("owner").unwrap();
    let conf = scratch.join("keepalived.conf");
    let text = "vrrp_instance VI_1 {\n state BACKUP\n interface eth0\n virtual_router_id 51\n\
        priority 255\n use_vmac own51 02:00:00:00:00\n virtual_ipaddress {\n 10.99.0.100\n }\n}\n";
    std::fs::write(&conf, text).unwrap();
    let begun = wait::now();
    let one = Node::start_with(&lab, 1, "workers = 1\n", |command: &mut Command| {
        command.arg(&conf);
    })
    .unwrap();
    until_held(&lab, 1, START).unwrap();
    // Three adverts of silence, as with Keepalived; MASTER would have it at once.
    assert!(begun.elapsed() > Duration::from_secs(3), "{:?}", begun.elapsed());
    let link = ip(lab.host(1).unwrap(), "link show own51").unwrap();
    assert!(link.contains("02:00:00:00:00:33"), "{link}");
    one.until("active").unwrap();
}
