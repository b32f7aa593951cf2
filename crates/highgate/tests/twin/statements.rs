//! What a session may do: texts of every kind that leaves something behind in a session.
//!
//! `{n}` stands for a small number, `{m}` for a larger one, `{v}` for the name of a user variable.

use crate::random::Random;

/// Whose words they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Make {
    #[allow(dead_code, reason = "each test file has one")]
    MariaDb,
    #[allow(dead_code, reason = "each test file has one")]
    MySql,
}

/// Things of one sort: those that both makes have, and those of each alone.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Words<T: 'static> {
    both: &'static [T],
    mariadb: &'static [T],
    mysql: &'static [T],
}

/// What both makes have.
const fn both<T>(both: &'static [T]) -> Words<T> {
    Words { both, mariadb: &[], mysql: &[] }
}

/// What MySQL alone has.
const fn mysql<T>(mysql: &'static [T]) -> Words<T> {
    Words { both: &[], mariadb: &[], mysql }
}

impl<T: Copy> Words<T> {
    const fn own(&self, make: Make) -> &'static [T] {
        match make {
            Make::MariaDb => self.mariadb,
            Make::MySql => self.mysql,
        }
    }

    /// All that `make` has.
    pub(crate) fn all(&self, make: Make) -> impl Iterator<Item = T> {
        self.both.iter().chain(self.own(make)).copied()
    }

    /// One of them.
    pub(crate) fn pick(&self, random: &mut Random, make: Make) -> T {
        let own = self.own(make);
        let at = random.below(self.both.len() + own.len());
        at.checked_sub(self.both.len()).map_or_else(|| self.both[at], |at| own[at])
    }
}

/// Groups of texts; a group is picked first, so that each has its share.
pub(crate) const GROUPS: Words<Words<&str>> = Words {
    both: &[
        READS,
        READS,
        WRITES,
        WRITES,
        SETS,
        SETS,
        CHARSETS,
        VARIABLES,
        TRANSACTIONS,
        TRANSACTIONS,
        LEFTOVERS,
        COUNTS,
        LEFTOVERS,
        INSERT_IDS,
        INSERT_IDS,
        TEMPORARY,
        LOCKS,
        SQL_PREPARED,
        SCHEMAS,
        CALLS,
        ERRORS,
        MULTI,
        AUTOCOMMIT,
        DDL,
    ],
    mariadb: &[],
    mysql: &[ROLES, NEWER, XA, BACKUP],
};

const READS: Words<&str> = Words {
    both: &[
        "SELECT * FROM t ORDER BY id LIMIT {n}",
        "SELECT COUNT(*), SUM(a) FROM t",
        "SELECT id, a AS x, b FROM shop.t WHERE a = {n}",
        "SELECT a, b FROM u WHERE id > {m} ORDER BY id LIMIT 5",
        "SELECT 1",
        "SELECT 'a' 'b', \"x\", 1 || 0",
        "SELECT DATABASE(), USER() IS NOT NULL",
        "SELECT CONCAT('x', {n}) AS `a b`",
        "(SELECT 1) UNION (SELECT {n}) ORDER BY 1",
        "WITH c AS (SELECT {n} AS z) SELECT * FROM c",
        "SELECT * FROM t WHERE id = {n} FOR UPDATE",
        "SELECT @@autocommit, @@sql_mode, @@time_zone, @@sql_select_limit",
        "SHOW TABLES",
        "SHOW COLUMNS FROM shop.t",
        "SELECT 'ä', LENGTH('ä'), _latin1'x'",
        "DO 1",
    ],
    mariadb: &[
        "SELECT @@character_set_client, @@character_set_results, @@collation_connection, @@tx_isolation",
    ],
    mysql: &[
        "SELECT @@character_set_client, @@character_set_results, @@collation_connection, @@transaction_isolation",
    ],
};

