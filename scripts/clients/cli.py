"""MariaDB's command line programs: the client, dump and restore, import, slap, admin, check."""

import hashlib
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import time

from case import DATABASE, HOST, PASSWORD, PORT, SMOKE, USER, case

LOGIN = ["--no-defaults", f"-h{HOST}", f"-P{PORT}", f"-u{USER}", f"-p{PASSWORD}", "--protocol=tcp"]
UTF8 = "--default-character-set=utf8mb4"
IS_MYSQL = os.environ.get("DB_SERVER") == "mysql"


def rows(count):
    """What MariaDB's sequence engine gives, of MySQL too."""
    if IS_MYSQL:
        return f"(WITH RECURSIVE s(seq) AS (SELECT 1 UNION ALL SELECT seq + 1 FROM s WHERE seq < {count}) SELECT seq FROM s) AS numbers"
    return f"seq_1_to_{count}"


def call(program, *args, text=None, check=True):
    done = subprocess.run([program, *LOGIN, *args], input=text, capture_output=True, timeout=120, text=True, errors="backslashreplace")
    output = done.stdout + done.stderr
    output = re.sub(r"\d+\.\d\d\d sec", "N sec", output)
    if check and done.returncode:
        raise RuntimeError(output)
    return output


def sql(text, *args, check=True):
    return call("mariadb", UTF8, *args, DATABASE, text=text, check=check)


def digest(text):
    return f"{len(text)} bytes {hashlib.sha256(text.encode()).hexdigest()[:16]}"


TABLES = f"""
DROP TABLE IF EXISTS t_cli, t_child; DROP PROCEDURE IF EXISTS p_cli; DROP VIEW IF EXISTS v_cli;
CREATE TABLE t_cli(id INT PRIMARY KEY AUTO_INCREMENT, a VARCHAR(40) CHARACTER SET utf8mb4, b DECIMAL(10,3),
  c DATETIME(6), d BLOB, e ENUM('x','y'), f JSON) ENGINE=InnoDB;
CREATE TABLE t_child(id INT, FOREIGN KEY (id) REFERENCES t_cli(id));
INSERT INTO t_cli(a,b,c,d,e,f) SELECT CONCAT('name ', seq, ' é€😀'), seq/7, '2024-02-29 12:34:56.789012',
  UNHEX(SHA2(seq, 256)), IF(seq % 2, 'x', 'y'), JSON_OBJECT('n', seq) FROM {rows(1000)};
CREATE VIEW v_cli AS SELECT id, a FROM t_cli WHERE id < 10;
DELIMITER //
CREATE PROCEDURE p_cli(IN n INT, OUT m INT) BEGIN SELECT id FROM t_cli WHERE id <= n ORDER BY id; SELECT 'two' AS x;
  SET m = n * 2; END//
DELIMITER ;
"""


def tables():
    sql(TABLES)
    # Other sessions read it from the replica: what they find there at once is another case.
    for _ in range(200):
        if sql("SELECT COUNT(*) FROM t_cli", "-N", check=False).strip() == "1000":
            break
        time.sleep(0.05)


def compressed():
    rows = sql("SELECT a, HEX(d) FROM t_cli ORDER BY id; SELECT REPEAT('x', 100000)", "--compress", "-N")
    status = sql("status", "--compress")
    return digest(rows), re.findall(r"Protocol:.*", status)


def load_local():
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write("".join(f"{n}\tline {n}\n" for n in range(20_000)))
        file.flush()
        text = f"""DROP TABLE IF EXISTS t_load; CREATE TABLE t_load(a INT PRIMARY KEY, b TEXT);
            LOAD DATA LOCAL INFILE '{file.name}' INTO TABLE t_load; SELECT COUNT(*), SUM(a) FROM t_load;
            LOAD DATA LOCAL INFILE '{file.name}' REPLACE INTO TABLE t_load LINES TERMINATED BY '\\n';
            SHOW WARNINGS; LOAD DATA LOCAL INFILE '/no/such/file' INTO TABLE t_load;"""
        return sql(text, "--local-infile=1", "-vv", "-f", check=False).replace(file.name, "FILE")


