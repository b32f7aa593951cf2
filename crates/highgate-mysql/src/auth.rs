//! Authentication: the arithmetic of each plugin, and the forms in which passwords are stored.
//!
//! All comparisons take constant time, secrets are wiped when dropped and never shown by `Debug`.
//! RSA is not here: the login machines hand the bytes to the shell and take the result back.

mod base64;
pub mod ed25519;
pub mod matrix;
pub mod native;
mod secret;
pub mod sha2;
mod stored;
pub(crate) mod work;

pub use secret::{Proof, Secret};
pub use stored::{ParsePasswordError, StoredPassword};

/// mysql_native_password.
pub const NATIVE: &str = "mysql_native_password";
/// caching_sha2_password.
pub const CACHING_SHA2: &str = "caching_sha2_password";
/// MariaDB's client_ed25519.
pub const ED25519: &str = "client_ed25519";
/// mysql_clear_password.
pub const CLEAR: &str = "mysql_clear_password";

/// A password as clear-text answers carry it: with a NUL at its end.
#[must_use]
pub fn with_nul(password: &[u8]) -> Secret {
    let mut bytes = Vec::with_capacity(password.len().saturating_add(1));
    bytes.extend_from_slice(password);
    bytes.push(0);
    Secret::new(bytes)
}

/// A clear-text answer without the NUL at its end.
#[must_use]
pub fn without_nul(answer: &[u8]) -> &[u8] {
    answer.strip_suffix(&[0]).unwrap_or(answer)
}

#[cfg(test)]
mod tests;
