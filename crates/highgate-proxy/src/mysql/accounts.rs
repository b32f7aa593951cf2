//! Accounts that clients log in to: those of the configuration, with what earlier logins taught.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use highgate_config::{User, UserName};
use highgate_core::snapshot::Policy;
use highgate_mysql::{auth::StoredPassword, client_login::Account};
use parking_lot::Mutex;

/// What full exchanges of caching_sha2_password taught, by account: the fast path of later logins.
///
/// Kept with the stored text that it was learned against: a changed password forgets it.
#[derive(Debug, Default)]
pub(crate) struct LearnedSha2(Mutex<BTreeMap<UserName, (Vec<highgate_config::Secret>, [u8; 32])>>);

impl LearnedSha2 {
    /// What was learned of that account in its present form.
    pub(crate) fn get(&self, name: &UserName, user: &User) -> Option<[u8; 32]> {
        let learned = self.0.lock();
        learned.get(name).filter(|(stored, _)| *stored == user.passwords).map(|(_, hash)| *hash)
    }

    /// Remembers what a full exchange taught.
    pub(crate) fn learn(&self, name: &UserName, user: &User, hash: [u8; 32]) {
        self.0.lock().insert(name.clone(), (user.passwords.clone(), hash));
    }
}

/// Why an account may not log in although it exists; the client is only told "denied".
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Denied {
    #[error("there is no such account")]
    Unknown,
    #[error("the account is not active")]
    Inactive,
    #[error("the account may not come from that address")]
    Network,
}

/// The account of that name, if it may come from `address`.
pub(crate) fn look_up(
    policy: &Policy,
    name: &str,
    address: Option<IpAddr>,
    learned: &LearnedSha2,
) -> Result<(Arc<User>, Account), Denied> {
    let (name, user) = policy.users.get_key_value(name).ok_or(Denied::Unknown)?;
    if !user.active {
        return Err(Denied::Inactive);
    }
    let from = address.map(|address| address.to_canonical());
    let is_allowed = user.allow.is_empty()
        || from.is_none_or(|ip| user.allow.iter().any(|network| network.contains(&ip)));
    if !is_allowed {
        return Err(Denied::Network);
    }
    let passwords = user
        .passwords
        .iter()
        // Forms that can't be read were refused when the configuration was.
        .filter_map(|stored| StoredPassword::parse(stored.expose()).ok())
        .collect();
    let account = Account {
        passwords,
        requires_tls: user.require_tls,
        cached_sha2: learned.get(name, user),
    };
    Ok((user.clone(), account))
}
