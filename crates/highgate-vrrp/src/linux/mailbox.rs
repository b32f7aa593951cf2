//! What one thread of the keeper passes to another: whoever takes it is woken by a descriptor, and
//! whoever posts it never waits for that.
//!
//! The lock is held for a push or a swap alone. All threads that share one are real-time, so that none
//! is kept from giving it back by the machine's other work.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::Arc,
};

use parking_lot::Mutex;
use rustix::event::{EventfdFlags, eventfd};

/// Both ends.
#[derive(Debug)]
pub(crate) struct Mailbox<T>(Arc<Shared<T>>);

#[derive(Debug)]
struct Shared<T> {
    waiting: Mutex<Vec<T>>,
    /// Readable when something waits.
    bell: OwnedFd,
}

impl<T> Mailbox<T> {
    /// An empty one.
    ///
    /// # Errors
    /// Without descriptors left.
    pub(crate) fn new() -> io::Result<Self> {
        let bell = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?;
        Ok(Self(Arc::new(Shared { waiting: Mutex::new(Vec::new()), bell })))
    }

    /// Leaves something for the other thread.
    pub(crate) fn post(&self, item: T) {
        self.0.waiting.lock().push(item);
        // It fails only where it was rung without end, and then it rings.
        let _ = rustix::io::write(&self.0.bell, &1_u64.to_ne_bytes());
    }

    /// All that waits, in the order in which it came.
    pub(crate) fn take(&self) -> Vec<T> {
        // First silence, then look: what comes in between rings again.
        let _ = rustix::io::read(&self.0.bell, &mut [0; 8]);
        std::mem::take(&mut *self.0.waiting.lock())
    }
}

impl<T> Clone for Mailbox<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> AsFd for Mailbox<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.bell.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    use super::*;

    fn rings(mailbox: &Mailbox<u8>) -> bool {
        let mut sources = [PollFd::new(mailbox, PollFlags::IN)];
        poll(&mut sources, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).unwrap() > 0
    }

    #[test]
    fn it_rings_until_all_is_taken_in_order() {
        let mailbox = Mailbox::new().unwrap();
        assert!(!rings(&mailbox));
        let other = mailbox.clone();
        std::thread::scope(|scope| {
            scope.spawn(move || (1..=3).for_each(|item| other.post(item)));
        });
        assert!(rings(&mailbox));
        assert_eq!(mailbox.take(), [1, 2, 3]);
        assert!(!rings(&mailbox));
        assert_eq!(mailbox.take(), Vec::<u8>::new());
    }
}
