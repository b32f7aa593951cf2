//! When an exchange stops before its end: whose failure it is, whether the command is sent again, what
//! the client is told, and how a statement on a server is ended.

use std::{
    future::poll_fn,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use highgate_core::{
    answer::outcome_unknown,
    events::{Event, Kind, Severity},
    pins::PinCause,
    retry::{self, Again, Delivery, No, Retry, ServerSaid, SessionFacts, Word},
    route,
    server::{ErrorKind, ServerId, ServerState, TrafficFailure},
    settle::{self, Lost},
    track::{self, CommandFacts},
};
use highgate_io::clock;
use highgate_mysql::{
    Answer, Capabilities,
    auth::Proof,
    error_code,
    packet::{HEADER_LEN, Header},
    reply::ErrPacket,
};

use crate::{
    mysql::{
        acquire::{Lease, Wish},
        command::RestSpace,
        exchange::Stopped,
        kill,
        open::Door,
        session::Session,
        wash,
    },
    session::Ending,
    slots::Interrupt,
};

use super::{Behind, LAST_WORDS, Ran, Reached, Reason, Tried};

/// What a server said before it closed is there, or on its way.
const LAST_WORD: Duration = Duration::from_millis(200);
/// For how long causal reads of a session go to the primary at once where a replica did not come as far as
/// its last write: that may have gone with a primary that died, and then comes to no server any more.
const ASKS_PRIMARY: Duration = Duration::from_secs(10);

impl Session<'_> {
    /// The server's first word is an error: whether another server should be asked.
    pub(super) fn refused_by_server(
        &mut self,
        lease: &mut Lease,
        facts: &CommandFacts<'_>,
        space: &mut RestSpace,
    ) -> Option<Tried> {
        let progress = space.exchange.progress(Delivery::Complete, false);
        let session = self.session_facts(lease, facts);
        let retry = retry::may_retry(&progress, facts, &session);
        let on_reader = self.taken_for == Some(Wish::Reader);
        if let (true, ServerSaid::Error { word: Word::ReadOnly, .. }) = (on_reader, progress.server)
        {
            // A replica takes no writes: nothing new.
            let flavor = lease.connection.state.flavor;
            if route::commits_elsewhere(&self.state, facts, flavor) {
                track::end_read_only(&mut self.state);
                return Some(Tried::Commits);
            }
            // By its text it reads, or nobody would have sent it here: the primary takes it.
            if retry::may_read_elsewhere(&progress, facts, &session) {
                return Some(Tried::Behind(Behind::Writes));
            }
            return None;
        }
        if let Some(retry) = self.could_leave(lease, facts, space) {
            return Some(Tried::Leaves(Some(retry)));
        }
        if let ServerSaid::Error { word: Word::ReadOnly, .. } = progress.server {
            self.explain_refusal(lease, space);
        }
        // Who has just made a schema may choose it.
        if self.taken_for == Some(Wish::Reader)
            && route::chooses_schema(facts)
            && matches!(
                progress.server,
                ServerSaid::Error { code: NO_SUCH_SCHEMA | NOT_ALLOWED, .. }
            )
            && self.state.pins.may_change_server()
            && self.primary_may_know(lease.connection.server())
        {
            return Some(Tried::Behind(Behind::Unknown));
        }
        let server = lease.connection.server();
        // What it said means that its role or health has changed: judge it anew, at once.
        if let Some(says) = says(progress.server, retry, facts) {
            // Who writes next must not find out by a refusal of its own, or worse by an unknown outcome.
            if self.taken_for == Some(Wish::Writer) && says.is_about_writes() {
                server.hold_writes(clock::now());
            }
            self.context.worker.report(server, says);
        }
        let again = match retry {
            Retry::Again(again) => again,
            Retry::No(No::TransactionRefused(_)) | Retry::UnknownOutcome => {
                return self.end_transaction(lease, retry);
            }
            Retry::No(_) => return None,
        };
        let why = Retry::Again(again).to_string();
        let ran = ran(again);
        let reason = match progress.server {
            ServerSaid::Error { word: Word::ReadOnly, .. } => Reason::ReadOnly,
            _ => Reason::Refused,
        };
        Some(Tried::Again { server: server.id, why, reason, ran })
    }

    /// The primary takes no writes any more, and so can't commit, or lost its group as it did: what was
    /// open ends here, with its connection, and the session goes on. `None` where it would lose more.
    pub(super) fn end_transaction(&mut self, lease: &mut Lease, retry: Retry) -> Option<Tried> {
        if let Lost::State(_) = settle::server_lost(&mut self.state) {
            return None;
        }
        lease.connection.state.dirt.insert(PinCause::SessionUnknown);
        let (severity, kind, what, answer) = if retry == Retry::UnknownOutcome {
            let what = "the outcome of a statement is unknown: its member lost its group";
            (Severity::Error, Kind::OutcomeUnknown, what, outcome_unknown())
        } else {
            let what = "a transaction was rolled back: its primary takes no writes any more";
            (Severity::Warning, Kind::Refusal, what, transaction_refused())
        };
        let server = lease.connection.server();
        let event = Event::new(severity, kind, format!("{what}; {retry}"))
            .backend(&server.backend)
            .server(&server.name)
            .session(self.context.presence.info.id);
        self.context.worker.shared.event_limited(event);
        Some(Tried::Refused(answer))
    }

    pub(super) fn session_facts(&self, lease: &Lease, facts: &CommandFacts<'_>) -> SessionFacts {
        SessionFacts {
            in_transaction: self.state.in_transaction(),
            unsure: self.state.transaction.unsure,
            autocommit: self.state.autocommit,
            may_move: self.state.pins.may_change_server(),
            writes_here: self.taken_for == Some(Wish::Writer),
            only_sets: route::leaves_nothing_behind(&self.state, facts),
            flavor: lease.connection.state.flavor,
        }
    }

    /// The exchange stopped before its end.
    pub(super) async fn stopped(
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
                let passed = reached.answering && space.exchange.passed_on > 0;
                let progress = space.exchange.progress(reached.delivery, passed);
                let retry = retry::may_retry(&progress, facts, &self.session_facts(lease, facts));
                if passed || retry != Retry::UnknownOutcome {
                    return Tried::Ended(Ending::Killed);
                }
                let server = lease.connection.server().clone();
                self.tell_unknown(&server, &Stopped::Told(Interrupt::Kill));
                return Tried::KilledUnknown;
            }
            other => other,
        };
        self.note_loss(lease, &stopped);
        // Its bytes and its server are out of step, though its socket may look well: never again.
        lease.connection.state.dirt.insert(PinCause::SessionUnknown);
        let server = lease.connection.server().clone();
        let passed = reached.answering && space.exchange.passed_on > 0;
        let progress = space.exchange.progress(reached.delivery, passed);
        // What the last command left on the lost connection binds to it no more, unless this one asks for it.
        let asks = facts.reads_leftovers();
        let moves =
            |cause: PinCause| cause.is_leftover() && !asks || cause.facts().may_change_server;
        let may_move = self.state.pins.iter().all(moves);
        let of_session = SessionFacts { may_move, ..self.session_facts(lease, facts) };
        let retry = retry::may_retry(&progress, facts, &of_session);
        let session = self.context.presence.info.id;
        tracing::debug!(session, server = %server.name, "exchange stopped ({stopped}): {retry}");
        match retry {
            Retry::Again(again) => {
                track::forget_leftovers(&mut self.state);
                let (why, ran) = (retry.to_string(), ran(again));
                return Tried::Again { server: server.id, why, reason: Reason::Lost, ran };
            }
            Retry::UnknownOutcome => self.tell_unknown(&server, &stopped),
            Retry::No(_) => {}
        }
        let lost = settle::server_lost(&mut self.state);
        match (&lost, retry) {
            // The end of the session is told.
            (_, Retry::UnknownOutcome) | (Lost::State(_), _) => {}
            (Lost::Transaction, _) => self.note_transaction_lost(Some(&server)),
            (Lost::Nothing, _) => self.note_failed(&server, &format!("{stopped}; {retry}")),
        }
        // Where the protocol was broken, nobody knows what the client expects next.
        let is_lost = matches!(stopped, Stopped::Broken(_)) || !space.exchange.is_between_packets();
        if passed && is_lost {
            return Tried::Ended(Ending::ServerFailed(format!("within a packet: {stopped}")));
        }
        let answer = match (&lost, retry) {
            (_, Retry::UnknownOutcome) => outcome_unknown(),
            (Lost::Transaction, _) => transaction_lost(),
            _ => outcome_unknown(),
        };
        self.end_in_error(answer, passed, lost, space).await
    }

    /// A server that will not take so long a command says so, and closes before it has read all of it: its
    /// refusal, which any other would repeat.
    ///
    /// Cancel safe: no; the server connection must be closed.
    pub(super) async fn too_large(
        &mut self,
        lease: &mut Lease,
        stopped: &Stopped,
        space: &mut RestSpace,
    ) -> Option<Answer> {
        if !matches!(stopped, Stopped::Server(_) | Stopped::ServerClosed) {
            return None;
        }
        let (transport, buffer) = (&mut lease.connection.transport, &mut space.exchange.buffer);
        let word = async {
            loop {
                let packet = buffer.bytes();
                let header = Header::peek(packet);
                let end =
                    header.map(|it| HEADER_LEN + usize::try_from(it.len).unwrap_or(usize::MAX));
                if let Some(payload) = end.and_then(|end| packet.get(HEADER_LEN..end)) {
                    return ErrPacket::parse(payload).ok().map(|word| (word.code, word.text()));
                }
                match poll_fn(|cx| transport.poll_read(cx, buffer.room())).await {
                    Ok(0) | Err(_) => return None,
                    Ok(count) => buffer.filled(count),
                }
            }
        };
        let (code, text) = clock::before(clock::now() + LAST_WORD, word).await??;
        buffer.consume(usize::MAX);
        let refusal = error_code::ER_NET_PACKET_TOO_LARGE;
        if code != refusal.code {
            return None;
        }
        lease.connection.state.dirt.insert(PinCause::SessionUnknown);
        self.note_refused_here(Severity::Warning, "its server says that it is too long");
        Some(refusal.answer(text))
    }

    pub(super) fn tell_unknown(&self, server: &ServerState, stopped: &Stopped) {
        let text = format!("the outcome of a statement is unknown: {stopped}");
        let event = Event::new(Severity::Error, Kind::OutcomeUnknown, text)
            .backend(&server.backend)
            .server(&server.name)
            .session(self.context.presence.info.id);
        self.context.worker.shared.event_limited(event);
    }

    /// Tells an error in the place that the answer has come to.
    pub(super) async fn end_in_error(
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
        self.count_refused();
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
    pub(super) async fn never_ended(
        &mut self,
        lease: &mut Lease,
        facts: &CommandFacts<'_>,
        reached: Reached,
        space: &RestSpace,
    ) -> Tried {
        self.kill_statement(lease);
        self.note_never_ended(lease);
        lease.connection.state.dirt.insert(PinCause::SessionUnknown);
        let passed = reached.answering && space.exchange.passed_on > 0;
        let progress = space.exchange.progress(reached.delivery, passed);
        let retry = retry::may_retry(&progress, facts, &self.session_facts(lease, facts));
        let lost = settle::server_lost(&mut self.state);
        if passed && !space.exchange.is_between_packets() {
            return Tried::Ended(Ending::ServerFailed("a statement did not end".to_owned()));
        }
        let answer = match (&lost, retry) {
            // Else the client would go on in a transaction that is not there any more.
            (Lost::Transaction, Retry::UnknownOutcome) => outcome_unknown(),
            (Lost::Transaction, _) => transaction_lost(),
            _ => error_code::ER_QUERY_INTERRUPTED.answer(
                "Query execution was interrupted; the server did not confirm that it has ended",
            ),
        };
        self.end_in_error(answer, passed, lost, space).await
    }

    /// The statement was told to end before all of it was sent. The server waits for the rest, and
    /// has run nothing; it is well, and another would take as long.
    pub(super) async fn interrupted_sending(
        &mut self,
        lease: &mut Lease,
        told: Interrupt,
        space: &RestSpace,
    ) -> Tried {
        self.context.slot.clear(told);
        lease.connection.state.dirt.insert(PinCause::SessionUnknown);
        let lost = settle::server_lost(&mut self.state);
        let answer = match lost {
            Lost::Transaction => transaction_lost(),
            _ => error_code::ER_QUERY_INTERRUPTED
                .answer("Query execution was interrupted; it was not executed"),
        };
        self.end_in_error(answer, false, lost, space).await
    }

    pub(super) fn note_loss(&self, lease: &Lease, stopped: &Stopped) {
        let server = lease.connection.server();
        server.count_error(ErrorKind::Lost);
        if !matches!(stopped, Stopped::Broken(_)) {
            // Whoever writes next must not lose its outcome as well, if the server is about to go.
            if self.taken_for != Some(Wish::Reader) {
                server.hold_writes(clock::now());
            }
            self.context.worker.report(server, TrafficFailure::Lost);
            return;
        }
        self.context.worker.report(server, TrafficFailure::Garbage);
        let text = format!("{stopped}; its connection is closed");
        let event = Event::new(Severity::Warning, Kind::Garbled, text)
            .backend(&server.backend)
            .server(&server.name)
            .session(self.context.presence.info.id);
        self.context.worker.shared.event_limited(event);
    }

    pub(super) fn count_retry(&self, server: ServerId, why: &str) {
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

    /// A replica did not come far enough in time; the primary is asked.
    pub(super) fn after_behind(&mut self, lease: Lease, behind: Behind) {
        if behind == Behind::Uncommitted {
            return self.pool(lease);
        }
        if matches!(behind, Behind::Stuck | Behind::Waited) {
            self.asks_primary_until = self.context.worker.later(ASKS_PRIMARY);
        }
        let server = lease.connection.server();
        let timeout = self.settings.causal_reads_timeout.as_millis();
        let text = match behind {
            Behind::Stuck | Behind::Waited => format!(
                "a causal read goes to the primary: its replica did not come as far as the session's last write within {timeout} ms; the next ones of the session do for {} s",
                ASKS_PRIMARY.as_secs()
            ),
            Behind::Writes => "a read goes to the primary: its replica says that it writes, by a view or a function".to_owned(),
            Behind::Uncommitted => "a read goes to the primary: its server begins sessions with autocommit off".to_owned(),
            Behind::Unknown => "a command goes to the primary: its replica does not know a schema or table of the session".to_owned(),
        };
        let kind = if behind == Behind::Writes { Kind::Retry } else { Kind::Lag };
        let event = Event::new(Severity::Info, kind, text)
            .backend(&server.backend)
            .server(&server.name)
            .session(self.context.presence.info.id);
        self.context.worker.shared.event_limited(event);
        match behind {
            Behind::Stuck => self.abandon(lease),
            // Where a step was refused, it is known what is amiss there.
            Behind::Unknown | Behind::Writes => {
                wash::start(self.context, lease);
                self.forget_lease();
            }
            Behind::Uncommitted | Behind::Waited => self.pool(lease),
        }
    }

    /// Ends the running statement on its server; the connection lives on, and is not shared until
    /// that is over. False: it had its time to end already.
    pub(super) fn interrupt_statement(&mut self, lease: &mut Lease, told: Interrupt) -> bool {
        self.context.slot.clear(told);
        if lease.connection.kill_in_flight.is_some() {
            return told != Interrupt::Deadline;
        }
        if told == Interrupt::Deadline {
            self.note_timed_out(lease);
        }
        lease.connection.kill_in_flight = Some(self.start_kill(lease, "QUERY"));
        self.context.slot.set_deadline(self.context.worker.deadline(LAST_WORDS));
        true
    }

    /// Ends the statement with its connection.
    pub(super) fn kill_statement(&self, lease: &Lease) {
        let _ = self.start_kill(lease, "CONNECTION");
    }

    /// Has what runs on the connection ended; the flag tells when that is over, at once where nobody can do it.
    pub(in crate::mysql) fn start_kill(
        &self,
        lease: &Lease,
        what: &'static str,
    ) -> Arc<AtomicBool> {
        match self.door_for_kill(lease) {
            Ok(door) => {
                let session = self.context.presence.info.id;
                let thread = lease.connection.thread;
                let server = lease.connection.server();
                kill::start(&self.context.worker, (server, session), door, what, thread)
            }
            Err(why) => {
                self.note_not_ended(lease, why);
                Arc::new(AtomicBool::new(true))
            }
        }
    }

    /// The way in to where the connection leads, by what it was opened by. By the server's name another machine
    /// may be reached meanwhile, where the number is somebody else's connection; and its backend may be
    /// called otherwise by now.
    fn door_for_kill(&self, lease: &Lease) -> Result<Door, &'static str> {
        let connection = &lease.connection;
        // Without its password it would be refused, and a server may lock an account for that.
        let is_passed = self.state.pins.contains(PinCause::Passthrough);
        let mut proofs = self.who.proofs.iter();
        let Some(proof) = proofs.find(|&proof| !is_passed || *proof != Proof::None) else {
            return Err("its account logs in there by itself, so nobody here has its password");
        };
        let Some(target) = connection.leads_to() else {
            return Err("its connection is lost");
        };
        let mut door = self.who.door(connection.settings(), connection.server(), proof);
        door.target = target;
        // This one asks, and reads answers of the old form.
        door.capabilities.remove(Capabilities::DEPRECATE_EOF | Capabilities::MARIADB_EXTENDED);
        Ok(door)
    }
}

