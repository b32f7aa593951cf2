//! Servers that vanish, hang or answer nonsense in each phase of a reply.

#[path = "common/failure.rs"]
mod failure;
#[path = "common/faulty.rs"]
mod faulty;
#[path = "client/raw.rs"]
mod raw;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use failure::{code, connect, run, table, toml};
use faulty::{BACKEND, VICTIM, faulty, front, none_used_again, usual, victims};
use highgate_testkit::{
    highgate::HighgateProcess,
    scripted::{Reply, Script, ScriptedServer, wire},
    usage::resident,
    wait,
};
use mysql_async::prelude::Queryable as _;
use raw::{RawClient, USUAL};

/// Bytes of the reply to a one-row SELECT, with headers.
const REPLY: usize = 70;

#[test]
fn a_read_survives_a_server_that_vanishes_after_any_byte_of_its_reply_or_ends_in_one_error() {
    let server = faulty(|time| {
        // Each even time a loss after the next number of bytes, each odd time a proper answer.
        (time % 2 == 0).then(|| Reply::CloseAfter(time / 2, Box::new(Reply::value("n", "1"))))
    })
    .unwrap();
    let process = front(&[server.addr()], "").unwrap();
    let address = process.listener("shop").unwrap();
    let (mut retried, mut errors) = (0, 0);
    run(async {
        let mut conn = connect(address).await.unwrap();
        for bytes in 0..REPLY {
            let started = wait::now();
            let got = conn.query_first::<u64, _>("SELECT n FROM victim").await;
            assert!(wait::now() - started < Duration::from_secs(5), "after {bytes} bytes it hung");
            match got {
                Ok(value) => {
                    assert_eq!(value, Some(1));
                    retried += 1;
                }
                Err(error) => {
                    errors += 1;
                    if code(&error).is_none() {
                        // In the middle of a packet only the end of the session is honest.
                        conn = connect(address).await.unwrap();
                    }
                    // Whichever it was: the next statement is right.
                    let next = conn.query_first::<u64, _>("SELECT n FROM victim").await;
                    assert_eq!(next.unwrap(), Some(1), "after {bytes} bytes: {error}");
                }
            }
        }
        drop(conn);
    });
    eprintln!("{retried} answered, {errors} ended in one error");
    assert!(retried > 0);
    assert!(!process.log().contains("panicked"), "{}", process.log());
}

#[test]
fn a_write_whose_answer_is_lost_is_sent_once_and_its_outcome_told_as_unknown() {
    let server = faulty(|time| Some(Reply::CloseAfter(time, Box::new(Reply::Ok)))).unwrap();
    let process = front(&[server.addr()], "").unwrap();
    let address = process.listener("shop").unwrap();
    run(async {
        // An OK packet has 11 bytes.
        for bytes in 0..11 {
            let mut conn = connect(address).await.unwrap();
            let error = conn.query_drop(format!("INSERT INTO victim VALUES ({bytes})")).await;
            let error = error.unwrap_err();
            assert_eq!(code(&error), Some(1158), "after {bytes} bytes: {error}");
            conn.query_drop("SELECT 1").await.unwrap();
            conn.disconnect().await.unwrap();
        }
    });
    let sent = server.queries().iter().filter(|text| text.contains("victim")).count();
    assert_eq!(sent, 11, "no write is sent twice");
}

