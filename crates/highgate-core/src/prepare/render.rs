//! Steps and the texts of their statements.

use std::{collections::BTreeMap, sync::Arc};

use highgate_mysql::sql::{Flavor, LexMode, quote_identifier, quote_string};

use super::{CausalNeed, CausalWait, Step, Unfit};
use crate::{
    state::{
        Charset, ConnState, ConnectionCharset, Dialect, Profile, SessionState, Statement, VarValue,
    },
    track::{DEFAULT_IS_OFF, LISTS_OF_CHANGES},
};

/// Variables to be undone beyond which a reset is cheaper than a long SET.
// One round trip each; a reset also drops the prepared statements, so it should be rare.
const FAR: usize = 8;

const SQL_MODE: &str = "sql_mode";

type Variables = BTreeMap<Box<str>, VarValue>;

/// Whether a reset is the shorter way.
pub(super) fn is_far(from: &Arc<Profile>, to: &Arc<Profile>) -> bool {
    from.variables.len() + from.user_variables.len() > FAR
        && !Arc::ptr_eq(from, to)
        && foreign(&from.variables, &to.variables) > FAR
}

fn foreign(from: &Variables, to: &Variables) -> usize {
    from.keys().filter(|name| !to.contains_key(*name)).count()
}

/// Steps from one profile to another.
pub(super) fn profile(
    conn: &ConnState,
    from: &Arc<Profile>,
    to: &Arc<Profile>,
    steps: &mut Vec<Step>,
) -> Result<(), Unfit> {
    if from == to && !conn.wants_schema() {
        return Ok(());
    }
    let goes_back =
        foreign(&from.variables, &to.variables) > 0 || changed_lists(from, to).count() > 0;
    if !conn.default_is_login && goes_back {
        return Err(Unfit::Defaults);
    }
    if to.schema.is_none() && (from.schema.is_some() || conn.schema_unknown) {
        return Err(Unfit::Schema);
    }
    let moves = from.schema != to.schema || conn.wants_schema();
    let from = &without_changes(conn, from, to, steps);
    let mut charset = Vec::new();
    set_charset(&mut charset, conn.dialect(), &from.charset, &to.charset)?;
    let mut variables = Vec::new();
    let anew = !charset.is_empty();
    set_variables(&mut variables, conn, from, to, anew);
    // A statement is read in the charset in force before it, and its strings get that one's collation: they
    // come after the change.
    let has_strings = !variables.is_ascii() || to.user_variables.values().any(is_string);
    let split = anew && has_strings;
    let held = |charset: &Charset, whole: bool| -> Arc<Profile> {
        if whole && !moves {
            return Arc::clone(to);
        }
        let rest = if whole { to } else { from };
        Arc::new(Profile {
            schema: from.schema.clone(),
            charset: charset.clone(),
            ..Profile::clone(rest)
        })
    };
    if split {
        steps.push(Step::Set { text: statement_of(charset), becomes: held(&to.charset, false) });
        charset = Vec::new();
    }
    charset.extend_from_slice(&variables);
    if !charset.is_empty() {
        steps.push(Step::Set { text: statement_of(charset), becomes: held(&to.charset, true) });
    }
    if let (true, Some(schema)) = (moves, &to.schema) {
        steps.push(Step::InitDb { schema: schema.clone(), becomes: Arc::clone(to) });
    }
    Ok(())
}

/// Lists of changes are as by default before others are made: servers read all values of a SET before they
/// change any, so that one can't hold both. Gives what holds then.
fn without_changes(
    conn: &ConnState,
    from: &Arc<Profile>,
    to: &Profile,
    steps: &mut Vec<Step>,
) -> Arc<Profile> {
    if changed_lists(from, to).next().is_none() {
        return Arc::clone(from);
    }
    let mut base = Profile::clone(from);
    let mut text = Vec::new();
    for name in changed_lists(from, to) {
        assign(&mut text, name_on(conn.flavor, name), b"DEFAULT");
        base.variables.remove(name);
    }
    let base = Arc::new(base);
    steps.push(Step::Set { text: statement_of(text), becomes: Arc::clone(&base) });
    base
}

/// Lists of changes that both have, and not the same.
fn changed_lists(from: &Profile, to: &Profile) -> impl Iterator<Item = &'static str> {
    LISTS_OF_CHANGES.into_iter().filter(|name| {
        let (old, new) = (from.variable(name), to.variable(name));
        old.is_some() && new.is_some() && old != new
    })
}

