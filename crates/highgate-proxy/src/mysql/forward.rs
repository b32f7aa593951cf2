//! Forwarding one command: lease, preparation, exchange, settling, and sending it again where that
//! is proved to be safe.

use std::{
    ops::Range,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use highgate_config::BackendName;
use highgate_core::{
    answer::outcome_unknown,
    events::{Event, Kind, Severity},
    pins::PinCause,
    prepare::{self as core_prepare, CausalNeed, CausalWait, Needs, Step},
    retry::{self, Delivery, Retry, SessionFacts},
    route::Role,
    rules::RuleOutcome,
    server::{ErrorKind, ServerId, TrafficFailure, ServerState},
    settle::{self, Ended, Lost, Outcome, Verdict},
    state::SessionState,
    track::{self, CommandFacts, CommandKind},
};
use highgate_io::clock;
use highgate_mysql::{
    Answer, Capabilities,
    error_code,
    scan,
    sql::Flavor,
};

use crate::{
    mysql::{
        acquire::{self, AcquireError, Lease, Order, Wish},
        client_stream::Framed,
        command::{RestSpace, was_killed},
        exchange::{Peers, Stopped},
        kill,
        prepare::{self, Unprepared},
        session::Session,
        wash,
    },
    session::{Context, Ending},
    session_info::Activity,
    slots::Interrupt,
};

/// Where a command goes.
#[derive(Debug)]
pub(crate) struct Destination {
    pub(crate) backend: BackendName,
    pub(crate) role: Role,
    pub(crate) server: Option<Box<str>>,
    pub(crate) causal: bool,
    pub(crate) timeout: Option<Duration>,
}

/// The command as it lies in the inbox.
#[derive(Debug)]
pub(crate) struct Sending {
    pub(crate) framed: Framed,
    pub(crate) scan: scan::CommandKind,
    pub(crate) rules: Rc<RuleOutcome>,
}

/// How one try ended.
pub(crate) enum Tried {
    /// Everything was said to the client.
    Answered,
    /// Everything was said to the client; the connection is of no use any more.
    Broken,
    /// The session ends.
    Ended(Ending),
    /// Nothing was said to the client yet: this is to be.
    Refused(Answer),
    /// On another connection, please.
    Again { server: ServerId, why: String, reason: Reason },
    /// The connection did not fit; on a fresh one, please.
    Unfit,
    /// No replica is far enough: on the primary, please.
    Behind,
}

/// Why a command is sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    /// The connection was lost; the server itself may be well.
    Lost,
    /// The server said that it does not carry it out.
    Refused,
}

/// How far an exchange came before it stopped.
#[derive(Debug, Clone, Copy)]
struct Reached {
    delivery: Delivery,
    /// The answer was being passed on.
    answering: bool,
}

impl Reached {
    const NOT_SENT: Self = Self { delivery: Delivery::Partial, answering: false };
    const SENT: Self = Self { delivery: Delivery::Complete, answering: false };
    const ANSWERING: Self = Self { delivery: Delivery::Complete, answering: true };
}

/// Tries of one command.
const ATTEMPTS: u32 = 8;
/// Time that a statement has to end after it was told to; beyond it its connection is given up.
const LAST_WORDS: Duration = Duration::from_secs(5);

