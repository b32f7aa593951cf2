//! Who may log in, and with what: accounts of the configuration, of the cluster, and logins that the
//! server verifies itself; with stock clients and a real server.

#[path = "common/failure.rs"]
#[allow(unused_imports, reason = "each test binary uses a part of it")]
mod failure;
#[path = "client/raw.rs"]
mod raw;

use std::{
    io::Write as _,
    net::{SocketAddr, TcpStream},
    process::Command,
    time::{Duration, Instant},
};

use failure::{ctl, table};
use highgate_testkit::{
    highgate::HighgateProcess,
    mariadb::{MariaDb, MariaDbOptions},
    wait::{self, Deadline},
};
use raw::{RawClient, USUAL};

const MONITOR: &str = "monitor = { user = \"monitor\", password = \"monitor\", interval = \"300ms\" }\n\
    accounts = { user = \"reader\", password = \"reader\", interval = \"300ms\" }\n\
    failover_wait = \"2s\"\n";

fn database() -> Option<MariaDb> {
    if !MariaDb::is_installed() {
        eprintln!("skipped: MariaDB is not installed");
        return None;
    }
    let args = vec!["--plugin-load-add=auth_ed25519".to_owned()];
    let db = MariaDb::start_with(MariaDbOptions { args, ..MariaDbOptions::default() }).unwrap();
    db.sql("CREATE DATABASE shop").unwrap();
    db.sql("CREATE TABLE shop.t (id INT PRIMARY KEY)").unwrap();
    db.create_user("monitor", "monitor", "REPLICATION CLIENT ON *.*").unwrap();
    db.create_user("reader", "reader", "SELECT ON mysql.global_priv").unwrap();
    db.create_user("app", "app", "ALL ON shop.*").unwrap();
    Some(db)
}

fn configuration(db: &MariaDb, listener: &str, backend: &str, more: &str) -> String {
    format!("{}\n{more}", failure::toml(&[db.addr()], &format!("{MONITOR}{backend}"), listener))
}

fn front(db: &MariaDb, listener: &str, more: &str) -> HighgateProcess {
    failure::start(&configuration(db, listener, "", more), 1).unwrap()
}

fn shop(process: &HighgateProcess) -> SocketAddr {
    process.listener("shop").unwrap()
}

/// What the stock client says to one statement: its output, or its error.
fn cli(address: SocketAddr, user: &str, password: &str, more: &[&str]) -> Result<String, String> {
    let mut command = Command::new("mariadb");
    command
        .args(["--no-defaults", "--batch", "--skip-column-names", "--protocol=tcp"])
        .arg(format!("--host={}", address.ip()))
        .arg(format!("--port={}", address.port()))
        .arg(format!("--user={user}"))
        .arg(format!("--password={password}"));
    if !more.iter().any(|argument| argument.starts_with("--execute")) {
        command.arg("--execute=SELECT CURRENT_USER()");
    }
    let output = command.args(more).output().unwrap();
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
    }
}

/// As [`cli`], by a client that seals its password for the server's key where there is no TLS;
/// the stock client of Debian tells it to who listens.
fn sealed(address: SocketAddr, user: &str, password: &str) -> anyhow::Result<String> {
    use mysql_async::prelude::Queryable as _;
    let options = mysql_async::OptsBuilder::default()
        .ip_or_hostname(address.ip().to_string())
        .tcp_port(address.port())
        .user(Some(user))
        .pass(Some(password))
        .prefer_socket(false);
    failure::run(async {
        let mut conn = mysql_async::Conn::new(options).await?;
        let who: Option<String> = conn.query_first("SELECT CURRENT_USER()").await?;
        conn.disconnect().await?;
        who.ok_or_else(|| anyhow::anyhow!("no row"))
    })
}

/// Waits until that login works; accounts are read in the background.
fn until_in(address: SocketAddr, user: &str, password: &str) {
    wait::eventually(Deadline::seconds(10), "the login", || {
        cli(address, user, password, &[]).map(drop).map_err(anyhow::Error::msg)
    })
    .unwrap();
}

