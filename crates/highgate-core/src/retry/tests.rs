use highgate_mysql::sql::{self, LexMode};
use proptest::prelude::*;

use super::*;
use crate::state::Shape;

const AUTOCOMMIT: SessionFacts = SessionFacts {
    in_transaction: false,
    unsure: false,
    autocommit: true,
    may_move: true,
    writes_here: true,
    only_sets: false,
    flavor: Flavor::MariaDb,
};

fn facts(kind: StatementKind, effects: Effects) -> CommandFacts<'static> {
    CommandFacts {
        shape: Shape { kind, effects, ..Shape::default() },
        ..CommandFacts::bare(CommandKind::Query)
    }
}

fn read() -> CommandFacts<'static> {
    facts(StatementKind::Select, Effects::READ_ONLY_PROVED)
}

fn write() -> CommandFacts<'static> {
    facts(StatementKind::Insert, Effects::WRITES)
}

fn lost(delivery: Delivery) -> Progress {
    Progress { delivery, answered: false, server: ServerSaid::Nothing }
}

fn error(code: u16) -> Progress {
    let word = match code {
        1047 => Word::NotReady,
        1290 | 1836 => Word::ReadOnly,
        _ => Word::Nothing,
    };
    let server = ServerSaid::Error { code, sqlstate: *b"08S01", word };
    Progress { delivery: Delivery::Complete, answered: false, server }
}

#[test]
fn a_read_is_sent_again_and_a_write_is_unknown() {
    let lost = lost(Delivery::Complete);
    assert_eq!(may_retry(&lost, &read(), &AUTOCOMMIT), Retry::Again(Again::Read));
    assert_eq!(may_retry(&lost, &write(), &AUTOCOMMIT), Retry::UnknownOutcome);
}

#[test]
fn half_a_command_cannot_have_run() {
    let half = lost(Delivery::Partial);
    assert_eq!(may_retry(&half, &write(), &AUTOCOMMIT), Retry::Again(Again::NotDelivered));
    let in_transaction = SessionFacts { in_transaction: true, ..AUTOCOMMIT };
    assert_eq!(may_retry(&half, &write(), &in_transaction), Retry::No(No::InTransaction));
    let bound = SessionFacts { may_move: false, ..AUTOCOMMIT };
    assert_eq!(may_retry(&half, &write(), &bound), Retry::No(No::Pinned));
}

#[test]
fn a_byte_at_the_client_ends_all_chances() {
    let answered = Progress { answered: true, ..lost(Delivery::Complete) };
    assert_eq!(may_retry(&answered, &read(), &AUTOCOMMIT), Retry::No(No::Answered));
}

#[test]
fn a_read_that_depends_on_its_session_is_not_repeated() {
    for effect in [
        Effects::READS_FOUND_ROWS,
        Effects::READS_DIAGNOSTICS,
        Effects::SIDE_EFFECT_FUNCTION,
        Effects::USER_VARIABLE_WRITE,
        Effects::LOCKING_READ,
        Effects::SEQUENCE,
    ] {
        let facts = facts(StatementKind::Select, Effects::READ_ONLY_PROVED | effect);
        let retry = may_retry(&lost(Delivery::Complete), &facts, &AUTOCOMMIT);
        assert_eq!(retry, Retry::UnknownOutcome, "{effect:?}");
    }
}

#[test]
fn a_lost_transaction_is_rolled_back_unless_it_was_being_committed() {
    let open = SessionFacts { in_transaction: true, ..AUTOCOMMIT };
    let lost = lost(Delivery::Complete);
    assert_eq!(may_retry(&lost, &write(), &open), Retry::No(No::InTransaction));
    assert_eq!(may_retry(&lost, &read(), &open), Retry::No(No::InTransaction));
    let commit =
        facts(StatementKind::Commit { chain: false, release: false }, Effects::ENDS_TRANSACTION);
    assert_eq!(may_retry(&lost, &commit, &open), Retry::UnknownOutcome);
    let rollback = facts(
        StatementKind::Rollback { to_savepoint: false, chain: false, release: false },
        Effects::ENDS_TRANSACTION,
    );
    assert_eq!(may_retry(&lost, &rollback, &open), Retry::No(No::InTransaction));
    let ddl = facts(StatementKind::Ddl, Effects::WRITES | Effects::IMPLICIT_COMMIT);
    assert_eq!(may_retry(&lost, &ddl, &open), Retry::UnknownOutcome);
    // After an error the server may have ended it: what follows is then committed by itself.
    let unsure = SessionFacts { unsure: true, ..open };
    assert_eq!(may_retry(&lost, &write(), &unsure), Retry::UnknownOutcome);
    assert_eq!(may_retry(&lost, &read(), &unsure), Retry::No(No::InTransaction));
    assert_eq!(may_retry(&lost, &rollback, &unsure), Retry::No(No::InTransaction));
    let manual = SessionFacts { autocommit: false, ..unsure };
    assert_eq!(may_retry(&lost, &write(), &manual), Retry::No(No::InTransaction));
}

