//! A server that answers MySQL commands with prepared bytes, or echoes raw ones: one thread, so lean that the proxy
//! before it is what a run measures.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::rc::Rc;
use std::time::Duration;

use crate::poll::{self, Got, Poll};
use crate::wire;

/// The replies of one result ending.
struct Replies {
    small: Rc<[u8]>,
    binary: Rc<[u8]>,
    mib1: Rc<[u8]>,
    mib16: Rc<[u8]>,
    gib: [Rc<[u8]>; 3],
    ok: Rc<[u8]>,
}

impl Replies {
    fn new(new_eof: bool) -> Self {
        let rows = |count| vec![vec!["x".repeat(1020)]; count];
        let mut ok = Vec::new();
        wire::packet(&mut ok, 1, wire::OK);
        Self {
            small: wire::result(
                &["c"],
                &[vec!["some small value of forty bytes, or so it is".into()]],
                new_eof,
            )
            .into(),
            binary: wire::binary_result(
                "c",
                "some small value of forty bytes, or so it is",
                new_eof,
            )
            .into(),
            mib1: wire::result(&["c"], &rows(1024), new_eof).into(),
            mib16: wire::result(&["c"], &rows(16 * 1024), new_eof).into(),
            gib: wire::endless(new_eof).map(Rc::from),
            ok: ok.into(),
        }
    }
}

struct Peer {
    stream: TcpStream,
    input: Vec<u8>,
    output: Rc<[u8]>,
    written: usize,
    /// Parts of a huge result that are still to come after `output`: MiBs, then the ending.
    mib_left: u32,
    ending: bool,
    /// Whether it is watched for writing.
    waiting: bool,
    logged_in: bool,
    new_eof: bool,
}

/// What kind of server runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Sends back what comes.
    Echo,
    /// MySQL; a replica of an address, as monitors see it, or a primary.
    Mysql { server_id: u32, replica_of: Option<SocketAddr> },
}

struct Server {
    mode: Mode,
    replies: [Replies; 2],
    greeting: Rc<[u8]>,
    scratch: Vec<u8>,
}

/// Serves until the process is killed.
pub(crate) fn serve(listener: TcpListener, mode: Mode) -> anyhow::Result<()> {
    listener.set_nonblocking(true)?;
    let mut poll = Poll::new()?;
    poll.add(&listener, 0)?;
    let replies = [Replies::new(false), Replies::new(true)];
    let greeting = wire::greeting().into();
    let mut server = Server { mode, replies, greeting, scratch: vec![0; 65_536] };
    let mut peers: BTreeMap<u64, Peer> = BTreeMap::new();
    let mut next = 1;
    let mut keys = Vec::new();
    loop {
        poll.wait(&mut keys, Duration::from_secs(60))?;
        for &key in &keys {
            if key == 0 {
                while let Ok((stream, _)) = listener.accept() {
                    stream.set_nonblocking(true)?;
                    stream.set_nodelay(true)?;
                    poll.add(&stream, next)?;
                    let mut peer = server.peer(stream);
                    if server.flush(&mut peer, &poll, next).is_some() {
                        peers.insert(next, peer);
                    }
                    next += 1;
                }
            } else if let Some(peer) = peers.get_mut(&key)
                && server.turn(peer, &poll, key).is_none()
            {
                peers.remove(&key);
            }
        }
    }
}

impl Server {
    fn peer(&self, stream: TcpStream) -> Peer {
        let output = match self.mode {
            Mode::Echo => Rc::from([]),
            Mode::Mysql { .. } => Rc::clone(&self.greeting),
        };
        let input = Vec::new();
        Peer {
            stream,
            input,
            output,
            written: 0,
            mib_left: 0,
            ending: false,
            waiting: false,
            logged_in: false,
            new_eof: false,
        }
    }

    /// Does what a ready connection allows; `None` when it is over.
    fn turn(&mut self, peer: &mut Peer, poll: &Poll, key: u64) -> Option<()> {
        if peer.written < peer.output.len() {
            return self.flush(peer, poll, key);
        }
        let count = match poll::read(&mut peer.stream, &mut self.scratch) {
            Got::Bytes(count) => count,
            Got::Nothing => return Some(()),
            Got::End => return None,
        };
        let bytes = self.scratch.get(..count)?;
        if self.mode == Mode::Echo {
            let sent = poll::write(&mut peer.stream, bytes)?;
            return (sent == count).then_some(());
        }
        peer.input.extend_from_slice(bytes);
        self.commands(peer, poll, key)
    }

    fn commands(&self, peer: &mut Peer, poll: &Poll, key: u64) -> Option<()> {
        while let Some((sequence, payload, length)) = wire::first(&peer.input) {
            let reply = if peer.logged_in {
                self.answer(payload, peer.new_eof)?
            } else {
                peer.logged_in = true;
                peer.new_eof = payload.get(3)? & 1 != 0;
                let mut ok = Vec::new();
                wire::packet(&mut ok, sequence + 1, wire::OK);
                Some(ok.into())
            };
            peer.input.drain(..length);
            let Some(reply) = reply else { continue };
            if Rc::ptr_eq(&reply, &self.replies(peer.new_eof)?.gib[0]) {
                (peer.mib_left, peer.ending) = (1024, true);
            }
            peer.output = reply;
            peer.written = 0;
            self.flush(peer, poll, key)?;
            if peer.written < peer.output.len() {
                return Some(());
            }
        }
        Some(())
    }

    fn replies(&self, new_eof: bool) -> Option<&Replies> {
        self.replies.get(usize::from(new_eof))
    }

