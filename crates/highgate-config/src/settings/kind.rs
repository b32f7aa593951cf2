//! Kinds of settings: how a text becomes a value, and within which range.

use std::time::Duration;

use ipnet::IpNet;

use super::{Value, address, command, route_text, vip_text};
use crate::{
    Secret,
    nearest::nearest,
    source::{password_of_parameters, passwords_of_accounts},
    units,
};

/// What may be written for a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `host:port`, `[v6]:port` or `unix:/path` to connect to.
    Address,
    /// One or several addresses to bind.
    Binds,
    /// A TCP address to bind, or `off`.
    BindOrOff {
        /// The port of the default, for who left it out.
        port: u16,
    },
    /// A size with its unit.
    Bytes {
        /// Smallest.
        min: u64,
        /// Largest.
        max: u64,
    },
    /// A check: one of its words, or a statement to run.
    Check,
    /// A program with its arguments, run without a shell.
    Command,
    /// A whole number.
    Count {
        /// Smallest.
        min: u64,
        /// Largest.
        max: u64,
    },
    /// A digest, `0x` and up to 16 hexadecimal digits.
    Digest,
    /// A time with its unit.
    Duration {
        /// Shortest.
        min: Duration,
        /// Longest.
        max: Duration,
    },
    /// `true` or `false`.
    Flag,
    /// The name of a network interface.
    Interface,
    /// An IP address.
    IpAddress,
    /// A MAC address of one host.
    Mac,
    /// The name of a thing or of an account.
    Name,
    /// One or several names.
    Names,
    /// One network or address.
    Network,
    /// One or several networks.
    Networks,
    /// A path of a file.
    Path,
    /// One or several peers of a vip.
    Peers,
    /// A regular expression.
    Regex,
    /// One or several routes of a vip.
    Routes,
    /// One or several rules of routing of a vip.
    RoutingRules,
    /// One secret.
    Secret,
    /// One or several secrets, any of which holds.
    Secrets,
    /// Any text.
    Text,
    /// What is tracked for a vip; one or several.
    Tracks,
    /// One or several addresses of a vip.
    VipAddresses,
    /// One or several named pipes that tell of vips.
    VipFifos,
    /// One of these words.
    Word(&'static [&'static str]),
}

/// What is wrong with a value, before its place is known.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Mistake {
    /// What is wrong.
    pub what: String,
    /// What may be written instead.
    pub expected: String,
    /// The known word that was probably meant.
    pub nearest: Option<String>,
    /// What to do about it.
    pub hint: Option<String>,
}

/// How a hidden secret is printed; it is refused as a secret, so that it is never applied.
pub(crate) const HIDDEN: &str = "(hidden)";

const CHECKS: &[&str] = &["connect", "handshake", "off", "ping"];
const LONGEST_NAME: usize = 128;

impl Kind {
    /// Reads one text; a list has one element then.
    ///
    /// # Errors
    /// What is wrong and what may be written instead. Of a text that must not be shown nothing is quoted.
    pub fn read(&self, text: &str) -> Result<Value, Mistake> {
        self.read_any(text).map_err(|mistake| match self.of_addresses() {
            Some(thing) if !self.may_be_shown(text) => self.mistake(format!("this is not {thing}")),
            _ => mistake,
        })
    }

