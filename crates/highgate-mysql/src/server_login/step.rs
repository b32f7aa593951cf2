//! The steps: a packet or a result in, one action out.

use super::{Credential, Opened, ServerAction, ServerLogin, ServerLoginError, State, TlsWish};
use crate::auth::{CACHING_SHA2, CLEAR, ED25519, NATIVE, Secret, ed25519, sha2};
use crate::capability::{Capabilities, ServerFlavor};
use crate::greeting::Greeting;
use crate::login::{AuthSwitch, LoginRequest, encode_auth_more, parse_auth_more};
use crate::packet::{Malformed, PacketWriter};
use crate::reply::{ErrPacket, OkPacket};

/// Plugins whose clients send the password as it is.
const TELLS_PASSWORD: [&str; 2] = [CLEAR, "dialog"];

/// No plugin's name: whoever reads it has to name the account's.
const NO_PLUGIN: &str = "none";

/// The longest packet that we say we take.
const MAX_PACKET: u32 = 1 << 30;

type Step = Result<ServerAction, ServerLoginError>;

impl ServerLogin {
    /// Takes the server's next packet.
    pub fn packet(&mut self, seq: u8, payload: &[u8]) -> ServerAction {
        let step = self.take(seq, payload);
        self.settle(step)
    }

    /// TLS is on.
    pub fn tls_started(&mut self) -> ServerAction {
        let step = if self.state == State::StartingTls {
            self.is_tls = true;
            self.log_in()
        } else {
            Err(ServerLoginError::Unexpected)
        };
        self.settle(step)
    }

    /// What RSA made of the masked password.
    pub fn encrypted(&mut self, bytes: &[u8]) -> ServerAction {
        let step = if self.state == State::Encrypting {
            self.state = State::Authenticating;
            Ok(self.send(bytes))
        } else {
            Err(ServerLoginError::Unexpected)
        };
        self.settle(step)
    }

    /// What the client answered.
    pub fn client_answer(&mut self, answer: &[u8]) -> ServerAction {
        let step = match self.state {
            State::AskingFirst => {
                self.state = State::Authenticating;
                Ok(self.send_login(Secret::new(answer)))
            }
            State::Asking => {
                self.state = State::Authenticating;
                Ok(self.send(answer))
            }
            State::AskingPassword => {
                self.told = Some(Secret::new(answer));
                self.state = State::WaitingForKey;
                Ok(self.send(&[sha2::ASK_KEY]))
            }
            State::AskingSealed => self.sealed(answer),
            _ => Err(ServerLoginError::Unexpected),
        };
        self.settle(step)
    }

    /// What our own key made of the client's sealed password; `None` where it was not for that key.
    pub fn decrypted(&mut self, masked: Option<&Secret>) -> ServerAction {
        let step = match masked {
            _ if self.state != State::Decrypting => Err(ServerLoginError::Unexpected),
            None => Err(self.unequal()),
            Some(masked) => {
                self.state = State::Authenticating;
                Ok(self.send(sha2::xor_nonce(masked.expose(), &self.challenge).expose()))
            }
        };
        self.settle(step)
    }

    fn settle(&mut self, step: Step) -> ServerAction {
        step.unwrap_or_else(|error| {
            self.state = State::Ended;
            ServerAction::Failed(error)
        })
    }

    fn take(&mut self, seq: u8, payload: &[u8]) -> Step {
        // Too many connections: some servers say so before they greet, with any sequence id.
        if payload.first() == Some(&0xff) && self.state != State::Ended {
            let refused = refused(payload)?;
            return Err(match self.unanswered {
                Some(plugin) if refused.is_about_account() => {
                    ServerLoginError::ProofMissing { plugin: plugin.to_owned() }
                }
                _ => refused,
            });
        }
        if seq != self.seq {
            return Err(ServerLoginError::Sequence { expected: self.seq, found: seq });
        }
        self.seq = seq.wrapping_add(1);
        match (self.state, payload.first()) {
            (State::Fresh, _) => self.greeted(Greeting::parse(payload)?),
            (State::Authenticating, Some(0)) => self.opened(payload),
            (State::Authenticating, Some(0xfe)) => self.switched(AuthSwitch::parse(payload)?),
            (State::Authenticating, Some(1)) => self.more(payload),
            // What other plugins say (`dialog`) is not for us to understand.
            (State::Authenticating, Some(_)) if self.is_clients() => {
                self.state = State::Asking;
                Ok(ServerAction::AskClientMore(payload.to_vec()))
            }
            (State::WaitingForKey, Some(1)) => self.key(payload),
            (State::Authenticating | State::WaitingForKey, _) => {
                Err(Malformed::new("OK, ERR or a step of authentication").into())
            }
            _ => Err(ServerLoginError::Unexpected),
        }
    }

