//! TLS on both sides, with stock clients and a real server.

#[path = "common/certificates.rs"]
mod certificates;
#[path = "common/failure.rs"]
#[allow(unused_imports, reason = "each test binary uses a part of it")]
mod failure;
#[path = "client/raw.rs"]
mod raw;

use std::{
    collections::BTreeSet,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::Path,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use certificates::{Authority, Pair, authority, shown};
use failure::{ctl, table};
use highgate_testkit::{
    highgate::HighgateProcess,
    mariadb::{MariaDb, MariaDbOptions},
    wait::{self, Deadline},
};
use raw::{RawClient, USUAL};
use rustix::process::Signal;

const MONITOR: &str = "monitor = { user = \"monitor\", password = \"monitor\", interval = \"200ms\" }\n\
    accounts = { user = \"reader\", password = \"reader\", interval = \"200ms\" }\n\
    failover_wait = \"1s\"\n";

fn database(tls: Option<(&Authority, &Pair)>) -> MariaDb {
    let mut args = Vec::new();
    if let Some((authority, pair)) = tls {
        args.push(format!("--ssl-ca={}", authority.ca().display()));
        args.push(format!("--ssl-cert={}", pair.cert.display()));
        args.push(format!("--ssl-key={}", pair.key.display()));
    }
    let db = MariaDb::start_with(MariaDbOptions { args, ..MariaDbOptions::default() }).unwrap();
    db.sql("CREATE DATABASE shop").unwrap();
    db.create_user("monitor", "monitor", "REPLICATION CLIENT ON *.*").unwrap();
    db.create_user("reader", "reader", "SELECT ON mysql.global_priv").unwrap();
    db.create_user("app", "app", "ALL ON shop.*").unwrap();
    db
}

fn quoted(path: &Path) -> String {
    format!("\"{}\"", path.display())
}

fn tls(mode: &str, pair: Option<&Pair>, ca: Option<&Path>) -> String {
    let mut parts = vec![format!("mode = \"{mode}\"")];
    if let Some(pair) = pair {
        parts.push(format!("cert = {}, key = {}", quoted(&pair.cert), quoted(&pair.key)));
    }
    parts.extend(ca.map(|ca| format!("ca = {}", quoted(ca))));
    format!("tls = {{ {} }}", parts.join(", "))
}

fn front(db: &MariaDb, listener: &str, backend: &str) -> HighgateProcess {
    let text = failure::toml(&[db.addr()], &format!("{MONITOR}{backend}"), listener);
    HighgateProcess::start(failure::BINARY, &text).unwrap()
}

fn client(address: SocketAddr, more: &[String]) -> Command {
    let mut command = Command::new("mariadb");
    command
        .args(["--no-defaults", "--batch", "--skip-column-names", "--protocol=tcp", "-n"])
        .args(["--host=127.0.0.1", "--user=app", "--password=app"])
        .arg(format!("--port={}", address.port()))
        .args(more);
    command
}

/// What the stock client says to one statement: its output, or its error.
fn ask(address: SocketAddr, sql: &str, more: &[String]) -> Result<String, String> {
    let output = client(address, more).arg(format!("--execute={sql}")).output().unwrap();
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
    }
}

fn until_asked(address: SocketAddr, sql: &str, more: &[String]) -> String {
    wait::eventually(Deadline::seconds(15), "an answer", || {
        ask(address, sql, more).map_err(anyhow::Error::msg)
    })
    .unwrap()
}

fn trusting(authority: &Authority) -> Vec<String> {
    vec![format!("--ssl-ca={}", authority.ca().display()), "--ssl-verify-server-cert".to_owned()]
}

const CIPHER: &str = "SHOW STATUS LIKE 'Ssl_cipher'";

