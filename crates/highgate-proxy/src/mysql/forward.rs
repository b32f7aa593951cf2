//! Forwarding one command: lease, preparation, exchange, settling, and sending it again where that
//! is proved to be safe.

mod demoted;
mod elsewhere;
pub(crate) mod kept;
mod lost;
mod quick;
mod ready;
mod release;
mod untold;

use std::{
    ops::Range,
    rc::Rc,
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use highgate_config::{BackendName, Topology};
use highgate_core::{
    retry::{Delivery, Retry},
    route::{self, Role},
    rules::RuleOutcome,
    server::ServerId,
    track::{self, CommandFacts, CommandKind},
};
use highgate_io::clock;
use highgate_mysql::{Answer, Capabilities, error_code, scan};

pub(crate) use elsewhere::{Aim, while_there};
pub(crate) use quick::Running;
pub(crate) use ready::{connection_killed, must_part};
pub(crate) use release::{let_go, look_for_schema};

use crate::{
    mysql::{
        acquire::{self, AcquireError, Chosen, Lease, Order, Wish},
        answer,
        client_stream::Framed,
        command::{RestSpace, shutdown, stopped_unknown, was_killed},
        exchange::{Peers, Stopped},
        kill,
        session::Session,
        wash,
    },
    pool::Room,
    session::{Ending, KilledBy},
    session_info::Activity,
    slots::Interrupt,
};

/// Where a command goes.
#[derive(Debug)]
pub(crate) struct Destination {
    pub(crate) backend: BackendName,
    /// Whether a rule names it: else it is the session's own.
    pub(crate) by_rule: bool,
    pub(crate) role: Role,
    pub(crate) server: Option<Box<str>>,
    pub(crate) causal: bool,
    pub(crate) timeout: Option<Duration>,
    /// Whether the session's connection is shared from then on, where a rule says so.
    pub(crate) multiplex: Option<bool>,
}

impl Destination {
    const fn wish(&self) -> Wish {
        match self.role {
            Role::Replica | Role::Any => Wish::Reader,
            Role::Primary | Role::Same => Wish::Writer,
        }
    }
}

/// The command as it lies in the inbox.
#[derive(Debug)]
pub(crate) struct Sending {
    pub(crate) framed: Framed,
    pub(crate) scan: scan::CommandKind,
    pub(crate) rules: Rc<RuleOutcome>,
    /// The text to be sent in place of the client's, or of what a rule made of that.
    pub(crate) instead: Option<Vec<u8>>,
}

/// What was done for a command that goes on in the general way: by the quick one, or before it was routed anew.
#[derive(Debug, Default)]
pub(crate) struct Begun {
    chosen: Option<Chosen>,
    lease: Option<Lease>,
    sent: Sent,
    since: Option<Instant>,
    tried: Tries,
    is_lost_way: bool,
}

impl Begun {
    /// Whether the backend is no more where it was sent: nothing was said to the client, and it is to be routed
    /// anew.
    pub(crate) fn lost_its_way(&mut self) -> bool {
        std::mem::take(&mut self.is_lost_way)
    }
}

/// How much of a command is sent.
#[derive(Debug, Default)]
enum Sent {
    #[default]
    Nothing,
    /// So many bytes of what goes first and of that part of the inbox.
    Part((Vec<u8>, Range<usize>), usize),
    /// All of it; with what came of waiting for the answer, where that was waited for.
    All(Option<Result<(), Stopped>>),
}

/// How one try ended.
pub(crate) enum Tried {
    /// Everything was said to the client.
    Answered,
    /// Everything was said to the client; the connection is of no use any more.
    Broken,
    /// The session ends.
    Ended(Ending),
    /// The session was killed, nothing was said to the client yet, and the command may have been
    /// carried out.
    KilledUnknown,
    /// Nothing was said to the client yet: this is to be.
    Refused(Answer),
    /// On another connection, please.
    Again { server: ServerId, why: String, reason: Reason, ran: Ran },
    /// The connection did not fit; on a fresh one, please.
    Unfit {
        /// What did not fit.
        why: String,
    },
    /// The server takes no writes any more, and the session is bound to it by an insert id alone: with that
    /// taken along this becomes of the command; `None`: it was not sent yet.
    Leaves(Option<Retry>),
    /// The replica is not far enough, or no place for it: on the primary, please.
    Behind(Behind),
    /// It ended the read-only transaction there, and may write: on the primary, please.
    Commits,
}

/// How it was found that a replica will not do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Behind {
    /// It still waits: its connection is of no use.
    Stuck,
    /// It does not know the schema or the table that the session has chosen.
    Unknown,
    /// It begins sessions with autocommit off: what follows may write.
    Uncommitted,
    /// It was waited for.
    Waited,
    /// What reads by its text writes: by a view, or a function in one.
    Writes,
}

