"""Every question is answered from an index: the same cost at a thousand orders and at a million."""

from __future__ import annotations

import asyncio
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from payd.models.changes import ChangeSet, Put
from payd.models.discrepancy import DiscrepancyStatus
from payd.models.states import OrderState, RefundState
from payd.models.webhook import DeliveryStatus
from payd.ports import OrderFilter, Position, RefundFilter
from payd.storage.audit import STREAMS
from payd.storage.sqlite import queries
from payd.storage.sqlite.connection import open_reader
from payd.storage.sqlite.queries import Query
from payd.storage.sqlite.reads import _due_deliveries, _open_work, _totals
from payd.storage.sqlite.rows import microseconds

START = datetime(2026, 11, 23, 5, tzinfo=UTC)
NOW = microseconds(START)
LATER = START + timedelta(hours=1)
AFTER = Position(LATER, "order-0500")
PAGE = {"limit": 20, "after": None}
NEXT = {"limit": 20, "after": AFTER}

POINTS = {
    "order": Query(queries.ORDER, ("order-0001",)),
    "order by transaction": Query(queries.ORDER_BY_TRANSACTION, ("42order0001",)),
    "order of refund": Query(queries.ORDER_OF_REFUND, ("refund-1",)),
    "idempotency key": Query(queries.IDEMPOTENCY_KEY, ("k",)),
    "discrepancy": Query(queries.DISCREPANCY, ("D",)),
    "delivery": Query(queries.DELIVERY, ("d1",)),
    "bill run": Query(queries.BILL_RUN, ("2026-11-23", "trade")),
    "meta": Query(queries.META, ("mode",)),
    "events": Query(queries.EVENTS, ("order-0001",)),
    "attempts": Query(queries.ATTEMPTS_OF, ("d1",)),
    "state counts": Query(queries.STATE_COUNTS, ("orders",)),
    "oldest order": Query(queries.OLDEST_ORDER, ("PAYING", "NATIVE")),
    "oldest refund": Query(queries.OLDEST_REFUND, ("REFUNDING",)),
    "due payments": Query(queries.DUE_PAYMENTS, (NOW, 50)),
    "due refunds": Query(queries.DUE_REFUNDS, (NOW, 50)),
    "due deliveries": Query(queries.DUE_DELIVERIES, ("https://shop.example/", NOW, 50)),
    "due bill runs": Query(queries.DUE_BILL_RUNS, (NOW,)),
    "settled stream": Query(queries.SETTLED_BETWEEN, (NOW, "", NOW, 20)),
    "refund stream": Query(queries.REFUNDS_BETWEEN, (NOW, "", NOW, 20)),
    "created since": Query(queries.CREATED_SINCE, (NOW,)),
    "paid since": Query(queries.PAID_SINCE, (NOW,)),
    "refunded since": Query(queries.REFUNDED_SINCE, (NOW,)),
    "due counts": Query(queries.DUE_COUNTS[0], (NOW,)),
    "due refund counts": Query(queries.DUE_COUNTS[1], (NOW,)),
    "due delivery counts": Query(queries.DUE_DELIVERY_COUNT, ("https://shop.example/", NOW)),
}
FILTERED = {
    "state": queries.orders_page(OrderFilter(status=OrderState.PAID), **PAGE),
    "state and type": queries.orders_page(OrderFilter(status=OrderState.PAID, trade_type="H5"), **NEXT),
    "type": queries.orders_page(OrderFilter(trade_type="H5"), **NEXT),
    "times": queries.orders_page(OrderFilter(created_from=START, created_to=LATER), **PAGE),
    "times and state": queries.orders_page(OrderFilter(status=OrderState.PAID, created_to=LATER), **NEXT),
    "behind a position": queries.orders_page(OrderFilter(), **NEXT),
    "refund state": queries.refunds_page(RefundFilter(status=RefundState.REFUNDING), **NEXT),
    "refunds of an order": queries.refunds_page(RefundFilter(out_trade_no="order-0001"), **NEXT),
    "refunds of an order and state": queries.refunds_page(
        RefundFilter(out_trade_no="order-0001", status=RefundState.REFUNDING), **PAGE
    ),
    "refunds behind": queries.refunds_page(RefundFilter(), **NEXT),
    "discrepancies": queries.discrepancies_page(DiscrepancyStatus.OPEN, **NEXT),
    "discrepancies behind": queries.discrepancies_page(None, **NEXT),
    "notifications": queries.notifications_page("applied", **NEXT),
    "notifications behind": queries.notifications_page(None, **NEXT),
    "deliveries": queries.deliveries_page(DeliveryStatus.PENDING, **NEXT),
    "deliveries behind": queries.deliveries_page(None, **NEXT),
}
#: A list without a filter walks its own index from the end and stops at the limit: a scan in name only.
UNFILTERED = {
    "orders_by_creation": queries.orders_page(OrderFilter(), **PAGE),
    "refunds_by_creation": queries.refunds_page(RefundFilter(), **PAGE),
    "discrepancies_by_opening": queries.discrepancies_page(None, **PAGE),
    "deliveries_by_creation": queries.deliveries_page(None, **PAGE),
    "notifications": queries.notifications_page(None, **PAGE),
}


