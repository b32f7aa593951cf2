//! Where commands wait for a server whose connection limit is reached: first come, first served,
//! on whichever worker. Locks are taken only while somebody waits.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use highgate_core::{
    limits::{Broker, HandOver, Telling, TokenBucket, Waiter, WaiterId},
    server::{ServerId, ServerState},
};
use parking_lot::Mutex;

use crate::{pool::PoolKey, slots::Seat};

/// What a waiter needs, and where it sits.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub(crate) key: Arc<PoolKey>,
    pub(crate) seat: Option<Seat>,
}

impl PartialEq for Wanted {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

/// Who takes over what was given back.
#[derive(Debug)]
pub(crate) struct Heir {
    pub(crate) worker: usize,
    pub(crate) seat: Seat,
    /// Whether the connection itself is of use to it, or only the room.
    pub(crate) takes_connection: bool,
}

/// How fast connections may be opened, by server; only those that have a bound.
#[derive(Debug, Default)]
pub(crate) struct Rates(Mutex<BTreeMap<ServerId, TokenBucket>>);

impl Rates {
    /// Takes leave to open one; 0 = no bound.
    pub(crate) fn allows(&self, server: ServerId, rate: u32, now: Instant) -> bool {
        if rate == 0 {
            return true;
        }
        let mut buckets = self.0.lock();
        let bucket =
            buckets.entry(server).or_insert_with(|| TokenBucket::new(rate, burst(rate), now));
        bucket.take(now).is_ok()
    }

    /// As [`Rates::allows`], by the bound that was in force when one was opened last.
    pub(crate) fn allows_more(&self, server: ServerId, now: Instant) -> bool {
        self.0.lock().get_mut(&server).is_none_or(|bucket| bucket.take(now).is_ok())
    }

    /// Another bound is configured.
    pub(crate) fn set(&self, server: ServerId, rate: u32) {
        if let Some(bucket) = self.0.lock().get_mut(&server) {
            bucket.set_rate(rate, burst(rate));
        }
    }
}

/// Leave that is saved up: what comes due between two looks at the queues, twice.
fn burst(rate: u32) -> u32 {
    (rate / 5).max(1)
}

/// Time between two events about commands that wait for one server.
const WAITS_TOLD_EVERY: Duration = Duration::from_secs(300);
/// Time between two events about commands that waited for it in vain.
const LOSSES_TOLD_EVERY: Duration = Duration::from_secs(10);

/// A server's queue, and what operators were told of it.
#[derive(Debug)]
struct Queue {
    broker: Broker<Wanted>,
    waits: Telling,
    losses: Telling,
}

/// One queue per server.
#[derive(Debug, Default)]
pub(crate) struct Brokers(Mutex<BTreeMap<ServerId, Queue>>);

/// A place in a queue.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) id: WaiterId,
    /// Operators are to be told that commands wait.
    pub(crate) tell: bool,
}

impl Brokers {
    /// Joins a server's queue; `None` when it is full. The server's `queued` counts it.
    pub(crate) fn enqueue(
        &self,
        server: &ServerState,
        max: usize,
        worker: usize,
        wanted: Wanted,
        now: Instant,
    ) -> Option<Place> {
        let mut queues = self.0.lock();
        let queue = queues.entry(server.id).or_insert_with(|| Queue {
            broker: Broker::new(max),
            waits: Telling::default(),
            losses: Telling::default(),
        });
        queue.broker.set_max(max);
        let id = queue.broker.enqueue(worker, wanted)?;
        server.hot.queued.fetch_add(1, Ordering::AcqRel);
        Some(Place { id, tell: queue.waits.happened(now, WAITS_TOLD_EVERY).is_some() })
    }

    /// A command waited in vain, or found the queue full. Some: operators are to be told, and of so
    /// many more.
    pub(crate) fn lost(&self, server: &ServerState, now: Instant) -> Option<u64> {
        let mut queues = self.0.lock();
        queues.get_mut(&server.id)?.losses.happened(now, LOSSES_TOLD_EVERY)
    }

    /// Leaves the queue. False: something has been handed over already.
    pub(crate) fn cancel(&self, server: &ServerState, id: WaiterId) -> bool {
        let mut brokers = self.0.lock();
        let found = brokers.get_mut(&server.id).is_some_and(|queue| queue.broker.cancel(id));
        if found {
            server.hot.queued.fetch_sub(1, Ordering::AcqRel);
        }
        found
    }

    /// Who waits longest for that server, now that a connection with `key` is free.
    pub(crate) fn heir_of_connection(
        &self,
        server: &ServerState,
        key: &Arc<PoolKey>,
    ) -> Option<Heir> {
        if server.hot.queued.load(Ordering::Acquire) == 0 {
            return None;
        }
        let wanted = Wanted { key: key.clone(), seat: None };
        let mut brokers = self.0.lock();
        let (waiter, takes_connection) =
            match brokers.get_mut(&server.id)?.broker.on_release(&wanted) {
                HandOver::Keep => return None,
                HandOver::Connection(waiter) => (waiter, true),
                HandOver::Room(waiter) => (waiter, false),
            };
        drop(brokers);
        server.hot.queued.fetch_sub(1, Ordering::AcqRel);
        Some(Heir { worker: waiter.worker, seat: waiter.key.seat?, takes_connection })
    }

    /// As [`Brokers::heir_of_connection`], while the server gives no new ones: to close this one, since
    /// another is wanted, would leave nobody with any. `on`: it can't be taken off that worker.
    pub(crate) fn heir_of_rare_connection(
        &self,
        server: &ServerState,
        key: &Arc<PoolKey>,
        on: Option<usize>,
    ) -> Option<Heir> {
        if server.hot.queued.load(Ordering::Acquire) == 0 {
            return None;
        }
        let wanted = Wanted { key: key.clone(), seat: None };
        let reaches = |waiter: &Waiter<Wanted>| on.is_none_or(|worker| waiter.worker == worker);
        let mut brokers = self.0.lock();
        let broker = &mut brokers.get_mut(&server.id)?.broker;
        let waiter = broker.on_release_of_the_last(&wanted, reaches)?;
        drop(brokers);
        server.hot.queued.fetch_sub(1, Ordering::AcqRel);
        Some(Heir { worker: waiter.worker, seat: waiter.key.seat?, takes_connection: true })
    }

    /// Who waits longest for that server, now that there is room for one more connection.
    pub(crate) fn heir_of_room(&self, server: &ServerState) -> Option<Heir> {
        if server.hot.queued.load(Ordering::Acquire) == 0 {
            return None;
        }
        let waiter = self.0.lock().get_mut(&server.id)?.broker.on_close()?;
        server.hot.queued.fetch_sub(1, Ordering::AcqRel);
        Some(Heir { worker: waiter.worker, seat: waiter.key.seat?, takes_connection: false })
    }
}
