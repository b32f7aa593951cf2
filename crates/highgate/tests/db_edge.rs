//! The edge with a real server behind it: announced clients, large commands and results, clients
//! that do not read, certificates that change.

#[path = "common/failure.rs"]
mod failure;
#[path = "client/raw.rs"]
mod raw;

use std::{
    io::Write as _,
    net::{SocketAddr, TcpStream},
    path::Path,
    process::Command,
    time::Duration,
};

use failure::{ctl, table, toml};
use highgate_testkit::{
    highgate::HighgateProcess,
    mariadb::MariaDb,
    usage::resident,
    wait::{self, Deadline},
};
use raw::{Part, RawClient, USUAL};

const BACKEND: &str =
    "monitor = { user = \"monitor\", password = \"monitor\", interval = \"300ms\" }\n";
const MIB: usize = 1 << 20;

fn database() -> Option<MariaDb> {
    if !MariaDb::is_installed() {
        eprintln!("skipped: MariaDB is not installed");
        return None;
    }
    let db = MariaDb::start().unwrap();
    db.sql("CREATE DATABASE shop").unwrap();
    db.create_user("app", "app", "ALL ON shop.*").unwrap();
    db.create_user("monitor", "monitor", "REPLICATION CLIENT ON *.*").unwrap();
    Some(db)
}

fn front(db: &MariaDb, node: &str, backend: &str, listener: &str) -> HighgateProcess {
    let text = toml(&[db.addr()], &format!("{BACKEND}{backend}"), listener);
    failure::start(&format!("{node}\n{text}"), 1).unwrap()
}

fn raw(address: SocketAddr) -> RawClient {
    RawClient::connect(address, "app", "app", Some("shop"), USUAL).unwrap()
}

fn behind_proxy(address: SocketAddr, client: &str) -> RawClient {
    let family = if client.contains(':') { "TCP6" } else { "TCP4" };
    let to = if client.contains(':') { "::1" } else { "127.0.0.1" };
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "PROXY {family} {client} {to} 40000 3306\r\n").unwrap();
    RawClient::over(stream, "app", "app", Some("shop"), USUAL).unwrap()
}

fn wait_for_event(process: &HighgateProcess, text: &str) {
    wait::eventually(Deadline::seconds(5), "an event", || {
        let events = ctl(process, &["events", "--last", "50"])?;
        anyhow::ensure!(events.contains(text), "no `{text}` in\n{events}");
        Ok(())
    })
    .unwrap();
}

