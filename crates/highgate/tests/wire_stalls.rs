//! What hangs: a worker, a disk, another process. The rest of the process goes on, can be asked, and ends
//! when it is told to.

#[path = "common/failure.rs"]
mod failure;
#[path = "common/hang.rs"]
mod hang;
#[path = "client/raw.rs"]
mod raw;

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    time::Duration,
};

use failure::{BINARY, ctl, table};
use hang::Held;
use highgate_io::handover;
use highgate_testkit::{
    highgate::HighgateProcess,
    scripted::{Reply, Script, ScriptedServer},
    wait::{self, Deadline},
};
use raw::{RawClient, USUAL};
use rustix::{
    fs::{FlockOperation, flock},
    process::Signal,
};

const QUIT: &[u8] = &[0x01];
const IN_TRANSACTION: u16 = 0x0003;
const AUTOCOMMIT: u16 = 0x0002;
/// For what is to happen within a few seconds, on a machine with other work.
const SOON: Duration = Duration::from_secs(15);

fn server() -> ScriptedServer {
    let script = Script::new(|command| match command.text().as_str() {
        text if text.starts_with("SELECT @@") => Reply::variables(text),
        text if text.starts_with("SELECT") => Reply::value("n", "1"),
        "BEGIN" | "UPDATE t SET n = 1" => Reply::OkStatus(IN_TRANSACTION),
        _ => Reply::OkStatus(AUTOCOMMIT),
    });
    ScriptedServer::start(script).unwrap()
}

fn config(server: &ScriptedServer, drain_timeout: &str) -> String {
    config_with(server, drain_timeout, "")
}

fn config_with(server: &ScriptedServer, drain_timeout: &str, listener: &str) -> String {
    let backend = "monitor = { user = \"m\", password = \"m\", check = \"connect\" }\n";
    let text = failure::toml(&[server.addr()], backend, listener);
    format!("drain_timeout = \"{drain_timeout}\"\n{text}")
}

fn start(server: &ScriptedServer) -> HighgateProcess {
    HighgateProcess::start(BINARY, &config(server, "1s")).unwrap()
}

fn login(address: SocketAddr) -> anyhow::Result<RawClient> {
    RawClient::connect(address, "app", "app", None, USUAL)
}

fn visit(process: &HighgateProcess) -> anyhow::Result<()> {
    let mut client = login(process.listener("shop")?)?;
    anyhow::ensure!(client.value("SELECT 1")? == "1");
    client.send(QUIT)
}

fn eventually(what: &str, attempt: impl FnMut() -> anyhow::Result<()>) {
    wait::eventually(Deadline::after(SOON), what, attempt).unwrap();
}

/// Stops it, which is not to take longer than sessions may take to end, and the moment after.
fn ends_in_time(mut process: HighgateProcess) {
    let told = wait::now();
    process.signal(Signal::TERM).unwrap();
    let status = process.wait(Deadline::after(SOON)).unwrap();
    let took = wait::now() - told;
    assert!(status.success(), "{status}: {}", process.log());
    assert!(took < Duration::from_secs(5), "it took {took:?}: {}", process.log());
}

/// A file that the system lets nobody open until this is dropped, or for 45 s: another process has a lease of it
/// (fcntl(2), F_SETLEASE), and is asked for it in vain.
struct Leased {
    holder: Child,
    said: BufReader<ChildStdout>,
}

impl Leased {
    const HOLDS: &str = "$SIG{IO} = sub { print \"asked\n\" }; $| = 1; open(F, '+<', $ARGV[0]) or die; \
        fcntl(F, 1024, 1) or die; print \"held\n\"; sleep 60";

    fn file(at: &Path) -> Self {
        let mut command = Command::new("perl");
        command.arg("-e").arg(Self::HOLDS).arg(at).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut holder = command.spawn().unwrap();
        let said = BufReader::new(holder.stdout.take().unwrap());
        let mut leased = Self { holder, said };
        leased.until("held");
        leased
    }

