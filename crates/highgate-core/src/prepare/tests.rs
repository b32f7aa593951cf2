use std::collections::BTreeMap;

use highgate_mysql::sql::Flavor;
use proptest::prelude::*;

use super::*;
use crate::state::{Charset, ConnectionCharset, Shape, VarValue};

fn state(schema: Option<&str>) -> SessionState {
    SessionState::new(0, "app", schema, 45)
}

fn conn(schema: Option<&str>) -> ConnState {
    ConnState::new(Flavor::MariaDb, 45, schema)
}

fn steps(
    state: &SessionState,
    conn: &mut ConnState,
    needs: &Needs<'_>,
) -> Result<Vec<Step>, Unfit> {
    let mut steps = Vec::new();
    difference(state, conn, needs, false, &mut steps)?;
    Ok(steps)
}

fn set(state: &mut SessionState, name: &str, value: &str) {
    let value = VarValue::text(value.as_bytes());
    state.profile_mut().variables.insert(name.into(), value);
}

fn texts(steps: &[Step]) -> Vec<String> {
    let text = |step: &Step| match step {
        Step::Set { text, .. } | Step::CausalWait { text, .. } => {
            String::from_utf8(text.clone()).unwrap()
        }
        Step::InitDb { schema, .. } => format!("USE {schema}"),
        Step::Prepare { text, .. } => format!("PREPARE {}", String::from_utf8_lossy(text)),
        other => format!("{other:?}"),
    };
    steps.iter().map(text).collect()
}

#[test]
fn equal_states_need_nothing_and_share_a_profile_afterwards() {
    let (state, mut conn) = (state(Some("shop")), conn(Some("shop")));
    assert_eq!(steps(&state, &mut conn, &Needs::default()), Ok(vec![]));
    assert!(Arc::ptr_eq(&state.profile, &conn.profile));
}

#[test]
fn profiles_that_are_alike_become_one_whoever_meets_whom_first() {
    let (mut sessions, mut conns) = ([state(None), state(None)], [conn(None), conn(None)]);
    for (session, on) in [(0, 0), (1, 0), (0, 1), (1, 1), (0, 0), (1, 0)] {
        share_profile(&mut sessions[session], &mut conns[on]);
    }
    let shared = &sessions[0].profile;
    assert!(Arc::ptr_eq(shared, &sessions[1].profile));
    assert!(conns.iter().all(|conn| Arc::ptr_eq(shared, &conn.profile)));
    let [mut session, _] = sessions;
    set(&mut session, "big_tables", "1");
    share_profile(&mut session, &mut conns[0]);
    assert!(!Arc::ptr_eq(&session.profile, &conns[0].profile), "unlike ones stay as they are");
    assert_eq!(conns[0].profile, conns[1].profile);
}

#[test]
fn one_set_brings_all_variables_with_sql_mode_last() {
    let (mut state, mut conn) = (state(Some("shop")), conn(Some("old")));
    let foreign = VarValue::text(b"1");
    Arc::make_mut(&mut conn.profile).variables.insert("big_tables".into(), foreign);
    set(&mut state, "sql_mode", "'ANSI'");
    set(&mut state, "time_zone", "'+00:00'");
    state.profile_mut().charset = Charset::names(VarValue::text(b"latin1"), None);
    let steps = steps(&state, &mut conn, &Needs::default()).unwrap();
    assert_eq!(
        texts(&steps),
        [
            "SET character_set_client=latin1,character_set_results=latin1,\
             character_set_connection=latin1,big_tables=DEFAULT,time_zone='+00:00',sql_mode='ANSI'",
            "USE shop",
        ]
    );
    steps.iter().for_each(|step| applied(&mut conn, step));
    assert_eq!(conn.profile, state.profile);
}

