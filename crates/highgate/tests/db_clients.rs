//! What real clients were seen to rely on, each in its smallest form. `scripts/clients/run` has the
//! clients themselves.

#[path = "client/raw.rs"]
mod raw;

use std::time::Duration;

use highgate_mysql::{Capabilities, packet::PacketWriter};
use highgate_testkit::{HighgateProcess, MariaDb, MariaDbOptions, ReplicationCluster};

use raw::{Part, RawClient, execute};

const BINARY: &str = env!("CARGO_BIN_EXE_highgate");

fn config(topology: &str, ports: &[u16]) -> String {
    let mut text = format!(
        "admin = {{ sql = \"off\", web = \"off\" }}\n\
         [[listener]]\nname = \"shop\"\nbind = \"127.0.0.1:0\"\nmode = \"mysql\"\nbackend = \"shop\"\n\
         causal_reads = true\n\
         [[backend]]\nname = \"shop\"\ntopology = \"{topology}\"\n\
         monitor = {{ user = \"monitor\", password = \"monitor\", interval = \"200ms\" }}\n\
         [[user]]\nname = \"app\"\npassword = \"app\"\nlocal_infile = true\n"
    );
    for (at, port) in ports.iter().enumerate() {
        text.push_str(&format!(
            "[[backend.server]]\nname = \"db{at}\"\naddress = \"127.0.0.1:{port}\"\n"
        ));
    }
    text
}

fn single() -> anyhow::Result<Option<(MariaDb, HighgateProcess)>> {
    if !MariaDb::is_installed() {
        eprintln!("skipped: MariaDB is not installed");
        return Ok(None);
    }
    let server = MariaDb::start_with(MariaDbOptions {
        args: vec!["--local-infile=1".to_owned()],
        ..Default::default()
    })?;
    server.sql("CREATE DATABASE shop")?;
    server.create_user("app", "app", "ALL ON *.*")?;
    server.create_user("monitor", "monitor", "REPLICATION CLIENT ON *.*")?;
    let process = HighgateProcess::start(BINARY, &config("static", &[server.port()]))?;
    Ok(Some((server, process)))
}

fn connect(process: &HighgateProcess) -> anyhow::Result<RawClient> {
    let capabilities = Capabilities::PROTOCOL_41
        | Capabilities::SECURE_CONNECTION
        | Capabilities::PLUGIN_AUTH
        | Capabilities::CONNECT_WITH_DB
        | Capabilities::LOCAL_FILES
        | Capabilities::TRANSACTIONS;
    RawClient::connect(process.listener("shop")?, "app", "app", Some("shop"), capabilities)
}

#[test]
fn a_local_file_that_the_statement_names_is_loaded() -> anyhow::Result<()> {
    let Some((_server, process)) = single()? else {
        return Ok(());
    };
    let mut client = connect(&process)?;
    client.ok("CREATE TABLE t(a INT, b INT)")?;
    client.send(b"\x03LOAD DATA LOCAL INFILE 'some file' INTO TABLE t")?;
    assert_eq!(client.packet()?, b"\xfbsome file");
    let mut file = Vec::new();
    let mut writer = PacketWriter::new(&mut file, client.seq().wrapping_add(1));
    writer.payload(b"1\t2\n3\t4\n");
    writer.payload(b"");
    client.send_raw(&file)?;
    let answer = client.answer()?;
    assert!(matches!(answer[..], [Part::Ok { affected: 2, .. }]), "{answer:?}");
    assert_eq!(client.value("SELECT SUM(b) FROM t")?, "6");
    Ok(())
}

/// MariaDB's connectors send the execution behind the preparation, and -1 as the statement.
#[test]
fn an_execution_sent_behind_its_preparation_names_it_by_minus_one() -> anyhow::Result<()> {
    let Some((_server, process)) = single()? else {
        return Ok(());
    };
    let mut client = connect(&process)?;
    for _ in 0..3 {
        client.send(b"\x16SELECT 6 * 7")?;
        client.send(&execute(u32::MAX, 0, &[], false))?;
        client.prepared()?;
        let answer = client.answer()?;
        assert!(matches!(&answer[..], [Part::Rows { rows, .. }] if rows.len() == 1), "{answer:?}");
    }
    client.send(b"\x16SELEKT")?;
    client.send(&execute(u32::MAX, 0, &[], false))?;
    assert_eq!(client.prepared()?.error(), Some(1064));
    assert_eq!(client.answer()?[0].error(), Some(1243), "the failed one is not the one before");
    Ok(())
}

/// TypeORM began its transactions on the replica that had taken the isolation level.
#[test]
fn a_transaction_of_another_isolation_level_may_write() -> anyhow::Result<()> {
    if !MariaDb::is_installed() {
        eprintln!("skipped: MariaDB is not installed");
        return Ok(());
    }
    let cluster = ReplicationCluster::start(2)?;
    cluster.primary()?.sql("CREATE TABLE shop.t(a INT)")?;
    cluster.wait_caught_up()?;
    let ports: Vec<u16> = cluster.nodes().iter().map(MariaDb::port).collect();
    let process = HighgateProcess::start(BINARY, &config("mariadb-replication", &ports))?;
    process.wait_for_log("replicates from")?;
    let mut client = connect(&process)?;
    client.ok("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE")?;
    client.ok("START TRANSACTION")?;
    client.ok("INSERT INTO t VALUES (1)")?;
    client.ok("COMMIT")?;
    assert_eq!(client.value("SELECT COUNT(*) FROM t")?, "1");
    Ok(())
}

/// libmariadb connects again by itself at end of file, and not at an error.
#[test]
fn a_session_killed_while_idle_is_closed_without_a_word() -> anyhow::Result<()> {
    let Some((_server, process)) = single()? else {
        return Ok(());
    };
    let (mut one, mut other) = (connect(&process)?, connect(&process)?);
    other.ok(&format!("KILL {}", one.id))?;
    assert!(one.packet().is_err(), "end of file, and no packet before it");
    let own = other.id;
    assert_eq!(other.query(format!("KILL {own}"))?[0].error(), Some(1927));
    assert!(other.packet().is_err());
    Ok(())
}

#[test]
fn a_client_is_left_after_the_silence_that_it_asked_for() -> anyhow::Result<()> {
    let Some((_server, process)) = single()? else {
        return Ok(());
    };
    let mut client = connect(&process)?;
    client.ok("SET wait_timeout = 1")?;
    let began = std::time::Instant::now();
    assert!(client.packet().is_err());
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    Ok(())
}

#[test]
fn a_refused_login_names_user_host_and_password_as_servers_do() -> anyhow::Result<()> {
    let Some((_server, process)) = single()? else {
        return Ok(());
    };
    let login = |user: &str, password: &str| {
        let address = process.listener("shop").expect("it listens");
        let refused = RawClient::connect(address, user, password, None, Capabilities::PROTOCOL_41);
        format!("{:#}", refused.expect_err("it is refused"))
    };
    for (user, password, said) in
        [("app", "wrong", "YES"), ("nobody", "x", "YES"), ("app", "", "NO")]
    {
        let text = login(user, password);
        let wanted =
            format!("Access denied for user '{user}'@'127.0.0.1' (using password: {said})");
        assert!(text.contains(&wanted), "{text}");
    }
    Ok(())
}
