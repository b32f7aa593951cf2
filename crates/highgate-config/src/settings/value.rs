//! A setting's value between its text and its field.

use std::{fmt, net::IpAddr, path::PathBuf, time::Duration};

use ipnet::IpNet;

use crate::{Address, Peer, Secret, Track, VipAddress, VipFifo, VipRoute, VipRule, units};

/// A value that fits a setting's `Kind`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// Not set.
    Absent,
    /// Addresses; one or several.
    Addresses(Vec<Address>),
    /// A size in bytes.
    Bytes(u64),
    /// A whole number.
    Count(u64),
    /// A digest.
    Digest(u64),
    /// A time.
    Duration(Duration),
    /// Yes or no.
    Flag(bool),
    /// An IP address.
    Ip(IpAddr),
    /// Names; one or several.
    Names(Vec<String>),
    /// Networks; one or several.
    Networks(Vec<IpNet>),
    /// Peers of a vip; one or several.
    Peers(Vec<Peer>),
    /// Routes of a vip; one or several.
    Routes(Vec<VipRoute>),
    /// Rules of routing of a vip; one or several.
    RoutingRules(Vec<VipRule>),
    /// Secrets; one or several.
    Secrets(Vec<Secret>),
    /// A text, word, name or path.
    Text(String),
    /// What is tracked; one or several.
    Tracks(Vec<Track>),
    /// Addresses of a vip; one or several.
    VipAddresses(Vec<VipAddress>),
    /// Named pipes that tell of vips; one or several.
    VipFifos(Vec<VipFifo>),
}

impl Value {
    /// The text in it, empty where there is none.
    #[must_use]
    pub fn text(self) -> String {
        match self {
            Self::Text(text) => text,
            _ => String::new(),
        }
    }

    pub(crate) fn some_text(self) -> Option<String> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn path(self) -> Option<PathBuf> {
        self.some_text().map(PathBuf::from)
    }

    pub(crate) fn flag(self) -> bool {
        matches!(self, Self::Flag(true))
    }

    pub(crate) fn count(self) -> u32 {
        match self {
            Self::Count(count) => u32::try_from(count).unwrap_or(u32::MAX),
            _ => 0,
        }
    }

    pub(crate) fn some_count(self) -> Option<u32> {
        match self {
            Self::Count(_) => Some(self.count()),
            _ => None,
        }
    }

    pub(crate) fn bytes(self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes,
            _ => 0,
        }
    }

    pub(crate) fn some_digest(self) -> Option<u64> {
        match self {
            Self::Digest(digest) => Some(digest),
            _ => None,
        }
    }

    pub(crate) fn duration(self) -> Duration {
        self.some_duration().unwrap_or_default()
    }

    pub(crate) fn some_duration(self) -> Option<Duration> {
        match self {
            Self::Duration(duration) => Some(duration),
            _ => None,
        }
    }

    pub(crate) fn some_flag(self) -> Option<bool> {
        match self {
            Self::Flag(flag) => Some(flag),
            _ => None,
        }
    }

    pub(crate) fn addresses(self) -> Vec<Address> {
        match self {
            Self::Addresses(addresses) => addresses,
            _ => Vec::new(),
        }
    }

    pub(crate) fn networks(self) -> Vec<IpNet> {
        match self {
            Self::Networks(networks) => networks,
            _ => Vec::new(),
        }
    }

    pub(crate) fn secrets(self) -> Vec<Secret> {
        match self {
            Self::Secrets(secrets) => secrets,
            _ => Vec::new(),
        }
    }

    pub(crate) fn some_ip(self) -> Option<IpAddr> {
        match self {
            Self::Ip(address) => Some(address),
            _ => None,
        }
    }

    pub(crate) fn names(self) -> Vec<String> {
        match self {
            Self::Names(names) => names,
            _ => Vec::new(),
        }
    }

    pub(crate) fn peers(self) -> Vec<Peer> {
        match self {
            Self::Peers(peers) => peers,
            _ => Vec::new(),
        }
    }

    pub(crate) fn tracks(self) -> Vec<Track> {
        match self {
            Self::Tracks(tracks) => tracks,
            _ => Vec::new(),
        }
    }

    pub(crate) fn vip_addresses(self) -> Vec<VipAddress> {
        match self {
            Self::VipAddresses(addresses) => addresses,
            _ => Vec::new(),
        }
    }

    pub(crate) fn routes(self) -> Vec<VipRoute> {
        match self {
            Self::Routes(routes) => routes,
            _ => Vec::new(),
        }
    }

    pub(crate) fn routing_rules(self) -> Vec<VipRule> {
        match self {
            Self::RoutingRules(rules) => rules,
            _ => Vec::new(),
        }
    }

    pub(crate) fn vip_fifos(self) -> Vec<VipFifo> {
        match self {
            Self::VipFifos(fifos) => fifos,
            _ => Vec::new(),
        }
    }

    pub(crate) fn of_text(text: Option<&str>) -> Self {
        text.map_or(Self::Absent, |text| Self::Text(text.to_owned()))
    }

    pub(crate) fn of_path(path: Option<&PathBuf>) -> Self {
        path.map_or(Self::Absent, |path| Self::Text(path.display().to_string()))
    }

    pub(crate) fn of_word(word: &'static str) -> Self {
        Self::Text(word.to_owned())
    }
}

/// As an operator may read it: secrets are not shown.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("(not set)"),
            Self::Addresses(list) => joined(f, list),
            Self::Bytes(bytes) => f.write_str(&units::size_text(*bytes)),
            Self::Count(count) => write!(f, "{count}"),
            Self::Digest(digest) => write!(f, "0x{digest:016X}"),
            Self::Duration(duration) => f.write_str(&units::duration_text(*duration)),
            Self::Flag(flag) => write!(f, "{flag}"),
            Self::Ip(address) => write!(f, "{address}"),
            Self::Names(list) => joined(f, list),
            Self::Networks(list) => joined(f, list),
            Self::Peers(list) => joined(f, list),
            Self::Routes(list) => joined(f, list),
            Self::RoutingRules(list) => joined(f, list),
            Self::Secrets(_) => f.write_str("(secret)"),
            Self::Text(text) => write!(f, "{text:?}"),
            Self::Tracks(list) => joined(f, list),
            Self::VipAddresses(list) => joined(f, list),
            Self::VipFifos(list) => joined(f, list),
        }
    }
}

fn joined<T: fmt::Display>(f: &mut fmt::Formatter<'_>, list: &[T]) -> fmt::Result {
    if list.is_empty() {
        return f.write_str("(none)");
    }
    for (index, item) in list.iter().enumerate() {
        write!(f, "{}{item}", if index == 0 { "" } else { ", " })?;
    }
    Ok(())
}
