use super::*;

fn read(text: &str) -> Result<Parsed, Problems> {
    parse("test.toml", text, &NodeName::from("here"))
}

const DESIGN: &str = r#"
workers = 0                      # data workers; 0 = one per core

[[listener]]
name = "shop"
bind = "127.0.0.1:6033"          # or a list
mode = "mysql"                   # mysql | tcp | http
backend = "shop"

[[backend]]
name = "shop"
topology = "mariadb-replication" # static when left out
monitor = { user = "monitor", password = "secret", interval = "500ms" }

[[backend.server]]
name = "db1"
address = "10.0.0.11:3306"

[[user]]
name = "app"
password = "secret"              # clear, or *hex, or a caching_sha2 form

[admin]
sql = "127.0.0.1:6032"           # users in [[admin.user]]; without one, a password is made, shown once and stored
web = "127.0.0.1:6080"
"#;

#[test]
fn the_form_of_the_design_is_read() {
    let parsed = read(DESIGN).unwrap();
    assert_eq!(parsed.warnings, []);
    let backend = &parsed.config.shared.backends["shop"];
    assert_eq!(backend.servers["db1"].max_connections, 200);
    assert_eq!(backend.monitor.password.expose(), "secret");
    assert_eq!(parsed.config.node["here"].binds["shop"].len(), 1);
}

#[test]
fn every_mistake_of_a_file_is_told_at_once() {
    let text = include_str!("../../tests/golden/mistakes.toml");
    let problems = parse("mistakes.toml", text, &NodeName::from("here")).unwrap_err();
    golden("mistakes", &problems.to_string());
}

#[test]
fn no_report_shows_a_secret() {
    let text = include_str!("../../tests/golden/mistakes.toml");
    let problems = parse("mistakes.toml", text, &NodeName::from("here")).unwrap_err();
    assert!(!problems.to_string().contains("hunter2"));
    for text in [
        "[[user]]\nname = 'a'\npassword = \"hunter2\n",
        "[[user]]\npassword = [\n  'hunter2'\n  'hunter2',\n]",
        "[[user]]\nname = 'a' password = 'hunter2'\n",
        "monitor = { password = 'hunter2', }}",
        "[[user]]\nname='a'\npassword = 'hunter2'\npassword = 'hunter2'\n",
        "[[backend]]\nname = 'b'\nmonitor = { passwort = 'hunter2' }",
        "[[backend]]\nname = 'b'\nmonitor = { password = 'hunter2', x = 1 }",
        "[[users]]\npassword = 'hunter2'",
        "password = ['hunter2']",
        "[[user]]\nname = 'a'\npassword.x = 'hunter2'",
        "[[user]]\nname = 'a'\npasword.x = 'hunter2'",
        "[[user]]\nname = 'a'\npassword = { x = 'hunter2' }",
        "user = { name = 'a', password = 'hunter2' }",
        "user = [{ name = 'a', password = 'hunter2' }, 'hunter2']",
        "user.password = 'hunter2'",
        "[[backend]]\nname = 'b'\nmonitor = ['hunter2']",
        "[[backend]]\nname = { password = 'hunter2' }",
        "workers = { password = 'hunter2' }",
    ] {
        let report = read(text).unwrap_err().to_string();
        assert!(!report.contains("hunter2"), "{report}");
    }
}

