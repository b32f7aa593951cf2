//! Bringing a leased connection to the session's state: carries out the steps of
//! `highgate_core::prepare`, one by one, each checked before the next.

use std::sync::Arc;

use highgate_core::{
    prepare::{self, CAPTURE, CLEAR, Step, WARNINGS},
    settle,
    state::{ConnState, SessionState, Unreported},
    track,
};
use highgate_mysql::{
    Answer, packet::PacketWriter, reply::ErrPacket, scan::CommandKind, sql::Flavor,
};

use crate::{
    mysql::{
        exchange::{Space, Stopped, send_both},
        server_connection::ServerConnection,
    },
    pool::Grant,
    slots::{Interrupt, Slot},
};

const NO_SUCH_SCHEMA: u16 = 1049;

/// Why a connection could not be brought to a session's state.
#[derive(Debug)]
pub(crate) enum Unprepared {
    /// The server is not as far as the read must see.
    Behind,
    /// The connection is of no use any more.
    Stopped(Stopped),
    /// The server refused a step: the answer is the client's own where the step is.
    Refused {
        answer: Answer,
        is_clients: bool,
        /// The schema that does not exist.
        gone: Option<Box<str>>,
    },
}

/// Carries out `steps`.
///
/// Cancel safe: no; the connection must be closed.
pub(crate) async fn run(
    slot: &Slot<Grant>,
    server: &mut ServerConnection,
    steps: &[Step],
    space: &mut Space,
    mut captured: Option<&mut SessionState>,
) -> Result<(), Unprepared> {
    let unused = std::mem::take(&mut server.to_close);
    close_statements(slot, server, &unused).await.map_err(Unprepared::Stopped)?;
    for step in steps {
        let told = WhenKilled::Stops;
        let refused = one((slot, told), server, step, space, captured.as_deref_mut()).await?;
        let Some(answer) = refused else { continue };
        tracing::debug!(server = %server.server().name, ?step, "a step was refused: {answer}");
        // A server that can't wait, or gave up, is not known to be that far.
        if matches!(step, Step::CausalWait { .. }) {
            return Err(Unprepared::Behind);
        }
        prepare::failed(&mut server.state, step);
        let is_clients = matches!(step, Step::InitDb { .. } | Step::Prepare { .. });
        let gone = match step {
            Step::InitDb { schema, .. } if answer.code == NO_SUCH_SCHEMA => Some(schema.clone()),
            _ => None,
        };
        return Err(Unprepared::Refused { answer, is_clients, gone });
    }
    Ok(())
}

/// What becomes of a step whose session is told KILL QUERY.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum WhenKilled {
    /// It was for the command that the step is for.
    Stops,
    /// The session carries out none: as on a server, nothing comes of it.
    GoesOn,
}

/// Asks for what is only on the connection of a session that waits for its next command.
///
/// Cancel safe: no; the connection must be closed, as behind [`Unprepared::Stopped`].
pub(crate) async fn ask_held(
    slot: &Slot<Grant>,
    server: &mut ServerConnection,
    step: &Step,
    space: &mut Space,
    state: &mut SessionState,
) -> Result<(), Unprepared> {
    match one((slot, WhenKilled::GoesOn), server, step, space, Some(state)).await? {
        None => Ok(()),
        Some(answer) => Err(Unprepared::Refused { answer, is_clients: false, gone: None }),
    }
}

