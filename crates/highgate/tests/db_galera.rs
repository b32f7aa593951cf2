//! A Galera cluster behind Highgate: one writer, reads on the others, and no traffic for members
//! that are not fit.

#[path = "common/failure.rs"]
mod failure;

use std::time::Duration;

use failure::{
    Load, Mix, Server, addresses, assert_none_lost_none_doubled, connect, ctl, make_table, run,
    server, servers, start, toml, until_server,
};
use highgate_testkit::{
    galera::GaleraCluster,
    highgate::HighgateProcess,
    wait::{self, Deadline},
};
use mysql_async::prelude::Queryable as _;

const GALERA: &str = "topology = \"galera\"\n\
    monitor = { user = \"monitor\", password = \"monitor\", interval = \"300ms\", timeout = \"500ms\" }\n\
    failover_wait = \"20s\"\nslow_start = \"0s\"\n";

const MIX: Mix = Mix { readers: 6, writers: 4, transactions: 2 };

/// For what takes a moment on a machine that has nothing else to do.
const PATIENCE: Duration = Duration::from_secs(20);

fn setting(
    backend: &str,
    listener: &str,
) -> anyhow::Result<Option<(GaleraCluster, HighgateProcess)>> {
    if !GaleraCluster::is_installed() {
        eprintln!("skipped: MariaDB, Galera or rsync is not installed");
        return Ok(None);
    }
    let cluster = GaleraCluster::start(3)?;
    make_table(cluster.node(0)?)?;
    let backend = format!("{GALERA}{backend}");
    let process = start(&toml(&addresses(cluster.nodes()), &backend, listener), 3)?;
    Ok(Some((cluster, process)))
}

/// The index of the one writer; an error where there is none or more than one.
fn writer(process: &HighgateProcess) -> anyhow::Result<usize> {
    let list = servers(process)?;
    let writers: Vec<usize> =
        (0..list.len()).filter(|at| list.get(*at).is_some_and(|s| s.role == "primary")).collect();
    match writers.as_slice() {
        [only] => Ok(*only),
        several => anyhow::bail!("{} writers: {list:?}", several.len()),
    }
}

fn name(index: usize) -> String {
    format!("db{}", index + 1)
}

/// A member gets nothing more, once what was decided before is on its way.
fn gets_no_traffic(process: &HighgateProcess, index: usize, load: &Load) -> anyhow::Result<()> {
    wait::eventually(Deadline::seconds(20), "no more traffic", || {
        let before = server(process, &name(index))?.commands;
        load.wait_writes(100, PATIENCE)?;
        let after = server(process, &name(index))?;
        anyhow::ensure!(after.commands == before, "{} more: {after:?}", after.commands - before);
        Ok(())
    })
}

fn spread() -> anyhow::Result<()> {
    let Some((_cluster, process)) = setting("", "")? else { return Ok(()) };
    let writer = writer(&process)?;
    let before = servers(&process)?;
    let load = Load::start(process.listener("shop")?, MIX)?;
    load.wait_writes(300, PATIENCE)?;
    let mut seen = load.stop()?;
    eprintln!("{}", seen.line());
    seen.ensure_answered(0)?;
    anyhow::ensure!(seen.transaction_errors.is_empty(), "{:?}", seen.transaction_errors);
    let gained = |at: usize, now: &[Server]| -> u64 {
        let count = |list: &[Server]| list.get(at).map_or(0, |server| server.commands);
        count(now) - count(&before)
    };
    let now = servers(&process)?;
    for at in (0..3).filter(|at| *at != writer) {
        let reads = gained(at, &now);
        anyhow::ensure!(reads * 3 > seen.reads, "{reads} of {} reads on {at}", seen.reads);
    }
    let reads: u64 = (0..3).filter(|at| *at != writer).map(|at| gained(at, &now)).sum();
    // A driver asks for a variable or two when it connects.
    let most = seen.reads + u64::from(2 * (MIX.readers + MIX.writers + MIX.transactions));
    anyhow::ensure!((seen.reads..=most).contains(&reads), "{reads} on readers, {}", seen.reads);
    Ok(())
}

#[test]
fn one_member_takes_all_writes_and_the_others_share_the_reads() {
    spread().unwrap();
}

