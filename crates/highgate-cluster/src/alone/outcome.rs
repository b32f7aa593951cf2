//! What became of an edit, as whoever asked for it is told.

use highgate_config::{Change, ProposeError, Version, merge::Conflict};

/// What applying a file did.
#[derive(Debug, Clone, PartialEq)]
pub struct Applied {
    /// The edits that were put in force.
    pub changes: Vec<Change>,
    /// Where file and state in force did not agree, with how it was decided.
    pub conflicts: Vec<Conflict>,
    /// The version in force now.
    pub version: Version,
}

/// Why a file was not applied; nothing was changed unless `Unknown`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// The result would not fit together.
    #[error("{file} can't be applied onto what is in force: {why}")]
    Refused {
        /// The file.
        file: String,
        /// The change that is refused, and why.
        why: String,
    },
    /// The result could not be stored.
    #[error(
        "{file} could not be applied, since the result could not be stored ({why}); nothing was changed"
    )]
    Storage {
        /// The file.
        file: String,
        /// What the system said.
        why: String,
    },
    /// The result can't be put in force where this process runs.
    #[error("nothing was changed: {why}")]
    Unready {
        /// What can't be had.
        why: String,
    },
    /// Neither applied nor refused for certain.
    #[error(
        "it is unknown whether {file} was applied; look at the state in force before trying again"
    )]
    Unknown {
        /// The file.
        file: String,
    },
}

/// Why a store was not seeded; nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum SeedError {
    /// It holds a state already.
    #[error("the store holds a configuration already (version {}); apply a file onto it, or start once with --initial", .0.0)]
    NotEmpty(Version),
    /// The state could not be stored.
    #[error(transparent)]
    Storage(#[from] ProposeError),
}

/// Why an edit did not come into force.
pub(super) enum CommitError<E> {
    Refused(E),
    Storage(String),
    Unknown,
}

/// Why a file is not applied.
pub(super) enum FileRefused {
    /// It does not fit onto what is in force.
    Unfit(String),
    /// What it asks for can't be had.
    Unready(String),
}

impl CommitError<FileRefused> {
    /// The error, as the one who applies a file is told.
    pub(super) fn of_file(self, file: &str) -> ApplyError {
        let file = file.to_owned();
        match self {
            Self::Refused(FileRefused::Unfit(why)) => ApplyError::Refused { file, why },
            Self::Refused(FileRefused::Unready(why)) => ApplyError::Unready { why },
            Self::Storage(why) => ApplyError::Storage { file, why },
            Self::Unknown => ApplyError::Unknown { file },
        }
    }
}
