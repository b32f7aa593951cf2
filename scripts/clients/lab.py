"""A primary with a replica, of MariaDB or MySQL, and Highgate in front: what the clients are compared on.

Three ways lead to the same primary: `direct`; `cluster`, through Highgate with reads split to the
replica and causal reads; `single`, through Highgate with the primary as its only, fixed server.
All files lie in one scratch folder, all ports are the kernel's choice, and leaving ends all of it.
"""

import os
import pathlib
import pwd
import re
import shutil
import signal
import socket
import subprocess
import time

USER, PASSWORD, DATABASE = "app", "app", "shop"
# Further accounts, with the password that a client gives; how Highgate stores it is in `highgate()`.
NATIVE = "*F8F79B67ADEF4A7A4E56A6C5A2BDA19FE2C6D5E1"

SERVER = """
--no-defaults --bind-address=127.0.0.1 --log-bin=binlog --log-slave-updates --gtid-strict-mode=1
--binlog-format=ROW --local-infile=1 --performance-schema=OFF --innodb-buffer-pool-size=96M
--innodb-flush-log-at-trx-commit=0 --sync-binlog=0 --log-bin-trust-function-creators=1
--max-connections=400 --max-allowed-packet=64M --character-set-server=utf8mb4
--plugin-load-add=auth_ed25519 --skip-name-resolve --secure-file-priv= --event-scheduler=OFF
""".split()

MYSQL = """
--no-defaults --bind-address=127.0.0.1 --log-bin=binlog --gtid-mode=ON --enforce-gtid-consistency=ON
--local-infile=1 --innodb-buffer-pool-size=96M --innodb-flush-log-at-trx-commit=0 --sync-binlog=0
--log-bin-trust-function-creators=1 --max-connections=400 --max-allowed-packet=64M --skip-name-resolve
--secure-file-priv= --event-scheduler=OFF --mysqlx=OFF --innodb-flush-method=nosync
""".split()


def mysql(program):
    """Where `scripts/mysql` puts it, or None."""
    cache = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    folder = os.environ.get("HIGHGATE_MYSQL") or pathlib.Path(cache) / "highgate/mysql"
    path = pathlib.Path(folder) / "bin" / program
    return str(path) if path.exists() else None


def free_port():
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return held.getsockname()[1]


