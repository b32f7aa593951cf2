//! The client's file of LOAD DATA LOCAL: what happens while it is on its way, and who may ask for it.

#[path = "common/failure.rs"]
mod failure;
#[path = "common/faulty.rs"]
mod faulty;
#[path = "client/raw.rs"]
mod raw;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use failure::toml;
use faulty::usual;
use highgate_mysql::Capabilities;
use highgate_testkit::{
    HighgateProcess,
    scripted::{Reply, Script, ScriptedServer, wire},
    wait::{self, Deadline},
};
use raw::{RawClient, USUAL};

const LOAD: &[u8] = b"\x03LOAD DATA LOCAL INFILE 'rows' INTO TABLE t";
const MONITOR: &str = "monitor = { user = \"m\", password = \"m\", check = \"handshake\", interval = \"200ms\", \
                       timeout = \"300ms\", fall = 2 }\n";

struct Bench {
    server: ScriptedServer,
    process: HighgateProcess,
}

fn bench(script: Script, listener: &str) -> Bench {
    let server = ScriptedServer::start(script).unwrap();
    let text = toml(&[server.addr()], MONITOR, listener);
    let text = text.replace("password = \"app\"\n", "password = \"app\"\nlocal_infile = true\n");
    Bench { server, process: failure::start(&text, 1).unwrap() }
}

/// Asks for the file that is named, and takes it.
fn takes() -> Script {
    Script::new(|command| match command.text() {
        text if text.starts_with("LOAD") => Reply::TakesFile("rows".to_owned()),
        // What the file's rows were given.
        text if text.starts_with("SELECT LAST_INSERT_ID()") => {
            Reply::value("LAST_INSERT_ID()", "1")
        }
        _ => usual(command),
    })
}

impl Bench {
    fn client(&self, more: Capabilities) -> RawClient {
        let address = self.process.listener("shop").unwrap();
        let capabilities = USUAL | Capabilities::LOCAL_FILES | more;
        RawClient::connect(address, "app", "app", None, capabilities).unwrap()
    }

    /// A client that was asked for its file.
    fn asked(&self) -> RawClient {
        let mut client = self.client(Capabilities::empty());
        client.send(LOAD).unwrap();
        assert_eq!(client.packet().unwrap(), b"\xfbrows");
        client
    }

    fn until_event(&self, text: &str) {
        wait::eventually(Deadline::seconds(10), "an event", || {
            let events = failure::ctl(&self.process, &["events", "--last", "50"])?;
            anyhow::ensure!(events.contains(text), "no `{text}` in\n{events}");
            Ok(())
        })
        .unwrap();
    }
}

/// Nobody told the session: it passed its file on, which the kernel of a hanging process takes, and waited for ever.
#[test]
fn an_upload_to_a_server_that_is_declared_down_ends() {
    let hangs = Arc::new(AtomicBool::new(false));
    let flag = hangs.clone();
    let script = takes().greets(move |_| flag.load(Ordering::Relaxed).then_some(Reply::Hang));
    let bench = bench(script, "");
    let mut client = bench.asked();
    hangs.store(true, Ordering::Relaxed);
    let within = Duration::from_secs(10);
    failure::until_server(&bench.process, "db1", within, |it| it.status == "down").unwrap();
    bench.until_event("its server is down");
    assert!(client.packet().is_err(), "the session ends");
}

/// It kept its connection, and its place among those of the server, for ever.
#[test]
fn a_client_that_sends_nothing_of_its_file_is_silent_no_longer_than_it_may() {
    let bench = bench(takes(), "client_timeout = \"700ms\"\n");
    let mut client = bench.asked();
    client.send_raw(&wire::frame(2, b"aa\nbb\n")).unwrap();
    bench.until_event("nothing of it came for longer than `client_timeout`");
    assert!(client.packet().is_err(), "the session ends");
}

/// As servers do that have waited for it for `net_read_timeout`: nobody looked there before the file went on.
#[test]
fn an_upload_ends_with_its_servers_connection_though_the_client_says_nothing() {
    let bench = bench(takes(), "");
    let mut client = bench.asked();
    bench.server.close_all();
    bench.until_event("the server closed");
    assert!(client.packet().is_err(), "the session ends");
}

/// Drivers cut a file where they like.
#[test]
fn packets_of_a_file_may_have_the_greatest_length() {
    const FULL: usize = 0xff_ffff;
    let bench = bench(takes(), "");
    let mut client = bench.asked();
    let file = [vec![b'\n'; FULL + 5], vec![b'\n'; FULL], b"a\n".to_vec(), Vec::new()];
    client.send_raw(&wire::frames(2, &file)).unwrap();
    assert_eq!(client.packet().unwrap()[0], 0, "it was loaded");
    client.ok("DO 1").unwrap();
}

/// Five bytes were taken off such a demand, and the error behind it made up for them: a client in C opened the file.
#[test]
fn a_demand_with_a_name_that_is_too_long_to_be_compared_reaches_no_client() {
    let name = format!("/etc/passwd\0{}", "x".repeat(2000));
    let script = Script::new(move |command| {
        let asks = command.text().contains("victim");
        if asks { Reply::LocalInfile(name.clone()) } else { usual(command) }
    });
    let bench = bench(script, "");
    for text in ["SELECT n FROM victim", "LOAD DATA LOCAL INFILE '' INTO TABLE victim"] {
        let mut client = bench.client(Capabilities::SESSION_TRACK);
        client.send(&[b"\x03", text.as_bytes()].concat()).unwrap();
        assert_eq!(client.packet().unwrap()[..3], [0xff, 0x7c, 0x04], "{text}");
    }
}