impl Session<'_> {
    /// Sends a command to a server and its answer to the client.
    ///
    /// Cancel safe: no; the connections must be closed.
    pub(crate) async fn forward(
        &mut self,
        mut to: Destination,
        facts: &CommandFacts<'_>,
        sending: Sending,
        space: &mut RestSpace,
    ) -> Result<(), Ending> {
        let started = clock::now();
        let mut tried = Tries::default();
        let mut last_why = String::new();
        for _ in 0..ATTEMPTS {
            let mut lease = match self.lease_for(&to, &tried, started).await {
                Ok(lease) => lease,
                Err(AcquireError::Ended(ending)) => return Err(ending),
                Err(error) => return self.not_acquired(&error, &last_why, sending.framed).await,
            };
            let own = to.role == Role::Same;
            self.context.shows(Activity::Running);
            let done = self.try_on(&mut lease, &to, facts, &sending, space).await;
            match done {
                Tried::Answered => {
                    self.release(lease, facts, space);
                    return Ok(());
                }
                Tried::Broken => {
                    self.abandon(lease);
                    return Ok(());
                }
                Tried::Ended(ending) => {
                    self.abandon(lease);
                    if matches!(ending, Ending::Killed) && space.exchange.passed_on == 0 {
                        self.tell_killed(sending.framed).await;
                    }
                    return Err(ending);
                }
                Tried::Refused(answer) => {
                    self.after_refusal(lease, own);
                    return self.answer_error(&answer, sending.framed).await;
                }
                Tried::Again { server, why, reason } => {
                    drop(lease);
                    self.count_retry(server, &why);
                    tried.note(server, reason);
                    last_why = why;
                    self.forget_lease();
                }
                Tried::Unfit => {
                    // Closed: its room is free for a connection that fits.
                    drop(lease);
                }
                Tried::Behind => {
                    self.pool(lease);
                    (to.role, to.causal) = (Role::Primary, false);
                }
            }
        }
        let answer = error_code::ER_CON_COUNT_ERROR
            .answer("No database server carried this command out; nothing was executed");
        self.answer_error(&answer, sending.framed).await
    }

    /// The session was killed while its command ran. An idle one is closed without a word, as
    /// servers do: clients that connect again by themselves know only that.
    async fn tell_killed(&mut self, framed: Framed) {
        let by = clock::now() + Duration::from_millis(100);
        let answer = was_killed();
        // A client that does not read has no use for it.
        let _ = clock::before(by, self.answer_error(&answer, framed)).await;
    }

    async fn lease_for(
        &mut self,
        to: &Destination,
        tried: &Tries,
        started: std::time::Instant,
    ) -> Result<Lease, AcquireError> {
        if to.role == Role::Same
            && let Some(lease) = self.lease.take()
        {
            return Ok(lease);
        }
        let wish = match to.role {
            Role::Replica | Role::Any => Wish::Reader,
            Role::Primary | Role::Same => Wish::Writer,
        };
        let order = Order {
            backend: &to.backend,
            wish,
            server: to.server.as_deref(),
            exclude: &tried.refused,
            avoid: &tried.lost,
            profile: &self.state.profile,
            started,
        };
        let lease = acquire::acquire(self.context, &self.who, &mut self.keys, order).await?;
        let server = lease.connection.server().id;
        self.context.slot.set_server(Some(server.0));
        self.context.presence.info.set_server(Some((server.0, lease.connection.thread)));
        self.holds = Some(to.backend.clone());
        Ok(lease)
    }

    /// One try on one connection.
    async fn try_on(
        &mut self,
        lease: &mut Lease,
        to: &Destination,
        facts: &CommandFacts<'_>,
        sending: &Sending,
        space: &mut RestSpace,
    ) -> Tried {
        let own = to.role == Role::Same;
        if let Some(tried) = self.prepare(lease, own, to, facts, space).await {
            return tried;
        }
        let first = match self.outgoing(lease, facts, sending) {
            Ok(first) => first,
            Err(answer) => return Tried::Refused(answer),
        };
        let timeout = to.timeout.unwrap_or(self.settings.query_timeout);
        if !timeout.is_zero() {
            self.context.slot.set_deadline(self.context.worker.deadline(timeout));
        }
        let tried = self.exchange(lease, first, facts, sending, space).await;
        if !timeout.is_zero() || lease.connection.kill_in_flight.is_some() {
            self.context.slot.set_deadline(None);
        }
        tried
    }

    /// Brings the connection to the session's state. `None`: it is there.
    async fn prepare(
        &mut self,
        lease: &mut Lease,
        own: bool,
        to: &Destination,
        facts: &CommandFacts<'_>,
        space: &mut RestSpace,
    ) -> Option<Tried> {
        // A capture of LAST_INSERT_ID() changes what is to be done, a failed SET resets.
        for _ in 0..3 {
            let connection = &mut lease.connection;
            let executes = matches!(
                facts.command,
                CommandKind::StmtExecute
                    | CommandKind::StmtBulkExecute
                    | CommandKind::StmtSendLongData
                    | CommandKind::StmtReset
                    | CommandKind::StmtFetch
            );
            let position = if to.causal { self.state.last_write.clone() } else { None };
            let needs = Needs {
                statement: facts.statement.filter(|_| executes),
                last_insert_id: core_prepare::needs_last_insert_id(
                    &self.state,
                    &connection.state,
                    facts,
                ),
                no_diagnostics: core_prepare::needs_no_diagnostics(&self.state, facts),
                causal: to.causal.then(|| CausalNeed {
                    position: position.as_deref().unwrap_or_default(),
                    wait: causal_wait(connection.state.flavor),
                    timeout_ms: millis(self.settings.causal_reads_timeout),
                }),
            };
            let steps = &mut space.steps;
            let fits =
                core_prepare::difference(&self.state, &mut connection.state, &needs, own, steps);
            if let Err(unfit) = fits {
                let session = self.context.presence.info.id;
                tracing::debug!(session, pins = %self.state.pins, "connection unfit: {unfit}");
                return Some(if own { self.unprepared_own() } else { Tried::Unfit });
            }
            if steps.is_empty() {
                return None;
            }
            let captures = steps.iter().any(|step| matches!(step, Step::CaptureLastInsertId));
            let steps = std::mem::take(steps);
            let slot = &self.context.slot;
            let ran = prepare::run(slot, connection, &steps, &mut space.exchange, Some(&mut self.state));
            let done = ran.await;
            space.steps = steps;
            match done {
                Ok(()) if captures => {}
                Ok(()) => return None,
                Err(unprepared) => {
                    if let Some(tried) = self.after_unprepared(lease, own, unprepared) {
                        return Some(tried);
                    }
                }
            }
        }
        Some(if own { self.unprepared_own() } else { Tried::Unfit })
    }

    fn unprepared_own(&self) -> Tried {
        Tried::Refused(
            error_code::ER_UNKNOWN_ERROR
                .answer("The session could not be brought to its state on its own connection"),
        )
    }

    fn after_unprepared(
        &mut self,
        lease: &mut Lease,
        own: bool,
        unprepared: Unprepared,
    ) -> Option<Tried> {
        match unprepared {
            Unprepared::Behind => Some(Tried::Behind),
            Unprepared::Refused { answer, is_clients: true } => Some(Tried::Refused(answer)),
            // Its state is marked as unknown: the next difference begins with a reset.
            Unprepared::Refused { .. } if !own => None,
            Unprepared::Refused { answer, .. } => Some(Tried::Refused(answer)),
            Unprepared::Stopped(stopped) => Some(self.stopped_before(lease, own, stopped)),
        }
    }

    /// The connection failed before a byte of the command left.
    fn stopped_before(&mut self, lease: &mut Lease, own: bool, stopped: Stopped) -> Tried {
        match stopped {
            Stopped::Client(ending) => return Tried::Ended(ending),
            Stopped::Told(Interrupt::Kill) => return Tried::Ended(Ending::Killed),
            Stopped::Told(Interrupt::KillQuery | Interrupt::Deadline) => {
                self.context.slot.clear(Interrupt::KillQuery);
                let text = "Query execution was interrupted";
                return Tried::Refused(error_code::ER_QUERY_INTERRUPTED.answer(text));
            }
            _ => {}
        }
        self.note_loss(lease);
        let server = lease.connection.server().id;
        if own {
            return self.own_connection_lost();
        }
        let why = "its connection was lost while being prepared".to_owned();
        Tried::Again { server, why, reason: Reason::Lost }
    }

    /// The connection that the session was bound to is gone.
    fn own_connection_lost(&mut self) -> Tried {
        match settle::server_lost(&mut self.state) {
            Lost::State(pins) => Tried::Ended(Ending::ServerFailed(format!(
                "the connection was lost, and with it {pins}"
            ))),
            Lost::Transaction | Lost::Nothing => Tried::Refused(transaction_lost()),
        }
    }

    async fn exchange(
        &mut self,
        lease: &mut Lease,
        (first, rest): (Vec<u8>, Range<usize>),
        facts: &CommandFacts<'_>,
        sending: &Sending,
        space: &mut RestSpace,
    ) -> Tried {
        let connection = &mut lease.connection;
        let exchange = &mut space.exchange;
        exchange.reset(sending.scan, connection.capabilities, sending.framed.answer_seq());
        exchange.hide_changes(!self.capabilities.contains(Capabilities::SESSION_TRACK));
        let hot = &connection.server().hot;
        hot.commands.fetch_add(1, Ordering::Relaxed);
        hot.bytes_out.fetch_add((first.len() + rest.len()) as u64, Ordering::Relaxed);
        let mut peers =
            Peers { context: self.context, client: &mut self.client, server: connection };
        if let Err(stopped) = peers.send(&first, rest).await {
            return self.stopped(lease, facts, stopped, Reached::NOT_SENT, space).await;
        }
        if sending.scan == scan::CommandKind::NoReply {
            track::unanswered(&mut self.state, facts);
            return Tried::Answered;
        }
        loop {
            let mut peers = Peers {
                context: self.context,
                client: &mut self.client,
                server: &mut lease.connection,
            };
            let stopped = match peers.first(&mut space.exchange).await {
                Ok(()) => break,
                Err(stopped) => stopped,
            };
            match stopped {
                Stopped::Told(told @ (Interrupt::KillQuery | Interrupt::Deadline)) => {
                    if !self.interrupt_statement(lease, told) {
                        return self.never_ended(lease, false, space).await;
                    }
                }
                other => {
                    return self.stopped(lease, facts, other, Reached::SENT, space).await;
                }
            }
        }
        if space.exchange.scanner.first_packet_is_error()
            && let Some(tried) = self.refused_by_server(lease, facts, space)
        {
            return tried;
        }
        self.answer_from_server(lease, facts, space).await
    }

    /// The answer's first packet is there; it and all that follows go to the client.
    async fn answer_from_server(
        &mut self,
        lease: &mut Lease,
        facts: &CommandFacts<'_>,
        space: &mut RestSpace,
    ) -> Tried {
        if facts.command == CommandKind::StmtPrepare {
            space.exchange.patch_statement_id(self.state.next_statement);
        }
        loop {
            let mut peers = Peers {
                context: self.context,
                client: &mut self.client,
                server: &mut lease.connection,
            };
            match peers.stream(&mut space.exchange).await {
                Ok(true) => break,
                Ok(false) => {
                    if let Err(tried) = Box::pin(self.local_infile(lease, facts, space)).await {
                        return tried;
                    }
                }
                Err(Stopped::Told(told @ (Interrupt::KillQuery | Interrupt::Deadline))) => {
                    if !self.interrupt_statement(lease, told) {
                        return self.never_ended(lease, true, space).await;
                    }
                }
                Err(stopped) => {
                    return self.stopped(lease, facts, stopped, Reached::ANSWERING, space).await;
                }
            }
        }
        let received = space.exchange.received;
        lease.connection.server().hot.bytes_in.fetch_add(received, Ordering::Relaxed);
        Tried::Answered
    }

    /// The server's first word is an error: whether another server should be asked.
    fn refused_by_server(
        &mut self,
        lease: &Lease,
        facts: &CommandFacts<'_>,
        space: &RestSpace,
    ) -> Option<Tried> {
        let progress = space.exchange.progress(Delivery::Complete, false);
        let Retry::Again(again) = retry::may_retry(&progress, facts, &self.session_facts(lease))
        else {
            return None;
        };
        let server = lease.connection.server();
        // What it said means that its role or health has changed: judge it anew, at once.
        self.context.worker.report(server, TrafficFailure::Lost);
        let why = Retry::Again(again).to_string();
        Some(Tried::Again { server: server.id, why, reason: Reason::Refused })
    }

    fn session_facts(&self, lease: &Lease) -> SessionFacts {
        SessionFacts {
            in_transaction: self.state.in_transaction(),
            autocommit: self.state.autocommit,
            may_move: self.state.pins.may_change_server(),
            flavor: lease.connection.state.flavor,
        }
    }

    /// The exchange stopped before its end.
    async fn stopped(
        &mut self,
        lease: &mut Lease,
        facts: &CommandFacts<'_>,
        stopped: Stopped,
        reached: Reached,
        space: &mut RestSpace,
    ) -> Tried {
        let stopped = match stopped {
            Stopped::Client(ending) => {
                // What it started must not go on for nobody, holding locks.
                self.kill_statement(lease);
                return Tried::Ended(ending);
            }
            Stopped::Told(Interrupt::Kill) => {
                self.kill_statement(lease);
                return Tried::Ended(Ending::Killed);
            }
            other => other,
        };
        self.note_loss(lease);
        let server = lease.connection.server().clone();
        let passed = reached.answering && space.exchange.passed_on > 0;
        let progress = space.exchange.progress(reached.delivery, passed);
        let retry = retry::may_retry(&progress, facts, &self.session_facts(lease));
        let session = self.context.presence.info.id;
        tracing::debug!(session, server = %server.name, "exchange stopped ({stopped:?}): {retry}");
        match retry {
            Retry::Again(_) => {
                let why = retry.to_string();
                return Tried::Again { server: server.id, why, reason: Reason::Lost };
            }
            Retry::UnknownOutcome => self.tell_unknown(&server, &stopped),
            Retry::No(_) => {}
        }
        let lost = settle::server_lost(&mut self.state);
        if passed && !space.exchange.scanner.is_at_packet_boundary() {
            return Tried::Ended(Ending::ServerFailed(format!("within a packet: {stopped:?}")));
        }
        let answer = match (&lost, retry) {
            (_, Retry::UnknownOutcome) => outcome_unknown(),
            (Lost::Transaction, _) => transaction_lost(),
            _ => outcome_unknown(),
        };
        self.end_in_error(answer, passed, lost, space).await
    }

    fn tell_unknown(&self, server: &ServerState, stopped: &Stopped) {
        let text = format!("the outcome of a statement is unknown: {stopped}");
        let event = Event::new(Severity::Error, Kind::OutcomeUnknown, text)
            .backend(&server.backend)
            .server(&server.name)
            .session(self.context.presence.info.id);
        self.context.worker.shared.event_limited(event);
    }

    /// Tells an error in the place that the answer has come to.
    async fn end_in_error(
        &mut self,
        answer: Answer,
        passed: bool,
        lost: Lost,
        space: &RestSpace,
    ) -> Tried {
        let ends = matches!(lost, Lost::State(_));
        if !passed && !ends {
            return Tried::Refused(answer);
        }
        let seq = if passed { space.exchange.scanner.next_seq() } else { 1 };
        let packet = crate::mysql::answer::error(&answer, seq);
        if let Err(ending) = self.client.send(self.context, &packet).await {
            return Tried::Ended(ending);
        }
        match lost {
            Lost::State(pins) => Tried::Ended(Ending::ServerFailed(format!(
                "the connection was lost, and with it {pins}"
            ))),
            Lost::Nothing | Lost::Transaction => Tried::Broken,
        }
    }

    /// The statement goes on although it was told to end: its connection is given up.
    async fn never_ended(&mut self, lease: &mut Lease, answered: bool, space: &RestSpace) -> Tried {
        self.kill_statement(lease);
        lease.connection.state.dirt.insert(PinCause::SessionUnknown);
        let passed = answered && space.exchange.passed_on > 0;
        let lost = settle::server_lost(&mut self.state);
        if passed && !space.exchange.scanner.is_at_packet_boundary() {
            return Tried::Ended(Ending::ServerFailed("a statement did not end".to_owned()));
        }
        let answer = error_code::ER_QUERY_INTERRUPTED.answer(
            "Query execution was interrupted; the server did not confirm that it has ended",
        );
        self.end_in_error(answer, passed, lost, space).await
    }

    fn note_loss(&self, lease: &Lease) {
        let server = lease.connection.server();
        server.count_error(ErrorKind::Lost);
        self.context.worker.report(server, TrafficFailure::Lost);
    }

    fn count_retry(&self, server: ServerId, why: &str) {
        let snapshot = self.context.worker.snapshot();
        let members = snapshot.placement.groups.values().flat_map(|group| &group.members);
        let Some(member) = members.into_iter().find(|member| member.state.id == server) else {
            return;
        };
        member.state.count_retry();
        let event = Event::new(Severity::Info, Kind::Retry, format!("a command is sent {why}"))
            .backend(&member.state.backend)
            .server(&member.state.name)
            .session(self.context.presence.info.id);
        self.context.worker.shared.event_limited(event);
    }

    /// Ends the running statement on its server; the connection lives on, and is not shared until
    /// that is over. False: it had its time to end already.
    fn interrupt_statement(&mut self, lease: &mut Lease, told: Interrupt) -> bool {
        self.context.slot.clear(told);
        if lease.connection.kill_in_flight.is_some() {
            return told != Interrupt::Deadline;
        }
        lease.connection.kill_in_flight = self.start_kill(lease, "QUERY");
        self.context.slot.set_deadline(self.context.worker.deadline(LAST_WORDS));
        true
    }

    /// Ends the statement with its connection.
    fn kill_statement(&self, lease: &Lease) {
        let _ = self.start_kill(lease, "CONNECTION");
    }

    fn start_kill(&self, lease: &Lease, what: &'static str) -> Option<Arc<AtomicBool>> {
        let snapshot = self.context.worker.snapshot();
        let server = lease.connection.server();
        let group = snapshot.placement.groups.get(&server.backend)?;
        let proof = self.who.proofs.first()?;
        let mut door = self.who.door(group, server, proof);
        door.tls = crate::tls_files::towards(&self.context.worker.shared, group);
        // This one asks, and reads answers of the old form.
        door.capabilities.remove(Capabilities::DEPRECATE_EOF | Capabilities::MARIADB_EXTENDED);
        Some(kill::start(&self.context.worker, door, what, lease.connection.thread))
    }

    async fn not_acquired(
        &mut self,
        error: &AcquireError,
        last_why: &str,
        framed: Framed,
    ) -> Result<(), Ending> {
        let text = if last_why.is_empty() {
            format!("a command was refused: {error}")
        } else {
            format!("a command was refused: {error}; before that, it was to be sent {last_why}")
        };
        let id = self.context.presence.info.id;
        let event = Event::new(Severity::Warning, Kind::Refusal, text).session(id);
        self.context.worker.shared.event_limited(event);
        self.forget_lease();
        self.answer_error(&error.answer(), framed).await
    }

    pub(crate) fn forget_lease(&mut self) {
        forget(self.context, &mut self.holds);
    }

    /// Settles, and does what the verdict says.
    fn release(&mut self, mut lease: Lease, facts: &CommandFacts<'_>, space: &RestSpace) {
        let verdict = if facts.command == CommandKind::StmtSendLongData {
            Verdict::Hold(self.state.pins)
        } else {
            let outcome = outcome(space, &lease);
            self.follow_schema(|session| {
                settle::settle(&mut session.state, &mut lease.connection.state, facts, &outcome)
            })
        };
        if facts.command == CommandKind::StmtPrepare {
            self.state.last_prepared = None;
            if let Some(prepared) = space.exchange.scanner.prepared()
                && space.exchange.scanner.error().is_none()
            {
                self.remember_prepared(&mut lease, facts, prepared);
            }
        }
        self.keep_unshared(&mut lease);
        match verdict {
            Verdict::Hold(_) => self.lease = Some(lease),
            Verdict::Keep if lease.connection.kill_in_flight.is_some() => self.forget_lease(),
            Verdict::Keep if self.state.pins.is_empty() => self.pool(lease),
            Verdict::Keep => self.lease = Some(lease),
            Verdict::Wash(_) => {
                wash::start(self.context, lease);
                self.forget_lease();
            }
            Verdict::Close(reason) => {
                drop(lease);
                self.forget_lease();
                if reason == settle::CloseReason::ServerCloses
                    && let Lost::Transaction = settle::server_lost(&mut self.state)
                {
                    tracing::debug!("the server ended the connection within a transaction");
                }
            }
        }
    }

    fn follow_schema<T>(&mut self, change: impl FnOnce(&mut Self) -> T) -> T {
        let before = self.state.profile.clone();
        let done = change(self);
        if !Arc::ptr_eq(&before, &self.state.profile) {
            self.rules_number = None;
            if before.schema != self.state.profile.schema {
                let schema = self.state.schema().unwrap_or_default();
                self.context.presence.info.set_schema(schema);
            }
        }
        done
    }

    fn remember_prepared(
        &mut self,
        lease: &mut Lease,
        facts: &CommandFacts<'_>,
        prepared: scan::Prepared,
    ) {
        let text = facts.text.unwrap_or_default();
        self.state.prepared(text, facts.shape, prepared.params);
        let under = self.state.profile.clone();
        let old = lease.connection.state.prepared(prepared.statement_id, text.into(), under);
        // Closed by the next preparation: there is no answer to wait for.
        lease.connection.to_close.extend(old);
    }

    /// Where sharing is turned off, the session keeps its connection.
    fn keep_unshared(&mut self, lease: &mut Lease) {
        if !lease.connection.multiplexes() {
            self.state.pins.insert(PinCause::MultiplexOff);
        }
    }

    /// Gives the connection to the pool, or to whoever waits.
    fn pool(&mut self, lease: Lease) {
        self.forget_lease();
        let worker = &self.context.worker;
        worker.pools.give(lease.connection, worker.now_ms());
    }

    /// The command was refused before or instead of being sent.
    fn after_refusal(&mut self, lease: Lease, own: bool) {
        let is_lost = lease.connection.state.dirt.contains(PinCause::SessionUnknown)
            || !lease.connection.is_usable();
        if own && !is_lost && !self.state.pins.is_empty() {
            self.lease = Some(lease);
            return;
        }
        self.forget_lease();
        if is_lost {
            drop(lease);
        } else if lease.connection.state.schema_unknown {
            wash::start(self.context, lease);
        } else {
            let worker = &self.context.worker;
            worker.pools.give(lease.connection, worker.now_ms());
        }
    }

    fn abandon(&mut self, lease: Lease) {
        drop(lease);
        self.forget_lease();
    }
}

