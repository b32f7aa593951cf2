//! `SET`, once the server accepted it.

use highgate_mysql::{
    reply::{StateChange, StateChanges},
    sql::{
        self, Effects, Flavor, LexMode,
        set_statement::{Assignment, Isolation, Item, Scope, Value, parse},
    },
};

use super::CommandFacts;
use crate::{
    pins::PinCause,
    settle::Outcome,
    state::{Charset, ConnState, ConnectionCharset, Dialect, LastInsertId, SessionState, VarValue},
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
                transaction(state, (*scope, *isolation, *read_only), conn.dialect());
            }
        }
    }
}

/// Charsets that one of several statements sets in a way that the server does not tell whole: it reports the
/// charsets of `SET NAMES x COLLATE y` and of `SET CHARACTER SET x`, and no collation. They are read from the text,
/// all of them, in its order, as from the charset `before`.
pub(super) fn several(
    state: &mut SessionState,
    conn: &ConnState,
    facts: &CommandFacts<'_>,
    before: &Charset,
) {
    let Some(text) = facts.text else { return };
    let names = |word: &[u8]| text.windows(word.len()).any(|w| w.eq_ignore_ascii_case(word));
    if !names(b"COLLATE") && !names(b"CHARACTER") && !names(b"CHARSET") {
        return;
    }
    let statements =
        || sql::statements(text, facts.mode).filter_map(|it| parse(it, facts.mode).ok());
    let is_untold = |item: &Item<'_>| {
        matches!(item, Item::CharacterSet(_) | Item::Names { collation: Some(_), .. })
    };
    if !statements().any(|set| set.items.iter().any(is_untold)) {
        return;
    }
    // A routine or a block may have set another between them, and a schema is chosen by its own statement.
    let is_unsure = Effects::CAN_CHANGE_SESSION | Effects::DOUBTFUL;
    if facts.shape.effects.intersects(is_unsure) {
        return state.pins.insert(PinCause::UnreplayableSet);
    }
    put_charset(state, before.clone());
    for item in statements().flat_map(|set| set.items) {
        match item {
            Item::CharacterSet(charset) => character_set(state, charset.as_deref(), facts.mode),
            Item::Names { charset, collation } => {
                self::names(state, charset.as_deref(), collation.as_deref(), facts.mode);
            }
            Item::Assignment(it) if it.scope == Scope::Session && is_charset(&it.name) => {
                let value = match it.value {
                    Value::Default => Some(VarValue::Default),
                    Value::Literal(text) => normal(text, facts.mode),
                    Value::Expression(_) => None,
                };
                match value {
                    Some(value) => charset_variable(state, &it.name, value, conn.dialect()),
                    None => state.pins.insert(PinCause::UnreplayableSet),
                }
            }
            _ => {}
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
pub(super) fn learn(state: &mut SessionState, name: &[u8], value: &[u8], dialect: Dialect) {
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
    variable(state, &name, literal, dialect);
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
    let before = state.profile.variable(name).map(VarValue::as_bytes);
    let value = match (before, &value) {
        (Some(before), VarValue::Text(after)) if LISTS_OF_CHANGES.contains(&name) => {
            changed_list(before, after)
        }
        _ => Some(value),
    };
    match value {
        Some(value) => variable(state, name, value, conn.dialect()),
        None => state.pins.insert(PinCause::UnreplayableSet),
    }
}

/// Variables of which a value says what changes, and leaves the rest as it was.
pub(crate) const LISTS_OF_CHANGES: [&str; 3] =
    ["optimizer_switch", "optimizer_trace", "optimizer_trace_features"];

/// The changes of one value, and those of a later one: none is named twice, which servers refuse. `None` where
/// the one before is no list.
fn changed_list(before: &[u8], after: &[u8]) -> Option<VarValue> {
    fn parts(text: &[u8]) -> Option<Vec<&[u8]>> {
        let list = text.strip_prefix(b"'")?.strip_suffix(b"'")?;
        let parts = list.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        Some(parts.filter(|part| !part.is_empty()).collect())
    }
    fn name(part: &[u8]) -> &[u8] {
        part.split(|byte| *byte == b'=').next().unwrap_or_default().trim_ascii()
    }
    // A number is a whole value, and `default` alone sets all that is not named beside it.
    let Some(later) = parts(after) else { return Some(VarValue::text(after)) };
    if later.iter().any(|part| part.eq_ignore_ascii_case(b"default")) {
        return Some(VarValue::text(after));
    }
    let is_named = |part: &[u8]| later.iter().any(|it| name(it).eq_ignore_ascii_case(name(part)));
    let mut all = parts(before)?;
    all.retain(|part| !is_named(part));
    all.extend(&later);
    Some(VarValue::Text([b"'", all.join(&b',').as_slice(), b"'"].concat().into()))
}

fn is_off(value: &VarValue) -> bool {
    let text = value.as_bytes();
    [&b"0"[..], b"OFF", b"FALSE", b"'OFF'", b"'0'"].iter().any(|off| text.eq_ignore_ascii_case(off))
}

fn variable(state: &mut SessionState, name: &str, value: VarValue, dialect: Dialect) {
    let name = one_name(name);
    if name == "max_join_size" {
        follow_join_size(state, &value);
    }
    if is_charset(name) {
        return charset_variable(state, name, value, dialect);
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

/// Of names for one variable the one that all servers know. Kept under both, each would be set again, in
/// another order than the session did.
fn one_name(name: &str) -> &str {
    match name {
        "log_slow_min_examined_row_limit" => "min_examined_row_limit",
        "log_slow_query" => "slow_query_log",
        "log_slow_query_time" => "long_query_time",
        "sql_low_priority_updates" => "low_priority_updates",
        "storage_engine" => "default_storage_engine",
        "tmp_memory_table_size" => "tmp_table_size",
        "tx_isolation" => ISOLATION,
        "tx_read_only" => READ_ONLY,
        name => name,
    }
}

/// Quirk: servers set `sql_big_selects` with `max_join_size`: on for the largest value, off for others.
fn follow_join_size(state: &mut SessionState, value: &VarValue) {
    const BIG_SELECTS: &str = "sql_big_selects";
    let is_largest = |text: &[u8]| text == u64::MAX.to_string().as_bytes();
    let big: &[u8] = match value {
        VarValue::Text(text) if !is_largest(text) => b"0",
        VarValue::Default if state.profile.variable(BIG_SELECTS).is_none() => return,
        VarValue::Default => {
            state.profile_mut().variables.remove(BIG_SELECTS);
            return;
        }
        VarValue::Text(_) => b"1",
    };
    state.profile_mut().variables.insert(BIG_SELECTS.into(), VarValue::text(big));
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
    (scope, isolation, read_only): (Scope, Option<Isolation>, Option<bool>),
    dialect: Dialect,
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
            session_transaction(state, level, read_only, dialect);
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
fn session_transaction(
    state: &mut SessionState,
    level: Option<&str>,
    read_only: Option<bool>,
    dialect: Dialect,
) {
    if let Some(level) = level {
        let literal = format!("'{}'", level.replace(' ', "-"));
        variable(state, ISOLATION, VarValue::text(literal.as_bytes()), dialect);
    }
    if let Some(read_only) = read_only {
        let value = VarValue::text(if read_only { b"1" } else { b"0" });
        variable(state, READ_ONLY, value, dialect);
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

/// `dialect`: of the server that took it, which may have taken its own defaults for the login's collation.
fn charset_variable(state: &mut SessionState, name: &str, value: VarValue, dialect: Dialect) {
    let Some(Charset::Set { mut client, mut results, mut described, mut connection }) =
        state.profile.charset.spelt(dialect)
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
