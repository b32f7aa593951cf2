//! Limits of memory, descriptors and time, and the right to end what runs, on a real server.

#[path = "common/failure.rs"]
#[allow(unused_imports, reason = "each test binary uses a part of it")]
mod failure;
#[path = "client/raw.rs"]
mod raw;

use std::{
    net::{SocketAddr, TcpStream},
    process::{Command, Stdio},
    time::Duration,
};

use failure::{BINARY, code, connect, connect_as, ctl, pause, run, server, toml};
use highgate_testkit::{
    highgate::HighgateProcess,
    mariadb::MariaDb,
    wait::{self, Deadline},
};
use mysql_async::prelude::Queryable as _;
use raw::{Part, RawClient, USUAL};

const BACKEND: &str = "monitor = { user = \"monitor\", password = \"monitor\", interval = \"300ms\" }\n\
    failover_wait = \"2s\"\n";

fn database() -> Option<MariaDb> {
    if !MariaDb::is_installed() {
        eprintln!("skipped: MariaDB is not installed");
        return None;
    }
    let db = MariaDb::start().unwrap();
    db.sql("CREATE DATABASE shop").unwrap();
    db.sql("CREATE TABLE shop.t (id INT PRIMARY KEY, n INT)").unwrap();
    db.sql("INSERT INTO shop.t VALUES (1, 0)").unwrap();
    for user in ["app", "other"] {
        db.create_user(user, user, "ALL ON shop.*").unwrap();
    }
    db.create_user("monitor", "monitor", "REPLICATION CLIENT ON *.*").unwrap();
    Some(db)
}

fn configuration(db: &MariaDb, node: &str, backend: &str, listener: &str) -> String {
    let text = toml(&[db.addr()], &format!("{BACKEND}{backend}"), listener);
    let other = "[[user]]\nname = \"other\"\npassword = \"other\"\nbackend = \"shop\"\n";
    format!("{node}\n{text}\n{other}")
}

fn front(db: &MariaDb, node: &str, backend: &str, listener: &str) -> HighgateProcess {
    failure::start(&configuration(db, node, backend, listener), 1).unwrap()
}

fn raw(address: SocketAddr) -> RawClient {
    RawClient::connect(address, "app", "app", Some("shop"), USUAL).unwrap()
}

fn error(parts: &[Part]) -> Option<u16> {
    parts.iter().find_map(Part::error)
}

#[test]
fn a_packet_past_the_limit_is_refused_and_the_session_lives_on() {
    let Some(db) = database() else { return };
    let process = front(&db, "", "", "max_allowed_packet = \"1MiB\"");
    let mut client = raw(process.listener("shop").unwrap());
    // The second one consists of two packets, whose first has the greatest length there is.
    for size in [2_usize << 20, 20 << 20] {
        let text = format!("SELECT LENGTH('{}')", "x".repeat(size));
        assert_eq!(error(&client.query(&text).unwrap()), Some(1153), "{size}");
        assert_eq!(client.value("SELECT 7").unwrap(), "7");
    }
}

#[test]
fn a_command_past_the_memory_limit_is_refused_and_the_session_lives_on() {
    let Some(db) = database() else { return };
    let process = front(&db, "memory_limit = \"16MiB\"", "", "");
    let address = process.listener("shop").unwrap();
    let mut client = raw(address);
    for _ in 0..2 {
        let text = format!("SELECT LENGTH('{}')", "x".repeat(30 << 20));
        assert_eq!(error(&client.query(&text).unwrap()), Some(1041));
        assert_eq!(client.value("SELECT 7").unwrap(), "7");
    }
    assert_eq!(raw(address).value("SELECT 8").unwrap(), "8");
}

/// Time of the processor that the process used, in hundredths of a second.
fn cpu(process: &HighgateProcess) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", process.pid())).unwrap();
    let rest = stat.rsplit(')').next().unwrap();
    let fields: Vec<&str> = rest.split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

