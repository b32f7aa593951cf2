//! Addresses, peers and tracked things of a vip, as operators write them.
//!
//! Each is a text of words, in the order and with the words of `ip address add` and Keepalived.

use std::net::{IpAddr, Ipv4Addr};

use super::{Mistake, address::may_be_shown_as_ip, kind::short};
use crate::{
    Broadcast, Peer, ProcessName, Scope, ScriptName, Track, VipAddress, Weight, nearest::nearest,
};

pub(super) const ADDRESS: &str =
    "an address such as \"10.0.0.100/24\", followed by broadcast, dev, scope or label where needed";
pub(super) const TRACK: &str = "\"serving\", \"script NAME\", \"interface NAME\", \"process NAME\" or \"file PATH\", with `weight N` where it is only to change the priority";
pub(super) const PEER: &str =
    "an address such as \"10.0.0.81\", followed by min_ttl N or max_ttl N where needed";
/// The longest name that the kernel gives to an interface.
const LONGEST_INTERFACE: usize = 15;

/// Whether a text of such words that was refused may be quoted.
pub(super) fn may_be_shown(text: &str) -> bool {
    let words: Vec<&str> = text.split_whitespace().collect();
    let before = std::iter::once("").chain(words.iter().copied());
    words.iter().zip(before).all(|(word, before)| match before {
        "brd" | "broadcast" if matches!(*word, "+" | "-") => true,
        "fwmark" => word.chars().all(|c| c.is_ascii_hexdigit() || "x/".contains(c)),
        "label" => super::may_be_shown(word),
        _ => may_be_shown_as_ip(word),
    })
}

/// Reads `10.0.0.100/24 dev eth1 label eth1:vip`.
pub(crate) fn address(text: &str) -> Result<VipAddress, Mistake> {
    let mut words = text.split_whitespace();
    let first = words.next().unwrap_or_default();
    let (address, prefix) = address_and_prefix(first)?;
    let mut read = VipAddress {
        address,
        prefix,
        device: None,
        broadcast: None,
        scope: Scope::Global,
        label: None,
    };
    while let Some(word) = words.next() {
        let known = ["brd", "broadcast", "dev", "label", "scope"];
        if !known.contains(&word) {
            return Err(unknown(word, &known, ADDRESS));
        }
        let Some(value) = words.next() else {
            return Err(mistake(format!("`{word}` has no value"), ADDRESS));
        };
        match word {
            "dev" => read.device = Some(interface(value)?),
            "label" => read.label = Some(label(value, address)?),
            "scope" => read.scope = scope(value)?,
            _ => read.broadcast = Some(broadcast(value, address)?),
        }
    }
    Ok(read)
}

fn address_and_prefix(text: &str) -> Result<(IpAddr, u8), Mistake> {
    let (address, prefix) = match text.split_once('/') {
        Some((address, prefix)) => (address, Some(prefix)),
        None => (text, None),
    };
    let address = ip(address)?;
    if address.is_unspecified() || address.is_multicast() || address.is_loopback() {
        return Err(mistake(format!("`{address}` can't move between hosts"), ADDRESS));
    }
    let widest = if address.is_ipv4() { 32 } else { 128 };
    let Some(prefix) = prefix else {
        return Ok((address, widest));
    };
    match prefix.parse::<u8>() {
        Ok(bits) if (1..=widest).contains(&bits) => Ok((address, bits)),
        _ => {
            let what = format!("`/{}` is not a prefix", short(prefix));
            Err(mistake(what, &format!("/1 to /{widest}")))
        }
    }
}

/// Reads an IP address.
pub(super) fn ip(text: &str) -> Result<IpAddr, Mistake> {
    text.parse().map_err(|_| {
        let what = format!("`{}` is not an IP address", short(text));
        mistake(what, "an address such as \"10.0.0.100\" or \"2001:db8::100\"")
    })
}

