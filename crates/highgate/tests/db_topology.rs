//! Roles on real MariaDB replication: two writable servers, replicas that fall behind, switchovers,
//! and what is served before every server has answered.

#[path = "common/failure.rs"]
mod failure;

use std::{net::TcpListener, time::Duration};

use failure::{
    BINARY, Load, Mix, REPLICATION, addresses, assert_none_lost_none_doubled, code, connect, ctl,
    make_table, run, server, start, table, toml, until_server,
};
use highgate_testkit::{
    highgate::HighgateProcess,
    mariadb::{MariaDb, MariaDbOptions},
    replication::ReplicationCluster,
    wait::{self, Deadline},
};
use mysql_async::prelude::Queryable as _;

const MIX: Mix = Mix { readers: 4, writers: 4, transactions: 2 };

fn cluster(nodes: usize) -> anyhow::Result<Option<ReplicationCluster>> {
    if !MariaDb::is_installed() {
        eprintln!("skipped: MariaDB is not installed");
        return Ok(None);
    }
    let cluster = ReplicationCluster::start(nodes)?;
    make_table(cluster.primary()?)?;
    cluster.wait_caught_up()?;
    Ok(Some(cluster))
}

fn highgate(
    cluster: &ReplicationCluster,
    backend: &str,
    listener: &str,
) -> anyhow::Result<HighgateProcess> {
    let backend = format!("{REPLICATION}{backend}");
    start(&toml(&addresses(cluster.nodes()), &backend, listener), cluster.nodes().len())
}

fn until_event(process: &HighgateProcess, text: &str) -> anyhow::Result<()> {
    wait::eventually(Deadline::seconds(20), text, || {
        let events = ctl(process, &["events", "--last", "60"])?;
        anyhow::ensure!(events.contains(text), "no event `{text}`:\n{events}");
        Ok(())
    })
}

fn returner() -> anyhow::Result<()> {
    let Some(cluster) = cluster(3)? else { return Ok(()) };
    let process = highgate(&cluster, "", "")?;
    let load = Load::start(process.listener("shop")?, MIX)?;
    load.wait_writes(30, Duration::from_secs(10))?;
    cluster.switchover(1)?;
    load.wait_writes(30, Duration::from_secs(15))?;
    // The old primary believes in itself again, first beside its new source, then without one.
    cluster.node(0)?.sql("SET GLOBAL read_only = 0")?;
    until_event(&process, "db2 is the primary now, in place of db1")?;
    load.wait_writes(50, Duration::from_secs(10))?;
    // Its applier may just have been started.
    until_server(&process, "db1", Duration::from_secs(10), |s| {
        (s.role.as_str(), s.status.as_str()) == ("replica", "up")
    })?;
    cluster.node(0)?.sql("STOP SLAVE; RESET SLAVE ALL")?;
    until_event(&process, "several servers are writable: db1, db2; db2 is the primary of record")?;
    until_server(&process, "db1", Duration::from_secs(5), |s| s.status == "quarantined")?;
    eprintln!("{}", server(&process, "db1")?.reason);
    let position = cluster.node(0)?.value("SELECT @@gtid_binlog_pos")?;
    load.wait_writes(100, Duration::from_secs(10))?;
    let after = cluster.node(0)?.value("SELECT @@gtid_binlog_pos")?;
    anyhow::ensure!(position == after, "the returner was written to: {position} {after}");
    cluster.rejoin_as_replica(0)?;
    until_server(&process, "db1", Duration::from_secs(10), |s| {
        s.role == "replica" && s.status == "up"
    })?;
    let mut seen = load.stop()?;
    eprintln!("{}", seen.line());
    anyhow::ensure!(seen.read_errors.is_empty(), "reads: {:?}", seen.read_errors);
    anyhow::ensure!(seen.write_errors.is_empty(), "writes: {:?}", seen.write_errors);
    assert_none_lost_none_doubled(cluster.primary()?, &seen)
}

#[test]
fn an_old_primary_that_returns_writable_takes_no_write() {
    returner().unwrap();
}

