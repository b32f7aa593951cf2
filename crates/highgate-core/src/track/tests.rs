use highgate_mysql::{
    StatusFlags,
    reply::StateChange,
    sql::{Effects, Flavor, StatementKind},
};

use super::*;
use crate::{
    settle::{Outcome, Verdict, settle},
    state::{Charset, ConnState, ConnectionCharset, LastInsertId, VarValue},
};

struct Twin {
    state: SessionState,
    conn: ConnState,
}

impl Twin {
    fn new() -> Self {
        Self {
            state: SessionState::new(0, "app", None, 45),
            conn: ConnState::new(Flavor::MariaDb, 45, None),
        }
    }

    fn set(&mut self, text: &str, changes: &[StateChange<'_>]) -> Verdict {
        let mut track = Vec::new();
        changes.iter().for_each(|change| change.encode(&mut track));
        let facts = CommandFacts {
            shape: Shape {
                kind: StatementKind::Set,
                effects: Effects::SESSION_STATE,
                ..Shape::default()
            },
            text: Some(text.as_bytes()),
            ..CommandFacts::bare(CommandKind::Query)
        };
        let status = StatusFlags::AUTOCOMMIT;
        let outcome = Outcome { status: Some(status), changes: &track, ..Outcome::default() };
        before(&mut self.state, &facts);
        settle(&mut self.state, &mut self.conn, &facts, &outcome)
    }

    /// A routine, or several statements, that the server tells about.
    fn report(&mut self, name: &str, value: &str) {
        let mut track = Vec::new();
        let (name, value) = (name.as_bytes(), value.as_bytes());
        StateChange::SystemVariable { name, value }.encode(&mut track);
        let facts = CommandFacts {
            shape: Shape { effects: Effects::MULTI, ..Shape::default() },
            ..CommandFacts::bare(CommandKind::Query)
        };
        let status = Some(StatusFlags::AUTOCOMMIT);
        let outcome = Outcome { status, changes: &track, ..Outcome::default() };
        let _ = settle(&mut self.state, &mut self.conn, &facts, &outcome);
    }

    fn value(&self, name: &str) -> Option<&str> {
        let value = self.state.profile.variable(name)?;
        std::str::from_utf8(value.as_bytes()).ok()
    }
}

#[test]
fn literals_are_recorded_in_one_form() {
    for (text, expected) in [
        ("SET sql_mode = 'ANSI'", "'ANSI'"),
        ("SET SESSION sql_mode=\"it's\"", "'it''s'"),
        ("SET @@session.sql_mode := ANSI", "ANSI"),
    ] {
        let mut twin = Twin::new();
        assert_eq!(twin.set(text, &[]), Verdict::Keep, "{text}");
        assert_eq!(twin.value("sql_mode"), Some(expected), "{text}");
    }
}

#[test]
fn a_string_that_is_set_beside_another_charset_binds() {
    for text in ["SET NAMES latin1, @v = 'a'", "SET @v = 'a', character_set_connection = latin1"] {
        assert!(matches!(Twin::new().set(text, &[]), Verdict::Hold(_)), "{text}");
    }
}

#[test]
fn default_is_forgotten_not_quoted() {
    let mut twin = Twin::new();
    let _ = twin.set("SET time_zone = '+01:00'", &[]);
    assert_eq!(twin.set("SET time_zone = DEFAULT", &[]), Verdict::Keep);
    assert_eq!(twin.value("time_zone"), None);
    // There it is a value of its own.
    assert_eq!(twin.set("SET foreign_key_checks = DEFAULT", &[]), Verdict::Keep);
    assert_eq!(twin.value("foreign_key_checks"), Some("DEFAULT"));
    assert_eq!(twin.set("SET NAMES DEFAULT", &[]), Verdict::Keep);
    assert_eq!(twin.state.profile.charset, Charset::names(VarValue::Default, None));
}

#[test]
fn a_character_set_is_kept_with_the_collation_of_the_schema_it_was_said_in() {
    let mut twin = Twin::new();
    assert_eq!(twin.set("SET CHARACTER SET latin1", &[]), Verdict::Keep);
    let Charset::Set { client, connection, .. } = twin.state.profile.charset.clone() else {
        panic!()
    };
    assert_eq!(client, VarValue::text(b"latin1"));
    let ConnectionCharset::Collation(collation) = connection else { panic!() };
    assert_eq!(collation.as_bytes(), b"@@global.collation_server");
    twin.state.profile_mut().schema = Some("shop".into());
    assert_eq!(twin.set("SET CHARACTER SET DEFAULT", &[]), Verdict::Keep);
    let Charset::Set { client, connection, .. } = &twin.state.profile.charset else { panic!() };
    assert_eq!(*client, VarValue::Default);
    let ConnectionCharset::Collation(collation) = connection else { panic!() };
    let text = String::from_utf8_lossy(collation.as_bytes());
    assert!(text.ends_with("WHERE schema_name='shop')"), "{text}");
}

#[test]
fn an_expression_is_learned_from_the_report_or_binds() {
    let mut twin = Twin::new();
    let report = StateChange::SystemVariable { name: b"sql_select_limit", value: b"42" };
    assert_eq!(twin.set("SET sql_select_limit = 40 + 2", &[report]), Verdict::Keep);
    assert_eq!(twin.value("sql_select_limit"), Some("42"));
    let verdict = twin.set("SET sql_mode = CONCAT(@@sql_mode, ',ANSI')", &[]);
    assert_eq!(verdict, Verdict::Hold([PinCause::UnreplayableSet].into_iter().collect()));
}

#[test]
fn what_a_server_reports_of_other_statements_is_learned_but_for_what_nobody_set() {
    let told = |name: &'static [u8], value: &'static [u8]| {
        let mut twin = Twin::new();
        let mut track = Vec::new();
        StateChange::SystemVariable { name, value }.encode(&mut track);
        let facts = CommandFacts {
            shape: Shape { kind: StatementKind::Call, ..Shape::default() },
            ..CommandFacts::bare(CommandKind::Query)
        };
        let status = Some(StatusFlags::AUTOCOMMIT);
        let outcome = Outcome { status, changes: &track, ..Outcome::default() };
        let _ = settle(&mut twin.state, &mut twin.conn, &facts, &outcome);
        (twin.state.profile.variables.len(), twin.state.pins.contains(PinCause::UnreplayableSet))
    };
    assert_eq!(told(b"sql_mode", b"ANSI"), (1, false));
    assert_eq!(told(b"statement_id", b"225"), (0, false));
    assert_eq!(told(b"collation_database", b"utf8mb4_bin"), (0, false));
    assert_eq!(told(b"insert_id", b"7"), (0, true));
    assert_eq!(told(b"last_insert_id", b"7"), (0, true));
    assert_eq!(told(b"timestamp", b"100.000000"), (0, true));
}

#[test]
fn charset_of_no_results_is_reported_as_nothing() {
    let mut twin = Twin::new();
    twin.report("character_set_results", "");
    let Charset::Set { results, .. } = &twin.state.profile.charset else { panic!() };
    assert_eq!(results.as_bytes(), b"NULL");
}

#[test]
fn a_write_that_answers_with_rows_and_no_report_leaves_no_position() {
    let mut twin = Twin::new();
    twin.report("last_gtid", "0-1-7");
    assert_eq!(twin.state.last_write.as_deref(), Some("0-1-7"));
    let facts = |effects| CommandFacts {
        shape: Shape { kind: StatementKind::Insert, effects, ..Shape::default() },
        ..CommandFacts::bare(CommandKind::Query)
    };
    let outcome =
        Outcome { status: Some(StatusFlags::AUTOCOMMIT), rows: Some(1), ..Outcome::default() };
    let read = facts(Effects::READ_ONLY_PROVED);
    let _ = settle(&mut twin.state, &mut twin.conn, &read, &outcome);
    assert_eq!(twin.state.last_write.as_deref(), Some("0-1-7"));
    let _ = settle(&mut twin.state, &mut twin.conn, &facts(Effects::WRITES), &outcome);
    assert_eq!(twin.state.last_write, None);
}

#[test]
fn what_acts_once_binds() {
    for text in ["SET insert_id = 5", "SET rand_seed1 = 1", "SET profiling = 1"] {
        let mut twin = Twin::new();
        let verdict = twin.set(text, &[]);
        assert_eq!(
            verdict,
            Verdict::Hold([PinCause::UnreplayableSet].into_iter().collect()),
            "{text}"
        );
    }
}

#[test]
fn a_role_binds_for_good_since_no_reset_takes_it_back() {
    for text in ["SET ROLE r", "SET ROLE ALL", "SET RESOURCE GROUP g"] {
        let mut twin = Twin::new();
        let role: crate::pins::PinSet = [PinCause::Role].into_iter().collect();
        assert_eq!(twin.set(text, &[]), Verdict::Hold(role), "{text}");
        reset(&mut twin.state, Flavor::MySql);
        assert_eq!(twin.state.pins, role, "{text}");
        let left = crate::settle::left(&twin.state, &twin.conn);
        assert!(matches!(left, Verdict::Close(_)), "{text}: {left:?}");
    }
}

/// Runs a text as it is read; what binds the session then.
fn ran(twin: &mut Twin, text: &str, outcome: Outcome<'_>) -> crate::pins::PinSet {
    let mode = LexMode { flavor: Flavor::MariaDb, ..LexMode::default() };
    let mut scratch = sql::Scratch::new();
    let analysis = sql::analyze(text.as_bytes(), mode, &mut scratch);
    let facts = CommandFacts::text(CommandKind::Query, text.as_bytes(), &analysis, mode);
    before(&mut twin.state, &facts);
    let _ = settle(&mut twin.state, &mut twin.conn, &facts, &outcome);
    twin.state.pins
}

#[test]
fn a_role_is_looked_for_only_where_a_statement_may_choose_one() {
    let ok = || Outcome { status: Some(StatusFlags::AUTOCOMMIT), ..Outcome::default() };
    for (text, binds) in [
        ("CREATE TABLE user_roles (id INT); INSERT INTO user_roles VALUES (1)", false),
        ("DELETE FROM resources; SELECT role FROM user_roles", false),
        ("INSERT INTO t VALUES (1); SET ROLE r", true),
        ("SELECT 1; BEGIN NOT ATOMIC SET ROLE r; END", true),
        ("SELECT 1; IF 1 THEN SET ROLE r; END IF", true),
        ("EXECUTE IMMEDIATE 'SET ROLE r'", true),
    ] {
        let pins = ran(&mut Twin::new(), text, ok());
        assert_eq!(pins.contains(PinCause::Role), binds, "{text}: {pins}");
    }
}

#[test]
fn a_set_that_failed_as_it_committed_may_have_set_the_rest() {
    let text = "SET autocommit = 1, sql_mode = 'ANSI'";
    let off = || Outcome { status: Some(StatusFlags::empty()), ..Outcome::default() };
    for (code, binds) in [(1180, true), (1290, true), (1231, false)] {
        let mut twin = Twin::new();
        let _ = ran(&mut twin, "SET autocommit = 0", off());
        let _ = ran(&mut twin, "INSERT INTO t VALUES (1)", off());
        assert!(twin.state.in_transaction());
        let pins = ran(&mut twin, text, Outcome { error: Some(code), ..Outcome::default() });
        assert_eq!(pins.contains(PinCause::UnreplayableSet), binds, "{code}: {pins}");
        let failed = Outcome { error: Some(code), ..Outcome::default() };
        let pins = ran(&mut Twin::new(), text, failed);
        assert!(!pins.contains(PinCause::UnreplayableSet), "{code}: there was nothing to commit");
    }
}

#[test]
fn user_variables_of_literals_are_replayed_and_others_bind() {
    let mut twin = Twin::new();
    assert_eq!(twin.set("SET @X = 'a', @y := 5", &[]), Verdict::Keep);
    assert_eq!(twin.state.profile.user_variables.len(), 2);
    let _ = twin.set("SET @z = @y + 1", &[]);
    assert!(twin.state.pins.contains(PinCause::UserVariables));
}

/// Whose variable was never anything but NULL got the collation of one that had been something.
#[test]
fn a_user_variable_that_becomes_null_keeps_the_kind_of_its_value() {
    let run = |texts: &[&str], flavor| {
        let mut twin = Twin::new();
        twin.conn.flavor = flavor;
        for text in texts {
            assert_eq!(twin.set(text, &[]), Verdict::Keep, "{text}");
        }
        let value = twin.state.profile.user_variables["v"].as_bytes();
        String::from_utf8(value.to_vec()).unwrap()
    };
    for (before, expected) in [
        ("NULL", "NULL"),
        ("'joe'", "'',@`v`=NULL"),
        ("-5", "0,@`v`=NULL"),
        ("1.50", "0.0,@`v`=NULL"),
        ("18446744073709551615", "18446744073709551615,@`v`=NULL"),
        ("TRUE", "TRUE,@`v`=NULL"),
    ] {
        let texts = [&format!("SET @V = {before}"), "SET @v = NULL", "SET @V = null"];
        assert_eq!(run(&texts[..2], Flavor::MariaDb), expected);
        assert_eq!(run(&texts, Flavor::MariaDb), expected, "once more changes nothing");
        assert_eq!(run(&texts[..2], Flavor::MySql), expected);
        assert_eq!(run(&texts[..2], Flavor::StarRocks), "NULL");
    }
    assert_eq!(run(&["SET @v = 'a'", "SET @v = NULL", "SET @v = 'b'"], Flavor::MariaDb), "'b'");
}

#[test]
fn a_charset_change_binds_string_variables() {
    let mut twin = Twin::new();
    let _ = twin.set("SET @x = 'a'", &[]);
    let _ = twin.set("SET NAMES latin1", &[]);
    assert!(twin.state.pins.contains(PinCause::UserVariables));
}

#[test]
fn global_values_are_not_the_sessions() {
    let mut twin = Twin::new();
    assert_eq!(twin.set("SET GLOBAL sql_mode = 'ANSI'", &[]), Verdict::Keep);
    assert_eq!(twin.value("sql_mode"), None);
}

#[test]
fn the_next_transaction_is_held_for() {
    let mut twin = Twin::new();
    let verdict = twin.set("SET TRANSACTION ISOLATION LEVEL READ COMMITTED", &[]);
    assert_eq!(verdict, Verdict::Hold([PinCause::NextTransaction].into_iter().collect()));
    assert_eq!(
        twin.state.next_transaction.as_deref(),
        Some("SET TRANSACTION ISOLATION LEVEL READ COMMITTED")
    );
}

#[test]
fn last_insert_id_can_be_set() {
    let mut twin = Twin::new();
    assert_eq!(twin.set("SET LAST_INSERT_ID = 17", &[]), Verdict::Keep);
    assert_eq!(twin.state.last_insert_id, LastInsertId::Known(17));
}

#[test]
fn the_state_survives_its_serial_form() {
    let mut twin = Twin::new();
    let _ = twin.set("SET sql_mode = 'ANSI', @x = 1, NAMES latin1", &[]);
    twin.state.prepared(b"SELECT ?", Shape::UNKNOWN, 1);
    let text = serde_json::to_string(&twin.state).unwrap();
    let again: SessionState = serde_json::from_str(&text).unwrap();
    assert_eq!(again, twin.state);
    assert!(again.lex_mode(LexMode::default()).ansi_quotes);
}

/// As of MariaDB 10.11, which expands the bits of modes that stand for others.
#[test]
fn a_mode_that_stands_for_others_does_so_as_a_number_too() {
    for (number, is_combined) in [
        (262_144, true),
        (256, true),
        (512, true),
        (1024, true),
        (2048, true),
        (4096, true),
        (8192, false),
    ] {
        let mut twin = Twin::new();
        let _ = twin.set(&format!("SET sql_mode = {number}"), &[]);
        let mode = twin.state.lex_mode(LexMode::default());
        let found = [mode.ansi_quotes, mode.pipes_as_concat, mode.ignore_space];
        assert_eq!(found, [is_combined; 3], "{number}");
    }
}

#[test]
fn a_set_that_would_bind_is_not_replayable() {
    let mut twin = Twin::new();
    let mode = LexMode::default();
    let is = |twin: &Twin, text: &str| set::is_replayable(&twin.state, text.as_bytes(), mode);
    for (text, expected) in [
        ("SET @a = 1, time_zone = 'SYSTEM'", true),
        ("SET NAMES latin1", true),
        ("SET @a = 'ä'", false),
        ("SET @a = @b", false),
        ("SET @a = 'x', NAMES latin1", false),
        ("SET insert_id = 5", false),
    ] {
        assert_eq!(is(&twin, text), expected, "{text}");
    }
    let _ = twin.set("SET @a = 'x'", &[]);
    assert!(!is(&twin, "SET NAMES latin1"), "a string keeps the charset it was set under");
}

/// MariaDB reports the value that held for the statement, and not that it is gone.
#[test]
fn a_value_for_one_statement_is_not_the_sessions() {
    let mut twin = Twin::new();
    let mut changes = Vec::new();
    StateChange::SystemVariable { name: b"sql_mode", value: b"ANSI_QUOTES" }.encode(&mut changes);
    StateChange::AnyState(b"1").encode(&mut changes);
    let select = Shape { kind: StatementKind::Select, ..Shape::default() };
    let facts = CommandFacts {
        shape: Shape { effects: Effects::FOR_STATEMENT, ..select },
        ..CommandFacts::bare(CommandKind::Query)
    };
    let status = Some(StatusFlags::AUTOCOMMIT);
    let outcome = Outcome { status, changes: &changes, ..Outcome::default() };
    assert_eq!(settle(&mut twin.state, &mut twin.conn, &facts, &outcome), Verdict::Keep);
    assert_eq!(twin.value("sql_mode"), None);
}

#[test]
fn a_text_that_the_server_could_not_read_leaves_nothing() {
    let unread = |text: &'static str, code| {
        let shape = Shape {
            kind: StatementKind::Unknown,
            effects: Effects::CAN_CHANGE_SESSION | Effects::DOUBTFUL,
            ..Shape::default()
        };
        let query = CommandFacts::bare(CommandKind::Query);
        CommandFacts { shape, text: Some(text.as_bytes()), ..query }.is_unread(code)
    };
    assert!(unread("SELEC 1", 1064));
    assert!(!unread("SELEC 1", 1146));
    assert!(!unread("BEGIN NOT ATOMIC EXECUTE IMMEDIATE 'SELEC 1'; END", 1064));
}

