//! Statements that mislead: where each goes was decided by hand, from what the server does with it.

use super::{MARIADB, MYSQL};
use crate::sql::{Effects as E, Flavor, LexMode, Scratch, analyze, set_statement};

fn effects(text: &str, mode: LexMode) -> E {
    analyze(text.as_bytes(), mode, &mut Scratch::new()).effects
}

/// Texts of which some go elsewhere than they should, in any of the modes.
fn gone_astray<'t>(texts: &[&'t str], modes: &[LexMode], to_replica: bool) -> Vec<&'t str> {
    let astray = |text: &&str| {
        modes.iter().any(|mode| effects(text, *mode).contains(E::READ_ONLY_PROVED) != to_replica)
    };
    texts.iter().copied().filter(astray).collect()
}

const OTHERS: [LexMode; 2] = [
    LexMode { flavor: Flavor::StarRocks, server_version: 0, ..MARIADB },
    LexMode { flavor: Flavor::MatrixOne, server_version: 0, ..MARIADB },
];

#[test]
fn reads_that_look_like_something_else_go_to_a_replica() {
    let texts = [
        "SELECT /*+ MAX_EXECUTION_TIME(1000) */ a FROM t",
        "SELECT /*+ SET_VAR(sort_buffer_size = 262144) */ a FROM t",
        "WITH RECURSIVE c (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 5) SELECT n FROM c",
        "SELECT doc->'$.a', doc->>'$.b' FROM t",
        "SELECT CASE a WHEN 1 THEN 'UPDATE t' ELSE 'DELETE' END FROM t",
        "SELECT REPLACE(a, 'x', 'y'), INSERT(a, 1, 2, 'z'), TRUNCATE(b, 1) FROM t",
        "SELECT `GET_LOCK`, `nextval` FROM t",
        "SELECT 'x' /* FOR UPDATE */ FROM t",
        "SELECT a FROM t -- INTO OUTFILE 'x'",
        "SELECT a FROM t # FOR UPDATE",
        "TABLE t ORDER BY a LIMIT 2",
        "VALUES ROW(1, 2), ROW(3, 4)",
        "SELECT a AS `for`, b AS 'update' FROM t",
        "SELECT * FROM t USE INDEX (a) IGNORE INDEX FOR ORDER BY (b)",
        "SELECT * FROM t FORCE INDEX FOR GROUP BY (b)",
        "SELECT GROUP_CONCAT(DISTINCT b ORDER BY c SEPARATOR ';') FROM t",
        "SELECT SUM(b) OVER w FROM t WINDOW w AS (PARTITION BY c ROWS BETWEEN 1 PRECEDING AND CURRENT ROW)",
        "SELECT * FROM t WHERE MATCH (a) AGAINST ('x' IN BOOLEAN MODE)",
        "SELECT CAST(a AS CHAR CHARACTER SET utf8mb4), CONVERT(a USING latin1) FROM t",
        "SELECT EXTRACT(YEAR FROM d), d + INTERVAL 1 DAY FROM t",
        "SELECT ROW(1, 2) = (SELECT 1, 2), EXISTS(SELECT 1 FROM t)",
        "SELECT * FROM t, LATERAL (SELECT 1) x",
        "SELECT b'101', 0x41, .5, 1e5, \\N, {d '2020-01-01'}",
        "SELECT a FROM t WHERE a LIKE 'x!%' ESCAPE '!'",
        "SELECT * FROM t PARTITION (p0, p1)",
        "SELECT LEFT(a, 1), RIGHT(a, 1), MOD(a, 2), IF(a, 1, 2) FROM t",
        "SELECT DATE '2020-01-01', TIMESTAMP '2020-01-01 00:00:00'",
        "SELECT * FROM a NATURAL LEFT JOIN b",
        "EXPLAIN FORMAT=JSON SELECT a FROM t",
        "SELECT @a, @b + 1",
        "SELECT DATABASE(), VERSION(), USER(), CURRENT_USER",
    ];
    assert_eq!(gone_astray(&texts, &[MARIADB, MYSQL], true), [""; 0]);
    let of_mariadb = ["SELECT * FROM t FOR SYSTEM_TIME ALL", "VALUES (1, 2), (3, 4)"];
    assert_eq!(gone_astray(&of_mariadb, &[MARIADB], true), [""; 0]);
    let of_others = [
        "SELECT /*+ SET_VAR(query_timeout = 1) */ a FROM t",
        "SELECT a FROM t LIMIT 5",
        "WITH c AS (SELECT a FROM t) SELECT * FROM c",
    ];
    assert_eq!(gone_astray(&of_others, &OTHERS, true), [""; 0]);
}

