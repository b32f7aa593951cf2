//! Logins in front of MySQL, whose accounts are caching_sha2_password's: with its own client, and
//! compared with what the server says directly.

#[path = "common/failure.rs"]
#[allow(unused_imports, reason = "each test binary uses a part of it")]
mod failure;

use std::{net::SocketAddr, process::Command};

use failure::ctl;
use highgate_testkit::{
    MySql,
    highgate::HighgateProcess,
    wait::{self, Deadline},
};

const MONITOR: &str = "monitor = { user = \"monitor\", password = \"monitor\", interval = \"300ms\" }\n\
    accounts = { user = \"reader\", password = \"reader\", interval = \"300ms\" }\n\
    failover_wait = \"2s\"\n";
const CLUSTER: &str = "auth = \"cluster\"";
const PASSTHROUGH: &str = "auth = \"passthrough\"";

/// One of each kind; the password is the name but where it says otherwise.
const ACCOUNTS: &str = "
    CREATE USER rotated IDENTIFIED BY 'one';
    ALTER USER rotated IDENTIFIED BY 'two' RETAIN CURRENT PASSWORD;
    CREATE USER blank IDENTIFIED BY '';
    CREATE USER locked IDENTIFIED BY 'locked' ACCOUNT LOCK;
    CREATE USER ageing IDENTIFIED BY 'ageing' PASSWORD EXPIRE INTERVAL 1 DAY;
    CREATE USER secure IDENTIFIED BY 'secure' REQUIRE SSL;
    CREATE USER certified IDENTIFIED BY 'certified' REQUIRE X509;
    CREATE USER away@'10.%' IDENTIFIED BY 'away';
    CREATE USER socket@localhost IDENTIFIED BY 'socket';
    CREATE ROLE actor; GRANT ALL ON shop.* TO actor;
    CREATE USER player IDENTIFIED BY 'player' DEFAULT ROLE actor; GRANT actor TO player;
    CREATE USER careful IDENTIFIED BY 'careful' FAILED_LOGIN_ATTEMPTS 9 PASSWORD_LOCK_TIME 1;
    CREATE USER strange IDENTIFIED WITH sha256_password BY 'strange';
    INSTALL PLUGIN mysql_no_login SONAME 'mysql_no_login.so';
    CREATE USER several IDENTIFIED BY 'several' AND IDENTIFIED WITH mysql_no_login;";

fn database() -> Option<MySql> {
    if !MySql::is_installed() {
        eprintln!("skipped: MySQL is not installed");
        return None;
    }
    let db = MySql::start().unwrap();
    db.sql("CREATE DATABASE shop").unwrap();
    db.create_user("monitor", "monitor", "REPLICATION CLIENT ON *.*").unwrap();
    db.create_user("reader", "reader", "SELECT ON mysql.user").unwrap();
    db.create_user("app", "app", "ALL ON shop.*").unwrap();
    Some(db)
}

fn front(db: &MySql, listener: &str, more: &str) -> HighgateProcess {
    let text = format!("{}\n{more}", failure::toml(&[db.addr()], MONITOR, listener));
    failure::start(&text, 1).unwrap()
}

fn shop(process: &HighgateProcess) -> SocketAddr {
    process.listener("shop").unwrap()
}

/// Who MySQL's client is then, or the number of its error.
fn cli(address: SocketAddr, user: &str, password: &str, tls: &str) -> Result<String, String> {
    let output = Command::new(MySql::client("mysql").unwrap())
        .args(["--no-defaults", "--batch", "--skip-column-names", "--get-server-public-key"])
        .arg(format!("--host={}", address.ip()))
        .arg(format!("--port={}", address.port()))
        .args([format!("--user={user}"), format!("--ssl-mode={tls}")])
        .arg("--execute=SELECT CURRENT_USER()")
        .env("MYSQL_PWD", password)
        .output()
        .unwrap();
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
    }
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(error.split_whitespace().nth(1).unwrap_or_default().to_owned())
}

fn until_in(address: SocketAddr, user: &str, password: &str) {
    wait::eventually(Deadline::seconds(15), "the login", || {
        cli(address, user, password, "DISABLED").map(drop).map_err(anyhow::Error::msg)
    })
    .unwrap();
}

fn until_out(address: SocketAddr, user: &str, password: &str) -> String {
    wait::eventually(Deadline::seconds(15), "the refusal", || {
        match cli(address, user, password, "DISABLED") {
            Ok(text) => anyhow::bail!("let in: {text}"),
            Err(code) => Ok(code),
        }
    })
    .unwrap()
}

