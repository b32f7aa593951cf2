//! Bringing a lease to the session's state before a command, and what is to be done where that fails.

use highgate_config::{BackendName, Topology};
use highgate_core::{
    events::Severity,
    pins::PinCause,
    prepare::{self as core_prepare, CausalNeed, CausalWait, Needs, Step, Unfit},
    route::{self, Role, RouteRefused},
    server::ServerState,
    settle::{self, Lost},
    snapshot::Group,
    track::{self, CommandFacts, CommandKind},
};
use highgate_mysql::{Answer, error_code, sql::Flavor};

use crate::{
    mysql::{
        acquire::{Lease, Wish},
        client_stream::Framed,
        command::RestSpace,
        exchange::Stopped,
        prepare::{self, Unprepared},
        server_connection::ServerConnection,
        session::Session,
    },
    session::{Context, Ending},
    slots::Interrupt,
};

use super::{Behind, Destination, Ran, Reason, Tried, lost::transaction_lost, millis};

impl Session<'_> {
    /// Brings the connection to the session's state. `None`: it is there.
    pub(super) async fn prepare(
        &mut self,
        lease: &mut Lease,
        own: bool,
        to: &Destination,
        facts: &CommandFacts<'_>,
        space: &mut RestSpace,
    ) -> Option<Tried> {
        let mut refused = 0;
        // A capture of LAST_INSERT_ID() changes what is to be done, a failed SET resets.
        for _ in 0..3 {
            let connection = &mut lease.connection;
            let fits = self.missing(connection, own, to, facts, &mut space.steps);
            let steps = &space.steps;
            if let Err(unfit) = fits {
                match self.unfit(unfit, own, facts) {
                    Some(tried) => return Some(tried),
                    None => continue,
                }
            }
            if steps.is_empty() && !connection.has_many_to_close() {
                return None;
            }
            let conn = &connection.state;
            let in_none =
                conn.profile.schema.is_none() && !conn.schema_unknown && conn.dirt.is_empty();
            let (causal, wait) = self.causal(connection, to);
            let captures = steps.iter().any(|step| matches!(step, Step::CaptureLastInsertId));
            // Galera's own bound on the wait is the server's alone.
            let bounded = causal && wait == CausalWait::WsrepSyncWait;
            match self.run_steps(lease, bounded, space).await {
                Ok(()) if captures => {}
                Ok(()) => return None,
                // It is in the middle of its wait: of no use to anybody.
                Err(Unprepared::Stopped(Stopped::Told(Interrupt::Deadline))) if bounded => {
                    return Some(Tried::Behind(Behind::Stuck));
                }
                Err(unprepared) => {
                    if let Unprepared::Refused { answer, .. } = &unprepared {
                        refused = answer.code;
                    }
                    if !own && self.goes_on_without_schema(lease, &unprepared) {
                        // A schema that is refused leaves the one before: here, none.
                        lease.connection.state.schema_unknown = !in_none;
                        if in_none {
                            continue;
                        }
                        let why = "on a connection with another schema".to_owned();
                        return Some(Tried::Unfit { why });
                    }
                    if let Some(tried) = self.after_unprepared(lease, own, unprepared) {
                        return Some(tried);
                    }
                }
            }
        }
        // The number alone: the server's words may repeat a value of the client's.
        let why = || format!("where a server refused to be prepared, with error {refused}");
        Some(if own { self.unprepared_own() } else { Tried::Unfit { why: why() } })
    }

    /// Another session dropped its schema: as on a server, it goes on, if in none. Where it is bound to no
    /// connection, its next command looks for the schema again.
    fn goes_on_without_schema(&mut self, lease: &Lease, unprepared: &Unprepared) -> bool {
        let Unprepared::Refused { gone: Some(gone), .. } = unprepared else { return false };
        // A replica may not have it yet.
        if self.state.schema() != Some(gone) || self.primary_may_know(lease.connection.server()) {
            return false;
        }
        self.follow_schema(|session| session.state.profile_mut().schema = None);
        self.gone_schema = Some(gone.clone());
        true
    }

    /// Whether the connection that the session holds can serve it no more.
    pub(super) fn is_over(&self, lease: &Lease) -> bool {
        is_over(self.context, self.taken_for, self.holds.as_ref(), lease)
    }

    /// What the session held is gone with its connection, which ended before the command came.
    pub(super) fn found_dead(&mut self, lease: &Lease, facts: &CommandFacts<'_>) -> Tried {
        self.note_loss(lease, &Stopped::ServerClosed);
        let server = lease.connection.server();
        let pins = self.state.pins;
        match settle::server_lost(&mut self.state) {
            Lost::Nothing => {
                let why = "since its connection was closed while it lay idle".to_owned();
                Tried::Again { server: server.id, why, reason: Reason::Lost, ran: Ran::No }
            }
            // It has what it asks for.
            Lost::Transaction if route::rolls_back(facts) => {
                let why = "since its transaction was rolled back with its connection".to_owned();
                Tried::Again { server: server.id, why, reason: Reason::Lost, ran: Ran::No }
            }
            Lost::Transaction => {
                self.note_transaction_lost(Some(server));
                Tried::Refused(transaction_lost())
            }
            Lost::State(_) => {
                self.note_failed(
                    server,
                    &format!("its connection was lost before, and with it {pins}"),
                );
                Tried::Refused(connection_killed())
            }
        }
    }

    /// A PING asks no server; but where the connection has ended that the session holds, who tests it so
    /// is told, as any other command would be. `None`: there is nothing to tell.
    ///
    /// Cancel safe: no; the connections must be closed.
    pub(crate) async fn ping_held(
        &mut self,
        facts: &CommandFacts<'_>,
        framed: Framed,
    ) -> Option<Result<(), Ending>> {
        let (context, taken_for, holds) = (self.context, self.taken_for, self.holds.as_ref());
        let lease = self.lease.take_if(|lease| is_over(context, taken_for, holds, lease))?;
        let Tried::Refused(answer) = self.found_dead(&lease, facts) else {
            self.abandon(lease);
            return None;
        };
        let ending = self.after_refusal(lease, true);
        Some(self.tell_refused(&answer, ending, facts, framed).await)
    }

    /// A session that waits for its client lets go of what it holds on a server that must be parted with:
    /// there its locks would stand in others' way until its next command, which may never come. That
    /// command is told.
    pub(crate) fn part_with_held(&mut self) {
        let Some(lease) = self.lease.take() else { return };
        let pins = self.state.pins;
        if settle::server_lost(&mut self.state) != Lost::Nothing {
            self.lost = Some(pins);
            self.note_parted(lease.connection.server(), pins);
        }
        self.abandon(lease);
    }

    /// No steps lead to the session's state. `None`: now they do.
    fn unfit(&mut self, unfit: Unfit, own: bool, facts: &CommandFacts<'_>) -> Option<Tried> {
        let session = self.context.presence.info.id;
        tracing::debug!(session, pins = %self.state.pins, "connection unfit: {unfit}");
        match unfit {
            // Now it is known: the command goes where its session's writes can follow.
            Unfit::Autocommit => {
                self.state.autocommit = false;
                Some(Tried::Behind(Behind::Uncommitted))
            }
            Unfit::Counts => Some(self.counts_are_gone(facts)),
            // So would be any other: none is looked for.
            Unfit::Pinned => self.orphaned(),
            _ if own => Some(self.unprepared_own()),
            _ => Some(Tried::Unfit { why: format!("on a connection that was not fit: {unfit}") }),
        }
    }

    /// What brings the connection to the session's state, written into `steps`.
    pub(super) fn missing(
        &self,
        connection: &mut ServerConnection,
        own: bool,
        to: &Destination,
        facts: &CommandFacts<'_>,
        steps: &mut Vec<Step>,
    ) -> Result<(), Unfit> {
        let executes = matches!(
            facts.command,
            CommandKind::StmtBulkExecute
                | CommandKind::StmtExecute
                | CommandKind::StmtFetch
                | CommandKind::StmtSendLongData
        );
        let (causal, wait) = self.causal(connection, to);
        let position = if causal { self.state.last_write.as_deref() } else { None };
        let (state, conn) = (&self.state, &mut connection.state);
        let (found_rows, row_count) = track::asks_counts(state, facts);
        let needs = Needs {
            statement: facts.statement.filter(|_| executes),
            last_insert_id: core_prepare::needs_last_insert_id(state, conn, facts),
            no_diagnostics: core_prepare::needs_no_diagnostics(state, facts, own),
            found_rows,
            row_count,
            ends_itself: to.role == Role::Replica,
            causal: causal.then(|| CausalNeed {
                position: position.unwrap_or_default(),
                wait,
                timeout_ms: millis(self.settings.causal_reads_timeout),
            }),
        };
        core_prepare::difference(state, conn, &needs, own, steps)
    }

    /// Whether the command must see the session's last write, and how its server would wait for it.
    fn causal(&self, connection: &ServerConnection, to: &Destination) -> (bool, CausalWait) {
        let causal = to.causal && !self.is_on_primary(connection.server());
        (causal, causal_wait(connection.state.flavor, connection.topology()))
    }

    /// Runs the steps that were found to be needed; `bounded`: for no longer than a causal read may
    /// wait.
    pub(super) async fn run_steps(
        &mut self,
        lease: &mut Lease,
        bounded: bool,
        space: &mut RestSpace,
    ) -> Result<(), Unprepared> {
        let steps = std::mem::take(&mut space.steps);
        let slot = &self.context.slot;
        if bounded {
            let timeout = self.settings.causal_reads_timeout;
            slot.set_deadline(self.context.worker.deadline(timeout));
        }
        let (connection, state) = (&mut lease.connection, &mut self.state);
        let done = prepare::run(slot, connection, &steps, &mut space.exchange, Some(state)).await;
        if bounded {
            slot.set_deadline(None);
        }
        space.steps = steps;
        done
    }

    /// Whether that server takes the writes now: it is as far as any.
    fn is_on_primary(&self, server: &ServerState) -> bool {
        let snapshot = self.context.worker.snapshot();
        let group = snapshot.placement.groups.get(&server.backend);
        let primary = group.and_then(|group| group.members.get(group.primary?));
        primary.is_some_and(|primary| primary.state.id == server.id)
    }

    /// It is a replica, whose word on what there is may be an old one, and there is a primary to ask.
    pub(crate) fn primary_may_know(&self, server: &ServerState) -> bool {
        let snapshot = self.context.worker.snapshot();
        let group = snapshot.placement.groups.get(&server.backend);
        let primary = group.and_then(|group| group.members.get(group.primary?));
        primary.is_some_and(|primary| primary.state.id != server.id)
    }

    /// What the session asks for, no connection can tell; it keeps the next one.
    fn counts_are_gone(&mut self, facts: &CommandFacts<'_>) -> Tried {
        track::denied(&mut self.state, facts);
        let refused = RouteRefused::Leftover { function: "FOUND_ROWS() or ROW_COUNT()" };
        self.note_not_routed(&refused);
        Tried::Refused(refused.answer())
    }

    /// The session is bound to a connection that it does not have: what went with that is told now.
    /// `None`: nothing did.
    ///
    /// A second net: where a connection is lost its session is told there and then (`lost.rs`,
    /// `release.rs`), and no way is known by which one comes here that was not. It would take and close
    /// server connections at each of its commands.
    fn orphaned(&mut self) -> Option<Tried> {
        match settle::server_lost(&mut self.state) {
            Lost::Nothing => None,
            Lost::Transaction => Some(Tried::Refused(transaction_lost())),
            Lost::State(pins) => {
                let why = format!("its connection was lost before, and with it {pins}");
                self.must_end = Some(Ending::ServerFailed(why));
                Some(Tried::Refused(connection_killed()))
            }
        }
    }

    pub(super) fn unprepared_own(&self) -> Tried {
        let why = "the session could not be brought to its state on its own connection";
        self.note_refused_here(Severity::Warning, why);
        Tried::Refused(
            error_code::ER_UNKNOWN_ERROR
                .answer("The session could not be brought to its state on its own connection"),
        )
    }

    pub(super) fn after_unprepared(
        &mut self,
        lease: &mut Lease,
        own: bool,
        unprepared: Unprepared,
    ) -> Option<Tried> {
        match unprepared {
            Unprepared::Behind => Some(Tried::Behind(Behind::Waited)),
            Unprepared::Refused { is_clients: true, .. }
                if !own && self.primary_may_know(lease.connection.server()) =>
            {
                Some(Tried::Behind(Behind::Unknown))
            }
            Unprepared::Refused { answer, is_clients: true, .. } => Some(Tried::Refused(answer)),
            // Its state is marked as unknown: the next difference begins with a reset.
            Unprepared::Refused { .. } if !own => None,
            Unprepared::Refused { answer, .. } => Some(Tried::Refused(answer)),
            Unprepared::Stopped(stopped) => Some(self.stopped_before(lease, own, stopped)),
        }
    }

    /// The connection failed before a byte of the command left.
    pub(super) fn stopped_before(
        &mut self,
        lease: &mut Lease,
        own: bool,
        stopped: Stopped,
    ) -> Tried {
        match stopped {
            Stopped::Client(ending) => return Tried::Ended(ending),
            Stopped::Told(Interrupt::Kill) => return Tried::Ended(Ending::Killed),
            Stopped::Told(told @ (Interrupt::KillQuery | Interrupt::Deadline)) => {
                self.context.slot.clear(told);
                // The answer to what was being prepared is to come: whoever had the connection next
                // would take it for its own.
                lease.connection.state.dirt.insert(PinCause::SessionUnknown);
                if own && settle::server_lost(&mut self.state) != Lost::Nothing {
                    return self.own_connection_lost();
                }
                let text = "Query execution was interrupted";
                return Tried::Refused(error_code::ER_QUERY_INTERRUPTED.answer(text));
            }
            _ => {}
        }
        self.note_loss(lease, &stopped);
        let server = lease.connection.server().id;
        if own {
            return self.own_connection_lost();
        }
        let why = "its connection was lost while being prepared".to_owned();
        Tried::Again { server, why, reason: Reason::Lost, ran: Ran::No }
    }

    /// The connection that the session was bound to is gone.
    pub(super) fn own_connection_lost(&mut self) -> Tried {
        match settle::server_lost(&mut self.state) {
            Lost::State(pins) => Tried::Ended(Ending::ServerFailed(format!(
                "the connection was lost, and with it {pins}"
            ))),
            Lost::Transaction | Lost::Nothing => {
                self.note_transaction_lost(None);
                Tried::Refused(transaction_lost())
            }
        }
    }
}

