//! Listeners and the workers that are to serve them.

use std::{io::Read as _, net::TcpStream};

use highgate_config::{Tls, TlsMode, native};
use highgate_testkit::{
    PortLease,
    wait::{Deadline, wait_until},
};

use super::*;

/// How long a worker may take for what it does at once.
const SOON: Duration = Duration::from_secs(10);

fn config() -> Config {
    let text = "[[listener]]\nname = 'l'\nmode = 'tcp'\nbind = '127.0.0.1:0'\nbackend = 'b'\n\
                [[backend]]\nname = 'b'\n[[backend.server]]\nname = 's'\naddress = '127.0.0.1:1'\n";
    native::parse("l.toml", text, &NodeName::from("n")).unwrap().config
}

fn node() -> Node {
    Node::start(Settings { name: NodeName::from("n"), number: 0, workers: 1 }).unwrap()
}

/// Two workers, and two listeners whose clients are greeted: each worker accepts for one.
fn pair() -> Node {
    let text = ["a", "b"].map(|name| {
        format!("[[listener]]\nname = '{name}'\nbind = '127.0.0.1:0'\nbackend = 'b'\n")
    });
    let text = format!("{}[[backend]]\nname = 'b'\n", text.concat());
    let config = native::parse("l.toml", &text, &NodeName::from("n")).unwrap().config;
    let settings = Settings { name: NodeName::from("n"), number: 0, workers: 2 };
    let node = Node::start(settings).unwrap();
    node.apply(&config).unwrap();
    node
}

/// A client that was greeted, and not told that nobody has time for it.
fn greeted(address: &str) -> TcpStream {
    let mut client = TcpStream::connect(address).unwrap();
    client.set_read_timeout(Some(SOON)).unwrap();
    let mut head = [0; 5];
    client.read_exact(&mut head).expect("a greeting in time");
    assert_eq!(head[4], 10, "the version of the protocol");
    client
}

/// The beginnings of what operators were told.
fn told(node: &Node) -> Vec<String> {
    let events = node.shared().events().into_iter();
    let begin = |text: &str| text.split([':', ',']).next().unwrap_or_default().to_owned();
    events.map(|(_, event)| begin(&event.text)).collect()
}

/// A listener that nobody served until now; it was offered again.
fn unserved(node: &Node) -> Option<ListenerName> {
    node.offer_again().pop().map(|(name, _)| name)
}

#[test]
fn checks_take_turns_from_the_first_on() {
    let node = node();
    let most = node.shared().check_sockets.load(Ordering::Relaxed);
    assert!((16..=1024).contains(&most), "{most}");
}

#[test]
fn a_listener_that_a_worker_takes_is_served() {
    let node = node();
    node.apply(&config()).unwrap();
    assert_eq!(unserved(&node), None);
    node.stop();
}

#[test]
fn a_listener_that_no_worker_takes_is_unserved_and_told() {
    let node = node();
    node.stop();
    node.apply(&config()).unwrap();
    assert_eq!(unserved(&node), Some("l".into()));
    assert_eq!(unserved(&node), Some("l".into()), "nobody takes it later either");
    for _ in 0..3 {
        assert_eq!(node.look().unserved.len(), 1);
    }
    let mut told = told(&node);
    // By now they may have been silent for long enough, too.
    told.retain(|text| !text.starts_with("data worker 0 does not answer"));
    assert_eq!(told, ["no data worker takes listener l on 127.0.0.1"], "once");
}

#[test]
fn a_listener_that_was_refused_is_served_once_a_worker_takes_it() {
    // A worker whose box is full: its thread has not started.
    let (mut seeds, handles) = worker::seeds(1, 0);
    let running = node();
    let snapshot = running.shared().snapshot.load_full();
    running.stop();
    let shared = Shared::new(snapshot, handles, None);
    let node = Node { shared: shared.clone(), ..running };
    while shared.workers[0].mail.try_send(Mail::LookAgain).is_ok() {}
    node.apply(&config()).unwrap();
    assert_eq!(unserved(&node), Some("l".into()));
    let (stopper, stop) = Stopper::new();
    let thread = seeds.pop().unwrap().start(shared.clone(), stop).unwrap();
    let is_served = || unserved(&node).is_none() && shared.accepting.load(Ordering::Acquire) > 0;
    assert!(wait_until(Deadline::after(SOON), is_served), "it is not served");
    node.stop_accepting();
    stopper.stop();
    thread.join().unwrap();
}

