//! The release broker's bookkeeping: while a server's limit is reached, connections go first come,
//! first served to whoever waits, on whichever worker.
//!
//! Pure: one per server, behind the shell's lock; the flag that sends releases here is [`Broker::is_idle`].

use std::collections::{BTreeMap, VecDeque};

/// Number of a waiter; grows with time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WaiterId(pub u64);

/// Somebody who waits for a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiter<K> {
    /// Its number.
    pub id: WaiterId,
    /// Index of the worker it waits on.
    pub worker: usize,
    /// The pool key it needs.
    pub key: K,
}

/// What to do with a connection that was released, or with the room of one that was closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HandOver<K> {
    /// Nobody waits: keep it.
    Keep,
    /// It is what the oldest waiter needs: move the socket there.
    Connection(Waiter<K>),
    /// The oldest waiter needs another key: close it and let that waiter open one in its place.
    /// The count of opened connections passes to the waiter.
    Room(Waiter<K>),
}

/// First come, first served.
#[derive(Debug)]
pub struct Broker<K> {
    queue: VecDeque<WaiterId>,
    waiting: BTreeMap<WaiterId, Waiter<K>>,
    next: u64,
    max: usize,
}

impl<K: PartialEq> Broker<K> {
    /// A broker at which at most `max` may wait (0 = no bound).
    #[must_use]
    pub const fn new(max: usize) -> Self {
        Self { queue: VecDeque::new(), waiting: BTreeMap::new(), next: 0, max }
    }

    /// Another bound; those that wait go on waiting.
    pub const fn set_max(&mut self, max: usize) {
        self.max = max;
    }

    /// Joins the queue; `None` = it is full, refuse at once.
    pub fn enqueue(&mut self, worker: usize, key: K) -> Option<WaiterId> {
        if self.max > 0 && self.waiting.len() >= self.max {
            return None;
        }
        let id = WaiterId(self.next);
        self.next += 1;
        self.queue.push_back(id);
        self.waiting.insert(id, Waiter { id, worker, key });
        Some(id)
    }

    /// Leaves the queue. False: what it waited for has been handed over already; take it and give it on.
    pub fn cancel(&mut self, id: WaiterId) -> bool {
        self.forget(id).is_some()
    }

    /// A connection with that key became free.
    pub fn on_release(&mut self, key: &K) -> HandOver<K> {
        match self.pop() {
            None => HandOver::Keep,
            Some(waiter) if waiter.key == *key => HandOver::Connection(waiter),
            Some(waiter) => HandOver::Room(waiter),
        }
    }

    /// A connection with that key became free, and no other can be had: who waits longest for just that
    /// one, among those for whom `reaches` holds. `None`: nobody does, keep it.
    ///
    /// Looks at everybody in turn, which `max` bounds: queues by key would cost each wait of the ordinary
    /// case, for a server that gives no new connections.
    pub fn on_release_of_the_last(
        &mut self,
        key: &K,
        reaches: impl Fn(&Waiter<K>) -> bool,
    ) -> Option<Waiter<K>> {
        let fits = |waiter: &&Waiter<K>| reaches(waiter) && waiter.key == *key;
        let id = self.waiting.values().find(fits)?.id;
        self.forget(id)
    }

    /// A connection was closed: the oldest waiter may open one in its place. `None`: nobody waits,
    /// count it as closed.
    pub fn on_close(&mut self) -> Option<Waiter<K>> {
        self.pop()
    }

    /// Whether nobody waits: releases need not come here.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.waiting.is_empty()
    }

    /// How many wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether nobody waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    fn pop(&mut self) -> Option<Waiter<K>> {
        while let Some(id) = self.queue.pop_front() {
            if let Some(waiter) = self.waiting.remove(&id) {
                return Some(waiter);
            }
        }
        None
    }

    /// Takes somebody out of turn.
    fn forget(&mut self, id: WaiterId) -> Option<Waiter<K>> {
        let waiter = self.waiting.remove(&id);
        // Such numbers leave the front at once and the middle when they are half of it, so that time-outs
        // in a long queue cost no scan each.
        while self.queue.front().is_some_and(|id| !self.waiting.contains_key(id)) {
            self.queue.pop_front();
        }
        if self.queue.len() > 2 * self.waiting.len() + 16 {
            let waiting = &self.waiting;
            self.queue.retain(|id| waiting.contains_key(id));
        }
        waiter
    }
}

#[cfg(test)]
mod tests;
