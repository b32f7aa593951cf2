//! What becomes of a lease: when its server ends it, when it is of no use to who waits for it, and what
//! is left on it by statements that nobody uses any more.

#[path = "common/failure.rs"]
mod failure;
#[path = "client/raw.rs"]
mod raw;

use std::{
    collections::BTreeSet,
    net::{Shutdown, SocketAddr, TcpStream},
    sync::{
        Arc, Barrier,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
};

use failure::{BINARY, ctl, table, toml};
use highgate_mysql::command::{COM_FIELD_LIST, COM_STMT_CLOSE, COM_STMT_EXECUTE, COM_STMT_PREPARE};
use highgate_testkit::{
    HighgateProcess, Reply, Script, ScriptedServer,
    scripted::{Command, wire},
    wait::{self, Deadline},
};
use mysql_async::{ChangeUserOpts, prelude::Queryable as _};
use raw::{Part, RawClient, USUAL, about, execute};

const BACKEND: &str = "queue_timeout = \"20s\"\nmonitor = { check = \"off\" }\n";

/// What every server does besides what a test is about.
fn usual(command: &Command) -> Reply {
    match command.text().as_str() {
        text if text.starts_with("SELECT @@") => Reply::variables(text),
        text if text.starts_with("SELECT") => Reply::value("n", "1"),
        // Autocommit is on, and a transaction open.
        "BEGIN" => Reply::OkStatus(3),
        _ => Reply::OkStatus(2),
    }
}

fn front(servers: &[SocketAddr], server: &str) -> HighgateProcess {
    HighgateProcess::start(BINARY, &(toml(servers, BACKEND, "") + server)).unwrap()
}

fn client(process: &HighgateProcess) -> RawClient {
    let listener = process.listener("shop").unwrap();
    RawClient::connect(listener, "app", "app", None, USUAL).unwrap()
}

fn until_queued(process: &HighgateProcess, count: u64) {
    wait::eventually(Deadline::seconds(10), "commands to wait", || {
        let rows = table(process, "servers")?;
        let queued = rows.first().and_then(|row| row["queued"].as_u64());
        anyhow::ensure!(queued == Some(count), "{queued:?}");
        Ok(())
    })
    .unwrap();
}

/// The connection that a command with that text came on.
fn connection_of(server: &ScriptedServer, text: &str) -> Option<usize> {
    let commands = server.commands();
    commands.iter().find(|command| command.text() == text).map(|command| command.connection)
}

/// It lived on, bound to a connection that was gone: each of its commands took and closed eight others,
/// and only a PING went well, so that no pool of connections noticed.
#[test]
fn a_session_whose_server_ends_its_connection_ends_where_it_lost_more_than_a_transaction() {
    let script = Script::new(|command| match command.text().as_str() {
        text if text.contains("killed") => {
            let error = Reply::Err(1927, "70100", "Connection was killed".to_owned());
            Reply::CloseAfter(1000, Box::new(error))
        }
        _ => usual(command),
    });
    let server = ScriptedServer::start(script).unwrap();
    let process = front(&[server.addr()], "");
    let mut other = client(&process);
    for bound in ["CREATE TEMPORARY TABLE own (a INT)", "SELECT GET_LOCK('a', 1)"] {
        let mut session = client(&process);
        session.ok(bound).unwrap();
        let opened = server.accepted();
        let told = session.query("UPDATE t SET a = 'killed'").unwrap();
        assert_eq!(told[0].error(), Some(1927), "{told:?}");
        assert!(session.command(&[0x0e]).is_err(), "it has ended");
        assert_eq!(other.value("SELECT n FROM t").unwrap(), "1");
        assert!(server.accepted() <= opened + 1, "{} opened", server.accepted() - opened);
    }
    let mut session = client(&process);
    session.ok("BEGIN").unwrap();
    let told = session.query("UPDATE t SET a = 'killed'").unwrap();
    assert_eq!(told[0].error(), Some(1927), "{told:?}");
    let Part::Ok { status, .. } = session.ok("INSERT INTO t VALUES (1)").unwrap() else { panic!() };
    assert!(!status.contains(highgate_mysql::StatusFlags::IN_TRANS), "{status:?}");
}

/// Who waited got it, and made tables of a charset that the schema has no more.
#[test]
fn a_connection_that_nobody_is_to_use_again_is_not_given_to_who_waits() {
    let queued = Arc::new(Barrier::new(2));
    let go = queued.clone();
    let script = Script::new(move |command| {
        if command.text().starts_with("ALTER DATABASE") {
            go.wait();
        }
        usual(command)
    });
    let server = ScriptedServer::start(script).unwrap();
    let process = front(&[server.addr()], "max_connections = 1\n");
    let (mut first, mut second) = (client(&process), client(&process));
    let alter = "ALTER DATABASE shop CHARACTER SET latin2";
    first.send(&[b"\x03", alter.as_bytes()].concat()).unwrap();
    assert!(wait::wait_until(Deadline::seconds(10), || connection_of(&server, alter).is_some()));
    second.send(b"\x03INSERT INTO t VALUES (2)").unwrap();
    until_queued(&process, 1);
    queued.wait();
    assert_eq!(first.answer().unwrap()[0].error(), None);
    assert_eq!(second.answer().unwrap()[0].error(), None);
    let new = connection_of(&server, "INSERT INTO t VALUES (2)");
    assert_ne!(new, connection_of(&server, alter), "the old connection");
}

/// The kill hit the command behind it as well.
#[test]
fn a_kill_of_a_command_that_waits_for_a_connection_leaves_the_next_one_alone() {
    let server = ScriptedServer::start(Script::new(usual)).unwrap();
    let process = front(&[server.addr()], "max_connections = 1\n");
    let (mut holder, mut victim, mut other) =
        (client(&process), client(&process), client(&process));
    holder.ok("BEGIN").unwrap();
    let mut both = Vec::new();
    for text in ["SELECT n FROM killed", "SELECT n FROM spared"] {
        let payload = [b"\x03", text.as_bytes()].concat();
        highgate_mysql::packet::PacketWriter::new(&mut both, 0).payload(&payload);
    }
    victim.send_raw(&both).unwrap();
    until_queued(&process, 1);
    other.ok(&format!("KILL QUERY {}", victim.id)).unwrap();
    assert_eq!(victim.answer().unwrap()[0].error(), Some(1317));
    until_queued(&process, 1);
    holder.ok("COMMIT").unwrap();
    let spared = victim.answer().unwrap();
    assert!(matches!(&spared[..], [Part::Rows { rows, .. }] if rows.len() == 1), "{spared:?}");
    assert_eq!(connection_of(&server, "SELECT n FROM killed"), None, "it never ran");
}

/// An application that gave up and tried again had both carried out, and dead commands filled the queue.
#[test]
fn a_client_that_leaves_while_its_command_waits_has_nothing_carried_out() {
    let server = ScriptedServer::start(Script::new(usual)).unwrap();
    let process = front(&[server.addr()], "max_connections = 1\n");
    let (mut holder, mut gone) = (client(&process), client(&process));
    holder.ok("BEGIN").unwrap();
    gone.send(b"\x03INSERT INTO t VALUES ('gone')").unwrap();
    until_queued(&process, 1);
    drop(gone);
    until_queued(&process, 0);
    holder.ok("COMMIT").unwrap();
    holder.ok("INSERT INTO t VALUES ('next')").unwrap();
    assert_eq!(connection_of(&server, "INSERT INTO t VALUES ('gone')"), None);
}

/// Where it named a schema, which a server is asked for: its command was noticed to be gone, its login was not.
#[test]
fn a_client_that_leaves_while_its_login_waits_frees_its_place_and_has_nothing_carried_out() {
    let server = ScriptedServer::start(Script::new(usual)).unwrap();
    let text = toml(&[server.addr()], BACKEND, "max_connections = 2\n") + "max_connections = 1\n";
    let process = HighgateProcess::start(BINARY, &text).unwrap();
    let mut holder = client(&process);
    holder.ok("BEGIN").unwrap();
    let stream = TcpStream::connect(process.listener("shop").unwrap()).unwrap();
    let leaves = stream.try_clone().unwrap();
    std::thread::scope(|scope| {
        let login = scope.spawn(|| RawClient::over(stream, "app", "app", Some("gone"), USUAL));
        until_queued(&process, 1);
        leaves.shutdown(Shutdown::Both).unwrap();
        assert!(login.join().unwrap().is_err(), "it never came in");
    });
    until_queued(&process, 0);
    let listener = process.listener("shop").unwrap();
    let mut next = wait::eventually(Deadline::seconds(10), "its place among clients", || {
        RawClient::connect(listener, "app", "app", None, USUAL)
    })
    .unwrap();
    holder.ok("COMMIT").unwrap();
    next.ok("INSERT INTO t VALUES ('next')").unwrap();
    holder.ok("INSERT INTO t VALUES ('holder')").unwrap();
    assert!(!server.commands().iter().any(|command| command.text().contains("gone")));
}

/// Any account may send one, with any number: it went to one server after the other.
/// They waited on where they had begun, to the end of `queue_timeout`, while the new primary was idle; or got the
/// place of who was let go there, and wrote to a server in maintenance.
#[test]
fn who_waits_for_a_connection_goes_elsewhere_when_its_server_takes_no_more_commands() {
    for (how, is_let_go) in [("drain", false), ("maintenance", true)] {
        let [first, second] = [(), ()].map(|()| ScriptedServer::start(Script::new(usual)).unwrap());
        let each = "[[backend.server]]\n";
        let text = toml(&[first.addr(), second.addr()], BACKEND, "");
        let text = text.replace(each, &format!("{each}max_connections = 1\n"));
        let process = HighgateProcess::start(BINARY, &text).unwrap();
        let ctl = |words: &[&str]| ctl(&process, words).unwrap();
        for _ in 0..5 {
            ctl(&["drain", "shop/db2"]);
            let mut holds = client(&process);
            holds.ok("BEGIN").unwrap();
            let waiters: Vec<_> = (0..6)
                .map(|_| {
                    let mut waits = client(&process);
                    std::thread::spawn(move || waits.value("SELECT n FROM t").unwrap())
                })
                .collect();
            until_queued(&process, 6);
            ctl(&["enable", "shop/db2"]);
            ctl(&[how, "shop/db1"]);
            for waiter in waiters {
                assert_eq!(waiter.join().unwrap(), "1");
            }
            let told = holds.query("COMMIT").unwrap()[0].error();
            assert_eq!(told, Some(1213).filter(|_| is_let_go), "{how}");
            assert!(connection_of(&first, "SELECT n FROM t").is_none(), "{how}");
            ctl(&["enable", "shop/db1"]);
        }
    }
}

#[test]
fn a_signal_that_speaks_as_a_server_does_is_sent_once() {
    let errors = [(1047, "08S01", "WSREP has not yet"), (1290, "HY000", "--read-only option")];
    for (code, sqlstate, text) in errors {
        let script = move || {
            Script::new(move |command| match command.text() {
                sent if sent.contains("SIGNAL") => Reply::Err(code, sqlstate, text.to_owned()),
                _ => usual(command),
            })
        };
        let servers = [(); 2].map(|()| ScriptedServer::start(script()).unwrap());
        let process = front(&servers.each_ref().map(ScriptedServer::addr), "");
        let mut client = client(&process);
        // So that it is known whose dialect they speak.
        client.ok("SELECT n FROM t").unwrap();
        let signal = format!("SIGNAL SQLSTATE '{sqlstate}' SET MYSQL_ERRNO = {code}");
        let told = client.query(&signal).unwrap();
        assert_eq!(told[0].error(), Some(code), "{told:?}");
        let sent = servers.iter().flat_map(ScriptedServer::queries);
        assert_eq!(sent.filter(|text| *text == signal).count(), 1, "{code}");
    }
}

/// Each preparation left one more at the server, which has room for 16,382 of all its clients.
#[test]
fn a_text_that_is_prepared_again_and_again_leaves_few_statements_at_its_server() {
    const TIMES: usize = 200;
    let numbers = AtomicU32::new(0);
    let script = Script::new(move |command| match command.code {
        COM_STMT_PREPARE => {
            let number = numbers.fetch_add(1, Ordering::Relaxed) + 1;
            Reply::Packets(vec![[&[0][..], &number.to_le_bytes(), &[0; 7]].concat()])
        }
        COM_STMT_CLOSE => Reply::Bytes(Vec::new()),
        _ => usual(command),
    });
    let server = ScriptedServer::start(script).unwrap();
    let process = front(&[server.addr()], "");
    let mut client = client(&process);
    for _ in 0..TIMES {
        let Part::Prepared { id, .. } = client.prepare("DELETE FROM t").unwrap() else { panic!() };
        client.command(&execute(id, 0, &[], false)).unwrap();
        client.send(&about(COM_STMT_CLOSE, id)).unwrap();
    }
    let (mut prepared, mut closed) = (0, BTreeSet::new());
    for command in server.commands() {
        let number = || command.body.first_chunk().map(|bytes| u32::from_le_bytes(*bytes)).unwrap();
        match command.code {
            COM_STMT_PREPARE => prepared += 1,
            COM_STMT_EXECUTE => assert!(!closed.contains(&number()), "closed before"),
            COM_STMT_CLOSE => assert!(closed.insert(number()), "closed twice"),
            _ => {}
        }
    }
    assert_eq!(prepared, TIMES);
    assert!(prepared - closed.len() < 20, "{} are left", prepared - closed.len());
}

/// Such a session was never woken again, not even by its client's end: with it stayed its locks.
#[test]
fn a_command_that_comes_in_pieces_behind_another_one_leaves_its_session_awake() {
    let gate = Arc::new(Barrier::new(2));
    let turn = gate.clone();
    let script = Script::new(move |command| {
        if command.text() == "SELECT slow" {
            turn.wait();
        }
        usual(command)
    });
    let server = ScriptedServer::start(script).unwrap();
    let process = front(&[server.addr()], "");
    let mut client = client(&process);
    let long = wire::frame(0, format!("\x03SELECT '{}'", "x".repeat(3000)).as_bytes());
    let (begins, rest) = long.split_at(1000);
    for _ in 0..20 {
        client.send_raw(&[&wire::frame(0, b"\x03SELECT slow"), begins].concat()).unwrap();
        gate.wait();
        assert_eq!(client.answer().unwrap().len(), 1);
        client.send_raw(rest).unwrap();
        assert_eq!(client.answer().unwrap().len(), 1);
        assert_eq!(client.value("SELECT n").unwrap(), "1");
    }
}

/// It was sent to a server that was known to be gone, and its outcome then told as unknown.
#[test]
fn a_write_behind_the_end_of_a_held_connection_is_told_as_not_carried_out() {
    let server = ScriptedServer::start(Script::new(usual)).unwrap();
    let process = front(&[server.addr()], "");
    let mut client = client(&process);
    client.ok("CREATE TEMPORARY TABLE kept (a INT)").unwrap();
    server.close_all();
    let told = client.query("INSERT INTO t VALUES (1)").unwrap();
    assert_eq!(told[0].error(), Some(1927), "{told:?}");
    assert!(format!("{told:?}").contains("nothing was executed"), "{told:?}");
    assert!(client.query("SELECT n").is_err(), "the session ends: its table is gone");
    let events = table(&process, "events").unwrap();
    assert!(!events.iter().any(|event| event["kind"] == "outcome_unknown"), "{events:#?}");
}

/// It ended there and then, though nobody had asked for the id; or its next command was answered with that error.
#[test]
fn a_session_whose_insert_id_cannot_be_asked_for_goes_on_and_ends_if_it_asks_for_it() {
    let refusal = Reply::Err(1226, "42000", "User 'app' has exceeded".to_owned());
    for question in [Reply::Close, refusal] {
        let script = Script::new(move |command| match command.text().as_str() {
            text if text.starts_with("SELECT LAST_INSERT_ID()") => question.clone(),
            text if text.ends_with("RETURNING n") => Reply::value("n", "1"),
            // With an insert id of 7.
            text if text.starts_with("INSERT") => Reply::Packets(vec![vec![0, 1, 7, 2, 0, 0, 0]]),
            _ => usual(command),
        });
        let server = ScriptedServer::start(script).unwrap();
        let process = front(&[server.addr()], "");
        let (mut asks, mut inserts) = (client(&process), client(&process));
        let mut calls = client(&process);
        for client in [&mut asks, &mut inserts, &mut calls] {
            client.ok("INSERT INTO t VALUES (1) RETURNING n").unwrap();
            assert_eq!(client.value("SELECT n FROM t").unwrap(), "1");
        }
        inserts.ok("INSERT INTO t VALUES (1)").unwrap();
        assert_eq!(inserts.value("SELECT LAST_INSERT_ID()").unwrap(), "7");
        assert_eq!(asks.query("SELECT LAST_INSERT_ID() + 1").unwrap()[0].error(), Some(1927));
        assert!(asks.query("SELECT n FROM t").is_err());
        assert_eq!(calls.query("CALL p()").unwrap()[0].error(), Some(1927), "it might ask");
        process.wait_for_log("the LAST_INSERT_ID() of a session is lost").unwrap();
    }
}

/// Pools of connections test by one what they lend: it was answered with OK, and the next command with 1927.
#[test]
fn a_ping_tells_that_the_connection_has_ended_which_its_session_was_bound_to() {
    const COM_PING: &[u8] = &[0x0e];
    let server = ScriptedServer::start(Script::new(usual)).unwrap();
    let process = front(&[server.addr()], "");
    let (mut bound, mut free) = (client(&process), client(&process));
    bound.ok("CREATE TEMPORARY TABLE kept (a INT)").unwrap();
    free.ok("INSERT INTO t VALUES (1)").unwrap();
    assert_eq!(bound.command(COM_PING).unwrap()[0].error(), None);
    server.close_all();
    assert_eq!(free.command(COM_PING).unwrap()[0].error(), None, "it has lost nothing");
    let told = bound.command(COM_PING).unwrap();
    assert_eq!(told[0].error(), Some(1927), "{told:?}");
    assert!(bound.command(COM_PING).is_err(), "the session ends: its table is gone");
    assert_eq!(server.commands().iter().filter(|it| it.code == COM_PING[0]).count(), 0);
}

/// Its text was thrown away before it was looked at: `LOCK TABLES` bound a session to its end, as a backup
/// lock does.
#[test]
fn a_session_that_locked_tables_leaves_its_connection_when_it_unlocks_them() {
    let server = ScriptedServer::start(Script::new(usual)).unwrap();
    let process = front(&[server.addr()], "");
    let mut client = client(&process);
    let is_pinned = |by: &str| {
        wait::eventually(Deadline::seconds(10), "the session's pins", || {
            let rows = table(&process, "sessions")?;
            let pins = rows.first().and_then(|row| row["pinned_by"].as_str()).unwrap_or_default();
            anyhow::ensure!(pins == by, "`{pins}`, not `{by}`");
            Ok(())
        })
        .unwrap();
    };
    for (locks, pin, unlocks) in [
        ("LOCK TABLES t WRITE", "locked_tables", "UNLOCK TABLES"),
        ("FLUSH TABLES WITH READ LOCK", "global_read_lock", "UNLOCK TABLES"),
        ("LOCK TABLES t READ", "locked_tables", "UNLOCK /* all of them */ TABLES"),
    ] {
        client.ok(locks).unwrap();
        is_pinned(pin);
        client.ok(unlocks).unwrap();
        is_pinned("");
    }
}

/// MariaDB 10.11 says nothing to it behind a SELECT with common table expressions: the session waited, and so
/// did each of its later commands.
#[test]
fn the_fields_of_a_table_in_no_schema_are_refused_without_a_server() {
    let server = ScriptedServer::start(Script::new(|command| match command.code {
        COM_FIELD_LIST => Reply::Hang,
        _ => usual(command),
    }))
    .unwrap();
    let process = front(&[server.addr()], "");
    let mut client = client(&process);
    client.ok("SELECT n FROM t").unwrap();
    let answer = client.command(&[&[COM_FIELD_LIST][..], b"t\0"].concat()).unwrap();
    assert_eq!(answer[0].error(), Some(1046), "{answer:?}");
    client.ok("SELECT n FROM t").unwrap();
}

/// Only those of its own backend were: the session waited until it was refused.
#[test]
fn an_idle_connection_of_another_backend_is_given_up_at_a_server_that_takes_no_more() {
    let has_room = Arc::new(AtomicBool::new(true));
    let takes = has_room.clone();
    let full = || Reply::Err(1040, "08004", "Too many connections".to_owned());
    let script =
        Script::new(usual).greets(move |_| (!takes.swap(false, Ordering::Relaxed)).then(full));
    let server = ScriptedServer::start(script).unwrap();
    let address = server.addr();
    let depot = format!(
        "[[listener]]\nname = \"depot\"\nbind = \"127.0.0.1:0\"\nmode = \"mysql\"\nbackend = \"depot\"\n\
         [[backend]]\nname = \"depot\"\n{BACKEND}[[backend.server]]\nname = \"db9\"\naddress = \"{address}\"\n"
    );
    let process = front(&[address], &depot);
    let depot = process.listener("depot").unwrap();
    RawClient::connect(depot, "app", "app", None, USUAL).unwrap().ok("SELECT n FROM t").unwrap();
    let mut client = client(&process);
    std::thread::scope(|scope| {
        let asks = scope.spawn(|| client.value("SELECT n FROM t"));
        wait::eventually(Deadline::seconds(10), "the idle connection to be closed", || {
            let rows = table(&process, "servers")?;
            let row = rows.iter().find(|row| row["backend"] == "depot");
            let open = row.and_then(|row| row["opened"].as_u64());
            anyhow::ensure!(open == Some(0), "{rows:#?}");
            Ok(())
        })
        .unwrap();
        has_room.store(true, Ordering::Relaxed);
        assert_eq!(asks.join().unwrap().unwrap(), "1");
    });
}

/// Each command, and each login with a schema, waited for the first one's only connection.
#[test]
fn a_server_whose_connections_are_all_in_use_is_passed_over_while_another_has_room() {
    let start = || ScriptedServer::start(Script::new(usual)).unwrap();
    let (full, free) = (start(), start());
    for balance in ["first", "round-robin", "least-connections"] {
        let text = toml(&[full.addr(), free.addr()], BACKEND, "")
            .replace(
                "check = \"off\" }\n",
                &format!("check = \"off\" }}\nbalance = \"{balance}\"\n"),
            )
            .replacen("[[backend.server]]\n", "[[backend.server]]\nmax_connections = 1\n", 1);
        let process = HighgateProcess::start(BINARY, &text).unwrap();
        // Sessions that keep theirs, until the first server has none left.
        let mut keep: Vec<RawClient> = Vec::new();
        let is_full = || {
            let rows = table(&process, "servers").unwrap();
            rows[0]["leased"].as_u64() == Some(1)
        };
        while !is_full() {
            let mut one = client(&process);
            one.ok("BEGIN").unwrap();
            keep.push(one);
        }
        let before = full.commands().len();
        let mut other = client(&process);
        for _ in 0..6 {
            assert_eq!(other.value("SELECT n FROM t").unwrap(), "1", "{balance}");
        }
        assert_eq!(full.commands().len(), before, "{balance}: at the one with room");
    }
}

/// Nothing was left of the time to wait, which stood for no bound at all.
#[test]
fn who_may_not_wait_for_a_connection_is_refused_and_does_not_wait_for_ever() {
    let server = ScriptedServer::start(Script::new(usual)).unwrap();
    let text = toml(&[server.addr()], &BACKEND.replace("20s", "0s"), "") + "max_connections = 1\n";
    let process = HighgateProcess::start(BINARY, &text).unwrap();
    let (mut keeps, mut comes) = (client(&process), client(&process));
    keeps.ok("BEGIN").unwrap();
    assert_eq!(comes.query("SELECT n FROM t").unwrap()[0].error(), Some(1040));
    keeps.ok("COMMIT").unwrap();
    assert_eq!(comes.value("SELECT n FROM t").unwrap(), "1");
}

/// A front with the account `other`, before a server that does `reset` where it is to reset a connection.
fn changes(reset: impl Fn() -> Reply + Send + Sync + 'static) -> (ScriptedServer, HighgateProcess) {
    const RESET: u8 = 0x1f;
    let answer = move |command: &Command| match command.code {
        RESET => reset(),
        _ if command.text().starts_with("INSERT") => Reply::OkStatus(3),
        _ => usual(command),
    };
    let server = ScriptedServer::start(Script::new(answer)).unwrap();
    let text = toml(&[server.addr()], BACKEND, "handshake_timeout = \"1s\"\n")
        + "[[user]]\nname = \"other\"\npassword = \"other\"\n";
    let process = HighgateProcess::start(BINARY, &text).unwrap();
    (server, process)
}

async fn change_within_transaction(process: &HighgateProcess) {
    let mut conn = failure::connect(process.listener("shop").unwrap()).await.unwrap();
    conn.query_drop("BEGIN").await.unwrap();
    conn.query_drop("INSERT INTO t VALUES (1)").await.unwrap();
    let other = ChangeUserOpts::default()
        .with_user(Some("other".to_owned()))
        .with_pass(Some("other".to_owned()));
    conn.change_user(other).await.unwrap();
}

/// Who asked for its own lock again at once, did not get it.
#[test]
fn what_a_session_had_locked_is_let_go_before_its_change_of_user_is_answered() {
    let is_over = Arc::new(AtomicBool::new(false));
    let flag = is_over.clone();
    let (_server, process) = changes(move || {
        // A rollback of many rows.
        let (_never, much) = std::sync::mpsc::channel::<()>();
        let _ = much.recv_timeout(std::time::Duration::from_millis(300));
        flag.store(true, Ordering::Relaxed);
        Reply::OkStatus(2)
    });
    failure::run(change_within_transaction(&process));
    assert!(is_over.load(Ordering::Relaxed), "the transaction is rolled back");
}

#[test]
fn a_change_of_user_waits_for_a_server_that_hangs_no_longer_than_a_login_may() {
    let (server, process) = changes(|| Reply::Hang);
    failure::run(change_within_transaction(&process));
    assert!(server.commands().iter().any(|command| command.code == 0x1f));
}

/// Others waited in vain until its next command, for a connection that nothing kept.
#[test]
fn a_session_that_closes_the_statement_of_its_cursor_gives_its_connection_back_at_once() {
    const CURSOR: u8 = 1;
    let script = Script::new(|command| match command.code {
        COM_STMT_PREPARE => Reply::Prepared(1, Vec::new(), vec!["n".to_owned()]),
        COM_STMT_EXECUTE => {
            Reply::Result(wire::CURSOR_EXISTS | wire::AUTOCOMMIT, vec!["n".to_owned()], Vec::new())
        }
        COM_STMT_CLOSE => Reply::Bytes(Vec::new()),
        _ => usual(command),
    });
    let server = ScriptedServer::start(script).unwrap();
    let process = front(&[server.addr()], "max_connections = 1\n");
    let (mut first, mut second) = (client(&process), client(&process));
    let parts = first.prepare("SELECT n FROM t").unwrap();
    let Part::Prepared { id, .. } = parts else { panic!("{parts:?}") };
    let parts = first.command(&execute(id, CURSOR, &[], false)).unwrap();
    assert!(matches!(parts[..], [Part::Rows { open: true, .. }]), "{parts:?}");
    pinned(&process, first.id, "open_cursor");
    first.send(&about(COM_STMT_CLOSE, id)).unwrap();
    assert_eq!(second.value("SELECT n FROM other").unwrap(), "1");
}

/// What binds a session.
fn pinned(process: &HighgateProcess, session: u32, by: &str) {
    wait::eventually(Deadline::seconds(10), "the session's pins", || {
        let rows = table(process, "sessions")?;
        let row = rows.iter().find(|row| row["id"] == session);
        let pins = row.and_then(|row| row["pinned_by"].as_str()).unwrap_or_default();
        anyhow::ensure!(pins == by, "`{pins}`, not `{by}`: {rows:#?}");
        Ok(())
    })
    .unwrap();
}

/// Such a text was taken for one statement, and its session for one that shares its connection.
#[test]
fn a_text_that_cant_be_read_binds_a_session_that_may_send_several_statements_since_it_said_so() {
    let server = ScriptedServer::start(Script::new(usual)).unwrap();
    let process = front(&[server.addr()], "");
    let listener = process.listener("shop").unwrap();
    let one_only = USUAL.difference(highgate_mysql::Capabilities::MULTI_STATEMENTS);
    let mut client = RawClient::connect(listener, "app", "app", None, one_only).unwrap();
    let unread = "DROP TABLE a /* not closed";
    client.ok(unread).unwrap();
    pinned(&process, client.id, "");
    let (on, off) = ([0x1b, 0, 0], [0x1b, 1, 0]);
    client.command(&on).unwrap();
    client.command(&off).unwrap();
    client.ok(unread).unwrap();
    pinned(&process, client.id, "");
    client.command(&on).unwrap();
    client.ok(unread).unwrap();
    pinned(&process, client.id, "last_insert_id_unknown,session_unknown");
}
