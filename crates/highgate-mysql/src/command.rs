//! Commands: what a client asks, parsed where it lies.
//!
//! A command borrows from its payload and nothing is copied. Of a command longer than a packet its
//! first packet is enough to know the kind. What a text means is for the lexer to say.

use crate::packet::{Malformed, Reader};
use crate::scan::CommandKind;

mod execute;
mod query;

pub use execute::{BulkExecute, Execute, ExecuteParams, STATEMENT_ID_AT, patch_statement_id};
pub use query::{QueryText, query_text};

macro_rules! opcodes {
    ($($(#[$doc:meta])* $name:ident = $code:literal;)*) => {
        $($(#[$doc])* pub const $name: u8 = $code;)*

        /// The protocol's name of a command byte.
        #[must_use]
        pub const fn opcode_name(opcode: u8) -> Option<&'static str> {
            match opcode {
                $($name => Some(stringify!($name)),)*
                _ => None,
            }
        }
    };
}

opcodes! {
    /// Internal to servers.
    COM_SLEEP = 0x00;
    /// Ends the session.
    COM_QUIT = 0x01;
    /// Changes the default schema.
    COM_INIT_DB = 0x02;
    /// A text.
    COM_QUERY = 0x03;
    /// Column definitions of a table.
    COM_FIELD_LIST = 0x04;
    /// Creates a schema (gone).
    COM_CREATE_DB = 0x05;
    /// Drops a schema (gone).
    COM_DROP_DB = 0x06;
    /// FLUSH.
    COM_REFRESH = 0x07;
    /// Shuts the server down.
    COM_SHUTDOWN = 0x08;
    /// A line of statistics.
    COM_STATISTICS = 0x09;
    /// SHOW PROCESSLIST.
    COM_PROCESS_INFO = 0x0a;
    /// Internal to servers.
    COM_CONNECT = 0x0b;
    /// KILL.
    COM_PROCESS_KILL = 0x0c;
    /// Dumps debug information into the server's log.
    COM_DEBUG = 0x0d;
    /// Is the server there?
    COM_PING = 0x0e;
    /// Internal to servers.
    COM_TIME = 0x0f;
    /// Internal to servers.
    COM_DELAYED_INSERT = 0x10;
    /// Logs in as another user on the same connection.
    COM_CHANGE_USER = 0x11;
    /// Streams the binary log from a position.
    COM_BINLOG_DUMP = 0x12;
    /// Dumps a table (gone).
    COM_TABLE_DUMP = 0x13;
    /// Internal to servers.
    COM_CONNECT_OUT = 0x14;
    /// Registers a replica.
    COM_REGISTER_SLAVE = 0x15;
    /// Prepares a statement.
    COM_STMT_PREPARE = 0x16;
    /// Executes a prepared statement.
    COM_STMT_EXECUTE = 0x17;
    /// Sends a part of a parameter; has no reply.
    COM_STMT_SEND_LONG_DATA = 0x18;
    /// Closes a prepared statement; has no reply.
    COM_STMT_CLOSE = 0x19;
    /// Forgets long data and closes the cursor of a prepared statement.
    COM_STMT_RESET = 0x1a;
    /// Switches multi-statements.
    COM_SET_OPTION = 0x1b;
    /// Fetches rows from a cursor.
    COM_STMT_FETCH = 0x1c;
    /// Internal to servers.
    COM_DAEMON = 0x1d;
    /// Streams the binary log from a GTID set.
    COM_BINLOG_DUMP_GTID = 0x1e;
    /// Resets the session's state.
    COM_RESET_CONNECTION = 0x1f;
    /// MySQL: clones a server.
    COM_CLONE = 0x20;
    /// MySQL: internal to group replication.
    COM_SUBSCRIBE_GROUP_REPLICATION_STREAM = 0x21;
    /// MariaDB: executes a prepared statement with many rows of parameters.
    COM_STMT_BULK_EXECUTE = 0xfa;
}

/// Whether the command of that byte has no reply: what is said of it is taken for the next one's.
#[must_use]
pub const fn is_unanswered(opcode: u8) -> bool {
    matches!(opcode, COM_QUIT | COM_STMT_CLOSE | COM_STMT_SEND_LONG_DATA)
}

/// A command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command<'a> {
    /// COM_BINLOG_DUMP, with its arguments.
    BinlogDump(&'a [u8]),
    /// COM_BINLOG_DUMP_GTID, with its arguments.
    BinlogDumpGtid(&'a [u8]),
    /// COM_CHANGE_USER.
    ChangeUser(&'a [u8]),
    /// COM_DEBUG.
    Debug,
    /// COM_STMT_EXECUTE.
    Execute(Execute<'a>),
    /// COM_STMT_BULK_EXECUTE.
    ExecuteBulk(BulkExecute<'a>),
    /// COM_FIELD_LIST.
    FieldList {
        /// The table.
        table: &'a [u8],
        /// A pattern of column names.
        pattern: &'a [u8],
    },
    /// COM_INIT_DB, with the schema.
    InitDb(&'a [u8]),
    /// COM_PING.
    Ping,
    /// COM_STMT_PREPARE, with the text.
    Prepare(&'a [u8]),
    /// COM_PROCESS_INFO.
    ProcessInfo,
    /// COM_PROCESS_KILL, with the session id.
    ProcessKill(u32),
    /// COM_QUERY, with all that follows the command byte; see [`query_text`].
    Query(&'a [u8]),
    /// COM_QUIT.
    Quit,
    /// COM_REFRESH, with its flags.
    Refresh(u8),
    /// COM_REGISTER_SLAVE, with its arguments.
    RegisterReplica(&'a [u8]),
    /// COM_RESET_CONNECTION.
    ResetConnection,
    /// COM_SET_OPTION: whether multi-statements are switched off.
    SetOption(u16),
    /// COM_SHUTDOWN.
    Shutdown,
    /// COM_STATISTICS.
    Statistics,
    /// COM_STMT_CLOSE, with the statement id.
    StmtClose(u32),
    /// COM_STMT_FETCH.
    StmtFetch {
        /// The statement id.
        statement_id: u32,
        /// How many rows.
        rows: u32,
    },
    /// COM_STMT_RESET, with the statement id.
    StmtReset(u32),
    /// COM_STMT_SEND_LONG_DATA.
    StmtSendLongData {
        /// The statement id.
        statement_id: u32,
        /// The number of the parameter.
        param: u16,
        /// A part of its value.
        data: &'a [u8],
    },
    /// A command byte that no client sends, or that is unknown.
    Unknown(u8),
}

impl<'a> Command<'a> {
    /// Parses the payload of a command's first packet.
    ///
    /// # Errors
    /// [`Malformed`] where the payload is empty or ends inside a fixed part.
    pub fn parse(payload: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(payload);
        Ok(match reader.u8()? {
            COM_BINLOG_DUMP => Self::BinlogDump(reader.rest()),
            COM_BINLOG_DUMP_GTID => Self::BinlogDumpGtid(reader.rest()),
            COM_CHANGE_USER => Self::ChangeUser(reader.rest()),
            COM_DEBUG => Self::Debug,
            COM_FIELD_LIST => {
                Self::FieldList { table: reader.nul_terminated()?, pattern: reader.rest() }
            }
            COM_INIT_DB => Self::InitDb(reader.rest()),
            COM_PING => Self::Ping,
            COM_PROCESS_INFO => Self::ProcessInfo,
            COM_PROCESS_KILL => Self::ProcessKill(reader.u32()?),
            COM_QUERY => Self::Query(reader.rest()),
            COM_QUIT => Self::Quit,
            COM_REFRESH => Self::Refresh(reader.u8().unwrap_or(0)),
            COM_REGISTER_SLAVE => Self::RegisterReplica(reader.rest()),
            COM_RESET_CONNECTION => Self::ResetConnection,
            COM_SET_OPTION => Self::SetOption(reader.u16()?),
            COM_SHUTDOWN => Self::Shutdown,
            COM_STATISTICS => Self::Statistics,
            opcode => Self::parse_stmt(opcode, reader)?,
        })
    }

    fn parse_stmt(opcode: u8, mut reader: Reader<'a>) -> Result<Self, Malformed> {
        Ok(match opcode {
            COM_STMT_BULK_EXECUTE => Self::ExecuteBulk(BulkExecute::parse(reader)?),
            COM_STMT_CLOSE => Self::StmtClose(reader.u32()?),
            COM_STMT_EXECUTE => Self::Execute(Execute::parse(reader)?),
            COM_STMT_FETCH => Self::StmtFetch { statement_id: reader.u32()?, rows: reader.u32()? },
            COM_STMT_PREPARE => Self::Prepare(reader.rest()),
            COM_STMT_RESET => Self::StmtReset(reader.u32()?),
            COM_STMT_SEND_LONG_DATA => Self::StmtSendLongData {
                statement_id: reader.u32()?,
                param: reader.u16()?,
                data: reader.rest(),
            },
            opcode => Self::Unknown(opcode),
        })
    }

    /// The form of its reply. COM_CHANGE_USER has a dialogue of its own;
    /// towards a server that asks nothing back it is `Simple`.
    #[must_use]
    pub const fn kind(&self) -> CommandKind {
        match self {
            Self::BinlogDump(_) | Self::BinlogDumpGtid(_) => CommandKind::BinlogDump,
            Self::Execute(_) | Self::ExecuteBulk(_) => CommandKind::Execute,
            Self::FieldList { .. } => CommandKind::FieldList,
            Self::Prepare(_) => CommandKind::Prepare,
            Self::ProcessInfo | Self::Query(_) => CommandKind::Query,
            Self::Quit | Self::StmtClose(_) | Self::StmtSendLongData { .. } => CommandKind::NoReply,
            Self::Statistics => CommandKind::Statistics,
            Self::StmtFetch { .. } => CommandKind::Fetch,
            Self::ChangeUser(_)
            | Self::Debug
            | Self::InitDb(_)
            | Self::Ping
            | Self::ProcessKill(_)
            | Self::Refresh(_)
            | Self::RegisterReplica(_)
            | Self::ResetConnection
            | Self::SetOption(_)
            | Self::Shutdown
            | Self::StmtReset(_)
            | Self::Unknown(_) => CommandKind::Simple,
        }
    }

    /// The statement that a command of the binary protocol is about.
    #[must_use]
    pub const fn statement_id(&self) -> Option<u32> {
        match self {
            Self::Execute(execute) => Some(execute.statement_id),
            Self::ExecuteBulk(execute) => Some(execute.statement_id),
            Self::StmtClose(id)
            | Self::StmtReset(id)
            | Self::StmtFetch { statement_id: id, .. }
            | Self::StmtSendLongData { statement_id: id, .. } => Some(*id),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
