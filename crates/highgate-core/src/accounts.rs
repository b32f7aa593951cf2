//! Accounts of a cluster, as its own grant tables have them.
//!
//! Pure: rows become an [`AccountList`] (module `read`), which is asked by user and by where the
//! *client* comes from, with the servers' own order of precedence (module `host`). Of a password
//! only stored forms are here. Host names are not looked up: patterns are held against the numeric
//! address, and `localhost` against Unix sockets, and loopback where the servers resolve names.

mod host;
mod read;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, net::IpAddr};

use highgate_mysql::{
    auth::StoredPassword,
    capability::ServerFlavor,
    client_login::{Decoys, Shape},
};

pub use host::HostPattern;
pub use read::{Surroundings, from_global_priv, from_user_table};

/// What an account demands of a client's connection.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum TlsDemand {
    /// Nothing.
    #[default]
    Nothing,
    /// TLS.
    Encrypted,
    /// A certificate that a trusted authority signed.
    Certificate,
    /// A certificate of that issuer and subject (`/C=…/CN=…`; empty is any), and a cipher.
    Named {
        /// REQUIRE ISSUER.
        issuer: String,
        /// REQUIRE SUBJECT.
        subject: String,
        /// REQUIRE CIPHER.
        cipher: String,
    },
}

/// The names in a client's certificate, which was verified.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CertificateNames {
    /// Who signed it, as `/C=…/CN=…`.
    pub issuer: String,
    /// Whose it is, as `/C=…/CN=…`.
    pub subject: String,
}

impl TlsDemand {
    /// Whether a client with that certificate meets it. That there is TLS at all is another
    /// question.
    ///
    /// Quirk: names of ciphers differ between libraries, so REQUIRE CIPHER is never met.
    #[must_use]
    pub fn is_met_by(&self, certificate: Option<&CertificateNames>) -> bool {
        match (self, certificate) {
            (Self::Nothing | Self::Encrypted, _) | (Self::Certificate, Some(_)) => true,
            (Self::Certificate | Self::Named { .. }, None) => false,
            (Self::Named { issuer, subject, cipher }, Some(names)) => {
                let fits = |wanted: &str, is: &str| wanted.is_empty() || wanted == is;
                fits(issuer, &names.issuer) && fits(subject, &names.subject) && cipher.is_empty()
            }
        }
    }
}

/// One account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterAccount {
    /// The user; empty is anybody.
    pub user: String,
    /// Where it may come from.
    pub host: HostPattern,
    /// Stored passwords that can be verified here, in the account's order.
    pub passwords: Vec<StoredPassword>,
    /// Plugins of the account that can't be verified here.
    pub foreign: Vec<String>,
    /// ACCOUNT LOCK.
    pub is_locked: bool,
    /// When its password expires, in seconds of Unix time.
    pub expires_at: Option<u64>,
    /// REQUIRE.
    pub tls: TlsDemand,
}

impl ClusterAccount {
    /// Whether its password has expired by then.
    #[must_use]
    pub fn is_expired(&self, unix_seconds: u64) -> bool {
        self.expires_at.is_some_and(|at| unix_seconds >= at)
    }

    /// `user@host`, for operators.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}@{}", self.user, self.host)
    }

    /// Whether its stored forms can be verified and then open no server: the password is needed.
    #[must_use]
    pub fn wants_password(&self) -> bool {
        self.passwords.iter().any(|stored| matches!(stored, StoredPassword::Ed25519(_)))
    }
}

/// Where a client comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A Unix socket of this machine.
    Local,
    /// That address.
    Address(IpAddr),
}

/// All accounts of a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AccountList {
    /// By user, in the order of precedence.
    by_user: BTreeMap<String, Vec<ClusterAccount>>,
    /// The servers resolve names: loopback is `localhost` to them.
    resolves_names: bool,
    decoys: Decoys,
    count: usize,
    flavor: ServerFlavor,
}

impl AccountList {
    /// A list of these, in whatever order, as servers of that flavour have it: the order of hosts and
    /// the words of refusals are theirs.
    #[must_use]
    pub fn new(accounts: Vec<ClusterAccount>, resolves_names: bool, flavor: ServerFlavor) -> Self {
        let shape =
            |account: &ClusterAccount| Shape::of(&account.passwords, account.wants_password());
        let decoys = accounts.iter().map(shape).collect();
        let count = accounts.len();
        let mut by_user: BTreeMap<String, Vec<ClusterAccount>> = BTreeMap::new();
        for account in accounts {
            by_user.entry(account.user.clone()).or_default().push(account);
        }
        for list in by_user.values_mut() {
            list.sort_by(|a, b| a.host.cmp_precedence(&b.host, flavor));
        }
        Self { by_user, resolves_names, decoys, count, flavor }
    }

    /// Whose list it is.
    #[must_use]
    pub const fn flavor(&self) -> ServerFlavor {
        self.flavor
    }

    /// The account that a server would take: the most specific host, and in case of a tie the
    /// named user before anybody.
    #[must_use]
    pub fn find(&self, user: &str, from: Origin) -> Option<&ClusterAccount> {
        let first = |user: &str| {
            let list = self.by_user.get(user)?;
            list.iter().find(|account| account.host.matches(from, self.resolves_names))
        };
        match (first(user), first("").filter(|_| !user.is_empty())) {
            (Some(named), Some(anybody)) => {
                let is_before = anybody.host.cmp_precedence(&named.host, self.flavor).is_lt();
                Some(if is_before { anybody } else { named })
            }
            (named, anybody) => named.or(anybody),
        }
    }

    /// Whether there is an account of that user, wherever it may come from.
    #[must_use]
    pub fn knows(&self, user: &str) -> bool {
        self.by_user.contains_key(user)
    }

    /// What unknown users are verified against.
    #[must_use]
    pub const fn decoys(&self) -> &Decoys {
        &self.decoys
    }

    /// How many accounts there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.count
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Accounts that nobody can use here, with the reason: for operators.
    pub fn unusable(&self) -> impl Iterator<Item = (String, String)> {
        self.by_user.values().flatten().filter_map(|account| {
            let why = if account.passwords.is_empty() {
                format!("plugin {} can't be verified here", account.foreign.join(", "))
            } else if account.host.is_name() {
                "host names are not looked up".to_owned()
            } else {
                return None;
            };
            Some((account.name(), why))
        })
    }
}
