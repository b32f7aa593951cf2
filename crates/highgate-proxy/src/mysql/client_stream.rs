//! The client's side of a mysql session: framed reading, whole writing.

use std::{
    future::poll_fn,
    io,
    task::{Context as Cx, Poll, ready},
    time::Duration,
};

use highgate_io::transport::Transport;
use highgate_mysql::packet::{HEADER_LEN, Header};

use crate::{
    buffer::Buffer,
    mysql::compressed::Compressed,
    session::{Context, Ending},
    slots::Interrupt,
};

/// Time in which a client must take a short answer, or is given up. Servers have the same, by their
/// `net_write_timeout`.
const STALLED: Duration = Duration::from_secs(60);

/// How a client breaks the protocol that numbers its packets wrongly.
pub(crate) const OUT_OF_ORDER: &str = "its packets are not numbered one after the other";

/// A client's connection with what was read and not used yet.
#[derive(Debug)]
pub(crate) struct ClientStream {
    pub(crate) transport: Transport,
    pub(crate) inbox: Buffer,
    /// Under the packets, where the login agreed on it.
    pub(crate) compressed: Option<Box<Compressed>>,
    /// The connection wakes the session when something comes.
    waits: bool,
}

/// A whole command (or other message) at the front of the inbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Framed {
    /// Bytes with all headers.
    pub(crate) wire: usize,
    /// Packets that it is made of: more than one past 16 MiB.
    pub(crate) packets: usize,
    /// Sequence id of the first.
    pub(crate) seq: u8,
}

impl Framed {
    /// Sequence id of an answer's first packet.
    pub(crate) fn answer_seq(self) -> u8 {
        let packets = u8::try_from(self.packets % 256).unwrap_or(0);
        self.seq.wrapping_add(packets)
    }

    /// Bytes without headers.
    pub(crate) fn payload(self) -> u64 {
        self.wire.saturating_sub(HEADER_LEN * self.packets) as u64
    }
}

/// What the front of the inbox is.
enum Front {
    /// This many bytes at least are needed.
    Needs(usize),
    /// The packet with this sequence id should have another.
    OutOfOrder(u8),
    /// Longer than allowed.
    TooLong,
    /// Whole.
    Whole(Framed),
}

impl ClientStream {
    /// A client's connection, of which that was read.
    pub(crate) fn new(transport: Transport, inbox: Buffer) -> Self {
        Self { transport, inbox, compressed: None, waits: false }
    }

    /// Goes on over another connection: the same one under TLS.
    pub(crate) fn go_on(&mut self, transport: Transport) {
        self.transport = transport;
        self.waits = false;
    }

    /// The message at the front, if it is whole; how much it needs if not.
    fn front(&self, max: u64) -> Front {
        let bytes = self.inbox.bytes();
        let mut at = 0;
        let mut packets = 0;
        let (mut seq, mut next) = (0, 0);
        let mut payload = 0_u64;
        loop {
            let Some(header) = bytes.get(at..).and_then(Header::peek) else {
                return Front::Needs(at + HEADER_LEN);
            };
            if packets == 0 {
                seq = header.seq;
            } else if header.seq != next && self.compressed.is_none() {
                return Front::OutOfOrder(header.seq);
            }
            next = header.seq.wrapping_add(1);
            packets += 1;
            let length = usize::try_from(header.len).unwrap_or(usize::MAX);
            payload += u64::from(header.len);
            at += HEADER_LEN + length;
            if payload > max {
                return Front::TooLong;
            }
            if at > bytes.len() {
                return Front::Needs(at);
            }
            if !header.is_continued() {
                return Front::Whole(Framed { wire: at, packets, seq });
            }
        }
    }

    /// The packet at the front alone, whether or not another continues it; how much it needs if it is not whole.
    fn front_packet(&self) -> Result<Framed, usize> {
        let bytes = self.inbox.bytes();
        let header = Header::peek(bytes).ok_or(HEADER_LEN)?;
        let wire = HEADER_LEN + usize::try_from(header.len).unwrap_or(usize::MAX);
        if wire > bytes.len() {
            return Err(wire);
        }
        Ok(Framed { wire, packets: 1, seq: header.seq })
    }

