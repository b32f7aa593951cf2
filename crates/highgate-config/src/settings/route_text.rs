//! Routes, rules of routing and pipes of a vip, as operators write them: in the words of `ip route`,
//! `ip rule` and Keepalived.

use std::{net::IpAddr, str::FromStr};

use ipnet::IpNet;

use super::{
    Mistake, command,
    kind::short,
    vip_text::{interface, ip, mistake, scope, unknown},
};
use crate::{RouteKind, VipFifo, VipRoute, VipRule};

pub(super) const ROUTE: &str = "a network such as \"192.168.7.0/24\" or \"default\", followed by via, dev, src, table, metric, scope, mtu or onlink where needed; or \"blackhole NETWORK\"";
pub(super) const RULE: &str = "\"from NETWORK\" or \"to NETWORK\" with iif, oif or fwmark where needed, followed by \"table N\" and \"priority N\"";
pub(super) const FIFO: &str = "the whole path of a named pipe, followed by \"owner USER\", \"user USER\" and, at the end, \"script COMMAND\" where needed";
pub(super) const MAC: &str = "a MAC address such as \"02:00:00:00:00:01\"";
/// Where a rule names no priority, as Keepalived has it.
pub(crate) const RULE_PRIORITY: u32 = 16_384;

const ROUTE_WORDS: &[&str] = &[
    "dev",
    "gw",
    "metric",
    "mtu",
    "onlink",
    "preference",
    "priority",
    "proto",
    "protocol",
    "scope",
    "src",
    "table",
    "to",
    "via",
];
const RULE_WORDS: &[&str] = &[
    "dev",
    "from",
    "fwmark",
    "iif",
    "lookup",
    "oif",
    "order",
    "pref",
    "preference",
    "priority",
    "prio",
    "table",
    "to",
];
const KINDS: &[(&str, RouteKind)] = &[
    ("blackhole", RouteKind::Blackhole),
    ("prohibit", RouteKind::Prohibit),
    ("unicast", RouteKind::Unicast),
    ("unreachable", RouteKind::Unreachable),
];

fn kind_of(word: &str) -> Option<RouteKind> {
    KINDS.iter().find(|(name, _)| *name == word).map(|(_, kind)| *kind)
}

/// Reads `192.168.7.0/24 via 10.0.0.1 dev eth1`.
pub(crate) fn route(text: &str) -> Result<VipRoute, Mistake> {
    let mut words = text.split_whitespace().peekable();
    let kind = words.peek().copied().and_then(kind_of);
    if kind.is_some() {
        words.next();
    }
    // Keepalived's `src ADDRESS to NETWORK` has the source first.
    let (mut network, mut source) = (None, None);
    let mut read = blank(kind.unwrap_or(RouteKind::Unicast));
    while let Some(word) = words.next() {
        let is_first = network.is_none() && !ROUTE_WORDS.contains(&word);
        if is_first {
            network = Some(word);
            continue;
        }
        if word == "onlink" {
            read.onlink = true;
            continue;
        }
        if !ROUTE_WORDS.contains(&word) {
            return Err(unknown(word, ROUTE_WORDS, ROUTE));
        }
        let Some(value) = words.next() else {
            return Err(mistake(format!("`{word}` has no value"), ROUTE));
        };
        match word {
            "to" => network = Some(value),
            "via" | "gw" => read.via = Some(ip(value)?),
            "dev" => read.device = Some(interface(value)?),
            "src" => source = Some(ip(value)?),
            "table" => read.table = Some(table(value)?),
            "scope" => read.scope = Some(scope(value)?),
            "mtu" => read.mtu = Some(number(word, value)?),
            // Ours are marked as such in any case.
            "proto" | "protocol" => {}
            _ => read.metric = Some(number(word, value)?),
        }
    }
    read.source = source;
    let is_v6 = [read.via, source].into_iter().flatten().any(|it| it.is_ipv6());
    let network = network.ok_or_else(|| mistake("there is no network".to_owned(), ROUTE))?;
    read.network = network_of(network, is_v6)?;
    fits(read)
}

