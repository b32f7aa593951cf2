//! Answers about the tables themselves.

use highgate_config::table::{Kind, Row, Table, Value};

use super::{answer::Rows, engine::SCHEMA, like::is_like, variables};
use crate::Tables;

/// `SHOW TABLES`.
pub(super) fn tables(tables: &Tables, like: Option<&str>, is_full: bool) -> Rows {
    let wanted = |name: &str| like.is_none_or(|pattern| is_like(name, pattern));
    let name = format!("Tables_in_{SCHEMA}");
    let rows = tables.iter().filter(|table| wanted(table.name()));
    if is_full {
        let row = |t: &std::sync::Arc<dyn Table>| -> Row { vec![t.name().into(), "VIEW".into()] };
        return Rows::of_text(&[&name, "Table_type"], rows.map(row).collect());
    }
    Rows::of_text(&[&name], rows.map(|table| vec![table.name().into()]).collect())
}

/// `DESCRIBE table`: MySQL's columns, and what each column says.
pub(super) fn columns(table: &dyn Table) -> Rows {
    let rows = table.columns().iter().map(|column| -> Row {
        let kind = kind_name(column.kind).into();
        let (null, key, default, extra) = ("YES".into(), "".into(), Value::Null, "".into());
        vec![column.name.into(), kind, null, key, default, extra, column.doc.into()]
    });
    let names = ["Field", "Type", "Null", "Key", "Default", "Extra", "Comment"];
    Rows::of_text(&names, rows.collect())
}

/// `SHOW CREATE TABLE`: a definition to read, with the documentation as comments.
pub(super) fn create_table(table: &dyn Table) -> Rows {
    let columns: Vec<String> = table
        .columns()
        .iter()
        .map(|c| format!("  `{}` {} COMMENT '{}'", c.name, kind_name(c.kind), escape(c.doc)))
        .collect();
    let text = format!(
        "CREATE TABLE `{}` (\n{}\n) COMMENT='{}'",
        table.name(),
        columns.join(",\n"),
        escape(table.doc())
    );
    Rows::of_text(&["Table", "Create Table"], vec![vec![table.name().into(), text.into()]])
}

/// `SHOW VARIABLES`.
pub(super) fn variables(version: &str, like: Option<&str>) -> Rows {
    let mut known: Vec<_> = variables::all(version).collect();
    known.sort();
    let wanted = |name: &str| like.is_none_or(|pattern| is_like(name, pattern));
    let rows = known.into_iter().filter(|(name, _)| wanted(name));
    let rows = rows.map(|(name, value)| vec![name.into(), value.into()]).collect();
    Rows::of_text(&["Variable_name", "Value"], rows)
}

/// `HELP`: the tables with their sentence, then every action as it is called.
pub(super) fn help(tables: &Tables) -> Rows {
    let mut rows: Vec<Row> = Vec::new();
    for table in tables.iter() {
        rows.push(vec![format!("SELECT * FROM {}", table.name()).into(), table.doc().into()]);
    }
    for table in tables.iter() {
        for action in table.actions() {
            let call =
                format!("CALL {}.{}({})", table.name(), action.name, arguments(action.arguments));
            rows.push(vec![call.into(), action.doc.into()]);
        }
    }
    for (statement, doc) in [
        ("SHOW TABLES [LIKE 'pattern']", "The names of the tables."),
        ("DESCRIBE table", "The columns of a table and what they say."),
        ("SHOW PROCESSLIST", "The sessions, as SELECT * FROM sessions."),
    ] {
        rows.push(vec![statement.into(), doc.into()]);
    }
    Rows::of_text(&["Statement", "What it does"], rows)
}

/// Arguments as they are written, one that may be left out in brackets.
fn arguments(declared: &[&str]) -> String {
    let mut text = String::new();
    for (at, argument) in declared.iter().enumerate() {
        let comma = if at == 0 { "" } else { ", " };
        text.push_str(&match argument.strip_suffix('?') {
            Some(argument) => format!("[{comma}'{argument}']"),
            None => format!("{comma}'{argument}'"),
        });
    }
    text
}

fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Integer => "bigint",
        Kind::Real => "double",
        Kind::Text => "text",
    }
}

fn escape(doc: &str) -> String {
    doc.replace('\'', "''")
}
