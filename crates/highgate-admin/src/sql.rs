//! SQL over the tables: any SELECT, a few SHOWs, and `CALL table.action(…)`.
//!
//! [`Engine`] answers statements; [`port`] speaks the MySQL protocol and knows no table. SELECT runs on
//! an in-memory SQLite in which every table is virtual. It is read only: an authorizer refuses
//! whatever isn't reading, and limits bound what one statement may cost.

mod answer;
mod authorizer;
mod bounds;
mod describe;
mod dialect;
mod engine;
mod explain;
mod functions;
mod like;
mod mismatch;
pub mod port;
mod rows;
mod statement;
mod variables;
mod vtab_unsafe;

/// The body of the fuzz target for statements of operators, which takes any bytes and must not panic.
#[cfg(feature = "fuzzing")]
pub fn fuzz(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let _ = statement::recognize(&text);
    let _ = dialect::for_sqlite(&text);
}

pub use answer::{Answer, ResultColumn, Rows, SqlError};
pub use bounds::Limits;
pub use engine::{Caller, Engine, StartError};

#[cfg(test)]
mod tests;