fn unfit() -> anyhow::Result<()> {
    let Some((cluster, process)) = setting("", "")? else { return Ok(()) };
    let first = writer(&process)?;
    let reader = (first + 1) % 3;
    let load = Load::start(process.listener("shop")?, MIX)?;
    load.wait_writes(50, PATIENCE)?;

    // Desynced: a donor, or somebody's backup.
    cluster.set_desync(reader, true)?;
    let out = |server: &Server| server.status == "broken" || server.status == "down";
    // The variable shows it a moment before the state does.
    let says = |server: &Server| {
        ["not synced: donor", "desynced"].iter().any(|why| server.reason.contains(why))
    };
    let took = until_server(&process, &name(reader), PATIENCE, |s| out(s) && says(s))?;
    eprintln!("a desynced member was out within {took:?}");
    gets_no_traffic(&process, reader, &load)?;
    cluster.set_desync(reader, false)?;
    until_server(&process, &name(reader), PATIENCE, |s| s.status == "up")?;

    // Cut off from the group: it still lets clients in.
    cluster.set_isolated(reader, true)?;
    // What it refuses of the traffic is heard of before a check can tell why.
    let says = |server: &Server| server.reason.contains("not in a Primary component");
    let took = until_server(&process, &name(reader), PATIENCE, |s| out(s) && says(s))?;
    eprintln!("a non-primary member was out within {took:?}");
    gets_no_traffic(&process, reader, &load)?;
    anyhow::ensure!(writer(&process)? == first, "the writer moved for a reader's sake");
    cluster.set_isolated(reader, false)?;
    until_server(&process, &name(reader), PATIENCE, |s| s.status == "up")?;

    // The writer itself is cut off: another one writes, and it alone.
    cluster.set_isolated(first, true)?;
    until_server(&process, &name(first), PATIENCE, out)?;
    gets_no_traffic(&process, first, &load)?;
    let second = writer(&process)?;
    anyhow::ensure!(second != first, "no new writer");
    cluster.set_isolated(first, false)?;
    until_server(&process, &name(first), PATIENCE, |s| s.status == "up")?;
    load.wait_writes(50, PATIENCE)?;
    anyhow::ensure!(writer(&process)? == second, "the writer moved back for nothing");
    let mut seen = load.stop()?;
    eprintln!("{}", seen.line());
    eprintln!("{:?} {:?}", seen.unknown, seen.transaction_errors);
    eprintln!("{}", ctl(&process, &["events", "--last", "60"])?);
    anyhow::ensure!(seen.read_errors.is_empty(), "reads: {:?}", seen.read_errors);
    anyhow::ensure!(seen.write_errors.is_empty(), "writes: {:?}", seen.write_errors);
    // What was being committed as the writer lost its group.
    let in_flight = usize::try_from(MIX.writers + MIX.transactions)?;
    anyhow::ensure!(seen.unknown.len() <= in_flight, "{} unknown", seen.unknown.len());
    assert_none_lost_none_doubled(cluster.node(second)?, &seen)
}

#[test]
fn a_member_that_is_desynced_or_not_primary_gets_no_traffic_and_one_writer_is_kept() {
    unfit().unwrap();
}

/// `wsrep_reject_queries` is how an operator takes a member out by hand; a member that lost its data
/// takes all of it from a donor.
fn refusing_and_joining() -> anyhow::Result<()> {
    let Some((cluster, process)) = setting("", "")? else { return Ok(()) };
    let first = writer(&process)?;
    let (reader, other) = ((first + 1) % 3, (first + 2) % 3);
    let load = Load::start(process.listener("shop")?, MIX)?;
    load.wait_writes(50, PATIENCE)?;

    let says = |server: &Server| server.reason.contains("wsrep_reject_queries is on");
    cluster.node(reader)?.sql("SET GLOBAL wsrep_reject_queries = ALL")?;
    let took = until_server(&process, &name(reader), PATIENCE, says)?;
    eprintln!("a reader that rejects queries was out within {took:?}");
    gets_no_traffic(&process, reader, &load)?;
    cluster.node(reader)?.sql("SET GLOBAL wsrep_reject_queries = NONE")?;
    until_server(&process, &name(reader), PATIENCE, |s| s.status == "up")?;

    // The writer, with its connections: another one writes.
    cluster.node(first)?.sql("SET GLOBAL wsrep_reject_queries = ALL_KILL")?;
    until_server(&process, &name(first), PATIENCE, says)?;
    load.wait_writes(50, PATIENCE)?;
    let second = writer(&process)?;
    anyhow::ensure!(second != first, "no new writer");
    cluster.node(first)?.sql("SET GLOBAL wsrep_reject_queries = NONE")?;
    until_server(&process, &name(first), PATIENCE, |s| s.status == "up")?;

    // A member that neither writes nor gives: it loses its data and joins anew.
    let lost = if second == reader { other } else { reader };
    let mut states = std::collections::BTreeSet::new();
    std::thread::scope(|scope| {
        let joins = scope.spawn(|| cluster.rejoin_empty(lost));
        while !joins.is_finished() {
            for server in servers(&process)?.iter().filter(|server| server.status != "up") {
                states.insert(format!("{}: {} ({})", server.name, server.status, server.reason));
            }
            anyhow::ensure!(writer(&process)? != lost, "a member that joins is the writer");
        }
        joins.join().map_err(|_| anyhow::anyhow!("the fixture panicked"))?
    })?;
    eprintln!("seen as one joined: {states:#?}");
    until_server(&process, &name(lost), PATIENCE, |s| s.status == "up")?;
    let before = server(&process, &name(lost))?.commands;
    until_server(&process, &name(lost), PATIENCE, |s| s.commands > before + 5)?;
    let last = writer(&process)?;
    let mut seen = load.stop()?;
    eprintln!("{}\n{}", seen.line(), ctl(&process, &["events", "--last", "80"])?);
    anyhow::ensure!(seen.read_errors.is_empty(), "reads: {:?}", seen.read_errors);
    anyhow::ensure!(seen.write_errors.is_empty(), "writes: {:?}", seen.write_errors);
    // What was being committed as the writer's connections were killed.
    let in_flight = usize::try_from(MIX.writers + MIX.transactions)?;
    anyhow::ensure!(seen.unknown.len() <= in_flight, "{} unknown", seen.unknown.len());
    assert_none_lost_none_doubled(cluster.node(last)?, &seen)
}

