//! The few MySQL functions that clients call without being asked to.

use std::sync::Arc;

use parking_lot::Mutex;
use rusqlite::{Connection, functions::FunctionFlags, types::Value as SqlValue};

use super::{engine::Caller, variables};

/// Who runs the current statement, and what the program calls itself.
pub(super) struct Session {
    pub(super) caller: Caller,
    pub(super) version: String,
}

/// Adds the functions; `session` is filled in before each statement.
pub(super) fn register(
    connection: &Connection,
    session: &Arc<Mutex<Session>>,
) -> rusqlite::Result<()> {
    let add = |name: &'static str, value: fn(&Session) -> SqlValue| {
        let session = Arc::clone(session);
        let flags = FunctionFlags::SQLITE_UTF8;
        connection.create_scalar_function(name, 0, flags, move |_| Ok(value(&session.lock())))
    };
    add("connection_id", |session| SqlValue::Integer(session.caller.connection.into()))?;
    add("version", |session| SqlValue::Text(session.version.clone()))?;
    for name in ["database", "schema"] {
        add(name, |_| SqlValue::Text(super::engine::SCHEMA.into()))?;
    }
    for name in ["current_user", "session_user", "system_user", "user"] {
        add(name, |session| SqlValue::Text(session.caller.user.clone()))?;
    }
    let session = Arc::clone(session);
    let flags = FunctionFlags::SQLITE_UTF8;
    connection.create_scalar_function(variables::FUNCTION, 1, flags, move |context| {
        let name: String = context.get(0)?;
        Ok(variables::value(&name, &session.lock().version))
    })
}
