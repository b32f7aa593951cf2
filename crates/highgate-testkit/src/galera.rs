//! A Galera cluster on one host.
//!
//! Every node has its own ports for clients, group communication and incremental transfer. All nodes
//! start from the same template and the same made-up group state, so none needs a state transfer at first; a
//! node that comes back gets what it missed incrementally, or by rsync when it missed too much.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;

use crate::mariadb::{MariaDb, MariaDbOptions};
use crate::port::PortLease;
use crate::scratch;
use crate::wait::{Deadline, eventually};

const PATIENCE: Duration = Duration::from_secs(60);

/// Where Debian and others keep the provider.
const PROVIDERS: [&str; 2] = [
    "/usr/lib/galera/libgalera_smm.so",
    "/usr/lib64/galera/libgalera_smm.so",
];

/// Where every node's history begins.
const STATE: &str =
    "version: 2.1\nuuid: 6d1d0b5e-8f0e-11ee-9a44-3b2f0e7f9c01\nseqno: 0\nsafe_to_bootstrap: 1\n";

/// A Galera cluster with the accounts `app` and `monitor`, each with its name as password, and the schema `shop`.
#[derive(Debug)]
pub struct GaleraCluster {
    nodes: Vec<MariaDb>,
    group: Vec<Ports>,
}

#[derive(Debug)]
struct Ports {
    gmcast: PortLease,
    ist: PortLease,
    sst: PortLease,
}

impl GaleraCluster {
    /// Whether MariaDB, the Galera provider and rsync are installed.
    pub fn is_installed() -> bool {
        MariaDb::is_installed() && provider().is_some() && scratch::which("rsync").is_some()
    }

    /// Starts `nodes` nodes and returns once all are synced.
    ///
    /// # Errors
    /// Galera is not installed, or a node does not join; the message carries its error log.
    pub fn start(nodes: usize) -> anyhow::Result<Self> {
        let mut group = Vec::with_capacity(nodes);
        for _ in 0..nodes {
            let (gmcast, ist) = (PortLease::take()?, PortLease::take()?);
            group.push(Ports {
                gmcast,
                ist,
                sst: PortLease::take()?,
            });
        }
        let mut cluster = Self {
            nodes: Vec::with_capacity(nodes),
            group,
        };
        for index in 0..nodes {
            let args = cluster.args(index)?;
            let node = MariaDb::prepare(MariaDbOptions {
                args,
                ..MariaDbOptions::default()
            })?;
            fs::write(node.data_dir().join("grastate.dat"), STATE).context("writing the state")?;
            cluster.nodes.push(node);
        }
        cluster.bootstrap(0)?;
        for index in 1..nodes {
            // One after the other: a donor serves one joiner at a time.
            cluster.node(index)?.launch(&[])?;
            let donor = || cluster.node(0).map(MariaDb::log).unwrap_or_default();
            cluster
                .wait_synced(index)
                .with_context(|| format!("the donor says: {}", donor()))?;
        }
        make_users(cluster.node(0)?)?;
        Ok(cluster)
    }

    /// All nodes.
    pub fn nodes(&self) -> &[MariaDb] {
        &self.nodes
    }

    /// The node of an index.
    ///
    /// # Errors
    /// There is no such node.
    pub fn node(&self, index: usize) -> anyhow::Result<&MariaDb> {
        self.nodes
            .get(index)
            .with_context(|| format!("the cluster has no node {index}"))
    }

    /// Starts a new group of which `index` is the first member; for when all nodes are down.
    ///
    /// # Errors
    /// As [`GaleraCluster::start`].
    pub fn bootstrap(&self, index: usize) -> anyhow::Result<()> {
        let node = self.node(index)?;
        mark_safe_to_bootstrap(&node.data_dir())?;
        node.launch(&["--wsrep-new-cluster".to_owned()])?;
        self.wait_synced(index)
    }

    /// Starts a node that was killed or stopped, and waits until it is synced again.
    ///
    /// # Errors
    /// As [`GaleraCluster::start`].
    pub fn rejoin(&self, index: usize) -> anyhow::Result<()> {
        let node = self.node(index)?;
        node.kill9();
        node.launch(&[])?;
        self.wait_synced(index)
    }

