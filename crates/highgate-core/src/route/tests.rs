use highgate_mysql::sql::LexMode;

use super::*;
use crate::{
    state::Shape,
    track::{self, before},
};

fn facts(kind: StatementKind, effects: Effects) -> CommandFacts<'static> {
    CommandFacts {
        shape: Shape { kind, effects, ..Shape::default() },
        ..CommandFacts::bare(CommandKind::Query)
    }
}

/// A query as it is read.
fn query(text: &'static str) -> CommandFacts<'static> {
    let mut scratch = sql::Scratch::new();
    let analysis = sql::analyze(text.as_bytes(), LexMode::default(), &mut scratch);
    CommandFacts {
        shape: Shape::of(&analysis),
        text: Some(text.as_bytes()),
        ..CommandFacts::bare(CommandKind::Query)
    }
}

#[test]
fn plain_questions_are_answered_from_the_session() {
    let mut state = SessionState::new(0, "app", None, 45);
    state.last_insert_id = crate::state::LastInsertId::Known(9);
    let ask = |text: &'static str| {
        let facts = CommandFacts {
            text: Some(text.as_bytes()),
            ..facts(StatementKind::Select, Effects::empty())
        };
        own_answer(&state, &facts, 77)
    };
    let number = |column: &str, value, unsigned| {
        Some(OwnAnswer::Number { column: column.into(), value, unsigned })
    };
    assert_eq!(ask("SELECT CONNECTION_ID()"), number("CONNECTION_ID()", 77, true));
    assert_eq!(ask(" select  last_insert_id( ) ; "), number("last_insert_id( )", 9, true));
    assert_eq!(ask("SELECT LAST_INSERT_ID() AS id"), number("id", 9, true));
    assert_eq!(ask("SELECT CONNECTION_ID() as `my id`"), None);
    assert_eq!(ask("select @@pseudo_thread_id"), number("@@pseudo_thread_id", 77, true));
    assert_eq!(ask("SELECT ROW_COUNT()"), number("ROW_COUNT()", 0, false));
    for text in [
        "SELECT CONNECTION_ID(), 1",
        "SELECTCONNECTION_ID()",
        "SELECT LAST_INSERT_ID(5)",
        "SELECT LAST_INSERT_ID() FROM t",
        "SELECT LAST_INSERT_ID() LIMIT 0",
        "SELECT ROW_COUNT ()",
    ] {
        assert_eq!(ask(text), None, "{text}");
    }
}

#[test]
fn a_number_that_comes_in_a_wide_charset_is_the_servers() {
    use crate::state::{Charset, ConnectionCharset, VarValue};
    let answered = |text: &'static str, command: CommandKind, results: &str, flavor: Flavor| {
        let utf8 = VarValue::text(b"utf8mb4");
        let charset = Charset::Set {
            client: utf8.clone(),
            results: VarValue::text(results.as_bytes()),
            described: None,
            connection: ConnectionCharset::Charset(utf8),
        };
        let mut state = SessionState::new(0, "app", None, 45);
        state.profile_mut().charset = charset;
        let mode = LexMode { flavor, ..LexMode::default() };
        own_answer(&state, &CommandFacts { command, mode, ..query(text) }, 77).is_some()
    };
    let question = "SELECT LAST_INSERT_ID()";
    for charset in ["utf16", "'UCS2'", "utf16le", "utf32"] {
        assert!(!answered(question, CommandKind::Query, charset, Flavor::MariaDb), "{charset}");
        assert!(answered(question, CommandKind::Query, charset, Flavor::MySql), "{charset}");
        assert!(answered(question, CommandKind::StmtExecute, charset, Flavor::MariaDb), "binary");
    }
    assert!(answered(question, CommandKind::Query, "latin1", Flavor::MariaDb));
    // A server would tell its own.
    let thread = "SELECT @@pseudo_thread_id";
    assert!(answered(thread, CommandKind::Query, "utf16", Flavor::MariaDb));
}

