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
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
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
}

/// Drives the load; `mark` is called when measuring starts and when it ends.
pub(crate) fn drive(load: &Load, mut mark: impl FnMut()) -> anyhow::Result<Outcome> {
    let outcome = Outcome {
        operations: 0,
        errors: 0,
        elapsed: Duration::ZERO,
        micros: Histogram::new_with_bounds(1, 60_000_000, 3)?,
    };
    let mut run = Run {
        load,
        poll: Poll::new()?,
        clients: Vec::new(),
        output: Vec::new(),
        scratch: vec![0; 262_144],
        outcome,
        counting: false,
    };
    for index in 0..load.connections {
        run.clients.push(None);
        run.open(index)?;
    }
    run.until(now() + load.warm)?;
    mark();
    let start = now();
    run.counting = true;
    run.until(start + load.measured)?;
    run.outcome.elapsed = now() - start;
    mark();
    Ok(run.outcome)
}

impl Run<'_> {
    fn until(&mut self, end: Instant) -> anyhow::Result<()> {
        let mut keys = Vec::new();
        while now() < end {
            self.poll.wait(&mut keys, Duration::from_millis(50))?;
            for &key in &keys {
                let index = key as usize;
                if self.turn(index).is_none() {
                    self.outcome.errors += u64::from(self.counting);
                    self.open(index)?;
                }
            }
            anyhow::ensure!(self.outcome.errors < 10_000, "too many errors");
        }
        Ok(())
    }

    fn open(&mut self, index: usize) -> anyhow::Result<()> {
        let started = now();
        let stream = poll::connect(self.load.to)?;
        self.poll.add(&stream, index as u64)?;
        let raw = self.load.work == Work::Tcp64;
        let phase = if raw { Phase::Command } else { Phase::Greeting };
        let counter = index as u64 * 1_000_003;
        let mut client = Client {
            stream,
            phase,
            input: Vec::new(),
            skip: 0,
            packets: 0,
            statement: 0,
            started,
            counter,
        };
        if raw {
            let _ = self.send(&mut client);
        }
        if let Some(slot) = self.clients.get_mut(index) {
            *slot = Some(client);
        }
        Ok(())
    }

    fn turn(&mut self, index: usize) -> Option<()> {
        let mut client = self.clients.get_mut(index)?.take()?;
        let mut bytes = std::mem::take(&mut self.scratch);
        let going = match poll::read(&mut client.stream, &mut bytes) {
            Got::Bytes(count) => self.take(&mut client, bytes.get(..count).unwrap_or_default()),
            Got::Nothing => Some(true),
            Got::End => None,
        };
        self.scratch = bytes;
        if going? {
            *self.clients.get_mut(index)? = Some(client);
        } else {
            drop(client);
            self.open(index).ok()?;
        }
        Some(())
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
            let needed = if client.phase == Phase::Command {
                length.min(9)
            } else {
                length
            };
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
            Phase::Greeting => {
                let login = wire::login(payload, "app", "app");
                poll::write(&mut client.stream, &login)?;
                client.phase = Phase::Login;
            }
            Phase::Login if head == 0xfe => {
                poll::write(
                    &mut client.stream,
                    &wire::switch(payload, sequence + 1, "app"),
                )?;
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
            // OK, one parameter, one column: the load asks for the new result ending.
            Phase::Prepare => {
                if client.packets == 0 && head != 0 {
                    return None;
                }
                if let (0, Some(&[a, b, c, d])) = (
                    client.packets,
                    payload.get(1..5).and_then(|id| id.first_chunk::<4>()),
                ) {
                    client.statement = u32::from_le_bytes([a, b, c, d]);
                }
                client.packets += 1;
                if client.packets == 3 {
                    client.packets = 0;
                    client.phase = Phase::Command;
                    self.send(client)?;
                }
            }
            Phase::Command => {
                client.packets += 1;
                match (client.packets, head) {
                    (1, 0xff) => return None,
                    (1, 0x00) => return Some(true),
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
            let micros = now().saturating_duration_since(client.started).as_micros();
            self.outcome
                .micros
                .saturating_record(u64::try_from(micros).unwrap_or(u64::MAX));
        }
    }

    /// Sends the next operation; its texts differ in their literals.
    fn send(&mut self, client: &mut Client) -> Option<()> {
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
