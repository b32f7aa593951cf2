//! A log that nobody takes and a disk that is full: traffic goes on, what is lost is counted, and what
//! can't be stored is refused with the reason.

#[path = "common/crowd.rs"]
mod crowd;
#[path = "common/failure.rs"]
mod failure;

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader},
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU16, Ordering},
    },
    time::Duration,
};

use crowd::{connect_from, log_in, query};
use failure::{BINARY, run};
use highgate_testkit::{
    Reply, Scratch, Script, ScriptedServer,
    wait::{self, Deadline},
};

const HOME: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
const BACKEND: &str = "monitor = { user = \"m\", password = \"m\", check = \"connect\" }\n";

/// A process whose standard error is what the test says.
struct Running {
    child: Child,
    data: PathBuf,
}

impl Running {
    fn start(file: &Path, data: &Path, log: Stdio) -> Self {
        let mut command = Command::new(BINARY);
        command.arg("run").arg("--data-dir").arg(data).arg(file);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        Self { child: command.spawn().unwrap(), data: data.to_owned() }
    }

    /// `highgate` with arguments, at this process: what it said, or complained.
    fn tell(&self, command: &[&str], rest: &[&str]) -> Result<String, String> {
        let mut program = Command::new(BINARY);
        program.args(command).arg("--data-dir").arg(&self.data).args(rest);
        let done = program.output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if done.status.success() { Ok(text(&done.stdout)) } else { Err(text(&done.stderr)) }
    }

    fn events(&self) -> String {
        self.tell(&["ctl"], &["events", "--last", "200"]).unwrap()
    }

    fn node(&self, column: &str) -> u64 {
        let text = self.tell(&["ctl"], &["show", "node", "--format", "json"]).unwrap();
        let rows: serde_json::Value = serde_json::from_str(&text).unwrap();
        let row = rows.get("rows").unwrap_or(&rows)[0].clone();
        row[column].as_u64().unwrap_or_else(|| panic!("no {column}: {row}"))
    }

