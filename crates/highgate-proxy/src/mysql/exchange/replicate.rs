//! A binary log on its way to a replica, which may speak meanwhile: semi-synchronous replication
//! acknowledges transactions in the middle of the answer.

use std::{
    future::poll_fn,
    task::{Context as Cx, Poll},
};

use highgate_io::tasks;
use highgate_mysql::scan::ScanState;

use super::{Peers, Space, Stall, Stopped, poll_send};

impl Peers<'_> {
    /// Passes the events on to their end, and what the replica says to the server, both as they come.
    /// The command itself must be out of the inbox.
    ///
    /// Cancel safe: no; both connections must be closed.
    pub(crate) async fn replicate(&mut self, space: &mut Space) -> Result<(), Stopped> {
        let mut stall = Stall::default();
        loop {
            if let (ScanState::Broken(error), 0) = (space.state, space.passed_on) {
                return Err(Stopped::Broken(error.to_string()));
            }
            let passed = poll_fn(|cx| self.poll_events(cx, space, &mut stall)).await;
            stall.over(&self.context.slot);
            passed?;
            match space.state {
                ScanState::Done => return Ok(()),
                ScanState::Broken(error) => return Err(Stopped::Broken(error.to_string())),
                _ => {}
            }
            tasks::breathe().await;
            poll_fn(|cx| self.poll_next(cx, space)).await?;
        }
    }

    /// Ready when the client has taken all events that were read.
    fn poll_events(
        &mut self,
        cx: &mut Cx<'_>,
        space: &mut Space,
        stall: &mut Stall,
    ) -> Poll<Result<(), Stopped>> {
        self.take_words(cx)?;
        let streams = space.buffer.is_full();
        let bytes = space.buffer.bytes().get(..space.owed()).unwrap_or_default();
        let mut sent = 0;
        let done = self.client.poll_send(cx, bytes, &mut sent);
        space.passed(sent);
        if sent > 0 {
            stall.over(&self.context.slot);
        }
        if let Poll::Ready(done) = done {
            if streams {
                space.buffer.enlarge();
            }
            return Poll::Ready(done.map_err(Stopped::Client));
        }
        let told = stall.judge(self.context, self.patience).or_else(|| self.told());
        told.map_or(Poll::Pending, |told| Poll::Ready(Err(told)))
    }

    /// Ready when more of the answer was read.
    fn poll_next(&mut self, cx: &mut Cx<'_>, space: &mut Space) -> Poll<Result<(), Stopped>> {
        let received = self.poll_receive(cx, space);
        if received.is_pending() {
            // Who waits for the server may have read of the client.
            self.take_words(cx)?;
        }
        received
    }

    /// Sends what the replica says to the server, as far as that takes it.
    fn take_words(&mut self, cx: &mut Cx<'_>) -> Result<(), Stopped> {
        loop {
            if let Poll::Ready(ending) = self.client.poll_said(cx, self.context) {
                return Err(Stopped::Client(ending));
            }
            let words = self.client.inbox.bytes();
            let is_silent = words.is_empty();
            let mut sent = 0;
            let done = poll_send(cx, self.server, &[], words, &mut sent);
            self.client.inbox.consume(sent);
            match done {
                Poll::Ready(Ok(())) if !is_silent => {}
                Poll::Ready(done) => return done,
                Poll::Pending => return Ok(()),
            }
        }
    }
}
