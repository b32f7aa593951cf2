//! The load: a closed loop of connections on one epoll thread, bounded in time.

use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::poll::{self, Got, Poll, now};
use crate::wire;

/// What each operation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    /// 64 bytes there and back.
    Tcp64,
    /// One small read as text.
    Text,
    /// Four reads to one UPDATE, as text.
    Mixed,
    /// One execution of a prepared statement.
    Prepared,
    /// A result of one MiB.
    Mib1,
    /// A result of 16 MiB.
    Mib16,
    /// Connect, log in, one query, quit.
    Cycle,
}

/// One measured stretch.
#[derive(Debug, Clone)]
pub(crate) struct Load {
    pub(crate) to: SocketAddr,
    pub(crate) work: Work,
    pub(crate) connections: usize,
    /// Whether results may end in the new way, where the server offers it.
    pub(crate) new_eof: bool,
    pub(crate) warm: Duration,
    pub(crate) measured: Duration,
}

/// What a stretch gave.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) operations: u64,
    pub(crate) errors: u64,
    pub(crate) elapsed: Duration,
    pub(crate) micros: Histogram<u64>,
    /// When the last error, or the last answer slower than [`SLOW`], came.
    pub(crate) last_trouble: Option<Instant>,
}

/// An answer that took longer has waited for something.
pub(crate) const SLOW: Duration = Duration::from_millis(20);

/// So many connections may be on their way at once; a queue of accepts would drop more.
const OPENING: usize = 256;

/// With more connections than this, the load of the first would starve the logins of the last.
const HELD_FROM: usize = 1000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// On its way to the server; raw connections speak first.
    Connecting,
    Greeting,
    Login,
    Prepare,
    Command,
}

struct Client {
    stream: TcpStream,
    phase: Phase,
    input: Vec<u8>,
    /// Bytes of the packet under way that are skipped unseen.
    skip: usize,
    /// Packets of this answer seen so far.
    packets: u64,
    /// The prepared statement's id.
    statement: u32,
    /// Whether results end in the new way.
    new_eof: bool,
    started: Instant,
    counter: u64,
}

struct Run<'a> {
    load: &'a Load,
    poll: Poll,
    clients: Vec<Option<Client>>,
    output: Vec<u8>,
    scratch: Vec<u8>,
    outcome: Outcome,
    counting: bool,
    /// Connections that have not completed their login.
    opening: usize,
    /// Whether commands wait until everyone has logged in.
    holding: bool,
    failures: u64,
    keys: Vec<u64>,
}

/// Drives the load; `mark` is called when measuring starts (with 0) and when it ends, with the operations done.
pub(crate) fn drive(load: &Load, mut mark: impl FnMut(u64)) -> anyhow::Result<Outcome> {
    let outcome = Outcome {
        operations: 0,
        errors: 0,
        elapsed: Duration::ZERO,
        micros: Histogram::new_with_bounds(1, 60_000_000, 3)?,
        last_trouble: None,
    };
    let mut run = Run {
        load,
        poll: Poll::new()?,
        clients: Vec::new(),
        output: Vec::new(),
        scratch: vec![0; 262_144],
        outcome,
        counting: false,
        opening: 0,
        holding: load.connections > HELD_FROM,
        failures: 0,
        keys: Vec::new(),
    };
    run.open_all()?;
    run.until(now() + load.warm)?;
    mark(0);
    let start = now();
    run.counting = true;
    run.until(start + load.measured)?;
    run.outcome.elapsed = now() - start;
    mark(run.outcome.operations);
    Ok(run.outcome)
}

