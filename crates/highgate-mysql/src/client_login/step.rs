//! The steps: a packet or a result in, one action out.

use super::{
    Account, ClientAction, ClientLogin, Login, Relay, State, must_have,
    plugins::known_plugin,
    refusal::{tls_required, unsupported},
};
use crate::auth::{
    CACHING_SHA2, CLEAR, ED25519, NATIVE, Proof, Secret, StoredPassword, sha2, without_nul,
};
use crate::capability::Capabilities;
use crate::charset::{Collation, UTF8MB4_GENERAL_CI};
use crate::client_login::{ClientLoginSettings, SlowCheck};
use crate::error_code::{ER_HANDSHAKE_ERROR, ER_NET_PACKETS_OUT_OF_ORDER, ER_WRONG_VALUE_FOR_VAR};
use crate::login::{ChangeUser, FirstPacket, LoginRequest, encode_auth_more};
use crate::packet::PacketWriter;

impl ClientLogin {
    /// A login by COM_CHANGE_USER: `body` is what follows the command byte, `before` the finished
    /// login of this connection, and `settings` hold the nonce that the client was greeted with.
    pub fn change_user(
        settings: ClientLoginSettings,
        before: &Login,
        body: &[u8],
    ) -> (Self, ClientAction) {
        let mut machine = Self::new(settings);
        machine.seq = 1;
        machine.is_tls = before.is_tls;
        machine.is_change_user = true;
        let Ok(change) = ChangeUser::parse(body, before.capabilities) else {
            let action = machine.refuse(ER_HANDSHAKE_ERROR.answer("Bad handshake"));
            return (machine, action);
        };
        let request = LoginRequest {
            capabilities: before.capabilities,
            max_packet: 0,
            collation: 0,
            user: change.user,
            answer: change.answer,
            schema: change.schema,
            plugin: change.plugin,
            attributes: change.attributes,
            zstd_level: before.zstd_level,
        };
        let collation = change.collation.unwrap_or(before.collation);
        let action = machine.look_up(Box::new(request), collation);
        (machine, action)
    }

    /// Takes the client's next packet.
    pub fn packet(&mut self, seq: u8, payload: &[u8]) -> ClientAction {
        if seq != self.seq {
            return self.refuse(ER_NET_PACKETS_OUT_OF_ORDER.answer("Got packets out of order"));
        }
        self.seq = seq.wrapping_add(1);
        match std::mem::replace(&mut self.state, State::Ended) {
            State::Greeted => self.first(payload),
            State::Switched { plugin } => {
                self.gave_password = is_password(payload);
                self.answered(plugin, payload)
            }
            State::Full => self.full(payload),
            State::FullRsa => {
                self.state = State::Decrypting;
                ClientAction::RsaDecrypt { bytes: payload.to_vec() }
            }
            State::StartingTls
            | State::LookingUp
            | State::Decrypting
            | State::Checking { .. }
            | State::Ended => {
                self.refuse(ER_NET_PACKETS_OUT_OF_ORDER.answer("Got packets out of order"))
            }
        }
    }

    /// TLS is on; the login comes next.
    pub fn tls_started(&mut self) {
        if matches!(self.state, State::StartingTls) {
            self.is_tls = true;
            self.state = State::Greeted;
        }
    }

    fn first(&mut self, payload: &[u8]) -> ClientAction {
        match LoginRequest::parse_first(payload) {
            Ok(FirstPacket::StartTls(_))
                if self.settings.capabilities.contains(Capabilities::SSL) && !self.is_tls =>
            {
                self.state = State::StartingTls;
                ClientAction::StartTls
            }
            Ok(FirstPacket::Login(mut request)) => {
                if self.settings.requires_tls && !self.is_private() {
                    return self.refuse(tls_required());
                }
                request.capabilities &= self.settings.capabilities | must_have();
                let collation = u16::from(request.collation);
                self.look_up(request, collation)
            }
            Ok(FirstPacket::StartTls(_)) | Err(_) => {
                self.refuse(ER_HANDSHAKE_ERROR.answer("Bad handshake"))
            }
        }
    }

    fn look_up(&mut self, request: Box<LoginRequest>, collation: u16) -> ClientAction {
        // As servers do with an id that they don't know, and with none.
        let default = u16::from(self.settings.collation);
        let known = Collation::by_id(collation).or_else(|| Collation::by_id(default));
        let (collation, charset) = known.map_or((UTF8MB4_GENERAL_CI, ""), |it| (it.id, it.charset));
        if UNREADABLE.contains(&charset) {
            let text =
                format!("Variable 'character_set_client' can't be set to the value of '{charset}'");
            return self.refuse(ER_WRONG_VALUE_FOR_VAR.answer(text));
        }
        self.state = State::LookingUp;
        self.gave_password = is_password(request.answer.expose());
        self.collation = collation;
        let action = ClientAction::LookUp {
            user: request.user.clone(),
            schema: request.schema.clone(),
            plugin: request.plugin.clone(),
        };
        self.login = Some(request);
        action
    }

