"""What the programs here have in common: they run cases and print one line for each.

`ok NAME VALUE` or `fail NAME REASON`. `run` compares the lines of a client directly and through
Highgate, so a VALUE is something that must be the same both ways.
"""

import os
import sys
import traceback

HOST = os.environ.get("DB_HOST", "127.0.0.1")
PORT = int(os.environ.get("DB_PORT", "3306"))
USER = os.environ.get("DB_USER", "app")
PASSWORD = os.environ.get("DB_PASSWORD", "app")
DATABASE = os.environ.get("DB_DATABASE", "shop")
SMOKE = bool(os.environ.get("DB_SMOKE"))


def case(name, work, *args):
    """Runs one case; its value is part of what is compared."""
    try:
        value = work(*args)
        print(f"ok {name} {one_line(value)}", flush=True)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 - whatever a client raises is a result
        if os.environ.get("DB_TRACE"):
            traceback.print_exc(file=sys.stderr)
        print(f"fail {name} {type(error).__name__}: {one_line(error)}", flush=True)


def one_line(value):
    text = "" if value is None else str(value)
    text = " ".join(text.split())
    return text if len(text) < 400 else text[:400] + "…"
