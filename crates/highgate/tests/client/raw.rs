//! A client that hides nothing: every flag, count and packet of an answer can be looked at.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part of the client")]

mod wire;

use std::net::{SocketAddr, TcpStream};

use anyhow::Context as _;
use highgate_mysql::auth::{Proof, Secret};
use highgate_mysql::packet::{MAX_PAYLOAD, PacketWriter, Reader};
use highgate_mysql::reply::{EofPacket, ErrPacket, OkPacket};
use highgate_mysql::server_login::{
    Credential, ServerAction, ServerLogin, ServerLoginSettings, TlsWish,
};
use highgate_mysql::{Capabilities, StatusFlags};

/// What most drivers ask for.
pub const USUAL: Capabilities = Capabilities::LONG_PASSWORD
    .union(Capabilities::LONG_FLAG)
    .union(Capabilities::PROTOCOL_41)
    .union(Capabilities::TRANSACTIONS)
    .union(Capabilities::SECURE_CONNECTION)
    .union(Capabilities::PLUGIN_AUTH)
    .union(Capabilities::MULTI_STATEMENTS)
    .union(Capabilities::MULTI_RESULTS)
    .union(Capabilities::PS_MULTI_RESULTS);

/// One logged-in connection.
#[derive(Debug)]
pub struct RawClient {
    pub stream: wire::Wire,
    seq: u8,
    pub capabilities: Capabilities,
    pub id: u32,
    /// What OK packets told of the session's state, each as it came.
    pub tracked: Vec<Vec<u8>>,
    /// Of each packet read: the number of the compressed one in which it begins, and its own.
    pub numbers: Vec<(u8, u8)>,
}

/// One result of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    Ok {
        affected: u64,
        insert_id: u64,
        status: StatusFlags,
        warnings: u16,
        info: String,
    },
    Err {
        code: u16,
        sqlstate: String,
        text: String,
    },
    Prepared {
        id: u32,
        params: Vec<Vec<u8>>,
        columns: Vec<Vec<u8>>,
        warnings: u16,
    },
    Rows {
        columns: Vec<Vec<u8>>,
        rows: Vec<Vec<u8>>,
        status: StatusFlags,
        warnings: u16,
        open: bool,
    },
    Text(Vec<u8>),
}

impl Part {
    /// The code, where it is an error.
    pub fn error(&self) -> Option<u16> {
        match self {
            Self::Err { code, .. } => Some(*code),
            _ => None,
        }
    }

    /// The fields of all rows of a text result.
    pub fn texts(&self) -> Vec<Vec<Option<String>>> {
        let Self::Rows { columns, rows, .. } = self else {
            return Vec::new();
        };
        let read = |row: &Vec<u8>| {
            let mut reader = Reader::new(row);
            (0..columns.len())
                .map(|_| {
                    let field = reader.nullable_bytes().ok().flatten();
                    field.map(|bytes| String::from_utf8_lossy(bytes).into_owned())
                })
                .collect()
        };
        rows.iter().map(read).collect()
    }
}

impl RawClient {
    /// Connects and logs in.
    pub fn connect(
        addr: SocketAddr,
        user: &str,
        password: &str,
        schema: Option<&str>,
        capabilities: Capabilities,
    ) -> anyhow::Result<Self> {
        let wire = wire::Wire::connect(addr)?;
        Self::log_in(wire, (user, password), schema, capabilities, None)
    }

    /// Logs in on a connection that is there already.
    pub fn over(
        stream: TcpStream,
        user: &str,
        password: &str,
        schema: Option<&str>,
        capabilities: Capabilities,
    ) -> anyhow::Result<Self> {
        let wire = wire::Wire::over(stream)?;
        Self::log_in(wire, (user, password), schema, capabilities, None)
    }

    /// A usual login with compression: of that level, where that is zstd.
    pub fn compressed(
        addr: SocketAddr,
        user: &str,
        password: &str,
        schema: Option<&str>,
        capabilities: Capabilities,
        zstd_level: Option<u8>,
    ) -> anyhow::Result<Self> {
        let wire = wire::Wire::connect(addr)?;
        Self::log_in(wire, (user, password), schema, capabilities, zstd_level)
    }

