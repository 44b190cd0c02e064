"""A PostgreSQL server of a test's own: on a socket in a temporary folder, no network."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path


def missing() -> str:
    """What a server would need that is not here; empty if all is."""
    if _bin() is None:
        return "needs postgres (Debian: postgresql)"
    if importlib.util.find_spec("psycopg") is None:
        return "needs psycopg (marlx[sweep-postgres])"
    if os.getuid() == 0 and not _user():
        return "postgres refuses root, and there is no other user"
    return ""


@contextlib.contextmanager
def server() -> Iterator[str]:
    """Runs a server with an empty database; its URL for SQLAlchemy."""
    programs = _bin()
    assert programs is not None
    # not pytest's folder: another user must reach it, and the name of a socket is short
    folder = Path(tempfile.mkdtemp(prefix="marlx-pg-", dir="/tmp"))
    user = _user() if os.getuid() == 0 else None
    if user:
        shutil.chown(folder, user)
    owner = {"user": user, "group": pwd.getpwnam(user).pw_gid, "extra_groups": []} if user else {}

    def run(*words: str) -> None:
        done = subprocess.run(words, capture_output=True, text=True, timeout=60, cwd="/", **owner)
        assert done.returncode == 0, done.stderr + done.stdout

    data = str(folder / "data")
    settings = f"-c listen_addresses= -c unix_socket_directories={folder} -c fsync=off"
    control = str(programs / "pg_ctl")
    try:
        make = ("--auth=trust", "--username=marlx", "--no-sync", "--no-instructions")
        run(str(programs / "initdb"), "-D", data, "--encoding=UTF8", "--locale=C", *make)
        run(control, "-D", data, "-w", "-l", str(folder / "log"), "-o", settings, "start")
        yield f"postgresql://marlx@/postgres?host={folder}"
    finally:
        with contextlib.suppress(AssertionError):  # it did not start
            run(control, "-D", data, "-m", "immediate", "stop")
        shutil.rmtree(folder, ignore_errors=True)


def _bin() -> Path | None:
    """Folder of the newest `initdb`."""
    installed = Path("/usr/lib/postgresql").glob("*/bin/initdb")
    found = sorted(installed, key=lambda path: float(path.parts[-3]))
    on_path = shutil.which("initdb")
    return found[-1].parent if found else Path(on_path).resolve().parent if on_path else None


def _user() -> str:
    """Name of a user that may run a server where root may not."""
    names = {entry.pw_name for entry in pwd.getpwall()}
    return next((name for name in ("postgres", "nobody") if name in names), "")
