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

impl Will {
    /// Carries it out: the addresses go, then it is said, then the rest goes. All is tried, whatever
    /// fails.
    ///
    /// # Errors
    /// The last thing that failed.
    pub(crate) fn carry_out(&self) -> io::Result<()> {
        let mut done = Ok(());
        let mut netlink = match Netlink::open() {
            Ok(netlink) => Some(netlink),
            Err(error) => {
                done = Err(error);
                None
            }
        };
        if let Some(netlink) = &mut netlink {
            for (index, address) in &self.addresses {
                if let Err(error) = netlink.remove(*index, address) {
                    done = Err(error);
                }
            }
        }
        for word in &self.last_words {
            if let Err(error) = wire::say(&word.interface, word.index, &word.sending()) {
                done = Err(error);
            }
        }
        // Nobody who is to take over waits for the rest.
        if let Some(netlink) = &mut netlink {
            for entry in &self.routes {
                // The kernel has removed those already that needed the address.
                let _ = entry.remove(netlink);
            }
            for index in &self.links {
                if let Err(error) = netlink.delete_link(*index) {
                    done = Err(error);
                }
            }
        }
        for (path, value) in &self.kernel_settings {
            if let Err(error) = std::fs::write(path, value) {
                done = Err(error);
            }
        }
        if self.is_filtered
            && let Err(error) = closed::open_all()
        {
            done = Err(error);
        }
        done
    }
}