/// Each was told as of unknown outcome, though none of them changes any data.
#[test]
fn what_begins_a_transaction_or_sets_its_session_is_sent_again_when_its_server_dies() {
    let texts = [
        "BEGIN /* victim */",
        "START TRANSACTION /* victim */",
        "SET @victim = 1",
        "SET autocommit=0 /* victim */",
        "SET @@session.autocommit = 1 /* victim */",
    ];
    let times = AtomicUsize::new(0);
    let server = ScriptedServer::start(Script::new(move |command| match command.text() {
        text if text.contains(VICTIM) => match times.fetch_add(1, Ordering::Relaxed) {
            time if time % 2 == 0 => Reply::CloseAfter(time, Box::new(Reply::Ok)),
            _ => Reply::OkStatus(2),
        },
        text if text == "DELETE parent" => Reply::Err(1451, "23000", "It has children".to_owned()),
        _ => usual(command),
    }))
    .unwrap();
    let process = front(&[server.addr()], "").unwrap();
    let address = process.listener("shop").unwrap();
    for text in texts {
        let mut client = RawClient::connect(address, "app", "app", None, USUAL).unwrap();
        // What that left can be asked for, on its connection.
        assert_eq!(client.query("DELETE parent").unwrap()[0].error(), Some(1451));
        client.ok(text).unwrap();
    }
    let spoilt = victims(&server);
    assert_eq!(spoilt.len(), 2 * texts.len(), "each once more");
    let retried = |event: &serde_json::Value| event["kind"] == "retry";
    assert!(table(&process, "events").unwrap().iter().any(retried));
}

/// The server that gets it first dies of it, and the other one answers it with that status; `then` the session
/// is still there.
fn is_sent_elsewhere(text: &str, status: u16, then: impl FnOnce(&HighgateProcess)) {
    let first = faulty(|_| Some(Reply::Close)).unwrap();
    let second = faulty(move |_| Some(Reply::OkStatus(status))).unwrap();
    let backend = format!("{BACKEND}balance = \"first\"\n");
    let text_of = toml(&[first.addr(), second.addr()], &backend, "");
    let process = failure::start(&text_of, 2).unwrap();
    let address = process.listener("shop").unwrap();
    let mut client = RawClient::connect(address, "app", "app", None, USUAL).unwrap();
    client.ok(text).unwrap();
    assert_eq!((victims(&first).len(), victims(&second).len()), (1, 1), "{text}");
    then(&process);
}

#[test]
fn a_commit_outside_a_transaction_is_sent_elsewhere_when_its_server_dies() {
    for text in ["COMMIT /* victim */", "ROLLBACK /* victim */"] {
        is_sent_elsewhere(text, 2, |_| ());
    }
}

/// These were told as of unknown outcome.
#[test]
fn what_says_how_the_next_transaction_is_or_begins_one_is_sent_elsewhere_when_its_server_dies() {
    for (text, status, binds) in [
        ("SET TRANSACTION ISOLATION LEVEL READ COMMITTED /* victim */", 2, "next_transaction"),
        (
            "SET /* victim */ TRANSACTION READ ONLY, ISOLATION LEVEL SERIALIZABLE",
            2,
            "next_transaction",
        ),
        ("SET @@transaction_isolation = 'SERIALIZABLE' /* victim */", 2, "next_transaction"),
        ("COMMIT AND CHAIN /* victim */", 3, "transaction"),
        ("ROLLBACK AND CHAIN /* victim */", 3, "transaction"),
    ] {
        is_sent_elsewhere(text, status, |process| {
            let sessions = table(process, "sessions").unwrap();
            let held = (&sessions[0]["pinned_by"], &sessions[0]["server"]);
            assert_eq!(held, (&binds.into(), &"db2".into()), "{text}: {sessions:?}");
        });
    }
}

/// The new connection was taken for the one that the session had: nothing was set on it.
#[test]
fn what_was_said_of_the_next_transaction_holds_after_its_connection_was_lost() {
    const LEVEL: &str = "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE";
    // Lost while it lay idle, and with the command in flight.
    for in_flight in [false, true] {
        let dies = move |time| in_flight && time == 0;
        let begins = move |time| if dies(time) { Reply::Close } else { Reply::OkStatus(3) };
        let server = faulty(move |time| Some(begins(time))).unwrap();
        let process = front(&[server.addr()], "").unwrap();
        let address = process.listener("shop").unwrap();
        let mut client = RawClient::connect(address, "app", "app", None, USUAL).unwrap();
        client.ok(LEVEL).unwrap();
        if !in_flight {
            server.close_all();
        }
        client.ok("BEGIN /* victim */").unwrap();
        let texts = server.queries();
        let begun = texts.iter().rposition(|text| text.contains("BEGIN")).unwrap();
        assert_eq!(texts[begun - 1], LEVEL, "{in_flight}: {texts:?}");
        assert_eq!(texts.iter().filter(|text| *text == LEVEL).count(), 2, "{texts:?}");
    }
}