/// Waits until that login is refused.
fn until_out(address: SocketAddr, user: &str, password: &str) -> String {
    wait::eventually(Deadline::seconds(10), "the refusal", || {
        match cli(address, user, password, &[]) {
            Ok(text) => anyhow::bail!("let in: {text}"),
            Err(error) => Ok(error),
        }
    })
    .unwrap()
}

fn until_event(process: &HighgateProcess, words: &str) {
    wait::eventually(Deadline::seconds(10), "an event", || {
        let events = ctl(process, &["events", "--last", "200"])?;
        anyhow::ensure!(events.contains(words), "no `{words}` in\n{events}");
        Ok(())
    })
    .unwrap();
}

const CLUSTER: &str = "auth = \"cluster\"";
const PASSTHROUGH: &str = "auth = \"passthrough\"";

#[test]
fn accounts_of_the_cluster_log_in_and_follow_its_changes() {
    let Some(db) = database() else { return };
    let process = front(&db, CLUSTER, "");
    let address = shop(&process);
    until_in(address, "app", "app");
    assert!(cli(address, "app", "wrong", &[]).unwrap_err().contains("1045"));
    assert!(cli(address, "nobody", "app", &[]).unwrap_err().contains("1045"));

    db.sql("ALTER USER app IDENTIFIED BY 'new'").unwrap();
    until_in(address, "app", "new");
    until_out(address, "app", "app");

    db.create_user("late", "late", "ALL ON shop.*").unwrap();
    until_in(address, "late", "late");
    db.sql("DROP USER late").unwrap();
    until_out(address, "late", "late");
}

#[test]
fn what_the_server_demands_of_an_account_is_demanded() {
    let Some(db) = database() else { return };
    for user in ["locked", "expired", "secure", "elsewhere", "foreign"] {
        db.create_user(user, user, "ALL ON shop.*").unwrap();
    }
    db.sql("ALTER USER locked ACCOUNT LOCK").unwrap();
    db.sql("ALTER USER expired PASSWORD EXPIRE").unwrap();
    db.sql("ALTER USER secure REQUIRE SSL").unwrap();
    db.sql("RENAME USER elsewhere TO elsewhere@'10.1.2.3'").unwrap();
    db.sql("ALTER USER `foreign` IDENTIFIED VIA unix_socket").unwrap();
    let process = front(&db, CLUSTER, "");
    let address = shop(&process);
    until_in(address, "app", "app");
    for (user, code) in [
        ("locked", "4151"),
        ("expired", "1862"),
        ("secure", "1045"),
        ("elsewhere", "1045"),
        ("foreign", "1045"),
    ] {
        let error = cli(address, user, user, &[]).unwrap_err();
        assert!(error.contains(code), "{user}: {error}");
        // Without the password nobody learns why.
        let error = cli(address, user, "wrong", &[]).unwrap_err();
        assert!(error.contains("1045"), "{user}: {error}");
    }
    until_event(&process, "foreign@% (plugin unix_socket can't be verified here)");
    db.sql("ALTER USER locked ACCOUNT UNLOCK").unwrap();
    until_in(address, "locked", "locked");
}

/// The password of the configuration may be that of another account of the name: a client that had proved to
/// be one worked with the rights of the other.
#[test]
fn no_password_of_the_configuration_opens_servers_for_an_account_of_the_cluster() {
    let Some(db) = database() else { return };
    for (host, password) in [("10.9.9.9", "far"), ("127.0.0.1", "near")] {
        db.sql(&format!("CREATE USER two@'{host}' IDENTIFIED BY '{password}'")).unwrap();
    }
    let listener = format!("{CLUSTER}\nproxy_protocol_from = [\"127.0.0.0/8\"]");
    let user = "[[user]]\nname = \"two\"\npassword = \"near\"\n";
    let process = front(&db, &listener, user);
    let account = |from: &str, user: &str| {
        let mut socket = TcpStream::connect(shop(&process))?;
        write!(socket, "PROXY TCP4 {from} 127.0.0.1 40000 3306\r\n")?;
        let password = if from == "10.9.9.9" { "far" } else { user };
        RawClient::over(socket, user, password, None, USUAL)?.value("SELECT CURRENT_USER()")
    };
    let until = Deadline::seconds(10);
    wait::eventually(until, "the accounts", || account("127.0.0.1", "app").map(drop)).unwrap();
    let refused = account("10.9.9.9", "two").unwrap_err().to_string();
    assert!(refused.contains("1045"), "the server knows Highgate's address: {refused}");
}

