"""Which clients there are, how each is installed and run, and which differences are known."""

import dataclasses
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
from typing import Callable

import lab as labs

HERE = pathlib.Path(__file__).resolve().parent
WAYS = ["direct", "cluster", "single"]

# Each run begins with an empty schema, and without what the run before left behind.
FRESH = """DROP DATABASE IF EXISTS shop; DROP DATABASE IF EXISTS slap; DROP DATABASE IF EXISTS restored;
DROP DATABASE IF EXISTS made; DROP DATABASE IF EXISTS test1; DROP DATABASE IF EXISTS test2; DROP DATABASE IF EXISTS test;
DROP DATABASE IF EXISTS test_schema; DROP DATABASE IF EXISTS test_schema_2;
CREATE DATABASE shop; CREATE DATABASE test1; CREATE DATABASE test2; CREATE DATABASE test_schema;
CREATE DATABASE test_schema_2; CREATE DATABASE test CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci;"""

PYTHON = ["PyMySQL[rsa,ed25519]", "mysqlclient", "mysql-connector-python", "aiomysql", "asyncmy", "SQLAlchemy", "Django",
          "mariadb==1.1.14", "pytest", "pytest-asyncio"]
NODE = ["mysql2", "mariadb", "mysql", "sequelize", "typeorm"]
# What the suite of `mysql` needs besides.
NODE_SUITE = ["after@0.8.2", "utest@0.0.8", "timezone-mock@0.0.7", "seedrandom@3.0.5"]
# Source distributions that contain the driver's own tests.
SUITES = ["PyMySQL==0.10.1", "mysqlclient", "mariadb==1.1.14", "SQLAlchemy", "mysql-connector-python"]

# Crates whose sources contain their own tests, with what these are built with.
CRATES = {"mysql_async": ["--lib", "--features", "binlog,derive,chrono,time,bigdecimal,rust_decimal,frunk,client_ed25519,rustls-tls,ring,tls12"],
          "sqlx": ["--tests"]}

# Packages of Debian whose sources contain the driver's own tests.
SOURCES = ["golang-github-go-sql-driver-mysql", "libdbd-mysql-perl", "libdbd-mariadb-perl", "php8.2", "ruby-mysql2", "node-mysql"]


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
    """`unittest -v`: `name (module.Class.name) ... ok`, or `module.Class.name ... ok` as MySQL's connector prints it. What a case
    says itself may stand in between, on lines of its own, too."""
    def full(name, inside):
        return name if not inside or inside == name else inside if inside.endswith(f".{name}") else f"{inside}.{name}"

    cases = {}
    starts = list(re.finditer(r"^(?:(\w[\w.]*\.test\w*)|(\w+) \(([\w.]+)\)(?:\n[^\n]*?)?) \.\.\. |^={70}$", text, re.M))
    ends = re.compile(r"(?:|.*\W)(ok|FAIL|ERROR|expected failure|unexpected success|skipped\b.*)$", re.M)
    for found, after in zip(starts, [*(start.start() for start in starts[1:]), len(text)]):
        if not found[0].startswith("="):
            ended = ends.search(text, found.end(), after)
            word = ended[1] if ended else "FAIL"
            cases[found[1] or full(found[2], found[3])] = (
                "skip" if word.startswith("skipped") else "ok" if word in ("ok", "expected failure") else "fail", "")
    for found in re.finditer(r"^(?:ERROR|FAIL): ([\w.]+)(?: \(([\w.]+)\))?", text, re.M):
        cases[full(found[1], found[2])] = ("fail", "")
    ran = re.search(r"^Ran (\d+) tests", text, re.M)
    if not ran:
        cases["run_ended"] = ("fail", text[-300:])
    elif len(cases) < int(ran[1]):
        cases["run_read"] = ("fail", f"{len(cases)} of {ran[1]} cases were found in its output")
    return cases


def go_cases(text):
    """`go test -v`: what is said of a case is not compared, only how it ends."""
    words = {"PASS": "ok", "FAIL": "fail", "SKIP": "skip"}
    cases = {found[2]: (words[found[1]], "") for found in re.finditer(r"^\s*--- (PASS|FAIL|SKIP): (\S+)", text, re.M)}
    if not re.search(r"^(ok|FAIL|PASS)\b", text, re.M):
        cases["run_ended"] = ("fail", text[-300:])
    return cases


