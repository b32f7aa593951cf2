//! Says what a text's statements are and do, token by token.

use super::blank;
use super::body::{self, Ends};
use super::bytes::{is_digit, is_name, span_of};
use super::head::{self, Head};
use super::token::{Lexer, Token};
use super::words::{Call, Kw};
use super::{Effects, Flavor, LexMode, LockingClause, Span, StatementKind};

/// What the classifier found.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) kind: StatementKind,
    pub(super) effects: Effects,
    pub(super) statements: u32,
    /// One of the statements is a SELECT.
    selects: bool,
    pub(super) locking: Option<LockingClause>,
    pub(super) schema: Option<Span>,
    pub(super) local_file: Option<Span>,
    pub(super) name: Option<Span>,
    pub(super) hint: Option<super::Hint>,
}

/// Effects that forbid a replica.
const NOT_FOR_REPLICAS: Effects = Effects::WRITES
    .union(Effects::LOCKING_READ)
    .union(Effects::SELECT_INTO)
    .union(Effects::USER_VARIABLE_WRITE)
    .union(Effects::TEMP_TABLE)
    .union(Effects::NAMED_LOCK)
    .union(Effects::RELEASES_NAMED_LOCK)
    .union(Effects::LOCK_TABLES)
    .union(Effects::READS_LAST_INSERT_ID)
    .union(Effects::WRITES_LAST_INSERT_ID)
    .union(Effects::READS_FOUND_ROWS)
    .union(Effects::CALC_FOUND_ROWS)
    .union(Effects::READS_ROW_COUNT)
    .union(Effects::READS_DIAGNOSTICS)
    .union(Effects::SIDE_EFFECT_FUNCTION)
    .union(Effects::SEQUENCE)
    .union(Effects::CONNECTION_ID)
    .union(Effects::GLOBAL_VARIABLE_READ)
    .union(Effects::SERVER_SPECIFIC)
    .union(Effects::CAN_CHANGE_SESSION)
    .union(Effects::DOUBTFUL);

/// Reads all of `text`.
pub(super) fn classify(text: &[u8], mode: LexMode) -> Found {
    let mut lexer = Lexer::new(text, mode);
    let mut found = Found::default();
    let mut all_read = true;
    let mut statement = Statement::new(text, mode);
    let mut begun = false;
    loop {
        let token = lexer.next();
        let ends = match token {
            Token::End => true,
            Token::Punct(b';') => statement.ends_at(lexer.position()),
            _ => false,
        };
        if !ends {
            begun = true;
            statement.step(token, lexer.spaced);
            if token == Token::Punct(b',') && statement.passes_values() {
                lexer.skip_listed();
            }
            continue;
        }
        // Also one whose verb was not found: what is thrown away would be taken for harmless.
        if begun {
            all_read &= statement.finish(&mut found);
            begun = false;
            statement = Statement::new(text, mode);
        }
        statement.start = lexer.position();
        if token == Token::End {
            break;
        }
    }
    found.effects |= lexer.effects;
    if blank::stands_outside(text, mode) {
        found.effects |= Effects::DOUBTFUL;
    }
    found.hint = lexer.hint;
    if found.statements > 1 {
        found.effects |= Effects::MULTI;
    }
    if all_read && found.statements > 0 && !found.effects.intersects(NOT_FOR_REPLICAS) {
        found.effects |= Effects::READ_ONLY_PROVED;
    }
    found
}

/// How far the leading words are understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// After ANALYZE: a statement, or TABLE.
    Analyze,
    Body,
    /// In `SET STATEMENT …`, before its FOR.
    BeforeFor,
    Start,
    /// In the definitions of `WITH`.
    With,
}

/// Stands for a user variable among marks: `@` is never one.
const VARIABLE: u8 = b'@';
/// Stands for a literal among marks: a quote is never one.
const LITERAL: u8 = b'\'';

