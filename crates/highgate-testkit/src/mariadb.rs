//! A real MariaDB, as Debian installs it.

use std::fs;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;

use crate::database::{Database, Make};
pub use crate::database::{DatabaseOptions as MariaDbOptions, Rows};
use crate::scratch;

/// A MariaDB; what it can do is said at [`Database`].
#[derive(Debug)]
pub struct MariaDb(Database);

impl MariaDb {
    /// Whether MariaDB is installed; tests that need it say so and return when it isn't.
    pub fn is_installed() -> bool {
        scratch::which("mariadbd").is_some() && scratch::which("mariadb-install-db").is_some()
    }

    /// Starts an instance and returns once it answers.
    ///
    /// # Errors
    /// MariaDB is not installed, or did not get ready; the message carries its error log.
    pub fn start() -> anyhow::Result<Self> {
        Self::start_with(MariaDbOptions::default())
    }

    /// Starts an instance with further arguments.
    ///
    /// # Errors
    /// As [`MariaDb::start`].
    pub fn start_with(options: MariaDbOptions) -> anyhow::Result<Self> {
        Database::start(MAKE, options).map(Self)
    }

    /// Makes the data directory without starting anything.
    ///
    /// # Errors
    /// As [`MariaDb::start`].
    pub fn prepare(options: MariaDbOptions) -> anyhow::Result<Self> {
        Self::prepare_from(options, &template()?)
    }

    /// Makes the data directory from another template.
    pub(crate) fn prepare_from(options: MariaDbOptions, template: &Path) -> anyhow::Result<Self> {
        Database::prepare(MAKE, options, template).map(Self)
    }
}

impl Deref for MariaDb {
    type Target = Database;

    fn deref(&self) -> &Database {
        &self.0
    }
}

const MAKE: Make = Make { name: "mariadbd", program, template, lean: LEAN };

fn program() -> anyhow::Result<PathBuf> {
    scratch::which("mariadbd").context("install mariadb-server")
}

const LEAN: &[&str] = &[
    "--skip-name-resolve",
    "--innodb-buffer-pool-size=32M",
    "--innodb-log-file-size=8M",
    "--innodb-flush-log-at-trx-commit=2",
    "--innodb-flush-method=nosync",
    "--innodb-buffer-pool-dump-at-shutdown=0",
    "--innodb-buffer-pool-load-at-startup=0",
    "--sync-binlog=0",
    "--key-buffer-size=1M",
    "--aria-pagecache-buffer-size=4M",
    "--performance-schema=OFF",
    "--max-connections=1000",
    "--max-connect-errors=1000000000",
];

/// A name for the installed version, to be part of a file's name.
pub(crate) fn version_key() -> anyhow::Result<String> {
    let version = scratch::run(Command::new(program()?).args(["--no-defaults", "--version"]))?;
    Ok(version.chars().filter(|c| c.is_ascii_alphanumeric()).collect())
}

/// The template of a data directory, which the first caller on the machine installs.
pub(crate) fn template() -> anyhow::Result<PathBuf> {
    let install = scratch::which("mariadb-install-db").context("install mariadb-server")?;
    let done = scratch::shared()?.join(format!("template-{}", version_key()?));
    let _lock = scratch::lock("template")?;
    if done.is_dir() {
        return Ok(done);
    }
    let half = done.with_extension("half");
    let _ = fs::remove_dir_all(&half);
    let mut command = Command::new(install);
    command
        .args(["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db"])
        .args(["--innodb-log-file-size=8M", "--innodb-buffer-pool-size=32M"])
        .arg(format!("--datadir={}", half.display()));
    if scratch::is_root() {
        command.arg("--user=root");
    }
    scratch::run(&mut command)?;
    // Renamed only when whole: an installer that was killed leaves no template.
    fs::rename(&half, &done).context("putting the template in place")?;
    Ok(done)
}
