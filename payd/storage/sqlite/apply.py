"""Running a batch inside the open transaction: all at once if every row fits, else halved until the misfit is alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

from payd.errors import AlreadyExists, StaleVersion, StorageError
from payd.storage.sqlite.connection import driver
from payd.storage.sqlite.statements import CHANNELS, ROW_COUNTS, Channel, Row, statement

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


def apply_together(connection: driver.Connection, batch: Sequence[Change]) -> None:
    """Send the rows of all ChangeSets through each channel, many per statement.

    Raises StorageError when one does not fit; the caller undoes all of it.
    """
    together: list[list[Row]] = [[] for _ in CHANNELS]
    for change in batch:
        for number, row in change.rows:
            together[number].append(row)
    most = ROW_COUNTS[-1]
    for number, rows in enumerate(together):
        for start in range(0, len(rows), most):
            _send(connection, number, rows[start : start + most])


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
    """Send each row alone, so that the refusal names its record."""
    for change in batch:
        for number, row in sorted(change.rows, key=lambda pair: pair[0]):
            _send(connection, number, [row])


def _send(connection: driver.Connection, number: int, rows: Sequence[Row]) -> None:
    """Run one statement. Raises StorageError when a row does not fit; of several rows it names the first."""
    channel = CHANNELS[number]
    try:
        changed = connection.execute(*statement(number, rows)).rowcount
    except _MISFITS as exc:
        raise _refusal(exc, channel, rows[0]) from exc
    if channel.counted and changed != len(rows):
        raise StaleVersion(channel.table, channel.key(rows[0]))


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
