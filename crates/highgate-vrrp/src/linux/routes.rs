//! Routes and rules of routing that are there while a router is active. They are marked as this
//! program's, so that what a process before left behind is found.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::IpAddr,
    sync::Arc,
};

use highgate_config::{RouteKind, VipRoute, VipRule};
use ipnet::IpNet;
use netlink_packet_core::{NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    route::{
        RouteAddress, RouteAttribute, RouteFlags, RouteMessage, RouteMetric, RouteProtocol,
        RouteScope, RouteType,
    },
    rule::{RuleAction, RuleAttribute, RuleMessage},
};
use serde::{Deserialize, Serialize};

use super::netlink::{LinkNow, Netlink};
use crate::settings::Settings;

/// The number by which the kernel keeps apart who set a route; nobody else is known to use it.
const OURS: u8 = 112;
/// Tables beyond this do not fit the header.
const MAIN: u32 = 254;

/// One of them, as it was set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Entry {
    /// A route, with the number of its interface.
    Route(VipRoute, Option<u32>),
    /// A rule.
    Rule(VipRule),
}

/// What is set for which router, and what could not be.
#[derive(Debug, Default)]
pub(crate) struct Routing {
    held: BTreeMap<Arc<str>, Vec<Entry>>,
    /// What failed, as was told.
    failed: BTreeSet<(Arc<str>, String)>,
}

impl Routing {
    /// All that is set.
    pub(crate) fn entries(&self) -> Vec<Entry> {
        self.held.values().flatten().cloned().collect()
    }

    /// Makes that what a router has, in place of what it had; `settings: None` for nothing. What is
    /// there is looked at as well. Gives what is to be told, whether it went wrong or works again.
    pub(crate) fn keep(
        &mut self,
        router: &Arc<str>,
        settings: Option<&Settings>,
        netlink: &mut Netlink,
        links: &BTreeMap<String, LinkNow>,
    ) -> Vec<Result<String, String>> {
        let wanted = settings.map(|settings| wanted(settings, links)).unwrap_or_default();
        let held = self.held.remove(router).unwrap_or_default();
        if held.is_empty() && wanted.is_empty() {
            self.failed.retain(|(whose, _)| whose != router);
            return Vec::new();
        }
        let (mut kept, mut told) = (Vec::new(), Vec::new());
        for entry in held.iter().filter(|entry| !wanted.contains(entry)) {
            // Without its interface or address the kernel has removed it already.
            let _ = entry.remove(netlink);
        }
        for entry in wanted {
            let was_held = held.contains(&entry);
            let key = (Arc::clone(router), entry.to_string());
            match entry.set(netlink) {
                Err(error) if was_held && error.kind() == io::ErrorKind::AlreadyExists => {
                    kept.push(entry);
                }
                Ok(()) => {
                    if self.failed.remove(&key) {
                        told.push(Ok(format!("{entry} is set now")));
                    }
                    kept.push(entry);
                }
                Err(error) => {
                    let why = match error.kind() {
                        io::ErrorKind::AlreadyExists => {
                            "somebody else has set it, so it is left as it is".to_owned()
                        }
                        _ => error.to_string(),
                    };
                    if self.failed.insert(key) {
                        told.push(Err(format!("{entry} can't be set: {why}")));
                    }
                }
            }
        }
        if !kept.is_empty() {
            self.held.insert(Arc::clone(router), kept);
        }
        told
    }

    /// Removes what a process before left behind. Gives what that was.
    pub(crate) fn remove_leftovers(&self, netlink: &mut Netlink) -> io::Result<Vec<String>> {
        let mut found = Vec::new();
        for message in
            netlink.ask(RouteNetlinkMessage::GetRoute(RouteMessage::default()), NLM_F_DUMP)?
        {
            let RouteNetlinkMessage::NewRoute(mut route) = message else { continue };
            if u8::from(route.header.protocol) != OURS {
                continue;
            }
            // These are the kernel's own notes of it, which it does not take back.
            route.attributes.retain(|it| {
                !matches!(it, RouteAttribute::CacheInfo(_) | RouteAttribute::Preference(_))
            });
            let to = route.attributes.iter().find_map(|attribute| match attribute {
                RouteAttribute::Destination(RouteAddress::Inet(to)) => Some(to.to_string()),
                RouteAttribute::Destination(RouteAddress::Inet6(to)) => Some(to.to_string()),
                _ => None,
            });
            let to = to.unwrap_or_else(|| "default".to_owned());
            let text = format!("route {to}/{}", route.header.destination_prefix_length);
            netlink.ask(RouteNetlinkMessage::DelRoute(route), NLM_F_ACK)?;
            found.push(text);
        }
        for message in
            netlink.ask(RouteNetlinkMessage::GetRule(RuleMessage::default()), NLM_F_DUMP)?
        {
            let RouteNetlinkMessage::NewRule(rule) = message else { continue };
            let is_ours = rule.attributes.iter().any(
                |it| matches!(it, RuleAttribute::Protocol(protocol) if u8::from(*protocol) == OURS),
            );
            if is_ours {
                let priority = rule.attributes.iter().find_map(|attribute| match attribute {
                    RuleAttribute::Priority(priority) => Some(*priority),
                    _ => None,
                });
                netlink.ask(RouteNetlinkMessage::DelRule(rule), NLM_F_ACK)?;
                found.push(format!("rule of priority {}", priority.unwrap_or_default()));
            }
        }
        Ok(found)
    }
}

