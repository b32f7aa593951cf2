//! A database that answers as a script tells, also wrongly.
//!
//! It speaks just enough of the MySQL protocol to greet and to accept any login; then the script turns
//! each command into a [`Reply`]. Its packets are written by hand ([`wire`]) and not by our own protocol crate, so
//! that an error there can't hide behind itself. One thread per connection; all end with the value.

pub mod wire;

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use anyhow::Context as _;
use parking_lot::Mutex;

/// One command of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// Which connection it came on; the first accepted is 0.
    pub connection: usize,
    /// The command byte; `0x03` is COM_QUERY.
    pub code: u8,
    /// What follows the command byte.
    pub body: Vec<u8>,
}

impl Command {
    /// The body as text: the statement of a COM_QUERY or COM_STMT_PREPARE.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// How the server answers one command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// An OK packet, nothing affected.
    Ok,
    /// An OK packet with this status word.
    OkStatus(u16),
    /// An ERR packet.
    Err(u16, &'static str, String),
    /// A text result: column names, then rows; `None` is NULL.
    Rows(Vec<String>, Vec<Vec<Option<String>>>),
    /// A result with this status word: column names, then rows as they are encoded already. Without
    /// columns it is what COM_STMT_FETCH gets; with SERVER_STATUS_CURSOR_EXISTS it ends behind the columns.
    Result(u16, Vec<String>, Vec<Vec<u8>>),
    /// The answer to COM_STMT_PREPARE: its id, its parameters and its columns.
    Prepared(u32, Vec<String>, Vec<String>),
    /// One after the other, numbered on.
    Several(Vec<Self>),
    /// Asks for that file as LOAD DATA LOCAL does, takes all packets up to an empty one, then says OK.
    TakesFile(String),
    /// Packets of these payloads, framed and numbered rightly.
    Packets(Vec<Vec<u8>>),
    /// These bytes and nothing else.
    Bytes(Vec<u8>),
    /// The first bytes of a reply, then the connection is closed.
    CloseAfter(usize, Box<Self>),
    /// The first bytes of a reply, then silence with the connection open.
    HangAfter(usize, Box<Self>),
    /// A reply, one byte per write, so that the peer sees every split.
    ByteByByte(Box<Self>),
    /// The connection is closed with a reset instead of an answer.
    Close,
    /// No answer; the connection stays open.
    Hang,
    /// Bytes that are no packet of this protocol.
    Garbage,
    /// A demand to send a file, whatever the statement was.
    LocalInfile(String),
    /// A column count without any column after it.
    ColumnCount(u64),
    /// A result of one column whose rows never end, until the client closes.
    Endless,
    /// No answer until another connection says KILL QUERY with this one's id; then an error.
    UntilKilled,
}

impl Reply {
    /// The answer to `SELECT @@a, @@b …`, as every proxy asks after a login: a large number for each.
    pub fn variables(text: &str) -> Self {
        let names: Vec<String> = text
            .trim_start_matches("SELECT ")
            .split(',')
            .map(|name| name.trim().to_owned())
            .collect();
        let row = names.iter().map(|_| Some("1000000".to_owned())).collect();
        Self::Rows(names, vec![row])
    }

    /// What MariaDB's server `id` answers where it is asked for its role: the primary, or the replica of
    /// the one on 127.0.0.1 at the port `source`. `None` for any other text.
    pub fn role(text: &str, id: u16, source: Option<u16>) -> Option<Self> {
        let rows = |names: &[&str], row: Option<Vec<String>>| {
            let rows = row.map(|row| row.into_iter().map(Some).collect());
            Self::Rows(names.iter().map(|&it| it.to_owned()).collect(), rows.into_iter().collect())
        };
        if text.starts_with("SELECT @@global.read_only") {
            let read_only = u16::from(source.is_some()).to_string();
            let row = vec![read_only, id.to_string(), "0-1-1".to_owned()];
            return Some(rows(&["read_only", "server_id", "gtid"], Some(row)));
        }
        text.starts_with("SHOW ALL SLAVES STATUS").then(|| {
            let row = |port: u16| {
                ["", "127.0.0.1", &port.to_string(), "Yes", "Yes", "0"].map(str::to_owned).to_vec()
            };
            rows(&REPLICATION, source.map(row))
        })
    }