/// Reads the name of a network interface.
pub(super) fn interface(text: &str) -> Result<String, Mistake> {
    let is_name = !text.is_empty()
        && text.len() <= LONGEST_INTERFACE
        && !matches!(text, "." | "..")
        && !text.contains(|c: char| c.is_whitespace() || c.is_control() || c == '/');
    if is_name {
        return Ok(text.to_owned());
    }
    let what = format!("`{}` can't be the name of an interface", short(text));
    Err(mistake(what, "a name such as \"eth0\", at most 15 bytes"))
}

fn label(text: &str, address: IpAddr) -> Result<String, Mistake> {
    if address.is_ipv6() {
        return Err(mistake("IPv6 addresses have no label".to_owned(), ADDRESS));
    }
    interface(text)
}

pub(super) fn scope(text: &str) -> Result<Scope, Mistake> {
    let known = ["global", "host", "link", "nowhere", "site"];
    match (text, text.parse()) {
        ("global", _) => Ok(Scope::Global),
        ("host", _) => Ok(Scope::Host),
        ("link", _) => Ok(Scope::Link),
        ("nowhere", _) => Ok(Scope::Nowhere),
        ("site", _) => Ok(Scope::Site),
        (_, Ok(0)) => Ok(Scope::Global),
        (_, Ok(200)) => Ok(Scope::Site),
        (_, Ok(253)) => Ok(Scope::Link),
        (_, Ok(254)) => Ok(Scope::Host),
        (_, Ok(255)) => Ok(Scope::Nowhere),
        (_, Ok(number)) => Ok(Scope::Number(number)),
        _ => Err(unknown(text, &known, "global, site, link, host, nowhere or 0 to 255")),
    }
}

fn broadcast(text: &str, address: IpAddr) -> Result<Broadcast, Mistake> {
    if address.is_ipv6() {
        return Err(mistake("IPv6 has no broadcast".to_owned(), ADDRESS));
    }
    match (text, text.parse::<Ipv4Addr>()) {
        ("+", _) => Ok(Broadcast::Ones),
        ("-", _) => Ok(Broadcast::Zeros),
        (_, Ok(address)) => Ok(Broadcast::Is(address)),
        _ => {
            let what = format!("`{}` is not an IPv4 address", short(text));
            Err(mistake(what, "an address, + or -"))
        }
    }
}

/// Reads `10.0.0.81 min_ttl 255`.
pub(crate) fn peer(text: &str) -> Result<Peer, Mistake> {
    let mut words = text.split_whitespace();
    let address = ip(words.next().unwrap_or_default())?;
    if address.is_unspecified() || address.is_multicast() {
        return Err(mistake(format!("`{address}` is not the address of a host"), PEER));
    }
    let mut read = Peer { address, min_ttl: None, max_ttl: None };
    while let Some(word) = words.next() {
        if !["min_ttl", "max_ttl"].contains(&word) {
            return Err(unknown(word, &["min_ttl", "max_ttl"], PEER));
        }
        let ttl = words.next().unwrap_or_default();
        let Some(ttl) = ttl.parse::<u8>().ok().filter(|ttl| *ttl > 0) else {
            let what = format!("`{}` is not a TTL", short(ttl));
            return Err(mistake(what, "a whole number, 1 to 255"));
        };
        if word == "min_ttl" {
            read.min_ttl = Some(ttl);
        } else {
            read.max_ttl = Some(ttl);
        }
    }
    if read.min_ttl.zip(read.max_ttl).is_some_and(|(min, max)| min > max) {
        return Err(mistake("min_ttl lies above max_ttl: nothing would be heard".to_owned(), PEER));
    }
    Ok(read)
}

/// Reads `serving` or `script chk weight -30`.
pub(crate) fn track(text: &str) -> Result<Track, Mistake> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let known = ["file", "interface", "process", "script", "serving"];
    match words.as_slice() {
        ["serving"] => Ok(Track::Serving),
        ["serving", ..] => {
            let what = "`serving` has no weight: losing it gives the address away at once";
            Err(mistake(what.to_owned(), "\"serving\""))
        }
        [what, name, weight @ ..] if known.contains(what) => {
            let weight = weight_of(weight)?;
            Ok(match *what {
                "file" if name.starts_with('/') => Track::File((*name).to_owned(), weight),
                "file" => {
                    let what = format!("`{}` is not the whole path of a file", short(name));
                    return Err(mistake(what, TRACK));
                }
                "interface" => Track::Interface(interface(name)?, weight),
                "process" => Track::Process(ProcessName::from(*name), weight),
                _ => Track::Script(ScriptName::from(*name), weight),
            })
        }
        [what] if known.contains(what) => Err(mistake(format!("`{what}` has no name"), TRACK)),
        [what, ..] => Err(unknown(what, &known, TRACK)),
        [] => Err(mistake("there is nothing to track".to_owned(), TRACK)),
    }
}

