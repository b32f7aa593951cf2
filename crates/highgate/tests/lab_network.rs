//! Bad networks between Highgate, its clients and real MariaDB: hosts of a lab whose links are cut.
//!
//! Host 1 runs Highgate, host 2 the primary, host 3 a replica; host 4, where there is one, a client.

#[path = "common/failure.rs"]
mod failure;

use std::{net::SocketAddr, time::Duration};

use anyhow::Context as _;
use failure::{
    Load, Mix, assert_none_lost_none_doubled, connect, ctl, in_time, make_table, run, server,
    start, toml, until_server,
};
use highgate_testkit::{
    Host, Impairment, Lab,
    highgate::HighgateProcess,
    lab::WHY_NOT,
    mariadb::MariaDb,
    replication::{ReplicationCluster, ReplicationOptions},
    wait::{self, Deadline},
};
use mysql_async::prelude::Queryable as _;

/// The default monitor, and what else a test of seconds wants.
const DEFAULTS: &str = "topology = \"mariadb-replication\"\n\
    monitor = { user = \"monitor\", password = \"monitor\" }\n\
    failover_wait = \"20s\"\nslow_start = \"1s\"\n";

const MIX: Mix = Mix { readers: 8, writers: 4, transactions: 2 };

/// What stands in a lab; dropped in this order.
struct Setting {
    process: HighgateProcess,
    cluster: ReplicationCluster,
    lab: Lab,
}

impl Setting {
    /// Starts all of it, or says why it can't.
    fn start(hosts: u8, backend: &str, listener: &str) -> anyhow::Result<Option<Self>> {
        Self::start_at(hosts, backend, listener, |host| host.mariadb())
    }

    /// As [`Self::start`], with a listener that passes bytes on as they come.
    fn start_tcp(hosts: u8, backend: &str, listener: &str) -> anyhow::Result<Option<Self>> {
        Self::start_as("tcp", hosts, backend, listener, |host| host.mariadb())
    }

    fn start_at(
        hosts: u8,
        backend: &str,
        listener: &str,
        home: impl Fn(&Host) -> highgate_testkit::MariaDbOptions,
    ) -> anyhow::Result<Option<Self>> {
        Self::start_as("mysql", hosts, backend, listener, home)
    }

    fn start_as(
        mode: &str,
        hosts: u8,
        backend: &str,
        listener: &str,
        home: impl Fn(&Host) -> highgate_testkit::MariaDbOptions,
    ) -> anyhow::Result<Option<Self>> {
        if !Lab::is_possible() || !MariaDb::is_installed() {
            eprintln!("skipped: {WHY_NOT}, and MariaDB");
            return Ok(None);
        }
        let lab = Lab::new(hosts)?;
        let homes = vec![home(lab.host(2)?), home(lab.host(3)?)];
        let options = ReplicationOptions { nodes: 2, homes, ..ReplicationOptions::default() };
        let cluster = ReplicationCluster::start_with(options)?;
        make_table(cluster.primary()?)?;
        cluster.wait_caught_up()?;
        let here = lab.host(1)?;
        let binds = format!("bind = [\"{}\", \"[{}]:0\"]\nmode", here.addr(0), here.v6());
        let toml = toml(&failure::addresses(cluster.nodes()), backend, listener);
        let toml = toml.replacen("bind = \"127.0.0.1:0\"\nmode", &binds, 1);
        let toml = toml.replacen("mode = \"mysql\"", &format!("mode = \"{mode}\""), 1);
        let process = here.inside(|| start(&toml, 2))??;
        Ok(Some(Self { process, cluster, lab }))
    }

    /// Clients on Highgate's own host.
    fn load(&self, mix: Mix) -> anyhow::Result<Load> {
        let shop = self.process.listener("shop")?;
        let load = self.lab.host(1)?.inside(|| Load::start(shop, mix))??;
        load.wait_writes(30, Duration::from_secs(15))?;
        Ok(load)
    }

    fn events(&self) -> anyhow::Result<String> {
        ctl(&self.process, &["events", "--last", "100"])
    }

    /// How often servers came up and went down so far.
    fn transitions(&self) -> anyhow::Result<usize> {
        let events = self.events()?;
        let counts = |word: &str| events.matches(word).count();
        Ok(counts("server_down") + counts("server_up"))
    }
}

/// Lets `time` pass while faults last and the load goes on.
fn last(time: Duration) {
    let _ = wait::wait_until(Deadline::after(time), || false);
}