const WRITES: Words<&str> = both(&[
    "INSERT INTO u (a, b) VALUES ({n}, 'x{m}')",
    "INSERT INTO t (a, b) VALUES ({m}, 'ä')",
    "UPDATE t SET b = 'y{n}' WHERE id = {n}",
    "UPDATE u SET a = a + 1 WHERE id % 7 = {n}",
    "DELETE FROM u WHERE id < {m} LIMIT 2",
    "INSERT IGNORE INTO t (a) VALUES ({n})",
    "INSERT INTO u (b) VALUES ('far too long for it')",
    "INSERT INTO u (a) VALUES ('{n}x')",
    "UPDATE t SET a = a WHERE id = {n}",
]);

const SETS: Words<&str> = Words {
    both: &[
        "SET sql_mode = ''",
        "SET sql_mode = 'ANSI_QUOTES'",
        "SET sql_mode = 'NO_BACKSLASH_ESCAPES,PIPES_AS_CONCAT'",
        "SET sql_mode = DEFAULT",
        "SET SESSION sql_mode = TRADITIONAL",
        "SET @@session.sql_mode = CONCAT(@@sql_mode, ',STRICT_TRANS_TABLES')",
        "SET LOCAL time_zone = '+0{n}:00'",
        "SET time_zone = 'SYSTEM'",
        "SET time_zone = DEFAULT",
        "SET sql_select_limit = {m}",
        "SET sql_select_limit = DEFAULT",
        "SET @@sql_select_limit := 18446744073709551615, @@group_concat_max_len = {m}",
        "SET group_concat_max_len = DEFAULT, time_zone = '-0{n}:30'",
        "SET group_concat_max_len = {n} * 100",
        "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
        "SET SESSION TRANSACTION READ WRITE",
        "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY",
        "SET SQL_SAFE_UPDATES = 1",
        "SET SQL_SAFE_UPDATES = OFF",
        "SET wait_timeout = DEFAULT",
        "SET sql_auto_is_null = {n} > 4",
        "SET optimizer_switch = 'mrr=on'",
        "SET optimizer_switch = DEFAULT",
        "SET foreign_key_checks = 0, unique_checks = OFF",
        "SET foreign_key_checks = 1, unique_checks = ON",
        "SET auto_increment_increment = {n}, auto_increment_offset = 1",
        "SET auto_increment_increment = DEFAULT, auto_increment_offset = DEFAULT",
        "SET timestamp = 100000{n}",
        "SET timestamp = DEFAULT",
        "SET div_precision_increment = {n}",
        "SET max_sort_length = DEFAULT",
        "SELECT {n} / 7, NOW() > '1980-01-01', @@group_concat_max_len, @@wait_timeout, @@timestamp > 2000000",
        "SELECT @@auto_increment_increment, @@foreign_key_checks, @@optimizer_switch LIKE '%mrr=on%'",
        "SELECT \"x\", 'it\\'s', 'a' || 'b'",
    ],
    mariadb: &[
        "SET tx_isolation = 'SERIALIZABLE'",
        "SET tx_isolation = DEFAULT, tx_read_only = DEFAULT",
        "SET wait_timeout = 1000{n}, lock_wait_timeout = 0",
        "SET STATEMENT sql_mode = 'ANSI_QUOTES' FOR SELECT \"x\"",
    ],
    mysql: &[
        "SET transaction_isolation = 'SERIALIZABLE'",
        "SET transaction_isolation = DEFAULT, transaction_read_only = DEFAULT",
        "SET wait_timeout = 1000{n}, lock_wait_timeout = 1",
        "SET default_collation_for_utf8mb4 = utf8mb4_general_ci",
        "SET default_collation_for_utf8mb4 = DEFAULT",
        "SET show_create_table_skip_secondary_engine = {n} > 2",
        "SET block_encryption_mode = 'aes-256-cbc'",
        "SET sql_require_primary_key = OFF, information_schema_stats_expiry = {m}",
        "SET SESSION cte_max_recursion_depth = {m}",
        "SET PERSIST_ONLY max_points_in_geometry = 6553{n}",
        "RESET PERSIST IF EXISTS max_points_in_geometry",
        "SELECT @@cte_max_recursion_depth, @@block_encryption_mode, @@default_collation_for_utf8mb4",
        "SELECT /*+ SET_VAR(sort_buffer_size = 262144) */ @@sort_buffer_size > 0",
    ],
};

