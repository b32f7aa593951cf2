//! A command that waits for a connection, while its client may leave and its session be pointed at another
//! backend.

use std::{future::poll_fn, pin::pin, task::Poll};

use highgate_config::{BackendName, Listener, ListenerName, User};
use highgate_core::route::{self, Role};

use super::Destination;
use crate::{
    mysql::{
        acquire::{AcquireError, Lease},
        client_stream::ClientStream,
        session::{Session, backend_of},
    },
    session::Context,
    session_info::Activity,
};

/// Where a session's commands go that no rule sends elsewhere, and what says so.
#[derive(Debug)]
pub(crate) struct Aim<'s> {
    listener: &'s ListenerName,
    settings: &'s Listener,
    account: &'s str,
    user: &'s User,
    /// The version of the snapshot that was looked at last.
    seen: u64,
}

impl<'s> Aim<'s> {
    /// Of a session that came by that listener, under that account.
    pub(crate) fn new(
        listener: &'s ListenerName,
        settings: &'s Listener,
        account: &'s str,
        user: &'s User,
    ) -> Self {
        Self { listener, settings, account, user, seen: 0 }
    }

    fn backend(&self) -> &BackendName {
        backend_of(self.user, self.settings)
    }

    /// Whether they go to another backend by now: as [`Session::follow_settings`] will find.
    fn has_moved(&mut self, context: &Context) -> bool {
        let snapshot = context.worker.snapshot();
        if snapshot.version == self.seen {
            return false;
        }
        self.seen = snapshot.version;
        let policy = &snapshot.policy;
        let listener = policy.listener(self.listener).map(|(_, settings)| &**settings);
        let listener = listener.filter(|new| new.mode == self.settings.mode);
        let user = policy.users.get(self.account).map(|user| &**user);
        let now = backend_of(user.unwrap_or(self.user), listener.unwrap_or(self.settings));
        now != self.backend()
    }
}

/// Gets a connection for a client that is there: who leaves while it waits has nothing carried out, and its
/// place is free. So with who is pointed at another backend. (Not while one is opened: a login that was broken
/// off would be held against us by its server.)
pub(crate) async fn while_there(
    context: &Context,
    client: &mut ClientStream,
    mut aim: Option<Aim<'_>>,
    acquired: impl Future<Output = Result<Lease, AcquireError>>,
) -> Result<Lease, AcquireError> {
    let mut acquired = pin!(acquired);
    let waits = || context.presence.info.activity() == Activity::Waiting;
    let mut has_moved = || aim.as_mut().is_some_and(|aim| waits() && aim.has_moved(context));
    let lease = poll_fn(|cx| {
        // Before what comes free at the old one is taken.
        if has_moved() {
            return Poll::Ready(Err(AcquireError::Elsewhere));
        }
        let lease = acquired.as_mut().poll(cx);
        if !lease.is_pending() || !waits() {
            return lease;
        }
        if has_moved() {
            return Poll::Ready(Err(AcquireError::Elsewhere));
        }
        client.poll_gone(cx).map(|ending| Err(AcquireError::Ended(ending)))
    })
    .await;
    if matches!(lease, Err(AcquireError::Elsewhere)) {
        // That of the wait which was broken off.
        context.slot.set_deadline(None);
    }
    lease
}

impl Session<'_> {
    /// Whether a backend is no more that is not the session's own: what rules say by now tells where its
    /// commands go.
    pub(super) fn is_gone(&self, to: &Destination) -> bool {
        let is_sent = to.by_rule || to.backend != *self.backend();
        let snapshot = self.context.worker.snapshot();
        is_sent && to.role != Role::Same && !snapshot.policy.backends.contains_key(&to.backend)
    }

    /// Whether the session's backend was renamed, or is another one, since the command was sent there.
    pub(super) fn is_sent_elsewhere(&mut self, to: &mut Destination) -> bool {
        if to.backend != *self.backend() {
            return false;
        }
        let snapshot = self.context.worker.snapshot();
        // A rule means the one that it names, as long as that is there.
        if to.by_rule && snapshot.policy.backends.contains_key(&to.backend) {
            return false;
        }
        let lex = self.lex;
        self.follow_settings(&snapshot);
        let before = std::mem::replace(&mut to.backend, self.backend().clone());
        if before == to.backend {
            return false;
        }
        if let Some(group) = snapshot.placement.groups.get(&to.backend)
            && to.server.is_none()
        {
            // What the session has written it has written elsewhere: no replica there comes to know of it.
            let may_split = self.settings.read_write_split && !to.causal && lex == self.lex;
            to.role = route::role_at(to.role, group.backend.topology, may_split);
        }
        to.causal = false;
        true
    }
}
