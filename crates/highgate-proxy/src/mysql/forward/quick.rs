//! The quick way of a command: a connection lies ready in the session's state, takes the command at
//! once, answers it in one piece, and the client takes that at once.
//!
//! Nearly all commands go it to the end. It decides nothing: each step is one of the general way,
//! and wherever anything else turns up, the general way goes on from there. It is not `async`, so that
//! what a command needs while it is decided lies on the stack, which all sessions of a worker share and
//! which is in the first cache, and only what is needed while the server works lies in the session.

use std::{
    sync::atomic::Ordering,
    task::{Context as Cx, Poll, ready},
    time::Instant,
};

use highgate_core::{
    prepare as core_prepare,
    route::Role,
    snapshot::Snapshot,
    track::{CommandFacts, CommandKind},
};
use highgate_io::clock;
use highgate_mysql::scan;

use crate::{
    mysql::{
        acquire::{self, Chosen, Lease, Order},
        command::{CommandSpace, Decided, Judged, Known, Rest, RestSpace},
        exchange::{Peers, poll_send},
        session::Session,
    },
    session_info::Activity,
};

use super::{Begun, Destination, Sending, Sent};

/// A command that its server has, and whose answer is waited for.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) lease: Lease,
    to: Destination,
    known: Known,
    pub(crate) sending: Sending,
    sent_at: Instant,
}

impl Running {
    /// The general way goes on with it.
    fn rest(self, sent: Sent) -> Box<Rest> {
        let Self { lease, to, known, sending, .. } = self;
        let judged = Judged { decided: Decided::Server(to), known, sending };
        Box::new(Rest::Judged(judged, Begun { lease: Some(lease), sent, ..Begun::default() }))
    }
}