#[test]
fn warnings_stay_behind_statements_of_which_the_first_uses_no_table() {
    let stay = |text: &str, flavor: Flavor, outcome: Outcome<'_>| {
        let mode = LexMode { flavor, ..LexMode::default() };
        let mut scratch = sql::Scratch::new();
        let analysis = sql::analyze(text.as_bytes(), mode, &mut scratch);
        let facts = CommandFacts::text(CommandKind::Query, text.as_bytes(), &analysis, mode);
        let mut twin = Twin::new();
        twin.state.pins.insert(PinCause::Warnings);
        before(&mut twin.state, &facts);
        let _ = settle(&mut twin.state, &mut twin.conn, &facts, &outcome);
        (twin.state.pins.contains(PinCause::Warnings), twin.conn.diagnostics)
    };
    let ok = Outcome { status: Some(StatusFlags::AUTOCOMMIT), ..Outcome::default() };
    let warned = Outcome { warnings: 1, ..ok };
    for (text, expected) in [
        ("USE other; SELECT DATABASE(); USE shop", true),
        ("SELECT 1; SELECT 2", true),
        ("VALUES (1), (2)", true),
        ("VALUES ((SELECT MAX(a) FROM t))", false),
        ("SELECT 1; SELECT a FROM t", false),
        ("UPDATE t SET a = 1; SELECT 1", false),
        ("DROP TABLE IF EXISTS nowhere; SHOW WARNINGS", false),
    ] {
        assert_eq!(stay(text, Flavor::MariaDb, ok).0, expected, "{text}");
        assert!(!stay(text, Flavor::MySql, ok).0, "{text}");
        // One of several left its own: no other session may see them.
        assert_eq!(stay(text, Flavor::MariaDb, warned), (true, true), "{text}");
    }
}

