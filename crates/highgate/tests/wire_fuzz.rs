//! Clients and servers that break the protocol in every phase of a session, at random but the same way for
//! the same seed: the process lives, its memory is bounded, each session comes to an end, and those who
//! share its connections never see it.
//!
//! `FUZZ_SEED` runs one seed alone. What decodes is fuzzed more deeply, and by itself, in `fuzz/`.

#[path = "common/certificates.rs"]
mod certificates;
#[path = "common/failure.rs"]
mod failure;
#[path = "fuzz/honest.rs"]
mod honest;
#[path = "fuzz/model.rs"]
mod model;
#[path = "fuzz/mutate.rs"]
mod mutate;
#[path = "twin/random.rs"]
mod random;
#[path = "client/raw.rs"]
mod raw;
#[path = "fuzz/replies.rs"]
mod replies;
#[path = "fuzz/talks.rs"]
mod talks;

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use certificates::Authority;
use failure::{BINARY, table};
use highgate_mysql::Capabilities;
use highgate_testkit::{
    HighgateProcess, Scratch, ScriptedServer,
    scripted::Script,
    usage::resident,
    wait::{self, Deadline},
};
use honest::{Client, Honest, Kind};
use model::Model;
use mutate::Frame;
use random::Random;
use raw::{Param, RawClient};
use replies::VICTIM;

/// What all clients can, so that all may share connections.
const CAN: Capabilities =
    raw::USUAL.union(Capabilities::LOCAL_FILES).union(Capabilities::MARIADB_STMT_BULK_OPERATIONS);
const BULK: u32 = 1 << 2;
/// Clients at a time.
const THREADS: u64 = 12;
/// Seeds of `make test`.
const FIRST: std::ops::Range<u64> = 1..700;
/// Seeds of the soak, which take turns by the day, and how many of them run.
const SEEDS: u64 = 2_000_000;
const A_DAY: u64 = 40_000;
/// The time within which a session ends that its client has given up, or that waits for the rest of something.
const PATIENCE: Duration = Duration::from_secs(8);
/// More than what a few dozen sessions, their buffers and the pools take.
const MEMORY_KIB: u64 = 64 << 10;

fn capabilities(is_new: bool) -> Capabilities {
    if is_new { CAN | Capabilities::DEPRECATE_EOF } else { CAN }
}

/// A pair for TLS, where the machine can make one.
fn tls(folder: &Scratch) -> String {
    let Some(authority) = Authority::new(folder.path(), "ca") else { return String::new() };
    let pair = authority.issue("server", "IP:127.0.0.1");
    format!("tls = {{ cert = \"{}\", key = \"{}\" }}\n", pair.cert.display(), pair.key.display())
}

/// Highgate in front of these servers. What the accounts `app` and `fuzz` leave lies in the same connections.
fn front(servers: &[SocketAddr], listener: &str, backend: &str) -> HighgateProcess {
    let backend = format!(
        "queue_timeout = \"10s\"\nfailover_wait = \"300ms\"\n{backend}\
         monitor = {{ user = \"m\", password = \"m\", check = \"connect\", interval = \"200ms\" }}\n"
    );
    let listener = format!(
        "client_timeout = \"2s\"\nidle_in_transaction_timeout = \"2s\"\nhandshake_timeout = \"2s\"\nquery_timeout = \"1s\"\n{listener}"
    );
    let text = failure::toml(servers, &backend, &listener)
        .replace("password = \"app\"\n", "password = \"app\"\nlocal_infile = true\n");
    let fuzz = "[[user]]\nname = \"fuzz\"\npassword = \"fuzz\"\nserver_user = \"app\"\n\
                server_password = \"app\"\nlocal_infile = true\n";
    HighgateProcess::start(BINARY, &format!("{text}{fuzz}")).unwrap()
}

