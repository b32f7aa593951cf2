//! Replicas that replicate through Highgate: what a client says in the middle of a binary log.

#[path = "common/failure.rs"]
mod failure;
#[path = "common/faulty.rs"]
mod faulty;
#[path = "client/raw.rs"]
mod raw;

use faulty::{front, usual};
use highgate_mysql::command::COM_BINLOG_DUMP;
use highgate_testkit::{
    scripted::{Command, Reply, Script, ScriptedServer, wire},
    wait::{self, Deadline},
};
use raw::{RawClient, USUAL};

const REGISTERS: u8 = 0x15;
/// What an acknowledgement begins with.
const ACKNOWLEDGES: u8 = 0xef;

/// A primary that sends two more events for each acknowledgement, numbered from 1 again.
fn primary() -> ScriptedServer {
    let events = |names: [&str; 2]| {
        Reply::Packets(names.map(|name| format!("\0{name}").into_bytes()).to_vec())
    };
    let script = Script::new(move |command: &Command| match command.code {
        COM_BINLOG_DUMP => events(["format", "first"]),
        ACKNOWLEDGES => events(["commit", "next"]),
        _ => usual(command),
    });
    ScriptedServer::start(script).unwrap()
}

/// The name and the number of the next event.
fn event(replica: &mut RawClient) -> (String, u8) {
    let packet = replica.packet().unwrap();
    (String::from_utf8_lossy(&packet[1..]).into_owned(), replica.seq())
}

fn acknowledgement(number: u8) -> Vec<u8> {
    [&[ACKNOWLEDGES][..], &u64::from(number).to_le_bytes(), b"binlog.000001"].concat()
}

/// Each commit broke the replica's session, waited for the time-out, and had the primary held.
#[test]
fn a_semi_synchronous_replica_acknowledges_while_it_reads_and_its_primary_is_not_blamed() {
    let primary = primary();
    let process = front(&[primary.addr()], "").unwrap();
    let address = process.listener("shop").unwrap();
    let mut replica = RawClient::connect(address, "app", "app", None, USUAL).unwrap();
    replica.command(&[&[REGISTERS][..], &[0; 17]].concat()).unwrap();
    replica.send(&[&[COM_BINLOG_DUMP][..], &[0; 10], b"binlog.000001"].concat()).unwrap();
    assert_eq!(event(&mut replica), ("format".to_owned(), 1));
    assert_eq!(event(&mut replica), ("first".to_owned(), 2));
    for number in 0..4 {
        // It comes in pieces, too.
        let bytes = wire::frame(0, &acknowledgement(number));
        let (head, tail) = bytes.split_at(usize::from(number) * 3);
        replica.send_raw(head).unwrap();
        replica.send_raw(tail).unwrap();
        assert_eq!(event(&mut replica), ("commit".to_owned(), 1));
        assert_eq!(event(&mut replica), ("next".to_owned(), 2));
    }
    let mut said = primary.commands();
    said.retain(|command| command.code == ACKNOWLEDGES);
    let said: Vec<_> = said.into_iter().map(|command| command.body).collect();
    let expected: Vec<_> = (0..4).map(|number| acknowledgement(number)[1..].to_vec()).collect();
    assert_eq!(said, expected, "each as it was sent");
    let events = failure::table(&process, "events").unwrap();
    assert!(events.iter().all(|event| event["kind"] != "garbled"), "{events:#?}");
    assert_eq!(failure::server(&process, "db1").unwrap().status, "up");
    drop(replica);
    wait::eventually(Deadline::seconds(10), "the session to end", || {
        anyhow::ensure!(failure::table(&process, "sessions")?.is_empty());
        Ok(())
    })
    .unwrap();
}
