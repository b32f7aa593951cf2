"""Python drivers through one set of cases: PyMySQL, mysqlclient, mysql-connector-python (C and pure)."""

import datetime
import decimal
import sys
import threading
import time

from case import DATABASE, HOST, PASSWORD, PORT, SMOKE, USER, case

DRIVER = sys.argv[1]


def connect(**more):
    if DRIVER == "pymysql":
        import pymysql
        return pymysql.connect(**{**dict(host=HOST, port=PORT, user=USER, password=PASSWORD, database=DATABASE,
                                         local_infile=True, charset="utf8mb4"), **more})
    if DRIVER == "mysqlclient":
        import MySQLdb
        return MySQLdb.connect(**{**dict(host=HOST, port=PORT, user=USER, password=PASSWORD, database=DATABASE,
                                         local_infile=1, charset="utf8mb4"), **more})
    import mysql.connector
    pure = DRIVER == "connector-pure"
    return mysql.connector.connect(**{**dict(host=HOST, port=PORT, user=USER, password=PASSWORD, database=DATABASE,
                                             use_pure=pure, allow_local_infile=True, charset="utf8mb4",
                                             collation="utf8mb4_general_ci"), **more})


def ask(connection, text, args=()):
    cursor = connection.cursor()
    cursor.execute(text, args) if args else cursor.execute(text)
    rows = list(cursor.fetchall())
    cursor.close()
    return rows


def do(connection, *texts):
    cursor = connection.cursor()
    for text in texts:
        cursor.execute(text)
    cursor.close()


def types():
    with_types = connect()
    do(with_types, "DROP TABLE IF EXISTS py_t", """CREATE TABLE py_t(i BIGINT UNSIGNED, f DOUBLE, d DECIMAL(20,5), t DATETIME(6), da DATE,
       ti TIME, y YEAR, s TEXT, b BLOB, bi BIT(9), e ENUM('a','b'), st SET('x','y'))""")
    cursor = with_types.cursor()
    row = (2**64 - 1, 1.5, decimal.Decimal("12345.67890"), datetime.datetime(2024, 2, 29, 1, 2, 3, 4), datetime.date(1999, 12, 31),
           "-12:13:14", 2024, "é😀", b"\x00\xff", 257, "b", "x,y")
    cursor.execute("INSERT INTO py_t VALUES (" + ",".join(["%s"] * 12) + ")", row)
    with_types.commit()
    rows = ask(with_types, "SELECT *, st + 0, CONCAT(st) FROM py_t")
    # A set has no order of its own.
    rows = [[sorted(field) if isinstance(field, set) else field for field in row] for row in rows]
    cursor.execute("SELECT * FROM py_t")
    cursor.fetchall()
    return rows, [column[:2] for column in cursor.description]


def many():
    c = connect()
    do(c, "DROP TABLE IF EXISTS py_m", "CREATE TABLE py_m(a INT PRIMARY KEY AUTO_INCREMENT, b VARCHAR(20))")
    cursor = c.cursor()
    cursor.executemany("INSERT INTO py_m(b) VALUES (%s)", [(f"v{n}",) for n in range(500)])
    told = cursor.rowcount, cursor.lastrowid
    c.commit()
    return told, ask(c, "SELECT COUNT(*), MIN(a), MAX(a) FROM py_m"), ask(c, "SELECT LAST_INSERT_ID()")


def implicit_transaction():
    a, b = connect(), connect(autocommit=True)
    do(a, "DELETE FROM py_m WHERE a > 490")
    before = ask(b, "SELECT COUNT(*) FROM py_m")
    a.rollback()
    after = ask(a, "SELECT COUNT(*) FROM py_m")
    return before, after


def own_writes():
    """What was written is read, wherever the read goes."""
    c = connect(autocommit=True)
    do(c, "DROP TABLE IF EXISTS py_w", "CREATE TABLE py_w(a INT)")
    seen = []
    for n in range(30):
        do(c, f"INSERT INTO py_w VALUES ({n})")
        seen.append(ask(c, "SELECT COUNT(*) FROM py_w")[0][0])
    return seen


def procedure():
    c = connect()
    do(c, "DROP PROCEDURE IF EXISTS py_p", """CREATE PROCEDURE py_p(IN n INT, OUT m INT) BEGIN SELECT n; SELECT n + 1, 'x';
       SET m = n * 10; END""")
    cursor = c.cursor()
    out = cursor.callproc("py_p", (4, 0))
    sets = []
    if hasattr(cursor, "stored_results") and "connector" in DRIVER:
        sets = [result.fetchall() for result in cursor.stored_results()]
        return tuple(out), sets
    while True:
        if cursor.description:
            sets.append(list(cursor.fetchall()))
        if not cursor.nextset():
            break
    return sets, ask(c, "SELECT @_py_p_1")


