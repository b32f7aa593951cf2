use highgate_mysql::sql::{Effects, Flavor, StatementKind};
use proptest::prelude::*;

use super::*;
use crate::{
    state::{Open, Shape},
    track::{CommandKind, before},
};

const AUTOCOMMIT: StatusFlags = StatusFlags::AUTOCOMMIT;

struct Twin {
    state: SessionState,
    conn: ConnState,
}

impl Twin {
    fn new(flavor: Flavor) -> Self {
        Self {
            state: SessionState::new(0, "app", Some("shop"), 45),
            conn: ConnState::new(flavor, 45, Some("shop")),
        }
    }

    fn run(&mut self, kind: StatementKind, effects: Effects, outcome: Outcome<'_>) -> Verdict {
        let facts = CommandFacts {
            shape: Shape { kind, effects, ..Shape::default() },
            ..CommandFacts::bare(CommandKind::Query)
        };
        before(&mut self.state, &facts);
        settle(&mut self.state, &mut self.conn, &facts, &outcome)
    }
}

fn ok(status: StatusFlags) -> Outcome<'static> {
    Outcome { status: Some(status), ..Outcome::default() }
}

fn hold(causes: &[PinCause]) -> Verdict {
    Verdict::Hold(causes.iter().copied().collect())
}

const SELECT: (StatementKind, Effects) = (StatementKind::Select, Effects::READ_ONLY_PROVED);

#[test]
fn a_plain_read_leaves_its_connection_clean() {
    let mut twin = Twin::new(Flavor::MariaDb);
    let outcome = Outcome { rows: Some(3), ..ok(AUTOCOMMIT) };
    assert_eq!(twin.run(SELECT.0, SELECT.1, outcome), Verdict::Keep);
    assert_eq!(twin.state.found_rows, Some(3));
}

/// Where a server finds more statements in a text than were read, it may hold locks of the session.
#[test]
fn a_statement_with_the_answers_of_several_binds_its_session() {
    let several = Outcome { results: 1, rows: Some(3), ..ok(AUTOCOMMIT) };
    for (kind, effects) in [
        SELECT,
        (StatementKind::Ddl, Effects::WRITES | Effects::IMPLICIT_COMMIT),
        (StatementKind::Empty, Effects::empty()),
    ] {
        let mut twin = Twin::new(Flavor::MariaDb);
        // One of them may have inserted.
        let bound = hold(&[PinCause::LastInsertIdUnknown, PinCause::SessionUnknown]);
        assert_eq!(twin.run(kind, effects, several), bound);
        assert_eq!(twin.state.found_rows, None, "the last of them counted otherwise");
    }
    let mut twin = Twin::new(Flavor::MariaDb);
    let failed = Outcome { error: Some(1064), ..several };
    let Verdict::Hold(pins) = twin.run(SELECT.0, SELECT.1, failed) else { panic!("given back") };
    assert!(pins.contains(PinCause::SessionUnknown), "one of them had run");
    let mut twin = Twin::new(Flavor::MariaDb);
    let selects = Effects::READ_ONLY_PROVED | Effects::MULTI;
    assert_eq!(twin.run(SELECT.0, selects, several), Verdict::Keep);
}

/// Whose reset the server carried out never waited for its cluster again, whatever it set.
#[test]
fn who_sets_wsrep_sync_wait_leaves_what_it_had_reset_on_a_member_of_galera() {
    for is_galera in [true, false] {
        let mut twin = Twin::new(Flavor::MariaDb);
        twin.conn.is_galera = is_galera;
        share(&mut twin.state, None, false);
        let reset = CommandFacts::bare(CommandKind::ResetConnection);
        let verdict = settle(&mut twin.state, &mut twin.conn, &reset, &ok(AUTOCOMMIT));
        assert_eq!(verdict, hold(&[PinCause::MultiplexOff]), "one that does not wait keeps it");
        let value = crate::state::VarValue::text(b"1");
        twin.state.profile_mut().variables.insert("wsrep_sync_wait".into(), value);
        let begun = twin.run(
            StatementKind::Begin,
            Effects::BEGINS_TRANSACTION,
            ok(AUTOCOMMIT | StatusFlags::IN_TRANS),
        );
        assert_eq!(begun, hold(&[PinCause::MultiplexOff, PinCause::Transaction]));
        let commit = StatementKind::Commit { chain: false, release: false };
        let ended = twin.run(commit, Effects::ENDS_TRANSACTION, ok(AUTOCOMMIT));
        let spoilt = Verdict::Close(CloseReason::Spoilt);
        assert_eq!(ended, if is_galera { spoilt } else { hold(&[PinCause::MultiplexOff]) });
    }
}