    /// Numbers the packets of the message at the front, from `seq` on; what number comes next.
    ///
    /// Quirk: libmariadb numbers the compressed packets, and leaves 0 in those within; a server that
    /// is spoken to without compression demands that they count.
    pub(crate) fn number(&mut self, framed: Framed, mut seq: u8) -> u8 {
        let bytes = self.inbox.bytes_mut();
        let mut at = 0;
        while at < framed.wire {
            let packet = bytes.get_mut(at..framed.wire).unwrap_or_default();
            let Some(header) = Header::peek(packet) else { break };
            if let Some(number) = packet.get_mut(HEADER_LEN - 1) {
                *number = seq;
            }
            seq = seq.wrapping_add(1);
            at += HEADER_LEN + usize::try_from(header.len).unwrap_or(usize::MAX);
        }
        seq
    }

    /// Waits for a whole message of at most `max` bytes. Holds no memory while nothing has come.
    ///
    /// Cancel safe: yes; what was read stays in the inbox.
    pub(crate) async fn message(&mut self, context: &Context, max: u64) -> Result<Framed, Unread> {
        loop {
            let needs = match self.front(max) {
                Front::Whole(framed) => {
                    self.begin_answer();
                    if framed.packets > 1 && self.compressed.is_some() {
                        self.number(framed, framed.seq);
                    }
                    return Ok(framed);
                }
                Front::OutOfOrder(seq) => {
                    self.begin_answer();
                    return Err(Unread::OutOfOrder(seq.wrapping_add(1)));
                }
                Front::TooLong => return Err(Unread::TooLong),
                Front::Needs(needs) => needs,
            };
            let more = needs.saturating_sub(self.inbox.len());
            poll_fn(|cx| self.poll_more(cx, context, more)).await?;
        }
    }

    /// Ready with the next packet of a file, which belongs to the command that runs: what the session was told
    /// is for that, and the caller's to look at.
    pub(crate) fn poll_packet(
        &mut self,
        cx: &mut Cx<'_>,
        context: &Context,
    ) -> Poll<Result<Framed, Unread>> {
        loop {
            match self.front_packet() {
                Ok(framed) => {
                    self.begin_answer();
                    return Poll::Ready(Ok(framed));
                }
                Err(needs) => {
                    let more = needs.saturating_sub(self.inbox.len());
                    ready!(self.poll_fill(cx, context, more))?;
                }
            }
        }
    }

    /// Reads past the message at the front, which is too long to be taken in. Gives the sequence id
    /// of its answer, and its first byte.
    ///
    /// Cancel safe: no; the connection must be closed.
    pub(crate) async fn skip(&mut self, context: &Context) -> Result<(u8, Option<u8>), Unread> {
        let mut command = None;
        loop {
            let header = loop {
                let bytes = self.inbox.bytes();
                let first = bytes.get(HEADER_LEN).copied();
                match Header::peek(bytes) {
                    Some(header) if command.is_some() || header.len == 0 => break header,
                    Some(header) if first.is_some() => {
                        command = first;
                        break header;
                    }
                    _ => poll_fn(|cx| self.poll_more(cx, context, HEADER_LEN + 1)).await?,
                }
            };
            let mut left = HEADER_LEN + usize::try_from(header.len).unwrap_or(usize::MAX);
            loop {
                let there = left.min(self.inbox.len());
                self.inbox.consume(there);
                left -= there;
                if left == 0 {
                    break;
                }
                poll_fn(|cx| self.poll_more(cx, context, 1)).await?;
            }
            if !header.is_continued() {
                self.begin_answer();
                return Ok((header.seq.wrapping_add(1), command));
            }
        }
    }

    fn poll_more(
        &mut self,
        cx: &mut Cx<'_>,
        context: &Context,
        more: usize,
    ) -> Poll<Result<(), Unread>> {
        if let Some(told) = context.slot.interrupted() {
            match told {
                // Nothing of this session runs: there is nothing to kill.
                Interrupt::KillQuery => context.slot.clear(Interrupt::KillQuery),
                Interrupt::ServerDown => context.slot.clear(Interrupt::ServerDown),
                // In the middle of a message the client is not at a safe point yet.
                Interrupt::Drain if !self.inbox.is_empty() => {}
                told => return Poll::Ready(Err(Unread::Told(told))),
            }
        }
        self.poll_fill(cx, context, more)
    }

