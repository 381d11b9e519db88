"""Running a batch inside the open transaction: all at once if every row fits, else halved until the misfit is alone."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any, Final, Protocol

from payd.errors import AlreadyExists, StaleVersion, StorageError
from payd.storage.sqlite.connection import driver
from payd.storage.sqlite.statements import CHANNELS, ROW_COUNTS, Channel, Row, sql

#: What a value that cannot be written raises: a constraint, a type, an integer beyond 64 bits, a lone surrogate.
_MISFITS: Final = (
    driver.IntegrityError,
    driver.DataError,
    driver.InterfaceError,
    driver.ProgrammingError,
    OverflowError,
    TypeError,
    ValueError,
)


class Change(Protocol):
    """A ChangeSet as rows per channel. ``error`` is set when it is refused."""

    rows: list[tuple[int, Row]]
    error: StorageError | None


class _Misfit(Exception):
    """Some row of the batch changed nothing: a version has gone."""


def apply_batch(connection: driver.Connection, batch: Sequence[Change]) -> None:
    """Write every ChangeSet that fits; the others get their ``error`` and leave nothing behind.

    Raises driver.Error when the disk or a foreign lock refuses; then the whole transaction is to be given up.
    """
    connection.execute("SAVEPOINT batch")
    try:
        if len(batch) == 1:
            _apply_one(connection, batch[0])
        else:
            _apply_together(connection, batch)
    except (_Misfit, *_MISFITS):
        connection.execute("ROLLBACK TO batch")
        connection.execute("RELEASE batch")
        middle = len(batch) // 2
        apply_batch(connection, batch[:middle])
        apply_batch(connection, batch[middle:])
    except StorageError as error:
        connection.execute("ROLLBACK TO batch")
        connection.execute("RELEASE batch")
        batch[0].error = error
    else:
        connection.execute("RELEASE batch")


def _apply_together(connection: driver.Connection, batch: Sequence[Change]) -> None:
    """Send the rows of all ChangeSets through each channel, many per statement."""
    together: list[list[Row]] = [[] for _ in CHANNELS]
    for change in batch:
        for number, row in change.rows:
            together[number].append(row)
    for channel, rows in zip(CHANNELS, together, strict=True):
        start = 0
        while start < len(rows):
            count = next(size for size in ROW_COUNTS if size <= len(rows) - start)
            values = list(chain.from_iterable(rows[start : start + count]))
            changed = connection.execute(sql(channel, count), values).rowcount
            if channel.counted and changed != count:
                raise _Misfit
            start += count


def _apply_one(connection: driver.Connection, change: Change) -> None:
    """Send one ChangeSet row by row, so that a refusal can name its record. Raises StorageError."""
    for number, row in sorted(change.rows, key=lambda pair: pair[0]):
        channel = CHANNELS[number]
        try:
            changed = connection.execute(sql(channel, 1), row).rowcount
        except _MISFITS as exc:
            raise _refusal(exc, channel, row) from exc
        if channel.counted and changed != 1:
            raise StaleVersion(channel.table, channel.key(row))


def _refusal(exc: Exception, channel: Channel, row: Sequence[Any]) -> StorageError:
    """Say what was refused: a unique column is AlreadyExists, anything else a mistake of the caller."""
    text = str(exc)
    if text.startswith("UNIQUE constraint failed: "):
        column = text.removeprefix("UNIQUE constraint failed: ").split(", ")[0]
        name = column.rpartition(".")[2]
        if name in channel.columns[: channel.key_width]:
            return AlreadyExists(channel.table, channel.key(row))
        return AlreadyExists(column, str(row[channel.columns.index(name)]))
    return StorageError(f"{channel.table} {channel.key(row)} is refused: {text}")