#[test]
fn who_rolls_back_what_went_with_its_connection_has_what_it_asks_for() {
    let server = faulty(|_| Some(Reply::OkStatus(3))).unwrap();
    let process = front(&[server.addr()], "").unwrap();
    let address = process.listener("shop").unwrap();
    let mut client = RawClient::connect(address, "app", "app", None, USUAL).unwrap();
    for (ends, expected) in [
        (&b"\x03ROLLBACK"[..], None),
        (b"\x1f", None),
        (b"\x03COMMIT", Some(1213)),
        (b"\x03ROLLBACK AND CHAIN", Some(1213)),
    ] {
        client.ok("BEGIN /* victim */").unwrap();
        server.close_all();
        assert_eq!(client.command(ends).unwrap()[0].error(), expected, "{ends:?}");
        client.ok("DO 1").unwrap();
    }
}

fn broken(name: &str, reply: Reply) {
    broken_times(name, reply, 3);
}

fn broken_times(name: &str, reply: Reply, times: usize) {
    let bad = Arc::new(AtomicBool::new(true));
    let flag = bad.clone();
    let server = faulty(move |_| flag.load(Ordering::Relaxed).then(|| reply.clone())).unwrap();
    let process = front(&[server.addr()], "query_timeout = \"1s\"").unwrap();
    let address = process.listener("shop").unwrap();
    run(async {
        for _ in 0..times {
            let started = wait::now();
            let mut conn = connect(address).await.unwrap();
            let got = tokio::time::timeout(
                Duration::from_secs(12),
                conn.query_first::<String, _>("SELECT n FROM victim"),
            );
            let got = got.await.unwrap_or_else(|_| panic!("{name}: hung past its limit"));
            assert!(got.is_err(), "{name}: {got:?}");
            eprintln!(
                "{name}: {:?} after {:?}",
                got.err().map(|e| e.to_string()),
                wait::now() - started
            );
        }
        bad.store(false, Ordering::Relaxed);
        let spoilt = victims(&server);
        assert!(spoilt.len() >= times, "{name}: {spoilt:?}");
        // So many at once are on both workers, and meet whatever lies in either pool.
        let mut sessions = Vec::new();
        for _ in 0..spoilt.len() + 2 {
            let mut conn = connect(address).await.unwrap();
            let got = conn.query_first::<u64, _>("SELECT n FROM victim").await;
            assert_eq!(got.unwrap(), Some(1), "{name}: a broken connection came back");
            sessions.push(conn);
        }
        none_used_again(&server, &spoilt, name);
    });
    assert!(!process.log().contains("panicked"), "{name}: {}", process.log());
}

#[test]
fn garbage_never_goes_back_to_the_pool() {
    broken("garbage", Reply::Garbage);
}

#[test]
fn a_wrong_sequence_number_ends_the_connection() {
    let mut bytes = wire::frame(7, &wire::ok(wire::AUTOCOMMIT));
    bytes.extend(wire::frame(9, &wire::ok(wire::AUTOCOMMIT)));
    broken("wrong sequence", Reply::Bytes(bytes));
}

#[test]
fn packets_that_are_empty_cut_or_out_of_place_end_the_connection() {
    let middle = {
        let mut bytes = wire::frames(1, &wire::rows(&["n".into()], &[], true));
        let last = bytes.len() - 8;
        bytes[last] = bytes[last].wrapping_add(3);
        Reply::Bytes(bytes)
    };
    let packets = |payloads: &[&[u8]]| {
        Reply::Packets(payloads.iter().map(|payload| payload.to_vec()).collect())
    };
    for (name, reply) in [
        ("an empty packet", packets(&[b""])),
        ("an error of one byte", packets(&[b"\xff"])),
        ("a count cut short", packets(&[b"\xfc\x01"])),
        ("a wrong number in the midst of a result", middle),
    ] {
        broken_times(name, reply, 2);
    }
}

