//! What an operator sees and may do: SQL port, web page, REST, metrics and the runtime socket.
//!
//! All of them are renderings of one list of [`Tables`]: no counter and no copy of state lives here.
//! Everything runs on the admin runtime, so nothing in this crate can delay a session.
//!
//! Start reading at [`Tables`], then [`sql::Engine`] and [`web::router`].

mod crowd;
pub mod ctl;
mod logins;
pub mod render;
pub mod sql;
mod stream;
mod tables;
mod users;
pub mod web;

pub use crowd::Room;
pub use logins::{Alarm, Logins};
pub use stream::{Offer, TlsOffer};
pub use tables::Tables;
pub use users::Users;

#[cfg(test)]
mod fake;