fn silent_replica() -> anyhow::Result<()> {
    let Some(setting) = Setting::start(3, DEFAULTS, "")? else {
        return Ok(());
    };
    let load = setting.load(Mix { writers: 2, transactions: 0, ..MIX })?;
    for _ in 1..=3 {
        setting.lab.part(1, 3)?;
        let took = until_server(&setting.process, "db2", Duration::from_secs(9), |server| {
            server.status == "down"
        })?;
        in_time("a replica behind dropped packets was found", took, Duration::from_secs(2))?;
        load.wait_writes(20, Duration::from_secs(5))?;
        setting.lab.join(1, 3)?;
        until_server(&setting.process, "db2", Duration::from_secs(15), |server| {
            server.status == "up"
        })?;
    }
    let before = server(&setting.process, "db2")?.commands;
    until_server(&setting.process, "db2", Duration::from_secs(10), |db2| {
        db2.commands > before + 5
    })?;
    let mut seen = load.stop()?;
    eprintln!("{}", seen.line());
    seen.ensure_answered(0)?;
    let longest = seen.latencies.last().copied().unwrap_or_default();
    in_time("the longest read", longest, Duration::from_secs(3))
}

#[test]
fn a_replica_whose_packets_are_dropped_is_left_within_two_seconds_and_fails_no_read() {
    silent_replica().unwrap();
}

fn silent_primary() -> anyhow::Result<()> {
    let Some(setting) = Setting::start(3, DEFAULTS, "")? else {
        return Ok(());
    };
    let load = setting.load(MIX)?;
    setting.lab.part(1, 2)?;
    let took = until_server(&setting.process, "db1", Duration::from_secs(9), |server| {
        server.status == "down"
    })?;
    in_time("a primary behind dropped packets was found", took, Duration::from_secs(2))?;
    setting.lab.join(1, 2)?;
    let flowed = load.wait_writes(20, Duration::from_secs(15))?;
    eprintln!("once packets passed again, writes flowed within {flowed:?}");
    let mut seen = load.stop()?;
    eprintln!("{}", seen.line());
    seen.ensure_answered(6)?;
    assert_none_lost_none_doubled(setting.cluster.primary()?, &seen)
}

#[test]
fn a_primary_whose_packets_are_dropped_is_found_within_two_seconds_and_loses_no_write() {
    silent_primary().unwrap();
}

/// `silent` and `deaf` are hosts: packets from the one to the other are dropped.
fn one_way(silent: u8, deaf: u8) -> anyhow::Result<()> {
    let Some(setting) = Setting::start(3, DEFAULTS, "")? else {
        return Ok(());
    };
    let load = setting.load(Mix { writers: 2, transactions: 0, ..MIX })?;
    let before = setting.transitions()?;
    setting.lab.mute(silent, deaf)?;
    let took = until_server(&setting.process, "db2", Duration::from_secs(9), |server| {
        server.status == "down"
    })?;
    in_time("a one-way partition was found", took, Duration::from_secs(2))?;
    last(Duration::from_secs(5));
    let now = setting.transitions()?;
    anyhow::ensure!(now == before + 1, "{before} transitions, then {now}: {}", setting.events()?);
    setting.lab.unmute(silent, deaf)?;
    until_server(&setting.process, "db2", Duration::from_secs(15), |server| server.status == "up")?;
    let mut seen = load.stop()?;
    eprintln!("{}", seen.line());
    seen.ensure_answered(0)?;
    Ok(())
}

#[test]
fn a_server_that_hears_and_is_not_heard_is_down_once() {
    one_way(3, 1).unwrap();
}

#[test]
fn a_server_that_is_heard_and_hears_nothing_is_down_once() {
    one_way(1, 3).unwrap();
}

fn flapping() -> anyhow::Result<()> {
    // Five seconds up and five down, at a fifth of both and of the monitor's times.
    let quick = DEFAULTS.replace(
        "password = \"monitor\"",
        "password = \"monitor\", interval = \"100ms\", timeout = \"100ms\"",
    );
    let Some(setting) = Setting::start(3, &quick, "")? else {
        return Ok(());
    };
    let load = setting.load(Mix { writers: 2, transactions: 0, ..MIX })?;
    let before = setting.transitions()?;
    for _ in 0..8 {
        setting.lab.part(1, 3)?;
        last(Duration::from_secs(1));
        setting.lab.join(1, 3)?;
        last(Duration::from_secs(1));
    }
    let changes = setting.transitions()? - before;
    eprintln!("{changes} transitions in eight cycles\n{}", setting.events()?);
    // Down and up again twice; then it would have to answer longer than it ever does.
    anyhow::ensure!((1..=6).contains(&changes), "{changes} transitions");
    until_server(&setting.process, "db2", Duration::from_secs(15), |server| server.status == "up")?;
    let mut seen = load.stop()?;
    eprintln!("{}", seen.line());
    seen.ensure_answered(0)?;
    Ok(())
}

