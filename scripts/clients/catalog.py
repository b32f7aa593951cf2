"""Which clients there are, how each is installed and run, and which differences are known."""

import dataclasses
import json
import pathlib
import re
import shutil
import subprocess
import sys
from typing import Callable

HERE = pathlib.Path(__file__).resolve().parent
WAYS = ["direct", "cluster", "single"]

# Each run begins with an empty schema, and without what the run before left behind.
FRESH = """DROP DATABASE IF EXISTS shop; DROP DATABASE IF EXISTS slap; DROP DATABASE IF EXISTS restored;
DROP DATABASE IF EXISTS made; DROP DATABASE IF EXISTS test1; DROP DATABASE IF EXISTS test2; DROP DATABASE IF EXISTS test;
DROP DATABASE IF EXISTS test_schema; DROP DATABASE IF EXISTS test_schema_2;
CREATE DATABASE shop; CREATE DATABASE test1; CREATE DATABASE test2; CREATE DATABASE test; CREATE DATABASE test_schema;
CREATE DATABASE test_schema_2;"""

PYTHON = ["PyMySQL[rsa,ed25519]", "mysqlclient", "mysql-connector-python", "aiomysql", "asyncmy", "SQLAlchemy", "Django",
          "mariadb==1.1.14", "pytest", "pytest-asyncio"]
NODE = ["mysql2", "mariadb", "mysql", "sequelize", "typeorm"]
# Source distributions that contain the driver's own tests.
SUITES = ["PyMySQL==0.10.1", "mysqlclient", "mariadb==1.1.14", "SQLAlchemy", "mysql-connector-python"]


@dataclasses.dataclass
class Client:
    name: str
    command: Callable
    needs: Callable = lambda options: True
    smokes: bool = True
    seconds: int = 900
    reads: Callable = None

    def is_there(self, options):
        return self.needs(options)

    def cases(self, text):
        return (self.reads or lines)(text)


def lines(text):
    cases = {}
    for line in text.splitlines():
        word, _, rest = line.partition(" ")
        if word in ("ok", "fail", "skip"):
            name, _, value = rest.partition(" ")
            cases[name] = (word, value)
    return cases


def pytest_cases(text):
    """`pytest -rA`'s summary: what a case's failure says is not compared, only that it fails."""
    cases = {}
    for line in text.splitlines():
        found = re.match(r"(PASSED|FAILED|ERROR|XFAIL|XPASS) (\S+)(?: - (.*))?$", line)
        if found:
            word = "ok" if found[1] in ("PASSED", "XPASS", "XFAIL") else "fail"
            cases[found[2]] = (word, found[3] or "" if word == "fail" else "")
    if "passed" not in text[-300:] and "failed" not in text[-300:]:
        cases["run_ended"] = ("fail", text[-300:])
    return cases


def unittest_cases(text):
    """`unittest -v`: `name (module.Class.name) ... ok`, where other output may stand in between."""
    cases = {}
    for found in re.finditer(r"^(\w+) \(([\w.]+)\)(?:\n[^\n]*?)? \.\.\. (?:[^\n]*?)(ok|FAIL|ERROR|skipped|expected failure|unexpected success)",
                             text, re.M):
        name = found[2] if found[2].endswith(found[1]) else f"{found[2]}.{found[1]}"
        cases[name] = ("ok" if found[3] in ("ok", "expected failure") else "skip" if found[3] == "skipped" else "fail", "")
    for found in re.finditer(r"^(?:ERROR|FAIL): (\w+) \(([\w.]+)\)", text, re.M):
        name = found[2] if found[2].endswith(found[1]) else f"{found[2]}.{found[1]}"
        cases[name] = ("fail", "")
    if not re.search(r"^Ran \d+ tests", text, re.M):
        cases["run_ended"] = ("fail", text[-300:])
    return cases


def python(options):
    return str(options.home / "venv/bin/python")