#[test]
fn what_acts_within_a_read_goes_to_the_primary() {
    let texts = [
        "SELECT LASTVAL(s)",
        "SELECT BENCHMARK(10, f(1))",
        "SELECT a INTO OUTFILE 'x' FROM t",
        "SELECT a FROM t INTO @x FOR UPDATE",
        "SELECT a FROM t WHERE b = 1 FOR UPDATE OF t NOWAIT",
        "SELECT a FROM t FOR SHARE OF t SKIP LOCKED",
        "SELECT a FROM t LOCK  IN /* x */ SHARE MODE NOWAIT",
        "SELECT a FROM (SELECT b FROM u LOCK IN SHARE MODE) x",
        "SELECT (SELECT @a := 1)",
        "SELECT IF(@a IS NULL, @a := 1, @a := @a + 1)",
        "SELECT * FROM t WHERE (@n := @n + 1) < 5",
        "SELECT 1 UNION SELECT a FROM t FOR UPDATE",
        "WITH c AS (SELECT a FROM t FOR UPDATE) SELECT * FROM c",
        "SELECT /*!40001 SQL_NO_CACHE */ SQL_CALC_FOUND_ROWS a FROM t",
        "SELECT 'a' 'b' INTO @x",
        "select\nget_lock\n(\n'x',1)",
        "SELECT x'27' , f(1)",
        "SELECT N'it''s', f(1)",
        "SELECT `a``b(`, f(1)",
        "SELECT sys.ps_thread_id(1)",
        "SELECT MASTER_GTID_WAIT('0-1-1')",
        "SELECT @@GLOBAL . sql_mode",
        "SELECT * FROM t PARTITION (p0) FOR UPDATE",
        "TABLE t INTO OUTFILE 'x'",
        "TABLE t FOR UPDATE",
        "VALUES ROW(1) INTO @x",
        "EXPLAIN ANALYZE SELECT f(1)",
        "EXPLAIN FORMAT=JSON INTO @v SELECT 1",
        "ANALYZE SELECT f(1)",
        "SET STATEMENT max_statement_time=1 FOR SELECT a FROM t FOR UPDATE",
        "SELECT RELEASE_ALL_LOCKS()",
        "SELECT a FROM t WHERE a = NEXT VALUE FOR s",
        "SELECT LAST_INSERT_ID() + 1 FROM dual",
        "SELECT (SELECT FOUND_ROWS())",
        "SELECT @@session . warning_count",
        "SELECT LOAD_FILE('/tmp/x')",
    ];
    assert_eq!(gone_astray(&texts, &[MARIADB, MYSQL], false), [""; 0]);
}

