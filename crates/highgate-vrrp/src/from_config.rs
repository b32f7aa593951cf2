//! A node's vips as configured, as a keeper's task. Configuration has been checked before: what
//! can't be expressed here is taken at its nearest bound.

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use highgate_config as config;
use highgate_config::{
    Broadcast, Node, Peer, Track, Vip, VipAddress, VipFifo, VipGroup, VipName, Weight,
    settings::{mac_bytes, split_command},
};

use crate::{
    advert::{Casting, OWNER, Password, UnicastPeer, Version},
    linux::{FifoRule, Notify, ProcessRule, Task},
    settings::{Announce, Group, Plan, Scope, Settings, VirtualAddress, VirtualMac},
    track::{ScriptSettings, Subject, Tracked},
};

/// What the keeper of a node is to do.
#[must_use]
pub fn task(node: &Node) -> Task {
    let routers = node.vips.iter().map(|(name, vip)| {
        let follows_serving = follows_serving(node, name, vip);
        Settings { follows_serving, ..settings(name.as_str(), vip) }
    });
    let routers = routers.collect();
    let groups = node.vip_groups.iter();
    let groups = groups.map(|(name, group)| (name.to_string(), group_of(group))).collect();
    let scripts = node.scripts.iter();
    let scripts = scripts.map(|(name, script)| (name.to_string(), script_of(script))).collect();
    let notify = |rules: &config::Notify| notify(rules);
    Task {
        plan: Plan { routers, groups, scripts },
        notify: node.vips.iter().map(|(n, vip)| (n.to_string(), notify(&vip.notify))).collect(),
        group_notify: node
            .vip_groups
            .iter()
            .map(|(name, group)| (name.to_string(), notify(&group.notify)))
            .collect(),
        processes: processes(node),
        script_security: node.script_security,
        fifos: node.vip_fifos.iter().map(fifo).collect(),
    }
}

fn settings(name: &str, vip: &Vip) -> Settings {
    let moved = |listed: bool| {
        let of = if listed { &vip.addresses } else { &vip.excluded_addresses };
        of.iter().map(move |address| address_of(address, listed))
    };
    let is_v4 = vip.addresses.first().is_none_or(|first| first.address.is_ipv4());
    Settings {
        name: name.to_owned(),
        interface: vip.interface.clone(),
        version: if vip.version == 2 { Version::V2 } else { Version::V3 },
        vrid: small(vip.router_id),
        priority: small(vip.priority),
        interval: vip.interval,
        down_adverts: small(vip.down_timer_adverts),
        password: vip.password.as_ref().map(|secret| Password::new(secret.expose())),
        source: vip.source,
        addresses: moved(true).chain(moved(false)).collect(),
        casting: casting(vip),
        preempt: vip.preempt,
        preempt_delay: vip.preempt_delay,
        starts_active: small(vip.priority) == OWNER && !vip.listens_first,
        startup_delay: vip.startup_delay,
        accept: vip.accept,
        follows_link: vip.track_interface,
        follows_serving: false,
        announce: announce(vip, is_v4),
        answers_lower: vip.answer_lower,
        answers_higher: vip.answer_higher,
        virtual_mac: vip.vmac.then(|| VirtualMac {
            name: vip.vmac_name.clone(),
            address: vip.vmac_address.as_deref().and_then(mac_bytes),
            sends_from_base: vip.vmac_transmit_base,
        }),
        routes: vip.routes.clone(),
        rules: vip.rules.clone(),
        tracked: vip.track.iter().filter_map(tracked).collect(),
    }
}

fn casting(vip: &Vip) -> Casting {
    if vip.peers.is_empty() {
        return Casting::Multicast { group: vip.multicast_group };
    }
    let peer = |peer: &Peer| UnicastPeer {
        address: peer.address,
        min_ttl: peer.min_ttl.unwrap_or(0),
        max_ttl: peer.max_ttl.unwrap_or(u8::MAX),
    };
    Casting::Unicast {
        peers: vip.peers.iter().map(peer).collect(),
        ttl: small(vip.unicast_ttl),
        check_source: vip.only_from_peers,
    }
}

fn announce(vip: &Vip, is_v4: bool) -> Announce {
    Announce {
        repeat: small(vip.announce_count),
        delay: vip.announce_delay,
        lower_repeat: small(vip.announce_lower_count.unwrap_or(vip.announce_count)),
        lower_delay: vip.announce_lower_delay.unwrap_or(vip.announce_delay),
        refresh: vip.announce_refresh,
        refresh_repeat: small(vip.announce_refresh_count),
        pause: if is_v4 { vip.arp_interval } else { vip.na_interval },
    }
}