#[test]
fn hosts_are_matched_as_the_server_matches_them() {
    let Some(db) = database() else { return };
    // Each password tells which account it was.
    let hosts = ["%", "127.%", "127.0.0._", "127_0.0.1", "127.0.0.1", "127.0.0.0/255.255.255.0"];
    let mut left: Vec<&str> = hosts.to_vec();
    for host in hosts {
        db.sql(&format!("CREATE USER multi@'{host}' IDENTIFIED BY '{host}'")).unwrap();
    }
    let process = front(&db, CLUSTER, "");
    let address = shop(&process);
    until_in(address, "app", "app");
    while !left.is_empty() {
        let winner = *left
            .iter()
            .find(|host| cli(db.addr(), "multi", host, &[]).is_ok())
            .expect("the server lets one in");
        wait::eventually(Deadline::seconds(10), "the same account", || {
            let through = cli(address, "multi", winner, &[]).map_err(anyhow::Error::msg)?;
            anyhow::ensure!(through == format!("multi@{winner}"), "{through}");
            Ok(())
        })
        .unwrap();
        db.sql(&format!("DROP USER multi@'{winner}'")).unwrap();
        left.retain(|host| *host != winner);
    }
    until_out(address, "multi", "%");
}

#[test]
fn accounts_that_cannot_be_read_stay_as_they_were_and_before_that_nobody_gets_in() {
    let Some(db) = database() else { return };
    db.sql("REVOKE SELECT ON mysql.global_priv FROM reader").unwrap();
    let process = front(&db, CLUSTER, "");
    let address = shop(&process);
    until_event(&process, "until then nobody can log in");
    assert!(cli(address, "app", "app", &[]).is_err());
    until_event(&process, "the accounts of backend shop were never read");
    db.sql("GRANT SELECT ON mysql.global_priv TO reader").unwrap();
    until_in(address, "app", "app");
    db.sql("DROP USER reader").unwrap();
    until_event(&process, "those read last stay in force");
    assert_eq!(cli(address, "app", "app", &[]).unwrap(), "app@%");
}

#[test]
fn one_of_several_methods_of_an_account_is_enough() {
    let Some(db) = database() else { return };
    db.sql(
        "CREATE USER two IDENTIFIED VIA unix_socket OR mysql_native_password USING PASSWORD('two')",
    )
    .unwrap();
    db.sql("GRANT ALL ON shop.* TO two").unwrap();
    let process = front(&db, CLUSTER, "");
    until_in(shop(&process), "two", "two");
}

#[test]
fn a_keyed_account_of_the_cluster_opens_servers_by_its_password() {
    let Some(db) = database() else { return };
    db.sql("CREATE USER keyed IDENTIFIED VIA ed25519 USING PASSWORD('keyed')").unwrap();
    db.sql("GRANT ALL ON shop.* TO keyed").unwrap();
    let process = front(&db, CLUSTER, "");
    let address = shop(&process);
    // Asked for in a full exchange, sealed by Highgate's key; the second login takes the fast path.
    wait::eventually(Deadline::seconds(10), "the login", || sealed(address, "keyed", "keyed"))
        .unwrap();
    assert_eq!(sealed(address, "keyed", "keyed").unwrap(), "keyed@%");
    assert!(sealed(address, "keyed", "wrong").unwrap_err().to_string().contains("1045"));
}

