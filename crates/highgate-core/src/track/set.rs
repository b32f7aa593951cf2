//! `SET`, once the server accepted it.

use highgate_mysql::{
    reply::{StateChange, StateChanges},
    sql::{
        Flavor, LexMode,
        set_statement::{Assignment, Isolation, Item, Scope, Value, parse},
    },
};

use super::CommandFacts;
use crate::{
    pins::PinCause,
    settle::Outcome,
    state::{Charset, ConnState, ConnectionCharset, LastInsertId, SessionState, VarValue},
};

/// Records an accepted `SET`.
pub(super) fn apply(
    state: &mut SessionState,
    conn: &mut ConnState,
    facts: &CommandFacts<'_>,
    outcome: &Outcome<'_>,
) {
    let Some(set) = facts.text.and_then(|text| parse(text, facts.mode).ok()) else {
        state.pins.insert(PinCause::UnreplayableSet);
        return;
    };
    if mixes(&set.items) {
        state.pins.insert(PinCause::UserVariables);
    }
    for item in &set.items {
        match item {
            Item::Assignment(assignment) => assigned(state, conn, assignment, facts, outcome),
            Item::CharacterSet(charset) => character_set(state, charset.as_deref(), facts.mode),
            Item::Names { charset, collation } => {
                names(state, charset.as_deref(), collation.as_deref(), facts.mode);
            }
            Item::Password | Item::DefaultRole => {}
            Item::ResourceGroup | Item::Role(_) => state.pins.insert(PinCause::Role),
            Item::Transaction { scope, isolation, read_only } => {
                transaction(state, *scope, *isolation, *read_only);
            }
        }
    }
}

/// Whether it changes the charset and gives a variable a string, which is read in the one before.
fn mixes(items: &[Item<'_>]) -> bool {
    let charset = |item: &Item<'_>| match item {
        Item::CharacterSet(_) | Item::Names { .. } => true,
        Item::Assignment(it) => it.scope == Scope::Session && is_charset(&it.name),
        _ => false,
    };
    let user = |item: &Item<'_>| matches!(item, Item::Assignment(it) if it.scope == Scope::User);
    items.iter().any(charset) && items.iter().any(user)
}

/// Whether all that a `SET` does can be repeated on any connection: it can't bind the session.
pub(super) fn is_replayable(state: &SessionState, text: &[u8], mode: LexMode) -> bool {
    let Ok(set) = parse(text, mode) else { return false };
    let user = |item: &Item<'_>| matches!(item, Item::Assignment(it) if it.scope == Scope::User);
    let has_users = set.items.iter().any(user) || !state.profile.user_variables.is_empty();
    let has_room = state.profile.user_variables.len() + set.items.len() < MAX_USER_VARIABLES;
    set.items.iter().all(|item| match item {
        Item::Assignment(assignment) => match (assignment.scope, assignment.value) {
            (Scope::User, Value::Literal(text)) => {
                has_room && normal(text, mode).is_some_and(|literal| literal.as_bytes().is_ascii())
            }
            (Scope::Session, Value::Literal(_) | Value::Default) => {
                let name = assignment.name.as_ref();
                let is_read = match assignment.value {
                    Value::Literal(text) => normal(text, mode).is_some(),
                    _ => true,
                };
                is_read && !is_fleeting(name) && !(has_users && is_charset(name))
            }
            _ => false,
        },
        Item::Names { .. } => !has_users && !mode.unsafe_charset,
        Item::Transaction { scope: Scope::Session, .. } => true,
        // What holds for the next transaction binds to its connection, and that one may write.
        _ => false,
    })
}

/// Whether all that a `SET` says is what holds for the next transaction, in a way that can be said again.
pub(super) fn is_of_next_transaction(text: &[u8], mode: LexMode) -> bool {
    let Ok(set) = parse(text, mode) else { return false };
    set.items.iter().all(|item| match item {
        Item::Assignment(it) if it.scope == Scope::Next => {
            matches!(it.value, Value::Literal(text) if normal(text, mode).is_some())
        }
        Item::Transaction { scope, .. } => *scope == Scope::Next,
        _ => false,
    })
}