const fn blank(kind: RouteKind) -> VipRoute {
    VipRoute {
        kind,
        network: IpNet::V4(ipnet::Ipv4Net::new_assert(std::net::Ipv4Addr::UNSPECIFIED, 0)),
        via: None,
        device: None,
        source: None,
        table: None,
        metric: None,
        scope: None,
        mtu: None,
        onlink: false,
    }
}

fn fits(read: VipRoute) -> Result<VipRoute, Mistake> {
    let is_v4 = matches!(read.network, IpNet::V4(_));
    if let Some(other) =
        [read.via, read.source].into_iter().flatten().find(|it| it.is_ipv4() != is_v4)
    {
        return Err(mistake(format!("{other} and {} are of two families", read.network), ROUTE));
    }
    let leads = read.via.is_some() || read.device.is_some();
    if read.kind == RouteKind::Unicast && !leads {
        let what = format!("the route to {} has neither `via` nor `dev`", read.network);
        return Err(mistake(what, ROUTE));
    }
    if read.kind != RouteKind::Unicast && (read.via.is_some() || read.onlink) {
        let word = read.kind.word().unwrap_or_default();
        return Err(mistake(format!("`{word}` leads nowhere, so it has no `via`"), ROUTE));
    }
    Ok(read)
}

/// Reads `from 192.168.7.0/24 table 7 priority 100`.
pub(crate) fn rule(text: &str) -> Result<VipRule, Mistake> {
    let mut read = VipRule {
        from: None,
        to: None,
        input: None,
        output: None,
        mark: None,
        table: None,
        kind: RouteKind::Unicast,
        priority: RULE_PRIORITY,
    };
    let mut words = text.split_whitespace();
    let (mut from, mut to) = (None, None);
    while let Some(word) = words.next() {
        if let Some(kind) = kind_of(word) {
            read.kind = kind;
            continue;
        }
        if !RULE_WORDS.contains(&word) {
            return Err(unknown(word, RULE_WORDS, RULE));
        }
        let Some(value) = words.next() else {
            return Err(mistake(format!("`{word}` has no value"), RULE));
        };
        match word {
            "from" => from = Some(value),
            "to" => to = Some(value),
            "iif" | "dev" => read.input = Some(interface(value)?),
            "oif" => read.output = Some(interface(value)?),
            "fwmark" => read.mark = Some(mark(value)?),
            "table" | "lookup" => read.table = Some(table(value)?),
            _ => read.priority = number(word, value)?,
        }
    }
    let is_v6 = [from, to].into_iter().flatten().any(|it| it.contains(':'));
    read.from = some_network(from, is_v6)?;
    read.to = some_network(to, is_v6)?;
    if matches!((read.from, read.to), (Some(from), Some(to)) if from.addr().is_ipv4() != to.addr().is_ipv4())
    {
        return Err(mistake("`from` and `to` are of two families".to_owned(), RULE));
    }
    if read.from.is_none()
        && read.to.is_none()
        && read.input.is_none()
        && read.output.is_none()
        && read.mark.is_none()
    {
        return Err(mistake("the rule is for all packets".to_owned(), RULE));
    }
    match (read.kind, read.table) {
        (RouteKind::Unicast, None) => Err(mistake("the rule names no table".to_owned(), RULE)),
        (RouteKind::Unicast, Some(_)) | (_, None) => Ok(read),
        (kind, Some(_)) => {
            let word = kind.word().unwrap_or_default();
            Err(mistake(format!("`{word}` and a table exclude each other"), RULE))
        }
    }
}

fn some_network(text: Option<&str>, is_v6: bool) -> Result<Option<IpNet>, Mistake> {
    text.filter(|text| *text != "all" && *text != "any")
        .map(|text| network_of(text, is_v6))
        .transpose()
}

