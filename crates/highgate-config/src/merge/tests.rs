use super::*;
use crate::{NodeName, apply_all, native};

/// Two backends' worth of things, with `edit` made to the text.
fn config(edits: &[(&str, &str)]) -> Config {
    let mut text = String::from(
        "[admin]\nsql = 'off'\n[[admin.user]]\nname = 'root'\npassword = 'r'\n\
         [[listener]]\nname = 'l'\nbind = '127.0.0.1:1'\nbackend = 'shop'\nmode = 'tcp'\n\
         [[backend]]\nname = 'shop'\nmax_queue = 10\nmax_idle = 10\n\
         [[backend.server]]\nname = 'db1'\naddress = 'db1:1'\nweight = 1\nmax_connections = 10\n\
         [[backend.server]]\nname = 'db2'\naddress = 'db2:1'\n# end of shop\n\
         [[user]]\nname = 'app'\npassword = 'a'\n# end of user\n",
    );
    for (from, to) in edits {
        assert!(text.contains(from), "{from}");
        text = text.replace(from, to);
    }
    native::parse("t", &text, &NodeName::from("n")).unwrap_or_else(|p| panic!("{p}")).config
}

/// What is in force after the merge, and the conflicts as they are told.
fn merged(base: &Config, file: &Config, current: &Config) -> (Config, Vec<String>) {
    let merged = three_way(base, file, current);
    let config = apply_all(current, &merged.changes).unwrap();
    (config, merged.conflicts.iter().map(ToString::to_string).collect())
}

const DB2: (&str, &str) = ("[[backend.server]]\nname = 'db2'\naddress = 'db2:1'\n", "");

#[test]
fn an_unchanged_file_changes_nothing() {
    let base = config(&[]);
    let current = config(&[("weight = 1", "weight = 7"), DB2]);
    let merged = three_way(&base, &base, &current);
    assert_eq!(merged, Merged { changes: vec![], conflicts: vec![] });
}

#[test]
fn a_field_changed_in_the_file_leaves_another_changed_elsewhere() {
    let file = config(&[("weight = 1", "weight = 5")]);
    let current = config(&[("max_connections = 10", "max_connections = 99")]);
    let both =
        config(&[("weight = 1", "weight = 5"), ("max_connections = 10", "max_connections = 99")]);
    assert_eq!(merged(&config(&[]), &file, &current), (both, vec![]));
}

#[test]
fn a_field_changed_by_both_is_the_files_and_is_told() {
    let file = config(&[("weight = 1", "weight = 5")]);
    let current = config(&[("weight = 1", "weight = 7")]);
    let (config, told) = merged(&config(&[]), &file, &current);
    assert_eq!(config, file);
    assert_eq!(
        told,
        ["server shop/db1, `weight`: changed elsewhere and in the file; the file's value holds"]
    );
}

#[test]
fn the_same_change_on_both_sides_is_no_conflict() {
    let file = config(&[("weight = 1", "weight = 5")]);
    assert_eq!(merged(&config(&[]), &file, &file), (file.clone(), vec![]));
}

#[test]
fn what_the_file_no_longer_has_is_deleted() {
    let file = config(&[DB2]);
    let current = config(&[("weight = 1", "weight = 7")]);
    let (config, told) = merged(&config(&[]), &file, &current);
    assert!(!config.shared.backends["shop"].servers.contains_key("db2"));
    assert_eq!(config.shared.backends["shop"].servers["db1"].weight, 7);
    assert_eq!(told, [""; 0]);
}

#[test]
fn what_was_deleted_elsewhere_stays_deleted() {
    let base = config(&[]);
    let current = config(&[DB2]);
    assert_eq!(merged(&base, &base, &current), (current.clone(), vec![]));
}

#[test]
fn deleted_in_the_file_but_edited_elsewhere_stays() {
    let file = config(&[DB2]);
    let current = config(&[("'db2:1'", "'db2:9'")]);
    let (config, told) = merged(&config(&[]), &file, &current);
    assert_eq!(config, current);
    assert_eq!(told, ["server shop/db2: deleted in the file but edited elsewhere; it stays"]);
}

#[test]
fn deleted_elsewhere_but_edited_in_the_file_is_back() {
    let file = config(&[("'db2:1'", "'db2:9'")]);
    let current = config(&[DB2]);
    let (config, told) = merged(&config(&[]), &file, &current);
    assert_eq!(config, file);
    assert_eq!(told, ["server shop/db2: deleted elsewhere but edited in the file; it is back"]);
}

