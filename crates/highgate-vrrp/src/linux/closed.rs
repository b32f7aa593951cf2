//! Addresses that answer nobody although they are held (`accept = false`, RFC 9568 §6.1): packets to
//! them are dropped by nftables, but for what finds their owner on the link.
//!
//! The rules are there as long as such vips are, held or not: they meet only packets to addresses of
//! this machine, and an address is never there before its rule. Each change makes the table anew, in
//! one transaction.

use std::{
    collections::BTreeSet,
    io,
    net::IpAddr,
    process::{Command, Stdio},
};

use crate::settings::Settings;

/// The table that is ours alone.
const TABLE: &str = "inet highgate_vips";
const PROGRAM: &str = "/usr/sbin/nft";

/// The addresses of routers that are closed to all packets.
pub(crate) fn closed(all: &[Settings]) -> BTreeSet<IpAddr> {
    let closed = all.iter().filter(|settings| !settings.accept && !settings.is_owner());
    closed.flat_map(|settings| &settings.addresses).map(|address| address.address).collect()
}

/// Closes these addresses to all packets, and opens all others.
pub(crate) fn command(addresses: &BTreeSet<IpAddr>) -> Vec<String> {
    // Adding what is there is no error, removing what is not there is one.
    let mut text = format!("add table {TABLE}; delete table {TABLE};");
    if !addresses.is_empty() {
        text.push_str(&format!(
            " add table {TABLE}; add set {TABLE} v4 {{ type ipv4_addr; }}; \
             add set {TABLE} v6 {{ type ipv6_addr; }}; \
             add chain {TABLE} input {{ type filter hook input priority -10; }}; \
             add rule {TABLE} input ip daddr @v4 drop; \
             add rule {TABLE} input ip6 daddr @v6 icmpv6 type != {{ nd-neighbor-solicit, \
             nd-neighbor-advert }} drop; \
             add rule {TABLE} input ip6 daddr @v6 meta l4proto != ipv6-icmp drop;"
        ));
    }
    for address in addresses {
        let set = if address.is_ipv4() { "v4" } else { "v6" };
        text.push_str(&format!(" add element {TABLE} {set} {{ {address} }};"));
    }
    vec![PROGRAM.to_owned(), text]
}

/// Whether there is the program that does it.
pub(crate) fn is_possible() -> bool {
    std::fs::exists(PROGRAM).unwrap_or(false)
}

/// Opens all addresses, and waits for that: to be called when everything else is done.
///
/// # Errors
/// As the system says.
pub(crate) fn open_all() -> io::Result<()> {
    let words = command(&BTreeSet::new());
    let mut command = Command::new(PROGRAM);
    command.args(words.get(1..).unwrap_or_default());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let status = command.status()?;
    if status.success() { Ok(()) } else { Err(io::Error::other(status.to_string())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_made_anew_or_removed() {
        let addresses = [IpAddr::from([10, 0, 0, 1]), "fd99::1".parse().unwrap()];
        let text = command(&addresses.into())[1].clone();
        assert!(text.starts_with("add table inet highgate_vips; delete table"), "{text}");
        for element in ["v4 { 10.0.0.1 };", "v6 { fd99::1 };"] {
            assert!(text.contains(&format!("add element inet highgate_vips {element}")), "{text}");
        }
        let none = command(&BTreeSet::new())[1].clone();
        assert!(none.ends_with("delete table inet highgate_vips;"), "{none}");
    }

    #[test]
    fn an_owner_takes_packets_in_any_case() {
        let address = |last| vec![crate::VirtualAddress::new([10, 0, 0, last].into())];
        let mut all = [
            Settings::new("one", "eth0", 1, address(1)),
            Settings::new("two", "eth0", 2, address(2)),
            Settings::new("open", "eth0", 3, address(3)),
        ];
        all[0].accept = false;
        all[1].accept = false;
        all[1].priority = 255;
        assert_eq!(closed(&all), [IpAddr::from([10, 0, 0, 1])].into());
    }
}