#[test]
fn what_several_statements_say_of_the_next_transaction_is_what_the_server_reports_last() {
    let after = |reports: &[&str]| {
        let mut twin = Twin::new();
        let mut track = Vec::new();
        for report in reports {
            StateChange::TransactionCharacteristics(report.as_bytes()).encode(&mut track);
        }
        let facts = CommandFacts {
            shape: Shape { effects: Effects::MULTI | Effects::SESSION_STATE, ..Shape::default() },
            ..CommandFacts::bare(CommandKind::Query)
        };
        twin.conn.tracks = true;
        let status = Some(StatusFlags::AUTOCOMMIT);
        let outcome = Outcome { status, changes: &track, ..Outcome::default() };
        let _ = settle(&mut twin.state, &mut twin.conn, &facts, &outcome);
        let binds = twin.state.pins.contains(PinCause::NextTransaction);
        (twin.state.next_transaction.as_deref().map(str::to_owned), binds)
    };
    let both = "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE; SET TRANSACTION READ ONLY;";
    let said = "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE, READ ONLY".to_owned();
    assert_eq!(after(&[both]), (Some(said.clone()), true));
    assert_eq!(after(&["", both]), (Some(said), true));
    assert_eq!(after(&[both, "START TRANSACTION READ ONLY;", ""]), (None, false));
    // It has begun, and ends in a report of its own.
    assert_eq!(after(&["START TRANSACTION READ ONLY;"]), (None, false));
}

