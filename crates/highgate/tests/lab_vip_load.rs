//! Addresses under load: clients while Keepalived and Highgate hand the address to each other, all
//! cores busy, and a clock that is set.

#[path = "common/vips.rs"]
mod vips;

#[path = "common/keepalived.rs"]
mod keepalived;

use std::{
    net::IpAddr,
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::Context as _;
use highgate_testkit::{
    Lab,
    scratch::Scratch,
    wait::{self, Deadline},
};
use keepalived::{Keepalived, instance_of, setting};
use rustix::process::Signal;
use vips::{
    LISTENER, Node, Seen, VIP, has, lab, last, serve, toml, until_held, vip, with_clients_at,
};

const START: Duration = Duration::from_secs(15);
const SOON: Duration = Duration::from_secs(6);
/// A client repeats a SYN once, after a second.
const ONE_SYN_MORE: Duration = Duration::from_secs(5);
const VIP_V6: &str = "fd99::100";

/// Waits until one of hosts 1 and 2 alone has the address.
fn until_at(lab: &Lab, address: IpAddr, host: u8) -> anyhow::Result<()> {
    wait::eventually(Deadline::after(START), "the address", || {
        anyhow::ensure!(has(lab.host(host)?, address)?, "host {host} does not have it");
        anyhow::ensure!(!has(lab.host(3 - host)?, address)?, "two have it");
        Ok(())
    })
}

/// The address goes from Highgate to Keepalived and back, planned both times, while clients ask.
fn hand_over(address: IpAddr, ours: &str, theirs: &str) -> anyhow::Result<()> {
    let Some(lab) = setting(3) else { return Ok(()) };
    serve(&lab)?;
    let listener = LISTENER.replace("0.0.0.0:8080", "[::]:8080");
    let text = format!("{listener}{}", vip(101, ours));
    // Behind Keepalived there is a proxy as well.
    let _proxy = Node::start(&lab, 2, &listener)?;
    let mut one = Node::start(&lab, 1, &text)?;
    until_at(&lab, address, 1)?;
    let theirs = instance_of(80, theirs, &address.to_string());
    let other = Keepalived::start(lab.host(2)?, &theirs)?;
    one.until("active")?;
    let test = |seen: &Seen| {
        seen.until_answered_by(1, wait::now(), START)?;
        last(Duration::from_millis(1500));
        let since = wait::now();
        one.process.signal(Signal::TERM)?;
        until_at(&lab, address, 2).with_context(|| other.log())?;
        seen.until_answered_by(2, since, SOON)?;
        let there = seen.outage(since);
        one.process.wait(Deadline::seconds(10))?;
        one = Node::start(&lab, 1, &text)?;
        let since = wait::now();
        until_at(&lab, address, 1)?;
        seen.until_answered_by(1, since, SOON)?;
        eprintln!("{address}: to Keepalived {there:?}, back {:?}", seen.outage(since));
        last(Duration::from_millis(500));
        Ok(())
    };
    let seen = with_clients_at(&lab, 2, address, ONE_SYN_MORE, test)?;
    let (count, failed, slow) = seen.totals(Duration::from_millis(900));
    eprintln!("{address}: {count} requests, {} failed, {slow} repeated a SYN", failed.len());
    // What is open while its address moves is lost: one per client and move, and once more where
    // the hosts' caches are late.
    anyhow::ensure!(count > 20 && failed.len() <= 8, "of {count}: {failed:?}");
    let complaints = other.complaints();
    anyhow::ensure!(complaints.is_empty(), "{complaints:?}");
    Ok(())
}

#[test]
fn clients_go_on_while_keepalived_takes_the_address_and_gives_it_back() {
    hand_over(VIP.into(), "", "").unwrap();
}

#[test]
fn clients_of_ipv6_go_on_while_keepalived_takes_the_address_and_gives_it_back() {
    let ours = format!("version = 3\ninterval = \"300ms\"\naddresses = \"{VIP_V6}\"");
    hand_over(VIP_V6.parse().unwrap(), &ours, "version 3\n advert_int 0.3").unwrap();
}

/// Cut off, not ended: whoever is left takes an address of IPv6, and its clients find it.
#[test]
fn clients_of_ipv6_find_highgate_when_keepalived_is_cut_off() {
    let Some(lab) = setting(3) else { return };
    serve(&lab).unwrap();
    let address: IpAddr = VIP_V6.parse().unwrap();
    let listener = LISTENER.replace("0.0.0.0:8080", "[::]:8080");
    let ours = format!("version = 3\ninterval = \"300ms\"\naddresses = \"{VIP_V6}\"");
    let _proxy = Node::start(&lab, 2, &listener).unwrap();
    let theirs = instance_of(150, "version 3\n advert_int 0.3", VIP_V6);
    let other = Keepalived::start(lab.host(2).unwrap(), &theirs).unwrap();
    let node = Node::start(&lab, 1, &format!("{listener}{}", vip(100, &ours))).unwrap();
    until_at(&lab, address, 2).with_context(|| other.log()).unwrap();
    node.until("backup").unwrap();
    let test = |seen: &Seen| {
        seen.until_answered_by(2, wait::now(), START)?;
        let since = wait::now();
        // The host is cut off as a whole: what it had, it keeps, and nobody hears of it.
        lab.unplug(2)?;
        seen.until_answered_by(1, since, START)?;
        eprintln!("clients waited {:?}", seen.outage(since));
        Ok(())
    };
    with_clients_at(&lab, 1, address, Duration::from_millis(200), test).unwrap();
}

/// Processes that do nothing but use a core.
struct Busy(Vec<Child>);

impl Busy {
    fn start(count: usize) -> anyhow::Result<Self> {
        let mut all = Self(Vec::new());
        for _ in 0..count {
            let mut command = Command::new("/bin/sh");
            command.args(["-c", "while :; do :; done"]).stdin(Stdio::null());
            all.0.push(command.spawn()?);
        }
        Ok(all)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Counts how often the address was taken by mistake while all cores are busy. The nodes share the
/// cores of one machine, so each has less than its own. With the count comes whether a process of
/// theirs was itself kept from running, as a machine that is a guest may do for long.
fn takeovers_under_load(interval: &str, time: Duration) -> anyhow::Result<Option<(u64, bool)>> {
    let Some(lab) = lab(2)? else { return Ok(None) };
    let more = format!("version = 3\ninterval = \"{interval}\"");
    let one = Node::start(&lab, 1, &toml(100, &more))?;
    until_held(&lab, 1, START)?;
    let other = Node::start(&lab, 2, &toml(80, &more))?;
    other.until("backup")?;
    let count = || -> anyhow::Result<u64> {
        Ok(one.count("became_active")? - 1 + other.count("became_active")?)
    };
    anyhow::ensure!(count()? == 0, "before all begins");
    let cores = std::thread::available_parallelism()?.get();
    let _busy = Busy::start(cores * 2)?;
    // An hour is told as it goes.
    let part = time.min(Duration::from_secs(600));
    let mut passed = Duration::ZERO;
    while passed < time {
        last(part);
        passed += part;
        let sent = one.count("adverts_sent")?;
        eprintln!("{interval}, {passed:?}: {sent} adverts, taken by mistake {} times", count()?);
    }
    let taken = count()?;
    let events = format!("{}\n{}", one.events()?, other.events()?);
    if taken > 0 {
        eprintln!("{events}");
    }
    let stalls = ["did not run for", "does not answer"];
    Ok(Some((taken, stalls.iter().any(|stall| events.contains(stall)))))
}

/// At 50 ms a backup waits 0.18 s: more than a busy machine makes a process of real-time priority
/// wait. Where it did wait so long, it says so, and nobody took over by mistake.
#[test]
fn under_full_load_of_all_cores_no_backup_takes_over_by_mistake() {
    let taken = takeovers_under_load("50ms", Duration::from_secs(15)).unwrap();
    assert!(taken.is_none_or(|(taken, has_stalled)| taken == 0 || has_stalled), "{taken:?}");
}

#[test]
#[ignore = "soak: an hour of full load at 10 ms"]
fn under_an_hour_of_full_load_at_10_ms_no_backup_takes_over_by_mistake() {
    let taken = takeovers_under_load("10ms", Duration::from_secs(3600)).unwrap();
    assert!(taken.is_none_or(|(taken, _)| taken == 0), "{taken:?}");
}

/// Uses a processor for a while before all that is usual and the keeper's threads.
fn hog(processor: usize, time: Duration) -> anyhow::Result<()> {
    let body = move || -> anyhow::Result<()> {
        let thread = rustix::thread::gettid();
        place(&thread.to_string(), processor)?;
        run("chrt", &["--fifo", "--pid", "60", &thread.to_string()])?;
        let end = wait::now() + time;
        while wait::now() < end {
            std::hint::spin_loop();
        }
        Ok(())
    };
    std::thread::spawn(body).join().map_err(|_| anyhow::anyhow!("the hog died"))?
}

/// Ties a thread to a processor.
fn place(thread: &str, processor: usize) -> anyhow::Result<()> {
    run("taskset", &["--pid", "--cpu-list", &processor.to_string(), thread])
}

fn run(program: &str, arguments: &[&str]) -> anyhow::Result<()> {
    let output = Command::new(program).args(arguments).output()?;
    anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// What a node has said of the times it stood still, oldest first.
fn stalls(node: &Node<'_>) -> anyhow::Result<Vec<String>> {
    let events = node.events()?;
    let told = events.lines().filter(|line| line.contains("this node did not run for"));
    Ok(told.map(str::to_owned).collect())
}

/// What it says of one more than those before.
fn newest_stall(node: &Node<'_>, before: usize) -> anyhow::Result<String> {
    wait::eventually(Deadline::after(SOON), "a stall to be told", || {
        let mut told = stalls(node)?;
        anyhow::ensure!(told.len() > before, "{told:#?}");
        told.pop().context("none")
    })
}

/// The thread that decides stands still for longer than a backup waits, as where a guest's processor
/// is not run. What it would have said is said by another.
#[test]
fn an_advert_is_repeated_while_its_threads_processor_stands_still() {
    let Some(lab) = lab(2).unwrap() else { return };
    if std::thread::available_parallelism().unwrap().get() < 2 {
        return eprintln!("skipped: one processor");
    }
    let more = "version = 3\ninterval = \"50ms\"";
    let one = Node::start(&lab, 1, &toml(100, more)).unwrap();
    until_held(&lab, 1, START).unwrap();
    let other = Node::start(&lab, 2, &toml(80, more)).unwrap();
    other.until("backup").unwrap();
    if let Err(error) = hog(0, Duration::ZERO) {
        return eprintln!("skipped: no thread can be put before the keeper's ({error})");
    }
    // The first thread of a process has its number.
    place(&one.pid("vip-keeper").unwrap().to_string(), 0).unwrap();
    let mut tries = Vec::new();
    // Other work of this machine may keep the other processor, too: that is not what is claimed.
    let is_seen = (0..3).any(|_| {
        other.until("backup").unwrap();
        let before = (other.count("became_active").unwrap(), stalls(&one).unwrap().len());
        hog(0, Duration::from_millis(300)).unwrap();
        let told = newest_stall(&one, before.1).unwrap();
        let taken = other.count("became_active").unwrap() - before.0;
        let is_seen = taken == 0 && told.contains("; another thread repeated its advert");
        tries.push((taken, told));
        is_seen
    });
    assert!(is_seen, "{tries:#?}");
}

const FAKE_CLOCK: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";

/// The clock of the processes alone is set, that of the machine never: by libfaketime, which reads
/// the offset from a file.
#[test]
fn a_clock_that_is_set_moves_no_address() {
    let Some(lab) = lab(2).unwrap() else { return };
    if !std::path::Path::new(FAKE_CLOCK).exists() {
        return eprintln!("skipped: no libfaketime (faketime)");
    }
    let scratch = Scratch::new("clock").unwrap();
    let offset = scratch.join("offset");
    let set = |text: &str| std::fs::write(&offset, text).unwrap();
    set("+0");
    let adjust = |command: &mut Command| {
        command.env("LD_PRELOAD", FAKE_CLOCK).env("FAKETIME_NO_CACHE", "1");
        command.env("FAKETIME_TIMESTAMP_FILE", &offset).env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    };
    let more = "version = 3\ninterval = \"300ms\"";
    let one = Node::start_with(&lab, 1, &toml(100, more), adjust).unwrap();
    until_held(&lab, 1, START).unwrap();
    let other = Node::start_with(&lab, 2, &toml(80, more), adjust).unwrap();
    other.until("backup").unwrap();
    for step in ["+1h", "-1h", "-30d", "+365d", "+0"] {
        set(step);
        let before = one.count("adverts_sent").unwrap();
        wait::eventually(Deadline::after(SOON), "adverts to go on", || {
            anyhow::ensure!(one.count("adverts_sent")? >= before + 5);
            Ok(())
        })
        .unwrap();
        assert_eq!(other.count("became_active").unwrap(), 0, "{step}: it took over");
        assert_eq!(other.shown("state").unwrap(), "backup", "{step}");
    }
    assert_eq!(one.count("became_active").unwrap(), 1);
    // The timers still work: what is lost is taken.
    one.kill("vip-keeper").unwrap();
    until_held(&lab, 2, SOON).unwrap();
}
