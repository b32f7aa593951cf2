//! Turns for checks that open a connection: each that waits for an answer has a descriptor, and those of
//! thousands of servers that do not answer would leave none for clients.
//!
//! A turn is held until the connection is open, or is given up. Connections that checks keep need none, so
//! servers that answer are asked in time whatever the others do.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::oneshot;

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

/// Who may open a connection now, and who waits.
#[derive(Debug)]
pub(crate) struct Turns {
    /// How many at once.
    most: Arc<AtomicU32>,
    taken: Cell<u32>,
    /// Of those, by servers that don't count as alive.
    by_others: Cell<u32>,
    waiting: RefCell<[VecDeque<oneshot::Sender<Turn>>; BY_URGENCY.len()]>,
    late_at: Cell<Option<Instant>>,
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

    /// A turn, or what brings it.
    pub(super) fn take(
        self: &Rc<Self>,
        standing: Standing,
    ) -> Result<Turn, oneshot::Receiver<Turn>> {
        self.try_take(standing).ok_or_else(|| {
            let (sender, receiver) = oneshot::channel();
            if let Some(queue) = self.waiting.borrow_mut().get_mut(standing as usize) {
                queue.push_back(sender);
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
                 for a new connection, a quarter of this process's limit of descriptors; servers that don't \
                 answer are asked less often, the others in time; to repair: take such servers out, or raise \
                 the limit (`ulimit -n`, systemd: LimitNOFILE)",
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

    /// Who waits longest, and does still wait.
    fn next(&self, standing: Standing) -> Option<oneshot::Sender<Turn>> {
        let mut waiting = self.waiting.borrow_mut();
        let queue = waiting.get_mut(standing as usize)?;
        std::iter::from_fn(|| queue.pop_front()).find(|sender| !sender.is_closed())
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

    #[test]
    fn dead_servers_leave_a_quarter_of_the_turns_to_living_ones() {
        let turns = turns(8);
        let dead: Vec<_> = (0..6).map(|_| turns.take(Standing::Down).unwrap()).collect();
        assert!(turns.take(Standing::Down).is_err());
        assert!(turns.take(Standing::Unknown).is_err());
        let alive: Vec<_> = (0..2).map(|_| turns.take(Standing::Alive).unwrap()).collect();
        assert!(turns.take(Standing::Alive).is_err());
        drop((dead, alive));
        assert_eq!((turns.taken.get(), turns.are_wanted()), (0, false));
    }

    #[test]
    fn turns_go_to_the_urgent_first_and_then_to_who_waits_longest() {
        let turns = turns(1);
        let held = turns.take(Standing::Alive).unwrap();
        let wait = |standing| turns.take(standing).unwrap_err();
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
    fn a_raised_bound_lets_those_who_wait_in() {
        let most = Arc::new(AtomicU32::new(1));
        let turns = Turns::new(most.clone());
        let _held = turns.take(Standing::Unknown).unwrap();
        let mut waits = turns.take(Standing::Unknown).unwrap_err();
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
