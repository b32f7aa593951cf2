use std::{collections::BTreeMap, net::SocketAddr, process::Command, process::Output};

use highgate_config::Secret;
use highgate_io::tasks::{Stopper, blocking};
use highgate_mysql::auth::{StoredPassword, native};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::{Alarm, Users, fake, sql::Limits};

async fn served(limits: PortLimits) -> (SocketAddr, Stopper) {
    served_with(limits, Alarm::new(|_| {})).await
}

async fn served_with(limits: PortLimits, alarm: Alarm) -> (SocketAddr, Stopper) {
    let hashed = StoredPassword::Native(native::double_hash(b"s3cret")).to_hash_text().unwrap();
    let users: BTreeMap<_, _> =
        [("admin", "s3cret"), ("hashed", &*hashed)].map(|(n, s)| (n.into(), Secret::new(s))).into();
    let engine = Engine::start(fake::tables(100), "8.0.36-highgate", Limits::default()).unwrap();
    let rsa = highgate_io::rsa::KeyPair::generate().ok().map(Arc::new);
    let logins = Logins::new(Users::fixed(users), alarm, rsa);
    let (version, tls) = ("8.0.36-highgate".into(), TlsOffer::none());
    let port = Port { engine, logins, tls, version, limits };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stopper, stop) = Stopper::new();
    run(serve(listener, port, stop));
    (address, stopper)
}

#[expect(clippy::disallowed_methods, reason = "a test's server ends with its runtime")]
fn run(server: impl Future<Output = ()> + Send + 'static) {
    tokio::spawn(server);
}

