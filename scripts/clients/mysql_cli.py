"""MySQL's own command line programs: the client with all that a person does in it, dump, import, slap, admin."""

import hashlib
import os
import pathlib
import re
import subprocess
import tempfile

from case import DATABASE, HOST, PASSWORD, PORT, SMOKE, USER, case
from lab import mysql

DIRECT = os.environ["DB_WAY"] == "direct"
IS_MYSQL = os.environ.get("DB_SERVER") == "mysql"
# Highgate has TLS at a listener of its own; the server at the same port.
TLS_PORT = PORT if DIRECT else int(os.environ["PORT_CLIENTTLS"])
# MariaDB's accounts have a plugin that clients of MySQL 9 keep in a file.
PLUGINS = pathlib.Path(mysql("mysql")).parent.parent / "root/usr/lib/mysql/plugin"


def call(program, *args, text=None, check=True, port=PORT):
    login = ["--no-defaults", f"-h{HOST}", f"-P{port}", f"-u{USER}", "--protocol=tcp", "--get-server-public-key",
             "--loose-commands"]
    done = subprocess.run([mysql(program), *login, f"--plugin-dir={PLUGINS}", *args], input=text, capture_output=True, timeout=120,
                          text=True, errors="backslashreplace", env={**os.environ, "MYSQL_PWD": PASSWORD})
    output = re.sub(r"\d+\.\d\d+ sec", "N sec", done.stdout + done.stderr)
    if check and done.returncode:
        raise RuntimeError(output)
    return output


def sql(text, *args, check=True, port=PORT):
    return call("mysql", "--ssl-mode=DISABLED", *args, DATABASE, text=text, check=check, port=port)


def digest(text):
    return f"{len(text)} bytes {hashlib.sha256(text.encode()).hexdigest()[:16]}"


def tables():
    sql("""DROP TABLE IF EXISTS t_my, t_my_child; DROP PROCEDURE IF EXISTS p_my;
        CREATE TABLE t_my(id INT PRIMARY KEY AUTO_INCREMENT, a VARCHAR(60) CHARACTER SET utf8mb4, b DECIMAL(10,3), c DATETIME(6),
          d BLOB, e ENUM('x','y'), f JSON, g BIT(9), h SET('p','q')) ENGINE=InnoDB;
        CREATE TABLE t_my_child(id INT, FOREIGN KEY (id) REFERENCES t_my(id));
        INSERT INTO t_my(a,b,c,d,e,f,g,h) WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM s WHERE n < 500)
          SELECT CONCAT('name ', n, ' é€😀'), n/7, '2024-02-29 12:34:56.789012', UNHEX(SHA2(n, 256)), 'x', JSON_OBJECT('n', n), n, 'p,q' FROM s;
        DELIMITER //
        CREATE PROCEDURE p_my(IN n INT, OUT m INT) BEGIN SELECT id FROM t_my WHERE id <= n ORDER BY id; SELECT 'two' AS x; SET m = n * 2; END//
        DELIMITER ;""")


def status():
    """Without what the two ways can't have in common."""
    text = "\n".join(call("mysql", "--ssl-mode=DISABLED", "-t", DATABASE, text=command) for command in ("status", "\\s"))
    left = [line for line in text.splitlines()
            if not re.match(r"(Connection id|Connection:|TCP port|Uptime|Threads|Current user|.*Ver )", line)]
    return " | ".join(line for line in left if line.strip("- "))


def sourced():
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as file:
        file.write("SELECT 1 AS one;\nDELIMITER //\nSELECT 2 AS two; SELECT 3 AS three//\nDELIMITER ;\nUSE mysql\nSELECT DATABASE();\n")
        file.flush()
        return sql(f"source {file.name}\nSELECT DATABASE();\nuse {DATABASE}\nsystem echo hello\n\\! echo again\nSELECT DATABASE()\\g")


