//! One database process in a scratch folder, whichever of the supported makes it is.
//!
//! The data directory is installed once per machine and version, and copied for each instance, so a
//! start takes a second or less. Commits reach the kernel but not the disk
//! (`innodb_flush_log_at_trx_commit=2`): an acknowledged write survives kill -9, which is the
//! failure that the tests make, though not a loss of power.

mod accounts;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::Context as _;
use mysql_async::prelude::Queryable as _;
use mysql_async::{Conn, OptsBuilder, Row, Value};
use parking_lot::Mutex;
use rustix::process::{Pid, Signal, kill_process};

use crate::port::PortLease;
use crate::reaper::Reaper;
use crate::scratch::{self, Scratch};
use crate::wait::{Deadline, eventually, wait_until};

/// Rows of text; NULL is the text `NULL`.
pub type Rows = Vec<Vec<String>>;

/// How long a database may take to start or to stop on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// How an instance is started.
#[derive(Debug, Clone)]
pub struct DatabaseOptions {
    /// Further arguments of the server, as `--name=value`.
    pub args: Vec<String>,
    /// The address it listens on; `127.0.0.1` unless it lives in a namespace.
    pub bind: String,
    /// The network namespace it runs in, or the test's own.
    pub netns: Option<String>,
    /// The account that it and its scripts run as when the test is root; `root` when left out.
    pub account: Option<String>,
}

impl Default for DatabaseOptions {
    fn default() -> Self {
        Self { args: Vec::new(), bind: "127.0.0.1".to_owned(), netns: None, account: None }
    }
}

/// A running (or killed, or stopped) database; dropping it kills it and removes its files.
///
/// [`crate::MariaDb`] and [`crate::MySql`] make one.
#[derive(Debug)]
pub struct Database {
    make: Make,
    options: DatabaseOptions,
    running: Mutex<Option<Running>>,
    port: PortLease,
    scratch: Scratch,
}

#[derive(Debug)]
struct Running {
    child: Child,
    _reaper: Reaper,
}

/// What tells one make from another.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Make {
    /// The name of its server program.
    pub(crate) name: &'static str,
    /// Where that program is.
    pub(crate) program: fn() -> anyhow::Result<PathBuf>,
    /// Where a data directory is to be copied from.
    pub(crate) template: fn() -> anyhow::Result<PathBuf>,
    /// What keeps an instance small and its start fast.
    pub(crate) lean: &'static [&'static str],
}

impl Database {
    /// Starts an instance and returns once it answers.
    pub(crate) fn start(make: Make, options: DatabaseOptions) -> anyhow::Result<Self> {
        let database = Self::prepare(make, options, &(make.template)()?)?;
        database.launch(&[])?;
        database.wait_ready()?;
        Ok(database)
    }

    /// Makes the data directory without starting anything.
    pub(crate) fn prepare(
        make: Make,
        options: DatabaseOptions,
        template: &Path,
    ) -> anyhow::Result<Self> {
        let scratch = Scratch::new(make.name)?;
        copy(template, &scratch.join("data"))?;
        Ok(Self { make, options, running: Mutex::new(None), port: PortLease::take()?, scratch })
    }

    /// Where clients connect: the address it listens on, or loopback where that is not one address.
    pub fn addr(&self) -> SocketAddr {
        match self.options.bind.parse::<IpAddr>() {
            Ok(ip) if !ip.is_unspecified() => (ip, self.port()).into(),
            _ => self.port.addr(),
        }
    }

    /// The TCP port.
    pub fn port(&self) -> u16 {
        self.port.port()
    }

    /// The Unix socket.
    pub fn socket(&self) -> PathBuf {
        self.scratch.join("sock")
    }

    /// The data directory.
    pub fn data_dir(&self) -> PathBuf {
        self.scratch.join("data")
    }

    /// The process id, or `None` while it doesn't run.
    pub fn pid(&self) -> Option<u32> {
        self.running.lock().as_ref().map(|running| running.child.id())
    }

    /// Whether the process runs.
    pub fn is_running(&self) -> bool {
        self.pid().is_some()
    }

    /// Kills the process at once, as a crash does; its files and port stay.
    pub fn kill9(&self) {
        if let Some(mut running) = self.running.lock().take() {
            let _ = running.child.kill();
            let _ = running.child.wait();
        }
    }