/// Reads `weight -30 reverse`, or nothing.
pub(crate) fn weight_of(words: &[&str]) -> Result<Weight, Mistake> {
    let (number, is_reverse) = match words {
        [] => return Ok(Weight::Fault),
        ["weight", number] | ["weight", number, "noreverse"] => (number, false),
        ["weight", number, "reverse"] => (number, true),
        ["weight"] => return Err(mistake("`weight` has no value".to_owned(), WEIGHT)),
        ["weight", _, word, ..] => return Err(unknown(word, &["noreverse", "reverse"], WEIGHT)),
        [word, ..] => return Err(unknown(word, &["weight"], WEIGHT)),
    };
    match number.parse::<i16>() {
        Ok(0) => Ok(Weight::Fault),
        Ok(number) if (-253..=253).contains(&number) => {
            Ok(if is_reverse { Weight::Reverse(number) } else { Weight::Priority(number) })
        }
        _ => {
            let what = format!("`{}` is not a weight", short(number));
            Err(mistake(what, "a whole number, -253 to 253"))
        }
    }
}

const WEIGHT: &str = "weight N, and `reverse` where it counts the other way round";

pub(super) fn unknown(word: &str, known: &[&str], expected: &str) -> Mistake {
    let nearest = nearest(word, known.iter().copied()).map(str::to_owned);
    Mistake { nearest, ..mistake(format!("`{}` is not known here", short(word)), expected) }
}

pub(super) fn mistake(what: String, expected: &str) -> Mistake {
    Mistake { what, expected: expected.to_owned(), ..Mistake::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_reads_as_the_same() {
        for text in [
            "10.0.0.100/32",
            "10.0.0.100/24 broadcast 10.0.0.255 dev eth1 scope link label eth1:vip",
            "10.0.0.100/24 broadcast +",
            "2001:db8::1/64 scope 7",
        ] {
            assert_eq!(address(text).unwrap().to_string(), text);
        }
        for text in ["10.0.0.2", "fe80::2 min_ttl 254 max_ttl 255"] {
            assert_eq!(peer(text).unwrap().to_string(), text);
        }
        for text in
            ["serving", "script chk weight -30", "file /run/x weight 2 reverse", "interface eth1"]
        {
            assert_eq!(track(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn an_address_without_a_prefix_is_one_host() {
        assert_eq!(address("10.0.0.100").unwrap().prefix, 32);
        assert_eq!(address("2001:db8::1").unwrap().prefix, 128);
    }

    #[test]
    fn what_is_half_written_is_refused() {
        for text in [
            "",
            "10.0.0",
            "10.0.0.1/33",
            "10.0.0.1/0",
            "10.0.0.1 dev",
            "10.0.0.1 dve eth0",
            "0.0.0.0",
            "224.0.0.1",
            "127.0.0.1",
            "10.0.0.1 dev abcdefghijklmnop",
            "2001:db8::1 label eth0:1",
            "10.0.0.1 scope globl",
            "10.0.0.1 brd x",
        ] {
            assert!(address(text).is_err(), "{text}");
        }
        for text in ["", "x", "10.0.0.2 min_ttl 0", "10.0.0.2 min_ttl 9 max_ttl 8", "10.0.0.2 ttl"]
        {
            assert!(peer(text).is_err(), "{text}");
        }
        for text in [
            "",
            "srving",
            "script",
            "serving weight 5",
            "script x weight 254",
            "file x",
            "script x 5",
        ] {
            assert!(track(text).is_err(), "{text}");
        }
        assert_eq!(track("srving").unwrap_err().nearest.as_deref(), Some("serving"));
    }
}