/// Of what was no address, the excerpt showed all but what stood in a few known forms.
#[test]
fn no_report_shows_what_is_written_for_an_address_and_is_none() {
    for text in [
        "mysql://app:hunter 2@127.0.0.1:21003",
        "127.0.0.1:3306 password=hunter",
        "host=127.0.0.1 port=3306 password=hunter",
        "127.0.0.1:3306?PASSWORD=hunter",
        "127.0.0.1:3306?pwd=hunter&x",
        "Server=127.0.0.1;Passwd=hunter",
        "Pwd=hunter;Server=127.0.0.1",
        "hunter 127.0.0.1:3306",
        "app/hunter@h:3306",
        "app/hunter:3306",
        "unix:/tmp/x.sock?password=hunter",
    ] {
        let server = format!("[[backend.server]]\nname = 'a'\naddress = '{text}' # hidden\n");
        let listener =
            format!("[[listener]]\nname = 'a'\nbackend = 'b'\nbind = ['*:1', '{text}']\n");
        let admin = format!("[[backend]]\nname = 'b'\n[admin]\nsql = '{text}'\n");
        let haproxy = |line: &str| format!("listen b\n  mode tcp\n  {line} {text} check\n");
        for file in [
            format!("[[backend]]\nname = 'b'\n{server}"),
            format!("[[backend]]\nname = 'b'\n{listener}"),
            admin,
            haproxy("bind :1\n  server a"),
            haproxy("bind"),
        ] {
            // There words are not one value.
            if file.starts_with("listen") && text.starts_with("hunter ") {
                continue;
            }
            let told = read(&file).unwrap_err().to_string();
            assert!(!told.contains("hunter"), "{told}");
            let is_server = file.starts_with("[[backend]]") && file.contains("address");
            assert!(!is_server || told.contains(":5:11: error: "), "{told}");
        }
    }
    let mistyped = DESIGN.replace("10.0.0.11:3306", "10.0.0.11:33O6");
    assert!(read(&mistyped).unwrap_err().to_string().contains("\"10.0.0.11:33O6\""));
}

/// The message quoted what its excerpt hid.
#[test]
fn no_report_shows_what_is_written_for_a_network_or_a_vip_and_is_none() {
    for text in [
        "mysql://app:hunter@127.0.0.1:21003",
        "mysql://app:hunter 2@127.0.0.1:21003",
        "app:hunter@10.0.0.1",
        "app/hunter@10.0.0.1",
        "10.0.0.1/hunter",
        "10.0.0.1:hunter",
        "10.0.0.1?password=hunter",
        "host=10.0.0.1 password=hunter",
        "hunter 2@10.0.0.1",
        "-phunter",
        "${hunter}",
    ] {
        let backend = "[[backend]]\nname = 'b'\n";
        let listener = format!("{backend}[[listener]]\nname = 'a'\nbackend = 'b'\nbind = '*:1'\n");
        let user = format!("{backend}[[user]]\nname = 'a'\npassword = 'b'\n");
        let rule = format!("{backend}[[rule]]\nrule_id = 1\nbackend = 'b'\n");
        let vip = "[[vip]]\nname = 'v'\ninterface = 'lo'\nrouter_id = 51\n";
        let whole = format!("{vip}addresses = '10.0.0.9'\n");
        for (file, setting) in [
            (&listener, "allow"),
            (&listener, "proxy_protocol_from"),
            (&user, "allow"),
            (&rule, "client_addr"),
            (&vip.to_owned(), "addresses"),
            (&whole, "excluded_addresses"),
            (&whole, "multicast_group"),
            (&whole, "peers"),
            (&whole, "routes"),
            (&whole, "rules"),
            (&whole, "source"),
        ] {
            let line = file.lines().count() + 1;
            let told = read(&format!("{file}{setting} = '{text}' # there\n")).unwrap_err();
            let told = told.to_string();
            assert!(!told.contains("hunter") && told.contains("error: this is not "), "{told}");
            let at = format!("test.toml:{line}:{}: ", setting.len() + 4);
            assert!(told.contains(&at) && told.contains(" # there"), "{told}");
        }
    }
    for (text, what) in [
        ("10.0.0.O/8", "`10.0.0.O/8` is not a network"),
        ("10.0.0.0/8, 10.1.0.0/16", "`10.0.0.0/8, 10.1.0.0/16` is not a network"),
        ("db1:3306", "`db1:3306` is not a network"),
        ("db1.example", "`db1.example` is not a network"),
    ] {
        let user = format!("[[user]]\nname = 'a'\npassword = 'b'\nallow = '{text}'\n");
        let told = read(&user).unwrap_err().to_string();
        assert!(told.contains(what) && told.contains(&format!("allow = '{text}'")), "{told}");
    }
}

