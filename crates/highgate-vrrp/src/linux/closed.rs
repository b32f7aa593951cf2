//! Addresses that answer nobody although they are held (`accept = false`, RFC 9568 §6.1): packets to
//! them are dropped by nftables, but for what finds their owner on the link.
//!
//! The rules are there as long as such vips are, held or not: they meet only packets to addresses of
//! this machine, and an address is never there before its rule: a plan is in force once its rules are,
//! and rules go when the addresses have gone. Each change makes the table anew, in one transaction.

use std::{
    collections::BTreeSet,
    io,
    net::IpAddr,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use crate::settings::Settings;

/// The table that is ours alone.
const TABLE: &str = "inet highgate_vips";
const PROGRAM: &str = "/usr/sbin/nft";
/// The longest that a plan waits for its rules.
const PATIENCE: Duration = Duration::from_secs(3);
/// Rules that could not be set are tried again after this.
const AGAIN: Duration = Duration::from_secs(10);

/// Which addresses are closed: a pure account.
#[derive(Debug, Default)]
pub(crate) struct Closing {
    /// `None` while nothing is known of it.
    in_force: Option<BTreeSet<IpAddr>>,
    under_way: Option<(BTreeSet<IpAddr>, Instant)>,
    failed: Option<(BTreeSet<IpAddr>, Instant)>,
}

impl Closing {
    /// Those addresses, and no others, are to be closed. Gives them if that is to be ordered now.
    pub(crate) fn order(
        &mut self,
        wanted: BTreeSet<IpAddr>,
        now: Instant,
    ) -> Option<BTreeSet<IpAddr>> {
        let failed_now = self.failed.as_ref().is_some_and(|(failed, at)| {
            *failed == wanted && now.saturating_duration_since(*at) < AGAIN
        });
        if self.under_way.is_some() || failed_now || self.in_force.as_ref() == Some(&wanted) {
            return None;
        }
        self.under_way = Some((wanted.clone(), now));
        Some(wanted)
    }

    /// What was ordered is done, or failed. Whether that differs from the time before.
    pub(crate) fn done(&mut self, is_done: bool, now: Instant) -> bool {
        let Some((wanted, _)) = self.under_way.take() else { return false };
        let is_news = self.failed.is_some() == is_done && !wanted.is_empty();
        self.failed = None;
        if is_done {
            self.in_force = Some(wanted);
        } else if !wanted.is_empty() {
            self.failed = Some((wanted, now));
        }
        is_news
    }

    /// Whether a plan with those addresses has to wait until they are closed.
    pub(crate) fn is_awaited(&self, all: &BTreeSet<IpAddr>, now: Instant) -> bool {
        let is_soon = |(_, since): &(_, Instant)| now.saturating_duration_since(*since) < PATIENCE;
        self.under_way.as_ref().is_some_and(is_soon) && !self.closes(all)
    }

    /// Whether those addresses are closed.
    fn closes(&self, all: &BTreeSet<IpAddr>) -> bool {
        all.is_empty() || self.in_force.as_ref().is_some_and(|closed| all.is_subset(closed))
    }

    /// Whether the rules of those addresses have not come in time.
    pub(crate) fn is_late(&self, all: &BTreeSet<IpAddr>, now: Instant) -> bool {
        self.under_way.is_some() && !self.closes(all) && !self.is_awaited(all, now)
    }

    /// Whether rules were ever asked for.
    pub(crate) fn is_known(&self) -> bool {
        self.in_force.is_some() || self.under_way.is_some() || self.failed.is_some()
    }

    /// Those whose rules are in force.
    pub(crate) fn in_force(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.in_force.iter().flatten().copied()
    }

    /// Whether there may be rules.
    pub(crate) fn may_close(&self) -> bool {
        let under_way = self.under_way.as_ref().map(|(wanted, _)| wanted);
        self.in_force.iter().chain(under_way).any(|some| !some.is_empty())
    }
}

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

    fn some(all: &[u8]) -> BTreeSet<IpAddr> {
        all.iter().map(|last| IpAddr::from([10, 0, 0, *last])).collect()
    }

    #[test]
    fn a_plan_waits_for_its_rules() {
        let (mut closing, now) = (Closing::default(), Instant::now());
        assert_eq!(closing.order(some(&[1]), now), Some(some(&[1])));
        assert_eq!(closing.order(some(&[1, 2]), now), None, "one after the other");
        assert!(closing.is_awaited(&some(&[1]), now) && closing.may_close());
        assert!(!closing.is_awaited(&some(&[]), now), "without closed addresses it does not wait");
        let late = now + PATIENCE;
        assert!(!closing.is_awaited(&some(&[1]), late), "nor for ever");
        assert!(closing.is_late(&some(&[1]), late) && !closing.is_late(&some(&[]), late));
        assert!(!closing.done(true, now));
        assert!(!closing.is_awaited(&some(&[1]), now));
        assert_eq!(closing.order(some(&[1, 2]), now), Some(some(&[1, 2])));
        assert!(closing.is_awaited(&some(&[2]), now) && !closing.is_awaited(&some(&[1]), now));
    }

    #[test]
    fn rules_that_could_not_be_set_are_tried_again() {
        let (mut closing, now) = (Closing::default(), Instant::now());
        closing.order(some(&[1]), now).unwrap();
        assert!(closing.done(false, now), "that is told");
        assert!(!closing.is_awaited(&some(&[1]), now) && !closing.may_close());
        assert_eq!(closing.order(some(&[1]), now), None, "not at once");
        closing.order(some(&[1]), now + AGAIN).unwrap();
        assert!(!closing.done(false, now + AGAIN), "that is told once");
        closing.order(some(&[1, 2]), now + AGAIN).unwrap();
        assert!(closing.done(true, now + AGAIN), "and its end");
        assert_eq!(closing.in_force().count(), 2);
    }

    #[test]
    fn at_the_first_time_rules_of_a_process_before_are_removed() {
        let (mut closing, now) = (Closing::default(), Instant::now());
        assert_eq!(closing.order(some(&[]), now), Some(some(&[])));
        assert!(!closing.may_close() && closing.is_known());
        assert!(!closing.done(true, now));
        assert_eq!(closing.order(some(&[]), now), None);
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
