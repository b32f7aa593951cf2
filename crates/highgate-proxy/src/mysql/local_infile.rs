//! LOAD DATA LOCAL: the client's file on its way to the server.

use highgate_core::{
    events::{Event, Kind, Severity},
    server::{ErrorKind, TrafficFailure},
    settle::{self, Lost},
    track::{self, CommandFacts},
};
use highgate_mysql::{
    error_code,
    packet::HEADER_LEN,
    sql::{self, Effects},
};

use crate::{
    mysql::{
        acquire::Lease,
        client_stream::Unread,
        command::RestSpace,
        exchange::{Peers, send_both},
        session::Session,
    },
    session::Ending,
    slots::Interrupt,
};

/// Longest packet of a file that is taken in one piece.
const MAX_PACKET: u64 = 0xff_ffff;
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
        let asked = space.exchange.scanner.local_infile().unwrap_or_default().to_vec();
        let mut scratch = sql::Scratch::new();
        let named = facts.text.and_then(|text| {
            let analysis = sql::analyze(text, facts.mode, &mut scratch);
            analysis.local_file.map(<[u8]>::to_vec)
        });
        if !self.user.local_infile || named.as_deref() != Some(&*asked) {
            self.blocked(lease, facts, named.as_deref() == Some(&*asked));
            return Err(self.refuse_file(lease, space).await);
        }
        let patience = self.patience();
        let mut peers = Peers {
            context: self.context,
            client: &mut self.client,
            server: &mut lease.connection,
            patience,
        };
        let mut seq = space.exchange.scanner.next_seq();
        if let Err(stopped) = peers.pass_on(&mut space.exchange).await {
            return Err(Tried::Ended(Ending::ServerFailed(stopped.to_string())));
        }
        // The file follows the command in the inbox, which is not needed any more.
        self.client.inbox.consume(self.command_wire.saturating_sub(self.consumed_ahead));
        self.consumed_ahead = self.command_wire;
        loop {
            let framed = match self.client.message(self.context, MAX_PACKET).await {
                Ok(framed) => framed,
                // The statement runs: this is no safe point.
                Err(Unread::Told(Interrupt::Drain)) => {
                    self.context.slot.clear(Interrupt::Drain);
                    continue;
                }
                // The server would close on it and seem ill: its connection goes unasked.
                Err(Unread::OutOfOrder(seq)) => {
                    return Err(Tried::Ended(self.out_of_order(seq).await));
                }
                Err(unread) => return Err(Tried::Ended(unread.ending(Ending::UploadTimeout))),
            };
            if framed.seq != seq && self.client.compressed.is_none() {
                return Err(Tried::Ended(self.out_of_order(framed.answer_seq()).await));
            }
            if self.client.compressed.is_some() {
                seq = self.client.number(framed, seq);
            } else {
                seq = framed.answer_seq();
            }
            let packet = self.client.inbox.bytes().get(..framed.wire).unwrap_or_default();
            let sent = send_both(&self.context.slot, &mut lease.connection, packet, &[]).await;
            if let Err(stopped) = sent {
                return Err(Tried::Ended(Ending::ServerFailed(stopped.to_string())));
            }
            let is_last = framed.wire == HEADER_LEN;
            self.client.inbox.consume(framed.wire);
            if is_last {
                space.exchange.file_sent(seq);
                return Ok(());
            }
        }
    }
}
