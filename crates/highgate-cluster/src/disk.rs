//! The data directory and its lock: at most one process writes into it.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use rustix::fs::{FlockOperation, flock};

use crate::{
    file::{DurableFile, WriteError},
    open::OpenError,
};

const LOCK: &str = "highgate.lock";
const STATE: &str = "state.json";
const PRIMARIES: &str = "primaries.json";

/// A data directory. Files are written only while the lock is held.
#[derive(Debug)]
pub(crate) struct Disk {
    dir: PathBuf,
    /// Gives the lock back when dropped, also by the death of the process.
    lock: Option<File>,
    pub(crate) state: DurableFile,
    pub(crate) primaries: DurableFile,
}

impl Disk {
    /// Creates the directory (0700) where it is missing; takes no lock.
    pub(crate) fn open(dir: &Path) -> Result<Self, OpenError> {
        DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(OpenError::io(dir))?;
        Ok(Self {
            dir: dir.to_owned(),
            lock: None,
            state: DurableFile::new(dir, STATE, "highgate-state"),
            primaries: DurableFile::new(dir, PRIMARIES, "highgate-primaries"),
        })
    }

    /// Takes the lock and removes what a crash left behind.
    pub(crate) fn acquire(&mut self) -> Result<(), OpenError> {
        if self.lock.is_some() {
            return Ok(());
        }
        let path = self.dir.join(LOCK);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(OpenError::io(&path))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(self.in_use(&path)),
            Err(error) => return Err(OpenError::io(&path)(error.into())),
        }
        if let Err(error) = write_pid(&mut file) {
            // Only a courtesy to whoever finds the directory in use; a full disk must not stop us.
            tracing::warn!(%error, "the process id could not be noted in the lock file");
        }
        self.state.sweep()?;
        self.primaries.sweep()?;
        self.lock = Some(file);
        Ok(())
    }

    /// Lets another process take the lock. Nothing is written from here on.
    pub(crate) fn release(&mut self) {
        self.lock = None;
    }

    /// Whether this process has the lock.
    pub(crate) const fn is_held(&self) -> bool {
        self.lock.is_some()
    }

    fn in_use(&self, path: &Path) -> OpenError {
        let holder = fs::read_to_string(path).ok();
        OpenError::InUse {
            dir: self.dir.clone(),
            holder: holder.map(|pid| pid.trim().to_owned()).filter(|pid| !pid.is_empty()),
        }
    }

    /// Whether this process may replace one of the files.
    pub(crate) fn may_write(&self, file: &DurableFile) -> Result<(), WriteError> {
        if self.lock.is_some() {
            return Ok(());
        }
        Err(WriteError::NotWritten {
            path: file.path().to_owned(),
            cause: io::Error::other(
                "this process does not hold the data directory (it was handed over)",
            ),
        })
    }

    /// Replaces one of the files, durably.
    pub(crate) fn write(&self, file: &DurableFile, body: &[u8]) -> Result<(), WriteError> {
        self.may_write(file)?;
        file.write(body)
    }
}

fn write_pid(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    writeln!(file, "{}", std::process::id())
}
