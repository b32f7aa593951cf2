//! Laws of the desired state, over configurations made at random within the declared ranges.

use std::time::Duration;

use proptest::{collection::btree_map, option, prelude::*, sample::select};

use crate::settings::{
    BACKEND, Kind, LISTENER, ListenerDraft, NODE, PROCESS, RULE, SCRIPT, SERVER, TableOf, USER,
    VIP, VIP_GROUP, Value, WhenLeftOut,
};
use crate::{
    Check, Config, ListenerName, Node, NodeName, Secret, Secrets, Shared, Tls, TlsMode, Topology,
    apply, apply_all, describe, diff, merge, native, render,
};

/// A value that a setting of this kind may have.
fn value(kind: Kind, is_optional: bool) -> BoxedStrategy<Value> {
    let text =
        |texts: &'static [&'static str]| select(texts).prop_map(|it| Value::Text(it.to_owned()));
    let read = move |texts: &'static [&'static str]| {
        select(texts).prop_map(move |it| kind.read(it).unwrap())
    };
    let some: BoxedStrategy<Value> = match kind {
        Kind::Bytes { min, max } => (min..=max).prop_map(Value::Bytes).boxed(),
        Kind::Count { min, max } => (min..=max).prop_map(Value::Count).boxed(),
        Kind::Duration { min, max } => {
            let millis = |it: Duration| u64::try_from(it.as_millis()).unwrap();
            (millis(min)..=millis(max))
                .prop_map(|it| Value::Duration(Duration::from_millis(it)))
                .boxed()
        }
        Kind::Flag => any::<bool>().prop_map(Value::Flag).boxed(),
        Kind::Word(words) => select(words).prop_map(|it| Value::Text(it.to_owned())).boxed(),
        Kind::Digest => any::<u64>().prop_map(Value::Digest).boxed(),
        Kind::Secret | Kind::Secrets => {
            "[a-z\"'\\\\é=\\[\n]{1,8}".prop_map(|it| Value::Secrets(vec![Secret::new(it)])).boxed()
        }
        Kind::Network | Kind::Networks => read(&["10.0.0.0/8", "::1", "192.168.1.7"]).boxed(),
        Kind::Address => read(&["db:1", "10.0.0.1:3306", "[::1]:5", "unix:/s"]).boxed(),
        Kind::Binds | Kind::BindOrOff { .. } => read(&["127.0.0.1:0", "[::1]:0"]).boxed(),
        Kind::Command => text(&["/bin/true", "/bin/sh -c 'exit 1'"]).boxed(),
        Kind::Interface => text(&["eth0", "br-1"]).boxed(),
        Kind::IpAddress => read(&["10.0.0.9"]).boxed(),
        Kind::Mac => text(&["02:00:00:00:00:01"]).boxed(),
        Kind::Names => read(&["a", "b", "c"]).boxed(),
        Kind::Peers => read(&["10.0.0.7", "10.0.0.8 min_ttl 254"]).boxed(),
        Kind::Routes => read(&["10.5.0.0/16 dev eth9", "blackhole 10.6.0.0/16"]).boxed(),
        Kind::RoutingRules => read(&["from 10.5.0.0/16 table 7 priority 5"]).boxed(),
        Kind::VipFifos => read(&["/run/x owner a", "/run/y script /bin/cat 'a b'"]).boxed(),
        Kind::Tracks => read(&["serving", "interface eth9 weight -5", "file /x weight 2"]).boxed(),
        Kind::VipAddresses => {
            read(&["10.1.0.1/24", "10.1.0.2 dev eth1 label eth1:x", "10.1.0.3 brd + scope link"])
                .boxed()
        }
        Kind::Check => text(&["connect", "off", "SELECT 1\n-- \"x\""]).boxed(),
        Kind::Regex => text(&["^SELECT", "a\\.b", "'\"'"]).boxed(),
        Kind::Name | Kind::Path | Kind::Text => text(&["x", "a b", "é\"\\"]).boxed(),
    };
    if is_optional { prop_oneof![Just(Value::Absent), some].boxed() } else { some }
}

/// A thing with some of its settings set to other values.
fn thing<T: Clone + std::fmt::Debug + 'static>(table: &'static TableOf<T>) -> BoxedStrategy<T> {
    let values: Vec<BoxedStrategy<Option<Value>>> = table
        .settings()
        .map(|setting| {
            let is_optional = setting.default == WhenLeftOut::Nothing
                && !setting.kind.is_list()
                && setting.kind != Kind::Secret;
            let value = value(setting.kind, is_optional);
            if setting.default == WhenLeftOut::Required {
                value.prop_map(Some).boxed()
            } else {
                option::weighted(0.3, value).boxed()
            }
        })
        .collect();
    values
        .prop_map(move |values| {
            let mut thing = table.defaults();
            for (setting, value) in table.settings().zip(values) {
                if let Some(value) = value {
                    (setting.put)(&mut thing, value);
                }
            }
            thing
        })
        .boxed()
}