/// What the session had is lost with its connection, and no error but this tells all of it.
pub(crate) fn connection_killed() -> Answer {
    error_code::ER_CONNECTION_KILLED.answer(
        "Connection was killed: the session's server connection is lost; nothing was executed",
    )
}

fn causal_wait(flavor: Flavor, topology: Topology) -> CausalWait {
    match (topology, flavor) {
        (Topology::Galera, _) => CausalWait::WsrepSyncWait,
        (_, Flavor::MySql) => CausalWait::WaitForExecutedGtidSet,
        _ => CausalWait::MasterGtidWait,
    }
}

/// What has come there unasked is the connection's end; and a server that was declared down since may live
/// on, while another took its place.
fn is_over(
    context: &Context,
    taken_for: Option<Wish>,
    holds: Option<&BackendName>,
    lease: &Lease,
) -> bool {
    let may_go_on = |group: &Group, server: &ServerState| {
        group.may_go_on(server, taken_for == Some(Wish::Writer))
    };
    let connection = &lease.connection;
    connection.transport.has_news()
        || !connection.is_current()
            && !in_its_group(context, connection.server(), taken_for, holds, may_go_on)
                .unwrap_or(!connection.server().is_given_up())
}

/// Whether it leads to a server with which no session goes on.
pub(crate) fn must_part(
    context: &Context,
    taken_for: Option<Wish>,
    holds: Option<&BackendName>,
    lease: &Lease,
) -> bool {
    let must_part = |group: &Group, server: &ServerState| {
        group.must_part(server, taken_for == Some(Wish::Writer))
    };
    let connection = &lease.connection;
    !connection.is_current()
        && in_its_group(context, connection.server(), taken_for, holds, must_part)
            .unwrap_or(connection.server().is_given_up())
}

/// What the group says of a server that judges of it. `None` where there is none.
fn in_its_group(
    context: &Context,
    server: &ServerState,
    taken_for: Option<Wish>,
    holds: Option<&BackendName>,
    says: impl FnOnce(&Group, &ServerState) -> bool,
) -> Option<bool> {
    let snapshot = context.worker.snapshot();
    Some(says(snapshot.judge_of(server, taken_for.is_some(), holds)?, server))
}
