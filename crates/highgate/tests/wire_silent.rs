//! Servers whose process hangs: the kernel goes on taking connections for it, and nothing is said there.

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
use faulty::{VICTIM, faulty, script, usual, victims};
use highgate_testkit::{
    scripted::{Command, Reply, Script, ScriptedServer},
    wait,
};
use raw::{RawClient, USUAL};

/// A server that answers rightly until `hangs` says so, and then says nothing, to newcomers too.
fn hanging(hangs: &Arc<AtomicBool>) -> ScriptedServer {
    let [for_commands, for_logins] = [hangs.clone(), hangs.clone()];
    let answers = move |command: &Command| {
        if for_commands.load(Ordering::Relaxed) {
            return Reply::Hang;
        }
        if command.text().contains(VICTIM) { Reply::value("n", "1") } else { usual(command) }
    };
    let script = Script::new(answers)
        .greets(move |_| for_logins.load(Ordering::Relaxed).then_some(Reply::Hang));
    ScriptedServer::start(script).unwrap()
}

#[test]
fn a_connection_that_is_being_opened_ends_when_its_server_is_found_hanging() {
    let hangs = Arc::new(AtomicBool::new(false));
    let flag = hangs.clone();
    let first =
        Script::new(usual).greets(move |_| flag.load(Ordering::Relaxed).then_some(Reply::Hang));
    let first = ScriptedServer::start(first).unwrap();
    let second = faulty(|_| None).unwrap();
    let backend = "monitor = { user = \"m\", password = \"m\", check = \"handshake\", interval = \"200ms\", \
                   timeout = \"300ms\", fall = 2 }\nbalance = \"first\"\nconnect_timeout = \"60s\"\n";
    let text = toml(&[first.addr(), second.addr()], backend, "");
    let process = failure::start(&text, 2).unwrap();
    let address = process.listener("shop").unwrap();
    let mut client = RawClient::connect(address, "app", "app", None, USUAL).unwrap();
    hangs.store(true, Ordering::Relaxed);
    let began = wait::now();
    assert_eq!(client.value("SELECT n FROM victim").unwrap(), "1");
    assert!(wait::now() - began < Duration::from_secs(30), "not for all of `connect_timeout`");
    assert_eq!(victims(&second).len(), 1);
}

/// The kernel of a process that hangs goes on taking connections, and that was taken for a sign of life: each session
/// in turn waited for it.
#[test]
fn a_server_that_takes_connections_and_says_nothing_is_left_though_checks_only_connect() {
    let hangs = Arc::new(AtomicBool::new(true));
    let flag = hangs.clone();
    let first =
        script(|_| None).greets(move |_| flag.load(Ordering::Relaxed).then_some(Reply::Hang));
    let first = ScriptedServer::start(first).unwrap();
    let second = faulty(|_| None).unwrap();
    let backend = "monitor = { interval = \"200ms\", timeout = \"300ms\", fall = 2 }\nbalance = \"first\"\n\
                   connect_timeout = \"1s\"\nslow_start = \"0s\"\n";
    let text = toml(&[first.addr(), second.addr()], backend, "");
    let process = failure::start(&text, 2).unwrap();
    let read = || {
        let address = process.listener("shop").unwrap();
        let mut client = RawClient::connect(address, "app", "app", None, USUAL).unwrap();
        assert_eq!(client.value("SELECT n FROM victim").unwrap(), "1");
    };
    read();
    let is = |status: &'static str| {
        let within = Duration::from_secs(10);
        failure::until_server(&process, "db1", within, |it| it.status == status).unwrap();
    };
    is("down");
    for _ in 0..10 {
        read();
    }
    assert_eq!(victims(&second).len(), 11);
    let events = failure::ctl(&process, &["show", "events"]).unwrap();
    assert!(!events.contains("gives new connections again"), "{events}");
    hangs.store(false, Ordering::Relaxed);
    is("up");
    read();
    assert_eq!(victims(&first).len(), 1);
}

/// Nothing but another session's login told that it hangs.
#[test]
fn a_server_that_owes_an_answer_and_hangs_is_found_though_checks_only_connect() {
    let hangs = Arc::new(AtomicBool::new(false));
    let first = hanging(&hangs);
    let second = faulty(|_| None).unwrap();
    let backend = "monitor = { interval = \"200ms\", timeout = \"300ms\" }\nbalance = \"first\"\n";
    let process = failure::start(&toml(&[first.addr(), second.addr()], backend, ""), 2).unwrap();
    let address = process.listener("shop").unwrap();
    let mut client = RawClient::connect(address, "app", "app", None, USUAL).unwrap();
    for _ in 0..3 {
        assert_eq!(client.value("SELECT n FROM victim").unwrap(), "1");
    }
    hangs.store(true, Ordering::Relaxed);
    assert_eq!(client.value("SELECT n FROM victim").unwrap(), "1");
    let events = failure::ctl(&process, &["show", "events"]).unwrap();
    assert!(events.contains("no login in time"), "{events}");
    assert_eq!(victims(&second).len(), 1);
}

/// It waited for all of `handshake_timeout`.
#[test]
fn a_login_with_a_schema_leaves_an_idle_connection_whose_server_hangs() {
    let hangs = Arc::new(AtomicBool::new(false));
    let first = hanging(&hangs);
    let second = faulty(|_| None).unwrap();
    let backend = "balance = \"first\"\nconnect_timeout = \"1s\"\n";
    let text = toml(&[first.addr(), second.addr()], backend, "handshake_timeout = \"60s\"\n");
    let process = failure::start(&text, 2).unwrap();
    let address = process.listener("shop").unwrap();
    let connect = |schema| RawClient::connect(address, "app", "app", schema, USUAL).unwrap();
    // Each worker has an idle connection.
    for _ in 0..8 {
        assert_eq!(connect(None).value("SELECT n FROM victim").unwrap(), "1");
    }
    hangs.store(true, Ordering::Relaxed);
    let began = wait::now();
    assert_eq!(connect(Some("other")).value("SELECT n FROM victim").unwrap(), "1");
    assert!(wait::now() - began < Duration::from_secs(30), "not for all of `handshake_timeout`");
    assert_eq!(victims(&second).len(), 1);
}
