//! How it becomes known that nobody serves a listening socket any more.
//!
//! The socket has a second descriptor, for a process behind: the kernel goes on taking clients into its
//! queue whatever becomes of the loop that accepts them. So whoever has the socket holds this.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

/// Sets a flag when it is dropped: with a letter that nobody reads, with a loop that panics, with the
/// tasks of a worker that ends.
#[derive(Debug)]
pub(crate) struct Unserved(Option<Arc<AtomicBool>>);

impl Unserved {
    /// Clears the flag: somebody is about to be given the socket.
    pub(crate) fn offered(flag: &Arc<AtomicBool>) -> Self {
        flag.store(false, Ordering::Release);
        Self(Some(flag.clone()))
    }

    /// The loop, at whose regular end the flag stays as it is: it was told to stop.
    pub(crate) async fn unless_it_ends(mut self, serve: impl Future<Output = io::Result<()>>) {
        if serve.await.is_ok() {
            self.0 = None;
        }
    }
}

impl Drop for Unserved {
    fn drop(&mut self) {
        if let Some(flag) = self.0.take() {
            flag.store(true, Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use highgate_io::tasks::{self, LocalTasks};

    use super::*;

    /// What the flag says once such a loop is over.
    fn after(serve: impl Future<Output = io::Result<()>> + 'static) -> bool {
        let flag = Arc::<AtomicBool>::default();
        let unserved = Unserved::offered(&flag);
        let runtime = tasks::local_runtime().unwrap();
        runtime.block_on(async {
            let tasks = LocalTasks::default();
            tasks.spawn(unserved.unless_it_ends(serve));
            tasks.all_ended().await;
        });
        drop(runtime);
        flag.load(Ordering::Acquire)
    }

    #[test]
    fn a_loop_that_ends_as_told_leaves_nothing_to_be_served() {
        assert!(!after(async { Ok(()) }));
    }

    /// Its task ended, the flag stayed as it was, and the kernel kept taking clients for nobody.
    #[test]
    fn a_loop_that_fails_or_panics_leaves_its_socket_unserved() {
        assert!(after(async { Err(io::ErrorKind::Other.into()) }));
        assert!(after(async { panic!("a bug in the accept loop") }));
    }

    #[test]
    fn a_letter_that_nobody_reads_and_a_task_that_never_ran_leave_it_unserved() {
        let flag = Arc::<AtomicBool>::default();
        drop(Unserved::offered(&flag));
        assert!(flag.load(Ordering::Acquire));
        let unserved = Unserved::offered(&flag);
        assert!(!flag.load(Ordering::Acquire), "another is given it");
        drop(unserved.unless_it_ends(std::future::pending()));
        assert!(flag.load(Ordering::Acquire));
    }
}