    fn greeted(&mut self, greeting: Greeting) -> Step {
        let offers_tls = greeting.capabilities.contains(Capabilities::SSL);
        let uses_tls = match self.settings.tls {
            TlsWish::Disabled => false,
            TlsWish::Preferred => offers_tls,
            TlsWish::Required if !offers_tls => return Err(ServerLoginError::TlsNotOffered),
            TlsWish::Required => true,
        };
        self.capabilities = self.choose(&greeting, uses_tls);
        self.plugin.clone_from(&greeting.plugin);
        self.challenge = greeting.nonce.to_vec();
        self.greeting = Some(greeting);
        if !uses_tls {
            return self.log_in();
        }
        self.state = State::StartingTls;
        let request = self.request(Secret::default());
        let mut out = Vec::new();
        let mut writer = PacketWriter::new(&mut out, self.seq);
        writer.packet(|body| request.encode_ssl_request(body));
        self.seq = writer.next_seq();
        Ok(ServerAction::StartTls(out))
    }

    /// What both sides can, and what every login by plugins needs.
    fn choose(&self, greeting: &Greeting, uses_tls: bool) -> Capabilities {
        let needed = Capabilities::PROTOCOL_41
            | Capabilities::SECURE_CONNECTION
            | Capabilities::PLUGIN_AUTH
            | Capabilities::PLUGIN_AUTH_LENENC;
        let mut chosen = (self.settings.capabilities | needed) & greeting.capabilities;
        chosen.insert(Capabilities::PROTOCOL_41);
        // MariaDB reads our extended bits only where this one is as clear as in its greeting.
        let is_extended = !greeting.capabilities.contains(Capabilities::LONG_PASSWORD);
        chosen.set(Capabilities::LONG_PASSWORD, !is_extended);
        chosen.set(Capabilities::SSL, uses_tls);
        chosen.set(
            Capabilities::CONNECT_WITH_DB,
            self.settings.schema.is_some()
                && greeting.capabilities.contains(Capabilities::CONNECT_WITH_DB),
        );
        chosen
    }

    fn log_in(&mut self) -> Step {
        let Credential::Own(proof) = self.settings.credential.clone() else {
            if !self.names_by_switch() {
                self.state = State::AskingFirst;
                return Ok(self.ask_client());
            }
            // Clients follow one switch, and some no second: the one to the account's own plugin.
            NO_PLUGIN.clone_into(&mut self.plugin);
            self.state = State::Authenticating;
            return Ok(self.send_login(Secret::default()));
        };
        // The greeting's plugin need not be the account's. One that can't be answered is met with
        // an empty answer of the native plugin, so that the server names the account's by a switch.
        let challenge = self.challenge.clone();
        let is_answerable = matches!(self.plugin.as_str(), NATIVE | CACHING_SHA2);
        let answer = match self.own_answer(&proof, &self.plugin, &challenge) {
            Ok(answer) if is_answerable => answer,
            _ => {
                NATIVE.clone_into(&mut self.plugin);
                self.own_answer(&proof, NATIVE, &challenge).unwrap_or_default()
            }
        };
        self.state = State::Authenticating;
        Ok(self.send_login(answer))
    }

    /// Whether the server names the account's plugin to a client that knows another one.
    fn names_by_switch(&self) -> bool {
        self.capabilities.contains(Capabilities::PLUGIN_AUTH)
            && (self.greeting.as_ref().map(Greeting::flavor))
                .is_some_and(|it| matches!(it, ServerFlavor::MariaDb | ServerFlavor::MySql))
    }

    fn send_login(&mut self, answer: Secret) -> ServerAction {
        let request = self.request(answer);
        let mut out = Vec::new();
        let mut writer = PacketWriter::new(&mut out, self.seq);
        writer.packet(|body| request.encode(body));
        self.seq = writer.next_seq();
        ServerAction::Send(out)
    }

    fn request(&self, answer: Secret) -> LoginRequest {
        LoginRequest {
            capabilities: self.capabilities,
            max_packet: MAX_PACKET,
            collation: self.settings.collation,
            user: self.settings.user.clone(),
            answer,
            schema: self.settings.schema.clone(),
            plugin: self.plugin.clone(),
            attributes: self.settings.attributes.clone(),
            zstd_level: self.settings.zstd_level,
        }
    }

    fn send(&mut self, payload: &[u8]) -> ServerAction {
        let mut out = Vec::new();
        let mut writer = PacketWriter::new(&mut out, self.seq);
        writer.payload(payload);
        self.seq = writer.next_seq();
        ServerAction::Send(out)
    }

    const fn is_clients(&self) -> bool {
        matches!(self.settings.credential, Credential::Client { .. })
    }

    fn ask_client(&self) -> ServerAction {
        ServerAction::AskClient { plugin: self.plugin.clone(), challenge: self.challenge.clone() }
    }