/// What a client hears until its session ends; nothing where that takes too long.
fn rest(mut stream: &TcpStream, seed: u64) -> Vec<u8> {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let (started, mut heard, mut part) = (wait::now(), Vec::new(), [0; 4096]);
    loop {
        match stream.read(&mut part) {
            Ok(0) => return heard,
            Ok(count) => heard.extend_from_slice(&part[..count]),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return heard,
            Err(error) => panic!("seed {seed}: neither an answer nor an end: {error}, {heard:?}"),
        }
        assert!(wait::now() - started < 2 * PATIENCE, "seed {seed}: it never ends");
        assert!(heard.len() < 1 << 20, "seed {seed}: an endless answer");
    }
}

/// Carries seeds out, several at a time, and gives how many there was time for.
fn each_seed(
    seeds: impl Iterator<Item = u64> + Send,
    until: Deadline,
    one: impl Fn(u64) + Sync,
) -> u64 {
    let one_seed = std::env::var("FUZZ_SEED").ok().and_then(|text| text.parse::<u64>().ok());
    if let Some(seed) = one_seed {
        one(seed);
        return 1;
    }
    let seeds = parking_lot::Mutex::new(seeds);
    let done = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while let Some(seed) = (!until.is_past()).then(|| seeds.lock().next()).flatten() {
                    one(seed);
                    done.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    done.into_inner()
}

/// Follows how much memory a process has, until it is told to end; gives the most.
fn watch(process: &HighgateProcess) -> impl FnOnce() -> u64 + use<> {
    let (pid, ends) = (process.pid(), Arc::new(AtomicBool::new(false)));
    let flag = ends.clone();
    let watching = std::thread::spawn(move || {
        let mut most = 0;
        let _ = wait::wait_until(Deadline::seconds(100_000), || {
            most = most.max(resident(pid));
            flag.load(Ordering::Relaxed)
        });
        most
    });
    move || {
        ends.store(true, Ordering::Relaxed);
        watching.join().unwrap()
    }
}

/// The process is as it was before: alive, well, of its size, without a session, and it tells nobody
/// what others left.
fn is_well(process: &HighgateProcess, (before, most): (u64, u64), can: Capabilities) {
    let address = process.listener("shop").unwrap();
    for kind in [Kind::Bare, Kind::Full, Kind::Prepared].repeat(8) {
        let mut client = Client::start(address, can, kind).unwrap();
        (0..8).for_each(|_| client.ask().unwrap());
    }
    let mut page = TcpStream::connect(process.admin_web().unwrap()).unwrap();
    page.write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut head = [0; 12];
    page.read_exact(&mut head).unwrap();
    assert_eq!(&head, b"HTTP/1.1 200");
    for word in ["panicked", "a bug", "overflow"] {
        assert!(!process.log().contains(word), "{word}: {}", process.log());
    }
    eprintln!("memory: {before} KiB at first, {most} KiB at most");
    assert!(most < before + MEMORY_KIB, "{before} KiB at first, {most} KiB at most");
    wait::eventually(Deadline::seconds(10), "all sessions to be over", || {
        let sessions = table(process, "sessions")?;
        anyhow::ensure!(sessions.is_empty(), "{sessions:?}");
        Ok(())
    })
    .unwrap();
}

/// One client that goes wrong somewhere in its session.
fn wrong_client(to: SocketAddr, can: Capabilities, has_tls: bool, seed: u64) {
    let mut random = Random::new(seed);
    let mut stream = TcpStream::connect(to).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let (name, frames) = said(&stream, can, seed, &mut random);
    if name == "request of TLS" && !has_tls {
        return;
    }
    let bytes = mutate::mutate(&mut random, &frames);
    // Half of it may be refused while the rest is on its way.
    let _ = stream.write_all(&bytes);
    match random.below(16) {
        0 | 1 => return,
        // It waits for what comes: an answer, or the end of its time.
        2 => {}
        _ => drop(stream.shutdown(Shutdown::Write)),
    }
    let heard = rest(&stream, seed);
    let is_tls = name == "request of TLS";
    assert!(is_tls || mutate::is_whole(&heard), "seed {seed}, {name}: half a packet: {heard:?}");
}

/// What is to be made wrong, with a name.
fn said(
    stream: &TcpStream,
    can: Capabilities,
    seed: u64,
    random: &mut Random,
) -> (&'static str, Vec<Frame>) {
    let kinds = talks::commands(0).len();
    let at = usize::try_from(seed).unwrap() % (talks::PHASES.len() + 2 * kinds);
    let told = |error| panic!("seed {seed}: before anything was wrong: {error:#}");
    if let Some((name, phase)) = talks::PHASES.get(at) {
        return (name, phase(stream, can).unwrap_or_else(told));
    }
    let within = at - talks::PHASES.len() >= kinds;
    let id = talks::until_command(stream, can, within).unwrap_or_else(|error| {
        panic!("seed {seed}: before anything was wrong: {error:#}");
    });
    let (name, mut frames) = talks::commands(id).swap_remove((at - talks::PHASES.len()) % kinds);
    if random.one_in(4) {
        // Another command, right, behind it.
        let (_, more) = talks::commands(id).swap_remove(random.below(kinds));
        frames.extend(more);
    }
    (name, frames)
}

fn start(script: Script, is_new: bool) -> ScriptedServer {
    ScriptedServer::start(if is_new { script } else { script.old_eof() }).unwrap()
}

fn wrong_clients(is_new: bool, seeds: impl Iterator<Item = u64> + Send, seconds: u64) {
    let model = Model::default();
    let script = Script::new(move |command| model.answer(command)).extended(BULK);
    let server = start(script, is_new);
    let folder = Scratch::new("fuzz").unwrap();
    let tls = tls(&folder);
    let process = front(&[server.addr()], &tls, "");
    let (address, can) = (process.listener("shop").unwrap(), capabilities(is_new));
    let honest = Honest::start(address, can, &[Kind::Bare, Kind::Full, Kind::Prepared]);
    let (before, most) = (resident(process.pid()), watch(&process));
    let done = each_seed(seeds, Deadline::seconds(seconds), |seed| {
        wrong_client(address, can, !tls.is_empty(), seed);
    });
    let (answers, most) = (honest.end(), most());
    eprintln!("{done} seeds, {answers} right answers to others, {} connections", server.accepted());
    assert!(answers > 100, "{answers}");
    is_well(&process, (before, most), can);
}

#[test]
fn clients_that_break_the_protocol_harm_nobody_but_themselves() {
    wrong_clients(true, FIRST, 7);
}

#[test]
fn clients_that_break_the_protocol_of_old_results_harm_nobody_but_themselves() {
    wrong_clients(false, FIRST, 7);
}

/// A client that does nothing wrong and is answered wrongly: by an error, an end, or what the server said.
fn victim(to: SocketAddr, can: Capabilities, seed: u64) {
    let stream = TcpStream::connect(to).unwrap();
    let mut client =
        RawClient::over(stream.try_clone().unwrap(), "fuzz", "fuzz", None, can).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let word = format!("{VICTIM}{seed}");
    let asked = match seed % 3 {
        0 => {
            let id = talks::prepare(&mut client).unwrap();
            client.send(&raw::execute(id, 0, &[Param::Text(word)], true))
        }
        1 => client.send(&[&[0x16], format!("SELECT ?, '{word}'").as_bytes()].concat()),
        _ => client.send(&[&[3], format!("SELECT '{word}'").as_bytes()].concat()),
    };
    asked.unwrap();
    // Where nothing comes, the client has gone before Highgate gives the server up.
    stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    let _ = stream.peek(&mut [0]);
    let _ = stream.shutdown(Shutdown::Write);
    let heard = rest(&stream, seed);
    // What was passed on already, and then broke off, may be cut; what came of it as a whole may not.
    assert!(heard.len() < 8 << 10, "seed {seed}: {} bytes", heard.len());
}

fn wrong_servers(is_new: bool, seeds: impl Iterator<Item = u64> + Send, seconds: u64) {
    let model = Model::default();
    let answer =
        move |command: &_| replies::wrong(command, is_new).unwrap_or_else(|| model.answer(command));
    let server = start(Script::new(answer).extended(BULK), is_new);
    let process = front(&[server.addr()], "", "");
    let (address, can) = (process.listener("shop").unwrap(), capabilities(is_new));
    // Those that only read, so that what is lost can be asked again.
    let honest = Honest::start(address, can, &[Kind::Bare, Kind::Prepared]);
    let (before, most) = (resident(process.pid()), watch(&process));
    let done = each_seed(seeds, Deadline::seconds(seconds), |seed| victim(address, can, seed));
    let (answers, most) = (honest.end(), most());
    eprintln!("{done} seeds, {answers} right answers to others, {} connections", server.accepted());
    assert!(answers > 100, "{answers}");
    is_well(&process, (before, most), can);
}

#[test]
fn answers_that_break_the_protocol_reach_nobody_but_who_asked() {
    wrong_servers(true, FIRST, 5);
}

#[test]
fn answers_that_break_the_protocol_of_old_results_reach_nobody_but_who_asked() {
    wrong_servers(false, FIRST, 5);
}

/// A server that greets wrongly, or answers logins so, now and then and as long as `ill` says so.
fn sick(first: u64, ill: &Arc<AtomicBool>) -> ScriptedServer {
    let model = Model::default();
    let wrong = |is_greeting: bool, turn: usize| {
        let ill = ill.clone();
        move |connection: usize| {
            let is_wrong = connection % 4 == turn && ill.load(Ordering::Relaxed);
            is_wrong.then(|| replies::opening(first + connection as u64, is_greeting))
        }
    };
    let script = Script::new(move |command| model.answer(command)).extended(BULK);
    start(script.greets(wrong(true, 3)).admits(wrong(false, 1)), true)
}

/// Clients, and checks of servers, meet some that greet wrongly, and one that does not.
fn wrong_doors(first: u64, seconds: u64) {
    let ill = Arc::new(AtomicBool::new(true));
    let sick: Vec<_> = (0..4).map(|number| sick(first + 1_000_000 * number, &ill)).collect();
    let model = Model::default();
    let well = start(Script::new(move |command| model.answer(command)).extended(BULK), true);
    let addresses: Vec<_> = sick.iter().chain([&well]).map(ScriptedServer::addr).collect();
    // No connection is used twice.
    let process = front(&addresses, "", "max_idle = 0\n");
    let (address, can) = (process.listener("shop").unwrap(), capabilities(true));
    let (before, most) = (resident(process.pid()), watch(&process));
    let until = Deadline::seconds(seconds);
    let refused = AtomicU64::new(0);
    let done = each_seed(0..u64::MAX, until, |_| {
        let asked = wait::now();
        let served = Client::start(address, can, Kind::Bare).and_then(|mut client| client.ask());
        let took = wait::now() - asked;
        if let Err(error) = served {
            let error = format!("{error:#}");
            assert!(!error.contains("was told"), "{error}");
            eprintln!("refused: {error}");
            refused.fetch_add(1, Ordering::Relaxed);
        }
        assert!(took < PATIENCE, "{took:?}");
    });
    let (most, refused) = (most(), refused.into_inner());
    let met: usize = sick.iter().map(ScriptedServer::accepted).sum();
    eprintln!("{done} sessions, {refused} refused; {met} connections to servers that were sick");
    assert!(refused * 20 < done && met > 100, "{refused} of {done} were refused; {met}");
    ill.store(false, Ordering::Relaxed);
    is_well(&process, (before, most), can);
}

#[test]
fn servers_that_break_the_protocol_as_they_greet_harm_no_client_that_another_can_serve() {
    wrong_doors(1, 4);
}

#[test]
#[ignore = "soak: tens of thousands of seeds"]
fn clients_and_servers_that_break_the_protocol_harm_nobody_but_themselves_for_long() {
    let seeds: Vec<u64> = random::turn(SEEDS, A_DAY).collect();
    for (part, is_new) in seeds.chunks(seeds.len() / 2).zip([true, false]) {
        wrong_clients(is_new, part.iter().copied(), 600);
        wrong_servers(is_new, part.iter().copied(), 600);
    }
    wrong_doors(seeds[0], 300);
}
