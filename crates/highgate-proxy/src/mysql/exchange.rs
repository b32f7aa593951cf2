//! One command and its answer, between a client and a leased server connection: the hot path.
//!
//! The answer streams through one pooled buffer and is scanned for its end on the way. If the first
//! packet is an ERR it is held back, so that the caller may decide to ask another server.

mod replicate;
mod space;

use std::{
    future::poll_fn,
    io::{self, IoSlice},
    ops::Range,
    task::{Context as Cx, Poll, ready},
    time::{Duration, Instant},
};

use highgate_io::{clock, tasks};
use highgate_mysql::scan::ScanState;

pub(crate) use self::space::Space;
use crate::{
    mysql::{client_stream::ClientStream, server_connection::ServerConnection},
    pool::Grant,
    session::{Context, Ending},
    slots::{Interrupt, Slot},
};

/// Why an exchange stopped before the answer's end.
#[derive(Debug)]
pub(crate) enum Stopped {
    /// The client closed or its connection failed.
    Client(Ending),
    /// The session was told something.
    Told(Interrupt),
    /// Reading from or writing to the server failed.
    Server(io::Error),
    /// The server closed.
    ServerClosed,
    /// The answer breaks the protocol.
    Broken(String),
}

/// For the events that operators read.
impl std::fmt::Display for Stopped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Broken(what) => write!(f, "the server's answer breaks the protocol: {what}"),
            Self::Client(_) => f.write_str("the client is gone"),
            Self::Server(error) => write!(f, "the connection to the server failed: {error}"),
            Self::ServerClosed => f.write_str("the server closed the connection"),
            Self::Told(Interrupt::ServerDown) => f.write_str("the server is down"),
            Self::Told(_) => f.write_str("the session was told to end"),
        }
    }
}

/// A client that takes nothing. A time-out of the command itself goes first; else the one for
/// silence of the client holds, since what it is to take keeps a server's connection.
#[derive(Debug, Default)]
pub(crate) struct Stall {
    is_timed: bool,
}

impl Stall {
    /// The client can't be written to now.
    pub(crate) fn judge(&mut self, context: &Context, patience: Duration) -> Option<Stopped> {
        if self.is_timed {
            let is_over = context.slot.was_told(Interrupt::Deadline);
            return is_over.then_some(Stopped::Client(Ending::ClientStalled));
        }
        if !context.slot.has_deadline() {
            self.is_timed = true;
            context.slot.set_deadline(context.worker.deadline(patience));
        }
        None
    }

    /// It took something, or all.
    pub(crate) fn over(&mut self, slot: &Slot<Grant>) {
        if std::mem::take(&mut self.is_timed) {
            slot.set_deadline(None);
        }
    }
}

/// Both peers of an exchange.
pub(crate) struct Peers<'a> {
    pub(crate) context: &'a Context,
    pub(crate) client: &'a mut ClientStream,
    pub(crate) server: &'a mut ServerConnection,
    /// How long the client may take nothing of an answer.
    pub(crate) patience: Duration,
}

