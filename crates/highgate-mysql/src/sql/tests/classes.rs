use super::{MARIADB, MYSQL};
use crate::sql::{
    Effects as E, Flavor, Hint, KillScope, LexMode, LockingClause, Scratch, StatementKind as K,
    analyze,
};

fn effects(text: &str, mode: LexMode) -> E {
    analyze(text.as_bytes(), mode, &mut Scratch::new()).effects
}

fn kind(text: &str) -> K {
    analyze(text.as_bytes(), MARIADB, &mut Scratch::new()).kind
}

fn reads(text: &str, mode: LexMode) -> bool {
    effects(text, mode).contains(E::READ_ONLY_PROVED)
}

#[track_caller]
fn all_read(texts: &[&str]) {
    for text in texts {
        for mode in [MARIADB, MYSQL] {
            assert!(
                reads(text, mode),
                "{text:?} should go to a replica: {:?}",
                effects(text, mode)
            );
        }
    }
}

#[track_caller]
fn none_read(texts: &[&str]) {
    for text in texts {
        for mode in [MARIADB, MYSQL] {
            assert!(!reads(text, mode), "{text:?} must not go to a replica");
        }
    }
}

#[track_caller]
fn all_have(flag: E, texts: &[&str]) {
    for text in texts {
        assert!(
            effects(text, MARIADB).contains(flag),
            "{text:?} lacks {flag:?}: {:?}",
            effects(text, MARIADB)
        );
    }
}

#[test]
fn plain_reads_go_to_a_replica() {
    all_read(&[
        "SELECT 1",
        "select c from sbtest1 where id=?",
        "SELECT * FROM t WHERE a IN (1,2,3) AND (b = 'x' OR c BETWEEN 1 AND 2)",
        "SELECT DISTINCT a FROM t ORDER BY a DESC LIMIT 5 OFFSET 10",
        "SELECT COUNT(*), SUM(a), MAX(b) FROM t GROUP BY c HAVING COUNT(*)>1",
        "(SELECT 1) UNION ALL (SELECT 2)",
        "((SELECT 1))",
        "SELECT (SELECT 1)",
        "SELECT * FROM (SELECT a FROM t) AS x JOIN u USING (id)",
        "SELECT * FROM a LEFT JOIN b ON (a.id=b.id)",
        "WITH x AS (SELECT 1) SELECT * FROM x",
        "WITH RECURSIVE x (n) AS (SELECT 1 UNION ALL SELECT n+1 FROM x WHERE n<5) SELECT * FROM x",
        "WITH a AS (SELECT 1), b (c,d) AS (SELECT 2,3) SELECT * FROM a, b",
        "WITH x AS (SELECT 1) (SELECT * FROM x)",
        "VALUES ROW(1,2), ROW(3,4)",
        "TABLE t",
        "SELECT REPLACE(a,'x','y'), INSERT(b,1,2,'c'), TRUNCATE(d,2), LEFT(e,1), IF(a,b,c) FROM t",
        "SELECT CAST(a AS CHAR(10) CHARACTER SET utf8mb4), CONVERT(b USING latin1)",
        "SELECT a, ROW_NUMBER() OVER (PARTITION BY b ORDER BY c) FROM t",
        "SELECT JSON_EXTRACT(a,'$.b'), a->>'$.c' FROM t",
        "SELECT * FROM t USE INDEX (i) FORCE INDEX FOR ORDER BY (j)",
        "SELECT * FROM t PARTITION (p0)",
        "SELECT @v",
        "SELECT @@version_comment, @@session.sql_mode",
        "SELECT 'DELETE FROM t', \"UPDATE\", `insert` FROM t",
        "SELECT 1 -- DELETE\n",
        "SELECT 1 # DELETE",
        "SELECT 1 /* DELETE FROM t */",
        "/* a */ -- b\n # c\n SELECT 1;",
        "SELECT t.update, t.delete FROM t",
        "SELECT N'a', x'41', b'01', _utf8'x', 0x1F, 1e10, .5, -1, \\N",
        "SELECT 5--3",
        "SELECT 1;;",
        "SELECT NOW(), RAND(), UUID(), CURRENT_TIMESTAMP, CURRENT_TIMESTAMP(6)",
        "SELECT DATABASE(), USER(), VERSION()",
        "SELECT /*+ MAX_EXECUTION_TIME(10) */ 1",
        "SELECT /*!40101 1, */ 2",
        "SELECT EXISTS (SELECT 1), NOT (a), INTERVAL(1,2), a MOD (2) FROM t",
        "SELECT MATCH (a,b) AGAINST ('x' IN BOOLEAN MODE) FROM t",
        "SELECT GROUP_CONCAT(a ORDER BY b SEPARATOR ',') FROM t",
        "SELECT 'it''s', 'it\\'s', \"a\"\"b\" FROM t",
        "SELECT sleep(1), benchmark(1,1)",
    ]);
}