    /// A result of one row and one column.
    pub fn value(name: &str, value: &str) -> Self {
        Self::Rows(vec![name.to_owned()], vec![vec![Some(value.to_owned())]])
    }
}

/// Of SHOW ALL SLAVES STATUS, what tells a role.
const REPLICATION: [&str; 6] = [
    "Connection_name",
    "Master_Host",
    "Master_Port",
    "Slave_IO_Running",
    "Slave_SQL_Running",
    "Seconds_Behind_Master",
];

type Answer = dyn Fn(&Command) -> Reply + Send + Sync;
type Opening = dyn Fn(usize) -> Option<Reply> + Send + Sync;

/// What the server does.
pub struct Script {
    greeting: Greeting,
    extended: u32,
    deprecate_eof: bool,
    version: String,
    greets: Box<Opening>,
    admits: Box<Opening>,
    answer: Box<Answer>,
}

/// What a new connection gets.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Greeting {
    Proper,
    Bytes(Vec<u8>),
    Hang,
    Close,
}

impl std::fmt::Debug for Script {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Script").field("greeting", &self.greeting).finish_non_exhaustive()
    }
}

impl Script {
    /// Greets as MariaDB, accepts any login, and answers commands as `answer` says.
    pub fn new(answer: impl Fn(&Command) -> Reply + Send + Sync + 'static) -> Self {
        Self {
            greeting: Greeting::Proper,
            extended: 0,
            deprecate_eof: true,
            version: "5.5.5-10.11.19-MariaDB".to_owned(),
            greets: Box::new(|_| None),
            admits: Box::new(|_| None),
            answer: Box::new(answer),
        }
    }

    /// Answers every command with OK.
    pub fn ok() -> Self {
        Self::new(|_| Reply::Ok)
    }

    /// Announces this version in the greeting.
    #[must_use]
    pub fn version(mut self, version: &str) -> Self {
        version.clone_into(&mut self.version);
        self
    }

    /// Doesn't announce CLIENT_DEPRECATE_EOF, so results end the old way.
    #[must_use]
    pub fn old_eof(mut self) -> Self {
        self.deprecate_eof = false;
        self
    }

    /// Offers these of MariaDB's extended capabilities.
    #[must_use]
    pub fn extended(mut self, capabilities: u32) -> Self {
        self.extended = capabilities;
        self
    }

    /// Sends these bytes in place of a greeting.
    #[must_use]
    pub fn greeting_bytes(mut self, bytes: Vec<u8>) -> Self {
        self.greeting = Greeting::Bytes(bytes);
        self
    }

    /// What some connections get in place of a greeting.
    #[must_use]
    pub fn greets(mut self, with: impl Fn(usize) -> Option<Reply> + Send + Sync + 'static) -> Self {
        self.greets = Box::new(with);
        self
    }

    /// What some connections get in place of the OK to their login. Where that asks for another answer
    /// (0xfe), the answer is followed by an OK.
    #[must_use]
    pub fn admits(mut self, with: impl Fn(usize) -> Option<Reply> + Send + Sync + 'static) -> Self {
        self.admits = Box::new(with);
        self
    }

    /// Accepts connections and says nothing.
    #[must_use]
    pub fn greeting_hang(mut self) -> Self {
        self.greeting = Greeting::Hang;
        self
    }

    /// Closes every connection at once.
    #[must_use]
    pub fn greeting_close(mut self) -> Self {
        self.greeting = Greeting::Close;
        self
    }
}

/// The running server.
#[derive(Debug)]
pub struct ScriptedServer {
    shared: Arc<Shared>,
    addr: SocketAddr,
    acceptor: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    script: Script,
    stopping: AtomicBool,
    commands: Mutex<Vec<Command>>,
    /// The payload of each login packet, with its connection.
    logins: Mutex<Vec<(usize, Vec<u8>)>>,
    sockets: Mutex<Vec<TcpStream>>,
    /// Connections whose statement runs until it is killed.
    running: Mutex<BTreeSet<usize>>,
}

