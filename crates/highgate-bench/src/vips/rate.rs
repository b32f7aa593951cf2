//! A planned end of the active node while new connections come at a steady rate, whatever became of
//! those before.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr, TcpStream},
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use highgate_testkit::Lab;
use rustix::process::{Pid, Signal, kill_process};

use super::{CLIENT, PORT, VIP, echo, highgate, until_held};
use crate::poll::{self, Got, Poll, now, pause};

/// New connections each second.
const RATE: u32 = 1000;
/// The kernel repeats a SYN after a second, and again two seconds later.
const PATIENCE: Duration = Duration::from_secs(5);
/// A request that takes so long has repeated its SYN.
const REPEATED: Duration = Duration::from_millis(900);

#[derive(Debug, Default)]
struct Outcome {
    asked: usize,
    failed: usize,
    repeated: usize,
    slowest: Duration,
}

/// One round, as a line of the table.
pub(super) fn planned(program: &Path) -> anyhow::Result<String> {
    let lab = Lab::new(CLIENT)?;
    let _echo = echo(&lab, CLIENT, 9302)?;
    let one = highgate(program, &lab, 1, "")?;
    until_held(&lab, 1, Duration::from_secs(15))?;
    let _two = highgate(program, &lab, 2, "")?;
    pause(Duration::from_millis(2500));
    let (stop, client) = (AtomicBool::new(false), lab.host(CLIENT)?);
    let outcome = std::thread::scope(|scope| {
        let asking = scope.spawn(|| client.inside(|| ask_until(&stop)));
        pause(Duration::from_secs(2));
        let done = (|| {
            let pid = one.highgate.as_ref().map(|process| process.pid()).context("no process")?;
            let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).context("no pid")?;
            kill_process(pid, Signal::TERM)?;
            until_held(&lab, 2, Duration::from_secs(10))?;
            pause(Duration::from_secs(2));
            anyhow::Ok(())
        })();
        stop.store(true, Ordering::Relaxed);
        let outcome = asking.join().ok().context("the client panicked")???;
        done.map(|()| outcome)
    })?;
    Ok(format!(
        "| {} connections, {RATE} a second | {} | {} | {:.2} |",
        outcome.asked,
        outcome.failed,
        outcome.repeated,
        outcome.slowest.as_secs_f64()
    ))
}

struct Request {
    stream: TcpStream,
    begun: Instant,
    is_sent: bool,
}

/// Begins a request at each beat until it is told to stop, then waits for those that are left.
fn ask_until(stop: &AtomicBool) -> anyhow::Result<Outcome> {
    let (mut poll, mut keys) = (Poll::new()?, Vec::new());
    let mut open: BTreeMap<u64, Request> = BTreeMap::new();
    let mut outcome = Outcome::default();
    let (start, beat) = (now(), Duration::from_secs(1) / RATE);
    let mut next = 0_u32;
    loop {
        let stopped = stop.load(Ordering::Relaxed);
        while !stopped && start + beat * next <= now() {
            begin(u64::from(next), &poll, &mut open, &mut outcome);
            next += 1;
        }
        if stopped && open.is_empty() {
            return Ok(outcome);
        }
        let due = (start + beat * next).saturating_duration_since(now());
        poll.wait(&mut keys, if stopped { beat } else { due.min(beat) })?;
        for key in &keys {
            if let Some(mut request) = open.remove(key) {
                match step(&mut request, *key, &poll) {
                    Step::Goes => drop(open.insert(*key, request)),
                    Step::Answered => {
                        let took = now().saturating_duration_since(request.begun);
                        outcome.repeated += usize::from(took >= REPEATED);
                        outcome.slowest = outcome.slowest.max(took);
                    }
                    Step::Failed => outcome.failed += 1,
                }
            }
        }
        let before = open.len();
        let late = now();
        open.retain(|_, request| late.saturating_duration_since(request.begun) < PATIENCE);
        outcome.failed += before - open.len();
    }
}

fn begin(key: u64, poll: &Poll, open: &mut BTreeMap<u64, Request>, outcome: &mut Outcome) {
    outcome.asked += 1;
    let begun = now();
    let stream = poll::connect(SocketAddr::new(IpAddr::V4(VIP), PORT));
    let stream = stream.and_then(|stream| {
        poll.add(&stream, key)?;
        poll.watch(&stream, key, true)?;
        Ok(stream)
    });
    match stream {
        Ok(stream) => drop(open.insert(key, Request { stream, begun, is_sent: false })),
        Err(_) => outcome.failed += 1,
    }
}

enum Step {
    Goes,
    Answered,
    Failed,
}

fn step(request: &mut Request, key: u64, poll: &Poll) -> Step {
    if request.is_sent {
        return match poll::read(&mut request.stream, &mut [0; 8]) {
            Got::Bytes(_) => Step::Answered,
            Got::Nothing => Step::Goes,
            Got::End => Step::Failed,
        };
    }
    match poll::write(&mut request.stream, b"?") {
        Some(1) if poll.watch(&request.stream, key, false).is_ok() => {
            request.is_sent = true;
            Step::Goes
        }
        Some(0) => Step::Goes,
        _ => Step::Failed,
    }
}
