//! One command: read, judged, routed, and answered by Highgate or forwarded.

mod own;
mod space;

use std::{
    future::poll_fn,
    pin::Pin,
    rc::Rc,
    sync::atomic::Ordering,
    task::{Context as Cx, Poll},
};

use highgate_core::{
    answer::OwnAnswer,
    events::Severity,
    pins::PinSet,
    route::{self, Actions, Role, Route, RouteHint, To, View},
    rules::RuleOutcome,
    settle::{self, Kept},
    snapshot::Snapshot,
    state::{SessionState, Shape},
    track::{self, CommandFacts, CommandKind},
};
use highgate_io::tasks;
use highgate_mysql::{
    Answer,
    command::{Command, query_text},
    error_code,
    packet::HEADER_LEN,
    scan,
    sql::{self, Effects, KillScope, LexMode, Scratch, StatementKind},
};

use crate::{
    mysql::{
        acquire::Wish,
        answer,
        client_stream::Framed,
        forward::{self, Begun, Running, Sending},
        hint::{hinted_server, route_hint},
        prepared_text::{PreparedText, prepared_text},
        session::Session,
    },
    rule_cache::{Circumstances, Number, Text},
    session::Ending,
};

pub(crate) use self::{
    own::{shutdown, stopped_unknown, was_killed},
    space::{CommandSpace, Known, RestSpace},
};

/// What is read off a payload before anything borrows it for long.
#[derive(Debug)]
pub(crate) struct Parsed {
    kind: CommandKind,
    scan: scan::CommandKind,
    /// Where the text lies in the payload.
    text: Option<std::ops::Range<usize>>,
    statement: Option<u32>,
    opens_cursor: bool,
    schema: bool,
}

/// A command with what is to be done about it.
#[derive(Debug)]
pub(crate) struct Judged {
    pub(crate) decided: Decided,
    pub(crate) known: Known,
    pub(crate) sending: Sending,
}

/// What is left to do for a command that did not go the quick way to its end.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "boxed as a whole; the common one is the largest")]
pub(crate) enum Rest {
    /// It is as judged, and this much of it is done.
    Judged(Judged, Begun),
    /// The transaction that it was to go on with is lost.
    Lost(PinSet, Parsed),
    /// It is refused.
    Refused(Answer),
}