def errors():
    c, told = connect(), []
    for text in ("SELEKT", "SELECT * FROM nosuch", "INSERT INTO py_m(a) VALUES (1)", "SELECT nofunc()", "KILL 4294967295", "USE nosuch",
                 "SET no_such_variable = 1", "CREATE TABLE py_m(a INT)", "DO 1/0"):
        try:
            do(c, text)
            told.append("no error")
        except Exception as error:  # noqa: BLE001
            told.append((type(error).__name__, *error.args[:2]))
    return told


def warnings():
    c = connect()
    cursor = c.cursor()
    cursor.execute("SET sql_mode = ''")
    cursor.execute("SELECT CAST('12abc' AS SIGNED), 1/0")
    rows = list(cursor.fetchall())
    return rows, ask(c, "SHOW WARNINGS"), ask(c, "SHOW WARNINGS")


def session_state():
    c = connect(autocommit=True)
    do(c, "SET @v = 'kept', SESSION sql_mode = 'ANSI_QUOTES', time_zone = '+03:00', lock_wait_timeout = 77")
    seen = [ask(c, "SELECT @v, @@sql_mode, @@time_zone, @@lock_wait_timeout") for _ in range(3)]
    do(c, "SET sql_mode = DEFAULT, time_zone = DEFAULT")
    return seen, ask(c, "SELECT @@time_zone, @@sql_mode = @@global.sql_mode")


def local_file():
    import tempfile
    c = connect(autocommit=True)
    do(c, "DROP TABLE IF EXISTS py_l", "CREATE TABLE py_l(a INT, b VARCHAR(10))")
    with tempfile.NamedTemporaryFile("w") as file:
        file.write("".join(f"{n}\t{n}\n" for n in range(3000)))
        file.flush()
        do(c, f"LOAD DATA LOCAL INFILE '{file.name}' INTO TABLE py_l")
    return ask(c, "SELECT COUNT(*), SUM(a) FROM py_l")


def killed():
    a, b = connect(autocommit=True), connect(autocommit=True)
    number = ask(a, "SELECT CONNECTION_ID()")[0][0]
    greeted = a.thread_id() if callable(getattr(a, "thread_id", None)) else getattr(a, "connection_id", number)
    def late():
        time.sleep(0.4)
        do(b, f"KILL QUERY {number}")
    other = threading.Thread(target=late)
    other.start()
    started = time.monotonic()
    try:
        said = ask(a, "SELECT SLEEP(20)")
    except Exception as error:  # noqa: BLE001
        said = error.args[:2]
    other.join()
    still = ask(a, "SELECT 5")
    do(b, f"KILL {number}")
    time.sleep(0.2)
    try:
        gone = ask(a, "SELECT 6")
    except Exception as error:  # noqa: BLE001
        gone = error.args[0] in (2006, 2013, 2055, 1927)
    return greeted == number, said, time.monotonic() - started < 10, still, gone


def long_text():
    c = connect()
    text = "y" * (17 << 20)
    return ask(c, "SELECT LENGTH(%s), MD5(%s)", (text, text)), len(ask(c, "SELECT REPEAT('z', 17825792)")[0][0])


def compressed():
    if DRIVER == "pymysql":
        return "it has none"
    c = connect(compress=True)
    # The pure connector reads no row of more than 128 KiB: it lies in more than two compressed packets.
    text = "compress me " * (10_000 if DRIVER == "connector-pure" else 100_000)
    got = ask(c, "SELECT %s, LENGTH(%s)", (text, text))[0]
    rows = ask(c, "SELECT seq, MD5(seq) FROM seq_1_to_3000")
    return got[0] == text, got[1], rows[-1], ask(c, "SELECT 1")


def ping_and_change():
    c = connect()
    c.ping()
    do(c, "SET @x = 1")
    if DRIVER == "mysqlclient":
        c.change_user(USER, PASSWORD, DATABASE)
    elif "connector" in DRIVER:
        c.cmd_change_user(USER, PASSWORD, DATABASE)
    else:
        c.select_db("mysql")
        c.select_db(DATABASE)
        return ask(c, "SELECT @x, DATABASE()")
    return ask(c, "SELECT @x, DATABASE()")


