//! Choosing a server and waiting for one: the shell around `highgate_core::choose`.

use std::{
    future::poll_fn,
    hash::BuildHasher,
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
    task::Poll,
    time::Instant,
};

use highgate_config::{BackendName, Balance};
use highgate_core::{
    choose::{self, NoServer, Turn},
    events::{Event, Kind, Severity},
    limits::{WaiterId, and_more},
    server::{ServerId, ServerState},
    snapshot::{Group, Member},
};

use crate::{
    broker::{Place, Wanted},
    pool::{Grant, Limit, PoolKey},
    session::{Context, Ending},
    session_info::Activity,
    slots::{Interrupt, Within},
    worker::{Mail, Worker},
};

/// What a command needs of a server.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Want<'a> {
    /// Members that may take it, by role.
    pub(crate) candidates: &'a [usize],
    /// The client's address, for balancing by source.
    pub(crate) from: Option<SocketAddr>,
    /// Servers that were tried already.
    pub(crate) exclude: &'a [ServerId],
    /// Whether it writes, in a watched topology or elsewhere.
    pub(crate) writes: bool,
    /// Whether Highgate asks for itself.
    pub(crate) is_own: bool,
}

/// The group of that backend in the snapshot in force.
pub(crate) fn group(worker: &Worker, backend: &BackendName) -> Option<Arc<Group>> {
    worker.snapshot().placement.groups.get(backend).cloned()
}

/// The member that takes the next command.
pub(crate) fn choose(worker: &Worker, group: &Group, want: &Want<'_>) -> Result<usize, NoServer> {
    let key = want.from.map(|from| foldhash::fast::FixedState::default().hash_one(from.ip()));
    let request = choose::Request {
        members: &group.members,
        candidates: want.candidates,
        balance: group.backend.balance,
        key,
        exclude: want.exclude,
        max_lag_ms: None,
        full_ok: true,
        writes: want.writes,
        now: worker.coarse_now(),
    };
    let choose = |turn: &mut Turn| choose::choose(&request, turn, &mut || worker.random());
    // Only round robin remembers whose turn it is.
    match request.balance {
        // What Highgate asks goes where the next command will, and takes nobody's turn: of two servers
        // one would be asked at each login, and the other run all that follows.
        Balance::RoundRobin if want.is_own => {
            worker.with_turn(&group.name, |turn| choose(&mut turn.clone()))
        }
        Balance::RoundRobin => worker.with_turn(&group.name, choose),
        _ => choose(&mut Turn::default()),
    }
}

/// Chooses; while nobody can serve, waits for a snapshot in which somebody can. `None` at the
/// deadline.
pub(crate) async fn wait_for_member(
    context: &Context,
    first: &Arc<Group>,
    want: &Want<'_>,
    deadline: Instant,
) -> Result<Option<Member>, Ending> {
    let worker = &context.worker;
    let pick = |group: &Arc<Group>, candidates: &[usize]| {
        let index = choose(worker, group, &Want { candidates, ..*want }).ok()?;
        group.members.get(index).cloned()
    };
    if let Some(member) = pick(first, want.candidates) {
        return Ok(Some(member));
    }
    context.slot.set_deadline(Some(Within::until(deadline)));
    let found = poll_fn(|_| {
        // No statement runs: it would hide what comes behind it, the deadline too.
        context.slot.clear(Interrupt::KillQuery);
        match context.slot.interrupted() {
            Some(Interrupt::Deadline) => return Poll::Ready(Ok(None)),
            Some(_) => {
                if let Some(ending) = context.ending() {
                    return Poll::Ready(Err(ending));
                }
            }
            None => {}
        }
        // Woken by every new snapshot.
        let Some(group) = group(worker, &first.name) else { return Poll::Pending };
        pick(&group, &group.writers).map_or(Poll::Pending, |member| Poll::Ready(Ok(Some(member))))
    })
    .await;
    context.slot.set_deadline(None);
    found
}

