//! Vips: addresses that move between nodes.

mod announcing;
mod contending;
mod holding;
mod notifying;
mod speaking;

use std::time::Duration;

use super::{KeyOf, Kind, TableOf};
use crate::{Notify, Vip};

pub(super) const TABLE: TableOf<Vip> = TableOf {
    name: "vip",
    heading: "[[vip]]",
    key: Some(KeyOf { name: "name", kind: Kind::Name, summary: "The vip's name." }),
    summary: "Addresses that one of several nodes has, moved by VRRP. Each node has its own `[[vip]]`, alike but for the priority.",
    groups: &[
        speaking::SPEAKING,
        holding::HOLDING,
        announcing::ANNOUNCING,
        contending::CONTENDING,
        notifying::NOTIFYING,
    ],
    children: &[],
    refused: &[(
        "state",
        "who is active follows from the priorities; with Keepalived, too, every node begins as backup",
    )],
    blank,
};

fn blank() -> Vip {
    Vip {
        interface: String::new(),
        router_id: 0,
        version: 0,
        priority: 0,
        interval: Duration::ZERO,
        addresses: Vec::new(),
        excluded_addresses: Vec::new(),
        password: None,
        preempt: true,
        preempt_delay: Duration::ZERO,
        peers: Vec::new(),
        source: None,
        multicast_group: None,
        unicast_ttl: 0,
        only_from_peers: false,
        track: Vec::new(),
        track_interface: true,
        vmac: false,
        vmac_name: None,
        vmac_address: None,
        vmac_transmit_base: false,
        accept: true,
        announce_count: 0,
        announce_delay: Duration::ZERO,
        announce_refresh: Duration::ZERO,
        announce_refresh_count: 0,
        announce_lower_count: None,
        announce_lower_delay: None,
        arp_interval: Duration::ZERO,
        na_interval: Duration::ZERO,
        answer_lower: true,
        answer_higher: false,
        down_timer_adverts: 0,
        startup_delay: Duration::ZERO,
        listens_first: false,
        routes: Vec::new(),
        rules: Vec::new(),
        notify: Notify::default(),
    }
}
