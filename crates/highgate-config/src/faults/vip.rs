//! What does not fit together in the vips of a node.
//!
//! What only the network tells (an address outside the interface's network, a peer with another
//! interval) is found where VRRP runs.

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use super::Fault;
use crate::{
    Node, NodeName, Place, Track, Vip, VipGroup, VipGroupName, VipName, Weight, nearest::nearest,
};

const LONGEST_PASSWORD: usize = 8;
const CENTISECOND: u128 = 10;
const LONGEST_CENTISECONDS: Duration = Duration::from_millis(40_950);

/// All that does not fit in the vips of `node`.
pub(super) fn of_vips(name: &NodeName, node: &Node, found: &mut Vec<Fault>) {
    for (vip_name, vip) in &node.vips {
        let place = Place::Vip(name.clone(), vip_name.clone());
        of_vip(&place, vip, found);
        tracks(&place, name, &vip.track, node, found);
        if !vip.accept && vip.priority != 255 && !node.binds.is_empty() {
            let what = "with `accept = false` no client reaches a listener by these addresses";
            found.push(Fault::warning(place.clone(), "accept", what));
        }
    }
    same_router(name, node, found);
    same_address(name, node, found);
    same_virtual_link(name, node, found);
    for (group, value) in &node.vip_groups {
        of_group(name, group, value, node, found);
        ranks_apart(name, group, value, node, found);
    }
    groups_apart(name, node, found);
    untracked(name, node, found);
}

fn of_vip(place: &Place, vip: &Vip, found: &mut Vec<Fault>) {
    let mut error = |field, what: String, hint: &str| {
        let fault = Fault::error(place.clone(), field, what);
        found.push(if hint.is_empty() { fault } else { fault.with_hint(hint) });
    };
    if vip.interface == "lo" {
        error("interface", "the loopback interface has no other nodes".to_owned(), "");
    }
    if let Some(password) = &vip.password {
        let length = password.expose().len();
        if vip.version == 3 {
            let hint = "leave it out, or set `version = 2`";
            error("password", "version 3 of VRRP has no password".to_owned(), hint);
        } else if length == 0 {
            error("password", "the password is empty".to_owned(), "");
        } else if length > LONGEST_PASSWORD {
            let what = format!("the password has {length} bytes; VRRP has room for 8");
            error(
                "password",
                what,
                "Keepalived would use its first 8 bytes; shorten it on each node",
            );
        }
    }
    if let Some((what, hint)) = bad_interval(vip) {
        error("interval", what, hint);
    }
    families(vip, &mut error);
    peers(vip, &mut error);
    doubtful(place, vip, found);
    weights(place, vip, found);
}

fn bad_interval(vip: &Vip) -> Option<(String, &'static str)> {
    let interval = vip.interval;
    if vip.version != 3 {
        let is_whole = interval.subsec_nanos() == 0 && !interval.is_zero();
        let what = "version 2 of VRRP counts in whole seconds".to_owned();
        return (!is_whole).then_some((what, "set `version = 3` on each node, or a whole number"));
    }
    if interval > LONGEST_CENTISECONDS {
        return Some(("version 3 of VRRP knows at most 40950ms".to_owned(), ""));
    }
    let is_even = interval.as_millis().is_multiple_of(CENTISECOND);
    let what = "version 3 of VRRP counts in hundredths of a second".to_owned();
    (!is_even).then_some((what, "write a multiple of 10ms"))
}