#[test]
fn a_reply_with_another_behind_it_ends_the_connection() {
    let mut bytes = wire::frame(1, &wire::ok(wire::AUTOCOMMIT));
    bytes.extend(wire::frame(1, &wire::ok(wire::AUTOCOMMIT)));
    let server = faulty(move |_| Some(Reply::Bytes(bytes.clone()))).unwrap();
    let process = front(&[server.addr()], "").unwrap();
    run(async {
        let mut conn = connect(process.listener("shop").unwrap()).await.unwrap();
        // Whether it was done nobody knows; the session goes on, on another connection.
        let error = conn.query_drop("DELETE FROM victim").await.unwrap_err();
        assert_eq!(code(&error), Some(1158), "{error}");
        conn.query_drop("INSERT INTO other VALUES (1)").await.unwrap();
        assert_eq!(victims(&server).len(), 1, "a write is sent once");
        none_used_again(&server, &victims(&server), "doubled");
        let others = server.queries().iter().filter(|text| text.contains("other")).count();
        assert_eq!(others, 1);
    });
}

#[test]
fn a_column_count_without_columns_hangs_no_longer_than_the_time_out() {
    broken("column count", Reply::ColumnCount(4000));
}

#[test]
fn a_hang_within_a_reply_ends_with_the_time_out() {
    broken("hang", Reply::HangAfter(20, Box::new(Reply::value("n", "1"))));
}

#[test]
fn a_demand_for_a_file_is_an_error_and_an_event_and_the_session_lives_on() {
    // Alone, and behind a first result of which a part is on its way already.
    let demand = wire::frame(1, b"\xfb/etc/passwd");
    let mut more = wire::frame(1, &wire::ok(wire::AUTOCOMMIT | 8));
    more.extend(wire::frame(2, b"\xfb/etc/passwd"));
    for (allowed, bytes) in [(false, &demand), (true, &demand), (false, &more)] {
        let reply = Reply::Bytes(bytes.clone());
        let server = faulty(move |_| Some(reply.clone())).unwrap();
        let text = toml(&[server.addr()], BACKEND, "").replace(
            "password = \"app\"\n",
            &format!("password = \"app\"\nlocal_infile = {allowed}\n"),
        );
        let process = HighgateProcess::start(failure::BINARY, &text).unwrap();
        let address = process.listener("shop").unwrap();
        run(async {
            let mut conn = connect(address).await.unwrap();
            for text in ["SELECT n FROM victim", "INSERT INTO victim VALUES (1)"] {
                let error = conn.query_drop(text).await.unwrap_err();
                assert_eq!(code(&error), Some(1148), "{error}");
                assert!(!error.to_string().contains("/etc"), "{error}");
                conn.query_drop("SET @a = 1").await.unwrap();
            }
        });
        process.wait_for_log("asked for a file that no statement").unwrap();
        failure::until_server(&process, "db1", Duration::from_secs(20), |server| {
            server.status == "held" && server.reason.contains("asked a client for a file")
        })
        .unwrap();
        none_used_again(&server, &victims(&server), "demand");
    }
}

/// An event for each statement, and nothing else was left to see.
#[test]
fn demands_for_files_at_every_statement_make_few_events() {
    let server = faulty(|_| Some(Reply::LocalInfile("/etc/passwd".to_owned()))).unwrap();
    let process = front(&[server.addr()], "").unwrap();
    run(async {
        let mut conn = connect(process.listener("shop").unwrap()).await.unwrap();
        for _ in 0..50 {
            let error = conn.query_drop("SELECT n FROM victim").await.unwrap_err();
            assert_eq!(code(&error), Some(1148), "{error}");
        }
    });
    let told = process.log().matches("of its client names; blocked").count();
    assert!((1..=3).contains(&told), "told {told} times");
}

#[test]
fn a_read_that_servers_answer_with_garbage_is_not_called_unexecuted() {
    let garbled = faulty(|_| Some(Reply::Garbage)).unwrap();
    let process = front(&[garbled.addr()], "").unwrap();
    run(async {
        let mut conn = connect(process.listener("shop").unwrap()).await.unwrap();
        let error = conn.query_drop("SELECT n FROM victim").await.unwrap_err();
        let text = error.to_string();
        assert!(text.contains("may have been executed") && !text.contains("nothing"), "{text}");
        let write = conn.query_drop("INSERT INTO victim VALUES (1)").await.unwrap_err();
        assert_eq!(code(&write), Some(1158), "{write}");
    });
}