#[test]
fn a_member_that_rejects_queries_or_takes_its_data_anew_gets_no_traffic() {
    refusing_and_joining().unwrap();
}

/// `FLUSH TABLES WITH READ LOCK` is what backups do: the member is a donor, and applies nothing.
fn donor() -> anyhow::Result<()> {
    let backend = "donor_reads = true\nmax_recv_queue = 50\n";
    let Some((cluster, process)) = setting(backend, "")? else { return Ok(()) };
    let first = writer(&process)?;
    let reader = (first + 1) % 3;
    cluster.node(reader)?.create_user("backup", "backup", "ALL ON *.*")?;
    let load =
        Load::start(process.listener("shop")?, Mix { readers: 4, writers: 1, transactions: 0 })?;
    load.wait_writes(20, PATIENCE)?;
    cluster.set_desync(reader, true)?;
    until_server(&process, &name(reader), PATIENCE, |s| s.reason.starts_with("donor"))?;
    let before = server(&process, &name(reader))?.commands;
    until_server(&process, &name(reader), PATIENCE, |s| s.commands > before + 5)?;
    eprintln!("a donor reads: {:?}", server(&process, &name(reader))?);
    cluster.node(reader)?.sql("SET GLOBAL wsrep_sst_donor_rejects_queries = 1")?;
    until_server(&process, &name(reader), PATIENCE, |s| s.reason.contains("desynced"))?;
    gets_no_traffic(&process, reader, &load)?;
    cluster.node(reader)?.sql("SET GLOBAL wsrep_sst_donor_rejects_queries = 0")?;
    until_server(&process, &name(reader), PATIENCE, |s| s.status == "up")?;
    run(async {
        let mut backup = failure::connect_as(cluster.node(reader)?.addr(), "backup").await?;
        backup.query_drop("FLUSH TABLES WITH READ LOCK").await?;
        let took = until_server(&process, &name(reader), PATIENCE, |s| s.status == "lagging")?;
        eprintln!("a long queue was seen within {took:?}: {:?}", server(&process, &name(reader))?);
        gets_no_traffic(&process, reader, &load)?;
        backup.query_drop("UNLOCK TABLES").await?;
        anyhow::Ok(())
    })?;
    cluster.set_desync(reader, false)?;
    until_server(&process, &name(reader), PATIENCE, |s| s.status == "up")?;
    anyhow::ensure!(writer(&process)? == first, "the writer moved for a reader's sake");
    let mut seen = load.stop()?;
    eprintln!("{}\n{}", seen.line(), ctl(&process, &["events", "--last", "40"])?);
    seen.ensure_answered(0)?;
    assert_none_lost_none_doubled(cluster.node(first)?, &seen)
}

#[test]
fn a_donor_reads_where_it_may_until_too_many_write_sets_wait() {
    donor().unwrap();
}

fn killed_writer() -> anyhow::Result<()> {
    let Some((cluster, process)) = setting("", "")? else { return Ok(()) };
    let first = writer(&process)?;
    let load = Load::start(process.listener("shop")?, MIX)?;
    load.wait_writes(50, PATIENCE)?;
    cluster.node(first)?.kill9();
    let killed = wait::now();
    let took = load.wait_writes(20, PATIENCE)?;
    let second = writer(&process)?;
    eprintln!("writes flowed {took:?} after the kill, on {}", name(second));
    anyhow::ensure!(second != first);
    cluster.rejoin(first)?;
    until_server(&process, &name(first), PATIENCE, |s| s.status == "up")?;
    eprintln!("the killed member was back after {:?}", wait::now() - killed);
    load.wait_writes(50, PATIENCE)?;
    let events = ctl(&process, &["events", "--last", "40"])?;
    eprintln!("{events}");
    anyhow::ensure!(writer(&process)? == second, "the writer moved for nothing");
    let before = server(&process, &name(first))?.commands;
    until_server(&process, &name(first), PATIENCE, |s| s.commands > before + 5)?;
    let mut seen = load.stop()?;
    eprintln!("{}", seen.line());
    eprintln!("{:?} {:?}", seen.unknown, seen.transaction_errors);
    let in_flight = usize::try_from(MIX.writers + MIX.transactions)?;
    seen.ensure_answered(in_flight)?;
    assert_none_lost_none_doubled(cluster.node(second)?, &seen)
}

