//! The login at a database server, where we are its client.
//!
//! Pure: the shell feeds packets and results, and does what the returned [`ServerAction`] says. A
//! server is trusted with no more than its challenge needs: the password itself goes to it under
//! TLS, over a Unix socket or encrypted by RSA, and in clear only where the settings allow that.
//!
//! ```text
//!  greeting ─(StartTls?)→ login → auth switch ⟲ → more (fast, full, RSA) ⟲ → OK → Done
//! ```
//!
//! With [`Credential::Client`] the answers are not ours: the challenge goes to the client by
//! [`ServerAction::AskClient`], and its answer on to the server.

use crate::auth::{Proof, Secret};
use crate::capability::{Capabilities, StatusFlags};
use crate::error_code::{ER_TOO_MANY_USER_CONNECTIONS, ER_USER_LIMIT_REACHED, REFUSES_ACCOUNT};
use crate::greeting::Greeting;
use crate::packet::Malformed;

mod answer;
mod step;

/// With what we log in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credential {
    /// The client answers: challenges and answers are passed through.
    Client {
        /// Nobody can listen on the client's side.
        is_private: bool,
    },
    /// We answer.
    Own(Proof),
}

/// Whether TLS is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsWish {
    /// Never.
    Disabled,
    /// Where the server offers it.
    Preferred,
    /// Always; a server without it is an error.
    Required,
}

/// What a login is run under; copied at its birth.
#[derive(Debug, Clone)]
pub struct ServerLoginSettings {
    /// The user.
    pub user: String,
    /// With what we log in.
    pub credential: Credential,
    /// The schema, where one is wanted.
    pub schema: Option<String>,
    /// What we want; what the server can't is left out.
    pub capabilities: Capabilities,
    /// The collation's id, at most 255: greater ones are set by SET NAMES later.
    pub collation: u8,
    /// Connection attributes.
    pub attributes: Vec<(String, String)>,
    /// Whether TLS is used.
    pub tls: TlsWish,
    /// Nobody can listen: a Unix socket.
    pub is_private: bool,
    /// mysql_clear_password is answered where nobody can listen.
    pub allows_clear: bool,
    /// zstd level, where zstd is wanted.
    pub zstd_level: Option<u8>,
    /// Our own RSA key, in PEM: for clients that seal a password which goes on by TLS.
    pub own_rsa_key: Option<Vec<u8>>,
}

/// What the shell has to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerAction {
    /// Have the client answer this challenge of `plugin` by an auth switch, then call
    /// [`ServerLogin::client_answer`].
    AskClient {
        /// The plugin.
        plugin: String,
        /// The challenge.
        challenge: Vec<u8>,
    },
    /// Pass this payload on to the client, and its answer to [`ServerLogin::client_answer`].
    AskClientMore(Vec<u8>),
    /// The server let us in.
    Done(Box<Opened>),
    /// The login failed; close the connection.
    Failed(ServerLoginError),
    /// Decrypt by our own RSA key (OAEP, SHA-1), then call [`ServerLogin::decrypted`].
    RsaDecrypt {
        /// What the client sent.
        bytes: Vec<u8>,
    },
    /// Encrypt by RSA (OAEP, SHA-1) with this key, then call [`ServerLogin::encrypted`].
    RsaEncrypt {
        /// The server's key, in PEM.
        public_key_pem: Vec<u8>,
        /// The masked password.
        bytes: Secret,
    },
    /// Send these packets, then feed the server's next one.
    Send(Vec<u8>),
    /// Send these packets, start TLS as the client, then call [`ServerLogin::tls_started`].
    StartTls(Vec<u8>),
    /// Pass this payload on to the client; it has no answer. Then feed the server's next.
    TellClientMore(Vec<u8>),
    /// Feed the server's next packet.
    Wait,
}

/// A connection that is logged in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// What the server greeted with.
    pub greeting: Greeting,
    /// What both sides can.
    pub capabilities: Capabilities,
    /// The plugin that the server accepted.
    pub plugin: String,
    /// Status flags of the final OK.
    pub status: StatusFlags,
    /// Warnings of the final OK.
    pub warnings: u16,
    /// Session state changes of the final OK, see [`crate::reply::StateChanges`].
    pub session_track: Vec<u8>,
    /// Whether TLS is on.
    pub is_tls: bool,
}

