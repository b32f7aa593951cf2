use super::*;

fn ok(text: &str) -> Statement<'_> {
    recognize(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn what_clients_send_at_connect_is_recognized() {
    for (text, statement) in [
        ("select @@version_comment limit 1", Statement::Select),
        ("SELECT DATABASE()", Statement::Select),
        ("show databases", Statement::Databases),
        ("show tables", Statement::Tables { like: None, is_full: false }),
        ("SHOW FULL TABLES FROM `main`", Statement::Tables { like: None, is_full: true }),
        ("SET NAMES utf8mb4", Statement::Quiet),
        ("/* driver */ SET autocommit=1;", Statement::Quiet),
        ("SHOW WARNINGS", Statement::Empty { columns: &["Level", "Code", "Message"] }),
        ("-- nothing\n", Statement::Quiet),
        ("show full processlist", Statement::Processlist),
        ("desc `servers`;", Statement::Columns { table: "servers" }),
        ("show columns from main.servers", Statement::Columns { table: "servers" }),
        ("SHOW GLOBAL VARIABLES LIKE 'ver%'", Statement::Variables { like: Some("ver%".into()) }),
    ] {
        assert_eq!(ok(text), statement, "{text}");
    }
}

#[test]
fn a_call_carries_its_arguments_with_quotes_undone() {
    let call = |arguments: &[&str]| Statement::Call {
        table: "servers",
        action: "drain",
        arguments: arguments.iter().map(|a| (*a).to_owned()).collect(),
    };
    assert_eq!(ok("CALL servers.drain"), call(&[]));
    assert_eq!(ok("call servers.drain()"), call(&[]));
    assert_eq!(
        ok("CALL servers.drain('it''s', \"b\\\"c\", 30, db-2)"),
        call(&["it's", "b\"c", "30", "db-2"])
    );
    for text in [
        "CALL",
        "CALL servers",
        "CALL servers.drain('a'",
        "CALL servers.drain('a',)",
        "CALL servers.drain('a' 'b')",
    ] {
        assert!(recognize(text).is_err(), "{text}");
    }
}

#[test]
fn two_statements_in_one_text_are_refused() {
    assert!(recognize("select 1; select 2").is_err());
    assert_eq!(ok("select ';';;"), Statement::Select);
}

#[test]
fn any_text_is_recognized_or_refused() {
    for text in ["'", "`", "\"\\", "/*", "CALL `", "é", "SHOW", "SHOW CREATE", "\u{0}", "(", "-"] {
        let _ = recognize(text);
    }
}

#[test]
fn a_set_that_would_change_how_texts_are_quoted_is_refused() {
    for (text, code) in [
        ("SET NAMES gbk", 1115),
        ("set character_set_client = 'SJIS'", 1115),
        ("SET sql_mode = 'STRICT_ALL_TABLES, no_backslash_escapes'", 1231),
        ("SET SESSION sql_mode = ANSI_QUOTES", 1231),
        ("SET @@sql_mode = CONCAT(@@sql_mode, ',ANSI')", 1231),
    ] {
        assert_eq!(recognize(text).map_err(|error| error.code), Err(code), "{text}");
    }
    for text in ["SET NAMES 'utf8mb4' COLLATE utf8mb4_bin", "SET sql_mode = 'STRICT_ALL_TABLES'"] {
        assert_eq!(ok(text), Statement::Quiet, "{text}");
    }
}

/// PyMySQL's `commit()` and `rollback()` were syntax errors.
#[test]
fn transactions_are_begun_and_ended_without_a_meaning() {
    for text in [
        "BEGIN",
        "begin work",
        "START TRANSACTION",
        "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY",
        "COMMIT",
        "commit and no chain;",
        "ROLLBACK",
        "SET autocommit=0",
        "SET AUTOCOMMIT = 1",
        "SET NAMES utf8mb4",
        "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
    ] {
        assert_eq!(ok(text), Statement::Quiet, "{text}");
    }
    for text in ["BEGIN NOT ATOMIC SELECT 1", "START", "START SLAVE", "ROLLBACK TO SAVEPOINT a"] {
        assert!(recognize(text).is_err(), "{text}");
    }
}