#[test]
fn a_rule_keeps_the_connection_until_a_rule_gives_it_back() {
    let mut twin = Twin::new(Flavor::MariaDb);
    let mut read = |rule, allows| {
        share(&mut twin.state, rule, allows);
        twin.run(SELECT.0, SELECT.1, Outcome { rows: Some(1), ..ok(AUTOCOMMIT) })
    };
    let kept = hold(&[PinCause::MultiplexOff]);
    assert_eq!(read(None, true), Verdict::Keep);
    assert_eq!(read(Some(false), true), kept);
    assert_eq!(read(None, true), kept, "it holds for what follows");
    assert_eq!(read(Some(true), true), Verdict::Keep);
    assert_eq!(read(Some(true), false), kept, "a backend that does not share has the last word");
    assert_eq!(read(None, true), Verdict::Keep, "its operator has taken that back");
    assert_eq!(read(Some(false), true), kept);
    assert_eq!(read(None, false), kept);
    assert_eq!(read(None, true), kept, "a rule said so");
}

#[test]
fn a_new_login_begins_without_what_rules_said_before() {
    let mut state = SessionState::new(0, "app", None, 45);
    share(&mut state, Some(false), true);
    track::changed_user(&mut state, "app", None, 45);
    assert!(state.pins.is_empty());
}

#[test]
fn an_open_transaction_holds_and_its_end_releases() {
    let mut twin = Twin::new(Flavor::MariaDb);
    let begun = twin.run(
        StatementKind::Begin,
        Effects::BEGINS_TRANSACTION,
        ok(AUTOCOMMIT | StatusFlags::IN_TRANS),
    );
    assert_eq!(begun, hold(&[PinCause::Transaction]));
    let commit = StatementKind::Commit { chain: false, release: false };
    assert_eq!(twin.run(commit, Effects::ENDS_TRANSACTION, ok(AUTOCOMMIT)), Verdict::Keep);
}

#[test]
fn with_autocommit_off_the_first_statement_holds_although_the_bit_is_clear() {
    let mut twin = Twin::new(Flavor::MariaDb);
    let off = StatusFlags::empty();
    assert_eq!(twin.run(StatementKind::Show, SELECT.1, ok(off)), Verdict::Keep);
    assert_eq!(twin.run(SELECT.0, SELECT.1, ok(off)), hold(&[PinCause::AutocommitOff]));
    assert_eq!(twin.run(StatementKind::Show, SELECT.1, ok(off)), hold(&[PinCause::AutocommitOff]));
    let commit = StatementKind::Commit { chain: false, release: false };
    assert_eq!(twin.run(commit, Effects::ENDS_TRANSACTION, ok(off)), Verdict::Keep);
}

#[test]
fn without_status_bits_begin_and_commit_are_read_from_the_text() {
    let mut twin = Twin::new(Flavor::StarRocks);
    let bare = || ok(StatusFlags::empty());
    let begun = twin.run(StatementKind::Begin, Effects::BEGINS_TRANSACTION, bare());
    assert_eq!(begun, hold(&[PinCause::Transaction]));
    assert_eq!(twin.run(SELECT.0, SELECT.1, bare()), hold(&[PinCause::Transaction]));
    assert!(twin.state.autocommit, "an absent bit means unknown");
    let commit = StatementKind::Commit { chain: false, release: false };
    assert_eq!(twin.run(commit, Effects::ENDS_TRANSACTION, bare()), Verdict::Keep);
    assert_eq!(twin.state.transaction.open, Open::No);
}

