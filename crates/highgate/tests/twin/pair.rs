//! A session through Highgate and its twin on a server of its own, given the same commands.

use std::net::SocketAddr;

use highgate_mysql::{
    Capabilities, StatusFlags,
    auth::{native, sha2},
    packet::PacketWriter,
};

use crate::raw::{self, Param, Part, RawClient};

/// One command of a session.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Action {
    ChangeUser,
    Close(usize),
    Execute { slot: usize, params: Vec<Param>, with_types: bool, cursor: bool },
    Fetch(usize, u32),
    FieldList(&'static str),
    InitDb(&'static str),
    LongData(usize, u16, String),
    Ping,
    Prepare(usize, &'static str),
    Query(String),
    Reset(usize),
    ResetConnection,
}

impl Action {
    /// Whether it is about a prepared statement.
    #[allow(dead_code, reason = "one of the tests asks")]
    pub(crate) fn names_statement(&self) -> bool {
        matches!(
            self,
            Self::Close(_)
                | Self::Execute { .. }
                | Self::Fetch(..)
                | Self::LongData(..)
                | Self::Reset(_)
        )
    }
}

/// Statements that a session holds at once.
pub(crate) const SLOTS: usize = 3;

/// What a session of the test is, on one side.
#[derive(Debug)]
pub(crate) struct Side {
    client: RawClient,
    /// Its account, whose name is its password.
    user: &'static str,
    ids: [u32; SLOTS],
}

impl Side {
    pub(crate) fn connect(
        addr: SocketAddr,
        user: &'static str,
        capabilities: Capabilities,
    ) -> anyhow::Result<Self> {
        let client = RawClient::connect(addr, user, user, Some("shop"), capabilities)?;
        Ok(Self { client, user, ids: [u32::MAX - 5; SLOTS] })
    }

    /// Carries out an action and gives what can be compared of its answer.
    pub(crate) fn run(&mut self, action: &Action) -> anyhow::Result<Vec<Part>> {
        let parts = match action {
            Action::ChangeUser => self.change_user()?,
            Action::Close(slot) => {
                self.client.send(&raw::about(0x19, self.ids[*slot]))?;
                self.ids[*slot] = u32::MAX - 5;
                Vec::new()
            }
            Action::Execute { slot, params, with_types, cursor } => {
                let (id, flags) = (self.ids[*slot], u8::from(*cursor));
                self.client.command(&raw::execute(id, flags, params, *with_types))?
            }
            Action::Fetch(slot, rows) => vec![self.client.fetch(self.ids[*slot], *rows)?],
            Action::FieldList(table) => {
                self.client.send(&[&[4][..], table.as_bytes(), &[0]].concat())?;
                self.field_list()?
            }
            Action::InitDb(schema) => {
                self.client.command(&[&[2][..], schema.as_bytes()].concat())?
            }
            Action::LongData(slot, param, text) => {
                self.client.send(&raw::long_data(self.ids[*slot], *param, text.as_bytes()))?;
                Vec::new()
            }
            Action::Ping => self.client.command(&[0x0e])?,
            Action::Prepare(slot, text) => vec![self.prepare(*slot, text)?],
            Action::Query(text) => self.client.query(text)?,
            Action::Reset(slot) => self.client.command(&raw::about(0x1a, self.ids[*slot]))?,
            Action::ResetConnection => {
                self.ids = [u32::MAX - 5; SLOTS];
                self.client.command(&[0x1f])?
            }
        };
        Ok(parts.into_iter().map(comparable).collect())
    }

    fn prepare(&mut self, slot: usize, text: &str) -> anyhow::Result<Part> {
        let part = self.client.prepare(text)?;
        if let Part::Prepared { id, .. } = &part {
            self.ids[slot] = *id;
        }
        Ok(part)
    }

    fn field_list(&mut self) -> anyhow::Result<Vec<Part>> {
        let mut columns = Vec::new();
        loop {
            let packet = self.client.packet()?;
            match packet.first() {
                Some(0xfe) if packet.len() < 9 => break,
                Some(0xff) => {
                    columns.push(packet);
                    break;
                }
                _ => columns.push(packet),
            }
        }
        Ok(columns.into_iter().map(Part::Text).collect())
    }

    /// Asks for another challenge by naming a plugin that neither side accepts for the account:
    /// Highgate, which has its password in clear, would go along with `client_ed25519`.
    fn change_user(&mut self) -> anyhow::Result<Vec<Part>> {
        self.ids = [u32::MAX - 5; SLOTS];
        let mut payload = vec![0x11];
        payload.extend(self.user.as_bytes());
        payload.extend(b"\0\x01xshop\0\x2d\0dialog\0");
        self.client.send(&payload)?;
        let switch = self.client.packet()?;
        if switch.first() != Some(&0xfe) {
            return Ok(vec![Part::Text(switch)]);
        }
        let mut parts = switch[1..].splitn(2, |byte| *byte == 0);
        let plugin = parts.next().unwrap_or_default();
        let nonce = parts.next().unwrap_or_default();
        let nonce = nonce.strip_suffix(&[0]).unwrap_or(nonce);
        let is_native = plugin == b"mysql_native_password";
        anyhow::ensure!(is_native || plugin == b"caching_sha2_password", "switched to {plugin:?}");
        let password = self.user.as_bytes();
        let answer =
            if is_native { native::answer(password, nonce) } else { sha2::answer(password, nonce) };
        let mut bytes = Vec::new();
        let seq = self.client.seq().wrapping_add(1);
        PacketWriter::new(&mut bytes, seq).payload(&answer);
        self.client.send_raw(&bytes)?;
        if !is_native {
            // The server has the password of an earlier login: it says that the answer is right.
            let more = self.client.packet()?;
            if more != [1, 3] {
                return Ok(vec![Part::Text(more)]);
            }
        }
        self.client.answer()
    }
}

/// Flags that belong to the session or the result, not to how the server found it.
const FLAGS: StatusFlags = StatusFlags::from_bits_retain(
    StatusFlags::IN_TRANS.bits()
        | StatusFlags::AUTOCOMMIT.bits()
        | StatusFlags::MORE_RESULTS_EXISTS.bits()
        | StatusFlags::CURSOR_EXISTS.bits()
        | StatusFlags::LAST_ROW_SENT.bits()
        | StatusFlags::DB_DROPPED.bits()
        | StatusFlags::NO_BACKSLASH_ESCAPES.bits()
        | StatusFlags::PS_OUT_PARAMS.bits()
        | StatusFlags::IN_TRANS_READONLY.bits(),
);

/// A user variable that was set to NULL has another length than one that never was.
fn without_length_of_nothing(columns: &mut [Vec<u8>]) {
    const LONG_BLOB: u8 = 251;
    for column in columns {
        let at = column.len() - 10;
        if column[at + 4] == LONG_BLOB {
            column[at..at + 4].fill(0);
        }
        // And on MySQL another type, which follows from its length.
        let is_variable = column[4..7] == [0; 3] && column.get(8) == Some(&b'@');
        if is_variable && column[at - 2] == 63 && (250..=253).contains(&column[at + 4]) {
            column[at..at + 5].fill(0);
        }
    }
}

/// MySQL's `utf8mb4` has the id that a login gave it, or that of its default collation where it was set by name.
fn without_origin_of_utf8mb4(columns: &mut [Vec<u8>]) {
    for column in columns {
        let at = column.len() - 12;
        if column[at..at + 2] == [255, 0] {
            column[at] = 45;
        }
    }
}

fn comparable(mut part: Part) -> Part {
    if let Part::Prepared { params, .. } = &mut part {
        without_origin_of_utf8mb4(params);
    }
    if let Part::Rows { columns, .. } | Part::Prepared { columns, .. } = &mut part {
        without_length_of_nothing(columns);
        without_origin_of_utf8mb4(columns);
    }
    if let Part::Rows { rows, .. } = &mut part {
        // As SHOW WARNINGS repeats it.
        let names_id = |row: &Vec<u8>| row.windows(15).any(|text| text == b"The statement (");
        rows.iter_mut().filter(|row| names_id(row)).for_each(Vec::clear);
    }
    match &mut part {
        Part::Ok { status, .. } | Part::Rows { status, .. } => *status &= FLAGS,
        Part::Prepared { id, .. } => *id = 0,
        // The text of an error may name a statement's id.
        Part::Err { text, code: 1243 | 1421, .. } => text.clear(),
        // Columns of COM_FIELD_LIST.
        Part::Text(column) => {
            if let Some(at) = column.windows(3).rposition(|bytes| bytes == [12, 255, 0]) {
                column[at + 1] = 45;
            }
        }
        Part::Err { .. } => {}
    }
    part
}