/// What the next token decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pending {
    LastInsertId,
    Nothing,
    /// After `@@`: a scope or a name.
    SystemVariable,
    /// After `@@scope`: a dot, then the name.
    Scoped(bool),
    /// After INSERT or REPLACE within a read: a parenthesis, or it writes.
    WriteVerb,
}

/// The word read last, as a parenthesis after it sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Callee {
    None,
    /// SELECT, or one of its options behind it.
    Options,
    /// After a dot, quoted, or a name that starts with a digit.
    Stored,
    Word(Call),
}

/// One statement while it is read.
struct Statement<'t> {
    text: &'t [u8],
    mode: LexMode,
    /// Behind the semicolon before it.
    start: usize,
    /// Where it ends, if that was asked.
    ends: Option<Ends>,
    phase: Phase,
    head: Head,
    effects: Effects,
    locking: Option<LockingClause>,
    depth: u32,
    /// How deep the last `WITH` stood that begins the statement; the statement's verb stands as deep.
    with_depth: u32,
    /// One of its definitions has ended, and no other begun.
    defined: bool,
    /// The mark read last; of other tokens [`VARIABLE`], [`LITERAL`] or 0.
    previous: u8,
    previous_kw: Kw,
    callee: Callee,
    callee_span: Span,
    pending: Pending,
    /// Names before a parenthesis are tables or columns for now.
    names_only: bool,
    into_list: bool,
    /// After LIMIT: a comma parts an offset from it.
    limited: bool,
    schema: Option<Span>,
    local_file: Option<Span>,
    name: Option<Span>,
    wants_name: bool,
}

impl<'t> Statement<'t> {
    fn new(text: &'t [u8], mode: LexMode) -> Self {
        Statement {
            text,
            mode,
            start: 0,
            ends: None,
            phase: Phase::Start,
            head: Head::default(),
            effects: Effects::empty(),
            locking: None,
            depth: 0,
            with_depth: 0,
            defined: false,
            previous: 0,
            previous_kw: Kw::Other,
            callee: Callee::None,
            callee_span: Span::default(),
            pending: Pending::Nothing,
            names_only: false,
            into_list: false,
            limited: false,
            schema: None,
            local_file: None,
            name: None,
            wants_name: false,
        }
    }

    /// Whether a semicolon that ends at that byte is its last.
    fn ends_at(&mut self, position: usize) -> bool {
        if !self.head.may_have_body() {
            return true;
        }
        let (text, start, mode) = (self.text, self.start, self.mode);
        let ends = *self.ends.get_or_insert_with(|| body::end(text, start, mode));
        match ends {
            Ends::At(end) => end <= position,
            Ends::Unsure => {
                // Others may follow: a KILL, or what binds a session to its connection.
                self.effects |= Effects::MULTI | Effects::DOUBTFUL;
                false
            }
        }
    }

    #[inline]
    fn step(&mut self, token: Token, spaced: bool) {
        if self.pending != Pending::Nothing {
            self.resolve_pending(token);
        }
        let (mut previous, mut previous_kw, mut callee) = (0, Kw::Other, Callee::None);
        match token {
            Token::Word(span, kw, call) => {
                callee = self.callee_of(kw, call);
                previous_kw = kw;
                self.word(span, kw, call);
                self.callee_span = span;
            }
            Token::Punct(mark) => {
                self.punct(mark, spaced);
                previous = mark;
            }
            Token::Number(span) => {
                self.head.push_mark();
                if runs_on(span.of(self.text), self.after_dot()) && !self.ends_name(span) {
                    self.effects |= Effects::DOUBTFUL;
                }
                callee = Callee::Stored;
            }
            Token::Text(span) => {
                self.literal(span);
                previous = LITERAL;
            }
            Token::Quoted(span) => {
                self.quoted(span);
                callee = Callee::Stored;
            }
            Token::Variable(_) => {
                self.variable();
                previous = VARIABLE;
            }
            Token::SystemVariable => self.pending = Pending::SystemVariable,
            Token::Placeholder => self.effects |= Effects::HAS_PLACEHOLDER,
            Token::Assign => {
                if self.previous == VARIABLE {
                    self.effects |= Effects::USER_VARIABLE_WRITE;
                }
            }
            Token::End => {}
        }
        (self.previous, self.previous_kw, self.callee) = (previous, previous_kw, callee);
    }