const CHARSETS: Words<&str> = Words {
    both: &[
        "SET NAMES utf8mb4",
        "SET NAMES latin1",
        "SET NAMES 'utf8mb4' COLLATE 'utf8mb4_bin'",
        "SET NAMES DEFAULT",
        "SET CHARACTER SET DEFAULT",
        "SET CHARSET latin1",
        "SET character_set_results = NULL",
        "SET character_set_results = utf8mb4",
        "SET collation_connection = latin1_german1_ci",
        "SET character_set_connection = utf8mb4, collation_connection = DEFAULT",
        "SET character_set_client = latin1",
        "SET collation_connection = @@collation_database",
        "SELECT 'ö', CHARSET('x'), COLLATION('x'), HEX('ö')",
        "INSERT INTO u (b) VALUES ('öäü')",
        "SELECT b, HEX(b) FROM u ORDER BY id DESC LIMIT 3",
        "SHOW VARIABLES LIKE 'character_set_c%'",
        "SHOW VARIABLES LIKE 'collation%'",
    ],
    mariadb: &["SET CHARACTER SET utf8"],
    mysql: &["SET CHARACTER SET utf8mb4"],
};

const VARIABLES: Words<&str> = Words {
    both: &[
        "SET @{v} = {n}",
        "SET @{v} = 'text{m}'",
        "SET @{v} := NULL",
        "SET @{v} = (SELECT MAX(id) FROM t)",
        "SET @{v} = @{v} + 1",
        "SET @{v} = -{n}.5",
        "SET @{v} = 'ä', @c = {n}",
        "SET @{v} = @@sql_mode",
        "SET @{v} = 0x4142, sql_select_limit = 10",
        "SELECT @{v} := {m}",
        "SELECT @a, @b, @c, COLLATION(@a)",
        "SELECT MAX(a) INTO @{v} FROM u",
        "SET sql_mode = @{v}",
        "SET @old = @@sql_mode, sql_mode = 'NO_AUTO_VALUE_ON_ZERO'",
        "SET sql_mode = @old",
    ],
    mariadb: &["SELECT @{v} + 0, @{v} = 'text1'"],
    mysql: &["SELECT @{v} = 'text1'"],
};

const TRANSACTIONS: Words<&str> = Words {
    both: &[
        "BEGIN",
        "START TRANSACTION",
        "START TRANSACTION READ ONLY",
        "START TRANSACTION WITH CONSISTENT SNAPSHOT",
        "COMMIT",
        "COMMIT",
        "COMMIT",
        "ROLLBACK",
        "ROLLBACK",
        "COMMIT AND CHAIN",
        "SAVEPOINT s{n}",
        "ROLLBACK TO SAVEPOINT s{n}",
        "RELEASE SAVEPOINT s{n}",
        "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE",
        "SET TRANSACTION READ ONLY",
        "SET TRANSACTION ISOLATION LEVEL READ UNCOMMITTED, READ WRITE",
        "INSERT INTO u (a) VALUES ({m})",
        "UPDATE t SET a = a + 1000 WHERE id = {n}",
        "SELECT COUNT(*) FROM u",
    ],
    mariadb: &["SELECT @@in_transaction"],
    mysql: &[],
};

const AUTOCOMMIT: Words<&str> = Words {
    both: &[
        "SET autocommit = 0",
        "SET autocommit = 1",
        "SET autocommit = ON",
        "SET @@autocommit = OFF",
        "SET autocommit = DEFAULT",
        "INSERT INTO u (a) VALUES ({n})",
        "COMMIT",
        "ROLLBACK",
        "SELECT COUNT(*) FROM u",
    ],
    mariadb: &["SELECT @@autocommit, @@in_transaction"],
    mysql: &["SELECT @@autocommit"],
};

