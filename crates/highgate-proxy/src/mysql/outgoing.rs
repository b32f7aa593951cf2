//! A command as it goes out: the statement's id of that server in place of the client's, parameter
//! types where the server has not seen them, a text in place of the client's, by a
//! rule or with the session's own values.

use std::ops::Range;

use highgate_core::{
    events::Severity,
    prepare::{self, ExecuteAs, Use},
    state::SessionState,
    track::{CommandFacts, CommandKind},
};
use highgate_mysql::{
    Answer,
    command::{COM_STMT_BULK_EXECUTE, Command, STATEMENT_ID_AT},
    error_code,
    packet::{HEADER_LEN, MAX_PAYLOAD, PacketWriter},
};

use crate::mysql::{acquire::Lease, forward::Sending, session::Session};

/// The first byte of a query.
const COM_QUERY: u8 = 0x03;

impl Session<'_> {
    /// What goes first on the wire, and which part of the inbox behind it. The common case is the
    /// inbox alone: a statement's id is written over the client's where it lies.
    pub(crate) fn outgoing(
        &mut self,
        lease: &mut Lease,
        facts: &CommandFacts<'_>,
        sending: &Sending,
        joined: &[u8],
    ) -> Result<(Vec<u8>, Range<usize>), Answer> {
        let wire = sending.framed.wire;
        // An execution has no text of its own: its statement was rewritten when it was prepared.
        let rewrite = sending.rules.rewrite.as_ref().filter(|_| facts.command.brings_text());
        if let Some(text) = sending.instead.as_ref().or(rewrite) {
            let mut packet = Vec::with_capacity(text.len() + HEADER_LEN + 1);
            // The command's own first byte: a query stays one, and so does a preparation.
            let kind = self.client.inbox.bytes().get(HEADER_LEN).copied().unwrap_or(COM_QUERY);
            let payload = [&[kind], text.as_slice()].concat();
            self.keeps_packets(payload.len(), sending)?;
            PacketWriter::new(&mut packet, 0).payload(&payload);
            return Ok((packet, wire..wire));
        }
        let (Some(id), true) = (facts.statement, facts.command.names_statement()) else {
            return Ok((Vec::new(), 0..wire));
        };
        let inbox = self.client.inbox.bytes();
        let payload = match sending.framed.packets {
            1 => inbox.get(HEADER_LEN..wire).unwrap_or_default(),
            // Past 16 MiB: without the headers in its midst.
            _ => joined,
        };
        let execute = execute_as(&mut self.state, lease, (id, facts), payload)
            .ok_or_else(|| not_there(id, facts.command))?;
        if execute.add_types {
            let statement = self.state.statements.get(&id);
            let (params, types) =
                statement.map_or((0, &[][..]), |statement| (statement.params, &*statement.types));
            let changed = with_types(payload, execute.id, params, types);
            let kept = changed.as_ref().map(|it| self.keeps_packets(it.len(), sending));
            if !matches!(kept, Some(Ok(()))) {
                lease.connection.state.types_unsent(execute.id);
            }
            kept.transpose()?;
            if let Some(changed) = changed {
                let mut packet = Vec::with_capacity(changed.len() + HEADER_LEN);
                PacketWriter::new(&mut packet, 0).payload(&changed);
                return Ok((packet, wire..wire));
            }
        }
        let at = HEADER_LEN + STATEMENT_ID_AT;
        if let Some(place) = self.client.inbox.bytes_mut().get_mut(at..at + 4) {
            place.copy_from_slice(&execute.id.to_le_bytes());
        }
        Ok((Vec::new(), 0..wire))
    }

    /// Refuses a command that would be sent in more or fewer packets than it came in: a server goes on numbering
    /// where those end, and its client would take the answer for one out of order. Only what is changed across a
    /// bound of 16 MiB is so, which is too rare for numbering every answer's packets anew.
    fn keeps_packets(&self, length: usize, sending: &Sending) -> Result<(), Answer> {
        if length / MAX_PAYLOAD + 1 == sending.framed.packets {
            return Ok(());
        }
        let why = "it is longer than 16 MiB, and would be sent in another number of packets than it came in";
        self.note_refused_here(Severity::Warning, why);
        Err(error_code::ER_UNKNOWN_ERROR.answer(
            "Highgate would send this command in another number of packets of 16 MiB than it came in, and could \
             not pass its answer on; nothing was executed",
        ))
    }
}