#[test]
fn an_error_does_not_end_a_transaction() {
    let mut twin = Twin::new(Flavor::MariaDb);
    let _ = twin.run(
        StatementKind::Begin,
        Effects::BEGINS_TRANSACTION,
        ok(AUTOCOMMIT | StatusFlags::IN_TRANS),
    );
    let failed = Outcome { error: Some(1062), ..Outcome::default() };
    let verdict = twin.run(StatementKind::Update, Effects::WRITES, failed);
    assert_eq!(verdict, hold(&[PinCause::Transaction, PinCause::Warnings]));
}

#[test]
fn warnings_hold_until_the_next_statement() {
    let mut twin = Twin::new(Flavor::MariaDb);
    let warned = Outcome { warnings: 2, ..ok(AUTOCOMMIT) };
    assert_eq!(twin.run(SELECT.0, SELECT.1, warned), hold(&[PinCause::Warnings]));
    let show = twin.run(StatementKind::Show, Effects::READS_DIAGNOSTICS, ok(AUTOCOMMIT));
    assert_eq!(show, hold(&[PinCause::Warnings]));
    assert_eq!(twin.run(SELECT.0, SELECT.1, ok(AUTOCOMMIT)), Verdict::Keep);
}

#[test]
fn what_cannot_be_replayed_holds() {
    for (effects, cause) in [
        (Effects::TEMP_TABLE, PinCause::TemporaryTable),
        (Effects::NAMED_LOCK, PinCause::NamedLock),
        (Effects::USER_VARIABLE_WRITE, PinCause::UserVariables),
        (Effects::CALC_FOUND_ROWS, PinCause::FoundRows),
        (Effects::SIDE_EFFECT_FUNCTION, PinCause::RoutineChangedState),
        (Effects::HANDLER, PinCause::Handler),
        (Effects::NAMED_PREPARED, PinCause::TextPrepared),
        (Effects::SEQUENCE, PinCause::Sequence),
        (Effects::DOUBTFUL, PinCause::SessionUnknown),
    ] {
        let mut twin = Twin::new(Flavor::MariaDb);
        let verdict = twin.run(StatementKind::Select, effects, ok(AUTOCOMMIT));
        let Verdict::Hold(pins) = verdict else { panic!("{effects:?}: {verdict:?}") };
        assert!(pins.contains(cause), "{effects:?}: {pins}");
    }
}

#[test]
fn an_id_that_may_have_been_written_is_asked_for() {
    let mut twin = Twin::new(Flavor::MariaDb);
    let text = b"INSERT INTO t (id) VALUES (9)";
    let facts = CommandFacts {
        shape: Shape { kind: StatementKind::Insert, effects: Effects::WRITES, ..Shape::default() },
        text: Some(text),
        ..CommandFacts::bare(CommandKind::Query)
    };
    let insert = |twin: &mut Twin, insert_id| {
        let outcome = Outcome { insert_id, affected_rows: 1, ..ok(AUTOCOMMIT) };
        settle(&mut twin.state, &mut twin.conn, &facts, &outcome)
    };
    assert_eq!(insert(&mut twin, 5), Verdict::Keep);
    assert_eq!(twin.state.last_insert_id, LastInsertId::Known(5));
    assert_eq!(insert(&mut twin, 9), hold(&[PinCause::LastInsertIdUnknown]));
    captured(&mut twin.state, &mut twin.conn, 5);
    assert_eq!(twin.state.last_insert_id, LastInsertId::Known(5));
    let _ = insert(&mut twin, 9);
    captured(&mut twin.state, &mut twin.conn, 9);
    assert_eq!(twin.state.last_insert_id, LastInsertId::Known(9));
    assert!(twin.state.pins.is_empty() && twin.conn.dirt.is_empty());
}

#[test]
fn a_broken_exchange_closes_whatever_else_is_known() {
    for ended in [Ended::Broken, Ended::ClientGone, Ended::ServerGone { sent: true }] {
        let mut twin = Twin::new(Flavor::MariaDb);
        let outcome = Outcome { ended, ..ok(AUTOCOMMIT) };
        assert!(matches!(twin.run(SELECT.0, SELECT.1, outcome), Verdict::Close(_)));
    }
}

