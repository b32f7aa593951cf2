//! Statements that are told to end: while they are still being sent, over a connection that takes no more
//! of them, where the server does not obey, where its backend was renamed, and where nobody may say so.

#[path = "common/failure.rs"]
mod failure;
#[path = "client/raw.rs"]
mod raw;

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use failure::{BINARY, apply, ctl, toml};
use highgate_mysql::Capabilities;
use highgate_testkit::{HighgateProcess, Reply, Script, ScriptedServer, wait};
use raw::{Part, RawClient, USUAL};

/// More than sockets hold on the way.
const LONG: usize = 40 << 20;
/// What the network takes of one connection.
const TAKEN: usize = 1 << 20;
const BACKEND: &str = "monitor = { user = \"m\", password = \"m\", check = \"off\", fall = 1 }\n";

/// A network in front of `server` that takes [`TAKEN`] bytes of each connection and then no more.
/// Counts the connections that came so far.
fn narrow(server: SocketAddr) -> std::io::Result<(SocketAddr, Arc<AtomicUsize>)> {
    let door = TcpListener::bind("127.0.0.1:0")?;
    let address = door.local_addr()?;
    let stuck = Arc::new(AtomicUsize::new(0));
    let count = stuck.clone();
    thread::spawn(move || {
        for client in door.incoming().flatten() {
            let (count, Ok(server)) = (count.clone(), TcpStream::connect(server)) else { return };
            let back = (server.try_clone().unwrap(), client.try_clone().unwrap());
            thread::spawn(move || {
                let (mut server, mut client) = back;
                let _ = std::io::copy(&mut server, &mut client);
                let _ = client.shutdown(Shutdown::Both);
            });
            thread::spawn(move || pass(client, server, &count));
        }
    });
    Ok((address, stuck))
}

fn pass(mut client: TcpStream, mut server: TcpStream, stuck: &AtomicUsize) {
    let (mut bytes, mut taken) = (vec![0; 16 << 10], 0);
    while taken < TAKEN {
        match client.read(&mut bytes) {
            Ok(count @ 1..) if server.write_all(&bytes[..count]).is_ok() => taken += count,
            _ => {
                let _ = server.shutdown(Shutdown::Both);
                return;
            }
        }
    }
    stuck.fetch_add(1, Ordering::Relaxed);
    // As a network that is down: nothing comes through any more, and nothing ends.
    loop {
        thread::park();
    }
}

struct Bench {
    _server: ScriptedServer,
    process: HighgateProcess,
    stuck: Arc<AtomicUsize>,
}

fn bench(listener: &str) -> Bench {
    let script = Script::new(|command| match command.text() {
        text if text.starts_with("SELECT DEAF") => Reply::Hang,
        text if text.starts_with("SELECT") => Reply::value("n", "1"),
        // Autocommit is on, and a transaction open.
        text if text.starts_with("BEGIN") || text.starts_with("INSERT") => Reply::OkStatus(3),
        _ => Reply::Ok,
    });
    let server = ScriptedServer::start(script).unwrap();
    let (address, stuck) = narrow(server.addr()).unwrap();
    let process = HighgateProcess::start(BINARY, &toml(&[address], BACKEND, listener)).unwrap();
    Bench { _server: server, process, stuck }
}

impl Bench {
    fn client(&self) -> RawClient {
        let listener = self.process.listener("shop").unwrap();
        RawClient::connect(listener, "app", "app", None, USUAL).unwrap()
    }

    /// The long command is sent; not its answer.
    fn send_long(client: &mut RawClient) {
        let text = format!("\x03INSERT INTO t VALUES ('{}')", "x".repeat(LONG));
        client.send(text.as_bytes()).unwrap();
    }

    /// It ended as one that was interrupted, once, and nobody is blamed for it.
    fn was_interrupted(&self, client: &mut RawClient) {
        let answer = client.answer().unwrap();
        assert!(
            matches!(&answer[..], [Part::Err { code: 1317, text, .. }] if text.contains("not executed")),
            "{answer:?}"
        );
        assert_eq!(self.stuck.load(Ordering::Relaxed), 1, "sent once");
        let server = failure::server(&self.process, "db1").unwrap();
        assert_eq!(server.status, "up", "{server:?}");
        assert_eq!(client.value("SELECT 1").unwrap(), "1", "the session goes on");
    }
}

#[test]
fn a_command_that_times_out_while_it_is_sent_is_not_sent_again_and_costs_no_server() {
    let bench = bench("query_timeout = \"1s\"\n");
    let mut client = bench.client();
    Bench::send_long(&mut client);
    bench.was_interrupted(&mut client);
}

