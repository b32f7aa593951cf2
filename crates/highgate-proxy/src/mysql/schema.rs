//! Whether the schema of a login exists, as a server says.

use highgate_config::BackendName;
use highgate_core::{
    prepare::{Needs, difference},
    server::TrafficFailure,
};
use highgate_io::clock;
use highgate_mysql::Answer;

use crate::mysql::{
    acquire::{self, AcquireError, Lease, Order, Wish},
    command::RestSpace,
    forward,
    prepare::{self, Unprepared},
    session::Session,
    wash,
};

impl Session<'_> {
    /// Whether the schema of the login exists for this account, as the server says.
    ///
    /// With a pooled connection that is in that schema already, this asks nobody. Where no server
    /// can be reached the login goes on: its commands will say what is wrong.
    pub(crate) async fn check_schema(&mut self) -> Result<(), Answer> {
        let (refused, may_be_new) = self.ask_for_schema(Wish::Reader).await;
        if !may_be_new {
            return refused;
        }
        // The replica may not have what another session has just made.
        self.ask_for_schema(Wish::Writer).await.0
    }

    /// What a server says of the schema, and whether the primary may know better.
    async fn ask_for_schema(&mut self, wish: Wish) -> (Result<(), Answer>, bool) {
        let acquired = loop {
            let backend = self.backend().clone();
            match self.acquire_for_schema(&backend, wish).await {
                Some(Err(AcquireError::Elsewhere)) => {
                    let snapshot = self.context.worker.snapshot();
                    self.follow_settings(&snapshot);
                    if *self.backend() == backend {
                        break None;
                    }
                }
                acquired => break acquired,
            }
        };
        let mut lease = match acquired {
            Some(Ok(lease)) => lease,
            Some(Err(error @ AcquireError::Denied { .. })) => {
                return (Err(error.answer("")), false);
            }
            Some(Err(_)) | None => return (Ok(()), false),
        };
        let mut space = self.context.worker.take_space();
        let said = self.choose_schema(&mut lease, &mut space.rest).await;
        self.context.worker.give_space(space);
        let Some(refused) = said else { return (Ok(()), false) };
        let may_be_new = refused.is_err() && self.primary_may_know(lease.connection.server());
        if lease.connection.state.schema_unknown {
            wash::start(self.context, lease);
        } else {
            let worker = &self.context.worker;
            worker.pools.give_to(lease.shelf, lease.connection, worker.now_ms());
        }
        (refused, may_be_new)
    }

    /// Has a connection be in the session's schema. `None`: nothing was heard that is of use; the connection is to be
    /// closed.
    ///
    /// Cancel safe: no; the connection must be closed.
    async fn choose_schema(
        &self,
        lease: &mut Lease,
        space: &mut RestSpace,
    ) -> Option<Result<(), Answer>> {
        let RestSpace { exchange, steps, .. } = space;
        steps.clear();
        let (connection, needs) = (&mut lease.connection, Needs::default());
        let fits = difference(&self.state, &mut connection.state, &needs, false, steps);
        if fits.is_err() || steps.is_empty() {
            return Some(Ok(()));
        }
        let slot = &self.context.slot;
        // Who waits for a server that is found down is told so; one that lay idle may hang, and nobody knows.
        slot.set_server(Some(connection.server().id.0));
        let deadline = clock::now() + connection.connect_timeout();
        let run = prepare::run(slot, connection, steps, exchange, None);
        let said = clock::before(deadline, run).await;
        slot.set_server(None);
        match said {
            Some(Ok(())) => Some(Ok(())),
            Some(Err(Unprepared::Refused { answer, is_clients: true, .. })) => Some(Err(answer)),
            Some(Err(_)) => None,
            None => {
                let worker = &self.context.worker;
                worker.report(lease.connection.server(), TrafficFailure::Silent);
                None
            }
        }
    }

    /// A connection to ask over; `None` where no server can be reached.
    async fn acquire_for_schema(
        &mut self,
        backend: &BackendName,
        wish: Wish,
    ) -> Option<Result<Lease, AcquireError>> {
        let snapshot = self.context.worker.snapshot();
        let group = snapshot.placement.groups.get(backend)?;
        if !group.members.iter().any(|member| member.status.serves()) {
            return None;
        }
        let order = Order {
            backend,
            wish: if group.leaves_all_to_primary() { Wish::Writer } else { wish },
            server: None,
            exclude: &[],
            avoid: &[],
            profile: &self.state.profile,
            from: self.who.from,
            started: clock::now(),
            is_own: true,
            is_fresh: false,
        };
        let aim =
            forward::Aim::new(&self.listener_now, &self.settings, &self.state.user, &self.user);
        let acquired = acquire::acquire(self.context, &self.who, &mut self.keys, order, None, None);
        Some(forward::while_there(self.context, &mut self.client, Some(aim), acquired).await)
    }
}