/// What a server says to a command on a statement that has nothing there.
fn not_there(id: u32, command: CommandKind) -> Answer {
    let (code, text) = match command {
        CommandKind::StmtFetch => (1421, format!("The statement ({id}) has no open cursor")),
        _ => (1243, format!("Unknown prepared statement handler ({id}) given to the server")),
    };
    error_code::ErrorCode::new(code, b"HY000").answer(text)
}

/// An execution's payload with the types that the client sent earlier. `None` where it is too short to have a
/// place for them: the server says what it misses, and would take another command for the end.
fn with_types(payload: &[u8], server_id: u32, params: u16, types: &[u8]) -> Option<Vec<u8>> {
    /// In the flags of a bulk execution: types follow.
    const SEND_TYPES: u8 = 0x80;
    let is_bulk = payload.first() == Some(&COM_STMT_BULK_EXECUTE);
    // Command and id; then flags, iterations, NULL bitmap, and the flag for new types. A bulk
    // execution has two bytes of flags and its types at once.
    let nulls = usize::from(params).div_ceil(8);
    let (keep, skip) = if is_bulk { (7, 0) } else { (10 + nulls, 1) };
    let mut changed = payload.get(..keep)?.to_vec();
    if let Some(place) = changed.get_mut(STATEMENT_ID_AT..STATEMENT_ID_AT + 4) {
        place.copy_from_slice(&server_id.to_le_bytes());
    }
    match changed.get_mut(5) {
        Some(flags) if is_bulk => *flags |= SEND_TYPES,
        _ => changed.push(1),
    }
    changed.extend_from_slice(types);
    changed.extend_from_slice(payload.get(keep + skip..).unwrap_or_default());
    Some(changed)
}

/// How a command on the statement `id` is sent on the leased connection.
fn execute_as(
    state: &mut SessionState,
    lease: &mut Lease,
    (id, facts): (u32, &CommandFacts<'_>),
    payload: &[u8],
) -> Option<ExecuteAs> {
    let params = state.statements.get(&id)?.params;
    let what = match facts.command {
        CommandKind::StmtBulkExecute | CommandKind::StmtExecute => Use::Execute {
            types: types_sent(params, payload).unwrap_or_default(),
            cursor: facts.opens_cursor,
        },
        CommandKind::StmtSendLongData => Use::LongData,
        _ => Use::Other,
    };
    prepare::execute_as(state, &mut lease.connection.state, id, what)
}

/// Parameter types in an execution's packet, where it has them.
fn types_sent(params: u16, payload: &[u8]) -> Option<&[u8]> {
    match Command::parse(payload).ok()? {
        Command::Execute(execute) => execute.params(params).ok()?.types,
        Command::ExecuteBulk(bulk) => bulk.types(params),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_put_where_an_execution_has_them() {
        // COM_STMT_EXECUTE of 7, no flags, one iteration, one NULL bitmap byte, no new types.
        let sent = [0x17, 7, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 42, 0];
        let changed = with_types(&sent, 9, 1, &[2, 0]).unwrap();
        assert_eq!(changed, [0x17, 9, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 2, 0, 42, 0]);
    }

    /// What was left was COM_QUIT: the server closed, and was held to have failed.
    #[test]
    fn an_execution_that_is_too_short_for_types_is_sent_as_it_is() {
        for len in 0..11 {
            let sent = [0x17, 7, 0, 0, 0, 0, 1, 0, 0, 0, 0];
            assert_eq!(with_types(&sent[..len], 9, 1, &[2, 0]), None, "{len}");
        }
        assert_eq!(with_types(&[0xfa, 7, 0, 0, 0, 0], 9, 1, &[2, 0]), None);
    }

    #[test]
    fn types_are_put_where_a_bulk_execution_has_them() {
        let sent = [0xfa, 7, 0, 0, 0, 0, 0, 0, 42, 0];
        let changed = with_types(&sent, 9, 1, &[2, 0]).unwrap();
        assert_eq!(changed, [0xfa, 9, 0, 0, 0, 0x80, 0, 2, 0, 0, 42, 0]);
    }
}
