//! Who was heard, when, and how: a bounded table, since anyone can forge a sender.

use std::{collections::BTreeMap, net::IpAddr, time::Instant};

use crate::{
    advert::{Advert, RESIGNS, Refusal},
    status::PeerStatus,
};

/// More peers than this are not remembered; the one heard longest ago makes room.
const MOST: usize = 16;

#[derive(Debug, Default)]
pub(super) struct Peers {
    heard: BTreeMap<IpAddr, (Instant, PeerStatus)>,
}

impl Peers {
    pub(super) fn heard(
        &mut self,
        from: IpAddr,
        advert: &Advert,
        remark: Option<String>,
        now: Instant,
    ) {
        let peer = self.entry(from, now);
        peer.priority = Some(advert.priority);
        peer.interval = Some(advert.interval);
        peer.adverts += 1;
        peer.remark = remark;
        peer.resignations += u64::from(advert.priority == RESIGNS);
    }

    pub(super) fn refused(&mut self, from: IpAddr, why: &Refusal, now: Instant) {
        let peer = self.entry(from, now);
        peer.refused += 1;
        peer.last_refusal = Some(why.to_string());
    }

    /// The interval that a peer announced last.
    pub(super) fn interval(&self, of: IpAddr) -> Option<std::time::Duration> {
        self.heard.get(&of).and_then(|(_, peer)| peer.interval)
    }

    /// What peers announce is to be compared anew: this node's own interval has changed.
    pub(super) fn forget_intervals(&mut self) {
        self.heard.values_mut().for_each(|(_, peer)| peer.interval = None);
    }

    pub(super) fn status(&self, now: Instant) -> Vec<PeerStatus> {
        let with_age = self.heard.values().map(|(at, peer)| PeerStatus {
            heard_ago: now.saturating_duration_since(*at),
            ..peer.clone()
        });
        with_age.collect()
    }

    fn entry(&mut self, from: IpAddr, now: Instant) -> &mut PeerStatus {
        if !self.heard.contains_key(&from) && self.heard.len() >= MOST {
            // A flood of forged senders pushes out its own: those that never were good go first.
            let quietest = self
                .heard
                .iter()
                .min_by_key(|(_, (at, peer))| (peer.adverts > 0, *at))
                .map(|(address, _)| *address);
            if let Some(quietest) = quietest {
                self.heard.remove(&quietest);
            }
        }
        let (at, peer) = self.heard.entry(from).or_insert_with(|| {
            let peer = PeerStatus {
                address: from,
                heard_ago: std::time::Duration::ZERO,
                priority: None,
                interval: None,
                remark: None,
                adverts: 0,
                resignations: 0,
                refused: 0,
                last_refusal: None,
            };
            (now, peer)
        });
        *at = now;
        peer
    }
}
