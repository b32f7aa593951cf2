//! Time that an outage costs clients: a reader that is killed, and a replica that is promoted.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use highgate_testkit::{MariaDb, ReplicationCluster};

use crate::client::Client;
use crate::load::{Load, SLOW, Work, drive};
use crate::poll::{now, pause};
use crate::report::{Cell, Line};
use crate::setup::{Place, Shape, serves};

/// The monitor's interval in these scenarios.
const INTERVAL: Duration = Duration::from_millis(500);

/// Kills one of two replicas under reading load: milliseconds until the last error or wait.
pub(crate) fn reader(place: &Place, rounds: usize) -> anyhow::Result<Vec<Line>> {
    let mut millis = Vec::new();
    let mut errors = 0;
    for _ in 0..rounds {
        let primary = place.lean("mysql", None, 1)?;
        let kept = place.lean("mysql", Some(primary.addr), 2)?;
        let mut killed = place.lean("mysql", Some(primary.addr), 3)?;
        let shape = Shape { interval: INTERVAL, ..Shape::mysql() };
        let servers = [primary.addr, kept.addr, killed.addr];
        let Some(proxy) = place.highgate(&shape, &servers)? else {
            return Ok(Vec::new());
        };
        let load = Load {
            to: proxy.addr,
            work: Work::Text,
            connections: 16,
            new_eof: true,
            warm: Duration::from_millis(1500),
            measured: Duration::from_millis(3000),
        };
        let mut at = None;
        let mut marks = 0;
        let outcome = drive(&load, |_| {
            marks += 1;
            if marks == 1 {
                killed.kill();
                at = Some(now());
            }
        })?;
        errors += outcome.errors;
        millis.push(match (outcome.last_trouble, at) {
            (Some(last), Some(at)) => last.saturating_duration_since(at).as_secs_f64() * 1e3,
            _ => 0.0,
        });
    }
    millis.sort_by(f64::total_cmp);
    let middle = millis.get(millis.len() / 2).copied().unwrap_or(0.0);
    Ok(vec![Line {
        work: "reader-killed".to_owned(),
        contender: "highgate-split".to_owned(),
        cells: vec![
            ("ms to the last error or wait", Cell::Number(middle, 1)),
            ("most ms", Cell::Number(millis.last().copied().unwrap_or(0.0), 1)),
            ("errors", Cell::Number(errors as f64, 0)),
            ("a wait is over ms", Cell::Number(SLOW.as_secs_f64() * 1e3, 0)),
            ("rounds", Cell::Number(rounds as f64, 0)),
        ],
    }])
}

/// Kills a real primary and promotes a replica: milliseconds from the promotion to the first write that succeeds.
pub(crate) fn promotion(place: &Place, rounds: usize) -> anyhow::Result<Vec<Line>> {
    anyhow::ensure!(MariaDb::is_installed(), "MariaDB is not installed");
    let mut millis = Vec::new();
    for _ in 0..rounds {
        let cluster = ReplicationCluster::start_semi_sync(3)?;
        cluster.primary()?.sql(
            "CREATE DATABASE bench; CREATE TABLE bench.t (id BIGINT PRIMARY KEY, k BIGINT, c TEXT); \
             INSERT INTO bench.t VALUES (0, 0, 'x')",
        )?;
        cluster.wait_caught_up()?;
        let shape = Shape { interval: INTERVAL, monitor: "monitor", ..Shape::mysql() };
        let servers: Vec<_> = cluster.nodes().iter().map(|node| node.addr()).collect();
        let Some(proxy) = place.highgate(&shape, &servers)? else {
            return Ok(Vec::new());
        };
        serves(proxy.addr)?;
        let done = AtomicBool::new(false);
        let took = std::thread::scope(|scope| {
            let writer = scope.spawn(|| writes(&proxy, &done));
            pause(Duration::from_millis(1000));
            let promoted = promote(&cluster);
            pause(Duration::from_millis(4000));
            done.store(true, Ordering::Relaxed);
            let times = writer.join().ok().context("the writer panicked")?;
            let promoted = promoted?;
            let first = times.into_iter().find(|at| *at > promoted);
            let first = first.context("no write succeeded within 4 s of the promotion")?;
            anyhow::Ok(first - promoted)
        })?;
        millis.push(took.as_secs_f64() * 1e3);
    }
    millis.sort_by(f64::total_cmp);
    Ok(vec![Line {
        work: "promotion".to_owned(),
        contender: "highgate-split".to_owned(),
        cells: vec![
            (
                "ms to the first write",
                Cell::Number(millis.get(millis.len() / 2).copied().unwrap_or(0.0), 1),
            ),
            ("most ms", Cell::Number(millis.last().copied().unwrap_or(0.0), 1)),
            ("check interval ms", Cell::Number(INTERVAL.as_secs_f64() * 1e3, 0)),
            ("rounds", Cell::Number(rounds as f64, 0)),
        ],
    }])
}

/// Kills the primary and promotes; gives the time at which the new one began to take writes.
fn promote(cluster: &ReplicationCluster) -> anyhow::Result<Instant> {
    cluster.primary()?.kill9();
    pause(Duration::from_millis(700));
    let new = cluster.node(1)?;
    // What `promote` does last is what counts; a thread that looks sees it to the millisecond.
    let seen = std::thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let end = now() + Duration::from_secs(20);
            while now() < end {
                if new.value("SELECT @@read_only").is_ok_and(|text| text == "0") {
                    return Some(now());
                }
                pause(Duration::from_millis(1));
            }
            None
        });
        cluster.promote(1)?;
        anyhow::Ok(watcher.join().ok().flatten())
    })?;
    seen.context("the promoted server stays read-only")
}

/// Writes all the time, reconnecting after errors; the times of the writes that succeeded.
fn writes(proxy: &crate::contender::Process, done: &AtomicBool) -> Vec<Instant> {
    let mut times = Vec::new();
    let mut client = None;
    while !done.load(Ordering::Relaxed) {
        let mut going = match client.take() {
            Some(going) => going,
            None => match Client::login(proxy.addr) {
                Ok(fresh) => fresh,
                Err(_) => {
                    pause(Duration::from_millis(1));
                    continue;
                }
            },
        };
        match going.query("UPDATE bench.t SET k = k + 1 WHERE id = 0") {
            Ok(()) => {
                times.push(now());
                client = Some(going);
            }
            Err(_) => pause(Duration::from_millis(1)),
        }
    }
    times
}