#[test]
fn descriptions_and_lists_go_to_a_replica() {
    all_read(&[
        "SHOW TABLES",
        "SHOW FULL TABLES LIKE 'x'",
        "SHOW DATABASES",
        "SHOW CREATE TABLE t",
        "SHOW FULL COLUMNS FROM t",
        "SHOW INDEX FROM t",
        "SHOW KEYS FROM t",
        "SHOW TABLE STATUS",
        "SHOW COLLATION",
        "SHOW CHARACTER SET",
        "DESCRIBE t",
        "DESC t a",
        "EXPLAIN SELECT 1",
        "EXPLAIN FORMAT=JSON SELECT * FROM t",
        "EXPLAIN EXTENDED SELECT 1",
    ]);
}

#[test]
fn what_speaks_of_one_server_goes_to_the_primary() {
    none_read(&[
        "SHOW MASTER STATUS",
        "SHOW BINARY LOGS",
        "SHOW BINLOG EVENTS",
        "SHOW SLAVE STATUS",
        "SHOW ALL SLAVES STATUS",
        "SHOW REPLICAS",
        "SHOW PROCESSLIST",
        "SHOW FULL PROCESSLIST",
        "SHOW STATUS",
        "SHOW GLOBAL STATUS LIKE 'wsrep%'",
        "SHOW ENGINE INNODB STATUS",
        "SHOW WARNINGS",
        "SHOW COUNT(*) WARNINGS",
        "SHOW PROFILES",
        "SELECT @@hostname",
        "SELECT @@read_only",
        "SELECT @@global.sql_mode",
        "SELECT @@server_id",
        "SELECT * FROM information_schema.processlist",
        "SELECT * FROM performance_schema.threads",
        "EXPLAIN FOR CONNECTION 5",
    ]);
}

#[test]
fn writes_go_to_the_primary() {
    let texts = [
        "INSERT INTO t VALUES (1)",
        "insert t (a) select 1",
        "UPDATE t SET a=1",
        "DELETE FROM t",
        "REPLACE INTO t VALUES (1)",
        "LOAD DATA INFILE 'x' INTO TABLE t",
        "CREATE TABLE t (a int)",
        "ALTER TABLE t ADD b int",
        "DROP TABLE t",
        "TRUNCATE t",
        "RENAME TABLE a TO b",
        "GRANT ALL ON *.* TO x",
        "CREATE USER x",
        "ANALYZE TABLE t",
        "OPTIMIZE TABLE t",
        "CALL p()",
        "WITH x AS (SELECT 1) UPDATE t SET a=1",
        "WITH x AS (SELECT 1) DELETE FROM t",
        "ANALYZE UPDATE t SET a=1",
        "ANALYZE FORMAT=JSON DELETE FROM t",
        "SET STATEMENT max_statement_time=1 FOR UPDATE t SET a=1",
        "/*! DELETE FROM t */",
        "/*!40101 DELETE FROM t */",
        "SELECT 1; DELETE FROM t",
        "EXPLAIN DELETE FROM t",
    ];
    none_read(&texts);
    all_have(E::WRITES, &texts);
}

