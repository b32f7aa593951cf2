//! Secrets: wiped when dropped, compared in constant time, never shown.

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// Secret bytes.
#[derive(Clone, Default)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Takes ownership of secret bytes.
    #[must_use]
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(Zeroizing::new(bytes.into()))
    }

    /// The bytes.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for Secret {}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// What a login left in our hands, with which servers can be logged in to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Proof {
    /// The password.
    Clear(Secret),
    /// Nothing: only the server that set the challenge could use the answer.
    #[default]
    None,
    /// SHA1(password): opens mysql_native_password anywhere.
    Sha1(Secret),
    /// SHA256(password): opens caching_sha2_password where the server has the user in its cache.
    Sha256(Secret),
}
