use std::{collections::BTreeMap, time::Duration};

use crate::{
    Config, Node, NodeName, Severity, Track, Weight,
    import::Surroundings,
    native::{Input, Parsed, Problems, read_all},
};

const SEED: &str = include_str!("../../../tests/golden/keepalived.conf");
const MISTAKES: &str = include_str!("../../../tests/golden/mistakes.keepalived.conf");
const LISTENER: &str = "[[listener]]\nname = 'l'\nmode = 'tcp'\nbind = ':8080'\nbackend = 'b'\n[[backend]]\nname = 'b'\n\
     [[backend.server]]\nname = 's'\naddress = '10.0.0.1:1'\n";

/// Files that may be included, by their patterns.
#[derive(Default)]
struct Files(BTreeMap<&'static str, Vec<(&'static str, &'static str)>>);

impl Surroundings for Files {
    fn include(&self, _from: &str, pattern: &str) -> Result<Vec<(String, String)>, String> {
        let found = self.0.get(pattern).cloned().unwrap_or_default();
        Ok(found.into_iter().map(|(name, text)| (name.to_owned(), text.to_owned())).collect())
    }

    fn variable(&self, _name: &str) -> Option<String> {
        None
    }
}

fn read_as(text: &str, node: &str) -> Result<Parsed, Problems> {
    let input = Input { name: "keepalived.conf", text };
    read_all(&[input], &NodeName::from(node), &Files::default())
}

fn read(text: &str) -> Result<Parsed, Problems> {
    read_as(text, "n")
}

fn own(config: &Config) -> &Node {
    &config.node["n"]
}

/// A whole file around lines of an instance.
fn instance(lines: &str) -> String {
    format!(
        "vrrp_instance V {{\n interface eth0\n virtual_router_id 1\n \
         virtual_ipaddress {{\n 10.0.0.1\n }}\n {lines}\n}}\n"
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
fn the_usual_file_is_read_without_a_warning() {
    let parsed = read(SEED).unwrap();
    assert!(parsed.warnings.iter().all(|it| it.severity == Severity::Note), "{parsed:?}");
    let vip = &own(&parsed.config).vips["VI_1"];
    assert_eq!(vip.router_id, 51);
    assert_eq!(vip.priority, 100);
    assert_eq!(vip.interval, Duration::from_secs(1));
    assert_eq!(vip.password.as_ref().unwrap().expose(), "1111");
    assert_eq!(vip.addresses[0].to_string(), "10.0.0.100/32");
    assert_eq!(vip.track, [Track::Script("haproxy_runs".into(), Weight::Priority(-30))]);
    let script = &own(&parsed.config).scripts["haproxy_runs"];
    assert_eq!(script.command, "/usr/sbin/pidof haproxy");
    assert_eq!(script.interval, Duration::from_secs(2));
}

#[test]
fn every_mistake_is_told_at_its_place() {
    let problems = read(MISTAKES).unwrap_err();
    let report = problems.to_string();
    assert!(!report.contains("hunter2"), "{report}");
    golden("mistakes_keepalived", &report);
}

#[test]
fn no_report_shows_what_is_written_for_an_address_or_a_route_and_is_none() {
    for text in ["mysql://app:hunter@10.0.0.2", "app:hunter 2@10.0.0.2", "10.0.0.2/hunter"] {
        for lines in [
            format!("unicast_src_ip {text}"),
            format!("mcast_src_ip {text}"),
            format!("unicast_peer {{\n {text}\n }}"),
            format!("virtual_ipaddress_excluded {{\n 10.0.0.7\n {text}\n }}"),
            format!("virtual_routes {{\n 10.7.0.0/16 via {text}\n }}"),
            format!("virtual_rules {{\n from {text} table 7 priority 1\n }}"),
        ] {
            let told = read(&instance(&lines)).unwrap_err().to_string();
            assert!(!told.contains("hunter"), "{told}");
        }
        let told = read(&format!("global_defs {{\n vrrp_mcast_group4 {text}\n}}\n")).unwrap_err();
        assert!(!told.to_string().contains("hunter"), "{told}");
    }
}

#[test]
fn a_script_that_asks_for_haproxy_asks_for_this_process_where_it_listens() {
    let inputs =
        [Input { name: "a.toml", text: LISTENER }, Input { name: "keepalived.conf", text: SEED }];
    let parsed = read_all(&inputs, &NodeName::from("n"), &Files::default()).unwrap();
    let own = own(&parsed.config);
    assert_eq!(own.vips["VI_1"].track, [Track::Serving]);
    assert_eq!(own.vips["VI_1"].priority, 100);
    assert!(own.scripts.is_empty());
    let note = parsed.warnings.iter().find(|it| it.what.contains("serving")).unwrap();
    assert_eq!(
        (note.severity, note.file.as_str(), note.line),
        (Severity::Note, "keepalived.conf", 9)
    );
}

#[test]
fn what_a_script_adds_while_all_is_well_is_kept() {
    let file = SEED.replace("weight -30", "weight 2");
    let inputs =
        [Input { name: "keepalived.conf", text: &file }, Input { name: "a.toml", text: LISTENER }];
    let parsed = read_all(&inputs, &NodeName::from("n"), &Files::default()).unwrap();
    let vip = &own(&parsed.config).vips["VI_1"];
    assert_eq!((vip.priority, vip.track.as_slice()), (102, &[Track::Serving][..]));
}

/// Two vips whose group has what is written there, where this process listens.
fn in_a_group(lines: &str) -> Parsed {
    let text = "vrrp_script chk_haproxy {\n script \"pidof haproxy\"\n weight 2\n}\n".to_owned()
        + &instance("")
        + &instance("").replace(" V ", " W ").replace("_id 1", "_id 2").replace("0.0.1", "0.0.2")
        + "vrrp_sync_group G {\n group {\n V\n W\n }\n track_script {\n chk_haproxy\n }\n"
        + lines
        + "\n}\n";
    let inputs =
        [Input { name: "a.toml", text: LISTENER }, Input { name: "keepalived.conf", text: &text }];
    read_all(&inputs, &NodeName::from("n"), &Files::default()).unwrap()
}

#[test]
fn a_group_whose_script_asks_for_haproxy_tracks_serving() {
    for (lines, priority) in [("", 100), ("sync_group_tracking_weight", 102)] {
        let parsed = in_a_group(lines);
        let own = own(&parsed.config);
        assert_eq!(own.vip_groups["G"].track, [Track::Serving]);
        assert!(own.scripts.is_empty());
        for vip in ["V", "W"] {
            assert_eq!(own.vips[vip].priority, priority, "{vip} {lines}");
        }
    }
}

#[test]
fn conditions_follow_the_name_of_the_node() {
    let text = instance("@one priority 100\n @two priority 80\n @^one nopreempt");
    let vip = |node: &str| read_as(&text, node).unwrap().config.node[node].vips["V"].clone();
    assert_eq!((vip("one").priority, vip("one").preempt), (100, true));
    assert_eq!((vip("two").priority, vip("two").preempt), (80, false));
    let parsed = read_as(&text, "main").unwrap();
    assert!(parsed.warnings[0].hint.as_ref().unwrap().contains("`one`, `two`"));
}

#[test]
fn definitions_are_put_in_also_over_several_lines() {
    let head = "$N=7\n$IP=10.0.0.${N}/24\n$TRACK=track_interface { \\\n eth5 \\\n}\n";
    let text = head.to_owned()
        + &instance("priority ${N}${N}\n virtual_ipaddress_excluded {\n $IP\n }\n $TRACK");
    let parsed = read(&text).unwrap();
    let vip = &own(&parsed.config).vips["V"];
    assert_eq!(vip.priority, 77);
    assert_eq!(vip.excluded_addresses[0].to_string(), "10.0.0.7/24");
    assert_eq!(vip.track, [Track::Interface("eth5".to_owned(), Weight::Fault)]);
    let endless = "$A=$B\n$B=$A$A\n".to_owned() + &instance("priority $A");
    assert!(read(&endless).unwrap_err().to_string().contains("without end"));
}

#[test]
fn included_files_are_blamed_by_their_own_names() {
    let bad = "\nvrrp_instance W {\n priorty 5\n}\n";
    let files = Files([("conf.d/*.conf", vec![("conf.d/w.conf", bad)])].into());
    let text = instance("") + "include conf.d/*.conf\n";
    let input = Input { name: "keepalived.conf", text: &text };
    let problems = read_all(&[input], &NodeName::from("n"), &files).unwrap_err();
    assert!(problems.0.iter().all(|it| it.file == "conf.d/w.conf"), "{problems}");
    let at_word = problems.0.iter().find(|it| it.what.contains("priorty")).unwrap();
    assert_eq!(at_word.line, 3);
    let missing = instance("") + "include other.conf\n";
    let problems = read(&missing).unwrap_err();
    assert!(problems.to_string().contains("no file is there for `other.conf`"), "{problems}");
    let endless = Files([("a", vec![("a", "include a\n")])].into());
    let input = Input { name: "a", text: "global_defs {\n}\ninclude a\n" };
    let problems = read_all(&[input], &NodeName::from("n"), &endless).unwrap_err();
    assert!(problems.to_string().contains("too deeply"), "{problems}");
}

#[test]
fn ipv6_is_version_three_whatever_the_default() {
    let text = "global_defs { vrrp_version 2 }\n".to_owned()
        + &instance("advert_int 0.5").replace("10.0.0.1", "2001:db8::1/64");
    let parsed = read(&text).unwrap();
    let vip = &own(&parsed.config).vips["V"];
    assert_eq!((vip.version, vip.interval), (3, Duration::from_millis(500)));
}

#[test]
fn defaults_of_all_vips_yield_to_their_own() {
    let text = "global_defs {\n vrrp_garp_master_repeat 2\n vrrp_garp_master_delay 7\n \
                script_user nobody\n default_interface eth7\n}\n"
        .to_owned()
        + &instance("garp_master_delay 1\n notify /bin/true").replace(" interface eth0\n", "");
    let parsed = read(&text).unwrap();
    let vip = &own(&parsed.config).vips["V"];
    assert_eq!((vip.announce_count, vip.announce_delay), (2, Duration::from_secs(1)));
    assert_eq!(vip.interface, "eth7");
    assert_eq!(vip.notify.user.as_deref(), Some("nobody"));
}

#[test]
fn braces_may_stand_anywhere() {
    let text = "vrrp_instance V\n{\ninterface eth0 # x\nvirtual_router_id 1\nvirtual_ipaddress { 10.0.0.1 }\nauthentication{\nauth_type PASS\nauth_pass \"a#b!\" }}\n";
    let parsed = read(text).unwrap();
    let vip = &own(&parsed.config).vips["V"];
    assert_eq!(vip.password.as_ref().unwrap().expose(), "a#b!");
}

#[test]
fn what_is_cut_off_a_password_is_not_shown() {
    let text = instance("authentication {\n auth_type PASS\n auth_pass hun!ter2\n }");
    let told = read(&text).unwrap().warnings;
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].what.contains("begins a comment") && !told[0].source.contains("ter2"));
    assert!(!told[0].source.contains("hun"), "{}", told[0]);
}

#[test]
fn weights_of_blocks_yield_to_those_where_they_are_tracked() {
    let text =
        "vrrp_script s {\n script /bin/true\n weight 5\n}\nvrrp_track_file f {\n file /run/f\n}\n\
                vrrp_track_process p {\n process nginx -g x\n}\n"
            .to_owned()
            + &instance(
                "track_script {\n s weight 7 reverse\n }\n track_file {\n f\n }\n track_process {\n p weight 0\n }",
            );
    let parsed = read(&text).unwrap();
    let node = own(&parsed.config);
    assert_eq!(
        node.vips["V"].track,
        [
            Track::Script("s".into(), Weight::Reverse(7)),
            Track::File("/run/f".to_owned(), Weight::Priority(1)),
            Track::Process("p".into(), Weight::Fault),
        ]
    );
    assert!(node.processes["p"].whole_command);
}

/// Where Keepalived goes on with another meaning, and what we say.
#[test]
fn what_keepalived_takes_silently_is_refused() {
    for (lines, said) in [
        ("priority 0", "0 is out of range"),
        ("priority abc", "is not a whole number"),
        ("advert_int 0.5", "whole seconds"),
        ("advert_int 1s", "without a unit"),
        ("version 3\n advert_int 41", "at most 40950ms"),
        ("state master", "is no state"),
        ("unicast_src_ip 10.0.0.x", "is not an IP address"),
        ("unicast_peer {\n }", "names no peer"),
        ("unicast_peer {\n 10.0.0.2 min_tll 5\n }", "did you mean `min_ttl`"),
        ("authentication {\n auth_type PASS\n }", "has no `auth_pass`"),
        ("authentication {\n auth_pass x\n }", "has no `auth_type`"),
        ("version 3\n authentication {\n auth_type PASS\n auth_pass x\n }", "no password"),
        ("track_script chk", "is a block"),
        ("track_interface {\n eth0123456789abcdef\n }", "can't be the name"),
        ("virtual_ipaddress_excluded {\n 10.0.0.1\n }", "listed twice"),
        ("garp_master_delay", "has no value"),
        ("accept\n no_accept", "written twice"),
        ("interface lo", "written twice"),
        ("use_vmac vrrp.1 01:00:5e:00:01:02", "is not the MAC address of one host"),
        ("use_vmac vrrp.1 02:00:00:00:00:01 x", "one word too many"),
        ("use_ipvlan", "not honoured"),
        ("auth_pass x", "it belongs in `authentication`"),
        ("notify bin/x", "relative path"),
        ("auth_passs x", "did you mean `auth_pass`, which belongs in `authentication`"),
    ] {
        let problems = read(&instance(lines)).unwrap_err().to_string();
        assert!(problems.contains(said), "{lines}:\n{problems}");
    }
}

#[test]
fn what_is_honoured_is_read_and_what_is_not_has_its_answer() {
    for word in super::keywords::TABLE {
        let (open, close) = match word.section {
            "" | "virtual_ipaddress" | "virtual_routes" | "virtual_rules" => continue,
            "authentication" => ("vrrp_instance V {\nauthentication {\n", "}}"),
            "global_defs" => ("global_defs {\n", "}"),
            "vrrp_script" => ("vrrp_script s {\n", "}"),
            "vrrp_instance" => ("vrrp_instance V {\n", "}"),
            "vrrp_sync_group" => ("vrrp_sync_group V {\n", "}"),
            "vrrp_track_file" => ("vrrp_track_file V {\n", "}"),
            _ => ("vrrp_track_process V {\n", "}"),
        };
        let text = format!("{open}{} x {{\n}}\n{close}", word.name);
        let report = match read(&text) {
            Ok(parsed) => format!("{:?}", parsed.warnings),
            Err(problems) => problems.to_string(),
        };
        assert!(!report.contains("is not read"), "{}: {report}", word.name);
        assert!(!report.contains("unknown keyword"), "{}: {report}", word.name);
    }
}

#[test]
fn a_block_that_does_not_end_is_named_by_its_own_line() {
    let text = "vrrp_instance A {\n interface eth0\n\nvrrp_instance B {\n}\n";
    let problems = read(text).unwrap_err();
    let open = problems.0.iter().find(|it| it.what.contains("does not end")).unwrap();
    assert_eq!((open.line, open.other_line), (1, Some(4)), "{problems}");
    let stray = "global_defs {\n}\n}\nvrrp_script x {\n script /bin/true\n}\n";
    let problems = read(stray).unwrap_err();
    assert_eq!((problems.0[0].line, problems.errors()), (3, 1), "{problems}");
}

/// Pieces of files that are put together at random: nearly right is what finds mistakes.
const PIECES: &[&str] = &[
    "vrrp_instance",
    " V ",
    "{",
    "}",
    "\n",
    "\n",
    "\n",
    "vrrp_script",
    "global_defs",
    "virtual_ipaddress",
    "10.0.0.1",
    "/24",
    "dev",
    "track_script",
    "weight",
    "-5",
    "reverse",
    "authentication",
    "auth_pass",
    "auth_type",
    "PASS",
    "\"",
    "'",
    "#",
    "!",
    "\\",
    "$A=",
    "${A}",
    "$",
    "@n ",
    "@^",
    "include x",
    "~SEQ(",
    "priority",
    "256",
    "é",
    "\u{0}",
    "unicast_peer",
    "notify",
    "state",
    "vrrp_sync_group",
    "group",
    " ",
];

#[test]
fn no_text_makes_it_panic_and_each_mistake_lies_within_the_file() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state >> 33).unwrap()
    };
    for round in 0..400 {
        let mut text = "global_defs {\n}\n".to_owned();
        if round % 2 == 0 {
            for _ in 0..next() % 60 {
                text.push_str(PIECES[next() % PIECES.len()]);
            }
        } else {
            let mut bytes = if round % 4 == 1 { SEED } else { MISTAKES }.as_bytes().to_vec();
            for _ in 0..=next() % 4 {
                let at = next() % bytes.len().max(1);
                match next() % 3 {
                    0 => bytes[at] = b"\"{}$@#!\n .'\\5"[next() % 13],
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