/// Records a value that the server reported.
pub(super) fn learn(state: &mut SessionState, name: &[u8], value: &[u8]) {
    let Ok(name) = std::str::from_utf8(name) else {
        state.pins.insert(PinCause::SessionUnknown);
        return;
    };
    // Looked at as it is: MySQL has one of them in each answer.
    if TELLS_NOTHING.iter().any(|nothing| name.eq_ignore_ascii_case(nothing)) {
        return;
    }
    let name = name.to_ascii_lowercase();
    // NULL is reported as nothing.
    let value = if name == "character_set_results" && value.is_empty() { b"NULL" } else { value };
    let literal = if value == b"NULL" { Some(VarValue::text(value)) } else { literal_of(value) };
    let literal = literal.filter(|_| !is_fleeting(&name) && !is_no_value(&name));
    let Some(literal) = literal else {
        state.pins.insert(PinCause::UnreplayableSet);
        return;
    };
    if name == "autocommit" && value.eq_ignore_ascii_case(b"ON") != state.autocommit {
        state.autocommit = value.eq_ignore_ascii_case(b"ON");
    }
    variable(state, &name, literal);
}

/// Variables whose reported value is not what a `SET` of it would bring about.
///
/// Quirk: MySQL 9.7 reports the old value of a timestamp that goes back to DEFAULT, which stands for the clock.
fn is_no_value(name: &str) -> bool {
    matches!(name, "identity" | "last_insert_id" | "timestamp")
}

fn assigned(
    state: &mut SessionState,
    conn: &mut ConnState,
    assignment: &Assignment<'_>,
    facts: &CommandFacts<'_>,
    outcome: &Outcome<'_>,
) {
    let name = &*assignment.name;
    match assignment.scope {
        Scope::Global | Scope::Persist | Scope::PersistOnly => return,
        Scope::User => {
            return user_variable(state, (name, assignment.value), facts.mode, conn.flavor);
        }
        Scope::Next => return next(state, name, assignment.value, facts.mode),
        Scope::Session => {}
    }
    if matches!(name, "last_insert_id" | "identity") {
        return last_insert_id(state, conn, assignment.value);
    }
    if is_fleeting(name) {
        state.pins.insert(PinCause::UnreplayableSet);
        return;
    }
    let value = match assignment.value {
        Value::Default => Some(VarValue::Default),
        Value::Literal(text) => normal(text, facts.mode),
        Value::Expression(_) => {
            // Several reports of one name: the last counts.
            let reported =
                StateChanges::new(outcome.changes).flatten().filter_map(|change| match change {
                    StateChange::SystemVariable { name: reported, value }
                        if reported.eq_ignore_ascii_case(name.as_bytes()) =>
                    {
                        Some(value)
                    }
                    _ => None,
                });
            reported.last().and_then(literal_of)
        }
    };
    let Some(value) = value else {
        state.pins.insert(PinCause::UnreplayableSet);
        return;
    };
    if name == "autocommit" && !conn.trusts_status {
        state.autocommit = !is_off(&value);
    }
    variable(state, name, value);
}

fn is_off(value: &VarValue) -> bool {
    let text = value.as_bytes();
    [&b"0"[..], b"OFF", b"FALSE", b"'OFF'", b"'0'"].iter().any(|off| text.eq_ignore_ascii_case(off))
}

fn variable(state: &mut SessionState, name: &str, value: VarValue) {
    let name = match name {
        "tx_isolation" => ISOLATION,
        "tx_read_only" => READ_ONLY,
        name => name,
    };
    if is_charset(name) {
        return charset_variable(state, name, value);
    }
    let is_value = LOGIN_DERIVED.contains(&name)
        || DEFAULT_IS_OFF.contains(&name)
        || (name == "sql_mode" && state.ignores_space());
    if value == VarValue::Default && !is_value {
        if state.profile.variables.contains_key(name) {
            state.profile_mut().variables.remove(name);
        }
    } else if state.profile.variables.get(name) != Some(&value) {
        state.profile_mut().variables.insert(name.into(), value);
    }
}