#[test]
fn a_server_sees_each_clients_own_address_and_no_connection_serves_two_of_them() {
    let Some(db) = database() else { return };
    db.sql("SET GLOBAL proxy_protocol_networks = '127.0.0.0/8'").unwrap();
    const CLIENTS: [&str; 4] = ["203.0.113.7", "203.0.113.8", "198.51.100.1", "2001:db8::7"];
    for version in ["v1", "v2"] {
        // Fewer connections than clients: each is closed for another client's again and again.
        let backend = format!("send_proxy = \"{version}\"\n");
        let text = toml(
            &[db.addr()],
            &format!("{BACKEND}{backend}"),
            "proxy_protocol_from = \"127.0.0.0/8\"",
        );
        let process = failure::start(&format!("{text}max_connections = 2\n"), 1).unwrap();
        let address = process.listener("shop").unwrap();
        let threads: Vec<_> = CLIENTS
            .iter()
            .flat_map(|client| [*client; 2])
            .map(|own| {
                std::thread::spawn(move || {
                    let mut client = behind_proxy(address, own);
                    for _ in 0..30 {
                        let seen = client.value("SELECT SUBSTRING_INDEX(USER(), '@', -1)").unwrap();
                        assert_eq!(seen, own, "{version}");
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
        let mut one = behind_proxy(address, "203.0.113.7");
        one.ok("BEGIN").unwrap();
        one.value("SELECT 1").unwrap();
        let list =
            "SELECT GROUP_CONCAT(host) FROM information_schema.processlist WHERE user = 'app'";
        let hosts = db.value(list).unwrap();
        assert!(hosts.contains("203.0.113.7"), "{version}: {hosts}");
    }
}

#[test]
fn clients_of_one_address_share_announced_connections() {
    let Some(db) = database() else { return };
    db.sql("SET GLOBAL proxy_protocol_networks = '127.0.0.0/8'").unwrap();
    let process = front(&db, "", "send_proxy = \"v2\"\n", "proxy_protocol_from = \"127.0.0.0/8\"");
    let address = process.listener("shop").unwrap();
    let opened = || db.record("SHOW GLOBAL STATUS LIKE 'Connections'").unwrap()["Value"].clone();
    let count = |text: String| text.parse::<u64>().unwrap();
    let before = count(opened());
    for _ in 0..40 {
        let mut client = behind_proxy(address, "203.0.113.7");
        assert_eq!(client.value("SELECT 1").unwrap(), "1");
    }
    let more = count(opened()) - before;
    assert!(more < 10, "{more} connections for forty clients of one address");
}

#[test]
fn sessions_that_began_before_the_announcing_share_no_connection_across_addresses() {
    const CLIENTS: [&str; 3] = ["203.0.113.7", "203.0.113.8", "198.51.100.1"];
    let Some(db) = database() else { return };
    db.sql("SET GLOBAL proxy_protocol_networks = '127.0.0.0/8'").unwrap();
    let text = |backend: &str| {
        let backend = format!("{BACKEND}{backend}");
        let text = toml(&[db.addr()], &backend, "proxy_protocol_from = \"127.0.0.0/8\"");
        text.replace("workers = 2", "workers = 1")
    };
    let process = failure::start(&text(""), 1).unwrap();
    let address = process.listener("shop").unwrap();
    let mut clients = CLIENTS.map(|own| behind_proxy(address, own));
    let host =
        |client: &mut RawClient| client.value("SELECT SUBSTRING_INDEX(USER(), '@', -1)").unwrap();
    let hosts: Vec<_> = clients.iter_mut().map(host).collect();
    assert_eq!(hosts[0], hosts[2], "one connection of Highgate's own");
    let announcing = text("send_proxy = \"v2\"\n");
    std::fs::write(process.config_file(), format!("{announcing}weight = 2\n")).unwrap();
    process.signal(rustix::process::Signal::HUP).unwrap();
    wait::eventually(Deadline::seconds(10), "the configuration to be in force", || {
        let rows = table(&process, "servers")?;
        anyhow::ensure!(rows[0]["weight"] == 2000, "{rows:?}");
        Ok(())
    })
    .unwrap();
    for _ in 0..3 {
        for (client, own) in clients.iter_mut().zip(CLIENTS) {
            assert_eq!(host(client), own);
        }
    }
}

#[test]
fn a_tcp_listener_announces_its_clients() {
    let Some(db) = database() else { return };
    db.sql("SET GLOBAL proxy_protocol_networks = '127.0.0.0/8'").unwrap();
    for version in ["v1", "v2"] {
        let backend = format!("{BACKEND}send_proxy = \"{version}\"\n");
        let text = toml(&[db.addr()], &backend, "proxy_protocol_from = \"127.0.0.0/8\"");
        let process =
            failure::start(&text.replace("mode = \"mysql\"", "mode = \"tcp\""), 1).unwrap();
        for client in ["203.0.113.7", "2001:db8::7"] {
            let mut client_side = behind_proxy(process.listener("shop").unwrap(), client);
            let seen = client_side.value("SELECT SUBSTRING_INDEX(USER(), '@', -1)").unwrap();
            assert_eq!(seen, client);
        }
    }
}

/// A statement whose result has that many rows of a mebibyte each.
fn mebibytes(count: usize) -> String {
    format!("SELECT REPEAT('x', {MIB}) FROM seq_1_to_{count}")
}

fn running(db: &MariaDb) -> u64 {
    let text = "SELECT COUNT(*) FROM information_schema.processlist WHERE user = 'app' AND info LIKE '%REPEAT%'";
    db.value(text).unwrap().parse().unwrap()
}

#[test]
fn a_client_that_does_not_read_a_gibibyte_costs_no_memory_and_ends_in_time() {
    let Some(db) = database() else { return };
    for limit in ["query_timeout = \"1500ms\"", "client_timeout = \"1500ms\""] {
        let process = front(&db, "", "", limit);
        let address = process.listener("shop").unwrap();
        let mut other = raw(address);
        assert_eq!(other.value("SELECT 1").unwrap(), "1");
        let mut stalled = raw(address);
        let before = resident(process.pid());
        stalled.send(&[b"\x03", mebibytes(1024).as_bytes()].concat()).unwrap();
        let started = wait::now();
        wait::eventually(Deadline::seconds(5), "the statement to run", || {
            anyhow::ensure!(running(&db) == 1);
            Ok(())
        })
        .unwrap();
        let (mut most, mut slowest) = (0, Duration::ZERO);
        while wait::now() - started < Duration::from_secs(1) {
            most = most.max(resident(process.pid()).saturating_sub(before));
            let asked = wait::now();
            assert_eq!(other.value("SELECT 1").unwrap(), "1");
            slowest = slowest.max(wait::now() - asked);
        }
        wait::eventually(Deadline::seconds(12), "the statement's end", || {
            let sessions = table(&process, "sessions")?.len();
            anyhow::ensure!(running(&db) == 0 && sessions <= 1, "{sessions} sessions");
            // The bystander would fall to the same time-out.
            if limit.starts_with("query") {
                anyhow::ensure!(other.value("SELECT 1")? == "1");
            }
            Ok(())
        })
        .unwrap();
        eprintln!(
            "{limit}: {most} KiB more, another client waited {slowest:?} at most, over after {:?}",
            wait::now() - started
        );
        assert!(most < 1024, "{most} KiB");
    }
}

#[test]
fn a_slow_reader_gets_every_byte_once_also_when_its_statement_is_ended() {
    let Some(db) = database() else { return };
    let process = front(&db, "", "", "query_timeout = \"1s\"");
    let mut client = raw(process.listener("shop").unwrap());
    for _ in 0..2 {
        client.send(&[b"\x03", mebibytes(200).as_bytes()].concat()).unwrap();
        // Its time passes while nothing can be passed on.
        let _ = wait::wait_until(Deadline::after(Duration::from_millis(2500)), || false);
        let (mut seq, mut rows) = (0_u8, 0);
        let last = loop {
            let packet = client.packet().unwrap();
            seq = seq.wrapping_add(1);
            assert_eq!(client.seq(), seq, "after {rows} rows");
            match packet.len() {
                len if len > MIB => {
                    assert_eq!(len, MIB + 4);
                    assert!(packet[4..].iter().all(|byte| *byte == b'x'), "in row {rows}");
                    rows += 1;
                }
                _ if packet.first() == Some(&0xff) => break packet,
                _ if packet.first() == Some(&0xfe) && rows > 0 => break packet,
                _ => {}
            }
        };
        eprintln!("{rows} rows, then {:?}", String::from_utf8_lossy(&last));
        assert!(last.first() == Some(&0xff) && rows < 200, "the time-out did not end it");
        assert_eq!(client.value("SELECT 7").unwrap(), "7");
    }
}

#[test]
fn commands_and_results_of_many_mebibytes_go_through_and_memory_comes_back() {
    let Some(db) = database() else { return };
    db.sql("SET GLOBAL max_allowed_packet = 1073741824").unwrap();
    let process = front(&db, "", "", "max_allowed_packet = \"256MiB\"");
    let address = process.listener("shop").unwrap();
    let mut client = raw(address);
    let before = resident(process.pid());
    // Lexing takes its time in a debug build.
    let text = format!("SELECT LENGTH('{}')", "x".repeat(96 * MIB));
    assert_eq!(client.value(&text).unwrap(), (96 * MIB).to_string());
    let grown = || resident(process.pid()).saturating_sub(before);
    // The answer may be here before the session has put its buffers away.
    let _ = wait::wait_until(Deadline::seconds(2), || grown() < 40 * 1024);
    let after_command = grown();
    client.send(&[b"\x03", mebibytes(200).as_bytes()].concat()).unwrap();
    let (mut rows, mut most) = (0, 0);
    loop {
        let packet = client.packet().unwrap();
        rows += usize::from(packet.len() > MIB);
        most = most.max(grown().saturating_sub(after_command));
        if packet.first() == Some(&0xfe) && rows > 0 {
            break;
        }
    }
    eprintln!("{after_command} KiB after the command, {most} KiB at most during the result");
    assert_eq!(rows, 200);
    // The allocator keeps a block of up to 32 MiB, once.
    assert!(after_command < 40 * 1024, "{after_command} KiB");
    assert!(most < 2 * 1024, "{most} KiB");
}

#[test]
fn joined_commands_and_sessions_count_under_the_memory_limit() {
    let Some(db) = database() else { return };
    db.sql("SET GLOBAL max_allowed_packet = 1073741824").unwrap();
    // The inbox alone would fit; with the copy in one piece it does not.
    let process = front(&db, "memory_limit = \"100MiB\"", "", "max_allowed_packet = \"256MiB\"");
    let address = process.listener("shop").unwrap();
    let mut client = raw(address);
    let text = |size: usize| format!("SELECT LENGTH('{}')", "x".repeat(size * MIB));
    assert_eq!(client.value(&text(20)).unwrap(), (20 * MIB).to_string());
    for _ in 0..2 {
        let parts = client.query(text(60)).unwrap();
        assert_eq!(parts.iter().find_map(Part::error), Some(1041), "{parts:?}");
        assert_eq!(client.value("SELECT 7").unwrap(), "7");
    }
    wait_for_event(&process, "`memory_limit` is reached");
    // Texts of prepared statements stay: a client can't pile them up without a bound.
    let mut held = Vec::new();
    let refused = (0..200).find_map(|n| {
        let part = client.prepare(&format!("SELECT {n}, LENGTH('{}')", "y".repeat(MIB))).unwrap();
        if let Part::Prepared { id, .. } = &part {
            held.push(*id);
        }
        part.error()
    });
    eprintln!("{} statements of a mebibyte were taken", held.len());
    assert_eq!(refused, Some(1041));
    assert!((60..105).contains(&held.len()), "{}", held.len());
    for id in held {
        client.send(&raw::about(0x19, id)).unwrap();
    }
    let part = client.prepare(&format!("SELECT LENGTH('{}')", "y".repeat(MIB))).unwrap();
    assert!(part.error().is_none(), "{part:?}");
}

fn certificate(folder: &Path, name: &str, days: u32) {
    let output = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"])
        .args(["-days", &days.to_string(), "-subj", &format!("/CN={name}"), "-keyout"])
        .arg(folder.join("key.pem"))
        .arg("-out")
        .arg(folder.join("cert.pem"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
}

/// The name in the certificate that a new client is shown.
fn shown_name(address: SocketAddr) -> String {
    let output = Command::new("openssl")
        .args(["s_client", "-starttls", "mysql", "-connect", &address.to_string()])
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = text.lines().find(|line| line.starts_with("subject=")).unwrap_or_default();
    line.rsplit('=').next().unwrap_or_default().trim().to_owned()
}

fn tls_client(address: SocketAddr, statement: &str) -> Command {
    let mut command = Command::new("mariadb");
    command
        .args(["--no-defaults", "--ssl", "--skip-ssl-verify-server-cert", "-uapp", "-papp", "-N"])
        .args(["-h127.0.0.1", &format!("-P{}", address.port()), "-e", statement]);
    command
}

fn days_left(process: &HighgateProcess) -> i64 {
    table(process, "listeners").unwrap()[0]["certificate_expires_seconds"].as_i64().unwrap()
        / 86_400
}

/// `apply` reads certificates again, too, also where nothing else has changed.
fn replaced_by_apply(process: &HighgateProcess, folder: &Path, address: SocketAddr) {
    certificate(folder, "newest", 91);
    let apply = failure::highgate(process, &["apply"], &process.config_file());
    let said = String::from_utf8(apply.stdout).unwrap();
    assert!(said.contains("nothing changes\ncertificates are read again"), "{said}");
    wait::eventually(Deadline::seconds(5), "the newest certificate", || {
        anyhow::ensure!(shown_name(address) == "newest");
        Ok(())
    })
    .unwrap();
}

#[test]
fn a_certificate_is_told_of_before_it_expires_and_replaced_without_dropping_anybody() {
    let Some(db) = database() else { return };
    let folder = tempdir();
    certificate(&folder, "old", 5);
    let path = |name: &str| folder.join(name).display().to_string();
    let tls = format!("tls = {{ cert = \"{}\", key = \"{}\" }}", path("cert.pem"), path("key.pem"));
    let process = front(&db, "", "", &tls);
    let address = process.listener("shop").unwrap();
    assert!((4..=5).contains(&days_left(&process)));
    wait_for_event(&process, "the certificate of listener shop expires in ");
    assert_eq!(shown_name(address), "old");
    let long = tls_client(address, "SELECT SLEEP(4); SELECT 42")
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let ends = stop.clone();
    let stream = std::thread::spawn(move || {
        let mut count = 0;
        while !ends.load(std::sync::atomic::Ordering::Relaxed) {
            let output = tls_client(address, "SELECT 1").output().unwrap();
            assert!(output.status.success(), "{output:?}");
            count += 1;
        }
        count
    });
    let hup = || process.signal(rustix::process::Signal::HUP).unwrap();
    // A key that does not fit changes nothing.
    let key = std::fs::read(folder.join("key.pem")).unwrap();
    std::fs::write(folder.join("key.pem"), "no key").unwrap();
    hup();
    wait_for_event(&process, "nothing was changed: ");
    let events = serde_json::Value::from(table(&process, "events").unwrap()).to_string();
    assert!(events.contains("listener shop: private key `"), "{events}");
    assert_eq!(shown_name(address), "old");
    std::fs::write(folder.join("key.pem"), key).unwrap();
    certificate(&folder, "new", 90);
    hup();
    wait::eventually(Deadline::seconds(5), "the new certificate", || {
        anyhow::ensure!(shown_name(address) == "new");
        Ok(())
    })
    .unwrap();
    assert!((89..=90).contains(&days_left(&process)));
    replaced_by_apply(&process, &folder, address);
    let _ = wait::wait_until(Deadline::after(Duration::from_millis(500)), || false);
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    let count: u32 = stream.join().unwrap();
    let output = long.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "0\n42\n", "{output:?}");
    eprintln!("{count} clients came while the certificate was replaced");
    let metrics = scrape(process.admin_web().unwrap());
    assert!(metrics.contains("highgate_listeners_certificate_expires_seconds{"), "{metrics}");
    let _ = std::fs::remove_dir_all(folder);
}

fn tempdir() -> std::path::PathBuf {
    let folder = std::env::temp_dir().join(format!("highgate-certificate-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

fn scrape(address: SocketAddr) -> String {
    use std::io::Read as _;
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}