/// `@v = 'abc'` was true on the next connection, where it had been false: servers read a literal by what held before.
#[test]
fn strings_are_set_once_their_collation_is_in_force() {
    let (mut state, mut conn) = (state(None), conn(None));
    let names = Charset::names(VarValue::text(b"latin1"), Some(VarValue::text(b"latin1_bin")));
    state.profile_mut().charset = names;
    state.profile_mut().user_variables.insert("v".into(), VarValue::text(b"'ABC'"));
    let both = ["SET NAMES latin1 COLLATE latin1_bin", "SET @`v`='ABC'"];
    let first = steps(&state, &mut conn, &Needs::default()).unwrap();
    assert_eq!(texts(&first), both);
    first.iter().for_each(|step| applied(&mut conn, step));
    assert_eq!(conn.profile, state.profile);
    // What reads alike, and was set in another collation, is another value.
    Arc::make_mut(&mut conn.profile).charset = Charset::names(VarValue::text(b"latin1"), None);
    assert_eq!(texts(&steps(&state, &mut conn, &Needs::default()).unwrap()), both);
}

/// `IFNULL(@v, 'x')` failed with 1267, or compared by another session's collation: MariaDB's NULL keeps them.
#[test]
fn a_user_variable_that_is_null_has_nothing_of_another_sessions_value() {
    let with = |flavor, there: Option<&str>| {
        let (mut state, mut conn) = (state(None), ConnState { flavor, ..conn(None) });
        state.profile_mut().user_variables.insert("v".into(), VarValue::text(b"NULL"));
        if let Some(value) = there {
            let variables = &mut Arc::make_mut(&mut conn.profile).user_variables;
            variables.insert("v".into(), VarValue::text(value.as_bytes()));
        }
        texts(&steps(&state, &mut conn, &Needs::default()).unwrap()).join(";")
    };
    for there in ["'x'", "5", "'',@`v`=NULL"] {
        assert_eq!(with(Flavor::MariaDb, Some(there)), "SET @`v`=_binary'',@`v`=NULL", "{there}");
    }
    assert_eq!(with(Flavor::MariaDb, None), "SET @`v`=NULL", "nobody gave it a value there");
    assert_eq!(with(Flavor::MariaDb, Some("NULL")), "");
    assert_eq!(with(Flavor::MySql, Some("'x'")), "SET @`v`=_binary'',@`v`=NULL");
    assert_eq!(with(Flavor::StarRocks, Some("'x'")), "SET @`v`=NULL");
}

/// Others' rows were not checked for their parents any more: on MySQL DEFAULT turns these two off.
#[test]
fn checks_of_keys_are_given_back_by_their_global_value() {
    for flavor in [Flavor::MySql, Flavor::MariaDb] {
        for was in ["0", "1", "DEFAULT"] {
            let (state, mut conn) = (state(None), ConnState { flavor, ..conn(None) });
            let variables = &mut Arc::make_mut(&mut conn.profile).variables;
            for name in ["foreign_key_checks", "unique_checks"] {
                variables.insert(name.into(), VarValue::text(was.as_bytes()));
            }
            let steps = steps(&state, &mut conn, &Needs::default()).unwrap();
            assert_eq!(
                texts(&steps),
                [
                    "SET foreign_key_checks=@@global.foreign_key_checks,unique_checks=@@global.unique_checks"
                ]
            );
        }
    }
}

#[test]
fn a_collation_of_the_login_is_spelt_out() {
    let (state, mut conn) = (state(None), ConnState::new(Flavor::MariaDb, 8, None));
    let steps = steps(&state, &mut conn, &Needs::default()).unwrap();
    assert_eq!(texts(&steps), ["SET NAMES utf8mb4 COLLATE utf8mb4_general_ci"]);
}

/// Columns are described with the collation of SET NAMES, also once the connection has another.
#[test]
fn the_collation_of_set_names_stays_with_the_results() {
    let (mut state, mut conn) = (state(None), conn(None));
    let word = |word: &str| VarValue::text(word.as_bytes());
    let mut charset = Charset::names(word("utf8mb4"), Some(word("utf8mb4_bin")));
    if let Charset::Set { client, connection, .. } = &mut charset {
        *client = word("latin1");
        *connection = ConnectionCharset::Collation(word("latin1_bin"));
    }
    state.profile_mut().charset = charset;
    let steps = steps(&state, &mut conn, &Needs::default()).unwrap();
    assert_eq!(
        texts(&steps),
        ["SET NAMES utf8mb4 COLLATE utf8mb4_bin,character_set_client=latin1,\
          collation_connection=latin1_bin"]
    );
}

#[test]
fn a_schema_cannot_be_taken_away() {
    assert_eq!(steps(&state(None), &mut conn(Some("shop")), &Needs::default()), Err(Unfit::Schema));
}

