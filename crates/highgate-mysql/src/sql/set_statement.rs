//! The grammar of `SET`.

use std::borrow::Cow;

use super::analysis::unquoted;
use super::blank;
use super::bytes::{is_digit, is_name};
use super::token::{Lexer, Token};
use super::words::Kw;
use super::{Effects, Flavor, LexMode, Span};

/// A `SET` statement, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetStatement<'t> {
    /// Its parts, in the order written: the server applies them in this order, all or none.
    pub items: Vec<Item<'t>>,
}

/// One part of a `SET` statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item<'t> {
    /// `name = value`, of a system or user variable.
    Assignment(Assignment<'t>),
    /// `CHARACTER SET x`, `CHARSET x`; `None` is DEFAULT.
    CharacterSet(Option<Cow<'t, [u8]>>),
    /// `NAMES x [COLLATE y]`.
    Names {
        /// The charset, unquoted; `None` is DEFAULT.
        charset: Option<Cow<'t, [u8]>>,
        /// The collation, unquoted; `None` is none written, or DEFAULT.
        collation: Option<Cow<'t, [u8]>>,
    },
    /// `PASSWORD …`: changes an account.
    Password,
    /// `RESOURCE GROUP …`.
    ResourceGroup,
    /// `ROLE …`: the text after the word ROLE, as written.
    Role(&'t [u8]),
    /// `DEFAULT ROLE …`: changes an account.
    DefaultRole,
    /// `[scope] TRANSACTION …`.
    Transaction {
        /// `Next` when neither SESSION nor GLOBAL was written.
        scope: Scope,
        /// `ISOLATION LEVEL …`.
        isolation: Option<Isolation>,
        /// `READ ONLY` is true, `READ WRITE` false.
        read_only: Option<bool>,
    },
}

/// `name = value`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment<'t> {
    /// Where it holds.
    pub scope: Scope,
    /// The name in lower case, without quotes, `@` and scope; `a.b` for structured variables.
    pub name: Cow<'t, str>,
    /// What it is set to.
    pub value: Value<'t>,
}

/// Where an assignment holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    /// `GLOBAL x`, `@@global.x`.
    Global,
    /// The next transaction only (`SET TRANSACTION`, `SET @@transaction_isolation`).
    Next,
    /// `PERSIST x`, `@@persist.x`.
    Persist,
    /// `PERSIST_ONLY x`, `@@persist_only.x`.
    PersistOnly,
    /// `x`, `SESSION x`, `LOCAL x`, `@@session.x`.
    Session,
    /// `@x`.
    User,
}

/// What a variable is set to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value<'t> {
    /// DEFAULT, to be written without quotes.
    Default,
    /// Anything that only a server can compute, as written.
    Expression(&'t [u8]),
    /// A literal or bare word, as written: reads the same on any connection of the same lexer mode.
    Literal(&'t [u8]),
}

/// Isolation levels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Isolation {
    /// READ COMMITTED.
    ReadCommitted,
    /// READ UNCOMMITTED.
    ReadUncommitted,
    /// REPEATABLE READ.
    RepeatableRead,
    /// SERIALIZABLE.
    Serializable,
}

/// Why a text is not a `SET` statement that we can take apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SetRefused {
    /// A literal or a comment is not closed, or the charset makes its end uncertain.
    #[error("the text cannot be read for sure at byte {at}")]
    Doubtful {
        /// Where.
        at: usize,
    },
    /// More than one statement.
    #[error("another statement follows at byte {at}")]
    Multi {
        /// Where.
        at: usize,
    },
    /// The text is not a SET statement (`SET STATEMENT … FOR` included).
    #[error("not a SET statement")]
    NotSet,
    /// The grammar ends here.
    #[error("not the grammar of SET at byte {at}")]
    Syntax {
        /// Where.
        at: usize,
    },
}

/// Takes a `SET` statement apart.
///
/// # Errors
/// What it is not sure of, it refuses: the caller then lets the server judge, on a pinned connection.
pub fn parse(text: &[u8], mode: LexMode) -> Result<SetStatement<'_>, SetRefused> {
    let mut parser = Parser::new(text, mode);
    match parser.token {
        Token::Word(_, Kw::Set, _) => parser.advance(),
        _ => return Err(SetRefused::NotSet),
    }
    if parser.is_kw(Kw::Statement) {
        return Err(SetRefused::NotSet);
    }
    let mut items = Vec::new();
    loop {
        items.push(parser.item()?);
        if !parser.take_mark(b',') {
            break;
        }
    }
    parser.take_mark(b';');
    let at = parser.start;
    if parser.lexer.effects.contains(Effects::DOUBTFUL) || blank::stands_outside(text, mode) {
        return Err(SetRefused::Doubtful { at });
    }
    match parser.token {
        Token::End => Ok(SetStatement { items }),
        _ if parser.after_semicolon => Err(SetRefused::Multi { at }),
        _ => Err(SetRefused::Syntax { at }),
    }
}