def dump(*options):
    text = call("mariadb-dump", *options, DATABASE, "t_cli", "t_child", "v_cli")
    return re.sub(r"-- (Dump completed|Host:).*", "", text)


def dump_of_all_kinds():
    """Triggers, views, routines, generated columns and every byte in blobs: the same bytes both ways."""
    sql("""DROP TABLE IF EXISTS t_kinds, t_log; DROP VIEW IF EXISTS v_kinds; DROP FUNCTION IF EXISTS f_kinds;
        CREATE TABLE t_log(a INT);
        CREATE TABLE t_kinds(id INT PRIMARY KEY, b LONGBLOB, n INT AS (id * 2) STORED, g GEOMETRY, x BIT(9));
        CREATE TRIGGER tr_kinds AFTER INSERT ON t_kinds FOR EACH ROW INSERT INTO t_log VALUES (NEW.id);
        CREATE VIEW v_kinds AS SELECT id, LENGTH(b) AS l FROM t_kinds;
        CREATE FUNCTION f_kinds(a INT) RETURNS INT DETERMINISTIC RETURN a + 1;
        SET @all = x'EVERY'; INSERT INTO t_kinds(id, b, g, x) SELECT seq, REPEAT(@all, seq * 20), POINT(seq, 1), seq FROM ROWS;"""
        .replace("EVERY", bytes(range(256)).hex()).replace("ROWS", rows(60)))
    options = ("--single-transaction", "--routines", "--triggers", "--events", "--skip-dump-date", "--max-allowed-packet=64M")
    text = call("mariadb-dump", *options, DATABASE, "t_kinds", "t_log", "v_kinds")
    return digest(re.sub(r"-- Host:.*", "", text)), "tr_kinds" in text, "f_kinds" in text


def remote_binlog():
    """The binary log, read as a replica reads it."""
    position = sql("FLUSH BINARY LOGS; SHOW MASTER STATUS", "-N").split()[0]
    sql("DROP TABLE IF EXISTS t_log2; CREATE TABLE t_log2(a INT, b TEXT); INSERT INTO t_log2 SELECT seq, MD5(seq) FROM seq_1_to_500;"
        "UPDATE t_log2 SET b = 'x' WHERE a < 9; FLUSH BINARY LOGS")
    text = call("mariadb-binlog", "--read-from-remote-server", "--verbose", "--base64-output=decode-rows", position)
    return digest("\n".join(line for line in text.splitlines() if line.startswith("###")))


def restore():
    text = dump("--routines", "--triggers", "--single-transaction")
    sql("CREATE DATABASE IF NOT EXISTS restored")
    call("mariadb", UTF8, "restored", text=text)
    checks = call("mariadb", "-N", "restored", text="CHECKSUM TABLE t_cli; SELECT COUNT(*) FROM v_cli LOCK IN SHARE MODE; DROP DATABASE restored")
    return checks


def imported():
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder) / "t_import.tsv"
        file.write_text("".join(f"{n}\t{n * n}\n" for n in range(5000)))
        sql("DROP TABLE IF EXISTS t_import; CREATE TABLE t_import(a INT, b BIGINT)")
        said = call("mariadb-import", "--local", DATABASE, str(file))
        return said + sql("SELECT COUNT(*), SUM(b) FROM t_import LOCK IN SHARE MODE", "-N")


def big_packet():
    text = "x" * (17 << 20)
    return sql(f"SELECT LENGTH('{text}'), MD5('{text}'); SELECT 2", "-N", "--max-allowed-packet=64M")


def big_row():
    return digest(sql("SELECT REPEAT('abcdefgh', 3*1024*1024), 'end'", "-N", "--max-allowed-packet=64M"))