impl ScriptedServer {
    /// Listens on a port of 127.0.0.1 that the kernel picks.
    ///
    /// # Errors
    /// No port can be had.
    pub fn start(script: Script) -> anyhow::Result<Self> {
        Self::start_at(script, SocketAddr::from(([127, 0, 0, 1], 0)))
    }

    /// Listens on that address.
    ///
    /// # Errors
    /// It can't be had.
    pub fn start_at(script: Script, address: SocketAddr) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(address).context("listening")?;
        let addr = listener.local_addr()?;
        let shared = Arc::new(Shared {
            script,
            stopping: AtomicBool::new(false),
            commands: Mutex::default(),
            logins: Mutex::default(),
            sockets: Mutex::default(),
            running: Mutex::default(),
        });
        let own = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("scripted".to_owned());
        let acceptor = thread.spawn(move || accept(&own, &listener))?;
        Ok(Self { shared, addr, acceptor: Some(acceptor) })
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// All commands received so far, over all connections.
    pub fn commands(&self) -> Vec<Command> {
        self.shared.commands.lock().clone()
    }

    /// The texts of all COM_QUERY received so far.
    pub fn queries(&self) -> Vec<String> {
        let commands = self.shared.commands.lock();
        commands.iter().filter(|command| command.code == 0x03).map(Command::text).collect()
    }

    /// The payloads of all login packets received so far.
    pub fn logins(&self) -> Vec<Vec<u8>> {
        self.shared.logins.lock().iter().map(|(_, login)| login.clone()).collect()
    }

    /// The account that this connection logged in as.
    pub fn account_of(&self, connection: usize) -> Option<String> {
        /// Capabilities, longest packet, collation and what is reserved.
        const HEAD: usize = 32;
        let logins = self.shared.logins.lock();
        let (_, login) = logins.iter().find(|(of, _)| *of == connection)?;
        let name = login.get(HEAD..)?.split(|&byte| byte == 0).next()?;
        Some(String::from_utf8_lossy(name).into_owned())
    }

    /// How many connections were accepted so far.
    pub fn accepted(&self) -> usize {
        self.shared.sockets.lock().len()
    }

    /// Closes all open connections; new ones are still accepted.
    pub fn close_all(&self) {
        for socket in self.shared.sockets.lock().iter() {
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for ScriptedServer {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        self.close_all();
        // Wakes the acceptor, which then sees that it shall stop.
        let _ = TcpStream::connect(self.addr);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
        self.close_all();
    }
}

fn accept(shared: &Arc<Shared>, listener: &TcpListener) {
    while let Ok((socket, _)) = listener.accept() {
        if shared.stopping.load(Ordering::SeqCst) {
            return;
        }
        let Ok(copy) = socket.try_clone() else {
            continue;
        };
        let connection = {
            let mut sockets = shared.sockets.lock();
            sockets.push(copy);
            sockets.len() - 1
        };
        let own = Arc::clone(shared);
        let thread = std::thread::Builder::new().name(format!("scripted-{connection}"));
        let _ = thread.spawn(move || {
            let mut peer = Peer { socket, connection, shared: &own, deprecate_eof: false };
            // A peer that goes away is what many scripts are about.
            let _ = peer.serve();
            let _ = peer.socket.shutdown(Shutdown::Both);
        });
    }
}

impl Shared {
    /// Ends the statement of that connection, if one runs there until then.
    fn kill(&self, id: &str) -> std::io::Result<()> {
        let connection = id.trim().parse::<usize>().ok().and_then(|id| id.checked_sub(1));
        let Some(connection) = connection.filter(|it| self.running.lock().remove(it)) else {
            return Ok(());
        };
        let error = wire::err(1317, "70100", "Query execution was interrupted");
        match self.sockets.lock().get(connection) {
            Some(mut socket) => socket.write_all(&wire::frame(1, &error)),
            None => Ok(()),
        }
    }
}

struct Peer<'a> {
    socket: TcpStream,
    connection: usize,
    shared: &'a Shared,
    deprecate_eof: bool,
}

impl Peer<'_> {
    fn serve(&mut self) -> std::io::Result<()> {
        self.socket.set_nodelay(true)?;
        let script = &self.shared.script;
        match &script.greeting {
            Greeting::Proper => {}
            Greeting::Bytes(bytes) => self.socket.write_all(bytes)?,
            Greeting::Hang => return self.hang(),
            Greeting::Close => return Ok(()),
        }
        if let Some(reply) = (script.greets)(self.connection) {
            if !self.answer(0, &reply)? {
                return Ok(());
            }
        } else if script.greeting == Greeting::Proper {
            let id = u32::try_from(self.connection + 1).unwrap_or(u32::MAX);
            let (version, extended) = (&script.version, script.extended);
            let greeting = wire::greeting_extended(version, id, script.deprecate_eof, extended);
            self.socket.write_all(&wire::frame(0, &greeting))?;
        }
        let (sequence, login) = self.read_packet()?;
        self.deprecate_eof = script.deprecate_eof && wire::wants_deprecate_eof(&login);
        self.shared.logins.lock().push((self.connection, login));
        if !self.admit(sequence.wrapping_add(1))? {
            return Ok(());
        }
        loop {
            let (sequence, payload) = self.read_packet()?;
            let Some((&code, body)) = payload.split_first() else {
                return Ok(());
            };
            let command = Command { connection: self.connection, code, body: body.to_vec() };
            self.shared.commands.lock().push(command.clone());
            if code == wire::COM_QUIT {
                return Ok(());
            }
            if let Some(id) = command.text().strip_prefix("KILL QUERY ") {
                self.shared.kill(id)?;
            }
            let reply = (script.answer)(&command);
            if !self.answer(sequence.wrapping_add(1), &reply)? {
                return Ok(());
            }
        }
    }

