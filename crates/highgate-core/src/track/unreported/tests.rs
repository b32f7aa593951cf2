use highgate_mysql::{
    StatusFlags,
    reply::StateChange,
    sql::{LexMode, Scratch, analyze},
};

use super::*;
use crate::{
    prepare::{Needs, Step, Unfit, difference},
    settle::{self, Verdict},
    track::{CommandKind, before},
};

fn washed() -> Verdict {
    Verdict::Wash(settle::WashReason(PinCause::RoutineChangedState.into()))
}

const AUTOCOMMIT: StatusFlags = StatusFlags::AUTOCOMMIT;
const CHANGED: StateChange<'_> = StateChange::AnyState(b"1");

struct Twin {
    state: SessionState,
    conn: ConnState,
}

impl Twin {
    fn new() -> Self {
        let mut conn = ConnState::new(Flavor::MariaDb, 45, None);
        conn.tracks = true;
        Self { state: SessionState::new(0, "app", None, 45), conn }
    }

    fn run(&mut self, text: &str, outcome: &Outcome<'_>) -> Verdict {
        let mode = LexMode { flavor: self.conn.flavor, ..LexMode::default() };
        let mut scratch = Scratch::new();
        let analysis = analyze(text.as_bytes(), mode, &mut scratch);
        let facts = CommandFacts::text(CommandKind::Query, text.as_bytes(), &analysis, mode);
        before(&mut self.state, &facts);
        settle::settle(&mut self.state, &mut self.conn, &facts, outcome)
    }

