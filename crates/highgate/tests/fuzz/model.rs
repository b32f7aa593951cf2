//! A server that knows the state of each of its connections, and tells of it with every value: a
//! session that is given a connection as another left it sees that.
//!
//! It takes a few texts by the letter and calls all others wrong, so that a spoilt one changes nothing.

use std::collections::BTreeMap;

use highgate_mysql::packet::{Reader, put_lenenc_bytes};
use highgate_testkit::scripted::{
    Command, Reply,
    wire::{AUTOCOMMIT, CURSOR_EXISTS, IN_TRANS, LAST_ROW_SENT, MORE_RESULTS},
};
use parking_lot::Mutex;

/// The one text that can be prepared.
pub(crate) const PREPARED: &str = "SELECT ?";
pub(crate) const LOAD: &str = "LOAD DATA LOCAL INFILE 'rows' INTO TABLE t";

/// All of its connections.
#[derive(Debug, Default)]
pub(crate) struct Model {
    connections: Mutex<BTreeMap<usize, Connection>>,
}

/// What a session left in one.
#[derive(Debug, Clone, Default)]
struct Connection {
    schema: String,
    in_transaction: bool,
    variables: BTreeMap<String, String>,
    statements: BTreeMap<u32, Option<Vec<u8>>>,
    last: u32,
}

impl Model {
    pub(crate) fn answer(&self, command: &Command) -> Reply {
        let mut all = self.connections.lock();
        let connection = all.entry(command.connection).or_default();
        let nothing = Reply::Bytes(Vec::new());
        match command.code {
            0x02 => connection.choose(&command.text()),
            0x03 => connection.query(&command.text()),
            0x16 => connection.prepare(&command.text()),
            0x17 => connection.execute(&command.body),
            0x18 => {
                connection.long_data(&command.body);
                nothing
            }
            0x19 => {
                id(&command.body).and_then(|id| connection.statements.remove(&id));
                nothing
            }
            0x1a | 0xfa => connection.about(&command.body, |it| it.ok()),
            0x1b => Reply::Packets(vec![vec![0xfe, 0, 0, 2, 0]]),
            0x1c => connection.about(&command.body, |it| {
                Reply::Result(it.status() | LAST_ROW_SENT, Vec::new(), vec![binary(b"fetched")])
            }),
            0x1f | 0x11 => {
                *connection = Connection::default();
                Reply::Ok
            }
            0x09 => Reply::Packets(vec![b"Uptime: 1".to_vec()]),
            0x0c | 0x0e | 0x15 => connection.ok(),
            _ => Reply::Err(1047, "08S01", "Unknown command".to_owned()),
        }
    }
}

impl Connection {
    fn status(&self) -> u16 {
        AUTOCOMMIT | if self.in_transaction { IN_TRANS } else { 0 }
    }

    fn ok(&self) -> Reply {
        Reply::OkStatus(self.status())
    }

    fn choose(&mut self, schema: &str) -> Reply {
        if !["shop", "other"].contains(&schema) {
            return Reply::Err(1049, "42000", format!("Unknown database '{schema}'"));
        }
        schema.clone_into(&mut self.schema);
        self.ok()
    }

    /// A word of the client's, with all that its connection holds.
    fn told(&self, word: &str) -> String {
        let variables: String =
            self.variables.iter().map(|(name, value)| format!(" @{name}={value}")).collect();
        format!("{word} schema={} transaction={}{variables}", self.schema, self.in_transaction)
    }

    fn value(&self, text: &str, more: u16) -> Reply {
        let mut row = Vec::new();
        put_lenenc_bytes(&mut row, text.as_bytes());
        Reply::Result(self.status() | more, vec!["n".to_owned()], vec![row])
    }

