//! Sessions that end and commands that are refused: each is counted, and an event that says why.

#[path = "common/failure.rs"]
mod failure;
#[path = "common/faulty.rs"]
mod faulty;
#[path = "client/raw.rs"]
mod raw;

use std::net::{SocketAddr, TcpStream};

use failure::{ctl, table, toml};
use faulty::BACKEND;
use highgate_testkit::{
    highgate::HighgateProcess,
    scripted::{Reply, Script, ScriptedServer, wire},
    wait::{self, Deadline},
};
use raw::{Part, RawClient, USUAL};
use rustix::process::Signal;
use serde_json::Value;

fn server() -> ScriptedServer {
    let script = Script::new(|command| match command.text().as_str() {
        text if text.starts_with("SELECT @@") => Reply::variables(text),
        text if text.contains("slow") => Reply::UntilKilled,
        text if text.contains("dies") => Reply::Close,
        text if text.starts_with("SELECT") => Reply::value("n", "1"),
        // Autocommit is on, and a transaction open.
        text if text.starts_with("BEGIN") => Reply::OkStatus(3),
        _ => Reply::OkStatus(2),
    });
    ScriptedServer::start(script).unwrap()
}

/// Highgate in front of one server; `listener` is more settings of the listener.
struct Front {
    server: ScriptedServer,
    process: HighgateProcess,
    address: SocketAddr,
}

fn front(listener: &str, more: &str) -> Front {
    let server = server();
    let text = format!("{}{more}", toml(&[server.addr()], BACKEND, listener));
    let process = failure::start(&text, 1).unwrap();
    let address = process.listener("shop").unwrap();
    Front { server, process, address }
}

impl Front {
    fn client(&self) -> RawClient {
        RawClient::connect(self.address, "app", "app", None, USUAL).unwrap()
    }

    /// The first event of that kind whose text has all these parts.
    fn event(&self, kind: &str, parts: &[&str]) -> Value {
        let mut found = Value::Null;
        wait::eventually(Deadline::seconds(10), "an event", || {
            let events = table(&self.process, "events")?;
            let fits = |event: &&Value| {
                let text = event["text"].as_str().unwrap_or_default();
                event["kind"] == kind && parts.iter().all(|part| text.contains(part))
            };
            match events.iter().find(fits) {
                Some(event) => found = event.clone(),
                None => anyhow::bail!("no {kind} of {parts:?} in {events:#?}"),
            }
            Ok(())
        })
        .unwrap();
        found
    }

    fn events_of(&self, kind: &str) -> Vec<String> {
        let events = table(&self.process, "events").unwrap();
        let of_kind = events.iter().filter(|event| event["kind"] == kind);
        of_kind.map(|event| event["text"].as_str().unwrap_or_default().to_owned()).collect()
    }

    fn count(&self, column: &str) -> u64 {
        table(&self.process, "listeners").unwrap()[0][column].as_u64().unwrap()
    }

    fn until_count(&self, column: &str, count: u64) {
        wait::eventually(Deadline::seconds(10), column, || {
            let now = self.count(column);
            anyhow::ensure!(now == count, "{now} instead of {count}");
            Ok(())
        })
        .unwrap();
    }
}

fn error(parts: &[Part]) -> u16 {
    parts.last().and_then(Part::error).unwrap_or_default()
}

#[test]
fn a_time_out_that_ends_a_session_is_counted_and_an_event_that_names_it() {
    let front = front(
        "client_timeout = \"700ms\"\nidle_in_transaction_timeout = \"700ms\"\n\
         handshake_timeout = \"700ms\"\n",
        "",
    );
    let _silent = TcpStream::connect(front.address).unwrap();
    let (idle, mut works) = (front.client(), front.client());
    works.ok("BEGIN").unwrap();
    let ended = front.event("session_end", &["of `app`", "longer than `client_timeout` allows"]);
    assert_eq!((&ended["session"], &ended["severity"]), (&idle.id.into(), &"info".into()));
    let ended = front.event("session_end", &["`idle_in_transaction_timeout`", "rolled back"]);
    assert_eq!((&ended["session"], &ended["severity"]), (&works.id.into(), &"warning".into()));
    front.event("session_end", &["listener shop: a session ended", "`handshake_timeout`"]);
    for column in ["ended_client_timeout", "ended_idle_in_transaction", "ended_handshake_timeout"] {
        front.until_count(column, 1);
    }
    assert_eq!(front.count("ended_by_client"), 0);
}

