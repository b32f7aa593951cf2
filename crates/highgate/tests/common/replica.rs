//! A primary and a replica that tell by `shop.me` which of them answered.

use highgate_testkit::{HighgateProcess, ReplicationCluster};

use crate::failure::{BINARY, addresses, toml};

/// A replica serves however far behind it is.
const BACKEND: &str = "topology = \"mariadb-replication\"\nmax_lag = \"1h\"\n\
    monitor = { user = \"monitor\", password = \"monitor\", interval = \"200ms\" }\n";

pub(crate) fn cluster() -> ReplicationCluster {
    let cluster = ReplicationCluster::start(2).unwrap();
    let me = "CREATE TABLE shop.me (name CHAR(9)); INSERT INTO shop.me VALUES ('primary')";
    cluster.primary().unwrap().sql(me).unwrap();
    cluster.wait_caught_up().unwrap();
    let mine = "SET sql_log_bin = 0; UPDATE shop.me SET name = 'replica'";
    cluster.node(1).unwrap().sql(mine).unwrap();
    cluster
}

/// In front of it, with these lines for the listener, and these at the end.
pub(crate) fn highgate(
    cluster: &ReplicationCluster,
    listener: &str,
    more: &str,
) -> HighgateProcess {
    // One worker, so that a second session finds the connections of the first.
    let text =
        toml(&addresses(cluster.nodes()), BACKEND, listener).replace("workers = 2", "workers = 1");
    let text = text + more;
    HighgateProcess::start(BINARY, &text).unwrap()
}
