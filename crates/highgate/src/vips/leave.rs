//! Addresses leave in the order that loses no client: new ones are not answered, and so try again
//! where the address will be; sessions end at safe points, within a bound; then the address goes.

use std::{net::IpAddr, os::fd::OwnedFd, sync::Arc, time::Duration};

use highgate_core::events::{Event, Kind, Severity};
use highgate_io::{clock, handover, tasks::Stop};
use highgate_proxy::node::Node;
use highgate_vrrp::{State, Status, linux::ToKeeper};
use tokio::sync::{mpsc, watch};

use super::link::{Link, Order};

/// For sessions to end. Below the second after which a client repeats its first SYN: by then the
/// address is where it will be answered.
const PATIENCE: Duration = Duration::from_millis(700);
/// For the keeper to tell that an address is gone.
const SOON: Duration = Duration::from_secs(1);

/// Addresses that are about to go, and what the keeper is told then.
#[derive(Debug)]
pub(super) struct Leaving {
    /// Without any there is nothing to wait for.
    pub(super) addresses: Vec<IpAddr>,
    pub(super) then: ToKeeper,
}

/// Sees to them, all that are there at a time together, in their order.
pub(super) struct Usher {
    pub(super) node: Arc<Node>,
    pub(super) link: Arc<Link>,
    pub(super) status: watch::Receiver<Vec<Status>>,
}

impl Usher {
    pub(super) async fn see_off(mut self, mut leaving: mpsc::Receiver<Leaving>, stop: Stop) {
        loop {
            let first = tokio::select! {
                first = leaving.recv() => first,
                () = stop.stopped() => None,
            };
            let Some(first) = first else { return };
            let mut all = vec![first];
            while let Ok(next) = leaving.try_recv() {
                all.push(next);
            }
            let all_of = all.iter().flat_map(|leaving| leaving.addresses.iter().copied());
            let addresses: Vec<IpAddr> = all_of.collect();
            if !addresses.is_empty() {
                self.deafen(&addresses).await;
                self.node.leave(&addresses, PATIENCE).await;
            }
            for leaving in all {
                self.link.say(leaving.then).await;
            }
            if !addresses.is_empty() {
                self.follow_up(&addresses).await;
            }
        }
    }

    /// The addresses are about to be gone: so are sessions that could not end, and new clients of what
    /// comes back are welcome.
    async fn follow_up(&mut self, addresses: &[IpAddr]) {
        let is_gone = |all: &Vec<Status>| {
            !all.iter().any(|one| {
                one.state == State::Active && one.addresses.iter().any(|at| addresses.contains(at))
            })
        };
        let gone =
            clock::before(clock::now() + SOON, self.status.wait_for(is_gone)).await.is_some();
        if gone {
            self.node.cut(addresses).await;
        }
        self.deafen(&[]).await;
    }

    async fn deafen(&self, to: &[IpAddr]) {
        for some in chunks(self.node.listening()) {
            let order = |answer| Order::Deafen(to.to_vec(), some, answer);
            if let Err(error) = self.link.ask(order).await
                && !to.is_empty()
            {
                let text = format!(
                    "clients that come while an address leaves may be lost: they can't be kept \
                     waiting ({error})"
                );
                self.node.shared().event(Event::new(Severity::Warning, Kind::Vip, text));
            }
        }
    }
}

/// As many as go with one message.
fn chunks(mut sockets: Vec<OwnedFd>) -> Vec<Vec<OwnedFd>> {
    let mut all = Vec::new();
    while !sockets.is_empty() {
        let at = sockets.len().min(handover::MAX_DESCRIPTORS);
        let later = sockets.split_off(at);
        all.push(std::mem::replace(&mut sockets, later));
    }
    all
}