#[test]
fn what_acts_though_it_selects_goes_to_the_primary() {
    none_read(&[
        "SELECT * FROM t FOR UPDATE",
        "SELECT * FROM t FOR SHARE",
        "SELECT * FROM t LOCK IN SHARE MODE",
        "SELECT * FROM (SELECT * FROM t FOR UPDATE) x",
        "SELECT * FROM t FOR/**/UPDATE SKIP LOCKED",
        "(SELECT 1 FOR UPDATE)",
        "SELECT 1 INTO OUTFILE '/tmp/x'",
        "SELECT 1 INTO DUMPFILE '/tmp/x'",
        "SELECT 1 INTO @a",
        "SELECT a, b INTO @a, @b FROM t",
        "SELECT @a := 1",
        "SELECT @a:=@a+1 FROM t",
        "SELECT GET_LOCK('x', 1)",
        "SELECT get_lock ('x', 1)",
        "SELECT RELEASE_LOCK('x')",
        "SELECT LAST_INSERT_ID()",
        "SELECT LAST_INSERT_ID(5)",
        "SELECT @@last_insert_id",
        "SELECT @@identity",
        "SELECT FOUND_ROWS()",
        "SELECT SQL_CALC_FOUND_ROWS * FROM t",
        "SELECT ROW_COUNT()",
        "SELECT @@warning_count",
        "SELECT CONNECTION_ID()",
        "SELECT NEXT VALUE FOR s",
        "SELECT PREVIOUS VALUE FOR s",
        "SELECT NEXTVAL(s)",
        "SELECT SETVAL(s,1)",
        "SELECT MASTER_POS_WAIT('x',1)",
        "SELECT f(1)",
        "SELECT db.f(1)",
        "SELECT db . f (1)",
        "SELECT `f`(1)",
        "SELECT `db`.`f`(1)",
        "SELECT db.count(1)",
        "SELECT now ()",
        "SELECT 1f(2)",
        "SELECT * FROM t WHERE f(a)",
        "WITH x AS (SELECT f(1)) SELECT * FROM x",
        "SELECT * FROM t PROCEDURE ANALYSE()",
        "DO f()",
        "HANDLER t OPEN",
        "EXECUTE s",
        "PREPARE s FROM 'DELETE FROM t'",
        "SET @a=1",
        "USE db",
    ]);
}

#[test]
fn quotes_and_comments_hide_nothing() {
    none_read(&[
        "SELECT '\\'' ; DELETE FROM t",
        "SELECT \"\\\"\" ; DELETE FROM t -- \"",
        "SELECT `a\\`; DELETE FROM t -- `",
        "SELECT 1 /*! ; DELETE FROM t */",
        "SELECT 1 /*!; DELETE FROM t */",
        "SELECT 1 --\tx\n; DELETE FROM t",
        "SELECT 1 # x\n; DELETE FROM t",
        "SELECT 1 --; DELETE FROM t",
        "SELECT '/*' ; DELETE FROM t /* '*/",
        "SELECT 'unterminated",
        "SELECT `unterminated",
        "SELECT /* unterminated",
        "SELECT /*!40101 unterminated",
        "SELECT 1 /* /* */ INTO OUTFILE 'x' */",
        "SELECT 1\0",
        "SELECT 1 /*!50000 FOR UPDATE */",
        "SELECT /*+ x '*/ f() -- ' */ 1",
        "SELECT $$ x $$",
        "BEGIN NOT ATOMIC DELETE FROM t; END",
        "IF 1 THEN DELETE FROM t; END IF",
    ]);
}

#[test]
fn the_mode_decides_what_a_quote_is() {
    let ansi = LexMode { ansi_quotes: true, ..MARIADB };
    let plain = LexMode { no_backslash_escapes: true, ..MARIADB };
    assert!(reads("SELECT \"a\\\" , 1", ansi));
    assert!(!reads("SELECT \"f\"(1)", ansi));
    assert!(reads("SELECT 'a\\', 1", plain));
    assert!(!reads("SELECT 'a\\', f(1), '", plain));
    assert!(!reads("SELECT 'a\\', 1", MARIADB));
    let spaced = LexMode { ignore_space: true, ..MARIADB };
    assert!(reads("SELECT now ()", spaced));
}

