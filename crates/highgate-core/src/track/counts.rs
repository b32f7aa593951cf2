//! FOUND_ROWS() and ROW_COUNT(): what they say in the session, and which connection knows.
//!
//! Where the session knows them, Highgate answers, or puts them into the text. Where only a connection does,
//! a statement that asks for them runs there or nowhere: what another connection would say is another
//! statement's. Nothing can set them, so a session that was refused once keeps its connection from then on.

use highgate_mysql::sql::{Effects, StatementKind};

use super::{CommandFacts, CommandKind};
use crate::{
    pins::PinCause,
    settle::Outcome,
    state::{ConnState, SessionState},
};

/// Whether a command asks for FOUND_ROWS() and ROW_COUNT() of statements before it, each.
#[must_use]
pub fn asks_counts(state: &SessionState, facts: &CommandFacts<'_>) -> (bool, bool) {
    if !facts.does(Effects::READS_FOUND_ROWS | Effects::READS_ROW_COUNT | Effects::NAMED_PREPARED) {
        return (false, false);
    }
    let executes = facts.shape.kind == StatementKind::Execute
        && (state.asks_counts || facts.text.is_some_and(names_counts));
    (
        executes || facts.does(Effects::READS_FOUND_ROWS),
        executes || facts.does(Effects::READS_ROW_COUNT),
    )
}

/// Whether a text that is prepared by SQL asks for them.
pub(super) fn names_counts(text: &[u8]) -> bool {
    let names = |word: &[u8]| text.windows(word.len()).any(|w| w.eq_ignore_ascii_case(word));
    names(b"FOUND_ROWS") || names(b"ROW_COUNT")
}

/// The session was refused what it asks for, since the connection that knew was given back: it keeps
/// the next one.
pub fn denied(state: &mut SessionState, facts: &CommandFacts<'_>) {
    let (found_rows, row_count) = asks_counts(state, facts);
    state.asks_counts |= found_rows || row_count;
}

/// Whether FOUND_ROWS() says on the session's connection what it is in the session.
pub(crate) fn knows_found_rows(state: &SessionState, conn: &ConnState) -> bool {
    match state.found_rows {
        Some(_) => conn.found_rows == state.found_rows,
        None => !state.found_rows_lost && !conn.found_rows_changed,
    }
}

/// The session goes on with another connection than before.
pub const fn moved(state: &mut SessionState) {
    state.found_rows_lost |= state.found_rows.is_none();
}

/// FOUND_ROWS() after the command; `None` is only known to its connection.
const fn found(state: &mut SessionState, conn: &mut ConnState, rows: Option<u64>) {
    (state.found_rows, state.found_rows_lost) = (rows, false);
    (conn.found_rows, conn.found_rows_changed) = (rows, false);
}

/// After a command that counted rows, or left FOUND_ROWS() as it was on that connection.
pub(super) fn may_count(state: &mut SessionState, conn: &mut ConnState) {
    let known = knows_found_rows(state, conn);
    found(state, conn, None);
    state.found_rows_lost = !known;
}

/// Whether FOUND_ROWS() is after the statement what it was before. Others leave something that no
/// manual describes.
fn leaves_found_rows(facts: &CommandFacts<'_>) -> bool {
    let selects = |text: &[u8]| text.windows(6).any(|word| word.eq_ignore_ascii_case(b"SELECT"));
    match facts.shape.kind {
        StatementKind::Begin
        | StatementKind::Commit { .. }
        | StatementKind::Deallocate
        | StatementKind::Empty
        | StatementKind::LockTables
        | StatementKind::Prepare
        | StatementKind::ReleaseSavepoint
        | StatementKind::Rollback { .. }
        | StatementKind::Savepoint
        | StatementKind::StartTransaction { .. }
        | StatementKind::UnlockTables
        | StatementKind::Use => true,
        StatementKind::Insert | StatementKind::Replace | StatementKind::Set => {
            !facts.text.is_none_or(selects)
        }
        _ => false,
    }
}

/// Whether ROW_COUNT() is after a command that succeeded what it was before: in the session, and on the
/// connection, where that may be another.
///
/// Quirk: GET DIAGNOSTICS leaves it, SHOW WARNINGS and SIGNAL do not.
pub(crate) fn leaves_row_count(facts: &CommandFacts<'_>) -> bool {
    let looks = facts.shape.kind == StatementKind::Diagnostics && !facts.does(Effects::MULTI);
    facts.command == CommandKind::StmtPrepare || facts.command.runs() && looks
}

