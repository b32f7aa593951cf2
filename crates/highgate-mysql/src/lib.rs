//! The MySQL protocol without I/O: packets, login, replies, commands, and the SQL lexer.
//!
//! Nothing here opens a socket, reads a clock or knows a setting. Bytes go in, values and bytes
//! come out; machines take one packet per step and return actions as data. Bytes from a peer never
//! panic and never decide how much is allocated.
//!
//! Start at [`packet`] for framing, [`scan`] for what runs per reply, [`client_login`] and
//! [`server_login`] for the two handshakes.

#![deny(
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss
)]

pub mod auth;
mod bytes;
pub mod capability;
pub mod charset;
pub mod client_login;
pub mod command;
pub mod compress;
pub mod error_code;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
pub mod greeting;
pub mod login;
pub mod packet;
pub mod reply;
pub mod scan;
pub mod server_login;
pub mod sql;

pub use capability::{Capabilities, ServerFlavor, StatusFlags};
pub use error_code::{Answer, ErrorCode};
