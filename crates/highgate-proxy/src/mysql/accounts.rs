//! Accounts that clients log in to: those of the configuration or of the cluster, with what earlier
//! logins taught, and the decoys that stand for those that do not exist.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{Arc, Weak},
    time::Instant,
};

use highgate_config::{AuthSource, BackendName, Listener, User};
use highgate_core::{
    accounts::{AccountList, CertificateNames, ClusterAccount, Origin, TlsDemand},
    snapshot::Policy,
};
use highgate_io::clock;
use highgate_mysql::{
    auth::{Proof, StoredPassword, ed25519},
    capability::ServerFlavor,
    client_login::{Account, Barred, Decoys, Login, Shape},
};
use parking_lot::Mutex;

use crate::shared::Shared;

/// What full exchanges of caching_sha2_password taught, by account: the fast path of later logins.
///
/// Kept with the stored forms that it was learned against: a changed password forgets it. The
/// password itself is kept too, since a fast answer alone opens no server that wants another plugin.
#[derive(Debug, Default)]
pub(crate) struct LearnedSha2(Mutex<BTreeMap<String, Learned>>);

#[derive(Debug)]
struct Learned {
    stored: Vec<StoredPassword>,
    hash: [u8; 32],
    proof: Proof,
}

impl LearnedSha2 {
    fn get(&self, key: &str, stored: &[StoredPassword]) -> Option<[u8; 32]> {
        let learned = self.0.lock();
        learned.get(key).filter(|learned| learned.stored == stored).map(|it| it.hash)
    }

    /// Remembers what a full exchange taught; where the fast path was taken, puts the password of
    /// the exchange that it stands on in the place of its answer.
    pub(crate) fn complete(&self, found: &Found, login: &mut Login) {
        let mut learned = self.0.lock();
        if let Some(hash) = login.learned_sha2 {
            let (stored, proof) = (found.stored.clone(), login.proof.clone());
            learned.insert(found.key.clone(), Learned { stored, hash, proof });
        } else if matches!(login.proof, Proof::Sha256(_))
            && let Some(known) = learned.get(&found.key).filter(|it| it.stored == found.stored)
        {
            login.proof = known.proof.clone();
        }
    }
}

/// Why an account may not log in; the client is only told "denied".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Denied {
    #[error("the account's plugin ({0}) can't be verified here")]
    Foreign(String),
    #[error("the account is not active")]
    Inactive,
    #[error("the account may not come from that address")]
    Network,
    #[error("the accounts of backend {0} were never read")]
    NeverRead(BackendName),
    #[error("there is no such account")]
    Unknown,
}

/// Who asks to be let in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asking<'a> {
    pub(crate) shared: &'a Shared,
    pub(crate) settings: &'a Listener,
    pub(crate) user: &'a str,
    pub(crate) address: Option<IpAddr>,
    pub(crate) certificate: Option<&'a CertificateNames>,
}

/// An account that may come from where the client does.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) user: Arc<User>,
    /// Whose lesson of caching_sha2_password it is.
    key: String,
    stored: Vec<StoredPassword>,
}

