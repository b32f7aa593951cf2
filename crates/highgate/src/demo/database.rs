//! One MariaDB of the demo.

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, bail};

use super::{
    client::Client,
    pulse::Pulse,
    scratch::{self, Process, Scratch},
};

/// How long a database may take to start on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Small, quick to start, and safe against kill -9, though not against a loss of power.
const LEAN: &[&str] = &[
    "--bind-address=127.0.0.1",
    "--skip-name-resolve",
    "--innodb-buffer-pool-size=32M",
    "--innodb-log-file-size=8M",
    "--innodb-flush-log-at-trx-commit=2",
    "--innodb-buffer-pool-dump-at-shutdown=0",
    "--innodb-buffer-pool-load-at-startup=0",
    "--sync-binlog=0",
    "--key-buffer-size=1M",
    "--aria-pagecache-buffer-size=4M",
    "--performance-schema=OFF",
];

/// A write is acknowledged once a replica holds it, and a server comes up read-only.
const REPLICATED: &[&str] = &[
    "--log-bin=binlog",
    "--log-slave-updates=1",
    "--gtid-strict-mode=1",
    "--binlog-format=ROW",
    "--read-only=1",
    "--slave-net-timeout=5",
    "--rpl-semi-sync-master-wait-point=AFTER_SYNC",
    "--rpl-semi-sync-master-timeout=3600000",
    "--rpl-semi-sync-master-wait-no-slave=ON",
];

/// Only this account, by the socket in the demo's own folder, may be root.
const FIRST_WORDS: &str = "SET sql_log_bin = 0;\n\
    DELETE FROM mysql.global_priv WHERE User = 'root' AND Host <> 'localhost';\n\
    FLUSH PRIVILEGES;\n";

/// What has to be installed, and where it is.
#[derive(Debug, Clone)]
pub(super) struct Programs {
    mariadbd: PathBuf,
    install_db: PathBuf,
}

impl Programs {
    /// Finds them.
    pub(super) fn find() -> anyhow::Result<Self> {
        match (which("mariadbd"), which("mariadb-install-db")) {
            (Some(mariadbd), Some(install_db)) => Ok(Self { mariadbd, install_db }),
            _ => bail!(
                "the demo needs MariaDB, which is not installed here. As root:\n    \
                 apt-get install mariadb-server\n\
                 then start the demo again; it starts databases of its own and needs no root."
            ),
        }
    }

    /// The number in what `mariadbd --version` says.
    pub(super) fn version(&self) -> String {
        let output = Command::new(&self.mariadbd).args(["--no-defaults", "--version"]).output();
        let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
        let text = text.unwrap_or_default();
        let version = text.split_whitespace().skip_while(|word| *word != "Ver").nth(1);
        version.and_then(|version| version.split('-').next()).unwrap_or_default().to_owned()
    }

    /// Makes an empty data directory.
    pub(super) fn install(&self, folder: &Path) -> anyhow::Result<PathBuf> {
        let data = folder.join("template");
        let mut command = Command::new(&self.install_db);
        command
            .args(["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db"])
            .args(["--innodb-log-file-size=8M", "--innodb-buffer-pool-size=32M"])
            .arg(format!("--datadir={}", data.display()))
            // A server that starts clears its folder for temporary tables; in a shared one it
            // would take those of another.
            .arg(format!("--tmpdir={}", folder.display()));
        if rustix::process::geteuid().is_root() {
            command.arg("--user=root");
        }
        scratch::run(&mut command)?;
        fs::write(folder.join("first-words.sql"), FIRST_WORDS)?;
        Ok(data)
    }
}

/// A database, running or not.
#[derive(Debug)]
pub(super) struct Database {
    pub(super) name: &'static str,
    pub(super) port: u16,
    /// Its server id; another one after it was refilled.
    pub(super) id: u32,
    folder: PathBuf,
    process: Option<Process>,
}

impl Database {
    /// One that does not run yet.
    pub(super) fn new(name: &'static str, id: u32, scratch: &Scratch) -> anyhow::Result<Self> {
        let folder = scratch.path().to_owned();
        Ok(Self { name, port: free_port(id)?, id, folder, process: None })
    }