/// Such a session was bound by no time-out at all, and its transaction held its locks for ever.
#[test]
fn the_beginning_of_a_command_right_behind_another_stays_no_longer_than_the_time_outs_allow() {
    let front = front("client_timeout = \"700ms\"\nidle_in_transaction_timeout = \"700ms\"\n", "");
    let (mut idle, mut works) = (front.client(), front.client());
    // Sent at once, so that it lies there when the first command is done.
    idle.send_raw(b"\x01\0\0\0\x0e\x01\0\0").unwrap();
    works.send_raw(b"\x06\0\0\0\x03BEGIN\x01").unwrap();
    for client in [&mut idle, &mut works] {
        assert!(matches!(client.answer().unwrap()[..], [Part::Ok { .. }]));
    }
    front.until_count("ended_client_timeout", 1);
    front.until_count("ended_idle_in_transaction", 1);
}

#[test]
fn a_client_that_closes_by_itself_is_counted_and_no_event() {
    let front = front("", "");
    for _ in 0..3 {
        let mut client = front.client();
        client.value("SELECT 1").unwrap();
        client.send(&[0x01]).unwrap();
    }
    drop(TcpStream::connect(front.address).unwrap());
    front.until_count("ended_by_client", 4);
    assert_eq!(front.events_of("session_end"), [""; 0]);
    assert_eq!(front.count("refused_commands"), 0);
}

#[test]
fn the_end_of_a_killed_session_tells_who_asked_for_it() {
    let front = front("", "");
    let (by_operator, by_other, mut own) = (front.client(), front.client(), front.client());
    ctl(&front.process, &["kill", &by_operator.id.to_string()]).unwrap();
    let ended = front.event("session_end", &["of `app` ended: killed by an operator"]);
    assert_eq!(ended["session"], by_operator.id);
    own.ok(&format!("KILL {}", by_other.id)).unwrap();
    let ended = front.event("session_end", &["ended: killed by its own account"]);
    assert_eq!(ended["session"], by_other.id);
    assert_eq!(error(&own.query("KILL CONNECTION_ID()").unwrap()), 1927);
    front.until_count("ended_by_highgate", 3);
}

#[test]
fn a_command_that_highgate_refuses_is_counted_and_an_event_with_its_reason() {
    let front = front(
        "",
        "[[rule]]\nrule_id = 12\nmatch_pattern = \"forbidden\"\nerror_msg = \"not here\"\napply = true\n\
         [[rule]]\nrule_id = 13\nmatch_pattern = \"elsewhere\"\nbackend = \"nowhere\"\napply = true\n",
    );
    let mut client = front.client();
    let mut refused = |payload: &[u8], code: u16, parts: &[&str]| {
        let answer = client.command(payload).unwrap();
        assert_eq!(error(&answer), code, "{answer:?}");
        let event = front.event("refusal", parts);
        assert_eq!(event["session"], client.id, "{event}");
        answer
    };
    for _ in 0..20 {
        refused(b"\x03SELECT forbidden", 1148, &["listener shop", "rule 12 says so"]);
    }
    refused(
        b"\x03SELECT elsewhere",
        1105,
        &["backend nowhere does not exist, and rule 13 names it"],
    );
    let load = b"\x03LOAD DATA LOCAL INFILE 'f' INTO TABLE t";
    let answer = refused(load, 1148, &["`local_infile` of its `[[user]]`"]);
    assert!(format!("{answer:?}").contains("not allowed for this account"), "{answer:?}");
    refused(b"\x03KILL USER app", 1235, &["only `KILL [QUERY] number`"]);
    refused(b"\x03KILL 7", 1094, &["Unknown thread id: 7"]);
    refused(b"\x08", 1047, &["command 0x08 is not known"]);
    refused(b"\x17\x01", 1047, &["its packet is malformed"]);
    assert_eq!(front.count("refused_commands"), 26);
    let told = front.events_of("refusal");
    let of_rule = told.iter().filter(|text| text.contains("rule 12")).count();
    assert!(of_rule <= 3, "those that say the same are one row with their number: {told:#?}");
}