#[test]
fn a_server_that_comes_and_goes_changes_state_a_few_times_and_is_let_in_once_it_stays() {
    flapping().unwrap();
}

/// `settled`: whether the client's machine has acknowledged all it was sent when the cable goes.
fn pulled_cable(settled: bool) -> anyhow::Result<()> {
    let Some(setting) = Setting::start(4, DEFAULTS, "keepalive_timeout = \"6s\"\n")? else {
        return Ok(());
    };
    let Setting { process, cluster, lab } = &setting;
    let shop = process.listener("shop")?;
    let primary = cluster.primary()?;
    primary.sql("INSERT INTO shop.t VALUES (1, 'held')")?;
    let client = || {
        run(async {
            let mut lost = connect(shop).await?;
            lost.query_drop("BEGIN").await?;
            lost.query_drop("UPDATE t SET what = 'never' WHERE id = 1").await?;
            anyhow::Ok(lost)
        })
    };
    let lost = lab.host(4)?.inside(client)??;
    let thread = "SELECT id FROM information_schema.processlist WHERE user = 'app' AND id IN \
                  (SELECT trx_mysql_thread_id FROM information_schema.innodb_trx)";
    let held_by = primary.value(thread)?;
    if settled {
        last(Duration::from_millis(300));
    }
    lab.unplug(4)?;
    let pulled = wait::now();
    // Another client waits for the row; that it gets it shows that the first was rolled back.
    let waited = lab.host(1)?.inside(|| {
        run(async {
            let mut other = connect(shop).await?;
            other.query_drop("UPDATE t SET what = 'freed' WHERE id = 1").await?;
            anyhow::Ok(wait::now() - pulled)
        })
    })??;
    eprintln!("the row was free {waited:?} after the cable was pulled");
    anyhow::ensure!(waited > Duration::from_secs(2), "{waited:?}");
    anyhow::ensure!(waited < Duration::from_secs(12), "{waited:?}");
    anyhow::ensure!(primary.value("SELECT what FROM shop.t WHERE id = 1")? == "freed");
    let lives = format!("SELECT COUNT(*) FROM information_schema.processlist WHERE id = {held_by}");
    anyhow::ensure!(primary.value(&lives)? == "1", "the connection was not kept for others");
    let sessions = failure::table(process, "sessions")?;
    anyhow::ensure!(sessions.is_empty(), "sessions are left: {sessions:?}");
    drop(lost);
    Ok(())
}

#[test]
fn an_idle_client_whose_cable_was_pulled_is_reaped_and_its_rows_and_connection_freed() {
    pulled_cable(true).unwrap();
}

/// The kernel's keepalive does not run while bytes are unacknowledged; it repeats them for a quarter
/// of an hour instead.
#[test]
fn a_client_whose_cable_was_pulled_amid_an_answer_is_reaped_as_soon() {
    pulled_cable(false).unwrap();
}

fn pulled_cable_of_tcp() -> anyhow::Result<()> {
    let Some(setting) = Setting::start_tcp(4, DEFAULTS, "keepalive_timeout = \"6s\"\n")? else {
        return Ok(());
    };
    let Setting { process, cluster, lab } = &setting;
    let shop = process.listener("shop")?;
    let client = || {
        run(async {
            let mut lost = connect(shop).await?;
            lost.query_drop("DO 1").await?;
            anyhow::Ok(lost)
        })
    };
    let lost = lab.host(4)?.inside(client)??;
    let open = || -> anyhow::Result<u32> {
        let text = "SELECT COUNT(*) FROM information_schema.processlist WHERE user = 'app'";
        let counts = cluster.nodes().iter().map(|node| Ok(node.value(text)?.parse::<u32>()?));
        counts.sum()
    };
    anyhow::ensure!(open()? == 1, "{} connections to the servers", open()?);
    // What was said last is to be acknowledged: the connection is idle.
    last(Duration::from_millis(300));
    lab.unplug(4)?;
    let pulled = wait::now();
    wait::eventually(Deadline::seconds(12), "the server's connection to be closed", || {
        anyhow::ensure!(open()? == 0, "it is still open");
        Ok(())
    })?;
    let waited = wait::now() - pulled;
    eprintln!("the server's connection was closed {waited:?} after the cable was pulled");
    anyhow::ensure!(waited > Duration::from_secs(2), "{waited:?}");
    let sessions = failure::table(process, "sessions")?;
    anyhow::ensure!(sessions.is_empty(), "sessions are left: {sessions:?}");
    drop(lost);
    Ok(())
}

