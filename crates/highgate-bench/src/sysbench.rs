//! A real MariaDB under sysbench's own workloads: directly, through HAProxy and the others.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::Command;

use anyhow::Context as _;
use highgate_testkit::{MariaDb, MariaDbOptions};

use crate::contender::{Process, which};
use crate::report::{Cell, Line};
use crate::setup::{Place, Shape};

/// sysbench's name of a workload, and ours.
pub(crate) const WORKLOADS: [(&str, &str); 3] = [
    ("oltp_read_only", "sysbench-read-only"),
    ("oltp_read_write", "sysbench-read-write"),
    ("oltp_point_select", "sysbench-point-select"),
];
const THREADS: &str = "16";

/// What one run of sysbench said.
#[derive(Debug, Clone, Copy)]
struct Sample {
    per_second: f64,
    p99: f64,
    cpu_micros: f64,
    errors: f64,
}

/// Runs the three workloads, every contender in turn.
pub(crate) fn run(
    place: &Place,
    rounds: usize,
    seconds: u32,
    wanted: impl Fn(&str) -> bool,
) -> anyhow::Result<Vec<Line>> {
    anyhow::ensure!(MariaDb::is_installed(), "MariaDB is not installed");
    which("sysbench").context("sysbench is not installed")?;
    let database = MariaDb::start_with(MariaDbOptions {
        args: ["--log-bin=binlog", "--server-id=1", "--innodb-buffer-pool-size=512M"]
            .map(str::to_owned)
            .to_vec(),
        ..MariaDbOptions::default()
    })?;
    database.sql(
        "CREATE DATABASE sbtest; CREATE DATABASE bench; \
         CREATE TABLE bench.t (id BIGINT PRIMARY KEY, k BIGINT, c TEXT)",
    )?;
    database.create_user("app", "app", "ALL ON *.*")?;
    sysbench(database.addr(), "oltp_read_only", "prepare", 0)?;
    let shape = Shape::mysql();
    let mut proxies = place.others(&shape, database.addr())?;
    let own = place.highgate(&shape, &[database.addr()])?;
    proxies.extend(own.map(|process| ("highgate", process)));
    let mut lines = Vec::new();
    for (workload, work) in WORKLOADS.into_iter().filter(|(_, work)| wanted(work)) {
        let mut samples: BTreeMap<&str, Vec<Sample>> = BTreeMap::new();
        for _ in 0..rounds {
            let mut take = |name, process: Option<&Process>, addr| {
                let sample = one(process, addr, workload, seconds);
                let sample = sample.with_context(|| format!("{workload} through {name}"))?;
                samples.entry(name).or_default().push(sample);
                anyhow::Ok(())
            };
            take("direct", None, database.addr())?;
            for (name, process) in &proxies {
                take(name, Some(process), process.addr)?;
            }
        }
        lines.extend(samples.iter().map(|(name, all)| line(work, name, all, &samples)));
    }
    Ok(lines)
}

fn one(
    process: Option<&Process>,
    addr: SocketAddr,
    workload: &str,
    seconds: u32,
) -> anyhow::Result<Sample> {
    let before = process.map_or(0, Process::cpu_nanos);
    let text = sysbench(addr, workload, "run", seconds)?;
    let cpu = process.map_or(0, Process::cpu_nanos) - before;
    let operations = after(&text, "transactions:").context("no transactions in its output")?;
    Ok(Sample {
        per_second: operations / f64::from(seconds),
        p99: after(&text, "99th percentile:").unwrap_or(0.0),
        cpu_micros: cpu as f64 / 1e3 / operations.max(1.0),
        errors: after(&text, "ignored errors:").unwrap_or(0.0),
    })
}

fn sysbench(addr: SocketAddr, workload: &str, step: &str, seconds: u32) -> anyhow::Result<String> {
    let mut command = Command::new("sysbench");
    command.args([workload, "--db-driver=mysql", "--mysql-user=app", "--mysql-password=app"]);
    command.args(["--mysql-db=sbtest", "--tables=4", "--table-size=10000", "--percentile=99"]);
    command.args(["--mysql-ignore-errors=1213,1205,1020"]);
    command.arg(format!("--mysql-host={}", addr.ip()));
    command.arg(format!("--mysql-port={}", addr.port()));
    command.arg(format!("--threads={}", if step == "run" { THREADS } else { "1" }));
    command.arg(format!("--time={seconds}")).arg(step);
    let output = command.output().context("starting sysbench")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    anyhow::ensure!(
        output.status.success(),
        "sysbench: {text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(text)
}

/// The first number after a label.
fn after(text: &str, label: &str) -> Option<f64> {
    let rest = text.split_once(label)?.1;
    rest.split_whitespace().next()?.parse().ok()
}

fn line(work: &str, name: &str, all: &[Sample], samples: &BTreeMap<&str, Vec<Sample>>) -> Line {
    let middle = |all: &[Sample], of: fn(&Sample) -> f64| {
        let mut values: Vec<f64> = all.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or(0.0)
    };
    let cpu = |all: &[Sample]| middle(all, |sample| sample.cpu_micros);
    let ratio = match samples.get("haproxy") {
        Some(base) if name != "direct" => Cell::Number(cpu(all) / cpu(base), 3),
        _ => Cell::None,
    };
    let shown = if name == "direct" { Cell::None } else { Cell::Number(cpu(all), 1) };
    Line {
        work: work.to_owned(),
        contender: name.to_owned(),
        cells: vec![
            ("CPU µs/transaction", shown),
            ("ratio to HAProxy", ratio),
            ("transactions/s", Cell::Number(middle(all, |sample| sample.per_second), 0)),
            ("p99 ms", Cell::Number(middle(all, |sample| sample.p99), 2)),
            ("errors", Cell::Number(middle(all, |sample| sample.errors), 0)),
            ("rounds", Cell::Number(all.len() as f64, 0)),
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_after_a_label_is_found() {
        let text = "    transactions:   1234   (61.5 per sec.)\n  99th percentile:  7.25\n";
        assert_eq!(after(text, "transactions:"), Some(1234.0));
        assert_eq!(after(text, "99th percentile:"), Some(7.25));
        assert_eq!(after(text, "queries:"), None);
    }
}
