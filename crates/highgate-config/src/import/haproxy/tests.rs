use std::time::Duration;

use crate::{
    Address, AdminState, Balance, Check, Config, Mode, NodeName, SendProxy, Severity,
    import::Surroundings,
    native::{Input, Parsed, Problems, read_all},
};

const SEED: &str = include_str!("../../../tests/golden/haproxy.cfg");
const MISTAKES: &str = include_str!("../../../tests/golden/mistakes.haproxy.cfg");

/// An environment of one variable.
struct Environment;

impl Surroundings for Environment {
    fn include(&self, _from: &str, _pattern: &str) -> Result<Vec<(String, String)>, String> {
        Ok(Vec::new())
    }

    fn variable(&self, name: &str) -> Option<String> {
        (name == "PORT").then(|| "8080".to_owned())
    }
}

fn read(text: &str) -> Result<Parsed, Problems> {
    read_all(&[Input { name: "haproxy.cfg", text }], &NodeName::from("n"), &Environment)
}

fn config(text: &str) -> Config {
    read(text).unwrap_or_else(|problems| panic!("{text}\n{problems}")).config
}

/// A whole file around lines of a backend.
fn backend(lines: &str) -> String {
    format!(
        "defaults\n timeout connect 5s\n timeout client 1m\n timeout server 1m\n\
         frontend f\n bind :1\n default_backend b\nbackend b\n{lines}\n"
    )
}

fn golden(name: &str, text: &str) {
    let mut settings = insta::Settings::new();
    settings.set_snapshot_path("../../../tests/golden");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, text));
}

#[test]
fn the_usual_file_of_tcp_mode_is_read_without_an_error() {
    let parsed = read(SEED).unwrap();
    let told: Vec<String> = parsed.warnings.iter().map(ToString::to_string).collect();
    let told = told.join("\n");
    assert!(!told.contains("hunter2"), "{told}");
    golden("haproxy_told", &told);
    let node = &parsed.config.node["n"];
    assert_eq!(node.max_connections, 4000);
    let shared = &parsed.config.shared;
    let listener = &shared.listeners["shop_in"];
    assert_eq!(node.binds["shop_in"], [Address::Ip("0.0.0.0:8080".parse().unwrap())]);
    assert_eq!((listener.mode, listener.max_connections), (Mode::Tcp, 3000));
    assert_eq!(listener.client_timeout, Duration::from_secs(3600));
    assert_eq!(listener.backend.as_str(), "shop_nodes");
    let backend = &shared.backends["shop_nodes"];
    assert_eq!((backend.balance, backend.send_proxy), (Balance::RoundRobin, SendProxy::V1));
    assert_eq!(backend.connect_timeout, Duration::from_secs(10));
    assert_eq!(backend.queue_timeout, Duration::from_secs(60));
    assert_eq!(backend.monitor.check, Check::Connect);
    assert_eq!(backend.monitor.interval, Duration::from_secs(5));
    assert_eq!(backend.monitor.timeout, Duration::from_secs(5));
    assert_eq!((backend.monitor.rise, backend.monitor.fall), (2, 3));
    assert_eq!(backend.servers.len(), 3);
    assert_eq!(backend.servers["node1"].max_connections, 100_000);
    assert!(!shared.listeners.contains_key("stats"));
}

#[test]
fn the_usual_file_of_http_mode_is_served_as_bytes_with_a_warning() {
    let text = SEED.replace("mode tcp", "mode http").replace(" send-proxy", "");
    let parsed = read(&text.replace("tcplog", "httplog")).unwrap();
    assert_eq!(parsed.config.shared.listeners["shop_in"].mode, Mode::Tcp);
    let warning = parsed.warnings.iter().find(|it| it.what.contains("served in tcp mode"));
    assert_eq!(warning.map(|it| (it.severity, it.line)), Some((Severity::Warning, 26)));
}

#[test]
fn every_mistake_is_told_at_its_place() {
    let problems = read(MISTAKES).unwrap_err();
    let report = problems.to_string();
    assert!(!report.contains("hunter2"), "{report}");
    golden("mistakes_haproxy", &report);
}

#[test]
fn a_listen_is_a_listener_with_its_backend() {
    let config = config(
        "listen db\n bind :3306 name x accept-proxy\n balance leastconn\n option mysql-check user probe\n \
         timeout client 5m\n timeout server 2m\n timeout connect 4000\n \
         default-server inter 1s maxconn 50\n server a db1:3306 check weight 10\n \
         server b db2:3306 check backup disabled",
    );
    assert_eq!(config.shared.listeners["db"].proxy_protocol_from.len(), 2);
    assert_eq!(config.shared.listeners["db"].client_timeout, Duration::from_secs(120));
    let backend = &config.shared.backends["db"];
    assert_eq!(
        (backend.balance, &backend.monitor.check),
        (Balance::LeastConnections, &Check::Ping)
    );
    assert_eq!(backend.monitor.user, "probe");
    assert_eq!(backend.connect_timeout, Duration::from_secs(4));
    let [a, b] = ["a", "b"].map(|name| &backend.servers[name]);
    assert_eq!((a.weight, a.max_connections, a.backup), (10, 50, false));
    assert_eq!((b.state, b.backup), (AdminState::Maintenance, true));
}