fn some_tls(tls: &mut Tls) {
    *tls = match tls.mode {
        TlsMode::Disabled => Tls::default(),
        mode => {
            Tls { mode, cert: Some("/c".into()), key: Some("/k".into()), ca: Some("/ca".into()) }
        }
    };
}

const NAMES: &[&str] = &["a", "b", "c"];

static TABLES: Tables = Tables {
    node: NODE,
    listener: LISTENER,
    backend: BACKEND,
    server: SERVER,
    user: USER,
    rule: RULE,
    vip: VIP,
    vip_group: VIP_GROUP,
    script: SCRIPT,
    process: PROCESS,
};

struct Tables {
    node: TableOf<Node>,
    listener: TableOf<ListenerDraft>,
    backend: TableOf<crate::Backend>,
    server: TableOf<crate::Server>,
    user: TableOf<crate::User>,
    rule: TableOf<crate::Rule>,
    vip: TableOf<crate::Vip>,
    vip_group: TableOf<crate::VipGroup>,
    script: TableOf<crate::Script>,
    process: TableOf<crate::Process>,
}

fn backend() -> impl Strategy<Value = crate::Backend> {
    let servers =
        btree_map(select(NAMES).prop_map(crate::ServerName::from), thing(&TABLES.server), 0..3);
    (thing(&TABLES.backend), servers).prop_map(|(mut backend, mut servers)| {
        let mut seen = std::collections::BTreeSet::new();
        servers.retain(|_, server| seen.insert(server.address.clone()));
        some_tls(&mut backend.tls);
        let logs_in = matches!(backend.monitor.check, Check::Ping | Check::Sql(_));
        if backend.topology != Topology::Static || logs_in {
            backend.monitor.user = "m".to_owned();
        }
        if backend.monitor.check == Check::Off {
            backend.topology = Topology::Static;
        }
        crate::Backend { servers, ..backend }
    })
}

fn rule() -> impl Strategy<Value = crate::Rule> {
    thing(&TABLES.rule).prop_map(|mut rule| {
        if rule.match_pattern.is_none() {
            rule.replace_pattern = None;
            rule.negate_match_pattern &= rule.match_digest.is_some();
        }
        if rule.error_msg.is_some() {
            rule.ok_msg = None;
        }
        rule
    })
}

/// Vips of one node, each of which fits for itself and beside the others.
fn vips() -> impl Strategy<Value = Node> {
    let name = || select(NAMES);
    (
        btree_map(name().prop_map(crate::VipName::from), thing(&TABLES.vip), 0..3),
        btree_map(name().prop_map(crate::VipGroupName::from), thing(&TABLES.vip_group), 0..2),
        btree_map(name().prop_map(crate::ScriptName::from), thing(&TABLES.script), 0..3),
        btree_map(name().prop_map(crate::ProcessName::from), thing(&TABLES.process), 0..3),
    )
        .prop_map(|(mut vips, mut vip_groups, scripts, processes)| {
            for (id, vip) in (1..).zip(vips.values_mut()) {
                vip.router_id = id;
                for address in &mut vip.addresses {
                    address.address = std::net::Ipv4Addr::new(10, 2, 0, id as u8).into();
                }
                vip.excluded_addresses.clear();
                vip.multicast_group = None;
                vip.vmac_name = vip.vmac_name.take().map(|_| format!("mac{id}"));
                if let Some(password) = &mut vip.password {
                    *password = Secret::new("x");
                }
                vip.password.take_if(|_| vip.version == 3);
                vip.interval = match vip.version {
                    2 => Duration::from_secs(vip.interval.as_secs().max(1)),
                    _ => Duration::from_millis(10 * u64::from(vip.router_id)),
                };
            }
            vip_groups.retain(|_, group| {
                group.track_weights = true;
                vips.contains_key(&group.members[0])
            });
            if let [first, .., last] = vip_groups.values().collect::<Vec<_>>().as_slice()
                && first.members == last.members
            {
                vip_groups.clear();
            }
            Node { vips, vip_groups, scripts, processes, ..Node::default() }
        })
}