fn families(vip: &Vip, error: &mut impl FnMut(&'static str, String, &str)) {
    let Some(first) = vip.addresses.first() else {
        return error("addresses", "there is no address that could move".to_owned(), "");
    };
    let first = first.address;
    if let Some(other) = vip.addresses.iter().find(|it| it.address.is_ipv4() != first.is_ipv4()) {
        let what = format!("{} and {first} are of two families", other.address);
        error("addresses", what, "move one of them to `excluded_addresses` or to a vip of its own");
    }
    if first.is_ipv6() && vip.version != 3 {
        error("version", "IPv6 needs version 3 of VRRP".to_owned(), "write `version = 3`");
    }
    if let Some(source) = vip.source.filter(|source| source.is_ipv4() != first.is_ipv4()) {
        error("source", format!("{source} and {first} are of two families"), "");
    }
    if let Some(source) = vip.source.filter(|source| *source == first) {
        error("source", format!("{source} is an address that moves"), "name one that stays here");
    }
    if let Some(group) = vip.multicast_group {
        if !group.is_multicast() {
            error("multicast_group", format!("{group} is not a multicast address"), "");
        } else if group.is_ipv4() != first.is_ipv4() {
            error("multicast_group", format!("{group} and {first} are of two families"), "");
        }
    }
}

fn peers(vip: &Vip, error: &mut impl FnMut(&'static str, String, &str)) {
    let mut seen: Vec<IpAddr> = Vec::new();
    for peer in &vip.peers {
        let address = peer.address;
        if let Some(first) = vip.addresses.first()
            && address.is_ipv4() != first.address.is_ipv4()
        {
            let what = format!("peer {address} and {} are of two families", first.address);
            error("peers", what, "");
        }
        if vip.source == Some(address) {
            let what = format!("peer {address} is this node's own `source`");
            error("peers", what, "list the other nodes only");
        }
        if vip.addresses.iter().any(|it| it.address == address) {
            let what = format!("peer {address} is an address that moves");
            error("peers", what, "list addresses that stay with the other nodes");
        }
        if seen.contains(&address) {
            error("peers", format!("peer {address} is listed twice"), "");
        }
        seen.push(address);
    }
}

fn doubtful(place: &Place, vip: &Vip, found: &mut Vec<Fault>) {
    let mut warning = |field, what: &str| {
        found.push(Fault::warning(place.clone(), field, what));
    };
    if !vip.preempt && !vip.preempt_delay.is_zero() {
        warning("preempt_delay", "`preempt_delay` has no effect while `preempt` is false");
    }
    if vip.priority == 255 && vip.track.iter().any(|it| it.weight() != Weight::Fault) {
        warning(
            "priority",
            "priority 255 is never changed by a weight; 254 is the highest that is",
        );
    }
    if vip.only_from_peers && vip.peers.is_empty() {
        warning("only_from_peers", "`only_from_peers` has no effect without `peers`");
    }
    if vip.multicast_group.is_some() && !vip.peers.is_empty() {
        warning("multicast_group", "`multicast_group` has no effect with `peers`");
    }
    if !vip.vmac && (vip.vmac_name.is_some() || vip.vmac_transmit_base) {
        let field = if vip.vmac_name.is_some() { "vmac.name" } else { "vmac.transmit_base" };
        warning(field, "it has no effect without `vmac.enabled`");
    }
}

/// Weights that move no address.
fn weights(place: &Place, vip: &Vip, found: &mut Vec<Fault>) {
    let weighted = |track: &&Track| track.weight() != Weight::Fault;
    if vip.priority == 255 {
        return;
    }
    if !vip.preempt
        && let Some(track) = vip.track.iter().find(weighted)
    {
        let what = format!(
            "`{track}`: with `preempt = false` this node takes over from no node that still \
             advertises, however low that one's priority has become by a weight"
        );
        let fault = Fault::warning(place.clone(), "track", what);
        found.push(fault.with_hint(
            "leave the weight out: then a failure gives the addresses away; or leave out `preempt`",
        ));
    }
    // What each adds while it is good, and while it is bad. A file's weight is a factor.
    let adds = |track: &Track| match (track, track.weight()) {
        (Track::File(..), _) | (_, Weight::Fault) => None,
        (_, Weight::Priority(weight)) => Some((i32::from(weight).max(0), i32::from(weight).min(0))),
        (_, Weight::Reverse(weight)) => Some((i32::from(weight).min(0), i32::from(weight).max(0))),
    };
    let within = |priority: i32| priority.clamp(1, 254);
    let well: i32 = vip.track.iter().filter_map(adds).map(|(good, _)| good).sum();
    let well = well + i32::try_from(vip.priority).unwrap_or(254);
    for track in &vip.track {
        let Some((good, bad)) = adds(track) else { continue };
        let (before, after) = (within(well), within(well - good + bad));
        if after - before != bad - good {
            let what = format!(
                "`{track}`: its failure makes the priority {after} instead of {before}, since \
                 priorities lie between 1 and 254"
            );
            found.push(Fault::warning(place.clone(), "track", what));
        }
    }
}

/// Where tracked things are written, and whether they exist.
fn tracks(place: &Place, name: &NodeName, list: &[Track], node: &Node, found: &mut Vec<Fault>) {
    for (position, track) in list.iter().enumerate() {
        let missing = match track {
            Track::Script(script, _) if !node.scripts.contains_key(script) => {
                let known = node.scripts.keys().map(crate::ScriptName::as_str);
                Some((format!("there is no script `{script}`"), nearest(script.as_str(), known)))
            }
            Track::Process(process, _) if !node.processes.contains_key(process) => {
                let known = node.processes.keys().map(crate::ProcessName::as_str);
                Some((format!("there is no process `{process}`"), nearest(process.as_str(), known)))
            }
            _ => None,
        };
        if let Some((what, near)) = missing {
            let hint = near.map(|near| format!("did you mean `{near}`?"));
            found.push(Fault { hint, ..Fault::error(place.clone(), "track", what) });
        }
        let before = list.get(..position).unwrap_or_default();
        if before.iter().any(|it| is_same(it, track)) {
            let what = format!("`{track}` is tracked twice");
            found.push(Fault::error(place.clone(), "track", what));
        }
    }
    if let Place::Vip(_, vip) = place
        && let Some(vip) = node.vips.get(vip)
        && list.iter().any(|it| matches!(it, Track::Interface(name, _) if *name == vip.interface))
        && vip.track_interface
    {
        let what = format!("`{}` is the vip's own interface, tracked already", vip.interface);
        let fault = Fault::warning(Place::Vip(name.clone(), vip_name(place)), "track", what);
        found.push(fault.with_hint("`track_interface = false` leaves it to `track`"));
    }
}

fn vip_name(place: &Place) -> VipName {
    match place {
        Place::Vip(_, name) => name.clone(),
        _ => VipName::from(""),
    }
}

fn is_same(left: &Track, right: &Track) -> bool {
    match (left, right) {
        (Track::File(a, _), Track::File(b, _))
        | (Track::Interface(a, _), Track::Interface(b, _)) => a == b,
        (Track::Process(a, _), Track::Process(b, _)) => a == b,
        (Track::Script(a, _), Track::Script(b, _)) => a == b,
        (Track::Serving, Track::Serving) => true,
        _ => false,
    }
}

fn same_router(name: &NodeName, node: &Node, found: &mut Vec<Fault>) {
    let mut seen: BTreeMap<(&str, u32, bool), &VipName> = BTreeMap::new();
    for (vip_name, vip) in &node.vips {
        let Some(first) = vip.addresses.first() else { continue };
        let is_ipv4 = first.address.is_ipv4();
        let router = (vip.interface.as_str(), vip.router_id, is_ipv4);
        if let Some(other) = seen.insert(router, vip_name) {
            let family = if is_ipv4 { "IPv4" } else { "IPv6" };
            let what = format!(
                "router id {} has vip `{other}` already, with {family} on `{}`",
                vip.router_id, vip.interface
            );
            let fault = Fault::error(Place::Vip(name.clone(), vip_name.clone()), "router_id", what);
            found.push(fault.with_other(Place::Vip(name.clone(), other.clone()), "router_id"));
        }
    }
}

fn same_address(name: &NodeName, node: &Node, found: &mut Vec<Fault>) {
    let mut seen: BTreeMap<IpAddr, (&VipName, &'static str)> = BTreeMap::new();
    for (vip_name, vip) in &node.vips {
        let listed = vip.addresses.iter().map(|it| (it, "addresses"));
        let listed =
            listed.chain(vip.excluded_addresses.iter().map(|it| (it, "excluded_addresses")));
        for (address, field) in listed {
            let address = address.address;
            if let Some((other, other_field)) = seen.insert(address, (vip_name, field)) {
                let place = Place::Vip(name.clone(), vip_name.clone());
                let fault = Fault::error(place, field, format!("{address} is listed twice"));
                let other = Place::Vip(name.clone(), other.clone());
                found.push(fault.with_other(other, other_field));
            }
        }
    }
}

/// Members go together: where their ranks differ, each node may win with another of them.
fn ranks_apart(
    name: &NodeName,
    group: &VipGroupName,
    value: &VipGroup,
    node: &Node,
    found: &mut Vec<Fault>,
) {
    let member = |name: &VipName| node.vips.get(name).map(|vip| (name.clone(), vip.priority));
    let mut members = value.members.iter().filter_map(member);
    let Some((first, rank)) = members.next() else { return };
    if let Some((other, differs)) = members.find(|(_, other)| *other != rank) {
        let place = Place::VipGroup(name.clone(), group.clone());
        let what = format!(
            "the vips of a group go together, but `{first}` has priority {rank} and `{other}` {differs}"
        );
        let fault = Fault::warning(place, "members", what);
        let fault = fault.with_hint("give them one priority, another one on each node");
        found.push(fault.with_other(Place::Vip(name.clone(), other), "priority"));
    }
}

/// An interface of the machine has one name, whatever it is above.
fn same_virtual_link(name: &NodeName, node: &Node, found: &mut Vec<Fault>) {
    let mut seen: BTreeMap<String, &VipName> = BTreeMap::new();
    for (vip_name, vip) in node.vips.iter().filter(|(_, vip)| vip.vmac) {
        let is_ipv6 = vip.addresses.first().is_some_and(|it| it.address.is_ipv6());
        let family = if is_ipv6 { "6" } else { "" };
        let own = format!("vrrp{family}.{}", vip.router_id);
        let link = vip.vmac_name.clone().unwrap_or(own);
        let place = || Place::Vip(name.clone(), vip_name.clone());
        let field = if vip.vmac_name.is_some() { "vmac.name" } else { "vmac.enabled" };
        if link == vip.interface {
            let what = format!("`{link}` is the interface that it would be above");
            found.push(Fault::error(place(), field, what));
        }
        if let Some(other) = seen.insert(link.clone(), vip_name) {
            let what = format!("vip `{other}` has a virtual interface `{link}` already");
            let hint = "give one of them another name with `vmac = { enabled = true, name = … }`";
            found.push(Fault::error(place(), field, what).with_hint(hint));
        }
    }
}

fn of_group(
    name: &NodeName,
    group: &VipGroupName,
    value: &VipGroup,
    node: &Node,
    found: &mut Vec<Fault>,
) {
    let place = Place::VipGroup(name.clone(), group.clone());
    tracks(&place, name, &value.track, node, found);
    for (position, member) in value.members.iter().enumerate() {
        if !node.vips.contains_key(member) {
            let known = node.vips.keys().map(VipName::as_str);
            let near = nearest(member.as_str(), known);
            let hint = near.map(|near| format!("did you mean `{near}`?"));
            let what = format!("there is no vip `{member}`");
            found.push(Fault { hint, ..Fault::error(place.clone(), "members", what) });
        }
        if value.members.get(..position).unwrap_or_default().contains(member) {
            let what = format!("vip `{member}` is listed twice");
            found.push(Fault::error(place.clone(), "members", what));
        }
    }
    if value.members.len() < 2 {
        let what = "a group of fewer than two vips does nothing";
        found.push(Fault::warning(place.clone(), "members", what));
    }
    let weighted = value.track.iter().find(|it| it.weight() != Weight::Fault);
    if let Some(track) = weighted.filter(|_| !value.track_weights) {
        let what = format!("`{track}`: a weight has no effect in a group");
        let hint = "leave the weight out, or set `track_weights`";
        found.push(Fault::error(place, "track", what).with_hint(hint));
    }
}

fn groups_apart(name: &NodeName, node: &Node, found: &mut Vec<Fault>) {
    let mut seen: BTreeMap<&VipName, &VipGroupName> = BTreeMap::new();
    for (group, value) in &node.vip_groups {
        for member in &value.members {
            let other = seen.insert(member, group);
            if let Some(other) = other.filter(|other| *other != group) {
                let what = format!("vip `{member}` is in group `{other}` already");
                let place = Place::VipGroup(name.clone(), group.clone());
                let fault = Fault::error(place, "members", what);
                let other = Place::VipGroup(name.clone(), other.clone());
                found.push(fault.with_other(other, "members"));
            }
        }
    }
}

fn untracked(name: &NodeName, node: &Node, found: &mut Vec<Fault>) {
    let tracks = || {
        let vips = node.vips.values().flat_map(|vip| &vip.track);
        vips.chain(node.vip_groups.values().flat_map(|group| &group.track))
    };
    for script in node.scripts.keys() {
        if !tracks().any(|it| matches!(it, Track::Script(name, _) if name == script)) {
            let place = Place::Script(name.clone(), script.clone());
            let what = format!("no vip tracks script `{script}`: it is never run");
            found.push(Fault::warning(place, "", what));
        }
    }
    for process in node.processes.keys() {
        if !tracks().any(|it| matches!(it, Track::Process(name, _) if name == process)) {
            let place = Place::Process(name.clone(), process.clone());
            let what = format!("no vip tracks process `{process}`");
            found.push(Fault::warning(place, "", what));
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::{NodeName, Severity, native};

    /// A file with a vip that fits, around settings that do not.
    fn told(settings: &str) -> Vec<(Severity, String)> {
        let own = settings.split("[[").next().unwrap_or_default();
        let named = |name: &str| own.contains(&format!("{name} ="));
        let mut file = String::from("[[vip]]\nname = 'a'\ninterface = 'eth0'\n");
        for (name, line) in
            [("router_id", "router_id = 1\n"), ("addresses", "addresses = '10.0.0.1/24'\n")]
        {
            if !named(name) {
                file.push_str(line);
            }
        }
        file.push_str(settings);
        let problems = match native::parse("vip.toml", &file, &NodeName::from("n")) {
            Ok(parsed) => parsed.warnings,
            Err(problems) => problems.0,
        };
        problems.into_iter().map(|it| (it.severity, it.to_string())).collect()
    }

    const OTHER: &str = "[[vip]]\nname = 'b'\ninterface = 'eth0'\n";

    #[test]
    fn a_vip_that_fits_is_told_nothing() {
        assert_eq!(told(""), []);
        assert_eq!(told("version = 3\ninterval = '10ms'\n"), []);
        assert_eq!(told("addresses = '2001:db8::1/64'\ninterval = '20ms'\n"), []);
        let weights =
            "'interface eth1 weight 2', 'interface eth2 weight -50', 'file /f weight 253'";
        assert_eq!(told(&format!("track = [{weights}, 'interface eth3 weight 20 reverse']\n")), []);
    }

    #[test]
    fn each_usual_mistake_is_told_with_its_reason() {
        let twice = format!("{OTHER}router_id = 1\naddresses = '10.0.0.2'\n");
        let address = format!("{OTHER}router_id = 2\naddresses = '10.0.0.1'\n");
        let group = "[[vip_group]]\nname = 'g'\nmembers = ['a', 'aa']\n";
        let mac = "vmac = { enabled = true, name = 'vrrp.7' }\n";
        let mac = format!("{mac}{OTHER}router_id = 7\naddresses = '10.0.0.3'\nvmac.enabled = true");
        for (settings, said) in [
            (twice.as_str(), "router id 1 has vip `a` already, with IPv4 on `eth0`"),
            (&address, "10.0.0.1 is listed twice"),
            ("password = '123456789'", "the password has 9 bytes; VRRP has room for 8"),
            ("password = 'x'\nversion = 3", "version 3 of VRRP has no password"),
            ("interval = '1500ms'", "version 2 of VRRP counts in whole seconds"),
            ("interval = '15ms'\nversion = 3", "counts in hundredths of a second"),
            ("interval = '41s'\nversion = 3", "knows at most 40950ms"),
            ("addresses = ['10.0.0.1', '2001:db8::1']", "are of two families"),
            ("addresses = '2001:db8::1'\nversion = 2", "IPv6 needs version 3"),
            ("addresses = []", "there is no address that could move"),
            ("peers = '2001:db8::2'", "are of two families"),
            ("peers = ['10.0.0.2', '10.0.0.2']", "peer 10.0.0.2 is listed twice"),
            ("peers = '10.0.0.2'\nsource = '10.0.0.2'", "is this node's own `source`"),
            ("multicast_group = '10.0.0.9'", "is not a multicast address"),
            ("track = 'script x'", "there is no script `x`"),
            ("track = ['serving', 'serving']", "`serving` is tracked twice"),
            (mac.as_str(), "has a virtual interface `vrrp.7` already"),
            ("vmac = { enabled = true, name = 'eth0' }", "interface that it would be above"),
            ("state = 'MASTER'", "every node begins as backup"),
            (group, "did you mean `a`?"),
        ] {
            let told = told(settings);
            let is_said = told
                .iter()
                .any(|(severity, text)| *severity == Severity::Error && text.contains(said));
            assert!(is_said, "{settings}: {told:?}");
        }
    }

    #[test]
    fn what_has_no_effect_is_a_warning() {
        let group = "[[vip_group]]\nname = 'g'\nmembers = ['a', 'b']\n";
        let ranks = format!("{OTHER}router_id = 2\naddresses = '10.0.0.2'\npriority = 90\n{group}");
        for (settings, said) in [
            ("priority = 255\ntrack = 'interface eth1 weight 5'", "never changed by a weight"),
            ("preempt = false\npreempt_delay = '5s'", "no effect while `preempt` is false"),
            ("only_from_peers = true", "no effect without `peers`"),
            ("vmac = { name = 'x' }", "no effect without `vmac.enabled`"),
            ("track = 'interface eth0'", "own interface, tracked already"),
            ("[[script]]\nname = 's'\ncommand = '/bin/true'", "it is never run"),
            (ranks.as_str(), "`a` has priority 100 and `b` 90"),
            (
                "preempt = false\ntrack = 'interface eth1 weight -30'",
                "with `preempt = false` this node takes over from no node that still advertises",
            ),
            (
                "priority = 254\ntrack = 'interface eth1 weight 2'",
                "its failure makes the priority 254 instead of 254",
            ),
            (
                "priority = 250\ntrack = 'interface eth1 weight 30'",
                "its failure makes the priority 250 instead of 254",
            ),
            (
                "priority = 20\ntrack = 'interface eth1 weight -30'",
                "its failure makes the priority 1 instead of 20",
            ),
        ] {
            let told = told(settings);
            assert_eq!(told.len(), 1, "{settings}: {told:?}");
            assert!(told[0].0 == Severity::Warning && told[0].1.contains(said), "{told:?}");
        }
    }
}