#[test]
fn the_version_decides_what_a_comment_is() {
    assert!(!reads("SELECT 1 /*!80000 FOR UPDATE */", MYSQL));
    assert!(reads("SELECT 1 /*!80000 FOR UPDATE */", MARIADB));
    assert!(reads("SELECT 1 /*!100200 FOR UPDATE */", MYSQL));
    assert!(!reads("SELECT 1 /*!100200 FOR UPDATE */", MARIADB));
    assert!(reads("SELECT 1 /*M! FOR UPDATE */", MYSQL));
    assert!(!reads("SELECT 1 /*M! FOR UPDATE */", MARIADB));
    assert!(!reads("SELECT 1 /*M!100200 FOR UPDATE */", MARIADB));
    for flavor in [Flavor::Unknown, Flavor::StarRocks, Flavor::MatrixOne] {
        let mode = LexMode { flavor, server_version: 0, ..MARIADB };
        assert!(!reads("SELECT 1 /*!80000 , 2 */", mode));
        assert!(!reads("SELECT 1 --x", mode));
        assert!(reads("SELECT 1", mode));
    }
}

#[test]
fn what_only_some_of_the_servers_would_run_is_doubtful() {
    let upgraded_by_half = LexMode { newest_version: 110_802, ..MARIADB };
    let effects = |text: &str, mode| analyze(text.as_bytes(), mode, &mut Scratch::new()).effects;
    let hides = "SELECT 1 /*!110000 ; DELETE FROM t */";
    assert!(reads(hides, MARIADB), "no server runs it");
    assert!(effects(hides, upgraded_by_half).contains(E::DOUBTFUL));
    assert!(!reads(hides, upgraded_by_half));
    let upgraded = LexMode { server_version: 110_802, ..upgraded_by_half };
    assert!(effects(hides, upgraded).contains(E::WRITES) && !reads(hides, upgraded));
    for (runs, text) in [(true, "SELECT 1 /*!100200 , 2 */"), (false, "SELECT 1 /*!120000 , 2 */")]
    {
        assert!(reads(text, upgraded_by_half), "{text}: all run it: {runs}");
    }
}

#[test]
fn a_backslash_in_an_unsafe_charset_is_doubtful() {
    let gbk = LexMode { unsafe_charset: true, ..MARIADB };
    let analysis = |text: &[u8]| analyze(text, gbk, &mut Scratch::new()).effects;
    assert!(analysis(b"SELECT '\xbf\\'").contains(E::DOUBTFUL));
    assert!(analysis(b"SELECT '\xbf\x27'").contains(E::DOUBTFUL));
    assert!(analysis(b"SELECT 'a\\n'").contains(E::READ_ONLY_PROVED));
}

#[test]
fn extensions_of_other_databases_go_to_the_primary() {
    none_read(&[
        "ADMIN SHOW FRONTEND CONFIG",
        "SUBMIT TASK AS INSERT INTO t SELECT 1",
        "REFRESH EXTERNAL TABLE t",
        "CANCEL LOAD",
        "EXPORT TABLE t TO 'x'",
        "BACKUP SNAPSHOT x",
        "RESTORE SNAPSHOT x",
        "PAUSE ROUTINE LOAD FOR x",
        "UPGRADE ACCOUNT ALL",
        "nonsense",
    ]);
}

