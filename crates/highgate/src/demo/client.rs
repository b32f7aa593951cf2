//! The demo's client: one statement, one answer, waiting for it; small, on purpose.

use std::{
    collections::BTreeMap,
    io::{self, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    os::unix::net::UnixStream,
    path::Path,
    time::Duration,
};

use anyhow::Context;
use highgate_mysql::{
    Capabilities,
    auth::{Proof, Secret},
    packet::{HEADER_LEN, Header, Malformed, PacketWriter, Reader},
    reply::{ColumnDefinition, ErrPacket},
    server_login::{Credential, ServerAction, ServerLogin, ServerLoginSettings, TlsWish},
};

/// Longer than anything in the demo may take: past it, something hangs.
const PATIENCE: Duration = Duration::from_secs(40);

const COM_QUERY: u8 = 3;

/// Rows of text, NULL as `None`.
pub(super) type Rows = Vec<Vec<Option<String>>>;

/// What came back for a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// OK.
    Done,
    /// An error of the server or of what is in front of it.
    Refused { code: u16, message: String },
    /// A result set.
    Result { columns: Vec<String>, rows: Rows },
}

/// A connection that is logged in.
pub(super) struct Client {
    stream: BufReader<Box<dyn Duplex>>,
    capabilities: Capabilities,
    packet: Vec<u8>,
}

trait Duplex: Read + Write + Send {}
impl<T: Read + Write + Send> Duplex for T {}

impl Client {
    pub(super) fn tcp(address: SocketAddr, user: &str, password: &str) -> anyhow::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Self::log_in(Box::new(stream), user, password)
    }

    pub(super) fn unix(path: &Path, user: &str) -> anyhow::Result<Self> {
        let stream = UnixStream::connect(path)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Self::log_in(Box::new(stream), user, "")
    }

    fn log_in(stream: Box<dyn Duplex>, user: &str, password: &str) -> anyhow::Result<Self> {
        let mut login = ServerLogin::new(ServerLoginSettings {
            user: user.to_owned(),
            credential: Credential::Own(Proof::Clear(Secret::new(password))),
            schema: None,
            capabilities: Capabilities::PROTOCOL_41 | Capabilities::TRANSACTIONS,
            // utf8mb4_general_ci
            collation: 45,
            attributes: Vec::new(),
            tls: TlsWish::Disabled,
            is_private: false,
            allows_clear: false,
            zstd_level: None,
            own_rsa_key: None,
        });
        let stream = BufReader::new(stream);
        let mut client = Self { stream, capabilities: Capabilities::empty(), packet: Vec::new() };
        loop {
            let header = client.receive()?;
            match login.packet(header.seq, &client.packet) {
                ServerAction::Send(bytes) => client.stream.get_mut().write_all(&bytes)?,
                ServerAction::Wait => {}
                ServerAction::Done(opened) => {
                    client.capabilities = opened.capabilities;
                    return Ok(client);
                }
                ServerAction::Failed(error) => return Err(anyhow::Error::msg(error.to_string())),
                other => anyhow::bail!("the demo's client can't answer {other:?}"),
            }
        }
    }

    /// Sends a statement and reads its whole answer. After an error of the connection, nothing is
    /// known about the statement.
    pub(super) fn query(&mut self, sql: &str) -> io::Result<Answer> {
        let mut out = Vec::with_capacity(HEADER_LEN + 1 + sql.len());
        PacketWriter::new(&mut out, 0).packet(|body| {
            body.push(COM_QUERY);
            body.extend_from_slice(sql.as_bytes());
        });
        self.stream.get_mut().write_all(&out)?;
        self.receive()?;
        match self.packet.first() {
            Some(0) => Ok(Answer::Done),
            Some(0xff) => self.refused(),
            Some(_) => self.result(),
            None => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    /// The rows of a statement; an error of the server is an error.
    pub(super) fn rows(&mut self, sql: &str) -> anyhow::Result<Rows> {
        match self.query(sql).with_context(|| format!("in {sql}"))? {
            Answer::Done => Ok(Rows::new()),
            Answer::Result { rows, .. } => Ok(rows),
            Answer::Refused { code, message } => anyhow::bail!("{code} {message}, in {sql}"),
        }
    }

    /// The first row by the names of its columns; empty where there is none.
    pub(super) fn record(&mut self, sql: &str) -> anyhow::Result<BTreeMap<String, String>> {
        let Answer::Result { columns, rows } = self.query(sql)? else {
            return Ok(BTreeMap::new());
        };
        let row = rows.into_iter().next().unwrap_or_default();
        let text = |cell: Option<String>| cell.unwrap_or_default();
        Ok(columns.into_iter().zip(row.into_iter().map(text)).collect())
    }

    /// The first column of the first row.
    pub(super) fn value(&mut self, sql: &str) -> anyhow::Result<String> {
        let row = self.rows(sql)?.into_iter().next().and_then(|row| row.into_iter().next());
        row.flatten().with_context(|| format!("no value for {sql}"))
    }

    fn result(&mut self) -> io::Result<Answer> {
        let count = Reader::new(&self.packet).lenenc_int().map_err(invalid)?;
        let mut columns = Vec::new();
        for _ in 0..count {
            self.receive()?;
            let column = ColumnDefinition::parse(&self.packet, self.capabilities);
            columns.push(String::from_utf8_lossy(column.map_err(invalid)?.name).into_owned());
        }
        self.receive()?;
        let mut rows = Rows::new();
        loop {
            self.receive()?;
            match self.packet.first() {
                Some(0xfe) if self.packet.len() < 9 => return Ok(Answer::Result { columns, rows }),
                Some(0xff) => return self.refused(),
                _ => {}
            }
            let mut reader = Reader::new(&self.packet);
            let cells = columns.iter().map(|_| {
                let cell = reader.nullable_bytes().map_err(invalid)?;
                Ok(cell.map(|bytes| String::from_utf8_lossy(bytes).into_owned()))
            });
            rows.push(cells.collect::<io::Result<_>>()?);
        }
    }

    fn refused(&self) -> io::Result<Answer> {
        let err = ErrPacket::parse(&self.packet).map_err(invalid)?;
        Ok(Answer::Refused { code: err.code, message: err.text() })
    }

    fn receive(&mut self) -> io::Result<Header> {
        let mut bytes = [0; HEADER_LEN];
        self.stream.read_exact(&mut bytes)?;
        let header = Header::parse(bytes);
        self.packet.clear();
        let len = u64::from(header.len);
        if self.stream.by_ref().take(len).read_to_end(&mut self.packet)? as u64 == len {
            Ok(header)
        } else {
            Err(io::ErrorKind::UnexpectedEof.into())
        }
    }
}

fn invalid(malformed: Malformed) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, malformed)
}