    /// Whether a plain name, literal or number and a comma, after a comma, would leave everything as
    /// it is.
    fn passes_values(&self) -> bool {
        self.phase == Phase::Body
            && self.pending == Pending::Nothing
            && !self.wants_name
            && self.head.is_full()
    }

    /// What a parenthesis behind this word would call.
    #[inline]
    fn callee_of(&self, kw: Kw, call: Call) -> Callee {
        if self.after_dot() {
            return Callee::Stored;
        }
        let among_options = self.callee == Callee::Options;
        let keyword = match call {
            Call::Option | Call::NamedOption if among_options => return Callee::Options,
            Call::MariaDbOption if among_options && self.mode.flavor == Flavor::MariaDb => {
                return Callee::Options;
            }
            _ if kw == Kw::Select => return Callee::Options,
            // No call follows a literal; the path before these columns is one.
            Call::Columns => self.previous == LITERAL,
            Call::MariaDbSyntax => self.mode.flavor == Flavor::MariaDb,
            Call::MySqlSyntax => self.mode.flavor == Flavor::MySql,
            Call::Option => true,
            _ => false,
        };
        Callee::Word(if keyword { Call::Syntax } else { call })
    }

    fn after_dot(&self) -> bool {
        self.previous == b'.'
    }

    /// Whether a number ends a name that is qualified without blanks: `app.2024_orders`, `t.1e5x`.
    fn ends_name(&self, number: Span) -> bool {
        let Ok(start) = usize::try_from(number.start) else { return false };
        let before = self.text.get(..start).unwrap_or_default();
        let Some(before) = before.strip_suffix(b".") else { return false };
        let from = before.iter().rposition(|byte| !is_name(*byte)).map_or(0, |at| at + 1);
        let qualifier = before.get(from..).unwrap_or_default();
        // Servers read on behind what is a number by itself.
        qualifier.first().is_some_and(|byte| !is_digit(*byte))
    }

    fn resolve_pending(&mut self, token: Token) {
        let pending = std::mem::replace(&mut self.pending, Pending::Nothing);
        match pending {
            Pending::Nothing => {}
            Pending::LastInsertId => {
                self.effects |= Effects::READS_LAST_INSERT_ID;
                if token != Token::Punct(b')') {
                    self.effects |= Effects::WRITES_LAST_INSERT_ID;
                }
            }
            Pending::WriteVerb => {
                if token != Token::Punct(b'(') {
                    self.effects |= Effects::WRITES;
                }
            }
            Pending::SystemVariable => self.system_variable(token),
            Pending::Scoped(global) => {
                if token == Token::Punct(b'.') {
                    self.pending = Pending::Scoped(global);
                } else {
                    self.system_variable_name(token, global);
                }
            }
        }
    }

    fn system_variable(&mut self, token: Token) {
        match token {
            Token::Word(_, Kw::Global | Kw::Persist, _) => self.pending = Pending::Scoped(true),
            Token::Word(_, Kw::Session | Kw::Local, _) => self.pending = Pending::Scoped(false),
            _ => self.system_variable_name(token, false),
        }
    }

    fn system_variable_name(&mut self, token: Token, global: bool) {
        let (Token::Word(span, ..) | Token::Quoted(span)) = token else {
            self.effects |= Effects::DOUBTFUL;
            return;
        };
        self.effects |= Effects::SYSTEM_VARIABLE_READ | head::variable_effects(span.of(self.text));
        if global {
            self.effects |= Effects::GLOBAL_VARIABLE_READ;
        }
    }

