//! A peer's connection: TCP, Unix or TLS, behind one enum instead of a trait object.
//!
//! Reading and writing are `poll_` functions for the relay, which is the one hot loop. Nothing here
//! frames packets or keeps bytes back.

use std::{
    io::{self, IoSlice},
    net::SocketAddr,
    os::fd::{AsFd as _, BorrowedFd},
    pin::Pin,
    task::{Context, Poll, ready},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    net::{RecvFlags, SendFlags},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, Interest, ReadBuf},
    net::{TcpStream, UnixStream},
};

/// A connection to a client or a server.
#[derive(Debug)]
pub enum Transport {
    /// Plain TCP.
    Tcp(TcpStream),
    /// TLS towards a server, on TCP.
    TlsClient(Box<tokio_rustls::client::TlsStream<TcpStream>>),
    /// TLS towards a client, on TCP.
    TlsServer(Box<tokio_rustls::server::TlsStream<TcpStream>>),
    /// A Unix socket.
    Unix(UnixStream),
}

/// What can be moved to another thread or process: a plain socket without buffered bytes.
#[derive(Debug)]
pub enum Detached {
    /// Plain TCP.
    Tcp(std::net::TcpStream),
    /// A Unix socket.
    Unix(std::os::unix::net::UnixStream),
}

/// The end of a stream is an error in TLS alone, and the library's text is a link for programmers.
fn in_words(error: io::Error) -> io::Error {
    match error.kind() {
        kind @ io::ErrorKind::UnexpectedEof => io::Error::new(kind, UNANNOUNCED),
        _ => error,
    }
}

const UNANNOUNCED: &str = "it was closed without TLS's goodbye (`close_notify`)";

macro_rules! each {
    ($self:expr, $stream:ident => $body:expr) => {
        match $self {
            Transport::Tcp($stream) => $body,
            Transport::TlsClient($stream) => $body,
            Transport::TlsServer($stream) => $body,
            Transport::Unix($stream) => $body,
        }
    };
}

