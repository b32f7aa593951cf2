//! After a command: what becomes of its connection.

use std::sync::Arc;

use highgate_config::BackendName;
use highgate_core::{
    digests::Cost,
    pins::PinCause,
    settle::{self, Ended, Lost, Outcome, Verdict},
    state::SessionState,
    track::{self, CommandFacts, CommandKind},
};
use highgate_mysql::scan;

use crate::{
    mysql::{
        acquire::Lease,
        command::{RestSpace, statement_size},
        session::Session,
        wash,
    },
    session::{Context, Ending},
};

impl Session<'_> {
    pub(crate) fn forget_lease(&mut self) {
        forget(self.context, &mut self.holds);
    }

    /// Settles, and does what the verdict says.
    pub(super) fn release(
        &mut self,
        mut lease: Lease,
        multiplex: Option<bool>,
        facts: &CommandFacts<'_>,
        space: &RestSpace,
    ) {
        self.count(facts, space);
        settle::share(&mut self.state, multiplex, lease.connection.multiplexes());
        let verdict = if facts.command == CommandKind::StmtSendLongData {
            Verdict::Hold(self.state.pins)
        } else {
            let outcome = outcome(space, &lease);
            self.follow_schema(|session| {
                settle::settle(&mut session.state, &mut lease.connection.state, facts, &outcome)
            })
        };
        if facts.command == CommandKind::StmtPrepare
            && let Some(prepared) = space.exchange.scanner.prepared()
            && space.exchange.scanner.error().is_none()
        {
            self.remember_prepared(&mut lease, facts, prepared);
        }
        if let CommandKind::SetOption { multi_statements } = facts.command
            && space.exchange.scanner.error().is_none()
        {
            self.set_multi_statements(multi_statements);
            lease.follow_option(multi_statements);
        }
        if facts.command == CommandKind::ResetConnection && space.exchange.scanner.error().is_none()
        {
            // Their numbers may be other statements' from now on.
            lease.connection.to_close.clear();
            // Those that the session kept went with it.
            self.count_memory();
        }
        if space.exchange.scanner.error().is_none() && track::alters_schema(facts) {
            self.retire_idle(&lease);
        }
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
                if reason == settle::CloseReason::ServerCloses {
                    self.server_ended(space.exchange.scanner.error().map(|error| error.code));
                }
            }
        }
    }

    /// The server has ended the connection, and the client has its word for that: without what only
    /// that connection had the session would go on as another one.
    fn server_ended(&mut self, error: Option<u16>) {
        /// A packet was refused: no word of the transaction that goes with the connection.
        const fn is_about_packet(code: u16) -> bool {
            matches!(code, 1152..=1161 | 1184)
        }
        let held = self.state.pins;
        match settle::server_lost(&mut self.state) {
            Lost::State(pins) => {
                let why = format!("the server ended the connection, and with it {pins}");
                self.must_end = Some(Ending::ServerFailed(why));
            }
            Lost::Transaction if error.is_some_and(is_about_packet) => self.lost = Some(held),
            Lost::Transaction => {
                tracing::debug!("the server ended the connection within a transaction");
            }
            Lost::Nothing => {}
        }
    }

    /// No idle connection to any server of the backend is used again.
    fn retire_idle(&self, lease: &Lease) {
        let backend = &lease.connection.server().backend;
        let snapshot = self.context.worker.snapshot();
        let members = snapshot.placement.groups.get(backend).map(|group| &group.members);
        for member in members.into_iter().flatten() {
            member.state.retire_idle();
        }
    }

    /// Counts the statement under its form.
    fn count(&self, facts: &CommandFacts<'_>, space: &RestSpace) {
        if matches!(facts.command, CommandKind::Query | CommandKind::StmtExecute) {
            let exchange = &space.exchange;
            let is_error = exchange.scanner.error().is_some();
            let cost = Cost::one(exchange.latency, exchange.received, is_error);
            self.context.worker.digests.borrow_mut().answered(facts.shape.digest, cost);
        }
    }

    pub(super) fn follow_schema<T>(&mut self, change: impl FnOnce(&mut Self) -> T) -> T {
        let before = self.state.profile.clone();
        let done = change(self);
        if !Arc::ptr_eq(&before, &self.state.profile) {
            self.rules_number = None;
            if before.schema != self.state.profile.schema {
                let schema = self.state.schema().unwrap_or_default();
                self.context.presence.info.set_schema(schema);
                self.gone_schema = None;
            }
        }
        done
    }

    pub(super) fn remember_prepared(
        &mut self,
        lease: &mut Lease,
        facts: &CommandFacts<'_>,
        prepared: scan::Prepared,
    ) {
        let text = facts.text.unwrap_or_default();
        self.state.prepared(text, facts.shape, prepared.params);
        self.held.add(statement_size(text.len()));
        let under = self.state.profile.clone();
        let old = lease.connection.state.prepared(prepared.statement_id, text.into(), under);
        // Closed by the next preparation, or once there are several.
        lease.connection.to_close.extend(old);
    }

    /// Gives the connection to the pool, or to whoever waits.
    pub(super) fn pool(&mut self, lease: Lease) {
        self.forget_lease();
        let worker = &self.context.worker;
        worker.pools.give_to(lease.shelf, lease.connection, worker.now_ms());
    }

    /// The command was refused before or instead of being sent. Gives the session's ending, where it
    /// lost with its connection what it can't go on without.
    pub(super) fn after_refusal(&mut self, lease: Lease, own: bool) -> Option<Ending> {
        let pins = self.state.pins;
        // That it is of an older generation alone takes nothing from who has it.
        let is_broken = lease.connection.state.dirt.contains(PinCause::SessionUnknown)
            && !pins.contains(PinCause::SessionUnknown)
            || self.is_over(&lease);
        if own && !is_broken && !pins.is_empty() {
            self.lease = Some(lease);
            return None;
        }
        let lost =
            if own && is_broken { settle::server_lost(&mut self.state) } else { Lost::Nothing };
        self.forget_lease();
        if is_broken {
            drop(lease);
        } else if lease.connection.state.schema_unknown {
            wash::start(self.context, lease);
        } else {
            let worker = &self.context.worker;
            worker.pools.give_to(lease.shelf, lease.connection, worker.now_ms());
        }
        match lost {
            Lost::State(pins) => Some(Ending::ServerFailed(format!(
                "its connection could not be used any more, and with it went {pins}"
            ))),
            Lost::Transaction => {
                // What was refused says nothing of it: the next command is told.
                self.lost = Some(pins);
                None
            }
            Lost::Nothing => None,
        }
    }

    pub(super) fn abandon(&mut self, lease: Lease) {
        drop(lease);
        self.forget_lease();
    }
}