fn rival() -> anyhow::Result<()> {
    let Some(cluster) = cluster(3)? else { return Ok(()) };
    let process = highgate(&cluster, "", "")?;
    let load = Load::start(process.listener("shop")?, MIX)?;
    load.wait_writes(30, Duration::from_secs(10))?;
    cluster.node(1)?.sql("STOP SLAVE; RESET SLAVE ALL; SET GLOBAL read_only = 0")?;
    until_event(&process, "several servers are writable: db1, db2; db1 is the primary of record")?;
    let position = cluster.node(1)?.value("SELECT @@gtid_current_pos")?;
    load.wait_writes(500, Duration::from_secs(20))?;
    cluster.node(0)?.kill9();
    until_event(
        &process,
        "the primary db1 is down; db2 was writable beside it and may lack writes",
    )?;
    cluster.node(0)?.restart()?;
    cluster.node(0)?.sql("SET GLOBAL read_only = 0")?;
    load.wait_writes(50, Duration::from_secs(30))?;
    let mut seen = load.stop()?;
    eprintln!("{}", seen.line());
    anyhow::ensure!(seen.read_errors.is_empty(), "reads: {:?}", seen.read_errors);
    let after = cluster.node(1)?.value("SELECT @@gtid_current_pos")?;
    anyhow::ensure!(position == after, "the rival was written to: {position} {after}");
    assert_none_lost_none_doubled(cluster.node(0)?, &seen)
}

/// Its death for a moment crowned the rival, which lacks all that was written since.
#[test]
fn a_rival_of_the_primary_does_not_take_its_place_when_that_dies_and_comes_back() {
    rival().unwrap();
}

fn strangers() -> anyhow::Result<()> {
    let Some(cluster) = cluster(3)? else { return Ok(()) };
    cluster.node(1)?.sql("STOP SLAVE; RESET SLAVE ALL; SET GLOBAL read_only = 0")?;
    let text = toml(&addresses(cluster.nodes()), REPLICATION, "");
    let process = HighgateProcess::start(BINARY, &text)?;
    until_event(&process, "several servers are writable: db1, db2; no primary was known")?;
    let address = process.listener("shop")?;
    until_server(&process, "db3", Duration::from_secs(5), |s| s.status == "up")?;
    let started = wait::now();
    let refused = run(async {
        let mut conn = connect(address).await?;
        Ok::<_, mysql_async::Error>(conn.query_drop("INSERT INTO t VALUES (1, 'x')").await)
    })?;
    let error = refused.err().map(|error| (code(&error), error.to_string()));
    eprintln!("{error:?} after {:?}", wait::now() - started);
    let Some((Some(1290), text)) = error else { anyhow::bail!("{error:?}") };
    anyhow::ensure!(!text.contains("db1"), "a client learns the servers' names: {text}");
    let status = ctl(&process, &["status"])?;
    anyhow::ensure!(status.contains("set read_only=1 on all but one"), "{status}");
    cluster.node(1)?.sql("SET GLOBAL read_only = 1")?;
    run(async {
        let mut conn = connect(address).await?;
        wait_for_write(&mut conn).await
    })
}

async fn wait_for_write(conn: &mut mysql_async::Conn) -> anyhow::Result<()> {
    for _ in 0..50 {
        if conn.query_drop("INSERT INTO t VALUES (2, 'x')").await.is_ok() {
            return Ok(());
        }
        failure::pause(Duration::from_millis(100)).await;
    }
    anyhow::bail!("no write in five seconds")
}

#[test]
fn two_writable_servers_and_no_record_refuse_writes_until_one_is_read_only() {
    strangers().unwrap();
}

/// The primary is lost for good, and the only other writable server never was its replica.
fn forgotten() -> anyhow::Result<()> {
    if !MariaDb::is_installed() {
        eprintln!("skipped: MariaDB is not installed");
        return Ok(());
    }
    let nodes = [lone(1)?, lone(2)?];
    nodes[1].kill9();
    let process = start(&toml(&addresses(&nodes), REPLICATION, ""), 1)?;
    until_event(&process, "db1 is the primary")?;
    nodes[0].kill9();
    // Who is read beside the primary before its death is found is told of otherwise.
    until_server(&process, "db1", Duration::from_secs(10), |s| s.status == "down")?;
    nodes[1].restart()?;
    until_event(&process, "db2 is writable but was not seen as its replica")?;
    until_event(&process, "gone for good, `highgate ctl forget-primary shop`")?;
    let said = ctl(&process, &["forget-primary", "shop"])?;
    eprintln!("{said}");
    anyhow::ensure!(said.contains("db1 is forgotten as the primary of record; db2 is"), "{said}");
    until_event(&process, "an operator had db1 forgotten as the primary of record")?;
    run(async {
        let mut conn = connect(process.listener("shop")?).await?;
        conn.query_drop("INSERT INTO t VALUES (1, 'x')").await?;
        anyhow::Ok(())
    })?;
    let wrong = ctl(&process, &["forget-primary", "shoe"]);
    anyhow::ensure!(wrong.is_err_and(|error| error.to_string().contains("no primary of `shoe`")));
    Ok(())
}