#[test]
fn a_new_certificate_is_shown_to_new_clients_while_open_sessions_stay() {
    let Some((_scratch, authority)) = authority() else { return };
    let db = database(None);
    let old = authority.issue("old", "IP:127.0.0.1");
    let new = authority.issue("new", "IP:127.0.0.1");
    let served = Pair {
        cert: old.cert.with_file_name("served.pem"),
        key: old.key.with_file_name("served.key"),
    };
    let install = |pair: &Pair| {
        std::fs::copy(&pair.cert, &served.cert).unwrap();
        std::fs::copy(&pair.key, &served.key).unwrap();
    };
    install(&old);
    let process = front(&db, &tls("required", Some(&served), None), "");
    let address = process.listener("shop").unwrap();
    until_asked(address, "SELECT 1", &trusting(&authority));
    assert!(shown(address).contains("old"), "{}", shown(address));

    let mut session = client(address, &trusting(&authority))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = session.stdin.take().unwrap();
    let mut lines = BufReader::new(session.stdout.take().unwrap()).lines();
    let mut say = |sql: &str| {
        writeln!(input, "{sql}").unwrap();
        lines.next().unwrap().unwrap()
    };
    assert_eq!(say("SELECT 'before';"), "before");
    install(&new);
    process.signal(Signal::HUP).unwrap();
    wait::eventually(Deadline::seconds(10), "the new certificate", || {
        let shown = shown(address);
        anyhow::ensure!(shown.contains("new"), "{shown}");
        Ok(())
    })
    .unwrap();
    assert_eq!(say("SELECT 'behind';"), "behind");

    // Half a certificate is an event, and the good one stays.
    std::fs::write(&served.cert, "no certificate").unwrap();
    process.signal(Signal::HUP).unwrap();
    wait::eventually(Deadline::seconds(10), "an event", || {
        let events = ctl(&process, &["events", "--last", "20"])?;
        anyhow::ensure!(events.contains("served.pem"), "{events}");
        Ok(())
    })
    .unwrap();
    assert!(shown(address).contains("new"));
    assert_eq!(say("SELECT 'still';"), "still");
    drop(input);
    session.wait().unwrap();
}

#[test]
fn tls_to_servers_is_as_strict_as_its_mode() {
    let Some((scratch, authority)) = authority() else { return };
    let stranger = Authority::new(scratch.path(), "stranger").unwrap();
    let named = authority.issue("named", "IP:127.0.0.1");
    let elsewhere = authority.issue("elsewhere", "DNS:db.example");
    let good = database(Some((&authority, &named)));
    let misnamed = database(Some((&authority, &elsewhere)));
    let is_encrypted = |db: &MariaDb, mode: &str, ca: Option<&Authority>| {
        let ca = ca.map(Authority::ca);
        let process = front(db, "", &tls(mode, None, ca.as_deref()));
        let address = process.listener("shop").unwrap();
        let cipher = until_asked(address, CIPHER, &[]);
        !cipher.trim_start_matches("Ssl_cipher").trim().is_empty()
    };
    assert!(!is_encrypted(&good, "disabled", None));
    assert!(is_encrypted(&good, "preferred", None));
    assert!(is_encrypted(&misnamed, "required", None));
    assert!(is_encrypted(&misnamed, "verify-ca", Some(&authority)));
    assert!(is_encrypted(&good, "verify-identity", Some(&authority)));

    for (db, mode, ca, words) in [
        (&good, "verify-ca", &stranger, "UnknownIssuer"),
        (&misnamed, "verify-identity", &authority, "not valid for name"),
    ] {
        let process = front(db, "", &tls(mode, None, Some(&ca.ca())));
        let address = process.listener("shop").unwrap();
        wait::eventually(Deadline::seconds(10), "the reason", || {
            let events = ctl(&process, &["events", "--last", "20"])?;
            anyhow::ensure!(events.contains(words), "{mode}: {events}");
            Ok(())
        })
        .unwrap();
        assert!(ask(address, "SELECT 1", &[]).is_err(), "{mode}");
    }
    let plain = database(None);
    let process = front(&plain, "", &tls("required", None, None));
    assert!(ask(process.listener("shop").unwrap(), "SELECT 1", &[]).is_err());
    let process = front(&plain, "", &tls("preferred", None, None));
    until_asked(process.listener("shop").unwrap(), "SELECT 1", &[]);
}

