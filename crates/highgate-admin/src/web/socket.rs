//! The web port's socket: http and https on one address.
//!
//! The first byte tells them apart: no HTTP request begins as a TLS handshake does. The look at it,
//! and the handshake, happen when the connection is first read, in its own task and under its
//! deadline: accepting waits for nobody.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::serve::Listener;
use highgate_io::clock;
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf},
    net::{TcpListener, TcpStream},
};

use crate::stream::{Offer, Stream, TlsOffer};

/// Pause after an accept that failed for want of descriptors or memory.
const PAUSE: Duration = Duration::from_millis(100);
/// The first byte of a TLS handshake.
const HANDSHAKE: u8 = 0x16;
/// What plain HTTP is answered where TLS is required.
const USE_TLS: &[u8] = b"HTTP/1.1 403 Forbidden\r\nContent-Type: text/plain\r\n\
    Content-Length: 53\r\nConnection: close\r\n\r\n\
    this address speaks https alone; ask for https://...\n";

/// A TCP socket that serves the web surface.
#[derive(Debug)]
pub struct WebPort {
    listener: TcpListener,
    tls: TlsOffer,
}

impl WebPort {
    /// Serves on that socket, with TLS as `tls` offers it.
    #[must_use]
    pub const fn new(listener: TcpListener, tls: TlsOffer) -> Self {
        Self { listener, tls }
    }
}

impl Listener for WebPort {
    type Io = WebStream;
    type Addr = Option<IpAddr>;

    async fn accept(&mut self) -> (WebStream, Option<IpAddr>) {
        loop {
            match self.listener.accept().await {
                Ok((stream, from)) => {
                    let _ = stream.set_nodelay(true);
                    let opening = Box::pin(open(stream, self.tls.current()));
                    return (WebStream(State::Opening(opening)), address(from));
                }
                Err(error) => {
                    tracing::warn!(%error, "the web port could not accept a connection");
                    clock::pause(PAUSE).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<Option<IpAddr>> {
        self.listener.local_addr().map(address)
    }
}

fn address(socket: SocketAddr) -> Option<IpAddr> {
    Some(socket.ip().to_canonical())
}

/// Finds out what the client speaks.
///
/// Cancel safe: no; a handshake may be half done. The caller closes the connection.
async fn open(stream: TcpStream, offer: Offer) -> io::Result<Stream> {
    if offer.config.is_none() && !offer.is_required {
        return Ok(Stream::Plain(stream));
    }
    let mut first = [0];
    let is_tls = stream.peek(&mut first).await? == 1 && first == [HANDSHAKE];
    let mut stream = Stream::Plain(stream);
    match offer.config {
        Some(config) if is_tls => stream.encrypted(config).await,
        _ if offer.is_required => {
            stream.write_all(USE_TLS).await?;
            stream.shutdown().await?;
            Err(io::ErrorKind::PermissionDenied.into())
        }
        _ => Ok(stream),
    }
}

/// A connection to the web port.
pub struct WebStream(State);

enum State {
    /// Nobody knows yet what it speaks.
    Opening(Pin<Box<dyn Future<Output = io::Result<Stream>> + Send>>),
    Open(Stream),
    Failed,
}

impl std::fmt::Debug for WebStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("WebStream(..)")
    }
}

impl WebStream {
    fn poll_open(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Pin<&mut Stream>>> {
        if let State::Opening(opening) = &mut self.0 {
            let opened = ready!(opening.as_mut().poll(cx));
            self.0 = State::Failed;
            self.0 = State::Open(opened?);
        }
        match &mut self.0 {
            State::Open(stream) => Poll::Ready(Ok(Pin::new(stream))),
            State::Opening(_) | State::Failed => {
                Poll::Ready(Err(io::ErrorKind::NotConnected.into()))
            }
        }
    }
}

impl AsyncRead for WebStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.poll_open(cx))?.poll_read(cx, buffer)
    }
}

impl AsyncWrite for WebStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_open(cx))?.poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.0 {
            // Nothing was written; and a flush shall not wait for the client's first byte.
            State::Opening(_) | State::Failed => Poll::Ready(Ok(())),
            State::Open(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.0 {
            State::Opening(_) | State::Failed => Poll::Ready(Ok(())),
            State::Open(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
