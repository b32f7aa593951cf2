//! An operator's connection, plain or TLS, as one thing to read and write; and who offers TLS.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use highgate_config::TlsMode;
use highgate_io::tls;
use rustls::ServerConfig;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    sync::watch,
};

/// TLS of the ports for operators, as it is configured right now.
#[derive(Debug, Clone)]
pub struct TlsOffer(watch::Receiver<Offer>);

/// What is offered.
#[derive(Debug, Clone, Default)]
pub struct Offer {
    /// Certificate and trust; without them there is no TLS.
    pub config: Option<Arc<ServerConfig>>,
    /// Whether who does not use it is refused.
    pub is_required: bool,
}

impl Offer {
    /// What a mode makes of the files that were read for it.
    #[must_use]
    pub fn new(mode: TlsMode, config: Option<Arc<ServerConfig>>) -> Self {
        Self { is_required: mode >= TlsMode::Required, config }
    }
}

impl TlsOffer {
    /// Follows `offers`.
    #[must_use]
    pub fn new(offers: watch::Receiver<Offer>) -> Self {
        Self(offers)
    }

    /// No TLS, ever.
    #[must_use]
    pub fn none() -> Self {
        Self(watch::channel(Offer::default()).1)
    }

    /// What is offered to who comes now.
    pub(crate) fn current(&self) -> Offer {
        self.0.borrow().clone()
    }
}

/// A TCP connection of an operator.
#[derive(Debug)]
pub(crate) enum Stream {
    Plain(TcpStream),
    Tls(Box<tokio_rustls::server::TlsStream<TcpStream>>),
}

impl Stream {
    /// Speaks TLS from here on.
    ///
    /// Cancel safe: no; the handshake may be half done. The caller closes the connection.
    pub(crate) async fn encrypted(self, config: Arc<ServerConfig>) -> io::Result<Self> {
        match self {
            Self::Plain(stream) => Ok(Self::Tls(Box::new(tls::accept(config, stream, &[]).await?))),
            Self::Tls(_) => Err(io::ErrorKind::InvalidInput.into()),
        }
    }
}

macro_rules! each {
    ($self:expr, $stream:ident => $body:expr) => {
        match $self.get_mut() {
            Stream::Plain($stream) => $body,
            Stream::Tls($stream) => $body,
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        each!(self, stream => Pin::new(stream).poll_read(cx, buffer))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        each!(self, stream => Pin::new(stream).poll_write(cx, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, stream => Pin::new(stream).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, stream => Pin::new(stream).poll_shutdown(cx))
    }
}
