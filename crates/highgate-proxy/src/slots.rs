//! One slot per session of a worker: its deadline, its waker and what others want of it.
//!
//! There is one timer per worker, not per command: a sweep over the deadlines, ten times a second,
//! wakes the sessions whose time has come. Arming a deadline is one store, which reads no clock: a worker's time
//! is as of its last sweep, so the next one makes a time of it. None is told early, whatever holds sweeps up.

use std::{
    cell::RefCell,
    net::IpAddr,
    os::fd::RawFd,
    rc::Rc,
    task::Waker,
    time::{Duration, Instant},
};

use highgate_io::{
    clock,
    tcp_info_unsafe::{Unacknowledged, local_address, unacknowledged},
};

/// Time between two sweeps. A deadline is told in the second sweep after its time at the latest.
pub(crate) const SWEEP: Duration = Duration::from_millis(100);

/// Milliseconds since the worker started.
pub(crate) type Millis = u64;

/// No deadline.
const NEVER: Millis = Millis::MAX;

/// Marks a deadline that was set since the last sweep: its time runs from the next one on.
const FRESH: Millis = 1 << 63;

/// How much time is left from now on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Within(Millis);

impl Within {
    /// That long, or a millisecond: what has passed already is told by the next sweeps.
    pub(crate) fn new(after: Duration) -> Self {
        let after = Millis::try_from(after.as_nanos().div_ceil(1_000_000)).unwrap_or(NEVER);
        // Longer than any machine runs.
        Self(after.clamp(1, FRESH >> 1))
    }

    /// Until then; also where that has passed.
    pub(crate) fn until(at: Instant) -> Self {
        Self::new(at.saturating_duration_since(clock::now()))
    }
}

/// What a session is told from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Interrupt {
    /// Its deadline has passed.
    Deadline,
    /// The server it uses was declared down.
    ServerDown,
    /// Its running command is to end.
    KillQuery,
    /// It is to end at a safe point.
    Drain,
    /// It is to end now.
    Kill,
}

impl Interrupt {
    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// No server.
const NO_SERVER: u32 = u32::MAX;

/// All slots of a worker. Shared by its sessions.
///
/// What every command looks at lies apart from the rest, close together: a line of the cache holds it for
/// many sessions.
#[derive(Debug)]
pub(crate) struct Slots<G> {
    deadlines: RefCell<Vec<Millis>>,
    /// What each session was told and has not cleared.
    interrupts: RefCell<Vec<u8>>,
    /// Server whose connection each session holds.
    servers: RefCell<Vec<u32>>,
    entries: RefCell<Vec<Entry<G>>>,
    free: RefCell<Vec<u32>>,
}

#[derive(Debug)]
struct Entry<G> {
    generation: u32,
    used: bool,
    waker: Option<Waker>,
    /// How often the session has begun or ended a wait: odd while it waits.
    waits: u32,
    /// What was handed to the session while it waited.
    grant: Option<G>,
    client: Option<Watched>,
}

/// A client's socket, and since when the kernel sends to it what is not acknowledged.
#[derive(Debug, Clone, Copy)]
struct Watched {
    socket: RawFd,
    bound: Millis,
    unheard_since: Option<Millis>,
    lost: bool,
}

impl Watched {
    /// Whether the client is lost: nothing was heard for the bound while bytes were sent again and
    /// again, or its closed window was asked for in vain. One that has not been sent anything is the
    /// kernel's keepalive to find; one that takes nothing, and says so, is only slow.
    fn look(&mut self, seen: Unacknowledged, now: Millis) -> bool {
        let is_sent_again = seen.segments > 0 && seen.repeats > 0;
        if !is_sent_again && seen.probes == 0 {
            self.unheard_since = None;
            return false;
        }
        let heard = now.saturating_sub(u64::try_from(seen.since_heard.as_millis()).unwrap_or(now));
        let since = self.unheard_since.map_or(now, |since| since.max(heard));
        self.unheard_since = Some(since);
        self.lost |= now.saturating_sub(since) >= self.bound;
        self.lost
    }
}

/// Names a slot and its user: a later user of the same slot has another generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct SlotId {
    index: u32,
    generation: u32,
}

