//! One primary and its GTID replicas.
//!
//! All nodes start from the same template and the primary's binary log reaches back to its birth, so any node
//! can be rebuilt by replaying from the start. With [`ReplicationOptions::semi_sync`] a write is
//! acknowledged only after a replica holds it (wait point AFTER_SYNC, practically no time-out), so kill -9 of
//! the primary and [`Replication::promote`] lose no acknowledged write.

mod make;

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use parking_lot::Mutex;

pub use self::make::Replicates;
use crate::database::{Database, DatabaseOptions};
use crate::mariadb::MariaDb;
use crate::mysql::MySql;
use crate::wait::{Deadline, eventually};

/// How long catching up and connecting may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// How a cluster is started.
#[derive(Debug, Clone)]
pub struct ReplicationOptions {
    /// How many nodes there are, the primary included.
    pub nodes: usize,
    /// Whether a write waits for a replica before it is acknowledged.
    pub semi_sync: bool,
    /// Further arguments of every server.
    pub args: Vec<String>,
    /// Where each node lives, as [`crate::Host::mariadb`] gives it; all here when left out.
    pub homes: Vec<DatabaseOptions>,
}

impl Default for ReplicationOptions {
    fn default() -> Self {
        Self { nodes: 3, semi_sync: false, args: Vec::new(), homes: Vec::new() }
    }
}

/// A cluster of MariaDB; what it can do is said at [`Replication`].
#[derive(Debug)]
pub struct ReplicationCluster(Replication<MariaDb>);

/// A cluster of MySQL; what it can do is said at [`Replication`].
#[derive(Debug)]
pub struct MySqlReplication(Replication<MySql>);

macro_rules! starts {
    ($cluster:ident, $make:ident) => {
        impl $cluster {
            /// Starts `nodes` nodes with asynchronous replication.
            ///
            /// # Errors
            /// The make is not installed, or replication does not start.
            pub fn start(nodes: usize) -> anyhow::Result<Self> {
                Self::start_with(ReplicationOptions { nodes, ..ReplicationOptions::default() })
            }

            /// Starts `nodes` nodes of which the primary waits for one replica per write.
            ///
            /// # Errors
            /// As `start`.
            pub fn start_semi_sync(nodes: usize) -> anyhow::Result<Self> {
                let options = ReplicationOptions::default();
                Self::start_with(ReplicationOptions { nodes, semi_sync: true, ..options })
            }

            /// Starts a cluster as told.
            ///
            /// # Errors
            /// As `start`.
            pub fn start_with(options: ReplicationOptions) -> anyhow::Result<Self> {
                Replication::start(options).map(Self)
            }
        }

        impl Deref for $cluster {
            type Target = Replication<$make>;

            fn deref(&self) -> &Self::Target {
                &self.0
            }
        }
    };
}

starts!(ReplicationCluster, MariaDb);
starts!(MySqlReplication, MySql);

/// A replication cluster with the accounts `app`, `monitor` and `repl`, each with its name as password.
///
/// Node 0 is the first primary. `app` has all rights on all schemas but none to administer, and the
/// schema `shop` exists. Nodes that don't write refuse to.
#[derive(Debug)]
pub struct Replication<D> {
    nodes: Vec<D>,
    primary: Mutex<usize>,
    semi_sync: bool,
    rebuilt: AtomicUsize,
}

