use super::*;
use crate::{Address, Mode};

fn at(port: u16) -> Server {
    Server { address: Address::Host("db".to_owned(), port), ..Server::default() }
}

fn set(name: &str, server: Server) -> Change {
    Change::Server(BackendName::from("shop"), ServerName::from(name), Some(server))
}

fn shop() -> Config {
    let mut config = Config::default();
    let mut backend = Backend::default();
    backend.monitor.user = "monitor".to_owned();
    apply(&mut config, &Change::Backend("shop".into(), Some(backend))).unwrap();
    apply(&mut config, &set("db1", at(1))).unwrap();
    apply(&mut config, &set("db2", at(2))).unwrap();
    config
}

#[test]
fn a_backends_servers_survive_an_edit_of_its_own_fields() {
    let mut config = shop();
    let edited = Backend { max_idle: 7, ..without_servers(&config.shared.backends["shop"]) };
    apply(&mut config, &Change::Backend("shop".into(), Some(edited))).unwrap();
    assert_eq!(config.shared.backends["shop"].max_idle, 7);
    assert_eq!(config.shared.backends["shop"].servers.len(), 2);
}

#[test]
fn what_is_refused_changes_nothing() {
    let nowhere = Change::Server("none".into(), "db1".into(), Some(at(1)));
    let refused = [
        nowhere,
        Change::User("nobody".into(), None),
        set("", at(3)),
        set("db3", Server { max_connections: 0, ..at(3) }),
        Change::Rule(1, Some(Rule { match_digest: Some("(".to_owned()), ..Rule::default() })),
    ];
    for change in refused {
        let mut config = shop();
        assert!(apply(&mut config, &change).is_err(), "{change:?}");
        assert_eq!(config, shop());
    }
}

#[test]
fn two_servers_may_swap_their_addresses_but_not_share_one() {
    assert!(apply_all(&shop(), &[set("db1", at(2)), set("db2", at(1))]).is_ok());
    let refused = apply_all(&shop(), &[set("db1", at(2))]).unwrap_err();
    assert_eq!(refused.to_string(), "server shop/db2: backend `shop` has db:2 already as `db1`");
}

#[test]
fn a_mode_that_is_not_available_is_refused() {
    let listener = Listener { mode: Mode::Http, backend: "shop".into(), ..Listener::default() };
    let refused = apply_all(&shop(), &[Change::Listener("web".into(), Some(listener))]);
    assert!(refused.unwrap_err().to_string().contains("not available"));
}

#[test]
fn an_old_fault_does_not_refuse_a_new_change() {
    let mut config = shop();
    apply(&mut config, &set("db1", at(2))).unwrap();
    let other = Change::Rule(1, Some(Rule::default()));
    assert!(apply_all(&config, &[other]).is_ok());
}
