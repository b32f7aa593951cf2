//! Listening sockets.

use std::{
    io,
    net::SocketAddr,
    os::{
        fd::OwnedFd,
        unix::fs::{FileTypeExt as _, PermissionsExt as _},
    },
    path::Path,
    time::Duration,
};

use socket2::{Domain, Protocol, Socket, Type};

/// Connections that the kernel keeps for us until we accept them.
const BACKLOG: i32 = 8192;

/// Binds a TCP listener, also on an address that this machine does not have yet (a vip).
///
/// # Errors
/// As the system says; the text names what to look at.
pub fn tcp(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = unbound(address)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// As [`tcp`], where listening sockets of this account that are about to be closed have the port, for
/// other addresses. They give way from here on; where it fails, they don't.
///
/// # Errors
/// As the system says: `AddrInUse` where yet another socket has it.
pub fn tcp_beside(address: SocketAddr, going: &[OwnedFd]) -> io::Result<std::net::TcpListener> {
    let socket = unbound(address)?;
    // The kernel wants it of all of them, and for no longer than it takes to listen.
    socket.set_reuse_port(true)?;
    let bound = going
        .iter()
        .try_for_each(|old| give_way(old, true))
        .and_then(|()| socket.bind(&address.into()))
        .and_then(|()| socket.listen(BACKLOG))
        .and_then(|()| socket.set_reuse_port(false));
    if let Err(error) = bound {
        for old in going {
            // What can't go back hides neither why nor the others.
            let _ = give_way(old, false);
        }
        return Err(error);
    }
    Ok(socket.into())
}

/// Makes a listening socket one that gives way to another of its port, or that stays.
///
/// # Errors
/// As the system says.
pub fn give_way(socket: &OwnedFd, gives_way: bool) -> io::Result<()> {
    socket2::SockRef::from(socket).set_reuse_port(gives_way)
}

/// Whether another socket of its port takes this one's place.
#[must_use]
pub fn gives_way(socket: &OwnedFd) -> bool {
    socket2::SockRef::from(socket).reuse_port().unwrap_or(false)
}

/// Where a socket listens; `None` for a Unix socket.
#[must_use]
pub fn address(socket: &OwnedFd) -> Option<SocketAddr> {
    socket2::SockRef::from(socket).local_addr().ok()?.as_socket()
}

fn unbound(address: SocketAddr) -> io::Result<Socket> {
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
    Ok(socket)
}

/// Binds a Unix socket, replacing one that nobody listens on any more. Every account of the machine may connect, as to
/// the sockets of database servers: who may do what is told by logins, and by the mode of the folder.
///
/// # Errors
/// `AddrInUse` where somebody still answers there, `AlreadyExists` where there is anything but a
/// socket, which is left alone; else as the system says.
pub fn unix(path: &Path) -> io::Result<std::os::unix::net::UnixListener> {
    match std::fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => {
            let text = format!("{} is there already, and is no socket", path.display());
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, text));
        }
        Ok(_) => remove_abandoned(path)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let listener = std::os::unix::net::UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o777))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Removes a socket of which the kernel says that nobody listens on it.
fn remove_abandoned(socket: &Path) -> io::Result<()> {
    match std::os::unix::net::UnixStream::connect(socket) {
        Ok(_) => {
            let text = format!("another process listens on {}", socket.display());
            Err(io::Error::new(io::ErrorKind::AddrInUse, text))
        }
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            std::fs::remove_file(socket)
        }
        Err(error) => Err(error),
    }
}

/// Binds a Unix socket that this process's account alone may open, in place of one that may still be
/// listened on: whoever connects finds the one or the other. For a path whose owner is settled by
/// other means, such as a lock.
///
/// # Errors
/// As the system says.
pub fn unix_in_place(path: &Path) -> io::Result<std::os::unix::net::UnixListener> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_nobody_listens_on_is_replaced_and_nothing_else_is_removed() {
        let folder = std::env::temp_dir().join(format!("highgate-listen-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let socket = folder.join("shop.sock");
        let listening = unix(&socket).unwrap();
        // Whatever the process's umask says.
        let mode = std::fs::metadata(&socket).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o777);
        assert_eq!(unix(&socket).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(listening);
        assert!(socket.exists(), "a process that dies leaves it");
        drop(unix(&socket).unwrap());

        let file = folder.join("ledger");
        std::fs::write(&file, "dear").unwrap();
        let link = folder.join("link");
        std::os::unix::fs::symlink(&socket, &link).unwrap();
        let gone = folder.join("gone");
        std::os::unix::fs::symlink(folder.join("nowhere"), &gone).unwrap();
        for other in [&file, &link, &gone] {
            let error = unix(other).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::AlreadyExists, "{error}");
            assert!(error.to_string().contains("is no socket"), "{error}");
        }
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "dear");
        assert!(link.symlink_metadata().is_ok() && gone.symlink_metadata().is_ok());
        let _ = std::fs::remove_dir_all(folder);
    }

    /// One that could not go back left those behind it so that any socket of this account took their place.
    #[test]
    fn where_listening_beside_others_fails_all_that_can_go_back_do() {
        let file = std::fs::File::open("/dev/null").unwrap();
        let old = tcp("127.0.0.1:0".parse().unwrap()).unwrap();
        let port = old.local_addr().unwrap().port();
        let going = [OwnedFd::from(file), OwnedFd::from(old)];
        give_way(&going[1], true).unwrap();
        tcp_beside(SocketAddr::from(([0, 0, 0, 0], port)), &going).unwrap_err();
        assert!(!gives_way(&going[1]));
    }
}