    fn query(&mut self, text: &str) -> Reply {
        match text {
            "BEGIN" => self.in_transaction = true,
            "COMMIT" | "ROLLBACK" => self.in_transaction = false,
            "USE shop" | "USE other" => return self.choose(&text[4..]),
            LOAD => return Reply::TakesFile("rows".to_owned()),
            "SELECT 'a'; SELECT 'b'" => {
                let (first, second) = (self.told("a"), self.told("b"));
                let first = self.value(&first, MORE_RESULTS);
                return Reply::Several(vec![first, self.value(&second, 0)]);
            }
            _ if text.starts_with("SELECT @@") => return Reply::variables(text),
            _ if text.starts_with("KILL QUERY ") => {}
            _ if text == highgate_core::prepare::CLEAR => return self.value("1", 0),
            _ => {
                if let Some(word) = quoted(text) {
                    return self.value(&self.told(word), 0);
                }
                let Some(set) = text.strip_prefix("SET ").and_then(assignments) else {
                    return Reply::Err(1064, "42000", "You have an error".to_owned());
                };
                for (name, value) in set {
                    match value {
                        "NULL" => drop(self.variables.remove(name)),
                        _ => drop(self.variables.insert(name.to_owned(), value.to_owned())),
                    }
                }
            }
        }
        self.ok()
    }

    fn prepare(&mut self, text: &str) -> Reply {
        if text != PREPARED {
            return Reply::Err(1064, "42000", "You have an error".to_owned());
        }
        self.last += 1;
        self.statements.insert(self.last, None);
        Reply::Prepared(self.last, vec!["?".to_owned()], vec!["n".to_owned()])
    }

    fn about(&mut self, body: &[u8], answer: impl FnOnce(&mut Self) -> Reply) -> Reply {
        match id(body).filter(|id| self.statements.contains_key(id)) {
            Some(_) => answer(self),
            None => Reply::Err(1243, "HY000", "Unknown prepared statement handler".to_owned()),
        }
    }

    fn long_data(&mut self, body: &[u8]) {
        let Some(data) = id(body).and_then(|id| self.statements.get_mut(&id)) else { return };
        data.get_or_insert_default().extend(body.get(6..).unwrap_or_default());
    }

    fn execute(&mut self, body: &[u8]) -> Reply {
        let long = id(body).and_then(|id| self.statements.get_mut(&id)).and_then(Option::take);
        let flags = body.get(4).copied().unwrap_or_default();
        self.about(body, |it| {
            let Some(word) = parameter(body).or(long) else {
                return Reply::Err(1210, "HY000", "Incorrect arguments".to_owned());
            };
            let told = it.told(&String::from_utf8_lossy(&word));
            let open = if flags & 1 == 0 { 0 } else { CURSOR_EXISTS };
            Reply::Result(it.status() | open, vec!["n".to_owned()], vec![binary(told.as_bytes())])
        })
    }
}

fn id(body: &[u8]) -> Option<u32> {
    body.first_chunk().map(|id| u32::from_le_bytes(*id))
}

/// The parameter of COM_STMT_EXECUTE, which is a text that comes with its type.
fn parameter(body: &[u8]) -> Option<Vec<u8>> {
    let mut reader = Reader::new(body.get(9..)?);
    if reader.array::<4>().ok()? != [0, 1, 0xfd, 0] {
        return None;
    }
    reader.lenenc_bytes().ok().map(<[u8]>::to_vec)
}

/// A binary row of one text.
fn binary(text: &[u8]) -> Vec<u8> {
    let mut row = vec![0, 0];
    put_lenenc_bytes(&mut row, text);
    row
}

/// `SELECT '…'` of letters and digits.
fn quoted(text: &str) -> Option<&str> {
    let word = text.strip_prefix("SELECT '")?.strip_suffix('\'')?;
    word.chars().all(|it| it.is_ascii_alphanumeric()).then_some(word)
}

/// `@name=value`, as many as there are, also as Highgate writes them. What it sets besides is left out.
fn assignments(text: &str) -> Option<Vec<(&str, &str)>> {
    let one = |part| -> Option<(&str, &str)> {
        let (name, value) = str::split_once(part, '=')?;
        let (name, value) = (name.trim().strip_prefix('@')?.trim_matches('`'), value.trim());
        let is_plain = |text: &str| {
            !text.is_empty() && text.chars().all(|it| it.is_ascii_alphanumeric() || it == '_')
        };
        (is_plain(name) && (is_plain(value) || value == "_binary''")).then_some((name, value))
    };
    if text.starts_with("SESSION session_track_") {
        return Some(Vec::new());
    }
    text.split(',').map(one).collect()
}