def loaded():
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write("".join(f"{n}\tline {n}\n" for n in range(20_000)))
        file.flush()
        text = f"""DROP TABLE IF EXISTS t_load; CREATE TABLE t_load(a INT PRIMARY KEY, b TEXT);
            LOAD DATA LOCAL INFILE '{file.name}' INTO TABLE t_load; SELECT COUNT(*), SUM(a) FROM t_load;
            LOAD DATA LOCAL INFILE '/no/such/file' INTO TABLE t_load;"""
        return sql(text, "--local-infile=1", "-vv", "-f", check=False).replace(file.name, "FILE")


def attributes():
    """Sent by clients of MySQL alone; a server without the component knows no function to read them by."""
    return sql("query_attributes trace 42 who me\nSELECT 5;\nSELECT 6;", "-N")


def encrypted(mode):
    text = call("mysql", f"--ssl-mode={mode}", *(["--ssl-ca=" + os.environ["LAB"] + "/ca.pem"] if mode.startswith("VERIFY") else []),
                DATABASE, text="SELECT 7;\nstatus", port=TLS_PORT)
    return re.findall(r"^\d+$", text, re.M), bool(re.search(r"SSL:\s+Cipher in use", text))


def dump(*options):
    text = call("mysqldump", "--ssl-mode=DISABLED", "--column-statistics=0", "--set-gtid-purged=OFF", "--no-tablespaces", *options,
                DATABASE, "t_my", "t_my_child")
    return re.sub(r"-- (Dump completed|Host:|Server version|MySQL dump).*", "", text)


def restored():
    text = dump("--routines", "--triggers", "--single-transaction")
    sql("CREATE DATABASE IF NOT EXISTS restored")
    call("mysql", "--ssl-mode=DISABLED", "restored", text=text)
    return call("mysql", "--ssl-mode=DISABLED", "-N", "restored", text="CHECKSUM TABLE t_my; DROP DATABASE restored")


def imported():
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder) / "t_import.tsv"
        file.write_text("".join(f"{n}\t{n * n}\n" for n in range(5000)))
        sql("DROP TABLE IF EXISTS t_import; CREATE TABLE t_import(a INT, b BIGINT)")
        said = call("mysqlimport", "--ssl-mode=DISABLED", "--local", DATABASE, str(file))
        return said + sql("SELECT COUNT(*), SUM(b) FROM t_import LOCK IN SHARE MODE", "-N")


def killed():
    other = subprocess.Popen([mysql("mysql"), "--no-defaults", f"-h{HOST}", f"-P{PORT}", f"-u{USER}", "--ssl-mode=DISABLED",
                              "--get-server-public-key", f"--plugin-dir={PLUGINS}", "-N", "--unbuffered",
                              "-e", "SELECT CONNECTION_ID(); SELECT SLEEP(30)"], stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, text=True, env={**os.environ, "MYSQL_PWD": PASSWORD})
    number = other.stdout.readline().strip()
    said = sql(f"DO SLEEP(0.3); KILL QUERY {number}", "-N", check=False)
    return said, other.wait(10), other.communicate()[0]


def slap(*options):
    out = call("mysqlslap", "--ssl-mode=DISABLED", "--auto-generate-sql", "--concurrency=8", "--number-of-queries=400",
               "--auto-generate-sql-load-type=mixed", "--create-schema=slap", *options)
    return out.count("rror")


