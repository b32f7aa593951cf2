//! One end of the stream to the keeper: lines of JSON, and descriptors beside some of them.

use std::{
    collections::VecDeque,
    io,
    os::fd::{AsFd, OwnedFd},
};

use highgate_io::handover;
use highgate_vrrp::linux::ToKeeper;
use tokio::{
    io::{AsyncWriteExt, Interest},
    net::UnixStream,
};

/// The stream, and what was read of it.
#[derive(Debug)]
pub(super) struct Voice {
    stream: UnixStream,
    read: Vec<u8>,
    /// Where the line that was given out last begins, and how far lines were given out, in bytes from
    /// the start of the stream.
    line_at: u64,
    read_at: u64,
    /// Descriptors, each with the place where the bytes end that it came with.
    given: VecDeque<(u64, OwnedFd)>,
}

impl Voice {
    pub(super) fn new(stream: std::os::unix::net::UnixStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        let stream = UnixStream::from_std(stream)?;
        Ok(Self { stream, read: Vec::new(), line_at: 0, read_at: 0, given: VecDeque::new() })
    }

    /// The next line.
    ///
    /// Cancel safe: yes; what was read is kept.
    pub(super) async fn line(&mut self) -> io::Result<Vec<u8>> {
        loop {
            if let Some(end) = self.read.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.read.drain(..=end).collect();
                self.line_at = self.read_at;
                self.read_at += line.len() as u64;
                return Ok(line);
            }
            let receive = || handover::receive(&self.stream);
            let (text, given) = self.stream.async_io(Interest::READABLE, receive).await?;
            self.read.extend(text);
            let end = self.read_at + self.read.len() as u64;
            self.given.extend(given.into_iter().map(|descriptor| (end, descriptor)));
        }
    }

    /// The descriptor that came with the line that says so, which is the last one. Those before it
    /// belong to lines that a keeper that was killed did not end.
    pub(super) fn descriptor(&mut self) -> Option<OwnedFd> {
        while self.given.front().is_some_and(|(end, _)| *end <= self.line_at) {
            self.given.pop_front();
        }
        self.given.pop_front().map(|(_, descriptor)| descriptor)
    }

    pub(super) async fn send(&mut self, message: &ToKeeper) {
        if let Ok(mut line) = serde_json::to_vec(message) {
            line.push(b'\n');
            // Its end is told by the other direction.
            let _ = self.stream.write_all(&line).await;
        }
    }

    /// Sends a message along with descriptors.
    pub(super) async fn send_with(&mut self, message: &ToKeeper, descriptors: &[OwnedFd]) {
        let Ok(mut line) = serde_json::to_vec(message) else { return };
        line.push(b'\n');
        let descriptors: Vec<_> = descriptors.iter().map(AsFd::as_fd).collect();
        let send = || handover::send_part(&self.stream, &line, &descriptors);
        if let Ok(sent) = self.stream.async_io(Interest::WRITABLE, send).await {
            let _ = self.stream.write_all(line.get(sent..).unwrap_or_default()).await;
        }
    }

    /// A copy of it for another process.
    pub(super) fn copy(&self) -> io::Result<OwnedFd> {
        self.stream.as_fd().try_clone_to_owned()
    }
}