    fn eventually(&self, what: &str) {
        wait::eventually(Deadline::seconds(20), what, || {
            let events = self.events();
            // Long texts are wrapped, anywhere between two words.
            let words: Vec<_> = events.split_whitespace().collect();
            anyhow::ensure!(words.join(" ").contains(what.trim()), "{events}");
            Ok(())
        })
        .unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A file system of 256 KiB, where the machine lets us have one.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn new(at: PathBuf) -> Option<Self> {
        fs::create_dir_all(&at).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=256k,mode=0700", "highgate-test"]).arg(&at);
        mount.output().is_ok_and(|done| done.status.success()).then_some(Self(at))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a process that is just ending may have its log open.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

fn server() -> ScriptedServer {
    let script = Script::new(|command| match command.text().as_str() {
        text if text.starts_with("SELECT") => Reply::value("n", "1"),
        _ => Reply::Ok,
    });
    ScriptedServer::start(script).unwrap()
}

fn address_in(log: &str) -> Option<SocketAddr> {
    let line = log.lines().find(|line| line.contains("listening") && line.contains("shop"))?;
    line.split("address=").nth(1)?.trim_matches('"').parse().ok()
}

/// A hundred answers; none may take long.
fn traffic_flows(address: SocketAddr) {
    run(async {
        let mut stream = connect_from(HOME, address).await.unwrap();
        log_in(&mut stream, "app").await.unwrap();
        for _ in 0..100 {
            let asked = wait::now();
            query(&mut stream, "SELECT 1").await.unwrap();
            let took = wait::now() - asked;
            assert!(took < Duration::from_secs(2), "an answer took {took:?}");
        }
    });
}

#[test]
fn on_a_full_disk_traffic_goes_on_changes_are_refused_and_lost_lines_are_counted() {
    let scratch = Scratch::new("full").unwrap();
    let Some(disk) = SmallDisk::new(scratch.join("small")) else {
        eprintln!("skipped: no right to mount a small file system here");
        return;
    };
    let server = server();
    let file = scratch.join("highgate.toml");
    let toml = failure::toml(&[server.addr()], BACKEND, "");
    fs::write(&file, &toml).unwrap();
    let file_name = file.to_str().unwrap();
    let log = disk.0.join("log");
    let process = Running::start(&file, &disk.0.join("data"), File::create(&log).unwrap().into());
    let read = || fs::read_to_string(&log).unwrap();
    assert!(wait::wait_until(Deadline::seconds(20), || read().contains("ready")), "{}", read());
    let address = address_in(&read()).unwrap();
    traffic_flows(address);

    let filler = disk.0.join("filler");
    let _ = fs::write(&filler, vec![0; 1 << 20]);
    fs::write(&file, toml.clone() + "[[user]]\nname = \"new\"\npassword = \"new\"\n").unwrap();
    let version = process.node("config_version");
    // The last page of the log still has room for some lines.
    let mut refusals = 0;
    while process.node("log_lines_lost") == 0 {
        let refused = process.tell(&["apply"], &[file_name]).unwrap_err();
        assert!(refused.contains("No space left on device"), "{refused}");
        refusals += 1;
        assert!(refusals < 200, "no line was lost: {}", read());
    }
    let drained = process.tell(&["ctl"], &["drain", "shop/db1"]).unwrap_err();
    assert!(drained.contains("No space left on device"), "{drained}");
    traffic_flows(address);
    assert_eq!(process.node("config_version"), version, "a refused change is in force");
    process.eventually("`apply` was refused: ");
    process.eventually("an operator's mark was refused, nothing was changed: ");
    process.eventually("the log can't be written: No space left on device");

    fs::remove_file(&filler).unwrap();
    process.eventually("the log is written again; ");
    process.tell(&["apply"], &[file_name]).unwrap();
    assert_eq!(process.node("config_version"), version + 1);
    traffic_flows(address);
    assert!(read().contains(" lines of the log are missing here\n"), "{}", read());
    eprintln!(
        "{refusals} refused changes, {} lines lost\n{}",
        process.node("log_lines_lost"),
        process.events()
    );
    drop(process);
}

/// A member of a replication of two; `source` is the port that it replicates from, 0 for the primary.
fn member(id: u16, source: &Arc<AtomicU16>) -> ScriptedServer {
    let source = Arc::clone(source);
    let script = Script::new(move |command| {
        let (text, from) = (command.text(), source.load(Ordering::Relaxed));
        let role = Reply::role(&text, id, (from != 0).then_some(from));
        role.unwrap_or_else(|| match text.starts_with("SELECT") {
            true => Reply::value("n", "1"),
            false => Reply::Ok,
        })
    });
    ScriptedServer::start(script).unwrap()
}

#[test]
fn on_a_full_disk_the_primarys_record_is_tried_again_and_a_restart_then_knows_it() {
    let scratch = Scratch::new("record").unwrap();
    let Some(disk) = SmallDisk::new(scratch.join("small")) else {
        eprintln!("skipped: no right to mount a small file system here");
        return;
    };
    let sources = [Arc::new(AtomicU16::new(0)), Arc::new(AtomicU16::new(0))];
    let [db1, db2] = [member(1, &sources[0]), member(2, &sources[1])];
    let follow = |replica: usize, of: u16| sources[replica].store(of, Ordering::Relaxed);
    follow(1, db1.addr().port());
    let file = scratch.join("highgate.toml");
    let backend = "topology = \"mariadb-replication\"\nfailover_wait = \"20s\"\n\
        monitor = { user = \"m\", password = \"m\", interval = \"100ms\" }\n";
    fs::write(&file, failure::toml(&[db1.addr(), db2.addr()], backend, "")).unwrap();
    let data = disk.0.join("data");
    let log = scratch.join("log");
    let start = || Running::start(&file, &data, File::create(&log).unwrap().into());
    let record = || fs::read_to_string(data.join("primaries.json")).unwrap_or_default();
    let until = |what: &str, holds: &dyn Fn() -> bool| {
        let read = || fs::read_to_string(&log).unwrap_or_default();
        assert!(wait::wait_until(Deadline::seconds(20), holds), "{what}: {}", read());
    };
    let mut process = start();
    until("db1 is recorded", &|| record().contains("\"db1\""));

    let filler = disk.0.join("filler");
    let _ = fs::write(&filler, vec![0; 1 << 20]);
    follow(0, db2.addr().port());
    follow(1, 0);
    process.eventually("db2 is the primary now, in place of db1");
    process.eventually("which server is its primary can't be stored: ");
    process.eventually("No space left on device");
    assert!(!process.events().contains("could not be stored"), "said twice: {}", process.events());
    // The data path does not depend on it.
    let address = address_in(&fs::read_to_string(&log).unwrap()).unwrap();
    run(async {
        let mut stream = connect_from(HOME, address).await.unwrap();
        log_in(&mut stream, "app").await.unwrap();
        query(&mut stream, "INSERT INTO t VALUES (1)").await.unwrap();
    });
    assert!(db2.queries().iter().any(|text| text.starts_with("INSERT")));
    // Longer than the time between two tries: it is told once.
    let _ = wait::wait_until(Deadline::after(Duration::from_millis(2500)), || false);
    let events = process.events();
    assert_eq!(events.matches("is its primary can't be stored").count(), 1, "{events}");
    assert!(!events.contains("is stored again"), "{events}");
    let kept = record();
    assert!(kept.contains("\"server\": \"db1\""), "what was stored is whole: {kept}");
    fs::remove_file(&filler).unwrap();
    process.eventually("which servers are primaries is stored again");
    assert!(record().contains("\"server\": \"db2\""), "{}", record());

    // Both are writable as it starts again: who it was decides.
    process.child.kill().unwrap();
    process.child.wait().unwrap();
    follow(0, 0);
    process = start();
    until("it is ready", &|| fs::read_to_string(&log).unwrap_or_default().contains("ready"));
    process.eventually("several servers are writable: db1, db2; db2 is the primary of record");
    drop(process);
}

#[test]
fn a_log_whose_reader_stalls_holds_nobody_up() {
    let scratch = Scratch::new("stalled").unwrap();
    let server = server();
    let file = scratch.join("highgate.toml");
    let toml = failure::toml(&[server.addr()], BACKEND, "");
    fs::write(&file, &toml).unwrap();
    let mut process = Running::start(&file, &scratch.join("data"), Stdio::piped());
    let pipe = process.child.stderr.take().unwrap();
    rustix::pipe::fcntl_setpipe_size(&pipe, 4096).unwrap();
    let mut reader = BufReader::new(pipe);
    let mut log = String::new();
    while !log.contains("ready") {
        assert!(reader.read_line(&mut log).unwrap() > 0, "{log}");
    }
    let address = address_in(&log).unwrap();
    // From here on nobody reads. A mistake that is refused is an event, and so a line of the log.
    fs::write(&file, toml.replace("\"mysql\"", "\"mysqll\"")).unwrap();
    let hangup = || {
        let pid = rustix::process::Pid::from_child(&process.child);
        rustix::process::kill_process(pid, rustix::process::Signal::HUP).unwrap();
    };
    for round in 1..=40 {
        hangup();
        let seen = wait::wait_until(Deadline::seconds(10), || {
            process.events().matches("nothing was changed").count() >= round
        });
        assert!(seen, "the {round}th event is missing: {}", process.events());
    }
    traffic_flows(address);
    let pid = rustix::process::Pid::from_child(&process.child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let ended = wait::wait_until(Deadline::seconds(20), || {
        process.child.try_wait().unwrap().is_some_and(|status| status.success())
    });
    assert!(ended, "it waits for a log that nobody takes");
}