impl Session<'_> {
    /// Sends the command, if all is ready for it.
    pub(crate) fn start(
        &mut self,
        cx: &mut Cx<'_>,
        judged: Judged,
        snapshot: &Snapshot,
        space: &mut CommandSpace,
    ) -> Result<Running, Box<Rest>> {
        let Judged { decided, known, sending } = judged;
        let to = match decided {
            Decided::Server(to) if sending.scan != scan::CommandKind::NoReply => to,
            decided => {
                let judged = Judged { decided, known, sending };
                return Err(Box::new(Rest::Judged(judged, Begun::default())));
            }
        };
        let lease = match self.lease_now(&to, snapshot) {
            Ok(lease) => lease,
            Err(chosen) => {
                let judged = Judged { decided: Decided::Server(to), known, sending };
                let begun = Begun { chosen, ..Begun::default() };
                return Err(Box::new(Rest::Judged(judged, begun)));
            }
        };
        self.context.shows(Activity::Running);
        let sent_at = self.context.worker.started();
        let mut running = Running { lease, to, known, sending, sent_at };
        let CommandSpace { texts, rest, .. } = space;
        match self.send_now(cx, &mut running, &texts.facts(&known), rest) {
            Sent::All(_) => {
                running.sent_at = clock::now();
                Ok(running)
            }
            sent => {
                self.expect_answer(&running.lease, &running.sending, rest);
                Err(running.rest(sent))
            }
        }
    }

    /// The connection that the session holds, or one that lies ready.
    fn lease_now(
        &mut self,
        to: &Destination,
        snapshot: &Snapshot,
    ) -> Result<Lease, Option<Chosen>> {
        if to.role == Role::Same
            && let Some(lease) = self.lease.take()
        {
            return Ok(lease);
        }
        let group = snapshot.placement.groups.get(&to.backend).ok_or(None)?;
        let order = Order {
            backend: &to.backend,
            wish: to.wish(),
            server: to.server.as_deref(),
            exclude: &[],
            avoid: &[],
            profile: &self.state.profile,
            from: self.who.from,
            // Nothing is waited for here.
            started: self.context.worker.started(),
            is_own: false,
            is_fresh: false,
        };
        let (who, keys) = (&self.who, &mut self.keys);
        let mut lease = acquire::acquire_now(self.context, who, keys, &order, group)?;
        core_prepare::share_profile(&mut self.state, &mut lease.connection.state);
        self.took(&lease, to);
        Ok(lease)
    }

    /// Sends as much of the command as the kernel takes, if its connection needs no preparation.
    fn send_now(
        &mut self,
        cx: &mut Cx<'_>,
        running: &mut Running,
        facts: &CommandFacts<'_>,
        space: &mut RestSpace,
    ) -> Sent {
        let Running { lease, to, sending, .. } = running;
        let own = to.role == Role::Same;
        if lease.connection.kill_in_flight.is_some() || lease.connection.has_many_to_close() {
            return Sent::Nothing;
        }
        // One from the pool was looked at as it was taken.
        let stays = || !self.leaves_before(lease, facts) && !self.writes_at_replaced(lease, facts);
        if own && (self.is_over(lease) || !stays()) {
            return Sent::Nothing;
        }
        let fits = self.missing(&mut lease.connection, own, to, facts, &mut space.steps);
        if fits.is_err() || !space.steps.is_empty() {
            return Sent::Nothing;
        }
        let Ok(outgoing) = self.outgoing(lease, facts, sending, &space.joined) else {
            return Sent::Nothing;
        };
        let timeout = to.timeout.unwrap_or(self.settings.query_timeout);
        self.count_sending(lease, &outgoing, timeout);
        let (first, rest) = &outgoing;
        let rest = self.client.inbox.bytes().get(rest.clone()).unwrap_or_default();
        let mut sent = 0;
        match poll_send(cx, &mut lease.connection, first, rest, &mut sent) {
            Poll::Ready(Ok(())) => Sent::All(None),
            // An error is met again by who goes on.
            _ => Sent::Part(outgoing, sent),
        }
    }

    /// Ready when the command is carried out, or with what is left to do.
    pub(crate) fn poll_running(
        &mut self,
        cx: &mut Cx<'_>,
        running: &mut Option<Running>,
        space: &mut Option<Box<CommandSpace>>,
    ) -> Poll<Option<Box<Rest>>> {
        let Some(now) = running else { return Poll::Ready(None) };
        let mut peers = Peers {
            context: self.context,
            client: &mut self.client,
            server: &mut now.lease.connection,
            patience: std::time::Duration::ZERO,
        };
        // No memory is held while the server works: many wait, few read.
        let begins = ready!(peers.poll_answering(cx));
        let space = match space {
            Some(space) => space,
            None => {
                let space = space.insert(self.context.worker.take_space());
                self.expect_answer(&now.lease, &now.sending, &mut space.rest);
                space
            }
        };
        let CommandSpace { texts, rest, .. } = &mut **space;
        let exchange = &mut rest.exchange;
        let mut peers = Peers {
            context: self.context,
            client: &mut self.client,
            server: &mut now.lease.connection,
            patience: std::time::Duration::ZERO,
        };
        let received = match begins {
            Ok(()) => ready!(peers.poll_read(cx, exchange)),
            stopped => stopped,
        };
        let is_done = match received {
            Err(stopped) => Err(Some(Err(stopped))),
            Ok(()) if !exchange.can_be_judged() => Err(None),
            Ok(()) => {
                exchange.latency = peers.note_latency(now.sent_at);
                let is_plain =
                    exchange.is_whole() && now.known.command() != CommandKind::StmtPrepare;
                if is_plain && peers.pass_on_now(cx, exchange) { Ok(()) } else { Err(Some(Ok(()))) }
            }
        };
        let Some(running) = running.take() else { return Poll::Ready(None) };
        if let Err(waited) = is_done {
            return Poll::Ready(Some(running.rest(Sent::All(waited))));
        }
        let received = rest.exchange.received;
        running.lease.connection.server().hot.bytes_in.fetch_add(received, Ordering::Relaxed);
        let timeout = running.to.timeout.unwrap_or(self.settings.query_timeout);
        if !timeout.is_zero() {
            self.context.slot.set_deadline(None);
        }
        self.release(running.lease, running.to.multiplex, &texts.facts(&running.known), rest);
        Poll::Ready(None)
    }
}