/// Names one wait of a session: what is meant for an earlier one may be of another server or account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Seat {
    slot: SlotId,
    wait: u32,
}

/// A session's hold on its slot; frees it when dropped.
#[derive(Debug)]
pub(crate) struct Slot<G> {
    slots: Rc<Slots<G>>,
    id: SlotId,
}

impl<G> Default for Slots<G> {
    fn default() -> Self {
        Self {
            deadlines: RefCell::default(),
            interrupts: RefCell::default(),
            servers: RefCell::default(),
            entries: RefCell::default(),
            free: RefCell::default(),
        }
    }
}

impl<G> Slots<G> {
    /// Takes a slot.
    pub(crate) fn take(self: &Rc<Self>) -> Slot<G> {
        let mut entries = self.entries.borrow_mut();
        let index = self.free.borrow_mut().pop().unwrap_or_else(|| {
            self.deadlines.borrow_mut().push(NEVER);
            self.interrupts.borrow_mut().push(0);
            self.servers.borrow_mut().push(NO_SERVER);
            entries.push(Entry {
                generation: 0,
                used: false,
                waker: None,
                waits: 0,
                grant: None,
                client: None,
            });
            u32::try_from(entries.len() - 1).unwrap_or(u32::MAX)
        });
        let generation = entries.get_mut(index as usize).map_or(0, |entry| {
            entry.used = true;
            entry.generation
        });
        Slot { slots: self.clone(), id: SlotId { index, generation } }
    }

    /// How many are taken.
    #[cfg(test)]
    fn used(&self) -> usize {
        self.entries.borrow().len() - self.free.borrow().len()
    }

    /// Tells every session whose deadline has passed.
    pub(crate) fn sweep(&self, now: Millis) {
        let mut deadlines = self.deadlines.borrow_mut();
        for (index, deadline) in deadlines.iter_mut().enumerate() {
            if *deadline == NEVER {
                continue;
            }
            if *deadline & FRESH != 0 {
                *deadline = now.saturating_add(*deadline & !FRESH);
            } else if *deadline <= now {
                *deadline = NEVER;
                if let Some(entry) = self.entries.borrow().get(index) {
                    self.tell(index, entry, Interrupt::Deadline);
                }
            }
        }
    }

    /// Ends the sessions whose client acknowledges nothing any more.
    pub(crate) fn reap(&self, now: Millis) {
        for (index, entry) in self.entries.borrow_mut().iter_mut().enumerate() {
            let Some(client) = &mut entry.client else { continue };
            let Some(seen) = unacknowledged(client.socket) else { continue };
            if client.look(seen, now) {
                self.tell(index, entry, Interrupt::Kill);
            }
        }
    }

    /// Tells one session, if it is still the one meant.
    pub(crate) fn interrupt(&self, id: SlotId, what: Interrupt) -> bool {
        match self.entries.borrow().get(id.index as usize) {
            Some(entry) if entry.used && entry.generation == id.generation => {
                self.tell(id.index as usize, entry, what);
                true
            }
            _ => false,
        }
    }

    fn tell(&self, index: usize, entry: &Entry<G>, what: Interrupt) {
        if let Some(bits) = self.interrupts.borrow_mut().get_mut(index) {
            *bits |= what.bit();
        }
        if let Some(waker) = &entry.waker {
            waker.wake_by_ref();
        }
    }

    /// Tells all sessions for which `which` holds; it is given the server they hold a lease on.
    pub(crate) fn interrupt_where(&self, what: Interrupt, which: impl Fn(Option<u32>) -> bool) {
        let servers = self.servers.borrow();
        for (index, (entry, server)) in self.entries.borrow().iter().zip(&*servers).enumerate() {
            if entry.used && which((*server != NO_SERVER).then_some(*server)) {
                self.tell(index, entry, what);
            }
        }
    }

    /// Tells all sessions whose client came to one of these addresses; gives how many they are.
    pub(crate) fn interrupt_at(&self, what: Interrupt, addresses: &[IpAddr]) -> u32 {
        let mut told = 0;
        for (index, entry) in self.entries.borrow().iter().enumerate().filter(|(_, it)| it.used) {
            let at = entry.client.and_then(|client| local_address(client.socket));
            if at.is_some_and(|at| addresses.contains(&at)) {
                self.tell(index, entry, what);
                told += 1;
            }
        }
        told
    }

