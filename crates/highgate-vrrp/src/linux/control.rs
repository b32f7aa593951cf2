//! A stream of messages, one JSON text a line, that never blocks.

use std::{
    io::{self, Read, Write},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::net::UnixStream,
    },
};

use serde::{Serialize, de::DeserializeOwned};

/// Bytes of one message; a task of 255 routers with their scripts fits many times.
const LONGEST: usize = 8 * 1024 * 1024;
/// Bytes that may wait for a peer that does not read; beyond it what is said is dropped.
const MOST_WAITING: usize = 1024 * 1024;

/// Both directions of a stream.
#[derive(Debug)]
pub(crate) struct Control {
    stream: UnixStream,
    read: Vec<u8>,
    unsent: Vec<u8>,
    /// The peer is gone.
    is_over: bool,
}

impl Control {
    /// Over a connected socket.
    ///
    /// # Errors
    /// As the system says.
    pub(crate) fn new(socket: OwnedFd) -> io::Result<Self> {
        let stream = UnixStream::from(socket);
        stream.set_nonblocking(true)?;
        Ok(Self { stream, read: Vec::new(), unsent: Vec::new(), is_over: false })
    }

    /// Whether the peer is gone.
    pub(crate) const fn is_over(&self) -> bool {
        self.is_over
    }

    /// Whether something waits to be sent.
    pub(crate) const fn has_unsent(&self) -> bool {
        !self.unsent.is_empty()
    }

    /// Sends a message as far as the peer takes it now; the rest follows by [`Self::flush`]. While a
    /// peer does not read, what is said beyond a bound is lost: it is told everything anew later.
    pub(crate) fn send<T: Serialize>(&mut self, message: &T) {
        if self.unsent.len() > MOST_WAITING {
            return;
        }
        if let Ok(mut line) = serde_json::to_vec(message) {
            line.push(b'\n');
            self.unsent.extend(line);
        }
        self.flush();
    }

    /// Sends what waits.
    pub(crate) fn flush(&mut self) {
        while !self.unsent.is_empty() {
            match self.stream.write(&self.unsent) {
                Ok(count) => drop(self.unsent.drain(..count)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => {
                    self.is_over = true;
                    self.unsent.clear();
                }
            }
        }
    }

    /// The messages that have come. What can't be understood ends the stream: the peer is another
    /// version, or nobody.
    pub(crate) fn receive<T: DeserializeOwned>(&mut self) -> Vec<T> {
        let mut chunk = [0; 16 * 1024];
        loop {
            match self.stream.read(&mut chunk) {
                Ok(0) => self.is_over = true,
                Ok(count) => {
                    self.read.extend(chunk.get(..count).unwrap_or_default());
                    self.is_over |= self.read.len() > LONGEST;
                    if !self.is_over {
                        continue;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => self.is_over = true,
            }
            break;
        }
        let mut messages = Vec::new();
        while let Some(end) = self.read.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.read.drain(..=end).collect();
            match serde_json::from_slice(&line) {
                Ok(message) => messages.push(message),
                Err(_) => self.is_over = true,
            }
        }
        messages
    }
}

impl AsFd for Control {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (Control, Control) {
        let (one, other) = UnixStream::pair().unwrap();
        (Control::new(one.into()).unwrap(), Control::new(other.into()).unwrap())
    }

    #[test]
    fn messages_arrive_whole_and_in_order() {
        let (mut one, mut other) = pair();
        one.send(&"first\nwith a line end");
        one.send(&"second");
        assert_eq!(other.receive::<String>(), ["first\nwith a line end", "second"]);
        assert!(!other.is_over());
    }

    #[test]
    fn the_end_of_the_peer_is_noticed_behind_its_last_words() {
        let (mut one, mut other) = pair();
        one.send(&1);
        drop(one);
        assert_eq!(other.receive::<u32>(), [1]);
        assert!(other.is_over());
    }

    #[test]
    fn a_peer_that_does_not_read_costs_bounded_memory() {
        let (mut one, _other) = pair();
        let text = "x".repeat(100_000);
        for _ in 0..100 {
            one.send(&text);
        }
        assert!(one.unsent.len() < MOST_WAITING + 200_000);
    }
}