impl Peers<'_> {
    /// Hands a command to the kernel: `first`, then `rest` of the client's inbox.
    /// `sent` bytes of it are there already.
    ///
    /// Cancel safe: no; a packet may be half written. The server connection must be closed.
    pub(crate) async fn send(
        &mut self,
        first: &[u8],
        rest: Range<usize>,
        sent: usize,
    ) -> Result<(), Stopped> {
        let rest = self.client.inbox.bytes().get(rest).unwrap_or_default();
        let mut sent = sent;
        send_from(&self.context.slot, self.server, first, rest, &mut sent).await
    }

    /// Reads until the answer's first packet can be judged.
    ///
    /// Cancel safe: no; the server connection must be closed.
    pub(crate) async fn first(&mut self, space: &mut Space) -> Result<(), Stopped> {
        let started = clock::now();
        while !space.can_be_judged() {
            poll_fn(|cx| self.poll_receive(cx, space)).await?;
        }
        space.latency = self.note_latency(started);
        Ok(())
    }

    /// The answer to what was sent at `sent` has begun; gives how long that took.
    pub(crate) fn note_latency(&self, sent: Instant) -> Duration {
        let latency = clock::now().saturating_duration_since(sent);
        self.server.server().record_latency(latency);
        latency
    }

    /// Passes the answer on to its end. True if it is complete, false if a local file is asked for.
    ///
    /// Cancel safe: no; both connections must be closed.
    pub(crate) async fn stream(&mut self, space: &mut Space) -> Result<bool, Stopped> {
        loop {
            if space.state == ScanState::NeedsLocalInfile {
                return Ok(false);
            }
            // An answer that breaks the protocol at once is none: not a byte of it is passed on.
            if let (ScanState::Broken(error), 0) = (space.state, space.passed_on) {
                return Err(Stopped::Broken(error.to_string()));
            }
            self.pass_on(space).await?;
            match space.state {
                ScanState::Done => return Ok(true),
                ScanState::Broken(error) => return Err(Stopped::Broken(error.to_string())),
                ScanState::NeedsLocalInfile
                | ScanState::More
                | ScanState::ResultEnded
                | ScanState::StateChanged => {}
            }
            tasks::breathe().await;
            poll_fn(|cx| self.poll_receive(cx, space)).await?;
        }
    }

    /// Passes on what was scanned, as far as the client takes it at once. True if that is all.
    pub(crate) fn pass_on_now(&mut self, cx: &mut Cx<'_>, space: &mut Space) -> bool {
        let mut sent = 0;
        let bytes = space.buffer.bytes().get(..space.owed()).unwrap_or_default();
        // An error is met again by who goes on.
        let done = matches!(self.client.poll_send(cx, bytes, &mut sent), Poll::Ready(Ok(())));
        space.passed(sent);
        done
    }

    /// Passes on what was scanned. What was passed on when it stops is taken out of the buffer: it
    /// can be called again.
    ///
    /// Cancel safe: no; both connections must be closed.
    pub(crate) async fn pass_on(&mut self, space: &mut Space) -> Result<(), Stopped> {
        let streams = space.buffer.is_full();
        loop {
            self.pass_on_of_result(space).await?;
            if !space.take_result_end() {
                break;
            }
            self.client.end_result();
        }
        if streams {
            space.buffer.enlarge();
        }
        Ok(())
    }

    /// As [`Peers::pass_on`], but no further than to a result's end.
    async fn pass_on_of_result(&mut self, space: &mut Space) -> Result<(), Stopped> {
        let mut sent = 0;
        let mut stall = Stall::default();
        let ready = space.owed_of_result();
        let bytes = space.buffer.bytes().get(..ready).unwrap_or_default();
        let done = poll_fn(|cx| {
            let before = sent;
            let done = self.client.poll_send(cx, bytes, &mut sent);
            if sent > before {
                stall.over(&self.context.slot);
            }
            match done {
                Poll::Ready(done) => Poll::Ready(done.map_err(Stopped::Client)),
                Poll::Pending => {
                    let told = stall.judge(self.context, self.patience);
                    let told = told.or_else(|| self.told());
                    told.map_or(Poll::Pending, |told| Poll::Ready(Err(told)))
                }
            }
        })
        .await;
        stall.over(&self.context.slot);
        space.passed(sent);
        done
    }

    /// What the session was told that ends a running command.
    fn told(&self) -> Option<Stopped> {
        match self.context.slot.interrupted()? {
            Interrupt::Drain => None,
            told => Some(Stopped::Told(told)),
        }
    }

    /// Reads once more of the answer, and scans it.
    pub(crate) fn poll_receive(
        &mut self,
        cx: &mut Cx<'_>,
        space: &mut Space,
    ) -> Poll<Result<(), Stopped>> {
        // No memory is held while the server works: many wait, few read.
        if space.buffer.is_empty()
            && let Poll::Pending = self.poll_answering(cx)?
        {
            space.buffer.rest();
            return Poll::Pending;
        }
        self.poll_read(cx, space)
    }

    /// Ready when something of the answer can be read. Makes no system call.
    pub(crate) fn poll_answering(&mut self, cx: &mut Cx<'_>) -> Poll<Result<(), Stopped>> {
        let transport = &mut self.server.transport;
        // TLS may hold plain bytes of its own, for which the socket does not become readable again.
        if transport.is_tls() || transport.may_have_news() || transport.poll_readable(cx).is_ready()
        {
            return Poll::Ready(Ok(()));
        }
        self.poll_silence(cx)
    }

    /// The server works: ready when that is not to be waited for any more.
    fn poll_silence(&mut self, cx: &mut Cx<'_>) -> Poll<Result<(), Stopped>> {
        if let Some(told) = self.told() {
            return Poll::Ready(Err(told));
        }
        self.client.poll_gone(cx).map(|ending| Err(Stopped::Client(ending)))
    }

    /// Reads once more of the answer, which is there, and scans it.
    pub(crate) fn poll_read(
        &mut self,
        cx: &mut Cx<'_>,
        space: &mut Space,
    ) -> Poll<Result<(), Stopped>> {
        let count = match self.server.transport.poll_recv(cx, space.buffer.room()) {
            Poll::Ready(Ok(0)) => return Poll::Ready(Err(Stopped::ServerClosed)),
            Poll::Ready(Ok(count)) => count,
            Poll::Ready(Err(error)) => return Poll::Ready(Err(Stopped::Server(error))),
            Poll::Pending => return self.poll_silence(cx),
        };
        space.filled(count);
        Poll::Ready(Ok(()))
    }
}