const LEFTOVERS: Words<&str> = Words {
    both: &[
        "SHOW WARNINGS",
        "SHOW WARNINGS LIMIT 1",
        "SHOW ERRORS",
        "SHOW COUNT(*) WARNINGS",
        "SELECT @@warning_count, @@error_count",
        "SELECT ROW_COUNT()",
        "SELECT SQL_CALC_FOUND_ROWS id FROM t ORDER BY id LIMIT 2",
        "SELECT 1/0",
        "DROP TABLE IF EXISTS nowhere_{n}",
        "CREATE TABLE IF NOT EXISTS shop.t (id INT)",
        "SELECT id FROM t ORDER BY id LIMIT {n}",
        "UPDATE u SET b = 'xx' LIMIT 3",
        "GET DIAGNOSTICS @a = NUMBER",
        "SHOW STATUS LIKE 'Nothing'",
        "SELECT 1 FROM DUAL",
        "SELECT EXTRACT(YEAR FROM '2001-01-02'), TRIM('x' FROM 'xa')",
    ],
    mariadb: &["SELECT FOUND_ROWS()", "SELECT CAST('x{n}' AS INT)", "EXPLAIN EXTENDED SELECT 1"],
    mysql: &["SELECT CAST('x{n}' AS SIGNED)", "EXPLAIN FORMAT=TREE SELECT 1"],
};

/// What the statement before left, asked for in all ways that texts have.
const COUNTS: Words<&str> = Words {
    both: &[
        "SELECT id FROM t ORDER BY id LIMIT 1, {n}",
        "SELECT id FROM t ORDER BY id LIMIT {n} OFFSET 2",
        "SELECT id FROM t UNION SELECT {m}",
        "SELECT SQL_CALC_FOUND_ROWS id FROM t ORDER BY id LIMIT {n}",
        "SELECT id FROM t ORDER BY id LIMIT {n}",
        "SELECT MAX(a) INTO @a FROM u",
        "UPDATE u SET a = a + 1 WHERE id % 3 = 1",
        "SHOW TABLES",
        "INSERT INTO u (a) SELECT a FROM t ORDER BY id LIMIT {n}",
        "SELECT 1 FROM t WHERE ROW_COUNT() = -1 LIMIT 1",
        "SET @{v} = ROW_COUNT()",
        "INSERT INTO u (a) VALUES (ROW_COUNT())",
        "UPDATE u SET b = '{n}{m}' LIMIT 2; SELECT ROW_COUNT()",
        "SELECT ROW_COUNT(); SELECT 2",
        "EXECUTE c{n}",
        "SELECT CONNECTION_ID() = (SELECT CONNECTION_ID()) AS same",
        "SELECT CONNECTION_ID() <=> c FROM (SELECT CONNECTION_ID() AS c) AS d",
        "SELECT shop.f_last()",
        "BEGIN",
        "COMMIT",
    ],
    mariadb: &[
        "SELECT FOUND_ROWS() AS n",
        "SELECT FOUND_ROWS() * 2, ROW_COUNT() AS c",
        "SELECT (SELECT FOUND_ROWS()), 1",
        "SELECT d.n FROM (SELECT FOUND_ROWS() AS n) AS d",
        "INSERT INTO u (a) SELECT FOUND_ROWS()",
        "SELECT 1; SELECT FOUND_ROWS()",
        "PREPARE c{n} FROM 'SELECT FOUND_ROWS(), ROW_COUNT()'",
        "EXECUTE IMMEDIATE 'SELECT ROW_COUNT()'",
        "SIGNAL SQLSTATE '01000'",
    ],
    mysql: &["PREPARE c{n} FROM 'SELECT ROW_COUNT()'"],
};