type Parsed<T> = Result<T, SetRefused>;

struct Parser<'t> {
    text: &'t [u8],
    mode: LexMode,
    lexer: Lexer<'t>,
    token: Token,
    /// Where `token` starts, and where the one before it ended.
    start: usize,
    last_end: usize,
    after_semicolon: bool,
    /// The scope of names without one: the latest that was written as a word.
    latest: Scope,
}

impl<'t> Parser<'t> {
    fn new(text: &'t [u8], mode: LexMode) -> Self {
        let lexer = Lexer::new(text, mode);
        let mut parser = Parser {
            text,
            mode,
            lexer,
            token: Token::End,
            start: 0,
            last_end: 0,
            after_semicolon: false,
            latest: Scope::Session,
        };
        parser.advance();
        parser
    }

    fn advance(&mut self) {
        self.last_end = self.lexer.position();
        self.token = self.lexer.next();
        self.start = token_start(self.token, self.lexer.position());
    }

    fn syntax<T>(&self) -> Parsed<T> {
        Err(SetRefused::Syntax { at: self.start })
    }

    fn is_kw(&self, kw: Kw) -> bool {
        matches!(self.token, Token::Word(_, found, _) if found == kw)
    }

    fn is_word(&self, word: &str) -> bool {
        matches!(self.token, Token::Word(span, ..) if span.of(self.text).eq_ignore_ascii_case(word.as_bytes()))
    }

    fn take_word(&mut self, word: &str) -> bool {
        let found = self.is_word(word);
        if found {
            self.advance();
        }
        found
    }

    fn take_mark(&mut self, mark: u8) -> bool {
        let found = self.token == Token::Punct(mark);
        if found {
            self.after_semicolon = mark == b';';
            self.advance();
        }
        found
    }

