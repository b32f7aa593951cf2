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
    let text: [(&str, fn(&Session) -> SqlValue); 8] = [
        ("connection_id", |s| {
            SqlValue::Integer(s.caller.connection.into())
        }),
        ("current_user", |s| SqlValue::Text(s.caller.user.clone())),
        ("database", |_| SqlValue::Text(super::engine::SCHEMA.into())),
        ("schema", |_| SqlValue::Text(super::engine::SCHEMA.into())),
        ("session_user", |s| SqlValue::Text(s.caller.user.clone())),
        ("system_user", |s| SqlValue::Text(s.caller.user.clone())),
        ("user", |s| SqlValue::Text(s.caller.user.clone())),
        ("version", |s| SqlValue::Text(s.version.clone())),
    ];
    for (name, value) in text {
        let session = Arc::clone(session);
        connection.create_scalar_function(name, 0, FunctionFlags::SQLITE_UTF8, move |_| {
            Ok(value(&session.lock()))
        })?;
    }
    let session = Arc::clone(session);
    let flags = FunctionFlags::SQLITE_UTF8;
    connection.create_scalar_function(variables::FUNCTION, 1, flags, move |context| {
        let name: String = context.get(0)?;
        Ok(variables::value(&name, &session.lock().version))
    })
}