    fn ok(&mut self, text: &str, changes: &[StateChange<'_>]) -> Verdict {
        let mut track = Vec::new();
        changes.iter().for_each(|change| change.encode(&mut track));
        let status = Some(AUTOCOMMIT);
        self.run(text, &Outcome { status, changes: &track, ..Outcome::default() })
    }

    /// Rows that end in an EOF.
    fn rows(&mut self, text: &str, status: StatusFlags) -> Verdict {
        let status = Some(AUTOCOMMIT | status);
        self.run(text, &Outcome { status, rows: Some(1), ..Outcome::default() })
    }

    fn error(&mut self, text: &str, code: u16, message: &str) {
        let message = message.as_bytes();
        let _ = self.run(text, &Outcome { error: Some(code), message, ..Outcome::default() });
    }

    /// What another session does first on the connection.
    fn first_steps(&mut self) -> Result<Vec<Step>, Unfit> {
        let (other, mut steps) = (SessionState::new(0, "app", None, 45), Vec::new());
        // As where the session lets it go.
        self.conn.dirt.remove(PinCause::Warnings);
        difference(&other, &mut self.conn, &Needs::default(), false, &mut steps)?;
        Ok(steps)
    }

    fn hears(&mut self, changes: &[StateChange<'_>]) {
        let mut track = Vec::new();
        changes.iter().for_each(|change| change.encode(&mut track));
        heard(&mut self.conn, &track, true);
    }
}

/// Observed: a trigger had set a variable before it failed; the next session read it, and its next write
/// bound it to the connection for good.
#[test]
fn behind_a_raised_error_the_server_is_asked_before_another_session_has_the_connection() {
    for (code, message) in [(1644, ""), (50_000, "\u{7f}..#45000no")] {
        let mut twin = Twin::new();
        twin.error("UPDATE t SET a = 1", code, message);
        assert_eq!(twin.first_steps(), Ok(vec![Step::Report]), "{code}");
        let nothing = StateChange::TransactionCharacteristics(b"");
        let mut innocent = Twin { conn: twin.conn.clone(), ..Twin::new() };
        innocent.hears(&[nothing]);
        assert_eq!(innocent.first_steps(), Ok(vec![]), "{code}: it had nothing to tell");
        twin.hears(&[CHANGED, nothing]);
        let steps = twin.first_steps().unwrap();
        assert_eq!(steps.first(), Some(&Step::ResetConnection), "{code}");
        twin.conn.is_galera = true;
        assert_eq!(twin.first_steps(), Err(Unfit::Reset), "{code}");
    }
}

/// Observed: the session said `SET @y = 1` next, or Highgate said `SET LAST_INSERT_ID`, and with that the trigger's
/// variable was told, and read by whoever had the connection next.
#[test]
fn what_a_raised_error_left_is_not_hidden_by_a_statement_that_changes_something_itself() {
    let raised = || {
        let mut twin = Twin::new();
        twin.error("UPDATE t SET a = 1", 1644, "");
        twin
    };
    for text in ["SET @y = 1", "SET time_zone = '+01:00'", "SET NAMES latin1"] {
        let mut twin = raised();
        let _ = twin.ok(text, &[CHANGED]);
        let steps = twin.first_steps().unwrap();
        assert_eq!(steps.first(), Some(&Step::ResetConnection), "{text}");
    }
    let mut twin = raised();
    heard(&mut twin.conn, &[], false);
    assert_eq!(twin.first_steps(), Ok(vec![Step::Report]), "nothing was told yet");
    let mut track = Vec::new();
    CHANGED.encode(&mut track);
    heard(&mut twin.conn, &track, false);
    assert_eq!(twin.first_steps().unwrap().first(), Some(&Step::ResetConnection));
}

/// An application meets them all day: a question for each would be as dear as the statement.
#[test]
fn nobody_asks_behind_an_ordinary_error_and_nobody_else_is_bound_by_what_comes_later() {
    for code in [1062, 1146, 1213] {
        let mut twin = Twin::new();
        twin.error("INSERT INTO t VALUES (1)", code, "");
        assert_eq!(twin.first_steps(), Ok(vec![]), "{code}");
        let mut other = Twin { conn: twin.conn, ..Twin::new() };
        assert_eq!(other.ok("BEGIN", &[]), Verdict::Keep);
        assert_eq!(other.ok("COMMIT", &[CHANGED]), washed(), "what came was not its own");
        assert!(other.state.pins.is_empty());
        // What may be its own binds it.
        let mut twin = Twin::new();
        twin.error("INSERT INTO t VALUES (1)", code, "");
        assert_eq!(twin.first_steps(), Ok(vec![]), "{code}");
        let mut other = Twin { conn: twin.conn, ..Twin::new() };
        let _ = other.ok("SELECT f()", &[CHANGED]);
        assert_eq!(other.state.pins, PinCause::RoutineChangedState.into());
    }
}

/// Observed: a duplicate key, a ROLLBACK and `SET autocommit = 1` cost the connection.
#[test]
fn what_comes_with_a_statement_that_changes_something_itself_costs_nothing() {
    for text in ["SET autocommit = 1", "SET @a = 1", "SET time_zone = '+01:00'"] {
        let mut twin = Twin::new();
        twin.error("INSERT INTO t VALUES (1)", 1062, "");
        let _ = twin.ok("ROLLBACK", &[]);
        let _ = twin.ok(text, &[CHANGED]);
        let verdict = twin.ok("DELETE FROM t", &[]);
        assert_eq!((verdict, twin.conn.unreported), (Verdict::Keep, Unreported::Nothing), "{text}");
    }
    let mut twin = Twin::new();
    twin.error("INSERT INTO t VALUES (1)", 1062, "");
    let mut track = Vec::new();
    CHANGED.encode(&mut track);
    heard(&mut twin.conn, &track, false);
    assert_eq!(twin.conn.unreported, Unreported::Nothing, "SET LAST_INSERT_ID of Highgate's own");
}

#[test]
fn behind_an_error_before_anything_ran_nothing_is_waited_for() {
    for (text, code) in [("SELECT * FROM t", 1046), ("SELEKT", 1064)] {
        let mut twin = Twin::new();
        twin.error(text, code, "");
        assert_eq!(twin.conn.unreported, Unreported::Nothing, "{text}");
    }
    let mut twin = Twin::new();
    twin.conn.flavor = Flavor::StarRocks;
    twin.error("INSERT INTO t VALUES (1)", 1062, "");
    assert_eq!(twin.conn.unreported, Unreported::Nothing, "it would not know the question");
}

#[test]
fn what_the_session_itself_hears_next_is_its_own() {
    let mut twin = Twin::new();
    twin.error("INSERT INTO t VALUES (1)", 1644, "");
    let _ = twin.ok("INSERT INTO u VALUES (1)", &[CHANGED]);
    assert!(twin.state.pins.contains(PinCause::RoutineChangedState));
    let mut twin = Twin::new();
    twin.error("INSERT INTO t VALUES (1)", 1062, "");
    let gtid = StateChange::SystemVariable { name: b"last_gtid", value: b"0-1-7" };
    assert_eq!(twin.ok("INSERT INTO t VALUES (2)", &[gtid]), Verdict::Keep);
    assert_eq!(twin.first_steps(), Ok(vec![]), "a position is told with all that there was");
}

/// Observed with a function that takes a lock and calls one that does not exist: the lock stayed.
#[test]
fn a_missing_function_that_the_text_does_not_name_was_called_by_one_that_ran() {
    let cases = [
        ("SELECT f()", "FUNCTION shop.g does not exist", true),
        ("SELECT f()", "FUNCTION shop.F does not exist", false),
        ("SELECT aurora_version()", "FUNCTION shop.aurora_version does not exist", false),
    ];
    for (text, message, binds) in cases {
        let mut twin = Twin::new();
        twin.error(text, 1305, message);
        let bound = twin.state.pins.contains(PinCause::RoutineChangedState);
        assert_eq!((bound, twin.conn.unreported), (binds, Unreported::Nothing), "{message}");
    }
}

/// Observed: a view's function counted in a variable, and the next session went on with it.
#[test]
fn rows_whose_end_can_not_say_what_has_changed_bind_the_session() {
    let mut twin = Twin::new();
    let _ = twin.rows("SELECT * FROM v", StatusFlags::SESSION_STATE_CHANGED);
    assert_eq!(twin.state.pins, PinCause::RoutineChangedState.into());
    let mut twin = Twin::new();
    let in_transaction = StatusFlags::SESSION_STATE_CHANGED | StatusFlags::IN_TRANS;
    let _ = twin.rows("SELECT * FROM v", in_transaction);
    assert_eq!(twin.state.pins, PinCause::Transaction.into(), "its end tells");
    let _ = twin.ok("COMMIT", &[CHANGED]);
    assert_eq!(twin.state.pins, PinCause::RoutineChangedState.into());
    let mut twin = Twin::new();
    let returned = "DELETE FROM t RETURNING a";
    assert_eq!(twin.rows(returned, StatusFlags::SESSION_STATE_CHANGED), Verdict::Keep);
    assert_eq!(twin.first_steps(), Ok(vec![]), "a position, or what a trigger did");
    // The transaction that an error ended, without a word.
    let mut twin = Twin::new();
    twin.error("UPDATE t SET a = 1", 1213, "");
    let _ = twin.rows("SELECT * FROM t", StatusFlags::SESSION_STATE_CHANGED);
    assert!(!twin.state.pins.contains(PinCause::RoutineChangedState));
    // So does the end of a transaction that can't be written.
    let mut twin = Twin::new();
    twin.error("COMMIT", 1213, "");
    let _ = twin.rows("SELECT * FROM t", StatusFlags::SESSION_STATE_CHANGED);
    assert!(!twin.state.pins.contains(PinCause::RoutineChangedState));
    // Engines without transactions, while autocommit is off.
    let mut twin = Twin::new();
    let status = Some(StatusFlags::SESSION_STATE_CHANGED);
    let _ = twin.run("SELECT * FROM m", &Outcome { status, rows: Some(1), ..Outcome::default() });
    assert!(!twin.state.pins.contains(PinCause::RoutineChangedState));
}

/// Observed: `SET STATEMENT … FOR` on a replica; whoever had the connection next was bound to that replica
/// by its START TRANSACTION READ ONLY, and its write was refused there.
#[test]
fn values_that_are_put_back_behind_a_statement_are_nobodys() {
    let put_back = StateChange::SystemVariable { name: b"max_statement_time", value: b"0.000000" };
    let held = StateChange::SystemVariable { name: b"max_statement_time", value: b"5.000000" };
    let text = "SET STATEMENT max_statement_time=5 FOR SELECT a FROM t";
    for (is_late, is_error) in [(true, true), (false, true), (true, false)] {
        let mut twin = Twin::new();
        if is_error {
            twin.error(text, 1969, "");
        } else {
            let _ = twin.ok(text, &[held, CHANGED]);
        }
        if is_late {
            twin.error("INSERT INTO t VALUES (1)", 1062, "");
        }
        let _ = twin.ok("BEGIN", &[put_back, CHANGED]);
        assert!(!twin.state.pins.contains(PinCause::RoutineChangedState));
    }
    for told in [&[held, CHANGED][..], &[]] {
        let mut twin = Twin::new();
        let status = match told {
            [] => twin.rows(text, StatusFlags::SESSION_STATE_CHANGED),
            told => twin.ok(text, told),
        };
        assert_eq!(status, Verdict::Keep);
        let mut other = Twin { conn: twin.conn.clone(), ..Twin::new() };
        assert_eq!(other.first_steps(), Ok(vec![]), "nobody is asked");
        assert_eq!(other.ok("BEGIN", &[put_back, CHANGED]), Verdict::Keep);
        assert!(other.state.profile.variables.is_empty());
        let begun = twin.ok("BEGIN", &[put_back, CHANGED]);
        assert_eq!(begun, Verdict::Keep, "nor are they the session's own");
        assert!(twin.state.profile.variables.is_empty());
    }
}