impl Transport {
    /// Reads what is there into `buffer`; 0 is the end of the stream.
    ///
    /// # Errors
    /// As the system or TLS says; the connection is of no use afterwards.
    pub fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut read = ReadBuf::new(buffer);
        each!(self, stream => Pin::new(stream).poll_read(cx, &mut read))
            .map_ok(|()| read.filled().len())
            .map_err(in_words)
    }

    /// Writes as much of `bytes` as the kernel takes.
    ///
    /// # Errors
    /// As the system or TLS says; the connection is of no use afterwards.
    pub fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        each!(self, stream => Pin::new(stream).poll_write(cx, bytes))
    }

    /// Writes as much of `slices` as the kernel takes, in one call where it can.
    ///
    /// # Errors
    /// As the system or TLS says; the connection is of no use afterwards.
    pub fn poll_write_vectored(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        each!(self, stream => Pin::new(stream).poll_write_vectored(cx, slices))
    }

    /// As [`Transport::poll_read`], at less cost, and outside of the runtime's budget for its tasks:
    /// for callers that wait for a peer, or bound themselves, between one read and the next.
    ///
    /// # Errors
    /// As the system or TLS says; the connection is of no use afterwards.
    pub fn poll_recv(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        loop {
            let read = match self {
                Self::Tcp(stream) => stream.recv_now(buffer),
                Self::Unix(stream) => stream.recv_now(buffer),
                Self::TlsClient(_) | Self::TlsServer(_) => return self.poll_read(cx, buffer),
            };
            match read {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    ready!(self.poll_readable(cx))?;
                }
                other => return Poll::Ready(other),
            }
        }
    }

    /// As [`Transport::poll_write`], with what [`Transport::poll_recv`] says.
    ///
    /// # Errors
    /// As the system or TLS says; the connection is of no use afterwards.
    pub fn poll_send(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let sent = match self {
            Self::Tcp(stream) => stream.send_now(bytes),
            Self::Unix(stream) => stream.send_now(bytes),
            Self::TlsClient(_) | Self::TlsServer(_) => return self.poll_write(cx, bytes),
        };
        match sent {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.poll_write(cx, bytes),
            other => Poll::Ready(other),
        }
    }

    /// Pushes out what TLS still holds; nothing to do for plain sockets.
    ///
    /// # Errors
    /// As the system or TLS says.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(_) | Self::Unix(_) => Poll::Ready(Ok(())),
            Self::TlsClient(stream) => Pin::new(stream).poll_flush(cx),
            Self::TlsServer(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    /// Says that nothing more will be sent.
    ///
    /// # Errors
    /// As the system or TLS says.
    pub fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, stream => Pin::new(stream).poll_shutdown(cx))
    }

    fn tcp(&self) -> Option<&TcpStream> {
        match self {
            Self::Tcp(stream) => Some(stream),
            Self::TlsClient(stream) => Some(stream.get_ref().0),
            Self::TlsServer(stream) => Some(stream.get_ref().0),
            Self::Unix(_) => None,
        }
    }

    /// Waits until something can be read: bytes, the end, or an error. Makes no system call.
    ///
    /// # Errors
    /// When the runtime is shutting down.
    pub fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Self::TlsServer(stream) = self
            && has_plaintext(stream.get_ref().1)
        {
            return Poll::Ready(Ok(()));
        }
        match self {
            Self::Unix(stream) => stream.poll_read_ready(cx),
            other => other.tcp().map_or(Poll::Ready(Ok(())), |stream| stream.poll_read_ready(cx)),
        }
    }

    /// Whether anything may have arrived, by what epoll has already told. Makes no system call and keeps no
    /// waker. Also true where the last read filled its buffer: whether that was all, only a read can tell.
    #[must_use]
    pub fn may_have_news(&self) -> bool {
        self.is_told(|_| Ok(()))
    }

    /// Whether anything has arrived: on an idle server connection it means that the server closed or
    /// misbehaves. Makes no system call where epoll has told of nothing, and keeps no waker.
    #[must_use]
    pub fn has_news(&self) -> bool {
        self.is_told(|socket| {
            let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
            match again(|| rustix::net::recv(socket, &mut [0_u8; 1], flags)) {
                // In vain: epoll's word is forgotten.
                Err(Errno::AGAIN) => Err(io::ErrorKind::WouldBlock.into()),
                // Its end, or what it died of, is news, too.
                _ => Ok(()),
            }
        })
    }

    /// Whether the peer says nothing more, whatever it said before that is not read yet. A system call, where
    /// epoll has told of something.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        let mut ended = false;
        self.is_told(|socket| {
            let mut sockets = [PollFd::from_borrowed_fd(socket, PollFlags::RDHUP)];
            ended = again(|| poll(&mut sockets, Some(&Timespec::default()))).is_ok_and(|it| it > 0);
            Ok(())
        });
        ended
    }

    /// Whether epoll has told that something can be read, and `look` agrees.
    fn is_told(&self, look: impl FnOnce(BorrowedFd<'_>) -> io::Result<()>) -> bool {
        match self {
            Self::Tcp(stream) => stream.is_told(look),
            Self::Unix(stream) => stream.is_told(look),
            Self::TlsClient(stream) => stream.get_ref().0.is_told(look),
            Self::TlsServer(stream) => {
                let (socket, session) = stream.get_ref();
                has_plaintext(session) || socket.is_told(look)
            }
        }
    }

    /// As [`Transport::poll_readable`], for one task that asks again and again. `waits` says that it
    /// has asked and nothing has come since: how to wake it is known then, and costs nothing again.
    ///
    /// # Errors
    /// When the runtime is shutting down.
    pub fn poll_news(&self, cx: &mut Context<'_>, waits: &mut bool) -> Poll<io::Result<()>> {
        if self.may_have_news() {
            *waits = false;
            return Poll::Ready(Ok(()));
        }
        if *waits {
            return Poll::Pending;
        }
        let polled = self.poll_readable(cx);
        *waits = polled.is_pending();
        polled
    }

    /// The peer's address, where it has one.
    #[must_use]
    pub fn peer(&self) -> Option<SocketAddr> {
        self.tcp().and_then(|stream| stream.peer_addr().ok())
    }

    /// Has the kernel send lost bytes again every 200 ms or so, at first, instead of waiting twice as
    /// long each time: for the few bytes of a check, whose answer is awaited within a second.
    pub fn insist(&self) {
        if let Some(stream) = self.tcp() {
            // Without it a check takes longer where packets are lost, and that is all.
            let _ = socket2::SockRef::from(stream).set_tcp_thin_linear_timeouts(true);
        }
    }

    /// Our address, where the socket has one.
    #[must_use]
    pub fn local(&self) -> Option<SocketAddr> {
        self.tcp().and_then(|stream| stream.local_addr().ok())
    }

    /// Whether the bytes are encrypted.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        matches!(self, Self::TlsClient(_) | Self::TlsServer(_))
    }

    /// Whether passwords may cross it in the clear: encrypted, or never leaving the machine.
    #[must_use]
    pub fn is_private(&self) -> bool {
        self.is_tls() || matches!(self, Self::Unix(_))
    }

    /// The client's certificate (DER), where it showed one; TLS has verified it then.
    #[must_use]
    pub fn client_certificate(&self) -> Option<&[u8]> {
        match self {
            Self::TlsServer(stream) => {
                let (_, session) = stream.get_ref();
                session.peer_certificates()?.first().map(|certificate| certificate.as_ref())
            }
            Self::Tcp(_) | Self::TlsClient(_) | Self::Unix(_) => None,
        }
    }

    /// Takes the plain TCP stream out, to start TLS on it. What is left is a closed stand-in, to be
    /// replaced at once; `None` and no change for anything but plain TCP.
    #[must_use]
    pub fn take_tcp(&mut self) -> Option<TcpStream> {
        let (stand_in, _) = UnixStream::pair().ok()?;
        match std::mem::replace(self, Self::Unix(stand_in)) {
            Self::Tcp(stream) => Some(stream),
            other => {
                *self = other;
                None
            }
        }
    }

    /// Takes a plain socket off this thread's runtime; TLS can't be moved and comes back.
    ///
    /// # Errors
    /// The transport itself, where it can't be detached or the runtime refuses.
    pub fn detach(self) -> Result<Detached, Option<Self>> {
        match self {
            Self::Tcp(stream) => stream.into_std().map(Detached::Tcp).map_err(|_| None),
            Self::Unix(stream) => stream.into_std().map(Detached::Unix).map_err(|_| None),
            tls => Err(Some(tls)),
        }
    }
}

