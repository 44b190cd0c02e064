"""The database of a sweep: its driver, a lock and a clock that processes share."""

from __future__ import annotations

import contextlib
import datetime
import functools
import importlib.util
import os
import platform
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from marlx.sweeps.search import optuna_module

_LOCKS = 0x6D61726C
"""First half of the keys of our advisory locks, so that they are not those of another program."""
_LONGEST_TURN = "300s"
"""After this time without a statement PostgreSQL takes the lock from a process that hangs."""


class Storage:
    """An Optuna storage that any number of processes open at the same time.

    Processes take turns where one must not see what another has half done: while tables are
    created, and while a trial changes hands. SQLite locks no rows, so the folder of its file is
    locked; PostgreSQL has advisory locks. Both end with the process that holds them. Other
    databases are opened without a lock.

    Args:
      url: an Optuna storage URL, e.g. `sqlite:///study.db` or `postgresql://user:word@host/name`.

    Raises:
      ValueError: the URL cannot be read, or its driver is not installed.
    """

    def __init__(self, url: str) -> None:
        optuna_module()
        self.url = _with_driver(url)
        self._folder = _folder_of(url)
        self._engine: Any = None
        if self.url.startswith("postgresql"):
            import sqlalchemy

            with self.reported():
                self._engine = sqlalchemy.create_engine(
                    self.url, poolclass=sqlalchemy.pool.NullPool
                )

    @property
    def locks(self) -> bool:
        """Whether `turn` keeps other processes out."""
        return self._folder is not None or self._engine is not None

    def open(self) -> Any:
        """Returns Optuna's storage, with its tables created.

        Raises:
          ValueError: the database cannot be opened.
        """
        optuna = optuna_module()
        sqlite = self.url.startswith("sqlite")
        arguments = {"connect_args": {"timeout": 60}} if sqlite else {"pool_pre_ping": True}
        with self.reported(), self.turn():
            return optuna.storages.RDBStorage(self.url, engine_kwargs=arguments)

    @contextlib.contextmanager
    def turn(self, name: str = "") -> Iterator[None]:
        """Holds the lock of `name` in this database inside a `with` block; not to be nested."""
        if self._engine is not None:
            with self._advisory_lock(name):
                yield
        elif self._folder is not None:
            with _locked(self._folder):
                yield
        else:
            yield

    def now(self) -> float:
        """Returns the time in seconds, by the database's clock where machines may share it."""
        if self._engine is None:
            return time.time()
        import sqlalchemy

        with self._engine.connect() as connection:
            found: datetime.datetime = connection.scalar(sqlalchemy.select(sqlalchemy.func.now()))
        return found.timestamp()

    @contextlib.contextmanager
    def reported(self) -> Iterator[None]:
        """Turns the error of any database driver into one line."""
        try:
            yield
        except Exception as error:
            reason = " ".join(str(error).split("\n")[0].split())
            raise ValueError(f"cannot open the storage {hidden(self.url)}: {reason}") from None

    @contextlib.contextmanager
    def _advisory_lock(self, name: str) -> Iterator[None]:
        import sqlalchemy

        key = {"all": _LOCKS, "one": zlib.crc32(name.encode()) - 2**31}
        with self._engine.connect() as connection:
            connection.exec_driver_sql(
                f"SET LOCAL idle_in_transaction_session_timeout = '{_LONGEST_TURN}'"
            )
            connection.execute(sqlalchemy.text("SELECT pg_advisory_xact_lock(:all, :one)"), key)
            yield
            with contextlib.suppress(sqlalchemy.exc.SQLAlchemyError):  # the lock is gone already
                connection.rollback()


def sqlite(folder: Path) -> str:
    """Returns the storage URL of a sweep folder's own database."""
    return f"sqlite:///{(folder / 'study.db').resolve()}"


def hidden(url: str) -> str:
    """Returns a storage URL without its password."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://...@{rest.rsplit('@', 1)[1]}" if "@" in rest else url


@functools.cache
def machine() -> str:
    """Returns a name under which process numbers are unique: host, its boot, process namespace."""
    parts = [platform.node()]
    with contextlib.suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip()[:8])
        parts.append(str(os.stat("/proc/self/ns/pid").st_ino))
    return "/".join(parts)


def process_runs(number: int) -> bool:
    """Whether there is a process with this number on this machine."""
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Holds the lock of a folder, where the system has such locks."""
    try:
        import fcntl
    except ImportError:  # there are none on Windows
        yield
        return
    folder = os.open(path, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def _with_driver(url: str) -> str:
    """Returns a PostgreSQL URL with a driver that is installed; other URLs as they are.

    SQLAlchemy 2.0 takes psycopg2 where none is named, and 2.1 takes psycopg.

    Raises:
      ValueError: there is none.
    """
    scheme, separator, rest = url.partition("://")
    if scheme not in ("postgres", "postgresql"):
        return url
    for driver in ("psycopg", "psycopg2"):
        if importlib.util.find_spec(driver) is not None:
            return f"postgresql+{driver}{separator}{rest}"
    raise ValueError("PostgreSQL needs a driver: pip install 'marlx[sweep-postgres]'")


def _folder_of(url: str) -> Path | None:
    """Returns the folder of a database file; None for other storages."""
    scheme, _, path = url.partition(":///")
    folder = Path(path).parent
    return folder if scheme.startswith("sqlite") and path and folder.is_dir() else None
