//! A stream of messages, one JSON text a line, that never blocks.
//!
//! The stream outlives a keeper that is killed, at any byte of either direction: its successor ends the
//! line that may be half said, and leaves out the rest of one that may be half heard.

use std::{
    collections::VecDeque,
    io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::net::UnixStream,
    },
};

use highgate_io::handover;
use serde::{Serialize, de::DeserializeOwned};

/// Bytes of one message; a task of 255 routers with their scripts fits many times.
const LONGEST: usize = 8 * 1024 * 1024;
/// Descriptors that may come before anybody asks for them.
const MOST_GIVEN: usize = 1024;
/// Bytes that may wait for a peer that does not read; beyond it what is said is dropped.
const MOST_WAITING: usize = 1024 * 1024;

/// Both directions of a stream.
#[derive(Debug)]
pub(crate) struct Control {
    stream: UnixStream,
    read: Vec<u8>,
    /// Descriptors that came along.
    given: VecDeque<OwnedFd>,
    unsent: Vec<u8>,
    /// Descriptors that go with the byte at that place of what is unsent.
    attached: VecDeque<(usize, OwnedFd)>,
    /// The peer is gone.
    is_over: bool,
    /// What comes first may be the rest of a line.
    may_be_rest: bool,
    /// Why a line was not understood.
    misheard: Option<String>,
}

impl Control {
    /// Over a connected socket.
    ///
    /// # Errors
    /// As the system says.
    pub(crate) fn new(socket: OwnedFd) -> io::Result<Self> {
        let stream = UnixStream::from(socket);
        stream.set_nonblocking(true)?;
        Ok(Self {
            stream,
            read: Vec::new(),
            given: VecDeque::new(),
            unsent: Vec::new(),
            attached: VecDeque::new(),
            is_over: false,
            may_be_rest: false,
            misheard: None,
        })
    }