#[test]
fn counts_and_lengths_beyond_reason_cost_the_connection_and_no_memory() {
    let long = [&[0xfe][..], &u64::MAX.to_le_bytes()].concat();
    let ok_with = |length: &[u8]| [&[0][..], length, length, &[2, 0, 0, 0]].concat();
    for (name, reply) in [
        ("columns", Reply::ColumnCount(u64::MAX)),
        ("many columns", Reply::ColumnCount(1 << 32)),
        ("OK of a cut number", Reply::Packets(vec![ok_with(&long[..4])])),
        ("OK of nothing", Reply::Packets(vec![vec![0]])),
        ("an empty packet", Reply::Packets(vec![Vec::new()])),
    ] {
        broken_times(name, reply, 1);
    }
}

#[test]
fn an_endless_result_streams_until_the_client_leaves_and_memory_stays_bounded() {
    let server = faulty(|_| Some(Reply::Endless)).unwrap();
    let process = front(&[server.addr()], "").unwrap();
    let before = resident(process.pid());
    let mut client =
        RawClient::connect(process.listener("shop").unwrap(), "app", "app", None, USUAL).unwrap();
    client.send(b"\x03SELECT n FROM victim").unwrap();
    let (mut bytes, mut most) = (0, before);
    while bytes < 64 << 20 {
        for _ in 0..2000 {
            bytes += client.packet().unwrap().len();
        }
        most = most.max(resident(process.pid()));
    }
    // Nor does it gather what a client does not take.
    let _ = wait::wait_until(wait::Deadline::after(Duration::from_secs(1)), || {
        most = most.max(resident(process.pid()));
        false
    });
    eprintln!("{bytes} bytes; resident memory grew by {} KiB at most", most - before);
    assert!(most - before < 8 * 1024, "{} KiB", most - before);
    drop(client);
    wait::eventually(wait::Deadline::seconds(10), "the statement to be ended", || {
        let sessions = table(&process, "sessions")?;
        anyhow::ensure!(sessions.is_empty(), "{sessions:?}");
        let kills = server.queries().iter().filter(|text| text.starts_with("KILL")).count();
        anyhow::ensure!(kills == 1, "{:?}", server.queries());
        Ok(())
    })
    .unwrap();
    none_used_again(&server, &victims(&server), "endless");
}

#[test]
fn a_server_that_hangs_in_its_greeting_is_left_for_another() {
    let hung = ScriptedServer::start(Script::ok().greeting_hang()).unwrap();
    let good = faulty(|_| None).unwrap();
    let servers =
        toml(&[hung.addr(), good.addr()], &format!("{BACKEND}connect_timeout = \"500ms\"\n"), "");
    let process = HighgateProcess::start(failure::BINARY, &servers).unwrap();
    run(async {
        for _ in 0..4 {
            let mut conn = connect(process.listener("shop").unwrap()).await.unwrap();
            let got = conn.query_first::<u64, _>("SELECT n FROM victim").await;
            assert_eq!(got.unwrap(), Some(1));
        }
    });
}

/// A server that has the work, of which no connection is kept, and another one beside it.
struct Pair {
    first: ScriptedServer,
    second: ScriptedServer,
    /// Whether the first one's new connections get a greeting that leads nowhere.
    ails: Arc<AtomicBool>,
    process: HighgateProcess,
    client: RawClient,
}

impl Pair {
    fn start(greeting: fn() -> Reply, more: &str) -> Self {
        let ails = Arc::new(AtomicBool::new(false));
        let flag = ails.clone();
        let first = Script::new(usual).greets(move |_| flag.load(Ordering::Relaxed).then(greeting));
        let first = ScriptedServer::start(first).unwrap();
        let second = faulty(|_| None).unwrap();
        let backend = "monitor = { user = \"m\", password = \"m\", check = \"ping\", interval = \"200ms\", \
                       timeout = \"300ms\" }\nbalance = \"first\"\nmax_idle = 0\n";
        let text = toml(&[first.addr(), second.addr()], &(backend.to_owned() + more), "");
        let process = failure::start(&text, 2).unwrap();
        let address = process.listener("shop").unwrap();
        let client = RawClient::connect(address, "app", "app", None, USUAL).unwrap();
        Self { first, second, ails, process, client }
    }