    /// Wakes all sessions, to look again at what they wait for.
    pub(crate) fn wake_all(&self) {
        for entry in self.entries.borrow().iter() {
            if let Some(waker) = &entry.waker {
                waker.wake_by_ref();
            }
        }
    }

    /// Hands `grant` to a waiting session; gives it back if that wait is over or has one.
    pub(crate) fn grant(&self, seat: Seat, grant: G) -> Result<(), G> {
        let Seat { slot: id, wait } = seat;
        let mut entries = self.entries.borrow_mut();
        match entries.get_mut(id.index as usize) {
            Some(entry)
                if entry.used
                    && entry.generation == id.generation
                    && entry.waits == wait
                    && entry.grant.is_none() =>
            {
                entry.grant = Some(grant);
                if let Some(waker) = &entry.waker {
                    waker.wake_by_ref();
                }
                Ok(())
            }
            _ => Err(grant),
        }
    }
}

impl<G> Slot<G> {
    /// Its name.
    pub(crate) fn id(&self) -> SlotId {
        self.id
    }

    fn entry<T>(&self, f: impl FnOnce(&mut Entry<G>) -> T, otherwise: T) -> T {
        match self.slots.entries.borrow_mut().get_mut(self.id.index as usize) {
            Some(entry) => f(entry),
            None => otherwise,
        }
    }

    /// What the session was told and has not cleared, as bits.
    fn told(&self) -> u8 {
        self.slots.interrupts.borrow().get(self.id.index as usize).copied().unwrap_or(0)
    }

    /// Remembers how to wake the session's task. A task's waker never changes.
    pub(crate) fn set_waker(&self, waker: Waker) {
        self.entry(|entry| entry.waker = Some(waker), ());
    }

    /// Watches the client's socket, which the session must not outlive: whatever of it is not
    /// acknowledged within `bound` ends the session.
    pub(crate) fn watch(&self, socket: Option<RawFd>, bound: Duration) {
        let bound = u64::try_from(bound.as_millis()).unwrap_or(NEVER);
        let watched = |socket| Watched { socket, bound, unheard_since: None, lost: false };
        self.entry(|entry| entry.client = socket.map(watched), ());
    }

    /// Whether the session was ended since its client acknowledges nothing any more.
    pub(crate) fn is_client_lost(&self) -> bool {
        self.entry(|entry| entry.client.is_some_and(|client| client.lost), false)
    }

    /// Sets the deadline; `None` = none. An earlier deadline that has just passed is forgotten.
    pub(crate) fn set_deadline(&self, within: Option<Within>) {
        if let Some(deadline) = self.slots.deadlines.borrow_mut().get_mut(self.id.index as usize) {
            *deadline = within.map_or(NEVER, |Within(after)| after | FRESH);
        }
        self.clear(Interrupt::Deadline);
    }

    /// Whether there is a deadline to come, or one that has passed and was not seen yet.
    pub(crate) fn has_deadline(&self) -> bool {
        let deadlines = self.slots.deadlines.borrow();
        deadlines.get(self.id.index as usize).is_some_and(|at| *at != NEVER)
            || self.was_told(Interrupt::Deadline)
    }

    /// Says which server's connection the session holds.
    pub(crate) fn set_server(&self, server: Option<u32>) {
        if let Some(place) = self.slots.servers.borrow_mut().get_mut(self.id.index as usize) {
            *place = server.unwrap_or(NO_SERVER);
        }
        self.clear(Interrupt::ServerDown);
    }

    /// The gravest thing that the session was told and has not cleared.
    pub(crate) fn interrupted(&self) -> Option<Interrupt> {
        let bits = self.told();
        if bits == 0 {
            return None;
        }
        [
            Interrupt::Kill,
            Interrupt::KillQuery,
            Interrupt::ServerDown,
            Interrupt::Deadline,
            Interrupt::Drain,
        ]
        .into_iter()
        .find(|what| bits & what.bit() != 0)
    }

    /// Whether the session was told that.
    pub(crate) fn was_told(&self, what: Interrupt) -> bool {
        self.told() & what.bit() != 0
    }

