"""A ChangeSet as SQL: one text of rows, and one statement that writes any number of them.

Each kind of write is a **channel**: inserting into a table, or replacing rows of it. The rows of a ChangeSet are a
piece of JSON, ``[channel, [value, ...]], ...``; the pieces of a whole batch make one text, and one INSERT into the
temporary view ``batch`` takes it apart: a trigger for each channel writes the row. So a batch is one call into SQLite,
from its first row to its fsync, and the interpreter is the loop's meanwhile; with a statement for each table the writer
had to wait for the interpreter a dozen times in every batch (README, D28).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, Final

import orjson

from payd.errors import StorageError
from payd.models.changes import ABSENT, ChangeSet, Versioned
from payd.models.discrepancy import Discrepancy
from payd.models.ledger import LedgerEntry
from payd.storage.sqlite.connection import driver
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

Row = list[Any]

#: What a trigger says when the row it was to replace is not there in that version.
STALE: Final = "stale version"


@dataclass(frozen=True, slots=True)
class Channel:
    """One kind of write. The first ``key_width`` values of a row tell which record it speaks of."""

    table: str
    columns: tuple[str, ...]
    key_width: int
    trigger: str  # what happens to one row

    def key(self, row: Sequence[Any]) -> str:
        """Name the record of a row."""
        return " ".join(str(value) for value in row[: self.key_width])


def _values(table: Table[Any] | None, columns: Sequence[str]) -> list[str]:
    """Write where each column's value is found. Bytes travel as text: JSON has none, and ours are JSON themselves."""
    blobs = table.mapper.blobs if table else frozenset()
    found = [f"NEW.row ->> {i}" for i in range(len(columns))]
    return [f"CAST({value} AS BLOB)" if name in blobs else value for name, value in zip(columns, found, strict=True)]


def _key_first(table: Table[Any]) -> tuple[str, ...]:
    return table.key + tuple(name for name in table.mapper.columns if name not in table.key)


def _insert(table: Table[Any], conflict: str = "") -> Channel:
    columns = _key_first(table)
    values = ", ".join(_values(table, columns))
    sql = f"INSERT INTO {table.name} ({', '.join(columns)}) VALUES ({values}) {conflict};"  # noqa: S608 - our own names
    return Channel(table.name, columns, len(table.key), sql)


def _update(table: Table[Any]) -> Channel:
    """Replace the row of a key and version; that it is not there in that version ends the whole statement."""
    left_alone = {*table.key, *table.fixed, "version"}
    changed = tuple(name for name in table.mapper.columns if name not in left_alone)
    key_width = len(table.key)
    columns = (*table.key, "version", *changed)
    pairs = [f"{name} = {value}" for name, value in zip(columns, _values(table, columns), strict=True)]
    sql = (
        f"UPDATE {table.name} SET version = version + 1, {', '.join(pairs[key_width + 1 :])}"  # noqa: S608
        f" WHERE {' AND '.join(pairs[: key_width + 1])};"
        f" SELECT raise(ABORT, '{STALE}') WHERE changes() <> 1;"
    )
    return Channel(table.name, columns, key_width, sql)


def _meta() -> Channel:
    columns = ("key", "value", "created_at", "updated_at")
    sql = (
        f"INSERT INTO meta ({', '.join(columns)}) VALUES ({', '.join(_values(None, columns))})"  # noqa: S608
        " ON CONFLICT (key) DO UPDATE SET value = excluded.value, updated_at = excluded.updated_at;"
    )
    return Channel("meta", columns, 1, sql)


#: In the order in which the rows of one ChangeSet are written: parents before children, records before what is told
#: about them.
CHANNELS: Final[tuple[Channel, ...]] = (
    *(_insert(table) for table in VERSIONED),
    _insert(DISCREPANCIES, "ON CONFLICT (id) DO NOTHING"),
    *(_update(table) for table in VERSIONED),
    *(_insert(table) for table in APPENDED),
    _meta(),
)

#: Made for each writing connection, beside the schema: temporary, so that no file holds them.
BATCH_VIEW: Final[tuple[str, ...]] = (
    "CREATE TEMP VIEW batch (channel, row) AS SELECT NULL, NULL",
    *(
        f"CREATE TEMP TRIGGER batch_{i} INSTEAD OF INSERT ON batch WHEN NEW.channel = {i} BEGIN {channel.trigger} END"
        for i, channel in enumerate(CHANNELS)
    ),
)
#: Takes the JSON text of a batch.
WRITE_BATCH: Final = "INSERT INTO temp.batch SELECT value ->> 0, value ->> 1 FROM json_each(?)"


def batch_text(pieces: Sequence[bytes]) -> str:
    """Join the pieces of a batch."""
    return (b"[" + b",".join(pieces) + b"]").decode()


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


def encode_change(change: ChangeSet, now: Callable[[], int]) -> bytes:
    """Turn a ChangeSet into its piece of a batch; empty when it writes nothing.

    ``now`` is asked for microseconds only when meta changes. Raises StorageError for a value that no row can hold, and
    for a posting that does not sum to zero: double entry is the storage's promise, too.
    """
    try:
        rows = _rows(change, now)
        piece = orjson.dumps(rows)[1:-1]
    except (TypeError, ValueError, AttributeError) as exc:  # a Decimal, a lone surrogate, a text that is a number
        raise StorageError(f"a value that no row can hold: {exc}") from exc
    if not KEEPS_NUL and rb"\u0000" in piece and any(_has_nul(row) for _, row in rows):
        raise StorageError("a value that no row can hold: this SQLite cuts text at a NUL")
    return piece


def _rows(change: ChangeSet, now: Callable[[], int]) -> list[tuple[int, Row]]:
    rows = [_encode_put(put.record, put.replaces) for put in change.puts]
    rows += [(_OPEN_DISCREPANCY, _PUTS[Discrepancy][1](found)) for found in change.open_discrepancies]
    rows.sort(key=_channel)
    for (channel, encode), records in (
        (_JOURNAL, change.journal),
        (_LEDGER, change.ledger),
        (_NOTIFICATIONS, change.notifications),
        (_ATTEMPTS, change.attempts),
    ):
        for record in records:
            rows.append((channel, encode(record)))
    if change.ledger:
        _require_balance(change.ledger)
    if change.meta:
        at = now()
        rows += [(_META_CHANNEL, [key, value, at, at]) for key, value in change.meta]
    return rows


_channel: Final = itemgetter(0)


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


def _has_nul(row: Row) -> bool:
    return any(isinstance(value, str) and "\0" in value for value in row)


def _keeps_nul() -> bool:
    """Ask SQLite whether its JSON keeps a NUL inside text: 3.53 does, 3.40 does not."""
    with contextlib.closing(driver.connect(":memory:")) as connection:
        ((length,),) = connection.execute("""SELECT length(CAST('["a\\u0000b"]' ->> 0 AS BLOB))""").fetchall()
    return bool(length == 3)


KEEPS_NUL: Final = _keeps_nul()
