"""sysbench's OLTP loads, with and without prepared statements: each must run without an error."""

import re
import shutil
import subprocess
import time

from case import DATABASE, HOST, PASSWORD, PORT, SMOKE, USER, case

OPTIONS = ["--db-driver=mysql", f"--mysql-host={HOST}", f"--mysql-port={PORT}", f"--mysql-user={USER}",
           f"--mysql-password={PASSWORD}", f"--mysql-db={DATABASE}", "--tables=2", "--table-size=2000"]


def bench(load, command, *more):
    done = subprocess.run(["sysbench", load, *OPTIONS, *more, command], capture_output=True, text=True, timeout=180)
    if done.returncode or "FATAL" in done.stdout + done.stderr:
        raise RuntimeError(done.stdout + done.stderr)
    counted = re.findall(r"(ignored errors|reconnects):\s+(\d+)", done.stdout)
    # Deadlocks between the threads of a load are the database's, not the way's.
    return "" if "write" in load else counted


def prepare():
    """The tables, until another session sees them: it may read from a replica, which has them a moment later."""
    bench("oltp_read_write", "prepare")
    ask = ["mariadb", "--no-defaults", f"-h{HOST}", f"-P{PORT}", f"-u{USER}", f"-p{PASSWORD}", "-N", DATABASE,
           "-e", "SELECT (SELECT COUNT(*) FROM sbtest1), (SELECT COUNT(*) FROM sbtest2)"]
    gives_up = time.monotonic() + 30
    while (seen := subprocess.run(ask, capture_output=True, text=True)).stdout.split() != ["2000", "2000"]:
        if time.monotonic() > gives_up:
            raise RuntimeError(f"the tables are not seen: {seen.stdout}{seen.stderr}")
        time.sleep(0.1)


def main():
    case("prepare", prepare)
    loads = ["oltp_point_select", "oltp_read_only", "oltp_read_write"]
    if not SMOKE:
        loads += ["oltp_write_only", "oltp_update_index", "oltp_insert", "oltp_delete", "select_random_ranges"]
    for load in loads:
        for mode in ("disable", "auto"):
            events = "20" if SMOKE else "200"
            more = [f"--db-ps-mode={mode}", "--threads=4", "--time=30", f"--events={events}"]
            case(f"{load}_{mode}", bench, load, "run", *more)
    case("cleanup", bench, "oltp_read_write", "cleanup")


if __name__ == "__main__":
    if not shutil.which("sysbench"):
        raise SystemExit("skip: no sysbench")
    main()