/// They were taken for none: the connection went to the next session with what they had set.
#[test]
fn several_statements_whose_report_was_not_had_bind() {
    let mut twin = Twin::new();
    twin.conn.tracks = true;
    let text = "SET sql_mode = 'ANSI', optimizer_switch = 'mrr=on'; SELECT 1";
    assert!(ran(&mut twin, text, Outcome::default()).is_empty());
    let pins = ran(&mut twin, text, Outcome { is_cut: true, ..Outcome::default() });
    assert!(pins.contains(PinCause::SessionUnknown), "{pins}");
}

/// A SET that can be repeated runs on any server; one that fails there must not bind the session to a
/// reader, where its writes would follow.
#[test]
fn a_set_that_failed_changed_nothing_and_binds_nobody() {
    let fail = |twin: &mut Twin, text: &'static str| {
        let shape =
            Shape { kind: StatementKind::Set, effects: Effects::SESSION_STATE, ..Shape::default() };
        let facts = CommandFacts {
            shape,
            text: Some(text.as_bytes()),
            ..CommandFacts::bare(CommandKind::Query)
        };
        let outcome = Outcome { error: Some(1621), ..Outcome::default() };
        before(&mut twin.state, &facts);
        let _ = settle(&mut twin.state, &mut twin.conn, &facts, &outcome);
    };
    let mut twin = Twin::new();
    fail(&mut twin, "SET SESSION max_allowed_packet = 16777216");
    assert!(twin.state.pins.iter().all(PinCause::is_leftover), "{:?}", twin.state.pins);
    assert_eq!(twin.value("max_allowed_packet"), None);
    // One that can't be repeated ran where writes can follow.
    fail(&mut twin, "SET @a = f(1), insert_id = 5");
    assert!(twin.state.pins.contains(PinCause::UnreplayableSet));
}

