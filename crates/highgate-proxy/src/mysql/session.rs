//! A mysql session: login, then commands until its ending.

use std::{
    future::poll_fn,
    pin::pin,
    sync::{Arc, atomic::Ordering},
    task::Poll,
    time::Duration,
};

use highgate_config::{AuthSource, BackendName, Listener, ListenerName, User};
use highgate_core::{
    events::{Event, Kind, Severity},
    pins::{PinCause, PinSet},
    snapshot::{Policy, Snapshot},
    state::{Open, Profile, SessionState},
};
use highgate_io::clock;
use highgate_mysql::{
    Capabilities, StatusFlags,
    auth::{Proof, sha2},
    client_login::{Login, Nonce},
    command::COM_STMT_PREPARE,
    error_code,
    sql::LexMode,
};

use crate::{
    buffer::{Buffer, Held},
    facts::quoting_flags,
    listener::ListenerState,
    mysql::{
        accounts,
        acquire::{Keys, Lease, Who, Wish},
        answer,
        client_stream::{ClientStream, Framed, OUT_OF_ORDER, Unread},
        command::{shutdown, statement_size},
        compressed::Compressed,
        forward,
        login::{self, Entrance, LoggedInClient},
        open,
        refusals::unanswered,
    },
    proxy_header,
    rule_cache::Number,
    session::{Context, Ending, Idle, KilledBy},
    session_info::{Activity, Identity},
    shared::Accepted,
    slots::{Interrupt, Millis},
    user_place::UserPlace,
};

/// A session between login and ending.
#[derive(Debug)]
pub(crate) struct Session<'c> {
    pub(crate) context: &'c Context,
    pub(crate) listener: Arc<ListenerState>,
    /// What the listener is called now.
    pub(crate) listener_now: ListenerName,
    pub(crate) settings: Arc<Listener>,
    pub(crate) user: Arc<User>,
    /// Who said that it is that account.
    pub(crate) verified_by: AuthSource,
    /// Keeps the accounts of clusters read that verified it.
    _let_in: Option<Arc<()>>,
    pub(crate) client: ClientStream,
    pub(crate) capabilities: Capabilities,
    pub(crate) who: Who,
    pub(crate) keys: Keys,
    pub(crate) state: SessionState,
    pub(crate) lease: Option<Lease>,
    /// The backend of the lease.
    pub(crate) holds: Option<BackendName>,
    /// What the lease was taken for, on a member of a watched topology.
    pub(crate) taken_for: Option<Wish>,
    /// Its schema, which does not exist: as long as it holds a connection in none.
    pub(crate) gone_schema: Option<Box<str>>,
    /// What was lost with its connection; the next command is told so.
    pub(crate) lost: Option<PinSet>,
    /// The server that takes no writes any more, and that operators were told it can't leave.
    pub(crate) told_bound: Option<highgate_core::server::ServerId>,
    /// Until when its causal reads go to the primary at once: a replica did not come far enough.
    pub(crate) asks_primary_until: Millis,
    /// It ends with the present command: a connection is gone, with what it can't go on without.
    pub(crate) must_end: Option<Ending>,
    pub(crate) lex: LexMode,
    seen: Seen,
    /// How texts are read under that profile: asked for once per change of it.
    lex_now: Option<(Arc<Profile>, LexMode)>,
    pub(crate) rules_number: Option<Number>,
    pub(crate) nonce: Nonce,
    pub(crate) login: Login,
    /// Changes of user that were refused.
    pub(crate) refused_changes: u32,
    /// Its place under the account's limit.
    place: Option<UserPlace>,
    /// Bytes of the present command.
    pub(crate) command_wire: usize,
    /// Bytes of the present command that were taken out of the inbox already.
    pub(crate) consumed_ahead: usize,
    /// The present command has an answer.
    pub(crate) answers: bool,
    shown_pins: PinSet,
    /// What it keeps besides buffers, about.
    pub(crate) held: Held,
}

/// How much of what changes meanwhile a session goes by.
#[derive(Debug)]
struct Seen {
    /// Of what was known of the servers, which changes.
    facts: u64,
    /// The version of the snapshot whose settings it has; 0 before the first command.
    settings: u64,
}