impl Session<'_> {
    /// Carries out the command at the front of the inbox.
    ///
    /// Cancel safe: no; the connections must be closed.
    pub(crate) async fn command(&mut self, framed: Framed) -> Result<(), Ending> {
        let context = self.context;
        (self.command_wire, self.consumed_ahead) = (framed.wire, 0);
        let (mut space, mut running) = (None, None);
        let way = poll_fn(|cx| self.poll_command(cx, framed, &mut space, &mut running)).await;
        if let Some(rest) = way {
            let space = space.get_or_insert_with(|| context.worker.take_space());
            // Rare, and large: its memory is not kept by each session.
            apart(self.rest(rest, framed, space)).await?;
        }
        if let Some(space) = space {
            context.worker.give_space(space);
        }
        self.client.inbox.consume(framed.wire.saturating_sub(self.consumed_ahead));
        self.must_end.take().map_or(Ok(()), Err)
    }

    /// Ready when the command is carried out, or with what is left to do.
    fn poll_command(
        &mut self,
        cx: &mut Cx<'_>,
        framed: Framed,
        space: &mut Option<Box<CommandSpace>>,
        running: &mut Option<Running>,
    ) -> Poll<Option<Box<Rest>>> {
        if running.is_none() {
            let mut taken = self.context.worker.take_space();
            let begun = match self.begin(cx, framed, &mut taken) {
                Ok(begun) => running.insert(begun),
                Err(rest) => {
                    *space = Some(taken);
                    return Poll::Ready(Some(rest));
                }
            };
            if taken.is_empty() {
                // Nothing of it is needed while the server works: the next command finds it still
                // in the first cache, however many others wait.
                self.context.worker.give_space(taken);
            } else {
                self.expect_answer(&begun.lease, &begun.sending, &mut taken.rest);
                *space = Some(taken);
            }
        }
        self.poll_running(cx, running, space)
    }

    #[inline(never)]
    fn begin(
        &mut self,
        cx: &mut Cx<'_>,
        framed: Framed,
        space: &mut CommandSpace,
    ) -> Result<Running, Box<Rest>> {
        let commands = &self.context.presence.info.commands;
        commands.store(commands.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
        self.forget_last_prepared(self.client.inbox.bytes().get(HEADER_LEN).copied());
        self.follow_facts();
        let snapshot = self.context.worker.snapshot();
        let max = self.settings.max_allowed_packet;
        self.follow_settings(&snapshot);
        // It was read under the bound of before.
        if self.settings.max_allowed_packet < max
            && self.settings.max_allowed_packet < framed.payload()
        {
            return Err(Box::new(Rest::Refused(self.too_long())));
        }
        let parsed = match self.parse(framed, &mut space.rest) {
            Ok(parsed) => parsed,
            Err(refusal) => return Err(Box::new(Rest::Refused(refusal))),
        };
        if let Some(lost) = self.lost_before(&parsed, framed, &space.rest) {
            return Err(Box::new(Rest::Lost(lost, parsed)));
        }
        if forward::look_for_schema(
            self.context,
            &mut self.state,
            &mut self.gone_schema,
            self.lease.as_ref(),
        ) {
            self.rules_number = None;
        }
        let judged = self.judge(parsed, framed, &snapshot, space);
        self.start(cx, judged, &snapshot, space)
    }

    /// What the command is, and what is to be done about it.
    fn judge(
        &mut self,
        parsed: Parsed,
        framed: Framed,
        snapshot: &Snapshot,
        space: &mut CommandSpace,
    ) -> Judged {
        let CommandSpace { scratch, texts, rest } = space;
        let mode = self.lex_mode();
        let context = self.context;
        let payload = payload(&self.client.inbox, framed, &rest.joined);
        let prepared = prepared_text(context, &mut self.state, parsed.statement, mode, scratch);
        let written = match (&parsed.text, &prepared) {
            (Some(range), _) => payload.get(range.clone()),
            (None, Some(prepared)) => Some(&*prepared.text),
            (None, None) => None,
        };
        let mut memo = context.worker.memo.borrow_mut();
        let analysis = match (&parsed.text, written) {
            (Some(_), Some(text)) if !parsed.schema => Some(memo.analyze(text, mode, scratch)),
            _ => None,
        };
        let mut facts = read_facts(&parsed, prepared.as_ref(), analysis.as_ref(), written, mode);
        let reading = prepared.as_ref().map(|prepared| &prepared.reading);
        let text_is = Text {
            digest: facts.shape.digest,
            digest_text: (analysis.as_ref().map(|analysis| analysis.digest_text))
                .or(reading.map(|reading| &*reading.digest_text))
                .unwrap_or_default(),
            text: written.unwrap_or_default(),
        };
        self.note_form(parsed.kind, text_is);
        let (rules, number) = self.rules(snapshot, text_is);
        let mut anew = None;
        let (text, analysis) = match rules.rewrite.as_deref() {
            // What is sent decides from here on, whatever the client wrote.
            Some(text) if parsed.kind.brings_text() => {
                (Some(text), Some(read_anew(&mut facts, text, anew.insert(Scratch::new()))))
            }
            _ => (written, analysis),
        };
        let hint = match (&analysis, reading) {
            (Some(analysis), _) => analysis.hint.as_ref(),
            (None, reading) => reading.and_then(|reading| reading.hint.as_ref()),
        };
        let hint_server = hinted_server(hint, text);
        let hint = hint.map(|hint| route_hint(hint, hint_server.as_deref()));
        let instead = self.with_own_values(&mut facts);
        let outgrown = before(&mut self.state, &facts, self.lease.as_ref().and(self.taken_for));
        forward::let_go(self.context, &self.state, outgrown, &mut self.lease, &mut self.holds);
        let looks = forward::look_for_schema(
            self.context,
            &mut self.state,
            &mut self.gone_schema,
            self.lease.as_ref(),
        );
        // From here on the inbox may move: what is needed of the text later is kept aside.
        let brought = text.filter(|_| parsed.text.is_some());
        let lies = texts.keep(&facts, brought, instead.as_deref());
        self.keep_values(&facts, payload, &mut texts.values);
        let decided = self.decide(&facts, &rules, hint, snapshot);
        if matches!(decided, Decided::Refuse(_)) {
            track::denied(&mut self.state, &facts);
        }
        let known = Known::of(&facts, lies);
        let is_kept = known.needs_prepared();
        texts.prepared = prepared.filter(|_| is_kept).map(|prepared| prepared.text);
        self.rules_number = number.filter(|_| !looks);
        Judged { decided, known, sending: Sending { framed, scan: parsed.scan, rules, instead } }
    }

    /// The command once more, by what is in force now. Nothing of it was sent that may not be sent again. It is
    /// on that `statement`: where it was sent, its server's number of that lies in the inbox.
    fn judge_anew(
        &mut self,
        framed: Framed,
        statement: Option<u32>,
        space: &mut CommandSpace,
    ) -> Result<Judged, Answer> {
        self.follow_facts();
        let snapshot = self.context.worker.snapshot();
        self.follow_settings(&snapshot);
        let parsed = Parsed { statement, ..self.parse(framed, &mut space.rest)? };
        Ok(self.judge(parsed, framed, &snapshot, space))
    }

    /// The general way.
    async fn rest(
        &mut self,
        rest: Box<Rest>,
        framed: Framed,
        space: &mut CommandSpace,
    ) -> Result<(), Ending> {
        // Who is answered by Highgate alone waits for nobody.
        tasks::breathe().await;
        match *rest {
            Rest::Judged(mut judged, mut begun) => loop {
                let facts = space.texts.facts(&judged.known);
                let (decided, sending) = (judged.decided, judged.sending);
                self.carry_out(decided, &facts, sending, &mut begun, &mut space.rest).await?;
                if !begun.lost_its_way() {
                    return Ok(());
                }
                let statement = facts.statement;
                judged = match self.judge_anew(framed, statement, space) {
                    Ok(judged) => judged,
                    Err(refusal) => return self.refuse(&refusal, framed).await,
                };
            },
            Rest::Lost(lost, parsed) => self.tell_lost(lost, framed, &parsed).await,
            Rest::Refused(refusal) => self.refuse(&refusal, framed).await,
        }
    }

    /// The text with what the session knows of itself in the place of the functions that ask a
    /// connection for it.
    fn with_own_values(&self, facts: &mut CommandFacts<'_>) -> Option<Vec<u8>> {
        let asks = Effects::CONNECTION_ID | Effects::READS_FOUND_ROWS | Effects::READS_ROW_COUNT;
        let prepares = facts.command == CommandKind::StmtPrepare;
        if !facts.shape.effects.intersects(asks)
            || !facts.command.brings_text()
            || prepares && route::is_question(facts.text?)
        {
            return None;
        }
        // What they will be when it is executed, or behind another statement, nobody knows yet.
        let counts = !prepares && !facts.shape.effects.contains(Effects::MULTI);
        let known = sql::Known {
            connection_id: Some(self.context.presence.info.id),
            found_rows: self.state.found_rows.filter(|_| counts),
            row_count: self.state.row_count.filter(|_| counts),
            prepares,
        };
        let instead = sql::substitute(facts.text?, facts.mode, known)?;
        let effects = &mut facts.shape.effects;
        effects.set(
            Effects::READS_FOUND_ROWS,
            effects.contains(Effects::READS_FOUND_ROWS) && known.found_rows.is_none(),
        );
        effects.set(
            Effects::READS_ROW_COUNT,
            effects.contains(Effects::READS_ROW_COUNT) && known.row_count.is_none(),
        );
        if prepares {
            // Its executions are known by what is prepared.
            facts.shape.digest = sql::analyze(&instead, facts.mode, &mut Scratch::new()).digest;
        }
        Some(instead)
    }

    /// Keeps the values of a prepared INSERT: they tell whether it wrote an id itself.
    fn keep_values(&self, facts: &CommandFacts<'_>, payload: &[u8], values: &mut Vec<u8>) {
        values.clear();
        let inserts = matches!(facts.shape.kind, StatementKind::Insert | StatementKind::Replace);
        if facts.command != CommandKind::StmtExecute || !inserts {
            return;
        }
        let statement = facts.statement.and_then(|id| self.state.statements.get(&id));
        let Some(statement) = statement.filter(|statement| !statement.long_data) else { return };
        let Ok(Command::Execute(execute)) = Command::parse(payload) else { return };
        let Ok(params) = execute.params(statement.params) else { return };
        values.extend_from_slice(params.null_bitmap);
        values.push(1);
        values.extend_from_slice(params.types.unwrap_or(&statement.types));
        values.extend_from_slice(params.values);
    }

    fn parse(&mut self, framed: Framed, space: &mut RestSpace) -> Result<Parsed, Answer> {
        if framed.packets > 1 {
            if self.context.worker.shared.is_short_of(framed.wire) {
                return Err(self.no_memory());
            }
            space.joined_held.set(framed.wire);
            join(self.client.inbox.bytes(), framed, &mut space.joined);
        }
        let payload = payload(&self.client.inbox, framed, &space.joined);
        let malformed = |_| {
            self.note_refused_here(Severity::Warning, "its packet is malformed");
            error_code::ER_UNKNOWN_COM_ERROR.answer("Malformed command packet")
        };
        let command = Command::parse(payload).map_err(malformed)?;
        let whole = payload.len();
        if matches!(command, Command::Prepare(_))
            && self.context.worker.shared.is_short_of(statement_size(whole))
        {
            // Its text is kept for as long as the statement.
            return Err(self.no_memory());
        }
        let text = match command {
            Command::Query(body) => {
                let query = query_text(body, self.capabilities).map_err(malformed)?;
                Some(whole - query.text.len()..whole)
            }
            Command::Prepare(_) | Command::InitDb(_) => Some(1..whole),
            _ => None,
        };
        Ok(Parsed {
            kind: kind_of(&command),
            scan: command.kind(),
            text,
            statement: command.statement_id().map(|id| self.state.named_statement(id)),
            opens_cursor: matches!(&command, Command::Execute(execute) if execute.wants_cursor()),
            schema: matches!(command, Command::InitDb(_)),
        })
    }

    /// Its form will be counted with the answer: here is what that looks like.
    fn note_form(&self, kind: CommandKind, text: Text<'_>) {
        let is_counted = matches!(kind, CommandKind::Query | CommandKind::StmtExecute);
        if is_counted {
            self.context.worker.digests.borrow_mut().seen(text.digest, text.digest_text);
        }
        self.context.presence.info.set_form(if is_counted { text.digest } else { 0 });
    }

    /// What the rules say, with the number of the session's circumstances.
    fn rules(&self, snapshot: &Snapshot, text: Text<'_>) -> (Rc<RuleOutcome>, Option<Number>) {
        let mut cache = self.context.worker.rules(snapshot);
        if cache.is_empty() {
            return (cache.nothing(), None);
        }
        let circumstances = || Circumstances {
            user: self.state.user.clone(),
            schema: self.state.schema().unwrap_or_default().into(),
            client: self.who.from.map(|from| from.ip().to_canonical()),
            listener: self.listener_now.clone(),
        };
        let number = cache.number(self.rules_number, circumstances);
        let outcome = cache.evaluate(number, text, circumstances);
        (outcome, Some(number))
    }

    /// Whether its reads go to the primary for now, since a replica did not come far enough for the last.
    fn asks_primary(&self, role: Role) -> bool {
        role == Role::Replica && self.context.worker.now_ms() < self.asks_primary_until
    }

    /// The production decision, in a form that outlives what it was made from.
    fn decide(
        &self,
        facts: &CommandFacts<'_>,
        rules: &RuleOutcome,
        hint: Option<RouteHint<'_>>,
        snapshot: &Snapshot,
    ) -> Decided {
        if settle::asks_for_lost_id(&self.state, facts) {
            return Decided::Lost;
        }
        match settle::asks_for_kept_warnings(&self.state, facts) {
            Some(Kept::All) => return Decided::Warnings,
            Some(Kept::Nothing) => return Decided::Refuse(forward::kept::only_shown()),
            None => {}
        }
        let view = View {
            listener: &self.settings,
            user: Some(&self.user),
            placement: &snapshot.placement,
            rules,
            hint,
            holds: self.holds.as_ref(),
            session_id: self.context.presence.info.id,
            draining: self.context.worker.shared.draining.load(Ordering::Relaxed),
        };
        let Route { to, reason, actions } = route::route(&self.state, facts, &view);
        tracing::trace!(session = view.session_id, %reason, ?to, pins = %self.state.pins, "routed");
        let Actions { causal, timeout, multiplex } = actions;
        match to {
            To::Server(target) => Decided::Server(forward::Destination {
                backend: target.backend.clone(),
                by_rule: rules.backend.is_some(),
                role: if causal && self.asks_primary(target.role) {
                    Role::Primary
                } else {
                    target.role
                },
                server: target.server.map(Into::into),
                causal,
                timeout,
                multiplex,
            }),
            To::Answer(answer) => Decided::Answer(answer),
            To::End => Decided::End,
            To::Kill { scope, id } => Decided::Kill(scope, id),
            To::Login => Decided::Login,
            To::Refuse(refused) => {
                self.note_not_routed(&refused);
                Decided::Refuse(refused.answer())
            }
            To::Say { ok, text } => {
                if !ok {
                    self.note_refused_by_rule(reason);
                }
                Decided::Say(ok, text.into())
            }
        }
    }

    async fn carry_out(
        &mut self,
        decided: Decided,
        facts: &CommandFacts<'_>,
        sending: Sending,
        begun: &mut Begun,
        space: &mut RestSpace,
    ) -> Result<(), Ending> {
        let framed = sending.framed;
        match decided {
            Decided::Server(to) if sending.scan == scan::CommandKind::NoReply => {
                self.forward_unanswered(to, facts, sending, begun, space).await
            }
            Decided::Server(to) => self.forward(to, facts, sending, begun, space).await,
            Decided::Answer(answer) => {
                if facts.command == CommandKind::Ping
                    && let Some(told) = self.ping_held(facts, framed).await
                {
                    return told;
                }
                self.answer_own(answer, facts, framed).await
            }
            Decided::End => Err(Ending::ClientClosed),
            Decided::Kill(scope, id) if self.is_itself(id) => self.kill_itself(scope, framed).await,
            Decided::Kill(scope, id) => {
                let answer = Box::pin(self.kill(scope, id)).await;
                self.answer_result(answer, framed).await
            }
            Decided::Login => Box::pin(self.change_user(framed)).await,
            Decided::Lost => self.tell_id_lost(framed).await,
            Decided::Warnings => self.show_kept_warnings().await,
            // Nobody waits for an answer: one would be taken for the next command's.
            Decided::Refuse(_) | Decided::Say(..) if sending.scan == scan::CommandKind::NoReply => {
                track::spoiled(&mut self.state, facts, true);
                Ok(())
            }
            Decided::Refuse(answer) => {
                track::spoiled(&mut self.state, facts, false);
                self.answer_error(&answer, framed).await
            }
            Decided::Say(true, text) => {
                track::spoiled(&mut self.state, facts, false);
                let packet =
                    answer::ok(self.capabilities, self.status(), &text, framed.answer_seq());
                self.client.send(self.context, &packet).await
            }
            Decided::Say(false, text) => {
                track::spoiled(&mut self.state, facts, false);
                let answer = error_code::ER_NOT_ALLOWED_COMMAND.answer(&*text);
                self.answer_error(&answer, framed).await
            }
        }
    }
}