#[test]
fn no_message_quotes_a_password_that_stands_before_a_host() {
    let url = "mysql://app:hunter@127.0.0.1:21003";
    for line in ["mode", "max_connections", "client_timeout", "backend = 'b'\nlog_queries"] {
        let text = format!("[[listener]]\nname = 'a'\nbind = '*:1'\n{line} = '{url}'\n");
        let told = read(&text).unwrap_err().to_string();
        assert!(!told.contains("hunter"), "{told}");
    }
    let told = read(&DESIGN.replace("\"mysql\"", &format!("\"{url}\""))).unwrap_err().to_string();
    assert!(told.contains("`mysql://app:······@127.0.0.1:21003` is not known here"), "{told}");
}

#[test]
fn what_is_not_toml_is_told_in_the_same_shape() {
    let report = read("workers = 1\n[[listener]\nname = 'x'\n").unwrap_err();
    assert_eq!((report.0[0].line, report.errors()), (2, 1), "{report}");
    golden("not_toml", &report.to_string());
}

#[test]
fn an_empty_file_asks_for_nothing() {
    let parsed = read("").unwrap();
    assert_eq!(parsed.config.shared, crate::Shared::default());
    assert_eq!(parsed.warnings, []);
}

#[test]
fn a_dangling_backend_and_an_empty_one_are_warnings() {
    let parsed = read(
        "[[backend]]\nname = 'shop'\n[[listener]]\nname = 'l'\nbind = ':1'\nbackend = 'shp'\nmode = 'tcp'\n",
    )
    .unwrap();
    let whats: Vec<&str> = parsed.warnings.iter().map(|it| it.what.as_str()).collect();
    assert_eq!(whats.len(), 2, "{whats:?}");
    assert!(whats[1].contains("no backend `shp`") && parsed.warnings[1].hint.is_some());
}

#[test]
fn tls_and_auth_are_refused_where_bytes_are_passed_on_as_they_are() {
    let refused = |listener: &str, backend: &str| {
        let text = format!(
            "[[listener]]\nname = 'l'\nbind = ':1'\nbackend = 'b'\nmode = 'tcp'\n{listener}\n\
             [[backend]]\nname = 'b'\n{backend}\n[[backend.server]]\nname = 's'\naddress = 's:1'\n"
        );
        let problems = read(&text).map_or_else(|refused| refused.0, |parsed| parsed.warnings);
        let told = |it: &Problem| (it.severity, it.line, it.column, it.what.clone());
        problems.iter().map(told).collect::<Vec<_>>()
    };
    let is =
        |told: &[(crate::Severity, usize, usize, String)], severity, line, column, what: &str| {
            assert_eq!(told.len(), 1, "{told:?}");
            assert_eq!((told[0].0, told[0].1, told[0].2), (severity, line, column), "{told:?}");
            assert!(told[0].3.contains(what), "{told:?}");
        };
    use crate::Severity::{Error, Warning};
    assert_eq!(refused("", ""), []);
    assert_eq!(refused("tls = { mode = 'disabled' }", ""), [], "that is how it is");
    let no_tls = "TLS is not available in tcp mode yet";
    let required = "tls = { mode = 'required', cert = '/c', key = '/k' }";
    is(&refused(required, ""), Error, 6, 16, no_tls);
    is(&refused("tls = { cert = '/c', key = '/k' }", ""), Error, 6, 16, no_tls);
    for auth in ["cluster", "local", "passthrough"] {
        is(&refused(&format!("auth = '{auth}'"), ""), Error, 6, 8, "nobody is logged in");
    }
    let tls = "tls = { mode = 'required' }";
    is(&refused("", tls), Error, 9, 16, no_tls);
    let with_checks = format!("{tls}\nmonitor = {{ user = 'm', check = 'ping' }}");
    is(&refused("", &with_checks), Warning, 9, 16, "only checks use this");
    let other = "[[listener]]\nname = 'm'\nbind = ':2'\nbackend = 'b'\nauth = 'passthrough'";
    assert_eq!(refused(other, tls), [], "clients in mysql mode use it");
}