/// What a session keeps, besides statements and buffers: its state, its task, what operators see.
const SESSION_SIZE: usize = 4 * 1024;
/// What a connection attribute takes beside its bytes.
const ATTRIBUTE_SIZE: usize = 80;
/// What TLS keeps for one.
const TLS_SIZE: usize = 12 * 1024;

/// Serves a client from accept to its ending.
///
/// Cancel safe: no; all its connections are closed.
pub(crate) async fn run(context: &Context, accepted: Box<Accepted>) -> Ending {
    context.slot.set_waker(poll_fn(|cx| Poll::Ready(cx.waker().clone())).await);
    // What only a login needs is over, and freed, before the first command.
    let (mut session, _permit) = match Box::pin(begin(context, accepted)).await {
        Ok(session) => session,
        Err(ending) => return ending,
    };
    let ending = session.serve().await;
    context.shows(Activity::Ending);
    session.finish(&ending).await;
    ending
}

async fn begin(
    context: &Context,
    mut accepted: Box<Accepted>,
) -> Result<(Session<'_>, crate::listener::ClientPermit), Ending> {
    let settings = accepted.listener.settings.load_full();
    context.slot.set_deadline(context.worker.deadline(settings.handshake_timeout));
    let mut transport = accepted.attach().map_err(Ending::ClientFailed)?;
    let introduced = proxy_header::read(context, &mut transport, &mut accepted, &settings).await?;
    let (from, to) = (introduced.from, transport.local().map(proxy_header::canonical));
    let inbox = inbox(context, &introduced.rest);
    let seen = Seen { facts: context.worker.shared.facts.changes(), settings: 0 };
    let facts = context.worker.shared.facts_of(&settings.backend);
    let entrance = Entrance {
        context,
        listener: &accepted.listener,
        settings: &settings,
        facts: &facts,
        from,
        is_foreign: introduced.is_foreign,
        to,
    };
    let LoggedInClient { stream, login, user, nonce, lease } =
        login::within(context, login::run(entrance, ClientStream::new(transport, inbox))).await?;
    let schema = login.schema.as_deref().or(user.default_schema.as_deref());
    let mut session = Session {
        context,
        capabilities: login.capabilities,
        who: who(&user, &login, from, to),
        keys: Keys::default(),
        state: SessionState::new(login.capabilities.bits(), &login.user, schema, login.collation),
        lease: None,
        holds: None,
        taken_for: None,
        gone_schema: None,
        lost: None,
        told_bound: None,
        asks_primary_until: 0,
        must_end: None,
        lex: facts.lex_mode(),
        seen,
        lex_now: None,
        rules_number: None,
        nonce,
        refused_changes: 0,
        place: None,
        command_wire: 0,
        consumed_ahead: 0,
        answers: true,
        shown_pins: PinSet::EMPTY,
        held: context.worker.buffers.counter(),
        verified_by: settings.auth,
        _let_in: let_in(context, settings.auth),
        listener_now: accepted.listener.name.clone(),
        listener: accepted.listener,
        settings,
        user,
        client: stream,
        login,
    };
    session.hold_passed(lease);
    session.admit().await?;
    Ok((session, accepted.permit))
}

/// What the accounts of clusters are kept read by, for who was verified by them.
fn let_in(context: &Context, auth: AuthSource) -> Option<Arc<()>> {
    (auth == AuthSource::Cluster).then(|| context.worker.shared.lets_in.clone())
}

/// What was read of a client behind its introduction; no memory where that is nothing.
fn inbox(context: &Context, rest: &[u8]) -> Buffer {
    let mut inbox = Buffer::new(context.worker.buffers.clone());
    if !rest.is_empty() {
        inbox.extend(rest);
    }
    inbox
}

/// Where commands go that no rule sends elsewhere: the account's backend, or the listener's.
pub(crate) fn backend_of<'s>(user: &'s User, settings: &'s Listener) -> &'s BackendName {
    user.backend.as_ref().unwrap_or(&settings.backend)
}