#[test]
fn what_hides_a_write_goes_to_the_primary() {
    let texts = [
        "WITH c AS (SELECT a FROM t) INSERT INTO u SELECT * FROM c",
        "WITH RECURSIVE c AS (SELECT 1), d AS (SELECT 2) DELETE t FROM t JOIN c",
        "WITH c AS (SELECT 1) REPLACE INTO t SELECT * FROM c",
        "PREPARE s FROM @sql",
        "EXECUTE IMMEDIATE CONCAT('DELETE', ' FROM t')",
        "EXECUTE IMMEDIATE 'SELECT ?' USING 1",
        "HANDLER t READ FIRST",
        "DO RELEASE_ALL_LOCKS()",
        "XA START 'x'",
        "XA RECOVER",
        "FOR i IN 1..3 DO SELECT i; END FOR",
        "REPEAT SELECT 1; UNTIL 1 END REPEAT",
        "WHILE 1 DO DELETE FROM t; END WHILE",
        "SELECT 1 /*!50003 INTO OUTFILE 'x' */",
        "/*!50003 CREATE*/ /*!50017 DEFINER=`a`@`b`*/ /*!50003 TRIGGER t BEFORE INSERT ON u FOR EACH ROW SET @a = 1 */",
        "/* x */ /*! INSERT INTO t VALUES (1) */",
        "SELECT 1;;DELETE FROM t",
        "SELECT 1; # x\nDELETE FROM t",
        "DELETE HISTORY FROM t",
        "IMPORT TABLE FROM 'x'",
        "BINLOG 'x'",
        "FLUSH TABLES t FOR EXPORT",
        "PURGE BINARY LOGS TO 'x'",
        "CHANGE REPLICATION SOURCE TO SOURCE_HOST = 'x'",
        "SET RESOURCE GROUP g",
        "SET DEFAULT ROLE r TO u",
        "SET @@persist.max_connections = 1",
        "ALTER INSTANCE ROTATE INNODB MASTER KEY",
        "EXPLAIN ANALYZE UPDATE t SET a = 1",
        "RETURN 1",
    ];
    assert_eq!(gone_astray(&texts, &[MARIADB, MYSQL], false), [""; 0]);
}

#[test]
fn what_other_databases_add_goes_to_the_primary() {
    let texts = [
        "INSERT OVERWRITE t SELECT 1",
        "SHOW PROC '/frontends'",
        "SHOW ROUTINE LOAD",
        "CREATE EXTERNAL CATALOG c PROPERTIES ('type' = 'hive')",
        "REFRESH MATERIALIZED VIEW m",
        "ALTER SYSTEM ADD FOLLOWER 'host:9010'",
        "EXECUTE AS u WITH NO REVERT",
        "ADMIN SET FRONTEND CONFIG ('x' = 'y')",
        "LOAD LABEL db.l (DATA INFILE('x') INTO TABLE t)",
        "STOP ROUTINE LOAD FOR x",
        "KILL ANALYZE 1",
        "SELECT * FROM FILES('path' = 's3://x')",
        "CREATE ACCOUNT a ADMIN_NAME 'x' IDENTIFIED BY 'y'",
        "DROP ACCOUNT a",
        "CREATE SNAPSHOT s FOR ACCOUNT a",
        "RESTORE ACCOUNT a FROM SNAPSHOT s",
        "CREATE PUBLICATION p DATABASE d",
        "SHOW ACCOUNTS",
        "SELECT a FROM t FOR UPDATE",
    ];
    assert_eq!(gone_astray(&texts, &OTHERS, false), [""; 0]);
}

#[test]
fn the_mode_decides_where_a_literal_ends() {
    let plain = LexMode { no_backslash_escapes: true, ..MYSQL };
    let ansi = LexMode { ansi_quotes: true, ..MYSQL };
    for (text, mode, to_replica) in [
        // A backslash is a character: the literal ends before the call.
        ("SELECT '\\', f(1), '', '", plain, false),
        ("SELECT '\\', f(1), '", MYSQL, true),
        // Double quotes name something: a function of that name is called.
        ("SELECT \"get_lock\"('x', 1)", ansi, false),
        ("SELECT \"a\" FROM \"t\" WHERE \"b\" = ';'", ansi, true),
        ("SELECT \"; DELETE FROM t\"", MYSQL, true),
        ("SELECT \"it's\" FROM t WHERE 'x' = \"FOR UPDATE\"", MYSQL, true),
    ] {
        assert_eq!(effects(text, mode).contains(E::READ_ONLY_PROVED), to_replica, "{text}");
    }
}