#[test]
fn a_bound_session_fits_no_other_connection() {
    let mut state = state(None);
    state.pins.insert(PinCause::TemporaryTable);
    assert_eq!(steps(&state, &mut conn(None), &Needs::default()), Err(Unfit::Pinned));
}

#[test]
fn a_dirty_connection_is_reset_first() {
    let (state, mut conn) = (state(Some("shop")), conn(Some("shop")));
    conn.dirt.insert(PinCause::SessionUnknown);
    let steps = steps(&state, &mut conn, &Needs::default()).unwrap();
    assert_eq!(steps.first(), Some(&Step::ResetConnection));
    // A reset takes `collation_database` back to its global value, and leaves the schema.
    assert!(matches!(&steps[1..], [Step::InitDb { .. }]), "{steps:?}");
    steps.iter().for_each(|step| applied(&mut conn, step));
    assert_eq!(conn.profile, state.profile);
    assert!(conn.dirt.is_empty());
}

#[test]
fn defaults_that_differ_from_a_login_are_not_used() {
    let mut conn = conn(None);
    conn.default_is_login = false;
    Arc::make_mut(&mut conn.profile).variables.insert("sql_mode".into(), VarValue::text(b"''"));
    assert_eq!(steps(&state(None), &mut conn, &Needs::default()), Err(Unfit::Defaults));
}

#[test]
fn what_a_login_added_to_the_sql_mode_comes_back_after_another_one() {
    let restored = "SET sql_mode=CONCAT(@@global.sql_mode,',IGNORE_SPACE')";
    let mut conn = conn(None);
    conn.ignores_space = true;
    Arc::make_mut(&mut conn.profile).variables.insert("sql_mode".into(), VarValue::text(b"''"));
    let todo = steps(&state(None), &mut conn, &Needs::default()).unwrap();
    assert_eq!(texts(&todo), [restored]);
    // MariaDB forgets it in a reset.
    let mut conn = ConnState { ignores_space: true, ..ConnState::new(Flavor::MariaDb, 45, None) };
    conn.was_reset();
    let todo = steps(&state(None), &mut conn, &Needs::default()).unwrap();
    assert_eq!(texts(&todo).last().unwrap(), restored);
}

#[test]
fn a_statement_is_prepared_under_the_schema_it_was_prepared_under() {
    let mut state = state(Some("a"));
    let id = state.prepared(b"SELECT * FROM t", Shape::default(), 0);
    state.profile_mut().schema = Some("b".into());
    let mut conn = conn(Some("b"));
    let needs = Needs { statement: Some(id), ..Needs::default() };
    let todo = steps(&state, &mut conn, &needs).unwrap();
    assert_eq!(texts(&todo), ["USE a", "PREPARE SELECT * FROM t", "USE b"]);
    for step in &todo {
        applied(&mut conn, step);
        if let Step::Prepare { text, under } = step {
            assert_eq!(conn.prepared(77, Arc::clone(text), Arc::clone(under)), None);
        }
    }
    assert_eq!(steps(&state, &mut conn, &needs), Ok(vec![]));
    let execute = execute_as(&mut state, &mut conn, id, executes(&[]));
    assert_eq!(execute, Some(ExecuteAs { id: 77, add_types: false }));
}

const fn executes(types: &[u8]) -> Use<'_> {
    Use::Execute { types, cursor: false }
}

/// Two statements of a session with one text, of which the other was executed last.
/// It went to the pool with its long data, for whoever had a statement of that number and text.
#[test]
fn a_statement_is_forgotten_also_where_it_was_prepared_without_its_schema() {
    for has_schema in [true, false] {
        let mut state = state(Some("a"));
        let id = state.prepared(b"SELECT n FROM a.t WHERE b = ?", Shape::default(), 1);
        state.profile_mut().schema = has_schema.then(|| "a".into());
        let (text, under) = (Arc::clone(&state.statements[&id].text), Arc::clone(&state.profile));
        let mut conn = conn(has_schema.then_some("a"));
        assert_eq!(conn.prepared(7, text, under), None);
        let sent = execute_as(&mut state, &mut conn, id, Use::LongData);
        assert_eq!(sent, Some(ExecuteAs { id: 7, add_types: false }));
        assert_eq!(forget(&state, &mut conn, id), Some(7));
        assert!(conn.statements.is_empty());
    }
}