    /// The account that was looked up; `None` where there is none, or it is locked.
    pub fn account(&mut self, account: Option<Account>) -> ClientAction {
        if !matches!(self.state, State::LookingUp) {
            return self.refuse(ER_HANDSHAKE_ERROR.answer("Bad handshake"));
        }
        let account = account.filter(|account| !account.passwords.is_empty());
        self.is_known = account.as_ref().is_some_and(|account| !account.is_decoy);
        self.account = account.unwrap_or_else(|| self.decoy());
        let Some(login) = &self.login else {
            return self.refuse(self.denied());
        };
        let answer = login.answer.clone();
        let has_plugins = login.capabilities.contains(Capabilities::PLUGIN_AUTH);
        let answered = if has_plugins { known_plugin(&login.plugin) } else { Some(NATIVE) };
        // Clients that don't know the greeting's plugin answer nothing and name the one they prefer.
        // Who changes the user and says nothing is asked, as servers do, whatever the password.
        let is_blank = answer.expose().is_empty()
            && (self.is_change_user || answered != Some(self.settings.plugin));
        match answered {
            Some(plugin) if is_blank && self.fits(plugin) => self.switch_to(plugin),
            // The greeting's challenge has 20 bytes: an answer of client_ed25519 is to another one.
            Some(plugin) if plugin != ED25519 && self.fits(plugin) => {
                self.answered(plugin, answer.expose())
            }
            Some(ED25519) if has_plugins && self.fits(ED25519) => self.switch_to(ED25519),
            _ if has_plugins => self.switch(),
            _ => self.refuse(unsupported()),
        }
    }

    /// Hands the login over to a server that verifies: what the client asked for, and what passes
    /// the server's challenges on. To be called in the place of [`ClientLogin::account`].
    ///
    /// # Errors
    /// The refusal for a client that knows no plugins: challenges can't be passed on to it.
    pub fn pass_through(&mut self) -> Result<(Box<Login>, Relay), ClientAction> {
        let request = match std::mem::replace(&mut self.state, State::Ended) {
            State::LookingUp => self.login.take(),
            _ => None,
        };
        let Some(request) = request else {
            return Err(self.refuse(ER_HANDSHAKE_ERROR.answer("Bad handshake")));
        };
        if !request.capabilities.contains(Capabilities::PLUGIN_AUTH) {
            return Err(self.refuse(unsupported()));
        }
        let login = Login {
            user: request.user,
            schema: request.schema,
            capabilities: request.capabilities,
            collation: self.collation,
            attributes: request.attributes,
            plugin: "",
            proof: Proof::None,
            learned_sha2: None,
            zstd_level: request.zstd_level,
            before_ok: Vec::new(),
            seq: self.seq,
            is_tls: self.is_tls,
        };
        Ok((Box::new(login), Relay::new(self.seq)))
    }

    /// The client answered the challenge of `plugin`.
    fn answered(&mut self, plugin: &'static str, answer: &[u8]) -> ClientAction {
        if plugin == CLEAR {
            return self.check(Secret::new(without_nul(answer)));
        }
        if !is_password(answer) {
            return match self.account.passwords.iter().any(StoredPassword::is_empty) {
                true => self.done(plugin, Proof::Clear(Secret::default()), None),
                false => self.next_or_deny(plugin),
            };
        }
        let short = self.settings.nonce.short();
        let nonce: &[u8] = if plugin == ED25519 { self.settings.nonce.long() } else { &short };
        let proofs: Vec<_> = self
            .account
            .passwords
            .iter()
            .map(|stored| stored.verify_answer(plugin, answer, nonce))
            .collect();
        if let Some(proof) = proofs.into_iter().flatten().next() {
            return self.done(plugin, proof, None);
        }
        if plugin == CACHING_SHA2 {
            return self.fast_failed(answer, &short);
        }
        self.next_or_deny(plugin)
    }

