"""The reading half of the storage.

Point reads run on the caller's thread (the loop) through their own read-only connection: they take microseconds, and a
hop to another thread would cost more. Everything that walks or counts runs on one reader thread with a connection of
its own. Every cursor is exhausted at once: an open one would hold the WAL.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import date, datetime
from pathlib import Path
from typing import Any, Final, TypeVar

from payd.errors import StorageUnavailable
from payd.models.bill import BillKind, BillRun
from payd.models.changes import OrderSnapshot
from payd.models.discrepancy import Discrepancy, DiscrepancyStatus
from payd.models.idempotency import IdempotencyRecord
from payd.models.journal import JournalLine
from payd.models.notification import NotificationRecord
from payd.models.refund import Refund
from payd.models.states import OrderState, RefundState
from payd.models.webhook import Delivery, DeliveryAttempt, DeliveryStatus
from payd.ports import OpenWork, OrderFilter, Position, RefundFilter, StorageStatus, Totals
from payd.storage.sqlite import queries
from payd.storage.sqlite.backup import copy_database
from payd.storage.sqlite.connection import driver, open_reader, reading, refusals
from payd.storage.sqlite.queries import Query
from payd.storage.sqlite.rows import (
    ATTEMPTS,
    BILL_RUNS,
    DELIVERIES,
    DISCREPANCIES,
    IDEMPOTENCY,
    JOURNAL,
    NOTIFICATIONS,
    ORDERS,
    PAYMENTS,
    REFUNDS,
    Table,
    microseconds,
    moment,
)

T = TypeVar("T")
R = TypeVar("R")

#: Rows per batch of a stream: each batch is a read of its own, so that a long stream never holds the WAL.
STREAM_BATCH: Final = 200

_PAYMENT_AT: Final = len(ORDERS.mapper.columns)
_REFUND_AT: Final = _PAYMENT_AT + len(PAYMENTS.mapper.columns)
_NEXT_AT: Final = DELIVERIES.mapper.columns.index("next_at")


def snapshot_of(rows: Sequence[Sequence[Any]]) -> OrderSnapshot | None:
    """Make a snapshot of the rows of ``queries.SNAPSHOT``."""
    if not rows:
        return None
    first = rows[0]
    return OrderSnapshot(
        order=ORDERS.mapper.decode(first[:_PAYMENT_AT]),
        payment=PAYMENTS.mapper.decode(first[_PAYMENT_AT:_REFUND_AT]),
        refunds=tuple(REFUNDS.mapper.decode(row[_REFUND_AT:]) for row in rows if row[_REFUND_AT] is not None),
    )


class SqliteReads:
    """Reads a database at ``path``. Needs no lock: tools use it beside a running daemon."""

    def __init__(self, path: Path) -> None:
        self.path: Final = path
        self._closed = False
        with refusals():
            self._here = open_reader(path)
            self._there = open_reader(path)
        self._reader = ThreadPoolExecutor(max_workers=1, thread_name_prefix="payd-reader")
        self._copier = ThreadPoolExecutor(max_workers=1, thread_name_prefix="payd-copier")

    # -- point reads, on the loop ---------------------------------------------------------------------------------

    def _rows(self, sql: str, *values: object) -> list[Any]:
        try:
            return self._here.execute(sql, values).fetchall()
        except driver.Error as exc:
            raise StorageUnavailable(f"the database cannot be read: {exc}") from exc

    def _one(self, table: Table[R], sql: str, *values: object) -> R | None:
        rows = self._rows(sql, *values)
        return table.mapper.decode(rows[0]) if rows else None

    async def load_order(self, out_trade_no: str) -> OrderSnapshot | None:
        """Load an order with its payment and refunds."""
        return snapshot_of(self._rows(queries.ORDER, out_trade_no))

    async def load_order_by_transaction(self, transaction_id: str) -> OrderSnapshot | None:
        """Load the order that was paid by this transaction."""
        return snapshot_of(self._rows(queries.ORDER_BY_TRANSACTION, transaction_id))

    async def load_order_of_refund(self, out_refund_no: str) -> OrderSnapshot | None:
        """Load the order this refund belongs to."""
        return snapshot_of(self._rows(queries.ORDER_OF_REFUND, out_refund_no))

    async def load_idempotency(self, scope_key: str) -> IdempotencyRecord | None:
        """Load a key."""
        return self._one(IDEMPOTENCY, queries.IDEMPOTENCY_KEY, scope_key)

    async def load_discrepancy(self, discrepancy_id: str) -> Discrepancy | None:
        """Load a discrepancy."""
        return self._one(DISCREPANCIES, queries.DISCREPANCY, discrepancy_id)

    async def load_delivery(self, delivery_id: str) -> Delivery | None:
        """Load a delivery."""
        return self._one(DELIVERIES, queries.DELIVERY, delivery_id)

    async def load_attempts(self, delivery_id: str) -> Sequence[DeliveryAttempt]:
        """Load the attempts of a delivery, oldest first."""
        return await self._read(lambda connection: _attempts(connection, delivery_id))

    async def load_bill_run(self, bill_date: date, kind: BillKind) -> BillRun | None:
        """Load the run of a day."""
        return self._one(BILL_RUNS, queries.BILL_RUN, bill_date.isoformat(), kind.value)

    async def load_meta(self, key: str) -> str | None:
        """Load what was said last under this key."""
        rows = self._rows(queries.META, key)
        return rows[0][0] if rows else None

    # -- lists, on the reader thread ------------------------------------------------------------------------------

    async def _read(self, work: Callable[[driver.Connection], T]) -> T:
        """Run ``work`` on the reader thread, at one moment of the books."""

        def at_one_moment() -> T:
            with refusals(), reading(self._there) as connection:
                return work(connection)

        self._require_open()
        return await asyncio.get_running_loop().run_in_executor(self._reader, at_one_moment)

    def _require_open(self) -> None:
        if self._closed:
            raise StorageUnavailable("the storage is closed")

    async def _list(self, table: Table[R], query: Query) -> list[R]:
        def work(connection: driver.Connection) -> list[R]:
            return [table.mapper.decode(row) for row in connection.execute(query.sql, query.values).fetchall()]

        return await self._read(work)

    async def list_orders(self, which: OrderFilter, *, limit: int, after: Position | None) -> Sequence[OrderSnapshot]:
        """List orders, newest first."""
        query = queries.orders_page(which, limit=limit, after=after)
        return await self._read(lambda c: _snapshots(c, c.execute(query.sql, query.values).fetchall()))

    async def list_refunds(self, which: RefundFilter, *, limit: int, after: Position | None) -> Sequence[Refund]:
        """List refunds, newest first."""
        return await self._list(REFUNDS, queries.refunds_page(which, limit=limit, after=after))

    async def list_events(self, out_trade_no: str) -> Sequence[JournalLine]:
        """List an order's journal, oldest first."""
        return await self._list(JOURNAL, Query(queries.EVENTS, (out_trade_no,)))

    async def list_discrepancies(
        self, status: DiscrepancyStatus | None, *, limit: int, after: Position | None
    ) -> Sequence[Discrepancy]:
        """List discrepancies, newest first."""
        return await self._list(DISCREPANCIES, queries.discrepancies_page(status, limit=limit, after=after))

    async def list_notifications(
        self, result: str | None, *, limit: int, after: Position | None
    ) -> Sequence[NotificationRecord]:
        """List received callbacks, newest first."""
        return await self._list(NOTIFICATIONS, queries.notifications_page(result, limit=limit, after=after))

    async def list_deliveries(
        self, status: DeliveryStatus | None, *, limit: int, after: Position | None
    ) -> Sequence[tuple[Delivery, tuple[DeliveryAttempt, ...]]]:
        """List deliveries, newest first, each with its attempts, oldest first."""
        query = queries.deliveries_page(status, limit=limit, after=after)

        def work(connection: driver.Connection) -> list[tuple[Delivery, tuple[DeliveryAttempt, ...]]]:
            found = [DELIVERIES.mapper.decode(row) for row in connection.execute(query.sql, query.values).fetchall()]
            return [(delivery, _attempts(connection, delivery.id)) for delivery in found]

        return await self._read(work)

    async def due_payments(self, now: datetime, *, limit: int) -> Sequence[str]:
        """List the out_trade_nos that are due, oldest due first."""
        return await self._column(Query(queries.DUE_PAYMENTS, (microseconds(now), limit)))

    async def due_refunds(self, now: datetime, *, limit: int) -> Sequence[str]:
        """List the out_refund_nos that are due, oldest due first."""
        return await self._column(Query(queries.DUE_REFUNDS, (microseconds(now), limit)))

    async def _column(self, query: Query) -> list[str]:
        return await self._read(lambda c: [row[0] for row in c.execute(query.sql, query.values).fetchall()])

    async def due_deliveries(self, now: datetime, *, limit: int, skip_urls: Collection[str] = ()) -> Sequence[Delivery]:
        """List what may go out now: of each object and endpoint the oldest pending delivery only."""
        return await self._read(lambda c: _due_deliveries(c, microseconds(now), limit, skip_urls))

    async def due_bill_runs(self, now: datetime) -> Sequence[BillRun]:
        """List the bill runs that are due."""
        return await self._list(BILL_RUNS, Query(queries.DUE_BILL_RUNS, (microseconds(now),)))

    async def open_work(self, now: datetime) -> OpenWork:
        """Count what has not reached an end yet."""
        return await self._read(lambda connection: _open_work(connection, microseconds(now)))

    async def totals(self, since: datetime) -> Totals:
        """Count by state, and sum what happened since a moment."""
        return await self._read(lambda connection: _totals(connection, microseconds(since)))

    async def status(self) -> StorageStatus:
        """Tell bytes on disk and free."""
        self._require_open()
        wal = Path(f"{self.path}-wal")
        return StorageStatus(
            file_bytes=os.stat(self.path).st_size,
            wal_bytes=wal.stat().st_size if wal.exists() else 0,
            free_bytes=shutil.disk_usage(self.path.parent).free,
            queue_depth=self._queue_depth(),
        )

    def _queue_depth(self) -> int:
        return 0

    # -- streams --------------------------------------------------------------------------------------------------

    async def orders_settled_between(self, start: datetime, end: datetime) -> AsyncIterator[OrderSnapshot]:
        """Stream the orders paid in [start, end), oldest first."""
        at, key = microseconds(start), ""
        while True:
            values = (at, key, microseconds(end), STREAM_BATCH)
            keys, batch = await self._read(lambda c, v=values: _settled(c, v))  # type: ignore[misc]
            for snapshot in batch:
                yield snapshot
            if len(keys) < STREAM_BATCH:
                return
            at, key = keys[-1]

    async def refunds_created_between(self, start: datetime, end: datetime) -> AsyncIterator[Refund]:
        """Stream the refunds created in [start, end), oldest first."""
        at, key = microseconds(start), ""
        while True:
            values = (at, key, microseconds(end), STREAM_BATCH)
            batch = await self._list(REFUNDS, Query(queries.REFUNDS_BETWEEN, values))
            for refund in batch:
                yield refund
            if len(batch) < STREAM_BATCH:
                return
            at, key = microseconds(batch[-1].created_at), batch[-1].out_refund_no

    # -- the end --------------------------------------------------------------------------------------------------

    async def backup(self, target: Path) -> None:
        """Write a consistent copy to ``target`` (mode 0600), which must not exist, while the daemon runs."""
        self._require_open()
        await asyncio.get_running_loop().run_in_executor(self._copier, copy_database, self.path, target)

    async def close(self) -> None:
        """End the threads and close the connections. Safe to call twice."""
        if not self._closed:
            self._closed = True
            await asyncio.get_running_loop().run_in_executor(None, self._finish)

    def _finish(self) -> None:
        for executor in (self._reader, self._copier):
            executor.shutdown(wait=True)
        self._here.close()
        self._there.close()