#[test]
fn errors_that_prove_that_nothing_ran_are_retried_and_no_others() {
    let table = [
        (1047, Flavor::MariaDb, true),
        (1290, Flavor::MariaDb, true),
        (1290, Flavor::MySql, true),
        (1836, Flavor::MySql, true),
        (1047, Flavor::StarRocks, false),
        (1053, Flavor::MySql, false),
        (1205, Flavor::MariaDb, false),
        (1213, Flavor::MariaDb, false),
        (1062, Flavor::MariaDb, false),
        (1792, Flavor::MySql, false),
        (1317, Flavor::MySql, false),
    ];
    for (code, flavor, again) in table {
        let session = SessionFacts { flavor, writes_here: false, ..AUTOCOMMIT };
        let expected =
            if again { Retry::Again(Again::Refused(code)) } else { Retry::No(No::Final) };
        assert_eq!(may_retry(&error(code), &write(), &session), expected, "{code} {flavor:?}");
        for session in [
            SessionFacts { in_transaction: true, ..session },
            SessionFacts { autocommit: false, ..session },
        ] {
            assert_eq!(may_retry(&error(code), &write(), &session), Retry::No(No::Final));
        }
    }
}

#[test]
fn a_read_only_error_of_a_routine_proves_nothing() {
    for effect in [Effects::CAN_CHANGE_SESSION, Effects::SIDE_EFFECT_FUNCTION] {
        let facts = facts(StatementKind::Call, Effects::WRITES | effect);
        assert_eq!(may_retry(&error(1290), &facts, &AUTOCOMMIT), Retry::No(No::Final));
    }
}

/// Texts of several statements were refused in a planned switchover, and single ones were not.
#[test]
fn a_read_only_error_of_the_first_of_several_statements_proves_that_none_ran() {
    let facts = facts(StatementKind::Insert, Effects::WRITES | Effects::MULTI);
    let again = Retry::Again(Again::Refused(1290));
    assert_eq!(may_retry(&error(1290), &facts, &AUTOCOMMIT), again);
    let passed_on = Progress { answered: true, ..error(1290) };
    assert_eq!(may_retry(&passed_on, &facts, &AUTOCOMMIT), Retry::No(No::Final));
    // What stands between BEGIN and END may have run.
    let mut scratch = sql::Scratch::new();
    let text = "BEGIN NOT ATOMIC INSERT INTO t VALUES (1); INSERT INTO u VALUES (1); END";
    let mode = LexMode { flavor: Flavor::MariaDb, ..LexMode::default() };
    let block = Shape::of(&sql::analyze(text.as_bytes(), mode, &mut scratch));
    let block = CommandFacts { shape: block, ..CommandFacts::bare(CommandKind::Query) };
    assert_eq!(may_retry(&error(1290), &block, &AUTOCOMMIT), Retry::No(No::Final));
}

#[test]
fn what_only_begins_a_transaction_is_sent_again() {
    let lost = lost(Delivery::Complete);
    let facts_of = |text: &'static str| {
        let mut scratch = sql::Scratch::new();
        let shape = Shape::of(&sql::analyze(text.as_bytes(), LexMode::default(), &mut scratch));
        CommandFacts {
            shape,
            text: Some(text.as_bytes()),
            ..CommandFacts::bare(CommandKind::Query)
        }
    };
    for text in
        ["BEGIN", "begin work", "START TRANSACTION", "START TRANSACTION READ ONLY /* new */"]
    {
        let facts = facts_of(text);
        assert_eq!(may_retry(&lost, &facts, &AUTOCOMMIT), Retry::Again(Again::Nothing), "{text}");
        assert_eq!(may_retry(&error(1053), &facts, &AUTOCOMMIT), Retry::Again(Again::Nothing));
        // It commits what was open.
        let open = SessionFacts { in_transaction: true, ..AUTOCOMMIT };
        assert_eq!(may_retry(&lost, &facts, &open), Retry::UnknownOutcome, "{text}");
        let bound = SessionFacts { may_move: false, ..AUTOCOMMIT };
        assert_eq!(may_retry(&lost, &facts, &bound), Retry::No(No::Pinned), "{text}");
    }
    for text in ["BEGIN; INSERT INTO t VALUES (1)", "COMMIT AND CHAIN", "XA BEGIN 'x'"] {
        let retry = may_retry(&lost, &facts_of(text), &AUTOCOMMIT);
        assert_eq!(retry, Retry::UnknownOutcome, "{text}");
    }
}

