//! Opening connections to servers.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::{Duration, Instant},
};

use tokio::net::{TcpStream, UnixStream};

use crate::{clock, listen, transport::Transport};

/// How long bytes may stay unacknowledged, or unwanted, before the kernel gives a connection up.
///
/// Quirk: Linux (6.18) counts a peer that takes nothing as one that acknowledges nothing, although it
/// answers every probe. So this is longer than a server waits for a row lock while it takes in a
/// file of `LOAD DATA LOCAL` (`innodb_lock_wait_timeout`, 50 s). Silent servers are found by checks.
const USER_TIMEOUT: Duration = Duration::from_secs(120);

/// Where a server is, resolved as far as it can be.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Target {
    /// Several addresses of one host, tried in turn.
    Any(Vec<SocketAddr>),
    /// A numeric address.
    Ip(SocketAddr),
    /// A Unix socket's path.
    Unix(PathBuf),
}

/// Opens a connection by `deadline`.
///
/// # Errors
/// `TimedOut` at the deadline, else as the system says.
///
/// Cancel safe: yes; a dropped call closes what it opened.
pub async fn connect(target: &Target, deadline: Instant) -> io::Result<Transport> {
    let late = || io::Error::new(io::ErrorKind::TimedOut, "no connection in time");
    clock::before(deadline, open(target)).await.unwrap_or_else(|| Err(late()))
}

async fn open(target: &Target) -> io::Result<Transport> {
    match target {
        Target::Any(addresses) => open_any(addresses.iter().copied()).await,
        Target::Ip(address) => open_tcp(*address).await,
        Target::Unix(path) => Ok(Transport::Unix(UnixStream::connect(path).await?)),
    }
}

async fn open_any(addresses: impl Iterator<Item = SocketAddr>) -> io::Result<Transport> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in addresses {
        match open_tcp(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Whether a connection could not be opened for want of descriptors, memory or ports of our own:
/// that says nothing about the server.
#[must_use]
pub fn is_our_own(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let ours = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM, Errno::ADDRNOTAVAIL];
    error.raw_os_error().is_some_and(|code| ours.iter().any(|own| own.raw_os_error() == code))
}

async fn open_tcp(address: SocketAddr) -> io::Result<Transport> {
    let stream = TcpStream::connect(address).await?;
    let socket = socket2::SockRef::from(&stream);
    listen::tune(&socket)?;
    socket.set_tcp_user_timeout(Some(USER_TIMEOUT))?;
    Ok(Transport::Tcp(stream))
}

/// Looks a name up.
///
/// # Errors
/// As the resolver says.
///
/// Cancel safe: yes; a dropped call has consumed nothing.
pub async fn resolve(host: &str) -> io::Result<Vec<IpAddr>> {
    Ok(tokio::net::lookup_host((host, 0)).await?.map(|address| address.ip()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_may_take_nothing_for_as_long_as_it_waits_for_a_row_lock() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let runtime = crate::tasks::local_runtime().unwrap();
        let target = Target::Ip(listener.local_addr().unwrap());
        let deadline = clock::now() + Duration::from_secs(5);
        let opened = runtime.block_on(connect(&target, deadline)).unwrap();
        let Transport::Tcp(stream) = opened else { panic!("no TCP") };
        let bound = socket2::SockRef::from(&stream).tcp_user_timeout().unwrap();
        assert!(bound.is_some_and(|bound| bound > Duration::from_secs(60)), "{bound:?}");
    }
}
