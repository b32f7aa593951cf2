//! Logins that the server verifies itself (`auth = "passthrough"`), where a server hangs: whose time that is, and
//! who is told.

#[path = "common/failure.rs"]
mod failure;
#[path = "common/faulty.rs"]
mod faulty;
#[path = "client/raw.rs"]
mod raw;

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use failure::{BINARY, table, toml};
use faulty::{usual, victims};
use highgate_mysql::packet::PacketWriter;
use highgate_testkit::{
    highgate::HighgateProcess,
    scripted::{Reply, Script, ScriptedServer, wire},
    wait::{self, Deadline},
};
use raw::{RawClient, USUAL};

/// `db1` is asked as long as it is not passed over, and no check does that.
const BACKEND: &str =
    "monitor = { check = \"off\" }\nbalance = \"first\"\nfailover_wait = \"0s\"\n";

fn start(servers: &[&ScriptedServer], backend: &str, listener: &str) -> HighgateProcess {
    let addresses: Vec<SocketAddr> = servers.iter().map(|server| server.addr()).collect();
    let listener = format!("auth = \"passthrough\"\n{listener}");
    HighgateProcess::start(BINARY, &toml(&addresses, &format!("{BACKEND}{backend}"), &listener))
        .unwrap()
}

fn login(process: &HighgateProcess) -> anyhow::Result<RawClient> {
    RawClient::connect(process.listener("shop")?, "app", "app", None, USUAL)
}

/// What operators are told of `db1` by an event of that kind.
fn told(process: &HighgateProcess, kind: &str) -> Vec<String> {
    let events = table(process, "events").unwrap();
    let of_it = events.iter().filter(|event| event["kind"] == kind && event["server"] == "db1");
    of_it.map(|event| event["text"].as_str().unwrap().to_owned()).collect()
}

fn connect_errors(process: &HighgateProcess) -> u64 {
    table(process, "servers").unwrap()[0]["connect_errors"].as_u64().unwrap()
}

/// A greeting that offers TLS, which then is not started.
fn offers_tls() -> Reply {
    /// CLIENT_SSL, in the second byte of the capabilities.
    const SSL: u8 = 0x08;
    let mut greeting = wire::greeting("8.0.36", 1, false);
    let version = greeting.iter().position(|&byte| byte == 0).unwrap();
    // Behind it are the connection's number, the challenge's first part, and a byte of capabilities.
    greeting[version + 1 + 4 + 9 + 1] |= SSL;
    Reply::HangAfter(usize::MAX, Box::new(Reply::Packets(vec![greeting])))
}

#[test]
fn a_login_goes_elsewhere_when_its_server_hangs_before_it_has_asked_the_client_anything() {
    let hangs = [
        Script::ok().greeting_hang(),
        Script::ok().greets(|_| Some(offers_tls())),
        Script::ok().admits(|_| Some(Reply::Hang)),
    ];
    for hung in hangs {
        let hung = ScriptedServer::start(hung).unwrap();
        let good = faulty::faulty(|_| None).unwrap();
        // The server's time is not the client's, which is shorter here.
        let backend = "connect_timeout = \"700ms\"\ntls = { mode = \"preferred\" }\n";
        let listener = "handshake_timeout = \"500ms\"\n";
        let process = start(&[&hung, &good], backend, listener);
        let began = wait::now();
        for _ in 0..4 {
            let mut client = login(&process).unwrap();
            assert_eq!(client.value("SELECT n FROM victim").unwrap(), "1");
        }
        let took = wait::now() - began;
        assert!(took < Duration::from_secs(8), "{took:?}: each met it again");
        assert_eq!((hung.accepted(), victims(&good).len()), (1, 4), "the first login alone met it");
        assert_eq!(connect_errors(&process), 1);
        let events = told(&process, "shun");
        let why = "gives no connection: no login within `connect_timeout`";
        assert!(events.iter().any(|text| text.contains(why)), "{events:?}");
    }
}

#[test]
fn a_client_is_told_an_error_when_the_only_server_hangs_before_it_has_asked_anything() {
    let hung = ScriptedServer::start(Script::ok().greeting_hang()).unwrap();
    let process = start(&[&hung], "connect_timeout = \"300ms\"\n", "");
    let error = format!("{:?}", login(&process).unwrap_err());
    let words = "No database server can serve at the moment; nothing was executed";
    assert!(error.contains("1040") && error.contains(words), "{error}");
}

/// In place of its greeting.
fn full() -> Reply {
    Reply::Err(1040, "08004", "Too many connections".to_owned())
}

