//! One command: read, judged, routed, and answered by Highgate or forwarded.

use std::{
    future::poll_fn,
    pin::Pin,
    rc::Rc,
    sync::{Arc, atomic::Ordering},
    task::{Context as Cx, Poll},
};

use highgate_core::{
    answer::OwnAnswer,
    events::{Event, Kind, Severity},
    pins::PinSet,
    route::{self, Route, RouteHint, To, View},
    rules::RuleOutcome,
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
    sql::{self, Effects, Flavor, KillScope, LexMode, Scratch, StatementKind},
};

use crate::{
    buffer::{BufferPool, Held},
    mysql::{
        acquire::Wish,
        answer,
        client_stream::Framed,
        exchange::Space,
        forward::{self, Begun, Running, Sending},
        hint::{hinted_server, route_hint},
        prepared_text::{PreparedText, prepared_text},
        session::Session,
    },
    rule_cache::{Circumstances, Number, Text},
    session::Ending,
    slots::Interrupt,
    worker::Mail,
};

/// What a command needs while it runs; pooled per worker.
#[derive(Debug)]
pub(crate) struct CommandSpace {
    pub(crate) scratch: Scratch,
    pub(crate) texts: Texts,
    pub(crate) rest: RestSpace,
}

/// What of a command's texts is needed after it was sent: from then on the inbox may move.
#[derive(Debug, Default)]
pub(crate) struct Texts {
    text: Vec<u8>,
    prepared: Option<Arc<[u8]>>,
    /// Values of an execution, from the NULL bitmap on and with types.
    values: Vec<u8>,
    schema_used: Vec<u8>,
}

/// What is known of a command, but for its texts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Known {
    command: CommandKind,
    shape: Shape,
    statement: Option<u32>,
    opens_cursor: bool,
    mode: LexMode,
    text: TextIs,
    uses_schema: bool,
}

impl Known {
    /// Which command.
    pub(crate) const fn command(&self) -> CommandKind {
        self.command
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TextIs {
    Kept,
    NotNeeded,
    Prepared,
}

impl Texts {
    /// Whether nothing is kept.
    fn is_empty(&self) -> bool {
        let Self { text, prepared, values, schema_used } = self;
        text.is_empty() && prepared.is_none() && values.is_empty() && schema_used.is_empty()
    }

    /// All that is known of a command.
    pub(crate) fn facts(&self, known: &Known) -> CommandFacts<'_> {
        CommandFacts {
            shape: known.shape,
            text: match known.text {
                TextIs::Kept => Some(&self.text),
                TextIs::NotNeeded => None,
                TextIs::Prepared => self.prepared.as_deref(),
            },
            values: (!self.values.is_empty()).then_some(&*self.values),
            statement: known.statement,
            opens_cursor: known.opens_cursor,
            schema_used: known.uses_schema.then_some(&*self.schema_used),
            mode: known.mode,
            ..CommandFacts::bare(known.command)
        }
    }
}

/// The part that is used while an analysis holds the scratch.
#[derive(Debug)]
pub(crate) struct RestSpace {
    pub(crate) exchange: Space,
    pub(crate) steps: Vec<highgate_core::prepare::Step>,
    /// Payload of a command of several packets, in one piece.
    pub(crate) joined: Vec<u8>,
    /// Its size, under `memory_limit`.
    joined_held: Held,
}

impl CommandSpace {
    pub(crate) fn new(pool: Rc<BufferPool>) -> Self {
        let joined_held = pool.counter();
        let exchange = Space::new(pool);
        let rest = RestSpace { exchange, steps: Vec::new(), joined: Vec::new(), joined_held };
        Self { scratch: Scratch::new(), texts: Texts::default(), rest }
    }

    /// Whether nothing of a command is kept in it.
    fn is_empty(&self) -> bool {
        self.texts.is_empty() && self.rest.joined.is_empty()
    }