/// What nobody set: MySQL counts its statements in every answer, and the other two follow the schema.
const TELLS_NOTHING: [&str; 3] = ["character_set_database", "collation_database", "statement_id"];

/// Variables that a login sets by itself, so that DEFAULT is a value of its own.
const LOGIN_DERIVED: [&str; 1] = ["wait_timeout"];

/// Variables whose DEFAULT is a value of its own.
///
/// Quirk: MySQL (5.7 to 9.7) keeps them as bits of the opposite sense: DEFAULT means OFF, whatever the global value is.
pub(crate) const DEFAULT_IS_OFF: [&str; 2] = ["foreign_key_checks", "unique_checks"];

/// Variables that act once, change by themselves or exist for one connection only.
fn is_fleeting(name: &str) -> bool {
    const FLEETING: [&str; 22] = [
        "character_set_database",
        "character_set_filesystem",
        "collation_database",
        "debug",
        "debug_dbug",
        "debug_sync",
        "error_count",
        "external_user",
        "gtid_next",
        "gtid_seq_no",
        "insert_id",
        "profiling",
        "profiling_history_size",
        "proxy_user",
        "pseudo_replica_mode",
        "pseudo_slave_mode",
        "pseudo_thread_id",
        "rand_seed1",
        "rand_seed2",
        "resultset_metadata",
        "skip_replication",
        "sql_log_bin",
    ];
    FLEETING.binary_search(&name).is_ok() || name.starts_with("session_track_")
}

fn is_charset(name: &str) -> bool {
    matches!(
        name,
        "character_set_client"
            | "character_set_connection"
            | "character_set_results"
            | "collation_connection"
    )
}

fn last_insert_id(state: &mut SessionState, conn: &mut ConnState, value: Value<'_>) {
    let id = match value {
        Value::Literal(text) => std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()),
        Value::Default | Value::Expression(_) => None,
    };
    conn.last_insert_id = id;
    state.insert_id_lost &= id.is_none();
    state.last_insert_id = id.map_or_else(|| conn.knows_insert_id(), LastInsertId::Known);
    state.pins.set(PinCause::LastInsertIdUnknown, id.is_none());
}

