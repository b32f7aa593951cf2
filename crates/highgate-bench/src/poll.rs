//! Epoll, level triggered, and the clock: the only system interface of servers, relay and load.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{self, AddressFamily, SocketFlags, SocketType};

/// A set of watched descriptors.
pub(crate) struct Poll {
    epoll: OwnedFd,
    events: Vec<Event>,
}

impl Poll {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self { epoll: epoll::create(CreateFlags::CLOEXEC)?, events: Vec::with_capacity(256) })
    }

    pub(crate) fn add(&self, fd: impl AsFd, key: u64) -> io::Result<()> {
        Ok(epoll::add(&self.epoll, fd, EventData::new_u64(key), EventFlags::IN)?)
    }

    /// Watches for reading, or for writing instead.
    pub(crate) fn watch(&self, fd: impl AsFd, key: u64, writing: bool) -> io::Result<()> {
        let flags = if writing { EventFlags::OUT } else { EventFlags::IN };
        Ok(epoll::modify(&self.epoll, fd, EventData::new_u64(key), flags)?)
    }

    /// Watches for nothing but errors.
    pub(crate) fn mute(&self, fd: impl AsFd, key: u64) -> io::Result<()> {
        Ok(epoll::modify(&self.epoll, fd, EventData::new_u64(key), EventFlags::empty())?)
    }

    /// The keys that are ready; waits for at most `within`.
    pub(crate) fn wait(&mut self, keys: &mut Vec<u64>, within: Duration) -> io::Result<()> {
        self.events.clear();
        keys.clear();
        let timeout = rustix::event::Timespec {
            tv_sec: i64::try_from(within.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(within.subsec_nanos()),
        };
        match epoll::wait(&self.epoll, spare_capacity(&mut self.events), Some(&timeout)) {
            Ok(_) => {}
            Err(Errno::INTR) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        keys.extend(self.events.iter().map(|event| event.data.u64()));
        Ok(())
    }
}

/// The present.
#[expect(clippy::disallowed_methods, reason = "the one clock of the bench")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Waits without any work; for processes that get ready.
#[expect(clippy::disallowed_methods, reason = "a foreign process announces nothing to wait on")]
pub(crate) fn pause(time: Duration) {
    std::thread::sleep(time);
}

/// What one look at a socket gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Got {
    Bytes(usize),
    Nothing,
    End,
}

/// One read into `scratch`.
pub(crate) fn read(stream: &mut TcpStream, scratch: &mut [u8]) -> Got {
    match stream.read(scratch) {
        Ok(0) => Got::End,
        Ok(count) => Got::Bytes(count),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Got::Nothing,
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Got::Nothing,
        Err(_) => Got::End,
    }
}

/// Writes what the kernel takes at once; `None` when the connection is gone.
pub(crate) fn write(stream: &mut TcpStream, bytes: &[u8]) -> Option<usize> {
    match stream.write(bytes) {
        Ok(count) => Some(count),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Some(0),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Some(0),
        Err(_) => None,
    }
}

/// A socket that doesn't block and doesn't delay, on its way to `to`; readable or writable tells how it went.
pub(crate) fn connect(to: SocketAddr) -> io::Result<TcpStream> {
    let family = match to {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = net::socket_with(family, SocketType::STREAM, flags, None)?;
    match net::connect(&socket, &to) {
        Ok(()) | Err(Errno::INPROGRESS) => {}
        Err(error) => return Err(error.into()),
    }
    let stream = TcpStream::from(socket);
    stream.set_nodelay(true)?;
    Ok(stream)
}
