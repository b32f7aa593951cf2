//! Tracked tasks and threads: each has a name, a stop token and an owner that awaits it.

#![expect(clippy::disallowed_methods, reason = "this is the edge that the ban points to")]

use std::{cell::RefCell, future::Future, rc::Rc, sync::Arc};

use tokio::sync::watch;

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

/// Waits on this thread for a future that other threads complete. Not for a data worker.
pub fn wait<F: Future>(future: F) -> F::Output {
    struct Unpark(std::thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = std::task::Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = std::task::Context::from_waker(&waker);
    let mut future = std::pin::pin!(future);
    loop {
        if let std::task::Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
        std::thread::park();
    }
}
