//! What tests of Highgate stand on: real databases, namespaces and scripted peers.
//!
//! Every fixture is a value: starting it returns once it is ready, dropping it leaves nothing behind,
//! and a test process that is killed takes its fixtures with it (see [`reaper`]). Fixtures share nothing
//! but the installed template of a data directory, use ports that no other fixture on the machine
//! holds, and need no network.
//!
//! Start reading at [`MariaDb`] for a database, [`ReplicationCluster`] and [`GaleraCluster`] for several,
//! [`ScriptedServer`] for a server that misbehaves on purpose, [`HighgateProcess`] for the program, and [`Lab`]
//! for a network between them.

pub mod counting_unsafe;
pub mod database;
pub mod galera;
pub mod highgate;
pub mod lab;
pub mod mariadb;
pub mod mysql;
pub mod netns;
pub mod port;
pub mod reaper;
pub mod replication;
pub mod scratch;
pub mod scripted;
pub mod usage;
pub mod wait;

pub use counting_unsafe::CountingAllocator;
pub use database::Database;
pub use galera::GaleraCluster;
pub use highgate::HighgateProcess;
pub use lab::{Host, Impairment, Lab};
pub use mariadb::{MariaDb, MariaDbOptions, Rows};
pub use mysql::MySql;
pub use mysql_async;
pub use netns::Netns;
pub use port::PortLease;
pub use replication::{MySqlReplication, ReplicationCluster, ReplicationOptions};
pub use scratch::Scratch;
pub use scripted::{Reply, Script, ScriptedServer};
pub use wait::{Deadline, eventually, wait_until};