#[test]
fn a_statement_is_of_its_leading_words_kind() {
    let transaction = |read_only| K::StartTransaction { read_only };
    for (text, expected) in [
        ("", K::Empty),
        (" /* x */ ;", K::Empty),
        ("BEGIN", K::Begin),
        ("BEGIN WORK", K::Begin),
        ("START TRANSACTION", transaction(false)),
        ("START TRANSACTION READ ONLY", transaction(true)),
        ("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY", transaction(true)),
        ("START TRANSACTION READ WRITE", transaction(false)),
        ("COMMIT", K::Commit { chain: false, release: false }),
        ("COMMIT WORK AND CHAIN NO RELEASE", K::Commit { chain: true, release: false }),
        ("COMMIT AND NO CHAIN RELEASE", K::Commit { chain: false, release: true }),
        ("ROLLBACK", K::Rollback { to_savepoint: false, chain: false, release: false }),
        (
            "ROLLBACK WORK TO SAVEPOINT a",
            K::Rollback { to_savepoint: true, chain: false, release: false },
        ),
        ("SAVEPOINT a", K::Savepoint),
        ("RELEASE SAVEPOINT a", K::ReleaseSavepoint),
        ("XA START 'a'", K::Xa),
        ("LOCK TABLES t WRITE", K::LockTables),
        ("UNLOCK TABLES", K::UnlockTables),
        ("FLUSH TABLES WITH READ LOCK", K::Flush),
        ("CREATE OR REPLACE TEMPORARY TABLE t (a int)", K::CreateTemporary),
        ("CREATE TEMPORARY TABLE IF NOT EXISTS t SELECT 1", K::CreateTemporary),
        ("DROP TEMPORARY TABLE t", K::DropTemporary),
        ("CREATE PROCEDURE p() BEGIN SELECT 1; SELECT 2; END", K::Ddl),
        ("DEALLOCATE PREPARE s", K::Deallocate),
        ("DROP PREPARE s", K::Deallocate),
        ("EXECUTE IMMEDIATE 'SELECT 1'", K::Execute),
        ("KILL 5", K::Kill { scope: KillScope::Connection }),
        ("KILL HARD QUERY 7", K::Kill { scope: KillScope::Query }),
        ("KILL QUERY ID 9", K::Kill { scope: KillScope::QueryId }),
        ("KILL USER a", K::Kill { scope: KillScope::User }),
        ("SET NAMES utf8", K::Set),
        ("SET STATEMENT a=1 FOR SELECT 1", K::Select),
        ("WITH a AS (SELECT 1) INSERT INTO t SELECT 1", K::Insert),
        ("CHANGE MASTER TO MASTER_HOST='x'", K::Replication),
        ("STOP SLAVE", K::Replication),
        ("START ALL SLAVES", K::Replication),
        ("GET DIAGNOSTICS @a = NUMBER", K::Diagnostics),
        ("SIGNAL SQLSTATE '01000'", K::Signal),
        ("RESIGNAL", K::Signal),
        ("ALTER USER x", K::Grant),
        ("CHECKSUM TABLE t", K::TableMaintenance),
    ] {
        assert_eq!(kind(text), expected, "of {text:?}");
    }
}

/// Behind it was taken for the arguments of a stored function, which binds its session for good.
#[test]
fn returning_is_no_function_where_it_is_a_keyword() {
    for text in ["INSERT INTO t VALUES (1) RETURNING (id)", "DELETE FROM t RETURNING(SELECT 5)"] {
        assert!(!effects(text, MARIADB).contains(E::SIDE_EFFECT_FUNCTION), "{text}");
        assert!(effects(text, MYSQL).contains(E::SIDE_EFFECT_FUNCTION), "{text}");
    }
}

/// Read as calls of stored functions, these would go to the primary and bind their sessions for good.
#[test]
fn a_keyword_before_a_parenthesis_is_no_function() {
    all_read(&[
        "SELECT SQL_NO_CACHE (v) FROM t",
        "SELECT SQL_BUFFER_RESULT(v) FROM t",
        "SELECT HIGH_PRIORITY (v), SQL_BIG_RESULT (v) FROM t",
        "SELECT DISTINCT SQL_SMALL_RESULT SQL_NO_CACHE (v) FROM t",
        "WITH c AS (SELECT 1) SELECT STRAIGHT_JOIN SQL_NO_CACHE (1) FROM c",
        "SELECT * FROM JSON_TABLE('[1]', '$[*]' COLUMNS (a INT PATH '$')) AS j",
        "SELECT * FROM t, JSON_TABLE(t.a, \"$[*]\" COLUMNS(b FOR ORDINALITY, NESTED PATH '$.b'
            COLUMNS(c DATETIME(3) PATH '$', d BIT(8) PATH '$', e CHARACTER VARYING(9) PATH '$'))) AS j",
        "SELECT CAST(v AS DATETIME(6)), CONVERT(v, DATETIME(6)), CAST(v AS CHARACTER(6)) FROM t",
        "SELECT TRIM(BOTH ('x') FROM v), TRIM(LEADING ('x') FROM v), TRIM(TRAILING ('x') FROM v) FROM t",
        "SELECT * FROM t FOR SYSTEM_TIME FROM ('2020-01-01') TO ('2021-01-01')",
        "EXPLAIN (SELECT 1)",
        "DESC (SELECT 1)",
    ]);
    for text in
        ["UPDATE (t CROSS JOIN u) SET t.v = 1", "UPDATE LOW_PRIORITY (t) SET v = 1", "DO (1)"]
    {
        assert!(!effects(text, MARIADB).contains(E::SIDE_EFFECT_FUNCTION), "{text}");
    }
    let counts = effects("SELECT SQL_CALC_FOUND_ROWS (v) FROM t", MYSQL);
    assert!(counts.contains(E::CALC_FOUND_ROWS) && !counts.contains(E::SIDE_EFFECT_FUNCTION));
    assert!(reads("SELECT SQL_CACHE (v) FROM t", MARIADB));
    assert!(reads("SELECT v FROM t GROUP BY ROLLUP (v)", MYSQL));
}

