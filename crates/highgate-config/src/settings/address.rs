//! Addresses as operators write them.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
};

use super::{Kind, Mistake, kind::short};
use crate::{Address, source::password_of_parameters};

/// Whether a text that was refused as an address may be quoted: it is made as a host with a port is, a
/// mistyped one included. Of anything else nobody knows where in it a password stands.
pub(crate) fn may_be_shown(text: &str) -> bool {
    let path = text.strip_prefix("unix:");
    let is_of_ip = |c: char| c.is_ascii_hexdigit() || ":.[]%".contains(c);
    let has_port = path.is_none() && text.matches(':').count() < 2;
    (has_port || path.is_some() || text.chars().all(is_of_ip)) && odd(text).is_none()
}

/// As [`may_be_shown`], of what should be an IP address or a network, or several of them. A host's name is
/// none of these, and no secret.
pub(super) fn may_be_shown_as_ip(text: &str) -> bool {
    let is_ip = |c: char| c.is_ascii_hexdigit() || ":.[]()%*".contains(c);
    let is_name = |c: char| c.is_ascii_alphanumeric() || "-_.*".contains(c);
    let is_one = |part: &str, is_known: &dyn Fn(char) -> bool| {
        let (address, prefix) = part.split_once('/').unwrap_or((part, ""));
        address.chars().all(is_known) && prefix.chars().all(|c| c.is_ascii_digit() || c == '.')
    };
    let is_port = |port: &str| port.len() <= 5 && port.bytes().all(|b| b.is_ascii_digit());
    let host =
        text.rsplit_once(':').filter(|(_, port)| is_port(port)).map_or(text, |(host, _)| host);
    text.split([',', ' ']).all(|part| is_one(part, &is_ip))
        || is_one(host, &is_name) && !host.starts_with('-')
}

/// The first character that no address has.
fn odd(text: &str) -> Option<char> {
    let known = if text.starts_with("unix:") { "-_.:/" } else { "-_.:[]%*${}" };
    text.chars().find(|c| !c.is_ascii_alphanumeric() && !known.contains(*c))
}

/// Reads an address to connect to.
pub(super) fn parse(text: &str) -> Result<Address, Mistake> {
    let kind = Kind::Address;
    let address = parse_any(text, &kind)?;
    match &address {
        Address::Ip(ip) if ip.ip().is_unspecified() => {
            Err(kind.mistake(format!("`{}` can't be connected to", short(text))))
        }
        Address::Host(_, 0) => Err(kind.mistake("port 0 can't be connected to".to_owned())),
        Address::Ip(ip) if ip.port() == 0 => {
            Err(kind.mistake("port 0 can't be connected to".to_owned()))
        }
        _ => Ok(address),
    }
}

/// Reads an address to bind, where the host may be left out or be `*`.
pub(super) fn parse_bind(text: &str, kind: &Kind) -> Result<Address, Mistake> {
    let port = text.strip_prefix("*:").or_else(|| text.strip_prefix(':'));
    match port {
        Some(port) => {
            let port = parse_port(port, kind)?;
            Ok(Address::Ip(SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port)))
        }
        None => parse_any(text, kind),
    }
}

