//! Accounts that a server does not take: what the session has left, and who else is asked.

#[path = "common/failure.rs"]
#[allow(unused_imports, reason = "each test binary uses a part of it")]
mod failure;
#[path = "client/raw.rs"]
mod raw;
#[path = "common/replica.rs"]
mod replica;

use std::{net::SocketAddr, time::Duration};

use failure::{REPLICATION, addresses, ctl, start, toml};
use highgate_testkit::{
    HighgateProcess, MariaDb, ReplicationCluster, replication::ReplicationOptions, wait,
};
use mysql_async::{ChangeUserOpts, Conn, OptsBuilder, prelude::Queryable as _};
use raw::{RawClient, USUAL};

/// What a session of `app` has left after changes of user that were refused.
async fn story(address: SocketAddr) -> anyhow::Result<Vec<String>> {
    let opts = OptsBuilder::default().ip_or_hostname(address.ip().to_string());
    let opts = opts.tcp_port(address.port()).user(Some("app")).pass(Some("app"));
    let opts = opts.db_name(Some("shop")).prefer_socket(false);
    let mut session = Conn::new(opts).await?;
    session.query_drop("SET @a = 1, sql_mode = 'ANSI_QUOTES'").await?;
    session.query_drop("CREATE TEMPORARY TABLE tmp (a INT)").await?;
    session.query_drop("USE other").await?;
    session.query_drop("BEGIN").await?;
    session.query_drop("INSERT INTO shop.t VALUES (1)").await?;
    let mut story = Vec::new();
    for schema in ["shop", "other", "nowhere", "shop"] {
        let other = ChangeUserOpts::new().with_user(Some("b".to_owned()));
        let other = other.with_pass(Some("wrong".to_owned()));
        let other = other.with_db_name(Some(schema.to_owned()));
        let refused = session.change_user(other).await.unwrap_err();
        story.push(refused.to_string().split('(').next().unwrap_or_default().to_owned());
        let who = "SELECT @a IS NULL, @@sql_mode, CURRENT_USER(), DATABASE(), @@in_transaction";
        let who: Option<(bool, String, String, String, bool)> = session.query_first(who).await?;
        story.push(format!("{who:?}"));
        let rows: Option<u32> = session.query_first("SELECT COUNT(*) FROM shop.t").await?;
        let gone = session.query_drop("SELECT * FROM tmp").await.is_err();
        story.push(format!("{rows:?}, {gone}"));
    }
    Ok(story)
}

#[test]
fn a_session_of_mariadb_goes_on_as_who_it_was_when_a_change_of_user_is_refused()
-> anyhow::Result<()> {
    if !MariaDb::is_installed() {
        eprintln!("skipped: MariaDB is not installed");
        return Ok(());
    }
    let server = MariaDb::start()?;
    server.sql("CREATE DATABASE shop; CREATE DATABASE other; CREATE TABLE shop.t (a INT)")?;
    server.create_user("app", "app", "ALL ON *.*")?;
    server.create_user("b", "b", "ALL ON *.*")?;
    let mut text = toml(&[server.addr()], "topology = \"static\"\n", "");
    text.push_str("[[user]]\nname = \"b\"\npassword = \"b\"\n");
    let process = HighgateProcess::start(failure::BINARY, &text)?;
    let through = failure::run(story(process.listener("shop")?))?;
    let direct = failure::run(story(server.addr()))?;
    assert_eq!(through, direct);
    assert!(direct[0].contains("ERROR 1045"), "{direct:?}");
    assert!(direct[9].contains("ERROR 1047"), "{direct:?}");
    Ok(())
}

#[test]
fn an_account_that_its_replica_does_not_have_yet_is_served_by_the_primary() -> anyhow::Result<()> {
    if !MariaDb::is_installed() {
        eprintln!("skipped: MariaDB is not installed");
        return Ok(());
    }
    let cluster =
        ReplicationCluster::start_with(ReplicationOptions { nodes: 2, ..Default::default() })?;
    cluster.primary()?.sql(
        "CREATE DATABASE only; SET sql_log_bin = 0; CREATE USER late@'%' IDENTIFIED BY 'late'; \
         GRANT ALL ON *.* TO late@'%'",
    )?;
    let mut text = toml(&addresses(cluster.nodes()), REPLICATION, "");
    text.push_str("[[user]]\nname = \"late\"\npassword = \"late\"\n");
    text.push_str("[[user]]\nname = \"nobody\"\npassword = \"nobody\"\n");
    let process = start(&text, 2)?;
    let shop = process.listener("shop")?;
    for _ in 0..4 {
        // With a schema, which is looked for at the login already.
        let mut client = RawClient::connect(shop, "late", "late", Some("only"), USUAL)?;
        assert_eq!(client.value("SELECT 1")?, "1");
        assert_eq!(client.value("SELECT @@global.read_only")?, "0", "by the primary");
    }
    let events = ctl(&process, &["events"])?;
    assert!(events.contains("another server is asked"), "{events}");
    let mut nobody = RawClient::connect(shop, "nobody", "nobody", None, USUAL)?;
    let refused = nobody.query("SELECT 1")?;
    assert_eq!(refused[0].error(), Some(1045), "whom no server knows is told so");
    Ok(())
}