    /// Forgets one thing that the session was told.
    pub(crate) fn clear(&self, what: Interrupt) {
        if let Some(bits) = self.slots.interrupts.borrow_mut().get_mut(self.id.index as usize) {
            *bits &= !what.bit();
        }
    }

    /// The session waits from now on.
    pub(crate) fn begin_wait(&self) -> Seat {
        let wait = self.entry(
            |entry| {
                entry.waits = entry.waits.wrapping_add(1) | 1;
                entry.waits
            },
            0,
        );
        Seat { slot: self.id, wait }
    }

    /// The session waits no more; gives what was handed over and not taken.
    pub(crate) fn end_wait(&self) -> Option<G> {
        self.entry(
            |entry| {
                entry.waits = entry.waits.wrapping_add(1) & !1;
                entry.grant.take()
            },
            None,
        )
    }

    /// What was handed over since the last call.
    pub(crate) fn take_grant(&self) -> Option<G> {
        self.entry(|entry| entry.grant.take(), None)
    }
}

impl<G> Drop for Slot<G> {
    fn drop(&mut self) {
        let left = self.entry(
            |entry| {
                entry.used = false;
                entry.generation = entry.generation.wrapping_add(1);
                entry.waker = None;
                entry.client = None;
                entry.grant.take()
            },
            None,
        );
        // Dropped outside the borrow: giving a connection back may hand it to another slot.
        drop(left);
        self.set_server(None);
        if let Some(bits) = self.slots.interrupts.borrow_mut().get_mut(self.id.index as usize) {
            *bits = 0;
        }
        if let Some(deadline) = self.slots.deadlines.borrow_mut().get_mut(self.id.index as usize) {
            *deadline = NEVER;
        }
        self.slots.free.borrow_mut().push(self.id.index);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_told_once_and_only_when_it_has_passed() {
        let slots: Rc<Slots<()>> = Rc::default();
        let slot = slots.take();
        slots.sweep(1_000);
        slot.set_deadline(Some(Within::new(Duration::from_millis(100))));
        for now in [1_100, 1_199] {
            slots.sweep(now);
            assert_eq!(slot.interrupted(), None);
        }
        slots.sweep(1_200);
        assert_eq!(slot.interrupted(), Some(Interrupt::Deadline));
        slot.set_deadline(None);
        slots.sweep(9_000);
        assert_eq!(slot.interrupted(), None);
    }

    /// A statement was killed after 4 ms by a time-out of 50 ms: a worker's time is as of its last sweep.
    #[test]
    fn no_deadline_is_told_early_however_late_its_sweeps_come_and_none_two_sweeps_late() {
        for (after, asked_at, sweeps, told_at) in [
            (50, 1_099, &[1_100, 1_200][..], 1_200),
            (50, 1_000, &[1_100, 1_200], 1_200),
            (100, 1_000, &[1_100, 1_200], 1_200),
            (1, 1_000, &[1_100, 1_200], 1_200),
            // Something kept the worker from its sweeps.
            (50, 1_699, &[1_700, 1_701, 1_800], 1_800),
            (3_000, 1_699, &[1_700, 1_800, 4_600, 4_699, 4_700], 4_700),
        ] {
            let slots: Rc<Slots<()>> = Rc::default();
            let slot = slots.take();
            slots.sweep(1_000);
            slot.set_deadline(Some(Within::new(Duration::from_millis(after))));
            let told = sweeps.iter().find(|now| {
                slots.sweep(**now);
                slot.was_told(Interrupt::Deadline)
            });
            assert_eq!(told, Some(&told_at));
            assert!(told_at >= asked_at + after);
        }
    }

    #[test]
    fn what_is_as_good_as_over_is_a_deadline_and_so_is_what_nobody_lives_to_see() {
        let slots: Rc<Slots<()>> = Rc::default();
        let slot = slots.take();
        for after in [Duration::ZERO, Duration::from_micros(1), Duration::MAX] {
            slot.set_deadline(Some(Within::new(after)));
            assert!(slot.has_deadline());
            [1_000, 2_000].into_iter().for_each(|now| slots.sweep(now));
            assert_eq!(slot.was_told(Interrupt::Deadline), after < Duration::MAX);
        }
    }

    #[test]
    fn a_message_for_the_former_user_of_a_slot_is_not_delivered() {
        let slots: Rc<Slots<u8>> = Rc::default();
        let former = slots.take().id();
        let slot = slots.take();
        assert_eq!(slots.used(), 1);
        assert!(!slots.interrupt(former, Interrupt::Kill));
        assert_eq!(slot.interrupted(), None);
        assert!(slots.interrupt(slot.id(), Interrupt::Kill));
        assert_eq!(slot.interrupted(), Some(Interrupt::Kill));
    }

    /// A session was given what an earlier wait of its own had been for: a connection to another server, or
    /// of another account.
    #[test]
    fn what_comes_after_its_wait_is_given_back() {
        let slots: Rc<Slots<u8>> = Rc::default();
        let gone = slots.take().begin_wait();
        let slot = slots.take();
        assert_eq!(slots.grant(gone, 1), Err(1), "another session has the slot");
        let first = slot.begin_wait();
        assert_eq!(slots.grant(first, 2), Ok(()));
        assert_eq!(slots.grant(first, 3), Err(3), "it has one");
        assert_eq!(slot.end_wait(), Some(2));
        assert_eq!(slots.grant(first, 4), Err(4), "nobody waits");
        let second = slot.begin_wait();
        assert_eq!(slots.grant(first, 5), Err(5), "it waits for something else");
        assert_eq!(slots.grant(second, 6), Ok(()));
        assert_eq!(slot.take_grant(), Some(6));
        assert_eq!(slot.end_wait(), None);
    }

    #[test]
    fn only_sessions_on_the_dead_server_are_told() {
        let slots: Rc<Slots<()>> = Rc::default();
        let (on_it, elsewhere, idle) = (slots.take(), slots.take(), slots.take());
        on_it.set_server(Some(3));
        elsewhere.set_server(Some(4));
        slots.interrupt_where(Interrupt::ServerDown, |server| server == Some(3));
        assert_eq!(on_it.interrupted(), Some(Interrupt::ServerDown));
        assert_eq!((elsewhere.interrupted(), idle.interrupted()), (None, None));
    }

    #[test]
    fn only_a_client_that_acknowledges_nothing_for_the_whole_bound_is_lost() {
        let fresh = Watched { socket: -1, bound: 6_000, unheard_since: None, lost: false };
        let seen = |segments, repeats, since_heard| Unacknowledged {
            segments,
            repeats,
            probes: 0,
            since_heard: Duration::from_millis(since_heard),
        };
        let mut client = fresh;
        // Its answer came after a statement of an hour: the silence before that counts for nothing.
        assert!(!client.look(seen(1, 1, 3_600_000), 3_600_500));
        assert!(!client.look(seen(1, 4, 3_605_000), 3_605_500));
        assert!(client.look(seen(1, 5, 3_606_000), 3_606_500));
        // It acknowledges now and then.
        let mut client = fresh;
        for at in 1..100 {
            assert!(!client.look(seen(3, 2, 2_900), 10_000 + at * 3_000));
        }
        // It is slow, and says so.
        let mut client = fresh;
        for at in 1..100 {
            assert!(!client.look(seen(0, 0, 90_000), 100_000 + at * 3_000));
        }
    }

    /// The kernel counts nothing as sent while the window is closed, whoever answers its probes.
    #[test]
    fn a_client_with_a_closed_window_is_lost_when_it_answers_no_probe_for_the_whole_bound() {
        let mut client = Watched { socket: -1, bound: 6_000, unheard_since: None, lost: false };
        let asked = |probes, since_heard| Unacknowledged {
            segments: 0,
            repeats: 0,
            probes,
            since_heard: Duration::from_millis(since_heard),
        };
        // Each look falls between a probe and its answer, or behind one.
        for at in 1..100 {
            assert!(!client.look(asked(1, 900), 10_000 + at * 3_000));
            assert!(!client.look(asked(0, 50), 11_000 + at * 3_000));
        }
        assert!(!client.look(asked(1, 500), 400_000));
        assert!(!client.look(asked(4, 6_400), 405_900));
        assert!(client.look(asked(5, 6_500), 406_000));
    }
}
