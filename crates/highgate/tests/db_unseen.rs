//! What one session leaves on a connection that no answer tells of reaches nobody else. Where one server
//! connection is all that there is, whoever comes next has it, and nobody who is not bound to it waits.

#[path = "client/raw.rs"]
mod raw;

use std::net::SocketAddr;

use highgate_mysql::{Capabilities, StatusFlags};
use highgate_testkit::{HighgateProcess, MariaDb, MariaDbOptions, ReplicationCluster, wait};

use raw::{Part, RawClient, USUAL};

const SETUP: &[&str] = &[
    "CREATE DATABASE shop",
    "CREATE TABLE shop.t(a INT); INSERT INTO shop.t VALUES (1), (2); CREATE TABLE shop.u(a INT)",
    "CREATE FUNCTION shop.counts() RETURNS INT BEGIN SET @rn = IFNULL(@rn, 0) + 1; RETURN @rn; END",
    "CREATE VIEW shop.v AS SELECT shop.counts() AS n FROM shop.t LIMIT 1",
    "CREATE TRIGGER shop.refuses BEFORE INSERT ON shop.u FOR EACH ROW BEGIN SET @msg = 'x'; \
     SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = @msg; END",
    "CREATE FUNCTION shop.breaks() RETURNS INT BEGIN DO GET_LOCK('held', 0); RETURN shop.missing(); END",
];

struct Cluster {
    _server: MariaDb,
    process: HighgateProcess,
}

impl Cluster {
    /// `None` where MariaDB is not installed.
    fn start(connections: u32, args: &[&str]) -> anyhow::Result<Option<Self>> {
        if !MariaDb::is_installed() {
            eprintln!("skipped: MariaDB is not installed");
            return Ok(None);
        }
        let args = args.iter().map(|&arg| arg.to_owned()).collect();
        let server = MariaDb::start_with(MariaDbOptions { args, ..Default::default() })?;
        for statement in SETUP {
            server.sql(statement)?;
        }
        server.create_user("app", "app", "ALL ON *.*")?;
        server.create_user("monitor", "monitor", "REPLICATION CLIENT ON *.*")?;
        let process = HighgateProcess::start(
            env!("CARGO_BIN_EXE_highgate"),
            &config(server.port(), connections),
        )?;
        Ok(Some(Self { _server: server, process }))
    }

    /// Runs it with clients that know an end of rows which tells, and with those that know none.
    fn with_both(&self, run: impl Fn(SocketAddr, Capabilities)) -> anyhow::Result<()> {
        let address = self.process.listener("shop")?;
        run(address, USUAL | Capabilities::CONNECT_WITH_DB | Capabilities::DEPRECATE_EOF);
        run(address, USUAL | Capabilities::CONNECT_WITH_DB);
        Ok(())
    }
}

fn config(port: u16, connections: u32) -> String {
    format!(
        "admin = {{ sql = \"off\", web = \"off\" }}\n\
         [[listener]]\nname = \"shop\"\nbind = \"127.0.0.1:0\"\nmode = \"mysql\"\nbackend = \"shop\"\n\
         [[backend]]\nname = \"shop\"\nqueue_timeout = \"20s\"\n\
         monitor = {{ user = \"monitor\", password = \"monitor\", interval = \"500ms\" }}\n\
         [[backend.server]]\nname = \"db1\"\naddress = \"127.0.0.1:{port}\"\nmax_connections = {connections}\n\
         [[user]]\nname = \"app\"\npassword = \"app\"\n"
    )
}

fn connect(address: SocketAddr, wanted: Capabilities) -> RawClient {
    RawClient::connect(address, "app", "app", Some("shop"), wanted).expect("a login")
}

fn error(client: &mut RawClient, text: &str) -> Option<u16> {
    client.query(text).expect("an answer").last().and_then(Part::error)
}