    fn switched(&mut self, switch: AuthSwitch<'_>) -> Step {
        switch.plugin.clone_into(&mut self.plugin);
        self.challenge = switch.challenge.to_vec();
        match self.settings.credential.clone() {
            Credential::Client { is_private } => {
                // Whoever listens, or stands in for the server, could have the password so.
                if TELLS_PASSWORD.contains(&switch.plugin) && !(is_private && self.is_private()) {
                    let plugin = switch.plugin.to_owned();
                    return Err(ServerLoginError::ClearRefused { plugin });
                }
                // Its clients look at their own connection, too.
                if switch.plugin == "sha256_password" && is_private != self.is_private() {
                    return Err(self.unequal());
                }
                self.state = State::Asking;
                Ok(self.ask_client())
            }
            Credential::Own(proof) => {
                let answer = match self.own_answer(&proof, switch.plugin, switch.challenge) {
                    // Quirk: MariaDB's accounts may have several plugins (`VIA ed25519 OR …`), and it asks for
                    // the next one behind a wrong answer.
                    Err(ServerLoginError::ProofMissing { .. }) if switch.plugin == ED25519 => {
                        self.unanswered = Some(ED25519);
                        Secret::new([0; ed25519::ANSWER_LEN])
                    }
                    answer => answer?,
                };
                let payload = match switch.plugin {
                    // An empty password has a signature, too.
                    ED25519 if answer.expose().is_empty() => {
                        Secret::new(ed25519::answer(b"", switch.challenge))
                    }
                    CACHING_SHA2 if answer.expose().is_empty() => Secret::new([0]),
                    _ => answer,
                };
                Ok(self.send(payload.expose()))
            }
        }
    }

    fn more(&mut self, payload: &[u8]) -> Step {
        let data = parse_auth_more(payload).unwrap_or_default();
        match self.settings.credential.clone() {
            Credential::Client { .. } if self.plugin == CACHING_SHA2 && data == [sha2::FAST_OK] => {
                Ok(ServerAction::TellClientMore(payload.to_vec()))
            }
            // Where it is private the client sends the password, else it asks for a key.
            Credential::Client { is_private: true }
                if self.plugin == CACHING_SHA2 && !self.is_private() =>
            {
                self.state = State::AskingPassword;
                Ok(ServerAction::AskClientMore(payload.to_vec()))
            }
            // The server takes the password itself, which the client does not tell in the open.
            Credential::Client { is_private: false }
                if self.plugin == CACHING_SHA2 && self.is_private() =>
            {
                if self.settings.own_rsa_key.is_none() {
                    return Err(self.unequal());
                }
                self.state = State::AskingSealed;
                Ok(ServerAction::AskClientMore(payload.to_vec()))
            }
            Credential::Client { .. } => {
                self.state = State::Asking;
                Ok(ServerAction::AskClientMore(payload.to_vec()))
            }
            Credential::Own(_) if self.plugin != CACHING_SHA2 => {
                Err(Malformed::new("more data of caching_sha2_password").into())
            }
            Credential::Own(proof) => match data {
                [sha2::FAST_OK] => Ok(ServerAction::Wait),
                [sha2::FULL_NEEDED] => {
                    let password = self.own_password(&proof)?;
                    if self.is_private() {
                        return Ok(self.send(password.expose()));
                    }
                    self.state = State::WaitingForKey;
                    Ok(self.send(&[sha2::ASK_KEY]))
                }
                _ => Err(Malformed::new("a step of caching_sha2_password").into()),
            },
        }
    }

    /// The client asks for a key, and then seals by it; or it knows ours from an earlier login.
    fn sealed(&mut self, answer: &[u8]) -> Step {
        match self.settings.own_rsa_key.as_deref() {
            Some(key) if answer == [sha2::ASK_KEY] => {
                let mut more = Vec::new();
                encode_auth_more(&mut more, key);
                Ok(ServerAction::AskClientMore(more))
            }
            Some(_) if answer.len() > 1 => {
                self.state = State::Decrypting;
                Ok(ServerAction::RsaDecrypt { bytes: answer.to_vec() })
            }
            _ => Err(self.unequal()),
        }
    }

    fn unequal(&self) -> ServerLoginError {
        ServerLoginError::UnequallyPrivate { plugin: self.plugin.clone() }
    }

    fn key(&mut self, payload: &[u8]) -> Step {
        let password = match (self.settings.credential.clone(), self.told.take()) {
            (Credential::Own(proof), _) => self.own_password(&proof)?,
            (Credential::Client { .. }, Some(told)) => told,
            (Credential::Client { .. }, None) => return Err(ServerLoginError::Unexpected),
        };
        self.state = State::Encrypting;
        Ok(ServerAction::RsaEncrypt {
            public_key_pem: parse_auth_more(payload).unwrap_or_default().to_vec(),
            bytes: sha2::xor_nonce(password.expose(), &self.challenge),
        })
    }

    fn opened(&mut self, payload: &[u8]) -> Step {
        let ok = OkPacket::parse(payload, self.capabilities)?;
        let greeting = self.greeting.take().ok_or(ServerLoginError::Unexpected)?;
        self.state = State::Ended;
        Ok(ServerAction::Done(Box::new(Opened {
            greeting,
            capabilities: self.capabilities,
            plugin: std::mem::take(&mut self.plugin),
            status: ok.status,
            warnings: ok.warnings,
            session_track: ok.session_track.to_vec(),
            is_tls: self.is_tls,
        })))
    }
}

fn refused(payload: &[u8]) -> Result<ServerLoginError, Malformed> {
    let err = ErrPacket::parse(payload)?;
    Ok(ServerLoginError::Refused { code: err.code, sqlstate: err.sqlstate, message: err.text() })
}