#[test]
fn a_client_that_leaves_a_transaction_has_its_connection_washed() {
    let mut twin = Twin::new(Flavor::MariaDb);
    assert_eq!(left(&twin.state, &twin.conn), Verdict::Keep);
    twin.state.pins.insert(PinCause::Transaction);
    assert!(matches!(left(&twin.state, &twin.conn), Verdict::Wash(_)));
    twin.state.pins.insert(PinCause::Xa);
    assert!(matches!(left(&twin.state, &twin.conn), Verdict::Close(CloseReason::Unwashable(_))));
}

/// A client may change its user while it has a role: the connection goes without its session.
#[test]
fn a_connection_with_a_role_is_not_washed() {
    let mut conn = Twin::new(Flavor::MySql).conn;
    conn.dirt.insert(PinCause::Transaction);
    assert!(is_washable(&conn));
    conn.dirt.insert(PinCause::Role);
    assert!(!is_washable(&conn));
}

#[test]
fn a_lost_transaction_is_told_and_lost_variables_end_the_session() {
    let mut twin = Twin::new(Flavor::MariaDb);
    assert_eq!(server_lost(&mut twin.state), Lost::Nothing);
    let status = AUTOCOMMIT | StatusFlags::IN_TRANS;
    let _ = twin.run(StatementKind::Begin, Effects::BEGINS_TRANSACTION, ok(status));
    assert_eq!(server_lost(&mut twin.state), Lost::Transaction);
    assert!(twin.state.pins.is_empty());
    let _ = twin.run(SELECT.0, Effects::USER_VARIABLE_WRITE, ok(AUTOCOMMIT));
    assert!(matches!(server_lost(&mut twin.state), Lost::State(_)));
}

proptest! {
    #[test]
    fn settle_never_invents_cleanliness(
        steps in proptest::collection::vec(
            (any::<u64>(), 0_usize..8, any::<u16>(), proptest::option::of(1000_u16..2000), 0_u16..2, any::<bool>()),
            1..12,
        ),
        trusts: bool,
    ) {
        let mut twin = Twin::new(if trusts { Flavor::MariaDb } else { Flavor::StarRocks });
        let kinds = [
            StatementKind::Select, StatementKind::Insert, StatementKind::Begin, StatementKind::Set,
            StatementKind::Commit { chain: false, release: false }, StatementKind::Ddl,
            StatementKind::Call, StatementKind::Unknown,
        ];
        for (effects, kind, status, error, warnings, complete) in steps {
            let effects = Effects::from_bits_truncate(effects);
            let outcome = Outcome {
                ended: if complete { Ended::Complete } else { Ended::Broken },
                status: error.is_none().then(|| StatusFlags::from_bits_retain(status)),
                error, warnings, ..Outcome::default()
            };
            let verdict = twin.run(kinds[kind], effects, outcome);
            if !complete {
                prop_assert_eq!(verdict, Verdict::Close(CloseReason::Broken));
                break;
            }
            if verdict == Verdict::Keep {
                prop_assert!(twin.state.pins.is_empty() && twin.conn.dirt.is_empty());
                prop_assert!(!twin.state.in_transaction());
                prop_assert!(Arc::ptr_eq(&twin.state.profile, &twin.conn.profile));
                prop_assert!(!(trusts && status & 1 != 0), "the server said: in a transaction");
                prop_assert!(error.is_none() && warnings == 0 || effects.contains(Effects::READS_DIAGNOSTICS));
                let binds = Effects::TEMP_TABLE | Effects::NAMED_LOCK | Effects::HANDLER
                    | Effects::CAN_CHANGE_SESSION | Effects::DOUBTFUL | Effects::SEQUENCE;
                prop_assert!(!effects.intersects(binds), "{effects:?}");
            }
        }
    }
}

