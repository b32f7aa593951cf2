//! Roles, failover and causal reads on real MySQL replication: `SHOW REPLICA STATUS`, `super_read_only`, GTID sets,
//! monitors and servers with caching_sha2_password.

#[path = "common/failure.rs"]
mod failure;
#[path = "client/raw.rs"]
mod raw;

use std::time::Duration;

use failure::{
    Load, Mix, REPLICATION, addresses, assert_none_lost_none_doubled, code, connect, connect_as,
    ctl, make_table, pause, run, server, start, toml, until_server,
};
use highgate_testkit::{
    HighgateProcess, MySql, MySqlReplication,
    wait::{self, Deadline},
};
use mysql_async::prelude::Queryable as _;
use raw::{RawClient, USUAL};

const MIX: Mix = Mix { readers: 4, writers: 4, transactions: 2 };

fn cluster(nodes: usize, semi_sync: bool) -> anyhow::Result<Option<MySqlReplication>> {
    if !MySql::is_installed() {
        eprintln!("skipped: MySQL is not installed (scripts/mysql)");
        return Ok(None);
    }
    let cluster = if semi_sync {
        MySqlReplication::start_semi_sync(nodes)?
    } else {
        MySqlReplication::start(nodes)?
    };
    make_table(cluster.primary()?)?;
    cluster.wait_caught_up()?;
    Ok(Some(cluster))
}

fn highgate(
    cluster: &MySqlReplication,
    backend: &str,
    listener: &str,
) -> anyhow::Result<HighgateProcess> {
    let backend = format!("{REPLICATION}{backend}");
    start(&toml(&addresses(cluster.nodes()), &backend, listener), cluster.nodes().len())
}

fn until_event(process: &HighgateProcess, text: &str) -> anyhow::Result<()> {
    wait::eventually(Deadline::seconds(15), text, || {
        let events = ctl(process, &["events", "--last", "60"])?;
        anyhow::ensure!(events.contains(text), "no event `{text}`:\n{events}");
        Ok(())
    })
}

fn switchovers(times: usize) -> anyhow::Result<()> {
    let Some(cluster) = cluster(3, false)? else { return Ok(()) };
    let process = highgate(&cluster, "", "")?;
    let load = Load::start(process.listener("shop")?, MIX)?;
    load.wait_writes(30, Duration::from_secs(30))?;
    for round in 1..=times {
        cluster.switchover(round % 3)?;
        let waited = load.wait_writes(30, Duration::from_secs(30))?;
        eprintln!("switchover {round}: 30 more writes within {waited:?}");
    }
    let mut seen = load.stop()?;
    eprintln!("{}", seen.line());
    eprintln!("{}", ctl(&process, &["events", "--last", "40"])?);
    seen.ensure_answered(0)?;
    seen.ensure_retryable()?;
    assert_none_lost_none_doubled(cluster.primary()?, &seen)
}

#[test]
fn switchovers_of_mysql_under_load_cost_no_autocommit_statement() {
    switchovers(4).unwrap();
}

fn crashes(times: usize) -> anyhow::Result<()> {
    let Some(cluster) = cluster(3, true)? else { return Ok(()) };
    let process = highgate(&cluster, "", "")?;
    let load = Load::start(process.listener("shop")?, MIX)?;
    load.wait_writes(30, Duration::from_secs(30))?;
    for round in 1..=times {
        let old = cluster.primary_index();
        cluster.node(old)?.kill9();
        until_server(&process, &format!("db{}", old + 1), Duration::from_secs(15), |server| {
            server.status != "up"
        })?;
        cluster.promote((old + 1) % 3)?;
        let waited = load.wait_writes(10, Duration::from_secs(30))?;
        eprintln!("crash {round}: ten writes {waited:?} after the promotion");
        cluster.rejoin_as_replica(old)?;
        let name = format!("db{}", old + 1);
        let before = server(&process, &name)?.commands;
        until_server(&process, &name, Duration::from_secs(120), |server| {
            server.role == "replica" && server.commands > before + 5
        })?;
    }
    let mut seen = load.stop()?;
    eprintln!("{}", seen.line());
    let in_flight = times * usize::try_from(MIX.writers + MIX.transactions)?;
    seen.ensure_answered(in_flight)?;
    seen.ensure_retryable()?;
    assert_none_lost_none_doubled(cluster.primary()?, &seen)
}

