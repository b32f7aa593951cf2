use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use highgate_config::{
    Secret,
    table::{Action, Column, Row, Table},
};
use highgate_core::{events::Severity, snapshot::Status};
use highgate_io::{
    clock,
    tasks::{Stop, Stopper},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
};

use super::*;
use crate::{Alarm, Room, TlsOffer, Users, ctl, fake};

struct Served {
    address: SocketAddr,
    serving: watch::Sender<bool>,
    fault: watch::Sender<Option<String>>,
    servers: Arc<fake::Fake>,
    _stopper: Stopper,
}

async fn served(door: Door, users: &[(&str, &str)]) -> Served {
    let servers = fake::servers();
    let (serving, is_serving) = watch::channel(true);
    let (stopper, stop) = Stopper::new();
    let (fault, is_faulty) = watch::channel(None);
    let site = Site { fault: is_faulty, ..site(&servers, users, is_serving) };
    let router = router(&site, door);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    run(serve(WebPort::new(listener, TlsOffer::none()), router, Room::default(), stop));
    Served { address, serving, fault, servers, _stopper: stopper }
}

fn site(servers: &Arc<fake::Fake>, users: &[(&str, &str)], serving: watch::Receiver<bool>) -> Site {
    let tables = Tables::new(vec![servers.clone(), fake::sessions(5000)]);
    let users: BTreeMap<_, _> =
        users.iter().map(|(name, secret)| ((*name).into(), Secret::new(*secret))).collect();
    let logins = Logins::new(Users::fixed(users), Alarm::new(|_| {}), None);
    Site { tables, logins, serving, fault: watch::channel(None).1, turn: Arc::default() }
}

#[expect(clippy::disallowed_methods, reason = "a test's server ends with its runtime")]
fn run(server: impl Future<Output = ()> + Send + 'static) {
    tokio::spawn(server);
}