#[test]
fn highgate_shows_its_own_certificate_to_servers_that_ask() {
    let Some((_scratch, authority)) = authority() else { return };
    let server = authority.issue("server", "IP:127.0.0.1");
    let own = authority.issue("highgate", "DNS:highgate");
    let db = database(Some((&authority, &server)));
    db.sql("ALTER USER app REQUIRE SUBJECT '/O=Test/CN=highgate'").unwrap();
    let process = front(&db, "", &tls("verify-identity", Some(&own), Some(&authority.ca())));
    until_asked(process.listener("shop").unwrap(), "SELECT 1", &[]);
    let process = front(&db, "", &tls("verify-identity", None, Some(&authority.ca())));
    let address = process.listener("shop").unwrap();
    let error = ask(address, "SELECT 1", &[]).unwrap_err();
    assert!(error.contains("do not accept this account"), "{error}");
}

#[test]
fn certificates_of_clients_are_demanded_as_their_accounts_say() {
    let Some((scratch, authority)) = authority() else { return };
    let stranger = Authority::new(scratch.path(), "stranger").unwrap();
    let front_pair = authority.issue("front", "IP:127.0.0.1");
    let (right, other) = (authority.issue("right", "DNS:a"), authority.issue("other", "DNS:b"));
    let foreign = stranger.issue("right", "DNS:a");
    let server = authority.issue("server", "IP:127.0.0.1");
    let db = database(Some((&authority, &server)));
    let listener = format!(
        "auth = \"cluster\"\n{}",
        tls("verify-ca", Some(&front_pair), Some(&authority.ca()))
    );
    // The server sees Highgate's certificate, which satisfies it as well.
    let process = front(&db, &listener, &tls("required", Some(&right), None));
    let address = process.listener("shop").unwrap();
    let with = |pair: &Pair| {
        let mut more = trusting(&authority);
        more.push(format!("--ssl-cert={}", pair.cert.display()));
        more.push(format!("--ssl-key={}", pair.key.display()));
        more
    };
    until_asked(address, "SELECT 1", &with(&right));
    assert!(ask(address, "SELECT 1", &with(&foreign)).is_err());
    assert!(ask(address, "SELECT 1", &trusting(&authority)).is_err());
    db.sql("ALTER USER app REQUIRE SUBJECT '/O=Test/CN=right' AND ISSUER '/CN=ca'").unwrap();
    wait::eventually(Deadline::seconds(10), "the demand to be read", || {
        let error = ask(address, "SELECT 1", &with(&other));
        anyhow::ensure!(error.is_err_and(|error| error.contains("1045")), "let in");
        Ok(())
    })
    .unwrap();
    assert_eq!(ask(address, "SELECT 7", &with(&right)).unwrap(), "7");
}

/// The request for TLS, as the first packet of a client.
fn ssl_request() -> Vec<u8> {
    let mut packet = vec![32, 0, 0, 1];
    packet.extend(0x0000_8a00_u32.to_le_bytes());
    packet.extend([0, 0, 0, 1, 45]);
    packet.extend([0; 23]);
    packet
}