#[test]
fn a_command_that_is_killed_while_it_is_sent_is_not_sent_again_and_costs_no_server() {
    let bench = bench("");
    let (mut client, mut other) = (bench.client(), bench.client());
    Bench::send_long(&mut client);
    wait::eventually(wait::Deadline::seconds(10), "the network is full", || {
        anyhow::ensure!(bench.stuck.load(Ordering::Relaxed) == 1);
        Ok(())
    })
    .unwrap();
    other.ok(&format!("KILL QUERY {}", client.id)).unwrap();
    bench.was_interrupted(&mut client);
}

#[test]
fn a_transaction_whose_statement_was_cut_off_is_told_to_be_over() {
    let bench = bench("query_timeout = \"1s\"\n");
    for cut_off in [true, false] {
        let mut client = bench.client();
        client.ok("BEGIN").unwrap();
        client.ok("INSERT INTO t VALUES (1)").unwrap();
        let answer = if cut_off {
            Bench::send_long(&mut client);
            client.answer().unwrap()
        } else {
            client.query("SELECT DEAF").unwrap()
        };
        assert!(
            matches!(&answer[..], [Part::Err { code: 1213, text, .. }] if text.contains("rolled back")),
            "{answer:?}"
        );
        let Part::Ok { status, .. } = client.ok("DO 1").unwrap() else { panic!() };
        assert!(!status.contains(highgate_mysql::StatusFlags::IN_TRANS), "{status:?}");
    }
}

/// What was being done for a killed session on its connection is answered later: to nobody else.
#[test]
fn a_connection_whose_preparation_was_killed_is_given_to_nobody() {
    let script = Script::new(|command| match command.text() {
        // Set by the first session, and taken back for the next.
        text if text.contains("time_zone") && !text.contains("+01:00") => Reply::Hang,
        text if text.starts_with("SELECT") => Reply::value("n", "1"),
        _ => Reply::Ok,
    });
    let server = ScriptedServer::start(script).unwrap();
    let text = toml(&[server.addr()], BACKEND, "") + "max_connections = 1\n";
    let process = HighgateProcess::start(BINARY, &text).unwrap();
    let listener = process.listener("shop").unwrap();
    let client = || RawClient::connect(listener, "app", "app", None, USUAL).unwrap();
    let (mut first, mut victim, mut other) = (client(), client(), client());
    first.ok("SET time_zone = '+01:00'").unwrap();
    victim.send(b"\x03SELECT n FROM t").unwrap();
    wait::eventually(wait::Deadline::seconds(10), "the time zone to be taken back", || {
        let taken_back = |text: &String| text.contains("time_zone") && !text.contains("+01:00");
        anyhow::ensure!(server.queries().iter().any(taken_back), "{:?}", server.queries());
        Ok(())
    })
    .unwrap();
    let before = server.accepted();
    other.ok(&format!("KILL QUERY {}", victim.id)).unwrap();
    assert_eq!(victim.answer().unwrap()[0].error(), Some(1317));
    assert_eq!(other.value("SELECT n FROM t").unwrap(), "1");
    assert_eq!(victim.value("SELECT n FROM t").unwrap(), "1");
    assert!(server.accepted() > before, "over another connection");
}

/// libmariadb takes the codes of client libraries for malformed packets where a server sends them.
#[test]
fn the_stock_client_can_read_that_an_outcome_is_unknown() {
    let script = Script::new(|command| match command.text() {
        text if text.starts_with("INSERT") => Reply::Close,
        text if text.starts_with("SELECT") => Reply::value("n", "1"),
        _ => Reply::Ok,
    });
    let server = ScriptedServer::start(script).unwrap();
    let process = HighgateProcess::start(BINARY, &toml(&[server.addr()], BACKEND, "")).unwrap();
    let listener = process.listener("shop").unwrap();
    for more in ["--skip-compress", "--compress"] {
        let mut client = std::process::Command::new("mariadb");
        client.args(["--no-defaults", "--protocol=tcp", "-uapp", "-papp", "-h127.0.0.1", more]);
        client.args([&format!("-P{}", listener.port()), "-e", "INSERT INTO t VALUES (1)"]);
        let Ok(output) = client.output() else {
            return eprintln!("skipped: the client of MariaDB is not installed");
        };
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(told.contains("ERROR 1158 (08007)") && told.contains("not known"), "{told}");
    }
}

