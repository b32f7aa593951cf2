//! A command as it goes out: the statement's id of that server in place of the client's, parameter
//! types where the server has not seen them, a rule's text in place of the client's.

use std::ops::Range;

use highgate_core::{
    prepare::{self, ExecuteAs},
    state::SessionState,
    track::CommandFacts,
};
use highgate_mysql::{
    Answer,
    command::{Command, STATEMENT_ID_AT},
    error_code,
    packet::{HEADER_LEN, PacketWriter},
};

use crate::mysql::{acquire::Lease, forward::Sending, session::Session};

impl Session<'_> {
    /// What goes first on the wire, and which part of the inbox behind it. The common case is the
    /// inbox alone: a statement's id is written over the client's where it lies.
    pub(crate) fn outgoing(
        &mut self,
        lease: &mut Lease,
        facts: &CommandFacts<'_>,
        sending: &Sending,
    ) -> Result<(Vec<u8>, Range<usize>), Answer> {
        let wire = sending.framed.wire;
        if let Some(text) = &sending.rules.rewrite {
            let mut packet = Vec::with_capacity(text.len() + HEADER_LEN + 1);
            let payload = [&[0x03], text.as_slice()].concat();
            PacketWriter::new(&mut packet, 0).payload(&payload);
            return Ok((packet, wire..wire));
        }
        let (Some(id), true) = (facts.statement, facts.command.names_statement()) else {
            return Ok((Vec::new(), 0..wire));
        };
        let payload = self.client.inbox.bytes().get(HEADER_LEN..wire).unwrap_or_default();
        let execute = execute_as(&mut self.state, lease, id, payload).ok_or_else(|| {
            error_code::ErrorCode::new(1243, b"HY000")
                .answer(format!("Unknown prepared statement handler ({id}) given to the server"))
        })?;
        if execute.add_types {
            return Ok((self.with_types(id, execute.id, wire), wire..wire));
        }
        let at = HEADER_LEN + STATEMENT_ID_AT;
        if let Some(place) = self.client.inbox.bytes_mut().get_mut(at..at + 4) {
            place.copy_from_slice(&execute.id.to_le_bytes());
        }
        Ok((Vec::new(), 0..wire))
    }

    /// The execution's packet with the types that the client sent earlier.
    fn with_types(&self, id: u32, server_id: u32, wire: usize) -> Vec<u8> {
        let bytes = self.client.inbox.bytes();
        let payload = bytes.get(HEADER_LEN..wire).unwrap_or_default();
        let (params, types) = self
            .state
            .statements
            .get(&id)
            .map_or((0, &[][..]), |statement| (statement.params, &*statement.types));
        let nulls = usize::from(params).div_ceil(8);
        // Command, id, flags, iterations, NULL bitmap; then the flag for new types.
        let flag_at = 10 + nulls;
        let mut changed = payload.get(..flag_at).unwrap_or_default().to_vec();
        if let Some(place) = changed.get_mut(1..5) {
            place.copy_from_slice(&server_id.to_le_bytes());
        }
        changed.push(1);
        changed.extend_from_slice(types);
        changed.extend_from_slice(payload.get(flag_at + 1..).unwrap_or_default());
        let mut packet = Vec::with_capacity(changed.len() + HEADER_LEN);
        PacketWriter::new(&mut packet, 0).payload(&changed);
        packet
    }
}

/// How the statement `id` is executed on the leased connection.
fn execute_as(
    state: &mut SessionState,
    lease: &mut Lease,
    id: u32,
    payload: &[u8],
) -> Option<ExecuteAs> {
    let params = state.statements.get(&id)?.params;
    let sent = types_sent(params, payload).unwrap_or_default();
    prepare::execute_as(state, &mut lease.connection.state, id, sent)
}

/// Parameter types in an execution's packet, where it has them.
fn types_sent(params: u16, payload: &[u8]) -> Option<&[u8]> {
    match Command::parse(payload).ok()? {
        Command::Execute(execute) => execute.params(params).ok()?.types,
        Command::ExecuteBulk(bulk) => bulk.types(params),
        _ => None,
    }
}
