//! The login of a client, where we are the server.
//!
//! Pure: the shell feeds packets and results, and does what the returned [`ClientAction`] says.
//! Unknown users go through the same steps and the same work as known ones, against a decoy, and
//! end in the same refusal.
//!
//! ```text
//!  greeting → login ─(TLS?)→ LookUp → account ──fits──────────────→ verified → Done
//!                              │         │ other plugin: auth switch ↑   │
//!                              │         │ $A$, not cached: full ────┘   └ wrong → Refused
//!                              └ pass_through → Relay: a server asks, we pass on
//! ```
//!
//! Exits: `Done` and `Refused`. In both the shell sends what is last (OK or ERR), counts and, for
//! `Refused`, closes.

use crate::auth::{Proof, Secret, StoredPassword, ed25519};
use crate::capability::{Capabilities, ServerFlavor, StatusFlags};
use crate::error_code::Answer;
use crate::greeting::{Greeting, NONCE_LEN};
use crate::login::LoginRequest;
use crate::packet::PacketWriter;

mod decoy;
mod plugins;
mod refusal;
mod relay;
mod step;
mod verify;

pub use decoy::{Decoys, Shape};
pub use relay::{NotPassed, Relay};
pub use verify::SlowCheck;

/// A challenge, of which the first 20 bytes go into the greeting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Nonce([u8; ed25519::NONCE_LEN]);

impl Nonce {
    /// Maps random bytes to bytes that no client cuts: printable, neither NUL nor `$`.
    #[must_use]
    pub fn from_random(random: [u8; ed25519::NONCE_LEN]) -> Self {
        Self(random.map(|byte| (byte % 90).saturating_add(37)))
    }

    /// All 32 bytes, the challenge of client_ed25519.
    #[must_use]
    pub const fn long(&self) -> &[u8; ed25519::NONCE_LEN] {
        &self.0
    }

    /// The 20 bytes of the greeting.
    #[must_use]
    pub fn short(&self) -> [u8; NONCE_LEN] {
        let mut short = [0; NONCE_LEN];
        for (to, from) in short.iter_mut().zip(&self.0) {
            *to = *from;
        }
        short
    }
}

/// What a login is run under; copied at its birth.
#[derive(Debug, Clone)]
pub struct ClientLoginSettings {
    /// The version that we greet with.
    pub version: String,
    /// The session's id.
    pub connection_id: u32,
    /// Where the client comes from, as a refusal names it.
    pub client_host: String,
    /// The challenge.
    pub nonce: Nonce,
    /// What we offer; SSL in it offers TLS.
    pub capabilities: Capabilities,
    /// The collation that we greet with.
    pub collation: u8,
    /// The status that we greet with.
    pub status: StatusFlags,
    /// The plugin of the greeting: native or caching_sha2.
    pub plugin: &'static str,
    /// Nobody can listen: a Unix socket, or TLS from the first byte on.
    pub is_private: bool,
    /// Clients without TLS are refused.
    pub requires_tls: bool,
    /// The RSA key for full caching_sha2 exchanges without TLS, in PEM.
    pub rsa_public_key: Option<Vec<u8>>,
}

/// An account, as the shell found it.
#[derive(Debug, Clone, Default)]
pub struct Account {
    /// Valid passwords, the current one first; two while one is rotated.
    pub passwords: Vec<StoredPassword>,
    /// The account may log in over TLS only.
    pub requires_tls: bool,
    /// SHA256(SHA256(password)) from an earlier full exchange against the same stored form.
    pub cached_sha2: Option<[u8; 32]>,
    /// Servers can be opened with the password only: where the stored form could be verified
    /// without it (client_ed25519), it is asked for all the same, if nobody can listen.
    pub wants_password: bool,
    /// Why the account may not log in, told to nobody who does not have its password.
    pub barred: Option<Barred>,
    /// It stands for one that does not exist: whatever is answered is wrong.
    pub is_decoy: bool,
}

/// Why an account may not log in although the password is right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Barred {
    /// What it demands of the connection is not met; said as a wrong password is.
    Denied,
    /// It is locked; such a server's words say so.
    Locked(ServerFlavor),
    /// Its password has expired.
    PasswordExpired,
}