fn network_of(text: &str, is_v6: bool) -> Result<IpNet, Mistake> {
    let text = match text {
        "default" if is_v6 => "::/0",
        "default" => "0.0.0.0/0",
        text => text,
    };
    let network = IpNet::from_str(text).or_else(|_| IpAddr::from_str(text).map(IpNet::from));
    match network {
        Ok(network) if network.trunc() != network => {
            let what = format!("`{}` has bits beyond its prefix", short(text));
            Err(mistake(what, &format!("\"{}\"", network.trunc())))
        }
        Ok(network) => Ok(network),
        Err(_) => Err(mistake(
            format!("`{}` is not a network", short(text)),
            "a network such as \"192.168.7.0/24\", or \"default\"",
        )),
    }
}

fn table(text: &str) -> Result<u32, Mistake> {
    match (text, text.parse::<u32>()) {
        ("default", _) => Ok(253),
        ("main", _) => Ok(254),
        ("local", _) => Ok(255),
        (_, Ok(table)) if table > 0 => Ok(table),
        _ => {
            let hint =
                "names of one's own are in /etc/iproute2/rt_tables: write the number that is there"
                    .to_owned();
            let what = format!("`{}` is not the number of a table", short(text));
            Err(Mistake {
                hint: Some(hint),
                ..mistake(what, "a whole number, main, local or default")
            })
        }
    }
}

fn mark(text: &str) -> Result<(u32, u32), Mistake> {
    let number = |text: &str| match text.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    };
    let (mark, mask) = text.split_once('/').map_or((text, None), |(mark, mask)| (mark, Some(mask)));
    let mask = mask.map_or(Some(u32::MAX), number);
    number(mark).zip(mask).ok_or_else(|| {
        mistake(format!("`{}` is not a mark", short(text)), "a number such as 7, 0x7 or 0x7/0xff")
    })
}

fn number(word: &str, text: &str) -> Result<u32, Mistake> {
    text.parse().map_err(|_| {
        mistake(format!("`{}` is not a number for `{word}`", short(text)), "a whole number")
    })
}

/// Reads `/run/vips.fifo owner root:adm script /usr/local/bin/on-change`.
pub(crate) fn fifo(text: &str) -> Result<VipFifo, Mistake> {
    let (mut rest, mut read) = (text.trim(), None);
    let next = |rest: &mut &str| {
        let (word, after) = rest.split_once(char::is_whitespace).unwrap_or((*rest, ""));
        *rest = after.trim_start();
        word.to_owned()
    };
    while !rest.is_empty() {
        let word = next(&mut rest);
        let Some(fifo) = &mut read else {
            if !word.starts_with('/') || word.contains('\0') {
                let what = format!("`{}` is not a whole path", short(&word));
                return Err(mistake(what, FIFO));
            }
            read = Some(VipFifo { path: word, owner: None, user: None, script: None });
            continue;
        };
        if !["owner", "script", "user"].contains(&word.as_str()) {
            return Err(unknown(&word, &["owner", "script", "user"], FIFO));
        }
        if rest.is_empty() {
            return Err(mistake(format!("`{word}` has no value"), FIFO));
        }
        match word.as_str() {
            "owner" => fifo.owner = Some(next(&mut rest)),
            "user" => fifo.user = Some(next(&mut rest)),
            _ => {
                command::split(rest)?;
                fifo.script = Some(std::mem::take(&mut rest).to_owned());
            }
        }
    }
    read.ok_or_else(|| mistake("there is no path".to_owned(), FIFO))
}

/// Reads a MAC address of one host, and gives it as it is shown.
pub(super) fn mac(text: &str) -> Result<String, Mistake> {
    let not = |why: &str| Err(mistake(format!("`{}` {why}", short(text)), MAC));
    let Some(bytes) = mac_bytes(text) else { return not("is not a MAC address") };
    let [first, ..] = bytes;
    if first & 1 == 1 || bytes == [0; 6] {
        return not("is not the MAC address of one host");
    }
    Ok(bytes.map(|byte| format!("{byte:02x}")).join(":"))
}

