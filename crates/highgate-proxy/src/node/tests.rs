//! Listeners and the workers that are to serve them.

use highgate_config::native;
use highgate_testkit::wait::{Deadline, wait_until};

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

fn told(node: &Node) -> Vec<String> {
    node.shared().events().into_iter().map(|(_, event)| event.text).collect()
}

#[test]
fn a_listener_that_a_worker_takes_is_served() {
    let node = node();
    node.apply(&config()).unwrap();
    assert_eq!(node.unserved(), None);
    node.stop();
}

#[test]
fn a_listener_that_no_worker_takes_is_unserved_and_told() {
    let node = node();
    node.stop();
    node.apply(&config()).unwrap();
    assert_eq!(node.unserved(), Some("l".into()));
    assert_eq!(node.unserved(), Some("l".into()), "nobody takes it later either");
    let told = told(&node);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].starts_with("no data worker takes listener l on 127.0.0.1:"), "{told:?}");
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
    while shared.workers[0].mail.try_send(Mail::SnapshotChanged).is_ok() {}
    node.apply(&config()).unwrap();
    assert_eq!(node.unserved(), Some("l".into()));
    let (stopper, stop) = Stopper::new();
    let thread = seeds.pop().unwrap().start(shared.clone(), stop).unwrap();
    let is_served = || node.unserved().is_none() && shared.accepting.load(Ordering::Acquire) > 0;
    assert!(wait_until(Deadline::after(SOON), is_served), "it is not served");
    node.stop_accepting();
    stopper.stop();
    thread.join().unwrap();
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
