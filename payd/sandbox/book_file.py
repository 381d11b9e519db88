"""Keeps the book on disk so that a killed simulator comes back knowing everything.

One row per object in SQLite. ``synchronous=OFF`` is right here: a killed process loses nothing, and what a
power cut takes was never real money. The file is locked: two simulators cannot share one book.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import orjson

from payd.sandbox.errors import DirectoryRefused

_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS objects"
    "(kind TEXT NOT NULL, id TEXT NOT NULL, body BLOB NOT NULL, PRIMARY KEY (kind, id)) WITHOUT ROWID"
)


class BookFile:
    """The rows of one ``book.db``; opened by one process at a time."""

    def __init__(self, path: Path) -> None:
        """Open or make the file. Raises DirectoryRefused when it is in use or is no book."""
        self._db = sqlite3.connect(path, timeout=0.5, isolation_level=None, check_same_thread=False)
        try:
            path.chmod(0o600)
            for pragma in ("locking_mode=EXCLUSIVE", "journal_mode=WAL", "synchronous=OFF"):
                self._db.execute(f"PRAGMA {pragma}").fetchall()
            self._db.execute("BEGIN IMMEDIATE")
            self._db.execute(_SCHEMA)
            self._db.execute("COMMIT")
        except sqlite3.Error as exc:
            self._db.close()
            raise DirectoryRefused(f"{path}: {exc}. Is another simulator running on this directory?") from exc

    def load(self, kind: str) -> list[dict[str, Any]]:
        """Every object of ``kind``, in the order of their ids."""
        rows = self._db.execute("SELECT body FROM objects WHERE kind = ? ORDER BY id", (kind,)).fetchall()
        return [orjson.loads(body) for (body,) in rows]

    def store(self, objects: Iterable[tuple[str, str, object]]) -> None:
        """Write ``(kind, id, object)`` rows in one transaction."""
        self._db.execute("BEGIN")
        self._db.executemany(
            "INSERT OR REPLACE INTO objects VALUES (?, ?, ?)",
            [(kind, key, orjson.dumps(value)) for kind, key, value in objects],
        )
        self._db.execute("COMMIT")

    def close(self) -> None:
        """Close the file; it must not be used afterwards."""
        self._db.close()