fn user_variable(
    state: &mut SessionState,
    (name, value): (&str, Value<'_>),
    mode: LexMode,
    flavor: Flavor,
) {
    let literal = match value {
        Value::Literal(text) => normal(text, mode),
        Value::Default | Value::Expression(_) => None,
    };
    // A string takes the connection's charset with it: only ASCII means the same in all of them.
    let Some(literal) = literal.filter(|literal| literal.as_bytes().is_ascii()) else {
        state.pins.insert(PinCause::UserVariables);
        return;
    };
    if state.profile.user_variables.len() >= MAX_USER_VARIABLES {
        state.pins.insert(PinCause::UserVariables);
    }
    let name = name.to_ascii_lowercase();
    let before = state.profile.user_variables.get(&*name);
    let literal = match before {
        Some(before) if flavor.is_kin() && literal.is_null() => before.then_null(&name),
        _ => literal,
    };
    if before != Some(&literal) {
        state.profile_mut().user_variables.insert(name.into(), literal);
    }
}

/// Beyond this replaying costs more than sharing gains.
const MAX_USER_VARIABLES: usize = 32;

fn next(state: &mut SessionState, name: &str, value: Value<'_>, mode: LexMode) {
    let literal = match value {
        Value::Literal(text) => normal(text, mode),
        Value::Default | Value::Expression(_) => None,
    };
    let text = literal.as_ref().and_then(|literal| std::str::from_utf8(literal.as_bytes()).ok());
    match text {
        Some(text) => next_transaction(state, &format!("SET @@{name}={text}")),
        None => state.pins.insert(PinCause::UnreplayableSet),
    }
}

fn transaction(
    state: &mut SessionState,
    scope: Scope,
    isolation: Option<Isolation>,
    read_only: Option<bool>,
) {
    let level = isolation.map(|isolation| match isolation {
        Isolation::ReadCommitted => "READ COMMITTED",
        Isolation::ReadUncommitted => "READ UNCOMMITTED",
        Isolation::RepeatableRead => "REPEATABLE READ",
        Isolation::Serializable => "SERIALIZABLE",
    });
    match scope {
        Scope::Global | Scope::Persist | Scope::PersistOnly | Scope::User => {}
        Scope::Session => {
            session_transaction(state, level, read_only);
        }
        Scope::Next => {
            let mut parts = Vec::new();
            parts.extend(level.map(|level| format!("ISOLATION LEVEL {level}")));
            parts.extend(
                read_only.map(|ro| String::from(if ro { "READ ONLY" } else { "READ WRITE" })),
            );
            next_transaction(state, &format!("SET TRANSACTION {}", parts.join(", ")));
        }
    }
}

/// `SET SESSION TRANSACTION` is kept under names of its own, which [`crate::prepare`] writes as variables.
fn session_transaction(state: &mut SessionState, level: Option<&str>, read_only: Option<bool>) {
    if let Some(level) = level {
        let literal = format!("'{}'", level.replace(' ', "-"));
        variable(state, ISOLATION, VarValue::text(literal.as_bytes()));
    }
    if let Some(read_only) = read_only {
        variable(state, READ_ONLY, VarValue::text(if read_only { b"1" } else { b"0" }));
    }
}

/// The names under which transaction characteristics are kept, whatever a server calls them.
const ISOLATION: &str = "transaction_isolation";
const READ_ONLY: &str = "transaction_read_only";

/// What the server reports to hold for the next transaction, or, where that has begun, held for it.
///
/// One report has all that was said for it, also by several statements of one text.
pub(super) fn characteristics(state: &mut SessionState, report: &[u8]) {
    let Ok(report) = std::str::from_utf8(report) else {
        return state.pins.insert(PinCause::SessionUnknown);
    };
    let mut parts = report.split(';').map(str::trim).filter(|part| !part.is_empty()).peekable();
    if parts.peek().is_none() {
        state.next_transaction = None;
        state.pins.remove(PinCause::NextTransaction);
        return;
    }
    let said: Option<Vec<&str>> = parts.map(|part| part.strip_prefix("SET TRANSACTION ")).collect();
    // Another one has begun: what was said for it ends with it.
    if let Some(said) = said {
        next_transaction(state, &format!("SET TRANSACTION {}", said.join(", ")));
    }
}

fn next_transaction(state: &mut SessionState, text: &str) {
    state.next_transaction = Some(text.into());
    state.pins.insert(PinCause::NextTransaction);
}

fn names(
    state: &mut SessionState,
    charset: Option<&[u8]>,
    collation: Option<&[u8]>,
    mode: LexMode,
) {
    let word = |word: &[u8]| {
        if is_word(word) { Some(VarValue::text(word)) } else { normal(word, mode) }
    };
    let charset = charset.map_or(Some(VarValue::Default), word);
    let collation = collation.map(word);
    match (charset, collation) {
        (Some(charset), None) => put_charset(state, Charset::names(charset, None)),
        (Some(charset), Some(Some(collation))) => {
            put_charset(state, Charset::names(charset, Some(collation)));
        }
        _ => state.pins.insert(PinCause::UnreplayableSet),
    }
}

/// `SET CHARACTER SET`: as SET NAMES, but with the connection charset of the schema that it was said
/// in, which is looked up anew where it is repeated.
fn character_set(state: &mut SessionState, charset: Option<&[u8]>, mode: LexMode) {
    let charset = match charset {
        None => Some(VarValue::Default),
        Some(word) if is_word(word) => Some(VarValue::text(word)),
        Some(text) => normal(text, mode),
    };
    let connection = match state.profile.schema.as_deref() {
        None => Some(b"@@global.collation_server".to_vec()),
        Some(name) => quoted(name.as_bytes()).filter(|_| name.is_ascii()).map(|name| {
            let mut text = b"(SELECT default_collation_name FROM information_schema.schemata \
                WHERE schema_name="
                .to_vec();
            text.extend_from_slice(name.as_bytes());
            text.push(b')');
            text
        }),
    };
    let (Some(charset), Some(connection)) = (charset, connection) else {
        state.pins.insert(PinCause::UnreplayableSet);
        return;
    };
    let connection = ConnectionCharset::Collation(VarValue::Text(connection.into()));
    let (client, results) = (charset.clone(), charset);
    put_charset(state, Charset::Set { client, results, described: None, connection });
}

fn put_charset(state: &mut SessionState, charset: Charset) {
    if state.profile.charset == charset {
        return;
    }
    // A string variable keeps the charset it was set under: it would be replayed under the new one.
    let strings =
        state.profile.user_variables.values().any(|value| value.as_bytes().starts_with(b"'"));
    if strings {
        state.pins.insert(PinCause::UserVariables);
    }
    state.profile_mut().charset = charset;
}

fn charset_variable(state: &mut SessionState, name: &str, value: VarValue) {
    let Some(Charset::Set { mut client, mut results, mut described, mut connection }) =
        state.profile.charset.spelt(Flavor::Unknown)
    else {
        state.pins.insert(PinCause::UnreplayableSet);
        return;
    };
    match name {
        "character_set_client" => client = value,
        "character_set_results" => (results, described) = (value, None),
        "collation_connection" => connection = ConnectionCharset::Collation(value),
        _ => connection = ConnectionCharset::Charset(value),
    }
    put_charset(state, Charset::Set { client, results, described, connection });
}

fn is_word(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
}

fn is_number(text: &[u8]) -> bool {
    let digits = text.strip_prefix(b"-").or_else(|| text.strip_prefix(b"+")).unwrap_or(text);
    !digits.is_empty()
        && digits.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.')
        && digits.iter().any(u8::is_ascii_digit)
        && digits.iter().filter(|byte| **byte == b'.').count() <= 1
}

/// A reported value as a literal.
fn literal_of(value: &[u8]) -> Option<VarValue> {
    if is_number(value) { Some(VarValue::text(value)) } else { quoted(value) }
}

/// In single quotes, in a way that reads the same under every sql_mode; `None` if there is none.
fn quoted(inside: &[u8]) -> Option<VarValue> {
    if inside.contains(&b'\\') || inside.contains(&0) {
        return None;
    }
    let mut out = vec![b'\''];
    for &byte in inside {
        if byte == b'\'' {
            out.push(byte);
        }
        out.push(byte);
    }
    out.push(b'\'');
    Some(VarValue::Text(out.into()))
}

/// A literal or bare word of a client's SET, written so that it reads the same under every sql_mode.
fn normal(text: &[u8], mode: LexMode) -> Option<VarValue> {
    let text = text.trim_ascii();
    match text {
        [quote @ (b'\'' | b'"'), inner @ .., last] if quote == last && !mode.unsafe_charset => {
            let doubled = [*quote, *quote];
            let mut plain = Vec::with_capacity(inner.len());
            let mut rest = inner;
            while let Some((&byte, tail)) = rest.split_first() {
                plain.push(byte);
                rest = if rest.starts_with(&doubled) {
                    tail.get(1..).unwrap_or_default()
                } else {
                    tail
                };
            }
            quoted(&plain)
        }
        _ if is_number(text) || is_word(text) => Some(VarValue::text(text)),
        _ => None,
    }
}
