//! The demo's waiting: everything that waits ends at once when the demo is told to stop.

use std::{io::BufRead, sync::Arc, time::Duration};

use anyhow::{Context, bail};
use highgate_io::{clock, tasks};
use parking_lot::{Condvar, Mutex};

use crate::signals::Signals;

/// How long between two questions to something that announces nothing.
const ASK_AGAIN: Duration = Duration::from_millis(20);

/// Whether the demo goes on.
#[derive(Debug, Clone, Default)]
pub(super) struct Pulse {
    inner: Arc<(Mutex<State>, Condvar)>,
}

#[derive(Debug, Default)]
struct State {
    is_stopped: bool,
    has_enter: bool,
}

impl Pulse {
    /// A pulse that Ctrl-C and SIGTERM stop.
    pub(super) fn listening() -> anyhow::Result<Self> {
        let pulse = Self::default();
        let stopped = pulse.clone();
        tasks::thread("demo-signals", move || {
            let Ok(runtime) = tasks::local_runtime() else {
                return;
            };
            runtime.block_on(async {
                let Ok(mut signals) = Signals::listen() else {
                    return;
                };
                loop {
                    signals.next().await;
                    stopped.stop();
                }
            });
        })
        .context("cannot listen to signals")?;
        Ok(pulse)
    }

    /// Ends all waiting.
    pub(super) fn stop(&self) {
        self.inner.0.lock().is_stopped = true;
        self.inner.1.notify_all();
    }

    /// Waits for `time`, or less when told to stop; whether it goes on.
    pub(super) fn rest(&self, time: Duration) -> bool {
        let until = clock::now() + time;
        let mut state = self.inner.0.lock();
        while !state.is_stopped {
            if self.inner.1.wait_until(&mut state, until).timed_out() {
                return !state.is_stopped;
            }
        }
        false
    }

    /// As [`Pulse::rest`]; being told to stop is an error.
    pub(super) fn pause(&self, time: Duration) -> anyhow::Result<()> {
        if self.rest(time) { Ok(()) } else { bail!("interrupted") }
    }

    /// Asks until there is an answer, for at most `patience`.
    pub(super) fn until<T>(
        &self,
        what: &str,
        patience: Duration,
        mut ask: impl FnMut() -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let deadline = clock::now() + patience;
        loop {
            match ask() {
                Ok(answer) => return Ok(answer),
                Err(error) if clock::now() >= deadline => {
                    return Err(
                        error.context(format!("waited {} s for {what}", patience.as_secs()))
                    );
                }
                Err(_) => self.pause(ASK_AGAIN)?,
            }
        }
    }

    /// Waits until a person presses Enter.
    pub(super) fn wait_for_enter(&self) -> anyhow::Result<()> {
        let pressed = self.clone();
        tasks::thread("demo-enter", move || {
            // An end of file counts, too: nobody is there.
            let _ = std::io::stdin().lock().read_line(&mut String::new());
            pressed.inner.0.lock().has_enter = true;
            pressed.inner.1.notify_all();
        })?;
        let mut state = self.inner.0.lock();
        while !state.is_stopped && !state.has_enter {
            self.inner.1.wait(&mut state);
        }
        if state.is_stopped { bail!("interrupted") } else { Ok(()) }
    }
}
