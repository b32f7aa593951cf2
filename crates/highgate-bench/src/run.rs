//! Interleaved rounds: every contender in turn, again and again, until the ratios are known well enough.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::Context as _;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::contender::Process;
use crate::load::{Load, Work, drive};
use crate::memory::{self, Idle};
use crate::probe::{Kind, Probe};
use crate::report::{self, Cell, Line, Report};
use crate::setup::{LOAD_CPU, Place, Shape};
use crate::{guessers, outage, sysbench};

/// Descriptors that the widest scenario needs in one process: two per connection, and some.
const DESCRIPTORS: u64 = 20_000;

/// How a run is made.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) highgate: Option<PathBuf>,
    pub(crate) quick: bool,
    pub(crate) only: Option<String>,
    /// Where the tables go; the JSON goes beside, as do profiles.
    pub(crate) out: Option<PathBuf>,
    pub(crate) profile: Option<String>,
    pub(crate) strace_count: Option<String>,
    pub(crate) old_eof: bool,
}

impl Plan {
    fn wants(&self, work: &str) -> bool {
        self.only.as_deref().is_none_or(|only| work.starts_with(only))
    }
}

struct Scenario {
    name: &'static str,
    work: Work,
    connections: usize,
    bytes: u64,
}

const SCENARIOS: &[Scenario] = &[
    Scenario { name: "tcp-16", work: Work::Tcp64, connections: 16, bytes: 0 },
    Scenario { name: "tcp-256", work: Work::Tcp64, connections: 256, bytes: 0 },
    Scenario { name: "text-16", work: Work::Text, connections: 16, bytes: 0 },
    Scenario { name: "text-256", work: Work::Text, connections: 256, bytes: 0 },
    Scenario { name: "mixed-16", work: Work::Mixed, connections: 16, bytes: 0 },
    Scenario { name: "prepared-16", work: Work::Prepared, connections: 16, bytes: 0 },
    Scenario { name: "prepared-256", work: Work::Prepared, connections: 256, bytes: 0 },
    Scenario { name: "result-1m", work: Work::Mib1, connections: 4, bytes: 1 << 20 },
    Scenario { name: "result-16m", work: Work::Mib16, connections: 4, bytes: 16 << 20 },
    Scenario { name: "cycle", work: Work::Cycle, connections: 8, bytes: 0 },
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

/// Runs all scenarios asked for and returns the tables.
pub(crate) fn run(plan: &Plan) -> anyhow::Result<String> {
    let own = std::process::id().to_string();
    let pinned = Command::new("taskset").args(["-cp", &LOAD_CPU.to_string(), &own]).output();
    pinned.context("taskset (package util-linux) pins processes")?;
    let folder = std::env::temp_dir().join(format!("highgate-bench-{own}"));
    std::fs::create_dir_all(&folder)?;
    let place = Place { highgate: plan.highgate.clone(), folder, me: std::env::current_exe()? };
    let descriptors = raise_descriptors();
    let mut report = Report::default();
    for scenario in SCENARIOS.iter().filter(|scenario| plan.wants(scenario.name)) {
        let played = play(plan, scenario, &place);
        add(&mut report, scenario.name, played);
    }
    for (work, reason) in special(plan, &place, descriptors, &mut report) {
        report.note(format!("{work}: skipped, {reason}"));
    }
    let (when, machine) = (report::date(), report::machine());
    let text = report.markdown(&when, &machine);
    if let Some(out) = &plan.out {
        std::fs::write(out, &text)?;
        std::fs::write(out.with_extension("json"), report.json(&when, &machine))?;
    }
    // Logs stay where something failed, since the notes name them.
    if !report.has_notes() {
        let _ = std::fs::remove_dir_all(&place.folder);
    }
    Ok(text)
}

/// Raises the limit of descriptors; what it is now.
fn raise_descriptors() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let most = limit.maximum.unwrap_or(u64::MAX);
    let wanted = Rlimit { current: Some(most.min(1 << 20)), maximum: limit.maximum };
    let _ = setrlimit(Resource::Nofile, wanted);
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// A scenario that fails is told about, and the others go on.
fn add(report: &mut Report, work: &str, lines: anyhow::Result<Vec<Line>>) {
    match lines {
        Ok(lines) => report.add(lines),
        Err(error) => report.note(format!("{work}: failed, {error:#}")),
    }
}

/// The scenarios that aren't rounds of load; gives those that were skipped, with the reason.
fn special(
    plan: &Plan,
    place: &Place,
    descriptors: u64,
    report: &mut Report,
) -> Vec<(&'static str, String)> {
    let mut skipped = Vec::new();
    let few = format!("the limit of descriptors is {descriptors}, not {DESCRIPTORS}");
    let rounds = if plan.quick { 1 } else { 5 };
    for (work, kind) in
        [("idle-tcp", Idle::Tcp), ("idle-mysql", Idle::Mysql), ("idle-tls", Idle::Tls)]
    {
        if !plan.wants(work) {
            continue;
        }
        if descriptors < DESCRIPTORS {
            skipped.push((work, few.clone()));
        } else {
            add(report, work, memory::idle(place, kind, 5000));
        }
    }
    if plan.wants("stall-1g") {
        add(report, "stall-1g", memory::stall(place));
    }
    if plan.wants("many-10000") {
        if descriptors < DESCRIPTORS {
            skipped.push(("many-10000", few));
        } else {
            add(report, "many-10000", many(plan, place));
        }
    }
    if plan.wants("reader-killed") {
        add(report, "reader-killed", outage::reader(place, rounds));
    }
    if plan.wants("promotion") {
        add(report, "promotion", outage::promotion(place, rounds));
    }
    if plan.wants("guessers") {
        add(report, "guessers", guessers::run(place, if plan.quick { 3 } else { 10 }));
    }
    if sysbench::WORKLOADS.iter().any(|(_, work)| plan.wants(work)) {
        let seconds = if plan.quick { 2 } else { 10 };
        let lines = sysbench::run(place, rounds, seconds, |work| plan.wants(work));
        add(report, "sysbench", lines);
    }
    skipped
}

/// 10,000 clients that share 40 server connections.
fn many(plan: &Plan, place: &Place) -> anyhow::Result<Vec<Line>> {
    let server = place.lean("mysql", None, 1)?;
    let shape = Shape { server_limit: Some(40), ..Shape::mysql() };
    let Some(process) = place.highgate(&shape, &[server.addr])? else {
        return Ok(Vec::new());
    };
    let load = Load {
        to: process.addr,
        work: Work::Text,
        connections: 10_000,
        new_eof: !plan.old_eof,
        warm: Duration::from_secs(2),
        measured: Duration::from_secs(if plan.quick { 3 } else { 10 }),
    };
    let sample = sample(&load, &process)?;
    Ok(vec![Line {
        work: "many-10000".to_owned(),
        contender: "highgate".to_owned(),
        cells: vec![
            ("server connections", Cell::Number(40.0, 0)),
            ("CPU µs/op", Cell::Number(sample.cpu_micros, 2)),
            ("ops/s", Cell::Number(sample.per_second, 0)),
            ("p50 µs", Cell::Number(sample.p50 as f64, 0)),
            ("p99 µs", Cell::Number(sample.p99 as f64, 0)),
            ("p999 µs", Cell::Number(sample.p999 as f64, 0)),
            ("p99/p50", Cell::Number(sample.p99 as f64 / sample.p50.max(1) as f64, 2)),
            ("RSS KiB", Cell::Number(sample.rss_kib as f64, 0)),
            ("errors", Cell::Number(sample.errors as f64, 0)),
        ],
    }])
}

fn play(plan: &Plan, scenario: &Scenario, place: &Place) -> anyhow::Result<Vec<Line>> {
    let is_mysql = scenario.work != Work::Tcp64;
    let (mode, shape) = if is_mysql { ("mysql", Shape::mysql()) } else { ("echo", Shape::tcp()) };
    let first = place.lean(mode, None, 1)?;
    let mut proxies = place.others(&shape, first.addr)?;
    if let Some(own) = place.highgate(&shape, &[first.addr])? {
        proxies.push(("highgate", own));
    }
    let mut replica = None;
    if is_mysql && scenario.bytes == 0 {
        let second = replica.insert(place.lean(mode, Some(first.addr), 2)?);
        if let Some(split) = place.highgate(&shape, &[first.addr, second.addr])? {
            proxies.push(("highgate-split", split));
        }
    }
    let mut samples: BTreeMap<&str, Vec<Sample>> = BTreeMap::new();
    let (fewest, most) = if plan.quick { (5, 7) } else { (9, 41) };
    for round in 0..most {
        let mut take = |name, process: &Process| {
            let load = stretch(plan, scenario, process);
            let sample = sample(&load, process).with_context(|| format!("through {name}"))?;
            samples.entry(name).or_default().push(sample);
            anyhow::Ok(())
        };
        take("direct", &first)?;
        for (name, process) in &proxies {
            take(name, process)?;
        }
        let wide = samples
            .keys()
            .filter_map(|name| ratio(&samples, name, "haproxy"))
            .any(|(_, half)| half > 0.05);
        if round + 1 >= fewest && !wide {
            break;
        }
    }
    look_inside(plan, scenario, place, &proxies)?;
    let names = ["direct"].into_iter().chain(proxies.iter().map(|(name, _)| *name));
    Ok(names.filter_map(|name| line(scenario, name, &samples)).collect())
}

fn stretch(plan: &Plan, scenario: &Scenario, process: &Process) -> Load {
    Load {
        to: process.addr,
        work: scenario.work,
        connections: scenario.connections,
        new_eof: !plan.old_eof,
        warm: Duration::from_millis(150),
        measured: Duration::from_millis(if plan.quick { 400 } else { 1000 }),
    }
}

/// One more stretch each for the contenders that a profile or a count of system calls was asked for.
fn look_inside(
    plan: &Plan,
    scenario: &Scenario,
    place: &Place,
    proxies: &[(&str, Process)],
) -> anyhow::Result<()> {
    for (wanted, kind, suffix) in
        [(&plan.profile, Kind::Perf, "profile"), (&plan.strace_count, Kind::Strace, "strace")]
    {
        let found = proxies.iter().find(|(name, _)| wanted.as_deref() == Some(*name));
        let Some((name, process)) = found else {
            continue;
        };
        let mut load = stretch(plan, scenario, process);
        load.measured = Duration::from_secs(3);
        let mut probe = None;
        let mut told = None;
        drive(&load, |operations| {
            told = match probe.take() {
                None => {
                    probe = Some(Probe::attach(kind, process.pid(), &place.folder));
                    None
                }
                Some(probe) => Some(probe.and_then(|probe| probe.finish(operations))),
            };
        })?;
        let told = told.context("the stretch has no end")??;
        let file = format!("{}-{name}.{suffix}", scenario.name);
        let out = plan.out.as_deref().and_then(std::path::Path::parent);
        std::fs::write(out.unwrap_or(std::path::Path::new("")).join(file), told)?;
    }
    Ok(())
}

fn sample(load: &Load, process: &Process) -> anyhow::Result<Sample> {
    let mut marks = Vec::new();
    let outcome = drive(load, |_| marks.push((process.cpu_nanos(), process.rss_kib())))?;
    let (Some(start), Some(end)) = (marks.first(), marks.last()) else { anyhow::bail!("no marks") };
    let count = outcome.operations.max(1) as f64;
    Ok(Sample {
        cpu_micros: end.0.saturating_sub(start.0) as f64 / 1000.0 / count,
        per_second: outcome.operations as f64 / outcome.elapsed.as_secs_f64(),
        p50: outcome.micros.value_at_quantile(0.5),
        p99: outcome.micros.value_at_quantile(0.99),
        p999: outcome.micros.value_at_quantile(0.999),
        rss_kib: end.1,
        errors: outcome.errors,
    })
}

/// The median of the ratios to another contender, paired by round, and half its 95% interval by order
/// statistics.
fn ratio(samples: &BTreeMap<&str, Vec<Sample>>, name: &str, to: &str) -> Option<(f64, f64)> {
    let base = samples.get(to)?;
    if name == "direct" || name == to {
        return None;
    }
    let pairs = samples.get(name)?.iter().zip(base);
    let mut ratios: Vec<f64> = pairs.map(|(own, base)| own.cpu_micros / base.cpu_micros).collect();
    ratios.sort_by(f64::total_cmp);
    let count = ratios.len() as f64;
    let reach = 0.98 * count.sqrt();
    let low = ratios.get(((count / 2.0 - reach).floor().max(0.0)) as usize)?;
    let high = ratios.get(((count / 2.0 + reach).ceil().min(count - 1.0)) as usize)?;
    Some((*ratios.get(ratios.len() / 2)?, (high - low) / 2.0))
}

fn line(scenario: &Scenario, name: &str, samples: &BTreeMap<&str, Vec<Sample>>) -> Option<Line> {
    let all = samples.get(name)?;
    let middle = |of: fn(&Sample) -> f64| {
        let mut values: Vec<f64> = all.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or(0.0)
    };
    let of_relay = ratio(samples, name, "relay").filter(|_| name != "haproxy");
    let of_relay = of_relay.map_or(Cell::None, |(ratio, _)| Cell::Number(ratio, 3));
    let (ratio, half) = match ratio(samples, name, "haproxy") {
        Some((ratio, half)) => (Cell::Number(ratio, 3), Cell::Number(half, 3)),
        None if name == "haproxy" => (Cell::Number(1.0, 0), Cell::None),
        None => (Cell::None, Cell::None),
    };
    let cpu = middle(|sample| sample.cpu_micros);
    let gib = (1_u64 << 30) as f64 / scenario.bytes.max(1) as f64;
    let (cpu, per_gib) = match (name, scenario.bytes) {
        ("direct", _) => (Cell::None, Cell::None),
        (_, 0) => (Cell::Number(cpu, 2), Cell::None),
        _ => (Cell::Number(cpu, 0), Cell::Number(cpu * gib / 1000.0, 0)),
    };
    let errors: u64 = all.iter().map(|sample| sample.errors).sum();
    Some(Line {
        work: scenario.name.to_owned(),
        contender: name.to_owned(),
        cells: vec![
            ("CPU µs/op", cpu),
            ("CPU ms/GiB", per_gib),
            ("ratio to HAProxy", ratio),
            ("±", half),
            ("ratio to relay", of_relay),
            ("ops/s", Cell::Number(middle(|s| s.per_second), 0)),
            ("p50 µs", Cell::Number(middle(|s| s.p50 as f64), 0)),
            ("p99 µs", Cell::Number(middle(|s| s.p99 as f64), 0)),
            ("p999 µs", Cell::Number(middle(|s| s.p999 as f64), 0)),
            ("RSS KiB", Cell::Number(middle(|s| s.rss_kib as f64), 0)),
            ("errors", Cell::Number(errors as f64, 0)),
            ("rounds", Cell::Number(all.len() as f64, 0)),
        ],
    })
}
