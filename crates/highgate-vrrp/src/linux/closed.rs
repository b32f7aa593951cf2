//! Addresses that answer nobody although they are held (`accept = false`, RFC 9568 §6.1): packets to
//! them are dropped by nftables, but for what finds their owner on the link.

use std::net::IpAddr;

/// The table that is ours alone.
const TABLE: &str = "inet highgate_vips";

/// Closes addresses to all packets.
pub(crate) fn close(addresses: &[IpAddr]) -> Vec<String> {
    let mut text = format!(
        "add table {TABLE}; add set {TABLE} v4 {{ type ipv4_addr; }}; \
         add set {TABLE} v6 {{ type ipv6_addr; }}; \
         add chain {TABLE} input {{ type filter hook input priority -10; }}; \
         flush chain {TABLE} input; add rule {TABLE} input ip daddr @v4 drop; \
         add rule {TABLE} input ip6 daddr @v6 icmpv6 type != {{ nd-neighbor-solicit, \
         nd-neighbor-advert }} drop; \
         add rule {TABLE} input ip6 daddr @v6 meta l4proto != ipv6-icmp drop;"
    );
    text.push_str(&elements("add", addresses));
    command(text)
}

/// Opens them again; they were closed before.
pub(crate) fn open(addresses: &[IpAddr]) -> Vec<String> {
    command(elements("delete", addresses))
}

fn elements(verb: &str, addresses: &[IpAddr]) -> String {
    let one = |address: &IpAddr| {
        let set = if address.is_ipv4() { "v4" } else { "v6" };
        format!(" {verb} element {TABLE} {set} {{ {address} }};")
    };
    addresses.iter().map(one).collect()
}

fn command(text: String) -> Vec<String> {
    vec!["/usr/sbin/nft".to_owned(), text]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_closed_is_opened_by_the_same_names() {
        let addresses = [IpAddr::from([10, 0, 0, 1]), "fd99::1".parse().unwrap()];
        assert!(close(&addresses)[1].contains("add element inet highgate_vips v6 { fd99::1 };"));
        assert!(open(&addresses)[1].contains("delete element inet highgate_vips v4 { 10.0.0.1 };"));
    }
}