fn address_of(address: &VipAddress, advertised: bool) -> VirtualAddress {
    VirtualAddress {
        address: address.address,
        prefix: address.prefix,
        device: address.device.clone(),
        scope: match address.scope {
            config::Scope::Global => Scope::Global,
            config::Scope::Host => Scope::Host,
            config::Scope::Link => Scope::Link,
            config::Scope::Site => Scope::Site,
            config::Scope::Nowhere => Scope::Other(255),
            config::Scope::Number(number) => Scope::Other(number),
        },
        label: address.label.clone(),
        broadcast: address.broadcast.and_then(|broadcast| broadcast_of(broadcast, address)),
        advertised,
    }
}

fn broadcast_of(broadcast: Broadcast, of: &VipAddress) -> Option<IpAddr> {
    let IpAddr::V4(address) = of.address else { return None };
    let hosts = u32::MAX.checked_shr(u32::from(of.prefix)).unwrap_or(0);
    let network = address.to_bits() & !hosts;
    Some(IpAddr::V4(match broadcast {
        Broadcast::Is(address) => address,
        Broadcast::Zeros => network.into(),
        Broadcast::Ones => (network | hosts).into(),
    }))
}

/// Whether a vip or its group tracks serving. Each member follows it by itself, so that no word about
/// it goes by way of another member.
fn follows_serving(node: &Node, name: &VipName, vip: &Vip) -> bool {
    let groups = node.vip_groups.values().filter(|group| group.members.contains(name));
    let tracks = groups.map(|group| &group.track).chain([&vip.track]);
    tracks.into_iter().any(|track| track.contains(&Track::Serving))
}

/// What is tracked; serving has a place of its own ([`follows_serving`]).
fn tracked(track: &Track) -> Option<Tracked> {
    let subject = match track {
        Track::File(path, _) => Subject::File(path.clone()),
        Track::Interface(name, _) => Subject::Interface(name.clone()),
        Track::Process(name, _) => Subject::Process(name.to_string()),
        Track::Script(name, _) => Subject::Script(name.to_string()),
        Track::Serving => return None,
    };
    let (weight, reverse) = match track.weight() {
        Weight::Fault => (0, false),
        Weight::Priority(weight) => (i32::from(weight), false),
        Weight::Reverse(weight) => (i32::from(weight), true),
    };
    Some(Tracked { subject, weight, reverse })
}

fn group_of(group: &VipGroup) -> Group {
    let counts = |tracked: &Tracked| group.track_weights || tracked.weight == 0;
    Group {
        members: group.members.iter().map(ToString::to_string).collect(),
        tracked: group.track.iter().filter_map(tracked).filter(counts).collect(),
    }
}

fn script_of(script: &config::Script) -> ScriptSettings {
    let (user, group) = account(script.user.as_deref());
    ScriptSettings {
        command: words(&script.command),
        interval: script.interval,
        timeout: script.timeout.unwrap_or(script.interval).max(Duration::from_millis(1)),
        rise: script.rise,
        fall: script.fall,
        starts_failed: script.starts_failed,
        user,
        group,
    }
}

fn notify(rules: &config::Notify) -> Notify {
    let (user, group) = account(rules.user.as_deref());
    let command = |text: &Option<String>| text.as_deref().map(words).unwrap_or_default();
    Notify {
        active: command(&rules.active),
        backup: command(&rules.backup),
        fault: command(&rules.fault),
        stop: command(&rules.stop),
        lower: command(&rules.lower),
        any: command(&rules.any),
        priorities: rules.priorities,
        user,
        group,
    }
}

fn fifo(fifo: &VipFifo) -> FifoRule {
    let (owner, owner_group) = account(fifo.owner.as_deref());
    let (user, group) = account(fifo.user.as_deref());
    let script = fifo.script.as_deref().map(words).unwrap_or_default();
    FifoRule { path: fifo.path.clone(), owner, owner_group, script, user, group }
}