fn until_event(process: &HighgateProcess, words: &str) {
    wait::eventually(Deadline::seconds(15), "an event", || {
        let events = ctl(process, &["events", "--last", "200"])?;
        anyhow::ensure!(events.contains(words), "no `{words}` in\n{events}");
        Ok(())
    })
    .unwrap();
}

#[test]
fn accounts_of_mysql_are_let_in_and_refused_as_by_the_server() {
    let Some(db) = database() else { return };
    db.sql(ACCOUNTS).unwrap();
    let process = front(&db, CLUSTER, "");
    until_in(shop(&process), "app", "app");
    let logins = [
        ("app", "app"),
        ("app", "wrong"),
        ("app", ""),
        ("rotated", "one"),
        ("rotated", "two"),
        ("rotated", "three"),
        ("blank", ""),
        ("blank", "x"),
        ("locked", "locked"),
        ("locked", "wrong"),
        ("ageing", "ageing"),
        ("secure", "secure"),
        ("certified", "certified"),
        ("away", "away"),
        ("socket", "socket"),
        ("actor", ""),
        ("player", "player"),
        ("careful", "careful"),
        ("nobody", "x"),
    ];
    let both = |(user, password): (&str, &str)| {
        let direct = cli(db.addr(), user, password, "DISABLED");
        (direct, cli(shop(&process), user, password, "DISABLED"))
    };
    // Side by side, since refusals are held back.
    std::thread::scope(|scope| {
        let runs = logins.map(|login| (login, scope.spawn(move || both(login))));
        for (login, run) in runs {
            let (direct, through) = run.join().unwrap();
            assert_eq!(through, direct, "{login:?}");
        }
    });
    // The servers let these in by what can't be verified from outside.
    assert_eq!(cli(shop(&process), "strange", "strange", "DISABLED"), Err("1045".to_owned()));
    assert_eq!(cli(shop(&process), "several", "several", "DISABLED"), Err("1045".to_owned()));
    for plugin in ["sha256_password", "mysql_no_login as a further factor"] {
        let why = format!("the account's plugin ({plugin}) can't be verified here");
        until_event(&process, &why);
    }
}

#[test]
fn hosts_are_matched_as_mysql_matches_them() {
    let Some(db) = database() else { return };
    // Each password tells which account it was.
    let hosts =
        ["", "%", "127.%", "127.0.0._", "127.0.0.1", "127.0.0.0/255.255.255.0", "127.0.0.0/8"];
    let mut left: Vec<&str> = hosts.to_vec();
    for host in hosts {
        db.sql(&format!("CREATE USER multi@'{host}' IDENTIFIED BY 'at {host}'")).unwrap();
    }
    let process = front(&db, CLUSTER, "");
    let address = shop(&process);
    until_in(address, "app", "app");
    while !left.is_empty() {
        let is_it =
            |host: &&&str| cli(db.addr(), "multi", &format!("at {host}"), "DISABLED").is_ok();
        let winner = *left.iter().find(is_it).expect("the server lets one in");
        wait::eventually(Deadline::seconds(15), "the same account", || {
            let through = cli(address, "multi", &format!("at {winner}"), "DISABLED");
            let through = through.map_err(anyhow::Error::msg)?;
            anyhow::ensure!(through == format!("multi@{winner}"), "{through}, not {winner}");
            Ok(())
        })
        .unwrap();
        db.sql(&format!("DROP USER multi@'{winner}'")).unwrap();
        left.retain(|host| *host != winner);
    }
    until_out(address, "multi", "at %");
}

#[test]
fn changes_of_mysql_accounts_are_followed() {
    let Some(db) = database() else { return };
    let process = front(&db, CLUSTER, "");
    let address = shop(&process);
    until_in(address, "app", "app");
    db.sql("ALTER USER app IDENTIFIED BY 'new' RETAIN CURRENT PASSWORD").unwrap();
    until_in(address, "app", "new");
    assert_eq!(cli(address, "app", "app", "DISABLED"), Ok("app@%".to_owned()));
    db.sql("ALTER USER app DISCARD OLD PASSWORD").unwrap();
    until_out(address, "app", "app");
    until_in(address, "app", "new");
    db.sql("ALTER USER app ACCOUNT LOCK").unwrap();
    assert_eq!(until_out(address, "app", "new"), "3118");
    db.sql("ALTER USER app ACCOUNT UNLOCK").unwrap();
    until_in(address, "app", "new");
    db.sql("DROP USER app").unwrap();
    until_out(address, "app", "new");
}

