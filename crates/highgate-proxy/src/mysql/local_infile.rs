//! LOAD DATA LOCAL: the client's file on its way to the server.

use std::{future::poll_fn, task::Poll};

use highgate_core::{
    events::{Event, Kind, Severity},
    server::{ErrorKind, TrafficFailure},
    settle::{self, Lost},
    track::{self, CommandFacts},
};
use highgate_io::tasks;
use highgate_mysql::{
    error_code,
    packet::{HEADER_LEN, MAX_PAYLOAD},
    sql::{self, Effects},
};

use crate::{
    mysql::{
        acquire::Lease,
        client_stream::{Framed, Unread},
        command::RestSpace,
        exchange::{Peers, Space, Stall, Stopped, send_from},
        forward::LAST_WORDS,
        session::Session,
    },
    session::Ending,
    slots::Interrupt,
};

/// The word of `LOAD DATA LOCAL`.
const LOCAL: &[u8] = b"LOCAL";
/// What may run a text of the client's that its command does not show.
const HIDES: Effects =
    Effects::NAMED_PREPARED.union(Effects::CAN_CHANGE_SESSION).union(Effects::DOUBTFUL);

impl Session<'_> {
    /// Tells the client, in the place of the server's demand. The server's connection is closed: it
    /// waits for a file, and is not to be trusted.
    async fn refuse_file(
        &mut self,
        lease: &mut Lease,
        space: &mut RestSpace,
    ) -> super::forward::Tried {
        use super::forward::Tried;
        let seq = space.exchange.drop_demand();
        let patience = self.patience();
        let mut peers = Peers {
            context: self.context,
            client: &mut self.client,
            server: &mut lease.connection,
            patience,
        };
        if let Err(stopped) = peers.pass_on(&mut space.exchange).await {
            return Tried::Ended(Ending::ServerFailed(format!("asked for a file: {stopped}")));
        }
        let lost = settle::server_lost(&mut self.state);
        track::refused(&mut self.state);
        let text = "The database server asked for a file that no statement of this client names, or \
             that its account may not send; that was refused. What became of the statement is not known";
        let answer = error_code::ER_NOT_ALLOWED_COMMAND.answer(text);
        let packet = crate::mysql::answer::error(&answer, seq);
        match (self.client.send(self.context, &packet).await, lost) {
            (Err(ending), _) => Tried::Ended(ending),
            (Ok(()), Lost::State(pins)) => Tried::Ended(Ending::ServerFailed(format!(
                "it asked for a file, and with its connection went {pins}"
            ))),
            // It would go on without it, and take its COMMIT for one.
            (Ok(()), Lost::Transaction) => Tried::Ended(Ending::ServerFailed(
                "it asked for a file, and with its connection went a transaction".to_owned(),
            )),
            (Ok(()), Lost::Nothing) => Tried::Broken,
        }
    }

    /// Says that a demand was blocked, and of whom to beware.
    fn blocked(&self, lease: &Lease, facts: &CommandFacts<'_>, is_named: bool) {
        let server = lease.connection.server();
        let says_local =
            |text: &[u8]| text.windows(LOCAL.len()).any(|word| word.eq_ignore_ascii_case(LOCAL));
        // It may be the client's wish in other words: behind several statements in one text, or prepared before.
        let is_doubtful =
            facts.shape.effects.intersects(HIDES) || facts.text.is_some_and(says_local);
        let text = if is_named {
            "a server asked for a file that a statement names, and its account may not send; blocked"
        } else {
            "a server asked for a file that no statement of its client names; blocked"
        };
        let event = Event::new(Severity::Error, Kind::Refusal, text)
            .backend(&server.backend)
            .server(&server.name)
            .session(self.context.presence.info.id);
        self.context.worker.shared.event_limited(event);
        server.count_error(ErrorKind::Lost);
        if !is_named && !is_doubtful {
            self.context.worker.report(server, TrafficFailure::FileDemand);
        }
    }

    /// The server asks for a file: only the one that this client's own statement names is passed
    /// on, and only for an account that may.
    pub(crate) async fn local_infile(
        &mut self,
        lease: &mut Lease,
        facts: &CommandFacts<'_>,
        space: &mut RestSpace,
    ) -> Result<(), super::forward::Tried> {
        use super::forward::Tried;
        // None where it is too long to be one that can be compared.
        let asked = space.exchange.scanner.local_infile().map(<[u8]>::to_vec);
        let mut scratch = sql::Scratch::new();
        let named = facts.text.and_then(|text| {
            let analysis = sql::analyze(text, facts.mode, &mut scratch);
            analysis.local_file.map(<[u8]>::to_vec)
        });
        let is_named = asked.is_some() && named == asked;
        if !self.user.local_infile || !is_named {
            self.blocked(lease, facts, is_named);
            return Err(self.refuse_file(lease, space).await);
        }
        let patience = self.patience();
        let mut peers = Peers {
            context: self.context,
            client: &mut self.client,
            server: &mut lease.connection,
            patience,
        };
        let seq = space.exchange.scanner.next_seq();
        if let Err(stopped) = peers.pass_on(&mut space.exchange).await {
            return Err(Tried::Ended(Ending::ServerFailed(stopped.to_string())));
        }
        // The file follows the command in the inbox, which is not needed any more.
        self.client.inbox.consume(self.command_wire.saturating_sub(self.consumed_ahead));
        self.consumed_ahead = self.command_wire;
        let seq = self.upload(lease, &mut space.exchange, seq).await.map_err(Tried::Ended)?;
        if lease.connection.kill_in_flight.is_some() {
            self.context.slot.set_deadline(self.context.worker.deadline(LAST_WORDS));
        }
        space.exchange.file_sent(seq);
        Ok(())
    }

    /// Passes the file on, whose first packet is numbered `seq`. Gives the number of the answer's.
    ///
    /// Who reads its file takes no answer: where its server is gone the session ends, which it finds as it
    /// writes on, as it would without a proxy. A statement that is killed goes on to the file's end, which the
    /// server then reads and throws away, and its client is told so there; the session, and its transaction, go on.
    ///
    /// Cancel safe: no; both connections must be closed.
    async fn upload(
        &mut self,
        lease: &mut Lease,
        exchange: &mut Space,
        mut seq: u8,
    ) -> Result<u8, Ending> {
        let mut goes_on = false;
        loop {
            let framed = self.next_of_file(lease, exchange).await?;
            // The server would close on it and seem ill: its connection goes unasked.
            if framed.seq != seq && self.client.compressed.is_none() {
                return Err(self.out_of_order(framed.answer_seq()).await);
            }
            seq = match self.client.compressed {
                Some(_) => self.client.number(framed, seq),
                None => framed.answer_seq(),
            };
            self.pass_packet(lease, framed.wire).await?;
            self.client.inbox.consume(framed.wire);
            let is_last = framed.wire == HEADER_LEN && !goes_on;
            if is_last {
                return Ok(seq);
            }
            goes_on = framed.wire == HEADER_LEN + MAX_PAYLOAD;
            tasks::breathe().await;
        }
    }

    /// Waits for the next packet of the file, for as long as its client may say nothing.
    async fn next_of_file(
        &mut self,
        lease: &mut Lease,
        exchange: &mut Space,
    ) -> Result<Framed, Ending> {
        let (context, patience) = (self.context, self.patience());
        loop {
            let (client, server) = (&mut self.client, &mut lease.connection);
            let mut stall = Stall::default();
            let come = poll_fn(|cx| {
                if let Some(told) = context.slot.interrupted() {
                    return Poll::Ready(Err(Cut::Told(told)));
                }
                if let Poll::Ready(stopped) = exchange.poll_early(cx, server) {
                    return Poll::Ready(Err(Cut::Stopped(stopped)));
                }
                let before = client.inbox.len();
                let come = client.poll_packet(cx, context);
                if client.inbox.len() > before {
                    stall.over(&context.slot);
                }
                if come.is_pending() {
                    let _ = stall.judge(context, patience);
                }
                come.map_err(Cut::Unread)
            })
            .await;
            stall.over(&context.slot);
            match come {
                Ok(framed) => return Ok(framed),
                Err(Cut::Told(told)) => self.told_within(lease, told)?,
                Err(Cut::Stopped(stopped)) => return Err(failed(&stopped, exchange)),
                Err(Cut::Unread(unread)) => return Err(unread.ending(Ending::UploadTimeout)),
            }
        }
    }

    /// Sends the packet at the front of the inbox to the server.
    async fn pass_packet(&mut self, lease: &mut Lease, wire: usize) -> Result<(), Ending> {
        let mut sent = 0;
        loop {
            let packet = self.client.inbox.bytes().get(..wire).unwrap_or_default();
            let (slot, server) = (&self.context.slot, &mut lease.connection);
            match send_from(slot, server, packet, &[], &mut sent).await {
                Ok(()) => return Ok(()),
                Err(Stopped::Told(told)) => self.told_within(lease, told)?,
                Err(stopped) => return Err(Ending::ServerFailed(stopped.to_string())),
            }
        }
    }

    /// The session was told something while the file is on its way.
    fn told_within(&self, lease: &mut Lease, told: Interrupt) -> Result<(), Ending> {
        match told {
            // The statement runs: this is no safe point.
            Interrupt::Drain => self.context.slot.clear(Interrupt::Drain),
            Interrupt::KillQuery => {
                self.context.slot.clear(Interrupt::KillQuery);
                if lease.connection.kill_in_flight.is_none() {
                    lease.connection.kill_in_flight = Some(self.start_kill(lease, "QUERY"));
                }
            }
            Interrupt::Deadline => return Err(Ending::UploadTimeout),
            Interrupt::Kill => return Err(Ending::Killed),
            Interrupt::ServerDown => return Err(Ending::ServerDown),
        }
        Ok(())
    }
}

/// Why no packet of a file came.
enum Cut {
    Stopped(Stopped),
    Told(Interrupt),
    Unread(Unread),
}

/// The server went before it had the file, and may have said why.
fn failed(stopped: &Stopped, exchange: &Space) -> Ending {
    let word = exchange.early_error().map(|word| format!("; it said: {word}"));
    Ending::ServerFailed(format!("{stopped}{}", word.unwrap_or_default()))
}
