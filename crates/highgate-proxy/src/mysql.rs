//! Sessions of the MySQL protocol: login, commands, leases.
//!
//! The way of a command: [`client_stream`] frames it, [`command`] reads and routes it, [`acquire`]
//! gets a connection, [`prepare`] brings that to the session's state, [`exchange`] moves the bytes,
//! and settling decides what becomes of the connection.

pub(crate) mod accounts;
pub(crate) mod acquire;
pub(crate) mod answer;
pub(crate) mod ask;
mod change_user;
pub(crate) mod client_stream;
pub(crate) mod command;
pub(crate) mod compressed;
pub(crate) mod exchange;
pub(crate) mod forward;
pub(crate) mod hint;
pub(crate) mod kill;
pub(crate) mod local_infile;
pub(crate) mod login;
pub(crate) mod open;
pub(crate) mod outgoing;
pub(crate) mod passthrough;
pub(crate) mod prepare;
pub(crate) mod prepared_text;
mod process_list;
mod refusals;
pub(crate) mod schema;
pub(crate) mod server_connection;
pub(crate) mod session;
pub(crate) mod slow_checks;
pub(crate) mod wash;
