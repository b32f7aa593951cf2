//! Clients that ask for changes of session state hear of them as from the server itself, also where
//! their statements run on a connection that served another session a moment ago.

#[path = "client/raw.rs"]
mod raw;

use std::{net::SocketAddr, process::Command};

use highgate_mysql::{
    Capabilities,
    reply::{StateChange, StateChanges},
};
use highgate_testkit::{
    HighgateProcess, MariaDb, MariaDbOptions, MySql, database::DatabaseOptions,
};

use raw::{Part, RawClient, USUAL, about, execute};

const SETUP: &str = "CREATE DATABASE shop; CREATE DATABASE other; CREATE TABLE shop.t(a INT);\
    CREATE PROCEDURE shop.p() SELECT COUNT(*) FROM shop.t;\
    CREATE PROCEDURE shop.q() SET SESSION max_join_size = 1000000;";

/// What drivers and people do that servers tell of.
const STATEMENTS: &[&str] = &[
    "SELECT 1",
    "USE other",
    "SET NAMES latin1",
    "SET time_zone = '+03:00', @a = 1",
    "SELECT @a",
    "SET SESSION sql_mode = 'ANSI_QUOTES'",
    "USE shop",
    "CREATE TEMPORARY TABLE tt(a INT)",
    "INSERT INTO tt VALUES (1)",
    "DROP TEMPORARY TABLE tt",
    "INSERT INTO t VALUES (1), (2)",
    "START TRANSACTION",
    "INSERT INTO t VALUES (3)",
    "SELECT COUNT(*) FROM t",
    "COMMIT",
    "START TRANSACTION READ ONLY",
    "SELECT COUNT(*) FROM t",
    "ROLLBACK",
    "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE",
    "BEGIN",
    "SELECT COUNT(*) FROM t",
    "COMMIT",
    "SET autocommit = 0",
    "INSERT INTO t VALUES (4)",
    "COMMIT",
    "SET autocommit = 1",
    "CALL p()",
    "CALL q()",
    "SET SESSION max_join_size = DEFAULT",
    "PREPARE s FROM 'SELECT 7'",
    "EXECUTE s",
    "DEALLOCATE PREPARE s",
    "SET NAMES utf8mb4; USE other; SELECT 5; USE shop",
    "SELEKT",
    "DROP TABLE IF EXISTS nosuch",
    "SELECT GET_LOCK('l', 1)",
    "SELECT RELEASE_LOCK('l')",
    "CREATE DATABASE gone@",
    "DROP DATABASE gone@",
    "SELECT DATABASE()",
    "CREATE DATABASE gone@",
    "USE gone@",
    "DROP DATABASE gone@",
    "SELECT DATABASE()",
    "USE shop",
];

/// Two connections, one of which is free for others while a session keeps the other.
fn config(port: u16) -> String {
    format!(
        "admin = {{ sql = \"off\", web = \"off\" }}\n\
         [[listener]]\nname = \"shop\"\nbind = \"127.0.0.1:0\"\nmode = \"mysql\"\nbackend = \"shop\"\n\
         [[backend]]\nname = \"shop\"\nqueue_timeout = \"20s\"\n\
         monitor = {{ user = \"monitor\", password = \"monitor\", interval = \"500ms\" }}\n\
         [[backend.server]]\nname = \"db1\"\naddress = \"127.0.0.1:{port}\"\nmax_connections = 2\n\
         [[user]]\nname = \"app\"\npassword = \"app\"\n"
    )
}

fn connect(address: SocketAddr) -> anyhow::Result<RawClient> {
    let wanted = USUAL
        | Capabilities::SESSION_TRACK
        | Capabilities::DEPRECATE_EOF
        | Capabilities::CONNECT_WITH_DB;
    let client = RawClient::connect(address, "app", "app", Some("shop"), wanted)?;
    assert!(client.capabilities.contains(Capabilities::SESSION_TRACK), "agreed");
    Ok(client)
}

/// What was told since the last call, each change in words, without what no two sessions share.
fn told(client: &mut RawClient) -> Vec<String> {
    let mut told = Vec::new();
    for bytes in std::mem::take(&mut client.tracked) {
        for change in StateChanges::new(&bytes) {
            let text = match change.expect("well formed") {
                StateChange::SystemVariable { name, value } => {
                    let (name, value) =
                        (String::from_utf8_lossy(name), String::from_utf8_lossy(value));
                    if name == "statement_id" {
                        continue;
                    }
                    format!("{name} = {value}")
                }
                StateChange::Gtids(text) => {
                    let text = String::from_utf8_lossy(text);
                    let uuid = text.rsplit_once(':').map_or(&*text, |(uuid, _)| uuid);
                    format!("GTID of {uuid}")
                }
                StateChange::Schema(text) => format!("schema {}", String::from_utf8_lossy(text)),
                StateChange::AnyState(text) => format!("state {}", String::from_utf8_lossy(text)),
                StateChange::TransactionCharacteristics(text) => {
                    format!("transaction {}", String::from_utf8_lossy(text))
                }
                StateChange::TransactionState(text) => {
                    format!("in {}", String::from_utf8_lossy(text))
                }
                StateChange::Unknown { kind, data } => format!("{kind}: {data:?}"),
            };
            told.push(text.replace("gone1", "gone").replace("gone2", "gone"));
        }
    }
    // One packet may tell in another order than the next version of the server.
    told.sort();
    told
}

