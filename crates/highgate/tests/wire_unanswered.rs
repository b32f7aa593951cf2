//! Commands that have no answer: what becomes of them is told by the next one that has, and nothing else is.

#[path = "common/failure.rs"]
mod failure;
#[path = "common/faulty.rs"]
mod faulty;
#[path = "client/raw.rs"]
mod raw;

use std::collections::BTreeSet;

use failure::{BINARY, table, toml};
use faulty::{BACKEND, usual};
use highgate_mysql::command::{
    COM_PING, COM_QUIT, COM_STMT_CLOSE, COM_STMT_EXECUTE, COM_STMT_PREPARE, COM_STMT_SEND_LONG_DATA,
};
use highgate_testkit::{
    highgate::HighgateProcess,
    scripted::{Command, Reply, Script, ScriptedServer},
};
use parking_lot::Mutex;
use raw::{Param, Part, RawClient, USUAL, about, execute, long_data};

const INSERT: &str = "INSERT INTO t VALUES (?)";

/// It knows which of its connections are in a transaction; `prepares` says how a preparation goes that so many
/// came before.
fn server(prepares: impl Fn(usize) -> Option<Reply> + Send + Sync + 'static) -> ScriptedServer {
    let state = Mutex::new((BTreeSet::new(), 0));
    let script = Script::new(move |command: &Command| {
        let (open, prepared) = &mut *state.lock();
        match (command.code, command.text().as_str()) {
            (COM_STMT_PREPARE, _) => {
                *prepared += 1;
                let usual = Reply::Prepared(9, vec!["?".to_owned()], Vec::new());
                return prepares(*prepared - 1).unwrap_or(usual);
            }
            (COM_STMT_SEND_LONG_DATA | COM_STMT_CLOSE, _) => return Reply::Bytes(Vec::new()),
            (0x03, text) if text.starts_with("SELECT 'q") => {
                return Reply::value("q", text.trim_start_matches("SELECT ").trim_matches('\''));
            }
            (0x03, text) if text.starts_with("SELECT") => return usual(command),
            (0x03, "BEGIN") => _ = open.insert(command.connection),
            (0x03, "COMMIT") => _ = open.remove(&command.connection),
            _ => {}
        }
        Reply::OkStatus(2 | u16::from(open.contains(&command.connection)))
    });
    ScriptedServer::start(script).unwrap()
}

fn front(server: &ScriptedServer, listener: &str) -> HighgateProcess {
    let text = toml(&[server.addr()], BACKEND, listener).replace("workers = 2", "workers = 1");
    HighgateProcess::start(BINARY, &text).unwrap()
}

fn client(process: &HighgateProcess) -> RawClient {
    let address = process.listener("shop").unwrap();
    RawClient::connect(address, "app", "app", None, USUAL).unwrap()
}

fn prepared(client: &mut RawClient) -> u32 {
    match client.prepare(INSERT).unwrap() {
        Part::Prepared { id, .. } => id,
        other => panic!("{other:?}"),
    }
}

fn executed(client: &mut RawClient, id: u32) -> Option<u16> {
    client.command(&execute(id, 0, &[Param::Long], true)).unwrap()[0].error()
}

/// A session with a prepared statement, whose transaction has written and then lost its connection.
fn loses(process: &HighgateProcess, server: &ScriptedServer) -> (RawClient, u32) {
    let mut client = client(process);
    let id = prepared(&mut client);
    client.ok("BEGIN").unwrap();
    client.ok("INSERT INTO t VALUES (1)").unwrap();
    server.close_all();
    (client, id)
}

/// The loss was told in the place of an answer that there is not, and so to nobody: a COMMIT behind it was
/// OK, and the rows were gone.
#[test]
fn a_transaction_found_lost_by_parameters_sent_ahead_is_told_once_by_what_has_an_answer() {
    let server = server(|_| None);
    let process = front(&server, "");
    for next in [&b"\x03COMMIT"[..], b"\x03INSERT INTO t VALUES (2)", &[COM_PING]] {
        let (mut client, id) = loses(&process, &server);
        client.send(&long_data(id, 0, b"lo")).unwrap();
        client.send(&long_data(id, 0, b"ng")).unwrap();
        assert_eq!(client.command(next).unwrap()[0].error(), Some(1213), "{next:?}");
        assert_eq!(client.command(next).unwrap()[0].error(), None, "{next:?}");
        assert_eq!(executed(&mut client, id), Some(1210), "{next:?}: not without its parameter");
        client.send(&long_data(id, 0, b"long")).unwrap();
        assert_eq!(executed(&mut client, id), None, "{next:?}");
    }
    let codes = [COM_STMT_EXECUTE, COM_STMT_SEND_LONG_DATA];
    let commands = server.commands();
    assert_eq!(commands.iter().filter(|it| codes.contains(&it.code)).count(), 3 * codes.len());
    let events = table(&process, "events").unwrap();
    let lost = events.iter().filter(|it| it["text"].to_string().contains("was rolled back"));
    assert_eq!(lost.count(), 1, "{events:#?}");
}

#[test]
fn an_execution_is_told_that_its_transaction_is_lost_and_then_runs_in_the_next_one() {
    let server = server(|_| None);
    let process = front(&server, "");
    let (mut client, id) = loses(&process, &server);
    for (at, expected) in [(0, Some(1213)), (1, None), (2, None)] {
        if at > 0 {
            client.ok("BEGIN").unwrap();
        }
        client.send(&long_data(id, 0, b"long")).unwrap();
        assert_eq!(executed(&mut client, id), expected, "{at}");
    }
    client.ok("COMMIT").unwrap();
}