def until(seconds, what, is_there):
    """Asks again and again; the last answer, or an error that says what was waited for."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = is_there()
        if found:
            return found
        time.sleep(0.05)
    raise SystemExit(f"gave up after {seconds} s waiting for {what}")


class Lab:
    """Use as a context; `ways` maps the name of a way to its port."""

    def __init__(self, binary, scratch, log="info", make="mariadb"):
        self.binary, self.scratch, self.level, self.make = str(binary), pathlib.Path(scratch), log, make
        self.is_mysql = make == "mysql"
        if self.is_mysql and not mysql("mysqld"):
            raise SystemExit("no MySQL: run scripts/mysql")
        self.processes, self.ways, self.tls_port = [], {}, 0

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for process in reversed(self.processes):
            process.send_signal(signal.SIGTERM)
        for process in self.processes:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
        shutil.rmtree(self.scratch, ignore_errors=True)

    def start(self):
        self.scratch.mkdir(parents=True, exist_ok=True)
        # The account of the databases must reach its folders.
        for folder in (self.scratch.parent, self.scratch):
            folder.chmod(0o755)
        self.certificates()
        template = self.scratch / "template"
        if self.is_mysql:
            run = [mysql("mysqld"), "--no-defaults", "--initialize-insecure", f"--datadir={template}",
                   "--innodb-flush-method=nosync", *self.account()]
        else:
            run = ["mariadb-install-db", "--no-defaults", f"--datadir={template}", "--skip-test-db",
                   "--auth-root-authentication-method=normal", *self.account()]
        subprocess.run(run, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        (template / "auto.cnf").unlink(missing_ok=True)
        self.primary, self.replica = self.server(1, template), self.server(2, template)
        self.wait(self.primary), self.wait(self.replica)
        self.prepare()
        self.highgate()

    def account(self):
        if os.getuid() != 0:
            return []
        # MySQL's folder may be one that only root can reach.
        return ["--user=root"] if self.is_mysql else ["--user=mysql"]

    def server(self, number, template):
        folder = self.scratch / f"db{number}"
        shutil.copytree(template, folder)
        if os.getuid() == 0 and not self.is_mysql:
            subprocess.run(["chown", "-R", "mysql", str(folder)], check=True)
        port = free_port()
        program = [mysql("mysqld"), *MYSQL] if self.is_mysql else [shutil.which("mariadbd"), *SERVER]
        args = [*program, *self.account(), f"--datadir={folder}",
                f"--port={port}", f"--socket={folder}/s", f"--server-id={number}",
                f"--ssl-cert={self.scratch}/server.pem", f"--ssl-key={self.scratch}/server.key",
                f"--ssl-ca={self.scratch}/ca.pem", *(["--read-only=1"] if number > 1 else [])]
        log = open(self.scratch / f"db{number}.log", "w")
        self.processes.append(subprocess.Popen(args, stdout=log, stderr=log, cwd=folder))
        return {"port": port, "socket": f"{folder}/s"}

    def sql(self, server, text):
        client = mysql("mysql") if self.is_mysql else "mariadb"
        args = [client, "--no-defaults", "-uroot", f"--socket={server['socket']}", "-N", "-B"]
        return subprocess.run(args, input=text, text=True, capture_output=True)

    def wait(self, server):
        until(60, self.make, lambda: self.sql(server, "SELECT 1").returncode == 0)

    def prepare(self):
        """Accounts and replication."""
        if self.is_mysql:
            return self.prepare_mysql()
        accounts = [(USER, f"IDENTIFIED BY '{PASSWORD}'"), ("hashed", "IDENTIFIED BY 'hashed'"),
                    ("sha2", "IDENTIFIED BY 'sha2'"), ("sha2clear", "IDENTIFIED BY 'sha2clear'"),
                    ("edward", "IDENTIFIED VIA ed25519 USING PASSWORD('edward')")]
        text = f"CREATE DATABASE {DATABASE};"
        for name, how in accounts:
            text += f"CREATE USER {name}@'%' {how}; GRANT ALL ON *.* TO {name}@'%' WITH GRANT OPTION;"
            # Else a statement that was sent to the replica by mistake would be carried out there.
            text += f"REVOKE READ_ONLY ADMIN ON *.* FROM {name}@'%';"
        text += "CREATE USER monitor@'%' IDENTIFIED BY 'monitor';"
        text += "GRANT SLAVE MONITOR, REPLICATION CLIENT, BINLOG MONITOR, SELECT ON *.* TO monitor@'%';"
        text += "CREATE USER repl@'%' IDENTIFIED BY 'repl'; GRANT REPLICATION SLAVE ON *.* TO repl@'%';"
        text += "DELETE FROM mysql.global_priv WHERE user=''; FLUSH PRIVILEGES;"
        done = self.sql(self.primary, text)
        assert done.returncode == 0, done.stderr
        done = self.sql(self.replica, f"""CHANGE MASTER TO master_host='127.0.0.1', master_user='repl',
            master_password='repl', master_port={self.primary['port']}, master_use_gtid=slave_pos;
            START SLAVE""")
        assert done.returncode == 0, done.stderr
        until(60, "replication", lambda: self.sql(
            self.replica, f"SELECT 1 FROM mysql.user WHERE user='repl'").stdout.strip() == "1")

    def prepare_mysql(self):
        text = f"CREATE DATABASE {DATABASE};"
        for name in (USER, "sha2", "sha2clear"):
            text += f"CREATE USER {name}@'%' IDENTIFIED BY '{name}'; GRANT ALL ON *.* TO {name}@'%' WITH GRANT OPTION;"
            text += f"REVOKE CONNECTION_ADMIN, SUPER ON *.* FROM {name}@'%';"
        text += "CREATE USER monitor@'%' IDENTIFIED BY 'monitor'; GRANT REPLICATION CLIENT, SELECT ON *.* TO monitor@'%';"
        text += "CREATE USER repl@'%' IDENTIFIED BY 'repl'; GRANT REPLICATION SLAVE ON *.* TO repl@'%';"
        done = self.sql(self.primary, text)
        assert done.returncode == 0, done.stderr
        done = self.sql(self.replica, f"""CHANGE REPLICATION SOURCE TO source_host='127.0.0.1', source_user='repl',
            source_password='repl', source_port={self.primary['port']}, source_auto_position=1,
            get_source_public_key=1; START REPLICA""")
        assert done.returncode == 0, done.stderr
        self.caught_up()

    def caught_up(self):
        """Waits until the replica has all that the primary had."""
        if self.is_mysql:
            wanted = self.sql(self.primary, "SELECT @@global.gtid_executed").stdout.strip().replace("\\n", "")
            wait = f"SELECT WAIT_FOR_EXECUTED_GTID_SET('{wanted}', 30)"
            assert self.sql(self.replica, wait).stdout.strip() == "0", f"the replica did not reach {wanted}"
            return
        wanted = self.sql(self.primary, "SELECT @@gtid_binlog_pos").stdout.strip()
        try:
            until(30, f"the replica to reach {wanted}", lambda: self.sql(
                self.replica, "SELECT @@gtid_slave_pos").stdout.strip() == wanted)
        except SystemExit as gave_up:
            asked = self.sql(self.replica, "SHOW SLAVE STATUS\\G")
            told = re.findall(r".*(?:Last_\w*Error|Slave_\w+_Running|State|Gtid_\w*Pos): .*", asked.stdout)
            log = (self.scratch / "db2.log").read_text().splitlines()[-5:]
            raise SystemExit("\n".join([str(gave_up), asked.stderr, *told, *log])) from gave_up

    def certificates(self):
        """An authority with a certificate for servers and one for clients."""
        def openssl(*args):
            subprocess.run(["openssl", *args], check=True, cwd=self.scratch, capture_output=True)
        days = ("-days", "30", "-nodes", "-newkey", "rsa:2048")
        openssl("req", "-x509", *days, "-subj", "/CN=Clients test CA", "-keyout", "ca.key", "-out", "ca.pem")
        for name, subject in (("server", "/CN=localhost"), ("client", "/CN=client")):
            openssl("req", *days[2:], "-subj", subject, "-keyout", f"{name}.key", "-out", f"{name}.csr")
            (self.scratch / "ext").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
            openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key",
                    "-CAcreateserial", "-days", "30", "-extfile", "ext", "-out", f"{name}.pem")
        for file in self.scratch.glob("*.key"):
            file.chmod(0o644)

    def hash_of(self, name):
        if self.is_mysql:
            return self.sql(self.primary, f"SELECT CONCAT('*', UPPER(SHA1(UNHEX(SHA1('{name}')))))").stdout.strip()
        return self.sql(self.primary, f"SELECT PASSWORD('{name}')").stdout.strip()

    def highgate(self):
        p1, p2, here = self.primary["port"], self.replica["port"], self.scratch
        cert = f'cert = "{here}/server.pem", key = "{here}/server.key"'
        text = f"""