fn lone(id: u32) -> anyhow::Result<MariaDb> {
    let args = vec![format!("--server-id={id}"), "--log-bin=binlog".to_owned()];
    let node = MariaDb::start_with(MariaDbOptions { args, ..MariaDbOptions::default() })?;
    node.sql("CREATE DATABASE shop")?;
    node.create_user("app", "app", "ALL ON *.*")?;
    node.create_user("monitor", "monitor", "SLAVE MONITOR, REPLICATION CLIENT ON *.*")?;
    make_table(&node)?;
    Ok(node)
}

#[test]
fn a_lost_primary_is_forgotten_at_the_word_of_an_operator_and_the_other_takes_writes() {
    forgotten().unwrap();
}

fn lagging() -> anyhow::Result<()> {
    let Some(cluster) = cluster(3)? else { return Ok(()) };
    let causal = "causal_reads = true\ncausal_reads_timeout = \"200ms\"";
    let process = highgate(&cluster, "max_lag = \"2s\"", causal)?;
    let address = process.listener("shop")?;
    let ends = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        // Own writes are read back all the time, whatever the replicas do.
        let own = scope.spawn(|| run(read_own_writes(address, &ends)));
        let done = lag_and_return(&cluster, &process);
        ends.store(true, std::sync::atomic::Ordering::Relaxed);
        let rounds = own.join().map_err(|_| anyhow::anyhow!("the reader panicked"))??;
        eprintln!("{rounds} own writes were read back at once");
        done
    })
}

async fn read_own_writes(
    address: std::net::SocketAddr,
    ends: &std::sync::atomic::AtomicBool,
) -> anyhow::Result<u64> {
    let mut conn = connect(address).await?;
    let mut id = 0;
    while !ends.load(std::sync::atomic::Ordering::Relaxed) {
        id += 1;
        conn.query_drop(format!("INSERT INTO t VALUES ({id}, 'own')")).await?;
        let seen: Option<u64> =
            conn.query_first(format!("SELECT COUNT(*) FROM t WHERE id = {id}")).await?;
        anyhow::ensure!(seen == Some(1), "own write {id} is not seen");
        failure::pause(Duration::from_millis(10)).await;
    }
    Ok(id)
}

fn lag_and_return(cluster: &ReplicationCluster, process: &HighgateProcess) -> anyhow::Result<()> {
    let up = |s: &failure::Server| s.status == "up";
    let replica = cluster.node(2)?;
    replica.sql("STOP SLAVE SQL_THREAD")?;
    let took = until_server(process, "db3", Duration::from_secs(10), |s| s.status == "broken")?;
    let reason = server(process, "db3")?.reason;
    eprintln!("a stopped applier was out within {took:?}: {reason}");
    anyhow::ensure!(reason.contains("replication is stopped (SQL thread)"), "{reason}");
    let before = server(process, "db3")?.commands;
    let _ = wait::wait_until(Deadline::after(Duration::from_millis(600)), || false);
    let after = server(process, "db3")?.commands;
    anyhow::ensure!(before == after, "{} commands more", after - before);
    replica.sql("START SLAVE")?;
    until_server(process, "db3", Duration::from_secs(10), up)?;
    replica.sql("STOP SLAVE; CHANGE MASTER TO MASTER_DELAY = 60; START SLAVE")?;
    let took = until_server(process, "db3", Duration::from_secs(10), |s| s.status == "lagging")?;
    let reason = server(process, "db3")?.reason;
    eprintln!("a replica held back by 60 s was out within {took:?}: {reason}");
    anyhow::ensure!(reason.contains("behind, more than 2 s"), "{reason}");
    replica.sql("STOP SLAVE; CHANGE MASTER TO MASTER_DELAY = 0; START SLAVE")?;
    until_server(process, "db3", Duration::from_secs(10), up)?;
    until_event(process, "replication is stopped (SQL thread)")?;
    until_event(process, "behind, more than 2 s")
}