#[test]
fn a_function_that_failed_may_have_changed_the_session() {
    for (code, binds) in [(1146, true), (1064, false), (1305, false)] {
        let mut twin = Twin::new();
        let shape = Shape {
            kind: StatementKind::Select,
            effects: Effects::SIDE_EFFECT_FUNCTION,
            ..Shape::default()
        };
        let facts = CommandFacts { shape, ..CommandFacts::bare(CommandKind::Query) };
        let outcome = Outcome { error: Some(code), ..Outcome::default() };
        let _ = settle(&mut twin.state, &mut twin.conn, &facts, &outcome);
        let is_bound = twin.state.pins.contains(PinCause::RoutineChangedState);
        assert_eq!(is_bound, binds, "{code}");
    }
}

#[test]
fn only_a_statement_that_ran_alters_a_schema_and_not_a_table_of_that_name() {
    let alters = |command: CommandKind, text: &str| {
        let (mut scratch, mode) = (sql::Scratch::new(), LexMode::default());
        let analysis = sql::analyze(text.as_bytes(), mode, &mut scratch);
        alters_schema(&CommandFacts::text(command, text.as_bytes(), &analysis, mode))
    };
    for text in [
        "ALTER DATABASE shop CHARACTER SET latin2",
        "CREATE TABLE t (i INT); ALTER SCHEMA shop CHARACTER SET latin2",
        "CREATE OR REPLACE SCHEMA shop CHARACTER SET latin2",
        "DROP DATABASE shop",
    ] {
        assert!(alters(CommandKind::Query, text), "{text}");
        assert!(!alters(CommandKind::StmtPrepare, text), "{text}");
    }
    for text in [
        "ALTER TABLE schema_migrations ADD version INT",
        "CREATE DATABASE other; ALTER TABLE t ADD i INT",
        "SELECT 'ALTER DATABASE shop'",
    ] {
        assert!(!alters(CommandKind::Query, text), "{text}");
    }
}