    /// Starts it, on what it has or on a copy of the template where it has nothing.
    pub(super) fn launch(&mut self, programs: &Programs, scratch: &Scratch) -> anyhow::Result<()> {
        let data = self.data();
        if !data.exists() {
            let template = self.folder.join("template");
            let mut copy = Command::new("cp");
            scratch::run(copy.args(["-a", "--reflink=auto"]).arg(template).arg(&data))?;
        }
        let mut command = Command::new(&programs.mariadbd);
        command
            .arg("--no-defaults")
            .arg(format!("--datadir={}", data.display()))
            .arg(format!("--tmpdir={}", data.display()))
            .arg(format!("--socket={}", self.socket().display()))
            .arg(format!("--pid-file={}", data.join("pid").display()))
            .arg(format!("--init-file={}", self.folder.join("first-words.sql").display()))
            .arg(format!("--port={}", self.port))
            .arg(format!("--server-id={}", self.id))
            .args(LEAN)
            .args(REPLICATED)
            .current_dir(&self.folder);
        if rustix::process::geteuid().is_root() {
            command.arg("--user=root");
        }
        self.process = Some(scratch.start(self.name, &mut command)?);
        Ok(())
    }

    /// Waits until it answers.
    pub(super) fn wait_ready(&mut self, pulse: &Pulse) -> anyhow::Result<()> {
        let socket = self.socket();
        let process = self.process.as_mut().context("it was not started")?;
        let ready = pulse.until("an answer", PATIENCE, || match process.ended() {
            Some(status) => Ok(Some(status)),
            None => Client::unix(&socket, "root")?.value("SELECT 1").map(|_| None),
        });
        match ready {
            Ok(None) => Ok(()),
            Ok(Some(status)) => {
                bail!("{} ended ({status}) while it started:\n{}", self.name, process.last_words())
            }
            Err(error) => Err(error.context(format!("{}:\n{}", self.name, process.last_words()))),
        }
    }

    /// Its process, where one runs.
    pub(super) fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Process::pid)
    }

    pub(super) fn is_running(&self) -> bool {
        self.process.is_some()
    }

    /// Kills it, as a crash would; its files stay.
    pub(super) fn kill(&mut self) {
        self.process = None;
    }

    /// Forgets all that it has; it gets another server id, because a server leaves out of what it
    /// receives what carries its own.
    pub(super) fn wipe(&mut self) -> anyhow::Result<()> {
        self.kill();
        self.id += 10;
        fs::remove_dir_all(self.data()).context("cannot remove the old data")
    }

    /// A connection as root.
    pub(super) fn connect(&self) -> anyhow::Result<Client> {
        Client::unix(&self.socket(), "root").with_context(|| format!("cannot reach {}", self.name))
    }

    /// Runs statements one after the other.
    pub(super) fn run(&self, statements: &[&str]) -> anyhow::Result<()> {
        let mut client = self.connect()?;
        for statement in statements {
            client.rows(statement).with_context(|| format!("at {}", self.name))?;
        }
        Ok(())
    }

    /// The first column of the first row.
    pub(super) fn value(&self, sql: &str) -> anyhow::Result<String> {
        self.connect()?.value(sql).with_context(|| format!("at {}", self.name))
    }

    fn socket(&self) -> PathBuf {
        self.folder.join(format!("{}.sock", self.name))
    }

    fn data(&self) -> PathBuf {
        self.folder.join(self.name)
    }
}

/// Also looks where Debian keeps the programs of administrators.
fn which(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/usr/local/sbin".into()])
        .map(|folder| folder.join(program))
        .find(|candidate| candidate.is_file())
}

/// A port that nothing uses, below those that the kernel gives to outgoing connections: one of
/// these could be taken while the database is down.
fn free_port(id: u32) -> anyhow::Result<u16> {
    /// The kernel's range starts at 32768 where nobody changed it.
    const FIRST: u32 = 15_000;
    const COUNT: u32 = 15_000;
    let start = std::process::id().wrapping_mul(31).wrapping_add(id * 997);
    (0..COUNT)
        .filter_map(|step| u16::try_from(FIRST + start.wrapping_add(step) % COUNT).ok())
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .context("no port is free")
}