#[test]
fn only_executions_carry_types() {
    let (mut state, mut conn) = (state(None), conn(None));
    let text = b"SELECT ?";
    let [one, other] = [(); 2].map(|()| state.prepared(text, Shape::default(), 1));
    let _ = conn.prepared(7, text[..].into(), Arc::clone(&state.profile));
    let plain = Some(ExecuteAs { id: 7, add_types: false });
    assert_eq!(execute_as(&mut state, &mut conn, one, executes(&[8, 0])), plain);
    assert_eq!(execute_as(&mut state, &mut conn, other, executes(&[6, 0])), plain);
    for command in [Use::Other, Use::LongData] {
        assert_eq!(execute_as(&mut state, &mut conn, one, command), plain);
    }
    let again = execute_as(&mut state, &mut conn, one, executes(&[]));
    assert_eq!(again, Some(ExecuteAs { id: 7, add_types: true }));
}

#[test]
fn a_statement_with_a_cursor_or_long_data_is_not_shared_with_another_of_its_text() {
    let cursor = Use::Execute { types: &[], cursor: true };
    for unfinished in [cursor, Use::LongData] {
        let (mut state, mut conn) = (state(None), conn(None));
        let text = b"SELECT 1";
        let [one, other, third] = [(); 3].map(|()| state.prepared(text, Shape::default(), 0));
        let under = Arc::clone(&state.profile);
        let _ = conn.prepared(7, text[..].into(), Arc::clone(&under));
        let _ = execute_as(&mut state, &mut conn, one, unfinished);
        let of = |statement| Needs { statement: Some(statement), ..Needs::default() };
        let prepare = steps(&state, &mut conn, &of(other)).unwrap();
        assert_eq!(texts(&prepare), ["PREPARE SELECT 1"]);
        assert_eq!(conn.prepared(8, text[..].into(), under), None);
        let there = |conn: &mut _, state: &mut _, id| {
            execute_as(state, conn, id, executes(&[])).map(|execute| execute.id)
        };
        assert_eq!(there(&mut conn, &mut state, other), Some(8));
        assert_eq!(execute_as(&mut state, &mut conn, one, Use::Other).unwrap().id, 7);
        conn.unreserve();
        assert_eq!(there(&mut conn, &mut state, other), Some(8), "what it used before");
        assert_eq!(there(&mut conn, &mut state, third), Some(7), "it is free again");
    }
}

#[test]
fn types_bound_elsewhere_are_sent_again() {
    let mut state = state(None);
    let id = state.prepared(b"SELECT ?", Shape::default(), 1);
    let mut first = conn(None);
    let mut second = conn(None);
    for (conn, server_id) in [(&mut first, 1), (&mut second, 2)] {
        let under = Arc::clone(&state.profile);
        let _ = conn.prepared(server_id, b"SELECT ?"[..].into(), under);
    }
    let execute = execute_as(&mut state, &mut first, id, executes(&[8, 0]));
    assert_eq!(execute, Some(ExecuteAs { id: 1, add_types: false }));
    let execute = execute_as(&mut state, &mut second, id, executes(&[]));
    assert_eq!(execute, Some(ExecuteAs { id: 2, add_types: true }));
    let execute = execute_as(&mut state, &mut second, id, executes(&[]));
    assert_eq!(execute, Some(ExecuteAs { id: 2, add_types: false }));
}

#[test]
fn the_oldest_statement_makes_room() {
    let mut conn = conn(None);
    let mut closed = Vec::new();
    for id in 0..70_u32 {
        let text = Arc::from(format!("SELECT {id}").into_bytes());
        let under = Arc::clone(&conn.profile);
        closed.extend(conn.prepared(id, text, under));
    }
    assert_eq!(closed, [0, 1, 2, 3, 4, 5]);
    assert_eq!(conn.statements.len(), crate::state::MAX_STATEMENTS);
}