const INSERT_IDS: Words<&str> = Words {
    both: &[
        "INSERT INTO t (b) VALUES ('i')",
        "INSERT INTO t (b) VALUES ('i'), ('j'), ('k')",
        "INSERT INTO t (id, b) VALUES (NULL, 'n')",
        "INSERT INTO t (id, b) VALUES ({m}{n}, 'e')",
        "INSERT INTO t (id, b) VALUES (0, 'z'), (DEFAULT, 'd')",
        "INSERT INTO t SET b = 's'",
        "INSERT INTO t (b) SELECT b FROM u ORDER BY id LIMIT 2",
        "INSERT INTO u (b) VALUES ('{n}')",
        "REPLACE INTO t (id, b) VALUES ({n}, 'r')",
        "REPLACE INTO t (a, b) VALUES ({n}, 'r')",
        "INSERT INTO t (a) VALUES ({n}) ON DUPLICATE KEY UPDATE b = 'dup'",
        "INSERT INTO t (a) VALUES ({n}) ON DUPLICATE KEY UPDATE id = LAST_INSERT_ID(id), b = 'd{m}'",
        "INSERT INTO t (a) VALUES (NULL), ({n})",
        "SELECT LAST_INSERT_ID()",
        "SELECT LAST_INSERT_ID()",
        "select  last_insert_id( );",
        "SELECT LAST_INSERT_ID(), 'x'",
        "SELECT @@last_insert_id, @@identity",
        "SELECT LAST_INSERT_ID({m})",
        "UPDATE t SET a = LAST_INSERT_ID(a + 2000) WHERE id = {n}",
        "SET LAST_INSERT_ID = {m}",
        "SET insert_id = 5000{n}",
        "SELECT * FROM t WHERE id = LAST_INSERT_ID()",
        "INSERT INTO w (t_id) VALUES (LAST_INSERT_ID())",
        "INSERT INTO trg (x) VALUES ({n})",
        "SELECT f_insert({n})",
        "DELETE FROM w WHERE t_id = LAST_INSERT_ID()",
    ],
    mariadb: &["INSERT INTO t (b) VALUES ('ret') RETURNING id, b"],
    mysql: &[],
};

const TEMPORARY: Words<&str> = both(&[
    "CREATE TEMPORARY TABLE tmp (id INT AUTO_INCREMENT PRIMARY KEY, v INT)",
    "CREATE TEMPORARY TABLE IF NOT EXISTS tmp2 AS SELECT id FROM t ORDER BY id LIMIT 3",
    "INSERT INTO tmp (v) VALUES ({n}), ({m})",
    "SELECT * FROM tmp",
    "SELECT * FROM tmp2",
    "DROP TEMPORARY TABLE IF EXISTS tmp",
    "DROP TEMPORARY TABLE tmp2",
    "CREATE TEMPORARY TABLE t LIKE shop.t",
    "DROP TEMPORARY TABLE t",
]);

const LOCKS: Words<&str> = both(&[
    "SELECT GET_LOCK('l{n}', 0)",
    "SELECT RELEASE_LOCK('l{n}')",
    "SELECT RELEASE_ALL_LOCKS()",
    "DO RELEASE_LOCK('l{n}')",
    "SELECT IS_FREE_LOCK('l{n}')",
    "LOCK TABLES t WRITE",
    "LOCK TABLES u READ, t READ",
    "UNLOCK TABLES",
    "UNLOCK TABLES",
    "SELECT COUNT(*) FROM t",
    "INSERT INTO u (a) VALUES ({n})",
]);

const SQL_PREPARED: Words<&str> = Words {
    both: &[
        "PREPARE p{n} FROM 'SELECT ? + 1 AS plus, @a'",
        "PREPARE p{n} FROM 'INSERT INTO u (a) VALUES (?)'",
        "SET @x = {n}",
        "EXECUTE p{n} USING @x",
        "EXECUTE p{n} USING @x",
        "DEALLOCATE PREPARE p{n}",
    ],
    mariadb: &["EXECUTE IMMEDIATE 'SELECT {n}'"],
    mysql: &[],
};

const SCHEMAS: Words<&str> = both(&[
    "USE shop",
    "USE other",
    "USE `shop`",
    "USE nowhere",
    "CREATE DATABASE IF NOT EXISTS side",
    "DROP DATABASE IF EXISTS side",
    "SELECT DATABASE()",
    "SELECT * FROM o LIMIT 3",
    "SELECT COUNT(*) FROM shop.u",
    "SHOW TABLES",
]);

const CALLS: Words<&str> = Words {
    both: &[
        "CALL shop.p_two()",
        "CALL shop.p_cursor()",
        "CALL shop.p_out({n}, @{v})",
        "SELECT @{v}",
        "CALL shop.p_error()",
        "CALL shop.p_set({n})",
        "CALL shop.p_warn()",
        "SELECT shop.f_plain({n})",
        "CALL shop.p_nowhere()",
    ],
    mariadb: &["BEGIN NOT ATOMIC DECLARE i INT DEFAULT {n}; SELECT i; END"],
    mysql: &[],
};