    /// Answers a login; `false` when the connection ends with it.
    fn admit(&mut self, sequence: u8) -> std::io::Result<bool> {
        let ok = wire::ok(wire::AUTOCOMMIT);
        let Some(reply) = (self.shared.script.admits)(self.connection) else {
            return self.socket.write_all(&wire::frame(sequence, &ok)).map(|()| true);
        };
        let asks = self.encode(sequence, &reply).get(4) == Some(&0xfe);
        if !self.answer(sequence, &reply)? {
            return Ok(false);
        }
        if asks {
            let (sequence, _) = self.read_packet()?;
            self.socket.write_all(&wire::frame(sequence.wrapping_add(1), &ok))?;
        }
        Ok(true)
    }

    /// Writes a reply; `false` when the connection ends with it.
    fn answer(&mut self, sequence: u8, reply: &Reply) -> std::io::Result<bool> {
        match reply {
            Reply::Close => {
                // Zero linger: the peer gets a reset, as from a killed process with unread data.
                rustix::net::sockopt::set_socket_linger(
                    &self.socket,
                    Some(std::time::Duration::ZERO),
                )?;
                return Ok(false);
            }
            Reply::Hang => {
                self.hang()?;
                return Ok(false);
            }
            Reply::CloseAfter(count, reply) => {
                let bytes = self.encode(sequence, reply);
                self.socket.write_all(bytes.get(..*count).unwrap_or(&bytes))?;
                return Ok(false);
            }
            Reply::HangAfter(count, reply) => {
                let bytes = self.encode(sequence, reply);
                self.socket.write_all(bytes.get(..*count).unwrap_or(&bytes))?;
                self.hang()?;
                return Ok(false);
            }
            Reply::ByteByByte(reply) => {
                for byte in self.encode(sequence, reply) {
                    self.socket.write_all(&[byte])?;
                }
            }
            Reply::Endless => return self.endless(sequence).map(|()| false),
            Reply::TakesFile(_) => self.take_file(sequence, reply)?,
            Reply::UntilKilled => {
                self.shared.running.lock().insert(self.connection);
            }
            plain => {
                let bytes = self.encode(sequence, plain);
                self.socket.write_all(&bytes)?;
            }
        }
        Ok(true)
    }