    /// Reads once, for a message that needs so many bytes `more`.
    fn poll_fill(
        &mut self,
        cx: &mut Cx<'_>,
        context: &Context,
        more: usize,
    ) -> Poll<Result<(), Unread>> {
        if self.inbox.is_empty() && self.poll_readable(cx).map_err(Unread::Failed)?.is_pending() {
            self.rest();
            return Poll::Pending;
        }
        // A long message gets its room at once, but only as its bytes really come.
        let room = more.min(self.inbox.len().max(crate::buffer::SMALL));
        if room > crate::buffer::SMALL && context.worker.shared.is_short_of(room) {
            return Poll::Ready(Err(Unread::NoMemory));
        }
        self.inbox.make_room(room);
        // Who reads without having asked for news uses up what would have told of them.
        self.waits = false;
        let read = match &mut self.compressed {
            None => self.transport.poll_recv(cx, self.inbox.room()).map_ok(|count| {
                self.inbox.filled(count);
                count
            }),
            Some(layer) => {
                let is_short_of = |bytes| context.worker.shared.is_short_of(bytes);
                layer.poll_fill(&mut self.transport, cx, &mut self.inbox, &is_short_of)
            }
        };
        match read {
            Poll::Pending => {
                self.rest();
                Poll::Pending
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(Unread::from(error))),
            Poll::Ready(Ok(0)) => Poll::Ready(Err(Unread::Closed)),
            Poll::Ready(Ok(_)) => Poll::Ready(Ok(())),
        }
    }

    /// Whether nothing was read that is not used.
    pub(crate) fn is_empty(&self) -> bool {
        self.inbox.is_empty() && self.compressed.as_ref().is_none_or(|layer| layer.is_empty())
    }

    fn rest(&mut self) {
        self.inbox.rest();
        if let Some(layer) = &mut self.compressed {
            layer.rest();
        }
    }

    fn begin_answer(&mut self) {
        if let Some(layer) = &mut self.compressed {
            layer.begin_answer();
        }
    }

    /// All that was written ends a result, and another is to follow.
    pub(crate) fn end_result(&mut self) {
        if let Some(layer) = &mut self.compressed {
            layer.end_result();
        }
    }

    /// Ready once a read may bring something.
    fn poll_readable(&mut self, cx: &mut Cx<'_>) -> Poll<io::Result<()>> {
        match &self.compressed {
            Some(layer) if layer.has_packet() => Poll::Ready(Ok(())),
            _ => self.transport.poll_news(cx, &mut self.waits),
        }
    }

