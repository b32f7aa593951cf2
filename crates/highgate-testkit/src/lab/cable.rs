//! A cable that loses and delays frames.
//!
//! The kernel's own way to do that, `netem`, is not in every kernel. So a host's port is moved from the
//! switch to a bridge of its own, and a thread carries frames between two devices, one on each bridge:
//!
//! ```text
//! host eth0 ── portN ── nearN ─ farN ~~ this thread ~~ slowN ── br0 ── the other hosts
//! ```
//!
//! What is lost and how long each frame takes follows from the host's number and the order of the frames.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::{port as host_port, tap_unsafe};
use crate::netns::Netns;
use crate::wait;

/// Frames under way in one cable; more are lost, as in a full queue.
const QUEUE: usize = 10_000;
/// Room for one frame.
const FRAME: usize = 2048;

/// How bad one direction of a cable is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Impairment {
    /// Frames lost, of a hundred.
    pub loss_percent: u8,
    /// Time that every frame takes.
    pub delay: Duration,
    /// Time added to it, from nothing to this, anew for each frame: frames overtake each other.
    pub jitter: Duration,
}

impl Impairment {
    /// A good cable.
    pub const NONE: Self = Self { loss_percent: 0, delay: Duration::ZERO, jitter: Duration::ZERO };
}

/// A cable inserted between a host's port and the switch.
#[derive(Debug)]
pub(super) struct Cable {
    /// From the host, and to it.
    ways: Arc<Mutex<[Impairment; 2]>>,
    stop: Option<UnixStream>,
    thread: Option<JoinHandle<()>>,
}

/// The switch's device for a host whose cable was inserted.
pub(super) fn port(number: u8) -> String {
    format!("slow{number}")
}

impl Cable {
    pub(super) fn insert(
        switch: &Netns,
        number: u8,
        from: Impairment,
        to: Impairment,
    ) -> anyhow::Result<Self> {
        let (near, far, slow) = (format!("near{number}"), format!("far{number}"), port(number));
        let ends =
            switch.inside(|| anyhow::Ok([tap_unsafe::open(&far)?, tap_unsafe::open(&slow)?]));
        let ends = ends??;
        switch.ip(&format!("link add {near} type bridge stp_state 0 mcast_snooping 0"))?;
        for words in [
            format!("link set {near} up"),
            format!("link set {far} master {near} up"),
            format!("link set {slow} master br0 up"),
            format!("link set {} master {near}", host_port(number)),
        ] {
            switch.ip(&words)?;
        }
        let ways = Arc::new(Mutex::new([from, to]));
        let (stop, stopped) = UnixStream::pair()?;
        let carrier = Carrier {
            ends,
            ways: ways.clone(),
            under_way: BinaryHeap::new(),
            sent: 0,
            random: u64::from(number),
        };
        let thread = std::thread::Builder::new().name(format!("cable{number}"));
        let thread = thread.spawn(move || carrier.carry(&stopped))?;
        Ok(Self { ways, stop: Some(stop), thread: Some(thread) })
    }

    pub(super) fn set(&self, from: Impairment, to: Impairment) {
        *self.ways.lock() = [from, to];
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A frame: when it arrives, its number, where it goes, its bytes.
type Frame = Reverse<(Instant, u64, usize, Vec<u8>)>;

struct Carrier {
    /// The host's end and the switch's.
    ends: [File; 2],
    ways: Arc<Mutex<[Impairment; 2]>>,
    under_way: BinaryHeap<Frame>,
    sent: u64,
    random: u64,
}

impl Carrier {
    fn carry(mut self, stopped: &UnixStream) {
        loop {
            let [host, switch] = &self.ends;
            let mut watched = [
                PollFd::new(stopped, PollFlags::IN),
                PollFd::new(host, PollFlags::IN),
                PollFd::new(switch, PollFlags::IN),
            ];
            let next = self.under_way.peek().map(|Reverse((at, ..))| *at);
            let time = next.map(|at| at.saturating_duration_since(wait::now()));
            let time = time.and_then(|time| Timespec::try_from(time).ok());
            let polled = poll(&mut watched, time.as_ref());
            let [stop, ..] = &watched;
            if !stop.revents().is_empty() || polled.is_err_and(|e| e != rustix::io::Errno::INTR) {
                return;
            }
            self.take(0);
            self.take(1);
            self.deliver();
        }
    }

    /// Takes in what one end has sent.
    fn take(&mut self, from: usize) {
        let mut frame = [0; FRAME];
        while let Some(mut end) = self.ends.get(from) {
            let Ok(length) = end.read(&mut frame) else { return };
            let way = self.ways.lock().get(from).copied().unwrap_or_default();
            let lost = self.random() % 100 < u64::from(way.loss_percent);
            if lost || self.under_way.len() >= QUEUE {
                continue;
            }
            let jitter = match u64::try_from(way.jitter.as_nanos()) {
                Ok(0) | Err(_) => Duration::ZERO,
                Ok(most) => Duration::from_nanos(self.random() % most),
            };
            self.sent += 1;
            let bytes = frame.get(..length).unwrap_or_default().to_vec();
            let at = wait::now() + way.delay + jitter;
            self.under_way.push(Reverse((at, self.sent, 1 - from, bytes)));
        }
    }

    /// Hands over what has arrived.
    fn deliver(&mut self) {
        let now = wait::now();
        while self.under_way.peek().is_some_and(|Reverse((at, ..))| *at <= now) {
            let Some(Reverse((_, _, to, bytes))) = self.under_way.pop() else { return };
            let Some(mut end) = self.ends.get(to) else { return };
            // A device that is down or full loses the frame, as a real one does.
            let _ = end.write(&bytes);
        }
    }

    /// SplitMix64: even enough for this, and the same each time.
    fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}
