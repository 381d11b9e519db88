"""Running a batch: all at once if every row fits, else halved until the misfit is alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

import orjson

from payd.errors import AlreadyExists, StaleVersion, StorageError
from payd.storage.sqlite.connection import driver
from payd.storage.sqlite.statements import CHANNELS, STALE, WRITE_BATCH, Channel, batch_text

#: What a row that cannot be written raises: a constraint, a type, a version that is not there.
_MISFITS: Final = (driver.IntegrityError, driver.DataError)


class Change(Protocol):
    """A ChangeSet as its piece of a batch. ``error`` is set when it is refused."""

    piece: bytes
    error: StorageError | None


def apply_together(connection: driver.Connection, batch: Sequence[Change]) -> None:
    """Write all ChangeSets in one statement. Raises StorageError when one does not fit; then nothing is written."""
    try:
        connection.execute(WRITE_BATCH, (batch_text([change.piece for change in batch]),))
    except _MISFITS as exc:
        raise StorageError(f"one of {len(batch)} is refused: {exc}") from exc


def apply_fitting(connection: driver.Connection, batch: Sequence[Change]) -> None:
    """Write every ChangeSet that fits; the others get their ``error`` and leave nothing behind.

    Raises driver.Error when the disk or a foreign lock refuses; then the whole transaction is to be given up.
    """
    if _attempt(connection, apply_together, batch) is None:
        return
    if len(batch) == 1:
        batch[0].error = _attempt(connection, _apply_row_by_row, batch)
        return
    middle = len(batch) // 2
    apply_fitting(connection, batch[:middle])
    apply_fitting(connection, batch[middle:])


def _attempt(
    connection: driver.Connection, apply: Callable[[driver.Connection, Sequence[Change]], None], batch: Sequence[Change]
) -> StorageError | None:
    """Run ``apply`` in a savepoint; when a row does not fit, undo all of it and return the refusal."""
    connection.execute("SAVEPOINT attempt")
    try:
        apply(connection, batch)
    except StorageError as refusal:
        connection.execute("ROLLBACK TO attempt")
        connection.execute("RELEASE attempt")
        return refusal
    connection.execute("RELEASE attempt")
    return None


def _apply_row_by_row(connection: driver.Connection, batch: Sequence[Change]) -> None:
    """Write each row alone, so that the refusal names its record."""
    for change in batch:
        for number, row in orjson.loads(batch_text([change.piece])):
            try:
                connection.execute(WRITE_BATCH, (batch_text([orjson.dumps([number, row])]),))
            except _MISFITS as exc:
                raise _refusal(exc, CHANNELS[number], row) from exc


def _refusal(exc: Exception, channel: Channel, row: Sequence[Any]) -> StorageError:
    """Say what was refused: another version, a unique column, or else a mistake of the caller."""
    text = str(exc)
    if text == STALE:
        return StaleVersion(channel.table, channel.key(row))
    if text.startswith("UNIQUE constraint failed: "):
        column = text.removeprefix("UNIQUE constraint failed: ").split(", ")[0]
        name = column.rpartition(".")[2]
        if name in channel.columns[: channel.key_width]:
            return AlreadyExists(channel.table, channel.key(row))
        return AlreadyExists(column, str(row[channel.columns.index(name)]))
    return StorageError(f"{channel.table} {channel.key(row)} is refused: {text}")