def php_cases(text):
    """PHP's `run-tests.php`: a case is known by its file."""
    words = {"PASS": "ok", "FAIL": "fail", "SKIP": "skip", "XFAIL": "ok", "WARN": "fail", "BORK": "fail"}
    text = re.sub(r"\x1b\[[\d;]*m", "", text).replace("\r", "\n")
    text = re.sub(r"TEST \d+/\d+ \[[^]\n]*\]", "\n", text)
    return {found[2]: (words[found[1]], "") for found in
            re.finditer(r"^(PASS|X?FAIL|SKIP|WARN|BORK) .*\[[^]]*/([^]/]+\.phpt)\]", text, re.M)}


def rust_cases(text):
    """`cargo test`'s, where `== NAME` begins another pass over the same tests."""
    words, cases, way = {"ok": "ok", "FAILED": "fail", "ignored": "skip"}, {}, ""
    for found in re.finditer(r"^== (\S+)$|^test (\S+)(?: - [^\n]*?)? \.\.\. (?:[^\n]*?)(ok|FAILED|ignored)|^(test result|error)", text, re.M):
        if found[1]:
            way = found[1] + ":"
        elif found[2]:
            cases[way + found[2]] = (words[found[3]], "")
        else:
            cases[way + "end"] = ("ok" if found[4] == "test result" else "fail", "")
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


def suite(name, program=None):
    """Whether the source distribution of a driver is there, unpacked, and what runs it."""
    if program:
        return lambda options: subprocess.run(program, shell=True, capture_output=True).returncode == 0 and suite(name)(options)
    return lambda options: any(place.name.lower().startswith(name) for place in (options.home / "suites").glob("*/"))


def py(script, *arguments):
    return lambda options: [python(options), str(HERE / script), *arguments]


def node(script, *arguments):
    return lambda options: ["node", str(HERE / script), *arguments]


CLIENTS = [
    Client("cli", lambda options: [sys.executable, str(HERE / "cli.py")], lambda o: shutil.which("mariadb")),
    Client("mysql-cli", lambda options: [sys.executable, str(HERE / "mysql_cli.py")], lambda o: labs.mysql("mysql")),
    Client("sysbench", lambda options: [sys.executable, str(HERE / "sysbench.py")], lambda o: shutil.which("sysbench")),
    Client("pymysql", py("py_dbapi.py", "pymysql"), module("pymysql")),
    Client("mysqlclient", py("py_dbapi.py", "mysqlclient"), module("MySQLdb")),
    Client("connector-pure", py("py_dbapi.py", "connector-pure"), module("mysql.connector")),
    Client("connector-c", py("py_dbapi.py", "connector-c"), works("import mysql.connector as m; assert m.HAVE_CEXT")),
    Client("async-python", py("py_async.py"), module("aiomysql")),
    Client("orm-python", py("py_orm.py"), module("sqlalchemy")),
    Client("node-mysql2", node("node.js", "mysql2"), package("mysql2")),
    Client("node-mysql2-more", node("mysql2.js"), package("mysql2")),
    Client("node-mariadb", node("node.js", "mariadb"), package("mariadb")),
    Client("node-mysql", node("node.js", "mysql"), package("mysql")),
    Client("rust-mysql", lambda o: [str(rust(o)), "mysql"], lambda o: rust(o).exists()),
    Client("rust-sqlx", lambda o: [str(rust(o)), "sqlx"], lambda o: rust(o).exists()),
    Client("orm-rust", lambda o: [str(diesel(o))], lambda o: diesel(o).exists()),
    Client("orm-node", node("orm.js"), package("sequelize")),
    Client("java", lambda o: ["sh", str(HERE / "java.sh")], lambda o: shutil.which("java") and jar(o)),
    *(Client(f"suite-{name}", py("suite.py", name), suite(name + "-"), False, seconds, reads) for name, seconds, reads in (
        ("pymysql", 600, pytest_cases), ("mysqlclient", 600, pytest_cases), ("mariadb", 900, pytest_cases),
        ("sqlalchemy", 3600, pytest_cases), ("mysql_connector_python", 1800, unittest_cases))),
    *(Client(f"suite-{name}", py("suite.py", name), suite(folder, program), False, seconds, reads)
      for name, folder, program, seconds, reads in (
        ("go", "mysql-1.", "go version", 900, go_cases),
        ("node", "mysql-2.", "node --version", 900, None),
        ("c", "", "mariadb-client-test --help", 1800, None),
        ("dbd_mysql", "dbd-mysql-", "perl -MDBD::mysql -e 1", 900, None),
        ("dbd_mariadb", "dbd-mariadb-", "perl -MDBD::MariaDB -e 1", 900, None),
        ("rust_mysql_async", "mysql_async-", "cargo --version", 1800, rust_cases),
        ("rust_sqlx", "sqlx-", "cargo --version", 1800, rust_cases),
        ("php_mysqli", "php-", "php -m | grep mysqli", 1800, php_cases),
        ("php_pdo", "php-", "php -m | grep pdo_mysql", 900, php_cases))),
    Client("logins", py("logins.py"), module("pymysql")),
]