#[test]
fn a_transaction_is_told_to_be_lost_behind_a_statement_that_was_closed() {
    let server = server(|_| None);
    let process = front(&server, "");
    for closes_more in [false, true] {
        let (mut client, id) = loses(&process, &server);
        if closes_more {
            client.send(&long_data(id, 0, b"long")).unwrap();
        }
        client.send(&about(COM_STMT_CLOSE, id)).unwrap();
        assert_eq!(client.query("COMMIT").unwrap()[0].error(), Some(1213), "{closes_more}");
        client.ok("COMMIT").unwrap();
    }
}

#[test]
fn a_transaction_that_is_lost_as_a_statement_is_prepared_for_parameters_is_told_by_the_next_command()
 {
    let server = server(|before| (before == 1).then_some(Reply::Close));
    let process = front(&server, "");
    let (mut client, mut other) = (client(&process), client(&process));
    let id = prepared(&mut client);
    // It has the connection that knows the statement.
    other.ok("BEGIN").unwrap();
    client.ok("BEGIN").unwrap();
    client.ok("INSERT INTO t VALUES (1)").unwrap();
    client.send(&long_data(id, 0, b"long")).unwrap();
    assert_eq!(client.query("COMMIT").unwrap()[0].error(), Some(1213));
    client.ok("COMMIT").unwrap();
    assert_eq!(executed(&mut client, id), Some(1210), "not without its parameter");
    let prepared = server.commands().into_iter().filter(|it| it.code == COM_STMT_PREPARE).count();
    assert_eq!(prepared, 2, "it was lost there");
}

/// What a client reads that sends these packets and then asks for `q0`, `q1` and so on: the first packet of each
/// answer, until the session ends.
fn reads(client: &mut RawClient, packets: &[Vec<u8>]) -> Vec<String> {
    for packet in packets {
        client.send(packet).unwrap();
    }
    let mut read = Vec::new();
    for number in 0..3 {
        if client.send(format!("\x03SELECT 'q{number}'").as_bytes()).is_err() {
            break;
        }
        match client.answer() {
            Ok(parts) => read.push(match &parts[0] {
                Part::Err { code, .. } => code.to_string(),
                rows => rows.texts()[0][0].clone().unwrap(),
            }),
            Err(_) => break,
        }
    }
    read
}

/// They were answered, and the session went on: each command's answer was taken for the next one's.
#[test]
fn a_command_without_an_answer_that_is_too_large_ends_its_session_as_at_a_server() {
    let server = server(|_| None);
    let process = front(&server, "max_allowed_packet = \"1KiB\"");
    for code in [COM_QUIT, COM_STMT_SEND_LONG_DATA, COM_STMT_CLOSE] {
        let mut client = client(&process);
        let id = prepared(&mut client);
        let long = [about(code, id), vec![0; 2000]].concat();
        assert_eq!(client.command(&long).unwrap()[0].error(), Some(1153), "{code:#x}");
        assert_eq!(reads(&mut client, &[]), [""; 0], "{code:#x}");
    }
    let mut client = client(&process);
    let long = format!("SELECT '{}'", "x".repeat(2000));
    assert_eq!(client.query(long).unwrap()[0].error(), Some(1153));
    assert_eq!(reads(&mut client, &[]), ["q0", "q1", "q2"], "that has an answer");
}

#[test]
fn parameters_sent_ahead_beyond_a_bound_that_was_lowered_end_their_session() {
    let server = server(|_| None);
    let process = front(&server, "");
    let mut client = client(&process);
    let id = prepared(&mut client);
    let file = process.config_file();
    let text = std::fs::read_to_string(&file).unwrap();
    let lowered = "backend = \"shop\"\nmax_allowed_packet = \"1KiB\"";
    std::fs::write(&file, text.replacen("backend = \"shop\"", lowered, 1)).unwrap();
    let (done, said) = failure::apply(&process, &[], &file);
    assert!(done, "{said}");
    let told = client.command(&long_data(id, 0, &[b'x'; 2000])).unwrap();
    assert_eq!(told[0].error(), Some(1153), "{told:?}");
    assert_eq!(reads(&mut client, &[]), [""; 0]);
    let sent = server.commands().into_iter().find(|it| it.code == COM_STMT_SEND_LONG_DATA);
    assert_eq!(sent, None);
}

#[test]
fn nothing_is_said_to_a_malformed_command_without_an_answer() {
    let server = server(|_| None);
    let process = front(&server, "");
    let mut closes = client(&process);
    let malformed = [vec![COM_STMT_CLOSE], vec![COM_STMT_CLOSE, 1, 0, 0]];
    assert_eq!(reads(&mut closes, &malformed), ["q0", "q1", "q2"]);
    // Nobody knows whose parameter it was to be: no execution may run without it.
    let mut sends = client(&process);
    assert_eq!(reads(&mut sends, &[vec![COM_STMT_SEND_LONG_DATA, 1, 0, 0, 0, 0]]), [""; 0]);
    // An answer of its own; of an empty one, too, before a packet whose length reads as a command.
    let mut fetches = client(&process);
    assert_eq!(fetches.command(&[0x1c, 1]).unwrap()[0].error(), Some(1047));
    let ping_behind = [&[0; 4][..], &[COM_QUIT, 0, 0, 0, COM_PING]].concat();
    fetches.send_raw(&ping_behind).unwrap();
    assert_eq!(fetches.answer().unwrap()[0].error(), Some(1047));
    assert_eq!(fetches.answer().unwrap()[0].error(), None);
    assert_eq!(reads(&mut fetches, &[]), ["q0", "q1", "q2"]);
}