def reset():
    c = connect()
    do(c, "SET @x = 1, sql_mode = 'ANSI'")
    if "connector" in DRIVER:
        c.cmd_reset_connection()
    return ask(c, "SELECT @x, @@sql_mode")


def stats():
    c = connect()
    if DRIVER == "mysqlclient":
        return "Uptime" in c.stat()
    if "connector" in DRIVER:
        return "Uptime" in str(c.cmd_statistics()) or "uptime" in str(c.cmd_statistics()).lower()
    return None


def prepared():
    """mysql-connector-python alone has prepared statements."""
    if "connector" not in DRIVER:
        return None
    c = connect(autocommit=True)
    cursor = c.cursor(prepared=True)
    got = []
    for n in (1, 2, 3):
        cursor.execute("SELECT a, b FROM py_m WHERE a <= %s ORDER BY a", (n,))
        got.append(cursor.fetchall())
    cursor.execute("INSERT INTO py_m(b) VALUES (%s)", ("prepared",))
    got.append(cursor.rowcount)
    do(c, "ALTER TABLE py_m ADD COLUMN extra INT DEFAULT 7")
    for n in (1, 2):
        cursor.execute("SELECT * FROM py_m WHERE a <= %s ORDER BY a", (n,))
        got.append((cursor.fetchall(), cursor.column_names))
    do(c, "ALTER TABLE py_m DROP COLUMN extra")
    cursor.execute("SELECT * FROM py_m WHERE a <= %s ORDER BY a", (1,))
    got.append((cursor.fetchall(), cursor.column_names))
    return got


def unbuffered():
    c = connect()
    if DRIVER == "pymysql":
        import pymysql.cursors
        cursor = c.cursor(pymysql.cursors.SSCursor)
    elif DRIVER == "mysqlclient":
        import MySQLdb.cursors
        cursor = c.cursor(MySQLdb.cursors.SSCursor)
    else:
        cursor = c.cursor(buffered=False)
    cursor.execute("SELECT seq, REPEAT('q', 200) FROM seq_1_to_20000")
    return sum(row[0] for row in cursor.fetchall())


def isolation():
    c = connect()
    do(c, "SET TRANSACTION ISOLATION LEVEL READ UNCOMMITTED", "START TRANSACTION READ ONLY")
    rows = ask(c, "SELECT COUNT(*) FROM py_m")
    try:
        do(c, "INSERT INTO py_m(b) VALUES ('no')")
    except Exception as error:  # noqa: BLE001
        rows.append(error.args[0])
    c.rollback()
    return rows


def many_at_once():
    failed = []
    def work(number):
        try:
            c = connect()
            for n in range(20):
                got = ask(c, "SELECT %s + 0, CONNECTION_ID()", (number,))
                if int(got[0][0]) != number:
                    failed.append(got)
                c.commit()
            c.close()
        except Exception as error:  # noqa: BLE001
            failed.append(repr(error))
    threads = [threading.Thread(target=work, args=(n,)) for n in range(20)]
    [t.start() for t in threads], [t.join() for t in threads]
    return failed


def charset():
    c = connect(charset="latin1", **({"collation": "latin1_german1_ci"} if "connector" in DRIVER else {}))
    return ask(c, "SELECT @@character_set_client, @@collation_connection, HEX('é')"), ask(c, "SELECT 'ü'")


def wrong_login(**more):
    try:
        connect(**more)
        return "logged in"
    except Exception as error:  # noqa: BLE001
        return error.args[0], str(error.args[1]).split("@")[0]


CASES = dict(types=types, many=many, implicit_transaction=implicit_transaction, own_writes=own_writes, procedure=procedure,
             errors=errors, warnings=warnings, session_state=session_state, local_file=local_file, killed=killed,
             long_text=long_text, compressed=compressed, ping_and_change=ping_and_change, reset=reset, stats=stats, prepared=prepared,
             unbuffered=unbuffered, isolation=isolation, many_at_once=many_at_once, charset=charset,
             wrong_password=lambda: wrong_login(password="wrong"), unknown_user=lambda: wrong_login(user="nobody"),
             no_password=lambda: wrong_login(password=""), unknown_schema=lambda: wrong_login(database="nosuch"))
SMOKES = {"types", "many", "implicit_transaction", "own_writes", "procedure", "errors", "prepared", "compressed", "wrong_password"}

if __name__ == "__main__":
    for name, work in CASES.items():
        if not SMOKE or name in SMOKES:
            case(name, work)