#[test]
fn what_a_failed_statement_set_reaches_no_other_session() -> anyhow::Result<()> {
    let Some(cluster) = Cluster::start(1, &[])? else { return Ok(()) };
    cluster.with_both(|address, wanted| {
        let (mut one, mut other) = (connect(address, wanted), connect(address, wanted));
        for _ in 0..3 {
            assert_eq!(error(&mut one, "INSERT INTO u VALUES (1)"), Some(1644));
            one.ok("SELECT a FROM t").unwrap();
            assert_eq!(other.value("SELECT @msg").unwrap(), "NULL");
            other.ok("BEGIN").unwrap();
            other.ok("COMMIT").unwrap();
        }
        // With what such a statement sets, the server tells of what the trigger has set.
        for text in ["SET @y = 1", "SET time_zone = '+01:00'", "SET NAMES latin1", "SET @y = 2"] {
            assert_eq!(error(&mut one, "INSERT INTO u VALUES (1)"), Some(1644));
            one.ok(text).unwrap();
            assert_eq!(other.value("SELECT @msg").unwrap(), "NULL", "{text}");
        }
        assert_eq!(error(&mut one, "SELECT breaks()"), Some(1305));
        drop(one);
        assert_eq!(
            other.value("SELECT GET_LOCK('held', 5)").unwrap(),
            "1",
            "it went with its session"
        );
        other.ok("SELECT RELEASE_LOCK('held')").unwrap();
    })
}

#[test]
fn a_views_function_counts_for_its_own_session_alone() -> anyhow::Result<()> {
    let Some(cluster) = Cluster::start(2, &[])? else { return Ok(()) };
    cluster.with_both(|address, wanted| {
        let (mut one, mut other) = (connect(address, wanted), connect(address, wanted));
        for expected in ["1", "2"] {
            assert_eq!(one.value("SELECT n FROM v").unwrap(), expected);
            assert_eq!(other.value("SELECT n FROM v").unwrap(), expected);
        }
    })
}

#[test]
fn values_for_one_statement_bind_nobody() -> anyhow::Result<()> {
    let Some(cluster) = Cluster::start(1, &[])? else { return Ok(()) };
    cluster.with_both(|address, wanted| {
        let (mut one, mut other) = (connect(address, wanted), connect(address, wanted));
        for _ in 0..2 {
            one.ok("SET STATEMENT max_statement_time=5 FOR SELECT a FROM t").unwrap();
            other.ok("START TRANSACTION READ ONLY").unwrap();
            other.ok("COMMIT").unwrap();
            one.ok("SET STATEMENT max_statement_time=5 FOR SELECT a FROM t").unwrap();
            one.ok("BEGIN").unwrap();
            one.ok("COMMIT").unwrap();
        }
        for client in [&mut one, &mut other] {
            assert_eq!(client.value("SELECT @@max_statement_time").unwrap(), "0.000000");
        }
    })
}

/// Observed: `SET x = a; SET x = b` was kept as `b` alone, and from one list to another went one SET of the
/// second, which left what only the first had changed.
#[test]
fn lists_of_changes_are_whole_wherever_the_session_goes() -> anyhow::Result<()> {
    let Some(cluster) = Cluster::start(1, &["--optimizer-switch=derived_merge=off"])? else {
        return Ok(());
    };
    cluster.with_both(|address, wanted| {
        let (mut one, mut other) = (connect(address, wanted), connect(address, wanted));
        let value = |client: &mut RawClient, name: &str| {
            let all = client.value("SELECT @@optimizer_switch").unwrap();
            let on = all.split(',').any(|part| part == format!("{name}=on"));
            assert!(on || all.split(',').any(|part| part == format!("{name}=off")), "{all}");
            on
        };
        one.ok("SET optimizer_switch='index_merge=off'").unwrap();
        other.ok("SET optimizer_switch='mrr=on'").unwrap();
        assert!(value(&mut other, "index_merge"), "another session's");
        one.ok("SET optimizer_switch='mrr=on'").unwrap();
        other.ok("SET optimizer_switch='mrr=off'").unwrap();
        for _ in 0..2 {
            assert!(!value(&mut one, "index_merge"), "the first of two changes");
            assert!(value(&mut one, "mrr"));
            assert!(!value(&mut other, "mrr"));
            assert!(!value(&mut other, "derived_merge"), "the server's own default");
        }
        assert_eq!(error(&mut one, "SET optimizer_switch='nosuch=on'"), Some(1231));
        assert!(!value(&mut one, "index_merge"));
    })
}

