//! What an operator configures decides which server answers: rules by what a command and its session are,
//! and each way to balance.

#[path = "common/failure.rs"]
mod failure;
#[path = "client/raw.rs"]
mod raw;

use std::{collections::BTreeMap, io::Write as _, net::SocketAddr, net::TcpStream, time::Duration};

use failure::start;
use highgate_testkit::{HighgateProcess, Reply, Script, ScriptedServer, wait};
use raw::{Part, RawClient, USUAL};

/// One that answers reads with its name.
fn named(name: &'static str) -> ScriptedServer {
    let script = Script::new(move |command| match command.text().as_str() {
        text if text.starts_with("SELECT @@") => Reply::variables(text),
        text if text.contains("slow") => Reply::UntilKilled,
        text if text.starts_with("SELECT") => Reply::value("name", name),
        _ => Reply::Ok,
    });
    ScriptedServer::start(script).unwrap()
}

/// A client that a trusted proxy announces with this address.
fn client_from(listener: SocketAddr, user: &str, address: &str) -> RawClient {
    let mut stream = TcpStream::connect(listener).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let header = format!("PROXY TCP4 {address} 127.0.0.1 40000 3306\r\n");
    stream.write_all(header.as_bytes()).unwrap();
    RawClient::over(stream, user, user, Some("shop"), USUAL).unwrap()
}

const RULES: &str = r#"
[[listener]]
name = "second"
bind = "127.0.0.1:0"
mode = "mysql"
backend = "shop"
proxy_protocol_from = "127.0.0.0/8"
[[user]]
name = "report"
password = "report"
[[rule]]
rule_id = 1
active = true
match_pattern = "forbidden"
error_msg = "not on this address"
apply = true
[[rule]]
rule_id = 2
active = true
match_pattern = "^SET noise"
OK_msg = "done"
apply = true
[[rule]]
rule_id = 3
active = true
username = "report"
backend = "other"
apply = true
[[rule]]
rule_id = 4
active = true
client_addr = "10.2.0.0/16"
backend = "other"
apply = true
[[rule]]
rule_id = 5
active = true
listener = "second"
match_pattern = "by the second"
backend = "other"
apply = true
[[rule]]
rule_id = 6
active = true
schemaname = "archive"
backend = "other"
apply = true
[[rule]]
rule_id = 7
active = true
match_pattern = "chained"
flagOUT = 10
[[rule]]
rule_id = 8
active = true
flagIN = 10
match_pattern = "plain"
negate_match_pattern = true
backend = "other"
apply = true
[[rule]]
rule_id = 9
active = true
match_digest = "^SELECT slow"
timeout = "300ms"
apply = true
[[rule]]
rule_id = 10
active = false
match_pattern = "inactive"
error_msg = "never said"
apply = true
"#;

#[test]
fn a_rule_meets_a_command_by_each_of_its_conditions_and_does_what_it_says() {
    let (a, b) = (named("a"), named("b"));
    let backend = "monitor = { check = \"connect\" }\n";
    let other = format!(
        "[[backend]]\nname = \"other\"\n{backend}[[backend.server]]\nname = \"db9\"\naddress = \"{}\"\n",
        b.addr()
    );
    let listener = "proxy_protocol_from = \"127.0.0.0/8\"";
    let text = failure::toml(&[a.addr()], backend, listener) + &other + RULES;
    let process = start(&text, 2).unwrap();
    let (first, second) = (process.listener("shop").unwrap(), process.listener("second").unwrap());
    let mut app = client_from(first, "app", "10.1.0.1");
    let refusal = |answer: Vec<Part>| match answer.into_iter().next() {
        Some(Part::Err { text, .. }) => text,
        other => panic!("{other:?}"),
    };
    assert!(refusal(app.query("SELECT forbidden").unwrap()).contains("not on this address"));
    let said = app.ok("SET noise = 1").unwrap();
    assert!(matches!(&said, Part::Ok { info, .. } if info == "done"), "{said:?}");
    let answers = [
        ("SELECT 1", "a"),
        ("SELECT inactive", "a"),
        ("SELECT by the second", "a"),
        ("SELECT chained, plain", "a"),
        ("SELECT chained", "b"),
    ];
    for (text, expected) in answers {
        assert_eq!(app.value(text).unwrap(), expected, "{text}");
    }
    assert_eq!(client_from(second, "app", "10.1.0.1").value("SELECT by the second").unwrap(), "b");
    assert_eq!(client_from(first, "report", "10.1.0.1").value("SELECT 1").unwrap(), "b");
    assert_eq!(client_from(first, "app", "10.2.3.4").value("SELECT 1").unwrap(), "b");
    let began = wait::now();
    let answer = app.query("SELECT slow, 1").unwrap();
    assert!(answer[0].error().is_some(), "{answer:?}");
    assert!(
        wait::now() - began < Duration::from_secs(5),
        "the rule's 300 ms, not the hours of others"
    );
    let mut other = client_from(first, "app", "10.1.0.1");
    assert_eq!(other.value("SELECT name FROM t").unwrap(), "a");
    other.ok("USE archive").unwrap();
    assert_eq!(other.value("SELECT name FROM t").unwrap(), "b");
    let silent = !a.queries().iter().chain(&b.queries()).any(|text| text.contains("forbidden"));
    assert!(silent, "what a rule refuses reaches no server");
}

