//! Session state changes in OK packets.

use crate::packet::{Malformed, Reader, put_lenenc_bytes, put_lenenc_int};

/// One change of the session's state that a server reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StateChange<'a> {
    /// A system variable has a new value.
    SystemVariable {
        /// Its name.
        name: &'a [u8],
        /// Its new value.
        value: &'a [u8],
    },
    /// Another schema is the default one.
    Schema(&'a [u8]),
    /// Something changed; the value is `1`.
    AnyState(&'a [u8]),
    /// GTIDs that the statement produced or saw.
    Gtids(&'a [u8]),
    /// The statements that would start a transaction like the open one.
    TransactionCharacteristics(&'a [u8]),
    /// Eight letters that describe the open transaction, as `T_______`.
    TransactionState(&'a [u8]),
    /// A type unknown here.
    Unknown {
        /// The type.
        kind: u8,
        /// Its data.
        data: &'a [u8],
    },
}

impl StateChange<'_> {
    /// Appends this change, as a block of its own, to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut data = Vec::new();
        let kind = match *self {
            Self::SystemVariable { name, value } => {
                put_lenenc_bytes(&mut data, name);
                put_lenenc_bytes(&mut data, value);
                0
            }
            Self::Schema(text) => one_string(&mut data, text, 1),
            // Quirk: this one has no length of its own within its block, on MySQL and MariaDB.
            Self::AnyState(text) => {
                data.extend_from_slice(text);
                2
            }
            Self::Gtids(text) => {
                data.push(0);
                one_string(&mut data, text, 3)
            }
            Self::TransactionCharacteristics(text) => one_string(&mut data, text, 4),
            Self::TransactionState(text) => one_string(&mut data, text, 5),
            Self::Unknown { kind, data: bytes } => {
                data.extend_from_slice(bytes);
                kind
            }
        };
        put_lenenc_int(out, u64::from(kind));
        put_lenenc_bytes(out, &data);
    }
}

fn one_string(data: &mut Vec<u8>, text: &[u8], kind: u8) -> u8 {
    put_lenenc_bytes(data, text);
    kind
}

/// Iterates over session state changes; ends after the first malformed one.
#[derive(Debug, Clone)]
pub struct StateChanges<'a> {
    blocks: Reader<'a>,
    /// What remains of a block of system variables: MariaDB puts several into one.
    variables: Reader<'a>,
}

impl<'a> StateChanges<'a> {
    /// Over the bytes of an OK packet's session state information.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { blocks: Reader::new(bytes), variables: Reader::new(&[]) }
    }

    fn advance(&mut self) -> Result<Option<StateChange<'a>>, Malformed> {
        loop {
            if !self.variables.is_empty() {
                let name = self.variables.lenenc_bytes()?;
                let value = self.variables.lenenc_bytes()?;
                return Ok(Some(StateChange::SystemVariable { name, value }));
            }
            if self.blocks.is_empty() {
                return Ok(None);
            }
            let kind = self.blocks.u8()?;
            let data = self.blocks.lenenc_bytes()?;
            let mut reader = Reader::new(data);
            let change = match kind {
                0 => {
                    self.variables = reader;
                    continue;
                }
                1 => StateChange::Schema(reader.lenenc_bytes()?),
                2 => StateChange::AnyState(reader.rest()),
                3 => {
                    // The encoding: always 0, plain text.
                    reader.skip(1)?;
                    StateChange::Gtids(reader.lenenc_bytes()?)
                }
                4 => StateChange::TransactionCharacteristics(reader.lenenc_bytes()?),
                5 => StateChange::TransactionState(reader.lenenc_bytes()?),
                kind => StateChange::Unknown { kind, data },
            };
            return Ok(Some(change));
        }
    }
}

impl<'a> Iterator for StateChanges<'a> {
    type Item = Result<StateChange<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        let item = self.advance().transpose();
        if matches!(item, Some(Err(_))) {
            *self = Self::new(&[]);
        }
        item
    }
}
