//! Directories that go away with their owner, and the locks that tests of a machine share.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::Context as _;

/// A directory of one fixture, removed on drop.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
}

impl Scratch {
    /// Makes an empty directory whose name starts with `name`.
    ///
    /// # Errors
    /// The directory can't be made.
    pub fn new(name: &str) -> anyhow::Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let unique = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = shared()?.join(format!("{name}-{}-{unique}", std::process::id()));
        if path.exists() {
            fs::remove_dir_all(&path).context("removing what a former process left")?;
        }
        fs::create_dir(&path).with_context(|| format!("making {}", path.display()))?;
        Ok(Self { path })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path of `name` inside.
    pub fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// The directory that all fixtures of the machine share.
///
/// # Errors
/// It can't be made.
pub fn shared() -> anyhow::Result<PathBuf> {
    let path = std::env::temp_dir().join("highgate-testkit");
    fs::create_dir_all(&path).with_context(|| format!("making {}", path.display()))?;
    Ok(path)
}

/// Holds the machine-wide lock `name` until the returned file is closed.
///
/// # Errors
/// The lock file can't be opened or locked.
pub fn lock(name: &str) -> anyhow::Result<File> {
    let path = shared()?.join(format!("{name}.lock"));
    let file = File::create(&path).with_context(|| format!("opening {}", path.display()))?;
    file.lock().with_context(|| format!("locking {}", path.display()))?;
    Ok(file)
}

/// Runs a program to its end and gives its standard output.
///
/// # Errors
/// It can't be started or fails; the message carries what it wrote to standard error.
pub fn run(command: &mut Command) -> anyhow::Result<String> {
    let output = command.output().with_context(|| format!("starting {command:?}"))?;
    let out = String::from_utf8_lossy(&output.stdout).into_owned();
    anyhow::ensure!(
        output.status.success(),
        "{command:?} failed ({}): {out}{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(out)
}

/// The path of an installed program, or `None`; also looks where Debian keeps administrators' programs.
pub fn which(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into(), "/usr/local/sbin".into()])
        .map(|folder| folder.join(program))
        .find(|candidate| candidate.is_file())
}

/// Whether the process may do what only root may.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}