/// What a prepared statement with a text of that length takes, about.
pub(crate) const fn statement_size(text: usize) -> usize {
    /// Its entry, and those of the connections that it was prepared on.
    const ENTRY: usize = 512;
    text + ENTRY
}

/// What is known of a command before it is routed.
fn read_facts<'a>(
    parsed: &Parsed,
    prepared: Option<&PreparedText>,
    analysis: Option<&sql::Analysis<'a>>,
    text: Option<&'a [u8]>,
    mode: LexMode,
) -> CommandFacts<'a> {
    if let (Some(analysis), Some(text)) = (analysis, text) {
        return CommandFacts::text(parsed.kind, text, analysis, mode);
    }
    let shape = match (parsed.statement, prepared) {
        (_, Some(prepared)) => prepared.shape,
        (Some(_), None) => Shape::UNKNOWN,
        (None, None) => Shape::default(),
    };
    CommandFacts {
        shape,
        text,
        statement: parsed.statement,
        opens_cursor: parsed.opens_cursor,
        mode,
        ..CommandFacts::bare(parsed.kind)
    }
}

/// Reads the text that is sent in place of the client's; statistics know a query by what the client
/// wrote, and executions by what is prepared.
fn read_anew<'a>(
    facts: &mut CommandFacts<'a>,
    text: &'a [u8],
    scratch: &'a mut Scratch,
) -> sql::Analysis<'a> {
    let written = facts.shape.digest;
    let analysis = sql::analyze(text, facts.mode, scratch);
    *facts = CommandFacts::text(facts.command, text, &analysis, facts.mode);
    if facts.command == CommandKind::Query {
        facts.shape.digest = written;
    }
    analysis
}