#[test]
fn a_function_may_have_the_name_of_a_keyword_that_is_not_reserved() {
    all_have(
        E::SIDE_EFFECT_FUNCTION,
        &[
            "SELECT COLUMNS(1)",
            "SELECT * FROM JSON_TABLE(COLUMNS(1), '$' COLUMNS (a INT PATH '$')) AS j",
            "SELECT 1, SQL_NO_CACHE(1)",
            "SELECT COUNT(DISTINCT SQL_BUFFER_RESULT(1))",
            "SELECT t.SQL_NO_CACHE(1)",
            "SELECT v FROM t GROUP BY ROLLUP (v)",
        ],
    );
    assert!(!reads("SELECT SQL_CACHE (v) FROM t", MYSQL));
}

#[test]
fn session_state_is_seen() {
    all_have(E::TEMP_TABLE, &["CREATE TEMPORARY TABLE t (a int)"]);
    all_have(E::NAMED_LOCK, &["SELECT GET_LOCK('a',1)", "DO get_lock('a',1)"]);
    for text in ["SELECT IS_USED_LOCK('a') IS NOT NULL", "SELECT IS_FREE_LOCK(?) FROM t"] {
        let asks = effects(text, MARIADB);
        assert!(asks.contains(E::SERVER_SPECIFIC), "{text}: replicas have locks of their own");
        let binds = E::NAMED_LOCK | E::SIDE_EFFECT_FUNCTION | E::READ_ONLY_PROVED;
        assert!(!asks.intersects(binds), "{text}: {asks:?}");
    }
    all_have(E::RELEASES_NAMED_LOCK, &["DO RELEASE_LOCK('a')", "SELECT RELEASE_ALL_LOCKS()"]);
    all_have(
        E::USER_VARIABLE_WRITE,
        &[
            "SET @a=1",
            "SET x=1, @`b`:=2",
            "SELECT 1 INTO @a",
            "LOAD DATA INFILE 'x' INTO TABLE t (a,@b)",
        ],
    );
    all_have(E::USER_VARIABLE_READ, &["SELECT @a", "SET x=@a", "UPDATE t SET a=@'x y'"]);
    all_have(E::HAS_PLACEHOLDER, &["SELECT ?", "INSERT INTO t VALUES (?,?)"]);
    all_have(
        E::BEGINS_TRANSACTION,
        &["BEGIN", "START TRANSACTION", "COMMIT AND CHAIN", "XA START 'x'"],
    );
    all_have(E::ENDS_TRANSACTION, &["COMMIT", "ROLLBACK", "XA COMMIT 'x'"]);
    all_have(
        E::IMPLICIT_COMMIT,
        &["CREATE TABLE t (a int)", "LOCK TABLES t READ", "SET autocommit=1", "BEGIN"],
    );
    all_have(
        E::LOCK_TABLES,
        &["LOCK TABLES t READ", "FLUSH TABLES WITH READ LOCK", "BACKUP LOCK t"],
    );
    all_have(E::MULTI, &["SELECT 1; SELECT 2"]);
    all_have(E::CAN_CHANGE_SESSION, &["CALL p()", "EXECUTE s"]);
}

