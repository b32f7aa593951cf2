//! Which program a configuration file is written for, by its content.
//!
//! The first line that says something decides: each of these forms begins in a way that the others
//! do not allow. Where that line is mistyped, the first known one after it does. An importer is one
//! arm where a file is read (`native`).

use std::{fmt, ops::Range};

/// The form of a configuration file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// haproxy.cfg.
    Haproxy,
    /// keepalived.conf.
    Keepalived,
    /// maxscale.cnf.
    Maxscale,
    /// Highgate's own, in TOML.
    Native,
    /// proxysql.cnf.
    Proxysql,
}

impl Dialect {
    /// The form of this text; Highgate's own unless it is surely another one.
    #[must_use]
    pub fn of(text: &str) -> Self {
        let Some(line) = text.get(first_line(text)) else {
            return Self::Native;
        };
        let line = line.trim();
        if line.is_empty() && text.lines().any(|remark| remark.trim_start().starts_with('!')) {
            return Self::Keepalived;
        }
        if line.starts_with('[') {
            let is_maxscale = line.eq_ignore_ascii_case("[maxscale]") || text.lines().any(is_type);
            return if is_maxscale { Self::Maxscale } else { Self::Native };
        }
        // No line of TOML begins like this, or does without a `=`.
        let is_toml = line.contains('=') && !line.starts_with(['$', '@']);
        match Self::of_line(line) {
            Self::Native if !is_toml => {
                let known = text.lines().map(Self::of_line).find(|it| *it != Self::Native);
                known.unwrap_or(Self::Native)
            }
            known => known,
        }
    }

    /// The form that begins with such a line.
    fn of_line(line: &str) -> Self {
        let line = line.trim();
        let word = line.split([' ', '\t', '=', '{', ':']).next().unwrap_or_default();
        let rest = line.strip_prefix(word).unwrap_or_default().trim_start();
        let assigns = rest.starts_with(['=', ':']);
        match word {
            _ if PROXYSQL.contains(&word) && assigns => Self::Proxysql,
            _ if HAPROXY.contains(&word) && !assigns => Self::Haproxy,
            _ if KEEPALIVED.contains(&word) && !assigns => Self::Keepalived,
            _ => Self::Native,
        }
    }
}

/// How sections of haproxy.cfg begin.
const HAPROXY: &[&str] = &[
    "backend",
    "cache",
    "defaults",
    "fcgi-app",
    "frontend",
    "global",
    "http-errors",
    "listen",
    "mailers",
    "peers",
    "program",
    "resolvers",
    "ring",
    "userlist",
];
/// How blocks of keepalived.conf begin.
const KEEPALIVED: &[&str] = &[
    "bfd_instance",
    "garp_group",
    "global_defs",
    "include",
    "linkbeat_use_polling",
    "local_address_group",
    "net_namespace",
    "static_ipaddress",
    "static_routes",
    "static_rules",
    "track_group",
    "virtual_server",
    "virtual_server_group",
    "vrrp_instance",
    "vrrp_script",
    "vrrp_sync_group",
    "vrrp_track_file",
    "vrrp_track_process",
];
/// The first keys of proxysql.cnf.
const PROXYSQL: &[&str] = &[
    "admin_variables",
    "datadir",
    "errorlog",
    "mysql_galera_hostgroups",
    "mysql_query_rules",
    "mysql_replication_hostgroups",
    "mysql_servers",
    "mysql_users",
    "mysql_variables",
    "proxysql_servers",
    "scheduler",
];

/// Where the first line is that says something.
pub(crate) fn first_line(text: &str) -> Range<usize> {
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let bare = line.trim();
        if !bare.is_empty() && !bare.starts_with(['#', '!', ';']) {
            return start..start + line.trim_end().len();
        }
        start += line.len();
    }
    0..0
}

/// `type=server`, as each section of maxscale.cnf has it: without quotes it is no TOML.
fn is_type(line: &str) -> bool {
    let Some((key, value)) = line.split_once('=') else {
        return false;
    };
    let kinds = ["filter", "listener", "monitor", "server", "service"];
    key.trim() == "type" && kinds.contains(&value.trim())
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Haproxy => "a configuration of HAProxy",
            Self::Keepalived => "a configuration of Keepalived",
            Self::Maxscale => "a configuration of MaxScale",
            Self::Native => "a configuration of Highgate",
            Self::Proxysql => "a configuration of ProxySQL",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_form_is_known_by_its_first_line() {
        for (text, dialect) in [
            ("", Dialect::Native),
            ("# only words\n", Dialect::Native),
            ("workers = 2\n", Dialect::Native),
            ("[admin]\nsql = '127.0.0.1:6032'\n", Dialect::Native),
            ("[[listener]]\nname = 'global'\n", Dialect::Native),
            ("backend = 'x'\n", Dialect::Native),
            ("# Ansible\n\nglobal\n    maxconn 100\n", Dialect::Haproxy),
            ("frontend shop\n    bind :80\n", Dialect::Haproxy),
            ("! Configuration File for keepalived\nglobal_defs {\n}\n", Dialect::Keepalived),
            ("vrrp_instance VI_1 {\n", Dialect::Keepalived),
            ("vrrp_script chk{\n", Dialect::Keepalived),
            ("$NET=10.0.0\n\nvrrp_instance V {\n", Dialect::Keepalived),
            ("@one global_defs {\n}\nvrrp_instance V {\n", Dialect::Keepalived),
            ("vrrp_instnace V {\n}\nvrrp_script x {\n", Dialect::Keepalived),
            ("globl\n  maxconn 5\ndefaults\n  mode tcp\n", Dialect::Haproxy),
            ("wrokers 4\n", Dialect::Native),
            ("datadir=\"/var/lib/proxysql\"\n", Dialect::Proxysql),
            ("admin_variables=\n{\n", Dialect::Proxysql),
            ("mysql_servers:\n(\n", Dialect::Proxysql),
            ("[maxscale]\nthreads=auto\n", Dialect::Maxscale),
            ("[db1]\ntype=server\naddress=10.0.0.1\n", Dialect::Maxscale),
        ] {
            assert_eq!(Dialect::of(text), dialect, "{text}");
        }
    }
}
