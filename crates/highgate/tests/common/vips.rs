//! What tests of vips share: nodes of a lab, who holds the address, and clients that use it.
//!
//! Hosts 1 and 2 are the nodes; the last host has a server behind them, and the clients.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::{
    io::{Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::Context as _;
use highgate_testkit::{
    Host, Lab,
    highgate::HighgateProcess,
    lab::WHY_NOT,
    wait::{self, Deadline},
};
use parking_lot::Mutex;
use rustix::process::{Pid, Signal, kill_process};

pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_highgate");
/// The address that moves.
pub(crate) const VIP: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 100);
pub(crate) const PORT: u16 = 8080;

/// A lab of that many hosts, or `None` and a word where there can be none.
pub(crate) fn lab(hosts: u8) -> anyhow::Result<Option<Lab>> {
    if !Lab::is_possible() {
        eprintln!("skipped: {WHY_NOT}");
        return Ok(None);
    }
    Lab::new(hosts).map(Some)
}

/// A tcp listener in front of a server of host 3.
pub(crate) const LISTENER: &str = "workers = 1\n\
    [[listener]]\nname = \"echo\"\nbind = \"0.0.0.0:8080\"\nmode = \"tcp\"\nbackend = \"echo\"\n\
    [[backend]]\nname = \"echo\"\n\
    [[backend.server]]\nname = \"one\"\naddress = \"10.99.0.3:9302\"\n";

/// The listener and a vip, with more settings.
pub(crate) fn toml(priority: u8, more: &str) -> String {
    format!("{LISTENER}{}", vip(priority, more))
}

pub(crate) fn vip(priority: u8, more: &str) -> String {
    let mut text =
        format!("[[vip]]\nname = \"VI_1\"\ninterface = \"eth0\"\npriority = {priority}\n");
    for (key, line) in
        [("router_id", "router_id = 51\n"), ("addresses", "addresses = \"10.99.0.100\"\n")]
    {
        if !more.contains(key) {
            text.push_str(line);
        }
    }
    format!("{text}{more}\n")
}

/// Highgate on a host.
pub(crate) struct Node<'lab> {
    pub(crate) host: &'lab Host,
    pub(crate) process: HighgateProcess,
    /// Those that it took the place of; their folders live as long.
    pub(crate) before: Vec<HighgateProcess>,
}

impl<'lab> Node<'lab> {
    pub(crate) fn start(lab: &'lab Lab, host: u8, toml: &str) -> anyhow::Result<Self> {
        Self::start_with(lab, host, toml, |_| {})
    }

    pub(crate) fn start_with(
        lab: &'lab Lab,
        host: u8,
        toml: &str,
        adjust: impl FnOnce(&mut Command) + Send,
    ) -> anyhow::Result<Self> {
        let host = lab.host(host)?;
        let process = host.inside(|| HighgateProcess::start_with(BINARY, toml, adjust))??;
        Ok(Self { host, process, before: Vec::new() })
    }

    /// The process of a role, `vip-keeper` or `vip-watcher`.
    pub(crate) fn find(&self, role: &str) -> Option<u32> {
        let name = self.host.netns().name();
        let output = Command::new("ip").args(["netns", "pids", name]).output().ok()?;
        let list = String::from_utf8_lossy(&output.stdout).into_owned();
        list.split_whitespace().filter_map(|word| word.parse().ok()).find(|pid: &u32| {
            let words = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            words.split(|byte| *byte == 0).nth(1) == Some(role.as_bytes())
        })
    }

    /// The process of a role, once it is there.
    pub(crate) fn pid(&self, role: &str) -> anyhow::Result<u32> {
        wait::eventually(Deadline::seconds(5), role, || {
            self.find(role).with_context(|| format!("there is no {role}"))
        })
    }

    /// Kills both processes that keep the addresses. Stopped, the keeper can't start another watcher
    /// before its turn comes.
    pub(crate) fn kill_keepers(&self) -> anyhow::Result<()> {
        let (keeper, watcher) = (self.pid("vip-keeper")?, self.pid("vip-watcher")?);
        signal(keeper, Signal::STOP)?;
        signal(watcher, Signal::KILL)?;
        signal(keeper, Signal::KILL)
    }

    /// Kills all its processes at once.
    pub(crate) fn kill_all(&self) -> anyhow::Result<()> {
        self.kill_keepers()?;
        self.process.signal(Signal::KILL)
    }

    /// Kills the process of a role.
    pub(crate) fn kill(&self, role: &str) -> anyhow::Result<()> {
        signal(self.pid(role)?, Signal::KILL)
    }

