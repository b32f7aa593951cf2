//! The edge: everything that touches the clock, entropy, tasks, sockets and TLS.
//!
//! Refuses to know what the bytes mean or where they should go: it makes no decision. Start
//! reading at [`transport::Transport`] for the data path, [`tasks::LocalTasks`] for everything else.

pub mod certificate;
pub mod clock;
pub mod connect;
pub mod deaf;
pub mod entropy;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
pub mod handover;
pub mod listen;
pub mod log;
pub mod proxy_protocol;
pub mod rsa;
pub mod tasks;
pub mod tcp_info_unsafe;
pub mod tls;
pub mod transport;
