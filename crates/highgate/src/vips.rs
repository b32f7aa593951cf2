//! Addresses that move between nodes, as the main process sees them: the keeper's start, what it is
//! told, what it tells, and the tables of that.

mod leave;
mod link;
mod start;
mod table;
mod talk;
#[cfg(test)]
mod tests;
mod voice;

pub(crate) use self::{
    link::Link,
    start::{Keeper, drop_rights, keep, start, watch},
    table::{PeersTable, RefusalsTable, VipsTable},
};