    fn until(&mut self, word: &str) {
        let mut line = String::new();
        self.said.read_line(&mut line).unwrap();
        assert_eq!(line.trim_end(), word);
    }
}

impl Drop for Leased {
    fn drop(&mut self) {
        self.holder.kill().unwrap();
        self.holder.wait().unwrap();
    }
}

/// Asks for a reload that a disk holds up: a certificate, which is none, can't be read until this is dropped.
fn stalled_reload(process: &HighgateProcess, server: &ScriptedServer) -> Leased {
    let at = process.folder().join("stalled.pem");
    std::fs::write(&at, "this is no certificate\n").unwrap();
    let tls = format!("tls = {{ cert = \"{0}\", key = \"{0}\" }}", at.display());
    std::fs::write(process.config_file(), config_with(server, "1s", &tls)).unwrap();
    let mut leased = Leased::file(&at);
    process.signal(Signal::HUP).unwrap();
    leased.until("asked");
    leased
}

/// The status of `/health`.
fn health(process: &HighgateProcess) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect(process.admin_web()?)?;
    stream.write_all(b"GET /health HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer.split(' ').nth(1).unwrap_or_default().to_owned())
}

#[test]
fn a_worker_that_hangs_is_an_event_and_not_healthy_until_it_goes_on() {
    let server = server();
    let process = start(&server);
    assert_eq!(health(&process).unwrap(), "200");
    let Some(held) = Held::thread(process.pid(), "worker-1") else {
        return eprintln!("skipped: no thread can be held here");
    };
    let is = |wanted: &'static str| {
        eventually("the health", || {
            let found = health(&process)?;
            anyhow::ensure!(found == wanted, "{found}");
            Ok(())
        });
    };
    is("503");
    held.go_on();
    is("200");
    for text in ["data worker 1 does not answer: its clients wait", "data worker 1 answers again"] {
        process.wait_for_log(text).unwrap();
    }
    eventually("a client to be served", || visit(&process));
    ends_in_time(process);
}

#[test]
fn a_stop_waits_for_no_reload_that_a_disk_holds_up() {
    let server = server();
    let process = start(&server);
    eventually("a client to be served", || visit(&process));
    let _nothing = stalled_reload(&process, &server);
    visit(&process).unwrap();
    table(&process, "servers").unwrap();
    ends_in_time(process);
}

/// A reload while another one is under way is not lost by looking for a stop meanwhile.
#[test]
fn a_reload_that_is_asked_for_during_another_one_follows_it() {
    let server = server();
    let process = start(&server);
    let (file, text) = (process.config_file(), config(&server, "1s"));
    let stalled = stalled_reload(&process, &server);
    let new = file.with_extension("new");
    std::fs::write(&new, text + "weight = 7\n").unwrap();
    std::fs::rename(&new, &file).unwrap();
    process.signal(Signal::HUP).unwrap();
    drop(stalled);
    process.wait_for_log("nothing was changed").unwrap();
    eventually("the second one to be in force", || {
        let weight = table(&process, "servers")?[0]["weight"].clone();
        anyhow::ensure!(weight == 7000, "{weight}: {}", process.log());
        Ok(())
    });
}