    fn word(&mut self, span: Span, kw: Kw, call: Call) {
        let after_dot = self.after_dot();
        // After a dot even a reserved word is a name.
        let plain = if after_dot && kw != Kw::ServerSchema { Kw::Other } else { kw };
        match self.phase {
            Phase::Body => self.body_word(span, plain),
            Phase::Start => self.start(kw),
            Phase::Analyze => self.analyze(kw),
            Phase::With => self.with(plain),
            Phase::BeforeFor => {
                if kw == Kw::For && self.depth == 0 {
                    self.phase = Phase::Start;
                } else if kw == Kw::LexVariable {
                    self.effects |= Effects::DOUBTFUL;
                }
            }
        }
        // `sequence.NEXTVAL`, as in Oracle.
        if after_dot && head::is_sequence_word(span.of(self.text)) {
            self.effects |= Effects::SEQUENCE | Effects::SIDE_EFFECT_FUNCTION;
        }
        if !after_dot && call == Call::Varying && kw == Kw::CurrentTime {
            self.effects |= Effects::NON_REPEATABLE;
        }
    }

    fn start(&mut self, kw: Kw) {
        match kw {
            Kw::With => {
                self.phase = Phase::With;
                (self.with_depth, self.defined) = (self.depth, false);
            }
            Kw::Analyze => {
                self.phase = Phase::Analyze;
                self.head.push(Kw::Analyze);
            }
            _ => {
                self.phase = Phase::Body;
                self.head.lead(kw);
                self.names_only = head::starts_with_names(kw);
                self.wants_name =
                    matches!(kw, Kw::Prepare | Kw::Execute | Kw::Deallocate | Kw::Savepoint);
            }
        }
    }

    /// MariaDB's `ANALYZE [FORMAT=JSON] statement` runs the statement; `ANALYZE TABLE` is another thing.
    fn analyze(&mut self, kw: Kw) {
        match kw {
            Kw::Select
            | Kw::Update
            | Kw::Delete
            | Kw::Insert
            | Kw::Replace
            | Kw::With
            | Kw::Values => {
                self.head = Head::default();
                self.start(kw);
            }
            Kw::Format | Kw::Other => {}
            _ => {
                self.head.push(kw);
                self.phase = Phase::Body;
                self.names_only = true;
            }
        }
    }

    /// The definitions are within parentheses; the main statement's verb is the first one outside, be it
    /// within parentheses that stand around all of it.
    fn with(&mut self, kw: Kw) {
        let main = matches!(
            kw,
            Kw::Select
                | Kw::Update
                | Kw::Delete
                | Kw::Insert
                | Kw::Replace
                | Kw::Values
                | Kw::Table
        );
        if self.depth == self.with_depth && main {
            self.phase = Phase::Start;
            self.start(kw);
        } else {
            self.common_word(kw);
        }
    }

    fn body_word(&mut self, span: Span, kw: Kw) {
        self.head.push(kw);
        if matches!(kw, Kw::Other | Kw::Plain) && !self.head.is_lead(Kw::Use) && !self.wants_name {
            return;
        }
        if self.names_only && matches!(kw, Kw::Values | Kw::Value | Kw::Select | Kw::Set) {
            // A table that is made of a query's rows runs that query at once.
            self.names_only =
                self.head.is_definition() && !(kw == Kw::Select && self.head.makes_table());
        }
        self.capture(span, kw);
        // `SET STATEMENT x = y FOR …` is of the kind of what follows.
        if kw == Kw::Statement && self.head.is(&[Kw::Set, Kw::Statement]) {
            self.effects |= Effects::FOR_STATEMENT;
            self.head = Head::default();
            self.phase = Phase::BeforeFor;
            return;
        }
        self.common_word(kw);
    }

    fn capture(&mut self, span: Span, kw: Kw) {
        if self.head.is_lead(Kw::Use) && self.schema.is_none() {
            self.schema = Some(span);
        }
        if matches!(kw, Kw::To | Kw::Savepoint | Kw::Prepare) && self.head.takes_name_after(kw) {
            self.wants_name = true;
        } else if self.wants_name && kw != Kw::Immediate {
            self.wants_name = false;
            self.name = Some(span);
        }
    }