[admin]
sql = "off"
web = "off"
"""
        modes = ["disabled", "preferred", "required", "verify-ca", "verify-identity"]
        # As the servers: whoever asks for TLS gets it.
        offered = f'tls = {{ mode = "preferred", {cert} }}'
        listeners = [("cluster", "cluster", offered), ("single", "single", offered),
                     ("clienttls", "cluster", f'tls = {{ mode = "required", {cert} }}'),
                     ("clientcert", "cluster", f'tls = {{ mode = "verify-ca", {cert}, ca = "{here}/ca.pem" }}')]
        listeners += [(f"to-{mode}", f"to-{mode}", "") for mode in modes]
        for name, backend, more in listeners:
            text += f"""
[[listener]]
name = "{name}"
bind = "127.0.0.1:0"
mode = "mysql"
backend = "{backend}"
causal_reads = true
{more}
"""
        monitor = 'monitor = { user = "monitor", password = "monitor", interval = "500ms" }'
        text += f"""
[[backend]]
name = "cluster"
topology = "mariadb-replication"
{monitor}
[[backend.server]]
name = "db1"
address = "127.0.0.1:{p1}"
max_connections = 390
[[backend.server]]
name = "db2"
address = "127.0.0.1:{p2}"
max_connections = 390
[[backend]]
name = "single"
{monitor}
[[backend.server]]
name = "only"
address = "127.0.0.1:{p1}"
max_connections = 390
"""
        for mode in modes:
            ca = f', ca = "{here}/ca.pem"' if mode.startswith("verify") else ""
            text += f"""
[[backend]]
name = "to-{mode}"
{monitor}
tls = {{ mode = "{mode}"{ca} }}
[[backend.server]]
name = "only"
address = "localhost:{p1}"
"""
        stored = {USER: PASSWORD, "hashed": self.hash_of("hashed"), "sha2clear": "sha2clear",
                  "sha2": sha256_crypt("sha2"), "edward": "edward"}
        for name, password in stored.items():
            text += f"""
[[user]]
name = "{name}"
password = "{password}"
local_infile = true
"""
        (here / "highgate.toml").write_text(text)
        self.log = here / "highgate.log"
        data = here / "data"
        with open(self.log, "w") as log:
            args = [self.binary, "run", str(here / "highgate.toml"), "--data-dir", str(data), "--log", self.level]
            process = subprocess.Popen(args, stdout=log, stderr=log, cwd=here)
        self.processes.append(process)
        until(30, "Highgate", lambda: process.poll() is not None or " ready" in self.log.read_text())
        found = dict(re.findall(r'listening listener="?([\w-]+)"? address="?[\d.]+:(\d+)', self.log.read_text()))
        if len(found) < len(listeners):
            raise SystemExit(f"Highgate did not start:\n{self.log.read_text()}")
        self.listeners = {name: int(port) for name, port in found.items()}
        self.ways = {"direct": p1, "cluster": self.listeners["cluster"], "single": self.listeners["single"]}


def sha256_crypt(password, salt=b"highgate-clients-it!", rounds=5):
    """The stored form of caching_sha2_password: `$A$005$`, 20 bytes of salt, 43 of SHA-crypt."""
    import sha2crypt
    return sha2crypt.stored(password.encode(), salt[:20], rounds * 1000)