#[test]
fn nothing_is_answered_where_the_session_wants_no_rows() {
    let mut state = SessionState::new(0, "app", None, 45);
    let facts = CommandFacts {
        text: Some(b"SELECT LAST_INSERT_ID()"),
        ..facts(StatementKind::Select, Effects::empty())
    };
    for (limit, is_answered) in [("0", false), ("'0'", false), ("10", true)] {
        let limit = crate::state::VarValue::text(limit.as_bytes());
        state.profile_mut().variables.insert("sql_select_limit".into(), limit);
        assert_eq!(own_answer(&state, &facts, 77).is_some(), is_answered);
    }
}

#[test]
fn reads_go_to_replicas_and_doubt_to_the_primary() {
    let state = SessionState::new(0, "app", None, 45);
    let read = Effects::READ_ONLY_PROVED;
    for (kind, effects, expected) in [
        (StatementKind::Select, read, Role::Replica),
        (StatementKind::Select, read | Effects::LOCKING_READ, Role::Primary),
        (StatementKind::Select, read | Effects::SEQUENCE, Role::Primary),
        (StatementKind::Select, Effects::empty(), Role::Primary),
        (StatementKind::Unknown, Effects::DOUBTFUL, Role::Primary),
        (StatementKind::Insert, Effects::WRITES, Role::Primary),
        (StatementKind::Begin, Effects::BEGINS_TRANSACTION, Role::Primary),
        (
            StatementKind::StartTransaction { read_only: true },
            Effects::BEGINS_TRANSACTION,
            Role::Replica,
        ),
        // Without its text, a SET may be one that binds.
        (StatementKind::Set, Effects::SESSION_STATE, Role::Primary),
        (StatementKind::Set, Effects::SESSION_STATE | Effects::ADMINISTRATION, Role::Primary),
    ] {
        assert_eq!(classify(&state, &facts(kind, effects)).0, expected, "{kind:?} {effects:?}");
    }
}

#[test]
fn a_set_that_can_be_repeated_runs_anywhere() {
    let state = SessionState::new(0, "app", None, 45);
    let of = |text: &'static str| CommandFacts {
        text: Some(text.as_bytes()),
        ..facts(StatementKind::Set, Effects::SESSION_STATE)
    };
    assert_eq!(classify(&state, &of("SET sql_mode = ''")).0, Role::Any);
    let binds = of("SET @x = (SELECT MAX(id) FROM t)");
    assert_eq!(classify(&state, &binds).0, Role::Primary);
}

#[test]
fn what_holds_for_the_next_transaction_is_set_where_that_may_write() {
    let state = SessionState::new(0, "app", None, 45);
    for next in [
        "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE",
        "SET TRANSACTION READ WRITE",
        "SET @@transaction_isolation = 'SERIALIZABLE'",
    ] {
        let set = CommandFacts {
            text: Some(next.as_bytes()),
            ..facts(StatementKind::Set, Effects::SESSION_STATE)
        };
        assert_eq!(classify(&state, &set).0, Role::Primary, "{next}");
    }
}

/// They waited for a primary, and so did logins of drivers with autocommit off.
#[test]
fn what_ends_no_transaction_or_sets_autocommit_outside_one_runs_anywhere() {
    let mut state = SessionState::new(0, "app", None, 45);
    let ends = ["COMMIT", "ROLLBACK", "rollback work", "/* pool */ COMMIT AND NO CHAIN"];
    let sets = ["SET autocommit=0", "SET @@session.autocommit = 1", "SET NAMES utf8mb4"];
    for autocommit in [true, false] {
        state.autocommit = autocommit;
        for text in ends {
            let expected = (Role::Any, Reason::EndsNothing);
            assert_eq!(classify(&state, &query(text)), expected, "{text} {autocommit}");
        }
        for text in sets {
            let expected = (Role::Any, Reason::OnlySession);
            assert_eq!(classify(&state, &query(text)), expected, "{text} {autocommit}");
        }
        for text in [
            "COMMIT AND CHAIN",
            "ROLLBACK RELEASE",
            "ROLLBACK TO SAVEPOINT a",
            "COMMIT; INSERT INTO t VALUES (1)",
            "SET autocommit=0; INSERT INTO t VALUES (1)",
            "SET GLOBAL autocommit=0",
            "XA COMMIT 'a'",
        ] {
            assert_eq!(classify(&state, &query(text)).0, Role::Primary, "{text} {autocommit}");
        }
    }
    let doubts: [fn(&mut SessionState); 4] = [
        |state| state.transaction.open = Open::Yes,
        |state| state.transaction.open = Open::Implicit,
        |state| state.transaction.unsure = true,
        |state| state.next_transaction = Some("SET TRANSACTION READ ONLY".into()),
    ];
    for doubt in doubts {
        let mut state = SessionState::new(0, "app", None, 45);
        doubt(&mut state);
        assert_eq!(classify(&state, &query("ROLLBACK")).0, Role::Primary, "{state:?}");
    }
    let chains = crate::state::VarValue::text(b"1");
    state.profile_mut().variables.insert("completion_type".into(), chains);
    assert_eq!(classify(&state, &query("COMMIT")).0, Role::Primary, "a transaction begins");
}

