//! A real MySQL, which no stable Debian has: `scripts/mysql` fetches it into a folder of its own.
//!
//! That folder is `$HIGHGATE_MYSQL`, or `~/.cache/highgate/mysql`, with `bin/mysqld` and `bin/mysql` in it. Accounts
//! get the server's default plugin, `caching_sha2_password`; `root` has no password.

use std::ffi::OsString;
use std::fs;
use std::ops::Deref;
use std::path::PathBuf;
use std::process::Command;

use anyhow::Context as _;

use crate::database::{Database, DatabaseOptions, Make};
use crate::scratch;

/// A MySQL; what it can do is said at [`Database`].
#[derive(Debug)]
pub struct MySql(Database);

impl MySql {
    /// Whether MySQL is there; tests that need it say so and return when it isn't.
    pub fn is_installed() -> bool {
        program().is_ok()
    }

    /// The path of one of its clients, such as `mysql`.
    ///
    /// # Errors
    /// It is not there.
    pub fn client(name: &str) -> anyhow::Result<PathBuf> {
        find(name)
    }

    /// Starts an instance and returns once it answers.
    ///
    /// # Errors
    /// MySQL is not installed, or did not get ready; the message carries its error log.
    pub fn start() -> anyhow::Result<Self> {
        Self::start_with(DatabaseOptions::default())
    }

    /// Starts an instance with further arguments.
    ///
    /// # Errors
    /// As [`MySql::start`].
    pub fn start_with(options: DatabaseOptions) -> anyhow::Result<Self> {
        Database::start(MAKE, options).map(Self)
    }

    /// Makes the data directory without starting anything.
    ///
    /// # Errors
    /// As [`MySql::start`].
    pub fn prepare(options: DatabaseOptions) -> anyhow::Result<Self> {
        Database::prepare(MAKE, options, &template()?).map(Self)
    }
}

impl Deref for MySql {
    type Target = Database;

    fn deref(&self) -> &Database {
        &self.0
    }
}

const MAKE: Make = Make { name: "mysqld", program, template, lean: LEAN };

const LEAN: &[&str] = &[
    "--skip-name-resolve",
    "--innodb-buffer-pool-size=32M",
    "--innodb-redo-log-capacity=32M",
    "--innodb-flush-log-at-trx-commit=2",
    "--innodb-flush-method=nosync",
    "--innodb-buffer-pool-dump-at-shutdown=0",
    "--innodb-buffer-pool-load-at-startup=0",
    "--sync-binlog=0",
    "--key-buffer-size=1M",
    "--mysqlx=OFF",
    // The folder that is compiled in belongs to the package, and is not there.
    "--secure-file-priv=",
    "--max-connections=1000",
    "--max-connect-errors=1000000000",
];

fn program() -> anyhow::Result<PathBuf> {
    find("mysqld")
}

fn find(name: &str) -> anyhow::Result<PathBuf> {
    let path = folder().context("no home folder")?.join("bin").join(name);
    anyhow::ensure!(path.is_file(), "no {}: run scripts/mysql", path.display());
    Ok(path)
}

/// Where `scripts/mysql` puts it.
fn folder() -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    if let Some(folder) = set("HIGHGATE_MYSQL") {
        return Some(folder.into());
    }
    let home = |home: OsString| PathBuf::from(home).join(".cache");
    let cache = set("XDG_CACHE_HOME").map(PathBuf::from).or_else(|| set("HOME").map(home))?;
    Some(cache.join("highgate/mysql"))
}

/// The template of a data directory, which the first caller on the machine initialises.
fn template() -> anyhow::Result<PathBuf> {
    let program = program()?;
    let version = scratch::run(Command::new(&program).args(["--no-defaults", "--version"]))?;
    let version = version.split("Ver ").last().unwrap_or_default();
    let key: String = version.chars().filter(|c| c.is_ascii_alphanumeric()).collect();
    let done = scratch::shared()?.join(format!("template-mysql-{key}"));
    let _lock = scratch::lock("template-mysql")?;
    if done.is_dir() {
        return Ok(done);
    }
    let half = done.with_extension("half");
    let _ = fs::remove_dir_all(&half);
    let mut command = Command::new(program);
    command
        .args(["--no-defaults", "--initialize-insecure", "--innodb-flush-method=nosync"])
        .args(["--innodb-redo-log-capacity=32M", "--innodb-buffer-pool-size=32M"])
        .arg(format!("--datadir={}", half.display()));
    if scratch::is_root() {
        command.arg("--user=root");
    }
    scratch::run(&mut command)?;
    // It holds the server's UUID, which no two members of a cluster may share.
    fs::remove_file(half.join("auto.cnf")).context("removing the template's UUID")?;
    // Renamed only when whole: an installer that was killed leaves no template.
    fs::rename(&half, &done).context("putting the template in place")?;
    Ok(done)
}