    /// Gives back what is only needed while a command runs, and what grew large.
    pub(crate) fn rest(&mut self) {
        const LARGE: usize = 64 * 1024;
        let (texts, rest) = (&mut self.texts, &mut self.rest);
        rest.exchange.buffer.consume(usize::MAX);
        rest.exchange.buffer.rest();
        rest.steps.clear();
        texts.prepared = None;
        let changes = &mut rest.exchange.changes;
        let Texts { text, values, schema_used, .. } = texts;
        for memory in [text, values, schema_used, &mut rest.joined, changes] {
            memory.clear();
            if memory.capacity() > LARGE {
                *memory = Vec::new();
            }
        }
        rest.joined_held.set(rest.joined.capacity());
    }
}

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
        Ok(())
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
        if self.lex.flavor == Flavor::Unknown {
            // Logged in before any server was seen; what they are may be known by now.
            self.lex = self.context.worker.shared.facts_of(&self.settings.backend).lex_mode();
        }
        let parsed = match self.parse(framed, &mut space.rest) {
            Ok(parsed) => parsed,
            Err(refusal) => return Err(Box::new(Rest::Refused(refusal))),
        };
        if let Some(lost) = self.lost.take() {
            return Err(Box::new(Rest::Lost(lost, parsed)));
        }
        let snapshot = self.context.worker.snapshot();
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
        let text = match (&parsed.text, &prepared) {
            (Some(range), _) => payload.get(range.clone()),
            (None, Some(prepared)) => Some(&*prepared.text),
            (None, None) => None,
        };
        let mut memo = context.worker.memo.borrow_mut();
        let analysis = match (&parsed.text, text) {
            (Some(_), Some(text)) if !parsed.schema => Some(memo.analyze(text, mode, scratch)),
            _ => None,
        };
        let mut facts = read_facts(&parsed, prepared.as_ref(), analysis.as_ref(), text, mode);
        let (digest_text, hint) = match (&analysis, &prepared) {
            (Some(analysis), _) => (analysis.digest_text, analysis.hint.as_ref()),
            (None, Some(PreparedText { reading, .. })) => {
                (&*reading.digest_text, reading.hint.as_ref())
            }
            (None, None) => (&[][..], None),
        };
        let hint_server = hinted_server(hint, text);
        let hint = hint.map(|hint| route_hint(hint, hint_server.as_deref()));
        let text_is =
            Text { digest: facts.shape.digest, digest_text, text: text.unwrap_or_default() };
        if matches!(parsed.kind, CommandKind::Query | CommandKind::StmtExecute) {
            context.worker.digests.borrow_mut().seen(text_is.digest, digest_text);
        }
        let (rules, number) = self.rules(snapshot, text_is);
        let instead = self.with_own_values(&mut facts, &rules);
        before(&mut self.state, &facts, self.lease.as_ref().and(self.taken_for));
        forward::let_go(self.context, &self.state, &mut self.lease, &mut self.holds);
        // From here on the inbox may move: what is needed of the text later is kept aside.
        let keeps = facts.keep_text() || parsed.schema || parsed.kind == CommandKind::StmtPrepare;
        texts.text.clear();
        if let Some(text) = text.filter(|_| parsed.text.is_some() && keeps) {
            // Servers prepare what a rule made of it, and so must those that prepare it again.
            let is_prepared = parsed.kind == CommandKind::StmtPrepare;
            let rewritten = rules.rewrite.as_deref().filter(|_| is_prepared);
            texts.text.extend_from_slice(rewritten.unwrap_or(text));
        }
        self.keep_values(&facts, payload, &mut texts.values);
        let decided = self.decide(&facts, &rules, hint, snapshot);
        let schema_used = analysis.as_ref().and_then(|analysis| analysis.schema_used);
        schema_used.unwrap_or_default().clone_into(&mut texts.schema_used);
        let known = Known {
            command: parsed.kind,
            shape: facts.shape,
            statement: facts.statement,
            opens_cursor: facts.opens_cursor,
            mode: facts.mode,
            text: match (&parsed.text, &prepared) {
                (Some(_), _) if keeps => TextIs::Kept,
                (None, Some(_)) if keeps => TextIs::Prepared,
                _ => TextIs::NotNeeded,
            },
            uses_schema: schema_used.is_some(),
        };
        texts.prepared = prepared.filter(|_| keeps).map(|prepared| prepared.text);
        self.rules_number = number;
        Judged { decided, known, sending: Sending { framed, scan: parsed.scan, rules, instead } }
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
            Rest::Judged(judged, begun) => {
                let facts = space.texts.facts(&judged.known);
                let (decided, sending) = (judged.decided, judged.sending);
                self.carry_out(decided, &facts, sending, begun, &mut space.rest).await
            }
            Rest::Lost(lost, parsed) => self.tell_lost(lost, framed, &parsed).await,
            Rest::Refused(refusal) => self.answer_error(&refusal, framed).await,
        }
    }

    /// The text with what the session knows of itself in the place of the functions that ask a
    /// connection for it.
    fn with_own_values(
        &self,
        facts: &mut CommandFacts<'_>,
        rules: &RuleOutcome,
    ) -> Option<Vec<u8>> {
        let asks = Effects::CONNECTION_ID | Effects::READS_FOUND_ROWS | Effects::READS_ROW_COUNT;
        if !facts.shape.effects.intersects(asks)
            || facts.command != CommandKind::Query
            || rules.rewrite.is_some()
        {
            return None;
        }
        let known = sql::Known {
            connection_id: Some(self.context.presence.info.id),
            found_rows: self.state.found_rows,
            row_count: self.state.row_count,
        };
        let instead = sql::substitute(facts.text?, facts.mode, known)?;
        facts.shape.effects.remove(Effects::READS_FOUND_ROWS | Effects::READS_ROW_COUNT);
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
        let malformed = |_| error_code::ER_UNKNOWN_COM_ERROR.answer("Malformed command packet");
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

    /// Text and shape of the prepared statement that the command is about.
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
            listener: self.listener.name.clone(),
        };
        let number = cache.number(self.rules_number, circumstances);
        let outcome = cache.evaluate(number, text, circumstances);
        (outcome, Some(number))
    }

    /// The production decision, in a form that outlives what it was made from.
    fn decide(
        &self,
        facts: &CommandFacts<'_>,
        rules: &RuleOutcome,
        hint: Option<RouteHint<'_>>,
        snapshot: &Snapshot,
    ) -> Decided {
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
        let causal = actions.causal;
        let timeout = actions.timeout;
        match to {
            To::Server(target) => Decided::Server(forward::Destination {
                backend: target.backend.clone(),
                role: target.role,
                server: target.server.map(Into::into),
                causal,
                timeout,
            }),
            To::Answer(answer) => Decided::Answer(answer),
            To::End => Decided::End,
            To::Kill { scope, id } => Decided::Kill(scope, id),
            To::Login => Decided::Login,
            To::Refuse(refused) => {
                tracing::debug!(session = view.session_id, "refused: {refused}");
                Decided::Refuse(refused.answer())
            }
            To::Say { ok, text } => Decided::Say(ok, text.into()),
        }
    }

    async fn carry_out(
        &mut self,
        decided: Decided,
        facts: &CommandFacts<'_>,
        sending: Sending,
        begun: Begun,
        space: &mut RestSpace,
    ) -> Result<(), Ending> {
        let framed = sending.framed;
        match decided {
            Decided::Server(to) => {
                self.answers = sending.scan != scan::CommandKind::NoReply;
                let done = self.forward(to, facts, sending, begun, space).await;
                self.answers = true;
                done
            }
            Decided::Answer(answer) => self.answer_own(answer, facts, framed).await,
            Decided::End => Err(Ending::ClientClosed),
            Decided::Kill(scope, id) if self.is_itself(id) => self.kill_itself(scope, framed).await,
            Decided::Kill(scope, id) => {
                let answer = self.kill(scope, id);
                self.answer_result(answer, framed).await
            }
            Decided::Login => Box::pin(self.change_user(framed)).await,
            // Nobody waits for an answer: one would be taken for the next command's.
            Decided::Refuse(_) if sending.scan == scan::CommandKind::NoReply => Ok(()),
            Decided::Refuse(answer) => {
                track::spoiled(&mut self.state, facts, false);
                self.answer_error(&answer, framed).await
            }
            Decided::Say(true, text) => {
                let packet =
                    answer::ok(self.capabilities, self.status(), &text, framed.answer_seq());
                self.client.send(self.context, &packet).await
            }
            Decided::Say(false, text) => {
                let answer = error_code::ER_NOT_ALLOWED_COMMAND.answer(&*text);
                self.answer_error(&answer, framed).await
            }
        }
    }

    async fn answer_own(
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
                answer::number(caps, self.status(), &column, value, unsigned, seq)
            }
            OwnAnswer::Statistics => answer::text(&self.statistics(), seq),
        };
        self.client.send(self.context, &packet).await
    }

    /// A statement is closed that has parameters sent ahead or an open cursor: its server's statement
    /// must not be used for anybody else.
    fn forget_unfinished(&mut self, facts: &CommandFacts<'_>) {
        let Some(id) = facts.statement else { return };
        let statement = self.state.statements.get(&id);
        if let Some(statement) = statement
            && facts.command == CommandKind::StmtClose
        {
            self.held.release(statement_size(statement.text.len()));
        }
        let (Some(statement), Some(lease)) = (statement, &mut self.lease) else { return };
        if statement.long_data || statement.cursor {
            let gone = lease.connection.state.forget(id, &statement.text, &statement.under);
            lease.connection.to_close.extend(gone);
        }
    }

    /// The option is part of what connections have in common: others are used from now on.
    fn set_multi_statements(&mut self, on: bool) {
        use highgate_mysql::Capabilities;
        self.capabilities.set(Capabilities::MULTI_STATEMENTS, on);
        self.who.capabilities.set(Capabilities::MULTI_STATEMENTS, on);
        if on {
            self.who.capabilities.insert(Capabilities::MULTI_RESULTS);
        }
        self.keys.clear();
    }

    fn statistics(&self) -> String {
        let shared = &self.context.worker.shared;
        let uptime = highgate_io::clock::now().saturating_duration_since(shared.started).as_secs();
        let threads = shared.connections.load(Ordering::Relaxed);
        format!("Uptime: {uptime}  Threads: {threads}  Questions: 0  Slow queries: 0")
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
        let packet = answer::error(refusal, framed.answer_seq());
        self.client.send(self.context, &packet).await
    }

    async fn answer_result(
        &mut self,
        result: Result<(), Answer>,
        framed: Framed,
    ) -> Result<(), Ending> {
        match result {
            Ok(()) => {
                let packet = answer::ok(self.capabilities, self.status(), "", framed.answer_seq());
                self.client.send(self.context, &packet).await
            }
            Err(answer) => self.answer_error(&answer, framed).await,
        }
    }

    /// The transaction went with its connection: said once, as a deadlock would be.
    async fn tell_lost(
        &mut self,
        lost: PinSet,
        framed: Framed,
        parsed: &Parsed,
    ) -> Result<(), Ending> {
        if matches!(parsed.scan, scan::CommandKind::NoReply) {
            self.lost = (parsed.kind != CommandKind::Quit).then_some(lost);
            return if parsed.kind == CommandKind::Quit {
                Err(Ending::ClientClosed)
            } else {
                Ok(())
            };
        }
        let answer = error_code::ErrorCode::new(1213, b"40001").answer(
            "The transaction was rolled back: its server connection was lost; try restarting transaction",
        );
        self.answer_error(&answer, framed).await
    }

    fn is_itself(&self, id: Option<u64>) -> bool {
        id == Some(u64::from(self.context.presence.info.id))
    }

    /// KILL of the session's own id: the answer is the error of what was killed.
    async fn kill_itself(&mut self, scope: KillScope, framed: Framed) -> Result<(), Ending> {
        if scope == KillScope::Query {
            let text = "Query execution was interrupted";
            return self.answer_error(&error_code::ER_QUERY_INTERRUPTED.answer(text), framed).await;
        }
        self.answer_error(&was_killed(), framed).await?;
        Err(Ending::Killed)
    }

    /// KILL of a session id: of the same account only.
    fn kill(&self, scope: KillScope, id: Option<u64>) -> Result<(), Answer> {
        let shared = &self.context.worker.shared;
        let unknown = || {
            let id = id.unwrap_or_default();
            error_code::ER_NO_SUCH_THREAD.answer(format!("Unknown thread id: {id}"))
        };
        let number = id.and_then(|id| u32::try_from(id).ok()).ok_or_else(unknown)?;
        let other = shared.session(number).ok_or_else(unknown)?;
        if other.identity().user != *self.state.user {
            let text = format!("You are not owner of thread {number}");
            return Err(error_code::ER_KILL_DENIED_ERROR.answer(text));
        }
        let what = match scope {
            KillScope::Query => Interrupt::KillQuery,
            _ => Interrupt::Kill,
        };
        let text = format!("session {number} was told to end ({scope:?}) by its own account");
        shared.event(Event::new(Severity::Info, Kind::Kill, text).session(number));
        let _ = self.context.worker.post(other.worker, Mail::Interrupt(other.slot, what));
        Ok(())
    }
}