#[test]
fn a_replica_that_stops_or_lags_leaves_with_its_reason_and_returns_and_own_writes_are_seen() {
    lagging().unwrap();
}

/// Where nothing but the lag moves, no new plan is made; what is shown of it moved by the plan alone.
fn lag_without_a_bound() -> anyhow::Result<()> {
    let Some(cluster) = cluster(2)? else { return Ok(()) };
    let process = highgate(&cluster, "", "")?;
    let lag = || anyhow::Ok(table(&process, "servers")?[1]["lag_ms"].as_u64());
    let until = |what: &str, holds: &dyn Fn(u64) -> bool| {
        wait::eventually(Deadline::seconds(20), what, || {
            let lag = lag()?;
            anyhow::ensure!(lag.is_some_and(holds), "lag_ms is {lag:?}");
            Ok(())
        })
    };
    until("no lag", &|lag| lag == 0)?;
    let replica = cluster.node(1)?;
    replica.sql("STOP SLAVE; CHANGE MASTER TO MASTER_DELAY = 60; START SLAVE")?;
    until_server(&process, "db2", Duration::from_secs(10), |s| s.status == "up")?;
    cluster.primary()?.sql("INSERT INTO shop.t VALUES (1, 'late')")?;
    until("a lag that grows", &|lag| lag >= 2000)?;
    replica.sql("STOP SLAVE; CHANGE MASTER TO MASTER_DELAY = 0; START SLAVE")?;
    until("no lag again", &|lag| lag == 0)
}

#[test]
fn the_lag_that_is_shown_moves_where_nothing_else_does() {
    lag_without_a_bound().unwrap();
}

fn switchovers(times: usize) -> anyhow::Result<()> {
    let Some(cluster) = cluster(3)? else { return Ok(()) };
    let process = highgate(&cluster, "", "")?;
    let load = Load::start(process.listener("shop")?, Mix { transactions: 6, ..MIX })?;
    load.wait_writes(30, Duration::from_secs(10))?;
    for round in 1..=times {
        cluster.switchover(round % 3)?;
        load.wait_writes(20, Duration::from_secs(15))?;
    }
    let mut seen = load.stop()?;
    eprintln!("{}", seen.line());
    eprintln!("{}", ctl(&process, &["events", "--last", "40"])?);
    let count = seen.transaction_errors.len();
    eprintln!("{times} switchovers: {count} transactions to be restarted: {:?}", {
        seen.transaction_errors.sort_unstable();
        seen.transaction_errors.dedup();
        &seen.transaction_errors
    });
    seen.ensure_answered(0)?;
    for error in &seen.transaction_errors {
        anyhow::ensure!(error.contains("40001"), "a transaction failed with: {error}");
    }
    // Each client is in one transaction at a time, and finds out once: after the first refusal no
    // other transaction begins there.
    anyhow::ensure!(count <= 6 * times, "{count} failed transactions in {times} switchovers");
    assert_none_lost_none_doubled(cluster.primary()?, &seen)
}

#[test]
fn a_switchover_ends_each_open_transaction_once_and_so_that_drivers_try_again() {
    switchovers(5).unwrap();
}

#[test]
#[ignore = "soak: a hundred switchovers with transactions"]
fn a_hundred_switchovers_end_transactions_in_nothing_but_retriable_errors() {
    switchovers(100).unwrap();
}

/// How long a primary that was made read-only is still written to: each refusal is one lost try.
fn demotion() -> anyhow::Result<()> {
    let Some(cluster) = cluster(2)? else { return Ok(()) };
    let slow = REPLICATION
        .replace("300ms", "5s")
        .replace("20s", "60s")
        .replace("slow_start", "max_lag = \"60s\"\nslow_start");
    let process = start(&toml(&addresses(cluster.nodes()), &slow, ""), 2)?;
    let address = process.listener("shop")?;
    run(async {
        let mut conn = connect(address).await?;
        conn.query_drop("BEGIN").await?;
        // Not before it began: a check may be due at any time, and BEGIN would wait for a primary.
        cluster.node(0)?.sql("SET GLOBAL read_only = 1")?;
        let refused = conn.query_drop("INSERT INTO t VALUES (1, 'in')").await;
        let text = refused.map_or_else(|error| error.to_string(), |()| "no error".to_owned());
        anyhow::ensure!(text.contains("40001") && text.contains("restarting"), "{text}");
        anyhow::Ok(())
    })?;
    // No check was due yet: the refusal alone took it out of the writes, at once.
    let took = until_server(&process, "db1", Duration::from_millis(4500), |s| s.role != "primary")?;
    eprintln!("no new writes {took:?} after the first refusal");
    let writer = std::thread::spawn(move || {
        run(async {
            let mut conn = connect(address).await?;
            // It waits for the primary, and is refused nowhere.
            conn.query_drop("BEGIN").await?;
            conn.query_drop("INSERT INTO t VALUES (2, 'in')").await?;
            conn.query_drop("COMMIT").await
        })
    });
    cluster.switchover(1)?;
    let written = writer.join().map_err(|_| anyhow::anyhow!("the writer panicked"))?;
    written.map_err(|error| anyhow::anyhow!("the next transaction: {error}"))
}

