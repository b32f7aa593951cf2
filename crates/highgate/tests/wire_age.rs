//! What ends by the clock: server connections by their age, clients by their silence.

#[path = "common/failure.rs"]
mod failure;
#[path = "client/raw.rs"]
mod raw;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use failure::start;
use highgate_testkit::{
    Reply, Script, ScriptedServer,
    scripted::Command,
    wait::{self, Deadline},
};
use raw::{RawClient, USUAL};

fn answer(command: &Command) -> Reply {
    match command.text().as_str() {
        text if text.starts_with("SELECT @@") => Reply::variables(text),
        // The number of the server's connection.
        text if text.starts_with("SELECT") => Reply::value("n", &command.connection.to_string()),
        // Autocommit is on, and a transaction open.
        "BEGIN" => Reply::OkStatus(3),
        _ => Reply::Ok,
    }
}

fn database() -> ScriptedServer {
    ScriptedServer::start(Script::new(answer)).unwrap()
}

/// Does that until so much time has passed.
fn until_passed(time: Duration, mut does: impl FnMut()) {
    let began = wait::now();
    let passed = wait::wait_until(Deadline::after(2 * time), || {
        does();
        wait::now() - began > time
    });
    assert!(passed);
}

#[test]
fn a_connection_past_its_age_is_replaced_when_it_is_free_and_never_while_a_session_needs_it() {
    let database = database();
    let backend = "max_age = \"1s\"\nmonitor = { check = \"connect\", interval = \"1h\" }\n";
    let process = start(&failure::toml(&[database.addr()], backend, ""), 1).unwrap();
    let listener = process.listener("shop").unwrap();
    let mut client = RawClient::connect(listener, "app", "app", None, USUAL).unwrap();
    let first = client.value("SELECT 1").unwrap();
    assert_eq!(client.value("SELECT 1").unwrap(), first, "used again while it is young");
    client.ok("CREATE TEMPORARY TABLE t (a INT)").unwrap();
    let within = client.value("SELECT 1").unwrap();
    until_passed(Duration::from_secs(3), || {
        assert_eq!(client.value("SELECT 1").unwrap(), within, "its table is there");
    });
    client.command(b"\x1f").unwrap();
    let after = client.value("SELECT 1").unwrap();
    assert_ne!(after, within);
    wait::eventually(Deadline::seconds(10), "a younger one", || {
        anyhow::ensure!(client.value("SELECT 1")? != after);
        Ok(())
    })
    .unwrap();
}

/// Each was closed at its age, and nobody had any more.
#[test]
fn while_a_server_gives_no_new_connections_its_open_ones_are_used_on_whatever_their_age() {
    for kept in ["", "max_idle = 0\n"] {
        let hangs = Arc::new(AtomicBool::new(false));
        let flag = hangs.clone();
        let script = Script::new(answer);
        let script = script.greets(move |_| flag.load(Ordering::Relaxed).then_some(Reply::Hang));
        let database = ScriptedServer::start(script).unwrap();
        let backend = "max_age = \"1s\"\nconnect_timeout = \"500ms\"\nmonitor = { user = \"m\", \
                       password = \"m\", check = \"ping\", interval = \"200ms\", timeout = \"300ms\" }\n";
        let toml = failure::toml(&[database.addr()], &(kept.to_owned() + backend), "");
        let process = start(&toml, 1).unwrap();
        let listener = process.listener("shop").unwrap();
        let connect = || RawClient::connect(listener, "app", "app", None, USUAL).unwrap();
        let (mut first, mut second) = (connect(), connect());
        first.ok("BEGIN").unwrap();
        hangs.store(true, Ordering::Relaxed);
        second.send(b"\x03SELECT 1").unwrap();
        wait::eventually(Deadline::seconds(10), "what it found", || {
            let events = failure::ctl(&process, &["show", "events"])?;
            anyhow::ensure!(events.contains("until a new connection is had"), "{events}");
            Ok(())
        })
        .unwrap();
        first.ok("COMMIT").unwrap();
        let open = second.answer().unwrap()[0].texts().remove(0).remove(0).unwrap();
        until_passed(Duration::from_secs(2), || {
            assert_eq!(first.value("SELECT 1").unwrap(), open, "{kept}");
            assert_eq!(second.value("SELECT 1").unwrap(), open, "{kept}");
        });
        // As long as idle ones are looked through several times.
        until_passed(Duration::from_secs(2), || {
            assert_eq!(failure::server(&process, "db1").unwrap().connections, 1, "{kept}");
        });
        assert_eq!(first.value("SELECT 1").unwrap(), open, "{kept}");
        hangs.store(false, Ordering::Relaxed);
        wait::eventually(Deadline::seconds(20), "a younger one", || {
            anyhow::ensure!(first.value("SELECT 1")? != open);
            Ok(())
        })
        .unwrap();
    }
}

#[test]
fn a_client_that_is_silent_for_too_long_is_closed_and_one_at_work_is_not() {
    let database = database();
    let backend = "monitor = { check = \"connect\" }\n";
    let toml = failure::toml(&[database.addr()], backend, "client_timeout = \"1s\"");
    let process = start(&toml, 1).unwrap();
    let listener = process.listener("shop").unwrap();
    let connect = || RawClient::connect(listener, "app", "app", None, USUAL).unwrap();
    let (mut idle, mut busy) = (connect(), connect());
    idle.value("SELECT 1").unwrap();
    let began = wait::now();
    wait::eventually(Deadline::seconds(20), "some time to pass", || {
        busy.value("SELECT 1")?;
        anyhow::ensure!(wait::now() - began > Duration::from_secs(4));
        Ok(())
    })
    .unwrap();
    let told = idle.query("SELECT 1").map(|answer| answer[0].error());
    assert!(!matches!(told, Ok(None)), "{told:?}");
    busy.value("SELECT 1").unwrap();
}