    /// Stops the process in order (SIGTERM) and waits for its end.
    ///
    /// # Errors
    /// It does not end in time; it is killed then.
    pub fn stop_graceful(&self) -> anyhow::Result<()> {
        let Some(mut running) = self.running.lock().take() else {
            return Ok(());
        };
        signal(&running.child, Signal::TERM)?;
        let ended = wait_until(Deadline::after(PATIENCE), || {
            matches!(running.child.try_wait(), Ok(Some(_)) | Err(_))
        });
        if !ended {
            let _ = running.child.kill();
            let _ = running.child.wait();
            anyhow::bail!("{} did not end after SIGTERM: {}", self.make.name, self.log());
        }
        Ok(())
    }

    /// Freezes the process: connections stay open and nothing answers.
    ///
    /// # Errors
    /// It doesn't run.
    pub fn sigstop(&self) -> anyhow::Result<()> {
        self.signal(Signal::STOP)
    }

    /// Lets a frozen process go on.
    ///
    /// # Errors
    /// It doesn't run.
    pub fn sigcont(&self) -> anyhow::Result<()> {
        self.signal(Signal::CONT)
    }

    /// Whether the process is frozen by [`Database::sigstop`].
    pub fn is_frozen(&self) -> bool {
        let Some(pid) = self.pid() else { return false };
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('T'))
    }

    /// Starts the process again on the same port and files, after killing it if it runs.
    ///
    /// # Errors
    /// As [`Database::wait_ready`].
    pub fn restart(&self) -> anyhow::Result<()> {
        self.kill9();
        self.launch(&[])?;
        self.wait_ready()
    }

    /// Forgets all data: kills the process and starts it on a fresh copy of the template.
    ///
    /// # Errors
    /// As [`Database::wait_ready`].
    pub fn rebuild(&self) -> anyhow::Result<()> {
        self.kill9();
        fs::remove_dir_all(self.data_dir()).context("removing the old data")?;
        copy(&(self.make.template)()?, &self.data_dir())?;
        self.restart()
    }

    /// Runs SQL as root by the Unix socket (several statements may be joined by `;`) and gives the last result.
    ///
    /// # Errors
    /// The connection or a statement fails.
    pub fn sql(&self, sql: &str) -> anyhow::Result<Rows> {
        let rows = self.query(sql)?;
        Ok(rows.iter().map(|row| (0..row.len()).map(|i| cell(row, i)).collect()).collect())
    }

    /// The first column of the first row.
    ///
    /// # Errors
    /// As [`Database::sql`], or the result is empty.
    pub fn value(&self, sql: &str) -> anyhow::Result<String> {
        let rows = self.sql(sql)?;
        let first = rows.into_iter().next().and_then(|row| row.into_iter().next());
        first.with_context(|| format!("no row for: {sql}"))
    }

    /// The first row by column name; empty when there is none.
    ///
    /// # Errors
    /// As [`Database::sql`].
    pub fn record(&self, sql: &str) -> anyhow::Result<BTreeMap<String, String>> {
        let rows = self.query(sql)?;
        let Some(row) = rows.first() else {
            return Ok(BTreeMap::new());
        };
        let names = row.columns_ref().iter().map(|column| column.name_str().into_owned());
        Ok(names.enumerate().map(|(i, name)| (name, cell(row, i))).collect())
    }

    /// The end of its error log.
    pub fn log(&self) -> String {
        let text = fs::read(self.scratch.join("log")).unwrap_or_default();
        let tail = text.len().saturating_sub(6000);
        String::from_utf8_lossy(text.get(tail..).unwrap_or_default()).into_owned()
    }

    /// Starts the process with `extra` arguments for this run only, without waiting for it.
    ///
    /// # Errors
    /// The program can't be started.
    pub fn launch(&self, extra: &[String]) -> anyhow::Result<()> {
        let program = (self.make.program)()?;
        self.give_to_account()?;
        let log = fs::File::options().create(true).append(true).open(self.scratch.join("log"))?;
        let mut command = match &self.options.netns {
            None => Command::new(program),
            Some(name) => {
                let mut command = Command::new("ip");
                command.args(["netns", "exec", name]).arg(program);
                command
            }
        };
        command
            .args(self.base_args())
            .args(&self.options.args)
            .args(extra)
            .current_dir(self.scratch.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        let child = command.spawn().with_context(|| format!("starting {command:?}"))?;
        let reaper = Reaper::guard(child.id(), self.scratch.path())?;
        *self.running.lock() = Some(Running { child, _reaper: reaper });
        Ok(())
    }

    /// Waits until it answers a query.
    ///
    /// # Errors
    /// It ended, or did not answer in time; the message carries its error log.
    pub fn wait_ready(&self) -> anyhow::Result<()> {
        let ready = eventually(Deadline::after(PATIENCE), "a database to answer", || {
            if self.has_ended() {
                return Ok(false);
            }
            self.sql("SELECT 1").map(|_| true)
        });
        match ready {
            Ok(true) => Ok(()),
            Ok(false) => anyhow::bail!("{} ended while starting: {}", self.make.name, self.log()),
            Err(error) => Err(error.context(self.log())),
        }
    }

    fn has_ended(&self) -> bool {
        let mut running = self.running.lock();
        running.as_mut().is_none_or(|running| !matches!(running.child.try_wait(), Ok(None)))
    }

    fn base_args(&self) -> Vec<String> {
        let path = |name: &str| self.scratch.join(name).display().to_string();
        let mut args = vec![
            "--no-defaults".to_owned(),
            format!("--datadir={}", path("data")),
            format!("--port={}", self.port()),
            format!("--bind-address={}", self.options.bind),
            format!("--socket={}", path("sock")),
            format!("--pid-file={}", path("pid")),
            format!("--tmpdir={}", path("data")),
        ];
        args.extend(self.make.lean.iter().map(|&arg| arg.to_owned()));
        if scratch::is_root() {
            let account = self.options.account.as_deref().unwrap_or("root");
            args.push(format!("--user={account}"));
        }
        args
    }

    fn give_to_account(&self) -> anyhow::Result<()> {
        match &self.options.account {
            Some(account) if scratch::is_root() => {
                let mut command = Command::new("chown");
                command.arg("-R").arg(account).arg(self.scratch.path());
                scratch::run(&mut command).map(drop)
            }
            _ => Ok(()),
        }
    }

    fn signal(&self, what: Signal) -> anyhow::Result<()> {
        let running = self.running.lock();
        signal(&running.as_ref().context("it does not run")?.child, what)
    }

    fn query(&self, sql: &str) -> anyhow::Result<Vec<Row>> {
        let options = OptsBuilder::default()
            .socket(Some(self.socket().display().to_string()))
            .user(Some("root"))
            .max_allowed_packet(Some(16_777_216))
            .wait_timeout(Some(28_800));
        // A thread of its own, because the caller may itself be inside a tokio runtime.
        let answer = std::thread::scope(|scope| {
            let task = scope.spawn(|| -> anyhow::Result<Vec<Row>> {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
                runtime.block_on(async {
                    let mut connection = Conn::new(options).await?;
                    let rows = last_result(&mut connection, sql).await?;
                    connection.disconnect().await?;
                    Ok(rows)
                })
            });
            task.join()
        });
        match answer {
            Ok(rows) => rows.with_context(|| format!("in: {sql}")),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        self.kill9();
    }
}

async fn last_result(connection: &mut Conn, sql: &str) -> mysql_async::Result<Vec<Row>> {
    let mut result = connection.query_iter(sql).await?;
    let mut rows = Vec::new();
    while !result.is_empty() {
        rows = result.collect().await?;
    }
    Ok(rows)
}

fn cell(row: &Row, index: usize) -> String {
    match row.as_ref(index) {
        None | Some(Value::NULL) => "NULL".to_owned(),
        Some(Value::Bytes(bytes)) => String::from_utf8_lossy(bytes).into_owned(),
        Some(other) => other.as_sql(true),
    }
}

fn signal(child: &Child, what: Signal) -> anyhow::Result<()> {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).context("no process id")?;
    kill_process(pid, what).with_context(|| format!("sending {what:?} to {pid:?}"))
}

/// Copies a data directory.
pub(crate) fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    let mut command = Command::new("cp");
    command.args(["-a", "--reflink=auto"]).arg(from).arg(to);
    scratch::run(&mut command).map(drop)
}