pub(super) fn forget(context: &Context, holds: &mut Option<BackendName>) {
    *holds = None;
    context.slot.set_server(None);
    context.presence.info.set_server(None);
}

/// Gives back a connection that was only kept for what the command before left on it, or that is
/// `outgrown` ([`highgate_core::route::outgrows_reader`]).
pub(crate) fn let_go(
    context: &Context,
    state: &SessionState,
    outgrown: bool,
    lease: &mut Option<Lease>,
    holds: &mut Option<BackendName>,
) {
    let mut pins = state.pins;
    if outgrown {
        pins.remove(PinCause::MultiplexOff);
    }
    if !pins.is_empty() || state.in_transaction() {
        return;
    }
    let Some(mut lease) = lease.take() else { return };
    if lease.connection.kill_in_flight.is_some() {
        // It would meet the statement of whoever has the connection next.
        drop(lease);
        return forget(context, holds);
    }
    let dirt = &mut lease.connection.state.dirt;
    PinCause::ALL.iter().filter(|cause| cause.is_leftover()).for_each(|&cause| dirt.remove(cause));
    match settle::left(state, &lease.connection.state) {
        Verdict::Keep => {
            let worker = &context.worker;
            worker.pools.give_to(lease.shelf, lease.connection, worker.now_ms());
        }
        Verdict::Wash(_) => wash::start(context, lease),
        Verdict::Close(_) | Verdict::Hold(_) => drop(lease),
    }
    forget(context, holds);
}

/// A session that holds no connection looks for its schema again, which another one had dropped.
pub(crate) fn look_for_schema(
    context: &Context,
    state: &mut SessionState,
    gone: &mut Option<Box<str>>,
    lease: Option<&Lease>,
) -> bool {
    let Some(schema) = gone.take_if(|_| lease.is_none()) else { return false };
    context.presence.info.set_schema(&schema);
    state.profile_mut().schema = Some(schema);
    true
}

pub(super) fn outcome<'s>(space: &'s RestSpace, _lease: &Lease) -> Outcome<'s> {
    let scanner = &space.exchange.scanner;
    Outcome {
        ended: Ended::Complete,
        status: scanner.status(),
        error: scanner.error().map(|error| error.code),
        message: if scanner.error().is_some() { scanner.last_packet() } else { &[] },
        results: scanner.results().saturating_sub(1),
        affected_rows: scanner.affected_rows(),
        insert_id: scanner.last_insert_id(),
        warnings: scanner.warnings(),
        rows: (scanner.columns() > 0).then(|| scanner.rows()),
        changes: &space.exchange.changes,
        is_cut: space.exchange.is_cut,
    }
}