/// One step; gives the server's refusal.
async fn one(
    (slot, when_killed): (&Slot<Grant>, WhenKilled),
    server: &mut ServerConnection,
    step: &Step,
    space: &mut Space,
    state: Option<&mut SessionState>,
) -> Result<Option<Answer>, Unprepared> {
    let (kind, payload) = command(step, server.state.flavor);
    let mut packet = Vec::with_capacity(payload.len() + 4);
    PacketWriter::new(&mut packet, 0).payload(&payload);
    space.reset(kind, server.capabilities, 1);
    send_both(slot, server, &packet, &[]).await.map_err(Unprepared::Stopped)?;
    if kind == CommandKind::NoReply {
        prepare::applied(&mut server.state, step);
        return Ok(None);
    }
    let answer = whole_answer((slot, when_killed), server, space).await;
    let answer = answer.map_err(Unprepared::Stopped)?;
    track::heard(&mut server.state, &space.changes, matches!(step, Step::Report));
    if let Step::CausalWait { text, .. } = step {
        prepare::waited(&mut server.state, text);
    }
    if space.scanner.error().is_some() {
        return Ok(Some(refusal(space.scanner.last_packet())));
    }
    match step {
        Step::Report if server.state.unreported == Unreported::Something => {
            let unseen = "it was changed by what no statement shows";
            return Ok(Some(highgate_mysql::error_code::ER_UNKNOWN_ERROR.answer(unseen)));
        }
        Step::CausalWait { expect, .. } if first_field(&answer.bytes) != Some(expect) => {
            return Err(Unprepared::Behind);
        }
        Step::Track => {
            prepare::tracked(&mut server.state, space.scanner.status().unwrap_or_default())
        }
        Step::CaptureLastInsertId => {
            let (Some(number), Some(state)) = (first_field(&answer.bytes).and_then(number), state)
            else {
                return Err(Unprepared::Stopped(Stopped::Broken("no insert id".to_owned())));
            };
            settle::captured(state, &mut server.state, number);
        }
        Step::KeepWarnings if answer.is_whole => {
            state
                .into_iter()
                .for_each(|it| settle::keep_warnings(it, answer.bytes.as_slice().into()));
        }
        Step::Prepare { text, under } => {
            let Some(prepared) = space.scanner.prepared() else {
                return Err(Unprepared::Stopped(Stopped::Broken("no statement id".to_owned())));
            };
            let (text, under) = (Arc::clone(text), Arc::clone(under));
            let old = server.state.prepared(prepared.statement_id, text, under);
            if let Some(old) = old {
                close_statements(slot, server, &[old]).await.map_err(Unprepared::Stopped)?;
            }
        }
        _ => {}
    }
    prepare::applied(&mut server.state, step);
    Ok(None)
}

/// Closes statements that the server keeps and nobody uses any more, by one write; has no answer.
async fn close_statements(
    slot: &Slot<Grant>,
    server: &mut ServerConnection,
    ids: &[u32],
) -> Result<(), Stopped> {
    if ids.is_empty() {
        return Ok(());
    }
    send_both(slot, server, &closing(ids), &[]).await
}

/// A COM_STMT_CLOSE of each, one behind the other.
fn closing(ids: &[u32]) -> Vec<u8> {
    let packet = |id: &u32| {
        let [a, b, c, d] = id.to_le_bytes();
        [5, 0, 0, 0, 0x19, a, b, c, d]
    };
    ids.iter().flat_map(packet).collect()
}

/// The command that a step is.
fn command(step: &Step, flavor: Flavor) -> (CommandKind, Vec<u8>) {
    let query = |text: &[u8]| (CommandKind::Query, [&[0x03], text].concat());
    match step {
        Step::ClearDiagnostics => query(CLEAR.as_bytes()),
        Step::CaptureLastInsertId => query(CAPTURE.as_bytes()),
        Step::CausalWait { text, .. } | Step::Set { text, .. } => query(text),
        Step::CloseStatement(id) => {
            (CommandKind::NoReply, [&[0x19], id.to_le_bytes().as_slice()].concat())
        }
        Step::InitDb { schema, .. } => (CommandKind::Simple, [&[0x02], schema.as_bytes()].concat()),
        Step::KeepWarnings => query(WARNINGS.as_bytes()),
        Step::Report => query(prepare::report(flavor).as_bytes()),
        Step::Prepare { text, .. } => (CommandKind::Prepare, [&[0x16], &**text].concat()),
        Step::ResetConnection => (CommandKind::Simple, vec![0x1f]),
        Step::SetLastInsertId(id) => query(format!("SET LAST_INSERT_ID = {id}").as_bytes()),
        Step::SetTransaction(text) => query(text.as_bytes()),
        Step::Track => query(prepare::track(flavor).as_bytes()),
    }
}