#[test]
fn dotted_keys_inline_tables_and_tables_are_the_same() {
    let head = "[[backend]]\nname = 'b'\n";
    let inline = read(&format!("{head}monitor = {{ user = 'm', fall = 5 }}")).unwrap();
    let dotted = read(&format!("{head}monitor.user = 'm'\nmonitor.fall = 5")).unwrap();
    let table = read(&format!("{head}[backend.monitor]\nuser = 'm'\nfall = 5")).unwrap();
    assert_eq!(inline.config, dotted.config);
    assert_eq!(inline.config, table.config);
    assert_eq!(inline.config.shared.backends["b"].monitor.fall, 5);
}

#[test]
fn a_certificate_without_a_mode_lets_clients_choose() {
    let file = "[[listener]]\nname='l'\nbind=':1'\nbackend='b'\ntls = { cert = '/c', key = '/k' }";
    let listener = &read(file).unwrap().config.shared.listeners["l"];
    assert_eq!(listener.tls.mode, crate::TlsMode::Preferred);
}

#[test]
fn an_operator_with_an_empty_password_is_warned_of_as_a_user_is() {
    let file = "[[admin.user]]\nname = 'op'\npassword = ''\n";
    let warnings = parse("f", file, &NodeName::from("n")).unwrap().warnings;
    let warned: Vec<String> = warnings.iter().map(ToString::to_string).collect();
    let expected = "f:3:12: warning: operator `op` can log in with an empty password";
    assert!(warned.iter().any(|it| it.starts_with(expected)), "{warned:?}");
}

#[test]
fn a_certificate_for_operators_alone_means_that_they_choose() {
    let file = "[admin]\nweb = '0.0.0.0:6080'\n";
    let node = NodeName::from("n");
    let plain = parse("f", file, &node).unwrap();
    let warned: Vec<String> = plain.warnings.iter().map(ToString::to_string).collect();
    assert!(warned.iter().any(|it| it.contains("unencrypted")), "{warned:?}");
    let with = parse("f", &format!("{file}[admin.tls]\ncert = '/c'\nkey = '/k'\n"), &node).unwrap();
    assert_eq!(with.config.node["n"].admin.tls.mode, crate::TlsMode::Preferred);
    let rest: Vec<String> = with.warnings.iter().map(ToString::to_string).collect();
    assert!(!rest.iter().any(|it| it.contains("unencrypted")), "{rest:?}");
    let half = parse("f", "admin.tls = { cert = '/c' }\n", &node).unwrap_err();
    assert!(half.to_string().contains("need each other"), "{half}");
}

#[test]
fn a_hidden_secret_is_never_applied() {
    let config = read(DESIGN).unwrap().config;
    let hidden = crate::render(&config, &NodeName::from("here"), crate::Secrets::Hide);
    assert!(!hidden.contains("\"secret\""), "{hidden}");
    let problems = read(&hidden).unwrap_err();
    assert_eq!(problems.errors(), 2, "{problems}");
}

/// Pieces of files that are put together at random: nearly right is what finds mistakes.
const PIECES: [&str; 40] = [
    "[[listener]]",
    "[[backend]]",
    "[[backend.server]]",
    "[[user]]",
    "[[rule]]",
    "[admin]",
    "[[admin.user]]",
    "name",
    "bind",
    "mode",
    "backend",
    "tls",
    "monitor",
    "address",
    "weight",
    "password",
    "rule_id",
    "match_digest",
    " = ",
    " = ",
    " = ",
    "\n",
    "\n",
    "\n",
    "\"x\"",
    "'é'",
    "5",
    "-1",
    "99999999999999999999",
    "\"5s\"",
    "\"127.0.0.1:1\"",
    "[",
    "]",
    "{",
    "}",
    ",",
    ".",
    "\"(hidden)\"",
    "true",
    "\u{0}",
];