/// Why a command is sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    /// The connection was lost; the server itself may be well.
    Lost,
    /// The server said that it takes no writes.
    ReadOnly,
    /// The server said that it does not carry it out.
    Refused,
}

/// What is known of a try that is followed by another one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Ran {
    /// The command was not carried out.
    #[default]
    No,
    /// It may have been; it only reads.
    Perhaps,
}

impl Ran {
    /// For the client, at the end of an error.
    pub(crate) const fn sentence(self) -> &'static str {
        match self {
            Self::No => "nothing was executed",
            Self::Perhaps => "it only reads, and may have been executed",
        }
    }
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
pub(super) const LAST_WORDS: Duration = Duration::from_secs(5);

impl Session<'_> {
    /// Sends a command to a server and its answer to the client, unless it [lost its way](Begun::lost_its_way).
    ///
    /// Cancel safe: no; the connections must be closed.
    #[expect(clippy::too_many_lines, reason = "one flat match over how a try ended")]
    pub(crate) async fn forward(
        &mut self,
        mut to: Destination,
        facts: &CommandFacts<'_>,
        sending: Sending,
        begun: &mut Begun,
        space: &mut RestSpace,
    ) -> Result<(), Ending> {
        let started = *begun.since.get_or_insert_with(clock::now);
        let mut tried = std::mem::take(&mut begun.tried);
        for _ in 0..ATTEMPTS {
            let lease = match begun.lease.take() {
                Some(lease) => Ok(lease),
                None => {
                    let (chosen, room) = (begun.chosen.take(), tried.room.take());
                    self.lease_for(&to, &tried, started, chosen, room).await
                }
            };
            let mut lease = match lease {
                Ok(lease) => lease,
                Err(AcquireError::Ended(ending)) => {
                    if matches!(ending, Ending::Killed) {
                        self.tell_killed(sending.framed, false).await;
                    }
                    return Err(ending);
                }
                Err(error) => {
                    if error.is_of_backend() && self.is_gone(&to) {
                        self.forget_lease();
                        (begun.tried, begun.is_lost_way) = (tried, true);
                        return Ok(());
                    }
                    if error.is_of_backend() && self.is_sent_elsewhere(&mut to) {
                        continue;
                    }
                    let refused = (&error, &to);
                    return self.not_acquired(refused, &tried, facts, sending.framed).await;
                }
            };
            let own = to.role == Role::Same;
            self.context.shows(Activity::Running);
            let sent = std::mem::take(&mut begun.sent);
            let done = self.try_on(&mut lease, &to, facts, &sending, sent, space).await;
            match done {
                Tried::Answered => {
                    self.release(lease, to.multiplex, facts, space);
                    return Ok(());
                }
                Tried::Broken => {
                    self.abandon(lease);
                    return Ok(());
                }
                Tried::Ended(ending) => {
                    self.abandon(lease);
                    if matches!(ending, Ending::Killed) && space.exchange.passed_on == 0 {
                        self.tell_killed(sending.framed, false).await;
                    }
                    return Err(ending);
                }
                Tried::KilledUnknown => {
                    self.abandon(lease);
                    self.tell_killed(sending.framed, true).await;
                    return Err(Ending::Killed);
                }
                Tried::Refused(answer) => {
                    let ending = self.after_refusal(lease, own);
                    return self.tell_refused(&answer, ending, facts, sending.framed).await;
                }
                Tried::Again { server, why, reason, ran } => {
                    drop(lease);
                    self.count_retry(server, &why);
                    tried.note(server, reason, ran);
                    tried.why = why;
                    self.forget_lease();
                    if own {
                        to.role = self.role_elsewhere(facts);
                    }
                }
                Tried::Unfit { why } => {
                    // Closed: in its room one is opened that fits. In the queue it would be handed one that
                    // does not, again and again.
                    tried.room = Some(lease.connection.into_room());
                    tried.why = why;
                    tried.unfit = true;
                }
                Tried::Leaves(retry) => match Box::pin(self.leave(lease, retry, space)).await {
                    Ok(Some(answer)) => {
                        return self.tell_refused(&answer, None, facts, sending.framed).await;
                    }
                    Ok(None) => to.role = Role::Primary,
                    Err(lease) => {
                        let answer = answer::no_writes(Ran::No.sentence());
                        let ending = self.after_refusal(lease, own);
                        return self.tell_refused(&answer, ending, facts, sending.framed).await;
                    }
                },
                Tried::Behind(behind) => {
                    self.after_behind(lease, behind);
                    (to.role, to.causal, to.server) = (Role::Primary, false, None);
                }
                Tried::Commits => {
                    wash::start(self.context, lease);
                    self.forget_lease();
                    to.role = Role::Primary;
                }
            }
        }
        let why = format!("{ATTEMPTS} tries, the last {}", tried.why);
        self.note_refused(&to.backend, &why);
        self.answer_error(&tried.answer(), sending.framed).await
    }

    /// A command was refused, and nothing said of it yet.
    async fn tell_refused(
        &mut self,
        answer: &Answer,
        ending: Option<Ending>,
        facts: &CommandFacts<'_>,
        framed: Framed,
    ) -> Result<(), Ending> {
        if facts.command == CommandKind::StmtSendLongData && ending.is_none() {
            // There is no place to say so but the execution.
            track::spoiled(&mut self.state, facts, true);
            return Ok(());
        }
        self.answer_error(answer, framed).await?;
        ending.map_or(Ok(()), Err)
    }

    /// The session was killed while its command ran. An idle one is closed without a word, as
    /// servers do: clients that connect again by themselves know only that.
    async fn tell_killed(&mut self, framed: Framed, is_unknown: bool) {
        let by = clock::now() + Duration::from_millis(100);
        let answer = match (self.context.presence.info.killed_by(), is_unknown) {
            (KilledBy::Node, true) => stopped_unknown(),
            (KilledBy::Node, false) => shutdown(),
            (KilledBy::Operator | KilledBy::OwnAccount, _) => was_killed(),
        };
        // A client that does not read has no use for it.
        let _ = clock::before(by, self.answer_error(&answer, framed)).await;
    }

    async fn lease_for(
        &mut self,
        to: &Destination,
        tried: &Tries,
        started: Instant,
        chosen: Option<Chosen>,
        room: Option<Room>,
    ) -> Result<Lease, AcquireError> {
        if to.role == Role::Same
            && let Some(lease) = self.lease.take()
        {
            return Ok(lease);
        }
        let wish = to.wish();
        let order = Order {
            backend: &to.backend,
            wish,
            server: to.server.as_deref(),
            exclude: &tried.refused,
            avoid: &tried.lost,
            profile: &self.state.profile,
            from: self.who.from,
            started,
            is_own: false,
            is_fresh: tried.unfit,
        };
        let aim = Aim::new(&self.listener_now, &self.settings, &self.state.user, &self.user);
        let aim = (!to.by_rule && to.backend == *self.backend()).then_some(aim);
        let (who, keys) = (&self.who, &mut self.keys);
        let acquired = acquire::acquire(self.context, who, keys, order, chosen, room);
        let lease = while_there(self.context, &mut self.client, aim, acquired).await?;
        self.took(&lease, to);
        Ok(lease)
    }

    /// Where a command goes whose session has lost its connection: to one that is not its own, and so is
    /// brought to its state.
    fn role_elsewhere(&self, facts: &CommandFacts<'_>) -> Role {
        let is_for_any = facts.command == CommandKind::ResetConnection
            || route::ends_nothing(&self.state, facts);
        if is_for_any { Role::Any } else { Role::Primary }
    }

    /// The session uses that connection from now on.
    fn took(&mut self, lease: &Lease, to: &Destination) {
        track::moved(&mut self.state);
        let server = lease.connection.server().id;
        self.context.slot.set_server(Some(server.0));
        self.context.presence.info.set_server(Some((server.0, lease.connection.thread)));
        self.holds = Some(to.backend.clone());
        let is_watched = lease.connection.topology() != Topology::Static;
        self.taken_for = is_watched.then_some(to.wish());
    }

    /// One try on one connection.
    #[expect(
        clippy::too_many_arguments,
        reason = "a try is all of them; each has an owner of its own"
    )]
    async fn try_on(
        &mut self,
        lease: &mut Lease,
        to: &Destination,
        facts: &CommandFacts<'_>,
        sending: &Sending,
        sent: Sent,
        space: &mut RestSpace,
    ) -> Tried {
        let timeout = to.timeout.unwrap_or(self.settings.query_timeout);
        let tried = match sent {
            Sent::Nothing => {
                let first = match self.make_ready(lease, to, facts, sending, space).await {
                    Ok(first) => first,
                    Err(tried) => return tried,
                };
                self.count_sending(lease, &first, timeout);
                self.expect_answer(lease, sending, space);
                self.exchange(lease, first, 0, facts, sending, space).await
            }
            Sent::Part(first, sent) => {
                self.exchange(lease, first, sent, facts, sending, space).await
            }
            Sent::All(first) => self.answer(lease, facts, first, space).await,
        };
        if !timeout.is_zero() || lease.connection.kill_in_flight.is_some() {
            self.context.slot.set_deadline(None);
        }
        tried
    }

    /// Prepares the connection; what is to be sent then.
    async fn make_ready(
        &mut self,
        lease: &mut Lease,
        to: &Destination,
        facts: &CommandFacts<'_>,
        sending: &Sending,
        space: &mut RestSpace,
    ) -> Result<(Vec<u8>, Range<usize>), Tried> {
        if let Some(over) = lease.connection.kill_in_flight.take() {
            kill::wait_until(&over).await;
        }
        let own = to.role == Role::Same;
        if own && self.is_over(lease) {
            return Err(self.found_dead(lease, facts));
        }
        if own && self.leaves_before(lease, facts) {
            return Err(Tried::Leaves(None));
        }
        if own && let Some(tried) = self.writes_behind(lease, facts) {
            return Err(tried);
        }
        if let Some(tried) = self.prepare(lease, own, to, facts, space).await {
            return Err(tried);
        }
        self.outgoing(lease, facts, sending, &space.joined).map_err(Tried::Refused)
    }

    /// Gets all ready for the answer.
    pub(crate) fn expect_answer(&self, lease: &Lease, sending: &Sending, space: &mut RestSpace) {
        let exchange = &mut space.exchange;
        exchange.reset(sending.scan, lease.connection.capabilities, sending.framed.answer_seq());
        if self.client.compressed.is_some() {
            exchange.mark_results();
        }
        exchange.hide_changes(!self.capabilities.contains(Capabilities::SESSION_TRACK));
    }

    /// Counts the command, and the time that it may take.
    fn count_sending(
        &self,
        lease: &Lease,
        (first, rest): &(Vec<u8>, Range<usize>),
        timeout: Duration,
    ) {
        if !timeout.is_zero() {
            self.context.slot.set_deadline(self.context.worker.deadline(timeout));
        }
        let hot = &lease.connection.server().hot;
        hot.commands.fetch_add(1, Ordering::Relaxed);
        hot.bytes_out.fetch_add((first.len() + rest.len()) as u64, Ordering::Relaxed);
    }

    /// Sends what is not `sent` yet, and sees to the answer.
    #[expect(
        clippy::too_many_arguments,
        reason = "a try is all of them; each has an owner of its own"
    )]
    async fn exchange(
        &mut self,
        lease: &mut Lease,
        (first, rest): (Vec<u8>, Range<usize>),
        sent: usize,
        facts: &CommandFacts<'_>,
        sending: &Sending,
        space: &mut RestSpace,
    ) -> Tried {
        let patience = self.patience();
        let connection = &mut lease.connection;
        let mut peers =
            Peers { context: self.context, client: &mut self.client, server: connection, patience };
        match peers.send(&first, rest, sent).await {
            Ok(()) => {}
            Err(Stopped::Told(told @ (Interrupt::KillQuery | Interrupt::Deadline))) => {
                if told == Interrupt::Deadline {
                    self.note_timed_out(lease);
                }
                return self.interrupted_sending(lease, told, space).await;
            }
            Err(stopped) => {
                if let Some(refusal) = self.too_large(lease, &stopped, space).await {
                    return Tried::Refused(refusal);
                }
                return self.stopped(lease, facts, stopped, Reached::NOT_SENT, space).await;
            }
        }
        if sending.scan == scan::CommandKind::NoReply {
            track::unanswered(&mut self.state, facts);
            return Tried::Answered;
        }
        self.answer(lease, facts, None, space).await
    }

    /// Waits for the answer, unless that is done, and sees to it.
    async fn answer(
        &mut self,
        lease: &mut Lease,
        facts: &CommandFacts<'_>,
        mut waited: Option<Result<(), Stopped>>,
        space: &mut RestSpace,
    ) -> Tried {
        let patience = self.patience();
        loop {
            let mut peers = Peers {
                context: self.context,
                client: &mut self.client,
                server: &mut lease.connection,
                patience,
            };
            let first = match waited.take() {
                Some(first) => first,
                None => peers.first(&mut space.exchange).await,
            };
            let Err(stopped) = first else { break };
            match stopped {
                Stopped::Told(told @ (Interrupt::KillQuery | Interrupt::Deadline)) => {
                    if !self.interrupt_statement(lease, told) {
                        return self.never_ended(lease, facts, Reached::SENT, space).await;
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
        let patience = self.patience();
        if facts.command == CommandKind::StmtPrepare {
            space.exchange.patch_statement_id(self.state.next_statement);
        }
        loop {
            let mut peers = Peers {
                context: self.context,
                client: &mut self.client,
                server: &mut lease.connection,
                patience,
            };
            let streamed = if facts.command == CommandKind::BinlogDump {
                // What the client says from here on belongs to the answer.
                peers.client.inbox.consume(self.command_wire.saturating_sub(self.consumed_ahead));
                self.consumed_ahead = self.command_wire;
                Box::pin(peers.replicate(&mut space.exchange)).await.map(|()| true)
            } else {
                peers.stream(&mut space.exchange).await
            };
            match streamed {
                Ok(true) => break,
                Ok(false) => {
                    if let Err(tried) = Box::pin(self.local_infile(lease, facts, space)).await {
                        return tried;
                    }
                }
                Err(Stopped::Told(told @ (Interrupt::KillQuery | Interrupt::Deadline))) => {
                    if !self.interrupt_statement(lease, told) {
                        return self.never_ended(lease, facts, Reached::ANSWERING, space).await;
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

    async fn not_acquired(
        &mut self,
        (error, to): (&AcquireError, &Destination),
        tried: &Tries,
        facts: &CommandFacts<'_>,
        framed: Framed,
    ) -> Result<(), Ending> {
        let last_why = &tried.why;
        let why = if last_why.is_empty() {
            error.to_string()
        } else {
            format!("{error}; before that, it was to be sent {last_why}")
        };
        self.note_refused(&to.backend, &why);
        self.forget_lease();
        self.tell_refused(&error.answer(tried.ran.sentence()), None, facts, framed).await
    }
}

/// Servers that a command was tried on.
#[derive(Debug, Default)]
struct Tries {
    /// They lost its connection, once.
    lost: Vec<ServerId>,
    /// They refused it, or lost its connection twice.
    refused: Vec<ServerId>,
    /// Whether any of them may have carried it out.
    ran: Ran,
    /// Whether the last of them said that it takes no writes.
    read_only: bool,
    /// Whether the connection of one did not fit.
    unfit: bool,
    /// The room that it had.
    room: Option<Room>,
    /// Why it was sent again the last time.
    why: String,
}

impl Tries {
    /// For the client, when there were enough of them.
    fn answer(&self) -> Answer {
        if self.read_only {
            return answer::no_writes(self.ran.sentence());
        }
        error_code::ER_CON_COUNT_ERROR.answer(format!(
            "No database server gave a usable answer to this command; {}",
            self.ran.sentence()
        ))
    }

    fn note(&mut self, server: ServerId, reason: Reason, ran: Ran) {
        self.ran = self.ran.max(ran);
        self.read_only = reason == Reason::ReadOnly;
        if reason == Reason::Lost && !self.lost.contains(&server) {
            self.lost.push(server);
        } else {
            self.refused.push(server);
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
