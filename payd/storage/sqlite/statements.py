"""A ChangeSet as SQL: which rows go through which statement, for one ChangeSet or for many at once.

Each kind of write is a **channel**: one statement that takes any number of rows. The rows of all ChangeSets of a batch
go through a channel together, so that a batch costs about as many statements as a single ChangeSet: the driver gives up
the interpreter lock around each statement, and each time has to wait for it again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final

from payd.errors import StorageError
from payd.models.changes import ABSENT, ChangeSet, Versioned
from payd.models.ledger import LedgerEntry
from payd.storage.sqlite.rows import (
    APPENDED,
    ATTEMPTS,
    DISCREPANCIES,
    JOURNAL,
    LEDGER,
    NOTIFICATIONS,
    VERSIONED,
    Table,
)

#: Rows a statement has room for: few shapes stay prepared, and a batch needs one statement of each channel.
ROW_COUNTS: Final = (1, 2, 4, 8, 16, 32, 64)

Row = list[Any]


@dataclass(frozen=True, slots=True)
class Channel:
    """One kind of write. ``counted``: each row must change exactly one row of the table.

    ``key`` tells which record a row speaks of, for the error that names it.
    """

    table: str
    columns: tuple[str, ...]
    head: str
    tail: str
    counted: bool
    key_width: int

    def key(self, row: Sequence[Any]) -> str:
        """Name the record of a row."""
        return " ".join(str(value) for value in row[: self.key_width])


def _sql(channel: Channel, rows: int) -> str:
    """Write the statement for so many rows; those whose key is NULL are room that nobody needed."""
    one = f"({', '.join('?' * len(channel.columns))})"
    return f"{channel.head}(VALUES {', '.join([one] * rows)}){channel.tail}"


def _key_first(table: Table[Any]) -> tuple[str, ...]:
    return table.key + tuple(name for name in table.mapper.columns if name not in table.key)


def _insert(table: Table[Any], conflict: str = "") -> Channel:
    columns = _key_first(table)
    head = f"INSERT INTO {table.name} ({', '.join(columns)}) SELECT * FROM "  # noqa: S608 - names from our own tables
    tail = f" WHERE column1 IS NOT NULL {conflict}"
    return Channel(table.name, columns, head, tail, counted=not conflict, key_width=len(table.key))


def _update(table: Table[Any]) -> Channel:
    """Replace the row of a key and version. A row that is not there in that version is not counted as changed."""
    left_alone = {*table.key, *table.fixed, "version"}
    changed = tuple(name for name in table.mapper.columns if name not in left_alone)
    columns = (*table.key, "version", *changed)
    key_width = len(table.key)
    sets = ", ".join(f"{name} = n.column{i}" for i, name in enumerate(changed, start=key_width + 2))
    match = " AND ".join(f"{name} = n.column{i}" for i, name in enumerate(columns[: key_width + 1], start=1))
    return Channel(
        table.name, columns,
        f"UPDATE {table.name} SET version = version + 1, {sets} FROM ",  # noqa: S608
        f" AS n WHERE {match}",
        counted=True, key_width=key_width,
    )  # fmt: skip


_META: Final = Channel(
    "meta", ("key", "value", "created_at", "updated_at"),
    "INSERT INTO meta (key, value, created_at, updated_at) SELECT * FROM ",
    " WHERE column1 IS NOT NULL"
    " ON CONFLICT (key) DO UPDATE SET value = excluded.value, updated_at = excluded.updated_at",
    counted=False, key_width=1,
)  # fmt: skip

#: In the order in which they run: parents before children, records before what is told about them.
CHANNELS: Final[tuple[Channel, ...]] = (
    *(_insert(table) for table in VERSIONED),
    _insert(DISCREPANCIES, "ON CONFLICT (id) DO NOTHING"),
    *(_update(table) for table in VERSIONED),
    *(_insert(table) for table in APPENDED),
    _META,
)
_STATEMENTS: Final = tuple(tuple((rows, _sql(channel, rows)) for rows in ROW_COUNTS) for channel in CHANNELS)


def statement(number: int, rows: Sequence[Row]) -> tuple[str, list[Any]]:
    """Find the smallest statement of a channel that has room for the rows, at most the largest of ``ROW_COUNTS``."""
    room, sql = next(pair for pair in _STATEMENTS[number] if pair[0] >= len(rows))
    values = list(chain.from_iterable(rows))
    if room > len(rows):
        values += [None] * ((room - len(rows)) * len(rows[0]))
    return sql, values


_FIRST_UPDATE: Final = len(VERSIONED) + 1
_FIRST_APPEND: Final = _FIRST_UPDATE + len(VERSIONED)
_OPEN_DISCREPANCY: Final = len(VERSIONED)
_META_CHANNEL: Final = len(CHANNELS) - 1

Encoder = Callable[[Any], Row]


def _put_encoders() -> dict[type, tuple[int, Encoder, int, Encoder]]:
    """Make, per class of record: the insert's channel and encoder, the update's channel and encoder."""
    table_of: dict[type, tuple[int, Encoder, int, Encoder]] = {}
    for i, table in enumerate(VERSIONED):
        insert, update = CHANNELS[i], CHANNELS[_FIRST_UPDATE + i]
        encode = table.mapper.encoder
        table_of[table.record] = (i, encode(insert.columns), _FIRST_UPDATE + i, encode(update.columns))
    return table_of


_PUTS: Final = _put_encoders()
_VERSION_AT: Final = {i: channel.key_width for i, channel in enumerate(CHANNELS)}
_APPENDERS: Final = {
    table.name: (_FIRST_APPEND + i, table.mapper.encoder(CHANNELS[_FIRST_APPEND + i].columns))
    for i, table in enumerate(APPENDED)
}
_JOURNAL, _LEDGER = _APPENDERS[JOURNAL.name], _APPENDERS[LEDGER.name]
_NOTIFICATIONS, _ATTEMPTS = _APPENDERS[NOTIFICATIONS.name], _APPENDERS[ATTEMPTS.name]


def encode_change(change: ChangeSet, now: Callable[[], int]) -> list[tuple[int, Row]]:
    """Turn a ChangeSet into (channel number, row) pairs. ``now`` is asked for microseconds only when meta changes.

    Raises StorageError for a posting that does not sum to zero: double entry is the storage's promise, too.
    """
    rows: list[tuple[int, Row]] = []
    for put in change.puts:
        rows.append(_encode_put(put.record, put.replaces))
    for discrepancy in change.open_discrepancies:
        rows.append((_OPEN_DISCREPANCY, _PUTS[type(discrepancy)][1](discrepancy)))
    for line in change.journal:
        rows.append((_JOURNAL[0], _JOURNAL[1](line)))
    if change.ledger:
        _require_balance(change.ledger)
        for entry in change.ledger:
            rows.append((_LEDGER[0], _LEDGER[1](entry)))
    for notification in change.notifications:
        rows.append((_NOTIFICATIONS[0], _NOTIFICATIONS[1](notification)))
    for attempt in change.attempts:
        rows.append((_ATTEMPTS[0], _ATTEMPTS[1](attempt)))
    for key, value in change.meta:
        at = now()
        rows.append((_META_CHANNEL, [key, value, at, at]))
    return rows


def _encode_put(record: Versioned, replaces: int) -> tuple[int, Row]:
    insert, encode_insert, update, encode_update = _PUTS[type(record)]
    if replaces == ABSENT:
        return insert, encode_insert(record)
    row = encode_update(record)
    row[_VERSION_AT[update]] = replaces
    return update, row


def _require_balance(entries: Sequence[LedgerEntry]) -> None:
    sums: dict[str, int] = {}
    for entry in entries:
        sums[entry.posting_id] = sums.get(entry.posting_id, 0) + entry.amount_fen
    for posting_id, total in sums.items():
        if total:
            raise StorageError(f"posting {posting_id} does not sum to zero")