#[test]
fn a_replica_that_has_denied_an_account_is_left_alone_for_a_while() -> anyhow::Result<()> {
    if !MariaDb::is_installed() {
        eprintln!("skipped: MariaDB is not installed");
        return Ok(());
    }
    let account = "SET sql_log_bin = 0; CREATE USER late@'%' IDENTIFIED BY 'late'; GRANT ALL ON *.* TO late@'%'";
    let cluster = replica::cluster();
    cluster.primary()?.sql(account)?;
    let user = "[[user]]\nname = \"late\"\npassword = \"late\"\n";
    let process = replica::highgate(&cluster, "", user);
    let replica = cluster.node(1)?;
    let denials = || -> anyhow::Result<u64> {
        let status = "SELECT VARIABLE_VALUE FROM information_schema.GLOBAL_STATUS \
             WHERE VARIABLE_NAME = 'ACCESS_DENIED_ERRORS'";
        Ok(replica.value(status)?.parse()?)
    };
    failure::until_server(&process, "db2", Duration::from_secs(20), |server| {
        server.status == "up"
    })?;
    let before = denials()?;
    let mut client = RawClient::connect(process.listener("shop")?, "late", "late", None, USUAL)?;
    let begun = wait::now();
    for _ in 0..50 {
        assert_eq!(client.value("SELECT name FROM shop.me")?, "primary");
    }
    let most = before + 1 + (wait::now() - begun).as_secs() / 5;
    let after = denials()?;
    assert!(after > before && after <= most, "{before} {after}: one login in vain in five seconds");
    // Once it has the account, it serves it.
    replica.sql(account)?;
    wait::eventually(wait::Deadline::seconds(15), "the replica", || {
        let name = client.value("SELECT name FROM shop.me")?;
        anyhow::ensure!(name == "replica", "the {name} still answers");
        Ok(())
    })
}

/// It was taken for a server that can't serve: asked again for ten seconds, and no reason told.
#[test]
fn an_account_that_its_server_has_locked_or_is_at_its_limit_is_told_so_at_once()
-> anyhow::Result<()> {
    if !MariaDb::is_installed() {
        eprintln!("skipped: MariaDB is not installed");
        return Ok(());
    }
    let server = MariaDb::start()?;
    for (name, state) in [("locked", "ACCOUNT LOCK"), ("few", "WITH MAX_USER_CONNECTIONS 1")] {
        server.create_user(name, name, "ALL ON *.*")?;
        server.sql(&format!("ALTER USER {name}@'%' {state}"))?;
    }
    // One worker, so that the second session of an account finds the connection of the first.
    let text = toml(&[server.addr()], "topology = \"static\"\n", "");
    let mut text = text.replace("workers = 2", "workers = 1");
    for name in ["locked", "few"] {
        text.push_str(&format!("[[user]]\nname = \"{name}\"\npassword = \"{name}\"\n"));
    }
    let process = HighgateProcess::start(failure::BINARY, &text)?;
    let address = process.listener("shop")?;
    let connect = |name| RawClient::connect(address, name, name, None, USUAL);
    let began = wait::now();
    let mut locked = connect("locked")?;
    assert_eq!(locked.query("SELECT 1")?[0].error(), Some(1045));
    let (mut one, mut other) = (connect("few")?, connect("few")?);
    one.ok("BEGIN")?;
    assert_eq!(other.query("SELECT 1")?[0].error(), Some(1226));
    one.ok("COMMIT")?;
    assert_eq!(other.value("SELECT 1")?, "1", "by the connection that became free");
    assert!(wait::now() - began < Duration::from_secs(8), "at once");
    let events = ctl(&process, &["events", "--last", "50"])?;
    for said in ["4151 ", "1226 "] {
        let said =
            format!("can't be logged in to with this account: server refused the login: {said}");
        assert!(events.contains(&said), "{said}: {events}");
    }
    Ok(())
}

/// It counts as up, since the monitor's connection lives: every read failed after `failover_wait`.
#[test]
fn reads_go_to_the_primary_while_a_replica_takes_no_more_connections() -> anyhow::Result<()> {
    if !MariaDb::is_installed() {
        eprintln!("skipped: MariaDB is not installed");
        return Ok(());
    }
    let cluster = replica::cluster();
    let process = replica::highgate(&cluster, "", "");
    failure::until_server(&process, "db2", Duration::from_secs(20), |it| it.status == "up")?;
    let full = cluster.node(1)?;
    full.sql("SET GLOBAL max_connections = 10")?;
    let others: Vec<_> = (0..10)
        .map_while(|_| RawClient::connect(full.addr(), "app", "app", None, USUAL).ok())
        .collect();
    let address = process.listener("shop")?;
    let mut client = RawClient::connect(address, "app", "app", None, USUAL)?;
    let began = wait::now();
    assert_eq!(client.value("SELECT name FROM shop.me")?, "primary");
    assert!(wait::now() - began < Duration::from_secs(5), "it waited for the replica");
    let events = ctl(&process, &["events", "--last", "50"])?;
    assert!(
        events.contains("takes no more connections: server refused the login: 1040"),
        "{events}"
    );
    drop(others);
    wait::eventually(wait::Deadline::seconds(15), "the replica", || {
        let name = client.value("SELECT name FROM shop.me")?;
        anyhow::ensure!(name == "replica", "the {name} still answers");
        Ok(())
    })
}