#[test]
fn the_first_refusal_of_a_write_keeps_the_next_transactions_away_from_that_server() {
    demotion().unwrap();
}

/// Each of its writes was refused for as long as it lived: the old primary had its LAST_INSERT_ID().
fn bound_by_an_id() -> anyhow::Result<()> {
    let Some(cluster) = cluster(3)? else { return Ok(()) };
    cluster.primary()?.sql("CREATE TABLE shop.ids (id INT AUTO_INCREMENT PRIMARY KEY, v INT)")?;
    let process = highgate(&cluster, "", "")?;
    let address = process.listener("shop")?;
    run(async {
        let (mut idle, mut inside) = (connect(address).await?, connect(address).await?);
        idle.query_drop("INSERT INTO ids (v) VALUES (0)").await?;
        idle.query_drop("INSERT INTO ids (id, v) VALUES (1000, 0)").await?;
        inside.query_drop("INSERT INTO ids (id, v) VALUES (2000, 0)").await?;
        inside.query_drop("BEGIN").await?;
        cluster.switchover(1)?;
        idle.query_drop("UPDATE ids SET v = v + 1 WHERE id = 1000").await?;
        let id: Option<u64> = idle.query_first("SELECT LAST_INSERT_ID()").await?;
        anyhow::ensure!(id == Some(1), "{id:?}");
        let refused = inside.query_drop("UPDATE ids SET v = v + 1 WHERE id = 2000").await;
        let text = refused.map_or_else(|error| error.to_string(), |()| "no error".to_owned());
        anyhow::ensure!(text.contains("40001"), "{text}");
        inside.query_drop("BEGIN").await?;
        inside.query_drop("UPDATE ids SET v = v + 1 WHERE id = 2000").await?;
        inside.query_drop("COMMIT").await?;
        anyhow::Ok(())
    })?;
    let sum = cluster.primary()?.value("SELECT SUM(v) FROM shop.ids")?;
    anyhow::ensure!(sum == "2", "{sum}");
    Ok(())
}

#[test]
fn a_session_that_only_an_insert_id_binds_leaves_a_demoted_primary_with_it() {
    bound_by_an_id().unwrap();
}

/// Errors that a client makes itself, and that sound like the server's: the writes of all waited for a
/// check, again and again.
fn signals() -> anyhow::Result<()> {
    let Some(cluster) = cluster(2)? else { return Ok(()) };
    let slow =
        REPLICATION.replace("300ms", "5s").replace("slow_start", "max_lag = \"60s\"\nslow_start");
    let process = start(&toml(&addresses(cluster.nodes()), &slow, ""), 2)?;
    let address = process.listener("shop")?;
    let signals = [
        "SIGNAL SQLSTATE '45000' SET MYSQL_ERRNO = 1836",
        "SIGNAL SQLSTATE '45000' SET MYSQL_ERRNO = 1290, MESSAGE_TEXT = 'read-only'",
        "BEGIN NOT ATOMIC SIGNAL SQLSTATE '45000' SET MYSQL_ERRNO = 1836; END",
        "EXECUTE IMMEDIATE 'SIGNAL SQLSTATE \"45000\" SET MYSQL_ERRNO = 1836'",
    ];
    run(async {
        let (mut conn, mut other) = (connect(address).await?, connect(address).await?);
        for text in signals {
            let told = conn.query_drop(text).await;
            let told = told.as_ref().map_or_else(code, |()| None);
            anyhow::ensure!(matches!(told, Some(1290 | 1836)), "{text}: {told:?}");
            other.query_drop("INSERT INTO t VALUES (1, 'x')").await?;
        }
        anyhow::Ok(())
    })?;
    let events = ctl(&process, &["events", "--last", "60"])?;
    anyhow::ensure!(!events.contains("held to that"), "{events}");
    anyhow::ensure!(server(&process, "db1")?.role == "primary", "{events}");
    Ok(())
}

