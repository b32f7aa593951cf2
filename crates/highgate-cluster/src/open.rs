//! Why a data directory could not be opened.

use std::path::{Path, PathBuf};

/// Why a data directory could not be opened. Nothing in it was changed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A file is torn, damaged or not ours. It is never taken for an empty store.
    #[error(
        "{} can't be used: {what}. Put a good copy in its place (the version before it is kept in \
         {}), or start once with --initial to set all that is stored aside, also who the primaries were, \
         and begin with the configuration file",
        file.display(),
        before(file).display()
    )]
    Damaged {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// Another process has the directory.
    #[error(
        "the data directory {} is in use by {}; take over from it with \
         `highgate run --replace`, stop it, or give this one another --data-dir",
        dir.display(),
        holder.as_deref().map_or("another process".to_owned(), |pid| format!("process {pid}"))
    )]
    InUse {
        /// The directory.
        dir: PathBuf,
        /// Process id of the holder, as it wrote it down.
        holder: Option<String>,
    },
    /// The system refuses to read or create something.
    #[error("{}: {cause}; check that it exists on a healthy disk and belongs to this user", path.display())]
    Io {
        /// What was being read or created.
        path: PathBuf,
        /// What the system said.
        #[source]
        cause: std::io::Error,
    },
    /// The file was written by a later version of Highgate.
    #[error(
        "{} has format {found}, and this version reads up to {known}; run the version that wrote \
         it, or put {} in its place if that is older",
        file.display(),
        before(file).display()
    )]
    TooNew {
        /// The file.
        file: PathBuf,
        /// The format it has.
        found: u32,
        /// The last format that is known.
        known: u32,
    },
}

impl OpenError {
    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |cause| Self::Io { path, cause }
    }
}

/// Where the version before `file` is kept.
pub(crate) fn before(file: &Path) -> PathBuf {
    with_suffix(file, ".1")
}

/// `file` with something appended to its name.
pub(crate) fn with_suffix(file: &Path, suffix: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}
