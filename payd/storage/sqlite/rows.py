"""Rows to records and back. The codec of each column follows from the record's type hint; this table is all there is.

| hint | column |
|---|---|
| str, int | TEXT, INTEGER as they are |
| bytes | BLOB; they are UTF-8, and travel to SQLite as text |
| bool | INTEGER 0 or 1 |
| datetime | INTEGER microseconds since 1970-01-01 UTC; naive times are refused |
| date | TEXT YYYY-MM-DD |
| an Enum | TEXT, its value |
| Mapping | TEXT, JSON with sorted keys |
| tuple[Step, ...] | TEXT, JSON [[step, verdict], ...] |
"""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime
from enum import StrEnum
from operator import attrgetter
from typing import Any, Final, Generic, TypeVar, Union, get_args, get_origin, get_type_hints

import orjson

from payd.models.bill import BillRun
from payd.models.discrepancy import Discrepancy
from payd.models.evolve import fill, shape_of
from payd.models.idempotency import IdempotencyRecord
from payd.models.journal import JournalLine
from payd.models.ledger import LedgerEntry
from payd.models.notification import NotificationRecord, Step
from payd.models.order import Order, Payment
from payd.models.refund import Refund
from payd.models.webhook import Delivery, DeliveryAttempt

R = TypeVar("R")
Codec = Callable[[Any], Any]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def microseconds(at: datetime) -> int:
    """Count microseconds since 1970, as ``models.journal.stamp`` does. Raises TypeError for a naive time."""
    since = at - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def moment(count: int) -> datetime:
    """Turn stored microseconds into an aware time in UTC.

    Exact until 2242: a float of that size is wrong by less than half a microsecond, and is rounded to whole ones.
    """
    return datetime.fromtimestamp(count / 1_000_000, UTC)


def json_text(value: Any) -> str:
    """Write JSON, compact, keys sorted."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()


def _steps_text(steps: tuple[Step, ...]) -> str:
    return orjson.dumps([(step.step, step.verdict) for step in steps]).decode()


def _steps(text: str) -> tuple[Step, ...]:
    return tuple(Step(step=step, verdict=verdict) for step, verdict in orjson.loads(text))


def _codec(hint: Any) -> tuple[Codec | None, Codec | None]:
    """Find (encode, decode) for a type hint; None: nothing is to be done. None values never get here.

    Values go to SQLite as JSON, which has booleans and takes an Enum by its value.
    """
    if get_origin(hint) in (Union, types.UnionType):
        (hint,) = (part for part in get_args(hint) if part is not type(None))
    if hint in (str, int):
        return None, None
    if hint is bool:
        return None, bool
    if hint is bytes:
        return bytes.decode, None
    if hint is datetime:
        return microseconds, moment
    if hint is date:
        return date.isoformat, date.fromisoformat
    if hint == tuple[Step, ...]:
        return _steps_text, _steps
    if get_origin(hint) is Mapping:
        return json_text, orjson.loads
    assert isinstance(hint, type), hint
    assert issubclass(hint, StrEnum), hint
    return None, {member.value: member for member in hint}.__getitem__


class Mapper(Generic[R]):
    """Turns records of one class into lists of SQL values, in the order of the record's fields, and back."""

    def __init__(self, record: type[R]) -> None:
        hints = get_type_hints(record)
        self.columns: Final = tuple(field.name for field in fields(record))  # type: ignore[arg-type]
        codecs = [_codec(hints[name]) for name in self.columns]
        self.record: Final = record
        self.blobs: Final = frozenset(name for name in self.columns if bytes in (hints[name], *get_args(hints[name])))
        self._decoders = tuple((i, decode) for i, (_, decode) in enumerate(codecs) if decode)
        self._setters = shape_of(record).setters

    def decode(self, row: Sequence[Any]) -> R:
        """Make the record of one row, whose values are in the order of ``columns``."""
        values = list(row)
        for i, decode in self._decoders:
            if values[i] is not None:
                values[i] = decode(values[i])
        return fill(self.record, self._setters, values)

    def encoder(self, columns: Sequence[str]) -> Callable[[R], list[Any]]:
        """Make a function that turns a record into the values of ``columns``."""
        hints = get_type_hints(self.record)
        codecs = [_codec(hints[name])[0] for name in columns]
        encoders = tuple((i, encode) for i, encode in enumerate(codecs) if encode)
        read = attrgetter(*columns)

        def encode(record: R) -> list[Any]:
            values = list(read(record))
            for i, convert in encoders:
                if values[i] is not None:
                    values[i] = convert(values[i])
            return values

        return encode


@dataclass(frozen=True, slots=True)
class Table(Generic[R]):
    """One table of records. ``fixed`` columns are written once, with the first put, and never again."""

    name: str
    mapper: Mapper[R]
    key: tuple[str, ...]
    fixed: frozenset[str] = frozenset()

    @property
    def record(self) -> type[R]:
        """The class of its records."""
        return self.mapper.record


def _table(name: str, record: type[R], key: str, fixed: str = "") -> Table[R]:
    return Table(name, Mapper(record), tuple(key.split()), frozenset(fixed.split()))


ORDERS: Final = _table(
    "orders", Order, "out_trade_no",
    "mchid appid trade_type description total_fen currency content attach metadata livemode created_at",
)  # fmt: skip
PAYMENTS: Final = _table("payments", Payment, "out_trade_no", "trade_type wire_request created_at")
REFUNDS: Final = _table(
    "refunds", Refund, "out_refund_no",
    "out_trade_no refund_fen total_fen currency reason content metadata wire_request created_at",
)  # fmt: skip
IDEMPOTENCY: Final = _table("idempotency_keys", IdempotencyRecord, "scope_key")  # an expired key begins anew
DELIVERIES: Final = _table(
    "deliveries", Delivery, "id",
    "webhook_id url type object_key out_trade_no out_refund_no payload created_at",
)  # fmt: skip
DISCREPANCIES: Final = _table("discrepancies", Discrepancy, "id", "kind opened_at")
BILL_RUNS: Final = _table("bill_runs", BillRun, "bill_date kind", "created_at")
JOURNAL: Final = _table("journal", JournalLine, "out_trade_no position")
LEDGER: Final = _table("ledger_entries", LedgerEntry, "out_trade_no posting_id account")
NOTIFICATIONS: Final = _table("notifications", NotificationRecord, "received_at id")
ATTEMPTS: Final = _table("delivery_attempts", DeliveryAttempt, "delivery_id number")

#: Tables whose rows carry a version and are replaced; parents stand before their children.
VERSIONED: Final[tuple[Table[Any], ...]] = (
    ORDERS, PAYMENTS, REFUNDS, IDEMPOTENCY, DELIVERIES, DISCREPANCIES, BILL_RUNS,
)  # fmt: skip
#: Tables that only grow.
APPENDED: Final[tuple[Table[Any], ...]] = (JOURNAL, LEDGER, NOTIFICATIONS, ATTEMPTS)