#[test]
fn no_text_makes_the_parser_panic() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state >> 33).unwrap()
    };
    let good = include_str!("../../tests/golden/mistakes.toml");
    for round in 0..600 {
        let mut text = String::new();
        if round % 2 == 0 {
            for _ in 0..next() % 30 {
                text.push_str(PIECES[next() % PIECES.len()]);
            }
        } else {
            let mut bytes = good.as_bytes().to_vec();
            for _ in 0..=next() % 4 {
                let at = next() % bytes.len().max(1);
                match next() % 3 {
                    0 => bytes[at] = b"\"[]{}=\n.,'5"[next() % 11],
                    1 => drop(bytes.remove(at)),
                    _ => bytes.truncate(at.max(8)),
                }
            }
            text = String::from_utf8_lossy(&bytes).into_owned();
        }
        if let Err(problems) = read(&text) {
            assert!(problems.errors() > 0);
            assert!(!problems.to_string().is_empty());
        }
    }
}

fn golden(name: &str, text: &str) {
    let mut settings = insta::Settings::new();
    settings.set_snapshot_path("../../tests/golden");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, text));
}

#[test]
fn the_manual_of_settings_is_as_it_was() {
    golden("manual", &crate::manual::settings());
}

#[test]
fn the_manual_of_other_programs_files_is_as_it_was() {
    golden("manual_imports", &crate::import::manual());
}

#[test]
fn changes_are_told_in_one_line_without_secrets() {
    let old = read(DESIGN).unwrap().config;
    let new = DESIGN
        .replace("\"db1\"\n", "\"db1\"\nweight = 5\nmax_lag = \"5s\"\n")
        .replace("password = \"secret\" ", "password = \"other\" ")
        .replace("127.0.0.1:6033", "127.0.0.1:6034")
        + "[[rule]]\nrule_id = 1\nmatch_digest = '^SELECT'\nbackend = 'shop'\n";
    let new = read(&new).unwrap().config;
    let mut told: Vec<String> =
        crate::diff(&old, &new).iter().map(|it| crate::describe(it, &old)).collect();
    told.extend(crate::diff(&new, &Config::default()).iter().map(|it| crate::describe(it, &new)));
    golden("changes", &told.join("\n"));
}

#[test]
fn several_files_are_read_as_one() {
    let (head, tail) = DESIGN.split_at(DESIGN.find("[[backend]]").unwrap());
    let inputs = [Input { name: "a.toml", text: head }, Input { name: "b.toml", text: tail }];
    let parsed = parse_all(&inputs, &NodeName::from("here")).unwrap();
    assert_eq!(parsed.warnings, []);
    assert_eq!(parsed.config, read(DESIGN).unwrap().config);
}

#[test]
fn which_of_several_files_say_nothing_is_known() {
    let inputs = [
        Input { name: "full", text: DESIGN },
        Input { name: "blank", text: "\u{feff}\n \t\r\n" },
        Input { name: "remarks", text: "# nothing\n  # [[user]]\n" },
        Input { name: "setting", text: "drain_timeout = '3s'" },
        Input { name: "foreign", text: "! Configuration File for keepalived\n" },
    ];
    let parsed = parse_all(&inputs, &NodeName::from("here")).unwrap();
    assert_eq!(parsed.empty, ["blank", "foreign", "remarks"].map(str::to_owned).into());
}