    fn common_word(&mut self, kw: Kw) {
        match kw {
            Kw::Update if self.previous_kw == Kw::For => self.lock(LockingClause::Update),
            Kw::Share if self.previous_kw == Kw::For => self.lock(LockingClause::Share),
            Kw::In if self.previous_kw == Kw::Lock => self.lock(LockingClause::Share),
            Kw::Value if matches!(self.previous_kw, Kw::Next | Kw::Previous) => {
                self.effects |= Effects::SEQUENCE | Effects::SIDE_EFFECT_FUNCTION;
            }
            Kw::CalcFoundRows => self.effects |= Effects::CALC_FOUND_ROWS,
            Kw::Limit => self.limited = true,
            Kw::OddRows => self.effects |= Effects::COUNTS_OTHERWISE,
            Kw::ServerSchema => self.effects |= Effects::SERVER_SPECIFIC,
            Kw::Into => {
                self.into_list = true;
                if self.reads() {
                    self.effects |= Effects::SELECT_INTO;
                }
            }
            Kw::Insert | Kw::Replace if self.reads() => self.pending = Pending::WriteVerb,
            Kw::Set if self.previous_kw == Kw::Charset => {}
            _ if head::is_write_verb(kw) && self.reads() => self.effects |= Effects::WRITES,
            Kw::From | Kw::Where => self.into_list = false,
            _ => {}
        }
    }

    /// A read so far: a word that writes does not belong here.
    fn reads(&self) -> bool {
        self.phase == Phase::With || self.head.is_read()
    }

    fn lock(&mut self, clause: LockingClause) {
        self.effects |= Effects::LOCKING_READ;
        if self.locking != Some(LockingClause::Update) {
            self.locking = Some(clause);
        }
    }

    fn quoted(&mut self, span: Span) {
        if self.phase == Phase::Start {
            self.phase = Phase::Body;
            self.head.lead(Kw::Other);
        } else if self.phase == Phase::Body {
            self.capture(span, Kw::Other);
            self.head.push(Kw::Other);
        }
    }

    fn literal(&mut self, span: Span) {
        if self.previous_kw == Kw::Infile && self.head.has(Kw::Local) {
            self.local_file = Some(span);
        }
        self.head.push_mark();
    }

    fn variable(&mut self) {
        let target = self.head.is(&[Kw::Set])
            || (self.head.is_lead(Kw::Set) && self.depth == 0 && self.previous == b',');
        let assigns = self.head.is_lead(Kw::Load) || self.head.is_lead(Kw::Get);
        if target || self.into_list || assigns {
            self.effects |= Effects::USER_VARIABLE_WRITE;
        } else if self.head.is_lead(Kw::Call) {
            self.effects |= Effects::USER_VARIABLE_WRITE | Effects::USER_VARIABLE_READ;
        } else {
            self.effects |= Effects::USER_VARIABLE_READ;
        }
        self.head.push_mark();
    }

    fn punct(&mut self, mark: u8, spaced: bool) {
        match mark {
            b'(' => {
                self.open(spaced);
                self.depth += 1;
            }
            b')' => self.depth = self.depth.saturating_sub(1),
            b',' if self.limited => self.effects |= Effects::COUNTS_OTHERWISE,
            b',' if self.phase == Phase::With && self.depth == self.with_depth => {
                self.defined = false;
            }
            b'=' | b',' | b'*' | b'.' => {}
            b'\\' => {}
            _ if self.phase == Phase::Start => self.effects |= Effects::DOUBTFUL,
            _ => {}
        }
        if self.phase == Phase::Start && mark != b'(' {
            self.phase = Phase::Body;
            self.head.lead(Kw::Other);
        }
    }