#[test]
fn killed_mysql_primaries_lose_no_acknowledged_write_and_fail_no_read() {
    crashes(2).unwrap();
}

#[test]
#[ignore = "soak: twenty switchovers"]
fn twenty_switchovers_of_mysql_cost_no_autocommit_statement() {
    switchovers(20).unwrap();
}

#[test]
#[ignore = "soak: thirty crashes"]
fn thirty_killed_mysql_primaries_lose_no_acknowledged_write() {
    crashes(30).unwrap();
}

fn returner() -> anyhow::Result<()> {
    let Some(cluster) = cluster(3, false)? else { return Ok(()) };
    let process = highgate(&cluster, "", "")?;
    let load = Load::start(process.listener("shop")?, MIX)?;
    load.wait_writes(30, Duration::from_secs(30))?;
    cluster.switchover(1)?;
    load.wait_writes(30, Duration::from_secs(30))?;
    // The old primary believes in itself again, first beside its new source, then without one.
    cluster.node(0)?.sql("SET GLOBAL read_only = 0")?;
    until_event(&process, "db2 is the primary now, in place of db1")?;
    load.wait_writes(50, Duration::from_secs(30))?;
    cluster.node(0)?.sql("STOP REPLICA; RESET REPLICA ALL")?;
    until_event(&process, "several servers are writable: db1, db2; db2 is the primary of record")?;
    until_server(&process, "db1", Duration::from_secs(15), |s| s.status == "quarantined")?;
    eprintln!("{}", server(&process, "db1")?.reason);
    let position = cluster.node(0)?.value("SELECT @@gtid_executed")?;
    load.wait_writes(100, Duration::from_secs(30))?;
    let after = cluster.node(0)?.value("SELECT @@gtid_executed")?;
    anyhow::ensure!(position == after, "the returner was written to: {position} {after}");
    // Killed as well: it comes back without its option file's read_only, and still takes nothing.
    cluster.node(0)?.kill9();
    cluster.node(0)?.launch(&["--super-read-only=0".to_owned(), "--read-only=0".to_owned()])?;
    cluster.node(0)?.wait_ready()?;
    until_server(&process, "db1", Duration::from_secs(15), |s| s.status == "quarantined")?;
    load.wait_writes(50, Duration::from_secs(30))?;
    let after = cluster.node(0)?.value("SELECT @@gtid_executed")?;
    anyhow::ensure!(position == after, "the returner was written to: {position} {after}");
    cluster.rejoin_as_replica(0)?;
    until_server(&process, "db1", Duration::from_secs(20), |s| {
        s.role == "replica" && s.status == "up"
    })?;
    let mut seen = load.stop()?;
    eprintln!("{}", seen.line());
    anyhow::ensure!(seen.read_errors.is_empty(), "reads: {:?}", seen.read_errors);
    anyhow::ensure!(seen.write_errors.is_empty(), "writes: {:?}", seen.write_errors);
    assert_none_lost_none_doubled(cluster.primary()?, &seen)
}

#[test]
fn an_old_mysql_primary_that_returns_writable_takes_no_write() {
    returner().unwrap();
}