/// MariaDB keeps the id that it generated for a row of a statement that failed at a later one.
#[test]
fn an_insert_of_several_rows_that_fails_leaves_an_id_that_only_its_connection_knows() {
    const DUPLICATE: u16 = 1062;
    const NO_TABLE: u16 = 1146;
    const SIGNAL: u16 = 1644;
    let run = |text: &'static str, kind, effects, code| {
        let mut twin = Twin::new(Flavor::MariaDb);
        let facts = CommandFacts {
            shape: Shape { kind, effects, ..Shape::default() },
            text: Some(text.as_bytes()),
            ..CommandFacts::bare(CommandKind::Query)
        };
        before(&mut twin.state, &facts);
        let outcome = Outcome { error: Some(code), ..Outcome::default() };
        let _ = settle(&mut twin.state, &mut twin.conn, &facts, &outcome);
        (twin.state.last_insert_id, twin.conn.last_insert_id)
    };
    let (insert, writes) = (StatementKind::Insert, Effects::WRITES);
    let (known, lost) = (LastInsertId::Known(0), LastInsertId::Untold);
    let several = "INSERT INTO t (a) VALUES (NULL), (5)";
    assert_eq!(run(several, insert, writes, DUPLICATE), (lost, None));
    assert_eq!(run(several, insert, writes, NO_TABLE), (known, Some(0)));
    let one = "INSERT INTO t (a) VALUES (5)";
    assert_eq!(run(one, insert, writes, DUPLICATE), (known, None));
    assert_eq!(run(one, insert, writes, SIGNAL), (lost, None), "its row was there");
    let sets = Effects::WRITES_LAST_INSERT_ID;
    assert_eq!(run("UPDATE …", StatementKind::Update, writes | sets, DUPLICATE), (lost, None));
    let call = Effects::CAN_CHANGE_SESSION;
    assert_eq!(run("CALL p()", StatementKind::Call, call, NO_TABLE), (lost, None));
}

/// A LOAD DATA of no file took LAST_INSERT_ID() from a session whose connection others had used.
#[test]
fn a_statement_that_fails_leaves_the_sessions_own_insert_id_where_its_connection_had_another() {
    const DUPLICATE: u16 = 1062;
    let (insert, load) = (StatementKind::Insert, StatementKind::Load);
    for (kind, text) in [(insert, "INSERT INTO t (a) VALUES (NULL), (5)"), (load, "LOAD DATA …")]
    {
        for (there, said, expected) in [(0, 0, 9), (7, 7, 9), (0, 12, 12), (9, 9, 9)] {
            let mut twin = Twin::new(Flavor::MariaDb);
            twin.state.last_insert_id = LastInsertId::Known(9);
            twin.conn.last_insert_id = Some(there);
            let facts = CommandFacts {
                shape: Shape { kind, effects: Effects::WRITES, ..Shape::default() },
                text: Some(text.as_bytes()),
                ..CommandFacts::bare(CommandKind::Query)
            };
            before(&mut twin.state, &facts);
            let outcome = Outcome { error: Some(DUPLICATE), ..Outcome::default() };
            let verdict = settle(&mut twin.state, &mut twin.conn, &facts, &outcome);
            let left = hold(&[PinCause::LastInsertIdUnknown, PinCause::Warnings]);
            assert_eq!(verdict, left, "until it is asked");
            assert!(
                crate::prepare::needs_last_insert_id(&twin.state, &twin.conn, &facts) || there == 9
            );
            captured(&mut twin.state, &mut twin.conn, said);
            assert_eq!(
                twin.state.last_insert_id,
                LastInsertId::Known(expected),
                "{kind:?} {there}"
            );
        }
    }
}

/// `LAST_INSERT_ID()` was that of the statement before, since no answer to LOAD DATA names one; and another
/// session's that was the same was believed to be the connection's.
#[test]
fn what_a_load_generated_is_asked_of_its_connection_which_knows_the_sessions_own() {
    let mut twin = Twin::new(Flavor::MySql);
    twin.state.last_insert_id = LastInsertId::Known(9);
    let facts = CommandFacts {
        shape: Shape { kind: StatementKind::Load, effects: Effects::WRITES, ..Shape::default() },
        text: Some(b"LOAD DATA INFILE 'f' INTO TABLE t"),
        ..CommandFacts::bare(CommandKind::Query)
    };
    assert!(crate::prepare::needs_last_insert_id(&twin.state, &twin.conn, &facts));
    twin.conn.last_insert_id = Some(9);
    let verdict = twin.run(StatementKind::Load, Effects::WRITES, ok(AUTOCOMMIT));
    assert_eq!(verdict, hold(&[PinCause::LastInsertIdUnknown]));
    assert_eq!(twin.conn.last_insert_id, None);
    assert!(twin.state.keeps_only_insert_id());
    twin.state.pins.insert(PinCause::Warnings);
    assert!(!twin.state.keeps_only_insert_id(), "it would hide them");
    twin.state.pins.remove(PinCause::Warnings);
    captured(&mut twin.state, &mut twin.conn, 12);
    assert_eq!(twin.state.last_insert_id, LastInsertId::Known(12));
    assert!(!twin.state.keeps_only_insert_id());
}