impl Asking<'_> {
    /// The account.
    pub(crate) fn look_up(&self, policy: &Policy) -> Result<(Found, Account), Denied> {
        match self.settings.auth {
            AuthSource::Cluster => self.of_cluster(policy),
            AuthSource::Local | AuthSource::Passthrough => self.of_configuration(policy),
        }
    }

    /// What stands in for an account that can't be had.
    pub(crate) fn decoy(&self, policy: &Arc<Policy>) -> Option<Account> {
        let kept = &self.shared.decoys;
        match self.settings.auth {
            AuthSource::Cluster => {
                let list = self.accounts().ok()?;
                list.decoys().account(self.user, &kept.secret, &kept.key)
            }
            AuthSource::Local | AuthSource::Passthrough => {
                kept.local(policy).account(self.user, &kept.secret, &kept.key)
            }
        }
    }

    /// Waits for the first reading of the accounts that the servers know, where they decide.
    ///
    /// Cancel safe: yes.
    ///
    /// # Errors
    /// They were not read by `deadline`, whoever it is that asks.
    pub(crate) async fn until_read(&self, deadline: Instant) -> Result<(), Denied> {
        if self.settings.auth != AuthSource::Cluster {
            return Ok(());
        }
        loop {
            let news = self.shared.accounts_read.notified();
            let Err(unread) = self.accounts() else { return Ok(()) };
            clock::before(deadline, news).await.ok_or(unread)?;
        }
    }

    fn accounts(&self) -> Result<Arc<AccountList>, Denied> {
        let backend = &self.settings.backend;
        let read = self.shared.accounts.lock().get(backend).cloned();
        read.ok_or_else(|| Denied::NeverRead(backend.clone()))
    }

    fn of_configuration(&self, policy: &Policy) -> Result<(Found, Account), Denied> {
        let user = policy.users.get(self.user).ok_or(Denied::Unknown)?;
        self.permits(user)?;
        let stored = stored(user);
        let account = Account {
            requires_tls: user.require_tls,
            cached_sha2: self.shared.learned_sha2.get(self.user, &stored),
            wants_password: wants_password(user, &stored),
            passwords: stored.clone(),
            ..Account::default()
        };
        Ok((Found { user: user.clone(), key: self.user.to_owned(), stored }, account))
    }

    fn of_cluster(&self, policy: &Policy) -> Result<(Found, Account), Denied> {
        let list = self.accounts()?;
        let origin = self.address.map_or(Origin::Local, Origin::Address);
        let Some(found) = list.find(self.user, origin) else {
            return Err(if list.knows(self.user) { Denied::Network } else { Denied::Unknown });
        };
        let user = settings_of(policy, self.user);
        self.permits(&user)?;
        if found.passwords.is_empty() {
            return Err(Denied::Foreign(found.foreign.join(", ")));
        }
        let stored = found.passwords.clone();
        // No account of a configuration is called like that.
        let key = format!("{}\0{}", self.settings.backend, found.name());
        let account = Account {
            requires_tls: user.require_tls || found.tls != TlsDemand::Nothing,
            cached_sha2: self.shared.learned_sha2.get(&key, &stored),
            wants_password: user.server_password.is_none() && found.wants_password(),
            barred: self.barred(found, list.flavor()),
            passwords: stored.clone(),
            is_decoy: false,
        };
        Ok((Found { user, key, stored }, account))
    }

    fn barred(&self, account: &ClusterAccount, flavor: ServerFlavor) -> Option<Barred> {
        let now = clock::wall_ms() / 1000;
        if !account.tls.is_met_by(self.certificate) {
            Some(Barred::Denied)
        } else if account.is_locked {
            Some(Barred::Locked(flavor))
        } else {
            account.is_expired(now).then_some(Barred::PasswordExpired)
        }
    }

    /// Whether the account's settings let it in from there.
    pub(crate) fn permits(&self, user: &User) -> Result<(), Denied> {
        if !user.active {
            return Err(Denied::Inactive);
        }
        let from = self.address.map(|address| address.to_canonical());
        let is_allowed = user.allow.is_empty()
            || from.is_none_or(|ip| user.allow.iter().any(|network| network.contains(&ip)));
        if is_allowed { Ok(()) } else { Err(Denied::Network) }
    }
}

/// Settings of an account that is verified elsewhere: those of the configuration, if it has some.
pub(crate) fn settings_of(policy: &Policy, name: &str) -> Arc<User> {
    let blank = || {
        Arc::new(User {
            passwords: Vec::new(),
            server_user: None,
            server_password: None,
            backend: None,
            default_schema: None,
            max_connections: 0,
            allow: Vec::new(),
            require_tls: false,
            local_infile: false,
            active: true,
        })
    };
    let Some(user) = policy.users.get(name) else { return blank() };
    // Its own password is not the cluster's: nobody is to be let in anywhere by it.
    Arc::new(User { passwords: Vec::new(), ..User::clone(user) })
}

fn stored(user: &User) -> Vec<StoredPassword> {
    // An event told of those that can't be read when the configuration came in force.
    user.passwords.iter().filter_map(|it| StoredPassword::parse(it.expose()).ok()).collect()
}

/// A key verifies and opens nothing; where no other credential is given, the password is needed.
fn wants_password(user: &User, stored: &[StoredPassword]) -> bool {
    user.server_password.is_none()
        && stored.iter().any(|stored| matches!(stored, StoredPassword::Ed25519(_)))
}

/// What decoys are made from.
#[derive(Debug)]
pub(crate) struct DecoyMaker {
    secret: [u8; 32],
    key: [u8; ed25519::KEY_LEN],
    /// The shapes of the configuration's accounts, counted once per policy.
    local: Mutex<(Weak<Policy>, Arc<Decoys>)>,
}

impl Default for DecoyMaker {
    fn default() -> Self {
        let mut secret = [0; 32];
        // Without entropy no login gets this far: each needs a challenge.
        let _ = highgate_io::entropy::fill(&mut secret);
        Self { secret, key: ed25519::public_key(&secret), local: Mutex::default() }
    }
}

impl DecoyMaker {
    fn local(&self, policy: &Arc<Policy>) -> Arc<Decoys> {
        let mut kept = self.local.lock();
        if !std::ptr::eq(kept.0.as_ptr(), Arc::as_ptr(policy)) {
            let shape = |user: &Arc<User>| {
                let stored = stored(user);
                Shape::of(&stored, wants_password(user, &stored))
            };
            let counted: Decoys = policy.users.values().map(shape).collect();
            *kept = (Arc::downgrade(policy), Arc::new(counted));
        }
        kept.1.clone()
    }
}