def works(code):
    return lambda options: pathlib.Path(python(options)).exists() and subprocess.run(
        [python(options), "-c", code], capture_output=True).returncode == 0


def module(name):
    return works(f"import {name}")


def package(name):
    return lambda options: shutil.which("node") and (options.home / "node_modules" / name).exists()


def suite(name):
    """Whether the source distribution of a driver is there, unpacked."""
    return lambda options: any(place.name.lower().startswith(name + "-") for place in (options.home / "suites").glob("*/"))


def py(script, *arguments):
    return lambda options: [python(options), str(HERE / script), *arguments]


def node(script, *arguments):
    return lambda options: ["node", str(HERE / script), *arguments]


CLIENTS = [
    Client("cli", lambda options: [sys.executable, str(HERE / "cli.py")], lambda o: shutil.which("mariadb")),
    Client("sysbench", lambda options: [sys.executable, str(HERE / "sysbench.py")], lambda o: shutil.which("sysbench")),
    Client("pymysql", py("py_dbapi.py", "pymysql"), module("pymysql")),
    Client("mysqlclient", py("py_dbapi.py", "mysqlclient"), module("MySQLdb")),
    Client("connector-pure", py("py_dbapi.py", "connector-pure"), module("mysql.connector")),
    Client("connector-c", py("py_dbapi.py", "connector-c"), works("import mysql.connector as m; assert m.HAVE_CEXT")),
    Client("async-python", py("py_async.py"), module("aiomysql")),
    Client("orm-python", py("py_orm.py"), module("sqlalchemy")),
    Client("node-mysql2", node("node.js", "mysql2"), package("mysql2")),
    Client("node-mariadb", node("node.js", "mariadb"), package("mariadb")),
    Client("node-mysql", node("node.js", "mysql"), package("mysql")),
    Client("orm-node", node("orm.js"), package("sequelize")),
    Client("java", lambda o: ["sh", str(HERE / "java.sh")], lambda o: shutil.which("java") and jar(o)),
    *(Client(f"suite-{name}", py("suite.py", name), suite(name), False, seconds, reads) for name, seconds, reads in (
        ("pymysql", 600, pytest_cases), ("mysqlclient", 600, pytest_cases), ("mariadb", 900, pytest_cases),
        ("sqlalchemy", 3600, pytest_cases), ("mysql_connector_python", 1800, unittest_cases))),
    Client("logins", py("logins.py"), module("pymysql")),
]


def jar(options):
    places = [options.home / "mariadb-java-client.jar", pathlib.Path("/usr/share/java/mariadb-java-client.jar")]
    return next((place for place in places if place.exists()), None)


def reason(client, case):
    """Why a difference is there, if that is known; docs/differences.md says it to users."""
    listed = json.loads((HERE / "expected.json").read_text())
    for one in listed:
        if re.fullmatch(one["client"], client) and re.search(one["case"], case):
            return one["reason"]
    return None


def install(home):
    """Fetches what is missing from the package registries, into `home` only."""
    home.mkdir(parents=True, exist_ok=True)
    venv = home / "venv"
    if not venv.exists():
        subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
    pip = [str(venv / "bin/pip"), "--disable-pip-version-check", "-q"]
    subprocess.run([*pip, "install", "-U", "setuptools", "wheel"])
    for name in PYTHON:
        # One by one: a driver that can't be built here leaves the others be.
        subprocess.run([*pip, "install", name])
    suites = home / "suites"
    suites.mkdir(exist_ok=True)
    for name in SUITES:
        subprocess.run([*pip, "download", "--no-deps", "--no-build-isolation", "--no-binary", ":all:", "-d", str(suites), name])
    for archive in suites.glob("*.tar.gz"):
        shutil.unpack_archive(archive, suites)
    if shutil.which("npm"):
        subprocess.run(["npm", "install", "--no-audit", "--no-fund", "--silent", "--prefix", str(home), *NODE])
