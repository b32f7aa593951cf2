//! Replies: OK, ERR and EOF packets, column definitions, and result sets of our own.
//!
//! Off the hot path: a reply that is passed on is only scanned ([`crate::scan`]). What is parsed
//! here borrows from the payload.

mod column;
mod err;
mod ok;
mod result_set;
mod track;

pub use column::{ColumnDefinition, column_type};
pub use err::ErrPacket;
pub use ok::{EofPacket, OkPacket, strip_session_track};
pub use result_set::{Column, ResultSetWriter};
pub use track::{StateChange, StateChanges};

#[cfg(test)]
mod tests;