#[test]
fn an_idle_client_of_a_tcp_listener_whose_cable_was_pulled_is_reaped_with_its_connection() {
    pulled_cable_of_tcp().unwrap();
}

fn ipv6() -> anyhow::Result<()> {
    let home = |host: &Host| host.mariadb_at(host.v6().into());
    let Some(setting) = Setting::start_at(4, DEFAULTS, "", home)? else {
        return Ok(());
    };
    let Setting { process, cluster, lab } = &setting;
    let list = failure::table(process, "listeners")?;
    let text = format!("{list:?}\n{}", process.log());
    let here = lab.host(1)?.v6();
    let mark = format!("address=[{here}]:");
    let port = text
        .split(&mark)
        .nth(1)
        .and_then(|rest| rest.split(|c: char| !c.is_ascii_digit()).next()?.parse::<u16>().ok());
    let to = SocketAddr::from((here, port.with_context(|| text.clone())?));
    let load = lab.host(4)?.inside(|| Load::start(to, MIX))??;
    load.wait_writes(50, Duration::from_secs(15))?;
    cluster.switchover(1)?;
    load.wait_writes(50, Duration::from_secs(15))?;
    let clients = failure::table(process, "sessions")?;
    anyhow::ensure!(format!("{clients:?}").contains("fd99::4"), "{clients:?}");
    let mut seen = load.stop()?;
    eprintln!("{}", seen.line());
    seen.ensure_answered(0)?;
    assert_none_lost_none_doubled(cluster.primary()?, &seen)
}

#[test]
fn clients_and_servers_are_reached_by_ipv6_and_a_switchover_is_followed_there() {
    ipv6().unwrap();
}

fn bad_cable() -> anyhow::Result<()> {
    let Some(setting) = Setting::start(3, DEFAULTS, "")? else {
        return Ok(());
    };
    let load = setting.load(MIX)?;
    let before = setting.transitions()?;
    let jitter = Duration::from_millis(200);
    let bad = Impairment { loss_percent: 30, jitter, ..Impairment::NONE };
    setting.lab.impair(1, bad, Impairment::NONE)?;
    last(Duration::from_secs(12));
    setting.lab.repair(1)?;
    load.wait_writes(20, Duration::from_secs(15))?;
    let mut seen = load.stop()?;
    eprintln!("{}\n{}", seen.line(), setting.events()?);
    let after = setting.transitions()?;
    anyhow::ensure!(after == before, "{before} transitions, then {after}: {}", setting.events()?);
    seen.ensure_answered(0)?;
    assert_none_lost_none_doubled(setting.cluster.primary()?, &seen)
}

/// Nobody asks but the monitor, so that nothing else is a sign of life.
fn idle_on_a_bad_cable(time: Duration) -> anyhow::Result<()> {
    let Some(setting) = Setting::start(3, DEFAULTS, "")? else {
        return Ok(());
    };
    let bad = Impairment { loss_percent: 30, ..Impairment::NONE };
    for way in ["to it", "both ways"] {
        let before = setting.transitions()?;
        let back = if way == "to it" { Impairment::NONE } else { bad };
        setting.lab.impair(1, bad, back)?;
        last(time);
        let changes = setting.transitions()? - before;
        setting.lab.repair(1)?;
        let events = setting.events()?;
        eprintln!(
            "{changes} transitions of two idle servers in {time:?}, 30% lost {way}\n{events}"
        );
        // Chance has its say: a few, where each second of either server is one throw.
        anyhow::ensure!(changes <= 8, "{changes} in {time:?}: {}", setting.events()?);
        until_server(&setting.process, "db1", Duration::from_secs(20), |s| s.status == "up")?;
        until_server(&setting.process, "db2", Duration::from_secs(20), |s| s.status == "up")?;
    }
    Ok(())
}

#[test]
#[ignore = "soak: two minutes of chance"]
fn idle_servers_behind_thirty_percent_loss_seldom_go_down() {
    idle_on_a_bad_cable(Duration::from_secs(60)).unwrap();
}

#[test]
fn thirty_percent_loss_and_jitter_slow_clients_down_and_take_no_server_out() {
    bad_cable().unwrap();
}
