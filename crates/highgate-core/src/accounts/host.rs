//! The host part of an account: what it matches, and which of two comes first.

use std::{
    cmp::Ordering,
    fmt,
    net::{IpAddr, Ipv4Addr},
};

use highgate_mysql::capability::ServerFlavor;
use ipnet::IpNet;

use super::Origin;

/// Longest host name of the servers, on which their order depends.
const LONGEST: usize = 255;
/// Beyond so many wildcards the servers count no further.
const MANY: usize = 31;
/// Wildcards beyond that are as far behind to MySQL.
const FARTHEST: usize = 127;

/// A host pattern: `%` and `_` over names and numeric addresses, or a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPattern {
    text: String,
    network: Option<IpNet>,
}

impl HostPattern {
    /// Reads it as servers do: nothing at all is everywhere, `address/mask` and `address/bits` are
    /// networks, the rest is a pattern.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let network = text.split_once('/').and_then(|(address, mask)| {
            let address: IpAddr = address.parse().ok()?;
            let net = match mask.parse::<IpAddr>() {
                Ok(mask) => IpNet::with_netmask(address, mask).ok()?,
                Err(_) => IpNet::new(address, mask.parse().ok()?).ok()?,
            };
            Some(net.trunc())
        });
        Self { text: text.to_owned(), network }
    }

    /// Whether a client from there fits. With `resolves_names` loopback is `localhost`, too.
    #[must_use]
    pub fn matches(&self, from: Origin, resolves_names: bool) -> bool {
        if self.text.is_empty() {
            return true;
        }
        match from {
            Origin::Local => like(&self.text, "localhost"),
            Origin::Address(address) => {
                let address = address.to_canonical();
                let is_inside = self.network.is_some_and(|network| network.contains(&address));
                is_inside
                    || like(&self.text, &address.to_string())
                    || (resolves_names && address.is_loopback() && like(&self.text, "localhost"))
            }
        }
    }

    /// Whether it is the name of a host, which is never looked up here.
    #[must_use]
    pub fn is_name(&self) -> bool {
        let is_pattern = self.text.is_empty() || self.text.contains(['%', '_']);
        !is_pattern
            && self.network.is_none()
            && self.text.parse::<IpAddr>().is_err()
            && !self.text.eq_ignore_ascii_case("localhost")
    }

    /// The servers' order: the one that could fit fewer hosts comes first, as that server counts.
    #[must_use]
    pub fn cmp_precedence(&self, other: &Self, flavor: ServerFlavor) -> Ordering {
        if flavor == ServerFlavor::MySql {
            return self.place_in_mysql().cmp(&other.place_in_mysql());
        }
        let bits = |pattern: &Self| {
            pattern.network.map_or(0, |network| network.max_prefix_len() - network.prefix_len())
        };
        self.breadth().cmp(&other.breadth()).then(bits(self).cmp(&bits(other)))
    }

    /// MySQL's order: addresses, networks by bits, networks by mask, the narrower of them first; then
    /// the rest by where the first wildcard is, later first, and nothing at all behind everything.
    fn place_in_mysql(&self) -> (u8, usize) {
        let (address, mask) =
            self.text.split_once('/').map_or((&*self.text, None), |(a, m)| (a, Some(m)));
        if address.parse::<Ipv4Addr>().is_ok() {
            let open =
                self.network.map_or(0, |it| usize::from(it.max_prefix_len() - it.prefix_len()));
            return match mask {
                None => (0, 0),
                Some(mask) if mask.contains('.') => (2, open),
                Some(_) => (1, open),
            };
        }
        let mut bytes = self.text.bytes().enumerate().peekable();
        while let Some((at, byte)) = bytes.next() {
            match byte {
                b'\\' if bytes.peek().is_some() => drop(bytes.next()),
                b'%' | b'_' => return (4, FARTHEST.saturating_sub((at + 1).min(FARTHEST))),
                _ => {}
            }
        }
        (if self.text.is_empty() { 5 } else { 3 }, 0)
    }

    /// How much it could fit, so that less sorts first: by the characters that are left open, then
    /// by the kind and number of wildcards, then by the characters before the first.
    fn breadth(&self) -> (usize, usize, usize, usize) {
        let (mut literals, mut singles, mut runs, mut before) = (0_usize, 0_usize, 0_usize, 0);
        let text = if self.text.is_empty() { "%" } else { &self.text };
        let mut bytes = text.bytes().peekable();
        while let Some(byte) = bytes.next() {
            let is_first = singles == 0 && runs == 0;
            match byte {
                b'%' => {
                    before = if is_first { literals } else { before };
                    runs += 1;
                    while bytes.next_if_eq(&b'%').is_some() {}
                }
                b'_' => {
                    before = if is_first { literals } else { before };
                    singles += 1;
                }
                b'\\' if bytes.peek().is_some() => {
                    bytes.next();
                    literals += 1;
                }
                _ => literals += 1,
            }
        }
        let (singles, runs) = (singles.min(MANY), runs.min(MANY));
        let open = if runs > 0 { LONGEST.saturating_sub(literals + singles) } else { 0 };
        if open > singles {
            (open * 2 + 1, runs, singles, before)
        } else {
            (singles * 2, open, runs, before)
        }
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.text.is_empty() { "%" } else { &self.text })
    }
}

/// SQL's LIKE over ASCII, whatever the case: `%` any text, `_` any character, `\` takes the next as
/// it is.
fn like(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t) = (0, 0);
    // Where to go on when the last `%` has to swallow one more.
    let mut again: Option<(usize, usize)> = None;
    loop {
        let step = match (pattern.get(p), text.get(t)) {
            (None, None) => return true,
            (Some(b'%'), _) => {
                again = Some((p, t));
                Some((p + 1, t))
            }
            (Some(b'_'), Some(_)) => Some((p + 1, t + 1)),
            (Some(b'\\'), Some(byte)) if p + 1 < pattern.len() => {
                let is_same =
                    pattern.get(p + 1).is_some_and(|want| want.eq_ignore_ascii_case(byte));
                is_same.then_some((p + 2, t + 1))
            }
            (Some(want), Some(byte)) if want.eq_ignore_ascii_case(byte) => Some((p + 1, t + 1)),
            _ => None,
        };
        (p, t) = match (step, again) {
            (Some(next), _) => next,
            (None, Some((at, from))) if from < text.len() => {
                again = Some((at, from + 1));
                (at + 1, from + 1)
            }
            _ => return false,
        };
    }
}