impl<D: Replicates> Replication<D> {
    fn start(options: ReplicationOptions) -> anyhow::Result<Self> {
        anyhow::ensure!(options.nodes > 0, "a cluster has at least one node");
        let mut nodes = Vec::with_capacity(options.nodes);
        for index in 0..options.nodes {
            let mut home = options.homes.get(index).cloned().unwrap_or_default();
            home.args.extend(D::ARGUMENTS.iter().map(ToString::to_string));
            home.args.push(format!("--server-id={}", index + 1));
            home.args.extend(options.args.iter().cloned());
            let node = <D as Replicates>::prepare(home)?;
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
    pub fn nodes(&self) -> &[D] {
        &self.nodes
    }

    /// The node of an index.
    ///
    /// # Errors
    /// There is no such node.
    pub fn node(&self, index: usize) -> anyhow::Result<&D> {
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
    pub fn primary(&self) -> anyhow::Result<&D> {
        self.node(self.primary_index())
    }

    /// Makes `to` the primary in order: the old one refuses writes first, so nothing is lost.
    ///
    /// # Errors
    /// The new primary doesn't catch up in time, or a statement fails.
    pub fn switchover(&self, to: usize) -> anyhow::Result<()> {
        let (old, new) = (self.primary()?, self.node(to)?);
        anyhow::ensure!(to != self.primary_index(), "node {to} is the primary already");
        old.sql(&format!("SET GLOBAL {} = 1", D::READ_ONLY))?;
        new.wait_position(&old.executed()?)?;
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
            let position = other.executed()?;
            if !new.has(&position)? {
                self.follow(new, other)?;
                new.wait_position(&position)?;
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
        node.sql(&format!("SET GLOBAL {} = 1", D::READ_ONLY))?;
        if self.try_follow(node, primary)? == Followed::Diverged {
            node.rebuild()?;
            // A server skips events of its own id, and here it has to replay those of its former life.
            let life = self.rebuilt.fetch_add(1, Ordering::Relaxed) + 1;
            node.sql(&format!("SET GLOBAL server_id = {}", 100 * life + index + 1))?;
            self.follow(node, primary)?;
        }
        Ok(())
    }

    /// Seconds a replica is behind by its own account; `None` while it does not replicate.
    ///
    /// # Errors
    /// The node doesn't answer.
    pub fn lag(&self, index: usize) -> anyhow::Result<Option<u64>> {
        let status = status_of(self.node(index)?)?;
        let behind = status.get(&format!("Seconds_Behind_{}", D::SOURCE));
        Ok(behind.and_then(|text| text.parse().ok()))
    }

    /// Waits until every running replica has applied what the primary has committed by now.
    ///
    /// # Errors
    /// One doesn't in time.
    pub fn wait_caught_up(&self) -> anyhow::Result<()> {
        let position = self.primary()?.executed()?;
        for replica in self.running_but(self.primary_index()) {
            replica.wait_position(&position)?;
        }
        Ok(())
    }

    fn running_but(&self, index: usize) -> impl Iterator<Item = &D> {
        let others = self.nodes.iter().enumerate().filter(move |(i, _)| *i != index);
        others.map(|(_, node)| node).filter(|node| node.is_running())
    }

    fn make_primary(&self, index: usize) -> anyhow::Result<()> {
        self.node(index)?.sql(&format!(
            "STOP {0}; RESET {0} ALL; SET GLOBAL rpl_semi_sync_{0}_enabled = 0; \
             SET GLOBAL read_only = 0",
            D::REPLICA
        ))?;
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

    fn follow(&self, replica: &D, primary: &D) -> anyhow::Result<()> {
        let followed = self.try_follow(replica, primary)?;
        anyhow::ensure!(
            followed == Followed::Running,
            "the replica's history is not the primary's"
        );
        Ok(())
    }

    fn try_follow(&self, replica: &D, primary: &D) -> anyhow::Result<Followed> {
        if !replica.may_follow(primary)? {
            return Ok(Followed::Diverged);
        }
        let (before, there) = (replica.executed()?, primary.executed()?);
        replica.sql(&format!(
            "STOP {replica}; SET GLOBAL rpl_semi_sync_{source}_enabled = 0; \
             SET GLOBAL rpl_semi_sync_{replica}_enabled = {}; {}; START {replica}",
            u8::from(self.semi_sync),
            D::follow(primary),
            replica = D::REPLICA,
            source = D::SOURCE,
        ))?;
        eventually(Deadline::after(PATIENCE), "replication to run", || {
            let status = status_of(replica)?;
            let is = |name: &str, value: &str| status.get(name).is_some_and(|is| is == value);
            if is("Last_IO_Errno", POSITION_UNKNOWN) {
                return Ok(Followed::Diverged);
            }
            let runs = |what: &str| is(&format!("{}_{what}_Running", D::REPLICA), "Yes");
            let running = runs("IO") && runs("SQL");
            anyhow::ensure!(running, "replication does not run: {status:?}");
            // It runs for a moment before it hears that its position is unknown.
            let now = replica.executed()?;
            anyhow::ensure!(now == there || now != before, "nothing came yet: {status:?}");
            Ok(Followed::Running)
        })
    }

    /// Turns on waiting for replicas once one is there that can acknowledge; a lone primary never waits.
    fn wait_for_acknowledger(&self, primary: &D) -> anyhow::Result<()> {
        if !self.semi_sync || self.running_but(self.primary_index()).next().is_none() {
            return Ok(());
        }
        primary.sql(&format!("SET GLOBAL rpl_semi_sync_{}_enabled = 1", D::SOURCE))?;
        let status = format!("SHOW STATUS LIKE 'Rpl_semi_sync_{}_clients'", D::SOURCE);
        eventually(Deadline::after(PATIENCE), "a replica that acknowledges", || {
            let status = primary.record(&status)?;
            let clients = status.get("Value").and_then(|text| text.parse().ok()).unwrap_or(0);
            anyhow::ensure!(clients > 0, "no replica acknowledges");
            Ok(())
        })
    }
}

/// How an attempt to follow a primary ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Followed {
    Running,
    /// The primary's binary log doesn't contain the replica's position.
    Diverged,
}

/// ER_MASTER_FATAL_ERROR_READING_BINLOG: what a replica reports whose position the primary never had.
const POSITION_UNKNOWN: &str = "1236";

fn make_users<D: Replicates>(primary: &D) -> anyhow::Result<()> {
    let app = "SELECT, INSERT, UPDATE, DELETE, CREATE, DROP, INDEX, ALTER, LOCK TABLES, \
               CREATE TEMPORARY TABLES, EXECUTE, CREATE ROUTINE, CREATE VIEW, TRIGGER ON *.*";
    primary.create_user("app", "app", app)?;
    primary.create_user("monitor", "monitor", D::MONITOR)?;
    primary.create_user("repl", "repl", "REPLICATION SLAVE ON *.*")
}

fn status_of<D: Replicates>(replica: &D) -> anyhow::Result<BTreeMap<String, String>> {
    let database: &Database = replica;
    database.record(&format!("SHOW {} STATUS", D::REPLICA))
}

/// Stops receiving and waits until all that was received is applied.
fn drain_relay_log<D: Replicates>(replica: &D) -> anyhow::Result<()> {
    replica.sql(&format!("STOP {} IO_THREAD", D::REPLICA))?;
    match status_of(replica)?.get(D::RECEIVED).map(|received| received.replace('\n', "")) {
        Some(received) if !received.is_empty() => replica.wait_position(&received),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