    pub(crate) fn ctl(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let first = self.before.first().unwrap_or(&self.process);
        let data = first.folder().join("highgate-data");
        let mut command = Command::new(BINARY);
        let output = command.arg("ctl").arg("--data-dir").arg(data).args(arguments).output()?;
        let error = String::from_utf8_lossy(&output.stderr);
        anyhow::ensure!(output.status.success(), "ctl {arguments:?}: {error}");
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    pub(crate) fn events(&self) -> anyhow::Result<String> {
        self.ctl(&["events", "--last", "100"])
    }

    /// Rows of a table.
    pub(crate) fn table(&self, name: &str) -> anyhow::Result<Vec<serde_json::Value>> {
        let text = self.ctl(&["show", name, "--format", "json"])?;
        let rows: serde_json::Value = serde_json::from_str(&text).with_context(|| text.clone())?;
        let list = rows.as_array().or_else(|| rows.get("rows").and_then(|rows| rows.as_array()));
        list.cloned().context(text)
    }

    /// A column of the vip, as text.
    pub(crate) fn shown(&self, column: &str) -> anyhow::Result<String> {
        let rows = self.table("vips")?;
        let row = rows.first().context("no vip is shown")?;
        let value = row.get(column).with_context(|| format!("no {column} in {row}"))?;
        Ok(value.as_str().map_or_else(|| value.to_string(), str::to_owned))
    }

    /// A column of the vip that counts.
    pub(crate) fn count(&self, column: &str) -> anyhow::Result<u64> {
        self.shown(column)?.parse().with_context(|| column.to_owned())
    }

    /// Waits until the vip is in that state.
    pub(crate) fn until(&self, state: &str) -> anyhow::Result<()> {
        wait::eventually(Deadline::seconds(12), state, || {
            let now = self.shown("state")?;
            anyhow::ensure!(now == state, "it is {now}: {}", self.shown("why")?);
            Ok(())
        })
    }

    /// Waits until the events have all of these words.
    pub(crate) fn until_told(&self, words: &[&str]) -> anyhow::Result<String> {
        wait::eventually(Deadline::seconds(10), &words.join(" … "), || {
            let events = self.events()?;
            anyhow::ensure!(words.iter().all(|word| events.contains(word)), "{events}");
            Ok(events)
        })
    }
}

pub(crate) fn signal(pid: u32, what: Signal) -> anyhow::Result<()> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).context("no pid")?;
    kill_process(pid, what).with_context(|| format!("sending {what:?}"))
}

/// Whether a host has an address.
pub(crate) fn has(host: &Host, address: impl Into<IpAddr> + Send) -> anyhow::Result<bool> {
    host.inside(|| UdpSocket::bind((address.into(), 0)).is_ok())
}

/// Which of hosts 1 and 2 have the address.
pub(crate) fn holders(lab: &Lab) -> anyhow::Result<Vec<u8>> {
    let mut found = Vec::new();
    for number in [1, 2] {
        if has(lab.host(number)?, VIP)? {
            found.push(number);
        }
    }
    Ok(found)
}

/// Two may have the address for so long: whoever takes it says so first, and the other has to hear it.
const OVERLAP: Duration = Duration::from_millis(150);

/// Waits until one host alone has the address, which never two may have for long meanwhile; gives
/// how long that took.
pub(crate) fn until_held(lab: &Lab, by: u8, within: Duration) -> anyhow::Result<Duration> {
    let (begun, deadline) = (wait::now(), Deadline::after(within));
    let mut seen = Vec::new();
    let mut both_since = None;
    loop {
        let now = holders(lab)?;
        if seen.last() != Some(&now) {
            seen.push(now.clone());
        }
        both_since = (now.len() == 2).then(|| both_since.unwrap_or_else(wait::now));
        let both_for = both_since.map_or(Duration::ZERO, |since: Instant| since.elapsed());
        anyhow::ensure!(both_for < OVERLAP, "two hold the address: {seen:?}");
        if now == [by] {
            return Ok(begun.elapsed());
        }
        anyhow::ensure!(!deadline.is_past(), "host {by} does not have the address: {seen:?}");
        last(Duration::from_millis(5));
    }
}

/// Lets `time` pass.
pub(crate) fn last(time: Duration) {
    let _ = wait::wait_until(Deadline::after(time), || false);
}

