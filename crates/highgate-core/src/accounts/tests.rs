use super::*;

const NATIVE: &str = "*14E65567ABDB5135D0CFD9A70B3032C179A49EE7";

fn account(user: &str, host: &str) -> ClusterAccount {
    let document =
        format!(r#"{{"plugin":"mysql_native_password","authentication_string":"{NATIVE}"}}"#);
    from_global_priv(user, host, &document, Surroundings::default()).unwrap().unwrap()
}

fn list(accounts: &[(&str, &str)]) -> AccountList {
    AccountList::new(
        accounts.iter().map(|(user, host)| account(user, host)).collect(),
        false,
        ServerFlavor::MariaDb,
    )
}

fn from(address: &str) -> Origin {
    Origin::Address(address.parse().unwrap())
}

fn found(list: &AccountList, user: &str, origin: Origin) -> String {
    list.find(user, origin).map(ClusterAccount::name).unwrap_or_default()
}

#[test]
fn the_most_specific_host_wins_whatever_the_order_of_rows() {
    let hosts = ["%", "10.%", "10.0.0.%", "10.0.0.1_", "10.0.0.15", "10.0.0.0/255.255.255.0"];
    let mut rows: Vec<_> = hosts.iter().map(|host| ("app", *host)).collect();
    for _ in 0..rows.len() {
        rows.rotate_left(1);
        let accounts = list(&rows);
        let cases = [
            ("10.0.0.15", "10.0.0.15"),
            ("10.0.0.14", "10.0.0.0/255.255.255.0"),
            ("10.0.1.14", "10.%"),
            ("192.168.0.1", "%"),
        ];
        for (client, host) in cases {
            assert_eq!(found(&accounts, "app", from(client)), format!("app@{host}"), "{client}");
        }
    }
}

#[test]
fn mysql_has_an_order_of_its_own() {
    let order = [
        "10.1.2.3",
        "10.1.2.0/24",
        "10.0.0.0/8",
        "10.1.0.0/255.255.0.0",
        "10.0.0.0/255.0.0.0",
        "10.1.2._",
        "10.1.%",
        "10.%",
        "%",
        "",
    ];
    let accounts = order.iter().rev().map(|host| account("app", host)).collect();
    let list = AccountList::new(accounts, false, ServerFlavor::MySql);
    let hosts: Vec<_> = list.by_user["app"].iter().map(|it| it.host.clone()).collect();
    assert_eq!(hosts, order.map(HostPattern::new));
}

#[test]
fn anybody_from_a_more_specific_host_goes_before_a_named_user_from_everywhere() {
    let accounts = list(&[("app", "%"), ("", "10.0.0.1"), ("", "%")]);
    assert_eq!(found(&accounts, "app", from("10.0.0.1")), "@10.0.0.1");
    assert_eq!(found(&accounts, "app", from("10.0.0.2")), "app@%");
    assert_eq!(found(&accounts, "other", from("10.0.0.2")), "@%");
}

#[test]
fn nobody_is_found_from_where_no_pattern_fits() {
    let accounts = list(&[("app", "10.0.0.%"), ("app", "db.example")]);
    assert_eq!(found(&accounts, "app", from("10.0.1.1")), "");
    assert_eq!(found(&accounts, "App", from("10.0.0.1")), "", "names of users have a case");
    assert_eq!(accounts.unusable().count(), 1);
}

#[test]
fn an_address_of_version_4_in_version_6_clothes_is_what_it_is() {
    let accounts = list(&[("app", "10.0.0.%")]);
    assert_eq!(found(&accounts, "app", from("::ffff:10.0.0.7")), "app@10.0.0.%");
}

#[test]
fn networks_are_written_with_a_mask_or_with_bits() {
    for host in ["10.1.0.0/255.255.0.0", "10.1.0.0/16", "fd00::/8"] {
        let pattern = HostPattern::new(host);
        let inside = if host.starts_with("fd") { "fd00::1" } else { "10.1.200.3" };
        assert!(pattern.matches(from(inside), false), "{host}");
        assert!(!pattern.matches(from("10.2.0.1"), false), "{host}");
    }
}

#[test]
fn localhost_is_the_unix_socket_and_loopback_only_where_names_are_resolved() {
    let pattern = HostPattern::new("LocalHost");
    assert!(pattern.matches(Origin::Local, false));
    assert!(!pattern.matches(from("127.0.0.1"), false));
    assert!(pattern.matches(from("127.0.0.1"), true));
    assert!(!pattern.matches(from("10.0.0.1"), true));
    assert!(HostPattern::new("%").matches(Origin::Local, false));
    assert!(!HostPattern::new("127.0.0.1").matches(Origin::Local, false));
}

#[test]
fn wildcards_and_escapes_match_as_in_sql() {
    let fits =
        |pattern: &str, address: &str| HostPattern::new(pattern).matches(from(address), false);
    assert!(fits("10.%.5", "10.1.2.5") && !fits("10.%.5", "10.1.2.6"));
    assert!(fits("10.0.0._", "10.0.0.9") && !fits("10.0.0._", "10.0.0.19"));
    assert!(!fits(r"10.0.0.\_", "10.0.0.1"));
    assert!(fits("%%%1", "10.0.0.1") && fits("%:%:1", "2001:db8::1"));
}

#[test]
fn each_method_of_an_account_is_taken_in_its_order() {
    let key = "ZIgUREUg5PVgQ6LskhXmO+eZLS0nC8be6HPjYWR4YJY";
    let document = format!(
        r#"{{"access":1,"plugin":"mysql_native_password","authentication_string":"{NATIVE}",
        "auth_or":[{{"plugin":"unix_socket"}},{{"plugin":"ed25519","authentication_string":"{key}"}},{{}}]}}"#
    );
    let found = from_global_priv("app", "%", &document, Surroundings::default()).unwrap().unwrap();
    let expected = vec![
        StoredPassword::parse(&format!("ed25519:{key}")).unwrap(),
        StoredPassword::parse(NATIVE).unwrap(),
    ];
    assert_eq!(
        (found.passwords.clone(), found.foreign.clone()),
        (expected, vec!["unix_socket".to_owned()])
    );
    assert!(found.wants_password());
}

