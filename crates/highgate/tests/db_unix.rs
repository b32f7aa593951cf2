//! Unix sockets on both sides of Highgate: of its clients, and of real MariaDB replication behind it.

#[path = "common/failure.rs"]
mod failure;

use std::path::Path;

use failure::{REPLICATION, addresses, make_table, run, server, start, toml};
use highgate_testkit::{
    Scratch, highgate::HighgateProcess, mariadb::MariaDb, replication::ReplicationCluster,
};
use mysql_async::{Conn, OptsBuilder, prelude::Queryable as _};
use rustix::process::Signal;

async fn connect(socket: &Path) -> mysql_async::Result<Conn> {
    let options = OptsBuilder::default()
        .socket(Some(socket.display().to_string()))
        .user(Some("app"))
        .pass(Some("app"))
        .db_name(Some("shop"));
    Conn::new(options).await
}

/// Writes, reads back, and leaves a transaction to be rolled back.
async fn work(socket: &Path, id: u32) -> mysql_async::Result<u64> {
    let mut client = connect(socket).await?;
    client.query_drop(format!("INSERT INTO t VALUES ({id}, 'by socket')")).await?;
    let mut other = connect(socket).await?;
    other.query_drop("BEGIN").await?;
    other.query_drop(format!("INSERT INTO t VALUES ({id}, 'given up')")).await?;
    other.disconnect().await?;
    client.query_drop("START TRANSACTION").await?;
    let count = client.query_first(format!("SELECT COUNT(*) FROM t WHERE id = {id}")).await?;
    client.disconnect().await?;
    Ok(count.unwrap_or_default())
}

fn sockets_alone() -> anyhow::Result<()> {
    if !MariaDb::is_installed() {
        eprintln!("skipped: MariaDB is not installed");
        return Ok(());
    }
    let cluster = ReplicationCluster::start(2)?;
    make_table(cluster.primary()?)?;
    cluster.wait_caught_up()?;
    let scratch = Scratch::new("unix")?;
    let door = scratch.join("door");
    let mut toml = toml(&addresses(cluster.nodes()), REPLICATION, "");
    let bind = format!("bind = \"unix:{}\"\nmode", door.display());
    toml = toml.replacen("bind = \"127.0.0.1:0\"\nmode", &bind, 1);
    for node in cluster.nodes() {
        let socket = format!("unix:{}", node.socket().display());
        toml = toml.replacen(&node.addr().to_string(), &socket, 1);
    }
    let mut process: HighgateProcess = start(&toml, 2)?;
    for (name, role) in [("db1", "primary"), ("db2", "replica")] {
        let server = server(&process, name)?;
        anyhow::ensure!(server.role == role, "{server:?}");
    }
    anyhow::ensure!(run(work(&door, 1))? == 1, "one row is there, the other was rolled back");
    cluster.switchover(1)?;
    anyhow::ensure!(run(work(&door, 2))? == 1, "the switchover was followed");
    // A crash leaves the file: the next process takes its place.
    process.signal(Signal::KILL)?;
    let _ = process.wait(highgate_testkit::Deadline::seconds(5))?;
    anyhow::ensure!(run(connect(&door)).is_err(), "somebody answers");
    drop(process);
    let process = start(&toml, 2)?;
    anyhow::ensure!(run(work(&door, 3))? == 1, "it serves again");
    drop(process);
    Ok(())
}

#[test]
fn clients_and_servers_meet_by_unix_sockets_alone_and_a_switchover_is_followed() {
    sockets_alone().unwrap();
}
