//! Who holds the desired state: versions it, stores it, hands it out.
//!
//! [`Alone`] is a node without peers: [`ControlPlane`](highgate_config::ControlPlane) and
//! [`Layers`](highgate_config::Layers) over one durable file. Refuses to know sessions, snapshots
//! and what a configuration means; nothing that it does is waited for by the data path.
//!
//! Invariant: what is acknowledged is on disk, and what is not acknowledged is neither on disk nor
//! in memory (where that can't be known, the answer says so). Start reading at [`Alone`].

mod alone;
mod disk;
mod file;
mod open;
mod records;
mod state;

pub use alone::{Alone, Applied, ApplyError, BETWEEN_FILES, SeedError};
pub use open::OpenError;
pub use records::RecordsStore;