    /// While a command runs the client may leave, or send its next one ahead: takes that in as far
    /// as there is room; beyond it, it waits in the kernel, which tells the client to slow down.
    /// Ready only at the client's end.
    pub(crate) fn poll_gone(&mut self, cx: &mut Cx<'_>) -> Poll<Ending> {
        loop {
            match self.transport.poll_news(cx, &mut self.waits) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(error)) => return Poll::Ready(Ending::ClientFailed(error)),
                Poll::Ready(Ok(())) => {}
            }
            let read = match &mut self.compressed {
                Some(layer) => layer.poll_ahead(&mut self.transport, cx),
                None if self.inbox.is_full() => return Poll::Pending,
                None => self.transport.poll_read(cx, self.inbox.room()).map_ok(|count| {
                    self.inbox.filled(count);
                    count
                }),
            };
            match read {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(0)) => return Poll::Ready(Ending::ClientClosed),
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Ending::ClientFailed(error)),
            }
        }
    }

    /// Takes what the client says within an answer, as far as there is room. Ready only at the
    /// client's end.
    pub(crate) fn poll_said(&mut self, cx: &mut Cx<'_>, context: &Context) -> Poll<Ending> {
        loop {
            if self.inbox.is_full() && !self.inbox.is_empty() {
                return Poll::Pending;
            }
            let news = self.poll_readable(cx);
            if news.is_pending() {
                self.rest();
            }
            if let Err(error) = ready!(news) {
                return Poll::Ready(Ending::ClientFailed(error));
            }
            let read = match &mut self.compressed {
                None => self.transport.poll_read(cx, self.inbox.room()).map_ok(|count| {
                    self.inbox.filled(count);
                    count
                }),
                Some(layer) => {
                    self.waits = false;
                    let is_short_of = |bytes| context.worker.shared.is_short_of(bytes);
                    layer.poll_fill(&mut self.transport, cx, &mut self.inbox, &is_short_of)
                }
            };
            match ready!(read).map_err(Unread::from) {
                Ok(0) => return Poll::Ready(Ending::ClientClosed),
                // From here on its last packet is answered.
                Ok(_) => self.begin_answer(),
                Err(unread) => return Poll::Ready(unread.ending(Ending::ClientStalled)),
            }
        }
    }

    /// Writes some of `bytes`; they are on their way with [`ClientStream::poll_flush`].
    pub(crate) fn poll_write(&mut self, cx: &mut Cx<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.compressed {
            None => self.transport.poll_send(cx, bytes),
            Some(layer) => layer.poll_write(&mut self.transport, cx, bytes),
        }
    }

    /// Hands all that was written to the kernel.
    pub(crate) fn poll_flush(&mut self, cx: &mut Cx<'_>) -> Poll<io::Result<()>> {
        if let Some(layer) = &mut self.compressed {
            ready!(layer.poll_drain(&mut self.transport, cx))?;
        }
        self.transport.poll_flush(cx)
    }

    /// Sends all of `bytes`: something short, which a client that reads takes at once.
    ///
    /// Cancel safe: no; a packet may be half written. The caller closes the connection.
    pub(crate) async fn send(&mut self, context: &Context, bytes: &[u8]) -> Result<(), Ending> {
        let mut sent = 0;
        let mut is_timed = false;
        let done = poll_fn(|cx| {
            let done = self.poll_send(cx, bytes, &mut sent);
            if done.is_ready() {
                return done;
            }
            if context.slot.was_told(Interrupt::Kill) {
                return Poll::Ready(Err(Ending::Killed));
            }
            if context.slot.was_told(Interrupt::Deadline) {
                return Poll::Ready(Err(Ending::ClientStalled));
            }
            if !context.slot.has_deadline() {
                is_timed = true;
                context.slot.set_deadline(context.worker.deadline(STALLED));
            }
            Poll::Pending
        })
        .await;
        if is_timed {
            context.slot.set_deadline(None);
        }
        done
    }

    /// Sends the rest of `bytes`, of which `sent` are on their way, to the kernel.
    pub(crate) fn poll_send(
        &mut self,
        cx: &mut Cx<'_>,
        bytes: &[u8],
        sent: &mut usize,
    ) -> Poll<Result<(), Ending>> {
        while let Some(rest) = bytes.get(*sent..).filter(|rest| !rest.is_empty()) {
            match ready!(self.poll_write(cx, rest)) {
                Ok(0) => return Poll::Ready(Err(Ending::ClientClosed)),
                Ok(count) => *sent += count,
                Err(error) => return Poll::Ready(Err(Ending::ClientFailed(error))),
            }
        }
        self.poll_flush(cx).map_err(Ending::ClientFailed)
    }
}

/// Why no message came.
#[derive(Debug)]
pub(crate) enum Unread {
    /// The client breaks the protocol.
    Broken(String),
    /// The client closed.
    Closed,
    /// Its connection failed.
    Failed(io::Error),
    /// There is no memory for so long a message within `memory_limit`.
    NoMemory,
    /// Its packets are not numbered one after the other; the answer's sequence id.
    OutOfOrder(u8),
    /// The session was told something.
    Told(Interrupt),
    /// It announces more than is allowed.
    TooLong,
}

impl From<io::Error> for Unread {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::OutOfMemory => Self::NoMemory,
            io::ErrorKind::InvalidData => Self::Broken(error.to_string()),
            _ => Self::Failed(error),
        }
    }
}

impl Unread {
    /// The ending of a session for which no message came.
    pub(crate) fn ending(self, deadline: Ending) -> Ending {
        match self {
            Self::Broken(what) => Ending::ClientProtocol(what),
            Self::Closed => Ending::ClientClosed,
            Self::Failed(error) => Ending::ClientFailed(error),
            Self::Told(Interrupt::Deadline) => deadline,
            Self::Told(Interrupt::Drain) => Ending::Drained,
            Self::Told(_) => Ending::Killed,
            Self::NoMemory => Ending::NoMemory,
            Self::OutOfOrder(_) => Ending::ClientProtocol(OUT_OF_ORDER.to_owned()),
            Self::TooLong => {
                Ending::ClientProtocol("a packet is larger than `max_allowed_packet`".to_owned())
            }
        }
    }
}
