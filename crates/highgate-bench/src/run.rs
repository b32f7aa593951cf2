//! Interleaved rounds: every contender in turn, again and again, until the ratios are known well enough.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Context as _;

use crate::contender::{Process, free_addr, haproxy_config, highgate_config, which};
use crate::load::{Load, Work, drive};

/// Proxies run alone on the first processor; servers and load share the second.
const PROXY_CPU: usize = 0;
const LOAD_CPU: usize = 1;

/// How a run is made.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) highgate: Option<PathBuf>,
    pub(crate) quick: bool,
    pub(crate) only: Option<String>,
    pub(crate) out: Option<PathBuf>,
}

struct Scenario {
    name: &'static str,
    work: Work,
    connections: usize,
    bytes: u64,
}

const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "tcp-16",
        work: Work::Tcp64,
        connections: 16,
        bytes: 0,
    },
    Scenario {
        name: "tcp-256",
        work: Work::Tcp64,
        connections: 256,
        bytes: 0,
    },
    Scenario {
        name: "text-16",
        work: Work::Text,
        connections: 16,
        bytes: 0,
    },
    Scenario {
        name: "text-256",
        work: Work::Text,
        connections: 256,
        bytes: 0,
    },
    Scenario {
        name: "mixed-16",
        work: Work::Mixed,
        connections: 16,
        bytes: 0,
    },
    Scenario {
        name: "prepared-16",
        work: Work::Prepared,
        connections: 16,
        bytes: 0,
    },
    Scenario {
        name: "prepared-256",
        work: Work::Prepared,
        connections: 256,
        bytes: 0,
    },
    Scenario {
        name: "result-1m",
        work: Work::Mib1,
        connections: 4,
        bytes: 1 << 20,
    },
    Scenario {
        name: "result-16m",
        work: Work::Mib16,
        connections: 4,
        bytes: 16 << 20,
    },
    Scenario {
        name: "cycle",
        work: Work::Cycle,
        connections: 8,
        bytes: 0,
    },
];

/// One contender's figures of one round.
#[derive(Debug, Clone, Copy, Default)]
struct Sample {
    cpu_micros: f64,
    per_second: f64,
    p50: u64,
    p99: u64,
    p999: u64,
    rss_kib: u64,
    errors: u64,
}

/// Runs all scenarios asked for and returns the table.
pub(crate) fn run(plan: &Plan) -> anyhow::Result<String> {
    let own = std::process::id().to_string();
    let pinned = Command::new("taskset")
        .args(["-cp", &LOAD_CPU.to_string(), &own])
        .output();
    pinned.context("taskset (package util-linux) pins processes")?;
    let folder = std::env::temp_dir().join(format!("highgate-bench-{own}"));
    std::fs::create_dir_all(&folder)?;
    let mut table = String::from(
        "Proxy alone on processor 0, servers and load on processor 1. Medians of interleaved rounds; `±` is half \
         the 95% interval of the median ratio.\n\n\
         | work | contender | CPU µs/op | ratio to HAProxy | ± | ops/s | p50 µs | p99 µs | p999 µs | RSS KiB | errors | rounds |\n\
         |---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n",
    );
    for scenario in SCENARIOS {
        if plan
            .only
            .as_deref()
            .is_none_or(|only| scenario.name.starts_with(only))
        {
            let rounds = play(plan, scenario, &folder);
            table.push_str(&rounds.with_context(|| scenario.name.to_owned())?);
        }
    }
    let _ = std::fs::remove_dir_all(&folder);
    if let Some(out) = &plan.out {
        std::fs::write(out, &table)?;
    }
    Ok(table)
}

fn play(plan: &Plan, scenario: &Scenario, folder: &Path) -> anyhow::Result<String> {
    let me = std::env::current_exe()?;
    let mode = if scenario.work == Work::Tcp64 {
        "echo"
    } else {
        "mysql"
    };
    let mut servers = Vec::new();
    for read_only in [false, true] {
        let addr = free_addr()?;
        let mut command = Command::new(&me);
        command.args(["lean-server", "--listen", &addr.to_string(), "--mode", mode]);
        if read_only {
            command.arg("--read-only");
        }
        servers.push(Process::start(
            &command,
            LOAD_CPU,
            addr,
            &folder.join("server.log"),
        )?);
    }
    let [first, second] = servers.as_slice() else {
        anyhow::bail!("two servers")
    };
    let addrs = [first.addr, second.addr];
    let proxies = contenders(plan, scenario, &me, addrs, folder)?;
    let mut samples: BTreeMap<&str, Vec<Sample>> = BTreeMap::new();
    let (fewest, most) = if plan.quick { (5, 7) } else { (9, 41) };
    for round in 0..most {
        samples
            .entry("direct")
            .or_default()
            .push(stretch(plan, scenario, first, addrs[0])?);
        for (name, process) in &proxies {
            samples
                .entry(name)
                .or_default()
                .push(stretch(plan, scenario, process, process.addr)?);
        }
        let wide = samples
            .keys()
            .filter_map(|name| ratio(&samples, name))
            .any(|(_, half)| half > 0.05);
        if round + 1 >= fewest && !wide {
            break;
        }
    }
    Ok(render(scenario, &samples))
}

