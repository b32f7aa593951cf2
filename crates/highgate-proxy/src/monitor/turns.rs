//! Turns for checks that open a connection: each that waits for an answer has a descriptor, and those of
//! thousands of servers that do not answer would leave none for clients.
//!
//! A turn is held until the connection is open, or is given up. Connections that checks keep need none, so
//! servers that answer are asked in time whatever the others do. Backends take turns as well: one of
//! 100,000 servers holds up no check of one that has three.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, VecDeque},
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use highgate_config::BackendName;
use tokio::sync::oneshot;

/// How many at once, however many descriptors there are: those begun are all on one thread, and have to be
/// answered there in time.
const MOST: u32 = 1024;
/// Without a late check for this long, the next one is told of again.
const QUIET: Duration = Duration::from_secs(60);

/// Whose check it is: the first go first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Of a server that counts as alive. A quarter of all turns is for these alone.
    Alive,
    /// Of one that was not judged yet.
    Unknown,
    /// Of one that is down.
    Down,
}

const BY_URGENCY: [Standing; 3] = [Standing::Alive, Standing::Unknown, Standing::Down];

/// How many at once may wait for a new connection in a process that may have so many descriptors.
pub(crate) fn bound(descriptors: u32) -> u32 {
    (descriptors / 4).clamp(16, MOST)
}

/// Who may open a connection now, and who waits.
#[derive(Debug)]
pub(crate) struct Turns {
    /// How many at once.
    most: Arc<AtomicU32>,
    taken: Cell<u32>,
    /// Of those, by servers that don't count as alive.
    by_others: Cell<u32>,
    waiting: RefCell<[Queue; BY_URGENCY.len()]>,
    late_at: Cell<Option<Instant>>,
}

/// Those who wait, by backend.
#[derive(Debug, Default)]
struct Queue {
    backends: BTreeMap<BackendName, VecDeque<oneshot::Sender<Turn>>>,
    /// Whose turn is next. Each of the backends once.
    order: VecDeque<BackendName>,
}

/// The right to open a connection; ends when dropped.
#[derive(Debug)]
pub(crate) struct Turn {
    turns: Rc<Turns>,
    standing: Standing,
}

impl Turns {
    pub(super) fn new(most: Arc<AtomicU32>) -> Rc<Self> {
        Rc::new(Self {
            most,
            taken: Cell::default(),
            by_others: Cell::default(),
            waiting: RefCell::default(),
            late_at: Cell::default(),
        })
    }

    /// A turn for a server of `backend`, or what brings it.
    pub(super) fn take(
        self: &Rc<Self>,
        standing: Standing,
        backend: &BackendName,
    ) -> Result<Turn, oneshot::Receiver<Turn>> {
        self.try_take(standing).ok_or_else(|| {
            let (sender, receiver) = oneshot::channel();
            if let Some(queue) = self.waiting.borrow_mut().get_mut(standing as usize) {
                queue.push(backend, sender);
            }
            receiver
        })
    }

    /// A turn, where one is free and nobody as urgent waits for it.
    pub(super) fn try_take(self: &Rc<Self>, standing: Standing) -> Option<Turn> {
        // The bound may have been raised.
        self.serve();
        self.has_room(standing).then(|| self.grant(standing))
    }

    /// A turn for a connection that comes in the place of one that was lost: no descriptor more than before.
    pub(super) fn replace(self: &Rc<Self>) -> Turn {
        self.grant(Standing::Alive)
    }

    /// Whether somebody waits for a turn.
    pub(super) fn are_wanted(&self) -> bool {
        self.waiting.borrow().iter().any(|queue| !queue.is_empty())
    }

    /// Takes note of a check that had its turn later than its interval allows. Gives a sentence where
    /// nobody was told lately.
    pub(super) fn came_late(&self, now: Instant) -> Option<String> {
        let before = self.late_at.replace(Some(now));
        let is_told = before.is_some_and(|at| now.saturating_duration_since(at) < QUIET);
        (!is_told).then(|| {
            format!(
                "checks come later than their `interval`: they take turns, since at most {} at once may wait \
                 for a new connection (a quarter of this process's limit of descriptors, and {MOST} at most); \
                 servers that don't answer are asked less often, the others in time; to repair: take such \
                 servers out",
                self.most.load(Ordering::Relaxed)
            )
        })
    }

    fn has_room(&self, standing: Standing) -> bool {
        let most = self.most.load(Ordering::Relaxed);
        let is_free = self.taken.get() < most;
        is_free && (standing == Standing::Alive || self.by_others.get() < most - most / 4)
    }

    fn grant(self: &Rc<Self>, standing: Standing) -> Turn {
        self.taken.update(|taken| taken + 1);
        self.by_others.update(|taken| taken + u32::from(standing != Standing::Alive));
        Turn { turns: self.clone(), standing }
    }

    /// Gives what is free to those who wait.
    fn serve(self: &Rc<Self>) {
        for standing in BY_URGENCY {
            while self.has_room(standing)
                && let Some(first) = self.next(standing)
            {
                // It listens: nothing runs in between.
                let _ = first.send(self.grant(standing));
            }
        }
    }

