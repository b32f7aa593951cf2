//! Rules and hints, for texts and for what was prepared.

#[path = "common/failure.rs"]
mod failure;
#[path = "common/replica.rs"]
mod replica;

use highgate_testkit::{Deadline, HighgateProcess, MariaDb, ReplicationCluster, wait_until};
use mysql_async::{Conn, OptsBuilder, prelude::Queryable as _};

const RULES: &str = "[[rule]]\nrule_id = 1\nactive = true\nmatch_digest = \"^SELECT DISTINCT name FROM me\"\n\
     role = \"primary\"\napply = true\n\
     [[rule]]\nrule_id = 2\nactive = true\nmatch_pattern = \"FROM old\"\n\
     replace_pattern = \"FROM me\"\napply = true\n";

/// What a text says, and what it says when it is prepared and executed twice.
async fn said(client: &mut Conn, text: &str) -> [Option<String>; 3] {
    let text_says = client.query_first(text.replace("= ?", "= 1")).await.unwrap();
    let first = client.exec_first(text, (1,)).await.unwrap();
    let second = client.exec_first(text, (1,)).await.unwrap();
    [text_says, first, second]
}

async fn checks(highgate: &HighgateProcess) {
    let addr = highgate.listener("shop").unwrap();
    let options = OptsBuilder::default()
        .ip_or_hostname(addr.ip().to_string())
        .tcp_port(addr.port())
        .user(Some("app"))
        .pass(Some("app"))
        .db_name(Some("shop"))
        .prefer_socket(false);
    let mut client = Conn::new(options).await.unwrap();
    for (text, server) in [
        ("SELECT name FROM me WHERE 1 = ?", "replica"),
        ("/* highgate: primary */ SELECT name FROM me WHERE 1 = ?", "primary"),
        ("SELECT DISTINCT name FROM me WHERE 1 = ?", "primary"),
        ("SELECT name FROM old WHERE 1 = ?", "replica"),
    ] {
        let expected = [server, server, server].map(|name| Some(name.to_owned()));
        assert_eq!(said(&mut client, text).await, expected, "{text}");
    }
    client.disconnect().await.unwrap();
}

#[test]
fn executions_follow_the_rules_and_hints_of_the_text_that_was_prepared() {
    if !MariaDb::is_installed() {
        eprintln!("skipped: MariaDB is not installed");
        return;
    }
    let cluster = replica::cluster();
    let highgate = replica::highgate(&cluster, "", RULES);
    let reads = wait_until(Deadline::seconds(20), || highgate.log().contains("db2"));
    assert!(reads, "{}", highgate.log());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(checks(&highgate));
}

async fn connect(highgate: &HighgateProcess) -> Conn {
    failure::connect(highgate.listener("shop").unwrap()).await.unwrap()
}

/// Names in `shop.me` at the primary and at the replica.
fn names(cluster: &ReplicationCluster) -> [String; 2] {
    [0, 1].map(|at| cluster.node(at).unwrap().value("SELECT name FROM shop.me").unwrap())
}