#[test]
fn nothing_put_in_front_of_the_encrypted_part_is_ever_read() {
    let Some((_scratch, authority)) = authority() else { return };
    let pair = authority.issue("front", "IP:127.0.0.1");
    let db = database(None);
    let process = front(&db, &tls("required", Some(&pair), None), "");
    let address = process.listener("shop").unwrap();
    until_asked(address, "SELECT 1", &trusting(&authority));
    let error = ask(address, "SELECT 1", &["--skip-ssl".to_owned()]).unwrap_err();
    assert!(error.contains("3159"), "{error}");

    // A login in the clear behind the request for TLS: not a byte of it is taken for a login.
    let mut login = vec![0; 4];
    login.extend(0x000f_a28d_u32.to_le_bytes());
    login.extend([0, 0, 0, 1, 45]);
    login.extend([0; 23]);
    login.extend(b"app\0\0mysql_native_password\0");
    login[0] = u8::try_from(login.len() - 4).unwrap();
    login[3] = 2;
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut greeting = [0; 512];
    assert!(stream.read(&mut greeting).unwrap() > 40);
    stream.write_all(&[ssl_request(), login].concat()).unwrap();
    let mut answer = Vec::new();
    // It ends without a word of the protocol in the clear: an alert of TLS at most.
    let _ = stream.read_to_end(&mut answer);
    assert!(answer.first().is_none_or(|first| *first == 0x15), "{answer:?}");
    // The one before alone.
    let failures = table(&process, "listeners").unwrap();
    assert_eq!(failures[0]["login_failures"].to_string(), "1", "{failures:?}");
    until_asked(address, "SELECT 1", &trusting(&authority));
}

fn raw(address: SocketAddr) -> RawClient {
    RawClient::connect(address, "app", "app", None, USUAL).unwrap()
}

/// The server's own number of the connection that the command runs on.
fn thread(client: &mut RawClient) -> String {
    const THREAD: &str =
        "SELECT ID FROM information_schema.PROCESSLIST WHERE INFO LIKE 'SELECT ID FROM%'";
    client.value(THREAD).unwrap()
}

/// The server's numbers of all connections of the account.
fn threads(db: &MariaDb) -> BTreeSet<String> {
    let rows = db.sql("SELECT ID FROM information_schema.PROCESSLIST WHERE USER = 'app'").unwrap();
    rows.into_iter().filter_map(|row| row.into_iter().next()).collect()
}

/// Has a connection opened for each, which then lie idle, and gives their numbers.
fn lay_idle(clients: &mut [RawClient]) -> BTreeSet<String> {
    clients.iter_mut().for_each(|client| drop(client.ok("BEGIN").unwrap()));
    let numbers = clients.iter_mut().map(thread).collect();
    clients.iter_mut().for_each(|client| drop(client.ok("COMMIT").unwrap()));
    numbers
}

/// Puts `text` in force as the configuration, with a weight of the server that shows for whom it is.
fn reload(process: &HighgateProcess, text: &str, weight: u32) {
    let told = || process.log().matches("read again").count();
    std::fs::write(process.config_file(), format!("{text}weight = {weight}\n")).unwrap();
    let before = told();
    process.signal(Signal::HUP).unwrap();
    wait::eventually(Deadline::seconds(10), "the configuration to be in force", || {
        anyhow::ensure!(told() > before, "{}", process.log());
        let rows = table(process, "servers")?;
        anyhow::ensure!(rows[0]["weight"] == weight * 1000, "{rows:?}");
        Ok(())
    })
    .unwrap();
}

/// None of the connections `old` is used by anybody, and soon none of them is open.
fn none_is_used(db: &MariaDb, clients: &mut [RawClient], old: &BTreeSet<String>) {
    for _ in 0..3 {
        for client in &mut *clients {
            let now = thread(client);
            assert!(!old.contains(&now), "{now} of {old:?} is still used");
        }
    }
    wait::eventually(Deadline::seconds(10), "the end of the old connections", || {
        let left: Vec<String> = threads(db).intersection(old).cloned().collect();
        anyhow::ensure!(left.is_empty(), "{left:?} are still open");
        Ok(())
    })
    .unwrap();
}