/// `SET` and the assignments, which all start with a comma.
fn statement_of(mut assignments: Vec<u8>) -> Vec<u8> {
    assignments.splice(..1, *b"SET ");
    assignments
}

fn assign(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.push(b',');
    out.extend_from_slice(name.as_bytes());
    out.push(b'=');
    out.extend_from_slice(value);
}

fn set_charset(
    out: &mut Vec<u8>,
    dialect: Dialect,
    from: &Charset,
    to: &Charset,
) -> Result<(), Unfit> {
    if from == to {
        return Ok(());
    }
    let there = to.spelt(dialect).ok_or(Unfit::Charset)?;
    if from.spelt(dialect).as_ref() == Some(&there) {
        return Ok(());
    }
    let Charset::Set { client, results, described, connection } = &there else {
        return Err(Unfit::Charset);
    };
    let described = described.as_ref().filter(|_| dialect.flavor.is_kin());
    let is_named = |charset: &VarValue| *charset != VarValue::Default && client == charset;
    if dialect.maps_collations()
        && client == results
        && matches!(connection, ConnectionCharset::Charset(charset) if is_named(charset))
    {
        // The one form of which all of its manuals say that it follows `character_set_collations`.
        out.extend_from_slice(b",NAMES ");
        out.extend_from_slice(client.as_bytes());
        return Ok(());
    }
    if let Some(collation) = described {
        for part in [&b",NAMES "[..], results.as_bytes(), b" COLLATE ", collation.as_bytes()] {
            out.extend_from_slice(part);
        }
    }
    if described.is_none() || client != results {
        assign(out, "character_set_client", client.as_bytes());
    }
    if described.is_none() {
        assign(out, "character_set_results", results.as_bytes());
    }
    match connection {
        ConnectionCharset::Collation(collation) if Some(collation) == described => {}
        ConnectionCharset::Charset(charset) => {
            assign(out, "character_set_connection", charset.as_bytes());
            if *charset == VarValue::Default {
                assign(out, "collation_connection", b"DEFAULT");
            }
        }
        ConnectionCharset::Collation(collation) => {
            assign(out, "collation_connection", collation.as_bytes());
        }
    }
    Ok(())
}

/// The name a server knows a variable by.
///
/// Quirk: MariaDB has the `transaction_` names from 11.1 on only, and keeps the old ones; MySQL 8 has only the new.
fn name_on(flavor: Flavor, name: &str) -> &str {
    match (flavor, name) {
        (Flavor::MariaDb, "transaction_isolation") => "tx_isolation",
        (Flavor::MariaDb, "transaction_read_only") => "tx_read_only",
        _ => name,
    }
}

/// Whether it is a string, which has the collation of the session as it is set. (What has an introducer
/// brings its own charset along.)
fn is_string(value: &VarValue) -> bool {
    let bytes = value.as_bytes();
    bytes.first() != Some(&b'_') && bytes.iter().any(|byte| matches!(byte, b'\'' | b'"'))
}

/// `anew`: the charset changes, and what has its collation is another value then, though it reads alike.
fn set_variables(out: &mut Vec<u8>, conn: &ConnState, from: &Profile, to: &Profile, anew: bool) {
    const LAST: &str = SQL_MODE;
    let flavor = conn.flavor;
    let mut put = |name: &str| match (from.variables.get(name), to.variables.get(name)) {
        (Some(_), None) if name == LAST && conn.ignores_space => {
            assign(out, LAST, b"CONCAT(@@global.sql_mode,',IGNORE_SPACE')");
        }
        (Some(_), None) if DEFAULT_IS_OFF.contains(&name) => {
            assign(out, name, format!("@@global.{name}").as_bytes());
        }
        (Some(_), None) => assign(out, name_on(flavor, name), b"DEFAULT"),
        (old, Some(new)) if old != Some(new) => assign(out, name_on(flavor, name), new.as_bytes()),
        _ => {}
    };
    for name in from.variables.keys().filter(|name| !to.variables.contains_key(*name)) {
        if **name != *LAST {
            put(name);
        }
    }
    to.variables.keys().filter(|name| ***name != *LAST).for_each(|name| put(name));
    put(LAST);
    let mut put_user = |name: &str, value: &[u8]| {
        out.extend_from_slice(b",@");
        quote_identifier(out, name.as_bytes());
        out.push(b'=');
        out.extend_from_slice(value);
    };
    for name in from.user_variables.keys().filter(|name| !to.user_variables.contains_key(*name)) {
        // NULL alone would leave it the type and collation of what it was. (On MySQL one that was never set
        // takes the collation of what it meets, as one does that was a number. But a session that then sets it
        // to NULL itself would have that, where directly it has a binary one: the likelier of the two.)
        put_user(name, b"_binary''");
        put_user(name, b"NULL");
    }
    for (name, value) in &to.user_variables {
        let there = from.user_variables.get(name);
        if there != Some(value) || anew && is_string(value) {
            let keeps = flavor.is_kin();
            if keeps && there.is_some() && value.is_null() {
                // Quirk: their NULL keeps the type and the collation of the value before it.
                put_user(name, b"_binary''");
            }
            put_user(name, value.as_bytes());
        }
    }
}

