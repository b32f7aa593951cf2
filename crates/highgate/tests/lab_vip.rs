//! Two nodes and the address that moves between them, in a lab: whoever dies, one has it.

#[path = "common/vips.rs"]
mod vips;

use std::time::{Duration, Instant};

use highgate_testkit::{Lab, wait};
use rustix::process::Signal;
use vips::{Node, Seen, holders, lab, last, serve, signal, toml, until_held, with_clients};

/// Within this the other node has the address when one process died.
const SOON: Duration = Duration::from_millis(2500);
/// A client gives up waiting for one answer.
const PATIENCE: Duration = Duration::from_millis(100);
const START: Duration = Duration::from_secs(10);

/// Two nodes, the first of which holds the address, with clients that use it.
fn with_two(
    test: impl FnOnce(&Lab, &Seen, [Node<'_>; 2]) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let Some(lab) = lab(3)? else { return Ok(()) };
    serve(&lab)?;
    let nodes = [Node::start(&lab, 1, &toml(100, ""))?, Node::start(&lab, 2, &toml(80, ""))?];
    until_held(&lab, 1, START)?;
    nodes[0].until("active")?;
    nodes[1].until("backup")?;
    with_clients(&lab, 1, PATIENCE, |seen| {
        seen.until_answered_by(1, wait::now(), START)?;
        test(&lab, seen, nodes)
    })?;
    Ok(())
}

/// Host 2 takes over from now on, and its clients are answered.
fn moves(
    lab: &Lab,
    seen: &Seen,
    what: &str,
    since: Instant,
    within: Duration,
) -> anyhow::Result<()> {
    until_held(lab, 2, within)?;
    let held = since.elapsed();
    seen.until_answered_by(2, since, within)?;
    let outage = seen.outage(since);
    eprintln!("{what}: held by the other after {held:?}, clients waited {outage:?}");
    anyhow::ensure!(outage < within, "clients waited {outage:?}");
    Ok(())
}

#[test]
fn of_two_that_start_at_once_exactly_one_holds_the_address() {
    let Some(lab) = lab(3).unwrap() else { return };
    serve(&lab).unwrap();
    let (one, other) = std::thread::scope(|scope| {
        let one = scope.spawn(|| Node::start(&lab, 1, &toml(100, "")));
        let other = scope.spawn(|| Node::start(&lab, 2, &toml(80, "")));
        (one.join().unwrap().unwrap(), other.join().unwrap().unwrap())
    });
    let took = until_held(&lab, 1, START).unwrap();
    eprintln!("the first one held it {took:?} after both were ready");
    // As many answers as it takes to find one of the other, however slow the machine is.
    let seen = with_clients(&lab, 2, START, |seen| {
        seen.until_answered_by(1, wait::now(), START)?;
        while seen.totals(START).0 < 100 {
            anyhow::ensure!(holders(&lab)? == [1]);
            last(Duration::from_millis(50));
        }
        Ok(())
    });
    let (count, failed, _) = seen.unwrap().totals(START);
    assert!(failed.is_empty(), "{count} requests: {failed:?}");
    assert_eq!(one.shown("state").unwrap(), "active");
    assert_eq!(other.shown("state").unwrap(), "backup");
    // Their skew differs by 78 ms only: the other may have begun, and given way.
    assert!(one.count("became_active").unwrap() == 1 && other.count("became_active").unwrap() < 2);
}

#[test]
fn a_killed_keeper_loses_the_address_to_the_other_node_and_is_replaced() {
    let test = |lab: &Lab, seen: &Seen, nodes: [Node<'_>; 2]| {
        let since = wait::now();
        nodes[0].kill("vip-keeper")?;
        moves(lab, seen, "keeper killed", since, SOON)?;
        nodes[0].until_told(&["the process that keeps the addresses died"])?;
        // Its successor is of the higher priority again.
        until_held(lab, 1, START)?;
        seen.until_answered_by(1, wait::now(), START)?;
        // And is watched as the first one was.
        let since = wait::now();
        nodes[0].kill("vip-keeper")?;
        moves(lab, seen, "its successor killed", since, SOON)
    };
    with_two(test).unwrap();
}

#[test]
fn a_killed_main_process_loses_the_address_to_the_other_node() {
    let test = |lab: &Lab, seen: &Seen, nodes: [Node<'_>; 2]| {
        let since = wait::now();
        nodes[0].process.signal(Signal::KILL)?;
        moves(lab, seen, "main process killed", since, SOON)?;
        let gone = |role| nodes[0].find(role).is_none();
        let deadline = wait::Deadline::seconds(5);
        anyhow::ensure!(wait::wait_until(deadline, || gone("vip-keeper") && gone("vip-watcher")));
        Ok(())
    };
    with_two(test).unwrap();
}

#[test]
fn a_killed_watcher_is_replaced_and_the_address_stays() {
    let test = |lab: &Lab, seen: &Seen, nodes: [Node<'_>; 2]| {
        let since = wait::now();
        let before = nodes[0].pid("vip-watcher")?;
        signal(before, Signal::KILL)?;
        wait::eventually(wait::Deadline::seconds(5), "another watcher", || {
            anyhow::ensure!(holders(lab)? == [1], "the address moved");
            anyhow::ensure!(nodes[0].find("vip-watcher").is_some_and(|pid| pid != before));
            Ok(())
        })?;
        nodes[0].until_told(&["the process that watches this one died; another is started"])?;
        anyhow::ensure!(holders(lab)? == [1] && nodes[1].count("became_active")? == 0);
        // It was held without a gap: nobody had to take it, this one included.
        anyhow::ensure!(nodes[0].count("became_active")? == 1, "{}", nodes[0].events()?);
        eprintln!("clients waited {:?}", seen.outage(since));
        // The new one does its work.
        let since = wait::now();
        nodes[0].kill("vip-keeper")?;
        moves(lab, seen, "keeper killed under its second watcher", since, SOON)
    };
    with_two(test).unwrap();
}

#[test]
fn when_all_processes_are_killed_the_kernel_removes_the_address_and_the_other_takes_it() {
    let test = |lab: &Lab, seen: &Seen, nodes: [Node<'_>; 2]| {
        let (keeper, watcher) = (nodes[0].pid("vip-keeper")?, nodes[0].pid("vip-watcher")?);
        let since = wait::now();
        for pid in [watcher, keeper, nodes[0].process.pid()] {
            signal(pid, Signal::KILL)?;
        }
        // One of the three may have seen the end of another; at worst it takes a lifetime.
        moves(lab, seen, "all killed", since, Duration::from_secs(6))
    };
    with_two(test).unwrap();
}

#[test]
fn a_main_process_that_hangs_loses_the_address_and_gets_it_back_when_it_answers() {
    let test = |lab: &Lab, seen: &Seen, nodes: [Node<'_>; 2]| {
        let since = wait::now();
        nodes[0].process.signal(Signal::STOP)?;
        let moved = moves(lab, seen, "main process stopped", since, Duration::from_secs(5));
        nodes[0].process.signal(Signal::CONT)?;
        moved?;
        nodes[0].until_told(&["the main process does not answer", "answers again"])?;
        until_held(lab, 1, START)?;
        Ok(())
    };
    with_two(test).unwrap();
}
