//! A clock that is set while clients are at work: what has to take its time takes it, and nothing else
//! happens. The clock of the process alone is set, by libfaketime, which reads the offset from a file.

#[path = "common/crowd.rs"]
mod crowd;
#[path = "common/failure.rs"]
mod failure;

use std::{
    net::{IpAddr, SocketAddr},
    path::Path,
    process::Stdio,
    time::Duration,
};

use crowd::{connect_from, log_in, query};
use failure::{BINARY, ctl, run, server, until_server};
use highgate_testkit::{
    HighgateProcess, Reply, Scratch, Script, ScriptedServer,
    wait::{self, Deadline},
};

const FAKE_CLOCK: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";
const HOME: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
const BACKEND: &str = "monitor = { user = \"m\", password = \"m\", check = \"connect\" }\n\
    idle_timeout = \"1m\"\nmax_age = \"5m\"\n";
const LISTENER: &str =
    "query_timeout = \"1s\"\nidle_in_transaction_timeout = \"1m\"\nclient_timeout = \"1m\"\n";

fn hangs_at_times() -> ScriptedServer {
    let script = Script::new(|command| match command.text().as_str() {
        text if text.starts_with("SELECT SLEEP") => Reply::UntilKilled,
        text if text.starts_with("SELECT DEAF") => Reply::Hang,
        text if text.starts_with("SELECT") => Reply::value("n", "1"),
        _ => Reply::Ok,
    });
    ScriptedServer::start(script).unwrap()
}

/// A statement that hangs, to its end by the time-out; with what its client was told.
async fn timed_out(address: SocketAddr, statement: &str) -> (Duration, String) {
    let mut stream = connect_from(HOME, address).await.unwrap();
    log_in(&mut stream, "app").await.unwrap();
    let asked = wait::now();
    let error = query(&mut stream, statement).await.unwrap_err();
    (wait::now() - asked, error.to_string())
}

/// The program, with a clock that goes by that file.
fn start(text: &str, offset: &Path) -> HighgateProcess {
    HighgateProcess::start_with(BINARY, text, |command| {
        command.env("LD_PRELOAD", FAKE_CLOCK).env("FAKETIME_NO_CACHE", "1");
        command.env("FAKETIME_TIMESTAMP_FILE", offset).env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    })
    .unwrap()
}

/// Every session was taken for a quiet one, and ended between two of its commands at once.
#[test]
fn a_clock_that_was_set_makes_no_busy_session_a_quiet_one_when_its_process_is_replaced() {
    if !Path::new(FAKE_CLOCK).exists() {
        return eprintln!("skipped: no libfaketime (faketime)");
    }
    let scratch = Scratch::new("clock-replaced").unwrap();
    let offset = scratch.join("offset");
    std::fs::write(&offset, "+0").unwrap();
    let database = hangs_at_times();
    let text = failure::toml(&[database.addr()], BACKEND, LISTENER);
    let process = start(&format!("drain_timeout = \"8s\"\n{text}"), &offset);
    let address = process.listener("shop").unwrap();
    let busy = std::thread::spawn(move || {
        run(async {
            let mut stream = connect_from(HOME, address).await?;
            log_in(&mut stream, "app").await?;
            loop {
                if let Err(error) = query(&mut stream, "SELECT 1").await {
                    return anyhow::Ok((wait::now(), error.to_string()));
                }
                let _ = wait::wait_until(Deadline::after(Duration::from_millis(20)), || false);
            }
        })
    });
    let sessions = || failure::table(&process, "sessions");
    wait::eventually(Deadline::seconds(5), "the session to be at work", || {
        let commands = sessions()?.first().and_then(|it| it["commands"].as_u64());
        anyhow::ensure!(commands > Some(2), "{commands:?}");
        Ok(())
    })
    .unwrap();
    std::fs::write(&offset, "+1h").unwrap();
    let shown = sessions().unwrap();
    let age = |column: &str| shown[0][column].as_u64().unwrap();
    assert!(age("seconds") < 60 && age("age") < 60, "{shown:?}");
    let new = HighgateProcess::start_with(BINARY, "", |command| {
        let data = process.folder().join("highgate-data");
        let mut behind = std::process::Command::new(BINARY);
        behind.arg("run").arg(process.config_file()).args(["--replace", "--data-dir"]).arg(data);
        behind.current_dir(process.folder()).stdin(Stdio::null()).stdout(Stdio::null());
        behind.stderr(Stdio::piped());
        *command = behind;
    })
    .unwrap();
    let taken = wait::now();
    let (ended, why) = busy.join().unwrap().unwrap();
    let after = ended.saturating_duration_since(taken);
    assert!(after > Duration::from_secs(2), "{after:?}: {why}");
    drop(new);
}

#[test]
fn a_clock_that_is_set_ends_no_session_early_and_no_time_out_late() {
    if !Path::new(FAKE_CLOCK).exists() {
        return eprintln!("skipped: no libfaketime (faketime)");
    }
    let scratch = Scratch::new("clock").unwrap();
    let offset = scratch.join("offset");
    let set = |text: &str| std::fs::write(&offset, text).unwrap();
    set("+0");
    let database = hangs_at_times();
    let text = failure::toml(&[database.addr()], BACKEND, LISTENER);
    let process = start(&text, &offset);
    let address = process.listener("shop").unwrap();
    run(async {
        let mut stream = connect_from(HOME, address).await.unwrap();
        log_in(&mut stream, "app").await.unwrap();
        query(&mut stream, "BEGIN").await.unwrap();
        let opened = server(&process, "db1").unwrap().connections;
        for step in ["+1h", "-1h", "+365d"] {
            set(step);
            let (took, told) = timed_out(address, "SELECT SLEEP(1000)").await;
            eprintln!("{step}: a time-out of 1 s took {took:?}: {told}");
            assert!(took > Duration::from_millis(900), "{step}: {took:?}");
            assert!(took < Duration::from_secs(5), "{step}: {took:?}");
            assert!(!told.contains("did not confirm"), "{step}: {told}");
            query(&mut stream, "SELECT 1").await.unwrap();
        }
        // Who does not end it when told has five seconds more.
        let (took, told) = timed_out(address, "SELECT DEAF").await;
        eprintln!("a server that does not obey: {took:?}: {told}");
        assert!(took > Duration::from_millis(5900) && took < Duration::from_secs(12), "{took:?}");
        assert!(told.contains("did not confirm"), "{told}");
        query(&mut stream, "COMMIT").await.unwrap();
        // One for each statement that hung, and one to end it; the transaction's own stayed.
        let more = server(&process, "db1").unwrap().connections - opened;
        assert!(more <= 10, "{more} connections more");
    });
    // The checks have gone on, and still find what there is to be found.
    assert_eq!(server(&process, "db1").unwrap().status, "up");
    drop(database);
    until_server(&process, "db1", Duration::from_secs(20), |db1| db1.status == "down").unwrap();
    let events = ctl(&process, &["events", "--last", "50"]).unwrap();
    eprintln!("{events}");
    assert_eq!(events.matches("server_down").count(), 1, "{events}");
}