/// It reached a server with a number of Highgate's, which there is somebody else's connection.
#[test]
fn a_kill_behind_a_character_that_ends_in_a_backslash_reaches_no_server() {
    let server = ScriptedServer::start(Script::new(|command| match command.text() {
        text if text.starts_with("SELECT @@") => Reply::variables(&text),
        _ => Reply::Ok,
    }));
    let server = server.unwrap();
    let process = HighgateProcess::start(BINARY, &toml(&[server.addr()], BACKEND, "")).unwrap();
    let listener = process.listener("shop").unwrap();
    let several = USUAL | Capabilities::MULTI_STATEMENTS;
    let connect = || RawClient::connect(listener, "app", "app", None, several).unwrap();
    let refused = |client: &mut RawClient, text: &[u8]| {
        let answer = client.query(text).unwrap();
        assert!(
            matches!(&answer[..], [Part::Err { code: 1235, text, .. }] if text.contains("in two ways")),
            "{answer:?}"
        );
    };
    let mut client = connect();
    client.ok("SET NAMES gbk").unwrap();
    refused(&mut client, b"SELECT '\xbf\\'; KILL 7 -- '");
    client.query(b"SELECT '\xd6\xd0', 'Kill Bill'").unwrap();
    refused(&mut connect(), b"SET NAMES gbk; SELECT '\xbf\\'; KILL 7 -- '");
    let commands = server.commands();
    let kills = commands.iter().filter(|command| command.text().contains("KILL"));
    assert_eq!(kills.count(), 0);
    assert!(commands.iter().any(|command| command.text().contains("Kill Bill")));
}

/// The wait for the answer to Highgate's own question was broken off, and the answer was taken for that of the
/// session's next command.
#[test]
fn a_kill_query_of_a_session_that_is_asked_for_its_insert_id_is_of_no_consequence() {
    let is_held = Arc::new(AtomicBool::new(true));
    let holds = is_held.clone();
    let script = Script::new(move |command| match command.text() {
        text if text.starts_with("SELECT LAST_INSERT_ID") => {
            let is_let_go = || !holds.load(Ordering::Acquire);
            assert!(wait::wait_until(wait::Deadline::seconds(20), is_let_go));
            Reply::value("LAST_INSERT_ID()", "7")
        }
        text if text.starts_with("SELECT 'x") => Reply::value("x", text.trim_matches(|c| c != 'x')),
        _ => Reply::Ok,
    });
    let server = ScriptedServer::start(script).unwrap();
    let process = HighgateProcess::start(BINARY, &toml(&[server.addr()], BACKEND, "")).unwrap();
    let listener = process.listener("shop").unwrap();
    let connect = || RawClient::connect(listener, "app", "app", None, USUAL).unwrap();
    let (mut loader, mut other) = (connect(), connect());
    let number = loader.value("SELECT CONNECTION_ID()").unwrap();
    loader.ok("LOAD DATA INFILE 'f' INTO TABLE t").unwrap();
    let is_asked = || server.queries().iter().any(|text| text.starts_with("SELECT LAST_INSERT_ID"));
    assert!(wait::wait_until(wait::Deadline::seconds(20), is_asked));
    other.ok(&format!("KILL QUERY {number}")).unwrap();
    loader.send(b"\x03SELECT 'x'").unwrap();
    is_held.store(false, Ordering::Release);
    let answer = loader.answer().unwrap();
    assert_eq!(answer[0].texts(), [[Some("x".to_owned())]]);
    assert_eq!(loader.value("SELECT LAST_INSERT_ID()").unwrap(), "7");
    assert_eq!(server.queries().iter().filter(|text| text.contains("LAST_INSERT_ID")).count(), 1);
}

/// Runs what says SLEEP until it is killed.
fn sleeps() -> ScriptedServer {
    let script = Script::new(|command| match command.text() {
        text if text.starts_with("SELECT SLEEP") => Reply::UntilKilled,
        text if text.starts_with("SELECT") => Reply::value("n", "1"),
        text if text.starts_with("BEGIN") => Reply::OkStatus(3),
        _ => Reply::Ok,
    });
    ScriptedServer::start(script).unwrap()
}

fn until_query(server: &ScriptedServer, begin: &str) {
    wait::eventually(wait::Deadline::seconds(10), begin, || {
        let queries = server.queries();
        anyhow::ensure!(queries.iter().any(|text| text.starts_with(begin)), "{queries:?}");
        Ok(())
    })
    .unwrap();
}