#[test]
fn what_two_files_say_both_names_both_places() {
    let first = format!("{DESIGN}\n[[rule]]\nrule_id = 1\nbackend = 'shop'\n");
    let second = "\nworkers = 2\n[[user]]\nname = 'app'\npassword = 'x'\n\
                  [[listener]]\nname = 'z'\nbackend = 'shop'\nbind = '127.0.0.1:6033'\n";
    let inputs = [Input { name: "a.toml", text: &first }, Input { name: "b.toml", text: second }];
    let problems = parse_all(&inputs, &NodeName::from("here")).unwrap_err();
    let told: Vec<_> = (problems.0.iter())
        .map(|it| (it.line, it.what.as_str(), it.other_file.as_deref(), it.other_line))
        .collect();
    assert!(problems.0.iter().all(|problem| problem.file == "b.toml"), "{problems}");
    assert_eq!(
        told,
        [
            (2, "`workers` is set already", Some("a.toml"), Some(2)),
            (4, "there is a user app already", Some("a.toml"), Some(20)),
            (9, "127.0.0.1:6033 is bound already by listener shop", Some("a.toml"), Some(6)),
        ],
        "{problems}"
    );
}

#[test]
fn a_file_of_another_program_is_told_by_its_name() {
    let text =
        "# of old\nmysql_users:\n(\n {\n  username = \"x\"\n  password = \"hunter2\"\n }\n)\n";
    let report = read(text).unwrap_err().to_string();
    assert!(report.starts_with("test.toml:2:1: error: this is a configuration of ProxySQL, which"));
    assert!(!report.contains("not TOML") && !report.contains("hunter2"), "{report}");
}

#[test]
fn where_an_address_or_a_certificate_is_written_is_known_after_reading() {
    let text = "[admin]\ntls = { cert = \"a\", key = \"b\" }\n[[listener]]\nname = \"shop\"\n\
                bind = \"127.0.0.1:1\"\nbackend = \"shop\"\n[[backend]]\nname = \"shop\"\n\
                tls.mode = \"verify-ca\"\ntls.ca = \"c\"\n";
    let node = NodeName::from("n");
    let written = parse("shop.toml", text, &node).unwrap().written;
    let listener = Place::Listener("shop".into());
    assert_eq!(written.at(&listener, "bind").unwrap(), "shop.toml:5:8");
    assert_eq!(written.at(&listener, "tls.cert").unwrap(), "shop.toml:4:8", "the thing itself");
    let backend = Place::Backend("shop".into());
    assert_eq!(written.at(&backend, "tls.ca").unwrap(), "shop.toml:10:10");
    assert_eq!(written.at(&Place::Node(node), "admin.tls.cert").unwrap(), "shop.toml:2:16");
    assert_eq!(written.at(&Place::Listener("other".into()), "bind"), None);
    let user = "[[user]]\nname = \"app\"\npassword = \"x\"\n";
    let written = parse("shop.toml", user, &NodeName::from("n")).unwrap().written;
    assert_eq!(written.at(&Place::User("app".into()), "password").unwrap(), "shop.toml:3:12");
}

/// Of two limits the check had the larger one: what was between them was accepted, and left out afterwards.
#[test]
fn a_pattern_is_accepted_exactly_where_the_rule_that_has_it_compiles() {
    let accepted = |length: usize, modifiers: &str| {
        let names: Vec<String> = (0..length).map(|it| format!("{it}aksk{it}")).collect();
        let pattern = names.join("|");
        let text = format!(
            "[[rule]]\nrule_id = 7\nre_modifiers = \"{modifiers}\"\nmatch_digest = \"{pattern}\"\n"
        );
        let compiles = crate::compile_pattern(&pattern, modifiers.is_empty()).is_ok();
        let read = read(&text).map_err(|problems| problems.to_string());
        if let Err(told) = &read {
            assert!(
                told.contains("test.toml:4:16: error") && told.contains("size limit"),
                "{told}"
            );
        }
        assert_eq!(read.is_ok(), compiles, "{length} {modifiers}");
        compiles
    };
    // Of these, one that is between what both limits were.
    for length in [500, 6_000] {
        assert!(accepted(length, "CASELESS") && accepted(length, ""));
    }
    assert!(!accepted(12_000, "CASELESS") && accepted(12_000, ""), "it takes more without case");
}
