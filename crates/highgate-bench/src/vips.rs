//! Addresses that move: how long a client waits when the node that has one is struck.
//!
//! Two nodes and a client in network namespaces on this machine (`Lab`). A client connects through the
//! address again and again, with a time-out of 20 ms; an outage is the longest time between two of its
//! answers. Keepalived stands in the same lab, in front of a server on each node.

mod fault;
mod rate;

use std::{
    fmt::Write as _,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, UdpSocket},
    path::{Path, PathBuf},
    process::{Child, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use highgate_testkit::{Lab, highgate::HighgateProcess, lab::WHY_NOT, scratch::Scratch};

use self::fault::{Fault, Kind};
use crate::poll::{now, pause};

/// The address that moves, and the port behind which an echo answers.
pub(crate) const VIP: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 100);
pub(crate) const PORT: u16 = 8080;
/// Where the client and the server behind Highgate are.
pub(crate) const CLIENT: u8 = 3;
/// How long a client waits for its connection, and for the answer.
const PATIENCE: Duration = Duration::from_millis(20);

/// Whose address it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Contender {
    Highgate,
    Keepalived,
}

/// Strikes a node in each way, so many times, and gives a table.
pub(crate) fn run(highgate: &Path, rounds: usize, only: Option<&str>) -> anyhow::Result<String> {
    anyhow::ensure!(Lab::is_possible(), "{WHY_NOT}");
    let mut out = String::from(
        "| fault | contender | median ms | least | most | rounds |\n|---|---|---:|---:|---:|---:|\n",
    );
    let is_wanted = |name: &str| only.is_none_or(|only| name.starts_with(only));
    for fault in fault::ALL.into_iter().filter(|fault| is_wanted(fault.name)) {
        for contender in [Contender::Highgate, Contender::Keepalived] {
            if contender == Contender::Keepalived && !fault.has_rival {
                continue;
            }
            let mut waits = Vec::new();
            for round in 0..rounds {
                match strike(highgate, contender, &fault) {
                    Ok(wait) => waits.push(wait.as_secs_f64() * 1e3),
                    Err(error) => {
                        progress(&format!("{} {contender:?} {round}: {error:#}", fault.name))?
                    }
                }
            }
            waits.sort_by(f64::total_cmp);
            let at = |index: usize| waits.get(index).copied().unwrap_or(f64::NAN);
            let (least, most) = (at(0), at(waits.len().saturating_sub(1)));
            let middle = (at(waits.len() / 2) + at(waits.len().saturating_sub(1) / 2)) / 2.0;
            let line = format!(
                "| {} | {contender:?} | {middle:.0} | {least:.0} | {most:.0} | {} |",
                fault.name,
                waits.len()
            );
            progress(&line)?;
            writeln!(out, "{line}")?;
        }
    }
    if is_wanted("planned") {
        out.push_str("\n| planned end of the active node | failed | repeated a SYN | slowest s |\n|---|---:|---:|---:|\n");
        for _ in 0..rounds.min(3) {
            let line = rate::planned(highgate)?;
            progress(&line)?;
            writeln!(out, "{line}")?;
        }
    }
    Ok(out)
}

/// Rounds take minutes: what is known is said at once.
fn progress(line: &str) -> anyhow::Result<()> {
    use std::io::Write as _;
    Ok(writeln!(std::io::stderr(), "{line}")?)
}

/// A node: its processes go with it.
pub(crate) struct Node {
    pub(crate) highgate: Option<HighgateProcess>,
    _others: Vec<Killed>,
    _scratch: Option<Scratch>,
}

/// A process that ends when it is dropped.
pub(crate) struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What the vip of a node is like.
pub(crate) const fn rank(host: u8) -> u8 {
    if host == 1 { 101 } else { 100 }
}

/// Highgate on a host, in front of the echo of the client's.
pub(crate) fn highgate(program: &Path, lab: &Lab, host: u8, more: &str) -> anyhow::Result<Node> {
    let toml = format!(
        "workers = 1\n\
         [[listener]]\nname = \"echo\"\nbind = \"0.0.0.0:{PORT}\"\nmode = \"tcp\"\nbackend = \"echo\"\n\
         [[backend]]\nname = \"echo\"\n\
         [[backend.server]]\nname = \"one\"\naddress = \"10.99.0.{CLIENT}:9302\"\n\
         [[vip]]\nname = \"V\"\ninterface = \"eth0\"\nrouter_id = 51\npriority = {}\n{more}\n\
         addresses = \"{VIP}\"\n",
        rank(host)
    );
    let program = program.display().to_string();
    let process = lab.host(host)?.inside(|| HighgateProcess::start(&program, &toml))??;
    Ok(Node { highgate: Some(process), _others: Vec::new(), _scratch: None })
}

