//! The demo, played for a few seconds: it proves its promises itself, and leaves nothing behind.

use std::{
    process::{Command, Stdio},
    time::Duration,
};

use highgate_testkit::{Deadline, MariaDb, wait_until};

const BINARY: &str = env!("CARGO_BIN_EXE_highgate");

fn demo() -> Command {
    let mut command = Command::new(BINARY);
    command.args(["demo", "--seconds", "6"]);
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    command.stderr(Stdio::piped());
    command
}

#[test]
fn a_switchover_and_a_kill_break_no_promise() {
    if !MariaDb::is_installed() {
        eprintln!("left out: MariaDB is not installed");
        return;
    }
    let output = demo().output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{complained}");
    assert!(said.contains("Every promise was kept."), "{said}");
    assert!(said.contains("0 lost, 0 doubled"), "{said}");
    assert!(!said.contains('✘'), "{said}");
    assert!(said.contains("ops/s"), "no running line: {said}");
}

#[test]
fn a_demo_that_is_interrupted_leaves_nothing_behind() {
    if !MariaDb::is_installed() {
        eprintln!("left out: MariaDB is not installed");
        return;
    }
    let scratch = highgate_testkit::Scratch::new("demo").unwrap();
    let mut running = demo().env("TMPDIR", scratch.path()).spawn().unwrap();
    let folder = scratch.join(&format!("highgate-demo-{}", running.id()));
    let serves = wait_until(Deadline::after(Duration::from_secs(40)), || {
        folder.join("highgate.pid").exists() || running.try_wait().unwrap().is_some()
    });
    assert!(serves && folder.exists(), "it did not come so far");
    let pids: Vec<String> = ["db1", "db2", "db3", "highgate"]
        .iter()
        .map(|name| std::fs::read_to_string(folder.join(format!("{name}.pid"))).unwrap())
        .collect();
    // As hard as it gets: nothing of the demo can run any more.
    running.kill().unwrap();
    running.wait().unwrap();
    let is_gone = || {
        let lives = |pid: &String| std::path::Path::new(&format!("/proc/{pid}/exe")).exists();
        !folder.exists() && !pids.iter().any(lives)
    };
    assert!(wait_until(Deadline::seconds(10), is_gone), "{pids:?} or {folder:?} is left");
}
