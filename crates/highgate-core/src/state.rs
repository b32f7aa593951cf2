//! What a session is, and what is known of a server connection: plain data.
//!
//! [`SessionState`] is everything that makes one client's session differ from a fresh one: it can be
//! serialised, and replayed onto another connection by [`crate::prepare`]. [`ConnState`] holds the
//! same facts as known of a server connection. Both share a [`Profile`] (schema, charset, variables) by
//! `Arc`, so that "nothing differs" is one pointer comparison. Nothing here knows sockets or clocks.
//! Only [`crate::settle`] and [`crate::track`] write a session's state.

mod charset;
mod conn;
mod profile;
mod session;
mod statement;

pub use charset::{Charset, ConnectionCharset, Dialect, collation_names};
pub use conn::{ConnState, ConnStatement, MAX_STATEMENTS, Unreported};
pub use profile::{Profile, VarValue};
pub use session::{LastInsertId, Open, STATE_VERSION, SessionState, Transaction};
pub use statement::{Reading, Shape, Statement};