/// Observed with the commands that PDO sends first: servers report the charsets of SET NAMES, and no collation.
#[test]
fn a_collation_that_one_of_several_statements_sets_goes_with_its_session() -> anyhow::Result<()> {
    let Some(cluster) = Cluster::start(1, &[])? else { return Ok(()) };
    cluster.with_both(|address, wanted| {
        let (mut one, mut other) = (connect(address, wanted), connect(address, wanted));
        one.query("SET NAMES utf8mb4 COLLATE utf8mb4_bin; SET time_zone='+01:00'; SELECT 1")
            .unwrap();
        other.query("SET NAMES utf8mb4; SELECT 1").unwrap();
        for _ in 0..2 {
            assert_eq!(one.value("SELECT 'a'='A'").unwrap(), "0");
            assert_eq!(one.value("SELECT @@time_zone").unwrap(), "+01:00");
            assert_eq!(other.value("SELECT 'a'='A'").unwrap(), "1");
        }
        one.query(
            "SET NAMES latin1 COLLATE latin1_bin; SET collation_connection=latin1_german2_ci",
        )
        .unwrap();
        other.query("SELECT 1; SET CHARACTER SET latin2").unwrap();
        for _ in 0..2 {
            assert_eq!(one.value("SELECT @@collation_connection").unwrap(), "latin1_german2_ci");
            assert_eq!(one.value("SELECT @@character_set_client").unwrap(), "latin1");
            assert_eq!(
                other.value("SELECT @@collation_connection = @@collation_database").unwrap(),
                "1"
            );
            assert_eq!(other.value("SELECT @@character_set_client").unwrap(), "latin2");
        }
    })
}

/// Observed: the first SELECT of a client that says nothing first went to a replica, began its transaction there,
/// and the UPDATE behind it was refused (1290), or written there.
#[test]
fn where_servers_begin_with_autocommit_off_a_transaction_begins_where_it_can_write()
-> anyhow::Result<()> {
    if !MariaDb::is_installed() {
        eprintln!("skipped: MariaDB is not installed");
        return Ok(());
    }
    let cluster = ReplicationCluster::start(2)?;
    cluster.primary()?.sql(
        "CREATE TABLE shop.t(a INT); INSERT INTO shop.t VALUES (1); \
         CREATE TABLE shop.here(role TEXT); INSERT INTO shop.here VALUES ('primary')",
    )?;
    cluster.wait_caught_up()?;
    let mut servers = String::new();
    for (at, node) in cluster.nodes().iter().enumerate() {
        if at != cluster.primary_index() {
            node.sql("SET sql_log_bin = 0; UPDATE shop.here SET role = 'replica'")?;
        }
        node.sql("SET GLOBAL autocommit = 0")?;
        servers += &format!(
            "[[backend.server]]\nname = \"db{at}\"\naddress = \"127.0.0.1:{}\"\n",
            node.port()
        );
    }
    let config = format!(
        "admin = {{ sql = \"off\", web = \"off\" }}\n\
         [[listener]]\nname = \"shop\"\nbind = \"127.0.0.1:0\"\nmode = \"mysql\"\nbackend = \"shop\"\n\
         [[backend]]\nname = \"shop\"\ntopology = \"mariadb-replication\"\n\
         monitor = {{ user = \"monitor\", password = \"monitor\", interval = \"300ms\" }}\n{servers}\
         [[user]]\nname = \"app\"\npassword = \"app\"\nbackend = \"shop\"\n"
    );
    let process = HighgateProcess::start(env!("CARGO_BIN_EXE_highgate"), &config)?;
    let address = process.listener("shop")?;
    let wanted = USUAL | Capabilities::CONNECT_WITH_DB;
    let role = |client: &mut RawClient| client.value("SELECT role FROM here").unwrap();
    // Reads go to the replica from the time on that it is seen: those of who says that they end themselves.
    wait::eventually(wait::Deadline::seconds(20), "reads on the replica", || {
        let mut client = connect(address, wanted);
        client.ok("SET autocommit = 1")?;
        anyhow::ensure!(role(&mut client) == "replica");
        Ok(())
    })?;
    for _ in 0..3 {
        let mut client = connect(address, wanted);
        for first in ["", "reset"] {
            if !first.is_empty() {
                client.command(&[0x1f])?;
            }
            assert_eq!(role(&mut client), "primary", "{first}");
            client.ok("UPDATE t SET a = a + 1")?;
            client.ok("COMMIT")?;
        }
    }
    let count = connect(address, wanted).value("SELECT a FROM t FOR UPDATE")?;
    assert_eq!(count, "7", "each of them is written");
    Ok(())
}