#[test]
fn more_clients_than_descriptors_make_no_spin_and_no_silence() {
    let Some(db) = database() else { return };
    let text = configuration(&db, "", "", "");
    let process = HighgateProcess::start_with(BINARY, &text, |command| {
        let mut shell = Command::new("sh");
        shell
            .args(["-c", "ulimit -n 256; exec \"$0\" \"$@\""])
            .arg(command.get_program())
            .args(command.get_args())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        if let Some(folder) = command.get_current_dir() {
            shell.current_dir(folder);
        }
        *command = shell;
    })
    .unwrap();
    let address = process.listener("shop").unwrap();
    let mut first = raw(address);
    assert_eq!(first.value("SELECT 1").unwrap(), "1");
    let crowd: Vec<TcpStream> = (0..400).map(|_| TcpStream::connect(address).unwrap()).collect();
    let _ = wait::wait_until(Deadline::after(Duration::from_millis(500)), || false);
    let before = cpu(&process);
    let _ = wait::wait_until(Deadline::seconds(1), || false);
    let used = cpu(&process) - before;
    assert!(used < 20, "{used} hundredths of a second in one second");
    let node = ctl(&process, &["show", "servers"]).unwrap();
    assert!(node.contains("db1"), "{node}");
    assert_eq!(first.value("SELECT 2").unwrap(), "2");
    drop(crowd);
    wait::eventually(Deadline::seconds(5), "a client to be served again", || {
        let mut client = RawClient::connect(address, "app", "app", Some("shop"), USUAL)?;
        anyhow::ensure!(client.value("SELECT 3")? == "3");
        Ok(())
    })
    .unwrap();
}

#[test]
fn a_client_that_dies_in_a_transaction_leaves_no_lock() {
    let Some(db) = database() else { return };
    let process = front(&db, "", "", "");
    let address = process.listener("shop").unwrap();
    let mut client = raw(address);
    client.ok("BEGIN").unwrap();
    client.ok("UPDATE t SET n = 5 WHERE id = 1").unwrap();
    drop(client);
    let died = wait::now();
    raw(address).ok("UPDATE t SET n = n + 1 WHERE id = 1").unwrap();
    assert!(wait::now() - died < Duration::from_secs(1));
    assert_eq!(db.value("SELECT n FROM shop.t").unwrap(), "1");
}

#[test]
fn a_transaction_left_idle_is_rolled_back() {
    let Some(db) = database() else { return };
    let process = front(&db, "", "", "idle_in_transaction_timeout = \"1s\"");
    let address = process.listener("shop").unwrap();
    let (mut idle, mut outside) = (raw(address), raw(address));
    assert_eq!(outside.value("SELECT 1").unwrap(), "1");
    idle.ok("BEGIN").unwrap();
    idle.ok("UPDATE t SET n = 5 WHERE id = 1").unwrap();
    let left = wait::now();
    raw(address).ok("UPDATE t SET n = n + 1 WHERE id = 1").unwrap();
    let waited = wait::now() - left;
    assert!(waited > Duration::from_millis(700) && waited < Duration::from_secs(3), "{waited:?}");
    assert_eq!(db.value("SELECT n FROM shop.t").unwrap(), "1");
    // It is told a moment after the log is.
    wait::eventually(Deadline::seconds(5), "the idle session to end", || {
        let last = idle.query("SELECT 1");
        anyhow::ensure!(last.as_ref().map_or(true, |parts| error(parts).is_some()), "{last:?}");
        Ok(())
    })
    .unwrap();
    assert_eq!(outside.value("SELECT 2").unwrap(), "2");
}

#[test]
fn a_session_ends_statements_of_its_own_account_only() {
    let Some(db) = database() else { return };
    let process = front(&db, "", "", "");
    let address = process.listener("shop").unwrap();
    run(async {
        let mut victim = connect(address).await.unwrap();
        let mut bystander = connect(address).await.unwrap();
        let id: u64 = victim.query_first("SELECT CONNECTION_ID()").await.unwrap().unwrap();
        let sleeps = tokio::spawn(async move {
            let started = wait::now();
            let end = victim.query_first::<u64, _>("SELECT SLEEP(8)").await;
            (end, wait::now() - started, victim)
        });
        let other =
            tokio::spawn(async move { bystander.query_first::<u64, _>("SELECT SLEEP(2)").await });
        pause(Duration::from_millis(500)).await;
        let mut stranger = connect_as(address, "other").await.unwrap();
        let refused = stranger.query_drop(format!("KILL QUERY {id}")).await.unwrap_err();
        assert_eq!(code(&refused), Some(1095), "{refused}");
        let mut killer = connect(address).await.unwrap();
        killer.query_drop(format!("KILL QUERY {id}")).await.unwrap();
        // Whoever gets a connection right now is not hit by a kill that comes late.
        for n in 0..50_u64 {
            let got: Option<u64> =
                killer.query_first(format!("SELECT {n} + SLEEP(0.002)")).await.unwrap();
            assert_eq!(got, Some(n));
        }
        let (end, took, mut victim) = sleeps.await.unwrap();
        assert!(took < Duration::from_secs(3), "{took:?}");
        // A server tells of an interrupted SLEEP by a 1 or by an error.
        assert!(
            matches!(&end, Ok(Some(1))) || end.as_ref().is_err_and(|e| code(e) == Some(1317)),
            "{end:?}"
        );
        assert_eq!(other.await.unwrap().unwrap(), Some(0), "another statement was hit");
        assert_eq!(victim.query_first::<u64, _>("SELECT 3").await.unwrap(), Some(3));
        killer.query_drop(format!("KILL {id}")).await.unwrap();
        pause(Duration::from_millis(300)).await;
        victim.query_drop("SELECT 4").await.unwrap_err();
        let unknown = killer.query_drop("KILL 987654321").await.unwrap_err();
        assert_eq!(code(&unknown), Some(1094), "{unknown}");
    });
}

