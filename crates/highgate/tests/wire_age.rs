//! What ends by the clock: server connections by their age, clients by their silence.

#[path = "common/failure.rs"]
mod failure;
#[path = "client/raw.rs"]
mod raw;

use std::time::Duration;

use failure::start;
use highgate_testkit::{Reply, Script, ScriptedServer, wait, wait::Deadline};
use raw::{RawClient, USUAL};

fn database() -> ScriptedServer {
    let script = Script::new(|command| match command.text().as_str() {
        text if text.starts_with("SELECT @@") => Reply::variables(text),
        // The number of the server's connection.
        text if text.starts_with("SELECT") => Reply::value("n", &command.connection.to_string()),
        _ => Reply::Ok,
    });
    ScriptedServer::start(script).unwrap()
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
    let began = wait::now();
    wait::eventually(Deadline::seconds(10), "three ages", || {
        anyhow::ensure!(client.value("SELECT 1")? == within, "its table is there");
        anyhow::ensure!(wait::now() - began > Duration::from_secs(3));
        Ok(())
    })
    .unwrap();
    client.command(b"\x1f").unwrap();
    let after = client.value("SELECT 1").unwrap();
    assert_ne!(after, within);
    wait::eventually(Deadline::seconds(10), "a younger one", || {
        anyhow::ensure!(client.value("SELECT 1")? != after);
        Ok(())
    })
    .unwrap();
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