#[test]
fn a_login_goes_elsewhere_when_its_server_takes_no_more_connections() {
    let full = ScriptedServer::start(Script::ok().greets(|_| Some(full()))).unwrap();
    let good = faulty::faulty(|_| None).unwrap();
    let process = start(&[&full, &good], "", "");
    for _ in 0..4 {
        let mut client = login(&process).unwrap();
        assert_eq!(client.value("SELECT n FROM victim").unwrap(), "1");
    }
    assert_eq!((full.accepted(), victims(&good).len()), (4, 4), "it is well, and asked each time");
    assert_eq!(connect_errors(&process), 4);
    let events = told(&process, "limit");
    let why = "takes no more connections: server refused the login: 1040";
    assert!(events.iter().any(|text| text.contains(why)), "{events:?}");
    assert_eq!((told(&process, "login").len(), told(&process, "shun").len()), (0, 0));
}

/// Nothing was given up: every login was refused, as long as they lay there.
#[test]
fn an_idle_connection_is_given_up_for_a_login_at_a_server_that_takes_no_more() {
    let has_room = Arc::new(AtomicBool::new(true));
    let takes = has_room.clone();
    let script = Script::new(usual).greets(move |_| (!takes.load(Ordering::Relaxed)).then(full));
    let server = ScriptedServer::start(script).unwrap();
    let address = server.addr();
    let depot = format!(
        "[[listener]]\nname = \"depot\"\nbind = \"127.0.0.1:0\"\nmode = \"mysql\"\nbackend = \"depot\"\n\
         [[backend]]\nname = \"depot\"\n{BACKEND}[[backend.server]]\nname = \"db9\"\naddress = \"{address}\"\n"
    );
    let backend = BACKEND.replace("\"0s\"", "\"60s\"");
    let text = toml(&[address], &backend, "auth = \"passthrough\"\n");
    let process = HighgateProcess::start(BINARY, &format!("{text}\n{depot}")).unwrap();
    let depot = process.listener("depot").unwrap();
    let mut before = RawClient::connect(depot, "app", "app", None, USUAL).unwrap();
    before.ok("SELECT n FROM t").unwrap();
    has_room.store(false, Ordering::Relaxed);
    std::thread::scope(|scope| {
        let comes = scope.spawn(|| login(&process).map(drop));
        let closed = wait::eventually(Deadline::seconds(10), "the idle one to be closed", || {
            let rows = table(&process, "servers")?;
            let row = rows.iter().find(|row| row["backend"] == "depot");
            let open = row.and_then(|row| row["opened"].as_u64());
            anyhow::ensure!(open == Some(0), "{rows:#?}");
            Ok(())
        });
        has_room.store(true, Ordering::Relaxed);
        closed.unwrap();
        comes.join().unwrap().unwrap();
    });
}

/// The wait may be what its plugin wants for a wrong password: nobody else's logins suffer from it.
#[test]
fn a_server_that_does_not_answer_a_clients_login_is_told_of_and_the_client_gets_an_error() {
    let asks = [b"\xfemysql_native_password\0", &[b'a'; 20][..], b"\0"].concat();
    let asks = Reply::HangAfter(usize::MAX, Box::new(Reply::Packets(vec![asks])));
    let hung = Script::new(usual).admits(move |_| Some(asks.clone()));
    let (hung, good) = (ScriptedServer::start(hung).unwrap(), faulty::faulty(|_| None).unwrap());
    let process = start(&[&hung, &good], "", "handshake_timeout = \"500ms\"\n");
    let error = format!("{:?}", login(&process).unwrap_err());
    assert!(error.contains("1040"), "{error}");
    let events = told(&process, "login");
    let why = "a login of `app` was not let in by a server: it did not say whether";
    assert!(events.iter().any(|text| text.starts_with(why)), "{events:?}");
    assert_eq!((connect_errors(&process), told(&process, "shun").len()), (1, 0));
}

#[test]
fn a_client_that_leaves_while_its_server_hangs_gives_up_its_place() {
    let hung = ScriptedServer::start(Script::ok().greeting_hang()).unwrap();
    let listener = "handshake_timeout = \"60s\"\n";
    let process = start(&[&hung], "connect_timeout = \"60s\"\n", listener);
    let mut client = TcpStream::connect(process.listener("shop").unwrap()).unwrap();
    assert_ne!(client.read(&mut [0; 1024]).unwrap(), 0, "its greeting");
    let capabilities = u32::try_from(USUAL.bits()).unwrap().to_le_bytes();
    let rest = [&[0, 0, 0, 1, 45][..], &[0; 23], b"app\0\0mysql_native_password\0"].concat();
    let mut packet = Vec::new();
    PacketWriter::new(&mut packet, 1).payload(&[&capabilities[..], &rest].concat());
    client.write_all(&packet).unwrap();
    let until = |what: &str, count: usize| {
        wait::eventually(Deadline::seconds(20), what, || {
            let sessions = table(&process, "sessions")?;
            anyhow::ensure!(sessions.len() == count && hung.accepted() == 1, "{sessions:?}");
            Ok(())
        })
        .unwrap();
    };
    until("its login to begin", 1);
    drop(client);
    until("its place to be free", 0);
}