#[test]
fn a_read_without_any_server_fails_in_time_and_works_after_the_restart() {
    let Some(db) = database() else { return };
    let process = front(&db, "", "", "");
    let address = process.listener("shop").unwrap();
    let mut client = raw(address);
    assert_eq!(client.value("SELECT n FROM t").unwrap(), "0");
    db.kill9();
    for _ in 0..2 {
        let asked = wait::now();
        let answer = client.query("SELECT n FROM t").unwrap();
        let took = wait::now() - asked;
        assert!(error(&answer).is_some(), "{answer:?}");
        assert!(took < Duration::from_secs(3), "{took:?}: {answer:?}");
    }
    db.restart().unwrap();
    wait::eventually(Deadline::seconds(10), "an answer of the server", || {
        anyhow::ensure!(client.value("SELECT n FROM t")? == "0");
        Ok(())
    })
    .unwrap();
}

#[test]
fn a_burst_of_clients_is_served_at_the_rate_of_new_connections() {
    let Some(db) = database() else { return };
    let process = front(&db, "", "connect_rate = 20\n", "");
    let address = process.listener("shop").unwrap();
    let count = || {
        let row = db.sql("SHOW GLOBAL STATUS LIKE 'Connections'").unwrap();
        row[0][1].parse::<u64>().unwrap()
    };
    let before = count();
    let started = wait::now();
    let clients: Vec<_> = (0..60)
        .map(|_| std::thread::spawn(move || raw(address).value("SELECT SLEEP(4)").unwrap()))
        .collect();
    let _ = wait::wait_until(Deadline::seconds(1), || false);
    let seen = count() - before;
    let at = wait::now() - started;
    for client in clients {
        assert_eq!(client.join().unwrap(), "0");
    }
    eprintln!("{seen} connections after {at:?}, all served after {:?}", wait::now() - started);
    // Besides the rate: what may come at once, a check, and the look itself.
    let most = at.as_millis() * 20 / 1000 + 8;
    assert!(seen > 10 && u128::from(seen) <= most, "{seen} after {at:?}");
}

#[test]
fn a_shorter_idle_timeout_holds_for_connections_that_lie_idle_already() {
    let Some(db) = database() else { return };
    let process = front(&db, "", "idle_timeout = \"1h\"\n", "");
    let mut client = raw(process.listener("shop").unwrap());
    assert_eq!(client.value("SELECT n FROM t").unwrap(), "0");
    let open = || {
        let text = "SELECT COUNT(*) FROM information_schema.processlist WHERE user = 'app'";
        db.value(text).unwrap()
    };
    assert_eq!(open(), "1");
    let text = configuration(&db, "", "idle_timeout = \"1s\"\n", "");
    std::fs::write(process.config_file(), text).unwrap();
    process.signal(rustix::process::Signal::HUP).unwrap();
    wait::eventually(Deadline::seconds(15), "the idle connection to be closed", || {
        anyhow::ensure!(open() == "0", "{} are open", open());
        Ok(())
    })
    .unwrap();
    assert_eq!(client.value("SELECT n FROM t").unwrap(), "0");
}

