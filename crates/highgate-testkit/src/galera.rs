//! A Galera cluster on one host.
//!
//! Every node has its own ports for clients, group communication and transfers. All nodes start from
//! copies of one member that shut down in order, so each knows the group and its place in the group's
//! history and gets the little that it lacks incrementally. A node that comes back does so too, or by
//! rsync when it missed too much or lost its data.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;

use crate::database;
use crate::mariadb::{self, MariaDb, MariaDbOptions};
use crate::port::PortLease;
use crate::scratch;
use crate::wait::{Deadline, eventually};

const PATIENCE: Duration = Duration::from_secs(60);

/// Where Debian and others keep the provider.
const PROVIDERS: [&str; 2] =
    ["/usr/lib/galera/libgalera_smm.so", "/usr/lib64/galera/libgalera_smm.so"];

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
        let cluster = Self::prepare(nodes, &template()?)?;
        cluster.bootstrap(0)?;
        for index in 1..nodes {
            // One after the other: a donor serves one joiner at a time.
            cluster.node(index)?.launch(&[])?;
            let donor = || cluster.node(0).map(|node| node.log()).unwrap_or_default();
            cluster.wait_synced(index).with_context(|| format!("the donor says: {}", donor()))?;
        }
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
        self.nodes.get(index).with_context(|| format!("the cluster has no node {index}"))
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
        self.wait_expelled(index)?;
        node.launch(&[])?;
        self.wait_synced(index)
    }

    /// Starts a node on empty data, so that it takes everything from a donor, and waits until it is synced.
    ///
    /// # Errors
    /// As [`GaleraCluster::start`].
    pub fn rejoin_empty(&self, index: usize) -> anyhow::Result<()> {
        let node = self.node(index)?;
        node.kill9();
        self.wait_expelled(index)?;
        node.rebuild()?;
        self.wait_synced(index)
    }

    /// Takes a node out of flow control (`wsrep_local_state` 2, Donor/Desynced), or lets it sync again.
    ///
    /// # Errors
    /// It doesn't answer, or the state doesn't come.
    pub fn set_desync(&self, index: usize, is_desynced: bool) -> anyhow::Result<()> {
        let flag = u8::from(is_desynced);
        self.node(index)?.sql(&format!("SET GLOBAL wsrep_desync = {flag}"))?;
        let state = if is_desynced { "2" } else { "4" };
        self.wait_status(index, "wsrep_local_state", state)
    }

    /// Cuts a node off from the group, which leaves it non-primary, or lets it back.
    ///
    /// Clients still reach it; it answers most statements with an error while it is cut off.
    ///
    /// # Errors
    /// It doesn't answer, or the state doesn't come.
    pub fn set_isolated(&self, index: usize, is_isolated: bool) -> anyhow::Result<()> {
        let flag = u8::from(is_isolated);
        self.node(index)?
            .sql(&format!("SET GLOBAL wsrep_provider_options = 'gmcast.isolate={flag}'"))?;
        if is_isolated {
            self.wait_status(index, "wsrep_cluster_status", "non-Primary")
        } else {
            self.wait_synced(index)
        }
    }

    /// Waits until the group, as a node sees it, has so many members.
    ///
    /// # Errors
    /// It hasn't in time.
    pub fn wait_size(&self, index: usize, members: usize) -> anyhow::Result<()> {
        self.wait_status(index, "wsrep_cluster_size", &members.to_string())
    }

    /// Waits until a node's `wsrep_…` status has a value.
    ///
    /// # Errors
    /// It hasn't in time.
    pub fn wait_status(&self, index: usize, name: &str, value: &str) -> anyhow::Result<()> {
        eventually(Deadline::after(PATIENCE), name, || {
            let is = self.status(index, name)?;
            anyhow::ensure!(is == value, "{name} of node {index} is {is}, not {value}");
            Ok(())
        })
    }

    /// A node's `wsrep_…` status value.
    ///
    /// # Errors
    /// The node doesn't answer.
    pub fn status(&self, index: usize, name: &str) -> anyhow::Result<String> {
        let row = self.node(index)?.record(&format!("SHOW GLOBAL STATUS LIKE '{name}'"))?;
        row.get("Value").cloned().with_context(|| format!("no status {name}"))
    }

    /// Waits until the others have given a dead member up.
    ///
    /// One that returns under the same address while the group still counts on its former life can
    /// break the group's quorum for good.
    fn wait_expelled(&self, index: usize) -> anyhow::Result<()> {
        let others = || {
            let all = self.nodes.iter().enumerate();
            all.filter(|(i, node)| *i != index && node.is_running())
        };
        let Some((witness, _)) = others().find(|(_, node)| !node.is_frozen()) else {
            return Ok(());
        };
        eventually(Deadline::after(PATIENCE), "a member to be expelled", || {
            let size: usize = self.status(witness, "wsrep_cluster_size")?.parse()?;
            anyhow::ensure!(size <= others().count(), "the group has {size} members");
            Ok(())
        })
    }

    fn prepare(nodes: usize, template: &Path) -> anyhow::Result<Self> {
        let mut group = Vec::with_capacity(nodes);
        for _ in 0..nodes {
            group.push(Ports {
                gmcast: PortLease::take()?,
                ist: PortLease::take()?,
                sst: PortLease::take()?,
            });
        }
        let mut cluster = Self { nodes: Vec::with_capacity(nodes), group };
        for index in 0..nodes {
            let options = MariaDbOptions {
                args: cluster.args(index)?,
                account: account(),
                ..MariaDbOptions::default()
            };
            cluster.nodes.push(MariaDb::prepare_from(options, template)?);
        }
        Ok(cluster)
    }

    fn wait_synced(&self, index: usize) -> anyhow::Result<()> {
        self.node(index)?.wait_ready()?;
        self.wait_status(index, "wsrep_local_state_comment", "Synced")
            .with_context(|| self.node(index).map(|node| node.log()).unwrap_or_default())
    }

    fn args(&self, index: usize) -> anyhow::Result<Vec<String>> {
        let provider = provider().context("install galera-4")?;
        let own = self.group.get(index).context("no such node")?;
        let members: Vec<String> =
            self.group.iter().map(|ports| ports.gmcast.addr().to_string()).collect();
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
                 gcache.size=32M;evs.keepalive_period=PT0.5S;evs.suspect_timeout=PT3S;evs.inactive_timeout=PT8S;evs.install_timeout=PT8S",
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

/// The account of the database package, if there is one.
///
/// The rsync daemon that receives a state transfer gives up root by itself and could not enter a
/// folder of root's; as any other account it stays what it is.
fn account() -> Option<String> {
    let accounts = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let is_there = accounts.lines().any(|line| line.starts_with("mysql:"));
    is_there.then(|| "mysql".to_owned())
}

fn provider() -> Option<&'static str> {
    PROVIDERS.into_iter().find(|path| Path::new(path).is_file())
}

