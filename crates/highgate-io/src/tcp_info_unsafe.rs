//! What the kernel knows of a TCP socket: bytes that a peer has not acknowledged, its own address.
//!
//! Named for its `unsafe`: `TCP_INFO` is read by `getsockopt` into a structure of the kernel's, which
//! is plain numbers, so that any bytes are a value of it. The kernel writes no more than the length it
//! is told, and a descriptor that is no TCP socket (any more) is an error, not a fault.
#![expect(unsafe_code, reason = "TCP_INFO is read by getsockopt, an address by getsockname")]

use std::{mem, net::IpAddr, os::fd::RawFd, time::Duration};

/// Bytes that were sent and not acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Unacknowledged {
    /// Segments under way. None while the peer's window is closed.
    pub segments: u32,
    /// How often they were sent again since the peer acknowledged anything.
    pub repeats: u8,
    /// Probes that the peer has not answered: of its closed window, or whether it is there.
    pub probes: u8,
    /// Time since the last acknowledgement of anything.
    pub since_heard: Duration,
}

/// Asks the kernel about a TCP socket; `None` for what is none.
#[must_use]
pub fn unacknowledged(socket: RawFd) -> Option<Unacknowledged> {
    let mut length = libc::socklen_t::try_from(size_of::<libc::tcp_info>()).ok()?;
    // SAFETY: every field of `tcp_info` is an integer, for which zero is a value.
    let mut info: libc::tcp_info = unsafe { mem::zeroed() };
    // SAFETY: `info` is writable for `length` bytes, and both live until the call has returned.
    let answer = unsafe {
        libc::getsockopt(
            socket,
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            (&raw mut info).cast(),
            &raw mut length,
        )
    };
    (answer == 0).then(|| Unacknowledged {
        segments: info.tcpi_unacked,
        repeats: info.tcpi_retransmits,
        probes: info.tcpi_probes,
        since_heard: Duration::from_millis(info.tcpi_last_ack_recv.into()),
    })
}

/// The address at which a TCP socket was connected to; `None` for what is none.
#[must_use]
pub fn local_address(socket: RawFd) -> Option<IpAddr> {
    // SAFETY: every field of `sockaddr_storage` is an integer, for which zero is a value.
    let mut storage: libc::sockaddr_storage = unsafe { mem::zeroed() };
    let mut length = libc::socklen_t::try_from(size_of_val(&storage)).ok()?;
    // SAFETY: `storage` is writable for `length` bytes, and both live until the call has returned.
    let answer = unsafe { libc::getsockname(socket, (&raw mut storage).cast(), &raw mut length) };
    if answer != 0 {
        return None;
    }
    let family = libc::c_int::from(storage.ss_family);
    let from = &raw const storage;
    if family == libc::AF_INET {
        // SAFETY: the family says so, and a `sockaddr_storage` is aligned and large enough for it.
        let address = unsafe { *from.cast::<libc::sockaddr_in>() };
        Some(IpAddr::from(address.sin_addr.s_addr.to_ne_bytes()))
    } else if family == libc::AF_INET6 {
        // SAFETY: as above.
        let address = unsafe { *from.cast::<libc::sockaddr_in6>() };
        Some(IpAddr::from(address.sin6_addr.s6_addr).to_canonical())
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::Write as _,
        net::{TcpListener, TcpStream},
        os::fd::AsRawFd as _,
        os::unix::net::UnixStream,
    };

    use super::*;

    #[test]
    fn a_peer_that_takes_nothing_and_answers_has_nothing_unacknowledged() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut here = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let _there = listener.accept().unwrap();
        here.set_nonblocking(true).unwrap();
        while here.write(&[0; 65_536]).is_ok() {}
        let told = unacknowledged(here.as_raw_fd()).unwrap();
        assert_eq!(told.repeats, 0);
        // A probe that is not answered within the network of one machine.
        assert!(told.probes <= 1, "{told:?}");
    }

    #[test]
    fn what_is_no_tcp_socket_has_no_answer() {
        let (one, _other) = UnixStream::pair().unwrap();
        assert_eq!(unacknowledged(one.as_raw_fd()), None);
        assert_eq!(unacknowledged(-1), None);
    }
}