/// The bytes of a MAC address.
#[must_use]
pub fn mac_bytes(text: &str) -> Option<[u8; 6]> {
    let digits = |word: &str| {
        let is_hex = (1..=2).contains(&word.len()) && word.bytes().all(|b| b.is_ascii_hexdigit());
        u8::from_str_radix(word, 16).ok().filter(|_| is_hex)
    };
    let bytes: Option<Vec<u8>> = text.split(':').map(digits).collect();
    bytes?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_reads_as_the_same() {
        for text in [
            "192.168.7.0/24 via 10.0.0.1 dev eth1 src 10.0.0.100 table 7 metric 5 scope link mtu 1400 onlink",
            "blackhole 192.168.7.0/24",
            "0.0.0.0/0 via 10.0.0.1",
            "2001:db8::/32 dev eth1",
        ] {
            assert_eq!(route(text).unwrap().to_string(), text);
        }
        for text in [
            "from 192.168.7.0/24 table 7 priority 100",
            "from all to 2001:db8::/32 iif eth1 fwmark 0x7/0xff table 254 priority 16384",
            "from 10.0.0.0/8 oif eth1 prohibit priority 3",
        ] {
            assert_eq!(rule(text).unwrap().to_string(), text);
        }
        for text in ["/run/x", "/run/x owner a:b user c script /bin/cat 'one two'"] {
            assert_eq!(fifo(text).unwrap().to_string(), text);
        }
        assert_eq!(mac("2:0:0:0:0:5B").unwrap(), "02:00:00:00:00:5b");
    }

    #[test]
    fn other_words_of_the_same_meaning_are_taken() {
        let same = |one: &str, other: &str| assert_eq!(route(one).unwrap(), route(other).unwrap());
        same("src 10.0.0.9 to 10.7.0.0/16 gw 10.0.0.1", "10.7.0.0/16 via 10.0.0.1 src 10.0.0.9");
        same("default via fe80::1 dev e preference 3", "::/0 via fe80::1 dev e metric 3");
        same("10.7.0.1 dev e table main", "10.7.0.1/32 dev e table 254");
        assert_eq!(
            rule("to 10.0.0.0/8 lookup local").unwrap().to_string(),
            "from all to 10.0.0.0/8 table 255 priority 16384"
        );
    }

    #[test]
    fn what_is_half_written_is_refused() {
        for (text, said) in [
            ("", "there is no network"),
            ("10.0.0.0/24", "neither `via` nor `dev`"),
            ("10.0.0.1/24 dev e", "has bits beyond its prefix"),
            ("10.0.0.0/24 dev", "`dev` has no value"),
            ("10.0.0.0/24 via ::1", "are of two families"),
            ("10.0.0.0/24 dve e", "`dve` is not known here"),
            ("10.0.0.0/24 dev e table mine", "is not the number of a table"),
            ("blackhole 10.0.0.0/24 via 10.0.0.1", "leads nowhere"),
        ] {
            assert!(route(text).unwrap_err().what.contains(said), "{text}: {:?}", route(text));
        }
        for (text, said) in [
            ("from 10.0.0.0/8", "names no table"),
            ("table 7", "for all packets"),
            ("from 10.0.0.0/8 to ::/0 table 7", "are of two families"),
            ("from 10.0.0.0/8 table 7 blackhole", "exclude each other"),
            ("frm 10.0.0.0/8 table 7", "`frm` is not known here"),
            ("from 10.0.0.0/8 table 7 fwmark x", "is not a mark"),
        ] {
            let told = rule(text).map_err(|it| it.what);
            assert!(told.as_ref().is_err_and(|it| it.contains(said)), "{text}: {told:?}");
        }
        for text in ["", "run/x", "/run/x script", "/run/x ownr a", "/run/x script ./relative"] {
            assert!(fifo(text).is_err(), "{text}");
        }
        for text in
            ["", "02:00:00:00:00", "01:00:5e:00:00:01", "00:00:00:00:00:00", "02:00:00:00:00:xx"]
        {
            assert!(mac(text).is_err(), "{text}");
        }
    }
}