/// A statement, and what its client was told: directly, and through Highgate.
type Step = (String, Vec<String>, Vec<String>);

/// Runs everything on a session of its own each way, with another session between any two steps.
/// Gives what was told of each step, directly and through.
fn both(direct: SocketAddr, through: SocketAddr, first: &str) -> anyhow::Result<Vec<Step>> {
    let (mut one, mut other) = (connect(direct)?, connect(through)?);
    let mut between = connect(through)?;
    let mut steps = Vec::new();
    if !first.is_empty() {
        one.ok(first)?;
        other.ok(first)?;
    }
    one.tracked.clear();
    other.tracked.clear();
    for statement in STATEMENTS {
        // A schema of its own each way: both are the same server.
        let own = |number: &str| statement.replace("gone@", &format!("gone{number}"));
        let answers = [one.query(own("1"))?, other.query(own("2"))?];
        assert_eq!(answers[0].len(), answers[1].len(), "{statement}: {answers:?}");
        assert_eq!(answers[0][0].error(), answers[1][0].error(), "{statement}");
        if statement.contains("DATABASE()") {
            assert_eq!(answers[0][0].texts(), answers[1][0].texts(), "{statement}");
        }
        steps.push((statement.to_string(), told(&mut one), told(&mut other)));
        between.ok(&format!("SET NAMES latin2, time_zone = '-0{}:00'", steps.len() % 9 + 1))?;
        between.ok("USE other")?;
    }
    for client in [&mut one, &mut other] {
        let Part::Prepared { id, .. } = client.prepare("INSERT INTO t VALUES (9)")? else {
            anyhow::bail!("not prepared");
        };
        client.command(&execute(id, 0, &[], false))?;
        client.send(&about(0x19, id))?;
    }
    steps.push(("COM_STMT_EXECUTE".to_owned(), told(&mut one), told(&mut other)));
    for (name, payload) in [("COM_INIT_DB", &b"\x02other"[..]), ("COM_RESET_CONNECTION", b"\x1f")] {
        one.command(payload)?;
        other.command(payload)?;
        steps.push((name.to_owned(), told(&mut one), told(&mut other)));
    }
    Ok(steps)
}

fn compare(direct: SocketAddr, port: u16, all: &str) -> anyhow::Result<()> {
    let (mut count, mut wrong) = (0, Vec::new());
    // Whoever says what it is to be told of keeps its connection.
    let process = HighgateProcess::start(env!("CARGO_BIN_EXE_highgate"), &config(port))?;
    for (what, there, here) in both(direct, process.listener("shop")?, all)? {
        count += there.len();
        if there != here {
            wrong.push(format!("{what}\n  direct  {there:?}\n  through {here:?}"));
        }
    }
    // Without asking for all of it: more is told through Highgate, never less.
    let process = HighgateProcess::start(env!("CARGO_BIN_EXE_highgate"), &config(port))?;
    for (what, there, here) in both(direct, process.listener("shop")?, "")? {
        if there.iter().any(|one| !here.contains(one)) {
            wrong.push(format!("{what}, by default\n  direct  {there:?}\n  through {here:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(count > 40, "{count} changes were told");
    Ok(())
}

#[test]
fn mariadb_tells_clients_of_the_same_changes() -> anyhow::Result<()> {
    if !MariaDb::is_installed() {
        eprintln!("skipped: MariaDB is not installed");
        return Ok(());
    }
    let server = MariaDb::start_with(MariaDbOptions::default())?;
    server.sql(SETUP)?;
    server.create_user("app", "app", "ALL ON *.*")?;
    server.create_user("monitor", "monitor", "REPLICATION CLIENT ON *.*")?;
    let all = "SET SESSION session_track_schema = 1, session_track_system_variables = '*',\
        session_track_state_change = 1, session_track_transaction_info = 'CHARACTERISTICS'";
    compare(server.addr(), server.port(), all)
}

#[test]
fn mysql_tells_clients_of_the_same_changes() -> anyhow::Result<()> {
    if !MySql::is_installed() {
        eprintln!("skipped: MySQL is not installed (scripts/mysql)");
        return Ok(());
    }
    let args =
        ["--log-bin=binlog", "--server-id=1", "--gtid-mode=ON", "--enforce-gtid-consistency=ON"];
    let options = DatabaseOptions { args: args.map(str::to_owned).to_vec(), ..Default::default() };
    let server = MySql::start_with(options)?;
    server.sql(SETUP)?;
    server.create_user("app", "app", "ALL ON *.*")?;
    server.create_user("monitor", "monitor", "REPLICATION CLIENT ON *.*")?;
    // The server knows the password from now on: the test's own client knows the short exchange alone.
    let port = format!("-P{}", server.port());
    let login = ["--no-defaults", "-uapp", "-papp", "-h127.0.0.1", "-e", "DO 1"];
    let done = Command::new(MySql::client("mysql")?).args(login).arg(port).output()?;
    anyhow::ensure!(done.status.success(), "{done:?}");
    let all = "SET SESSION session_track_schema = 1, session_track_system_variables = '*',\
        session_track_state_change = 1, session_track_transaction_info = 'CHARACTERISTICS',\
        session_track_gtids = OWN_GTID";
    compare(server.addr(), server.port(), all)
}