def plan(path, query):
    with closing(open_reader(path)) as connection:
        return [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {query.sql}", query.values)]


@pytest.mark.parametrize("name", [*POINTS, *FILTERED])
def test_no_question_scans_or_sorts(sqlite_storage, db_path, name):
    """Each step of each plan is a search in an index; nothing is scanned, nothing is sorted aside."""
    steps = plan(db_path, {**POINTS, **FILTERED}[name])

    assert steps
    assert not [step for step in steps if "SCAN" in step or "TEMP B-TREE" in step], steps


@pytest.mark.parametrize("index", UNFILTERED)
def test_an_unfiltered_list_walks_its_own_index(sqlite_storage, db_path, index):
    """Without a filter the newest rows are at the end of one index."""
    (step,) = plan(db_path, UNFILTERED[index])

    assert step.startswith("SCAN")
    assert index in step


@pytest.mark.parametrize("name", STREAMS)
def test_the_audit_streams_in_order(sqlite_storage, db_path, name):
    """The audit sorts nothing: its memory does not grow with the books."""
    steps = plan(db_path, Query(STREAMS[name], ()))

    assert not [step for step in steps if "TEMP B-TREE" in step], steps


async def fill(storage, histories, first, count):
    chains = []
    for n in range(first, first + count):
        created = histories.create(f"order-{n:04d}", trade_type="H5" if n % 4 == 0 else "NATIVE")
        paid = histories.pay(created.snapshot)
        refunded = histories.refund(paid.snapshot, f"refund-{n}", 10)
        delivery = histories.delivery(f"d{n}", about=f"order-{n:04d}", url=f"https://{n % 3}.example/")
        rest = ChangeSet(
            puts=(Put(replace(delivery, created_at=histories.clock.at), 0),),
            open_discrepancies=(histories.discrepancy(f"D{n}", seconds=n),),
            notifications=(histories.notification(n),),
        )
        chains.append([created.change, *([paid.change, refunded.change] if n % 2 else []), rest])

    async def commit(changes):
        for change in changes:
            await storage.commit(change)

    await asyncio.gather(*map(commit, chains))


def cost(path, ask):
    """Count the steps of SQLite's machine: what a question costs, without a clock."""
    with closing(open_reader(path)) as connection:
        ask(connection)
        steps = []
        connection.set_progress_handler(lambda: steps.append(1), 10)
        ask(connection)
        connection.set_progress_handler(None, 10)
    return len(steps)


async def test_a_question_costs_the_same_whatever_the_size(sqlite_storage, db_path, histories):
    """Twelve times the orders leave the cost of every bounded question within a tenth and a constant."""
    far = microseconds(START + timedelta(days=400))
    questions = {name: lambda c, q=query: c.execute(q.sql, q.values).fetchall() for name, query in FILTERED.items()}
    questions |= {name: lambda c, q=query: c.execute(q.sql, q.values).fetchall() for name, query in UNFILTERED.items()}
    questions |= {
        "order": lambda c: c.execute(queries.ORDER, ("order-0001",)).fetchall(),
        "due payments": lambda c: c.execute(queries.DUE_PAYMENTS, (far, 20)).fetchall(),
        "due refunds": lambda c: c.execute(queries.DUE_REFUNDS, (far, 20)).fetchall(),
        "due deliveries": lambda c: _due_deliveries(c, far, 20, {"https://0.example/"}),
        "open work": lambda c: _open_work(c, NOW - 1),
        "totals of a new day": lambda c: _totals(c, far),
        "settled": lambda c: c.execute(queries.SETTLED_BETWEEN, (NOW, "", far, 20)).fetchall(),
    }
    await fill(sqlite_storage, histories, 1, 100)
    small = {name: cost(db_path, ask) for name, ask in questions.items()}

    await fill(sqlite_storage, histories, 101, 1100)
    large = {name: cost(db_path, ask) for name, ask in questions.items()}

    grown = {name: (small[name], large[name]) for name in questions if large[name] > small[name] * 1.1 + 3}
    assert grown == {}