/// A server on host 3 that answers with the address of who asks; it lives as long as the process.
pub(crate) fn serve(lab: &Lab) -> anyhow::Result<()> {
    let listener = lab.host(3)?.inside(|| TcpListener::bind((Ipv4Addr::UNSPECIFIED, 9302)))??;
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            std::thread::spawn(move || {
                let mut question = [0; 1];
                let node = stream.peer_addr().map(|address| address.ip());
                if let Ok(IpAddr::V4(node)) = node
                    && stream.read_exact(&mut question).is_ok()
                {
                    let _ = stream.write_all(&node.octets());
                }
            });
        }
    });
    Ok(())
}

/// One request: a connection, a byte, the node's address. The error says which of them failed.
pub(crate) fn ask(patience: Duration) -> Result<Ipv4Addr, String> {
    ask_at(VIP.into(), patience)
}

/// The same at another address.
pub(crate) fn ask_at(address: IpAddr, patience: Duration) -> Result<Ipv4Addr, String> {
    let mut stream = TcpStream::connect_timeout(&SocketAddr::from((address, PORT)), patience)
        .map_err(|error| format!("connect: {error}"))?;
    let mut answer = [0; 4];
    stream
        .set_read_timeout(Some(patience))
        .and_then(|()| stream.write_all(b"?"))
        .and_then(|()| stream.read_exact(&mut answer))
        .map_err(|error| format!("answer: {error}"))?;
    Ok(answer.into())
}

/// What came of one request.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) asked: Instant,
    pub(crate) at: Instant,
    pub(crate) by: Result<Ipv4Addr, String>,
}

/// What clients have seen so far.
#[derive(Debug, Default, Clone)]
pub(crate) struct Seen(Arc<Mutex<Vec<Answer>>>);

impl Seen {
    /// Waits until that host has answered a request that was made after `since`.
    pub(crate) fn until_answered_by(
        &self,
        host: u8,
        since: Instant,
        within: Duration,
    ) -> anyhow::Result<Duration> {
        let node = Ipv4Addr::new(10, 99, 0, host);
        wait::eventually(Deadline::after(within), "an answer", || {
            let seen = self.0.lock();
            let mut good = seen.iter().filter(|answer| answer.asked >= since);
            let found = good.find(|answer| answer.by == Ok(node));
            found.map(|answer| answer.at - since).with_context(|| format!("none of {node}"))
        })
    }

    /// The longest time between two answers, of those after `since`.
    pub(crate) fn outage(&self, since: Instant) -> Duration {
        let seen = self.0.lock();
        let mut times: Vec<Instant> = seen
            .iter()
            .filter(|answer| answer.by.is_ok() && answer.at >= since)
            .map(|answer| answer.at)
            .collect();
        times.push(since);
        times.sort_unstable();
        let pairs = times.iter().zip(times.iter().skip(1));
        pairs.map(|(one, other)| *other - *one).max().unwrap_or(Duration::MAX)
    }

    /// How many requests there were, how many of them failed, and how many took longer.
    pub(crate) fn totals(&self, longer: Duration) -> (usize, Vec<String>, usize) {
        let seen = self.0.lock();
        let failed = seen.iter().filter_map(|answer| answer.by.clone().err()).collect();
        let slow = seen.iter().filter(|answer| answer.at - answer.asked >= longer).count();
        (seen.len(), failed, slow)
    }
}

/// Runs `test` while `count` clients of host 3 ask time and again, each with that patience.
pub(crate) fn with_clients(
    lab: &Lab,
    count: usize,
    patience: Duration,
    test: impl FnOnce(&Seen) -> anyhow::Result<()>,
) -> anyhow::Result<Seen> {
    with_clients_at(lab, count, VIP.into(), patience, test)
}

/// The same with clients of another address.
pub(crate) fn with_clients_at(
    lab: &Lab,
    count: usize,
    address: IpAddr,
    patience: Duration,
    test: impl FnOnce(&Seen) -> anyhow::Result<()>,
) -> anyhow::Result<Seen> {
    let (seen, stop) = (Seen::default(), AtomicBool::new(false));
    let host = lab.host(3)?;
    let client = || {
        while !stop.load(Ordering::Relaxed) {
            let asked = wait::now();
            let by = ask_at(address, patience);
            seen.0.lock().push(Answer { asked, at: wait::now(), by });
            last(Duration::from_millis(4));
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..count {
            scope.spawn(|| host.inside(client));
        }
        let _stop = Stop(&stop);
        test(&seen)
    })?;
    Ok(seen)
}

/// Ends the clients even where a test panics.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
