//! Which server a command gets a connection to, and the wait until one can serve.

use std::{future::poll_fn, sync::Arc, task::Poll, time::Duration};

use highgate_core::{
    choose::{self, NoServer},
    server::ServerId,
    snapshot::{Group, Member, Writes},
};
use highgate_io::clock;

use super::{AcquireError, Order, Wish};
use crate::{
    choice::{self, Want},
    session::{Context, Ending},
    session_info::Activity,
    slots::{Interrupt, Within},
};

pub(super) async fn choose(
    context: &Context,
    order: &Order<'_>,
    failed: &mut Vec<ServerId>,
    last: Option<String>,
) -> Result<(Arc<Group>, usize), AcquireError> {
    let worker = &context.worker;
    let group = choice::group(worker, order.backend)
        .ok_or_else(|| AcquireError::NoBackend(order.backend.clone()))?;
    match pick(context, &group, order, failed) {
        Ok(index) => Ok((group, index)),
        Err(why) => Box::pin(wait(context, order, failed, group, (why, last))).await,
    }
}

pub(super) fn pick(
    context: &Context,
    group: &Group,
    order: &Order<'_>,
    failed: &[ServerId],
) -> Result<usize, NoServer> {
    let named: Vec<usize>;
    // Whom else a read may ask.
    let mut instead: &[usize] = &[];
    let candidates = match order.wish {
        _ if order.server.is_some() => {
            let is_named = |member: &Member| Some(member.state.name.as_str()) == order.server;
            named = (0..group.members.len())
                .filter(|at| group.members.get(*at).is_some_and(is_named))
                .collect();
            &*named
        }
        Wish::Reader => {
            instead = group.instead_of_readers();
            group.for_reads()
        }
        Wish::Writer => &group.writers,
    };
    let from = order.from;
    // A server that is asked for by its name gets the command, and says itself what it thinks of it.
    let writes = order.wish == Wish::Writer && order.server.is_none();
    let is_own = order.is_own;
    let worker = &context.worker;
    if !order.avoid.is_empty() {
        let exclude = [failed, order.avoid].concat();
        let want = Want { candidates, from, exclude: &exclude, writes, is_own };
        let others = choice::choose(worker, group, &want);
        if others.is_ok() {
            return others;
        }
    }
    let want = Want { candidates, from, exclude: failed, writes, is_own };
    let chosen = choice::choose(worker, group, &want);
    let is_shunned = |at: usize| {
        let member = group.members.get(at);
        member.is_none_or(|member| member.state.is_shunned(worker.coarse_now()))
    };
    choose::or_instead(chosen, instead, is_shunned, |candidates| {
        choice::choose(worker, group, &Want { candidates, ..want })
    })
}

/// Waits until somebody can serve: by a new snapshot, or because a server that failed a moment ago
/// may be tried again.
async fn wait(
    context: &Context,
    order: &Order<'_>,
    failed: &mut Vec<ServerId>,
    first: Arc<Group>,
    (mut why, last): (NoServer, Option<String>),
) -> Result<(Arc<Group>, usize), AcquireError> {
    let worker = &context.worker;
    refused(order, &first)?;
    let by = order.started + first.backend.failover_wait;
    let mut seen = first;
    loop {
        let left = by.saturating_duration_since(clock::now());
        if left.is_zero() {
            return Err(no_server(order, &seen, why, last));
        }
        context.shows(Activity::Waiting);
        context.slot.set_deadline(Some(Within::new(left.min(FORGIVEN))));
        let found = poll_fn(|_| {
            if let Some(end) = told_while_waiting(context) {
                return Poll::Ready(end);
            }
            let Some(group) = choice::group(worker, order.backend) else {
                return Poll::Ready(Err(AcquireError::NoBackend(order.backend.clone())));
            };
            if let Err(refused) = refused(order, &group) {
                return Poll::Ready(Err(refused));
            }
            if !Arc::ptr_eq(&group, &seen) {
                failed.clear();
                seen = group.clone();
            }
            pick(context, &group, order, failed)
                .map_or(Poll::Pending, |index| Poll::Ready(Ok(Some((group, index)))))
        })
        .await;
        context.slot.set_deadline(None);
        if let Some(found) = found? {
            return Ok(found);
        }
        failed.clear();
        match pick(context, &seen, order, failed) {
            Ok(index) => return Ok((seen, index)),
            Err(now) => why = now,
        }
    }
}

/// After this time a server that failed may be tried again, whether it was judged anew or not: it
/// may have been away for less than a check's interval.
const FORGIVEN: Duration = Duration::from_millis(300);

/// Where writes are refused, waiting would not help.
fn refused(order: &Order<'_>, group: &Group) -> Result<(), AcquireError> {
    match &group.writes {
        Writes::Refused { reason } if order.wish == Wish::Writer => {
            Err(AcquireError::NoPrimary(reason.clone()))
        }
        _ => Ok(()),
    }
}

/// What a waiting session was told: its time is up (`Ok`), or it is to end.
fn told_while_waiting<T>(context: &Context) -> Option<Result<Option<T>, AcquireError>> {
    match context.slot.interrupted()? {
        Interrupt::Deadline => Some(Ok(None)),
        Interrupt::KillQuery => {
            context.slot.clear(Interrupt::KillQuery);
            Some(Err(AcquireError::Killed))
        }
        Interrupt::Kill => Some(Err(AcquireError::Ended(Ending::Killed))),
        Interrupt::ServerDown => {
            context.slot.clear(Interrupt::ServerDown);
            None
        }
        Interrupt::Drain => None,
    }
}

fn no_server(
    order: &Order<'_>,
    group: &Group,
    why: NoServer,
    last: Option<String>,
) -> AcquireError {
    match &group.writes {
        Writes::Waiting { reason } | Writes::Refused { reason } if order.wish == Wish::Writer => {
            AcquireError::NoPrimary(reason.clone())
        }
        _ if order.wish == Wish::Reader && group.keeps_reads_off_primary() => {
            AcquireError::NoReader { why, last }
        }
        _ => AcquireError::NoServer { why, last },
    }
}