/// Why a login at a server failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ServerLoginError {
    /// The plugin wants the password itself, where it could be overheard.
    #[error("plugin `{plugin}` wants the password in clear; use TLS to the server")]
    ClearRefused {
        /// The plugin.
        plugin: String,
    },
    /// What the server sent is not a login's packet.
    #[error("server: {0}")]
    Malformed(#[from] Malformed),
    /// The credential that we have can't answer this plugin.
    #[error(
        "the stored form of the password can't answer plugin `{plugin}`; store it in clear, or log in with the plugin that it fits"
    )]
    ProofMissing {
        /// The plugin.
        plugin: String,
    },
    /// The server said no.
    #[error("server refused the login: {code} {message}")]
    Refused {
        /// Its error code.
        code: u16,
        /// Its SQLSTATE.
        sqlstate: Option<[u8; 5]>,
        /// Its message.
        message: String,
    },
    /// A packet is out of order.
    #[error("server: packet has sequence id {found}, expected {expected}")]
    Sequence {
        /// The next sequence id.
        expected: u8,
        /// The one that came.
        found: u8,
    },
    /// TLS is required and not offered.
    #[error("TLS is required, and the server offers none")]
    TlsNotOffered,
    /// A result was given that was not asked for.
    #[error("login: a step was taken out of order")]
    Unexpected,
    /// The client would tell its password in a form that the other side does not take.
    #[error(
        "plugin `{plugin}` wants the password, and only one of the connections (client's, server's) is encrypted; use TLS on both or on neither"
    )]
    UnequallyPrivate {
        /// The plugin.
        plugin: String,
    },
    /// The server wants a plugin that is not known here.
    #[error("server wants the unknown plugin `{plugin}`")]
    UnknownPlugin {
        /// The plugin.
        plugin: String,
    },
}

impl ServerLoginError {
    /// Whether it is about the account or what we know of its password, not about the server: to ask again
    /// would not help, another password may.
    #[must_use]
    pub fn is_about_account(&self) -> bool {
        match self {
            Self::ClearRefused { .. }
            | Self::ProofMissing { .. }
            | Self::UnequallyPrivate { .. }
            | Self::UnknownPlugin { .. } => true,
            Self::Refused { code, .. } => {
                REFUSES_ACCOUNT.iter().any(|refusal| refusal.code == *code)
            }
            _ => false,
        }
    }

    /// Whether a limit is reached that the account has at the server.
    #[must_use]
    pub fn is_about_limit(&self) -> bool {
        let limits = [ER_TOO_MANY_USER_CONNECTIONS.code, ER_USER_LIMIT_REACHED.code];
        matches!(self, Self::Refused { code, .. } if limits.contains(code))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Expects the greeting.
    Fresh,
    /// TLS is being started.
    StartingTls,
    /// The client is asked, before we log in.
    AskingFirst,
    /// The client is asked, in the dialogue.
    Asking,
    /// The client is asked for the password, which goes on sealed by the server's key.
    AskingPassword,
    /// The client is asked for the password sealed by our key, which goes on by TLS.
    AskingSealed,
    /// Expects OK, ERR, an auth switch or more data.
    Authenticating,
    /// Expects the RSA key.
    WaitingForKey,
    /// RSA is at work on the client's password.
    Decrypting,
    /// RSA is at work.
    Encrypting,
    /// Nothing more is expected.
    Ended,
}

/// The login at one server.
#[derive(Debug)]
pub struct ServerLogin {
    settings: ServerLoginSettings,
    state: State,
    greeting: Option<Greeting>,
    capabilities: Capabilities,
    plugin: String,
    challenge: Vec<u8>,
    /// The password that the client told.
    told: Option<Secret>,
    /// A plugin that wanted what we do not know, and whose account may have another one.
    unanswered: Option<&'static str>,
    is_tls: bool,
    /// The sequence id of the next packet, whoever sends it.
    seq: u8,
}

impl ServerLogin {
    /// A login under `settings`; the shell connects and feeds the server's first packet.
    #[must_use]
    pub fn new(settings: ServerLoginSettings) -> Self {
        Self {
            settings,
            state: State::Fresh,
            greeting: None,
            capabilities: Capabilities::empty(),
            plugin: String::new(),
            challenge: Vec::new(),
            told: None,
            unanswered: None,
            is_tls: false,
            seq: 0,
        }
    }

    /// What the server greeted with, once it has.
    #[must_use]
    pub const fn greeting(&self) -> Option<&Greeting> {
        self.greeting.as_ref()
    }

    const fn is_private(&self) -> bool {
        self.is_tls || self.settings.is_private
    }
}

#[cfg(test)]
mod tests;