/// What an error says of its server, where it says something.
fn says(said: ServerSaid, retry: Retry, facts: &CommandFacts<'_>) -> Option<TrafficFailure> {
    let says = match said {
        ServerSaid::Error { word: Word::ReadOnly, .. } => Some(TrafficFailure::ReadOnly),
        ServerSaid::Error { word: Word::LeftGroup | Word::NotReady, .. } => {
            Some(TrafficFailure::NotReady)
        }
        _ => matches!(retry, Retry::Again(_)).then_some(TrafficFailure::Lost),
    };
    says.map(|says| if retry::may_signal(facts) { TrafficFailure::Hearsay } else { says })
}

/// ER_BAD_DB_ERROR.
const NO_SUCH_SCHEMA: u16 = 1049;
/// ER_DBACCESS_DENIED_ERROR: the grant may be as new.
const NOT_ALLOWED: u16 = 1044;

const fn ran(again: Again) -> Ran {
    match again {
        Again::NotDelivered | Again::Nothing | Again::Refused(_) => Ran::No,
        Again::Read => Ran::Perhaps,
    }
}

fn transaction_refused() -> Answer {
    error_code::ErrorCode::new(1213, b"40001").answer(
        "The transaction was rolled back: its server takes no writes any more; try restarting transaction",
    )
}

pub(super) fn transaction_lost() -> Answer {
    // What drivers know as "begin the transaction again", as for a deadlock.
    error_code::ErrorCode::new(1213, b"40001").answer(
        "The transaction was rolled back: its server connection was lost; try restarting transaction",
    )
}