fn parse_any(text: &str, kind: &Kind) -> Result<Address, Mistake> {
    if let Some(path) = text.strip_prefix("unix:") {
        if password_of_parameters(text).is_some() {
            return Err(has_an_account(kind));
        }
        if matches!(kind, Kind::BindOrOff { .. }) {
            let what = "the ports for operators are TCP ports".to_owned();
            let hint = "on this machine `highgate ctl` needs no port: it asks by `highgate.sock`";
            return Err(Mistake { hint: Some(hint.to_owned()), ..kind.mistake(what) });
        }
        if !path.starts_with('/') || path.contains('\0') || path.len() > 107 {
            let what = "a socket's path is absolute and at most 107 bytes long".to_owned();
            return Err(kind.mistake(what));
        }
        return Ok(Address::Unix(PathBuf::from(path)));
    }
    let port = match kind {
        Kind::Address => 3306,
        Kind::BindOrOff { port } => *port,
        _ => 6033,
    };
    if let Ok(address) = text.parse() {
        return Ok(Address::Ip(address));
    }
    // Not shown: a password may be part of it.
    if text.contains('@') || password_of_parameters(text).is_some() {
        return Err(has_an_account(kind));
    }
    if !may_be_shown(text) {
        let what = odd(text).map(|c| format!("`{}` can't be in an address", c.escape_debug()));
        let what =
            what.unwrap_or_else(|| "this is neither an address nor a host's name".to_owned());
        return Err(kind.mistake(what));
    }
    if text.parse::<Ipv6Addr>().is_ok() {
        let hint = Some(format!("write \"[{text}]:{port}\""));
        return Err(Mistake { hint, ..kind.mistake(format!("`{text}` has no port")) });
    }
    let Some((host, port)) = text.rsplit_once(':') else {
        if let Some(mistake) = only_a_port(text, kind) {
            return Err(mistake);
        }
        let hint = Some(format!("write \"{}:{port}\"", short(text)));
        return Err(Mistake { hint, ..kind.mistake(format!("`{}` has no port", short(text))) });
    };
    let is_name = !host.is_empty()
        && host.len() <= 253
        && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    // Four numbers that are no address are a mistyped address, not a host's name.
    let is_number = host.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    if host.parse::<Ipv4Addr>().is_ok() {
        // With a good port it would have been read as a whole.
        parse_port(port, kind)?;
    }
    if !is_name || is_number {
        return Err(
            kind.mistake(format!("`{}` is neither an address nor a host's name", short(host)))
        );
    }
    Ok(Address::Host(host.to_owned(), parse_port(port, kind)?))
}

fn has_an_account(kind: &Kind) -> Mistake {
    let hint = "no account belongs into an address; those of clients are [[user]]s".to_owned();
    let what = "an account or password is in this address".to_owned();
    Mistake { hint: Some(hint), ..kind.mistake(what) }
}

/// A number alone is meant as a port: what it would be with a host.
fn only_a_port(text: &str, kind: &Kind) -> Option<Mistake> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let port = match parse_port(text, kind) {
        Ok(port) => port,
        Err(mistake) => return Some(mistake),
    };
    let what = format!("`{}` is a port without a host", short(text));
    let hint = match kind {
        Kind::Binds => {
            format!("write \"0.0.0.0:{port}\", or \"127.0.0.1:{port}\" for this machine alone")
        }
        Kind::BindOrOff { .. } => {
            format!("write \"127.0.0.1:{port}\", or \"0.0.0.0:{port}\" for other machines, too")
        }
        _ => format!("write \"HOST:{port}\", on this machine \"127.0.0.1:{port}\""),
    };
    Some(Mistake { hint: Some(hint), ..kind.mistake(what) })
}

fn parse_port(text: &str, kind: &Kind) -> Result<u16, Mistake> {
    text.parse().map_err(|_| Mistake {
        expected: "a port, 0 to 65535".to_owned(),
        ..kind.mistake(format!("`{}` is not a port", short(text)))
    })
}

