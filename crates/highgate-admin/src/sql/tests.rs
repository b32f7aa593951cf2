use std::sync::Arc;

use highgate_config::table::{Action, Column, Kind, Metric, Row, Table, Value};

use super::*;
use crate::{Tables, fake};

fn engine(tables: Tables) -> Engine {
    Engine::start(tables, "8.0.0-test", Limits::default()).expect("the engine starts")
}

async fn run(engine: &Engine, text: &str) -> Result<Answer, SqlError> {
    engine.answer(&Caller { user: "admin".into(), connection: 7 }, text).await
}

async fn rows(engine: &Engine, text: &str) -> Rows {
    match run(engine, text).await {
        Ok(Answer::Rows(rows)) => rows,
        other => panic!("{text}: {other:?}"),
    }
}

async fn error(engine: &Engine, text: &str) -> SqlError {
    match run(engine, text).await {
        Err(error) => error,
        other => panic!("{text}: {other:?}"),
    }
}

async fn one(engine: &Engine, text: &str) -> Value {
    rows(engine, text).await.rows.remove(0).remove(0)
}

#[tokio::test]
async fn tables_are_read_by_any_select() {
    let engine = engine(fake::tables(9));
    let found =
        rows(&engine, "SELECT name, lag_ms FROM servers WHERE role = 'replica' ORDER BY 1").await;
    let kinds: Vec<_> = found.columns.iter().map(|c| (c.name.as_str(), c.kind)).collect();
    assert_eq!(kinds, [("name", Kind::Text), ("lag_ms", Kind::Real)]);
    assert_eq!(found.rows, [["db2".into(), Value::Real(1.5)], ["db3".into(), Value::Real(0.0)]]);
    let joined =
        "SELECT v.name, count(*) FROM servers v JOIN sessions s ON s.server = v.name GROUP BY 1";
    let joined = rows(&engine, joined).await;
    assert_eq!(joined.rows[0], ["db1".into(), Value::Integer(3)]);
    assert_eq!(one(&engine, "select sum(commands) from MAIN.`Servers`").await, Value::Integer(60));
}

#[tokio::test]
async fn rows_are_fetched_once_per_statement() {
    let servers = fake::servers();
    let engine = engine(Tables::new(vec![servers.clone()]));
    rows(&engine, "SELECT * FROM servers a, servers b, servers c").await;
    assert_eq!(*servers.fetched.lock(), 1);
    rows(&engine, "SELECT * FROM servers").await;
    assert_eq!(*servers.fetched.lock(), 2);
}

#[tokio::test]
async fn whatever_does_not_read_is_refused() {
    let engine = engine(fake::tables(1));
    for text in [
        "INSERT INTO servers (name) VALUES ('x')",
        "UPDATE servers SET name = 'x'",
        "DELETE FROM servers",
        "DROP TABLE servers",
        "CREATE TABLE t (a)",
        "CREATE TEMP TABLE t (a)",
        "CREATE VIEW v AS SELECT 1",
        "ATTACH '/etc/passwd' AS p",
        "PRAGMA writable_schema = 1",
        "SELECT * FROM pragma_database_list",
        "SELECT load_extension('x')",
        "VACUUM INTO '/tmp/x'",
        "SAVEPOINT a",
        "ANALYZE",
    ] {
        let error = error(&engine, text).await;
        assert!(matches!(error.code, 1290 | 1064), "{text}: {error}");
    }
    assert!(error(&engine, "delete from servers").await.text.contains("CALL table.action"));
}

#[tokio::test]
async fn a_wrong_name_is_answered_with_the_right_one() {
    let engine = engine(fake::tables(1));
    let missing = error(&engine, "SELECT * FROM server").await;
    assert_eq!(
        missing.to_string(),
        "ERROR 1146 (42S02): Table 'server' doesn't exist; did you mean 'servers'?"
    );
    for text in ["SELECT lag_m FROM servers", "SELECT s.lag_m FROM servers s"] {
        let missing = error(&engine, text).await;
        assert_eq!(missing.code, 1054);
        assert!(missing.text.ends_with("did you mean 'lag_ms'?"), "{missing}");
    }
    assert_eq!(error(&engine, "SELECT colour FROM servers").await.code, 1054);
    assert_eq!(error(&engine, "DESCRIBE nothing").await.code, 1146);
    let syntax = error(&engine, "SELECT * FORM servers").await;
    assert_eq!((syntax.code, syntax.text.contains("near")), (1064, true), "{syntax}");
    assert_eq!(error(&engine, "FLUSH everything").await.code, 1064);
    assert_eq!(error(&engine, "select $$").await.code, 1054);
}

