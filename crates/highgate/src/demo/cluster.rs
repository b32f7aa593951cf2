//! The cluster of the demo: a primary and two replicas, and what an operator does with them.

use std::time::Duration;

use anyhow::Context;

use super::{
    database::{Database, Programs},
    pulse::Pulse,
    scratch::Scratch,
};

/// How long catching up may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a replica reports whose position its primary never had.
const POSITION_UNKNOWN: &str = "1236";

const ACCOUNTS: &[&str] = &[
    "CREATE USER app@'%' IDENTIFIED BY 'app'",
    "GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, DROP, CREATE TEMPORARY TABLES ON *.* TO app@'%'",
    "CREATE USER monitor@'%' IDENTIFIED BY 'monitor'",
    "GRANT REPLICATION CLIENT, SLAVE MONITOR ON *.* TO monitor@'%'",
    "CREATE USER repl@'%' IDENTIFIED BY 'repl'",
    "GRANT REPLICATION SLAVE ON *.* TO repl@'%'",
    "CREATE DATABASE shop",
    // No unique key over what the writers choose: a write that was sent twice would be there twice.
    "CREATE TABLE shop.orders (id BIGINT AUTO_INCREMENT PRIMARY KEY, writer INT NOT NULL, \
     number BIGINT NOT NULL, note VARCHAR(40) NOT NULL, KEY (writer, number))",
];

/// How an attempt to follow ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Followed {
    Runs,
    /// It holds what its primary never had.
    Diverged,
}

/// How the old primary came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Return {
    /// With what it had.
    AsItWas,
    /// Wiped and filled anew.
    Refilled,
}

/// Three databases.
pub(super) struct Cluster {
    pub(super) nodes: Vec<Database>,
    pub(super) primary: usize,
    programs: Programs,
    pulse: Pulse,
}

impl Cluster {
    /// Starts them, the first as the primary.
    pub(super) fn start(
        programs: Programs,
        scratch: &Scratch,
        pulse: &Pulse,
    ) -> anyhow::Result<Self> {
        programs.install(scratch.path())?;
        let mut nodes = Vec::new();
        for (name, id) in [("db1", 1), ("db2", 2), ("db3", 3)] {
            let mut node = Database::new(name, id, scratch)?;
            node.launch(&programs, scratch)?;
            nodes.push(node);
        }
        let mut cluster = Self { nodes, primary: 0, programs, pulse: pulse.clone() };
        for node in &mut cluster.nodes {
            node.wait_ready(pulse)?;
        }
        let primary = cluster.node(0)?;
        primary.run(&["SET GLOBAL read_only = 0"])?;
        primary.run(ACCOUNTS)?;
        cluster.repoint()?;
        cluster.catch_up()?;
        Ok(cluster)
    }

    pub(super) fn node(&self, index: usize) -> anyhow::Result<&Database> {
        self.nodes.get(index).context("there is no such database")
    }

    pub(super) fn primary(&self) -> anyhow::Result<&Database> {
        self.node(self.primary)
    }

    /// The planned change: the old primary stops writing first, so nothing is lost.
    pub(super) fn switch_over(&mut self, to: usize) -> anyhow::Result<()> {
        let (old, new) = (self.primary()?, self.node(to)?);
        old.run(&["SET GLOBAL read_only = 1"])?;
        let position = old.value("SELECT @@gtid_binlog_pos")?;
        arrive(new, &position)?;
        self.make_primary(to)
    }

    /// kill -9 of the primary; its files stay.
    pub(super) fn kill_primary(&mut self) {
        if let Some(node) = self.nodes.get_mut(self.primary) {
            node.kill();
        }
    }

    /// The replica that holds most, once each has applied what it received.
    pub(super) fn best_replica(&self) -> anyhow::Result<usize> {
        let mut best = (0, self.primary);
        for (index, node) in self.running_but(self.primary) {
            node.run(&["STOP SLAVE IO_THREAD"])?;
            let status = node.connect()?.record("SHOW SLAVE STATUS")?;
            let received = status.get("Gtid_IO_Pos").map_or("", String::as_str);
            if !received.is_empty() {
                arrive(node, received)?;
            }
            best = best.max((sequence(&node.value("SELECT @@gtid_current_pos")?), index));
        }
        anyhow::ensure!(best.1 != self.primary, "no replica is left to promote");
        Ok(best.1)
    }

