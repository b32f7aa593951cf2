"""Runs the test suite that a driver ships, pointed at the address in the environment."""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

import catalog
from case import DATABASE, HOST, PASSWORD, PORT, USER

HOME = pathlib.Path(os.environ["CLIENTS_HOME"])
NAME = sys.argv[1]


# The folders of suites that are not called as the driver is.
FOLDERS = {"go": "mysql-1.", "node": "mysql-2.", "dbd_mysql": "dbd-mysql-", "dbd_mariadb": "dbd-mariadb-", "php_mysqli": "php-", "php_pdo": "php-",
           "rust_mysql_async": "mysql_async-", "rust_sqlx": "sqlx-"}


def folder():
    name = FOLDERS.get(NAME, NAME + "-")
    return next(place for place in HOME.glob("suites/*/") if place.name.lower().startswith(name))


def pytest(*arguments, cwd=None, **environment):
    run = [sys.executable, "-m", "pytest", "-rA", "--tb=line", "-p", "no:cacheprovider", "-q", *arguments]
    sys.exit(subprocess.run(run, cwd=cwd or folder(), env={**os.environ, **environment}).returncode)


def pymysql():
    settings = [dict(host=HOST, port=PORT, user=USER, password=PASSWORD, database=name, use_unicode=True, local_infile=True)
                for name in ("test1", "test2")]
    (folder() / "pymysql/tests/databases.json").write_text(json.dumps(settings))
    pytest("pymysql/tests")


def mysqlclient():
    file = folder() / f"clients-{PORT}.cnf"
    file.write_text(f"[MySQLdb-tests]\nhost={HOST}\nport={PORT}\nuser={USER}\npassword={PASSWORD}\ndatabase=test1\n"
                    "default-character-set=utf8mb4\n")
    pytest("tests", TESTDB=str(file))


def sqlalchemy():
    url = f"mysql+pymysql://{USER}:{PASSWORD}@{HOST}:{PORT}/test?charset=utf8mb4"
    pytest("-p", "no:logging", "--dburi", url, "test/dialect/mysql", "test/dialect/test_suite.py", "--maxfail=10000")


def mariadb():
    pytest("test", cwd=folder() / "testing", TEST_DB_USER=USER, TEST_DB_PASSWORD=PASSWORD, TEST_DB_HOST=HOST,
           TEST_DB_PORT=str(PORT), TEST_DB_DATABASE="test")


def mysql_connector_python():
    run = [sys.executable, "unittests.py", "--use-external-server", "--skip-install", f"--host={HOST}", f"--port={PORT}",
           f"--user={USER}", f"--password={PASSWORD}", "--verbosity=2"]
    sys.exit(subprocess.run(run, cwd=folder()).returncode)


def go():
    """Go keeps no build beside what it did not change, and the suite has a vendor's layout of its own."""
    place = HOME / "go/src/github.com/go-sql-driver/mysql"
    if not place.exists():
        shutil.copytree(folder(), place)
    settings = dict(GOPATH=str(HOME / "go"), GO111MODULE="off", MYSQL_TEST_USER=USER, MYSQL_TEST_PASS=PASSWORD,
                    MYSQL_TEST_PROT="tcp", MYSQL_TEST_ADDR=f"{HOST}:{PORT}", MYSQL_TEST_DBNAME="test", MYSQL_TEST_CONCURRENT="1")
    sys.exit(subprocess.run(["go", "test", "-v", "-count=1", "-timeout=600s", "."], cwd=place, env={**os.environ, **settings}).returncode)


def cargo(crate, passes, more=""):
    for name, port, settings in passes:
        print("==", name, flush=True)
        url = f"mysql://{USER}:{PASSWORD}@{HOST}:{port}/{DATABASE}{more}"
        run = ["cargo", "test", "-q", "--no-fail-fast", *catalog.CRATES[crate], "--target-dir", str(HOME / "rust-suites")]
        environment = {**os.environ, "CARGO_PROFILE_DEV_DEBUG": "0", "DATABASE_URL": url, **settings}
        subprocess.run([*run, "--", "--test-threads=2", "--format=pretty"], cwd=folder(), env=environment, stderr=subprocess.STDOUT)


def rust_mysql_async():
    """As it is, compressed, and encrypted."""
    cargo("mysql_async", [("plain", PORT, {}), ("compressed", PORT, {"COMPRESS": "1"}), ("encrypted", PORT, {"SSL": "1"})],
          # Else it asks for the server's socket, and goes on past Highgate.
          "?prefer_socket=false")


def rust_sqlx():
    """Its tables first; their account without a password is not one of Highgate's."""
    text = re.sub(r"(?m)^(CREATE USER|GRANT).*$", "", (folder() / "tests/mysql/setup.sql").read_text())
    subprocess.run(["mariadb", "--no-defaults", f"-h{HOST}", f"-P{PORT}", f"-u{USER}", f"-p{PASSWORD}", DATABASE], input=text, text=True)
    cargo("sqlx", [("plain", PORT, {})])


