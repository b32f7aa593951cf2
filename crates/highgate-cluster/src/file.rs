//! One durable file: replaced whole, or not at all.
//!
//! The first line names kind, format, length and checksum; the rest is the body. A new version is
//! written beside it (`.new`), made durable, and renamed onto it; the version before is kept as
//! `.1`. At every moment `FILE` itself is one whole version. Who calls holds the directory's lock.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};

use crate::open::{OpenError, before, with_suffix};

/// Not a setting: a reader of another format is another program.
const FORMAT: u32 = 1;

/// A file that is replaced whole.
#[derive(Debug)]
pub(crate) struct DurableFile {
    path: PathBuf,
    kind: &'static str,
}

/// Why a new version was not stored.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WriteError {
    /// The version before is in place.
    #[error("{}: {cause}", path.display())]
    NotWritten { path: PathBuf, cause: io::Error },
    /// The new version may or may not be found after a crash.
    #[error("{}: {cause}", path.display())]
    Unknown { path: PathBuf, cause: io::Error },
}

impl DurableFile {
    /// A file of `dir`; `kind` is the first word of its first line.
    pub(crate) fn new(dir: &Path, name: &str, kind: &'static str) -> Self {
        Self { path: dir.join(name), kind }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The body; `None` = it was never written.
    pub(crate) fn read(&self) -> Result<Option<Vec<u8>>, OpenError> {
        let bytes = match fs::read(&self.path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return self.never_written(),
            Err(error) => return Err(OpenError::io(&self.path)(error)),
        };
        self.body(&bytes).map(Some)
    }

    /// A missing file beside a kept version was removed by somebody: not an empty store.
    fn never_written(&self) -> Result<Option<Vec<u8>>, OpenError> {
        if before(&self.path).exists() {
            return Err(self.damaged("it is missing, although the version before it is there"));
        }
        Ok(None)
    }

    fn body(&self, bytes: &[u8]) -> Result<Vec<u8>, OpenError> {
        let end = bytes
            .iter()
            .position(|byte| *byte == b'\n')
            .ok_or_else(|| self.damaged("its first line is incomplete"))?;
        let (head, body) = bytes.split_at(end);
        let body = body.get(1..).unwrap_or_default();
        let head = String::from_utf8_lossy(head);
        let mut words = head.split(' ');
        if words.next() != Some(self.kind) {
            return Err(self.damaged("it is not a file of Highgate of this kind"));
        }
        let found = words.next().and_then(|word| word.parse::<u32>().ok());
        match found {
            Some(FORMAT) => {}
            Some(found) if found > FORMAT => {
                return Err(OpenError::TooNew { file: self.path.clone(), found, known: FORMAT });
            }
            _ => return Err(self.damaged("its first line names no known format")),
        }
        let length = words.next().and_then(|word| word.parse::<usize>().ok());
        if length != Some(body.len()) {
            return Err(self.damaged("its length differs from what its first line says"));
        }
        if words.next() != Some(checksum(body).as_str()) {
            return Err(self.damaged("its checksum differs from what its first line says"));
        }
        Ok(body.to_vec())
    }

    pub(crate) fn damaged(&self, what: &str) -> OpenError {
        OpenError::Damaged { file: self.path.clone(), what: what.to_owned() }
    }

    /// Replaces the body, durably.
    pub(crate) fn write(&self, body: &[u8]) -> Result<(), WriteError> {
        let new = with_suffix(&self.path, ".new");
        self.prepare(&new, body).map_err(|cause| {
            // Half a file has no use. Where it can't be removed, the next write tries again.
            let _ = fs::remove_file(&new);
            WriteError::NotWritten { path: self.path.clone(), cause }
        })?;
        self.sync_dir().or_else(|cause| self.put_back(cause))
    }

    /// All up to and including the rename; an error means that `FILE` is as it was.
    fn prepare(&self, new: &Path, body: &[u8]) -> io::Result<()> {
        remove_if_there(new)?;
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(new)?;
        let (kind, length) = (self.kind, body.len());
        writeln!(file, "{kind} {FORMAT} {length} {}", checksum(body))?;
        file.write_all(body)?;
        file.sync_all()?;
        drop(file);
        if self.path.exists() {
            copy_name(&self.path, &before(&self.path))?;
        }
        fs::rename(new, &self.path)
    }

    /// The rename is done but may not survive a crash: back to the version before, if possible.
    fn put_back(&self, cause: io::Error) -> Result<(), WriteError> {
        let old = before(&self.path);
        let is_back =
            if old.exists() { copy_name(&old, &self.path) } else { fs::remove_file(&self.path) };
        let path = self.path.clone();
        Err(match is_back.and_then(|()| self.sync_dir()) {
            Ok(()) => WriteError::NotWritten { path, cause },
            Err(_) => WriteError::Unknown { path, cause },
        })
    }

    fn sync_dir(&self) -> io::Result<()> {
        let dir = self.path.parent().unwrap_or(Path::new("."));
        File::open(dir)?.sync_all()
    }

    /// Removes what a crash in the middle of a write left behind.
    pub(crate) fn sweep(&self) -> Result<(), OpenError> {
        for suffix in [".new", ".1.link", ".link"] {
            let left = with_suffix(&self.path, suffix);
            remove_if_there(&left).map_err(OpenError::io(&left))?;
        }
        Ok(())
    }

    /// Sets all versions aside as `FILE.forgotten`, so that the next read finds none.
    pub(crate) fn forget(&self) -> Result<(), OpenError> {
        let aside = with_suffix(&self.path, ".forgotten");
        let old = before(&self.path);
        if self.path.exists() {
            // First: what a crash leaves between is the newest version in its place, whereas the older
            // one alone would be set aside over it by the next try.
            remove_if_there(&old).map_err(OpenError::io(&old))?;
            self.sync_dir().map_err(OpenError::io(&self.path))?;
            fs::rename(&self.path, &aside).map_err(OpenError::io(&self.path))?;
        } else if old.exists() {
            fs::rename(&old, &aside).map_err(OpenError::io(&old))?;
        }
        self.sync_dir().map_err(OpenError::io(&self.path))
    }
}

/// Gives the file `from` the name `to` as well, in place of what `to` named.
///
/// By a link and a rename, so that neither name is missing at any moment and no byte is copied.
fn copy_name(from: &Path, to: &Path) -> io::Result<()> {
    let link = with_suffix(to, ".link");
    remove_if_there(&link)?;
    fs::hard_link(from, &link)?;
    fs::rename(&link, to)?;
    // Two names of one file: rename does nothing then, and the link stays.
    remove_if_there(&link)
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn checksum(body: &[u8]) -> String {
    Sha256::digest(body).iter().map(|byte| format!("{byte:02x}")).collect()
}
