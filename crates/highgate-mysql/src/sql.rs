//! SQL texts: what a statement is, what it does, and what its digest is.
//!
//! [`analyze`] reads a text once for two machines. One reproduces ProxySQL's digest text byte by
//! byte, quirks included, so that rules and dashboards written for it keep their meaning. The other
//! lexes the text as the server will, under the session's [`LexMode`], and says which
//! [`StatementKind`] it is and which [`Effects`] it has. What it is not sure of is
//! [`Effects::DOUBTFUL`], and nothing doubtful is ever [`Effects::READ_ONLY_PROVED`].
//!
//! [`set_statement`] has the whole grammar of `SET`; [`quote_identifier`] and [`quote_string`] write
//! names and values into statements of our own.

mod analysis;
mod blank;
mod body;
mod bytes;
mod classify;
mod digest;
mod effects;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz;
mod head;
mod hint;
mod kill;
mod kind;
mod memo;
mod mode;
mod quote;
mod schema;
pub mod set_statement;
mod several;
mod spooky;
mod substitute;
mod tables;
mod token;
mod words;

pub use analysis::{Analysis, Scratch, Span, analyze};
pub use effects::Effects;
pub use hint::Hint;
pub use kill::{KillTarget, hides_kill, kill_target, may_hide_kill, names_kill, process_list};
pub use kind::{KillScope, LockingClause, StatementKind};
pub use memo::Memo;
pub use mode::{Flavor, LexMode};
pub use quote::{quote_identifier, quote_string};
pub use schema::alters_schema;
pub use several::statements;
pub use substitute::{Known, substitute};
pub use tables::reads_from_table;

#[cfg(test)]
mod tests;
