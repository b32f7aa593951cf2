//! One MySQL primary and its GTID replicas.
//!
//! It is [`crate::ReplicationCluster`] in MySQL's words, with two differences. Positions are sets, compared by the
//! server itself (`GTID_SUBSET`). And a replica whose history is not the primary's starts without complaint, so
//! [`MySqlReplication::rejoin_as_replica`] compares before it lets one follow.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use parking_lot::Mutex;

use super::MySql;
use crate::database::DatabaseOptions;
use crate::wait::{Deadline, eventually};

/// How long catching up and connecting may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// How a cluster is started.
#[derive(Debug, Clone)]
pub struct MySqlReplicationOptions {
    /// How many nodes there are, the primary included.
    pub nodes: usize,
    /// Whether a write waits for a replica before it is acknowledged.
    pub semi_sync: bool,
    /// Further arguments of every `mysqld`.
    pub args: Vec<String>,
}

impl Default for MySqlReplicationOptions {
    fn default() -> Self {
        Self { nodes: 3, semi_sync: false, args: Vec::new() }
    }
}

/// A replication cluster with the accounts `app`, `monitor` and `repl`, each with its name as password.
///
/// Node 0 is the first primary. `app` has all rights on all schemas but none to administer, and the
/// schema `shop` exists. Nodes that don't write have `super_read_only` on.
#[derive(Debug)]
pub struct MySqlReplication {
    nodes: Vec<MySql>,
    primary: Mutex<usize>,
    semi_sync: bool,
    rebuilt: AtomicUsize,
}

impl MySqlReplication {
    /// Starts `nodes` nodes with asynchronous replication.
    ///
    /// # Errors
    /// As [`MySql::start`], or replication does not start.
    pub fn start(nodes: usize) -> anyhow::Result<Self> {
        Self::start_with(MySqlReplicationOptions { nodes, ..MySqlReplicationOptions::default() })
    }

    /// Starts `nodes` nodes of which the primary waits for one replica per write.
    ///
    /// # Errors
    /// As [`MySqlReplication::start`].
    pub fn start_semi_sync(nodes: usize) -> anyhow::Result<Self> {
        let options = MySqlReplicationOptions { nodes, semi_sync: true, args: Vec::new() };
        Self::start_with(options)
    }

    /// Starts a cluster as told.
    ///
    /// # Errors
    /// As [`MySqlReplication::start`].
    pub fn start_with(options: MySqlReplicationOptions) -> anyhow::Result<Self> {
        anyhow::ensure!(options.nodes > 0, "a cluster has at least one node");
        let mut nodes = Vec::with_capacity(options.nodes);
        for index in 0..options.nodes {
            let mut args = node_args(index);
            args.extend(options.args.iter().cloned());
            let node = MySql::prepare(DatabaseOptions { args, ..DatabaseOptions::default() })?;
            // All are launched before the first is waited for, so they start side by side.
            node.launch(&[])?;
            nodes.push(node);
        }
        let cluster = Self {
            nodes,
            primary: Mutex::new(0),
            semi_sync: options.semi_sync,
            rebuilt: AtomicUsize::new(0),
        };
        for node in &cluster.nodes {
            node.wait_ready()?;
        }
        let primary = cluster.node(0)?;
        primary.sql("SET GLOBAL read_only = 0; CREATE DATABASE shop")?;
        make_users(primary)?;
        for replica in cluster.nodes.iter().skip(1) {
            cluster.follow(replica, primary)?;
        }
        cluster.wait_for_acknowledger(primary)?;
        cluster.wait_caught_up()?;
        Ok(cluster)
    }

    /// All nodes, in the order of their server ids.
    pub fn nodes(&self) -> &[MySql] {
        &self.nodes
    }

    /// The node of an index.
    ///
    /// # Errors
    /// There is no such node.
    pub fn node(&self, index: usize) -> anyhow::Result<&MySql> {
        self.nodes.get(index).with_context(|| format!("the cluster has no node {index}"))
    }

    /// The index of the node that was promoted last.
    pub fn primary_index(&self) -> usize {
        *self.primary.lock()
    }

    /// The node that was promoted last.
    ///
    /// # Errors
    /// Never in a cluster that started.
    pub fn primary(&self) -> anyhow::Result<&MySql> {
        self.node(self.primary_index())
    }