/// The data directory of a member that shut down in order, made by the first caller on the machine.
fn template() -> anyhow::Result<PathBuf> {
    let done = scratch::shared()?.join(format!("template-galera-{}", mariadb::version_key()?));
    let _lock = scratch::lock("template-galera")?;
    if done.is_dir() {
        return Ok(done);
    }
    let cluster = GaleraCluster::prepare(1, &mariadb::template()?)?;
    let node = cluster.node(0)?;
    node.launch(&["--wsrep-new-cluster".to_owned()])?;
    cluster.wait_synced(0)?;
    make_users(node)?;
    node.stop_graceful()?;
    let half = done.with_extension("half");
    let _ = fs::remove_dir_all(&half);
    database::copy(&node.data_dir(), &half)?;
    for file in ["galera.cache", "gvwstate.dat"] {
        let _ = fs::remove_file(half.join(file));
    }
    // Renamed only when whole: a killed caller leaves no template.
    fs::rename(&half, &done).context("putting the template in place")?;
    Ok(done)
}

fn mark_safe_to_bootstrap(data: &Path) -> anyhow::Result<()> {
    let file = data.join("grastate.dat");
    let state = fs::read_to_string(&file).context("reading the group state")?;
    fs::write(&file, state.replace("safe_to_bootstrap: 0", "safe_to_bootstrap: 1"))?;
    Ok(())
}

fn make_users(node: &MariaDb) -> anyhow::Result<()> {
    node.sql("CREATE DATABASE shop")?;
    node.create_user("app", "app", "ALL ON shop.*")?;
    node.create_user("monitor", "monitor", "SLAVE MONITOR, REPLICATION CLIENT ON *.*")
}

#[cfg(test)]
mod tests;
