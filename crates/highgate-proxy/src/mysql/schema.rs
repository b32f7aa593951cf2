//! Whether the schema of a login exists, as a server says.

use highgate_config::BackendName;
use highgate_core::prepare::{Needs, difference};
use highgate_io::clock;
use highgate_mysql::Answer;

use crate::mysql::{
    acquire::{self, AcquireError, Lease, Order, Wish},
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
        let connection = &mut lease.connection;
        let steps = &mut space.rest.steps;
        let needs = Needs::default();
        let fits = difference(&self.state, &mut connection.state, &needs, false, steps);
        let steps = std::mem::take(steps);
        let mut refused = Ok(());
        if fits.is_ok() {
            let exchange = &mut space.rest.exchange;
            match prepare::run(&self.context.slot, connection, &steps, exchange, None).await {
                Ok(()) => {}
                Err(Unprepared::Refused { answer, is_clients: true, .. }) => refused = Err(answer),
                Err(_) => return (Ok(()), false),
            }
        }
        self.context.worker.give_space(space);
        let may_be_new = refused.is_err() && self.primary_may_know(lease.connection.server());
        if lease.connection.state.schema_unknown {
            wash::start(self.context, lease);
        } else {
            let worker = &self.context.worker;
            worker.pools.give_to(lease.shelf, lease.connection, worker.now_ms());
        }
        (refused, may_be_new)
    }

    /// A connection to ask over; `None` where no server can be reached.
    async fn acquire_for_schema(
        &mut self,
        backend: &BackendName,
        wish: Wish,
    ) -> Option<Result<Lease, AcquireError>> {
        let order = Order {
            backend,
            wish,
            server: None,
            exclude: &[],
            avoid: &[],
            profile: &self.state.profile,
            from: self.who.from,
            started: clock::now(),
            is_own: true,
            is_fresh: false,
        };
        let snapshot = self.context.worker.snapshot();
        let can_serve = snapshot
            .placement
            .groups
            .get(backend)
            .is_some_and(|group| group.members.iter().any(|member| member.status.serves()));
        if !can_serve {
            return None;
        }
        let aim =
            forward::Aim::new(&self.listener_now, &self.settings, &self.state.user, &self.user);
        let acquired = acquire::acquire(self.context, &self.who, &mut self.keys, order, None, None);
        Some(forward::while_there(self.context, &mut self.client, Some(aim), acquired).await)
    }
}