def _snapshots(connection: driver.Connection, keys: Sequence[Sequence[Any]]) -> list[OrderSnapshot]:
    found = (snapshot_of(connection.execute(queries.ORDER, (key,)).fetchall()) for _, key in keys)
    return [snapshot for snapshot in found if snapshot is not None]


def _settled(connection: driver.Connection, values: tuple[Any, ...]) -> tuple[list[Any], list[OrderSnapshot]]:
    keys = connection.execute(queries.SETTLED_BETWEEN, values).fetchall()
    return keys, _snapshots(connection, keys)


def _attempts(connection: driver.Connection, delivery_id: str) -> tuple[DeliveryAttempt, ...]:
    return tuple(ATTEMPTS.mapper.decode(row) for row in connection.execute(queries.ATTEMPTS_OF, (delivery_id,)))


def _pending_urls(connection: driver.Connection) -> list[str]:
    return [url for (url,) in connection.execute(queries.PENDING_URLS).fetchall()]


def _due_deliveries(connection: driver.Connection, now: int, limit: int, skip_urls: Collection[str]) -> list[Delivery]:
    """Take the front of each endpoint's queue, and of these the oldest due."""
    rows: list[Any] = []
    for url in _pending_urls(connection):
        if url not in skip_urls:
            rows += connection.execute(queries.DUE_DELIVERIES, (url, now, limit)).fetchall()
    rows.sort(key=lambda row: (row[_NEXT_AT], row[-1]))
    return [DELIVERIES.mapper.decode(row[:-1]) for row in rows[:limit]]