    /// Makes `to` the primary in order: the old one refuses writes first, so nothing is lost.
    ///
    /// # Errors
    /// The new primary doesn't catch up in time, or a statement fails.
    pub fn switchover(&self, to: usize) -> anyhow::Result<()> {
        let (old, new) = (self.primary()?, self.node(to)?);
        anyhow::ensure!(to != self.primary_index(), "node {to} is the primary already");
        old.sql("SET GLOBAL super_read_only = 1")?;
        wait_executed(new, &executed(old)?)?;
        self.make_primary(to)?;
        self.repoint()
    }

    /// Makes `index` the primary after the old one was killed, with all that any running replica received.
    ///
    /// # Errors
    /// It doesn't run, doesn't catch up in time, or a statement fails.
    pub fn promote(&self, index: usize) -> anyhow::Result<()> {
        let new = self.node(index)?;
        drain_relay_log(new)?;
        for other in self.running_but(index) {
            drain_relay_log(other)?;
            // One replica's acknowledgement is enough for a write, so the other may hold more.
            let position = executed(other)?;
            if !contains(new, &position)? {
                self.follow(new, other)?;
                wait_executed(new, &position)?;
            }
        }
        self.make_primary(index)?;
        self.repoint()
    }

    /// Brings a node back as a replica of the present primary; starts it if it doesn't run.
    ///
    /// A node that holds transactions which the primary never received is rebuilt from nothing.
    ///
    /// # Errors
    /// It doesn't start, or replication does not.
    pub fn rejoin_as_replica(&self, index: usize) -> anyhow::Result<()> {
        let (node, primary) = (self.node(index)?, self.primary()?);
        anyhow::ensure!(index != self.primary_index(), "node {index} is the primary");
        if !node.is_running() {
            node.restart()?;
        }
        node.sql("SET GLOBAL super_read_only = 1")?;
        if !contains(primary, &executed(node)?)? {
            node.rebuild()?;
            // A server skips events of its own id, and here it has to replay those of its former life.
            let life = self.rebuilt.fetch_add(1, Ordering::Relaxed) + 1;
            node.sql(&format!("SET GLOBAL server_id = {}", 100 * life + index + 1))?;
        }
        self.follow(node, primary)
    }

    /// Seconds a replica is behind by its own account; `None` while it does not replicate.
    ///
    /// # Errors
    /// The node doesn't answer.
    pub fn lag(&self, index: usize) -> anyhow::Result<Option<u64>> {
        let status = self.node(index)?.record("SHOW REPLICA STATUS")?;
        Ok(status.get("Seconds_Behind_Source").and_then(|text| text.parse().ok()))
    }

    /// Waits until every running replica has applied what the primary has committed by now.
    ///
    /// # Errors
    /// One doesn't in time.
    pub fn wait_caught_up(&self) -> anyhow::Result<()> {
        let position = executed(self.primary()?)?;
        for replica in self.running_but(self.primary_index()) {
            wait_executed(replica, &position)?;
        }
        Ok(())
    }

    fn running_but(&self, index: usize) -> impl Iterator<Item = &MySql> {
        let others = self.nodes.iter().enumerate().filter(move |(i, _)| *i != index);
        others.map(|(_, node)| node).filter(|node| node.is_running())
    }

    fn make_primary(&self, index: usize) -> anyhow::Result<()> {
        self.node(index)?.sql(
            "STOP REPLICA; RESET REPLICA ALL; SET GLOBAL rpl_semi_sync_replica_enabled = 0; \
             SET GLOBAL read_only = 0",
        )?;
        *self.primary.lock() = index;
        Ok(())
    }

    fn repoint(&self) -> anyhow::Result<()> {
        let primary = self.primary()?;
        for replica in self.running_but(self.primary_index()) {
            self.follow(replica, primary)?;
        }
        self.wait_for_acknowledger(primary)
    }