    /// A node's `wsrep_…` status value.
    ///
    /// # Errors
    /// The node doesn't answer.
    pub fn status(&self, index: usize, name: &str) -> anyhow::Result<String> {
        let row = self
            .node(index)?
            .record(&format!("SHOW GLOBAL STATUS LIKE '{name}'"))?;
        row.get("Value")
            .cloned()
            .with_context(|| format!("no status {name}"))
    }

    fn wait_synced(&self, index: usize) -> anyhow::Result<()> {
        self.node(index)?.wait_ready()?;
        eventually(Deadline::after(PATIENCE), "a node to be synced", || {
            let state = self.status(index, "wsrep_local_state_comment")?;
            anyhow::ensure!(state == "Synced", "node {index} is {state}");
            Ok(())
        })
        .with_context(|| self.node(index).map(MariaDb::log).unwrap_or_default())
    }

    fn args(&self, index: usize) -> anyhow::Result<Vec<String>> {
        let provider = provider().context("install galera-4")?;
        let own = self.group.get(index).context("no such node")?;
        let members: Vec<String> = self
            .group
            .iter()
            .map(|ports| ports.gmcast.addr().to_string())
            .collect();
        Ok(vec![
            "--wsrep-on=ON".to_owned(),
            format!("--wsrep-provider={provider}"),
            format!("--wsrep-cluster-address=gcomm://{}", members.join(",")),
            format!("--wsrep-node-address={}", own.gmcast.addr()),
            format!("--wsrep-node-name=node{index}"),
            "--wsrep-cluster-name=testkit".to_owned(),
            "--wsrep-sst-method=rsync".to_owned(),
            format!("--wsrep-sst-receive-address={}", own.sst.addr()),
            format!(
                "--wsrep-provider-options=gmcast.listen_addr=tcp://{};ist.recv_addr={};\
                 gcache.size=32M;evs.keepalive_period=PT0.5S;evs.suspect_timeout=PT2S;evs.inactive_timeout=PT4S",
                own.gmcast.addr(),
                own.ist.addr()
            ),
            "--binlog-format=ROW".to_owned(),
            "--default-storage-engine=InnoDB".to_owned(),
            "--innodb-autoinc-lock-mode=2".to_owned(),
            format!("--server-id={}", index + 1),
        ])
    }
}

fn provider() -> Option<&'static str> {
    PROVIDERS.into_iter().find(|path| Path::new(path).is_file())
}

fn mark_safe_to_bootstrap(data: &Path) -> anyhow::Result<()> {
    let file = data.join("grastate.dat");
    let state = fs::read_to_string(&file).context("reading the group state")?;
    fs::write(
        &file,
        state.replace("safe_to_bootstrap: 0", "safe_to_bootstrap: 1"),
    )?;
    Ok(())
}

fn make_users(node: &MariaDb) -> anyhow::Result<()> {
    node.sql("CREATE DATABASE shop")?;
    node.create_user("app", "app", "ALL ON shop.*")?;
    node.create_user(
        "monitor",
        "monitor",
        "SLAVE MONITOR, REPLICATION CLIENT ON *.*",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_killed_member_comes_back_with_what_it_missed() {
        if !GaleraCluster::is_installed() {
            return eprintln!("skipped: Galera is not installed");
        }
        let cluster = GaleraCluster::start(3).unwrap();
        assert_eq!(cluster.status(0, "wsrep_cluster_size").unwrap(), "3");
        cluster.node(2).unwrap().kill9();
        let writer = cluster.node(0).unwrap();
        writer
            .sql("CREATE TABLE shop.t (id INT PRIMARY KEY); INSERT INTO shop.t VALUES (7)")
            .unwrap();
        cluster.rejoin(2).unwrap();
        assert_eq!(
            cluster
                .node(2)
                .unwrap()
                .value("SELECT id FROM shop.t")
                .unwrap(),
            "7"
        );
    }
}