/// Each that was given up left a thread behind, and its turn to the next: none was left for a reload.
#[test]
fn actions_that_a_disk_holds_up_and_nobody_waits_for_take_one_thread_together() {
    let server = server();
    let process = start(&server);
    let regular = process.folder().join("other.toml");
    std::fs::write(&regular, config(&server, "1s")).unwrap();
    let socket = process.folder().join("highgate-data/highgate.sock");
    let body = format!(r#"{{"arguments": ["{}"]}}"#, regular.display());
    let apply = || {
        let mut stream = UnixStream::connect(&socket).unwrap();
        let text = format!(
            "POST /api/v1/tables/node/apply HTTP/1.1\r\nHost: localhost\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(text.as_bytes()).unwrap();
        stream
    };
    let nothing = stalled_reload(&process, &server);
    for _ in 0..12 {
        let given_up = apply();
        // It has been read, and waits.
        let _ = wait::wait_until(Deadline::after(Duration::from_millis(100)), || false);
        drop(given_up);
    }
    let new = process.config_file().with_extension("new");
    std::fs::write(&new, config(&server, "1s") + "weight = 7\n").unwrap();
    std::fs::rename(&new, process.config_file()).unwrap();
    process.signal(Signal::HUP).unwrap();
    drop(nothing);
    eventually("the reload", || {
        let weight = table(&process, "servers")?[0]["weight"].clone();
        anyhow::ensure!(weight == 7000, "{weight}: {}", process.log());
        Ok(())
    });
    // Their turn comes again.
    ctl(&process, &["weight", "shop/db1", "3"]).unwrap();
    ends_in_time(process);
}

/// A process that asks for a hand-over, played up to the word that it serves.
fn newcomer(process: &HighgateProcess) -> UnixStream {
    let path = process.folder().join("highgate-data/handover.sock");
    let hello = |format: &str| format!(r#"{{"hello":{{"format":{format},"pid":1}}}}"#);
    let asked = |hello: String| {
        let stream = UnixStream::connect(&path).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        handover::send(&stream, hello.as_bytes(), &[]).unwrap();
        let (answer, _) = handover::receive(&stream).unwrap();
        (stream, String::from_utf8(answer).unwrap())
    };
    // Who speaks another format is told the right one.
    let (_, refused) = asked(hello("99"));
    let (_, format) = refused.split_once("in format ").unwrap();
    let (stream, _) = asked(hello(format.split(',').next().unwrap()));
    handover::send(&stream, br#""ready""#, &[]).unwrap();
    let (released, _) = handover::receive(&stream).unwrap();
    assert!(String::from_utf8(released).unwrap().contains("released"));
    stream
}

#[test]
fn a_stop_waits_for_no_hand_over_to_a_process_that_says_nothing_more() {
    let server = server();
    let process = start(&server);
    let _silent = newcomer(&process);
    ends_in_time(process);
}

/// `highgate run --replace` of a file in the data directory of a running process.
fn replacement(first: &HighgateProcess, file: &Path) -> Command {
    let mut command = Command::new(BINARY);
    let data = first.folder().join("highgate-data");
    command.arg("run").arg(file).arg("--replace").arg("--data-dir").arg(data);
    command.current_dir(first.folder()).stdin(Stdio::null()).stdout(Stdio::null());
    command
}

/// It tried for five seconds, and then never again.
#[test]
fn a_data_directory_that_a_failed_process_keeps_is_taken_back_once_it_lets_go() {
    let server = server();
    let process = start(&server);
    let other = newcomer(&process);
    let lock = File::open(process.folder().join("highgate-data/highgate.lock")).unwrap();
    flock(&lock, FlockOperation::NonBlockingLockExclusive).unwrap();
    drop(other);
    process.wait_for_log("that is tried every second").unwrap();
    // All but storing goes on meanwhile.
    eventually("a client to be served", || visit(&process));
    let weigh = || ctl(&process, &["weight", "shop/db1", "7"]);
    assert!(weigh().unwrap_err().to_string().contains("handed over"), "{}", process.log());
    process.signal(Signal::HUP).unwrap();
    process.wait_for_log("nothing was changed").unwrap();
    drop(lock);
    process.wait_for_log("is taken back from the process that failed").unwrap();
    eventually("changes to be stored", || weigh().map(drop));
    assert_eq!(process.log().matches("can't be taken back").count(), 1, "{}", process.log());
    // And another one can still take over.
    let new = wait::eventually(Deadline::after(SOON), "a new process", || {
        HighgateProcess::start_with(BINARY, "", |command| {
            *command = replacement(&process, &process.config_file());
            command.stderr(Stdio::piped());
        })
    });
    let new = new.unwrap();
    assert_eq!(table(&process, "node").unwrap()[0]["pid"], new.pid());
    drop(new);
}

/// A new process that a disk had held up for longer than the one before waits went on when the disk answered: both
/// served for ever, each by its own configuration, and operators reached one of them alone.
#[test]
fn a_process_that_has_given_up_on_another_ends_once_that_one_takes_over_after_all() {
    let server = server();
    let mut process = start(&server);
    let other = newcomer(&process);
    let lock = File::open(process.folder().join("highgate-data/highgate.lock")).unwrap();
    flock(&lock, FlockOperation::NonBlockingLockExclusive).unwrap();
    // What does not fit here is as good as half a minute of silence.
    handover::send(&other, br#""more""#, &[]).unwrap();
    process.wait_for_log("that is tried every second").unwrap();
    eventually("a client to be served", || visit(&process));
    handover::send(&other, br#""taken""#, &[]).unwrap();
    let status = process.wait(Deadline::after(SOON)).unwrap();
    assert!(status.success(), "{}", process.log());
    assert!(process.log().contains("process 1 took over; this one drains"), "{}", process.log());
    drop(lock);
}

/// A new process that is to fail, and its log.
struct Failing {
    child: Child,
    log: PathBuf,
}

impl Failing {
    fn start(first: &HighgateProcess, text: &str) -> Self {
        let (file, log) = (first.folder().join("second.toml"), first.folder().join("second.log"));
        std::fs::write(&file, text).unwrap();
        let mut command = replacement(first, &file);
        command.stderr(File::create(&log).unwrap());
        Self { child: command.spawn().unwrap(), log }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }
}

impl Drop for Failing {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// It kept the data directory as long as its sessions took to end, and the one before could store nothing.
#[test]
fn a_new_process_that_fails_late_gives_the_data_directory_back_before_its_sessions_end() {
    let server = server();
    let process = HighgateProcess::start(BINARY, &config(&server, "40s")).unwrap();
    eventually("a client to be served", || visit(&process));
    // The new process has one address more, and a server that is silent: so it takes its time.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let second = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let more = format!(
        "[[listener]]\nname = \"second\"\nbind = \"{second}\"\nbackend = \"shop\"\n\
         [[backend]]\nname = \"slow\"\n\
         monitor = {{ user = \"m\", password = \"m\", check = \"handshake\", timeout = \"10s\" }}\n\
         [[backend.server]]\nname = \"silent\"\naddress = \"{}\"\n",
        silent.local_addr().unwrap()
    );
    let mut new = Failing::start(&process, &(config(&server, "40s") + &more));
    eventually("it to have the sockets", || {
        anyhow::ensure!(new.log().contains("admin=web"), "{}", new.log());
        Ok(())
    });
    // Until here it needs nothing of the one before, which is to wait a moment; and then it can't have
    // a socket of its own where the next one would ask.
    process.signal(Signal::STOP).unwrap();
    let asked = process.folder().join("highgate-data/handover.sock");
    std::fs::remove_file(&asked).unwrap();
    std::fs::create_dir(&asked).unwrap();
    let client = wait::eventually(Deadline::after(SOON), "a client of the new one", || {
        let mut client = login(second)?;
        client.ok("BEGIN")?;
        client.ok("UPDATE t SET n = 1")?;
        Ok(client)
    });
    process.signal(Signal::CONT).unwrap();
    let mut client = client.unwrap();
    process.wait_for_log("the new process failed, this one goes on").unwrap();
    let weigh = || ctl(&process, &["weight", "shop/db1", "7"]);
    eventually("changes to be stored", || weigh().map(drop));
    assert!(!new.has_ended(), "it waits for its client: {}", new.log());
    client.ok("COMMIT").unwrap();
    let _ = client.send(QUIT);
    let ended = wait::wait_until(Deadline::after(SOON), || new.has_ended());
    assert!(ended, "{}", new.log());
    assert!(new.log().contains("cannot take over: "), "{}", new.log());
    visit(&process).unwrap();
}