#[test]
fn a_backend_deleted_in_the_file_stays_whole_when_one_server_was_edited() {
    let mut file = config(&[]);
    file.shared.backends.clear();
    let current = config(&[("weight = 1", "weight = 7")]);
    let (config, told) = merged(&config(&[]), &file, &current);
    assert_eq!(config, current);
    assert_eq!(told, ["backend shop: deleted in the file but edited elsewhere; it stays"]);
}

#[test]
fn added_on_both_sides_is_merged_field_by_field() {
    let mut base = config(&[]);
    base.shared.backends.clear();
    let file = config(&[("weight = 1", "weight = 5")]);
    let current = config(&[DB2]);
    let (config, told) = merged(&base, &file, &current);
    assert_eq!(config.shared.backends, file.shared.backends);
    assert_eq!(told.len(), 1, "{told:?}");
}

#[test]
fn added_elsewhere_stays_and_added_in_the_file_comes() {
    let other = ("# end of user", "[[user]]\nname = 'other'\npassword = 'o'\n");
    let server = ("# end of shop", "[[backend.server]]\nname = 'db3'\naddress = 'db3:1'\n");
    let (got, told) = merged(&config(&[]), &config(&[server]), &config(&[other]));
    assert_eq!((got, told), (config(&[server, other]), vec![]));
}

#[test]
fn a_listener_that_stays_keeps_its_binds() {
    let mut file = config(&[]);
    file.shared.listeners.clear();
    file.node.get_mut("n").unwrap().binds.clear();
    let current = config(&[("mode = 'tcp'", "mode = 'mysql'")]);
    let (got, told) = merged(&config(&[]), &file, &current);
    assert_eq!(got, current);
    assert_eq!(told.len(), 1, "{told:?}");
    let moved = config(&[("127.0.0.1:1", "127.0.0.1:2")]);
    assert_eq!(merged(&config(&[]), &file, &moved).0, moved);
}

#[test]
fn binds_and_admin_accounts_are_merged_by_name() {
    let file = config(&[("127.0.0.1:1", "127.0.0.1:2")]);
    let current = config(&[("password = 'r'", "password = 'new'"), ("'off'", "'127.0.0.1:5'")]);
    let (got, told) = merged(&config(&[]), &file, &current);
    assert_eq!(got.node["n"].binds, file.node["n"].binds);
    assert_eq!(got.node["n"].admin, current.node["n"].admin);
    assert_eq!(told, [""; 0]);
}

#[test]
fn what_a_new_file_leaves_out_of_the_node_stays_and_what_it_says_comes() {
    let parse = |text: &str| native::parse("t", text, &NodeName::from("n")).unwrap().config;
    let current = parse("workers = 3\n[admin]\nsql = '127.0.0.1:7001'\nweb = '127.0.0.1:7002'\n");
    let says_nothing = parse("[[user]]\nname = 'late'\npassword = 'l'\n");
    let (got, told) = merged(&Config::default(), &says_nothing, &current);
    assert_eq!(got.node, current.node);
    assert!(got.shared.users.contains_key("late"));
    assert_eq!(told, [""; 0]);

    let (got, told) = merged(&Config::default(), &parse("[admin]\nweb = 'off'\n"), &current);
    assert_eq!((&got.node["n"].admin.web, got.node["n"].workers), (&None, 3));
    assert_eq!(got.node["n"].admin.sql, current.node["n"].admin.sql);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].starts_with("node n, `admin.web`: new in this file"), "{told:?}");
}