    /// The reply to a command: `None` ends the connection, `Some(None)` is a command without reply.
    fn answer(&self, payload: &[u8], new_eof: bool) -> Option<Option<Rc<[u8]>>> {
        let replies = self.replies(new_eof)?;
        let (&code, body) = payload.split_first()?;
        let reply = match code {
            0x01 => return None,
            0x19 | 0x18 => return Some(None),
            0x03 => self.query(body, replies, new_eof),
            0x16 => {
                let parameters = body.iter().filter(|&&byte| byte == b'?').count() as u8;
                wire::prepared(1, parameters, new_eof).into()
            }
            0x17 => Rc::clone(&replies.binary),
            _ => Rc::clone(&replies.ok),
        };
        Some(Some(reply))
    }

    fn query(&self, body: &[u8], replies: &Replies, new_eof: bool) -> Rc<[u8]> {
        let has = |word: &[u8]| body.windows(word.len()).any(|part| part == word);
        match body.get(..6) {
            Some(b"SELECT") if body.starts_with(b"SELECT c FROM ") => {
                let table = body.get(14..).unwrap_or_default();
                if table.starts_with(b"mib16") {
                    Rc::clone(&replies.mib16)
                } else if table.starts_with(b"gib1") {
                    Rc::clone(&replies.gib[0])
                } else if table.starts_with(b"mib1") {
                    Rc::clone(&replies.mib1)
                } else {
                    Rc::clone(&replies.small)
                }
            }
            Some(b"SELECT") if has(b"@@") => self.variables(body, new_eof),
            Some(b"SELECT") => Rc::clone(&replies.small),
            Some(b"SHOW S" | b"SHOW A") => self.replication(new_eof),
            _ => Rc::clone(&replies.ok),
        }
    }

    /// Answers `SELECT @@a, @@global.b AS c …` from a small table, as monitors ask it.
    fn variables(&self, body: &[u8], new_eof: bool) -> Rc<[u8]> {
        let text = String::from_utf8_lossy(body).to_lowercase();
        let list = text.trim_start_matches("select").split(" from ").next().unwrap_or_default();
        let items: Vec<&str> = list.split(',').map(str::trim).collect();
        let names: Vec<&str> =
            items.iter().map(|item| item.rsplit(' ').next().unwrap_or(item)).collect();
        let values = items.iter().map(|item| self.variable(item)).collect();
        wire::result(&names, &[values], new_eof).into()
    }

    fn variable(&self, item: &str) -> String {
        let (is_read_only, id) = match self.mode {
            Mode::Echo => (false, 0),
            Mode::Mysql { server_id, replica_of } => (replica_of.is_some(), server_id),
        };
        let text = match item {
            _ if item.contains("read_only") => ["0", "1"][usize::from(is_read_only)],
            _ if item.contains("server_id") => return id.to_string(),
            _ if item.contains("version_comment") => "lean",
            _ if item.contains("version") => "10.11.19-MariaDB-lean",
            _ if item.contains("gtid") => "0-1-1",
            _ if item.contains("charset") || item.contains("character_set") => "utf8mb4",
            _ if item.contains("collation") => "utf8mb4_general_ci",
            _ if item.contains("sql_mode") => "STRICT_TRANS_TABLES",
            _ if item.contains("max_allowed_packet") => "16777216",
            _ if item.contains("time_zone") => "SYSTEM",
            _ if item.contains("isolation") => "REPEATABLE-READ",
            _ => "1",
        };
        text.to_owned()
    }

    /// Answers `SHOW ALL SLAVES STATUS`: nothing from a primary, one healthy connection from a replica.
    fn replication(&self, new_eof: bool) -> Rc<[u8]> {
        let columns = [
            "Connection_name",
            "Master_Host",
            "Master_Port",
            "Slave_IO_Running",
            "Slave_SQL_Running",
            "Seconds_Behind_Master",
            "Master_Server_Id",
            "Last_IO_Errno",
            "Last_IO_Error",
            "Last_SQL_Errno",
            "Last_SQL_Error",
            "Using_Gtid",
            "Gtid_IO_Pos",
        ];
        let row = |primary: SocketAddr| {
            let (host, port) = (primary.ip().to_string(), primary.port().to_string());
            let texts =
                ["", &host, &port, "Yes", "Yes", "0", "1", "0", "", "0", "", "Slave_Pos", "0-1-1"];
            texts.map(str::to_owned).to_vec()
        };
        let rows: Vec<_> = match self.mode {
            Mode::Mysql { replica_of: Some(primary), .. } => vec![row(primary)],
            _ => Vec::new(),
        };
        wire::result(&columns, &rows, new_eof).into()
    }

    fn flush(&self, peer: &mut Peer, poll: &Poll, key: u64) -> Option<()> {
        let was_waiting = peer.waiting;
        loop {
            let rest = peer.output.get(peer.written..)?;
            if !rest.is_empty() {
                peer.written += poll::write(&mut peer.stream, rest)?;
            }
            if peer.written < peer.output.len() || !self.next_part(peer)? {
                break;
            }
        }
        let waits = peer.written < peer.output.len();
        peer.waiting = waits;
        if waits != was_waiting {
            poll.watch(&peer.stream, key, waits).ok()?;
        }
        if was_waiting && !waits && !peer.input.is_empty() {
            return self.commands(peer, poll, key);
        }
        Some(())
    }

    /// Goes on with a huge result; `Some(false)` when there is no more of it.
    fn next_part(&self, peer: &mut Peer) -> Option<bool> {
        let [_, mib, ending] = &self.replies(peer.new_eof)?.gib;
        if peer.mib_left > 0 {
            peer.mib_left -= 1;
            peer.output = Rc::clone(mib);
        } else if peer.ending {
            peer.ending = false;
            peer.output = Rc::clone(ending);
        } else {
            return Some(false);
        }
        peer.written = 0;
        Some(true)
    }
}