/// What a prepared statement with a text of that length takes, about.
pub(crate) const fn statement_size(text: usize) -> usize {
    /// Its entry, and those of the connections that it was prepared on.
    const ENTRY: usize = 512;
    text + ENTRY
}

/// What the client of a killed session is told about its running command.
pub(crate) fn was_killed() -> Answer {
    error_code::ER_CONNECTION_KILLED.answer("Connection was killed")
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

/// What the command before left is forgotten where this one does not ask for it.
fn before(state: &mut SessionState, facts: &CommandFacts<'_>, on: Option<Wish>) {
    track::before(state, facts);
    if on != Some(Wish::Reader) {
        return;
    }
    if route::outgrows_reader(state, facts) {
        track::forget_leftovers(state);
    } else if route::begins_elsewhere(state, facts) {
        track::end_read_only(state);
    }
}

/// What a route comes to, without borrowing the snapshot.
#[derive(Debug)]
pub(crate) enum Decided {
    Answer(OwnAnswer),
    End,
    Kill(KillScope, Option<u64>),
    Login,
    Refuse(Answer),
    Say(bool, Box<str>),
    Server(forward::Destination),
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
        Command::SetOption(off) => CommandKind::SetOption { multi_statements: *off == 0 },
        Command::Statistics => CommandKind::Statistics,
        Command::StmtClose(_) => CommandKind::StmtClose,
        Command::StmtFetch { .. } => CommandKind::StmtFetch,
        Command::StmtReset(_) => CommandKind::StmtReset,
        Command::StmtSendLongData { .. } => CommandKind::StmtSendLongData,
        Command::Debug => CommandKind::Other(0x0d),
        Command::ProcessInfo => CommandKind::Other(0x0a),
        Command::Refresh(_) => CommandKind::Other(0x07),
        Command::Shutdown => CommandKind::Other(0x08),
        Command::Unknown(code) => CommandKind::Other(*code),
    }
}
