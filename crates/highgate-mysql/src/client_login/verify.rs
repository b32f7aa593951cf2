//! The check of a password that may take milliseconds.

use crate::auth::{Secret, StoredPassword};

/// A password and the stored forms to check it against; to be run off the data workers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlowCheck {
    password: Secret,
    stored: Vec<StoredPassword>,
}

impl SlowCheck {
    /// A check of `password` against each of `stored`.
    #[must_use]
    pub const fn new(password: Secret, stored: Vec<StoredPassword>) -> Self {
        Self { password, stored }
    }

    /// Whether the password fits any of the forms. All are tried, so that time tells nothing.
    #[must_use]
    pub fn run(&self) -> bool {
        self.stored
            .iter()
            .fold(false, |found, stored| stored.verify_password(self.password.expose()) | found)
    }
}