    fn fast_failed(&mut self, answer: &[u8], nonce: &[u8]) -> ClientAction {
        let cached = self.account.cached_sha2;
        if let Some(stage1) = cached.and_then(|hash| sha2::verify(answer, nonce, &hash)) {
            return self.done(CACHING_SHA2, Proof::Sha256(Secret::new(stage1.to_vec())), None);
        }
        // A clear password would have verified the fast answer; other forms need more.
        if !self.account.passwords.iter().any(|stored| self.is_for_full(stored)) {
            return self.next_or_deny(CACHING_SHA2);
        }
        self.state = State::Full;
        self.send_more(&[sha2::FULL_NEEDED])
    }

    fn full(&mut self, payload: &[u8]) -> ClientAction {
        if self.is_private() {
            return self.check(Secret::new(without_nul(payload)));
        }
        match self.settings.rsa_public_key.clone() {
            Some(key) if payload == [sha2::ASK_KEY] => {
                self.state = State::FullRsa;
                self.send_more(&key)
            }
            // A client that has the key already sends the password at once.
            Some(_) if payload.len() > 1 => {
                self.state = State::Decrypting;
                ClientAction::RsaDecrypt { bytes: payload.to_vec() }
            }
            _ => self.refuse(self.denied()),
        }
    }

    /// What RSA made of the client's bytes; `None` where it failed.
    pub fn decrypted(&mut self, bytes: Option<Secret>) -> ClientAction {
        if !matches!(self.state, State::Decrypting) {
            return self.refuse(ER_HANDSHAKE_ERROR.answer("Bad handshake"));
        }
        // A failed decryption is checked like a wrong password: it costs the same.
        let masked = bytes.unwrap_or_default();
        let clear = sha2::xor_nonce(masked.expose(), &self.settings.nonce.short());
        self.check(Secret::new(without_nul(clear.expose())))
    }

    fn check(&mut self, password: Secret) -> ClientAction {
        let check = SlowCheck::new(password.clone(), self.account.passwords.clone());
        self.state = State::Checking { password };
        ClientAction::Verify(check)
    }

    /// What the slow check said.
    pub fn checked(&mut self, is_right: bool) -> ClientAction {
        let State::Checking { password } = std::mem::replace(&mut self.state, State::Ended) else {
            return self.refuse(ER_HANDSHAKE_ERROR.answer("Bad handshake"));
        };
        if !is_right {
            self.tried.push(CLEAR);
            return self.next_or_deny(CACHING_SHA2);
        }
        let has_sha2 = self.account.passwords.iter().any(|stored| self.is_for_full(stored));
        let learned = has_sha2.then(|| sha2::double_hash(password.expose()));
        let plugin = if has_sha2 { CACHING_SHA2 } else { CLEAR };
        self.done(plugin, Proof::Clear(password), learned)
    }

    fn done(
        &mut self,
        plugin: &'static str,
        proof: Proof,
        learned_sha2: Option<[u8; 32]>,
    ) -> ClientAction {
        self.state = State::Ended;
        if !self.is_known || (self.account.requires_tls && !self.is_private()) {
            return self.refuse(self.denied());
        }
        if let Some(barred) = self.account.barred.take() {
            return self.refuse(self.barred(&barred));
        }
        let Some(request) = self.login.take() else {
            return self.refuse(self.denied());
        };
        let mut before_ok = Vec::new();
        // The full exchange ends in a plain OK.
        if plugin == CACHING_SHA2 && learned_sha2.is_none() && !is_empty(&proof) {
            let mut writer = PacketWriter::new(&mut before_ok, self.seq);
            writer.packet(|body| encode_auth_more(body, &[sha2::FAST_OK]));
            self.seq = writer.next_seq();
        }
        ClientAction::Done(Box::new(Login {
            user: request.user,
            schema: request.schema,
            capabilities: request.capabilities,
            collation: self.collation,
            attributes: request.attributes,
            plugin,
            proof,
            learned_sha2,
            zstd_level: request.zstd_level,
            before_ok,
            seq: self.seq,
            is_tls: self.is_tls,
        }))
    }

    fn send_more(&mut self, data: &[u8]) -> ClientAction {
        let mut out = Vec::new();
        let mut writer = PacketWriter::new(&mut out, self.seq);
        writer.packet(|body| encode_auth_more(body, data));
        self.seq = writer.next_seq();
        ClientAction::Send(out)
    }
}

/// An empty password is answered with nothing, or with its terminator.
fn is_password(answer: &[u8]) -> bool {
    !answer.is_empty() && answer != [0]
}

fn is_empty(proof: &Proof) -> bool {
    matches!(proof, Proof::Clear(secret) if secret.expose().is_empty())
}

/// Servers can't read statements in these: their characters are not those of ASCII.
const UNREADABLE: [&str; 4] = ["ucs2", "utf16", "utf16le", "utf32"];