#[test]
fn a_session_that_the_server_verifies_says_that_it_cannot_be_moved() {
    let Some(db) = database() else { return };
    db.sql("CREATE USER keyed IDENTIFIED VIA ed25519 USING PASSWORD('keyed')").unwrap();
    db.sql("GRANT ALL ON shop.* TO keyed").unwrap();
    let process = front(&db, PASSTHROUGH, "");
    let address = shop(&process);
    assert_eq!(cli(address, "app", "app", &[]).unwrap(), "app@%");
    assert_eq!(cli(address, "keyed", "keyed", &[]).unwrap(), "keyed@%");
    let error = cli(address, "app", "wrong", &[]).unwrap_err();
    assert!(error.contains("1045") && error.contains("127.0.0.1"), "{error}");
    let error = cli(address, "app", "app", &["--database=nothing"]).unwrap_err();
    assert!(error.contains("1044") || error.contains("1049"), "{error}");

    let mut client = RawClient::connect(address, "app", "app", Some("shop"), USUAL).unwrap();
    let thread = client.value("SELECT CONNECTION_ID() + 0").unwrap();
    for _ in 0..3 {
        assert_eq!(client.value("SELECT CONNECTION_ID() + 0").unwrap(), thread);
    }
    assert_eq!(client.value("SELECT DATABASE()").unwrap(), "shop");
    let sessions = table(&process, "sessions").unwrap();
    let pins: Vec<String> = sessions.iter().map(|row| row["pinned_by"].to_string()).collect();
    assert!(pins.iter().any(|pins| pins.contains("passthrough")), "{sessions:?}");
    // Nothing is left for others behind it.
    drop(client);
    wait::eventually(Deadline::seconds(10), "the connection to be closed", || {
        let left =
            db.value("SELECT COUNT(*) FROM information_schema.processlist WHERE user='app'")?;
        anyhow::ensure!(left == "0", "{left} left");
        Ok(())
    })
    .unwrap();
}

#[test]
fn a_session_that_the_server_verifies_may_change_its_user_and_be_reset() {
    let Some(db) = database() else { return };
    db.create_user("other", "other", "ALL ON shop.*").unwrap();
    let process = front(&db, PASSTHROUGH, "");
    failure::run(async {
        use mysql_async::prelude::Queryable as _;
        let mut conn = failure::connect(shop(&process)).await.unwrap();
        conn.query_drop("SET @a = 1").await.unwrap();
        let options = mysql_async::ChangeUserOpts::default()
            .with_user(Some("other".to_owned()))
            .with_pass(Some("other".to_owned()));
        conn.change_user(options).await.unwrap();
        let seen: (String, Option<i64>) =
            conn.query_first("SELECT CURRENT_USER(), @a").await.unwrap().unwrap();
        assert_eq!(seen, ("other@%".to_owned(), None));
        conn.query_drop("SET @a = 2").await.unwrap();
        assert!(conn.reset().await.unwrap());
        let seen: Option<Option<i64>> = conn.query_first("SELECT @a").await.unwrap();
        assert_eq!(seen, Some(None));
    });
}

#[test]
fn both_passwords_are_valid_while_one_replaces_the_other() {
    let Some(db) = database() else { return };
    let rotating = "[[user]]\nname = \"rotating\"\npassword = [\"new\", \"old\"]\n";
    db.create_user("rotating", "old", "ALL ON shop.*").unwrap();
    let process = front(&db, "", rotating);
    let address = shop(&process);
    for password in ["old", "new"] {
        assert_eq!(cli(address, "rotating", password, &[]).unwrap(), "rotating@%");
    }
    db.sql("ALTER USER rotating IDENTIFIED BY 'new'").unwrap();
    // Connections of before are still good; new ones are opened with the other password.
    for password in ["old", "new"] {
        let mut held = RawClient::connect(address, "rotating", password, None, USUAL).unwrap();
        held.ok("BEGIN").unwrap();
        assert_eq!(held.value("SELECT CURRENT_USER()").unwrap(), "rotating@%");
        assert_eq!(cli(address, "rotating", password, &[]).unwrap(), "rotating@%");
    }
    assert!(cli(address, "rotating", "third", &[]).is_err());
}

