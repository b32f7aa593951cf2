//! Which plugin an account is verified by, and the switch to it.

use super::{Account, ClientAction, ClientLogin, State};
use crate::{
    auth::{CACHING_SHA2, CLEAR, ED25519, NATIVE, StoredPassword, sha2},
    capability::Capabilities,
    login::AuthSwitch,
    packet::PacketWriter,
};

impl ClientLogin {
    /// What an unknown user is verified against: a form of the kind that the greeting's plugin
    /// verifies, which no password fits.
    pub(super) fn decoy(&self) -> Account {
        let short = self.settings.nonce.short();
        let decoy = if self.settings.plugin == CACHING_SHA2 {
            StoredPassword::Sha2 { rounds: 5000, salt: short, hash: [b'.'; sha2::HASH_LEN] }
        } else {
            StoredPassword::Native(short)
        };
        Account { passwords: vec![decoy], ..Account::default() }
    }

    pub(super) fn fits(&self, plugin: &str) -> bool {
        (plugin != CLEAR || self.is_private())
            && self.account.passwords.iter().any(|stored| self.is_verified_by(stored, plugin))
    }

    /// Whether an answer of `plugin` verifies that form here.
    pub(super) fn is_verified_by(&self, stored: &StoredPassword, plugin: &str) -> bool {
        match stored {
            StoredPassword::Ed25519(_) if self.asks_password() => {
                matches!(plugin, CACHING_SHA2 | CLEAR)
            }
            _ => stored.fits(plugin),
        }
    }

    /// Whether forms that need no password to verify are verified by it all the same.
    pub(super) fn asks_password(&self) -> bool {
        self.account.wants_password && (self.is_private() || self.settings.rsa_public_key.is_some())
    }

    /// Whether a full exchange of caching_sha2_password is what verifies that form.
    pub(super) fn is_for_full(&self, stored: &StoredPassword) -> bool {
        match stored {
            StoredPassword::Sha2 { .. } => true,
            StoredPassword::Ed25519(_) => self.asks_password(),
            StoredPassword::Clear(_) | StoredPassword::Native(_) => false,
        }
    }

    /// The plugin that a form is switched to.
    pub(super) fn best_plugin(&self, stored: &StoredPassword) -> &'static str {
        if self.is_for_full(stored) {
            return CACHING_SHA2;
        }
        stored.plugin().unwrap_or(self.settings.plugin)
    }

    pub(super) fn switch(&mut self) -> ClientAction {
        let best = self.account.passwords.first().map(|stored| self.best_plugin(stored));
        self.switch_to(best.unwrap_or(self.settings.plugin))
    }

    /// An answer was wrong: another of the account's forms may want another plugin.
    pub(super) fn next_or_deny(&mut self, plugin: &'static str) -> ClientAction {
        self.tried.push(plugin);
        let has_plugins = (self.login.as_ref())
            .is_some_and(|login| login.capabilities.contains(Capabilities::PLUGIN_AUTH));
        let untried = |stored: &StoredPassword| {
            let is_new = !self.tried.iter().any(|tried| self.is_verified_by(stored, tried));
            is_new.then(|| self.best_plugin(stored))
        };
        match self.account.passwords.iter().find_map(untried).filter(|_| has_plugins) {
            Some(next) => self.switch_to(next),
            None => self.refuse(self.denied()),
        }
    }

    pub(super) fn switch_to(&mut self, plugin: &'static str) -> ClientAction {
        self.state = State::Switched { plugin };
        let short = self.settings.nonce.short();
        let challenge: &[u8] = if plugin == ED25519 { self.settings.nonce.long() } else { &short };
        let mut out = Vec::new();
        let mut writer = PacketWriter::new(&mut out, self.seq);
        writer.packet(|body| AuthSwitch { plugin, challenge }.encode(body));
        self.seq = writer.next_seq();
        ClientAction::Send(out)
    }
}

/// The plugin of that name, if it is one of ours.
pub(super) fn known_plugin(name: &str) -> Option<&'static str> {
    [NATIVE, CACHING_SHA2, ED25519, CLEAR].into_iter().find(|known| *known == name)
}