#[test]
fn a_table_made_of_a_query_runs_what_that_calls() {
    let of = |text: &str| effects(text, MARIADB);
    for text in [
        "CREATE TEMPORARY TABLE x AS SELECT LAST_INSERT_ID() id",
        "CREATE OR REPLACE TABLE x (a INT DEFAULT (f())) SELECT LAST_INSERT_ID()",
    ] {
        assert!(of(text).contains(E::READS_LAST_INSERT_ID), "{text}");
    }
    assert!(of("CREATE TABLE x SELECT GET_LOCK('a', 9)").contains(E::NAMED_LOCK));
    for text in [
        "CREATE VIEW x AS SELECT GET_LOCK('a', 9)",
        "CREATE FUNCTION f() RETURNS INT RETURN (SELECT GET_LOCK('a', 9))",
        "CREATE TABLE x (a INT DEFAULT (f(1)))",
    ] {
        assert!(!of(text).intersects(E::NAMED_LOCK | E::SIDE_EFFECT_FUNCTION), "{text}");
    }
}

#[test]
fn sequences_are_seen_in_oracles_words() {
    for text in ["SELECT s.nextval", "SELECT shop.s.CURRVAL FROM dual"] {
        let found = effects(text, MARIADB);
        assert!(found.contains(E::SEQUENCE | E::SIDE_EFFECT_FUNCTION), "{text}");
    }
    assert!(!effects("SELECT nextval FROM t", MARIADB).contains(E::SEQUENCE));
}

/// Seen: what followed was taken for part of the definition, and LOCK TABLES was left on a shared connection.
#[test]
fn a_name_that_is_a_word_of_definitions_swallows_no_statement() {
    for (text, effect) in [
        ("ALTER TABLE log ADD COLUMN event INT; LOCK TABLES t WRITE", E::LOCK_TABLES),
        ("CREATE TABLE x (event INT); FLUSH TABLES WITH READ LOCK", E::LOCK_TABLES),
        ("ALTER EVENT e ENABLE; SELECT GET_LOCK('m', 5)", E::NAMED_LOCK),
        ("ALTER EVENT e ENABLE; KILL 7", E::KILLS),
        ("CREATE VIEW function AS SELECT 1; SET ROLE r", E::SESSION_STATE),
        ("ALTER TABLE log ADD event INT; SELECT LAST_INSERT_ID()", E::READS_LAST_INSERT_ID),
        (
            "CREATE EVENT e ON SCHEDULE EVERY 1 DAY DO DELETE FROM t; CALL p()",
            E::CAN_CHANGE_SESSION,
        ),
        ("CREATE PROCEDURE p() BEGIN SELECT 1; END; HANDLER t OPEN", E::HANDLER),
        ("CREATE PROCEDURE p() BEGIN SELECT 1; HANDLER t OPEN", E::DOUBTFUL),
    ] {
        let found = effects(text, MARIADB);
        assert!(found.contains(effect | E::MULTI), "{text}: {found:?}");
    }
}

#[test]
fn a_body_is_one_statement_with_all_that_it_stores() {
    for text in [
        "CREATE PROCEDURE p() BEGIN DECLARE a INT; LOCK TABLES t WRITE; KILL 7; END",
        "CREATE TRIGGER t BEFORE INSERT ON u FOR EACH ROW IF NEW.a THEN SET NEW.b = 1; END IF;",
        "ALTER EVENT e DO BEGIN DELETE FROM t; DELETE FROM u; END",
    ] {
        let analysis = analyze(text.as_bytes(), MARIADB, &mut Scratch::new()).statements;
        assert_eq!(analysis, 1, "{text}");
        let not_run = E::MULTI | E::DOUBTFUL | E::LOCK_TABLES | E::KILLS;
        assert!(!effects(text, MARIADB).intersects(not_run), "{text}");
    }
}

