//! A node that is about to lose some of its addresses: no client is left half served at them.

use std::{
    net::IpAddr,
    os::fd::OwnedFd,
    sync::Arc,
    time::{Duration, Instant},
};

use highgate_config::Address;
use highgate_io::clock;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::sync::oneshot;

use super::Node;
use crate::{slots::Interrupt, worker::Mail};

/// Time between two looks.
const LOOK: Duration = Duration::from_millis(10);
/// Looks that find nobody before nobody is there: a client may be on its way from the kernel to its
/// worker, or about to acknowledge what it was answered.
const EMPTY: u32 = 3;

impl Node {
    /// Lets sessions at these addresses end at safe points, until none is left or `patience` is over.
    /// Clients that are connected already are still taken; new ones should be kept away
    /// (`highgate_io::deaf`).
    ///
    /// Cancel safe: yes; it goes on.
    pub async fn leave(&self, addresses: &[IpAddr], patience: Duration) {
        let by = clock::now() + patience;
        let mut empty = 0;
        while empty < EMPTY && clock::now() < by {
            let left = self.tell_at(addresses, Interrupt::Drain, by).await;
            empty = if left > 0 || self.has_waiting() { 0 } else { empty + 1 };
            clock::pause(LOOK).await;
        }
    }

    /// Ends the sessions at these addresses, which are elsewhere by now: no client can be reached.
    ///
    /// Cancel safe: yes; it goes on.
    pub async fn cut(&self, addresses: &[IpAddr]) {
        self.tell_at(addresses, Interrupt::Kill, clock::now() + LOOK * 10).await;
    }

    /// The TCP sockets on which clients are listened to.
    #[must_use]
    pub fn listening(&self) -> Vec<OwnedFd> {
        let listeners = self.listeners.lock();
        let sockets = listeners.values().flat_map(|running| &running.sockets);
        let tcp = sockets.filter(|socket| !matches!(socket.wanted, Address::Unix(_)));
        tcp.filter_map(|socket| socket.spare.try_clone().ok()).collect()
    }

    /// Tells the sessions at these addresses; gives how many they are, as far as workers answer.
    async fn tell_at(&self, addresses: &[IpAddr], what: Interrupt, by: Instant) -> u32 {
        let addresses: Arc<[IpAddr]> = addresses.into();
        let mut answers = Vec::new();
        for worker in &self.shared.workers {
            let (answer, told) = oneshot::channel();
            if worker.mail.try_send(Mail::EndSessionsAt(addresses.clone(), what, answer)).is_ok() {
                answers.push(told);
            }
        }
        let mut sum = 0;
        for told in answers {
            sum += clock::before(by, told).await.and_then(Result::ok).unwrap_or(0);
        }
        sum
    }

    /// Whether clients wait to be accepted.
    fn has_waiting(&self) -> bool {
        let sockets = self.listening();
        let mut sources: Vec<_> =
            sockets.iter().map(|socket| PollFd::new(socket, PollFlags::IN)).collect();
        poll(&mut sources, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
    }
}
