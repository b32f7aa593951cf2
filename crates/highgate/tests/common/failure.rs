//! What tests of failures share: a configuration, a visible load, and looks at the running process.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::{
    fmt::Write as _,
    net::SocketAddr,
    ops::Deref,
    path::Path,
    process::{Command, Output},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use anyhow::Context as _;
use highgate_testkit::{
    Database,
    highgate::HighgateProcess,
    wait::{self, Deadline},
};
use mysql_async::{Conn, OptsBuilder, prelude::Queryable as _};

pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_highgate");

/// A listener `shop` in front of servers `db1`, `db2` and so on; `backend` and `listener` are more
/// settings of those.
pub(crate) fn toml(servers: &[SocketAddr], backend: &str, listener: &str) -> String {
    let mut text = format!(
        "workers = 2\n[admin]\nsql = \"127.0.0.1:0\"\nweb = \"127.0.0.1:0\"\n\
         [[listener]]\nname = \"shop\"\nbind = \"127.0.0.1:0\"\nmode = \"mysql\"\nbackend = \"shop\"\n{listener}\n\
         [[user]]\nname = \"app\"\npassword = \"app\"\n\
         [[backend]]\nname = \"shop\"\n{backend}\n"
    );
    for (index, address) in servers.iter().enumerate() {
        let _ = write!(
            text,
            "[[backend.server]]\nname = \"db{}\"\naddress = \"{address}\"\n",
            index + 1
        );
    }
    text
}

/// A watched replication topology, of either make.
pub(crate) const REPLICATION: &str = "topology = \"mariadb-replication\"\n\
    monitor = { user = \"monitor\", password = \"monitor\", interval = \"300ms\", timeout = \"500ms\" }\n\
    failover_wait = \"20s\"\nslow_start = \"2s\"\n";

pub(crate) fn addresses<D: Deref<Target = Database>>(nodes: &[D]) -> Vec<SocketAddr> {
    nodes.iter().map(|node| node.addr()).collect()
}

/// Starts Highgate and waits until its servers are known.
pub(crate) fn start(toml: &str, roles: usize) -> anyhow::Result<HighgateProcess> {
    let process = HighgateProcess::start(BINARY, toml)?;
    wait::eventually(Deadline::seconds(15), "servers to be up", || {
        let up = servers(&process)?.iter().filter(|server| server.status == "up").count();
        anyhow::ensure!(up >= roles, "{up} of {roles} are up");
        Ok(())
    })?;
    Ok(process)
}

/// Runs `highgate ctl` on the process.
pub(crate) fn ctl(process: &HighgateProcess, arguments: &[&str]) -> anyhow::Result<String> {
    let data = process.folder().join("highgate-data");
    let output =
        Command::new(BINARY).arg("ctl").arg("--data-dir").arg(data).args(arguments).output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let error = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(output.status.success(), "ctl {arguments:?}: {error}");
    Ok(text)
}

/// Runs `highgate` with these words on that file, where the process runs.
pub(crate) fn highgate(process: &HighgateProcess, words: &[&str], file: &Path) -> Output {
    let mut highgate = Command::new(BINARY);
    highgate.args(words).arg(file).current_dir(process.folder()).output().unwrap()
}

/// `highgate apply`: whether it is content, and what it says on either stream.
pub(crate) fn apply(process: &HighgateProcess, words: &[&str], file: &Path) -> (bool, String) {
    let output = highgate(process, &[&["apply"], words].concat(), file);
    (output.status.success(), said(&output))
}

/// What a command said, on either stream.
pub(crate) fn said(output: &Output) -> String {
    String::from_utf8([&output.stdout[..], &output.stderr].concat()).unwrap()
}

/// A row of the table `servers`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Server {
    pub(crate) name: String,
    pub(crate) role: String,
    pub(crate) status: String,
    pub(crate) reason: String,
    pub(crate) commands: u64,
    pub(crate) connections: u64,
}

/// Rows of a table by column name.
pub(crate) fn table(
    process: &HighgateProcess,
    name: &str,
) -> anyhow::Result<Vec<serde_json::Value>> {
    let text = ctl(process, &["show", name, "--format", "json"])?;
    let rows: serde_json::Value = serde_json::from_str(&text).with_context(|| text.clone())?;
    let list = rows.as_array().cloned();
    list.or_else(|| rows.get("rows").and_then(|rows| rows.as_array()).cloned()).context(text)
}

fn text(row: &serde_json::Value, key: &str) -> String {
    match row.get(key) {
        Some(serde_json::Value::String(text)) => text.clone(),
        Some(serde_json::Value::Null) | None => String::new(),
        Some(other) => other.to_string(),
    }
}