def _counts(connection: driver.Connection, subject: str) -> dict[str, int]:
    return dict(connection.execute(queries.STATE_COUNTS, (subject,)).fetchall())


def _scalar(connection: driver.Connection, sql: str, *values: object) -> Any:
    return connection.execute(sql, values).fetchall()[0][0]


def _oldest(found: Sequence[int | None]) -> datetime | None:
    times = [at for at in found if at is not None]
    return moment(min(times)) if times else None


def _open_work(connection: driver.Connection, now: int) -> OpenWork:
    orders, refunds = _counts(connection, "orders"), _counts(connection, "refunds")
    unpaid = [(state.value, kind) for state in queries.UNPAID for kind in queries.TRADE_TYPES]
    due = [_scalar(connection, sql, now) for sql in queries.DUE_COUNTS]
    due += [_scalar(connection, queries.DUE_DELIVERY_COUNT, url, now) for url in _pending_urls(connection)]
    unsettled = [RefundState.REFUND_INIT.value, RefundState.REFUNDING.value]
    return OpenWork(
        open_payments=sum(orders.get(state.value, 0) for state in queries.UNPAID),
        open_refunds=sum(refunds.get(state, 0) for state in unsettled),
        due_now=sum(due),
        oldest_payment_at=_oldest([_scalar(connection, queries.OLDEST_ORDER, *which) for which in unpaid]),
        oldest_refund_at=_oldest([_scalar(connection, queries.OLDEST_REFUND, state) for state in unsettled]),
        open_discrepancies=_counts(connection, "discrepancies").get("open", 0),
        pending_deliveries=_counts(connection, "deliveries").get("pending", 0),
        oldest_delivery_at=_oldest([_scalar(connection, queries.OLDEST_DELIVERY)]),
    )


def _totals(connection: driver.Connection, since: int) -> Totals:
    orders, refunds = _counts(connection, "orders"), _counts(connection, "refunds")
    ((paid, paid_fen),) = connection.execute(queries.PAID_SINCE, (since,)).fetchall()
    return Totals(
        orders={state: orders.get(state.value, 0) for state in OrderState},
        refunds={state: refunds.get(state.value, 0) for state in RefundState},
        created_orders=_scalar(connection, queries.CREATED_SINCE, since),
        paid_orders=paid,
        paid_fen=paid_fen or 0,
        refunded_fen=_scalar(connection, queries.REFUNDED_SINCE, since) or 0,
    )