/// What the command before left is forgotten where this one does not ask for it. Whether the session
/// is to leave the reader that it holds.
fn before(state: &mut SessionState, facts: &CommandFacts<'_>, on: Option<Wish>) -> bool {
    track::before(state, facts);
    if on != Some(Wish::Reader) {
        return false;
    }
    let outgrown = route::outgrows_reader(state, facts);
    if outgrown {
        track::forget_leftovers(state);
    } else if route::begins_elsewhere(state, facts) {
        track::end_read_only(state);
    }
    outgrown
}

/// What a route comes to, without borrowing the snapshot.
#[derive(Debug)]
pub(crate) enum Decided {
    Answer(OwnAnswer),
    End,
    Kill(KillScope, u64),
    Login,
    /// It asks for an insert id that was lost.
    Lost,
    Refuse(Answer),
    Say(bool, Box<str>),
    Server(forward::Destination),
    /// It asks for the warnings that the session keeps.
    Warnings,
}

/// A future with memory of its own, that is not laid out within the one that waits for it.
fn apart<'a, T>(future: impl Future<Output = T> + 'a) -> Pin<Box<dyn Future<Output = T> + 'a>> {
    Box::pin(future)
}

fn payload<'a>(inbox: &'a crate::buffer::Buffer, framed: Framed, joined: &'a [u8]) -> &'a [u8] {
    if framed.packets > 1 {
        joined
    } else {
        inbox.bytes().get(HEADER_LEN..framed.wire).unwrap_or_default()
    }
}

