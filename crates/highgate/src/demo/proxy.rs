//! Highgate itself, run by the demo as anybody would run it: a file, and `highgate run`.

use std::{fs, net::SocketAddr, path::PathBuf, process::Command, time::Duration};

use anyhow::{Context, bail};

use super::{
    client::Client,
    cluster::Cluster,
    pulse::Pulse,
    scratch::{Process, Scratch},
};

const PATIENCE: Duration = Duration::from_secs(30);

/// The account of the operator.
pub(super) const ADMIN: &str = "admin";

/// A running Highgate.
pub(super) struct Proxy {
    pub(super) shop: SocketAddr,
    pub(super) sql: SocketAddr,
    pub(super) web: SocketAddr,
    pub(super) password: String,
    pub(super) file: PathBuf,
    _process: Process,
}

/// A server as Highgate sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) name: String,
    pub(super) role: String,
    pub(super) status: String,
    pub(super) commands: u64,
}

impl Proxy {
    /// Writes the configuration, starts Highgate, and waits until it serves.
    pub(super) fn start(
        cluster: &Cluster,
        scratch: &Scratch,
        pulse: &Pulse,
    ) -> anyhow::Result<Self> {
        let password = password()?;
        let file = scratch.path().join("highgate.toml");
        fs::write(&file, configuration(cluster, &password))?;
        let program = std::env::current_exe().context("where is this program?")?;
        let mut command = Command::new(program);
        command.arg("run").arg(&file).current_dir(scratch.path());
        let mut process = scratch.start("highgate", &mut command)?;
        let started = pulse.until("Highgate to be ready", PATIENCE, || {
            let ended = process.ended();
            let log = process.log();
            if ended.is_none() {
                anyhow::ensure!(log.contains("ready"), "it is not ready");
            }
            Ok(ended)
        })?;
        if let Some(status) = started {
            bail!("Highgate ended ({status}) while it started:\n{}", process.last_words());
        }
        let log = process.log();
        Ok(Self {
            shop: address(&log, "listener=shop")?,
            sql: address(&log, "admin=sql")?,
            web: address(&log, "admin=web")?,
            password,
            file,
            _process: process,
        })
    }

    /// A connection to the operators' SQL port.
    pub(super) fn admin(&self) -> anyhow::Result<Client> {
        Client::tcp(self.sql, ADMIN, &self.password).context("cannot reach the admin SQL port")
    }

    /// Waits until Highgate sees a primary and this many replicas in service.
    pub(super) fn wait_for_servers(&self, replicas: usize, pulse: &Pulse) -> anyhow::Result<()> {
        let mut admin = self.admin()?;
        pulse.until("Highgate to see the cluster", PATIENCE, || {
            let seen = servers(&mut admin)?;
            let count = |role: &str| {
                seen.iter().filter(|server| server.role == role && server.status == "up").count()
            };
            let is_whole = count("primary") == 1 && count("replica") == replicas;
            anyhow::ensure!(is_whole, "it sees {seen:?}");
            Ok(())
        })
    }
}

/// The servers as Highgate sees them now.
pub(super) fn servers(admin: &mut Client) -> anyhow::Result<Vec<Seen>> {
    let rows = admin.rows("SELECT name, role, status, commands FROM servers ORDER BY name")?;
    let seen = rows.into_iter().map(|row| {
        let mut cells = row.into_iter().map(Option::unwrap_or_default);
        let mut next = || cells.next().unwrap_or_default();
        let (name, role, status) = (next(), next(), next());
        Seen { name, role, status, commands: next().parse().unwrap_or(0) }
    });
    Ok(seen.collect())
}

/// The configuration: what a person would write for this cluster.
fn configuration(cluster: &Cluster, password: &str) -> String {
    let servers: String = cluster
        .nodes
        .iter()
        .map(|node| {
            format!(
                "[[backend.server]]\nname = \"{}\"\naddress = \"127.0.0.1:{}\"\n\n",
                node.name, node.port
            )
        })
        .collect();
    format!(
        r#"[[listener]]
name = "shop"
bind = "127.0.0.1:0"                 # 0: any free port
mode = "mysql"
backend = "shop"

[[backend]]
name = "shop"
topology = "mariadb-replication"     # who is primary is watched
monitor = {{ user = "monitor", password = "monitor", interval = "500ms" }}

{servers}[[user]]
name = "app"
password = "app"

[admin]
sql = "127.0.0.1:0"
web = "127.0.0.1:0"

[[admin.user]]
name = "{ADMIN}"
password = "{password}"
"#
    )
}

/// What the log says that it listens on.
fn address(log: &str, who: &str) -> anyhow::Result<SocketAddr> {
    let line = log.lines().find(|line| line.contains("listening") && line.contains(who));
    let word =
        line.and_then(|line| line.split_whitespace().find_map(|w| w.strip_prefix("address=")));
    word.and_then(|address| address.trim_matches('"').parse().ok())
        .with_context(|| format!("Highgate's log does not say where {who} listens:\n{log}"))
}

fn password() -> anyhow::Result<String> {
    let mut bytes = [0; 6];
    highgate_io::entropy::fill(&mut bytes).context("no random numbers")?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_found_whether_or_not_it_is_quoted() {
        let log = "t INFO listening listener=shop address=127.0.0.1:4001\n\
                   t INFO listening admin=\"sql\" address=\"127.0.0.1:4002\"\n";
        assert_eq!(address(log, "listener=shop").unwrap().port(), 4001);
        assert!(address(log, "admin=web").is_err());
    }
}