/// Keepalived on a host, beside an echo.
fn keepalived(lab: &Lab, host: u8, more: &str) -> anyhow::Result<Node> {
    let scratch = Scratch::new("bench-keepalived")?;
    let file = |name: &str| scratch.join(name).display().to_string();
    std::fs::write(
        scratch.join("conf"),
        format!(
            "vrrp_instance V {{\n state BACKUP\n interface eth0\n virtual_router_id 51\n priority {}\n\
             {more}\n virtual_ipaddress {{\n {VIP}\n }}\n}}\n",
            rank(host)
        ),
    )?;
    let echo = echo(lab, host, PORT)?;
    let mut command = lab.host(host)?.command("keepalived");
    command.args(["-n", "-l", "-P", "-f", &file("conf"), "-p", &file("pid"), "-r", &file("vrrp")]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let child = command.spawn().context("starting keepalived")?;
    Ok(Node { highgate: None, _others: vec![Killed(child), echo], _scratch: Some(scratch) })
}

/// A server of this program on a host.
pub(crate) fn echo(lab: &Lab, host: u8, port: u16) -> anyhow::Result<Killed> {
    let own: PathBuf = std::env::current_exe()?;
    let mut command = lab.host(host)?.command(&own.display().to_string());
    command.args(["lean-server", "--mode", "echo", "--listen", &format!("0.0.0.0:{port}")]);
    Ok(Killed(command.stdin(Stdio::null()).spawn()?))
}

/// Waits until a host has the address.
pub(crate) fn until_held(lab: &Lab, host: u8, within: Duration) -> anyhow::Result<()> {
    let end = now() + within;
    while now() < end {
        if lab.host(host)?.inside(|| UdpSocket::bind((VIP, 0)).is_ok())? {
            return Ok(());
        }
        pause(Duration::from_millis(10));
    }
    anyhow::bail!("host {host} does not have the address after {within:?}")
}

/// One round: how long a client waits.
fn strike(program: &Path, contender: Contender, fault: &Fault) -> anyhow::Result<Duration> {
    let lab = Lab::new(CLIENT)?;
    let _echo = echo(&lab, CLIENT, 9302)?;
    let start = |host: u8| match contender {
        Contender::Highgate => highgate(program, &lab, host, fault.highgate),
        Contender::Keepalived => keepalived(&lab, host, fault.keepalived),
    };
    let _one = start(1)?;
    until_held(&lab, 1, Duration::from_secs(15))?;
    let _two = start(2)?;
    pause(fault.settles);
    let (stop, client) = (AtomicBool::new(false), lab.host(CLIENT)?);
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| client.inside(|| ask_until(&stop)));
        pause(Duration::from_millis(500));
        let struck = now();
        let done = (|| {
            fault.strike(&lab)?;
            if fault.kind == Kind::Watcher {
                pause(Duration::from_secs(2));
                return Ok(());
            }
            until_held(&lab, 2, Duration::from_secs(10))?;
            pause(Duration::from_millis(400));
            Ok(())
        })();
        stop.store(true, Ordering::Relaxed);
        let answers = asking.join().ok().context("the client panicked")??;
        done.and_then(|()| outage(&answers, struck))
    })
}

/// When requests were answered.
fn ask_until(stop: &AtomicBool) -> Vec<Instant> {
    let mut answers = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        if ask().is_ok() {
            answers.push(now());
        }
        pause(Duration::from_millis(1));
    }
    answers
}

fn ask() -> std::io::Result<()> {
    use std::io::{Read as _, Write as _};
    let to = SocketAddr::new(IpAddr::V4(VIP), PORT);
    let mut stream = TcpStream::connect_timeout(&to, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"?")?;
    stream.read_exact(&mut [0; 1])
}

/// The longest time between two answers, from shortly before that moment on.
fn outage(answers: &[Instant], struck: Instant) -> anyhow::Result<Duration> {
    let from = struck - Duration::from_millis(200);
    let after: Vec<Instant> = answers.iter().copied().filter(|at| *at > from).collect();
    anyhow::ensure!(after.first().is_some_and(|at| *at < struck), "nothing was answered before");
    anyhow::ensure!(after.last().is_some_and(|at| *at > struck), "nothing was answered after");
    let pairs = after.iter().zip(after.iter().skip(1));
    pairs.map(|(one, other)| *other - *one).max().context("one answer")
}