impl Run<'_> {
    fn open_all(&mut self) -> anyhow::Result<()> {
        let end = now() + Duration::from_secs(60);
        while self.clients.len() < self.load.connections || self.opening > 0 {
            anyhow::ensure!(now() < end, "{} logins hang", self.opening);
            while self.clients.len() < self.load.connections && self.opening < OPENING {
                let index = self.clients.len();
                self.clients.push(None);
                self.open(index)?;
            }
            self.round()?;
        }
        if std::mem::take(&mut self.holding) {
            for index in 0..self.clients.len() {
                if let Some(mut client) = self.clients.get_mut(index).and_then(Option::take) {
                    let sent = self.send(&mut client);
                    anyhow::ensure!(sent.is_some(), "a connection broke after its login");
                    if let Some(slot) = self.clients.get_mut(index) {
                        *slot = Some(client);
                    }
                }
            }
        }
        Ok(())
    }

    fn until(&mut self, end: Instant) -> anyhow::Result<()> {
        while now() < end {
            self.round()?;
        }
        Ok(())
    }

    fn round(&mut self) -> anyhow::Result<()> {
        let mut keys = std::mem::take(&mut self.keys);
        self.poll.wait(&mut keys, Duration::from_millis(50))?;
        for &key in &keys {
            let index = key as usize;
            if self.turn(index).is_none() {
                self.failures += 1;
                self.outcome.errors += u64::from(self.counting);
                self.trouble();
                self.open(index)?;
            }
        }
        self.keys = keys;
        anyhow::ensure!(self.failures < 10_000, "too many errors");
        Ok(())
    }

    fn trouble(&mut self) {
        if self.counting {
            self.outcome.last_trouble = Some(now());
        }
    }

    fn open(&mut self, index: usize) -> anyhow::Result<()> {
        let started = now();
        let stream = poll::connect(self.load.to)?;
        self.poll.add(&stream, index as u64)?;
        let phase = if self.load.work == Work::Tcp64 {
            self.poll.watch(&stream, index as u64, true)?;
            Phase::Connecting
        } else {
            Phase::Greeting
        };
        self.opening += 1;
        let counter = index as u64 * 1_000_003;
        let client = Client {
            stream,
            phase,
            input: Vec::new(),
            skip: 0,
            packets: 0,
            statement: 0,
            new_eof: true,
            started,
            counter,
        };
        if let Some(slot) = self.clients.get_mut(index) {
            *slot = Some(client);
        }
        Ok(())
    }

    fn turn(&mut self, index: usize) -> Option<()> {
        let mut client = self.clients.get_mut(index)?.take()?;
        let was_opening = client.phase != Phase::Command;
        let going = if client.phase == Phase::Connecting {
            self.connected(&mut client, index)
        } else {
            self.receive(&mut client)
        };
        if was_opening && (going.is_none() || client.phase == Phase::Command) {
            self.opening = self.opening.saturating_sub(1);
        }
        if going? {
            *self.clients.get_mut(index)? = Some(client);
        } else {
            drop(client);
            self.open(index).ok()?;
        }
        Some(())
    }

    fn connected(&mut self, client: &mut Client, index: usize) -> Option<bool> {
        self.poll.watch(&client.stream, index as u64, false).ok()?;
        client.phase = Phase::Command;
        self.send(client)?;
        Some(true)
    }

    fn receive(&mut self, client: &mut Client) -> Option<bool> {
        let mut bytes = std::mem::take(&mut self.scratch);
        let going = match poll::read(&mut client.stream, &mut bytes) {
            Got::Bytes(count) => self.take(client, bytes.get(..count).unwrap_or_default()),
            Got::Nothing => Some(true),
            Got::End => None,
        };
        self.scratch = bytes;
        going
    }

    /// Takes bytes in; `Some(false)` when this connection has done its cycle.
    fn take(&mut self, client: &mut Client, bytes: &[u8]) -> Option<bool> {
        if self.load.work == Work::Tcp64 {
            client.packets += bytes.len() as u64;
            if client.packets >= 64 {
                client.packets = 0;
                self.done(client);
                self.send(client)?;
            }
            return Some(true);
        }
        let skipped = client.skip.min(bytes.len());
        client.skip -= skipped;
        let mut input = std::mem::take(&mut client.input);
        input.extend_from_slice(bytes.get(skipped..)?);
        let mut at = 0;
        let mut finished = false;
        // A payload's first nine bytes tell all that matters of a result; the rest of a long one is skipped.
        while let Some(&[a, b, c, sequence]) = input.get(at..).and_then(<[u8]>::first_chunk::<4>) {
            let length = u32::from_le_bytes([a, b, c, 0]) as usize;
            let rest = input.get(at + 4..)?;
            let needed = if client.phase == Phase::Command { length.min(9) } else { length };
            if rest.len() < needed {
                break;
            }
            let have = rest.len().min(length);
            finished = self.packet(client, sequence, length, rest.get(..have)?)?;
            client.skip = length - have;
            at += 4 + have;
        }
        input.drain(..at);
        client.input = input;
        if !finished {
            return Some(true);
        }
        self.done(client);
        if self.load.work == Work::Cycle {
            let _ = poll::write(&mut client.stream, &[1, 0, 0, 0, 1]);
            return Some(false);
        }
        self.send(client)?;
        Some(true)
    }

    /// Takes one packet; `Some(true)` when an operation is complete with it.
    fn packet(
        &mut self,
        client: &mut Client,
        sequence: u8,
        length: usize,
        payload: &[u8],
    ) -> Option<bool> {
        let head = *payload.first()?;
        match client.phase {
            Phase::Connecting => return None,
            Phase::Greeting => {
                let wanted = if self.load.new_eof { wire::DEPRECATE_EOF } else { 0 };
                client.new_eof = wanted & wire::offered(payload) != 0;
                let login = wire::login(payload, "app", "app", wanted);
                poll::write(&mut client.stream, &login)?;
                client.phase = Phase::Login;
            }
            Phase::Login if head == 0xfe => {
                poll::write(&mut client.stream, &wire::switch(payload, sequence + 1, "app"))?;
            }
            Phase::Login if head != 0 => return None,
            Phase::Login if self.load.work == Work::Prepared => {
                client.phase = Phase::Prepare;
                let mut out = Vec::new();
                wire::packet(&mut out, 0, b"\x16SELECT c FROM t WHERE id = ?");
                poll::write(&mut client.stream, &out)?;
            }
            Phase::Login => {
                client.phase = Phase::Command;
                self.send(client)?;
            }
            // OK, one parameter, one column; in the old way each list has an end of its own.
            Phase::Prepare => {
                if client.packets == 0 && head != 0 {
                    return None;
                }
                if let (0, Some(&[a, b, c, d])) =
                    (client.packets, payload.get(1..5).and_then(|id| id.first_chunk::<4>()))
                {
                    client.statement = u32::from_le_bytes([a, b, c, d]);
                }
                client.packets += 1;
                if client.packets == if client.new_eof { 3 } else { 5 } {
                    client.packets = 0;
                    client.phase = Phase::Command;
                    self.send(client)?;
                }
            }
            Phase::Command => {
                client.packets += 1;
                match (client.packets, head) {
                    (1 | 3.., 0xff) => return None,
                    (1, 0x00) => return Some(true),
                    // In the old way the column has an end of its own.
                    (3, 0xfe) if !client.new_eof => {}
                    // Column count and the one column come first; rows of the binary protocol start with 0.
                    (3.., 0xfe) if length < 9 => return Some(true),
                    _ => {}
                }
            }
        }
        Some(false)
    }

    fn done(&mut self, client: &mut Client) {
        client.packets = 0;
        if self.counting {
            self.outcome.operations += 1;
            let end = now();
            let took = end.saturating_duration_since(client.started);
            if took > SLOW {
                self.outcome.last_trouble = Some(end);
            }
            let micros = took.as_micros();
            self.outcome.micros.saturating_record(u64::try_from(micros).unwrap_or(u64::MAX));
        }
    }

    /// Sends the next operation; its texts differ in their literals.
    fn send(&mut self, client: &mut Client) -> Option<()> {
        if self.holding {
            return Some(());
        }
        client.counter += 1;
        let id = client.counter;
        let query = match self.load.work {
            Work::Tcp64 => {
                client.started = now();
                return (poll::write(&mut client.stream, &[0x55; 64])? == 64).then_some(());
            }
            Work::Mixed if id.is_multiple_of(5) => {
                format!("\x03UPDATE t SET k = k + 1 WHERE id = {id}")
            }
            Work::Mib1 => format!("\x03SELECT c FROM mib1 WHERE id > {id}"),
            Work::Mib16 => format!("\x03SELECT c FROM mib16 WHERE id > {id}"),
            _ => format!("\x03SELECT c FROM t WHERE id = {id}"),
        };
        self.output.clear();
        if self.load.work == Work::Prepared {
            let statement = client.statement;
            let mut payload = vec![0x17];
            payload.extend_from_slice(&statement.to_le_bytes());
            payload.extend_from_slice(&[0, 1, 0, 0, 0, 0, 1, 8, 0]);
            payload.extend_from_slice(&id.to_le_bytes());
            wire::packet(&mut self.output, 0, &payload);
        } else {
            wire::packet(&mut self.output, 0, query.as_bytes());
        }
        if self.load.work != Work::Cycle {
            client.started = now();
        }
        let sent = poll::write(&mut client.stream, &self.output)?;
        (sent == self.output.len()).then_some(())
    }
}