#[test]
fn a_statement_that_a_time_out_ends_is_counted_and_an_event_of_its_server() {
    let front = front("query_timeout = \"500ms\"\n", "");
    let mut client = front.client();
    assert_eq!(error(&client.query("SELECT slow").unwrap()), 1317);
    let event = front.event("limit", &["longer than `query_timeout`"]);
    assert_eq!((&event["session"], &event["server"]), (&client.id.into(), &"db1".into()));
    assert_eq!(front.count("timed_out_statements"), 1);
    assert_eq!(client.value("SELECT 1").unwrap(), "1");
}

/// A server closes upon such a packet: each was held against it, until it got no work.
#[test]
fn a_client_that_numbers_its_packets_wrongly_is_told_so_and_no_server_sees_them() {
    let front = front("", "");
    let second = wire::frame(1, b"\x03SELECT 'wrong'");
    for bytes in [second.clone(), second] {
        let mut client = front.client();
        client.ok("SELECT 1").unwrap();
        client.send_raw(&bytes).unwrap();
        let answer = client.packet().unwrap();
        assert_eq!((answer[0], &answer[1..3]), (0xff, &1156_u16.to_le_bytes()[..]));
        assert!(client.packet().is_err(), "the session ends");
        let event = front.event("session_end", &["not numbered one after the other"]);
        assert!(event["session"].as_u64() <= Some(client.id.into()), "{event}");
    }
    assert!(!front.server.queries().iter().any(|text| text.contains("wrong")));
    assert_eq!(front.client().value("SELECT 1").unwrap(), "1");
}

/// The server closed upon them, was called garbled, and after three such clients held.
#[test]
fn a_client_that_numbers_its_file_wrongly_is_told_so_and_its_server_is_not_blamed() {
    let script = Script::new(|command| match command.text().as_str() {
        text if text.starts_with("SELECT @@") => Reply::variables(text),
        text if text.starts_with("LOAD") => Reply::TakesFile("rows".to_owned()),
        // What the file's rows were given.
        text if text.starts_with("SELECT LAST_INSERT_ID()") => {
            Reply::value("LAST_INSERT_ID()", "1")
        }
        _ => Reply::OkStatus(2),
    });
    let server = ScriptedServer::start(script).unwrap();
    let text = toml(&[server.addr()], BACKEND, "");
    let text = text.replace("password = \"app\"\n", "password = \"app\"\nlocal_infile = true\n");
    let process = failure::start(&text, 1).unwrap();
    let address = process.listener("shop").unwrap();
    let begin = || {
        let usual = USUAL | highgate_mysql::Capabilities::LOCAL_FILES;
        let mut client = RawClient::connect(address, "app", "app", None, usual).unwrap();
        client.send(b"\x03LOAD DATA LOCAL INFILE 'rows' INTO TABLE t").unwrap();
        assert_eq!(client.packet().unwrap(), b"\xfbrows");
        client
    };
    let numbers = [(6, 7), (2, 4), (1, 2), (6, 7)];
    for (first, second) in numbers {
        let mut client = begin();
        let file = [wire::frame(first, b"aa\nbb\n"), wire::frame(second, b"")].concat();
        client.send_raw(&file).unwrap();
        let answer = client.packet().unwrap();
        assert_eq!((answer[0], &answer[1..3]), (0xff, &1156_u16.to_le_bytes()[..]));
        assert!(client.packet().is_err(), "the session ends");
    }
    let mut client = begin();
    client.send_raw(&[wire::frame(2, b"aa\n"), wire::frame(3, b"")].concat()).unwrap();
    assert_eq!(client.packet().unwrap()[0], 0, "one that numbers rightly");
    let events = table(&process, "events").unwrap();
    let blames = |event: &Value| event["kind"] == "garbled" || event["kind"] == "held";
    assert!(!events.iter().any(blames), "{events:#?}");
    assert_eq!(failure::server(&process, "db1").unwrap().status, "up");
}