    fn read(&mut self) {
        let told = self.client.query("SELECT n FROM victim").unwrap();
        assert_eq!(told[0].error(), None, "{told:?}");
    }

    /// From now on, of all reads, only the first one tries the first server; it is up all the same, since the
    /// connection that checks keep works on.
    fn is_passed_over(&mut self) {
        self.read();
        assert_eq!(victims(&self.first).len(), 1);
        self.ails.store(true, Ordering::Relaxed);
        (0..20).for_each(|_| self.read());
        assert_eq!((victims(&self.first).len(), victims(&self.second).len()), (1, 20));
        let servers = table(&self.process, "servers").unwrap();
        let seen = (&servers[0]["status"], &servers[0]["connect_errors"]);
        assert_eq!(seen, (&"up".into(), &1.into()), "{servers:?}");
    }

    /// Operators are told of it, and why.
    fn says(&self, why: &str) {
        let backend = table(&self.process, "backends").unwrap().remove(0);
        let reason = backend["reason"].as_str().unwrap();
        assert!(reason.contains("; db1 gives no new connections for "), "{reason}");
        let serve = format!("and none is open, so it serves nobody: {why}");
        assert!(reason.contains(&serve), "{reason}");
    }
}

#[test]
fn a_server_that_gives_no_new_connections_gets_no_work_though_its_checks_succeed() {
    let mut pair = Pair::start(|| Reply::Hang, "connect_timeout = \"500ms\"\n");
    pair.is_passed_over();
    let events = failure::ctl(&pair.process, &["show", "events"]).unwrap();
    assert!(events.contains("until a new connection is had"), "{events}");
    assert!(!events.contains("down"), "{events}");
    let servers = failure::servers(&pair.process).unwrap();
    assert!(servers.iter().all(|server| server.status == "up"), "{servers:?}");
    let status = failure::ctl(&pair.process, &["status"]).unwrap();
    assert!(status.contains("gives no new connections"), "{status}");
    pair.says("no ");
    pair.ails.store(false, Ordering::Relaxed);
    wait::eventually(wait::Deadline::seconds(20), "its work to come back", || {
        pair.read();
        anyhow::ensure!(victims(&pair.first).len() > 1, "not yet");
        Ok(())
    })
    .unwrap();
}

/// Each opened one of its own in vain, twice, and was refused, while the open one came free all the time.
#[test]
fn who_wants_a_server_that_gives_no_new_connections_waits_for_an_open_one() {
    let hangs = Arc::new(AtomicBool::new(false));
    let flag = hangs.clone();
    let answers = |command: &highgate_testkit::scripted::Command| match command.text().as_str() {
        "BEGIN" | "INSERT INTO t VALUES (1)" => Reply::OkStatus(3),
        "COMMIT" => Reply::OkStatus(2),
        _ => usual(command),
    };
    let script =
        Script::new(answers).greets(move |_| flag.load(Ordering::Relaxed).then_some(Reply::Hang));
    let server = ScriptedServer::start(script).unwrap();
    let backend = "monitor = { user = \"m\", password = \"m\", check = \"ping\", interval = \"200ms\", \
                   timeout = \"300ms\" }\nconnect_timeout = \"500ms\"\nfailover_wait = \"1s\"\n";
    let process = failure::start(&toml(&[server.addr()], backend, ""), 1).unwrap();
    let address = process.listener("shop").unwrap();
    let connect = || RawClient::connect(address, "app", "app", None, USUAL).unwrap();
    let mut clients: Vec<_> = (0..8).map(|_| connect()).collect();
    for text in ["BEGIN", "INSERT INTO t VALUES (1)"] {
        clients[0].ok(text).unwrap();
    }
    hangs.store(true, Ordering::Relaxed);
    clients[1].send(b"\x03SELECT n FROM victim").unwrap();
    wait::eventually(wait::Deadline::seconds(10), "what it found", || {
        let events = failure::ctl(&process, &["show", "events"])?;
        anyhow::ensure!(events.contains("until a new connection is had"), "{events}");
        Ok(())
    })
    .unwrap();
    for client in &mut clients[2..] {
        client.send(b"\x03SELECT n FROM victim").unwrap();
    }
    clients[0].ok("COMMIT").unwrap();
    for client in &mut clients[1..] {
        let told = client.answer().unwrap();
        assert_eq!(told[0].error(), None, "{told:?}");
    }
    let row = table(&process, "servers").unwrap().remove(0);
    assert!(row["connect_errors"].as_u64().unwrap() <= 3, "{row}");
}