fn lagging() -> anyhow::Result<()> {
    let Some(cluster) = cluster(2, false)? else { return Ok(()) };
    let process = highgate(&cluster, "max_lag = \"2s\"", "")?;
    let up = |s: &failure::Server| s.status == "up";
    let load =
        Load::start(process.listener("shop")?, Mix { readers: 2, writers: 1, transactions: 0 })?;
    let replica = cluster.node(1)?;
    replica.sql("STOP REPLICA SQL_THREAD")?;
    let took = until_server(&process, "db2", Duration::from_secs(15), |s| s.status == "broken")?;
    let reason = server(&process, "db2")?.reason;
    eprintln!("a stopped applier was out within {took:?}: {reason}");
    anyhow::ensure!(reason.contains("replication is stopped (SQL thread)"), "{reason}");
    let before = server(&process, "db2")?.commands;
    load.wait_writes(20, Duration::from_secs(30))?;
    let after = server(&process, "db2")?.commands;
    anyhow::ensure!(before == after, "{} commands more", after - before);
    replica.sql("START REPLICA")?;
    until_server(&process, "db2", Duration::from_secs(30), up)?;
    // A source that it can't find any more, and one that it may not read.
    replica.sql(
        "STOP REPLICA; CHANGE REPLICATION SOURCE TO SOURCE_PASSWORD = 'wrong'; START REPLICA",
    )?;
    until_server(&process, "db2", Duration::from_secs(30), |s| s.status == "broken")?;
    eprintln!("{}", server(&process, "db2")?.reason);
    replica.sql(
        "STOP REPLICA; CHANGE REPLICATION SOURCE TO SOURCE_PASSWORD = 'repl'; START REPLICA",
    )?;
    until_server(&process, "db2", Duration::from_secs(30), up)?;
    replica.sql("STOP REPLICA; CHANGE REPLICATION SOURCE TO SOURCE_DELAY = 60; START REPLICA")?;
    let took = until_server(&process, "db2", Duration::from_secs(30), |s| s.status == "lagging")?;
    let reason = server(&process, "db2")?.reason;
    eprintln!("a replica held back by 60 s was out within {took:?}: {reason}");
    anyhow::ensure!(reason.contains("behind, more than 2 s"), "{reason}");
    replica.sql("STOP REPLICA; CHANGE REPLICATION SOURCE TO SOURCE_DELAY = 0; START REPLICA")?;
    until_server(&process, "db2", Duration::from_secs(30), up)?;
    let seen = load.stop()?;
    anyhow::ensure!(seen.read_errors.is_empty(), "reads: {:?}", seen.read_errors);
    anyhow::ensure!(seen.write_errors.is_empty(), "writes: {:?}", seen.write_errors);
    Ok(())
}

#[test]
fn a_mysql_replica_that_stops_or_lags_leaves_with_its_reason_and_returns() {
    lagging().unwrap();
}

