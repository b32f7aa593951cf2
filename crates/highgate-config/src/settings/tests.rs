use super::*;
use crate::{NodeName, native};

/// Calls `claim` with the parts of each setting that do not depend on its thing.
fn each(mut claim: impl FnMut(&str, &Kind, WhenLeftOut, &str, &str)) {
    fn of<T>(table: &TableOf<T>, claim: &mut impl FnMut(&str, &Kind, WhenLeftOut, &str, &str)) {
        for it in table.settings() {
            let name = format!("{}.{}", table.name, it.name);
            claim(&name, &it.kind, it.default, it.summary, it.example);
        }
    }
    of(&NODE, &mut claim);
    of(&ADMIN_USER, &mut claim);
    of(&LISTENER, &mut claim);
    of(&BACKEND, &mut claim);
    of(&SERVER, &mut claim);
    of(&USER, &mut claim);
    of(&RULE, &mut claim);
    of(&VIP, &mut claim);
    of(&VIP_GROUP, &mut claim);
    of(&SCRIPT, &mut claim);
    of(&PROCESS, &mut claim);
}

#[test]
fn each_default_lies_within_its_own_range() {
    each(|name, kind, default, _, _| {
        if let WhenLeftOut::Is(text) = default {
            assert!(kind.read(text).is_ok(), "{name}: {:?}", kind.read(text));
        }
    });
}

#[test]
fn each_setting_has_a_summary_and_an_example_of_itself() {
    each(|name, _, _, summary, example| {
        assert!(summary.len() > 10 && summary.ends_with('.'), "{name}: {summary}");
        let last = name.rsplit('.').next().unwrap();
        assert!(example.contains(&format!("{last} =")), "{name}: {example}");
    });
}

#[test]
fn each_name_is_declared_once() {
    let mut seen = std::collections::BTreeSet::new();
    each(|name, _, _, _, _| assert!(seen.insert(name.to_owned()), "{name} is declared twice"));
}

#[test]
fn what_is_put_in_is_what_is_got_out() {
    fn of<T>(table: &TableOf<T>) {
        let mut thing = table.defaults();
        for setting in table.settings() {
            let value = (setting.get)(&thing);
            (setting.put)(&mut thing, value.clone());
            assert_eq!((setting.get)(&thing), value, "{}.{}", table.name, setting.name);
            if let WhenLeftOut::Is(_) = setting.default {
                assert_eq!(value, setting.default_value(), "{}.{}", table.name, setting.name);
            }
        }
    }
    of(&NODE);
    of(&ADMIN_USER);
    of(&LISTENER);
    of(&BACKEND);
    of(&SERVER);
    of(&USER);
    of(&RULE);
    of(&VIP);
    of(&VIP_GROUP);
    of(&SCRIPT);
    of(&PROCESS);
}

/// A file with nothing but the example, in the thing it belongs to.
fn file_with<T>(table: &TableOf<T>, setting: &Setting<T>) -> String {
    let required: String = table
        .settings()
        .filter(|it| it.default == WhenLeftOut::Required && it.name != setting.name)
        .map(|it| format!("{}\n", it.example))
        .collect();
    let key = match table.key {
        Some(key) if key.name == "rule_id" => "rule_id = 1\n",
        Some(_) => "name = \"x\"\n",
        None => "",
    };
    let above = if table.name == "server" { "[[backend]]\nname = \"b\"\n" } else { "" };
    let example = setting.example;
    let mut file = format!("{above}{}\n{key}{required}{example}\n", table.heading);
    for (one, other) in [
        ("replace_pattern", "match_pattern = 'x'\n"),
        ("negate_match_pattern", "match_pattern = 'x'\n"),
        ("tls.ca", ""),
    ] {
        if setting.name == one {
            file.push_str(other);
        }
    }
    if table.name == "vip_group" {
        let vip = "interface = \"eth0\"\naddresses = ";
        file.push_str(&format!("[[vip]]\nname = \"inside\"\nrouter_id = 1\n{vip}\"10.0.0.1\"\n"));
        file.push_str(&format!("[[vip]]\nname = \"outside\"\nrouter_id = 2\n{vip}\"10.0.0.2\"\n"));
    }
    if setting.name == "topology" {
        file.push_str("monitor = { user = \"monitor\" }\n");
    }
    file
}

#[test]
fn each_example_is_accepted() {
    fn of<T>(table: &TableOf<T>) {
        for setting in table.settings() {
            let file = file_with(table, setting);
            let read = native::parse("example", &file, &NodeName::from("n"));
            assert!(read.is_ok(), "{}:\n{file}\n{}", setting.name, read.unwrap_err());
        }
    }
    of(&NODE);
    of(&ADMIN_USER);
    of(&LISTENER);
    of(&BACKEND);
    of(&SERVER);
    of(&USER);
    of(&RULE);
    of(&VIP);
    of(&VIP_GROUP);
    of(&SCRIPT);
    of(&PROCESS);
}

#[test]
fn a_silent_server_is_found_within_two_seconds_by_default() {
    let monitor = crate::Monitor::default();
    // The second check begins one interval after the first and ends with its time-out.
    assert!(
        monitor.interval * (monitor.fall - 1) + monitor.timeout < std::time::Duration::from_secs(2)
    );
}
