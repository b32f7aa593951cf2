//! What moves with the addresses of a vip beside them: routes, rules of routing, and the named pipes
//! that tell of it.
//!
//! Each is written as its `Display` shows it, in the words of `ip route` and `ip rule`.

use std::{fmt, net::IpAddr};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::Scope;

/// A route that is there while the vip is active.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VipRoute {
    /// What becomes of packets.
    pub kind: RouteKind,
    /// Where they go.
    pub network: IpNet,
    /// The next router.
    pub via: Option<IpAddr>,
    /// The interface by which they leave.
    pub device: Option<String>,
    /// The source address of what this machine sends by it.
    pub source: Option<IpAddr>,
    /// The table of routes; `None` = `main`.
    pub table: Option<u32>,
    /// Of several to one network, the lowest prevails.
    pub metric: Option<u32>,
    /// How far the network is; `None` = as the kernel's tools have it.
    pub scope: Option<Scope>,
    /// The largest packet.
    pub mtu: Option<u32>,
    /// Whether the next router is taken to be on the link.
    pub onlink: bool,
}

/// What becomes of the packets of a route or rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum RouteKind {
    /// They are dropped.
    Blackhole,
    /// They are refused as forbidden.
    Prohibit,
    /// They go on.
    Unicast,
    /// They are refused as unreachable.
    Unreachable,
}

impl RouteKind {
    /// Its word; none where packets go on.
    #[must_use]
    pub const fn word(self) -> Option<&'static str> {
        match self {
            Self::Blackhole => Some("blackhole"),
            Self::Prohibit => Some("prohibit"),
            Self::Unicast => None,
            Self::Unreachable => Some("unreachable"),
        }
    }
}

/// A rule that says by which table packets are routed, while the vip is active.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VipRule {
    /// From where packets come; `None` = anywhere.
    pub from: Option<IpNet>,
    /// Where they go; `None` = anywhere.
    pub to: Option<IpNet>,
    /// The interface by which they came.
    pub input: Option<String>,
    /// The interface that a local socket is bound to.
    pub output: Option<String>,
    /// Their mark, and the bits of it that count.
    pub mark: Option<(u32, u32)>,
    /// The table of routes, where they go on.
    pub table: Option<u32>,
    /// What becomes of them.
    pub kind: RouteKind,
    /// The lowest is looked at first.
    pub priority: u32,
}

impl VipRule {
    /// Whether it is for IPv6; what names no network is for IPv4.
    #[must_use]
    pub fn is_v6(&self) -> bool {
        matches!((self.from, self.to), (Some(IpNet::V6(_)), _) | (_, Some(IpNet::V6(_))))
    }
}

/// A named pipe into which each change of a vip is written, as Keepalived does it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VipFifo {
    /// Where it is.
    pub path: String,
    /// Who may read it, `user` or `user:group`; `None` = root.
    pub owner: Option<String>,
    /// Account of the script; `None` as for [`crate::Notify::user`].
    pub user: Option<String>,
    /// What is run all the while, with the path as its last argument.
    pub script: Option<String>,
}

impl fmt::Display for VipRoute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(word) = self.kind.word() {
            write!(f, "{word} ")?;
        }
        write!(f, "{}", self.network)?;
        let words = [
            ("via", self.via.map(|it| it.to_string())),
            ("dev", self.device.clone()),
            ("src", self.source.map(|it| it.to_string())),
            ("table", self.table.map(|it| it.to_string())),
            ("metric", self.metric.map(|it| it.to_string())),
            ("scope", self.scope.map(|it| it.to_string())),
            ("mtu", self.mtu.map(|it| it.to_string())),
        ];
        for (word, value) in words.iter().filter_map(|(word, it)| Some((word, it.as_ref()?))) {
            write!(f, " {word} {value}")?;
        }
        if self.onlink { f.write_str(" onlink") } else { Ok(()) }
    }
}

impl fmt::Display for VipRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.from {
            Some(network) => write!(f, "from {network}")?,
            None => f.write_str("from all")?,
        }
        let mark = self.mark.map(|(mark, mask)| match mask {
            u32::MAX => format!("{mark:#x}"),
            mask => format!("{mark:#x}/{mask:#x}"),
        });
        let words = [
            ("to", self.to.map(|it| it.to_string())),
            ("iif", self.input.clone()),
            ("oif", self.output.clone()),
            ("fwmark", mark),
            ("table", self.table.map(|it| it.to_string())),
        ];
        for (word, value) in words.iter().filter_map(|(word, it)| Some((word, it.as_ref()?))) {
            write!(f, " {word} {value}")?;
        }
        if let Some(word) = self.kind.word() {
            write!(f, " {word}")?;
        }
        write!(f, " priority {}", self.priority)
    }
}

impl fmt::Display for VipFifo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path)?;
        let words = [("owner", &self.owner), ("user", &self.user), ("script", &self.script)];
        for (word, value) in words.iter().filter_map(|(word, it)| Some((word, it.as_ref()?))) {
            write!(f, " {word} {value}")?;
        }
        Ok(())
    }
}
