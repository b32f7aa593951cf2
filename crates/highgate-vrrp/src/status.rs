//! What is shown of a router: plain data with ages in place of instants, so that it may cross
//! processes, and one source for table, page, metrics and ctl.

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    advert::{RefusalKind, Version},
    machine::{Need, State},
};

/// One router at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Its name.
    pub name: String,
    /// The interface on which it speaks.
    pub interface: String,
    /// The version of the protocol.
    pub version: Version,
    /// Its number.
    pub vrid: u8,
    /// The addresses that move, all of them.
    pub addresses: Vec<IpAddr>,
    /// What it is.
    pub state: State,
    /// For how long.
    pub state_for: Duration,
    /// Why.
    pub why: String,
    /// Its rank as configured.
    pub priority: u8,
    /// Its rank with what tracking adds.
    pub effective_priority: u8,
    /// The time between adverts by which it counts now: its own, or the learned one.
    pub interval: Duration,
    /// When a backup takes over if it hears nothing more; `None` in other states.
    pub takes_over_in: Option<Duration>,
    /// Who is active: itself or a peer, if it is known.
    pub active: Option<IpAddr>,
    /// What keeps it from taking part, each with its reason.
    pub unmet: BTreeMap<Need, String>,
    /// Who was heard lately, refused ones too.
    pub peers: Vec<PeerStatus>,
    /// Counts since its start.
    pub counts: Counts,
}

/// One peer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerStatus {
    /// Its address.
    pub address: IpAddr,
    /// How long ago it was heard at all.
    pub heard_ago: Duration,
    /// Its last good advert's priority; `None` if there never was one.
    pub priority: Option<u8>,
    /// Its last good advert's interval.
    pub interval: Option<Duration>,
    /// What is odd about its last good advert.
    pub remark: Option<String>,
    /// Good adverts.
    pub adverts: u64,
    /// Among them those with priority 0.
    pub resignations: u64,
    /// Refused adverts.
    pub refused: u64,
    /// Why the last one was refused.
    pub last_refusal: Option<String>,
}

/// Counts of one router.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Times it became active.
    pub became_active: u64,
    /// Times it became backup.
    pub became_backup: u64,
    /// Times it became unable to take part.
    pub became_fault: u64,
    /// Adverts sent; one to several unicast peers counts once.
    pub sent: u64,
    /// Among them those with priority 0.
    pub sent_resignations: u64,
    /// Good adverts heard.
    pub heard: u64,
    /// Among them those with priority 0.
    pub heard_resignations: u64,
    /// Adverts of a lower priority heard while active.
    pub heard_lower: u64,
    /// Times the addresses were announced.
    pub announced: u64,
    /// Refused adverts by kind.
    pub refused: BTreeMap<RefusalKind, u64>,
}