/// One connection, which its holder can't give away, and two others that wait for it.
#[test]
fn who_waits_for_a_full_server_keeps_its_place_when_a_schema_is_altered() {
    let Some(db) = database() else { return };
    let configuration = |weight: u32| {
        let server = format!("name = \"db1\"\nmax_connections = 1\nweight = {weight}\n");
        configuration(&db, "", "", "").replacen("name = \"db1\"\n", &server, 1)
    };
    let process = failure::start(&configuration(1), 1).unwrap();
    let address = process.listener("shop").unwrap();
    let shows = |column: &str, number: u32| {
        wait::eventually(Deadline::seconds(10), column, || {
            let rows = failure::table(&process, "servers")?;
            anyhow::ensure!(rows[0][column] == number, "{rows:?}");
            Ok(())
        })
        .unwrap();
    };
    // A login needs a connection, too: for its schema.
    let [mut holder, one, other] = [(); 3].map(|()| raw(address));
    assert_eq!(holder.value("SELECT GET_LOCK('mine', 1)").unwrap(), "1");
    let waits = |mut client: RawClient, digit: u32| {
        let text = format!("UPDATE t SET n = 10 * n + {digit} WHERE id = 1");
        std::thread::spawn(move || drop(client.ok(&text).unwrap()))
    };
    let first = waits(one, 1);
    shows("queued", 1);
    holder.ok("CREATE TABLE schema_migrations (version INT)").unwrap();
    holder.ok("ALTER TABLE schema_migrations ADD at DATETIME").unwrap();
    holder.ok("ALTER DATABASE shop CHARACTER SET latin2").unwrap();
    let second = waits(other, 2);
    shows("queued", 2);
    // A new snapshot wakes whoever waits.
    std::fs::write(process.config_file(), configuration(2)).unwrap();
    process.signal(rustix::process::Signal::HUP).unwrap();
    shows("weight", 2000);
    assert_eq!(holder.value("SELECT RELEASE_LOCK('mine')").unwrap(), "1");
    first.join().unwrap();
    second.join().unwrap();
    assert_eq!(db.value("SELECT n FROM shop.t").unwrap(), "12", "in the order of their coming");
}

#[test]
fn a_drained_server_finishes_its_transaction_and_gets_nothing_new() {
    let Some(db) = database() else { return };
    let process = front(&db, "", "", "");
    let address = process.listener("shop").unwrap();
    let (mut busy, mut idle) = (raw(address), raw(address));
    assert_eq!(idle.value("SELECT n FROM t").unwrap(), "0");
    busy.ok("BEGIN").unwrap();
    busy.ok("UPDATE t SET n = 5 WHERE id = 1").unwrap();
    ctl(&process, &["drain", "shop/db1"]).unwrap();
    assert_eq!(server(&process, "db1").unwrap().status, "draining", "in force with the answer");
    assert!(error(&idle.query("SELECT n FROM t").unwrap()).is_some());
    busy.ok("UPDATE t SET n = n + 1 WHERE id = 1").unwrap();
    busy.ok("COMMIT").unwrap();
    assert_eq!(db.value("SELECT n FROM shop.t").unwrap(), "6");
    assert!(error(&busy.query("SELECT n FROM t").unwrap()).is_some());
    ctl(&process, &["enable", "shop/db1"]).unwrap();
    assert_eq!(idle.value("SELECT n FROM t").unwrap(), "6");
}

#[test]
fn a_stop_lets_a_transaction_finish_and_ends_idle_sessions() {
    let Some(db) = database() else { return };
    let mut process = front(&db, "drain_timeout = \"10s\"", "", "");
    let address = process.listener("shop").unwrap();
    let (mut busy, mut idle) = (raw(address), raw(address));
    assert_eq!(idle.value("SELECT n FROM t").unwrap(), "0");
    busy.ok("BEGIN").unwrap();
    busy.ok("UPDATE t SET n = 5 WHERE id = 1").unwrap();
    let stopped = wait::now();
    process.signal(rustix::process::Signal::TERM).unwrap();
    process.wait_for_log("draining").unwrap();
    let last = idle.query("SELECT 1");
    assert!(last.as_ref().map_or(true, |parts| error(parts).is_some()), "{last:?}");
    assert_eq!(error(&busy.command(&[0x0e]).unwrap()), Some(1053));
    busy.ok("UPDATE t SET n = n + 1 WHERE id = 1").unwrap();
    busy.ok("COMMIT").unwrap();
    assert!(process.wait(Deadline::seconds(5)).unwrap().success());
    assert!(wait::now() - stopped < Duration::from_secs(6));
    assert_eq!(db.value("SELECT n FROM shop.t").unwrap(), "6");
}