#[test]
fn a_text_that_is_no_stored_form_is_never_a_clear_password() {
    for (plugin, string) in [
        ("mysql_native_password", "invalid"),
        ("mysql_native_password", "secret"),
        ("ed25519", ""),
        ("caching_sha2_password", "secret"),
        ("pam", ""),
    ] {
        let document = format!(r#"{{"plugin":"{plugin}","authentication_string":"{string}"}}"#);
        let found =
            from_global_priv("a", "%", &document, Surroundings::default()).unwrap().unwrap();
        assert!(found.passwords.is_empty(), "{plugin} {string}");
    }
    let empty = from_global_priv("a", "%", "{}", Surroundings::default()).unwrap().unwrap();
    assert!(empty.passwords[0].is_empty(), "an account without a password");
}

#[test]
fn locks_expiry_and_demands_are_read() {
    let read = |document: &str, days| {
        let surroundings = Surroundings { password_lifetime: days };
        from_global_priv("a", "%", document, surroundings).unwrap()
    };
    assert!(read(r#"{"account_locked":true}"#, 0).unwrap().is_locked);
    assert!(read(r#"{"is_role":true}"#, 0).is_none());
    assert!(read(r#"{"password_last_changed":0}"#, 0).unwrap().is_expired(1));
    let changed = r#"{"password_last_changed":1000,"password_lifetime":-1}"#;
    let by_default = read(changed, 1).unwrap();
    assert!(!by_default.is_expired(87_399) && by_default.is_expired(87_400));
    assert!(!read(changed, 0).unwrap().is_expired(u64::MAX));
    let never = r#"{"password_last_changed":1000,"password_lifetime":0}"#;
    assert!(!read(never, 1).unwrap().is_expired(u64::MAX));
    let demands = [
        (r#"{"ssl_type":0}"#, TlsDemand::Nothing),
        (r#"{"ssl_type":1}"#, TlsDemand::Encrypted),
        (r#"{"ssl_type":2}"#, TlsDemand::Certificate),
    ];
    for (document, tls) in demands {
        assert_eq!(read(document, 0).unwrap().tls, tls);
    }
    assert!(from_global_priv("a", "%", "not json", Surroundings::default()).is_err());
}

#[test]
fn a_certificate_meets_the_demand_for_its_names_alone() {
    let names = CertificateNames { issuer: "/CN=ca".into(), subject: "/CN=app".into() };
    let named = |issuer: &str, subject: &str, cipher: &str| TlsDemand::Named {
        issuer: issuer.into(),
        subject: subject.into(),
        cipher: cipher.into(),
    };
    assert!(named("", "/CN=app", "").is_met_by(Some(&names)));
    assert!(named("/CN=ca", "", "").is_met_by(Some(&names)));
    assert!(!named("/CN=ca", "/CN=other", "").is_met_by(Some(&names)));
    assert!(!named("", "", "AES").is_met_by(Some(&names)));
    assert!(!named("/CN=ca", "", "").is_met_by(None));
    assert!(!TlsDemand::Certificate.is_met_by(None) && TlsDemand::Encrypted.is_met_by(None));
}

#[test]
fn the_older_table_gives_the_same_and_the_second_password_of_a_rotation() {
    let salt = "12345678901234567890";
    let form = format!("$A$005${salt}{}", "x".repeat(43));
    let attributes = format!(r#"{{"additional_password":"{form}"}}"#);
    let columns = [
        ("User", "app"),
        ("Host", "10.%"),
        ("plugin", "caching_sha2_password"),
        ("authentication_string", form.as_str()),
        ("User_attributes", attributes.as_str()),
        ("account_locked", "N"),
        ("password_expired", "Y"),
        ("ssl_type", "X509"),
    ];
    let get = |name: &str| columns.iter().find(|(key, _)| *key == name).map(|(_, value)| *value);
    let found = from_user_table(get, Surroundings::default()).unwrap();
    assert_eq!(found.passwords.len(), 2);
    assert!(found.is_expired(1) && !found.is_locked);
    assert_eq!(found.tls, TlsDemand::Certificate);
    assert_eq!(found.name(), "app@10.%");
}

#[test]
fn an_account_of_several_factors_is_not_let_in_by_the_first() {
    let form = format!("$A$00A${}{}", "s".repeat(20), "x".repeat(43));
    let attributes = r#"{"multi_factor_authentication": [{"plugin": "authentication_webauthn"}]}"#;
    let columns = [
        ("User", "app"),
        ("Host", "%"),
        ("plugin", "caching_sha2_password"),
        ("authentication_string", form.as_str()),
        ("User_attributes", attributes),
    ];
    let get = |name: &str| columns.iter().find(|(key, _)| *key == name).map(|(_, value)| *value);
    let account = from_user_table(get, Surroundings::default()).unwrap();
    assert_eq!(account.passwords, []);
    let list = AccountList::new(vec![account], false, ServerFlavor::MySql);
    let why = "plugin authentication_webauthn as a further factor can't be verified here";
    assert_eq!(list.unusable().collect::<Vec<_>>(), [("app@%".to_owned(), why.to_owned())]);
}