    fn read_any(&self, text: &str) -> Result<Value, Mistake> {
        match self {
            Self::Address => address::parse(text).map(|one| Value::Addresses(vec![one])),
            Self::BindOrOff { .. } if text == "off" => Ok(Value::Absent),
            Self::Binds | Self::BindOrOff { .. } => {
                address::parse_bind(text, self).map(|one| Value::Addresses(vec![one]))
            }
            Self::Bytes { .. } => units::parse_size(text)
                .map(Value::Bytes)
                .ok_or_else(|| self.bad_unit(text))
                .and_then(|value| self.in_range(value)),
            Self::Check => self.read_check(text),
            Self::Command => command::split(text).map(|_| Value::Text(text.to_owned())),
            Self::Count { .. } => text
                .parse()
                .map(Value::Count)
                .map_err(|_| self.mistake(format!("`{}` is not a whole number", short(text))))
                .and_then(|value| self.in_range(value)),
            Self::Digest => self.read_digest(text),
            Self::Duration { .. } => units::parse_duration(text)
                .map(Value::Duration)
                .ok_or_else(|| self.bad_unit(text))
                .and_then(|value| self.in_range(value)),
            Self::Flag => match text {
                "true" => Ok(Value::Flag(true)),
                "false" => Ok(Value::Flag(false)),
                _ => Err(self.mistake(format!("`{}` is neither true nor false", short(text)))),
            },
            Self::Interface => vip_text::interface(text).map(Value::Text),
            Self::IpAddress => vip_text::ip(text).map(Value::Ip),
            Self::Mac => route_text::mac(text).map(Value::Text),
            Self::Name => self.read_name(text),
            Self::Names => self.read_name(text).map(|name| Value::Names(vec![name.text()])),
            Self::Network | Self::Networks => self.read_network(text),
            Self::Path if text.is_empty() => Err(self.mistake("the path is empty".to_owned())),
            Self::Peers => vip_text::peer(text).map(|one| Value::Peers(vec![one])),
            Self::Regex => self.read_regex(text),
            Self::Routes => route_text::route(text).map(|one| Value::Routes(vec![one])),
            Self::RoutingRules => route_text::rule(text).map(|one| Value::RoutingRules(vec![one])),
            Self::Secret | Self::Secrets => self.read_secret(text),
            Self::Path | Self::Text => self.without_nul(text),
            Self::Tracks => vip_text::track(text).map(|one| Value::Tracks(vec![one])),
            Self::VipAddresses => vip_text::address(text).map(|one| Value::VipAddresses(vec![one])),
            Self::VipFifos => route_text::fifo(text).map(|one| Value::VipFifos(vec![one])),
            Self::Word(words) => read_word(text, words),
        }
    }

    /// Looks whether a value lies within the range.
    ///
    /// # Errors
    /// The range, and the value that lies outside of it.
    pub fn in_range(&self, value: Value) -> Result<Value, Mistake> {
        let outside = match (self, &value) {
            (Self::Bytes { min, max }, Value::Bytes(it))
            | (Self::Count { min, max }, Value::Count(it)) => it < min || it > max,
            (Self::Duration { min, max }, Value::Duration(it)) => it < min || it > max,
            _ => false,
        };
        if outside { Err(self.mistake(format!("{value} is out of range"))) } else { Ok(value) }
    }

    /// Looks whether a value that was not read from a text could have been.
    pub(crate) fn check(&self, value: Value) -> Result<(), Mistake> {
        match value {
            Value::Text(text) => self.read(&text).map(|_| ()),
            value => self.in_range(value).map(|_| ()),
        }
    }

    /// Whether `off` may be written for "not set".
    pub(crate) const fn has_off(&self) -> bool {
        matches!(self, Self::BindOrOff { .. })
    }

    /// Whether a text that was refused may be quoted, and shown in its line: where addresses belong,
    /// addresses of other programs are written that have an account.
    pub(crate) fn may_be_shown(&self, text: &str) -> bool {
        match self {
            Self::Address | Self::Binds | Self::BindOrOff { .. } => address::may_be_shown(text),
            Self::IpAddress | Self::Network | Self::Networks => address::may_be_shown_as_ip(text),
            _ if self.of_addresses().is_some() => vip_text::may_be_shown(text),
            _ => true,
        }
    }

