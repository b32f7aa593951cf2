//! A plain client of one server, for checks, monitors and kills: asks, and reads small answers.

use std::{cell::Cell, net::IpAddr, rc::Rc, time::Instant};

use highgate_io::clock;
use highgate_mysql::{
    greeting::Greeting,
    packet::{HEADER_LEN, Header, PacketWriter, Reader},
    reply::ErrPacket,
};

use crate::mysql::{
    open::{self, Door, OpenError},
    server_connection::LoggedIn,
};

/// Longest packet of an answer.
const MAX_PACKET: u32 = 1 << 20;
/// Most rows of an answer.
const MAX_ROWS: usize = 100_000;

/// A connection that asks.
#[derive(Debug)]
pub(crate) struct Asker {
    connection: LoggedIn,
    /// Counts the packets that it receives.
    heard: Rc<Cell<u64>>,
}

/// One row, by column.
pub(crate) type Fields = Vec<Option<String>>;

/// An answer: column names and rows.
#[derive(Debug, Default)]
pub(crate) struct Answered {
    pub(crate) columns: Vec<String>,
    pub(crate) rows: Vec<Fields>,
}

impl Answered {
    /// As [`Answered::get`], once the row is known.
    pub(crate) fn field<'a>(&'a self, row: &'a Fields, column: &str) -> Option<&'a str> {
        let at = self.columns.iter().position(|name| name.eq_ignore_ascii_case(column))?;
        row.get(at)?.as_deref()
    }

    /// The value of that column in that row.
    pub(crate) fn get(&self, row: usize, column: &str) -> Option<&str> {
        let at = self.columns.iter().position(|name| name.eq_ignore_ascii_case(column))?;
        self.rows.get(row)?.get(at)?.as_deref()
    }
}

/// Why an answer was not had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AskError {
    #[error("{0}")]
    Connection(#[from] OpenError),
    #[error("no answer in time")]
    Timeout,
    #[error("the answer breaks the protocol")]
    Garbage,
    #[error("error {code}: {message}")]
    Server { code: u16, message: String },
}

impl Asker {
    /// Connects and logs in.
    pub(crate) async fn open(door: Door, deadline: Instant) -> Result<(Self, Greeting), OpenError> {
        let (connection, greeting) = open::open(door, deadline).await?;
        connection.transport.insist();
        Ok((Self { connection, heard: Rc::default() }, greeting))
    }

    /// Whom it asks; none for a Unix socket, and one that is gone.
    pub(crate) fn peer(&self) -> Option<IpAddr> {
        self.connection.transport.peer().map(|peer| peer.ip())
    }

    /// Counts the login and every packet from now on there.
    pub(crate) fn count_on(&mut self, heard: &Rc<Cell<u64>>) {
        heard.set(heard.get() + 1);
        self.heard = heard.clone();
    }

    /// Pings.
    ///
    /// Cancel safe: no; drop the connection after a cancelled call.
    pub(crate) async fn ping(&mut self, deadline: Instant) -> Result<(), AskError> {
        self.ask(&[0x0e], deadline).await.map(drop)
    }

    /// Runs one statement.
    ///
    /// Cancel safe: no; drop the connection after a cancelled call.
    pub(crate) async fn query(
        &mut self,
        sql: &str,
        deadline: Instant,
    ) -> Result<Answered, AskError> {
        let mut payload = vec![0x03];
        payload.extend(sql.as_bytes());
        self.ask(&payload, deadline).await
    }

    async fn ask(&mut self, payload: &[u8], deadline: Instant) -> Result<Answered, AskError> {
        clock::before(deadline, self.exchange(payload)).await.unwrap_or(Err(AskError::Timeout))
    }

    async fn exchange(&mut self, payload: &[u8]) -> Result<Answered, AskError> {
        let mut command = Vec::new();
        PacketWriter::new(&mut command, 0).payload(payload);
        open::send(&mut self.connection.transport, &command).await?;
        let first = self.packet().await?;
        let columns = match first.first() {
            Some(0) => return Ok(Answered::default()),
            Some(0xff) => return Err(refused(&first)),
            Some(_) => Reader::new(&first).lenenc_int().map_err(|_| AskError::Garbage)?,
            None => return Err(AskError::Garbage),
        };
        let mut answered = Answered::default();
        for _ in 0..columns.min(4096) {
            let definition = self.packet().await?;
            let capabilities = self.connection.capabilities;
            let column = highgate_mysql::reply::ColumnDefinition::parse(&definition, capabilities)
                .map_err(|_| AskError::Garbage)?;
            answered.columns.push(String::from_utf8_lossy(column.name).into_owned());
        }
        // DEPRECATE_EOF is never asked for here: an EOF ends the definitions, another the rows.
        self.packet().await?;
        loop {
            let row = self.packet().await?;
            match row.first() {
                Some(0xfe) if row.len() < 9 => return Ok(answered),
                Some(0xff) => return Err(refused(&row)),
                _ if answered.rows.len() >= MAX_ROWS => return Err(AskError::Garbage),
                _ => answered.rows.push(fields(&row, answered.columns.len())?),
            }
        }
    }

    async fn packet(&mut self) -> Result<Vec<u8>, AskError> {
        let mut header = [0; HEADER_LEN];
        let transport = &mut self.connection.transport;
        open::receive_exact(transport, &mut header).await?;
        let header = Header::parse(header);
        if header.len > MAX_PACKET {
            return Err(AskError::Garbage);
        }
        let mut payload = vec![0; header.len as usize];
        open::receive_exact(transport, &mut payload).await?;
        self.heard.set(self.heard.get() + 1);
        Ok(payload)
    }
}

fn fields(row: &[u8], columns: usize) -> Result<Fields, AskError> {
    let mut reader = Reader::new(row);
    (0..columns)
        .map(|_| {
            let bytes = reader.nullable_bytes().map_err(|_| AskError::Garbage)?;
            Ok(bytes.map(|bytes| String::from_utf8_lossy(bytes).into_owned()))
        })
        .collect()
}

fn refused(packet: &[u8]) -> AskError {
    match ErrPacket::parse(packet) {
        Ok(err) => AskError::Server { code: err.code, message: err.text() },
        Err(_) => AskError::Garbage,
    }
}

impl AskError {
    /// Whether the connection can be used again.
    pub(crate) fn leaves_connection(&self) -> bool {
        matches!(self, Self::Server { .. })
    }
}