async fn cli(address: SocketAddr, user: &str, password: &str, arguments: &[&str]) -> Output {
    let (user, password) = (format!("-u{user}"), format!("-p{password}"));
    let port = format!("-P{}", address.port());
    let arguments: Vec<String> = arguments.iter().map(|a| (*a).to_owned()).collect();
    let run = move || {
        let mut command = Command::new("mariadb");
        command.args(["--no-defaults", "-h127.0.0.1", "--skip-ssl"]).args([port, user, password]);
        command.args(arguments).output().expect("the stock mariadb command line is installed")
    };
    blocking(run).await.unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[tokio::test]
async fn the_stock_mariadb_command_line_gets_its_answers() {
    let (address, _stopper) = served(PortLimits::default()).await;
    for user in ["admin", "hashed"] {
        let select = "select name, role, lag_ms, commands from servers order by name";
        let output = cli(address, user, "s3cret", &["-e", select]).await;
        assert_eq!(
            text(&output.stdout),
            "name\trole\tlag_ms\tcommands\ndb1\tprimary\tNULL\t10\ndb2\treplica\t1.5\t20\ndb3\treplica\t0\t30\n",
            "{}",
            text(&output.stderr)
        );
    }
    let several = "use main; show tables; select user(), database(); call servers.drain('db2');";
    let output = cli(address, "admin", "s3cret", &["-N", "-e", several]).await;
    assert_eq!(
        text(&output.stdout),
        "servers\nsessions\nadmin\tmain\n",
        "{}",
        text(&output.stderr)
    );
    let output = cli(address, "admin", "s3cret", &["main", "--auto-rehash", "-e", "status"]).await;
    assert!(
        output.status.success() && text(&output.stdout).contains("Highgate admin"),
        "{output:?}"
    );
}

#[tokio::test]
async fn the_command_line_is_told_what_is_wrong() {
    let (address, _stopper) = served(PortLimits::default()).await;
    for (statement, says) in [
        (
            "select * from server",
            "ERROR 1146 (42S02) at line 1: Table 'server' doesn't exist; did you mean 'servers'?",
        ),
        ("delete from servers", "ERROR 1290 (HY000)"),
        ("call servers.drain('nobody')", "there is no server 'nobody'"),
        ("prepare s from 'select 1'", "ERROR 1064 (42000)"),
    ] {
        let output = cli(address, "admin", "s3cret", &["-e", statement]).await;
        assert!(text(&output.stderr).contains(says), "{statement}: {output:?}");
    }
    for (user, password) in [("admin", "wrong"), ("nobody", "s3cret"), ("hashed", "")] {
        let output = cli(address, user, password, &["-e", "select 1"]).await;
        assert!(text(&output.stderr).contains("ERROR 1045 (28000)"), "{user}: {output:?}");
    }
}

/// The second half of a character may be a backslash there, which drivers don't escape.
#[tokio::test]
async fn a_client_whose_characters_may_hold_backslashes_is_refused() {
    let (address, _stopper) = served(PortLimits::default()).await;
    for charset in ["gbk", "sjis"] {
        let charset = format!("--default-character-set={charset}");
        let output = cli(address, "admin", "s3cret", &[&charset, "-e", "select 1"]).await;
        assert!(text(&output.stderr).contains("ERROR 1115 (42000)"), "{output:?}");
    }
}

#[tokio::test]
async fn one_connection_too_many_is_told_so_and_a_silent_one_is_closed() {
    let login = Duration::from_millis(200);
    let (address, _stopper) =
        served(PortLimits { connections: 1, login, ..PortLimits::default() }).await;
    let mut silent = TcpStream::connect(address).await.unwrap();
    let mut greeting = [0; 5];
    silent.read_exact(&mut greeting).await.unwrap();
    assert_eq!(greeting[4], 10, "protocol version");
    let mut refused = Vec::new();
    TcpStream::connect(address).await.unwrap().read_to_end(&mut refused).await.unwrap();
    assert!(text(&refused).contains("Too many connections"), "{}", text(&refused));
    let mut rest = Vec::new();
    silent.read_to_end(&mut rest).await.unwrap();
    let mut next = TcpStream::connect(address).await.unwrap();
    next.read_exact(&mut greeting).await.unwrap();
    assert_eq!(greeting[4], 10, "its place is free again");
}

#[tokio::test]
async fn one_address_leaves_a_connection_to_the_others() {
    let (address, _stopper) = served(PortLimits { connections: 4, ..PortLimits::default() }).await;
    let mut silent = Vec::new();
    for _ in 0..3 {
        silent.push(TcpStream::connect(address).await.unwrap());
    }
    let mut refused = Vec::new();
    TcpStream::connect(address).await.unwrap().read_to_end(&mut refused).await.unwrap();
    assert!(text(&refused).contains("from your address"), "{}", text(&refused));
    let other = tokio::net::TcpSocket::new_v4().unwrap();
    other.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let mut greeting = [0; 5];
    other.connect(address).await.unwrap().read_exact(&mut greeting).await.unwrap();
    assert_eq!(greeting[4], 10, "protocol version");
}

#[tokio::test]
async fn garbage_ends_its_connection_only() {
    let (address, _stopper) = served(PortLimits::default()).await;
    for garbage in [
        &b"GET / HTTP/1.0\r\n\r\n"[..],
        b"\xff\xff\xff\x01",
        b"\x01\x00\x00\x01\x00",
        b"\x00\x00\x00\x01",
    ] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(garbage).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await;
    }
    let output = cli(address, "admin", "s3cret", &["-N", "-e", "select 1"]).await;
    assert_eq!(text(&output.stdout), "1\n");
}

#[tokio::test]
async fn stopping_ends_the_connections() {
    let (address, stopper) = served(PortLimits::default()).await;
    let mut idle = TcpStream::connect(address).await.unwrap();
    stopper.stop();
    let mut rest = Vec::new();
    let _ = idle.read_to_end(&mut rest).await;
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn many_failed_logins_are_told_and_held_back() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&told);
    let alarm = Alarm::new(move |text| kept.lock().push(text));
    let (address, _stopper) = served_with(PortLimits::default(), alarm).await;
    let started = clock::now();
    for _ in 0..10 {
        let output = cli(address, "admin", "wrong", &["-e", "select 1"]).await;
        assert!(text(&output.stderr).contains("1045"), "{output:?}");
    }
    assert!(started.elapsed() >= Duration::from_millis(800), "{:?}", started.elapsed());
    let told = told.lock().clone();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(
        told[0].contains("10 logins") && told[0].contains("`admin` from 127.0.0.1"),
        "{told:?}"
    );
    let right = cli(address, "admin", "s3cret", &["-e", "select 1"]).await;
    assert!(right.status.success());
}