/// An answer to a step.
struct StepAnswer {
    /// All of it, or its beginning.
    bytes: Vec<u8>,
    is_whole: bool,
}

/// Reads a whole answer of ours; its beginning is what counts, and where that is all it is small. What a
/// statement of 65,535 parameters is prepared with takes some MiB.
async fn whole_answer(
    (slot, when_killed): (&Slot<Grant>, WhenKilled),
    server: &mut ServerConnection,
    space: &mut Space,
) -> Result<StepAnswer, Stopped> {
    const KEPT: usize = 1 << 16;
    const LONGEST: usize = 64 << 20;
    let mut answer = Vec::new();
    let mut length = 0_usize;
    loop {
        let is_whole = match space.receive(slot, server).await {
            Err(Stopped::Told(told @ Interrupt::KillQuery))
                if when_killed == WhenKilled::GoesOn =>
            {
                slot.clear(told);
                continue;
            }
            received => received?,
        };
        let scanned = space.take_scanned();
        length = length.saturating_add(scanned.len());
        if answer.len() < KEPT {
            answer.extend(scanned);
        }
        if is_whole {
            let is_whole = answer.len() == length;
            return Ok(StepAnswer { bytes: answer, is_whole });
        }
        if length > LONGEST {
            return Err(Stopped::Broken("an answer to a step is far too long".to_owned()));
        }
    }
}

/// The first field of the first row of a text result.
fn first_field(answer: &[u8]) -> Option<&[u8]> {
    use highgate_mysql::packet::{Reader, split_packet};
    let (_, count, mut rest) = split_packet(answer)?;
    let columns = Reader::new(count).lenenc_int().ok()?;
    for _ in 0..columns {
        (_, _, rest) = split_packet(rest)?;
    }
    let (_, mut packet, behind) = split_packet(rest)?;
    if packet.first() == Some(&0xfe) && packet.len() < 9 {
        (_, packet, _) = split_packet(behind)?;
    }
    Reader::new(packet).lenenc_bytes().ok()
}

/// A number in text. MariaDB sends it in the charset of results, which may have characters of two or four bytes.
fn number(text: &[u8]) -> Option<u64> {
    let digits = text.iter().filter(|byte| **byte != 0).map(|byte| char::from(*byte));
    digits.collect::<String>().parse().ok()
}

fn refusal(packet: &[u8]) -> Answer {
    match ErrPacket::parse(packet) {
        Ok(err) => {
            Answer { code: err.code, sqlstate: err.sqlstate.unwrap_or(*b"HY000"), text: err.text() }
        }
        Err(_) => {
            highgate_mysql::error_code::ER_UNKNOWN_ERROR.answer("the server's error is unreadable")
        }
    }
}

/// Tells that a connection tracks changes of state, right after its login.
pub(crate) fn first_steps(state: &ConnState) -> Vec<Step> {
    match state.flavor {
        Flavor::MariaDb | Flavor::MySql => vec![Step::Track],
        Flavor::MatrixOne | Flavor::StarRocks | Flavor::Unknown => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_read_in_any_charset_of_results() {
        for text in [&b"17"[..], b"\x001\x007", b"1\x007\x00", b"\0\0\x001\0\0\x007"] {
            assert_eq!(number(text), Some(17), "{text:?}");
        }
        for text in [&b""[..], b"1x", b"-1", b"99999999999999999999"] {
            assert_eq!(number(text), None, "{text:?}");
        }
    }

    #[test]
    fn statements_are_closed_by_packets_in_one_piece() {
        assert_eq!(
            closing(&[7, 0x0102_0304]),
            [[5, 0, 0, 0, 0x19, 7, 0, 0, 0], [5, 0, 0, 0, 0x19, 4, 3, 2, 1]].concat()
        );
    }
}
