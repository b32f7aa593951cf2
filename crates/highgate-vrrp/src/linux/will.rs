//! What is to be done when the keeper dies: which addresses go, and who is told.

use std::io;

use serde::{Deserialize, Serialize};

use super::{closed, netlink::Netlink, routes::Entry, wire};
use crate::{
    advert::{Advert, Envelope, RESIGNS, decode},
    machine::Sending,
    settings::VirtualAddress,
};

/// The keeper's will, as of its last change.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Will {
    /// The addresses that are held, with the number of their interface.
    pub(crate) addresses: Vec<(u32, VirtualAddress)>,
    /// The interfaces that were made for routers, by their numbers.
    #[serde(default)]
    pub(crate) links: Vec<u32>,
    /// Routes and rules that are set.
    #[serde(default)]
    pub(crate) routes: Vec<Entry>,
    /// Kernel settings by path, as they were before.
    #[serde(default)]
    pub(crate) kernel_settings: Vec<(String, String)>,
    /// Addresses are closed to packets.
    #[serde(default)]
    pub(crate) is_filtered: bool,
    /// What is said by the interface of that name and number.
    pub(crate) last_words: Vec<LastWord>,
    /// The keeper ends as it was told to: there is nothing to do, and nobody to replace.
    pub(crate) is_over: bool,
}

/// One advert of priority 0.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LastWord {
    pub(crate) interface: String,
    pub(crate) index: u32,
    pub(crate) source: std::net::IpAddr,
    pub(crate) destination: std::net::IpAddr,
    pub(crate) ttl: u8,
    pub(crate) payload: Vec<u8>,
}

impl LastWord {
    /// What a router says last that said this just now; `None` where it can't be read back.
    pub(crate) fn after(interface: &str, index: u32, sent: &Sending) -> Option<Self> {
        let Sending { source, destination, ttl, .. } = *sent;
        let envelope = Envelope { source, destination, ttl };
        let advert: Advert = decode(&sent.payload, &envelope).ok()?.advert;
        let payload = Advert { priority: RESIGNS, ..advert }.encode(source, destination);
        Some(Self { interface: interface.to_owned(), index, source, destination, ttl, payload })
    }

    fn sending(&self) -> Sending {
        Sending {
            source: self.source,
            destination: self.destination,
            ttl: self.ttl,
            priority: RESIGNS,
            payload: self.payload.clone(),
        }
    }
}

/// One thing of what is to be done.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Step<'a> {
    Remove(u32, &'a VirtualAddress),
    Say(&'a LastWord),
    Unroute(&'a Entry),
    DeleteLink(u32),
    Restore(&'a str, &'a str),
    OpenAll,
}

impl Will {
    /// Carries it out. All is tried, whatever fails.
    ///
    /// # Errors
    /// The last thing that failed.
    pub(crate) fn carry_out(&self) -> io::Result<()> {
        let (mut netlink, mut done) = match Netlink::open() {
            Ok(netlink) => (Some(netlink), Ok(())),
            Err(error) => (None, Err(error)),
        };
        for step in self.steps() {
            if let Err(error) = step.take(netlink.as_mut()) {
                done = Err(error);
            }
        }
        done
    }

    /// The addresses go, then it is said; for the rest nobody waits who is to take over.
    fn steps(&self) -> impl Iterator<Item = Step<'_>> {
        let addresses = self.addresses.iter().map(|(index, address)| Step::Remove(*index, address));
        let settings = self.kernel_settings.iter().map(|(path, was)| Step::Restore(path, was));
        addresses
            .chain(self.last_words.iter().map(Step::Say))
            .chain(self.routes.iter().map(Step::Unroute))
            .chain(self.links.iter().copied().map(Step::DeleteLink))
            .chain(settings)
            .chain(self.is_filtered.then_some(Step::OpenAll))
    }
}

impl Step<'_> {
    /// Without netlink, which was told, only what needs none of it is done.
    fn take(self, netlink: Option<&mut Netlink>) -> io::Result<()> {
        match (self, netlink) {
            (Self::Say(word), _) => wire::say(&word.interface, word.index, &word.sending()),
            (Self::Restore(path, was), _) => std::fs::write(path, was),
            (Self::OpenAll, _) => closed::open_all(),
            (Self::Remove(index, address), Some(netlink)) => netlink.remove(index, address),
            (Self::Unroute(entry), Some(netlink)) => {
                // The kernel has removed those already that needed the address.
                let _ = entry.remove(netlink);
                Ok(())
            }
            (Self::DeleteLink(index), Some(netlink)) => netlink.delete_link(index),
            (Self::Remove(..) | Self::Unroute(_) | Self::DeleteLink(_), None) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use highgate_config::{RouteKind, VipRule};

    use super::*;

    /// What was observed: who is to take over waited until routes and interfaces had gone.
    #[test]
    fn the_addresses_go_first_and_others_are_told_before_all_else() {
        let address = |text: &str| VirtualAddress::new(text.parse().unwrap());
        let word = LastWord {
            interface: "eth0".to_owned(),
            index: 2,
            source: [10, 0, 0, 1].into(),
            destination: [224, 0, 0, 18].into(),
            ttl: 255,
            payload: vec![0x21],
        };
        let will = Will {
            addresses: vec![(2, address("10.0.0.100")), (3, address("fd00::100"))],
            links: vec![7],
            routes: vec![Entry::Rule(VipRule {
                from: None,
                to: None,
                input: None,
                output: None,
                mark: None,
                table: Some(77),
                kind: RouteKind::Unicast,
                priority: 500,
            })],
            kernel_settings: vec![("/a".to_owned(), "0".to_owned())],
            is_filtered: true,
            last_words: vec![word],
            is_over: false,
        };
        let expected = [
            Step::Remove(2, &will.addresses[0].1),
            Step::Remove(3, &will.addresses[1].1),
            Step::Say(&will.last_words[0]),
            Step::Unroute(&will.routes[0]),
            Step::DeleteLink(7),
            Step::Restore("/a", "0"),
            Step::OpenAll,
        ];
        assert_eq!(will.steps().collect::<Vec<_>>(), expected);
        assert_eq!(Will::default().steps().count(), 0);
    }
}