/// Why waiting in a server's queue ended without a grant.
#[derive(Debug, thiserror::Error)]
pub(crate) enum QueueEnd {
    /// The session is to end.
    #[error("{0}")]
    Ended(Ending),
    /// The queue is as long as allowed.
    #[error("the connection limit of the server is reached and its queue is full")]
    Full,
    /// The running command is to end.
    #[error("killed while waiting for a connection")]
    Killed,
    /// The server does not take such commands any more, or its group is gone.
    #[error("the server takes other commands by now")]
    OutOfPlace,
    /// The server was declared down.
    #[error("the server went down")]
    ServerDown,
    /// It took too long.
    #[error("no connection became free in `queue_timeout`")]
    Timeout,
    /// It took too long, or too many wait, for connections of a server that gives no new ones.
    #[error("the server gives no new connections, and none of those that are open became free")]
    Unconnected,
}

/// A place in a server's queue. Dropped, it is left, and what was handed over and not taken is passed on.
struct Waiting<'c> {
    context: &'c Context,
    server: Arc<ServerState>,
    place: Option<WaiterId>,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let worker = &self.context.worker;
        if let Some(id) = self.place {
            worker.shared.brokers.cancel(&self.server, id);
        }
        // What is on its way comes too late for this wait, and is passed on as it comes.
        if let Some(grant) = self.context.slot.end_wait() {
            worker.pools.give_back(grant, worker.now_ms());
        }
    }
}

/// Waits for a connection of a full server, or for room to open one: first come, first served. `is_own`: for
/// Highgate's own question about the schema of a login, which is let in without an answer, too.
///
/// Cancel safe: yes; the place in the queue is left.
pub(crate) async fn wait_in_queue(
    context: &Context,
    group: &Group,
    member: &Member,
    key: Arc<PoolKey>,
    (deadline, is_own): (Instant, bool),
) -> Result<Grant, QueueEnd> {
    let worker = &context.worker;
    let server = &member.state;
    let max = usize::try_from(group.backend.max_queue).unwrap_or(usize::MAX);
    let now = worker.coarse_now();
    let wanted = Wanted { key: key.clone(), seat: Some(context.slot.begin_wait()) };
    let mut waiting = Waiting { context, server: server.clone(), place: None };
    let place = worker.shared.brokers.enqueue(server, max, worker.index, wanted, now);
    let Some(Place { id, tell }) = place else {
        return Err(in_vain(worker, group, member, QueueEnd::Full, is_own));
    };
    waiting.place = Some(id);
    if tell {
        tell_of_waits(worker, group, member);
    }
    context.shows(Activity::Waiting);
    let generation = server.generation();
    wake_holders_of_idle(worker, server);
    // What became free between the look and the queueing would otherwise be missed.
    if let Some(grant) = worker.pools.grant_now(&key, group, member) {
        return Ok(grant);
    }
    context.slot.set_deadline(Some(Within::until(deadline)));
    let mut is_in_place = in_place(worker, group, server.id);
    let end = poll_fn(|_| {
        // Before what was handed over is taken: a place at a server that was set apart comes free just then.
        if server.generation() != generation {
            return Poll::Ready(Err(QueueEnd::ServerDown));
        }
        if !is_in_place() {
            return Poll::Ready(Err(QueueEnd::OutOfPlace));
        }
        if let Some(grant) = context.slot.take_grant() {
            return Poll::Ready(Ok(grant));
        }
        match context.slot.interrupted() {
            Some(Interrupt::Deadline) => Poll::Ready(Err(QueueEnd::Timeout)),
            Some(Interrupt::KillQuery) => {
                // It was meant for this command alone: the next may lie in the inbox already.
                context.slot.clear(Interrupt::KillQuery);
                Poll::Ready(Err(QueueEnd::Killed))
            }
            Some(Interrupt::Kill) => Poll::Ready(Err(QueueEnd::Ended(Ending::Killed))),
            _ => Poll::Pending,
        }
    })
    .await;
    context.slot.set_deadline(None);
    drop(waiting);
    end.map_err(|end| in_vain(worker, group, member, end, is_own))
}

/// Whether a server still takes whatever commands it took in `group`: asked anew with each new snapshot of it.
pub(crate) fn in_place<'g>(
    worker: &'g Worker,
    group: &'g Group,
    server: ServerId,
) -> impl FnMut() -> bool + 'g {
    let mut seen: Option<Arc<Group>> = None;
    move || {
        let Some(now) = self::group(worker, &group.name) else { return false };
        let is_news = seen.as_ref().is_none_or(|seen| !Arc::ptr_eq(seen, &now));
        let stays = !is_news || std::ptr::eq(&*now, group) || !now.takes_less_than(group, server);
        seen = Some(now);
        stays
    }
}

