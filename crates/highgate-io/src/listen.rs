//! Listening sockets.

use std::{io, net::SocketAddr, os::fd::OwnedFd, path::Path, time::Duration};

use socket2::{Domain, Protocol, Socket, Type};

/// Connections that the kernel keeps for us until we accept them.
const BACKLOG: i32 = 8192;

/// Binds a TCP listener, also on an address that this machine does not have yet (a vip).
///
/// # Errors
/// As the system says; the text names what to look at.
pub fn tcp(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    if !address.ip().is_unspecified() {
        let freebind = if address.is_ipv6() {
            socket.set_freebind_v6(true)
        } else {
            socket.set_freebind_v4(true)
        };
        // Without it, binding works for addresses that are there.
        let _ = freebind;
    }
    socket.set_nonblocking(true)?;
    // Accepted sockets inherit these: no call per client.
    tune(&socket2::SockRef::from(&socket))?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Binds a Unix socket, replacing one that nobody listens on any more.
///
/// # Errors
/// `AddrInUse` where somebody still answers there, else as the system says.
pub fn unix(path: &Path) -> io::Result<std::os::unix::net::UnixListener> {
    if path.exists() {
        if std::os::unix::net::UnixStream::connect(path).is_ok() {
            return Err(io::Error::new(
                io::ErrorKind::AddrInUse,
                format!("another process listens on {}", path.display()),
            ));
        }
        std::fs::remove_file(path)?;
    }
    let listener = std::os::unix::net::UnixListener::bind(path)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Binds a Unix socket that this process's account alone may open, in place of one that may still be
/// listened on: whoever connects finds the one or the other. For a path whose owner is settled by
/// other means, such as a lock.
///
/// # Errors
/// As the system says.
pub fn unix_in_place(path: &Path) -> io::Result<std::os::unix::net::UnixListener> {
    use std::os::unix::fs::PermissionsExt as _;
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let new = Path::new(&new);
    match std::fs::remove_file(new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = std::os::unix::net::UnixListener::bind(new)?;
    std::fs::set_permissions(new, std::fs::Permissions::from_mode(0o600))?;
    listener.set_nonblocking(true)?;
    std::fs::rename(new, path)?;
    Ok(listener)
}

/// Takes over a listening socket that another process handed to us.
#[must_use]
pub fn adopt(descriptor: OwnedFd) -> Socket {
    Socket::from(descriptor)
}

/// Socket options of every connection: no delay, and a keepalive that finds a peer whose cable
/// was pulled within a minute.
///
/// # Errors
/// As the system says.
pub fn tune(socket: &socket2::SockRef<'_>) -> io::Result<()> {
    socket.set_tcp_nodelay(true)?;
    keep_alive(socket, Duration::from_secs(60))
}

/// Lets the kernel find an idle peer that answers nothing within `bound`, whole seconds, 6 at least. On a
/// listening socket it holds for the connections accepted from then on.
///
/// # Errors
/// As the system says.
pub fn keep_alive(socket: &socket2::SockRef<'_>, bound: Duration) -> io::Result<()> {
    let keepalive =
        socket2::TcpKeepalive::new().with_time(bound / 2).with_interval(bound / 6).with_retries(3);
    socket.set_tcp_keepalive(&keepalive)
}