fn processes(node: &Node) -> BTreeMap<String, ProcessRule> {
    let rule = |process: &config::Process| ProcessRule {
        command: process.command.split_whitespace().map(str::to_owned).collect(),
        whole_command: process.whole_command,
        quorum: process.quorum,
        quorum_max: process.quorum_max,
        fork_delay: process.fork_delay,
        end_delay: process.end_delay,
    };
    node.processes.iter().map(|(name, process)| (name.to_string(), rule(process))).collect()
}

/// `user` or `user:group`.
fn account(text: Option<&str>) -> (Option<String>, Option<String>) {
    let Some(text) = text else { return (None, None) };
    match text.split_once(':') {
        Some((user, group)) => (Some(user.to_owned()), Some(group.to_owned())),
        None => (Some(text.to_owned()), None),
    }
}

fn words(command: &str) -> Vec<String> {
    split_command(command).unwrap_or_default()
}

fn small(number: u32) -> u8 {
    u8::try_from(number).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::{
        machine::{Effect, State},
        routers::{Interface, Routers},
    };

    fn node(text: &str) -> Node {
        let name = config::NodeName::from("main");
        let config = config::native::parse("test.toml", text, &name).unwrap().config;
        config.node.get(&name).cloned().unwrap()
    }

    #[test]
    fn a_vip_as_configured_is_a_router() {
        let node = node(
            "[[vip]]\nname = \"VI_1\"\ninterface = \"eth1\"\nrouter_id = 51\npriority = 101\n\
             password = \"1111\"\naddresses = \"10.0.0.100/24 label eth1:1\"\n",
        );
        let task = task(&node);
        let router = task.plan.routers.first().unwrap();
        assert_eq!((router.vrid, router.priority, router.version), (51, 101, Version::V2));
        assert_eq!(router.password, Some(Password::new("1111")));
        assert_eq!(router.addresses[0].label.as_deref(), Some("eth1:1"));
        assert!(router.follows_serving, "serving is what is tracked where nothing else is said");
        assert_eq!(router.casting, Casting::Multicast { group: None });
    }

    #[test]
    fn a_group_that_tracks_serving_gives_all_its_addresses_away_once_it_is_lost() {
        let vip = |name: &str, id: u8| {
            format!(
                "[[vip]]\nname = \"{name}\"\ninterface = \"eth1\"\nrouter_id = {id}\n\
                 track = \"interface eth2\"\naddresses = \"10.0.0.{id}/24\"\n"
            )
        };
        let group = "[[vip_group]]\nname = \"g\"\nmembers = [\"a\", \"b\"]\ntrack = \"serving\"\n";
        let node = node(&format!("{}{}{}{group}", vip("a", 51), vip("b", 52), vip("c", 53)));
        let now = Instant::now();
        let mut routers = Routers::new(task(&node).plan, now);
        let up = Interface { exists: true, is_up: true, v4: Some([10, 0, 0, 5].into()), v6: None };
        for interface in ["eth1", "eth2"] {
            let _ = routers.interface(interface, up, now);
        }
        let _ = routers.start(now);
        let _ = routers.serving(Ok(()), now);
        let later = now + Duration::from_secs(10);
        while let Some(at) = routers.next_deadline().filter(|at| *at < later) {
            let _ = routers.timer(at);
        }
        let states = |routers: &Routers| ["a", "b", "c"].map(|name| routers.state(name).unwrap());
        assert_eq!(states(&routers), [State::Active; 3]);
        let orders = routers.serving(Err("it drains".to_owned()), later);
        assert_eq!(states(&routers), [State::Fault, State::Fault, State::Active]);
        for name in ["a", "b"] {
            let of = orders.iter().filter(|order| *order.router == *name);
            let did: Vec<_> = of
                .filter_map(|order| match &order.effect {
                    Effect::RemoveAddresses(_) => Some("remove".to_owned()),
                    Effect::Send(sending) => Some(format!("send {}", sending.priority)),
                    _ => None,
                })
                .collect();
            assert_eq!(did, ["remove", "send 0"], "{name}");
        }
    }

    #[test]
    fn a_broadcast_address_follows_from_the_network() {
        let address = |broadcast| VipAddress {
            address: "10.0.0.100".parse().unwrap(),
            prefix: 24,
            device: None,
            broadcast: Some(broadcast),
            scope: config::Scope::Global,
            label: None,
        };
        let of = |broadcast| broadcast_of(broadcast, &address(broadcast)).unwrap().to_string();
        assert_eq!(of(Broadcast::Ones), "10.0.0.255");
        assert_eq!(of(Broadcast::Zeros), "10.0.0.0");
    }
}