/// How a statement is prepared for a session whose schema was dropped since: what has full names does without
/// one, and a connection that had chosen that of the statement could not leave it again.
pub(super) fn without_schema(now: &Profile, statement: &Statement) -> Option<Arc<Profile>> {
    if now.schema.is_some() || statement.under.schema.is_none() {
        return None;
    }
    Some(Arc::new(Profile { schema: None, ..Profile::clone(&statement.under) }))
}

/// Steps that prepare a statement of the session on the connection.
pub(super) fn statement(
    state: &SessionState,
    conn: &ConnState,
    (id, statement): (u32, &Statement),
    steps: &mut Vec<Step>,
) -> Result<(), Unfit> {
    if conn.statement(id, &statement.text, &statement.under).is_some()
        && !steps.contains(&Step::ResetConnection)
    {
        return Ok(());
    }
    let bare = without_schema(&state.profile, statement);
    let as_there = bare.as_ref().unwrap_or(&statement.under);
    if bare.is_some()
        && conn.statement(id, &statement.text, as_there).is_some()
        && !steps.contains(&Step::ResetConnection)
    {
        return Ok(());
    }
    let prepare = Step::Prepare { text: Arc::clone(&statement.text), under: Arc::clone(as_there) };
    if as_there.prepares_alike(&state.profile) {
        steps.push(prepare);
        return Ok(());
    }
    // Only what a preparation depends on: a variable may not be touched within a transaction.
    let mut under = Profile::clone(&state.profile);
    under.schema.clone_from(&as_there.schema);
    under.charset.clone_from(&as_there.charset);
    under.prepare_as(as_there);
    let mut under = Arc::new(under);
    if under.schema.is_none() && state.profile.schema.is_some() {
        // Prepared without a schema, all its names have one: any schema will do.
        Arc::make_mut(&mut under).schema.clone_from(&state.profile.schema);
    }
    // The schema is known once the steps before these were carried out.
    let known = ConnState { schema_unknown: false, collation_lost: false, ..conn.clone() };
    profile(&known, &state.profile, &under, steps)?;
    steps.push(prepare);
    profile(&known, &under, &state.profile, steps)
}

/// The wait for a position; `None` where the server can't.
pub(super) fn causal(need: &CausalNeed<'_>, flavor: Flavor) -> Option<Step> {
    let function = match (need.wait, flavor) {
        (CausalWait::MasterGtidWait, Flavor::MariaDb) => "MASTER_GTID_WAIT",
        (CausalWait::WaitForExecutedGtidSet, Flavor::MySql) => "WAIT_FOR_EXECUTED_GTID_SET",
        (CausalWait::WsrepSyncWait, Flavor::MariaDb) => {
            let text = b"SET STATEMENT wsrep_sync_wait=1 FOR SELECT 1 LIMIT 1".to_vec();
            return Some(Step::CausalWait { text, expect: b"1" });
        }
        _ => return None,
    };
    let mut text = format!("SELECT {function}(").into_bytes();
    quote_string(&mut text, need.position.as_bytes(), LexMode::default());
    let (seconds, millis) = (need.timeout_ms / 1000, need.timeout_ms % 1000);
    text.extend_from_slice(format!(",{seconds}.{millis:03}) LIMIT 1").as_bytes());
    Some(Step::CausalWait { text, expect: b"0" })
}
