//! highgate-mysql.
pub mod sql;
