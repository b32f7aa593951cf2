//! A node that gives its listening sockets to a process behind, or took them from one before.

use std::{
    collections::BTreeMap,
    io,
    os::fd::OwnedFd,
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use highgate_config::ListenerName;
use highgate_core::snapshot::{Status, Writes};
use highgate_io::clock;

use super::Node;
use crate::{session_info::Activity, slots::Interrupt, worker::Mail};

/// A session that asked nothing for so long is between two pieces of work.
const QUIET: Duration = Duration::from_secs(1);
/// Time between two looks.
const LOOK: Duration = Duration::from_millis(50);
/// Numbers left for sessions that begin here while the process behind gets ready.
const NUMBERS_KEPT: u32 = 1 << 20;

impl Node {
    /// Listening sockets of the process before: used instead of binding anew. What the first
    /// configuration does not use is closed.
    pub fn inherit(&self, sockets: BTreeMap<(ListenerName, String), OwnedFd>) {
        *self.inherited.lock() = sockets;
    }

    /// More of them, such as another process opened for this one.
    pub fn inherit_more(&self, sockets: BTreeMap<(ListenerName, String), OwnedFd>) {
        self.inherited.lock().extend(sockets);
    }

    /// The listening sockets, for the process behind: each with its listener and address.
    ///
    /// # Errors
    /// When the process has no descriptor left.
    pub fn sockets(&self) -> io::Result<Vec<(ListenerName, String, OwnedFd)>> {
        let listeners = self.listeners.lock();
        listeners
            .iter()
            .flat_map(|(name, running)| running.sockets.iter().map(move |socket| (name, socket)))
            .map(|(name, socket)| {
                Ok((name.clone(), socket.wanted.to_string(), socket.spare.try_clone()?))
            })
            .collect()
    }

    /// A session number for [`Self::number_sessions_from`] of the process behind: while both live,
    /// no two sessions have one number, and a KILL means one session.
    #[must_use]
    pub fn numbers_for_next(&self) -> u32 {
        self.shared.last_number().wrapping_add(NUMBERS_KEPT)
    }

    /// Numbers new sessions from here on.
    pub fn number_sessions_from(&self, number: u32) {
        self.shared.number_from(number);
    }

    /// Waits until a check of every server has spoken and writes can be sent, or `deadline`.
    ///
    /// Cancel safe: yes.
    pub async fn knows_its_servers(&self, deadline: Instant) {
        let is_open = |writes: &Writes| !matches!(writes, Writes::Waiting { .. });
        while clock::now() < deadline {
            let snapshot = self.shared.snapshot.load_full();
            let mut groups = snapshot.placement.groups.values();
            let is_known = snapshot.version > 0
                && groups.all(|group| {
                    is_open(&group.writes)
                        && group.members.iter().all(|member| member.status != Status::Unknown)
                });
            if is_known {
                return;
            }
            clock::pause(LOOK).await;
        }
    }

    /// Stops accepting for good, since another process accepts from the same sockets, and lets
    /// sessions end. There is no haste: a session between two of its commands would fail for no
    /// reason, so in the first half of `patience` only those end that are quiet, and in the rest those
    /// that hold nothing on a server.
    ///
    /// Cancel safe: yes; draining goes on.
    pub async fn retire(&self, patience: Duration) {
        let started = clock::now();
        self.shared.draining.store(true, Ordering::Relaxed);
        self.stop_accepting();
        let is_busy = || self.shared.accepting.load(Ordering::Acquire) > 0 || self.sessions() > 0;
        while is_busy() && clock::now() < started + patience / 2 {
            self.end_quiet_sessions();
            clock::pause(LOOK).await;
        }
        self.drain_all(patience.saturating_sub(clock::now() - started)).await;
    }

    fn end_quiet_sessions(&self) {
        // By the clock that sessions go by, which nobody sets.
        let now = self.shared.age_ms(clock::now());
        let quiet = QUIET.as_millis() as u64;
        for session in self.shared.sessions() {
            let is_quiet = session.activity() == Activity::Idle
                && now.saturating_sub(session.since_ms()) >= quiet;
            if is_quiet && let Some(worker) = self.shared.workers.get(session.worker) {
                // A full mailbox is read soon, and this is said again.
                let letter = Mail::Interrupt(session.slot, Interrupt::Drain);
                let _ = worker.mail.try_send(letter);
            }
        }
    }

    /// Closes the listening sockets here; another process that has them is not concerned.
    pub(super) fn stop_accepting(&self) {
        for running in self.listeners.lock().values_mut() {
            running.sockets.iter().for_each(|socket| socket.stopper.stop());
            // A socket left open would take clients into a queue that nobody empties.
            running.sockets.clear();
        }
    }
}