#[test]
fn changes_of_a_list_add_up() {
    let mut twin = Twin::new();
    for (text, all) in [
        ("SET optimizer_switch='index_merge=off'", Some("'index_merge=off'")),
        ("SET optimizer_switch='mrr=on'", Some("'index_merge=off,mrr=on'")),
        ("SET optimizer_switch='INDEX_MERGE = default'", Some("'mrr=on,INDEX_MERGE = default'")),
        ("SET optimizer_switch='default,mrr=on'", Some("'default,mrr=on'")),
        ("SET optimizer_switch=DEFAULT", None),
        ("SET optimizer_switch='mrr=on'", Some("'mrr=on'")),
        ("SET optimizer_switch=17", Some("17")),
    ] {
        assert_eq!(twin.set(text, &[]), Verdict::Keep, "{text}");
        assert_eq!(twin.value("optimizer_switch"), all, "{text}");
    }
    let _ = twin.set("SET optimizer_switch='mrr=off'", &[]);
    assert!(twin.state.pins.contains(PinCause::UnreplayableSet), "a number hides what it holds");
}

/// Observed: the session asked every other server for a collation that none of them has.
#[test]
fn a_charset_variable_is_set_beside_what_the_server_made_of_the_login() {
    for (flavor, client) in [(Flavor::MariaDb, "DEFAULT"), (Flavor::MySql, "utf8mb4")] {
        let mut twin = Twin::new();
        twin.conn.flavor = flavor;
        twin.state.profile_mut().charset = Charset::Login(255);
        let _ = twin.set("SET character_set_results = NULL", &[]);
        let Charset::Set { client: there, results, .. } = &twin.state.profile.charset else {
            panic!("{flavor:?}");
        };
        assert_eq!(there.as_bytes(), client.as_bytes());
        assert!(results.is_null());
    }
}

