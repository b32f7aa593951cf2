//! Accounts that clients log in to: those of the configuration, with what earlier logins taught.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use highgate_config::{User, UserName};
use highgate_core::snapshot::Policy;
use highgate_mysql::{
    auth::{Proof, StoredPassword},
    client_login::{Account, Login},
};
use parking_lot::Mutex;

/// What full exchanges of caching_sha2_password taught, by account: the fast path of later logins.
///
/// Kept with the stored text that it was learned against: a changed password forgets it. The
/// password itself is kept too, since a fast answer alone opens no server that wants another plugin.
#[derive(Debug, Default)]
pub(crate) struct LearnedSha2(Mutex<BTreeMap<UserName, Learned>>);

#[derive(Debug)]
struct Learned {
    stored: Vec<highgate_config::Secret>,
    hash: [u8; 32],
    proof: Proof,
}

impl LearnedSha2 {
    /// What was learned of that account in its present form.
    pub(crate) fn get(&self, name: &UserName, user: &User) -> Option<[u8; 32]> {
        let learned = self.0.lock();
        learned.get(name).filter(|learned| learned.stored == user.passwords).map(|it| it.hash)
    }

    /// Remembers what a full exchange taught; where the fast path was taken, puts the password of
    /// the exchange that it stands on in the place of its answer.
    pub(crate) fn complete(&self, user: &User, login: &mut Login) {
        let name = UserName::from(login.user.as_str());
        let mut learned = self.0.lock();
        if let Some(hash) = login.learned_sha2 {
            let (stored, proof) = (user.passwords.clone(), login.proof.clone());
            learned.insert(name, Learned { stored, hash, proof });
        } else if matches!(login.proof, Proof::Sha256(_))
            && let Some(known) = learned.get(&name).filter(|it| it.stored == user.passwords)
        {
            login.proof = known.proof.clone();
        }
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
    let account =
        Account { passwords, requires_tls: user.require_tls, cached_sha2: learned.get(name, user) };
    Ok((user.clone(), account))
}