#[test]
fn defaults_hold_for_the_sections_after_them_and_by_name() {
    let text = "defaults one\n timeout connect 1s\n timeout client 1s\n timeout server 1s\n\
                defaults two from one\n timeout client 2s\n\
                listen a from one\n bind :1\n server s x:1\n\
                listen b\n bind :2\n server s x:1\n";
    let listeners = config(text).shared.listeners;
    let seconds = |name: &str| listeners[name].client_timeout.as_secs();
    // Of both sides the lesser: `timeout server` of `two` is that of `one`.
    assert_eq!((seconds("a"), seconds("b")), (1, 1));
    let problems = read("defaults x\nlisten a from y\n bind :1\n server s x:1\n").unwrap_err();
    assert!(problems.to_string().contains("did you mean `x`"), "{problems}");
}

#[test]
fn a_backend_without_checks_is_not_checked() {
    let config = config(&backend(" server s x:1"));
    assert_eq!(config.shared.backends["b"].monitor.check, Check::Off);
}

#[test]
fn a_backend_may_be_in_another_file() {
    let front = "frontend f\n bind :1\n default_backend b\n timeout client 1m\n";
    assert!(read(front).unwrap_err().to_string().contains("there is no backend `b`"));
    let other = "[[backend]]\nname = 'b'\n[[backend.server]]\nname = 's'\naddress = 'x:1'\n";
    let inputs =
        [Input { name: "haproxy.cfg", text: front }, Input { name: "b.toml", text: other }];
    let parsed = read_all(&inputs, &NodeName::from("n"), &Environment).unwrap();
    assert_eq!(parsed.config.shared.backends["b"].servers.len(), 1);
}

#[test]
fn words_have_quotes_escapes_and_variables() {
    let text = backend(" server \"s${NONE-7}\" 'x:1' # a comment\n server t\\ u x:\"$PORT\"");
    let config = config(&text);
    let servers = &config.shared.backends["b"].servers;
    assert_eq!(servers["s7"].address.to_string(), "x:1");
    assert_eq!(servers["t u"].address.to_string(), "x:8080");
    let last = backend(" server s x:1");
    assert!(read(last.trim_end()).is_ok());
}

/// What HAProxy takes for 0, or says badly.
#[test]
fn what_haproxy_takes_silently_is_refused() {
    for (lines, said) in [
        (" retries x", "for 0"),
        (" retries -1", "-1 is out of range"),
        (" server s x:1 maxconn x", "for 0"),
        (" server s x:1 check inter 5x", "`5x` is not a time"),
        (" server s x:1 weight 257", "257 is out of range"),
        (" server s x:1 rise 0", "0 is out of range"),
        (" server s x:1 check inter", "`inter` has no value"),
        (" server s x:1\n server s y:1", "there is a server b/s already"),
        (" server s x:1\n server t x:1", "has x:1 already"),
        (" server s x:1 chek", "did you mean `check`"),
        (" timeout queue 5 s", "write 5s"),
        (" timeout queue 100d", "out of range"),
        (" balance leastcon", "did you mean `leastconn`"),
        (" stats auth admin\n server s x:1", "user:password"),
        (" srvtimeout 5s", "write `timeout server`"),
        (" option tcp-chek", "did you mean `option tcp-check`"),
        ("listen l bind\n", "has one name"),
        ("listen l 10.0.0.1:80\n bind :2\n server s x:1", "bind 10.0.0.1:80"),
        ("listen l\n bind :1\n server s x:1", "is bound already by listener f"),
        (".if defined(X)\n", "not honoured"),
    ] {
        let problems = read(&backend(lines)).unwrap_err().to_string();
        assert!(problems.contains(said), "{lines}:\n{problems}");
    }
}

#[test]
fn each_known_word_has_its_answer() {
    for word in super::keywords::TABLE.iter().filter(|word| word.name != "stats") {
        let text = match word.section {
            "global" => format!("global\n {} 1\n", word.name.replace('*', "x")),
            "bind" => format!("frontend f\n bind :1 {} 1\n", word.name),
            "server" => format!("backend f\n server s x:1 {} 1\n", word.name),
            _ => format!("listen f\n {} 1\n", word.name),
        };
        let report = match read(&text) {
            Ok(parsed) => format!("{:?}", parsed.warnings),
            Err(problems) => problems.to_string(),
        };
        let unknown = format!("unknown keyword `{}", word.name);
        assert!(!report.contains(&unknown), "{}: {report}", word.name);
    }
}

#[test]
fn no_text_makes_it_panic_and_each_mistake_lies_within_the_file() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state >> 33).unwrap()
    };
    let pieces: Vec<&str> = MISTAKES.split_inclusive([' ', '\n']).collect();
    let odd = ["\"", "'", "\\", "\\x4", "$", "${", "é", "\u{0}", "#", ",", ":", "@", "\n", "-"];
    for round in 0..400 {
        let mut text = "defaults\n".to_owned();
        if round % 2 == 0 {
            for _ in 0..next() % 60 {
                text.push_str(pieces[next() % pieces.len()]);
                if next() % 4 == 0 {
                    text.push_str(odd[next() % odd.len()]);
                }
            }
        } else {
            let mut bytes = if round % 4 == 1 { SEED } else { MISTAKES }.as_bytes().to_vec();
            for _ in 0..=next() % 4 {
                let at = next() % bytes.len().max(1);
                match next() % 3 {
                    0 => bytes[at] = b"\"\\'$#:\n ,-{}"[next() % 12],
                    1 => drop(bytes.remove(at)),
                    _ => bytes.truncate(at.max(8)),
                }
            }
            text.push_str(&String::from_utf8_lossy(&bytes));
        }
        let lines: Vec<&str> = text.split('\n').collect();
        let problems = match read(&text) {
            Ok(parsed) => parsed.warnings,
            Err(problems) => problems.0,
        };
        for problem in problems {
            let line = lines[problem.line - 1];
            assert!(problem.column <= line.chars().count() + 1, "{problem}\n{text}");
        }
    }
}