#[test]
fn outside_transactions_what_sets_the_next_one_or_ends_none_leaves_nothing_behind() {
    let mut state = SessionState::new(0, "app", None, 45);
    let leave_nothing = [
        "SET TRANSACTION ISOLATION LEVEL READ COMMITTED",
        "SET @@transaction_isolation = 'SERIALIZABLE'",
        "COMMIT AND CHAIN",
        "ROLLBACK AND CHAIN NO RELEASE",
    ];
    for text in leave_nothing {
        assert!(leaves_nothing_behind(&state, &query(text)), "{text}");
    }
    for text in [
        "SET GLOBAL TRANSACTION READ ONLY",
        "SET @@transaction_isolation = @a",
        "SET TRANSACTION READ ONLY; INSERT INTO t VALUES (1)",
        "COMMIT AND CHAIN; INSERT INTO t VALUES (1)",
        "COMMIT RELEASE",
        "ROLLBACK TO a",
    ] {
        assert!(!leaves_nothing_behind(&state, &query(text)), "{text}");
    }
    state.transaction.unsure = true;
    for text in leave_nothing {
        assert!(!leaves_nothing_behind(&state, &query(text)), "{text}");
    }
}

#[test]
fn with_autocommit_off_even_reads_go_to_the_primary() {
    let mut state = SessionState::new(0, "app", None, 45);
    state.autocommit = false;
    let read = facts(StatementKind::Select, Effects::READ_ONLY_PROVED);
    assert_eq!(classify(&state, &read), (Role::Primary, Reason::AutocommitOff));
}

#[test]
fn warnings_bind_only_the_statement_that_asks_for_them() {
    let mut state = SessionState::new(0, "app", None, 45);
    state.pins.insert(PinCause::Warnings);
    before(&mut state, &facts(StatementKind::Show, Effects::READS_DIAGNOSTICS));
    assert_eq!(bound(&state), Some(Reason::Pinned(PinCause::Warnings)));
    before(&mut state, &facts(StatementKind::Select, Effects::READ_ONLY_PROVED));
    assert_eq!(bound(&state), None);
}

#[test]
fn no_refusal_tells_a_client_about_backends() {
    let by = NamedBy::Rule(12);
    let refused = RouteRefused::UnknownBackend { backend: "secret-name".into(), by };
    assert!(!refused.answer().text.contains("secret"));
    assert_eq!(refused.to_string(), "backend secret-name does not exist, and rule 12 names it");
}

#[test]
fn what_a_reader_left_keeps_no_write_and_no_binding_there() {
    let mut state = SessionState::new(0, "app", None, 45);
    let read = facts(StatementKind::Select, Effects::READ_ONLY_PROVED);
    let binds = CommandFacts {
        text: Some(b"SET insert_id = 5"),
        ..facts(StatementKind::Set, Effects::SESSION_STATE)
    };
    assert!(!outgrows_reader(&state, &binds), "nothing is left");
    state.pins.insert(PinCause::Warnings);
    assert!(outgrows_reader(&state, &binds) && !outgrows_reader(&state, &read));
    let asks = facts(StatementKind::Show, Effects::READS_DIAGNOSTICS);
    assert!(!outgrows_reader(&state, &asks));
    state.pins = [PinCause::MultiplexOff].into_iter().collect();
    assert!(outgrows_reader(&state, &binds) && !outgrows_reader(&state, &read));
    state.pins.insert(PinCause::TemporaryTable);
    assert!(!outgrows_reader(&state, &binds), "more than leftovers");
}