#[test]
fn a_client_account_is_another_one_on_the_servers_where_it_is_mapped() {
    let Some(db) = database() else { return };
    db.create_user("service", "long secret", "ALL ON shop.*").unwrap();
    let mapped = "[[user]]\nname = \"short\"\npassword = \"short\"\n\
        server_user = \"service\"\nserver_password = \"long secret\"\n\
        [[user]]\nname = \"keyed\"\n\
        password = \"ed25519:ZIgUREUg5PVgQ6LskhXmO+eZLS0nC8be6HPjYWR4YJY\"\n\
        server_user = \"service\"\nserver_password = \"long secret\"\n";
    let process = front(&db, "", mapped);
    let address = shop(&process);
    assert_eq!(cli(address, "short", "short", &[]).unwrap(), "service@%");
    assert_eq!(cli(address, "keyed", "secret", &[]).unwrap(), "service@%");
    assert!(cli(address, "service", "long secret", &[]).is_err());
}

#[test]
fn a_stored_caching_sha2_form_lets_clients_in_and_opens_servers_after_the_full_exchange() {
    let Some(db) = database() else { return };
    let salt = [b'x'; 20];
    let hash = highgate_mysql::auth::sha2::crypt(b"app2", &salt, 5000);
    let form = format!("$A$005${}{}", "x".repeat(20), String::from_utf8_lossy(&hash));
    db.create_user("app2", "app2", "ALL ON shop.*").unwrap();
    let process = front(&db, "", &format!("[[user]]\nname = \"app2\"\npassword = \"{form}\"\n"));
    let address = shop(&process);
    for _ in 0..2 {
        assert_eq!(sealed(address, "app2", "app2").unwrap(), "app2@%");
    }
    assert!(sealed(address, "app2", "wrong").unwrap_err().to_string().contains("1045"));
}

#[test]
fn failed_logins_are_held_back_and_told_and_hold_back_nobody_else() {
    let Some(db) = database() else { return };
    let process = front(&db, "", "");
    let address = shop(&process);
    let wrong = |user: &str| {
        let started = Instant::now();
        let refused = RawClient::connect(address, user, "wrong", None, USUAL);
        assert!(refused.is_err());
        started.elapsed()
    };
    let times: Vec<Duration> = (0..10).map(|_| wrong("app")).collect();
    assert!(times[9] >= Duration::from_millis(700), "{times:?}");
    until_event(&process, "10 logins of `app` failed lately");
    until_event(&process, "10 logins from 127.0.0.1 failed lately");
    // Even from the same address, and while others are being held back.
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| wrong("app"));
        }
        let started = Instant::now();
        let mut right = RawClient::connect(address, "app", "app", None, USUAL).unwrap();
        assert_eq!(right.value("SELECT 1").unwrap(), "1");
        assert!(started.elapsed() < Duration::from_millis(700), "{:?}", started.elapsed());
    });
}

#[test]
fn unknown_users_cannot_be_told_from_known_ones() {
    let Some(db) = database() else { return };
    let keyed = "[[user]]\nname = \"keyed\"\n\
        password = \"ed25519:ZIgUREUg5PVgQ6LskhXmO+eZLS0nC8be6HPjYWR4YJY\"\n\
        server_user = \"app\"\nserver_password = \"app\"\n";
    let process = front(&db, "", keyed);
    let address = shop(&process);
    let refusal = |user: &str| {
        let error = RawClient::connect(address, user, "wrong", None, USUAL).unwrap_err();
        format!("{error:#}").replace(user, "somebody")
    };
    // Each name has one of the two ways to be refused, and the same one each time.
    let known = [refusal("app"), refusal("keyed")];
    assert!(known[0].contains("1045") && known[1].contains("1045"), "{known:?}");
    for user in ["ghost", "phantom", "nobody"] {
        let first = refusal(user);
        assert!(known.contains(&first), "{first}");
        assert_eq!(refusal(user), first);
    }
}
