//! COM_CHANGE_USER: another login on the same connection.

use highgate_config::AuthSource;
use highgate_core::{events::Severity, pins::PinCause, track};
use highgate_mysql::{
    Answer, StatusFlags,
    client_login::{ClientAction, ClientLogin, ClientLoginSettings},
    error_code,
    packet::HEADER_LEN,
    sql::Flavor,
};

use crate::{
    facts::BackendFacts,
    mysql::{
        acquire::{Lease, Who},
        answer,
        client_stream::Framed,
        login::{Entrance, client_host, failed, look_up, rsa_decrypt, verify, within},
        passthrough,
        session::{Session, who},
        wash,
    },
    session::Ending,
};

/// Refusals after which MariaDB knows the command no more.
const MOST_REFUSED: u32 = 3;

impl Session<'_> {
    /// COM_CHANGE_USER: another login on the same connection.
    pub(crate) async fn change_user(&mut self, framed: Framed) -> Result<(), Ending> {
        if self.refused_changes >= MOST_REFUSED {
            let why = format!("COM_CHANGE_USER, after {MOST_REFUSED} that were refused");
            self.note_refused_here(Severity::Warning, &why);
            let answer = error_code::ErrorCode::new(1047, b"08S01").answer("Unknown command");
            return self.answer_error(&answer, framed).await;
        }
        let context = self.context;
        let bytes = self.client.inbox.bytes();
        let body = bytes.get(HEADER_LEN + 1..framed.wire).unwrap_or_default().to_vec();
        let settings = self.change_settings();
        let (mut login, mut action) = ClientLogin::change_user(settings, &self.login, &body);
        // Messages of the login come behind the command, which is taken out of the inbox first.
        let behind = framed.wire;
        self.client.inbox.consume(behind);
        context.slot.set_deadline(context.worker.deadline(self.settings.handshake_timeout));
        let (mut found, mut name) = (None, String::new());
        let done = loop {
            action = match action {
                ClientAction::Done(done) => break done,
                ClientAction::Refused { answer, seq } => {
                    self.consumed_ahead = behind;
                    return self.refused(&name, answer, seq).await;
                }
                ClientAction::LookUp { user, .. } => {
                    name = user;
                    if self.settings.auth == AuthSource::Passthrough {
                        self.change_passed(login, &name).await?;
                        self.consumed_ahead = behind;
                        return Ok(());
                    }
                    let facts = context.worker.shared.facts_of(&self.settings.backend);
                    let entrance = self.entrance(&facts);
                    login.account(look_up(&entrance, &self.client.transport, &name, &mut found))
                }
                ClientAction::Send(packets) => {
                    self.client.send(context, &packets).await?;
                    self.next_of_login(&mut login).await?
                }
                ClientAction::Verify(check) => login.checked(verify(context, check).await),
                ClientAction::RsaDecrypt { bytes } => {
                    login.decrypted(rsa_decrypt(context, bytes).await)
                }
                ClientAction::StartTls => login.decrypted(None),
            };
        };
        context.slot.set_deadline(None);
        let Some(found) = found else { return Err(Ending::Refused("no account".to_owned())) };
        let mut done = *done;
        context.worker.shared.learned_sha2.complete(&found, &mut done);
        let who = who(&found.user, &done, self.who.from, self.who.to);
        self.changed(found.user, done, (who, None)).await?;
        // The caller takes the command out once more: it finds nothing of it.
        self.consumed_ahead = behind;
        Ok(())
    }

    /// The login was refused.
    ///
    /// Quirk: with MySQL the connection ends. MariaDB's goes on for the account that it had, in the
    /// schema that it had, and without all else.
    async fn refused(&mut self, name: &str, refused: Answer, seq: u8) -> Result<(), Ending> {
        let facts = self.context.worker.shared.facts_of(&self.settings.backend);
        let entrance = self.entrance(&facts);
        within(self.context, async {
            failed(&entrance, name, &refused.text).await;
            Ok(())
        })
        .await?;
        let goes_on = self.lex.flavor == Flavor::MariaDb;
        if goes_on {
            self.context.slot.set_deadline(None);
            self.leave_held().await?;
        }
        self.client.send(self.context, &answer::error(&refused, seq)).await?;
        if !goes_on {
            return Err(Ending::Refused(refused.text));
        }
        self.refused_changes += 1;
        let schema = self.state.schema().map(str::to_owned);
        let (user, collation) = (&self.login.user, self.login.collation);
        self.gone_schema = None;
        track::changed_user(&mut self.state, user, schema.as_deref(), collation);
        self.count_memory();
        self.introduce();
        self.show_pins();
        Ok(())
    }

    /// Leaves the connection that the session holds. What it has locked there is let go before anything is
    /// answered, as by a server: the client may ask for it again at once (a lock of GET_LOCK(), its own rows), and
    /// from another connection. A rollback that takes longer than a login may (`handshake_timeout`), and a server
    /// that hangs, are not waited for: the connection is closed, and the server goes on by itself.
    async fn leave_held(&mut self) -> Result<(), Ending> {
        let Some(lease) = self.lease.take() else { return Ok(()) };
        let pins = self.state.pins.union(lease.connection.state.dirt);
        let may_lock =
            self.state.in_transaction() || pins.iter().any(PinCause::may_keep_others_out);
        let left = if may_lock {
            wash::finish(self.context, lease, self.settings.handshake_timeout).await
        } else {
            wash::start(self.context, lease);
            Ok(())
        };
        self.forget_lease();
        left
    }

    fn entrance<'e>(&'e self, facts: &'e BackendFacts) -> Entrance<'e> {
        Entrance {
            context: self.context,
            listener: &self.listener,
            settings: &self.settings,
            facts,
            from: self.who.from,
            to: self.who.to,
            is_foreign: false,
        }
    }

    /// A change of user that the server verifies, on another connection.
    async fn change_passed(&mut self, mut machine: ClientLogin, name: &str) -> Result<(), Ending> {
        self.leave_held().await?;
        let context = self.context;
        context.slot.set_deadline(context.worker.deadline(self.settings.handshake_timeout));
        let facts = context.worker.shared.facts_of(&self.settings.backend);
        let (listener, settings) = (self.listener.clone(), self.settings.clone());
        let entrance = Entrance {
            context,
            listener: &listener,
            settings: &settings,
            facts: &facts,
            from: self.who.from,
            to: self.who.to,
            is_foreign: false,
        };
        let work = passthrough::log_in(&entrance, &mut self.client, &mut machine, name, self.nonce);
        let passed = within(context, Box::pin(work)).await?;
        context.slot.set_deadline(None);
        self.changed(passed.user, passed.login, (passed.who, Some(passed.lease))).await
    }

    /// What a change of user is run under: the connection stays as it was greeted.
    fn change_settings(&self) -> ClientLoginSettings {
        let shared = &self.context.worker.shared;
        ClientLoginSettings {
            version: String::new(),
            connection_id: self.context.presence.info.id,
            client_host: client_host(self.who.from),
            nonce: self.nonce,
            capabilities: self.capabilities,
            collation: 45,
            status: StatusFlags::AUTOCOMMIT,
            plugin: highgate_mysql::auth::NATIVE,
            is_private: self.client.transport.is_private(),
            requires_tls: false,
            rsa_public_key: shared.rsa.as_ref().map(|key| key.public_pem().to_vec()),
        }
    }

    /// Feeds the client's next message to the login.
    async fn next_of_login(&mut self, login: &mut ClientLogin) -> Result<ClientAction, Ending> {
        /// No message of a login is longer.
        const MAX: u64 = 64 * 1024;
        let framed = self.client.message(self.context, MAX).await;
        let framed = framed.map_err(|unread| unread.ending(Ending::HandshakeTimeout))?;
        let inbox = &mut self.client.inbox;
        let packet = inbox.bytes().get(HEADER_LEN..framed.wire).unwrap_or_default();
        let next = login.packet(framed.seq, packet);
        inbox.consume(framed.wire);
        Ok(next)
    }

    async fn changed(
        &mut self,
        user: std::sync::Arc<highgate_config::User>,
        login: highgate_mysql::client_login::Login,
        (who, passed): (Who, Option<Lease>),
    ) -> Result<(), Ending> {
        self.leave_held().await?;
        self.who = who;
        self.keys.clear();
        self.user = user;
        let schema = login.schema.as_deref();
        self.gone_schema = None;
        track::changed_user(&mut self.state, &login.user, schema, login.collation);
        self.read_as_servers();
        self.count_memory();
        self.hold_passed(passed);
        self.rules_number = None;
        self.login = login;
        self.welcome().await
    }
}