/// It was told of too many connections, and nothing was full.
#[test]
fn another_account_is_told_that_no_server_can_serve_where_one_gives_no_new_connections() {
    let hangs = Arc::new(AtomicBool::new(false));
    let flag = hangs.clone();
    let answers = |command: &highgate_testkit::scripted::Command| match command.text().as_str() {
        "BEGIN" | "INSERT INTO t VALUES (1)" => Reply::OkStatus(3),
        _ => usual(command),
    };
    let script =
        Script::new(answers).greets(move |_| flag.load(Ordering::Relaxed).then_some(Reply::Hang));
    let server = ScriptedServer::start(script).unwrap();
    let backend = "monitor = { user = \"m\", password = \"m\", check = \"ping\", interval = \"200ms\", \
                   timeout = \"300ms\" }\nconnect_timeout = \"500ms\"\nfailover_wait = \"1s\"\n\
                   queue_timeout = \"1s\"\n";
    let user = "[[user]]\nname = \"other\"\npassword = \"other\"\n";
    let text = toml(&[server.addr()], backend, "") + user;
    let process = failure::start(&text, 1).unwrap();
    let address = process.listener("shop").unwrap();
    let connect = |name| RawClient::connect(address, name, name, None, USUAL).unwrap();
    let (mut holder, mut first, mut other) = (connect("app"), connect("app"), connect("other"));
    for text in ["BEGIN", "INSERT INTO t VALUES (1)"] {
        holder.ok(text).unwrap();
    }
    hangs.store(true, Ordering::Relaxed);
    for client in [&mut first, &mut other] {
        let told = format!("{:?}", client.query("SELECT n FROM victim").unwrap());
        let words = "No database server can serve at the moment";
        assert!(told.contains("1040") && told.contains(words), "{told}");
    }
    let events = failure::ctl(&process, &["show", "events"]).unwrap();
    assert!(events.contains("the server gives no new connections"), "{events}");
}

/// A greeting that offers TLS, which the handshake then does not come to.
fn offers_tls() -> Reply {
    /// CLIENT_SSL, in the second byte of the capabilities.
    const SSL: u8 = 0x08;
    let mut greeting = wire::greeting("8.0.36", 1, false);
    let version = greeting.iter().position(|&byte| byte == 0).unwrap();
    // Behind it are the connection's number, the challenge's first part, and a byte of capabilities.
    greeting[version + 1 + 4 + 9 + 1] |= SSL;
    Reply::Packets(vec![greeting])
}

#[test]
fn a_server_whose_tls_handshakes_fail_is_passed_over_after_the_first() {
    let mut pair = Pair::start(offers_tls, "tls = { mode = \"preferred\" }\n");
    pair.is_passed_over();
    pair.says("TLS failed: ");
}