/// Its sockets stayed open with nobody to accept from them, and it was taken for the worker with the
/// fewest sessions: nearly every new client hung, or was refused.
#[test]
fn a_worker_that_ends_in_a_panic_leaves_its_listeners_and_new_clients_to_the_others() {
    let node = pair();
    let addresses = node.addresses();
    let mut clients: Vec<_> = addresses.iter().map(|(_, address)| greeted(address)).collect();
    assert!(wait_until(Deadline::after(SOON), || node.look() == Vitals::default()));
    let letter = Mail::Do(|_| panic!("a bug outside of all sessions"));
    node.shared().workers[0].mail.try_send(letter).unwrap();
    assert!(wait_until(Deadline::after(SOON), || node.look().dead == [0]), "it is not missed");
    let is_served = || node.look().unserved.is_empty();
    assert!(wait_until(Deadline::after(SOON), is_served), "nobody takes its listener");
    for _ in 0..20 {
        clients.extend(addresses.iter().map(|(_, address)| greeted(address)));
    }
    let sessions = node.shared().sessions_per_worker();
    assert!(sessions[0] == 0 && sessions[1] >= 40, "{sessions:?}");
    let told = told(&node);
    let count = |text: &str| told.iter().filter(|told| told.starts_with(text)).count();
    let begins = count("no data worker takes listener");
    assert_eq!((count("data worker 0 has ended"), begins), (1, 1), "{told:?}");
    assert_eq!(count("listener "), 1, "and that it is served again: {told:?}");
    node.stop();
}

#[test]
fn a_worker_that_hangs_is_told_and_so_is_that_it_goes_on() {
    let node = pair();
    let well = || node.look() == Vitals::default();
    assert!(wait_until(Deadline::after(SOON), well));
    let letter = Mail::Do(|_| {
        let _ = wait_until(Deadline::after(Duration::from_millis(2500)), || false);
    });
    node.shared().workers[1].mail.try_send(letter).unwrap();
    assert!(wait_until(Deadline::after(SOON), || node.look().silent == [1]), "it is not missed");
    assert!(wait_until(Deadline::after(SOON), well), "it goes on");
    assert_eq!(told(&node), ["data worker 1 does not answer", "data worker 1 answers again"]);
    node.stop();
}

#[test]
fn what_one_worker_does_for_all_is_done_by_the_first_that_lives() {
    let (mut seeds, handles) = worker::seeds(2, 0);
    let running = node();
    let snapshot = running.shared().snapshot.load_full();
    running.stop();
    let shared = Shared::new(snapshot, handles, None);
    assert!(shared.is_first_living(0) && !shared.is_first_living(1));
    drop(seeds.remove(0));
    assert!(shared.is_first_living(1));
}

#[test]
fn a_worker_that_has_ended_is_silent() {
    let node = node();
    let patience = Duration::from_millis(300);
    let silent = || node.shared().silent_worker(patience);
    let has_turns = wait_until(Deadline::after(SOON), || silent().is_none());
    assert!(has_turns, "a worker that lives has its turns");
    node.stop();
    assert!(wait_until(Deadline::after(SOON), || silent() == Some(0)), "it is not missed");
}

/// Commands hear of a new configuration before its TLS is in force, or without it where that fails.
#[test]
fn tls_towards_servers_that_is_not_in_force_yet_is_built_for_whoever_needs_it() {
    let node = node();
    let runtime = highgate_io::tasks::local_runtime().unwrap();
    let backend = BackendName::from("b");
    let tls = |mode, ca: Option<&str>| Tls { mode, cert: None, key: None, ca: ca.map(Into::into) };
    let had = |wanted: &Tls| {
        let by = clock::now() + SOON;
        runtime.block_on(tls_files::towards(node.shared(), &backend, wanted, by)).is_some()
    };
    let is_at_hand = |wanted: &Tls| tls_files::at_hand(node.shared(), &backend, wanted).is_some();
    let required = tls(TlsMode::Required, None);
    assert!(!is_at_hand(&required));
    assert!(had(&required));
    assert!(is_at_hand(&required), "and the next one need not wait for it");
    for none in [tls(TlsMode::VerifyIdentity, Some("/nowhere.pem")), tls(TlsMode::Disabled, None)] {
        assert!(!had(&none), "{none:?}");
    }
    node.stop();
}

/// A listener whose clients are greeted, there.
fn at(binds: &str) -> Config {
    let text = format!(
        "[[listener]]\nname = 'l'\nbind = {binds}\nbackend = 'b'\n[[backend]]\nname = 'b'\n"
    );
    native::parse("l.toml", &text, &NodeName::from("n")).unwrap().config
}