/// Busy hours make commands wait, so that is no warning; who looks for a slow hour finds it here.
fn tell_of_waits(worker: &Worker, group: &Group, member: &Member) {
    let shared = &worker.shared;
    let server = &member.state;
    let open = server.opened.load(Ordering::Relaxed);
    let scarcity = match (server.is_shunned(worker.coarse_now()), open) {
        (true, 0) => "it gives no new connections, and none is open".to_owned(),
        (true, _) => {
            "it gives no new connections, and those that are open are all in use".to_owned()
        }
        (false, _) => scarcity(Limit::of(group, member), open, shared.has_server_sockets()),
    };
    let text = format!(
        "{scarcity}: commands wait, up to {} s each",
        group.backend.queue_timeout.as_secs_f32()
    );
    let event = Event::new(Severity::Info, Kind::Limit, text);
    worker.shared.event(event.backend(&group.name).server(&member.state.name));
}

/// What keeps another connection from being opened.
fn scarcity(limit: Limit, open: u32, has_descriptors: bool) -> String {
    if limit.max > 0 && open >= limit.max {
        format!("its {} connections are all in use or not open yet", limit.max)
    } else if !has_descriptors {
        "the limit of file descriptors (`ulimit -n`) leaves none for another connection to it"
            .to_owned()
    } else if limit.rate > 0 {
        format!(
            "`connect_rate` lets no more than {} connections a second be opened to it",
            limit.rate
        )
    } else {
        "its connections are all in use or not open yet".to_owned()
    }
}

/// Tells operators of a wait without success, and returns why.
fn in_vain(
    worker: &Worker,
    group: &Group,
    member: &Member,
    end: QueueEnd,
    is_own: bool,
) -> QueueEnd {
    let what = match end {
        QueueEnd::Full => "found `max_queue` others waiting for a connection",
        QueueEnd::Timeout => "waited for a connection for the whole of `queue_timeout`",
        QueueEnd::Ended(_)
        | QueueEnd::Killed
        | QueueEnd::OutOfPlace
        | QueueEnd::ServerDown
        | QueueEnd::Unconnected => {
            return end;
        }
    };
    let is_unconnected = member.state.is_shunned(worker.coarse_now());
    if let Some(untold) = worker.shared.brokers.lost(&member.state, worker.coarse_now()) {
        let more = and_more(untold);
        let limit = if is_unconnected {
            "the server gives no new connections".to_owned()
        } else {
            format!("the server's limit is {}", member.server.max_connections)
        };
        let (kind, text) = if is_own {
            let let_in = "and was let in, though nobody could be asked for its schema";
            (Kind::Limit, format!("a login {what} {let_in}; {limit}{more}"))
        } else {
            (Kind::Refusal, format!("a client {what} and was refused; {limit}{more}"))
        };
        let event = Event::new(Severity::Warning, kind, text);
        worker.shared.event(event.backend(&group.name).server(&member.state.name));
    }
    if is_unconnected { QueueEnd::Unconnected } else { end }
}

/// Where other workers hold idle connections of a full server, they are asked for one.
fn wake_holders_of_idle(worker: &Worker, server: &ServerState) {
    let opened = server.opened.load(Ordering::Relaxed);
    if opened <= server.hot.leased.load(Ordering::Relaxed) {
        return;
    }
    for other in 0..worker.shared.workers.len() {
        let _ = worker.post(other, Mail::Wanted(server.id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// "its 200 connections are all in use" was told of a server with two, which `connect_rate` held back.
    #[test]
    fn what_holds_connections_back_is_told_by_its_own_name() {
        for (max, rate, open, has_descriptors, told) in [
            (200, 0, 200, true, "its 200 connections are all in use or not open yet"),
            (200, 5, 200, true, "its 200 connections are all in use or not open yet"),
            (200, 5, 2, true, "`connect_rate` lets no more than 5 connections a second"),
            (200, 5, 2, false, "(`ulimit -n`) leaves none"),
            // One was closed between the look and this.
            (200, 0, 199, true, "its connections are all in use or not open yet"),
        ] {
            let text = scarcity(Limit { max, rate }, open, has_descriptors);
            assert!(text.contains(told), "{text}");
        }
    }
}