    /// Over a socket whose user before was killed, perhaps within a line.
    ///
    /// # Errors
    /// As the system says.
    pub(crate) fn inherited(socket: OwnedFd) -> io::Result<Self> {
        let mut control = Self::new(socket)?;
        control.may_be_rest = true;
        control.unsent.push(b'\n');
        Ok(control)
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
    /// peer does not read, what is said beyond a bound is lost, which is told: `false`.
    pub(crate) fn send<T: Serialize>(&mut self, message: &T) -> bool {
        self.send_with(message, None)
    }

    /// Sends a message along with a descriptor.
    pub(crate) fn send_with<T: Serialize>(
        &mut self,
        message: &T,
        descriptor: Option<OwnedFd>,
    ) -> bool {
        if self.unsent.len() > MOST_WAITING {
            self.flush();
        }
        if self.unsent.len() > MOST_WAITING {
            return false;
        }
        let line = serde_json::to_vec(message);
        let is_said = line.is_ok();
        if let Ok(mut line) = line {
            line.push(b'\n');
            self.attached.extend(descriptor.map(|descriptor| (self.unsent.len(), descriptor)));
            self.unsent.extend(line);
        }
        self.flush();
        is_said
    }

    /// Sends what waits.
    pub(crate) fn flush(&mut self) {
        while !self.unsent.is_empty() {
            match self.send_part() {
                Ok(count) => drop(self.unsent.drain(..count)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => {
                    self.is_over = true;
                    self.unsent.clear();
                    self.attached.clear();
                }
            }
        }
    }

    /// Sends what the peer takes now, up to the next byte that a descriptor goes with.
    fn send_part(&mut self) -> io::Result<usize> {
        let goes_now = |(at, _): &&(usize, OwnedFd)| *at == 0;
        let descriptor = self.attached.front().filter(goes_now).map(|(_, it)| it.as_fd());
        let later = usize::from(descriptor.is_some());
        let end = self.attached.get(later).map_or(self.unsent.len(), |(at, _)| *at);
        let part = self.unsent.get(..end).unwrap_or_default();
        let sent = handover::send_part(&self.stream, part, descriptor.as_slice())?;
        if later > 0 {
            self.attached.pop_front();
        }
        for (at, _) in &mut self.attached {
            *at -= sent;
        }
        Ok(sent)
    }

    /// The peer sees the end of the stream, whoever else has copies of it.
    pub(crate) fn hang_up(&self) {
        // It may be gone.
        let _ = self.stream.shutdown(std::net::Shutdown::Both);
    }

    /// The descriptors that came with a message that names their number.
    pub(crate) fn descriptors(&mut self, count: usize) -> Vec<OwnedFd> {
        self.given.drain(..count.min(self.given.len())).collect()
    }

    /// Why the peer was not understood, once.
    pub(crate) const fn take_misheard(&mut self) -> Option<String> {
        self.misheard.take()
    }

    /// The messages that have come. What can't be understood ends the stream: the peer is another
    /// version, or nobody.
    pub(crate) fn receive<T: DeserializeOwned>(&mut self) -> Vec<T> {
        loop {
            match handover::receive(&self.stream) {
                Ok((text, given)) => {
                    self.read.extend(text);
                    self.given.extend(given);
                    self.is_over |= self.read.len() > LONGEST || self.given.len() > MOST_GIVEN;
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
            let may_be_rest = std::mem::take(&mut self.may_be_rest);
            match serde_json::from_slice(&line) {
                Ok(message) => messages.push(message),
                // No rest of a message is one: it lacks a brace or a quote at its begin.
                Err(_) if may_be_rest => {}
                Err(error) => {
                    self.is_over = true;
                    self.misheard = Some(error.to_string());
                }
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
    use crate::linux::messages::ToKeeper;

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
        let taken = (0..100).filter(|_| one.send(&text)).count();
        assert!(one.unsent.len() < MOST_WAITING + 200_000);
        assert!((10..30).contains(&taken), "what is lost is told: {taken}");
    }

    /// What was observed: a will that a busy watcher had no room for was lost, and never said again.
    #[test]
    fn what_was_lost_can_be_said_once_there_is_room() {
        let (mut one, mut other) = pair();
        while one.send(&"x".repeat(100_000)) {}
        assert!(!one.send(&"will"));
        let mut heard = Vec::new();
        while one.has_unsent() {
            heard.extend(other.receive::<String>());
            one.flush();
        }
        assert!(one.send(&"will"));
        heard.extend(other.receive::<String>());
        assert_eq!(heard.last().map(String::as_str), Some("will"));
    }

    /// Sends bytes as they are.
    fn raw(control: &mut Control, bytes: &[u8]) {
        control.unsent.extend(bytes);
        control.flush();
    }

    #[test]
    fn a_line_that_is_half_heard_by_one_that_dies_is_left_out_by_the_next() {
        let message =
            ToKeeper::Drain { router: Some("a".to_owned()), why: Some("b\n{}".to_owned()) };
        let all = [message, ToKeeper::Beat(Ok(())), ToKeeper::Stop];
        for half in &all {
            let mut line = serde_json::to_vec(half).unwrap();
            line.push(b'\n');
            // From the second byte on: with the first one it would be whole.
            for cut in 1..line.len() {
                let (mut main, keeper) = pair();
                raw(&mut main, &line[cut..]);
                main.send(&all[0]);
                main.send(&all[1]);
                let mut next = Control::inherited(keeper.stream.into()).unwrap();
                assert_eq!(next.receive::<ToKeeper>(), all[..2], "{half:?} cut at {cut}");
                assert!(!next.is_over() && next.take_misheard().is_none());
            }
        }
    }

    #[test]
    fn a_line_that_is_half_said_by_one_that_dies_is_ended_by_the_next() {
        let (mut dying, other) = pair();
        let stream = dying.stream.try_clone().unwrap();
        raw(&mut dying, b"{\"Status\":[{\"na");
        drop(dying);
        let mut next = Control::inherited(stream.into()).unwrap();
        next.send(&"here");
        let (text, _) = handover::receive(&other.stream).unwrap();
        let lines: Vec<_> = text.split(|byte| *byte == b'\n').collect();
        assert_eq!(lines, [b"{\"Status\":[{\"na".as_slice(), b"\"here\"", b""]);
    }

    #[test]
    fn what_is_not_understood_ends_the_stream_with_a_reason() {
        let (mut one, mut other) = pair();
        raw(&mut one, b"what\n");
        assert_eq!(other.receive::<ToKeeper>(), []);
        assert!(other.is_over());
        assert!(other.take_misheard().unwrap().contains("expected"));
        // Nor does the next keeper bear more than one such line.
        let (mut one, keeper) = pair();
        raw(&mut one, b"rest\nwhat\n");
        let mut next = Control::inherited(keeper.stream.into()).unwrap();
        assert_eq!(next.receive::<ToKeeper>(), []);
        assert!(next.is_over());
    }

    #[test]
    fn a_descriptor_arrives_with_its_message() {
        use std::io::{Read as _, Write as _};
        let (mut one, other) = pair();
        let (mut near, far) = UnixStream::pair().unwrap();
        one.send(&"x".repeat(1_000_000));
        one.send_with(&"this", Some(far.into()));
        one.send(&"behind");
        let (mut text, mut descriptors) = (Vec::new(), Vec::new());
        while !text.ends_with(b"\"behind\"\n") {
            one.flush();
            if let Ok((more, found)) = handover::receive(&other) {
                text.extend(more);
                descriptors.extend(found);
            }
        }
        let mut far = UnixStream::from(descriptors.pop().unwrap());
        far.write_all(b"x").unwrap();
        near.read_exact(&mut [0]).unwrap();
        assert!(descriptors.is_empty());
    }
}
