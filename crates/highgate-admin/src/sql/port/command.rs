//! One command in, its reply out.

use highgate_config::table::Kind;
use highgate_mysql::{
    Capabilities, StatusFlags,
    command::Command,
    packet::PacketWriter,
    reply::{Column, ColumnDefinition, EofPacket, OkPacket, ResultSetWriter, column_type},
};

use super::code;
use crate::{
    render::plain,
    sql::{
        answer::{Answer, Rows, SqlError},
        engine::{Caller, Engine},
    },
};

/// Sequence id of a reply's first packet.
const FIRST: u8 = 1;

/// Never without `AUTOCOMMIT`: whatever is called is in force at once. Never with
/// `NO_BACKSLASH_ESCAPES`: backslashes escape, see `dialect`.
const STATUS: StatusFlags = StatusFlags::AUTOCOMMIT;

/// Who gets the reply, and what it can read.
struct Reply {
    out: Vec<u8>,
    capabilities: Capabilities,
}

/// The packets that answer a command; `None` when the client quits.
///
/// Cancel safe: yes; but an action that was handed over is carried out.
pub(super) async fn reply(
    engine: &Engine,
    caller: &Caller,
    payload: &[u8],
    capabilities: Capabilities,
) -> Option<Vec<u8>> {
    let reply = Reply { out: Vec::new(), capabilities };
    let Ok(command) = Command::parse(payload) else {
        return Some(reply.error(&SqlError::syntax("the command's packet is malformed")));
    };
    let out = match command {
        Command::Quit => return None,
        Command::StmtClose(_) | Command::StmtSendLongData { .. } => Vec::new(),
        Command::Ping | Command::InitDb(_) | Command::ResetConnection | Command::SetOption(_) => {
            reply.ok("")
        }
        Command::Query(text) => {
            let text = String::from_utf8_lossy(text);
            reply.answer(engine.answer(caller, &text).await)
        }
        Command::ProcessInfo => reply.answer(engine.answer(caller, "SHOW PROCESSLIST").await),
        Command::FieldList { table, .. } => {
            // The name comes in quotes of its own, so that it can be nothing but a name.
            let table = String::from_utf8_lossy(table).replace('`', "");
            let text = format!("SELECT * FROM `{table}` LIMIT 0");
            reply.fields(engine.answer(caller, &text).await)
        }
        Command::Statistics => reply.text(b"Highgate admin; see SELECT * FROM node"),
        Command::Prepare(_) | Command::Execute(_) | Command::ExecuteBulk(_) => {
            reply.error(&unprepared())
        }
        _ => reply.error(&unsupported(payload)),
    };
    Some(out)
}

fn unprepared() -> SqlError {
    let text = "the SQL port has no prepared statements; let the driver interpolate on its side";
    SqlError { code: 1295, state: "HY000", text: text.into() }
}

fn unsupported(payload: &[u8]) -> SqlError {
    let name = payload.first().and_then(|byte| highgate_mysql::command::opcode_name(*byte));
    let text = format!("the SQL port has no {}", name.unwrap_or("such command"));
    SqlError { code: 1047, state: "08S01", text: text.into() }
}

impl Reply {
    fn answer(self, answer: Result<Answer, SqlError>) -> Vec<u8> {
        match answer {
            Ok(Answer::Done(info)) => self.ok(&info),
            Ok(Answer::Rows(rows)) => self.rows(&rows),
            Err(error) => self.error(&error),
        }
    }

    fn ok(mut self, info: &str) -> Vec<u8> {
        let ok = OkPacket { status: STATUS, info: info.as_bytes(), ..OkPacket::default() };
        PacketWriter::new(&mut self.out, FIRST).packet(|body| ok.encode(body, self.capabilities));
        self.out
    }

    fn error(mut self, error: &SqlError) -> Vec<u8> {
        code(error.code, error.state).answer(error.text.as_ref()).encode(&mut self.out, FIRST);
        self.out
    }

    fn text(mut self, text: &[u8]) -> Vec<u8> {
        PacketWriter::new(&mut self.out, FIRST).payload(text);
        self.out
    }

    fn rows(mut self, rows: &Rows) -> Vec<u8> {
        let columns: Vec<_> = rows
            .columns
            .iter()
            .map(|column| Column::of(&column.name, wire_kind(column.kind)))
            .collect();
        let mut writer =
            ResultSetWriter::begin(&mut self.out, FIRST, self.capabilities, STATUS, &columns);
        for row in &rows.rows {
            let texts: Vec<_> = row.iter().map(plain).collect();
            writer.row(texts.iter().map(|text| text.as_deref().map(str::as_bytes)));
        }
        writer.finish();
        self.out
    }

    /// The answer to COM_FIELD_LIST: definitions with defaults, and an EOF.
    fn fields(mut self, answer: Result<Answer, SqlError>) -> Vec<u8> {
        let rows = match answer {
            Ok(Answer::Rows(rows)) => rows,
            other => return self.answer(other),
        };
        let mut writer = PacketWriter::new(&mut self.out, FIRST);
        for column in &rows.columns {
            let definition = ColumnDefinition {
                schema: &[],
                table: &[],
                org_table: &[],
                name: column.name.as_bytes(),
                org_name: &[],
                extended: &[],
                collation: 45,
                length: 1024,
                kind: column_type::VAR_STRING,
                flags: 0,
                decimals: 0,
                default: Some(&[]),
            };
            writer.packet(|body| definition.encode(body, self.capabilities));
        }
        writer.packet(|body| {
            if self.capabilities.contains(Capabilities::DEPRECATE_EOF) {
                let ok = OkPacket { is_eof: true, status: STATUS, ..OkPacket::default() };
                ok.encode(body, self.capabilities);
            } else {
                EofPacket { warnings: 0, status: STATUS }.encode(body);
            }
        });
        self.out
    }
}

fn wire_kind(kind: Kind) -> u8 {
    match kind {
        Kind::Integer => column_type::LONGLONG,
        Kind::Real => column_type::DOUBLE,
        Kind::Text => column_type::VAR_STRING,
    }
}
