//! The log's lines on their way out: whoever logs puts them in a queue and goes on, and a thread of
//! its own writes them.
//!
//! A reader that stalls or a disk that is full costs lines, never time of a data worker. Each lost line
//! is counted, and where lines are missing the log says so once it can be written again.
//! Start reading at [`queue`].

use std::{
    io::{self, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, TrySendError, sync_channel},
    },
    time::Duration,
};

use parking_lot::Mutex;

/// Lines that may wait to be written: enough for the burst of a failover, about a mebibyte.
const WAITING: usize = 4096;
/// Time between two tries to write while nobody logs.
const AGAIN: Duration = Duration::from_secs(1);
/// What lines are lost for where the queue is full.
const STALLED: &str = "nobody takes its lines (standard error is a pipe whose reader stalls)";

/// What was lost so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Losses {
    /// Lines, ever.
    pub lines: u64,
    /// Why lines are lost, as long as they are.
    pub because: Option<String>,
}

/// Takes lines; a write is one line, and never waits.
#[derive(Debug, Clone)]
pub struct LogLines {
    queue: SyncSender<Item>,
    state: Arc<State>,
}

/// The other end of [`LogLines`].
#[derive(Debug)]
pub struct LogQueue {
    items: Receiver<Item>,
    state: Arc<State>,
    /// How many lost lines the log itself has told of.
    told: u64,
    /// Whether the last write ended within a line.
    torn: bool,
}

#[derive(Debug)]
enum Item {
    Line(Vec<u8>),
    /// All that was sent before is written.
    Flushed(SyncSender<()>),
}

#[derive(Debug, Default)]
struct State {
    lost: AtomicU64,
    failing: Mutex<Option<Failing>>,
}

#[derive(Debug, Clone)]
enum Failing {
    Stalled,
    Write(String),
}

/// Both ends of an empty queue.
#[must_use]
pub fn queue() -> (LogLines, LogQueue) {
    let (queue, items) = sync_channel(WAITING);
    let state = Arc::new(State::default());
    let lines = LogLines { queue, state: Arc::clone(&state) };
    (lines, LogQueue { items, state, told: 0, torn: false })
}

impl State {
    fn lose(&self, failing: Failing) {
        self.lost.fetch_add(1, Ordering::Relaxed);
        *self.failing.lock() = Some(failing);
    }
}

impl LogLines {
    /// What was lost so far.
    #[must_use]
    pub fn losses(&self) -> Losses {
        let because = self.state.failing.lock().clone().map(|failing| match failing {
            Failing::Stalled => STALLED.to_owned(),
            Failing::Write(error) => error,
        });
        Losses { lines: self.state.lost.load(Ordering::Relaxed), because }
    }

    /// Waits until all that was logged before is written, or the time is over. Not for a data worker.
    pub fn flush_within(&self, time: Duration) {
        let (sender, written) = sync_channel(1);
        if self.queue.try_send(Item::Flushed(sender)).is_ok() {
            // An error means that the time is over, or that nobody writes any more.
            let _ = written.recv_timeout(time);
        }
    }
}

impl Write for LogLines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if let Err(TrySendError::Full(_)) = self.queue.try_send(Item::Line(line.to_owned())) {
            self.state.lose(Failing::Stalled);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl LogQueue {
    /// Writes lines until nobody can send any more.
    pub fn write_to(mut self, mut sink: impl Write) {
        loop {
            match self.next(&mut sink) {
                Ok(Some(Item::Line(line))) => self.line(&mut sink, &line),
                Ok(Some(Item::Flushed(done))) => drop(done.try_send(())),
                Ok(None) => {}
                Err(()) => return,
            }
        }
    }

    /// Writes what waits, for a process that ends before it has a thread for this.
    pub fn write_rest_to(mut self, mut sink: impl Write) {
        while let Ok(item) = self.items.try_recv() {
            if let Item::Line(line) = item {
                self.line(&mut sink, &line);
            }
        }
    }

    /// The next item, if one comes soon; while lines are lost, the end of that is looked for.
    fn next(&mut self, sink: &mut impl Write) -> Result<Option<Item>, ()> {
        match self.items.try_recv() {
            Ok(item) => return Ok(Some(item)),
            Err(TryRecvError::Disconnected) => return Err(()),
            Err(TryRecvError::Empty) => {}
        }
        if self.tell_lost(sink).is_ok() {
            return self.items.recv().map(Some).map_err(drop);
        }
        match self.items.recv_timeout(AGAIN) {
            Ok(item) => Ok(Some(item)),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => Err(()),
        }
    }

    fn line(&mut self, sink: &mut impl Write, line: &[u8]) {
        // Lines that a full queue lost came after those that wait in it; those that could not be
        // written came before.
        let broke = matches!(*self.state.failing.lock(), Some(Failing::Write(_)));
        let told = if broke { self.tell_lost(sink) } else { Ok(()) };
        if let Err(error) = told.and_then(|()| self.write(sink, line)) {
            self.state.lose(Failing::Write(error.to_string()));
        }
    }

    /// Says in the log how many lines are missing, if any are that it did not tell of.
    fn tell_lost(&mut self, sink: &mut impl Write) -> io::Result<()> {
        let lost = self.state.lost.load(Ordering::Relaxed);
        if lost == self.told {
            return Ok(());
        }
        let text = format!("{} lines of the log are missing here\n", lost - self.told);
        self.write(sink, text.as_bytes())?;
        self.told = lost;
        *self.state.failing.lock() = None;
        Ok(())
    }

    fn write(&mut self, sink: &mut impl Write, line: &[u8]) -> io::Result<()> {
        if self.torn {
            sink.write_all(b"\n")?;
            self.torn = false;
        }
        let mut rest = line;
        while !rest.is_empty() {
            match sink.write(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => {
                    rest = rest.get(count..).unwrap_or_default();
                    self.torn = !rest.is_empty();
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