const ERRORS: Words<&str> = both(&[
    "SELEC 1",
    "SELECT * FROM nowhere",
    "SELECT nothing FROM shop.t",
    "SET nothing = 1",
    "SET sql_mode = 'nothing'",
    "SET NAMES nothing",
    "SET @{v} = {n}, nothing = 2",
    "SET time_zone = 'Nowhere'",
    "SET sql_select_limit = 5, sql_mode = 'wrong'",
    "INSERT INTO t (id) VALUES (1)",
    "INSERT INTO t (a) VALUES (1), (1)",
    "SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'no'",
    "",
    ";",
    "/* only a comment */",
    "SELECT 'open",
]);

const MULTI: Words<&str> = Words {
    both: &[
        "SELECT 1; SELECT {n}",
        "SET @{v} = {n}; SELECT @{v}",
        "INSERT INTO u (a) VALUES ({n}); SELECT LAST_INSERT_ID()",
        "SELECT 1; SELECT * FROM nowhere; SELECT 2",
        "BEGIN; UPDATE t SET b = 'multi' WHERE id = {n}; COMMIT",
        "SET sql_mode = 'ANSI_QUOTES'; SET sql_mode = ''",
        "USE other; SELECT DATABASE(); USE shop",
        "SET autocommit = 0; INSERT INTO u (a) VALUES (1); COMMIT; SET autocommit = 1",
        "DROP TABLE IF EXISTS nowhere; SHOW WARNINGS",
        "SELECT 1; ",
        "SELECT 1; SET TRANSACTION READ ONLY",
        "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE; SET TRANSACTION READ ONLY",
        "COMMIT; SET TRANSACTION ISOLATION LEVEL READ COMMITTED",
    ],
    mariadb: &[
        "SELECT CAST('x{n}' AS INT); SELECT 2",
        "INSERT IGNORE INTO t (a) VALUES ({n}); SELECT 1",
    ],
    mysql: &["SELECT CAST('x{n}' AS SIGNED); SELECT 2"],
};

const DDL: Words<&str> = Words {
    both: &[
        "CREATE TABLE IF NOT EXISTS d{n} (id INT AUTO_INCREMENT PRIMARY KEY, v INT)",
        "INSERT INTO d{n} (v) VALUES ({m})",
        "SELECT * FROM d{n} ORDER BY id DESC LIMIT 2",
        "DROP TABLE IF EXISTS d{n}",
        "TRUNCATE TABLE w",
    ],
    mariadb: &[
        "ALTER TABLE d{n} ADD COLUMN IF NOT EXISTS w VARCHAR(9) DEFAULT 'w'",
        "ALTER TABLE d{n} DROP COLUMN IF EXISTS w",
    ],
    mysql: &[
        "ALTER TABLE d{n} ADD COLUMN w VARCHAR(9) DEFAULT 'w'",
        "ALTER TABLE d{n} DROP COLUMN w",
    ],
};

/// What other roles may do depends on the connection's active ones.
const ROLES: Words<&str> = mysql(&[
    "SET ROLE reader",
    "SELECT 1; SET ROLE reader",
    "SET ROLE NONE",
    "SET ROLE ALL",
    "SET ROLE DEFAULT",
    "SET ROLE nobody",
    "SELECT CURRENT_ROLE()",
    "SET RESOURCE GROUP USR_default",
    "SET RESOURCE GROUP nowhere",
]);