def kill_other():
    """A client's statement is killed by the id that it knows itself by."""
    other = subprocess.Popen(["mariadb", *LOGIN, "-N", "--unbuffered", "-e", "SELECT CONNECTION_ID(); SELECT SLEEP(30)"],
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    number = other.stdout.readline().strip()
    said = sql(f"DO SLEEP(0.3); KILL QUERY {number}", "-N", check=False)
    return said, other.wait(10), other.communicate()[0]


def slap():
    out = call("mariadb-slap", "--auto-generate-sql", "--concurrency=8", "--number-of-queries=400",
               "--auto-generate-sql-load-type=mixed", "--create-schema=slap", "--silent", check=True)
    return out.count("rror")


def slap_prepared():
    query = "SELECT a FROM t_cli WHERE id = 7; INSERT INTO t_load(a) VALUES (7) ON DUPLICATE KEY UPDATE a = a"
    out = call("mariadb-slap", f"--create-schema={DATABASE}", "--no-drop", "--query", query, "--delimiter=;",
               "--concurrency=4", "--number-of-queries=200", "--silent")
    return out.count("rror")


CASES = {
    "one_statement": lambda: sql("SELECT 1+1 AS two, 'é', NULL, @@character_set_client"),
    "numbered_columns": lambda: sql("SELECT * FROM t_cli ORDER BY id LIMIT 3", "--column-type-info"),
    "several_statements": lambda: sql("SET @a = 5; SELECT @a; INSERT INTO t_cli(a) VALUES ('neu'); SELECT LAST_INSERT_ID() > 0;"
                                      "DELETE FROM t_cli WHERE a = 'neu'; SELECT ROW_COUNT()", "-vv"),
    "warnings_are_shown": lambda: sql("SET sql_mode=''; SELECT 1/0, CAST('abc' AS SIGNED); SHOW WARNINGS; SHOW COUNT(*) WARNINGS;"
                                      "SELECT @@warning_count; DROP TABLE IF EXISTS nosuch; SHOW WARNINGS", "-vv", "--show-warnings"),
    "errors_have_their_numbers": lambda: sql("SELEKT 1; SELECT * FROM nosuch; SHOW ERRORS; INSERT INTO t_child VALUES (99999999);"
                                             "SHOW WARNINGS; SELECT 1", "-f", check=False),
    "procedure_of_several_results": lambda: sql("CALL p_cli(3, @m); SELECT @m", "-vv"),
    "transactions": lambda: sql("BEGIN; INSERT INTO t_cli(a) VALUES ('gone'); SELECT COUNT(*) FROM t_cli WHERE a = 'gone';"
                                "ROLLBACK; SELECT COUNT(*) FROM t_cli WHERE a = 'gone'; SET autocommit=0; DELETE FROM t_cli; ROLLBACK;"
                                "SET autocommit=1; SELECT COUNT(*) FROM t_cli"),
    "defaults_of_variables": lambda: sql("SET sql_mode=DEFAULT; SET NAMES DEFAULT; SET time_zone=default; SET CHARACTER SET default;"
                                         "SELECT @@sql_mode, @@time_zone, @@character_set_client, @@collation_connection;"
                                         "SET NAMES latin1; SELECT @@character_set_results, 'é'; SET NAMES utf8mb4 COLLATE utf8mb4_bin;"
                                         "SELECT @@collation_connection"),
    "temporary_tables": lambda: sql("CREATE TEMPORARY TABLE tt(a INT); INSERT INTO tt VALUES (1),(2); SELECT SUM(a) FROM tt; DROP TABLE tt"),
    "prepared_in_text": lambda: sql("PREPARE s FROM 'SELECT ? + 1'; SET @x = 41; EXECUTE s USING @x; DEALLOCATE PREPARE s;"
                                    "EXECUTE IMMEDIATE 'SELECT 7'"),
    "use_and_unknown_schema": lambda: sql("USE mysql; SELECT DATABASE(); USE nosuch; SELECT DATABASE()", "-f", check=False),
    "unknown_schema_at_login": lambda: call("mariadb", "nosuchdb", "-e", "SELECT 1", check=False),
    "no_schema": lambda: call("mariadb", "-e", "SELECT DATABASE(); SELECT * FROM nothing", "-f", check=False),
    "character_set_of_login": lambda: sql("SELECT @@character_set_client, @@collation_connection, HEX('é')", "--default-character-set=latin1"),
    "init_command": lambda: sql("SELECT @z, @@sql_mode", "--init-command=SET @z=3, sql_mode='ANSI'"),
    "locks": lambda: sql("LOCK TABLES t_cli WRITE; SELECT COUNT(*) FROM t_cli; UNLOCK TABLES; SELECT GET_LOCK('l', 1), IS_USED_LOCK('l') = CONNECTION_ID(),"
                         "RELEASE_LOCK('l')"),
    "connection_id_is_one": lambda: sql("SELECT CONNECTION_ID() = @@pseudo_thread_id; SELECT COUNT(*) > 0 FROM information_schema.processlist"
                                        " WHERE id = CONNECTION_ID()", "-N"),
    "found_rows": lambda: sql("SELECT SQL_CALC_FOUND_ROWS id FROM t_cli LIMIT 2; SELECT FOUND_ROWS()", "-N"),
    "field_list": lambda: call("mariadb", "-A", DATABASE, "-e", "SHOW COLUMNS FROM t_cli"),
    "auto_rehash": lambda: call("mariadb", "--auto-rehash", DATABASE, "-e", "SELECT 1"),
    "load_data_local": load_local,
    "multi_statement_packet": lambda: sql("DELIMITER //\nSELECT 1; SELECT 2; SELECT 3//\nDELIMITER ;\nSELECT 4"),
    "dump": lambda: digest(dump()),
    "dump_in_a_transaction": lambda: digest(dump("--single-transaction", "--quick", "--hex-blob")),
    "dump_with_locks": lambda: digest(dump("--lock-tables", "--extended-insert", "--tz-utc")),
    # By COM_REFRESH, which MySQL 9 no longer knows: there they fail both ways.
    "dump_flushing_logs": lambda: digest(dump("--flush-logs", "--skip-dump-date")),
    "dump_flushing_logs_in_a_transaction": lambda: digest(dump("--flush-logs", "--single-transaction", "--skip-dump-date")),
    "dump_flushing_logs_under_lock": lambda: digest(dump("--flush-logs", "--lock-all-tables", "--flush-privileges", "--skip-dump-date")),
    "dump_restore": restore,
    "dump_of_all_kinds": dump_of_all_kinds,
    "remote_binlog": remote_binlog,
    "compressed": compressed,
    "compressed_big": lambda: digest(sql("SELECT REPEAT('abcdefgh', 3*1024*1024)", "-N", "--compress", "--max-allowed-packet=64M")),
    "import_local": imported,
    "packet_past_16_mib": big_packet,
    "row_past_16_mib": big_row,
    "kill_query": kill_other,
    "slap": slap,
    "slap_queries": slap_prepared,
    "admin_ping": lambda: call("mariadb-admin", "ping"),
    "admin_version": lambda: re.findall(r"Server version\s+(\S+)", call("mariadb-admin", "version")),
    "admin_create_drop": lambda: call("mariadb-admin", "create", "made") + call("mariadb-admin", "--force", "drop", "made"),
    "admin_flush": lambda: call("mariadb-admin", "flush-logs", "flush-tables", "flush-privileges", "refresh", "reload"),
    "check": lambda: call("mariadb-check", DATABASE, "t_cli"),
    "show": lambda: call("mariadb-show", DATABASE, "t_cli"),
    "wrong_password": lambda: re.sub(r"'[\d.]+'|'localhost'", "'HOST'", call("mariadb", "-pwrong", "-e", "SELECT 1", check=False)),
    "unknown_user": lambda: re.sub(r"'[\d.]+'|'localhost'", "'HOST'", call("mariadb", "-unobody", "-e", "SELECT 1", check=False)),
}
SMOKES = {"one_statement", "several_statements", "warnings_are_shown", "procedure_of_several_results", "load_data_local",
          "dump_restore", "transactions", "wrong_password"}

# MariaDB's program does not read MySQL's log.
MARIADB_ONLY = {"remote_binlog"}

if __name__ == "__main__":
    os.environ.pop("MYSQL_PWD", None)
    if not shutil.which("mariadb"):
        raise SystemExit("skip: no mariadb client")
    case("tables", tables)
    for name, work in CASES.items():
        if (not SMOKE or name in SMOKES) and not (IS_MYSQL and name in MARIADB_ONLY):
            case(name, work)