#[test]
fn a_collation_of_one_of_several_statements_is_read_from_the_text() {
    let mut twin = Twin::new();
    twin.conn.tracks = true;
    let mut several = |text: &str| {
        let facts = CommandFacts {
            shape: Shape {
                kind: StatementKind::Set,
                effects: Effects::MULTI | Effects::SESSION_STATE,
                ..Shape::default()
            },
            text: Some(text.as_bytes()),
            ..CommandFacts::bare(CommandKind::Query)
        };
        let mut changes = Vec::new();
        let reported = StateChange::SystemVariable { name: b"character_set_client", value: b"x" };
        reported.encode(&mut changes);
        let status = Some(StatusFlags::AUTOCOMMIT);
        let outcome = Outcome { status, changes: &changes, ..Outcome::default() };
        let verdict = settle(&mut twin.state, &mut twin.conn, &facts, &outcome);
        (verdict, twin.state.profile.charset.clone())
    };
    let latin = |name: &str| VarValue::text(name.as_bytes());
    let named = Charset::names(latin("latin1"), Some(latin("latin1_bin")));
    let (verdict, charset) = several("SET NAMES latin1 COLLATE latin1_bin; SELECT 1");
    assert_eq!((verdict, charset), (Verdict::Keep, named));
    let (_, charset) = several("SELECT 'COLLATE'; SET NAMES latin1");
    let Charset::Set { client, .. } = charset else { panic!("{charset:?}") };
    assert_eq!(client.as_bytes(), b"'x'", "what is reported whole is believed");
    let unsure = "SET NAMES latin1 COLLATE latin1_bin; SET character_set_client = (SELECT 'x')";
    let (verdict, _) = several(unsure);
    assert_eq!(verdict, Verdict::Hold(PinCause::UnreplayableSet.into()));
}

/// Observed: `storage_engine` and `default_storage_engine` were set again in the order of their names.
#[test]
fn what_one_variable_says_of_another_is_kept_once() {
    let mut twin = Twin::new();
    let _ = twin.set("SET default_storage_engine = InnoDB, storage_engine = MyISAM", &[]);
    assert_eq!(twin.value("default_storage_engine"), Some("MyISAM"));
    assert_eq!(twin.value("storage_engine"), None);
    for (text, big) in [
        ("SET sql_big_selects = 1, max_join_size = 7", Some("0")),
        ("SET sql_big_selects = 1", Some("1")),
        ("SET max_join_size = 18446744073709551615", Some("1")),
        ("SET max_join_size = DEFAULT", None),
    ] {
        let _ = twin.set(text, &[]);
        assert_eq!(twin.value("sql_big_selects"), big, "{text}");
    }
}