    fn follow(&self, replica: &MySql, primary: &MySql) -> anyhow::Result<()> {
        let semi_sync = u8::from(self.semi_sync);
        replica.sql(&format!(
            "STOP REPLICA; SET GLOBAL rpl_semi_sync_source_enabled = 0; \
             SET GLOBAL rpl_semi_sync_replica_enabled = {semi_sync}; \
             CHANGE REPLICATION SOURCE TO SOURCE_HOST = '{}', SOURCE_PORT = {}, \
             SOURCE_USER = 'repl', SOURCE_PASSWORD = 'repl', SOURCE_AUTO_POSITION = 1, \
             GET_SOURCE_PUBLIC_KEY = 1, SOURCE_CONNECT_RETRY = 1, SOURCE_RETRY_COUNT = 86400; \
             START REPLICA",
            primary.addr().ip(),
            primary.port()
        ))?;
        eventually(Deadline::after(PATIENCE), "replication to run", || {
            let status = replica.record("SHOW REPLICA STATUS")?;
            let is = |name: &str, value: &str| status.get(name).is_some_and(|is| is == value);
            let running = is("Replica_IO_Running", "Yes") && is("Replica_SQL_Running", "Yes");
            anyhow::ensure!(running, "replication does not run: {status:?}");
            Ok(())
        })
    }

    /// Turns on waiting for replicas once one is there that can acknowledge; a lone primary never waits.
    fn wait_for_acknowledger(&self, primary: &MySql) -> anyhow::Result<()> {
        if !self.semi_sync || self.running_but(self.primary_index()).next().is_none() {
            return Ok(());
        }
        primary.sql("SET GLOBAL rpl_semi_sync_source_enabled = 1")?;
        eventually(Deadline::after(PATIENCE), "a replica that acknowledges", || {
            let status = primary.record("SHOW STATUS LIKE 'Rpl_semi_sync_source_clients'")?;
            let clients = status.get("Value").and_then(|text| text.parse().ok()).unwrap_or(0);
            anyhow::ensure!(clients > 0, "no replica acknowledges");
            Ok(())
        })
    }
}

fn node_args(index: usize) -> Vec<String> {
    let mut args: Vec<String> = [
        "--log-bin=binlog",
        "--gtid-mode=ON",
        "--enforce-gtid-consistency=ON",
        // A crashed primary must not come back writable by itself.
        "--super-read-only=1",
        "--relay-log-recovery=1",
        "--replica-net-timeout=5",
        "--plugin-load-add=semisync_source.so",
        "--plugin-load-add=semisync_replica.so",
        "--rpl-semi-sync-source-wait-point=AFTER_SYNC",
        "--rpl-semi-sync-source-timeout=3600000",
        "--rpl-semi-sync-source-wait-no-replica=ON",
    ]
    .map(str::to_owned)
    .to_vec();
    args.push(format!("--server-id={}", index + 1));
    args
}

fn make_users(primary: &MySql) -> anyhow::Result<()> {
    let app = "SELECT, INSERT, UPDATE, DELETE, CREATE, DROP, INDEX, ALTER, LOCK TABLES, \
               CREATE TEMPORARY TABLES, EXECUTE, CREATE ROUTINE, CREATE VIEW, TRIGGER ON *.*";
    primary.create_user("app", "app", app)?;
    primary.create_user("monitor", "monitor", "REPLICATION CLIENT, SELECT ON *.*")?;
    primary.create_user("repl", "repl", "REPLICATION SLAVE ON *.*")
}

fn executed(node: &MySql) -> anyhow::Result<String> {
    Ok(node.value("SELECT @@gtid_executed")?.replace('\n', ""))
}

fn contains(node: &MySql, position: &str) -> anyhow::Result<bool> {
    Ok(node.value(&format!("SELECT GTID_SUBSET('{position}', @@gtid_executed)"))? == "1")
}

fn wait_executed(node: &MySql, position: &str) -> anyhow::Result<()> {
    let seconds = PATIENCE.as_secs();
    let answer =
        node.value(&format!("SELECT WAIT_FOR_EXECUTED_GTID_SET('{position}', {seconds})"))?;
    anyhow::ensure!(answer == "0", "no arrival at {position} in {seconds} s: {}", node.log());
    Ok(())
}

/// Stops receiving and waits until all that was received is applied.
fn drain_relay_log(replica: &MySql) -> anyhow::Result<()> {
    replica.sql("STOP REPLICA IO_THREAD")?;
    let status = replica.record("SHOW REPLICA STATUS")?;
    match status.get("Retrieved_Gtid_Set") {
        Some(received) if !received.is_empty() => {
            wait_executed(replica, &received.replace('\n', ""))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