    /// What is made of IP addresses, in words.
    const fn of_addresses(&self) -> Option<&'static str> {
        Some(match self {
            Self::IpAddress => "an IP address",
            Self::Network | Self::Networks => "a network",
            Self::Peers => "the address of a peer",
            Self::Routes => "a route",
            Self::RoutingRules => "a rule of routing",
            Self::VipAddresses => "an address of a vip",
            _ => return None,
        })
    }

    /// Whether several values may be given as an array.
    #[must_use]
    pub const fn is_list(&self) -> bool {
        matches!(
            self,
            Self::Binds
                | Self::Names
                | Self::Networks
                | Self::Peers
                | Self::Routes
                | Self::RoutingRules
                | Self::Secrets
                | Self::Tracks
                | Self::VipAddresses
                | Self::VipFifos
        )
    }

    /// No value at all, of a kind that `is_list`.
    pub(crate) const fn empty_list(&self) -> Value {
        match self {
            Self::Binds => Value::Addresses(Vec::new()),
            Self::Names => Value::Names(Vec::new()),
            Self::Networks => Value::Networks(Vec::new()),
            Self::Peers => Value::Peers(Vec::new()),
            Self::Routes => Value::Routes(Vec::new()),
            Self::RoutingRules => Value::RoutingRules(Vec::new()),
            Self::Tracks => Value::Tracks(Vec::new()),
            Self::VipAddresses => Value::VipAddresses(Vec::new()),
            Self::VipFifos => Value::VipFifos(Vec::new()),
            _ => Value::Secrets(Vec::new()),
        }
    }

    /// What may be written, in words.
    #[must_use]
    pub fn expected(&self) -> String {
        match self {
            Self::Address => "\"host:port\", \"[v6]:port\" or \"unix:/path\"".to_owned(),
            Self::Binds => {
                "\"host:port\", \"*:port\", \"[v6]:port\", \"unix:/path\" or a list of them"
                    .to_owned()
            }
            Self::BindOrOff { .. } => {
                "\"host:port\", \"*:port\", \"[v6]:port\" or \"off\"".to_owned()
            }
            Self::Bytes { min, max } => {
                let (min, max) = (units::size_text(*min), units::size_text(*max));
                format!("a size with its unit, \"{min}\" to \"{max}\"")
            }
            Self::Check => format!("{} or a statement", quoted(CHECKS)),
            Self::Command => command::EXPECTED.to_owned(),
            Self::Count { min, max } => format!("a whole number, {min} to {max}"),
            Self::Digest => "\"0x\" and up to 16 hexadecimal digits".to_owned(),
            Self::Duration { min, max } => {
                let (min, max) = (units::duration_text(*min), units::duration_text(*max));
                format!("a time with its unit, \"{min}\" to \"{max}\"")
            }
            Self::Flag => "true or false".to_owned(),
            Self::Interface => "the name of a network interface".to_owned(),
            Self::IpAddress => "an IP address".to_owned(),
            Self::Mac => route_text::MAC.to_owned(),
            Self::Name => "a name".to_owned(),
            Self::Names => "a name or a list of names".to_owned(),
            Self::Network => "a network such as \"10.0.0.0/8\"".to_owned(),
            Self::Networks => "a network such as \"10.0.0.0/8\" or a list of them".to_owned(),
            Self::Path => "a path".to_owned(),
            Self::Peers => format!("{}, or a list of them", vip_text::PEER),
            Self::Regex => "a regular expression".to_owned(),
            Self::Routes => format!("{}, or a list of them", route_text::ROUTE),
            Self::RoutingRules => format!("{}, or a list of them", route_text::RULE),
            Self::Secret => "a secret as text".to_owned(),
            Self::Secrets => "a secret as text, or a list of them".to_owned(),
            Self::Text => "a text".to_owned(),
            Self::Tracks => format!("{}, or a list of them", vip_text::TRACK),
            Self::VipAddresses => format!("{}, or a list of them", vip_text::ADDRESS),
            Self::VipFifos => format!("{}, or a list of them", route_text::FIFO),
            Self::Word(words) => quoted(words),
        }
    }

    pub(crate) fn mistake(&self, what: String) -> Mistake {
        Mistake { what, expected: self.expected(), ..Mistake::default() }
    }

    pub(crate) fn bad_unit(&self, text: &str) -> Mistake {
        let bare = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let what = if bare {
            format!("`{}` has no unit", short(text))
        } else {
            format!("`{}` is not a whole number with a unit", short(text))
        };
        let hint = match (bare, self) {
            (true, Self::Bytes { .. }) => {
                let exact = text.parse().map_or_else(|_| "1MiB".to_owned(), units::size_text);
                format!("write \"{exact}\"")
            }
            (true, _) => format!("write \"{0}ms\" or \"{0}s\"", short(text)),
            (false, Self::Bytes { .. }) => "the units are B, KiB, MiB, GiB, TiB".to_owned(),
            (false, _) => "the units are ms, s, m, h, d".to_owned(),
        };
        Mistake { hint: Some(hint), ..self.mistake(what) }
    }

    fn read_check(&self, text: &str) -> Result<Value, Mistake> {
        if CHECKS.contains(&text) || text.trim().contains(char::is_whitespace) {
            return self.without_nul(text);
        }
        read_word(text, CHECKS).map_err(|mistake| Mistake { expected: self.expected(), ..mistake })
    }

    fn read_digest(&self, text: &str) -> Result<Value, Mistake> {
        text.strip_prefix("0x")
            .or_else(|| text.strip_prefix("0X"))
            .filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()))
            .and_then(|digits| u64::from_str_radix(digits, 16).ok())
            .map(Value::Digest)
            .ok_or_else(|| self.mistake(format!("`{}` is not a digest", short(text))))
    }

    fn read_name(&self, text: &str) -> Result<Value, Mistake> {
        if text.is_empty() {
            return Err(self.mistake("the name is empty".to_owned()));
        }
        if text.len() > LONGEST_NAME {
            return Err(self.mistake(format!("the name is longer than {LONGEST_NAME} bytes")));
        }
        if text.chars().any(char::is_control) {
            return Err(self.mistake("the name has a control character".to_owned()));
        }
        Ok(Value::Text(text.to_owned()))
    }

    fn read_network(&self, text: &str) -> Result<Value, Mistake> {
        let network = text
            .parse::<IpNet>()
            .or_else(|_| text.parse::<std::net::IpAddr>().map(IpNet::from))
            .map_err(|_| self.mistake(format!("`{}` is not a network", short(text))))?;
        Ok(Value::Networks(vec![unmapped(network).trunc()]))
    }

    /// Whether it is not too large depends on its rule, which is whole only later.
    fn read_regex(&self, text: &str) -> Result<Value, Mistake> {
        let why = |why| self.mistake(format!("the regular expression is not valid: {why}"));
        crate::pattern::well_formed(text).map_err(why)?;
        Ok(Value::Text(text.to_owned()))
    }

    fn read_secret(&self, text: &str) -> Result<Value, Mistake> {
        if text == HIDDEN {
            let hint =
                "this text was printed with its secrets hidden; put the secret in".to_owned();
            return Err(Mistake {
                hint: Some(hint),
                ..self.mistake("the secret is missing".to_owned())
            });
        }
        Ok(Value::Secrets(vec![Secret::new(text)]))
    }

    fn without_nul(&self, text: &str) -> Result<Value, Mistake> {
        if text.contains('\0') {
            return Err(self.mistake("the text has a NUL byte".to_owned()));
        }
        Ok(Value::Text(text.to_owned()))
    }
}