fn contenders(
    plan: &Plan,
    scenario: &Scenario,
    me: &Path,
    servers: [SocketAddr; 2],
    folder: &Path,
) -> anyhow::Result<Vec<(&'static str, Process)>> {
    let mut out = Vec::new();
    let addr = free_addr()?;
    let mut relay = Command::new(me);
    let to = servers[0].to_string();
    relay.args(["relay", "--listen", &addr.to_string(), "--to", &to]);
    out.push((
        "relay",
        Process::start(&relay, PROXY_CPU, addr, &folder.join("relay.log"))?,
    ));
    if let Some(program) = which("haproxy") {
        let (addr, file) = (free_addr()?, folder.join("haproxy.cfg"));
        std::fs::write(&file, haproxy_config(addr, servers[0]))?;
        let mut command = Command::new(program);
        command.args(["-db", "-f"]).arg(&file);
        out.push((
            "haproxy",
            Process::start(&command, PROXY_CPU, addr, &folder.join("haproxy.log"))?,
        ));
    }
    if let Some(program) = &plan.highgate {
        let (addr, file) = (free_addr()?, folder.join("highgate.toml"));
        std::fs::write(
            &file,
            highgate_config(addr, servers, scenario.work != Work::Tcp64),
        )?;
        let mut command = Command::new(program);
        command.arg("run").arg(&file);
        out.push((
            "highgate",
            Process::start(&command, PROXY_CPU, addr, &folder.join("highgate.log"))?,
        ));
    }
    Ok(out)
}

fn stretch(
    plan: &Plan,
    scenario: &Scenario,
    process: &Process,
    to: SocketAddr,
) -> anyhow::Result<Sample> {
    let measured = Duration::from_millis(if plan.quick { 400 } else { 1000 });
    let warm = Duration::from_millis(150);
    let load = Load {
        to,
        work: scenario.work,
        connections: scenario.connections,
        warm,
        measured,
    };
    let mut marks = Vec::new();
    let outcome = drive(&load, || {
        marks.push((process.cpu_nanos(), process.rss_kib()))
    })?;
    let (Some(start), Some(end)) = (marks.first(), marks.last()) else {
        anyhow::bail!("no marks")
    };
    let count = outcome.operations.max(1) as f64;
    Ok(Sample {
        cpu_micros: (end.0 - start.0) as f64 / 1000.0 / count,
        per_second: outcome.operations as f64 / outcome.elapsed.as_secs_f64(),
        p50: outcome.micros.value_at_quantile(0.5),
        p99: outcome.micros.value_at_quantile(0.99),
        p999: outcome.micros.value_at_quantile(0.999),
        rss_kib: end.1,
        errors: outcome.errors,
    })
}

/// The median of the ratios to HAProxy, paired by round, and half its 95% interval by order statistics.
fn ratio(samples: &BTreeMap<&str, Vec<Sample>>, name: &str) -> Option<(f64, f64)> {
    let base = samples.get("haproxy")?;
    if name == "direct" || name == "haproxy" {
        return None;
    }
    let pairs = samples.get(name)?.iter().zip(base);
    let mut ratios: Vec<f64> = pairs
        .map(|(own, base)| own.cpu_micros / base.cpu_micros)
        .collect();
    ratios.sort_by(f64::total_cmp);
    let count = ratios.len() as f64;
    let reach = 0.98 * count.sqrt();
    let low = ratios.get(((count / 2.0 - reach).floor().max(0.0)) as usize)?;
    let high = ratios.get(((count / 2.0 + reach).ceil().min(count - 1.0)) as usize)?;
    Some((*ratios.get(ratios.len() / 2)?, (high - low) / 2.0))
}

fn render(scenario: &Scenario, samples: &BTreeMap<&str, Vec<Sample>>) -> String {
    let mut out = String::new();
    for name in ["direct", "relay", "haproxy", "highgate"] {
        let Some(all) = samples.get(name) else {
            continue;
        };
        let middle = |of: fn(&Sample) -> f64| {
            let mut values: Vec<f64> = all.iter().map(of).collect();
            values.sort_by(f64::total_cmp);
            values.get(values.len() / 2).copied().unwrap_or(0.0)
        };
        let (ratio, half) = match ratio(samples, name) {
            Some((ratio, half)) => (format!("{ratio:.3}"), format!("{half:.3}")),
            None => (
                if name == "haproxy" { "1" } else { "–" }.to_owned(),
                "–".to_owned(),
            ),
        };
        let cpu = middle(|sample| sample.cpu_micros);
        let gib = (1_u64 << 30) as f64 / scenario.bytes.max(1) as f64;
        let cpu = match (name, scenario.bytes) {
            ("direct", _) => "–".to_owned(),
            (_, 0) => format!("{cpu:.2}"),
            _ => format!("{cpu:.0} ({:.0} ms/GiB)", cpu * gib / 1000.0),
        };
        let errors: u64 = all.iter().map(|sample| sample.errors).sum();
        let _ = writeln!(
            out,
            "| {} | {name} | {cpu} | {ratio} | {half} | {:.0} | {} | {} | {} | {} | {errors} | {} |",
            scenario.name,
            middle(|s| s.per_second),
            middle(|s| s.p50 as f64),
            middle(|s| s.p99 as f64),
            middle(|s| s.p999 as f64),
            middle(|s| s.rss_kib as f64),
            all.len()
        );
    }
    out
}
