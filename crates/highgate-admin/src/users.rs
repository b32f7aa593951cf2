//! The admin accounts, as they are configured right now.

use std::{collections::BTreeMap, sync::Arc};

use highgate_config::{Secret, UserName};
use tokio::sync::watch;

/// A view of the admin accounts that follows configuration.
#[derive(Debug, Clone)]
pub struct Users(watch::Receiver<Arc<BTreeMap<UserName, Secret>>>);

impl Users {
    /// Follows `accounts`.
    #[must_use]
    pub fn new(accounts: watch::Receiver<Arc<BTreeMap<UserName, Secret>>>) -> Self {
        Self(accounts)
    }

    /// Accounts that never change.
    #[must_use]
    pub fn fixed(accounts: BTreeMap<UserName, Secret>) -> Self {
        Self(watch::channel(Arc::new(accounts)).1)
    }

    /// Whether nobody can log in.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.borrow().is_empty()
    }

    /// The stored password of an account.
    #[must_use]
    pub fn secret(&self, name: &str) -> Option<Secret> {
        self.0.borrow().get(name).cloned()
    }

    /// Whether this is the account's password. Takes as long for an account that doesn't exist.
    #[must_use]
    pub fn verify(&self, name: &str, password: &str) -> bool {
        let stored = self.secret(name);
        let exists = stored.is_some();
        let stored = stored.unwrap_or_else(|| Secret::new("?"));
        let given = Secret::new(password);
        (stored == given) & exists
    }
}
