//! The owner's socket, for `ctl`: it answers also when the process has no descriptor left.
//!
//! A few descriptors are kept in reserve for that. One is let go when accepting fails for want of
//! it, and taken again as soon as that connection ends: who finds out why nothing can be opened any
//! more needs a connection for asking.

use std::{
    fs::File,
    io,
    net::IpAddr,
    path::Path,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::serve::Listener;
use highgate_io::clock;
use parking_lot::Mutex;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{UnixListener, UnixStream},
};

/// Connections that can be had without a free descriptor.
const RESERVE: usize = 4;
/// Between two attempts to accept while even the reserve is spent.
const PAUSE: Duration = Duration::from_millis(100);

/// A socket that only this process's account can open.
#[derive(Debug)]
pub struct OwnerSocket {
    listener: UnixListener,
    reserve: Reserve,
}

impl OwnerSocket {
    /// Binds it, in place of one that is there: only for who holds the data directory.
    ///
    /// # Errors
    /// As the system says.
    pub fn bind(path: &Path) -> io::Result<Self> {
        let listener = UnixListener::from_std(highgate_io::listen::unix_in_place(path)?)?;
        let reserve = Reserve::default();
        reserve.fill();
        Ok(Self { listener, reserve })
    }
}

impl Listener for OwnerSocket {
    type Io = OwnerStream;
    type Addr = Option<IpAddr>;

    async fn accept(&mut self) -> (OwnerStream, Option<IpAddr>) {
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    let reserve = self.reserve.clone();
                    return (OwnerStream { stream: Some(stream), reserve }, None);
                }
                Err(_) if self.reserve.spend() => {}
                Err(error) => {
                    tracing::warn!(%error, "the socket of `highgate ctl` could not accept");
                    clock::pause(PAUSE).await;
                    self.reserve.fill();
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<Option<IpAddr>> {
        Ok(None)
    }
}

/// Descriptors of no use of their own.
#[derive(Debug, Clone, Default)]
struct Reserve(Arc<Mutex<Vec<File>>>);

impl Reserve {
    /// Takes as many as are missing, where the system gives them.
    fn fill(&self) {
        let mut files = self.0.lock();
        while files.len() < RESERVE {
            let Ok(file) = File::open("/dev/null") else { return };
            files.push(file);
        }
    }

    /// Lets one go; false where none is left.
    fn spend(&self) -> bool {
        self.0.lock().pop().is_some()
    }
}

/// A connection of the owner.
#[derive(Debug)]
pub struct OwnerStream {
    stream: Option<UnixStream>,
    reserve: Reserve,
}

impl OwnerStream {
    fn stream(&mut self) -> io::Result<Pin<&mut UnixStream>> {
        let stream = self.stream.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        Ok(Pin::new(stream))
    }
}

impl Drop for OwnerStream {
    fn drop(&mut self) {
        // Before anybody else takes its descriptor.
        drop(self.stream.take());
        self.reserve.fill();
    }
}

impl AsyncRead for OwnerStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.stream()?.poll_read(cx, buffer)
    }
}

impl AsyncWrite for OwnerStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.stream()?.poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream()?.poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream()?.poll_shutdown(cx)
    }
}
