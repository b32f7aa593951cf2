//! Adverts in place of a deciding thread that is kept from its processor.
//!
//! At intervals of hundredths of a second a backup waits some 35 ms. A processor of a guest can stand
//! still for longer, and with it each thread that is bound to wait for it, at whatever priority, while
//! the machine's others go on (measured: 43 ms, of which its host accounted for none). So two threads,
//! each tied to a processor of its own, say a router's last advert once more where the thread that
//! decides is late: at most [`TIMES`] times, so that one that hangs is given up all the same. Where
//! intervals are longer than [`FAST`] nothing of the kind is needed, and none is started.

use std::{
    io,
    net::IpAddr,
    os::fd::OwnedFd,
    sync::Arc,
    time::{Duration, Instant},
};

use highgate_io::{clock, tasks};
use parking_lot::{Condvar, Mutex};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use super::{
    sys_unsafe::{self, Rank},
    wire,
};
use crate::machine::Sending;

/// Adverts are repeated where their interval is shorter than this.
pub(super) const FAST: Duration = Duration::from_millis(100);
/// So long the thread that decides waits for the others, where it need not.
const SOON: Duration = Duration::from_micros(200);
/// How often one is repeated before the thread that decides must have its turn.
const TIMES: u8 = 3;

/// An advert, and where it goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) interface: String,
    pub(super) index: u32,
    pub(super) mac: Option<[u8; 6]>,
    pub(super) sending: Sending,
}

/// The threads, for the one that decides.
#[derive(Debug, Default)]
pub(crate) struct Pacers(Option<Arc<Shared>>);

#[derive(Debug, Default)]
struct Shared {
    /// Held while an advert is repeated: who forgets one knows that it is said no more.
    beats: Mutex<Beats>,
    bell: Condvar,
}

impl Pacers {
    /// Starts them, if adverts of such an interval want them and they are not there. On a machine with
    /// one processor there is nobody to take another's place.
    ///
    /// # Errors
    /// Without threads or descriptors left.
    pub(crate) fn attend(&mut self, interval: Duration) -> io::Result<()> {
        if interval >= FAST || self.0.is_some() {
            return Ok(());
        }
        for processor in apart() {
            let frames = sys_unsafe::frame_socket()?;
            let shared = Arc::clone(self.0.get_or_insert_default());
            tasks::thread("adverts", move || shared.run(processor, &frames))?;
        }
        Ok(())
    }

    /// The thread that decides has just said this. It does not wait long for one that repeats an advert,
    /// whose processor may stand still: it knows of the next one then.
    pub(super) fn said(&self, router: &Arc<str>, said: Said, interval: Duration, now: Instant) {
        let Some(shared) = self.0.as_ref().filter(|_| interval < FAST) else { return };
        let Some(mut beats) = shared.beats.try_lock_for(SOON) else { return };
        if beats.said(router, said, interval, now) {
            shared.bell.notify_all();
        }
    }

    /// Nothing of a router is repeated from now on.
    pub(super) fn forget(&self, router: &str) {
        if let Some(shared) = &self.0 {
            shared.beats.lock().0.retain(|beat| &*beat.router != router);
        }
    }

    /// Nothing is.
    pub(crate) fn forget_all(&self) {
        if let Some(shared) = &self.0 {
            shared.beats.lock().0.clear();
        }
    }

    /// How often a router's advert was repeated since it was last said.
    pub(crate) fn repeated(&self, router: &str) -> u8 {
        let beats = self.0.as_ref().and_then(|shared| shared.beats.try_lock_for(SOON));
        let of_router = |beats: &Beats| {
            let mine = beats.0.iter().filter(|beat| &*beat.router == router);
            mine.map(|beat| beat.repeated).max()
        };
        beats.and_then(|beats| of_router(&beats)).unwrap_or(0)
    }
}

impl Shared {
    fn run(&self, processor: usize, frames: &OwnedFd) {
        let mut own = CpuSet::new();
        own.set(processor);
        // Without either of these it is late when others are, and does no harm.
        let _ = sched_setaffinity(None, &own);
        let _ = sys_unsafe::run_first(Rank::Decides);
        let mut beats = self.beats.lock();
        loop {
            beats.repeat(clock::now(), |said| {
                // What fails here, who decides will find out.
                let Said { interface, index, mac, sending } = said;
                let _ = wire::say_from(frames, *mac, interface, *index, sending);
            });
            if let Some(at) = beats.next_deadline() {
                // Rung or in time: both are looked at.
                self.bell.wait_until(&mut beats, at);
            } else {
                self.bell.wait(&mut beats);
            }
        }
    }
}

/// Two processors on which this process may run, as far from each other as can be; none where it has
/// one alone.
fn apart() -> Vec<usize> {
    let allowed = sched_getaffinity(None).unwrap_or_default();
    let all: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|at| allowed.is_set(*at)).collect();
    match all.as_slice() {
        [first, .., last] => vec![*first, *last],
        _ => Vec::new(),
    }
}

/// The last adverts of routers that are active.
#[derive(Debug, Default)]
struct Beats(Vec<Beat>);

#[derive(Debug)]
struct Beat {
    router: Arc<str>,
    said: Said,
    interval: Duration,
    /// When it went out last, said or repeated.
    at: Instant,
    repeated: u8,
    is_given_up: bool,
}

