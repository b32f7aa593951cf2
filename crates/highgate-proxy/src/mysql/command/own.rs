//! What Highgate answers by itself: questions about the session, refusals, KILL.

use std::sync::atomic::Ordering;

use highgate_core::{
    answer::OwnAnswer,
    events::{Event, Kind, Severity},
    pins::{PinCause, PinSet},
    prepare,
    track::{self, CommandFacts, CommandKind},
};
use highgate_mysql::{Answer, ErrorCode, error_code, scan, sql::KillScope};

use crate::{
    mysql::{
        answer,
        client_stream::Framed,
        forward::{self, Begun, Destination, Sending, connection_killed},
        kill,
        session::Session,
    },
    session::{Ending, KilledBy},
    slots::Interrupt,
    worker::Mail,
};

use super::{Parsed, RestSpace, payload, statement_size};

impl Session<'_> {
    pub(super) async fn answer_own(
        &mut self,
        own: OwnAnswer,
        facts: &CommandFacts<'_>,
        framed: Framed,
    ) -> Result<(), Ending> {
        let (seq, caps) = (framed.answer_seq(), self.capabilities);
        track::answered(&mut self.state, &own);
        let packet = match own {
            OwnAnswer::Silence => {
                self.forget_unfinished(facts);
                track::unanswered(&mut self.state, facts);
                self.leave_closed();
                return Ok(());
            }
            OwnAnswer::Ok => {
                if facts.command == CommandKind::ResetConnection {
                    track::reset(&mut self.state, self.lex.flavor);
                    self.count_memory();
                }
                answer::ok(caps, self.status(), "", seq)
            }
            OwnAnswer::Eof => {
                if let CommandKind::SetOption { multi_statements } = facts.command {
                    self.set_multi_statements(multi_statements);
                }
                answer::eof(caps, self.status(), seq)
            }
            OwnAnswer::Number { column, value, unsigned } => {
                let is_binary = facts.command == CommandKind::StmtExecute;
                let number = answer::Number { column: &column, value, unsigned, is_binary };
                answer::number(caps, self.status(), number, seq)
            }
            OwnAnswer::Sessions { full, asked } => match self.process_list(asked, full, seq) {
                Ok(packet) => packet,
                Err(refusal) => answer::error(&refusal, seq),
            },
            OwnAnswer::Statistics => answer::text(&self.statistics(), seq),
        };
        self.client.send(self.context, &packet).await
    }

    /// A statement is closed that has parameters sent ahead or an open cursor: its server's statement
    /// must not be used for anybody else.
    pub(super) fn forget_unfinished(&mut self, facts: &CommandFacts<'_>) {
        let Some(id) = facts.statement else { return };
        let statement = self.state.statements.get(&id);
        if let Some(statement) = statement
            && facts.command == CommandKind::StmtClose
        {
            self.held.release(statement_size(statement.text.len()));
        }
        let (Some(statement), Some(lease)) = (statement, &mut self.lease) else { return };
        if statement.long_data || statement.cursor {
            let gone = prepare::forget(&self.state, &mut lease.connection.state, id);
            lease.connection.to_close.extend(gone);
        }
    }

    /// A statement was closed, perhaps the last thing that kept the connection (its cursor, its parameters):
    /// nobody knows when the next command comes, and others wait.
    fn leave_closed(&mut self) {
        forward::let_go(self.context, &self.state, false, &mut self.lease, &mut self.holds);
    }

    /// The option is part of what connections have in common: others are used from now on.
    pub(in crate::mysql) fn set_multi_statements(&mut self, on: bool) {
        use highgate_mysql::Capabilities;
        track::set_option(&mut self.state, on);
        self.capabilities.set(Capabilities::MULTI_STATEMENTS, on);
        self.who.capabilities.set(Capabilities::MULTI_STATEMENTS, on);
        if on {
            self.who.capabilities.insert(Capabilities::MULTI_RESULTS);
        }
        self.keys.clear();
    }

    pub(super) fn statistics(&self) -> String {
        let shared = &self.context.worker.shared;
        let uptime = highgate_io::clock::now().saturating_duration_since(shared.started).as_secs();
        let threads = shared.connections.load(Ordering::Relaxed);
        let snapshot = self.context.worker.snapshot();
        let members = snapshot.placement.groups.values().flat_map(|group| &group.members);
        let questions: u64 =
            members.map(|member| member.state.hot.commands.load(Ordering::Relaxed)).sum();
        format!("Uptime: {uptime}  Threads: {threads}  Questions: {questions}  Slow queries: 0")
    }

    /// Answers with an error of our own.
    pub(crate) async fn answer_error(
        &mut self,
        refusal: &Answer,
        framed: Framed,
    ) -> Result<(), Ending> {
        if !self.answers {
            // Parameters sent ahead are lost, and there is no place to say so.
            return Err(Ending::NoServer(refusal.text.clone()));
        }
        track::refused(&mut self.state);
        self.count_refused();
        let packet = answer::error(refusal, framed.answer_seq());
        self.client.send(self.context, &packet).await
    }

    pub(super) async fn answer_result(
        &mut self,
        result: Result<(), Answer>,
        framed: Framed,
    ) -> Result<(), Ending> {
        match result {
            Ok(()) => {
                let packet = answer::ok(self.capabilities, self.status(), "", framed.answer_seq());
                self.client.send(self.context, &packet).await
            }
            Err(answer) => {
                self.note_refused_here(Severity::Info, &answer.text);
                self.answer_error(&answer, framed).await
            }
        }
    }

    /// Forwards a command that nobody waits for an answer to. A transaction that goes meanwhile with its
    /// connection is told by the next command that has one.
    ///
    /// Cancel safe: no; the connections must be closed.
    pub(super) async fn forward_unanswered(
        &mut self,
        to: Destination,
        facts: &CommandFacts<'_>,
        sending: Sending,
        begun: &mut Begun,
        space: &mut RestSpace,
    ) -> Result<(), Ending> {
        let (pins, had) = (self.state.pins, self.has_what_is_told());
        self.answers = false;
        let done = self.forward(to, facts, sending, begun, space).await;
        self.answers = true;
        if had && !self.has_what_is_told() {
            self.lost.get_or_insert(pins);
        }
        done
    }

    /// Whether it would be told by an error that its connection is lost, and with it what is open there.
    fn has_what_is_told(&self) -> bool {
        self.state.in_transaction() || self.state.pins.contains(PinCause::OpenCursor)
    }

    /// What this command would go on with, where that was lost and nobody said so yet.
    pub(super) fn lost_before(
        &mut self,
        parsed: &Parsed,
        framed: Framed,
        space: &RestSpace,
    ) -> Option<PinSet> {
        let lost = self.lost?;
        let ends = match parsed.kind {
            // They are no part of any.
            CommandKind::Quit | CommandKind::StmtClose => return None,
            CommandKind::ChangeUser | CommandKind::ResetConnection => true,
            CommandKind::Query => {
                let payload = payload(&self.client.inbox, framed, &space.joined);
                let text = parsed.text.clone().and_then(|range| payload.get(range));
                text.is_some_and(is_rollback)
            }
            _ => false,
        };
        self.lost = None;
        // What ends a transaction has what it asks for; of the rest nobody said that it is to end.
        (!ends || lost.is_lost_silently()).then_some(lost)
    }

    /// The insert id that it asks for went with a connection, and with that the session would have ended without a
    /// proxy: it ends where that is of consequence.
    pub(super) async fn tell_id_lost(&mut self, framed: Framed) -> Result<(), Ending> {
        self.answer_error(&connection_killed(), framed).await?;
        let why = format!("it asked for {}, which was lost before", PinCause::LastInsertIdUnknown);
        Err(Ending::ServerFailed(why))
    }

    /// The transaction went with its connection: said once, as a deadlock would be. Where more went than
    /// that the session ends, as it would without a proxy.
    pub(super) async fn tell_lost(
        &mut self,
        lost: PinSet,
        framed: Framed,
        parsed: &Parsed,
    ) -> Result<(), Ending> {
        let is_unanswered = parsed.scan == scan::CommandKind::NoReply;
        let statement = parsed.statement;
        let facts = CommandFacts { statement, ..CommandFacts::bare(parsed.kind) };
        // Parameters sent ahead go nowhere; their execution is told so, or refused here.
        track::spoiled(&mut self.state, &facts, is_unanswered);
        if is_unanswered {
            self.lost = Some(lost);
            return Ok(());
        }
        if lost.is_lost_silently() {
            self.answer_error(&connection_killed(), framed).await?;
            let why = format!("its connection was lost before, and with it {lost}");
            return Err(Ending::ServerFailed(why));
        }
        self.note_transaction_lost(None);
        let answer = ErrorCode::new(1213, b"40001").answer(
            "The transaction was rolled back: its server connection was lost; try restarting transaction",
        );
        self.answer_error(&answer, framed).await
    }

    pub(super) fn is_itself(&self, id: u64) -> bool {
        id == u64::from(self.context.presence.info.id)
    }

    /// KILL of the session's own id: the answer is the error of what was killed.
    pub(super) async fn kill_itself(
        &mut self,
        scope: KillScope,
        framed: Framed,
    ) -> Result<(), Ending> {
        if scope == KillScope::Query {
            let text = "Query execution was interrupted";
            return self.answer_error(&error_code::ER_QUERY_INTERRUPTED.answer(text), framed).await;
        }
        self.context.presence.info.set_killed_by(KilledBy::OwnAccount);
        self.answer_error(&was_killed(), framed).await?;
        Err(Ending::Killed)
    }

    /// KILL of a session id: of the same account only.
    ///
    /// Cancel safe: yes; what was told is told.
    pub(super) async fn kill(&self, scope: KillScope, id: u64) -> Result<(), Answer> {
        let shared = &self.context.worker.shared;
        let unknown = || error_code::ER_NO_SUCH_THREAD.answer(format!("Unknown thread id: {id}"));
        let number = u32::try_from(id).map_err(|_| unknown())?;
        let other = shared.session(number).ok_or_else(unknown)?;
        if other.identity().user != *self.state.user {
            let text = format!("You are not owner of thread {number}");
            return Err(error_code::ER_KILL_DENIED_ERROR.answer(text));
        }
        let what = match scope {
            KillScope::Query => Interrupt::KillQuery,
            _ => Interrupt::Kill,
        };
        let whom = match what {
            Interrupt::KillQuery => format!("the command of session {number}"),
            _ => format!("session {number}"),
        };
        let text = format!("{whom} was told to end by its own account");
        shared.event(Event::new(Severity::Info, Kind::Kill, text).session(number));
        if what == Interrupt::Kill {
            other.set_killed_by(KilledBy::OwnAccount);
        }
        let _ = self.context.worker.post(other.worker, Mail::Interrupt(other.slot, what));
        if what == Interrupt::Kill {
            kill::wait_until_gone(shared, &other).await;
        }
        Ok(())
    }
}