pub(crate) fn servers(process: &HighgateProcess) -> anyhow::Result<Vec<Server>> {
    Ok(table(process, "servers")?
        .iter()
        .map(|row| Server {
            name: text(row, "name"),
            role: text(row, "role"),
            status: text(row, "status"),
            reason: text(row, "reason"),
            commands: text(row, "commands").parse().unwrap_or_default(),
            connections: text(row, "opened").parse().unwrap_or_default(),
        })
        .collect())
}

/// The row of one server.
pub(crate) fn server(process: &HighgateProcess, name: &str) -> anyhow::Result<Server> {
    let list = servers(process)?;
    list.into_iter().find(|server| server.name == name).with_context(|| format!("no server {name}"))
}

/// Waits until `holds` for one server; gives how long that took.
pub(crate) fn until_server(
    process: &HighgateProcess,
    name: &str,
    within: Duration,
    holds: impl Fn(&Server) -> bool,
) -> anyhow::Result<Duration> {
    let started = wait::now();
    wait::eventually(Deadline::after(within), "a server's state", || {
        let server = server(process, name)?;
        anyhow::ensure!(
            holds(&server),
            "{server:?}\n{}",
            ctl(process, &["events", "--last", "15"])?
        );
        Ok(())
    })?;
    Ok(wait::now() - started)
}

/// Whether something that takes `bound` at most by itself was seen in time: a machine with other work may
/// add as much and half. The bounds themselves are held by the tests of the pure machines.
pub(crate) fn in_time(what: &str, took: Duration, bound: Duration) -> anyhow::Result<()> {
    eprintln!("{what}: {took:?}, of {bound:?}");
    anyhow::ensure!(took < bound * 5 / 2, "{what}: {took:?} instead of {bound:?}");
    Ok(())
}

/// Connects as `app`.
pub(crate) async fn connect(address: SocketAddr) -> mysql_async::Result<Conn> {
    connect_as(address, "app").await
}

pub(crate) async fn connect_as(address: SocketAddr, user: &str) -> mysql_async::Result<Conn> {
    let options = OptsBuilder::default()
        .ip_or_hostname(address.ip().to_string())
        .tcp_port(address.port())
        .user(Some(user))
        .pass(Some(user))
        .db_name(Some("shop"))
        .prefer_socket(false);
    Conn::new(options).await
}

/// The error code that a server's answer carries.
pub(crate) fn code(error: &mysql_async::Error) -> Option<u16> {
    match error {
        mysql_async::Error::Server(error) => Some(error.code),
        _ => None,
    }
}

/// Runs asynchronous clients in a test.
pub(crate) fn run<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.unwrap_or_else(|error| unreachable!("no runtime: {error}")).block_on(work)
}

/// Pauses within a client.
pub(crate) async fn pause(time: Duration) {
    tokio::time::timeout(time, std::future::pending::<()>()).await.unwrap_or_default();
}

/// What clients of a load do.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mix {
    pub(crate) readers: u32,
    pub(crate) writers: u32,
    pub(crate) transactions: u32,
}

/// What a load saw.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) reads: u64,
    pub(crate) read_errors: Vec<String>,
    /// Ids whose INSERT was acknowledged.
    pub(crate) acknowledged: Vec<u64>,
    /// Ids whose INSERT has an unknown outcome.
    pub(crate) unknown: Vec<u64>,
    pub(crate) write_errors: Vec<String>,
    pub(crate) transactions: u64,
    pub(crate) transaction_errors: Vec<String>,
    pub(crate) latencies: Vec<Duration>,
}

impl Seen {
    fn add(&mut self, other: Self) {
        self.reads += other.reads;
        self.read_errors.extend(other.read_errors);
        self.acknowledged.extend(other.acknowledged);
        self.unknown.extend(other.unknown);
        self.write_errors.extend(other.write_errors);
        self.transactions += other.transactions;
        self.transaction_errors.extend(other.transaction_errors);
        self.latencies.extend(other.latencies);
    }

    /// No statement of its own failed, and of at most so many writes nobody knows whether they were done.
    pub(crate) fn ensure_answered(&self, unknown: usize) -> anyhow::Result<()> {
        anyhow::ensure!(self.read_errors.is_empty(), "reads: {:?}", self.read_errors);
        anyhow::ensure!(self.write_errors.is_empty(), "writes: {:?}", self.write_errors);
        let found = &self.unknown;
        anyhow::ensure!(found.len() <= unknown, "{} unknown: {found:?}", found.len());
        Ok(())
    }