    fn item(&mut self) -> Parsed<Item<'t>> {
        match self.token {
            Token::Variable(span) => {
                self.advance();
                let name = unquoted(span.of(self.text), self.mode);
                // Which letters are the same depends on the client's charset.
                if !name.is_ascii() {
                    return self.syntax();
                }
                self.assignment(Scope::User, &name)
            }
            Token::SystemVariable => {
                self.advance();
                let scope = self.at_scope()?;
                self.named(scope)
            }
            Token::Word(..) | Token::Quoted(_) => self.word_item(),
            _ => self.syntax(),
        }
    }

    /// After `@@`. Without a scope the transaction variables hold for the next transaction only.
    fn at_scope(&mut self) -> Parsed<Option<Scope>> {
        let Some(scope) = self.scope_word() else {
            return Ok(None);
        };
        self.advance();
        if self.take_mark(b'.') { Ok(Some(scope)) } else { self.syntax() }
    }

    fn scope_word(&self) -> Option<Scope> {
        let Token::Word(span, ..) = self.token else {
            return None;
        };
        let word = span.of(self.text);
        let scopes: [(&str, Scope); 5] = [
            ("global", Scope::Global),
            ("local", Scope::Session),
            ("persist", Scope::Persist),
            ("persist_only", Scope::PersistOnly),
            ("session", Scope::Session),
        ];
        scopes
            .iter()
            .find(|(name, _)| name.as_bytes().eq_ignore_ascii_case(word))
            .map(|&(_, scope)| scope)
    }

    fn named(&mut self, scope: Option<Scope>) -> Parsed<Item<'t>> {
        let name = self.name()?;
        let next = matches!(
            &*name,
            "tx_isolation" | "transaction_isolation" | "tx_read_only" | "transaction_read_only"
        );
        let scope = scope.unwrap_or(if next { Scope::Next } else { Scope::Session });
        self.assignment(scope, name.as_bytes())
    }

    fn word_item(&mut self) -> Parsed<Item<'t>> {
        if let Some(scope) = self.scope_word() {
            self.advance();
            if self.take_word("transaction") {
                return self.transaction(scope);
            }
            self.latest = scope;
            let name = self.name()?;
            return self.assignment(scope, name.as_bytes());
        }
        let Token::Word(span, ..) = self.token else {
            let name = self.name()?;
            return self.assignment(self.latest, name.as_bytes());
        };
        let word = span.of(self.text).to_ascii_lowercase();
        self.advance();
        // Any of these may also be a variable's name: `names = …` is refused by servers, `password` is not.
        let assigned = matches!(self.token, Token::Assign | Token::Punct(b'=' | b'.'));
        match &*word {
            // MariaDB takes more behind a comma; MySQL has lists of roles here.
            b"password" => self.expression().map(|_| Item::Password),
            b"default" if self.is_kw(Kw::Role) && self.mode.flavor == Flavor::MariaDb => {
                self.expression().map(|_| Item::DefaultRole)
            }
            b"resource" if self.is_word("group") => self.rest_is(Item::ResourceGroup),
            b"default" if self.is_kw(Kw::Role) => self.rest_is(Item::DefaultRole),
            b"role" if !assigned => Ok(Item::Role(self.expression()?)),
            b"names" if !assigned => self.names(),
            b"charset" if !assigned => self.character_set(),
            b"character" if self.is_kw(Kw::Set) => {
                self.advance();
                self.character_set()
            }
            b"transaction" if !assigned => self.transaction(Scope::Next),
            _ => {
                let name = self.rest_of_name(&word)?;
                self.assignment(self.latest, name.as_bytes())
            }
        }
    }

    fn rest_is(&mut self, item: Item<'t>) -> Parsed<Item<'t>> {
        while !matches!(self.token, Token::End | Token::Punct(b';')) {
            self.advance();
        }
        Ok(item)
    }

    fn name(&mut self) -> Parsed<String> {
        let (Token::Word(span, ..) | Token::Quoted(span)) = self.token else {
            return self.syntax();
        };
        self.advance();
        let first = unquoted(span.of(self.text), self.mode).into_owned();
        self.rest_of_name(&first)
    }

    fn rest_of_name(&mut self, first: &[u8]) -> Parsed<String> {
        let mut name = lower(first);
        if self.take_mark(b'.') {
            let (Token::Word(span, ..) | Token::Quoted(span)) = self.token else {
                return self.syntax();
            };
            self.advance();
            name.push('.');
            name.push_str(&lower(&unquoted(span.of(self.text), self.mode)));
        }
        Ok(name)
    }

    fn assignment(&mut self, scope: Scope, name: &[u8]) -> Parsed<Item<'t>> {
        if self.token != Token::Assign && self.token != Token::Punct(b'=') {
            return self.syntax();
        }
        self.advance();
        let value = match self.value()? {
            // What else stands alone is worked out, as SYSDATE is in Oracle's dialect.
            Value::Literal(word) if scope == Scope::User && !is_constant(word) => {
                Value::Expression(word)
            }
            value => value,
        };
        Ok(Item::Assignment(Assignment { scope, name: Cow::Owned(lower(name)), value }))
    }

    fn value(&mut self) -> Parsed<Value<'t>> {
        let first = self.token;
        let is_default = self.is_word("default");
        let from = self.start;
        let expression = self.expression()?;
        let mut rest = Lexer::new(expression, self.mode);
        let first_again = rest.next();
        let signed = matches!(first_again, Token::Punct(b'-' | b'+'));
        let literal = match first {
            Token::Text(_) | Token::Number(_) => true,
            Token::Word(..) => rest_is_bare(self.text, from),
            Token::Punct(b'-' | b'+') => matches!(rest.next(), Token::Number(_)),
            _ => false,
        };
        let single =
            finishes_number(&mut rest, if signed { Token::Number(Span::default()) } else { first });
        Ok(match (is_default && single, literal && single) {
            (true, _) => Value::Default,
            (_, true) => Value::Literal(expression),
            _ => Value::Expression(expression),
        })
    }

    /// The text up to the next comma or semicolon outside parentheses.
    fn expression(&mut self) -> Parsed<&'t [u8]> {
        let start = self.start;
        let mut end = start;
        let mut depth = 0_usize;
        loop {
            match self.token {
                Token::End | Token::Punct(b';') => break,
                Token::Punct(b',') if depth == 0 => break,
                Token::Punct(b'(') => depth += 1,
                Token::Punct(b')') => {
                    depth = depth.checked_sub(1).ok_or(SetRefused::Syntax { at: self.start })?;
                }
                _ => {}
            }
            end = self.lexer.position();
            self.advance();
        }
        let version_comment = self.lexer.effects.contains(Effects::VERSION_COMMENT);
        match self.text.get(start..end) {
            _ if version_comment => Err(SetRefused::Doubtful { at: start }),
            Some(text) if !text.is_empty() && depth == 0 => Ok(text),
            _ => self.syntax(),
        }
    }

    fn names(&mut self) -> Parsed<Item<'t>> {
        let charset = self.charset_name()?;
        let mut collation = None;
        if self.take_word("collate") {
            collation = self.charset_name()?;
        }
        Ok(Item::Names { charset, collation })
    }

    fn character_set(&mut self) -> Parsed<Item<'t>> {
        Ok(Item::CharacterSet(self.charset_name()?))
    }

    /// A charset or collation; `None` is DEFAULT. Only the plain alphabet of such names is let through.
    fn charset_name(&mut self) -> Parsed<Option<Cow<'t, [u8]>>> {
        if self.take_word("default") {
            return Ok(None);
        }
        let (Token::Word(span, ..) | Token::Text(span) | Token::Quoted(span)) = self.token else {
            return self.syntax();
        };
        let name = unquoted(span.of(self.text), self.mode);
        if name.is_empty() || !name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
        {
            return self.syntax();
        }
        self.advance();
        Ok(Some(name))
    }

    fn transaction(&mut self, scope: Scope) -> Parsed<Item<'t>> {
        let (mut isolation, mut read_only) = (None, None);
        loop {
            if self.take_word("isolation") {
                if !self.take_word("level") || isolation.is_some() {
                    return self.syntax();
                }
                isolation = Some(self.isolation()?);
            } else if self.take_word("read") && read_only.is_none() {
                read_only = Some(match () {
                    () if self.take_word("only") => true,
                    () if self.take_word("write") => false,
                    () => return self.syntax(),
                });
            } else {
                return self.syntax();
            }
            if !self.take_mark(b',') {
                return Ok(Item::Transaction { scope, isolation, read_only });
            }
        }
    }

    fn isolation(&mut self) -> Parsed<Isolation> {
        let words: [(&str, &str, Isolation); 3] = [
            ("read", "committed", Isolation::ReadCommitted),
            ("read", "uncommitted", Isolation::ReadUncommitted),
            ("repeatable", "read", Isolation::RepeatableRead),
        ];
        if self.take_word("serializable") {
            return Ok(Isolation::Serializable);
        }
        let first = self.token;
        self.advance();
        let first_is = |word: &str| matches!(first, Token::Word(span, ..) if span.of(self.text).eq_ignore_ascii_case(word.as_bytes()));
        let found = words
            .iter()
            .find(|(one, two, _)| first_is(one) && self.is_word(two))
            .map(|found| found.2);
        match found {
            Some(isolation) => {
                self.advance();
                Ok(isolation)
            }
            None => self.syntax(),
        }
    }
}