/// Nothing was done under the name of before, every five seconds: it ran as long as it liked, with its locks.
#[test]
fn a_statement_is_ended_on_its_server_whatever_its_backend_is_called_meanwhile() {
    let server = sleeps();
    let text = toml(&[server.addr()], BACKEND, "");
    let process = HighgateProcess::start(BINARY, &text).unwrap();
    let listener = process.listener("shop").unwrap();
    let connect = || RawClient::connect(listener, "app", "app", None, USUAL).unwrap();
    let (mut client, mut leaves) = (connect(), connect());
    for client in [&mut client, &mut leaves] {
        client.ok("BEGIN").unwrap();
        client.send(b"\x03SELECT SLEEP(1000)").unwrap();
    }
    wait::eventually(wait::Deadline::seconds(10), "both to run", || {
        let queries = server.queries();
        let run = queries.iter().filter(|text| text.starts_with("SELECT SLEEP")).count();
        anyhow::ensure!(run == 2, "{queries:?}");
        Ok(())
    })
    .unwrap();
    let renamed = text
        .replace("backend = \"shop\"", "backend = \"store\"")
        .replace("[[backend]]\nname = \"shop\"", "[[backend]]\nname = \"store\"");
    std::fs::write(process.config_file(), renamed).unwrap();
    let (is_done, told) = apply(&process, &[], &process.config_file());
    assert!(is_done, "{told}");
    connect().ok(&format!("KILL QUERY {}", client.id)).unwrap();
    let answer = client.answer().unwrap();
    let Part::Err { code: 1317, text, .. } = &answer[0] else { panic!("{answer:?}") };
    assert!(!text.contains("did not confirm"), "{text}");
    client.ok("COMMIT").unwrap();
    drop(leaves);
    until_query(&server, "KILL CONNECTION");
}

/// Its password is the client's alone. It ran on, and an event said every five seconds that it was ended.
#[test]
fn a_statement_that_nobody_may_end_costs_its_connection_five_seconds_after_its_time() {
    let server = sleeps();
    let listener = "auth = \"passthrough\"\nquery_timeout = \"1s\"\n";
    let process =
        HighgateProcess::start(BINARY, &toml(&[server.addr()], BACKEND, listener)).unwrap();
    let listener = process.listener("shop").unwrap();
    let connect = || RawClient::connect(listener, "app", "app", None, USUAL).unwrap();
    let (mut first, mut changed) = (connect(), connect());
    let answer = changed.command(b"\x11app\0\0\0\x2d\0mysql_native_password\0").unwrap();
    assert_eq!(answer[0].error(), None, "{answer:?}");
    for client in [&mut first, &mut changed] {
        client.send(b"\x03SELECT SLEEP(1000)").unwrap();
    }
    let began = wait::now();
    for client in [&mut first, &mut changed] {
        let answer = client.answer().unwrap();
        assert!(
            matches!(&answer[..], [Part::Err { code: 1317, text, .. }] if text.contains("did not confirm")),
            "{answer:?}"
        );
        assert!(client.query("SELECT 1").is_err(), "its connection was its session's");
    }
    let took = wait::now() - began;
    assert!(took > Duration::from_millis(5900) && took < Duration::from_secs(12), "{took:?}");
    assert_eq!(server.accepted(), 3, "nobody logged in without the password");
    let events = ctl(&process, &["events", "--last", "50"]).unwrap();
    assert!(events.contains("nobody here has its password"), "{events}");
    let listeners = failure::table(&process, "listeners").unwrap();
    assert_eq!(listeners[0]["timed_out_statements"], 2, "{listeners:?}");
}

/// The server was blamed for it, and so was the next one that was asked.
#[test]
fn a_kill_that_comes_while_a_connection_is_opened_is_held_against_no_server() {
    let (begun, go) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let (is_begun, may_go) = (begun.clone(), go.clone());
    let script = Script::new(move |command| match command.text() {
        text if text.starts_with("SET SESSION session_track") => {
            is_begun.store(true, Ordering::Relaxed);
            let until = wait::Deadline::seconds(10);
            assert!(wait::wait_until(until, || may_go.load(Ordering::Relaxed)));
            Reply::Ok
        }
        text if text.starts_with("SELECT") => Reply::value("n", "1"),
        _ => Reply::Ok,
    });
    let server = ScriptedServer::start(script).unwrap();
    let process = HighgateProcess::start(BINARY, &toml(&[server.addr()], BACKEND, "")).unwrap();
    let listener = process.listener("shop").unwrap();
    let connect = || RawClient::connect(listener, "app", "app", None, USUAL).unwrap();
    let (mut client, mut other) = (connect(), connect());
    client.send(b"\x03SELECT n FROM t").unwrap();
    assert!(wait::wait_until(wait::Deadline::seconds(10), || begun.load(Ordering::Relaxed)));
    other.ok(&format!("KILL QUERY {}", client.id)).unwrap();
    let told = || ctl(&process, &["events", "--last", "20"]).unwrap();
    assert!(wait::wait_until(wait::Deadline::seconds(10), || told().contains("was told to end")));
    go.store(true, Ordering::Relaxed);
    let _ = client.answer().unwrap();
    assert_eq!(client.value("SELECT n FROM t").unwrap(), "1", "the session goes on");
    let row = &failure::table(&process, "servers").unwrap()[0];
    assert_eq!((&row["connect_errors"], &row["last_error"]), (&0.into(), &().into()), "{row}");
}
