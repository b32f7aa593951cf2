//! Servers that are upgraded one by one: how clients are greeted meanwhile, and what a version comment
//! is then.

#[path = "common/failure.rs"]
mod failure;
#[path = "common/faulty.rs"]
mod faulty;
#[path = "client/raw.rs"]
mod raw;

use std::{
    io::Read as _,
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use failure::{BINARY, toml};
use faulty::{VICTIM, script};
use highgate_mysql::greeting::Greeting;
use highgate_testkit::{
    highgate::HighgateProcess,
    scripted::{Reply, ScriptedServer},
    wait::{self, Deadline},
};
use raw::{RawClient, USUAL};

const OLD: &str = "10.11.19-MariaDB";
const NEW: &str = "11.8.2-MariaDB";
/// A read to the old ones, a write to the new.
const HIDES: &str = "SELECT n FROM t /*!110000 ; DELETE FROM victim */";

/// A server of that version. Each odd time it loses the connection that a text with [`VICTIM`] in it
/// came on.
fn server(version: &str, at: SocketAddr) -> ScriptedServer {
    let lost = || Some(Reply::CloseAfter(0, Box::new(Reply::Ok)));
    let script = script(move |time| if time % 2 == 0 { lost() } else { None });
    ScriptedServer::start_at(script.version(&format!("5.5.5-{version}")), at).unwrap()
}

/// Another version in its place.
fn upgraded(server_of_old: ScriptedServer) -> ScriptedServer {
    let at = server_of_old.addr();
    drop(server_of_old);
    server(NEW, at)
}

/// The version that clients are greeted with.
fn greeted(process: &HighgateProcess) -> anyhow::Result<String> {
    let mut socket = TcpStream::connect(process.listener("shop")?)?;
    socket.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut header = [0; 4];
    socket.read_exact(&mut header)?;
    let mut payload = vec![0; usize::from(header[0])];
    socket.read_exact(&mut payload)?;
    let greeting = Greeting::parse(&payload).map_err(|error| anyhow::anyhow!("{error:?}"))?;
    Ok(greeting.version.trim_start_matches("5.5.5-").to_owned())
}

fn until_greeted(process: &HighgateProcess, version: &str) {
    wait::eventually(Deadline::seconds(10), "the greeting", || {
        let greeted = greeted(process)?;
        anyhow::ensure!(greeted == version, "greeted with {greeted}");
        Ok(())
    })
    .unwrap();
}

/// How often a text with [`VICTIM`] in it was sent to any of them.
fn sent(servers: &[&ScriptedServer]) -> usize {
    let of_one = |server: &&ScriptedServer| {
        server.queries().iter().filter(|text| text.contains(VICTIM)).count()
    };
    servers.iter().map(of_one).sum()
}

#[test]
fn a_version_comment_is_read_as_the_servers_do_that_are_there_now() {
    let backend = "monitor = { user = \"m\", password = \"m\", check = \"handshake\", interval = \"200ms\", \
                   timeout = \"500ms\" }\nfailover_wait = \"5s\"\nslow_start = \"0s\"\n";
    let anywhere = SocketAddr::from(([127, 0, 0, 1], 0));
    let (one, other) = (server(OLD, anywhere), server(OLD, anywhere));
    let addresses = [one.addr(), other.addr()];
    let process = HighgateProcess::start(BINARY, &toml(&addresses, backend, "")).unwrap();
    until_greeted(&process, OLD);
    let address = process.listener("shop").unwrap();
    // One that stays through all of it.
    let mut client = RawClient::connect(address, "app", "app", None, USUAL).unwrap();
    assert_eq!(client.value(HIDES).unwrap(), "1", "to the old ones a read, which is sent again");
    assert!(sent(&[&one, &other]) >= 2);

    let other = upgraded(other);
    wait::eventually(Deadline::seconds(10), "the doubt", || {
        let parts = client.query(HIDES)?;
        anyhow::ensure!(parts[0].error() == Some(1158), "{parts:?}");
        Ok(())
    })
    .unwrap();
    assert_eq!(greeted(&process).unwrap(), OLD, "what all of them can do");

    let one = upgraded(one);
    until_greeted(&process, NEW);
    let mut lost = 0;
    for _ in 0..4 {
        let before = sent(&[&one, &other]);
        let mut client = RawClient::connect(address, "app", "app", None, USUAL).unwrap();
        lost += usize::from(client.query(HIDES).unwrap()[0].error() == Some(1158));
        assert_eq!(sent(&[&one, &other]), before + 1, "now it is a write, and sent once");
    }
    assert!(lost > 0, "some were lost");
    assert!(!process.log().contains("panicked"), "{}", process.log());
}
