"""Logins: how passwords are stored, plugins, wrong ones, TLS towards clients and towards servers.

Most cases have no direct counterpart (MariaDB knows no caching_sha2_password), so direct they are
answered with what is expected.
"""

import os
import ssl
import statistics
import time

import pymysql

from case import DATABASE, HOST, PASSWORD, PORT, USER, case

DIRECT = os.environ["DB_WAY"] == "direct"
LAB = os.environ["LAB"]


def port(name):
    return int(os.environ["PORT_" + name.upper()])


def connect(user=USER, password=PASSWORD, at=PORT, **more):
    return pymysql.connect(host=HOST, port=at, user=user, password=password, database=DATABASE, **more)


def who(connection):
    with connection.cursor() as cursor:
        cursor.execute("SELECT SUBSTRING_INDEX(CURRENT_USER(), '@', 1)")
        name = cursor.fetchone()[0]
    connection.close()
    return name


def through(expected, work):
    return lambda: expected if DIRECT else work()


def refused(**more):
    try:
        return who(connect(**more))
    except Exception as error:  # noqa: BLE001
        return error.args[:2]


def tls_context(with_client=False):
    context = ssl.create_default_context(cafile=f"{LAB}/ca.pem")
    context.check_hostname = False
    if with_client:
        context.load_cert_chain(f"{LAB}/client.pem", f"{LAB}/client.key")
    return context


def connector(user, password, at=PORT, **more):
    import mysql.connector
    connection = mysql.connector.connect(host=HOST, port=at, user=user, password=password, database=DATABASE, use_pure=True,
                                         **more)
    cursor = connection.cursor()
    cursor.execute("SELECT SUBSTRING_INDEX(CURRENT_USER(), '@', 1)")
    name = cursor.fetchone()[0]
    connection.close()
    return name


def twice(work):
    """The first login of a `$A$` account is a full exchange, the second the fast path."""
    return [work(), work()]


def same_time():
    """An unknown user takes as long to refuse as a wrong password."""
    def took(**more):
        times = []
        for _ in range(40):
            start = time.perf_counter()
            refused(**more)
            times.append(time.perf_counter() - start)
        return statistics.median(times)
    known, unknown = took(password="wrong"), took(user="nobody")
    return "alike" if 0.5 < known / unknown < 2 else f"known {known:.6f} s, unknown {unknown:.6f} s"


CASES = {
    "native_clear": lambda: who(connect()),
    "native_hashed": lambda: who(connect("hashed", "hashed")),
    "sha2_full_by_rsa": through(["sha2"] * 2, lambda: twice(lambda: who(connect("sha2", "sha2")))),
    "sha2_clear_stored": through("sha2clear", lambda: who(connect("sha2clear", "sha2clear"))),
    "sha2_over_tls": through(["sha2"] * 2, lambda: twice(lambda: who(connect("sha2", "sha2", port("clienttls"), ssl=tls_context())))),
    "sha2_connector": through(["sha2"] * 2, lambda: twice(lambda: connector("sha2", "sha2", ssl_disabled=True))),
    "sha2_connector_tls": through("sha2", lambda: connector("sha2", "sha2", port("clienttls"), ssl_ca=f"{LAB}/ca.pem")),
    "sha2_connector_plugin": through("sha2clear", lambda: connector("sha2clear", "sha2clear", ssl_disabled=True,
                                                                    auth_plugin="caching_sha2_password")),
    "sha2_wrong": through((1045, "Access denied for user 'sha2'@'127.0.0.1' (using password: YES)"),
                          lambda: refused(user="sha2", password="wrong")),
    "ed25519": lambda: who(connect("edward", "edward")),
    "ed25519_wrong": lambda: refused(user="edward", password="wrong")[0],
    "wrong_password": lambda: refused(password="wrong"),
    "unknown_user": lambda: refused(user="nobody", password="x"),
    "no_password": lambda: refused(password=""),
    "unknown_user_takes_as_long": same_time,
    "tls_required_without": through((3159,), lambda: refused(at=port("clienttls"), ssl_disabled=True)[:1]),
    "tls_required_with": through(USER, lambda: who(connect(at=port("clienttls"), ssl=tls_context()))),
    "client_certificate": through(USER, lambda: who(connect(at=port("clientcert"), ssl=tls_context(True)))),
    "client_certificate_missing": through(True, lambda: refused(at=port("clientcert"), ssl=tls_context())[0] in (2013, 2006, 2003)),
}


def server_tls(mode):
    def work():
        connection = connect(at=port("to_" + mode))
        with connection.cursor() as cursor:
            cursor.execute("SHOW STATUS LIKE 'Ssl_cipher'")
            return bool(cursor.fetchone()[1])
    return through(mode != "disabled", work)


if __name__ == "__main__":
    for name, work in CASES.items():
        case(name, work)
    for mode in ("disabled", "preferred", "required", "verify_ca", "verify_identity"):
        case(f"server_tls_{mode}", server_tls(mode))