/// Each number was smaller than any text: all rows came, or none, and nothing was said.
#[tokio::test]
async fn a_number_that_is_compared_with_a_text_that_is_none_is_refused() {
    let engine = engine(fake::tables(3));
    for compared in [
        "commands > 'yesterday'",
        "'yesterday' >= commands",
        "commands = ''",
        "commands <> 'inf'",
        "name = 'db1' AND (commands < '2026-11-22 10:00' OR role = 'replica')",
        "commands BETWEEN 'a' AND 'b'",
        "commands IN ('yesterday')",
    ] {
        let wrong = error(&engine, &format!("SELECT name FROM servers WHERE {compared}")).await;
        assert_eq!((wrong.code, wrong.state), (1292, "22007"), "{compared}: {wrong}");
    }
    let wrong = error(&engine, "SELECT name FROM servers WHERE lag_ms > '1,5'").await;
    assert_eq!(
        wrong.text,
        "Incorrect number value: '1,5' for column 'lag_ms' of 'servers', which says: What it says."
    );
    for (compared, count) in [
        ("commands > '10'", 2),
        ("commands = ' 20 '", 1),
        ("lag_ms >= '15e-1'", 1),
        ("commands LIKE '2%'", 1),
        ("name > '10'", 3),
        ("commands IN ('10', '20')", 2),
        // Known: these lists are not seen, and a number is in none of texts.
        ("commands IN ('10', 'yesterday')", 1),
        ("commands NOT IN ('yesterday')", 3),
    ] {
        let found = one(&engine, &format!("SELECT count(*) FROM servers WHERE {compared}")).await;
        assert_eq!(found, Value::Integer(count), "{compared}");
    }
    assert_eq!(one(&engine, "SELECT count(*) FROM servers").await, Value::Integer(3));
}

#[tokio::test]
async fn an_endless_statement_ends_and_the_engine_goes_on() {
    let limits = Limits { steps: 1_000_000, ..Limits::default() };
    let engine = Engine::start(fake::tables(2000), "v", limits).expect("starts");
    for text in [
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n",
        "SELECT count(*) FROM sessions a, sessions b, sessions c",
    ] {
        assert_eq!(error(&engine, text).await.code, 3024, "{text}");
    }
    assert_eq!(one(&engine, "SELECT count(*) FROM sessions").await, Value::Integer(2000));
}

#[tokio::test]
async fn a_large_answer_is_refused_rather_than_held() {
    let limits = Limits { rows: 100, bytes: 10_000, ..Limits::default() };
    let engine = Engine::start(fake::tables(1000), "v", limits).expect("starts");
    assert_eq!(error(&engine, "SELECT * FROM sessions").await.code, 3024);
    assert_eq!(error(&engine, "SELECT hex(zeroblob(9999))").await.code, 3024);
    assert_eq!(rows(&engine, "SELECT * FROM sessions LIMIT 10").await.rows.len(), 10);
    assert!(run(&engine, "SELECT hex(zeroblob(900000000))").await.is_err());
}

#[tokio::test]
async fn what_clients_ask_at_connect_is_answered() {
    let engine = engine(fake::tables(1));
    for (text, value) in [
        ("select @@version_comment limit 1", "Highgate admin".into()),
        ("SELECT DATABASE()", "main".into()),
        ("SELECT USER()", "admin".into()),
        ("select current_user()", "admin".into()),
        ("SELECT VERSION()", "8.0.0-test".into()),
        ("SELECT CONNECTION_ID()", Value::Integer(7)),
        ("select concat(@@version, ' ', @@version_comment)", "8.0.0-test Highgate admin".into()),
        ("SELECT @@session.auto_increment_increment AS a", Value::Integer(1)),
        ("show databases", "main".into()),
        ("show tables like 'serv%'", "servers".into()),
        ("SHOW VARIABLES LIKE 'version'", "version".into()),
        ("describe servers", "name".into()),
        ("show full columns from servers", "name".into()),
        ("SHOW CREATE TABLE servers", "servers".into()),
        ("show processlist", Value::Integer(0)),
        ("HELP", "SELECT * FROM servers".into()),
        ("show help", "SELECT * FROM servers".into()),
        ("select name from servers where role = \"primary\" limit 0, 1", "db1".into()),
    ] {
        assert_eq!(one(&engine, text).await, value, "{text}");
    }
    let found = rows(&engine, "select @@version_comment limit 1").await;
    assert_eq!(found.columns[0].name, "@@version_comment");
    for text in ["SET NAMES utf8mb4", "USE main", "", "/*!40101 SET x=1 */"] {
        assert_eq!(run(&engine, text).await, Ok(Answer::Done(String::new())), "{text}");
    }
}

#[tokio::test]
async fn an_action_is_called_and_says_what_it_did() {
    let servers = fake::servers();
    let engine = engine(Tables::new(vec![servers.clone()]));
    let done = run(&engine, "CALL servers.drain('db2')").await;
    assert_eq!(done, Ok(Answer::Done("draining db2".into())));
    assert_eq!(*servers.acted.lock(), ["drain db2"]);
    for (text, says) in [
        ("CALL servers.drain('nobody')", "no server 'nobody'"),
        ("CALL servers.drian('db2')", "it has drain"),
        ("CALL server.drain('db2')", "did you mean 'servers'"),
        ("CALL servers.drain()", "takes 1 argument (server) and got 0"),
    ] {
        let error = error(&engine, text).await;
        assert!(error.text.contains(says), "{text}: {error}");
    }
    assert_eq!(servers.acted.lock().len(), 1);
}