#[test]
fn a_killed_writer_is_replaced_and_its_return_moves_nothing() {
    killed_writer().unwrap();
}

fn causal() -> anyhow::Result<()> {
    let listener = "causal_reads = true\ncausal_reads_timeout = \"5s\"\n";
    let Some((cluster, process)) = setting("", listener)? else { return Ok(()) };
    let first = writer(&process)?;
    let rows = "CREATE TABLE shop.c (id INT PRIMARY KEY, v INT); \
                INSERT INTO shop.c SELECT seq, 0 FROM shop.seq";
    cluster.node(first)?.sql(
        "CREATE TABLE shop.seq (seq INT AUTO_INCREMENT PRIMARY KEY, x INT); \
         INSERT INTO shop.seq (x) VALUES (1),(1),(1),(1),(1),(1),(1),(1)",
    )?;
    for _ in 0..11 {
        cluster.node(first)?.sql("INSERT INTO shop.seq (x) SELECT x FROM shop.seq")?;
    }
    cluster.node(first)?.sql(rows)?;
    let before = servers(&process)?;
    let stale = run(async {
        let mut client = connect(process.listener("shop")?).await?;
        let mut direct = connect(cluster.node((first + 1) % 3)?.addr()).await?;
        let mut stale_without = 0;
        // A large write set takes others longer to apply than a read takes to get there.
        for round in 1..=15 {
            // Members' connections that are reset wait for nothing any more.
            let mut left = connect(process.listener("shop")?).await?;
            for session in [&mut left, &mut client] {
                session.query_drop("START TRANSACTION READ ONLY").await?;
                session.query_drop("SELECT 1 FROM c LIMIT 1").await?;
            }
            anyhow::ensure!(client.reset().await?, "it is reset, not connected anew");
            left.disconnect().await?;
            client.query_drop(format!("UPDATE c SET v = {round}")).await?;
            let count = format!("SELECT COUNT(*) FROM c WHERE v <> {round}");
            let without: Option<u64> = direct.query_first(&count).await?;
            stale_without += u32::from(without != Some(0));
            let old: Option<u64> = client.query_first(&count).await?;
            anyhow::ensure!(old == Some(0), "round {round}: {old:?} rows are old");
        }
        for id in 1_000_000..1_000_500_u64 {
            client.query_drop(format!("INSERT INTO c VALUES ({id}, 1)")).await?;
            let seen: Option<u64> =
                client.query_first(format!("SELECT COUNT(*) FROM c WHERE id = {id}")).await?;
            anyhow::ensure!(seen == Some(1), "write {id} is not seen");
        }
        anyhow::Ok(stale_without)
    })?;
    eprintln!("{stale} of 15 reads without a wait were stale");
    anyhow::ensure!(stale > 0, "nothing was tested: members follow too fast");
    let now = servers(&process)?;
    let on_readers: u64 = (0..3)
        .filter(|at| *at != first)
        .filter_map(|at| Some(now.get(at)?.commands - before.get(at)?.commands))
        .sum();
    anyhow::ensure!(on_readers >= 515, "{on_readers} commands on the readers");
    Ok(())
}

#[test]
fn causal_reads_are_never_stale_on_any_member() {
    causal().unwrap();
}

fn lone() -> anyhow::Result<()> {
    let Some((cluster, process)) = setting("", "")? else { return Ok(()) };
    let first = writer(&process)?;
    // Two of three at once: the last one has no quorum.
    for at in (0..3).filter(|at| *at != first) {
        cluster.node(at)?.kill9();
    }
    cluster.wait_status(first, "wsrep_cluster_status", "non-Primary")?;
    let out = |server: &Server| server.status == "broken";
    until_server(&process, &name(first), PATIENCE, out)?;
    let status = ctl(&process, &["status"])?;
    eprintln!("{status}");
    anyhow::ensure!(status.contains("no writable synced member of a Primary component"));
    // Told to be one again by somebody who knows.
    cluster.node(first)?.sql("SET GLOBAL wsrep_provider_options = 'pc.bootstrap=1'")?;
    wait::eventually(Deadline::seconds(10), "a writer", || writer(&process).map(|_| ()))
}

#[test]
fn a_member_without_quorum_is_not_written_to_until_it_is_primary_again() {
    lone().unwrap();
}
