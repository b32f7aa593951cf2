//! The load: readers and writers that behave as applications do, and note what they were told.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use highgate_io::{clock, tasks};
use parking_lot::Mutex;

use super::{
    client::{Answer, Client},
    ledger::{Ledger, Told, Write},
    pulse::Pulse,
};

pub(super) const READERS: usize = 8;
pub(super) const WRITERS: usize = 4;

/// Between two reads of a reader, and two writes of a writer: a load to watch, not a benchmark.
const BREATH_OF_READERS: Duration = Duration::from_millis(4);
const BREATH_OF_WRITERS: Duration = Duration::from_millis(15);

/// ERR of a statement whose outcome is not known.
const OUTCOME_UNKNOWN: u16 = 1158;

/// What the load has seen; grows.
#[derive(Debug)]
pub(super) struct Counts {
    pub(super) reads: AtomicU64,
    pub(super) reads_failed: AtomicU64,
    /// Answers that belong to another question.
    pub(super) reads_wrong: AtomicU64,
    pub(super) writes: AtomicU64,
    pub(super) writes_unknown: AtomicU64,
    pub(super) writes_refused: AtomicU64,
    pub(super) ledger: Mutex<Ledger>,
    pub(super) last_write: Mutex<Instant>,
    /// What errors said, and how often.
    pub(super) words: Mutex<BTreeMap<String, u64>>,
}

impl Counts {
    pub(super) fn new() -> Self {
        Self {
            reads: AtomicU64::new(0),
            reads_failed: AtomicU64::new(0),
            reads_wrong: AtomicU64::new(0),
            writes: AtomicU64::new(0),
            writes_unknown: AtomicU64::new(0),
            writes_refused: AtomicU64::new(0),
            ledger: Mutex::default(),
            last_write: Mutex::new(clock::now()),
            words: Mutex::default(),
        }
    }

    /// Statements that clients were answered as they wanted.
    pub(super) fn operations(&self) -> u64 {
        self.reads.load(Relaxed) + self.writes.load(Relaxed)
    }

    /// Errors that clients have seen.
    pub(super) fn errors(&self) -> u64 {
        [&self.reads_failed, &self.reads_wrong, &self.writes_unknown, &self.writes_refused]
            .iter()
            .map(|count| count.load(Relaxed))
            .sum()
    }

    fn note(&self, who: &str, what: &str) {
        /// More say nothing new.
        const MOST: usize = 8;
        let mut words = self.words.lock();
        let said = format!("{who}: {what}");
        if words.len() < MOST || words.contains_key(&said) {
            *words.entry(said).or_default() += 1;
        }
    }
}

/// The running load; stops when dropped.
pub(super) struct Load {
    pub(super) counts: Arc<Counts>,
    pulse: Pulse,
    threads: Vec<JoinHandle<()>>,
}

impl Load {
    /// Starts it against the address of applications.
    pub(super) fn start(address: SocketAddr) -> anyhow::Result<Self> {
        let (counts, pulse) = (Arc::new(Counts::new()), Pulse::default());
        let mut threads = Vec::new();
        for index in 0..READERS {
            let worker = Worker { index, address, counts: counts.clone(), pulse: pulse.clone() };
            threads.push(tasks::thread(&format!("reader-{index}"), move || worker.read())?);
        }
        for index in 0..WRITERS {
            let worker = Worker { index, address, counts: counts.clone(), pulse: pulse.clone() };
            threads.push(tasks::thread(&format!("writer-{index}"), move || worker.write())?);
        }
        Ok(Self { counts, pulse, threads })
    }

    /// Ends it; every statement under way is answered first.
    pub(super) fn stop(&mut self) {
        self.pulse.stop();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        // Not joined: a statement under way may wait for a server that the demo has taken away.
        self.pulse.stop();
    }
}

struct Worker {
    index: usize,
    address: SocketAddr,
    counts: Arc<Counts>,
    pulse: Pulse,
}

impl Worker {
    /// Reads one order after the other; each answer has to carry the number of its question.
    fn read(&self) {
        let mut client = None;
        let mut question: u64 = self.index as u64 + 1;
        while self.pulse.rest(BREATH_OF_READERS) {
            question = question.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let asked = question >> 44;
            let id = asked % (self.counts.writes.load(Relaxed) + 1);
            let sql = format!(
                "SELECT {asked} AS asked, (SELECT note FROM shop.orders WHERE id = {id}) AS note"
            );
            match self.ask(&mut client, &sql) {
                Ok(Answer::Result { rows, .. }) => {
                    let answered = rows.first().and_then(|row| row.first()).cloned().flatten();
                    if rows.len() == 1 && answered == Some(asked.to_string()) {
                        self.counts.reads.fetch_add(1, Relaxed);
                    } else {
                        self.counts.reads_wrong.fetch_add(1, Relaxed);
                        self.counts.note("a read", &format!("{sql} was answered {rows:?}"));
                    }
                }
                Ok(Answer::Refused { code, message }) => {
                    self.counts.reads_failed.fetch_add(1, Relaxed);
                    self.counts.note("a read", &format!("{code} {message}"));
                }
                Ok(Answer::Done) => {
                    self.counts.reads_wrong.fetch_add(1, Relaxed);
                    self.counts.note("a read", &format!("{sql} was answered OK"));
                }
                Err(error) => {
                    self.counts.reads_failed.fetch_add(1, Relaxed);
                    self.counts.note("a read", &error.to_string());
                }
            }
        }
    }

    /// Writes orders with numbers of its own, each once, whatever it is told.
    fn write(&self) {
        let mut client = None;
        let mut number = 0;
        while self.pulse.rest(BREATH_OF_WRITERS) {
            number += 1;
            let sql = format!(
                "INSERT INTO shop.orders (writer, number, note) VALUES ({}, {number}, 'order {number}')",
                self.index
            );
            let from = clock::now();
            let told = match self.ask(&mut client, &sql) {
                Ok(Answer::Done | Answer::Result { .. }) => Told::Done,
                Ok(Answer::Refused { code, message }) => {
                    self.counts.note("a write", &format!("{code} {message}"));
                    if code == OUTCOME_UNKNOWN { Told::Unknown } else { Told::Refused }
                }
                Err(error) => {
                    self.counts.note("a write", &error.to_string());
                    Told::Unknown
                }
            };
            self.enter(Write { writer: self.index, number, from, to: clock::now(), told });
        }
    }

    fn enter(&self, write: Write) {
        let count = match write.told {
            Told::Done => {
                *self.counts.last_write.lock() = write.to;
                &self.counts.writes
            }
            Told::Refused => &self.counts.writes_refused,
            Told::Unknown => &self.counts.writes_unknown,
        };
        count.fetch_add(1, Relaxed);
        self.counts.ledger.lock().enter(write);
    }

    /// Asks on the connection, or on a new one where there is none any more.
    fn ask(&self, client: &mut Option<Client>, sql: &str) -> anyhow::Result<Answer> {
        let mut open = match client.take() {
            Some(open) => open,
            None => Client::tcp(self.address, "app", "app")?,
        };
        let answer = open.query(sql)?;
        *client = Some(open);
        Ok(answer)
    }
}
