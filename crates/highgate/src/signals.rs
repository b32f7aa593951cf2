//! Signals: SIGHUP reads the files anew, SIGTERM and SIGINT drain, a second one ends at once.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    Reload,
    Stop,
}

/// The signals that the process listens to.
#[derive(Debug)]
pub(crate) struct Signals {
    hangup: Signal,
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    pub(crate) fn listen() -> std::io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// The next signal.
    ///
    /// Cancel safe: yes; a dropped call has consumed nothing.
    pub(crate) async fn next(&mut self) -> Asked {
        tokio::select! {
            biased;
            _ = self.terminate.recv() => Asked::Stop,
            _ = self.interrupt.recv() => Asked::Stop,
            _ = self.hangup.recv() => Asked::Reload,
        }
    }

    /// Told to stop while something else is under way; what else comes is kept for [`Self::next`].
    ///
    /// Cancel safe: yes; a dropped call has consumed nothing.
    async fn told_to_stop(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }

    /// Goes on with something until its end, unless the process is told to stop before: then `None`.
    ///
    /// Cancel safe: as `work`.
    pub(crate) async fn unless_stopped<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            () = self.told_to_stop() => None,
            done = work => Some(done),
        }
    }

    /// Told to stop; what else comes is of no interest any more.
    ///
    /// Cancel safe: yes.
    pub(crate) async fn stopped(&mut self) {
        while self.next().await != Asked::Stop {}
    }
}
