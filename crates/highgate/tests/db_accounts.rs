//! Accounts that a server does not take: what the session has left, and who else is asked.

#[path = "common/failure.rs"]
#[allow(unused_imports, reason = "each test binary uses a part of it")]
mod failure;
#[path = "client/raw.rs"]
mod raw;

use failure::{REPLICATION, addresses, ctl, start, toml};
use highgate_testkit::{
    HighgateProcess, MariaDb, ReplicationCluster, replication::ReplicationOptions,
};
use raw::{Part, RawClient, USUAL};

/// COM_CHANGE_USER with a proof of some other password.
fn change_user(client: &mut RawClient, user: &str, schema: &str) -> anyhow::Result<Vec<Part>> {
    let mut payload = vec![0x11];
    payload.extend([user.as_bytes(), &[0, 20], &[7; 20], schema.as_bytes(), &[0, 45, 0]].concat());
    payload.extend(b"mysql_native_password\0");
    client.command(&payload)
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
    let process = HighgateProcess::start(
        env!("CARGO_BIN_EXE_highgate"),
        &format!(
            "admin = {{ sql = \"off\", web = \"off\" }}\n\
             [[listener]]\nname = \"shop\"\nbind = \"127.0.0.1:0\"\nmode = \"mysql\"\nbackend = \"shop\"\n\
             [[backend]]\nname = \"shop\"\ntopology = \"static\"\n\
             [[backend.server]]\nname = \"db\"\naddress = \"127.0.0.1:{}\"\n\
             [[user]]\nname = \"app\"\npassword = \"app\"\n[[user]]\nname = \"b\"\npassword = \"b\"\n",
            server.port()
        ),
    )?;
    let mut through =
        RawClient::connect(process.listener("shop")?, "app", "app", Some("shop"), USUAL)?;
    let mut direct = RawClient::connect(server.addr(), "app", "app", Some("shop"), USUAL)?;
    let mut seen = Vec::new();
    for client in [&mut through, &mut direct] {
        let mut story = Vec::new();
        client.ok("SET @a = 1, sql_mode = 'ANSI_QUOTES'")?;
        client.ok("CREATE TEMPORARY TABLE tmp (a INT)")?;
        client.ok("USE other")?;
        client.ok("BEGIN")?;
        client.ok("INSERT INTO shop.t VALUES (1)")?;
        for schema in ["shop", "", "nowhere", "shop"] {
            story.push(change_user(client, "b", schema)?.first().and_then(Part::error));
            let who = "SELECT @a, @@sql_mode, CURRENT_USER(), DATABASE(), @@in_transaction";
            story.push(None);
            seen.push(format!("{:?}", client.ok(who)?.texts()));
            seen.push(client.value("SELECT COUNT(*) FROM shop.t")?);
            seen.push(format!("{:?}", client.query("SELECT * FROM tmp")?[0].error()));
        }
        seen.push(format!("{story:?}"));
    }
    let (left, right) = seen.split_at(seen.len() / 2);
    assert_eq!(left, right);
    assert!(
        right
            .last()
            .is_some_and(|story| story.contains("1045") && story.ends_with("Some(1047), None]"))
    );
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
