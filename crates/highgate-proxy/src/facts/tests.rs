use highgate_mysql::{StatusFlags, greeting::NONCE_LEN};

use super::*;

fn greeting_of(version: &str, capabilities: Capabilities) -> Greeting {
    Greeting {
        version: version.to_owned(),
        connection_id: 1,
        nonce: [1; NONCE_LEN],
        capabilities,
        collation: 45,
        status: StatusFlags::empty(),
        plugin: String::new(),
    }
}

fn greeting(version: &str, capabilities: Capabilities) -> Greeted {
    Greeted::of(&greeting_of(version, capabilities))
}

fn greets(version: &str) -> Greeted {
    greeting(version, passed_on())
}

/// Servers 1, 2 … that greet so.
fn servers(versions: &[&str]) -> Servers {
    let mut servers = Servers::default();
    for (id, version) in (1..).zip(versions) {
        servers.learn(ServerId(id), greets(version));
    }
    servers
}

fn ids(ids: &[u32]) -> BTreeSet<ServerId> {
    ids.iter().copied().map(ServerId).collect()
}

fn range(servers: &Servers) -> (u32, u32) {
    let lex = servers.together.lex_mode();
    (lex.server_version, lex.newest_version)
}

#[test]
fn what_would_change_the_meaning_of_bytes_on_shared_connections_is_never_offered() {
    let never = Capabilities::QUERY_ATTRIBUTES
        | Capabilities::OPTIONAL_RESULTSET_METADATA
        | Capabilities::MARIADB_CACHE_METADATA
        | Capabilities::MARIADB_BULK_UNIT_RESULTS
        | Capabilities::MARIADB_COM_MULTI
        | Capabilities::MULTI_FACTOR_AUTH
        | Capabilities::CAPABILITY_EXTENSION;
    assert_eq!(passed_on() & never, Capabilities::empty());
    assert_eq!(BackendFacts::default().capabilities & never, Capabilities::empty());
}

#[test]
fn clients_are_greeted_with_the_primarys_version_or_the_lowest() {
    let mut servers = servers(&["11.8.2-MariaDB", "10.11.6-MariaDB"]);
    assert_eq!(servers.together.version, "10.11.6-MariaDB");
    assert!(servers.follow(Some(ServerId(1)), &ids(&[1, 2])));
    assert_eq!(servers.together.version, "11.8.2-MariaDB");
    assert!(!servers.follow(Some(ServerId(1)), &ids(&[1, 2])), "nothing has changed");
    assert!(servers.follow(None, &ids(&[1, 2])));
    assert_eq!(servers.together.version, "10.11.6-MariaDB");
}

#[test]
fn a_rolling_upgrade_widens_the_range_and_its_end_closes_it() {
    let mut servers = servers(&["10.11.6-MariaDB", "10.11.6-MariaDB"]);
    assert_eq!(range(&servers), (101_106, 101_106));
    assert!(servers.learn(ServerId(2), greets("11.8.2-MariaDB")));
    assert_eq!(range(&servers), (101_106, 110_802));
    assert!(servers.learn(ServerId(1), greets("11.8.2-MariaDB")));
    assert_eq!(range(&servers), (110_802, 110_802));
    assert!(!servers.learn(ServerId(1), greets("11.8.2-MariaDB")), "it says the same again");
}

/// Clients escape by the flags of their login: with backslashes, on servers that take them as they are, what they
/// quoted ended early.
#[test]
fn clients_are_told_how_the_primary_reads_quotes() {
    let servers = |version: &str, status| {
        let mut servers = Servers::default();
        let greeting = Greeting { status, ..greeting_of(version, passed_on()) };
        servers.learn(ServerId(1), Greeted::of(&greeting));
        servers.learn(ServerId(2), greets(version));
        servers.follow(Some(ServerId(1)), &ids(&[1, 2]));
        let mode = servers.together.lex_mode();
        (mode.no_backslash_escapes, mode.ansi_quotes, servers.together.quoting())
    };
    let (plain, ansi) = (StatusFlags::NO_BACKSLASH_ESCAPES, StatusFlags::ANSI_QUOTES);
    assert_eq!(servers("10.11.6-MariaDB", plain | ansi), (true, true, plain | ansi));
    assert_eq!(servers("10.11.6-MariaDB", StatusFlags::AUTOCOMMIT).2, StatusFlags::empty());
    assert_eq!(servers("8.0.36", plain | ansi), (true, false, plain), "MySQL has no such flag");
}

#[test]
fn a_server_that_was_taken_out_counts_no_more() {
    let mut servers = servers(&["10.11.6-MariaDB", "11.8.2-MariaDB"]);
    let old = Capabilities::PROTOCOL_41 | Capabilities::SECURE_CONNECTION;
    servers.learn(ServerId(1), greeting("10.11.6-MariaDB", old));
    assert_eq!(servers.together.capabilities, old);
    assert!(servers.follow(None, &ids(&[2])));
    assert_eq!(range(&servers), (110_802, 110_802));
    assert_eq!(servers.together.capabilities, passed_on());
    assert!(servers.follow(None, &ids(&[])));
    assert_eq!(*servers.together, BackendFacts::default());
}

#[test]
fn of_servers_of_two_dialects_neither_is_taken_for_granted() {
    let servers = servers(&["10.11.6-MariaDB", "8.0.36"]);
    assert_eq!(servers.together.lex_mode().flavor, Flavor::Unknown);
    assert_eq!((servers.together.flavor, &*servers.together.version), (Flavor::MySql, "8.0.36"));
}

#[test]
fn of_a_version_that_cannot_be_told_no_version_comment_is_certain() {
    assert_eq!(range(&servers(&["10.11.6-MariaDB", "MariaDB"])).0, 0);
}