#[test]
fn idle_connections_made_under_other_tls_are_not_used_again() {
    let Some((scratch, authority)) = authority() else { return };
    let stranger = Authority::new(scratch.path(), "stranger").unwrap();
    let server = authority.issue("server", "IP:127.0.0.1");
    let db = database(Some((&authority, &server)));
    let trusted = scratch.path().join("trusted.pem");
    std::fs::copy(authority.ca(), &trusted).unwrap();
    let configuration = |mode: &str, ca: Option<&Path>| {
        let tls = tls(mode, None, ca);
        failure::toml(&[db.addr()], &format!("{MONITOR}{tls}"), "")
    };
    let process =
        HighgateProcess::start(failure::BINARY, &configuration("required", None)).unwrap();
    let address = process.listener("shop").unwrap();
    until_asked(address, "SELECT 1", &[]);
    // Several of each worker, and a transaction that keeps its own.
    let mut clients: Vec<RawClient> = (0..5).map(|_| raw(address)).collect();
    let mut owner = raw(address);
    owner.ok("BEGIN").unwrap();
    let owned = thread(&mut owner);
    let lax = lay_idle(&mut clients);
    assert_eq!(lax.len(), clients.len());

    let strict = configuration("verify-identity", Some(&trusted));
    reload(&process, &strict, 2);
    clients.push(raw(address));
    none_is_used(&db, &mut clients, &lax);
    assert_eq!(thread(&mut owner), owned, "a transaction ends where it began");
    owner.ok("COMMIT").unwrap();
    assert_ne!(thread(&mut owner), owned);
    clients.push(owner);

    // The same again changes nothing; another authority under the same name does.
    let before = lay_idle(&mut clients);
    reload(&process, &strict, 2);
    assert!(!lay_idle(&mut clients).is_disjoint(&before), "they are used again");
    let both = [authority.ca(), stranger.ca()].map(|ca| std::fs::read_to_string(ca).unwrap());
    std::fs::write(&trusted, both.concat()).unwrap();
    reload(&process, &strict, 2);
    none_is_used(&db, &mut clients, &before);
}

#[test]
fn no_client_sees_a_change_of_the_tls_towards_its_only_server() {
    let Some((_scratch, authority)) = authority() else { return };
    let server = authority.issue("server", "IP:127.0.0.1");
    let db = database(Some((&authority, &server)));
    let monitor = MONITOR.replace("failover_wait = \"1s\"", "failover_wait = \"0s\"");
    let configuration = |mode: &str| {
        let tls = tls(mode, None, Some(&authority.ca()));
        failure::toml(&[db.addr()], &format!("{monitor}{tls}"), "")
    };
    let process = HighgateProcess::start(failure::BINARY, &configuration("verify-ca")).unwrap();
    let address = process.listener("shop").unwrap();
    until_asked(address, "SELECT 1", &[]);
    let (ends, answers) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
    let crowd: Vec<_> = (0..4)
        .map(|_| {
            let (ends, answers) = (ends.clone(), answers.clone());
            std::thread::spawn(move || {
                let mut old = raw(address);
                while !ends.load(Ordering::Relaxed) {
                    assert_eq!(old.value("SELECT 1").unwrap(), "1");
                    assert_eq!(raw(address).value("SELECT 2").unwrap(), "2");
                    answers.fetch_add(2, Ordering::Relaxed);
                }
            })
        })
        .collect();
    let modes = ["verify-identity", "verify-ca", "required", "verify-identity", "verify-ca"];
    for (mode, weight) in modes.into_iter().zip(2..) {
        let before = answers.load(Ordering::Relaxed);
        reload(&process, &configuration(mode), weight);
        wait::eventually(Deadline::seconds(10), "answers", || {
            anyhow::ensure!(answers.load(Ordering::Relaxed) > before + 20);
            Ok(())
        })
        .unwrap();
    }
    ends.store(true, Ordering::Relaxed);
    for client in crowd {
        client.join().unwrap();
    }
    let refused = ctl(&process, &["events", "--last", "50"]).unwrap();
    assert!(!refused.contains("TLS"), "{refused}");
}