    /// Who is next of those who do still wait.
    fn next(&self, standing: Standing) -> Option<oneshot::Sender<Turn>> {
        let mut waiting = self.waiting.borrow_mut();
        let queue = waiting.get_mut(standing as usize)?;
        std::iter::from_fn(|| queue.pop()).find(|sender| !sender.is_closed())
    }
}

impl Queue {
    fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    fn push(&mut self, backend: &BackendName, sender: oneshot::Sender<Turn>) {
        if let Some(waiting) = self.backends.get_mut(backend) {
            return waiting.push_back(sender);
        }
        self.backends.insert(backend.clone(), VecDeque::from([sender]));
        self.order.push_back(backend.clone());
    }

    /// Who waits longest at the backend whose turn it is.
    fn pop(&mut self) -> Option<oneshot::Sender<Turn>> {
        let backend = self.order.pop_front()?;
        let waiting = self.backends.get_mut(&backend)?;
        let first = waiting.pop_front();
        if waiting.is_empty() {
            self.backends.remove(&backend);
        } else {
            self.order.push_back(backend);
        }
        first
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let turns = &self.turns;
        turns.taken.update(|taken| taken - 1);
        turns.by_others.update(|taken| taken - u32::from(self.standing != Standing::Alive));
        turns.serve();
    }
}

#[cfg(test)]
mod tests {
    use highgate_io::clock;

    use super::*;

    fn turns(most: u32) -> Rc<Turns> {
        Turns::new(Arc::new(AtomicU32::new(most)))
    }

    fn backend(name: &str) -> BackendName {
        BackendName::from(name)
    }

    #[test]
    fn dead_servers_leave_a_quarter_of_the_turns_to_living_ones() {
        let turns = turns(8);
        let dead: Vec<_> =
            (0..6).map(|_| turns.take(Standing::Down, &backend("shop")).unwrap()).collect();
        assert!(turns.take(Standing::Down, &backend("shop")).is_err());
        assert!(turns.take(Standing::Unknown, &backend("shop")).is_err());
        let alive: Vec<_> =
            (0..2).map(|_| turns.take(Standing::Alive, &backend("shop")).unwrap()).collect();
        assert!(turns.take(Standing::Alive, &backend("shop")).is_err());
        drop((dead, alive));
        assert_eq!((turns.taken.get(), turns.are_wanted()), (0, false));
    }

    #[test]
    fn turns_go_to_the_urgent_first_and_then_to_who_waits_longest() {
        let turns = turns(1);
        let held = turns.take(Standing::Alive, &backend("shop")).unwrap();
        let wait = |standing| turns.take(standing, &backend("shop")).unwrap_err();
        let (mut down, mut next) = (wait(Standing::Down), wait(Standing::Down));
        let (mut unknown, mut alive) = (wait(Standing::Unknown), wait(Standing::Alive));
        let gone = wait(Standing::Alive);
        drop((gone, held));
        for waits in [&mut alive, &mut unknown, &mut down, &mut next] {
            assert!(waits.try_recv().is_ok(), "and given back at once");
        }
        assert!(!turns.are_wanted());
    }

    #[test]
    fn a_backend_of_thousands_holds_up_no_check_of_a_small_one() {
        let turns = turns(1);
        let held = turns.take(Standing::Unknown, &backend("many")).unwrap();
        let wait = |name| turns.take(Standing::Unknown, &backend(name)).unwrap_err();
        let mut many: Vec<_> = (0..1000).map(|_| wait("many")).collect();
        let mut few = [wait("few"), wait("few")];
        let mut order = Vec::new();
        let mut turn = held;
        while order.len() < 5 {
            drop(turn);
            let all = few.iter_mut().map(|it| ("few", it));
            let all = all.chain(many.iter_mut().map(|it| ("many", it)));
            let mut all = all.filter_map(|(name, it)| Some((name, it.try_recv().ok()?)));
            let (name, next) = all.next().unwrap();
            order.push(name);
            turn = next;
        }
        assert_eq!(order, ["many", "few", "many", "few", "many"]);
    }

    #[test]
    fn a_raised_bound_lets_those_who_wait_in() {
        let most = Arc::new(AtomicU32::new(1));
        let turns = Turns::new(most.clone());
        let _held = turns.take(Standing::Unknown, &backend("shop")).unwrap();
        let mut waits = turns.take(Standing::Unknown, &backend("shop")).unwrap_err();
        most.store(2, Ordering::Relaxed);
        assert!(turns.try_take(Standing::Unknown).is_none(), "it is not the first");
        assert!(waits.try_recv().is_ok());
    }

    #[test]
    fn late_checks_are_told_of_once() {
        let (turns, now) = (turns(16), clock::now());
        assert!(turns.came_late(now).unwrap().contains("at most 16 at once"));
        let later = now + QUIET / 2;
        assert_eq!(turns.came_late(later), None);
        assert_eq!(turns.came_late(later + QUIET / 2), None, "it never ended");
        assert!(turns.came_late(later + QUIET * 2).is_some());
    }
}