#[test]
fn what_only_sets_its_session_is_sent_again() {
    let set = facts(StatementKind::Set, Effects::SESSION_STATE);
    let lost = lost(Delivery::Complete);
    let only_sets = SessionFacts { only_sets: true, ..AUTOCOMMIT };
    assert_eq!(may_retry(&lost, &set, &only_sets), Retry::Again(Again::Nothing));
    assert_eq!(may_retry(&lost, &set, &AUTOCOMMIT), Retry::UnknownOutcome);
    let open = SessionFacts { in_transaction: true, ..only_sets };
    assert_eq!(may_retry(&lost, &set, &open), Retry::UnknownOutcome, "it may set autocommit");
}

#[test]
fn several_reads_of_which_a_replica_refuses_the_first_may_ask_the_primary() {
    let several = facts(StatementKind::Select, Effects::READ_ONLY_PROVED | Effects::MULTI);
    let on_replica = SessionFacts { writes_here: false, ..AUTOCOMMIT };
    assert!(may_read_elsewhere(&error(1290), &several, &on_replica));
    let passed_on = Progress { answered: true, ..error(1290) };
    assert!(!may_read_elsewhere(&passed_on, &several, &on_replica), "the second one");
    let open = SessionFacts { in_transaction: true, ..on_replica };
    assert!(!may_read_elsewhere(&error(1290), &several, &open));
    let writes = facts(StatementKind::Select, Effects::MULTI | Effects::WRITES);
    assert!(!may_read_elsewhere(&error(1290), &writes, &on_replica));
}

#[test]
fn a_read_refused_by_a_server_that_shuts_down_is_sent_elsewhere() {
    assert_eq!(may_retry(&error(1053), &read(), &AUTOCOMMIT), Retry::Again(Again::Read));
}

proptest! {
    #[test]
    fn a_write_that_may_have_left_is_never_repeated_without_proof(
        effects in any::<u64>(), answered: bool, something: bool, in_transaction: bool,
        autocommit: bool, may_move: bool, code in proptest::option::of(1000_u16..5000),
    ) {
        let effects = Effects::from_bits_truncate(effects) | Effects::WRITES;
        let server = match code {
            Some(code) => ServerSaid::Error { code, sqlstate: *b"HY000", word: Word::ReadOnly },
            None if something => ServerSaid::Something,
            None => ServerSaid::Nothing,
        };
        let progress = Progress { delivery: Delivery::Complete, answered, server };
        let session = SessionFacts {
            in_transaction,
            unsure: false,
            autocommit,
            may_move,
            writes_here: false,
            only_sets: false,
            flavor: Flavor::MySql,
        };
        match may_retry(&progress, &facts(StatementKind::Update, effects), &session) {
            Retry::Again(Again::Refused(code)) => {
                prop_assert!(matches!(code, 1290 | 1836 | 4031));
                prop_assert!(!answered && !in_transaction && autocommit && may_move);
            }
            Retry::Again(again) => prop_assert!(false, "{again:?}"),
            Retry::No(_) | Retry::UnknownOutcome => {}
        }
    }
}

#[test]
fn only_the_text_tells_read_only_from_another_option() {
    let read_only: &[u8] =
        b"The MariaDB server is running with the --read-only option so it cannot execute this statement";
    let files: &[u8] =
        b"The MariaDB server is running with the --secure-file-priv option so it cannot execute this statement";
    assert_eq!(word(1290, read_only), Word::ReadOnly);
    assert_eq!((word(1290, files), word(1064, read_only)), (Word::Nothing, Word::Nothing));
    let server = ServerSaid::Error { code: 1290, sqlstate: *b"HY000", word: Word::Nothing };
    let progress = Progress { server, ..error(1290) };
    assert_eq!(may_retry(&progress, &write(), &AUTOCOMMIT), Retry::No(No::Final));
}

/// COM_REFRESH and old dumps of the binlog: a server that has lost the command says so at once.
#[test]
fn a_command_that_a_server_does_not_know_is_not_sent_again() {
    let not_ready = b"WSREP has not yet prepared node for application use";
    assert_eq!(word(1047, not_ready), Word::NotReady);
    let word = word(1047, b"Unknown command");
    let progress = Progress {
        server: ServerSaid::Error { code: 1047, sqlstate: *b"08S01", word },
        ..error(1047)
    };
    for session in [AUTOCOMMIT, SessionFacts { in_transaction: true, ..AUTOCOMMIT }] {
        assert_eq!(may_retry(&progress, &read(), &session), Retry::No(No::Final));
        assert_eq!(may_retry(&progress, &write(), &session), Retry::No(No::Final));
    }
}