fn causal() -> anyhow::Result<()> {
    let Some(cluster) = cluster(2, false)? else { return Ok(()) };
    let primary = cluster.primary()?;
    primary.sql("CREATE TABLE shop.c (id INT PRIMARY KEY, v INT)")?;
    primary.sql("CREATE TABLE shop.me (name CHAR(9)); INSERT INTO shop.me VALUES ('primary')")?;
    cluster.wait_caught_up()?;
    let mine = "SET GLOBAL super_read_only = 0; SET sql_log_bin = 0; \
                UPDATE shop.me SET name = 'replica'; SET GLOBAL super_read_only = 1";
    cluster.node(1)?.sql(mine)?;
    // A replica that stands still is to be asked all the same: only the wait finds out.
    let listener = "causal_reads = true\ncausal_reads_timeout = \"300ms\"";
    let process = highgate(&cluster, "max_lag = \"1h\"", listener)?;
    let address = process.listener("shop")?;
    let mut client = RawClient::connect(address, "app", "app", Some("shop"), USUAL)?;
    let name = "SELECT name FROM me";
    let on_replica = wait::wait_until(Deadline::seconds(20), || {
        client.value(name).is_ok_and(|name| name == "replica")
    });
    anyhow::ensure!(on_replica, "reads go to the replica: {}", process.log());
    let count = |client: &mut RawClient, id: i32| -> anyhow::Result<()> {
        client.ok(&format!("INSERT INTO c VALUES ({id}, {id})"))?;
        let seen = client.value(&format!("SELECT COUNT(*) FROM c WHERE id = {id}"))?;
        anyhow::ensure!(seen == "1", "write {id} is not seen");
        Ok(())
    };
    let before = server(&process, "db2")?.commands;
    for id in 0..100 {
        count(&mut client, id)?;
    }
    let served = server(&process, "db2")?.commands - before;
    eprintln!("{served} of 100 reads after a write were served by the replica");
    anyhow::ensure!(served > 0, "no read after a write went to the replica");
    // Its transactions, too, and what a statement with parameters wrote.
    client.ok("BEGIN")?;
    client.ok("INSERT INTO c VALUES (1000, 1)")?;
    client.ok("COMMIT")?;
    anyhow::ensure!(client.value("SELECT COUNT(*) FROM c WHERE id = 1000")? == "1");
    // Its applier holds still, without telling: nothing but the wait can notice.
    let mut blocker = RawClient::connect(cluster.node(1)?.addr(), "app", "app", None, USUAL)?;
    blocker.ok("LOCK TABLES shop.c READ")?;
    for id in 100..105 {
        let started = wait::now();
        count(&mut client, id)?;
        anyhow::ensure!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    }
    blocker.ok("UNLOCK TABLES")?;
    // One that wrote nothing waits for nothing.
    let mut other = RawClient::connect(address, "app", "app", Some("shop"), USUAL)?;
    other.value("SELECT COUNT(*) FROM c").map(drop)
}

#[test]
fn a_session_reads_its_own_writes_from_mysql_whatever_its_replica_has() {
    causal().unwrap();
}

fn kills() -> anyhow::Result<()> {
    let Some(cluster) = cluster(1, false)? else { return Ok(()) };
    cluster.primary()?.create_user("other", "other", "ALL ON shop.*")?;
    let users = "read_write_split = false\n[[user]]\nname = \"other\"\npassword = \"other\"\n";
    let process = highgate(&cluster, "", users)?;
    let address = process.listener("shop")?;
    run(async {
        let mut victim = connect(address).await?;
        let id: u64 = victim.query_first("SELECT CONNECTION_ID()").await?.unwrap_or_default();
        let sleeps = tokio::spawn(async move {
            let started = wait::now();
            let end = victim.query_first::<u64, _>("SELECT SLEEP(30)").await;
            (end, wait::now() - started, victim)
        });
        // It runs once the server shows it.
        let shown = "SELECT COUNT(*) FROM performance_schema.processlist \
                     WHERE user = 'app' AND info LIKE '%SLEEP(30)%'";
        let until = Deadline::seconds(20);
        while cluster.primary()?.value(shown)? != "1" {
            anyhow::ensure!(!until.is_past(), "the statement was not started");
            pause(Duration::from_millis(50)).await;
        }
        let mut stranger = connect_as(address, "other").await?;
        let refused = stranger.query_drop(format!("KILL QUERY {id}")).await;
        anyhow::ensure!(refused.as_ref().is_err_and(|e| code(e) == Some(1095)), "{refused:?}");
        let mut killer = connect(address).await?;
        killer.query_drop(format!("KILL QUERY {id}")).await?;
        for n in 0..50_u64 {
            let got: Option<u64> = killer.query_first(format!("SELECT {n} + SLEEP(0.002)")).await?;
            anyhow::ensure!(got == Some(n), "another statement was hit: {got:?}");
        }
        let (end, took, mut victim) = sleeps.await?;
        anyhow::ensure!(took < Duration::from_secs(20), "{took:?}");
        let ended = matches!(&end, Ok(Some(1)))
            || end.as_ref().is_err_and(|error| code(error) == Some(1317));
        anyhow::ensure!(ended, "{end:?}");
        let three: Option<u64> = victim.query_first("SELECT 3").await?;
        anyhow::ensure!(three == Some(3));
        killer.query_drop(format!("KILL {id}")).await?;
        let mut gone = false;
        for _ in 0..50 {
            gone = victim.query_drop("SELECT 4").await.is_err();
            if gone {
                break;
            }
            pause(Duration::from_millis(100)).await;
        }
        anyhow::ensure!(gone, "a killed session goes on");
        let unknown = killer.query_drop("KILL 987654321").await;
        anyhow::ensure!(unknown.as_ref().is_err_and(|e| code(e) == Some(1094)), "{unknown:?}");
        anyhow::Ok(())
    })
}