    /// Asks for a file and reads it to its end.
    fn take_file(&mut self, sequence: u8, demand: &Reply) -> std::io::Result<()> {
        let bytes = self.encode(sequence, demand);
        self.socket.write_all(&bytes)?;
        loop {
            let (sequence, payload) = self.read_packet()?;
            if payload.is_empty() {
                let ok = wire::ok(wire::AUTOCOMMIT);
                return self.socket.write_all(&wire::frame(sequence.wrapping_add(1), &ok));
            }
        }
    }

    fn encode(&self, sequence: u8, reply: &Reply) -> Vec<u8> {
        match reply {
            Reply::Bytes(bytes) => bytes.clone(),
            Reply::Garbage => garbage(),
            Reply::CloseAfter(_, inner) | Reply::HangAfter(_, inner) | Reply::ByteByByte(inner) => {
                self.encode(sequence, inner)
            }
            plain => wire::frames(sequence, &packets(plain, self.deprecate_eof)),
        }
    }

    fn endless(&mut self, sequence: u8) -> std::io::Result<()> {
        let header = wire::rows(&["c".to_owned()], &[], self.deprecate_eof);
        // Without its last packet, which would end the result.
        let head = header.get(..header.len() - 1).unwrap_or_default();
        self.socket.write_all(&wire::frames(sequence, head))?;
        let mut next = sequence.wrapping_add(u8::try_from(head.len()).unwrap_or(0));
        let row = wire::text_row(&[Some("x".repeat(1000))]);
        loop {
            let mut batch = Vec::with_capacity(64 << 10);
            while batch.len() < 60_000 {
                batch.extend_from_slice(&wire::frame(next, &row));
                next = next.wrapping_add(1);
            }
            self.socket.write_all(&batch)?;
        }
    }

    /// Reads and forgets until the peer or the owner closes.
    fn hang(&mut self) -> std::io::Result<()> {
        let mut sink = [0; 4096];
        while self.socket.read(&mut sink)? > 0 {}
        Ok(())
    }

    fn read_packet(&mut self) -> std::io::Result<(u8, Vec<u8>)> {
        let mut payload = Vec::new();
        loop {
            let mut head = [0; 4];
            self.socket.read_exact(&mut head)?;
            let [a, b, c, sequence] = head;
            let length = u32::from_le_bytes([a, b, c, 0]) as usize;
            let start = payload.len();
            payload.resize(start + length, 0);
            self.socket.read_exact(payload.get_mut(start..).unwrap_or_default())?;
            if length < wire::MAX_PAYLOAD {
                return Ok((sequence, payload));
            }
        }
    }
}

/// The payloads of a reply that is nothing but packets.
fn packets(reply: &Reply, deprecate_eof: bool) -> Vec<Vec<u8>> {
    match reply {
        Reply::Ok => vec![wire::ok(wire::AUTOCOMMIT)],
        Reply::OkStatus(status) => vec![wire::ok(*status)],
        Reply::Err(code, state, text) => vec![wire::err(*code, state, text)],
        Reply::Rows(columns, rows) => wire::rows(columns, rows, deprecate_eof),
        Reply::Result(status, columns, rows) => wire::result(*status, columns, rows, deprecate_eof),
        Reply::Prepared(id, params, columns) => wire::prepared(*id, params, columns, deprecate_eof),
        Reply::Several(replies) => {
            replies.iter().flat_map(|reply| packets(reply, deprecate_eof)).collect()
        }
        Reply::Packets(packets) => packets.clone(),
        Reply::LocalInfile(file) | Reply::TakesFile(file) => {
            vec![[&[0xfb], file.as_bytes()].concat()]
        }
        Reply::ColumnCount(count) => vec![wire::lenenc(*count)],
        _ => Vec::new(),
    }
}

/// A short frame with a wrong sequence number and a payload that means nothing. Its length is honest: a
/// peer that believed a huge one would wait instead of seeing the garbage.
fn garbage() -> Vec<u8> {
    let mut bytes = vec![0x20, 0, 0, 0xa5];
    bytes.extend_from_slice(&[0xa5; 32]);
    bytes
}

#[cfg(test)]
mod tests;