fn config() -> impl Strategy<Value = Config> {
    let name = || select(NAMES);
    let listeners = btree_map(name().prop_map(ListenerName::from), thing(&TABLES.listener), 0..3);
    let admins =
        btree_map(name().prop_map(crate::UserName::from), "[a-z]{1,3}".prop_map(Secret::new), 0..2);
    (
        listeners,
        btree_map(name().prop_map(crate::BackendName::from), backend(), 0..3),
        btree_map(name().prop_map(crate::UserName::from), thing(&TABLES.user), 0..3),
        btree_map(0_u32..9, rule(), 0..3),
        thing(&TABLES.node),
        admins,
        vips(),
    )
        .prop_map(|(drafts, backends, users, rules, node, admins, vips)| {
            let Node { vips, vip_groups, scripts, processes, .. } = vips;
            let mut node = Node { vips, vip_groups, scripts, processes, ..node };
            let mut shared = Shared { backends, users, rules, ..Shared::default() };
            for (name, mut draft) in drafts {
                some_tls(&mut draft.listener.tls);
                if draft.listener.mode == crate::Mode::Http {
                    draft.listener.mode = crate::Mode::Tcp;
                }
                if draft.listener.mode == crate::Mode::Tcp {
                    draft.listener.tls = Tls::default();
                    draft.listener.auth = crate::AuthSource::Local;
                }
                // It needs an account of its backend.
                if draft.listener.auth == crate::AuthSource::Cluster {
                    draft.listener.auth = crate::AuthSource::Passthrough;
                }
                node.binds.insert(name.clone(), draft.binds);
                shared.listeners.insert(name, draft.listener);
            }
            some_tls(&mut node.admin.tls);
            node.admin.users = admins;
            Config { shared, node: [(NodeName::from("n"), node)].into() }
        })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    #[test]
    fn the_difference_applied_to_the_old_is_the_new(old in config(), new in config()) {
        let changes = diff(&old, &new);
        let mut folded = old.clone();
        for change in &changes {
            prop_assert!(!describe(change, &folded).contains("unchanged"));
            apply(&mut folded, change).unwrap();
        }
        prop_assert_eq!(&folded, &new);
        prop_assert_eq!(apply_all(&old, &changes).unwrap(), new);
    }

    #[test]
    fn nothing_is_the_difference_to_itself(config in config()) {
        prop_assert_eq!(diff(&config, &config), vec![]);
    }

    #[test]
    fn what_is_rendered_reads_as_the_same(config in config()) {
        let node = NodeName::from("n");
        let text = render(&config, &node, Secrets::Show);
        let parsed = native::parse("rendered", &text, &node)
            .map_err(|problems| TestCaseError::fail(format!("{text}\n{problems}")))?;
        prop_assert_eq!(&parsed.config, &config, "{}", text);
        prop_assert_eq!(render(&parsed.config, &node, Secrets::Show), text);
    }

    #[test]
    fn an_untouched_state_becomes_the_file(base in config(), file in config()) {
        let merged = merge::three_way(&base, &file, &base);
        prop_assert_eq!(merged.conflicts, vec![]);
        prop_assert_eq!(apply_all(&base, &merged.changes).unwrap(), file);
    }

    #[test]
    fn an_untouched_file_changes_nothing(base in config(), current in config()) {
        let merged = merge::three_way(&base, &base, &current);
        prop_assert_eq!(merged.changes, vec![]);
    }

    #[test]
    fn an_untouched_further_file_changes_nothing(
        own in config(), base in config(), current in config()
    ) {
        let merged = merge::three_way_over(&own, &base, &base, &current);
        prop_assert_eq!(merged.changes, vec![]);
    }

    #[test]
    fn a_further_file_that_changes_is_as_if_the_process_had_always_had_it_so(
        own in config(), base in config(), file in config()
    ) {
        let current = merge::layered(&own, &base);
        for file in [&file, &Config::default()] {
            let merged = merge::three_way_over(&own, &base, file, &current);
            let is_new = |it: &merge::Conflict| it.decided == merge::Decided::NewInFile;
            prop_assert!(merged.conflicts.iter().all(is_new), "{:?}", merged.conflicts);
            let next = apply_without_faults(&current, &merged.changes);
            prop_assert_eq!(next, merge::layered(&own, file));
        }
    }

    #[test]
    fn without_other_files_a_further_one_is_merged_as_any(
        base in config(), file in config(), current in config()
    ) {
        let nothing = Config::default();
        let merged = merge::three_way_over(&nothing, &base, &file, &current);
        prop_assert_eq!(merged, merge::three_way(&base, &file, &current));
    }
}

/// Things that come together at random need not fit together.
fn apply_without_faults(config: &Config, changes: &[crate::Change]) -> Config {
    let mut next = config.clone();
    for change in changes {
        apply(&mut next, change).unwrap();
    }
    next
}
