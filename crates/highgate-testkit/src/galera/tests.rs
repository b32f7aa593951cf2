use super::*;

fn cluster() -> Option<GaleraCluster> {
    if !GaleraCluster::is_installed() {
        eprintln!("skipped: Galera is not installed");
        return None;
    }
    Some(GaleraCluster::start(3).unwrap())
}

fn rows(cluster: &GaleraCluster, index: usize) -> String {
    let node = cluster.node(index).unwrap();
    node.value("SELECT COUNT(*) FROM shop.t").unwrap()
}

#[test]
fn a_killed_member_comes_back_with_what_it_missed() {
    let Some(cluster) = cluster() else { return };
    assert_eq!(cluster.status(0, "wsrep_cluster_size").unwrap(), "3");
    cluster.node(2).unwrap().kill9();
    let writer = cluster.node(0).unwrap();
    writer.sql("CREATE TABLE shop.t (id INT PRIMARY KEY); INSERT INTO shop.t VALUES (7)").unwrap();
    cluster.rejoin(2).unwrap();
    assert_eq!(rows(&cluster, 2), "1");
    cluster.rejoin_empty(1).unwrap();
    assert_eq!(rows(&cluster, 1), "1");
}

#[test]
fn an_isolated_member_refuses_and_a_desynced_one_says_so() {
    let Some(cluster) = cluster() else { return };
    cluster.set_desync(1, true).unwrap();
    cluster.set_desync(1, false).unwrap();
    cluster.set_isolated(2, true).unwrap();
    let refused = cluster.node(2).unwrap().sql("SELECT * FROM mysql.user");
    assert!(format!("{:#}", refused.unwrap_err()).contains("1047"));
    cluster.wait_size(0, 2).unwrap();
    cluster.set_isolated(2, false).unwrap();
    cluster.wait_size(0, 3).unwrap();
}

#[test]
fn a_frozen_member_is_expelled_and_returns() {
    let Some(cluster) = cluster() else { return };
    cluster.node(2).unwrap().sigstop().unwrap();
    cluster.wait_size(0, 2).unwrap();
    cluster.node(2).unwrap().sigcont().unwrap();
    cluster.wait_size(0, 3).unwrap();
    cluster.wait_status(2, "wsrep_local_state", "4").unwrap();
}