impl Served {
    async fn get(&self, path: &str) -> (u16, String) {
        self.send(&format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n")).await
    }

    async fn post(&self, path: &str, headers: &str, body: &str) -> (u16, String) {
        self.send(&format!(
            "POST {path} HTTP/1.0\r\nHost: localhost\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n{headers}\r\n{body}",
            body.len()
        ))
        .await
    }

    async fn send(&self, request: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
        (status, answer)
    }
}

const DRAIN: &str = "/api/v1/tables/servers/drain";
const DB2: &str = r#"{"arguments": ["db2"]}"#;

#[tokio::test]
async fn a_table_is_read_as_json_csv_and_text() {
    let served = served(Door::Loopback, &[]).await;
    let (status, json) = served.get("/api/v1/tables/servers?filter=replica&limit=1").await;
    assert_eq!(status, 200);
    assert!(json.contains(r#""matched":2"#) && json.contains(r#""truncated":true"#), "{json}");
    assert!(
        json.contains(r#"{"commands":20,"lag_ms":1.5,"name":"db2","role":"replica"}"#),
        "{json}"
    );
    let (_, csv) = served.get("/api/v1/tables/servers?format=csv&tail=1").await;
    assert!(csv.ends_with("\r\n\r\nname,role,lag_ms,commands\r\ndb3,replica,0,30\r\n"), "{csv}");
    let (_, text) = served.get("/api/v1/tables/servers?format=text").await;
    assert!(text.contains("db1   primary       -        10\n"), "{text}");
    let (_, list) = served.get("/api/v1/tables").await;
    assert!(list.contains(r#""metric":"highgate_servers_commands_total""#), "{list}");
}

#[tokio::test]
async fn a_large_table_is_answered_in_part_and_says_so() {
    let served = served(Door::Loopback, &[]).await;
    let (_, json) = served.get("/api/v1/tables/sessions").await;
    assert!(json.contains(r#""total":5000"#) && json.contains(r#""truncated":true"#));
    assert_eq!(json.matches(r#""user":"app""#).count(), 1000);
}

#[tokio::test]
async fn what_does_not_exist_is_said_with_what_does() {
    let served = served(Door::Loopback, &[]).await;
    let (status, text) = served.get("/api/v1/tables/server").await;
    assert!(status == 404 && text.contains("did you mean 'servers'"), "{text}");
    let (status, text) = served.get("/api/v1/tables/servers?sort=1").await;
    assert!(status == 400 && text.contains("there are columns, format"), "{text}");
    assert_eq!(served.get("/nowhere").await.0, 404);
}

#[tokio::test]
async fn columns_are_chosen_and_ordered_by_their_names() {
    let served = served(Door::Loopback, &[]).await;
    let path = "/api/v1/tables/servers?format=csv&columns=role,name";
    let (status, text) = served.get(path).await;
    assert!(status == 200 && text.contains("role,name"), "{text}");
    let (status, text) = served.get("/api/v1/tables/servers?columns=nmae").await;
    assert!(status == 400 && text.contains("no column `nmae`"), "{text}");
}

#[tokio::test]
async fn people_get_the_list_of_tables_as_text() {
    let served = served(Door::Loopback, &[]).await;
    let (status, text) = served.get("/api/v1/tables?format=text").await;
    assert!(status == 200 && text.contains("TABLE"), "{text}");
    assert!(text.contains("servers"), "{text}");
}

#[tokio::test]
async fn health_follows_whether_the_node_serves() {
    let served = served(Door::Network, &[]).await;
    assert_eq!(served.get("/health").await.0, 200);
    served.serving.send_replace(false);
    assert_eq!(served.get("/health").await.0, 503);
}

/// HAProxy's `option httpchk` names no host, and asks by OPTIONS unless it is told otherwise.
#[tokio::test]
async fn load_balancers_ask_for_health_as_they_do_by_default() {
    for door in [Door::Loopback, Door::Network] {
        let served = served(door, &[]).await;
        for request in ["GET /health HTTP/1.0", "OPTIONS /health HTTP/1.0"] {
            let asked = format!("{request}\r\n\r\n");
            assert_eq!(served.send(&asked).await.0, 200, "{request}");
            let named = format!("{request}\r\nHost: db.example\r\n\r\n");
            assert_eq!(served.send(&named).await.0, 200, "{request}");
        }
        served.serving.send_replace(false);
        assert_eq!(served.send("OPTIONS /health HTTP/1.0\r\n\r\n").await.0, 503);
        assert_eq!(served.send("OPTIONS / HTTP/1.0\r\n\r\n").await.0, 403);
    }
}

#[tokio::test]
async fn a_node_that_is_to_serve_and_cannot_is_not_healthy_until_it_can() {
    let served = served(Door::Network, &[]).await;
    served.fault.send_replace(Some("data worker 1 does not answer".to_owned()));
    assert_eq!(served.get("/health").await.0, 503);
    served.fault.send_replace(None);
    assert_eq!(served.get("/health").await.0, 200);
}

/// An action that a disk holds up.
struct Stalled {
    begun: Arc<AtomicUsize>,
    /// It comes to an end when nobody holds the other end any more.
    disk: parking_lot::Mutex<std::sync::mpsc::Receiver<()>>,
}

impl Table for Stalled {
    fn name(&self) -> &'static str {
        "servers"
    }
    fn doc(&self) -> &'static str {
        "A row of a test."
    }
    fn columns(&self) -> &'static [Column] {
        &[]
    }
    fn rows(&self) -> Vec<Row> {
        Vec::new()
    }
    fn actions(&self) -> &'static [Action] {
        &[Action { name: "drain", arguments: &["server"], doc: "" }]
    }
    fn act(&self, _: &str, arguments: &[&str]) -> Result<String, String> {
        self.begun.fetch_add(1, Ordering::AcqRel);
        let _ = self.disk.lock().recv();
        Ok(arguments.concat())
    }
}

/// Each that was given up left its turn to the next, and its thread where it was: after some of them there
/// was no thread left for what all of them waited for.
#[tokio::test]
async fn an_action_whose_client_went_keeps_its_turn_until_it_is_done() {
    let (stalled, disk) = std::sync::mpsc::sync_channel(0);
    let begun = Arc::<AtomicUsize>::default();
    let table = Stalled { begun: begun.clone(), disk: parking_lot::Mutex::new(disk) };
    let site = Arc::new(Site {
        tables: Tables::new(vec![Arc::new(table)]),
        ..site(&fake::servers(), &[], watch::channel(true).1)
    });
    let act = || {
        let path = axum::extract::Path(("servers".to_owned(), "drain".to_owned()));
        let body = axum::Json(serde_json::json!({ "arguments": ["db1"] }));
        api::act(State(site.clone()), path, body)
    };
    let soon = || clock::now() + Duration::from_millis(100);
    for _ in 0..10 {
        assert!(clock::before(soon(), act()).await.is_none(), "the disk stalls");
    }
    assert_eq!(begun.load(Ordering::Acquire), 1, "all others wait for their turn");
    drop(stalled);
    assert_eq!(act().await.status(), StatusCode::OK);
    assert_eq!(begun.load(Ordering::Acquire), 2, "who gave up waiting did nothing");
}

#[tokio::test]
async fn silent_connections_of_one_address_leave_health_to_the_others() {
    let served = served(Door::Network, &[]).await;
    let mut silent = Vec::new();
    for _ in 0..300 {
        silent.push(TcpStream::connect(served.address).await.unwrap());
    }
    let other = tokio::net::TcpSocket::new_v4().unwrap();
    other.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let mut other = other.connect(served.address).await.unwrap();
    other.write_all(b"GET /health HTTP/1.0\r\nHost: localhost\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    // Far below the time after which a silent connection is closed.
    let soon = clock::now() + Duration::from_secs(10);
    let read = clock::before(soon, other.read_to_string(&mut answer)).await;
    read.expect("an answer in time").unwrap();
    assert!(answer.lines().next().unwrap().contains(" 200 "), "{answer}");
    let mut refused = silent.pop().unwrap();
    let end = refused.read(&mut [0; 1]).await;
    assert!(matches!(end, Ok(0) | Err(_)), "those beyond its share are closed");
}

#[tokio::test]
async fn every_answer_carries_the_security_headers() {
    let served = served(Door::Loopback, &[]).await;
    for path in ["/", "/page.js", "/nowhere", "/metrics"] {
        let (_, answer) = served.get(path).await;
        for header in
            ["content-security-policy: default-src 'none'", "nosniff", "x-frame-options: DENY"]
        {
            assert!(answer.contains(header), "{path}: {answer}");
        }
    }
}

#[tokio::test]
async fn a_foreign_page_can_neither_read_nor_act() {
    let served = served(Door::Loopback, &[]).await;
    let rebound = served.send("GET / HTTP/1.0\r\nHost: evil.example:6080\r\n\r\n").await;
    assert_eq!(rebound.0, 403);
    assert_eq!(served.send("GET / HTTP/1.0\r\n\r\n").await.0, 403);
    for headers in [
        "",
        "X-Highgate: 1\r\nOrigin: http://evil.example\r\n",
        "X-Highgate: 1\r\nOrigin: null\r\n",
        "X-Highgate: 1\r\nSec-Fetch-Site: cross-site\r\n",
        "Origin: http://localhost\r\n",
    ] {
        assert_eq!(served.post(DRAIN, headers, DB2).await.0, 403, "{headers}");
    }
    assert!(served.servers.acted.lock().is_empty());
}

#[tokio::test]
async fn our_own_page_can_act_on_loopback() {
    let served = served(Door::Loopback, &[]).await;
    let ours = "X-Highgate: 1\r\nOrigin: http://localhost\r\nSec-Fetch-Site: same-origin\r\n";
    let (status, text) = served.post(DRAIN, ours, DB2).await;
    assert!(status == 200 && text.ends_with(r#"{"done":"draining db2"}"#), "{text}");
    assert_eq!(*served.servers.acted.lock(), ["drain db2"]);
    for (path, body, code) in [
        (DRAIN, r#"{"arguments": ["nobody"]}"#, 409),
        (DRAIN, r#"{"arguments": "db2"}"#, 400),
        (DRAIN, "{}", 409),
        (DRAIN, "[", 400),
        ("/api/v1/tables/nothing/drain", DB2, 404),
    ] {
        assert_eq!(served.post(path, ours, body).await.0, code, "{path} {body}");
    }
    let large = format!(r#"{{"arguments": ["{}"]}}"#, "x".repeat(100_000));
    assert_eq!(served.post(DRAIN, ours, &large).await.0, 413);
}

#[tokio::test]
async fn users_must_log_in_to_act_and_on_a_network_also_to_look() {
    let users = [("admin", "s3cret")];
    let right = "Authorization: Basic YWRtaW46czNjcmV0\r\n";
    let wrong = "Authorization: Basic YWRtaW46d3Jvbmc=\r\n";
    let local = served(Door::Loopback, &users).await;
    assert_eq!(local.get("/metrics").await.0, 200);
    assert_eq!(local.post(DRAIN, "X-Highgate: 1\r\n", DB2).await.0, 401);
    assert_eq!(local.post(DRAIN, &format!("X-Highgate: 1\r\n{wrong}"), DB2).await.0, 401);
    assert_eq!(local.post(DRAIN, &format!("X-Highgate: 1\r\n{right}"), DB2).await.0, 200);
    assert_eq!(local.post(DRAIN, right, DB2).await.0, 403, "a login does not replace the header");
    let network = served(Door::Network, &users).await;
    assert_eq!(network.get("/metrics").await.0, 401);
    let request = format!("GET /metrics HTTP/1.0\r\nHost: db.example\r\n{right}\r\n");
    assert_eq!(network.send(&request).await.0, 200);
    let open = served(Door::Network, &[]).await;
    assert_eq!(open.get("/metrics").await.0, 403, "nobody can log in");
}

#[tokio::test]
async fn the_owners_socket_needs_no_login() {
    let folder = std::env::temp_dir().join(format!("highgate-ctl-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("highgate.sock");
    let servers = fake::servers();
    let site = site(&servers, &[("admin", "x")], watch::channel(true).1);
    let listener = OwnerSocket::bind(&path).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::mode(&path.metadata().unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    let (stopper, stop): (Stopper, Stop) = Stopper::new();
    run(serve(listener, router(&site, Door::Owner), Room::default(), stop));
    let socket = path.clone();
    let done = highgate_io::tasks::blocking(move || {
        let text = ctl::get(&socket, "/api/v1/tables/servers?format=text").unwrap();
        assert!(text.starts_with("NAME"), "{text}");
        assert_eq!(ctl::act(&socket, "servers", "drain", &["db3"]).unwrap(), "draining db3");
        let refused = ctl::act(&socket, "servers", "drain", &["nobody"]).unwrap_err();
        assert_eq!(refused.to_string(), "there is no server 'nobody'");
        let missing = ctl::get(&socket.with_extension("gone"), "/health").unwrap_err();
        assert!(missing.to_string().contains("does Highgate run"), "{missing}");
    });
    done.await.unwrap();
    stopper.stop();
    std::fs::remove_dir_all(&folder).unwrap();
}

/// A status that the page did not know was drawn as in service: a broken server looked healthy.
#[test]
fn the_page_knows_every_status_and_only_those_that_serve_are_well() {
    let script = include_str!("topology.js");
    let kind_of = |word: &str| {
        let (_, rest) = script.split_once(&format!("\n  {word}: \""))?;
        Some(rest.split('"').next().unwrap_or_default())
    };
    for status in Status::ALL {
        let kind = kind_of(status.as_str());
        assert!(kind.is_some(), "topology.js has no kind for the status `{status}`");
        assert_eq!(kind == Some("ok"), status.serves(), "{status}: {kind:?}");
    }
    for severity in [Severity::Info, Severity::Warning, Severity::Error] {
        assert!(kind_of(&severity.to_string()).is_some(), "{severity}");
    }
    assert!(script.contains("KINDS[text] : \"warn\""), "an unknown word asks for a look");
}

#[tokio::test]
async fn what_may_be_left_out_may_be_left_out() {
    let action = Action { name: "drain", arguments: &["vip", "why?"], doc: "" };
    let counts = [0, 1, 2, 3].map(|count| crate::tables::takes(&action, count));
    assert_eq!(counts, [false, true, true, false]);
    let action = Action { name: "explain", arguments: &["sql", "schema?", "client?"], doc: "" };
    let counts = [0, 1, 2, 3, 4].map(|count| crate::tables::takes(&action, count));
    assert_eq!(counts, [false, true, true, true, false]);
}