#[test]
fn no_write_is_sent_to_a_server_that_lost_one_until_a_check_has_answered() {
    let dies = Arc::new(AtomicBool::new(false));
    let flag = dies.clone();
    let server = Script::new(move |command| {
        let text = command.text();
        if text.contains("dies") {
            flag.store(true, Ordering::Relaxed);
            return Reply::Close;
        }
        // Its other connections are open for a while, as those of a process that is being ended.
        if flag.load(Ordering::Relaxed) && !text.contains("INSERT") {
            Reply::Hang
        } else {
            usual(command)
        }
    });
    let server = ScriptedServer::start(server).unwrap();
    let backend = "monitor = { user = \"m\", password = \"m\", check = \"ping\", interval = \"200ms\", \
                   timeout = \"300ms\", fall = 2 }\nfailover_wait = \"1s\"\n";
    let process = failure::start(&toml(&[server.addr()], backend, ""), 1).unwrap();
    let address = process.listener("shop").unwrap();
    let client = || RawClient::connect(address, "app", "app", None, USUAL).unwrap();
    let (mut one, mut other) = (client(), client());
    one.ok("INSERT INTO t VALUES (1)").unwrap();
    other.ok("INSERT INTO t VALUES (2)").unwrap();
    let lost = one.query("INSERT INTO t SELECT 'dies'").unwrap();
    assert_eq!(lost[0].error(), Some(1158), "{lost:?}");
    let answer = other.query("INSERT INTO t VALUES (3)").unwrap();
    assert_eq!(answer[0].error(), Some(1040), "{answer:?}");
    assert!(!server.queries().iter().any(|text| text.contains("(3)")), "{:?}", server.queries());
}

#[test]
fn a_write_that_waits_for_a_check_goes_on_as_soon_as_that_has_answered() {
    let server =
        Script::new(
            |command| {
                if command.text().contains("killed") { Reply::Close } else { usual(command) }
            },
        );
    let server = ScriptedServer::start(server).unwrap();
    let backend = "monitor = { user = \"m\", password = \"m\", check = \"ping\" }\n";
    let process = failure::start(&toml(&[server.addr()], backend, ""), 1).unwrap();
    let address = process.listener("shop").unwrap();
    let mut client = RawClient::connect(address, "app", "app", None, USUAL).unwrap();
    for round in 0..20 {
        let lost = client.query("INSERT INTO t SELECT 'killed'").unwrap();
        assert_eq!(lost[0].error(), Some(1158), "{lost:?}");
        client.ok(&format!("INSERT INTO t VALUES ({round})")).unwrap();
    }
}

#[test]
fn a_session_does_not_wait_for_a_server_that_hangs_right_behind_its_login() {
    let first = ScriptedServer::start(Script::new(|_| Reply::Hang)).unwrap();
    let second = faulty(|_| None).unwrap();
    let backend = "monitor = { user = \"m\", password = \"m\", check = \"handshake\" }\nbalance = \"first\"\n\
                   connect_timeout = \"500ms\"\n";
    let process = failure::start(&toml(&[first.addr(), second.addr()], backend, ""), 2).unwrap();
    let address = process.listener("shop").unwrap();
    let mut client = RawClient::connect(address, "app", "app", None, USUAL).unwrap();
    assert_eq!(client.value("SELECT n FROM victim").unwrap(), "1");
    assert_eq!(victims(&second).len(), 1);
}

#[test]
fn what_the_last_command_left_is_not_asked_of_another_connection() {
    let asked_before = AtomicBool::new(false);
    let server = Script::new(move |command| match command.text() {
        text if text.contains("FOUND_ROWS()") && !asked_before.swap(true, Ordering::Relaxed) => {
            Reply::Close
        }
        text if text.contains("FOUND_ROWS()") => Reply::value("FOUND_ROWS()", "0"),
        text if text.contains("victim") => Reply::value("n", "1"),
        _ => usual(command),
    });
    let server = ScriptedServer::start(server).unwrap();
    let backend = "monitor = { user = \"m\", password = \"m\", check = \"connect\" }\nfailover_wait = \"1s\"\n";
    let process = failure::start(&toml(&[server.addr()], backend, ""), 1).unwrap();
    let address = process.listener("shop").unwrap();
    let mut client = RawClient::connect(address, "app", "app", None, USUAL).unwrap();
    assert_eq!(client.value("SELECT SQL_CALC_FOUND_ROWS n FROM victim LIMIT 1").unwrap(), "1");
    let asked = client.query("SELECT FOUND_ROWS() + 0, n FROM t").unwrap();
    assert!(asked[0].error().is_some(), "{asked:?}");
}