    fn log_in(
        stream: wire::Wire,
        (user, password): (&str, &str),
        schema: Option<&str>,
        capabilities: Capabilities,
        zstd_level: Option<u8>,
    ) -> anyhow::Result<Self> {
        let mut client =
            Self { stream, seq: 0, capabilities, id: 0, tracked: Vec::new(), numbers: Vec::new() };
        let mut login = ServerLogin::new(ServerLoginSettings {
            user: user.to_owned(),
            credential: Credential::Own(Proof::Clear(Secret::new(password))),
            schema: schema.map(str::to_owned),
            capabilities,
            collation: 45,
            attributes: Vec::new(),
            tls: TlsWish::Disabled,
            is_private: false,
            allows_clear: false,
            zstd_level,
            own_rsa_key: None,
        });
        loop {
            let packet = client.packet()?;
            match login.packet(client.seq, &packet) {
                ServerAction::Send(bytes) => client.stream.write_all(&bytes)?,
                ServerAction::Wait => {}
                ServerAction::Done(opened) => {
                    client.capabilities = opened.capabilities;
                    client.id = opened.greeting.connection_id;
                    client.stream.agreed(client.capabilities, zstd_level);
                    return Ok(client);
                }
                other => anyhow::bail!("login: {other:?}"),
            }
        }
    }

    /// Sends a command without waiting for its answer.
    pub fn send(&mut self, payload: &[u8]) -> anyhow::Result<()> {
        let mut bytes = Vec::with_capacity(payload.len() + 16);
        PacketWriter::new(&mut bytes, 0).payload(payload);
        self.stream.begin();
        self.send_raw(&bytes)
    }

    /// Sends bytes as they are.
    pub fn send_raw(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        self.stream.write_all(bytes).context("sending")
    }

    /// COM_QUERY and its answer.
    pub fn query(&mut self, text: impl AsRef<[u8]>) -> anyhow::Result<Vec<Part>> {
        self.send(&[&[0x03], text.as_ref()].concat())?;
        self.answer()
    }

    /// COM_QUERY whose one result must not be an error.
    pub fn ok(&mut self, text: &str) -> anyhow::Result<Part> {
        let mut parts = self.query(text)?;
        let last = parts.pop().context("no result")?;
        anyhow::ensure!(last.error().is_none(), "{text}: {last:?}");
        Ok(last)
    }

    /// The one value of a text result.
    pub fn value(&mut self, text: &str) -> anyhow::Result<String> {
        let part = self.ok(text)?;
        let field = part.texts().into_iter().next().and_then(|row| row.into_iter().next());
        Ok(field.with_context(|| format!("no row for {text}"))?.unwrap_or("NULL".to_owned()))
    }

    /// Any other command whose answer is OK, EOF, ERR or results.
    pub fn command(&mut self, payload: &[u8]) -> anyhow::Result<Vec<Part>> {
        self.send(payload)?;
        self.answer()
    }

    /// COM_STMT_PREPARE and its answer.
    pub fn prepare(&mut self, text: &str) -> anyhow::Result<Part> {
        self.send(&[&[0x16], text.as_bytes()].concat())?;
        self.prepared()
    }

    /// The answer to COM_STMT_PREPARE.
    pub fn prepared(&mut self) -> anyhow::Result<Part> {
        let first = self.packet()?;
        if first.first() == Some(&0xff) {
            return error(&first);
        }
        let mut reader = Reader::new(&first);
        reader.skip(1)?;
        let id = reader.u32()?;
        let (columns, params) = (reader.u16()?, reader.u16()?);
        reader.skip(1)?;
        let warnings = reader.u16()?;
        let params = self.definitions(params.into())?;
        let columns = self.definitions(columns.into())?;
        Ok(Part::Prepared { id, params, columns, warnings })
    }

