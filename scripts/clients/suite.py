"""Runs the test suite that a driver ships, pointed at the address in the environment."""

import json
import os
import pathlib
import subprocess
import sys

from case import DATABASE, HOST, PASSWORD, PORT, USER

HOME = pathlib.Path(os.environ["CLIENTS_HOME"])
NAME = sys.argv[1]


def folder():
    return next(place for place in HOME.glob("suites/*/") if place.name.lower().startswith(NAME + "-"))


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


if __name__ == "__main__":
    globals()[NAME]()