/// `LAST_INSERT_ID()` was 0, or another session's, behind a row that was written with the session's own id on a
/// connection that said something else.
#[test]
fn an_id_that_is_written_again_is_not_believed_to_be_the_connections() {
    for (text, there, left) in [
        ("INSERT INTO t (id) VALUES (5)", Some(0), None),
        ("INSERT INTO t (id) VALUES (5)", Some(9), None),
        ("INSERT INTO t (id) VALUES (5)", Some(5), Some(5)),
        ("INSERT INTO t (a) VALUES (1) ON DUPLICATE KEY UPDATE a = 2", Some(0), None),
        ("INSERT INTO t (a) VALUES (1)", Some(0), Some(5)),
    ] {
        let mut twin = Twin::new(Flavor::MariaDb);
        twin.state.last_insert_id = LastInsertId::Known(5);
        twin.conn.last_insert_id = there;
        let facts = CommandFacts {
            shape: Shape {
                kind: StatementKind::Insert,
                effects: Effects::WRITES,
                ..Shape::default()
            },
            text: Some(text.as_bytes()),
            ..CommandFacts::bare(CommandKind::Query)
        };
        assert!(!crate::prepare::needs_last_insert_id(&twin.state, &twin.conn, &facts), "{text}");
        before(&mut twin.state, &facts);
        let outcome = Outcome { insert_id: 5, ..ok(AUTOCOMMIT) };
        let verdict = settle(&mut twin.state, &mut twin.conn, &facts, &outcome);
        assert_eq!(verdict, Verdict::Keep, "{text}");
        assert_eq!(twin.state.last_insert_id, LastInsertId::Known(5), "{text}");
        assert_eq!(twin.conn.last_insert_id, left, "{text} {there:?}");
    }
}

/// `LAST_INSERT_ID()` was another's behind CREATE TABLE … SELECT of written ids, and in the next session where one
/// failed.
#[test]
fn a_table_that_is_made_of_rows_is_an_insert() {
    const DUPLICATE: u16 = 1062;
    let text = "CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY) SELECT 7 AS id";
    let facts = CommandFacts {
        shape: Shape { kind: StatementKind::Ddl, effects: Effects::WRITES, ..Shape::default() },
        text: Some(text.as_bytes()),
        ..CommandFacts::bare(CommandKind::Query)
    };
    for (error, insert_id) in [(None, 7), (Some(DUPLICATE), 0)] {
        let mut twin = Twin::new(Flavor::MariaDb);
        twin.state.last_insert_id = LastInsertId::Known(5);
        assert!(crate::prepare::needs_last_insert_id(&twin.state, &twin.conn, &facts));
        twin.conn.last_insert_id = Some(5);
        before(&mut twin.state, &facts);
        let outcome = Outcome { insert_id, error, ..Outcome::default() };
        let _ = settle(&mut twin.state, &mut twin.conn, &facts, &outcome);
        assert_eq!(
            (twin.state.last_insert_id, twin.conn.last_insert_id),
            (LastInsertId::Untold, None)
        );
        captured(&mut twin.state, &mut twin.conn, 5);
        assert_eq!(twin.state.last_insert_id, LastInsertId::Known(5));
    }
    let plain = CommandFacts { text: Some(b"CREATE TABLE t (id INT)"), ..facts };
    let mut twin = Twin::new(Flavor::MariaDb);
    twin.state.last_insert_id = LastInsertId::Known(5);
    assert!(!crate::prepare::needs_last_insert_id(&twin.state, &twin.conn, &plain));
}