/// `wsrep_sync_wait` does nothing on what was ever reset: a session's own writes were missing, without a word.
#[test]
fn a_member_of_galera_serves_no_session_on_a_connection_that_was_reset_or_would_have_to_be() {
    let state = state(Some("shop"));
    let wait = CausalWait::WsrepSyncWait;
    let causal = Some(CausalNeed { position: "", wait, timeout_ms: 250 });
    let needs = Needs { causal, ..Needs::default() };
    let member = || ConnState { is_galera: true, ..conn(Some("shop")) };
    let waits = ["SET STATEMENT wsrep_sync_wait=1 FOR SELECT 1 LIMIT 1"];
    assert_eq!(texts(&steps(&state, &mut member(), &needs).unwrap()), waits);
    let [mut reset, mut changed, mut dirty, mut far] = [(); 4].map(|()| member());
    reset.was_reset();
    changed.was_changed(45, Some("shop"));
    dirty.dirt.insert(PinCause::SessionUnknown);
    for needs in [&needs, &Needs::default()] {
        for conn in [&mut reset, &mut changed, &mut dirty] {
            assert_eq!(steps(&state, conn, needs), Err(Unfit::Reset));
        }
    }
    // What costs a reset elsewhere is undone, one by one.
    let foreign = &mut Arc::make_mut(&mut far.profile).variables;
    (0..20).for_each(|n| drop(foreign.insert(format!("v{n}").into(), VarValue::text(b"1"))));
    let steps = steps(&state, &mut far, &needs).unwrap();
    assert!(matches!(&steps[..], [Step::Set { .. }, Step::CausalWait { .. }]), "{steps:?}");
}

#[test]
fn a_causal_wait_and_the_next_transaction_come_last() {
    let mut state = state(None);
    state.last_insert_id = LastInsertId::Known(5);
    state.next_transaction = Some("SET TRANSACTION READ ONLY".into());
    state.pins.insert(PinCause::NextTransaction);
    let causal =
        CausalNeed { position: "0-1-2", wait: CausalWait::MasterGtidWait, timeout_ms: 250 };
    let needs = Needs { last_insert_id: true, causal: Some(causal), ..Needs::default() };
    let steps = steps(&state, &mut conn(None), &needs).unwrap();
    assert_eq!(
        texts(&steps),
        [
            "SELECT MASTER_GTID_WAIT('0-1-2',0.250) LIMIT 1",
            "SetLastInsertId(5)",
            "SetTransaction(\"SET TRANSACTION READ ONLY\")",
        ]
    );
}

#[test]
fn a_causal_wait_comes_before_what_the_session_may_just_have_made() {
    let state = state(Some("made"));
    let causal =
        CausalNeed { position: "0-1-2", wait: CausalWait::MasterGtidWait, timeout_ms: 250 };
    let needs = Needs { causal: Some(causal), ..Needs::default() };
    let steps = steps(&state, &mut conn(Some("old")), &needs).unwrap();
    assert_eq!(texts(&steps), ["SELECT MASTER_GTID_WAIT('0-1-2',0.250) LIMIT 1", "USE made"]);
}

fn profiles() -> impl Strategy<Value = Profile> {
    let names = proptest::sample::select(vec!["sql_mode", "time_zone", "autocommit", "x", "y"]);
    let values = proptest::sample::select(vec!["'a'", "1", "'\u{e4}'"]);
    let map = || proptest::collection::btree_map(names.clone(), values.clone(), 0..5);
    let own = |map: BTreeMap<&str, &str>| -> BTreeMap<Box<str>, VarValue> {
        map.into_iter().map(|(k, v)| (k.into(), VarValue::text(v.as_bytes()))).collect()
    };
    (map(), map(), proptest::option::of("[ab]"), 0_u16..3).prop_map(
        move |(v, u, schema, charset)| Profile {
            schema: schema.map(Into::into),
            charset: match charset {
                0 => Charset::Login(45),
                1 => Charset::ServerDefault,
                _ => Charset::names(VarValue::text(b"latin1"), None),
            },
            variables: own(v),
            user_variables: own(u),
        },
    )
}