/// The payload of a message of several packets.
fn join(bytes: &[u8], framed: Framed, joined: &mut Vec<u8>) {
    joined.clear();
    let mut rest = bytes.get(..framed.wire).unwrap_or_default();
    while let Some((_, payload, behind)) = highgate_mysql::packet::split_packet(rest) {
        joined.extend_from_slice(payload);
        rest = behind;
    }
}

fn kind_of(command: &Command<'_>) -> CommandKind {
    match command {
        Command::Debug | Command::Refresh(_) => CommandKind::Administer,
        Command::BinlogDump(_) | Command::BinlogDumpGtid(_) => CommandKind::BinlogDump,
        Command::ChangeUser(_) => CommandKind::ChangeUser,
        Command::Execute(_) => CommandKind::StmtExecute,
        Command::ExecuteBulk(_) => CommandKind::StmtBulkExecute,
        Command::FieldList { .. } => CommandKind::FieldList,
        Command::InitDb(_) => CommandKind::InitDb,
        Command::Ping => CommandKind::Ping,
        Command::Prepare(_) => CommandKind::StmtPrepare,
        Command::ProcessKill(id) => CommandKind::ProcessKill(*id),
        Command::Query(_) => CommandKind::Query,
        Command::Quit => CommandKind::Quit,
        Command::RegisterReplica(_) => CommandKind::RegisterReplica,
        Command::ResetConnection => CommandKind::ResetConnection,
        Command::SetOption(2..) => CommandKind::Other(0x1b),
        Command::SetOption(off) => CommandKind::SetOption { multi_statements: *off == 0 },
        Command::Statistics => CommandKind::Statistics,
        Command::StmtClose(_) => CommandKind::StmtClose,
        Command::StmtFetch { .. } => CommandKind::StmtFetch,
        Command::StmtReset(_) => CommandKind::StmtReset,
        Command::StmtSendLongData { .. } => CommandKind::StmtSendLongData,
        Command::ProcessInfo => CommandKind::ProcessInfo,
        Command::Shutdown => CommandKind::Other(0x08),
        Command::Unknown(code) => CommandKind::Other(*code),
    }
}
