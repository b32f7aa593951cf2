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
use highgate_testkit::{
    highgate::HighgateProcess,
    scripted::{Command, Reply, Script, ScriptedServer},
};
use parking_lot::Mutex;
use raw::{Param, Part, RawClient, USUAL, about, execute, long_data};

const COM_PING: u8 = 0x0e;
const COM_STMT_PREPARE: u8 = 0x16;
const COM_STMT_EXECUTE: u8 = 0x17;
const COM_STMT_SEND_LONG_DATA: u8 = 0x18;
const COM_STMT_CLOSE: u8 = 0x19;

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