/// How often each server answered.
fn shares(process: &HighgateProcess, sources: u8, each: usize) -> BTreeMap<String, usize> {
    let listener = process.listener("shop").unwrap();
    let mut shares = BTreeMap::new();
    for source in 1..=sources {
        let mut client = client_from(listener, "app", &format!("10.1.{source}.7"));
        let answers: Vec<_> = (0..each).map(|_| client.value("SELECT name").unwrap()).collect();
        for answer in answers {
            *shares.entry(answer).or_insert(0) += 1;
        }
    }
    shares
}

fn balanced<const N: usize>(
    how: &str,
    weights: [u32; N],
) -> (Vec<ScriptedServer>, HighgateProcess) {
    let servers: Vec<_> = ["a", "b", "c"].into_iter().take(N).map(named).collect();
    let backend = format!("balance = \"{how}\"\nmonitor = {{ check = \"connect\" }}\n");
    let listener = "proxy_protocol_from = \"127.0.0.0/8\"";
    let mut text = failure::toml(&[], &backend, listener).replace("workers = 2", "workers = 1");
    for (index, (server, weight)) in servers.iter().zip(weights).enumerate() {
        text += &format!(
            "[[backend.server]]\nname = \"db{index}\"\naddress = \"{}\"\nweight = {weight}\n",
            server.addr()
        );
    }
    let process = start(&text, N).unwrap();
    (servers, process)
}

#[test]
fn round_robin_shares_by_weight_and_first_fills_the_first() {
    let (_servers, process) = balanced("round-robin", [3, 2, 1]);
    let told = shares(&process, 2, 30);
    let expected = [("a", 30), ("b", 20), ("c", 10)].map(|(name, count)| (name.to_owned(), count));
    assert_eq!(told, BTreeMap::from(expected));
    let (_servers, process) = balanced("first", [1, 1, 1]);
    assert_eq!(shares(&process, 3, 10), BTreeMap::from([("a".to_owned(), 30)]));
}

/// Each login asked the one server for its schema, and each query ran on the other.
#[test]
fn sessions_of_one_query_that_name_a_schema_are_shared_evenly_by_round_robin() {
    let (_servers, process) = balanced("round-robin", [1, 1]);
    let told = shares(&process, 20, 1);
    let expected = [("a", 10), ("b", 10)].map(|(name, count)| (name.to_owned(), count));
    assert_eq!(told, BTreeMap::from(expected));
}

#[test]
fn by_source_each_client_keeps_its_server_and_clients_are_spread() {
    let (_servers, process) = balanced("source", [1, 1, 1]);
    let listener = process.listener("shop").unwrap();
    let mut all = BTreeMap::new();
    for source in 1..=30_u8 {
        let address = format!("10.1.{source}.7");
        let of = |user: &mut RawClient| user.value("SELECT name").unwrap();
        let kept = of(&mut client_from(listener, "app", &address));
        for _ in 0..3 {
            assert_eq!(of(&mut client_from(listener, "app", &address)), kept, "{address}");
        }
        *all.entry(kept).or_insert(0) += 1;
    }
    assert!(all.len() == 3 && all.values().all(|count| *count >= 2), "{all:?}");
}

#[test]
fn every_other_way_to_balance_leaves_no_server_without_work() {
    for how in ["least-connections", "random-two", "fastest"] {
        let (_servers, process) = balanced(how, [1, 1, 1]);
        let told = shares(&process, 4, 60);
        let total: usize = told.values().sum();
        assert_eq!(total, 240, "{how}: {told:?}");
        assert!(told.len() == 3, "{how}: {told:?}");
    }
}

/// A statement that must not fail, for servers that answer pings and serve nobody.
#[test]
fn a_server_that_fails_the_statement_of_its_check_gets_no_work() {
    let broken = ScriptedServer::start(Script::new(|command| match command.text().as_str() {
        text if text.starts_with("SELECT @@") => Reply::variables(text),
        text if text.contains("health") => {
            Reply::Err(1146, "42S02", "Table 'app.health' doesn't exist".to_owned())
        }
        text if text.starts_with("SELECT") => Reply::value("name", "broken"),
        _ => Reply::Ok,
    }))
    .unwrap();
    let good = named("good");
    let backend = "monitor = { user = \"m\", password = \"m\", interval = \"100ms\", \
                   check = \"SELECT 1 FROM app.health\" }\n";
    let text = failure::toml(&[broken.addr(), good.addr()], backend, "");
    let process = start(&text, 1).unwrap();
    let found = failure::until_server(&process, "db1", Duration::from_secs(10), |db1| {
        db1.status == "down" && db1.reason.contains("health")
    });
    found.unwrap();
    let listener = process.listener("shop").unwrap();
    let mut client = RawClient::connect(listener, "app", "app", None, USUAL).unwrap();
    for _ in 0..20 {
        assert_eq!(client.value("SELECT name").unwrap(), "good");
    }
}

/// Accepts, and greets with garbage: found by a check that reads greetings, not by one that connects.
#[test]
fn a_check_of_the_handshake_finds_a_server_that_greets_wrongly() {
    let odd = Script::ok().greeting_bytes(b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec());
    let (odd, good) = (ScriptedServer::start(odd).unwrap(), named("good"));
    let backend = "monitor = { interval = \"100ms\", check = \"handshake\" }\n";
    let process = start(&failure::toml(&[odd.addr(), good.addr()], backend, ""), 1).unwrap();
    let down = |db1: &failure::Server| db1.status == "down";
    failure::until_server(&process, "db1", Duration::from_secs(10), down).unwrap();
    assert_eq!(failure::server(&process, "db2").unwrap().status, "up");
    // "the packet is too long for a login".
    assert!(process.log().contains("no MySQL server's greeting"), "{}", process.log());
}