CASES = {
    "tables": tables,
    "one_statement": lambda: sql("SELECT 1+1 AS two, 'é', NULL, @@character_set_client"),
    "status": status,
    "source_use_system": sourced,
    "columns": lambda: sql("SELECT * FROM t_my ORDER BY id LIMIT 3", "--column-type-info"),
    "vertical_xml_html": lambda: [sql("SELECT id, a, f FROM t_my ORDER BY id LIMIT 2", how) for how in ("-E", "-X", "-H", "-t")],
    "warnings": lambda: sql("SET sql_mode=''; SELECT 1/0, CAST('abc' AS SIGNED); SHOW WARNINGS; SELECT @@warning_count;"
                            "DROP TABLE IF EXISTS nosuch; \\W\nSELECT CAST('x' AS SIGNED); \\w\nSELECT CAST('x' AS SIGNED)", "-vv"),
    "errors": lambda: sql("SELEKT 1; SELECT * FROM nosuch; SHOW ERRORS; INSERT INTO t_my_child VALUES (99999999); SELECT 1",
                          "-f", check=False),
    "procedure": lambda: sql("CALL p_my(3, @m); SELECT @m", "-vv"),
    "transactions": lambda: sql("BEGIN; INSERT INTO t_my(a) VALUES ('gone'); SELECT COUNT(*) FROM t_my WHERE a = 'gone'; ROLLBACK;"
                                "SELECT COUNT(*) FROM t_my WHERE a = 'gone'; SET autocommit=0; DELETE FROM t_my_child; ROLLBACK"),
    "prepared_in_text": lambda: sql("PREPARE s FROM 'SELECT ? + 1'; SET @x = 41; EXECUTE s USING @x; DEALLOCATE PREPARE s"),
    "reset_connection": lambda: sql("SET @a = 1; resetconnection\nSELECT @a; \\x\nSELECT DATABASE()"),
    "init_command": lambda: sql("SELECT @z, @@sql_mode", "--init-command=SET @z=3, sql_mode='ANSI'"),
    "query_attributes": attributes,
    "local_infile": loaded,
    **{f"ssl_{mode.lower()}": (lambda mode=mode: encrypted(mode)) for mode in ("PREFERRED", "REQUIRED", "VERIFY_CA", "VERIFY_IDENTITY")},
    **{f"compressed_{how}": (lambda how=how: digest(sql("SELECT a, HEX(d) FROM t_my ORDER BY id; SELECT REPEAT('abcdefgh', 3*1024*1024)", "-N",
                                                        f"--compression-algorithms={how}", "--max-allowed-packet=64M")))
       for how in (("zlib", "zstd", "zlib,zstd,uncompressed") if IS_MYSQL else ("zlib",))},
    "packet_past_16_mib": lambda: (lambda text: sql(f"SELECT LENGTH('{text}'), SHA2('{text}', 256); SELECT 2", "-N",
                                                    "--max-allowed-packet=64M"))("x" * (17 << 20)),
    "row_past_16_mib": lambda: digest(sql("SELECT REPEAT('abcdefgh', 3*1024*1024), 'end'", "-N", "--max-allowed-packet=64M")),
    "binary_mode": lambda: digest(sql("SELECT d, g FROM t_my ORDER BY id LIMIT 20", "-N", "--binary-mode", "--skip-binary-as-hex")),
    "several_schemas": lambda: sql("USE mysql; SELECT DATABASE(); USE nosuch; SELECT DATABASE()", "-f", check=False),
    "unknown_schema": lambda: call("mysql", "--ssl-mode=DISABLED", "nosuchdb", "-e", "SELECT 1", check=False),
    "kill_query": killed,
    "dump": lambda: digest(dump()),
    "dump_in_a_transaction": lambda: digest(dump("--single-transaction", "--quick", "--hex-blob")),
    "dump_restore": restored,
    "import_local": imported,
    "slap": slap,
    "admin": lambda: call("mysqladmin", "--ssl-mode=DISABLED", "ping") + call("mysqladmin", "--ssl-mode=DISABLED", "create", "made")
        + call("mysqladmin", "--ssl-mode=DISABLED", "--force", "drop", "made"),
    "check": lambda: call("mysqlcheck", "--ssl-mode=DISABLED", DATABASE, "t_my"),
    "show": lambda: call("mysqlshow", "--ssl-mode=DISABLED", DATABASE, "t_my"),
}
NEEDS = {"dump": "mysqldump", "dump_in_a_transaction": "mysqldump", "dump_restore": "mysqldump", "import_local": "mysqlimport",
         "slap": "mysqlslap", "admin": "mysqladmin", "check": "mysqlcheck", "show": "mysqlshow"}
SMOKES = {"tables", "one_statement", "status", "procedure", "local_infile", "query_attributes", "reset_connection"}

if __name__ == "__main__":
    for name, work in CASES.items():
        if (SMOKE and name not in SMOKES) or not mysql(NEEDS.get(name, "mysql")):
            continue
        case(name, work)