/// Observed: pymysql escaped by the flags of its login, which were those of other servers, and what it had quoted
/// ended at a quote of the user's; a KILL behind such a string went to the server.
#[test]
fn where_servers_take_backslashes_as_they_are_clients_are_told_and_texts_are_read_so()
-> anyhow::Result<()> {
    let mode = ["--sql-mode=NO_BACKSLASH_ESCAPES,ANSI_QUOTES"];
    let Some(cluster) = Cluster::start(1, &mode)? else { return Ok(()) };
    cluster.with_both(|address, wanted| {
        let mut client = connect(address, wanted | Capabilities::MULTI_STATEMENTS);
        let status = |client: &mut RawClient| {
            let pong = client.command(&[0x0e]).unwrap();
            let [Part::Ok { status, .. }] = &pong[..] else { panic!("{pong:?}") };
            *status & (StatusFlags::NO_BACKSLASH_ESCAPES | StatusFlags::ANSI_QUOTES)
        };
        let both = StatusFlags::NO_BACKSLASH_ESCAPES | StatusFlags::ANSI_QUOTES;
        assert_eq!(status(&mut client), both, "before any server was asked");
        assert_eq!(error(&mut client, "SELECT '\\'; KILL 1 -- '"), Some(1235));
        assert_eq!(client.value("SELECT '\\'").unwrap(), "\\");
        client.ok("SET sql_mode = ''").unwrap();
        assert_eq!(status(&mut client), StatusFlags::empty());
        client.command(&[0x1f]).unwrap();
        assert_eq!(status(&mut client), both, "behind a reset");
        // Nobody sees what of such a text was done.
        assert_eq!(error(&mut client, "SET sql_mode = ''; SELECT nope"), Some(1054));
        assert_eq!(status(&mut client), StatusFlags::empty());
    })
}

/// Observed: idle sessions whose last statement had failed kept their connections; with as many of them as a server
/// takes, everybody else got 1040.
#[test]
fn idle_sessions_leave_their_connections_to_others_and_show_their_warnings_all_the_same()
-> anyhow::Result<()> {
    let Some(cluster) = Cluster::start(1, &[])? else { return Ok(()) };
    cluster.with_both(|address, wanted| {
        let warnings = |client: &mut RawClient| {
            let shown = client.query("/* a tool */ show warnings;").unwrap();
            let codes = shown[0].texts().into_iter().map(|row| row[1].clone().unwrap_or_default());
            codes.collect::<Vec<_>>()
        };
        for (failing, code) in [("SELECT nope", "1054"), ("INSERT INTO t VALUES ('x')", "1366")] {
            let mut idle = connect(address, wanted);
            idle.ok("BEGIN").unwrap();
            assert!(error(&mut idle, failing).is_some());
            idle.ok("ROLLBACK").unwrap();
            // The only connection is its own for a second.
            let mut other = connect(address, wanted);
            assert_eq!(other.value("SELECT COUNT(*) FROM t").unwrap(), "2");
            assert_eq!(warnings(&mut other), [""; 0]);
            assert_eq!(warnings(&mut idle), [code], "{failing}");
            assert_eq!(error(&mut idle, "SELECT @@warning_count"), Some(1105));
            assert_eq!(warnings(&mut idle), [code], "again");
            idle.ok("SELECT 1").unwrap();
            assert_eq!(warnings(&mut idle), [code], "no table was used");
            idle.ok("SELECT a FROM t").unwrap();
            assert_eq!(warnings(&mut idle), [""; 0]);
            assert_eq!(idle.value("SELECT @@warning_count").unwrap(), "0");
        }
    })
}
