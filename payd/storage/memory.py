"""The reference: ``ports.Storage`` in plain dictionaries, obviously right and for tests only.

It holds to the same contract as the SQLite backend (``tests/storage/contract``). It is stricter in one way: a put that
changes a column that is written once is an assertion here, because there such a change would silently not land.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any, Final, TypeVar

from payd.errors import AlreadyExists, StaleVersion, StorageError, StorageUnavailable
from payd.models.bill import BillKind, BillRun
from payd.models.changes import ABSENT, ChangeSet, OrderSnapshot, Put
from payd.models.discrepancy import Discrepancy, DiscrepancyStatus
from payd.models.idempotency import IdempotencyRecord
from payd.models.journal import JournalLine
from payd.models.ledger import LedgerEntry
from payd.models.notification import NotificationRecord
from payd.models.order import Order, Payment
from payd.models.refund import Refund
from payd.models.states import ORDER_ARROWS, PAYMENT_TABLE, REFUND_TABLE, OrderState, PaymentState, RefundState
from payd.models.webhook import Delivery, DeliveryAttempt, DeliveryStatus
from payd.ports import OpenWork, OrderFilter, Position, RefundFilter, StorageStatus, Totals

T = TypeVar("T")
Key = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class _Kind:
    """How records of one class are kept. ``fixed`` members are written once; ``needs_order``: its order must exist."""

    table: str
    key: tuple[str, ...]
    fixed: str = ""
    needs_order: bool = False

    def key_of(self, record: Any) -> Key:
        return tuple(getattr(record, name) for name in self.key)


_KINDS: Final[dict[type, _Kind]] = {
    Order: _Kind(
        "orders", ("out_trade_no",),
        "mchid appid trade_type description total_fen currency content attach metadata livemode created_at",
    ),
    Payment: _Kind("payments", ("out_trade_no",), "trade_type wire_request created_at", needs_order=True),
    Refund: _Kind(
        "refunds", ("out_refund_no",),
        "out_trade_no refund_fen total_fen currency reason content metadata wire_request created_at",
        needs_order=True,
    ),
    IdempotencyRecord: _Kind("idempotency_keys", ("scope_key",)),
    Delivery: _Kind(
        "deliveries", ("id",), "webhook_id url type object_key out_trade_no out_refund_no payload created_at"
    ),
    Discrepancy: _Kind("discrepancies", ("id",), "kind opened_at"),
    BillRun: _Kind("bill_runs", ("bill_date", "kind"), "created_at"),
    JournalLine: _Kind("journal", ("out_trade_no", "position"), needs_order=True),
    LedgerEntry: _Kind("ledger_entries", ("out_trade_no", "posting_id", "account"), needs_order=True),
    NotificationRecord: _Kind("notifications", ("received_at", "id")),
    DeliveryAttempt: _Kind("delivery_attempts", ("delivery_id", "number")),
}  # fmt: skip

_ARROWS: Final[dict[type, frozenset[tuple[str, str]]]] = {
    Order: frozenset((a.value, b.value) for a, b in ORDER_ARROWS),
    Payment: frozenset(
        (a.value, b.value) for a, row in PAYMENT_TABLE.items() for b in row.values() if isinstance(b, PaymentState)
    ),
    Refund: frozenset(
        (a.value, b.value) for a, row in REFUND_TABLE.items() for b in row.values() if isinstance(b, RefundState)
    ),
}


class _Writing:
    """One commit: a copy-on-write view of the tables, adopted as a whole or dropped."""

    def __init__(self, tables: dict[type, dict[Key, Any]]) -> None:
        self._tables = tables
        self.fresh: dict[type, dict[Key, Any]] = {kind: {} for kind in _KINDS}

    def find(self, kind: type, key: Key) -> Any:
        return self.fresh[kind].get(key, self._tables[kind].get(key))

    def insert(self, record: Any) -> None:
        kind = _KINDS[type(record)]
        key = kind.key_of(record)
        if self.find(type(record), key) is not None:
            raise AlreadyExists(kind.table, " ".join(str(part) for part in key))
        if kind.needs_order and self.find(Order, (record.out_trade_no,)) is None:
            raise StorageError(f"{kind.table}: order {record.out_trade_no} does not exist")
        self.fresh[type(record)][key] = record

    def put(self, put: Put) -> None:
        record, kind = put.record, _KINDS[type(put.record)]
        if isinstance(record, Order):
            self._check_order(record)
        if put.replaces == ABSENT:
            self.insert(record)
            return
        key = kind.key_of(record)
        stored = self.find(type(record), key)
        if stored is None or stored.version != put.replaces:
            raise StaleVersion(kind.table, " ".join(str(part) for part in key))
        for name in kind.fixed.split():
            assert getattr(stored, name) == getattr(record, name), f"{kind.table}.{name} is written once"
        self._check_arrow(stored, record)
        self.fresh[type(record)][key] = record

    def _check_order(self, order: Order) -> None:
        if not 0 <= order.refunded_fen <= order.reserved_fen <= order.total_fen:
            raise StorageError(f"orders {order.out_trade_no}: refunds exceed what was paid")
        if order.transaction_id is None:
            return
        for key, other in {**self._tables[Order], **self.fresh[Order]}.items():
            if other.transaction_id == order.transaction_id and key != (order.out_trade_no,):
                raise AlreadyExists("orders.transaction_id", order.transaction_id)

    def _check_arrow(self, stored: Any, record: Any) -> None:
        arrows = _ARROWS.get(type(record))
        if arrows is None or stored.status is record.status:
            return
        if (stored.status.value, record.status.value) not in arrows:
            raise StorageError(f"no arrow from {stored.status} to {record.status}")


class MemoryStorage:
    """The books in memory. One event loop, nothing is durable."""

    def __init__(self) -> None:
        self._tables: dict[type, dict[Key, Any]] = {kind: {} for kind in _KINDS}
        self._meta: dict[str, str] = {}
        self._closed = False

    async def commit(self, change: ChangeSet) -> None:
        """Write a ChangeSet or nothing of it (``ports.Storage.commit``)."""
        self._require_open()
        _require_balance(change.ledger)
        writing = _Writing(self._tables)
        # Inserts first, so that parents are there before what is told about them.
        for put in sorted(change.puts, key=lambda put: put.replaces != ABSENT):
            writing.put(put)
        for found in change.open_discrepancies:
            if writing.find(Discrepancy, (found.id,)) is None:
                writing.insert(found)
        for record in (*change.journal, *change.ledger, *change.notifications, *change.attempts):
            writing.insert(record)
        for kind, records in writing.fresh.items():
            self._tables[kind].update(records)
        self._meta.update(change.meta)

    def _require_open(self) -> None:
        if self._closed:
            raise StorageUnavailable("the storage is closed")

    def _all(self, kind: type[T]) -> list[T]:
        self._require_open()
        return list(self._tables[kind].values())

    def _find(self, kind: type[T], *key: object) -> T | None:
        self._require_open()
        return self._tables[kind].get(key)

    # -- one record -----------------------------------------------------------------------------------------------

    def _snapshot(self, out_trade_no: str | None) -> OrderSnapshot | None:
        order, payment = self._find(Order, out_trade_no), self._find(Payment, out_trade_no)
        if order is None or payment is None:
            return None
        refunds = [refund for refund in self._all(Refund) if refund.out_trade_no == out_trade_no]
        refunds.sort(key=lambda refund: (refund.created_at, refund.out_refund_no))
        return OrderSnapshot(order=order, payment=payment, refunds=tuple(refunds))

    async def load_order(self, out_trade_no: str) -> OrderSnapshot | None:
        """Load an order with its payment and refunds."""
        return self._snapshot(out_trade_no)

    async def load_order_by_transaction(self, transaction_id: str) -> OrderSnapshot | None:
        """Load the order that was paid by this transaction."""
        found = (order.out_trade_no for order in self._all(Order) if order.transaction_id == transaction_id)
        return self._snapshot(next(found, None))

    async def load_order_of_refund(self, out_refund_no: str) -> OrderSnapshot | None:
        """Load the order this refund belongs to."""
        refund = self._find(Refund, out_refund_no)
        return None if refund is None else self._snapshot(refund.out_trade_no)

    async def load_idempotency(self, scope_key: str) -> IdempotencyRecord | None:
        """Load a key."""
        return self._find(IdempotencyRecord, scope_key)

    async def load_discrepancy(self, discrepancy_id: str) -> Discrepancy | None:
        """Load a discrepancy."""
        return self._find(Discrepancy, discrepancy_id)

    async def load_delivery(self, delivery_id: str) -> Delivery | None:
        """Load a delivery."""
        return self._find(Delivery, delivery_id)

    async def load_attempts(self, delivery_id: str) -> Sequence[DeliveryAttempt]:
        """Load the attempts of a delivery, oldest first."""
        found = [attempt for attempt in self._all(DeliveryAttempt) if attempt.delivery_id == delivery_id]
        return sorted(found, key=lambda attempt: attempt.number)

    async def load_bill_run(self, bill_date: date, kind: BillKind) -> BillRun | None:
        """Load the run of a day."""
        return self._find(BillRun, bill_date, kind)

    async def load_meta(self, key: str) -> str | None:
        """Load what was said last under this key."""
        self._require_open()
        return self._meta.get(key)

    # -- lists ----------------------------------------------------------------------------------------------------

    async def list_orders(self, which: OrderFilter, *, limit: int, after: Position | None) -> Sequence[OrderSnapshot]:
        """List orders, newest first."""
        found = [order for order in self._all(Order) if _matches(order, which)]
        page = _page(found, lambda order: (order.created_at, order.out_trade_no), limit, after)
        return [snapshot for order in page if (snapshot := self._snapshot(order.out_trade_no)) is not None]

    async def list_refunds(self, which: RefundFilter, *, limit: int, after: Position | None) -> Sequence[Refund]:
        """List refunds, newest first."""
        found = [
            refund for refund in self._all(Refund)
            if which.status in (None, refund.status) and which.out_trade_no in (None, refund.out_trade_no)
        ]  # fmt: skip
        return _page(found, lambda refund: (refund.created_at, refund.out_refund_no), limit, after)

    async def list_events(self, out_trade_no: str) -> Sequence[JournalLine]:
        """List an order's journal, oldest first."""
        found = [line for line in self._all(JournalLine) if line.out_trade_no == out_trade_no]
        return sorted(found, key=lambda line: line.position)

    async def list_discrepancies(
        self, status: DiscrepancyStatus | None, *, limit: int, after: Position | None
    ) -> Sequence[Discrepancy]:
        """List discrepancies, newest first."""
        found = [item for item in self._all(Discrepancy) if status in (None, item.status)]
        return _page(found, lambda item: (item.opened_at, item.id), limit, after)

    async def list_notifications(
        self, result: str | None, *, limit: int, after: Position | None
    ) -> Sequence[NotificationRecord]:
        """List received callbacks, newest first."""
        found = [item for item in self._all(NotificationRecord) if result in (None, item.result)]
        return _page(found, lambda item: (item.received_at, item.id), limit, after)

    async def list_deliveries(
        self, status: DeliveryStatus | None, *, limit: int, after: Position | None
    ) -> Sequence[tuple[Delivery, tuple[DeliveryAttempt, ...]]]:
        """List deliveries, newest first, each with its attempts, oldest first."""
        found = [delivery for delivery in self._all(Delivery) if status in (None, delivery.status)]
        page = _page(found, lambda delivery: (delivery.created_at, delivery.id), limit, after)
        attempts = sorted(self._all(DeliveryAttempt), key=lambda attempt: attempt.number)
        return [(item, tuple(a for a in attempts if a.delivery_id == item.id)) for item in page]

    # -- due work -------------------------------------------------------------------------------------------------

    async def due_payments(self, now: datetime, *, limit: int) -> Sequence[str]:
        """List the out_trade_nos that are due, oldest due first."""
        due = sorted((p.next_check_at, p.out_trade_no) for p in self._all(Payment) if _due(p.next_check_at, now))
        return [number for _, number in due[:limit]]

    async def due_refunds(self, now: datetime, *, limit: int) -> Sequence[str]:
        """List the out_refund_nos that are due, oldest due first."""
        due = sorted((r.next_check_at, r.out_refund_no) for r in self._all(Refund) if _due(r.next_check_at, now))
        return [number for _, number in due[:limit]]

    async def due_deliveries(self, now: datetime, *, limit: int, skip_urls: Collection[str] = ()) -> Sequence[Delivery]:
        """List what may go out now: of each object and endpoint the oldest pending delivery only."""
        heads: dict[tuple[str, str], Delivery] = {}
        for delivery in self._all(Delivery):  # in the order of their commits
            if delivery.status is DeliveryStatus.PENDING:
                heads.setdefault((delivery.url, delivery.object_key), delivery)
        due = [head for head in heads.values() if _due(head.next_at, now) and head.url not in skip_urls]
        return sorted(due, key=lambda delivery: delivery.next_at or now)[:limit]

    async def due_bill_runs(self, now: datetime) -> Sequence[BillRun]:
        """List the bill runs that are due."""
        due = [run for run in self._all(BillRun) if _due(run.next_at, now)]
        return sorted(due, key=lambda run: run.next_at or now)

    # -- aggregates -----------------------------------------------------------------------------------------------

    async def open_work(self, now: datetime) -> OpenWork:
        """Count what has not reached an end yet."""
        orders = [o for o in self._all(Order) if o.status in (OrderState.CREATED, OrderState.PAYING)]
        refunds = [r for r in self._all(Refund) if r.status in (RefundState.REFUND_INIT, RefundState.REFUNDING)]
        pending = [d for d in self._all(Delivery) if d.status is DeliveryStatus.PENDING]
        checks = [*(p.next_check_at for p in self._all(Payment)), *(r.next_check_at for r in self._all(Refund))]
        dues = [*checks, *(d.next_at for d in pending)]
        return OpenWork(
            open_payments=len(orders),
            open_refunds=len(refunds),
            due_now=sum(_due(at, now) for at in dues),
            oldest_payment_at=min((o.created_at for o in orders), default=None),
            oldest_refund_at=min((r.created_at for r in refunds), default=None),
            open_discrepancies=sum(d.status is DiscrepancyStatus.OPEN for d in self._all(Discrepancy)),
            pending_deliveries=len(pending),
            oldest_delivery_at=min((d.created_at for d in pending), default=None),
        )

    async def totals(self, since: datetime) -> Totals:
        """Count by state, and sum what happened since a moment."""
        orders, refunds = self._all(Order), self._all(Refund)
        paid = [o for o in orders if o.status is OrderState.PAID and o.paid_at is not None and o.paid_at >= since]
        returned = [r.refund_fen for r in refunds if r.succeeded_at is not None and r.succeeded_at >= since]
        return Totals(
            orders={state: sum(o.status is state for o in orders) for state in OrderState},
            refunds={state: sum(r.status is state for r in refunds) for state in RefundState},
            created_orders=sum(o.created_at >= since for o in orders),
            paid_orders=len(paid),
            paid_fen=sum(o.total_fen for o in paid),
            refunded_fen=sum(returned),
        )

    async def status(self) -> StorageStatus:
        """Tell that nothing is on disk."""
        self._require_open()
        return StorageStatus(file_bytes=0, wal_bytes=0, free_bytes=0, queue_depth=0)

    # -- streams and housekeeping ---------------------------------------------------------------------------------

    async def orders_settled_between(self, start: datetime, end: datetime) -> AsyncIterator[OrderSnapshot]:
        """Stream the orders paid in [start, end), oldest first."""
        found = [(o.paid_at, o.out_trade_no) for o in self._all(Order) if o.paid_at and start <= o.paid_at < end]
        for _, number in sorted(found):
            snapshot = self._snapshot(number)
            assert snapshot is not None, "orders are never deleted"
            yield snapshot

    async def refunds_created_between(self, start: datetime, end: datetime) -> AsyncIterator[Refund]:
        """Stream the refunds created in [start, end), oldest first."""
        found = [refund for refund in self._all(Refund) if start <= refund.created_at < end]
        for refund in sorted(found, key=lambda refund: (refund.created_at, refund.out_refund_no)):
            yield refund

    async def purge(self, *, now: datetime, notifications_before: datetime) -> int:
        """Delete expired idempotency keys and old inspector rows."""
        self._require_open()
        keys = [r.scope_key for r in self._all(IdempotencyRecord) if r.expires_at <= now]
        rows = [n for n in self._all(NotificationRecord) if n.received_at < notifications_before]
        for key in keys:
            del self._tables[IdempotencyRecord][(key,)]
        for row in rows:
            del self._tables[NotificationRecord][(row.received_at, row.id)]
        return len(keys) + len(rows)

    async def backup(self, target: Path) -> None:
        """Refuse: there is no file."""
        raise StorageUnavailable(f"cannot make the copy {target}: the books are in memory")

    async def close(self) -> None:
        """Refuse everything from now on."""
        self._closed = True


def _due(at: datetime | None, now: datetime) -> bool:
    return at is not None and at <= now


def _matches(order: Order, which: OrderFilter) -> bool:
    return (
        which.status in (None, order.status)
        and which.trade_type in (None, order.trade_type)
        and (which.created_from is None or which.created_from <= order.created_at)
        and (which.created_to is None or order.created_at < which.created_to)
    )


def _page(
    found: Iterable[T], place: Callable[[T], tuple[datetime, str]], limit: int, after: Position | None
) -> list[T]:
    behind = [item for item in found if after is None or place(item) < (after.created_at, after.key)]
    return sorted(behind, key=place, reverse=True)[:limit]


def _require_balance(entries: Sequence[LedgerEntry]) -> None:
    for posting_id in {entry.posting_id for entry in entries}:
        if sum(entry.amount_fen for entry in entries if entry.posting_id == posting_id):
            raise StorageError(f"posting {posting_id} does not sum to zero")