    /// Transactions failed only with what drivers and frameworks know as "run it again", or with the
    /// server's own refusal.
    pub(crate) fn ensure_retryable(&self) -> anyhow::Result<()> {
        const MARKS: [&str; 4] = ["40001", "1290", "08007", "read-only"];
        for error in &self.transaction_errors {
            let is_retryable = MARKS.iter().any(|mark| error.contains(mark));
            anyhow::ensure!(is_retryable, "a transaction failed with: {error}");
        }
        Ok(())
    }

    /// A line for people.
    pub(crate) fn line(&mut self) -> String {
        self.latencies.sort_unstable();
        let at = |share: usize| {
            self.latencies.get(self.latencies.len() * share / 1000).copied().unwrap_or_default()
        };
        format!(
            "{} reads ({} failed), {} writes acknowledged ({} unknown, {} failed), {} transactions ({} failed); p50 {:?} p99 {:?} max {:?}",
            self.reads,
            self.read_errors.len(),
            self.acknowledged.len(),
            self.unknown.len(),
            self.write_errors.len(),
            self.transactions,
            self.transaction_errors.len(),
            at(500),
            at(990),
            self.latencies.last().copied().unwrap_or_default(),
        )
    }
}

/// Each text once, with how often it was seen.
pub(crate) fn counted(texts: &[String]) -> std::collections::BTreeMap<&str, usize> {
    let mut counts = std::collections::BTreeMap::new();
    for text in texts {
        *counts.entry(text.as_str()).or_default() += 1;
    }
    counts
}

/// Clients at work until [`Load::stop`].
#[derive(Debug)]
pub(crate) struct Load {
    ends: Arc<AtomicBool>,
    /// Commands under way.
    pub(crate) writes_done: Arc<AtomicU32>,
    /// The longest wait for a single statement since it was looked at last, in microseconds.
    longest: Arc<AtomicU64>,
    thread: JoinHandle<Seen>,
}

impl Load {
    /// Starts; the table `shop.t` with a primary key `id` must exist.
    pub(crate) fn start(address: SocketAddr, mix: Mix) -> anyhow::Result<Self> {
        Self::start_from(address, mix, 0)
    }

    /// Starts with ids from `base`.
    pub(crate) fn start_from(address: SocketAddr, mix: Mix, base: u64) -> anyhow::Result<Self> {
        let ends = Arc::new(AtomicBool::new(false));
        let writes_done = Arc::new(AtomicU32::new(0));
        let longest = Arc::new(AtomicU64::new(0));
        let (flag, done, waits) = (ends.clone(), writes_done.clone(), longest.clone());
        let thread = std::thread::Builder::new().name("load".to_owned()).spawn(move || {
            run(async move {
                let mut clients = tokio::task::JoinSet::new();
                let mut number = 0_u32;
                for (count, kind) in [
                    (mix.readers, Kind::Reads),
                    (mix.writers, Kind::Writes),
                    (mix.transactions, Kind::Transactions),
                ] {
                    for _ in 0..count {
                        number += 1;
                        let first = base + u64::from(number) * 1_000_000;
                        let client = Client {
                            address,
                            first,
                            ends: flag.clone(),
                            done: done.clone(),
                            longest: waits.clone(),
                        };
                        clients.spawn(client.work(kind));
                    }
                }
                let mut seen = Seen::default();
                while let Some(one) = clients.join_next().await {
                    seen.add(one.unwrap_or_default());
                }
                seen
            })
        })?;
        Ok(Self { ends, writes_done, longest, thread })
    }

    /// The longest that a client waited for a single statement since this was asked last.
    pub(crate) fn take_longest(&self) -> Duration {
        Duration::from_micros(self.longest.swap(0, Ordering::Relaxed))
    }

    /// Waits until `more` writes were acknowledged from now on.
    pub(crate) fn wait_writes(&self, more: u32, within: Duration) -> anyhow::Result<Duration> {
        let (started, goal) = (wait::now(), self.writes_done.load(Ordering::Relaxed) + more);
        let flows = || self.writes_done.load(Ordering::Relaxed) >= goal;
        anyhow::ensure!(
            wait::wait_until(Deadline::after(within), flows),
            "no writes in {within:?}"
        );
        Ok(wait::now() - started)
    }

    /// Ends it.
    pub(crate) fn stop(self) -> anyhow::Result<Seen> {
        self.ends.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow::anyhow!("the load panicked"))
    }
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Reads,
    Writes,
    Transactions,
}

struct Client {
    address: SocketAddr,
    first: u64,
    ends: Arc<AtomicBool>,
    done: Arc<AtomicU32>,
    longest: Arc<AtomicU64>,
}