/// `apply` of a further file that said `max_lag` alone of a backend made its topology `static` again.
#[test]
fn what_a_new_file_leaves_out_of_a_thing_in_force_stays_and_what_it_says_comes() {
    let parse = |text: &str| native::parse("t", text, &NodeName::from("n")).unwrap().config;
    let mine = "[[backend]]\nname = 'shop'\ntopology = 'mariadb-replication'\nmax_lag = '3s'\n\
                monitor = { user = 'm', password = 'm', check = 'ping' }\n\
                [[backend.server]]\nname = 'db1'\naddress = 'db1:1'\nweight = 7\n\
                [[user]]\nname = 'app'\npassword = 'a'\nmax_connections = 9\n\
                [[listener]]\nname = 'l'\nbind = '127.0.0.1:1'\nbackend = 'shop'\nclient_timeout = '9s'\n\
                tls = { mode = 'required', cert = '/c', key = '/k' }\n\
                [[rule]]\nrule_id = 5\nmatch_digest = 'x'\nbackend = 'shop'\n\
                [[vip]]\nname = 'v'\ninterface = 'eth0'\nrouter_id = 5\naddresses = '10.9.9.9/32'\npriority = 77\n";
    let theirs = "[[backend]]\nname = 'shop'\nmax_lag = '20s'\n\
                  [[backend.server]]\nname = 'db1'\naddress = 'db1:1'\nmax_connections = 3\n\
                  [[user]]\nname = 'app'\npassword = 'new'\n\
                  [[listener]]\nname = 'l'\nbind = '127.0.0.1:1'\nbackend = 'shop'\n\
                  tls = { cert = '/c', key = '/k' }\n\
                  [[rule]]\nrule_id = 5\ncomment = 'why'\n\
                  [[vip]]\nname = 'v'\ninterface = 'eth0'\nrouter_id = 6\naddresses = '10.9.9.9/32'\n\
                  [[backend]]\nname = 'late'\n";
    let current = parse(mine);
    let (got, told) = merged(&Config::default(), &parse(theirs), &current);
    let mut both =
        mine.replace("'3s'", "'20s'").replace("weight = 7", "weight = 7\nmax_connections = 3");
    both = both
        .replace("password = 'a'", "password = 'new'")
        .replace("router_id = 5", "router_id = 6");
    both = both.replace("rule_id = 5", "rule_id = 5\ncomment = 'why'");
    assert_eq!(got, parse(&(both + "[[backend]]\nname = 'late'\n")));
    assert_eq!(
        told,
        [
            "backend shop, `max_lag`",
            "server shop/db1, `max_connections`",
            "user app, `password`",
            "rule 5, `comment`",
            "vip v, `router_id`"
        ]
        .map(|place| format!(
            "{place}: new in this file, and in force already with another value; the file's value holds"
        ))
    );
}

/// `apply` said "nothing changes" of a file that differs from what is in force.
#[test]
fn what_a_file_says_and_is_not_in_force_so_is_told_with_who_says_what_is() {
    let file = config(&[]);
    let other = config(&[("max_queue = 10", "max_queue = 20"), ("'a'", "'b'")]);
    let mut in_force = config(&[
        ("max_queue = 10", "max_queue = 20"),
        ("'a'", "'b'"),
        ("weight = 1", "weight = 7"),
        ("127.0.0.1:1", "127.0.0.1:2"),
        ("mode = 'tcp'", "mode = 'tcp'\nmax_connections = 5"),
        DB2,
    ]);
    in_force.shared.backends.insert("late".into(), file.shared.backends["shop"].clone());
    let by_other = overruled(&file, &other);
    let told: Vec<_> = overruled(&file, &in_force)
        .iter()
        .map(|it| {
            let field = it.field.unwrap_or("-");
            let values = format!("{} {}", it.in_file(), it.in_force());
            let said = by_other.iter().find(|other| other.of() == it.of());
            let is_said = said.is_some_and(|other| it.is_said_by(other));
            (format!("{} {field} {values}", it.place), it.is_default, is_said)
        })
        .collect();
    let told: Vec<_> = told.iter().map(|(text, a, b)| (text.as_str(), *a, *b)).collect();
    assert_eq!(
        told,
        [
            ("backend shop max_queue 10 20", false, true),
            ("server shop/db1 weight 1 7", true, false),
            ("server shop/db2 - (not set) (not set)", false, false),
            ("listener l max_connections 0 5", true, false),
            ("user app password another secret another secret", false, true),
            ("listener l bind 127.0.0.1:1 127.0.0.1:2", false, false),
        ]
    );
    assert_eq!(overruled(&file, &file), []);
}

#[test]
fn another_nodes_part_is_left_alone() {
    let mut current = config(&[]);
    current.node.insert(NodeName::from("other"), Node::default());
    let (got, _) = merged(&config(&[]), &config(&[("weight = 1", "weight = 5")]), &current);
    assert!(got.node.contains_key("other"));
}

#[test]
fn an_empty_store_is_seeded_with_the_whole_file() {
    let file = config(&[]);
    let nothing = Config::default();
    assert_eq!(merged(&nothing, &file, &nothing), (file, vec![]));
}
