//! What does not fit this machine, as far as it is known. Only warnings: a file may be for another
//! machine, and a link may come later.

use std::net::IpAddr;

use super::Fault;
use crate::{Config, NodeName, Place, Track, Vip, VipName, nearest::nearest};

/// Interfaces that this machine does not have, if those that it has are known.
pub(crate) fn absent(config: &Config, here: &[String]) -> Vec<Fault> {
    let mut found = Vec::new();
    for (node, name, vip) in vips(config) {
        // Those with a MAC address of their own are made when they are needed.
        let is_made =
            |interface: &str| interface.starts_with("vrrp") || made(config, node, interface);
        let known = |interface: &str| {
            here.is_empty() || here.iter().any(|it| it == interface) || is_made(interface)
        };
        for (field, interface) in interfaces(vip) {
            if known(interface) {
                continue;
            }
            let near = nearest(interface, here.iter().map(String::as_str));
            let hint = match near {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("there are {}; the vip waits for it", here.join(", ")),
            };
            let what = format!("there is no interface `{interface}` here");
            let place = Place::Vip(node.clone(), name.clone());
            found.push(Fault::warning(place, field, what).with_hint(&hint));
        }
    }
    found
}

/// The interfaces that a vip names, each once.
fn interfaces(vip: &Vip) -> Vec<(&'static str, &str)> {
    let listed = vip.addresses.iter().map(|it| ("addresses", it));
    let listed = listed.chain(vip.excluded_addresses.iter().map(|it| ("excluded_addresses", it)));
    let devices = listed.filter_map(|(field, it)| Some((field, it.device.as_deref()?)));
    let tracked = vip.track.iter().filter_map(|track| match track {
        Track::Interface(name, _) => Some(("track", name.as_str())),
        _ => None,
    });
    let mut all = vec![("interface", vip.interface.as_str())];
    for (field, interface) in devices.chain(tracked) {
        if all.iter().all(|(_, other)| *other != interface) {
            all.push((field, interface));
        }
    }
    all
}

fn made(config: &Config, node: &NodeName, interface: &str) -> bool {
    let own = config.node.get(node).into_iter().flat_map(|node| node.vips.values());
    own.filter_map(|vip| vip.vmac_name.as_deref()).any(|name| name == interface)
}

fn vips(config: &Config) -> impl Iterator<Item = (&NodeName, &VipName, &Vip)> {
    let nodes = config.node.iter();
    nodes.flat_map(|(node, of)| of.vips.iter().map(move |(name, vip)| (node, name, vip)))
}

/// Addresses that are in no network of their interface on this machine, if that has any.
pub(crate) fn outside(config: &Config, networks: &dyn Fn(&str) -> Vec<(IpAddr, u8)>) -> Vec<Fault> {
    let mut found = Vec::new();
    for (node, name, vip) in vips(config) {
        let moves = |address: IpAddr| vip.addresses.iter().any(|it| it.address == address);
        for address in &vip.addresses {
            let interface = address.device.as_deref().unwrap_or(&vip.interface);
            let here: Vec<(IpAddr, u8)> = networks(interface)
                .into_iter()
                .filter(|(own, _)| own.is_ipv4() == address.address.is_ipv4() && !moves(*own))
                .collect();
            if here.is_empty() || here.iter().any(|own| is_within(address.address, *own)) {
                continue;
            }
            let list: Vec<String> =
                here.iter().map(|(own, prefix)| format!("{own}/{prefix}")).collect();
            let what =
                format!("{} is in no network of {interface}: {}", address.address, list.join(", "));
            let place = Place::Vip(node.clone(), name.clone());
            let fault = Fault::warning(place, "addresses", what);
            found.push(fault.with_hint("hosts there reach it only by a route of their own"));
        }
    }
    found
}

fn is_within(address: IpAddr, (own, prefix): (IpAddr, u8)) -> bool {
    match (address, own) {
        (IpAddr::V4(address), IpAddr::V4(own)) => {
            let bits = address.to_bits() ^ own.to_bits();
            bits.checked_shr(32_u32.saturating_sub(prefix.into())).unwrap_or(0) == 0
        }
        (IpAddr::V6(address), IpAddr::V6(own)) => {
            let bits = address.to_bits() ^ own.to_bits();
            bits.checked_shr(128_u32.saturating_sub(prefix.into())).unwrap_or(0) == 0
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use crate::{NodeName, import::Surroundings, native};

    struct Machine;
    impl Surroundings for Machine {
        fn include(&self, _: &str, _: &str) -> Result<Vec<(String, String)>, String> {
            Ok(Vec::new())
        }
        fn variable(&self, _: &str) -> Option<String> {
            None
        }
        fn interfaces(&self) -> Vec<String> {
            ["lo", "eth0", "eth10"].map(str::to_owned).into()
        }
        fn networks(&self, interface: &str) -> Vec<(std::net::IpAddr, u8)> {
            let here = [("10.0.0.2", 24), ("10.0.9.100", 32), ("fd99::2", 64)];
            let read = here.map(|(own, prefix)| (own.parse().unwrap(), prefix));
            if interface == "eth0" { read.into() } else { Vec::new() }
        }
    }

    #[test]
    fn an_address_in_no_network_of_its_interface_is_told_where_it_is_written() {
        let told = |addresses: &str, more: &str| {
            let text = format!(
                "[[vip]]\nname = 'a'\ninterface = 'eth0'\nrouter_id = 1\n{more}\naddresses = {addresses}\n"
            );
            let input = native::Input { name: "x.toml", text: &text };
            let parsed = native::read_all(&[input], &NodeName::from("main"), &Machine).unwrap();
            parsed.warnings.iter().map(|it| format!("{}: {}", it.line, it.what)).collect::<Vec<_>>()
        };
        assert!(told("'10.0.0.100'", "").is_empty());
        assert_eq!(
            told("'10.0.9.100'", ""),
            ["6: 10.0.9.100 is in no network of eth0: 10.0.0.2/24"],
            "that it is there already, held by this node, makes no network of it"
        );
        let elsewhere = told("'10.0.9.100 dev eth10'", "");
        assert!(elsewhere.is_empty(), "nothing is known of that one's networks: {elsewhere:?}");
        assert!(told("'fd99::100'", "version = 3").is_empty());
        assert_eq!(told("'fd98::100'", "version = 3").len(), 1);
    }

    #[test]
    fn an_interface_that_is_not_here_is_told_with_the_nearest_or_all_that_are() {
        let told = |text: &str| {
            let text =
                format!("[[vip]]\nname = 'a'\nrouter_id = 1\naddresses = '10.0.0.100'\n{text}\n");
            let input = native::Input { name: "x.toml", text: &text };
            let parsed = native::read_all(&[input], &NodeName::from("main"), &Machine).unwrap();
            let told = parsed.warnings.iter();
            told.map(|it| {
                format!("{}: {} ({})", it.line, it.what, it.hint.clone().unwrap_or_default())
            })
            .collect::<Vec<_>>()
        };
        assert!(told("interface = 'eth0'\ntrack = 'interface eth10'").is_empty());
        assert_eq!(
            told("interface = 'ethO'"),
            ["5: there is no interface `ethO` here (did you mean `eth0`?)"]
        );
        assert_eq!(
            told("interface = 'bond7'\ntrack = 'interface bond7'\ntrack_interface = false"),
            [
                "5: there is no interface `bond7` here (there are lo, eth0, eth10; the vip waits for it)"
            ]
        );
    }
}
