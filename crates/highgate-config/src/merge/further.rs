//! A further file lies over the process's own files: what it takes back is what those say again.

use std::collections::BTreeMap;

use super::{Decided, Merged, merge, three_way};
use crate::{Config, change::diff};

/// As [`three_way`], for a further file over `own`, which is what the process's own files said when they were
/// last applied. What the file said and says no more is as `own` has it, and gone where that has it not.
///
/// What was changed elsewhere since stays, whether the file takes back a field or the whole thing: to take back is
/// no wish for what lies beneath against somebody who said something else after it.
#[must_use]
pub fn three_way_over(own: &Config, base: &Config, file: &Config, current: &Config) -> Merged {
    // What was deleted elsewhere is not brought back by what the file takes back of it.
    let beneath = only(&only(own, &[base]), &[file, current]);
    let before = layered(&beneath, base);
    let wanted = three_way(&before, &layered(&beneath, file), current);
    if beneath == Config::default() {
        return wanted;
    }
    // Fields that were changed elsewhere lie beneath as the file last had them: where it says nothing of them,
    // they have not changed in it.
    let (said, found) = (only(&before, &[&beneath]), only(current, &[&beneath]));
    let (beneath, _) = merge(&found, &said, &beneath);
    let (merged, decided) = merge(&before, &layered(&beneath, file), current);
    let conflicts = wanted.conflicts.into_iter().map(|mut conflict| {
        if !decided.contains(&conflict) {
            conflict.decided = Decided::EditInForceWins;
        }
        conflict
    });
    Merged { changes: diff(current, &merged), conflicts: conflicts.collect() }
}

/// What two files say together, the second over the first: all that either has, and of what both have
/// the fields to which the second gives another value than their default.
#[must_use]
pub fn layered(first: &Config, second: &Config) -> Config {
    merge(&Config::default(), second, first).0
}

/// The things of `config` that one of `others` has as well, whatever their fields are.
fn only(config: &Config, others: &[&Config]) -> Config {
    let mut left = config.clone();
    let (shared, all) = (&mut left.shared, || others.iter().map(|it| &it.shared));
    keep(&mut shared.backends, all().map(|it| &it.backends));
    keep(&mut shared.listeners, all().map(|it| &it.listeners));
    keep(&mut shared.users, all().map(|it| &it.users));
    keep(&mut shared.rules, all().map(|it| &it.rules));
    keep(&mut left.node, others.iter().map(|it| &it.node));
    for (name, backend) in &mut left.shared.backends {
        let all = others.iter().filter_map(|it| it.shared.backends.get(name));
        keep(&mut backend.servers, all.map(|it| &it.servers));
    }
    for (name, node) in &mut left.node {
        let all = || others.iter().filter_map(|it| it.node.get(name));
        keep(&mut node.binds, all().map(|it| &it.binds));
        keep(&mut node.admin.users, all().map(|it| &it.admin.users));
        keep(&mut node.vips, all().map(|it| &it.vips));
        keep(&mut node.vip_groups, all().map(|it| &it.vip_groups));
        keep(&mut node.scripts, all().map(|it| &it.scripts));
        keep(&mut node.processes, all().map(|it| &it.processes));
    }
    left
}