#[test]
fn what_a_rule_makes_of_a_read_goes_where_it_can_run_and_binds() {
    if !MariaDb::is_installed() {
        eprintln!("skipped: MariaDB is not installed");
        return;
    }
    let cluster = replica::cluster();
    let rules = "[[rule]]\nrule_id = 1\nactive = true\nmatch_pattern = \"^SELECT make\"\n\
         replace_pattern = \"CREATE TEMPORARY TABLE tmp SELECT name FROM me\"\napply = true\n\
         [[rule]]\nrule_id = 2\nactive = true\nmatch_pattern = \"^SELECT write .*\"\n\
         replace_pattern = \"INSERT INTO written VALUES (1)\"\napply = true\n";
    cluster.primary().unwrap().sql("CREATE TABLE shop.written (n INT)").unwrap();
    // Whoever may write on a replica finds no error there.
    cluster.primary().unwrap().sql("GRANT READ ONLY ADMIN ON *.* TO app").unwrap();
    cluster.wait_caught_up().unwrap();
    let highgate = replica::highgate(&cluster, "", rules);
    assert!(wait_until(Deadline::seconds(20), || highgate.log().contains("db2")));
    failure::run(async {
        let mut client = connect(&highgate).await;
        let text = "SELECT name FROM me WHERE 1 = 1";
        let first: Option<String> = client.query_first(text).await.unwrap();
        assert_eq!(first.as_deref(), Some("replica"), "reads go there");
        client.query_drop("SELECT make").await.unwrap();
        let made: Option<String> = client.query_first("SELECT name FROM tmp").await.unwrap();
        assert_eq!(made.as_deref(), Some("primary"), "it is there, and bound");
        let mut other = connect(&highgate).await;
        other.query_drop("SELECT write FROM me").await.unwrap();
        other.exec_drop("SELECT write FROM me WHERE 1 = 1", ()).await.unwrap();
        assert!(other.query_drop("SELECT name FROM tmp").await.is_err(), "no other has it");
    });
    let count = "SELECT COUNT(*) FROM shop.written";
    assert_eq!(cluster.primary().unwrap().value(count).unwrap(), "2");
}

#[test]
fn who_was_kept_on_a_replica_by_a_rule_writes_on_the_primary() {
    if !MariaDb::is_installed() {
        eprintln!("skipped: MariaDB is not installed");
        return;
    }
    let cluster = replica::cluster();
    let rules = "[[rule]]\nrule_id = 1\nactive = true\nmatch_digest = \"^SELECT DISTINCT name\"\n\
         role = \"replica\"\nmultiplex = false\napply = true\n";
    // Whoever may write on a replica finds no error there.
    cluster.primary().unwrap().sql("GRANT READ ONLY ADMIN ON *.* TO app").unwrap();
    cluster.wait_caught_up().unwrap();
    let highgate = replica::highgate(&cluster, "", rules);
    assert!(wait_until(Deadline::seconds(20), || highgate.log().contains("db2")));
    failure::run(async {
        let mut client = connect(&highgate).await;
        for text in ["SELECT DISTINCT name FROM me", "SELECT name FROM me"] {
            let name: Option<String> = client.query_first(text).await.unwrap();
            assert_eq!(name.as_deref(), Some("replica"), "{text}");
        }
        client.query_drop("UPDATE me SET name = 'written'").await.unwrap();
        let name: Option<String> = client.query_first("SELECT name FROM me").await.unwrap();
        assert_eq!(name.as_deref(), Some("written"), "it keeps the primary's connection now");
    });
    assert_eq!(names(&cluster)[0], "written");
}

#[test]
fn a_read_that_writes_by_a_view_is_carried_out_by_the_primary() {
    if !MariaDb::is_installed() {
        eprintln!("skipped: MariaDB is not installed");
        return;
    }
    let cluster = replica::cluster();
    let made =
        "CREATE SEQUENCE shop.numbers; CREATE VIEW shop.next AS SELECT NEXTVAL(shop.numbers) AS n";
    cluster.primary().unwrap().sql(made).unwrap();
    cluster.wait_caught_up().unwrap();
    let highgate = replica::highgate(&cluster, "", "");
    assert!(wait_until(Deadline::seconds(20), || highgate.log().contains("db2")));
    failure::run(async {
        let mut client = connect(&highgate).await;
        for n in 1..=3_u64 {
            let name: Option<String> = client.query_first("SELECT name FROM me").await.unwrap();
            assert_eq!(name.as_deref(), Some("replica"));
            let next: Option<u64> = client.query_first("SELECT n FROM next").await.unwrap();
            assert_eq!(next, Some(n));
        }
        let next: Option<u64> = client.exec_first("SELECT n FROM next", ()).await.unwrap();
        assert_eq!(next, Some(4));
    });
    let events = failure::ctl(&highgate, &["events", "--last", "50"]).unwrap();
    assert!(
        events.contains("a read goes to the primary: its replica says that it writes"),
        "{events}"
    );
}