/// What the shell has to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientAction {
    /// The client is who it says; the shell ends the dialogue with OK or ERR.
    Done(Box<Login>),
    /// Look up the account, then call [`ClientLogin::account`].
    LookUp {
        /// The user.
        user: String,
        /// The schema that is asked for.
        schema: Option<String>,
        /// The plugin that the client answered with.
        plugin: String,
    },
    /// Send the answer as an ERR packet with sequence id `seq`, and close.
    Refused {
        /// What the client is told.
        answer: Answer,
        /// The ERR packet's sequence id.
        seq: u8,
    },
    /// Decrypt by RSA (OAEP, SHA-1), then call [`ClientLogin::decrypted`].
    RsaDecrypt {
        /// What the client sent.
        bytes: Vec<u8>,
    },
    /// Send these packets, then feed the client's next one.
    Send(Vec<u8>),
    /// Start TLS as the server, then call [`ClientLogin::tls_started`].
    StartTls,
    /// Run the check where it may take milliseconds, then call [`ClientLogin::checked`].
    Verify(SlowCheck),
}

/// A finished login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// The user.
    pub user: String,
    /// The schema that is asked for.
    pub schema: Option<String>,
    /// What both sides can.
    pub capabilities: Capabilities,
    /// The collation's id.
    pub collation: u16,
    /// Connection attributes.
    pub attributes: Vec<(String, String)>,
    /// The plugin that verified.
    pub plugin: &'static str,
    /// With which servers can be logged in to.
    pub proof: Proof,
    /// SHA256(SHA256(password)) learned by a full exchange, for [`Account::cached_sha2`].
    pub learned_sha2: Option<[u8; 32]>,
    /// zstd level, where negotiated.
    pub zstd_level: Option<u8>,
    /// Packets to send before the OK: the word that the fast answer was right.
    pub before_ok: Vec<u8>,
    /// The sequence id of the OK.
    pub seq: u8,
    /// Whether TLS is on.
    pub is_tls: bool,
}

#[derive(Debug)]
enum State {
    /// Expects the client's first packet.
    Greeted,
    /// TLS was asked for.
    StartingTls,
    /// The account is being looked up.
    LookingUp,
    /// Expects the answer of this plugin.
    Switched { plugin: &'static str },
    /// Expects the password or a request for the RSA key.
    Full,
    /// Expects the password, encrypted.
    FullRsa,
    /// RSA is at work.
    Decrypting,
    /// A slow check is at work on this password.
    Checking { password: Secret },
    /// Nothing more is expected.
    Ended,
}

/// The login of one client.
#[derive(Debug)]
pub struct ClientLogin {
    settings: ClientLoginSettings,
    state: State,
    login: Option<Box<LoginRequest>>,
    collation: u16,
    account: Account,
    /// Plugins whose answer was wrong.
    tried: Vec<&'static str>,
    is_known: bool,
    is_tls: bool,
    is_change_user: bool,
    /// The client answered with something, as a refusal says.
    gave_password: bool,
    /// The sequence id of our next packet.
    seq: u8,
}

impl ClientLogin {
    /// A login under `settings`; the shell sends [`ClientLogin::greeting`] first.
    #[must_use]
    pub fn new(settings: ClientLoginSettings) -> Self {
        Self {
            settings,
            state: State::Greeted,
            login: None,
            collation: 0,
            account: Account::default(),
            tried: Vec::new(),
            is_known: false,
            is_tls: false,
            is_change_user: false,
            gave_password: false,
            seq: 0,
        }
    }

    /// Appends the greeting's packet to `out`.
    pub fn greeting(&mut self, out: &mut Vec<u8>) {
        let mut capabilities = self.settings.capabilities;
        if self.settings.capabilities.extended() != 0 {
            capabilities.remove(Capabilities::LONG_PASSWORD);
        }
        let greeting = Greeting {
            version: self.settings.version.clone(),
            connection_id: self.settings.connection_id,
            nonce: self.settings.nonce.short(),
            capabilities: capabilities | must_have(),
            collation: self.settings.collation,
            status: self.settings.status,
            plugin: self.settings.plugin.to_owned(),
        };
        let mut writer = PacketWriter::new(out, 0);
        writer.packet(|body| greeting.encode(body));
        self.seq = 1;
    }

    /// What the client's next packet is to have as its sequence id, and our own after it.
    #[must_use]
    pub const fn next_seq(&self) -> u8 {
        self.seq
    }

    /// Whether the connection is TLS by now, or private by nature.
    #[must_use]
    pub const fn is_private(&self) -> bool {
        self.is_tls || self.settings.is_private
    }
}

/// Without these no login by plugins is possible.
fn must_have() -> Capabilities {
    Capabilities::PROTOCOL_41 | Capabilities::SECURE_CONNECTION | Capabilities::PLUGIN_AUTH
}

#[cfg(test)]
mod cost;
#[cfg(test)]
mod tests;