#[test]
fn kill_ends_statements_and_sessions_on_mysql_by_the_sessions_id() {
    kills().unwrap();
}

fn drained() -> anyhow::Result<()> {
    let Some(cluster) = cluster(2, false)? else { return Ok(()) };
    let process = highgate(&cluster, "", "")?;
    let address = process.listener("shop")?;
    let load = Load::start(address, MIX)?;
    load.wait_writes(30, Duration::from_secs(30))?;
    let mut busy = RawClient::connect(address, "app", "app", Some("shop"), USUAL)?;
    busy.ok("START TRANSACTION READ ONLY")?;
    let held = busy.value("SELECT @@server_id")?;
    ctl(&process, &["drain", "shop/db2"])?;
    until_server(&process, "db2", Duration::from_secs(15), |s| s.status == "draining")?;
    anyhow::ensure!(busy.value("SELECT @@server_id")? == held, "the transaction was moved");
    busy.ok("COMMIT")?;
    let before = server(&process, "db2")?.commands;
    load.wait_writes(50, Duration::from_secs(30))?;
    let after = server(&process, "db2")?.commands;
    anyhow::ensure!(before == after, "a drained server got {} commands", after - before);
    ctl(&process, &["enable", "shop/db2"])?;
    until_server(&process, "db2", Duration::from_secs(30), |s| s.commands > after)?;
    let seen = load.stop()?;
    anyhow::ensure!(seen.read_errors.is_empty(), "reads: {:?}", seen.read_errors);
    anyhow::ensure!(seen.write_errors.is_empty(), "writes: {:?}", seen.write_errors);
    anyhow::ensure!(seen.transaction_errors.is_empty(), "{:?}", seen.transaction_errors);
    assert_none_lost_none_doubled(cluster.primary()?, &seen)
}

#[test]
fn a_drained_mysql_replica_finishes_its_transaction_and_gets_nothing_new() {
    drained().unwrap();
}

fn monitors() -> anyhow::Result<()> {
    let Some(cluster) = cluster(1, false)? else { return Ok(()) };
    let primary = cluster.primary()?;
    let plugin = "SELECT plugin FROM mysql.user WHERE user = 'monitor'";
    anyhow::ensure!(primary.value(plugin)? == "caching_sha2_password");
    let secure = "SELECT COUNT(*) FROM performance_schema.threads \
                  WHERE processlist_user = 'monitor' AND connection_type = ";
    let backends = [("", "'TCP/IP'"), ("tls = { mode = \"required\" }\n", "'SSL/TLS'")];
    for (tls, kind) in backends {
        // Nobody has logged in yet: the server asks for the password itself, by TLS or sealed by its key.
        primary.sql("FLUSH PRIVILEGES")?;
        let process = highgate(&cluster, tls, "")?;
        anyhow::ensure!(primary.value(&format!("{secure}{kind}"))? != "0", "no login by {kind}");
        let mut client =
            RawClient::connect(process.listener("shop")?, "app", "app", Some("shop"), USUAL)?;
        client.ok("INSERT INTO t VALUES (1, 'x')")?;
    }
    Ok(())
}

#[test]
fn monitors_and_sessions_log_in_with_caching_sha2_password_sealed_or_by_tls() {
    monitors().unwrap();
}