/// Whether two binds can't both be held on one machine.
pub(crate) fn clash(left: &Address, right: &Address) -> bool {
    match (left, right) {
        (Address::Ip(a), Address::Ip(b)) => {
            let same_family = a.is_ipv4() == b.is_ipv4();
            let covers = a.ip() == b.ip()
                || (same_family && (a.ip().is_unspecified() || b.ip().is_unspecified()));
            a.port() != 0 && a.port() == b.port() && covers
        }
        _ => left == right,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_before_an_address_is_refused_unseen() {
        for text in ["mysql://app:hush@db:3306", "app:hush@[::1]:3306", "db:1?password=hush"] {
            let mistake = parse(text).unwrap_err();
            assert!(!format!("{mistake:?}").contains("hush"), "{mistake:?}");
        }
    }

    #[test]
    fn of_a_text_that_is_made_otherwise_than_an_address_nothing_is_quoted() {
        for text in [
            "mysql://app:hush",
            "db:1 password=hush",
            "host=db port=1 password=hush",
            "hush db:3306",
            "app/hush:1",
            "db:1?PWD=hush",
            "Pwd=hush;Server=db",
            "app:hush:db:3306",
            "unix:/tmp/x.sock?password=hush",
            "unix:x hush",
        ] {
            let mistake = parse(text).unwrap_err();
            assert!(!may_be_shown(text) && !format!("{mistake:?}").contains("hush"), "{mistake:?}");
        }
        let what = |text: &str| parse(text).unwrap_err().what;
        assert_eq!(what("a b:1"), "` ` can't be in an address");
        assert_eq!(what("h:b:1"), "this is neither an address nor a host's name");
        for text in ["db1", "10.0.0.300:3306", "db:33O6", "fe80::1%eth0:1", "unix:run/x"] {
            assert!(parse(text).is_err(), "{text}");
            assert_eq!(may_be_shown(text), !text.contains("eth"), "{text}");
        }
    }

    #[test]
    fn every_form_of_a_bind_is_read() {
        for (text, shown) in [
            ("127.0.0.1:6033", "127.0.0.1:6033"),
            ("*:6033", "0.0.0.0:6033"),
            (":6033", "0.0.0.0:6033"),
            ("[::1]:6033", "[::1]:6033"),
            ("localhost:6033", "localhost:6033"),
            ("unix:/run/highgate.sock", "unix:/run/highgate.sock"),
        ] {
            assert_eq!(
                parse_bind(text, &Kind::Binds).map(|a| a.to_string()),
                Ok(shown.to_owned()),
                "{text}"
            );
        }
    }

    /// `check` accepted a socket's path there, and the start failed; and every help named port 6033.
    #[test]
    fn a_port_for_operators_is_tcp_and_its_help_names_its_own_port() {
        let kind = Kind::BindOrOff { port: 6080 };
        let mistake = parse_bind("unix:/run/x.sock", &kind).unwrap_err();
        assert!(mistake.what.contains("TCP") && !mistake.expected.contains("unix"), "{mistake:?}");
        let mistake = parse_bind("nowhere", &kind).unwrap_err();
        assert_eq!(mistake.hint.as_deref(), Some("write \"nowhere:6080\""));
        assert_eq!(parse_bind("*:6080", &kind).map(|a| a.to_string()), Ok("0.0.0.0:6080".into()));
    }

    /// The help was to write "6034:6033".
    #[test]
    fn of_a_port_alone_the_help_writes_a_host_that_fits_the_setting() {
        let hint = |mistake: Mistake| mistake.hint.unwrap();
        let listener = hint(parse_bind("6034", &Kind::Binds).unwrap_err());
        assert!(listener.starts_with("write \"0.0.0.0:6034\""), "{listener}");
        let operators = hint(parse_bind("6032", &Kind::BindOrOff { port: 6032 }).unwrap_err());
        assert!(operators.starts_with("write \"127.0.0.1:6032\""), "{operators}");
        let server = parse("3306").unwrap_err();
        assert!(server.what.contains("without a host"), "{server:?}");
        assert!(hint(server).contains("\"127.0.0.1:3306\""));
        assert!(parse("70000").unwrap_err().what.contains("`70000` is not a port"));
    }

    #[test]
    fn a_half_written_address_is_refused() {
        for text in [
            "db1",
            "10.0.0.300:3306",
            "db1:x",
            "db1:70000",
            "::1",
            "unix:x",
            "0.0.0.0:3306",
            "a b:1",
            "db:0",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn of_a_good_host_with_a_bad_port_the_port_is_blamed() {
        let mistake = parse_bind("127.0.0.1:99999", &Kind::Binds).unwrap_err();
        assert!(mistake.what.contains("`99999` is not a port"), "{mistake:?}");
    }

    #[test]
    fn a_wildcard_clashes_with_each_address_of_its_port() {
        let bind = |text: &str| parse_bind(text, &Kind::Binds).unwrap();
        assert!(clash(&bind("*:6033"), &bind("127.0.0.1:6033")));
        assert!(!clash(&bind("*:6033"), &bind("127.0.0.1:6034")));
        assert!(!clash(&bind("127.0.0.1:0"), &bind("127.0.0.1:0")));
        assert!(clash(&bind("unix:/a"), &bind("unix:/a")));
    }
}
