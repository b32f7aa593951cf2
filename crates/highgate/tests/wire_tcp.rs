//! Clients in tcp mode that have no server yet: what ends their wait, and what does not.

#[path = "common/failure.rs"]
mod failure;
#[path = "common/faulty.rs"]
mod faulty;

use std::{
    io::Read as _,
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use failure::{BINARY, ctl, start, table, toml};
use faulty::usual;
use highgate_testkit::{
    highgate::HighgateProcess,
    scripted::{Script, ScriptedServer},
    wait::{self, Deadline},
};

const SOON: Duration = Duration::from_secs(8);

fn tcp(servers: &[SocketAddr], backend: &str) -> String {
    let checks = "monitor = { user = \"m\", password = \"m\", check = \"connect\", interval = \"300ms\", timeout = \"500ms\" }\n";
    toml(servers, &format!("{checks}{backend}"), "")
        .replacen("mode = \"mysql\"", "mode = \"tcp\"", 1)
        .replacen("read_write_split = true\n", "", 1)
}

fn client(process: &HighgateProcess) -> TcpStream {
    let client = TcpStream::connect(process.listener("shop").unwrap()).unwrap();
    client.set_read_timeout(Some(SOON)).unwrap();
    client
}

/// A server that takes connections until it [freezes](Self::freezes): then a connect gets no answer.
struct Freezing {
    listener: Arc<TcpListener>,
    is_frozen: Arc<AtomicBool>,
    accepts: Option<JoinHandle<()>>,
    held: Vec<TcpStream>,
}

impl Freezing {
    fn start() -> Self {
        let listener = Arc::new(TcpListener::bind("127.0.0.1:0").unwrap());
        rustix::net::listen(&listener, 0).unwrap();
        let is_frozen = Arc::new(AtomicBool::new(false));
        let (from, until) = (listener.clone(), is_frozen.clone());
        let accepts = std::thread::spawn(move || {
            while !until.load(Ordering::Acquire) {
                let _ = from.accept();
            }
        });
        Self { listener, is_frozen, accepts: Some(accepts), held: Vec::new() }
    }

    fn addr(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }

    /// Like a process that is stopped, whose queue is full: the kernel takes no more for it.
    fn freezes(&mut self) {
        self.is_frozen.store(true, Ordering::Release);
        let address = self.addr();
        // The one that it may wait for.
        let last = TcpStream::connect(address).unwrap();
        self.accepts.take().unwrap().join().unwrap();
        self.held.push(last);
        let connect = || TcpStream::connect_timeout(&address, Duration::from_millis(100));
        while let Ok(taken) = connect() {
            self.held.push(taken);
        }
    }
}

/// It was kept for the whole of `connect_timeout`, and for good where the connect ended within it: only who
/// has a connection is told that its server is down.
#[test]
fn a_client_in_tcp_mode_whose_server_is_declared_down_while_it_connects_gets_another() {
    let mut first = Freezing::start();
    let second = ScriptedServer::start(Script::new(usual)).unwrap();
    let backend = "balance = \"first\"\nconnect_timeout = \"30s\"\nqueue_timeout = \"30s\"\n";
    let process = start(&tcp(&[first.addr(), second.addr()], backend), 2).unwrap();
    first.freezes();
    let mut client = client(&process);
    client.read_exact(&mut [0; 8]).expect("the greeting of the second one");
}

/// It waited for ever: what it was told hid the end of its time, and that the node drains.
#[test]
fn a_kill_query_of_a_client_in_tcp_mode_is_refused_and_leaves_it_its_time() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let text = tcp(&[nobody], "queue_timeout = \"3s\"\n");
    let process = HighgateProcess::start(BINARY, &text).unwrap();
    let mut client = client(&process);
    let mut id = None;
    wait::eventually(Deadline::seconds(3), "the session to wait", || {
        let sessions = table(&process, "sessions")?;
        id = sessions.iter().find(|it| it["state"] == "waiting").map(|it| it["id"].clone());
        anyhow::ensure!(id.is_some(), "{sessions:?}");
        Ok(())
    })
    .unwrap();
    let id = id.unwrap().to_string();
    let refused = ctl(&process, &["kill", "--query", id.trim_matches('"')]).unwrap_err();
    assert!(refused.to_string().contains("relayed as it is"), "{refused}");
    let end = client.read(&mut [0; 8]);
    assert!(matches!(end, Ok(0)), "{end:?}");
}