/// The idiom of a table for a sequence bound its session for good.
#[test]
fn an_update_that_sets_the_insert_id_is_answered_with_it() {
    let run = |kind, insert_id, rows| {
        let mut twin = Twin::new(Flavor::MariaDb);
        let outcome = Outcome { insert_id, rows, ..ok(AUTOCOMMIT) };
        let verdict = twin.run(kind, Effects::WRITES | Effects::WRITES_LAST_INSERT_ID, outcome);
        (twin.state.last_insert_id, verdict, twin.state.keeps_only_insert_id())
    };
    let (update, insert) = (StatementKind::Update, StatementKind::Insert);
    assert_eq!(run(update, 7, None), (LastInsertId::Known(7), Verdict::Keep, false));
    let asked = (LastInsertId::Untold, hold(&[PinCause::LastInsertIdUnknown]), true);
    assert_eq!(run(update, 0, None), asked, "set to 0, or no row");
    assert_eq!(run(insert, 7, None), asked, "which may be a row's");
    assert_eq!(run(insert, 0, Some(1)), asked, "RETURNING");
}

/// Such a session went on, bound to a connection that was gone.
#[test]
fn a_session_whose_server_ends_the_connection_with_an_error_has_lost_what_only_that_had() {
    for code in [1053, 1927, 3169] {
        let mut twin = Twin::new(Flavor::MariaDb);
        let made = (StatementKind::CreateTemporary, Effects::WRITES | Effects::TEMP_TABLE);
        assert_eq!(twin.run(made.0, made.1, ok(AUTOCOMMIT)), hold(&[PinCause::TemporaryTable]));
        let failed = Outcome { error: Some(code), ..Outcome::default() };
        let verdict = twin.run(SELECT.0, SELECT.1, failed);
        assert_eq!(verdict, Verdict::Close(CloseReason::ServerCloses), "{code}");
        let lost: PinSet = [PinCause::TemporaryTable].into_iter().collect();
        assert_eq!(server_lost(&mut twin.state), Lost::State(lost), "{code}");
    }
}

/// MariaDB goes back to the charset of the connection's login, and pools log in with their own.
#[test]
fn a_reset_on_a_held_connection_leaves_it_as_it_logged_in_itself() {
    for flavor in [Flavor::MariaDb, Flavor::MySql] {
        let latin1 = 8;
        let mut state = SessionState::new(0, "app", Some("shop"), latin1);
        let mut conn = ConnState::new(flavor, 45, Some("shop"));
        conn.profile = Arc::clone(&state.profile);
        let facts = CommandFacts::bare(CommandKind::ResetConnection);
        before(&mut state, &facts);
        assert_eq!(settle(&mut state, &mut conn, &facts, &ok(AUTOCOMMIT)), Verdict::Keep);
        let mut expected = ConnState::new(flavor, 45, Some("shop"));
        expected.was_reset();
        assert_eq!(conn.profile, expected.profile);
        assert_eq!(state.profile.charset == conn.profile.charset, flavor == Flavor::MySql);
    }
}

/// Sessions without a schema found themselves in it.
#[test]
fn a_schema_that_was_chosen_before_another_statement_failed_is_not_left_to_the_next_session() {
    // In its own words, or in those that EXECUTE IMMEDIATE hides.
    for chooses in [Effects::SESSION_STATE, Effects::CAN_CHANGE_SESSION] {
        let mut state = SessionState::new(0, "app", None, 45);
        let mut conn = ConnState::new(Flavor::MariaDb, 45, None);
        let facts = CommandFacts {
            shape: Shape { effects: Effects::MULTI | chooses, ..Shape::default() },
            ..CommandFacts::bare(CommandKind::Query)
        };
        before(&mut state, &facts);
        let refused = Outcome { error: Some(1064), ..ok(AUTOCOMMIT) };
        assert!(matches!(settle(&mut state, &mut conn, &facts, &refused), Verdict::Hold(_)));
        assert!(!conn.schema_unknown, "its own session goes on there");
        assert!(matches!(left(&state, &conn), Verdict::Wash(_)));
        conn.was_reset();
        assert!(conn.schema_unknown);
    }
}