/// In whose name the servers are logged in to.
pub(crate) fn who(
    user: &User,
    login: &Login,
    from: Option<std::net::SocketAddr>,
    to: Option<std::net::SocketAddr>,
) -> Who {
    let name = user.server_user.clone().unwrap_or_else(|| login.user.clone());
    let mut proofs = Vec::new();
    if let Some(password) = &user.server_password {
        proofs.push(open::proof_of(password.expose()));
    } else {
        proofs.push(login.proof.clone());
        // While a password is rotated the servers may know the other one.
        for stored in &user.passwords {
            if let Ok(highgate_mysql::auth::StoredPassword::Clear(secret)) =
                highgate_mysql::auth::StoredPassword::parse(stored.expose())
            {
                let proof = Proof::Clear(secret);
                if !proofs.contains(&proof) {
                    proofs.push(proof);
                }
            }
        }
    }
    let fingerprint = fingerprint(proofs.first());
    let mut capabilities = login.capabilities;
    // Its servers then refuse LOAD DATA LOCAL by themselves, in their own words.
    if !user.local_infile {
        capabilities.remove(Capabilities::LOCAL_FILES);
    }
    Who { user: name, proofs, fingerprint, schema: None, capabilities, from, to }
}

/// Half of a cryptographic hash: connections of one credential are found by it, and nobody can
/// make another credential with the same one.
pub(crate) fn fingerprint(proof: Option<&Proof>) -> u128 {
    let (kind, bytes) = match proof {
        Some(Proof::Clear(secret)) => (1, secret.expose()),
        Some(Proof::Sha1(secret)) => (2, secret.expose()),
        Some(Proof::Sha256(secret)) => (3, secret.expose()),
        Some(Proof::None) | None => (0, &[][..]),
    };
    let hash = sha2::stage1(&[&[kind], bytes].concat());
    hash.first_chunk::<16>().map_or(0, |half| u128::from_le_bytes(*half))
}