fn lower(name: &[u8]) -> String {
    String::from_utf8_lossy(name).to_lowercase()
}

/// Where a token that ends at `end` starts.
fn token_start(token: Token, end: usize) -> usize {
    let from = |span: Span| usize::try_from(span.start).unwrap_or(end);
    match token {
        Token::Word(span, ..) | Token::Quoted(span) | Token::Text(span) | Token::Number(span) => {
            from(span)
        }
        Token::Variable(span) => from(span).saturating_sub(1),
        Token::SystemVariable | Token::Assign => end.saturating_sub(2),
        Token::Punct(_) | Token::Placeholder => end.saturating_sub(1),
        Token::End => end,
    }
}

/// A word that is a value by itself: not a function, a column, or a charset introducer.
fn rest_is_bare(text: &[u8], from: usize) -> bool {
    let rest = text.get(from..).unwrap_or_default();
    let length = rest
        .iter()
        .take_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$'))
        .count();
    let word = rest.get(..length).unwrap_or_default();
    let computed: [&[u8]; 10] = [
        b"current_timestamp",
        b"current_user",
        b"current_date",
        b"current_time",
        b"current_role",
        b"localtime",
        b"localtimestamp",
        b"utc_date",
        b"utc_time",
        b"utc_timestamp",
    ];
    length > 0
        && !word.starts_with(b"_")
        && !computed.iter().any(|known| known.eq_ignore_ascii_case(word))
}

/// A literal that is no word, or one of the few words that are values.
fn is_constant(literal: &[u8]) -> bool {
    let words: [&[u8]; 3] = [b"FALSE", b"NULL", b"TRUE"];
    let is_word = literal.first().is_some_and(|byte| is_name(*byte) && !is_digit(*byte));
    !is_word || words.iter().any(|word| word.eq_ignore_ascii_case(literal))
}

/// Whether nothing follows the literal just read but the rest of a decimal number.
fn finishes_number(rest: &mut Lexer<'_>, first: Token) -> bool {
    let is_number = matches!(first, Token::Number(_));
    loop {
        match rest.next() {
            Token::End => return true,
            Token::Punct(b'.') | Token::Number(_) if is_number => {}
            _ => return false,
        }
    }
}
