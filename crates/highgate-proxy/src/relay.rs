//! The relay of plain bytes in both directions: the hot loop of tcp mode.
//!
//! Hand-written polling, because it is measured: per request and answer it makes one read and one
//! write each way and nothing else. A direction holds a buffer only while it holds bytes; it grows
//! to the large size while a stream keeps filling it.

use std::{
    io,
    rc::Rc,
    task::{Context as Cx, Poll, ready},
};

use highgate_io::{
    proxy_protocol::{Looks, looks},
    transport::Transport,
};

use crate::buffer::{Buffer, BufferPool};

/// Which peer ended or failed.
#[derive(Debug)]
pub(crate) enum RelayEnd {
    /// Both directions ended in order; the client's first or not.
    Closed {
        /// The client said so first.
        client_first: bool,
    },
    /// Reading from or writing to the client failed.
    Client(io::Error),
    /// The client began with a PROXY header, and may not.
    ForeignHeader,
    /// Reading from or writing to the server failed.
    Server(io::Error),
}

#[derive(Debug)]
struct Direction {
    buffer: Buffer,
    moved: u64,
    state: Flow,
    /// The last read filled the buffer: a stream, for which a larger one pays.
    streams: bool,
    /// The reading side wakes the session when something comes.
    waits: bool,
    /// Nothing is passed on before it is clear that it is no PROXY header.
    is_guarded: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flow {
    /// Bytes may come.
    Open,
    /// The reading side has ended; what is buffered must go out, then the end of the stream.
    Ending,
    /// The end was passed on.
    Ended,
}

/// Both directions of one session.
#[derive(Debug)]
pub(crate) struct Relay {
    up: Direction,
    down: Direction,
    client_first: bool,
}

enum Failed {
    Header,
    Reader(io::Error),
    Writer(io::Error),
}

/// Reads and writes of one direction in one turn: other sessions wait meanwhile.
const ROUNDS: u32 = 64;

impl Direction {
    fn new(buffer: Buffer) -> Self {
        Self {
            buffer,
            moved: 0,
            state: Flow::Open,
            streams: false,
            waits: false,
            is_guarded: false,
        }
    }

    fn poll(
        &mut self,
        cx: &mut Cx<'_>,
        from: &mut Transport,
        to: &mut Transport,
    ) -> Poll<Result<(), Failed>> {
        for _ in 0..ROUNDS {
            if self.is_guarded {
                match looks(self.buffer.bytes()) {
                    Looks::Header => return Poll::Ready(Err(Failed::Header)),
                    Looks::More if self.state == Flow::Open => {
                        ready!(self.poll_fill(cx, from)).map_err(Failed::Reader)?;
                        continue;
                    }
                    Looks::More | Looks::Other => self.is_guarded = false,
                }
            }
            if !self.buffer.is_empty() {
                ready!(self.poll_drain(cx, to)).map_err(Failed::Writer)?;
            }
            match self.state {
                Flow::Ended => return Poll::Ready(Ok(())),
                Flow::Ending => {
                    self.buffer.rest();
                    ready!(to.poll_shutdown(cx)).map_err(Failed::Writer)?;
                    self.state = Flow::Ended;
                }
                Flow::Open => ready!(self.poll_fill(cx, from)).map_err(Failed::Reader)?,
            }
        }
        // Others have their turn, then this goes on.
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn poll_drain(&mut self, cx: &mut Cx<'_>, to: &mut Transport) -> Poll<io::Result<()>> {
        while !self.buffer.is_empty() {
            let count = ready!(to.poll_send(cx, self.buffer.bytes()))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.buffer.consume(count);
        }
        to.poll_flush(cx)
    }

    fn poll_fill(&mut self, cx: &mut Cx<'_>, from: &mut Transport) -> Poll<io::Result<()>> {
        if from.poll_news(cx, &mut self.waits)?.is_pending() {
            self.buffer.rest();
            self.streams = false;
            return Poll::Pending;
        }
        if self.streams {
            self.buffer.enlarge();
        }
        let Poll::Ready(read) = from.poll_recv(cx, self.buffer.room()) else {
            self.buffer.rest();
            return Poll::Pending;
        };
        let count = read?;
        if count == 0 {
            self.state = Flow::Ending;
            return Poll::Ready(Ok(()));
        }
        self.buffer.filled(count);
        self.streams = self.buffer.is_full();
        self.moved += count as u64;
        Poll::Ready(Ok(()))
    }
}

impl Relay {
    /// A relay with buffers from `pool`; `first` are bytes of the client that were read already.
    pub(crate) fn new(pool: &Rc<BufferPool>, first: &[u8]) -> Self {
        let mut up = Buffer::new(pool.clone());
        if !first.is_empty() {
            up.extend(first);
        }
        let down = Buffer::new(pool.clone());
        Self { up: Direction::new(up), down: Direction::new(down), client_first: false }
    }

    /// Ends the session if the client begins with a PROXY header.
    pub(crate) fn refuse_header(&mut self) {
        self.up.is_guarded = true;
    }

    /// Bytes moved from client to server, and back.
    pub(crate) fn moved(&self) -> (u64, u64) {
        (self.up.moved, self.down.moved)
    }

    /// Moves what can be moved. Ready when both directions have ended, or one failed.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Cx<'_>,
        client: &mut Transport,
        server: &mut Transport,
    ) -> Poll<RelayEnd> {
        let up = match self.up.poll(cx, client, server) {
            Poll::Ready(Err(Failed::Reader(error))) => return Poll::Ready(RelayEnd::Client(error)),
            Poll::Ready(Err(Failed::Writer(error))) => return Poll::Ready(RelayEnd::Server(error)),
            Poll::Ready(Err(Failed::Header)) => return Poll::Ready(RelayEnd::ForeignHeader),
            other => other.is_ready(),
        };
        if up && self.down.state == Flow::Open {
            self.client_first = true;
        }
        let down = match self.down.poll(cx, server, client) {
            Poll::Ready(Err(Failed::Reader(error))) => return Poll::Ready(RelayEnd::Server(error)),
            Poll::Ready(Err(Failed::Writer(error))) => return Poll::Ready(RelayEnd::Client(error)),
            Poll::Ready(Err(Failed::Header)) => return Poll::Ready(RelayEnd::ForeignHeader),
            other => other.is_ready(),
        };
        if up && down {
            return Poll::Ready(RelayEnd::Closed { client_first: self.client_first });
        }
        Poll::Pending
    }
}