impl Beats {
    /// Takes in an advert. Whether somebody who waits has to look again.
    fn said(&mut self, router: &Arc<str>, said: Said, interval: Duration, now: Instant) -> bool {
        let to = |said: &Said| -> IpAddr { said.sending.destination };
        let mut all = self.0.iter_mut();
        let known = all.find(|beat| beat.router == *router && to(&beat.said) == to(&said));
        let Some(beat) = known else {
            let router = Arc::clone(router);
            let beat = Beat { router, said, interval, at: now, repeated: 0, is_given_up: false };
            self.0.push(beat);
            return true;
        };
        beat.repeated = 0;
        let was_given_up = std::mem::take(&mut beat.is_given_up);
        let is_sooner = interval < beat.interval;
        (beat.said, beat.interval, beat.at) = (said, interval, now);
        was_given_up || is_sooner
    }

    /// When [`Self::repeat`] is wanted.
    fn next_deadline(&self) -> Option<Instant> {
        self.0.iter().filter_map(Beat::due).min()
    }

    /// Says again what is due.
    fn repeat(&mut self, now: Instant, mut say: impl FnMut(&Said)) {
        for beat in &mut self.0 {
            if beat.due().is_none_or(|due| now < due) {
                continue;
            }
            // Whoever is as late as a backup waits did not run either: who decides has to look first.
            if now >= beat.at + beat.interval * 3 {
                beat.is_given_up = true;
                continue;
            }
            say(&beat.said);
            beat.at = now;
            beat.repeated += 1;
            beat.is_given_up = beat.repeated >= TIMES;
        }
    }
}

impl Beat {
    /// Half an interval after it should have gone out: who decides comes first.
    fn due(&self) -> Option<Instant> {
        (!self.is_given_up).then(|| self.at + self.interval * 3 / 2)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const INTERVAL: Duration = Duration::from_millis(10);

    fn said(peer: u8, priority: u8) -> Said {
        let sending = Sending {
            source: Ipv4Addr::new(10, 0, 0, 1).into(),
            destination: Ipv4Addr::new(10, 0, 0, peer).into(),
            ttl: 255,
            priority,
            payload: vec![priority],
        };
        Said { interface: "eth0".to_owned(), index: 2, mac: None, sending }
    }

    fn repeated(beats: &mut Beats, now: Instant) -> Vec<Said> {
        let mut all = Vec::new();
        beats.repeat(now, |said| all.push(said.clone()));
        all
    }

    #[test]
    fn an_advert_is_repeated_when_its_router_is_late_and_not_before() {
        let (mut beats, start) = (Beats::default(), Instant::now());
        let ms = |ms| start + Duration::from_millis(ms);
        assert!(beats.said(&"a".into(), said(2, 100), INTERVAL, start));
        assert_eq!(beats.next_deadline(), Some(ms(15)));
        assert_eq!(repeated(&mut beats, ms(14)), []);
        assert!(!beats.said(&"a".into(), said(2, 101), INTERVAL, ms(14)));
        assert_eq!(repeated(&mut beats, ms(15)), []);
        assert_eq!(repeated(&mut beats, ms(29)), [said(2, 101)]);
        assert_eq!(repeated(&mut beats, ms(29)), [], "another thread was first");
    }

    #[test]
    fn a_router_whose_thread_hangs_is_given_up() {
        let (mut beats, start) = (Beats::default(), Instant::now());
        beats.said(&"a".into(), said(2, 100), INTERVAL, start);
        let all: usize =
            (0..1000).map(|ms| repeated(&mut beats, start + Duration::from_millis(ms)).len()).sum();
        assert_eq!((all, beats.next_deadline()), (3, None));
        // Who waits without a deadline has to hear of the next one.
        assert!(beats.said(&"a".into(), said(2, 100), INTERVAL, start));
        assert_eq!(beats.next_deadline(), Some(start + INTERVAL * 3 / 2));
    }

    #[test]
    fn who_slept_as_long_as_a_backup_waits_repeats_nothing() {
        let (mut beats, start) = (Beats::default(), Instant::now());
        beats.said(&"a".into(), said(2, 100), INTERVAL, start);
        assert_eq!(repeated(&mut beats, start + INTERVAL * 3), []);
        assert_eq!(beats.next_deadline(), None);
        assert!(beats.said(&"a".into(), said(2, 100), INTERVAL, start + INTERVAL * 3));
        assert_eq!(repeated(&mut beats, start + INTERVAL * 5), [said(2, 100)]);
    }

    #[test]
    fn each_peer_of_a_router_is_told() {
        let (mut beats, start) = (Beats::default(), Instant::now());
        for peer in [2, 3] {
            assert!(beats.said(&"a".into(), said(peer, 100), INTERVAL, start));
        }
        let all = repeated(&mut beats, start + INTERVAL * 2);
        assert_eq!(all, [said(2, 100), said(3, 100)]);
    }

    #[test]
    fn what_is_forgotten_is_repeated_no_more_and_slow_ones_never_are() {
        let mut pacers = Pacers::default();
        pacers.attend(Duration::from_secs(1)).unwrap();
        assert!(pacers.0.is_none());
        let shared = Arc::new(Shared::default());
        let pacers = Pacers(Some(Arc::clone(&shared)));
        let now = Instant::now();
        for router in ["a", "b"] {
            pacers.said(&router.into(), said(2, 100), INTERVAL, now);
        }
        pacers.said(&"c".into(), said(2, 100), Duration::from_secs(1), now);
        repeated(&mut shared.beats.lock(), now + INTERVAL * 2);
        assert_eq!(["a", "b", "c"].map(|router| pacers.repeated(router)), [1, 1, 0]);
        pacers.forget("a");
        assert_eq!(repeated(&mut shared.beats.lock(), now + INTERVAL * 4).len(), 1);
        pacers.forget_all();
        assert_eq!(shared.beats.lock().next_deadline(), None);
    }
}