#[test]
fn an_account_that_mysql_lets_in_by_tls_alone_needs_it_on_both_ways() {
    let Some(db) = database() else { return };
    db.sql("CREATE USER secure IDENTIFIED BY 'secure' REQUIRE SSL").unwrap();
    let data = db.data_dir();
    let tls = format!(
        "{CLUSTER}\ntls = {{ mode = \"preferred\", cert = \"{0}/server-cert.pem\", key = \"{0}/server-key.pem\" }}",
        data.display()
    );
    let encrypted = format!("{MONITOR}tls = {{ mode = \"required\" }}\n");
    let process = failure::start(&failure::toml(&[db.addr()], &encrypted, &tls), 1).unwrap();
    until_in(shop(&process), "app", "app");
    assert_eq!(cli(shop(&process), "secure", "secure", "REQUIRED"), Ok("secure@%".to_owned()));
    // The second login takes the fast path.
    assert_eq!(cli(shop(&process), "secure", "secure", "REQUIRED"), Ok("secure@%".to_owned()));
    assert_eq!(cli(shop(&process), "secure", "secure", "DISABLED"), Err("1045".to_owned()));
}

#[test]
fn stored_and_mapped_accounts_open_mysql() {
    let Some(db) = database() else { return };
    for user in ["clear", "hashed", "service"] {
        db.create_user(user, user, "ALL ON shop.*").unwrap();
    }
    let hash = "SELECT HEX(authentication_string) FROM mysql.user WHERE user = 'hashed'";
    let hash = db.value(hash).unwrap();
    let more = format!(
        "[[user]]\nname = \"clear\"\npassword = \"clear\"\n\
         [[user]]\nname = \"hashed\"\npassword = \"0x{hash}\"\n\
         [[user]]\nname = \"mapped\"\npassword = \"mapped\"\n\
         server_user = \"service\"\nserver_password = \"service\"\n"
    );
    let process = front(&db, "", &more);
    // The first login of a hashed account tells its password, sealed; the second need not.
    for (user, seen) in [
        ("clear", "clear@%"),
        ("hashed", "hashed@%"),
        ("hashed", "hashed@%"),
        ("mapped", "service@%"),
    ] {
        assert_eq!(cli(shop(&process), user, user, "DISABLED"), Ok(seen.to_owned()));
    }
    for user in ["clear", "hashed", "mapped", "nobody"] {
        let refused = cli(shop(&process), user, "wrong", "DISABLED");
        assert_eq!(refused, Err("1045".to_owned()), "{user}");
    }
}

#[test]
fn mysql_verifies_logins_itself_where_they_are_passed_on() {
    let Some(db) = database() else { return };
    db.sql("CREATE USER strange IDENTIFIED WITH sha256_password BY 'strange'").unwrap();
    let process = front(&db, PASSTHROUGH, "");
    // Full, by the server's RSA key, and then fast.
    for _ in 0..2 {
        assert_eq!(cli(shop(&process), "app", "app", "DISABLED"), Ok("app@%".to_owned()));
    }
    assert_eq!(cli(shop(&process), "strange", "strange", "DISABLED"), Ok("strange@%".to_owned()));
    assert_eq!(cli(shop(&process), "app", "wrong", "DISABLED"), Err("1045".to_owned()));
}

#[test]
fn a_password_that_is_passed_on_by_tls_is_sealed_before_by_our_key() {
    let Some(db) = database() else { return };
    db.create_user("sealed", "sealed", "ALL ON shop.*").unwrap();
    let backend = format!("{MONITOR}tls = {{ mode = \"required\" }}\n");
    let text = failure::toml(&[db.addr()], &backend, PASSTHROUGH);
    let process = failure::start(&text, 1).unwrap();
    // A wrong one first: it takes the full exchange, too. Then full, and then fast.
    assert_eq!(cli(shop(&process), "sealed", "wrong", "DISABLED"), Err("1045".to_owned()));
    for _ in 0..2 {
        assert_eq!(cli(shop(&process), "sealed", "sealed", "DISABLED"), Ok("sealed@%".to_owned()));
    }
}

#[test]
fn a_client_of_mysql_may_change_its_user() {
    let Some(db) = database() else { return };
    db.create_user("other", "other", "ALL ON shop.*").unwrap();
    for listener in [CLUSTER, PASSTHROUGH] {
        let process = front(&db, listener, "");
        until_in(shop(&process), "app", "app");
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
            assert_eq!(seen, ("other@%".to_owned(), None), "{listener}");
        });
    }
}
