//! Reads after writes, on a replica that does not follow.

#[path = "common/failure.rs"]
mod failure;
#[path = "client/raw.rs"]
mod raw;
#[path = "common/replica.rs"]
mod replica;

use highgate_testkit::{Deadline, HighgateProcess, MariaDb, ReplicationCluster, wait, wait_until};
use raw::{RawClient, USUAL};

fn highgate(cluster: &ReplicationCluster, causal_reads: bool) -> HighgateProcess {
    let listener = format!("causal_reads = {causal_reads}\ncausal_reads_timeout = \"300ms\"");
    replica::highgate(cluster, &listener, "")
}

#[test]
fn a_session_reads_its_own_writes_whatever_its_replica_has() {
    if !MariaDb::is_installed() {
        eprintln!("MariaDB is not installed");
        return;
    }
    let cluster = replica::cluster();
    cluster.primary().unwrap().sql("CREATE TABLE shop.c (id INT PRIMARY KEY, v INT)").unwrap();
    cluster.wait_caught_up().unwrap();
    let highgate = highgate(&cluster, true);
    let addr = highgate.listener("shop").unwrap();
    let mut client = RawClient::connect(addr, "app", "app", Some("shop"), USUAL).unwrap();
    let on_replica = wait_until(Deadline::seconds(10), || {
        client.value("SELECT name FROM me").is_ok_and(|id| id == "replica")
    });
    assert!(on_replica, "reads go to the replica: {}", highgate.log());
    for id in 0..100 {
        client.ok(&format!("INSERT INTO c VALUES ({id}, {id})")).unwrap();
        let seen = client.value(&format!("SELECT COUNT(*) FROM c WHERE id = {id}")).unwrap();
        assert_eq!(seen, "1", "write {id}");
    }
    assert_eq!(
        client.value("SELECT name FROM me").unwrap(),
        "replica",
        "a replica that keeps up serves"
    );
    cluster.node(1).unwrap().sql("STOP SLAVE SQL_THREAD").unwrap();
    for id in 100..105 {
        client.ok(&format!("INSERT INTO c VALUES ({id}, {id})")).unwrap();
        let started = wait::now();
        let seen = client.value(&format!("SELECT COUNT(*) FROM c WHERE id = {id}")).unwrap();
        assert_eq!(seen, "1", "write {id} on a replica that stands still");
        assert!(started.elapsed().as_millis() < 1500, "{:?}", started.elapsed());
    }
    // One that wrote nothing waits for nothing.
    let mut other = RawClient::connect(addr, "app", "app", Some("shop"), USUAL).unwrap();
    let started = wait::now();
    other.value("SELECT COUNT(*) FROM c").unwrap();
    assert!(started.elapsed().as_millis() < 250, "{:?}", started.elapsed());
}

#[test]
fn a_schema_is_chosen_as_soon_as_it_is_made_whatever_a_replica_has() {
    if !MariaDb::is_installed() {
        eprintln!("MariaDB is not installed");
        return;
    }
    let cluster = replica::cluster();
    for causal_reads in [false, true] {
        let highgate = highgate(&cluster, causal_reads);
        let addr = highgate.listener("shop").unwrap();
        let mut client = RawClient::connect(addr, "app", "app", None, USUAL).unwrap();
        let on_replica = wait_until(Deadline::seconds(10), || {
            client.value("SELECT name FROM shop.me").is_ok_and(|id| id == "replica")
        });
        assert!(on_replica, "reads go to the replica: {}", highgate.log());
        cluster.node(1).unwrap().sql("STOP SLAVE SQL_THREAD").unwrap();
        for (at, way) in ["command", "statement", "login"].into_iter().enumerate() {
            let made = format!("made_{at}_{causal_reads}");
            client.ok(&format!("CREATE DATABASE {made}")).unwrap();
            let mut other = None;
            let chosen = match way {
                "command" => client.command(&[b"\x02", made.as_bytes()].concat()).unwrap(),
                "statement" => client.query(format!("USE {made}")).unwrap(),
                _ => {
                    let schema = Some(made.as_str());
                    other = Some(RawClient::connect(addr, "app", "app", schema, USUAL).unwrap());
                    Vec::new()
                }
            };
            assert!(chosen.iter().all(|part| part.error().is_none()), "{way} {causal_reads}");
            let session = other.as_mut().unwrap_or(&mut client);
            for _ in 0..2 {
                // This goes to the replica, which can't be in that schema.
                let seen = session.value("SELECT DATABASE()").unwrap();
                assert_eq!(seen, made, "{way} {causal_reads}");
                let unknown = session.query("USE nosuch").unwrap();
                assert_eq!(unknown[0].error(), Some(1049), "{way} {causal_reads}");
            }
        }
        cluster.node(1).unwrap().sql("START SLAVE SQL_THREAD").unwrap();
        cluster.wait_caught_up().unwrap();
    }
}

/// A server that replicates from nobody has no position to wait for: the C API's own suite waited a
/// second for each `USE` behind a write.
#[test]
fn a_server_without_replication_is_never_waited_for() {
    if !MariaDb::is_installed() {
        eprintln!("MariaDB is not installed");
        return;
    }
    let cluster = ReplicationCluster::start(1).unwrap();
    let port = cluster.node(0).unwrap().port();
    let toml = format!(
        "admin = {{ sql = \"off\", web = \"off\" }}\n\
         [[listener]]\nname = \"shop\"\nbind = \"127.0.0.1:0\"\nmode = \"mysql\"\nbackend = \"shop\"\n\
         causal_reads = true\ncausal_reads_timeout = \"60s\"\n\
         [[backend]]\nname = \"shop\"\n\
         [[backend.server]]\nname = \"db\"\naddress = \"127.0.0.1:{port}\"\n\
         [[user]]\nname = \"app\"\npassword = \"app\"\n"
    );
    let highgate = HighgateProcess::start(env!("CARGO_BIN_EXE_highgate"), &toml).unwrap();
    let addr = highgate.listener("shop").unwrap();
    let mut client = RawClient::connect(addr, "app", "app", Some("shop"), USUAL).unwrap();
    // The client waits for an answer for 20 seconds at most.
    client.ok("CREATE DATABASE made").unwrap();
    client.ok("USE made").unwrap();
    client.ok("CREATE TABLE t(a INT)").unwrap();
    client.command(b"\x02made").unwrap();
    assert_eq!(client.value("SELECT COUNT(*) FROM t").unwrap(), "0");
}
