use super::*;
use crate::wait::wait_until;

fn count<D: Replicates>(node: &D) -> String {
    node.value("SELECT COUNT(*) FROM shop.t").unwrap()
}

fn a_switchover_and_a_crash_lose_no_acknowledged_write<D: Replicates>(cluster: &Replication<D>) {
    let primary = cluster.primary().unwrap();
    primary.sql("CREATE TABLE shop.t (id INT PRIMARY KEY); INSERT INTO shop.t VALUES (1)").unwrap();
    cluster.switchover(1).unwrap();
    assert_eq!(cluster.primary().unwrap().value("SELECT @@read_only").unwrap(), "0");
    assert_eq!(cluster.node(0).unwrap().value("SELECT @@read_only").unwrap(), "1");
    cluster.primary().unwrap().sql("INSERT INTO shop.t VALUES (2)").unwrap();
    cluster.primary().unwrap().kill9();
    cluster.promote(2).unwrap();
    cluster.primary().unwrap().sql("INSERT INTO shop.t VALUES (3)").unwrap();
    assert_eq!(count(cluster.primary().unwrap()), "3");
    cluster.rejoin_as_replica(1).unwrap();
    cluster.wait_caught_up().unwrap();
    assert_eq!(count(cluster.node(1).unwrap()), "3");
    // The delay is reckoned from the last event's time stamp for a moment after it was applied.
    let caught_up = wait_until(Deadline::after(PATIENCE), || cluster.lag(1).unwrap() == Some(0));
    assert!(caught_up, "{:?}", cluster.lag(1));
}

fn a_node_with_a_history_of_its_own_is_rebuilt<D: Replicates>(cluster: &Replication<D>) {
    cluster.primary().unwrap().sql("CREATE TABLE shop.t (id INT PRIMARY KEY)").unwrap();
    cluster.wait_caught_up().unwrap();
    cluster.node(1).unwrap().sql(&format!("STOP {}", D::REPLICA)).unwrap();
    cluster.primary().unwrap().sql("INSERT INTO shop.t VALUES (1)").unwrap();
    cluster.primary().unwrap().kill9();
    cluster.promote(1).unwrap();
    cluster
        .primary()
        .unwrap()
        .sql("INSERT INTO shop.t VALUES (2); INSERT INTO shop.t VALUES (3)")
        .unwrap();
    cluster.rejoin_as_replica(0).unwrap();
    cluster.wait_caught_up().unwrap();
    assert_eq!(count(cluster.node(0).unwrap()), "2");
}

#[test]
fn a_switchover_and_a_crash_of_mariadb_lose_no_acknowledged_write() {
    if !MariaDb::is_installed() {
        return eprintln!("skipped: MariaDB is not installed");
    }
    let cluster = ReplicationCluster::start_semi_sync(3).unwrap();
    a_switchover_and_a_crash_lose_no_acknowledged_write(&*cluster);
}

#[test]
fn a_switchover_and_a_crash_of_mysql_lose_no_acknowledged_write() {
    if !MySql::is_installed() {
        return eprintln!("skipped: MySQL is not installed");
    }
    let cluster = MySqlReplication::start_semi_sync(3).unwrap();
    a_switchover_and_a_crash_lose_no_acknowledged_write(&*cluster);
}

#[test]
fn a_node_of_mariadb_with_a_history_of_its_own_is_rebuilt_when_it_rejoins() {
    if !MariaDb::is_installed() {
        return eprintln!("skipped: MariaDB is not installed");
    }
    a_node_with_a_history_of_its_own_is_rebuilt(&*ReplicationCluster::start(2).unwrap());
}

#[test]
fn a_node_of_mysql_with_a_history_of_its_own_is_rebuilt_when_it_rejoins() {
    if !MySql::is_installed() {
        return eprintln!("skipped: MySQL is not installed");
    }
    a_node_with_a_history_of_its_own_is_rebuilt(&*MySqlReplication::start(2).unwrap());
}