#[test]
fn what_a_text_asks_of_its_own_statements_is_not_asked_of_the_session() {
    let asks = E::READS_FOUND_ROWS | E::READS_ROW_COUNT;
    for (text, of_session) in [
        ("SELECT FOUND_ROWS()", E::READS_FOUND_ROWS),
        ("SELECT ROW_COUNT(); SELECT 1", E::READS_ROW_COUNT),
        ("SET @a = 1; SELECT FOUND_ROWS(), ROW_COUNT()", E::READS_FOUND_ROWS),
        ("SELECT a FROM t; SELECT FOUND_ROWS(), ROW_COUNT()", E::empty()),
        ("UPDATE t SET a = 1; SELECT ROW_COUNT()", E::empty()),
        ("SELECT 1; SELECT FOUND_ROWS(); SELECT FOUND_ROWS()", E::empty()),
    ] {
        assert_eq!(effects(text, MARIADB) & asks, of_session, "{text:?}");
    }
}

#[test]
fn what_counts_other_rows_than_it_gives_is_seen() {
    all_have(
        E::COUNTS_OTHERWISE,
        &[
            "SELECT a FROM t LIMIT 20, 10",
            "SELECT a FROM t LIMIT ?, ?",
            "SELECT a FROM t LIMIT 10 OFFSET 20",
            "SELECT a FROM t ORDER BY a OFFSET 5 ROWS FETCH NEXT 2 ROWS ONLY",
            "SELECT 1 UNION SELECT 2 LIMIT 1",
            "(SELECT 1) INTERSECT (SELECT 2)",
            "SELECT a FROM t EXCEPT SELECT 1",
            "SELECT a FROM t LIMIT ROWS EXAMINED 10",
        ],
    );
    for text in
        ["SELECT a, b FROM t LIMIT 10", "SELECT t.offset, `union` FROM t", "SELECT a, b FROM t"]
    {
        assert!(!effects(text, MARIADB).contains(E::COUNTS_OTHERWISE), "{text:?}");
    }
}

#[test]
fn names_and_files_are_read_as_the_server_reads_them() {
    let mut scratch = Scratch::new();
    let text = b"USE `a``b`";
    assert_eq!(analyze(text, MARIADB, &mut scratch).schema_used, Some(&b"a`b"[..]));
    let text = b"LOAD DATA LOCAL INFILE 'C:\\\\it''s.csv' INTO TABLE t";
    let analysis = analyze(text, MARIADB, &mut scratch);
    assert_eq!(analysis.local_file, Some(&b"C:\\it's.csv"[..]));
    assert!(analysis.effects.contains(E::LOCAL_INFILE));
    let text = b"PREPARE s1 FROM 'x'";
    assert_eq!(analyze(text, MARIADB, &mut scratch).name.unwrap().of(text), b"s1");
    let text = b"ROLLBACK TO SAVEPOINT `x y`";
    assert_eq!(analyze(text, MARIADB, &mut scratch).name.unwrap().of(text), b"`x y`");
    assert_eq!(
        analyze(b"SELECT 1 FOR UPDATE", MARIADB, &mut scratch).locking,
        Some(LockingClause::Update)
    );
}

#[test]
fn a_hint_steers_a_read_and_never_sends_a_write_to_a_replica() {
    let mut scratch = Scratch::new();
    let mut hint = |text: &str| {
        let analysis = analyze(text.as_bytes(), MARIADB, &mut scratch);
        (analysis.hint, analysis.hint_ignored)
    };
    assert_eq!(hint("/* highgate: primary */ SELECT 1"), (Some(Hint::Primary), false));
    assert_eq!(hint("SELECT 1 /*highgate:replica*/"), (Some(Hint::Replica), false));
    assert_eq!(hint("DELETE FROM t /* highgate: replica */"), (None, true));
    assert_eq!(hint("SELECT 1 -- maxscale route to master"), (Some(Hint::Primary), false));
    assert_eq!(hint("SELECT 1 -- maxscale route to slave"), (Some(Hint::Replica), false));
    assert_eq!(hint("SELECT '/* highgate: primary */'"), (None, false));
    let text = "/* highgate: server=db2 */ SELECT 1";
    let Some(Hint::Server(name)) = hint(text).0 else { panic!("no server") };
    assert_eq!(name.of(text.as_bytes()), b"db2");
}