/// Writes two slices as one, to a server.
pub(crate) async fn send_both(
    slot: &Slot<Grant>,
    server: &mut ServerConnection,
    first: &[u8],
    rest: &[u8],
) -> Result<(), Stopped> {
    send_from(slot, server, first, rest, &mut 0).await
}

/// As [`send_both`], from the byte at `sent` on, which tells how far it came.
pub(crate) async fn send_from(
    slot: &Slot<Grant>,
    server: &mut ServerConnection,
    first: &[u8],
    rest: &[u8],
    sent: &mut usize,
) -> Result<(), Stopped> {
    poll_fn(|cx| {
        let done = poll_send(cx, server, first, rest, sent);
        if done.is_ready() {
            return done;
        }
        // Who has ended its side reads no more, and its kernel may not say so for a minute.
        if server.transport.poll_readable(cx).is_ready() && server.transport.has_ended() {
            return Poll::Ready(Err(Stopped::ServerClosed));
        }
        match slot.interrupted() {
            None | Some(Interrupt::Drain) => Poll::Pending,
            Some(told) => Poll::Ready(Err(Stopped::Told(told))),
        }
    })
    .await
}

/// Writes what the kernel takes of two slices, of which `sent` bytes are written.
pub(crate) fn poll_send(
    cx: &mut Cx<'_>,
    server: &mut ServerConnection,
    first: &[u8],
    rest: &[u8],
    sent: &mut usize,
) -> Poll<Result<(), Stopped>> {
    let total = first.len() + rest.len();
    while *sent < total {
        let head = first.get(*sent..).unwrap_or_default();
        let tail = rest.get(sent.saturating_sub(first.len())..).unwrap_or_default();
        let written = if head.is_empty() {
            server.transport.poll_send(cx, tail)
        } else {
            server.transport.poll_write_vectored(cx, &[IoSlice::new(head), IoSlice::new(tail)])
        };
        match ready!(written) {
            Ok(0) => return Poll::Ready(Err(Stopped::ServerClosed)),
            Ok(count) => *sent += count,
            Err(error) => return Poll::Ready(Err(Stopped::Server(error))),
        }
    }
    server.transport.poll_flush(cx).map_err(Stopped::Server)
}

impl Space {
    /// What the server says while the client's file is on its way is kept for the file's end. Ready at the
    /// server's end.
    pub(crate) fn poll_early(
        &mut self,
        cx: &mut Cx<'_>,
        server: &mut ServerConnection,
    ) -> Poll<Stopped> {
        loop {
            if server.transport.poll_readable(cx).is_pending() || !self.takes_early() {
                return Poll::Pending;
            }
            match ready!(server.transport.poll_read(cx, self.buffer.room())) {
                Ok(0) => return Poll::Ready(Stopped::ServerClosed),
                Ok(count) => self.came_early(count),
                Err(error) => return Poll::Ready(Stopped::Server(error)),
            }
        }
    }

    /// Reads once more of an answer that is for Highgate itself. True at its end.
    ///
    /// Cancel safe: no; the server connection must be closed.
    pub(crate) async fn receive(
        &mut self,
        slot: &Slot<Grant>,
        server: &mut ServerConnection,
    ) -> Result<bool, Stopped> {
        let count = poll_fn(|cx| match server.transport.poll_read(cx, self.buffer.room()) {
            Poll::Ready(Ok(0)) => Poll::Ready(Err(Stopped::ServerClosed)),
            Poll::Ready(Ok(count)) => Poll::Ready(Ok(count)),
            Poll::Ready(Err(error)) => Poll::Ready(Err(Stopped::Server(error))),
            Poll::Pending => match slot.interrupted() {
                None | Some(Interrupt::Drain) => Poll::Pending,
                Some(told) => Poll::Ready(Err(Stopped::Told(told))),
            },
        })
        .await?;
        self.filled(count);
        match self.state {
            ScanState::Done => Ok(true),
            ScanState::More | ScanState::ResultEnded | ScanState::StateChanged => Ok(false),
            ScanState::Broken(error) => Err(Stopped::Broken(error.to_string())),
            ScanState::NeedsLocalInfile => {
                Err(Stopped::Broken("the server asked for a file nobody offered".to_owned()))
            }
        }
    }
}