/// Between two commands of one client: a load of about a half on a small machine.
const THINK: Duration = Duration::from_millis(4);

impl Client {
    async fn work(self, kind: Kind) -> Seen {
        let mut seen = Seen::default();
        let mut id = self.first;
        let mut conn = None;
        while !self.ends.load(Ordering::Relaxed) {
            let mut open = match conn.take() {
                Some(open) => open,
                None => match connect(self.address).await {
                    Ok(open) => open,
                    Err(error) => {
                        seen.read_errors.push(format!("connect: {error}"));
                        pause(Duration::from_millis(100)).await;
                        continue;
                    }
                },
            };
            id += 1;
            let started = wait::now();
            let lives = match kind {
                Kind::Reads => read(&mut open, &mut seen).await,
                Kind::Writes => self.write(&mut open, id, &mut seen).await,
                Kind::Transactions => self.transact(&mut open, id, &mut seen).await,
            };
            if !matches!(kind, Kind::Transactions) {
                let took = wait::now() - started;
                seen.latencies.push(took);
                let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
                self.longest.fetch_max(micros, Ordering::Relaxed);
            }
            if lives {
                conn = Some(open);
            }
            pause(THINK).await;
        }
        seen
    }

    async fn write(&self, conn: &mut Conn, id: u64, seen: &mut Seen) -> bool {
        match conn.query_drop(format!("INSERT INTO t VALUES ({id}, 'single')")).await {
            Ok(()) => {
                self.done.fetch_add(1, Ordering::Relaxed);
                seen.acknowledged.push(id);
                true
            }
            Err(error) => {
                match code(&error) {
                    Some(1158) => seen.unknown.push(id),
                    _ => seen.write_errors.push(error.to_string()),
                }
                code(&error).is_some()
            }
        }
    }

    async fn transact(&self, conn: &mut Conn, id: u64, seen: &mut Seen) -> bool {
        let work = async {
            conn.query_drop("BEGIN").await?;
            conn.query_drop(format!("INSERT INTO t VALUES ({id}, 'in a transaction')")).await?;
            let _: Option<u64> =
                conn.query_first(format!("SELECT id FROM t WHERE id = {id}")).await?;
            conn.query_drop("COMMIT").await
        };
        let done: mysql_async::Result<()> = work.await;
        match done {
            Ok(()) => {
                self.done.fetch_add(1, Ordering::Relaxed);
                seen.transactions += 1;
                seen.acknowledged.push(id);
                true
            }
            Err(error) => {
                if code(&error) == Some(1158) {
                    seen.unknown.push(id);
                }
                seen.transaction_errors.push(error.to_string());
                let _ = conn.query_drop("ROLLBACK").await;
                code(&error).is_some()
            }
        }
    }
}

async fn read(conn: &mut Conn, seen: &mut Seen) -> bool {
    match conn.query_first::<u64, _>("SELECT COUNT(*) FROM t WHERE id < 1000").await {
        Ok(_) => {
            seen.reads += 1;
            true
        }
        Err(error) => {
            seen.read_errors.push(error.to_string());
            false
        }
    }
}

/// Every acknowledged id is there once, and nothing else but ids of unknown outcome.
pub(crate) fn assert_none_lost_none_doubled(primary: &Database, seen: &Seen) -> anyhow::Result<()> {
    let rows = primary.sql("SELECT id, COUNT(*) FROM shop.t WHERE id >= 1000000 GROUP BY id")?;
    let mut there = std::collections::BTreeSet::new();
    for row in rows {
        let (id, count) = (row.first().context("id")?, row.get(1).context("count")?);
        anyhow::ensure!(count == "1", "{id} is there {count} times");
        there.insert(id.parse::<u64>()?);
    }
    let lost: Vec<_> = seen.acknowledged.iter().filter(|id| !there.contains(id)).collect();
    anyhow::ensure!(lost.is_empty(), "acknowledged and lost: {lost:?}");
    // A long run has hundreds of thousands of them: no search through lists.
    let known: std::collections::BTreeSet<_> =
        seen.acknowledged.iter().chain(&seen.unknown).copied().collect();
    let denied: Vec<_> = there.difference(&known).collect();
    anyhow::ensure!(denied.is_empty(), "there although their clients were told no: {denied:?}");
    Ok(())
}

/// Makes the table of the load, without a key, so that a doubled row would show.
pub(crate) fn make_table(primary: &Database) -> anyhow::Result<()> {
    primary.sql("CREATE TABLE shop.t (id BIGINT, what VARCHAR(40), KEY (id))")?;
    Ok(())
}