/// Whether that text is ROLLBACK and nothing else, behind whatever pools and tracers write before it.
fn is_rollback(text: &[u8]) -> bool {
    let mut text = text.trim_ascii();
    while let Some(comment) = text.strip_prefix(b"/*") {
        let Some(end) = comment.windows(2).position(|pair| pair == b"*/") else { return false };
        if comment.starts_with(b"!") || comment.starts_with(b"M!") {
            return false;
        }
        text = comment.get(end + 2..).unwrap_or_default().trim_ascii_start();
    }
    let text = text.strip_suffix(b";").unwrap_or(text).trim_ascii_end();
    [&b"ROLLBACK"[..], b"ROLLBACK WORK"].iter().any(|it| text.eq_ignore_ascii_case(it))
}

/// What a client is told when its session ends because this node stops.
pub(crate) fn shutdown() -> Answer {
    error_code::ER_SERVER_SHUTDOWN.answer("Server shutdown in progress")
}

/// The same, about a command that may have been carried out. See [`highgate_core::answer::outcome_unknown`].
pub(crate) fn stopped_unknown() -> Answer {
    ErrorCode::new(error_code::ER_SERVER_SHUTDOWN.code, b"08007").answer(
        "Server shutdown in progress during the statement; whether it was carried out is not known",
    )
}

/// What the client of a killed session is told about its running command.
pub(crate) fn was_killed() -> Answer {
    error_code::ER_CONNECTION_KILLED.answer("Connection was killed")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_rollback_of_all_ends_a_lost_transaction_without_a_word() {
        let rollbacks =
            ["ROLLBACK", " rollback ;\n", "Rollback work", "/* pool */ /* 7 */ROLLBACK;"];
        assert!(rollbacks.iter().all(|it| is_rollback(it.as_bytes())));
        let others = [
            "ROLLBACK TO a",
            "ROLLBACK; INSERT INTO t VALUES (1)",
            "COMMIT",
            "/*! ROLLBACK */",
            "/*!50000 COMMIT */ ROLLBACK",
            "/* ROLLBACK",
            "",
        ];
        assert!(!others.iter().any(|it| is_rollback(it.as_bytes())));
    }
}