/// Servers that a command was tried on.
#[derive(Debug, Default)]
struct Tries {
    /// They lost its connection, once.
    lost: Vec<ServerId>,
    /// They refused it, or lost its connection twice.
    refused: Vec<ServerId>,
}

impl Tries {
    fn note(&mut self, server: ServerId, reason: Reason) {
        if reason == Reason::Lost && !self.lost.contains(&server) {
            self.lost.push(server);
        } else {
            self.refused.push(server);
        }
    }
}

fn forget(context: &Context, holds: &mut Option<BackendName>) {
    *holds = None;
    context.slot.set_server(None);
    context.presence.info.set_server(None);
}

/// Gives back a connection that was only kept for what the command before left on it.
pub(crate) fn let_go(
    context: &Context,
    state: &SessionState,
    lease: &mut Option<Lease>,
    holds: &mut Option<BackendName>,
) {
    if !state.pins.is_empty() || state.in_transaction() {
        return;
    }
    let Some(mut lease) = lease.take() else { return };
    let dirt = &mut lease.connection.state.dirt;
    dirt.remove(PinCause::Warnings);
    dirt.remove(PinCause::FoundRows);
    match settle::left(state, &lease.connection.state) {
        Verdict::Keep => {
            let worker = &context.worker;
            worker.pools.give(lease.connection, worker.now_ms());
        }
        Verdict::Wash(_) => wash::start(context, lease),
        Verdict::Close(_) | Verdict::Hold(_) => drop(lease),
    }
    forget(context, holds);
}

fn outcome<'s>(space: &'s RestSpace, _lease: &Lease) -> Outcome<'s> {
    let scanner = &space.exchange.scanner;
    Outcome {
        ended: Ended::Complete,
        status: scanner.status(),
        error: scanner.error().map(|error| error.code),
        results: scanner.results().saturating_sub(1),
        affected_rows: scanner.affected_rows(),
        insert_id: scanner.last_insert_id(),
        warnings: scanner.warnings(),
        rows: (scanner.columns() > 0).then(|| scanner.rows()),
        changes: &space.exchange.changes,
    }
}

fn transaction_lost() -> Answer {
    // What drivers know as "begin the transaction again", as for a deadlock.
    error_code::ErrorCode::new(1213, b"40001").answer(
        "The transaction was rolled back: its server connection was lost; try restarting transaction",
    )
}

fn causal_wait(flavor: Flavor) -> CausalWait {
    match flavor {
        Flavor::MySql => CausalWait::WaitForExecutedGtidSet,
        _ => CausalWait::MasterGtidWait,
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
