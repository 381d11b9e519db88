"""Copies of a running database: complete, consistent, in one file, readable by the owner alone."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from payd.errors import StorageUnavailable
from payd.storage.sqlite.connection import driver, open_reader


def copy_database(source: Path, target: Path) -> None:
    """Copy ``source`` as it is at one moment to ``target`` (mode 0600), which must not exist.

    The copy is one file without a WAL and is on disk when this returns; a crash leaves ``<target>.partial``.
    Raises StorageUnavailable: the target exists or cannot be written; nothing is left there.
    """
    try:
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except OSError as exc:
        raise StorageUnavailable(f"cannot make the copy {target}: {exc.strerror}") from exc
    partial = target.with_name(f"{target.name}.partial")
    try:
        os.close(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600))
        _copy_pages(source, partial)
        os.replace(partial, target)
        _sync_folder(target.parent)
    except (driver.Error, OSError) as exc:
        for path in (partial, target):
            path.unlink(missing_ok=True)
        raise StorageUnavailable(f"cannot make the copy {target}: {exc}") from exc


def _copy_pages(source: Path, partial: Path) -> None:
    with (
        contextlib.closing(open_reader(source)) as reader,
        contextlib.closing(driver.connect(str(partial), isolation_level=None)) as copy,
    ):
        reader.backup(copy)
        copy.execute("PRAGMA journal_mode = DELETE").fetchall()
    descriptor = os.open(partial, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