#[test]
fn a_session_that_ends_with_what_only_its_connection_had_is_an_event_that_says_what() {
    let front = front("", "");
    let mut client = front.client();
    client.ok("CREATE TEMPORARY TABLE x (a INT)").unwrap();
    let _ = client.query("SELECT dies FROM x");
    let event = front.event("session_end", &["the connection was lost", "temporary_table"]);
    assert_eq!((&event["session"], &event["severity"]), (&client.id.into(), &"warning".into()));
    front.until_count("ended_by_server", 1);
}

#[test]
fn a_transaction_that_goes_with_its_connection_is_an_event() {
    let front = front("", "");
    let mut client = front.client();
    client.ok("BEGIN").unwrap();
    assert_eq!(error(&client.query("SELECT dies").unwrap()), 1213);
    let event = front.event("refusal", &["a transaction was rolled back", "connection was lost"]);
    assert_eq!((&event["session"], &event["server"]), (&client.id.into(), &"db1".into()));
    assert_eq!(client.value("SELECT 1").unwrap(), "1");
}

/// One session that had seen a warning kept a process that was told to stop for all of `drain_timeout`.
#[test]
fn a_stop_ends_at_once_what_a_session_keeps_outside_of_a_transaction() {
    let server = ScriptedServer::start(Script::new(|command| match command.text().as_str() {
        text if text.starts_with("SELECT @@") => Reply::variables(text),
        text if text.contains("nosuch") => Reply::Err(1146, "42S02", "no such table".to_owned()),
        // An OK with a warning.
        text if text.contains("truncated") => Reply::Packets(vec![vec![0, 0, 0, 2, 0, 1, 0]]),
        text if text.starts_with("SELECT") => Reply::value("n", "1"),
        "BEGIN" | "INSERT INTO t VALUES (1)" => Reply::OkStatus(3),
        _ => Reply::OkStatus(2),
    }))
    .unwrap();
    let text = toml(&[server.addr()], BACKEND, "");
    let mut process = failure::start(&format!("drain_timeout = \"1m\"\n{text}"), 1).unwrap();
    let address = process.listener("shop").unwrap();
    let client = || RawClient::connect(address, "app", "app", None, USUAL).unwrap();
    let (mut works, mut locks) = (client(), client());
    works.ok("BEGIN").unwrap();
    locks.ok("LOCK TABLES t WRITE").unwrap();
    let mut others = [
        "INSERT INTO t VALUES ('truncated')",
        "SELECT n FROM nosuch",
        "CREATE TEMPORARY TABLE x (a INT)",
        "SELECT GET_LOCK('q', 0)",
        "SELECT @a := n FROM t",
    ]
    .map(|text| {
        let mut other = client();
        other.query(text).unwrap();
        other
    });
    let is_pinned =
        |session: &Value| session["pinned_by"].as_str().is_some_and(|by| !by.is_empty());
    let sessions = table(&process, "sessions").unwrap();
    assert!(sessions.iter().all(is_pinned), "{sessions:#?}");
    process.signal(Signal::TERM).unwrap();
    for other in &mut others {
        assert_eq!(error(&other.answer().unwrap()), 1053);
    }
    works.ok("INSERT INTO t VALUES (1)").unwrap();
    locks.ok("DELETE FROM t").unwrap();
    for (client, end) in [(&mut works, "COMMIT"), (&mut locks, "UNLOCK TABLES")] {
        client.ok(end).unwrap();
        assert_eq!(error(&client.answer().unwrap()), 1053);
    }
    assert!(process.wait(Deadline::seconds(10)).unwrap().success(), "{}", process.log());
}

