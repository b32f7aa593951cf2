//! What real clients were seen to rely on, each in its smallest form. `scripts/clients/run` has the
//! clients themselves.

#[path = "client/raw.rs"]
mod raw;

use std::{process::Command, time::Duration};

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
    let ports: Vec<u16> = cluster.nodes().iter().map(|node| node.port()).collect();
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

/// MariaDB's own suite of the C API (`test_bug17512527`): a client that connects again by itself looks
/// whether its connection is closed before it sends, and the command of one that is not yet is lost.
#[test]
fn an_idle_session_is_closed_by_the_time_that_its_kill_is_answered() -> anyhow::Result<()> {
    let Some((_server, process)) = single()? else {
        return Ok(());
    };
    let mut killer = connect(&process)?;
    for round in 0..100 {
        let killed = connect(&process)?;
        killer.ok(&format!("KILL {}", killed.id))?;
        assert!(killed.stream.is_closed()?, "round {round}");
    }
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

#[test]
fn a_session_knows_its_id_and_its_counts_within_expressions() -> anyhow::Result<()> {
    let Some((_server, process)) = single()? else {
        return Ok(());
    };
    let (mut client, mut other) = (connect(&process)?, connect(&process)?);
    let next = (client.id + 1).to_string();
    let answer = client.ok("SELECT 'a', CONNECTION_ID() + 1, 2 AS b")?;
    assert_eq!(answer.texts()[0][1].as_deref(), Some(&*next));
    let Part::Rows { columns, .. } = answer else { panic!() };
    assert!(String::from_utf8_lossy(&columns[1]).contains("CONNECTION_ID() + 1"));
    client.ok("CREATE TABLE counts(a BIGINT)")?;
    client.ok("INSERT INTO counts VALUES (1), (2), (3)")?;
    // The connection that knew has served another session since.
    other.ok("DO 1")?;
    assert_eq!(client.value("SELECT ROW_COUNT() * 10 AS n")?, "30");
    client.ok("SELECT a FROM counts")?;
    other.ok("SELECT 1")?;
    assert_eq!(client.value("SELECT FOUND_ROWS() * 10")?, "30");
    client.ok("INSERT INTO counts SELECT CONNECTION_ID() + 1000")?;
    let written = (client.id + 1000).to_string();
    assert_eq!(client.value("SELECT MAX(a) FROM counts")?, written);
    client.ok("SELECT SQL_CALC_FOUND_ROWS a FROM counts LIMIT 1")?;
    other.ok("SELECT 1")?;
    assert_eq!(client.value("SELECT CEIL(FOUND_ROWS() / 2) AS pages")?, "2");
    Ok(())
}

#[test]
fn a_character_set_of_a_schema_follows_its_session() -> anyhow::Result<()> {
    let Some((server, process)) = single()? else {
        return Ok(());
    };
    server.sql("CREATE DATABASE old CHARACTER SET latin1 COLLATE latin1_bin")?;
    let (mut client, mut other) = (connect(&process)?, connect(&process)?);
    client.ok("USE old")?;
    client.ok("SET CHARACTER SET utf8mb4")?;
    client.ok("USE shop")?;
    other.ok("SET NAMES latin1")?;
    let asks = "SELECT CONCAT_WS(' ', @@character_set_client, @@collation_connection)";
    let ids: Vec<String> = [&mut client, &mut other]
        .into_iter()
        .map(|session| session.value("SELECT @@pseudo_thread_id + 0"))
        .collect::<Result<_, _>>()?;
    assert_eq!(ids[0], ids[1], "the same connection: nothing binds it");
    assert_eq!(client.value(asks)?, "utf8mb4 latin1_bin");
    assert_eq!(other.value(asks)?, "latin1 latin1_swedish_ci");
    Ok(())
}

/// The short form of the comparison with MariaDB's command line programs: what is installed with it.

#[test]
fn what_is_said_to_the_server_alone_reaches_it() -> anyhow::Result<()> {
    let Some((_db, highgate)) = single()? else { return Ok(()) };
    let mut client = connect(&highgate)?;
    // COM_REFRESH of the status counters, COM_DEBUG.
    for command in [&[0x07, 0x10][..], &[0x0d]] {
        assert_eq!(client.command(command)?[0].error(), None, "{command:?}");
    }
    // There is no such option.
    assert_eq!(client.command(&[0x1b, 2, 0])?[0].error(), Some(1047));
    assert_eq!(client.value("SELECT 5")?, "5");
    Ok(())
}

#[test]
fn command_line_programs_see_no_difference() -> anyhow::Result<()> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scripts/clients/run");
    let has = |program: &str, argument: &str| {
        Command::new(program).arg(argument).output().is_ok_and(|out| out.status.success())
    };
    if !MariaDb::is_installed()
        || !has("python3", "-V")
        || !has("mariadb", "-V")
        || !has("openssl", "version")
    {
        eprintln!("skipped: MariaDB, its client, Python or openssl are not installed");
        return Ok(());
    }
    let done = Command::new("python3")
        .args(["-B", script, "--smoke", "--binary", BINARY, "--ways", "direct,cluster", "cli"])
        .output()?;
    let said = String::from_utf8_lossy(&done.stdout);
    let problems = String::from_utf8_lossy(&done.stderr);
    anyhow::ensure!(done.status.success(), "{said}\n{problems}");
    anyhow::ensure!(said.contains("cli"), "{said}\n{problems}");
    Ok(())
}
