//! Addresses as HAProxy writes them.

use std::net::Ipv6Addr;

use crate::{
    Address,
    settings::{Kind, Mistake, Value, may_be_shown, short},
};

/// Ports that one `bind` may open.
const MOST_PORTS: u16 = 256;

/// What HAProxy knows before an `@`, and is not honoured; anything else there is an account.
const FAMILIES: &[&str] = &[
    "abns", "abnsz", "fd", "mptcp", "mptcp4", "mptcp6", "quic4", "quic6", "rev", "rhttp",
    "sockpair", "udp", "udp4", "udp6", "uxdg", "uxst",
];

/// Reads the address of a `server`.
pub(super) fn server(text: &str) -> Result<Value, Mistake> {
    let plain = plain(text)?;
    if !may_be_shown(&plain) {
        return Kind::Address.read(&plain);
    }
    if plain.ends_with(|c: char| c.is_ascii_digit()) && !plain.contains(':')
        || plain.parse::<Ipv6Addr>().is_ok() && !has_port(&plain)
    {
        let what = format!("`{}` has no port", short(text));
        let hint = "HAProxy would use the port that the client came by; write it out";
        return Err(Mistake { hint: Some(hint.to_owned()), ..Kind::Address.mistake(what) });
    }
    Kind::Address.read(&bracketed(&plain))
}

/// Whether addresses that were refused may be quoted.
pub(super) fn is_harmless(text: &str) -> bool {
    text.split(',').all(|part| {
        let of_family = || part.split_once('@').map_or(part, |(_, rest)| rest).to_owned();
        may_be_shown(&plain(part).unwrap_or_else(|_| of_family()))
    })
}

/// `::1:80` may be an address, or an address with its port: as HAProxy, the last part is a port.
fn has_port(text: &str) -> bool {
    text.rsplit_once(':').is_some_and(|(host, _)| host.parse::<Ipv6Addr>().is_ok())
}

/// Reads the addresses of a `bind`: `addr:port`, `:port`, `*:port-port`, paths, with commas.
pub(super) fn bind(text: &str) -> Result<Vec<Address>, Mistake> {
    let mut addresses = Vec::new();
    for part in text.split(',') {
        for one in ports(&plain(part)?)? {
            match Kind::Binds.read(&bracketed(&one))? {
                Value::Addresses(list) => addresses.extend(list),
                _ => continue,
            }
        }
    }
    Ok(addresses)
}

/// Without what tells the family, which the address itself tells.
fn plain(text: &str) -> Result<String, Mistake> {
    if text.starts_with('/') {
        return Ok(format!("unix:{text}"));
    }
    let Some((family, rest)) = text.split_once('@') else {
        return Ok(text.to_owned());
    };
    match family {
        "ipv4" | "ipv6" | "tcp" | "tcp4" | "tcp6" => Ok(rest.to_owned()),
        "unix" => Ok(format!("unix:{rest}")),
        _ if !FAMILIES.contains(&family) => Ok(text.to_owned()),
        _ => {
            let what = format!("`{}@` is known, but not honoured", short(family));
            let hint = Some("write an address with its port, or the path of a socket".to_owned());
            Err(Mistake { what, hint, ..Mistake::default() })
        }
    }
}

/// `::1:80` as `[::1]:80`.
fn bracketed(text: &str) -> String {
    match text.rsplit_once(':') {
        Some((host, port)) if host.parse::<Ipv6Addr>().is_ok() => format!("[{host}]:{port}"),
        _ => text.to_owned(),
    }
}

/// A range of ports, one by one.
fn ports(text: &str) -> Result<Vec<String>, Mistake> {
    let Some((host, range)) = text.rsplit_once(':').filter(|(host, _)| *host != "unix") else {
        return Ok(vec![text.to_owned()]);
    };
    let Some((first, last)) = range.split_once('-').filter(|_| may_be_shown(text)) else {
        return Ok(vec![text.to_owned()]);
    };
    match (first.parse::<u16>(), last.parse::<u16>()) {
        (Ok(first), Ok(last)) if first > 0 && first <= last && last - first < MOST_PORTS => {
            Ok((first..=last).map(|port| format!("{host}:{port}")).collect())
        }
        _ => Err(Mistake {
            what: format!("`{}` is no range of ports", short(range)),
            expected: format!("FIRST-LAST, at most {MOST_PORTS} ports"),
            ..Mistake::default()
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_a_bind_is_read() {
        for (text, shown) in [
            ("*:8080", "0.0.0.0:8080"),
            (":8080", "0.0.0.0:8080"),
            ("10.0.0.1:80,10.0.0.2:81", "10.0.0.1:80 10.0.0.2:81"),
            ("ipv4@:80", "0.0.0.0:80"),
            (":::80", "[::]:80"),
            ("[::1]:80", "[::1]:80"),
            ("/run/x.sock", "unix:/run/x.sock"),
            ("unix@/run/x.sock", "unix:/run/x.sock"),
            (":80-82", "0.0.0.0:80 0.0.0.0:81 0.0.0.0:82"),
        ] {
            let read: Vec<String> = bind(text).unwrap().iter().map(ToString::to_string).collect();
            assert_eq!(read.join(" "), shown, "{text}");
        }
        for text in ["127.0.0.1", ":80-", ":90-80", ":1-9999", "fd@3", "abns@x", "", ":x"] {
            assert!(bind(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_server_without_a_port_is_refused() {
        for text in ["10.0.0.1", "db1", "::1", "10.0.0.1:+1", ":80"] {
            assert!(server(text).is_err(), "{text}");
        }
        assert!(server("db1:3306").is_ok() && server("::1:3306").is_ok());
    }
}