/// IPv4 written as IPv6 is IPv4, as clients' addresses are.
fn unmapped(network: IpNet) -> IpNet {
    let IpNet::V6(v6) = network else { return network };
    let v4 = v6.addr().to_ipv4_mapped().zip(v6.prefix_len().checked_sub(96));
    let v4 = v4.and_then(|(address, length)| ipnet::Ipv4Net::new(address, length).ok());
    v4.map_or(network, IpNet::V4)
}

fn read_word(text: &str, words: &[&str]) -> Result<Value, Mistake> {
    if words.contains(&text) {
        return Ok(Value::Text(text.to_owned()));
    }
    Err(Mistake {
        what: format!("`{}` is not known here", short(text)),
        expected: quoted(words),
        nearest: nearest(text, words.iter().copied()).map(str::to_owned),
        hint: None,
    })
}

fn quoted(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
    quoted.join(", ")
}

/// A foreign text as far as an error may quote it: no password that is named as one, or stands before a host.
pub(crate) fn short(text: &str) -> String {
    let named = password_of_parameters(text).and_then(|at| text.get(..at));
    let quoted = named.unwrap_or(text);
    let accounts = passwords_of_accounts(quoted);
    let is_hidden = |at| accounts.iter().any(|range| range.contains(&at));
    let shown = |(at, c): (usize, char)| if c.is_control() || is_hidden(at) { '·' } else { c };
    let mut shown: String = quoted.char_indices().take(40).map(shown).collect();
    if named.is_some() || quoted.chars().nth(40).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ipv4_written_as_ipv6_is_ipv4() {
        let network = |text: &str| unmapped(text.parse::<IpNet>().unwrap()).to_string();
        assert_eq!(network("::ffff:10.1.0.0/112"), "10.1.0.0/16");
        assert_eq!(network("::ffff:0.0.0.0/96"), "0.0.0.0/0");
        assert_eq!(network("::/0"), "::/0");
        assert_eq!(network("2001:db8::/32"), "2001:db8::/32");
    }
}
