//! Tracked tasks and threads: each has a name, a stop token and an owner that awaits it.

#![expect(clippy::disallowed_methods, reason = "this is the edge that the ban points to")]

use std::{
    cell::RefCell,
    future::Future,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
    time::Instant,
};

use tokio::sync::watch;

use crate::clock;

/// Says once, to everybody who holds a copy, that it is time to stop.
#[derive(Debug, Clone)]
pub struct Stop(watch::Receiver<bool>);

/// The other end of [`Stop`].
#[derive(Debug, Clone)]
pub struct Stopper(Arc<watch::Sender<bool>>);

impl Stopper {
    /// A pair: who says stop, and who listens.
    #[must_use]
    pub fn new() -> (Self, Stop) {
        let (sender, receiver) = watch::channel(false);
        (Self(Arc::new(sender)), Stop(receiver))
    }

    /// Another listener.
    #[must_use]
    pub fn listen(&self) -> Stop {
        Stop(self.0.subscribe())
    }

    /// Says stop. Saying it again changes nothing.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }
}

impl Stop {
    /// Whether stop was said.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until stop is said, or nobody is left to say it.
    ///
    /// Cancel safe: yes; a dropped call has consumed nothing.
    pub async fn stopped(&self) {
        let mut receiver = self.0.clone();
        // An error means that the stopper is gone, which is as good as its word.
        let _ = receiver.wait_for(|stopped| *stopped).await;
    }
}

/// Tasks of one thread's runtime that may run on that thread only.
#[derive(Debug, Clone, Default)]
pub struct LocalTasks {
    running: Rc<RefCell<usize>>,
    idle: Rc<tokio::sync::Notify>,
}

/// A task that runs, to be held by it until its end.
#[derive(Debug)]
pub struct Running(LocalTasks);

impl Drop for Running {
    fn drop(&mut self) {
        let mut running = self.0.running.borrow_mut();
        *running -= 1;
        if *running == 0 {
            self.0.idle.notify_waiters();
        }
    }
}

impl LocalTasks {
    /// Starts a task. A panic in it ends that task alone.
    pub fn spawn(&self, future: impl Future<Output = ()> + 'static) {
        // Boxed, since an async block keeps what it captured beside what it awaits: twice the size.
        let future = Box::pin(future);
        self.spawn_with(|running| async move {
            future.await;
            drop(running);
        });
    }

    /// As [`LocalTasks::spawn`], without a box of its own: for tasks of which there are thousands.
    /// The future holds what it is given until its end.
    pub fn spawn_with<F: Future<Output = ()> + 'static>(&self, make: impl FnOnce(Running) -> F) {
        *self.running.borrow_mut() += 1;
        drop(tokio::task::spawn_local(make(Running(self.clone()))));
    }

    /// How many run.
    #[must_use]
    pub fn running(&self) -> usize {
        *self.running.borrow()
    }

    /// Waits until none runs.
    ///
    /// Cancel safe: yes; a dropped call has consumed nothing.
    pub async fn all_ended(&self) {
        loop {
            let notified = self.idle.notified();
            if self.running() == 0 {
                return;
            }
            notified.await;
        }
    }
}

/// Lets other tasks of this thread have their turn, if this one has had a long one: for loops whose
/// reads and writes are outside of the runtime's own budget.
///
/// Cancel safe: yes; a dropped call has consumed nothing.
pub async fn breathe() {
    tokio::task::coop::consume_budget().await;
}

/// Starts a named thread.
///
/// # Errors
/// When the system has no more threads.
pub fn thread<T: Send + 'static>(
    name: &str,
    body: impl FnOnce() -> T + Send + 'static,
) -> std::io::Result<std::thread::JoinHandle<T>> {
    std::thread::Builder::new().name(name.to_owned()).spawn(body)
}

/// As [`thread`], for a body that [waits](wait) for work of the runtime in which it is started.
///
/// # Errors
/// As [`thread`].
pub fn thread_beside<T: Send + 'static>(
    name: &str,
    body: impl FnOnce() -> T + Send + 'static,
) -> std::io::Result<std::thread::JoinHandle<T>> {
    let runtime = tokio::runtime::Handle::try_current().ok();
    thread(name, move || {
        let _entered = runtime.as_ref().map(tokio::runtime::Handle::enter);
        body()
    })
}

/// Runs blocking work (files, password hashing, RSA) off the calling worker.
///
/// Cancel safe: yes, but the work itself goes on to its end.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    tokio::task::spawn_blocking(work).await.ok()
}

/// A runtime for one thread, whose tasks need not be `Send`.
///
/// # Errors
/// When the system refuses an epoll instance.
pub fn local_runtime() -> std::io::Result<tokio::runtime::LocalRuntime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(8)
        .build_local(tokio::runtime::LocalOptions::default())
}

/// Waits on this thread for a future that other threads complete. Not for a data worker, and not for a future
/// with a timer: the runtime whose timer it is may end meanwhile, which is a panic here. See [`wait_until`].
pub fn wait<F: Future>(future: F) -> F::Output {
    let mut future = std::pin::pin!(future);
    loop {
        if let Some(output) = poll_here(future.as_mut()) {
            return output;
        }
        std::thread::park();
    }
}

/// As [`wait`], for no longer than until `deadline`, whatever becomes of any runtime.
pub fn wait_until<F: Future>(deadline: Instant, future: F) -> Option<F::Output> {
    let mut future = std::pin::pin!(future);
    loop {
        if let Some(output) = poll_here(future.as_mut()) {
            return Some(output);
        }
        let left = deadline.saturating_duration_since(clock::now());
        if left.is_zero() {
            return None;
        }
        std::thread::park_timeout(left);
    }
}

/// What the future gives, or this thread is unparked once it may be asked again.
fn poll_here<F: Future>(future: Pin<&mut F>) -> Option<F::Output> {
    struct Unpark(std::thread::Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    match future.poll(&mut Context::from_waker(&waker)) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// A panic as the process ended: an `apply` made a timer of the runtime that was shut down.
    #[test]
    fn a_wait_of_a_thread_has_its_end_though_its_runtime_has_ended() {
        let runtime = local_runtime().unwrap();
        let (ended, told) = std::sync::mpsc::channel();
        let waits = runtime.block_on(async {
            thread_beside("waits", move || {
                told.recv().unwrap();
                wait_until(clock::now() + Duration::from_millis(1), std::future::pending::<()>())
            })
        });
        runtime.shutdown_timeout(Duration::ZERO);
        ended.send(()).unwrap();
        assert_eq!(waits.unwrap().join().unwrap(), None);
    }

    #[test]
    fn what_another_thread_completes_is_had_before_the_deadline() {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let sends = thread("sends", move || sender.send(7)).unwrap();
        let deadline = clock::now() + Duration::from_secs(60);
        assert_eq!(wait_until(deadline, receiver), Some(Ok(7)));
        sends.join().unwrap().unwrap();
    }
}
