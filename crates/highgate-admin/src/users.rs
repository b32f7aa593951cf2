//! The admin accounts, as they are configured right now.

use std::{collections::BTreeMap, sync::Arc};

use highgate_config::{Secret, UserName};
use highgate_mysql::{
    auth::StoredPassword,
    client_login::{Account, Decoys, Shape},
};
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

    /// The account as the MySQL login wants it; none if the stored form makes no sense.
    #[must_use]
    pub(crate) fn account(&self, name: &str) -> Option<Account> {
        let stored = self.stored(name)?;
        Some(Account { passwords: vec![stored], ..Account::default() })
    }

    /// What stands for an account that does not exist, so that nothing tells it from those that do.
    pub(crate) fn decoy(&self, name: &str, secret: &[u8; 32], key: &[u8; 32]) -> Option<Account> {
        let accounts = self.0.borrow();
        let stored = accounts.values().filter_map(|it| StoredPassword::parse(it.expose()).ok());
        let decoys: Decoys = stored.map(|stored| Shape::of(&[stored], false)).collect();
        decoys.account(name, secret, key)
    }

    fn stored(&self, name: &str) -> Option<StoredPassword> {
        let accounts = self.0.borrow();
        StoredPassword::parse(accounts.get(name)?.expose()).ok()
    }
}