impl Entry {
    fn set(&self, netlink: &mut Netlink) -> io::Result<()> {
        let message = match self {
            Self::Route(route, index) => {
                RouteNetlinkMessage::NewRoute(route_message(route, *index))
            }
            Self::Rule(rule) => RouteNetlinkMessage::NewRule(rule_message(rule)),
        };
        netlink.ask(message, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL).map(drop)
    }

    /// Removes it.
    ///
    /// # Errors
    /// As the system says, as where it is not there.
    pub(crate) fn remove(&self, netlink: &mut Netlink) -> io::Result<()> {
        let message = match self {
            Self::Route(route, index) => {
                RouteNetlinkMessage::DelRoute(route_message(route, *index))
            }
            Self::Rule(rule) => RouteNetlinkMessage::DelRule(rule_message(rule)),
        };
        netlink.ask(message, NLM_F_ACK).map(drop)
    }
}

impl std::fmt::Display for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Route(route, _) => write!(f, "route `{route}`"),
            Self::Rule(rule) => write!(f, "rule `{rule}`"),
        }
    }
}

/// Where an interface is not there, its route fails, and is told.
fn wanted(settings: &Settings, links: &BTreeMap<String, LinkNow>) -> Vec<Entry> {
    let index = |name: &String| links.get(name).map_or(u32::MAX >> 1, |link| link.index);
    let routes = settings.routes.iter();
    let routes = routes.map(|route| Entry::Route(route.clone(), route.device.as_ref().map(index)));
    routes.chain(settings.rules.iter().cloned().map(Entry::Rule)).collect()
}

fn route_message(route: &VipRoute, index: Option<u32>) -> RouteMessage {
    let mut message = RouteMessage::default();
    let table = route.table.unwrap_or(MAIN);
    let header = &mut message.header;
    header.address_family = family(route.network);
    header.destination_prefix_length = route.network.prefix_len();
    header.table = u8::try_from(table).unwrap_or_default();
    header.protocol = RouteProtocol::from(OURS);
    header.kind = match route.kind {
        RouteKind::Blackhole => RouteType::BlackHole,
        RouteKind::Prohibit => RouteType::Prohibit,
        RouteKind::Unicast => RouteType::Unicast,
        RouteKind::Unreachable => RouteType::Unreachable,
    };
    header.scope = match route.scope {
        Some(scope) => RouteScope::from(number_of(scope)),
        // As `ip route` has it.
        None if route.kind == RouteKind::Unicast
            && route.via.is_none()
            && route.network.addr().is_ipv4() =>
        {
            RouteScope::Link
        }
        None => RouteScope::Universe,
    };
    if route.onlink {
        header.flags = RouteFlags::Onlink;
    }
    let attributes = &mut message.attributes;
    if route.network.prefix_len() > 0 {
        attributes.push(RouteAttribute::Destination(address(route.network.network())));
    }
    attributes.push(RouteAttribute::Table(table));
    attributes.extend(route.via.map(|via| RouteAttribute::Gateway(address(via))));
    attributes.extend(route.source.map(|own| RouteAttribute::PrefSource(address(own))));
    attributes.extend(index.map(RouteAttribute::Oif));
    attributes.extend(route.metric.map(RouteAttribute::Priority));
    attributes.extend(route.mtu.map(|mtu| RouteAttribute::Metrics(vec![RouteMetric::Mtu(mtu)])));
    message
}

fn rule_message(rule: &VipRule) -> RuleMessage {
    let mut message = RuleMessage::default();
    let header = &mut message.header;
    header.family = if rule.is_v6() { AddressFamily::Inet6 } else { AddressFamily::Inet };
    header.src_len = rule.from.map_or(0, |network| network.prefix_len());
    header.dst_len = rule.to.map_or(0, |network| network.prefix_len());
    header.action = match rule.kind {
        RouteKind::Blackhole => RuleAction::Blackhole,
        RouteKind::Prohibit => RuleAction::Prohibit,
        RouteKind::Unicast => RuleAction::ToTable,
        RouteKind::Unreachable => RuleAction::Unreachable,
    };
    header.table = rule.table.and_then(|table| u8::try_from(table).ok()).unwrap_or_default();
    let network = |network: IpNet| (network.prefix_len() > 0).then(|| network.network());
    let attributes = &mut message.attributes;
    attributes.extend(rule.from.and_then(network).map(RuleAttribute::Source));
    attributes.extend(rule.to.and_then(network).map(RuleAttribute::Destination));
    attributes.extend(rule.input.clone().map(RuleAttribute::Iifname));
    attributes.extend(rule.output.clone().map(RuleAttribute::Oifname));
    if let Some((mark, mask)) = rule.mark {
        attributes.extend([RuleAttribute::FwMark(mark), RuleAttribute::FwMask(mask)]);
    }
    attributes.extend(rule.table.map(RuleAttribute::Table));
    attributes.push(RuleAttribute::Priority(rule.priority));
    attributes.push(RuleAttribute::Protocol(RouteProtocol::from(OURS)));
    message
}

const fn family(network: IpNet) -> AddressFamily {
    match network {
        IpNet::V4(_) => AddressFamily::Inet,
        IpNet::V6(_) => AddressFamily::Inet6,
    }
}

const fn address(address: IpAddr) -> RouteAddress {
    match address {
        IpAddr::V4(address) => RouteAddress::Inet(address),
        IpAddr::V6(address) => RouteAddress::Inet6(address),
    }
}

const fn number_of(scope: highgate_config::Scope) -> u8 {
    use highgate_config::Scope;
    match scope {
        Scope::Global => 0,
        Scope::Host => 254,
        Scope::Link => 253,
        Scope::Nowhere => 255,
        Scope::Number(number) => number,
        Scope::Site => 200,
    }
}