const NEWER: Words<&str> = mysql(&[
    "TABLE w LIMIT 2",
    "VALUES ROW(1, {n}), ROW(2, 'x')",
    "SELECT id FROM t INTERSECT SELECT {n}",
    "SELECT id FROM t EXCEPT SELECT {n} ORDER BY 1 LIMIT 3",
    "WITH RECURSIVE c AS (SELECT 1 AS z UNION ALL SELECT z + 1 FROM c WHERE z < {n}) SELECT * FROM c",
    "SELECT id, ROW_NUMBER() OVER (ORDER BY id) FROM t LIMIT 2",
    "SELECT * FROM t WHERE id = {n} FOR SHARE NOWAIT",
    "SELECT id FROM t WHERE id < 3 FOR UPDATE SKIP LOCKED",
    "SELECT COUNT(*) FROM (SELECT 1) AS d",
    "EXPLAIN FORMAT=JSON INTO @{v} SELECT 1",
    "SELECT @{v} IS NULL",
    "SELECT {n}, {m} INTO @a, @{v}",
    "SELECT j.x FROM JSON_TABLE('[{n}]', '$[*]' COLUMNS (x INT PATH '$')) AS j",
    "INSERT INTO hid (a) VALUES ({n})",
    "SELECT * FROM hid ORDER BY my_row_id DESC LIMIT 1",
    "SELECT my_row_id FROM hid LIMIT 1",
    "INSERT INTO t (a) VALUES ({n}) AS new ON DUPLICATE KEY UPDATE b = CONCAT('n', new.a)",
    "SET @x = 1; DO SLEEP(0)",
    "EXPLAIN FOR CONNECTION 99999999",
    "SELECT LAST_INSERT_ID(), ROW_COUNT()",
    "SELECT JSON_VALUE('{\"a\": {n}}', '$.a')",
]);

const XA: Words<&str> = mysql(&[
    "XA START 'x{n}'",
    "XA END 'x{n}'",
    "XA PREPARE 'x{n}'",
    "XA COMMIT 'x{n}'",
    "XA ROLLBACK 'x{n}'",
    "XA COMMIT 'x{n}' ONE PHASE",
]);

const BACKUP: Words<&str> = mysql(&[
    "LOCK INSTANCE FOR BACKUP",
    "UNLOCK INSTANCE",
    "UNLOCK INSTANCE",
    "SELECT COUNT(*) FROM t",
]);

/// Texts for COM_STMT_PREPARE, with the kinds of their parameters: `i` integer, `s` text, `d` double, `a` any.
pub(crate) const PREPARED: Words<(&str, &str)> = Words {
    both: &[
        ("SELECT 1", ""),
        ("SELECT ? AS p, ? AS q", "aa"),
        ("SELECT * FROM t WHERE id = ?", "a"),
        ("SELECT * FROM shop.d1 ORDER BY id LIMIT 2", ""),
        ("SELECT * FROM shop.d2 WHERE id > ?", "i"),
        ("SELECT id, a, b FROM t WHERE a > ? ORDER BY id LIMIT 4", "a"),
        ("SELECT id FROM u ORDER BY id LIMIT ?", "i"),
        ("INSERT INTO u (a, b) VALUES (?, ?)", "as"),
        ("INSERT INTO t (a) VALUES (?)", "i"),
        ("INSERT INTO t (id, b) VALUES (?, ?)", "as"),
        ("REPLACE INTO t (a, b) VALUES (?, 'p')", "i"),
        ("INSERT INTO t (b) VALUES (?) ON DUPLICATE KEY UPDATE b = 'x'", "s"),
        ("UPDATE t SET b = ? WHERE id = ?", "sa"),
        ("DELETE FROM u WHERE a = ? LIMIT 1", "a"),
        ("CALL shop.p_two()", ""),
        ("CALL shop.p_cursor()", ""),
        ("CALL shop.p_out(?, ?)", "ia"),
        ("SET @a = ?", "a"),
        ("SELECT @a, @b, DATABASE(), @@sql_mode", ""),
        ("SELECT \"id\" FROM t ORDER BY id LIMIT 1", ""),
        ("SELECT LAST_INSERT_ID()", ""),
        ("SELECT LENGTH(?), ?", "sa"),
        ("COMMIT", ""),
        ("SET sql_mode = ''", ""),
        ("SHOW WARNINGS", ""),
        ("SELEC ?", ""),
        ("SELECT 1/0, ?", "d"),
        ("CREATE TEMPORARY TABLE IF NOT EXISTS tmp3 (a INT)", ""),
        ("USE shop", ""),
        ("SELECT SQL_CALC_FOUND_ROWS id FROM t ORDER BY id LIMIT 1", ""),
        ("SELECT ROW_COUNT()", ""),
        ("SELECT id FROM t ORDER BY id LIMIT ?, 2", "i"),
        ("SELECT ROW_COUNT(), ?", "i"),
        ("INSERT INTO u (a) VALUES (ROW_COUNT() + ?)", "i"),
        ("SELECT CONNECTION_ID() = (SELECT CONNECTION_ID()) AS same, ?", "i"),
        ("SELECT LAST_INSERT_ID() + ?, shop.f_last()", "i"),
        ("SELECT @@warning_count, @@error_count", ""),
    ],
    mariadb: &[
        ("BEGIN NOT ATOMIC SELECT ?; END", "i"),
        ("SELECT FOUND_ROWS()", ""),
        ("SELECT FOUND_ROWS() AS n", ""),
        ("SELECT FOUND_ROWS() + ? AS n", "i"),
        ("SELECT (SELECT FOUND_ROWS())", ""),
    ],
    mysql: &[],
};