/// Rows, counts and warnings, which statements like SHOW WARNINGS leave as they are.
pub(super) fn follow(
    state: &mut SessionState,
    conn: &mut ConnState,
    facts: &CommandFacts<'_>,
    outcome: &Outcome<'_>,
) {
    // Rows of a cursor are counted while they are read.
    const UNSURE: Effects = Effects::MULTI
        .union(Effects::CALC_FOUND_ROWS)
        .union(Effects::CAN_CHANGE_SESSION)
        .union(Effects::COUNTS_OTHERWISE)
        .union(Effects::DOUBTFUL)
        .union(Effects::SELECT_INTO)
        .union(Effects::WRITES);
    let is_plain = facts.shape.kind == StatementKind::Select
        && !facts.shape.effects.intersects(UNSURE)
        && !facts.opens_cursor;
    if is_plain && outcome.rows.is_some() {
        found(state, conn, outcome.rows);
    } else if facts.shape.kind == StatementKind::Select && !facts.does(Effects::MULTI) {
        found(state, conn, None);
    } else if facts.does(Effects::MULTI) || !leaves_found_rows(facts) {
        may_count(state, conn);
    }
    state.pins.set(PinCause::FoundRows, facts.does(Effects::CALC_FOUND_ROWS));
    if !leaves_row_count(facts) {
        state.row_count = match outcome.rows {
            Some(_) => Some(-1),
            None => i64::try_from(outcome.affected_rows).ok(),
        };
    }
    if !facts.does(Effects::READS_DIAGNOSTICS) {
        state.warnings = outcome.warnings;
    }
    // Those of the statement before were dropped by `before`, or are still there.
    if outcome.warnings > 0 {
        warned(state);
    }
}

/// The command left warnings on its connection: those of before are no more.
pub(super) fn warned(state: &mut SessionState) {
    state.pins.insert(PinCause::Warnings);
    state.kept_warnings = None;
}

#[cfg(test)]
mod tests {
    use highgate_mysql::{
        StatusFlags,
        sql::{Flavor, LexMode, Scratch, analyze},
    };

    use super::*;
    use crate::{
        pins::PinSet,
        prepare::{Needs, Unfit, difference},
        settle::{Verdict, settle},
        state::Shape,
        track::before,
    };

    fn mode() -> LexMode {
        LexMode { flavor: Flavor::MariaDb, ..LexMode::default() }
    }

    struct Twin {
        state: SessionState,
        conn: ConnState,
    }

    impl Twin {
        fn new() -> Self {
            Self { state: SessionState::new(0, "app", None, 45), conn: connection() }
        }

        fn run(&mut self, text: &str, outcome: Outcome<'_>) -> Verdict {
            let mut scratch = Scratch::new();
            let analysis = analyze(text.as_bytes(), mode(), &mut scratch);
            let facts = CommandFacts::text(CommandKind::Query, text.as_bytes(), &analysis, mode());
            before(&mut self.state, &facts);
            settle(&mut self.state, &mut self.conn, &facts, &outcome)
        }

        fn rows(&mut self, text: &str, rows: u64) -> Verdict {
            self.run(text, Outcome { rows: Some(rows), ..ok() })
        }

        fn on_another_connection(&mut self) {
            self.conn = connection();
            moved(&mut self.state);
        }

        /// Whether FOUND_ROWS() and ROW_COUNT() may be asked of the connection.
        fn knows(&mut self) -> (bool, bool) {
            let mut fits = |found_rows, row_count| {
                let needs = Needs { found_rows, row_count, ..Needs::default() };
                let fits = difference(&self.state, &mut self.conn, &needs, true, &mut Vec::new());
                assert!(matches!(fits, Ok(()) | Err(Unfit::Counts)));
                fits.is_ok()
            };
            (fits(true, false), fits(false, true))
        }
    }

    fn connection() -> ConnState {
        ConnState::new(Flavor::MariaDb, 45, None)
    }

