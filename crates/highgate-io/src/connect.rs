//! Opening connections to servers.

use std::{
    future::poll_fn,
    io,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    pin::Pin,
    task::Poll,
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
    /// Several addresses of one host: one after the other, and beside those before where these take long.
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
    clock::before(deadline, open(target)).await.unwrap_or_else(|| Err(late()))
}

fn late() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "no connection in time")
}

async fn open(target: &Target) -> io::Result<Transport> {
    match target {
        Target::Any(addresses) => open_any(addresses).await,
        Target::Ip(address) => open_tcp(*address).await,
        Target::Unix(path) => Ok(Transport::Unix(UnixStream::connect(path).await?)),
    }
}

/// How long an address may take before the next one is tried beside it (RFC 8305 §5).
const HEAD_START: Duration = Duration::from_millis(250);

type Attempt<'a> = Pin<Box<dyn Future<Output = io::Result<Transport>> + 'a>>;

/// The first that can be had, in this order where none takes long. One that drops packets would take all of the
/// time, whatever its share: a check may go on for longer than it has to report. One that is far away goes on
/// beside the next. Those that come too late are closed before the server has seen them, or as it does.
async fn open_any(addresses: &[SocketAddr]) -> io::Result<Transport> {
    if let [only] = addresses {
        return open_tcp(*only).await;
    }
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    let mut attempts: Vec<Attempt<'_>> = Vec::new();
    for address in addresses {
        attempts.push(Box::pin(open_tcp(*address)));
        match clock::before(clock::now() + HEAD_START, first_end(&mut attempts)).await {
            Some(Ok(stream)) => return Ok(stream),
            Some(Err(error)) => last = error,
            None => {}
        }
    }
    while !attempts.is_empty() {
        match first_end(&mut attempts).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// What the attempt gave that ended first, which is one no more.
async fn first_end(attempts: &mut Vec<Attempt<'_>>) -> io::Result<Transport> {
    poll_fn(|cx| {
        let mut polled = attempts.iter_mut().map(|attempt| attempt.as_mut().poll(cx)).enumerate();
        let ended = polled.find_map(|(at, polled)| match polled {
            Poll::Ready(ended) => Some((at, ended)),
            Poll::Pending => None,
        });
        let Some((at, ended)) = ended else { return Poll::Pending };
        drop(attempts.remove(at));
        Poll::Ready(ended)
    })
    .await
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

    /// It had all of the time, and the server was down by a name that every client gets through by.
    #[test]
    fn an_address_that_drops_packets_hides_no_other() {
        let [deaf, other] = [(); 2].map(|()| std::net::TcpListener::bind("127.0.0.1:0").unwrap());
        let addresses = [&deaf, &other].map(|listener| listener.local_addr().unwrap());
        // The kernel drops what comes to a queue that is full.
        rustix::net::listen(&deaf, 0).unwrap();
        let soon = Duration::from_millis(50);
        let knock = || std::net::TcpStream::connect_timeout(&addresses[0], soon);
        let _held: Vec<_> = std::iter::from_fn(|| knock().ok()).collect();
        let runtime = crate::tasks::local_runtime().unwrap();
        let deadline = clock::now() + Duration::from_secs(2);
        let target = Target::Any(addresses.to_vec());
        let opened = runtime.block_on(connect(&target, deadline)).unwrap();
        assert_eq!(opened.peer(), Some(addresses[1]));
    }

    #[test]
    fn of_several_addresses_the_first_is_taken_that_takes_connections() {
        let [refuses, first, second] =
            [(); 3].map(|()| std::net::TcpListener::bind("127.0.0.1:0").unwrap());
        let [refused, one, two] =
            [&refuses, &first, &second].map(|listener| listener.local_addr().unwrap());
        drop(refuses);
        let runtime = crate::tasks::local_runtime().unwrap();
        let open = |addresses: &[SocketAddr]| {
            let deadline = clock::now() + Duration::from_secs(5);
            runtime.block_on(connect(&Target::Any(addresses.to_vec()), deadline))
        };
        for (addresses, taken) in [(&[one, two][..], one), (&[refused, two, one], two)] {
            assert_eq!(open(addresses).unwrap().peer(), Some(taken));
        }
        let kinds =
            [&[][..], &[refused], &[refused, refused]].map(|it| open(it).unwrap_err().kind());
        use io::ErrorKind::{ConnectionRefused, NotFound};
        assert_eq!(kinds, [NotFound, ConnectionRefused, ConnectionRefused]);
    }

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