/// Seen: such a statement was taken for none at all, and what it did was not followed.
#[test]
fn common_table_expressions_within_parentheses_are_read() {
    let reads = [
        "(WITH q AS (SELECT 1) SELECT * FROM q)",
        "(WITH a AS (SELECT 1) SELECT * FROM a) UNION ALL (WITH b AS (SELECT 2) SELECT * FROM b)",
        "((WITH a (x) AS (SELECT 1), b (y) AS (SELECT 2) (SELECT * FROM a, b)))",
        "WITH a AS (SELECT 1) (WITH b AS (SELECT * FROM a) SELECT * FROM b)",
        "WITH RECURSIVE q AS (SELECT 1 AS a UNION SELECT a FROM q) CYCLE a RESTRICT (SELECT a FROM q)",
    ];
    assert_eq!(gone_astray(&reads, &[MARIADB, MYSQL], true), [""; 0]);
    for (text, effect) in [
        ("(WITH q AS (SELECT 1) SELECT GET_LOCK('m', 5))", E::NAMED_LOCK),
        ("(WITH q AS (SELECT 1) SELECT LAST_INSERT_ID())", E::READS_LAST_INSERT_ID),
        ("(WITH q AS (SELECT 1) SELECT 1); KILL 7", E::KILLS | E::MULTI),
        ("SELECT 1; (WITH q AS (SELECT 1) SELECT 1); CALL p()", E::CAN_CHANGE_SESSION | E::MULTI),
        ("SELECT 1; (WITH q AS (SELECT 1) SELECT 1); TRUNCATE t", E::WRITES | E::MULTI),
        ("(WITH q AS (SELECT 1)); SELECT 1", E::DOUBTFUL | E::MULTI),
        ("SELECT 1; SET STATEMENT a = 1; KILL 7", E::DOUBTFUL | E::KILLS),
        ("SELECT 1; ((", E::DOUBTFUL | E::MULTI),
        ("5", E::DOUBTFUL),
    ] {
        let found = effects(text, MYSQL);
        assert!(found.contains(effect), "{text}: {found:?}");
        assert!(!found.contains(E::READ_ONLY_PROVED), "{text}");
    }
}

/// As of MariaDB 10.11: a no-break space in latin1 is a blank, and a word's letter in utf8mb4.
#[test]
fn a_blank_beyond_ascii_is_doubtful_outside_of_quotes() {
    let latin = LexMode { high_blank: Some(0xa0), ..MARIADB };
    let of = |text: &[u8], mode| analyze(text, mode, &mut Scratch::new()).effects;
    let texts: [&[u8]; 4] = [
        b"SELECT 1;\xa0KILL 7",
        b"SELECT MAX(a) INTO\xa0@v FROM t",
        b"SELECT @v\xa0:= 1",
        b"SELECT 1 --\xa0'\n; KILL 7 -- '",
    ];
    for text in texts {
        assert!(of(text, latin).contains(E::DOUBTFUL), "{}", text.escape_ascii());
    }
    let text = b"SELECT 'a\xa0b', `c\xa0d`, @'e\xa0f' /* \xa0 */";
    assert!(of(text, latin).contains(E::READ_ONLY_PROVED));
    assert!(of(b"SELECT a\xa0 FROM t", MARIADB).contains(E::READ_ONLY_PROVED));
    assert!(set_statement::parse(b"SET\xa0@a = 1", latin).is_err());
    assert!(set_statement::parse(b"SET a\xa0= 1", latin).is_err());
}

#[test]
fn a_word_that_touches_a_number_is_doubtful_where_servers_read_it_apart() {
    let of = |text: &str| effects(text, MARIADB).contains(E::DOUBTFUL);
    for text in [
        "SELECT 1 FROM t WHERE a > 1.5INTO @v",
        "SELECT 1 FROM t WHERE a > 1e5LOCK IN SHARE MODE",
        "SELECT 1 FROM t WHERE a >.5INTO @v",
        "SELECT `t`.2fa FROM t",
        "SELECT t .2fa FROM t",
        "SELECT t. 2fa FROM t",
    ] {
        assert!(of(text), "{text}");
    }
    for text in [
        "SELECT 1.5, 1.5e10, 1.0E+2, 1E-5, 2e, 0x1AF, 1.e5",
        "SELECT 5a, 1f FROM 9b",
        "SELECT u.2fa_secret, app.u.1st_name, t.1e5x FROM users u",
        "SELECT * FROM app.2024_orders",
    ] {
        assert!(!of(text), "{text}");
    }
}

#[test]
fn xa_is_seen_among_several_statements() {
    assert!(effects("SELECT 1; XA START 'x'", MARIADB).contains(E::XA));
    assert!(effects("XA RECOVER", MYSQL).contains(E::XA));
}
