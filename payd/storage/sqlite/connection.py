"""Connections: which driver, which pragmas, who may write. Nothing else in payd opens an SQLite file for writing.

The driver is the one sqlite-utils picks: ``pysqlite3`` where a wheel exists (it bundles a SQLite without the WAL-reset
bug of 3.7.0-3.51.2), else the standard library's. Their exceptions are unrelated classes, so payd always names
``driver.Error``.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from payd.errors import Complaint, ConfigError, StorageUnavailable

if TYPE_CHECKING:
    import sqlite3 as driver
else:
    from sqlite_utils.utils import sqlite3 as driver

#: How long the writer waits for a foreign lock (a person's sqlite3 shell) before it answers StorageUnavailable.
BUSY_TIMEOUT_SECONDS: Final = 1.0
#: The WAL is copied back after this many pages (4 KiB each): hot pages are copied once instead of once per commit.
CHECKPOINT_PAGES: Final = 8_192
#: Statements kept prepared per connection.
STATEMENTS_KEPT: Final = 64
WRITER_CACHE_KIB: Final = 65_536
READER_CACHE_KIB: Final = 16_384


def open_writer(path: Path) -> driver.Connection:
    """Open the writing connection: WAL, ``synchronous=FULL``, foreign keys on, explicit transactions.

    Usable from any one thread at a time. The caller holds the WriterLock.
    """
    connection = _connect(path, "rw")
    for pragma in (
        "journal_mode = WAL",
        "synchronous = FULL",
        "foreign_keys = ON",
        f"wal_autocheckpoint = {CHECKPOINT_PAGES}",
        f"journal_size_limit = {CHECKPOINT_PAGES * 4096}",
        f"cache_size = -{WRITER_CACHE_KIB}",
        "temp_store = MEMORY",  # the rows of a batch wait in a temporary table
    ):
        connection.execute(f"PRAGMA {pragma}").fetchall()
    return connection


def open_reader(path: Path) -> driver.Connection:
    """Open a read-only connection. It never checkpoints and cannot write."""
    connection = _connect(path, "ro")
    connection.execute(f"PRAGMA cache_size = -{READER_CACHE_KIB}").fetchall()
    connection.execute("PRAGMA query_only = ON").fetchall()
    return connection


def open_checker(path: Path) -> driver.Connection:
    """Open a connection for ``PRAGMA integrity_check`` alone, which passes over CHECKs on a read-only one (3.53).

    It must not be the last to close, or it would checkpoint: the caller keeps a reader open around it. ``query_only``
    holds it to reading. A file that may not be written is opened read-only all the same.
    """
    access = "rw" if os.access(path, os.W_OK) and os.access(path.parent, os.W_OK) else "ro"
    connection = _connect(path, access)
    connection.execute("PRAGMA query_only = ON").fetchall()
    connection.execute("PRAGMA wal_autocheckpoint = 0").fetchall()
    return connection


def _connect(path: Path, access: str) -> driver.Connection:
    return driver.connect(
        f"file:{quote(str(path.absolute()))}?mode={access}",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
        timeout=BUSY_TIMEOUT_SECONDS,
        cached_statements=STATEMENTS_KEPT,
    )


@contextlib.contextmanager
def reading(connection: driver.Connection) -> Iterator[driver.Connection]:
    """Hold one moment over several queries (a deferred transaction that only reads)."""
    connection.execute("BEGIN")
    try:
        yield connection
    finally:
        connection.execute("ROLLBACK")


@contextlib.contextmanager
def opening(path: Path) -> Iterator[None]:
    """Turn the driver's errors of opening into ConfigError (not a database) or StorageUnavailable (locked, no disk)."""
    try:
        yield
    except driver.OperationalError as exc:
        raise StorageUnavailable(f"{path} cannot be opened: {exc}") from exc
    except driver.DatabaseError as exc:
        raise ConfigError([Complaint("storage.path", f"{path} is not a payd database: {exc}")]) from exc


@contextlib.contextmanager
def refusals() -> Iterator[None]:
    """Turn the driver's errors of a read into StorageUnavailable."""
    try:
        yield
    except driver.Error as exc:
        raise StorageUnavailable(f"the database cannot be read: {exc}") from exc


class WriterLock:
    """The right to write: an exclusive advisory lock on ``<path>.lock``. The kernel drops it when the process dies."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as exc:
            holder = os.read(self._descriptor, 32).decode("ascii", "replace").strip() or "unknown"
            os.close(self._descriptor)
            raise StorageUnavailable(f"{path} is in use by another payd (process {holder})") from exc
        os.ftruncate(self._descriptor, 0)
        os.write(self._descriptor, f"{os.getpid()}\n".encode())

    def release(self) -> None:
        """Give the right back. The file stays: removing it would race with the next opener."""
        os.close(self._descriptor)


def create_file(path: Path) -> None:
    """Make the empty database file with mode 0600, unless it is there. Raises ConfigError: no folder, no permission."""
    if not path.parent.is_dir():
        raise ConfigError([Complaint("storage.path", f"the folder {path.parent} does not exist")])
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as exc:
        raise ConfigError([Complaint("storage.path", f"{path} cannot be opened: {exc.strerror}")]) from exc


__all__ = [
    "BUSY_TIMEOUT_SECONDS", "WriterLock", "create_file", "driver", "open_checker", "open_reader", "open_writer",
    "opening", "reading", "refusals",
]  # fmt: skip