/// At the end of `drain_timeout` sessions were closed without a word, or told of a kill: nobody knew what
/// became of a write.
#[test]
fn what_is_busy_at_the_end_of_a_stop_is_told_so_and_whether_it_may_have_been_done() {
    let server = server();
    let text = toml(&[server.addr()], BACKEND, "");
    let mut process = failure::start(&format!("drain_timeout = \"1s\"\n{text}"), 1).unwrap();
    let address = process.listener("shop").unwrap();
    let client = || RawClient::connect(address, "app", "app", None, USUAL).unwrap();
    let (mut reads, mut writes, mut waits) = (client(), client(), client());
    waits.ok("BEGIN").unwrap();
    reads.send(b"\x03SELECT slow").unwrap();
    writes.send(b"\x03UPDATE slow SET a = 1").unwrap();
    wait::eventually(Deadline::seconds(10), "both at the server", || {
        let slow = server.commands().iter().filter(|it| it.text().contains("slow")).count();
        anyhow::ensure!(slow == 2);
        Ok(())
    })
    .unwrap();
    process.signal(Signal::TERM).unwrap();
    for (client, state, what) in [
        (&mut reads, "08S01", "Server shutdown in progress"),
        (&mut waits, "08S01", "Server shutdown in progress"),
        (&mut writes, "08007", "whether it was carried out is not known"),
    ] {
        let told = format!("{:?}", client.answer().unwrap());
        assert!(told.contains("1053") && told.contains(state) && told.contains(what), "{told}");
    }
    assert!(process.wait(Deadline::seconds(10)).unwrap().success(), "{}", process.log());
    assert!(process.log().contains("the outcome of a statement is unknown"), "{}", process.log());
}

/// Two of fourteen, on an older build, were closed without a word behind their COMMIT.
#[test]
fn a_session_that_was_told_within_its_transaction_is_told_again_behind_it() {
    let server = ScriptedServer::start(Script::new(|command| match command.text().as_str() {
        text if text.starts_with("SELECT @@") => Reply::variables(text),
        "SET autocommit=0" => Reply::OkStatus(0),
        text if text.starts_with("INSERT") => Reply::OkStatus(1),
        "BEGIN" => Reply::OkStatus(3),
        "COMMIT AND NO CHAIN" => Reply::OkStatus(0),
        _ => Reply::OkStatus(2),
    }))
    .unwrap();
    let text = toml(&[server.addr()], BACKEND, "");
    let mut process = failure::start(&format!("drain_timeout = \"1m\"\n{text}"), 1).unwrap();
    let address = process.listener("shop").unwrap();
    let mut sessions: Vec<_> = (0..8)
        .map(|_| {
            let mut client = RawClient::connect(address, "app", "app", None, USUAL).unwrap();
            client.ok("BEGIN").unwrap();
            (client, "COMMIT")
        })
        .collect();
    let mut manual = RawClient::connect(address, "app", "app", None, USUAL).unwrap();
    manual.ok("SET autocommit=0").unwrap();
    manual.ok("INSERT INTO t VALUES (1)").unwrap();
    sessions.push((manual, "COMMIT AND NO CHAIN"));
    process.signal(Signal::TERM).unwrap();
    wait::eventually(Deadline::seconds(10), "the drain", || {
        anyhow::ensure!(process.log().contains("draining"));
        Ok(())
    })
    .unwrap();
    for (client, end) in &mut sessions {
        client.ok(end).unwrap();
        assert_eq!(error(&client.answer().unwrap()), 1053, "behind {end}");
    }
    assert!(process.wait(Deadline::seconds(10)).unwrap().success(), "{}", process.log());
}