    /// COM_STMT_FETCH and its answer.
    pub fn fetch(&mut self, id: u32, rows: u32) -> anyhow::Result<Part> {
        let payload = [&[0x1c][..], &id.to_le_bytes(), &rows.to_le_bytes()].concat();
        self.send(&payload)?;
        self.rows(Vec::new())
    }

    /// A bare text (COM_STATISTICS).
    pub fn text(&mut self, payload: &[u8]) -> anyhow::Result<Part> {
        self.send(payload)?;
        Ok(Part::Text(self.packet()?))
    }

    /// All results of an answer.
    pub fn answer(&mut self) -> anyhow::Result<Vec<Part>> {
        let mut parts = Vec::new();
        loop {
            let part = self.one()?;
            let status = match &part {
                Part::Ok { status, .. } | Part::Rows { status, .. } => *status,
                _ => StatusFlags::empty(),
            };
            parts.push(part);
            if !status.contains(StatusFlags::MORE_RESULTS_EXISTS) {
                return Ok(parts);
            }
        }
    }

    fn one(&mut self) -> anyhow::Result<Part> {
        let first = self.packet()?;
        match first.first() {
            Some(0) => self.okay(&first),
            Some(0xff) => error(&first),
            Some(0xfe) if first.len() < 9 => self.okay(&first),
            Some(0xfb) => Ok(Part::Text(first)),
            _ => {
                let count = Reader::new(&first).lenenc_int()?;
                let mut columns = Vec::new();
                for _ in 0..count {
                    columns.push(self.packet()?);
                }
                if self.capabilities.contains(Capabilities::DEPRECATE_EOF) {
                    return self.rows(columns);
                }
                let eof = EofPacket::parse(&self.packet()?)?;
                // A routine that has opened a cursor within itself says so of results that are sent whole.
                if eof.status.contains(StatusFlags::CURSOR_EXISTS)
                    && !eof.status.contains(StatusFlags::MORE_RESULTS_EXISTS)
                {
                    let (status, warnings) = (eof.status, eof.warnings);
                    return Ok(Part::Rows {
                        columns,
                        rows: Vec::new(),
                        status,
                        warnings,
                        open: true,
                    });
                }
                let mut part = self.rows(columns)?;
                if let Part::Rows { status, .. } = &mut part
                    && eof.status.contains(StatusFlags::PS_OUT_PARAMS)
                {
                    // Quirk: MySQL says so only behind the definitions.
                    *status |= StatusFlags::MORE_RESULTS_EXISTS;
                }
                Ok(part)
            }
        }
    }

    fn rows(&mut self, columns: Vec<Vec<u8>>) -> anyhow::Result<Part> {
        let mut rows = Vec::new();
        loop {
            let packet = self.packet()?;
            match packet.first() {
                Some(0xff) => return error(&packet),
                Some(0xfe) if packet.len() < 0xff_ffff => {
                    let (status, warnings) = self.end(&packet)?;
                    let open = status.contains(StatusFlags::CURSOR_EXISTS);
                    return Ok(Part::Rows { columns, rows, status, warnings, open });
                }
                _ => rows.push(packet),
            }
        }
    }

    fn end(&mut self, packet: &[u8]) -> anyhow::Result<(StatusFlags, u16)> {
        if self.capabilities.contains(Capabilities::DEPRECATE_EOF) {
            let ok = OkPacket::parse(packet, self.capabilities)?;
            self.tracked.extend((!ok.session_track.is_empty()).then(|| ok.session_track.to_vec()));
            Ok((ok.status, ok.warnings))
        } else {
            let eof = EofPacket::parse(packet)?;
            Ok((eof.status, eof.warnings))
        }
    }

    fn okay(&mut self, packet: &[u8]) -> anyhow::Result<Part> {
        if packet.first() == Some(&0xfe) {
            let (status, warnings) = self.end(packet)?;
            return Ok(Part::Ok {
                affected: 0,
                insert_id: 0,
                status,
                warnings,
                info: "EOF".to_owned(),
            });
        }
        let ok = OkPacket::parse(packet, self.capabilities)?;
        self.tracked.extend((!ok.session_track.is_empty()).then(|| ok.session_track.to_vec()));
        Ok(Part::Ok {
            affected: ok.affected_rows,
            insert_id: ok.last_insert_id,
            status: ok.status,
            warnings: ok.warnings,
            info: String::from_utf8_lossy(ok.info).into_owned(),
        })
    }