    fn ok() -> Outcome<'static> {
        Outcome { status: Some(StatusFlags::AUTOCOMMIT), ..Outcome::default() }
    }

    #[test]
    fn a_select_counts_its_rows_unless_it_skips_or_joins_some() {
        let mut twin = Twin::new();
        for (text, expected) in [
            ("SELECT a FROM t LIMIT 3", Some(3)),
            ("SELECT a FROM t LIMIT 20, 3", None),
            ("SELECT a FROM t LIMIT 3", Some(3)),
            ("SELECT a FROM t LIMIT 3 OFFSET 20", None),
            ("SELECT a FROM t UNION SELECT 1 LIMIT 3", None),
            ("SELECT SQL_CALC_FOUND_ROWS a FROM t LIMIT 3", None),
            ("SELECT a FROM t", Some(3)),
            ("SHOW TABLES", None),
        ] {
            let _ = twin.rows(text, 3);
            assert_eq!(twin.state.found_rows, expected, "{text}");
            assert_eq!(twin.knows(), (true, true), "{text}: it ran there");
        }
    }

    #[test]
    fn what_another_connection_found_is_asked_of_none() {
        let mut twin = Twin::new();
        let _ = twin.rows("SELECT a FROM t LIMIT 20, 3", 3);
        twin.on_another_connection();
        assert_eq!(twin.knows(), (false, false));
        // It may count or not: whether what it left is the session's, nobody knows.
        let _ = twin.run("UPDATE t SET a = 1", Outcome { affected_rows: 4, ..ok() });
        assert_eq!((twin.knows(), twin.state.row_count), ((false, true), Some(4)));
        let _ = twin.rows("SELECT a FROM t", 7);
        assert_eq!((twin.knows(), twin.state.found_rows), ((true, true), Some(7)));
        let _ = twin.run("BEGIN", ok());
        twin.on_another_connection();
        assert_eq!((twin.knows(), twin.state.found_rows), ((false, false), Some(7)));
    }

    #[test]
    fn what_a_statement_of_our_own_has_overwritten_is_not_known() {
        let mut twin = Twin::new();
        let _ = twin.rows("SELECT a FROM t", 2);
        let _ = twin.rows("SHOW TABLES", 3);
        assert_eq!(twin.knows(), (true, true));
        crate::prepare::applied(&mut twin.conn, &crate::prepare::Step::ClearDiagnostics);
        assert!(!twin.knows().0, "on the very connection of the session");
        let _ = twin.rows("SELECT a FROM t", 7);
        assert!(twin.knows().0);
    }

    #[test]
    fn a_look_at_diagnostics_leaves_the_count() {
        let mut twin = Twin::new();
        let _ = twin.run("UPDATE t SET a = 1", Outcome { affected_rows: 4, ..ok() });
        let _ = twin.run("GET DIAGNOSTICS @a = NUMBER", ok());
        assert_eq!(twin.state.row_count, Some(4));
        let _ = twin.rows("SHOW WARNINGS", 0);
        assert_eq!(twin.state.row_count, Some(-1));
    }

    #[test]
    fn a_look_at_diagnostics_brings_the_count_to_no_other_connection() {
        let mut twin = Twin::new();
        let _ = twin.run("UPDATE t SET a = 1", Outcome { affected_rows: 4, ..ok() });
        twin.on_another_connection();
        let _ = twin.run("GET DIAGNOSTICS @a = NUMBER", ok());
        assert_eq!((twin.state.row_count, twin.knows().1), (Some(4), false));
    }

    #[test]
    fn a_signal_that_warns_counts_anew() {
        let mut twin = Twin::new();
        let _ = twin.run("UPDATE t SET a = 1", Outcome { affected_rows: 4, ..ok() });
        let _ = twin.run("SIGNAL SQLSTATE '01000'", Outcome { warnings: 1, ..ok() });
        assert_eq!((twin.state.row_count, twin.knows().1), (Some(0), true));
    }

    #[test]
    fn a_reset_leaves_what_was_found() {
        let mut twin = Twin::new();
        let _ = twin.rows("SELECT a FROM t", 7);
        super::super::reset(&mut twin.state, Flavor::MariaDb);
        assert_eq!((twin.state.found_rows, twin.state.row_count), (Some(7), Some(0)));
        twin.conn.was_reset();
        assert_eq!(twin.knows(), (true, true));
    }

    #[test]
    fn who_was_refused_once_keeps_its_connection() {
        let mut twin = Twin::new();
        let asks = CommandFacts {
            shape: Shape { effects: Effects::READS_ROW_COUNT, ..Shape::default() },
            ..CommandFacts::bare(CommandKind::StmtExecute)
        };
        denied(&mut twin.state, &asks);
        let held: PinSet = [PinCause::AsksCounts].into_iter().collect();
        assert_eq!(twin.rows("SELECT a FROM t LIMIT 20, 3", 3), Verdict::Hold(held));
        assert_eq!(twin.knows(), (true, true));
        super::super::reset(&mut twin.state, Flavor::MariaDb);
        assert_eq!(twin.rows("SELECT 1", 1), Verdict::Keep);
    }

    #[test]
    fn who_prepares_such_a_question_is_asked_for_it_at_the_execution() {
        let mut twin = Twin::new();
        let asked = |twin: &Twin, text: &str| {
            let mut scratch = Scratch::new();
            let analysis = analyze(text.as_bytes(), mode(), &mut scratch);
            let facts = CommandFacts::text(CommandKind::Query, text.as_bytes(), &analysis, mode());
            asks_counts(&twin.state, &facts)
        };
        assert_eq!(asked(&twin, "EXECUTE p"), (false, false));
        assert_eq!(asked(&twin, "EXECUTE IMMEDIATE 'SELECT row_count()'"), (true, true));
        let _ = twin.run("PREPARE p FROM 'SELECT FOUND_ROWS()'", ok());
        assert!(twin.state.asks_counts && twin.state.pins.contains(PinCause::AsksCounts));
        assert_eq!(asked(&twin, "EXECUTE p"), (true, true));
        assert_eq!(asked(&twin, "SELECT 1"), (false, false));
    }

    #[test]
    fn a_prepared_question_that_highgate_answers_binds_nothing() {
        let mut state = SessionState::new(0, "app", None, 45);
        let shape = Shape { effects: Effects::READS_FOUND_ROWS, ..Shape::default() };
        state.prepared(b"SELECT FOUND_ROWS() AS n", shape, 0);
        assert!(!state.asks_counts);
        state.prepared(b"SELECT FOUND_ROWS() + ?", shape, 1);
        assert!(state.asks_counts);
    }
}