#[test]
fn a_prepared_use_runs_where_writes_can_follow() {
    let state = SessionState::new(0, "app", None, 45);
    let text = CommandFacts {
        schema_used: Some(b"shop"),
        ..facts(StatementKind::Use, Effects::SESSION_STATE)
    };
    assert_eq!(classify(&state, &text).0, Role::Any);
    let prepared = CommandFacts { command: CommandKind::StmtExecute, ..text };
    assert_eq!(classify(&state, &prepared).0, Role::Primary);
}

#[test]
fn a_cursor_and_long_data_bind_where_writes_can_follow() {
    let state = SessionState::new(0, "app", None, 45);
    let read = CommandFacts {
        command: CommandKind::StmtExecute,
        ..facts(StatementKind::Select, Effects::READ_ONLY_PROVED)
    };
    assert_eq!(classify(&state, &read).0, Role::Replica);
    let cursor = CommandFacts { opens_cursor: true, ..read };
    assert_eq!(classify(&state, &cursor), (Role::Primary, Reason::Binds));
    let long_data = CommandFacts { command: CommandKind::StmtSendLongData, ..read };
    assert_eq!(classify(&state, &long_data), (Role::Primary, Reason::Binds));
}

#[test]
fn what_commits_a_read_only_transaction_on_a_reader_leaves_that_reader() {
    let mut state = SessionState::new(0, "app", None, 45);
    let begin = facts(StatementKind::Begin, Effects::BEGINS_TRANSACTION);
    let ddl = facts(StatementKind::Ddl, Effects::WRITES | Effects::IMPLICIT_COMMIT);
    let insert = facts(StatementKind::Insert, Effects::WRITES);
    assert!(!begins_elsewhere(&state, &begin), "there is no transaction");
    state.transaction.open = Open::Yes;
    state.pins.insert(PinCause::Transaction);
    assert!(!begins_elsewhere(&state, &begin), "it may write where it is");
    state.transaction.read_only = true;
    assert!(begins_elsewhere(&state, &begin));
    let again = StatementKind::StartTransaction { read_only: true };
    assert!(!begins_elsewhere(&state, &facts(again, Effects::BEGINS_TRANSACTION)));
    assert!(commits_elsewhere(&state, &ddl, Flavor::MariaDb));
    assert!(
        !commits_elsewhere(&state, &ddl, Flavor::MySql),
        "MySQL refuses it in words of its own"
    );
    assert!(!commits_elsewhere(&state, &insert, Flavor::MariaDb));
    state.pins.insert(PinCause::TemporaryTable);
    assert!(!begins_elsewhere(&state, &begin) && !commits_elsewhere(&state, &ddl, Flavor::MariaDb));
    state.pins.remove(PinCause::TemporaryTable);
    track::end_read_only(&mut state);
    assert!(state.pins.is_empty() && !state.in_transaction());
}

/// A failed statement may have ended or begun a transaction: its status flags are the server's to tell.
#[test]
fn in_a_transaction_that_may_have_ended_the_server_is_asked() {
    let mut state = SessionState::new(0, "app", None, 45);
    let asks = CommandFacts {
        text: Some(b"SELECT ROW_COUNT()"),
        ..facts(StatementKind::Select, Effects::READS_ROW_COUNT)
    };
    state.transaction.open = Open::Yes;
    assert!(own_answer(&state, &asks, 7).is_some());
    state.transaction.unsure = true;
    assert_eq!(own_answer(&state, &asks, 7), None);
}

#[test]
fn long_data_that_was_lost_is_forgiven_by_a_reset() {
    let mut state = SessionState::new(0, "app", None, 45);
    let id = state.prepared(b"INSERT INTO t VALUES (?)", Shape::default(), 1);
    let execution = CommandFacts::bare(CommandKind::StmtExecute);
    let execution = CommandFacts { statement: Some(id), ..execution };
    track::spoiled(&mut state, &execution, true);
    assert!(state.statements[&id].spoiled);
    before(&mut state, &CommandFacts { command: CommandKind::StmtReset, ..execution });
    assert!(!state.statements[&id].spoiled, "a reset forgives it");
}