    /// Makes a replica the primary, and the other running ones follow it.
    pub(super) fn make_primary(&mut self, index: usize) -> anyhow::Result<()> {
        self.node(index)?.run(&[
            "STOP SLAVE",
            "RESET SLAVE ALL",
            "SET GLOBAL rpl_semi_sync_slave_enabled = 0",
            "SET GLOBAL read_only = 0",
        ])?;
        self.primary = index;
        self.repoint()
    }

    /// Brings a killed one back as a replica; one with writes that nobody else has starts anew.
    pub(super) fn bring_back(&mut self, index: usize, scratch: &Scratch) -> anyhow::Result<Return> {
        self.start_again(index, scratch)?;
        if self.try_follow(index)? == Followed::Runs {
            return Ok(Return::AsItWas);
        }
        self.nodes.get_mut(index).context("there is no such database")?.wipe()?;
        self.start_again(index, scratch)?;
        let followed = self.try_follow(index)?;
        anyhow::ensure!(followed == Followed::Runs, "a fresh replica can't follow");
        Ok(Return::Refilled)
    }

    /// Waits until every running replica has all that the primary has.
    pub(super) fn catch_up(&self) -> anyhow::Result<()> {
        let position = self.primary()?.value("SELECT @@gtid_binlog_pos")?;
        self.running_but(self.primary).try_for_each(|(_, node)| arrive(node, &position))
    }

    fn start_again(&mut self, index: usize, scratch: &Scratch) -> anyhow::Result<()> {
        let node = self.nodes.get_mut(index).context("there is no such database")?;
        node.launch(&self.programs, scratch)?;
        node.wait_ready(&self.pulse)
    }

    fn running_but(&self, index: usize) -> impl Iterator<Item = (usize, &Database)> {
        let nodes = self.nodes.iter().enumerate();
        nodes.filter(move |(at, node)| *at != index && node.is_running())
    }

    fn repoint(&self) -> anyhow::Result<()> {
        for (index, node) in self.running_but(self.primary) {
            let followed = self.try_follow(index)?;
            anyhow::ensure!(followed == Followed::Runs, "{} can't follow", node.name);
        }
        let primary = self.primary()?;
        primary.run(&["SET GLOBAL rpl_semi_sync_master_enabled = 1"])?;
        self.pulse.until("a replica that acknowledges", PATIENCE, || {
            let status =
                primary.connect()?.record("SHOW STATUS LIKE 'Rpl_semi_sync_master_clients'")?;
            anyhow::ensure!(status.get("Value").is_some_and(|count| count != "0"), "none yet");
            Ok(())
        })
    }

    fn try_follow(&self, index: usize) -> anyhow::Result<Followed> {
        let (node, port) = (self.node(index)?, self.primary()?.port);
        node.run(&[
            "STOP SLAVE",
            "SET GLOBAL read_only = 1",
            "SET GLOBAL rpl_semi_sync_master_enabled = 0",
            "SET GLOBAL rpl_semi_sync_slave_enabled = 1",
            "SET GLOBAL gtid_slave_pos = @@gtid_current_pos",
            &format!(
                "CHANGE MASTER TO MASTER_HOST = '127.0.0.1', MASTER_PORT = {port}, \
                 MASTER_USER = 'repl', MASTER_PASSWORD = 'repl', MASTER_USE_GTID = slave_pos, \
                 MASTER_CONNECT_RETRY = 1"
            ),
            "START SLAVE",
        ])?;
        self.pulse.until("replication to run", PATIENCE, || {
            let status = node.connect()?.record("SHOW SLAVE STATUS")?;
            let is = |name: &str, value: &str| status.get(name).is_some_and(|is| is == value);
            if is("Last_IO_Errno", POSITION_UNKNOWN) {
                return Ok(Followed::Diverged);
            }
            let runs = is("Slave_IO_Running", "Yes") && is("Slave_SQL_Running", "Yes");
            anyhow::ensure!(runs, "{} does not replicate: {status:?}", node.name);
            Ok(Followed::Runs)
        })
    }
}

fn arrive(node: &Database, position: &str) -> anyhow::Result<()> {
    let seconds = PATIENCE.as_secs() / 2;
    let answer = node.value(&format!("SELECT MASTER_GTID_WAIT('{position}', {seconds})"))?;
    anyhow::ensure!(answer == "0", "{} did not come to {position} in {seconds} s", node.name);
    Ok(())
}

/// The number of the last transaction; the cluster has one domain.
fn sequence(position: &str) -> u64 {
    position.rsplit('-').next().and_then(|text| text.parse().ok()).unwrap_or(0)
}