    fn definitions(&mut self, count: usize) -> anyhow::Result<Vec<Vec<u8>>> {
        let mut definitions = Vec::new();
        for _ in 0..count {
            definitions.push(self.packet()?);
        }
        if count > 0 && !self.capabilities.contains(Capabilities::DEPRECATE_EOF) {
            self.packet()?;
        }
        Ok(definitions)
    }

    /// One packet, put together where it is longer than 16 MiB.
    pub fn packet(&mut self) -> anyhow::Result<Vec<u8>> {
        let mut whole = Vec::new();
        loop {
            let mut header = [0; 4];
            self.stream.read_exact(&mut header).context("no answer")?;
            let [a, b, c, seq] = header;
            self.seq = seq;
            self.numbers.push((self.stream.number(), seq));
            let len = u32::from_le_bytes([a, b, c, 0]) as usize;
            let at = whole.len();
            whole.resize(at + len, 0);
            self.stream.read_exact(&mut whole[at..]).context("half an answer")?;
            if len < MAX_PAYLOAD {
                return Ok(whole);
            }
        }
    }

    /// The sequence id of the last packet.
    pub fn seq(&self) -> u8 {
        self.seq
    }
}

fn error(packet: &[u8]) -> anyhow::Result<Part> {
    let err = ErrPacket::parse(packet)?;
    let sqlstate = err.sqlstate.map(|state| String::from_utf8_lossy(&state).into_owned());
    Ok(Part::Err { code: err.code, sqlstate: sqlstate.unwrap_or_default(), text: err.text() })
}

/// A parameter of a prepared execution.
#[derive(Debug, Clone, PartialEq)]
pub enum Param {
    Null,
    Int(i64),
    Double(f64),
    Text(String),
    /// Sent ahead by COM_STMT_SEND_LONG_DATA.
    Long,
}

impl Param {
    fn kind(&self) -> [u8; 2] {
        match self {
            Self::Null => [0x06, 0],
            Self::Int(_) => [0x08, 0],
            Self::Double(_) => [0x05, 0],
            Self::Text(_) => [0xfd, 0],
            Self::Long => [0xfc, 0],
        }
    }
}

/// COM_STMT_EXECUTE.
pub fn execute(id: u32, flags: u8, params: &[Param], with_types: bool) -> Vec<u8> {
    let mut payload = vec![0x17];
    payload.extend(id.to_le_bytes());
    payload.push(flags);
    payload.extend(1_u32.to_le_bytes());
    if params.is_empty() {
        return payload;
    }
    let mut nulls = vec![0_u8; params.len().div_ceil(8)];
    for (at, param) in params.iter().enumerate() {
        if *param == Param::Null {
            nulls[at / 8] |= 1 << (at % 8);
        }
    }
    payload.extend(nulls);
    payload.push(u8::from(with_types));
    if with_types {
        params.iter().for_each(|param| payload.extend(param.kind()));
    }
    for param in params {
        match param {
            Param::Null | Param::Long => {}
            Param::Int(value) => payload.extend(value.to_le_bytes()),
            Param::Double(value) => payload.extend(value.to_le_bytes()),
            Param::Text(text) => {
                highgate_mysql::packet::put_lenenc_bytes(&mut payload, text.as_bytes())
            }
        }
    }
    payload
}

/// COM_STMT_SEND_LONG_DATA.
pub fn long_data(id: u32, param: u16, data: &[u8]) -> Vec<u8> {
    [&[0x18][..], &id.to_le_bytes(), &param.to_le_bytes(), data].concat()
}

/// COM_STMT_CLOSE, COM_STMT_RESET: a command that only names a statement.
pub fn about(command: u8, id: u32) -> Vec<u8> {
    [&[command][..], &id.to_le_bytes()].concat()
}