impl Session<'_> {
    /// Lets the client in after its login.
    async fn admit(&mut self) -> Result<(), Ending> {
        self.count_memory();
        if self.user.backend.is_some() {
            self.read_as_servers();
        }
        self.welcome().await?;
        self.begin_compression();
        self.context.slot.set_deadline(None);
        Ok(())
    }

    /// The end of every login, the first and those by COM_CHANGE_USER: sends the OK, if there is a
    /// place for the account and the schema exists, as a server would.
    ///
    /// Cancel safe: no; the connections must be closed.
    pub(crate) async fn welcome(&mut self) -> Result<(), Ending> {
        let seq = self.login.seq;
        if let Err(refusal) = self.may_enter().await {
            let packet = answer::error(&refusal, seq);
            self.client.send(self.context, &packet).await?;
            return Err(Ending::Refused(refusal.text));
        }
        self.introduce();
        self.show_pins();
        let mut packets = std::mem::take(&mut self.login.before_ok);
        packets.extend(answer::ok(self.capabilities, self.status(), "", seq));
        self.client.send(self.context, &packets).await
    }

    async fn may_enter(&mut self) -> Result<(), highgate_mysql::Answer> {
        self.take_place()?;
        if self.state.schema().is_some() && self.lease.is_none() {
            self.check_schema().await.inspect_err(|refused| {
                self.note_login_refused(&refused.text);
            })?;
        }
        Ok(())
    }

    /// Counts anew what the session keeps.
    pub(crate) fn count_memory(&mut self) {
        let tls = if self.client.transport.is_tls() { TLS_SIZE } else { 0 };
        let texts = self.state.statements.values().map(|it| statement_size(it.text.len()));
        let pair = |(name, value): &(String, String)| ATTRIBUTE_SIZE + name.len() + value.len();
        let attributes = self.login.attributes.iter().map(pair).sum::<usize>();
        let warnings = self.state.kept_warnings.as_ref().map_or(0, |kept| kept.len());
        self.held.set(SESSION_SIZE + tls + attributes + texts.sum::<usize>() + warnings);
    }

    /// There is no memory for what a command needs.
    pub(crate) fn no_memory(&self) -> highgate_mysql::Answer {
        let text = "a command was refused: `memory_limit` is reached";
        let event = Event::new(Severity::Warning, Kind::Limit, text);
        let shared = &self.context.worker.shared;
        shared.event_limited(event.session(self.context.presence.info.id));
        error_code::ErrorCode::new(1041, b"HY000").answer(
            "Highgate is short of memory (`memory_limit`): this command can't be taken at the \
             moment; nothing was executed",
        )
    }

    /// Behind the OK all is compressed, where both sides can and the client asked for it.
    fn begin_compression(&mut self) {
        let worker = &self.context.worker;
        let (compressor, buffers) = (&worker.compressor, &worker.buffers);
        let level = self.login.zstd_level;
        self.client.compressed = Compressed::agreed(self.capabilities, level, compressor, buffers);
    }

    /// Keeps the connection that the client logged in on, for good.
    pub(crate) fn hold_passed(&mut self, lease: Option<Lease>) {
        let Some(mut lease) = lease else { return };
        let server = lease.connection.server().clone();
        self.state.pins.insert(PinCause::Passthrough);
        lease.connection.state.dirt.insert(PinCause::Passthrough);
        self.context.slot.set_server(Some(server.id.0));
        self.context.presence.info.set_server(Some((server.id.0, lease.connection.thread)));
        self.holds = Some(server.backend.clone());
        self.lease = Some(lease);
    }

    /// A place under the account's limit, in exchange for the one it may have.
    pub(crate) fn take_place(&mut self) -> Result<(), highgate_mysql::Answer> {
        self.place = None;
        let counts = &self.context.worker.shared.user_places;
        let max = self.user.max_connections;
        let place = UserPlace::take(counts, &self.login.user, max).map_err(|_| {
            let user = &self.login.user;
            let text = format!("a client of {user} was refused: its max_connections is {max}");
            let event = Event::new(Severity::Warning, Kind::Limit, text);
            let session = self.context.presence.info.id;
            self.context.worker.shared.event_limited(event.session(session));
            error_code::ER_TOO_MANY_USER_CONNECTIONS.answer(format!(
                "User {user} already has more than 'max_user_connections' active connections"
            ))
        })?;
        self.place = Some(place);
        Ok(())
    }

    /// Shows operators who this is.
    pub(crate) fn introduce(&self) {
        let program = self.login.attributes.iter().find(|(name, _)| name == "program_name");
        self.context.presence.info.set_identity(Identity {
            user: self.login.user.clone(),
            schema: self.state.schema().unwrap_or_default().to_owned(),
            program: program.map(|(_, value)| value.clone()).unwrap_or_default(),
        });
    }

    /// Settings of its listener, account or backend may have changed since its last command. Where one of
    /// them is no more, it keeps what it had.
    pub(crate) fn follow_settings(&mut self, snapshot: &Snapshot) {
        if snapshot.version == self.seen.settings {
            return;
        }
        self.seen.settings = snapshot.version;
        let policy = &snapshot.policy;
        // Whoever sent it there, a rule perhaps: what it holds is its backend's by the new name.
        if let Some(heir) = self.holds.as_ref().and_then(|holds| policy.heirs.get(holds))
            && self.taken_for.is_some()
        {
            self.holds = Some(heir.clone());
        }
        if let (Some(lease), Some(holds)) = (&mut self.lease, &self.holds)
            && let Some(backend) = policy.backends.get(holds)
        {
            lease.connection.follow(backend);
        }
        let listener = policy.listener(&self.listener_now).map(|(name, settings)| {
            if *name != self.listener_now {
                self.listener_now = name.clone();
                self.rules_number = None;
            }
            settings
        });
        // One in another mode serves others.
        let listener = listener.filter(|new| new.mode == self.settings.mode);
        let listener = listener.filter(|new| !Arc::ptr_eq(new, &self.settings)).cloned();
        let user = self.account_now(policy);
        if listener.is_none() && user.is_none() {
            return;
        }
        let before = self.backend().clone();
        if let Some(listener) = listener {
            // How it was verified stays: a change of its user is verified so, too.
            self.settings = if listener.auth == self.verified_by {
                listener
            } else {
                Arc::new(Listener { auth: self.verified_by, ..Listener::clone(&listener) })
            };
        }
        if let Some(user) = user {
            // Servers may know another account or password by now; what clients see stays.
            if self.verified_by != AuthSource::Passthrough {
                let Who { user: name, proofs, fingerprint, .. } =
                    who(&user, &self.login, self.who.from, self.who.to);
                self.who = Who { user: name, proofs, fingerprint, ..self.who.clone() };
                self.keys.clear();
            }
            self.user = user;
        }
        // It was renamed: whoever is its primary by that name judges of what is held.
        if self.holds.as_ref() == Some(&before) && !policy.backends.contains_key(&before) {
            self.holds = Some(self.backend().clone());
        }
        self.read_as_servers();
    }

    /// Where its commands go that no rule sends elsewhere.
    pub(crate) fn backend(&self) -> &BackendName {
        backend_of(&self.user, &self.settings)
    }

    /// The settings of its account, where they are others by now.
    fn account_now(&self, policy: &Policy) -> Option<Arc<User>> {
        let name = &*self.state.user;
        let user = policy.users.get(name)?;
        match self.verified_by {
            AuthSource::Local => (!Arc::ptr_eq(user, &self.user)).then(|| user.clone()),
            // As at its login, without the password of the configuration: that may be another account's.
            AuthSource::Cluster | AuthSource::Passthrough => {
                Some(accounts::settings_of(policy, name)).filter(|new| *new != self.user)
            }
        }
    }

    /// Servers of its backend may have come, gone or been upgraded since its last command: from then
    /// on texts are read as they do now.
    pub(crate) fn follow_facts(&mut self) {
        let shared = &self.context.worker.shared;
        let changes = shared.facts.changes();
        if changes == self.seen.facts {
            return;
        }
        self.seen.facts = changes;
        self.read_as_servers();
    }

    /// Texts are read as the servers of its backend do: its account's own, or its listener's.
    pub(crate) fn read_as_servers(&mut self) {
        let backend = self.backend();
        let lex = self.context.worker.shared.facts_of(backend).lex_mode();
        if lex != self.lex {
            (self.lex, self.lex_now) = (lex, None);
            self.state.read_anew(lex);
        }
    }

    /// How the session's texts are read.
    pub(crate) fn lex_mode(&mut self) -> LexMode {
        if let Some((profile, mode)) = &self.lex_now
            && Arc::ptr_eq(profile, &self.state.profile)
        {
            return *mode;
        }
        let mode = self.state.lex_mode(self.lex);
        self.lex_now = Some((self.state.profile.clone(), mode));
        mode
    }

    /// Status flags of an answer by Highgate itself.
    pub(crate) fn status(&self) -> StatusFlags {
        let mut status = StatusFlags::empty();
        status.set(StatusFlags::AUTOCOMMIT, self.state.autocommit);
        let transaction = &self.state.transaction;
        // Without a statement that reads or writes, servers do not call it a transaction.
        let open = transaction.open == Open::Yes;
        status.set(StatusFlags::IN_TRANS, open);
        status.set(StatusFlags::IN_TRANS_READONLY, open && transaction.read_only);
        // What may have set its `sql_mode` unseen was answered with the flags.
        let is_unknown = self.state.pins.contains(PinCause::SessionUnknown);
        let told = self.state.quoting.filter(|_| is_unknown).map(StatusFlags::from_bits_retain);
        status | told.unwrap_or_else(|| quoting_flags(self.state.lex_mode(self.lex)))
    }

    /// Commands until the ending.
    async fn serve(&mut self) -> Ending {
        loop {
            let framed = match self.next().await {
                Ok(framed) => framed,
                Err(ending) => return ending,
            };
            if let Err(ending) = self.command(framed).await {
                return ending;
            }
            if self.state.keeps_only_insert_id()
                && let Err(ending) = Box::pin(self.ask_for_untold()).await
            {
                return ending;
            }
            // Who was told within a transaction has forgotten it by its end; a stop is none to forget.
            let stops = self.context.worker.shared.stopping.load(Ordering::Relaxed);
            if (stops || self.context.slot.was_told(Interrupt::Drain)) && self.is_at_safe_point() {
                return Ending::Drained;
            }
            self.show_pins();
        }
    }

    /// Waits for the next command, with the time-out that fits the session's state.
    async fn next(&mut self) -> Result<Framed, Ending> {
        let context = self.context;
        if self.client.is_empty() {
            context.shows(Activity::Idle);
        }
        let mut to_keep = self.warnings_stay().filter(|stay| {
            let patience = self.patience();
            patience.is_zero() || *stay < patience
        });
        // Also where something lies there already: the rest of it may never come.
        let patience = to_keep.unwrap_or_else(|| self.patience());
        context.slot.set_deadline(context.worker.deadline(patience));
        let mut max = self.settings.max_allowed_packet;
        loop {
            match self.message(max).await {
                Ok(framed) if framed.seq == 0 => {
                    context.slot.set_deadline(None);
                    return Ok(framed);
                }
                // There the packets of compression count.
                Ok(framed) if self.client.compressed.is_some() => {
                    context.slot.set_deadline(None);
                    self.client.number(framed, 0);
                    return Ok(Framed { seq: 0, ..framed });
                }
                Ok(framed) => return Err(self.out_of_order(framed.answer_seq()).await),
                Err(Unread::OutOfOrder(seq)) => return Err(self.out_of_order(seq).await),
                // It holds something on a server that is waited for.
                Err(Unread::Told(Interrupt::Drain)) if !self.is_at_safe_point() => {
                    context.slot.clear(Interrupt::Drain);
                }
                Err(Unread::Told(Interrupt::Deadline)) if to_keep.is_some() => {
                    let passed = to_keep.take().unwrap_or_default();
                    Box::pin(self.keep_warnings()).await?;
                    let rest = self.patience().saturating_sub(passed);
                    context.slot.set_deadline(context.worker.deadline(rest));
                }
                Err(Unread::TooLong) if self.may_be_longer_now(&mut max) => {}
                Err(Unread::TooLong) => {
                    let answer = self.too_long();
                    self.refuse_message(&answer).await?;
                }
                Err(Unread::NoMemory) => {
                    let answer = self.no_memory();
                    self.refuse_message(&answer).await?;
                }
                Err(Unread::Told(Interrupt::Kill)) => {
                    // Others are closed without a word, as servers do.
                    let is_stop = self.context.presence.info.killed_by() == KilledBy::Node;
                    if is_stop && self.client.is_empty() {
                        self.say_goodbye().await;
                    }
                    return Err(Ending::Killed);
                }
                Err(unread) => return Err(unread.ending(Ending::Idle(self.idle_limit().1))),
            }
        }
    }

    /// Whether the bound of its packets has been raised since it began to wait.
    fn may_be_longer_now(&mut self, max: &mut u64) -> bool {
        let snapshot = self.context.worker.snapshot();
        self.follow_settings(&snapshot);
        let before = std::mem::replace(max, self.settings.max_allowed_packet);
        before < *max
    }

    /// Waits for a message. Meanwhile the server may go of which it holds a connection.
    ///
    /// Cancel safe: yes.
    async fn message(&mut self, max: u64) -> Result<Framed, Unread> {
        loop {
            let (context, taken_for, seen) = (self.context, self.taken_for, self.seen.settings);
            let (lease, holds) = (self.lease.as_ref(), self.holds.as_ref());
            // What its backend is called now may say that it must part.
            let is_late = || {
                lease.is_some_and(|lease| !lease.connection.is_current())
                    && context.worker.snapshot().version != seen
            };
            let looks = || {
                is_late()
                    || lease.is_some_and(|it| forward::must_part(context, taken_for, holds, it))
            };
            if let Some(come) = unless(looks, self.client.message(context, max)).await {
                return come;
            }
            if is_late() {
                self.follow_settings(&context.worker.snapshot());
                continue;
            }
            self.part_with_held();
            self.show_pins();
        }
    }

    /// Ends the session as servers do. They are not asked: one that gets such a packet closes, and seems ill.
    pub(crate) async fn out_of_order(&mut self, seq: u8) -> Ending {
        self.count_refused();
        let packet = answer::error(
            &error_code::ER_NET_PACKETS_OUT_OF_ORDER.answer("Got packets out of order"),
            seq,
        );
        match self.client.send(self.context, &packet).await {
            Ok(()) => Ending::ClientProtocol(OUT_OF_ORDER.to_owned()),
            Err(ending) => ending,
        }
    }

    /// Reads past a message that is too long, as servers do, and refuses it: the session lives on, unless
    /// that is of a command without an answer.
    async fn refuse_message(&mut self, refusal: &highgate_mysql::Answer) -> Result<(), Ending> {
        /// Time for the rest of a message that nobody wants.
        const PATIENCE: Duration = Duration::from_secs(30);
        let context = self.context;
        context.slot.set_deadline(context.worker.deadline(PATIENCE));
        let slow = "the rest of a packet that is too large does not come".to_owned();
        let skipped = self.client.skip(context).await;
        let (seq, command) = skipped.map_err(|u| u.ending(Ending::ClientProtocol(slow)))?;
        self.forget_last_prepared(command);
        self.count_refused();
        context.slot.set_deadline(context.worker.deadline(self.settings.client_timeout));
        self.client.send(context, &answer::error(refusal, seq)).await?;
        unanswered(refusal, command).map_or(Ok(()), Err)
    }

    /// What is executed behind a preparation without its id means that one, or none where it is refused, by
    /// whomever: never the one before, which may write.
    pub(crate) fn forget_last_prepared(&mut self, command: Option<u8>) {
        if command == Some(COM_STMT_PREPARE) {
            self.state.last_prepared = None;
        }
    }

    /// How long the client may say nothing: as configured, or shorter where it asked for that.
    pub(crate) fn patience(&self) -> Duration {
        self.idle_limit().0
    }

    /// The same, with whose wish that is.
    fn idle_limit(&self) -> (Duration, Idle) {
        let (configured, whose) = if self.state.in_transaction() {
            (self.settings.idle_in_transaction_timeout, Idle::InTransaction)
        } else {
            (self.settings.client_timeout, Idle::Client)
        };
        match self.state.wait_timeout() {
            Some(own) if configured.is_zero() || own < configured => (own, Idle::Own),
            _ => (configured, whose),
        }
    }

    /// Whether a session that is told to may end here. A stop ends all of them soon: it waits for work
    /// that is under way alone. Who has more time leaves those alone that would lose something.
    fn is_at_safe_point(&self) -> bool {
        let stops = self.context.worker.shared.stopping.load(Ordering::Relaxed);
        let may_end = |cause: PinCause| {
            cause == PinCause::Passthrough
                || cause.is_leftover()
                || (stops && !cause.is_under_way())
        };
        let may_go = self.lease.is_none()
            || (!self.state.in_transaction() && self.state.pins.iter().all(may_end));
        may_go && self.client.is_empty()
    }

    /// Shows operators what binds the session, where that changed.
    pub(crate) fn show_pins(&mut self) {
        if self.shown_pins != self.state.pins {
            self.shown_pins = self.state.pins;
            self.context.presence.info.set_pins(self.shown_pins);
        }
    }

    /// Tells a client that waits for nothing why its session ends: it reads that with its next command.
    async fn say_goodbye(&mut self) {
        let packet = answer::error(&shutdown(), 0);
        if let Some(layer) = &mut self.client.compressed {
            layer.begin_unasked();
        }
        let by = clock::now() + Duration::from_millis(100);
        // A client that does not read has no use for it.
        let _ = clock::before(by, self.client.send(self.context, &packet)).await;
    }

    /// Says goodbye where there is something to say, and cleans up what the session leaves behind.
    async fn finish(&mut self, ending: &Ending) {
        if matches!(ending, Ending::Drained) {
            self.say_goodbye().await;
        }
        // What a client logged in on itself is of no use to others.
        if let Some(lease) = self.lease.take()
            && !self.state.pins.contains(PinCause::Passthrough)
        {
            crate::mysql::wash::start(self.context, lease);
        }
    }
}

/// What comes, or `None` where `stop` holds while nothing has come: it is asked whenever the session wakes.
///
/// Cancel safe: as `coming`.
async fn unless<T>(stop: impl Fn() -> bool, coming: impl Future<Output = T>) -> Option<T> {
    let mut coming = pin!(coming);
    poll_fn(|cx| match coming.as_mut().poll(cx) {
        Poll::Pending if stop() => Poll::Ready(None),
        coming => coming.map(Some),
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size_of_future<F: Future>(_: impl Fn(&'static Context, Box<Accepted>) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn a_session_keeps_no_more_than_a_page_beside_its_buffers() {
        let size = size_of_future(run);
        assert!(size <= 3 * 1024, "the future of a session takes {size} bytes");
    }
}
