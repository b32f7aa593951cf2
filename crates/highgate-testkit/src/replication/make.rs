//! What replication is called, and how positions are compared, by MariaDB and by MySQL.

use std::ops::Deref;

use crate::{
    database::{Database, DatabaseOptions},
    mariadb::MariaDb,
    mysql::MySql,
};

use super::PATIENCE;

/// A make of database that replicates by GTID.
pub trait Replicates: Deref<Target = Database> + Sized {
    /// Arguments of every node, besides its server id. None comes back writable from a crash.
    const ARGUMENTS: &'static [&'static str];
    /// The variable that keeps clients from writing; `read_only = 0` undoes it.
    const READ_ONLY: &'static str;
    /// What the account `monitor` may.
    const MONITOR: &'static str;
    /// The word for the side that is followed, in names of variables and columns.
    const SOURCE: &'static str;
    /// The word for the side that follows, in statements and in names of variables and columns.
    const REPLICA: &'static str;
    /// The column of a replica's status that says what it has received.
    const RECEIVED: &'static str;

    /// Makes the data directory without starting anything.
    ///
    /// # Errors
    /// As [`MariaDb::prepare`] and [`MySql::prepare`].
    fn prepare(options: DatabaseOptions) -> anyhow::Result<Self>;

    /// The statements that make a stopped replica one of `source`.
    fn follow(source: &Database) -> String;

    /// What it has executed, as a position.
    ///
    /// # Errors
    /// As [`Database::sql`].
    fn executed(&self) -> anyhow::Result<String>;

    /// Whether it has executed all of that position.
    ///
    /// # Errors
    /// As [`Database::sql`].
    fn has(&self, position: &str) -> anyhow::Result<bool>;

    /// Whether `source` has all that this one has executed, where replication would not say so.
    ///
    /// # Errors
    /// As [`Database::sql`].
    fn may_follow(&self, source: &Self) -> anyhow::Result<bool>;

    /// The function call that waits for a position, and gives 0 when it has come.
    fn wait_for(position: &str, seconds: u64) -> String;

    /// Waits until it has executed all of that position.
    ///
    /// # Errors
    /// It has not in time.
    fn wait_position(&self, position: &str) -> anyhow::Result<()> {
        let seconds = PATIENCE.as_secs();
        let answer = self.value(&format!("SELECT {}", Self::wait_for(position, seconds)))?;
        anyhow::ensure!(answer == "0", "no arrival at {position} in {seconds} s: {}", self.log());
        Ok(())
    }
}

impl Replicates for MariaDb {
    const ARGUMENTS: &'static [&'static str] = &[
        "--log-bin=binlog",
        "--log-slave-updates=1",
        "--gtid-strict-mode=1",
        "--binlog-format=ROW",
        "--read-only=1",
        "--slave-net-timeout=5",
        "--rpl-semi-sync-master-wait-point=AFTER_SYNC",
        "--rpl-semi-sync-master-timeout=3600000",
        "--rpl-semi-sync-master-wait-no-slave=ON",
    ];
    const READ_ONLY: &'static str = "read_only";
    const MONITOR: &'static str =
        "SLAVE MONITOR, REPLICATION CLIENT, BINLOG MONITOR, SELECT ON *.*";
    const SOURCE: &'static str = "Master";
    const REPLICA: &'static str = "Slave";
    const RECEIVED: &'static str = "Gtid_IO_Pos";

    fn prepare(options: DatabaseOptions) -> anyhow::Result<Self> {
        Self::prepare(options)
    }

    fn follow(source: &Database) -> String {
        // Not gtid_current_pos: that counts what the node wrote as primary under its present id only,
        // and one that was rebuilt has another id until it is restarted.
        format!(
            "SET GLOBAL gtid_slave_pos = @@gtid_binlog_pos; \
             CHANGE MASTER TO MASTER_HOST = '{}', MASTER_PORT = {}, MASTER_USER = 'repl', \
             MASTER_PASSWORD = 'repl', MASTER_USE_GTID = slave_pos, MASTER_CONNECT_RETRY = 1",
            source.addr().ip(),
            source.port()
        )
    }

    fn executed(&self) -> anyhow::Result<String> {
        self.value("SELECT @@gtid_binlog_pos")
    }

    /// The cluster has one domain, so that the last number tells.
    fn has(&self, position: &str) -> anyhow::Result<bool> {
        let last = |position: &str| {
            position.rsplit('-').next().and_then(|text| text.parse().ok()).unwrap_or(0_u64)
        };
        Ok(last(&self.executed()?) >= last(position))
    }

    /// Its replication ends with an error where histories differ.
    fn may_follow(&self, _source: &Self) -> anyhow::Result<bool> {
        Ok(true)
    }

    fn wait_for(position: &str, seconds: u64) -> String {
        format!("MASTER_GTID_WAIT('{position}', {seconds})")
    }
}

impl Replicates for MySql {
    const ARGUMENTS: &'static [&'static str] = &[
        "--log-bin=binlog",
        "--gtid-mode=ON",
        "--enforce-gtid-consistency=ON",
        "--super-read-only=1",
        "--relay-log-recovery=1",
        "--replica-net-timeout=5",
        "--plugin-load-add=semisync_source.so",
        "--plugin-load-add=semisync_replica.so",
        "--rpl-semi-sync-source-wait-point=AFTER_SYNC",
        "--rpl-semi-sync-source-timeout=3600000",
        "--rpl-semi-sync-source-wait-no-replica=ON",
    ];
    const READ_ONLY: &'static str = "super_read_only";
    const MONITOR: &'static str = "REPLICATION CLIENT, SELECT ON *.*";
    const SOURCE: &'static str = "Source";
    const REPLICA: &'static str = "Replica";
    const RECEIVED: &'static str = "Retrieved_Gtid_Set";

    fn prepare(options: DatabaseOptions) -> anyhow::Result<Self> {
        Self::prepare(options)
    }

    fn follow(source: &Database) -> String {
        format!(
            "CHANGE REPLICATION SOURCE TO SOURCE_HOST = '{}', SOURCE_PORT = {}, \
             SOURCE_USER = 'repl', SOURCE_PASSWORD = 'repl', SOURCE_AUTO_POSITION = 1, \
             GET_SOURCE_PUBLIC_KEY = 1, SOURCE_CONNECT_RETRY = 1, SOURCE_RETRY_COUNT = 86400",
            source.addr().ip(),
            source.port()
        )
    }

    fn executed(&self) -> anyhow::Result<String> {
        Ok(self.value("SELECT @@gtid_executed")?.replace('\n', ""))
    }

    fn has(&self, position: &str) -> anyhow::Result<bool> {
        Ok(self.value(&format!("SELECT GTID_SUBSET('{position}', @@gtid_executed)"))? == "1")
    }

    /// A replica whose history is another one starts without complaint.
    fn may_follow(&self, source: &Self) -> anyhow::Result<bool> {
        source.has(&self.executed()?)
    }

    fn wait_for(position: &str, seconds: u64) -> String {
        format!("WAIT_FOR_EXECUTED_GTID_SET('{position}', {seconds})")
    }
}