#[test]
fn no_kill_reaches_a_server() {
    let of = |text: &'static str| {
        let mode = LexMode::default();
        let mut scratch = sql::Scratch::new();
        let analysis = sql::analyze(text.as_bytes(), mode, &mut scratch);
        let shape = Shape { kind: analysis.kind, effects: analysis.effects, ..Shape::default() };
        let facts = CommandFacts {
            shape,
            text: Some(text.as_bytes()),
            ..CommandFacts::bare(CommandKind::Query)
        };
        may_kill(&facts).then(|| kill(&facts, 77))
    };
    let killed = |scope, id| Some(Ok(Some(To::Kill { scope, id })));
    assert_eq!(of("KILL 7"), killed(KillScope::Connection, 7));
    assert_eq!(of("KILL QUERY 7;"), killed(KillScope::Query, 7));
    assert_eq!(of("KILL QUERY CONNECTION_ID()"), killed(KillScope::Query, 77));
    for text in [
        "SELECT 1; KILL 7",
        "DO 0; KILL QUERY 7",
        "KILL 7; SELECT 1",
        "KILL 5 + 2",
        "KILL @id",
        "KILL ?",
        "KILL QUERY ID 7",
        "KILL USER app",
        "PREPARE s FROM 'KILL 7'",
        "SELECT 1; EXECUTE IMMEDIATE 'KILL 7'",
        "BEGIN NOT ATOMIC KILL 7; END",
        "BEGIN NOT ATOMIC DO 1; KILL 7; END",
        "IF 1 THEN KILL 7; END IF",
        "SELECT 1; BEGIN NOT ATOMIC KILL 7; END",
        "SET a = 1; IF 1 THEN KILL 7; END IF",
        "SET @a = 'x'; EXECUTE IMMEDIATE 'KI' 'LL 7'",
    ] {
        assert_eq!(of(text), Some(Err(RouteRefused::KillForm)), "{text}");
    }
    assert_eq!(of("PREPARE s FROM 'SELECT 7'"), Some(Ok(None)));
    assert_eq!(of("SELECT 'KILL 7'"), None);
    for text in [
        "SELECT /*+ SET_VAR(optimizer_switch='mrr=off') */ 1 FROM film WHERE title = 'Kill Bill'",
        "SET sql_mode = 'STRICT_TRANS_TABLES'; INSERT INTO f VALUES ('it\\'s; Kill Bill')",
    ] {
        assert_eq!(of(text), Some(Ok(None)), "{text}");
    }
    for text in [
        "SELECT /* /* */ '; KILL 7 -- */ '",
        "SET sql_mode = 'NO_BACKSLASH_ESCAPES'; SELECT '\\'; KILL 7 -- '",
    ] {
        assert_eq!(of(text), Some(Err(RouteRefused::KillUnread)), "{text}");
    }
}

#[test]
fn a_schema_that_cannot_be_chosen_again_is_chosen_where_writes_can_follow() {
    let state = SessionState::new(0, "app", None, 45);
    for (name, role) in [(&b"shop"[..], Role::Any), (b"caf\xe9", Role::Primary)] {
        let init = CommandFacts { text: Some(name), ..CommandFacts::bare(CommandKind::InitDb) };
        assert_eq!(classify(&state, &init).0, role);
        let used = CommandFacts {
            schema_used: Some(name),
            ..facts(StatementKind::Use, Effects::SESSION_STATE)
        };
        assert_eq!(classify(&state, &used).0, role);
    }
}

/// Without roles at the first, a write could go to any: at the second one that would be a replica.
#[test]
fn what_may_go_to_any_server_of_one_backend_goes_to_the_primary_of_another() {
    use Topology::{Galera, MariadbReplication, Static};
    for topology in [Galera, MariadbReplication] {
        assert_eq!(role_at(Role::Any, topology, true), Role::Primary);
        assert_eq!(role_at(Role::Primary, topology, true), Role::Primary);
        assert_eq!(role_at(Role::Replica, topology, true), Role::Replica);
        assert_eq!(role_at(Role::Replica, topology, false), Role::Primary);
    }
    assert_eq!(role_at(Role::Primary, Static, true), Role::Any);
}