#[test]
fn an_error_that_a_client_makes_itself_holds_up_nobodys_writes() {
    signals().unwrap();
}

fn dead_at_start() -> anyhow::Result<()> {
    let Some(cluster) = cluster(2)? else { return Ok(()) };
    // It lets clients in and never says a word.
    let silent = TcpListener::bind("127.0.0.1:0")?;
    let mut servers = addresses(cluster.nodes());
    servers.push(silent.local_addr()?);
    let slow = REPLICATION.replace("timeout = \"500ms\"", "timeout = \"4s\"");
    let process = HighgateProcess::start(BINARY, &toml(&servers, &slow, ""))?;
    let address = process.listener("shop")?;
    let started = wait::now();
    run(async {
        let mut conn = connect(address).await?;
        let _: Option<u64> = conn.query_first("SELECT COUNT(*) FROM t").await?;
        Ok::<_, mysql_async::Error>(())
    })?;
    let read = wait::now() - started;
    run(async {
        let mut conn = connect(address).await?;
        conn.query_drop("INSERT INTO t VALUES (1, 'x')").await
    })?;
    let written = wait::now() - started;
    eprintln!(
        "first read after {read:?}, first write, with no primary on record, after {written:?}"
    );
    eprintln!("{}", ctl(&process, &["events", "--last", "20"])?);
    anyhow::ensure!(read < Duration::from_secs(4), "a read waited {read:?} for a dead server");
    Ok(())
}

#[test]
fn a_server_that_is_silent_at_start_does_not_hold_up_reads() {
    dead_at_start().unwrap();
}

fn refused_monitor() -> anyhow::Result<()> {
    let Some(cluster) = cluster(2)? else { return Ok(()) };
    let wrong = REPLICATION.replace("password = \"monitor\"", "password = \"wrong\"");
    let process = HighgateProcess::start(BINARY, &toml(&addresses(cluster.nodes()), &wrong, ""))?;
    until_event(&process, "set `monitor.user` and `monitor.password`")?;
    until_event(
        &process,
        "writes wait: no primary is known; db1 is alive, but its role is not known",
    )?;
    let status = ctl(&process, &["status"])?;
    eprintln!("{status}");
    anyhow::ensure!(status.contains("the monitor's account is refused"), "{status}");
    Ok(())
}

/// Rights are settled as a connection is opened, and monitors keep theirs: what the event asks for has
/// to help all the same.
fn granted_monitor() -> anyhow::Result<()> {
    let Some(cluster) = cluster(2)? else { return Ok(()) };
    let primary = cluster.primary()?;
    primary.create_user("bare", "bare", "SELECT ON shop.*")?;
    cluster.wait_caught_up()?;
    let bare = REPLICATION.replace("\"monitor\"", "\"bare\"");
    let process = HighgateProcess::start(BINARY, &toml(&addresses(cluster.nodes()), &bare, ""))?;
    until_event(&process, "grant it REPLICATION CLIENT (MariaDB: also SLAVE MONITOR)")?;
    primary.sql("GRANT REPLICATION CLIENT, SLAVE MONITOR ON *.* TO 'bare'@'%'")?;
    let well = |role: &'static str| move |s: &failure::Server| s.role == role && s.status == "up";
    until_server(&process, "db1", Duration::from_secs(20), well("primary"))?;
    until_server(&process, "db2", Duration::from_secs(20), well("replica"))?;
    until_event(&process, "the monitor can read it again")?;
    run(async {
        let mut conn = connect(process.listener("shop")?).await?;
        conn.query_drop("INSERT INTO t VALUES (1, 'x')").await?;
        anyhow::Ok(())
    })
}

#[test]
fn a_monitor_that_is_granted_its_rights_reads_with_the_next_check() {
    granted_monitor().unwrap();
}

#[test]
fn where_every_monitor_is_refused_events_and_status_say_what_to_repair() {
    refused_monitor().unwrap();
}
