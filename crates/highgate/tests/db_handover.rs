//! A new process takes over from a running one, as clients and operators see it.

#![cfg(test)]

#[path = "common/failure.rs"]
mod failure;
#[path = "client/raw.rs"]
mod raw;

use std::{
    io::Read as _,
    net::{SocketAddr, TcpStream},
    os::unix::net::UnixStream,
    path::Path,
    process::{Command, Output, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use failure::{BINARY, ctl, table, toml};
use highgate_io::handover;
use highgate_testkit::{
    highgate::HighgateProcess,
    mariadb::{MariaDb, MariaDbOptions},
    scratch::Scratch,
    wait::{self, Deadline},
};
use raw::{RawClient, USUAL};
use rustix::process::Signal;

const BACKEND: &str =
    "monitor = { user = \"monitor\", password = \"monitor\", interval = \"300ms\" }\n";
const QUIT: &[u8] = &[0x01];

fn database() -> Option<MariaDb> {
    database_with(&[])
}

fn database_with(args: &[&str]) -> Option<MariaDb> {
    if !MariaDb::is_installed() {
        eprintln!("skipped: MariaDB is not installed");
        return None;
    }
    let args = args.iter().map(ToString::to_string).collect();
    let server = MariaDb::start_with(MariaDbOptions { args, ..Default::default() }).unwrap();
    server.sql("CREATE DATABASE shop").unwrap();
    server.sql("CREATE TABLE shop.t (id INT)").unwrap();
    server.create_user("app", "app", "ALL ON *.*").unwrap();
    let grants = "REPLICATION CLIENT, SLAVE MONITOR ON *.*";
    server.create_user("monitor", "monitor", grants).unwrap();
    Some(server)
}

fn config(servers: &[SocketAddr], drain_timeout: &str) -> String {
    let text = toml(servers, BACKEND, "");
    assert!(text.contains("[admin]"), "admin ports that other tests have not");
    format!("drain_timeout = \"{drain_timeout}\"\n{text}")
}

fn start(server: &MariaDb, drain_timeout: &str) -> HighgateProcess {
    failure::start(&config(&[server.addr()], drain_timeout), 1).unwrap()
}

/// `highgate run --replace` of the same file and data directory.
fn replacement(first: &HighgateProcess, file: &Path) -> Command {
    let mut command = Command::new(BINARY);
    let data = first.folder().join("highgate-data");
    command.arg("run").arg(file).arg("--replace");
    command.arg("--data-dir").arg(data);
    command
        .current_dir(first.folder())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    command
}

fn replace(first: &HighgateProcess) -> anyhow::Result<HighgateProcess> {
    HighgateProcess::start_with(BINARY, "", |command| {
        *command = replacement(first, &first.config_file());
    })
}

/// Runs a replacement that is expected to end by itself.
fn replace_in_vain(first: &HighgateProcess, text: &str) -> Output {
    let scratch = Scratch::new("vain").unwrap();
    let file = scratch.join("highgate.toml");
    std::fs::write(&file, text).unwrap();
    replacement(first, &file).output().unwrap()
}

fn login(address: SocketAddr) -> anyhow::Result<RawClient> {
    RawClient::connect(address, "app", "app", Some("shop"), USUAL)
}

/// Clients that come, ask once, and go, one after the other.
struct Stream {
    ends: Arc<AtomicBool>,
    served: Arc<AtomicUsize>,
    threads: Vec<JoinHandle<Vec<String>>>,
}

impl Stream {
    fn start(address: SocketAddr, threads: usize) -> Self {
        let (ends, served) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let threads = (0..threads).map(|_| {
            let (ends, served) = (ends.clone(), served.clone());
            let client = move || {
                let mut failed = Vec::new();
                while !ends.load(Ordering::Relaxed) {
                    match visit(address) {
                        Ok(()) => {
                            served.fetch_add(1, Ordering::Relaxed);
                        }
                        Err(error) => failed.push(format!("{error:#}")),
                    }
                }
                failed
            };
            std::thread::Builder::new().spawn(client).unwrap()
        });
        let threads = threads.collect();
        Self { ends, served, threads }
    }

    fn served(&self) -> usize {
        self.served.load(Ordering::Relaxed)
    }

    fn stop(self) -> Vec<String> {
        self.ends.store(true, Ordering::Relaxed);
        let ended = self.threads.into_iter().map(|thread| thread.join());
        ended.flat_map(Result::unwrap).collect()
    }
}

fn visit(address: SocketAddr) -> anyhow::Result<()> {
    let mut client = login(address)?;
    let one = client.value("SELECT 1")?;
    anyhow::ensure!(one == "1", "{one}");
    client.send(QUIT)
}

#[test]
fn hand_overs_under_a_stream_of_new_clients_refuse_and_fail_none() {
    let Some(server) = database() else { return };
    let scratch = Scratch::new("unix").unwrap();
    let path = scratch.join("shop.sock");
    let text = config(&[server.addr()], "20s").replace(
        "bind = \"127.0.0.1:0\"",
        &format!("bind = [\"127.0.0.1:0\", \"unix:{}\"]", path.display()),
    );
    let mut processes = vec![failure::start(&text, 1).unwrap()];
    let address = processes[0].listener("shop").unwrap();
    ctl(&processes[0], &["weight", "shop/db1", "7"]).unwrap();
    let version = table(&processes[0], "node").unwrap()[0]["config_version"].clone();
    let stream = Stream::start(address, 4);
    let (began, mut number) = (wait::now(), 0);
    for round in 1..=3 {
        // A transaction that is open while the process is replaced.
        let mut client = login(address).unwrap();
        assert!(client.id > number, "session numbers go on");
        number = client.id;
        client.ok("BEGIN").unwrap();
        client.ok(&format!("INSERT INTO t VALUES ({round})")).unwrap();
        let new = replace(&processes[0]).unwrap();
        let served = stream.served();
        let more = || stream.served() > served + 100;
        assert!(wait::wait_until(Deadline::seconds(10), more), "{}", new.log());
        assert_eq!(new.listener("shop").unwrap(), address);
        assert_eq!(new.admin_sql().unwrap(), processes[0].admin_sql().unwrap());
        client.ok("INSERT INTO t VALUES (0)").unwrap();
        client.ok("COMMIT").unwrap();
        client.send(QUIT).unwrap();
        let old = processes.last_mut().unwrap();
        let status = old.wait(Deadline::seconds(15)).unwrap();
        assert!(status.success(), "{status}: {}", old.log());
        assert!(old.log().contains("took over"), "{}", old.log());
        processes.push(new);
        let mut byte = [0];
        let mut local = UnixStream::connect(&path).unwrap();
        local.read_exact(&mut byte).unwrap();
    }
    let rate = stream.served() as f64 / (wait::now() - began).as_secs_f64();
    eprintln!("{} clients, {rate:.0} per second", stream.served());
    let failed = stream.stop();
    assert_eq!(failed, Vec::<String>::new(), "{} failed", failed.len());
    let rows = server.value("SELECT COUNT(*) FROM shop.t").unwrap();
    assert_eq!(rows, "6", "each transaction was whole");
    let node = &table(&processes[0], "node").unwrap()[0];
    assert_eq!(node["config_version"], version);
    assert_eq!(node["pid"], processes[3].pid(), "the last one answers");
    let text = ctl(&processes[0], &["show", "servers", "--format", "json"]).unwrap();
    assert!(text.contains("7000"), "the override is in force: {text}");
    // The folder is the first one's.
    processes.reverse();
}

#[test]
fn a_new_process_that_cannot_start_leaves_the_old_one_untouched() {
    let Some(server) = database() else { return };
    let process = start(&server, "5s");
    let address = process.listener("shop").unwrap();
    let good = config(&[server.addr()], "5s");
    let done = replace_in_vain(&process, "workers = 2\n[[listner]]\nname = \"x\"\n");
    let report = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(!done.status.success() && report.contains("listener"), "{report}");
    assert!(!process.log().contains("gets ready"), "{}", process.log());
    // Another one has the port.
    let taken = good.replace(
        "bind = \"127.0.0.1:0\"",
        &format!("bind = [\"127.0.0.1:0\", \"{}\"]", server.addr()),
    );
    let done = replace_in_vain(&process, &taken);
    let report = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(!done.status.success(), "{report}");
    assert!(report.contains("cannot listen on"), "{report}");
    let told = "did not take over, this one goes on: the other process refused: listener shop";
    process.wait_for_log(told).unwrap();
    visit(address).unwrap();
    ctl(&process, &["weight", "shop/db1", "7"]).unwrap();
}

#[test]
fn a_new_process_that_dies_on_the_way_leaves_the_old_one_serving_and_storing() {
    let Some(server) = database() else { return };
    let process = start(&server, "5s");
    let address = process.listener("shop").unwrap();
    let path = process.folder().join("highgate-data/handover.sock");
    let hello = |format: &str| format!(r#"{{"hello":{{"format":{format},"pid":1}}}}"#);
    // Of another format it is refused, and told which one it should be.
    let stream = UnixStream::connect(&path).unwrap();
    handover::send(&stream, hello("99").as_bytes(), &[]).unwrap();
    let (answer, _) = handover::receive(&stream).unwrap();
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.contains("refused"), "{answer}");
    let (_, format) = answer.split_once("in format ").unwrap();
    let hello = hello(format.split(',').next().unwrap());
    let words: [&[u8]; 2] = [hello.as_bytes(), br#""ready""#];
    for (count, log) in [(1, "did not take over"), (2, "the new process failed")] {
        let stream = UnixStream::connect(&path).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        for word in &words[..count] {
            handover::send(&stream, word, &[]).unwrap();
            handover::receive(&stream).unwrap();
        }
        drop(stream);
        process.wait_for_log(log).unwrap();
        visit(address).unwrap();
        ctl(&process, &["weight", "shop/db1", "7"]).unwrap();
    }
    // And a real one still can.
    let new = replace(&process).unwrap();
    visit(address).unwrap();
    drop(new);
}

#[test]
fn a_changed_file_is_in_force_with_the_new_process_and_idle_sessions_end_within_the_bound() {
    let Some(server) = database() else { return };
    let mut process = start(&server, "4s");
    let address = process.listener("shop").unwrap();
    let mut idle = login(address).unwrap();
    let mut stuck = login(address).unwrap();
    idle.ok("DO 1").unwrap();
    stuck.ok("BEGIN").unwrap();
    stuck.ok("INSERT INTO t VALUES (1)").unwrap();
    let changed = config(&[server.addr()], "4s").replace(
        "[[user]]",
        "[[listener]]\nname = \"second\"\nbind = \"127.0.0.1:0\"\nmode = \"mysql\"\nbackend = \"shop\"\n[[user]]",
    );
    std::fs::write(process.config_file(), changed).unwrap();
    let began = wait::now();
    let new = replace(&process).unwrap();
    visit(new.listener("second").unwrap()).unwrap();
    visit(address).unwrap();
    let told = idle.answer().unwrap();
    assert_eq!(told[0].error(), Some(1053), "{told:?}");
    let quiet = wait::now() - began;
    let status = process.wait(Deadline::seconds(12)).unwrap();
    let all = wait::now() - began;
    eprintln!("the idle one after {quiet:?}, the stuck one after {all:?}");
    assert!(status.success(), "{}", process.log());
    assert!(quiet < all, "{quiet:?} {all:?}");
    assert!(stuck.ok("COMMIT").is_err());
    drop(new);
}

#[test]
fn who_has_handed_over_says_nothing_of_records_that_the_other_process_stores() {
    let Some(server) = database_with(&["--log-bin=b", "--server-id=1"]) else { return };
    let backend = format!("topology = \"mariadb-replication\"\n{BACKEND}");
    let text = format!("drain_timeout = \"3s\"\n{}", toml(&[server.addr()], &backend, ""));
    let mut process = failure::start(&text, 1).unwrap();
    let mut stuck = login(process.listener("shop").unwrap()).unwrap();
    stuck.ok("BEGIN").unwrap();
    stuck.ok("INSERT INTO t VALUES (1)").unwrap();
    let new = replace(&process).unwrap();
    // The primary's position moves, which both processes see.
    let mut other = login(new.listener("shop").unwrap()).unwrap();
    while process.wait(Deadline::after(Duration::from_millis(200))).is_err() {
        other.ok("INSERT INTO t VALUES (2)").unwrap();
    }
    assert!(process.log().contains("took over"), "{}", process.log());
    assert!(!process.log().contains("can't be stored"), "{}", process.log());
    drop(new);
}

#[test]
fn a_stop_refuses_new_clients_at_once_and_ends_within_the_bound() {
    let Some(server) = database() else { return };
    let mut process = start(&server, "3s");
    let address = process.listener("shop").unwrap();
    let mut idle = login(address).unwrap();
    let mut working = login(address).unwrap();
    let mut stuck = login(address).unwrap();
    for client in [&mut working, &mut stuck] {
        client.ok("BEGIN").unwrap();
        client.ok("INSERT INTO t VALUES (1)").unwrap();
    }
    let began = wait::now();
    process.signal(Signal::TERM).unwrap();
    let told = idle.answer().unwrap();
    assert_eq!(told[0].error(), Some(1053), "{told:?}");
    let is_refused = || TcpStream::connect(address).is_err();
    assert!(wait::wait_until(Deadline::seconds(1), is_refused));
    working.ok("COMMIT").unwrap();
    let status = process.wait(Deadline::seconds(10)).unwrap();
    let took = wait::now() - began;
    assert!(status.success(), "{}", process.log());
    assert!(took < Duration::from_secs(6), "it took {took:?}");
    assert!(stuck.ok("COMMIT").is_err());
    let rows = server.value("SELECT COUNT(*) FROM shop.t").unwrap();
    assert_eq!(rows, "1", "what was committed is there, the rest is not");
}

#[test]
fn replacing_nobody_is_a_usual_start() {
    let config = config(&["127.0.0.1:9".parse().unwrap()], "1s");
    let process = HighgateProcess::start_with(BINARY, &config, |command| {
        command.arg("--replace");
    });
    let process = process.unwrap();
    assert!(process.log().contains("usual start"), "{}", process.log());
    let data = process.folder().join("highgate-data");
    for name in ["handover.sock", "highgate.sock"] {
        let meta = std::fs::metadata(data.join(name)).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::mode(&meta.permissions());
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}
