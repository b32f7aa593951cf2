//! What a login leads to, as one table: stored form × client's plugin × server's plugin.
//!
//! [`learned`] says what verifying leaves in our hands, [`opens`] which servers that opens. The
//! tests walk all of it with the login machines themselves, and the manual prints it.

/// How a password is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stored {
    /// As it is.
    Clear,
    /// The public key of client_ed25519.
    Ed25519,
    /// SHA1(SHA1(password)).
    Native,
    /// The `$A$` form.
    Sha2,
}

/// With what a client answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Client {
    /// mysql_clear_password, under TLS or over a Unix socket.
    Clear,
    /// client_ed25519.
    Ed25519,
    /// mysql_native_password.
    Native,
    /// caching_sha2_password: the fast path first, the full exchange where that is not enough.
    Sha2,
}

/// What a server wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Server {
    /// client_ed25519.
    Ed25519,
    /// mysql_native_password.
    Native,
    /// caching_sha2_password.
    Sha2,
}

/// What verifying leaves in our hands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Learned {
    /// The answer is right; nothing can be done with it anywhere else.
    Nothing,
    /// The password.
    Password,
    /// SHA1(password).
    Sha1,
}

/// All stored forms.
pub const STORED: [Stored; 4] = [Stored::Clear, Stored::Native, Stored::Sha2, Stored::Ed25519];
/// All ways to answer.
pub const CLIENTS: [Client; 4] = [Client::Native, Client::Sha2, Client::Ed25519, Client::Clear];
/// All that servers want.
pub const SERVERS: [Server; 3] = [Server::Native, Server::Sha2, Server::Ed25519];

/// What verifying an answer by a stored form leaves in our hands; `None` where it can't be verified.
#[must_use]
pub const fn learned(stored: Stored, client: Client) -> Option<Learned> {
    match (stored, client) {
        (Stored::Clear, _) | (_, Client::Clear) => Some(Learned::Password),
        (Stored::Native, Client::Native) => Some(Learned::Sha1),
        // By the full exchange; later logins take the fast path on what that taught.
        (Stored::Sha2 | Stored::Ed25519, Client::Sha2) => Some(Learned::Password),
        // Where another credential opens the servers; else the full exchange is asked for.
        (Stored::Ed25519, Client::Ed25519) => Some(Learned::Nothing),
        (Stored::Native, Client::Sha2 | Client::Ed25519)
        | (Stored::Sha2, Client::Native | Client::Ed25519)
        | (Stored::Ed25519, Client::Native) => None,
    }
}

/// Whether a server that wants that plugin is opened by it.
#[must_use]
pub const fn opens(learned: Learned, server: Server) -> bool {
    match (learned, server) {
        (Learned::Password, _) | (Learned::Sha1, Server::Native) => true,
        (Learned::Sha1, Server::Sha2 | Server::Ed25519) | (Learned::Nothing, _) => false,
    }
}

/// The table for the manual, as Markdown.
#[must_use]
pub fn page() -> String {
    let mut page = String::from(
        "| stored as | client answers with | verified | opens native | opens caching_sha2 | opens ed25519 |\n\
         |---|---|---|---|---|---|\n",
    );
    for stored in STORED {
        for client in CLIENTS {
            let found = learned(stored, client);
            let verified = match found {
                None => "no",
                Some(Learned::Nothing) => "yes, where `server_password` is given",
                Some(Learned::Password | Learned::Sha1) => "yes",
            };
            let open = |server| match found {
                Some(learned) if opens(learned, server) => "yes",
                _ => "no",
            };
            let [native, sha2, ed25519] = SERVERS.map(open);
            page.push_str(&format!(
                "| {} | {} | {verified} | {native} | {sha2} | {ed25519} |\n",
                stored.name(),
                client.name()
            ));
        }
    }
    page
}

impl Stored {
    const fn name(self) -> &'static str {
        match self {
            Self::Clear => "clear text",
            Self::Ed25519 => "`ed25519:` key",
            Self::Native => "`*` hash",
            Self::Sha2 => "`$A$` form",
        }
    }
}

impl Client {
    const fn name(self) -> &'static str {
        match self {
            Self::Clear => "mysql_clear_password (TLS)",
            Self::Ed25519 => "client_ed25519",
            Self::Native => "mysql_native_password",
            Self::Sha2 => "caching_sha2_password",
        }
    }
}

#[cfg(test)]
mod tests;