/// What both servers begin with.
pub(crate) const SETUP: Words<&str> = Words {
    both: &[
        "CREATE DATABASE IF NOT EXISTS shop",
        "CREATE DATABASE IF NOT EXISTS other CHARACTER SET latin1",
        "CREATE TABLE shop.t (id INT AUTO_INCREMENT PRIMARY KEY, a INT, b VARCHAR(10), UNIQUE KEY (a))",
        "CREATE TABLE shop.u (id INT AUTO_INCREMENT PRIMARY KEY, a INT, b VARCHAR(10))",
        "CREATE TABLE shop.w (id INT AUTO_INCREMENT PRIMARY KEY, t_id BIGINT)",
        "CREATE TABLE shop.trg (id INT AUTO_INCREMENT PRIMARY KEY, x INT)",
        "CREATE TABLE other.o (id INT PRIMARY KEY, c CHAR(3))",
        "INSERT INTO other.o VALUES (1, 'a'), (2, 'b')",
        "INSERT INTO shop.t (a, b) VALUES (1, 'one'), (2, 'two'), (3, 'three')",
        "CREATE TRIGGER shop.trg_ai AFTER INSERT ON shop.trg FOR EACH ROW INSERT INTO shop.w (t_id) VALUES (NEW.id)",
        "CREATE PROCEDURE shop.p_cursor() BEGIN DECLARE c CURSOR FOR SELECT 1; OPEN c; CLOSE c; SELECT 1 AS one; SELECT 2 AS two; END",
        "CREATE PROCEDURE shop.p_two() BEGIN SELECT 1 AS one; SELECT 'a' AS a, 2 AS two; END",
        "CREATE PROCEDURE shop.p_out(IN x INT, OUT y INT) BEGIN SELECT x; SET y = x * 2; END",
        "CREATE PROCEDURE shop.p_error() BEGIN SELECT 1; SIGNAL SQLSTATE '45000'; END",
        "CREATE PROCEDURE shop.p_set(IN x INT) BEGIN SET @b = x; SET SESSION div_precision_increment = x; END",
        "CREATE FUNCTION shop.f_plain(x INT) RETURNS INT DETERMINISTIC RETURN x + 1",
        "CREATE FUNCTION shop.f_insert(x INT) RETURNS INT BEGIN INSERT INTO shop.w (t_id) VALUES (x); RETURN LAST_INSERT_ID(); END",
    ],
    mariadb: &[
        "CREATE PROCEDURE shop.p_warn() BEGIN SELECT CAST('x' AS INT); END",
        "CREATE FUNCTION shop.f_last() RETURNS BIGINT RETURN LAST_INSERT_ID()",
    ],
    mysql: &[
        "CREATE PROCEDURE shop.p_warn() BEGIN SELECT CAST('x' AS SIGNED); END",
        "CREATE TABLE shop.hid (my_row_id BIGINT AUTO_INCREMENT INVISIBLE PRIMARY KEY, a INT)",
        "CREATE ROLE reader",
        "GRANT SELECT ON shop.* TO reader",
        "CREATE FUNCTION shop.f_last() RETURNS BIGINT DETERMINISTIC RETURN LAST_INSERT_ID()",
    ],
};