def rust(options):
    return options.home / "rust/debug/clients"


def diesel(options):
    return options.home / "rust/debug/clients-diesel"


def jar(options):
    places = [options.home / "mariadb-java-client.jar", pathlib.Path("/usr/share/java/mariadb-java-client.jar")]
    return next((place for place in places if place.exists()), None)


def reason(client, case, way):
    """Why a difference is there, if that is known; docs/differences.md says it to users. Some are of one way alone."""
    listed = json.loads((HERE / "expected.json").read_text())
    for one in listed:
        if re.fullmatch(one["client"], client) and re.search(one["case"], case) and one.get("way", way) == way:
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
        subprocess.run(["npm", "install", "--no-audit", "--no-fund", "--silent", "--prefix", str(home), *NODE, *NODE_SUITE])
    if shutil.which("cargo"):
        subprocess.run(["cargo", "build", "-q", "--manifest-path", str(HERE / "rust/Cargo.toml"), "--target-dir", str(home / "rust")])
        # Where there is no client library in C to build it with, it is left out.
        subprocess.run(["cargo", "build", "-q", "--manifest-path", str(HERE / "diesel/Cargo.toml"), "--target-dir", str(home / "rust")])
        crates(home)
    if shutil.which("apt-get"):
        debian_sources(suites)


def crates(home):
    """Suites within the sources of crates that the programs here depend on."""
    described = subprocess.run(["cargo", "metadata", "-q", "--format-version", "1", "--manifest-path", str(HERE / "rust/Cargo.toml")],
                               capture_output=True, text=True)
    if described.returncode:
        return
    for package in json.loads(described.stdout)["packages"]:
        place = home / "suites" / f"{package['name']}-{package['version']}"
        if package["name"] in CRATES:
            shutil.copytree(pathlib.Path(package["manifest_path"]).parent, place, dirs_exist_ok=True)
            # The toolchain that its makers use may not be here.
            (place / "rust-toolchain.toml").unlink(missing_ok=True)
            if package["name"] == "sqlx":
                (place / "Cargo.lock").unlink(missing_ok=True)
                shutil.copytree(HERE / "sqlx_suite", place, dirs_exist_ok=True)
            build = ["cargo", "test", "-q", "--no-run", *CRATES[package["name"]], "--target-dir", str(home / "rust-suites")]
            subprocess.run(build, cwd=place, env={**os.environ, "CARGO_PROFILE_DEV_DEBUG": "0"})


def debian_sources(suites):
    """Suites that only the sources of Debian's packages hold, by an apt of its own beside the machine's."""
    own = suites / "apt"
    for folder in ("state/lists/partial", "cache/archives/partial", "etc/apt.conf.d", "etc/preferences.d"):
        (own / folder).mkdir(parents=True, exist_ok=True)
    uris = subprocess.run(["apt-get", "update", "--print-uris"], capture_output=True, text=True).stdout
    found = re.search(r"'(\S+?/debian)/dists/([\w-]+)/InRelease'", uris)
    if not found:
        return
    (own / "etc/sources.list").write_text(f"deb-src {found[1]} {found[2]} main\n")
    keys = "/etc/apt/trusted.gpg.d" if not pathlib.Path("/usr/share/keyrings").exists() else "/usr/share/keyrings"
    options = [f"Dir::Etc={own}/etc", f"Dir::Etc::sourcelist={own}/etc/sources.list", "Dir::Etc::sourceparts=/nonexistent",
               f"Dir::Etc::trustedparts={keys}", f"Dir::State={own}/state", "Dir::State::status=/var/lib/dpkg/status",
               f"Dir::Cache={own}/cache", "APT::Sandbox::User=root"]
    apt = ["apt-get", "-q", *(part for option in options for part in ("-o", option))]
    subprocess.run([*apt, "update"], stdout=subprocess.DEVNULL)
    for package in SOURCES:
        # One by one: a package that has moved on leaves the others be.
        subprocess.run([*apt, "source", "--download-only", package], cwd=suites, stdout=subprocess.DEVNULL)
    for archive in [*suites.glob("*.orig.tar.gz"), *suites.glob("*.orig.tar.xz")]:
        shutil.unpack_archive(archive, suites)