/// One system call, where epoll has said that it will not be in vain.
trait Now {
    fn recv_now(&self, buffer: &mut [u8]) -> io::Result<usize>;
    fn send_now(&self, bytes: &[u8]) -> io::Result<usize>;
    fn is_told(&self, look: impl FnOnce(BorrowedFd<'_>) -> io::Result<()>) -> bool;
}

macro_rules! now {
    ($stream:ty) => {
        impl Now for $stream {
            fn recv_now(&self, buffer: &mut [u8]) -> io::Result<usize> {
                let mut part = None;
                let read = self.try_io(Interest::READABLE, || {
                    let (count, _) =
                        again(|| rustix::net::recv(self, &mut *buffer, RecvFlags::empty()))?;
                    if count == 0 || count == buffer.len() {
                        return Ok(count);
                    }
                    // Less than there was room for is all there was: epoll tells of what comes next.
                    part = Some(count);
                    Err(io::ErrorKind::WouldBlock.into())
                });
                part.map_or(read, Ok)
            }

            fn send_now(&self, bytes: &[u8]) -> io::Result<usize> {
                self.try_io(Interest::WRITABLE, || {
                    Ok(again(|| rustix::net::send(self, bytes, SendFlags::NOSIGNAL))?)
                })
            }

            fn is_told(&self, look: impl FnOnce(BorrowedFd<'_>) -> io::Result<()>) -> bool {
                self.try_io(Interest::READABLE, || look(self.as_fd())).is_ok()
            }
        }
    };
}

now!(TcpStream);
now!(UnixStream);

/// Repeats a call that a signal interrupted.
fn again<T>(mut call: impl FnMut() -> rustix::io::Result<T>) -> rustix::io::Result<T> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            other => return other,
        }
    }
}

fn has_plaintext(connection: &rustls::ServerConnection) -> bool {
    // rustls decrypts whole records: what did not fit the last buffer waits inside it, and the
    // socket does not become readable again for it.
    !connection.wants_read()
}

impl Detached {
    /// Registers the socket with this thread's runtime.
    ///
    /// # Errors
    /// As the system says.
    pub fn attach(self) -> io::Result<Transport> {
        Ok(match self {
            Self::Tcp(stream) => Transport::Tcp(TcpStream::from_std(stream)?),
            Self::Unix(stream) => Transport::Unix(UnixStream::from_std(stream)?),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, io::Write as _};

    use super::*;

    #[test]
    fn an_end_without_the_goodbye_of_tls_is_told_without_a_link() {
        let link = "peer closed connection, see https://docs.rs/rustls";
        let told = in_words(io::Error::new(io::ErrorKind::UnexpectedEof, link));
        assert_eq!(told.kind(), io::ErrorKind::UnexpectedEof, "others tell by it what happened");
        assert_eq!(told.to_string(), "it was closed without TLS's goodbye (`close_notify`)");
        let other =
            in_words(io::Error::new(io::ErrorKind::InvalidData, "received corrupt message"));
        assert_eq!(other.to_string(), "received corrupt message");
    }

    #[tokio::test]
    async fn an_answer_that_fills_its_buffer_is_no_news_and_its_end_is() {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let mut ours = Detached::Unix(ours).attach().unwrap();
        let mut theirs = Some(theirs);
        let mut buffer = [0_u8; 8];
        theirs.as_mut().unwrap().write_all(&buffer).unwrap();
        let count = poll_fn(|cx| ours.poll_recv(cx, &mut buffer)).await.unwrap();
        assert_eq!(count, buffer.len());
        assert!(ours.may_have_news(), "only a read could tell");
        assert!(!ours.has_news());
        assert!(!ours.may_have_news(), "and is remembered");
        drop(theirs.take());
        poll_fn(|cx| ours.poll_readable(cx)).await.unwrap();
        assert!(ours.has_news());
    }
}
