"""Storage: the books behind ``ports.Storage``. Two backends pass one contract: SQLite, and memory as its reference."""

from __future__ import annotations

import contextlib
from pathlib import Path

from payd.errors import Complaint, ConfigError
from payd.ports import Clock
from payd.storage.memory import MemoryStorage
from payd.storage.sqlite.connection import open_reader, opening
from payd.storage.sqlite.reads import SqliteReads
from payd.storage.sqlite.schema import KNOWN, applied_migrations
from payd.storage.sqlite.store import SqliteStorage
from payd.storage.sqlite.writer import OnCommit


def open_storage(path: Path, *, mode: str, clock: Clock, on_commit: OnCommit | None = None) -> SqliteStorage:
    """Open the books for writing; makes the file (mode 0600) and brings its schema up to date.

    ``mode`` is ``sandbox`` or ``live``: the file remembers it and refuses the other. ``on_commit`` hears, on the loop,
    of each ChangeSet: outcome (``ok``, ``stale``, ``exists``, ``refused``, ``unavailable``), seconds from the call to
    the answer, ChangeSets that shared its fsync.
    Raises ConfigError (no folder, no permission, no payd database, a newer one, the other mode) and StorageUnavailable
    (another process writes to it).
    """
    return SqliteStorage(path, mode=mode, clock=clock, on_commit=on_commit)


def open_for_reading(path: Path) -> SqliteReads:
    """Open existing books for reading only, beside a running daemon or alone. Raises ConfigError: there are none."""
    if not path.is_file():
        raise ConfigError([Complaint("storage.path", f"{path} does not exist")])
    with opening(path), contextlib.closing(open_reader(path)) as connection:
        if applied_migrations(connection, path) != KNOWN:
            raise ConfigError([Complaint("storage.path", f"{path} has an older schema: start payd once to migrate it")])
    return SqliteReads(path)


__all__ = ["MemoryStorage", "OnCommit", "SqliteReads", "SqliteStorage", "open_for_reading", "open_storage"]
