//! Logins of operators, wherever they log in: one memory of failures for all ports.
//!
//! Who guesses passwords is held back on the web page for what failed on the SQL port, and the other
//! way round. Unknown names cost the same time and work as known ones.

use std::{
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use highgate_core::limits::Attempts;
use highgate_io::{clock, entropy, rsa::KeyPair, tasks};
use highgate_mysql::{
    auth::{Secret, StoredPassword, ed25519},
    client_login::{Account, SlowCheck},
};
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use crate::Users;

/// What a wrong password costs its sender in time, at least.
const PENALTY: Duration = Duration::from_millis(300);
/// Checks of passwords at once that take milliseconds of a processor.
const SLOW_CHECKS: usize = 2;

/// Where to tell operators what they should know, beside the log.
#[derive(Clone)]
pub struct Alarm(Arc<dyn Fn(String) + Send + Sync>);

impl Alarm {
    /// Tells it to that.
    pub fn new(tell: impl Fn(String) + Send + Sync + 'static) -> Self {
        Self(Arc::new(tell))
    }

    fn tell(&self, text: String) {
        (self.0)(text);
    }
}

impl std::fmt::Debug for Alarm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Alarm(..)")
    }
}

/// Who may log in, and what failed lately; shared by the ports.
#[derive(Debug, Clone)]
pub struct Logins(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    users: Users,
    alarm: Alarm,
    attempts: Mutex<Attempts>,
    /// Held until a check has ended, also where nobody waits for it any more.
    slow_checks: Arc<Semaphore>,
    /// For full exchanges of caching_sha2_password without TLS.
    rsa: Option<Arc<KeyPair>>,
    /// What decoys are made from.
    secret: [u8; 32],
    key: [u8; ed25519::KEY_LEN],
}

impl Logins {
    /// Logins of `users`; `alarm` is told of many failures, `rsa` opens what clients seal.
    #[must_use]
    pub fn new(users: Users, alarm: Alarm, rsa: Option<Arc<KeyPair>>) -> Self {
        let mut secret = [0; 32];
        // Without entropy no login gets anywhere: each needs a challenge.
        let _ = entropy::fill(&mut secret);
        let key = ed25519::public_key(&secret);
        Self(Arc::new(Shared {
            users,
            alarm,
            attempts: Mutex::default(),
            slow_checks: Arc::new(Semaphore::new(SLOW_CHECKS)),
            rsa,
            secret,
            key,
        }))
    }

    pub(crate) fn has_no_users(&self) -> bool {
        self.0.users.is_empty()
    }

    /// The account of that name, or what stands in for it.
    pub(crate) fn account(&self, name: &str) -> Option<Account> {
        let decoy = || self.0.users.decoy(name, &self.0.secret, &self.0.key);
        self.0.users.account(name).or_else(decoy)
    }

    /// The public half of the key, in PEM.
    pub(crate) fn rsa_public_key(&self) -> Option<Vec<u8>> {
        self.0.rsa.as_ref().map(|key| key.public_pem().to_vec())
    }

    /// What a client sealed with the key.
    ///
    /// Cancel safe: yes.
    pub(crate) async fn decrypt(&self, bytes: Vec<u8>) -> Option<Secret> {
        let key = self.0.rsa.clone();
        let plain = self.in_turn(move || key.and_then(|key| key.decrypt(&bytes).ok())).await;
        plain.flatten().map(Secret::new)
    }

    /// Whether the password is right. Off this thread, and few at once.
    ///
    /// Cancel safe: yes.
    pub(crate) async fn check(&self, check: SlowCheck) -> bool {
        self.in_turn(move || check.run()).await.unwrap_or(false)
    }

    /// Cancel safe: yes; but work that began goes on to its end, and keeps its turn.
    async fn in_turn<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let turn = self.0.slow_checks.clone().acquire_owned().await.ok()?;
        let work = move || {
            let done = work();
            drop(turn);
            done
        };
        tasks::blocking(work).await
    }

    /// Whether this is the password of that account. A wrong one is counted, and takes its time.
    ///
    /// Cancel safe: yes.
    pub(crate) async fn verify(
        &self,
        name: &str,
        password: highgate_config::Secret,
        from: Option<IpAddr>,
    ) -> bool {
        // Nothing to resemble, nobody to be found out: any work will do.
        let account = self.account(name).unwrap_or_else(|| Account {
            passwords: vec![StoredPassword::clear("\0")],
            is_decoy: true,
            ..Account::default()
        });
        let is_known = !account.is_decoy;
        let check = SlowCheck::new(Secret::new(password.expose()), account.passwords);
        if self.check(check).await && is_known {
            return true;
        }
        clock::pause(self.failed("the web page", name, from, clock::now())).await;
        false
    }

    /// Counts a failed login, tells operators of many, and says how long its answer is held back.
    pub(crate) fn failed(
        &self,
        door: &str,
        user: &str,
        from: Option<IpAddr>,
        now: Instant,
    ) -> Duration {
        let failed = self.0.attempts.lock().failed(user, from, now);
        if let Some(count) = failed.account.or(failed.address) {
            let user: String = user.chars().take(64).filter(|c| !c.is_control()).collect();
            let from = from.map_or_else(|| "this machine".to_owned(), |from| from.to_string());
            self.0.alarm.tell(format!(
                "{count} logins of operators failed lately, the last at {door} as `{user}` from {from}"
            ));
        }
        failed.delay.max(PENALTY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_failed_at_one_door_holds_back_at_the_other() {
        let logins = Logins::new(Users::fixed(Default::default()), Alarm::new(|_| {}), None);
        let (from, now) = (Some(IpAddr::from([192, 0, 2, 1])), Instant::now());
        assert_eq!(logins.failed("the SQL port", "admin", from, now), PENALTY);
        for _ in 0..20 {
            let _ = logins.failed("the SQL port", "admin", from, now);
        }
        let elsewhere = Some(IpAddr::from([192, 0, 2, 77]));
        assert_eq!(logins.failed("the web page", "admin", elsewhere, now), Duration::from_secs(3));
        assert_eq!(logins.failed("the web page", "other", from, now), Duration::from_secs(3));
        assert_eq!(logins.failed("the web page", "other2", elsewhere, now), PENALTY);
    }
}