#[tokio::test]
async fn a_bug_in_one_table_leaves_the_others_readable() {
    let engine = engine(Tables::new(vec![Arc::new(Broken), fake::servers()]));
    let read = error(&engine, "SELECT * FROM broken").await;
    assert!(read.text.contains("'broken' could not be read"), "{read}");
    assert_eq!(error(&engine, "CALL broken.break()").await.code, 1105);
    assert_eq!(one(&engine, "SELECT count(*) FROM servers").await, Value::Integer(3));
}

struct Broken;

impl Table for Broken {
    fn name(&self) -> &'static str {
        "broken"
    }
    fn doc(&self) -> &'static str {
        "Panics."
    }
    fn columns(&self) -> &'static [Column] {
        &[Column { name: "a", kind: Kind::Integer, metric: Metric::None, doc: "Nothing." }]
    }
    fn rows(&self) -> Vec<Row> {
        panic!("reading")
    }
    fn actions(&self) -> &'static [Action] {
        &[Action { name: "break", arguments: &[], doc: "Panics." }]
    }
    fn act(&self, _: &str, _: &[&str]) -> Result<String, String> {
        panic!("acting")
    }
}

/// `SELECT primary FROM backends` was a syntax error without a hint.
#[tokio::test]
async fn a_column_that_is_a_word_of_sql_is_read_without_quotes() {
    let engine = engine(Tables::new(vec![Arc::new(Worded)]));
    for text in [
        "SELECT primary FROM worded",
        "SELECT w.primary FROM worded w WHERE primary = 'db1' ORDER BY primary",
        "SELECT `primary` FROM worded",
        "SELECT Primary FROM worded",
    ] {
        let rows = rows(&engine, text).await;
        assert!(rows.columns[0].name.eq_ignore_ascii_case("primary"), "{text}: {rows:?}");
        assert_eq!(rows.rows, [["db1".into()]], "{text}");
    }
    assert_eq!(error(&engine, "SELECT primary primary FROM worded WHERE").await.code, 1064);
}

struct Worded;

impl Table for Worded {
    fn name(&self) -> &'static str {
        "worded"
    }

    fn doc(&self) -> &'static str {
        "Has a column by a word of SQL."
    }

    fn columns(&self) -> &'static [Column] {
        &[Column { name: "primary", kind: Kind::Text, metric: Metric::None, doc: "A server." }]
    }

    fn rows(&self) -> Vec<Row> {
        vec![vec!["db1".into()]]
    }
}

/// PyMySQL's `"x\' or 1=1 -- "` was read by SQLite's rules, and all rows came.
#[tokio::test]
async fn a_value_that_is_quoted_as_for_mysql_stays_a_value() {
    let engine = engine(fake::tables(1));
    let values = [
        "x' or 1=1 -- ",
        "\\' or 1=1 -- ",
        "\" or 1=1 -- ",
        "it's",
        "a\\b",
        "\\",
        "a\0b\n\r\t\u{8}\u{1a}",
        "'; select 1; -- ",
        "@@version /* # ",
        "%_",
        "é\\ü'",
    ];
    for value in values {
        for quoted in [escaped(value, '\''), escaped(value, '"'), doubled(value)] {
            assert_eq!(one(&engine, &format!("SELECT {quoted}")).await, value.into(), "{quoted}");
            let found =
                rows(&engine, &format!("SELECT * FROM servers WHERE name = {quoted}")).await;
            assert_eq!(found.rows.len(), 0, "{quoted}");
        }
    }
    let found = rows(&engine, "SELECT name FROM servers WHERE commands > 5--10 AND name = 'db2'");
    assert_eq!(found.await.rows, [["db2".into()]]);
}

/// As most drivers do.
fn escaped(value: &str, quote: char) -> String {
    let mut out = String::from(quote);
    for c in value.chars() {
        match c {
            '\0' => out.push_str("\\0"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\u{1a}' => out.push_str("\\Z"),
            '\'' | '"' | '\\' => out.extend(['\\', c]),
            _ => out.push(c),
        }
    }
    out.push(quote);
    out
}

/// As some do: quotes are doubled, and backslashes as well.
fn doubled(value: &str) -> String {
    format!("'{}'", value.replace('\\', "\\\\").replace('\'', "''"))
}

#[tokio::test]
async fn a_pattern_may_escape_its_wildcards() {
    let engine = engine(fake::tables(1));
    for (pattern, count) in [("db_", 3), (r"db\_", 0), (r"%b2", 1), (r"d\\b2", 1)] {
        let text = format!("SELECT count(*) FROM servers WHERE name LIKE '{pattern}'");
        assert_eq!(one(&engine, &text).await, Value::Integer(count), "{pattern}");
    }
}