fn keep<'a, K: Ord + 'a, V: 'a>(
    map: &mut BTreeMap<K, V>,
    others: impl Iterator<Item = &'a BTreeMap<K, V>>,
) {
    let others: Vec<_> = others.collect();
    map.retain(|key, _| others.iter().any(|other| other.contains_key(key)));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{NodeName, apply_all, native};

    const OWN: &str = "[[listener]]\nname = 'shop'\nbind = '127.0.0.1:1'\nbackend = 'shop'\n\
                       [[backend]]\nname = 'shop'\nmax_lag = '3s'\n\
                       [[backend.server]]\nname = 'db1'\naddress = 'db1:1'\nweight = 7\n\
                       [[backend.server]]\nname = 'db2'\naddress = 'db2:1'\n\
                       [[user]]\nname = 'app'\npassword = 'a'\nallow = '10.0.0.0/8'\n\
                       [[rule]]\nrule_id = 5\nmatch_digest = 'x'\nbackend = 'shop'\n\
                       [[vip]]\nname = 'v'\ninterface = 'eth0'\nrouter_id = 5\naddresses = '10.9.9.9/32'\n\
                       [admin]\nweb = '127.0.0.1:6'\n[[admin.user]]\nname = 'root'\npassword = 'r'\n";
    /// Says again what it must, and a bit more.
    const FURTHER: &str = "[[listener]]\nname = 'shop'\nbind = '127.0.0.1:1'\nbackend = 'shop'\nmax_connections = 9\n\
                           [[listener]]\nname = 'extra'\nbind = '127.0.0.1:2'\nbackend = 'shop'\n\
                           [[backend]]\nname = 'shop'\nmax_lag = '20s'\n\
                           [[backend.server]]\nname = 'db1'\naddress = 'db1:1'\nweight = 2\n\
                           [[backend.server]]\nname = 'db9'\naddress = 'db9:1'\n\
                           [[user]]\nname = 'app'\npassword = 'a'\nallow = '10.1.0.0/16'\n\
                           [[user]]\nname = 'late'\npassword = 'l'\n\
                           [[rule]]\nrule_id = 5\nmatch_digest = 'x'\nbackend = 'shop'\ncomment = 'why'\n\
                           [[vip]]\nname = 'v'\ninterface = 'eth0'\nrouter_id = 5\naddresses = '10.9.9.9/32'\npriority = 77\n\
                           [admin]\nweb = '127.0.0.1:7'\n[[admin.user]]\nname = 'root'\npassword = 'other'\n";

    fn config(text: &str) -> Config {
        native::parse("t", text, &NodeName::from("n")).unwrap_or_else(|p| panic!("{p}")).config
    }

    /// What is in force once the further file says `now`, and the conflicts as they are told.
    fn merged(now: &str, current: &Config) -> (Config, Vec<String>) {
        let merged = three_way_over(&config(OWN), &config(FURTHER), &config(now), current);
        let next = apply_all(current, &merged.changes).unwrap();
        (next, merged.conflicts.iter().map(ToString::to_string).collect())
    }

    fn both() -> Config {
        layered(&config(OWN), &config(FURTHER))
    }

    /// Accounts, servers and listeners of the process's own file were removed, as the further file had said no
    /// more of them than what is required.
    #[test]
    fn what_a_further_file_takes_back_is_as_the_own_files_say() {
        assert_eq!(merged("", &both()), (config(OWN), vec![]));
        let same = three_way_over(&config(OWN), &config(OWN), &Config::default(), &config(OWN));
        assert_eq!(same, Merged { changes: vec![], conflicts: vec![] });
        let without_shop = FURTHER.split_once("[[listener]]\nname = 'extra'").unwrap().1;
        let (left, told) = merged(&format!("[[listener]]\nname = 'extra'{without_shop}"), &both());
        assert_eq!(left.shared.listeners["shop"], config(OWN).shared.listeners["shop"]);
        assert_eq!(left.node["n"].binds["shop"], config(OWN).node["n"].binds["shop"]);
        assert!(left.shared.listeners.contains_key("extra") && told.is_empty(), "{told:?}");
    }

    /// `allow` was none, so that everybody could log in, though the own file had one.
    #[test]
    fn a_field_that_a_further_file_takes_back_has_the_own_files_value_else_its_default() {
        let less = FURTHER
            .replace("allow = '10.1.0.0/16'\n", "")
            .replace("max_lag = '20s'\n", "")
            .replace("weight = 2\n", "")
            .replace("max_connections = 9\n", "");
        let (left, told) = merged(&less, &both());
        assert_eq!(told, [""; 0]);
        let own = config(OWN).shared;
        assert_eq!(left.shared.users["app"], own.users["app"]);
        assert_eq!(left.shared.backends["shop"].max_lag, own.backends["shop"].max_lag);
        assert_eq!(left.shared.backends["shop"].servers["db1"].weight, 7);
        assert_eq!(left.shared.listeners["shop"], own.listeners["shop"], "it has no bound");
        assert!(left.shared.users.contains_key("late"), "what it still says stays");
    }

    #[test]
    fn what_was_changed_elsewhere_stays_when_a_further_file_takes_its_own_word_back() {
        let mut current = both();
        let shop = current.shared.backends.get_mut("shop").unwrap();
        shop.servers.get_mut("db1").unwrap().weight = 3;
        let told = "server shop/db1, `weight`: deleted in the file but edited elsewhere; it stays";
        for less in ["", &FURTHER.replace("weight = 2\n", "")] {
            let (left, conflicts) = merged(less, &current);
            assert_eq!(left.shared.backends["shop"].servers["db1"].weight, 3);
            assert_eq!(conflicts, [told]);
        }
        // It says another word.
        let (left, conflicts) = merged(&FURTHER.replace("weight = 2", "weight = 4"), &current);
        assert_eq!(left.shared.backends["shop"].servers["db1"].weight, 4);
        assert!(conflicts[0].contains("the file's value holds"), "{conflicts:?}");
        // And it still says the same.
        assert_eq!(merged(FURTHER, &current), (current.clone(), vec![]));
    }

    #[test]
    fn what_was_deleted_elsewhere_stays_deleted_when_a_further_file_takes_it_back() {
        let mut current = both();
        current.shared.users.remove("app");
        current.shared.backends.get_mut("shop").unwrap().servers.clear();
        current.shared.rules.clear();
        let (left, told) = merged("", &current);
        assert!(left.shared.users.is_empty() && left.shared.rules.is_empty());
        assert!(left.shared.backends["shop"].servers.is_empty());
        assert_eq!(told, [""; 0]);
    }

    /// The own files' base says which: they changed, and were applied, since the further one was.
    #[test]
    fn of_own_files_that_changed_meanwhile_their_new_word_holds() {
        let own =
            config(&OWN.replace("10.0.0.0/8", "10.2.0.0/16").replace("weight = 7", "weight = 8"));
        let (base, current) = (config(FURTHER), layered(&own, &config(FURTHER)));
        let merged = three_way_over(&own, &base, &Config::default(), &current);
        assert_eq!(apply_all(&current, &merged.changes).unwrap(), own);
        assert_eq!(merged.conflicts, []);
    }
}