/// A node, and a port that no other test uses.
fn with_port() -> (Node, PortLease, u16) {
    let lease = PortLease::take().unwrap();
    let port = lease.port();
    (node(), lease, port)
}

/// "Address already in use", by Highgate itself: only a stop let a listener be opened to the network.
#[test]
fn a_listener_is_widened_and_narrowed_on_its_port() {
    let (node, _lease, port) = with_port();
    let mut clients = Vec::new();
    for (binds, addresses) in [
        ("'127.0.0.1:P'", vec!["127.0.0.1"]),
        ("'0.0.0.0:P'", vec!["127.0.0.1", "127.0.0.2"]),
        ("'[::]:P'", vec!["127.0.0.1", "127.0.0.2", "[::1]"]),
        ("'0.0.0.0:P'", vec!["127.0.0.1", "127.0.0.2"]),
        ("['127.0.0.1:P', '127.0.0.2:P']", vec!["127.0.0.1", "127.0.0.2"]),
        ("'localhost:P'", vec!["127.0.0.1"]),
        ("'127.0.0.1:P'", vec!["127.0.0.1"]),
        ("'*:P'", vec!["127.0.0.1", "127.0.0.2"]),
        ("'127.0.0.1:P'", vec!["127.0.0.1"]),
    ] {
        let config = at(&binds.replace('P', &port.to_string()));
        node.get_ready(&config).unwrap_or_else(|error| panic!("{binds}: {error}"));
        node.apply(&config).unwrap_or_else(|error| panic!("{binds}: {error}"));
        clients.extend(addresses.iter().map(|address| greeted(&format!("{address}:{port}"))));
    }
    let is_narrow = || TcpStream::connect(("127.0.0.2", port)).is_err();
    assert!(wait_until(Deadline::after(SOON), is_narrow), "the wide one is closed");
    node.stop();
}

#[test]
fn an_address_that_another_process_has_is_refused_and_the_listener_stays() {
    let (node, _lease, port) = with_port();
    node.apply(&at(&format!("'127.0.0.1:{port}'"))).unwrap();
    let other = std::net::TcpListener::bind(("127.0.0.2", port)).unwrap();
    let wide = at(&format!("'0.0.0.0:{port}'"));
    let Err(ApplyError::Bind { cause, .. }) = node.apply(&wide) else { panic!("it is another's") };
    assert_eq!(cause.kind(), io::ErrorKind::AddrInUse);
    greeted(&format!("127.0.0.1:{port}"));
    drop(other);
    node.apply(&wide).unwrap();
    greeted(&format!("127.0.0.2:{port}"));
    node.stop();
}

#[test]
fn a_process_behind_widens_a_listener_that_the_one_before_serves() {
    let (before, _lease, port) = with_port();
    before.apply(&at(&format!("'127.0.0.1:{port}'"))).unwrap();
    let given = before.sockets().unwrap().into_iter();
    let behind = node();
    behind.inherit(given.map(|(name, address, socket)| ((name, address), socket)).collect());
    behind.apply(&at(&format!("'0.0.0.0:{port}'"))).unwrap();
    greeted(&format!("127.0.0.2:{port}"));
    before.stop();
    greeted(&format!("127.0.0.1:{port}"));
    behind.stop();
}

#[test]
fn who_came_before_a_listener_was_widened_is_served() {
    /// A hand on the worker, as the count of loops that accept shows.
    const HELD: u32 = 1000;
    let (node, _lease, port) = with_port();
    node.apply(&at(&format!("'127.0.0.1:{port}'"))).unwrap();
    let letter = Mail::Do(|worker| {
        let accepting = &worker.shared.accepting;
        accepting.fetch_add(HELD, Ordering::AcqRel);
        let is_let_go = || accepting.load(Ordering::Acquire) < HELD;
        assert!(wait_until(Deadline::after(SOON), is_let_go));
    });
    node.shared().workers[0].mail.try_send(letter).unwrap();
    let accepting = || node.shared().accepting.load(Ordering::Acquire);
    assert!(wait_until(Deadline::after(SOON), || accepting() >= HELD));
    let mut early = TcpStream::connect(("127.0.0.1", port)).unwrap();
    node.apply(&at(&format!("'0.0.0.0:{port}'"))).unwrap();
    node.shared().accepting.fetch_sub(HELD, Ordering::AcqRel);
    early.set_read_timeout(Some(SOON)).unwrap();
    early.read_exact(&mut [0; 5]).expect("a greeting, though the socket it came to is closed");
    node.stop();
}
