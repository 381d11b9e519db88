"""Every question payd asks its books, as SQL. Each is answered from an index: tests read the query plans.

A list walks one index backwards and stops at its limit. Where a filter leaves a leading column of the index open, the
list is a merge of one walk per value (``UNION ALL`` under one ``ORDER BY``), never a sort.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from payd.models.discrepancy import DiscrepancyStatus
from payd.models.states import OrderState
from payd.models.webhook import DeliveryStatus
from payd.ports import OrderFilter, Position, RefundFilter
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
)

TRADE_TYPES: Final = ("NATIVE", "JSAPI", "APP", "H5")
UNPAID: Final = (OrderState.CREATED, OrderState.PAYING)


def columns(table: Table[Any], alias: str = "") -> str:
    """Name a table's columns in the order of its record."""
    prefix = f"{alias}." if alias else ""
    return ", ".join(prefix + name for name in table.mapper.columns)


# ruff: noqa: S608 - statements are composed of this program's own names, values are always bound

# -- one record ---------------------------------------------------------------------------------------------------

#: An order with its payment and its refunds: one statement, so one moment. One row per refund, at least one row.
SNAPSHOT: Final = (
    f"SELECT {columns(ORDERS, 'o')}, {columns(PAYMENTS, 'p')}, {columns(REFUNDS, 'r')} FROM orders AS o "
    "JOIN payments AS p ON p.out_trade_no = o.out_trade_no LEFT JOIN refunds AS r ON r.out_trade_no = o.out_trade_no "
    "WHERE o.{} ORDER BY r.created_at, r.out_refund_no"
)
ORDER: Final = SNAPSHOT.format("out_trade_no = ?")
ORDER_BY_TRANSACTION: Final = SNAPSHOT.format("transaction_id = ?")
ORDER_OF_REFUND: Final = SNAPSHOT.format("out_trade_no = (SELECT out_trade_no FROM refunds WHERE out_refund_no = ?)")


def _by_key(table: Table[Any]) -> str:
    return f"SELECT {columns(table)} FROM {table.name} WHERE " + " AND ".join(f"{name} = ?" for name in table.key)


IDEMPOTENCY_KEY: Final = _by_key(IDEMPOTENCY)
DISCREPANCY: Final = _by_key(DISCREPANCIES)
DELIVERY: Final = _by_key(DELIVERIES)
BILL_RUN: Final = _by_key(BILL_RUNS)
META: Final = "SELECT value FROM meta WHERE key = ?"
EVENTS: Final = f"SELECT {columns(JOURNAL)} FROM journal WHERE out_trade_no = ? ORDER BY position"
ATTEMPTS_OF: Final = f"SELECT {columns(ATTEMPTS)} FROM delivery_attempts WHERE delivery_id = ? ORDER BY number"

# -- lists --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Query:
    """A statement and what is bound to it."""

    sql: str
    values: tuple[Any, ...]


def _listing(
    select: str,
    table: str,
    order: tuple[str, str],
    walks: Sequence[Mapping[str, str]],
    *,
    limit: int,
    after: Position | None,
    start: datetime | None = None,
    end: datetime | None = None,
) -> Query:
    """Merge one backward walk per element of ``walks`` (column -> value), newest first.

    ``order`` names the time column and the key. Of two upper bounds only the tighter one is said, so that the walk
    begins there.
    """
    time, key = order
    terms: list[str] = []
    bounds: list[Any] = []
    if start is not None:
        terms.append(f"{time} >= ?")
        bounds.append(microseconds(start))
    if after is not None and (end is None or after.created_at < end):
        terms.append(f"({time}, {key}) < (?, ?)")
        bounds += [microseconds(after.created_at), after.key]
    elif end is not None:
        terms.append(f"{time} < ?")
        bounds.append(microseconds(end))
    arms, values = [], []
    for equals in walks:
        where = " AND ".join([*(f"{name} = ?" for name in equals), *terms])
        arms.append(f"SELECT {select} FROM {table}" + (f" WHERE {where}" if where else ""))
        values += [*equals.values(), *bounds]
    return Query(f"{' UNION ALL '.join(arms)} ORDER BY {time} DESC, {key} DESC LIMIT ?", (*values, limit))


def orders_page(which: OrderFilter, *, limit: int, after: Position | None) -> Query:
    """List (created_at, out_trade_no)."""
    walks: list[Mapping[str, str]] = [{}]
    if which.status is not None or which.trade_type is not None:
        states = [which.status] if which.status is not None else list(OrderState)
        trade_types = [which.trade_type] if which.trade_type is not None else list(TRADE_TYPES)
        walks = [{"status": state.value, "trade_type": kind} for state in states for kind in trade_types]
    return _listing(
        "created_at, out_trade_no", "orders", ("created_at", "out_trade_no"), walks,
        limit=limit, after=after, start=which.created_from, end=which.created_to,
    )  # fmt: skip


def refunds_page(which: RefundFilter, *, limit: int, after: Position | None) -> Query:
    """List whole refunds."""
    equals: dict[str, str] = {}
    if which.out_trade_no is not None:
        equals["out_trade_no"] = which.out_trade_no
    if which.status is not None:
        # An order has few refunds: its index is the one to walk, the plus takes the other one out of the choice.
        equals["+status" if equals else "status"] = which.status.value
    order = ("created_at", "out_refund_no")
    return _listing(columns(REFUNDS), "refunds", order, [equals], limit=limit, after=after)