#[test]
fn a_transaction_whose_primary_takes_no_writes_any_more_ends() {
    let inside = SessionFacts { in_transaction: true, ..AUTOCOMMIT };
    let implicit = SessionFacts { autocommit: false, ..AUTOCOMMIT };
    for session in [inside, implicit] {
        for code in [1290, 1836, 1047] {
            let ends = Retry::No(No::TransactionRefused(code));
            assert_eq!(may_retry(&error(code), &write(), &session), ends, "{code}");
        }
        assert_eq!(may_retry(&error(1213), &write(), &session), Retry::No(No::Final));
        // A routine may have committed before it was refused.
        let call = facts(StatementKind::Call, Effects::CAN_CHANGE_SESSION);
        assert_eq!(may_retry(&error(1290), &call, &session), Retry::No(No::Final));
        // A replica that an application writes to by mistake would refuse for ever.
        let elsewhere = SessionFacts { writes_here: false, ..session };
        assert_eq!(may_retry(&error(1290), &write(), &elsewhere), Retry::No(No::Final));
    }
}

#[test]
fn a_commit_on_a_member_that_lost_its_group_has_an_unknown_outcome() {
    let text = b"Error while appending streaming replication fragment(provider status: Not connected to Primary Component)";
    assert_eq!(word(1180, text), Word::LeftGroup);
    let server = ServerSaid::Error { code: 1180, sqlstate: *b"HY000", word: Word::LeftGroup };
    let progress = Progress { server, ..error(1180) };
    assert_eq!(may_retry(&progress, &write(), &AUTOCOMMIT), Retry::UnknownOutcome);
    assert_eq!(may_retry(&error(1180), &write(), &AUTOCOMMIT), Retry::No(No::Final));
}

#[test]
fn a_procedure_that_a_member_refuses_halfway_is_not_called_again() {
    let call = facts(StatementKind::Call, Effects::WRITES | Effects::CAN_CHANGE_SESSION);
    assert_eq!(may_retry(&error(1047), &call, &AUTOCOMMIT), Retry::No(No::Final));
    // What a function did is undone with its statement.
    let function = facts(StatementKind::Update, Effects::WRITES | Effects::SIDE_EFFECT_FUNCTION);
    let again = Retry::Again(Again::Refused(1047));
    assert_eq!(may_retry(&error(1047), &function, &AUTOCOMMIT), again);
}

/// Any account may send one, with any number and text: its error was taken for the server's word, and the
/// statement sent to one server after the other.
#[test]
fn what_a_signal_says_of_its_server_proves_nothing() {
    let signal = facts(StatementKind::Signal, Effects::READS_DIAGNOSTICS);
    for code in [1047, 1290, 1836, 4031] {
        for flavor in [Flavor::MariaDb, Flavor::MySql] {
            for in_transaction in [false, true] {
                let session = SessionFacts { flavor, in_transaction, ..AUTOCOMMIT };
                let retry = may_retry(&error(code), &signal, &session);
                assert_eq!(retry, Retry::No(No::Final), "{code} {flavor:?}");
            }
        }
    }
    let server = ServerSaid::Error { code: 1180, sqlstate: *b"HY000", word: Word::LeftGroup };
    let progress = Progress { server, ..error(1180) };
    assert_eq!(may_retry(&progress, &signal, &AUTOCOMMIT), Retry::No(No::Final));
}

#[test]
fn a_text_that_may_signal_is_told_from_one_that_can_not() {
    let may = |text: &str| {
        let mode = LexMode { flavor: Flavor::MariaDb, ..LexMode::default() };
        let mut scratch = sql::Scratch::new();
        let analysis = sql::analyze(text.as_bytes(), mode, &mut scratch);
        may_signal(&CommandFacts::text(CommandKind::Query, text.as_bytes(), &analysis, mode))
    };
    for text in [
        "SIGNAL SQLSTATE '45000' SET MYSQL_ERRNO = 1836",
        "/* a */ signal sqlstate '45000'",
        "/*!50500 SIGNAL SQLSTATE '45000' */",
        "RESIGNAL",
        "SELECT 1; SIGNAL SQLSTATE '45000'",
        "BEGIN NOT ATOMIC SIGNAL SQLSTATE '45000'; END",
        "IF 1 THEN SIGNAL SQLSTATE '45000'; END IF",
        "SET STATEMENT max_statement_time = 1 FOR SIGNAL SQLSTATE '45000'",
        "EXECUTE s",
        "EXECUTE IMMEDIATE 'SIGNAL SQLSTATE ''45000'''",
        "CALL p()",
        "DO f()",
        "SELECT f()",
        "SELECT shop.f(1)",
        "SET @a = f()",
        "INSERT INTO t VALUES (f())",
        "UPDATE t SET a = f()",
    ] {
        assert!(may(text), "{text}");
    }
    for text in [
        "INSERT INTO t VALUES (1, NOW())",
        "UPDATE t SET a = a + 1",
        "DELETE FROM t",
        "SELECT * FROM t FOR UPDATE",
        "BEGIN",
        "COMMIT",
        "CREATE TABLE u (a INT)",
    ] {
        assert!(!may(text), "{text}");
    }
}