proptest! {
    #[test]
    fn the_steps_lead_to_the_session_and_then_nothing_differs(from in profiles(), to in profiles()) {
        let (mut state, mut conn) = (state(None), conn(None));
        conn.profile = Arc::new(from);
        *state.profile_mut() = to;
        match steps(&state, &mut conn, &Needs::default()) {
            Err(unfit) => {
                prop_assert_eq!(unfit, Unfit::Schema);
                prop_assert!(state.profile.schema.is_none() && conn.profile.schema.is_some());
            }
            Ok(found) => {
                found.iter().for_each(|step| applied(&mut conn, step));
                prop_assert_eq!(&conn.profile, &state.profile);
                prop_assert_eq!(steps(&state, &mut conn, &Needs::default()), Ok(vec![]));
            }
        }
    }
}

/// Servers read all values of a SET before they change any: both in one would make the second alone.
#[test]
fn a_list_of_changes_begins_from_the_default() {
    let (mut state, mut conn) = (state(None), conn(None));
    set(&mut state, "optimizer_switch", "'mrr=on'");
    let alone = "SET optimizer_switch='mrr=on'";
    assert_eq!(texts(&steps(&state, &mut conn, &Needs::default()).unwrap()), [alone]);
    let other = VarValue::text(b"'index_merge=off'");
    Arc::make_mut(&mut conn.profile).variables.insert("optimizer_switch".into(), other);
    let there = steps(&state, &mut conn, &Needs::default()).unwrap();
    assert_eq!(texts(&there), ["SET optimizer_switch=DEFAULT", alone]);
    let [Step::Set { becomes: between, .. }, Step::Set { becomes: after, .. }] = &*there else {
        panic!("{there:?}");
    };
    assert!(between.variables.is_empty());
    assert_eq!(*after, state.profile);
    conn.default_is_login = false;
    assert_eq!(steps(&state, &mut conn, &Needs::default()), Err(Unfit::Defaults));
}

/// Observed: the first SELECT of a session went to a replica, and so did the UPDATE behind it.
#[test]
fn a_statement_that_ends_itself_does_so_only_where_autocommit_is_on() {
    let mut conn = conn(None);
    tracked(&mut conn, StatusFlags::empty());
    let reads = Needs { ends_itself: true, ..Needs::default() };
    let mut session = state(None);
    assert_eq!(steps(&session, &mut conn, &reads), Err(Unfit::Autocommit));
    assert_eq!(steps(&session, &mut conn, &Needs::default()), Ok(vec![]), "on the primary");
    session.autocommit = false;
    assert_eq!(steps(&session, &mut conn, &reads), Ok(vec![]), "it was sent there though");
    session.autocommit = true;
    set(&mut session, "autocommit", "1");
    assert_eq!(texts(&steps(&session, &mut conn, &reads).unwrap()), ["SET autocommit=1"]);
    tracked(&mut conn, StatusFlags::AUTOCOMMIT);
    assert_eq!(steps(&state(None), &mut conn, &reads), Ok(vec![]));
}

/// Observed on MySQL: what one session had prepared was cut at 1,024 bytes for another that allows more.
#[test]
fn a_statement_is_shared_by_sessions_whose_servers_read_it_alike() {
    let (mut one, mut conn) = (state(None), conn(None));
    let text = b"SELECT GROUP_CONCAT(a) FROM t";
    let id = one.prepared(text, Shape::default(), 0);
    let under = Arc::clone(&one.profile);
    assert_eq!(conn.prepared(7, text.as_slice().into(), under), None);
    let needs = Needs { statement: Some(id), ..Needs::default() };
    assert_eq!(steps(&one, &mut conn, &needs), Ok(vec![]));
    let mut other = state(None);
    set(&mut other, "group_concat_max_len", "1000000");
    let id = other.prepared(text, Shape::default(), 0);
    let needs = Needs { statement: Some(id), ..Needs::default() };
    let found = steps(&other, &mut conn, &needs).unwrap();
    let prepared = "PREPARE SELECT GROUP_CONCAT(a) FROM t";
    assert_eq!(texts(&found), ["SET group_concat_max_len=1000000", prepared]);
    // What is set later holds for what is prepared later.
    set(&mut other, "group_concat_max_len", "5");
    conn.profile = Arc::clone(&other.profile);
    let found = steps(&other, &mut conn, &needs).unwrap();
    let (before, after) = ("SET group_concat_max_len=1000000", "SET group_concat_max_len=5");
    assert_eq!(texts(&found), [before, prepared, after]);
}