def discrepancies_page(status: DiscrepancyStatus | None, *, limit: int, after: Position | None) -> Query:
    """List whole discrepancies."""
    equals = {} if status is None else {"status": status.value}
    order = ("opened_at", "id")
    return _listing(columns(DISCREPANCIES), "discrepancies", order, [equals], limit=limit, after=after)


def notifications_page(result: str | None, *, limit: int, after: Position | None) -> Query:
    """List whole inspector rows."""
    equals = {} if result is None else {"result": result}
    order = ("received_at", "id")
    return _listing(columns(NOTIFICATIONS), "notifications", order, [equals], limit=limit, after=after)


def deliveries_page(status: DeliveryStatus | None, *, limit: int, after: Position | None) -> Query:
    """List whole deliveries."""
    equals = {} if status is None else {"status": status.value}
    order = ("created_at", "id")
    return _listing(columns(DELIVERIES), "deliveries", order, [equals], limit=limit, after=after)


# -- due work -----------------------------------------------------------------------------------------------------

DUE_PAYMENTS: Final = (
    "SELECT out_trade_no FROM payments WHERE next_check_at <= ? ORDER BY next_check_at, out_trade_no LIMIT ?"
)
DUE_REFUNDS: Final = (
    "SELECT out_refund_no FROM refunds WHERE next_check_at <= ? ORDER BY next_check_at, out_refund_no LIMIT ?"
)
#: The endpoints that something is on its way to: one look into the index per endpoint, however long its backlog.
PENDING_URLS: Final = (
    "WITH RECURSIVE pending (url) AS (SELECT * FROM (SELECT url FROM deliveries INDEXED BY deliveries_due "
    "WHERE status = 'pending' ORDER BY url LIMIT 1) UNION ALL "
    "SELECT (SELECT url FROM deliveries INDEXED BY deliveries_due "
    "WHERE status = 'pending' AND url > pending.url ORDER BY url LIMIT 1) FROM pending "
    "WHERE pending.url IS NOT NULL) SELECT url FROM pending WHERE url IS NOT NULL"
)
#: Due for one endpoint, and nothing older about the same object is still on its way there.
DUE_DELIVERIES: Final = (
    f"SELECT {columns(DELIVERIES, 'd')}, d.sequence FROM deliveries AS d "
    "WHERE d.status = 'pending' AND d.url = ? AND d.next_at <= ? AND NOT EXISTS (SELECT 1 FROM deliveries AS o "
    "WHERE o.status = 'pending' AND o.url = d.url AND o.object_key = d.object_key AND o.sequence < d.sequence) "
    "ORDER BY d.next_at, d.sequence LIMIT ?"
)
DUE_BILL_RUNS: Final = f"SELECT {columns(BILL_RUNS)} FROM bill_runs WHERE next_at <= ? ORDER BY next_at"

# -- aggregates ---------------------------------------------------------------------------------------------------

STATE_COUNTS: Final = "SELECT state, count FROM state_counts WHERE subject = ?"
#: One look at the front of an index per trade type.
OLDEST_ORDER: Final = "SELECT min(created_at) FROM orders WHERE status = ? AND trade_type = ?"
OLDEST_REFUND: Final = "SELECT min(created_at) FROM refunds WHERE status = ?"
OLDEST_DELIVERY: Final = "SELECT min(created_at) FROM deliveries WHERE status = 'pending'"
DUE_COUNTS: Final = (
    "SELECT count(*) FROM payments WHERE next_check_at <= ?",
    "SELECT count(*) FROM refunds WHERE next_check_at <= ?",
)
DUE_DELIVERY_COUNT: Final = "SELECT count(*) FROM deliveries WHERE status = 'pending' AND url = ? AND next_at <= ?"
CREATED_SINCE: Final = "SELECT count(*) FROM orders WHERE created_at >= ?"
#: Named: by itself SQLite walks through all orders that were ever paid.
PAID_SINCE: Final = (
    "SELECT count(*), sum(total_fen) FROM orders INDEXED BY orders_by_payment WHERE paid_at >= ? AND status = 'PAID'"
)
REFUNDED_SINCE: Final = "SELECT sum(refund_fen) FROM refunds WHERE succeeded_at >= ?"

# -- streams: the next batch behind a key -------------------------------------------------------------------------

SETTLED_BETWEEN: Final = (
    "SELECT paid_at, out_trade_no FROM orders WHERE (paid_at, out_trade_no) > (?, ?) AND paid_at < ? "
    "ORDER BY paid_at, out_trade_no LIMIT ?"
)
REFUNDS_BETWEEN: Final = (
    f"SELECT {columns(REFUNDS)} FROM refunds WHERE (created_at, out_refund_no) > (?, ?) AND created_at < ? "
    "ORDER BY created_at, out_refund_no LIMIT ?"
)

# -- forgetting ---------------------------------------------------------------------------------------------------

PURGE_KEYS: Final = (
    "DELETE FROM idempotency_keys WHERE rowid IN (SELECT rowid FROM idempotency_keys WHERE expires_at <= ? LIMIT ?)"
)
PURGE_NOTIFICATIONS: Final = (
    "DELETE FROM notifications WHERE (received_at, id) IN "
    "(SELECT received_at, id FROM notifications WHERE received_at < ? LIMIT ?)"
)