    fn open(&mut self, spaced: bool) {
        if self.phase == Phase::With && self.depth == self.with_depth {
            // `WITH name (columns) AS (…)`; after a closed one, the main statement in parentheses, also behind
            // MariaDB's `CYCLE a RESTRICT`.
            if self.defined {
                self.phase = Phase::Start;
            }
            self.defined = self.previous_kw == Kw::As;
            return;
        }
        if self.names_only || self.previous_kw == Kw::As {
            return;
        }
        let call = match self.callee {
            Callee::None | Callee::Options => return,
            Callee::Stored => Call::Unknown,
            Callee::Word(Call::Pure | Call::Varying) if spaced && !self.mode.ignore_space => {
                if head::needs_no_space(self.callee_span.of(self.text)) {
                    Call::Unknown
                } else {
                    Call::Pure
                }
            }
            Callee::Word(call) => call,
        };
        self.effects |= match call {
            Call::AsksLock => Effects::SERVER_SPECIFIC,
            Call::ConnectionId => Effects::CONNECTION_ID,
            Call::FoundRows => Effects::READS_FOUND_ROWS,
            Call::LastInsertId => {
                self.pending = Pending::LastInsertId;
                Effects::READS_LAST_INSERT_ID
            }
            Call::NamedLock => Effects::NAMED_LOCK | Effects::SIDE_EFFECT_FUNCTION,
            Call::Option | Call::Pure | Call::Syntax => Effects::empty(),
            Call::ReleaseLock => Effects::RELEASES_NAMED_LOCK | Effects::SIDE_EFFECT_FUNCTION,
            Call::RowCount => Effects::READS_ROW_COUNT,
            Call::Sequence => Effects::SEQUENCE | Effects::SIDE_EFFECT_FUNCTION,
            // Keywords have become [`Call::Syntax`] where they are some.
            Call::Columns
            | Call::MariaDbOption
            | Call::MariaDbSyntax
            | Call::MySqlSyntax
            | Call::NamedOption
            | Call::SideEffect
            | Call::Unknown => Effects::SIDE_EFFECT_FUNCTION,
            Call::Varying => Effects::NON_REPEATABLE,
        };
    }

    /// Joins the statement to `found`; whether it is of a kind that may read from a replica.
    fn finish(&mut self, found: &mut Found) -> bool {
        if self.pending != Pending::Nothing || !self.head.is_some() {
            self.effects |= Effects::DOUBTFUL;
        }
        let (kind, effects) = self.head.kind();
        self.effects |= effects;
        if found.statements == 0 {
            found.kind = kind;
            found.name = self.name;
        } else {
            // It reads what a statement of the same text left.
            self.effects.remove(Effects::READS_ROW_COUNT);
            if found.selects {
                self.effects.remove(Effects::READS_FOUND_ROWS);
            }
        }
        found.selects |= kind == StatementKind::Select;
        found.statements = found.statements.saturating_add(1);
        found.effects |= self.effects;
        found.schema = self.schema.or(found.schema);
        found.local_file = found.local_file.or(self.local_file);
        found.locking = match (found.locking, self.locking) {
            (Some(LockingClause::Update), _) | (_, Some(LockingClause::Update)) => {
                Some(LockingClause::Update)
            }
            (one, other) => one.or(other),
        };
        matches!(
            kind,
            StatementKind::Select
                | StatementKind::Values
                | StatementKind::Table
                | StatementKind::Show
                | StatementKind::Describe
        )
    }
}

/// Whether a word follows that servers read apart from the number: `1.5INTO @v`, `1e5LOCK IN SHARE MODE`. Without a
/// fraction or an exponent all of it is a name.
fn runs_on(number: &[u8], is_fraction: bool) -> bool {
    if number.last().is_some_and(|byte| is_digit(*byte)) {
        return false;
    }
    let rest = number.get(span_of(number, 0, is_digit)..).unwrap_or_default();
    match rest {
        [b'e' | b'E'] | [] => false,
        [b'e' | b'E', digit, ..] if is_digit(*digit) => true,
        _ => is_fraction,
    }
}