def each(commands, environment=None, seconds=60, cwd=None):
    """Programs that tell by their exit code alone whether they are content."""
    for name, command in commands:
        try:
            done = subprocess.run(command, cwd=cwd, text=True, env={**os.environ, **(environment or {})}, stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, timeout=seconds, errors="backslashreplace")
            text, code = done.stdout, done.returncode
        except subprocess.TimeoutExpired:
            text, code = f"no end within {seconds} s", 1
        print(*("fail", name, " ".join(text.split())[-200:]) if code else ("ok", name), flush=True)


def node():
    settings = dict(MYSQL_HOST=HOST, MYSQL_PORT=str(PORT), MYSQL_USER=USER, MYSQL_PASSWORD=PASSWORD, MYSQL_DATABASE="test")
    files = sorted(folder().glob("test/integration/**/test-*.js"))
    each(((file.name, ["node", str(file)]) for file in files), settings, cwd=folder())


def c():
    """The C API's own, of Debian's package `mariadb-test`; each case makes and drops its schema."""
    login = ["--no-defaults", "-s", f"-h{HOST}", f"-P{PORT}", f"-u{USER}", f"-p{PASSWORD}", f"-v{os.environ['LAB']}"]
    known = subprocess.run(["mariadb-client-test", "--show-tests"], capture_output=True, text=True)
    names = re.findall(r"^(test_\w+)", known.stdout + known.stderr, re.M)
    each((name, ["mariadb-client-test", *login, name]) for name in names)


def perl(dsn):
    """Each file by itself; a case is the number of a claim in its file."""
    settings = dict(DBI_DSN=dsn, DBI_USER=USER, DBI_PASS=PASSWORD)
    for file in sorted(folder().glob("t/*.t")):
        try:
            done = subprocess.run(["perl", f"-I{folder()}/t", f"-I{folder()}", f"t/{file.name}"], cwd=folder(), text=True,
                                  env={**os.environ, **settings}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=100,
                                  errors="backslashreplace")
            text, code = done.stdout, done.returncode
        except subprocess.TimeoutExpired as late:
            text, code = (late.stdout or b"").decode(errors="replace"), "none"
        for found in re.finditer(r"^\s*(ok|not ok) (\d+)( *(?:- )?[^#\n]*)?(# (?:skip|TODO))?", text, re.M | re.I):
            word = "skip" if found[4] else "ok" if found[1] == "ok" else "fail"
            print(word, f"{file.name}:{found[2]}", "" if word == "ok" else (found[3] or "").strip())
        print("ok" if code == 0 else "fail", f"{file.name}:end", "" if code == 0 else " ".join(text.split())[-200:])


def dbd_mysql():
    perl(f"DBI:mysql:database=test;host={HOST};port={PORT}")


def dbd_mariadb():
    perl(f"DBI:MariaDB:database=test;host={HOST};port={PORT}")


def waits_for_replica(file):
    """Many cases make their table by this file, and look at it in another session, which may read from a replica. The session
    that made it reads it first: `causal_reads` has that wait for the replica, of which there is one."""
    text, read = file.read_text(), "mysqli_free_result(mysqli_query($link, 'SELECT id FROM test LIMIT 1'));"
    if read not in text:
        file.write_text(re.sub(r"\?>\s*$", lambda _: f"{read}\n?>\n", text))


def php(extension):
    settings = dict(NO_INTERACTION="1", REPORT_EXIT_STATUS="0", TEST_PHP_EXECUTABLE=shutil.which("php"), SKIP_SLOW_TESTS="1",
                    MYSQL_TEST_HOST=HOST, MYSQL_TEST_PORT=str(PORT), MYSQL_TEST_USER=USER, MYSQL_TEST_PASSWD=PASSWORD,
                    MYSQL_TEST_DB="test", PDO_MYSQL_TEST_DSN=f"mysql:host={HOST};port={PORT};dbname=test",
                    PDO_MYSQL_TEST_USER=USER, PDO_MYSQL_TEST_PASS=PASSWORD, PDO_MYSQL_TEST_HOST=HOST, PDO_MYSQL_TEST_PORT=str(PORT))
    subprocess.run(["php", "run-tests.php", "-q", "--set-timeout", "60", f"ext/{extension}/tests"], cwd=folder(),
                   env={**os.environ, **settings})


def php_mysqli():
    waits_for_replica(folder() / "ext/mysqli/tests/table.inc")
    php("mysqli")


def php_pdo():
    php("pdo_mysql")


if __name__ == "__main__":
    globals()[NAME]()
